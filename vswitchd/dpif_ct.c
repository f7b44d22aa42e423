/* SPDX-License-Identifier: Apache-2.0 */
/* Connections: dump, flush, limits, timeout policies. */
#include <config.h>

#include "provider.h"

#include <errno.h>
#include <string.h>

#include <linux/netfilter/nf_conntrack_tcp.h>

#include "conntrack.h"
#include "ct-dpif.h"
#include "openvswitch/list.h"
#include "openvswitch/vlog.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(dpif_xvio_ct);

static int
transact(struct dpif *dpif, struct ofpbuf *request, struct xvio_reply *reply)
{
    return xvio_transact(dpif_xvio_cast(dpif)->pool, request, reply);
}

/* ---- Dump ---- */

struct ct_dump {
    struct ct_dpif_dump_state up;
    struct xvio_reply reply;
    uint32_t at, zone; /* UINT32_MAX: all */
    bool begun;
    uint64_t cursor;
};

int
dpif_xvio_ct_dump_start(struct dpif *dpif, struct ct_dpif_dump_state **statep, const uint16_t *zone, int *ptot_bkts)
{
    struct ct_dump *dump = xzalloc(sizeof *dump);

    dump->up.dpif = dpif;
    dump->zone = zone ? *zone : UINT32_MAX;
    *ptot_bkts = 1;
    *statep = &dump->up;
    return 0;
}

static int
ct_dump_more(struct dpif *dpif, struct ct_dump *dump)
{
    struct ofpbuf request;
    int error;

    xvio_reply_free(&dump->reply);
    dump->at = 0;
    if (dump->begun && !dump->cursor) {
        return EOF;
    }
    xvio_request_init(&request, XV_OVS_CT_DUMP);
    if (dump->begun) {
        xvio_put(&request, XV_OVS_CURSOR, &dump->cursor, sizeof dump->cursor);
    }
    if (dump->zone != UINT32_MAX) {
        xvio_put_u32(&request, XV_OVS_ZONE, dump->zone);
    }
    dump->begun = true;
    error = transact(dpif, &request, &dump->reply);
    dump->cursor = error ? 0 : xv_ovs_u64(dump->reply.items, dump->reply.len, XV_OVS_CURSOR, 0);
    return error;
}

static void
tuple_from(const struct xv_ovs_tuple *from, struct ct_dpif_tuple *to)
{
    memset(to, 0, sizeof *to);
    to->l3_type = from->ipv6 ? AF_INET6 : AF_INET;
    to->ip_proto = from->proto;
    memcpy(&to->src, from->src, from->ipv6 ? 16 : 4);
    memcpy(&to->dst, from->dst, from->ipv6 ? 16 : 4);
    memcpy(&to->src_port, &from->src_port, 2);
    memcpy(&to->dst_port, &from->dst_port, 2);
}

static uint8_t
tcp_state(uint8_t state)
{
    static const uint8_t states[] = {
        [TCP_CONNTRACK_NONE] = CT_DPIF_TCPS_CLOSED,
        [TCP_CONNTRACK_SYN_SENT] = CT_DPIF_TCPS_SYN_SENT,
        [TCP_CONNTRACK_SYN_RECV] = CT_DPIF_TCPS_SYN_RECV,
        [TCP_CONNTRACK_ESTABLISHED] = CT_DPIF_TCPS_ESTABLISHED,
        [TCP_CONNTRACK_FIN_WAIT] = CT_DPIF_TCPS_FIN_WAIT_1,
        [TCP_CONNTRACK_CLOSE_WAIT] = CT_DPIF_TCPS_CLOSE_WAIT,
        [TCP_CONNTRACK_LAST_ACK] = CT_DPIF_TCPS_LAST_ACK,
        [TCP_CONNTRACK_TIME_WAIT] = CT_DPIF_TCPS_TIME_WAIT,
        [TCP_CONNTRACK_CLOSE] = CT_DPIF_TCPS_CLOSING,
        [TCP_CONNTRACK_SYN_SENT2] = CT_DPIF_TCPS_SYN_SENT,
    };

    return state < ARRAY_SIZE(states) ? states[state] : CT_DPIF_TCPS_CLOSED;
}

static void
entry_from(const struct xv_ovs_conn *c, struct ct_dpif_entry *entry)
{
    memset(entry, 0, sizeof *entry);
    tuple_from(&c->original, &entry->tuple_orig);
    tuple_from(&c->reply, &entry->tuple_reply);
    if (c->has_master) {
        tuple_from(&c->master, &entry->tuple_parent);
    }
    entry->zone = c->original.zone;
    entry->mark = c->mark;
    entry->timeout = c->timeout_s;
    memcpy(&entry->labels, c->label, sizeof entry->labels);
    entry->have_labels = !ovs_u128_is_zero(entry->labels);
    entry->counters_orig.packets = c->packets[0];
    entry->counters_orig.bytes = c->bytes[0];
    entry->counters_reply.packets = c->packets[1];
    entry->counters_reply.bytes = c->bytes[1];
    /* Others have nothing to say there. */
    if (c->original.proto == IPPROTO_TCP) {
        entry->protoinfo.proto = IPPROTO_TCP;
        entry->protoinfo.tcp.state_orig = entry->protoinfo.tcp.state_reply = tcp_state(c->state);
    } else if (c->original.proto == IPPROTO_SCTP) {
        entry->protoinfo.proto = IPPROTO_SCTP;
        entry->protoinfo.sctp.state = c->state;
    }
    if (c->helper) {
        entry->helper.name = xstrdup(c->helper == 1 ? "ftp" : "tftp");
    }
}

int
dpif_xvio_ct_dump_next(struct dpif *dpif, struct ct_dpif_dump_state *state, struct ct_dpif_entry *entry)
{
    struct ct_dump *dump = CONTAINER_OF(state, struct ct_dump, up);
    struct xv_ovs_conn c;

    for (;;) {
        const struct xv_ovs_item *item = NULL;
        bool broken = false;

        if (dump->reply.header) {
            item = xv_ovs_next(dump->reply.items, dump->reply.len, &dump->at, &broken);
        }
        if (!item) {
            int error = ct_dump_more(dpif, dump);

            if (error) {
                return error;
            }
        } else if (item->type == XV_OVS_CONN && item->len == sizeof c) {
            memcpy(&c, xv_ovs_body(item), sizeof c);
            entry_from(&c, entry);
            return 0;
        }
    }
}

int
dpif_xvio_ct_dump_done(struct dpif *dpif OVS_UNUSED, struct ct_dpif_dump_state *state)
{
    struct ct_dump *dump = CONTAINER_OF(state, struct ct_dump, up);

    xvio_reply_free(&dump->reply);
    free(dump);
    return 0;
}

int
dpif_xvio_ct_flush(struct dpif *dpif, const uint16_t *zone, const struct ct_dpif_tuple *tuple)
{
    struct ofpbuf request;

    xvio_request_init(&request, XV_OVS_CT_FLUSH);
    if (zone) {
        xvio_put_u32(&request, XV_OVS_ZONE, *zone);
    }
    if (tuple) {
        struct xv_ovs_tuple t = { .proto = tuple->ip_proto, .ipv6 = tuple->l3_type == AF_INET6,
                                  .zone = zone ? *zone : 0 };

        memcpy(t.src, &tuple->src, t.ipv6 ? 16 : 4);
        memcpy(t.dst, &tuple->dst, t.ipv6 ? 16 : 4);
        memcpy(&t.src_port, &tuple->src_port, 2);
        memcpy(&t.dst_port, &tuple->dst_port, 2);
        xvio_put(&request, XV_OVS_TUPLE, &t, sizeof t);
    }
    return transact(dpif, &request, NULL);
}

/* ---- Numbers ---- */

static int
ct_stats(struct dpif *dpif, struct xv_ovs_ct_stats *stats)
{
    const struct xv_ovs_item *item;
    struct xvio_reply reply;
    struct ofpbuf request;
    int error;

    xvio_request_init(&request, XV_OVS_CT_STATS);
    error = transact(dpif, &request, &reply);
    item = error ? NULL : xv_ovs_find(reply.items, reply.len, XV_OVS_CT_STATS_ITEM);
    if (item && item->len == sizeof *stats) {
        memcpy(stats, xv_ovs_body(item), sizeof *stats);
    } else if (!error) {
        error = EPROTO;
    }
    xvio_reply_free(&reply);
    return error;
}

int
dpif_xvio_ct_get_maxconns(struct dpif *dpif, uint32_t *maxconns)
{
    struct xv_ovs_ct_stats stats;
    int error = ct_stats(dpif, &stats);

    *maxconns = error ? 0 : stats.max;
    return error;
}

int
dpif_xvio_ct_get_nconns(struct dpif *dpif, uint32_t *nconns)
{
    struct xv_ovs_ct_stats stats;
    int error = ct_stats(dpif, &stats);

    *nconns = error ? 0 : stats.connections;
    return error;
}

int
dpif_xvio_ct_set_maxconns(struct dpif *dpif, uint32_t maxconns)
{
    struct ofpbuf request;

    xvio_request_init(&request, XV_OVS_CT_MAX_SET);
    xvio_put_u32(&request, XV_OVS_LIMIT, maxconns);
    return transact(dpif, &request, NULL);
}

int
dpif_xvio_ct_set_tcp_seq_chk(struct dpif *dpif, bool enabled)
{
    struct ofpbuf request;

    xvio_request_init(&request, XV_OVS_CT_SEQ_SET);
    xvio_put_u32(&request, XV_OVS_ON, enabled);
    return transact(dpif, &request, NULL);
}

int
dpif_xvio_ct_get_tcp_seq_chk(struct dpif *dpif, bool *enabled)
{
    struct xv_ovs_ct_stats stats;
    int error = ct_stats(dpif, &stats);

    *enabled = !error && stats.seq_checked;
    return error;
}

int
dpif_xvio_ct_get_features(struct dpif *dpif OVS_UNUSED, enum ct_features *features)
{
    *features = CONNTRACK_F_ZERO_SNAT;
    return 0;
}

/* ---- Limits ---- */

static void
put_zone_limit(struct ofpbuf *request, uint16_t zone, uint32_t limit)
{
    const struct xv_ovs_zone_limit z = { .zone = zone, .limit = limit };

    xvio_put(request, XV_OVS_ZONE_LIMIT, &z, sizeof z);
}

int
dpif_xvio_ct_set_limits(struct dpif *dpif, const uint32_t *default_limit, const struct ovs_list *zone_limits)
{
    const struct ct_dpif_zone_limit *z;
    struct ofpbuf request;

    xvio_request_init(&request, XV_OVS_CT_LIMIT_SET);
    if (default_limit) {
        xvio_put_u32(&request, XV_OVS_LIMIT, *default_limit);
    }
    LIST_FOR_EACH (z, node, zone_limits) {
        put_zone_limit(&request, z->zone, z->limit);
    }
    return transact(dpif, &request, NULL);
}

int
dpif_xvio_ct_del_limits(struct dpif *dpif, const struct ovs_list *zone_limits)
{
    const struct ct_dpif_zone_limit *z;
    struct ofpbuf request;

    xvio_request_init(&request, XV_OVS_CT_LIMIT_SET);
    LIST_FOR_EACH (z, node, zone_limits) {
        put_zone_limit(&request, z->zone, UINT32_MAX);
    }
    return transact(dpif, &request, NULL);
}

int
dpif_xvio_ct_get_limits(struct dpif *dpif, uint32_t *default_limit, const struct ovs_list *in, struct ovs_list *out)
{
    const struct ct_dpif_zone_limit *z;
    const struct xv_ovs_item *item;
    struct xv_ovs_zone_limit limit;
    struct xvio_reply reply;
    struct ofpbuf request;
    bool broken = false;
    uint32_t at = 0;
    int error;

    xvio_request_init(&request, XV_OVS_CT_LIMIT_GET);
    LIST_FOR_EACH (z, node, in) {
        put_zone_limit(&request, z->zone, 0);
    }
    error = transact(dpif, &request, &reply);
    if (!error) {
        *default_limit = xv_ovs_u32(reply.items, reply.len, XV_OVS_LIMIT, 0);
    }
    while (!error && (item = xv_ovs_next(reply.items, reply.len, &at, &broken))) {
        if (item->type == XV_OVS_ZONE_LIMIT && item->len == sizeof limit) {
            memcpy(&limit, xv_ovs_body(item), sizeof limit);
            ct_dpif_push_zone_limit(out, limit.zone, limit.limit, limit.count);
        }
    }
    xvio_reply_free(&reply);
    return error;
}

/* ---- Timeout policies ---- */

struct timeout_dump {
    struct xvio_reply reply;
    uint32_t at;
};

static const uint8_t timeouts[CT_DPIF_TP_ATTR_MAX] = {
    [CT_DPIF_TP_ATTR_TCP_SYN_SENT] = XV_OVS_TO_TCP_SYN_SENT,
    [CT_DPIF_TP_ATTR_TCP_SYN_RECV] = XV_OVS_TO_TCP_SYN_RECV,
    [CT_DPIF_TP_ATTR_TCP_ESTABLISHED] = XV_OVS_TO_TCP_ESTABLISHED,
    [CT_DPIF_TP_ATTR_TCP_FIN_WAIT] = XV_OVS_TO_TCP_FIN_WAIT,
    [CT_DPIF_TP_ATTR_TCP_CLOSE_WAIT] = XV_OVS_TO_TCP_CLOSE_WAIT,
    [CT_DPIF_TP_ATTR_TCP_LAST_ACK] = XV_OVS_TO_TCP_LAST_ACK,
    [CT_DPIF_TP_ATTR_TCP_TIME_WAIT] = XV_OVS_TO_TCP_TIME_WAIT,
    [CT_DPIF_TP_ATTR_TCP_CLOSE] = XV_OVS_TO_TCP_CLOSE,
    [CT_DPIF_TP_ATTR_TCP_SYN_SENT2] = XV_OVS_TO_TCP_SYN_SENT2,
    [CT_DPIF_TP_ATTR_TCP_RETRANSMIT] = XV_OVS_TO_TCP_RETRANS,
    [CT_DPIF_TP_ATTR_TCP_UNACK] = XV_OVS_TO_TCP_UNACK,
    [CT_DPIF_TP_ATTR_UDP_FIRST] = XV_OVS_TO_UDP_FIRST,
    [CT_DPIF_TP_ATTR_UDP_SINGLE] = XV_OVS_TO_UDP_SINGLE,
    [CT_DPIF_TP_ATTR_UDP_MULTIPLE] = XV_OVS_TO_UDP_MULTIPLE,
    [CT_DPIF_TP_ATTR_ICMP_FIRST] = XV_OVS_TO_ICMP_FIRST,
    [CT_DPIF_TP_ATTR_ICMP_REPLY] = XV_OVS_TO_ICMP_REPLY,
};

int
dpif_xvio_ct_set_timeout_policy(struct dpif *dpif, const struct ct_dpif_timeout_policy *tp)
{
    uint32_t seconds[XV_OVS_TIMEOUTS] = { 0 };
    struct ofpbuf request;

    for (size_t i = 0; i < CT_DPIF_TP_ATTR_MAX; i++) {
        if (tp->present & (1u << i)) {
            seconds[timeouts[i]] = tp->attrs[i];
        }
    }
    xvio_request_init(&request, XV_OVS_CT_TIMEOUT_SET);
    xvio_put_u32(&request, XV_OVS_POLICY, tp->id);
    xvio_put(&request, XV_OVS_SECONDS, seconds, sizeof seconds);
    return transact(dpif, &request, NULL);
}

int
dpif_xvio_ct_del_timeout_policy(struct dpif *dpif, uint32_t tp_id)
{
    struct ofpbuf request;

    xvio_request_init(&request, XV_OVS_CT_TIMEOUT_DEL);
    xvio_put_u32(&request, XV_OVS_POLICY, tp_id);
    return transact(dpif, &request, NULL);
}

/* Those that xviod has: all, or the one with this id. */
static int
timeout_dump_start(struct dpif *dpif, uint32_t tp_id, struct timeout_dump **dumpp)
{
    struct timeout_dump *dump = xzalloc(sizeof *dump);
    struct ofpbuf request;
    int error;

    xvio_request_init(&request, XV_OVS_CT_TIMEOUT_DUMP);
    if (tp_id != UINT32_MAX) {
        xvio_put_u32(&request, XV_OVS_POLICY, tp_id);
    }
    error = transact(dpif, &request, &dump->reply);
    if (error) {
        xvio_reply_free(&dump->reply);
        free(dump);
        return error;
    }
    *dumpp = dump;
    return 0;
}

static bool
timeout_from_item(const struct xv_ovs_item *item, struct ct_dpif_timeout_policy *tp)
{
    const struct xv_ovs_item *seconds = xv_ovs_find(xv_ovs_body(item), item->len, XV_OVS_SECONDS);
    uint32_t s[XV_OVS_TIMEOUTS];

    if (item->type != XV_OVS_TIMEOUT || !seconds || seconds->len != sizeof s) {
        return false;
    }
    memcpy(s, xv_ovs_body(seconds), sizeof s);
    *tp = (struct ct_dpif_timeout_policy) {
        .id = xv_ovs_u32(xv_ovs_body(item), item->len, XV_OVS_POLICY, 0),
    };
    for (size_t i = 0; i < CT_DPIF_TP_ATTR_MAX; i++) {
        if (s[timeouts[i]]) {
            tp->present |= 1u << i;
            tp->attrs[i] = s[timeouts[i]];
        }
    }
    return true;
}

int
dpif_xvio_ct_timeout_policy_dump_start(struct dpif *dpif, void **statep)
{
    return timeout_dump_start(dpif, UINT32_MAX, (struct timeout_dump **) statep);
}

int
dpif_xvio_ct_timeout_policy_dump_next(struct dpif *dpif OVS_UNUSED, void *state, struct ct_dpif_timeout_policy *tp)
{
    struct timeout_dump *dump = state;
    const struct xv_ovs_item *item;
    bool broken = false;

    while ((item = xv_ovs_next(dump->reply.items, dump->reply.len, &dump->at, &broken))) {
        if (timeout_from_item(item, tp)) {
            return 0;
        }
    }
    return EOF;
}

int
dpif_xvio_ct_timeout_policy_dump_done(struct dpif *dpif OVS_UNUSED, void *state)
{
    struct timeout_dump *dump = state;

    xvio_reply_free(&dump->reply);
    free(dump);
    return 0;
}

int
dpif_xvio_ct_get_timeout_policy(struct dpif *dpif, uint32_t tp_id, struct ct_dpif_timeout_policy *tp)
{
    struct timeout_dump *dump;
    int error = timeout_dump_start(dpif, tp_id, &dump);

    if (!error) {
        error = dpif_xvio_ct_timeout_policy_dump_next(dpif, dump, tp) ? ENOENT : 0;
        dpif_xvio_ct_timeout_policy_dump_done(dpif, dump);
    }
    return error;
}

int
dpif_xvio_ct_get_timeout_policy_name(struct dpif *dpif OVS_UNUSED, uint32_t tp_id, uint16_t dl_type OVS_UNUSED,
                                     uint8_t nw_proto OVS_UNUSED, char **tp_name, bool *is_generic)
{
    *tp_name = xasprintf(XV_OVS_POLICY_NAME"%"PRIu32, tp_id);
    *is_generic = true;
    return 0;
}
