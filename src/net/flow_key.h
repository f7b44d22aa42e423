/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The flow key: one flat struct with everything that a flow can match, the set of the OVS datapath
 * (linux/openvswitch.h is the public contract). Filled from a packet and its metadata by xv_flow_extract(); the only
 * description of a packet that the fast path has. A mask is a struct of the same type: bits set = compared.
 *
 * Values are in network byte order where the header has them so (rte_be types), else host order. Fields that the
 * packet does not have are zero. The struct is a multiple of 8 bytes without padding that is not zeroed, so that
 * classifier and hash work on 64-bit words (table/classifier.h). Its order is that of the stages in which a
 * classifier looks: metadata, tunnel, L2, L3, L4, tunnel options.
 *
 * IPv4 addresses lie in the last four bytes of the 16 (the first twelve are zero); eth_type tells which they are.
 */
#pragma once

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <rte_byteorder.h>

#define XV_FLOW_MAX_VLANS 2
#define XV_FLOW_MAX_MPLS 3
#define XV_FLOW_TUN_OPTIONS 256 /* bytes; Geneve allows 252 */

union xv_ip_addr {
	uint8_t bytes[16];
	rte_be32_t words[4]; /* IPv4: words[3] */
	uint64_t u64[2];
};

/* ip_frag: as enum ovs_frag_type */
#define XV_FRAG_NONE 0
#define XV_FRAG_FIRST 1
#define XV_FRAG_LATER 2

/* ipv6_exthdrs: which headers are there; more of a kind than RFC 8200 section 4.1 allows; in another order than it
 * recommends. */
#define XV_EXTHDR_NONEXT 0x001
#define XV_EXTHDR_ESP 0x002
#define XV_EXTHDR_AUTH 0x004
#define XV_EXTHDR_DEST 0x008
#define XV_EXTHDR_FRAG 0x010
#define XV_EXTHDR_ROUTER 0x020
#define XV_EXTHDR_HOP 0x040
#define XV_EXTHDR_UNREP 0x080
#define XV_EXTHDR_UNSEQ 0x100

/* tun_flags */
#define XV_TUN_KEY 0x01	     /* tun_id is valid */
#define XV_TUN_CSUM 0x02     /* outer UDP or GRE checksum is there (encap: to be made) */
#define XV_TUN_DF 0x04	     /* don't fragment */
#define XV_TUN_OAM 0x08	     /* Geneve O bit */
#define XV_TUN_CRIT_OPT 0x10 /* Geneve C bit */
#define XV_TUN_IPV6 0x20     /* outer header is IPv6 */
#define XV_TUN_GBP 0x40	     /* VXLAN group policy is there */

struct xv_flow_key {
	/* Metadata: where in the pipeline, from which port, what was found before. */
	uint32_t recirc_id;
	uint32_t in_port; /* index < XV_MAX_PORTS, or XV_FLOW_PORT_NONE */
	uint32_t dp_hash; /* set by the hash action */
	uint32_t skb_mark;
	uint32_t skb_priority;
	rte_be32_t packet_type; /* namespace << 16 | type, as OVS_KEY_ATTR_PACKET_TYPE; 0 = Ethernet */
	uint32_t ct_state;	/* OVS_CS_F_* */
	uint32_t ct_mark;
	uint64_t ct_label[2]; /* host order; [1] is the upper half */
	uint16_t ct_zone;
	rte_be16_t ct_tp_src, ct_tp_dst; /* original direction's tuple (OVS_KEY_ATTR_CT_ORIG_TUPLE_*) */
	uint8_t ct_proto;
	uint8_t ct_pad;
	union xv_ip_addr ct_src, ct_dst;

	/* Tunnel that the packet came out of, or (after a tunnel set) will go into. tun_dst zero = none. */
	union xv_ip_addr tun_src, tun_dst;
	rte_be64_t tun_id; /* VNI, GRE key, MPLS label: right-aligned */
	rte_be16_t tun_tp_src, tun_tp_dst;
	uint8_t tun_tos, tun_ttl;
	uint8_t tun_flags; /* XV_TUN_* */
	uint8_t tun_gbp_flags;
	rte_be16_t tun_gbp_id;
	uint16_t tun_options_len; /* bytes used in tun_options */
	uint32_t tun_pad;

	/* L2 */
	uint8_t eth_dst[6], eth_src[6]; /* zero if packet_type is not Ethernet */
	rte_be16_t eth_type;		/* behind the VLAN tags below (a third tag's own); 802.3: of SNAP, else 0x05ff */
	uint16_t l2_pad;
	struct {
		rte_be16_t tpid; /* 0 = no such tag */
		rte_be16_t tci;	 /* with bit 0x1000 (CFI) set if the tag is there, as OVS shows it */
	} vlan[XV_FLOW_MAX_VLANS]; /* outermost first */
	rte_be32_t mpls_lse[XV_FLOW_MAX_MPLS]; /* label stack entries, top first */
	uint8_t mpls_depth;		       /* labels seen, at most XV_FLOW_MAX_MPLS */
	uint8_t nsh_flags, nsh_mdtype, nsh_np;
	uint32_t nsh_ttl;
	rte_be32_t nsh_path_hdr;
	rte_be32_t nsh_context[4];

	/* L3. ARP: sender and target in ip_src and ip_dst, operation (if < 256) in ip_proto. */
	union xv_ip_addr ip_src, ip_dst;
	rte_be32_t ipv6_label;
	uint8_t ip_proto; /* after IPv6 extension headers; 44 (fragment) for later fragments of IPv6 */
	uint8_t ip_tos, ip_ttl;
	uint8_t ip_frag; /* XV_FRAG_* */
	uint16_t ipv6_exthdrs; /* enum ofp12_ipv6exthdr_flags, as OVS_KEY_ATTR_IPV6_EXTHDRS */
	uint16_t l3_pad[3];

	/* L4 */
	rte_be16_t tp_src, tp_dst; /* ICMP, ICMPv6: type and code, each as a 16-bit number */
	rte_be16_t tcp_flags;	   /* the twelve bits */
	uint8_t arp_sha[6], arp_tha[6]; /* ARP hardware addresses; neighbour discovery: sll and tll */
	uint16_t l4_pad[3];
	union xv_ip_addr nd_target;

	uint8_t tun_options[XV_FLOW_TUN_OPTIONS]; /* Geneve options as on the wire */
};

#define XV_FLOW_PORT_NONE UINT32_MAX
#define XV_TCP_FLAGS RTE_BE16(0x0fff)
#define XV_FLOW_WORDS (sizeof(struct xv_flow_key) / 8)
/* Words before the tunnel options: all that is compared and cleared for most packets. */
#define XV_FLOW_FIXED_WORDS (offsetof(struct xv_flow_key, tun_options) / 8)

/* First word of each stage. */
#define XV_FLOW_STAGE_TUNNEL (offsetof(struct xv_flow_key, tun_src) / 8)
#define XV_FLOW_STAGE_L2 (offsetof(struct xv_flow_key, eth_dst) / 8)
#define XV_FLOW_STAGE_L3 (offsetof(struct xv_flow_key, ip_src) / 8)
#define XV_FLOW_STAGE_L4 (offsetof(struct xv_flow_key, tp_src) / 8)

static_assert(sizeof(struct xv_flow_key) % 8 == 0, "words");
static_assert(offsetof(struct xv_flow_key, tun_src) % 8 == 0, "stage begins at a word");
static_assert(offsetof(struct xv_flow_key, eth_dst) % 8 == 0, "stage begins at a word");
static_assert(offsetof(struct xv_flow_key, ip_src) % 8 == 0, "stage begins at a word");
static_assert(offsetof(struct xv_flow_key, tp_src) % 8 == 0, "stage begins at a word");
static_assert(offsetof(struct xv_flow_key, tun_options) % 8 == 0, "stage begins at a word");

/* Where the headers of a frame are, from its first byte; 0 = not there (l2_5 and l3 may be 0 if packet_type says
 * that the packet begins with them). All that an offset names lies within the contiguous first bytes. */
struct xv_flow_layout {
	uint16_t l2_5;	 /* MPLS or NSH */
	uint16_t l3;	 /* IPv4, IPv6, ARP */
	uint16_t l4;	 /* transport header; 0 for later fragments, and if it is malformed or cut off */
	uint16_t l4_len; /* of the transport header with options: TCP 20-60, UDP 8, SCTP 12, ICMP and IGMP 8, others 0 */
	uint32_t payload_end; /* end of the L3 packet as its own header says: padding lies behind; 0 if it is none */
};

enum xv_flow_extract_result {
	XV_FLOW_OK,
	XV_FLOW_RUNT,	   /* not even an Ethernet header */
	XV_FLOW_MALFORMED, /* L2 itself is broken (a tag is cut off; eth_type is its TPID): nothing can be done with it */
};
/*
 * Fill the packet's fields (L2 and above) of key, and layout, from the first contiguous `len` bytes of a frame that has
 * frame_len bytes in all. Metadata and tunnel fields of key are left as they are; tun_options are not touched.
 * key->packet_type decides whether the bytes begin with Ethernet (0) or with the L3 header it names. Never reads beyond
 * len. As OVS does (lib/flow.c, miniflow_extract): a header that is malformed, cut off or lies beyond len stops the
 * parse there: its fields are zero, and what was parsed before stays valid.
 */
enum xv_flow_extract_result xv_flow_extract(const uint8_t *data, uint16_t len, uint32_t frame_len,
					    struct xv_flow_key *key, struct xv_flow_layout *layout);

/* Forget all packet fields (L2 and above): before a new extract, and in masks. */
static inline void xv_flow_clear_packet(struct xv_flow_key *key)
{
	memset((uint64_t *)key + XV_FLOW_STAGE_L2, 0, (XV_FLOW_FIXED_WORDS - XV_FLOW_STAGE_L2) * 8);
}

/* Spreads flows over queues, entropy ports and next hops: of addresses, protocol and ports, equal for all fragments of
 * a datagram. symmetric: equal for both directions of a connection. */
uint32_t xv_flow_hash_5tuple(const struct xv_flow_key *key, uint32_t basis, bool symmetric);
