/* SPDX-License-Identifier: Apache-2.0 */
#include "flow_traffic.h"

#include <stdbool.h>
#include <string.h>

uint32_t rnd_below(struct rnd *rnd, uint32_t n)
{
	uint64_t z = (rnd->state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	z ^= z >> 31;
	return (uint32_t)(((z >> 32) * n) >> 32);
}

static bool chance(struct rnd *r, uint32_t percent)
{
	return rnd_below(r, 100) < percent;
}

static void mac(struct rnd *r, uint8_t *to)
{
	memcpy(to, "\2\0\0\0\0", 5);
	to[5] = (uint8_t)rnd_below(r, 6);
}

static void address(struct rnd *r, bool ipv6, uint8_t *to)
{
	memset(to, 0, 16);
	if (ipv6) {
		to[0] = 0x20;
		to[1] = 0x01;
		to[7] = (uint8_t)rnd_below(r, 3);
	} else {
		to[12] = 10;
		to[14] = (uint8_t)rnd_below(r, 3);
	}
	to[15] = (uint8_t)rnd_below(r, 6);
}

void flow_conn_init(struct rnd *r, struct flow_conn *c)
{
	static const uint16_t ports[] = {80, 443, 53, 22, 4789, 6081};
	uint32_t n = rnd_below(r, 100);
	unsigned int i;
	bool ipv6;

	if (n < 15)
		c->kind = CONN_TUNNEL;
	else if (n < 75)
		c->kind = (enum flow_conn_kind)rnd_below(r, CONN_ND);
	else
		c->kind = (enum flow_conn_kind)(CONN_ND + rnd_below(r, CONN_BROKEN + 1 - CONN_ND));
	ipv6 = c->kind == CONN_UDP6 || c->kind == CONN_TCP6 || c->kind == CONN_ICMP6 || c->kind == CONN_ND ||
	       c->kind == CONN_FRAGMENT6 || c->kind == CONN_SCTP6 || c->kind == CONN_EXTENSIONS6;
	if (c->kind == CONN_TUNNEL) {
		static const enum flow_conn_kind kinds[] = {CONN_ND, CONN_ARP, CONN_SCTP4, CONN_OPTIONS4, CONN_MPLS, CONN_OTHER};

		c->inner = chance(r, 85) ? (enum flow_conn_kind)rnd_below(r, CONN_ND) : kinds[rnd_below(r, 6)];
		ipv6 = c->inner == CONN_UDP6 || c->inner == CONN_TCP6 || c->inner == CONN_ICMP6 || c->inner == CONN_ND;
		n = rnd_below(r, 100);
		c->outer = n < 50 ? OUTER_VXLAN : n < 80 ? OUTER_GENEVE : OUTER_GRE;
		c->outer_ipv6 = chance(r, 30);
		c->outer_tag = chance(r, 15);
		c->remote = (uint8_t)rnd_below(r, 3);
		c->ttl = chance(r, 90) ? 64 : 63;
		c->option = (uint8_t)(chance(r, 40) ? 1 + rnd_below(r, 2) : 0);
		c->vni = (uint16_t)rnd_below(r, 3);
		c->entropy = (uint16_t)(0xc000 + rnd_below(r, 1000));
	}
	n = rnd_below(r, 100);
	c->tags = n < 60 ? 0 : n < 88 ? 1 : n < 97 ? 2 : 3;
	for (i = 0; i < 3; i++) {
		c->tpid[i] = 0x8100;
		c->tci[i] = (uint16_t)(rnd_below(r, 4) | rnd_below(r, 2) << 13 | (chance(r, 10) ? 0x1000 : 0));
	}
	if (chance(r, c->tags > 1 ? 50 : 10))
		c->tpid[0] = 0x88a8;
	mac(r, c->dst);
	mac(r, c->src);
	address(r, ipv6, c->ip_src);
	address(r, ipv6, c->ip_dst);
	c->tp_src = (uint16_t)(1000 + rnd_below(r, 20));
	c->tp_dst = ports[rnd_below(r, 6)];
}

void flow_conn_init_pair(struct rnd *r, struct flow_conn *c, struct flow_conn *other, struct flow_dialogue *dialogue)
{
	enum flow_conn_kind kind;

	flow_conn_init(r, c);
	if (c->kind >= CONN_ND && c->kind != CONN_TUNNEL && chance(r, 80)) {
		c->kind = chance(r, 60) ? CONN_TCP4 : CONN_UDP4;
		address(r, false, c->ip_src);
		address(r, false, c->ip_dst);
	}
	if (chance(r, 80))
		c->tags = 0;
	memset(dialogue, 0, sizeof(*dialogue));
	kind = c->kind == CONN_TUNNEL ? c->inner : c->kind;
	c->dialogue = kind == CONN_TCP4 || kind == CONN_TCP6 ? dialogue : NULL;
	c->side = 0;
	*other = *c;
	other->side = 1;
	memcpy(other->src, c->dst, 6);
	memcpy(other->dst, c->src, 6);
	memcpy(other->ip_src, c->ip_dst, 16);
	memcpy(other->ip_dst, c->ip_src, 16);
	other->tp_src = c->tp_dst;
	other->tp_dst = c->tp_src;
}

/* ---- Packets, from the inside out: each header goes in front ---- */

static uint8_t *front(struct ref_packet *p, uint32_t n)
{
	p->start -= n;
	p->len += n;
	if (p->request)
		p->csum_start = (uint16_t)(p->csum_start + n);
	memset(p->bytes + p->start, 0, n);
	return p->bytes + p->start;
}

static void put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static uint32_t pseudo(const struct flow_conn *c, bool ipv6, uint8_t proto, uint32_t len)
{
	uint32_t sum = proto + len;

	sum = ref_sum(c->ip_src + (ipv6 ? 0 : 12), ipv6 ? 16 : 4, sum);
	return ref_sum(c->ip_dst + (ipv6 ? 0 : 12), ipv6 ? 16 : 4, sum);
}

/* The checksum of the transport header that the packet begins with. */
static void finish_l4(struct rnd *r, const struct flow_conn *c, struct ref_packet *p, bool ipv6, uint8_t proto,
		      uint32_t field)
{
	uint8_t *h = p->bytes + p->start;
	uint32_t n = rnd_below(r, 100), sum;
	uint16_t csum;

	sum = proto == 1 ? 0 : pseudo(c, ipv6, proto, p->len);
	if (n < 15 && proto != 1 && proto != 58) {
		put16(h + field, sum);
		p->request = true;
		p->csum_start = 0;
		p->csum_offset = (uint16_t)field;
		return;
	}
	csum = (uint16_t)~ref_sum(h, p->len, sum);
	if (proto == 17 && csum == 0)
		csum = 0xffff;
	/* Wrong ones, but not the one that means the same as another. */
	if (n >= 15 && n < 22)
		csum = (uint16_t)(1 + rnd_below(r, 0xfffe));
	if (proto == 17 && n >= 22 && n < 30)
		csum = 0;
	put16(h + field, csum);
}

static void payload(struct rnd *r, const struct flow_conn *c, struct ref_packet *p)
{
	uint32_t n = rnd_below(r, 64), i;

	/* What is broken may seem to have headers anywhere: it is short, and so in one piece wherever it is copied. */
	if (c->kind != CONN_BROKEN && chance(r, 15))
		n = chance(r, 80) ? rnd_below(r, 600) : rnd_below(r, 1300);

	p->start = REF_FRONT;
	p->len = 0;
	p->request = false;
	p->start += n;
	(void)front(p, n);
	for (i = 0; i < n; i++)
		p->bytes[p->start + i] = (uint8_t)(i % 16 == 0 ? rnd_below(r, 256) : i * 7);
}

#define FIN 0x01
#define SYN 0x02
#define RST 0x04
#define ACK 0x10

/* The next segment of one side, with len bytes: mostly as a sane end would send it. Its flags. */
static uint8_t next_segment(struct rnd *r, struct flow_dialogue *d, unsigned int side, uint32_t len, uint32_t *seq,
			    uint32_t *ack)
{
	uint32_t n = rnd_below(r, 300);

	if (d->phase == DIALOGUE_CLOSED && side == 0) {
		*d = (struct flow_dialogue){DIALOGUE_SYN, {rnd_below(r, UINT32_MAX), 0x10000000}, {false, false}};
		d->next[1] += rnd_below(r, 2) << 20;
	} else if (d->phase == DIALOGUE_SYN && side == 1) {
		d->phase = DIALOGUE_SYNACK;
	} else if (side == 0 && (d->phase == DIALOGUE_SYNACK || (d->phase == DIALOGUE_SYN && n < 30))) {
		d->phase = DIALOGUE_OPEN;
		d->next[0]++;
		d->next[1]++;
	}
	*seq = d->next[side];
	*ack = d->next[!side];
	switch (d->phase) {
	case DIALOGUE_CLOSED: /* it does not know */
		return n < 150 ? ACK : ACK | RST;
	case DIALOGUE_SYN:
		*ack = 0;
		return SYN;
	case DIALOGUE_SYNACK:
		*ack += 1;
		return SYN | ACK;
	default:
		break;
	}
	switch (n) {
	case 0: /* far out of the window */
	case 1:
	case 2:
		*seq += 0x1000000;
		return ACK;
	case 3:
	case 4:
		d->phase = DIALOGUE_CLOSED;
		return n == 3 ? RST : RST | ACK;
	case 5:
		return SYN;
	case 6:
	case 7:
	case 8:
		d->fin[side] = true;
		d->next[side] += len + 1;
		if (d->fin[!side] && n == 8)
			d->phase = DIALOGUE_CLOSED;
		return FIN | ACK;
	default:
		if (n < 60) /* again */
			*seq -= len;
		else
			d->next[side] += len;
		return n < 200 ? ACK : ACK | 0x08;
	}
}

static void transport(struct rnd *r, const struct flow_conn *c, struct ref_packet *p, bool ipv6, uint8_t proto)
{
	static const uint8_t flags[] = {0x10, 0x10, 0x10, 0x18, 0x02, 0x12, 0x11, 0x04};
	uint32_t len, i;
	uint8_t *h;

	switch (proto) {
	case 6:
		i = p->len;
		len = chance(r, 20) ? 32 : 20;
		h = front(p, len);
		put16(h, c->tp_src);
		put16(h + 2, c->tp_dst);
		h[7] = (uint8_t)rnd_below(r, 256);
		h[12] = (uint8_t)(len / 4 << 4 | (chance(r, 5) ? 1 : 0));
		h[13] = flags[rnd_below(r, 8)];
		h[14] = 1;
		if (c->dialogue != NULL && c->kind != CONN_BROKEN) {
			uint32_t seq, ack;

			h[13] = next_segment(r, c->dialogue, c->side, i, &seq, &ack);
			h[14] = 0x40;
			put16(h + 4, seq >> 16);
			put16(h + 6, seq);
			put16(h + 8, ack >> 16);
			put16(h + 10, ack);
		}
		finish_l4(r, c, p, ipv6, proto, 16);
		break;
	case 17:
		h = front(p, 8);
		put16(h, c->tp_src);
		put16(h + 2, c->tp_dst);
		put16(h + 4, p->len);
		finish_l4(r, c, p, ipv6, proto, 6);
		break;
	case 132:
		h = front(p, 12);
		put16(h, c->tp_src);
		put16(h + 2, c->tp_dst);
		i = ~ref_crc32c(h, p->len, UINT32_MAX);
		h[8] = (uint8_t)i;
		h[9] = (uint8_t)(i >> 8);
		h[10] = (uint8_t)(i >> 16);
		h[11] = (uint8_t)(i >> 24);
		break;
	default:
		h = front(p, 8);
		h[0] = ipv6 ? 128 : 8;
		h[5] = (uint8_t)rnd_below(r, 4);
		finish_l4(r, c, p, ipv6, proto, 2);
	}
}

static void neighbour(struct rnd *r, const struct flow_conn *c, struct ref_packet *p)
{
	bool option = chance(r, 80), twice = chance(r, 5);
	uint32_t len = 24 + (option ? 8 : 0) + (twice ? 8 : 0), at;
	uint8_t *h;

	p->len = 0;
	h = front(p, len);
	h[0] = (uint8_t)(135 + rnd_below(r, 2));
	memcpy(h + 8, c->ip_dst, 16);
	for (at = 24; at < len; at += 8) {
		h[at] = h[0] == 135 ? 1 : 2;
		h[at + 1] = 1;
		memcpy(h + at + 2, c->src, 6);
	}
	finish_l4(r, c, p, true, 58, 2);
}

static void ipv4(struct rnd *r, const struct flow_conn *c, struct ref_packet *p, uint8_t proto, uint32_t options,
		 uint16_t fragment)
{
	static const uint8_t ttls[] = {64, 64, 64, 63, 1, 255, 2}, toses[] = {0, 0, 0, 0x10, 0xb8, 1, 2, 3};
	uint8_t *h = front(p, 20 + options);
	uint16_t csum;

	h[0] = (uint8_t)(0x45 + options / 4);
	h[1] = toses[rnd_below(r, 8)];
	put16(h + 2, p->len);
	put16(h + 4, rnd_below(r, 65536));
	put16(h + 6, fragment != 0 ? fragment : chance(r, 50) ? 0x4000 : 0);
	h[8] = ttls[rnd_below(r, 7)];
	h[9] = proto;
	memcpy(h + 12, c->ip_src + 12, 4);
	memcpy(h + 16, c->ip_dst + 12, 4);
	memset(h + 20, 1, options);
	csum = (uint16_t)~ref_sum(h, 20 + options, 0);
	put16(h + 10, chance(r, 3) ? rnd_below(r, 0xffff) : csum);
}

static void ipv6(struct rnd *r, const struct flow_conn *c, struct ref_packet *p, uint8_t next)
{
	static const uint8_t ttls[] = {64, 64, 64, 63, 1, 255, 2}, toses[] = {0, 0, 0, 0x10, 0xb8, 1, 2, 3};
	uint32_t len = p->len;
	uint8_t *h = front(p, 40), tos = toses[rnd_below(r, 8)];

	h[0] = (uint8_t)(0x60 | tos >> 4);
	h[1] = (uint8_t)(tos << 4);
	h[3] = (uint8_t)(chance(r, 20) ? rnd_below(r, 3) : 0);
	put16(h + 4, len);
	h[6] = next;
	h[7] = ttls[rnd_below(r, 7)];
	memcpy(h + 8, c->ip_src, 16);
	memcpy(h + 24, c->ip_dst, 16);
}

/* Extension headers in front of what is there; the type of the first. */
static uint8_t extensions(struct rnd *r, struct ref_packet *p, uint8_t next)
{
	static const uint8_t types[] = {0, 60, 43, 44, 51};
	unsigned int n = 1 + rnd_below(r, 3);
	uint8_t *h;

	while (n-- > 0) {
		uint8_t type = types[rnd_below(r, 5)];
		uint32_t len = type == 44 ? 8 : type == 51 ? 12 : type == 43 ? 24 : 8;

		h = front(p, len);
		h[0] = next;
		h[1] = (uint8_t)(type == 44 ? 0 : type == 51 ? 1 : len / 8 - 1);
		if (type == 43)
			h[3] = (uint8_t)rnd_below(r, 2); /* segments left */
		next = type;
	}
	return next;
}

static uint16_t build_l3(struct rnd *r, const struct flow_conn *c, enum flow_conn_kind kind, struct ref_packet *p)
{
	static const uint8_t protos[] = {6, 17, 1, 6, 17, 58};
	uint32_t i, n;
	uint8_t *h;

	payload(r, c, p);
	switch (kind) {
	case CONN_UDP4:
	case CONN_TCP4:
	case CONN_ICMP4:
		n = kind == CONN_UDP4 ? 17 : kind == CONN_TCP4 ? 6 : 1;
		transport(r, c, p, false, (uint8_t)n);
		ipv4(r, c, p, (uint8_t)n, 0, 0);
		return 0x0800;
	case CONN_UDP6:
	case CONN_TCP6:
	case CONN_ICMP6:
		n = kind == CONN_UDP6 ? 17 : kind == CONN_TCP6 ? 6 : 58;
		transport(r, c, p, true, (uint8_t)n);
		ipv6(r, c, p, (uint8_t)n);
		return 0x86dd;
	case CONN_ND:
		neighbour(r, c, p);
		ipv6(r, c, p, 58);
		return 0x86dd;
	case CONN_FRAGMENT4:
		if (chance(r, 50)) {
			transport(r, c, p, false, 17);
			p->request = false;
			ipv4(r, c, p, 17, 0, 0x2000);
		} else {
			ipv4(r, c, p, 17, 0, (uint16_t)(1 + rnd_below(r, 100)));
		}
		return 0x0800;
	case CONN_FRAGMENT6:
		n = rnd_below(r, 3); /* none, first, later */
		transport(r, c, p, true, 6);
		p->request = false;
		h = front(p, 8);
		h[0] = 6;
		put16(h + 2, n == 0 ? 0 : n == 1 ? 1 : 8 * (1 + rnd_below(r, 50)));
		ipv6(r, c, p, 44);
		return 0x86dd;
	case CONN_SCTP4:
		transport(r, c, p, false, 132);
		ipv4(r, c, p, 132, 0, 0);
		return 0x0800;
	case CONN_SCTP6:
		transport(r, c, p, true, 132);
		ipv6(r, c, p, 132);
		return 0x86dd;
	case CONN_OPTIONS4:
		n = protos[rnd_below(r, 3)];
		transport(r, c, p, false, (uint8_t)n);
		ipv4(r, c, p, (uint8_t)n, 4 * (1 + rnd_below(r, 10)), 0);
		return 0x0800;
	case CONN_EXTENSIONS6:
		n = protos[3 + rnd_below(r, 3)];
		transport(r, c, p, true, (uint8_t)n);
		ipv6(r, c, p, extensions(r, p, (uint8_t)n));
		return 0x86dd;
	case CONN_ARP:
		p->len = 0;
		h = front(p, 28);
		memcpy(h, "\0\1\10\0\6\4", 6);
		h[7] = (uint8_t)(1 + rnd_below(r, 2));
		memcpy(h + 8, c->src, 6);
		memcpy(h + 14, c->ip_src + 12, 4);
		memcpy(h + 18, c->dst, 6);
		memcpy(h + 24, c->ip_dst + 12, 4);
		return chance(r, 90) ? 0x0806 : 0x8035;
	case CONN_MPLS:
		transport(r, c, p, false, 17);
		p->request = false;
		ipv4(r, c, p, 17, 0, 0);
		n = 1 + rnd_below(r, 4);
		for (i = 0; i < n; i++) {
			h = front(p, 4);
			h[1] = (uint8_t)rnd_below(r, 3);
			h[2] = (uint8_t)(rnd_below(r, 3) << 4 | (i == 0));
			h[3] = 64;
		}
		return chance(r, 90) ? 0x8847 : 0x8848;
	case CONN_802_3:
		if (chance(r, 50)) {
			transport(r, c, p, false, 17);
			ipv4(r, c, p, 17, 0, 0);
			h = front(p, 8);
			memcpy(h, "\xaa\xaa\3\0\0\0\10\0", 8);
		}
		return (uint16_t)(p->len < 0x600 ? p->len : 100);
	default:
		return 0x88b5;
	}
}

/* A byte that is wrong, a length that lies, an end that is missing. */
static void break_packet(struct rnd *r, struct ref_packet *p)
{
	uint8_t *b = p->bytes + p->start;
	uint32_t n;

	switch (rnd_below(r, 4)) {
	case 0:
		p->len = rnd_below(r, p->len + 1);
		break;
	case 1:
		n = 8 + rnd_below(r, 14);
		p->len = p->len < n ? p->len : n;
		break;
	default:
		n = 12 + rnd_below(r, 60);
		if (n < p->len)
			b[n] = (uint8_t)rnd_below(r, 255); /* 0xff could make a checksum that equals another */
	}
}

/* Outer headers in front of what is there. */
static void wrap(struct rnd *r, const struct flow_conn *c, struct ref_packet *p)
{
	struct flow_conn o = *c;
	uint32_t n = rnd_below(r, 100);
	bool csum = !p->request && n < 40;
	uint8_t *h;

	o.dialogue = NULL;
	memset(o.ip_src, 0, sizeof(o.ip_src));
	memset(o.ip_dst, 0, sizeof(o.ip_dst));
	o.ip_src[0] = o.ip_dst[0] = o.outer_ipv6 ? 0xfd : 0;
	o.ip_src[12] = o.ip_dst[12] = 172;
	o.ip_src[15] = (uint8_t)(10 + c->remote);
	o.ip_dst[15] = 1;
	if (c->outer == OUTER_GRE) {
		uint32_t words = 1 + (csum ? 1 : 0) + (c->option != 0 ? 1 : 0);

		h = front(p, words * 4);
		h[0] = (uint8_t)((csum ? 0x80 : 0) | (c->option != 0 ? 0x20 : 0));
		put16(h + 2, 0x6558);
		if (c->option != 0)
			put16(h + words * 4 - 2, c->vni);
		if (csum)
			put16(h + 4, n < 5 ? n : (uint16_t)~ref_sum(h, p->len, 0));
	} else {
		if (c->outer == OUTER_GENEVE) {
			uint32_t options = c->option != 0 ? 8 : 0;

			h = front(p, 8 + options);
			h[0] = (uint8_t)(options / 4);
			h[1] = (uint8_t)(chance(r, 1) << 7);
			put16(h + 2, 0x6558);
			if (options > 0)
				memcpy(h + 8, (uint8_t[]){1, 2, 3, chance(r, 2) ? 2 : 1, 0, 0, 0, c->option}, 8);
		} else {
			h = front(p, 8);
			h[0] = (uint8_t)(chance(r, 99) << 3 | (c->option != 0) << 7);
			put16(h + 2, c->option);
		}
		put16(h + 5, c->vni);
		h = front(p, 8);
		put16(h, chance(r, 95) ? c->entropy : 0xc000 + rnd_below(r, 1000));
		put16(h + 2, c->outer == OUTER_VXLAN ? 4789 : 6081);
		put16(h + 4, p->len);
		if (csum)
			finish_l4(r, &o, p, o.outer_ipv6, 17, 6);
	}
	n = c->outer == OUTER_GRE ? 47 : 17;
	if (o.outer_ipv6)
		ipv6(r, &o, p, (uint8_t)n);
	else
		ipv4(r, &o, p, (uint8_t)n, 0, 0);
	if (chance(r, 97)) { /* else any TTL and TOS */
		h = p->bytes + p->start;
		if (o.outer_ipv6) {
			put16(h, 0x6000);
			h[7] = c->ttl;
		} else {
			h[1] = 0;
			h[8] = c->ttl;
			put16(h + 10, 0);
			put16(h + 10, (uint16_t)~ref_sum(h, 20, 0));
		}
	}
	h = front(p, 14);
	memcpy(h, c->src, 6);
	memcpy(h + 6, c->dst, 6);
	put16(h + 12, o.outer_ipv6 ? 0x86dd : 0x0800);
	if (c->outer_tag) {
		h = front(p, 4);
		memmove(h, h + 4, 12);
		put16(h + 12, 0x8100);
		put16(h + 14, 7);
	}
}

void flow_conn_packet(struct rnd *r, const struct flow_conn *c, struct ref_packet *p)
{
	bool tunnel = c->kind == CONN_TUNNEL;
	enum flow_conn_kind kind = tunnel ? c->inner : c->kind;
	uint16_t type;
	uint8_t *h;
	int i;

	if (kind == CONN_BROKEN)
		kind = (enum flow_conn_kind)rnd_below(r, CONN_BROKEN);
	if (kind == CONN_TUNNEL) {
		tunnel = true;
		kind = CONN_UDP4;
	}
	type = build_l3(r, c, kind, p);
	h = front(p, 2);
	put16(h, type);
	for (i = c->tags - 1; i >= 0; i--) {
		h = front(p, 4);
		put16(h, c->tpid[i]);
		put16(h + 2, c->tci[i]);
	}
	h = front(p, 12);
	memcpy(h, c->dst, 6);
	memcpy(h + 6, c->src, 6);
	if (p->len < 60 && chance(r, 50)) { /* padding */
		memset(p->bytes + p->start + p->len, 0, 60 - p->len);
		p->len = 60;
	}
	if (tunnel)
		wrap(r, c, p);
	if (c->kind == CONN_BROKEN)
		break_packet(r, p);
	/* A request for something else than the transport checksum. */
	if (chance(r, 1) && p->len > 40) {
		p->request = true;
		p->csum_start = (uint16_t)rnd_below(r, p->len - 2);
		/* Not odd: what an outer checksum would have to be then is nobody's business. */
		p->csum_offset = (uint16_t)(rnd_below(r, p->len - 2 - p->csum_start + 1) & ~1u);
	}
	/* Inputs see to it that it lies within the packet. */
	if (p->request && (uint32_t)p->csum_start + p->csum_offset + 2 > p->len)
		p->request = false;
}

static void exchange(uint8_t *a, uint8_t *b, uint32_t n)
{
	uint8_t keep[16];

	memcpy(keep, a, n);
	memcpy(a, b, n);
	memcpy(b, keep, n);
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

bool flow_answer(const uint8_t *bytes, uint32_t len, struct ref_packet *p)
{
	bool ipv6 = len > 14 && bytes[12] == 0x86 && bytes[13] == 0xdd;
	uint32_t l4 = ipv6 ? 54 : 34, end, seq, n;
	uint8_t *b = p->bytes + REF_FRONT, flags;

	if (len < l4 + 20 || (!ipv6 && memcmp(bytes + 12, "\x08\0\x45", 3) != 0))
		return false;
	p->start = REF_FRONT;
	p->len = len;
	p->request = false;
	memcpy(b, bytes, len);
	exchange(b, b + 6, 6);
	exchange(b + (ipv6 ? 22 : 26), b + (ipv6 ? 38 : 30), ipv6 ? 16 : 4);
	n = b[ipv6 ? 20 : 23];
	if (n != 6 && n != 17)
		return false;
	exchange(b + l4, b + l4 + 2, 2);
	if (n == 17)
		return true;
	end = ipv6 ? l4 + (uint32_t)(b[18] << 8 | b[19]) : 14 + (uint32_t)(b[16] << 8 | b[17]);
	if (end > len || end < l4 + (b[l4 + 12] >> 4) * 4u)
		return false;
	flags = b[l4 + 13];
	n = end - l4 - (b[l4 + 12] >> 4) * 4u + ((flags & (SYN | FIN)) != 0);
	seq = (flags & SYN) && !(flags & ACK) ? 0x10000000 : get32(b + l4 + 8);
	n += get32(b + l4 + 4);
	put16(b + l4 + 4, seq >> 16);
	put16(b + l4 + 6, seq);
	put16(b + l4 + 8, n >> 16);
	put16(b + l4 + 10, n);
	b[l4 + 13] = (uint8_t)((flags & (SYN | FIN)) | ACK);
	put16(b + l4 + 16, 0);
	n = ref_sum(b + (ipv6 ? 22 : 26), ipv6 ? 32 : 8, 6 + end - l4);
	put16(b + l4 + 16, (uint16_t)~ref_sum(b + l4, end - l4, n));
	return true;
}
