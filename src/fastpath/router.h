/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A router between built-in networks: an address on each of them, a default gateway, and
 * translation of addresses: floating ones, one for one, and one for many (SNAT). The least that VMs
 * need to leave their network; no dynamic routing, no VRFs.
 *
 * Class A: built by the control thread, never changed, freed after a grace period. All gateways
 * (gateway.h) of its networks point to it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "fastpath/flow.h"
#include "net/flow_key.h"
#include "port/port.h"

struct xv_router_interface {
	union xv_ip_addr addr;
	bool ipv6;
	uint8_t len; /* of the prefix that is on-link */
	uint8_t mac[6];
	uint16_t port_id; /* of the network's internal port */
};

struct xv_router_nat {
	union xv_ip_addr external, internal;
	bool ipv6;
	bool floating; /* one for one; else everything from the prefix internal/len to one address
			*/
	uint8_t len;   /* of internal */
	uint16_t min_port, max_port; /* of SNAT; host order */
	uint16_t port_id; /* of the network that external is on: translated is what leaves by it */
};

/* A next hop that is known: found by address and interface. */
struct xv_router_neighbour {
	union xv_ip_addr addr;
	uint16_t port_id; /* of the interface; XV_MAX_PORTS: free */
	uint8_t mac[6];
};

struct xv_router {
	char name[XV_NAME_LEN];
	uint16_t zone; /* of its translations */
	unsigned int n_interfaces, n_nats;
	struct xv_router_interface *interfaces;
	struct xv_router_nat *nats;
	bool has_gateway[2]; /* for IPv4, IPv6 */
	union xv_ip_addr gateway[2];
	uint32_t neighbours_mask; /* a power of two less 1 */
	struct xv_router_neighbour *neighbours;
};

/* control. Room for n neighbours in all; -ENOMEM. */
int xv_router_neighbours_init(struct xv_router *r, unsigned int n);
void xv_router_neighbour_add(struct xv_router *r, uint16_t port_id, const union xv_ip_addr *addr,
			     const uint8_t mac[6]);

/* Any thread. The interface with this address, or NULL. */
const struct xv_router_interface *xv_router_interface_of(const struct xv_router *r,
							 const union xv_ip_addr *addr, bool ipv6);
/* Any thread. By which interface, and via whom, packets to addr leave; NULL: there is no route. */
const struct xv_router_interface *xv_router_route(const struct xv_router *r,
						  const union xv_ip_addr *addr, bool ipv6,
						  union xv_ip_addr *via);
/* Any thread. NULL: not known. */
const uint8_t *xv_router_neighbour(const struct xv_router *r, uint16_t port_id,
				   const union xv_ip_addr *addr);

/*
 * worker. A packet that the network's internal port `in_id` got to route: from the network
 * (XV_RECIRC_ROUTER), with its translation, if there is any, decided (XV_RECIRC_ROUTED). What it
 * cannot do goes to in_id itself: the control thread asks for next hops and sends ICMP errors. mask
 * as xv_resolve()'s.
 */
void xv_router_decide(const struct xv_router *r, uint16_t in_id, const struct xv_flow_key *key,
		      struct xv_flow_key *mask, struct xv_decision *decision);
