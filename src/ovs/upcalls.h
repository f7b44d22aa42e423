/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packets that wait for ovs-vswitchd: a queue for each port, filled from the workers' rings, emptied by handlers that ask for
 * a batch, one packet of each port in turn. A handler asks again when it has dealt with its batch, so a port that floods
 * waits in its own queue, whose length fastpath/upcall.h bounds. Control thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <event2/event.h>

struct xv_ovs_datapath;
struct xv_ovs_message;
struct xv_ovs_upcalls;

struct xv_ovs_upcalls *xv_ovs_upcalls_create(struct xv_ovs_datapath *dp);
/* Accepts NULL. */
void xv_ovs_upcalls_destroy(struct xv_ovs_upcalls *u);
/* Whether ovs-vswitchd wants them; if not, those that wait are dropped. */
void xv_ovs_upcalls_set(struct xv_ovs_upcalls *u, bool on);
void xv_ovs_upcalls_forget_port(struct xv_ovs_upcalls *u, uint32_t port_id);
/* Put a batch for this handler; how many. */
unsigned int xv_ovs_upcalls_put(struct xv_ovs_upcalls *u, uint32_t handler, uint32_t handlers, struct xv_ovs_message *m);

/* Take what workers have sent into the queues, of all datapaths. True: there is more. */
bool xv_ovs_upcalls_collect(void);
