/* SPDX-License-Identifier: Apache-2.0 */
/* Traffic for tests of the flow engine: connections of many kinds, and packets of theirs that vary, from a seed. */
#pragma once

#include <stdbool.h>
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
	CONN_TUNNEL, /* one of the above, in VXLAN, Geneve or GRE */
	CONN_BROKEN, /* any of the above, mutilated */
};

/* How far a TCP connection is; both its sides share it. */
struct flow_dialogue {
	enum { DIALOGUE_CLOSED, DIALOGUE_SYN, DIALOGUE_SYNACK, DIALOGUE_OPEN } phase;
	uint32_t next[2]; /* sequence numbers */
	bool fin[2];
};

struct flow_conn {
	enum flow_conn_kind kind;
	struct flow_dialogue *dialogue; /* NULL: its segments are any */
	uint8_t side;
	uint8_t tags;
	uint16_t tpid[3], tci[3];
	uint8_t dst[6], src[6], ip_src[16], ip_dst[16];
	uint16_t tp_src, tp_dst;
	/* CONN_TUNNEL: what is in it, and its outer headers. */
	enum flow_conn_kind inner;
	enum { OUTER_VXLAN, OUTER_GENEVE, OUTER_GRE } outer;
	bool outer_ipv6, outer_tag;
	uint8_t remote, ttl, option; /* option: 0: none */
	uint16_t vni, entropy;
};

void flow_conn_init(struct rnd *rnd, struct flow_conn *conn);
/* Two ends of one connection, of a kind that connection tracking knows; TCP: a dialogue. */
void flow_conn_init_pair(struct rnd *rnd, struct flow_conn *conn, struct flow_conn *other, struct flow_dialogue *dialogue);
/* One of its packets: lengths, TTL, TOS, TCP flags, checksums (right, wrong, none, to be finished) vary. */
void flow_conn_packet(struct rnd *rnd, const struct flow_conn *conn, struct ref_packet *packet);
/* What whoever got these bytes would answer: the same way back, TCP with the right numbers. False: nothing. */
bool flow_answer(const uint8_t *bytes, uint32_t len, struct ref_packet *packet);
