/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hierarchical timer wheel (Varghese, Lauck 1987) over the members of an array, which are named by index and have a link in
 * place; index 0 is nobody. Adding and removing are a few instructions, whatever the number of members, and time passes over
 * empty slots without looking at each.
 *
 * The wheel does not know when a member is due, only a slot of time for it. xv_timer_wheel_next() takes out the next member whose
 * slot has come: its owner compares the clock, and adds it again if its time is still to come (it was put off meanwhile, which needs
 * no word to the wheel; or it was far away, and is now sorted into a finer slot).
 *
 * Times are in milliseconds of 32 bits, which wrap; at most 2^30 ahead (12 days), and time must come by at least that often.
 * No threads: the owner's lock.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define XV_TIMER_TICK_SHIFT 6 /* a tick is 64 ms: members come up to that much late, never early */
#define XV_TIMER_LEVEL_BITS 6
#define XV_TIMER_LEVELS 4
#define XV_TIMER_SLOTS (1u << XV_TIMER_LEVEL_BITS)

struct xv_timer_link {
	uint32_t next; /* index; 0: the last */
	uint32_t prev; /* index; XV_TIMER_HEAD | slot: the first; 0: not in a wheel */
};
#define XV_TIMER_HEAD 0x80000000u

struct xv_timer_wheel {
	void *links;   /* of index 0 */
	size_t stride; /* bytes from link to link */
	uint64_t tick; /* done up to here, with it */
	uint64_t used[XV_TIMER_LEVELS]; /* bit per slot: has members */
	uint32_t first[XV_TIMER_LEVELS * XV_TIMER_SLOTS];
};

void xv_timer_wheel_init(struct xv_timer_wheel *wheel, void *links, size_t stride, uint32_t now_ms);
/* It must not be in a wheel. A time that has passed is due with the next tick. */
void xv_timer_wheel_add(struct xv_timer_wheel *wheel, uint32_t index, uint32_t expires_ms);
/* May be in the wheel or not. */
void xv_timer_wheel_del(struct xv_timer_wheel *wheel, uint32_t index);
/*
 * The next member whose slot has come by now_ms, taken out of the wheel; 0: there is none, and time has come to now_ms. Each
 * call ends after a bounded number of steps.
 */
uint32_t xv_timer_wheel_next(struct xv_timer_wheel *wheel, uint32_t now_ms);
