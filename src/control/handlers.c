/* SPDX-License-Identifier: Apache-2.0 */
#include "control/handlers.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_version.h>

#include "base/log.h"
#include "control/check.h"
#include "control/connections.h"
#include "control/drop_history.h"
#include "control/flow_list.h"
#include "control/gateways.h"
#include "control/live_trace.h"
#include "control/methods.h"
#include "control/model.h"
#include "control/policy_test.h"
#include "control/report.h"
#include "control/rules.h"
#include "control/trace.h"
#include "control/trace_packet.h"
#include "control/txn.h"
#include "table/mac_table.h"

/* args: checked, with defaults filled in (for add and set: as given, model.h checks them). */
typedef int handler(struct xv_host *host, const struct xv_object *type, const json_t *args,
		    json_t **result, struct xv_err *err);

/* Methods whose answer is written bit by bit; their handler is NULL. */
typedef int starter(struct xv_host *host, const json_t *args, struct xv_task **task, struct xv_err *err);
static starter *const starters[XV_METHOD_MAX] = {[XV_METHOD_flow_list] = xv_flow_list_start,
						 [XV_METHOD_flow_show] = xv_flow_show_start,
						 [XV_METHOD_ct_list] = xv_ct_list_start,
						 [XV_METHOD_ct_flush] = xv_ct_flush_start,
						 [XV_METHOD_rule_show] = xv_rule_show_start,
						 [XV_METHOD_rule_list] = xv_rule_list_start,
						 [XV_METHOD_group_show] = xv_group_show_start,
						 [XV_METHOD_group_list] = xv_group_list_start,
						 [XV_METHOD_policy_show] = xv_policy_show_start,
						 [XV_METHOD_policy_list] = xv_policy_list_start,
						 [XV_METHOD_trace_live] = xv_live_session_call};
static handler *const flow_list = NULL, *const flow_show = NULL, *const trace_live = NULL, *const ct_list = NULL,
		     *const ct_flush = NULL, *const rule_show = NULL, *const rule_list = NULL, *const group_show = NULL,
		     *const group_list = NULL, *const policy_show = NULL, *const policy_list = NULL;

static const char *text_of(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

/* The edited copy of the model becomes the running one; takes the reference. */
static int commit(struct xv_host *host, json_t *model, json_t **result, struct xv_err *err)
{
	json_t *changes = NULL;
	int rc;

	rc = xv_model_validate(model, NULL, &host->allowed, err);
	if (rc == 0)
		rc = xv_txn_apply(host, model, NULL, false, &changes, err);
	if (rc < 0) {
		json_decref(model);
		return rc;
	}
	*result = json_pack("{s:o}", "changes", changes);
	return 0;
}

typedef int edit(json_t *model, const struct xv_object *type, const json_t *args,
		 struct xv_err *err);

static int edit_and_commit(struct xv_host *host, edit *fn, const struct xv_object *type,
			   const json_t *args, json_t **result, struct xv_err *err)
{
	json_t *model = json_deep_copy(host->model);
	int rc;

	if (model == NULL)
		return xv_err_set(err, -ENOMEM, XV_ERR_RESOURCE, "out of memory");
	rc = fn(model, type, args, err);
	if (rc < 0) {
		json_decref(model);
		return rc;
	}
	return commit(host, model, result, err);
}

static int del_by_args(json_t *model, const struct xv_object *type, const json_t *args,
		       struct xv_err *err)
{
	return xv_model_del(model, type, text_of(args, "name"), err);
}

static int object_add(struct xv_host *host, const struct xv_object *type, const json_t *args,
		      json_t **result, struct xv_err *err)
{
	return edit_and_commit(host, xv_model_add, type, args, result, err);
}

static int object_set(struct xv_host *host, const struct xv_object *type, const json_t *args,
		      json_t **result, struct xv_err *err)
{
	return edit_and_commit(host, xv_model_set, type, args, result, err);
}

static int object_del(struct xv_host *host, const struct xv_object *type, const json_t *args,
		      json_t **result, struct xv_err *err)
{
	return edit_and_commit(host, del_by_args, type, args, result, err);
}

static json_t *report(struct xv_host *host, const char *type, const char *name)
{
	struct xv_host_worker *worker;
	struct xv_host_port *port;

	if (strcmp(type, "port") == 0) {
		port = xv_host_port_lookup(host, name);
		return port ? xv_report_port(port) : NULL;
	}
	if (strcmp(type, "worker") == 0) {
		worker = xv_host_worker_lookup(host, name);
		return worker ? xv_report_worker(host, worker) : NULL;
	}
	if (strcmp(type, "vtep") == 0)
		return xv_report_vtep(host, name);
	return strcmp(type, "network") == 0   ? xv_report_network(host, name)
	       : strcmp(type, "timeout") == 0 ? xv_report_timeout(host, name)
	       : strcmp(type, "lb") == 0      ? xv_gateways_report_lb(host, name)
	       : strcmp(type, "router") == 0  ? xv_gateways_report_router(host, name)
					      : xv_report_wire(host, name);
}

static int object_show(struct xv_host *host, const struct xv_object *type, const json_t *args,
		       json_t **result, struct xv_err *err)
{
	const char *name = text_of(args, "name");

	if (xv_model_get(host->model, type->name, name) == NULL &&
	    (strcmp(type->name, "port") != 0 || xv_model_port(host->model, name) == NULL))
		return xv_model_no_such(host->model, type->name, name, err);
	*result = report(host, type->name, name);
	return 0;
}

static int object_list(struct xv_host *host, const struct xv_object *type, const json_t *args,
		       json_t **result, struct xv_err *err)
{
	json_t *list = json_array(), *config, *object;
	const char *name;

	(void)args;
	(void)err;
	json_object_foreach (json_object_get(host->model, type->name), name, config) {
		object = report(host, type->name, name);
		if (object != NULL)
			json_array_append_new(list, object);
	}
	/* Ports that come and go by somebody else's orders are ports, too. */
	json_object_foreach (strcmp(type->name, "port") == 0 ? json_object_get(host->model, "dynamic") : NULL, name, config) {
		object = report(host, type->name, name);
		if (object != NULL)
			json_array_append_new(list, object);
	}
	*result = list;
	return 0;
}

#define EDIT_HANDLERS(o)                                                                           \
	static handler *const o##_add = object_add, *const o##_set = object_set,                   \
			      *const o##_del = object_del;
#define OBJECT_HANDLERS(o)                                                                         \
	EDIT_HANDLERS(o)                                                                           \
	static handler *const o##_show = object_show, *const o##_list = object_list;

static int rule_add(struct xv_host *host, const struct xv_object *type, const json_t *args, json_t **result,
		    struct xv_err *err)
{
	return edit_and_commit(host, xv_rules_add, type, args, result, err);
}

static int rule_set(struct xv_host *host, const struct xv_object *type, const json_t *args, json_t **result,
		    struct xv_err *err)
{
	return edit_and_commit(host, xv_rules_set, type, args, result, err);
}

static int rule_del(struct xv_host *host, const struct xv_object *type, const json_t *args, json_t **result,
		    struct xv_err *err)
{
	return edit_and_commit(host, xv_rules_del, type, args, result, err);
}

static int host_show(struct xv_host *host, const struct xv_object *type, const json_t *args,
		     json_t **result, struct xv_err *err)
{
	(void)type;
	(void)args;
	(void)err;
	*result = xv_report_host(host);
	return 0;
}

static int host_apply(struct xv_host *host, const struct xv_object *type, const json_t *args,
		      json_t **result, struct xv_err *err)
{
	bool dry_run = json_is_true(json_object_get(args, "dry_run"));
	json_t *text = json_object_get(args, "text"), *model, *lines, *changes;
	int rc;

	(void)type;
	rc = xv_model_parse(json_string_value(text), json_string_length(text), &host->allowed,
			    &model, &lines, err);
	if (rc < 0)
		return rc;
	rc = xv_txn_apply(host, model, lines, dry_run, &changes, err);
	json_decref(lines);
	if (rc < 0 || dry_run)
		json_decref(model);
	if (rc == 0)
		*result = json_pack("{s:o, s:b}", "changes", changes, "dry_run", dry_run);
	return rc;
}

static int mac_list(struct xv_host *host, const struct xv_object *type, const json_t *args,
		    json_t **result, struct xv_err *err)
{
	(void)type;
	(void)err;
	*result = xv_report_macs(host, text_of(args, "network"));
	return 0;
}

static int tunnel_list(struct xv_host *host, const struct xv_object *type, const json_t *args,
		       json_t **result, struct xv_err *err)
{
	(void)type;
	(void)err;
	*result = xv_report_tunnels(host, text_of(args, "network"));
	return 0;
}

static int mac_flush(struct xv_host *host, const struct xv_object *type, const json_t *args,
		     json_t **result, struct xv_err *err)
{
	const char *network = text_of(args, "network");
	struct xv_host_network *n;
	unsigned int flushed = 0;

	(void)type;
	(void)err;
	TAILQ_FOREACH (n, &host->networks, entry) {
		if (network == NULL || strcmp(network, n->network->name) == 0)
			flushed += xv_mac_table_flush(n->network->macs, XV_MAC_NONE);
	}
	*result = json_pack("{s:i}", "flushed", (int)flushed);
	return 0;
}

static int drop_list(struct xv_host *host, const struct xv_object *type, const json_t *args,
		     json_t **result, struct xv_err *err)
{
	(void)type;
	(void)err;
	*result = xv_report_drops(host, text_of(args, "port"));
	return 0;
}

static int drop_watch(struct xv_host *host, const struct xv_object *type, const json_t *args,
		      json_t **result, struct xv_err *err)
{
	(void)type;
	(void)err;
	*result = xv_drop_history_take(host, args);
	return 0;
}

static int flow_stats(struct xv_host *host, const struct xv_object *type, const json_t *args,
		      json_t **result, struct xv_err *err)
{
	(void)type;
	(void)args;
	(void)err;
	*result = xv_report_flows(host);
	return 0;
}

static int ct_stats(struct xv_host *host, const struct xv_object *type, const json_t *args,
		    json_t **result, struct xv_err *err)
{
	(void)type;
	(void)args;
	(void)err;
	*result = xv_ct_stats(host);
	return 0;
}

static int trace(struct xv_host *host, const struct xv_object *type, const json_t *args, json_t **result,
		 struct xv_err *err)
{
	struct xv_host_port *port = xv_host_port_lookup(host, text_of(args, "port"));
	uint8_t *frame;
	uint32_t len;
	int rc;

	(void)type;
	rc = xv_trace_packet(port, args, &frame, &len, err);
	if (rc < 0)
		return rc;
	*result = xv_trace(host, port->port, frame, len);
	free(frame);
	return 0;
}

static int policy_test(struct xv_host *host, const struct xv_object *type, const json_t *args, json_t **result,
		       struct xv_err *err)
{
	(void)type;
	return xv_policy_test(host, args, result, err);
}

static int event_list(struct xv_host *host, const struct xv_object *type, const json_t *args,
		      json_t **result, struct xv_err *err)
{
	const char *port = text_of(args, "port");
	char object[XV_NAME_MAX + 8];

	(void)type;
	(void)err;
	snprintf(object, sizeof(object), "port %s", port ? port : "");
	*result = xv_event_log_list(&host->log, port ? object : NULL);
	return 0;
}

static int daemon_show(struct xv_host *host, const struct xv_object *type, const json_t *args,
		       json_t **result, struct xv_err *err)
{
	(void)type;
	(void)args;
	(void)err;
	*result = json_copy(json_object_get(host->model, "daemon"));
	return 0;
}

static handler *const daemon_set = object_set;

static int ct_show(struct xv_host *host, const struct xv_object *type, const json_t *args, json_t **result,
		   struct xv_err *err)
{
	(void)type;
	(void)args;
	(void)err;
	*result = json_copy(json_object_get(host->model, "conntrack"));
	return 0;
}

static handler *const ct_set = object_set;

static int log_show(struct xv_host *host, const struct xv_object *type, const json_t *args,
		    json_t **result, struct xv_err *err)
{
	(void)host;
	(void)type;
	(void)args;
	(void)err;
	*result = json_pack("{s:s}", "level", xv_log_level_name(xv_log_get_level()));
	return 0;
}

static int log_set(struct xv_host *host, const struct xv_object *type, const json_t *args,
		   json_t **result, struct xv_err *err)
{
	json_t *change = json_pack("{s:O}", "log_level", json_object_get(args, "level"));
	int rc;

	(void)type;
	rc = object_set(host, xv_schema_object("daemon"), change, result, err);
	json_decref(change);
	return rc;
}

static int version(struct xv_host *host, const struct xv_object *type, const json_t *args,
		   json_t **result, struct xv_err *err)
{
	(void)host;
	(void)type;
	(void)args;
	(void)err;
	*result = json_pack("{s:s, s:s, s:i}", "xviod", XVIO_VERSION, "dpdk", rte_version(), "api",
			    1);
	return 0;
}

OBJECT_HANDLERS(port)
OBJECT_HANDLERS(network)
OBJECT_HANDLERS(timeout)
EDIT_HANDLERS(policy)
EDIT_HANDLERS(group)
OBJECT_HANDLERS(vtep)
OBJECT_HANDLERS(lb)
OBJECT_HANDLERS(router)
OBJECT_HANDLERS(wire)
OBJECT_HANDLERS(worker)

static handler *lookup(enum xv_method_id id)
{
	switch (id) {
#define X(i, n, c, o, a, w, h)                                                                     \
	case XV_METHOD_##i:                                                                        \
		return i;
		XV_METHODS(X)
#undef X
	case XV_METHOD_MAX:
		break;
	}
	return NULL;
}

static int unknown_method(const char *name, struct xv_err *err)
{
	struct xv_nearest nearest;

	xv_nearest_init(&nearest, name);
	for (unsigned int i = 0; i < XV_METHOD_MAX; i++)
		xv_nearest_feed(&nearest, xv_methods[i].name);
	return xv_err_set(err, -ENOSYS, XV_ERR_METHOD, "there is no method \"%.60s\"%s%s%s", name,
			  nearest.best ? "; did you mean \"" : "", nearest.best ? nearest.best : "",
			  nearest.best ? "\"?" : "");
}

/* Names in the arguments of queries must be of something that exists. */
static int check_references(const struct xv_host *host, const struct xv_key *keys,
			    const json_t *args, struct xv_err *err)
{
	for (const struct xv_key *key = keys; key->name != NULL; key++) {
		const char *name = key->ref ? text_of(args, key->name) : NULL;

		if (name != NULL && xv_model_get(host->model, key->ref, name) == NULL)
			return xv_model_bad_reference(host->model, key, name, err);
	}
	return 0;
}

int xv_handle(struct xv_host *host, const char *name, const json_t *params, json_t **result,
	      struct xv_task **task, struct xv_err *err)
{
	const struct xv_method *method = xv_method_lookup(name);
	const struct xv_object *type;
	json_t *args = NULL;
	handler *fn;
	int rc;

	if (method == NULL)
		return unknown_method(name, err);
	fn = lookup((enum xv_method_id)(method - xv_methods));
	type = method->object ? xv_schema_object(method->object) : NULL;
	if (method->args == XV_ARGS_OBJECT || method->args == XV_ARGS_CHANGES || method->args == XV_ARGS_RULE_EDIT)
		return fn(host, type, params, result, err);
	rc = xv_check_keys(xv_method_keys(method), params, NULL, XV_CHECK_FULL, &args, err);
	if (rc < 0)
		return rc;
	rc = check_references(host, xv_method_keys(method), args, err);
	if (rc == 0)
		rc = fn != NULL ? fn(host, type, args, result, err)
				: starters[method - xv_methods](host, args, task, err);
	json_decref(args);
	return rc;
}
