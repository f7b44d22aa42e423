/* SPDX-License-Identifier: Apache-2.0 */
/*
 * First packets of connections that have an entry (fused_first.c): they make the same of rules, counters and states as by the long
 * way, and whatever is not as the entry says goes there.
 */
#include "unit.h"

#include <string.h>

#include <rte_mbuf.h>

#include "base/clock.h"
#include "ct_flow_rig.h"
#include "fastpath/conntrack_table.h"
#include "fastpath/flow.h"
#include "fastpath/policy.h"
#include "port/dummy.h"
#include "port/eal.h"

static struct xv_policy *web;
static struct xv_firewall closed;

/* Port 1 lets in what is for UDP port 80, or for any of TCP; both addresses are known, and the flows there. Source ports are like those
 * of the tests: what is DHCP needs no rule, so the bits that tell it apart are looked at. */
static void begin(void)
{
	struct ct_frame hello = ct_rig_question, back;
	struct xv_policy_rule rules[2];

	xv_policy_rule_init(&rules[0]);
	rules[0].verdict = XV_POLICY_ALLOW;
	rules[0].has_proto = true;
	rules[0].proto = 17;
	rules[0].dst_port_min = rules[0].dst_port_max = 80;
	rules[1] = rules[0];
	rules[1].proto = 6;
	rules[1].dst_port_min = 0;
	rules[1].dst_port_max = 65535;
	assert_int_equal(xv_policy_create("web", rules, 2, XV_POLICY_DENY, &web), 0);
	closed = (struct xv_firewall){.ingress = web};
	ct_rig_bind_network(0, NULL);
	ct_rig_bind_network(1, &closed);
	for (hello.sport = 1010; hello.sport < 1015; hello.sport++) {
		back = ct_frame_reply(&hello);
		ct_rig_send(&hello);
		ct_rig_send(&back);
		ct_rig_settle();
	}
	(void)ct_rig_taken(0);
	(void)ct_rig_taken(1);
	(void)xv_conntrack_flush(xv_flow_conntrack, ct_rig_now_ms(), NULL, NULL);
}

static void end(void)
{
	ct_rig_bind_network(1, NULL);
	ct_rig_settle();
	xv_policy_destroy(web);
}

struct sum {
	uint64_t n, packets[2], bytes[2], assured;
	uint8_t state;
};

static void add(const struct xv_ct_info *info, void *arg)
{
	struct sum *sum = arg;
	unsigned int i;

	sum->n++;
	sum->state = info->state;
	for (i = 0; i < 2; i++) {
		sum->packets[i] += info->packets[i];
		sum->bytes[i] += info->bytes[i];
	}
}

/* Of all connections. */
static struct sum sum(void)
{
	struct sum all = {0};
	uint64_t cursor = 0;

	ct_rig_sweep();
	while (xv_conntrack_walk(xv_flow_conntrack, ct_rig_now_ms(), &cursor, 100, add, &all))
		;
	return all;
}

static uint64_t half_open(void)
{
	struct xv_conntrack_stats stats;

	xv_conntrack_get_stats(xv_flow_conntrack, &stats);
	return stats.half_open;
}

struct all_flows {
	uint64_t packets, bytes, n;
	uint16_t tcp_flags;
};

static void add_flow(struct xv_flow *flow, void *arg)
{
	struct all_flows *all = arg;
	struct xv_flow_stats stats;

	xv_flow_get_stats(flow, &stats);
	all->n++;
	all->packets += stats.packets;
	all->bytes += stats.bytes;
	all->tcp_flags |= stats.tcp_flags;
	xv_flow_clear_tcp_flags(flow);
}

static struct all_flows all_flows(void)
{
	struct xv_cls_cursor cursor = {0};
	struct all_flows all = {0};

	ct_rig_sweep();
	while (xv_flows_walk(&cursor, 100, add_flow, &all))
		;
	return all;
}

static void questions_and_answers(void **state)
{
	struct ct_frame ask = ct_rig_question, answer;
	struct all_flows before;
	struct sum all;
	uint64_t hits;

	(void)state;
	begin();
	before = all_flows();
	hits = ct_rig_first_hits();
	for (ask.sport = 1000; ask.sport < 1010; ask.sport++)
		ct_rig_send(&ask);
	assert_int_equal(ct_rig_first_hits(), hits + 10);
	assert_int_equal(half_open(), 10);
	assert_int_equal(sum().packets[1], 0);
	for (ask.sport = 1000; ask.sport < 1010; ask.sport++) {
		answer = ct_frame_reply(&ask);
		ct_rig_send(&answer);
	}
	assert_int_equal(ct_rig_first_hits(), hits + 20);
	assert_int_equal(half_open(), 0);
	assert_int_equal(ct_rig_taken(1), 10);
	assert_int_equal(ct_rig_taken(0), 10);
	all = sum();
	assert_int_equal(all.n, 10);
	assert_int_equal(all.packets[0], 10);
	assert_int_equal(all.packets[1], 10);
	assert_int_equal(all.bytes[0], 10 * 48);
	assert_int_equal(all.bytes[1], 10 * 48);
	/* Three flows each way, and no more of them. */
	assert_int_equal(all_flows().n, before.n);
	assert_int_equal(all_flows().packets, before.packets + 20 * 3);
	assert_int_equal(all_flows().bytes, before.bytes + 20 * 3 * 62);
	/* A second packet is none of them: it makes an entry of its own. */
	ct_rig_send(&ct_rig_question);
	ct_rig_send(&ct_rig_question);
	assert_int_equal(ct_rig_first_hits(), hits + 20);
	assert_int_equal(sum().packets[0], 12);
	end();
}

/* What another connection may does not say what this one may. */
static void rules_hold(void **state)
{
	struct ct_frame ask = ct_rig_question, answer;
	uint64_t hits;

	(void)state;
	begin();
	hits = ct_rig_first_hits();
	ask.dport = 81;
	ct_rig_send(&ask);
	assert_int_equal(ct_rig_taken(1), 0);
	assert_int_equal(ct_rig_dropped(0, XV_DROP_FIREWALL), 1);
	/* An answer to nothing opens something itself, from port 80. */
	answer = ct_frame_reply(&ask);
	ct_rig_send(&answer);
	assert_int_equal(ct_rig_first_hits(), hits);
	assert_int_equal(sum().packets[0], 1);
	ct_rig_bind_network(1, NULL);
	ct_rig_send(&ask);
	assert_int_equal(ct_rig_taken(1), 1);
	/* Other rules: other flows. */
	ct_rig_bind_network(1, &(struct xv_firewall){.ingress = NULL});
	end();
}

static struct rte_mbuf *mbuf_of(const struct ct_frame *f, uint8_t csum)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(xv_packet_pool());
	struct ct_packet p;
	uint8_t *bytes;

	assert_non_null(m);
	ct_packet_make(&p, f, 0);
	bytes = (uint8_t *)rte_pktmbuf_append(m, p.m.data_len);
	memcpy(bytes, p.bytes, p.m.data_len);
	memcpy(bytes, (const uint8_t[]){2, 0, 0, 0, 0, 0xb, 2, 0, 0, 0, 0, 0xa}, 12);
	bytes[40] ^= csum;
	return m;
}

static void same_burst(void **state)
{
	unsigned int i;
	uint64_t hits;

	(void)state;
	begin();
	hits = ct_rig_first_hits();
	for (i = 0; i < 3; i++)
		assert_int_equal(xv_dummy_put(ct_rig.ports[0], 0, mbuf_of(&ct_rig_question, 0)), 0);
	ct_rig_run();
	assert_int_equal(ct_rig_taken(1), 3);
	assert_int_equal(ct_rig_first_hits(), hits + 1);
	assert_int_equal(sum().n, 1);
	assert_int_equal(sum().packets[0], 3);
	end();
}

static void wrong_checksum_opens_nothing(void **state)
{
	(void)state;
	begin();
	assert_int_equal(xv_dummy_put(ct_rig.ports[0], 0, mbuf_of(&ct_rig_question, 0x55)), 0);
	ct_rig_run();
	assert_int_equal(ct_rig_dropped(0, XV_DROP_CT_INVALID), 1);
	assert_int_equal(sum().n, 0);
	end();
}

static void limit_of_the_zone(void **state)
{
	struct ct_frame ask = ct_rig_question;
	struct all_flows before;
	uint64_t hits;

	(void)state;
	begin();
	before = all_flows();
	hits = ct_rig_first_hits();
	xv_conntrack_set_zone_limit(xv_flow_conntrack, ZONE, 2);
	for (ask.sport = 1000; ask.sport < 1005; ask.sport++)
		ct_rig_send(&ask);
	assert_int_equal(ct_rig_taken(1), 2);
	assert_int_equal(ct_rig_dropped(0, XV_DROP_CT_LIMIT), 3);
	assert_int_equal(ct_rig_first_hits(), hits + 5);
	assert_int_equal(all_flows().packets, before.packets + 5 * 3);
	/* Who is there already goes on. */
	ask.sport = 1001;
	ct_rig_send(&ask);
	assert_int_equal(ct_rig_taken(1), 1);
	end();
}

static void tcp(bool back, uint8_t flags, uint32_t seq, uint32_t ack, uint16_t sport)
{
	struct ct_frame f = {.proto = 6, .src = ct_rig_question.src, .dst = ct_rig_question.dst, .sport = sport, .dport = 22};

	f = back ? ct_frame_reply(&f) : f;
	f.flags = flags;
	f.seq = seq;
	f.ack = ack;
	ct_rig_send(&f);
}

static void handshakes(void **state)
{
	uint16_t sport;
	uint64_t hits;

	(void)state;
	begin();
	for (sport = 1; sport < 5; sport++) {
		tcp(false, CT_SYN, 100, 0, sport);
		tcp(true, CT_SYN | CT_ACK, 500, 101, sport);
		ct_rig_settle();
	}
	(void)xv_conntrack_flush(xv_flow_conntrack, ct_rig_now_ms(), NULL, NULL);
	hits = ct_rig_first_hits();
	(void)all_flows();
	tcp(false, CT_SYN, 100, 0, sport);
	assert_int_equal(ct_rig_first_hits(), hits + 1);
	assert_int_equal(all_flows().tcp_flags, CT_SYN);
	assert_int_equal(sum().state, XV_CT_TCP_SYN_SENT);
	/* Not what was asked for: nothing has changed, but what the long way says of it. */
	tcp(true, CT_SYN | CT_ACK, 500, 0x40000000, sport);
	assert_int_equal(ct_rig_first_hits(), hits + 1);
	assert_int_equal(sum().packets[1], 0);
	assert_int_equal(ct_rig_dropped(1, XV_DROP_CT_INVALID), 1);
	tcp(true, CT_SYN | CT_ACK, 500, 101, sport);
	assert_int_equal(ct_rig_first_hits(), hits + 2);
	assert_int_equal(sum().state, XV_CT_TCP_SYN_RECV);
	assert_int_equal(half_open(), 1); /* until the handshake is over */
	tcp(false, CT_ACK, 101, 501, sport);
	assert_int_equal(sum().state, XV_CT_TCP_ESTABLISHED);
	assert_int_equal(half_open(), 0);
	/* In the middle of nothing. */
	tcp(false, CT_FIN | CT_ACK, 101, 501, 99);
	assert_int_equal(ct_rig_first_hits(), hits + 2);
	assert_int_equal(sum().n, 1);
	end();
}

/* Flows might see the mark. */
static void marked_meanwhile(void **state)
{
	const struct xv_action_ct set = {.zone = ZONE, .flags = XV_CT_COMMIT, .mark = 3, .mark_mask = 3};
	struct ct_packet p;
	uint64_t hits;

	(void)state;
	begin();
	ct_rig_ask(1);
	hits = ct_rig_first_hits();
	ct_packet_make(&p, &ct_rig_question, 0);
	assert_int_equal(xv_conntrack_packet(xv_flow_conntrack, &set, &p.m, &p.key, &p.layout, ct_rig_now_ms(), &p.hit), 0);
	ct_rig_answer(1);
	assert_int_equal(ct_rig_taken(0), 1);
	assert_int_equal(ct_rig_first_hits(), hits);
	end();
}

/* The receiver is somewhere else: nothing that was known of its address holds. */
static void receiver_moves(void **state)
{
	struct ct_frame ask = ct_rig_question;
	uint64_t hits;

	(void)state;
	begin();
	ct_rig_bind_network(2, NULL);
	(void)xv_mac_table_flush(ct_rig.network->macs, 1);
	hits = ct_rig_first_hits();
	ask.sport = 1000;
	ct_rig_send(&ask);
	assert_int_equal(ct_rig_first_hits(), hits);
	assert_int_equal(ct_rig_taken(1) + ct_rig_taken(2), 2); /* flooded */
	end();
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, ct_rig_setup, ct_rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(questions_and_answers), TEST(rules_hold), TEST(same_burst), TEST(wrong_checksum_opens_nothing),
		TEST(limit_of_the_zone), TEST(handshakes), TEST(marked_meanwhile), TEST(receiver_moves),
	};

	return cmocka_run_group_tests(tests, ct_rig_group_setup, NULL);
}
