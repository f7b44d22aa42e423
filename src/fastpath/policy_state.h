/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a compiled policy looks like: policy_compile.c writes it, policy.c reads it, nobody else looks into it.
 *
 * The key is cut into lanes of 16 bits. 64 rules are a block, and a block has one column for each lane that any of its
 * rules looks at. All columns are alike, so that the loops over them are nothing but vector operations; a lane that no
 * rule of a block uses costs nothing.
 *
 * IPv4, IPv6 and the rest have a list each: a rule is in those whose packets it can match.
 *
 * What the answer depends on is computed ahead: for each rule of a list the bits that it and all before it look at.
 */
#pragma once

#include "fastpath/policy.h"

#define XV_POLICY_BLOCK 64 /* rules */
#define XV_POLICY_LOGS  0x80
#define ETH_IPV4        0x0800
#define ETH_IPV6        0x86dd

enum {
	PROTO_ICMP = 1,
	PROTO_TCP = 6,
	PROTO_UDP = 17,
	PROTO_ICMPV6 = 58,
	PROTO_SCTP = 132,
};

/* What of the transport header is there, in the lane of the protocol. */
#define HAS_PORTS     0x0100
#define HAS_SOME_PORT 0x0200 /* not both of them are zero */
#define HAS_ICMP      0x0400

/* In the order in which they are compared: what tells most rules from each other comes first. */
enum {
	LANE_IP_DST, /* IPv4: the first two of eight */
	LANE_IP_SRC = LANE_IP_DST + 8,
	LANE_PROTO = LANE_IP_SRC + 8,
	LANE_VLAN,
	LANE_ETH_TYPE,
	LANE_ETH_SRC,
	LANE_ETH_DST = LANE_ETH_SRC + 3,
	LANE_MASKED_END = LANE_ETH_DST + 3,
	/* These are compared with a range. ICMP: type and code. */
	LANE_SRC_PORT = LANE_MASKED_END,
	LANE_DST_PORT,
	LANES,
};

/* One lane of a block: value and mask, or the least value of a range and how many follow. */
struct xv_policy_column {
	uint16_t value[XV_POLICY_BLOCK], mask[XV_POLICY_BLOCK];
};

/* The fields of struct xv_flow_key that a policy looks at. */
struct xv_policy_mask {
	union xv_ip_addr ip_src, ip_dst;
	uint8_t eth_src[6], eth_dst[6];
	rte_be16_t eth_type, vlan_tci;
	uint8_t ip_proto, ip_frag;
	rte_be16_t tp_src, tp_dst;
};

enum xv_policy_family { IPV4, IPV6, OTHER, FAMILIES };

struct xv_policy_list {
	uint32_t n, n_blocks;
	uint32_t *lanes;                  /* of each block: bit per column it has */
	struct xv_policy_column *columns; /* of all blocks, each block's by lane */
	uint32_t *rules;                  /* index in the policy */
	uint16_t *masks;                  /* index in key_masks, of each rule, and of "otherwise" behind them */
	struct xv_policy_mask *key_masks;
	uint32_t n_key_masks;
};

struct xv_policy {
	struct xv_policy_list lists[FAMILIES];
	uint32_t (*scan)(const struct xv_policy_list *list, const uint16_t lanes[LANES]);
	uint32_t (*needed)(const struct xv_policy_list *list, const uint16_t lanes[LANES], uint32_t position);
	uint32_t n;
	enum xv_verdict otherwise;
	uint8_t *verdicts; /* enum xv_verdict, perhaps with XV_POLICY_LOGS */
	char (*names)[XV_POLICY_NAME_SIZE];
	char name[XV_POLICY_NAME_SIZE];
};

/* control. Scan lists in the way that this CPU is best at, or in the one that all have. */
void xv_policy_choose_scan(struct xv_policy *p, bool plain);

static inline void xv_policy_mask_bytes(uint8_t *to, const uint8_t *from, unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n; i++)
		to[i] |= from[i];
}
