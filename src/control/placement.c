/* SPDX-License-Identifier: Apache-2.0 */
#include "control/placement.h"

#include <string.h>

void xv_placement_init(struct xv_placement *placement)
{
	memset(placement->worker, XV_PLACED_NOWHERE, sizeof(placement->worker));
}

/* The least loaded worker and the most loaded one; lowest slot first, so that results repeat. */
static void extremes(const bool *workers, const unsigned int *load, uint8_t *least, uint8_t *most)
{
	*least = *most = XV_PLACED_NOWHERE;
	for (uint8_t w = 0; w < XV_MAX_WORKERS; w++) {
		if (!workers[w])
			continue;
		if (*least == XV_PLACED_NOWHERE || load[w] < load[*least])
			*least = w;
		if (*most == XV_PLACED_NOWHERE || load[w] > load[*most])
			*most = w;
	}
}

void xv_placement_update(struct xv_placement *placement, const uint16_t queues[XV_MAX_PORTS],
			 const bool workers[XV_MAX_WORKERS])
{
	unsigned int load[XV_MAX_WORKERS] = {0};
	uint8_t *slot, least, most;

	/* What can stay stays. */
	for (unsigned int id = 0; id < XV_MAX_PORTS; id++) {
		for (unsigned int q = 0; q < XV_MAX_QUEUES; q++) {
			slot = &placement->worker[id][q];
			if (*slot == XV_PLACED_NOWHERE)
				continue;
			if (q >= queues[id] || !workers[*slot])
				*slot = XV_PLACED_NOWHERE;
			else
				load[*slot]++;
		}
	}
	for (unsigned int id = 0; id < XV_MAX_PORTS; id++) {
		for (unsigned int q = 0; q < queues[id]; q++) {
			slot = &placement->worker[id][q];
			if (*slot != XV_PLACED_NOWHERE)
				continue;
			extremes(workers, load, &least, &most);
			if (least == XV_PLACED_NOWHERE)
				return;
			*slot = least;
			load[least]++;
		}
	}
	/* One pass suffices: a worker gives queues away only while it has two more than another. */
	for (unsigned int id = 0; id < XV_MAX_PORTS; id++) {
		for (unsigned int q = 0; q < queues[id]; q++) {
			slot = &placement->worker[id][q];
			extremes(workers, load, &least, &most);
			if (load[most] - load[least] < 2)
				return;
			if (load[*slot] - load[least] < 2 || load[*slot] < load[least])
				continue;
			load[*slot]--;
			*slot = least;
			load[least]++;
		}
	}
}
