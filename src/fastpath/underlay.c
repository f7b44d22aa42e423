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

/* ---- Templates ---- */

static void publish(struct xv_tunnel *t, struct xv_encap *encap)
{
	const struct xv_encap *old = atomic_exchange(&t->encap, encap);

	if (old != NULL)
		xv_rcu_defer(free, (void *)(uintptr_t)old);
}

static int build(const struct xv_tunnel *t, const uint8_t mac[6], struct xv_encap *encap)
{
	const struct xv_vtep *v = t->vtep;
	struct xv_encap_params params = {.type = t->type, .src = v->addr, .dst = t->remote, .id = t->vni};

	memcpy(params.eth_dst, mac, 6);
	memcpy(params.eth_src, v->mac, 6);
	params.flags = XV_ENCAP_ECN;
	if (!v->ipv6)
		params.flags |= XV_ENCAP_DF; /* VTEPs do not fragment (RFC 7348 section 4.3), nor shall others */
	else
		params.flags |= XV_ENCAP_IPV6 | XV_ENCAP_FLOW_LABEL;
	/* Receivers may refuse UDP over IPv6 without a checksum (RFC 6936 section 4); NVGRE has none (RFC 7637
	 * section 3.2). */
	if (v->ipv6 && t->type != XV_TUNNEL_NVGRE)
		params.flags |= XV_ENCAP_CSUM;
	return xv_encap_build(&params, encap);
}

/* The template follows what is known of the next hop. */
static void refresh(struct xv_tunnel *t)
{
	struct xv_encap *encap = NULL;

	if (t->next_hop->known && t->vtep->uplink_port != NULL) {
		encap = aligned_alloc(64, RTE_ALIGN_CEIL(sizeof(*encap), 64));
		if (encap != NULL && build(t, t->next_hop->mac, encap) != 0) {
			free(encap);
			encap = NULL;
		}
	}
	publish(t, encap);
}

static void refresh_all(struct xv_vtep *v, const struct xv_neighbour *n)
{
	struct xv_tunnel *t;

	TAILQ_FOREACH (t, &v->tunnels, entry)
		if (n == NULL || t->next_hop == n)
			refresh(t);
}

/* ---- Next hops ---- */

static void ask(struct xv_vtep *v, struct xv_neighbour *n)
{
	n->asked_ns = xv_clock_ns();
	/* First the one that it was: it need not bother the others. */
	xv_underlay_ask(v, &n->addr, n->known && n->tries == 0 ? n->mac : NULL);
	n->tries++;
}

void xv_underlay_learn(struct xv_vtep *v, const union xv_ip_addr *addr, const uint8_t mac[6])
{
	struct xv_neighbour *n;
	char text[INET6_ADDRSTRLEN];

	TAILQ_FOREACH (n, &v->neighbours, entry)
		if (equal(&n->addr, addr))
			break;
	if (n == NULL || (mac[0] & 1) != 0)
		return;
	n->confirmed_ns = xv_clock_ns();
	n->tries = 0;
	if (n->known && memcmp(n->mac, mac, 6) == 0)
		return;
	XV_LOG_LIMITED(XV_LOG_INFO, "vtep", "%s: %s is at %02x:%02x:%02x:%02x:%02x:%02x", v->name,
		       text_of(v, addr, text), mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
	memcpy(n->mac, mac, 6);
	n->known = true;
	refresh_all(v, n);
}

static void tick(struct xv_vtep *v, struct xv_neighbour *n, uint64_t now)
{
	char text[INET6_ADDRSTRLEN];

	if (now - n->asked_ns < ASK_AGAIN_NS || (n->known && now - n->confirmed_ns < CONFIRM_NS))
		return;
	if (n->known && n->tries >= TRIES) {
		XV_LOG_LIMITED(XV_LOG_WARNING, "vtep", "%s: next hop %s does not answer any more", v->name,
			       text_of(v, &n->addr, text));
		n->known = false;
		refresh_all(v, n);
	}
	ask(v, n);
}

void xv_underlay_tick(void)
{
	uint64_t now = xv_clock_ns();
	struct xv_neighbour *n;
	struct xv_vtep *v;

	TAILQ_FOREACH (v, &vteps, entry) {
		if (v->uplink_port == NULL)
			continue;
		TAILQ_FOREACH (n, &v->neighbours, entry)
			tick(v, n, now);
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

/* The VTEP's own MAC address: locally administered, the same for the same address wherever it is configured. */
static void derive_mac(struct xv_vtep *v)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
	unsigned int i;

	for (i = 0; i < sizeof(v->addr.bytes); i++)
		h = (h ^ v->addr.bytes[i]) * UINT64_C(0x100000001b3);
	h ^= h >> 32;
	v->mac[0] = 0x02;
	for (i = 1; i < 6; i++)
		v->mac[i] = (uint8_t)(h >> (8 * (i - 1)));
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
	derive_mac(v);
	v->decap = (struct xv_decap_config){
		.ports = {{.port = RTE_BE16(XV_VXLAN_PORT), .type = XV_TUNNEL_VXLAN},
			  {.port = RTE_BE16(XV_GENEVE_PORT), .type = XV_TUNNEL_GENEVE}},
		.n_ports = 2,
		.gre = XV_DECAP_NVGRE,
	};
	atomic_init(&v->uplink, XV_NO_UPLINK);
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

void xv_vtep_set_uplink(struct xv_vtep *v, struct xv_port *port)
{
	struct xv_neighbour *n;

	if (port == v->uplink_port)
		return;
	v->uplink_port = port;
	atomic_store(&v->uplink, port != NULL ? port->id : XV_NO_UPLINK);
	/* Who was behind the old port need not be behind the new one. */
	TAILQ_FOREACH (n, &v->neighbours, entry) {
		n->known = false;
		n->tries = 0;
	}
	refresh_all(v, NULL);
	if (port == NULL)
		return;
	xv_underlay_announce(v);
	TAILQ_FOREACH (n, &v->neighbours, entry)
		ask(v, n);
}

void xv_underlay_forget_port(const struct xv_port *port)
{
	struct xv_vtep *v;

	TAILQ_FOREACH (v, &vteps, entry)
		if (v->uplink_port == port)
			xv_vtep_set_uplink(v, NULL);
}

static void table_add(struct xv_tunnel_table *table, const struct xv_tunnel_entry *e)
{
	/* The table is not published yet. */
	struct xv_tunnel_entry *slot =
		(struct xv_tunnel_entry *)(uintptr_t)xv_tunnel_table_slot(table, e->type, e->vni, &e->remote);

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
		struct xv_tunnel_entry e = {.type = (uint8_t)tunnels[i]->type, .vni = tunnels[i]->vni};

		table_add(table, &e);
		e.remote = tunnels[i]->remote;
		e.port = tunnels[i]->port;
		table_add(table, &e);
	}
	old = atomic_exchange(&v->table, table);
	if (old != NULL)
		xv_rcu_defer(free, (void *)(uintptr_t)old);
	return 0;
}

int xv_tunnel_create(struct xv_vtep *v, enum xv_tunnel_type type, uint32_t vni, const union xv_ip_addr *remote,
		     struct xv_port *port, struct xv_tunnel **tunnel)
{
	static const uint8_t no_mac[6];
	struct xv_encap encap;
	struct xv_tunnel *t = calloc(1, sizeof(*t));
	bool first;

	if (t == NULL)
		return -ENOMEM;
	*t = (struct xv_tunnel){.vtep = v, .port = port, .type = type, .vni = vni, .remote = *remote};
	if (build(t, no_mac, &encap) != 0) {
		free(t);
		return -EINVAL;
	}
	t->next_hop = neighbour_get(v, v->has_gateway && !on_link(v, remote) ? &v->gateway : remote);
	if (t->next_hop == NULL) {
		free(t);
		return -ENOMEM;
	}
	first = t->next_hop->users == 1;
	TAILQ_INSERT_TAIL(&v->tunnels, t, entry);
	refresh(t);
	if (first && v->uplink_port != NULL)
		ask(v, t->next_hop);
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

bool xv_tunnel_next_hop(const struct xv_tunnel *t, union xv_ip_addr *addr, uint8_t mac[6])
{
	*addr = t->next_hop->addr;
	memcpy(mac, t->next_hop->mac, 6);
	return t->next_hop->known;
}

bool xv_underlay_poll(void)
{
	struct rte_mbuf *m;
	struct xv_vtep *v;
	unsigned int i;

	for (i = 0; i < POLL_MAX && xv_underlay_ring != NULL && rte_ring_sc_dequeue(xv_underlay_ring, (void **)&m) == 0;
	     i++) {
		TAILQ_FOREACH (v, &vteps, entry)
			if (v->uplink_port != NULL && v->uplink_port->id == m->port)
				break;
		if (v != NULL)
			xv_underlay_receive(v, m);
		else
			rte_pktmbuf_free(m);
	}
	return i == POLL_MAX;
}
