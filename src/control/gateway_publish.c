/* SPDX-License-Identifier: Apache-2.0 */
/* What workers see of gateways: built from what the control thread knows, and published as a whole. */
#include "control/gateway_state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "control/match.h"
#include "control/tunnels.h"
#include "net/host_packet.h"
#include "table/rcu.h"

static const char *text_of(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static bool same_addr(const union xv_ip_addr *a, const union xv_ip_addr *b)
{
	return a->u64[0] == b->u64[0] && a->u64[1] == b->u64[1];
}

/*
 * To be freed when no binding leads to it any more: after the next publication, and a grace period.
 */
void xv_gateway_retire(struct xv_gateways *all, void (*fn)(void *arg), const void *arg)
{
	struct retired *r = arg != NULL ? malloc(sizeof(*r)) : NULL;

	if (arg != NULL && r == NULL)
		XV_LOG_LIMITED(XV_LOG_ERROR, "gateway", "out of memory: something that is not used any more stays"); /* rather lost than used */
	if (r == NULL)
		return;
	r->fn = fn;
	r->arg = (void *)(uintptr_t)arg;
	STAILQ_INSERT_TAIL(&all->retired, r, entry);
}

void xv_gateways_free_retired(struct xv_gateways *all)
{
	struct retired *r;

	while ((r = STAILQ_FIRST(&all->retired)) != NULL) {
		STAILQ_REMOVE_HEAD(&all->retired, entry);
		xv_rcu_defer(r->fn, r->arg);
		free(r);
	}
}

void xv_gateway_free_balancer(void *arg)
{
	struct xv_load_balancer *lb = arg;

	free(lb->backends);
	free(lb);
}

void xv_gateway_free_router(void *arg)
{
	struct xv_router *r = arg;

	free(r->interfaces);
	free(r->nats);
	free(r->neighbours);
	free(r);
}

void xv_gateway_free_gateway(void *arg)
{
	struct xv_gateway *g = arg;

	free(g->addresses);
	free(g->balancers);
	free(g);
}

bool xv_gateway_is_usable(const struct balancer *b, const struct backend *backend)
{
	return backend->weight > 0 && !backend->drain && backend->neighbour != NULL &&
	       backend->neighbour->known && (!b->checks || backend->health.state == XV_HEALTH_UP);
}

static struct xv_load_balancer *build_balancer(struct balancer *b)
{
	struct xv_maglev_backend maglev[XV_MAGLEV_BACKENDS];
	struct xv_load_balancer *lb = calloc(1, sizeof(*lb));

	if (lb == NULL)
		return NULL;
	lb->backends = calloc(b->n + 1, sizeof(lb->backends[0]));
	if (lb->backends == NULL) {
		free(lb);
		return NULL;
	}
	snprintf(lb->name, sizeof(lb->name), "%s", text_of(b->config, "name"));
	lb->addr = b->addr;
	lb->port = rte_cpu_to_be_16(b->port);
	lb->proto = b->proto;
	lb->ipv6 = b->ipv6;
	lb->direct = b->direct;
	lb->n = b->n;
	for (unsigned int i = 0; i < b->n; i++) {
		struct backend *from = &b->backends[i];
		uint8_t name[18];

		memcpy(name, from->addr.bytes, 16);
		memcpy(name + 16, &from->port, 2);
		from->neighbour = xv_gateway_neighbour_want(b->gateway, &from->addr, b->ipv6);
		if (from->neighbour != NULL)
			from->neighbour->wanted = true;
		maglev[i] =
			(struct xv_maglev_backend){.name = xv_maglev_name(name, sizeof(name)),
						   .weight = xv_gateway_is_usable(b, from) ? from->weight : 0};
		lb->backends[i] = (struct xv_backend){
			.addr = from->addr,
			.port = rte_cpu_to_be_16(from->port),
			.reachable = from->neighbour != NULL && from->neighbour->known,
			.opened = from->opened,
		};
		if (lb->backends[i].reachable)
			memcpy(lb->backends[i].mac, from->neighbour->mac, 6);
	}
	xv_maglev_fill(lb->table, maglev, b->n);
	return lb;
}

struct gateway *xv_gateway_of(struct xv_gateways *all, const char *network)
{
	struct gateway *g;

	TAILQ_FOREACH (g, &all->gateways, entry) {
		if (strcmp(g->network, network) == 0)
			return g;
	}
	return NULL;
}

static int add_nat(struct xv_router *r, const json_t *config)
{
	const char *ports = text_of(config, "ports");
	struct xv_router_nat *nat = &r->nats[r->n_nats];
	const struct xv_router_interface *out;
	struct xv_match_range range = {0};
	struct xv_match_prefix inside;
	union xv_ip_addr via;
	struct xv_address a;

	if (xv_address_parse(text_of(config, "external"), false, &a) < 0 ||
	    xv_match_prefix_parse(text_of(config, "internal"), &inside) < 0)
		return -EINVAL;
	out = xv_router_route(r, &a.addr, a.ipv6, &via);
	if (out == NULL)
		return -EINVAL;
	if (ports != NULL)
		(void)xv_match_ports_parse(ports, &range);
	*nat = (struct xv_router_nat){
		.external = a.addr,
		.internal = inside.addr,
		.ipv6 = a.ipv6,
		.floating = strcmp(text_of(config, "type"), "floating") == 0,
		.len = inside.len,
		.min_port = range.min,
		.max_port = range.max,
		.port_id = out->port_id,
	};
	r->n_nats++;
	return 0;
}

static struct xv_router *build_router(struct xv_gateways *all, const struct router *from)
{
	json_t *interfaces = json_object_get(from->config, "interfaces"),
	       *nats = json_object_get(from->config, "nat"), *e;
	struct xv_router *r = calloc(1, sizeof(*r));
	unsigned int room = 0;
	struct xv_address a;
	struct gateway *g;
	size_t i;

	if (r == NULL)
		return NULL;
	r->interfaces = calloc(json_array_size(interfaces) + 1, sizeof(r->interfaces[0]));
	r->nats = calloc(json_array_size(nats) + 1, sizeof(r->nats[0]));
	TAILQ_FOREACH (g, &all->gateways, entry)
		room += g->n_neighbours;
	if (r->interfaces == NULL || r->nats == NULL || xv_router_neighbours_init(r, room) < 0) {
		xv_gateway_free_router(r);
		return NULL;
	}
	snprintf(r->name, sizeof(r->name), "%s", from->name);
	r->zone = from->zone;
	json_array_foreach (interfaces, i, e) {
		struct xv_router_interface *own = &r->interfaces[r->n_interfaces];
		struct neighbour *n;
		unsigned int j;

		g = xv_gateway_of(all, text_of(e, "network"));
		if (g == NULL || g->port == NULL ||
		    xv_address_parse(text_of(e, "address"), true, &a) < 0)
			continue;
		own->addr = a.addr;
		own->ipv6 = a.ipv6;
		own->len = a.len;
		own->port_id = g->port->port->id;
		memcpy(own->mac, g->mac, 6);
		for (j = 0; j < r->n_interfaces; j++)
			if (r->interfaces[j].port_id == own->port_id)
				break;
		r->n_interfaces++;
		if (j + 1 < r->n_interfaces)
			continue; /* its neighbours are in already */
		TAILQ_FOREACH (n, &g->neighbours, entry) {
			if (n->known)
				xv_router_neighbour_add(r, own->port_id, &n->addr, n->mac);
		}
	}
	json_array_foreach (json_object_get(from->config, "gateways"), i, e) {
		const struct xv_router_interface *out;
		union xv_ip_addr via;
		struct neighbour *n;

		if (xv_address_parse(json_string_value(e), false, &a) < 0)
			continue;
		r->has_gateway[a.ipv6] = true;
		r->gateway[a.ipv6] = a.addr;
		out = xv_router_route(r, &a.addr, a.ipv6, &via);
		TAILQ_FOREACH (g, &all->gateways, entry) {
			if (out == NULL || g->port == NULL || g->port->port->id != out->port_id)
				continue;
			n = xv_gateway_neighbour_want(g, &a.addr, a.ipv6);
			if (n != NULL)
				n->wanted = true;
		}
	}
	json_array_foreach (nats, i, e)
		(void)add_nat(r, e);
	return r;
}

static void add_address(struct xv_gateway *g, const union xv_ip_addr *addr, bool ipv6, uint8_t use)
{
	for (unsigned int i = 0; i < g->n_addresses; i++) {
		if (g->addresses[i].ipv6 == ipv6 && same_addr(&g->addresses[i].addr, addr)) {
			g->addresses[i].use |= use;
			return;
		}
	}
	g->addresses[g->n_addresses++] =
		(struct xv_gateway_address){.addr = *addr, .ipv6 = ipv6, .use = use};
}

static struct xv_gateway *build_gateway(struct gateway *from, const struct xv_router *r)
{
	struct xv_gateway *g = calloc(1, sizeof(*g));
	unsigned int n = 0;
	struct balancer *b;

	if (g == NULL)
		return NULL;
	TAILQ_FOREACH (b, &from->all->balancers, entry)
		n += b->gateway == from;
	g->addresses = calloc(2 * n + (r != NULL ? r->n_interfaces + r->n_nats : 0) + 1,
			      sizeof(g->addresses[0]));
	g->balancers = calloc(n + 1, sizeof(g->balancers[0]));
	if (g->addresses == NULL || g->balancers == NULL) {
		xv_gateway_free_gateway(g);
		return NULL;
	}
	memcpy(g->mac, from->mac, 6);
	TAILQ_FOREACH (b, &from->all->balancers, entry) {
		if (b->gateway != from || b->current == NULL)
			continue;
		g->balancers[g->n_balancers++] = b->current;
		add_address(g, &b->addr, b->ipv6, XV_GATEWAY_VIRTUAL);
		if (b->has_source)
			add_address(g, &b->source, b->ipv6, XV_GATEWAY_SOURCE);
	}
	for (unsigned int i = 0; r != NULL && i < r->n_interfaces; i++) {
		if (r->interfaces[i].port_id != from->port->port->id)
			continue;
		g->router = r;
		add_address(g, &r->interfaces[i].addr, r->interfaces[i].ipv6, XV_GATEWAY_ROUTER);
	}
	for (unsigned int i = 0; r != NULL && i < r->n_nats; i++) {
		if (r->nats[i].port_id == from->port->port->id)
			add_address(g, &r->nats[i].external, r->nats[i].ipv6, XV_GATEWAY_NAT);
	}
	return g;
}

/* The router that the network belongs to. */
static const struct xv_router *router_on(const struct xv_gateways *all, const struct gateway *g)
{
	struct router *r;

	TAILQ_FOREACH (r, &all->routers, entry) {
		for (unsigned int i = 0; r->current != NULL && i < r->current->n_interfaces; i++)
			if (r->current->interfaces[i].port_id == g->port->port->id)
				return r->current;
	}
	return NULL;
}

/* Addresses that were not ours before are told to everybody: somebody else may have had them. */
static void announce(struct gateway *g, const struct xv_gateway *before)
{
	uint8_t frame[XV_HOST_PACKET_MAX];

	for (unsigned int i = 0; i < g->current->n_addresses; i++) {
		const struct xv_gateway_address *a = &g->current->addresses[i];

		if (before == NULL || xv_gateway_address(before, &a->addr, a->ipv6) == NULL)
			xv_gateway_send(g, frame,
					xv_host_announce(frame, g->mac, a->ipv6, &a->addr));
	}
}

/* The port's binding has the new one from here on. */
static int bind_gateway(struct gateway *g, const struct xv_gateway *gateway)
{
	struct xv_binding *binding;

	if (g->port->is_bound) {
		binding = malloc(sizeof(*binding));
		if (binding == NULL)
			return -ENOMEM;
		g->port->bound.gateway = gateway;
		memcpy(binding, &g->port->bound, sizeof(*binding));
		xv_port_bind(g->port->port, binding);
	}
	g->port->gateway = gateway;
	return 0;
}

void xv_gateways_publish(struct xv_gateways *all)
{
	struct balancer *b;
	struct gateway *g;
	struct router *r;

	all->dirty = false;
	TAILQ_FOREACH (b, &all->balancers, entry) {
		struct xv_load_balancer *lb = b->gateway->port != NULL ? build_balancer(b) : NULL;

		if (lb == NULL)
			continue;
		xv_gateway_retire(all, xv_gateway_free_balancer, b->current);
		b->current = lb;
	}
	TAILQ_FOREACH (r, &all->routers, entry) {
		struct xv_router *built = build_router(all, r);

		if (built == NULL)
			continue;
		xv_gateway_retire(all, xv_gateway_free_router, r->current);
		r->current = built;
	}
	TAILQ_FOREACH (g, &all->gateways, entry) {
		const struct xv_gateway *before = g->current;
		struct xv_gateway *built;

		if (g->port == NULL)
			continue;
		built = build_gateway(g, router_on(all, g));
		if (built == NULL || bind_gateway(g, built) < 0) {
			/* Never one that points to what is about to be freed. */
			XV_LOG_LIMITED(XV_LOG_ERROR, "gateway", "%s: out of memory: it is gone until the next change", g->network);
			if (built != NULL)
				xv_gateway_free_gateway(built);
			built = NULL;
			g->port->gateway = NULL;
			g->port->is_bound = false;
			xv_port_bind(g->port->port, NULL);
		} else {
			g->current = built;
			announce(g, before);
		}
		g->current = built;
		xv_gateway_retire(all, xv_gateway_free_gateway, before);
	}
	xv_gateways_free_retired(all);
	xv_host_expect_frees(all->host);
}
