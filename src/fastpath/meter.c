/* SPDX-License-Identifier: Apache-2.0 */
#include "fastpath/meter.h"

#include <stddef.h>

#include "fastpath/rate_limit.h"

_Atomic(struct xv_rate_limit *) xv_meters[XV_MAX_METERS];

bool xv_meter_allow(uint32_t id, uint32_t bytes, uint64_t now_cycles)
{
	struct xv_rate_limit *limit =
		id < XV_MAX_METERS ? atomic_load_explicit(&xv_meters[id], memory_order_acquire) : NULL;

	if (limit == NULL)
		return true;
	if (xv_rate_limit_allow(limit, 1, now_cycles) == 0)
		return false;
	xv_rate_limit_charge(limit, 1, bytes);
	return true;
}
