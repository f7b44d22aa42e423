/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A load balancer: a virtual IP address and port, and the backends that connections to it are given
 * to. Class A: built by the control thread, never changed, freed after a grace period; a network's
 * gateway (gateway.h) has those of its network.
 *
 * Only the packet that opens a connection is decided here, by consistent hashing (table/maglev.h);
 * where it went, connection tracking remembers: by translating the destination (NAT), or, where the
 * backends have the virtual address themselves and answer directly (direct server return), by a
 * label with the backend's address. So a backend that goes takes only its own connections.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "fastpath/flow.h"
#include "net/flow_key.h"
#include "port/port.h"
#include "table/maglev.h"

struct xv_backend {
	union xv_ip_addr addr; /* on the balancer's network */
	rte_be16_t port;       /* NAT: what the virtual port becomes */
	bool reachable;        /* mac is known */
	uint8_t mac[6];
	_Atomic uint64_t *opened; /* connections that it was given; outlives the balancer */
};

struct xv_load_balancer {
	char name[XV_NAME_LEN];
	union xv_ip_addr addr;
	rte_be16_t port;
	uint8_t proto; /* TCP, UDP or SCTP */
	bool ipv6;
	bool direct; /* direct server return: only the MAC address is rewritten */
	unsigned int n;
	struct xv_backend *backends;
	uint16_t table[XV_MAGLEV_SIZE]; /* indices of those that take new connections */
};

/*
 * worker. A packet for the balancer's address and port, which connection tracking has seen in zone:
 * what is to be done next. mask is or-ed with the bits of key that this depended on, beyond those
 * that told the balancer.
 */
void xv_balancer_decide(const struct xv_load_balancer *lb, uint16_t zone,
			const struct xv_flow_key *key, struct xv_flow_key *mask,
			struct xv_decision *decision);
/* worker. The backend that a connection with this label was given to, or NULL: it is none of them
 * (any more). */
const struct xv_backend *xv_balancer_backend(const struct xv_load_balancer *lb,
					     const union xv_ip_addr *addr);
