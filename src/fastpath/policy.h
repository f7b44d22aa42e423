/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A policy: an ordered list of allow and deny rules without state; the first one that matches a packet decides, else
 * what the policy says for "otherwise". Class A: built by the control thread, never changed, freed after a grace
 * period; bindings point to it (fastpath/binding.h), one policy may serve many ports in both directions.
 *
 * Only the flow key is looked at (net/flow_key.h), so the answer holds for a whole flow, and a check says which bits of
 * the key it took: a cached flow with that mask needs no check any more.
 *
 * What rules can not see, they do not match:
 * - Ports are those of TCP, UDP and SCTP. Later fragments have none, nor have packets whose transport header is cut off
 *   or malformed: a rule with a port range does not match them. (The key shows a missing header as two zero ports; a
 *   packet that really has two zero ports is taken for one without.) A policy that denies by port and allows the rest
 *   therefore lets later fragments through; one that allows by port and denies the rest does not.
 * - ICMP type and code are those of ICMP in IPv4 and of ICMPv6 in IPv6; later fragments have none. A message too short
 *   to have them reads as type 0, code 0.
 * - Addresses and protocol are those of IPv4 and IPv6, not of ARP, nor of what lies behind MPLS or NSH.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "net/flow_key.h"

#define XV_POLICY_NAME_SIZE 64
#define XV_POLICY_MAX_RULES 100000

struct xv_policy;

enum xv_verdict { XV_POLICY_DENY, XV_POLICY_ALLOW, XV_POLICY_REJECT /* deny, and tell the sender */ };

/* All that is given must match; what is unset matches everything. xv_policy_rule_init() unsets all. */
struct xv_policy_rule {
	enum xv_verdict verdict;
	bool log; /* whoever carries the verdict out is to log it */
	uint8_t ip_version; /* 0 any (also what is not IP), 4, 6 */
	bool has_proto;     /* IP only */
	uint8_t proto;
	union xv_ip_addr src, dst; /* bits behind the prefix are ignored */
	uint8_t src_len, dst_len;  /* prefix length, 0 = any; others need an ip_version */
	/* Host order, both ends belong to it; 0..65535 = any. */
	uint16_t src_port_min, src_port_max, dst_port_min, dst_port_max;
	int16_t icmp_type, icmp_code; /* -1 any, else 0..255 */
	/* -1 any; VLAN id of the outermost tag; 0 = untagged, or tagged with a priority only (802.1Q) */
	int32_t vlan;
	uint8_t eth_src[6], eth_src_mask[6], eth_dst[6], eth_dst_mask[6];
	uint16_t eth_type;              /* host order, innermost; 0 any */
	char name[XV_POLICY_NAME_SIZE]; /* "" becomes "rule N", from 1 */
};

/* A rule that denies everything, to be filled. */
void xv_policy_rule_init(struct xv_policy_rule *rule);

/*
 * control. Compile n rules (copied) into *p. Plain heap memory. -EINVAL: a field is outside what its comment says, a
 * prefix without version, ports together with ICMP; -E2BIG: more than XV_POLICY_MAX_RULES; -ENOMEM.
 */
int xv_policy_create(const char *name, const struct xv_policy_rule *rules, unsigned int n, enum xv_verdict otherwise,
		     struct xv_policy **p);
/* control. After a grace period. NULL is allowed. */
void xv_policy_destroy(struct xv_policy *p);

/*
 * worker. The verdict for key, and in *rule the index of the rule that decided, UINT32_MAX for "otherwise". *mask is
 * or-ed with bits of the key that hold the answer: every key that is equal under them gets the same rule. Of a rule that does not
 * match, one thing that tells it from the packet is enough: so few flows stand for many packets.
 */
enum xv_verdict xv_policy_check(const struct xv_policy *p, const struct xv_flow_key *key, struct xv_flow_key *mask,
				uint32_t *rule);

/* Any thread. They live as long as the policy. The name of "otherwise" is "default". */
const char *xv_policy_name(const struct xv_policy *p);
const char *xv_policy_rule_name(const struct xv_policy *p, uint32_t rule);
/* Any thread. "Otherwise" is not logged. */
bool xv_policy_rule_logs(const struct xv_policy *p, uint32_t rule);
unsigned int xv_policy_count(const struct xv_policy *p);
