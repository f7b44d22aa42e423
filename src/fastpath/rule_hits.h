/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many packets each rule has decided. A rule has a counter by number, which whoever configures it gives it and which
 * compiled policies and flows keep alive: so counts go on when a policy is compiled anew, and when flows go.
 *
 * A packet that a flow decides is counted by the flow, or the fused flow that stands for it: nothing is added to its way. A flow
 * knows which rules made it, and what it has counted is carried over to them (xv_flows_carry()). Packets that a worker
 * decides itself, each at the price of a walk over rules, it counts here (class B: one writer each).
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#define XV_RULE_COUNTERS (1u << 20)
#define XV_RULE_COUNTER_NONE 0 /* may be counted on, and read as 0 */

struct xv_rule_count {
	_Atomic uint64_t packets, bytes;
};

/* control, with the flow table: xv_flows_init(). 0 or -ENOMEM. */
int xv_rule_hits_init(void);
void xv_rule_hits_fini(void);

/* control. A counter at zero that is held once; XV_RULE_COUNTER_NONE: there are no more. */
uint32_t xv_rule_counter_new(void);
/* control. It is free again when nobody holds it any more. After workers (a grace period) and flows. */
void xv_rule_counter_hold(uint32_t counter);
void xv_rule_counter_release(uint32_t counter);

/* control. What a flow has counted. */
void xv_rule_counter_add(uint32_t counter, uint64_t packets, uint64_t bytes);
/* control. Complete as of the last xv_flows_carry(). */
void xv_rule_counter_read(uint32_t counter, uint64_t *packets, uint64_t *bytes);
