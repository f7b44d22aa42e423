/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A new connection with each frame: port 0 asks from an address and port that it never used before, port 1 answers, and with the
 * answer the connection is as established as UDP gets; the frame of the answer becomes the next question. So a fixed
 * number of questions and answers is under way, as in speed.c, and what is counted is answers.
 *
 * Connections end by their timeouts, so a system remembers all of a run: keep it short.
 */
#include <string.h>

#include "load.h"

#define SAMPLE 64 /* one answer in this many is checked, every byte */

struct pair {
	const struct port *client, *server;
	struct flow_writer writer;
	uint32_t next; /* flow that was never used */
	uint64_t asked, answered;
	uint64_t corrupt;
};

/* Question to answer, and back. Neither checksum changes: the same words, elsewhere. */
static void turn_around(struct rte_mbuf *m)
{
	struct frame_hdr *h = rte_pktmbuf_mtod(m, struct frame_hdr *);
	struct rte_ether_addr mac = h->eth.dst_addr;
	rte_be32_t addr = h->ip.dst_addr;
	rte_be16_t port = h->udp.dst_port;

	h->eth.dst_addr = h->eth.src_addr;
	h->eth.src_addr = mac;
	h->ip.dst_addr = h->ip.src_addr;
	h->ip.src_addr = addr;
	h->udp.dst_port = h->udp.src_port;
	h->udp.src_port = port;
}

static uint16_t frames_send(const struct port *p, struct rte_mbuf **m, uint16_t n)
{
	uint16_t done = rte_eth_tx_burst(p->id, 0, m, n);

	rte_pktmbuf_free_bulk(m + done, n - done); /* a system that does not take what its ring holds: lost */
	return done;
}

static uint16_t frames_receive(const struct port *p, struct rte_mbuf **m, uint16_t burst)
{
	uint16_t n = rte_eth_rx_burst(p->id, 0, m, burst), i, kept = 0;

	for (i = 0; i < n; i++) {
		if (likely(m[i]->data_len >= FRAME_MIN)) /* or it is not one of ours */
			m[kept++] = m[i];
		else
			rte_pktmbuf_free(m[i]);
	}
	return kept;
}

/* Answers, turned around by now, become questions. */
static void ask(struct pair *p, struct rte_mbuf **m, uint16_t n)
{
	uint16_t i;

	for (i = 0; i < n && p->next < FLOWS_MAX; i++)
		frame_flow_set(m[i], &p->writer, p->next++);
	p->asked += i;
	(void)frames_send(p->client, m, i);
	rte_pktmbuf_free_bulk(m + i, n - i); /* out of flows */
}

static void answer_check(struct pair *p, const struct rte_mbuf *m)
{
	struct frame_tag tag;

	if (!frame_tag_read(m, &tag) || tag.magic != FRAME_DATA || tag.src_port != p->client->index ||
	    !frame_verify(m, p->client, p->server, &tag, true))
		p->corrupt++;
}

/* Frames moved. more: answers become questions. */
static uint16_t pair_turn(struct pair *p, uint16_t burst, bool more)
{
	struct rte_mbuf *m[MAX_BURST];
	uint16_t i, questions, answers;

	questions = frames_receive(p->server, m, burst);
	for (i = 0; i < questions; i++)
		turn_around(m[i]);
	if (questions > 0)
		(void)frames_send(p->server, m, questions);
	answers = frames_receive(p->client, m, burst);
	for (i = 0; i < answers; i++)
		turn_around(m[i]);
	if (answers > 0 && p->answered % SAMPLE + answers >= SAMPLE)
		answer_check(p, m[0]);
	p->answered += answers;
	if (more && answers > 0)
		ask(p, m, answers);
	else
		rte_pktmbuf_free_bulk(m, answers);
	return questions + answers;
}

static void run_for(struct pair *pairs, unsigned int n, struct load *l, double seconds)
{
	uint64_t now = rte_rdtsc(), end = now + seconds * rte_get_tsc_hz();
	bool left = true;

	l->res->busy_cycles = 0;
	while (now < end && left && !load_stop) {
		uint16_t moved = 0;
		uint64_t t;

		left = false;
		for (unsigned int i = 0; i < n; i++) {
			moved += pair_turn(&pairs[i], l->burst, true);
			left |= pairs[i].next < FLOWS_MAX;
		}
		t = rte_rdtsc();
		l->res->busy_cycles += moved > 0 ? t - now : 0;
		now = load_turn() ? rte_rdtsc() : t;
	}
}

static void pair_open(struct pair *p, const struct load *l, uint32_t window)
{
	struct rte_mbuf *m[MAX_BURST];

	flow_writer_init(&p->writer, p->client, p->server);
	for (uint32_t i = 0; i < window;) {
		uint16_t n = RTE_MIN(window - i, l->burst);

		for (uint16_t k = 0; k < n; k++) {
			m[k] = frame_create(p->client, p->server, 0, FRAME_DATA, i + k, l->size_min, 1);
			if (m[k] == NULL)
				rte_exit(EXIT_FAILURE, "xvio-load: out of buffers\n");
		}
		ask(p, m, n);
		i += n;
	}
}

/* Until all answers are here, or a while after the last. */
static void pairs_drain(struct pair *pairs, unsigned int n, const struct load *l)
{
	uint64_t patience = rte_get_tsc_hz() / 20, last = rte_rdtsc();
	bool under_way;

	do {
		under_way = false;
		for (unsigned int i = 0; i < n; i++) {
			if (pair_turn(&pairs[i], l->burst, false) > 0)
				last = rte_rdtsc();
			under_way |= pairs[i].answered < pairs[i].asked;
		}
		load_turn();
	} while (under_way && rte_rdtsc() - last < patience);
}

/* The way is open and addresses are learned: single questions, until one is answered. */
static bool pair_meet(struct pair *p, const struct load *l)
{
	uint64_t hz = rte_get_tsc_hz(), begin = rte_rdtsc();

	while (p->answered == 0 && rte_rdtsc() - begin < l->timeout_s * hz && !load_stop) {
		pair_open(p, l, 1);
		pairs_drain(p, 1, l);
	}
	p->asked = p->answered;
	return p->answered > 0;
}

void connect_run(struct load *l, uint64_t t0)
{
	static struct pair pairs[MAX_PORTS / 2];
	struct result *r = l->res;
	unsigned int n = l->nports / 2;
	uint64_t answered = 0;

	for (unsigned int i = 0; i < n; i++) {
		l->ports[2 * i].flows = FLOWS_MAX;
		pairs[i] = (struct pair){.client = &l->ports[2 * i], .server = &l->ports[2 * i + 1]};
		if (!pair_meet(&pairs[i], l)) {
			fprintf(stderr, "xvio-load: no question was answered\n");
			return;
		}
		pair_open(&pairs[i], l, l->window > 0 ? l->window : l->ports[2 * i].queue_size / 2);
	}
	run_for(pairs, n, l, l->warmup_s);
	load_ready(l, t0);

	for (unsigned int i = 0; i < n; i++)
		answered += pairs[i].answered;
	t0 = rte_rdtsc();
	run_for(pairs, n, l, l->seconds);
	r->seconds = (double)(rte_rdtsc() - t0) / rte_get_tsc_hz();
	for (unsigned int i = 0; i < n; i++)
		r->received += pairs[i].answered;
	r->received -= answered;
	r->bytes = r->received * l->size_min * 2;

	pairs_drain(pairs, n, l);
	for (unsigned int i = 0; i < n; i++) {
		r->lost += pairs[i].asked - pairs[i].answered;
		r->corrupt += pairs[i].corrupt;
	}
	r->sent = r->received + r->lost;
	r->ok = r->received > 0 && r->lost + r->corrupt == 0;
}
