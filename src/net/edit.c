/* SPDX-License-Identifier: Apache-2.0 */
#include "net/edit.h"

#include <errno.h>
#include <netinet/in.h>

#include <rte_branch_prediction.h>
#include <rte_mbuf.h>

#include "net/bytes.h"
#include "net/checksum.h"
#include "net/packet.h"
#include "net/replace.h"

#define ETH_IPV4   0x0800
#define ETH_ARP	   0x0806
#define ETH_RARP   0x8035
#define ETH_8021Q  0x8100
#define ETH_IPV6   0x86dd
#define ETH_8021AD 0x88a8
#define ETH_NSH	   0x894f

#define MACS_LEN 12
#define VLAN_LEN 4
#define MPLS_LEN 4
#define NSH_LEN	 8
#define NSH_MD1_LEN (NSH_LEN + 16)
#define ARP_LEN	 28
#define IPV4_LEN 20
#define IPV6_LEN 40

#define TCP_LEN	 20
#define UDP_LEN	 8
#define SCTP_LEN 12
#define ICMP_LEN 4

#define TCP_CSUM  16
#define UDP_CSUM  6
#define ICMP_CSUM 2
#define SCTP_CSUM 8

/* Neighbour discovery (RFC 4861): header with target address; options of 8 bytes each or a multiple. */
#define ND_SOLICIT    135
#define ND_ADVERT     136
#define ND_TARGET     8
#define ND_LEN	      24
#define ND_OPTION_LEN 8
#define ND_SOURCE_MAC 1
#define ND_TARGET_MAC 2

#define VLAN_DEI 0x1000

#define WORD(field) (offsetof(struct xv_flow_key, field) / 8)

/* What differs() is asked about begins and ends with a word. */
static_assert(offsetof(struct xv_flow_key, eth_src) == offsetof(struct xv_flow_key, eth_dst) + 6, "one piece");
static_assert(offsetof(struct xv_flow_key, eth_dst) % 8 == 0 && offsetof(struct xv_flow_key, vlan) % 8 == 0, "words");
static_assert(offsetof(struct xv_flow_key, ipv6_label) % 8 == 0, "a word");
static_assert(offsetof(struct xv_flow_key, ip_ttl) / 8 == WORD(ipv6_label), "same word");
static_assert(WORD(ip_dst) == WORD(ip_src) + 2, "addresses are one piece");

/* What the checksum of the transport header sees change. */
struct l4_change {
	xv_delta_t pseudo; /* addresses */
	xv_delta_t body;
};

static xv_delta_t replace_mac(uint8_t *p, const uint8_t mac[6])
{
	return xv_replace32(p, xv_load32(mac)) + xv_replace16(p + 4, xv_load16(mac + 4));
}

/* Not zero if the keys differ in n words from the first on. */
static inline uint64_t differs(const struct xv_flow_key *from, const struct xv_flow_key *to, unsigned int first,
			       unsigned int n)
{
	const uint64_t *a = (const uint64_t *)from + first, *b = (const uint64_t *)to + first;
	uint64_t d = 0;
	unsigned int i;

	for (i = 0; i < n; i++)
		d |= a[i] ^ b[i];
	return d;
}

static inline bool mac_differs(const uint8_t a[6], const uint8_t b[6])
{
	return memcmp(a, b, 6) != 0;
}

static inline bool ipv6_differs(const union xv_ip_addr *a, const union xv_ip_addr *b)
{
	return ((a->u64[0] ^ b->u64[0]) | (a->u64[1] ^ b->u64[1])) != 0;
}

/* CRC32c is linear: a product in the field of its polynomial (reflected, as in RFC 9260, appendix A). */
static uint32_t crc_multiply(uint32_t a, uint32_t b)
{
	uint32_t product = 0;
	int i;

	for (i = 31; i >= 0; i--) {
		product ^= b & -(a >> i & 1);
		b = b >> 1 ^ (0x82f63b78 & -(b & 1));
	}
	return product;
}

/*
 * What CRC32c changes by when the first four bytes of len change by `bits` (exclusive or, as a little-endian number):
 * they are shifted by len bytes. Takes as long for 64 KiB as for a header, and needs no look at the payload.
 */
static uint32_t crc_of_change(uint32_t bits, uint16_t len)
{
	/* x to the power of 8 * 2^i */
	static const uint32_t shift[16] = {
		0x00800000, 0x00008000, 0x82f63b78, 0x6ea2d55c, 0x18b8ea18, 0x510ac59a, 0xb82be955, 0xb8fdb1e7,
		0x88e56f72, 0x74c360a4, 0xe4172b16, 0x0d65762a, 0x35d73a62, 0x28461564, 0xbf455269, 0xe2ea32dc,
	};
	unsigned int i;

	for (i = 0; i < 16; i++)
		if (len >> i & 1)
			bits = crc_multiply(bits, shift[i]);
	return bits;
}

static int edit_vlans(uint8_t *data, uint32_t len, const struct xv_flow_key *from, const struct xv_flow_key *to)
{
	unsigned int i;
	uint16_t tpid;
	uint8_t *tag;

	for (i = 0; i < XV_FLOW_MAX_VLANS; i++) {
		if (from->vlan[i].tpid == 0 || to->vlan[i].tpid == 0)
			return 0;
		if (xv_load32((const uint8_t *)&from->vlan[i]) == xv_load32((const uint8_t *)&to->vlan[i]))
			continue;
		if (MACS_LEN + (i + 1) * VLAN_LEN > len)
			return -EINVAL;
		tag = data + MACS_LEN + i * VLAN_LEN;
		tpid = rte_be_to_cpu_16(xv_load16(tag));
		if (tpid != ETH_8021Q && tpid != ETH_8021AD)
			return -EINVAL;
		xv_store16(tag, to->vlan[i].tpid);
		xv_store16(tag + 2, (xv_load16(tag + 2) & RTE_BE16(VLAN_DEI)) |
					 (to->vlan[i].tci & RTE_BE16((uint16_t)~VLAN_DEI)));
	}
	return 0;
}

static int edit_mpls(uint8_t *data, uint32_t len, uint32_t offset, const struct xv_flow_key *from,
		     const struct xv_flow_key *to)
{
	unsigned int i, n = RTE_MIN(RTE_MIN(from->mpls_depth, to->mpls_depth), XV_FLOW_MAX_MPLS);

	for (i = 0; i < n; i++) {
		if (from->mpls_lse[i] == to->mpls_lse[i])
			continue;
		if (offset + (i + 1) * MPLS_LEN > len)
			return -EINVAL;
		xv_store32(data + offset + i * MPLS_LEN, to->mpls_lse[i]);
	}
	return 0;
}

static int edit_nsh(uint8_t *data, uint32_t len, uint32_t offset, const struct xv_flow_key *from,
		    const struct xv_flow_key *to)
{
	uint8_t *nsh = data + offset;
	uint16_t head;
	unsigned int i;

	if (offset + NSH_LEN > len)
		return -EINVAL;
	head = rte_be_to_cpu_16(xv_load16(nsh)); /* version 2 bits, flags 2, TTL 6, length in words 6 */
	if (from->nsh_flags != to->nsh_flags)
		head = (uint16_t)((head & ~0x3000) | (to->nsh_flags & 3) << 12);
	if (from->nsh_ttl != to->nsh_ttl)
		head = (uint16_t)((head & ~0x0fc0) | (to->nsh_ttl & 0x3f) << 6);
	xv_store16(nsh, rte_cpu_to_be_16(head));
	if (from->nsh_path_hdr != to->nsh_path_hdr)
		xv_store32(nsh + 4, to->nsh_path_hdr);
	if (from->nsh_mdtype != 1 || memcmp(from->nsh_context, to->nsh_context, sizeof(to->nsh_context)) == 0)
		return 0;
	if ((head & 0x3f) * 4u < NSH_MD1_LEN || offset + NSH_MD1_LEN > len)
		return -EINVAL;
	for (i = 0; i < 4; i++)
		if (from->nsh_context[i] != to->nsh_context[i])
			xv_store32(nsh + NSH_LEN + 4 * i, to->nsh_context[i]);
	return 0;
}

/* VLAN, MPLS, NSH. */
static int edit_l2(uint8_t *data, uint32_t len, const struct xv_flow_layout *layout, const struct xv_flow_key *from,
		   const struct xv_flow_key *to)
{
	int rc = 0;

	if (from->packet_type == 0)
		rc = edit_vlans(data, len, from, to);
	/* With no Ethernet before it, the label stack or NSH begins at 0; a malformed one is all zero in the key. */
	if (rc != 0 || (layout->l2_5 == 0 && from->packet_type == 0))
		return rc;
	if (from->eth_type == RTE_BE16(ETH_NSH) && (from->nsh_mdtype | from->nsh_np) == 0)
		return 0;
	if (from->eth_type == RTE_BE16(ETH_NSH))
		return edit_nsh(data, len, layout->l2_5, from, to);
	return edit_mpls(data, len, layout->l2_5, from, to);
}

static int edit_arp(uint8_t *data, uint32_t len, uint32_t offset, const struct xv_flow_key *from,
		    const struct xv_flow_key *to)
{
	uint8_t *arp = data + offset;

	if (offset + ARP_LEN > len)
		return -EINVAL;
	if (from->ip_proto != to->ip_proto)
		xv_store16(arp + 6, rte_cpu_to_be_16(to->ip_proto));
	if (mac_differs(from->arp_sha, to->arp_sha))
		memcpy(arp + 8, to->arp_sha, 6);
	if (from->ip_src.words[3] != to->ip_src.words[3])
		xv_store32(arp + 14, to->ip_src.words[3]);
	if (mac_differs(from->arp_tha, to->arp_tha))
		memcpy(arp + 18, to->arp_tha, 6);
	if (from->ip_dst.words[3] != to->ip_dst.words[3])
		xv_store32(arp + 24, to->ip_dst.words[3]);
	return 0;
}

static int edit_ipv4(uint8_t *data, uint32_t len, uint32_t offset, const struct xv_flow_key *from,
		     const struct xv_flow_key *to, struct l4_change *l4)
{
	xv_delta_t delta = 0, addresses = 0;
	uint8_t *ip = data + offset;
	uint16_t before;

	if (offset + IPV4_LEN > len)
		return -EINVAL;
	if (from->ip_src.words[3] != to->ip_src.words[3])
		addresses += xv_replace32(ip + 12, to->ip_src.words[3]);
	if (from->ip_dst.words[3] != to->ip_dst.words[3])
		addresses += xv_replace32(ip + 16, to->ip_dst.words[3]);
	if (from->ip_tos != to->ip_tos) {
		before = xv_load16(ip);
		ip[1] = to->ip_tos;
		delta += xv_delta16(before, xv_load16(ip));
	}
	if (from->ip_ttl != to->ip_ttl) {
		before = xv_load16(ip + 8);
		ip[8] = to->ip_ttl;
		delta += xv_delta16(before, xv_load16(ip + 8));
	}
	delta += addresses;
	if (delta)
		xv_store16(ip + 10, xv_csum_apply(xv_load16(ip + 10), delta));
	l4->pseudo = addresses;
	return 0;
}

/*
 * Whether the packet is still on its way through a routing header: between the IPv6 header and l4, whose end is known
 * to be within the first segment.
 */
static bool is_source_routed(const uint8_t *ip, uint32_t headers_len)
{
	uint32_t offset = IPV6_LEN;
	uint8_t next = ip[6];

	while (offset + 8 <= headers_len) {
		if (next == IPPROTO_ROUTING && ip[offset + 3] > 0) /* segments left */
			return true;
		switch (next) {
		case IPPROTO_ROUTING:
		case IPPROTO_HOPOPTS:
		case IPPROTO_DSTOPTS:
			next = ip[offset];
			offset += (ip[offset + 1] + 1u) * 8;
			break;
		case IPPROTO_AH:
			next = ip[offset];
			offset += (ip[offset + 1] + 2u) * 4;
			break;
		case IPPROTO_FRAGMENT:
			next = ip[offset];
			offset += 8;
			break;
		default:
			return false;
		}
	}
	return false;
}

static int edit_ipv6(uint8_t *data, uint32_t len, const struct xv_flow_layout *layout, const struct xv_flow_key *from,
		     const struct xv_flow_key *to, struct l4_change *l4)
{
	uint8_t *ip = data + layout->l3;
	uint32_t head, headers_len;
	xv_delta_t delta;

	if (layout->l3 + (uint32_t)IPV6_LEN > len)
		return -EINVAL;
	head = rte_be_to_cpu_32(xv_load32(ip)); /* version 4 bits, traffic class 8, flow label 20 */
	if (from->ip_tos != to->ip_tos)
		head = (head & ~0x0ff00000u) | (uint32_t)to->ip_tos << 20;
	if (from->ipv6_label != to->ipv6_label)
		head = (head & ~0x000fffffu) | (rte_be_to_cpu_32(to->ipv6_label) & 0x000fffff);
	xv_store32(ip, rte_cpu_to_be_32(head));
	if (from->ip_ttl != to->ip_ttl)
		ip[7] = to->ip_ttl;
	if (ipv6_differs(&from->ip_src, &to->ip_src))
		l4->pseudo += xv_replace_ipv6(ip + 8, to->ip_src.words);
	if (ipv6_differs(&from->ip_dst, &to->ip_dst)) {
		delta = xv_replace_ipv6(ip + 24, to->ip_dst.words);
		headers_len = layout->l4 > layout->l3 ? RTE_MIN(layout->l4, len) - layout->l3 : 0;
		if (headers_len <= IPV6_LEN || !is_source_routed(ip, headers_len))
			l4->pseudo += delta;
	}
	return 0;
}

static xv_delta_t edit_ports(uint8_t *th, const struct xv_flow_key *from, const struct xv_flow_key *to)
{
	xv_delta_t delta = 0;

	if (from->tp_src != to->tp_src)
		delta += xv_replace16(th, to->tp_src);
	if (from->tp_dst != to->tp_dst)
		delta += xv_replace16(th + 2, to->tp_dst);
	return delta;
}

static xv_delta_t edit_icmp(uint8_t *icmp, const struct xv_flow_key *from, const struct xv_flow_key *to)
{
	uint16_t before = xv_load16(icmp);

	if (from->tp_src == to->tp_src && from->tp_dst == to->tp_dst)
		return 0;
	if (from->tp_src != to->tp_src)
		icmp[0] = (uint8_t)rte_be_to_cpu_16(to->tp_src);
	if (from->tp_dst != to->tp_dst)
		icmp[1] = (uint8_t)rte_be_to_cpu_16(to->tp_dst);
	return xv_delta16(before, xv_load16(icmp));
}

/* nd: the ICMPv6 header; len: to the end of the packet or of the first segment. */
static xv_delta_t edit_nd(uint8_t *nd, uint32_t len, const struct xv_flow_key *from, const struct xv_flow_key *to)
{
	bool sll = mac_differs(from->arp_sha, to->arp_sha), tll = mac_differs(from->arp_tha, to->arp_tha);
	uint32_t offset, option_len;
	xv_delta_t delta = 0;

	if (len < ND_LEN)
		return 0;
	if (ipv6_differs(&from->nd_target, &to->nd_target))
		delta += xv_replace_ipv6(nd + ND_TARGET, to->nd_target.words);
	for (offset = ND_LEN; (sll || tll) && offset + ND_OPTION_LEN <= len; offset += option_len) {
		uint8_t *option = nd + offset;

		option_len = option[1] * (uint32_t)ND_OPTION_LEN;
		if (option_len == 0)
			break;
		if (option_len != ND_OPTION_LEN)
			continue;
		if (sll && option[0] == ND_SOURCE_MAC) {
			delta += replace_mac(option + 2, to->arp_sha);
			sll = false;
		} else if (tll && option[0] == ND_TARGET_MAC) {
			delta += replace_mac(option + 2, to->arp_tha);
			tll = false;
		}
	}
	return delta;
}

static inline bool is_nd(const struct xv_flow_key *key)
{
	return key->tp_dst == 0 && (key->tp_src == RTE_BE16(ND_SOLICIT) || key->tp_src == RTE_BE16(ND_ADVERT));
}

static void edit_sctp(struct rte_mbuf *m, uint32_t l4, uint32_t l4_end, const struct xv_flow_key *from,
		      const struct xv_flow_key *to)
{
	uint8_t *sh = rte_pktmbuf_mtod_offset(m, uint8_t *, l4);
	uint32_t before = xv_load32(sh), bits;

	edit_ports(sh, from, to);
	if (before == xv_load32(sh) || xv_csum_is_pending(m, l4, SCTP_CSUM))
		return;
	bits = crc_of_change(rte_le_to_cpu_32(before ^ xv_load32(sh)), (uint16_t)(l4_end - l4));
	xv_store32(sh + SCTP_CSUM, xv_load32(sh + SCTP_CSUM) ^ rte_cpu_to_le_32(bits));
}

static int edit_l4(struct rte_mbuf *m, const struct xv_flow_layout *layout, const struct xv_flow_key *from,
		   const struct xv_flow_key *to, struct l4_change *change)
{
	uint32_t l4 = layout->l4, len = m->data_len, need;
	uint8_t *th = rte_pktmbuf_mtod_offset(m, uint8_t *, l4);

	switch (from->ip_proto) {
	case IPPROTO_TCP:
		need = TCP_LEN;
		break;
	case IPPROTO_UDP:
		need = UDP_LEN;
		break;
	case IPPROTO_SCTP:
		need = SCTP_LEN;
		break;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		need = ICMP_LEN;
		break;
	default:
		return 0;
	}
	if (l4 == 0 || layout->l4_len < need)
		return 0;
	if (l4 + need > len || l4 + need > layout->payload_end)
		return -EINVAL;

	switch (from->ip_proto) {
	case IPPROTO_TCP:
		change->body = edit_ports(th, from, to);
		xv_csum_update_l4(m, l4, TCP_CSUM, change->pseudo, change->body, false);
		break;
	case IPPROTO_UDP:
		change->body = edit_ports(th, from, to);
		xv_csum_update_l4(m, l4, UDP_CSUM, change->pseudo, change->body, true);
		break;
	case IPPROTO_SCTP:
		edit_sctp(m, l4, layout->payload_end, from, to);
		break;
	case IPPROTO_ICMPV6:
		if (is_nd(from))
			change->body = edit_nd(th, RTE_MIN(layout->payload_end, len) - l4, from, to);
		change->body += edit_icmp(th, from, to);
		xv_csum_update_l4(m, l4, ICMP_CSUM, change->pseudo, change->body, false);
		break;
	default:
		change->pseudo = 0; /* ICMP has none: RFC 792 */
		change->body = edit_icmp(th, from, to);
		xv_csum_update_l4(m, l4, ICMP_CSUM, change->pseudo, change->body, false);
		break;
	}
	return 0;
}

static int edit_ip(struct rte_mbuf *m, const struct xv_flow_layout *layout, const struct xv_flow_key *from,
		   const struct xv_flow_key *to, bool l3, bool l4)
{
	uint8_t *data = rte_pktmbuf_mtod(m, uint8_t *);
	struct l4_change change = {0, 0};
	int rc = 0;

	if (l3 && from->eth_type == RTE_BE16(ETH_IPV4))
		rc = edit_ipv4(data, m->data_len, layout->l3, from, to, &change);
	else if (l3)
		rc = edit_ipv6(data, m->data_len, layout, from, to, &change);
	if (rc == 0 && (l4 || change.pseudo))
		rc = edit_l4(m, layout, from, to, &change);
	return rc;
}

/* Only the TTL or hop limit differs: what routing does. */
static inline int edit_ttl(struct rte_mbuf *m, uint32_t l3, bool ipv4, uint8_t ttl)
{
	uint8_t *ip = rte_pktmbuf_mtod_offset(m, uint8_t *, l3);
	uint16_t before;

	if (unlikely(l3 + (ipv4 ? IPV4_LEN : IPV6_LEN) > m->data_len))
		return -EINVAL;
	if (ipv4) {
		before = xv_load16(ip + 8);
		ip[8] = ttl;
		xv_store16(ip + 10, xv_csum_update16(xv_load16(ip + 10), before, xv_load16(ip + 8)));
	} else {
		ip[7] = ttl;
	}
	return 0;
}

int xv_edit_apply(struct rte_mbuf *m, const struct xv_flow_layout *layout, const struct xv_flow_key *from,
		  const struct xv_flow_key *to)
{
	const uint64_t ttl = RTE_LE64(UINT64_C(0xff) << offsetof(struct xv_flow_key, ip_ttl) % 8 * 8);
	uint64_t macs, l2, addresses, ip, l4;
	int rc;

	macs = differs(from, to, WORD(eth_dst), 1) | (xv_load32(from->eth_src + 2) ^ xv_load32(to->eth_src + 2));
	l2 = differs(from, to, WORD(vlan), XV_FLOW_STAGE_L3 - WORD(vlan));
	addresses = differs(from, to, WORD(ip_src), 4);
	ip = differs(from, to, WORD(ipv6_label), 1);
	l4 = differs(from, to, XV_FLOW_STAGE_L4, XV_FLOW_FIXED_WORDS - XV_FLOW_STAGE_L4);

	if (macs && from->packet_type == 0) {
		if (unlikely(m->data_len < MACS_LEN))
			return -EINVAL;
		memcpy(rte_pktmbuf_mtod(m, uint8_t *), (const uint8_t *)to + offsetof(struct xv_flow_key, eth_dst),
		       MACS_LEN);
	}
	if (unlikely(l2)) {
		rc = edit_l2(rte_pktmbuf_mtod(m, uint8_t *), m->data_len, layout, from, to);
		if (rc != 0)
			return rc;
	}
	/* An L3 header may be at 0, but ends somewhere if it is there. */
	if (!(addresses | ip | l4) || layout->payload_end == 0)
		return 0;
	switch (from->eth_type) {
	case RTE_BE16(ETH_IPV4):
	case RTE_BE16(ETH_IPV6):
		if (!(addresses | l4 | (ip & ~ttl)))
			return edit_ttl(m, layout->l3, from->eth_type == RTE_BE16(ETH_IPV4), to->ip_ttl);
		return edit_ip(m, layout, from, to, (addresses | ip) != 0, l4 != 0);
	case RTE_BE16(ETH_ARP):
	case RTE_BE16(ETH_RARP):
		return edit_arp(rte_pktmbuf_mtod(m, uint8_t *), m->data_len, layout->l3, from, to);
	default:
		return 0;
	}
}
