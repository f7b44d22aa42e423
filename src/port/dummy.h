/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A port for tests: what is put in comes out of rx(), what is sent is kept to be looked at. Bounded
 * queues, so that back-pressure can be tested. Control thread of a test with manual workers.
 */
#pragma once

#include "port/port.h"

/* Put a packet into the port's receive queue (ownership passes); -ENOSPC when 1024 wait. */
int xv_dummy_put(struct xv_port *port, uint16_t queue, struct rte_mbuf *m);
/* Take the next packet sent to the port, or NULL. The caller frees it. */
struct rte_mbuf *xv_dummy_take(struct xv_port *port);
/* Room for n more packets, then tx() says XV_DROP_TX_FULL. Default 4096. */
void xv_dummy_set_room(struct xv_port *port, unsigned int n);
void xv_dummy_set_up(struct xv_port *port, bool up);
void xv_dummy_set_caps(struct xv_port *port, uint32_t caps);
