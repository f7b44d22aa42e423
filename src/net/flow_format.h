/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A flow key and its mask as text, in the syntax of `ovs-dpctl dump-flows`:
 *
 *   recirc_id(0),in_port(vm1),eth(src=..,dst=..),eth_type(0x0800),ipv4(src=10.0.0.0/255.0.0.0,frag=no)
 *
 * For operators, logs and tests; nothing on the packet path. Any thread, no state.
 */
#pragma once

#include "net/flow_key.h"

/* A buffer of this size holds any flow, if its port's name has not more than 1000 characters. */
#define XV_FLOW_TEXT_SIZE 6144

/* Name of a port by its index, or NULL if it has none: then the number is printed. */
typedef const char *(*xv_flow_port_name_fn)(uint32_t port, void *arg);

/*
 * Write key as far as mask compares it; mask NULL: all of key ("skb_priority(0),skb_mark(0),..." as OVS shows the key
 * of a packet). port_name may be NULL. As snprintf(): at most size bytes with the final zero; returns the length of the
 * whole text, which was truncated if that is not less than size.
 */
size_t xv_flow_format(char *buf, size_t size, const struct xv_flow_key *key, const struct xv_flow_key *mask,
		      xv_flow_port_name_fn port_name, void *arg);
