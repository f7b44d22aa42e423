/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which worker polls which receive queue: the same number of queues for each, give or take one, and
 * no queue moves that need not. Control thread; pure functions on a table.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "fastpath/worker.h"
#include "port/port.h"

#define XV_PLACED_NOWHERE 0xff

/* By port id and queue: slot of the worker that polls it, or XV_PLACED_NOWHERE. */
struct xv_placement {
	uint8_t worker[XV_MAX_PORTS][XV_MAX_QUEUES];
};

void xv_placement_init(struct xv_placement *placement);

/*
 * Make the placement right for ports with so many queues (by id, 0 = no such port) and for the
 * workers that there are (by slot).
 */
void xv_placement_update(struct xv_placement *placement, const uint16_t queues[XV_MAX_PORTS],
			 const bool workers[XV_MAX_WORKERS]);
