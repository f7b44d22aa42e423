/* SPDX-License-Identifier: Apache-2.0 */
#include "fastpath/gateway.h"

#include <string.h>

#include "fastpath/conntrack.h"

#define ETH_IPV4     RTE_BE16(0x0800)
#define ETH_IPV6     RTE_BE16(0x86dd)
#define PROTO_ICMP   1
#define PROTO_TCP    6
#define PROTO_ICMPV6 58
#define ND_FIRST     133 /* RFC 4861 */
#define ND_LAST      137

#define MASK_ALL(mask, field) memset(&(mask)->field, 0xff, sizeof((mask)->field))

static bool same_addr(const union xv_ip_addr *a, const union xv_ip_addr *b)
{
	return a->u64[0] == b->u64[0] && a->u64[1] == b->u64[1];
}

const struct xv_gateway_address *xv_gateway_address(const struct xv_gateway *g,
						    const union xv_ip_addr *addr, bool ipv6)
{
	unsigned int i;

	for (i = 0; i < g->n_addresses; i++)
		if (g->addresses[i].ipv6 == ipv6 && same_addr(&g->addresses[i].addr, addr))
			return &g->addresses[i];
	return NULL;
}

static const struct xv_load_balancer *balancer_of(const struct xv_gateway *g,
						  const struct xv_flow_key *key)
{
	bool ipv6 = key->eth_type == ETH_IPV6;
	unsigned int i;

	for (i = 0; i < g->n_balancers; i++) {
		const struct xv_load_balancer *lb = g->balancers[i];

		if (lb->ipv6 == ipv6 && lb->proto == key->ip_proto && lb->port == key->tp_dst &&
		    same_addr(&lb->addr, &key->ip_dst))
			return lb;
	}
	return NULL;
}

/* The balancer that the connection was opened to. */
static const struct xv_load_balancer *opened_to(const struct xv_gateway *g,
						const struct xv_flow_key *key)
{
	const struct xv_flow_key original = {.eth_type = key->eth_type,
					     .ip_proto = key->ct_proto,
					     .tp_dst = key->ct_tp_dst,
					     .ip_dst = key->ct_dst};

	return balancer_of(g, &original);
}

static void to_control(struct xv_decision *decision, uint16_t port_id)
{
	decision->type = XV_ACT_OUTPUT;
	decision->arg = port_id;
}

/* Neighbour discovery, and what else is to an address of this link alone. */
static bool is_for_link(const struct xv_flow_key *key, struct xv_flow_key *mask)
{
	uint16_t type = rte_be_to_cpu_16(key->tp_src);

	if (key->ip_dst.bytes[0] == 0xfe && (key->ip_dst.bytes[1] & 0xc0) == 0x80)
		return true;
	MASK_ALL(mask, ip_proto);
	if (key->ip_proto != PROTO_ICMPV6)
		return false;
	MASK_ALL(mask, tp_src);
	return type >= ND_FIRST && type <= ND_LAST;
}

/* To an address of ours, and no load balancer's port: who may talk to xviod itself, and about what.
 */
static void receive_own(const struct xv_gateway_address *own, uint16_t port_id, uint16_t zone,
			const struct xv_flow_key *key, struct xv_flow_key *mask,
			struct xv_decision *decision)
{
	MASK_ALL(mask, ip_proto);
	if (key->ip_proto == (own->ipv6 ? PROTO_ICMPV6 : PROTO_ICMP) ||
	    (key->ip_proto == PROTO_TCP && (own->use & XV_GATEWAY_SOURCE) != 0)) {
		/* Else the answer would be of no connection. */
		mask->ct_state |= XV_CS_NEW;
		if ((key->ct_state & XV_CS_NEW) != 0)
			(void)xv_decision_track(decision, zone, XV_CT_COMMIT);
		to_control(decision, port_id);
		return;
	}
	decision->type = XV_ACT_DROP;
	decision->arg = XV_DROP_NO_SERVICE;
	decision->reject = true;
}

/* Out of the network, to its router: with its translation, if it was translated before. */
static void receive_routed(const struct xv_gateway *g, uint16_t port_id, uint16_t zone,
			   const struct xv_flow_key *key, struct xv_flow_key *mask,
			   struct xv_decision *decision)
{
	if (g->router == NULL) {
		decision->type = XV_ACT_DROP;
		decision->arg = XV_DROP_NO_ROUTE;
		return;
	}
	MASK_ALL(mask, ip_ttl);
	if (key->ip_ttl <=
	    1) { /* before it is translated: so the answer is about what its sender knows */
		to_control(decision, port_id);
		decision->once = true;
		return;
	}
	mask->ct_state |= XV_CS_NEW;
	if ((key->ct_state & XV_CS_NEW) != 0)
		(void)xv_decision_track(decision, zone, XV_CT_COMMIT);
	if (g->router->n_nats > 0)
		(void)xv_decision_track(decision, g->router->zone, XV_CT_NAT);
	decision->patch = port_id;
	decision->type = XV_ACT_RECIRC;
	decision->arg = XV_RECIRC_ROUTER;
}

void xv_gateway_receive(const struct xv_gateway *g, uint16_t port_id, uint16_t zone,
			const struct xv_flow_key *key, struct xv_flow_key *mask,
			struct xv_decision *decision)
{
	bool ipv6 = key->eth_type == ETH_IPV6;
	const struct xv_gateway_address *own;
	const struct xv_load_balancer *lb;

	MASK_ALL(mask, eth_type);
	if (!ipv6 && key->eth_type != ETH_IPV4) {
		to_control(decision, port_id);
		return;
	}
	MASK_ALL(mask, ip_dst);
	mask->ct_state |= XV_CS_TRACKED | XV_CS_RELATED;
	own = xv_gateway_address(g, &key->ip_dst, ipv6);
	if (ipv6 && is_for_link(key, mask)) {
		to_control(decision, port_id);
		return;
	}
	if (own != NULL && (own->use & XV_GATEWAY_VIRTUAL) != 0 &&
	    (key->ct_state & XV_CS_TRACKED) != 0) {
		/* An ICMP error of a client to what it got from the virtual address. */
		if ((key->ct_state & XV_CS_RELATED) != 0) {
			MASK_ALL(mask, ct_label);
			(void)xv_decision_track(decision, zone, XV_CT_NAT);
			decision->type = XV_ACT_RECIRC;
			decision->arg = XV_RECIRC_BALANCED;
			return;
		}
		MASK_ALL(mask, ip_proto);
		MASK_ALL(mask, tp_dst);
		MASK_ALL(mask, ct_proto);
		MASK_ALL(mask, ct_dst);
		MASK_ALL(mask, ct_tp_dst);
		lb = balancer_of(g, key);
		/* Of a datagram in fragments not all have ports: by the tuple of its connection. */
		if (lb == NULL && key->ip_frag != XV_FRAG_NONE)
			lb = opened_to(g, key);
		if (lb != NULL) {
			xv_balancer_decide(lb, zone, key, mask, decision);
			return;
		}
	}
	if (own != NULL && ((own->use & XV_GATEWAY_NAT) == 0 || g->router == NULL)) {
		receive_own(own, port_id, zone, key, mask, decision);
		return;
	}
	receive_routed(g, port_id, zone, key, mask, decision);
}

/* Anybody's backend with that address. */
static const struct xv_backend *backend_of(const struct xv_gateway *g, const union xv_ip_addr *addr)
{
	const struct xv_backend *b;
	unsigned int i;

	for (i = 0; i < g->n_balancers; i++) {
		b = xv_balancer_backend(g->balancers[i], addr);
		if (b != NULL)
			return b;
	}
	return NULL;
}

void xv_gateway_balanced(const struct xv_gateway *g, const struct xv_flow_key *key,
			 struct xv_flow_key *mask, struct xv_decision *decision)
{
	union xv_ip_addr addr = key->ip_dst;
	const struct xv_gateway_address *own;
	const struct xv_backend *b;

	MASK_ALL(mask, eth_type);
	MASK_ALL(mask, ip_dst);
	MASK_ALL(mask, ct_label);
	MASK_ALL(mask, ct_zone); /* which network: others may have the same addresses */
	own = xv_gateway_address(g, &key->ip_dst, key->eth_type == ETH_IPV6);
	if (own != NULL) { /* not translated: direct server return */
		addr.u64[0] = rte_cpu_to_be_64(key->ct_label[1]);
		addr.u64[1] = rte_cpu_to_be_64(key->ct_label[0]);
	}
	b = backend_of(g, &addr);
	if (b == NULL || !b->reachable) {
		decision->type = XV_ACT_DROP;
		decision->arg = XV_DROP_NO_BACKEND;
		decision->reject =
			b == NULL &&
			own != NULL; /* a translated packet's sender does not know the backend */
		return;
	}
	decision->set_dst = true;
	memcpy(decision->eth_dst, b->mac, 6);
	decision->type = XV_ACT_FORWARD;
}
