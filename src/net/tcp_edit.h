/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Change what a TCP connection carries: text of another length, and sequence numbers that make up for it in all packets
 * that follow. No state, any thread that owns the packet; its first segment must be writable (net/packet_share.h).
 *
 * Checksums are updated, not made anew, and one that is still to be finished (XV_OFFLOAD_CSUM) stays a sum of the
 * pseudo-header: as in net/edit.h. A request for segmentation stays as well: text may be changed before it is cut.
 */
#pragma once

#include "net/flow_key.h"

struct rte_mbuf;

/*
 * How far the bytes of one direction are shifted: `before` those in front of the last change, `after` those behind it.
 * The change itself is [start, end) as its sender numbers it. One change at a time: a second one within the same round
 * trip makes those in front of the first forgotten (as nf_nat). All zero: nothing was changed.
 */
struct xv_tcp_shift {
	uint32_t start, end;
	int32_t before, after;
};

/* The sender's number to what the receiver knows. */
static inline uint32_t xv_tcp_shift_seq(const struct xv_tcp_shift *s, uint32_t seq)
{
	return seq + (uint32_t)((int32_t)(seq - s->end) >= 0 ? s->after : s->before);
}

/* And back. What is within the change is its start, or its end: nobody may take half of it for received. */
static inline uint32_t xv_tcp_shift_back(const struct xv_tcp_shift *s, uint32_t ack, bool to_end)
{
	if ((int32_t)(ack - (uint32_t)s->after - s->end) >= 0)
		return ack - (uint32_t)s->after;
	ack -= (uint32_t)s->before;
	if ((int32_t)(ack - s->start) <= 0)
		return ack;
	return to_end ? s->end : s->start;
}

/*
 * Apply shifts to the header of packet m: that of its own direction to the sequence number, that of the other one to
 * the acknowledgement and to SACK blocks (RFC 2018). 0, or -EINVAL: no whole TCP header in the first segment.
 */
int xv_tcp_shift_apply(struct rte_mbuf *m, const struct xv_flow_layout *layout, const struct xv_tcp_shift *own,
		       const struct xv_tcp_shift *other);

/*
 * Put text of len bytes in place of old_len bytes at offset (from the first byte of the frame) of the payload. Lengths
 * in IP header, packet and layout follow. A chain is made one segment first. 0, or, with the bytes as they were,
 *   -EINVAL    this is not the payload of a TCP packet, or the packet is shared
 *   -ENOBUFS   no room for more bytes in the (first) segment
 *   -EMSGSIZE  the IP packet would be too long
 */
int xv_tcp_replace(struct rte_mbuf *m, struct xv_flow_layout *layout, bool ipv6, uint32_t offset, uint32_t old_len,
		   const uint8_t *text, uint32_t len);
