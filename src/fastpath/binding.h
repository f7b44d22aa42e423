/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is done with the packets of a port: the one thing that the control thread decides per port.
 * Class A: a binding is built, published with xv_port_bind(), never changed, freed after a grace period.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "port/port.h"

struct xv_firewall;
struct xv_gateway;
struct xv_network;
struct xv_policy;
struct xv_rate_limit;
struct xv_tunnel;
struct xv_vtep;

enum xv_forward {
	XV_FORWARD_NETWORK, /* MAC-learning bridge domain */
	XV_FORWARD_WIRE,    /* everything to the peer, no look-up, nothing parsed */
	XV_FORWARD_FLOWS,   /* flows decide, and only they */
	XV_FORWARD_DATAPATH, /* flows decide; what they do not know goes to the slow path (upcall.h) */
	XV_FORWARD_VTEP,    /* uplink: tunnel packets to the VTEP's address */
};

struct xv_binding {
	uint32_t version; /* set by xv_port_bind(): tells decisions made under it from others */
	enum xv_forward forward;
	struct xv_network *network; /* NETWORK; outlives the binding */
	struct xv_port *peer;	    /* WIRE; outlives the binding */
	/* NETWORK: untagged frames belong to `vlan` (0: to the untagged domain). With trunk, tagged
	 * frames of the VLANs in trunk_vlans pass with their tag; without it tagged frames are
	 * dropped if vlan != 0 (access port), and pass through by their tag if vlan == 0 (transparent). */
	uint16_t vlan;
	bool trunk;
	uint64_t trunk_vlans[4096 / 64]; /* bit per VLAN id */
	/* NULL = unlimited. Class C: shared with other queues' workers; outlive the binding. */
	struct xv_rate_limit *rx_limit; /* what the port receives from its VM: held back, not dropped */
	struct xv_rate_limit *tx_limit; /* what is sent to the VM: dropped beyond the limit */
	/* NETWORK; NULL = everything is allowed. They outlive the binding. */
	const struct xv_policy *egress_policy;	/* what the VM sends */
	const struct xv_policy *ingress_policy; /* what goes to the VM */
	/* NETWORK: security groups of the port; NULL = none. Outlives the binding. */
	const struct xv_firewall *firewall;
	/* NETWORK: of the network's internal port; NULL: not built yet. Outlives the binding. */
	const struct xv_gateway *gateway;
	bool has_gateway; /* the network has one: flows decide, and its packets can be for it */
	bool balanced;	  /* it has load balancers: what answers to them is translated back */
	bool tracked; /* some port of the network has a firewall, or it is balanced: connections are tracked, in this zone */
	uint16_t zone;
	uint32_t timeouts; /* of the connections (conntrack.h); 0: default ones */
	/* Port of kind tunnel, in a network: where it leads (fastpath/vtep.h). Outlives the binding. */
	struct xv_tunnel *tunnel;
	struct xv_vtep *vtep; /* VTEP; outlives the binding */
	uint8_t uplink;	      /* VTEP: which of its uplinks the port is */
};

/* control. Publish binding (ownership passes; plain malloc memory) or NULL; the old one is freed after
 * a grace period. */
void xv_port_bind(struct xv_port *port, struct xv_binding *binding);
