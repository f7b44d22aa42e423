/* SPDX-License-Identifier: Apache-2.0 */
#include "control/placement.h"

#include <string.h>

void xv_placement_init(struct xv_placement *placement)
{
	memset(placement->worker, XV_PLACED_NOWHERE, sizeof(placement->worker));
}

/*
 * How many queues each worker should have: all the same, and where that does not come out even, one
 * more for those that have most now, so that as few as possible move.
 */
static void share_out(unsigned int total, const bool *workers, const unsigned int *load,
		      unsigned int *quota)
{
	bool has_more[XV_MAX_WORKERS] = {0};
	unsigned int n = 0;

	for (unsigned int w = 0; w < XV_MAX_WORKERS; w++)
		n += workers[w];
	for (unsigned int w = 0; w < XV_MAX_WORKERS; w++)
		quota[w] = workers[w] ? total / n : 0;
	for (unsigned int rest = n ? total % n : 0; rest > 0; rest--) {
		unsigned int most = XV_MAX_WORKERS;

		for (unsigned int w = 0; w < XV_MAX_WORKERS; w++) {
			if (workers[w] && !has_more[w] &&
			    (most == XV_MAX_WORKERS || load[w] > load[most]))
				most = w;
		}
		has_more[most] = true;
		quota[most]++;
	}
}

/* The worker with most room, lowest slot first, so that results repeat. */
static uint8_t roomiest(const unsigned int *load, const unsigned int *quota)
{
	uint8_t best = XV_PLACED_NOWHERE;

	for (uint8_t w = 0; w < XV_MAX_WORKERS; w++) {
		if (load[w] < quota[w] &&
		    (best == XV_PLACED_NOWHERE || quota[w] - load[w] > quota[best] - load[best]))
			best = w;
	}
	return best;
}

void xv_placement_update(struct xv_placement *placement, const uint16_t queues[XV_MAX_PORTS],
			 const bool workers[XV_MAX_WORKERS])
{
	unsigned int load[XV_MAX_WORKERS] = {0}, quota[XV_MAX_WORKERS], total = 0;
	uint8_t *slot;

	for (unsigned int id = 0; id < XV_MAX_PORTS; id++) {
		total += queues[id];
		for (unsigned int q = 0; q < XV_MAX_QUEUES; q++) {
			slot = &placement->worker[id][q];
			if (*slot != XV_PLACED_NOWHERE && (q >= queues[id] || !workers[*slot]))
				*slot = XV_PLACED_NOWHERE;
			if (*slot != XV_PLACED_NOWHERE)
				load[*slot]++;
		}
	}
	share_out(total, workers, load, quota);
	for (unsigned int id = 0; id < XV_MAX_PORTS; id++) {
		for (unsigned int q = 0; q < queues[id]; q++) {
			slot = &placement->worker[id][q];
			if (*slot != XV_PLACED_NOWHERE && load[*slot] > quota[*slot]) {
				load[*slot]--;
				*slot = XV_PLACED_NOWHERE;
			}
		}
	}
	for (unsigned int id = 0; id < XV_MAX_PORTS; id++) {
		for (unsigned int q = 0; q < queues[id]; q++) {
			slot = &placement->worker[id][q];
			if (*slot != XV_PLACED_NOWHERE)
				continue;
			*slot = roomiest(load, quota);
			if (*slot == XV_PLACED_NOWHERE)
				return; /* no worker at all */
			load[*slot]++;
		}
	}
}
