/* SPDX-License-Identifier: Apache-2.0 */
#include "ct_frame.h"

#include <string.h>

#include "net/checksum.h"

#define ETH_LEN 14

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

static bool is_icmp(const struct ct_frame *f)
{
	return f->proto == (f->ipv6 ? 58 : 1);
}

struct ct_frame ct_frame_reply(const struct ct_frame *f)
{
	struct ct_frame r = *f;

	r.src = f->dst;
	r.dst = f->src;
	r.sport = f->dport;
	r.dport = f->sport;
	if (is_icmp(f))
		r.type = f->ipv6 ? f->type ^ 1 : f->type ^ 8;
	return r;
}

/* An IP packet; its length. */
static unsigned int build(uint8_t *ip, const struct ct_frame *f)
{
	unsigned int ip_len = f->ipv6 ? 40 : 20, l4_len = 0, csum_at = 0;
	uint8_t *l4 = ip + ip_len;
	uint16_t sum;

	memset(ip, 0, ip_len + 20);
	if (is_icmp(f)) {
		l4[0] = f->type;
		l4[1] = f->code;
		put16(l4 + 4, f->id);
		csum_at = 2;
		l4_len = 8;
		if (f->inner != NULL)
			l4_len += build(l4 + 8, f->inner);
	} else if (f->proto == 6) {
		put16(l4, f->sport);
		put16(l4 + 2, f->dport);
		put32(l4 + 4, f->seq);
		put32(l4 + 8, f->ack);
		l4[12] = 0x50;
		l4[13] = f->flags;
		put16(l4 + 14, f->win ? f->win : 8000);
		csum_at = 16;
		l4_len = 20;
	} else if (f->proto == 17) {
		put16(l4, f->sport);
		put16(l4 + 2, f->dport);
		put16(l4 + 4, 8u + f->payload);
		csum_at = 6;
		l4_len = 8;
	}
	memset(l4 + l4_len, 0, f->payload);
	l4_len += f->payload;
	if (f->ipv6) {
		ip[0] = 0x60;
		put16(ip + 4, l4_len);
		ip[6] = f->proto;
		ip[7] = 64;
		ip[8] = ip[24] = 0xfd;
		put32(ip + 20, f->src);
		put32(ip + 36, f->dst);
		sum = xv_csum_pseudo6(ip + 8, ip + 24, f->proto, l4_len);
	} else {
		ip[0] = 0x45;
		put16(ip + 2, ip_len + l4_len);
		ip[8] = 64;
		ip[9] = f->proto;
		put32(ip + 12, f->src);
		put32(ip + 16, f->dst);
		sum = (uint16_t)~xv_csum_sum(ip, ip_len);
		memcpy(ip + 10, &sum, 2);
		sum = f->proto == 1 ? 0 : xv_csum_pseudo4(ip + 12, ip + 16, f->proto, l4_len);
	}
	if (csum_at != 0) {
		sum = xv_csum_finish(xv_csum_add(sum, xv_csum_sum(l4, l4_len)));
		memcpy(l4 + csum_at, &sum, 2);
	}
	return ip_len + l4_len;
}

void ct_packet_make(struct ct_packet *p, const struct ct_frame *f, uint32_t in_port)
{
	unsigned int len;

	memset(p->bytes, 2, 12);
	put16(p->bytes + 12, f->ipv6 ? 0x86dd : 0x0800);
	len = ETH_LEN + build(p->bytes + ETH_LEN, f);
	memset(&p->m, 0, sizeof(p->m));
	p->m.buf_addr = p->bytes;
	p->m.buf_len = sizeof(p->bytes);
	p->m.nb_segs = 1;
	p->m.refcnt = 1;
	p->m.data_len = (uint16_t)len;
	p->m.pkt_len = len;
	memset(&p->key, 0, offsetof(struct xv_flow_key, tun_options));
	memset(&p->hit, 0, sizeof(p->hit));
	p->key.in_port = in_port;
	(void)xv_flow_extract(p->bytes, (uint16_t)len, len, &p->key, &p->layout);
}

static union xv_ip_addr address(const struct ct_frame *f, uint32_t a)
{
	union xv_ip_addr addr = {.words = {0}};

	if (f->ipv6)
		addr.bytes[0] = 0xfd;
	addr.words[3] = rte_cpu_to_be_32(a);
	return addr;
}

struct xv_ct_tuple ct_frame_tuple(const struct ct_frame *f, uint16_t zone)
{
	struct xv_ct_tuple t = {.src = address(f, f->src), .dst = address(f, f->dst), .proto = f->proto, .ipv6 = f->ipv6,
				.zone = zone};

	if (is_icmp(f)) {
		t.src_port = rte_cpu_to_be_16(f->id);
		t.dst_port = rte_cpu_to_be_16((uint16_t)(f->type << 8 | f->code));
	} else {
		t.src_port = rte_cpu_to_be_16(f->sport);
		t.dst_port = rte_cpu_to_be_16(f->dport);
	}
	return t;
}

int ct_send(struct xv_conntrack *ct, const struct ct_frame *f, uint16_t zone, uint8_t flags, uint32_t now_ms)
{
	const struct xv_action_ct action = {.zone = zone, .flags = flags};
	struct ct_packet p;
	int rc;

	ct_packet_make(&p, f, 1);
	rc = xv_conntrack_packet(ct, &action, &p.m, &p.key, &p.layout, now_ms, &p.hit);
	return rc != 0 ? rc : (int)p.key.ct_state;
}
