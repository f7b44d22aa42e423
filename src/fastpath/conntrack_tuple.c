/* SPDX-License-Identifier: Apache-2.0 */
/* What a packet is to connection tracking, and the packet inside an ICMP error (RFC 792, RFC 4443). */
#include <rte_mbuf.h>

#include "fastpath/conntrack_state.h"
#include "net/bytes.h"

#define TYPE_IPV4 RTE_BE16(0x0800)
#define TYPE_IPV6 RTE_BE16(0x86dd)

#define IPV4_LEN 20
#define IPV6_LEN 40
#define ICMP_LEN 8
#define PORTS_LEN 4
#define EXT_LEN 8   /* the least that an IPv6 extension header has */
#define EXT_MAX 8   /* extension headers that are skipped */

enum { PROTO_ICMP = 1, PROTO_TCP = 6, PROTO_UDP = 17, PROTO_ICMPV6 = 58, PROTO_SCTP = 132 };

static bool is_icmp(uint8_t proto, bool ipv6)
{
	return proto == (ipv6 ? PROTO_ICMPV6 : PROTO_ICMP);
}

static bool has_ports(uint8_t proto)
{
	return proto == PROTO_TCP || proto == PROTO_UDP || proto == PROTO_SCTP;
}

/* Destination unreachable, source quench, redirect, time exceeded, parameter problem; ICMPv6: as the RFC says, all below
 * 128. */
static bool is_error(uint8_t type, bool ipv6)
{
	return ipv6 ? type < 128 : type == 3 || type == 4 || type == 5 || type == 11 || type == 12;
}

/* Ports, or what stands for them, from the len bytes of the transport header that are there. False: it cannot be told to which
 * connection this belongs. */
static bool fill_ports(struct xv_ct_tuple *t, const uint8_t *l4, uint32_t len, uint8_t proto, bool ipv6)
{
	t->proto = proto;
	if (is_icmp(proto, ipv6)) {
		if (len < ICMP_LEN)
			return false;
		t->src_port = xv_load16(l4 + 4);
		t->dst_port = xv_load16(l4);
		return xv_ct_icmp_reverse(t->dst_port, ipv6) != 0xffff;
	}
	if (has_ports(proto)) {
		if (len < PORTS_LEN)
			return false;
		t->src_port = xv_load16(l4);
		t->dst_port = xv_load16(l4 + 2);
	}
	return true;
}

/* The transport of an IPv6 packet of len bytes: its offset, or 0. */
static uint32_t skip_extensions(const uint8_t *ip, uint32_t len, uint8_t *proto)
{
	uint32_t at = IPV6_LEN;
	unsigned int i;

	*proto = ip[6];
	for (i = 0; i < EXT_MAX; i++) {
		const uint8_t *ext = ip + at;
		uint32_t ext_len;

		switch (*proto) {
		case 0:	 /* hop by hop */
		case 43: /* routing */
		case 44: /* fragment */
		case 51: /* authentication */
		case 60: /* destination */
			break;
		default:
			return at;
		}
		if (len < at + EXT_LEN)
			return 0;
		if (*proto == 44 && xv_load_be16(ext + 2) >> 3 != 0) /* not the first fragment */
			return 0;
		ext_len = *proto == 44 ? EXT_LEN : *proto == 51 ? (ext[1] + 2u) * 4 : (ext[1] + 1u) * 8;
		*proto = ext[0];
		at += ext_len;
		if (at > len)
			return 0;
	}
	return 0;
}

/* The tuple of the packet at ip, of which len bytes are there. */
static bool inner_tuple(const uint8_t *ip, uint32_t len, bool ipv6, struct xv_ct_tuple *t)
{
	uint32_t l4;
	uint8_t proto;

	if (len < (ipv6 ? IPV6_LEN : IPV4_LEN) || ip[0] >> 4 != (ipv6 ? 6 : 4))
		return false;
	if (ipv6) {
		memcpy(&t->src, ip + 8, sizeof(t->src));
		memcpy(&t->dst, ip + 24, sizeof(t->dst));
		l4 = skip_extensions(ip, len, &proto);
		if (l4 == 0)
			return false;
	} else {
		t->src.words[3] = xv_load32(ip + 12);
		t->dst.words[3] = xv_load32(ip + 16);
		l4 = (ip[0] & 0xf) * 4u;
		proto = ip[9];
		if (l4 < IPV4_LEN || (xv_load_be16(ip + 6) & 0x1fff) != 0)
			return false;
	}
	return l4 <= len && fill_ports(t, ip + l4, len - l4, proto, ipv6);
}

enum xv_ct_kind xv_ct_tuple_of(const struct rte_mbuf *m, const struct xv_flow_key *key,
			       const struct xv_flow_layout *layout, uint16_t zone, struct xv_ct_tuple *tuple,
			       struct xv_ct_packet *p)
{
	bool ipv6 = key->eth_type == TYPE_IPV6;
	struct xv_ct_tuple inner;
	const uint8_t *l4;

	memset(tuple, 0, sizeof(*tuple));
	*p = (struct xv_ct_packet){
		.data = rte_pktmbuf_mtod(m, const uint8_t *),
		.l3 = layout->l3,
		.l4 = layout->l4,
		.l4_len = layout->l4_len,
		.proto = key->ip_proto,
		.ipv6 = ipv6,
		.len = rte_pktmbuf_data_len(m),
		.end = layout->payload_end,
		.csum_ok = true,
	};
	/* A later fragment has no transport header: to be tracked, datagrams must be put together before. */
	if ((!ipv6 && key->eth_type != TYPE_IPV4) || layout->l3 == 0 || key->ip_frag == XV_FRAG_LATER || p->proto == 0)
		return XV_CT_KIND_NONE;
	/* The key does not tell; a receiver would not take it for IP (RFC 791 section 3.1, RFC 8200 section 3). */
	if (p->data[p->l3] >> 4 != (ipv6 ? 6 : 4))
		return XV_CT_KIND_NONE;
	if (layout->l4 == 0 && (has_ports(p->proto) || is_icmp(p->proto, ipv6)))
		return XV_CT_KIND_NONE;
	l4 = p->data + p->l4;
	tuple->zone = zone;
	tuple->ipv6 = ipv6;
	if (is_icmp(p->proto, ipv6) && p->l4_len < ICMP_LEN)
		return XV_CT_KIND_NONE;
	if (is_icmp(p->proto, ipv6) && is_error(l4[0], ipv6)) {
		uint32_t end = p->end < p->len ? p->end : p->len;

		if (end < (uint32_t)p->l4 + ICMP_LEN || !inner_tuple(l4 + ICMP_LEN, end - p->l4 - ICMP_LEN, ipv6, tuple))
			return XV_CT_KIND_NONE;
		inner = *tuple;
		xv_ct_tuple_reverse(&inner, tuple);
		return XV_CT_KIND_ERROR;
	}
	tuple->src = key->ip_src;
	tuple->dst = key->ip_dst;
	return fill_ports(tuple, l4, p->l4_len, p->proto, ipv6) ? XV_CT_KIND_QUERY : XV_CT_KIND_NONE;
}
