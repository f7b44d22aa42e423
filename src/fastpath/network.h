/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A MAC-learning network: a bridge domain over the ports bound to it. Learned addresses are class C
 * (table/mac_table.h), the member list is class A.
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "fastpath/binding.h"
#include "table/mac_table.h"

struct xv_members {
	unsigned int n;
	struct xv_port *ports[];
};

struct xv_network {
	char name[XV_NAME_LEN];
	struct xv_mac_table *macs;
	_Atomic(const struct xv_members *) members;
	_Atomic(struct xv_port *) gateway; /* its internal port (gateway.h), or NULL ... */
	_Atomic uint64_t gateway_key; /* ... and that one's address, as in the MAC table, where nobody else can be learned with it; 0 */
	uint32_t mac_age_s; /* control thread */
};

/* control. mac_limit addresses, aged after mac_age_s. */
int xv_network_create(const char *name, uint32_t mac_age_s, uint32_t mac_limit,
		      struct xv_network **network);
/* control, no binding refers to it any more (grace period over). Accepts NULL. */
void xv_network_destroy(struct xv_network *network);
/* control. The list of ports that belong to the network (bound to it) becomes exactly this. 0 or -ENOMEM. */
int xv_network_set_members(struct xv_network *network, struct xv_port *const *ports, unsigned int n);
/* control. The network's internal port and its MAC address; NULL: it has none (any more). */
void xv_network_set_gateway(struct xv_network *network, struct xv_port *port, const uint8_t mac[6]);
/* control, for good: what is sent to one such network may leave by another (router.h), so that changes in the MAC table of any of
 * them count for all. */
void xv_network_join_routed(struct xv_network *network);
/* control, about once a second: forget addresses that were not seen for mac_age_s. */
void xv_network_age(struct xv_network *network);
/* Coarse seconds in which the table's times are counted (any thread). */
uint32_t xv_network_now_s(void);
