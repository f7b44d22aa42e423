/* SPDX-License-Identifier: Apache-2.0 */
#include "control/host.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "control/drop_history.h"
#include "control/gateways.h"
#include "control/live_trace.h"
#include "control/metrics.h"
#include "control/model.h"
#include "control/firewall_config.h"
#include "control/policy_config.h"
#include "control/rule_counts.h"
#include "control/rule_lines.h"
#include "control/tunnels.h"
#include "fastpath/conntrack.h"
#include "fastpath/flow.h"
#include "fastpath/ledger.h"
#include "fastpath/worker.h"
#include "table/rcu.h"

#define HOUSEKEEPING_S   1
#define FLOW_IDLE_MS	 10000 /* flows of built-in networks that were not used for so long go */
#define FLOWS_PENDING_US 1000
#define FREES_PENDING_US 2000 /* deferred frees are due within microseconds while workers run */

static const char *text_of(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static json_int_t number_of(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

bool xv_host_poll_flows(struct xv_host *host)
{
	bool more = xv_flows_poll();

	if (more)
		evtimer_add(host->flows_timer, &(struct timeval){.tv_usec = FLOWS_PENDING_US});
	return more;
}

static bool is_of_zone(const struct xv_ct_info *info, void *arg)
{
	const uint16_t *zone = arg;

	return info->original.zone == *zone;
}

/* A bit of what is left of networks that have gone. True: there is more. */
static bool flush_old_zones(struct xv_host *host)
{
	struct xv_host_zone *z = TAILQ_FIRST(&host->old_zones);
	uint64_t ignored = 0;

	if (z == NULL)
		return false;
	if (!xv_conntrack_flush_some(xv_flow_conntrack, xv_clock_ms(xv_clock_cycles()), &z->cursor, is_of_zone, &z->zone,
				     &ignored)) {
		TAILQ_REMOVE(&host->old_zones, z, entry);
		free(z);
	}
	return TAILQ_FIRST(&host->old_zones) != NULL;
}

/* Flows that workers ask for, and those that have to wait for them before they go. */
static void flows_work(evutil_socket_t fd, short what, void *arg)
{
	struct xv_host *host = arg;
	bool more;

	(void)xv_host_poll_flows(host);
	xv_rule_lines_write(host);
	/* By the same descriptor: what came in for addresses of our own. */
	more = xv_underlay_poll();
	/* First what workers are about to wait for. */
	more |= xv_conntrack_provide(xv_flow_conntrack);
	more |= xv_conntrack_expire(xv_flow_conntrack, xv_clock_ms(xv_clock_cycles()));
	more |= flush_old_zones(host);
	if (more)
		evtimer_add(host->flows_timer, &(struct timeval){.tv_usec = FLOWS_PENDING_US});
}

/* Once a second, so that an idle daemon costs nothing; sooner while something waits to be freed. */
static void housekeeping(evutil_socket_t fd, short what, void *arg)
{
	struct xv_host *host = arg;
	struct timeval next = {.tv_sec = HOUSEKEEPING_S};
	struct xv_host_network *n;

	TAILQ_FOREACH (n, &host->networks, entry)
		xv_network_age(n->network);
	xv_flows_age(FLOW_IDLE_MS);
	xv_underlay_tick();
	flows_work(-1, 0, host);
	if (host->metrics != NULL)
		xv_metrics_tick(host->metrics);
	if (xv_rcu_poll() > 0)
		next = (struct timeval){.tv_usec = FREES_PENDING_US};
	evtimer_add(host->housekeeping, &next);
}

void xv_host_expect_frees(struct xv_host *host)
{
	evtimer_add(host->housekeeping, &(struct timeval){.tv_usec = FREES_PENDING_US});
}

int xv_host_create(struct event_base *events, const cpu_set_t *allowed, struct xv_host **hostp)
{
	struct xv_host *host = calloc(1, sizeof(*host));

	if (host == NULL)
		return -ENOMEM;
	host->events = events;
	host->allowed = *allowed;
	host->started_ns = xv_clock_ns();
	host->model = xv_model_new();
	host->housekeeping = evtimer_new(events, housekeeping, host);
	host->flows_timer = evtimer_new(events, flows_work, host);
	host->flows_wanted = event_new(events, xv_flows_event_fd, EV_READ | EV_PERSIST, flows_work, host);
	TAILQ_INIT(&host->networks);
	TAILQ_INIT(&host->old_zones);
	TAILQ_INIT(&host->policies);
	TAILQ_INIT(&host->firewalls);
	TAILQ_INIT(&host->vteps);
	xv_placement_init(&host->placement);
	if (host->model == NULL || host->housekeeping == NULL || host->flows_timer == NULL ||
	    host->flows_wanted == NULL || event_add(host->flows_wanted, NULL) < 0 ||
	    xv_gateways_create(host, &host->gateways) < 0) {
		json_decref(host->model);
		if (host->housekeeping != NULL)
			event_free(host->housekeeping);
		if (host->flows_timer != NULL)
			event_free(host->flows_timer);
		if (host->flows_wanted != NULL)
			event_free(host->flows_wanted);
		free(host);
		return -ENOMEM;
	}
	evtimer_add(host->housekeeping, &(struct timeval){.tv_sec = HOUSEKEEPING_S});
	*hostp = host;
	return 0;
}

struct xv_host_port *xv_host_port_lookup(const struct xv_host *host, const char *name)
{
	for (unsigned int i = 0; i < XV_MAX_PORTS; i++) {
		struct xv_host_port *p = host->ports[i];

		if (p != NULL && !p->leaving && strcmp(p->port->name, name) == 0)
			return p;
	}
	return NULL;
}

struct xv_host_network *xv_host_network_lookup(const struct xv_host *host, const char *name)
{
	struct xv_host_network *n;

	TAILQ_FOREACH (n, &host->networks, entry) {
		if (!n->leaving && strcmp(n->network->name, name) == 0)
			return n;
	}
	return NULL;
}

struct xv_host_firewall *xv_host_firewall_lookup(const struct xv_host *host, const char *port)
{
	struct xv_host_firewall *f;

	TAILQ_FOREACH (f, &host->firewalls, entry) {
		if (!f->leaving && strcmp(text_of(f->config, "name"), port) == 0)
			return f;
	}
	return NULL;
}

struct xv_host_policy *xv_host_policy_lookup(const struct xv_host *host, const char *name)
{
	struct xv_host_policy *p;

	TAILQ_FOREACH (p, &host->policies, entry) {
		if (!p->leaving && strcmp(xv_policy_name(p->policy), name) == 0)
			return p;
	}
	return NULL;
}

struct xv_host_vtep *xv_host_vtep_lookup(const struct xv_host *host, const char *name)
{
	struct xv_host_vtep *v;

	TAILQ_FOREACH (v, &host->vteps, entry) {
		if (!v->leaving && strcmp(v->vtep->name, name) == 0)
			return v;
	}
	return NULL;
}

struct xv_host_worker *xv_host_worker_lookup(const struct xv_host *host, const char *name)
{
	for (unsigned int i = 0; i < XV_MAX_WORKERS; i++) {
		struct xv_host_worker *w = host->workers[i];

		if (w != NULL && !w->leaving && strcmp(xv_worker_name(w->worker), name) == 0)
			return w;
	}
	return NULL;
}

static int port_config(const json_t *object, const json_t *daemon, struct xv_port_config *config,
		       struct xv_err *err)
{
	const char *kind = text_of(object, "kind"), *mode = text_of(object, "mode");
	const char *socket_mode = text_of(daemon, "socket_mode");

	*config = (struct xv_port_config){
		.socket = text_of(object, "socket"),
		.client = mode != NULL && strcmp(mode, "client") == 0,
		.socket_owner = text_of(daemon, "socket_owner"),
		.socket_group = text_of(daemon, "socket_group"),
		.socket_mode = socket_mode ? (int)strtol(socket_mode, NULL, 8) : -1,
		.device = text_of(object, "device"),
		.interface = text_of(object, "interface"),
		.queues = (uint16_t)number_of(object, "queues"),
		.mtu = (uint16_t)number_of(object, "mtu"),
		.csum = json_is_true(json_object_get(object, "csum")),
		.tso = json_is_true(json_object_get(object, "tso")),
		.passive = json_is_true(json_object_get(object, "passive")),
	};
	snprintf(config->name, sizeof(config->name), "%s", text_of(object, "name"));
	for (unsigned int k = XV_PORT_VHOST; k <= XV_PORT_KERNEL; k++) {
		if (strcmp(xv_port_kind_name(k), kind) == 0) {
			config->kind = k;
			return 0;
		}
	}
	return xv_err_set(err, -EINVAL, XV_ERR_INTERNAL, "kind %s is not built in", kind);
}

/* Say what happened to a port, once, when its state is another than before. */
static void port_changed(struct xv_port *port, void *arg)
{
	struct xv_host_port *p = arg;
	struct xv_port_info info = {0};
	char component[XV_NAME_LEN + 8], text[sizeof(info.broken) + 32] = "";
	enum xv_log_level level = XV_LOG_INFO;

	xv_underlay_port_changed(port);
	port->ops->info(port, &info);
	if (info.state == p->state)
		return;
	switch (info.state) {
	case XV_PORT_UP:
		p->ups++;
		if (info.is_virtio)
			snprintf(text, sizeof(text), "%s ring, queue pairs %u",
				 info.packed ? "packed" : "split", info.queues_active);
		break;
	case XV_PORT_BROKEN:
		p->breaks++;
		level = XV_LOG_WARNING;
		snprintf(text, sizeof(text), "%s", info.broken);
		break;
	case XV_PORT_WAITING:
		p->downs++;
		snprintf(text, sizeof(text), "%s",
			 info.connected ? "for the driver" : "for a connection");
		break;
	case XV_PORT_DOWN:
		p->downs++;
		break;
	}
	p->state = info.state;
	snprintf(component, sizeof(component), "port %s", port->name);
	XV_LOG_LIMITED(level, component, "%s%s%s", xv_port_state_name(info.state),
		       text[0] ? ": " : "", text);
	xv_event_log_add(&p->host->log, "port", port->name, xv_port_state_name(info.state), text);
}

static void port_inject(struct xv_port *port, const uint8_t *frame, uint16_t len, void *arg)
{
	(void)arg;
	xv_worker_inject(port, frame, len);
}

static int free_id(const struct xv_host *host)
{
	for (unsigned int i = 0; i < XV_MAX_PORTS; i++) {
		unsigned int id = (host->next_id + i) % XV_MAX_PORTS;

		if (host->ports[id] == NULL)
			return (int)id;
	}
	return -ENOSPC;
}

/* Where the port leads. */
static int tunnel_create(struct xv_host *host, const json_t *config, struct xv_host_port *p, struct xv_err *err)
{
	struct xv_host_vtep *v = xv_host_vtep_lookup(host, text_of(config, "vtep"));
	struct xv_tunnel_config c;
	int rc;

	if (v == NULL || xv_tunnels_config(config, &c) < 0)
		return xv_err_set(err, -EINVAL, XV_ERR_INTERNAL, "there is no vtep %s", text_of(config, "vtep"));
	rc = xv_tunnel_create(v->vtep, &c, p->port, &p->tunnel);
	return rc == 0 ? 0 : xv_err_set(err, rc, XV_ERR_RESOURCE, "tunnel: %s", strerror(-rc));
}

int xv_host_port_create(struct xv_host *host, json_t *config, const json_t *daemon,
			struct xv_host_port **portp, struct xv_err *err)
{
	struct xv_port_info info = {0};
	struct xv_port_config device;
	struct xv_host_port *p;
	int id = free_id(host), rc;

	if (id < 0)
		return xv_err_set(err, id, XV_ERR_RESOURCE, "more than %d ports at once",
				  XV_MAX_PORTS);
	rc = port_config(config, daemon, &device, err);
	if (rc < 0)
		return rc;
	p = calloc(1, sizeof(*p));
	if (p == NULL)
		return xv_err_set(err, -ENOMEM, XV_ERR_RESOURCE, "out of memory");
	rc = xv_port_create(&device, (uint16_t)id, host->events, &p->port, err);
	if (rc < 0) {
		free(p);
		return rc;
	}
	rc = text_of(config, "vtep") != NULL ? tunnel_create(host, config, p, err) : 0;
	if (rc < 0) {
		xv_port_destroy(p->port);
		free(p);
		return rc;
	}
	xv_ledger_reset((uint16_t)id);
	p->host = host;
	p->config = json_incref(config);
	p->mtu = device.mtu;
	p->port->ops->info(p->port, &info);
	p->state = info.state;
	p->fresh = true;
	p->port->arg = p;
	p->port->changed = port_changed;
	p->port->inject = port_inject;
	host->ports[id] = p;
	host->next_id = (uint16_t)((id + 1) % XV_MAX_PORTS);
	*portp = p;
	return 0;
}

static void limit_free(void *arg)
{
	xv_rate_limit_destroy(arg);
}

#define LEDGER_LOOKS 3

/* Nobody takes packets in from it any more: those that came must have gone somewhere. What waits in outputs of others may move
 * while we look. */
static void check_ledger(const struct xv_host_port *p)
{
	uint64_t in = 0, out = 1;
	struct xv_ledger l;
	unsigned int looks, i;

	for (looks = 0; looks < LEDGER_LOOKS && in != out; looks++) {
		if (looks > 0)
			xv_workers_barrier();
		xv_ledger_read(p->port, &l);
		in = l.rx_packets + l.copies;
		out = l.forwarded + l.punts + l.held;
		for (i = 0; i < XV_DROP_MAX; i++)
			out += l.drops[i];
	}
	if (in != out)
		xv_log(XV_LOG_ERROR, "host", "port %s: %" PRIu64 " packets came in, %" PRIu64 " are accounted for",
		       p->port->name, in, out);
}

void xv_host_port_destroy(struct xv_host_port *p)
{
	struct xv_host *host = p->host;

	p->port->changed = NULL;
	p->port->inject = NULL;
	xv_underlay_forget_port(p->port);
	xv_gateways_forget(host->gateways, p);
	xv_workers_forget_port(p->port);
	check_ledger(p);
	host->ports[p->port->id] = NULL;
	xv_tunnel_destroy(p->tunnel);
	xv_port_destroy(p->port);
	if (p->rx_limit.limit != NULL)
		xv_rcu_defer(limit_free, p->rx_limit.limit);
	if (p->tx_limit.limit != NULL)
		xv_rcu_defer(limit_free, p->tx_limit.limit);
	json_decref(p->config);
	free(p);
}

int xv_host_port_reconfigure(struct xv_host_port *p, json_t *config, const json_t *daemon,
			     struct xv_err *err)
{
	struct xv_port_config device;
	int rc;

	if (p->mtu == number_of(config, "mtu") &&
	    p->port->csum == json_is_true(json_object_get(config, "csum")) &&
	    p->port->tso == json_is_true(json_object_get(config, "tso")))
		return 0;
	if (p->port->ops->reconfigure == NULL)
		return -ENOTSUP;
	rc = port_config(config, daemon, &device, err);
	if (rc == 0)
		rc = p->port->ops->reconfigure(p->port, &device, err);
	if (rc == 0)
		p->mtu = device.mtu;
	return rc;
}

static bool is_taken(const struct xv_host *host, uint16_t zone)
{
	const struct xv_host_network *n;
	const struct xv_host_zone *z;

	TAILQ_FOREACH (n, &host->networks, entry) {
		if (n->zone == zone)
			return true;
	}
	TAILQ_FOREACH (z, &host->old_zones, entry) {
		if (z->zone == zone)
			return true;
	}
	return false;
}

/* A zone of its own for a network; they go round, so that one comes back as late as possible. 0 is OVS's default. */
static uint16_t zone_for(struct xv_host *host)
{
	do {
		host->last_zone = host->last_zone == UINT16_MAX ? 1 : (uint16_t)(host->last_zone + 1);
	} while (is_taken(host, host->last_zone));
	return host->last_zone;
}

int xv_host_network_create(struct xv_host *host, const json_t *config,
			   struct xv_host_network **networkp, struct xv_err *err)
{
	struct xv_host_network *n = calloc(1, sizeof(*n));
	int rc;

	if (n == NULL)
		return xv_err_set(err, -ENOMEM, XV_ERR_RESOURCE, "out of memory");
	n->mac_limit = (uint32_t)number_of(config, "mac_limit");
	n->zone = zone_for(host);
	n->fresh = true;
	rc = xv_network_create(text_of(config, "name"), (uint32_t)number_of(config, "mac_age_s"),
			       n->mac_limit, &n->network);
	if (rc < 0) {
		free(n);
		return xv_err_set(err, rc, XV_ERR_RESOURCE, "%s", strerror(-rc));
	}
	TAILQ_INSERT_TAIL(&host->networks, n, entry);
	*networkp = n;
	return 0;
}

static void network_free(void *arg)
{
	xv_network_destroy(arg);
}

void xv_host_network_destroy(struct xv_host *host, struct xv_host_network *n)
{
	struct xv_host_zone *z = calloc(1, sizeof(*z));

	TAILQ_REMOVE(&host->networks, n, entry);
	xv_conntrack_set_zone_limit(xv_flow_conntrack, n->zone, UINT32_MAX);
	if (z != NULL) { /* else its connections go when their time is over */
		z->zone = n->zone;
		TAILQ_INSERT_TAIL(&host->old_zones, z, entry);
		evtimer_add(host->flows_timer, &(struct timeval){.tv_usec = FLOWS_PENDING_US});
	}
	/* Bindings that refer to it were deferred earlier, hence are freed earlier. */
	xv_rcu_defer(network_free, n->network);
	free(n);
}

int xv_host_policy_create(struct xv_host *host, json_t *config, const json_t *rule_counters,
			  struct xv_host_policy **policyp, struct xv_err *err)
{
	json_t *annotated;
	struct xv_host_policy *p = calloc(1, sizeof(*p));
	int rc;

	if (p == NULL)
		return xv_err_set(err, -ENOMEM, XV_ERR_RESOURCE, "out of memory");
	annotated = xv_rule_counters_annotate(config, rule_counters);
	rc = xv_policy_config_compile(annotated, &p->policy, err);
	json_decref(annotated);
	if (rc < 0) {
		free(p);
		return rc;
	}
	p->config = json_incref(config);
	p->fresh = true;
	TAILQ_INSERT_TAIL(&host->policies, p, entry);
	*policyp = p;
	return 0;
}

static void policy_free(void *arg)
{
	xv_policy_destroy(arg);
}

void xv_host_policy_destroy(struct xv_host *host, struct xv_host_policy *p)
{
	TAILQ_REMOVE(&host->policies, p, entry);
	/* As with networks: bindings that refer to it were deferred earlier. */
	xv_rcu_defer(policy_free, p->policy);
	json_decref(p->config);
	free(p);
}

int xv_host_firewall_create(struct xv_host *host, json_t *config, struct xv_host_firewall **firewallp,
			    struct xv_err *err)
{
	struct xv_host_firewall *f = calloc(1, sizeof(*f));
	int rc;

	if (f == NULL)
		return xv_err_set(err, -ENOMEM, XV_ERR_RESOURCE, "out of memory");
	rc = xv_firewall_config_compile(config, &f->firewall, err);
	if (rc < 0) {
		free(f);
		return rc;
	}
	f->config = json_incref(config);
	f->fresh = true;
	TAILQ_INSERT_TAIL(&host->firewalls, f, entry);
	*firewallp = f;
	return 0;
}

static void firewall_free(void *arg)
{
	xv_firewall_destroy(arg);
}

void xv_host_firewall_destroy(struct xv_host *host, struct xv_host_firewall *f)
{
	TAILQ_REMOVE(&host->firewalls, f, entry);
	/* As with networks: bindings that refer to it were deferred earlier. */
	xv_rcu_defer(firewall_free, f->firewall);
	json_decref(f->config);
	free(f);
}

int xv_host_vtep_create(struct xv_host *host, json_t *config, struct xv_host_vtep **vtepp, struct xv_err *err)
{
	struct xv_host_vtep *v = calloc(1, sizeof(*v));
	struct xv_vtep_config c;
	int rc = -ENOMEM;

	if (v == NULL || xv_tunnels_vtep_config(config, &c) < 0)
		goto err_free;
	rc = xv_vtep_create(&c, &v->vtep);
	if (rc < 0)
		goto err_free;
	v->config = json_incref(config);
	v->fresh = true;
	TAILQ_INSERT_TAIL(&host->vteps, v, entry);
	*vtepp = v;
	return 0;

err_free:
	free(v);
	return xv_err_set(err, rc, XV_ERR_RESOURCE, "%s", strerror(-rc));
}

void xv_host_vtep_destroy(struct xv_host *host, struct xv_host_vtep *v)
{
	TAILQ_REMOVE(&host->vteps, v, entry);
	xv_vtep_destroy(v->vtep);
	json_decref(v->config);
	free(v);
}

int xv_host_worker_create(struct xv_host *host, const json_t *config,
			  struct xv_host_worker **workerp, struct xv_err *err)
{
	const json_t *cpu = json_object_get(config, "cpu");
	struct xv_host_worker *w;
	unsigned int slot = 0;
	int rc;

	while (slot < XV_MAX_WORKERS && host->workers[slot] != NULL)
		slot++;
	if (slot == XV_MAX_WORKERS)
		return xv_err_set(err, -ENOSPC, XV_ERR_RESOURCE, "more than %d workers at once",
				  XV_MAX_WORKERS);
	w = calloc(1, sizeof(*w));
	if (w == NULL)
		return xv_err_set(err, -ENOMEM, XV_ERR_RESOURCE, "out of memory");
	w->cpu = cpu ? (int)json_integer_value(cpu) : -1;
	w->fresh = true;
	rc = xv_worker_create(text_of(config, "name"), w->cpu, false, &w->worker, err);
	if (rc < 0) {
		free(w);
		return rc;
	}
	host->workers[slot] = w;
	*workerp = w;
	return 0;
}

void xv_host_worker_destroy(struct xv_host *host, struct xv_host_worker *w)
{
	for (unsigned int slot = 0; slot < XV_MAX_WORKERS; slot++) {
		if (host->workers[slot] == w)
			host->workers[slot] = NULL;
	}
	xv_worker_destroy(w->worker);
	free(w);
}

void xv_host_destroy(struct xv_host *host)
{
	struct xv_host_policy *policy;
	struct xv_host_firewall *firewall;
	struct xv_host_network *n;
	struct xv_host_zone *zone;
	struct xv_host_vtep *vtep;

	if (host == NULL)
		return;
	xv_metrics_destroy(host->metrics);
	/* Nobody polls, then nobody is bound, then nothing is referred to. */
	for (unsigned int i = 0; i < XV_MAX_WORKERS; i++) {
		if (host->workers[i] != NULL)
			(void)xv_worker_set_queues(host->workers[i]->worker, NULL, 0);
	}
	for (unsigned int i = 0; i < XV_MAX_PORTS; i++) {
		if (host->ports[i] != NULL)
			xv_port_bind(host->ports[i]->port, NULL);
	}
	TAILQ_FOREACH (n, &host->networks, entry)
		(void)xv_network_set_members(n->network, NULL, 0);
	TAILQ_FOREACH (vtep, &host->vteps, entry)
		(void)xv_vtep_publish(vtep->vtep, NULL, 0);
	xv_workers_barrier();
	for (unsigned int i = 0; i < XV_MAX_PORTS; i++) {
		if (host->ports[i] != NULL)
			xv_host_port_destroy(host->ports[i]);
	}
	xv_gateways_destroy(host->gateways);
	while ((n = TAILQ_FIRST(&host->networks)) != NULL)
		xv_host_network_destroy(host, n);
	while ((policy = TAILQ_FIRST(&host->policies)) != NULL)
		xv_host_policy_destroy(host, policy);
	while ((firewall = TAILQ_FIRST(&host->firewalls)) != NULL)
		xv_host_firewall_destroy(host, firewall);
	while ((vtep = TAILQ_FIRST(&host->vteps)) != NULL)
		xv_host_vtep_destroy(host, vtep);
	for (unsigned int i = 0; i < XV_MAX_WORKERS; i++) {
		if (host->workers[i] != NULL)
			xv_host_worker_destroy(host, host->workers[i]);
	}
	while ((zone = TAILQ_FIRST(&host->old_zones)) != NULL) {
		TAILQ_REMOVE(&host->old_zones, zone, entry);
		free(zone);
	}
	event_free(host->housekeeping);
	event_free(host->flows_timer);
	event_free(host->flows_wanted);
	xv_drop_history_destroy(host->drops);
	xv_live_session_destroy(host->live_session);
	xv_rule_counters_release(host->rule_counters);
	json_decref(host->timeouts);
	json_decref(host->model);
	free(host);
}
