/* SPDX-License-Identifier: Apache-2.0 */
/* The control thread's side of bindings, rate limits and meters. */
#include "fastpath/binding.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "fastpath/flow.h"
#include "fastpath/meter.h"
#include "fastpath/rate_limit.h"
#include "fastpath/worker_state.h"
#include "table/rcu.h"

#define LEAST_PACKETS 64
#define LEAST_BITS (INT64_C(128) * 1024 * 8)

_Atomic(struct xv_port *) xv_port_table[XV_MAX_PORTS];

void xv_port_bind(struct xv_port *port, struct xv_binding *binding)
{
	const struct xv_binding *old;

	if (binding != NULL) {
		binding->version = atomic_load(&xv_port_decisions[port->id]) + 1;
		atomic_store(&xv_port_table[port->id], port);
	}
	old = atomic_exchange(&port->binding, binding);
	xv_flows_invalidate_port(port);
	if (old != NULL)
		xv_rcu_defer(free, (void *)(uintptr_t)old);
}

static void bucket_init(struct xv_rate_bucket *b, uint64_t per_second, uint32_t burst_ms, int64_t least)
{
	b->per_second = per_second;
	b->depth = (int64_t)((unsigned __int128)per_second * burst_ms / 1000);
	if (b->depth < least)
		b->depth = least;
	b->depth *= XV_RATE_TOKEN;
	atomic_init(&b->tokens, b->depth);
}

void xv_rate_limit_init(struct xv_rate_limit *limit, uint64_t pps, uint64_t bps, uint32_t burst_ms)
{
	bucket_init(&limit->packets, pps, burst_ms, LEAST_PACKETS);
	bucket_init(&limit->bits, bps, burst_ms, LEAST_BITS);
	atomic_init(&limit->refilled, xv_clock_cycles());
}

int xv_rate_limit_create(uint64_t pps, uint64_t bps, uint32_t burst_ms, struct xv_rate_limit **limit)
{
	struct xv_rate_limit *l = calloc(1, sizeof(*l));

	if (l == NULL)
		return -ENOMEM;
	xv_rate_limit_init(l, pps, bps, burst_ms);
	*limit = l;
	return 0;
}

void xv_rate_limit_destroy(struct xv_rate_limit *limit)
{
	free(limit);
}

static void meter_replace(uint32_t id, struct xv_meter *meter)
{
	struct xv_meter *old = atomic_exchange(&xv_meters[id], meter);

	if (old != NULL)
		xv_rcu_defer(free, old);
}

int xv_meter_set(uint32_t id, uint64_t pps, uint64_t bps, uint32_t burst_ms)
{
	struct xv_meter *meter;

	if (id >= XV_MAX_METERS)
		return -EINVAL;
	meter = calloc(1, sizeof(*meter));
	if (meter == NULL)
		return -ENOMEM;
	xv_rate_limit_init(&meter->limit, pps, bps, burst_ms);
	meter->since = xv_clock_cycles();
	meter_replace(id, meter);
	return 0;
}

int xv_meter_get_stats(uint32_t id, struct xv_meter_stats *stats)
{
	const struct xv_meter *meter = id < XV_MAX_METERS ? atomic_load(&xv_meters[id]) : NULL;

	if (meter == NULL)
		return -ENOENT;
	stats->packets = atomic_load_explicit(&meter->packets, memory_order_relaxed);
	stats->bytes = atomic_load_explicit(&meter->bytes, memory_order_relaxed);
	stats->dropped_packets = atomic_load_explicit(&meter->dropped_packets, memory_order_relaxed);
	stats->dropped_bytes = atomic_load_explicit(&meter->dropped_bytes, memory_order_relaxed);
	stats->age_ms = (xv_clock_cycles() - meter->since) * 1000 / xv_clock.hz;
	return 0;
}

void xv_meter_del(uint32_t id)
{
	if (id < XV_MAX_METERS)
		meter_replace(id, NULL);
}
