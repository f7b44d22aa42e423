/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Consistent hashing as Maglev does it (Eisenbud et al., "Maglev: A Fast and Reliable Software
 * Network Load Balancer", NSDI 2016, section 3.4), with weights: a look-up table that is filled by
 * permutations which depend on one backend each. Every backend gets its share within a percent, and
 * when one comes or goes few entries of the others move. Hosts that have the same backends have the
 * same table, in whatever order they know them.
 *
 * Pure functions, any thread.
 */
#pragma once

#include <stdint.h>

#define XV_MAGLEV_SIZE     16381 /* a prime, more than 100 times as many as backends */
#define XV_MAGLEV_BACKENDS 128
#define XV_MAGLEV_NONE     UINT16_MAX

struct xv_maglev_backend {
	uint64_t name; /* what it is, hashed well (xv_maglev_name()): nothing else decides about its
			  places */
	uint32_t weight; /* 0: it gets none */
};

/* A number for n bytes that name a backend. */
uint64_t xv_maglev_name(const void *bytes, unsigned int n);

/* Fill the table with indices of backends (n <= XV_MAGLEV_BACKENDS); XV_MAGLEV_NONE if none has a
 * weight. */
void xv_maglev_fill(uint16_t table[XV_MAGLEV_SIZE], const struct xv_maglev_backend *backends,
		    unsigned int n);

static inline uint16_t xv_maglev_pick(const uint16_t table[XV_MAGLEV_SIZE], uint32_t hash)
{
	return table[(uint64_t)hash * XV_MAGLEV_SIZE >> 32];
}
