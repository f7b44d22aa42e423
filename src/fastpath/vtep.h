/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Networks that span hosts: a VTEP is our end of tunnels (VXLAN, RFC 7348; Geneve, RFC 8926; NVGRE, RFC 7637): an
 * address of its own behind one uplink port. A tunnel leads from a VTEP to a remote one for one network (VNI); towards
 * the network it is a port of kind tunnel, a member like any other: frames are learned, looked up, flooded (head-end
 * replication) and judged by policies as everywhere else. What came out of a tunnel never goes into one again (split
 * horizon).
 *
 * Out: xv_tunnel_output() puts on the outer headers by the tunnel's template and sends to the uplink. In: the uplink is
 * bound to the VTEP, xv_vtep_burst() takes outer headers off and hands the frames on as received by the tunnel's port.
 * ARP, neighbour discovery and ICMP for our address are the control thread's (underlay.c), which also resolves next
 * hops and publishes the templates.
 *
 * Threads: configuration on the control thread; template and receive table are class A, published and freed after a
 * grace period. The uplink's ledger counts what was decapsulated as forwarded, the tunnel port's as received
 * (ledger.h).
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "fastpath/binding.h"
#include "net/tunnel.h"

struct xv_neighbour;
struct xv_worker;

#define XV_NO_UPLINK UINT16_MAX

/* Who may send to us, by what: (type, VNI, source) -> tunnel. Open addressing; immutable. */
struct xv_tunnel_entry {
	union xv_ip_addr remote; /* zero: any; tells whether the VNI is known at all */
	uint32_t vni;
	uint8_t type;         /* enum xv_tunnel_type; 0 = free */
	struct xv_port *port; /* of kind tunnel; NULL in entries for any source */
};

struct xv_tunnel_table {
	uint32_t mask;
	struct xv_tunnel_entry entries[];
};

struct xv_vtep {
	/* read by workers */
	union xv_ip_addr addr;
	bool ipv6;
	uint8_t mac[6];
	_Atomic uint16_t uplink; /* port id, or XV_NO_UPLINK */
	struct xv_decap_config decap;
	_Atomic(const struct xv_tunnel_table *) table; /* NULL = empty */
	/* control thread */
	char name[XV_NAME_LEN];
	uint8_t prefix_len;
	bool has_gateway;
	union xv_ip_addr gateway;
	struct xv_port *uplink_port;
	TAILQ_HEAD(, xv_neighbour) neighbours;
	TAILQ_HEAD(, xv_tunnel) tunnels;
	TAILQ_ENTRY(xv_vtep) entry;
};

struct xv_tunnel {
	_Atomic(const struct xv_encap *) encap; /* class A; NULL: the next hop is not known */
	struct xv_vtep *vtep;                   /* outlives it */
	/* control thread */
	struct xv_port *port;
	enum xv_tunnel_type type;
	uint32_t vni;
	union xv_ip_addr remote;
	struct xv_neighbour *next_hop;
	TAILQ_ENTRY(xv_tunnel) entry;
};

struct xv_vtep_config {
	const char *name;
	bool ipv6;
	uint8_t prefix_len;
	union xv_ip_addr addr, gateway; /* IPv4: words[3] */
	bool has_gateway;
};

/* control, once, after EAL and RCU; fini: no VTEP is left. */
int xv_underlay_init(void);
void xv_underlay_fini(void);

/* control. */
int xv_vtep_create(const struct xv_vtep_config *config, struct xv_vtep **vtep);
/* control. It has no tunnels, and no binding refers to it after those deferred so far; freed after a grace period. */
void xv_vtep_destroy(struct xv_vtep *vtep);
/* control. The port that leads to the underlay, bound to the VTEP; NULL: none. Resolution starts here. */
void xv_vtep_set_uplink(struct xv_vtep *vtep, struct xv_port *port);
/* control. The port is about to go: no VTEP uses it any more. */
void xv_underlay_forget_port(const struct xv_port *port);
/* control. The tunnels that packets are accepted from become exactly those; 0 or -ENOMEM. */
int xv_vtep_publish(struct xv_vtep *vtep, const struct xv_tunnel *const *tunnels, unsigned int n);

/* control. port: of kind tunnel. Resolution starts here. -EINVAL: the id is none of that type of tunnel. */
int xv_tunnel_create(struct xv_vtep *vtep, enum xv_tunnel_type type, uint32_t vni, const union xv_ip_addr *remote,
		     struct xv_port *port, struct xv_tunnel **tunnel);
/* control. In no table, and no binding refers to it after those deferred so far; freed after a grace period. Accepts
 * NULL. */
void xv_tunnel_destroy(struct xv_tunnel *tunnel);

/* control, to show: where packets go first, and its MAC address if that is known. */
bool xv_tunnel_next_hop(const struct xv_tunnel *tunnel, union xv_ip_addr *addr, uint8_t mac[6]);

/* control, when xv_flows_event_fd is readable: answer what workers handed over. True: there is more. */
bool xv_underlay_poll(void);
/* control, about once a second: ask for next hops that are not known, and again for those that were not heard of for
 * long. */
void xv_underlay_tick(void);

/* ---- Workers ---- */

/* The entry, or the free one where it would be (type 0). */
const struct xv_tunnel_entry *xv_tunnel_table_slot(const struct xv_tunnel_table *table, uint8_t type, uint32_t vni,
						   const union xv_ip_addr *remote);

/* pipeline.c: a burst that came in by the uplink; counted in already. Takes the packets. */
void xv_vtep_burst(struct xv_worker *w, struct xv_port *in, const struct xv_binding *binding, struct rte_mbuf **pkts,
		   uint16_t n);
/* pipeline.c: packets for the port of a tunnel. Takes them. */
void xv_tunnel_output(struct xv_worker *w, struct xv_port *out, const struct xv_binding *binding,
		      struct rte_mbuf **pkts, uint16_t n);
/* worker.c, once a round while packets wait for a next hop: those that can go, go. */
void xv_tunnel_waiting(struct xv_worker *w);
/* worker_control.c: all that wait are dropped; the worker's thread is gone. */
void xv_tunnel_waiting_drop(struct xv_worker *w);
