/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A network over tunnels, with dummy ports and a worker without a thread: a VTEP with an uplink or two, two VMs, tunnels to
 * two remote hosts. Hosts are 192.0.2.N or 2001:db8::N, the VTEP is 1, the remotes are 2 and 3. One at a time; teardown
 * checks that ledgers balance and no packet is lost.
 */
#pragma once

#include "unit.h"

#include "fastpath/ledger.h"
#include "fastpath/vtep.h"
#include "fastpath/worker.h"
#include "port/dummy.h"

enum { UPLINK, VM1, VM2, TUNNEL2, TUNNEL3, UPLINK2, PORTS };
#define N_DEVICES 4
#define VNI       100

struct xv_policy;

struct rig_config {
	bool ipv6;
	struct xv_tunnel_config tunnel; /* remote: set by the rig; vni 0 without has_key: VNI, but for GRE */
	struct xv_outer outer;
	unsigned int uplinks; /* 0: one */
};

extern struct rig {
	struct xv_worker *worker;
	struct xv_network *network;
	struct xv_vtep *vtep;
	struct xv_tunnel *tunnels[2];
	struct xv_port *ports[PORTS];
	unsigned int mbufs_before;
	bool ipv6;
	uint16_t vlan;
} rig;

extern const uint8_t mac_a[6], mac_b[6], broadcast[6], remote_mac[6];

int rig_group_setup(void **state);
int rig_start(const struct rig_config *config);
int rig_teardown(void **state);

union xv_ip_addr rig_host(uint8_t n);
void rig_bind_port(unsigned int port, const struct xv_policy *egress, const struct xv_policy *ingress);
struct xv_ledger rig_ledger(unsigned int port);
void rig_check_ledger(unsigned int port);
uint64_t rig_dropped(unsigned int port, enum xv_drop reason);

/* A few rounds of worker and control thread. */
void rig_run(void);
struct rte_mbuf *rig_packet(const uint8_t *bytes, uint32_t len);
/* As if the device had received it. */
void rig_put(unsigned int port, const uint8_t *bytes, uint32_t len);
/* The oldest that was sent: its bytes, in one piece; 0 = none. Room for 2048. */
uint32_t rig_take(unsigned int port, uint8_t *bytes);
/* How many were sent; they are gone then. */
unsigned int rig_taken(unsigned int port);

/* Make frames; their lengths. An inner one, of no protocol. */
uint32_t rig_frame(uint8_t *p, const uint8_t *dst, const uint8_t *src, uint32_t len);
/* An IPv4 UDP frame with this TOS and destination port. */
uint32_t rig_udp_frame(uint8_t *p, const uint8_t *dst, const uint8_t *src, uint8_t tos, uint16_t port);
/* What a remote sends over IPv4: VXLAN headers of 50 bytes in front of what lies there already. */
uint32_t rig_outer(uint8_t *p, uint32_t inner_len, uint8_t from, uint32_t vni, uint8_t tos);
uint32_t rig_arp(uint8_t *p, uint8_t op, const uint8_t *dst, const uint8_t *mac, uint8_t from, uint8_t target);

/* Such a VXLAN packet of an inner frame comes in. */
void rig_receive(uint8_t from, uint32_t vni, const uint8_t *dst, const uint8_t *src);
/* Both remotes say where they are; what was asked before is taken away. */
void rig_resolve(void);
/* The same behind one of two uplinks. */
void rig_resolve_by(unsigned int port);
