/* SPDX-License-Identifier: Apache-2.0 */
/* The control thread's side of a port's queues. */
#include "fastpath/tx_queue.h"

#include <errno.h>
#include <stdlib.h>

#include "table/rcu.h"

static struct xv_tx_queue *find(struct xv_tx_queues *queues, uint32_t id)
{
	unsigned int i;

	for (i = 0; queues != NULL && i < queues->n; i++)
		if (queues->queue[i].id == id)
			return &queues->queue[i];
	return NULL;
}

static void init(struct xv_tx_queue *q, const struct xv_tx_queue_config *config, const struct xv_tx_queue *before)
{
	q->id = config->id;
	q->has_min = config->min_bps != 0;
	q->has_max = config->max_bps != 0;
	xv_rate_limit_init(&q->min, 0, config->min_bps, config->burst_ms);
	xv_rate_limit_init(&q->max, 0, config->max_bps, config->burst_ms);
	/* What workers count while this is done is lost. */
	atomic_init(&q->packets, before != NULL ? atomic_load(&before->packets) : 0);
	atomic_init(&q->bytes, before != NULL ? atomic_load(&before->bytes) : 0);
	atomic_init(&q->dropped, before != NULL ? atomic_load(&before->dropped) : 0);
}

int xv_tx_queues_set(uint32_t port_id, const struct xv_tx_queue_config *config, unsigned int n)
{
	struct xv_tx_queues *queues = NULL, *old;
	unsigned int i;

	if (port_id >= XV_MAX_PORTS || n > XV_TX_QUEUES_MAX)
		return -EINVAL;
	if (n > 0) {
		queues = calloc(1, sizeof(*queues) + n * sizeof(queues->queue[0]));
		if (queues == NULL)
			return -ENOMEM;
		queues->n = n;
		for (i = 0; i < n; i++)
			init(&queues->queue[i], &config[i], find(atomic_load(&xv_tx_queues[port_id]), config[i].id));
	}
	old = atomic_exchange(&xv_tx_queues[port_id], queues);
	if (old != NULL)
		xv_rcu_defer(free, old);
	return 0;
}

unsigned int xv_tx_queues_get_stats(uint32_t port_id, struct xv_tx_queue_stats *stats, unsigned int max)
{
	struct xv_tx_queues *queues = port_id < XV_MAX_PORTS ? atomic_load(&xv_tx_queues[port_id]) : NULL;
	unsigned int i, n = queues != NULL ? queues->n : 0;

	for (i = 0; i < n && i < max; i++)
		stats[i] = (struct xv_tx_queue_stats){
			.id = queues->queue[i].id,
			.packets = atomic_load(&queues->queue[i].packets),
			.bytes = atomic_load(&queues->queue[i].bytes),
			.dropped = atomic_load(&queues->queue[i].dropped),
		};
	return n;
}
