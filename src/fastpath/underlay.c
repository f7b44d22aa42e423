/* SPDX-License-Identifier: Apache-2.0 */
/* VTEPs, tunnels and their next hops as the control thread sees them. What happens to packets is in vtep.c. */
#include "fastpath/underlay_state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <rte_mbuf.h>

#include "base/clock.h"
#include "base/log.h"
#include "table/rcu.h"

#define SECOND_NS    UINT64_C(1000000000)
#define ASK_AGAIN_NS (SECOND_NS * 9 / 10) /* asked from a timer of about a second */
#define CONFIRM_NS   (10 * SECOND_NS)     /* a neighbour that was not heard of for so long is asked again */
#define TRIES        5                    /* and forgotten if it does not answer */
#define CONFIRM_MANY (SECOND_NS * 9 / 10) /* the same where there is another way: out within five seconds */
#define TRIES_MANY   3
#define POLL_MAX     64                   /* packets at a time: other work of the control thread goes on */

struct rte_ring *xv_underlay_ring;

static TAILQ_HEAD(, xv_vtep) vteps = TAILQ_HEAD_INITIALIZER(vteps);

int xv_underlay_init(void)
{
	ssize_t bytes = rte_ring_get_memsize(XV_UNDERLAY_RING);
	struct rte_ring *ring = aligned_alloc(RTE_CACHE_LINE_SIZE, RTE_ALIGN_CEIL((size_t)bytes, RTE_CACHE_LINE_SIZE));

	if (ring == NULL)
		return -ENOMEM;
	if (rte_ring_init(ring, "underlay", XV_UNDERLAY_RING, RING_F_SC_DEQ) != 0) {
		free(ring);
		return -ENOMEM;
	}
	xv_underlay_ring = ring;
	return 0;
}

void xv_underlay_fini(void)
{
	struct rte_mbuf *m;

	while (xv_underlay_ring != NULL && rte_ring_sc_dequeue(xv_underlay_ring, (void **)&m) == 0)
		rte_pktmbuf_free(m);
	free(xv_underlay_ring);
	xv_underlay_ring = NULL;
}

static bool equal(const union xv_ip_addr *a, const union xv_ip_addr *b)
{
	return a->u64[0] == b->u64[0] && a->u64[1] == b->u64[1];
}

static const char *text_of(const struct xv_vtep *v, const union xv_ip_addr *addr, char buf[INET6_ADDRSTRLEN])
{
	if (v->ipv6)
		return inet_ntop(AF_INET6, addr->bytes, buf, INET6_ADDRSTRLEN);
	return inet_ntop(AF_INET, &addr->bytes[12], buf, INET6_ADDRSTRLEN);
}

static bool over_udp(enum xv_tunnel_type type)
{
	return type == XV_TUNNEL_VXLAN || type == XV_TUNNEL_GENEVE || type == XV_TUNNEL_MPLS_UDP;
}

/* ---- Paths ---- */

static void publish(struct xv_tunnel *t, struct xv_paths *paths)
{
	const struct xv_paths *old = atomic_exchange(&t->paths, paths);

	if (old != NULL)
		xv_rcu_defer(free, (void *)(uintptr_t)old);
}

static bool with_csum(const struct xv_tunnel *t)
{
	switch (t->vtep->outer.csum) {
	case XV_OUTER_CSUM_ON:
		return true;
	case XV_OUTER_CSUM_OFF:
		return false;
	case XV_OUTER_CSUM_AUTO:
		break;
	}
	return t->vtep->ipv6 && over_udp(t->config.type);
}

/* The outer headers towards this MAC address. */
static int build(const struct xv_tunnel *t, const struct xv_uplink *uplink, const uint8_t mac[6],
		 struct xv_encap *encap)
{
	const struct xv_tunnel_config *c = &t->config;
	const struct xv_outer *outer = &t->vtep->outer;
	struct xv_encap_params params = {.type = c->type,
					 .src = t->vtep->addr,
					 .dst = c->remote,
					 .id = c->vni,
					 .ttl = outer->ttl,
					 .tos = (uint8_t)(outer->dscp << 2),
					 .udp_dst = rte_cpu_to_be_16(c->udp_port),
					 .gbp_id = rte_cpu_to_be_16(c->gbp)};

	memcpy(params.eth_dst, mac, 6);
	memcpy(params.eth_src, uplink->mac, 6);
	if (outer->vlan != 0) {
		params.vlan_tpid = RTE_BE16(0x8100);
		params.vlan_tci = rte_cpu_to_be_16(outer->vlan);
	}
	params.flags = XV_ENCAP_ECN;
	params.flags |= outer->inherit_dscp ? XV_ENCAP_DSCP : 0;
	params.flags |= outer->inherit_ttl ? XV_ENCAP_TTL : 0;
	params.flags |= with_csum(t) ? XV_ENCAP_CSUM : 0;
	params.flags |= c->has_key ? XV_ENCAP_KEY : 0;
	params.flags |= c->has_gbp ? XV_ENCAP_GBP : 0;
	/* VTEPs do not fragment (RFC 7348 section 4.3), nor shall others. */
	if (t->vtep->ipv6)
		params.flags |= XV_ENCAP_IPV6 | XV_ENCAP_FLOW_LABEL;
	else
		params.flags |= outer->no_df ? 0 : XV_ENCAP_DF;
	return xv_encap_build(&params, encap);
}

/* Each uplink has its share of the buckets; that of those that lead nowhere is divided among the others. */
static void fill_buckets(struct xv_paths *paths, const int8_t path_of[XV_UPLINKS], unsigned int n_uplinks)
{
	unsigned int i, spare = 0;

	for (i = 0; i < XV_PATH_BUCKETS; i++) {
		int path = path_of[i % n_uplinks];

		paths->bucket[i] = (uint8_t)(path >= 0 ? (unsigned int)path : spare++ % paths->n);
	}
}

/* The paths follow what is known of the next hop. */
static void refresh(struct xv_tunnel *t)
{
	const struct xv_vtep *v = t->vtep;
	unsigned int i, n = 0, n_uplinks = 1;
	int8_t path_of[XV_UPLINKS];
	struct xv_paths *paths;
	size_t size;

	for (i = 0; i < XV_UPLINKS; i++)
		n += t->next_hop->hops[i].known;
	size = RTE_ALIGN_CEIL(sizeof(*paths), 64) + n * sizeof(paths->path[0]);
	paths = n > 0 ? aligned_alloc(64, size) : NULL;
	if (paths == NULL) {
		publish(t, NULL);
		return;
	}
	paths->n = 0;
	for (i = 0; i < XV_UPLINKS; i++) {
		const struct xv_uplink *uplink = &v->uplinks[i];
		const struct xv_hop *hop = &t->next_hop->hops[i];

		path_of[i] = -1;
		if (uplink->port != NULL)
			n_uplinks = i + 1;
		if (!hop->known || build(t, uplink, hop->mac, &paths->path[paths->n].encap) != 0)
			continue;
		path_of[i] = (int8_t)paths->n;
		paths->path[paths->n++].port = uplink->port->id;
	}
	if (paths->n == 0) {
		free(paths);
		publish(t, NULL);
		return;
	}
	fill_buckets(paths, path_of, n_uplinks);
	publish(t, paths);
}

static void refresh_all(struct xv_vtep *v, const struct xv_neighbour *n)
{
	struct xv_tunnel *t;

	TAILQ_FOREACH (t, &v->tunnels, entry)
		if (n == NULL || t->next_hop == n)
			refresh(t);
}

/* ---- Next hops ---- */

static void ask(struct xv_vtep *v, unsigned int uplink, struct xv_neighbour *n)
{
	struct xv_hop *hop = &n->hops[uplink];

	hop->asked_ns = xv_clock_ns();
	/* First the one that it was: it need not bother the others. */
	xv_underlay_ask(v, &v->uplinks[uplink], &n->addr, hop->known && hop->tries == 0 ? hop->mac : NULL);
	hop->tries++;
}

void xv_underlay_learn(struct xv_vtep *v, const struct xv_uplink *uplink, const union xv_ip_addr *addr,
		       const uint8_t mac[6])
{
	struct xv_neighbour *n;
	struct xv_hop *hop;
	char text[INET6_ADDRSTRLEN];

	TAILQ_FOREACH (n, &v->neighbours, entry)
		if (equal(&n->addr, addr))
			break;
	if (n == NULL || !uplink->up || (mac[0] & 1) != 0)
		return;
	hop = &n->hops[uplink - v->uplinks];
	hop->confirmed_ns = xv_clock_ns();
	hop->tries = 0;
	if (hop->known && memcmp(hop->mac, mac, 6) == 0)
		return;
	XV_LOG_LIMITED(XV_LOG_INFO, "vtep", "%s: %s is at %02x:%02x:%02x:%02x:%02x:%02x by %s", v->name,
		       text_of(v, addr, text), mac[0], mac[1], mac[2], mac[3], mac[4], mac[5], uplink->port->name);
	memcpy(hop->mac, mac, 6);
	hop->known = true;
	refresh_all(v, n);
}

static void tick(struct xv_vtep *v, unsigned int uplink, struct xv_neighbour *n, uint64_t now, bool many)
{
	struct xv_hop *hop = &n->hops[uplink];
	char text[INET6_ADDRSTRLEN];

	if (now - hop->asked_ns < ASK_AGAIN_NS ||
	    (hop->known && now - hop->confirmed_ns < (many ? CONFIRM_MANY : CONFIRM_NS)))
		return;
	if (hop->known && hop->tries >= (many ? TRIES_MANY : TRIES)) {
		XV_LOG_LIMITED(XV_LOG_WARNING, "vtep", "%s: next hop %s does not answer any more by %s", v->name,
			       text_of(v, &n->addr, text), v->uplinks[uplink].port->name);
		hop->known = false;
		refresh_all(v, n);
	}
	ask(v, uplink, n);
}

/* Who was behind the uplink need not be there any more. */
static void forget_hops(struct xv_vtep *v, unsigned int uplink)
{
	struct xv_neighbour *n;

	TAILQ_FOREACH (n, &v->neighbours, entry) {
		n->hops[uplink].known = false;
		n->hops[uplink].tries = 0;
	}
	refresh_all(v, NULL);
}

/* The link of an uplink may have come or gone. */
static void follow_link(struct xv_vtep *v, unsigned int uplink)
{
	struct xv_uplink *u = &v->uplinks[uplink];
	struct xv_port_info info = {0};
	struct xv_neighbour *n;
	bool up;

	if (u->port != NULL)
		u->port->ops->info(u->port, &info);
	up = u->port != NULL && info.state == XV_PORT_UP;
	if (up == u->up)
		return;
	u->up = up;
	forget_hops(v, uplink);
	if (!up)
		return;
	xv_underlay_announce(v, u);
	TAILQ_FOREACH (n, &v->neighbours, entry)
		ask(v, uplink, n);
}

void xv_underlay_tick(void)
{
	uint64_t now = xv_clock_ns();
	struct xv_neighbour *n;
	struct xv_vtep *v;
	unsigned int i, ports;

	TAILQ_FOREACH (v, &vteps, entry) {
		for (i = 0, ports = 0; i < XV_UPLINKS; i++) {
			follow_link(v, i);
			ports += v->uplinks[i].port != NULL;
		}
		for (i = 0; i < XV_UPLINKS; i++) {
			if (!v->uplinks[i].up)
				continue;
			TAILQ_FOREACH (n, &v->neighbours, entry)
				tick(v, i, n, now, ports > 1);
		}
	}
}

static bool on_link(const struct xv_vtep *v, const union xv_ip_addr *addr)
{
	unsigned int skip = v->ipv6 ? 0 : 96, i;

	for (i = skip; i < skip + v->prefix_len; i++)
		if (((v->addr.bytes[i / 8] ^ addr->bytes[i / 8]) >> (7 - i % 8) & 1) != 0)
			return false;
	return true;
}

static struct xv_neighbour *neighbour_get(struct xv_vtep *v, const union xv_ip_addr *addr)
{
	struct xv_neighbour *n;

	TAILQ_FOREACH (n, &v->neighbours, entry)
		if (equal(&n->addr, addr))
			break;
	if (n == NULL) {
		n = calloc(1, sizeof(*n));
		if (n == NULL)
			return NULL;
		n->addr = *addr;
		TAILQ_INSERT_TAIL(&v->neighbours, n, entry);
	}
	n->users++;
	return n;
}

static void neighbour_put(struct xv_vtep *v, struct xv_neighbour *n)
{
	if (--n->users > 0)
		return;
	TAILQ_REMOVE(&v->neighbours, n, entry);
	free(n);
}

/* ---- Objects ---- */

/* The VTEP's own MAC addresses, one for each uplink, lest a switch sees the same behind two ports: locally administered,
 * the same for the same address wherever it is configured. */
static void derive_macs(struct xv_vtep *v)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
	unsigned int i;

	for (i = 0; i < sizeof(v->addr.bytes); i++)
		h = (h ^ v->addr.bytes[i]) * UINT64_C(0x100000001b3);
	h ^= h >> 32;
	for (i = 0; i < XV_UPLINKS; i++)
		memcpy(v->uplinks[i].mac,
		       (const uint8_t[]){0x02, (uint8_t)h, (uint8_t)(h >> 8), (uint8_t)(h >> 16),
					 (uint8_t)(h >> 24), (uint8_t)((h >> 32) ^ i)},
		       6);
}

int xv_vtep_create(const struct xv_vtep_config *config, struct xv_vtep **vtep)
{
	struct xv_vtep *v = calloc(1, sizeof(*v));

	if (v == NULL)
		return -ENOMEM;
	snprintf(v->name, sizeof(v->name), "%s", config->name);
	v->addr = config->addr;
	v->ipv6 = config->ipv6;
	v->prefix_len = config->prefix_len;
	v->gateway = config->gateway;
	v->has_gateway = config->has_gateway;
	v->outer = config->outer;
	derive_macs(v);
	if (xv_vtep_publish(v, NULL, 0) != 0) {
		free(v);
		return -ENOMEM;
	}
	TAILQ_INIT(&v->neighbours);
	TAILQ_INIT(&v->tunnels);
	TAILQ_INSERT_TAIL(&vteps, v, entry);
	*vtep = v;
	return 0;
}

static void vtep_free(void *arg)
{
	struct xv_vtep *v = arg;

	free((void *)(uintptr_t)atomic_load(&v->table));
	free(v);
}

void xv_vtep_destroy(struct xv_vtep *v)
{
	TAILQ_REMOVE(&vteps, v, entry);
	xv_rcu_defer(vtep_free, v);
}

void xv_vtep_set_uplink(struct xv_vtep *v, unsigned int index, struct xv_port *port)
{
	if (port == v->uplinks[index].port)
		return;
	v->uplinks[index].port = port;
	v->uplinks[index].up = false;
	forget_hops(v, index);
	follow_link(v, index);
}

/* The VTEP whose uplink has this port id, or NULL. */
static struct xv_vtep *vtep_of(uint16_t port_id, unsigned int *index)
{
	struct xv_vtep *v;
	unsigned int i;

	TAILQ_FOREACH (v, &vteps, entry) {
		for (i = 0; i < XV_UPLINKS; i++) {
			if (v->uplinks[i].port == NULL || v->uplinks[i].port->id != port_id)
				continue;
			*index = i;
			return v;
		}
	}
	return NULL;
}

void xv_underlay_port_changed(const struct xv_port *port)
{
	unsigned int index;
	struct xv_vtep *v = vtep_of(port->id, &index);

	if (v != NULL)
		follow_link(v, index);
}

void xv_underlay_forget_port(const struct xv_port *port)
{
	unsigned int index;
	struct xv_vtep *v = vtep_of(port->id, &index);

	if (v != NULL)
		xv_vtep_set_uplink(v, index, NULL);
}

/* What packets have to be like to be one of this tunnel. */
static void accept_type(struct xv_decap_config *decap, const struct xv_tunnel_config *config)
{
	static const struct {
		uint16_t udp_port;
		uint8_t gre;
	} types[] = {
		[XV_TUNNEL_VXLAN] = {.udp_port = XV_VXLAN_PORT},   [XV_TUNNEL_GENEVE] = {.udp_port = XV_GENEVE_PORT},
		[XV_TUNNEL_GRE] = {.gre = XV_DECAP_GRE},	   [XV_TUNNEL_NVGRE] = {.gre = XV_DECAP_NVGRE},
		[XV_TUNNEL_MPLS_GRE] = {.gre = XV_DECAP_MPLS_GRE}, [XV_TUNNEL_MPLS_UDP] = {.udp_port = XV_MPLS_UDP_PORT},
	};
	uint16_t port = config->udp_port != 0 ? config->udp_port : types[config->type].udp_port;
	unsigned int i;

	decap->gre |= types[config->type].gre;
	if (!over_udp(config->type))
		return;
	for (i = 0; i < decap->n_ports; i++)
		if (decap->ports[i].port == rte_cpu_to_be_16(port))
			return;
	if (i < XV_DECAP_PORTS)
		decap->ports[decap->n_ports++] =
			(struct xv_decap_port){.port = rte_cpu_to_be_16(port), .type = (uint8_t)config->type};
}

static void table_add(struct xv_tunnel_table *table, const struct xv_tunnel_entry *e)
{
	/* The table is not published yet. */
	struct xv_tunnel_entry *slot =
		(struct xv_tunnel_entry *)(uintptr_t)xv_tunnel_table_slot(table, e->id, &e->remote);

	*slot = *e;
}

int xv_vtep_publish(struct xv_vtep *v, const struct xv_tunnel *const *tunnels, unsigned int n)
{
	const struct xv_tunnel_table *old;
	struct xv_tunnel_table *table;
	unsigned int i, size = 4;

	while (size < 4 * n) /* two entries each, half full at most */
		size *= 2;
	table = calloc(1, sizeof(*table) + size * sizeof(table->entries[0]));
	if (table == NULL)
		return -ENOMEM;
	table->mask = size - 1;
	for (i = 0; i < n; i++) {
		const struct xv_tunnel_config *c = &tunnels[i]->config;
		struct xv_tunnel_entry e = {.id = xv_tunnel_id(c->type, c->has_key, c->vni)};

		accept_type(&table->decap, c);
		table_add(table, &e);
		e.remote = c->remote;
		e.port = tunnels[i]->port;
		table_add(table, &e);
	}
	old = atomic_exchange(&v->table, table);
	if (old != NULL)
		xv_rcu_defer(free, (void *)(uintptr_t)old);
	return 0;
}

int xv_tunnel_create(struct xv_vtep *v, const struct xv_tunnel_config *config, struct xv_port *port,
		     struct xv_tunnel **tunnel)
{
	const union xv_ip_addr *remote = &config->remote;
	static const uint8_t no_mac[6];
	struct xv_encap encap;
	struct xv_tunnel *t = calloc(1, sizeof(*t));
	unsigned int i;

	if (t == NULL)
		return -ENOMEM;
	*t = (struct xv_tunnel){.vtep = v, .port = port, .config = *config};
	t->config.has_key |= config->type != XV_TUNNEL_GRE;
	if (build(t, &v->uplinks[0], no_mac, &encap) != 0) {
		free(t);
		return -EINVAL;
	}
	t->next_hop = neighbour_get(v, v->has_gateway && !on_link(v, remote) ? &v->gateway : remote);
	if (t->next_hop == NULL) {
		free(t);
		return -ENOMEM;
	}
	TAILQ_INSERT_TAIL(&v->tunnels, t, entry);
	refresh(t);
	for (i = 0; i < XV_UPLINKS; i++)
		if (t->next_hop->users == 1 && v->uplinks[i].up)
			ask(v, i, t->next_hop);
	*tunnel = t;
	return 0;
}

void xv_tunnel_destroy(struct xv_tunnel *t)
{
	if (t == NULL)
		return;
	publish(t, NULL);
	TAILQ_REMOVE(&t->vtep->tunnels, t, entry);
	neighbour_put(t->vtep, t->next_hop);
	xv_rcu_defer(free, t);
}

bool xv_tunnel_next_hop(const struct xv_tunnel *t, unsigned int uplink, union xv_ip_addr *addr, uint8_t mac[6])
{
	*addr = t->next_hop->addr;
	memcpy(mac, t->next_hop->hops[uplink].mac, 6);
	return t->next_hop->hops[uplink].known;
}

bool xv_underlay_poll(void)
{
	struct rte_mbuf *m;
	struct xv_vtep *v;
	unsigned int i, uplink;

	for (i = 0; i < POLL_MAX && xv_underlay_ring != NULL && rte_ring_sc_dequeue(xv_underlay_ring, (void **)&m) == 0;
	     i++) {
		v = vtep_of(m->port, &uplink);
		if (v != NULL)
			xv_underlay_receive(v, &v->uplinks[uplink], m);
		else
			rte_pktmbuf_free(m);
	}
	return i == POLL_MAX;
}
