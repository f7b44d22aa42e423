/* SPDX-License-Identifier: Apache-2.0 */
/* Workers and the ledger as the control thread sees them. The loop itself is in worker.c. */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <rte_lcore.h>

#include "base/clock.h"
#include "base/lazy_memory.h"
#include "base/log.h"
#include "base/watchdog.h"
#include "fastpath/drop_watch.h"
#include "fastpath/flow.h"
#include "fastpath/fragments.h"
#include "fastpath/fused.h"
#include "fastpath/live_state.h"
#include "fastpath/network.h"
#include "fastpath/packet_out.h"
#include "fastpath/upcall_state.h"
#include "fastpath/vtep.h"
#include "fastpath/rule_hits.h"
#include "fastpath/worker_state.h"
#include "port/eal.h"
#include "table/rcu.h"

#define INJECT_MAX 256
#define PACKET_OUTS_MAX 1024

_Atomic uint32_t xv_batch = 32;
_Atomic uint64_t xv_batch_wait_cycles, xv_idle_spin_cycles;
_Atomic uint64_t xv_barrier_seq;

static struct xv_worker *workers[XV_MAX_WORKERS];
/* Counters of flows, by worker id. They only ever go up, and outlive the worker: who comes later under its id goes on. */
static struct xv_flow_count *flow_counts[XV_MAX_WORKERS];
static struct xv_rule_count *rule_counts[XV_MAX_WORKERS];
/* What workers that are gone have counted. */
static struct xv_counters retired[XV_MAX_PORTS];

void xv_worker_configure(const struct xv_worker_settings *settings)
{
	atomic_store(&xv_batch, settings->batch);
	atomic_store(&xv_batch_wait_cycles, xv_clock_cycles_of_us(settings->batch_wait_us));
	atomic_store(&xv_idle_spin_cycles, xv_clock_cycles_of_us(settings->idle_spin_us));
}

static void wake(struct xv_worker *w)
{
	(void)eventfd_write(w->wake_fd, 1);
}

void xv_worker_wake(struct xv_worker *w)
{
	wake(w);
}

struct xv_worker *xv_worker_by_id(unsigned int id)
{
	return workers[id];
}

/* One producer, one consumer; NULL: no memory. */
static struct rte_ring *ring_new(const char *name, unsigned int size)
{
	struct rte_ring *ring = aligned_alloc(RTE_CACHE_LINE_SIZE,
					      RTE_ALIGN_CEIL((size_t)rte_ring_get_memsize(size), RTE_CACHE_LINE_SIZE));

	if (ring != NULL && rte_ring_init(ring, name, size, RING_F_SP_ENQ | RING_F_SC_DEQ) != 0) {
		free(ring);
		ring = NULL;
	}
	return ring;
}

static void *worker_main(void *arg)
{
	struct xv_worker *w = arg;
	timer_t watchdog = NULL;
	cpu_set_t set;

	(void)pthread_setname_np(pthread_self(), w->name);
	if (w->cpu >= 0) {
		CPU_ZERO(&set);
		CPU_SET(w->cpu, &set);
		(void)pthread_setaffinity_np(pthread_self(), sizeof(set), &set); /* checked before */
	}
	/* An lcore id gives the thread its cache of packet buffers. */
	if (rte_thread_register() != 0)
		xv_log(XV_LOG_WARNING, "worker", "%s: DPDK has no lcore id left: slower", w->name);
	if (xv_watchdog_start(&watchdog) != 0)
		xv_log(XV_LOG_WARNING, "worker", "%s: no timer left for its watchdog", w->name);
	xv_worker_loop(w);
	if (watchdog != NULL)
		xv_watchdog_stop(watchdog);
	rte_thread_unregister();
	return NULL;
}

static void worker_free(struct xv_worker *w)
{
	xv_fused_destroy(w->fused);
	xv_fragments_destroy(w->fragments);
	if (w->flow_reader != NULL)
		xv_cls_reader_destroy(xv_flow_classifier, w->flow_reader);
	xv_lazy_free(w->counters, XV_MAX_PORTS * sizeof(*w->counters));
	xv_lazy_free(w->outputs, XV_MAX_PORTS * sizeof(*w->outputs));
	xv_lazy_free(w->drop_ring, sizeof(*w->drop_ring));
	xv_lazy_free(w->live_ring, sizeof(*w->live_ring));
	if (w->epoll_fd >= 0)
		close(w->epoll_fd);
	if (w->wake_fd >= 0)
		close(w->wake_fd);
	free(w->injected);
	free(w->upcalls);
	free(w->packet_outs);
	free(atomic_load(&w->list));
	free(w);
}

static bool cpu_usable(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	return cpu < CPU_SETSIZE && sched_getaffinity(getpid(), sizeof(set), &set) == 0 &&
	       CPU_ISSET(cpu, &set);
}

static unsigned int n_workers(void)
{
	unsigned int id, n = 0;

	for (id = 0; id < XV_MAX_WORKERS; id++)
		n += workers[id] != NULL;
	return n;
}

int xv_worker_create(const char *name, int cpu, bool manual, struct xv_worker **worker,
		     struct xv_err *err)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u32 = XV_NO_RXQ};
	struct xv_worker *w;
	unsigned int id;
	int rc;

	for (id = 0; id < XV_MAX_WORKERS && workers[id] != NULL; id++)
		;
	if (id == XV_MAX_WORKERS)
		return xv_err_set(err, -ENOSPC, XV_ERR_RANGE, "no more than %d workers",
				  XV_MAX_WORKERS);
	if (cpu >= 0 && !cpu_usable(cpu))
		return xv_err_set(err, -EINVAL, XV_ERR_RANGE,
				  "cpu %d does not exist or is not allowed for this process", cpu);
	w = aligned_alloc(64, RTE_ALIGN_CEIL(sizeof(*w), 64));
	if (w == NULL)
		return xv_err_set(err, -ENOMEM, XV_ERR_RESOURCE, "out of memory");
	memset(w, 0, sizeof(*w));
	snprintf(w->name, sizeof(w->name), "%s", name);
	w->cpu = cpu;
	w->id = id;
	w->manual = manual;
	w->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	w->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	w->counters = xv_lazy_alloc(XV_MAX_PORTS * sizeof(*w->counters), false);
	w->outputs = xv_lazy_alloc(XV_MAX_PORTS * sizeof(*w->outputs), false);
	w->drop_ring = xv_lazy_alloc(sizeof(*w->drop_ring), false);
	w->live_ring = xv_lazy_alloc(sizeof(*w->live_ring), false);
	if (flow_counts[id] == NULL)
		flow_counts[id] = xv_lazy_alloc(XV_MAX_FLOWS * sizeof(*flow_counts[id]), false);
	w->flow_counts = flow_counts[id];
	if (rule_counts[id] == NULL)
		rule_counts[id] = xv_lazy_alloc(XV_RULE_COUNTERS * sizeof(*rule_counts[id]), false);
	w->rule_counts = rule_counts[id];
	atomic_init(&w->sweep_done, atomic_load(&xv_sweep_wanted));
	w->sweep_target = atomic_load(&xv_sweep_wanted);
	w->injected = ring_new("inject", INJECT_MAX);
	w->upcalls = ring_new("upcalls", XV_UPCALLS_RING);
	w->packet_outs = ring_new("packet-outs", PACKET_OUTS_MAX);
	atomic_init(&w->list, calloc(1, sizeof(struct xv_poll_list)));
	if (w->epoll_fd < 0 || w->wake_fd < 0 || w->counters == NULL || w->outputs == NULL || w->flow_counts == NULL ||
	    w->rule_counts == NULL || w->drop_ring == NULL || w->live_ring == NULL ||
	    xv_fused_create(xv_fused_entries, w->flow_counts, &w->fused) != 0 ||
	    xv_fragments_create(xv_flow_drop_fragment, w, &w->fragments) != 0 ||
	    xv_cls_reader_create(xv_flow_classifier, &w->flow_reader) != 0 ||
	    w->injected == NULL || w->upcalls == NULL || w->packet_outs == NULL || atomic_load(&w->list) == NULL ||
	    epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, w->wake_fd, &event) != 0) {
		rc = xv_err_set(err, -ENOMEM, XV_ERR_RESOURCE, "out of memory or descriptors");
		goto err_free;
	}
	rc = xv_rcu_register(id);
	if (rc != 0) {
		xv_err_set(err, rc, XV_ERR_INTERNAL, "RCU reader %u: %s", id, strerror(-rc));
		goto err_free;
	}
	w->started = xv_clock_tsc();
	/* Those that run already are to see it before the new one does anything. */
	if (n_workers() > 0) {
		xv_conntrack_set_shared(xv_flow_conntrack, true);
		xv_workers_barrier();
	}
	if (!manual) {
		rc = -pthread_create(&w->thread, NULL, worker_main, w);
		if (rc != 0) {
			xv_err_set(err, rc, XV_ERR_RESOURCE, "thread: %s", strerror(-rc));
			goto err_unregister;
		}
	}
	workers[id] = w;
	*worker = w;
	return 0;

err_unregister:
	if (n_workers() == 1)
		xv_conntrack_set_shared(xv_flow_conntrack, false);
	xv_rcu_unregister(id);
err_free:
	worker_free(w);
	return rc;
}

/* Keep what a worker has counted. */
static void retire(const struct xv_worker *w)
{
	const size_t cells = sizeof(struct xv_counters) / sizeof(_Atomic uint64_t);
	unsigned int p;
	size_t i;

	for (p = 0; p < XV_MAX_PORTS; p++) {
		_Atomic uint64_t *from = (_Atomic uint64_t *)&w->counters[p];
		_Atomic uint64_t *to = (_Atomic uint64_t *)&retired[p];

		for (i = 0; i < cells; i++)
			count(&to[i], atomic_load_explicit(&from[i], memory_order_relaxed));
	}
}

void xv_worker_destroy(struct xv_worker *w)
{
	unsigned int i, q;
	struct rte_mbuf *m;
	void *out;

	if (w == NULL)
		return;
	if (!w->manual) {
		xv_worker_drain(w, NULL, 200);
		atomic_store(&w->stop, true);
		wake(w);
		pthread_join(w->thread, NULL);
	}
	/* The thread is gone; what it still held for slow receivers goes with it. */
	for (i = 0; i < w->n_outputs; i++)
		for (q = 0; q < w->outputs_listed[i]->n; q++) {
			if (q < w->outputs_listed[i]->counted)
				count(&w->counters[w->outputs_listed[i]->pkts[q]->port].held,
				      (uint64_t)-1);
			xv_packet_drop(w, w->outputs_listed[i]->pkts[q], XV_DROP_DETACHED);
		}
	xv_tunnel_waiting_drop(w);
	xv_fragments_forget(w->fragments, NULL);
	while (rte_ring_sc_dequeue(w->injected, (void **)&m) == 0)
		rte_pktmbuf_free(m);
	while (rte_ring_sc_dequeue(w->upcalls, (void **)&m) == 0)
		xv_upcall_free(xv_upcall_of(m));
	while (rte_ring_sc_dequeue(w->packet_outs, &out) == 0)
		(void)rte_ring_mp_enqueue(xv_packet_outs_done, out);
	retire(w);
	xv_rcu_unregister(w->id);
	workers[w->id] = NULL;
	worker_free(w);
	if (n_workers() == 1)
		xv_conntrack_set_shared(xv_flow_conntrack, false);
}

const char *xv_worker_name(const struct xv_worker *worker)
{
	return worker->name;
}

const struct xv_fused *xv_worker_fused(const struct xv_worker *worker)
{
	return worker->fused;
}

uint64_t xv_worker_fused_with(const struct xv_worker *worker, const struct xv_flow *flow)
{
	return atomic_load_explicit(&worker->flow_counts[flow->slot].fused, memory_order_relaxed);
}

void xv_worker_get_stats(const struct xv_worker *w, struct xv_worker_stats *stats)
{
	*stats = (struct xv_worker_stats){
		.cpu = w->cpu,
		.cycles_total = xv_clock_tsc() - w->started,
		.cycles_busy = atomic_load(&w->cycles_busy),
		.sleeps = atomic_load(&w->sleeps),
		.wakeups = atomic_load(&w->wakeups),
		.bursts = atomic_load(&w->bursts),
		.packets = atomic_load(&w->packets),
		.overdue = atomic_load(&w->overdue),
		.queues = atomic_load(&w->list)->n,
	};
}

uint64_t xv_drop_watch_take(void (*fn)(const struct xv_drop_record *record, void *arg), void *arg)
{
	uint64_t missed = 0;
	unsigned int i;

	for (i = 0; i < XV_MAX_WORKERS; i++)
		if (workers[i] != NULL)
			missed += xv_drop_ring_take(workers[i]->drop_ring, &workers[i]->drops_missed, fn, arg);
	return missed;
}

unsigned int xv_live_trace_take(unsigned int max, void (*fn)(const struct xv_live_record *record, void *arg), void *arg,
				uint64_t *missed)
{
	unsigned int i, n = 0;

	*missed = 0;
	for (i = 0; i < XV_MAX_WORKERS; i++) {
		struct xv_worker *w = workers[i];
		uint64_t total;

		if (w == NULL)
			continue;
		total = atomic_load_explicit(&w->live_ring->missed, memory_order_relaxed);
		*missed += total - w->live_missed;
		w->live_missed = total;
		n += xv_live_ring_take(w->live_ring, max - n, fn, arg);
	}
	return n;
}

static bool list_has(const struct xv_queue_ref *refs, unsigned int n, const struct xv_poll_queue *q)
{
	unsigned int i;

	for (i = 0; i < n; i++)
		if (refs[i].port == q->port && refs[i].queue == q->queue)
			return true;
	return false;
}

int xv_worker_set_queues(struct xv_worker *w, const struct xv_queue_ref *refs, unsigned int n)
{
	struct xv_poll_list *list = calloc(1, sizeof(*list) + n * sizeof(list->queues[0]));
	struct xv_poll_list *old = atomic_load(&w->list);
	unsigned int i;

	if (list == NULL)
		return -ENOMEM;
	list->n = n;
	for (i = 0; i < n; i++) {
		list->queues[i].port = refs[i].port;
		list->queues[i].queue = refs[i].queue;
		list->queues[i].tag = xv_port_rxq_tag(refs[i].port, refs[i].queue);
	}
	/* Descriptors first: a wake-up too many does no harm, one too few would. */
	for (i = 0; i < old->n; i++)
		if (!list_has(refs, n, &old->queues[i]))
			xv_port_rxq_set_worker(old->queues[i].port, old->queues[i].queue, -1, -1);
	for (i = 0; i < n; i++)
		xv_port_rxq_set_worker(refs[i].port, refs[i].queue, w->epoll_fd, w->wake_fd);
	atomic_store_explicit(&w->list, list, memory_order_release);
	xv_rcu_defer(free, old);
	wake(w);
	return 0;
}

struct xv_flow_count *xv_worker_flow_counts(unsigned int i)
{
	return flow_counts[i];
}

const struct xv_rule_count *xv_worker_rule_counts(unsigned int i)
{
	return rule_counts[i];
}

void xv_workers_wake(void)
{
	unsigned int i;

	for (i = 0; i < XV_MAX_WORKERS; i++)
		if (workers[i] != NULL && !workers[i]->manual)
			wake(workers[i]);
}

uint64_t xv_workers_swept(void)
{
	uint64_t least = atomic_load(&xv_sweep_wanted);
	unsigned int i;

	for (i = 0; i < XV_MAX_WORKERS; i++)
		if (workers[i] != NULL)
			least = RTE_MIN(least, atomic_load_explicit(&workers[i]->sweep_done, memory_order_acquire));
	return least;
}

void xv_workers_barrier(void)
{
	const struct timespec pause = {.tv_nsec = 20000};
	uint64_t seq = atomic_fetch_add(&xv_barrier_seq, 1) + 1;
	unsigned int i;

	for (i = 0; i < XV_MAX_WORKERS; i++) {
		if (workers[i] == NULL)
			continue;
		if (workers[i]->manual)
			(void)xv_worker_run_once(workers[i]);
		else
			wake(workers[i]);
	}
	for (i = 0; i < XV_MAX_WORKERS; i++)
		while (workers[i] != NULL &&
		       atomic_load_explicit(&workers[i]->barrier_done, memory_order_acquire) < seq)
			(void)nanosleep(&pause, NULL);
}

static bool holds(const struct xv_worker *w, const struct xv_port *port)
{
	unsigned int i, first = port != NULL ? port->id : 0, end = port != NULL ? first + 1u : XV_MAX_PORTS;

	for (i = first; i < end; i++)
		if (atomic_load_explicit(&w->counters[i].held, memory_order_acquire) != 0)
			return true;
	return false;
}

void xv_worker_drain(const struct xv_worker *w, const struct xv_port *port, unsigned int timeout_ms)
{
	const struct timespec pause = {.tv_nsec = 50000};
	uint64_t end = xv_clock_tsc() + xv_clock_cycles_of_us(timeout_ms * UINT64_C(1000));

	while (!w->manual && holds(w, port) && xv_clock_tsc() < end)
		(void)nanosleep(&pause, NULL);
}

void xv_workers_forget_port(struct xv_port *port)
{
	atomic_store(&xv_port_table[port->id], NULL);
	xv_workers_barrier();
}

void xv_worker_inject(struct xv_port *port, const uint8_t *frame, uint16_t len)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(xv_packet_pool());
	struct xv_worker *w = NULL;
	unsigned int i;

	for (i = 0; i < XV_MAX_WORKERS && w == NULL; i++)
		w = workers[i];
	if (m == NULL || w == NULL || len > XV_PACKET_DATA_BYTES) {
		rte_pktmbuf_free(m);
		return;
	}
	memcpy(rte_pktmbuf_append(m, len), frame, len);
	m->port = port->id;
	if (rte_ring_sp_enqueue(w->injected, m) != 0)
		rte_pktmbuf_free(m);
	wake(w);
}

static void add_counters(struct xv_ledger *ledger, const struct xv_counters *c)
{
	unsigned int i;

	ledger->rx_packets += atomic_load_explicit(&c->rx_packets, memory_order_relaxed);
	ledger->rx_bytes += atomic_load_explicit(&c->rx_bytes, memory_order_relaxed);
	ledger->copies += atomic_load_explicit(&c->copies, memory_order_relaxed);
	ledger->forwarded += atomic_load_explicit(&c->forwarded, memory_order_relaxed);
	ledger->punts += atomic_load_explicit(&c->punts, memory_order_relaxed);
	ledger->held += atomic_load_explicit(&c->held, memory_order_relaxed);
	ledger->tx_packets += atomic_load_explicit(&c->tx_packets, memory_order_relaxed);
	ledger->tx_bytes += atomic_load_explicit(&c->tx_bytes, memory_order_relaxed);
	ledger->answers += atomic_load_explicit(&c->answers, memory_order_relaxed);
	ledger->answers_limited += atomic_load_explicit(&c->answers_limited, memory_order_relaxed);
	for (i = 0; i < XV_DROP_MAX; i++)
		ledger->drops[i] += atomic_load_explicit(&c->drops[i], memory_order_relaxed);
}

void xv_ledger_read(struct xv_port *port, struct xv_ledger *ledger)
{
	struct xv_port_info info = {0};
	unsigned int i;

	memset(ledger, 0, sizeof(*ledger));
	for (i = 0; i < XV_MAX_WORKERS; i++)
		if (workers[i] != NULL)
			add_counters(ledger, &workers[i]->counters[port->id]);
	add_counters(ledger, &retired[port->id]);
	/* Frames that the device refused for their header: they came in, and were dropped. */
	port->ops->info(port, &info);
	ledger->rx_packets += info.rx_header_errors;
	ledger->drops[XV_DROP_HEADER] += info.rx_header_errors;
}

void xv_ledger_add_tx(uint16_t port_id, uint64_t packets, uint64_t bytes)
{
	count(&retired[port_id].tx_packets, packets);
	count(&retired[port_id].tx_bytes, bytes);
}

void xv_ledger_reset(uint16_t port_id)
{
	unsigned int i;

	for (i = 0; i < XV_MAX_WORKERS; i++)
		if (workers[i] != NULL)
			memset(&workers[i]->counters[port_id], 0, sizeof(struct xv_counters));
	memset(&retired[port_id], 0, sizeof(retired[port_id]));
}
