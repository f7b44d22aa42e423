/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A datapath as Open vSwitch knows it: a name, ports by number, flows. It lives in xviod, whoever asks for it comes and goes.
 * Ports are dynamic ports of the host (control/txn.h), named NAME@DATAPATH there. Control thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/err.h"
#include "control/host.h"
#include "fastpath/tx_queue.h"
#include "ovs/protocol.h"

#define XV_OVS_NUMBERS 65536 /* of ports; 0 is the local port */

struct xv_ovs_bond;
struct xv_ovs_flows;
struct xv_ovs_upcalls;

struct xv_ovs_port {
	uint32_t number;
	uint32_t id; /* of the xv_port */
	enum xv_ovs_port_kind kind;
	enum xv_ovs_tunnel tunnel; /* TUNNEL: what it is ... */
	uint16_t udp_port;	   /* ... host order */
	bool gbp;
	char name[XV_NAME_LEN];
	void *items; /* of the request that made it so, for whoever wants to know */
	uint32_t items_len;
	bool away; /* it has no device at present, or soon */
};

struct xv_ovs_datapath {
	TAILQ_ENTRY(xv_ovs_datapath) entry;
	struct xv_host *host;
	char name[XV_NAME_LEN];
	struct xv_ovs_port *by_number[XV_OVS_NUMBERS];
	struct xv_ovs_port *by_id[XV_MAX_PORTS];
	struct xv_ovs_flows *flows;
	struct xv_ovs_upcalls *upcalls;
	struct xv_ovs_bond *bonds;
	uint64_t missed;	 /* upcalls that came because no flow matched */
	uint64_t gone_rx, gone_lost; /* of ports that are gone: received, dropped for want of room for an upcall */
};

/* 0 or -ENOMEM. */
int xv_ovs_datapath_create(struct xv_host *host, const char *name, struct xv_ovs_datapath **dp);
/* With ports and flows. */
void xv_ovs_datapath_destroy(struct xv_ovs_datapath *dp);
/* Of all datapaths, or NULL. */
struct xv_ovs_datapath *xv_ovs_datapath_lookup(const char *name);
struct xv_ovs_datapath *xv_ovs_datapath_first(void);
/* The datapath that a port with this id belongs to, or NULL. */
struct xv_ovs_datapath *xv_ovs_datapath_of(uint32_t port_id);

struct xv_ovs_port_config {
	const char *name, *socket, *device;
	const void *items; /* of the request */
	uint32_t items_len;
	enum xv_ovs_port_kind kind;
	enum xv_ovs_tunnel tunnel;
	uint32_t number; /* UINT32_MAX: any */
	uint32_t queues, mtu;
	uint64_t limit_bps, limit_pps;
	uint32_t limit_burst_ms;
	uint64_t tx_bps;
	uint32_t tx_burst_ms;
	struct xv_tx_queue_config tx_queues[XV_OVS_QUEUES_MAX];
	unsigned int n_tx_queues;
	uint16_t udp_port;
	bool client, gbp;
};
/* 0; -EEXIST, -EBUSY, or what the device says, with a sentence. */
int xv_ovs_port_add(struct xv_ovs_datapath *dp, const struct xv_ovs_port_config *config, uint32_t *number,
		    struct xv_err *err);
/* The port of that name becomes this one; kind and number stay. A new device has no flows any more. 0; -ENODEV, -EINVAL: another
 * kind, or what the device says, with a sentence: then it is as it was, or gone if its device could not be made anew. */
int xv_ovs_port_set(struct xv_ovs_datapath *dp, const struct xv_ovs_port_config *config, struct xv_err *err);
/* With the flows that match it. -ENODEV. */
int xv_ovs_port_del(struct xv_ovs_datapath *dp, uint32_t number);
struct xv_ovs_port *xv_ovs_port_by_number(const struct xv_ovs_datapath *dp, uint32_t number);
struct xv_ovs_port *xv_ovs_port_by_name(const struct xv_ovs_datapath *dp, const char *name, uint32_t len);
/* The device, or NULL. */
struct xv_host_port *xv_ovs_port_device(const struct xv_ovs_datapath *dp, const struct xv_ovs_port *port);

/* Of packets as they come in; not of those that are looked up again. */
void xv_ovs_datapath_get_stats(const struct xv_ovs_datapath *dp, struct xv_ovs_dp_stats *stats);

/* From numbers to ids and back; XV_FLOW_PORT_NONE and UINT32_MAX for those that are none. */
uint32_t xv_ovs_port_id(const struct xv_ovs_datapath *dp, uint32_t number);
uint32_t xv_ovs_port_number(const struct xv_ovs_datapath *dp, uint32_t id);
