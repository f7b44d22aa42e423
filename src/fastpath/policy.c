/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The check: the key is compared with all rules of a list, a block of them at a time (policy_state.h); a block is left
 * when none of its rules can match any more.
 */
#include "fastpath/policy.h"

#include "fastpath/policy_state.h"

#define NO_RULE UINT32_MAX
/* After so many columns of a block it is worth asking whether any rule of it is left. */
#define COLUMNS_A_LOOK 4

/* Has any of a block's rules not missed yet? */
static inline __attribute__((always_inline)) bool any_left(const uint16_t miss[XV_POLICY_BLOCK])
{
	uint16_t any = 0;
	unsigned int i;

	for (i = 0; i < XV_POLICY_BLOCK; i++)
		any |= miss[i] == 0 ? UINT16_MAX : 0;
	return any != 0;
}

static inline __attribute__((always_inline)) bool any_left_in(const uint16_t left[XV_POLICY_BLOCK])
{
	uint16_t any = 0;
	unsigned int i;

	for (i = 0; i < XV_POLICY_BLOCK; i++)
		any |= left[i];
	return any != 0;
}

/* Bits in miss for the rules of a block that do not match v; c is the column of lane. */
static inline __attribute__((always_inline)) void compare(const struct xv_policy_column *c, unsigned int lane,
							  uint16_t v, uint16_t miss[XV_POLICY_BLOCK])
{
	unsigned int i;

	if (lane < LANE_MASKED_END)
		for (i = 0; i < XV_POLICY_BLOCK; i++)
			miss[i] |= (c->value[i] ^ v) & c->mask[i];
	else
		for (i = 0; i < XV_POLICY_BLOCK; i++)
			miss[i] |= (uint16_t)(v - c->value[i]) > c->mask[i] ? UINT16_MAX : 0;
}

/*
 * The position of the first rule that matches, or one at or behind the end of the list: what a last block has too many
 * matches everything.
 */
static inline __attribute__((always_inline)) uint32_t scan_body(const struct xv_policy_list *list,
								const uint16_t lanes[LANES])
{
	const struct xv_policy_column *c = list->columns;
	uint32_t block, left;
	unsigned int i;

	for (block = 0; block < list->n_blocks; block++) {
		uint16_t miss[XV_POLICY_BLOCK] = {0};
		bool any = true;

		for (left = list->lanes[block], i = 1; left != 0 && any; left &= left - 1, c++, i++) {
			unsigned int lane = (unsigned int)__builtin_ctz(left);

			compare(c, lane, lanes[lane], miss);
			if (i % COLUMNS_A_LOOK == 0)
				any = any_left(miss);
		}
		c += __builtin_popcount(left);
		if (!any || !any_left(miss))
			continue;
		for (i = 0; miss[i] != 0;)
			i++;
		return block * XV_POLICY_BLOCK + i;
	}
	return list->n;
}

static uint32_t scan_plain(const struct xv_policy_list *list, const uint16_t lanes[LANES])
{
	return scan_body(list, lanes);
}

#ifdef __x86_64__
__attribute__((target("avx2"))) static uint32_t scan_avx2(const struct xv_policy_list *list,
							  const uint16_t lanes[LANES])
{
	return scan_body(list, lanes);
}
#endif

static uint16_t transport_bits(const struct xv_flow_key *key, enum xv_policy_family family)
{
	uint16_t bits = 0;

	if (key->ip_frag == XV_FRAG_LATER)
		return 0;
	if (key->ip_proto == PROTO_TCP || key->ip_proto == PROTO_UDP || key->ip_proto == PROTO_SCTP)
		bits = HAS_PORTS;
	else if (key->ip_proto == (family == IPV4 ? PROTO_ICMP : PROTO_ICMPV6))
		bits = HAS_ICMP;
	if ((key->tp_src | key->tp_dst) != 0)
		bits |= HAS_SOME_PORT;
	return bits;
}

static enum xv_policy_family family_of(const struct xv_flow_key *key)
{
	return key->eth_type == RTE_BE16(ETH_IPV4) ? IPV4 : key->eth_type == RTE_BE16(ETH_IPV6) ? IPV6 : OTHER;
}

/* Lanes are as they lie in memory, save the protocol and those with a range. */
static void lanes_of(const struct xv_flow_key *key, enum xv_policy_family family, uint16_t lanes[LANES])
{
	lanes[LANE_ETH_TYPE] = key->eth_type;
	lanes[LANE_VLAN] = key->vlan[0].tci;
	memcpy(&lanes[LANE_ETH_SRC], key->eth_src, sizeof(key->eth_src));
	memcpy(&lanes[LANE_ETH_DST], key->eth_dst, sizeof(key->eth_dst));
	if (family == OTHER)
		return;
	lanes[LANE_PROTO] = key->ip_proto | transport_bits(key, family);
	lanes[LANE_SRC_PORT] = rte_be_to_cpu_16(key->tp_src);
	lanes[LANE_DST_PORT] = rte_be_to_cpu_16(key->tp_dst);
	if (family == IPV4) {
		memcpy(&lanes[LANE_IP_SRC], &key->ip_src.words[3], 4);
		memcpy(&lanes[LANE_IP_DST], &key->ip_dst.words[3], 4);
	} else {
		memcpy(&lanes[LANE_IP_SRC], &key->ip_src, 16);
		memcpy(&lanes[LANE_IP_DST], &key->ip_dst, 16);
	}
}

/* ---- What the answer depends on ---- */

#define LANE(lane) (UINT32_C(1) << (lane))
#define PROTO_BITS 0xff /* of LANE_PROTO; the others depend on fragment and ports, too */

/* Take those rules out of `left` (bits per rule as masks) that miss v in this column, of which only `bits` are looked at. */
static inline __attribute__((always_inline)) bool take_out(const struct xv_policy_column *c, unsigned int lane, uint16_t v,
							   uint16_t bits, uint16_t left[XV_POLICY_BLOCK])
{
	uint16_t taken = 0, stays;
	unsigned int i;

	if (lane < LANE_MASKED_END) {
		for (i = 0; i < XV_POLICY_BLOCK; i++) {
			stays = ((c->value[i] ^ v) & c->mask[i] & bits) == 0 ? UINT16_MAX : 0;
			taken |= left[i] & (uint16_t)~stays;
			left[i] &= stays;
		}
	} else {
		for (i = 0; i < XV_POLICY_BLOCK; i++) {
			stays = (uint16_t)(v - c->value[i]) <= c->mask[i] ? UINT16_MAX : 0;
			taken |= left[i] & (uint16_t)~stays;
			left[i] &= stays;
		}
	}
	return taken != 0;
}

/* Lanes that the rule at position i of a block looks at: all of them count, since it matched. */
static uint32_t lanes_of_rule(const struct xv_policy_column *c, uint32_t used, uint32_t i)
{
	uint32_t lanes = 0;

	for (; used != 0; used &= used - 1, c++) {
		unsigned int lane = (unsigned int)__builtin_ctz(used);

		if (lane < LANE_MASKED_END ? c->mask[i] != 0 : c->mask[i] != UINT16_MAX)
			lanes |= LANE(lane);
		if (lane == LANE_PROTO && (c->mask[i] & ~PROTO_BITS) != 0)
			lanes |= LANE(LANE_SRC_PORT) | LANE(LANE_DST_PORT);
	}
	return lanes;
}

/*
 * A set of lanes that holds the answer: in one of them each rule before the deciding one misses, and the deciding one (none, if
 * position is the end of the list) looks at no other. Not the smallest, but one without what never told rules from the packet:
 * the fewer lanes, the more packets have the same flow.
 */
static inline __attribute__((always_inline)) uint32_t needed_body(const struct xv_policy_list *list,
								  const uint16_t lanes[LANES], uint32_t position)
{
	const struct xv_policy_column *c = list->columns;
	uint32_t needed = 0, block, begin, before, used;
	unsigned int i, n;

	for (block = 0; block < list->n_blocks && block * XV_POLICY_BLOCK <= position; block++, c += n) {
		uint16_t left[XV_POLICY_BLOCK];
		unsigned int pass;

		used = list->lanes[block];
		n = (unsigned int)__builtin_popcount(used);
		begin = block * XV_POLICY_BLOCK;
		before = position - begin < XV_POLICY_BLOCK ? position - begin : XV_POLICY_BLOCK;
		memset(left, 0xff, before * sizeof(left[0]));
		memset(&left[before], 0, (XV_POLICY_BLOCK - before) * sizeof(left[0]));
		if (position < list->n && position - begin < XV_POLICY_BLOCK)
			needed |= lanes_of_rule(c, used, position - begin);
		/* First by lanes that are needed anyway; then by others, the protocol's own bits before those that ports bring in. */
		for (pass = 0; pass < 3 && any_left_in(left); pass++) {
			uint32_t rest = used;

			for (i = 0; rest != 0; rest &= rest - 1, i++) {
				unsigned int lane = (unsigned int)__builtin_ctz(rest);
				bool have = (needed & LANE(lane)) != 0, proto = lane == LANE_PROTO;

				if (have != (pass == 0) && !(pass == 2 && proto))
					continue;
				if (!take_out(&c[i], lane, lanes[lane], proto && pass < 2 ? PROTO_BITS : UINT16_MAX, left))
					continue;
				needed |= LANE(lane);
				if (proto && pass == 2)
					needed |= LANE(LANE_SRC_PORT) | LANE(LANE_DST_PORT);
				if (!any_left_in(left))
					break;
			}
		}
	}
	return needed;
}

static uint32_t needed_plain(const struct xv_policy_list *list, const uint16_t lanes[LANES], uint32_t position)
{
	return needed_body(list, lanes, position);
}

#ifdef __x86_64__
__attribute__((target("avx2"))) static uint32_t needed_avx2(const struct xv_policy_list *list,
							    const uint16_t lanes[LANES], uint32_t position)
{
	return needed_body(list, lanes, position);
}
#endif

void xv_policy_choose_scan(struct xv_policy *p, bool plain)
{
	p->scan = scan_plain;
	p->needed = needed_plain;
#ifdef __x86_64__
	if (!plain && __builtin_cpu_supports("avx2")) {
		p->scan = scan_avx2;
		p->needed = needed_avx2;
	}
#endif
}

/* Or m into mask, as far as it is about the lanes that are needed. */
static void mask_apply_ip(union xv_ip_addr *mask, const union xv_ip_addr *m, uint32_t lanes, bool ipv4)
{
	unsigned int i, first = ipv4 ? 6 : 0;
	uint16_t part, own;

	for (i = first; i < 8; i++) {
		if ((lanes >> (i - first) & 1) == 0)
			continue;
		memcpy(&part, m->bytes + 2 * i, 2);
		memcpy(&own, mask->bytes + 2 * i, 2);
		own |= part;
		memcpy(mask->bytes + 2 * i, &own, 2);
	}
}

static void mask_apply(struct xv_flow_key *mask, const struct xv_policy_mask *m, uint32_t needed, bool ipv4)
{
	if ((needed >> LANE_ETH_SRC & 7) != 0)
		xv_policy_mask_bytes(mask->eth_src, m->eth_src, 6);
	if ((needed >> LANE_ETH_DST & 7) != 0)
		xv_policy_mask_bytes(mask->eth_dst, m->eth_dst, 6);
	mask->eth_type |= m->eth_type; /* which list it was */
	if ((needed & LANE(LANE_VLAN)) != 0)
		mask->vlan[0].tci |= m->vlan_tci;
	mask_apply_ip(&mask->ip_dst, &m->ip_dst, needed >> LANE_IP_DST & 0xff, ipv4);
	mask_apply_ip(&mask->ip_src, &m->ip_src, needed >> LANE_IP_SRC & 0xff, ipv4);
	if ((needed & LANE(LANE_PROTO)) != 0) {
		mask->ip_proto |= m->ip_proto;
		mask->ip_frag |= m->ip_frag;
	}
	if ((needed & LANE(LANE_SRC_PORT)) != 0)
		mask->tp_src |= m->tp_src;
	if ((needed & LANE(LANE_DST_PORT)) != 0)
		mask->tp_dst |= m->tp_dst;
}

enum xv_verdict xv_policy_check(const struct xv_policy *p, const struct xv_flow_key *key, struct xv_flow_key *mask,
				uint32_t *rule)
{
	enum xv_policy_family family = family_of(key);
	const struct xv_policy_list *list = &p->lists[family];
	uint16_t lanes[LANES];
	uint32_t position;

	lanes_of(key, family, lanes);
	position = p->scan(list, lanes);
	if (position > list->n)
		position = list->n;
	mask_apply(mask, &list->key_masks[list->masks[position]], p->needed(list, lanes, position), family == IPV4);
	if (position == list->n) {
		*rule = NO_RULE;
		return p->otherwise;
	}
	*rule = list->rules[position];
	return (enum xv_verdict)(p->verdicts[*rule] & ~XV_POLICY_LOGS);
}

const char *xv_policy_name(const struct xv_policy *p)
{
	return p->name;
}

bool xv_policy_rule_logs(const struct xv_policy *p, uint32_t rule)
{
	return rule < p->n && (p->verdicts[rule] & XV_POLICY_LOGS) != 0;
}

const char *xv_policy_rule_name(const struct xv_policy *p, uint32_t rule)
{
	return rule < p->n ? p->names[rule] : "default";
}

unsigned int xv_policy_count(const struct xv_policy *p)
{
	return p->n;
}
