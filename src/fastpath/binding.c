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

int xv_rate_limit_create(uint64_t pps, uint64_t bps, uint32_t burst_ms, struct xv_rate_limit **limit)
{
	struct xv_rate_limit *l = calloc(1, sizeof(*l));

	if (l == NULL)
		return -ENOMEM;
	bucket_init(&l->packets, pps, burst_ms, LEAST_PACKETS);
	bucket_init(&l->bits, bps, burst_ms, LEAST_BITS);
	atomic_init(&l->refilled, xv_clock_cycles());
	*limit = l;
	return 0;
}

void xv_rate_limit_destroy(struct xv_rate_limit *limit)
{
	free(limit);
}

static void meter_replace(uint32_t id, struct xv_rate_limit *limit)
{
	struct xv_rate_limit *old = atomic_exchange(&xv_meters[id], limit);

	if (old != NULL)
		xv_rcu_defer(free, old);
}

int xv_meter_set(uint32_t id, uint64_t pps, uint64_t bps, uint32_t burst_ms)
{
	struct xv_rate_limit *limit;
	int rc;

	if (id >= XV_MAX_METERS)
		return -EINVAL;
	rc = xv_rate_limit_create(pps, bps, burst_ms, &limit);
	if (rc == 0)
		meter_replace(id, limit);
	return rc;
}

void xv_meter_del(uint32_t id)
{
	if (id < XV_MAX_METERS)
		meter_replace(id, NULL);
}
