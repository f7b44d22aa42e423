/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Actions one by one: what goes in, what comes out of which port, whether it is fused; and what the differential test
 * (flow_world.h) has found, each as a small case.
 */
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_mbuf.h>
#include <rte_mempool.h>

#include "action_programs.h"
#include "base/clock.h"
#include "fastpath/binding.h"
#include "fastpath/flow.h"
#include "fastpath/fused.h"
#include "fastpath/ledger.h"
#include "fastpath/meter.h"
#include "fastpath/upcall.h"
#include "fastpath/worker.h"
#include "port/dummy.h"
#include "port/eal.h"
#include "table/rcu.h"

#define PORTS  4
#define OUTPUTS 4

static struct {
	struct xv_worker *worker;
	struct xv_port *ports[PORTS];
	struct xv_ledger base;
	unsigned int buffers;
} rig;

static unsigned int cache_entries = 1024; /* of the next test */

/* ---- Rig ---- */

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
	rig.buffers = rte_mempool_avail_count(xv_packet_pool());
	xv_fused_entries = cache_entries;
	cache_entries = 1024;
	assert_int_equal(xv_flows_init(), 0);
	assert_int_equal(xv_worker_create("actions", -1, true, &rig.worker, NULL), 0);
	for (i = 0; i < PORTS; i++) {
		struct xv_port_config config = {.kind = XV_PORT_DUMMY, .queues = 1};
		struct xv_binding *b = calloc(1, sizeof(*b));

		snprintf(config.name, sizeof(config.name), "p%u", i);
		assert_int_equal(xv_port_create(&config, i, NULL, &rig.ports[i], NULL), 0);
		refs[i] = (struct xv_queue_ref){rig.ports[i], 0};
		b->forward = XV_FORWARD_FLOWS;
		xv_port_bind(rig.ports[i], b);
	}
	xv_ledger_read(rig.ports[0], &rig.base);
	assert_int_equal(xv_worker_set_queues(rig.worker, refs, PORTS), 0);
	return 0;
}

static void run(void)
{
	unsigned int i;

	for (i = 0; i < 3; i++)
		(void)xv_worker_run_once(rig.worker);
}

static int teardown(void **state)
{
	unsigned int i;

	(void)state;
	assert_int_equal(xv_worker_set_queues(rig.worker, NULL, 0), 0);
	for (i = 0; i < PORTS; i++) {
		xv_port_bind(rig.ports[i], NULL);
		xv_workers_forget_port(rig.ports[i]);
	}
	for (i = 0; i < 1000 && xv_flows_poll(); i++)
		run();
	for (i = 0; i < PORTS; i++)
		xv_port_destroy(rig.ports[i]);
	xv_worker_destroy(rig.worker);
	xv_flows_fini();
	xv_rcu_synchronize();
	(void)xv_rcu_poll();
	assert_int_equal(rte_mempool_avail_count(xv_packet_pool()), rig.buffers);
	return 0;
}

static uint64_t dropped(enum xv_drop reason)
{
	struct xv_ledger l;

	xv_ledger_read(rig.ports[0], &l);
	return l.drops[reason] - rig.base.drops[reason];
}

static struct xv_fused_stats fused(void)
{
	struct xv_fused_stats stats;

	xv_fused_get_stats(xv_worker_fused(rig.worker), &stats);
	return stats;
}

static struct rte_mbuf *packet(const char *hex)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(xv_packet_pool());
	uint8_t bytes[512];
	unsigned int n = unit_hex(hex, bytes, sizeof(bytes));

	assert_non_null(m);
	memcpy(rte_pktmbuf_append(m, (uint16_t)n), bytes, n);
	return m;
}

static void send(struct rte_mbuf *m)
{
	assert_int_equal(xv_dummy_put(rig.ports[0], 0, m), 0);
	run();
}

/* What comes out of a port next is this; NULL: nothing. */
static void expect(unsigned int port, const char *hex)
{
	struct rte_mbuf *m = xv_dummy_take(rig.ports[port]);
	uint8_t expected[512], got[512];
	unsigned int n;

	if (hex == NULL) {
		assert_null(m);
		return;
	}
	assert_non_null(m);
	n = unit_hex(hex, expected, sizeof(expected));
	assert_int_equal(m->pkt_len, n);
	assert_memory_equal(rte_pktmbuf_read(m, 0, n, got), expected, n);
	rte_pktmbuf_free(m);
}

static struct xv_flow *add(const struct xv_flow_key *key, const struct xv_flow_key *mask, build_fn *build)
{
	struct xv_flow_spec spec = {.key = key, .mask = mask, .owner = XV_FLOW_NO_OWNER, .actions = built(build)};
	struct xv_flow *flow;

	assert_int_equal(xv_actions_check(spec.actions, key, mask, NULL), 0);
	assert_int_equal(xv_flow_add(&spec, &flow), 0);
	return flow;
}

static struct xv_flow *add_for(const char *hex, build_fn *build)
{
	struct xv_flow_key key, mask;

	match_of(hex, &key, &mask);
	return add(&key, &mask, build);
}

/* Everything with this recirculation id, whatever it is by then. */
static struct xv_flow *add_recirc(uint32_t id, build_fn *build)
{
	struct xv_flow_key key = {.recirc_id = id}, mask = {.recirc_id = UINT32_MAX};

	return add(&key, &mask, build);
}

struct action_case {
	const char *name, *in;
	build_fn *build;
	const char *out[OUTPUTS]; /* by port */
	int drop;		  /* reason, or -1 */
	bool fused;
};

static const struct action_case cases[] = {
	{"output", UDP, output_1, {NULL, UDP}, -1, true},
	{"several outputs", UDP, output_all, {NULL, UDP, UDP, UDP}, -1, true},
	{"no such port", UDP, output_nobody, {NULL}, XV_DROP_TX_DOWN, false},
	{"empty", UDP, nothing, {NULL}, XV_DROP_ACTION, true},
	{"drop", UDP, drop_policy, {NULL}, XV_DROP_POLICY, true},
	{"forward without a network", UDP, forward, {NULL}, XV_DROP_NO_FLOW, false},
	{"set", UDP, set_udp,
	 {NULL, "02000000000c 02000000000a 0800 45b80020000000003f11af650a000001c0a8010703e81f90000c4be761626364"}, -1, true},
	{"set icmp", ICMP, set_icmp,
	 {NULL, MACS "0800 4500 0020 0000 0000 4001 66db 0a000001 0a000002 0000 3b36 0001 0002 61626364"}, -1, true},
	{"set arp", ARP, set_arp,
	 {NULL, MACS "0806 0001 0800 06 04 0002 02000000000a 0a000009 02000000000d 0a000002"}, -1, false},
	{"push vlan", UDP, push_vlan_out, {NULL, TAGGED}, -1, true},
	{"push second vlan", TAGGED, push_vlan_out, {NULL, MACS "8100 2005 8100 2005 0800 " L3_UDP}, -1, true},
	{"pop vlan", TAGGED, pop_vlan_out, {NULL, UDP}, -1, true},
	{"push mpls", UDP, push_mpls, {NULL, MACS "8847 00012140 " L3_UDP}, -1, true},
	{"pop mpls", MACS "8847 00012140 " L3_UDP, pop_mpls, {NULL, UDP}, -1, true},
	{"pop and push ethernet", UDP, pop_push_eth,
	 {NULL, "02000000000d 02000000000e 0800 " L3_UDP, L3_UDP}, -1, true},
	{"push and pop nsh", UDP, push_nsh,
	 {NULL, "02000000000d 02000000000e 894f 0fc6 01 03 000007ff 00000001 00000000 00000000 00000000 " UDP, UDP}, -1,
	 true},
	{"clone", UDP, clone_tagged, {NULL, UDP, TAGGED}, -1, true},
	{"sample", UDP, sample, {NULL, UDP, UDP}, -1, true},
	{"longer than", UDP, check_len_45, {NULL, UDP}, -1, true},
	{"not longer than", UDP, check_len_46, {NULL, NULL, UDP}, -1, true},
	{"trunc is for the next output", UDP, trunc_first, {NULL, UDP, MACS "0800 4500 0020 0000"}, -1, true},
	{"meter", UDP, meter, {NULL, UDP}, -1, true},
	{"tunnel", UDP, vxlan_out, {NULL, IN_VXLAN UDP}, -1, true},
	/* What was encapsulated was cut, as if the tunnel were the payload. */
	{"trunc before a tunnel", UDP, trunc_vxlan_out,
	 {NULL, OUTER("0038", "e291", "00") "3039 12b5 0024 0000 08000000 00001200" MACS "0800 4500 0020 0000"}, -1, true},
	/* Were sent to the first port only. */
	{"tunnel to several ports", UDP, vxlan_out_twice, {NULL, IN_VXLAN UDP, IN_VXLAN UDP}, -1, false},
	/* TOS was looked for behind an Ethernet header that is not there. */
	{"tunnel without ethernet", MACS "0800 " L3_UDP_TOS, geneve_l3_out,
	 {NULL, OUTER("0044", "e25b", "2a") "3039 17c1 0030 0000 00000800 00001200" L3_UDP_TOS}, -1, true},
};

/* Three times: the long way, and as a fused flow if it is one. */
static void each_action(void **state)
{
	unsigned int i, round, p;

	(void)state;
	for (i = 0; i < RTE_DIM(cases); i++) {
		const struct action_case *c = &cases[i];
		uint64_t hits = fused().hits, drops = c->drop >= 0 ? dropped((enum xv_drop)c->drop) : 0;
		struct xv_flow *flow = add_for(c->in, c->build);

		print_message("%s\n", c->name);
		for (round = 0; round < 3; round++) {
			send(packet(c->in));
			for (p = 0; p < PORTS; p++) {
				expect(p, c->out[p]);
				expect(p, NULL);
			}
		}
		if (c->drop >= 0)
			assert_int_equal(dropped((enum xv_drop)c->drop), drops + 3);
		assert_int_equal(fused().hits - hits, c->fused ? 2 : 0);
		xv_flow_del(flow);
	}
}

static void meter_drops_what_is_over_it(void **state)
{
	struct xv_flow *flow = add_for(UDP, meter);
	struct xv_meter_stats stats;
	unsigned int i, n = 0;
	struct rte_mbuf *m;

	(void)state;
	assert_int_equal(xv_meter_set(9, 100, 0, 10), 0);
	for (i = 0; i < 100; i++)
		send(packet(UDP));
	for (; (m = xv_dummy_take(rig.ports[1])) != NULL; n++)
		rte_pktmbuf_free(m);
	assert_int_equal(n, 64); /* the least burst */
	assert_int_equal(dropped(XV_DROP_METER), 36);
	assert_int_equal(xv_meter_get_stats(9, &stats), 0);
	assert_int_equal(stats.packets, 100);
	assert_int_equal(stats.dropped_packets, 36);
	assert_int_equal(stats.bytes, stats.dropped_bytes / 36 * 100);
	xv_meter_del(9);
	assert_int_equal(xv_meter_get_stats(9, &stats), -ENOENT);
	xv_flow_del(flow);
}

/* ---- Small cases of what was found ---- */

static void stats_of(const struct xv_flow *flow, struct xv_flow_stats *stats)
{
	uint64_t sweep = xv_flows_sweep();
	unsigned int i;

	for (i = 0; i < 1000 && xv_flows_swept() < sweep; i++)
		run();
	xv_flow_get_stats(flow, stats);
}

/* A flow behind a push counts the packet as it was then, fused or not. */
static void bytes_are_those_that_a_flow_saw(void **state)
{
	struct xv_flow *first = add_for(UDP, push_vlan_recirc), *second = add_recirc(7, output_1);
	struct xv_flow_stats stats;
	unsigned int i;

	(void)state;
	for (i = 0; i < 5; i++) {
		send(packet(UDP));
		expect(1, TAGGED);
	}
	assert_int_equal(fused().hits, 4);
	stats_of(first, &stats);
	assert_true(stats.packets == 5 && stats.bytes == UINT64_C(5) * 46);
	stats_of(second, &stats);
	assert_true(stats.packets == 5 && stats.bytes == UINT64_C(5) * 50);
}

/* Outer headers begin with Ethernet, also those of a packet that had lost its own. */
static void outer_headers_are_ethernet(void **state)
{
	struct xv_flow_key key, mask;

	(void)state;
	(void)add_for(MACS "0800 " L3_UDP_TOS, geneve_l3_recirc);
	match_of(IN_VXLAN UDP, &key, &mask);
	key.recirc_id = 7;
	key.tp_dst = RTE_BE16(6081);
	mask.tp_dst = UINT16_MAX;
	(void)add(&key, &mask, output_1);
	send(packet(MACS "0800 " L3_UDP_TOS));
	expect(1, OUTER("0044", "e25b", "2a") "3039 17c1 0030 0000 00000800 00001200" L3_UDP_TOS);
}

static struct rte_mbuf *with_request(const char *hex, uint16_t start, uint16_t offset)
{
	struct rte_mbuf *m = packet(hex);

	*xv_packet_offload(m) = (struct xv_offload){.flags = XV_OFFLOAD_CSUM, .csum_start = start, .csum_offset = offset};
	m->ol_flags |= XV_PACKET_OFFLOAD;
	return m;
}

/* A request whose checksum begins in the tag that goes: dropped, also when others of the connection are fused. */
static void odd_requests_are_not_fused(void **state)
{
	(void)state;
	(void)add_for(TAGGED, pop_vlan_out);
	send(packet(TAGGED));
	send(packet(TAGGED));
	expect(1, UDP);
	expect(1, UDP);
	assert_int_equal(fused().hits, 1);
	send(with_request(TAGGED, 5, 16));
	expect(1, NULL);
	assert_int_equal(dropped(XV_DROP_MALFORMED), 1);
	assert_int_equal(fused().hits, 1);
	send(packet(TAGGED));
	expect(1, UDP);
	assert_int_equal(fused().hits, 2);
}

/* The checksum at this place, but asked for as if it were another header's: it covers other bytes. */
static void requests_are_told_by_where_they_begin(void **state)
{
	struct rte_mbuf *m;
	uint8_t first[60], second[60];

	(void)state;
	(void)add_for(UDP, set_udp);
	send(packet(UDP));
	m = xv_dummy_take(rig.ports[1]);
	rte_pktmbuf_free(m);
	send(with_request(UDP, 30, 10));
	m = xv_dummy_take(rig.ports[1]);
	assert_non_null(m);
	memcpy(first, rte_pktmbuf_mtod(m, uint8_t *), 46);
	rte_pktmbuf_free(m);
	xv_flows_set_fusing(false);
	send(with_request(UDP, 30, 10));
	m = xv_dummy_take(rig.ports[1]);
	assert_non_null(m);
	memcpy(second, rte_pktmbuf_mtod(m, uint8_t *), 46);
	rte_pktmbuf_free(m);
	xv_flows_set_fusing(true);
	assert_memory_equal(first, second, 46);
}

/* The reason is the same whichever way it goes. */
static void no_headroom_is_no_buffer(void **state)
{
	struct rte_mbuf *m;
	unsigned int i;

	(void)state;
	(void)add_for(UDP, push_vlan_out);
	for (i = 0; i < 3; i++) {
		if (i == 1) { /* makes the entry */
			send(packet(UDP));
			expect(1, TAGGED);
		}
		m = packet(UDP);
		memmove(m->buf_addr, rte_pktmbuf_mtod(m, uint8_t *), m->data_len);
		m->data_off = 0;
		send(m);
		expect(1, NULL);
		assert_int_equal(dropped(XV_DROP_NO_BUFFER), i + 1);
	}
	assert_int_equal(fused().hits, 2);
}

/* Connections that are over do not keep new ones out of a cache that is full. */
static void full_cache_takes_new_connections(unsigned int connections)
{
	struct rte_mbuf *m;
	unsigned int i;
	uint64_t hits;

	(void)add_for(UDP, set_udp);
	for (i = 0; i < connections; i++) {
		uint8_t *p;

		m = packet(UDP);
		p = rte_pktmbuf_mtod(m, uint8_t *);
		p[29] = (uint8_t)(i >> 16); /* addresses and ports that UDP has not */
		p[28] = 1;
		p[34] = (uint8_t)(i >> 8);
		p[35] = (uint8_t)i;
		assert_int_equal(xv_dummy_put(rig.ports[0], 0, m), 0);
		if (i % 60 == 59) {
			run();
			while ((m = xv_dummy_take(rig.ports[1])) != NULL)
				rte_pktmbuf_free(m);
			xv_clock_warp_ms(1);
		}
	}
	run();
	assert_int_equal(fused().hits, 0);
	hits = 0;
	for (i = 0; i < 3; i++) {
		while ((m = xv_dummy_take(rig.ports[1])) != NULL)
			rte_pktmbuf_free(m);
		hits = fused().hits;
		send(packet(UDP));
	}
	assert_int_equal(fused().hits, hits + 1);
	while ((m = xv_dummy_take(rig.ports[1])) != NULL)
		rte_pktmbuf_free(m);
}

static void full_of_entries(void **state)
{
	(void)state;
	full_cache_takes_new_connections(5000);
	assert_in_range(fused().entries, 900, 1024);
}

static int setup_large(void **state)
{
	cache_entries = 1 << 18;
	return setup(state);
}

static void full_of_rewrites(void **state)
{
	(void)state;
	full_cache_takes_new_connections(66000);
}

static void endless_recirculation_ends(void **state)
{
	unsigned int i;

	(void)state;
	(void)add_for(UDP, recirc);
	(void)add_recirc(7, recirc);
	for (i = 0; i < 2; i++) {
		send(packet(UDP));
		assert_int_equal(dropped(XV_DROP_DEPTH), i + 1);
	}
	assert_int_equal(fused().entries, 0);
}

static void step_to(struct xv_actions_builder *b)
{
	static uint32_t next = 100;

	xv_actions_add(b, XV_ACT_RECIRC, next++, NULL, 0);
}

/* Longer than a trail can be: right all the same. */
static void long_trails_are_not_fused(void **state)
{
	struct xv_flow *flows[XV_TRAIL_MAX + 1];
	struct xv_flow_stats stats;
	unsigned int i;

	(void)state;
	flows[0] = add_for(UDP, step_to);
	for (i = 1; i < XV_TRAIL_MAX; i++)
		flows[i] = add_recirc(99 + i, step_to);
	flows[i] = add_recirc(99 + i, output_1);
	for (i = 0; i < 3; i++) {
		send(packet(UDP));
		expect(1, UDP);
	}
	assert_int_equal(fused().hits, 0);
	for (i = 0; i <= XV_TRAIL_MAX; i++) {
		stats_of(flows[i], &stats);
		assert_int_equal(stats.packets, 3);
	}
	/* One less is. */
	xv_flow_set_actions(flows[XV_TRAIL_MAX - 1], built(output_1));
	for (i = 0; i < 3; i++) {
		send(packet(UDP));
		expect(1, UDP);
	}
	assert_int_equal(fused().hits, 2);
	stats_of(flows[0], &stats);
	assert_int_equal(stats.packets, 6);
	stats_of(flows[XV_TRAIL_MAX], &stats);
	assert_int_equal(stats.packets, 3);
}

/* dp_hash is the same for all packets of a connection, and tells flows behind apart. */
static void hash_chooses_a_flow(void **state)
{
	struct xv_flow_key key = {.recirc_id = 7}, mask = {.recirc_id = UINT32_MAX, .dp_hash = 1};
	unsigned int i, n[2] = {0, 0};
	struct rte_mbuf *m;

	(void)state;
	(void)add_for(UDP, hash_recirc);
	(void)add(&key, &mask, output_1);
	key.dp_hash = 1;
	(void)add(&key, &mask, drop_policy);
	for (i = 0; i < 128; i++) {
		m = packet(UDP);
		rte_pktmbuf_mtod(m, uint8_t *)[35] = (uint8_t)(i / 2); /* source port: each twice */
		send(m);
	}
	for (; (m = xv_dummy_take(rig.ports[1])) != NULL; n[0]++)
		rte_pktmbuf_free(m);
	n[1] = (unsigned int)dropped(XV_DROP_POLICY);
	assert_int_equal(n[0] + n[1], 128);
	assert_true(n[0] % 2 == 0 && n[0] >= 32 && n[0] <= 96);
	assert_int_equal(fused().hits, 64);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(each_action),
		T(meter_drops_what_is_over_it),
		T(bytes_are_those_that_a_flow_saw),
		T(outer_headers_are_ethernet),
		T(odd_requests_are_not_fused),
		T(requests_are_told_by_where_they_begin),
		T(no_headroom_is_no_buffer),
		T(full_of_entries),
		cmocka_unit_test_setup_teardown(full_of_rewrites, setup_large, teardown),
		T(endless_recirculation_ends),
		T(long_trails_are_not_fused),
		T(hash_chooses_a_flow),
	};

	return cmocka_run_group_tests(tests, group_setup, NULL);
}
