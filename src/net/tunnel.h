/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tunnels as wire formats: build the outer headers, and take them apart. Pure functions, no state, any thread.
 *
 * Encapsulation works from a template (struct xv_encap): all outer bytes, built once by xv_encap_build() for a peer, and
 * read only from then on; xv_encap_push() copies it in front of a packet and patches what differs: lengths, IPv4 id and
 * checksum, entropy, TOS, TTL. The template's owner frees it as any plain struct.
 *
 * Decapsulation is three steps, so that a fused flow can leave out what it knows: xv_decap_parse() reads the outer
 * headers, xv_decap_csum_verify() looks at the outer checksum, xv_decap_strip() cuts. ECN is combined by
 * xv_ecn_decap(), once the inner header is known. Whether tun_dst is ours at all is for the caller to compare.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <rte_byteorder.h>

#include "net/flow_key.h"

struct rte_mbuf;

enum xv_tunnel_type {
	XV_TUNNEL_NONE,
	XV_TUNNEL_VXLAN,    /* RFC 7348, group policy: draft-smith-vxlan-group-policy */
	XV_TUNNEL_GENEVE,   /* RFC 8926 */
	XV_TUNNEL_GRE,	    /* RFC 2784, 2890 */
	XV_TUNNEL_NVGRE,    /* RFC 7637 */
	XV_TUNNEL_MPLS_GRE, /* RFC 4023 */
	XV_TUNNEL_MPLS_UDP, /* RFC 7510 */
};

#define XV_VXLAN_PORT 4789
#define XV_GENEVE_PORT 6081
#define XV_MPLS_UDP_PORT 6635

/* xv_flow_key.packet_type of a packet that begins with the header of this Ethernet type. */
#define XV_PACKET_TYPE(eth_type) RTE_BE32(UINT32_C(1) << 16 | (eth_type))

/* ---- Encapsulation ---- */

/* Ethernet, VLAN tag, IPv6, UDP, Geneve with 252 bytes of options. */
#define XV_ENCAP_MAX 326
#define XV_ENCAP_BLOCK 16 /* headers are copied in blocks of so many bytes, aligned to their end, */
#define XV_ENCAP_MIN 64	  /* and at least so much: headroom that is needed */

/* xv_encap_params.flags */
#define XV_ENCAP_IPV6 0x001
#define XV_ENCAP_DF 0x002	  /* IPv4: don't fragment */
#define XV_ENCAP_CSUM 0x004	  /* compute the UDP or GRE checksum; without: UDP 0 (RFC 6935), GRE none */
#define XV_ENCAP_ECN 0x008	  /* copy the inner ECN field (RFC 6040 normal mode); without: as tos says */
#define XV_ENCAP_DSCP 0x010	  /* copy the inner DSCP */
#define XV_ENCAP_TTL 0x020	  /* copy the inner TTL; packets without one get the template's */
#define XV_ENCAP_FLOW_LABEL 0x040 /* IPv6: entropy into the flow label (RFC 6438) */
#define XV_ENCAP_KEY 0x080	  /* GRE: with key. The other types always have their id */
#define XV_ENCAP_SEQ 0x100	  /* GRE: with sequence number */
#define XV_ENCAP_GBP 0x200	  /* VXLAN: with group policy */
#define XV_ENCAP_OAM 0x400	  /* Geneve: control packet */
#define XV_ENCAP_GPE 0x800	  /* VXLAN: the header says what it carries (draft-ietf-nvo3-vxlan-gpe) */

struct xv_encap_params {
	enum xv_tunnel_type type;
	uint32_t flags; /* XV_ENCAP_* */
	uint8_t eth_dst[6], eth_src[6];
	rte_be16_t vlan_tpid; /* of the underlay; 0: untagged */
	rte_be16_t vlan_tci;
	union xv_ip_addr src, dst;
	uint8_t tos;
	uint8_t ttl;		 /* 0: 64 */
	rte_be16_t udp_src;	 /* 0: entropy from 49152-65535 (RFC 7348 section 5) */
	rte_be16_t udp_dst;	 /* 0: the type's own */
	rte_be32_t packet_type;	 /* what the inner packet begins with; 0: Ethernet, or XV_PACKET_TYPE() */
	uint64_t id;		 /* VNI, VSID, GRE key, MPLS label */
	uint8_t mpls_tc, mpls_ttl; /* ttl 0: 64 */
	uint8_t gbp_flags;	 /* 0x40: don't learn, 0x08: policy applied */
	rte_be16_t gbp_id;
	uint16_t options_len;
	const uint8_t *options; /* Geneve, as on the wire. Read by build only */
};

/* Metadata in one cache line, then the bytes: most tunnels over IPv4 need 64. */
struct xv_encap {
	uint16_t len;		   /* of all outer headers: what a packet grows by */
	uint16_t kind;		   /* XV_ENCAP_* and private bits */
	uint16_t l3_back, l4_back; /* where the headers begin, bytes before the inner packet */
	uint16_t ip_len;	   /* IP total (IPv6: payload) length: this much more than the inner packet */
	uint16_t ip_sum;	   /* of the IPv4 header, host order; length, id, TOS, TTL not in it */
	uint16_t src_port, entropy_mask; /* outer port: src_port | entropy & entropy_mask */
	uint32_t flow_label_mask;
	uint8_t type;		   /* enum xv_tunnel_type */
	uint8_t blocks;		   /* to be copied; also the headroom that is needed */
	uint8_t udp_len;	   /* UDP length: this much less than that of IP */
	uint8_t patch;		   /* GRE sequence number, NVGRE flow id: where, from the GRE header */
	uint8_t tos, tos_mask;	   /* outer TOS: tos | inner & tos_mask */
	uint8_t ttl;
	uint8_t bytes[(XV_ENCAP_MAX + XV_ENCAP_BLOCK - 1) / XV_ENCAP_BLOCK * XV_ENCAP_BLOCK];
};

/* What the outer headers take from this packet. */
struct xv_encap_packet {
	uint32_t hash;	  /* entropy: equal for all packets of an inner flow */
	uint32_t seq;	  /* GRE sequence number, host order; the caller counts */
	rte_be16_t ip_id; /* IPv4 id: unique if DF is not set, else 0 will do (RFC 6864) */
	uint8_t tos, ttl; /* of the inner IP header; zeros if there is none */
};

/* The params that a tunnel key describes; what it does not have (type, Ethernet, packet_type, inheritance) is left as it
 * was. options points into key. */
void xv_encap_params_from_key(struct xv_encap_params *params, const struct xv_flow_key *key);

/* 0, or -EINVAL: an id, option length or packet type that this tunnel type cannot carry. */
int xv_encap_build(const struct xv_encap_params *params, struct xv_encap *encap);

/*
 * Put the outer headers in front of a packet that lies in m. A checksum request (XV_PACKET_OFFLOAD) moves with the inner
 * packet; what it promises is counted in where an outer checksum is computed. 0, or the packet is unchanged and:
 * -EMSGSIZE  the outer IP packet would be longer than 65535 bytes
 * -EINVAL    it has a segmentation request (segment first) or one that points outside the packet
 * -ENOSPC    no headroom, or m is shared: take a fresh mbuf and xv_encap_push_head()
 */
int xv_encap_push(const struct xv_encap *encap, struct rte_mbuf *m, const struct xv_encap_packet *packet);

/* The same, of n packets, for as many of the first as this cannot fail for; how many. The next one is for xv_encap_push(). */
uint16_t xv_encap_push_burst(const struct xv_encap *encap, struct rte_mbuf *const *pkts,
			     const struct xv_encap_packet *packets, uint16_t n);

/* The same, with the headers in `head`, a fresh, empty mbuf of our pools with default headroom, which becomes the first of
 * the packet and takes m over. On error both stay the caller's. m itself is not written to: it may be shared. */
int xv_encap_push_head(const struct xv_encap *encap, struct rte_mbuf *m, struct rte_mbuf *head,
		       const struct xv_encap_packet *packet);

/* ---- Decapsulation ---- */

/* X(enum, name, explanation) */
#define XV_DECAP_RESULTS(X)                                                                                    \
	X(OK, "ok", "outer headers are sound")                                                                 \
	X(NOT_TUNNEL, "not-tunnel", "no protocol or port that is accepted as a tunnel")                        \
	X(UNSEEN, "unseen", "outer headers do not lie in one piece of memory")                                 \
	X(TRUNCATED, "truncated", "frame is shorter than its outer headers say")                               \
	X(IP_HEADER, "ip-header", "outer IP version or header length is wrong")                                \
	X(IP_CSUM, "ip-csum", "outer IPv4 header checksum is wrong")                                           \
	X(FRAGMENT, "fragment", "outer packet is a fragment")                                                  \
	X(UDP_LEN, "udp-len", "outer UDP length does not fit the IP packet")                                   \
	X(UDP_NO_CSUM, "udp-no-csum", "outer UDP over IPv6 has no checksum, and this is not accepted")         \
	X(UDP_CSUM, "udp-csum", "outer UDP checksum is wrong")                                                 \
	X(VXLAN_FLAGS, "vxlan-flags", "VXLAN header without the flag that says that the VNI is valid")         \
	X(GENEVE_VERSION, "geneve-version", "Geneve version is not 0")                                         \
	X(GENEVE_OPTIONS, "geneve-options", "Geneve options do not add up to their length")                    \
	X(GENEVE_CRITICAL, "geneve-critical", "Geneve option is critical and unknown")                         \
	X(GRE_FLAGS, "gre-flags", "GRE version, routing or reserved flags that must not be set")               \
	X(GRE_CSUM, "gre-csum", "GRE checksum is wrong")                                                       \
	X(LABEL, "label", "MPLS label that must not be on the wire")                                           \
	X(PROTOCOL, "protocol", "tunnel carries a protocol that is not supported")                             \
	X(ECN, "ecn", "outer header is marked CE, and the inner packet is not ECN-capable")

enum xv_decap_result {
#define X(e, n, t) XV_DECAP_##e,
	XV_DECAP_RESULTS(X)
#undef X
	XV_DECAP_RESULT_MAX
};

struct xv_decap_info {
	const char *name, *explanation;
};
extern const struct xv_decap_info xv_decap_info[XV_DECAP_RESULT_MAX];

/* xv_decap_config.gre. A key in front of Ethernet is taken for NVGRE's if both are set: the wire cannot tell. */
#define XV_DECAP_GRE 0x1
#define XV_DECAP_NVGRE 0x2
#define XV_DECAP_MPLS_GRE 0x4

#define XV_DECAP_PORTS 8
#define XV_DECAP_ANY_OPTION UINT16_MAX /* for n_options */

struct xv_decap_port {
	rte_be16_t port;
	uint8_t type; /* enum xv_tunnel_type */
	bool gbp;     /* VXLAN: read the group policy. Without, its bits are reserved: ignored */
	bool gpe;     /* VXLAN: read what it carries. Without, it is Ethernet, and these bits are ignored */
};

/* What is accepted. */
struct xv_decap_config {
	struct xv_decap_port ports[XV_DECAP_PORTS];
	uint8_t n_ports;
	uint8_t gre;	    /* XV_DECAP_* */
	bool csum6_required; /* refuse UDP over IPv6 without checksum (RFC 6936 allows it for tunnels) */
	/* Geneve options that are understood, class << 8 | type; a critical one that is not makes the packet a refusal (RFC
	 * 8926 section 3.5). XV_DECAP_ANY_OPTION: all are, as match fields of flows. */
	uint16_t n_options;
	const uint32_t *options;
};

struct xv_decap {
	uint8_t type; /* enum xv_tunnel_type */
	bool ipv6;
	bool has_csum;	/* the outer UDP or GRE checksum is there and to be verified */
	bool guessed;	/* MPLS: packet_type is a guess by the first nibble; what the label means decides */
	uint16_t l3, l4; /* outer IP, outer UDP or GRE header, from the first byte of the frame */
	uint16_t l4_len; /* from l4 to the end of the datagram */
	uint16_t strip;	 /* outer bytes in front of the inner packet */
	uint16_t inner_len; /* what is behind it in the frame is padding */
	bool has_key, has_seq;
	uint32_t gre_key, gre_seq;
	rte_be32_t packet_type; /* what the inner packet begins with, as xv_flow_key.packet_type */
};

/*
 * Read the outer headers of a frame from its first contiguous len bytes; the frame has frame_len in all. Never reads beyond
 * len. OK fills out and the tun_ fields of key, which the caller has set to zero or which are those of an earlier decap (bytes
 * of tun_options beyond tun_options_len are zero, before and after). Else both are as they were. The Geneve O bit is
 * reported (XV_TUN_OAM); such a packet is for the control plane and must not be forwarded (RFC 8926 section 3.4).
 * A fragment or a broken IP header with UDP or GRE is refused before its port is known: ask only about frames that are
 * addressed to a tunnel end point.
 */
enum xv_decap_result xv_decap_parse(const uint8_t *data, uint16_t len, uint32_t frame_len,
				    const struct xv_decap_config *config, struct xv_flow_key *key,
				    struct xv_decap *out);

/* OK, UDP_CSUM or GRE_CSUM; m is what was parsed. A checksum that a local sender left to be finished is right. */
enum xv_decap_result xv_decap_csum_verify(const struct rte_mbuf *m, const struct xv_decap *decap);

/*
 * Cut m down to its inner packet. A checksum request for the inner packet moves with it, one for the outer headers is gone with
 * them. 0, or m is unchanged and: -EINVAL, it has a segmentation request (segment first); -EBUSY, it is shared (copy first).
 * The first mbuf of a chain may be left with few bytes or none.
 */
int xv_decap_strip(struct rte_mbuf *m, const struct xv_decap *decap);

/* ECN field of the packet that goes on, from those of the arriving headers (RFC 6040, figure 4); or XV_ECN_DROP. */
#define XV_ECN_DROP (-1)
int xv_ecn_decap(uint8_t outer_tos, uint8_t inner_tos);

/* Set the ECN field of an IPv4 or IPv6 header, and the IPv4 header checksum with it. */
void xv_ecn_set(uint8_t *ip, uint8_t ecn);
