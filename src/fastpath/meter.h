/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Meters, by number: what the meter action asks whether a packet may go on. Class A by number, class C inside: the token
 * buckets of fastpath/rate_limit.h and counters, shared by all workers.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "fastpath/rate_limit.h"

#define XV_MAX_METERS 65536

struct xv_meter {
	struct xv_rate_limit limit;
	_Atomic uint64_t packets, bytes; /* that asked */
	_Atomic uint64_t dropped_packets, dropped_bytes;
	uint64_t since; /* cycles */
};
extern _Atomic(struct xv_meter *) xv_meters[XV_MAX_METERS]; /* NULL: no such meter */

/* control (binding.c). Packets and bits a second (0 = unlimited), and the time for which may be saved up. Replaces the meter of that
 * number. 0, -EINVAL (no such number), -ENOMEM. */
int xv_meter_set(uint32_t id, uint64_t pps, uint64_t bps, uint32_t burst_ms);
struct xv_meter_stats {
	uint64_t packets, bytes, dropped_packets, dropped_bytes;
	uint64_t age_ms;
};
/* control. -ENOENT. */
int xv_meter_get_stats(uint32_t id, struct xv_meter_stats *stats);
/* control. Packets that ask for it are let through. */
void xv_meter_del(uint32_t id);

/* worker. */
bool xv_meter_allow(uint32_t id, uint32_t bytes, uint64_t now_cycles);
