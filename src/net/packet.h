/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What XVIO keeps with a packet (rte_mbuf) as it travels from an input to an output: the offload
 * request that came with it. Packets of our pools have a private area of XV_PACKET_PRIV_SIZE bytes.
 *
 * The request is in the terms of struct virtio_net_hdr (virtio 1.2, section 5.1.6), host byte order,
 * validated by the input: offsets lie inside the packet. It is passed from guest to guest unchanged
 * and finished in software (fastpath/offload.c) only when the output cannot take it. A packet without
 * a request has XV_PACKET_OFFLOAD clear in ol_flags and its private area is never touched.
 *
 * A packet that an operator follows (fastpath/live_trace.h) has XV_PACKET_TRACED set and its number behind the request; copies and
 * segments inherit both.
 */
#pragma once

#include <stdint.h>

#include <rte_mbuf.h>

/* Bit in rte_mbuf.ol_flags: the private area holds an offload request. Reserved by xv_packet_init(). */
#define XV_PACKET_OFFLOAD_BIT 24
#define XV_PACKET_OFFLOAD (UINT64_C(1) << XV_PACKET_OFFLOAD_BIT)
/* The same: it holds a number that the packet is followed by. */
#define XV_PACKET_TRACED_BIT 25
#define XV_PACKET_TRACED (UINT64_C(1) << XV_PACKET_TRACED_BIT)
/* rte_mbuf.hash.rss is the packet's flow_hash (net/parse.h), known without parsing. */
#define XV_PACKET_HASHED_BIT 26
#define XV_PACKET_HASHED (UINT64_C(1) << XV_PACKET_HASHED_BIT)
/* rte_mbuf.vlan_tci_outer is the number of the output's queue that it belongs to (fastpath/tx_queue.h). */
#define XV_PACKET_QUEUED_BIT 27
#define XV_PACKET_QUEUED (UINT64_C(1) << XV_PACKET_QUEUED_BIT)

#define XV_BURST 64 /* packets handled at once, at most */
#define XV_PACKET_PRIV_SIZE 64
#define XV_PACKET_DATA_BYTES 2048 /* data room of one mbuf beyond RTE_PKTMBUF_HEADROOM */

/* flags */
#define XV_OFFLOAD_CSUM 0x1	  /* the checksum at csum_start + csum_offset is to be finished */
#define XV_OFFLOAD_CSUM_VALID 0x2 /* the sender vouches for the checksum */

/* gso_type: same values as VIRTIO_NET_HDR_GSO_*; XV_GSO_ECN may be or-ed in */
#define XV_GSO_NONE 0
#define XV_GSO_TCPV4 1
#define XV_GSO_UDP 3   /* UDP fragmentation (UFO) */
#define XV_GSO_TCPV6 4
#define XV_GSO_UDP_L4 5 /* UDP segmentation (USO); never offered, hence never valid from a guest */
#define XV_GSO_ECN 0x80

struct xv_offload {
	uint8_t flags;
	uint8_t gso_type;
	uint16_t gso_size;    /* payload bytes per segment */
	uint16_t csum_start;  /* from the first byte of the frame */
	uint16_t csum_offset; /* from csum_start */
};

/* Capabilities of an output: what it takes unfinished. */
#define XV_CAP_CSUM (1u << 0)
#define XV_CAP_TSO4 (1u << 1)
#define XV_CAP_TSO6 (1u << 2)
#define XV_CAP_UFO (1u << 3)
#define XV_CAP_ECN (1u << 4)

static inline struct xv_offload *xv_packet_offload(struct rte_mbuf *m)
{
	return rte_mbuf_to_priv(m);
}

static inline uint32_t *xv_packet_trace(struct rte_mbuf *m)
{
	return (uint32_t *)(void *)(xv_packet_offload(m) + 1);
}

/* `to` is made of `from`'s packet. */
static inline void xv_packet_inherit_trace(struct rte_mbuf *to, struct rte_mbuf *from)
{
	if (__builtin_expect((from->ol_flags & XV_PACKET_TRACED) != 0, 0)) {
		to->ol_flags |= XV_PACKET_TRACED;
		*xv_packet_trace(to) = *xv_packet_trace(from);
	}
}

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

/* Reserve the flag bits with DPDK, once, after EAL is up. 0 or -errno. */
int xv_packet_init(void);
