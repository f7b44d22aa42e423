/* SPDX-License-Identifier: Apache-2.0 */
#include "control/rule_counts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/buffer.h>

#include "base/clock.h"
#include "base/log.h"
#include "fastpath/flow.h"
#include "fastpath/rule_hits.h"

#define FLOWS_A_PIECE 256
#define STEP_NS	      2000000	 /* longer than this a step does not begin another piece */
#define SWEEP_WAIT_NS 2000000000 /* a worker that does not answer for so long hangs */

/* ---- Who has which ---- */

/* twins: how many rules there were with the same text. Returns the counter. */
static json_int_t assign(json_t *of, const json_t *old_of, json_t *twins, const char *type, const char *name, const char *rule)
{
	json_t *text = json_sprintf("%s %s\n%s", type, name, rule), *identity, *known;
	json_int_t n = json_integer_value(json_object_get(twins, json_string_value(text)));
	uint32_t counter;

	identity = json_sprintf("%s\n%lld", json_string_value(text), (long long)n);
	json_object_set_new(twins, json_string_value(text), json_integer(n + 1));
	known = json_object_get(old_of, json_string_value(identity));
	if (known != NULL) {
		counter = (uint32_t)json_integer_value(known);
		xv_rule_counter_hold(counter);
	} else {
		counter = xv_rule_counter_new();
	}
	json_object_set_new(of, json_string_value(identity), json_integer(counter));
	json_decref(identity);
	json_decref(text);
	return counter;
}

static json_t *assign_all(const json_t *model, const char *type, json_t *of, const json_t *old_of, json_t *twins)
{
	json_t *all = json_object(), *object, *rule;
	const char *name;
	size_t i;

	json_object_foreach (json_object_get(model, type), name, object) {
		json_t *list = json_array();

		json_array_foreach (json_object_get(object, "rules"), i, rule) {
			char *text = json_dumps(rule, JSON_COMPACT | JSON_SORT_KEYS);

			json_array_append_new(list, json_integer(assign(of, old_of, twins, type, name, text != NULL ? text : "")));
			free(text);
		}
		if (json_object_get(object, "default") != NULL)
			json_array_append_new(list, json_integer(assign(of, old_of, twins, type, name, "default")));
		json_object_set_new(all, name, list);
	}
	return all;
}

json_t *xv_rule_counters_assign(const json_t *model, const json_t *old)
{
	json_t *of = json_object(), *twins = json_object(), *old_of = json_object_get(old, "of");
	json_t *groups = assign_all(model, "group", of, old_of, twins), *policies = assign_all(model, "policy", of, old_of, twins);

	json_decref(twins);
	return json_pack("{s:o, s:o, s:o}", "group", groups, "policy", policies, "of", of);
}

void xv_rule_counters_release(json_t *counters)
{
	const char *identity;
	json_t *counter;

	json_object_foreach (json_object_get(counters, "of"), identity, counter)
		xv_rule_counter_release((uint32_t)json_integer_value(counter));
	json_decref(counters);
}

uint32_t xv_rule_counter_of(const json_t *counters, const char *type, const char *name, size_t i)
{
	return (uint32_t)json_integer_value(json_array_get(json_object_get(json_object_get(counters, type), name), i));
}

json_t *xv_rule_counters_annotate(const json_t *policy, const json_t *counters)
{
	const char *name = json_string_value(json_object_get(policy, "name"));
	json_t *copy = json_deep_copy(policy), *rules = json_object_get(copy, "rules"), *rule;
	size_t i;

	json_array_foreach (rules, i, rule)
		json_object_set_new(rule, "counter", json_integer(xv_rule_counter_of(counters, "policy", name, i)));
	json_object_set_new(copy, "default_counter",
			    json_integer(xv_rule_counter_of(counters, "policy", name, json_array_size(rules))));
	return copy;
}

void xv_rule_counter_report(json_t *object, uint32_t counter)
{
	uint64_t packets, bytes;

	xv_rule_counter_read(counter, &packets, &bytes);
	json_object_set_new(object, "packets", json_integer((json_int_t)packets));
	json_object_set_new(object, "bytes", json_integer((json_int_t)bytes));
}

/* ---- Answers with counters ---- */

struct counted {
	struct xv_task task;
	struct xv_host *host;
	json_t *args;
	json_t *(*answer)(struct xv_host *host, const json_t *args);
	uint64_t sweep, started_ns;
	struct xv_cls_cursor cursor;
};

static enum xv_task_state step(struct xv_task *task, struct evbuffer *out)
{
	struct counted *c = (struct counted *)task;
	uint64_t start = xv_clock_ns();
	json_t *answer;
	char *text;

	/* What fused flows have counted, to their flows; from flows, to rules. */
	if (xv_flows_swept() < c->sweep) {
		if (start - c->started_ns < SWEEP_WAIT_NS)
			return XV_TASK_WAIT;
		xv_log(XV_LOG_WARNING, "api", "a worker does not answer: counters of rules are older than asked for");
		c->sweep = 0;
	}
	while (xv_flows_carry(&c->cursor, FLOWS_A_PIECE)) {
		if (xv_clock_ns() - start > STEP_NS)
			return XV_TASK_MORE;
	}
	answer = c->answer(c->host, c->args);
	text = json_dumps(answer, JSON_COMPACT | JSON_ENCODE_ANY);
	evbuffer_add_printf(out, "%s", text != NULL ? text : "null");
	free(text);
	json_decref(answer);
	return XV_TASK_DONE;
}

static void destroy(struct xv_task *task)
{
	struct counted *c = (struct counted *)task;

	json_decref(c->args);
	free(c);
}

int xv_counted_start(struct xv_host *host, const json_t *args, json_t *(*answer)(struct xv_host *host, const json_t *args),
		     struct xv_task **task, struct xv_err *err)
{
	struct counted *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return xv_err_set(err, -ENOMEM, XV_ERR_RESOURCE, "out of memory");
	c->task = (struct xv_task){.step = step, .destroy = destroy};
	c->host = host;
	c->args = json_deep_copy(args);
	c->answer = answer;
	c->started_ns = xv_clock_ns();
	c->sweep = xv_flows_sweep();
	*task = &c->task;
	return 0;
}
