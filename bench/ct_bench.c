/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What connection tracking costs without anything around it: one worker, bursts of 32, connections in random order.
 *
 *     ct-bench [CONNECTIONS]      at most, default 1,000,000
 *
 * advance: the next packet of an established connection, as a fused flow does it (TCP: data and its acknowledgement in turn;
 * the connections of a burst are prefetched); shared: the same with the connection's lock, as with several workers. long way:
 * look-up by tuple, state and the ct fields of the key. new: a packet of an unknown connection which is committed. expiry: what
 * the control thread pays for each connection that timed out. All in TSC cycles, the median of the rounds.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_mbuf.h>
#include <rte_prefetch.h>

#include "base/clock.h"
#include "fastpath/conntrack.h"
#include "net/bytes.h"
#include "table/rcu.h"

#define BURST 32
#define ROUNDS 15
#define ROUND_PACKETS 100000
#define L3 14
#define L4 34

struct packet {
	struct rte_mbuf m;
	uint8_t bytes[128];
	struct xv_flow_key key;
	struct xv_flow_layout layout;
};

static struct xv_conntrack *ct;
static struct xv_ct_hit (*hits)[2];
static uint32_t *sent; /* bytes, by connection */
static uint32_t *order;
static uint32_t now_ms = 1000;
static struct packet packets[BURST];

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "ct-bench: %s failed\n", what);
	exit(1);
}

static uint64_t random_next(void)
{
	static uint64_t state = 1;
	uint64_t z = (state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

/* A packet of connection n in a direction: 60 bytes, of which TCP data 6. */
static void make(struct packet *p, uint32_t n, unsigned int dir, uint8_t proto, uint8_t flags, uint32_t seq, uint32_t ack)
{
	uint8_t *b = p->bytes;
	rte_be32_t ends[2] = {rte_cpu_to_be_32(0x0a000000 + (n >> 14)), RTE_BE32(0x0a800001)};
	rte_be16_t ports[2] = {rte_cpu_to_be_16((uint16_t)(1024 + (n & 0x3fff))), RTE_BE16(80)};

	memset(b, 0, 64);
	b[12] = 8;
	b[14] = 0x45;
	b[17] = 46;
	b[22] = 64;
	b[23] = proto;
	memcpy(b + 26, &ends[dir], 4);
	memcpy(b + 30, &ends[!dir], 4);
	memcpy(b + 34, &ports[dir], 2);
	memcpy(b + 36, &ports[!dir], 2);
	if (proto == 17) {
		b[39] = 26;
	} else {
		seq = rte_cpu_to_be_32(seq);
		ack = rte_cpu_to_be_32(ack);
		memcpy(b + 38, &seq, 4);
		memcpy(b + 42, &ack, 4);
		b[46] = 0x50;
		b[47] = flags;
		b[48] = 0xff;
	}
	memset(&p->m, 0, sizeof(p->m));
	p->m.buf_addr = b;
	p->m.nb_segs = 1;
	p->m.data_len = 60;
	p->m.pkt_len = 60;
	/* As a good card reports it; checking is not what is measured. */
	p->m.ol_flags = RTE_MBUF_F_RX_L4_CKSUM_GOOD;
	memset(&p->key, 0, XV_FLOW_FIXED_WORDS * 8);
	(void)xv_flow_extract(b, 60, 60, &p->key, &p->layout);
}

static uint32_t send_one(struct packet *p, uint8_t flags, struct xv_ct_hit *hit)
{
	const struct xv_action_ct action = {.zone = 1, .flags = flags};

	memset(hit, 0, sizeof(*hit));
	must(xv_conntrack_packet(ct, &action, &p->m, &p->key, &p->layout, now_ms, hit) == 0, "ct");
	return p->key.ct_state;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double median(double *cycles, unsigned int n)
{
	qsort(cycles, n, sizeof(cycles[0]), compare);
	return cycles[n / 2];
}

static void shuffle(uint32_t n)
{
	uint32_t i, j, t;

	for (i = 0; i < n; i++)
		order[i] = i;
	for (i = n; i > 1; i--) {
		j = (uint32_t)(random_next() % i);
		t = order[i - 1];
		order[i - 1] = order[j];
		order[j] = t;
	}
}

static void open_table(uint32_t n)
{
	const struct xv_conntrack_config config = {.connections = n, .half_open_per_port = n, .now_ms = now_ms};

	xv_conntrack_destroy(ct);
	must(xv_conntrack_create(&config, &ct) == 0, "table");
}

/* n connections that have seen both directions. Cycles of the first packet of each. */
static double establish(uint32_t n, uint8_t proto)
{
	static double cycles[1 << 20];
	struct packet *p = &packets[0];
	unsigned int rounds = 0, i, in_round = 0;
	uint64_t begin, total = 0;
	uint32_t state;

	for (i = 0; i < n; i++) {
		struct xv_ct_hit *h = hits[i];

		make(p, i, 0, proto, 0x02, 99, 0);
		begin = xv_clock_tsc();
		state = send_one(p, XV_CT_COMMIT, &h[0]);
		total += xv_clock_tsc() - begin;
		must(state == (XV_CS_TRACKED | XV_CS_NEW), "new connection");
		if (++in_round == 1000) {
			cycles[rounds++] = (double)total / in_round;
			in_round = 0;
			total = 0;
		}
		make(p, i, 1, proto, 0x12, 499, 100);
		/* What would be data is none of the handshake. */
		p->layout.payload_end -= proto == 6 ? 6 : 0;
		(void)send_one(p, 0, &h[1]);
		make(p, i, 0, proto, 0x10, 100, 500);
		p->layout.payload_end -= proto == 6 ? 6 : 0;
		must(send_one(p, 0, &h[0]) == (XV_CS_TRACKED | XV_CS_ESTABLISHED), "established connection");
		make(p, i, 1, proto, 0x10, 500, 100);
		p->layout.payload_end -= proto == 6 ? 6 : 0;
		(void)send_one(p, 0, &h[1]);
		sent[i] = 0;
	}
	return rounds > 0 ? median(cycles, rounds) : 0;
}

/* The next packet of connection n. */
static void make_next(struct packet *p, uint32_t n, unsigned int dir, uint8_t proto)
{
	make(p, n, dir, proto, 0x10, dir == 0 ? 100 + sent[n] : 500 + sent[n] - 6, dir == 0 ? 500 + sent[n] : 100 + sent[n]);
	if (dir == 0)
		sent[n] += 6;
}

static double advance(uint32_t n, uint8_t proto, bool long_way, bool prefetch)
{
	double cycles[ROUNDS];
	unsigned int round, i, dir;
	uint32_t at = 0, which[BURST];

	for (round = 0; round < ROUNDS; round++) {
		uint64_t total = 0;
		uint32_t done = 0;

		while (done < RTE_MAX(ROUND_PACKETS, n / 8)) {
			struct xv_ct_hit h[BURST];

			for (i = 0; i < BURST; i++) {
				which[i] = order[at];
				at = (at + 1) % n;
			}
			/* Of the one direction and then of the other; the first warms what the second meets, so only one counts. */
			for (dir = 0; dir < 2; dir++) {
				bool measured = dir == (done / BURST & 1) || n <= 100000;
				uint64_t begin;
				bool ok = true;

				for (i = 0; i < BURST; i++) {
					make_next(&packets[i], which[i], dir, proto);
					h[i] = hits[which[i]][dir];
				}
				begin = xv_clock_tsc();
				if (long_way) {
					for (i = 0; i < BURST; i++)
						ok &= (send_one(&packets[i], 0, &h[i]) & XV_CS_ESTABLISHED) != 0;
				} else {
					for (i = 0; prefetch && i < BURST; i++)
						rte_prefetch0(h[i].conn);
					for (i = 0; i < BURST; i++)
						ok &= xv_conntrack_advance(ct, &h[i], packets[i].bytes, L3, L4, now_ms);
				}
				if (measured) {
					total += xv_clock_tsc() - begin;
					done += BURST;
				}
				must(ok, "advance");
			}
		}
		cycles[round] = (double)total / done;
	}
	return median(cycles, ROUNDS);
}

/* Whole table times out. */
static double expiry(uint32_t n)
{
	struct xv_conntrack_stats stats;
	uint64_t begin = xv_clock_tsc();

	now_ms += 600 * 1000;
	while (xv_conntrack_expire(ct, now_ms))
		;
	begin = xv_clock_tsc() - begin;
	xv_conntrack_get_stats(ct, &stats);
	must(stats.connections == 0, "expiry");
	return (double)begin / n;
}

static void line(const char *what, uint32_t n, double cycles)
{
	printf("%-40s %9u connections %8.1f cycles\n", what, n, cycles);
}

int main(int argc, char **argv)
{
	uint32_t max = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 1000000, n;
	struct xv_conntrack_stats stats;

	if (max < 1000) {
		fprintf(stderr, "ct-bench: at least 1000 connections\n");
		return 1;
	}
	xv_clock_init(0);
	must(xv_rcu_init() == 0, "initialisation");
	hits = calloc(max, sizeof(*hits));
	sent = calloc(max, sizeof(*sent));
	order = calloc(max, sizeof(*order));
	must(hits && sent && order, "memory");
	for (n = 1000; n <= max; n *= 10) {
		double open;

		shuffle(n);
		open_table(max);
		(void)establish(n, 6); /* touches the memory, which costs once */
		(void)xv_conntrack_flush(ct, now_ms, NULL, NULL);
		open = establish(n, 6);
		line("tcp: advance", n, advance(n, 6, false, true));
		xv_conntrack_set_shared(ct, true);
		line("tcp: advance, shared", n, advance(n, 6, false, true));
		xv_conntrack_set_shared(ct, false);
		line("tcp: advance, not prefetched", n, advance(n, 6, false, false));
		line("tcp: long way", n, advance(n, 6, true, false));
		line("tcp: new", n, open);
		open_table(max);
		open = establish(n, 17);
		line("udp: advance", n, advance(n, 17, false, true));
		line("udp: long way", n, advance(n, 17, true, false));
		line("udp: new", n, open);
		xv_conntrack_get_stats(ct, &stats);
		line("udp: expiry", n, expiry(n));
		printf("%-40s %9u connections %8.1f MB\n", "memory", n, (double)stats.memory_bytes / 1e6);
	}
	xv_conntrack_destroy(ct);
	return 0;
}
