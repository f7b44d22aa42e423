/* SPDX-License-Identifier: Apache-2.0 */
/* Programs of fused flows: what does not fit into an entry. Rare; entries without one never come here. */
#include "fastpath/bond.h"
#include "fastpath/flow.h"
#include "fastpath/fused_state.h"
#include "fastpath/live_state.h"
#include "fastpath/meter.h"
#include "fastpath/worker_state.h"
#include "net/packet_share.h"
#include "port/eal.h"

static inline struct xv_fused_op *op_of(const struct xv_fused *fused, uint32_t number)
{
	return &fused->ops[number - 1];
}

/* A free one, or 0. */
static uint32_t op_alloc(struct xv_fused *fused)
{
	uint32_t number = fused->free_ops;

	if (number != 0) {
		fused->free_ops = op_of(fused, number)->next;
		return number;
	}
	return fused->ops_fresh < fused->n_entries ? ++fused->ops_fresh : 0;
}

void xv_fused_program_free(struct xv_fused *fused, uint32_t first)
{
	uint32_t number, next;

	for (number = first; number != 0; number = next) {
		struct xv_fused_op *op = op_of(fused, number);

		next = op->next;
		op->next = fused->free_ops;
		fused->free_ops = number;
	}
}

uint32_t xv_fused_program_make(struct xv_fused *fused, const struct xv_fused_op *ops, unsigned int n)
{
	uint32_t numbers[XV_FUSED_OPS], next = 0;
	unsigned int i;

	/* From the last one on: `skip` leads to what is behind. */
	for (i = n; i-- > 0;) {
		struct xv_fused_op *op;

		numbers[i] = op_alloc(fused);
		if (numbers[i] == 0) {
			xv_fused_program_free(fused, next);
			return 0;
		}
		op = op_of(fused, numbers[i]);
		*op = ops[i];
		op->skip = ops[i].skip != 0 ? numbers[ops[i].skip] : 0;
		op->next = next;
		next = numbers[i];
	}
	return next;
}

/* m, the caller's alone, with the headers as op says; NULL: it was dropped. */
static struct rte_mbuf *rewritten(struct xv_worker *w, const struct xv_fused_op *op, struct rte_mbuf *m)
{
	struct rte_mbuf *own = xv_packet_own(m, xv_packet_pool());

	if (likely(own != NULL && (!op->edits || xv_fused_edit_write(&op->edit, own))))
		return own;
	xv_packet_drop(w, own == NULL ? m : own, XV_DROP_NO_BUFFER);
	return NULL;
}

/* The end of m, by an op that is one. */
static void leave(struct xv_worker *w, const struct xv_fused_op *op, struct rte_mbuf *m)
{
	struct xv_port *out;
	const struct xv_binding *binding;
	bool cut = op->arg != 0 && m->pkt_len + (uint32_t)(op->edits ? op->edit.shift : 0) > op->arg;

	if (op->type == XV_FUSED_DENY) {
		xv_packet_drop(w, m, (enum xv_drop)op->port);
		return;
	}
	if (op->edits || cut) {
		m = rewritten(w, op, m);
		if (unlikely(m == NULL))
			return;
	}
	if (cut)
		xv_packet_cut(m, op->arg);
	xv_packet_set_queue(m, op->priority);
	if (op->type == XV_FUSED_TUNNEL) {
		xv_flow_tunnel_push(w, op->encap, op->packet_type, op->entropy, op->port, m);
		return;
	}
	if (op->type == XV_FUSED_BOND) {
		out = xv_bond_output(op->port, op->entropy, m->pkt_len, &binding);
		if (unlikely(out == NULL))
			xv_packet_drop(w, m, XV_DROP_TX_DOWN);
		else
			xv_pipeline_output(w, out, binding, XV_QUEUE_BY_FLOW, &m, 1);
		return;
	}
	if (op->hashed) {
		m->hash.rss = op->entropy;
		m->ol_flags |= XV_PACKET_HASHED;
	}
	out = xv_port_by_id(op->port);
	binding = out == NULL ? NULL : atomic_load_explicit(&out->binding, memory_order_acquire);
	if (unlikely(binding == NULL))
		xv_packet_drop(w, m, XV_DROP_TX_DOWN);
	else
		xv_pipeline_output(w, out, binding, XV_QUEUE_BY_FLOW, &m, 1);
}

/* m or, if it is not the last, a copy of it; NULL: there is no memory for one. */
static struct rte_mbuf *copy_of(struct xv_worker *w, struct rte_mbuf *m, bool last)
{
	struct rte_mbuf *copy;

	if (last)
		return m;
	count(&w->counters[m->port].copies, 1);
	copy = xv_packet_clone(m, xv_packet_pool());
	if (unlikely(copy == NULL))
		count(&w->counters[m->port].drops[XV_DROP_NO_BUFFER], 1);
	else if (unlikely(w->live != NULL))
		xv_live_note(w, copy, XV_LIVE_COPY, 0, 0);
	return copy;
}

/*
 * A packet that a meter refused, or a copy that found no buffer, of len bytes as it came in, has not come to all flows of the
 * trail: it is taken out of the entry's books and credited to those that it did come to. seen: bit per step.
 */
static void credit_seen(struct xv_worker *w, struct xv_fused_entry *e, uint32_t len, uint32_t seen)
{
	const struct xv_trail *trail = e->trail;
	struct xv_ct_hit hits[XV_FUSED_CT_MAX];
	unsigned int i, n;

	e->packets--;
	e->bytes -= len;
	for (i = 0; i < trail->n; i++) {
		struct xv_flow_count *c = &w->flow_counts[trail->flows[i]->slot];

		if ((seen >> i & 1) == 0)
			continue;
		count(&c->packets, 1);
		count(&c->bytes, (uint64_t)((int64_t)len + trail->grown[i]));
		atomic_store_explicit(&c->used, w->now >> XV_FLOW_TICK_SHIFT, memory_order_relaxed);
		if ((trail->tcp >> i & 1) != 0)
			xv_flow_saw_tcp(c, e->tcp_flags);
	}
	n = xv_fused_hits(w->fused, e, hits);
	for (i = 0; i < n; i++)
		xv_conntrack_credit(xv_flow_conntrack, &hits[i], 1, len - xv_fused_l2_len(e));
}

struct rte_mbuf *xv_fused_run(struct xv_worker *w, struct xv_fused_entry *e, struct rte_mbuf *m)
{
	const struct xv_fused *fused = w->fused;
	const uint32_t len = m->pkt_len, all = (UINT32_C(1) << e->trail->n) - 1;
	uint32_t number = fused->programs[e - fused->entries], seen = 0;
	struct rte_mbuf *left = NULL;

	count(&w->fused->stats.programs, 1);
	while (number != 0) {
		const struct xv_fused_op *op = op_of(fused, number);
		struct rte_mbuf *copy;

		number = op->next;
		if (op->type == XV_FUSED_UNWRAP) {
			seen |= op->path;
			left = rewritten(w, op, m);
			break;
		}
		if (op->type != XV_FUSED_METER) {
			copy = copy_of(w, m, number == 0);
			if (likely(copy != NULL)) {
				seen |= op->path;
				leave(w, op, copy);
			}
			continue;
		}
		if (likely(xv_meter_allow(op->arg, (uint32_t)((int32_t)len + op->grown), w->now)))
			continue;
		number = op->skip;
		copy = copy_of(w, m, number == 0);
		if (likely(copy != NULL)) {
			seen |= op->path;
			xv_packet_drop(w, copy, XV_DROP_METER);
		}
	}
	if (unlikely(seen != all))
		credit_seen(w, e, len, seen);
	return left;
}
