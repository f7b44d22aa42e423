/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Three dummy ports, a worker without a thread, a network, a stopped clock: for tests of connections and rules in flows.
 */
#pragma once

#include <stdint.h>

#include "ct_frame.h"
#include "fastpath/firewall.h"
#include "fastpath/network.h"
#include "fastpath/worker.h"
#include "net/drop.h"
#include "port/port.h"

#define PORTS 3
#define ZONE 5

struct ct_rig {
	struct xv_worker *worker;
	struct xv_network *network;
	struct xv_port *ports[PORTS];
};
extern struct ct_rig ct_rig;

/* From port 0, where its source is, to port 1. */
extern const struct ct_frame ct_rig_question;

int ct_rig_group_setup(void **state);
int ct_rig_setup(void **state);
/* Checks the ledgers. */
int ct_rig_teardown(void **state);

void ct_rig_run(void);
/* Until nothing waits to become a flow, or to be freed. */
void ct_rig_settle(void);
/* Until all that fused flows have counted is credited. */
void ct_rig_sweep(void);
uint32_t ct_rig_now_ms(void);

/* From port 0 to port 1, or back. */
void ct_rig_send(const struct ct_frame *f);
void ct_rig_ask(unsigned int n);
void ct_rig_answer(unsigned int n);
/* Packets that the port has sent since the last call. */
unsigned int ct_rig_taken(unsigned int port);
uint64_t ct_rig_dropped(unsigned int port, enum xv_drop reason);

/* Of fused flows. */
uint64_t ct_rig_hits(void);
uint64_t ct_rig_inserted(void);
/* First packets of connections that had an entry. */
uint64_t ct_rig_first_hits(void);

/* A port of the network, on which connections are tracked; firewall: its own, or NULL. */
void ct_rig_bind_network(unsigned int port, const struct xv_firewall *firewall);
