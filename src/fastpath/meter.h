/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Meters, by number: what the meter action asks whether a packet may go on. Class A by number, class C inside: the token
 * buckets of fastpath/rate_limit.h, shared by all workers.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define XV_MAX_METERS 65536

struct xv_rate_limit;
extern _Atomic(struct xv_rate_limit *) xv_meters[XV_MAX_METERS]; /* NULL: no such meter */

/* control (binding.c). Packets and bits a second (0 = unlimited), and the time for which may be saved up. Replaces the meter of that
 * number. 0, -EINVAL (no such number), -ENOMEM. */
int xv_meter_set(uint32_t id, uint64_t pps, uint64_t bps, uint32_t burst_ms);
/* control. Packets that ask for it are let through. */
void xv_meter_del(uint32_t id);

/* worker. */
bool xv_meter_allow(uint32_t id, uint32_t bytes, uint64_t now_cycles);
