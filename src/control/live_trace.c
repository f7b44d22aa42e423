/* SPDX-License-Identifier: Apache-2.0 */
#include "control/live_trace.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <event2/buffer.h>
#include <rte_bpf.h>

#include "base/clock.h"
#include "control/live_text.h"
#include "control/packet_filter.h"
#include "fastpath/live_trace.h"

#define A_PIECE	     32		/* records: writing them takes a few milliseconds */
#define WAIT_NS	     1000000000 /* for packets, then the answer is that there are none */
#define ENDS_AFTER_S 2		/* without a call */

struct xv_live_session {
	struct xv_host *host;
	uint64_t number;
	uint64_t started_ns, ends_ns; /* UINT64_MAX: never */
	uint64_t left;		      /* packets that may still be shown */
	uint32_t base;
	char *filter; /* for people; NULL: none */
	struct event *end;
	struct call *call; /* that is not answered yet */
};

struct call {
	struct xv_task task;
	struct xv_live_session *session; /* NULL: it ended meanwhile */
	uint64_t started_ns;
	json_t *packets;
	uint64_t missed;
	bool stop, answered;
};

void xv_live_session_destroy(struct xv_live_session *s)
{
	if (s == NULL)
		return;
	xv_live_trace_stop();
	s->host->live_session = NULL;
	if (s->call != NULL)
		s->call->session = NULL;
	if (s->end != NULL)
		event_free(s->end);
	xv_host_expect_frees(s->host);
	free(s->filter);
	free(s);
}

static void abandoned(evutil_socket_t fd, short what, void *arg)
{
	struct xv_live_session *s = arg;

	(void)fd;
	(void)what;
	if (s->call == NULL)
		xv_live_session_destroy(s);
}

static void take(const struct xv_live_record *record, void *arg)
{
	struct call *call = arg;
	struct xv_live_session *s = call->session;
	uint32_t number = record->number - s->base;

	/* More about a packet of an earlier trace, or one that came when there were enough. */
	if (number - 1 > UINT32_MAX / 2 || (!record->late && s->left == 0))
		return;
	if (!record->late)
		s->left--;
	json_array_append_new(call->packets, xv_live_text(s->host, record, s->base));
}

/* What is there is the answer; why the trace ends with it, or NULL. */
static enum xv_task_state answer(struct call *call, struct evbuffer *out, const char *why)
{
	struct xv_live_session *s = call->session;
	json_t *object = json_pack("{s:I, s:O, s:I, s:s?}", "trace", (json_int_t)(s != NULL ? s->number : 0), "packets",
				   call->packets, "missed", (json_int_t)call->missed, "ended", why);
	char *text = json_dumps(object, JSON_COMPACT);

	json_decref(object);
	if (text != NULL)
		evbuffer_add(out, text, strlen(text));
	free(text);
	call->answered = true;
	if (s == NULL)
		return XV_TASK_DONE;
	s->call = NULL;
	if (why != NULL)
		xv_live_session_destroy(s);
	else
		evtimer_add(s->end, &(struct timeval){.tv_sec = ENDS_AFTER_S});
	call->session = NULL;
	return XV_TASK_DONE;
}

static enum xv_task_state step(struct xv_task *task, struct evbuffer *out)
{
	struct call *call = (struct call *)task;
	struct xv_live_session *s = call->session;
	uint64_t now = xv_clock_ns(), missed;

	if (s == NULL)
		return answer(call, out, "stopped");
	(void)xv_live_trace_take(A_PIECE, take, call, &missed);
	call->missed += missed;
	if (s->left == 0)
		return answer(call, out, "count");
	if (now >= s->ends_ns)
		return answer(call, out, "seconds");
	if (call->stop)
		return answer(call, out, "stopped");
	if (json_array_size(call->packets) > 0 || now - call->started_ns > WAIT_NS)
		return answer(call, out, NULL);
	return XV_TASK_WAIT;
}

/* The first call: there is nothing to wait for. */
static enum xv_task_state begin(struct xv_task *task, struct evbuffer *out)
{
	return answer((struct call *)task, out, NULL);
}

/* Also of a call whose client is gone. */
static void destroy(struct xv_task *task)
{
	struct call *call = (struct call *)task;

	if (!call->answered)
		xv_live_session_destroy(call->session);
	json_decref(call->packets);
	free(call);
}

static int refuse(const struct xv_live_session *s, struct xv_err *err)
{
	return xv_err_set(err, -EBUSY, XV_ERR_BUSY,
			  "another live trace is running, for %llu s (%s%.100s): there is one at a time; try again "
			  "when it has ended",
			  (unsigned long long)((xv_clock_ns() - s->started_ns) / 1000000000),
			  s->filter != NULL ? "filter " : "no filter", s->filter != NULL ? s->filter : "");
}

static uint64_t number_arg(const json_t *args, const char *key, uint64_t otherwise)
{
	const json_t *value = json_object_get(args, key);

	return value != NULL ? (uint64_t)json_integer_value(value) : otherwise;
}

static int session_start(struct xv_host *host, const json_t *args, struct xv_err *err)
{
	const char *filter = json_string_value(json_object_get(args, "filter"));
	const char *port = json_string_value(json_object_get(args, "port"));
	const struct xv_host_port *p = port != NULL ? xv_host_port_lookup(host, port) : NULL;
	uint64_t seconds = number_arg(args, "seconds", 0);
	struct xv_live_config config = {.port = p != NULL ? p->port->id : XV_LIVE_ANY_PORT,
					.bytes = (uint16_t)number_arg(args, "bytes", XV_LIVE_HEADER_BYTES)};
	static uint64_t last_number;
	struct xv_live_session *s;
	int rc = 0;

	if (filter != NULL)
		rc = xv_packet_filter_compile(filter, &config.filter, err);
	if (rc < 0) {
		xv_err_key(err, "filter");
		return rc;
	}
	if (host->live_session != NULL) {
		rte_bpf_destroy(config.filter);
		return refuse(host->live_session, err);
	}
	s = calloc(1, sizeof(*s));
	if (s != NULL) {
		s->host = host;
		s->filter = filter != NULL ? strdup(filter) : NULL;
		s->end = evtimer_new(host->events, abandoned, s);
	}
	if (s == NULL || s->end == NULL || xv_live_trace_start(&config, &s->base) != 0) {
		if (s != NULL && s->end != NULL)
			event_free(s->end);
		if (s != NULL)
			free(s->filter);
		free(s);
		rte_bpf_destroy(config.filter);
		return xv_err_set(err, -ENOMEM, XV_ERR_RESOURCE, "out of memory");
	}
	s->number = ++last_number;
	s->started_ns = xv_clock_ns();
	s->ends_ns = seconds > 0 ? s->started_ns + seconds * 1000000000 : UINT64_MAX;
	s->left = number_arg(args, "count", UINT64_MAX);
	host->live_session = s;
	return 0;
}

int xv_live_session_call(struct xv_host *host, const json_t *args, struct xv_task **task, struct xv_err *err)
{
	uint64_t number = number_arg(args, "trace", 0);
	struct call *call;
	int rc;

	if (number != 0 && (host->live_session == NULL || host->live_session->number != number))
		return xv_err_set(err, -ENOENT, XV_ERR_NOT_FOUND,
				  "live trace %llu is over: begin another one without \"trace\"",
				  (unsigned long long)number);
	if (number != 0 && host->live_session->call != NULL)
		return xv_err_set(err, -EBUSY, XV_ERR_BUSY, "live trace %llu: another call is waiting for its packets",
				  (unsigned long long)number);
	call = calloc(1, sizeof(*call));
	if (call == NULL)
		return xv_err_set(err, -ENOMEM, XV_ERR_RESOURCE, "out of memory");
	rc = number == 0 ? session_start(host, args, err) : 0;
	if (rc < 0) {
		free(call);
		return rc;
	}
	call->task = (struct xv_task){.step = number == 0 ? begin : step, .destroy = destroy};
	call->session = host->live_session;
	call->session->call = call;
	call->started_ns = xv_clock_ns();
	call->stop = json_is_true(json_object_get(args, "stop"));
	call->packets = json_array();
	*task = &call->task;
	return 0;
}
