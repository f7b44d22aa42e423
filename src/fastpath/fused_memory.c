/* SPDX-License-Identifier: Apache-2.0 */
/* Where the cache of fused flows comes from and goes to: the control thread's part. */
#include <errno.h>
#include <stdlib.h>

#include <rte_random.h>

#include "base/lazy_memory.h"
#include "fastpath/fused_state.h"

static void fused_free(struct xv_fused *fused)
{
	size_t n = fused->n_entries;

	xv_lazy_free(fused->sets, n * sizeof(struct set));
	xv_lazy_free(fused->entries, n * sizeof(struct xv_fused_entry));
	xv_lazy_free(fused->free_entries, n * sizeof(uint32_t));
	xv_lazy_free(fused->trails, TRAILS * sizeof(struct xv_trail));
	xv_lazy_free(fused->edits, n * sizeof(struct xv_fused_edit));
	xv_lazy_free(fused->mores, n * sizeof(struct more));
	xv_lazy_free(fused->guards, n * sizeof(struct guard));
	xv_lazy_free(fused->programs, n * sizeof(uint32_t));
	xv_lazy_free(fused->ops, n * sizeof(struct xv_fused_op));
	xv_lazy_free(fused->firsts, FIRST_SETS * FIRST_WAYS * sizeof(struct xv_fused_first));
	xv_lazy_free(fused->contexts, CONTEXTS * sizeof(struct xv_fused_context));
	free(fused->trail_buckets);
	free(fused);
}

int xv_fused_create(unsigned int entries, struct xv_flow_count *counts, struct xv_fused **fusedp)
{
	struct xv_fused *fused = calloc(1, sizeof(*fused));

	if (fused == NULL)
		return -ENOMEM;
	fused->n_entries = entries;
	fused->n_sets = RTE_MIN((uint32_t)SETS_MIN, entries / 2);
	fused->mask_lo = fused->n_sets - 1;
	fused->mask_hi = 2 * fused->n_sets - 1;
	fused->max_sets = entries;
	fused->counts = counts;
	fused->secret[0] = rte_rand() | 1;
	fused->secret[1] = rte_rand() | 1;
	fused->sets = xv_lazy_alloc(entries * sizeof(struct set), true);
	fused->entries = xv_lazy_alloc(entries * sizeof(struct xv_fused_entry), true);
	fused->free_entries = xv_lazy_alloc(entries * sizeof(uint32_t), false);
	fused->trails = xv_lazy_alloc(TRAILS * sizeof(struct xv_trail), false);
	fused->edits = xv_lazy_alloc(entries * sizeof(struct xv_fused_edit), false);
	fused->mores = xv_lazy_alloc(entries * sizeof(struct more), false);
	fused->guards = xv_lazy_alloc(entries * sizeof(struct guard), false);
	fused->programs = xv_lazy_alloc(entries * sizeof(uint32_t), false);
	fused->ops = xv_lazy_alloc(entries * sizeof(struct xv_fused_op), false);
	fused->firsts = xv_lazy_alloc(FIRST_SETS * FIRST_WAYS * sizeof(struct xv_fused_first), false);
	fused->contexts = xv_lazy_alloc(CONTEXTS * sizeof(struct xv_fused_context), false);
	fused->context_number = CONTEXT_FIRST;
	fused->trail_buckets = calloc(TRAIL_BUCKETS, sizeof(fused->trail_buckets[0]));
	if (fused->sets == NULL || fused->entries == NULL || fused->free_entries == NULL || fused->trails == NULL ||
	    fused->edits == NULL || fused->mores == NULL || fused->guards == NULL || fused->programs == NULL || fused->ops == NULL ||
	    fused->firsts == NULL || fused->contexts == NULL ||
	    fused->trail_buckets == NULL) {
		fused_free(fused);
		return -ENOMEM;
	}
	*fusedp = fused;
	return 0;
}

void xv_fused_destroy(struct xv_fused *fused)
{
	if (fused == NULL)
		return;
	xv_fused_flush(fused);
	fused_free(fused);
}
