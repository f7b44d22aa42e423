/* SPDX-License-Identifier: Apache-2.0 */
#include "fastpath/router.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fastpath/conntrack.h"

#define ETH_IPV6  RTE_BE16(0x86dd)
#define PROTO_TCP 6
#define PROTO_UDP 17

#define MASK_ALL(mask, field) memset(&(mask)->field, 0xff, sizeof((mask)->field))

static bool same_addr(const union xv_ip_addr *a, const union xv_ip_addr *b)
{
	return a->u64[0] == b->u64[0] && a->u64[1] == b->u64[1];
}

/* len: of the prefix, of IPv4 or IPv6. */
static bool in_prefix(const union xv_ip_addr *prefix, uint8_t len, bool ipv6,
		      const union xv_ip_addr *addr)
{
	unsigned int first = ipv6 ? 0 : 12, whole = len / 8u, bits = len % 8u;

	if (memcmp(&prefix->bytes[first], &addr->bytes[first], whole) != 0)
		return false;
	return bits == 0 ||
	       ((prefix->bytes[first + whole] ^ addr->bytes[first + whole]) >> (8 - bits)) == 0;
}

/* ---- Tables ---- */

static uint32_t hash_of(uint16_t port_id, const union xv_ip_addr *addr)
{
	uint64_t h = (addr->u64[0] ^ port_id) * UINT64_C(0x9e3779b97f4a7c15);

	h = (h ^ addr->u64[1]) * UINT64_C(0xbf58476d1ce4e5b9);
	return (uint32_t)(h >> 32);
}

int xv_router_neighbours_init(struct xv_router *r, unsigned int n)
{
	uint32_t size = 8, i;

	while (size < 2 * n)
		size *= 2;
	r->neighbours = calloc(size, sizeof(r->neighbours[0]));
	if (r->neighbours == NULL)
		return -ENOMEM;
	r->neighbours_mask = size - 1;
	for (i = 0; i < size; i++)
		r->neighbours[i].port_id = XV_MAX_PORTS;
	return 0;
}

void xv_router_neighbour_add(struct xv_router *r, uint16_t port_id, const union xv_ip_addr *addr,
			     const uint8_t mac[6])
{
	uint32_t i = hash_of(port_id, addr) & r->neighbours_mask;

	while (r->neighbours[i].port_id != XV_MAX_PORTS)
		i = (i + 1) & r->neighbours_mask;
	r->neighbours[i].addr = *addr;
	r->neighbours[i].port_id = port_id;
	memcpy(r->neighbours[i].mac, mac, 6);
}

const uint8_t *xv_router_neighbour(const struct xv_router *r, uint16_t port_id,
				   const union xv_ip_addr *addr)
{
	uint32_t i = hash_of(port_id, addr) & r->neighbours_mask;

	for (; r->neighbours[i].port_id != XV_MAX_PORTS; i = (i + 1) & r->neighbours_mask)
		if (r->neighbours[i].port_id == port_id && same_addr(&r->neighbours[i].addr, addr))
			return r->neighbours[i].mac;
	return NULL;
}

const struct xv_router_interface *xv_router_interface_of(const struct xv_router *r,
							 const union xv_ip_addr *addr, bool ipv6)
{
	unsigned int i;

	for (i = 0; i < r->n_interfaces; i++)
		if (r->interfaces[i].ipv6 == ipv6 && same_addr(&r->interfaces[i].addr, addr))
			return &r->interfaces[i];
	return NULL;
}

/* The interface that addr is on-link at; the longest prefix. */
static const struct xv_router_interface *on_link(const struct xv_router *r,
						 const union xv_ip_addr *addr, bool ipv6)
{
	const struct xv_router_interface *best = NULL, *i;

	for (i = r->interfaces; i < r->interfaces + r->n_interfaces; i++)
		if (i->ipv6 == ipv6 && in_prefix(&i->addr, i->len, ipv6, addr) &&
		    (best == NULL || i->len > best->len))
			best = i;
	return best;
}

const struct xv_router_interface *xv_router_route(const struct xv_router *r,
						  const union xv_ip_addr *addr, bool ipv6,
						  union xv_ip_addr *via)
{
	const struct xv_router_interface *i = on_link(r, addr, ipv6);

	*via = *addr;
	if (i != NULL || !r->has_gateway[ipv6])
		return i;
	*via = r->gateway[ipv6];
	return on_link(r, via, ipv6);
}

/* ---- Packets ---- */

/* Addresses that no router forwards to: RFC 1812 section 5.3.7, RFC 4291 section 2.5.6. */
static bool is_forwarded(const union xv_ip_addr *addr, bool ipv6)
{
	const uint8_t *b = ipv6 ? addr->bytes : &addr->bytes[12];

	if (ipv6)
		return b[0] != 0xff && !(b[0] == 0xfe && (b[1] & 0xc0) == 0x80) &&
		       (addr->u64[0] | addr->u64[1]) != 0;
	return b[0] != 0 && b[0] != 127 && b[0] < 224 && !(b[0] == 169 && b[1] == 254);
}

static void to_control(struct xv_decision *decision, uint16_t in_id)
{
	decision->type = XV_ACT_OUTPUT;
	decision->arg = in_id;
	decision->once = true; /* until it knows more */
}

static void forward(const struct xv_router *r, uint16_t in_id, const struct xv_flow_key *key,
		    struct xv_flow_key *mask, struct xv_decision *decision)
{
	bool ipv6 = key->eth_type == ETH_IPV6;
	const struct xv_router_interface *out;
	const uint8_t *mac;
	union xv_ip_addr via;

	MASK_ALL(mask, ip_dst);
	MASK_ALL(mask, ip_ttl);
	if (!is_forwarded(&key->ip_dst, ipv6)) {
		decision->type = XV_ACT_DROP;
		decision->arg = XV_DROP_NO_ROUTE;
		return;
	}
	if (xv_router_interface_of(r, &key->ip_dst, ipv6) != NULL || key->ip_ttl <= 1) {
		to_control(decision, in_id);
		return;
	}
	out = xv_router_route(r, &key->ip_dst, ipv6, &via);
	mac = out != NULL ? xv_router_neighbour(r, out->port_id, &via) : NULL;
	if (mac == NULL) {
		to_control(decision, in_id);
		return;
	}
	/* What was found out in zones of one network says nothing on another. */
	(void)xv_decision_track(decision, 0, XV_CT_CLEAR);
	decision->set_dst = decision->set_src = true;
	memcpy(decision->eth_dst, mac, 6);
	memcpy(decision->eth_src, out->mac, 6);
	decision->ttl = key->ip_ttl - 1;
	decision->patch = out->port_id;
	decision->type = XV_ACT_RECIRC;
	decision->arg = 0;
}

/* What becomes of the connection's addresses when it leaves by the interface; NULL: nothing. */
static const struct xv_router_nat *leaving(const struct xv_router *r, uint16_t port_id,
					   const struct xv_flow_key *key)
{
	bool ipv6 = key->eth_type == ETH_IPV6;
	const struct xv_router_nat *nat, *many = NULL;

	for (nat = r->nats; nat < r->nats + r->n_nats; nat++) {
		if (nat->ipv6 != ipv6 || nat->port_id != port_id ||
		    !in_prefix(&nat->internal, nat->len, ipv6, &key->ip_src))
			continue;
		if (nat->floating)
			return nat;
		if (many == NULL || nat->len > many->len)
			many = nat;
	}
	return many;
}

static const struct xv_router_nat *floating_of(const struct xv_router *r,
					       const struct xv_flow_key *key)
{
	bool ipv6 = key->eth_type == ETH_IPV6;
	const struct xv_router_nat *nat;

	for (nat = r->nats; nat < r->nats + r->n_nats; nat++)
		if (nat->floating && nat->ipv6 == ipv6 && same_addr(&nat->external, &key->ip_dst))
			return nat;
	return NULL;
}

/* Protocols that tell addresses in their payload, and that we can help. */
static uint8_t helper_of(const struct xv_flow_key *key, struct xv_flow_key *mask)
{
	MASK_ALL(mask, ip_proto);
	MASK_ALL(mask, tp_dst);
	if (key->ip_proto == PROTO_TCP && key->tp_dst == RTE_BE16(21))
		return XV_CT_HELPER_FTP;
	return key->ip_proto == PROTO_UDP && key->tp_dst == RTE_BE16(69) ? XV_CT_HELPER_TFTP
									 : XV_CT_HELPER_NONE;
}

/* It opens a connection: that is stored with its translation, also if there is none, so that it is
 * known afterwards. */
static void translate(const struct xv_router *r, const struct xv_flow_key *key,
		      struct xv_flow_key *mask, struct xv_decision *decision)
{
	struct xv_action_ct *ct = xv_decision_track(decision, r->zone, XV_CT_COMMIT | XV_CT_NAT);
	const struct xv_router_nat *nat;
	const struct xv_router_interface *out;
	union xv_ip_addr via;

	decision->type = XV_ACT_RECIRC;
	decision->arg = XV_RECIRC_ROUTED;
	MASK_ALL(mask, ip_src);
	MASK_ALL(mask, ip_dst);
	if ((key->ct_state & XV_CS_RELATED) != 0)
		return; /* as the connection that announced it is translated */
	ct->helper = helper_of(key, mask);
	nat = floating_of(r, key);
	if (nat != NULL) {
		ct->nat = (struct xv_ct_nat){.min = nat->internal,
					     .max = nat->internal,
					     .flags = XV_NAT_DST,
					     .ipv6 = nat->ipv6};
		return;
	}
	out = xv_router_route(r, &key->ip_dst, key->eth_type == ETH_IPV6, &via);
	nat = out != NULL ? leaving(r, out->port_id, key) : NULL;
	if (nat == NULL)
		return;
	ct->nat = (struct xv_ct_nat){
		.min = nat->external, .max = nat->external, .flags = XV_NAT_SRC, .ipv6 = nat->ipv6};
	if (!nat->floating) {
		ct->nat.min_port = nat->min_port;
		ct->nat.max_port = nat->max_port;
	}
}

void xv_router_decide(const struct xv_router *r, uint16_t in_id, const struct xv_flow_key *key,
		      struct xv_flow_key *mask, struct xv_decision *decision)
{
	decision->gateway = "router";
	decision->object = r->name;
	MASK_ALL(mask, eth_type);
	if (r->n_nats == 0 || key->recirc_id == XV_RECIRC_ROUTED) {
		forward(r, in_id, key, mask, decision);
		return;
	}
	MASK_ALL(mask, ct_state);
	if ((key->ct_state & XV_CS_INVALID) != 0) {
		decision->type = XV_ACT_DROP;
		decision->arg = XV_DROP_CT_INVALID;
	} else if ((key->ct_state & XV_CS_NEW) != 0) {
		translate(r, key, mask, decision);
	} else {
		forward(r, in_id, key, mask, decision);
	}
}
