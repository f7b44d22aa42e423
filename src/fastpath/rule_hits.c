/* SPDX-License-Identifier: Apache-2.0 */
#include "fastpath/rule_hits.h"

#include <errno.h>
#include <stddef.h>

#include "base/lazy_memory.h"
#include "fastpath/worker_state.h"

/* The control thread's own. Workers' numbers never go back: what they were when the counter was given out is taken off. */
struct counter {
	uint64_t packets, bytes;
	uint32_t holders;
	uint32_t next_free;
};

static struct counter *counters;
static uint32_t first_free, fresh;

int xv_rule_hits_init(void)
{
	counters = xv_lazy_alloc(XV_RULE_COUNTERS * sizeof(*counters), false);
	first_free = XV_RULE_COUNTER_NONE;
	fresh = XV_RULE_COUNTER_NONE + 1;
	return counters != NULL ? 0 : -ENOMEM;
}

void xv_rule_hits_fini(void)
{
	xv_lazy_free(counters, XV_RULE_COUNTERS * sizeof(*counters));
	counters = NULL;
}

static void workers_read(uint32_t counter, uint64_t *packets, uint64_t *bytes)
{
	unsigned int i;

	*packets = *bytes = 0;
	for (i = 0; i < XV_MAX_WORKERS; i++) {
		const struct xv_rule_count *counts = xv_worker_rule_counts(i);

		if (counts == NULL)
			continue;
		*packets += atomic_load_explicit(&counts[counter].packets, memory_order_relaxed);
		*bytes += atomic_load_explicit(&counts[counter].bytes, memory_order_relaxed);
	}
}

uint32_t xv_rule_counter_new(void)
{
	uint32_t counter = first_free;
	uint64_t packets, bytes;

	if (counters == NULL)
		return XV_RULE_COUNTER_NONE;
	if (counter != XV_RULE_COUNTER_NONE)
		first_free = counters[counter].next_free;
	else if (fresh < XV_RULE_COUNTERS)
		counter = fresh++;
	else
		return XV_RULE_COUNTER_NONE;
	workers_read(counter, &packets, &bytes);
	counters[counter] = (struct counter){.packets = -packets, .bytes = -bytes, .holders = 1};
	return counter;
}

void xv_rule_counter_hold(uint32_t counter)
{
	if (counter != XV_RULE_COUNTER_NONE && counters != NULL)
		counters[counter].holders++;
}

void xv_rule_counter_release(uint32_t counter)
{
	/* The table may be gone before the last policy, which waits for a grace period. */
	if (counter == XV_RULE_COUNTER_NONE || counters == NULL || --counters[counter].holders > 0)
		return;
	counters[counter].next_free = first_free;
	first_free = counter;
}

void xv_rule_counter_add(uint32_t counter, uint64_t packets, uint64_t bytes)
{
	if (counter == XV_RULE_COUNTER_NONE)
		return;
	counters[counter].packets += packets;
	counters[counter].bytes += bytes;
}

void xv_rule_counter_read(uint32_t counter, uint64_t *packets, uint64_t *bytes)
{
	*packets = *bytes = 0;
	if (counter == XV_RULE_COUNTER_NONE || counters == NULL)
		return;
	workers_read(counter, packets, bytes);
	*packets += counters[counter].packets;
	*bytes += counters[counter].bytes;
}
