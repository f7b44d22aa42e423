/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A port of kind internal: what is sent to it is for the daemon itself, and waits for the control
 * thread. It receives nothing; what the daemon has to say is injected (fastpath/worker.h). Bounded:
 * who sends more than is taken has it dropped (tx-full).
 */
#pragma once

#include <stdint.h>

#include <rte_mbuf.h>

#include "port/port.h"

/* control. Readable when packets wait. */
int xv_internal_port_fd(const struct xv_port *port);
/* control. Take up to n packets; they are the caller's, m->port is where they came in. Less than n:
 * more make it readable again. */
uint16_t xv_internal_port_take(struct xv_port *port, struct rte_mbuf **pkts, uint16_t n);
