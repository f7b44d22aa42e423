/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control thread's side of VTEPs, private to this folder: next hops (underlay.c) and the packets that ask for them
 * and answer for our address (underlay_packets.c). Workers hand over packets for a VTEP's own address in a bounded
 * ring.
 */
#pragma once

#include <rte_ring.h>

#include "fastpath/vtep.h"

struct rte_mbuf;

#define XV_UNDERLAY_RING 256 /* a storm of them ends here */

/* workers -> control: the packet itself; m->port is the uplink's id. NULL before xv_underlay_init(). */
extern struct rte_ring *xv_underlay_ring;

/* A neighbour as one uplink sees it. */
struct xv_hop {
	uint8_t mac[6];
	bool known;
	unsigned int tries; /* requests since it was last heard of */
	uint64_t confirmed_ns, asked_ns;
};

/* A next hop. It lives as long as tunnels use it. */
struct xv_neighbour {
	TAILQ_ENTRY(xv_neighbour) entry;
	union xv_ip_addr addr;
	unsigned int users;
	struct xv_hop hops[XV_UPLINKS];
};

/* Who has the address? Asked by one uplink. mac: the one it had, NULL = ask everybody. */
void xv_underlay_ask(const struct xv_vtep *v, const struct xv_uplink *uplink, const union xv_ip_addr *addr,
		     const uint8_t *mac);
/* Tell the neighbours which MAC address we have now. */
void xv_underlay_announce(const struct xv_vtep *v, const struct xv_uplink *uplink);
/* A packet that came in by this uplink of the VTEP: answered, learned from, or neither. Takes it. */
void xv_underlay_receive(struct xv_vtep *v, const struct xv_uplink *uplink, struct rte_mbuf *m);
/* underlay.c: a neighbour has said which MAC address it has. */
void xv_underlay_learn(struct xv_vtep *v, const struct xv_uplink *uplink, const union xv_ip_addr *addr,
		       const uint8_t mac[6]);
