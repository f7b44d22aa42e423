/* SPDX-License-Identifier: Apache-2.0 */
/* The reference reads packets. */
#include "flow_reference_state.h"

#include <assert.h>
#include <string.h>

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

static void parse_nsh(const uint8_t *h, uint32_t n, struct xv_flow_key *key)
{
	uint32_t len;

	if (n < 8)
		return;
	len = (h[1] & 63) * 4u;
	if (h[0] >> 6 != 0 || len > n || (h[2] == 1 && len != 24) || (h[2] == 2 && len < 8))
		return;
	key->nsh_flags = h[0] >> 4 & 3;
	key->nsh_ttl = get16(h) >> 6 & 63;
	key->nsh_mdtype = h[2];
	key->nsh_np = h[3];
	memcpy(&key->nsh_path_hdr, h + 4, 4);
	if (h[2] == 1)
		memcpy(key->nsh_context, h + 8, 16);
}

bool ref_parse(struct ref_packet *p, struct xv_flow_key *key, struct where *w)
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
	if (type == NSH)
		parse_nsh(b + at, len - at, key);
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
