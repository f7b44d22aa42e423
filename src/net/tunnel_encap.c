/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The template holds all header bytes, aligned to the end of at least 64 bytes: they are copied as a whole, with some zeros
 * that go into the headroom before the frame, so that the usual copy has a length that the compiler knows. What follows is
 * stores only: nothing waits for what was just written.
 */
#include "net/tunnel.h"

#include <errno.h>
#include <string.h>

#include <rte_mbuf.h>
#include <rte_mbuf_dyn.h>

#include "net/checksum.h"
#include "net/packet.h"

#define ETH_IPV4      0x0800
#define ETH_IPV6      0x86dd
#define ETH_MPLS      0x8847
#define ETH_MPLS_MC   0x8848
#define ETH_NSH	      0x894f
#define ETH_TEB	      0x6558 /* transparent Ethernet bridging: an Ethernet frame follows */
#define PROTO_UDP     17
#define PROTO_GRE     47
#define IPV6_LEN      40
#define DEFAULT_TTL   64
#define ENTROPY_PORTS 0xc000 /* 49152-65535: RFC 7348 section 5, RFC 8926 section 3.3, RFC 7510 section 3 */

#define GRE_CSUM 0x8000
#define GRE_KEY	 0x2000
#define GRE_SEQ	 0x1000

/* xv_encap.kind, beyond XV_ENCAP_*: set by build */
#define KIND_SLOW    0x2000 /* more to copy than usual, or a checksum to compute */
#define KIND_UDP     0x4000
#define KIND_FLOW_ID 0x8000

#define GENEVE_CRITICAL 0x80 /* in an option's type */

static inline uint16_t swap16(uint16_t v)
{
	return RTE_BYTE_ORDER == RTE_LITTLE_ENDIAN ? __builtin_bswap16(v) : v;
}

static inline void put8(uint8_t *p, uint32_t v)
{
	*p = (uint8_t)v;
}

/* Not rte_cpu_to_be_16(): that one is assembler, and two instructions on partial registers. */
static inline void put16(uint8_t *p, uint32_t v)
{
	uint16_t be = swap16((uint16_t)v);

	memcpy(p, &be, sizeof(be));
}

static inline void put32(uint8_t *p, uint32_t v)
{
	uint32_t be = rte_cpu_to_be_32(v);

	memcpy(p, &be, sizeof(be));
}

/* ---- Build ---- */

static bool over_udp(enum xv_tunnel_type type)
{
	return type == XV_TUNNEL_VXLAN || type == XV_TUNNEL_GENEVE || type == XV_TUNNEL_MPLS_UDP;
}

/* The Ethernet type by which tunnels name what they carry; 0: packet_type has no such name. */
static uint16_t protocol_of(rte_be32_t packet_type)
{
	uint32_t type = rte_be_to_cpu_32(packet_type);

	if (type == 0)
		return ETH_TEB;
	return type >> 16 == 1 ? (uint16_t)type : 0;
}

/* The same of VXLAN-GPE. */
static uint8_t gpe_protocol_of(rte_be32_t packet_type)
{
	switch (protocol_of(packet_type)) {
	case ETH_IPV4:
		return 1;
	case ETH_IPV6:
		return 2;
	case ETH_TEB:
		return 3;
	case ETH_NSH:
		return 4;
	default:
		return 0;
	}
}

/* Whether options are whole ones, of options_len bytes together (RFC 8926 section 3.5). */
static bool options_valid(const uint8_t *options, uint32_t len, bool *critical)
{
	uint32_t offset = 0;

	*critical = false;
	while (offset + 4 <= len) {
		*critical |= (options[offset + 2] & GENEVE_CRITICAL) != 0;
		offset += 4 + (options[offset + 3] & 0x1fu) * 4;
	}
	return offset == len;
}

static int check(const struct xv_encap_params *p, bool *critical)
{
	uint64_t id_max = 0xffffff;

	*critical = false;
	if (protocol_of(p->packet_type) == 0)
		return -EINVAL;
	switch (p->type) {
	case XV_TUNNEL_VXLAN:
		if ((p->flags & XV_ENCAP_GPE) != 0 ? gpe_protocol_of(p->packet_type) == 0 : p->packet_type != 0)
			return -EINVAL;
		break;
	case XV_TUNNEL_NVGRE:
		if (p->packet_type != 0)
			return -EINVAL;
		break;
	case XV_TUNNEL_GENEVE:
		if (p->options_len > 252 || !options_valid(p->options, p->options_len, critical))
			return -EINVAL;
		break;
	case XV_TUNNEL_GRE:
		id_max = p->flags & XV_ENCAP_KEY ? UINT32_MAX : UINT64_MAX;
		break;
	case XV_TUNNEL_MPLS_GRE:
	case XV_TUNNEL_MPLS_UDP:
		id_max = 0xfffff;
		if (p->mpls_tc > 7)
			return -EINVAL;
		break;
	default:
		return -EINVAL;
	}
	return p->id <= id_max ? 0 : -EINVAL;
}

static uint8_t put_ethernet(const struct xv_encap_params *p, uint8_t *h)
{
	uint8_t len = 12;

	memcpy(h, p->eth_dst, 6);
	memcpy(h + 6, p->eth_src, 6);
	if (p->vlan_tpid) {
		memcpy(h + 12, &p->vlan_tpid, 2);
		memcpy(h + 14, &p->vlan_tci, 2);
		len = 16;
	}
	put16(h + len, p->flags & XV_ENCAP_IPV6 ? ETH_IPV6 : ETH_IPV4);
	return (uint8_t)(len + 2);
}

static uint8_t put_ip(const struct xv_encap_params *p, const struct xv_encap *e, uint8_t *ip)
{
	uint8_t proto = over_udp(p->type) ? PROTO_UDP : PROTO_GRE;

	if (p->flags & XV_ENCAP_IPV6) {
		put32(ip, 6u << 28 | (uint32_t)e->tos << 20);
		put8(ip + 6, proto);
		put8(ip + 7, e->ttl);
		memcpy(ip + 8, &p->src, 16);
		memcpy(ip + 24, &p->dst, 16);
		return IPV6_LEN;
	}
	put8(ip, 0x45);
	put8(ip + 1, e->tos);
	put16(ip + 6, p->flags & XV_ENCAP_DF ? 0x4000 : 0);
	put8(ip + 8, e->ttl);
	put8(ip + 9, proto);
	memcpy(ip + 12, &p->src.words[3], 4);
	memcpy(ip + 16, &p->dst.words[3], 4);
	return 20;
}

static uint8_t put_udp(const struct xv_encap_params *p, struct xv_encap *e, uint8_t *udp)
{
	uint16_t own = p->type == XV_TUNNEL_VXLAN    ? XV_VXLAN_PORT
		       : p->type == XV_TUNNEL_GENEVE ? XV_GENEVE_PORT
						     : XV_MPLS_UDP_PORT;

	e->kind |= KIND_UDP;
	if (p->udp_src) {
		e->src_port = rte_be_to_cpu_16(p->udp_src);
	} else {
		e->src_port = ENTROPY_PORTS;
		e->entropy_mask = (uint16_t)~ENTROPY_PORTS;
	}
	put16(udp, e->src_port);
	put16(udp + 2, p->udp_dst ? rte_be_to_cpu_16(p->udp_dst) : own);
	return 8;
}

/* RFC 2784 section 2.1, RFC 2890 section 2: checksum and reserved, key, sequence number, in this order. */
static uint8_t put_gre(const struct xv_encap_params *p, struct xv_encap *e, uint8_t *gre)
{
	const bool nvgre = p->type == XV_TUNNEL_NVGRE;
	uint16_t flags = 0;
	uint8_t len = 4;

	if (p->flags & XV_ENCAP_CSUM && !nvgre) { /* RFC 7637 section 3.2: no checksum, no sequence number */
		flags |= GRE_CSUM;
		len += 4;
	} else {
		e->kind &= (uint16_t)~XV_ENCAP_CSUM;
	}
	if (nvgre) {
		flags |= GRE_KEY;
		put32(gre + len, (uint32_t)p->id << 8);
		e->patch = (uint8_t)(len + 3);
		e->kind |= KIND_FLOW_ID;
		len += 4;
	} else if (p->flags & XV_ENCAP_KEY && p->type == XV_TUNNEL_GRE) {
		flags |= GRE_KEY;
		put32(gre + len, (uint32_t)p->id);
		len += 4;
	}
	if (p->flags & XV_ENCAP_SEQ && !nvgre) {
		flags |= GRE_SEQ;
		e->patch = len;
		len += 4;
	} else {
		e->kind &= (uint16_t)~XV_ENCAP_SEQ;
	}
	put16(gre, flags);
	put16(gre + 2, p->type == XV_TUNNEL_MPLS_GRE ? ETH_MPLS : protocol_of(p->packet_type));
	return len;
}

static uint8_t put_mpls(const struct xv_encap_params *p, uint8_t *lse)
{
	const uint16_t protocol = protocol_of(p->packet_type);
	const uint32_t bottom = protocol != ETH_MPLS && protocol != ETH_MPLS_MC;

	put32(lse, (uint32_t)p->id << 12 | (uint32_t)p->mpls_tc << 9 | bottom << 8 |
			   (p->mpls_ttl ? p->mpls_ttl : DEFAULT_TTL));
	return 4;
}

static uint16_t put_vxlan(const struct xv_encap_params *p, uint8_t *vxlan)
{
	put8(vxlan, 0x08);
	if (p->flags & XV_ENCAP_GBP) {
		put8(vxlan, 0x88);
		put8(vxlan + 1, p->gbp_flags & 0x48);
		memcpy(vxlan + 2, &p->gbp_id, 2);
	}
	if (p->flags & XV_ENCAP_GPE) {
		put8(vxlan, 0x0c);
		put8(vxlan + 3, gpe_protocol_of(p->packet_type));
	}
	put32(vxlan + 4, (uint32_t)p->id << 8);
	return 8;
}

static uint16_t put_geneve(const struct xv_encap_params *p, bool critical, uint8_t *geneve)
{
	put8(geneve, p->options_len / 4);
	put8(geneve + 1, (p->flags & XV_ENCAP_OAM ? 0x80 : 0) | (critical ? 0x40 : 0));
	put16(geneve + 2, protocol_of(p->packet_type));
	put32(geneve + 4, (uint32_t)p->id << 8);
	if (p->options_len)
		memcpy(geneve + 8, p->options, p->options_len);
	return (uint16_t)(8 + p->options_len);
}

void xv_encap_params_from_key(struct xv_encap_params *p, const struct xv_flow_key *key)
{
	static const struct {
		uint8_t tun;
		uint16_t encap;
	} map[] = {
		{XV_TUN_KEY, XV_ENCAP_KEY}, {XV_TUN_CSUM, XV_ENCAP_CSUM}, {XV_TUN_DF, XV_ENCAP_DF},
		{XV_TUN_OAM, XV_ENCAP_OAM}, {XV_TUN_IPV6, XV_ENCAP_IPV6}, {XV_TUN_GBP, XV_ENCAP_GBP},
	};
	unsigned int i;

	for (i = 0; i < RTE_DIM(map); i++) {
		p->flags &= ~(uint32_t)map[i].encap;
		p->flags |= key->tun_flags & map[i].tun ? map[i].encap : 0u;
	}
	p->src = key->tun_src;
	p->dst = key->tun_dst;
	p->id = rte_be_to_cpu_64(key->tun_id);
	p->tos = key->tun_tos;
	p->ttl = key->tun_ttl;
	p->udp_src = key->tun_tp_src;
	p->udp_dst = key->tun_tp_dst;
	p->gbp_flags = key->tun_gbp_flags;
	p->gbp_id = key->tun_gbp_id;
	p->options_len = key->tun_options_len;
	p->options = key->tun_options;
}

int xv_encap_build(const struct xv_encap_params *p, struct xv_encap *e)
{
	uint8_t h[XV_ENCAP_MAX] = {0}, l3, l4;
	uint32_t copied;
	uint16_t len;
	bool critical;
	int rc;

	rc = check(p, &critical);
	if (rc != 0)
		return rc;
	*e = (struct xv_encap){
		.type = (uint8_t)p->type,
		.kind = (uint16_t)(p->flags & 0xfff),
		.tos = p->tos,
		.ttl = p->ttl ? p->ttl : DEFAULT_TTL,
		.flow_label_mask = p->flags & XV_ENCAP_FLOW_LABEL ? 0xfffff : 0,
	};
	if (p->flags & XV_ENCAP_ECN)
		e->tos_mask |= 0x03;
	if (p->flags & XV_ENCAP_DSCP)
		e->tos_mask |= 0xfc;
	e->tos &= (uint8_t)~e->tos_mask;

	l3 = put_ethernet(p, h);
	l4 = (uint8_t)(l3 + put_ip(p, e, h + l3));
	len = (uint16_t)(l4 + (over_udp(p->type) ? put_udp(p, e, h + l4) : put_gre(p, e, h + l4)));
	switch (p->type) {
	case XV_TUNNEL_VXLAN:
		len += put_vxlan(p, h + len);
		break;
	case XV_TUNNEL_GENEVE:
		len += put_geneve(p, critical, h + len);
		break;
	case XV_TUNNEL_MPLS_GRE:
	case XV_TUNNEL_MPLS_UDP:
		len += put_mpls(p, h + len);
		break;
	default:
		break;
	}
	e->len = len;
	e->l3_back = (uint16_t)(len - l3);
	e->l4_back = (uint16_t)(len - l4);
	if (p->flags & XV_ENCAP_IPV6) {
		e->ip_len = e->l4_back;
	} else {
		e->ip_len = e->l3_back;
		e->udp_len = (uint8_t)(l4 - l3);
		/* Per packet: TOS and TTL join the sum, because they may be the inner packet's. */
		h[l3 + 1] = 0;
		h[l3 + 8] = 0;
		e->ip_sum = rte_be_to_cpu_16(xv_csum_sum(h + l3, 20));
	}
	copied = RTE_ALIGN_CEIL(RTE_MAX(len, XV_ENCAP_MIN), XV_ENCAP_BLOCK);
	e->blocks = (uint8_t)(copied / XV_ENCAP_BLOCK);
	memcpy(e->bytes + copied - len, h, len);
	if (e->kind & XV_ENCAP_CSUM || copied > XV_ENCAP_MIN + XV_ENCAP_BLOCK)
		e->kind |= KIND_SLOW;
	return 0;
}

/* ---- Push ---- */

/* Sum of all of the inner packet. Where its own checksum is still to be finished, the bytes that it covers will add up to
 * the complement of what the field holds now, whatever they are: none of them has to be read. */
static uint16_t payload_sum(struct rte_mbuf *m)
{
	const struct xv_offload *req = xv_packet_offload(m);
	uint16_t sum, field;
	uint8_t buf[2];

	if (!(m->ol_flags & XV_PACKET_OFFLOAD) || !(req->flags & XV_OFFLOAD_CSUM))
		return xv_csum_sum_mbuf(m, 0, m->pkt_len);
	memcpy(&field, rte_pktmbuf_read(m, (uint32_t)req->csum_start + req->csum_offset, 2, buf), 2);
	field = (uint16_t)~field;
	sum = xv_csum_sum_mbuf(m, 0, req->csum_start);
	return xv_csum_add(sum, req->csum_start & 1 ? xv_csum_odd(field) : field);
}

static __rte_noinline int check_request(struct rte_mbuf *m, const struct xv_encap *e)
{
	const struct xv_offload *req = xv_packet_offload(m);

	if (req->gso_type != XV_GSO_NONE)
		return -EINVAL;
	if (!(req->flags & XV_OFFLOAD_CSUM))
		return 0;
	if ((uint32_t)req->csum_start + req->csum_offset + 2 > m->pkt_len)
		return -EINVAL;
	return req->csum_start + e->len <= UINT16_MAX ? 0 : -EMSGSIZE;
}

/* The request of m's packet, as it is when headers are in front of it. What a sender vouched for without a request was the
 * inner checksum: of the outer packet it says nothing. */
static __rte_noinline void move_request(struct rte_mbuf *m, struct rte_mbuf *to, const struct xv_encap *e)
{
	struct xv_offload req = *xv_packet_offload(m);

	to->ol_flags &= ~XV_PACKET_OFFLOAD;
	if (!(req.flags & XV_OFFLOAD_CSUM))
		return;
	req.flags = XV_OFFLOAD_CSUM;
	req.csum_start = (uint16_t)(req.csum_start + e->len);
	*xv_packet_offload(to) = req;
	to->ol_flags |= XV_PACKET_OFFLOAD;
}

/* The UDP or GRE checksum of headers that end here, whose field is zero, in front of a packet with this length and sum. */
static __rte_noinline void finish_csum(const struct xv_encap *e, uint8_t *end, uint32_t inner_len, uint16_t sum)
{
	const uint8_t *ip = end - e->l3_back;
	const uint32_t l4_len = e->l4_back + inner_len;
	uint8_t *l4 = end - e->l4_back;
	uint16_t csum;

	sum = xv_csum_add(sum, xv_csum_sum(l4, e->l4_back));
	if (e->kind & KIND_UDP) {
		sum = xv_csum_add(sum, e->kind & XV_ENCAP_IPV6
					       ? xv_csum_pseudo6(ip + 8, ip + 24, PROTO_UDP, l4_len)
					       : xv_csum_pseudo4(ip + 12, ip + 16, PROTO_UDP, l4_len));
		csum = xv_csum_finish(sum);
		memcpy(l4 + 6, &csum, sizeof(csum));
	} else {
		csum = (uint16_t)~sum;
		memcpy(l4 + 4, &csum, sizeof(csum));
	}
}

/* All headers, in front of `end`: there the inner packet begins, or would. Without `restrict` the compiler must take it that
 * the headers may overwrite the template, and loads everything anew or first. kind and copied are the template's, or what the
 * caller knows of them. */
static __rte_always_inline void write_headers_of(const struct xv_encap *restrict e, uint8_t *restrict end, uint32_t ip_len,
						 const struct xv_encap_packet *restrict p, uint32_t kind, uint32_t copied)
{
	uint8_t *ip = end - e->l3_back, *l4 = end - e->l4_back;
	uint32_t tos, ttl, sum;

	memcpy(end - XV_ENCAP_MIN, e->bytes + copied - XV_ENCAP_MIN, XV_ENCAP_MIN);
	if (copied == XV_ENCAP_MIN + XV_ENCAP_BLOCK)
		memcpy(end - copied, e->bytes, XV_ENCAP_BLOCK);
	else if (copied > XV_ENCAP_MIN)
		memcpy(end - copied, e->bytes, copied - XV_ENCAP_MIN);

	if (kind & KIND_UDP) {
		put16(l4, e->src_port | ((p->hash ^ p->hash >> 16) & e->entropy_mask));
		put16(l4 + 4, ip_len - e->udp_len);
	} else if (kind & KIND_FLOW_ID) {
		put8(l4 + e->patch, p->hash ^ p->hash >> 16);
	} else if (kind & XV_ENCAP_SEQ) {
		put32(l4 + e->patch, p->seq);
	}
	tos = e->tos | (p->tos & e->tos_mask);
	ttl = e->ttl;
	if (kind & XV_ENCAP_TTL && p->ttl)
		ttl = p->ttl;
	if (kind & XV_ENCAP_IPV6) {
		put32(ip, 6u << 28 | tos << 20 | ((p->hash ^ p->hash >> 12) & e->flow_label_mask));
		put16(ip + 4, ip_len);
		put8(ip + 7, ttl);
	} else {
		sum = e->ip_sum + ip_len + swap16(p->ip_id) + tos + (ttl << 8);
		sum = (sum & 0xffff) + (sum >> 16);
		sum += sum >> 16;
		put8(ip + 1, tos);
		put16(ip + 2, ip_len);
		memcpy(ip + 4, &p->ip_id, 2);
		put8(ip + 8, ttl);
		put16(ip + 10, ~sum);
	}
}

static inline void write_headers(const struct xv_encap *e, uint8_t *end, uint32_t ip_len, const struct xv_encap_packet *p)
{
	write_headers_of(e, end, ip_len, p, e->kind, e->blocks * (uint32_t)XV_ENCAP_BLOCK);
}

static inline bool has_room(const struct xv_encap *e, const struct rte_mbuf *m)
{
	return m->data_off >= e->blocks * XV_ENCAP_BLOCK && rte_mbuf_refcnt_read(m) == 1;
}

static inline void grow(struct rte_mbuf *m, uint32_t len)
{
	m->data_off = (uint16_t)(m->data_off - len);
	m->data_len = (uint16_t)(m->data_len + len);
	m->pkt_len += len;
}

/* With much to copy, checksums to compute, or an offload request; or refuse. */
static __rte_noinline int push_slow(const struct xv_encap *e, struct rte_mbuf *m, const struct xv_encap_packet *p)
{
	const uint32_t ip_len = m->pkt_len + e->ip_len;
	uint8_t *end = rte_pktmbuf_mtod(m, uint8_t *);
	uint16_t sum = 0;
	int rc;

	if (ip_len > UINT16_MAX)
		return -EMSGSIZE;
	if (m->ol_flags & XV_PACKET_OFFLOAD) {
		rc = check_request(m, e);
		if (rc != 0)
			return rc;
	}
	if (!has_room(e, m) || !RTE_MBUF_DIRECT(m))
		return -ENOSPC;
	if (e->kind & XV_ENCAP_CSUM)
		sum = payload_sum(m);
	write_headers(e, end, ip_len, p);
	if (e->kind & XV_ENCAP_CSUM)
		finish_csum(e, end, m->pkt_len, sum);
	grow(m, e->len);
	if (m->ol_flags & XV_PACKET_OFFLOAD)
		move_request(m, m, e);
	return 0;
}

/* Whether nothing but headers has to be written in front of m. */
static inline bool is_usual(const struct xv_encap *e, const struct rte_mbuf *m, uint32_t ip_len)
{
	return (m->ol_flags & (XV_PACKET_OFFLOAD | RTE_MBUF_F_INDIRECT | RTE_MBUF_F_EXTERNAL)) == 0 && has_room(e, m) &&
	       ip_len <= UINT16_MAX;
}

int xv_encap_push(const struct xv_encap *e, struct rte_mbuf *m, const struct xv_encap_packet *p)
{
	const uint32_t ip_len = m->pkt_len + e->ip_len;

	if (unlikely((e->kind & KIND_SLOW) != 0 || !is_usual(e, m, ip_len)))
		return push_slow(e, m, p);
	write_headers(e, rte_pktmbuf_mtod(m, uint8_t *), ip_len, p);
	grow(m, e->len);
	return 0;
}

static __rte_always_inline uint16_t push_usual(const struct xv_encap *restrict e, struct rte_mbuf *const *pkts,
					       const struct xv_encap_packet *restrict packets, uint16_t n, uint32_t kind,
					       uint32_t copied)
{
	uint16_t i;

	for (i = 0; i < n; i++) {
		struct rte_mbuf *m = pkts[i];
		const uint32_t ip_len = m->pkt_len + e->ip_len;

		if (unlikely(!is_usual(e, m, ip_len)))
			break;
		write_headers_of(e, rte_pktmbuf_mtod(m, uint8_t *), ip_len, &packets[i], kind, copied);
		grow(m, e->len);
	}
	return i;
}

uint16_t xv_encap_push_burst(const struct xv_encap *e, struct rte_mbuf *const *pkts, const struct xv_encap_packet *packets,
			     uint16_t n)
{
	const uint32_t copied = e->blocks * (uint32_t)XV_ENCAP_BLOCK;

	if (unlikely((e->kind & KIND_SLOW) != 0))
		return 0;
	/* VXLAN, Geneve without options, MPLS over UDP; IPv4. */
	if (likely((e->kind & (KIND_UDP | XV_ENCAP_IPV6 | XV_ENCAP_TTL)) == KIND_UDP && copied == XV_ENCAP_MIN))
		return push_usual(e, pkts, packets, n, KIND_UDP, XV_ENCAP_MIN);
	return push_usual(e, pkts, packets, n, e->kind, copied);
}

int xv_encap_push_head(const struct xv_encap *e, struct rte_mbuf *m, struct rte_mbuf *head,
		       const struct xv_encap_packet *p)
{
	const uint64_t not_inherited = XV_PACKET_OFFLOAD | RTE_MBUF_F_INDIRECT | RTE_MBUF_F_EXTERNAL;
	const uint32_t ip_len = m->pkt_len + e->ip_len;
	uint16_t sum = 0;
	uint8_t *end;
	int rc;

	if (ip_len > UINT16_MAX || m->nb_segs == UINT16_MAX)
		return -EMSGSIZE;
	if (head->data_off + e->len < e->blocks * XV_ENCAP_BLOCK || rte_pktmbuf_tailroom(head) < e->len)
		return -ENOSPC;
	if (m->ol_flags & XV_PACKET_OFFLOAD) {
		rc = check_request(m, e);
		if (rc != 0)
			return rc;
	}
	if (e->kind & XV_ENCAP_CSUM)
		sum = payload_sum(m);
	end = rte_pktmbuf_mtod(head, uint8_t *) + e->len;
	write_headers(e, end, ip_len, p);
	if (e->kind & XV_ENCAP_CSUM)
		finish_csum(e, end, m->pkt_len, sum);
	head->data_len = e->len;
	head->pkt_len = m->pkt_len + e->len;
	head->nb_segs = (uint16_t)(m->nb_segs + 1);
	head->next = m;
	head->port = m->port;
	head->ol_flags |= m->ol_flags & ~not_inherited;
	head->packet_type = m->packet_type;
	head->vlan_tci = m->vlan_tci;
	head->vlan_tci_outer = m->vlan_tci_outer;
	head->hash = m->hash;
	rte_mbuf_dynfield_copy(head, m);
	xv_packet_inherit_trace(head, m);
	if (m->ol_flags & XV_PACKET_OFFLOAD)
		move_request(m, head, e);
	return 0;
}
