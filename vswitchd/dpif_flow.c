/* SPDX-License-Identifier: Apache-2.0 */
/* Flows: batches of operations, dumps. */
#include <config.h>

#include "provider.h"

#include <errno.h>
#include <string.h>

#include "dp-packet.h"
#include "dpif.h"
#include "netlink.h"
#include "odp-util.h"
#include "openvswitch/vlog.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(dpif_xvio_flow);

/* ---- Actions ---- */

static uint16_t
translate_type(uint16_t type, bool to_xviod)
{
    static const uint16_t types[][2] = {
        { OVS_ACTION_ATTR_TUNNEL_PUSH, XV_OVS_ACTION_TUNNEL_PUSH },
        { OVS_ACTION_ATTR_TUNNEL_POP, XV_OVS_ACTION_TUNNEL_POP },
        { OVS_ACTION_ATTR_DROP, XV_OVS_ACTION_DROP },
        { OVS_ACTION_ATTR_LB_OUTPUT, XV_OVS_ACTION_LB_OUTPUT },
    };

    for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
        if (type == types[i][!to_xviod]) {
            return types[i][to_xviod];
        }
    }
    return type;
}

/* Actions of userspace datapaths have numbers of their own in the protocol. In place. */
static void
translate_actions(struct nlattr *actions, size_t len, bool to_xviod)
{
    struct nlattr *a, *b;
    size_t left, left2;

    BUILD_ASSERT_DECL(sizeof(struct xv_ovs_tunnel_push) == sizeof(struct ovs_action_push_tnl));
    NL_ATTR_FOR_EACH (a, left, actions, len) {
        uint16_t type = nl_attr_type(a);

        if (type == OVS_ACTION_ATTR_CLONE) {
            translate_actions(CONST_CAST(struct nlattr *, nl_attr_get(a)), nl_attr_get_size(a), to_xviod);
        } else if (type == OVS_ACTION_ATTR_SAMPLE || type == OVS_ACTION_ATTR_CHECK_PKT_LEN) {
            NL_ATTR_FOR_EACH (b, left2, CONST_CAST(struct nlattr *, nl_attr_get(a)), nl_attr_get_size(a)) {
                bool holds_actions = type == OVS_ACTION_ATTR_SAMPLE
                                     ? nl_attr_type(b) == OVS_SAMPLE_ATTR_ACTIONS
                                     : nl_attr_type(b) != OVS_CHECK_PKT_LEN_ATTR_PKT_LEN;

                if (holds_actions) {
                    translate_actions(CONST_CAST(struct nlattr *, nl_attr_get(b)), nl_attr_get_size(b), to_xviod);
                }
            }
        } else {
            a->nla_type = translate_type(type, to_xviod);
        }
    }
}

static void
put_actions(struct ofpbuf *request, const struct nlattr *actions, size_t len)
{
    size_t at = request->size;
    struct xv_ovs_item *item;

    xvio_put(request, XV_OVS_ACTIONS, actions, len);
    item = ofpbuf_at_assert(request, at, sizeof *item);
    translate_actions((struct nlattr *) (item + 1), len, true);
}

/* ---- From xviod ---- */

static void
stats_from_item(const struct xv_ovs_item *item, struct dpif_flow_stats *stats)
{
    struct xv_ovs_flow_stats s = { .packets = 0 };

    if (item && item->len == sizeof s) {
        memcpy(&s, xv_ovs_body(item), sizeof s);
    }
    *stats = (struct dpif_flow_stats) {
        .n_packets = s.packets, .n_bytes = s.bytes, .used = s.used_ms, .tcp_flags = s.tcp_flags,
    };
}

static void
attrs_from_item(const struct xv_ovs_item *item, const struct nlattr **attrs, size_t *len)
{
    *attrs = item ? xv_ovs_body(item) : NULL;
    *len = item ? item->len : 0;
}

/* What is in the item stays there. */
static void
flow_from_item(const struct xv_ovs_item *item, struct dpif_flow *flow)
{
    const struct xv_ovs_item *ufid = xv_ovs_find(xv_ovs_body(item), item->len, XV_OVS_UFID);
    const void *items = xv_ovs_body(item);

    memset(flow, 0, sizeof *flow);
    attrs_from_item(xv_ovs_find(items, item->len, XV_OVS_KEY), &flow->key, &flow->key_len);
    attrs_from_item(xv_ovs_find(items, item->len, XV_OVS_MASK), &flow->mask, &flow->mask_len);
    attrs_from_item(xv_ovs_find(items, item->len, XV_OVS_ACTIONS), &flow->actions, &flow->actions_len);
    translate_actions(CONST_CAST(struct nlattr *, flow->actions), flow->actions_len, false);
    if (ufid && ufid->len == sizeof flow->ufid) {
        memcpy(&flow->ufid, xv_ovs_body(ufid), sizeof flow->ufid);
        flow->ufid_present = true;
    }
    flow->pmd_id = PMD_ID_NULL;
    stats_from_item(xv_ovs_find(items, item->len, XV_OVS_STATS), &flow->stats);
    flow->attrs.dp_layer = "xvio";
}

/* ---- Operations ---- */

static void
put_ufid(struct ofpbuf *request, const ovs_u128 *ufid, const struct nlattr *key, size_t key_len)
{
    ovs_u128 own;

    if (!ufid) {
        odp_flow_key_hash(key, key_len, &own);
        ufid = &own;
    }
    xvio_put(request, XV_OVS_UFID, ufid, sizeof *ufid);
}

static void
put_put(struct ofpbuf *request, const struct dpif_flow_put *put)
{
    uint32_t flags = (put->flags & DPIF_FP_CREATE ? XV_OVS_PUT_CREATE : 0)
                     | (put->flags & DPIF_FP_MODIFY ? XV_OVS_PUT_MODIFY : 0)
                     | (put->flags & DPIF_FP_ZERO_STATS ? XV_OVS_PUT_ZERO_STATS : 0)
                     | (put->flags & DPIF_FP_PROBE ? XV_OVS_PROBE : 0);

    xvio_put_u32(request, XV_OVS_OP_TYPE, XV_OVS_OP_PUT);
    xvio_put_u32(request, XV_OVS_FLAGS, flags);
    put_ufid(request, put->ufid, put->key, put->key_len);
    xvio_put(request, XV_OVS_KEY, put->key, put->key_len);
    if (put->mask && put->mask_len) {
        xvio_put(request, XV_OVS_MASK, put->mask, put->mask_len);
    }
    /* A modification without actions leaves them. */
    if (put->actions || put->flags & DPIF_FP_CREATE) {
        put_actions(request, put->actions, put->actions_len);
    }
}

static void
put_execute(struct ofpbuf *request, const struct dpif_execute *execute)
{
    struct ofpbuf key;
    uint64_t stub[1024 / 8];

    xvio_put_u32(request, XV_OVS_OP_TYPE, XV_OVS_OP_EXECUTE);
    xvio_put_u32(request, XV_OVS_FLAGS, execute->probe ? XV_OVS_PROBE : 0);
    ofpbuf_use_stub(&key, stub, sizeof stub);
    odp_key_from_dp_packet(&key, execute->packet);
    /* That leaves it to the reader to guess what the packet begins with. */
    if (execute->packet->packet_type != htonl(PT_ETH)) {
        nl_msg_put_be32(&key, OVS_KEY_ATTR_PACKET_TYPE, execute->packet->packet_type);
    }
    xvio_put(request, XV_OVS_KEY, key.data, key.size);
    ofpbuf_uninit(&key);
    put_actions(request, execute->actions, execute->actions_len);
    xvio_put(request, XV_OVS_PACKET, dp_packet_data(execute->packet), dp_packet_size(execute->packet));
}

static void
put_op(struct ofpbuf *request, const struct dpif_op *op)
{
    size_t at = xvio_open(request, XV_OVS_OP);

    switch (op->type) {
    case DPIF_OP_FLOW_PUT:
        put_put(request, &op->flow_put);
        break;
    case DPIF_OP_FLOW_DEL:
        xvio_put_u32(request, XV_OVS_OP_TYPE, XV_OVS_OP_DEL);
        put_ufid(request, op->flow_del.ufid, op->flow_del.key, op->flow_del.key_len);
        break;
    case DPIF_OP_FLOW_GET:
        xvio_put_u32(request, XV_OVS_OP_TYPE, XV_OVS_OP_GET);
        put_ufid(request, op->flow_get.ufid, op->flow_get.key, op->flow_get.key_len);
        break;
    case DPIF_OP_EXECUTE:
        put_execute(request, &op->execute);
        break;
    }
    xvio_close(request, at);
}

/* The flow in a buffer of the caller's. */
static void
get_flow(const struct xv_ovs_item *item, struct dpif_flow_get *get)
{
    struct dpif_flow flow;
    size_t key, mask;

    flow_from_item(item, &flow);
    *get->flow = flow;
    ofpbuf_clear(get->buffer);
    ofpbuf_prealloc_tailroom(get->buffer, flow.key_len + flow.mask_len + flow.actions_len + 16);
    key = flow.key_len;
    mask = flow.mask_len;
    get->flow->key = ofpbuf_put(get->buffer, flow.key, key);
    get->flow->mask = ofpbuf_put(get->buffer, flow.mask, mask);
    get->flow->actions = ofpbuf_put(get->buffer, flow.actions, flow.actions_len);
}

static void
take_result(const struct xv_ovs_item *result, struct dpif_op *op)
{
    const void *items = xv_ovs_body(result);
    const struct xv_ovs_item *stats = xv_ovs_find(items, result->len, XV_OVS_STATS);
    const struct xv_ovs_item *flow = xv_ovs_find(items, result->len, XV_OVS_FLOW);

    op->error = xv_ovs_u32(items, result->len, XV_OVS_ERROR, EPROTO);
    if (op->type == DPIF_OP_FLOW_PUT && op->flow_put.stats) {
        stats_from_item(stats, op->flow_put.stats);
    } else if (op->type == DPIF_OP_FLOW_DEL && op->flow_del.stats) {
        stats_from_item(stats, op->flow_del.stats);
    } else if (op->type == DPIF_OP_FLOW_GET && !op->error && flow) {
        get_flow(flow, &op->flow_get);
    }
}

static void
operate_batch(struct dpif *dpif, struct ofpbuf *request, struct dpif_op **ops, size_t n_ops)
{
    const struct xv_ovs_item *item;
    struct xvio_reply reply;
    bool broken = false;
    uint32_t at = 0;
    size_t n = 0;
    int error;

    error = xvio_transact(dpif_xvio_cast(dpif)->pool, request, &reply);
    while (!error && n < n_ops && (item = xv_ovs_next(reply.items, reply.len, &at, &broken))) {
        if (item->type == XV_OVS_RESULT) {
            take_result(item, ops[n++]);
        }
    }
    for (; n < n_ops; n++) {
        ops[n]->error = error ? error : EPROTO;
    }
    xvio_reply_free(&reply);
}

void
dpif_xvio_operate(struct dpif *dpif, struct dpif_op **ops, size_t n_ops, enum dpif_offload_type offload_type)
{
    size_t first = 0, i;
    struct ofpbuf request;

    if (offload_type == DPIF_OFFLOAD_ALWAYS) {
        for (i = 0; i < n_ops; i++) {
            ops[i]->error = EINVAL;
        }
        return;
    }
    while (first < n_ops) {
        xvio_request_init(&request, XV_OVS_OPERATE);
        for (i = first; i < n_ops && request.size < XV_OVS_BATCH_BYTES; i++) {
            put_op(&request, ops[i]);
        }
        operate_batch(dpif, &request, ops + first, i - first);
        first = i;
    }
}

int
dpif_xvio_flow_flush(struct dpif *dpif)
{
    struct ofpbuf request;

    xvio_request_init(&request, XV_OVS_FLOW_FLUSH);
    return xvio_transact(dpif_xvio_cast(dpif)->pool, &request, NULL);
}

/* ---- Dump ---- */

struct dump {
    struct dpif_flow_dump up;
    struct ovs_mutex mutex;
    bool begun OVS_GUARDED, done OVS_GUARDED;
    uint64_t cursor OVS_GUARDED;
    int error OVS_GUARDED;
};

struct dump_thread {
    struct dpif_flow_dump_thread up;
    struct dump *dump;
    struct xvio_reply reply;
    uint32_t at;
};

struct dpif_flow_dump *
dpif_xvio_flow_dump_create(const struct dpif *dpif, bool terse, struct dpif_flow_dump_types *types)
{
    struct dump *dump = xzalloc(sizeof *dump);

    dpif_flow_dump_init(&dump->up, dpif);
    dump->up.terse = terse;
    ovs_mutex_init(&dump->mutex);
    ovs_mutex_lock(&dump->mutex);
    dump->done = types && !types->ovs_flows;
    ovs_mutex_unlock(&dump->mutex);
    return &dump->up;
}

int
dpif_xvio_flow_dump_destroy(struct dpif_flow_dump *dump_)
{
    struct dump *dump = CONTAINER_OF(dump_, struct dump, up);
    int error;

    ovs_mutex_lock(&dump->mutex);
    error = dump->error;
    ovs_mutex_unlock(&dump->mutex);
    ovs_mutex_destroy(&dump->mutex);
    free(dump);
    return error;
}

struct dpif_flow_dump_thread *
dpif_xvio_flow_dump_thread_create(struct dpif_flow_dump *dump)
{
    struct dump_thread *thread = xzalloc(sizeof *thread);

    dpif_flow_dump_thread_init(&thread->up, dump);
    thread->dump = CONTAINER_OF(dump, struct dump, up);
    return &thread->up;
}

void
dpif_xvio_flow_dump_thread_destroy(struct dpif_flow_dump_thread *thread_)
{
    struct dump_thread *thread = CONTAINER_OF(thread_, struct dump_thread, up);

    xvio_reply_free(&thread->reply);
    free(thread);
}

/* The next message of flows. False: there is none. */
static bool
dump_more(struct dump_thread *thread)
{
    struct dump *dump = thread->dump;
    struct ofpbuf request;
    bool got = false;

    xvio_reply_free(&thread->reply);
    thread->at = 0;
    ovs_mutex_lock(&dump->mutex);
    if (!dump->done) {
        xvio_request_init(&request, XV_OVS_FLOW_DUMP);
        if (dump->begun) {
            xvio_put(&request, XV_OVS_CURSOR, &dump->cursor, sizeof dump->cursor);
        }
        if (dump->up.terse) {
            xvio_put(&request, XV_OVS_TERSE, NULL, 0);
        }
        dump->begun = true;
        dump->error = xvio_transact(dpif_xvio_cast(dump->up.dpif)->pool, &request, &thread->reply);
        if (!dump->error) {
            dump->cursor = xv_ovs_u64(thread->reply.items, thread->reply.len, XV_OVS_CURSOR, 0);
            got = true;
        }
        dump->done = dump->error || dump->cursor == 0;
    }
    ovs_mutex_unlock(&dump->mutex);
    return got;
}

int
dpif_xvio_flow_dump_next(struct dpif_flow_dump_thread *thread_, struct dpif_flow *flows, int max_flows)
{
    struct dump_thread *thread = CONTAINER_OF(thread_, struct dump_thread, up);
    int n = 0;

    while (n < max_flows) {
        const struct xv_ovs_item *item;
        bool broken = false;

        item = thread->reply.header ? xv_ovs_next(thread->reply.items, thread->reply.len, &thread->at, &broken) : NULL;
        if (item && item->type == XV_OVS_FLOW) {
            flow_from_item(item, &flows[n++]);
        } else if (!item) {
            /* Those that were given out lie in the message. */
            if (n || !dump_more(thread)) {
                break;
            }
        }
    }
    return n;
}
