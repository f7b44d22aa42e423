/* SPDX-License-Identifier: Apache-2.0 */
#include "flow_reference.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <rte_mbuf.h>

#include "net/packet.h"
#include "port/eal.h"

#define PASSES 64

#define IPV4 0x0800
#define ARP 0x0806
#define RARP 0x8035
#define IPV6 0x86dd

/* Where the headers of the packet are. */
struct where {
	bool l3, l4;
	uint32_t at_mpls, at_l3, at_l4, end;
};

struct under_way {
	struct ref_world *world;
	uint16_t in;
	struct ref_packet p;
	struct xv_flow_key key;
	struct where at;
	unsigned int passes;
	uint32_t trunc;
	struct xv_ct_hit hit;
	bool gone, again;
};

/* ---- Bytes ---- */

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

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

/* A number in network order, as the key holds it. */
static uint16_t host16(rte_be16_t v)
{
	return get16((const uint8_t *)&v);
}

static rte_be16_t net16(uint32_t v)
{
	rte_be16_t be;

	put16((uint8_t *)&be, v);
	return be;
}

static uint32_t host32(rte_be32_t v)
{
	const uint8_t *p = (const uint8_t *)&v;

	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static rte_be32_t net32(uint32_t v)
{
	rte_be32_t be;

	put32((uint8_t *)&be, v);
	return be;
}

static uint16_t fold(uint64_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

uint16_t ref_sum(const uint8_t *bytes, uint32_t n, uint32_t start)
{
	uint64_t sum = start;
	uint32_t i;

	for (i = 0; i < n; i++)
		sum += i % 2 == 0 ? (uint32_t)bytes[i] << 8 : bytes[i];
	return fold(sum);
}

uint32_t ref_crc32c(const uint8_t *bytes, uint32_t n, uint32_t crc)
{
	uint32_t i, bit;

	for (i = 0; i < n; i++) {
		crc ^= bytes[i];
		for (bit = 0; bit < 8; bit++)
			crc = crc & 1 ? crc >> 1 ^ 0x82f63b78 : crc >> 1;
	}
	return crc;
}

static uint8_t *data(struct ref_packet *p)
{
	return p->bytes + p->start;
}

/* ---- Parse ---- */

static bool is_tag(uint32_t type)
{
	return type == 0x8100 || type == 0x88a8;
}

static bool is_mpls(uint32_t type)
{
	return type == 0x8847 || type == 0x8848;
}

/* Address options of neighbour discovery; the same one twice spoils all. */
static void parse_nd(const uint8_t *nd, uint32_t n, struct xv_flow_key *key)
{
	static const uint8_t zero[6];
	uint32_t i, option;

	if (n < 24)
		return;
	memcpy(&key->nd_target, nd + 8, 16);
	for (i = 24; i + 8 <= n; i += option) {
		uint8_t *mac = nd[i] == 1 ? key->arp_sha : nd[i] == 2 ? key->arp_tha : NULL;

		option = nd[i + 1] * 8u;
		if (option == 0 || i + option > n)
			return;
		if (option != 8 || mac == NULL)
			continue;
		if (memcmp(mac, zero, 6) != 0) {
			memset(&key->nd_target, 0, 16);
			memset(key->arp_sha, 0, 6);
			memset(key->arp_tha, 0, 6);
			return;
		}
		memcpy(mac, nd + i + 2, 6);
	}
}

static void parse_l4(const uint8_t *b, uint32_t at, uint32_t end, bool ipv6, struct xv_flow_key *key, struct where *w)
{
	const uint8_t *h = b + at;
	uint32_t left = end - at, need = 0;

	if (at >= end)
		return;
	if (key->ip_proto == 6) {
		if (left < 20)
			return;
		need = (h[12] >> 4) * 4u;
		if (need < 20)
			return;
	} else if (key->ip_proto == 17) {
		need = 8;
	} else if (key->ip_proto == 132) {
		need = 12;
	} else if (ipv6 ? key->ip_proto == 58 : key->ip_proto == 1 || key->ip_proto == 2) {
		need = 8;
	}
	if (left < need)
		return;
	w->l4 = true;
	w->at_l4 = at;
	if (need == 0)
		return;
	if (key->ip_proto == 6)
		key->tcp_flags = net16(get16(h + 12) & 0xfff);
	if (key->ip_proto == 1 || key->ip_proto == 2 || key->ip_proto == 58) {
		key->tp_src = net16(h[0]);
		key->tp_dst = net16(h[1]);
		if (ipv6 && (h[0] == 135 || h[0] == 136) && h[1] == 0)
			parse_nd(h, left, key);
	} else {
		key->tp_src = net16(get16(h));
		key->tp_dst = net16(get16(h + 2));
	}
}

static void parse_ipv4(const uint8_t *b, uint32_t at, uint32_t len, struct xv_flow_key *key, struct where *w)
{
	const uint8_t *ip = b + at;
	uint32_t header, total, fragment;

	if (len - at < 20)
		return;
	header = (ip[0] & 15) * 4u;
	total = get16(ip + 2);
	if (header < 20 || total < header || total > len - at)
		return;
	w->l3 = true;
	w->at_l3 = at;
	w->end = at + total;
	memcpy(key->ip_src.bytes + 12, ip + 12, 4);
	memcpy(key->ip_dst.bytes + 12, ip + 16, 4);
	key->ip_tos = ip[1];
	key->ip_ttl = ip[8];
	key->ip_proto = ip[9];
	fragment = get16(ip + 6) & 0x3fff;
	key->ip_frag = fragment == 0 ? 0 : (fragment & 0x1fff) == 0 ? 1 : 2;
	if (key->ip_frag != 2)
		parse_l4(b, at + header, w->end, false, key, w);
}

static void parse_ipv6(const uint8_t *b, uint32_t at, uint32_t len, struct xv_flow_key *key, struct where *w)
{
	static const struct {
		uint8_t proto;
		uint16_t flag;
	} extensions[] = {{0, XV_EXTHDR_HOP}, {60, XV_EXTHDR_DEST}, {43, XV_EXTHDR_ROUTER}, {44, XV_EXTHDR_FRAG},
			  {51, XV_EXTHDR_AUTH}};
	const uint8_t *ip = b + at;
	uint8_t next, frag = 0;
	uint16_t flags = 0;
	uint32_t i;

	if (len - at < 40 || 40u + get16(ip + 4) > len - at)
		return;
	w->l3 = true;
	w->at_l3 = at;
	w->end = at + 40 + get16(ip + 4);
	memcpy(key->ip_src.bytes, ip + 8, 16);
	memcpy(key->ip_dst.bytes, ip + 24, 16);
	next = ip[6];
	at += 40;
	for (;;) {
		const uint8_t *ext = b + at;
		uint32_t bytes;

		for (i = 0; i < 5 && extensions[i].proto != next; i++)
			;
		if (i == 5)
			break;
		flags |= extensions[i].flag;
		if (w->end - at < 8)
			return;
		bytes = next == 44 ? 8 : next == 51 ? (ext[1] + 2u) * 4 : (ext[1] + 1u) * 8;
		if (next == 44 && get16(ext + 2) != 0)
			frag = (get16(ext + 2) & 0xfff8) != 0 ? 2 : 1;
		if (frag == 2)
			break; /* the protocol stays that of the fragment header */
		if (bytes > w->end - at)
			return;
		next = ext[0];
		at += bytes;
	}
	if (next == 50)
		flags |= XV_EXTHDR_ESP;
	if (next == 59)
		flags |= XV_EXTHDR_NONEXT;
	key->ipv6_exthdrs = flags;
	key->ipv6_label = net32(((uint32_t)get16(ip) << 16 | get16(ip + 2)) & 0xfffff);
	key->ip_tos = (uint8_t)(get16(ip) >> 4);
	key->ip_ttl = ip[7];
	key->ip_proto = next;
	key->ip_frag = frag;
	if (frag != 2)
		parse_l4(b, at, w->end, true, key, w);
}

static void parse_arp(const uint8_t *arp, uint32_t n, struct xv_flow_key *key, struct where *w)
{
	if (n < 28 || memcmp(arp, "\0\1\10\0\6\4", 6) != 0)
		return;
	w->l3 = true;
	memcpy(key->arp_sha, arp + 8, 6);
	memcpy(key->ip_src.bytes + 12, arp + 14, 4);
	memcpy(key->arp_tha, arp + 18, 6);
	memcpy(key->ip_dst.bytes + 12, arp + 24, 4);
	if (get16(arp + 6) < 256)
		key->ip_proto = arp[7];
}

/* Packet fields of key from the bytes; false: not even L2 is sound. */
static bool parse(struct ref_packet *p, struct xv_flow_key *key, struct where *w)
{
	const uint8_t *b = data(p);
	uint32_t at = 0, type, len = p->len;
	unsigned int tags = 0;

	memset((uint8_t *)key + offsetof(struct xv_flow_key, eth_dst), 0,
	       offsetof(struct xv_flow_key, tun_options) - offsetof(struct xv_flow_key, eth_dst));
	memset(w, 0, sizeof(*w));
	if (key->packet_type == 0) {
		if (len < 14)
			return false;
		memcpy(key->eth_dst, b, 6);
		memcpy(key->eth_src, b + 6, 6);
		for (at = 12; tags < 2 && is_tag(get16(b + at)); at += 4) {
			if (len < at + 6)
				return false;
			key->vlan[tags].tpid = net16(get16(b + at));
			key->vlan[tags++].tci = net16(get16(b + at + 2) | 0x1000);
		}
		type = get16(b + at);
		at += 2;
		if (type < 0x600) {
			type = 0x5ff;
			if (len - at >= 8 && memcmp(b + at, "\xaa\xaa\3\0\0\0", 6) == 0 && get16(b + at + 6) >= 0x600) {
				type = get16(b + at + 6);
				at += 8;
			}
		}
	} else {
		type = host32(key->packet_type) & 0xffff;
	}
	key->eth_type = net16(type);
	if (type == IPV4)
		parse_ipv4(b, at, len, key, w);
	if (type == IPV6)
		parse_ipv6(b, at, len, key, w);
	if (type == ARP || type == RARP) {
		w->at_l3 = at;
		parse_arp(b + at, len - at, key, w);
	}
	if (is_mpls(type)) {
		w->at_mpls = at;
		for (; key->mpls_depth < XV_FLOW_MAX_MPLS && len - at >= 4; at += 4) {
			memcpy(&key->mpls_lse[key->mpls_depth++], b + at, 4);
			if (b[at + 2] & 1)
				break;
		}
	}
	return true;
}

/* ---- The end of a packet ---- */

static void drop(struct under_way *k, enum xv_drop reason)
{
	k->world->drops[k->in][reason]++;
	k->gone = true;
}

/* Finish the checksum that was asked for; false: it lies outside. */
static bool finish(struct ref_packet *p)
{
	uint32_t field = (uint32_t)p->csum_start + p->csum_offset;
	uint16_t csum;

	if (!p->request)
		return true;
	if (field + 2 > p->len)
		return false;
	csum = (uint16_t)~ref_sum(data(p) + p->csum_start, p->len - p->csum_start, 0);
	put16(data(p) + field, csum == 0 ? 0xffff : csum);
	p->request = false;
	return true;
}

static void output(struct under_way *k, uint32_t port)
{
	struct ref_world *world = k->world;
	struct ref_output *out;

	if (port >= REF_PORTS || !world->port_up[port]) {
		drop(k, XV_DROP_TX_DOWN);
		return;
	}
	if (k->trunc != 0 && k->p.len > k->trunc) {
		k->p.len = k->trunc;
		k->p.request = false; /* what is left promises nothing */
	}
	if (!finish(&k->p)) {
		drop(k, XV_DROP_OFFLOAD);
		return;
	}
	assert(world->n_outputs < REF_OUTPUTS && world->n_bytes + k->p.len <= REF_BYTES);
	out = &world->outputs[world->n_outputs++];
	*out = (struct ref_output){(uint16_t)port, k->p.len, world->n_bytes};
	memcpy(world->bytes + out->at, data(&k->p), out->len);
	world->n_bytes += out->len;
	world->forwarded[k->in]++;
	k->gone = true;
}

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
	if (!parse(&k->p, &k->key, &k->at))
		drop(k, XV_DROP_MALFORMED);
}

/* The headers moved; the key has been told. */
static void find_again(struct under_way *k)
{
	struct xv_flow_key scratch = k->key;

	(void)parse(&k->p, &scratch, &k->at);
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

static void push_vlan(struct under_way *k, const struct xv_action_push_vlan *a)
{
	bool third = k->key.vlan[1].tpid != 0;

	if (k->key.packet_type != 0) {
		drop(k, XV_DROP_MALFORMED);
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

static void pop_vlan(struct under_way *k)
{
	bool seen = k->key.vlan[0].tpid != 0 && !is_tag(host16(k->key.eth_type));

	if (k->key.packet_type != 0 || k->p.len < 18 || !is_tag(get16(data(&k->p) + 12)) || !cut(&k->p, 12, 4)) {
		drop(k, XV_DROP_MALFORMED);
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

static void push_mpls(struct under_way *k, const struct xv_action_push_mpls *a)
{
	bool at_start = a->before_l2 || k->key.packet_type != 0;
	uint32_t at = at_start ? 0 : ethernet_end(&k->p);

	if (!at_start && (at == 0 || get16(data(&k->p) + at - 2) < 0x600)) {
		drop(k, XV_DROP_MALFORMED);
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

static void pop_mpls(struct under_way *k, rte_be16_t type)
{
	uint32_t at = k->key.packet_type != 0 ? 0 : ethernet_end(&k->p);
	uint32_t now = k->key.packet_type != 0 ? host32(k->key.packet_type) & 0xffff
		       : at == 0	       ? 0
					       : get16(data(&k->p) + at - 2);

	if (!is_mpls(now) || k->p.len < at + 4 || !cut(&k->p, at, 4)) {
		drop(k, XV_DROP_MALFORMED);
		return;
	}
	if (k->key.packet_type == 0)
		put16(data(&k->p) + at - 2, host16(type));
	else
		k->key.packet_type = host16(type) == 0x6558 ? 0 : net32(0x10000u | host16(type));
	read_again(k);
}

static void push_eth(struct under_way *k, const struct xv_action_push_eth *a)
{
	uint32_t type = host32(k->key.packet_type);

	if (type >> 16 != 1) {
		drop(k, XV_DROP_MALFORMED);
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

static void pop_eth(struct under_way *k)
{
	uint32_t end = k->key.packet_type != 0 ? 0 : ethernet_end(&k->p), type;

	type = end == 0 ? 0 : get16(data(&k->p) + end - 2);
	if (type < 0x600 || !cut(&k->p, 0, end)) {
		drop(k, XV_DROP_MALFORMED);
		return;
	}
	k->key.packet_type = net32(0x10000u | type);
	k->key.eth_type = net16(type);
	memset(k->key.eth_dst, 0, 6);
	memset(k->key.eth_src, 0, 6);
	memset(k->key.vlan, 0, sizeof(k->key.vlan));
	find_again(k);
}

/* ---- Tunnels ---- */

static void tunnel_push(struct under_way *k, const struct xv_encap_params *e)
{
	bool ipv6 = (e->flags & XV_ENCAP_IPV6) != 0, geneve = e->type == XV_TUNNEL_GENEVE;
	uint32_t hash = k->world->hash(&k->key, 0), header = 14, l3, l4, udp_len;
	struct xv_flow_key inner = {0};
	struct ref_packet finished = k->p;
	uint8_t tos = e->tos, ttl = e->ttl ? e->ttl : 64, *h;
	struct where w;

	if (!finish(&finished)) {
		drop(k, XV_DROP_TUNNEL);
		return;
	}
	(void)parse(&k->p, &inner, &w);
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

static void set(struct under_way *k, const struct xv_flow_key *value, const struct xv_flow_key *mask)
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
	k->key = to;
}

/* ---- Connection tracking ---- */

static void track(struct under_way *k, const struct xv_action_ct *ct)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(xv_packet_pool());
	struct xv_flow_layout layout;
	struct xv_flow_key scratch;
	int rc;

	assert(m != NULL && k->p.len <= rte_pktmbuf_tailroom(m));
	memcpy(rte_pktmbuf_append(m, (uint16_t)k->p.len), data(&k->p), k->p.len);
	if (k->p.request) {
		*xv_packet_offload(m) = (struct xv_offload){
			.flags = XV_OFFLOAD_CSUM, .csum_start = k->p.csum_start, .csum_offset = k->p.csum_offset};
		m->ol_flags |= XV_PACKET_OFFLOAD;
	}
	scratch = k->key;
	(void)xv_flow_extract(rte_pktmbuf_mtod(m, const uint8_t *), m->data_len, m->pkt_len, &scratch, &layout);
	rc = xv_conntrack_packet(k->world->ct, ct, m, &k->key, &layout, k->world->now_ms, &k->hit);
	assert(m->pkt_len == k->p.len);
	memcpy(data(&k->p), rte_pktmbuf_mtod(m, const uint8_t *), k->p.len);
	rte_pktmbuf_free(m);
	if (rc != 0)
		drop(k, rc == -ENOBUFS	? XV_DROP_CT_FULL
			: rc == -EDQUOT ? XV_DROP_CT_LIMIT
			: rc == -EPROTO ? XV_DROP_CT_HELPER
					: XV_DROP_CT_NAT);
}

/* ---- Actions ---- */

static void look_up(struct under_way *k);

static void run(struct under_way *k, const struct ref_program *program)
{
	unsigned int i;

	for (i = 0; i < program->n && !k->gone; i++) {
		const struct ref_action *a = &program->actions[i];
		struct under_way *copy;

		switch (a->type) {
		case XV_ACT_OUTPUT:
			if (i == program->n - 1) {
				output(k, a->arg);
				break;
			}
			k->world->copies[k->in]++;
			copy = malloc(sizeof(*copy));
			*copy = *k;
			output(copy, a->arg);
			free(copy);
			k->trunc = 0;
			break;
		case XV_ACT_SET:
			set(k, a->value, a->set);
			break;
		case XV_ACT_PUSH_VLAN:
			push_vlan(k, &a->vlan);
			break;
		case XV_ACT_POP_VLAN:
			pop_vlan(k);
			break;
		case XV_ACT_PUSH_MPLS:
			push_mpls(k, &a->mpls);
			break;
		case XV_ACT_POP_MPLS:
			pop_mpls(k, (rte_be16_t)a->arg);
			break;
		case XV_ACT_PUSH_ETH:
			push_eth(k, &a->eth);
			break;
		case XV_ACT_POP_ETH:
			pop_eth(k);
			break;
		case XV_ACT_TUNNEL_PUSH:
			tunnel_push(k, a->encap);
			break;
		case XV_ACT_CT:
			track(k, &a->ct);
			break;
		case XV_ACT_RECIRC:
			k->key.recirc_id = a->arg;
			k->again = true;
			return;
		case XV_ACT_HASH:
			k->key.dp_hash = k->world->hash(&k->key, a->arg);
			if (k->key.dp_hash == 0)
				k->key.dp_hash = 1;
			break;
		case XV_ACT_SAMPLE:
			if (a->arg == 0)
				break;
			__attribute__((fallthrough));
		case XV_ACT_CLONE:
			k->world->copies[k->in]++;
			copy = malloc(sizeof(*copy));
			*copy = *k;
			copy->again = false;
			run(copy, a->inner);
			if (!copy->gone)
				look_up(copy);
			free(copy);
			break;
		case XV_ACT_CHECK_LEN:
			run(k, k->p.len > a->arg ? a->inner : a->other);
			return;
		case XV_ACT_TRUNC:
			k->trunc = a->arg;
			break;
		case XV_ACT_DROP:
			drop(k, (enum xv_drop)a->arg);
			return;
		default:
			assert(!"an action that the reference does not know");
		}
	}
	if (!k->gone)
		drop(k, XV_DROP_ACTION);
}

bool ref_matches(const struct ref_flow *flow, const struct xv_flow_key *key)
{
	const uint64_t *k = (const uint64_t *)(const void *)key, *f = (const uint64_t *)(const void *)&flow->key;
	const uint64_t *m = (const uint64_t *)(const void *)&flow->mask;
	unsigned int i;

	for (i = 0; i < XV_FLOW_WORDS; i++)
		if (((k[i] ^ f[i]) & m[i]) != 0)
			return false;
	return true;
}

bool ref_overlaps(const struct xv_flow_key *key, const struct xv_flow_key *mask, const struct ref_flow *flow)
{
	const uint64_t *k = (const uint64_t *)(const void *)key, *f = (const uint64_t *)(const void *)&flow->key;
	const uint64_t *m = (const uint64_t *)(const void *)mask, *n = (const uint64_t *)(const void *)&flow->mask;
	unsigned int i;

	for (i = 0; i < XV_FLOW_WORDS; i++)
		if (((k[i] ^ f[i]) & m[i] & n[i]) != 0)
			return false;
	return true;
}

static void look_up(struct under_way *k)
{
	struct ref_world *world = k->world;
	unsigned int i;

	do {
		k->again = false;
		if (++k->passes > PASSES) {
			drop(k, XV_DROP_DEPTH);
			return;
		}
		for (i = 0; i < world->n_flows && !ref_matches(world->flows[i], &k->key); i++)
			;
		if (i == world->n_flows) {
			if (world->n_misses < REF_MISSES)
				world->misses[world->n_misses++] = k->key;
			drop(k, XV_DROP_NO_FLOW);
			return;
		}
		world->flows[i]->packets++;
		world->flows[i]->bytes += k->p.len;
		run(k, world->flows[i]->program);
	} while (!k->gone && k->again);
}

void ref_run(struct ref_world *world, uint16_t in_port, const struct ref_packet *packet)
{
	static struct under_way k;

	memset(&k.key, 0, sizeof(k.key));
	memset(&k.hit, 0, sizeof(k.hit));
	k.world = world;
	k.in = in_port;
	k.p = *packet;
	k.passes = 0;
	k.trunc = 0;
	k.gone = k.again = false;
	k.key.in_port = in_port;
	world->packets[in_port]++;
	if (k.p.len < 14)
		drop(&k, XV_DROP_RUNT);
	else if (!parse(&k.p, &k.key, &k.at))
		drop(&k, XV_DROP_MALFORMED);
	else
		look_up(&k);
}

void ref_clear_results(struct ref_world *world)
{
	world->n_outputs = world->n_misses = 0;
	world->n_bytes = 0;
}

/* ---- Programs ---- */

struct ref_program *ref_program_new(void)
{
	return calloc(1, sizeof(struct ref_program));
}

void ref_program_free(struct ref_program *program)
{
	unsigned int i;

	if (program == NULL)
		return;
	for (i = 0; i < program->n; i++) {
		free(program->actions[i].value);
		free(program->actions[i].set);
		free(program->actions[i].encap);
		ref_program_free(program->actions[i].inner);
		ref_program_free(program->actions[i].other);
	}
	free(program);
}

struct ref_action *ref_add(struct ref_program *program, enum xv_action_type type, uint32_t arg)
{
	struct ref_action *a;

	assert(program->n < REF_ACTIONS);
	a = &program->actions[program->n++];
	memset(a, 0, sizeof(*a));
	a->type = type;
	a->arg = arg;
	return a;
}
