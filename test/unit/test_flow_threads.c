/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Real workers forward and fuse while the control thread adds, deletes and changes the flows, reads counters and sweeps. Ports are a
 * kind of this test's own: they make packets and take them. Flows of the first pass are never deleted and match each packet
 * exactly once, so that their counters add up to what was made.
 *
 * The thread sanitizer understands DPDK's locks and rings only if they are made of compiler atomics:
 *   CC=clang meson setup build-tsan -Db_sanitize=thread -Db_lundef=false -Dbuildtype=debugoptimized with
 *   -Dc_args='-DRTE_FORCE_INTRINSICS -DRTE_USE_C11_MEM_MODEL'
 */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <rte_mbuf.h>
#include <rte_mempool.h>

#include "base/clock.h"
#include "fastpath/binding.h"
#include "fastpath/conntrack.h"
#include "fastpath/flow.h"
#include "fastpath/fused.h"
#include "fastpath/ledger.h"
#include "fastpath/live_trace.h"
#include "fastpath/worker.h"
#include "port/eal.h"
#include "table/rcu.h"

#define WORKERS 3
#define GROUPS	16 /* of packets, by destination port; each has its flows */
#define STEPS	3000
#define AGAIN	1 /* recirculation */

struct maker {
	struct xv_port port;
	uint64_t rnd; /* of the worker that polls it */
	_Atomic uint64_t made;
	_Atomic uint64_t taken, wrong; /* any worker */
};

static struct maker makers[WORKERS];
static struct xv_worker *workers[WORKERS];
static atomic_bool stop;

/* ---- Ports ---- */

static const uint8_t frame[60] = {
	2, 0, 0, 0, 0, 0xb, 2, 0, 0, 0, 0xff, 0xa, 0x08, 0x00,
	0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0x66, 0xbd, 10, 0, 0, 1, 10, 0, 0, 2,
	0x03, 0xe8, 0, 0, 0, 26, 0, 0,
};

static uint16_t csum(const uint8_t *p, uint32_t n)
{
	uint32_t sum = 0, i;

	for (i = 0; i < n; i += 2)
		sum += (uint32_t)p[i] << 8 | p[i + 1];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static uint16_t make(struct xv_port *port, uint16_t queue, struct rte_mbuf **pkts, uint16_t n)
{
	struct maker *m = (struct maker *)port;
	uint16_t i;

	(void)queue;
	if (atomic_load_explicit(&stop, memory_order_relaxed))
		return 0;
	n = (uint16_t)(1 + unit_random(&m->rnd, n));
	if (rte_pktmbuf_alloc_bulk(xv_packet_pool(), pkts, n) != 0)
		return 0;
	for (i = 0; i < n; i++) {
		uint8_t *p = (uint8_t *)rte_pktmbuf_append(pkts[i], sizeof(frame));
		uint16_t sum;

		memcpy(p, frame, sizeof(frame));
		p[22] = unit_random(&m->rnd, 4) == 0 ? 1 : 64;
		p[24] = p[25] = 0;
		sum = csum(p + 14, 20);
		p[24] = (uint8_t)(sum >> 8);
		p[25] = (uint8_t)sum;
		p[35] = (uint8_t)unit_random(&m->rnd, 4);
		p[37] = (uint8_t)unit_random(&m->rnd, GROUPS);
	}
	atomic_fetch_add_explicit(&m->made, n, memory_order_relaxed);
	return n;
}

/* Whoever sends to a port writes its number into the source address. */
static uint16_t take(struct xv_port *port, uint16_t queue, struct rte_mbuf **pkts, uint16_t n, enum xv_drop *why)
{
	struct maker *m = (struct maker *)port;
	uint16_t i;

	(void)queue;
	*why = XV_DROP_TX_FULL;
	for (i = 0; i < n; i++) {
		const uint8_t *p = rte_pktmbuf_mtod(pkts[i], const uint8_t *), *ip = p + (p[12] == 0x81 ? 18 : 14);

		if (p[10] != port->id || csum(ip, 20) != 0)
			atomic_fetch_add_explicit(&m->wrong, 1, memory_order_relaxed);
	}
	rte_pktmbuf_free_bulk(pkts, n);
	atomic_fetch_add_explicit(&m->taken, n, memory_order_relaxed);
	return n;
}

static void info(struct xv_port *port, struct xv_port_info *i)
{
	(void)port;
	i->state = XV_PORT_UP;
}

static const struct xv_port_ops maker_ops = {.kind = XV_PORT_DUMMY, .info = info, .rx = make, .tx = take};

/* ---- Flows ---- */

static uint64_t rnd = 1;

static void mark(struct xv_actions_builder *b, uint32_t port)
{
	struct xv_flow_key to = {0}, mask = {0};

	to.eth_src[4] = (uint8_t)port;
	mask.eth_src[4] = 0xff;
	xv_actions_add_set(b, &to, &mask);
}

static void out(struct xv_actions_builder *b, uint32_t port)
{
	xv_actions_add(b, XV_ACT_OUTPUT, port, NULL, 0);
}

static void program(struct xv_actions_builder *b, uint32_t recirc)
{
	const struct xv_action_push_vlan vlan = {.tpid = RTE_BE16(0x8100), .tci = RTE_BE16(5)};
	const struct xv_flow_key to = {.ip_ttl = 63}, mask = {.ip_ttl = 0xff};
	uint32_t port = unit_random(&rnd, WORKERS), other = unit_random(&rnd, WORKERS);
	struct xv_encap_params tunnel = {
		.type = XV_TUNNEL_VXLAN, .flags = XV_ENCAP_DF, .eth_src = {2, 0, 0, 0, (uint8_t)port}, .id = 5};
	struct xv_encap encap;
	struct xv_action_ct ct = {.zone = (uint16_t)unit_random(&rnd, 2), .mark_mask = UINT32_MAX, .mark = unit_random(&rnd, 2)};

	/* All workers have packets of the same connections. */
	if (unit_random(&rnd, 3) != 0) {
		ct.flags = XV_CT_COMMIT;
		xv_actions_add(b, XV_ACT_CT, 0, &ct, sizeof(ct));
	}
	switch (unit_random(&rnd, recirc == AGAIN ? 6 : 9)) {
	case 0:
		xv_actions_add(b, XV_ACT_DROP, XV_DROP_POLICY, NULL, 0);
		break;
	case 1:
		xv_actions_add_set(b, &to, &mask);
		xv_actions_add(b, XV_ACT_PUSH_VLAN, 0, &vlan, sizeof(vlan));
		mark(b, port);
		out(b, port);
		break;
	case 2:
		xv_actions_open(b, XV_ACT_CLONE, 0);
		mark(b, other);
		out(b, other);
		xv_actions_close(b);
		mark(b, port);
		out(b, port);
		break;
	case 3:
		assert_int_equal(xv_encap_build(&tunnel, &encap), 0);
		xv_actions_add(b, XV_ACT_TUNNEL_PUSH, 0, &encap, sizeof(encap));
		out(b, port);
		break;
	case 4:
	case 5:
		mark(b, port);
		out(b, port);
		break;
	default:
		xv_actions_add_set(b, &to, &mask);
		xv_actions_add(b, XV_ACT_RECIRC, AGAIN, NULL, 0);
	}
}

static struct xv_actions *new_actions(uint32_t recirc)
{
	struct xv_actions_builder b;
	struct xv_actions *actions;

	xv_actions_begin(&b);
	program(&b, recirc);
	assert_int_equal(xv_actions_finish(&b, &actions), 0);
	return actions;
}

/* ttl 0: all. */
static struct xv_flow *add(uint32_t recirc, unsigned int group, uint8_t ttl)
{
	struct xv_flow_key key = {.recirc_id = recirc, .eth_type = RTE_BE16(0x0800), .ip_proto = 17, .ip_ttl = ttl,
				  .tp_dst = rte_cpu_to_be_16((uint16_t)group)};
	struct xv_flow_key mask = {.recirc_id = UINT32_MAX, .eth_type = UINT16_MAX, .ip_proto = 0xff, .ip_frag = 0xff,
				   .ip_ttl = ttl == 0 ? 0 : 0xff, .tp_dst = UINT16_MAX};
	struct xv_flow_spec spec = {.key = &key, .mask = &mask, .owner = XV_FLOW_NO_OWNER};
	struct xv_flow *flow;

	spec.actions = new_actions(recirc);
	assert_int_equal(xv_actions_check(spec.actions, &key, &mask, NULL), 0);
	assert_int_equal(xv_flow_add(&spec, &flow), 0);
	return flow;
}

static void pause_us(long us)
{
	nanosleep(&(struct timespec){.tv_nsec = us * 1000}, NULL);
}

static void wait_for_sweep(void)
{
	uint64_t sweep = xv_flows_sweep();
	unsigned int i;

	for (i = 0; i < 100000 && xv_flows_swept() < sweep; i++)
		pause_us(100);
	assert_true(xv_flows_swept() >= sweep);
}

/* Each record tells how its packet ends. */
static void is_whole(const struct xv_live_record *record, void *arg)
{
	const struct xv_live_step *step = (const struct xv_live_step *)(const void *)record->steps;
	const uint8_t *end = (const uint8_t *)record->steps + record->steps_bytes;
	unsigned int *followed = arg, ends = 0;

	for (; (const uint8_t *)step < end; step = xv_live_step_next(step))
		ends += step->stage == XV_LIVE_SENT || step->stage == XV_LIVE_DROP || step->stage == XV_LIVE_WAITS;
	assert_true(ends > 0);
	++*followed;
}

/* A live trace begins, goes on or ends. */
static void follow(unsigned int *followed)
{
	const struct xv_live_config config = {.port = unit_random(&rnd, 2) ? XV_LIVE_ANY_PORT : 0, .bytes = 64, .rate = 1000000};
	uint64_t missed;
	uint32_t base;

	if (xv_live_trace_start(&config, &base) == 0)
		return;
	(void)xv_live_trace_take(UINT32_MAX, is_whole, followed, &missed);
	if (unit_random(&rnd, 4) == 0)
		xv_live_trace_stop();
}

static void look(const struct xv_ct_info *info, void *arg)
{
	*(uint64_t *)arg += info->packets[0];
}

/* Connections are looked at, and now and then all go. */
static void disturb_connections(void)
{
	uint32_t now_ms = xv_clock_ms(xv_clock_cycles());
	uint64_t cursor = 0, packets = 0;

	(void)xv_conntrack_expire(xv_flow_conntrack, now_ms);
	while (xv_conntrack_walk(xv_flow_conntrack, now_ms, &cursor, 16, look, &packets))
		;
	if (unit_random(&rnd, 10) == 0)
		(void)xv_conntrack_flush(xv_flow_conntrack, now_ms, NULL, NULL);
}

static void workers_and_control(void **state)
{
	struct xv_flow *first[GROUPS][2] = {{NULL}}, *second[GROUPS] = {NULL};
	uint64_t seen[GROUPS][2] = {{0}}, made = 0, counted = 0, taken = 0, wrong = 0, forwarded = 0;
	struct xv_fused_stats fused = {0};
	struct xv_flow_stats stats;
	unsigned int i, g, t, d, followed = 0;

	(void)state;
	for (g = 0; g < GROUPS; g++) {
		/* One for all, or one for each TTL. */
		first[g][0] = add(0, g, g % 2 == 0 ? 0 : 1);
		first[g][1] = g % 2 == 0 ? NULL : add(0, g, 64);
	}
	for (i = 0; i < WORKERS; i++) {
		struct xv_port_config config = {.kind = XV_PORT_DUMMY, .queues = 1};
		struct xv_binding *binding = calloc(1, sizeof(*binding));
		char name[16];

		snprintf(config.name, sizeof(config.name), "maker%u", i);
		xv_port_init(&makers[i].port, &maker_ops, &config);
		makers[i].port.id = (uint16_t)i;
		makers[i].rnd = i + 100;
		atomic_store(&makers[i].port.rx_queues, 1);
		atomic_store(&makers[i].port.tx_queues, 1);
		binding->forward = XV_FORWARD_FLOWS;
		xv_port_bind(&makers[i].port, binding);
		snprintf(name, sizeof(name), "worker%u", i);
		assert_int_equal(xv_worker_create(name, -1, false, &workers[i], NULL), 0);
	}
	for (i = 0; i < WORKERS; i++)
		assert_int_equal(xv_worker_set_queues(workers[i], &(struct xv_queue_ref){&makers[i].port, 0}, 1), 0);

	for (i = 0; i < STEPS; i++) {
		g = unit_random(&rnd, GROUPS);
		t = g % 2 == 0 ? 0 : unit_random(&rnd, 2);
		switch (unit_random(&rnd, 9)) {
		case 0:
			xv_flow_set_actions(first[g][t], new_actions(0));
			break;
		case 1:
		case 2:
			if (second[g] == NULL) {
				second[g] = add(AGAIN, g, 0);
			} else {
				xv_flow_del(second[g]);
				second[g] = NULL;
			}
			break;
		case 3:
			if (second[g] != NULL)
				xv_flow_set_actions(second[g], new_actions(AGAIN));
			break;
		case 4:
			(void)xv_flows_sweep();
			disturb_connections();
			break;
		case 5:
			xv_flow_get_stats(first[g][t], &stats);
			assert_true(stats.packets >= seen[g][t]);
			seen[g][t] = stats.packets;
			break;
		case 6:
			if (unit_random(&rnd, 50) == 0)
				xv_flows_set_fusing(unit_random(&rnd, 3) != 0);
			break;
		case 7:
			follow(&followed);
			break;
		default:
			pause_us(unit_random(&rnd, 500));
		}
		(void)xv_flows_poll();
		(void)xv_rcu_poll();
		pause_us(100);
	}
	xv_flows_set_fusing(true);
	xv_live_trace_stop();
	pause_us(5000);
	atomic_store(&stop, true);
	xv_workers_barrier();
	xv_workers_barrier();
	wait_for_sweep();

	for (g = 0; g < GROUPS; g++)
		for (t = 0; t < 2; t++)
			if (first[g][t] != NULL) {
				xv_flow_get_stats(first[g][t], &stats);
				counted += stats.packets;
			}
	for (i = 0; i < WORKERS; i++) {
		struct xv_fused_stats of_worker;
		struct xv_ledger l;
		uint64_t drops = 0;

		made += makers[i].made;
		taken += makers[i].taken;
		wrong += makers[i].wrong;
		xv_ledger_read(&makers[i].port, &l);
		for (d = 0; d < XV_DROP_MAX; d++)
			drops += l.drops[d];
		assert_int_equal(l.rx_packets, makers[i].made);
		assert_int_equal(l.rx_packets + l.copies, l.forwarded + l.punts + drops + l.held);
		assert_int_equal(l.held, 0);
		assert_int_equal(l.drops[XV_DROP_NO_BUFFER], 0);
		forwarded += l.forwarded;
		xv_fused_get_stats(xv_worker_fused(workers[i]), &of_worker);
		fused.hits += of_worker.hits;
		fused.inserted += of_worker.inserted;
	}
	print_message("%llu packets, %llu hits, %llu entries made, %u followed\n", (unsigned long long)made,
		      (unsigned long long)fused.hits, (unsigned long long)fused.inserted, followed);
	assert_true(followed > STEPS / 10);
	assert_int_equal(wrong, 0);
	assert_int_equal(counted, made);
	assert_int_equal(forwarded, taken);
	assert_true(fused.hits > made / 10);

	for (g = 0; g < GROUPS; g++) {
		for (t = 0; t < 2; t++)
			if (first[g][t] != NULL)
				xv_flow_del(first[g][t]);
		if (second[g] != NULL)
			xv_flow_del(second[g]);
	}
	for (i = 0; i < 10000 && xv_flows_poll(); i++)
		pause_us(200);
	assert_int_equal(xv_flows_count(), 0);
	for (i = 0; i < WORKERS; i++) {
		xv_fused_get_stats(xv_worker_fused(workers[i]), &fused);
		assert_int_equal(fused.entries, 0);
		assert_int_equal(fused.trails, 0);
		assert_int_equal(xv_worker_set_queues(workers[i], NULL, 0), 0);
	}
	for (i = 0; i < WORKERS; i++) {
		xv_port_bind(&makers[i].port, NULL);
		xv_workers_forget_port(&makers[i].port);
	}
	for (i = 0; i < WORKERS; i++)
		xv_worker_destroy(workers[i]);
	xv_rcu_synchronize();
	(void)xv_rcu_poll();
}

static int setup(void **state)
{
	struct xv_eal_config config = {.memory_mb = 64};

	(void)state;
	xv_clock_init(0);
	xv_worker_configure(&(struct xv_worker_settings){.batch = 1, .idle_spin_us = 1000});
	xv_fused_entries = 4096;
	return xv_eal_init(&config, NULL) != 0 || xv_rcu_init() != 0 || xv_flows_init() != 0;
}

/* All buffers are back when all workers are gone, with the caches of their threads. */
static void no_buffer_is_lost(void **state)
{
	(void)state;
	assert_int_equal(rte_mempool_avail_count(xv_packet_pool()), xv_packet_pool()->size);
	xv_flows_fini();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(workers_and_control),
		cmocka_unit_test(no_buffer_is_lost),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
