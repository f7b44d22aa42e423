/* SPDX-License-Identifier: Apache-2.0 */
/* The reference takes outer headers off: header by header, with all that each of them must hold. */
#include "flow_reference_state.h"

#include <string.h>

/* What was found so far; the next header is at `at`, what it lies in ends at `end`. */
struct outer {
	struct xv_flow_key key;
	uint32_t at, end, l4, csum;
	bool ipv6, has_csum;
	uint8_t proto;
	const uint8_t *ip;
};

static bool has(const struct outer *o, uint32_t n)
{
	return o->at + n <= o->end;
}

static bool read_ipv4(const uint8_t *b, struct outer *o)
{
	const uint8_t *ip = b + o->at;
	uint32_t header, total;

	if (!has(o, 20))
		return false;
	header = (ip[0] & 15) * 4u;
	total = get16(ip + 2);
	if (ip[0] >> 4 != 4 || header < 20 || total < header || !has(o, total))
		return false;
	if (ref_sum(ip, header, 0) != 0xffff || (get16(ip + 6) & 0x3fff) != 0)
		return false;
	o->ip = ip;
	o->proto = ip[9];
	o->key.tun_tos = ip[1];
	o->key.tun_ttl = ip[8];
	o->key.tun_flags |= get16(ip + 6) & 0x4000 ? XV_TUN_DF : 0;
	memcpy(o->key.tun_src.bytes + 12, ip + 12, 4);
	memcpy(o->key.tun_dst.bytes + 12, ip + 16, 4);
	o->end = o->at + total;
	o->at += header;
	return true;
}

static bool read_ipv6(const uint8_t *b, struct outer *o)
{
	const uint8_t *ip = b + o->at;
	unsigned int n;

	if (!has(o, 40) || ip[0] >> 4 != 6 || !has(o, 40u + get16(ip + 4)))
		return false;
	o->ip = ip;
	o->ipv6 = true;
	o->proto = ip[6];
	o->key.tun_flags |= XV_TUN_IPV6;
	o->key.tun_tos = (uint8_t)(get16(ip) >> 4);
	o->key.tun_ttl = ip[7];
	memcpy(&o->key.tun_src, ip + 8, 16);
	memcpy(&o->key.tun_dst, ip + 24, 16);
	o->end = o->at + 40 + get16(ip + 4);
	o->at += 40;
	for (n = 0; n < 8 && (o->proto == 0 || o->proto == 60 || o->proto == 44); n++) {
		const uint8_t *ext = b + o->at;
		uint32_t len;

		if (!has(o, 8))
			return false;
		if (o->proto == 44 && (get16(ext + 2) & 0xfff9) != 0)
			return false;
		len = o->proto == 44 ? 8 : (ext[1] + 1u) * 8;
		o->proto = ext[0];
		if (!has(o, len))
			return false;
		o->at += len;
	}
	return true;
}

/* What follows a header that names it by an Ethernet type. */
static bool names(struct outer *o, uint32_t type)
{
	o->key.packet_type = type == 0x6558 ? 0 : net32(0x10000 | type);
	return type == 0x6558 || type == IPV4 || type == IPV6 || type == 0x8847;
}

static bool read_vxlan(const uint8_t *h, bool gbp, struct outer *o)
{
	if (!has(o, 8) || (h[0] & 8) == 0)
		return false;
	o->key.tun_flags |= XV_TUN_KEY;
	put32((uint8_t *)&o->key.tun_id + 4, (uint32_t)get16(h + 4) << 8 | h[6]);
	if (gbp && (h[0] & 0x80)) {
		o->key.tun_flags |= XV_TUN_GBP;
		o->key.tun_gbp_flags = h[1] & 0x48;
		o->key.tun_gbp_id = net16(get16(h + 2));
	}
	o->at += 8;
	return true;
}

static bool read_geneve(const uint8_t *h, struct outer *o)
{
	uint32_t len, at;

	if (!has(o, 8) || h[0] >> 6 != 0)
		return false;
	len = (h[0] & 63) * 4u;
	if (!has(o, 8 + len))
		return false;
	for (at = 0; at < len; at += 4 + (h[8 + at + 3] & 31) * 4u)
		;
	if (at != len)
		return false;
	o->key.tun_flags |= XV_TUN_KEY | (h[1] & 0x80 ? XV_TUN_OAM : 0) | (h[1] & 0x40 ? XV_TUN_CRIT_OPT : 0);
	put32((uint8_t *)&o->key.tun_id + 4, (uint32_t)get16(h + 4) << 8 | h[6]);
	memcpy(o->key.tun_options, h + 8, len);
	o->key.tun_options_len = (uint16_t)len;
	o->at += 8 + len;
	return names(o, get16(h + 2));
}

static bool read_udp(const uint8_t *b, const struct xv_action_tunnel_pop *pop, struct outer *o)
{
	const uint8_t *h = b + o->at;

	if (!has(o, 8) || get16(h + 2) != host16(pop->udp_port) || get16(h + 4) < 8 || !has(o, get16(h + 4)))
		return false;
	o->has_csum = get16(h + 6) != 0;
	o->key.tun_tp_src = net16(get16(h));
	o->key.tun_tp_dst = net16(get16(h + 2));
	o->end = o->at + get16(h + 4);
	o->at += 8;
	return pop->type == XV_TUNNEL_VXLAN ? read_vxlan(h + 8, pop->gbp != 0, o) : read_geneve(h + 8, o);
}

static bool read_gre(const uint8_t *b, struct outer *o)
{
	const uint8_t *h = b + o->at;
	uint32_t flags, len;

	if (!has(o, 4))
		return false;
	flags = get16(h);
	if ((flags & 0x4c07) != 0)
		return false;
	len = 4u + (flags & 0x8000 ? 4 : 0);
	o->has_csum = (flags & 0x8000) != 0;
	if (!has(o, len + (flags & 0x2000 ? 4 : 0) + (flags & 0x1000 ? 4 : 0)))
		return false;
	if (flags & 0x2000) {
		o->key.tun_flags |= XV_TUN_KEY;
		memcpy((uint8_t *)&o->key.tun_id + 4, h + len, 4);
		len += 4;
	}
	len += flags & 0x1000 ? 4 : 0;
	o->at += len;
	return names(o, get16(h + 2));
}

static bool read_outer(const uint8_t *b, const struct xv_action_tunnel_pop *pop, struct outer *o)
{
	unsigned int tags;

	if (!has(o, 14))
		return false;
	for (o->at = 12, tags = 0; tags < 2 && is_tag(get16(b + o->at)); tags++, o->at += 4)
		if (!has(o, 6))
			return false;
	o->at += 2;
	switch (get16(b + o->at - 2)) {
	case IPV4:
		if (!read_ipv4(b, o))
			return false;
		break;
	case IPV6:
		if (!read_ipv6(b, o))
			return false;
		break;
	default:
		return false;
	}
	o->l4 = o->at;
	if (pop->type == XV_TUNNEL_GRE)
		return o->proto == 47 && read_gre(b, o);
	return o->proto == 17 && read_udp(b, pop, o);
}

/* The checksum of the datagram, as it will be when what is left to be done is done. */
static bool is_right(const struct under_way *k, const struct outer *o)
{
	struct ref_packet p = k->p;
	uint32_t n = o->end - o->l4, sum = 0;

	if (p.request && p.csum_start <= o->l4) /* it is itself to be made */
		return true;
	p.len = o->end; /* padding is none of it */
	if (!ref_finish(&p))
		p = k->p;
	if (o->proto == 17)
		sum = ref_sum(o->ip + (o->ipv6 ? 8 : 12), o->ipv6 ? 32 : 8, 17 + n);
	return ref_sum(data(&p) + o->l4, n, sum) == 0xffff;
}

void ref_tunnel_pop(struct under_way *k, uint32_t port, const struct xv_action_tunnel_pop *pop)
{
	struct outer o = {.end = k->p.len};
	struct ref_packet *p = &k->p;

	if (!read_outer(data(p), pop, &o)) {
		ref_drop(k, XV_DROP_TUNNEL_HEADER);
		return;
	}
	if (o.has_csum) {
		o.key.tun_flags |= XV_TUN_CSUM;
		if (!is_right(k, &o)) {
			ref_drop(k, XV_DROP_TUNNEL_CSUM);
			return;
		}
	}
	/* A request for the outer headers goes with them, and so does one for what is behind the inner packet. */
	if (p->request && (p->csum_start < o.at || (uint32_t)p->csum_start + p->csum_offset + 2 > o.end))
		p->request = false;
	p->csum_start = (uint16_t)(p->csum_start - o.at);
	p->start += o.at;
	p->len = o.end - o.at;
	o.key.in_port = port;
	o.key.skb_mark = k->key.skb_mark;
	o.key.skb_priority = k->key.skb_priority;
	k->key = o.key;
	memset(&k->hit, 0, sizeof(k->hit));
	k->again = true;
	if (!ref_parse(p, &k->key, &k->at))
		ref_drop(k, XV_DROP_MALFORMED);
}
