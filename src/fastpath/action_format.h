/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The actions of a flow as text, in the syntax of `ovs-dpctl dump-flows`, with names for ports and for what only we have:
 *
 *   set(ipv4(dst=10.0.0.9)),push_vlan(vid=5,pcp=0),output(vm2)
 *   recirc(0x7)      forward      drop(policy)
 *
 * For operators and tests; nothing on the packet path. Any thread, no state.
 */
#pragma once

#include <stdbool.h>

#include "fastpath/action.h"
#include "net/flow_format.h"

/*
 * key: what packets of the flow look like (its match): it tells whether an address that is set is one of IPv4, IPv6 or
 * ARP. port_name may be NULL. As snprintf(): at most size bytes with the final zero; returns the length of the whole text, which was
 * truncated if that is not less than size.
 */
size_t xv_actions_format(char *buf, size_t size, const struct xv_actions *actions, const struct xv_flow_key *key,
			 xv_flow_port_name_fn port_name, void *arg);

/* Whether any of the actions, also in programs inside, sends to this port. */
bool xv_actions_output_to(const struct xv_actions *actions, uint32_t port);
