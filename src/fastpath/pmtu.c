/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packets that are too long for a tunnel: with their outer headers they would exceed the MTU behind the uplink. The
 * network is a bridge, but one whose link is shorter than its members know, and nobody else on the way can see it: so
 * here, as in a router, the sender is told (RFC 1191, RFC 8201), or the packet cut, if it says that it may be (RFC
 * 791).
 */
#include <rte_ether.h>

#include "fastpath/worker_state.h"
#include "net/fragment.h"
#include "net/parse.h"
#include "port/eal.h"

#define IPV4_LEN     20
#define IPV4_DF      0x40 /* in the seventh byte */
#define IPV4_MTU_MIN 68   /* RFC 791 section 3.2: a link that takes less carries no IP */

static unsigned int cut(struct xv_worker *w, struct rte_mbuf *m, uint32_t mtu)
{
	const uint16_t in_port = m->port;
	struct rte_mbuf *whole = m;
	int n, i;

	if ((m->ol_flags & XV_PACKET_OFFLOAD) != 0) {
		/* A checksum that is still to be finished is one over bytes that get apart. */
		n = xv_offload_finish(m, 0, xv_packet_pool(), &whole, 1);
		if (n < 0) {
			xv_packet_drop(w, m, n == -ENOBUFS ? XV_DROP_NO_BUFFER : XV_DROP_OFFLOAD);
			return 0;
		}
		whole->port = in_port;
		whole->ol_flags &= ~XV_PACKET_OFFLOAD;
	}
	n = xv_ipv4_fragment(whole, mtu, xv_packet_pool(), w->segments, XV_GSO_MAX_SEGMENTS);
	if (n < 0) {
		xv_packet_drop(w, whole, n == -ENOBUFS ? XV_DROP_NO_BUFFER : XV_DROP_MTU);
		return 0;
	}
	for (i = 0; i < n; i++)
		w->segments[i]->port = in_port;
	count(&w->counters[in_port].copies, (uint64_t)(n - 1));
	return (unsigned int)n;
}

unsigned int xv_pmtu_fit(struct xv_worker *w, struct rte_mbuf *m, rte_be32_t packet_type, uint32_t room)
{
	struct xv_offload *gso = (m->ol_flags & XV_PACKET_OFFLOAD) != 0 ? xv_packet_offload(m) : NULL;
	const uint8_t *data = rte_pktmbuf_mtod(m, const uint8_t *);
	struct xv_parsed parsed;
	uint32_t headers = 0;
	bool may_be_cut;
	int rc;

	w->segments[0] = m;
	if (gso != NULL && gso->gso_type == XV_GSO_NONE)
		gso = NULL;
	if (gso != NULL) {
		rc = xv_offload_header_bytes(m);
		if (rc < 0) {
			xv_packet_drop(w, m, XV_DROP_OFFLOAD);
			return 0;
		}
		headers = (uint32_t)rc;
		if (headers + gso->gso_size <= room)
			return 1;
	}
	/* Who sent a packet without Ethernet is not known here. */
	if (packet_type != 0 || xv_parse_eth(data, rte_pktmbuf_data_len(m), &parsed) != XV_PARSE_OK ||
	    parsed.l3_offset == 0 || rte_pktmbuf_data_len(m) < parsed.l3_offset + IPV4_LEN ||
	    room < (uint32_t)parsed.l3_offset + IPV4_MTU_MIN)
		goto drop;
	may_be_cut = parsed.eth_type == RTE_ETHER_TYPE_IPV4 && (data[parsed.l3_offset + 6] & IPV4_DF) == 0;
	if (gso != NULL && (may_be_cut || (gso->gso_type & ~XV_GSO_ECN) == XV_GSO_UDP)) {
		/* We cut it for the sender anyway: into smaller pieces, then. */
		if (room < headers + XV_GSO_MIN_SIZE)
			goto drop;
		gso->gso_size = (uint16_t)(room - headers);
		return 1;
	}
	if (may_be_cut)
		return cut(w, m, room - parsed.l3_offset);
	xv_answer_too_big(w, m, room - parsed.l3_offset);
drop:
	xv_packet_drop(w, m, XV_DROP_MTU);
	return 0;
}
