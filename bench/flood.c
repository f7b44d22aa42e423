/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A SYN flood: port 0 sends port 1 TCP segments that open connections, each from another address and
 * port, and nobody answers. As fast as the system takes them: the ring is always full. Meanwhile it
 * sleeps, so that those who share its CPU are not the victims.
 *
 * With ports 2 and 3 these are the victims: they talk TCP (talk.c), and the flood comes and goes. Peace and flood are compared in
 * turns, and a connection is opened in each flood. All of it is this one thread, which never sleeps then.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <rte_tcp.h>

#include "load.h"

#define NAP_NS 200000 /* a ring holds more than is taken out of it in that time */

struct __rte_packed __rte_aligned(2) syn_frame
{
	struct rte_ether_hdr eth;
	struct rte_ipv4_hdr ip;
	struct rte_tcp_hdr tcp;
};

/* What all have, and the sums of that: each needs only what is its own to be added. */
struct syn_writer {
	struct syn_frame frame;
	uint32_t ip_sum, tcp_sum;
};

/* Checksums are whole: a system that tracks connections may look at them. */
static void syn_writer_init(struct syn_writer *w, const struct port *src, const struct port *dst)
{
	struct syn_frame *f = &w->frame;

	memset(f, 0, sizeof(*f));
	f->eth.dst_addr = dst->mac;
	f->eth.src_addr = src->mac;
	f->eth.ether_type = RTE_BE16(RTE_ETHER_TYPE_IPV4);
	f->ip.version_ihl = RTE_IPV4_VHL_DEF;
	f->ip.total_length = RTE_BE16(sizeof(f->ip) + sizeof(f->tcp));
	f->ip.time_to_live = 64;
	f->ip.next_proto_id = IPPROTO_TCP;
	f->ip.dst_addr = rte_cpu_to_be_32(FLOW_ADDR(dst->index));
	f->tcp.dst_port = RTE_BE16(80);
	f->tcp.data_off = sizeof(f->tcp) / 4 << 4;
	f->tcp.tcp_flags = RTE_TCP_SYN_FLAG;
	f->tcp.rx_win = 0xffff;
	w->ip_sum = (uint16_t)~rte_ipv4_cksum(&f->ip);
	w->tcp_sum = (uint16_t)~rte_ipv4_udptcp_cksum(&f->ip, &f->tcp);
}

static uint16_t sum_end(uint32_t sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~(sum + (sum >> 16));
}

/* Network byte order throughout: sums do not mind. */
static void syn_fill(const struct syn_writer *w, struct syn_frame *f, const struct port *src)
{
	uint32_t random = load_random(), seq = load_random(), addr;

	addr = rte_cpu_to_be_32(FLOW_ADDR(src->index) + (random & 0xffff));
	*f = w->frame;
	f->ip.src_addr = addr;
	f->tcp.src_port = (rte_be16_t)(random >> 16);
	f->tcp.sent_seq = seq;
	addr = (addr & 0xffff) + (addr >> 16);
	f->ip.hdr_checksum = sum_end(w->ip_sum + addr);
	f->tcp.cksum = sum_end(w->tcp_sum + addr + f->tcp.src_port + (seq & 0xffff) + (seq >> 16));
}

/* A burst of new ones. */
static bool burst_make(const struct load *l, struct rte_mbuf **m)
{
	static struct syn_writer writer;

	if (writer.tcp_sum == 0)
		syn_writer_init(&writer, &l->ports[0], &l->ports[1]);
	if (rte_pktmbuf_alloc_bulk(l->ports[0].pool, m, l->burst) != 0)
		return false;
	for (uint16_t i = 0; i < l->burst; i++) {
		m[i]->data_len = sizeof(struct syn_frame);
		m[i]->pkt_len = sizeof(struct syn_frame);
		syn_fill(&writer, rte_pktmbuf_mtod(m[i], struct syn_frame *), &l->ports[0]);
	}
	return true;
}

static uint64_t listen_to(const struct port *p)
{
	struct rte_mbuf *m[MAX_BURST];
	uint64_t received = 0;
	uint16_t n;

	while ((n = rte_eth_rx_burst(p->id, 0, m, MAX_BURST)) > 0) {
		rte_pktmbuf_free_bulk(m, n);
		received += n;
	}
	return received;
}

/* So that its address is known. */
static void say_hello(const struct port *from, const struct port *to)
{
	struct rte_mbuf *m = frame_create(from, to, 0, FRAME_DATA, 0, FRAME_MIN, 1);

	if (m != NULL && rte_eth_tx_burst(from->id, 0, &m, 1) == 0)
		rte_pktmbuf_free(m);
}

#define TURN_S	0.05 /* of peace, and of flood */
#define PAUSE_S 0.01 /* between them: what is still under way */

/* The attacker's frames at hand. */
struct attack {
	struct rte_mbuf *m[MAX_BURST];
	uint16_t at, n;
	uint64_t sent;
};

static void attack_turn(struct attack *a, const struct load *l)
{
	uint16_t done;

	if (a->at == a->n) {
		a->at = 0;
		a->n = burst_make(l, a->m) ? l->burst : 0;
	}
	done = rte_eth_tx_burst(l->ports[0].id, 0, a->m + a->at, a->n - a->at);
	a->at += done;
	a->sent += done;
}

/* Bytes per second of the connection. a: NULL in peace. */
static double talk_for(struct load *l, struct talk *t, struct attack *a, double seconds)
{
	uint64_t begin = rte_rdtsc(), end = begin + (uint64_t)(seconds * rte_get_tsc_hz()), now = begin, before = t->received;

	while (now < end && !load_stop) {
		(void)talk_turn(t, now);
		if (a != NULL)
			attack_turn(a, l);
		l->res->received += listen_to(&l->ports[1]);
		now = rte_rdtsc();
	}
	return (double)(t->received - before) * rte_get_tsc_hz() / (now - begin);
}

static void victims_run(struct load *l, uint64_t t0)
{
	static struct talk talk;
	static struct attack attack;
	struct result *r = l->res;
	uint64_t before;

	say_hello(&l->ports[1], &l->ports[0]);
	say_hello(&l->ports[3], &l->ports[2]);
	if (!talk_start(&talk, l, &l->ports[2], &l->ports[3])) {
		fprintf(stderr, "xvio-load: the connection was not answered\n");
		return;
	}
	(void)talk_for(l, &talk, NULL, l->warmup_s);
	load_ready(l, t0);
	t0 = rte_rdtsc();
	while (r->rounds < MAX_ROUNDS && (rte_rdtsc() - t0) < l->seconds * rte_get_tsc_hz() && !load_stop) {
		struct round *round = &r->round[r->rounds++];

		(void)talk_for(l, &talk, NULL, PAUSE_S);
		round->peace = talk_for(l, &talk, NULL, TURN_S);
		(void)talk_for(l, &talk, &attack, PAUSE_S);
		before = attack.sent;
		talk_open(&talk, rte_rdtsc());
		round->flood = talk_for(l, &talk, &attack, TURN_S);
		round->syns = (attack.sent - before) / TURN_S;
		if (talk.opening != 0) { /* it has a second */
			(void)talk_for(l, &talk, &attack, 1 - TURN_S);
			r->not_opened += talk.opening != 0;
			talk.opening = 0;
		}
	}
	r->seconds = (double)(rte_rdtsc() - t0) / rte_get_tsc_hz();
	rte_pktmbuf_free_bulk(attack.m + attack.at, attack.n - attack.at);
	r->sent = attack.sent;
	r->bytes = talk.received;
	r->corrupt = talk.corrupt;
	r->resent = talk.resent;
	r->opened = talk.opened;
	r->open_worst_ms = talk.open_worst * 1e3 / rte_get_tsc_hz();
	r->ok = r->rounds > 0 && r->corrupt == 0;
}

void flood_run(struct load *l)
{
	uint64_t t0 = rte_rdtsc(), end = t0 + (uint64_t)(l->seconds * rte_get_tsc_hz());
	struct rte_mbuf *m[MAX_BURST];
	const struct timespec nap = {.tv_nsec = NAP_NS};
	struct result *r = l->res;
	uint16_t at = 0, n = 0;

	if (l->nports >= 4) {
		victims_run(l, t0);
		return;
	}
	say_hello(&l->ports[1], &l->ports[0]);
	load_ready(l, t0);
	while (rte_rdtsc() < end && !load_stop) {
		if (at == n) {
			r->sent += n;
			at = 0;
			n = burst_make(l, m) ? l->burst : 0;
		}
		at += rte_eth_tx_burst(l->ports[0].id, 0, m + at, n - at);
		if (at < n) {
			r->received += listen_to(&l->ports[1]);
			nanosleep(&nap, NULL);
		}
	}
	r->sent += at;
	rte_pktmbuf_free_bulk(m + at, n - at);
	r->received += listen_to(&l->ports[1]);
	r->seconds = (double)(rte_rdtsc() - t0) / rte_get_tsc_hz();
	r->ok = r->sent > 0;
}
