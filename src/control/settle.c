/* SPDX-License-Identifier: Apache-2.0 */
#include "control/settle.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control/check.h"
#include "control/conntrack_config.h"
#include "control/firewall_config.h"
#include "control/gateway_config.h"
#include "control/match.h"
#include "control/model.h"
#include "control/tunnels.h"
#include "table/mac_table.h"
#include "table/rcu.h"

static uint64_t number_of(const json_t *object, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(object, key));
}

static void limit_free(void *arg)
{
	xv_rate_limit_destroy(arg);
}

/* New buckets if the limit changed; the old ones go into *old, to be freed when nobody reads them.
 */
static int follow_limit(struct xv_host_limit *have, uint64_t pps, uint64_t bps, uint32_t burst_ms,
			struct xv_rate_limit **old)
{
	struct xv_host_limit want = {.pps = pps, .bps = bps, .burst_ms = burst_ms};
	int rc;

	if (have->pps == pps && have->bps == bps && have->burst_ms == burst_ms)
		return 0;
	if (pps > 0 || bps > 0) {
		rc = xv_rate_limit_create(pps, bps, burst_ms, &want.limit);
		if (rc < 0)
			return rc;
	}
	*old = have->limit;
	*have = want;
	return 0;
}

/* The other end of a wire, if its device exists. */
static struct xv_port *peer_of(const struct xv_host *host, const json_t *wire, const char *name)
{
	json_t *ports = json_object_get(wire, "ports");
	const char *a = json_string_value(json_array_get(ports, 0));
	const char *b = json_string_value(json_array_get(ports, 1));
	struct xv_host_port *peer = xv_host_port_lookup(host, strcmp(a, name) == 0 ? b : a);

	return peer ? peer->port : NULL;
}

/* False: there is one by the key, but it does not exist. */
static bool policy_of(const struct xv_host *host, const json_t *port, const char *key,
		      const struct xv_policy **policy)
{
	const char *name = json_string_value(json_object_get(port, key));
	struct xv_host_policy *p = name ? xv_host_policy_lookup(host, name) : NULL;

	*policy = p ? p->policy : NULL;
	return name == NULL || p != NULL;
}

/* What the port should be bound to, limits aside. False: nothing. */
static bool desired_binding(const struct xv_host_port *p, const json_t *model,
			    struct xv_binding *want)
{
	const char *name = p->port->name, *network, *wire, *vtep;
	const json_t *config = xv_model_port(model, name);
	struct xv_host_firewall *f;
	struct xv_host_network *n;
	struct xv_host_vtep *v;
	unsigned int index;

	memset(want, 0, sizeof(*want)); /* padding too */
	if (p->leaving || config == NULL)
		return false;
	network = json_string_value(json_object_get(config, "network"));
	if (network != NULL) {
		n = xv_host_network_lookup(p->host, network);
		if (n == NULL)
			return false;
		want->forward = XV_FORWARD_NETWORK;
		want->network = n->network;
		want->tunnel = p->tunnel;
		want->gateway = p->gateway;
		want->has_gateway = xv_gateway_config_has(model, network);
		want->balanced = xv_gateway_config_balances(model, network);
		want->tracked = want->balanced || xv_firewalls_on(model, network);
		want->zone = n->zone;
		want->timeouts = xv_timeouts_of(p->host->timeouts, xv_model_get(model, "network", network));
		f = xv_host_firewall_lookup(p->host, name);
		want->firewall = f != NULL ? f->firewall : NULL;
		want->vlan = (uint16_t)number_of(config, "vlan");
		want->trunk = json_array_size(json_object_get(config, "trunk")) > 0;
		xv_check_vlans(json_object_get(config, "trunk"), want->trunk_vlans);
		return policy_of(p->host, config, "egress_policy", &want->egress_policy) &&
		       policy_of(p->host, config, "ingress_policy", &want->ingress_policy);
	}
	if (json_object_get(config, "datapath") != NULL) {
		want->forward = XV_FORWARD_DATAPATH;
		return true;
	}
	vtep = xv_tunnels_vtep_of(model, name, &index);
	if (vtep != NULL) {
		v = xv_host_vtep_lookup(p->host, vtep);
		want->forward = XV_FORWARD_VTEP;
		want->vtep = v != NULL ? v->vtep : NULL;
		want->uplink = (uint8_t)index;
		return v != NULL;
	}
	wire = xv_model_wire_of(model, name);
	if (wire == NULL)
		return false;
	want->forward = XV_FORWARD_WIRE;
	want->peer = peer_of(p->host, xv_model_get(model, "wire", wire), name);
	return want->peer != NULL;
}

/* Is it the same broadcast domain? (Limits and policies may differ.) */
static bool same_domain(const struct xv_binding *a, const struct xv_binding *b)
{
	return a->forward == b->forward && a->network == b->network && a->peer == b->peer &&
	       a->vtep == b->vtep && a->uplink == b->uplink && a->tunnel == b->tunnel &&
	       a->vlan == b->vlan && a->trunk == b->trunk &&
	       memcmp(a->trunk_vlans, b->trunk_vlans, sizeof(a->trunk_vlans)) == 0;
}

/* The network's internal port is found by its MAC address; NULL: there is none. */
static void follow_gateway(struct xv_network *network, const struct xv_host_port *p)
{
	const char *text = p != NULL ? json_string_value(json_object_get(p->config, "mac")) : NULL;
	struct xv_match_mac mac;

	if (text != NULL && xv_match_mac_parse(text, &mac) == 0)
		xv_network_set_gateway(network, p->port, mac.addr);
	else
		xv_network_set_gateway(network, NULL, NULL);
}

/* The member list of a network becomes the ports bound to it. */
static int publish_members(struct xv_host *host, struct xv_network *network)
{
	const struct xv_members *have =
		atomic_load_explicit(&network->members, memory_order_relaxed);
	struct xv_port *members[XV_MAX_PORTS];
	const struct xv_host_port *gateway = NULL;
	unsigned int n = 0;

	for (unsigned int i = 0; i < XV_MAX_PORTS; i++) {
		struct xv_host_port *p = host->ports[i];

		if (p == NULL || !p->is_bound || p->bound.network != network)
			continue;
		members[n++] = p->port;
		if (p->port->ops->kind == XV_PORT_INTERNAL)
			gateway = p;
	}
	follow_gateway(network, gateway);
	if (have == NULL
		    ? n == 0
		    : have->n == n && memcmp(have->ports, members, n * sizeof(members[0])) == 0)
		return 0;
	return xv_network_set_members(network, members, n);
}

static int publish_all_members(struct xv_host *host)
{
	struct xv_host_network *n;
	int rc = 0;

	TAILQ_FOREACH (n, &host->networks, entry) {
		if (rc == 0)
			rc = publish_members(host, n->network);
	}
	return rc;
}

/* Packets are accepted from the tunnels whose ports are bound. */
static int publish_tunnels(struct xv_host *host, struct xv_vtep *vtep)
{
	const struct xv_tunnel *tunnels[XV_MAX_PORTS];
	unsigned int n = 0;

	for (unsigned int i = 0; i < XV_MAX_PORTS; i++) {
		struct xv_host_port *p = host->ports[i];

		if (p != NULL && p->is_bound && p->tunnel != NULL && p->tunnel->vtep == vtep)
			tunnels[n++] = p->tunnel;
	}
	return xv_vtep_publish(vtep, tunnels, n);
}

static int publish_all_tunnels(struct xv_host *host)
{
	struct xv_host_vtep *v;
	int rc = 0;

	TAILQ_FOREACH (v, &host->vteps, entry) {
		if (rc == 0)
			rc = publish_tunnels(host, v->vtep);
	}
	return rc;
}

/* The poll list of a worker by a placement; with `also`, only queues that are there in both. */
static int publish_queues(struct xv_host *host, uint8_t slot, const struct xv_placement *placement,
			  const struct xv_placement *also)
{
	struct xv_queue_ref *refs = NULL;
	unsigned int n = 0, room = 0;
	int rc;

	for (unsigned int id = 0; id < XV_MAX_PORTS; id++) {
		for (uint16_t q = 0; host->ports[id] && q < host->ports[id]->port->max_queues;
		     q++) {
			if (placement->worker[id][q] != slot ||
			    (also && also->worker[id][q] != slot))
				continue;
			if (n == room) {
				struct xv_queue_ref *more;

				room = room ? 2 * room : 64;
				more = realloc(refs, room * sizeof(*refs));
				if (more == NULL) {
					free(refs);
					return -ENOMEM;
				}
				refs = more;
			}
			refs[n++] =
				(struct xv_queue_ref){.port = host->ports[id]->port, .queue = q};
		}
	}
	rc = xv_worker_set_queues(host->workers[slot]->worker, refs, n);
	free(refs);
	return rc;
}

/* Does the worker lose (or, with now and next swapped, get) any queue? */
static bool loses(uint8_t slot, const struct xv_placement *now, const struct xv_placement *next)
{
	const uint8_t *a = &now->worker[0][0], *b = &next->worker[0][0];

	for (size_t i = 0; i < sizeof(now->worker); i++) {
		if (a[i] == slot && b[i] != slot)
			return true;
	}
	return false;
}

/* Packets that the old worker of a moving queue still holds go first, or the new one would overtake
 * them. */
static void drain_moved(struct xv_host *host, const struct xv_placement *next)
{
	for (unsigned int id = 0; id < XV_MAX_PORTS; id++) {
		for (uint16_t q = 0; host->ports[id] && q < host->ports[id]->port->max_queues;
		     q++) {
			uint8_t slot = host->placement.worker[id][q];

			if (slot != next->worker[id][q] && slot < XV_MAX_WORKERS &&
			    host->workers[slot] != NULL && !host->ports[id]->leaving)
				xv_worker_drain(host->workers[slot]->worker, host->ports[id]->port,
						20);
		}
	}
}

static void plan_placement(struct xv_host *host, struct xv_placement *next)
{
	uint16_t queues[XV_MAX_PORTS] = {0};
	bool workers[XV_MAX_WORKERS] = {0};

	for (unsigned int i = 0; i < XV_MAX_PORTS; i++) {
		if (host->ports[i] != NULL && !host->ports[i]->leaving)
			queues[i] = host->ports[i]->port->max_queues;
	}
	for (unsigned int i = 0; i < XV_MAX_WORKERS; i++)
		workers[i] = host->workers[i] != NULL && !host->workers[i]->leaving;
	*next = host->placement;
	xv_placement_update(next, queues, workers);
}

/*
 * First half: whoever leaves a domain is cut off, whoever gives a queue away stops polling it.
 * After the barrier no worker acts on the old state, and what was learned about leavers is
 * forgotten.
 */
static int leave(struct xv_host *host, const json_t *model, const struct xv_placement *next)
{
	struct xv_network *left[XV_MAX_PORTS] = {NULL};
	struct xv_binding want;
	bool any = false;
	int rc;

	for (unsigned int i = 0; i < XV_MAX_PORTS; i++) {
		struct xv_host_port *p = host->ports[i];

		if (p == NULL || !p->is_bound ||
		    (desired_binding(p, model, &want) && same_domain(&want, &p->bound)))
			continue;
		left[i] = p->bound.network;
		if (p->bound.vtep != NULL)
			xv_vtep_set_uplink(p->bound.vtep, p->bound.uplink, NULL);
		p->is_bound = false;
		xv_port_bind(p->port, NULL);
		any = true;
	}
	rc = any ? publish_all_members(host) : 0;
	if (rc == 0 && any)
		rc = publish_all_tunnels(host);
	for (uint8_t slot = 0; slot < XV_MAX_WORKERS && rc == 0; slot++) {
		if (host->workers[slot] != NULL && loses(slot, &host->placement, next)) {
			rc = publish_queues(host, slot, &host->placement, next);
			any = true;
		}
	}
	if (rc < 0 || !any)
		return rc;
	xv_workers_barrier();
	drain_moved(host, next);
	for (unsigned int i = 0; i < XV_MAX_PORTS; i++) {
		if (left[i] != NULL)
			xv_mac_table_flush(left[i]->macs, (uint16_t)i);
	}
	return 0;
}

static int join_port(struct xv_host_port *p, const json_t *model)
{
	const json_t *config = xv_model_port(model, p->port->name);
	struct xv_rate_limit *old_rx = NULL, *old_tx = NULL;
	uint32_t burst_ms = (uint32_t)number_of(config, "limit_burst_ms");
	uint32_t tx_burst_ms = (uint32_t)number_of(config, "tx_burst_ms"); /* of ports of a datapath */
	struct xv_binding want, *binding;
	int rc;

	if (!desired_binding(p, model, &want))
		return 0;
	binding = malloc(sizeof(*binding));
	if (binding == NULL)
		return -ENOMEM;
	rc = follow_limit(&p->rx_limit, number_of(config, "rx_limit_pps"),
			  number_of(config, "rx_limit_bps"), burst_ms, &old_rx);
	if (rc == 0)
		rc = follow_limit(&p->tx_limit, number_of(config, "tx_limit_pps"),
				  number_of(config, "tx_limit_bps"), tx_burst_ms != 0 ? tx_burst_ms : burst_ms, &old_tx);
	want.rx_limit = p->rx_limit.limit;
	want.tx_limit = p->tx_limit.limit;
	if (p->is_bound && memcmp(&want, &p->bound, sizeof(want)) == 0) {
		free(binding);
	} else {
		memcpy(binding, &want, sizeof(want));
		memcpy(&p->bound, &want, sizeof(want));
		p->is_bound = true;
		xv_port_bind(p->port, binding);
		if (want.vtep != NULL)
			xv_vtep_set_uplink(want.vtep, want.uplink, p->port);
	}
	/* After the binding that named them: deferred calls run in order. */
	if (old_rx != NULL)
		xv_rcu_defer(limit_free, old_rx);
	if (old_tx != NULL)
		xv_rcu_defer(limit_free, old_tx);
	return rc;
}

/* Second half: who has a new domain enters it, queues are given out. */
static int join(struct xv_host *host, const json_t *model, const struct xv_placement *next)
{
	int rc = 0;

	for (unsigned int i = 0; i < XV_MAX_PORTS && rc == 0; i++) {
		if (host->ports[i] != NULL)
			rc = join_port(host->ports[i], model);
	}
	if (rc == 0)
		rc = publish_all_members(host);
	if (rc == 0)
		rc = publish_all_tunnels(host);
	for (uint8_t slot = 0; slot < XV_MAX_WORKERS && rc == 0; slot++) {
		if (host->workers[slot] != NULL && loses(slot, next, &host->placement))
			rc = publish_queues(host, slot, next, NULL);
	}
	return rc;
}

int xv_settle(struct xv_host *host, const json_t *model)
{
	struct xv_placement *next = malloc(sizeof(*next));
	int rc;

	if (next == NULL)
		return -ENOMEM;
	plan_placement(host, next);
	rc = leave(host, model, next);
	if (rc == 0)
		rc = join(host, model, next);
	if (rc == 0)
		host->placement = *next;
	free(next);
	return rc;
}
