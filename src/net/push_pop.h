/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Put a header before or into a packet, or take one off: VLAN, MPLS, NSH, Ethernet; as the actions of
 * linux/openvswitch.h say. No state, any thread that owns the packet; its first segment must be writable
 * (net/packet_share.h) and is the only one that is read or written. Headroom is used, bytes behind the header stay
 * where they are.
 *
 * key and layout, which describe the packet, follow, and so does the start of a checksum that is still to be finished
 * (XV_OFFLOAD_CSUM). Where the packet that comes to light, or what is left of the old one, cannot be told from them,
 * the result is XV_PUSH_POP_EXTRACT: all is done and key->packet_type is right, but the caller must call
 * xv_flow_extract() before it uses any other packet field of key or layout. Metadata and tunnel are never touched.
 *
 * All return
 *   0                     done, key and layout are right
 *   XV_PUSH_POP_EXTRACT   done, extract again
 * or, with packet, key and layout as they were,
 *   -ENOENT    there is no such header to pop, or it is not in the first segment as a whole
 *   -EINVAL    this cannot be pushed onto this packet (no Ethernet header; 802.3; bad type or length)
 *   -ENOBUFS   no headroom (an mbuf begins with RTE_PKTMBUF_HEADROOM, 128 bytes)
 *   -EPROTO    the offload request does not fit: its checksum begins in the header that goes, or too far behind
 *
 * A segmentation request (GSO) is left as it is: whether the output can segment behind the new headers is not decided
 * here.
 */
#pragma once

#include "net/flow_key.h"

struct rte_mbuf;

#define XV_PUSH_POP_EXTRACT 1

/* The outermost tag. tpid: 0x8100 or 0x88a8. Bit 0x1000 of tci ("there is a tag") goes on the wire as 0. A packet that
 * has two tags already has its key extracted again: the third hides what is behind. */
int xv_vlan_push(struct rte_mbuf *m, struct xv_flow_key *key, struct xv_flow_layout *layout, rte_be16_t tpid,
		 rte_be16_t tci);
int xv_vlan_pop(struct rte_mbuf *m, struct xv_flow_key *key, struct xv_flow_layout *layout);

/*
 * A label stack entry, its bottom-of-stack bit as given. type: 0x8847 or 0x8848, goes where the packet's type is.
 * Behind Ethernet and its VLAN tags; or, with before_l2 (OVS_ACTION_ATTR_ADD_MPLS without the L3 flag), and in packets
 * without Ethernet, at the first byte: then the packet has type MPLS (packet_type), and Ethernet is its payload.
 */
int xv_mpls_push(struct rte_mbuf *m, struct xv_flow_key *key, struct xv_flow_layout *layout, rte_be32_t lse,
		 rte_be16_t type, bool before_l2);
/* The top entry. type: of what is behind it; of a packet without Ethernet, 0x6558 says that an Ethernet frame is. */
int xv_mpls_pop(struct rte_mbuf *m, struct xv_flow_key *key, struct xv_flow_layout *layout, rte_be16_t type);

/* RFC 8300. The next protocol is that of the packet. */
struct xv_nsh {
	uint8_t flags, ttl, mdtype;
	uint8_t md2_len; /* bytes, a multiple of 4, at most 244 */
	rte_be32_t path_hdr;
	union {
		rte_be32_t context[4]; /* mdtype 1 */
		const uint8_t *md2;    /* mdtype 2: variable-length metadata as on the wire */
	};
};

/* Before the first byte of an Ethernet frame, IPv4, IPv6 or NSH packet, which becomes a packet of type NSH. */
int xv_nsh_push(struct rte_mbuf *m, struct xv_flow_key *key, struct xv_flow_layout *layout, const struct xv_nsh *nsh);
/* Of a packet of type NSH: pop Ethernet first. Always to be extracted again. -ENOENT also for a next protocol other
 * than Ethernet, IPv4, IPv6 and NSH. */
int xv_nsh_pop(struct rte_mbuf *m, struct xv_flow_key *key, struct xv_flow_layout *layout);

/* Before a packet that has no Ethernet header; its type is that of the packet. */
int xv_eth_push(struct rte_mbuf *m, struct xv_flow_key *key, struct xv_flow_layout *layout, const uint8_t dst[6],
		const uint8_t src[6]);
/* With the VLAN tags that the key shows. */
int xv_eth_pop(struct rte_mbuf *m, struct xv_flow_key *key, struct xv_flow_layout *layout);
