/* SPDX-License-Identifier: Apache-2.0 */
/* Networks as the control thread sees them. What happens to packets is in bridge.c. */
#include "fastpath/network.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "table/rcu.h"

uint32_t xv_network_now_s(void)
{
	return (uint32_t)(xv_clock_cycles() / xv_clock.hz);
}

int xv_network_create(const char *name, uint32_t mac_age_s, uint32_t mac_limit,
		      struct xv_network **network)
{
	struct xv_network *n = calloc(1, sizeof(*n));
	int rc;

	if (n == NULL)
		return -ENOMEM;
	rc = xv_mac_table_create(mac_limit, &n->macs);
	if (rc != 0) {
		free(n);
		return rc;
	}
	snprintf(n->name, sizeof(n->name), "%s", name);
	n->mac_age_s = mac_age_s;
	*network = n;
	return 0;
}

void xv_network_destroy(struct xv_network *network)
{
	if (network == NULL)
		return;
	free((void *)(uintptr_t)atomic_load(&network->members));
	xv_mac_table_destroy(network->macs);
	free(network);
}

int xv_network_set_members(struct xv_network *network, struct xv_port *const *ports, unsigned int n)
{
	struct xv_members *members = malloc(sizeof(*members) + n * sizeof(members->ports[0]));
	const struct xv_members *old;

	if (members == NULL)
		return -ENOMEM;
	members->n = n;
	memcpy(members->ports, ports, n * sizeof(members->ports[0]));
	old = atomic_exchange(&network->members, members);
	if (old != NULL)
		xv_rcu_defer(free, (void *)(uintptr_t)old);
	return 0;
}

void xv_network_set_gateway(struct xv_network *network, struct xv_port *port, const uint8_t mac[6])
{
	atomic_store(&network->gateway_key, port != NULL ? xv_mac_key(mac, 0) : 0);
	atomic_store(&network->gateway, port);
}

void xv_network_join_routed(struct xv_network *network)
{
	/* Far from where the count of a network alone can be: what holds by that one does not hold by this one. */
	static _Atomic uint32_t changes = UINT32_C(1) << 31;

	xv_mac_table_share_changes(network->macs, &changes);
}

void xv_network_age(struct xv_network *network)
{
	(void)xv_mac_table_age(network->macs, xv_network_now_s(), network->mac_age_s);
}
