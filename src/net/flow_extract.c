/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frame to flow key. Two ways: extract_plain() takes the shapes that nearly all traffic has (at most one tag, IP
 * without options, TCP or UDP) and writes the key in whole words; it either does all or touches nothing, and then
 * extract_any() goes header by header. Both give the same for the same bytes.
 *
 * What is parsed, and what counts as malformed, is that of OVS, even where that is lenient (the version field of IP is
 * not looked at): a flow that the provider made from a packet must match that packet here.
 */
#include "net/flow_key.h"
#include "net/bytes.h"

#define ETH_LEN     14
#define VLAN_LEN    4
#define SNAP_LEN    8
#define MPLS_LEN    4
#define NSH_LEN     8
#define NSH_MD1_LEN 24
#define ARP_LEN     28
#define IPV4_LEN    20
#define IPV6_LEN    40
#define EXT_LEN     8 /* the least that an IPv6 extension header has */
#define TCP_LEN     20
#define UDP_LEN     8
#define SCTP_LEN    12
#define ICMP_LEN    8 /* IGMP and ICMPv6, too */
#define ND_OPT_LEN  8 /* unit of an option's length, and length of one with an Ethernet address */

/* In network byte order. */
#define TYPE_IPV4     RTE_BE16(0x0800)
#define TYPE_ARP      RTE_BE16(0x0806)
#define TYPE_RARP     RTE_BE16(0x8035)
#define TYPE_VLAN     RTE_BE16(0x8100)
#define TYPE_QINQ     RTE_BE16(0x88a8)
#define TYPE_IPV6     RTE_BE16(0x86dd)
#define TYPE_MPLS     RTE_BE16(0x8847)
#define TYPE_MPLS_MC  RTE_BE16(0x8848)
#define TYPE_NSH      RTE_BE16(0x894f)
#define TYPE_NONE     RTE_BE16(0x05ff)
#define TCI_THERE     RTE_BE16(0x1000)
#define IPV4_FRAGMENT RTE_BE16(0x3fff) /* more fragments, offset */
#define IPV4_OFFSET   RTE_BE16(0x1fff)
#define IPV6_OFFSET   RTE_BE16(0xfff8)

#define TYPE_MIN 0x0600 /* below: an 802.3 length (host order) */

enum {
	PROTO_HOPOPTS = 0,
	PROTO_ICMP = 1,
	PROTO_IGMP = 2,
	PROTO_TCP = 6,
	PROTO_UDP = 17,
	PROTO_ROUTING = 43,
	PROTO_FRAGMENT = 44,
	PROTO_ESP = 50,
	PROTO_AH = 51,
	PROTO_ICMPV6 = 58,
	PROTO_NONE = 59,
	PROTO_DSTOPTS = 60,
	PROTO_SCTP = 132,
};

#define NSH_MD1 1 /* RFC 8300 section 2.2: four context headers */
#define NSH_MD2 2

/* RFC 4861 sections 4.3, 4.4, 4.6.1 */
#define ND_SOLICIT 135
#define ND_ADVERT  136
#define ND_OPT_SLL 1
#define ND_OPT_TLL 2

/* Words of the key are put together in registers below. */
static_assert(RTE_BYTE_ORDER == RTE_LITTLE_ENDIAN, "little endian");

static inline bool is_vlan(rte_be16_t type)
{
	return type == TYPE_VLAN || type == TYPE_QINQ;
}

/* extract_plain() writes these words as a whole. */
#define AT(field, word, byte)                                                                                          \
	static_assert(offsetof(struct xv_flow_key, field) == XV_FLOW_STAGE_L2 * 8 + (word)*8 + (byte), #field)
AT(eth_dst, 0, 0);
AT(eth_src, 0, 6);
AT(eth_type, 1, 4);
AT(vlan, 2, 0);
AT(mpls_lse, 3, 0);
AT(ip_src, 8, 0);
AT(ip_dst, 10, 0);
AT(ipv6_label, 12, 0);
AT(ip_proto, 12, 4);
AT(ip_tos, 12, 5);
AT(ip_ttl, 12, 6);
AT(ip_frag, 12, 7);
AT(ipv6_exthdrs, 13, 0);
AT(tp_src, 14, 0);
AT(tp_dst, 14, 2);
AT(tcp_flags, 14, 4);
AT(nd_target, 17, 0);
AT(tun_options, 19, 0);
#undef AT

/*
 * Ethernet, perhaps one 802.1Q tag, IPv4 without options or IPv6 without extension headers, no fragment, TCP or UDP.
 * False, and nothing written, if the frame is anything else. len: at least ETH_LEN + IPV4_LEN + UDP_LEN.
 */
static inline bool extract_plain(const uint8_t *data, uint32_t len, uint32_t frame_len, struct xv_flow_key *key,
				 struct xv_flow_layout *layout)
{
	uint64_t *words = (uint64_t *)key + XV_FLOW_STAGE_L2, src[2], dst[2], tag = 0, ip_fields;
	rte_be16_t type = xv_load16(data + 12), flags = 0;
	uint32_t l3 = ETH_LEN, l4, l4_len, end;
	const uint8_t *ip;
	uint8_t proto;

	if (type == TYPE_VLAN) {
		tag = xv_load32(data + 12) | (uint32_t)TCI_THERE << 16;
		type = xv_load16(data + ETH_LEN + 2);
		l3 = ETH_LEN + VLAN_LEN;
	}
	ip = data + l3;
	if (type == TYPE_IPV4) {
		l4 = l3 + IPV4_LEN;
		/* The header lies within len, and so within the frame: see below. */
		if (len < l4 + UDP_LEN || ip[0] != 0x45 || xv_load16(ip + 6) & IPV4_FRAGMENT)
			return false;
		end = l3 + xv_load_be16(ip + 2);
		proto = ip[9];
		ip_fields = (uint64_t)proto << 32 | (uint64_t)ip[1] << 40 | (uint64_t)ip[8] << 48;
		src[0] = dst[0] = 0;
		src[1] = (uint64_t)xv_load32(ip + 12) << 32;
		dst[1] = (uint64_t)xv_load32(ip + 16) << 32;
	} else if (type == TYPE_IPV6) {
		uint32_t first;

		l4 = l3 + IPV6_LEN;
		if (len < l4 + UDP_LEN)
			return false;
		first = xv_load32(ip);
		end = l4 + xv_load_be16(ip + 4);
		proto = ip[6];
		ip_fields = (first & RTE_BE32(0x000fffff)) | (uint64_t)proto << 32 |
			    (uint64_t)((rte_be_to_cpu_32(first) >> 20) & 0xff) << 40 | (uint64_t)ip[7] << 48;
		src[0] = xv_load64(ip + 8);
		src[1] = xv_load64(ip + 16);
		dst[0] = xv_load64(ip + 24);
		dst[1] = xv_load64(ip + 32);
	} else {
		return false;
	}
	if (end > frame_len || end < l4 + UDP_LEN)
		return false;
	if (proto == PROTO_UDP) {
		l4_len = UDP_LEN;
	} else if (proto == PROTO_TCP) {
		if (len < l4 + TCP_LEN)
			return false;
		l4_len = (data[l4 + 12] >> 4) * 4u;
		if (l4_len < TCP_LEN || l4 + l4_len > end || l4 + l4_len > len)
			return false;
		flags = xv_load16(data + l4 + 12) & XV_TCP_FLAGS;
	} else {
		return false;
	}

	words[0] = xv_load64(data);
	words[1] = xv_load32(data + 8) | (uint64_t)type << 32;
	words[2] = tag;
	words[3] = words[4] = words[5] = words[6] = words[7] = 0; /* MPLS, NSH */
	words[8] = src[0];
	words[9] = src[1];
	words[10] = dst[0];
	words[11] = dst[1];
	words[12] = ip_fields;
	words[13] = 0;
	words[14] = xv_load32(data + l4) | (uint64_t)flags << 32;
	words[15] = words[16] = words[17] = words[18] = 0; /* ARP, neighbour discovery */
	*layout = (struct xv_flow_layout){
		.l3 = (uint16_t)l3,
		.l4 = (uint16_t)l4,
		.l4_len = (uint16_t)l4_len,
		.payload_end = end,
	};
	return true;
}

/* Behind each step: `at` is the next header, and bytes below `seen` may be read. */
struct parse {
	const uint8_t *data;
	uint32_t at, seen;
	uint32_t frame_len;
	struct xv_flow_key *key;
	struct xv_flow_layout *layout;
};

static inline uint32_t left(const struct parse *p)
{
	return p->seen - p->at;
}

/* The packet ends where its header says: padding is not looked at. */
static void set_end(struct parse *p, uint32_t end)
{
	p->layout->payload_end = end;
	if (p->seen > end)
		p->seen = end;
}

/* RFC 4861: target, and the link-layer addresses of source and target if options give them. */
static void parse_nd(struct parse *p)
{
	static const uint8_t zero[6];
	struct xv_flow_key *key = p->key;
	uint32_t at = p->at + ICMP_LEN, option_len;
	uint8_t *address;

	if (p->seen - at < sizeof(key->nd_target))
		return;
	memcpy(&key->nd_target, p->data + at, sizeof(key->nd_target));
	at += sizeof(key->nd_target);
	/* An option has 8 bytes or more: bounded by the packet. */
	while (p->seen - at >= ND_OPT_LEN) {
		option_len = p->data[at + 1] * (uint32_t)ND_OPT_LEN;
		if (option_len == 0 || option_len > p->seen - at)
			return;
		address = NULL;
		if (option_len == ND_OPT_LEN && p->data[at] == ND_OPT_SLL)
			address = key->arp_sha;
		else if (option_len == ND_OPT_LEN && p->data[at] == ND_OPT_TLL)
			address = key->arp_tha;
		if (address) {
			/* The same address twice is an error: trust nothing of it. */
			if (memcmp(address, zero, sizeof(zero)) != 0) {
				memset(&key->nd_target, 0, sizeof(key->nd_target));
				memset(key->arp_sha, 0, sizeof(key->arp_sha));
				memset(key->arp_tha, 0, sizeof(key->arp_tha));
				return;
			}
			memcpy(address, p->data + at + 2, sizeof(zero));
		}
		at += option_len;
	}
}

/* The transport header, of any fragment but a later one. */
static void parse_l4(struct parse *p)
{
	const uint8_t *l4 = p->data + p->at;
	struct xv_flow_key *key = p->key;
	bool ipv4 = key->eth_type == TYPE_IPV4;
	uint32_t l4_len = 0;

	if (left(p) == 0)
		return;
	switch (key->ip_proto) {
	case PROTO_TCP:
		if (left(p) < TCP_LEN)
			return;
		l4_len = (l4[12] >> 4) * 4u;
		if (l4_len < TCP_LEN || l4_len > left(p))
			return;
		key->tcp_flags = xv_load16(l4 + 12) & XV_TCP_FLAGS;
		break;
	case PROTO_UDP:
		l4_len = UDP_LEN;
		break;
	case PROTO_SCTP:
		l4_len = SCTP_LEN;
		break;
	case PROTO_ICMP:
	case PROTO_IGMP:
		l4_len = ipv4 ? ICMP_LEN : 0;
		break;
	case PROTO_ICMPV6:
		l4_len = ipv4 ? 0 : ICMP_LEN;
		break;
	}
	if (left(p) < l4_len)
		return;
	p->layout->l4 = (uint16_t)p->at;
	p->layout->l4_len = (uint16_t)l4_len;
	if (l4_len == 0)
		return;
	switch (key->ip_proto) {
	case PROTO_ICMP:
	case PROTO_IGMP:
	case PROTO_ICMPV6:
		key->tp_src = rte_cpu_to_be_16(l4[0]);
		key->tp_dst = rte_cpu_to_be_16(l4[1]);
		if (!ipv4 && (l4[0] == ND_SOLICIT || l4[0] == ND_ADVERT) && l4[1] == 0)
			parse_nd(p);
		break;
	default:
		key->tp_src = xv_load16(l4);
		key->tp_dst = xv_load16(l4 + 2);
	}
}

static void parse_ipv4(struct parse *p)
{
	const uint8_t *ip = p->data + p->at;
	struct xv_flow_key *key = p->key;
	uint32_t header_len, total_len;
	rte_be16_t fragment;

	if (left(p) < IPV4_LEN)
		return;
	header_len = (ip[0] & 0xf) * 4u;
	total_len = xv_load_be16(ip + 2);
	if (header_len < IPV4_LEN || header_len > left(p) || total_len < header_len || total_len > p->frame_len - p->at)
		return;
	p->layout->l3 = (uint16_t)p->at;
	set_end(p, p->at + total_len);
	memcpy(&key->ip_src.words[3], ip + 12, 4);
	memcpy(&key->ip_dst.words[3], ip + 16, 4);
	key->ip_proto = ip[9];
	key->ip_tos = ip[1];
	key->ip_ttl = ip[8];
	fragment = xv_load16(ip + 6) & IPV4_FRAGMENT;
	if (fragment)
		key->ip_frag = fragment & IPV4_OFFSET ? XV_FRAG_LATER : XV_FRAG_FIRST;
	p->at += header_len;
	if (key->ip_frag != XV_FRAG_LATER)
		parse_l4(p);
}

/*
 * Which extension headers there were, as bits. Their order is that of RFC 8200 section 4.1: each has a place, and
 * destination options have two (before a routing header, and last).
 */
struct ext_headers {
	uint16_t flags;
	uint8_t place, dest_options;
};

static void add_ext_header(struct ext_headers *h, uint16_t flag, uint8_t place)
{
	bool repeated = h->flags & flag;

	if (flag == XV_EXTHDR_DEST) {
		repeated = ++h->dest_options > 2;
		if (h->place >= place) /* something beyond hop-by-hop came: this is the last one */
			place = 7;
	}
	if (repeated)
		h->flags |= XV_EXTHDR_UNREP;
	if (place < h->place)
		h->flags |= XV_EXTHDR_UNSEQ;
	else
		h->place = place;
	h->flags |= flag;
}

/*
 * Go to the transport header. Returns its protocol (PROTO_FRAGMENT in a later fragment), or -1 if a header is cut off.
 * Sets what is found of exthdrs and frag. A header has 8 bytes or more: bounded by the packet.
 */
static int skip_ext_headers(struct parse *p, uint8_t next, uint16_t *exthdrs, uint8_t *frag)
{
	struct ext_headers found = {0};
	uint32_t ext_len;
	rte_be16_t fragment;
	const uint8_t *ext;

	for (;;) {
		switch (next) {
		case PROTO_HOPOPTS:
			add_ext_header(&found, XV_EXTHDR_HOP, 1);
			break;
		case PROTO_DSTOPTS:
			add_ext_header(&found, XV_EXTHDR_DEST, 2);
			break;
		case PROTO_ROUTING:
			add_ext_header(&found, XV_EXTHDR_ROUTER, 3);
			break;
		case PROTO_FRAGMENT:
			add_ext_header(&found, XV_EXTHDR_FRAG, 4);
			break;
		case PROTO_AH:
			add_ext_header(&found, XV_EXTHDR_AUTH, 5);
			break;
		case PROTO_ESP: /* what follows is encrypted */
			add_ext_header(&found, XV_EXTHDR_ESP, 6);
			*exthdrs = found.flags;
			return next;
		case PROTO_NONE:
			found.flags |= XV_EXTHDR_NONEXT;
			*exthdrs = found.flags;
			return next;
		default:
			*exthdrs = found.flags;
			return next;
		}
		if (left(p) < EXT_LEN)
			return -1;
		ext = p->data + p->at;
		if (next == PROTO_FRAGMENT) {
			ext_len = EXT_LEN;
			fragment = xv_load16(ext + 2);
			/* All zero: an "atomic" fragment (RFC 6946), which is a whole packet. */
			if (fragment)
				*frag = XV_FRAG_FIRST;
			if (fragment & IPV6_OFFSET) {
				*frag = XV_FRAG_LATER;
				*exthdrs = found.flags;
				return PROTO_FRAGMENT;
			}
		} else if (next == PROTO_AH) {
			ext_len = (ext[1] + 2u) * 4;
		} else {
			ext_len = (ext[1] + 1u) * 8;
		}
		if (ext_len > left(p))
			return -1;
		next = ext[0];
		p->at += ext_len;
	}
}

static void parse_ipv6(struct parse *p)
{
	const uint8_t *ip = p->data + p->at;
	struct xv_flow_key *key = p->key;
	uint32_t l3 = p->at, total_len;
	uint8_t frag = XV_FRAG_NONE;
	uint16_t exthdrs = 0;
	rte_be32_t first;
	int proto;

	if (left(p) < IPV6_LEN)
		return;
	total_len = IPV6_LEN + (uint32_t)xv_load_be16(ip + 4);
	if (total_len > p->frame_len - l3)
		return;
	p->layout->l3 = (uint16_t)l3;
	set_end(p, l3 + total_len);
	memcpy(&key->ip_src, ip + 8, sizeof(key->ip_src));
	memcpy(&key->ip_dst, ip + 24, sizeof(key->ip_dst));
	p->at += IPV6_LEN;
	proto = skip_ext_headers(p, ip[6], &exthdrs, &frag);
	if (proto < 0)
		return;
	first = xv_load32(ip);
	key->ipv6_label = first & RTE_BE32(0x000fffff);
	key->ip_tos = (uint8_t)(rte_be_to_cpu_32(first) >> 20);
	key->ip_ttl = ip[7];
	key->ip_proto = (uint8_t)proto;
	key->ip_frag = frag;
	key->ipv6_exthdrs = exthdrs;
	if (frag != XV_FRAG_LATER)
		parse_l4(p);
}

/* RFC 826, of IPv4 on Ethernet only. */
static void parse_arp(struct parse *p)
{
	static const uint8_t ethernet_ipv4[6] = {0, 1, 8, 0, 6, 4}; /* hardware, protocol, lengths of their addresses */
	const uint8_t *arp = p->data + p->at;
	struct xv_flow_key *key = p->key;

	if (left(p) < ARP_LEN || memcmp(arp, ethernet_ipv4, sizeof(ethernet_ipv4)) != 0)
		return;
	p->layout->l3 = (uint16_t)p->at;
	p->layout->payload_end = p->at + ARP_LEN;
	memcpy(key->arp_sha, arp + 8, sizeof(key->arp_sha));
	memcpy(&key->ip_src.words[3], arp + 14, 4);
	memcpy(key->arp_tha, arp + 18, sizeof(key->arp_tha));
	memcpy(&key->ip_dst.words[3], arp + 24, 4);
	if (arp[6] == 0)
		key->ip_proto = arp[7];
}

/* RFC 3032. What is below the stack is unknown. */
static void parse_mpls(struct parse *p)
{
	struct xv_flow_key *key = p->key;
	const uint8_t *entry;

	if (left(p) >= MPLS_LEN)
		p->layout->l2_5 = (uint16_t)p->at;
	while (key->mpls_depth < XV_FLOW_MAX_MPLS && left(p) >= MPLS_LEN) {
		entry = p->data + p->at;
		memcpy(&key->mpls_lse[key->mpls_depth++], entry, MPLS_LEN);
		if (entry[2] & 1) /* bottom of stack */
			return;
		p->at += MPLS_LEN;
	}
}

/* RFC 8300; context headers of MD type 1 only. */
static void parse_nsh(struct parse *p)
{
	const uint8_t *nsh = p->data + p->at;
	struct xv_flow_key *key = p->key;
	uint32_t nsh_len;
	uint16_t first;

	if (left(p) < NSH_LEN)
		return;
	first = xv_load_be16(nsh); /* version, flags, TTL, length */
	nsh_len = (first & 0x3fu) * 4;
	if (nsh_len > left(p) || first >> 14 != 0)
		return;
	if ((nsh[2] == NSH_MD1 && nsh_len != NSH_MD1_LEN) || (nsh[2] == NSH_MD2 && nsh_len < NSH_LEN))
		return;
	p->layout->l2_5 = (uint16_t)p->at;
	key->nsh_flags = first >> 12 & 3;
	key->nsh_ttl = first >> 6 & 0x3f;
	key->nsh_mdtype = nsh[2];
	key->nsh_np = nsh[3];
	key->nsh_path_hdr = xv_load32(nsh + 4);
	if (nsh[2] == NSH_MD1)
		memcpy(key->nsh_context, nsh + NSH_LEN, sizeof(key->nsh_context));
}

/* Addresses, tags and type. */
static enum xv_flow_extract_result parse_eth(struct parse *p)
{
	static const uint8_t snap[6] = {0xaa, 0xaa, 3, 0, 0, 0}; /* LLC, and the zero OUI: a type follows */
	enum xv_flow_extract_result result = XV_FLOW_OK;
	struct xv_flow_key *key = p->key;
	rte_be16_t type;
	unsigned int n;

	if (p->seen < ETH_LEN)
		return XV_FLOW_RUNT;
	memcpy(key->eth_dst, p->data, sizeof(key->eth_dst));
	memcpy(key->eth_src, p->data + 6, sizeof(key->eth_src));
	p->at = 12;
	type = xv_load16(p->data + p->at);
	for (n = 0; n < XV_FLOW_MAX_VLANS && is_vlan(type); n++) {
		if (left(p) < VLAN_LEN + sizeof(type)) {
			result = XV_FLOW_MALFORMED;
			break;
		}
		key->vlan[n].tpid = type;
		key->vlan[n].tci = xv_load16(p->data + p->at + 2) | TCI_THERE;
		p->at += VLAN_LEN;
		type = xv_load16(p->data + p->at);
	}
	p->at += sizeof(type);
	if (rte_be_to_cpu_16(type) < TYPE_MIN) {
		type = TYPE_NONE;
		if (left(p) >= SNAP_LEN && memcmp(p->data + p->at, snap, sizeof(snap)) == 0 &&
		    xv_load_be16(p->data + p->at + sizeof(snap)) >= TYPE_MIN) {
			type = xv_load16(p->data + p->at + sizeof(snap));
			p->at += SNAP_LEN;
		}
	}
	key->eth_type = type;
	return result;
}

static enum xv_flow_extract_result extract_any(const uint8_t *data, uint16_t len, uint32_t frame_len,
					       struct xv_flow_key *key, struct xv_flow_layout *layout)
{
	struct parse p = {.data = data, .seen = len, .frame_len = frame_len, .key = key, .layout = layout};
	enum xv_flow_extract_result result;

	xv_flow_clear_packet(key);
	*layout = (struct xv_flow_layout){0};
	if (key->packet_type == 0) {
		result = parse_eth(&p);
		if (result != XV_FLOW_OK)
			return result;
	} else {
		key->eth_type = (rte_be16_t)(key->packet_type >> 16); /* its last two bytes */
	}
	switch (key->eth_type) {
	case TYPE_IPV4:
		parse_ipv4(&p);
		break;
	case TYPE_IPV6:
		parse_ipv6(&p);
		break;
	case TYPE_ARP:
	case TYPE_RARP:
		parse_arp(&p);
		break;
	case TYPE_MPLS:
	case TYPE_MPLS_MC:
		parse_mpls(&p);
		break;
	case TYPE_NSH:
		parse_nsh(&p);
		break;
	}
	return XV_FLOW_OK;
}

enum xv_flow_extract_result xv_flow_extract(const uint8_t *data, uint16_t len, uint32_t frame_len,
					    struct xv_flow_key *key, struct xv_flow_layout *layout)
{
	if (frame_len < len)
		len = (uint16_t)frame_len;
	if (key->packet_type == 0 && len >= ETH_LEN + IPV4_LEN + UDP_LEN &&
	    extract_plain(data, len, frame_len, key, layout))
		return XV_FLOW_OK;
	return extract_any(data, len, frame_len, key, layout);
}

/* Fold 64 bits more into a hash: a multiplication spreads upward, its upper half is brought down. */
static inline uint64_t mix(uint64_t hash, uint64_t v)
{
	hash = (hash ^ v) * UINT64_C(0x9e3779b97f4a7c15);
	return hash ^ hash >> 32;
}

static inline uint64_t mac48(const uint8_t *mac)
{
	return (uint64_t)xv_load16(mac + 4) << 32 | xv_load32(mac);
}

uint32_t xv_flow_hash_5tuple(const struct xv_flow_key *key, uint32_t basis, bool symmetric)
{
	uint64_t src, dst, both, hash;

	if (key->eth_type == TYPE_IPV4 || key->eth_type == TYPE_IPV6) {
		bool ports = key->ip_proto == PROTO_TCP || key->ip_proto == PROTO_UDP || key->ip_proto == PROTO_SCTP;

		/* A later fragment has no ports, and in IPv6 does not tell the protocol. */
		if (key->ip_frag != XV_FRAG_NONE)
			ports = false;
		src = mix(mix(basis, key->ip_src.u64[0]), key->ip_src.u64[1]);
		dst = mix(mix(basis, key->ip_dst.u64[0]), key->ip_dst.u64[1]);
		src = mix(src, ports ? key->tp_src : 0);
		dst = mix(dst, ports ? key->tp_dst : 0);
		both = key->ip_frag == XV_FRAG_NONE ? key->ip_proto : PROTO_FRAGMENT;
	} else {
		src = mix(basis, mac48(key->eth_src));
		dst = mix(basis, mac48(key->eth_dst));
		both = (uint64_t)key->eth_type << 8;
	}
	/* A sum does not tell who is who, and unlike an exclusive or it is not zero for two equal ends. */
	hash = symmetric ? src + dst : mix(src, 1) + dst;
	hash = mix(mix(hash, both), basis);
	return (uint32_t)(hash >> 16);
}
