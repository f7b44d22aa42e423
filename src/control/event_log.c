/* SPDX-License-Identifier: Apache-2.0 */
#include "control/event_log.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

void xv_event_log_add(struct xv_event_log *log, const char *type, const char *name,
		      const char *event, const char *text)
{
	struct xv_event *e = &log->events[log->total++ % XV_EVENTS_KEPT];
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	e->time_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
	snprintf(e->object, sizeof(e->object), "%s %s", type, name);
	snprintf(e->event, sizeof(e->event), "%s", event);
	snprintf(e->text, sizeof(e->text), "%s", text);
}

json_t *xv_event_log_list(const struct xv_event_log *log, const char *object)
{
	uint64_t first = log->total > XV_EVENTS_KEPT ? log->total - XV_EVENTS_KEPT : 0;
	json_t *list = json_array();

	for (uint64_t seq = first; seq < log->total; seq++) {
		const struct xv_event *e = &log->events[seq % XV_EVENTS_KEPT];

		if (object == NULL || strcmp(object, e->object) == 0)
			json_array_append_new(
				list, json_pack("{s:I, s:I, s:s, s:s, s:s}", "seq", (json_int_t)seq,
						"time_ms", (json_int_t)e->time_ms, "object",
						e->object, "event", e->event, "text", e->text));
	}
	return list;
}
