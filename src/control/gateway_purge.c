/* SPDX-License-Identifier: Apache-2.0 */
/* Connections that end because a backend or a translation is gone: found a piece at a time, so that nobody is held up. */
#include "control/gateway_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "fastpath/conntrack.h"

#define PURGE_PIECE 128 /* connections looked at between looks at the clock */
#define PURGE_NS    1000000

static bool same_addr(const union xv_ip_addr *a, const union xv_ip_addr *b)
{
	return a->u64[0] == b->u64[0] && a->u64[1] == b->u64[1];
}

static uint32_t now_ms(void)
{
	return xv_clock_ms(xv_clock_cycles());
}

void xv_gateway_purge_balancer(struct xv_gateways *all, const struct balancer *b,
			   const struct backend *backend)
{
	const struct xv_host_network *n = xv_host_network_lookup(all->host, b->gateway->network);
	struct purge *p = n != NULL ? calloc(1, sizeof(*p)) : NULL;

	if (p == NULL)
		return;
	p->zone = n->zone;
	p->of_balancer = true;
	p->direct = b->direct;
	p->addr = b->addr;
	p->port = b->port;
	p->proto = b->proto;
	if (backend != NULL) {
		p->one_backend = true;
		p->backend = backend->addr;
		p->backend_port = backend->port;
	}
	TAILQ_INSERT_TAIL(&all->purges, p, entry);
}

void xv_gateway_purge_router(struct xv_gateways *all, const struct router *r, bool whole)
{
	struct purge *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return;
	p->zone = r->zone;
	snprintf(p->router, sizeof(p->router), "%s", whole ? "" : r->name);
	TAILQ_INSERT_TAIL(&all->purges, p, entry);
}

static bool fits_balancer(const struct purge *p, const struct xv_ct_info *info)
{
	const struct xv_ct_tuple *o = &info->original, *r = &info->reply;
	union xv_ip_addr label;

	if (o->proto != p->proto || o->dst_port != rte_cpu_to_be_16(p->port) ||
	    !same_addr(&o->dst, &p->addr))
		return false;
	if (!p->one_backend)
		return true;
	label.u64[0] = rte_cpu_to_be_64(info->label[1]);
	label.u64[1] = rte_cpu_to_be_64(info->label[0]);
	return p->direct ? same_addr(&label, &p->backend)
			 : same_addr(&r->src, &p->backend) &&
				   r->src_port == rte_cpu_to_be_16(p->backend_port);
}

static bool in_prefix(const struct xv_router_nat *nat, const union xv_ip_addr *addr)
{
	for (unsigned int i = nat->ipv6 ? 0 : 96, end = i + nat->len; i < end; i++)
		if (((nat->internal.bytes[i / 8] ^ addr->bytes[i / 8]) >> (7 - i % 8) & 1) != 0)
			return false;
	return true;
}

/* A connection that the router translates otherwise, or not at all, from now on. */
static bool fits_router(const struct xv_router *r, const struct xv_ct_info *info)
{
	const struct xv_ct_tuple *o = &info->original, *back = &info->reply;
	bool ipv6 = o->ipv6 != 0;

	if (r == NULL)
		return true;
	if (same_addr(&o->src, &back->dst) && same_addr(&o->dst, &back->src)) {
		/* Not translated: would it be? */
		for (unsigned int i = 0; i < r->n_nats; i++)
			if (r->nats[i].ipv6 == ipv6 && (in_prefix(&r->nats[i], &o->src) ||
							same_addr(&r->nats[i].external, &o->dst)))
				return true;
		return false;
	}
	for (unsigned int i = 0; i < r->n_nats; i++) {
		const struct xv_router_nat *nat = &r->nats[i];

		if (nat->ipv6 == ipv6 &&
		    ((same_addr(&nat->external, &back->dst) && in_prefix(nat, &o->src)) ||
		     (nat->floating && same_addr(&nat->external, &o->dst) &&
		      same_addr(&nat->internal, &back->src))))
			return false;
	}
	return !info->has_master; /* those go with theirs */
}

struct found {
	const struct purge *purge;
	const struct xv_router *router;
	struct xv_ct_tuple tuples[PURGE_PIECE];
	unsigned int n;
};

static void look(const struct xv_ct_info *info, void *arg)
{
	struct found *found = arg;

	if (info->original.zone == found->purge->zone &&
	    (found->purge->of_balancer ? fits_balancer(found->purge, info)
				       : fits_router(found->router, info)))
		found->tuples[found->n++] = info->original;
}

/* True: there is more to do. */
bool xv_gateway_purge_some(struct xv_gateways *all)
{
	uint64_t start = xv_clock_ns();
	struct purge *p;
	struct router *r;

	while ((p = TAILQ_FIRST(&all->purges)) != NULL && xv_clock_ns() - start < PURGE_NS) {
		struct found found = {.purge = p};
		bool more;

		TAILQ_FOREACH (r, &all->routers, entry) {
			if (p->router[0] != '\0' && strcmp(r->name, p->router) == 0)
				found.router = r->current;
		}
		more = xv_conntrack_walk(xv_flow_conntrack, now_ms(), &p->cursor, PURGE_PIECE, look,
					 &found);
		for (unsigned int i = 0; i < found.n; i++)
			(void)xv_conntrack_delete(xv_flow_conntrack, &found.tuples[i], now_ms());
		if (more)
			continue;
		TAILQ_REMOVE(&all->purges, p, entry);
		free(p);
	}
	return p != NULL;
}
