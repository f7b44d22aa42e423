/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The walk of a packet, top to bottom: a burst from one input queue, its binding decides, each packet ends in an
 * output queue or in a counted drop.
 *
 *     worker.c    poll -> burst
 *     pipeline.c  count -> uplink: vtep.c: outer headers off, again as received by the tunnel's port
 *                 -> wire | bridge.c: parse, learn, look up | flow_burst.c: fused flow, else execute.c: the long way
 *                 -> output: MTU, limit, offload; to a tunnel: vtep.c: outer headers on, output of the uplink
 *     output.c    collect per output queue, send, count
 */
#include "fastpath/live_state.h"
#include "fastpath/network.h"
#include "fastpath/rate_limit.h"
#include "fastpath/tx_queue.h"
#include "fastpath/vtep.h"
#include "fastpath/worker_state.h"
#include "net/parse.h"
#include "port/eal.h"

#define ETHER_HEADER_BYTES 14
#define VLAN_TAG_BYTES 4

/* Mark whose packets these are and count them in. Returns how many are long enough to be frames. */
static uint16_t take_in(struct xv_worker *w, struct xv_port *in, struct rte_mbuf **pkts, uint16_t n)
{
	struct xv_counters *c = &w->counters[in->id];
	uint32_t shortest = UINT32_MAX;
	uint64_t bytes = 0;
	uint16_t i, kept = 0;

	for (i = 0; i < n; i++) {
		uint32_t len = pkts[i]->pkt_len;

		pkts[i]->port = in->id;
		bytes += len;
		shortest = RTE_MIN(shortest, len);
	}
	count(&c->rx_packets, n);
	count(&c->rx_bytes, bytes);
	if (likely(shortest >= ETHER_HEADER_BYTES))
		return n;
	for (i = 0; i < n; i++) {
		if (pkts[i]->pkt_len < ETHER_HEADER_BYTES)
			xv_packet_drop(w, pkts[i], XV_DROP_RUNT);
		else
			pkts[kept++] = pkts[i];
	}
	return kept;
}

/* The largest frame that m becomes on the wire, once segmented. */
static uint32_t frame_bytes(struct rte_mbuf *m)
{
	const struct xv_offload *request;

	if (likely((m->ol_flags & XV_PACKET_OFFLOAD) == 0))
		return m->pkt_len;
	request = xv_packet_offload(m);
	if (request->gso_type == XV_GSO_NONE)
		return m->pkt_len;
	/* Without TCP options: a bound from below is enough, the guest's own MTU is the real one. */
	return RTE_MIN(m->pkt_len, (uint32_t)request->csum_start + 20u + request->gso_size);
}

/* Which of the transmit queues of a port: by flow, so that a flow stays in order. */
static uint16_t queue_by_flow(uint16_t queues, struct rte_mbuf *m)
{
	return (uint16_t)(xv_packet_flow_hash(m) % queues);
}

/* Finish in software what `out` cannot take. Each resulting packet goes to the queue. */
static void output_finished(struct xv_worker *w, struct xv_port *out, uint16_t queue,
			    struct rte_mbuf *m)
{
	uint16_t in_port = m->port;
	int n, i;

	n = xv_offload_finish(m, atomic_load_explicit(&out->tx_caps, memory_order_relaxed),
			      xv_packet_pool(), w->segments, XV_GSO_MAX_SEGMENTS);
	if (n < 0) {
		xv_packet_drop(w, m, n == -ENOBUFS ? XV_DROP_NO_BUFFER : XV_DROP_OFFLOAD);
		return;
	}
	count(&w->counters[in_port].copies, (uint64_t)(n - 1));
	if (unlikely(w->live != NULL) && n > 1)
		xv_live_note(w, w->segments[0], XV_LIVE_SEGMENTS, 0, (uint32_t)n);
	for (i = 0; i < n; i++)
		w->segments[i]->port = in_port;
	for (i = 0; i < n; i += XV_BURST)
		xv_output_put(w, xv_output_get(w, out, queue), &w->segments[i],
			      (uint16_t)RTE_MIN(n - i, XV_BURST));
}

/* One packet to one queue, with all that may happen to it on the way. */
static void output_one(struct xv_worker *w, struct xv_port *out, const struct xv_binding *binding,
		       uint16_t queue, struct rte_mbuf *m)
{
	uint32_t mtu = atomic_load_explicit(&out->mtu, memory_order_relaxed);

	if (unlikely(mtu != 0 && frame_bytes(m) > mtu + ETHER_HEADER_BYTES + VLAN_TAG_BYTES)) {
		xv_packet_drop(w, m, XV_DROP_MTU);
		return;
	}
	if (unlikely(binding->tx_limit != NULL)) {
		uint32_t number = (m->ol_flags & XV_PACKET_QUEUED) != 0 ? m->vlan_tci_outer : XV_TX_QUEUE_NONE;

		if (!xv_tx_queues_allow(out->id, binding->tx_limit, number, m->pkt_len, w->now)) {
			xv_packet_drop(w, m, XV_DROP_RATE_LIMIT);
			return;
		}
	}
	if (unlikely((m->ol_flags & XV_PACKET_OFFLOAD) != 0) &&
	    xv_offload_needed(m, atomic_load_explicit(&out->tx_caps, memory_order_relaxed))) {
		output_finished(w, out, queue, m);
		return;
	}
	xv_output_put(w, xv_output_get(w, out, queue), &m, 1);
}

void xv_pipeline_output(struct xv_worker *w, struct xv_port *out, const struct xv_binding *binding,
			uint16_t queue, struct rte_mbuf **pkts, uint16_t n)
{
	uint16_t queues = atomic_load_explicit(&out->tx_queues, memory_order_relaxed), i;
	uint64_t requests = 0;

	if (unlikely(binding->tunnel != NULL)) {
		xv_tunnel_output(w, out, binding, pkts, n);
		return;
	}
	if (unlikely(queues == 0)) {
		for (i = 0; i < n; i++)
			xv_packet_drop(w, pkts[i], XV_DROP_TX_DOWN);
		return;
	}
	if (queues == 1)
		queue = 0;
	else if (queue != XV_QUEUE_BY_FLOW)
		queue %= queues;
	for (i = 0; i < n; i++)
		requests |= pkts[i]->ol_flags;
	/* Nothing to do for any of them: they stay together. */
	if (likely((requests & XV_PACKET_OFFLOAD) == 0 && binding->tx_limit == NULL &&
		   queue != XV_QUEUE_BY_FLOW &&
		   atomic_load_explicit(&out->mtu, memory_order_relaxed) == 0)) {
		xv_output_send(w, xv_output_get(w, out, queue), pkts, n);
		return;
	}
	for (i = 0; i < n; i++)
		output_one(w, out, binding,
			   queue != XV_QUEUE_BY_FLOW ? queue : queue_by_flow(queues, pkts[i]),
			   pkts[i]);
}

/* A wire: everything to the peer as it is, queue by queue. Nothing is parsed. */
static void wire_burst(struct xv_worker *w, uint16_t queue, const struct xv_binding *binding,
		       struct rte_mbuf **pkts, uint16_t n)
{
	struct xv_port *out = binding->peer;
	const struct xv_binding *back = atomic_load_explicit(&out->binding, memory_order_acquire);
	uint16_t i;

	if (unlikely(w->live != NULL))
		xv_live_note(w, pkts[0], XV_LIVE_WIRE, out->id, 0);
	if (likely(back != NULL)) {
		xv_pipeline_output(w, out, back, queue, pkts, n);
		return;
	}
	for (i = 0; i < n; i++)
		xv_packet_drop(w, pkts[i], XV_DROP_TX_DOWN);
}

void xv_pipeline_walk(struct xv_worker *w, struct xv_port *in, uint16_t queue,
		      const struct xv_binding *binding, struct rte_mbuf **pkts, uint16_t n)
{
	uint16_t i;

	n = take_in(w, in, pkts, n);
	if (unlikely(n == 0))
		return;
	if (unlikely(binding == NULL)) {
		for (i = 0; i < n; i++)
			xv_packet_drop(w, pkts[i], XV_DROP_UNBOUND);
		return;
	}
	switch (binding->forward) {
	case XV_FORWARD_WIRE:
		wire_burst(w, queue, binding, pkts, n);
		break;
	case XV_FORWARD_NETWORK:
		if (binding->egress_policy == NULL && !binding->tracked && !binding->has_gateway)
			xv_bridge_burst(w, in, binding, pkts, n);
		else
			xv_flow_burst(w, in, binding, pkts, n);
		break;
	case XV_FORWARD_FLOWS:
	case XV_FORWARD_DATAPATH:
		xv_flow_burst(w, in, binding, pkts, n);
		break;
	case XV_FORWARD_VTEP:
		xv_vtep_burst(w, in, binding, pkts, n);
		break;
	}
}

void xv_pipeline_burst(struct xv_worker *w, struct xv_port *in, uint16_t queue,
		       const struct xv_binding *binding, struct rte_mbuf **pkts, uint16_t n)
{
	if (unlikely(w->live != NULL))
		xv_live_burst(w, in, queue, binding, pkts, n);
	else
		xv_pipeline_walk(w, in, queue, binding, pkts, n);
}
