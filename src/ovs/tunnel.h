/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OVS's native tunnels: it finds next hops itself and says which outer headers go in front, byte by byte; and on which packets
 * they are to come off. Control thread.
 */
#pragma once

#include "fastpath/action.h"
#include "ovs/attributes.h"

struct xv_ovs_datapath;

int xv_ovs_tunnel_push(const struct xv_ovs_datapath *dp, const struct nlattr *a, struct xv_actions_builder *b,
		       struct xv_err *err);
int xv_ovs_tunnel_pop(const struct xv_ovs_datapath *dp, uint32_t number, bool last, struct xv_actions_builder *b,
		      struct xv_err *err);
