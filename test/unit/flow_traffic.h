/* SPDX-License-Identifier: Apache-2.0 */
/* Traffic for tests of the flow engine: connections of many kinds, and packets of theirs that vary, from a seed. */
#pragma once

#include <stdint.h>

#include "flow_reference.h"

struct rnd {
	uint64_t state;
};

/* Below n, which is not 0 (SplitMix64). */
uint32_t rnd_below(struct rnd *rnd, uint32_t n);

enum flow_conn_kind {
	CONN_UDP4,
	CONN_TCP4,
	CONN_ICMP4,
	CONN_UDP6,
	CONN_TCP6,
	CONN_ICMP6,
	CONN_ND,
	CONN_ARP,
	CONN_FRAGMENT4,
	CONN_FRAGMENT6,
	CONN_SCTP4,
	CONN_SCTP6,
	CONN_OPTIONS4,
	CONN_EXTENSIONS6,
	CONN_MPLS,
	CONN_OTHER, /* local experimental Ethernet type */
	CONN_802_3, /* a length for a type; with SNAP or without */
	CONN_BROKEN, /* any of the above, mutilated */
};

struct flow_conn {
	enum flow_conn_kind kind;
	uint8_t tags;
	uint16_t tpid[3], tci[3];
	uint8_t dst[6], src[6], ip_src[16], ip_dst[16];
	uint16_t tp_src, tp_dst;
};

void flow_conn_init(struct rnd *rnd, struct flow_conn *conn);
/* One of its packets: lengths, TTL, TOS, TCP flags, checksums (right, wrong, none, to be finished) vary. */
void flow_conn_packet(struct rnd *rnd, const struct flow_conn *conn, struct ref_packet *packet);
