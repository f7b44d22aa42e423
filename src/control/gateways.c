/* SPDX-License-Identifier: Apache-2.0 */
#include "control/gateways.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <netinet/in.h>

#include "base/clock.h"
#include "base/log.h"
#include "control/event_log.h"
#include "control/gateway_config.h"
#include "control/gateway_state.h"
#include "control/match.h"
#include "control/model.h"
#include "control/tunnels.h"
#include "fastpath/conntrack.h"
#include "net/host_packet.h"
#include "port/internal.h"
#include "table/rcu.h"

#define TICK_MS      50
#define ASK_AGAIN_MS 1000
#define TRIES        3
#define CONFIRM_MS   30000 /* a neighbour that was not heard of for so long is asked again */

static const char *text_of(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static uint64_t number_of(const json_t *object, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(object, key));
}

static bool same_addr(const union xv_ip_addr *a, const union xv_ip_addr *b)
{
	return a->u64[0] == b->u64[0] && a->u64[1] == b->u64[1];
}

static uint32_t now_ms(void)
{
	return xv_clock_ms(xv_clock_cycles());
}

static void no_memory(const char *what)
{
	XV_LOG_LIMITED(XV_LOG_ERROR, "gateway", "out of memory: %s stays as it was", what);
}

void xv_gateways_changed(struct xv_gateways *all)
{
	all->dirty = true;
}

/* ---- Neighbours ---- */

struct neighbour *xv_gateway_neighbour(struct gateway *g, const union xv_ip_addr *addr, bool ipv6)
{
	struct neighbour *n;

	TAILQ_FOREACH (n, &g->neighbours, entry) {
		if (n->ipv6 == ipv6 && same_addr(&n->addr, addr))
			return n;
	}
	return NULL;
}

struct neighbour *xv_gateway_neighbour_want(struct gateway *g, const union xv_ip_addr *addr,
					    bool ipv6)
{
	struct neighbour *n = xv_gateway_neighbour(g, addr, ipv6);

	if (n != NULL)
		return n;
	/* Who sends to everybody on a network fills this table, not memory. */
	if (g->n_neighbours == XV_NEIGHBOURS_MAX || g->n_asked == XV_ASKED_MAX)
		return NULL;
	n = calloc(1, sizeof(*n));
	if (n == NULL)
		return NULL;
	n->addr = *addr;
	n->ipv6 = ipv6;
	TAILQ_INSERT_TAIL(&g->neighbours, n, entry);
	g->n_neighbours++;
	g->n_asked++;
	return n;
}

static void neighbour_free(struct gateway *g, struct neighbour *n)
{
	xv_gateway_give_up(g, n);
	TAILQ_REMOVE(&g->neighbours, n, entry);
	g->n_neighbours--;
	g->n_asked -= !n->known;
	free(n);
}

/* An address to ask from: one of ours on the same network if there is one. */
static union xv_ip_addr asker(const struct gateway *g, const struct neighbour *n)
{
	const struct xv_router *r = g->current != NULL ? g->current->router : NULL;
	union xv_ip_addr none = {0}, via;
	const struct xv_router_interface *own =
		r != NULL ? xv_router_route(r, &n->addr, n->ipv6, &via) : NULL;

	if (own != NULL && own->port_id == g->port->port->id)
		return own->addr;
	for (unsigned int i = 0; g->current != NULL && i < g->current->n_addresses; i++) {
		const struct xv_gateway_address *a = &g->current->addresses[i];

		if (a->ipv6 == n->ipv6 && (a->use & XV_GATEWAY_SOURCE) != 0)
			return a->addr;
	}
	return none;
}

void xv_gateway_ask(struct gateway *g, struct neighbour *n)
{
	union xv_ip_addr from;
	uint8_t frame[XV_HOST_PACKET_MAX];

	if (g->port == NULL)
		return;
	from = asker(g, n);
	n->asked_ms = now_ms();
	/* First the one that it was: it need not bother the others. */
	xv_gateway_send(g, frame,
			xv_host_ask(frame, g->mac, n->known && n->tries == 0 ? n->mac : NULL,
				    n->ipv6, &from, &n->addr));
	n->tries++;
}

static void neighbour_tick(struct gateway *g, struct neighbour *n, uint32_t now)
{
	if (n->fixed || (n->tries > 0 && now - n->asked_ms < ASK_AGAIN_MS) ||
	    (n->known && n->tries == 0 && now - n->confirmed_ms < CONFIRM_MS))
		return;
	if (n->tries >= TRIES) {
		if (!n->wanted) {
			g->all->dirty |= n->known;
			neighbour_free(g, n);
			return;
		}
		xv_gateway_give_up(g, n);
		if (n->known) {
			n->known = false;
			g->n_asked++;
			g->all->dirty = true;
		}
	}
	xv_gateway_ask(g, n);
	if (n->tries > TRIES)
		n->tries = TRIES;
}

/* Where ports are that the host file tells all about. */
static void follow_fixed(struct gateway *g, const json_t *model)
{
	struct neighbour *n, *next;
	const char *name;
	json_t *port, *text;
	size_t i;

	TAILQ_FOREACH (n, &g->neighbours, entry)
		n->seen = false;
	json_object_foreach (json_object_get(model, "port"), name, port) {
		const char *network = text_of(port, "network"), *mac = text_of(port, "mac");
		struct xv_match_mac m;

		if (network == NULL || mac == NULL || strcmp(network, g->network) != 0 ||
		    xv_match_mac_parse(mac, &m) < 0)
			continue;
		json_array_foreach (json_object_get(port, "addresses"), i, text) {
			struct xv_address a;

			if (xv_address_parse(json_string_value(text), false, &a) < 0)
				continue;
			/* That of a load balancer, behind which there are several. */
			n = xv_gateway_neighbour_want(g, &a.addr, a.ipv6);
			if (n == NULL)
				continue;
			g->n_asked -= !n->known;
			n->known = n->fixed = n->seen = true;
			memcpy(n->mac, m.addr, 6);
		}
	}
	for (n = TAILQ_FIRST(&g->neighbours); n != NULL; n = next) {
		next = TAILQ_NEXT(n, entry);
		if (n->fixed && !n->seen)
			neighbour_free(g, n);
	}
}

/* ---- Health ---- */

static void state_changed(struct xv_gateways *all, struct balancer *b, struct backend *backend)
{
	const char *name = text_of(b->config, "name"),
		   *state = xv_health_name(backend->health.state);
	char text[128];

	snprintf(text, sizeof(text), "backend %s port %u is %s", backend->text, backend->port,
		 state);
	XV_LOG_LIMITED(backend->health.state == XV_HEALTH_UP ? XV_LOG_INFO : XV_LOG_WARNING, "lb",
		       "%s: %s", name, text);
	xv_event_log_add(&all->host->log, "lb", name, state, text);
	if (backend->health.state == XV_HEALTH_DOWN)
		xv_gateway_purge_balancer(all, b, backend);
	all->dirty = true;
}

void xv_gateway_answered(struct xv_gateways *all, struct balancer *b, struct backend *backend,
			 uint16_t seq, bool good)
{
	if (xv_health_answer(&backend->health, &b->health, seq, good))
		state_changed(all, b, backend);
}

static void check_health(struct xv_gateways *all, struct balancer *b, uint32_t now)
{
	for (unsigned int i = 0; i < b->n && b->checks && b->gateway->port != NULL; i++) {
		struct backend *backend = &b->backends[i];
		bool ask;

		if (xv_health_tick(&backend->health, &b->health, now, &ask))
			state_changed(all, b, backend);
		if (ask)
			xv_gateway_probe(b, backend);
	}
}

/* ---- Time ---- */

static void tick(evutil_socket_t fd, short what, void *arg)
{
	struct xv_gateways *all = arg;
	uint32_t now = now_ms();
	struct neighbour *n, *next;
	struct balancer *b;
	struct gateway *g;
	bool more;

	TAILQ_FOREACH (g, &all->gateways, entry) {
		for (n = TAILQ_FIRST(&g->neighbours); n != NULL && g->port != NULL; n = next) {
			next = TAILQ_NEXT(n, entry);
			neighbour_tick(g, n, now);
		}
	}
	TAILQ_FOREACH (b, &all->balancers, entry)
		check_health(all, b, now);
	if (all->dirty)
		xv_gateways_publish(all);
	more = xv_gateway_purge_some(all);
	if (!TAILQ_EMPTY(&all->gateways) || more)
		evtimer_add(all->timer, &(struct timeval){.tv_usec = (more ? 1 : TICK_MS) * 1000});
}

static void readable(evutil_socket_t fd, short what, void *arg)
{
	struct gateway *g = arg;

	xv_gateway_receive_all(g);
	if (g->all->dirty)
		xv_gateways_publish(g->all);
}

/* ---- Following the model ---- */

static void drop_held(struct xv_gateways *all)
{
	struct neighbour *n;
	struct gateway *g;

	TAILQ_FOREACH (g, &all->gateways, entry) {
		TAILQ_FOREACH (n, &g->neighbours, entry) {
			while (n->n_held > 0)
				free(n->held[--n->n_held]);
		}
	}
}

void xv_gateways_forget(struct xv_gateways *all, struct xv_host_port *port)
{
	struct gateway *g;

	TAILQ_FOREACH (g, &all->gateways, entry) {
		if (g->port != port)
			continue;
		drop_held(all);
		event_free(g->readable);
		g->readable = NULL;
		g->port = NULL;
		xv_gateway_retire(all, xv_gateway_free_gateway, g->current);
		g->current = NULL;
		all->dirty = true;
	}
}

static void gateway_destroy(struct gateway *g)
{
	struct neighbour *n;

	if (g->port != NULL)
		xv_gateways_forget(g->all, g->port);
	while ((n = TAILQ_FIRST(&g->neighbours)) != NULL)
		neighbour_free(g, n);
	TAILQ_REMOVE(&g->all->gateways, g, entry);
	free(g);
}

static int follow_gateway(struct xv_gateways *all, const json_t *config, struct xv_host_port *port)
{
	struct gateway *g = xv_gateway_of(all, text_of(config, "network"));
	struct xv_match_mac mac;

	if (g == NULL) {
		g = calloc(1, sizeof(*g));
		if (g == NULL)
			return -ENOMEM;
		g->all = all;
		snprintf(g->network, sizeof(g->network), "%s", text_of(config, "network"));
		TAILQ_INIT(&g->neighbours);
		TAILQ_INSERT_TAIL(&all->gateways, g, entry);
	}
	g->seen = true;
	if (xv_match_mac_parse(text_of(config, "mac"), &mac) == 0)
		memcpy(g->mac, mac.addr, 6);
	if (g->port == port)
		return 0;
	g->readable = event_new(all->host->events, xv_internal_port_fd(port->port),
				EV_READ | EV_PERSIST, readable, g);
	if (g->readable == NULL || event_add(g->readable, NULL) < 0)
		return -ENOMEM;
	g->port = port;
	return 0;
}

static void free_counter(void *arg)
{
	free(arg);
}

static void balancer_destroy(struct xv_gateways *all, struct balancer *b)
{
	TAILQ_REMOVE(&all->balancers, b, entry);
	xv_gateway_retire(all, xv_gateway_free_balancer, b->current);
	for (unsigned int i = 0; i < b->n; i++)
		xv_gateway_retire(all, free_counter, b->backends[i].opened);
	free(b->backends);
	json_decref(b->config);
	free(b);
}

static int backend_init(const struct balancer *b, struct backend *backend, const json_t *config,
			const struct balancer *before)
{
	const json_t *port = json_object_get(config, "port"),
		     *check_port = json_object_get(b->config, "health_port");
	struct xv_address a;

	if (xv_address_parse(text_of(config, "address"), false, &a) < 0)
		return -EINVAL;
	backend->addr = a.addr;
	snprintf(backend->text, sizeof(backend->text), "%s", text_of(config, "address"));
	backend->port = port != NULL ? (uint16_t)json_integer_value(port) : b->port;
	backend->check_port =
		check_port != NULL ? (uint16_t)json_integer_value(check_port) : backend->port;
	backend->weight = (uint16_t)number_of(config, "weight");
	backend->drain = json_is_true(json_object_get(config, "drain"));
	for (unsigned int i = 0; before != NULL && i < before->n; i++) {
		struct backend *old = &before->backends[i];

		if (old->port != backend->port || !same_addr(&old->addr, &backend->addr))
			continue;
		if (before->checks == b->checks && before->icmp == b->icmp &&
		    old->check_port == backend->check_port)
			backend->health = old->health;
		backend->opened = old->opened;
		old->opened = NULL; /* it goes on */
		old->port = 0;      /* and is not missed */
		return 0;
	}
	backend->opened = calloc(1, sizeof(*backend->opened));
	return backend->opened != NULL ? 0 : -ENOMEM;
}

static int balancer_create(struct xv_gateways *all, const json_t *model, json_t *config,
			   struct balancer *before)
{
	const char *protocol = text_of(config, "protocol"), *health = text_of(config, "health"),
		   *source = xv_gateway_config_source(model, config);
	json_t *backends = json_object_get(config, "backends"), *e;
	struct balancer *b = calloc(1, sizeof(*b));
	struct xv_address a;
	size_t i;
	int rc = 0;

	if (b == NULL)
		return -ENOMEM;
	b->config = json_incref(config);
	b->gateway = xv_gateway_of(all, text_of(config, "network"));
	b->backends = calloc(json_array_size(backends) + 1, sizeof(b->backends[0]));
	if (b->backends == NULL || b->gateway == NULL ||
	    xv_address_parse(text_of(config, "address"), false, &a) < 0) {
		json_decref(b->config);
		free(b->backends);
		free(b);
		return -ENOMEM;
	}
	b->addr = a.addr;
	b->ipv6 = a.ipv6;
	b->direct = strcmp(text_of(config, "mode"), "dsr") == 0;
	b->proto = strcmp(protocol, "tcp") == 0   ? IPPROTO_TCP
		   : strcmp(protocol, "udp") == 0 ? IPPROTO_UDP
						  : IPPROTO_SCTP;
	b->port = (uint16_t)number_of(config, "port");
	b->checks = strcmp(health, "none") != 0;
	b->icmp = strcmp(health, "icmp") == 0;
	b->health = (struct xv_health_config){
		.interval_ms = (uint32_t)number_of(config, "health_interval_ms"),
		.timeout_ms = (uint32_t)number_of(config, "health_timeout_ms"),
		.rise = (uint32_t)number_of(config, "health_rise"),
		.fall = (uint32_t)number_of(config, "health_fall")};
	if (b->checks && source != NULL && xv_address_parse(source, false, &a) == 0) {
		b->source = a.addr;
		b->has_source = true;
	}
	b->id = before != NULL ? before->id : all->next_id;
	all->next_id = (uint16_t)(all->next_id + (before != NULL ? 0 : XV_MAGLEV_BACKENDS));
	json_array_foreach (backends, i, e) {
		if (rc == 0)
			rc = backend_init(b, &b->backends[b->n++], e, before);
	}
	b->seen = true;
	TAILQ_INSERT_TAIL(&all->balancers, b, entry);
	return rc;
}

static struct balancer *balancer_of(const struct xv_gateways *all, const char *name)
{
	struct balancer *b;

	TAILQ_FOREACH (b, &all->balancers, entry) {
		if (strcmp(text_of(b->config, "name"), name) == 0)
			return b;
	}
	return NULL;
}

/* Of backends that are not there any more connections end; with all of them if the virtual address
 * is another. */
static void purge_missing(struct xv_gateways *all, const struct balancer *before,
			  const struct balancer *after)
{
	if (after == NULL || after->gateway != before->gateway || after->direct != before->direct ||
	    after->proto != before->proto || after->port != before->port ||
	    !same_addr(&after->addr, &before->addr)) {
		xv_gateway_purge_balancer(all, before, NULL);
		return;
	}
	for (unsigned int i = 0; i < before->n; i++)
		if (before->backends[i].port != 0)
			xv_gateway_purge_balancer(all, before, &before->backends[i]);
}

static int follow_balancers(struct xv_gateways *all, const json_t *model)
{
	struct balancer *b, *next, *after;
	const char *name;
	json_t *config;
	int rc = 0;

	TAILQ_FOREACH (b, &all->balancers, entry)
		b->seen = false;
	json_object_foreach (json_object_get(model, "lb"), name, config) {
		b = balancer_of(all, name);
		/* Where health checks come from may have changed with a router. */
		rc = balancer_create(all, model, config, b) < 0 ? -ENOMEM : rc;
		if (b == NULL)
			continue;
		after = TAILQ_LAST(&all->balancers, balancers);
		purge_missing(all, b, after);
		balancer_destroy(all, b);
	}
	for (b = TAILQ_FIRST(&all->balancers); b != NULL; b = next) {
		next = TAILQ_NEXT(b, entry);
		if (b->seen)
			continue;
		purge_missing(all, b, NULL);
		balancer_destroy(all, b);
	}
	return rc;
}

/* A zone that neither a network nor another router has: from the top. */
static uint16_t zone_for(const struct xv_gateways *all)
{
	const struct xv_host_network *n;
	const struct router *r;
	uint16_t zone = UINT16_MAX;

	for (;; zone--) {
		TAILQ_FOREACH (n, &all->host->networks, entry) {
			if (n->zone == zone)
				break;
		}
		TAILQ_FOREACH (r, &all->routers, entry) {
			if (r->zone == zone)
				break;
		}
		if (n == NULL && r == NULL)
			return zone;
	}
}

static int follow_routers(struct xv_gateways *all, const json_t *model)
{
	struct router *r, *next;
	const char *name;
	json_t *config, *e;
	size_t i;

	TAILQ_FOREACH (r, &all->routers, entry)
		r->seen = false;
	json_object_foreach (json_object_get(model, "router"), name, config) {
		TAILQ_FOREACH (r, &all->routers, entry) {
			if (strcmp(r->name, name) == 0)
				break;
		}
		if (r == NULL) {
			r = calloc(1, sizeof(*r));
			if (r == NULL)
				return -ENOMEM;
			snprintf(r->name, sizeof(r->name), "%s", name);
			r->zone = zone_for(all);
			TAILQ_INSERT_TAIL(&all->routers, r, entry);
		} else if (!json_equal(r->config, config)) {
			xv_gateway_purge_router(all, r, false);
		}
		json_decref(r->config);
		r->config = json_incref(config);
		r->seen = true;
		json_array_foreach (json_object_get(config, "interfaces"), i, e) {
			struct xv_host_network *n =
				xv_host_network_lookup(all->host, text_of(e, "network"));

			if (n != NULL)
				xv_network_join_routed(n->network);
		}
	}
	for (r = TAILQ_FIRST(&all->routers); r != NULL; r = next) {
		next = TAILQ_NEXT(r, entry);
		if (r->seen)
			continue;
		xv_gateway_purge_router(all, r, true);
		TAILQ_REMOVE(&all->routers, r, entry);
		xv_gateway_retire(all, xv_gateway_free_router, r->current);
		json_decref(r->config);
		free(r);
	}
	return 0;
}

void xv_gateways_follow(struct xv_gateways *all, const json_t *model)
{
	struct gateway *g, *next;
	struct neighbour *n;
	const char *name;
	json_t *config;
	int rc = 0;

	TAILQ_FOREACH (g, &all->gateways, entry)
		g->seen = false;
	json_object_foreach (json_object_get(model, "internal"), name, config) {
		struct xv_host_port *port = xv_host_port_lookup(all->host, name);

		if (port != NULL && follow_gateway(all, config, port) < 0)
			rc = -ENOMEM;
	}
	TAILQ_FOREACH (g, &all->gateways, entry) {
		TAILQ_FOREACH (n, &g->neighbours, entry)
			n->wanted = false; /* until it is built again */
		follow_fixed(g, model);
	}
	if (follow_balancers(all, model) < 0 || follow_routers(all, model) < 0)
		rc = -ENOMEM;
	xv_gateways_publish(all);
	for (g = TAILQ_FIRST(&all->gateways); g != NULL; g = next) {
		next = TAILQ_NEXT(g, entry);
		if (!g->seen)
			gateway_destroy(g);
	}
	if (rc < 0)
		no_memory("a gateway");
	tick(-1, 0, all);
}

int xv_gateways_create(struct xv_host *host, struct xv_gateways **gateways)
{
	struct xv_gateways *all = calloc(1, sizeof(*all));

	if (all == NULL)
		return -ENOMEM;
	all->host = host;
	all->timer = evtimer_new(host->events, tick, all);
	if (all->timer == NULL) {
		free(all);
		return -ENOMEM;
	}
	TAILQ_INIT(&all->gateways);
	TAILQ_INIT(&all->balancers);
	TAILQ_INIT(&all->routers);
	TAILQ_INIT(&all->purges);
	STAILQ_INIT(&all->retired);
	*gateways = all;
	return 0;
}

void xv_gateways_destroy(struct xv_gateways *all)
{
	struct purge *p;
	struct router *r;

	if (all == NULL)
		return;
	while (!TAILQ_EMPTY(&all->balancers))
		balancer_destroy(all, TAILQ_FIRST(&all->balancers));
	while ((r = TAILQ_FIRST(&all->routers)) != NULL) {
		TAILQ_REMOVE(&all->routers, r, entry);
		xv_gateway_retire(all, xv_gateway_free_router, r->current);
		json_decref(r->config);
		free(r);
	}
	while (!TAILQ_EMPTY(&all->gateways))
		gateway_destroy(TAILQ_FIRST(&all->gateways));
	while ((p = TAILQ_FIRST(&all->purges)) != NULL) {
		TAILQ_REMOVE(&all->purges, p, entry);
		free(p);
	}
	xv_gateways_free_retired(all);
	event_free(all->timer);
	free(all);
}

/* ---- Reports ---- */

static struct xv_backend_info info_of(const struct balancer *b, const struct backend *backend)
{
	return (struct xv_backend_info){
		.lb = text_of(b->config, "name"),
		.address = backend->text,
		.port = backend->port,
		.weight = backend->weight,
		.draining = backend->drain,
		.usable = xv_gateway_is_usable(b, backend),
		.health = b->checks ? xv_health_name(backend->health.state) : "none",
		.opened = atomic_load_explicit(backend->opened, memory_order_relaxed),
		.asks = backend->health.asks,
		.fails = backend->health.fails,
	};
}

void xv_gateways_backends(const struct xv_host *host,
			  void (*fn)(const struct xv_backend_info *info, void *arg), void *arg)
{
	struct balancer *b;

	TAILQ_FOREACH (b, &host->gateways->balancers, entry) {
		for (unsigned int i = 0; i < b->n; i++) {
			struct xv_backend_info info = info_of(b, &b->backends[i]);

			fn(&info, arg);
		}
	}
}

json_t *xv_gateways_report_lb(const struct xv_host *host, const char *name)
{
	json_t *object = json_copy(xv_model_get(host->model, "lb", name)), *backends = json_array();
	const struct balancer *b = balancer_of(host->gateways, name);
	char mac[XV_MATCH_TEXT] = "";
	int usable = 0;

	for (unsigned int i = 0; b != NULL && i < b->n; i++) {
		const struct neighbour *n = b->backends[i].neighbour;
		struct xv_backend_info info = info_of(b, &b->backends[i]);

		usable += info.usable;
		if (n != NULL && n->known)
			snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", n->mac[0],
				 n->mac[1], n->mac[2], n->mac[3], n->mac[4], n->mac[5]);
		json_array_append_new(
			backends,
			json_pack("{s:s, s:i, s:i, s:b, s:s, s:b, s:s?, s:I, s:I, s:I}", "address",
				  info.address, "port", (int)info.port, "weight", (int)info.weight,
				  "drain", info.draining, "health", info.health, "usable",
				  info.usable, "mac", n != NULL && n->known ? mac : NULL,
				  "connections_opened", (json_int_t)info.opened, "checks",
				  (json_int_t)info.asks, "checks_failed", (json_int_t)info.fails));
	}
	json_object_set_new(object, "backends", backends);
	json_object_set_new(object, "backends_usable", json_integer(usable));
	return object;
}

json_t *xv_gateways_report_router(const struct xv_host *host, const char *name)
{
	json_t *object = json_copy(xv_model_get(host->model, "router", name));
	json_t *neighbours = json_array(), *interface;
	uint32_t limit, connections = 0;
	struct neighbour *n;
	struct router *r;
	size_t i;

	TAILQ_FOREACH (r, &host->gateways->routers, entry) {
		if (strcmp(r->name, name) != 0)
			continue;
		xv_conntrack_get_zone(xv_flow_conntrack, r->zone, &limit, &connections);
		json_object_set_new(object, "zone", json_integer(r->zone));
	}
	json_object_set_new(object, "connections", json_integer(connections));
	json_array_foreach (json_object_get(object, "interfaces"), i, interface) {
		struct gateway *g = xv_gateway_of(host->gateways, text_of(interface, "network"));
		struct xv_address own;

		if (g == NULL || xv_address_parse(text_of(interface, "address"), true, &own) < 0)
			continue;
		TAILQ_FOREACH (n, &g->neighbours, entry) {
			struct xv_address a = {
				.addr = n->addr, .ipv6 = n->ipv6, .len = n->ipv6 ? 128 : 32};
			char text[XV_MATCH_TEXT];

			if (n->ipv6 != own.ipv6)
				continue;
			xv_address_format(&a, false, text);
			json_array_append_new(
				neighbours,
				n->known ? json_sprintf("%s at %02x:%02x:%02x:%02x:%02x:%02x on %s",
							text, n->mac[0], n->mac[1], n->mac[2],
							n->mac[3], n->mac[4], n->mac[5], g->network)
					 : json_sprintf("%s on %s: asked for", text, g->network));
		}
	}
	json_object_set_new(object, "neighbours", neighbours);
	return object;
}
