/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A burst that flows decide: fused flows first; what they do not know goes the long way (execute.c), packet by packet. The
 * order of packets is kept: runs with the same output are sent together, and are sent before anything else is done.
 */
#include <rte_prefetch.h>

#include "base/clock.h"
#include "fastpath/flow.h"
#include "fastpath/fused.h"
#include "fastpath/live_state.h"
#include "fastpath/network.h"
#include "fastpath/worker_state.h"
#include "net/flow_key.h"
#include "net/parse.h"

/* Entries hold the same for all packets of a run; only where a packet goes matters for sending together. */
struct run {
	struct rte_mbuf **pkts;
	uint16_t n, out_port;
};

static void run_send(struct xv_worker *w, struct run *run)
{
	struct xv_port *out;
	const struct xv_binding *binding;
	uint16_t i;

	if (run->n == 0)
		return;
	out = xv_port_by_id(run->out_port);
	binding = out == NULL ? NULL : atomic_load_explicit(&out->binding, memory_order_acquire);
	if (likely(binding != NULL))
		xv_pipeline_output(w, out, binding, XV_QUEUE_BY_FLOW, run->pkts, run->n);
	else
		for (i = 0; i < run->n; i++)
			xv_packet_drop(w, run->pkts[i], XV_DROP_TX_DOWN);
	run->n = 0;
}

/* Once a second for an entry: its packets keep the sender's address alive. */
static void learn(struct xv_worker *w, const struct xv_binding *binding, struct xv_fused_entry *e,
		  const struct rte_mbuf *m, uint16_t in_id)
{
	struct xv_parsed parsed;
	uint16_t vlan = binding->vlan;

	e->learned_s = w->now_s;
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
	if (unlikely((e->flags & XV_FUSED_CHANGES) != 0 && e->changes != changes))
		return false;
	return (e->flags & XV_FUSED_CT) == 0 || likely(advance(w, e, m, place, now_ms));
}

/* Those that go the long way are looked up as connections there, one after the other. All lines are asked for at once: each is a page
 * that this worker has not seen for long, and the processor looks for several at a time. */
static void prefetch_connections(const struct xv_binding *binding, struct rte_mbuf *const *pkts, uint16_t n,
				 struct xv_fused_entry *const *entries, const struct xv_fused_place *places)
{
	const void *lines[XV_BURST];
	uint16_t i, n_lines = 0;

	for (i = 0; i < n; i++)
		if (unlikely(entries[i] == NULL && places[i].where != 0))
			lines[n_lines++] = xv_conntrack_line(xv_flow_conntrack, binding->zone,
							     rte_pktmbuf_mtod(pkts[i], const uint8_t *), places[i].l3,
							     places[i].l4);
	for (i = 0; i < n_lines; i++)
		rte_prefetch0(lines[i]);
}

void xv_flow_burst(struct xv_worker *w, struct xv_port *in, const struct xv_binding *binding, struct rte_mbuf **pkts,
		   uint16_t n)
{
	struct xv_fused_entry *entries[XV_BURST];
	struct xv_fused_place places[XV_BURST];
	struct run run = {0};
	uint32_t tick = (uint32_t)(w->now >> XV_FLOW_TICK_SHIFT);
	const uint64_t evicted = xv_fused_evicted(w->fused), inserted = xv_fused_inserted(w->fused);
	uint32_t changes = changes_of(binding);
	uint32_t now_ms = xv_worker_now_ms(w);
	uint16_t i;

	if (likely(atomic_load_explicit(&xv_fusing, memory_order_relaxed))) {
		xv_fused_lookup_burst(w->fused, in->id, pkts, n, entries, places);
	} else {
		for (i = 0; i < n; i++) {
			entries[i] = NULL;
			places[i].where = 0;
		}
	}
	if (binding->tracked)
		prefetch_connections(binding, pkts, n, entries, places);
	for (i = 0; i < n; i++) {
		struct rte_mbuf *m = pkts[i];
		struct xv_fused_entry *e;

		e = entries[i];
		/* The long way of an earlier packet may have thrown the entry out, or made one for packets like this. */
		if (unlikely(evicted != xv_fused_evicted(w->fused) ||
			     (e == NULL && inserted != xv_fused_inserted(w->fused))))
			xv_fused_lookup_burst(w->fused, in->id, &pkts[i], 1, &e, &places[i]);
		if (unlikely(e == NULL || !holds(w, e, m, &places[i], changes, now_ms))) {
			if (e != NULL)
				xv_fused_missed(w->fused);
			run_send(w, &run);
			xv_flow_execute(w, in, binding, m, &places[i]);
			changes = changes_of(binding);
			continue;
		}
		if (unlikely(w->live != NULL))
			xv_live_fused(w, m, e);
		e->packets++;
		e->bytes += m->pkt_len;
		e->used = tick;
		if (unlikely((e->flags & XV_FUSED_LEARN) != 0 && e->learned_s != w->now_s))
			learn(w, binding, e, m, in->id);
		if (unlikely((e->flags & (XV_FUSED_DROP | XV_FUSED_PROGRAM)) != 0)) {
			if ((e->flags & XV_FUSED_DROP) != 0) {
				xv_packet_drop(w, m, (enum xv_drop)e->out_port);
				continue;
			}
			run_send(w, &run);
			xv_fused_run(w, e, m);
			continue;
		}
		if (unlikely((e->flags & XV_FUSED_EDIT) != 0 && !xv_fused_edit_apply(w->fused, e, m))) {
			xv_packet_drop(w, m, XV_DROP_NO_BUFFER);
			continue;
		}
		if (unlikely(e->trail->encap != NULL)) {
			run_send(w, &run);
			xv_flow_tunnel_push(w, e->trail->encap, 0, e->entropy, e->out_port, m);
			continue;
		}
		if ((e->flags & XV_FUSED_HASH) != 0) {
			m->hash.rss = e->entropy;
			m->ol_flags |= XV_PACKET_HASHED;
		}
		if (run.n > 0 && (run.out_port != e->out_port || run.pkts + run.n != &pkts[i]))
			run_send(w, &run);
		if (run.n == 0) {
			run.pkts = &pkts[i];
			run.out_port = e->out_port;
		}
		run.n++;
	}
	run_send(w, &run);
}
