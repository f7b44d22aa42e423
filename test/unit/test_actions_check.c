/* SPDX-License-Identifier: Apache-2.0 */
/* What xv_actions_check() refuses, and what the builder of programs reports. */
#include "unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "action_programs.h"
#include "fastpath/upcall.h"
#include "port/port.h"

static void long_punt(struct xv_actions_builder *b)
{
	static const uint8_t said[XV_UPCALL_DATA_MAX + 8];

	xv_actions_add(b, XV_ACT_PUNT, 0, said, sizeof(said));
}

static void far_port(struct xv_actions_builder *b)
{
	out(b, XV_MAX_PORTS);
}

static void odd_reason(struct xv_actions_builder *b)
{
	xv_actions_add(b, XV_ACT_DROP, XV_DROP_MAX, NULL, 0);
}

static void drop_first(struct xv_actions_builder *b)
{
	drop_policy(b);
	out(b, 1);
}

static void recirc_first(struct xv_actions_builder *b)
{
	recirc(b);
	out(b, 1);
}

static void check_len_first(struct xv_actions_builder *b)
{
	check_len(b, 10);
	out(b, 1);
}

static void odd_tpid(struct xv_actions_builder *b)
{
	const struct xv_action_push_vlan vlan = {.tpid = RTE_BE16(0x9100)};

	xv_actions_add(b, XV_ACT_PUSH_VLAN, 0, &vlan, sizeof(vlan));
}

static void short_trunc(struct xv_actions_builder *b)
{
	xv_actions_add(b, XV_ACT_TRUNC, 13, NULL, 0);
}

static void push_eth(struct xv_actions_builder *b)
{
	const struct xv_action_push_eth eth = {0};

	xv_actions_add(b, XV_ACT_PUSH_ETH, 0, &eth, sizeof(eth));
}

static void pop_nsh(struct xv_actions_builder *b)
{
	xv_actions_add(b, XV_ACT_POP_NSH, 0, NULL, 0);
}

static void half_a_ct(struct xv_actions_builder *b)
{
	xv_actions_add(b, XV_ACT_CT, 0, NULL, 0);
}

static void half_a_tunnel(struct xv_actions_builder *b)
{
	xv_actions_add(b, XV_ACT_TUNNEL_PUSH, 0, "half", 4);
}

static void in_a_clone(struct xv_actions_builder *b)
{
	xv_actions_open(b, XV_ACT_CLONE, 0);
	far_port(b);
	xv_actions_close(b);
	out(b, 1);
}

static void unknown(struct xv_actions_builder *b)
{
	xv_actions_add(b, XV_ACT_MAX, 0, NULL, 0);
}

static void pop_eth_of_tagged(struct xv_actions_builder *b)
{
	push_vlan(b);
	xv_actions_add(b, XV_ACT_POP_ETH, 0, NULL, 0);
}

static void set_in_port(struct xv_actions_builder *b)
{
	const struct xv_flow_key to = {.in_port = 3}, mask = {.in_port = UINT32_MAX};

	xv_actions_add_set(b, &to, &mask);
}

static void set_type(struct xv_actions_builder *b)
{
	const struct xv_flow_key to = {.eth_type = RTE_BE16(0x88b5)}, mask = {.eth_type = UINT16_MAX};

	xv_actions_add_set(b, &to, &mask);
}

static void set_label(struct xv_actions_builder *b)
{
	const struct xv_flow_key to = {.ipv6_label = 1}, mask = {.ipv6_label = UINT32_MAX};

	xv_actions_add_set(b, &to, &mask);
}

static void set_mpls(struct xv_actions_builder *b)
{
	const struct xv_flow_key to = {.mpls_lse = {1}}, mask = {.mpls_lse = {1}};

	xv_actions_add_set(b, &to, &mask);
}

static void set_bottom(struct xv_actions_builder *b)
{
	const struct xv_flow_key to = {.mpls_lse = {RTE_BE32(0x00013140)}}, mask = {.mpls_lse = {UINT32_MAX}};

	xv_actions_add_set(b, &to, &mask);
}

static void push_and_clear_bottom(struct xv_actions_builder *b)
{
	const struct xv_action_push_mpls mpls = {.lse = RTE_BE32(0x00012140), .eth_type = RTE_BE16(0x8847)};
	const struct xv_flow_key to = {.mpls_lse = {RTE_BE32(0x00013040)}}, mask = {.mpls_lse = {UINT32_MAX}};

	xv_actions_add(b, XV_ACT_PUSH_MPLS, 0, &mpls, sizeof(mpls));
	xv_actions_add_set(b, &to, &mask);
}

static void push_and_keep_bottom(struct xv_actions_builder *b)
{
	const struct xv_action_push_mpls mpls = {.lse = RTE_BE32(0x00012140), .eth_type = RTE_BE16(0x8847)};

	xv_actions_add(b, XV_ACT_PUSH_MPLS, 0, &mpls, sizeof(mpls));
	set_bottom(b);
}

/* A set of one word, as it lies in memory: first, n, value, mask. */
static void raw_set(struct xv_actions_builder *b, uint32_t first, uint64_t value, uint64_t mask)
{
	const uint32_t head[2] = {first, 1};
	uint64_t data[3] = {0, value, mask};

	memcpy(data, head, sizeof(head));
	xv_actions_add(b, XV_ACT_SET, 0, data, sizeof(data));
}

/* A value where the mask has no bit would set a field that the mask does not name. */
static void set_beyond_mask(struct xv_actions_builder *b)
{
	raw_set(b, offsetof(struct xv_flow_key, ip_ttl) / 8, UINT64_MAX, UINT64_C(0xff) << 48);
}

static void set_outside(struct xv_actions_builder *b)
{
	raw_set(b, XV_FLOW_WORDS, 0, 0);
}

static const struct {
	const char *in; /* what the flow matches */
	build_fn *build;
	const char *why; /* part of the sentence */
} refusals[] = {
	{UDP, long_punt, "punt"},
	{UDP, far_port, "port that cannot be"},
	{UDP, odd_reason, "no such reason"},
	{UDP, drop_first, "not its last"},
	{UDP, recirc_first, "not its last"},
	{UDP, check_len_first, "not the last"},
	{UDP, odd_tpid, "tag type"},
	{UDP, pop_vlan_out, "need not have a tag"},
	{UDP, pop_mpls, "need not have a label"},
	{TAGGED, push_mpls, "VLAN tag"},
	{UDP, short_trunc, "trunc"},
	{UDP, push_eth, "has an Ethernet header"},
	{UDP, pop_nsh, "NSH"},
	{UDP, half_a_ct, "ct is malformed"},
	{UDP, half_a_tunnel, "tunnel_push is malformed"},
	{UDP, in_a_clone, "port that cannot be"},
	{UDP, unknown, "unknown"},
	{UDP, pop_eth_of_tagged, "pop_eth"},
	{UDP, set_in_port, "other actions do that"},
	{UDP, set_type, "says what the packet is"},
	{UDP, set_label, "IPv6"},
	{UDP, set_mpls, "MPLS label"},
	{LABELLED, set_bottom, "bottom of stack"},
	{UDP, push_and_clear_bottom, "bottom of stack"},
	{ARP, set_udp, "TOS or TTL"},
	{UDP, set_arp, "IP protocol"},
	{UDP, set_beyond_mask, "set is malformed"},
	{UDP, set_outside, "set is malformed"},
};

static void check_refuses(void **state)
{
	unsigned int i;

	(void)state;
	for (i = 0; i < RTE_DIM(refusals); i++) {
		struct xv_actions *actions = built(refusals[i].build);
		struct xv_flow_key key, mask;
		struct xv_err err = {0};

		match_of(refusals[i].in, &key, &mask);
		if (xv_actions_check(actions, &key, &mask, &err) != -EINVAL)
			fail_msg("accepted: %s", refusals[i].why);
		if (strstr(err.text, refusals[i].why) == NULL)
			fail_msg("\"%s\" does not say \"%s\"", err.text, refusals[i].why);
		free(actions);
	}
}

/* What a set needs the flow to match. */
static void check_wants_matches(void **state)
{
	struct xv_actions *actions = built(set_udp);
	struct xv_flow_key key, mask;

	(void)state;
	match_of(UDP, &key, &mask);
	assert_int_equal(xv_actions_check(actions, &key, &mask, NULL), 0);
	mask.ip_proto = 0;
	assert_int_equal(xv_actions_check(actions, &key, &mask, NULL), -EINVAL);
	match_of(UDP, &key, &mask);
	mask.ip_frag = 0;
	assert_int_equal(xv_actions_check(actions, &key, &mask, NULL), -EINVAL);
	match_of(UDP, &key, &mask);
	key.ip_frag = XV_FRAG_LATER;
	assert_int_equal(xv_actions_check(actions, &key, &mask, NULL), -EINVAL);
	match_of(UDP, &key, &mask);
	mask.eth_type = RTE_BE16(0x0f00);
	assert_int_equal(xv_actions_check(actions, &key, &mask, NULL), -EINVAL);
	free(actions);
}

/* A label may be set as a whole if its bottom of stack is known, and stays. */
static void check_lets_bottom_stay(void **state)
{
	struct xv_actions *set = built(set_bottom), *push = built(push_and_keep_bottom);
	struct xv_flow_key key, mask;

	(void)state;
	match_of(LABELLED, &key, &mask);
	mask.mpls_lse[0] = RTE_BE32(0x100);
	assert_int_equal(xv_actions_check(set, &key, &mask, NULL), 0);
	key.mpls_lse[0] ^= RTE_BE32(0x100);
	assert_int_equal(xv_actions_check(set, &key, &mask, NULL), -EINVAL);
	match_of(UDP, &key, &mask);
	assert_int_equal(xv_actions_check(push, &key, &mask, NULL), 0);
	free(set);
	free(push);
}

static void pop_two(struct xv_actions_builder *b)
{
	xv_actions_add(b, XV_ACT_POP_MPLS, RTE_BE16(0x8847), NULL, 0);
	xv_actions_add(b, XV_ACT_POP_MPLS, RTE_BE16(0x0800), NULL, 0);
}

/* Below a label that is known not to be the bottom there is another one. */
static void check_counts_labels(void **state)
{
	struct xv_actions *actions = built(pop_two);
	struct xv_flow_key key, mask;

	(void)state;
	match_of(MACS "8847 00012040 00013140 0800 ", &key, &mask);
	mask.mpls_lse[0] = mask.mpls_lse[1] = RTE_BE32(0x100);
	assert_int_equal(xv_actions_check(actions, &key, &mask, NULL), 0);
	mask.mpls_lse[0] = 0;
	assert_int_equal(xv_actions_check(actions, &key, &mask, NULL), -EINVAL);
	match_of(LABELLED, &key, &mask);
	mask.mpls_lse[0] = RTE_BE32(0x100);
	assert_int_equal(xv_actions_check(actions, &key, &mask, NULL), -EINVAL);
	free(actions);
}

static void nested_too_deep(struct xv_actions_builder *b, unsigned int depth)
{
	if (depth == 0)
		return;
	xv_actions_open(b, XV_ACT_CLONE, 0);
	nested_too_deep(b, depth - 1);
	xv_actions_close(b);
}

static void builder_reports_what_went_wrong(void **state)
{
	struct xv_actions_builder b;
	struct xv_actions *actions;
	unsigned int i;

	(void)state;
	xv_actions_begin(&b);
	xv_actions_open(&b, XV_ACT_CLONE, 0);
	assert_int_equal(xv_actions_finish(&b, &actions), -EINVAL);
	xv_actions_begin(&b);
	xv_actions_close(&b);
	assert_int_equal(xv_actions_finish(&b, &actions), -EINVAL);
	xv_actions_begin(&b);
	xv_actions_otherwise(&b);
	assert_int_equal(xv_actions_finish(&b, &actions), -EINVAL);
	xv_actions_begin(&b);
	nested_too_deep(&b, XV_ACTIONS_MAX_DEPTH + 1);
	assert_int_equal(xv_actions_finish(&b, &actions), -E2BIG);
	xv_actions_begin(&b);
	nested_too_deep(&b, XV_ACTIONS_MAX_DEPTH);
	assert_int_equal(xv_actions_finish(&b, &actions), 0);
	free(actions);
	xv_actions_begin(&b);
	for (i = 0; i < XV_ACTIONS_MAX_BYTES / 8; i++)
		out(&b, 1);
	assert_int_equal(xv_actions_finish(&b, &actions), -E2BIG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(check_refuses),
		cmocka_unit_test(check_wants_matches),
		cmocka_unit_test(check_lets_bottom_stay),
		cmocka_unit_test(check_counts_labels),
		cmocka_unit_test(builder_reports_what_went_wrong),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
