/* SPDX-License-Identifier: Apache-2.0 */
/*
 * As many frames per second as this core can make. A fixed window of frames circulates in each
 * direction: what port B receives is sent again by port A as it is. So no frame is made, touched or
 * freed per pass (a guest that forwards), and no more are under way than the rings hold: the load
 * slows to what the system under test takes, instead of overrunning it.
 *
 * With --flows a frame is moved to another flow before it is sent again, by three stores into its
 * first line. That line goes from CPU to CPU then, as it does with guests that make their frames,
 * so figures with --flows, be it 1, and without do not compare.
 *
 * Frames of one direction are numbered 0 .. window-1 when they are made. As long as none is lost or
 * overtaken, the n-th received frame is number n mod window: looking at a sample checks them all.
 */
#include <stdlib.h>
#include <string.h>

#include "load.h"

#define CATCH_UP_MS 10 /* --rate */
#define LISTEN      64 /* passes between two looks at a queue that gets nothing but ARP */
#define SAMPLE      64 /* one frame in this many is looked at; that costs a cache miss each */

/*
 * The queue's flows, each once, then again: an LCG of full period (Hull and Dobell: power of two,
 * odd increment, multiplier 1 modulo 4), less what is not below count. No memory, no division.
 */
struct flow_order {
	uint32_t count; /* 0: frames stay in the flow that they were made for */
	uint32_t mask;
	uint32_t mul, inc;
	uint32_t next;
};

struct dir {
	const struct port *src, *dst;
	uint16_t queue;
	uint16_t held_count;
	bool listens; /* as its port, once connections are established */
	uint32_t next_sample;
	uint64_t sent, received; /* since the window was made */
	uint64_t shift;          /* known lost: the numbering runs ahead by so many */
	struct flow_writer writer;
	struct flow_order order;
	uint64_t due;                     /* --rate: cycles, when the next burst may go */
	struct rte_mbuf *held[MAX_BURST]; /* received, and the ring had no room to send */
} __rte_cache_aligned;

struct speed {
	struct load *l;
	struct dir *dirs;
	unsigned int ndirs;
	uint32_t window;
	uint64_t pace;        /* --rate: cycles a frame, in 1/256; 0: as fast as it goes */
	uint64_t moved, busy; /* of the last run_for() */
	uint64_t reordered, corrupt;
};

/* Another order at each call: a table that keeps flows in the order in which it first saw them must
 * not be walked in that order, or the CPU would prefetch what it looks up. */
static void flow_order_shuffle(struct flow_order *o)
{
	o->mul = (load_random() & ~7U) | 5;
	o->inc = load_random() | 1;
}

static inline uint32_t flow_order_next(struct flow_order *o)
{
	do
		o->next = (o->next * o->mul + o->inc) & o->mask;
	while (o->next >= o->count);
	return o->next;
}

/* Before sending again. */
static inline void dir_flows_set(struct dir *d, struct rte_mbuf **m, uint16_t n)
{
	for (uint16_t i = 0; i < n; i++) {
		uint32_t k = flow_order_next(&d->order);

		if (likely(m[i]->data_len >= FRAME_MIN)) /* or it is not one of ours */
			frame_flow_set(m[i], &d->writer, flow_number(d->src, d->queue, k));
		if (d->src->vxlan)
			vxlan_push(d->src, m[i], k);
	}
}

static void sample_check(struct speed *s, struct dir *d, const struct rte_mbuf *m)
{
	struct frame_tag tag;
	uint32_t expect, ahead;

	if ((d->dst->vxlan && !vxlan_verify(d->dst, m)) || !frame_tag_read(m, &tag) ||
	    tag.magic != FRAME_DATA || tag.src_port != d->src->index ||
	    tag.src_queue >= d->src->queues ||
	    !frame_verify(m, d->src, d->dst, &tag, d->order.count > 0)) {
		s->corrupt++;
		return;
	}
	if (d->src->queues > 1) /* the system may spread flows over our queues as it likes */
		return;
	expect = (d->received + d->shift) % s->window;
	ahead = (tag.seq + s->window - expect) % s->window;
	if (ahead == 0)
		return;
	if (ahead < s->window / 2)
		d->shift += ahead;
	else
		s->reordered++;
}

static inline uint16_t dir_receive(const struct dir *d, struct rte_mbuf **m, uint16_t burst)
{
	uint16_t n = rte_eth_rx_burst(d->dst->id, d->queue, m, burst);

	return d->dst->vxlan && n > 0 ? vxlan_receive(d->dst, m, n) : n;
}

static void dir_fill(struct speed *s, struct dir *d)
{
	const struct load *l = s->l;
	struct rte_mbuf *m[MAX_BURST];
	uint32_t window = d->listens ? 1 : s->window;

	d->sent = d->received = d->shift = 0;
	d->next_sample = SAMPLE;
	for (uint32_t i = 0; i < window;) {
		uint16_t n = RTE_MIN(window - i, l->burst), done;

		for (uint16_t k = 0; k < n; k++) {
			uint16_t len =
				l->size_min + load_random() % (l->size_max - l->size_min + 1);

			m[k] = frame_create(d->src, d->dst, d->queue, FRAME_DATA, i + k, len, 1);
			if (m[k] == NULL)
				rte_exit(EXIT_FAILURE, "xvio-load: out of buffers\n");
			if (d->src->vxlan)
				vxlan_push(d->src, m[k], i + k);
		}
		done = rte_eth_tx_burst(d->src->id, d->queue, m, n);
		rte_pktmbuf_free_bulk(m + done, n - done);
		d->sent += done;
		i += done;
		if (done < n && load_stop)
			break;
	}
}

static void dirs_fill(struct speed *s)
{
	/* Who does not send shall be known before others send to it. */
	for (unsigned int i = 0; i < s->ndirs; i++)
		if (s->dirs[i].listens)
			dir_fill(s, &s->dirs[i]);
	for (unsigned int i = 0; i < s->ndirs; i++)
		if (!s->dirs[i].listens)
			dir_fill(s, &s->dirs[i]);
}

/* Takes what is under way out of the system: until all of it is here, or a while after the last. */
static void dirs_drain(struct speed *s)
{
	struct rte_mbuf *m[MAX_BURST];
	uint64_t patience = rte_get_tsc_hz() / 5, last = rte_rdtsc(), under_way;

	for (unsigned int i = 0; i < s->ndirs; i++) {
		rte_pktmbuf_free_bulk(s->dirs[i].held, s->dirs[i].held_count);
		s->dirs[i].held_count = 0;
	}
	do {
		under_way = 0;
		for (unsigned int i = 0; i < s->ndirs; i++) {
			struct dir *d = &s->dirs[i];
			uint16_t n = dir_receive(d, m, s->l->burst);

			rte_pktmbuf_free_bulk(m, n);
			d->received += n;
			under_way += d->sent - d->received;
			if (n > 0)
				last = rte_rdtsc();
		}
		load_turn();
	} while (under_way > 0 && rte_rdtsc() - last < patience);
}

/* The first frame of who listens, and ARP. */
static void dir_listen(struct speed *s, struct dir *d)
{
	struct rte_mbuf *m[MAX_BURST];
	uint16_t n = dir_receive(d, m, s->l->burst);

	rte_pktmbuf_free_bulk(m, n);
	d->received += n;
}

static inline uint16_t dir_turn(struct speed *s, struct dir *d, uint16_t burst)
{
	struct rte_mbuf *m[MAX_BURST];
	uint16_t n, done;

	if (unlikely(d->held_count > 0)) {
		done = rte_eth_tx_burst(d->src->id, d->queue, d->held, d->held_count);
		d->sent += done;
		d->held_count -= done;
		memmove(d->held, d->held + done, d->held_count * sizeof(d->held[0]));
		if (d->held_count > 0)
			return 0;
	}
	n = dir_receive(d, m, burst);
	if (n == 0)
		return 0;
	if (d->next_sample <= n) {
		sample_check(s, d, m[0]);
		d->next_sample += SAMPLE;
	}
	d->next_sample -= n;
	d->received += n;
	if (d->order.count > 0)
		dir_flows_set(d, m, n);
	if (s->l->tso > 0)
		for (uint16_t i = 0; i < n; i++)
			frame_tso_set(m[i], s->l->tso);
	done = rte_eth_tx_burst(d->src->id, d->queue, m, n);
	d->sent += done;
	if (unlikely(done < n)) {
		d->held_count = n - done;
		memcpy(d->held, m + done, d->held_count * sizeof(m[0]));
	}
	return n;
}

/* Frames wait in our ring until a burst is due. What was missed (somebody else had our CPU) is
 * caught up with, but not what has been missed for CATCH_UP_MS. */
static uint16_t dir_paced_turn(struct speed *s, struct dir *d, uint16_t burst, uint64_t now)
{
	uint64_t most = rte_get_tsc_hz() / 1000 * CATCH_UP_MS;
	uint16_t n;

	if (now < d->due)
		return 0;
	n = dir_turn(s, d, burst);
	d->due = RTE_MAX(d->due, now - most) + (n * s->pace >> 8);
	return n;
}

static void run_for(struct speed *s, double seconds)
{
	uint64_t now = rte_rdtsc(), end = now + seconds * rte_get_tsc_hz();
	uint64_t busy = 0, moved_total = 0;
	uint16_t burst = s->l->burst;
	uint32_t pass = 0;

	while (now < end && !load_stop) {
		uint64_t moved = 0, t;

		for (unsigned int i = 0; i < s->ndirs; i++) {
			if (unlikely(s->pace != 0))
				moved += dir_paced_turn(s, &s->dirs[i], burst, now);
			else if (likely(!s->dirs[i].listens))
				moved += dir_turn(s, &s->dirs[i], burst);
			else if (pass % LISTEN == 0)
				dir_listen(s, &s->dirs[i]);
		}
		pass++;
		t = rte_rdtsc();
		if (moved > 0)
			busy += t - now;
		moved_total += moved;
		now = load_turn() ? rte_rdtsc() : t;
	}
	s->busy = busy;
	s->moved = moved_total;
}

static void dir_flows_init(struct dir *d, bool change)
{
	flow_writer_init(&d->writer, d->src, d->dst);
	d->order.count = change ? d->src->flows : 0;
	d->order.mask = rte_align32pow2(d->src->flows) - 1;
	flow_order_shuffle(&d->order);
}

/* Frames to send until each flow was seen once, not counting those that dir_fill() made. */
static uint64_t flows_unseen(const struct speed *s)
{
	uint64_t unseen = 0;

	for (unsigned int i = 0; i < s->ndirs; i++) {
		uint64_t all = s->window + s->dirs[i].order.count;

		if (s->dirs[i].listens)
			continue;
		unseen += all - RTE_MIN(all, s->dirs[i].sent);
	}
	return unseen;
}

/* The system learns addresses and fills its caches. */
static void warm_up(struct speed *s)
{
	uint64_t unseen, before;

	dirs_fill(s);
	run_for(s, s->l->warmup_s / 2);
	unseen = flows_unseen(s);
	do {
		before = unseen;
		if (unseen > 0)
			run_for(s, 0.1);
		unseen = flows_unseen(s);
	} while (unseen < before);
	dirs_drain(s);
	for (unsigned int i = 0; i < s->ndirs; i++) {
		flow_order_shuffle(&s->dirs[i].order);
		s->dirs[i].listens = s->dirs[i].src->listens;
	}
	dirs_fill(s);
	run_for(s, s->l->warmup_s / 2);
}

void speed_run(struct load *l)
{
	struct result *r = l->res;
	struct speed s = {.l = l, .window = l->window};
	uint64_t t0;

	if (s.window == 0)
		s.window = l->ports[0].queue_size * 3 / 4;
	if (l->rate > 0)
		s.pace = rte_get_tsc_hz() * 256 / l->rate;
	for (unsigned int i = 0; i < l->nports; i++)
		s.ndirs += l->ports[i].queues;
	s.dirs = aligned_alloc(RTE_CACHE_LINE_SIZE, s.ndirs * sizeof(*s.dirs));
	if (s.dirs == NULL)
		rte_exit(EXIT_FAILURE, "xvio-load: out of memory\n");
	memset(s.dirs, 0, s.ndirs * sizeof(*s.dirs));
	for (unsigned int i = 0, n = 0; i < l->nports; i++) {
		for (uint16_t q = 0; q < l->ports[i].queues; q++, n++) {
			s.dirs[n].src = &l->ports[i];
			s.dirs[n].dst = &l->ports[i ^ 1];
			s.dirs[n].queue = q;
			/* until then, answers establish connections */
			s.dirs[n].listens = l->ports[i].listens && !l->replies;
			dir_flows_init(&s.dirs[n], l->flows > 0);
		}
	}
	warm_up(&s);
	load_ready(l, rte_rdtsc());

	s.reordered = s.corrupt = 0;
	t0 = rte_rdtsc();
	run_for(&s, l->seconds);
	r->seconds = (double)(rte_rdtsc() - t0) / rte_get_tsc_hz();
	r->received = r->sent = s.moved;
	r->busy_cycles = s.busy;
	r->bytes = r->received * (l->size_min + l->size_max) / 2;

	dirs_drain(&s);
	for (unsigned int i = 0; i < s.ndirs; i++)
		r->lost += s.dirs[i].sent - s.dirs[i].received;
	r->sent += r->lost;
	r->reordered = s.reordered;
	r->corrupt = s.corrupt;
	r->ok = r->received > 0 && r->lost + r->reordered + r->corrupt == 0;
	free(s.dirs);
}
