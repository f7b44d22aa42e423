/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shares of what is sent to a port: queues, each with a rate that it gets and one that it may have, below the port's own limit
 * (binding.h). What a queue does not use of its own others may. A packet beyond is dropped, not kept: there is no buffer.
 * Class A by port, class C inside, as meters.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "fastpath/rate_limit.h"
#include "port/port.h"

#define XV_TX_QUEUES_MAX 64 /* of a port */

struct xv_tx_queue_config {
	uint32_t id; /* packets of none, or of one that there is not, belong to 0, if there is one */
	uint64_t min_bps, max_bps; /* 0: nothing of its own; no limit of its own */
	uint32_t burst_ms;
};

struct xv_tx_queue {
	uint32_t id;
	bool has_min, has_max;
	struct xv_rate_limit min, max;
	_Atomic uint64_t packets, bytes, dropped; /* that were let through; dropped: packets */
};

struct xv_tx_queues {
	unsigned int n;
	struct xv_tx_queue queue[];
};

/* By port id; NULL: none. Asked for only where the port has a limit. */
extern _Atomic(struct xv_tx_queues *) xv_tx_queues[XV_MAX_PORTS];

/* control (tx_queue_control.c). n = 0: none. Queues that were there keep their counters. 0, -EINVAL, -ENOMEM. */
int xv_tx_queues_set(uint32_t port_id, const struct xv_tx_queue_config *config, unsigned int n);

struct xv_tx_queue_stats {
	uint32_t id;
	uint64_t packets, bytes, dropped;
};
/* control. How many; at most max are written. */
unsigned int xv_tx_queues_get_stats(uint32_t port_id, struct xv_tx_queue_stats *stats, unsigned int max);

/* worker. A packet of this queue (XV_TX_QUEUE_NONE: of none) and size may go to the port, whose limit is `limit`; it is charged. */
#define XV_TX_QUEUE_NONE UINT32_MAX
bool xv_tx_queues_allow(uint32_t port_id, struct xv_rate_limit *limit, uint32_t queue, uint32_t bytes, uint64_t now_cycles);
