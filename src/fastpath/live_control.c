/* SPDX-License-Identifier: Apache-2.0 */
/* Starting and ending a live trace; what workers do with it is in live_trace.c. */
#include <errno.h>
#include <stdlib.h>

#include <rte_bpf.h>

#include "base/clock.h"
#include "fastpath/live_state.h"
#include "table/rcu.h"

static void ignore(const struct xv_live_record *record, void *arg)
{
	(void)record;
	(void)arg;
}

int xv_live_trace_start(const struct xv_live_config *config, uint32_t *base)
{
	struct xv_live_trace *t;
	struct rte_bpf_jit jit = {0};
	uint64_t missed;

	if (atomic_load(&xv_live_trace) != NULL)
		return -EBUSY;
	t = calloc(1, sizeof(*t));
	if (t == NULL)
		return -ENOMEM;
	t->port = config->port;
	t->bytes = RTE_MIN(config->bytes, (uint16_t)XV_LIVE_BYTES);
	t->cycles_a_packet = xv_clock.hz / (config->rate > 0 ? config->rate : XV_LIVE_RATE);
	t->filter = config->filter;
	if (t->filter != NULL && rte_bpf_get_jit(t->filter, &jit) == 0)
		t->run = jit.func;
	/* What the last one has left. */
	(void)xv_live_trace_take(UINT32_MAX, ignore, NULL, &missed);
	*base = atomic_load(&xv_live_numbers);
	atomic_store_explicit(&xv_live_trace, t, memory_order_release);
	return 0;
}

static void trace_free(void *arg)
{
	struct xv_live_trace *t = arg;

	rte_bpf_destroy(t->filter);
	free(t);
}

void xv_live_trace_stop(void)
{
	struct xv_live_trace *t = atomic_exchange(&xv_live_trace, NULL);

	if (t != NULL)
		xv_rcu_defer(trace_free, t);
}
