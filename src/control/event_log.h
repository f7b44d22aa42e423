/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The latest events, for `xvioctl event list`: what happened to ports, when. A fixed ring, the
 * oldest is overwritten; counters of events live with their object. Control thread.
 */
#pragma once

#include <stdint.h>

#include <jansson.h>

#define XV_EVENTS_KEPT 512

struct xv_event {
	uint64_t time_ms; /* since the epoch */
	char object[96];  /* "port vm1" */
	char event[16];   /* "up", "broken", "added" ... */
	char text[176];   /* more; may be empty */
};

struct xv_event_log {
	uint64_t total; /* so far; the last XV_EVENTS_KEPT of them are kept */
	struct xv_event events[XV_EVENTS_KEPT];
};

void xv_event_log_add(struct xv_event_log *log, const char *type, const char *name,
		      const char *event, const char *text);
/* Oldest first; only those of one object ("port vm1") unless NULL. */
json_t *xv_event_log_list(const struct xv_event_log *log, const char *object);
