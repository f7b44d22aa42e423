/* SPDX-License-Identifier: Apache-2.0 */
/* The datapath itself and its ports. */
#include <config.h>

#include "provider.h"

#include <errno.h>
#include <string.h>

#include "netdev-vport.h"
#include "odp-util.h"
#include "openvswitch/vlog.h"
#include "sset.h"
#include "util.h"
#include "watch.h"

VLOG_DEFINE_THIS_MODULE(dpif_xvio);

static int dpif_xvio_open(const struct dpif_class *, const char *name, bool create, struct dpif **);

bool
dpif_is_xvio(const struct dpif *dpif)
{
    return dpif->dpif_class->open == dpif_xvio_open;
}

static char *
item_text(const struct xv_ovs_item *item)
{
    return item ? xmemdup0(xv_ovs_body(item), item->len) : xstrdup("");
}

/* ---- Datapaths ---- */

static int
dpif_xvio_enumerate(struct sset *all_dps, const struct dpif_class *class)
{
    char *own = xasprintf("ovs-%s", class->type);
    const struct xv_ovs_item *item;
    struct xvio_reply reply;
    struct ofpbuf request;
    bool broken = false;
    uint32_t at = 0;
    int error;

    xvio_request_init(&request, XV_OVS_DP_LIST);
    error = xvio_transact_any(&request, &reply);
    while (!error && (item = xv_ovs_next(reply.items, reply.len, &at, &broken))) {
        char *name = item_text(item);

        /* Others are of other types. */
        if (item->type == XV_OVS_NAME && !strcmp(name, own)) {
            sset_add(all_dps, name);
        }
        free(name);
    }
    xvio_reply_free(&reply);
    free(own);
    /* Without xviod there are no datapaths. */
    return error == ECONNREFUSED || error == ENOENT ? 0 : error;
}

/* As the userspace datapath calls its own, where we have its name. */
static const char *
tap_type(const struct dpif_class *class)
{
    return !strcmp(class->type, "netdev") ? "tap" : XVIO_TAP_TYPE;
}

static const char *
dpif_xvio_port_open_type(const struct dpif_class *class, const char *type)
{
    return !strcmp(type, "internal") || !strcmp(type, "tap") ? tap_type(class) : type;
}

static void
put_port(struct ofpbuf *request, const char *name, const char *type, enum xv_ovs_port_kind kind, odp_port_t port_no)
{
    xvio_put_text(request, XV_OVS_NAME, name);
    xvio_put_text(request, XV_OVS_NETDEV_TYPE, type);
    xvio_put_u32(request, XV_OVS_KIND, kind);
    if (port_no != ODPP_NONE) {
        xvio_put_u32(request, XV_OVS_NUMBER, odp_to_u32(port_no));
    }
}

/* By convention a datapath has a port of its own name, number 0, that is never in a bridge. */
static int
add_local_port(struct xvio_pool *pool, const char *type, const char *name)
{
    struct ofpbuf request, *kept;
    int error;

    error = xvio_tap_create(name);
    if (error) {
        VLOG_WARN("%s: cannot create tap device: %s", name, ovs_strerror(error));
        return error;
    }
    xvio_request_init(&request, XV_OVS_PORT_ADD);
    put_port(&request, name, type, XV_OVS_PORT_INTERNAL, ODP_PORT_C(0));
    xvio_put_text(&request, XV_OVS_DEVICE, name);
    kept = ofpbuf_clone(&request);
    error = xvio_transact(pool, &request, NULL);
    if (!error) {
        xvio_keep(pool, name, kept);
    }
    ofpbuf_delete(kept);
    return error;
}

static int
dpif_xvio_open(const struct dpif_class *class, const char *name, bool create, struct dpif **dpifp)
{
    struct dpif_xvio *dpif;
    struct xvio_pool *pool;
    int error;

    error = xvio_pool_open(name, create, &pool);
    if (error) {
        return error;
    }
    if (create) {
        error = add_local_port(pool, tap_type(class), name);
        if (error) {
            xvio_pool_close(pool);
            return error;
        }
    }
    dpif = xzalloc(sizeof *dpif);
    dpif_init(&dpif->dpif, class, name, 0, 0);
    dpif->pool = pool;
    ovs_rwlock_init(&dpif->handlers_lock);
    *dpifp = &dpif->dpif;
    return 0;
}

static void
dpif_xvio_close(struct dpif *dpif_)
{
    struct dpif_xvio *dpif = dpif_xvio_cast(dpif_);

    dpif_xvio_handlers_set(dpif_, 0);
    ovs_rwlock_destroy(&dpif->handlers_lock);
    xvio_pool_close(dpif->pool);
    free(dpif);
}

static int
dpif_xvio_destroy(struct dpif *dpif)
{
    struct ofpbuf request;

    int error;

    xvio_request_init(&request, XV_OVS_DP_DEL);
    error = xvio_transact(dpif_xvio_cast(dpif)->pool, &request, NULL);
    if (!error) {
        xvio_forget_all(dpif_xvio_cast(dpif)->pool);
        xvio_tap_destroy(dpif->base_name); /* of the local port */
    }
    return error;
}

/* True: xviod has lost its flows, those that are wanted are to be installed again. */
static bool
dpif_xvio_run(struct dpif *dpif)
{
    return xvio_pool_was_restored(dpif_xvio_cast(dpif)->pool);
}

static int
dpif_xvio_get_stats(const struct dpif *dpif, struct dpif_dp_stats *stats)
{
    const struct xv_ovs_item *item;
    struct xv_ovs_dp_stats s;
    struct xvio_reply reply;
    struct ofpbuf request;
    int error;

    xvio_request_init(&request, XV_OVS_DP_STATS);
    error = xvio_transact(dpif_xvio_cast(dpif)->pool, &request, &reply);
    item = error ? NULL : xv_ovs_find(reply.items, reply.len, XV_OVS_DP_STATS_ITEM);
    if (item && item->len == sizeof s) {
        memcpy(&s, xv_ovs_body(item), sizeof s);
        *stats = (struct dpif_dp_stats) {
            .n_hit = s.hits, .n_missed = s.missed, .n_lost = s.lost, .n_flows = s.flows,
            .n_cache_hit = UINT64_MAX, .n_mask_hit = UINT64_MAX, .n_masks = UINT32_MAX,
        };
    }
    xvio_reply_free(&reply);
    return error;
}

/* ---- Ports ----
 * While xviod is away they are those that it will be told of when it is back: OVS is not to take its bridges apart. */

static bool
is_away(int error, const struct xvio_reply *reply)
{
    return error && !reply->header;
}

static void
port_from_items(const void *items, uint32_t len, struct dpif_port *port)
{
    port->name = item_text(xv_ovs_find(items, len, XV_OVS_NAME));
    port->type = item_text(xv_ovs_find(items, len, XV_OVS_NETDEV_TYPE));
    port->port_no = u32_to_odp(xv_ovs_u32(items, len, XV_OVS_NUMBER, UINT32_MAX));
}

static bool
kept_port(struct xvio_pool *pool, unsigned int *cursor, struct dpif_port *port)
{
    struct ofpbuf *request = xvio_kept_port(pool, cursor);

    if (!request) {
        return false;
    }
    port_from_items((const struct xv_ovs_header *) request->data + 1, request->size - sizeof(struct xv_ovs_header), port);
    ofpbuf_delete(request);
    return true;
}

/* By name, or (NULL) by number. */
static bool
kept_port_find(struct xvio_pool *pool, const char *name, odp_port_t port_no, struct dpif_port *found)
{
    unsigned int cursor = 0;
    struct dpif_port port;

    while (kept_port(pool, &cursor, &port)) {
        if (name ? !strcmp(port.name, name) : port.port_no == port_no) {
            if (found) {
                *found = port;
            } else {
                dpif_port_destroy(&port);
            }
            return true;
        }
        dpif_port_destroy(&port);
    }
    return false;
}

/* Which of xviod's kinds a netdev is, with what it has to know. */
static int
put_device(struct ofpbuf *request, struct netdev *netdev, const char *name, odp_port_t port_no)
{
    static const struct {
        const char *type;
        enum xv_ovs_tunnel tunnel;
    } tunnels[] = { { "vxlan", XV_OVS_TUNNEL_VXLAN }, { "geneve", XV_OVS_TUNNEL_GENEVE }, { "gre", XV_OVS_TUNNEL_GRE } };
    const char *type = netdev_get_type(netdev);
    const struct netdev_tunnel_config *config;

    if (netdev_is_xvio(netdev)) {
        if (port_no != ODPP_NONE) {
            xvio_put_u32(request, XV_OVS_NUMBER, odp_to_u32(port_no));
        }
        return netdev_xvio_put_port(netdev, request);
    }
    config = netdev_get_tunnel_config(netdev);
    for (size_t i = 0; config && i < ARRAY_SIZE(tunnels); i++) {
        if (strcmp(tunnels[i].type, type)) {
            continue;
        }
        put_port(request, name, type, XV_OVS_PORT_TUNNEL, port_no);
        xvio_put_u32(request, XV_OVS_TUNNEL_TYPE, tunnels[i].tunnel);
        xvio_put_u32(request, XV_OVS_UDP_PORT, ntohs(config->dst_port));
        if (config->exts & (1 << OVS_VXLAN_EXT_GBP)) {
            xvio_put(request, XV_OVS_GBP, NULL, 0);
        }
        return 0;
    }
    if (netdev_vport_is_vport_class(netdev->netdev_class)) {
        return EOPNOTSUPP;
    }
    put_port(request, name, type, netdev_is_xviotap(netdev) ? XV_OVS_PORT_INTERNAL : XV_OVS_PORT_KERNEL, port_no);
    xvio_put_text(request, XV_OVS_DEVICE, name);
    return 0;
}

static int
dpif_xvio_port_add(struct dpif *dpif, struct netdev *netdev, odp_port_t *port_nop)
{
    char namebuf[NETDEV_VPORT_NAME_BUFSIZE];
    const char *name = netdev_vport_get_dpif_port(netdev, namebuf, sizeof namebuf);
    struct xvio_pool *pool = dpif_xvio_cast(dpif)->pool;
    struct ofpbuf request, *kept;
    struct xvio_reply reply;
    int error;

    xvio_request_init(&request, XV_OVS_PORT_ADD);
    error = put_device(&request, netdev, name, *port_nop);
    if (error) {
        ofpbuf_uninit(&request);
        return error;
    }
    kept = ofpbuf_clone(&request);
    error = xvio_transact(pool, &request, &reply);
    if (is_away(error, &reply)) {
        if (*port_nop == ODPP_NONE) {
            for (*port_nop = u32_to_odp(1); kept_port_find(pool, NULL, *port_nop, NULL);) {
                *port_nop = u32_to_odp(odp_to_u32(*port_nop) + 1);
            }
        }
        xvio_put_u32(kept, XV_OVS_NUMBER, odp_to_u32(*port_nop));
        xvio_keep(pool, name, kept);
        error = 0;
    } else if (!error) {
        *port_nop = u32_to_odp(xv_ovs_u32(reply.items, reply.len, XV_OVS_NUMBER, UINT32_MAX));
        xvio_put_u32(kept, XV_OVS_NUMBER, odp_to_u32(*port_nop));
        xvio_keep(pool, name, kept);
    } else if (reply.header) {
        char *text = xvio_reply_text(&reply, error);

        VLOG_WARN("%s: %s", name, text);
        xvio_watch_refused(name, text);
        free(text);
    }
    ofpbuf_delete(kept);
    xvio_reply_free(&reply);
    return error;
}

static int
dpif_xvio_port_del(struct dpif *dpif, odp_port_t port_no)
{
    struct xvio_pool *pool = dpif_xvio_cast(dpif)->pool;
    struct xvio_reply reply;
    struct ofpbuf request;
    int error;

    xvio_forget_port(pool, odp_to_u32(port_no));
    xvio_request_init(&request, XV_OVS_PORT_DEL);
    xvio_put_u32(&request, XV_OVS_NUMBER, odp_to_u32(port_no));
    error = xvio_transact(pool, &request, &reply);
    error = is_away(error, &reply) ? 0 : error;
    xvio_reply_free(&reply);
    return error;
}

/* By name, or (NULL) by number. */
static int
port_query(const struct dpif *dpif, const char *name, odp_port_t port_no, struct dpif_port *port)
{
    struct xvio_pool *pool = dpif_xvio_cast(dpif)->pool;
    const struct xv_ovs_item *item;
    struct xvio_reply reply;
    struct ofpbuf request;
    int error;

    xvio_request_init(&request, XV_OVS_PORT_GET);
    if (name) {
        xvio_put_text(&request, XV_OVS_NAME, name);
    } else {
        xvio_put_u32(&request, XV_OVS_NUMBER, odp_to_u32(port_no));
    }
    error = xvio_transact(pool, &request, &reply);
    if (is_away(error, &reply)) {
        return kept_port_find(pool, name, port_no, port) ? 0 : ENODEV;
    }
    item = error ? NULL : xv_ovs_find(reply.items, reply.len, XV_OVS_PORT);
    if (item && port) {
        port_from_items(xv_ovs_body(item), item->len, port);
    }
    xvio_reply_free(&reply);
    return error;
}

static int
dpif_xvio_port_query_by_number(const struct dpif *dpif, odp_port_t port_no, struct dpif_port *port)
{
    return port_query(dpif, NULL, port_no, port);
}

static int
dpif_xvio_port_query_by_name(const struct dpif *dpif, const char *name, struct dpif_port *port)
{
    return port_query(dpif, name, ODPP_NONE, port);
}

struct port_dump {
    struct xvio_reply reply;
    uint32_t at;
    unsigned int cursor;   /* in what is kept, while xviod is away */
    struct dpif_port port; /* given out last */
};

static int
dpif_xvio_port_dump_start(const struct dpif *dpif, void **statep)
{
    struct port_dump *dump = xzalloc(sizeof *dump);
    struct ofpbuf request;
    int error;

    xvio_request_init(&request, XV_OVS_PORT_DUMP);
    error = xvio_transact(dpif_xvio_cast(dpif)->pool, &request, &dump->reply);
    if (error && !is_away(error, &dump->reply)) {
        xvio_reply_free(&dump->reply);
        free(dump);
        return error;
    }
    *statep = dump;
    return 0;
}

static int
dpif_xvio_port_dump_next(const struct dpif *dpif, void *dump_, struct dpif_port *port)
{
    struct port_dump *dump = dump_;
    const struct xv_ovs_item *item;
    bool broken = false;

    dpif_port_destroy(&dump->port);
    dump->port = (struct dpif_port) { .name = NULL };
    if (!dump->reply.header) {
        if (!kept_port(dpif_xvio_cast(dpif)->pool, &dump->cursor, &dump->port)) {
            return EOF;
        }
    } else {
        item = xv_ovs_next(dump->reply.items, dump->reply.len, &dump->at, &broken);
        if (!item) {
            return EOF;
        }
        port_from_items(xv_ovs_body(item), item->len, &dump->port);
    }
    *port = dump->port;
    return 0;
}

static int
dpif_xvio_port_dump_done(const struct dpif *dpif OVS_UNUSED, void *dump_)
{
    struct port_dump *dump = dump_;

    dpif_port_destroy(&dump->port);
    xvio_reply_free(&dump->reply);
    free(dump);
    return 0;
}

/* Ports come and go by our requests only. */
static int
dpif_xvio_port_poll(const struct dpif *dpif OVS_UNUSED, char **devnamep OVS_UNUSED)
{
    return EAGAIN;
}

static void
dpif_xvio_port_poll_wait(const struct dpif *dpif OVS_UNUSED)
{
}

/* As the kernel names its classes. */
static int
dpif_xvio_queue_to_priority(const struct dpif *dpif OVS_UNUSED, uint32_t queue_id, uint32_t *priority)
{
    if (queue_id >= 0xf000) {
        return EINVAL;
    }
    *priority = 1 << 16 | (queue_id + 1);
    return 0;
}

/* ---- The class ---- */

static const struct dpif_class dpif_xvio_class = {
    .type = "xvio",
    .cleanup_required = false,
    .enumerate = dpif_xvio_enumerate,
    .port_open_type = dpif_xvio_port_open_type,
    .open = dpif_xvio_open,
    .close = dpif_xvio_close,
    .destroy = dpif_xvio_destroy,
    .run = dpif_xvio_run,
    .get_stats = dpif_xvio_get_stats,
    .port_add = dpif_xvio_port_add,
    .port_del = dpif_xvio_port_del,
    .port_query_by_number = dpif_xvio_port_query_by_number,
    .port_query_by_name = dpif_xvio_port_query_by_name,
    .port_dump_start = dpif_xvio_port_dump_start,
    .port_dump_next = dpif_xvio_port_dump_next,
    .port_dump_done = dpif_xvio_port_dump_done,
    .port_poll = dpif_xvio_port_poll,
    .port_poll_wait = dpif_xvio_port_poll_wait,
    .flow_flush = dpif_xvio_flow_flush,
    .flow_dump_create = dpif_xvio_flow_dump_create,
    .flow_dump_destroy = dpif_xvio_flow_dump_destroy,
    .flow_dump_thread_create = dpif_xvio_flow_dump_thread_create,
    .flow_dump_thread_destroy = dpif_xvio_flow_dump_thread_destroy,
    .flow_dump_next = dpif_xvio_flow_dump_next,
    .operate = dpif_xvio_operate,
    .queue_to_priority = dpif_xvio_queue_to_priority,
    .recv_set = dpif_xvio_recv_set,
    .handlers_set = dpif_xvio_handlers_set,
    .recv = dpif_xvio_recv,
    .recv_wait = dpif_xvio_recv_wait,
    .recv_purge = dpif_xvio_recv_purge,
    .ct_dump_start = dpif_xvio_ct_dump_start,
    .ct_dump_next = dpif_xvio_ct_dump_next,
    .ct_dump_done = dpif_xvio_ct_dump_done,
    .ct_flush = dpif_xvio_ct_flush,
    .ct_set_maxconns = dpif_xvio_ct_set_maxconns,
    .ct_get_maxconns = dpif_xvio_ct_get_maxconns,
    .ct_get_nconns = dpif_xvio_ct_get_nconns,
    .ct_set_tcp_seq_chk = dpif_xvio_ct_set_tcp_seq_chk,
    .ct_get_tcp_seq_chk = dpif_xvio_ct_get_tcp_seq_chk,
    .ct_set_limits = dpif_xvio_ct_set_limits,
    .ct_get_limits = dpif_xvio_ct_get_limits,
    .ct_del_limits = dpif_xvio_ct_del_limits,
    .ct_set_timeout_policy = dpif_xvio_ct_set_timeout_policy,
    .ct_get_timeout_policy = dpif_xvio_ct_get_timeout_policy,
    .ct_del_timeout_policy = dpif_xvio_ct_del_timeout_policy,
    .ct_timeout_policy_dump_start = dpif_xvio_ct_timeout_policy_dump_start,
    .ct_timeout_policy_dump_next = dpif_xvio_ct_timeout_policy_dump_next,
    .ct_timeout_policy_dump_done = dpif_xvio_ct_timeout_policy_dump_done,
    .ct_get_timeout_policy_name = dpif_xvio_ct_get_timeout_policy_name,
    .ct_get_features = dpif_xvio_ct_get_features,
    .ipf_set_enabled = dpif_xvio_ipf_set_enabled,
    .ipf_set_min_frag = dpif_xvio_ipf_set_min_frag,
    .ipf_set_max_nfrags = dpif_xvio_ipf_set_max_nfrags,
    .ipf_get_status = dpif_xvio_ipf_get_status,
    .ipf_dump_start = dpif_xvio_ipf_dump_start,
    .ipf_dump_next = dpif_xvio_ipf_dump_next,
    .ipf_dump_done = dpif_xvio_ipf_dump_done,
    .meter_get_features = dpif_xvio_meter_get_features,
    .meter_set = dpif_xvio_meter_set,
    .meter_get = dpif_xvio_meter_get,
    .meter_del = dpif_xvio_meter_del,
    .bond_add = dpif_xvio_bond_add,
    .bond_del = dpif_xvio_bond_del,
    .bond_stats_get = dpif_xvio_bond_stats_get,
};

/* Once for each type name: "xvio", and those that we take over. */
void
dpif_xvio_register(const char *type)
{
    struct dpif_class *class = xmemdup(&dpif_xvio_class, sizeof dpif_xvio_class);

    class->type = xstrdup(type);
    if (dp_register_provider(class)) {
        VLOG_WARN("cannot register datapath type %s", type);
    }
}
