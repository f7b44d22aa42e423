/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Segmentation and checksums against a model that works on flat bytes, one field and one byte at a
 * time, and shares no code with what it judges.
 */
#include "unit.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <rte_mbuf.h>

#include "fastpath/offload.h"

#define POOL_SIZE 2047
#define MODEL_MAX 1500

static struct rte_mempool *pool;
static uint64_t seed = 1;

struct bytes {
	uint32_t len;
	uint8_t data[66000];
};

/* What a frame is made of. */
struct shape {
	unsigned int vlans;
	bool v6, udp;
	unsigned int l3_extra; /* IPv4 options or IPv6 hop-by-hop header, bytes */
	unsigned int l4_extra; /* TCP options */
	uint8_t tcp_flags;
	uint16_t ip_id, ip_frag;
	uint32_t seq, payload;
};

static void put16(uint8_t *p, unsigned int v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static unsigned int get16(const uint8_t *p)
{
	return (unsigned int)p[0] << 8 | p[1];
}

static void put32(uint8_t *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, v & 0xffff);
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static uint32_t sum_bytes(uint32_t sum, const uint8_t *p, uint32_t len)
{
	uint32_t i;

	for (i = 0; i < len; i++) {
		sum += i % 2 ? p[i] : (uint32_t)p[i] << 8;
		sum = (sum & 0xffff) + (sum >> 16);
	}
	return sum;
}

static unsigned int l3_of(const struct shape *s)
{
	return 14 + 4 * s->vlans;
}

static unsigned int l4_of(const struct shape *s)
{
	return l3_of(s) + (s->v6 ? 40 : 20) + s->l3_extra;
}

static unsigned int l4_len_of(const struct shape *s)
{
	return s->udp ? 8 : 20 + s->l4_extra;
}

static uint32_t pseudo_sum(const struct shape *s, const uint8_t *frame, uint32_t l4_len)
{
	uint8_t p[40] = {0};
	const uint8_t *ip = frame + l3_of(s);

	if (s->v6) {
		memcpy(p, ip + 8, 32);
		put32(p + 32, l4_len);
		p[39] = s->udp ? 17 : 6;
		return sum_bytes(0, p, 40);
	}
	memcpy(p, ip + 12, 8);
	p[9] = s->udp ? 17 : 6;
	put16(p + 10, l4_len);
	return sum_bytes(0, p, 12);
}

static unsigned int finished(uint32_t sum)
{
	return (sum ^ 0xffff) ? sum ^ 0xffff : 0xffff;
}

/* A frame as a guest gives it: pseudo-header sum in the checksum field. */
static void build(const struct shape *s, struct bytes *f)
{
	unsigned int l3 = l3_of(s), l4 = l4_of(s), i;
	uint8_t *p = f->data, *ip = p + l3, *th = p + l4;

	f->len = l4 + l4_len_of(s) + s->payload;
	for (i = 0; i < f->len; i++)
		p[i] = (uint8_t)unit_random(&seed, 256);
	p[0] &= 0xfe;
	for (i = 0; i < s->vlans; i++)
		put16(p + 12 + 4 * i, i ? 0x8100 : 0x88a8);
	put16(p + 12 + 4 * i, s->v6 ? 0x86dd : 0x0800);
	if (s->v6) {
		ip[0] = 0x60;
		put16(ip + 4, f->len - l3 - 40);
		ip[6] = s->udp ? 17 : 6;
		if (s->l3_extra) {
			ip[40] = ip[6];
			ip[41] = (uint8_t)(s->l3_extra / 8 - 1);
			ip[6] = 0;
		}
	} else {
		ip[0] = (uint8_t)(0x45 + s->l3_extra / 4);
		put16(ip + 2, f->len - l3);
		put16(ip + 4, s->ip_id);
		put16(ip + 6, s->ip_frag);
		ip[9] = s->udp ? 17 : 6;
		put16(ip + 10, 0);
		put16(ip + 10, sum_bytes(0, ip, l4 - l3) ^ 0xffff);
	}
	if (s->udp) {
		put16(th + 4, f->len - l4);
		put16(th + 6, pseudo_sum(s, p, f->len - l4));
	} else {
		put32(th + 4, s->seq);
		th[12] = (uint8_t)((20 + s->l4_extra) / 4 << 4);
		th[13] = s->tcp_flags;
		put16(th + 16, pseudo_sum(s, p, f->len - l4));
	}
}

static void fix_ipv4(const struct shape *s, struct bytes *f)
{
	uint8_t *ip = f->data + l3_of(s);

	put16(ip + 2, f->len - l3_of(s));
	put16(ip + 10, 0);
	put16(ip + 10, sum_bytes(0, ip, (ip[0] & 15) * 4u) ^ 0xffff);
}

/* Segment i of n. */
static void model_tcp(const struct shape *s, const struct bytes *f, uint32_t gso_size,
		      bool leave_csum, uint32_t i, uint32_t n, struct bytes *out)
{
	unsigned int l3 = l3_of(s), l4 = l4_of(s), headers = l4 + l4_len_of(s);
	uint32_t start = i * gso_size, k;
	uint8_t *ip = out->data + l3, *th = out->data + l4;

	memcpy(out->data, f->data, headers);
	out->len = headers;
	for (k = start; k < s->payload && k < start + gso_size; k++)
		out->data[out->len++] = f->data[headers + k];
	if (s->v6) {
		put16(ip + 4, out->len - l3 - 40);
	} else {
		put16(ip + 4, (s->ip_id + i) & 0xffff);
		fix_ipv4(s, out);
	}
	put32(th + 4, s->seq + start);
	if (i != 0)
		th[13] &= (uint8_t)~0x80;
	if (i != n - 1)
		th[13] &= (uint8_t)~0x09;
	put16(th + 16, 0);
	k = pseudo_sum(s, f->data, out->len - l4);
	put16(th + 16, leave_csum ? k : finished(sum_bytes(k, th, out->len - l4)));
}

static void model_udp(const struct shape *s, const struct bytes *f, uint32_t gso_size, bool csum,
		      uint32_t id, uint32_t i, uint32_t n, struct bytes *out)
{
	unsigned int l3 = l3_of(s), l4 = l4_of(s);
	static struct bytes whole;
	uint32_t size = gso_size / 8 * 8, k;
	uint8_t *ip = out->data + l3, *udp = whole.data + l4;

	whole = *f;
	if (csum) {
		put16(udp + 6, 0);
		put16(udp + 6,
		      finished(sum_bytes(pseudo_sum(s, f->data, f->len - l4), udp, f->len - l4)));
	}
	memcpy(out->data, whole.data, l4);
	out->len = l4;
	if (s->v6 && n > 1) {
		ip[6] = 44;
		put32(out->data + l4, 17u << 24 | i * size | (i < n - 1));
		put32(out->data + l4 + 4, id);
		out->len += 8;
	}
	for (k = i * size; k < f->len - l4 && k < (i + 1) * size; k++)
		out->data[out->len++] = whole.data[l4 + k];
	if (s->v6) {
		put16(ip + 4, out->len - l3 - 40);
	} else {
		if (n > 1) {
			put16(ip + 4, id);
			put16(ip + 6, i * size / 8 + (i < n - 1 ? 0x2000 : 0));
		}
		fix_ipv4(s, out);
	}
}

static struct rte_mbuf *packet(const struct bytes *f, const struct xv_offload *req,
			       const uint16_t *cuts)
{
	struct rte_mbuf *m = unit_packet(pool, f->data, f->len, cuts);

	m->port = 77;
	m->hash.rss = 0x12345678;
	*xv_packet_offload(m) = *req;
	m->ol_flags |= XV_PACKET_OFFLOAD;
	return m;
}

static void assert_packet(const struct rte_mbuf *m, const struct bytes *want)
{
	static uint8_t flat[66000];
	const uint8_t *p;

	rte_mbuf_sanity_check(m, 1);
	assert_int_equal(rte_mbuf_refcnt_read(m), 1);
	assert_int_equal(m->port, 77);
	assert_int_equal(m->hash.rss, 0x12345678);
	assert_int_equal(m->pkt_len, want->len);
	p = rte_pktmbuf_read(m, 0, m->pkt_len, flat);
	assert_non_null(p);
	assert_memory_equal(p, want->data, want->len);
}

/* Ascending cuts, many in the headers, odd ones too. */
static const uint16_t *random_cuts(uint32_t len)
{
	static uint16_t cuts[64];
	uint32_t at = 0;
	unsigned int i;

	if (unit_random(&seed, 3) == 0)
		return NULL;
	for (i = 0; i < 63; i++) {
		at += 1 + unit_random(&seed, i < 8 ? 40 : len / 20 + 1);
		if (at >= len)
			break;
		cuts[i] = (uint16_t)at;
	}
	cuts[i] = 0;
	return cuts;
}

static struct xv_offload request_of(const struct shape *s, uint8_t gso_type, uint16_t gso_size)
{
	return (struct xv_offload){
		.flags = XV_OFFLOAD_CSUM,
		.gso_type = gso_type,
		.gso_size = gso_size,
		.csum_start = (uint16_t)l4_of(s),
		.csum_offset = s->udp ? 6 : 16,
	};
}

static void check_segments(const struct shape *s, const struct bytes *f,
			   const struct xv_offload *req, uint32_t caps, struct rte_mbuf **out,
			   int got)
{
	static struct bytes want;
	uint32_t l4 = l4_of(s), size, total, id, i, n;
	const bool leave = !s->udp && (caps & XV_CAP_CSUM);
	const struct xv_offload *left;
	const uint8_t *first;

	size = s->udp ? req->gso_size / 8 * 8 : req->gso_size;
	total = s->udp ? f->len - l4 : s->payload;
	n = total ? (total + size - 1) / size : 1;
	assert_int_equal(got, n);
	/* An id that was made up is the same in all fragments. */
	first = rte_pktmbuf_mtod(out[0], const uint8_t *);
	id = s->v6 ? get32(first + l4 + 4) : s->ip_id ? s->ip_id : get16(first + l3_of(s) + 4);
	if (s->udp && n > 1)
		assert_true(id != 0);
	for (i = 0; i < n; i++) {
		if (s->udp)
			model_udp(s, f, req->gso_size, req->flags & XV_OFFLOAD_CSUM, id, i, n,
				  &want);
		else
			model_tcp(s, f, req->gso_size, leave, i, n, &want);
		assert_packet(out[i], &want);
		assert_false(xv_offload_needed(out[i], caps));
		assert_int_equal(!!(out[i]->ol_flags & XV_PACKET_OFFLOAD), leave);
		if (leave) {
			left = xv_packet_offload(out[i]);
			assert_int_equal(left->flags, XV_OFFLOAD_CSUM);
			assert_int_equal(left->gso_type, XV_GSO_NONE);
			assert_int_equal(left->csum_start, l4);
			assert_int_equal(left->csum_offset, 16);
		}
	}
}

/* Run one packet through, compare, free; with a second reference or clone of it that must not
 * change. */
static void run(const struct shape *s, uint8_t gso_type, uint16_t gso_size, uint8_t req_flags,
		uint32_t caps)
{
	static struct rte_mbuf *out[MODEL_MAX];
	static struct bytes f;
	struct xv_offload req = request_of(s, gso_type, gso_size);
	unsigned int sharing = unit_random(&seed, 4), before = rte_mempool_avail_count(pool);
	struct rte_mbuf *m, *clone = NULL;
	int n;

	req.flags = req_flags;
	build(s, &f);
	m = packet(&f, &req, random_cuts(f.len));
	if (sharing == 1) {
		rte_pktmbuf_refcnt_update(m, 1);
	} else if (sharing == 2) {
		clone = rte_pktmbuf_clone(m, pool);
		assert_non_null(clone);
	}
	assert_true(xv_offload_needed(m, caps));
	n = xv_offload_finish(m, caps, pool, out, MODEL_MAX);
	assert_true(n > 0);
	check_segments(s, &f, &req, caps, out, n);
	rte_pktmbuf_free_bulk(out, (unsigned int)n);
	if (sharing == 1) {
		assert_true(m->ol_flags & XV_PACKET_OFFLOAD);
		assert_packet(m, &f);
		rte_pktmbuf_free(m);
	} else if (sharing == 2) {
		clone->port = 77;
		assert_packet(clone, &f);
		rte_pktmbuf_free(clone);
	}
	assert_int_equal(rte_mempool_avail_count(pool), before);
}

static void tcp_random(void **state)
{
	unsigned int i;

	for (i = 0; i < 1500; i++) {
		struct shape s = {
			.vlans = unit_random(&seed, 4) ? unit_random(&seed, 2)
						       : unit_random(&seed, 5),
			.v6 = i % 2,
			.l4_extra = 4 * unit_random(&seed, 11),
			.tcp_flags = (uint8_t)unit_random(&seed, 256),
			.ip_id = (uint16_t)unit_random(&seed, 65536),
			.ip_frag = unit_random(&seed, 2) ? 0x4000 : 0,
			.seq = unit_random(&seed, UINT32_MAX),
			.payload = unit_random(&seed, i % 8 ? 5000 : 65000),
		};
		uint32_t caps = unit_random(&seed, 2) ? XV_CAP_CSUM : XV_CAP_UFO;
		uint16_t size =
			(uint16_t)(XV_GSO_MIN_SIZE + unit_random(&seed, i % 5 ? 1500 : 9000));

		if (unit_random(&seed, 4) == 0)
			s.l3_extra = s.v6 ? 8 * (1 + unit_random(&seed, 4))
					  : 4 * (1 + unit_random(&seed, 10));
		run(&s,
		    (s.v6 ? XV_GSO_TCPV6 : XV_GSO_TCPV4) | (unit_random(&seed, 2) ? XV_GSO_ECN : 0),
		    size, unit_random(&seed, 8) ? XV_OFFLOAD_CSUM : 0, caps);
	}
}

static void tcp_edges(void **state)
{
	/* payload, gso_size */
	static const uint32_t edges[][2] = {
		{0, 1448},     {1, 1448},      {1447, 1448},  {1448, 1448},   {1449, 1448},
		{2896, 1448},  {2897, 1448},   {65483, 1448}, {65483, 65535}, {65483, 48},
		{65483, 1994}, {65483, 1995},  {65483, 1996}, {65483, 4042},  {48, 48},
		{65483, 8948}, {65482, 65482},
	};
	unsigned int i, v6;

	for (i = 0; i < sizeof(edges) / sizeof(edges[0]); i++) {
		for (v6 = 0; v6 < 2; v6++) {
			struct shape s = {
				.v6 = v6,
				.tcp_flags = 0xff,
				.ip_id = 0xfffe,
				.seq = 0xfffffff0,
				.l4_extra = 12,
				.payload = edges[i][0],
			};

			run(&s, v6 ? XV_GSO_TCPV6 : XV_GSO_TCPV4, (uint16_t)edges[i][1],
			    XV_OFFLOAD_CSUM, 0);
		}
	}
}

static void udp_random(void **state)
{
	unsigned int i;

	for (i = 0; i < 1000; i++) {
		struct shape s = {
			.vlans = unit_random(&seed, 3),
			.udp = true,
			.v6 = i % 2,
			.ip_id = (uint16_t)(unit_random(&seed, 3) ? unit_random(&seed, 65536) : 0),
			.payload = unit_random(&seed, i % 8 ? 5000 : 65000),
		};
		uint16_t size =
			(uint16_t)(XV_GSO_MIN_SIZE + unit_random(&seed, i % 5 ? 1500 : 9000));

		run(&s, XV_GSO_UDP, size, unit_random(&seed, 4) ? XV_OFFLOAD_CSUM : 0,
		    unit_random(&seed, 2) ? XV_CAP_CSUM : 0);
	}
	for (i = 0; i < 2; i++) {
		struct shape s = {.udp = true, .v6 = i, .payload = 65507 - 8 * i};

		run(&s, XV_GSO_UDP, 65535, XV_OFFLOAD_CSUM, 0);
		s.payload = 65507;
		run(&s, XV_GSO_UDP, 65528, XV_OFFLOAD_CSUM, 0);
		if (s.v6) {
			s.payload = 65527;
			/* A fragment header on top of 65,528 bytes would not fit: smaller ones. */
			struct xv_offload req = request_of(&s, XV_GSO_UDP, 65528);
			static struct bytes f;
			struct rte_mbuf *out[4], *m;

			build(&s, &f);
			m = packet(&f, &req, NULL);
			assert_int_equal(xv_offload_finish(m, 0, pool, out, 4), 2);
			assert_int_equal(out[0]->pkt_len, 14 + 40 + 8 + 65520);
			assert_int_equal(out[1]->pkt_len, 14 + 40 + 8 + 15);
			rte_pktmbuf_free_bulk(out, 2);
		}
	}
}

/* One checksum, anywhere in the frame, against Linux's skb_checksum_help() in slow motion. */
static void csum_random(void **state)
{
	static struct bytes f, before;
	struct rte_mbuf *m, *out[1], *clone;
	unsigned int i, avail;
	unsigned int sharing; /* 1: counted, 2: has a clone, 3: is a clone; else not */
	struct xv_offload req;

	for (i = 0; i < 3000; i++) {
		uint32_t k, field;

		avail = rte_mempool_avail_count(pool);
		sharing = unit_random(&seed, 5);
		f.len = 60 + unit_random(&seed, 3000);
		for (k = 0; k < f.len; k++)
			f.data[k] = (uint8_t)(i % 3 ? unit_random(&seed, 256) : 0xff * (i % 2));
		req = (struct xv_offload){.flags = XV_OFFLOAD_CSUM};
		req.csum_start = (uint16_t)unit_random(&seed, f.len - 1);
		req.csum_offset = (uint16_t)unit_random(&seed, f.len - req.csum_start - 1);
		m = packet(&f, &req, random_cuts(f.len));
		before = f;
		field = (uint32_t)req.csum_start + req.csum_offset;
		put16(f.data + field,
		      finished(sum_bytes(0, f.data + req.csum_start, f.len - req.csum_start)));
		clone = NULL;
		if (sharing == 1) {
			rte_pktmbuf_refcnt_update(m, 1);
		} else if (sharing == 2 || sharing == 3) {
			clone = rte_pktmbuf_clone(m, pool);
			assert_non_null(clone);
			*xv_packet_offload(clone) = req;
		}
		if (sharing == 3) { /* the reference is finished, what it refers to stays */
			struct rte_mbuf *original = m;

			m = clone;
			clone = original;
		}
		assert_true(xv_offload_needed(m, 0));
		assert_int_equal(xv_offload_finish(m, 0, pool, out, 1), 1);
		assert_packet(out[0], &f);
		assert_false(out[0]->ol_flags & XV_PACKET_OFFLOAD);
		if (sharing == 0 || sharing == 4)
			assert_ptr_equal(out[0], m);
		rte_pktmbuf_free(out[0]);
		if (sharing == 1) {
			assert_true(m->ol_flags & XV_PACKET_OFFLOAD);
			assert_packet(m, &before);
			rte_pktmbuf_free(m);
		} else if (clone) {
			clone->port = 77;
			assert_packet(clone, &before);
			rte_pktmbuf_free(clone);
		}
		assert_int_equal(rte_mempool_avail_count(pool), avail);
	}
}

static void needed(void **state)
{
	static const struct {
		uint8_t flags, gso_type;
		uint32_t caps;
		bool needed;
	} cases[] = {
		{0, XV_GSO_NONE, 0, false},
		{XV_OFFLOAD_CSUM_VALID, XV_GSO_NONE, 0, false},
		{XV_OFFLOAD_CSUM, XV_GSO_NONE, 0, true},
		{XV_OFFLOAD_CSUM, XV_GSO_NONE, XV_CAP_CSUM, false},
		{XV_OFFLOAD_CSUM, XV_GSO_TCPV4, XV_CAP_CSUM, true},
		{XV_OFFLOAD_CSUM, XV_GSO_TCPV4, XV_CAP_CSUM | XV_CAP_TSO6 | XV_CAP_UFO, true},
		{XV_OFFLOAD_CSUM, XV_GSO_TCPV4, XV_CAP_CSUM | XV_CAP_TSO4, false},
		{XV_OFFLOAD_CSUM, XV_GSO_TCPV4, XV_CAP_TSO4, true},
		{0, XV_GSO_TCPV6, XV_CAP_CSUM | XV_CAP_TSO6, false},
		{XV_OFFLOAD_CSUM, XV_GSO_TCPV6 | XV_GSO_ECN, XV_CAP_CSUM | XV_CAP_TSO6, true},
		{XV_OFFLOAD_CSUM, XV_GSO_TCPV6 | XV_GSO_ECN, XV_CAP_CSUM | XV_CAP_TSO6 | XV_CAP_ECN,
		 false},
		{XV_OFFLOAD_CSUM, XV_GSO_UDP, XV_CAP_CSUM, true},
		{XV_OFFLOAD_CSUM, XV_GSO_UDP, XV_CAP_CSUM | XV_CAP_UFO, false},
		{XV_OFFLOAD_CSUM, XV_GSO_UDP_L4, 0x1f, true},
		{XV_OFFLOAD_CSUM, XV_GSO_ECN, 0x1f, true},
	};
	struct shape s = {.payload = 100};
	struct rte_mbuf *m, *out[1];
	static struct bytes f;
	unsigned int i;

	build(&s, &f);
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct xv_offload req = request_of(&s, cases[i].gso_type, 1448);

		req.flags = cases[i].flags;
		m = packet(&f, &req, NULL);
		assert_int_equal(xv_offload_needed(m, cases[i].caps), cases[i].needed);
		if (!cases[i].needed) {
			assert_int_equal(xv_offload_finish(m, cases[i].caps, pool, out, 1), 1);
			assert_ptr_equal(out[0], m);
		}
		m->ol_flags = 0;
		assert_false(xv_offload_needed(m, 0));
		rte_pktmbuf_free(m);
	}
}

/* Refused: nothing changes, nothing leaks. */
static void refuse(const struct bytes *f, const struct xv_offload *req, unsigned int max, int rc)
{
	static struct rte_mbuf *out[MODEL_MAX];
	struct rte_mbuf *m = packet(f, req, random_cuts(f->len));
	unsigned int avail = rte_mempool_avail_count(pool);

	assert_int_equal(xv_offload_finish(m, 0, pool, out, max), rc);
	assert_int_equal(rte_mempool_avail_count(pool), avail);
	assert_true(m->ol_flags & XV_PACKET_OFFLOAD);
	assert_memory_equal(xv_packet_offload(m), req, sizeof(*req));
	assert_packet(m, f);
	rte_pktmbuf_free(m);
}

static void hostile(void **state)
{
	struct shape tcp = {.payload = 3000}, udp = {.udp = true, .payload = 3000};
	static struct bytes f;
	struct xv_offload req;
	unsigned int i;

	build(&tcp, &f);
	req = request_of(&tcp, XV_GSO_TCPV4, 0);
	refuse(&f, &req, 1400, -EPROTO);
	req.gso_size = XV_GSO_MIN_SIZE - 1;
	refuse(&f, &req, 1400, -EPROTO);
	req.gso_size = 1000;
	refuse(&f, &req, 2, -E2BIG);
	refuse(&f, &req, 0, -E2BIG);
	for (i = 0; i < 256; i++) {
		if ((i & 0x7f) == XV_GSO_TCPV4 || i == XV_GSO_NONE)
			continue;
		req.gso_type = (uint8_t)i;
		refuse(&f, &req, 1400, -EPROTO);
	}
	req.gso_type = XV_GSO_TCPV4;
	req.csum_start++;
	refuse(&f, &req, 1400, -EPROTO);
	req.csum_start--;
	req.csum_offset = 6;
	refuse(&f, &req, 1400, -EPROTO);
	req.csum_offset = 16;
	/* Everything cut off at every length: segments or an error, never a crash. */
	for (i = 1; i < 70; i++) {
		f.len = i;
		if (i < 54)
			refuse(&f, &req, 1400, -EPROTO);
	}
	f.len = 3054;
	put16(f.data + 20, 0x2000); /* a fragment */
	refuse(&f, &req, 1400, -EPROTO);
	put16(f.data + 20, 0x0001);
	refuse(&f, &req, 1400, -EPROTO);
	put16(f.data + 20, 0);
	f.data[46] = 0x40; /* data offset */
	refuse(&f, &req, 1400, -EPROTO);
	f.data[46] = 0x50;
	f.data[14] = 0x44; /* IHL */
	refuse(&f, &req, 1400, -EPROTO);
	/* More than an IP header can say. */
	build(&tcp, &f);
	f.len = 14 + 65536;
	refuse(&f, &req, 1400, -EPROTO);
	f.len = 14 + 65536 + 100;
	refuse(&f, &req, 1400, -EPROTO);
	/* VLAN tags without end. */
	for (i = 12; i < 200; i += 4)
		put32(f.data + i, 0x81000001);
	refuse(&f, &req, 1400, -EPROTO);

	build(&udp, &f);
	req = request_of(&udp, XV_GSO_UDP, 1000);
	put16(f.data + 38, 3009); /* UDP length */
	refuse(&f, &req, 1400, -EPROTO);
	put16(f.data + 38, 3007);
	refuse(&f, &req, 1400, -EPROTO);
	put16(f.data + 38, 3008);
	req.gso_type = XV_GSO_TCPV4;
	refuse(&f, &req, 1400, -EPROTO);
	req.flags = 0;
	refuse(&f, &req, 1400, -EPROTO);
	udp.l3_extra = 8;
	build(&udp, &f);
	req = request_of(&udp, XV_GSO_UDP, 1000);
	refuse(&f, &req, 1400, -EPROTO);
	udp.v6 = true;
	build(&udp, &f);
	req = request_of(&udp, XV_GSO_UDP, 1000);
	refuse(&f, &req, 1400, -EPROTO);

	/* A checksum field beyond the packet. */
	req = (struct xv_offload){.flags = XV_OFFLOAD_CSUM, .csum_start = 40, .csum_offset = 18};
	f.len = 60;
	req.csum_offset = 19;
	refuse(&f, &req, 1400, -EPROTO);
	req.csum_start = 60;
	req.csum_offset = 0;
	refuse(&f, &req, 1400, -EPROTO);
	req.csum_start = UINT16_MAX;
	req.csum_offset = UINT16_MAX;
	refuse(&f, &req, 1400, -EPROTO);
}

/* The length in the header does not matter: some senders leave it 0 (RFC 2675 style, or by habit).
 */
static void ip_length_unset(void **state)
{
	static struct bytes f;
	struct rte_mbuf *m, *out[4];
	struct xv_offload req;
	unsigned int v6;

	for (v6 = 0; v6 < 2; v6++) {
		struct shape s = {.v6 = v6, .payload = 3000};

		build(&s, &f);
		put16(f.data + 14 + (v6 ? 4 : 2), 0);
		req = request_of(&s, v6 ? XV_GSO_TCPV6 : XV_GSO_TCPV4, 1000);
		m = packet(&f, &req, NULL);
		assert_int_equal(xv_offload_finish(m, 0, pool, out, 4), 3);
		check_segments(&s, &f, &req, 0, out, 3);
		rte_pktmbuf_free_bulk(out, 3);
	}
}

static void out_of_memory(void **state)
{
	static struct rte_mbuf *hold[POOL_SIZE];
	static struct bytes f;
	struct shape s = {.payload = 30000};
	struct rte_mbuf *m;
	struct xv_offload req;
	unsigned int left, n;

	build(&s, &f);
	/* 30 segments, or 4 of 4 mbufs and one of 3: no memory for the first, or for a later mbuf.
	 */
	for (left = 0; left < 16; left++) {
		req = request_of(&s, XV_GSO_TCPV4, left < 4 ? 1000 : 7000);
		m = packet(&f, &req, NULL);
		rte_pktmbuf_refcnt_update(m, 1);
		n = rte_mempool_avail_count(pool) - left;
		assert_int_equal(rte_pktmbuf_alloc_bulk(pool, hold, n), 0);
		rte_pktmbuf_refcnt_update(m, -1);
		assert_int_equal(xv_offload_finish(m, 0, pool, (struct rte_mbuf *[40]){0}, 40),
				 -ENOBUFS);
		assert_int_equal(rte_mempool_avail_count(pool), left);
		assert_packet(m, &f);
		rte_pktmbuf_free_bulk(hold, n);
		rte_pktmbuf_free(m);
	}
	/* A shared packet whose checksum is to be written needs a copy. */
	req = request_of(&s, XV_GSO_NONE, 0);
	m = packet(&f, &req, NULL);
	n = rte_mempool_avail_count(pool);
	assert_int_equal(rte_pktmbuf_alloc_bulk(pool, hold, n), 0);
	rte_pktmbuf_refcnt_update(m, 1);
	assert_int_equal(xv_offload_finish(m, 0, pool, (struct rte_mbuf *[1]){0}, 1), -ENOBUFS);
	rte_pktmbuf_refcnt_update(m, -1);
	assert_packet(m, &f);
	rte_pktmbuf_free_bulk(hold, n);
	rte_pktmbuf_free(m);
	assert_int_equal(rte_mempool_avail_count(pool), POOL_SIZE);
}

static int setup(void **state)
{
	if (unit_eal_init(state) != 0)
		return -1;
	pool = unit_pool_create("offload", POOL_SIZE);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tcp_random),      cmocka_unit_test(tcp_edges),
		cmocka_unit_test(udp_random),      cmocka_unit_test(csum_random),
		cmocka_unit_test(needed),          cmocka_unit_test(hostile),
		cmocka_unit_test(ip_length_unset), cmocka_unit_test(out_of_memory),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
