/* SPDX-License-Identifier: Apache-2.0 */
/* Fragments that wait for connection tracking: OVS's ipf-* commands. */
#include <config.h>

#include "provider.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "openvswitch/dynamic-string.h"
#include "openvswitch/vlog.h"
#include "packets.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(dpif_xvio_ipf);

static int
transact(struct dpif *dpif, struct ofpbuf *request, struct xvio_reply *reply)
{
    return xvio_transact(dpif_xvio_cast(dpif)->pool, request, reply);
}

static void
set_begin(struct ofpbuf *request, bool v6)
{
    xvio_request_init(request, XV_OVS_FRAGMENTS_SET);
    if (v6) {
        xvio_put(request, XV_OVS_IPV6, NULL, 0);
    }
}

int
dpif_xvio_ipf_set_enabled(struct dpif *dpif, bool v6, bool enabled)
{
    struct ofpbuf request;

    set_begin(&request, v6);
    xvio_put_u32(&request, XV_OVS_ON, enabled);
    return transact(dpif, &request, NULL);
}

int
dpif_xvio_ipf_set_min_frag(struct dpif *dpif, bool v6, uint32_t min_frag)
{
    struct ofpbuf request;

    set_begin(&request, v6);
    xvio_put_u32(&request, XV_OVS_BYTES, min_frag);
    return transact(dpif, &request, NULL);
}

int
dpif_xvio_ipf_set_max_nfrags(struct dpif *dpif, uint32_t max_nfrags)
{
    struct ofpbuf request;

    set_begin(&request, false);
    xvio_put_u32(&request, XV_OVS_LIMIT, max_nfrags);
    return transact(dpif, &request, NULL);
}

int
dpif_xvio_ipf_get_status(struct dpif *dpif, struct dpif_ipf_status *status)
{
    struct dpif_ipf_proto_status *by_ip[] = { &status->v4, &status->v6 };
    const struct xv_ovs_item *item;
    struct xv_ovs_fragments_status s;
    struct xvio_reply reply;
    struct ofpbuf request;
    int error;

    xvio_request_init(&request, XV_OVS_FRAGMENTS_GET);
    error = transact(dpif, &request, &reply);
    item = error ? NULL : xv_ovs_find(reply.items, reply.len, XV_OVS_FRAGMENTS_STATUS);
    if (item && item->len == sizeof s) {
        memcpy(&s, xv_ovs_body(item), sizeof s);
        status->nfrag = s.waiting;
        status->nfrag_max = s.max;
        for (size_t i = 0; i < ARRAY_SIZE(by_ip); i++) {
            *by_ip[i] = (struct dpif_ipf_proto_status) {
                .nfrag_accepted = s.ip[i].accepted,
                .nfrag_completed_sent = s.ip[i].completed,
                .nfrag_expired_sent = s.ip[i].expired,
                .nfrag_too_small = s.ip[i].too_small,
                .nfrag_overlap = s.ip[i].overlapped,
                .nfrag_purged = s.ip[i].purged,
                .min_frag_size = s.ip[i].min_bytes,
                .enabled = s.ip[i].enabled,
            };
        }
    } else if (!error) {
        error = EPROTO;
    }
    xvio_reply_free(&reply);
    return error;
}

/* ---- Dump ---- */

struct ipf_dump_ctx {
    struct xvio_reply reply;
    uint32_t at;
};

int
dpif_xvio_ipf_dump_start(struct dpif *dpif, struct ipf_dump_ctx **dumpp)
{
    struct ipf_dump_ctx *dump = xzalloc(sizeof *dump);
    struct ofpbuf request;
    int error;

    xvio_request_init(&request, XV_OVS_FRAGMENTS_DUMP);
    error = transact(dpif, &request, &dump->reply);
    if (error) {
        xvio_reply_free(&dump->reply);
        free(dump);
        return error;
    }
    *dumpp = dump;
    return 0;
}

/* In the words of the userspace datapath. */
static char *
format(const struct xv_ovs_fragments *f)
{
    const char *state = f->first && f->last ? "first/last frag" : f->first ? "first frag" : f->last ? "last frag" : "other frag";
    char src[INET6_ADDRSTRLEN], dst[INET6_ADDRSTRLEN];
    int family = f->ipv6 ? AF_INET6 : AF_INET;

    inet_ntop(family, f->src, src, sizeof src);
    inet_ntop(family, f->dst, dst, sizeof dst);
    return xasprintf("(src=%s,dst=%s,recirc_id=%"PRIu32",ip_id=%"PRIu32",dl_type=0x%x,zone=%"PRIu16",nw_proto=%"PRIu8
                     ",num_fragments=%"PRIu16",state=%s)", src, dst, f->recirc_id, f->ip_id,
                     f->ipv6 ? ETH_TYPE_IPV6 : ETH_TYPE_IP, f->zone, f->proto, f->n, state);
}

int
dpif_xvio_ipf_dump_next(struct dpif *dpif OVS_UNUSED, void *dump_, char **text)
{
    struct ipf_dump_ctx *dump = dump_;
    const struct xv_ovs_item *item;
    struct xv_ovs_fragments f;
    bool broken = false;

    while ((item = xv_ovs_next(dump->reply.items, dump->reply.len, &dump->at, &broken))) {
        if (item->type == XV_OVS_FRAGMENTS && item->len == sizeof f) {
            memcpy(&f, xv_ovs_body(item), sizeof f);
            *text = format(&f);
            return 0;
        }
    }
    return EOF;
}

int
dpif_xvio_ipf_dump_done(struct dpif *dpif OVS_UNUSED, void *dump_)
{
    struct ipf_dump_ctx *dump = dump_;

    xvio_reply_free(&dump->reply);
    free(dump);
    return 0;
}
