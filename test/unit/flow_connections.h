/* SPDX-License-Identifier: Apache-2.0 */
/* The flow engine's table of connections against the reference's own. One thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "fastpath/conntrack.h"

/* After xv_flows_init(). Another table, with the engine's secret, by which NAT makes its choice; policy 1 of both has short timeouts. */
int flow_connections_create(uint32_t now_ms, struct xv_conntrack **reference);
/* After a sweep. *n: how many there are. False, with the first that differs on stderr. */
bool flow_connections_are_same(struct xv_conntrack *reference, uint32_t now_ms, unsigned int *n);
/* One of them goes, from both. */
void flow_connections_delete(struct xv_conntrack *reference, uint32_t now_ms, unsigned int number);
