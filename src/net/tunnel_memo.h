/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The next packet of the same tunnel: what its outer headers have in common with those of one that was taken apart before. VXLAN
 * over plain IPv4 without UDP checksum only. Most of a burst is like that; then only what differs from packet to packet is
 * looked at. Pure functions, any thread.
 */
#pragma once

#include <rte_mbuf.h>

#include "net/bytes.h"
#include "net/packet.h"
#include "net/tunnel.h"

#define XV_DECAP_MEMO_OUTER 50 /* Ethernet, IPv4, UDP, VXLAN */

/* As they lie in the frame. */
struct xv_decap_memo {
	bool filled;
	uint8_t eth_dst[6];
	uint32_t type_tos; /* Ethernet type, version and header length, TOS */
	uint16_t fragment; /* DF is part of it */
	uint16_t ttl_proto;
	uint64_t addresses, vxlan;
	uint16_t udp_dst;
};

/* Of a frame with these outer headers, which are sound. */
static inline void xv_decap_memo_fill(struct xv_decap_memo *memo, const uint8_t *frame, const struct xv_decap *d)
{
	memo->filled = d->type == XV_TUNNEL_VXLAN && !d->ipv6 && !d->has_csum && d->strip == XV_DECAP_MEMO_OUTER &&
		       (xv_load32(frame + 12) & ~RTE_BE32(0xff)) == RTE_BE32(0x08004500);
	if (!memo->filled)
		return;
	memcpy(memo->eth_dst, frame, sizeof(memo->eth_dst));
	memo->type_tos = xv_load32(frame + 12);
	memo->fragment = xv_load16(frame + 20);
	memo->ttl_proto = xv_load16(frame + 22);
	memo->addresses = xv_load64(frame + 26);
	memo->udp_dst = xv_load16(frame + 36);
	memo->vxlan = xv_load64(frame + 42);
}

/* Outer headers off, if they are as remembered and sound; *udp_src is what the source port was. False: not a byte has changed. */
static inline bool xv_decap_memo_strip(const struct xv_decap_memo *memo, struct rte_mbuf *m, rte_be16_t *udp_src)
{
	const uint8_t *d = rte_pktmbuf_mtod(m, const uint8_t *);
	uint32_t ip_len, sum;

	if (!memo->filled || m->data_len < XV_DECAP_MEMO_OUTER + 14 || m->nb_segs != 1 ||
	    (m->ol_flags & (XV_PACKET_OFFLOAD | RTE_MBUF_F_INDIRECT | RTE_MBUF_F_EXTERNAL)) != 0 ||
	    rte_mbuf_refcnt_read(m) != 1)
		return false;
	ip_len = xv_load_be16(d + 16);
	if (memcmp(d, memo->eth_dst, sizeof(memo->eth_dst)) != 0 || xv_load32(d + 12) != memo->type_tos ||
	    xv_load16(d + 20) != memo->fragment || xv_load16(d + 22) != memo->ttl_proto ||
	    xv_load64(d + 26) != memo->addresses || xv_load16(d + 36) != memo->udp_dst || xv_load16(d + 40) != 0 ||
	    xv_load64(d + 42) != memo->vxlan || m->data_len != 14 + ip_len || xv_load_be16(d + 38) != ip_len - 20)
		return false;
	sum = xv_load16(d + 14) + xv_load16(d + 16) + xv_load16(d + 18) + (uint32_t)xv_load16(d + 20) + xv_load16(d + 22) +
	      xv_load16(d + 24) + xv_load16(d + 26) + xv_load16(d + 28) + xv_load16(d + 30) + xv_load16(d + 32);
	sum = (sum & 0xffff) + (sum >> 16);
	if (((sum + (sum >> 16)) & 0xffff) != 0xffff)
		return false;
	*udp_src = xv_load16(d + 34);
	(void)rte_pktmbuf_adj(m, XV_DECAP_MEMO_OUTER);
	return true;
}
