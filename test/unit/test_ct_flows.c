/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections in flows: which of their packets are fused, what ends that, what is counted for them; firewalls on a network.
 */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "ct_flow_rig.h"
#include "fastpath/conntrack_table.h"
#include "fastpath/flow.h"
#include "fastpath/policy.h"

#define RECIRC 7

static struct {
	struct xv_flow *track, *est, *new;
} flows;

static const struct ct_frame segment = {.proto = 6, .src = 0x0a000001, .dst = 0x0a000002, .sport = 1000, .dport = 80};

static void tcp(bool back, uint8_t flags, uint32_t seq, uint32_t ack, uint16_t payload)
{
	struct ct_frame f = back ? ct_frame_reply(&segment) : segment;

	f.flags = flags;
	f.seq = seq;
	f.ack = ack;
	f.payload = payload;
	ct_rig_send(&f);
}

static uint64_t packets_of(const struct xv_flow *flow)
{
	struct xv_flow_stats stats;

	ct_rig_sweep();
	xv_flow_get_stats(flow, &stats);
	return stats.packets;
}

static void note(const struct xv_ct_info *info, void *arg)
{
	struct xv_ct_info *all = arg;
	uint64_t n = all->id + 1;

	*all = *info;
	all->id = n;
}

/* The connection; there is but one. */
static struct xv_ct_info connection(void)
{
	struct xv_ct_info info = {0};
	uint64_t cursor = 0;

	ct_rig_sweep();
	assert_false(xv_conntrack_walk(xv_flow_conntrack, ct_rig_now_ms(), &cursor, 100, note, &info));
	assert_int_equal(info.id, 1);
	return info;
}

static void delete_it(void)
{
	struct xv_ct_tuple tuple = connection().original;

	assert_int_equal(xv_conntrack_delete(xv_flow_conntrack, &tuple, ct_rig_now_ms()), 0);
}

/* ---- Flows ---- */

static struct xv_flow *add_flow(uint32_t recirc, uint32_t state, uint32_t state_mask, uint8_t ct_flags, bool again)
{
	struct xv_action_ct ct = {.zone = ZONE, .flags = ct_flags};
	struct xv_flow_key key = {.recirc_id = recirc, .ct_state = state, .eth_type = RTE_BE16(0x0800)};
	struct xv_flow_key mask = {.recirc_id = UINT32_MAX, .ct_state = state_mask, .eth_type = UINT16_MAX};
	struct xv_flow_spec spec = {.key = &key, .mask = &mask, .owner = XV_FLOW_NO_OWNER};
	struct xv_actions_builder b;
	struct xv_flow *flow;

	xv_actions_begin(&b);
	if (again || ct_flags != 0)
		xv_actions_add(&b, XV_ACT_CT, 0, &ct, sizeof(ct));
	xv_actions_add(&b, again ? XV_ACT_RECIRC : XV_ACT_OUTPUT, again ? RECIRC : 2, NULL, 0);
	assert_int_equal(xv_actions_finish(&b, &spec.actions), 0);
	assert_int_equal(xv_actions_check(spec.actions, &key, &mask, NULL), 0);
	assert_int_equal(xv_flow_add(&spec, &flow), 0);
	return flow;
}

/* Look up; new ones are committed; all go to port 2. */
static void bind_flows(void)
{
	unsigned int i;

	for (i = 0; i < PORTS; i++) {
		struct xv_binding *b = calloc(1, sizeof(*b));

		b->forward = XV_FORWARD_FLOWS;
		xv_port_bind(ct_rig.ports[i], b);
	}
	flows.track = add_flow(0, 0, 0, 0, true);
	flows.est = add_flow(RECIRC, XV_CS_ESTABLISHED, XV_CS_ESTABLISHED, 0, false);
	flows.new = add_flow(RECIRC, XV_CS_NEW, XV_CS_NEW | XV_CS_ESTABLISHED, XV_CT_COMMIT, false);
}

static void established_is_fused_and_counted(void **state)
{
	struct xv_ct_info c;

	(void)state;
	bind_flows();
	ct_rig_ask(1);
	ct_rig_answer(1);
	ct_rig_ask(5);
	ct_rig_answer(5);
	assert_int_equal(ct_rig_inserted(), 2); /* one a direction: by the second of each, for the first may be all there is */
	assert_int_equal(ct_rig_hits(), 4 + 4);
	assert_int_equal(ct_rig_taken(2), 12);
	c = connection();
	assert_int_equal(c.packets[0], 6);
	assert_int_equal(c.packets[1], 6);
	assert_int_equal(c.bytes[0], 6 * 48);
	assert_int_equal(c.bytes[1], 6 * 48);
	assert_int_equal(packets_of(flows.track), 12);
	assert_int_equal(packets_of(flows.new), 1);
	assert_int_equal(packets_of(flows.est), 11);
}

static void what_is_never_answered_is_fused(void **state)
{
	(void)state;
	bind_flows();
	ct_rig_ask(10);
	assert_int_equal(ct_rig_hits(), 8); /* all but the one that opens, and the next */
	assert_int_equal(packets_of(flows.new), 10);
	assert_int_equal(connection().packets[0], 10);
	/* Whoever answers makes it another one to flows. */
	ct_rig_answer(1);
	ct_rig_ask(2);
	assert_int_equal(ct_rig_hits(), 8 + 1);
	assert_int_equal(packets_of(flows.new), 10);
	assert_int_equal(packets_of(flows.est), 3);
}

static void deleted_is_new_again(void **state)
{
	uint64_t before;

	(void)state;
	bind_flows();
	ct_rig_ask(1);
	ct_rig_answer(2);
	ct_rig_ask(2);
	delete_it();
	before = ct_rig_hits();
	/* It gets the memory of the old one. The answers' entry is of that. */
	ct_rig_ask(1);
	ct_rig_answer(1);
	assert_int_equal(ct_rig_hits(), before);
	assert_int_equal(packets_of(flows.new), 2);
	assert_int_equal(connection().packets[1], 1);
	ct_rig_answer(2);
	assert_int_equal(ct_rig_hits(), before + 1);
}

static void expired_is_new_again(void **state)
{
	uint64_t before;

	(void)state;
	bind_flows();
	ct_rig_ask(1);
	ct_rig_answer(2);
	ct_rig_ask(2);
	before = ct_rig_hits();
	xv_clock_warp_ms(200 * 1000);
	ct_rig_ask(1);
	assert_int_equal(ct_rig_hits(), before);
	assert_int_equal(packets_of(flows.new), 2);
	assert_int_equal(connection().packets[0], 1);
}

static void mark_is_noticed(void **state)
{
	const struct xv_action_ct set = {.zone = ZONE, .flags = XV_CT_COMMIT, .mark = 3, .mark_mask = 3};
	struct ct_packet p;
	uint64_t before;

	(void)state;
	bind_flows();
	ct_rig_ask(1);
	ct_rig_answer(1);
	ct_rig_ask(3);
	before = ct_rig_hits();
	ct_packet_make(&p, &ct_rig_question, 0);
	assert_int_equal(xv_conntrack_packet(xv_flow_conntrack, &set, &p.m, &p.key, &p.layout, ct_rig_now_ms(), &p.hit), 0);
	ct_rig_ask(1);
	assert_int_equal(ct_rig_hits(), before);
	ct_rig_ask(1);
	assert_int_equal(ct_rig_hits(), before + 1);
}

/* As often as it takes for the number that tells old from new to begin anew, if it did. */
static void many_marks_are_noticed(void **state)
{
	struct xv_action_ct set = {.zone = ZONE, .flags = XV_CT_COMMIT, .mark_mask = UINT32_MAX};
	struct ct_packet p;
	uint64_t before;
	unsigned int i;

	(void)state;
	bind_flows();
	ct_rig_ask(1);
	ct_rig_answer(1);
	ct_rig_ask(3);
	before = ct_rig_hits();
	ct_packet_make(&p, &ct_rig_question, 0);
	for (i = 0; i < 1u << (XV_CONN_VERSION_BITS - 1); i++) {
		set.mark = i + 1;
		assert_int_equal(xv_conntrack_packet(xv_flow_conntrack, &set, &p.m, &p.key, &p.layout, ct_rig_now_ms(), &p.hit), 0);
	}
	ct_rig_ask(3);
	assert_int_equal(ct_rig_hits(), before);
	assert_int_equal(packets_of(flows.est), 1 + 3 + 3);
}

static struct xv_flow *add_program(uint32_t recirc, uint32_t mark, uint32_t mark_mask, struct xv_actions_builder *b)
{
	struct xv_flow_key key = {.recirc_id = recirc, .ct_mark = mark, .eth_type = RTE_BE16(0x0800)};
	struct xv_flow_key mask = {.recirc_id = UINT32_MAX, .ct_mark = mark_mask, .eth_type = UINT16_MAX};
	struct xv_flow_spec spec = {.key = &key, .mask = &mask, .owner = XV_FLOW_NO_OWNER};
	struct xv_flow *flow;

	assert_int_equal(xv_actions_finish(b, &spec.actions), 0);
	assert_int_equal(xv_flow_add(&spec, &flow), 0);
	return flow;
}

static void bind_to_flows(void)
{
	unsigned int i;

	for (i = 0; i < PORTS; i++) {
		struct xv_binding *b = calloc(1, sizeof(*b));

		b->forward = XV_FORWARD_FLOWS;
		xv_port_bind(ct_rig.ports[i], b);
	}
}

static void mark_changed_between_lookups_is_noticed(void **state)
{
	struct xv_action_ct lookup = {.zone = ZONE}, mark = {.zone = ZONE, .flags = XV_CT_COMMIT, .mark = 1, .mark_mask = 1};
	struct xv_actions_builder b;
	struct xv_flow *first, *next;

	(void)state;
	bind_to_flows();
	xv_actions_begin(&b);
	xv_actions_add(&b, XV_ACT_CT, 0, &lookup, sizeof(lookup));
	xv_actions_add(&b, XV_ACT_RECIRC, RECIRC, NULL, 0);
	(void)add_program(0, 0, 0, &b);
	xv_actions_begin(&b); /* the first of a connection is marked, and goes to port 2 */
	xv_actions_add(&b, XV_ACT_CT, 0, &mark, sizeof(mark));
	xv_actions_add(&b, XV_ACT_OUTPUT, 2, NULL, 0);
	first = add_program(RECIRC, 0, UINT32_MAX, &b);
	xv_actions_begin(&b);
	xv_actions_add(&b, XV_ACT_OUTPUT, 1, NULL, 0);
	next = add_program(RECIRC, 1, UINT32_MAX, &b);
	ct_rig_ask(1);
	ct_rig_answer(1);
	assert_int_equal(packets_of(first), 1);
	/* It was stored unmarked; the next packet finds it steady, and marks it. */
	{
		struct xv_action_ct clear = {.zone = ZONE, .flags = XV_CT_COMMIT, .mark = 0, .mark_mask = 1};
		struct ct_packet p;

		ct_packet_make(&p, &ct_rig_question, 0);
		assert_int_equal(xv_conntrack_packet(xv_flow_conntrack, &clear, &p.m, &p.key, &p.layout, ct_rig_now_ms(), &p.hit), 0);
	}
	ct_rig_ask(1);
	assert_int_equal(packets_of(first), 2);
	ct_rig_ask(3);
	assert_int_equal(packets_of(first), 2);
	assert_int_equal(packets_of(next), 1 + 3);
}

static void again_behind_clear_is_advanced_again(void **state)
{
	struct xv_action_ct lookup = {.zone = ZONE, .flags = XV_CT_COMMIT}, clear = {.flags = XV_CT_CLEAR};
	struct xv_actions_builder b;

	(void)state;
	bind_to_flows();
	xv_actions_begin(&b);
	xv_actions_add(&b, XV_ACT_CT, 0, &lookup, sizeof(lookup));
	xv_actions_add(&b, XV_ACT_CT, 0, &clear, sizeof(clear));
	xv_actions_add(&b, XV_ACT_CT, 0, &lookup, sizeof(lookup));
	xv_actions_add(&b, XV_ACT_OUTPUT, 2, NULL, 0);
	(void)add_program(0, 0, 0, &b);
	ct_rig_ask(1);
	ct_rig_answer(1);
	ct_rig_ask(5);
	ct_rig_answer(5);
	assert_true(ct_rig_hits() >= 8);
	assert_int_equal(connection().packets[0], 2 * 6);
	assert_int_equal(connection().packets[1], 2 * 6);
}

static struct xv_conn *conn_of_zone(uint16_t zone)
{
	uint32_t i, end = atomic_load(&xv_flow_conntrack->fresh);

	for (i = 1; i < end; i++) {
		struct xv_conn *conn = &xv_flow_conntrack->conns[i];

		if (conn->tuple[0].zone == zone && (atomic_load(&conn->generation) & XV_CONN_DEAD) == 0)
			return conn;
	}
	return NULL;
}

static void count_them(const struct xv_ct_info *info, void *arg)
{
	unsigned int *n = arg;

	(*n)++;
}

/* A packet whose address is set between two looks at the same zone is another connection's (OVS's own test 147). */
static void changed_outside_is_another(void **state)
{
	const struct xv_action_ct commit = {.zone = ZONE, .flags = XV_CT_COMMIT};
	struct xv_flow_key value = {0}, mask = {0};
	struct xv_actions_builder b;
	uint64_t cursor = 0;
	unsigned int i, n = 0;

	(void)state;
	bind_to_flows();
	value.ip_dst.words[3] = RTE_BE32(0x0a0000fe);
	mask.ip_dst.words[3] = UINT32_MAX;
	xv_actions_begin(&b);
	xv_actions_add(&b, XV_ACT_CT, 0, &commit, sizeof(commit));
	xv_actions_add_set(&b, &value, &mask);
	xv_actions_add(&b, XV_ACT_CT, 0, &commit, sizeof(commit));
	xv_actions_add(&b, XV_ACT_OUTPUT, 2, NULL, 0);
	(void)add_program(0, 0, 0, &b);
	for (i = 0; i < 3; i++)
		ct_rig_ask(1);
	ct_rig_sweep();
	assert_false(xv_conntrack_walk(xv_flow_conntrack, ct_rig_now_ms(), &cursor, 100, count_them, &n));
	assert_int_equal(n, 2);
}

/* The first zone's connection has seen nothing of a segment that the second one's does not take in passing. */
static void refused_by_a_later_zone(void **state)
{
	struct xv_action_ct one = {.zone = ZONE, .flags = XV_CT_COMMIT}, other = {.zone = ZONE + 1, .flags = XV_CT_COMMIT};
	struct xv_actions_builder b;
	struct xv_ct_tuple tuple;
	uint64_t before;
	unsigned int i;

	(void)state;
	bind_to_flows();
	xv_actions_begin(&b);
	xv_actions_add(&b, XV_ACT_CT, 0, &one, sizeof(one));
	xv_actions_add(&b, XV_ACT_CT, 0, &other, sizeof(other));
	xv_actions_add(&b, XV_ACT_OUTPUT, 2, NULL, 0);
	(void)add_program(0, 0, 0, &b);
	tcp(false, CT_SYN, 100, 0, 0);
	tcp(true, CT_SYN | CT_ACK, 500, 101, 0);
	tcp(false, CT_ACK, 101, 501, 0);
	tcp(false, CT_ACK, 101, 501, 10);
	tcp(false, CT_ACK, 111, 501, 10);
	before = ct_rig_hits();
	assert_true(before > 0);
	for (i = 0; i < 3; i++) {
		tuple = conn_of_zone(ZONE + 1)->tuple[XV_CT_ORIGINAL];
		assert_int_equal(xv_conntrack_delete(xv_flow_conntrack, &tuple, ct_rig_now_ms()), 0);
		tcp(false, CT_ACK, 121 + 10 * i, 501, 10);
		assert_int_equal(ct_rig_hits(), before);
		assert_int_equal(conn_of_zone(ZONE)->proto.tcp.retransmits, 0);
	}
}

static void end_of_tcp_goes_the_long_way(void **state)
{
	uint64_t before;

	(void)state;
	bind_flows();
	tcp(false, CT_SYN, 100, 0, 0);
	tcp(true, CT_SYN | CT_ACK, 500, 101, 0);
	assert_int_equal(ct_rig_inserted(), 0); /* not before the handshake is over */
	tcp(false, CT_ACK, 101, 501, 0);
	tcp(false, CT_ACK, 101, 501, 10);
	tcp(true, CT_ACK, 501, 111, 10);
	tcp(true, CT_ACK, 511, 111, 10);
	assert_int_equal(ct_rig_hits(), 2);
	assert_int_equal(connection().state, XV_CT_TCP_ESTABLISHED);
	before = ct_rig_inserted();
	tcp(false, CT_ACK, 0x40000000, 501, 10); /* out of the window: invalid, of no flow here */
	assert_int_equal(ct_rig_dropped(0, XV_DROP_NO_FLOW), 1);
	tcp(false, CT_FIN | CT_ACK, 111, 521, 0);
	assert_int_equal(connection().state, XV_CT_TCP_FIN_WAIT);
	tcp(true, CT_ACK, 521, 112, 10);
	assert_int_equal(connection().state, XV_CT_TCP_CLOSE_WAIT);
	tcp(true, CT_RST, 531, 0, 0);
	assert_int_equal(connection().state, XV_CT_TCP_CLOSE);
	assert_int_equal(ct_rig_hits(), 2);
	assert_int_equal(ct_rig_inserted(), before);
}

/* Nothing of ICMP can be advanced: its packets do not throw entries of one another out of the cache. */
static void pings_are_not_recorded(void **state)
{
	struct ct_frame ping = {.proto = 1, .src = ct_rig_question.src, .dst = ct_rig_question.dst, .type = 8, .id = 7}, pong = ct_frame_reply(&ping);
	unsigned int i;

	(void)state;
	bind_flows();
	for (i = 0; i < 5; i++) {
		ct_rig_send(&ping);
		ct_rig_send(&pong);
	}
	assert_int_equal(packets_of(flows.est), 9);
	assert_int_equal(ct_rig_inserted(), 0);
}

/* ---- Firewalls ---- */

static struct xv_policy *policy(uint16_t allowed_port)
{
	struct xv_policy_rule rule;
	struct xv_policy *p;

	xv_policy_rule_init(&rule);
	rule.verdict = XV_POLICY_ALLOW;
	rule.has_proto = true;
	rule.proto = 17;
	rule.dst_port_min = rule.dst_port_max = allowed_port;
	assert_int_equal(xv_policy_create("web", &rule, 1, XV_POLICY_DENY, &p), 0);
	return p;
}

static void firewall_of_a_network(void **state)
{
	struct xv_policy *web = policy(80), *other = policy(81);
	struct xv_firewall closed = {.egress = other, .ingress = web}, shut = {.egress = other, .ingress = other};
	struct ct_frame wrong = ct_rig_question, unreachable, back = ct_frame_reply(&ct_rig_question);
	unsigned int i;

	(void)state;
	ct_rig_bind_network(0, NULL);
	ct_rig_bind_network(1, &closed);
	ct_rig_bind_network(2, NULL);
	/* Nobody knows where the receiver is: two get it, one connection is committed. */
	ct_rig_ask(1);
	assert_int_equal(ct_rig_taken(1), 1);
	assert_int_equal(ct_rig_taken(2), 1);
	assert_int_equal(connection().packets[0], 1);
	ct_rig_answer(1); /* which its own rules would not let out */
	assert_int_equal(ct_rig_taken(0), 1);
	ct_rig_settle();
	for (i = 0; i < 4; i++) {
		ct_rig_ask(1);
		ct_rig_answer(1);
		ct_rig_settle();
	}
	assert_int_equal(ct_rig_taken(1), 4);
	assert_int_equal(ct_rig_taken(0), 4);
	assert_true(ct_rig_hits() >= 4);
	assert_int_equal(connection().packets[0], 5);
	assert_int_equal(connection().packets[1], 5);
	/* An error about it is related. */
	unreachable = (struct ct_frame){.proto = 1, .src = back.src, .dst = back.dst, .type = 3, .code = 3, .inner = &ct_rig_question};
	ct_rig_send(&unreachable);
	assert_int_equal(ct_rig_taken(0), 1);
	wrong.dport = 81;
	ct_rig_send(&wrong);
	assert_int_equal(ct_rig_taken(1), 0);
	assert_int_equal(ct_rig_dropped(0, XV_DROP_FIREWALL), 1);
	/* Other rules hold for what is established, from the next packet on. */
	ct_rig_bind_network(1, &shut);
	ct_rig_ask(2);
	ct_rig_answer(1);
	assert_int_equal(ct_rig_taken(0) + ct_rig_taken(1), 0);
	assert_int_equal(ct_rig_dropped(0, XV_DROP_FIREWALL), 3);
	assert_int_equal(ct_rig_dropped(1, XV_DROP_FIREWALL), 1);
	ct_rig_bind_network(1, NULL);
	ct_rig_settle();
	xv_policy_destroy(web);
	xv_policy_destroy(other);
}

/* Nobody gets what could not be committed, and the reason says why. */
static void flood_that_cannot_be_committed(void **state)
{
	struct xv_policy *web = policy(80);
	struct xv_firewall closed = {.ingress = web};

	(void)state;
	ct_rig_bind_network(0, NULL);
	ct_rig_bind_network(1, &closed);
	ct_rig_bind_network(2, NULL);
	xv_conntrack_set_zone_limit(xv_flow_conntrack, ZONE, 1);
	ct_rig_ask(1);
	assert_int_equal(ct_rig_taken(1) + ct_rig_taken(2), 2);
	ct_rig_send(&(struct ct_frame){.proto = 17, .src = ct_rig_question.src, .dst = 0x0a000003, .sport = 5, .dport = 80});
	assert_int_equal(ct_rig_taken(1) + ct_rig_taken(2), 0);
	assert_int_equal(ct_rig_dropped(0, XV_DROP_CT_LIMIT), 2);
	ct_rig_bind_network(1, NULL);
	ct_rig_settle();
	xv_policy_destroy(web);
}

static void second_worker_makes_it_shared(void **state)
{
	struct xv_worker *second;

	(void)state;
	assert_false(xv_flow_conntrack->shared);
	assert_int_equal(xv_worker_create("second", -1, true, &second, NULL), 0);
	assert_true(xv_flow_conntrack->shared);
	bind_flows();
	ct_rig_ask(1);
	ct_rig_answer(1);
	ct_rig_ask(3);
	assert_int_equal(ct_rig_hits(), 2);
	xv_worker_destroy(second);
	assert_false(xv_flow_conntrack->shared);
	ct_rig_ask(1);
	assert_int_equal(ct_rig_hits(), 3);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, ct_rig_setup, ct_rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(established_is_fused_and_counted),
		TEST(what_is_never_answered_is_fused),
		TEST(deleted_is_new_again),
		TEST(expired_is_new_again),
		TEST(mark_is_noticed),
		TEST(many_marks_are_noticed),
		TEST(mark_changed_between_lookups_is_noticed),
		TEST(again_behind_clear_is_advanced_again),
		TEST(changed_outside_is_another),
		TEST(refused_by_a_later_zone),
		TEST(end_of_tcp_goes_the_long_way),
		TEST(pings_are_not_recorded),
		TEST(firewall_of_a_network),
		TEST(flood_that_cannot_be_committed),
		TEST(second_worker_makes_it_shared),
	};

	return cmocka_run_group_tests(tests, ct_rig_group_setup, NULL);
}
