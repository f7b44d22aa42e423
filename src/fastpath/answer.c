/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a worker says to the sender of a packet that cannot go on: an ICMP error, to the port that the packet came in
 * by, as if it came from the network. Policies do not judge it: it belongs to what they let pass.
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

void xv_answer_too_big(struct xv_worker *w, struct rte_mbuf *m, uint32_t mtu)
{
	struct xv_port *port = xv_port_by_id(m->port);
	const struct xv_binding *binding =
		port == NULL ? NULL : atomic_load_explicit(&port->binding, memory_order_acquire);
	uint16_t len = (uint16_t)RTE_MIN(rte_pktmbuf_pkt_len(m), (uint32_t)XV_OFFENDER_BYTES);
	struct xv_counters *c = &w->counters[m->port];
	uint8_t buf[XV_OFFENDER_BYTES];
	struct rte_mbuf *answer;
	uint32_t n;

	if (binding == NULL)
		return;
	if (!allow(w, port->id)) {
		count(&c->answers_limited, 1);
		return;
	}
	answer = rte_pktmbuf_alloc(xv_packet_pool());
	if (answer == NULL)
		return;
	n = xv_icmp_too_big(rte_pktmbuf_read(m, 0, len, buf), len, rte_pktmbuf_pkt_len(m), mtu,
			    rte_pktmbuf_mtod(answer, uint8_t *));
	if (n == 0) {
		rte_pktmbuf_free(answer);
		return;
	}
	answer->port = m->port;
	answer->data_len = (uint16_t)n;
	answer->pkt_len = n;
	count(&c->copies, 1);
	count(&c->answers, 1);
	/* What it answers may have got a tag that its sender does not know. */
	if (binding->network != NULL && !xv_bridge_retag(binding, answer))
		xv_packet_drop(w, answer, XV_DROP_VLAN);
	else
		xv_pipeline_output(w, port, binding, XV_QUEUE_BY_FLOW, &answer, 1);
}
