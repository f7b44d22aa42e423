/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The gateway of a network: what xviod itself is on it, behind the network's internal port
 * (port/internal.h). It has a MAC address and IP addresses there: of load balancers
 * (load_balancer.h) and of a router (router.h). Its packets are decided by workers as far as that
 * can be; what is for xviod itself (ARP, neighbour discovery, pings, answers to health checks) and
 * what needs more to be known first goes to the control thread, by the internal port.
 *
 * Class A: built by the control thread, never changed, freed after a grace period; the internal
 * port's binding has it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "fastpath/flow.h"
#include "fastpath/load_balancer.h"
#include "fastpath/router.h"
#include "net/flow_key.h"

/* What an address of ours is for. */
#define XV_GATEWAY_VIRTUAL 0x1 /* of a load balancer */
#define XV_GATEWAY_ROUTER  0x2
#define XV_GATEWAY_NAT     0x4 /* outside of translations */
#define XV_GATEWAY_SOURCE  0x8 /* of health checks */

struct xv_gateway_address {
	union xv_ip_addr addr;
	bool ipv6;
	uint8_t use; /* XV_GATEWAY_* */
};

struct xv_gateway {
	uint8_t mac[6];
	unsigned int n_addresses, n_balancers;
	struct xv_gateway_address *addresses;
	const struct xv_load_balancer **balancers;
	const struct xv_router *router; /* NULL: none on this network */
};

/* Any thread. NULL: none of ours. */
const struct xv_gateway_address *xv_gateway_address(const struct xv_gateway *g,
						    const union xv_ip_addr *addr, bool ipv6);

/* worker. A packet that the network sends to the internal port `port_id`. mask as xv_resolve()'s.
 */
void xv_gateway_receive(const struct xv_gateway *g, uint16_t port_id, uint16_t zone,
			const struct xv_flow_key *key, struct xv_flow_key *mask,
			struct xv_decision *decision);
/* worker. A packet whose backend was chosen and whose address was translated: on to the backend. */
void xv_gateway_balanced(const struct xv_gateway *g, const struct xv_flow_key *key,
			 struct xv_flow_key *mask, struct xv_decision *decision);
