/* SPDX-License-Identifier: Apache-2.0 */
/* What the cache of fused flows is made of. Private to fused.c and fused_memory.c. */
#pragma once

#include "fastpath/fused.h"

#define WAYS 8 /* one cache line of them is a set */
#define TRAILS 65536
#define TRAIL_BUCKETS 16384
#define EDITS 65536

/* A way: upper half of the hash as tag, number of the entry plus one; 0 = free. */
struct set {
	_Alignas(64) uint64_t ways[WAYS];
};

struct xv_fused {
	struct set *sets;
	struct xv_fused_entry *entries;
	uint32_t *free_entries, n_free;
	uint32_t entries_fresh; /* those from here on were never used */
	uint32_t set_mask, n_entries;
	uint32_t sweep_at;
	uint64_t secret[2];
	struct xv_flow_count *counts;
	struct xv_trail *trails, *free_trails;
	struct xv_trail **trail_buckets;
	uint32_t trails_fresh;
	struct xv_fused_edit *edits;
	uint32_t *free_edits, n_free_edits, edits_fresh;
	struct xv_fused_stats stats;
};
