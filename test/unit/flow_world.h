/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random worlds for the flow engine: flows, their programs, traffic and changes of flows, all from a seed; the same packets go
 * through the engine and through the reference (flow_reference.h), and everything that comes out is compared. In every third
 * world flows track connections, and both tables of them must be the same. One thread; workers are manual, the clock is stopped.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "fastpath/action.h"

struct flow_world_config {
	uint64_t seed;
	uint32_t packets;	/* about so many */
	unsigned int workers;	/* 1 or 2 */
	unsigned int entries;	/* of the cache of fused flows: a power of two, at least 64 */
	bool fusing, avx512;
	bool live; /* a live trace follows all packets, and misses nothing */
};

struct flow_world_stats {
	uint64_t inside; /* changes of flows between two packets of a burst */
	uint64_t packets, hits, inserted, evicted, outputs, drops, flows, changes, refused, followed;
	uint64_t programs;	    /* packets that were fused, by more than one rewrite and exit */
	uint64_t kinds[XV_ACT_MAX]; /* flows with this action that had fused flows when they were looked at */
	uint64_t popped; /* of those, of packets that came out of tunnels */
	uint64_t labelled, gre; /* that came in with labels, in GRE */
	uint64_t several; /* of those, with an output that is not the end */
	uint64_t first_hits;	    /* first packets of connections that had an entry */
	uint64_t connections, tracked, tracked_hits; /* packets and hits in worlds with connection tracking */
};

/* Once: EAL, ports. 0 or -errno. */
int flow_world_init(void);
/* One world. False, with what differs and how to see it again on stderr. Adds to stats. */
bool flow_world_run(const struct flow_world_config *config, struct flow_world_stats *stats);
