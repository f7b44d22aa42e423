/* SPDX-License-Identifier: Apache-2.0 */
#include "net/host_packet.h"

#include <netinet/in.h>

#include "net/bytes.h"
#include "net/checksum.h"

#define ETH_LEN       14
#define ETH_MIN       60 /* without checksum */
#define ETH_IPV4      0x0800
#define ETH_ARP       0x0806
#define ETH_IPV6      0x86dd
#define IPV4_LEN      20
#define IPV6_LEN      40
#define ARP_LEN       28
#define ARP_REQUEST   1
#define ARP_REPLY     2
#define ICMP_LEN      8
#define TCP_LEN       20
#define ND_SOLICIT    135
#define ND_ADVERT     136
#define ND_LEN        24 /* of both, without options */
#define ND_OPTION_LEN 8
#define ND_SOURCE     1
#define ND_TARGET     2
#define ND_SOLICITED  0x40
#define ND_OVERRIDE   0x20
#define ECHO_DATA     16
#define TTL           64
#define SUM_OK        0xffff /* of data with its checksum */

static const uint8_t everybody[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
static const union xv_ip_addr all_nodes = {.bytes = {0xff, 0x02, [15] = 1}};

static void put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static void put32(uint8_t *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, v);
}

/* Sums are in memory order (net/checksum.h). */
static void put_sum(uint8_t *p, uint16_t sum)
{
	memcpy(p, &sum, sizeof(sum));
}

static bool is_zero(const union xv_ip_addr *addr)
{
	return (addr->u64[0] | addr->u64[1]) == 0;
}

void xv_host_link_local(const uint8_t mac[6], union xv_ip_addr *addr)
{
	*addr = (union xv_ip_addr){.bytes = {0xfe, 0x80, [8] = mac[0] ^ 2, mac[1], mac[2], 0xff,
					     0xfe, mac[3], mac[4], mac[5]}};
}

/* ---- Building ---- */

static uint8_t *put_eth(uint8_t *buf, const uint8_t src[6], const uint8_t dst[6], uint16_t type)
{
	memset(buf, 0, XV_HOST_PACKET_MAX);
	memcpy(buf, dst, 6);
	memcpy(buf + 6, src, 6);
	put16(buf + 12, type);
	return buf + ETH_LEN;
}

/* Devices need not pad. */
static uint32_t padded(uint32_t len)
{
	return len < ETH_MIN ? ETH_MIN : len;
}

/* Ethernet and IP headers, len bytes to follow: where. */
static uint8_t *put_ip(uint8_t *buf, const uint8_t mac[6], const uint8_t dst_mac[6], bool ipv6,
		       const union xv_ip_addr *src, const union xv_ip_addr *dst, uint8_t proto,
		       uint8_t ttl, uint16_t len)
{
	uint8_t *ip = put_eth(buf, mac, dst_mac, ipv6 ? ETH_IPV6 : ETH_IPV4);

	if (ipv6) {
		ip[0] = 0x60;
		put16(ip + 4, len);
		ip[6] = proto;
		ip[7] = ttl;
		memcpy(ip + 8, src->bytes, 16);
		memcpy(ip + 24, dst->bytes, 16);
		return ip + IPV6_LEN;
	}
	ip[0] = 0x45;
	put16(ip + 2, IPV4_LEN + len);
	put16(ip + 6, 0x4000);
	ip[8] = ttl;
	ip[9] = proto;
	memcpy(ip + 12, &src->bytes[12], 4);
	memcpy(ip + 16, &dst->bytes[12], 4);
	put_sum(ip + 10, (uint16_t)~xv_csum_sum(ip, IPV4_LEN));
	return ip + IPV4_LEN;
}

static uint16_t pseudo_sum(bool ipv6, const union xv_ip_addr *src, const union xv_ip_addr *dst,
			   uint8_t proto, uint16_t len)
{
	return ipv6 ? xv_csum_pseudo6(src->bytes, dst->bytes, proto, len)
		    : xv_csum_pseudo4(&src->bytes[12], &dst->bytes[12], proto, len);
}

static uint32_t put_arp(uint8_t *buf, const uint8_t mac[6], const uint8_t dst[6], uint16_t op,
			const uint8_t *sender, const uint8_t *target_mac, const uint8_t *target)
{
	uint8_t *arp = put_eth(buf, mac, dst, ETH_ARP);

	put16(arp, 1); /* Ethernet */
	put16(arp + 2, ETH_IPV4);
	arp[4] = 6;
	arp[5] = 4;
	put16(arp + 6, op);
	memcpy(arp + 8, mac, 6);
	memcpy(arp + 14, sender, 4);
	if (target_mac != NULL)
		memcpy(arp + 18, target_mac, 6);
	memcpy(arp + 24, target, 4);
	return padded(ETH_LEN + ARP_LEN);
}

static uint32_t put_nd(uint8_t *buf, const uint8_t mac[6], const uint8_t dst_mac[6],
		       const union xv_ip_addr *src, const union xv_ip_addr *dst, uint8_t type,
		       uint8_t flags, const union xv_ip_addr *target)
{
	const uint16_t len = ND_LEN + ND_OPTION_LEN;
	/* RFC 4861 section 7.1: the hop limit proves that no router was between. */
	uint8_t *nd = put_ip(buf, mac, dst_mac, true, src, dst, IPPROTO_ICMPV6, 255, len);

	nd[0] = type;
	nd[4] = flags;
	memcpy(nd + 8, target->bytes, 16);
	nd[ND_LEN] = type == ND_SOLICIT ? ND_SOURCE : ND_TARGET;
	nd[ND_LEN + 1] = 1;
	memcpy(nd + ND_LEN + 2, mac, 6);
	put_sum(nd + 2, xv_csum_finish(xv_csum_add(pseudo_sum(true, src, dst, IPPROTO_ICMPV6, len),
						   xv_csum_sum(nd, len))));
	return ETH_LEN + IPV6_LEN + len;
}

uint32_t xv_host_ask(uint8_t *buf, const uint8_t mac[6], const uint8_t *dst, bool ipv6,
		     const union xv_ip_addr *src, const union xv_ip_addr *target)
{
	union xv_ip_addr group = {.bytes = {0xff, 0x02, [11] = 1, [12] = 0xff}}, own;
	uint8_t group_mac[6] = {0x33, 0x33, 0xff};

	if (!ipv6)
		return put_arp(buf, mac, dst != NULL ? dst : everybody, ARP_REQUEST,
			       &src->bytes[12], NULL, &target->bytes[12]);
	if (is_zero(src)) {
		xv_host_link_local(mac, &own);
		src = &own;
	}
	memcpy(&group.bytes[13], &target->bytes[13], 3);
	memcpy(group_mac + 3, &target->bytes[13], 3);
	return dst != NULL ? put_nd(buf, mac, dst, src, target, ND_SOLICIT, 0, target)
			   : put_nd(buf, mac, group_mac, src, &group, ND_SOLICIT, 0, target);
}

uint32_t xv_host_tell(uint8_t *buf, const uint8_t mac[6], const struct xv_host_packet *asked)
{
	if (asked->type == XV_HOST_ARP_REQUEST)
		return put_arp(buf, mac, asked->mac, ARP_REPLY, &asked->dst.bytes[12], asked->mac,
			       &asked->src.bytes[12]);
	if (is_zero(&asked->src)) /* somebody wants to take the address (RFC 4862 section 5.4.3) */
		return xv_host_announce(buf, mac, true, &asked->target);
	return put_nd(buf, mac, asked->eth_src, &asked->target, &asked->src, ND_ADVERT,
		      ND_SOLICITED | ND_OVERRIDE, &asked->target);
}

uint32_t xv_host_announce(uint8_t *buf, const uint8_t mac[6], bool ipv6,
			  const union xv_ip_addr *addr)
{
	static const uint8_t all_nodes_mac[6] = {0x33, 0x33, 0, 0, 0, 1};

	return ipv6 ? put_nd(buf, mac, all_nodes_mac, addr, &all_nodes, ND_ADVERT, ND_OVERRIDE,
			     addr)
		    : put_arp(buf, mac, everybody, ARP_REQUEST, &addr->bytes[12], NULL,
			      &addr->bytes[12]);
}

uint32_t xv_host_echo(uint8_t *buf, const uint8_t mac[6], const uint8_t dst_mac[6], bool ipv6,
		      const union xv_ip_addr *src, const union xv_ip_addr *dst, uint16_t id,
		      uint16_t seq)
{
	const uint16_t len = ICMP_LEN + ECHO_DATA;
	uint8_t proto = ipv6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP;
	uint8_t *icmp = put_ip(buf, mac, dst_mac, ipv6, src, dst, proto, TTL, len);
	uint16_t sum;

	icmp[0] = ipv6 ? 128 : 8;
	put16(icmp + 4, id);
	put16(icmp + 6, seq);
	sum = xv_csum_sum(icmp, len);
	if (ipv6)
		sum = xv_csum_add(sum, pseudo_sum(true, src, dst, proto, len));
	put_sum(icmp + 2, (uint16_t)~sum);
	return padded((uint32_t)(icmp - buf) + len);
}

uint32_t xv_host_segment(uint8_t *buf, const uint8_t mac[6], const uint8_t dst_mac[6], bool ipv6,
			 const union xv_ip_addr *src, const union xv_ip_addr *dst,
			 uint16_t src_port, uint16_t dst_port, uint8_t flags, uint32_t seq)
{
	uint8_t *tcp = put_ip(buf, mac, dst_mac, ipv6, src, dst, IPPROTO_TCP, TTL, TCP_LEN);

	put16(tcp, src_port);
	put16(tcp + 2, dst_port);
	put32(tcp + 4, seq);
	tcp[12] = TCP_LEN / 4 << 4;
	tcp[13] = flags;
	put16(tcp + 14, (flags & XV_HOST_TCP_SYN) != 0 ? 1024 : 0);
	put_sum(tcp + 16, (uint16_t)~xv_csum_add(pseudo_sum(ipv6, src, dst, IPPROTO_TCP, TCP_LEN),
						 xv_csum_sum(tcp, TCP_LEN)));
	return padded((uint32_t)(tcp - buf) + TCP_LEN);
}

/* ---- Understanding ---- */

static void parse_arp(const uint8_t *arp, uint32_t len, struct xv_host_packet *p)
{
	uint16_t op;

	if (len < ARP_LEN || xv_load_be16(arp) != 1 || xv_load_be16(arp + 2) != ETH_IPV4 ||
	    arp[4] != 6 || arp[5] != 4)
		return;
	op = xv_load_be16(arp + 6);
	if (op != ARP_REQUEST && op != ARP_REPLY)
		return;
	p->type = op == ARP_REQUEST ? XV_HOST_ARP_REQUEST : XV_HOST_ARP_REPLY;
	p->has_mac = true;
	memcpy(p->mac, arp + 8, 6);
	memcpy(&p->src.bytes[12], arp + 14, 4);
	memcpy(&p->dst.bytes[12], arp + 24, 4);
}

/* The link-layer address in the options. Bounded: every option has at least 8 bytes. */
static void parse_nd_option(const uint8_t *nd, uint32_t len, uint8_t type, struct xv_host_packet *p)
{
	uint32_t at;

	for (at = ND_LEN; at + ND_OPTION_LEN <= len && nd[at + 1] != 0; at += nd[at + 1] * 8u) {
		if (nd[at] != type || nd[at + 1] != 1)
			continue;
		memcpy(p->mac, nd + at + 2, 6);
		p->has_mac = true;
		return;
	}
}

static void parse_nd(const uint8_t *nd, uint32_t len, struct xv_host_packet *p)
{
	p->type = nd[0] == ND_SOLICIT ? XV_HOST_SOLICIT : XV_HOST_ADVERT;
	memcpy(p->target.bytes, nd + 8, 16);
	parse_nd_option(nd, len, nd[0] == ND_SOLICIT ? ND_SOURCE : ND_TARGET, p);
	/* Answers to a unicast question may leave the option out (RFC 4861 section 4.4). */
	if (nd[0] == ND_ADVERT && !p->has_mac && (nd[4] & ND_SOLICITED) != 0) {
		memcpy(p->mac, p->eth_src, 6);
		p->has_mac = true;
	}
}

/* l4: len bytes; sum of the pseudo-header (0 for ICMP of IPv4). */
static void parse_l4(const uint8_t *l4, uint32_t len, uint8_t proto, uint8_t ttl, uint16_t pseudo,
		     struct xv_host_packet *p)
{
	bool icmp = proto == (p->ipv6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP);
	uint8_t echo = p->ipv6 ? 128 : 8, reply = p->ipv6 ? 129 : 0;

	if ((!icmp && proto != IPPROTO_TCP) || len < (icmp ? ICMP_LEN : TCP_LEN) ||
	    xv_csum_add(pseudo, xv_csum_sum(l4, len)) != SUM_OK)
		return;
	if (!icmp) {
		p->type = XV_HOST_TCP;
		p->src_port = xv_load_be16(l4);
		p->dst_port = xv_load_be16(l4 + 2);
		p->tcp_seq = xv_load_be32(l4 + 4);
		p->tcp_ack = xv_load_be32(l4 + 8);
		p->tcp_flags = l4[13];
		return;
	}
	if (l4[1] != 0)
		return;
	if (l4[0] == echo || l4[0] == reply) {
		p->type = l4[0] == echo ? XV_HOST_ECHO : XV_HOST_ECHO_REPLY;
		p->id = xv_load_be16(l4 + 4);
		p->seq = xv_load_be16(l4 + 6);
	} else if (p->ipv6 && (l4[0] == ND_SOLICIT || l4[0] == ND_ADVERT) && ttl == 255 &&
		   len >= ND_LEN) {
		parse_nd(l4, len, p);
	}
}

static bool parse_ipv4(const uint8_t *ip, uint32_t len, struct xv_host_packet *p)
{
	uint32_t header, total;

	if (len < IPV4_LEN || ip[0] >> 4 != 4)
		return false;
	header = (ip[0] & 0xfu) * 4;
	total = xv_load_be16(ip + 2);
	if (header < IPV4_LEN || total < header || total > len || xv_csum_sum(ip, header) != SUM_OK)
		return false;
	memcpy(&p->src.bytes[12], ip + 12, 4);
	memcpy(&p->dst.bytes[12], ip + 16, 4);
	if ((xv_load_be16(ip + 6) & 0x3fff) == 0) /* no fragment */
		parse_l4(ip + header, total - header, ip[9], ip[8],
			 ip[9] == IPPROTO_TCP ? pseudo_sum(false, &p->src, &p->dst, IPPROTO_TCP,
							   (uint16_t)(total - header))
					      : 0,
			 p);
	return true;
}

static bool parse_ipv6(const uint8_t *ip, uint32_t len, struct xv_host_packet *p)
{
	uint32_t payload;

	if (len < IPV6_LEN || ip[0] >> 4 != 6)
		return false;
	payload = xv_load_be16(ip + 4);
	if (IPV6_LEN + payload > len)
		return false;
	p->ipv6 = true;
	memcpy(p->src.bytes, ip + 8, 16);
	memcpy(p->dst.bytes, ip + 24, 16);
	parse_l4(ip + IPV6_LEN, payload, ip[6], ip[7],
		 pseudo_sum(true, &p->src, &p->dst, ip[6], (uint16_t)payload), p);
	return true;
}

bool xv_host_packet_parse(const uint8_t *frame, uint32_t len, struct xv_host_packet *p)
{
	*p = (struct xv_host_packet){.type = XV_HOST_OTHER};
	if (len < ETH_LEN)
		return false;
	memcpy(p->eth_src, frame + 6, 6);
	switch (xv_load_be16(frame + 12)) {
	case ETH_ARP:
		parse_arp(frame + ETH_LEN, len - ETH_LEN, p);
		return p->type != XV_HOST_OTHER;
	case ETH_IPV4:
		return parse_ipv4(frame + ETH_LEN, len - ETH_LEN, p);
	case ETH_IPV6:
		return parse_ipv6(frame + ETH_LEN, len - ETH_LEN, p);
	default:
		return false;
	}
}

void xv_host_echo_turn(uint8_t *frame, const struct xv_host_packet *p)
{
	uint8_t mac[6], *ip = frame + ETH_LEN, *icmp, from, to;
	unsigned int n = p->ipv6 ? 16 : 4, at = p->ipv6 ? 8 : 12;
	uint16_t sum;

	memcpy(mac, frame, 6);
	memcpy(frame, frame + 6, 6);
	memcpy(frame + 6, mac, 6);
	memcpy(ip + at, p->ipv6 ? p->dst.bytes : &p->dst.bytes[12], n);
	memcpy(ip + at + n, p->ipv6 ? p->src.bytes : &p->src.bytes[12], n);
	icmp = p->ipv6 ? ip + IPV6_LEN : ip + (ip[0] & 0xfu) * 4;
	from = icmp[0];
	to = p->ipv6 ? 129 : 0;
	icmp[0] = to;
	/* The pseudo-header's sum is the same either way. */
	memcpy(&sum, icmp + 2, sizeof(sum));
	put_sum(icmp + 2, xv_csum_update16(sum, rte_cpu_to_be_16((uint16_t)(from << 8)),
					   rte_cpu_to_be_16((uint16_t)(to << 8))));
	if (p->ipv6) {
		ip[7] = TTL;
		return;
	}
	ip[8] = TTL;
	put16(ip + 10, 0);
	put_sum(ip + 10, (uint16_t)~xv_csum_sum(ip, (ip[0] & 0xfu) * 4));
}
