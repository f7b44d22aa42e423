/* SPDX-License-Identifier: Apache-2.0 */
/* What a connection's two tuples say about its translation. Private to conntrack*.c. */
#pragma once

#include "fastpath/conntrack_state.h"

/* XV_CONN_SNAT, XV_CONN_DNAT: what replies show of the client, or of the server, is not what the client sent. */
static inline uint8_t xv_ct_nat_flags(const struct xv_ct_tuple *original, const struct xv_ct_tuple *reply)
{
	struct xv_ct_tuple plain;
	uint8_t flags = 0;

	xv_ct_tuple_reverse(original, &plain);
	if (memcmp(&plain.src, &reply->src, sizeof(plain.src)) != 0)
		flags |= XV_CONN_DNAT;
	if (memcmp(&plain.dst, &reply->dst, sizeof(plain.dst)) != 0)
		flags |= XV_CONN_SNAT;
	if (original->proto == (original->ipv6 ? 58 : 1)) {
		/* The identifier is the client's choice, as a source port is. */
		if (plain.src_port != reply->src_port && flags == 0)
			flags = XV_CONN_SNAT;
		return flags;
	}
	if (plain.src_port != reply->src_port)
		flags |= XV_CONN_DNAT;
	if (plain.dst_port != reply->dst_port)
		flags |= XV_CONN_SNAT;
	return flags;
}

/*
 * Make the tuple of replies unique by another source port (or ICMP identifier) for the client, of the class that its
 * own is of (below 512, below 1,024, others). The client's own is tried first. 0, or -ENOSPC.
 */
int xv_ct_nat_make_unique(struct xv_ct_tuple *reply, bool (*taken)(const struct xv_ct_tuple *reply, void *arg),
			  void *arg, uint64_t random);
