/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What would become of a packet, stage by stage, by the same decisions that workers make: binding, policy, flows, MAC
 * table, output. Nothing is sent, learned or counted. What depends on the moment (rate limits, a full queue, chance)
 * is named where it is met, and taken to let the packet pass. Control thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "control/host.h"

#define XV_TRACE_ROOM 64 /* for tags that are put on */

enum xv_trace_state { XV_TRACE_ACTUAL, XV_TRACE_NEW, XV_TRACE_ESTABLISHED, XV_TRACE_REPLY };

struct xv_trace_question {
	struct xv_port *in; /* that it comes in by; NULL: only its receiver is asked */
	struct xv_port *to; /* that has its destination address, unless that is known to be elsewhere; NULL: by the MAC table */
	enum xv_trace_state state; /* of its connection: as it is, or as if it were so */
	bool rules_only; /* no flows are asked, nor who is up */
};

/*
 * frame: len bytes with XV_TRACE_ROOM bytes of room behind, as if received by `in`; it is changed. The answer: "packet" (text),
 * "stages" (objects with "stage" and "text"), "outputs" (names of ports), "drops" (objects with "reason",
 * "explanation" and, for a copy on its way to a port, "port"), "result" (a sentence), "complete" (false: something that is
 * not traced comes in between), "rules" (objects with "port", "direction", "policy", "rule", "action" and, of security groups, "group":
 * who has judged, in order). NULL = out of memory.
 */
json_t *xv_trace_ask(struct xv_host *host, const struct xv_trace_question *question, uint8_t *frame, uint32_t len);
json_t *xv_trace(struct xv_host *host, struct xv_port *in, uint8_t *frame, uint32_t len);
