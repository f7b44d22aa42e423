/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What would become of a packet, stage by stage, by the same decisions that workers make: binding, policy, flows, MAC
 * table, output. Nothing is sent, learned or counted. What depends on the moment (rate limits, a full queue, chance)
 * is named where it is met, and taken to let the packet pass. Control thread.
 */
#pragma once

#include <stdint.h>

#include <jansson.h>

#include "control/host.h"

#define XV_TRACE_ROOM 64 /* for tags that are put on */

/*
 * frame: len bytes with XV_TRACE_ROOM bytes of room behind, as if received by `in`; it is changed. The answer: "packet" (text),
 * "stages" (objects with "stage" and "text"), "outputs" (names of ports), "drops" (objects with "reason",
 * "explanation" and, for a copy on its way to a port, "port"), "result" (a sentence), "complete" (false: something that is
 * not traced comes in between). NULL = out of memory.
 */
json_t *xv_trace(struct xv_host *host, struct xv_port *in, uint8_t *frame, uint32_t len);
