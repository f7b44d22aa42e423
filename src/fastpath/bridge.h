/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a MAC-learning network would do with a frame, without doing it: nothing is sent, learned or counted. By the same
 * rules as bridge.c, for people who ask (control/trace.c).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "fastpath/binding.h"
#include "net/drop.h"

enum xv_bridge_verdict {
	XV_BRIDGE_DROP,	 /* reason */
	XV_BRIDGE_PORT,	 /* to ports[0]: its address is known */
	XV_BRIDGE_FLOOD, /* to all of ports */
};

struct xv_bridge_hop {
	struct xv_port *port;
	bool tagged; /* the frame leaves with a tag */
};

struct xv_bridge_answer {
	enum xv_bridge_verdict verdict;
	enum xv_drop reason;
	bool classified; /* vlan, tci, tagged are known */
	uint16_t vlan;	 /* that it belongs to; 0 = untagged domain */
	uint16_t tci;	 /* of its tag, or of the one that it would get */
	bool tagged;	 /* as it came in */
	unsigned int n;
	struct xv_bridge_hop ports[XV_MAX_PORTS];
};

/* control. binding is that of `in`, on a network; data: the first len bytes of the frame. */
void xv_bridge_ask(const struct xv_port *in, const struct xv_binding *binding, const uint8_t *data, uint16_t len,
		   struct xv_bridge_answer *answer);
