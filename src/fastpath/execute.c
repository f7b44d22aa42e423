/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The long way of one packet: look up its flow, carry out the actions, look up again where they say so; and record what
 * was done, so that the next packet of its kind finds it in one piece (fused.h).
 *
 * What is recorded is not the actions but their result: which flows were on the trail, which bytes of the packet they looked at, and
 * how its headers differ at the end. What depends on more than that (length, chance, meters, a slow path) and what makes several
 * packets of one is not fused: such packets come this way every time.
 */
#include <errno.h>
#include <string.h>

#include <rte_random.h>

#include "base/clock.h"
#include "fastpath/flow.h"
#include "fastpath/fragments.h"
#include "fastpath/fused.h"
#include "fastpath/live_state.h"
#include "fastpath/meter.h"
#include "fastpath/network.h"
#include "fastpath/policy.h"
#include "fastpath/resolve.h"
#include "fastpath/rule_log.h"
#include "fastpath/worker_state.h"
#include "net/edit.h"
#include "net/packet_share.h"
#include "net/push_pop.h"
#include "port/eal.h"

#define PASSES_MAX 64 /* look-ups of one packet and all its copies: a loop in somebody's flows ends here */

struct recording {
	bool on;
	uint8_t n;
	struct xv_fused_step steps[XV_TRAIL_MAX];
	uint64_t bits; /* bytes that flows looked at */
	struct xv_fused_place place;
	struct xv_fused_end end;   /* changes: of the network's MAC table, before it was asked ... */
	const struct xv_port *out; /* ... and what it was sent to, by which rules; NULL = no network involved */
	const struct xv_binding *out_binding;
	struct xv_fused_edit edit; /* as of the encapsulation, if there is one */
	uint32_t pkt_len;	   /* of the packet as it came in ... */
	uint8_t first[XV_FUSED_EDIT_BYTES]; /* ... and its first bytes */
};

/* One packet under way. */
struct walk {
	struct xv_worker *w;
	struct xv_port *in;
	const struct xv_binding *binding; /* of in */
	struct rte_mbuf *m;		  /* NULL: it has left */
	struct xv_flow_key key;
	struct xv_flow_layout layout;
	unsigned int *passes;	     /* of the packet that came in, with all its copies */
	uint32_t trunc;		     /* bytes that the next output sends; 0 = all */
	bool recirculated;
	struct xv_ct_hit hit;	     /* of the last zone that it was looked up in */
	struct recording *recording; /* NULL in copies */
};

static void stop_recording(struct walk *k)
{
	if (k->recording != NULL)
		k->recording->on = false;
}

static void drop(struct walk *k, enum xv_drop reason)
{
	xv_packet_drop(k->w, k->m, reason);
	k->m = NULL;
}

/* Fields of the packet from its bytes; metadata stays. */
static bool extract(struct walk *k)
{
	return xv_flow_extract(rte_pktmbuf_mtod(k->m, const uint8_t *), rte_pktmbuf_data_len(k->m),
			       rte_pktmbuf_pkt_len(k->m), &k->key, &k->layout) == XV_FLOW_OK;
}

/* ---- Recording ---- */

/* This flow, with these actions, decides about the packet. */
static void record_step(struct walk *k, struct xv_flow *flow, const struct xv_actions *actions,
			const struct xv_flow_key *mask)
{
	struct recording *r = k->recording;

	if (r == NULL || !r->on)
		return;
	if (r->n == XV_TRAIL_MAX || !xv_fused_guard(&r->place, (const uint64_t *)(const void *)mask, &r->bits)) {
		r->on = false;
		return;
	}
	r->steps[r->n++] = (struct xv_fused_step){
		flow, actions, (int16_t)((int32_t)rte_pktmbuf_pkt_len(k->m) - (int32_t)r->pkt_len)};
}

/* Before the packet leaves: its headers are as all later ones shall leave. */
static void record_edit(struct walk *k)
{
	struct recording *r = k->recording;
	struct xv_fused_edit *edit;
	unsigned int i;
	bool edited;

	if (r == NULL || !r->on || r->end.encap != NULL)
		return;
	edit = &r->edit;
	if (!xv_fused_edit_make(&r->place, r->first, r->pkt_len, k->m, edit)) {
		r->on = false;
		return;
	}
	edited = edit->shift != 0;
	for (i = 0; i < RTE_DIM(edit->mask); i++)
		edited |= edit->mask[i] != 0;
	r->end.edit = edited ? edit : NULL;
}

static void record_end(struct walk *k, uint16_t out_port, uint8_t flags)
{
	struct recording *r = k->recording;
	struct xv_fused_entry *e;

	if (r == NULL || !r->on || r->n == 0)
		return;
	r->on = false;
	/* The flow for packets to that port may be newer than what was done before it was looked up. */
	if (r->out != NULL && atomic_load_explicit(&r->out->binding, memory_order_acquire) != r->out_binding)
		return;
	r->end.out_port = out_port;
	r->end.flags |= flags;
	e = xv_fused_insert(k->w->fused, &r->place, r->first, r->bits, r->steps, r->n, &r->end);
	if (e != NULL)
		e->learned_s = k->w->now_s;
}

/* ---- Actions ---- */

/* The packet, writable, or NULL: it had to be dropped. */
static struct rte_mbuf *own(struct walk *k)
{
	struct rte_mbuf *m = xv_packet_own(k->m, xv_packet_pool());

	if (unlikely(m == NULL))
		drop(k, XV_DROP_NO_BUFFER);
	else
		k->m = m;
	return m;
}

/* Cut to what trunc says; false: it was dropped. */
static bool truncate(struct walk *k)
{
	uint32_t len = rte_pktmbuf_pkt_len(k->m), cut = len > k->trunc ? len - k->trunc : 0;

	if (k->trunc == 0 || cut == 0)
		return true;
	k->trunc = 0;
	if (own(k) == NULL)
		return false;
	/* What is left of it promises nothing any more. */
	k->m->ol_flags &= ~XV_PACKET_OFFLOAD;
	while (cut > 0) {
		struct rte_mbuf *last = rte_pktmbuf_lastseg(k->m);
		uint16_t here = (uint16_t)RTE_MIN(cut, (uint32_t)last->data_len);

		if (here == last->data_len && last != k->m) {
			struct rte_mbuf *at = k->m;

			while (at->next != last)
				at = at->next;
			at->next = NULL;
			k->m->nb_segs--;
			k->m->pkt_len -= here;
			last->next = NULL;
			last->nb_segs = 1;
			rte_pktmbuf_free_seg(last);
		} else {
			last->data_len = (uint16_t)(last->data_len - here);
			k->m->pkt_len -= here;
		}
		cut -= here;
	}
	return true;
}

static void output(struct walk *k, uint16_t port_id)
{
	struct xv_port *out = xv_port_by_id(port_id);
	const struct xv_binding *binding =
		out == NULL ? NULL : atomic_load_explicit(&out->binding, memory_order_acquire);

	if (binding == NULL) {
		stop_recording(k);
		drop(k, XV_DROP_TX_DOWN);
		return;
	}
	if (k->trunc != 0) {
		stop_recording(k);
		if (!truncate(k))
			return;
	}
	record_edit(k);
	if (k->recording != NULL && k->recording->on &&
	    (binding->tunnel != NULL || atomic_load_explicit(&out->tx_queues, memory_order_relaxed) > 1)) {
		k->recording->end.entropy = xv_packet_flow_hash(k->m);
		k->recording->end.flags |= XV_FUSED_HASH;
	}
	record_end(k, port_id, 0);
	xv_pipeline_output(k->w, out, binding, XV_QUEUE_BY_FLOW, &k->m, 1);
	k->m = NULL;
}

static void run(struct walk *k, const uint64_t *program, uint32_t bytes);
static void walk_on(struct walk *k);

/* The same for a copy of the packet; this one goes on. */
static void run_copy(struct walk *k, const uint64_t *program, uint32_t bytes)
{
	struct walk copy = *k;

	stop_recording(k);
	copy.recording = NULL;
	count(&k->w->counters[k->m->port].copies, 1);
	copy.m = xv_packet_clone(k->m, xv_packet_pool());
	if (unlikely(copy.m == NULL)) {
		count(&k->w->counters[k->m->port].drops[XV_DROP_NO_BUFFER], 1);
		return;
	}
	copy.recirculated = false;
	if (unlikely(k->w->live != NULL))
		xv_live_note(k->w, copy.m, XV_LIVE_COPY, 0, 0);
	run(&copy, program, bytes);
	if (copy.m != NULL)
		walk_on(&copy);
}

/* Some packet fields differ from what they were: the headers follow. False: the packet is gone. */
static bool rewrite(struct walk *k, const struct xv_flow_key *to)
{
	if (own(k) == NULL)
		return false;
	if (xv_edit_apply(k->m, &k->layout, &k->key, to) != 0) {
		stop_recording(k);
		drop(k, XV_DROP_MALFORMED);
		return false;
	}
	return true;
}

static void set(struct walk *k, const struct xv_action_set *set)
{
	struct xv_flow_key to = k->key, mask = {0};
	uint64_t *words = (uint64_t *)(void *)&to, *mask_words = (uint64_t *)(void *)&mask;
	uint32_t i;

	for (i = 0; i < set->n; i++) {
		words[set->first + i] = (words[set->first + i] & ~set->words[i].mask) | set->words[i].value;
		mask_words[set->first + i] = set->words[i].mask;
	}
	/* What was there before decides which bytes change: a guard, as if it had been matched. */
	if (k->recording != NULL && k->recording->on &&
	    !xv_fused_guard(&k->recording->place, mask_words, &k->recording->bits))
		k->recording->on = false;
	if (set->first + set->n > XV_FLOW_STAGE_L2 && set->first < XV_FLOW_FIXED_WORDS && !rewrite(k, &to))
		return;
	k->key = to;
}

/* A header was pushed or popped: rc is what net/push_pop.h said. */
static void pushed(struct walk *k, int rc)
{
	if (likely(rc == 0))
		return;
	if (rc == XV_PUSH_POP_EXTRACT) {
		if (!extract(k)) {
			stop_recording(k);
			drop(k, XV_DROP_MALFORMED);
		}
		return;
	}
	stop_recording(k);
	drop(k, rc == -ENOBUFS ? XV_DROP_NO_BUFFER : XV_DROP_MALFORMED);
}

static void push_nsh(struct walk *k, const struct xv_action_push_nsh *a)
{
	struct xv_nsh nsh = {.flags = a->flags, .ttl = a->ttl, .mdtype = a->mdtype, .md2_len = a->md2_len,
			     .path_hdr = a->path_hdr};

	if (a->mdtype == 1)
		memcpy(nsh.context, a->metadata, sizeof(nsh.context));
	else
		nsh.md2 = a->metadata;
	pushed(k, xv_nsh_push(k->m, &k->key, &k->layout, &nsh));
}

/* next: the action behind, in a program that ends at end. */
static void tunnel_push(struct walk *k, const struct xv_encap *encap, const struct xv_action *next, const uint8_t *end)
{
	uint32_t entropy = xv_flow_hash_5tuple(&k->key, 0, false);

	/* The rule: straight out, and no further. */
	if ((const uint8_t *)next < end && next->type == XV_ACT_OUTPUT &&
	    (const uint8_t *)xv_action_next(next) == end && k->trunc == 0) {
		record_edit(k);
		if (k->recording != NULL && k->recording->on) {
			k->recording->end.encap = encap;
			k->recording->end.entropy = entropy;
		}
		record_end(k, (uint16_t)next->arg, 0);
		xv_flow_tunnel_push(k->w, encap, k->key.packet_type, entropy, (uint16_t)next->arg, k->m);
		k->m = NULL;
		return;
	}
	stop_recording(k);
	if ((k->m->ol_flags & XV_PACKET_OFFLOAD) != 0 && xv_packet_offload(k->m)->gso_type != XV_GSO_NONE) {
		drop(k, XV_DROP_TUNNEL);
		return;
	}
	if (!xv_encap_one(k->w, encap, k->key.packet_type, entropy, &k->m)) {
		k->m = NULL;
		return;
	}
	k->key.packet_type = 0; /* outer headers begin with Ethernet, whatever is in them */
	if (!extract(k))
		drop(k, XV_DROP_MALFORMED);
}

/* To the port that the MAC table knows, through its ingress policy; else wherever a network sends what it does not know. */
static void forward(struct walk *k)
{
	const struct xv_binding *out_binding;
	struct recording *r = k->recording;
	struct xv_tracked tracked = {
		.key = &k->key,
		.layout = &k->layout,
		.hit = k->hit,
		.now_ms = xv_worker_now_ms(k->w),
	};
	struct xv_port *out;

	if (k->binding->network == NULL) {
		drop(k, XV_DROP_NO_FLOW);
		return;
	}
	/* Networks that a router joins count their changes together: what held before the first of them was asked is what counts. */
	if (r != NULL && r->on && (r->end.flags & XV_FUSED_CHANGES) == 0) {
		r->end.changes = xv_mac_table_changes(k->binding->network->macs);
		r->end.flags |= XV_FUSED_CHANGES | XV_FUSED_LEARN;
	}
	if (own(k) == NULL)
		return;
	out = xv_bridge_forward(k->w, k->in, k->binding, k->m,
				k->binding->tracked ? &tracked : NULL, &out_binding);
	if (out == NULL) {
		stop_recording(k);
		k->m = NULL;
		return;
	}
	if (r != NULL) {
		r->out = out;
		r->out_binding = out_binding;
	}
	k->key.recirc_id = XV_RECIRC_TO_PORT | out->id;
	k->recirculated = true;
	if (!extract(k))
		drop(k, XV_DROP_MALFORMED);
}

/* From here on as if that port had received the packet; who pays for it stays who sent it (m->port). */
static void patch(struct walk *k, uint16_t port_id)
{
	struct xv_port *in = xv_port_by_id(port_id);
	const struct xv_binding *binding =
		in == NULL ? NULL : atomic_load_explicit(&in->binding, memory_order_acquire);

	if (binding == NULL) {
		stop_recording(k);
		drop(k, XV_DROP_UNBOUND);
		return;
	}
	k->in = in;
	k->binding = binding;
	k->key.in_port = port_id;
}

/* A fragment: its walk ends here, and goes on by the rest of the program when all of its datagram are there. */
static void hold(struct walk *k, const struct xv_action *a, const uint8_t *end)
{
	uint32_t bytes = (uint32_t)(end - (const uint8_t *)a);
	struct rte_mbuf *buf = rte_pktmbuf_alloc(xv_packet_pool());
	struct xv_held *held;

	stop_recording(k);
	if (unlikely(buf == NULL || sizeof(*held) + bytes > rte_pktmbuf_tailroom(buf))) {
		drop(k, buf == NULL ? XV_DROP_NO_BUFFER : XV_DROP_FRAG_LIMIT);
		rte_pktmbuf_free(buf);
		return;
	}
	held = xv_held_of(buf);
	*held = (struct xv_held){.key = k->key,
				 .layout = k->layout,
				 .hit = k->hit,
				 .trunc = k->trunc,
				 .passes = *k->passes,
				 .bytes = bytes};
	memcpy(held->program, a, bytes);
	count(&k->w->counters[k->m->port].held, 1);
	xv_fragments_hold(k->w->fragments, xv_flow_conntrack, k->m, buf, xv_worker_now_ms(k->w));
	k->m = NULL;
}

/* a: the ct action, in a program that ends at end. */
static void track(struct walk *k, const struct xv_action *a, const uint8_t *end)
{
	const struct xv_action_ct *ct = (const struct xv_action_ct *)(const void *)a->data;
	const struct xv_ct_hit before = k->hit;
	struct recording *r = k->recording;
	int rc;

	if ((ct->flags & (XV_CT_NAT | XV_CT_NAT_REPLY)) != 0 && own(k) == NULL)
		return;
	if (unlikely(k->key.ip_frag != XV_FRAG_NONE && (ct->flags & XV_CT_CLEAR) == 0)) {
		hold(k, a, end);
		return;
	}
	rc = xv_conntrack_packet(xv_flow_conntrack, ct, k->m, &k->key, &k->layout, xv_worker_now_ms(k->w), &k->hit);
	if (unlikely(rc != 0)) {
		stop_recording(k);
		drop(k, xv_conntrack_why(rc));
		return;
	}
	if (r == NULL || !r->on || (ct->flags & XV_CT_CLEAR) != 0)
		return;
	/* The same connection again (a commit behind a look-up) is advanced once. If that changed its mark, what was decided
	 * before is not what the next packet meets. */
	if (k->hit.steady && before.conn == k->hit.conn) {
		r->on = before.generation == k->hit.generation;
		return;
	}
	if (!k->hit.steady || r->end.n_hits == XV_FUSED_CT_MAX) {
		r->on = false;
		return;
	}
	r->end.hits[r->end.n_hits++] = k->hit;
}

static void run(struct walk *k, const uint64_t *program, uint32_t bytes)
{
	const struct xv_action *a = xv_action_first(program), *next;
	const uint8_t *end = (const uint8_t *)program + bytes;

	for (; (const uint8_t *)a < end && k->m != NULL; a = next) {
		bool last;

		next = xv_action_next(a);
		last = (const uint8_t *)next == end;
		switch ((enum xv_action_type)a->type) {
		case XV_ACT_OUTPUT:
			if (last) {
				output(k, (uint16_t)a->arg);
			} else {
				run_copy(k, (const uint64_t *)(const void *)a, a->bytes);
				k->trunc = 0;
			}
			break;
		case XV_ACT_SET:
			set(k, (const struct xv_action_set *)(const void *)a->data);
			break;
		case XV_ACT_PUSH_VLAN: {
			const struct xv_action_push_vlan *vlan = (const struct xv_action_push_vlan *)(const void *)a->data;

			if (own(k) != NULL)
				pushed(k, xv_vlan_push(k->m, &k->key, &k->layout, vlan->tpid, vlan->tci));
			break;
		}
		case XV_ACT_POP_VLAN:
			if (own(k) != NULL)
				pushed(k, xv_vlan_pop(k->m, &k->key, &k->layout));
			break;
		case XV_ACT_PUSH_MPLS: {
			const struct xv_action_push_mpls *mpls = (const struct xv_action_push_mpls *)(const void *)a->data;

			stop_recording(k);
			if (own(k) != NULL)
				pushed(k, xv_mpls_push(k->m, &k->key, &k->layout, mpls->lse, mpls->eth_type,
						       mpls->before_l2));
			break;
		}
		case XV_ACT_POP_MPLS:
			stop_recording(k);
			if (own(k) != NULL)
				pushed(k, xv_mpls_pop(k->m, &k->key, &k->layout, (rte_be16_t)a->arg));
			break;
		case XV_ACT_PUSH_ETH: {
			const struct xv_action_push_eth *eth = (const struct xv_action_push_eth *)(const void *)a->data;

			stop_recording(k);
			if (own(k) != NULL)
				pushed(k, xv_eth_push(k->m, &k->key, &k->layout, eth->dst, eth->src));
			break;
		}
		case XV_ACT_POP_ETH:
			stop_recording(k);
			if (own(k) != NULL)
				pushed(k, xv_eth_pop(k->m, &k->key, &k->layout));
			break;
		case XV_ACT_PUSH_NSH:
			stop_recording(k);
			if (own(k) != NULL)
				push_nsh(k, (const struct xv_action_push_nsh *)(const void *)a->data);
			break;
		case XV_ACT_POP_NSH:
			stop_recording(k);
			if (own(k) != NULL)
				pushed(k, xv_nsh_pop(k->m, &k->key, &k->layout));
			break;
		case XV_ACT_TUNNEL_PUSH:
			tunnel_push(k, (const struct xv_encap *)(const void *)a->data, next, end);
			break;
		case XV_ACT_HASH:
			k->key.dp_hash = xv_flow_hash_5tuple(&k->key, a->arg, false);
			k->key.dp_hash += k->key.dp_hash == 0; /* 0 means "none" */
			break;
		case XV_ACT_METER:
			stop_recording(k);
			if (!xv_meter_allow(a->arg, k->m->pkt_len, k->w->now))
				drop(k, XV_DROP_METER);
			break;
		case XV_ACT_SAMPLE:
			stop_recording(k);
			if (a->arg == UINT32_MAX || (uint32_t)rte_rand() < a->arg)
				run_copy(k, a->data, a->bytes - (uint32_t)sizeof(*a));
			break;
		case XV_ACT_CLONE:
			run_copy(k, a->data, a->bytes - (uint32_t)sizeof(*a));
			break;
		case XV_ACT_CHECK_LEN: {
			const struct xv_action_check_len *check =
				(const struct xv_action_check_len *)(const void *)a->data;

			stop_recording(k);
			if (k->m->pkt_len > a->arg)
				run(k, check->programs, check->greater_bytes);
			else
				run(k, check->programs + check->greater_bytes / 8, check->other_bytes);
			return;
		}
		case XV_ACT_TRUNC:
			stop_recording(k);
			k->trunc = a->arg;
			break;
		case XV_ACT_RECIRC:
			k->key.recirc_id = a->arg;
			k->recirculated = true;
			return;
		case XV_ACT_CT:
			track(k, a, end);
			break;
		case XV_ACT_PATCH:
			patch(k, (uint16_t)a->arg);
			break;
		case XV_ACT_FORWARD:
			forward(k);
			return;
		case XV_ACT_PUNT: /* refused by xv_actions_check(): nobody listens */
			stop_recording(k);
			drop(k, XV_DROP_ACTION);
			return;
		case XV_ACT_DROP:
			record_end(k, (uint16_t)a->arg, XV_FUSED_DROP);
			drop(k, (enum xv_drop)a->arg);
			return;
		case XV_ACT_MAX:
			return;
		}
	}
	if (k->m != NULL) {
		record_end(k, XV_DROP_ACTION, XV_FUSED_DROP);
		drop(k, XV_DROP_ACTION);
	}
}

/* ---- Look-up ---- */

/* One flow's actions. */
static void run_flow(struct walk *k, struct xv_flow *flow)
{
	const struct xv_actions *actions = atomic_load_explicit(&flow->actions, memory_order_acquire);
	struct xv_flow_count *c = &k->w->flow_counts[flow->slot];
	struct xv_flow_key mask;

	count(&c->packets, 1);
	count(&c->bytes, k->m->pkt_len);
	atomic_store_explicit(&c->used, k->w->now >> XV_FLOW_TICK_SHIFT, memory_order_relaxed);
	if (unlikely(k->w->live != NULL))
		xv_live_note_data(k->w, k->m, XV_LIVE_FLOW, 0, &flow->id, sizeof(flow->id));
	if (k->recording != NULL && k->recording->on) {
		xv_flow_match(flow, NULL, &mask);
		record_step(k, flow, actions, &mask);
	}
	run(k, actions->program, actions->bytes);
}

/* Nobody knows the packet yet. On a built-in network we decide ourselves, now, and ask for a flow that says the same. */
static void resolve(struct walk *k)
{
	struct xv_flow_key mask = {0};
	struct xv_decision decision;
	uint64_t program[XV_DECISION_WORDS];

	stop_recording(k);
	if (!xv_resolve(k->in, k->binding, &k->key, &mask, &decision)) {
		drop(k, XV_DROP_NO_FLOW);
		return;
	}
	if (unlikely(k->w->live != NULL))
		xv_live_decided(k->w, k->m, &decision);
	if (unlikely(decision.log))
		xv_rule_log(k->w, k->in->id, &k->key, &decision);
	if (unlikely(decision.reject))
		xv_answer_refused(k->w, k->m);
	if (decision.counter != NULL && k->hit.conn == NULL)
		(void)atomic_fetch_add_explicit(decision.counter, 1, memory_order_relaxed);
	if (!decision.log && !decision.reject && !decision.once && xv_flow_request(&k->key, &mask, &decision, k->m->pkt_len))
		k->w->flows_wanted = true;
	run(k, program, xv_decision_program(&decision, program));
}

/* As long as actions say: look up again. */
static void walk_on(struct walk *k)
{
	do {
		struct xv_flow *flow = xv_flow_lookup(k->w, &k->key);

		k->recirculated = false;
		if (++*k->passes > PASSES_MAX) {
			stop_recording(k);
			drop(k, XV_DROP_DEPTH);
		} else if (likely(flow != NULL)) {
			run_flow(k, flow);
		} else {
			resolve(k);
		}
	} while (k->m != NULL && k->recirculated);
}

/* ---- Fragments ---- */

void xv_flow_drop_fragment(void *worker, struct rte_mbuf *m, enum xv_drop reason)
{
	struct xv_worker *w = worker;

	count(&w->counters[m->port].held, (uint64_t)-1);
	xv_packet_drop(w, m, reason);
}

/* A fragment goes on behind the ct action that held it. */
static void resume(struct xv_worker *w, struct rte_mbuf *m, const struct xv_held *held)
{
	const struct xv_action *ct = xv_action_first(held->program), *next = xv_action_next(ct);
	unsigned int passes = held->passes;
	struct walk k = {.w = w,
			 .in = xv_port_by_id((uint16_t)held->key.in_port),
			 .m = m,
			 .key = held->key,
			 .layout = held->layout,
			 .passes = &passes,
			 .trunc = held->trunc,
			 .hit = held->hit};

	count(&w->counters[m->port].held, (uint64_t)-1);
	if (k.in != NULL)
		k.binding = atomic_load_explicit(&k.in->binding, memory_order_acquire);
	if (k.binding == NULL) {
		drop(&k, XV_DROP_UNBOUND);
		return;
	}
	run(&k, (const uint64_t *)(const void *)next, held->bytes - ct->bytes);
	if (k.m != NULL)
		walk_on(&k);
}

/* Whatever is complete now goes on; and what that completes further on. Each step leads on in a fragment's program, or uses up one of
 * its passes: this ends. */
static void resume_fragments(struct xv_worker *w)
{
	struct rte_mbuf *m, *buf;

	while (xv_fragments_take(w->fragments, &m, &buf)) {
		resume(w, m, xv_held_of(buf));
		rte_pktmbuf_free(buf);
	}
}

void xv_flow_execute(struct xv_worker *w, struct xv_port *in, const struct xv_binding *binding, struct rte_mbuf *m,
		     const struct xv_fused_place *place)
{
	struct recording recording;
	unsigned int passes = 0;
	struct walk k = {.w = w, .in = in, .binding = binding, .m = m, .passes = &passes};

	k.key.in_port = in->id;
	if (unlikely(w->live != NULL))
		xv_live_note(w, m, XV_LIVE_LONG_WAY, 0, 0);
	if (!extract(&k)) {
		xv_packet_drop(w, m, rte_pktmbuf_data_len(m) < 14 ? XV_DROP_RUNT : XV_DROP_MALFORMED);
		return;
	}
	if (place->where != 0) {
		uint32_t n = RTE_MIN((uint32_t)rte_pktmbuf_data_len(m), (uint32_t)sizeof(recording.first));

		recording.on = true;
		recording.n = 0;
		recording.bits = 0;
		recording.place = *place;
		recording.end = (struct xv_fused_end){0};
		recording.out = NULL;
		recording.pkt_len = rte_pktmbuf_pkt_len(m);
		memcpy(recording.first, rte_pktmbuf_mtod(m, const uint8_t *), n);
		memset(recording.first + n, 0, sizeof(recording.first) - n);
		k.recording = &recording;
	}
	walk_on(&k);
	resume_fragments(w);
}
