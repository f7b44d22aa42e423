/* SPDX-License-Identifier: Apache-2.0 */
#include "control/txn.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "control/check.h"
#include "control/conntrack_config.h"
#include "control/firewall_config.h"
#include "control/gateway_config.h"
#include "control/gateways.h"
#include "control/metrics.h"
#include "control/model.h"
#include "control/rule_counts.h"
#include "control/settle.h"
#include "control/tunnels.h"
#include "table/rcu.h"

struct txn {
	struct xv_host *host;
	json_t *from, *to;
	const json_t *lines;
	json_t *rule_counters; /* of `to` */
	json_t *timeouts;      /* their numbers: of `to`, or when swapped of `from` */
	bool timeouts_swapped;
	struct xv_metrics *metrics; /* new endpoint; valid when metrics_changed */
	bool metrics_changed;
	struct xv_err *err;
};

static json_t *get(const json_t *model, const char *type, const char *name)
{
	return xv_model_get(model, type, name);
}

static bool key_differs(const json_t *a, const json_t *b, const char *key)
{
	const json_t *x = json_object_get(a, key), *y = json_object_get(b, key);

	return x != y && (x == NULL || y == NULL || !json_equal(x, y));
}

static bool flag_differs(const struct xv_object *type, const json_t *a, const json_t *b,
			 unsigned int flag, const char **which)
{
	for (const struct xv_key *key = type->keys; key->name != NULL; key++) {
		if ((key->flags & flag) && key_differs(a, b, key->name)) {
			if (which != NULL)
				*which = key->name;
			return true;
		}
	}
	return false;
}

/* Complete a creator's complaint: which object, and where it stands in the host file. */
static int blame(struct txn *t, int rc, const char *type, const char *name)
{
	json_t *lines = json_object_get(json_object_get(t->lines, type), name);
	struct xv_err *err = t->err;

	if (err != NULL) {
		if (err->code == XV_ERR_NONE)
			xv_err_set(err, rc, XV_ERR_INTERNAL, "%s", strerror(-rc));
		err->object[0] = '\0';
		xv_err_object(err, type, name);
		if (strcmp(type, "port") == 0) {
			char resource[512];

			xv_model_resource(get(t->to, type, name), resource, sizeof(resource));
			resource[strcspn(resource, " ")] = '\0';
			xv_err_key(err, resource);
		}
		if (err->line == 0)
			err->line = xv_check_line(lines, err->key[0] ? err->key : NULL);
	}
	return rc;
}

/* What cannot change while xviod runs. */
static int check_start_keys(struct txn *t, const char *single)
{
	const struct xv_object *type = xv_schema_object(single);
	const json_t *lines = json_object_get(t->lines, single);
	const char *key;

	if (!t->host->has_started ||
	    !flag_differs(type, json_object_get(t->from, single), json_object_get(t->to, single), XV_KEY_START, &key))
		return 0;
	if (t->err != NULL) {
		snprintf(t->err->object, sizeof(t->err->object), "%s", single);
		t->err->line = xv_check_line(lines, key);
	}
	xv_err_key(t->err, key);
	return xv_err_set(t->err, -EBUSY, XV_ERR_BUSY,
			  "cannot change while xviod runs; restart it");
}

/* Mark what goes: objects that are no longer wanted or must be made anew. */
static void mark_leaving(struct txn *t)
{
	const struct xv_object *type = xv_schema_object("port");
	struct xv_host *host = t->host;
	struct xv_host_network *n;
	struct xv_host_firewall *firewall;
	struct xv_host_policy *policy;
	struct xv_host_vtep *v;
	json_t *want;

	TAILQ_FOREACH (v, &host->vteps, entry) {
		want = get(t->to, "vtep", v->vtep->name);
		v->leaving = want == NULL || !json_equal(want, v->config);
	}
	for (unsigned int i = 0; i < XV_MAX_PORTS; i++) {
		struct xv_host_port *p = host->ports[i];

		if (p == NULL)
			continue;
		want = xv_model_port(t->to, p->port->name);
		p->leaving =
			want == NULL || flag_differs(type, p->config, want, XV_KEY_DEVICE, NULL) ||
			(p->tunnel != NULL &&
			 (!json_equal(want, p->config) ||
			  xv_host_vtep_lookup(host, p->tunnel->vtep->name) == NULL)) ||
			(p->port->ops->kind == XV_PORT_INTERNAL && !json_equal(want, p->config));
	}
	TAILQ_FOREACH (n, &host->networks, entry) {
		want = get(t->to, "network", n->network->name);
		n->leaving = want == NULL ||
			     json_integer_value(json_object_get(want, "mac_limit")) != n->mac_limit;
	}
	TAILQ_FOREACH (policy, &host->policies, entry) {
		want = get(t->to, "policy", xv_policy_name(policy->policy));
		policy->leaving = want == NULL || !json_equal(want, policy->config);
	}
	TAILQ_FOREACH (firewall, &host->firewalls, entry) {
		want = get(t->to, "firewall", json_string_value(json_object_get(firewall->config, "name")));
		firewall->leaving = want == NULL || !json_equal(want, firewall->config);
	}
	for (unsigned int i = 0; i < XV_MAX_WORKERS; i++) {
		struct xv_host_worker *w = host->workers[i];

		if (w == NULL)
			continue;
		want = get(t->to, "worker", xv_worker_name(w->worker));
		w->leaving =
			want == NULL ||
			key_differs(want, get(t->from, "worker", xv_worker_name(w->worker)), "cpu");
	}
}

static int create_workers(struct txn *t)
{
	struct xv_host_worker *w;
	const char *name;
	json_t *config;
	int rc;

	json_object_foreach (json_object_get(t->to, "worker"), name, config) {
		if (xv_host_worker_lookup(t->host, name) != NULL)
			continue;
		rc = xv_host_worker_create(t->host, config, &w, t->err);
		if (rc < 0)
			return blame(t, rc, "worker", name);
	}
	return 0;
}

static int create_networks(struct txn *t)
{
	struct xv_host_network *n;
	const char *name;
	json_t *config;
	int rc;

	json_object_foreach (json_object_get(t->to, "network"), name, config) {
		if (xv_host_network_lookup(t->host, name) != NULL)
			continue;
		rc = xv_host_network_create(t->host, config, &n, t->err);
		if (rc < 0)
			return blame(t, rc, "network", name);
	}
	return 0;
}

static int create_policies(struct txn *t)
{
	struct xv_host_policy *p;
	const char *name;
	json_t *config;
	int rc;

	json_object_foreach (json_object_get(t->to, "policy"), name, config) {
		if (xv_host_policy_lookup(t->host, name) != NULL)
			continue;
		rc = xv_host_policy_create(t->host, config, t->rule_counters, &p, t->err);
		if (rc < 0)
			return blame(t, rc, "policy", name);
	}
	return 0;
}

static int create_firewalls(struct txn *t)
{
	struct xv_host_firewall *f;
	const char *name;
	json_t *config;
	int rc;

	json_object_foreach (json_object_get(t->to, "firewall"), name, config) {
		if (xv_host_firewall_lookup(t->host, name) != NULL)
			continue;
		rc = xv_host_firewall_create(t->host, config, &f, t->err);
		if (rc < 0)
			return blame(t, rc, "port", name);
	}
	return 0;
}

static int create_vteps(struct txn *t)
{
	struct xv_host_vtep *v;
	const char *name;
	json_t *config;
	int rc;

	json_object_foreach (json_object_get(t->to, "vtep"), name, config) {
		if (xv_host_vtep_lookup(t->host, name) != NULL)
			continue;
		rc = xv_host_vtep_create(t->host, config, &v, t->err);
		if (rc < 0)
			return blame(t, rc, "vtep", name);
	}
	return 0;
}

static int create_metrics(struct txn *t)
{
	json_t *from = json_object_get(t->from, "daemon"), *to = json_object_get(t->to, "daemon");
	int rc;

	if (!key_differs(from, to, "metrics"))
		return 0;
	rc = xv_metrics_create(t->host, json_string_value(json_object_get(to, "metrics")),
			       &t->metrics, t->err);
	if (rc < 0) {
		if (t->err != NULL) {
			snprintf(t->err->object, sizeof(t->err->object), "daemon");
			t->err->line =
				xv_check_line(json_object_get(t->lines, "daemon"), "metrics");
		}
		xv_err_key(t->err, "metrics");
		return rc;
	}
	t->metrics_changed = true;
	return 0;
}

/* Follow changes that need no new device; a kind that cannot gets a new one. */
static int reconfigure_ports(struct txn *t)
{
	const json_t *daemon = json_object_get(t->to, "daemon");
	int rc;

	for (unsigned int i = 0; i < XV_MAX_PORTS; i++) {
		struct xv_host_port *p = t->host->ports[i];

		if (p == NULL || p->leaving || p->fresh)
			continue;
		rc = xv_host_port_reconfigure(p, xv_model_port(t->to, p->port->name), daemon,
					      t->err);
		if (rc == -ENOTSUP)
			p->leaving = true;
		else if (rc < 0)
			return blame(t, rc, "port", p->port->name);
	}
	return 0;
}

/* The device that holds what a port needs and goes with this transaction, or NULL. */
static struct xv_host_port *holder(struct txn *t, const json_t *config)
{
	char want[512], have[512];

	xv_model_resource(config, want, sizeof(want));
	for (unsigned int i = 0; i < XV_MAX_PORTS; i++) {
		struct xv_host_port *p = t->host->ports[i];

		if (p == NULL || !p->leaving)
			continue;
		xv_model_resource(p->config, have, sizeof(have));
		if (want[0] != '\0' && strcmp(want, have) == 0)
			return p;
	}
	return NULL;
}

/*
 * contested: make only the ports whose socket or device was another's; otherwise only the ports
 * that depend on nobody.
 */
static int create_ports(struct txn *t, bool contested)
{
	const json_t *daemon = json_object_get(t->to, "daemon");
	struct xv_host_port *p;
	const char *name;
	json_t *config;
	int rc;

	json_object_foreach (json_object_get(t->to, "port"), name, config) {
		if (xv_host_port_lookup(t->host, name) != NULL ||
		    (!contested && holder(t, config) != NULL))
			continue;
		rc = xv_host_port_create(t->host, config, daemon, &p, t->err);
		if (rc < 0)
			return blame(t, rc, "port", name);
	}
	return 0;
}

/* Ports that are derived, of that type, after the configured ones. */
static int create_derived(struct txn *t, const char *type)
{
	const json_t *daemon = json_object_get(t->to, "daemon");
	struct xv_host_port *p;
	const char *name;
	json_t *config;
	int rc;

	json_object_foreach (json_object_get(t->to, type), name, config) {
		if (xv_host_port_lookup(t->host, name) != NULL)
			continue;
		rc = xv_host_port_create(t->host, config, daemon, &p, t->err);
		if (rc < 0)
			return blame(t, rc, "network",
				     json_string_value(json_object_get(config, "network")));
	}
	return 0;
}

static int create_dynamic(struct txn *t)
{
	const json_t *daemon = json_object_get(t->to, "daemon");
	struct xv_host_port *p;
	const char *name;
	json_t *config;
	int rc;

	json_object_foreach (json_object_get(t->to, "dynamic"), name, config) {
		if (xv_host_port_lookup(t->host, name) != NULL)
			continue;
		rc = xv_host_port_create(t->host, config, daemon, &p, t->err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/*
 * Exchange the marks: what came with the transaction counts as leaving, what leaves as staying, so
 * that the old model can be settled. Called twice it restores them.
 */
static void swap_marks(struct xv_host *host)
{
	struct xv_host_network *n;
	struct xv_host_firewall *firewall;
	struct xv_host_policy *policy;
	struct xv_host_vtep *v;
	bool fresh;

	for (unsigned int i = 0; i < XV_MAX_PORTS; i++) {
		struct xv_host_port *p = host->ports[i];

		if (p != NULL) {
			fresh = p->fresh;
			p->fresh = p->leaving;
			p->leaving = fresh;
		}
	}
	TAILQ_FOREACH (n, &host->networks, entry) {
		fresh = n->fresh;
		n->fresh = n->leaving;
		n->leaving = fresh;
	}
	TAILQ_FOREACH (policy, &host->policies, entry) {
		fresh = policy->fresh;
		policy->fresh = policy->leaving;
		policy->leaving = fresh;
	}
	TAILQ_FOREACH (firewall, &host->firewalls, entry) {
		fresh = firewall->fresh;
		firewall->fresh = firewall->leaving;
		firewall->leaving = fresh;
	}
	TAILQ_FOREACH (v, &host->vteps, entry) {
		fresh = v->fresh;
		v->fresh = v->leaving;
		v->leaving = fresh;
	}
	for (unsigned int i = 0; i < XV_MAX_WORKERS; i++) {
		struct xv_host_worker *w = host->workers[i];

		if (w != NULL) {
			fresh = w->fresh;
			w->fresh = w->leaving;
			w->leaving = fresh;
		}
	}
}

/*
 * Destroy the leaving holders of wanted sockets and devices, and no more: the others go on by the
 * old model until all devices exist. Their objects go into released.
 */
static int release_contested(struct txn *t, json_t *released)
{
	struct xv_host_port *holders[XV_MAX_PORTS];
	unsigned int n = 0;
	const char *name;
	json_t *config;
	int rc;

	json_object_foreach (json_object_get(t->to, "port"), name, config) {
		if (xv_host_port_lookup(t->host, name) == NULL) {
			holders[n] = holder(t, config);
			n += holders[n] != NULL;
		}
	}
	if (n == 0)
		return 0;
	swap_marks(t->host);
	for (unsigned int i = 0; i < n; i++)
		holders[i]->leaving = true;
	rc = xv_settle(t->host, t->from);
	for (unsigned int i = 0; i < n; i++)
		holders[i]->leaving = false;
	swap_marks(t->host);
	if (rc < 0)
		return xv_err_set(t->err, rc, XV_ERR_RESOURCE, "out of memory");
	for (unsigned int i = 0; i < n; i++) {
		json_array_append(released, holders[i]->config);
		xv_host_port_destroy(holders[i]);
	}
	return 0;
}

static void destroy_leaving(struct xv_host *host)
{
	struct xv_host_firewall *firewall, *next_firewall;
	struct xv_host_policy *policy, *next_policy;
	struct xv_host_network *n, *next;
	struct xv_host_vtep *v, *next_vtep;

	for (unsigned int i = 0; i < XV_MAX_PORTS; i++) {
		if (host->ports[i] != NULL && host->ports[i]->leaving)
			xv_host_port_destroy(host->ports[i]);
	}
	for (n = TAILQ_FIRST(&host->networks); n != NULL; n = next) {
		next = TAILQ_NEXT(n, entry);
		if (n->leaving)
			xv_host_network_destroy(host, n);
	}
	for (policy = TAILQ_FIRST(&host->policies); policy != NULL; policy = next_policy) {
		next_policy = TAILQ_NEXT(policy, entry);
		if (policy->leaving)
			xv_host_policy_destroy(host, policy);
	}
	for (firewall = TAILQ_FIRST(&host->firewalls); firewall != NULL; firewall = next_firewall) {
		next_firewall = TAILQ_NEXT(firewall, entry);
		if (firewall->leaving)
			xv_host_firewall_destroy(host, firewall);
	}
	for (v = TAILQ_FIRST(&host->vteps); v != NULL; v = next_vtep) {
		next_vtep = TAILQ_NEXT(v, entry);
		if (v->leaving)
			xv_host_vtep_destroy(host, v);
	}
	for (unsigned int i = 0; i < XV_MAX_WORKERS; i++) {
		if (host->workers[i] != NULL && host->workers[i]->leaving)
			xv_host_worker_destroy(host, host->workers[i]);
	}
}

static void clear_marks(struct xv_host *host)
{
	struct xv_host_firewall *firewall;
	struct xv_host_policy *policy;
	struct xv_host_network *n;
	struct xv_host_vtep *v;

	for (unsigned int i = 0; i < XV_MAX_PORTS; i++) {
		if (host->ports[i] != NULL)
			host->ports[i]->leaving = host->ports[i]->fresh = false;
	}
	TAILQ_FOREACH (n, &host->networks, entry)
		n->leaving = n->fresh = false;
	TAILQ_FOREACH (policy, &host->policies, entry)
		policy->leaving = policy->fresh = false;
	TAILQ_FOREACH (firewall, &host->firewalls, entry)
		firewall->leaving = firewall->fresh = false;
	TAILQ_FOREACH (v, &host->vteps, entry)
		v->leaving = v->fresh = false;
	for (unsigned int i = 0; i < XV_MAX_WORKERS; i++) {
		if (host->workers[i] != NULL)
			host->workers[i]->leaving = host->workers[i]->fresh = false;
	}
}

/* Bindings are made with those of the host; t has the others: before the change its new ones, then the old ones. */
static void swap_timeouts(struct txn *t)
{
	json_t *timeouts = t->host->timeouts;

	t->host->timeouts = t->timeouts;
	t->timeouts = timeouts;
	t->timeouts_swapped = !t->timeouts_swapped;
}

/* Back to what ran before: what is fresh goes, what was released comes back. */
static void undo(struct txn *t, const json_t *released)
{
	const json_t *daemon = json_object_get(t->from, "daemon");
	struct xv_host *host = t->host;
	struct xv_err err = {0};
	struct xv_host_port *p;
	char sentence[700];
	json_t *config;
	size_t i;

	if (t->metrics_changed)
		xv_metrics_destroy(t->metrics);
	swap_marks(host);
	if (t->timeouts_swapped)
		swap_timeouts(t);
	if (t->from != NULL && xv_conntrack_configure(host, t->from, host->timeouts, t->timeouts) < 0)
		goto no_memory;
	if (xv_settle(host, t->from) < 0)
		goto no_memory;
	destroy_leaving(host);
	clear_marks(host);
	for (unsigned int id = 0; id < XV_MAX_PORTS; id++) {
		p = host->ports[id];
		if (p != NULL)
			(void)xv_host_port_reconfigure(p, p->config, daemon, NULL);
	}
	json_array_foreach (released, i, config) {
		err = (struct xv_err){0};
		if (xv_host_port_create(host, config, daemon, &p, &err) < 0)
			xv_log(XV_LOG_ERROR, "host",
			       "port %s is lost, it could not be made anew: %s",
			       json_string_value(json_object_get(config, "name")),
			       xv_err_sentence(&err, NULL, sentence, sizeof(sentence)));
		else
			p->fresh = false;
	}
	if (xv_settle(host, t->from) == 0)
		return;
no_memory:
	xv_log(XV_LOG_ERROR, "host", "out of memory while undoing a change");
}

/* Everything exists: from here on nothing is expected to fail. */
static int commit(struct txn *t)
{
	struct xv_host *host = t->host;
	const json_t *daemon = json_object_get(t->to, "daemon");
	struct xv_host_network *n;
	enum xv_log_level level;
	int rc;

	if (xv_log_level_parse(json_string_value(json_object_get(daemon, "log_level")), &level) ==
	    0)
		xv_log_set_level(level);
	xv_worker_configure(&(struct xv_worker_settings){
		.batch = (uint32_t)json_integer_value(json_object_get(daemon, "batch")),
		.batch_wait_us =
			(uint32_t)json_integer_value(json_object_get(daemon, "batch_wait_us")),
		.idle_spin_us =
			(uint32_t)json_integer_value(json_object_get(daemon, "idle_spin_us")),
	});
	TAILQ_FOREACH (n, &host->networks, entry) {
		const json_t *config = get(t->to, "network", n->network->name);

		if (!n->leaving)
			n->network->mac_age_s =
				(uint32_t)json_integer_value(json_object_get(config, "mac_age_s"));
	}
	rc = xv_conntrack_configure(host, t->to, t->timeouts, host->timeouts);
	if (rc == 0) {
		swap_timeouts(t);
		rc = xv_settle(host, t->to);
	}
	if (rc < 0)
		return xv_err_set(t->err, rc, XV_ERR_RESOURCE, "out of memory");

	destroy_leaving(host);
	for (unsigned int i = 0; i < XV_MAX_PORTS; i++) {
		struct xv_host_port *p = host->ports[i];

		if (p != NULL) {
			json_decref(p->config);
			p->config = json_incref(xv_model_port(t->to, p->port->name));
		}
	}
	if (t->metrics_changed) {
		xv_metrics_destroy(host->metrics);
		host->metrics = t->metrics;
	}
	clear_marks(host);
	xv_gateways_follow(host->gateways, t->to);
	xv_host_expect_frees(host);
	return 0;
}

static void tell(struct xv_host *host, const json_t *changes)
{
	json_t *line;
	size_t i;

	json_array_foreach (changes, i, line) {
		const char *text = json_string_value(line);
		char type[16], name[XV_NAME_MAX + 1];

		xv_log(host->has_started ? XV_LOG_INFO : XV_LOG_DEBUG, "host", "%s", text);
		if (sscanf(text + 2, "%15[a-z] %63[^:\n]", type, name) == 2)
			xv_event_log_add(&host->log, type, name,
					 text[0] == '+'   ? "added"
					 : text[0] == '-' ? "removed"
							  : "changed",
					 strchr(text, ':') && text[0] == '~' ? strchr(text, ':') + 2
									     : "");
	}
}

int xv_txn_apply(struct xv_host *host, json_t *desired, const json_t *lines, bool dry_run,
		 json_t **changes, struct xv_err *err)
{
	struct txn t = {
		.host = host, .from = host->model, .to = desired, .lines = lines, .err = err};
	json_t *released, *diff;
	int rc;

	rc = check_start_keys(&t, "daemon");
	if (rc == 0)
		rc = check_start_keys(&t, "conntrack");
	if (rc < 0)
		return rc;
	if (json_object_get(desired, "dynamic") == NULL && json_object_get(host->model, "dynamic") != NULL)
		json_object_set(desired, "dynamic", json_object_get(host->model, "dynamic"));
	t.rule_counters = xv_rule_counters_assign(desired, host->rule_counters);
	diff = NULL;
	if (json_object_set_new(desired, "tunnel", xv_tunnels_derive(desired)) == 0 &&
	    xv_firewalls_derive(desired, t.rule_counters) == 0 && xv_gateway_config_derive(desired) == 0)
		diff = xv_model_diff(t.from, t.to);
	if (diff == NULL) {
		xv_rule_counters_release(t.rule_counters);
		return xv_err_set(err, -ENOMEM, XV_ERR_RESOURCE, "out of memory");
	}
	if (dry_run || json_array_size(diff) == 0) {
		xv_rule_counters_release(t.rule_counters);
		if (!dry_run) /* equal */
			json_decref(desired);
		*changes = diff;
		return 0;
	}
	released = json_array();
	t.timeouts = xv_timeouts_number(desired, host->timeouts);
	mark_leaving(&t);
	rc = create_workers(&t);
	if (rc == 0)
		rc = create_networks(&t);
	if (rc == 0)
		rc = create_policies(&t);
	if (rc == 0)
		rc = create_firewalls(&t);
	if (rc == 0)
		rc = create_vteps(&t);
	if (rc == 0)
		rc = create_metrics(&t);
	if (rc == 0)
		rc = reconfigure_ports(&t);
	if (rc == 0)
		rc = create_ports(&t, false);
	if (rc == 0)
		rc = release_contested(&t, released);
	if (rc == 0)
		rc = create_ports(&t, true);
	if (rc == 0)
		rc = create_derived(&t, "tunnel");
	if (rc == 0)
		rc = create_derived(&t, "internal");
	if (rc == 0)
		rc = create_dynamic(&t);
	if (rc == 0)
		rc = commit(&t);
	if (rc < 0)
		undo(&t, released);
	json_decref(released);
	json_decref(t.timeouts);
	if (rc < 0) {
		xv_rule_counters_release(t.rule_counters);
		json_decref(diff);
		return rc;
	}
	tell(host, diff);
	host->model = desired;
	xv_rule_counters_release(host->rule_counters);
	host->rule_counters = t.rule_counters;
	json_decref(t.from);
	host->has_started = true;
	*changes = diff;
	return 0;
}

int xv_txn_set_dynamic_ports(struct xv_host *host, json_t *ports, struct xv_err *err)
{
	json_t *desired = json_copy(host->model), *changes;
	int rc;

	if (desired == NULL || json_object_set_new(desired, "dynamic", ports) < 0) {
		json_decref(desired);
		return xv_err_set(err, -ENOMEM, XV_ERR_RESOURCE, "out of memory");
	}
	rc = xv_txn_apply(host, desired, NULL, false, &changes, err);
	json_decref(rc == 0 ? changes : desired);
	return rc;
}
