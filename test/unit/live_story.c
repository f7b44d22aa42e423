/* SPDX-License-Identifier: Apache-2.0 */
#include "live_story.h"

#include "unit.h"

#include <stdio.h>
#include <string.h>

#include "control/live_text.h"
#include "control/packet_filter.h"
#include "fastpath/live_trace.h"
#include "net/drop.h"

#define STORY_MAX 512

static uint32_t base;

void live_story_start(const char *filter, uint16_t port)
{
	struct xv_live_config config = {.port = port, .bytes = 64};
	struct xv_err err = {0};

	if (filter != NULL)
		assert_int_equal(xv_packet_filter_compile(filter, &config.filter, &err), 0);
	assert_int_equal(xv_live_trace_start(&config, &base), 0);
}

static void tell(const struct xv_live_record *r, void *arg)
{
	static const char *const names[XV_LIVE_MAX] = {
		"received", "wire", "MAC", "flood", "fused", "long", "flow", "decided", "copy", "changed", "encap",
		"next-hop", "punt", "segments", "output", "sent", "waits", "drop"};
	static struct xv_host no_host;
	const struct xv_live_step *s = (const struct xv_live_step *)(const void *)r->steps;
	const uint8_t *end = (const uint8_t *)r->steps + r->steps_bytes;
	char *story = arg;
	size_t n = strlen(story);
	json_t *text;

	n += (size_t)snprintf(story + n, STORY_MAX - n, "%s%s%u:", n > 0 ? "; " : "", r->late ? "~" : "", r->number - base);
	for (; (const uint8_t *)s < end; s = xv_live_step_next(s)) {
		n += (size_t)snprintf(story + n, STORY_MAX - n, " %s", names[s->stage]);
		if (s->stage == XV_LIVE_DROP)
			n += (size_t)snprintf(story + n, STORY_MAX - n, " %s", xv_drop_info[s->arg].name);
		else if (s->stage == XV_LIVE_OUTPUT || s->stage == XV_LIVE_SENT || s->stage == XV_LIVE_MAC)
			n += (size_t)snprintf(story + n, STORY_MAX - n, " p%u", s->port);
		else if (s->stage == XV_LIVE_SEGMENTS)
			n += (size_t)snprintf(story + n, STORY_MAX - n, " %u", s->arg);
		assert_true(n < STORY_MAX);
	}
	/* There is nothing that the control thread cannot say. */
	text = xv_live_text(&no_host, r, base);
	assert_non_null(text);
	json_decref(text);
}

void live_story_expect(const char *story)
{
	char got[STORY_MAX] = "";
	uint64_t missed;

	(void)xv_live_trace_take(UINT32_MAX, tell, got, &missed);
	assert_string_equal(got, story);
	assert_int_equal(missed, 0);
}
