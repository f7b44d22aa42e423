/* SPDX-License-Identifier: Apache-2.0 */
/* What a live trace has told, as a line that tests compare: "1: MAC p1 output p1 sent p1; ~1: drop mtu" ("~": later). */
#pragma once

#include <stdint.h>

/* A filter as tcpdump's, or NULL; port: input, or XV_LIVE_ANY_PORT. */
void live_story_start(const char *filter, uint16_t port);
/* All that was told since the last call is this; nothing was missed. */
void live_story_expect(const char *story);
