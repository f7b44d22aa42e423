/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether somebody is well: asked again and again, `fall` times without an answer means down,
 * `rise` times with one means up. At first the first answer, or its absence, decides. Pure: the
 * caller has the clock and the packets. Times are of xv_clock_ms(), and wrap.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct xv_health_config {
	uint32_t interval_ms, timeout_ms;
	uint32_t rise, fall;
};

enum xv_health_state { XV_HEALTH_UNKNOWN, XV_HEALTH_UP, XV_HEALTH_DOWN };

struct xv_health {
	enum xv_health_state state;
	bool asked; /* and not answered yet */
	bool started;
	uint32_t streak; /* results in a row that speak against the state */
	uint32_t asked_ms;
	uint16_t seq; /* of the question */
	uint64_t asks, fails;
};

/* Time goes on. *ask: the next question is due, with h->seq. True: the state is another now. */
bool xv_health_tick(struct xv_health *h, const struct xv_health_config *config, uint32_t now_ms,
		    bool *ask);
/* An answer to question seq came: good, or a refusal. True: the state is another now. Late ones and
 * repeated ones do not count. */
bool xv_health_answer(struct xv_health *h, const struct xv_health_config *config, uint16_t seq,
		      bool good);
const char *xv_health_name(enum xv_health_state state);
