/* SPDX-License-Identifier: Apache-2.0 */
/* The way out: output queues, the ledger's credits, and drops. */
#include <rte_cycles.h>

#include "base/clock.h"
#include "fastpath/drop_watch.h"
#include "fastpath/live_state.h"
#include "net/packet_share.h"
#include "port/eal.h"

#define DIRECT_MIN 16 /* packets worth a call of their own; fewer wait for company until the round ends */
#define KEEP_MS 1000 /* a receiver that takes nothing for so long loses what waits for it */

void xv_packet_drop(struct xv_worker *w, struct rte_mbuf *m, enum xv_drop reason)
{
	count(&w->counters[m->port].drops[reason], 1);
	if (unlikely((atomic_load_explicit(&xv_drop_watched, memory_order_relaxed) >> reason & 1) != 0))
		xv_drop_note(w, m, reason);
	if (unlikely((m->ol_flags & XV_PACKET_TRACED) != 0))
		xv_live_note(w, m, XV_LIVE_DROP, 0, reason);
	rte_pktmbuf_free(m);
}

struct rte_mbuf *xv_packet_keep_borrowed(struct xv_worker *w, struct rte_mbuf *m)
{
	struct rte_mbuf *own = xv_packet_unlend(m, xv_packet_pool());

	if (unlikely(own == NULL))
		xv_packet_drop(w, m, XV_DROP_NO_BUFFER);
	return own;
}

struct xv_output *xv_output_get(struct xv_worker *w, struct xv_port *port, uint16_t queue)
{
	struct xv_output *out = &w->outputs[port->id].queue[queue];

	out->port = port;
	out->queue = queue;
	return out;
}

/* The first n packets leave the queue; whether sent or dropped is counted by the caller. */
static void advance(struct xv_output *out, uint16_t n)
{
	uint16_t i;

	out->n = (uint16_t)(out->n - n);
	out->counted = out->counted > n ? (uint16_t)(out->counted - n) : 0;
	for (i = 0; i < out->n; i++)
		out->pkts[i] = out->pkts[i + n];
}

/* Packet i leaves the queue: it is held no longer. */
static inline void uncount(struct xv_worker *w, const struct xv_output *out, uint16_t i,
			   uint16_t in_port)
{
	if (unlikely(i < out->counted))
		count(&w->counters[in_port].held, (uint64_t)-1);
}

static void drop_all(struct xv_worker *w, struct xv_output *out, enum xv_drop reason)
{
	uint16_t i;

	for (i = 0; i < out->n; i++) {
		uncount(w, out, i, out->pkts[i]->port);
		xv_packet_drop(w, out->pkts[i], reason);
	}
	out->n = out->counted = out->segs = 0;
}

/*
 * One call of the port's tx, with the books kept: who sent how much is noted before, because the
 * packets are gone afterwards.
 */
static uint16_t send_burst(struct xv_worker *w, struct xv_output *out, enum xv_drop *why)
{
	uint16_t in_ports[XV_BURST], n = RTE_MIN(out->n, (uint16_t)XV_BURST), sent, i, first;
	uint32_t lens[XV_BURST], followed[XV_BURST];
	uint8_t segs[XV_BURST];
	uint64_t bytes = 0;

	for (i = 0; i < n; i++) {
		in_ports[i] = out->pkts[i]->port;
		lens[i] = out->pkts[i]->pkt_len;
		segs[i] = (uint8_t)out->pkts[i]->nb_segs;
	}
	if (unlikely(w->live != NULL))
		xv_live_before_send(out->pkts, n, followed);
	sent = out->port->ops->tx(out->port, out->queue, out->pkts, n, why);
	if (unlikely(w->live != NULL))
		xv_live_sent(w, out, followed, sent);
	for (i = 0; i < sent; i = first) {
		/* Runs of the same input port are the rule. */
		for (first = i; first < sent && in_ports[first] == in_ports[i]; first++) {
			bytes += lens[first];
			out->segs = (uint16_t)(out->segs - segs[first]);
			uncount(w, out, first, in_ports[i]);
		}
		count(&w->counters[in_ports[i]].forwarded, (uint64_t)(first - i));
	}
	if (sent > 0) {
		struct xv_counters *c = &w->counters[out->port->id];

		count(&c->tx_packets, sent);
		count(&c->tx_bytes, bytes);
		out->since = w->now;
	}
	advance(out, sent);
	return sent;
}

/* A wire waits for ever: its input is held back meanwhile, so no more than a burst is at stake. */
static bool is_wire(struct xv_port *port)
{
	const struct xv_binding *binding = atomic_load_explicit(&port->binding, memory_order_acquire);

	return binding != NULL && binding->forward == XV_FORWARD_WIRE;
}

unsigned int xv_output_flush(struct xv_worker *w, struct xv_output *out)
{
	unsigned int total = 0;

	/* Packets may have waited here while their port was taken away. */
	if (unlikely(xv_port_by_id(out->port->id) != out->port)) {
		drop_all(w, out, XV_DROP_DETACHED);
		return 0;
	}
	while (out->n > 0) {
		enum xv_drop why = XV_DROP_TX_FULL;
		uint16_t before = RTE_MIN(out->n, (uint16_t)XV_BURST);
		uint16_t sent = send_burst(w, out, &why);

		total += sent;
		if (sent == before)
			continue;
		if (why == XV_DROP_TX_FULL) {
			if (unlikely(w->now - out->since > xv_clock.hz / 1000 * KEEP_MS) &&
			    !is_wire(out->port))
				drop_all(w, out, XV_DROP_TX_FULL);
			break;
		}
		if (why == XV_DROP_TX_DOWN) {
			drop_all(w, out, why);
			break;
		}
		/* This one can never go; the next may. */
		uncount(w, out, 0, out->pkts[0]->port);
		out->segs = (uint16_t)(out->segs - out->pkts[0]->nb_segs);
		xv_packet_drop(w, out->pkts[0], why);
		advance(out, 1);
	}
	for (; unlikely(out->counted < out->n); out->counted++)
		count(&w->counters[out->pkts[out->counted]->port].held, 1);
	return total;
}

static void credit(struct xv_worker *w, const struct xv_output *out, uint16_t in_port, uint16_t n,
		   uint64_t bytes)
{
	struct xv_counters *c = &w->counters[out->port->id];

	count(&w->counters[in_port].forwarded, n);
	count(&c->tx_packets, n);
	count(&c->tx_bytes, bytes);
}

void xv_output_send(struct xv_worker *w, struct xv_output *out, struct rte_mbuf **pkts, uint16_t n)
{
	uint16_t in_port = pkts[0]->port, sent, i;
	enum xv_drop why;
	uint64_t bytes = 0;

	if (out->n > 0 || n < DIRECT_MIN || unlikely(w->borrows)) {
		xv_output_put(w, out, pkts, n);
		return;
	}
	for (i = 0; i < n; i++)
		bytes += pkts[i]->pkt_len;
	sent = out->port->ops->tx(out->port, out->queue, pkts, n, &why);
	for (i = sent; unlikely(i < n); i++)
		bytes -= pkts[i]->pkt_len;
	credit(w, out, in_port, sent, bytes);
	/* What is left waits, and hears why at the end of the round. */
	if (unlikely(sent < n))
		xv_output_put(w, out, &pkts[sent], (uint16_t)(n - sent));
}

/* Those that are left. */
static uint16_t keep_all(struct xv_worker *w, struct rte_mbuf **pkts, uint16_t n)
{
	uint16_t i, kept = 0;

	for (i = 0; i < n; i++) {
		pkts[kept] = xv_packet_keep(w, pkts[i]);
		kept += pkts[kept] != NULL;
	}
	return kept;
}

void xv_output_put(struct xv_worker *w, struct xv_output *out, struct rte_mbuf **pkts, uint16_t n)
{
	bool followed = unlikely(w->live != NULL) && xv_live_output(w, out, pkts, n);
	uint16_t i;

	if (unlikely(w->borrows) && out->port->ops->tx_keeps)
		n = keep_all(w, pkts, n);
	if (!out->listed) {
		if (unlikely(w->n_outputs == XV_MAX_PORTS))
			(void)xv_output_flush_all(w);
		if (unlikely(w->n_outputs == XV_MAX_PORTS)) {
			for (i = 0; i < n; i++)
				xv_packet_drop(w, pkts[i], XV_DROP_TX_FULL);
			return;
		}
		out->listed = true;
		out->since = w->now;
		w->outputs_listed[w->n_outputs++] = out;
	}
	for (i = 0; i < n; i++) {
		/* The bounds are for what a slow receiver leaves here, not for a burst on its way. */
		if (unlikely(out->n == XV_OUTPUT_MAX ||
			     (out->counted > 0 &&
			      out->segs + pkts[i]->nb_segs > XV_OUTPUT_SEGS))) {
			xv_packet_drop(w, pkts[i], XV_DROP_TX_FULL);
			continue;
		}
		out->segs = (uint16_t)(out->segs + pkts[i]->nb_segs);
		out->pkts[out->n++] = pkts[i];
		if (out->n - out->counted >= XV_BURST)
			(void)xv_output_flush(w, out);
	}
	if (unlikely(followed)) {
		(void)xv_output_flush(w, out);
		xv_live_waits(w, out);
	}
}

unsigned int xv_output_flush_all(struct xv_worker *w)
{
	unsigned int i, kept = 0, total = 0;

	for (i = 0; i < w->n_outputs; i++) {
		struct xv_output *out = w->outputs_listed[i];

		if (out->n > 0)
			total += xv_output_flush(w, out);
		if (unlikely(out->n > 0))
			w->outputs_listed[kept++] = out;
		else
			out->listed = false;
	}
	w->n_outputs = kept;
	return total;
}

/* What waits in an output waits with bytes of its own. */
static void own_waiting(struct xv_worker *w, struct xv_output *out)
{
	uint16_t i, kept = 0, counted = out->counted;

	out->segs = 0;
	for (i = 0; i < out->n; i++) {
		uint16_t in_port = out->pkts[i]->port;
		struct rte_mbuf *m = xv_packet_keep(w, out->pkts[i]);

		if (unlikely(m == NULL)) {
			uncount(w, out, i, in_port);
			counted = (uint16_t)(counted - (i < out->counted));
			continue;
		}
		out->segs = (uint16_t)(out->segs + m->nb_segs);
		out->pkts[kept++] = m;
	}
	out->n = kept;
	out->counted = counted;
}

void xv_output_settle(struct xv_worker *w)
{
	unsigned int i;

	(void)xv_output_flush_all(w);
	for (i = 0; i < w->n_outputs; i++)
		own_waiting(w, w->outputs_listed[i]);
}
