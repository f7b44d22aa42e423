/* SPDX-License-Identifier: Apache-2.0 */
/* What the cache of fused flows is made of. Private to fused.c and fused_memory.c. */
#pragma once

#include "fastpath/fused.h"

#define WAYS 8 /* one cache line of them is a set */
#define TRAILS 65536
#define TRAIL_BUCKETS 16384

/* A way: upper half of the hash as tag, number of the entry plus one; 0 = free. */
struct set {
	_Alignas(64) uint64_t ways[WAYS];
};

/*
 * Sets are found by linear hashing: their number grows one by one with the entries, so that few flows touch little
 * memory, and none of the growing takes long. Sets from n_sets - (mask_lo + 1) on have not been split at this level. When an
 * entry that is in use has to make way for another, they grow, too: two that throw each other out would do so for ever.
 */
#define SETS_MIN 64
#define SETS_OF(entries) ((entries)*4 / 5) /* sets not split at this level have twice that load: 1 in 1,000 overflows */

/* Of packets that pass several zones, the connections behind the first. */
struct more {
	struct xv_ct_hit hits[XV_FUSED_CT_MAX - 1];
	uint8_t n;
};

/* One writer, the worker; read by the control thread at any time. */
struct counters {
	_Atomic uint64_t hits, misses, inserted, evicted, entries, trails;
};

struct xv_fused {
	struct set *sets;
	struct xv_fused_entry *entries;
	uint32_t *free_entries, n_free;
	uint32_t entries_fresh; /* those from here on were never used */
	uint32_t n_sets, mask_lo, mask_hi, max_sets;
	uint32_t n_entries;
	uint32_t sweep_at, room_at; /* sets: where the next sweep, the next search for an entry to throw out goes on */
	uint64_t secret[2];
	struct xv_flow_count *counts;
	struct xv_trail *trails, *free_trails;
	struct xv_trail **trail_buckets;
	uint32_t trails_fresh;
	/* Of the entry with the same number, if its flags say that it has them. */
	struct xv_fused_edit *edits;
	struct more *mores;
	struct counters stats;
};
