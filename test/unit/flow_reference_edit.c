/* SPDX-License-Identifier: Apache-2.0 */
/* The reference changes packets: push and pop, outer headers, set. */
#include "flow_reference_state.h"

#include <assert.h>
#include <string.h>

/* ---- Push and pop ---- */

static void insert(struct ref_packet *p, uint32_t offset, uint32_t n)
{
	assert(p->start >= n);
	memmove(data(p) - n, data(p), offset);
	p->start -= n;
	p->len += n;
	if (p->request)
		p->csum_start = (uint16_t)(p->csum_start + n);
}

/* False: the checksum that is asked for begins in what would go. */
static bool cut(struct ref_packet *p, uint32_t offset, uint32_t n)
{
	if (p->request && p->csum_start < offset + n)
		return false;
	memmove(data(p) + n, data(p), offset);
	p->start += n;
	p->len -= n;
	if (p->request)
		p->csum_start = (uint16_t)(p->csum_start - n);
	return true;
}

static void read_again(struct under_way *k)
{
	if (!ref_parse(&k->p, &k->key, &k->at))
		ref_drop(k, XV_DROP_MALFORMED);
}

/* The headers moved; the key has been told. */
static void find_again(struct under_way *k)
{
	struct xv_flow_key scratch = k->key;

	(void)ref_parse(&k->p, &scratch, &k->at);
}

/* Behind the type of an Ethernet header with up to two tags; 0 if it is cut off. */
static uint32_t ethernet_end(struct ref_packet *p)
{
	uint32_t end = 14;
	unsigned int i;

	for (i = 0; i < 2 && p->len >= end && is_tag(get16(data(p) + end - 2)); i++)
		end += 4;
	return p->len < end ? 0 : end;
}

void ref_push_vlan(struct under_way *k, const struct xv_action_push_vlan *a)
{
	bool third = k->key.vlan[1].tpid != 0;

	if (k->key.packet_type != 0) {
		ref_drop(k, XV_DROP_MALFORMED);
		return;
	}
	insert(&k->p, 12, 4);
	put16(data(&k->p) + 12, host16(a->tpid));
	put16(data(&k->p) + 14, host16(a->tci) & 0xefff);
	if (third) {
		read_again(k);
		return;
	}
	k->key.vlan[1] = k->key.vlan[0];
	k->key.vlan[0].tpid = a->tpid;
	k->key.vlan[0].tci = net16(host16(a->tci) | 0x1000u);
	find_again(k);
}

void ref_pop_vlan(struct under_way *k)
{
	bool seen = k->key.vlan[0].tpid != 0 && !is_tag(host16(k->key.eth_type));

	if (k->key.packet_type != 0 || k->p.len < 18 || !is_tag(get16(data(&k->p) + 12)) || !cut(&k->p, 12, 4)) {
		ref_drop(k, XV_DROP_MALFORMED);
		return;
	}
	if (!seen) {
		read_again(k);
		return;
	}
	k->key.vlan[0] = k->key.vlan[1];
	memset(&k->key.vlan[1], 0, sizeof(k->key.vlan[1]));
	find_again(k);
}

void ref_push_mpls(struct under_way *k, const struct xv_action_push_mpls *a)
{
	bool at_start = a->before_l2 || k->key.packet_type != 0;
	uint32_t at = at_start ? 0 : ethernet_end(&k->p);

	if (!at_start && (at == 0 || get16(data(&k->p) + at - 2) < 0x600)) {
		ref_drop(k, XV_DROP_MALFORMED);
		return;
	}
	insert(&k->p, at, 4);
	put32(data(&k->p) + at, host32(a->lse));
	if (at_start)
		k->key.packet_type = net32(0x10000u | host16(a->eth_type));
	else
		put16(data(&k->p) + at - 2, host16(a->eth_type));
	read_again(k);
}

void ref_pop_mpls(struct under_way *k, rte_be16_t type)
{
	uint32_t at = k->key.packet_type != 0 ? 0 : ethernet_end(&k->p);
	uint32_t now = k->key.packet_type != 0 ? host32(k->key.packet_type) & 0xffff
		       : at == 0	       ? 0
					       : get16(data(&k->p) + at - 2);

	if (!is_mpls(now) || k->p.len < at + 4 || !cut(&k->p, at, 4)) {
		ref_drop(k, XV_DROP_MALFORMED);
		return;
	}
	if (k->key.packet_type == 0)
		put16(data(&k->p) + at - 2, host16(type));
	else
		k->key.packet_type = host16(type) == 0x6558 ? 0 : net32(0x10000u | host16(type));
	read_again(k);
}

void ref_push_eth(struct under_way *k, const struct xv_action_push_eth *a)
{
	uint32_t type = host32(k->key.packet_type);

	if (type >> 16 != 1) {
		ref_drop(k, XV_DROP_MALFORMED);
		return;
	}
	type &= 0xffff;
	insert(&k->p, 0, 14);
	memcpy(data(&k->p), a->dst, 6);
	memcpy(data(&k->p) + 6, a->src, 6);
	put16(data(&k->p) + 12, type);
	k->key.packet_type = 0;
	if (is_tag(type) || type < 0x600) {
		read_again(k);
		return;
	}
	memcpy(k->key.eth_dst, a->dst, 6);
	memcpy(k->key.eth_src, a->src, 6);
	k->key.eth_type = net16(type);
	find_again(k);
}

void ref_pop_eth(struct under_way *k)
{
	uint32_t end = k->key.packet_type != 0 ? 0 : ethernet_end(&k->p), type;

	type = end == 0 ? 0 : get16(data(&k->p) + end - 2);
	if (type < 0x600 || !cut(&k->p, 0, end)) {
		ref_drop(k, XV_DROP_MALFORMED);
		return;
	}
	k->key.packet_type = net32(0x10000u | type);
	k->key.eth_type = net16(type);
	memset(k->key.eth_dst, 0, 6);
	memset(k->key.eth_src, 0, 6);
	memset(k->key.vlan, 0, sizeof(k->key.vlan));
	find_again(k);
}

void ref_push_nsh(struct under_way *k, const struct xv_action_push_nsh *a)
{
	uint32_t type = host32(k->key.packet_type), len = 8 + (a->mdtype == 1 ? 16u : a->md2_len);
	uint8_t next = type == 0 ? 3 : type == 0x10800 ? 1 : type == 0x186dd ? 2 : type == 0x1894f ? 4 : 0, *h;

	if (next == 0) {
		ref_drop(k, XV_DROP_MALFORMED);
		return;
	}
	insert(&k->p, 0, len);
	h = data(&k->p);
	put16(h, (uint32_t)(a->flags & 3) << 12 | (uint32_t)(a->ttl & 63) << 6 | len / 4);
	h[2] = a->mdtype;
	h[3] = next;
	memcpy(h + 4, &a->path_hdr, 4);
	memcpy(h + 8, a->metadata, len - 8);
	k->key.packet_type = net32(0x10000u | NSH);
	read_again(k);
}

void ref_pop_nsh(struct under_way *k)
{
	static const uint16_t types[] = {0, IPV4, IPV6, 0, NSH};
	uint8_t *h = data(&k->p);
	uint32_t len = k->p.len < 8 ? 0 : (h[1] & 63) * 4u;
	uint8_t next = k->p.len < 8 ? 0 : h[3];

	if (k->key.packet_type != net32(0x10000u | NSH) || len < 8 || len > k->p.len || h[0] >> 6 != 0 || next < 1 ||
	    next > 4 || !cut(&k->p, 0, len)) {
		ref_drop(k, XV_DROP_MALFORMED);
		return;
	}
	k->key.packet_type = next == 3 ? 0 : net32(0x10000u | types[next]);
	read_again(k);
}

/* ---- Tunnels ---- */

void ref_tunnel_push(struct under_way *k, const struct xv_encap_params *e)
{
	bool ipv6 = (e->flags & XV_ENCAP_IPV6) != 0, geneve = e->type == XV_TUNNEL_GENEVE;
	uint32_t hash = k->world->hash(&k->key, 0, false), header = 14, l3, l4, udp_len;
	struct xv_flow_key inner = {0};
	uint8_t tos = e->tos, ttl = e->ttl ? e->ttl : 64, *h;
	struct ref_packet finished;
	struct where w;

	ref_truncate(k);
	finished = k->p;
	if (!ref_finish(&finished)) {
		ref_drop(k, XV_DROP_TUNNEL);
		return;
	}
	inner.packet_type = k->key.packet_type; /* of what was in NSH */
	(void)ref_parse(&k->p, &inner, &w);
	if (e->flags & XV_ENCAP_ECN)
		tos = (uint8_t)((tos & 0xfc) | (inner.ip_tos & 3));
	if (e->flags & XV_ENCAP_DSCP)
		tos = (uint8_t)((tos & 3) | (inner.ip_tos & 0xfc));
	if ((e->flags & XV_ENCAP_TTL) && inner.ip_ttl != 0)
		ttl = inner.ip_ttl;

	l3 = e->vlan_tpid != 0 ? 18 : 14;
	l4 = l3 + (ipv6 ? 40 : 20);
	header = l4 + 16 + (geneve ? e->options_len : 0u);
	udp_len = k->p.len + header - l4;
	insert(&k->p, 0, header);
	h = data(&k->p);
	memset(h, 0, header);
	memcpy(h, e->eth_dst, 6);
	memcpy(h + 6, e->eth_src, 6);
	if (e->vlan_tpid != 0) {
		put16(h + 12, host16(e->vlan_tpid));
		put16(h + 14, host16(e->vlan_tci));
	}
	put16(h + l3 - 2, ipv6 ? IPV6 : IPV4);
	if (ipv6) {
		put32(h + l3, 6u << 28 | (uint32_t)tos << 20 |
				      (e->flags & XV_ENCAP_FLOW_LABEL ? (hash ^ hash >> 12) & 0xfffff : 0));
		put16(h + l3 + 4, udp_len);
		h[l3 + 6] = 17;
		h[l3 + 7] = ttl;
		memcpy(h + l3 + 8, e->src.bytes, 16);
		memcpy(h + l3 + 24, e->dst.bytes, 16);
	} else {
		h[l3] = 0x45;
		h[l3 + 1] = tos;
		put16(h + l3 + 2, 20 + udp_len);
		put16(h + l3 + 6, 0x4000);
		h[l3 + 8] = ttl;
		h[l3 + 9] = 17;
		memcpy(h + l3 + 12, e->src.bytes + 12, 4);
		memcpy(h + l3 + 16, e->dst.bytes + 12, 4);
		put16(h + l3 + 10, (uint16_t)~ref_sum(h + l3, 20, 0));
	}
	put16(h + l4, e->udp_src != 0 ? host16(e->udp_src) : 0xc000 | ((hash ^ hash >> 16) & 0x3fff));
	put16(h + l4 + 2, e->udp_dst != 0 ? host16(e->udp_dst) : geneve ? 6081 : 4789);
	put16(h + l4 + 4, udp_len);
	if (geneve) {
		h[l4 + 8] = (uint8_t)(e->options_len / 4);
		put16(h + l4 + 10, 0x6558);
		if (e->options_len > 0)
			memcpy(h + l4 + 16, e->options, e->options_len);
	} else {
		h[l4 + 8] = 8;
	}
	put32(h + l4 + 12, (uint32_t)e->id << 8);
	if (e->flags & XV_ENCAP_CSUM) {
		uint32_t sum = ref_sum(h + l3 + (ipv6 ? 8 : 12), ipv6 ? 32 : 8, 17 + udp_len);
		uint16_t csum;

		sum = ref_sum(h + l4, header - l4, sum);
		csum = (uint16_t)~ref_sum(data(&finished), finished.len, sum);
		put16(h + l4 + 6, csum == 0 ? 0xffff : csum);
	}
	k->key.packet_type = 0;
	read_again(k);
}

/* ---- Set ---- */

/* A checksum that was `field`, over data that summed up to `before`, when it sums up to `after`. Wrong stays wrong. */
static uint16_t follow(uint16_t field, uint16_t before, uint16_t after)
{
	if (before % 0xffff == after % 0xffff)
		return field;
	return (uint16_t)~fold((uint64_t)(uint16_t)~field + (uint16_t)~before + after);
}

/* Whether a routing header says that the packet has further to go: its destination is not the last one. */
static bool source_routed(const uint8_t *ip, uint32_t n)
{
	uint32_t at = 40;
	uint8_t next = ip[6];

	while (at + 8 <= n && (next == 0 || next == 43 || next == 44 || next == 51 || next == 60)) {
		uint32_t bytes = next == 44 ? 8 : next == 51 ? (ip[at + 1] + 2u) * 4 : (ip[at + 1] + 1u) * 8;

		if (next == 43 && ip[at + 3] > 0)
			return true;
		next = ip[at];
		at += bytes;
	}
	return false;
}

static uint16_t pseudo(const uint8_t *ip, bool ipv6, bool with_dst)
{
	if (!ipv6)
		return ref_sum(ip + 12, 8, 0);
	return ref_sum(ip + 8, with_dst ? 32 : 16, 0);
}

static void write_nd(uint8_t *nd, uint32_t n, const struct xv_flow_key *from, const struct xv_flow_key *to)
{
	bool sha = memcmp(from->arp_sha, to->arp_sha, 6) != 0, tha = memcmp(from->arp_tha, to->arp_tha, 6) != 0;
	uint32_t i;

	if (n < 24)
		return;
	if (memcmp(&from->nd_target, &to->nd_target, 16) != 0)
		memcpy(nd + 8, &to->nd_target, 16);
	for (i = 24; i + 8 <= n && nd[i + 1] != 0; i += nd[i + 1] * 8u) {
		if (nd[i + 1] != 1)
			continue;
		if (sha && nd[i] == 1) {
			memcpy(nd + i + 2, to->arp_sha, 6);
			sha = false;
		} else if (tha && nd[i] == 2) {
			memcpy(nd + i + 2, to->arp_tha, 6);
			tha = false;
		}
	}
}

static void write_l4(struct under_way *k, uint8_t *h, uint32_t n, const struct xv_flow_key *to)
{
	const struct xv_flow_key *from = &k->key;
	bool icmp = from->ip_proto == 1 || from->ip_proto == 58;

	if (icmp && from->ip_proto == 58 && from->tp_dst == 0 && (host16(from->tp_src) | 1) == 135)
		write_nd(h, n, from, to);
	if (from->ip_proto == 58 && from->tp_dst == 0 && host16(from->tp_src) == 136)
		write_nd(h, n, from, to);
	if (from->tp_src != to->tp_src) {
		if (icmp)
			h[0] = (uint8_t)host16(to->tp_src);
		else
			put16(h, host16(to->tp_src));
	}
	if (from->tp_dst != to->tp_dst) {
		if (icmp)
			h[1] = (uint8_t)host16(to->tp_dst);
		else
			put16(h + 2, host16(to->tp_dst));
	}
}

static void write_ip(struct under_way *k, const struct xv_flow_key *to)
{
	const struct xv_flow_key *from = &k->key;
	bool ipv6 = host16(from->eth_type) == IPV6, routed = false, has_csum = true, partial;
	uint8_t *b = data(&k->p), *ip = b + k->at.at_l3, *h = b + k->at.at_l4;
	uint32_t n = k->at.end - k->at.at_l4, csum_at = 0, crc = 0;
	uint16_t pseudo_before, before = 0, field = 0;
	uint8_t header[20];

	memcpy(header, ip, 20);
	if (ipv6 && k->at.l4)
		routed = source_routed(ip, k->at.at_l4 - k->at.at_l3);
	pseudo_before = pseudo(ip, ipv6, !routed);
	switch (k->at.l4 ? from->ip_proto : 255) {
	case 6:
		csum_at = 16;
		break;
	case 17:
		csum_at = 6;
		break;
	case 1:
		csum_at = 2;
		has_csum = !ipv6;
		break;
	case 58:
		csum_at = 2;
		has_csum = ipv6;
		break;
	case 132:
		csum_at = 8;
		crc = ref_crc32c(h, n, 0);
		break;
	default:
		has_csum = false;
	}
	if (has_csum) {
		field = get16(h + csum_at);
		before = ref_sum(h, n, 0);
	}

	if (ipv6) {
		uint32_t first = (uint32_t)get16(ip) << 16 | get16(ip + 2);

		if (from->ip_tos != to->ip_tos)
			first = (first & 0xf00fffff) | (uint32_t)to->ip_tos << 20;
		if (from->ipv6_label != to->ipv6_label)
			first = (first & 0xfff00000) | (host32(to->ipv6_label) & 0xfffff);
		put32(ip, first);
		if (from->ip_ttl != to->ip_ttl)
			ip[7] = to->ip_ttl;
		if (memcmp(&from->ip_src, &to->ip_src, 16) != 0)
			memcpy(ip + 8, &to->ip_src, 16);
		if (memcmp(&from->ip_dst, &to->ip_dst, 16) != 0)
			memcpy(ip + 24, &to->ip_dst, 16);
	} else {
		if (from->ip_tos != to->ip_tos)
			ip[1] = to->ip_tos;
		if (from->ip_ttl != to->ip_ttl)
			ip[8] = to->ip_ttl;
		if (memcmp(&from->ip_src, &to->ip_src, 16) != 0)
			memcpy(ip + 12, to->ip_src.bytes + 12, 4);
		if (memcmp(&from->ip_dst, &to->ip_dst, 16) != 0)
			memcpy(ip + 16, to->ip_dst.bytes + 12, 4);
		/* The field is in both sums: it adds nothing to their difference. */
		put16(ip + 10, follow(get16(ip + 10), ref_sum(header, 20, 0), ref_sum(ip, 20, 0)));
	}
	if (!has_csum)
		return;
	write_l4(k, h, n, to);
	partial = k->p.request && k->p.csum_start == k->at.at_l4 && k->p.csum_offset == csum_at;
	if (from->ip_proto == 132) {
		crc ^= ref_crc32c(h, n, 0);
		if (partial)
			return;
		h[8] ^= (uint8_t)crc;
		h[9] ^= (uint8_t)(crc >> 8);
		h[10] ^= (uint8_t)(crc >> 16);
		h[11] ^= (uint8_t)(crc >> 24);
		return;
	}
	if (partial) {
		uint16_t after = pseudo(ip, ipv6, !routed);

		if (from->ip_proto == 1 || pseudo_before % 0xffff == after % 0xffff)
			return;
		put16(h + csum_at, fold((uint64_t)field + (uint16_t)~pseudo_before + after));
		return;
	}
	if (from->ip_proto == 17 && field == 0)
		return;
	{
		uint16_t after = ref_sum(h, n, 0);

		if (from->ip_proto != 1) {
			before = fold((uint64_t)before + pseudo_before);
			after = fold((uint64_t)after + pseudo(ip, ipv6, !routed));
		}
		field = follow(field, before, after);
		if (from->ip_proto == 17 && field == 0)
			field = 0xffff;
		put16(h + csum_at, field);
	}
}

static void write_arp(struct under_way *k, const struct xv_flow_key *to)
{
	uint8_t *arp = data(&k->p) + k->at.at_l3;
	const struct xv_flow_key *from = &k->key;

	if (from->ip_proto != to->ip_proto)
		put16(arp + 6, to->ip_proto);
	if (memcmp(from->arp_sha, to->arp_sha, 6) != 0)
		memcpy(arp + 8, to->arp_sha, 6);
	if (memcmp(&from->ip_src, &to->ip_src, 16) != 0)
		memcpy(arp + 14, to->ip_src.bytes + 12, 4);
	if (memcmp(from->arp_tha, to->arp_tha, 6) != 0)
		memcpy(arp + 18, to->arp_tha, 6);
	if (memcmp(&from->ip_dst, &to->ip_dst, 16) != 0)
		memcpy(arp + 24, to->ip_dst.bytes + 12, 4);
}

void ref_set(struct under_way *k, const struct xv_flow_key *value, const struct xv_flow_key *mask)
{
	struct xv_flow_key to = k->key;
	uint8_t *t = (uint8_t *)&to;
	const uint8_t *v = (const uint8_t *)value, *m = (const uint8_t *)mask;
	uint32_t type = host16(k->key.eth_type);
	unsigned int i;

	for (i = 0; i < sizeof(to); i++)
		t[i] = (uint8_t)((t[i] & ~m[i]) | (v[i] & m[i]));
	if (k->key.packet_type == 0) {
		memcpy(data(&k->p), to.eth_dst, 6);
		memcpy(data(&k->p) + 6, to.eth_src, 6);
	}
	if (is_mpls(type))
		for (i = 0; i < k->key.mpls_depth; i++)
			put32(data(&k->p) + k->at.at_mpls + 4 * i, host32(to.mpls_lse[i]));
	if (k->at.l3 && (type == IPV4 || type == IPV6))
		write_ip(k, &to);
	if (k->at.l3 && (type == ARP || type == RARP))
		write_arp(k, &to);
	if (memcmp(&k->key.ip_src, &to.ip_src, sizeof(to.ip_src)) != 0 || memcmp(&k->key.ip_dst, &to.ip_dst, sizeof(to.ip_dst)) != 0 ||
	    k->key.tp_src != to.tp_src || k->key.tp_dst != to.tp_dst)
		k->hit = (struct xv_ct_hit){0};
	k->key = to;
}
