/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ingress policing of the kernel's devices that are ports of ours. The kernel polices behind the place where packets are taken for
 * xviod, so that its limit would hold back nothing: xviod is told instead, as of its own ports. Main thread.
 */
#include <config.h>

#include "provider.h"

#include <string.h>

#include "netdev.h"
#include "openvswitch/vlog.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(xvio_policing);

int __real_netdev_set_policing(struct netdev *, uint32_t kbits_rate, uint32_t kbits_burst, uint32_t kpkts_rate,
                               uint32_t kpkts_burst);
int __wrap_netdev_set_policing(struct netdev *, uint32_t kbits_rate, uint32_t kbits_burst, uint32_t kpkts_rate,
                               uint32_t kpkts_burst);

/* What makes the port, with other limits. */
static void
put_port(struct ofpbuf *request, const struct ofpbuf *kept)
{
    const struct xv_ovs_header *h = kept->data;
    const struct xv_ovs_item *item;
    bool broken = false;
    uint32_t at = 0;

    while ((item = xv_ovs_next(h + 1, kept->size - sizeof *h, &at, &broken))) {
        if (item->type != XV_OVS_NUMBER && item->type != XV_OVS_LIMIT_BPS && item->type != XV_OVS_LIMIT_PPS
            && item->type != XV_OVS_LIMIT_BURST_MS) {
            xvio_put(request, item->type, xv_ovs_body(item), item->len);
        }
    }
}

static bool
has_limits_of(const struct ofpbuf *kept, const struct ofpbuf *request)
{
    static const enum xv_ovs_item_type wide[] = { XV_OVS_LIMIT_BPS, XV_OVS_LIMIT_PPS };
    const struct xv_ovs_header *a = kept->data, *b = request->data;
    uint32_t a_len = kept->size - sizeof *a, b_len = request->size - sizeof *b;

    for (size_t i = 0; i < ARRAY_SIZE(wide); i++) {
        if (xv_ovs_u64(a + 1, a_len, wide[i], 0) != xv_ovs_u64(b + 1, b_len, wide[i], 0)) {
            return false;
        }
    }
    return xv_ovs_u32(a + 1, a_len, XV_OVS_LIMIT_BURST_MS, 0) == xv_ovs_u32(b + 1, b_len, XV_OVS_LIMIT_BURST_MS, 0);
}

static int
police(const char *name, const struct ofpbuf *kept, uint32_t kbits_rate, uint32_t kbits_burst, uint32_t kpkts_rate)
{
    struct ofpbuf request, *again;
    struct xvio_reply reply;
    int error;

    xvio_request_init(&request, XV_OVS_PORT_SET);
    put_port(&request, kept);
    xvio_put_policing(&request, kbits_rate, kbits_burst, kpkts_rate);
    if (has_limits_of(kept, &request)) {
        ofpbuf_uninit(&request);
        return 0;
    }
    again = ofpbuf_clone(&request);
    error = xvio_transact_any(&request, &reply);
    if (!error || !reply.header) {
        /* Without xviod the next one will be told. */
        xvio_keep_port(name, again);
        error = 0;
    } else {
        char *text = xvio_reply_text(&reply, error);

        VLOG_WARN("%s: policing: %s", name, text);
        free(text);
    }
    ofpbuf_delete(again);
    xvio_reply_free(&reply);
    return error;
}

int
__wrap_netdev_set_policing(struct netdev *netdev, uint32_t kbits_rate, uint32_t kbits_burst, uint32_t kpkts_rate,
                           uint32_t kpkts_burst)
{
    struct ofpbuf *kept = netdev_is_xvio(netdev) ? NULL : xvio_kept_port_named(netdev_get_name(netdev));
    const struct xv_ovs_header *h = kept ? kept->data : NULL;
    uint32_t kind = kept ? xv_ovs_u32(h + 1, kept->size - sizeof *h, XV_OVS_KIND, 0) : 0;
    int error;

    if (kind == XV_OVS_PORT_KERNEL || kind == XV_OVS_PORT_INTERNAL) {
        /* What the kernel has of another time goes. */
        __real_netdev_set_policing(netdev, 0, 0, 0, 0);
        error = police(netdev_get_name(netdev), kept, kbits_rate, kbits_burst, kpkts_rate);
    } else {
        error = __real_netdev_set_policing(netdev, kbits_rate, kbits_burst, kpkts_rate, kpkts_burst);
    }
    ofpbuf_delete(kept);
    return error;
}
