/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The long way of one packet: look up its flow, carry out the actions, look up again where they say so; and record what
 * was done, so that the next packet of its kind finds it in one piece (fused.h).
 *
 * What differs from packet to packet (chance, a slow path), and connection tracking and outer headers of copies, is not fused: such
 * packets come this way every time.
 */
#include <errno.h>
#include <string.h>

#include <rte_random.h>

#include "base/clock.h"
#include "fastpath/bond.h"
#include "fastpath/flow.h"
#include "fastpath/fragments.h"
#include "fastpath/fused.h"
#include "fastpath/live_state.h"
#include "fastpath/meter.h"
#include "fastpath/network.h"
#include "fastpath/offload.h"
#include "fastpath/packet_out.h"
#include "fastpath/policy.h"
#include "fastpath/recording.h"
#include "fastpath/resolve.h"
#include "fastpath/rule_log.h"
#include "fastpath/upcall.h"
#include "fastpath/worker_state.h"
#include "net/edit.h"
#include "net/packet_share.h"
#include "net/push_pop.h"
#include "port/eal.h"

/* One packet under way. */
struct walk {
	struct xv_worker *w;
	struct xv_port *in;
	const struct xv_binding *binding; /* of in */
	struct rte_mbuf *m;		  /* NULL: it has left */
	struct xv_flow_key key;
	struct xv_flow_layout layout;
	unsigned int *passes;	     /* of the packet that came in, with all its copies */
	unsigned int pops;	     /* tunnels that it came out of */
	uint32_t trunc;		     /* bytes that the next output sends; 0 = all */
	bool recirculated;
	struct xv_ct_hit hit;	     /* of the last zone that it was looked up in */
	struct xv_recording *recording; /* NULL: none */
	bool is_copy;
};

static void stop_recording(struct walk *k)
{
	if (k->recording != NULL)
		k->recording->on = false;
}

/* The recording, as long as there is one. */
static inline struct xv_recording *recording(struct walk *k)
{
	return k->recording != NULL && k->recording->on ? k->recording : NULL;
}

/* For a reason that the next packet may not have: it is not fused. */
static void drop(struct walk *k, enum xv_drop reason)
{
	stop_recording(k);
	xv_packet_drop(k->w, k->m, reason);
	k->m = NULL;
}

/* m leaves, and that was recorded. */
static void recorded(struct walk *k)
{
	if (recording(k) != NULL && !k->is_copy)
		(void)xv_record_end(k->recording, k->w);
}

/* Because a flow says so. */
static void drop_as_told(struct walk *k, enum xv_drop reason)
{
	if (recording(k) != NULL)
		xv_record_drop(k->recording, reason);
	recorded(k);
	xv_packet_drop(k->w, k->m, reason);
	k->m = NULL;
}

/* Fields of the packet from its bytes; metadata stays. */
static bool extract(struct walk *k)
{
	return xv_flow_extract(rte_pktmbuf_mtod(k->m, const uint8_t *), rte_pktmbuf_data_len(k->m),
			       rte_pktmbuf_pkt_len(k->m), &k->key, &k->layout) == XV_FLOW_OK;
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
	uint32_t len = k->trunc;

	k->trunc = 0;
	if (len == 0 || rte_pktmbuf_pkt_len(k->m) <= len)
		return true;
	if (own(k) == NULL)
		return false;
	xv_packet_cut(k->m, len);
	return true;
}

static void output(struct walk *k, uint16_t port_id)
{
	struct xv_port *out = xv_port_by_id(port_id);
	const struct xv_binding *binding =
		out == NULL ? NULL : atomic_load_explicit(&out->binding, memory_order_acquire);

	if (binding == NULL) {
		drop(k, XV_DROP_TX_DOWN);
		return;
	}
	if (recording(k) != NULL) {
		bool hashed = binding->tunnel != NULL || atomic_load_explicit(&out->tx_queues, memory_order_relaxed) > 1;

		xv_record_output(k->recording, k->m, port_id, k->trunc, NULL, &k->key, hashed,
				 hashed ? xv_packet_flow_hash(k->m) : 0);
	}
	if (!truncate(k))
		return;
	recorded(k);
	xv_packet_set_queue(k->m, k->key.skb_priority);
	xv_pipeline_output(k->w, out, binding, XV_QUEUE_BY_FLOW, &k->m, 1);
	k->m = NULL;
}

/* Which member, and how much it gets, is asked anew for each packet: the bond moves its load as it likes. */
static void output_bond(struct walk *k, uint32_t bond)
{
	uint32_t hash = xv_flow_hash_5tuple(&k->key, 0, false);
	const struct xv_binding *binding;
	struct xv_port *out;

	if (recording(k) != NULL)
		xv_record_bond(k->recording, k->m, &k->key, bond, k->trunc, hash);
	if (!truncate(k))
		return;
	recorded(k);
	xv_packet_set_queue(k->m, k->key.skb_priority);
	out = xv_bond_output(bond, hash, rte_pktmbuf_pkt_len(k->m), &binding);
	if (unlikely(out == NULL))
		xv_packet_drop(k->w, k->m, XV_DROP_TX_DOWN);
	else
		xv_pipeline_output(k->w, out, binding, XV_QUEUE_BY_FLOW, &k->m, 1);
	k->m = NULL;
}

static void run(struct walk *k, const uint64_t *program, uint32_t bytes);
static void walk_on(struct walk *k);

/* The same for a copy of the packet; this one goes on. */
static void run_copy(struct walk *k, const uint64_t *program, uint32_t bytes)
{
	struct xv_record_copy begin = {0};
	struct walk copy = *k;

	if (recording(k) != NULL)
		begin = xv_record_copy(k->recording);
	count(&k->w->counters[k->m->port].copies, 1);
	copy.is_copy = true;
	copy.m = xv_packet_clone(k->m, xv_packet_pool());
	if (unlikely(copy.m == NULL)) {
		stop_recording(k);
		count(&k->w->counters[k->m->port].drops[XV_DROP_NO_BUFFER], 1);
		return;
	}
	copy.recirculated = false;
	if (unlikely(k->w->live != NULL))
		xv_live_note(k->w, copy.m, XV_LIVE_COPY, 0, 0);
	run(&copy, program, bytes);
	if (copy.m != NULL)
		walk_on(&copy);
	if (recording(k) != NULL)
		xv_record_copy_end(k->recording, &begin);
}

/* Some packet fields differ from what they were: the headers follow. False: the packet is gone. */
static bool rewrite(struct walk *k, const struct xv_flow_key *to)
{
	if (own(k) == NULL)
		return false;
	if (xv_edit_apply(k->m, &k->layout, &k->key, to) != 0) {
		drop(k, XV_DROP_MALFORMED);
		return false;
	}
	return true;
}

static bool same_ends(const struct xv_flow_key *a, const struct xv_flow_key *b)
{
	return memcmp(&a->ip_src, &b->ip_src, sizeof(a->ip_src)) == 0 && memcmp(&a->ip_dst, &b->ip_dst, sizeof(a->ip_dst)) == 0 &&
	       a->tp_src == b->tp_src && a->tp_dst == b->tp_dst;
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
	if (recording(k) != NULL)
		xv_record_fields(k->recording, mask_words);
	if (set->first + set->n > XV_FLOW_STAGE_L2 && set->first < XV_FLOW_FIXED_WORDS && !rewrite(k, &to))
		return;
	/* Whatever connection it was of, it looks like another one's now. */
	if (!same_ends(&k->key, &to))
		k->hit = (struct xv_ct_hit){0};
	k->key = to;
}

/* A header was pushed or popped: rc is what net/push_pop.h said. */
static void pushed(struct walk *k, int rc)
{
	if (likely(rc == 0))
		return;
	if (rc == XV_PUSH_POP_EXTRACT) {
		if (!extract(k))
			drop(k, XV_DROP_MALFORMED);
		else if (recording(k) != NULL)
			xv_record_extract(k->recording, k->m, &k->key, &k->layout);
		return;
	}
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
	    (const uint8_t *)xv_action_next(next) == end) {
		if (recording(k) != NULL)
			xv_record_output(k->recording, k->m, (uint16_t)next->arg, k->trunc, encap, &k->key, false, entropy);
		if (!truncate(k))
			return;
		recorded(k);
		xv_packet_set_queue(k->m, k->key.skb_priority);
		xv_flow_tunnel_push(k->w, encap, k->key.packet_type, entropy, (uint16_t)next->arg, k->m);
		k->m = NULL;
		return;
	}
	stop_recording(k);
	if (!truncate(k))
		return;
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

/* What is behind a pop is recorded for itself: the next packet of the kind is looked up again there, too. */
static __rte_noinline void walk_on_popped(struct walk *k, const struct xv_fused_context *context)
{
	struct xv_recording recording;
	struct xv_fused_place place;

	xv_fused_place(k->w->fused, context->number, k->m, &place);
	if (place.where != 0) {
		xv_record_begin(&recording, &place, k->m);
		k->recording = &recording;
	}
	walk_on(k);
	k->recording = NULL;
}

/* Outer headers off; the packet goes on as if the tunnel's port had received it. */
static void tunnel_pop(struct walk *k, const struct xv_action *a)
{
	struct xv_flow_key key = {.skb_mark = k->key.skb_mark, .skb_priority = k->key.skb_priority};
	const struct xv_fused_context *context = NULL;
	bool fuse = false;
	rte_be16_t tp_src;
	enum xv_drop why;

	if (k->is_copy || k->trunc != 0 || k->key.skb_mark != 0 || k->key.skb_priority != 0 || k->pops == XV_POPS_MAX ||
	    k->in->id != k->m->port)
		stop_recording(k);
	if (recording(k) != NULL) {
		xv_record_pop(k->recording, k->m, a);
		fuse = xv_record_end(k->recording, k->w);
	}
	k->recording = NULL;
	if (!xv_tunnel_pop(a, &k->m, &key, NULL, &why)) {
		drop(k, why);
		return;
	}
	tp_src = key.tun_tp_src;
	if (fuse) {
		key.tun_tp_src = 0;
		context = xv_fused_context(k->w->fused, k->in->id, &key, (uint32_t)(k->w->now >> XV_FLOW_TICK_SHIFT));
		key.tun_tp_src = tp_src;
	}
	k->key = key;
	k->hit = (struct xv_ct_hit){0};
	k->pops++;
	k->recirculated = true;
	if (!extract(k))
		drop(k, XV_DROP_MALFORMED);
	else if (context != NULL)
		walk_on_popped(k, context);
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
	k->m = xv_packet_keep(k->w, k->m);
	if (unlikely(k->m == NULL)) {
		rte_pktmbuf_free(buf);
		return;
	}
	count(&k->w->counters[k->m->port].held, 1);
	if (xv_fragments_hold(k->w->fragments, xv_flow_conntrack, k->m, buf, xv_worker_now_ms(k->w))) {
		k->m = NULL;
		return;
	}
	count(&k->w->counters[k->m->port].held, (uint64_t)-1);
	rte_pktmbuf_free(buf);
	xv_conntrack_refuse(xv_flow_conntrack, (const struct xv_action_ct *)(const void *)a->data, &k->key, &k->hit);
}

/* A fragment that is to be flooded, of a datagram that is to open a connection: when all of them are there, and it is stored, they come
 * back. False: it is none of these. */
static bool hold_to_open(struct walk *k)
{
	struct xv_decision decision = {.type = XV_ACT_FORWARD, .patch = XV_MAX_PORTS};
	uint64_t program[XV_DECISION_WORDS];
	uint32_t bytes;

	if (!k->binding->tracked || (k->key.ct_state & XV_CS_NEW) == 0 || k->hit.conn != NULL ||
	    !xv_bridge_opens(k->in, k->binding, k->m, &k->key))
		return false;
	xv_decision_track(&decision, k->binding->zone, XV_CT_COMMIT)->timeouts = k->binding->timeouts;
	bytes = xv_decision_program(&decision, program);
	hold(k, xv_action_first(program), (const uint8_t *)program + bytes);
	return true;
}

/* To the port that the MAC table knows, through its ingress policy; else wherever a network sends what it does not know. */
static void forward(struct walk *k)
{
	const struct xv_binding *out_binding;
	struct xv_recording *r;
	struct xv_tracked tracked = {
		.key = &k->key,
		.layout = &k->layout,
		.hit = k->hit,
		.now_ms = xv_worker_now_ms(k->w),
	};
	struct xv_port *out;
	uint32_t len;

	if (k->binding->network == NULL) {
		drop(k, XV_DROP_NO_FLOW);
		return;
	}
	if (unlikely(k->key.ip_frag != XV_FRAG_NONE) && hold_to_open(k))
		return;
	if (k->is_copy)
		stop_recording(k);
	r = recording(k);
	/* Networks that a router joins count their changes together: what held before the first of them was asked is what counts. */
	if (r != NULL && (r->end.flags & XV_FUSED_CHANGES) == 0) {
		r->end.changes = xv_mac_table_changes(k->binding->network->macs);
		r->end.flags |= XV_FUSED_CHANGES | XV_FUSED_LEARN;
	}
	if (own(k) == NULL)
		return;
	len = rte_pktmbuf_pkt_len(k->m);
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
	/* A tag came or went. */
	if (rte_pktmbuf_pkt_len(k->m) != len && !extract(k))
		drop(k, XV_DROP_MALFORMED);
}

/* a: the ct action, in a program that ends at end. */
static void track(struct walk *k, const struct xv_action *a, const uint8_t *end)
{
	const struct xv_action_ct *ct = (const struct xv_action_ct *)(const void *)a->data;
	const struct xv_ct_hit before = k->hit;
	int rc;

	if ((ct->flags & (XV_CT_NAT | XV_CT_NAT_REPLY)) != 0 && own(k) == NULL)
		return;
	if (unlikely(k->key.ip_frag != XV_FRAG_NONE && (ct->flags & XV_CT_CLEAR) == 0)) {
		hold(k, a, end);
		return;
	}
	rc = xv_conntrack_packet(xv_flow_conntrack, ct, k->m, &k->key, &k->layout, xv_worker_now_ms(k->w), &k->hit);
	if (unlikely(rc != 0)) {
		drop(k, xv_conntrack_why(rc));
		return;
	}
	if (recording(k) == NULL || (ct->flags & XV_CT_CLEAR) != 0)
		return;
	if (unlikely((ct->flags & XV_CT_COMMIT) != 0 && xv_conntrack_wants_memory(xv_flow_conntrack)))
		k->w->flows_wanted = true;
	/* First packets have entries on networks with firewalls. */
	if (k->is_copy || (!k->hit.steady && !k->binding->tracked))
		stop_recording(k);
	else
		xv_record_hit(k->recording, ct, &k->key, &k->hit, &before);
}

/* To the slow path, in pieces if it wants to be segmented: who decides about it sees packets as they will be on the wire. */
static void punt(struct walk *k, enum xv_upcall_type type, const void *data, uint32_t bytes)
{
	struct xv_worker *w = k->w;
	uint16_t port_id = k->m->port;
	int n = 1, i;

	if (!truncate(k))
		return;
	if (unlikely(w->live != NULL))
		xv_live_note(w, k->m, XV_LIVE_PUNT, 0, 0);
	w->segments[0] = k->m;
	if ((k->m->ol_flags & XV_PACKET_OFFLOAD) != 0)
		n = xv_offload_finish(k->m, 0, xv_packet_pool(), w->segments, XV_GSO_MAX_SEGMENTS);
	if (n < 0) {
		drop(k, n == -ENOBUFS ? XV_DROP_NO_BUFFER : XV_DROP_OFFLOAD);
		return;
	}
	count(&w->counters[port_id].copies, (uint64_t)(n - 1));
	for (i = 0; i < n; i++) {
		w->segments[i]->port = port_id;
		xv_upcall_send(w, w->segments[i], &k->key, type, data, bytes);
	}
	k->m = NULL;
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
		case XV_ACT_BOND:
			if (last) {
				output_bond(k, a->arg);
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

			if (own(k) != NULL)
				pushed(k, xv_mpls_push(k->m, &k->key, &k->layout, mpls->lse, mpls->eth_type,
						       mpls->before_l2));
			break;
		}
		case XV_ACT_POP_MPLS:
			if (own(k) != NULL)
				pushed(k, xv_mpls_pop(k->m, &k->key, &k->layout, (rte_be16_t)a->arg));
			break;
		case XV_ACT_PUSH_ETH: {
			const struct xv_action_push_eth *eth = (const struct xv_action_push_eth *)(const void *)a->data;

			if (own(k) != NULL)
				pushed(k, xv_eth_push(k->m, &k->key, &k->layout, eth->dst, eth->src));
			break;
		}
		case XV_ACT_POP_ETH:
			if (own(k) != NULL)
				pushed(k, xv_eth_pop(k->m, &k->key, &k->layout));
			break;
		case XV_ACT_PUSH_NSH:
			if (own(k) != NULL)
				push_nsh(k, (const struct xv_action_push_nsh *)(const void *)a->data);
			break;
		case XV_ACT_POP_NSH:
			if (own(k) != NULL)
				pushed(k, xv_nsh_pop(k->m, &k->key, &k->layout));
			break;
		case XV_ACT_TUNNEL_PUSH:
			tunnel_push(k, (const struct xv_encap *)(const void *)a->data, next, end);
			break;
		case XV_ACT_HASH:
		case XV_ACT_SYM_HASH:
			k->key.dp_hash = xv_flow_hash_5tuple(&k->key, a->arg, a->type == XV_ACT_SYM_HASH);
			k->key.dp_hash += k->key.dp_hash == 0; /* 0 means "none" */
			break;
		case XV_ACT_METER:
			if (recording(k) != NULL)
				xv_record_meter(k->recording, k->m, a->arg);
			if (!xv_meter_allow(a->arg, k->m->pkt_len, k->w->now))
				drop(k, XV_DROP_METER);
			break;
		case XV_ACT_SAMPLE:
			if (a->arg != 0 && a->arg != UINT32_MAX)
				stop_recording(k);
			if (a->arg != UINT32_MAX && (uint32_t)rte_rand() >= a->arg)
				break;
			__attribute__((fallthrough));
		case XV_ACT_CLONE:
			/* With nothing behind it the packet itself will do. */
			if (last) {
				run(k, a->data, a->bytes - (uint32_t)sizeof(*a));
				return;
			}
			run_copy(k, a->data, a->bytes - (uint32_t)sizeof(*a));
			break;
		case XV_ACT_CHECK_LEN: {
			const struct xv_action_check_len *check =
				(const struct xv_action_check_len *)(const void *)a->data;

			if (recording(k) != NULL)
				xv_record_length(k->recording, k->m, a->arg);
			if (k->m->pkt_len > a->arg)
				run(k, check->programs, check->greater_bytes);
			else
				run(k, check->programs + check->greater_bytes / 8, check->other_bytes);
			return;
		}
		case XV_ACT_TRUNC:
			k->trunc = a->arg;
			break;
		case XV_ACT_TUNNEL_POP:
			tunnel_pop(k, a);
			return;
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
		case XV_ACT_PUNT:
			stop_recording(k);
			if (last) {
				punt(k, XV_UPCALL_ACTION, a->data, a->bytes - (uint32_t)sizeof(*a));
			} else {
				run_copy(k, (const uint64_t *)(const void *)a, a->bytes);
				k->trunc = 0;
			}
			break;
		case XV_ACT_DROP:
			drop_as_told(k, (enum xv_drop)a->arg);
			return;
		case XV_ACT_MAX:
			return;
		}
	}
	if (k->m != NULL)
		drop_as_told(k, XV_DROP_ACTION);
}

/* ---- Look-up ---- */

/* One flow's actions. */
static void run_flow(struct walk *k, struct xv_flow *flow)
{
	const struct xv_actions *actions = atomic_load_explicit(&flow->actions, memory_order_acquire);
	struct xv_flow_count *c = &k->w->flow_counts[flow->slot];

	count(&c->packets, 1);
	count(&c->bytes, k->m->pkt_len);
	atomic_store_explicit(&c->used, k->w->now >> XV_FLOW_TICK_SHIFT, memory_order_relaxed);
	xv_flow_saw_tcp(c, k->key.tcp_flags);
	if (unlikely(k->w->live != NULL))
		xv_live_note_data(k->w, k->m, XV_LIVE_FLOW, 0, &flow->id, sizeof(flow->id));
	if (recording(k) != NULL)
		xv_record_step(k->recording, k->m, &k->key, flow, actions);
	run(k, actions->program, actions->bytes);
}

/* Nobody knows the packet yet. On a built-in network we decide ourselves, now, and ask for a flow that says the same. */
static void resolve(struct walk *k)
{
	struct xv_flow_key mask = {0};
	struct xv_decision decision;
	uint64_t program[XV_DECISION_WORDS];
	unsigned int i;

	stop_recording(k);
	if (k->binding->forward == XV_FORWARD_DATAPATH) {
		punt(k, XV_UPCALL_MISS, NULL, 0);
		return;
	}
	if (!xv_resolve(k->in, k->binding, &k->key, &mask, &decision)) {
		drop(k, XV_DROP_NO_FLOW);
		return;
	}
	if (unlikely(k->w->live != NULL))
		xv_live_decided(k->w, k->m, &decision);
	for (i = 0; i < decision.n_by; i++)
		xv_rule_judged(k->w, k->in->id, &k->key, &decision.by[i], k->m->pkt_len);
	if (unlikely(decision.reject))
		xv_answer_refused(k->w, k->m);
	if (decision.counter != NULL && k->hit.conn == NULL)
		(void)atomic_fetch_add_explicit(decision.counter, 1, memory_order_relaxed);
	if (!decision.reject && !decision.once && xv_flow_request(&k->key, &mask, &decision, k->m->pkt_len))
		k->w->flows_wanted = true;
	run(k, program, xv_decision_program(&decision, program));
}

/* As long as actions say: look up again. */
static void walk_on(struct walk *k)
{
	do {
		struct xv_flow *flow = xv_flow_lookup(k->w, &k->key);

		k->recirculated = false;
		if (++*k->passes > XV_PASSES_MAX) {
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

void xv_flow_execute_out(struct xv_worker *w, struct xv_packet_out *out)
{
	unsigned int passes = 0;
	struct walk k = {.w = w, .in = xv_port_by_id(out->m->port), .m = out->m, .key = out->key, .passes = &passes};

	out->m = NULL;
	if (k.in != NULL)
		k.binding = atomic_load_explicit(&k.in->binding, memory_order_acquire);
	if (k.binding == NULL) {
		rte_pktmbuf_free(k.m); /* not counted in yet */
		return;
	}
	count(&w->counters[k.m->port].copies, 1);
	if (!extract(&k)) {
		drop(&k, rte_pktmbuf_data_len(k.m) < 14 ? XV_DROP_RUNT : XV_DROP_MALFORMED);
		return;
	}
	xv_conntrack_recall(xv_flow_conntrack, k.m, &k.key, &k.layout, xv_worker_now_ms(w), &k.hit);
	run(&k, out->actions->program, out->actions->bytes);
	if (k.m != NULL)
		walk_on(&k);
	resume_fragments(w);
}

/* The whole way of a packet as k says. */
static void execute(struct walk *k, const struct xv_fused_place *place)
{
	struct xv_recording recording;

	if (unlikely(k->w->live != NULL))
		xv_live_note(k->w, k->m, XV_LIVE_LONG_WAY, 0, 0);
	if (!extract(k)) {
		drop(k, rte_pktmbuf_data_len(k->m) < 14 && k->pops == 0 ? XV_DROP_RUNT : XV_DROP_MALFORMED);
		return;
	}
	if (place->where != 0) {
		xv_record_begin(&recording, place, k->m);
		k->recording = &recording;
	}
	walk_on(k);
	resume_fragments(k->w);
}

void xv_flow_execute(struct xv_worker *w, struct xv_port *in, const struct xv_binding *binding, struct rte_mbuf *m,
		     const struct xv_fused_place *place)
{
	unsigned int passes = 0;
	struct walk k = {.w = w, .in = in, .binding = binding, .m = m, .passes = &passes};

	k.key.in_port = in->id;
	execute(&k, place);
}

void xv_flow_execute_popped(struct xv_worker *w, struct xv_port *in, const struct xv_binding *binding, struct rte_mbuf *m,
			    const struct xv_fused_place *place, const struct xv_flow_key *key, unsigned int passes,
			    unsigned int pops)
{
	struct walk k = {.w = w, .in = in, .binding = binding, .m = m, .key = *key, .passes = &passes, .pops = pops};

	execute(&k, place);
}
