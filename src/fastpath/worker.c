/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loop of a packet worker: poll my queues, hand bursts to the pipeline, flush outputs, say that I am
 * quiescent; sleep when nothing has moved for a while.
 */
#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>

#include <rte_pause.h>

#include "base/clock.h"
#include "fastpath/flow.h"
#include "fastpath/fragments.h"
#include "fastpath/fused.h"
#include "fastpath/live_state.h"
#include "fastpath/network.h"
#include "fastpath/rate_limit.h"
#include "fastpath/upcall_state.h"
#include "fastpath/vtep.h"
#include "fastpath/worker_state.h"
#include "table/rcu.h"

#define NAP_MIN_US 50	/* first timer sleep where nothing can wake us ... */
#define NAP_MAX_US 1000 /* ... doubled up to this */
#define SWEEP_SETS 64	/* of the cache of fused flows, in a round: a few microseconds */
#define LOOK_CYCLES 64	/* for each queue of the worker, between two looks at an empty one */
#define LOOK_AHEAD 8	/* queues found to have packets before the first of them is served */

/*
 * Whether a batch is there, or its time is up: chasing a producer packet by packet costs both sides. A
 * queue whose traffic is too slow to fill a batch in that time is served at once, so that a ping does
 * not wait for company.
 */
static bool batch_is_ready(struct xv_worker *w, struct xv_poll_queue *q)
{
	uint64_t wait = atomic_load_explicit(&xv_batch_wait_cycles, memory_order_relaxed), expected;
	uint16_t batch, backlog;

	batch = (uint16_t)atomic_load_explicit(&xv_batch, memory_order_relaxed);
	backlog = q->port->ops->rx_backlog(q->port, q->queue, batch);
	if (backlog == 0) {
		q->waiting_since = 0;
		q->next_look = w->now + w->look_pause;
		return false;
	}
	if (backlog >= batch || wait == 0)
		return true;
	expected = (uint64_t)(batch - backlog) * q->cycles_per_packet;
	if (q->waiting_since == 0) {
		if (expected > wait || q->last_served == 0) /* the first ever: of its traffic nothing is known */
			return true;
		q->waiting_since = w->now;
	} else if (w->now - q->waiting_since >= wait) {
		return true;
	}
	/* Reading the guest's index takes the line from it: come back when it can have filled the rest. */
	q->next_look = w->now + RTE_MIN(expected, q->waiting_since + wait - w->now);
	return false;
}

static void note_arrivals(struct xv_poll_queue *q, uint64_t now, uint16_t n)
{
	uint64_t cycles_per_packet = (now - q->last_served) / n;

	q->cycles_per_packet = (3 * q->cycles_per_packet + cycles_per_packet) / 4;
	q->last_served = now;
	q->waiting_since = 0;
	q->next_look = 0;
}

/* A wire holds its input back while the other end has no room: nothing is lost on it. */
static bool wire_has_room(struct xv_worker *w, const struct xv_binding *binding, uint16_t queue)
{
	struct xv_port *peer = binding->peer;
	uint16_t queues = atomic_load_explicit(&peer->tx_queues, memory_order_relaxed);

	return queues == 0 || w->outputs[peer->id].queue[queue % queues].n == 0;
}

/*
 * A packet that takes the long way costs as much as ten or more that do not, so whoever sends only such (new connections, misses)
 * would have most of the worker. While there are others that take the short way, such queues together get one part in LONG_SHARE of
 * the time; one that has used up its part is left alone until it has some again. Of a queue with packets of both kinds less is
 * asked, as they are mixed. LONG_CREDIT is what a queue can have saved, and owe at most, so those that open a few connections never notice.
 * Time that nobody else wants is free: behind a round in which nobody took the short way whoever owes may go on, but in small steps
 * while the others may be back at any time. Uplinks are never held back: that would hit all who are behind them.
 */
#define LONG_SHARE	16
#define LONG_CREDIT_US	1000 /* of which one part in LONG_SHARE is a queue's: some 50 long ways */
#define LONG_STEP	4    /* packets: some microseconds */
#define SHORT_RECENT_US 100

/* Since when no other queue has had packets that took the short way. */
static uint64_t others_seen(const struct xv_worker *w, const struct xv_poll_queue *q)
{
	return w->short_queue == q ? w->short_seen_elsewhere : w->short_seen;
}

static bool are_recent(const struct xv_worker *w, uint64_t seen)
{
	return w->now - seen < xv_clock.hz / 1000000 * SHORT_RECENT_US;
}

static void note_short_ways(struct xv_worker *w, const struct xv_poll_queue *q)
{
	if (w->short_queue != q) {
		w->short_seen_elsewhere = w->short_seen;
		w->short_queue = q;
	}
	w->short_seen = w->now;
}

/* How many packets a queue may bring, as far as it owes time. */
static uint16_t long_ways_allow(struct xv_worker *w, const struct xv_poll_queue *q)
{
	uint64_t seen;

	if (likely(q->long_until <= w->now))
		return XV_BURST;
	seen = others_seen(w, q);
	if (!are_recent(w, seen))
		return XV_BURST;
	w->owing++;
	if (seen < w->round_before)
		return LONG_STEP;
	w->earliest = RTE_MIN(w->earliest, q->long_until);
	return 0;
}

/* Of n packets of a burst some took the long way. */
static void charge_long_ways(struct xv_worker *w, struct xv_poll_queue *q, uint16_t n)
{
	uint64_t credit = xv_clock.hz / 1000000 * LONG_CREDIT_US, owing = RTE_MAX(w->owing_before, 1u);

	if (!are_recent(w, others_seen(w, q)) || q->port->ops->kind == XV_PORT_ETHDEV || q->port->ops->kind == XV_PORT_KERNEL)
		return;
	if (q->long_until + credit < w->now)
		q->long_until = w->now - credit;
	q->long_until += w->long_cycles * LONG_SHARE * RTE_MIN(w->long_ways, n) / n * owing;
	q->long_until = RTE_MIN(q->long_until, w->now + credit * owing);
}

/* How many packets the queue may bring now; 0: it is held back. */
static uint16_t may_bring(struct xv_worker *w, const struct xv_poll_queue *q, const struct xv_binding *binding)
{
	uint16_t n = long_ways_allow(w, q);

	if (n == 0 || (binding->forward == XV_FORWARD_WIRE && !wire_has_room(w, binding, q->queue)))
		return 0;
	if (unlikely(binding->rx_limit != NULL)) {
		n = xv_rate_limit_allow(binding->rx_limit, n, w->now);
		if (n == 0)
			w->earliest = RTE_MIN(w->earliest, w->now + xv_rate_limit_wait(binding->rx_limit, w->now));
	}
	return n;
}

/*
 * Whether to serve a queue now. Of many queues most are empty at any time: that is to be found out before
 * anything else of them is touched.
 */
static bool is_due(struct xv_worker *w, struct xv_poll_queue *q)
{
	q->throttled = false;
	if (q->queue >= atomic_load_explicit(&q->port->rx_queues, memory_order_relaxed)) {
		q->next_look = w->now + w->look_pause;
		return false;
	}
	return q->port->ops->rx_backlog == NULL || batch_is_ready(w, q);
}

static unsigned int serve_queue(struct xv_worker *w, struct xv_poll_queue *q)
{
	struct xv_port *port = q->port;
	const struct xv_binding *binding = atomic_load_explicit(&port->binding, memory_order_acquire);
	struct rte_mbuf *pkts[XV_BURST];
	uint16_t n = XV_BURST;

	if (binding != NULL) {
		n = may_bring(w, q, binding);
		if (unlikely(n == 0)) {
			q->throttled = true;
			return 0;
		}
	}
	n = port->ops->rx(port, q->queue, pkts, n);
	if (n == 0)
		return 0;
	note_arrivals(q, w->now, n);
	if (unlikely(binding != NULL && binding->rx_limit != NULL)) {
		uint64_t bytes = 0;
		uint16_t i;

		for (i = 0; i < n; i++)
			bytes += pkts[i]->pkt_len;
		xv_rate_limit_charge(binding->rx_limit, n, bytes);
	}
	count(&w->bursts, 1);
	count(&w->packets, n);
	w->long_ways = 0;
	w->long_cycles = 0;
	w->borrows = port->ops->rx_lent != NULL && port->ops->rx_lent(port, q->queue);
	xv_pipeline_burst(w, port, q->queue, binding, pkts, n);
	if (unlikely(w->borrows)) {
		xv_output_settle(w);
		w->borrows = false;
		count(&w->overdue, port->ops->rx_return(port, q->queue));
	}
	if (unlikely(w->long_ways > 0))
		charge_long_ways(w, q, n);
	if (likely(w->long_ways < n))
		note_short_ways(w, q);
	return n;
}

/*
 * Queues with packets are served in groups. Looking at a queue has asked for the lines of its ring: they are on
 * their way while the group's others are served.
 */
static unsigned int poll_queues(struct xv_worker *w, struct xv_poll_list *list)
{
	struct xv_poll_queue *due[LOOK_AHEAD];
	unsigned int i, k, n = 0, moved = 0;

	for (i = 0; i < list->n; i++) {
		if (w->now >= list->queues[i].next_look && is_due(w, &list->queues[i]))
			due[n++] = &list->queues[i];
		if (n < LOOK_AHEAD && i + 1 < list->n)
			continue;
		for (k = 0; k < n; k++)
			moved += serve_queue(w, due[k]);
		n = 0;
	}
	return moved;
}

/* Frames that the control thread wants to have gone in somewhere. */
static unsigned int poll_injected(struct xv_worker *w)
{
	struct rte_mbuf *m;

	if (likely(rte_ring_empty(w->injected)) || rte_ring_sc_dequeue(w->injected, (void **)&m) != 0)
		return 0;
	{
		struct xv_port *port = xv_port_by_id(m->port);

		if (port == NULL)
			rte_pktmbuf_free(m); /* not counted in yet */
		else
			xv_pipeline_burst(w, port, 0, atomic_load(&port->binding), &m, 1);
	}
	return 1;
}

/* Packets with actions of their own. */
static unsigned int poll_packet_outs(struct xv_worker *w)
{
	unsigned int n;
	void *out;

	if (likely(rte_ring_empty(w->packet_outs)))
		return 0;
	for (n = 0; n < XV_BURST && rte_ring_sc_dequeue(w->packet_outs, &out) == 0; n++) {
		xv_flow_execute_out(w, out);
		(void)rte_ring_mp_enqueue(xv_packet_outs_done, out);
	}
	return n;
}

/* Tell the control thread of upcalls, if it sleeps. */
static void tell_upcalls(struct xv_worker *w)
{
	w->upcalls_sent = false;
	if (atomic_exchange(&xv_upcalls_idle, false))
		(void)eventfd_write(xv_upcalls_event_fd, 1);
}

/* A sweep of the fused flows that the control thread asked for, a piece each round. */
static void sweep_piece(struct xv_worker *w, uint64_t wanted)
{
	uint64_t done = atomic_load_explicit(&w->sweep_done, memory_order_relaxed);

	if (!atomic_load_explicit(&xv_fusing, memory_order_relaxed) && !xv_fused_is_empty(w->fused))
		xv_fused_flush(w->fused);
	if (w->sweep_target == done)
		w->sweep_target = wanted;
	if (xv_fused_sweep(w->fused, SWEEP_SETS))
		atomic_store_explicit(&w->sweep_done, w->sweep_target, memory_order_release);
}

static bool sweep_pending(const struct xv_worker *w)
{
	return atomic_load_explicit(&w->sweep_done, memory_order_relaxed) !=
	       atomic_load_explicit(&xv_sweep_wanted, memory_order_acquire);
}

/* Tell the control thread that flows are wanted: at most once a millisecond, for it costs a system call. */
static void tell_flows_wanted(struct xv_worker *w)
{
	if (w->now - w->flows_told < xv_clock.hz / 1000)
		return;
	w->flows_told = w->now;
	w->flows_wanted = false;
	(void)eventfd_write(xv_flows_event_fd, 1);
}

static bool port_is_gone(uint16_t port_id)
{
	return xv_port_by_id(port_id) == NULL;
}

/* Fragments wait for others: not for ever, and not if their port is gone, which a barrier is for. */
static void tidy_fragments(struct xv_worker *w, uint64_t barrier)
{
	if (barrier != atomic_load_explicit(&w->barrier_done, memory_order_relaxed))
		xv_fragments_forget(w->fragments, port_is_gone);
	xv_fragments_expire(w->fragments, xv_worker_now_ms(w));
}

static void begin_round(struct xv_worker *w, const struct xv_poll_list *list)
{
	uint64_t wait = atomic_load_explicit(&xv_batch_wait_cycles, memory_order_relaxed);

	w->round_before = w->now;
	w->now = xv_clock_cycles();
	if (unlikely(w->now >= w->next_s)) {
		w->now_s = xv_network_now_s();
		w->next_s = w->now + xv_clock.hz / 4;
	}
	w->earliest = UINT64_MAX;
	w->owing_before = w->owing;
	w->owing = 0;
	w->live = atomic_load_explicit(&xv_live_trace, memory_order_acquire);
	/* With few queues as good as none. With many, looking at empty ones would be most of what the worker does. */
	w->look_pause = RTE_MIN(list->n * (uint64_t)LOOK_CYCLES, wait / 4);
}

/* One time around. Returns how many packets moved. */
static unsigned int poll_round(struct xv_worker *w)
{
	struct xv_poll_list *list = atomic_load_explicit(&w->list, memory_order_acquire);
	uint64_t barrier = atomic_load_explicit(&xv_barrier_seq, memory_order_acquire);
	unsigned int moved;

	begin_round(w, list);
	moved = poll_queues(w, list);
	moved += poll_injected(w);
	moved += poll_packet_outs(w);
	if (unlikely(w->n_waiting > 0))
		xv_tunnel_waiting(w);
	if (unlikely(xv_fragments_any(w->fragments)))
		tidy_fragments(w, barrier);
	if (w->n_outputs > 0)
		moved += xv_output_flush_all(w);
	if (unlikely(sweep_pending(w)))
		sweep_piece(w, atomic_load_explicit(&xv_sweep_wanted, memory_order_acquire));
	if (unlikely(w->flows_wanted))
		tell_flows_wanted(w);
	if (unlikely(w->upcalls_sent))
		tell_upcalls(w);
	atomic_store_explicit(&w->barrier_done, barrier, memory_order_release);
	return moved;
}

unsigned int xv_worker_run_once(struct xv_worker *w)
{
	unsigned int moved;

	xv_rcu_online(w->id);
	moved = poll_round(w);
	xv_rcu_quiescent(w->id);
	xv_rcu_offline(w->id);
	return moved;
}

static void disarm(struct xv_poll_list *list, unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n; i++)
		if (list->queues[i].port->ops->rx_disarm != NULL)
			list->queues[i].port->ops->rx_disarm(list->queues[i].port,
							     list->queues[i].queue);
}

/*
 * Ask all queues for a wake-up. Returns false if one has work already. *timer: someone cannot wake us.
 * A queue held back by its rate limit or a full wire is not asked: its packets have to wait.
 */
static bool arm(struct xv_poll_list *list, bool *timer)
{
	unsigned int i;

	for (i = 0; i < list->n; i++) {
		struct xv_poll_queue *q = &list->queues[i];
		enum xv_arm answer = XV_ARM_POLL;

		if (q->queue >= atomic_load_explicit(&q->port->rx_queues, memory_order_acquire))
			continue;
		if (!q->throttled && q->port->ops->rx_arm != NULL)
			answer = q->port->ops->rx_arm(q->port, q->queue);
		if (answer == XV_ARM_BUSY) {
			disarm(list, i);
			return false;
		}
		*timer |= answer == XV_ARM_POLL;
	}
	return true;
}

/* Whose kick has woken us goes first: all else is cold by now, and looking around takes longer than serving it. */
static void serve_woken(struct xv_worker *w, struct xv_poll_list *list, const struct epoll_event *events, int n)
{
	unsigned int moved = 0, k;
	int i;

	begin_round(w, list);
	for (i = 0; i < n; i++)
		for (k = 0; k < list->n; k++)
			if (list->queues[k].tag == events[i].data.u32 && is_due(w, &list->queues[k]))
				moved += serve_queue(w, &list->queues[k]);
	if (moved == 0)
		return;
	(void)xv_output_flush_all(w);
	count(&w->cycles_busy, xv_clock_tsc() - w->now);
}

/* Sleep until a queue, the control thread or the timer wakes us. */
static void sleep_until_woken(struct xv_worker *w)
{
	struct xv_poll_list *list = atomic_load_explicit(&w->list, memory_order_acquire);
	struct epoll_event events[16];
	struct timespec timeout = {.tv_sec = 3600};
	bool timer = w->n_outputs > 0 || w->n_waiting > 0;
	int n;

	if (!arm(list, &timer))
		return;
	if (timer) {
		uint64_t us = NAP_MIN_US << RTE_MIN(w->naps, 5u);

		us = RTE_MIN(us, (uint64_t)NAP_MAX_US);
		if (w->earliest != UINT64_MAX && w->earliest > w->now)
			us = RTE_MIN(us, (w->earliest - w->now) * 1000000 / xv_clock.hz + 1);
		timeout = (struct timespec){.tv_nsec = (long)us * 1000};
		w->naps++;
	} else if (xv_fragments_any(w->fragments)) {
		timeout.tv_sec = 1; /* those that do not come have to be given up */
	}
	count(&w->sleeps, 1);
	xv_rcu_offline(w->id);
	/* The watchdog's signal is no reason to get up and spin. */
	do
		n = epoll_pwait2(w->epoll_fd, events, RTE_DIM(events), &timeout, NULL);
	while (n < 0 && errno == EINTR);
	xv_rcu_online(w->id);
	count(&w->wakeups, 1);
	/* The list may be another one now; rings of the old that are gone need no disarming. */
	list = atomic_load_explicit(&w->list, memory_order_acquire);
	serve_woken(w, list, events, n);
	disarm(list, list->n);
}

/* Whether a queue is waiting for its batch: then the time to sleep has not come. */
static bool batches_pending(const struct xv_worker *w)
{
	const struct xv_poll_list *list = atomic_load_explicit(&w->list, memory_order_acquire);
	unsigned int i;

	for (i = 0; i < list->n; i++)
		if (list->queues[i].waiting_since != 0 && !list->queues[i].throttled)
			return true;
	return false;
}

void xv_worker_loop(struct xv_worker *w)
{
	uint64_t idle_since = 0;

	xv_rcu_online(w->id);
	while (!atomic_load_explicit(&w->stop, memory_order_relaxed)) {
		unsigned int moved = poll_round(w);
		uint64_t now = xv_clock_tsc();

		if (moved > 0) {
			count(&w->cycles_busy, now - w->now);
			idle_since = 0;
			w->naps = 0;
		} else if (idle_since == 0) {
			idle_since = now;
		} else if (now - idle_since >
				   atomic_load_explicit(&xv_idle_spin_cycles, memory_order_relaxed) &&
			   !batches_pending(w) && !sweep_pending(w) && !w->flows_wanted) {
			sleep_until_woken(w);
			idle_since = w->naps > 0 ? idle_since : 0;
		} else {
			rte_pause();
		}
		xv_rcu_quiescent(w->id);
	}
	xv_rcu_offline(w->id);
}
