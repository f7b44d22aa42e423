/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Networks that span hosts: a VTEP is our end of tunnels (VXLAN, Geneve, GRE, NVGRE, MPLS over GRE or UDP; formats in
 * net/tunnel.h): an address of its own behind one uplink port or several. A tunnel leads from a VTEP to a remote one for
 * one network (VNI); towards the network it is a port of kind tunnel, a member like any other: frames are learned,
 * looked up, flooded (head-end replication) and judged by policies as everywhere else. What came out of a tunnel never
 * goes into one again (split horizon).
 *
 * Out: xv_tunnel_output() puts on the outer headers by the tunnel's template and sends to the uplink; flows are spread
 * over all uplinks that lead to the remote (paths). In: uplinks are bound to the VTEP, xv_vtep_burst() takes outer
 * headers off and hands the frames on as received by the tunnel's port. ARP, neighbour discovery and ICMP for our
 * address are the control thread's (underlay.c), which also resolves next hops and publishes the paths.
 *
 * Threads: configuration on the control thread; paths and receive table are class A, published and freed after a grace
 * period. The uplink's ledger counts what was decapsulated as forwarded, the tunnel port's as received (ledger.h).
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

#define XV_UPLINKS      8  /* of one VTEP */
#define XV_PATH_BUCKETS 64 /* power of two; flows are spread evenly enough over XV_UPLINKS */

/* Who may send to us, by what: (tunnel id, source) -> tunnel. Open addressing; immutable. */
struct xv_tunnel_entry {
	union xv_ip_addr remote; /* zero: any; tells whether the id is known at all */
	uint64_t id;             /* xv_tunnel_id(); 0 = free */
	struct xv_port *port;    /* of kind tunnel; NULL in entries for any source */
};

struct xv_tunnel_table {
	struct xv_decap_config decap; /* the types and UDP ports that the tunnels have */
	uint32_t mask;
	struct xv_tunnel_entry entries[];
};

/* What tells tunnels between the same two hosts apart. A GRE tunnel without key is not the one with key 0. */
static inline uint64_t xv_tunnel_id(enum xv_tunnel_type type, bool has_key, uint32_t key)
{
	return (uint64_t)type << 40 | (uint64_t)has_key << 32 | key;
}

enum xv_outer_csum {
	XV_OUTER_CSUM_AUTO, /* where receivers may insist: UDP over IPv6 (RFC 6936 section 4) */
	XV_OUTER_CSUM_ON,
	XV_OUTER_CSUM_OFF,
};

/* What outer headers are like. All zero: the defaults. */
struct xv_outer {
	uint16_t vlan; /* 802.1Q tag of the underlay; 0 = untagged */
	uint8_t ttl;   /* 0: 64 */
	uint8_t dscp;
	bool inherit_ttl, inherit_dscp; /* of the inner IP header, if there is one */
	bool no_df;			/* IPv4: routers may fragment */
	enum xv_outer_csum csum;
};

/* A port that leads to the underlay. */
struct xv_uplink {
	uint8_t mac[6]; /* read by workers; constant */
	/* control thread */
	struct xv_port *port; /* NULL: none */
	bool up;
};

struct xv_vtep {
	/* read by workers */
	union xv_ip_addr addr;
	bool ipv6;
	struct xv_outer outer;
	struct xv_uplink uplinks[XV_UPLINKS];
	_Atomic(const struct xv_tunnel_table *) table; /* never NULL */
	/* control thread */
	char name[XV_NAME_LEN];
	uint8_t prefix_len;
	bool has_gateway;
	union xv_ip_addr gateway;
	TAILQ_HEAD(, xv_neighbour) neighbours;
	TAILQ_HEAD(, xv_tunnel) tunnels;
	TAILQ_ENTRY(xv_vtep) entry;
};

/* One way to the remote. */
struct xv_path {
	struct xv_encap encap;
	uint16_t port; /* id of the uplink */
} __attribute__((aligned(64)));

/* All ways that there are now. Where one is lost, only its flows change their way. Class A. */
struct xv_paths {
	unsigned int n; /* at least 1 */
	uint8_t bucket[XV_PATH_BUCKETS]; /* of a flow -> index of its path */
	struct xv_path path[];
};

struct xv_tunnel_config {
	enum xv_tunnel_type type;
	bool has_key; /* GRE: with the VNI as key. The other types always have one */
	uint32_t vni; /* VXLAN, Geneve: VNI; NVGRE: VSID; GRE: key; MPLS: label */
	union xv_ip_addr remote;
	uint16_t udp_port; /* both ways; 0: the type's own */
	bool has_gbp;	   /* VXLAN: send this group policy id */
	uint16_t gbp;
};

struct xv_tunnel {
	_Atomic(const struct xv_paths *) paths; /* class A; NULL: no next hop is known */
	/* control thread */
	struct xv_vtep *vtep; /* outlives it */
	struct xv_port *port;
	struct xv_tunnel_config config;
	struct xv_neighbour *next_hop;
	TAILQ_ENTRY(xv_tunnel) entry;
};

struct xv_vtep_config {
	const char *name;
	bool ipv6;
	uint8_t prefix_len;
	union xv_ip_addr addr, gateway; /* IPv4: words[3] */
	bool has_gateway;
	struct xv_outer outer;
};

/* control, once, after EAL and RCU; fini: no VTEP is left. */
int xv_underlay_init(void);
void xv_underlay_fini(void);

/* control. */
int xv_vtep_create(const struct xv_vtep_config *config, struct xv_vtep **vtep);
/* control. It has no tunnels, and no binding refers to it after those deferred so far; freed after a grace period. */
void xv_vtep_destroy(struct xv_vtep *vtep);
/* control. Uplink number `index` (< XV_UPLINKS): a port bound to the VTEP under this number; NULL: none. Resolution starts
 * here. */
void xv_vtep_set_uplink(struct xv_vtep *vtep, unsigned int index, struct xv_port *port);
/* control. The port's state may have changed: if it is an uplink, tunnels follow. */
void xv_underlay_port_changed(const struct xv_port *port);
/* control. The port is about to go: no VTEP uses it any more. */
void xv_underlay_forget_port(const struct xv_port *port);
/* control. The tunnels that packets are accepted from become exactly those; 0 or -ENOMEM. */
int xv_vtep_publish(struct xv_vtep *vtep, const struct xv_tunnel *const *tunnels, unsigned int n);

/* control. port: of kind tunnel. Resolution starts here. -EINVAL: the id is none of that type of tunnel. */
int xv_tunnel_create(struct xv_vtep *vtep, const struct xv_tunnel_config *config, struct xv_port *port,
		     struct xv_tunnel **tunnel);
/* control. In no table, and no binding refers to it after those deferred so far; freed after a grace period. Accepts
 * NULL. */
void xv_tunnel_destroy(struct xv_tunnel *tunnel);

/* control, to show: where packets go first, and its MAC address behind this uplink if that is known. */
bool xv_tunnel_next_hop(const struct xv_tunnel *tunnel, unsigned int uplink, union xv_ip_addr *addr, uint8_t mac[6]);

/* control, when xv_flows_event_fd is readable: answer what workers handed over. True: there is more. */
bool xv_underlay_poll(void);
/* control, about once a second: look at uplinks; ask for next hops that are not known, and again for those that were not
 * heard of for long. */
void xv_underlay_tick(void);

/* ---- Workers ---- */

/* The entry, or the free one where it would be (id 0). */
const struct xv_tunnel_entry *xv_tunnel_table_slot(const struct xv_tunnel_table *table, uint64_t id,
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
