/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A packet worker: one thread, a list of receive queues to poll, private counters and output queues.
 * Control-thread interface; the loop itself is in worker.c, what happens to a burst in pipeline.c.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "port/port.h"

#define XV_MAX_WORKERS 32

struct xv_worker;

/* Settings of all workers, may be changed while they run. */
struct xv_worker_settings {
	uint32_t batch;		/* serve a queue when this many packets wait, 1..XV_BURST ... */
	uint32_t batch_wait_us; /* ... or this long after the first was seen; 0 = at once */
	uint32_t idle_spin_us;	/* poll this long without work before sleeping */
};
void xv_worker_configure(const struct xv_worker_settings *settings);

struct xv_worker_stats {
	int cpu; /* -1 = not pinned */
	uint64_t cycles_total, cycles_busy; /* busy: poll rounds that moved at least one packet */
	uint64_t sleeps, wakeups;
	uint64_t bursts, packets;
	uint64_t overdue; /* packets that referred to a guest's memory after their burst: never */
	unsigned int queues;
};

/* control. Start a thread (pinned to cpu, or -1). manual (tests): no thread, see run_once. */
int xv_worker_create(const char *name, int cpu, bool manual, struct xv_worker **worker,
		     struct xv_err *err);
/* control. Stop and free; must poll no queue. What it holds for slow receivers gets 200 ms to leave, then
 * it is dropped. Its counters live on in the ledger. Accepts NULL. */
void xv_worker_destroy(struct xv_worker *worker);
const char *xv_worker_name(const struct xv_worker *worker);
void xv_worker_get_stats(const struct xv_worker *worker, struct xv_worker_stats *stats);

struct xv_queue_ref {
	struct xv_port *port;
	uint16_t queue;
};
/* control. The queues that this worker polls become exactly these; takes effect without stopping
 * anybody. A queue must be polled by one worker at a time: take it away (and xv_workers_barrier()) before giving it to another. */
int xv_worker_set_queues(struct xv_worker *worker, const struct xv_queue_ref *refs, unsigned int n);

/* control. Wait until every worker has gone once around its loop: whatever was unpublished before is
 * neither polled, held nor referred to by any worker afterwards. Wakes sleepers; takes microseconds. */
void xv_workers_barrier(void);

/*
 * control. Wait, at most timeout_ms, until nothing that came in by `port` is held by the worker for a
 * slow receiver: whoever polls the port's queue next would overtake it. NULL: by any port.
 */
void xv_worker_drain(const struct xv_worker *worker, const struct xv_port *port,
		     unsigned int timeout_ms);

/*
 * control. A port is about to go: unbind it, take its queues from the poll lists and it from member lists first; then this
 * makes workers drop what waits for it and returns when none refers to it. xv_port_destroy() may follow.
 */
void xv_workers_forget_port(struct xv_port *port);

/* control. Flood a frame into the port's network or wire as if the port had received it (RARP after migration). */
void xv_worker_inject(struct xv_port *port, const uint8_t *frame, uint16_t len);

struct xv_flow;
struct xv_fused;
/* control, to look at its statistics. */
const struct xv_fused *xv_worker_fused(const struct xv_worker *worker);
/* control. How many of its fused flows have this flow on their trail. */
uint64_t xv_worker_fused_with(const struct xv_worker *worker, const struct xv_flow *flow);

/* tests: one poll round of a manual worker on the caller's thread. Packets moved. */
unsigned int xv_worker_run_once(struct xv_worker *worker);
