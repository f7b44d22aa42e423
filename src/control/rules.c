/* SPDX-License-Identifier: Apache-2.0 */
#include "control/rules.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "control/check.h"
#include "control/firewall_config.h"
#include "control/model.h"
#include "control/report.h"
#include "control/rule_counts.h"

static const char *text_of(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

/* ---- Which rule ---- */

/* A rule that is called GROUP/RULE; in `rule add` GROUP alone, too: then name is "". */
struct place {
	json_t *rules; /* of the group */
	char group[XV_NAME_MAX + 1];
	const char *name; /* in the text that was given */
	size_t index;	  /* from 0 */
};

static int find_group(const json_t *model, const char *text, struct place *at, struct xv_err *err)
{
	size_t len = strcspn(text, "/");
	const json_t *group;

	snprintf(at->group, sizeof(at->group), "%.*s", (int)(len < sizeof(at->group) ? len : sizeof(at->group) - 1), text);
	at->name = text[len] == '/' ? text + len + 1 : "";
	group = xv_model_get(model, "group", at->group);
	if (group == NULL)
		return xv_model_no_such(model, "group", at->group, err);
	at->rules = json_object_get(group, "rules");
	return 0;
}

static int find_rule(const json_t *model, const char *text, struct place *at, struct xv_err *err)
{
	unsigned int found = 0;
	json_t *rule;
	int64_t number;
	size_t i;
	int rc = find_group(model, text, at, err);

	if (rc < 0)
		return rc;
	xv_err_object(err, "rule", text);
	if (at->name[0] == '\0')
		return xv_err_set(err, -EINVAL, XV_ERR_RANGE, "must be GROUP/RULE, where RULE is a name or a number from 1");
	json_array_foreach (at->rules, i, rule) {
		const char *own = text_of(rule, "name");

		if (own == NULL || strcmp(own, at->name) != 0)
			continue;
		at->index = i;
		found++;
	}
	if (found > 1)
		return xv_err_set(err, -EINVAL, XV_ERR_RANGE, "%u rules of group %s have this name; say which by its number",
				  found, at->group);
	if (found == 1)
		return 0;
	if (xv_parse_number(at->name, false, &number) < 0 || number < 1 || (size_t)number > json_array_size(at->rules))
		return xv_err_set(err, -ENOENT, XV_ERR_NOT_FOUND, "does not exist; group %s has %zu rules, see `xvioctl rule list`",
				  at->group, json_array_size(at->rules));
	at->index = (size_t)number - 1;
	return 0;
}

/* ---- Edits ---- */

static const char *rule_of(const json_t *args, struct xv_err *err)
{
	const char *text = text_of(args, "rule");

	if (text == NULL) {
		xv_err_key(err, "rule");
		xv_err_set(err, -EINVAL, XV_ERR_MISSING_KEY, "is missing");
	}
	return text;
}

/* A position from 1 as an index, if there is one; else `otherwise`. */
static int position_of(const json_t *checked, size_t n, size_t otherwise, size_t *index, struct xv_err *err)
{
	const json_t *position = json_object_get(checked, "position");

	*index = otherwise;
	if (!json_is_integer(position))
		return 0;
	*index = (size_t)json_integer_value(position) - 1;
	if (*index < n)
		return 0;
	xv_err_key(err, "position");
	return xv_err_set(err, -ERANGE, XV_ERR_RANGE, "%zu is out of range 1..%zu", *index + 1, n);
}

/* The keys of the rule alone, with defaults, and whether they fit together. */
static int finish(json_t *rule, json_t **out, struct xv_err *err)
{
	int rc = xv_check_keys(xv_schema_keys("group rule"), rule, NULL, XV_CHECK_FULL, out, err);

	if (rc < 0)
		return rc;
	rc = xv_firewall_config_check_rule(*out, err);
	if (rc < 0)
		json_decref(*out);
	return rc;
}

static int insert(const struct place *at, size_t index, json_t *rule, struct xv_err *err)
{
	return json_array_insert_new(at->rules, index, rule) == 0 ? 0 : xv_err_set(err, -ENOMEM, XV_ERR_RESOURCE, "out of memory");
}

int xv_rules_add(json_t *model, const struct xv_object *type, const json_t *args, struct xv_err *err)
{
	const struct xv_key *list = xv_schema_key(xv_schema_object("group")->keys, "rules");
	const char *text = rule_of(args, err);
	json_t *given, *rule;
	struct place at;
	size_t n;
	int rc;

	(void)type;
	if (text == NULL)
		return -EINVAL;
	rc = find_group(model, text, &at, err);
	if (rc < 0)
		return rc;
	xv_err_object(err, "rule", text);
	rc = xv_check_keys(xv_schema_keys("rule edit"), args, NULL, XV_CHECK_CHANGES, &given, err);
	if (rc < 0)
		return rc;
	n = json_array_size(at.rules);
	rc = position_of(given, n + 1, n, &at.index, err);
	if (rc == 0 && (int64_t)n >= list->max)
		rc = xv_err_set(err, -ERANGE, XV_ERR_RANGE, "group %s has %zu rules, the most there can be", at.group, n);
	json_object_del(given, "rule");
	json_object_del(given, "position");
	if (at.name[0] != '\0' && json_object_get(given, "name") == NULL)
		json_object_set_new(given, "name", json_string(at.name));
	if (rc == 0)
		rc = finish(given, &rule, err);
	json_decref(given);
	return rc < 0 ? rc : insert(&at, at.index, rule, err);
}

int xv_rules_set(json_t *model, const struct xv_object *type, const json_t *args, struct xv_err *err)
{
	const char *text = rule_of(args, err), *key;
	json_t *changes, *merged, *rule, *value;
	struct place at;
	size_t to;
	int rc;

	(void)type;
	if (text == NULL)
		return -EINVAL;
	rc = find_rule(model, text, &at, err);
	if (rc == 0)
		rc = xv_check_keys(xv_schema_keys("rule edit"), args, NULL, XV_CHECK_CHANGES, &changes, err);
	if (rc < 0)
		return rc;
	merged = json_copy(json_array_get(at.rules, at.index));
	rc = position_of(changes, json_array_size(at.rules), at.index, &to, err);
	json_object_del(changes, "rule");
	json_object_del(changes, "position");
	json_object_foreach (changes, key, value)
		json_object_set(merged, key, value); /* null: as if it were not there */
	if (rc == 0)
		rc = finish(merged, &rule, err);
	json_decref(changes);
	json_decref(merged);
	if (rc < 0)
		return rc;
	json_array_remove(at.rules, at.index);
	return insert(&at, to, rule, err);
}

int xv_rules_del(json_t *model, const struct xv_object *type, const json_t *args, struct xv_err *err)
{
	struct place at;
	int rc = find_rule(model, text_of(args, "rule"), &at, err);

	(void)type;
	return rc < 0 ? rc : json_array_remove(at.rules, at.index);
}

/* ---- Answers ---- */

static json_t *describe(const struct xv_host *host, const char *group, size_t index, json_t *rule)
{
	const char *own = text_of(rule, "name");
	json_t *object = own != NULL ? json_pack("{s:o}", "rule", json_sprintf("%s/%s", group, own))
				     : json_pack("{s:o}", "rule", json_sprintf("%s/%zu", group, index + 1));

	json_object_set_new(object, "group", json_string(group));
	json_object_set_new(object, "position", json_integer((json_int_t)index + 1));
	json_object_update(object, rule);
	xv_rule_counter_report(object, xv_rule_counter_of(host->rule_counters, "group", group, index));
	return object;
}

/* It was there when it was asked for; null: it has gone since. */
static json_t *show_rule(struct xv_host *host, const json_t *args)
{
	struct place at;

	if (find_rule(host->model, text_of(args, "rule"), &at, NULL) < 0)
		return json_null();
	return describe(host, at.group, at.index, json_array_get(at.rules, at.index));
}

static json_t *list_rules(struct xv_host *host, const json_t *args)
{
	const char *only = text_of(args, "group"), *name;
	json_t *list = json_array(), *group, *rule;
	size_t i;

	json_object_foreach (json_object_get(host->model, "group"), name, group) {
		if (only != NULL && strcmp(only, name) != 0)
			continue;
		json_array_foreach (json_object_get(group, "rules"), i, rule)
			json_array_append_new(list, describe(host, name, i, rule));
	}
	return list;
}

int xv_rule_show_start(struct xv_host *host, const json_t *args, struct xv_task **task, struct xv_err *err)
{
	struct place at;
	int rc = find_rule(host->model, text_of(args, "rule"), &at, err);

	return rc < 0 ? rc : xv_counted_start(host, args, show_rule, task, err);
}

int xv_rule_list_start(struct xv_host *host, const json_t *args, struct xv_task **task, struct xv_err *err)
{
	return xv_counted_start(host, args, list_rules, task, err);
}

typedef json_t *report(const struct xv_host *host, const char *name);

static json_t *show(struct xv_host *host, const json_t *args, const char *type, report *fn)
{
	const char *name = text_of(args, "name");

	return xv_model_get(host->model, type, name) != NULL ? fn(host, name) : json_null();
}

static json_t *list(struct xv_host *host, const char *type, report *fn)
{
	json_t *all = json_array(), *config;
	const char *name;

	json_object_foreach (json_object_get(host->model, type), name, config)
		json_array_append_new(all, fn(host, name));
	return all;
}

static json_t *show_group(struct xv_host *host, const json_t *args)
{
	return show(host, args, "group", xv_report_group);
}

static json_t *list_groups(struct xv_host *host, const json_t *args)
{
	(void)args;
	return list(host, "group", xv_report_group);
}

static json_t *show_policy(struct xv_host *host, const json_t *args)
{
	return show(host, args, "policy", xv_report_policy);
}

static json_t *list_policies(struct xv_host *host, const json_t *args)
{
	(void)args;
	return list(host, "policy", xv_report_policy);
}

int xv_group_show_start(struct xv_host *host, const json_t *args, struct xv_task **task, struct xv_err *err)
{
	if (xv_model_get(host->model, "group", text_of(args, "name")) == NULL)
		return xv_model_no_such(host->model, "group", text_of(args, "name"), err);
	return xv_counted_start(host, args, show_group, task, err);
}

int xv_group_list_start(struct xv_host *host, const json_t *args, struct xv_task **task, struct xv_err *err)
{
	return xv_counted_start(host, args, list_groups, task, err);
}

int xv_policy_show_start(struct xv_host *host, const json_t *args, struct xv_task **task, struct xv_err *err)
{
	if (xv_model_get(host->model, "policy", text_of(args, "name")) == NULL)
		return xv_model_no_such(host->model, "policy", text_of(args, "name"), err);
	return xv_counted_start(host, args, show_policy, task, err);
}

int xv_policy_list_start(struct xv_host *host, const json_t *args, struct xv_task **task, struct xv_err *err)
{
	return xv_counted_start(host, args, list_policies, task, err);
}
