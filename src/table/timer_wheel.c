/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Level 0 has a slot for each of the next 63 ticks, level 1 for each of the next 63 rounds of level 0, and so on. The slot that time
 * is in at a level is never added to: it is being emptied, or was. Ticks are counted in 64 bits, so that they do not
 * wrap where the milliseconds do.
 */
#include "table/timer_wheel.h"

#define SLOT_MASK (XV_TIMER_SLOTS - 1)

static struct xv_timer_link *link_of(const struct xv_timer_wheel *w, uint32_t index)
{
	return (struct xv_timer_link *)(void *)((char *)w->links + (size_t)index * w->stride);
}

/* Milliseconds as the wheel counts them: those next to its own time. */
static uint64_t extend(const struct xv_timer_wheel *w, uint32_t ms)
{
	uint64_t base = w->tick << XV_TIMER_TICK_SHIFT;

	return base + (uint64_t)(int64_t)(int32_t)(ms - (uint32_t)base);
}

void xv_timer_wheel_init(struct xv_timer_wheel *w, void *links, size_t stride, uint32_t now_ms)
{
	unsigned int i;

	w->links = links;
	w->stride = stride;
	/* One wrap ahead: times a little before this one are no negative numbers. */
	w->tick = (UINT64_C(1) << 32 | now_ms) >> XV_TIMER_TICK_SHIFT;
	for (i = 0; i < XV_TIMER_LEVELS; i++)
		w->used[i] = 0;
	for (i = 0; i < XV_TIMER_LEVELS * XV_TIMER_SLOTS; i++)
		w->first[i] = 0;
}

void xv_timer_wheel_add(struct xv_timer_wheel *w, uint32_t index, uint32_t expires_ms)
{
	const uint64_t round_up = (1u << XV_TIMER_TICK_SHIFT) - 1;
	uint64_t tick = (extend(w, expires_ms) + round_up) >> XV_TIMER_TICK_SHIFT;
	struct xv_timer_link *link = link_of(w, index);
	unsigned int level = 0, slot;
	uint64_t ahead;

	if (tick <= w->tick)
		tick = w->tick + 1;
	while ((ahead = (tick >> level * XV_TIMER_LEVEL_BITS) - (w->tick >> level * XV_TIMER_LEVEL_BITS)) >= XV_TIMER_SLOTS &&
	       level < XV_TIMER_LEVELS - 1)
		level++;
	if (ahead >= XV_TIMER_SLOTS) /* farther than the wheel is long: look again on the way */
		tick = w->tick + ((uint64_t)SLOT_MASK << level * XV_TIMER_LEVEL_BITS);
	slot = (tick >> level * XV_TIMER_LEVEL_BITS) & SLOT_MASK;
	w->used[level] |= UINT64_C(1) << slot;
	slot += level * XV_TIMER_SLOTS;
	link->next = w->first[slot];
	link->prev = XV_TIMER_HEAD | slot;
	if (link->next != 0)
		link_of(w, link->next)->prev = index;
	w->first[slot] = index;
}

void xv_timer_wheel_del(struct xv_timer_wheel *w, uint32_t index)
{
	struct xv_timer_link *link = link_of(w, index);
	uint32_t slot = link->prev & ~XV_TIMER_HEAD;

	if (link->prev == 0)
		return;
	if (link->next != 0)
		link_of(w, link->next)->prev = link->prev;
	if (!(link->prev & XV_TIMER_HEAD)) {
		link_of(w, link->prev)->next = link->next;
	} else {
		w->first[slot] = link->next;
		if (link->next == 0)
			w->used[slot / XV_TIMER_SLOTS] &= ~(UINT64_C(1) << slot % XV_TIMER_SLOTS);
	}
	link->next = link->prev = 0;
}

/* A member of a slot that begins with the present tick; 0: none is left. Coarse slots first: what is in them may belong
 * to finer ones. */
static uint32_t due(const struct xv_timer_wheel *w)
{
	unsigned int level, slot;

	for (level = XV_TIMER_LEVELS; level-- > 0;) {
		if ((w->tick & ((UINT64_C(1) << level * XV_TIMER_LEVEL_BITS) - 1)) != 0)
			continue;
		slot = (w->tick >> level * XV_TIMER_LEVEL_BITS) & SLOT_MASK;
		if (w->used[level] >> slot & 1)
			return w->first[level * XV_TIMER_SLOTS + slot];
	}
	return 0;
}

/* The first tick with which a slot begins that has members, but not beyond `limit`. */
static uint64_t next_tick(const struct xv_timer_wheel *w, uint64_t limit)
{
	unsigned int level;

	for (level = 0; level < XV_TIMER_LEVELS; level++) {
		uint64_t used = w->used[level], at = w->tick >> level * XV_TIMER_LEVEL_BITS;
		unsigned int turn = (at + 1) & SLOT_MASK;

		if (used == 0)
			continue;
		used = used >> turn | used << (-turn & SLOT_MASK);
		at = (at + 1 + (unsigned int)__builtin_ctzll(used)) << level * XV_TIMER_LEVEL_BITS;
		if (at < limit)
			limit = at;
	}
	return limit;
}

uint32_t xv_timer_wheel_next(struct xv_timer_wheel *w, uint32_t now_ms)
{
	uint64_t now = extend(w, now_ms) >> XV_TIMER_TICK_SHIFT;
	uint32_t index = due(w);

	/* At most once around: there is a member where next_tick() says, or it is now. */
	while (index == 0 && w->tick < now) {
		w->tick = next_tick(w, now);
		index = due(w);
	}
	if (index != 0)
		xv_timer_wheel_del(w, index);
	return index;
}
