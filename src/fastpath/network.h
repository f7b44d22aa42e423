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
	uint32_t mac_age_s; /* control thread */
};

/* control. mac_limit addresses, aged after mac_age_s. */
int xv_network_create(const char *name, uint32_t mac_age_s, uint32_t mac_limit,
		      struct xv_network **network);
/* control, no binding refers to it any more (grace period over). Accepts NULL. */
void xv_network_destroy(struct xv_network *network);
/* control. The list of ports that belong to the network (bound to it) becomes exactly this. 0 or -ENOMEM. */
int xv_network_set_members(struct xv_network *network, struct xv_port *const *ports, unsigned int n);
/* control, about once a second: forget addresses that were not seen for mac_age_s. */
void xv_network_age(struct xv_network *network);
/* Coarse seconds in which the table's times are counted (any thread). */
uint32_t xv_network_now_s(void);
