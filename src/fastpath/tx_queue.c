/* SPDX-License-Identifier: Apache-2.0 */
#include "fastpath/tx_queue.h"

#include <stddef.h>

_Atomic(struct xv_tx_queues *) xv_tx_queues[XV_MAX_PORTS];

static struct xv_tx_queue *queue_of(struct xv_tx_queues *queues, uint32_t id)
{
	struct xv_tx_queue *otherwise = NULL;
	unsigned int i;

	for (i = 0; i < queues->n; i++) {
		if (queues->queue[i].id == id)
			return &queues->queue[i];
		if (queues->queue[i].id == 0)
			otherwise = &queues->queue[i];
	}
	return otherwise;
}

static bool allows(struct xv_rate_limit *limit, uint64_t now_cycles)
{
	return xv_rate_limit_allow(limit, 1, now_cycles) > 0;
}

bool xv_tx_queues_allow(uint32_t port_id, struct xv_rate_limit *limit, uint32_t queue, uint32_t bytes, uint64_t now_cycles)
{
	struct xv_tx_queues *queues = atomic_load_explicit(&xv_tx_queues[port_id], memory_order_acquire);
	struct xv_tx_queue *q = queues != NULL ? queue_of(queues, queue) : NULL;
	bool own = false, allowed;

	if (q == NULL) {
		allowed = allows(limit, now_cycles);
	} else {
		own = q->has_min && allows(&q->min, now_cycles);
		allowed = (!q->has_max || allows(&q->max, now_cycles)) && (own || allows(limit, now_cycles));
	}
	if (q != NULL && !allowed)
		atomic_fetch_add_explicit(&q->dropped, 1, memory_order_relaxed);
	if (!allowed)
		return false;
	/* What a queue gets of its own is taken from all: the port's limit may go into debt for it. */
	xv_rate_limit_charge(limit, 1, bytes);
	if (q == NULL)
		return true;
	if (own)
		xv_rate_limit_charge(&q->min, 1, bytes);
	if (q->has_max)
		xv_rate_limit_charge(&q->max, 1, bytes);
	atomic_fetch_add_explicit(&q->packets, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&q->bytes, bytes, memory_order_relaxed);
	return true;
}
