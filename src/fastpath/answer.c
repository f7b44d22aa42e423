/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a worker says to the sender of a packet that cannot or must not go on: an ICMP error or a TCP reset, to the port that
 * the packet came in by, as if it came from the network. Policies do not judge it: it belongs to what they let pass.
 *
 * Bounded by port and worker: who causes them pays for a burst, and from then on gets so many a second.
 */
#include "base/clock.h"
#include "fastpath/network.h"
#include "fastpath/worker_state.h"
#include "net/icmp_error.h"
#include "port/eal.h"

#define PER_SECOND 1000 /* as much as Linux allows a host (icmp_msgs_per_sec) ... */
#define BURST      50   /* ... and at once (icmp_msgs_burst) */

_Static_assert(XV_ANSWER_MAX <= XV_PACKET_DATA_BYTES, "an answer fits into one mbuf");

/* A token bucket in one number: each answer costs its share of a second, up to BURST of them in advance. */
static bool allow(struct xv_worker *w, uint16_t port_id)
{
	const uint64_t share = xv_clock.hz / PER_SECOND;
	uint64_t *paid = &w->answers_paid[port_id];

	if (*paid > w->now + (BURST - 1) * share)
		return false;
	*paid = RTE_MAX(*paid, w->now) + share;
	return true;
}

#define NOT_ALLOWED4 13 /* "communication administratively prohibited": RFC 1812 section 5.2.7.1 */
#define NOT_ALLOWED6 1	/* RFC 4443 section 3.1 */

/* mtu 0: it is not allowed. */
static uint32_t write_answer(const uint8_t *frame, uint16_t len, uint32_t frame_len, uint32_t mtu, uint8_t *answer)
{
	uint32_t n;

	if (mtu != 0)
		return xv_icmp_too_big(frame, len, frame_len, mtu, answer);
	n = xv_tcp_reset(frame, len, frame_len, answer);
	return n != 0 ? n : xv_icmp_unreachable(frame, len, frame_len, NOT_ALLOWED4, NOT_ALLOWED6, answer);
}

static void answer(struct xv_worker *w, struct rte_mbuf *m, uint32_t mtu)
{
	struct xv_port *port = xv_port_by_id(m->port);
	const struct xv_binding *binding =
		port == NULL ? NULL : atomic_load_explicit(&port->binding, memory_order_acquire);
	uint16_t len = (uint16_t)RTE_MIN(rte_pktmbuf_pkt_len(m), (uint32_t)XV_OFFENDER_BYTES);
	struct xv_counters *c = &w->counters[m->port];
	uint8_t buf[XV_OFFENDER_BYTES];
	struct rte_mbuf *a;
	uint32_t n;

	if (binding == NULL)
		return;
	if (!allow(w, port->id)) {
		count(&c->answers_limited, 1);
		return;
	}
	a = rte_pktmbuf_alloc(xv_packet_pool());
	if (a == NULL)
		return;
	n = write_answer(rte_pktmbuf_read(m, 0, len, buf), len, rte_pktmbuf_pkt_len(m), mtu,
			    rte_pktmbuf_mtod(a, uint8_t *));
	if (n == 0) {
		rte_pktmbuf_free(a);
		return;
	}
	a->port = m->port;
	a->data_len = (uint16_t)n;
	a->pkt_len = n;
	count(&c->copies, 1);
	count(&c->answers, 1);
	/* What it answers may have got a tag that its sender does not know. */
	if (binding->network != NULL && !xv_bridge_retag(binding, a))
		xv_packet_drop(w, a, XV_DROP_VLAN);
	else
		xv_pipeline_output(w, port, binding, XV_QUEUE_BY_FLOW, &a, 1);
}

void xv_answer_too_big(struct xv_worker *w, struct rte_mbuf *m, uint32_t mtu)
{
	answer(w, m, mtu);
}

void xv_answer_refused(struct xv_worker *w, struct rte_mbuf *m)
{
	answer(w, m, 0);
}
