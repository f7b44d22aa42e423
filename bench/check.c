/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every byte of every frame is checked, and the order within a flow (source port and queue). A
 * frame that the ring does not take is offered again: what is sent must arrive, once and in order.
 */
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "load.h"

#define LATE_WINDOW 65536 /* sequence numbers that are remembered as missing */

struct flow {
	const struct port *src, *dst;
	uint16_t queue;
	uint16_t held_count;
	uint64_t sent;
	uint64_t expect; /* sequence number */
	uint64_t received, reordered, duplicate;
	uint64_t last_rx;                 /* TSC; 0: none yet */
	struct rte_mbuf *held[MAX_BURST]; /* made, and the ring had no room */
	uint64_t missing[LATE_WINDOW / 64];
};

struct check {
	struct load *l;
	struct flow *flows; /* ports x MAX_QUEUES */
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

static struct flow *flow_at(struct check *c, unsigned int port, unsigned int queue)
{
	return &c->flows[port * MAX_QUEUES + queue];
}

static bool missing_test_and_clear(struct flow *f, uint64_t seq)
{
	uint64_t *word = &f->missing[seq % LATE_WINDOW / 64], bit = 1ULL << (seq % 64);
	bool was = *word & bit;

	*word &= ~bit;
	return was;
}

static void flow_receive(struct check *c, struct flow *f, uint64_t seq)
{
	if (likely(seq == f->expect)) {
		missing_test_and_clear(f, seq);
		f->expect++;
		f->received++;
	} else if (seq > f->expect) {
		uint64_t from = seq - f->expect > LATE_WINDOW ? seq - LATE_WINDOW : f->expect;

		for (uint64_t i = from; i < seq; i++)
			f->missing[i % LATE_WINDOW / 64] |= 1ULL << (i % 64);
		missing_test_and_clear(f, seq);
		f->expect = seq + 1;
		f->received++;
	} else if (f->expect - seq <= LATE_WINDOW && missing_test_and_clear(f, seq)) {
		f->reordered++;
		f->received++;
	} else {
		f->duplicate++;
	}
}

static void gap_note(struct check *c, struct flow *f, uint64_t now)
{
	struct result *r = c->l->res;
	double hz = rte_get_tsc_hz(), t = now_s();

	if (r->gap_count < MAX_GAPS)
		r->gaps[r->gap_count] = (struct gap){t - (now - f->last_rx) / hz, t, f->src->index};
	r->gap_count++;
}

static void frame_receive(struct check *c, unsigned int port, const struct rte_mbuf *m,
			  uint64_t now)
{
	struct load *l = c->l;
	unsigned int from = port ^ 1;
	struct frame_tag tag;
	struct flow *f;

	if (!frame_tag_read(m, &tag) || tag.src_port != l->ports[from].index ||
	    tag.src_queue >= l->ports[from].queues ||
	    !frame_verify(m, &l->ports[from], &l->ports[port], &tag)) {
		c->corrupt++;
		return;
	}
	f = flow_at(c, from, tag.src_queue);
	if (unlikely(f->last_rx != 0 && now - f->last_rx > c->gap_cycles && !c->probing))
		gap_note(c, f, now);
	f->last_rx = now;
	if (tag.magic == FRAME_PROBE)
		return;
	if (tag.magic != FRAME_DATA || tag.seq >= f->sent + f->held_count) {
		c->corrupt++;
		return;
	}
	c->bytes += m->pkt_len;
	flow_receive(c, f, tag.seq);
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

static uint16_t flow_send(struct load *l, struct flow *f, uint64_t limit)
{
	uint16_t done;

	if (f->held_count == 0) {
		uint64_t n = RTE_MIN(limit - f->sent, l->burst);

		if (l->window > 0) {
			uint64_t under_way = f->sent - f->received;

			n = RTE_MIN(n, l->window > under_way ? l->window - under_way : 0);
		}
		/* Every second burst in one piece: so that the driver's fast ways get their share.
		 */
		bool whole = l->segs_min == 1 && (load_random() & 1);

		while (f->held_count < n) {
			uint16_t len =
				l->size_min + load_random() % (l->size_max - l->size_min + 1);
			uint16_t segs = whole ? 1
					      : l->segs_min + load_random() % (l->segs_max -
									       l->segs_min + 1);
			struct rte_mbuf *m = frame_create(f->src, f->dst, f->queue, FRAME_DATA,
							  f->sent + f->held_count, len, segs);

			if (m == NULL) /* the rings hold them all */
				break;
			f->held[f->held_count++] = m;
		}
	}
	if (f->held_count == 0)
		return 0;
	done = rte_eth_tx_burst(f->src->id, f->queue, f->held, f->held_count);
	f->sent += done;
	f->held_count -= done;
	memmove(f->held, f->held + done, f->held_count * sizeof(f->held[0]));
	return done;
}

/* Sends probes until every flow has received one: the way is open and every address is learned. */
static bool probe(struct check *c)
{
	struct load *l = c->l;
	uint64_t hz = rte_get_tsc_hz(), start = rte_rdtsc(), next = start;

	c->probing = true;
	while (!load_stop && rte_rdtsc() - start < l->timeout_s * hz) {
		bool send = rte_rdtsc() >= next, open = true;

		for (unsigned int p = 0; p < l->nports; p++) {
			for (uint16_t q = 0; q < l->ports[p].queues; q++) {
				struct flow *f = flow_at(c, p, q);
				struct rte_mbuf *m;

				if (f->last_rx != 0)
					continue;
				open = false;
				if (!send)
					continue;
				m = frame_create(f->src, f->dst, q, FRAME_PROBE, 0, FRAME_MIN, 1);
				if (m != NULL && rte_eth_tx_burst(f->src->id, q, &m, 1) == 0)
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

void check_run(struct load *l, uint64_t t0)
{
	struct result *r = l->res;
	struct check c = {.l = l, .gap_cycles = l->gap_ms * rte_get_tsc_hz() / 1000};
	uint64_t hz = rte_get_tsc_hz(), start, end, last_progress, now;
	uint64_t limit = l->frames > 0 ? l->frames : UINT64_MAX;

	c.flows = calloc(l->nports * MAX_QUEUES, sizeof(*c.flows));
	if (c.flows == NULL)
		rte_exit(EXIT_FAILURE, "xvio-load: out of memory\n");
	for (unsigned int p = 0; p < l->nports; p++) {
		for (uint16_t q = 0; q < l->ports[p].queues; q++) {
			struct flow *f = flow_at(&c, p, q);

			f->src = &l->ports[p];
			f->dst = &l->ports[p ^ 1];
			f->queue = q;
		}
	}
	if (!probe(&c)) {
		fprintf(stderr, "xvio-load: no frame came through\n");
		free(c.flows);
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
				struct flow *f = flow_at(&c, p, q);

				if (!sending && limit == UINT64_MAX)
					moved += flow_send(l, f, f->sent + f->held_count);
				else
					moved += flow_send(l, f, sending ? limit : f->sent);
				complete &=
					f->received + f->duplicate >= f->sent && f->held_count == 0;
				complete &= !sending || f->sent >= limit;
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
			struct flow *f = flow_at(&c, p, q);

			r->sent += f->sent;
			r->received += f->received;
			r->reordered += f->reordered;
			r->duplicate += f->duplicate;
			if (f->received == 0 ||
			    (l->frames > 0 && f->sent < l->frames && !load_stop))
				r->ok = false;
			rte_pktmbuf_free_bulk(f->held, f->held_count);
		}
	}
	r->lost = r->sent - r->received;
	r->corrupt = c.corrupt;
	r->bytes = c.bytes;
	if (r->corrupt > 0 || (!l->lossy && r->lost + r->reordered + r->duplicate > 0))
		r->ok = false;
	free(c.flows);
}
