/* SPDX-License-Identifier: Apache-2.0 */
#include "fastpath/meter.h"

#include <stddef.h>

_Atomic(struct xv_meter *) xv_meters[XV_MAX_METERS];

static void add(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

bool xv_meter_allow(uint32_t id, uint32_t bytes, uint64_t now_cycles)
{
	struct xv_meter *meter = id < XV_MAX_METERS ? atomic_load_explicit(&xv_meters[id], memory_order_acquire) : NULL;

	if (meter == NULL)
		return true;
	add(&meter->packets, 1);
	add(&meter->bytes, bytes);
	if (xv_rate_limit_allow(&meter->limit, 1, now_cycles) == 0) {
		add(&meter->dropped_packets, 1);
		add(&meter->dropped_bytes, bytes);
		return false;
	}
	xv_rate_limit_charge(&meter->limit, 1, bytes);
	return true;
}
