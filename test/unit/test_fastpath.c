/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The walk, with dummy ports and a worker without a thread: what goes in where, what comes out where, and a ledger
 * that balances after every test.
 */
#include "unit.h"

#include <stdio.h>
#include <string.h>

#include <rte_mbuf.h>
#include <rte_mempool.h>

#include "base/clock.h"
#include "fastpath/flow.h"
#include "fastpath/network.h"
#include "fastpath/rate_limit.h"
#include "fastpath/tx_queue.h"
#include "fastpath/worker.h"
#include "fastpath/ledger.h"
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

static const uint8_t mac_a[6] = {2, 0, 0, 0, 0, 0xa}, mac_b[6] = {2, 0, 0, 0, 0, 0xb},
		     broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

static int group_setup(void **state)
{
	struct xv_eal_config config = {.memory_mb = 64};

	(void)state;
	xv_clock_init(0);
	xv_clock_stop();
	xv_worker_configure(&(struct xv_worker_settings){.batch = 1});
	return xv_eal_init(&config, NULL) != 0 || xv_rcu_init() != 0 ||
	       xv_flows_init() != 0;
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

static void check_ledger(struct xv_port *port)
{
	struct xv_ledger l;
	uint64_t drops = 0;
	unsigned int i;

	xv_ledger_read(port, &l);
	for (i = 0; i < XV_DROP_MAX; i++)
		drops += l.drops[i];
	assert_int_equal(l.rx_packets + l.copies, l.forwarded + l.punts + drops + l.held);
}

static int teardown(void **state)
{
	unsigned int i;

	(void)state;
	assert_int_equal(xv_worker_set_queues(rig.worker, NULL, 0), 0);
	for (i = 0; i < PORTS; i++) {
		xv_port_bind(rig.ports[i], NULL);
		xv_workers_forget_port(rig.ports[i]);
		check_ledger(rig.ports[i]);
	}
	xv_rcu_synchronize();
	(void)xv_rcu_poll();
	for (i = 0; i < PORTS; i++)
		xv_port_destroy(rig.ports[i]);
	xv_network_destroy(rig.network);
	xv_worker_destroy(rig.worker);
	assert_int_equal(rte_mempool_avail_count(xv_packet_pool()), rig.mbufs_before);
	return 0;
}

/* Join a port to the network. */
static struct xv_binding *join(unsigned int port, uint16_t vlan, const uint16_t *trunk)
{
	struct xv_binding *b = calloc(1, sizeof(*b));

	b->forward = XV_FORWARD_NETWORK;
	b->network = rig.network;
	b->vlan = vlan;
	b->trunk = trunk != NULL;
	for (; trunk != NULL && *trunk != 0; trunk++)
		b->trunk_vlans[*trunk / 64] |= UINT64_C(1) << (*trunk % 64);
	xv_port_bind(rig.ports[port], b);
	return b;
}

static void wire(unsigned int a, unsigned int b)
{
	unsigned int i;

	for (i = 0; i < 2; i++) {
		struct xv_binding *binding = calloc(1, sizeof(*binding));

		binding->forward = XV_FORWARD_WIRE;
		binding->peer = rig.ports[i == 0 ? b : a];
		xv_port_bind(rig.ports[i == 0 ? a : b], binding);
	}
}

/* A frame with a payload that says which one it is; vlan 0 = no tag. */
static struct rte_mbuf *frame(const uint8_t *dst, const uint8_t *src, uint16_t vlan, uint32_t len,
			      uint8_t id)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(xv_packet_pool());
	uint8_t *p;

	assert_non_null(m);
	p = rte_pktmbuf_mtod(m, uint8_t *);
	m->data_len = (uint16_t)len;
	m->pkt_len = len;
	memset(p, id, len);
	memcpy(p, dst, 6);
	memcpy(p + 6, src, 6);
	if (vlan != 0) {
		p[12] = 0x81;
		p[13] = 0x00;
		p[14] = (uint8_t)(vlan >> 8);
		p[15] = (uint8_t)vlan;
		p += 4;
	}
	p[12] = 0x88; /* local experimental: nothing to parse behind it */
	p[13] = 0xb5;
	return m;
}

static void put(unsigned int port, struct rte_mbuf *m)
{
	assert_int_equal(xv_dummy_put(rig.ports[port], 0, m), 0);
}

static void run(void)
{
	unsigned int i;

	for (i = 0; i < 4; i++)
		(void)xv_worker_run_once(rig.worker);
}

/* How many packets came out of a port; the last one's length and VLAN (0 = none). */
static unsigned int taken(unsigned int port, uint32_t *len, uint16_t *vlan)
{
	struct rte_mbuf *m;
	unsigned int n = 0;

	while ((m = xv_dummy_take(rig.ports[port])) != NULL) {
		const uint8_t *p = rte_pktmbuf_mtod(m, const uint8_t *);

		if (len != NULL)
			*len = m->pkt_len;
		if (vlan != NULL)
			*vlan = p[12] == 0x81 ? (uint16_t)((p[14] << 8 | p[15]) & 0xfff) : 0;
		rte_pktmbuf_free(m);
		n++;
	}
	return n;
}

static uint64_t dropped(unsigned int port, enum xv_drop reason)
{
	struct xv_ledger l;

	xv_ledger_read(rig.ports[port], &l);
	return l.drops[reason];
}

static void unbound_ports_drop(void **state)
{
	(void)state;
	put(0, frame(mac_b, mac_a, 0, 60, 1));
	run();
	assert_int_equal(dropped(0, XV_DROP_UNBOUND), 1);
}

static void unknown_is_flooded_known_is_not(void **state)
{
	struct xv_ledger l;
	unsigned int i;

	(void)state;
	for (i = 0; i < PORTS; i++)
		join(i, 0, NULL);
	put(0, frame(mac_b, mac_a, 0, 60, 1));
	run();
	assert_int_equal(taken(0, NULL, NULL), 0);
	for (i = 1; i < PORTS; i++)
		assert_int_equal(taken(i, NULL, NULL), 1);
	xv_ledger_read(rig.ports[0], &l);
	assert_int_equal(l.copies, 2);
	assert_int_equal(l.forwarded, 3);

	put(1, frame(mac_a, mac_b, 0, 60, 2));
	run();
	assert_int_equal(taken(0, NULL, NULL), 1);
	assert_int_equal(taken(2, NULL, NULL) + taken(3, NULL, NULL), 0);

	put(0, frame(mac_b, mac_a, 0, 60, 3));
	put(0, frame(broadcast, mac_a, 0, 60, 4));
	run();
	assert_int_equal(taken(1, NULL, NULL), 2);
	assert_int_equal(taken(2, NULL, NULL), 1);
	(void)taken(3, NULL, NULL);
}

static void addresses_age_and_move(void **state)
{
	unsigned int i;

	(void)state;
	for (i = 0; i < PORTS; i++)
		join(i, 0, NULL);
	put(1, frame(broadcast, mac_b, 0, 60, 1));
	run();
	for (i = 0; i < PORTS; i++)
		(void)taken(i, NULL, NULL);
	/* b moves from port 1 to port 2 */
	put(2, frame(broadcast, mac_b, 0, 60, 2));
	run();
	for (i = 0; i < PORTS; i++)
		(void)taken(i, NULL, NULL);
	put(0, frame(mac_b, mac_a, 0, 60, 3));
	run();
	assert_int_equal(taken(2, NULL, NULL), 1);
	assert_int_equal(taken(1, NULL, NULL) + taken(3, NULL, NULL), 0);
	/* and is forgotten after its time */
	xv_clock_warp_ms(301000);
	xv_network_age(rig.network);
	assert_int_equal(xv_mac_table_count(rig.network->macs), 0);
	put(0, frame(mac_b, mac_a, 0, 60, 4));
	run();
	assert_int_equal(taken(1, NULL, NULL) + taken(2, NULL, NULL) + taken(3, NULL, NULL), 3);
}

static void odd_frames_are_dropped_for_a_reason(void **state)
{
	static const uint8_t stp[6] = {0x01, 0x80, 0xc2, 0, 0, 0};
	unsigned int i;

	(void)state;
	for (i = 0; i < 2; i++)
		join(i, 0, NULL);
	put(0, frame(stp, mac_a, 0, 60, 1));
	put(0, frame(mac_a, mac_a, 0, 60, 2));
	{
		struct rte_mbuf *m = frame(mac_b, mac_a, 0, 60, 3);

		m->data_len = 13;
		m->pkt_len = 13;
		put(0, m);
	}
	run();
	assert_int_equal(dropped(0, XV_DROP_RESERVED_MAC), 1);
	assert_int_equal(dropped(0, XV_DROP_SAME_PORT), 1);
	assert_int_equal(dropped(0, XV_DROP_RUNT), 1);
	assert_int_equal(taken(1, NULL, NULL), 0);
	/* nobody else there */
	xv_port_bind(rig.ports[1], NULL);
	put(0, frame(mac_b, mac_a, 0, 60, 4));
	run();
	assert_int_equal(dropped(0, XV_DROP_NO_MEMBER), 1);
}

static void vlans_separate_and_retag(void **state)
{
	static const uint16_t trunk_vlans[] = {10, 20, 0};
	uint32_t len = 0;
	uint16_t vlan = 0;

	(void)state;
	join(0, 10, NULL);	  /* access 10 */
	join(1, 20, NULL);	  /* access 20 */
	join(2, 0, trunk_vlans);  /* trunk 10, 20 */
	join(3, 10, trunk_vlans); /* trunk with 10 as its native VLAN */

	put(0, frame(broadcast, mac_a, 0, 60, 1));
	run();
	assert_int_equal(taken(1, NULL, NULL), 0);
	assert_int_equal(taken(2, &len, &vlan), 1);
	assert_int_equal(len, 64);
	assert_int_equal(vlan, 10);
	assert_int_equal(taken(3, &len, &vlan), 1);
	assert_int_equal(len, 60);
	assert_int_equal(vlan, 0);

	put(2, frame(mac_a, mac_b, 10, 64, 2)); /* learned: only to port 0, without its tag */
	run();
	assert_int_equal(taken(0, &len, &vlan), 1);
	assert_int_equal(len, 60);
	assert_int_equal(vlan, 0);
	assert_int_equal(taken(1, NULL, NULL) + taken(3, NULL, NULL), 0);

	put(2, frame(mac_a, mac_b, 20, 64, 3)); /* another VLAN: a is not known there */
	run();
	assert_int_equal(taken(0, NULL, NULL), 0);
	assert_int_equal(taken(1, NULL, NULL), 1);
	assert_int_equal(taken(3, NULL, &vlan), 1);
	assert_int_equal(vlan, 20);

	put(2, frame(mac_a, mac_b, 30, 64, 4)); /* not on the trunk */
	put(0, frame(mac_b, mac_a, 10, 64, 5)); /* tagged on an access port */
	put(2, frame(mac_a, mac_b, 0, 64, 6));	/* untagged: a domain of its own, nobody there */
	run();
	assert_int_equal(dropped(2, XV_DROP_VLAN), 1);
	assert_int_equal(dropped(0, XV_DROP_VLAN), 1);
	assert_int_equal(dropped(2, XV_DROP_NO_MEMBER), 1);
}

/* A flooded frame goes tagged to some and untagged to others: nobody sees another's tag. */
static void flood_shares_only_what_nobody_writes(void **state)
{
	static const uint16_t trunk_vlans[] = {10, 0};
	uint16_t vlan = 0;
	uint32_t len = 0;

	(void)state;
	join(0, 10, NULL);
	join(1, 0, trunk_vlans);
	join(2, 10, NULL);
	join(3, 0, trunk_vlans);
	put(0, frame(broadcast, mac_a, 0, 100, 7));
	run();
	assert_int_equal(taken(1, &len, &vlan), 1);
	assert_true(len == 104 && vlan == 10);
	assert_int_equal(taken(2, &len, &vlan), 1);
	assert_true(len == 100 && vlan == 0);
	assert_int_equal(taken(3, &len, &vlan), 1);
	assert_true(len == 104 && vlan == 10);
}

static void wire_holds_back_and_loses_nothing(void **state)
{
	struct xv_ledger l;
	unsigned int i;

	(void)state;
	wire(0, 1);
	xv_dummy_set_room(rig.ports[1], 10);
	for (i = 0; i < 200; i++)
		put(0, frame(mac_b, mac_a, 0, 60, (uint8_t)i));
	run();
	xv_ledger_read(rig.ports[0], &l);
	assert_int_equal(l.forwarded, 10);
	assert_int_equal(l.held, XV_BURST - 10); /* the rest was not taken from its queue */
	assert_int_equal(l.rx_packets, XV_BURST);
	check_ledger(rig.ports[0]);
	xv_clock_warp_ms(5000); /* however long it takes */
	run();
	xv_dummy_set_room(rig.ports[1], 4096);
	run();
	run();
	for (i = 0; i < 200; i++) {
		struct rte_mbuf *m = xv_dummy_take(rig.ports[1]);

		assert_non_null(m);
		assert_int_equal(rte_pktmbuf_mtod(m, uint8_t *)[20], (uint8_t)i); /* in order */
		rte_pktmbuf_free(m);
	}
	xv_ledger_read(rig.ports[0], &l);
	assert_int_equal(l.forwarded, 200);
	assert_int_equal(l.held, 0);
}

static void network_bounds_what_waits(void **state)
{
	struct xv_ledger l;
	unsigned int i;

	(void)state;
	join(0, 0, NULL);
	join(1, 0, NULL);
	xv_dummy_set_room(rig.ports[1], 0);
	for (i = 0; i < 600; i++) {
		put(0, frame(mac_b, mac_a, 0, 60, 1));
		if (i % 50 == 49)
			run();
	}
	xv_ledger_read(rig.ports[0], &l);
	assert_int_equal(l.rx_packets, 600);
	assert_int_equal(l.held, 256);
	assert_int_equal(l.drops[XV_DROP_TX_FULL], 600 - 256);
	check_ledger(rig.ports[0]);
	/* A receiver that takes nothing for long loses what waits. */
	xv_clock_warp_ms(1500);
	run();
	xv_ledger_read(rig.ports[0], &l);
	assert_int_equal(l.held, 0);
	assert_int_equal(l.drops[XV_DROP_TX_FULL], 600);
}

static void down_and_detached_ports(void **state)
{
	(void)state;
	wire(0, 1);
	xv_dummy_set_up(rig.ports[1], false);
	put(0, frame(mac_b, mac_a, 0, 60, 1));
	run();
	assert_int_equal(dropped(0, XV_DROP_TX_DOWN), 1);
	/* Packets wait for port 1; then it is taken away. */
	xv_dummy_set_up(rig.ports[1], true);
	xv_dummy_set_room(rig.ports[1], 0);
	put(0, frame(mac_b, mac_a, 0, 60, 2));
	run();
	xv_port_bind(rig.ports[0], NULL);
	xv_port_bind(rig.ports[1], NULL);
	xv_workers_forget_port(rig.ports[1]);
	assert_int_equal(dropped(0, XV_DROP_DETACHED), 1);
}

static void mtu_is_a_bound_for_frames_not_for_segments(void **state)
{
	struct xv_port_config config = {.mtu = 1500};
	struct rte_mbuf *m;

	(void)state;
	wire(0, 1);
	assert_int_equal(rig.ports[1]->ops->reconfigure(rig.ports[1], &config, NULL), 0);
	put(0, frame(mac_b, mac_a, 0, 1514, 1));
	put(0, frame(mac_b, mac_a, 10, 1518, 2));
	put(0, frame(mac_b, mac_a, 0, 1519, 3));
	run();
	assert_int_equal(dropped(0, XV_DROP_MTU), 1);
	assert_int_equal(taken(1, NULL, NULL), 2);
	/* A segmentation request passes whole to whom takes it. */
	xv_dummy_set_caps(rig.ports[1], XV_CAP_CSUM | XV_CAP_TSO4);
	m = frame(mac_b, mac_a, 0, 1900, 4);
	m->ol_flags |= XV_PACKET_OFFLOAD;
	*xv_packet_offload(m) = (struct xv_offload){
		.flags = XV_OFFLOAD_CSUM, .gso_type = XV_GSO_TCPV4, .gso_size = 1400, .csum_start = 34, .csum_offset = 16};
	put(0, m);
	run();
	assert_int_equal(taken(1, NULL, NULL), 1);
}

static void rate_limit_holds_input_and_polices_output(void **state)
{
	struct xv_rate_limit *rx, *tx;
	struct xv_binding *b;
	struct xv_ledger l;
	unsigned int i;

	(void)state;
	assert_int_equal(xv_rate_limit_create(1000, 0, 10, &rx), 0);
	assert_int_equal(xv_rate_limit_create(0, 1000000, 10, &tx), 0);
	b = join(0, 0, NULL);
	b->rx_limit = rx;
	b = join(1, 0, NULL);
	b->tx_limit = tx;
	for (i = 0; i < 500; i++)
		put(0, frame(mac_b, mac_a, 0, 125, 1));
	run();
	xv_ledger_read(rig.ports[0], &l);
	assert_int_equal(l.rx_packets, 64); /* the least burst; the rest waits in its queue */
	for (i = 0; i < 10; i++) {
		xv_clock_warp_ms(10);
		run();
	}
	xv_ledger_read(rig.ports[0], &l);
	assert_in_range(l.rx_packets, 64 + 99, 64 + 100); /* 1000 a second, for 100 ms */
	assert_int_equal(l.drops[XV_DROP_RATE_LIMIT], 0); /* 128 KiB burst not used up */
	(void)taken(1, NULL, NULL);

	/* 1 Mbit/s of 1000-byte frames after the burst: 125 a second. */
	b = join(0, 0, NULL);
	for (i = 0; i < 20; i++) {
		unsigned int k;

		for (k = 0; k < 40; k++)
			put(0, frame(mac_b, mac_a, 0, 1000, 1));
		run();
		xv_clock_warp_ms(100);
	}
	(void)taken(1, NULL, NULL);
	xv_ledger_read(rig.ports[1], &l);
	/* The first 128 KiB, and 125,000 bytes in each of 2.0 seconds (the bucket was full at the start). */
	assert_in_range(l.tx_bytes, 131072 + 240000, 131072 + 260000);
	assert_true(dropped(0, XV_DROP_RATE_LIMIT) > 300);
	xv_port_bind(rig.ports[0], NULL);
	xv_port_bind(rig.ports[1], NULL);
	xv_rcu_synchronize();
	xv_rate_limit_destroy(rx);
	xv_rate_limit_destroy(tx);
}

/* Queues of a port of 10 Mbit/s: 1 has 6 of them, 2 may have 2, and what is in none is 0's. All want more than there is. */
static void queues_share_a_limit(void **state)
{
	static const struct xv_tx_queue_config config[] = {
		{.id = 0, .burst_ms = 10}, {.id = 1, .min_bps = 6000000, .burst_ms = 10}, {.id = 2, .max_bps = 2000000, .burst_ms = 10}};
	struct xv_tx_queue_stats stats[4];
	struct xv_rate_limit *limit;
	uint64_t sent[4] = {0}, all = 0;
	unsigned int i, q, ms;

	(void)state;
	assert_int_equal(xv_tx_queues_set(XV_MAX_PORTS, config, 3), -EINVAL);
	assert_int_equal(xv_rate_limit_create(0, 10000000, 10, &limit), 0);
	assert_int_equal(xv_tx_queues_set(1, config, 3), 0);
	for (ms = 0; ms < 4000; ms++) {
		if (ms == 1000) /* what was saved up is used up */
			memset(sent, 0, sizeof(sent));
		xv_clock_warp_ms(1);
		for (i = 0; i < 12; i++) {
			q = ((ms * 12 + i) * 2654435761u >> 16) % 4; /* in no order; 3 is none of its queues */
			if (xv_tx_queues_allow(1, limit, q == 3 ? 77 : q, 1000, xv_clock_cycles()))
				sent[q] += 8000;
		}
	}
	for (q = 0; q < 4; q++)
		all += sent[q] / 3;
	assert_in_range(all, 9900000, 10200000);
	assert_in_range(sent[1] / 3, 5900000, 10000000);
	assert_in_range(sent[2] / 3, 1, 2050000);
	assert_true(sent[0] > 0 && sent[3] > 0);
	assert_int_equal(xv_tx_queues_get_stats(1, stats, 4), 3);
	assert_true(stats[0].packets > 0 && stats[0].dropped > 0 && stats[2].dropped > 0);
	assert_int_equal(stats[1].bytes, stats[1].packets * 1000);
	/* A queue that stays keeps its counters. */
	assert_int_equal(xv_tx_queues_set(1, &config[1], 1), 0);
	assert_int_equal(xv_tx_queues_get_stats(1, &stats[3], 1), 1);
	assert_int_equal(stats[3].packets, stats[1].packets);
	assert_int_equal(xv_tx_queues_set(1, NULL, 0), 0);
	assert_int_equal(xv_tx_queues_get_stats(1, stats, 4), 0);
	xv_rcu_synchronize();
	xv_rate_limit_destroy(limit);
}

static void checksum_is_finished_for_whom_does_not_take_it(void **state)
{
	static const char *const udp =
		"02000000000b 02000000000a 0800 4500 0020 0000 0000 4011 0000 0a000001 0a000002"
		"03e8 07d0 000c 1428 61626364";
	uint8_t bytes[64];
	struct rte_mbuf *m, *out;
	unsigned int len = unit_hex(udp, bytes, sizeof(bytes));

	(void)state;
	wire(0, 1);
	m = unit_packet(xv_packet_pool(), bytes, len, NULL);
	m->ol_flags |= XV_PACKET_OFFLOAD;
	*xv_packet_offload(m) = (struct xv_offload){.flags = XV_OFFLOAD_CSUM, .csum_start = 34, .csum_offset = 6};
	put(0, m);
	run();
	out = xv_dummy_take(rig.ports[1]);
	assert_non_null(out);
	assert_true((out->ol_flags & XV_PACKET_OFFLOAD) == 0);
	assert_memory_not_equal(rte_pktmbuf_mtod_offset(out, uint8_t *, 40), bytes + 40, 2);
	assert_memory_equal(rte_pktmbuf_mtod_offset(out, uint8_t *, 42), bytes + 42, 4);
	rte_pktmbuf_free(out);
}

static void injected_frames_are_flooded_and_counted(void **state)
{
	struct rte_mbuf *m = frame(broadcast, mac_a, 0, 60, 9);
	struct xv_ledger l;

	(void)state;
	join(0, 0, NULL);
	join(1, 0, NULL);
	xv_worker_inject(rig.ports[0], rte_pktmbuf_mtod(m, const uint8_t *), 60);
	rte_pktmbuf_free(m);
	run();
	assert_int_equal(taken(1, NULL, NULL), 1);
	xv_ledger_read(rig.ports[0], &l);
	assert_int_equal(l.rx_packets, 1);
	assert_int_equal(xv_mac_table_count(rig.network->macs), 1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(unbound_ports_drop),
		T(unknown_is_flooded_known_is_not),
		T(addresses_age_and_move),
		T(odd_frames_are_dropped_for_a_reason),
		T(vlans_separate_and_retag),
		T(flood_shares_only_what_nobody_writes),
		T(wire_holds_back_and_loses_nothing),
		T(network_bounds_what_waits),
		T(down_and_detached_ports),
		T(mtu_is_a_bound_for_frames_not_for_segments),
		T(rate_limit_holds_input_and_polices_output),
		T(queues_share_a_limit),
		T(checksum_is_finished_for_whom_does_not_take_it),
		T(injected_frames_are_flooded_and_counted),
	};

	return cmocka_run_group_tests(tests, group_setup, NULL);
}
