/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How workers ask the control thread for flows, private to this folder: requests circulate between two rings. A fixed number
 * of them, so that a storm of new flows is bounded; what finds none free is asked for again by the next packet.
 */
#pragma once

#include <rte_ring.h>

#include "fastpath/flow.h"

struct xv_flow_request {
	struct xv_flow_key key, mask;
	uint64_t bytes;
	struct xv_decision decision; /* its strings are not valid any more: see origin */
	char origin[XV_FLOW_ORIGIN_LEN];
};

struct xv_flow_requests {
	struct rte_ring *free;	 /* control -> workers */
	struct rte_ring *wanted; /* workers -> control */
};
extern struct xv_flow_requests xv_flow_requests;
