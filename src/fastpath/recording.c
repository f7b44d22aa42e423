/* SPDX-License-Identifier: Apache-2.0 */
#include "fastpath/recording.h"

#include <string.h>

#include "fastpath/binding.h"
#include "fastpath/flow.h"
#include "fastpath/worker_state.h"

void xv_record_begin(struct xv_recording *r, const struct xv_fused_place *place, const struct rte_mbuf *m)
{
	uint32_t n = RTE_MIN((uint32_t)rte_pktmbuf_data_len(m), (uint32_t)sizeof(r->first));

	r->on = true;
	r->metered = false;
	r->first_is = XV_FIRST_NONE;
	r->commit = NULL;
	r->n = r->n_ops = 0;
	r->path = 0;
	r->bits = 0;
	r->place = *place;
	r->end = (struct xv_fused_end){.len_max = UINT32_MAX};
	r->out = NULL;
	r->pkt_len = rte_pktmbuf_pkt_len(m);
	memcpy(r->first, rte_pktmbuf_mtod(m, const uint8_t *), n);
	memset(r->first + n, 0, sizeof(r->first) - n);
}

/* Bytes that it is longer by now than it came in. */
static int32_t grown(const struct xv_recording *r, const struct rte_mbuf *m)
{
	return (int32_t)rte_pktmbuf_pkt_len(m) - (int32_t)r->pkt_len;
}

void xv_record_fields(struct xv_recording *r, const uint64_t *mask_words)
{
	r->on = xv_fused_guard(&r->place, mask_words, &r->bits);
}

void xv_record_step(struct xv_recording *r, const struct rte_mbuf *m, const struct xv_flow_key *key, struct xv_flow *flow,
		    const struct xv_actions *actions)
{
	/* Behind a commit flows may see a mark. */
	if (r->n == XV_TRAIL_MAX || r->first_is == XV_FIRST_OPENS) {
		r->on = false;
		return;
	}
	r->path |= UINT32_C(1) << r->n;
	r->steps[r->n++] = (struct xv_fused_step){flow, actions, (int16_t)grown(r, m), key->ip_proto == 6};
}

void xv_record_extract(struct xv_recording *r, const struct rte_mbuf *m, const struct xv_flow_key *key,
		       const struct xv_flow_layout *layout)
{
	int32_t l3 = r->place.l3 + grown(r, m); /* where its IP header is by now */

	switch (rte_be_to_cpu_16(key->eth_type)) {
	case 0x8847:
	case 0x8848:
		r->on = layout->l2_5 + 4 * key->mpls_depth <= l3;
		break;
	case 0x894f:
		r->on = layout->l2_5 + 8 <= l3;
		break;
	default:
		/* What a pop says to be there may be something else: then its bytes are in other fields than are compared. */
		r->on = layout->l3 == l3 && xv_fused_is_type(&r->place, key->eth_type);
	}
}

void xv_record_length(struct xv_recording *r, const struct rte_mbuf *m, uint32_t bytes)
{
	int64_t limit = (int64_t)bytes - grown(r, m); /* as it came in */

	if (rte_pktmbuf_pkt_len(m) > bytes)
		r->end.len_min = (uint32_t)RTE_MAX(limit + 1, (int64_t)r->end.len_min);
	else
		r->end.len_max = (uint32_t)RTE_MIN(limit, (int64_t)r->end.len_max);
}

/* The next op, all zero but for its edit; NULL: there are too many. */
static struct xv_fused_op *op_add(struct xv_recording *r)
{
	struct xv_fused_op *op = &r->ops[r->n_ops];

	if (r->n_ops == XV_FUSED_OPS) {
		r->on = false;
		return NULL;
	}
	r->n_ops++;
	memset(op, 0, offsetof(struct xv_fused_op, edit));
	op->path = r->path;
	return op;
}

void xv_record_meter(struct xv_recording *r, const struct rte_mbuf *m, uint32_t id)
{
	struct xv_fused_op *op = op_add(r);

	r->metered = true;
	if (op == NULL)
		return;
	op->type = XV_FUSED_METER;
	op->arg = id;
	op->grown = (int16_t)grown(r, m);
}

void xv_record_copy_end(struct xv_recording *r, const struct xv_record_copy *copy)
{
	unsigned int i;

	/* What meters have refused of it since then goes on here; those of copies of the copy have been told. */
	for (i = copy->n_ops; i < r->n_ops; i++)
		if (r->ops[i].type == XV_FUSED_METER && r->ops[i].skip == 0)
			r->ops[i].skip = r->n_ops;
	r->path = copy->path;
}

/* A packet and the question that it answers, which nobody translated. */
static bool is_reverse(const struct xv_flow_key *key)
{
	return memcmp(&key->ct_src, &key->ip_dst, sizeof(key->ct_src)) == 0 &&
	       memcmp(&key->ct_dst, &key->ip_src, sizeof(key->ct_dst)) == 0 && key->ct_tp_src == key->tp_dst &&
	       key->ct_tp_dst == key->tp_src;
}

/*
 * A first packet: what becomes of it holds for others that open connections, or are the first answers, as long as the way leads over
 * one look-up in one zone and, behind all flows, the commit. Nothing may have been written: what made no difference to this
 * packet may make one to others.
 */
static void record_first(struct xv_recording *r, const struct xv_action_ct *ct, const struct xv_flow_key *key,
			 const struct xv_ct_hit *hit)
{
	r->on = false;
	if (r->end.n_hits > 0 || r->metered || r->bits != 0 || key->in_port != r->place.where >> 8)
		return;
	if (r->first_is == XV_FIRST_NONE && ct->flags == 0) {
		r->zone = ct->zone;
		if (hit->conn == NULL && key->ct_state == (XV_CS_TRACKED | XV_CS_NEW))
			r->first_is = XV_FIRST_NEW;
		else if (key->ct_state == (XV_CS_TRACKED | XV_CS_ESTABLISHED | XV_CS_REPLY) &&
			 (key->ct_mark | key->ct_label[0] | key->ct_label[1]) == 0 && is_reverse(key))
			r->first_is = XV_FIRST_ANSWER;
		else
			return;
	} else if (r->first_is == XV_FIRST_NEW && ct->flags == XV_CT_COMMIT && ct->helper == XV_CT_HELPER_NONE &&
		   ct->zone == r->zone && hit->conn != NULL) {
		r->first_is = XV_FIRST_OPENS;
		r->commit = ct;
	} else {
		return;
	}
	r->on = true;
}

void xv_record_hit(struct xv_recording *r, const struct xv_action_ct *ct, const struct xv_flow_key *key,
		   const struct xv_ct_hit *hit, const struct xv_ct_hit *before)
{
	if (!hit->steady || r->first_is != XV_FIRST_NONE) {
		record_first(r, ct, key, hit);
		return;
	}
	/* The same connection again (a commit behind a look-up) is advanced once. If that changed its mark, what was decided
	 * before is not what the next packet meets. */
	if (before->conn == hit->conn) {
		r->on = before->generation == hit->generation;
		return;
	}
	/* States advance before anything else is done: not if a meter refuses the packet first. */
	if (r->end.n_hits == XV_FUSED_CT_MAX || r->metered || !xv_fused_tracks(&r->place)) {
		r->on = false;
		return;
	}
	r->end.hits[r->end.n_hits++] = *hit;
}

static bool is_as_it_came(const struct xv_recording *r, const struct rte_mbuf *m)
{
	uint32_t n = RTE_MIN((uint32_t)rte_pktmbuf_data_len(m), (uint32_t)sizeof(r->first));

	return rte_pktmbuf_pkt_len(m) == r->pkt_len && memcmp(r->first, rte_pktmbuf_mtod(m, const uint8_t *), n) == 0;
}

/* The op that is the end of m as it is by now; NULL: it cannot be. */
static struct xv_fused_op *end_add(struct xv_recording *r, const struct rte_mbuf *m)
{
	struct xv_fused_op *op = op_add(r);
	unsigned int i;

	if (op == NULL)
		return NULL;
	if (r->first_is != XV_FIRST_NONE) {
		op->edits = false;
		r->on = is_as_it_came(r, m);
		return r->on ? op : NULL;
	}
	if (!xv_fused_edit_make(&r->place, r->first, r->pkt_len, m, &op->edit)) {
		r->on = false;
		return NULL;
	}
	op->edits = op->edit.shift != 0;
	for (i = 0; i < RTE_DIM(op->edit.mask); i++)
		op->edits |= op->edit.mask[i] != 0;
	return op;
}

void xv_record_output(struct xv_recording *r, const struct rte_mbuf *m, uint16_t port, uint32_t cut,
		      const struct xv_encap *encap, const struct xv_flow_key *key, bool hashed, uint32_t entropy)
{
	struct xv_fused_op *op = end_add(r, m);

	if (op == NULL)
		return;
	op->type = encap != NULL ? XV_FUSED_TUNNEL : XV_FUSED_OUTPUT;
	op->port = port;
	op->arg = cut;
	op->encap = encap;
	op->packet_type = encap != NULL ? key->packet_type : 0;
	op->priority = key->skb_priority;
	op->hashed = hashed;
	op->entropy = entropy;
}

void xv_record_bond(struct xv_recording *r, const struct rte_mbuf *m, const struct xv_flow_key *key, uint32_t bond, uint32_t cut,
		    uint32_t hash)
{
	struct xv_fused_op *op = end_add(r, m);

	if (op == NULL)
		return;
	op->type = XV_FUSED_BOND;
	op->priority = key->skb_priority;
	op->port = (uint16_t)bond;
	op->arg = cut;
	op->entropy = hash;
}

void xv_record_drop(struct xv_recording *r, enum xv_drop reason)
{
	struct xv_fused_op *op = op_add(r);

	if (op == NULL)
		return;
	op->type = XV_FUSED_DENY;
	op->port = (uint16_t)reason;
}

/* What its flows looked at: not asked before, for many packets (the first of each connection) never get that far. */
static void fields_of_steps(struct xv_recording *r)
{
	struct xv_flow_key mask;
	unsigned int i;

	for (i = 0; i < r->n && r->on; i++) {
		xv_flow_match(r->steps[i].flow, NULL, &mask);
		xv_record_fields(r, (const uint64_t *)(const void *)&mask);
	}
}

void xv_record_pop(struct xv_recording *r, const struct rte_mbuf *m, const struct xv_action *pop)
{
	struct xv_fused_op *op = end_add(r, m);

	if (op == NULL)
		return;
	op->type = XV_FUSED_UNWRAP;
	r->end.flags |= XV_FUSED_POP;
	r->end.pop = pop;
}

/* The flow for packets to that port may be newer than what was done before it was looked up. */
static bool has_binding(const struct xv_recording *r)
{
	return r->out == NULL || atomic_load_explicit(&r->out->binding, memory_order_acquire) == r->out_binding;
}

/* An entry says it itself: one end, nothing unusual about it. */
static bool is_plain(const struct xv_recording *r)
{
	return r->n_ops == 1 && r->ops[0].arg == 0 && r->ops[0].packet_type == 0 && r->ops[0].priority == 0 &&
	       r->ops[0].type != XV_FUSED_BOND;
}

/* The way of a first packet. Nothing is said of it itself, and its next packets. */
static void first_end(struct xv_recording *r, struct xv_worker *w)
{
	const bool opens = r->first_is == XV_FIRST_OPENS;
	uint8_t mask[XV_FUSED_BYTES] = {0};
	struct xv_flow_key flow_mask;
	unsigned int i;

	r->on = false;
	if (r->first_is == XV_FIRST_NEW || !is_plain(r) || r->ops[0].type != XV_FUSED_OUTPUT || r->bits != 0 ||
	    r->end.len_min != 0 || r->end.len_max != UINT32_MAX || !has_binding(r) ||
	    !xv_fused_first_fits(w->fused, &r->place, r->first, opens, r->zone, r->end.changes))
		return;
	for (i = 0; i < r->n; i++) {
		xv_flow_match(r->steps[i].flow, NULL, &flow_mask);
		if (!xv_fused_first_guard(&r->place, opens, &flow_mask, mask))
			return;
	}
	r->end.out_port = r->ops[0].port;
	(void)xv_fused_first_insert(w->fused, &r->place, r->first, mask, r->steps, r->n, &r->end, r->commit, r->zone);
}

bool xv_record_end(struct xv_recording *r, struct xv_worker *w)
{
	const struct xv_fused_op *op = &r->ops[0];
	struct xv_fused_entry *e;

	if (!r->on || r->n == 0)
		return false;
	if (r->first_is != XV_FIRST_NONE) {
		first_end(r, w);
		return false;
	}
	fields_of_steps(r);
	if (!r->on)
		return false;
	r->on = false;
	if (!has_binding(r))
		return false;
	if (is_plain(r)) {
		r->end.out_port = op->port;
		r->end.flags |= (uint16_t)((op->type == XV_FUSED_DENY ? XV_FUSED_DROP : 0) | (op->hashed ? XV_FUSED_HASH : 0));
		r->end.encap = op->encap;
		r->end.entropy = op->entropy;
		r->end.edit = op->type != XV_FUSED_DENY && op->edits ? &op->edit : NULL;
	} else {
		r->end.ops = r->ops;
		r->end.n_ops = r->n_ops;
	}
	e = xv_fused_insert(w->fused, &r->place, r->first, r->bits, r->steps, r->n, &r->end);
	if (e != NULL)
		e->learned_s = (uint16_t)w->now_s;
	return e != NULL;
}
