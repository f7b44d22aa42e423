/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rules one by one: `rule add`, `set`, `del`, `show`, `list`; and the answers that show rules with what they have counted. A
 * rule of a security group is called GROUP/RULE, as in logs and traces: by its name, or by its number from 1. Control thread.
 */
#pragma once

#include <jansson.h>

#include "base/err.h"
#include "control/host.h"
#include "control/schema.h"
#include "control/task.h"

/* Edit a copy of the model, which is to be validated afterwards. args as given: "rule" and keys of a group's rule, "position". type is
 * not looked at. */
int xv_rules_add(json_t *model, const struct xv_object *type, const json_t *args, struct xv_err *err);
int xv_rules_set(json_t *model, const struct xv_object *type, const json_t *args, struct xv_err *err);
int xv_rules_del(json_t *model, const struct xv_object *type, const json_t *args, struct xv_err *err);

/* args: checked. Objects with "rule", "group", "position", the rule's keys, "packets", "bytes". */
int xv_rule_show_start(struct xv_host *host, const json_t *args, struct xv_task **task, struct xv_err *err);
int xv_rule_list_start(struct xv_host *host, const json_t *args, struct xv_task **task, struct xv_err *err);

/* As xv_report_group() and xv_report_policy() have them. */
int xv_group_show_start(struct xv_host *host, const json_t *args, struct xv_task **task, struct xv_err *err);
int xv_group_list_start(struct xv_host *host, const json_t *args, struct xv_task **task, struct xv_err *err);
int xv_policy_show_start(struct xv_host *host, const json_t *args, struct xv_task **task, struct xv_err *err);
int xv_policy_list_start(struct xv_host *host, const json_t *args, struct xv_task **task, struct xv_err *err);
