/* SPDX-License-Identifier: Apache-2.0 */
/* Bonds whose packets xviod itself spreads over the members (other_config:lb-output-action). */
#include <config.h>

#include "provider.h"

#include <string.h>

#include "openvswitch/ofp-util.h"
#include "util.h"

int
dpif_xvio_bond_add(struct dpif *dpif, uint32_t bond_id, odp_port_t *member_map)
{
    uint32_t members[XV_OVS_BOND_BUCKETS];
    struct ofpbuf request;

    for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
        members[i] = odp_to_u32(member_map[i]);
    }
    xvio_request_init(&request, XV_OVS_BOND_SET);
    xvio_put_u32(&request, XV_OVS_BOND, bond_id);
    xvio_put(&request, XV_OVS_MEMBERS, members, sizeof members);
    return xvio_transact(dpif_xvio_cast(dpif)->pool, &request, NULL);
}

int
dpif_xvio_bond_del(struct dpif *dpif, uint32_t bond_id)
{
    struct ofpbuf request;

    xvio_request_init(&request, XV_OVS_BOND_DEL);
    xvio_put_u32(&request, XV_OVS_BOND, bond_id);
    return xvio_transact(dpif_xvio_cast(dpif)->pool, &request, NULL);
}

/* Added to what n_bytes has for each bucket, as the userspace datapath does it. */
int
dpif_xvio_bond_stats_get(struct dpif *dpif, uint32_t bond_id, uint64_t *n_bytes)
{
    uint64_t sent[XV_OVS_BOND_BUCKETS];
    const struct xv_ovs_item *item;
    struct xvio_reply reply;
    struct ofpbuf request;
    int error;

    xvio_request_init(&request, XV_OVS_BOND_STATS);
    xvio_put_u32(&request, XV_OVS_BOND, bond_id);
    error = xvio_transact(dpif_xvio_cast(dpif)->pool, &request, &reply);
    item = error ? NULL : xv_ovs_find(reply.items, reply.len, XV_OVS_SENT);
    if (item && item->len == sizeof sent) {
        memcpy(sent, xv_ovs_body(item), sizeof sent);
        for (size_t i = 0; i < ARRAY_SIZE(sent); i++) {
            n_bytes[i] += sent[i];
        }
    }
    xvio_reply_free(&reply);
    return error;
}
