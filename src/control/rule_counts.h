/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which counter (fastpath/rule_hits.h) each rule of the model has. A rule is the same as long as all its keys are, wherever it
 * stands in its group or policy: it keeps its counter when others come, go or move. Control thread.
 *
 * The counters of a model are a value, held as long as it is: {"group": {NAME: [COUNTER of each rule]}, "policy": {NAME: [COUNTER of
 * each rule, and of the default]}, "of": {IDENTITY: COUNTER}}.
 */
#pragma once

#include <jansson.h>

#include "base/err.h"
#include "control/host.h"
#include "control/task.h"

/* Counters for all rules of a model: those that they have in `old` (or NULL), else new ones. NULL = out of memory. */
json_t *xv_rule_counters_assign(const json_t *model, const json_t *old);
/* Nothing refers to the value any more. Accepts NULL. */
void xv_rule_counters_release(json_t *counters);

/* The counter of the i-th rule (from 0); of a policy's default, behind the last. */
uint32_t xv_rule_counter_of(const json_t *counters, const char *type, const char *name, size_t i);

/* A policy of the model as policy_config.h compiles it: its rules with their counters. New reference. */
json_t *xv_rule_counters_annotate(const json_t *policy, const json_t *counters);

/* Give an object the packets and bytes of a counter. */
void xv_rule_counter_report(json_t *object, uint32_t counter);

/* A task whose answer is what `answer` makes when all counters are exact. args is copied. 0 or -ENOMEM. */
int xv_counted_start(struct xv_host *host, const json_t *args, json_t *(*answer)(struct xv_host *host, const json_t *args),
		     struct xv_task **task, struct xv_err *err);
