/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Following packets: dummy ports, a worker without a thread, a stopped clock. Which stages are told of which
 * packet, what bounds hold, and that nothing is left of a trace when it is over. That packets go the same way is
 * tested by flow_differential.
 */
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_mbuf.h>
#include <rte_mempool.h>

#include "base/clock.h"
#include "control/packet_filter.h"
#include "fastpath/flow.h"
#include "fastpath/ledger.h"
#include "fastpath/live_trace.h"
#include "fastpath/network.h"
#include "fastpath/policy.h"
#include "fastpath/worker.h"
#include "live_story.h"
#include "net/packet.h"
#include "port/dummy.h"
#include "port/eal.h"
#include "table/rcu.h"

#define PORTS 4

static struct {
	struct xv_worker *worker;
	struct xv_network *network;
	struct xv_port *ports[PORTS];
	unsigned int mbufs_before;
} rig;

static int group_setup(void **state)
{
	struct xv_eal_config config = {.memory_mb = 64};

	(void)state;
	xv_clock_init(0);
	xv_clock_stop();
	xv_worker_configure(&(struct xv_worker_settings){.batch = 1});
	return xv_eal_init(&config, NULL) != 0 || xv_rcu_init() != 0 || xv_flows_init() != 0;
}

static int setup(void **state)
{
	struct xv_queue_ref refs[PORTS];
	uint16_t i;

	(void)state;
	rig.mbufs_before = rte_mempool_avail_count(xv_packet_pool());
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

static unsigned int taken(unsigned int port)
{
	struct rte_mbuf *m;
	unsigned int n;

	for (n = 0; (m = xv_dummy_take(rig.ports[port])) != NULL; n++)
		rte_pktmbuf_free(m);
	return n;
}

static int teardown(void **state)
{
	unsigned int i;

	(void)state;
	xv_live_trace_stop();
	assert_int_equal(xv_worker_set_queues(rig.worker, NULL, 0), 0);
	for (i = 0; i < PORTS; i++) {
		(void)taken(i);
		xv_port_bind(rig.ports[i], NULL);
		xv_workers_forget_port(rig.ports[i]);
	}
	settle();
	for (i = 0; i < PORTS; i++)
		xv_port_destroy(rig.ports[i]);
	xv_network_destroy(rig.network);
	xv_worker_destroy(rig.worker);
	xv_rcu_synchronize();
	(void)xv_rcu_poll();
	assert_int_equal(rte_mempool_avail_count(xv_packet_pool()), rig.mbufs_before);
	return 0;
}

static void bind_wire(unsigned int port, unsigned int peer)
{
	struct xv_binding *b = calloc(1, sizeof(*b));

	b->forward = XV_FORWARD_WIRE;
	b->peer = rig.ports[peer];
	xv_port_bind(rig.ports[port], b);
}

static void bind_network(unsigned int port, const struct xv_policy *egress)
{
	struct xv_binding *b = calloc(1, sizeof(*b));

	b->forward = XV_FORWARD_NETWORK;
	b->network = rig.network;
	b->egress_policy = egress;
	xv_port_bind(rig.ports[port], b);
}

/* UDP from 02::(src) to 02::(dst), 0xff: broadcast. */
static void put(unsigned int in, uint8_t src, uint8_t dst, uint16_t dst_port)
{
	uint8_t p[60] = {2, 0, 0, 0, 0, dst, 2, 0, 0, 0, 0, src, 0x08, 0x00, 0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0,
			 0, 1, 10, 0, 0, 2, 0x03, 0xe8, (uint8_t)(dst_port >> 8), (uint8_t)dst_port, 0, 26};

	if (dst == 0xff)
		memset(p, 0xff, 6);
	assert_int_equal(xv_dummy_put(rig.ports[in], 0, unit_packet(xv_packet_pool(), p, sizeof(p), NULL)), 0);
}

static void wire(void **state)
{
	(void)state;
	bind_wire(0, 1);
	bind_wire(1, 0);
	put(0, 1, 2, 80);
	run();
	live_story_start(NULL, XV_LIVE_ANY_PORT);
	live_story_expect("");
	put(0, 1, 2, 80);
	put(1, 2, 1, 80);
	run();
	live_story_expect("1: wire output p1 sent p1; 2: wire output p0 sent p0");
	xv_live_trace_stop();
	put(0, 1, 2, 80);
	run();
	live_story_expect("");
	assert_int_equal(taken(1), 3);
}

/* Only those that fit, in their places among the others. */
static void filter(void **state)
{
	unsigned int i;

	(void)state;
	bind_wire(0, 1);
	bind_wire(1, 0);
	live_story_start("udp dst port 80 and src host 10.0.0.1", 0);
	for (i = 0; i < 12; i++)
		put(0, 1, 2, (uint16_t)(i % 4 == 1 ? 80 : 1000 + i));
	put(1, 1, 2, 80);
	run();
	live_story_expect("1: wire output p1 sent p1; 2: wire output p1 sent p1; 3: wire output p1 sent p1");
	for (i = 0; i < 12; i++) {
		struct rte_mbuf *m = xv_dummy_take(rig.ports[1]);

		assert_non_null(m);
		assert_int_equal(rte_pktmbuf_mtod(m, uint8_t *)[37], (uint8_t)(i % 4 == 1 ? 80 : 1000 + i));
		rte_pktmbuf_free(m);
	}
}

static void bad_filters(void **state)
{
	static const char *const bad[][2] = {
		{"tcp prt 80", "syntax error"}, {"port 99999", "illegal port number"}, {"host no.such.example.invalid", "host"}};
	struct rte_bpf *bpf = NULL;
	unsigned int i;

	(void)state;
	for (i = 0; i < RTE_DIM(bad); i++) {
		struct xv_err err = {0};

		assert_true(xv_packet_filter_compile(bad[i][0], &bpf, &err) < 0);
		assert_non_null(strstr(err.text, bad[i][1]));
		assert_null(bpf);
	}
}

static void network(void **state)
{
	unsigned int i;

	(void)state;
	for (i = 0; i < 3; i++)
		bind_network(i, NULL);
	live_story_start(NULL, XV_LIVE_ANY_PORT);
	put(1, 2, 0xff, 80);
	run();
	live_story_expect("1: flood output p0 sent p0 output p2 sent p2");
	put(0, 1, 2, 80);
	put(1, 2, 2, 80);
	run();
	live_story_expect("2: MAC p1 output p1 sent p1; 3: drop same-port");
	put(3, 1, 2, 80);
	run();
	live_story_expect("4: drop unbound");
}

static void flows(void **state)
{
	struct xv_policy_rule rule;
	struct xv_policy *policy;

	(void)state;
	xv_policy_rule_init(&rule);
	rule.has_proto = true;
	rule.proto = 17;
	rule.dst_port_min = rule.dst_port_max = 99;
	assert_int_equal(xv_policy_create("p", &rule, 1, XV_POLICY_ALLOW, &policy), 0);
	bind_network(0, policy);
	bind_network(1, NULL);
	put(1, 2, 0xff, 80);
	run();
	live_story_start("udp", 0);
	put(0, 1, 2, 80);
	put(0, 1, 2, 99);
	run();
	live_story_expect("1: long decided MAC p1 decided output p1 sent p1; 2: long decided drop policy");
	settle();
	put(0, 1, 2, 80);
	put(0, 1, 2, 99);
	run();
	live_story_expect("3: long flow MAC p1 flow output p1 sent p1; 4: long flow drop policy");
	put(0, 1, 2, 80);
	put(0, 1, 2, 99);
	run();
	live_story_expect("5: fused output p1 sent p1; 6: fused drop policy");
	xv_port_bind(rig.ports[0], NULL);
	settle();
	xv_rcu_synchronize();
	(void)xv_rcu_poll();
	xv_policy_destroy(policy);
}

/* What a rewrite has made of it is told. */
static void rewritten(void **state)
{
	struct xv_flow_key key = {.in_port = 0}, mask = {.in_port = UINT32_MAX}, to = {.ip_ttl = 9}, to_mask = {.ip_ttl = 0xff};
	struct xv_flow_spec spec = {.key = &key, .mask = &mask, .owner = XV_FLOW_NO_OWNER};
	struct xv_binding *b = calloc(1, sizeof(*b));
	struct xv_actions_builder builder;
	struct xv_flow *flow;
	unsigned int i;

	(void)state;
	key.eth_type = RTE_BE16(0x0800);
	mask.eth_type = 0xffff;
	xv_actions_begin(&builder);
	xv_actions_open(&builder, XV_ACT_CLONE, 0);
	xv_actions_add(&builder, XV_ACT_OUTPUT, 2, NULL, 0);
	xv_actions_close(&builder);
	xv_actions_add_set(&builder, &to, &to_mask);
	xv_actions_add(&builder, XV_ACT_OUTPUT, 1, NULL, 0);
	assert_int_equal(xv_actions_finish(&builder, &spec.actions), 0);
	assert_int_equal(xv_flow_add(&spec, &flow), 0);
	b->forward = XV_FORWARD_FLOWS;
	xv_port_bind(rig.ports[0], b);
	for (i = 1; i < PORTS; i++)
		bind_wire(i, 0);
	live_story_start(NULL, 0);
	put(0, 1, 2, 80);
	run();
	live_story_expect("1: long flow copy output p2 sent p2 changed output p1 sent p1");
	xv_flow_del(flow);
}

/* It could not be sent at once: what became of it comes later, under its number. */
static void later(void **state)
{
	(void)state;
	bind_network(0, NULL);
	bind_network(1, NULL);
	bind_network(2, NULL);
	put(1, 2, 0xff, 80);
	run();
	xv_dummy_set_room(rig.ports[1], 0);
	live_story_start(NULL, XV_LIVE_ANY_PORT);
	put(0, 1, 2, 80);
	put(0, 1, 2, 81);
	run();
	live_story_expect("1: MAC p1 output p1 waits; 2: MAC p1 output p1 waits");
	xv_dummy_set_room(rig.ports[1], 1);
	run();
	live_story_expect("~1: sent p1");
	xv_dummy_set_up(rig.ports[1], false);
	run();
	live_story_expect("~2: drop tx-down");
	/* Of an earlier trace: nobody asks any more. */
	xv_dummy_set_up(rig.ports[1], true);
	xv_dummy_set_room(rig.ports[1], 0);
	put(0, 1, 2, 80);
	run();
	live_story_expect("3: MAC p1 output p1 waits");
	xv_live_trace_stop();
	xv_dummy_set_room(rig.ports[1], 9);
	run();
	live_story_expect("");
}

static void segments(void **state)
{
	uint8_t p[2054] = {2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x08, 0x00, 0x45, 0, 2040 >> 8, 2040 & 0xff, 0, 0, 0, 0, 64, 6,
			   0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0x03, 0xe8, 0, 80, [46] = 5 << 4};
	struct rte_mbuf *m = unit_packet(xv_packet_pool(), p, sizeof(p), NULL);

	(void)state;
	bind_wire(0, 1);
	bind_wire(1, 0);
	*xv_packet_offload(m) = (struct xv_offload){.flags = XV_OFFLOAD_CSUM, .gso_type = XV_GSO_TCPV4, .gso_size = 500,
						    .csum_start = 34, .csum_offset = 16};
	m->ol_flags |= XV_PACKET_OFFLOAD;
	live_story_start("tcp", XV_LIVE_ANY_PORT);
	assert_int_equal(xv_dummy_put(rig.ports[0], 0, m), 0);
	run();
	live_story_expect("1: wire segments 4 changed output p1 changed output p1 changed output p1 changed output p1 sent p1 "
			  "sent p1 sent p1 sent p1");
	assert_int_equal(taken(1), 4);
}

static void count_record(const struct xv_live_record *r, void *arg)
{
	unsigned int *n = arg;

	n[0]++;
	n[1] += r->steps_missed;
}

/* More than there is room for: counted, and forwarded like all others. */
static void bounds(void **state)
{
	unsigned int i, total = 0, n[2] = {0};
	uint64_t missed;

	(void)state;
	bind_wire(0, 1);
	bind_wire(1, 0);
	live_story_start(NULL, XV_LIVE_ANY_PORT);
	for (i = 0; i < 500; i++) {
		put(0, 1, 2, 80);
		run();
		total += taken(1);
	}
	assert_int_equal(total, 500);
	assert_int_equal(xv_live_trace_take(10, count_record, n, &missed), 10);
	assert_int_equal(n[0], 10);
	total = (unsigned int)missed;
	(void)xv_live_trace_take(UINT32_MAX, count_record, n, &missed);
	assert_int_equal(missed, 0);
	assert_int_equal(n[0], XV_LIVE_ROOM);
	assert_int_equal(n[0] + total, 500);
	/* The ring is empty, but the rate is not to be exceeded. */
	put(0, 1, 2, 80);
	put(0, 1, 2, 80);
	run();
	assert_int_equal(xv_live_trace_take(UINT32_MAX, count_record, n, &missed), 0);
	assert_int_equal(missed, 2);
	xv_clock_warp_ms(10);
	for (i = 0; i < 50; i++)
		put(0, 1, 2, 80);
	run();
	total = xv_live_trace_take(UINT32_MAX, count_record, n, &missed);
	assert_in_range(total, 9, 11);
	assert_int_equal(total + missed, 50);
	assert_int_equal(n[1], 0);
}

/* A packet that meets more stages than are kept. */
static void many_stages(void **state)
{
	struct xv_flow_key key = {.in_port = 0}, mask = {.in_port = UINT32_MAX};
	struct xv_flow_spec spec = {.key = &key, .mask = &mask, .owner = XV_FLOW_NO_OWNER};
	struct xv_binding *b = calloc(1, sizeof(*b));
	struct xv_actions_builder builder;
	unsigned int i, n[2] = {0};
	struct xv_flow *flow;
	uint64_t missed;

	(void)state;
	xv_actions_begin(&builder);
	for (i = 0; i < 100; i++)
		xv_actions_add(&builder, XV_ACT_OUTPUT, 1, NULL, 0);
	assert_int_equal(xv_actions_finish(&builder, &spec.actions), 0);
	assert_int_equal(xv_flow_add(&spec, &flow), 0);
	b->forward = XV_FORWARD_FLOWS;
	xv_port_bind(rig.ports[0], b);
	bind_wire(1, 0);
	live_story_start(NULL, 0);
	put(0, 1, 2, 80);
	run();
	assert_int_equal(taken(1), 100);
	assert_int_equal(xv_live_trace_take(UINT32_MAX, count_record, n, &missed), 1);
	assert_int_equal(missed, 0);
	assert_in_range(n[1], 100, 250);
	xv_flow_del(flow);
}

static void one_at_a_time(void **state)
{
	struct xv_live_config config = {.port = XV_LIVE_ANY_PORT, .bytes = 64};
	uint32_t base;

	(void)state;
	live_story_start("udp", XV_LIVE_ANY_PORT);
	assert_int_equal(xv_live_trace_start(&config, &base), -EBUSY);
	xv_live_trace_stop();
	assert_int_equal(xv_live_trace_start(&config, &base), 0);
	xv_live_trace_stop();
	xv_live_trace_stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(wire, setup, teardown),
		cmocka_unit_test_setup_teardown(filter, setup, teardown),
		cmocka_unit_test_setup_teardown(bad_filters, setup, teardown),
		cmocka_unit_test_setup_teardown(network, setup, teardown),
		cmocka_unit_test_setup_teardown(flows, setup, teardown),
		cmocka_unit_test_setup_teardown(rewritten, setup, teardown),
		cmocka_unit_test_setup_teardown(later, setup, teardown),
		cmocka_unit_test_setup_teardown(segments, setup, teardown),
		cmocka_unit_test_setup_teardown(bounds, setup, teardown),
		cmocka_unit_test_setup_teardown(many_stages, setup, teardown),
		cmocka_unit_test_setup_teardown(one_at_a_time, setup, teardown),
	};

	return cmocka_run_group_tests(tests, group_setup, NULL);
}
