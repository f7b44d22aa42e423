/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every byte of every frame is checked, and the order within a flow. What one queue of one port
 * sends is a stream: numbered, and of all the queue's flows in turn. A frame that the ring does not
 * take is offered again: what is sent must arrive, once and in order.
 */
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "load.h"

#define LATE_WINDOW 65536 /* sequence numbers that are remembered as missing */

struct stream {
	const struct port *src, *dst;
	uint16_t queue;
	uint16_t held_count;
	uint64_t sent;
	uint64_t expect; /* sequence number */
	uint64_t received, reordered, duplicate;
	uint64_t last_rx;                 /* TSC; 0: none yet */
	struct rte_mbuf *held[MAX_BURST]; /* made, and the ring had no room */
	uint64_t *flow_expect;            /* by flow: more than any number that came */
	uint64_t missing[LATE_WINDOW / 64];
};

struct check {
	struct load *l;
	struct stream *streams; /* ports x MAX_QUEUES */
	uint64_t corrupt;
	uint64_t bytes;
	uint64_t gap_cycles;
	bool probing;
};

static double now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec * 1e-9;
}

static struct stream *stream_at(struct check *c, unsigned int port, unsigned int queue)
{
	return &c->streams[port * MAX_QUEUES + queue];
}

static bool missing_test_and_clear(struct stream *s, uint64_t seq)
{
	uint64_t *word = &s->missing[seq % LATE_WINDOW / 64], bit = 1ULL << (seq % 64);
	bool was = *word & bit;

	*word &= ~bit;
	return was;
}

static void stream_receive(struct check *c, struct stream *s, uint64_t seq)
{
	uint64_t *flow_expect = &s->flow_expect[seq % s->src->flows];

	if (likely(seq == s->expect)) {
		missing_test_and_clear(s, seq);
		s->expect++;
		s->received++;
	} else if (seq > s->expect) {
		uint64_t from = seq - s->expect > LATE_WINDOW ? seq - LATE_WINDOW : s->expect;

		for (uint64_t i = from; i < seq; i++)
			s->missing[i % LATE_WINDOW / 64] |= 1ULL << (i % 64);
		missing_test_and_clear(s, seq);
		s->expect = seq + 1;
		s->received++;
	} else if (s->expect - seq <= LATE_WINDOW && missing_test_and_clear(s, seq)) {
		s->reordered += seq < *flow_expect;
		s->received++;
	} else {
		s->duplicate++;
	}
	*flow_expect = RTE_MAX(*flow_expect, seq + 1);
}

static void gap_note(struct check *c, struct stream *s, uint64_t now)
{
	struct result *r = c->l->res;
	double hz = rte_get_tsc_hz(), t = now_s();

	if (r->gap_count < MAX_GAPS)
		r->gaps[r->gap_count] = (struct gap){t - (now - s->last_rx) / hz, t, s->src->index};
	r->gap_count++;
}

static void frame_receive(struct check *c, unsigned int port, const struct rte_mbuf *m,
			  uint64_t now)
{
	struct load *l = c->l;
	unsigned int from = port ^ 1;
	struct frame_tag tag;
	struct stream *s;

	if (!frame_tag_read(m, &tag) || tag.src_port != l->ports[from].index ||
	    tag.src_queue >= l->ports[from].queues ||
	    !frame_verify(m, &l->ports[from], &l->ports[port], &tag, false)) {
		c->corrupt++;
		return;
	}
	s = stream_at(c, from, tag.src_queue);
	if (unlikely(s->last_rx != 0 && now - s->last_rx > c->gap_cycles && !c->probing))
		gap_note(c, s, now);
	s->last_rx = now;
	if (tag.magic == FRAME_PROBE)
		return;
	if (tag.magic != FRAME_DATA || tag.seq >= s->sent + s->held_count) {
		c->corrupt++;
		return;
	}
	c->bytes += m->pkt_len;
	stream_receive(c, s, tag.seq);
}

static uint32_t receive_all(struct check *c)
{
	struct load *l = c->l;
	struct rte_mbuf *m[MAX_BURST];
	uint32_t moved = 0;

	for (unsigned int p = 0; p < l->nports; p++) {
		for (uint16_t q = 0; q < l->ports[p].queues; q++) {
			uint16_t n = rte_eth_rx_burst(l->ports[p].id, q, m, l->burst);
			uint64_t now = n > 0 ? rte_rdtsc() : 0;

			for (uint16_t i = 0; i < n; i++)
				frame_receive(c, p, m[i], now);
			rte_pktmbuf_free_bulk(m, n);
			moved += n;
		}
	}
	return moved;
}

static uint16_t stream_send(struct load *l, struct stream *s, uint64_t limit)
{
	uint16_t done;

	if (s->held_count == 0) {
		uint64_t n = RTE_MIN(limit - s->sent, l->burst);

		if (l->window > 0) {
			uint64_t under_way = s->sent - s->received;

			n = RTE_MIN(n, l->window > under_way ? l->window - under_way : 0);
		}
		/* Every second burst in one piece: so that the driver's fast ways get their share.
		 */
		bool whole = l->segs_min == 1 && (load_random() & 1);

		while (s->held_count < n) {
			uint16_t len =
				l->size_min + load_random() % (l->size_max - l->size_min + 1);
			uint16_t segs = whole ? 1
					      : l->segs_min + load_random() % (l->segs_max -
									       l->segs_min + 1);
			struct rte_mbuf *m = frame_create(s->src, s->dst, s->queue, FRAME_DATA,
							  s->sent + s->held_count, len, segs);

			if (m == NULL) /* the rings hold them all */
				break;
			s->held[s->held_count++] = m;
		}
	}
	if (s->held_count == 0)
		return 0;
	done = rte_eth_tx_burst(s->src->id, s->queue, s->held, s->held_count);
	s->sent += done;
	s->held_count -= done;
	memmove(s->held, s->held + done, s->held_count * sizeof(s->held[0]));
	return done;
}

/* Sends probes until one of every stream arrived: the way is open and every address is learned. */
static bool probe(struct check *c)
{
	struct load *l = c->l;
	uint64_t hz = rte_get_tsc_hz(), start = rte_rdtsc(), next = start;

	c->probing = true;
	while (!load_stop && rte_rdtsc() - start < l->timeout_s * hz) {
		bool send = rte_rdtsc() >= next, open = true;

		for (unsigned int p = 0; p < l->nports; p++) {
			for (uint16_t q = 0; q < l->ports[p].queues; q++) {
				struct stream *s = stream_at(c, p, q);
				struct rte_mbuf *m;

				if (s->last_rx != 0)
					continue;
				open = false;
				if (!send)
					continue;
				m = frame_create(s->src, s->dst, q, FRAME_PROBE, 0, FRAME_MIN, 1);
				if (m != NULL && rte_eth_tx_burst(s->src->id, q, &m, 1) == 0)
					rte_pktmbuf_free(m);
			}
		}
		if (open) {
			c->probing = false;
			return true;
		}
		if (send)
			next = rte_rdtsc() + hz / 2000;
		sched_yield();
		receive_all(c);
	}
	return false;
}

static void streams_free(struct check *c)
{
	for (unsigned int i = 0; i < c->l->nports * MAX_QUEUES; i++)
		free(c->streams[i].flow_expect);
	free(c->streams);
}

void check_run(struct load *l, uint64_t t0)
{
	struct result *r = l->res;
	struct check c = {.l = l, .gap_cycles = l->gap_ms * rte_get_tsc_hz() / 1000};
	uint64_t hz = rte_get_tsc_hz(), start, end, last_progress, now;
	uint64_t limit = l->frames > 0 ? l->frames : UINT64_MAX;

	c.streams = calloc(l->nports * MAX_QUEUES, sizeof(*c.streams));
	if (c.streams == NULL)
		rte_exit(EXIT_FAILURE, "xvio-load: out of memory\n");
	for (unsigned int p = 0; p < l->nports; p++) {
		for (uint16_t q = 0; q < l->ports[p].queues; q++) {
			struct stream *s = stream_at(&c, p, q);

			s->src = &l->ports[p];
			s->dst = &l->ports[p ^ 1];
			s->queue = q;
			s->flow_expect = calloc(s->src->flows, sizeof(*s->flow_expect));
			if (s->flow_expect == NULL)
				rte_exit(EXIT_FAILURE, "xvio-load: out of memory\n");
		}
	}
	if (!probe(&c)) {
		fprintf(stderr, "xvio-load: no frame came through\n");
		streams_free(&c);
		return;
	}
	r->first_ms = (rte_rdtsc() - t0) * 1e3 / hz;
	load_ready(l, t0);

	start = last_progress = rte_rdtsc();
	end = l->frames > 0 ? UINT64_MAX : start + (uint64_t)(l->seconds * hz);
	for (;;) {
		uint64_t pass = rte_rdtsc();
		uint32_t moved = receive_all(&c);
		bool sending = pass < end && !load_stop, complete = true;

		for (unsigned int p = 0; p < l->nports; p++) {
			for (uint16_t q = 0; q < l->ports[p].queues; q++) {
				struct stream *s = stream_at(&c, p, q);

				if (!sending && limit == UINT64_MAX)
					moved += stream_send(l, s, s->sent + s->held_count);
				else
					moved += stream_send(l, s, sending ? limit : s->sent);
				complete &=
					s->received + s->duplicate >= s->sent && s->held_count == 0;
				complete &= !sending || s->sent >= limit;
			}
		}
		now = rte_rdtsc();
		if (moved > 0) {
			last_progress = now;
			r->busy_cycles += now - pass;
		} else {
			sched_yield(); /* we share the cores with what we wait for */
		}
		if (complete && now - last_progress > hz / 50) /* 20 ms for duplicates to show up */
			break;
		if (now - last_progress > l->timeout_s * hz)
			break;
		load_turn();
	}
	r->seconds = (double)(last_progress - start) / hz;

	r->ok = true;
	for (unsigned int p = 0; p < l->nports; p++) {
		for (uint16_t q = 0; q < l->ports[p].queues; q++) {
			struct stream *s = stream_at(&c, p, q);

			r->sent += s->sent;
			r->received += s->received;
			r->reordered += s->reordered;
			r->duplicate += s->duplicate;
			if (s->received == 0 ||
			    (l->frames > 0 && s->sent < l->frames && !load_stop))
				r->ok = false;
			rte_pktmbuf_free_bulk(s->held, s->held_count);
		}
	}
	r->lost = r->sent - r->received;
	r->corrupt = c.corrupt;
	r->bytes = c.bytes;
	if (r->corrupt > 0 || (!l->lossy && r->lost + r->reordered + r->duplicate > 0))
		r->ok = false;
	streams_free(&c);
}
