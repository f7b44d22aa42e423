/* SPDX-License-Identifier: Apache-2.0 */
#include "ovs/meters.h"

#include <errno.h>

#include "fastpath/meter.h"

int xv_ovs_meter_set(const void *items, uint32_t len, struct xv_ovs_message *m)
{
	const struct xv_ovs_item *item = xv_ovs_find(items, len, XV_OVS_RATE);
	struct xv_ovs_rate rate;

	if (item == NULL || item->len != sizeof(rate))
		return -EINVAL;
	memcpy(&rate, xv_ovs_body(item), sizeof(rate));
	return xv_meter_set(xv_ovs_u32(items, len, XV_OVS_METER, UINT32_MAX), rate.packets, rate.bits, rate.burst_ms);
}

int xv_ovs_meter_get(const void *items, uint32_t len, struct xv_ovs_message *m)
{
	struct xv_ovs_meter_stats out;
	struct xv_meter_stats stats;
	int rc = xv_meter_get_stats(xv_ovs_u32(items, len, XV_OVS_METER, UINT32_MAX), &stats);

	if (rc < 0)
		return rc;
	out = (struct xv_ovs_meter_stats){stats.packets, stats.bytes, stats.dropped_packets, stats.dropped_bytes, stats.age_ms};
	xv_ovs_put(m, XV_OVS_METER_STATS, &out, sizeof(out));
	return 0;
}

int xv_ovs_meter_del(const void *items, uint32_t len, struct xv_ovs_message *m)
{
	int rc = xv_ovs_meter_get(items, len, m);

	if (rc == 0)
		xv_meter_del(xv_ovs_u32(items, len, XV_OVS_METER, UINT32_MAX));
	return rc;
}
