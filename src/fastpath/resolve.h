/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decide about a packet that no flow matches, from the configuration of built-in networks. Pure: reads class A objects,
 * changes nothing. Two questions, told apart by recirc_id: may the packet leave its sender (egress policy), and may it go
 * to the port that the MAC table chose (ingress policy)?
 */
#pragma once

#include <stdbool.h>

#include "fastpath/binding.h"
#include "fastpath/flow.h"

/* worker. mask is or-ed with the bits of key that the decision depends on. False: nobody here decides. */
bool xv_resolve(const struct xv_port *in, const struct xv_binding *binding, const struct xv_flow_key *key,
		struct xv_flow_key *mask, struct xv_decision *decision);
