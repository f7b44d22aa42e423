/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finish in software what an output cannot take: checksums, TCP segmentation (v4, v6, ECN) and UDP
 * fragmentation (UFO). Worker threads; packets may be chains of mbufs and may be shared (refcnt > 1),
 * in which case a private copy is written, never the shared bytes.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "net/packet.h"

struct rte_mempool;

/* What an output must be able to do to take this request as it is. */
static inline uint32_t xv_offload_caps(const struct xv_offload *req)
{
	uint32_t caps = req->flags & XV_OFFLOAD_CSUM ? XV_CAP_CSUM : 0;

	switch (req->gso_type & ~XV_GSO_ECN) {
	case XV_GSO_NONE:
		return req->gso_type ? UINT32_MAX : caps;
	case XV_GSO_TCPV4: /* a segment is no good without its checksum: virtio 1.2, 5.1.3.1 */
		caps |= XV_CAP_TSO4 | XV_CAP_CSUM;
		break;
	case XV_GSO_TCPV6:
		caps |= XV_CAP_TSO6 | XV_CAP_CSUM;
		break;
	case XV_GSO_UDP:
		caps |= XV_CAP_UFO | XV_CAP_CSUM;
		break;
	default: /* no output takes it: finish() says so */
		return UINT32_MAX;
	}
	return req->gso_type & XV_GSO_ECN ? caps | XV_CAP_ECN : caps;
}

/*
 * True if `m` needs xv_offload_finish() before it can go to an output with these caps. Packets without
 * a request (the common case) cost one test of ol_flags.
 */
static inline bool xv_offload_needed(struct rte_mbuf *m, uint32_t caps)
{
	return (m->ol_flags & XV_PACKET_OFFLOAD) &&
	       (xv_offload_caps(xv_packet_offload(m)) & ~caps) != 0;
}

/*
 * Finish packet m for an output with caps. Returns the number of packets written to out (at most
 * max), all without requests that caps cannot take, or -errno with m untouched (the caller drops it):
 *   -EPROTO  headers do not fit the request (not TCP, header cut off, gso_size 0 ...)
 *   -ENOBUFS out of packet memory;  -E2BIG more than max segments
 * On success m is consumed (it may be out[0]). The pool's mbufs have XV_PACKET_DATA_BYTES of room.
 *
 * RFC 793/791/8200 fields rewritten per segment: IP length, id (+1 each), header checksum, TCP
 * sequence, flags (CWR only in the first, FIN and PSH only in the last), checksum; virtio 1.2 5.1.6.2.
 * The length in the IP header of a packet to be segmented is not looked at: its senders differ in what
 * they write there. TCP segments leave their checksum to an output that has XV_CAP_CSUM.
 * Fragments keep the datagram's IPv4 id; where there is none (0, IPv6) one is made up. Datagrams with
 * IPv4 options or IPv6 extension headers are not fragmented (-EPROTO).
 */
int xv_offload_finish(struct rte_mbuf *m, uint32_t caps, struct rte_mempool *pool,
		      struct rte_mbuf **out, unsigned int max);

/* Segments that xv_offload_finish() can produce at most from one packet (64 KiB over 1 byte is refused
 * as -E2BIG; gso_size below XV_GSO_MIN_SIZE is -EPROTO: a hostile guest must not amplify). */
#define XV_GSO_MIN_SIZE 48
#define XV_GSO_MAX_SEGMENTS 1400
