/* SPDX-License-Identifier: Apache-2.0 */
#include "control/drop_history.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "control/packet_text.h"
#include "fastpath/drop_watch.h"
#include "net/flow_format.h"

#define KEPT	     4096
#define AN_ANSWER    256 /* drops at most: writing them takes a few milliseconds */
#define ENDS_AFTER_S 2	 /* without a call */

struct entry {
	uint64_t seq;
	uint64_t time_ms;
	struct xv_drop_record record;
};

struct xv_drop_history {
	uint64_t seq;	/* of the next one. Those that were missed have numbers, too */
	uint64_t n;	/* entries so far; entry i is at i % KEPT */
	uint64_t reasons;
	struct event *end;
	struct entry entries[KEPT];
};

static void watch_ends(evutil_socket_t fd, short what, void *arg)
{
	struct xv_drop_history *h = arg;

	(void)fd;
	(void)what;
	h->reasons = 0;
	xv_drop_watch(0);
}

static uint64_t wall_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static struct xv_drop_history *history_of(struct xv_host *host)
{
	struct xv_drop_history *h = host->drops;

	if (h != NULL)
		return h;
	h = calloc(1, sizeof(*h));
	if (h == NULL)
		return NULL;
	h->end = evtimer_new(host->events, watch_ends, h);
	if (h->end == NULL) {
		free(h);
		return NULL;
	}
	host->drops = h;
	return h;
}

void xv_drop_history_destroy(struct xv_drop_history *h)
{
	if (h == NULL)
		return;
	xv_drop_watch(0);
	event_free(h->end);
	free(h);
}

static void keep(const struct xv_drop_record *record, void *arg)
{
	struct xv_drop_history *h = arg;
	struct entry *entry = &h->entries[h->n++ % KEPT];
	uint64_t now = xv_clock_cycles(), ago = now > record->cycles ? now - record->cycles : 0;

	entry->seq = h->seq++;
	entry->time_ms = wall_ms() - (uint64_t)((double)ago * 1000 / (double)xv_clock.hz);
	entry->record = *record;
}

static uint64_t reasons_of(const char *name)
{
	for (unsigned int i = 0; name != NULL && i < XV_DROP_MAX; i++) {
		if (strcmp(xv_drop_info[i].name, name) == 0)
			return UINT64_C(1) << i;
	}
	return XV_DROP_WATCH_ALL;
}

static json_t *report(struct xv_host *host, const struct entry *entry)
{
	static const char digits[] = "0123456789abcdef";
	const struct xv_drop_record *r = &entry->record;
	char text[XV_FLOW_TEXT_SIZE], hex[2 * XV_DROP_WATCH_BYTES + 1] = "";

	for (unsigned int i = 0; i < r->n; i++) {
		hex[2 * i] = digits[r->bytes[i] >> 4];
		hex[2 * i + 1] = digits[r->bytes[i] & 0xf];
		hex[2 * i + 2] = '\0';
	}
	xv_packet_text(host, r->port, r->bytes, r->n, r->packet_bytes, text, sizeof(text));
	return json_pack("{s:I, s:s?, s:s, s:s, s:I, s:s, s:s}", "time_ms", (json_int_t)entry->time_ms, "port",
			 xv_packet_text_port(r->port, host), "reason", xv_drop_info[r->reason].name, "explanation",
			 xv_drop_info[r->reason].explanation, "bytes", (json_int_t)r->packet_bytes, "packet", text,
			 "hex", hex);
}

json_t *xv_drop_history_take(struct xv_host *host, const json_t *args)
{
	const char *port_name = json_string_value(json_object_get(args, "port"));
	const json_t *after = json_object_get(args, "after"), *count = json_object_get(args, "count");
	uint64_t reasons = reasons_of(json_string_value(json_object_get(args, "reason")));
	const struct xv_host_port *port = port_name != NULL ? xv_host_port_lookup(host, port_name) : NULL;
	json_int_t left = count != NULL ? json_integer_value(count) : AN_ANSWER;
	struct xv_drop_history *h = history_of(host);
	uint64_t from, next, seen = 0, i;
	json_t *list;

	if (h == NULL)
		return NULL;
	left = left < AN_ANSWER ? left : AN_ANSWER;
	evtimer_add(h->end, &(struct timeval){.tv_sec = ENDS_AFTER_S});
	h->seq += xv_drop_watch_take(keep, h);
	h->reasons |= reasons;
	xv_drop_watch(h->reasons);
	from = after != NULL ? (uint64_t)json_integer_value(after) : h->seq;
	from = from < h->seq ? from : h->seq;
	next = h->seq;
	list = json_array();
	for (i = h->n > KEPT ? h->n - KEPT : 0; i < h->n; i++) {
		const struct entry *entry = &h->entries[i % KEPT];

		if (entry->seq < from)
			continue;
		if (left == 0) {
			next = entry->seq;
			break;
		}
		seen++;
		if ((reasons >> entry->record.reason & 1) == 0 ||
		    (port != NULL && entry->record.port != port->port->id))
			continue;
		json_array_append_new(list, report(host, entry));
		left--;
	}
	return json_pack("{s:I, s:I, s:o}", "next", (json_int_t)next, "missed", (json_int_t)(next - from - seen), "drops",
			 list);
}
