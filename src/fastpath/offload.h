/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finish in software what an output cannot take: checksums, TCP segmentation (v4, v6, ECN) and UDP
 * fragmentation (UFO). Worker threads; packets may be chains of mbufs and may be shared (refcnt >
 * 1), in which case a private copy is written, never the shared bytes.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "net/packet.h"

struct rte_mempool;

/*
 * True if `m` needs xv_offload_finish() before it can go to an output with these caps. Packets
 * without a request (the common case) cost one test of ol_flags.
 */
static inline bool xv_offload_needed(struct rte_mbuf *m, uint32_t caps)
{
	return (m->ol_flags & XV_PACKET_OFFLOAD) &&
	       (xv_offload_caps(xv_packet_offload(m)) & ~caps) != 0;
}

/*
 * Finish packet m for an output with caps. Returns the number of packets written to out (at most
 * max), none of which wants what caps lack; m is consumed (it may be out[0]). Or -errno with m
 * untouched (the caller drops it):
 *   -EPROTO   headers do not fit the request (not TCP, header cut off, gso_size 0 ...)
 *   -ENOBUFS  out of packet memory
 *   -E2BIG    more than max segments
 * Rewritten per segment (RFC 791, 8200, 9293): IP length, id (+1 each), header checksum, TCP sequence,
 * flags (CWR only in the first, FIN and PSH only in the last), checksum; virtio 1.2, 5.1.6.2.
 */
int xv_offload_finish(struct rte_mbuf *m, uint32_t caps, struct rte_mempool *pool,
		      struct rte_mbuf **out, unsigned int max);

/* Bytes in front of the payload in each packet that m's segmentation request makes of it (gso_size counts from there), or
 * -EPROTO: headers do not fit the request. */
int xv_offload_header_bytes(struct rte_mbuf *m);

/* Segments that xv_offload_finish() can produce at most from one packet (64 KiB over 1 byte is
 * refused as -E2BIG; gso_size below XV_GSO_MIN_SIZE is -EPROTO: a hostile guest must not amplify).
 */
#define XV_GSO_MIN_SIZE     48
#define XV_GSO_MAX_SEGMENTS 1400
