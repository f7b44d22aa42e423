/* SPDX-License-Identifier: Apache-2.0 */
#include "fastpath/rate_limit.h"

#include <stdbool.h>

#include "base/clock.h"

/* Whoever moves `refilled` forward adds the tokens of that span: 10 us or more, to write seldom. */
static void refill(struct xv_rate_limit *limit, uint64_t now)
{
	uint64_t then = atomic_load_explicit(&limit->refilled, memory_order_relaxed);
	uint64_t span = now - then, second = xv_clock.hz;
	struct xv_rate_bucket *buckets[] = {&limit->packets, &limit->bits};
	unsigned int i;

	if ((int64_t)span < (int64_t)(second / 100000))
		return;
	if (!atomic_compare_exchange_strong_explicit(&limit->refilled, &then, now,
						     memory_order_relaxed, memory_order_relaxed))
		return;
	if (span > second)
		span = second; /* no bucket is deeper than a second */
	for (i = 0; i < 2; i++) {
		struct xv_rate_bucket *b = buckets[i];
		int64_t tokens, add;

		if (b->per_second == 0)
			continue;
		add = (int64_t)((unsigned __int128)b->per_second * XV_RATE_TOKEN * span / second);
		tokens = atomic_fetch_add_explicit(&b->tokens, add, memory_order_relaxed) + add;
		if (tokens > b->depth) /* others may only have taken some meanwhile */
			atomic_fetch_sub_explicit(&b->tokens, tokens - b->depth,
						  memory_order_relaxed);
	}
}

static int64_t tokens_of(struct xv_rate_bucket *b)
{
	return b->per_second == 0 ? INT64_MAX
				  : atomic_load_explicit(&b->tokens, memory_order_relaxed);
}

uint16_t xv_rate_limit_allow(struct xv_rate_limit *limit, uint16_t n, uint64_t now_cycles)
{
	int64_t packets;

	refill(limit, now_cycles);
	if (tokens_of(&limit->bits) <= 0)
		return 0;
	packets = tokens_of(&limit->packets);
	if (packets <= 0)
		return 0;
	if (packets == INT64_MAX)
		return n;
	packets = (packets + XV_RATE_TOKEN - 1) / XV_RATE_TOKEN; /* a started token counts: debt evens it out */
	return packets < n ? (uint16_t)packets : n;
}

void xv_rate_limit_charge(struct xv_rate_limit *limit, uint16_t packets, uint64_t bytes)
{
	if (limit->packets.per_second != 0)
		atomic_fetch_sub_explicit(&limit->packets.tokens, packets * XV_RATE_TOKEN,
					  memory_order_relaxed);
	if (limit->bits.per_second != 0)
		atomic_fetch_sub_explicit(&limit->bits.tokens, (int64_t)(bytes * 8) * XV_RATE_TOKEN,
					  memory_order_relaxed);
}

uint64_t xv_rate_limit_wait(struct xv_rate_limit *limit, uint64_t now_cycles)
{
	struct xv_rate_bucket *buckets[] = {&limit->packets, &limit->bits};
	uint64_t longest = 0;
	unsigned int i;

	refill(limit, now_cycles);
	for (i = 0; i < 2; i++) {
		int64_t tokens = tokens_of(buckets[i]);

		if (tokens <= 0) {
			uint64_t wait =
				(uint64_t)((unsigned __int128)(uint64_t)(1 - tokens) * xv_clock.hz /
					   XV_RATE_TOKEN / buckets[i]->per_second);

			if (wait > longest)
				longest = wait;
		}
	}
	return longest;
}
