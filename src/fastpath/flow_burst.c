/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A burst that flows decide: fused flows first; what they do not know goes the long way (execute.c), packet by packet. The
 * order of packets is kept: runs with the same output are sent together, and are sent before anything else is done.
 */
#include <string.h>

#include <rte_prefetch.h>

#include "base/clock.h"
#include "fastpath/flow.h"
#include "fastpath/fused.h"
#include "fastpath/live_state.h"
#include "fastpath/network.h"
#include "fastpath/worker_state.h"
#include "net/bytes.h"
#include "net/flow_key.h"
#include "net/parse.h"
#include "net/tunnel_memo.h"

/* Entries hold the same for all packets of a run; only where a packet goes matters for sending together. */
struct run {
	struct rte_mbuf **pkts;
	uint16_t n, out_port;
};

static __rte_noinline void run_send(struct xv_worker *w, struct run run)
{
	struct xv_port *out = xv_port_by_id(run.out_port);
	const struct xv_binding *binding;
	uint16_t i;

	binding = out == NULL ? NULL : atomic_load_explicit(&out->binding, memory_order_acquire);
	if (likely(binding != NULL))
		xv_pipeline_output(w, out, binding, XV_QUEUE_BY_FLOW, run.pkts, run.n);
	else
		for (i = 0; i < run.n; i++)
			xv_packet_drop(w, run.pkts[i], XV_DROP_TX_DOWN);
}

/* What waits goes now. */
static inline void run_end(struct xv_worker *w, struct run *run)
{
	if (run->n > 0)
		run_send(w, *run);
	run->n = 0;
}

/* Once a second for an entry: its packets keep the sender's address alive. */
static void learn(struct xv_worker *w, const struct xv_binding *binding, struct xv_fused_entry *e,
		  const struct rte_mbuf *m, uint16_t in_id)
{
	struct xv_parsed parsed;
	uint16_t vlan = binding->vlan;

	e->learned_s = (uint16_t)w->now_s;
	if (xv_parse_eth(rte_pktmbuf_mtod(m, const uint8_t *), rte_pktmbuf_data_len(m), &parsed) != XV_PARSE_OK)
		return;
	if (parsed.tagged && (parsed.vlan_tci & 0xfff) != 0)
		vlan = parsed.vlan_tci & 0xfff;
	xv_mac_table_learn(binding->network->macs, parsed.src_key | vlan, in_id, w->now_s);
}

/* The state of the network's addresses: entries hold as long as none of them has moved or gone. */
static inline uint32_t changes_of(const struct xv_binding *binding)
{
	return binding->network != NULL ? xv_mac_table_changes(binding->network->macs) : 0;
}

/* The state of the packet's connections moves on, as it would on the long way. False: something is not as the entry says, and
 * the long way does it all: none of them has seen the packet. */
static inline bool advance(struct xv_worker *w, const struct xv_fused_entry *e, const struct rte_mbuf *m,
			   const struct xv_fused_place *place, uint32_t now_ms)
{
	const uint8_t *data = rte_pktmbuf_mtod(m, const uint8_t *);
	struct xv_ct_hit hits[XV_FUSED_CT_MAX];
	unsigned int i, n;

	if (likely((e->flags & XV_FUSED_CT_MORE) == 0)) {
		const struct xv_ct_hit hit = {
			.conn = e->conn,
			.generation = e->conn_generation,
			.dir = (e->flags & XV_FUSED_CT_REPLY) != 0 ? XV_CT_REPLY : XV_CT_ORIGINAL,
		};

		return xv_conntrack_advance(xv_flow_conntrack, &hit, data, place->l3, place->l4, now_ms);
	}
	n = xv_fused_hits(w->fused, e, hits);
	/* The first is asked when all others would agree. */
	for (i = 1; i < n; i++)
		if (unlikely(!xv_conntrack_would_advance(xv_flow_conntrack, &hits[i], data, place->l3, place->l4, now_ms)))
			return false;
	for (i = 0; i < n; i++)
		if (unlikely(!xv_conntrack_advance(xv_flow_conntrack, &hits[i], data, place->l3, place->l4, now_ms)))
			return false;
	return true;
}

/* Whether an entry that was found holds, as far as the network's addresses and the packet's connections go. */
static inline bool holds(struct xv_worker *w, const struct xv_fused_entry *e, const struct rte_mbuf *m,
			 const struct xv_fused_place *place, uint32_t changes, uint32_t now_ms)
{
	if ((e->flags & XV_FUSED_CHANGES) != 0 && unlikely(e->changes != changes))
		return false;
	return (e->flags & XV_FUSED_CT) == 0 || likely(advance(w, e, m, place, now_ms));
}

/* First packets of a burst: how many took an entry, and when it was looked for. */
struct first_ways {
	uint64_t begin;
	uint16_t n;
};

/* They are dear as the long way is, and their queue's to answer for as well (worker.c). */
static __rte_noinline void first_ways_charge(struct xv_worker *w, const struct first_ways *ways)
{
	uint64_t cycles = xv_clock_cycles() - ways->begin; /* long ways of the same burst among them */

	w->long_ways += ways->n;
	w->long_cycles = RTE_MAX(w->long_cycles, cycles);
}

/* Those without an entry are looked up as connections, one after the other. Their memory is asked for at once: each line is in a page
 * that this worker has not seen for long, and the processor looks for several at a time. firsts: of those without an entry. */
static void prefetch_connections(const struct xv_binding *binding, struct rte_mbuf *const *pkts, uint16_t n,
				 struct xv_fused_entry *const *entries, const struct xv_fused_place *places,
				 struct xv_ct_first *firsts, struct first_ways *ways)
{
	uint16_t i, n_firsts = 0;

	for (i = 0; i < n; i++) {
		if (likely(entries[i] != NULL || places[i].where == 0))
			continue;
		if (n_firsts == 0)
			ways->begin = xv_clock_cycles();
		xv_conntrack_first_begin(xv_flow_conntrack, binding->zone, rte_pktmbuf_mtod(pkts[i], const uint8_t *),
					 places[i].l3, places[i].l4, &firsts[i]);
		n_firsts++;
	}
	for (i = 0; i < n && n_firsts > 0; i++)
		if (entries[i] == NULL && places[i].where != 0)
			xv_conntrack_first_look(xv_flow_conntrack, &firsts[i]);
}

static inline void entry_count(struct xv_fused_entry *e, const struct rte_mbuf *m, const struct xv_fused_place *place,
			       uint32_t tick)
{
	e->packets++;
	e->bytes += m->pkt_len;
	e->used = tick;
	if ((e->flags & XV_FUSED_TCP) != 0)
		e->tcp_flags |= xv_load16(rte_pktmbuf_mtod_offset(m, const uint8_t *, place->l4 + 12));
}

/*
 * A packet without an entry, which may be the first of a connection, or the first answer. If it is known what flows make of such
 * packets, and connection tracking finds it to be one: that entry. NULL: it goes the long way, and nothing has happened. *rc: 0,
 * or it is to be dropped, as connection tracking says.
 */
static __rte_noinline struct xv_fused_entry *first_packet(struct xv_worker *w, const struct xv_binding *binding,
							  uint16_t in_id, const struct rte_mbuf *m,
							  const struct xv_fused_place *place,
							  const struct xv_ct_first *first, int *rc)
{
	uint32_t changes = changes_of(binding), now_ms = xv_worker_now_ms(w);
	struct xv_fused_first *f =
		xv_fused_first_lookup(w->fused, place, rte_pktmbuf_mtod(m, const uint8_t *), !first->known, binding->zone, changes);

	*rc = 0;
	if (f == NULL || w->live != NULL)
		return NULL;
	if (first->known) {
		if (!xv_conntrack_answer(xv_flow_conntrack, first, m, place->l3, place->l4, now_ms))
			return NULL;
	} else {
		*rc = xv_conntrack_open(xv_flow_conntrack, first, f->commit, m, place->l3, place->l4, in_id, now_ms);
		if (*rc == 1)
			return NULL;
		if (unlikely(xv_conntrack_wants_memory(xv_flow_conntrack)))
			w->flows_wanted = true;
	}
	xv_fused_first_taken(w->fused);
	return &f->entry;
}

/*
 * Packets that lost their outer headers, of one context: looked up together, before anything is done with those that came
 * in behind them.
 */
struct popped {
	const struct xv_fused_context *context;
	const struct xv_action *action; /* that the last one lost its headers by, as memo says; NULL: memo says nothing */
	struct xv_decap_memo memo;
	unsigned int passes, pops; /* look-ups and tunnels so far */
	uint16_t n;
	bool used; /* key is zero, or an earlier packet's */
	struct rte_mbuf *pkts[XV_BURST];
	rte_be16_t tp_src[XV_BURST]; /* not the context's: it differs from packet to packet */
	struct xv_flow_key key;
};

/* When entries of a burst were looked up, and as whose. */
struct lookup {
	uint32_t in_port;
	uint64_t evicted, inserted;
};

/* The entry e of a packet, as it is now: the long way of an earlier one may have thrown it out, or made one for packets like this. */
static __rte_noinline struct xv_fused_entry *entry_now(struct xv_worker *w, const struct lookup *l, struct rte_mbuf *m,
						       struct xv_fused_entry *e, struct xv_fused_place *place)
{
	if (l->evicted != xv_fused_evicted(w->fused) || (e == NULL && l->inserted != xv_fused_inserted(w->fused)))
		xv_fused_lookup_burst(w->fused, l->in_port, &m, 1, &e, place);
	return e;
}

static void popped_send(struct xv_worker *w, struct xv_port *in, const struct xv_binding *binding, struct popped *popped);

/* Packet i of `from`, which is NULL if it is as it came in. What it takes is its queue's to answer for (worker.c). */
static void long_way(struct xv_worker *w, struct xv_port *in, const struct xv_binding *binding, const struct popped *from,
		     uint16_t i, struct rte_mbuf *m, const struct xv_fused_place *place)
{
	uint64_t begin = xv_clock_cycles();
	struct xv_flow_key key;

	if (likely(from == NULL)) {
		xv_flow_execute(w, in, binding, m, place);
	} else {
		key = from->context->key;
		key.tun_tp_src = from->tp_src[i];
		xv_flow_execute_popped(w, in, binding, m, place, &key, from->passes, from->pops);
	}
	w->long_ways++;
	w->long_cycles += xv_clock_cycles() - begin;
}

/* Outer headers off, as the trail says; m joins those that wait in `to`. */
static void pop(struct xv_worker *w, struct xv_port *in, const struct xv_binding *binding, const struct xv_trail *trail,
		const struct popped *from, struct rte_mbuf *m, struct popped *to)
{
	const unsigned int passes = trail->n + (from == NULL ? 0 : from->passes), pops = 1 + (from == NULL ? 0 : from->pops);
	const struct xv_fused_place nowhere = {0};
	const struct xv_fused_context *context;
	rte_be16_t tp_src;
	enum xv_drop why;

	if (likely(to->action == trail->pop && passes == to->passes && xv_decap_memo_strip(&to->memo, m, &tp_src))) {
		to->tp_src[to->n] = tp_src;
		to->pkts[to->n++] = m;
		return;
	}
	to->action = NULL;
	if (!to->used) {
		memset(&to->key, 0, sizeof(to->key));
		to->used = true;
	}
	if (unlikely(!xv_tunnel_pop(trail->pop, &m, &to->key, &to->memo, &why))) {
		xv_packet_drop(w, m, why);
		return;
	}
	tp_src = to->key.tun_tp_src;
	to->key.tun_tp_src = 0;
	context = xv_fused_context(w->fused, in->id, &to->key, (uint32_t)(w->now >> XV_FLOW_TICK_SHIFT));
	if (to->n > 0 && (context != to->context || passes != to->passes))
		popped_send(w, in, binding, to);
	if (unlikely(context == NULL)) {
		to->key.tun_tp_src = tp_src;
		xv_flow_execute_popped(w, in, binding, m, &nowhere, &to->key, passes, pops);
		return;
	}
	to->action = trail->pop;
	to->context = context;
	to->passes = passes;
	to->pops = pops;
	to->tp_src[to->n] = tp_src;
	to->pkts[to->n++] = m;
}

/* Whether packets of `from` may take this entry: look-ups are counted, and tunnels in tunnels are followed so far and no further. */
static inline bool goes_on(const struct popped *from, const struct xv_fused_entry *e)
{
	return from->passes + e->trail->n <= XV_PASSES_MAX &&
	       ((e->flags & XV_FUSED_POP) == 0 || from->pops < XV_POPS_MAX);
}

/* from: where the packets come from; NULL: from the port itself. */
static inline __attribute__((always_inline)) void walk(struct xv_worker *w, struct xv_port *in,
						       const struct xv_binding *binding, const struct popped *from,
						       struct rte_mbuf **pkts, uint16_t n)
{
	const struct lookup lookup = {.in_port = from == NULL ? in->id : from->context->number,
				      .evicted = xv_fused_evicted(w->fused),
				      .inserted = xv_fused_inserted(w->fused)};
	struct xv_fused_entry *entries[XV_BURST];
	struct xv_fused_place places[XV_BURST];
	struct xv_ct_first firsts[XV_BURST];
	struct run run = {.pkts = pkts};
	struct first_ways ways = {0};
	struct popped popped;
	uint32_t tick = (uint32_t)(w->now >> XV_FLOW_TICK_SHIFT);
	uint32_t changes = changes_of(binding);
	uint32_t now_ms = xv_worker_now_ms(w);
	bool others = false; /* entries have come or gone since look-up, perhaps */
	uint16_t i;

	popped.n = 0;
	popped.used = false;
	popped.action = NULL;
	if (likely(atomic_load_explicit(&xv_fusing, memory_order_relaxed))) {
		xv_fused_lookup_burst(w->fused, lookup.in_port, pkts, n, entries, places);
	} else {
		for (i = 0; i < n; i++) {
			entries[i] = NULL;
			places[i].where = 0;
		}
	}
	if (binding->tracked)
		prefetch_connections(binding, pkts, n, entries, places, firsts, &ways);
	for (i = 0; i < n; i++) {
		struct xv_fused_entry *e = entries[i];
		struct rte_mbuf *m = pkts[i];
		uint32_t flags;

		if (unlikely(others))
			e = entry_now(w, &lookup, m, e, &places[i]);
		/* Those that wait go first, before all that could tell. */
		if (unlikely(popped.n > 0) &&
		    (e == NULL || (e->flags & (XV_FUSED_POP | XV_FUSED_PROGRAM | XV_FUSED_CT)) != XV_FUSED_POP)) {
			popped_send(w, in, binding, &popped);
			changes = changes_of(binding);
			e = entry_now(w, &lookup, m, e, &places[i]);
			others = true;
		}
		if (unlikely(e == NULL || (from != NULL && !goes_on(from, e)) ||
			     !holds(w, e, m, &places[i], changes, now_ms))) {
			int rc = 0;

			if (e != NULL) {
				xv_fused_missed(w->fused);
				e = NULL;
			} else if (from == NULL && binding->tracked && entries[i] == NULL && places[i].where != 0) {
				e = first_packet(w, binding, in->id, m, &places[i], &firsts[i], &rc);
				ways.n += e != NULL;
			}
			if (e == NULL) {
				run_end(w, &run);
				long_way(w, in, binding, from, i, m, &places[i]);
				changes = changes_of(binding);
				others = true;
				continue;
			}
			if (unlikely(rc != 0)) {
				entry_count(e, m, &places[i], tick);
				xv_packet_drop(w, m, xv_conntrack_why(rc));
				continue;
			}
		}
		if (unlikely(w->live != NULL))
			xv_live_fused(w, m, e);
		flags = e->flags;
		entry_count(e, m, &places[i], tick);
		if ((flags & XV_FUSED_LEARN) != 0 && unlikely(e->learned_s != (uint16_t)w->now_s))
			learn(w, binding, e, m, in->id);
		if (unlikely((flags & XV_FUSED_UNUSUAL) != 0)) {
			if ((flags & XV_FUSED_DROP) != 0) {
				xv_packet_drop(w, m, (enum xv_drop)e->out_port);
				continue;
			}
			if ((flags & XV_FUSED_PROGRAM) != 0) {
				run_end(w, &run);
				m = xv_fused_run(w, e, m);
				if (m != NULL)
					pop(w, in, binding, e->trail, from, m, &popped);
				others = true;
				continue;
			}
			if ((flags & XV_FUSED_EDIT) != 0 && unlikely(!xv_fused_edit_apply(w->fused, e, m))) {
				xv_packet_drop(w, m, XV_DROP_NO_BUFFER);
				continue;
			}
			if ((flags & XV_FUSED_POP) != 0) {
				run_end(w, &run);
				pop(w, in, binding, e->trail, from, m, &popped);
				others = true;
				continue;
			}
			if ((flags & XV_FUSED_ENCAP) != 0) {
				run_end(w, &run);
				xv_flow_tunnel_push(w, e->trail->encap, 0, e->entropy, e->out_port, m);
				continue;
			}
		}
		if ((flags & XV_FUSED_HASH) != 0) {
			m->hash.rss = e->entropy;
			m->ol_flags |= XV_PACKET_HASHED;
		}
		if (unlikely(run.out_port != e->out_port || run.pkts + run.n != &pkts[i])) {
			run_end(w, &run);
			run.pkts = &pkts[i];
			run.out_port = e->out_port;
		}
		run.n++;
	}
	run_end(w, &run);
	if (unlikely(popped.n > 0))
		popped_send(w, in, binding, &popped);
	if (unlikely(ways.n > 0))
		first_ways_charge(w, &ways);
}

static __rte_noinline void popped_send(struct xv_worker *w, struct xv_port *in, const struct xv_binding *binding,
				       struct popped *popped)
{
	walk(w, in, binding, popped, popped->pkts, popped->n);
	popped->n = 0;
}

void xv_flow_burst(struct xv_worker *w, struct xv_port *in, const struct xv_binding *binding, struct rte_mbuf **pkts,
		   uint16_t n)
{
	walk(w, in, binding, NULL, pkts, n);
}
