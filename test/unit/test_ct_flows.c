/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections in flows: which of their packets are fused, what ends that, what is counted for them; firewalls on a network. Dummy
 * ports, a worker without a thread, a stopped clock.
 */
#include "unit.h"

#include <stdio.h>
#include <string.h>

#include <rte_mbuf.h>

#include "base/clock.h"
#include "ct_frame.h"
#include "fastpath/conntrack_table.h"
#include "fastpath/firewall.h"
#include "fastpath/flow.h"
#include "fastpath/fused.h"
#include "fastpath/ledger.h"
#include "fastpath/network.h"
#include "fastpath/policy.h"
#include "fastpath/worker.h"
#include "port/dummy.h"
#include "port/eal.h"
#include "table/rcu.h"

#define PORTS 3
#define RECIRC 7
#define ZONE 5

static struct {
	struct xv_worker *worker;
	struct xv_network *network;
	struct xv_port *ports[PORTS];
	struct xv_flow *track, *est, *new;
} rig;

static const struct ct_frame question = {.proto = 17, .src = 0x0a000001, .dst = 0x0a000002, .sport = 1000, .dport = 80, .payload = 20};
static const struct ct_frame segment = {.proto = 6, .src = 0x0a000001, .dst = 0x0a000002, .sport = 1000, .dport = 80};

static int group_setup(void **state)
{
	struct xv_eal_config config = {.memory_mb = 64};

	(void)state;
	xv_clock_init(0);
	xv_clock_stop();
	xv_worker_configure(&(struct xv_worker_settings){.batch = 1});
	return xv_eal_init(&config, NULL) != 0 || xv_rcu_init() != 0;
}

static int setup(void **state)
{
	struct xv_queue_ref refs[PORTS];
	uint16_t i;

	(void)state;
	assert_int_equal(xv_flows_init(), 0);
	assert_int_equal(xv_worker_create("test", -1, true, &rig.worker, NULL), 0);
	assert_int_equal(xv_network_create("net", 300, 64, &rig.network), 0);
	for (i = 0; i < PORTS; i++) {
		struct xv_port_config config = {.kind = XV_PORT_DUMMY, .queues = 1};

		snprintf(config.name, sizeof(config.name), "p%u", i);
		assert_int_equal(xv_port_create(&config, i, NULL, &rig.ports[i], NULL), 0);
		xv_ledger_reset(i);
		refs[i] = (struct xv_queue_ref){rig.ports[i], 0};
	}
	assert_int_equal(xv_network_set_members(rig.network, rig.ports, PORTS), 0);
	assert_int_equal(xv_worker_set_queues(rig.worker, refs, PORTS), 0);
	return 0;
}

static void run(void)
{
	unsigned int i;

	for (i = 0; i < 4; i++)
		(void)xv_worker_run_once(rig.worker);
}

static void settle(void)
{
	unsigned int i;

	for (i = 0; i < 1000 && xv_flows_poll(); i++)
		run();
	assert_true(i < 1000);
}

static uint32_t now_ms(void)
{
	return xv_clock_ms(xv_clock_cycles());
}

static unsigned int taken(unsigned int port)
{
	struct rte_mbuf *m;
	unsigned int n = 0;

	for (; (m = xv_dummy_take(rig.ports[port])) != NULL; n++)
		rte_pktmbuf_free(m);
	return n;
}

static int teardown(void **state)
{
	unsigned int i, d;

	(void)state;
	assert_int_equal(xv_worker_set_queues(rig.worker, NULL, 0), 0);
	for (i = 0; i < PORTS; i++) {
		struct xv_ledger l;
		uint64_t drops = 0;

		(void)taken(i);
		xv_port_bind(rig.ports[i], NULL);
		xv_workers_forget_port(rig.ports[i]);
		xv_ledger_read(rig.ports[i], &l);
		for (d = 0; d < XV_DROP_MAX; d++)
			drops += l.drops[d];
		assert_int_equal(l.rx_packets + l.copies, l.forwarded + l.punts + drops + l.held);
	}
	settle();
	for (i = 0; i < PORTS; i++)
		xv_port_destroy(rig.ports[i]);
	xv_network_destroy(rig.network);
	xv_worker_destroy(rig.worker);
	xv_flows_fini();
	xv_rcu_synchronize();
	(void)xv_rcu_poll();
	return 0;
}

/* From port 0 to port 1, or back. */
static void send(const struct ct_frame *f)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(xv_packet_pool());
	unsigned int port = f->src == question.src ? 0 : 1;
	struct ct_packet p;
	uint8_t *bytes;

	assert_non_null(m);
	ct_packet_make(&p, f, 0);
	bytes = (uint8_t *)rte_pktmbuf_append(m, p.m.data_len);
	memcpy(bytes, p.bytes, p.m.data_len);
	memcpy(bytes, (const uint8_t[]){2, 0, 0, 0, 0, port == 0 ? 0xb : 0xa, 2, 0, 0, 0, 0, port == 0 ? 0xa : 0xb}, 12);
	assert_int_equal(xv_dummy_put(rig.ports[port], 0, m), 0);
	run();
}

static void ask(unsigned int n)
{
	while (n-- > 0)
		send(&question);
}

static void answer(unsigned int n)
{
	struct ct_frame back = ct_frame_reply(&question);

	while (n-- > 0)
		send(&back);
}

static void tcp(bool back, uint8_t flags, uint32_t seq, uint32_t ack, uint16_t payload)
{
	struct ct_frame f = back ? ct_frame_reply(&segment) : segment;

	f.flags = flags;
	f.seq = seq;
	f.ack = ack;
	f.payload = payload;
	send(&f);
}

static uint64_t hits(void)
{
	struct xv_fused_stats stats;

	xv_fused_get_stats(xv_worker_fused(rig.worker), &stats);
	return stats.hits;
}

static uint64_t inserted(void)
{
	struct xv_fused_stats stats;

	xv_fused_get_stats(xv_worker_fused(rig.worker), &stats);
	return stats.inserted;
}

static void sweep(void)
{
	uint64_t wanted = xv_flows_sweep();
	unsigned int i;

	for (i = 0; i < 4000 && xv_flows_swept() < wanted; i++)
		run();
	assert_true(xv_flows_swept() >= wanted);
}

static uint64_t packets_of(const struct xv_flow *flow)
{
	struct xv_flow_stats stats;

	sweep();
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

	sweep();
	assert_false(xv_conntrack_walk(xv_flow_conntrack, now_ms(), &cursor, 100, note, &info));
	assert_int_equal(info.id, 1);
	return info;
}

static void delete_it(void)
{
	struct xv_ct_tuple tuple = connection().original;

	assert_int_equal(xv_conntrack_delete(xv_flow_conntrack, &tuple, now_ms()), 0);
}

static uint64_t dropped(unsigned int port, enum xv_drop reason)
{
	struct xv_ledger l;

	xv_ledger_read(rig.ports[port], &l);
	return l.drops[reason];
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
		xv_port_bind(rig.ports[i], b);
	}
	rig.track = add_flow(0, 0, 0, 0, true);
	rig.est = add_flow(RECIRC, XV_CS_ESTABLISHED, XV_CS_ESTABLISHED, 0, false);
	rig.new = add_flow(RECIRC, XV_CS_NEW, XV_CS_NEW | XV_CS_ESTABLISHED, XV_CT_COMMIT, false);
}

static void established_is_fused_and_counted(void **state)
{
	struct xv_ct_info c;

	(void)state;
	bind_flows();
	ask(1);
	answer(1);
	ask(5);
	answer(5);
	assert_int_equal(inserted(), 2); /* one a direction: by the second of each, for the first may be all there is */
	assert_int_equal(hits(), 4 + 4);
	assert_int_equal(taken(2), 12);
	c = connection();
	assert_int_equal(c.packets[0], 6);
	assert_int_equal(c.packets[1], 6);
	assert_int_equal(c.bytes[0], 6 * 48);
	assert_int_equal(c.bytes[1], 6 * 48);
	assert_int_equal(packets_of(rig.track), 12);
	assert_int_equal(packets_of(rig.new), 1);
	assert_int_equal(packets_of(rig.est), 11);
}

static void what_is_never_answered_is_fused(void **state)
{
	(void)state;
	bind_flows();
	ask(10);
	assert_int_equal(hits(), 8); /* all but the one that opens, and the next */
	assert_int_equal(packets_of(rig.new), 10);
	assert_int_equal(connection().packets[0], 10);
	/* Whoever answers makes it another one to flows. */
	answer(1);
	ask(2);
	assert_int_equal(hits(), 8 + 1);
	assert_int_equal(packets_of(rig.new), 10);
	assert_int_equal(packets_of(rig.est), 3);
}

static void deleted_is_new_again(void **state)
{
	uint64_t before;

	(void)state;
	bind_flows();
	ask(1);
	answer(2);
	ask(2);
	delete_it();
	before = hits();
	/* It gets the memory of the old one. The answers' entry is of that. */
	ask(1);
	answer(1);
	assert_int_equal(hits(), before);
	assert_int_equal(packets_of(rig.new), 2);
	assert_int_equal(connection().packets[1], 1);
	answer(2);
	assert_int_equal(hits(), before + 1);
}

static void expired_is_new_again(void **state)
{
	uint64_t before;

	(void)state;
	bind_flows();
	ask(1);
	answer(2);
	ask(2);
	before = hits();
	xv_clock_warp_ms(200 * 1000);
	ask(1);
	assert_int_equal(hits(), before);
	assert_int_equal(packets_of(rig.new), 2);
	assert_int_equal(connection().packets[0], 1);
}

static void mark_is_noticed(void **state)
{
	const struct xv_action_ct set = {.zone = ZONE, .flags = XV_CT_COMMIT, .mark = 3, .mark_mask = 3};
	struct ct_packet p;
	uint64_t before;

	(void)state;
	bind_flows();
	ask(1);
	answer(1);
	ask(3);
	before = hits();
	ct_packet_make(&p, &question, 0);
	assert_int_equal(xv_conntrack_packet(xv_flow_conntrack, &set, &p.m, &p.key, &p.layout, now_ms(), &p.hit), 0);
	ask(1);
	assert_int_equal(hits(), before);
	ask(1);
	assert_int_equal(hits(), before + 1);
}

static void end_of_tcp_goes_the_long_way(void **state)
{
	uint64_t before;

	(void)state;
	bind_flows();
	tcp(false, CT_SYN, 100, 0, 0);
	tcp(true, CT_SYN | CT_ACK, 500, 101, 0);
	assert_int_equal(inserted(), 0); /* not before the handshake is over */
	tcp(false, CT_ACK, 101, 501, 0);
	tcp(false, CT_ACK, 101, 501, 10);
	tcp(true, CT_ACK, 501, 111, 10);
	tcp(true, CT_ACK, 511, 111, 10);
	assert_int_equal(hits(), 2);
	assert_int_equal(connection().state, XV_CT_TCP_ESTABLISHED);
	before = inserted();
	tcp(false, CT_ACK, 0x40000000, 501, 10); /* out of the window: invalid, of no flow here */
	assert_int_equal(dropped(0, XV_DROP_NO_FLOW), 1);
	tcp(false, CT_FIN | CT_ACK, 111, 521, 0);
	assert_int_equal(connection().state, XV_CT_TCP_FIN_WAIT);
	tcp(true, CT_ACK, 521, 112, 10);
	assert_int_equal(connection().state, XV_CT_TCP_CLOSE_WAIT);
	tcp(true, CT_RST, 531, 0, 0);
	assert_int_equal(connection().state, XV_CT_TCP_CLOSE);
	assert_int_equal(hits(), 2);
	assert_int_equal(inserted(), before);
}

/* Nothing of ICMP can be advanced: its packets do not throw entries of one another out of the cache. */
static void pings_are_not_recorded(void **state)
{
	struct ct_frame ping = {.proto = 1, .src = question.src, .dst = question.dst, .type = 8, .id = 7}, pong = ct_frame_reply(&ping);
	unsigned int i;

	(void)state;
	bind_flows();
	for (i = 0; i < 5; i++) {
		send(&ping);
		send(&pong);
	}
	assert_int_equal(packets_of(rig.est), 9);
	assert_int_equal(inserted(), 0);
}

/* ---- Firewalls ---- */

static void bind_network(unsigned int port, const struct xv_firewall *firewall)
{
	struct xv_binding *b = calloc(1, sizeof(*b));

	b->forward = XV_FORWARD_NETWORK;
	b->network = rig.network;
	b->firewall = firewall;
	b->tracked = true;
	b->zone = ZONE;
	xv_port_bind(rig.ports[port], b);
}

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
	struct ct_frame wrong = question, unreachable, back = ct_frame_reply(&question);
	unsigned int i;

	(void)state;
	bind_network(0, NULL);
	bind_network(1, &closed);
	bind_network(2, NULL);
	/* Nobody knows where the receiver is: two get it, one connection is committed. */
	ask(1);
	assert_int_equal(taken(1), 1);
	assert_int_equal(taken(2), 1);
	assert_int_equal(connection().packets[0], 1);
	answer(1); /* which its own rules would not let out */
	assert_int_equal(taken(0), 1);
	settle();
	for (i = 0; i < 4; i++) {
		ask(1);
		answer(1);
		settle();
	}
	assert_int_equal(taken(1), 4);
	assert_int_equal(taken(0), 4);
	assert_true(hits() >= 4);
	assert_int_equal(connection().packets[0], 5);
	assert_int_equal(connection().packets[1], 5);
	/* An error about it is related. */
	unreachable = (struct ct_frame){.proto = 1, .src = back.src, .dst = back.dst, .type = 3, .code = 3, .inner = &question};
	send(&unreachable);
	assert_int_equal(taken(0), 1);
	wrong.dport = 81;
	send(&wrong);
	assert_int_equal(taken(1), 0);
	assert_int_equal(dropped(0, XV_DROP_FIREWALL), 1);
	/* Other rules hold for what is established, from the next packet on. */
	bind_network(1, &shut);
	ask(2);
	answer(1);
	assert_int_equal(taken(0) + taken(1), 0);
	assert_int_equal(dropped(0, XV_DROP_FIREWALL), 3);
	assert_int_equal(dropped(1, XV_DROP_FIREWALL), 1);
	bind_network(1, NULL);
	settle();
	xv_policy_destroy(web);
	xv_policy_destroy(other);
}

/* Nobody gets what could not be committed, and the reason says why. */
static void flood_that_cannot_be_committed(void **state)
{
	struct xv_policy *web = policy(80);
	struct xv_firewall closed = {.ingress = web};

	(void)state;
	bind_network(0, NULL);
	bind_network(1, &closed);
	bind_network(2, NULL);
	xv_conntrack_set_zone_limit(xv_flow_conntrack, ZONE, 1);
	ask(1);
	assert_int_equal(taken(1) + taken(2), 2);
	send(&(struct ct_frame){.proto = 17, .src = question.src, .dst = 0x0a000003, .sport = 5, .dport = 80});
	assert_int_equal(taken(1) + taken(2), 0);
	assert_int_equal(dropped(0, XV_DROP_CT_LIMIT), 2);
	bind_network(1, NULL);
	settle();
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
	ask(1);
	answer(1);
	ask(3);
	assert_int_equal(hits(), 2);
	xv_worker_destroy(second);
	assert_false(xv_flow_conntrack->shared);
	ask(1);
	assert_int_equal(hits(), 3);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(established_is_fused_and_counted),
		TEST(what_is_never_answered_is_fused),
		TEST(deleted_is_new_again),
		TEST(expired_is_new_again),
		TEST(mark_is_noticed),
		TEST(end_of_tcp_goes_the_long_way),
		TEST(pings_are_not_recorded),
		TEST(firewall_of_a_network),
		TEST(flood_that_cannot_be_committed),
		TEST(second_worker_makes_it_shared),
	};

	return cmocka_run_group_tests(tests, group_setup, NULL);
}
