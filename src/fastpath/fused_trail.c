/* SPDX-License-Identifier: Apache-2.0 */
/* The trails that a worker's entries stand for: found again by their flows, kept as long as an entry stands for them. */
#include <string.h>

#include "fastpath/fused_state.h"
#include "fastpath/trails.h"
#include "fastpath/worker_state.h"

struct xv_trail *xv_trail_get(struct xv_fused *fused, const struct xv_fused_step *steps, unsigned int n,
			      const struct xv_fused_end *end)
{
	struct xv_flow *flows[XV_TRAIL_MAX];
	int16_t grown[XV_TRAIL_MAX];
	uint64_t hash = n;
	uint32_t tcp = 0;
	struct xv_trail **bucket, *trail;
	unsigned int i;

	for (i = 0; i < n; i++) {
		flows[i] = steps[i].flow;
		grown[i] = steps[i].grown;
		tcp |= (uint32_t)steps[i].tcp << i;
		hash = mix(hash ^ (uintptr_t)flows[i], fused->secret[0]);
	}
	bucket = &fused->trail_buckets[hash % TRAIL_BUCKETS];
	for (trail = *bucket; trail != NULL; trail = trail->next)
		if (trail->hash == hash && trail->n == n && trail->encap == end->encap &&
		    trail->pop == end->pop && trail->tcp == tcp &&
		    atomic_load_explicit(&trail->valid, memory_order_acquire) &&
		    memcmp(trail->flows, flows, n * sizeof(flows[0])) == 0 &&
		    memcmp(trail->grown, grown, n * sizeof(grown[0])) == 0)
			return trail;
	trail = fused->free_trails;
	if (trail != NULL)
		fused->free_trails = trail->next;
	else if (fused->trails_fresh < TRAILS)
		trail = &fused->trails[fused->trails_fresh++];
	else
		return NULL;
	trail->n = (uint8_t)n;
	trail->entries = 0;
	trail->hash = hash;
	trail->encap = end->encap;
	trail->pop = end->pop;
	trail->tcp = tcp;
	memcpy(trail->flows, flows, n * sizeof(flows[0]));
	memcpy(trail->grown, grown, n * sizeof(grown[0]));
	if (!xv_trail_link_flows(trail, steps)) {
		trail->next = fused->free_trails;
		fused->free_trails = trail;
		return NULL;
	}
	trail->next = *bucket;
	*bucket = trail;
	count(&fused->stats.trails, 1);
	return trail;
}

void xv_trail_put(struct xv_fused *fused, struct xv_trail *trail)
{
	struct xv_trail **at;

	if (trail->entries > 0)
		return;
	xv_trail_unlink_flows(trail);
	for (at = &fused->trail_buckets[trail->hash % TRAIL_BUCKETS]; *at != trail; at = &(*at)->next)
		;
	*at = trail->next;
	trail->next = fused->free_trails;
	fused->free_trails = trail;
	count(&fused->stats.trails, (uint64_t)-1);
}
