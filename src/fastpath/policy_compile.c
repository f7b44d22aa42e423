/* SPDX-License-Identifier: Apache-2.0 */
/* The control thread's side of policies: from rules to columns and masks (policy_state.h). */
#include "fastpath/policy.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "fastpath/policy_state.h"
#include "fastpath/rule_hits.h"

#define VLAN_ID    0x0fff
#define CACHE_LINE 64

/* One rule as lanes; mask 0 (and for ranges 65535 values more) = not looked at. */
struct lanes {
	uint16_t value[LANES], mask[LANES];
	uint32_t used;
};

static bool any_ports(const struct xv_policy_rule *r)
{
	return r->src_port_min == 0 && r->src_port_max == UINT16_MAX && r->dst_port_min == 0 &&
	       r->dst_port_max == UINT16_MAX;
}

static bool any_icmp(const struct xv_policy_rule *r)
{
	return r->icmp_type < 0 && r->icmp_code < 0;
}

/* Is this about IP only, so that the family of a packet must be known? */
static bool needs_ip(const struct xv_policy_rule *r)
{
	return r->ip_version != 0 || r->has_proto || !any_ports(r) || !any_icmp(r);
}

static bool fits(const struct xv_policy_rule *r, enum xv_policy_family family)
{
	if (family == OTHER)
		return !needs_ip(r);
	return r->ip_version == 0 || r->ip_version == (family == IPV4 ? 4 : 6);
}

/* Bits of a 16-bit number that tell whether it is in a range: not those that all values of it and outside share. */
static uint16_t range_bits(uint16_t min, uint16_t max)
{
	uint32_t step = 1u << 16;

	while (min % step != 0 || (max + 1u) % step != 0)
		step /= 2;
	return (uint16_t) ~(step - 1);
}

static bool is_range(uint16_t min, uint16_t max)
{
	return min != 0 || max != UINT16_MAX;
}

/* What the ports or ICMP type and code must be, as two ranges. */
static void transport_ranges(const struct xv_policy_rule *r, uint16_t src[2], uint16_t dst[2])
{
	src[0] = r->src_port_min, src[1] = r->src_port_max;
	dst[0] = r->dst_port_min, dst[1] = r->dst_port_max;
	if (r->icmp_type >= 0)
		src[0] = src[1] = (uint16_t)r->icmp_type;
	if (r->icmp_code >= 0)
		dst[0] = dst[1] = (uint16_t)r->icmp_code;
}

static uint16_t transport_wanted(const struct xv_policy_rule *r)
{
	if (!any_icmp(r))
		return HAS_ICMP;
	if (any_ports(r))
		return 0;
	/* With a range that zero is not in, no packet without ports matches anyway: then the flow need not be told
	 * from others by all bits of its ports. */
	return r->src_port_min != 0 || r->dst_port_min != 0 ? HAS_PORTS : HAS_PORTS | HAS_SOME_PORT;
}

static void prefix_bytes(uint8_t len, uint8_t *bytes, unsigned int n)
{
	unsigned int i;

	for (i = 0; i<n; i++, len = len> 8 ? (uint8_t)(len - 8) : 0)
		bytes[i] = len >= 8 ? 0xff : (uint8_t)(0xff00 >> len);
}

/* The prefix mask in the place where the key has the address. */
static union xv_ip_addr prefix_mask(const struct xv_policy_rule *r, uint8_t len)
{
	union xv_ip_addr mask = {.bytes = {0}};

	if (r->ip_version == 4)
		prefix_bytes(len, &mask.bytes[12], 4);
	else if (r->ip_version == 6)
		prefix_bytes(len, mask.bytes, 16);
	return mask;
}

static void lane_set(struct lanes *l, unsigned int lane, uint16_t value, uint16_t mask)
{
	l->value[lane] = value & mask;
	l->mask[lane] = mask;
	if (mask != 0)
		l->used |= 1u << lane;
}

static void lanes_set(struct lanes *l, unsigned int lane, const uint8_t *value, const uint8_t *mask, unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n; i++) {
		uint16_t v, m;

		memcpy(&v, value + 2 * i, 2);
		memcpy(&m, mask + 2 * i, 2);
		lane_set(l, lane + i, v, m);
	}
}

static void lane_set_range(struct lanes *l, unsigned int lane, const uint16_t range[2])
{
	l->value[lane] = range[0];
	l->mask[lane] = (uint16_t)(range[1] - range[0]);
	if (is_range(range[0], range[1]))
		l->used |= 1u << lane;
}

static void rule_lanes(const struct xv_policy_rule *r, struct lanes *l)
{
	union xv_ip_addr src_mask = prefix_mask(r, r->src_len), dst_mask = prefix_mask(r, r->dst_len);
	unsigned int begin = r->ip_version == 4 ? 12 : 0, n = r->ip_version == 4 ? 2 : 8;
	uint16_t wanted = transport_wanted(r), src[2], dst[2];

	*l = (struct lanes){0};
	lane_set(l, LANE_PROTO, r->proto | wanted, (r->has_proto ? 0xff : 0) | wanted);
	lane_set(l, LANE_ETH_TYPE, rte_cpu_to_be_16(r->eth_type), r->eth_type != 0 ? UINT16_MAX : 0);
	lane_set(l, LANE_VLAN, rte_cpu_to_be_16((uint16_t)r->vlan), r->vlan >= 0 ? RTE_BE16(VLAN_ID) : 0);
	lanes_set(l, LANE_ETH_SRC, r->eth_src, r->eth_src_mask, 3);
	lanes_set(l, LANE_ETH_DST, r->eth_dst, r->eth_dst_mask, 3);
	if (r->ip_version != 0) {
		lanes_set(l, LANE_IP_SRC, r->src.bytes + begin, src_mask.bytes + begin, n);
		lanes_set(l, LANE_IP_DST, r->dst.bytes + begin, dst_mask.bytes + begin, n);
	}
	transport_ranges(r, src, dst);
	lane_set_range(l, LANE_SRC_PORT, src);
	lane_set_range(l, LANE_DST_PORT, dst);
}

/* Or into m what packets of one family must be equal in for r to give the same answer. */
static void rule_depends(const struct xv_policy_rule *r, enum xv_policy_family family, struct xv_policy_mask *m)
{
	uint16_t wanted = transport_wanted(r), src[2], dst[2];
	union xv_ip_addr src_mask, dst_mask;

	if (needs_ip(r) || r->eth_type != 0)
		m->eth_type = UINT16_MAX;
	if (!fits(r, family))
		return;
	if (r->vlan >= 0)
		m->vlan_tci |= RTE_BE16(VLAN_ID);
	xv_policy_mask_bytes(m->eth_src, r->eth_src_mask, 6);
	xv_policy_mask_bytes(m->eth_dst, r->eth_dst_mask, 6);
	src_mask = prefix_mask(r, r->src_len);
	dst_mask = prefix_mask(r, r->dst_len);
	xv_policy_mask_bytes(m->ip_src.bytes, src_mask.bytes, 16);
	xv_policy_mask_bytes(m->ip_dst.bytes, dst_mask.bytes, 16);
	if (r->has_proto || wanted != 0)
		m->ip_proto = UINT8_MAX;
	if (wanted == 0)
		return;
	transport_ranges(r, src, dst);
	m->ip_frag = UINT8_MAX;
	m->tp_src |= rte_cpu_to_be_16((wanted & HAS_SOME_PORT) != 0 ? UINT16_MAX : range_bits(src[0], src[1]));
	m->tp_dst |= rte_cpu_to_be_16((wanted & HAS_SOME_PORT) != 0 ? UINT16_MAX : range_bits(dst[0], dst[1]));
}

static bool is_valid(const struct xv_policy_rule *r)
{
	uint8_t max_len = r->ip_version == 4 ? 32 : r->ip_version == 6 ? 128 : 0;

	return (r->verdict == XV_POLICY_ALLOW || r->verdict == XV_POLICY_DENY || r->verdict == XV_POLICY_REJECT) &&
	       (r->ip_version == 0 || r->ip_version == 4 || r->ip_version == 6) && r->src_len <= max_len &&
	       r->dst_len <= max_len && r->src_port_min <= r->src_port_max && r->dst_port_min <= r->dst_port_max &&
	       r->icmp_type >= -1 && r->icmp_type <= UINT8_MAX && r->icmp_code >= -1 && r->icmp_code <= UINT8_MAX &&
	       r->vlan >= -1 && r->vlan <= VLAN_ID && (any_ports(r) || any_icmp(r));
}

/* The index of the mask for the next rule: rules that look at nothing new share one. */
static int mask_index(struct xv_policy_list *list, const struct xv_policy_mask *m, uint16_t *index)
{
	if (list->n_key_masks == 0 || memcmp(&list->key_masks[list->n_key_masks - 1], m, sizeof(*m)) != 0) {
		struct xv_policy_mask *grown =
			realloc(list->key_masks, (list->n_key_masks + 1) * sizeof(*list->key_masks));

		if (grown == NULL)
			return -ENOMEM;
		list->key_masks = grown;
		/* Bits are only ever added: there are never more masks than the key has bits, and one. */
		memcpy(&list->key_masks[list->n_key_masks++], m, sizeof(*m));
	}
	*index = (uint16_t)(list->n_key_masks - 1);
	return 0;
}

/* Which rules are in the list, and what the answer depends on after each. */
static int list_fill(struct xv_policy_list *list, enum xv_policy_family family, const struct xv_policy_rule *rules,
		     unsigned int n)
{
	struct xv_policy_mask m;
	unsigned int i;
	int ret;

	memset(&m, 0, sizeof(m));
	for (i = 0; i < n; i++) {
		rule_depends(&rules[i], family, &m);
		if (!fits(&rules[i], family))
			continue;
		ret = mask_index(list, &m, &list->masks[list->n]);
		if (ret != 0)
			return ret;
		list->rules[list->n++] = i;
	}
	return mask_index(list, &m, &list->masks[list->n]);
}

/* Columns of the block that begins at position first; into c unless NULL. Returns the block's lanes. */
static uint32_t block_build(const struct xv_policy_list *list, const struct xv_policy_rule *rules, uint32_t first,
			    struct xv_policy_column *c)
{
	uint32_t used = 0, left, i, n = list->n - first < XV_POLICY_BLOCK ? list->n - first : XV_POLICY_BLOCK;
	struct lanes l;

	for (i = 0; i < n; i++) {
		rule_lanes(&rules[list->rules[first + i]], &l);
		used |= l.used;
	}
	if (c == NULL)
		return used;
	for (i = 0; i < XV_POLICY_BLOCK; i++) {
		struct xv_policy_column *to = c;

		if (i < n)
			rule_lanes(&rules[list->rules[first + i]], &l);
		for (left = used; left != 0; left &= left - 1, to++) {
			unsigned int lane = (unsigned int)__builtin_ctz(left);

			to->value[i] = i < n ? l.value[lane] : 0;
			to->mask[i] = i < n ? l.mask[lane] : lane < LANE_MASKED_END ? 0 : UINT16_MAX;
		}
	}
	return used;
}

static int list_build(struct xv_policy_list *list, enum xv_policy_family family, const struct xv_policy_rule *rules,
		      unsigned int n)
{
	size_t columns = 0, bytes;
	struct xv_policy_column *c;
	uint32_t block;
	int ret;

	list->rules = malloc((n + 1) * sizeof(*list->rules));
	list->masks = malloc((n + 1) * sizeof(*list->masks));
	if (list->rules == NULL || list->masks == NULL)
		return -ENOMEM;
	ret = list_fill(list, family, rules, n);
	if (ret != 0)
		return ret;
	list->n_blocks = (list->n + XV_POLICY_BLOCK - 1) / XV_POLICY_BLOCK;
	list->lanes = malloc((list->n_blocks + 1) * sizeof(*list->lanes));
	if (list->lanes == NULL)
		return -ENOMEM;
	for (block = 0; block < list->n_blocks; block++) {
		list->lanes[block] = block_build(list, rules, block * XV_POLICY_BLOCK, NULL);
		columns += (size_t)__builtin_popcount(list->lanes[block]);
	}
	bytes = (columns + 1) * sizeof(*list->columns);
	list->columns = aligned_alloc(CACHE_LINE, bytes);
	if (list->columns == NULL)
		return -ENOMEM;
	for (block = 0, c = list->columns; block < list->n_blocks; block++) {
		block_build(list, rules, block * XV_POLICY_BLOCK, c);
		c += __builtin_popcount(list->lanes[block]);
	}
	return 0;
}

static void list_free(struct xv_policy_list *list)
{
	free(list->lanes);
	free(list->columns);
	free(list->rules);
	free(list->masks);
	free(list->key_masks);
}

void xv_policy_destroy(struct xv_policy *p)
{
	unsigned int i;

	if (p == NULL)
		return;
	for (i = 0; i < FAMILIES; i++)
		list_free(&p->lists[i]);
	for (i = 0; p->counters != NULL && i <= p->n; i++)
		xv_rule_counter_release(p->counters[i]);
	free(p->counters);
	free(p->verdicts);
	free(p->names);
	free(p);
}

void xv_policy_count_otherwise(struct xv_policy *p, uint32_t counter)
{
	xv_rule_counter_hold(counter);
	xv_rule_counter_release(p->counters[p->n]);
	p->counters[p->n] = counter;
}

void xv_policy_rule_init(struct xv_policy_rule *rule)
{
	*rule = (struct xv_policy_rule){
		.verdict = XV_POLICY_DENY,
		.src_port_max = UINT16_MAX,
		.dst_port_max = UINT16_MAX,
		.icmp_type = -1,
		.icmp_code = -1,
		.vlan = -1,
	};
}

int xv_policy_create(const char *name, const struct xv_policy_rule *rules, unsigned int n, enum xv_verdict otherwise,
		     struct xv_policy **p)
{
	struct xv_policy *new;
	unsigned int i;
	int ret = -ENOMEM;

	if (n > XV_POLICY_MAX_RULES)
		return -E2BIG;
	if (otherwise != XV_POLICY_ALLOW && otherwise != XV_POLICY_DENY)
		return -EINVAL;
	for (i = 0; i < n; i++)
		if (!is_valid(&rules[i]))
			return -EINVAL;
	new = calloc(1, sizeof(*new));
	if (new == NULL)
		return -ENOMEM;
	new->verdicts = calloc(n + 1, sizeof(*new->verdicts));
	new->names = calloc(n + 1, sizeof(*new->names));
	new->counters = calloc(n + 1, sizeof(*new->counters));
	if (new->verdicts == NULL || new->names == NULL || new->counters == NULL)
		goto fail;
	for (i = 0; i < FAMILIES; i++) {
		ret = list_build(&new->lists[i], (enum xv_policy_family)i, rules, n);
		if (ret != 0)
			goto fail;
	}
	for (i = 0; i < n; i++) {
		new->verdicts[i] = (uint8_t)((unsigned int)rules[i].verdict | (rules[i].log ? XV_POLICY_LOGS : 0));
		if (rules[i].name[0] != '\0')
			snprintf(new->names[i], sizeof(new->names[i]), "%.*s", XV_POLICY_NAME_SIZE - 1, rules[i].name);
		else
			snprintf(new->names[i], sizeof(new->names[i]), "rule %u", i + 1);
	}
	for (i = 0; i < n; i++) {
		new->counters[i] = rules[i].counter;
		xv_rule_counter_hold(rules[i].counter);
	}
	new->n = n;
	new->otherwise = otherwise;
	snprintf(new->name, sizeof(new->name), "%s", name);
	xv_policy_choose_scan(new, false);
	*p = new;
	return 0;
fail:
	xv_policy_destroy(new);
	return ret;
}
