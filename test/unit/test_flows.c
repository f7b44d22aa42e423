/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Flows and fused flows with dummy ports, a worker without a thread and a stopped clock: which way a packet takes, what is
 * counted where, what a change of flows, policies and addresses does to packets that follow.
 */
#include "unit.h"

#include <stdio.h>
#include <string.h>

#include <rte_mbuf.h>
#include <rte_mempool.h>

#include "base/clock.h"
#include "fastpath/flow.h"
#include "fastpath/fused.h"
#include "fastpath/ledger.h"
#include "fastpath/network.h"
#include "fastpath/policy.h"
#include "fastpath/rate_limit.h"
#include "fastpath/tx_queue.h"
#include "fastpath/worker.h"
#include "net/checksum.h"
#include "net/tunnel.h"
#include "port/dummy.h"
#include "port/eal.h"
#include "table/rcu.h"

#define PORTS 3
#define RECIRC 7

static struct {
	struct xv_worker *worker;
	struct xv_network *network;
	struct xv_port *ports[PORTS];
	unsigned int mbufs_before;
} rig;

static const uint8_t mac_a[6] = {2, 0, 0, 0, 0, 0xa}, mac_b[6] = {2, 0, 0, 0, 0, 0xb}, mac_c[6] = {2, 0, 0, 0, 0, 0xc};

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
	rig.mbufs_before = rte_mempool_avail_count(xv_packet_pool());
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

/* Let the control thread do what it has to, and workers answer. */
static void settle(void)
{
	unsigned int i;

	for (i = 0; i < 1000 && xv_flows_poll(); i++)
		run();
	assert_true(i < 1000);
}

static uint64_t dropped(unsigned int port, enum xv_drop reason)
{
	struct xv_ledger l;

	xv_ledger_read(rig.ports[port], &l);
	return l.drops[reason];
}

static int teardown(void **state)
{
	unsigned int i, d;

	(void)state;
	assert_int_equal(xv_worker_set_queues(rig.worker, NULL, 0), 0);
	for (i = 0; i < PORTS; i++) {
		struct xv_ledger l;
		uint64_t drops = 0;

		xv_port_bind(rig.ports[i], NULL);
		xv_workers_forget_port(rig.ports[i]);
		xv_ledger_read(rig.ports[i], &l);
		for (d = 0; d < XV_DROP_MAX; d++)
			drops += l.drops[d];
		assert_int_equal(l.rx_packets + l.copies, l.forwarded + l.punts + drops + l.held);
	}
	settle();
	xv_flows_set_fusing(true);
	for (i = 0; i < PORTS; i++)
		xv_port_destroy(rig.ports[i]);
	xv_network_destroy(rig.network);
	xv_worker_destroy(rig.worker);
	xv_flows_fini();
	xv_rcu_synchronize();
	(void)xv_rcu_poll();
	assert_int_equal(rte_mempool_avail_count(xv_packet_pool()), rig.mbufs_before);
	return 0;
}

/* ---- Packets ---- */

struct packet {
	const uint8_t *dst, *src;
	uint8_t ttl, proto;
	uint16_t port; /* destination */
	uint32_t payload;
};

static uint16_t sum(const uint8_t *p, uint32_t n, uint32_t start)
{
	uint32_t s = start, i;

	for (i = 0; i + 1 < n; i += 2)
		s += (uint32_t)(p[i] << 8 | p[i + 1]);
	if (n & 1)
		s += (uint32_t)p[n - 1] << 8;
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return (uint16_t)s;
}

static uint32_t pseudo_sum(const uint8_t *ip, uint32_t l4_len)
{
	return sum(ip + 12, 8, ip[9] + l4_len);
}

static struct rte_mbuf *make(const struct packet *s)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(xv_packet_pool());
	uint32_t udp_len = 8 + s->payload, len = 34 + udp_len, i;
	uint8_t *p, *ip, *udp;
	uint16_t c;

	assert_non_null(m);
	p = rte_pktmbuf_mtod(m, uint8_t *);
	memset(p, 0, len);
	m->data_len = (uint16_t)len;
	m->pkt_len = len;
	memcpy(p, s->dst ? s->dst : mac_b, 6);
	memcpy(p + 6, s->src ? s->src : mac_a, 6);
	p[12] = 0x08;
	ip = p + 14;
	ip[0] = 0x45;
	ip[2] = (uint8_t)((20 + udp_len) >> 8);
	ip[3] = (uint8_t)(20 + udp_len);
	ip[8] = s->ttl ? s->ttl : 64;
	ip[9] = s->proto ? s->proto : 17;
	memcpy(ip + 12, (const uint8_t[]){10, 0, 0, 1, 10, 0, 0, 2}, 8);
	c = (uint16_t)~sum(ip, 20, 0);
	ip[10] = (uint8_t)(c >> 8);
	ip[11] = (uint8_t)c;
	udp = ip + 20;
	udp[0] = 0x30;
	udp[1] = 0x39;
	udp[2] = (uint8_t)(s->port >> 8);
	udp[3] = (uint8_t)s->port;
	udp[4] = (uint8_t)(udp_len >> 8);
	udp[5] = (uint8_t)udp_len;
	for (i = 0; i < s->payload; i++)
		udp[8 + i] = (uint8_t)(i * 7);
	c = (uint16_t)~sum(udp, udp_len, pseudo_sum(ip, udp_len));
	udp[6] = (uint8_t)(c >> 8);
	udp[7] = (uint8_t)c;
	return m;
}

static void send(unsigned int port, const struct packet *p)
{
	assert_int_equal(xv_dummy_put(rig.ports[port], 0, make(p)), 0);
	run();
}

/* Whether the checksums of an IPv4/UDP packet whose IP header is at l3 are right. */
static void check_sums(const struct rte_mbuf *m, unsigned int l3)
{
	const uint8_t *ip = rte_pktmbuf_mtod(m, const uint8_t *) + l3;
	uint32_t udp_len = (uint32_t)(ip[2] << 8 | ip[3]) - 20;

	assert_int_equal(sum(ip, 20, 0), 0xffff);
	assert_int_equal(sum(ip + 20, udp_len, pseudo_sum(ip, udp_len)), 0xffff);
}

static struct rte_mbuf *take(unsigned int port)
{
	return xv_dummy_take(rig.ports[port]);
}

static unsigned int taken(unsigned int port)
{
	struct rte_mbuf *m;
	unsigned int n = 0;

	for (; (m = take(port)) != NULL; n++)
		rte_pktmbuf_free(m);
	return n;
}

/* ---- Flows ---- */

static void bind_flows(void)
{
	unsigned int i;

	for (i = 0; i < PORTS; i++) {
		struct xv_binding *b = calloc(1, sizeof(*b));

		b->forward = XV_FORWARD_FLOWS;
		xv_port_bind(rig.ports[i], b);
	}
}

static void bind_network(unsigned int port, const struct xv_policy *egress, const struct xv_policy *ingress)
{
	struct xv_binding *b = calloc(1, sizeof(*b));

	b->forward = XV_FORWARD_NETWORK;
	b->network = rig.network;
	b->egress_policy = egress;
	b->ingress_policy = ingress;
	xv_port_bind(rig.ports[port], b);
}

static struct xv_actions *output_to(uint32_t port)
{
	struct xv_actions_builder b;
	struct xv_actions *actions;

	xv_actions_begin(&b);
	xv_actions_add(&b, XV_ACT_OUTPUT, port, NULL, 0);
	assert_int_equal(xv_actions_finish(&b, &actions), 0);
	return actions;
}

/* Matches the input port, the recirculation and whatever `more` wants of the key. */
static struct xv_flow *add_flow(uint32_t recirc, const struct xv_flow_key *key, const struct xv_flow_key *mask,
				struct xv_actions *actions)
{
	struct xv_flow_key k = key ? *key : (struct xv_flow_key){0}, m = mask ? *mask : (struct xv_flow_key){0};
	struct xv_flow_spec spec = {.key = &k, .mask = &m, .actions = actions, .owner = XV_FLOW_NO_OWNER};
	struct xv_flow *flow = NULL;

	k.recirc_id = recirc;
	m.recirc_id = UINT32_MAX;
	m.in_port = UINT32_MAX;
	m.eth_type = RTE_BE16(0xffff);
	k.eth_type = RTE_BE16(0x0800);
	assert_int_equal(xv_actions_check(actions, &k, &m, NULL), 0);
	assert_int_equal(xv_flow_add(&spec, &flow), 0);
	return flow;
}

static uint64_t packets_of(const struct xv_flow *flow)
{
	struct xv_flow_stats stats;
	uint64_t sweep = xv_flows_sweep();
	unsigned int i;

	for (i = 0; i < 2000 && xv_flows_swept() < sweep; i++)
		run();
	assert_true(xv_flows_swept() >= sweep);
	xv_flow_get_stats(flow, &stats);
	return stats.packets;
}

static struct xv_fused_stats fused(void)
{
	struct xv_fused_stats stats;

	xv_fused_get_stats(xv_worker_fused(rig.worker), &stats);
	return stats;
}

static void second_packet_is_fused(void **state)
{
	struct xv_flow *flow;
	unsigned int i;

	(void)state;
	bind_flows();
	flow = add_flow(0, NULL, NULL, output_to(1));
	for (i = 0; i < 5; i++)
		send(0, &(struct packet){.port = 80});
	assert_int_equal(taken(1), 5);
	assert_int_equal(fused().hits, 4);
	assert_int_equal(fused().entries, 1);
	assert_int_equal(packets_of(flow), 5);
	xv_flow_del(flow);
	send(0, &(struct packet){.port = 80});
	assert_int_equal(taken(1), 0);
	assert_int_equal(dropped(0, XV_DROP_NO_FLOW), 1);
}

/* However many flows there are, all of them find room: none is thrown out for ever because of where its hash puts it. */
static void flows_do_not_crowd_each_other_out(void **state)
{
	static const unsigned int counts[] = {1000, 4000, 8000, 30000};
	unsigned int c, i, pass;
	struct xv_flow *flow;
	uint64_t misses = 0;

	(void)state;
	bind_flows();
	flow = add_flow(0, NULL, NULL, output_to(1));
	for (c = 0; c < RTE_DIM(counts); c++) {
		for (pass = 0; pass < 8; pass++) {
			misses = fused().misses;
			for (i = 0; i < counts[c]; i++) {
				assert_int_equal(xv_dummy_put(rig.ports[0], 0, make(&(struct packet){.port = (uint16_t)i})), 0);
				(void)xv_worker_run_once(rig.worker);
				(void)taken(1);
			}
		}
		assert_true(fused().misses - misses <= 9 + counts[c] / 1000);
	}
	xv_flow_del(flow);
}

static void guards_tell_packets_apart(void **state)
{
	struct xv_flow_key key = {.ip_ttl = 64}, mask = {.ip_ttl = 0xff};
	struct xv_flow *low, *high;

	(void)state;
	bind_flows();
	high = add_flow(0, &key, &mask, output_to(1));
	key.ip_ttl = 1;
	low = add_flow(0, &key, &mask, output_to(2));
	send(0, &(struct packet){.port = 80});
	send(0, &(struct packet){.port = 80});
	send(0, &(struct packet){.port = 80, .ttl = 1});
	send(0, &(struct packet){.port = 80});
	send(0, &(struct packet){.port = 80, .ttl = 1});
	send(0, &(struct packet){.port = 80, .ttl = 2});
	assert_int_equal(taken(1), 3);
	assert_int_equal(taken(2), 2);
	assert_int_equal(dropped(0, XV_DROP_NO_FLOW), 1);
	assert_int_equal(packets_of(high), 3);
	assert_int_equal(packets_of(low), 2);
	assert_int_equal(fused().hits, 3);
}

/* Two passes with rewriting and a tag are one entry, and what comes out is right to the last checksum. */
static void passes_and_edits_are_one(void **state)
{
	const struct xv_action_push_vlan vlan = {.tpid = RTE_BE16(0x8100), .tci = RTE_BE16(0x1005)};
	struct xv_flow_key to = {.ip_ttl = 63}, set = {.ip_ttl = 0xff}, match = {.ip_ttl = 0xff, .ip_proto = 0xff,
										  .ip_frag = 0xff};
	struct xv_flow_key udp = {.ip_ttl = 64, .ip_proto = 17};
	struct xv_actions_builder b;
	struct xv_actions *first, *second;
	struct xv_flow *flows[2];
	unsigned int i, round;

	(void)state;
	bind_flows();
	to.ip_dst.words[3] = RTE_BE32(0xc0a80107);
	set.ip_dst.words[3] = UINT32_MAX;
	to.tp_dst = RTE_BE16(8080);
	set.tp_dst = UINT16_MAX;
	memcpy(to.eth_dst, mac_c, 6);
	memset(set.eth_dst, 0xff, 6);
	xv_actions_begin(&b);
	xv_actions_add_set(&b, &to, &set);
	xv_actions_add(&b, XV_ACT_RECIRC, RECIRC, NULL, 0);
	assert_int_equal(xv_actions_finish(&b, &first), 0);
	xv_actions_begin(&b);
	xv_actions_add(&b, XV_ACT_PUSH_VLAN, 0, &vlan, sizeof(vlan));
	xv_actions_add(&b, XV_ACT_OUTPUT, 2, NULL, 0);
	assert_int_equal(xv_actions_finish(&b, &second), 0);
	flows[0] = add_flow(0, &udp, &match, first);
	flows[1] = add_flow(RECIRC, NULL, NULL, second);
	for (i = 0; i < 6; i++)
		send(0, &(struct packet){.port = 53, .payload = 100 + i});
	for (round = 0; round < 6; round++) {
		struct rte_mbuf *m = take(2);
		const uint8_t *p;

		assert_non_null(m);
		p = rte_pktmbuf_mtod(m, const uint8_t *);
		assert_memory_equal(p, mac_c, 6);
		assert_memory_equal(p + 12, ((const uint8_t[]){0x81, 0, 0, 5, 8, 0}), 6);
		assert_int_equal(p[18 + 8], 63);
		assert_memory_equal(p + 18 + 16, ((const uint8_t[]){192, 168, 1, 7}), 4);
		assert_int_equal(p[18 + 22] << 8 | p[18 + 23], 8080);
		assert_int_equal(p[18 + 28 + 99], (uint8_t)(99 * 7));
		check_sums(m, 18);
		rte_pktmbuf_free(m);
	}
	assert_int_equal(fused().hits, 5);
	for (i = 0; i < 2; i++)
		assert_int_equal(packets_of(flows[i]), 6);
	/* The second flow goes: the first alone leads nowhere. */
	xv_flow_del(flows[1]);
	send(0, &(struct packet){.port = 53});
	assert_int_equal(taken(2), 0);
}

#define POP_PORT 20 /* input port of what was in the tunnel */

/* A frame with outer headers, 50 bytes of them. */
static void send_in_tunnel(const struct packet *p, uint32_t vni, uint32_t entropy)
{
	struct xv_encap_params params = {.type = XV_TUNNEL_VXLAN, .id = vni};
	const struct xv_encap_packet packet = {.hash = entropy};
	struct rte_mbuf *m = make(p);
	struct xv_encap encap;

	params.src.words[3] = RTE_BE32(0xc0000202);
	params.dst.words[3] = RTE_BE32(0xc0000201);
	assert_int_equal(xv_encap_build(&params, &encap), 0);
	assert_int_equal(xv_encap_push(&encap, m, &packet), 0);
	assert_int_equal(xv_dummy_put(rig.ports[0], 0, m), 0);
	run();
}

static uint64_t bytes_of(const struct xv_flow *flow)
{
	struct xv_flow_stats stats;

	xv_flow_get_stats(flow, &stats);
	return stats.bytes;
}

/* Outer and inner packet find an entry each, and the flows on both sides of the tunnel count exactly. */
static void both_sides_of_a_tunnel_are_fused(void **state)
{
	const struct xv_action_tunnel_pop pop = {.type = XV_TUNNEL_VXLAN, .udp_port = RTE_BE16(XV_VXLAN_PORT)};
	struct xv_flow_key outer = {.ip_proto = 17, .tp_dst = RTE_BE16(XV_VXLAN_PORT)};
	struct xv_flow_key outer_mask = {.ip_proto = 0xff, .ip_frag = 0xff, .tp_dst = UINT16_MAX};
	struct xv_flow_key inner = {.in_port = POP_PORT}, inner_mask = {.tun_id = UINT64_MAX};
	struct xv_actions_builder b;
	struct xv_actions *actions;
	struct xv_flow *flows[3];
	unsigned int i;

	(void)state;
	bind_flows();
	xv_actions_begin(&b);
	xv_actions_add(&b, XV_ACT_TUNNEL_POP, POP_PORT, &pop, sizeof(pop));
	assert_int_equal(xv_actions_finish(&b, &actions), 0);
	flows[0] = add_flow(0, &outer, &outer_mask, actions);
	inner.tun_id = rte_cpu_to_be_64(7);
	flows[1] = add_flow(0, &inner, &inner_mask, output_to(1));
	inner.tun_id = rte_cpu_to_be_64(8);
	inner_mask.tun_tp_src = UINT16_MAX; /* which is not the same for all packets of a tunnel */
	inner.tun_tp_src = RTE_BE16(0xc000);
	flows[2] = add_flow(0, &inner, &inner_mask, output_to(2));
	for (i = 0; i < 6; i++)
		send_in_tunnel(&(struct packet){.port = 80, .payload = 20 + i}, 7, 1);
	assert_int_equal(taken(1), 6);
	assert_int_equal(fused().hits, 10);
	assert_int_equal(fused().entries, 2);
	for (i = 0; i < 2; i++)
		assert_int_equal(packets_of(flows[i]), 6);
	assert_int_equal(bytes_of(flows[1]), 6 * (42 + 20) + 15);
	assert_int_equal(bytes_of(flows[0]), bytes_of(flows[1]) + 6 * 50);
	/* Another tunnel is another context, though all else is equal; the source port is looked at. */
	for (i = 0; i < 3; i++)
		send_in_tunnel(&(struct packet){.port = 80}, 8, 0);
	assert_int_equal(taken(2), 3);
	send_in_tunnel(&(struct packet){.port = 80}, 8, 1);
	assert_int_equal(dropped(0, XV_DROP_NO_FLOW), 1);
	assert_int_equal(packets_of(flows[2]), 3);
	/* What is behind goes: who is in front still counts. */
	xv_flow_del(flows[1]);
	send_in_tunnel(&(struct packet){.port = 80}, 7, 1);
	assert_int_equal(taken(1), 0);
	assert_int_equal(dropped(0, XV_DROP_NO_FLOW), 2);
	assert_int_equal(packets_of(flows[0]), 11);
}

/* One GRE tunnel carries Ethernet and bare IP in turn: what tells them apart is not in the outer headers. */
static void ethernet_and_ip_in_one_tunnel(void **state)
{
	const struct xv_action_tunnel_pop pop = {.type = XV_TUNNEL_GRE};
	const struct xv_flow_key outer = {.ip_proto = 47}, outer_mask = {.ip_proto = 0xff, .ip_frag = 0xff};
	const struct xv_flow_key mask = {.packet_type = UINT32_MAX, .ip_proto = 0xff};
	const struct xv_encap_packet packet = {.hash = 1};
	struct xv_action_push_eth eth = {0};
	struct xv_flow_key inner = {.in_port = POP_PORT, .ip_proto = 17};
	struct xv_actions_builder b;
	struct xv_actions *actions;
	struct xv_flow *flows[3];
	unsigned int i;

	(void)state;
	bind_flows();
	xv_actions_begin(&b);
	xv_actions_add(&b, XV_ACT_TUNNEL_POP, POP_PORT, &pop, sizeof(pop));
	assert_int_equal(xv_actions_finish(&b, &actions), 0);
	flows[0] = add_flow(0, &outer, &outer_mask, actions);
	flows[1] = add_flow(0, &inner, &mask, output_to(1));
	inner.packet_type = XV_PACKET_TYPE(0x0800);
	memcpy(eth.dst, mac_b, 6);
	xv_actions_begin(&b);
	xv_actions_add(&b, XV_ACT_PUSH_ETH, 0, &eth, sizeof(eth));
	xv_actions_add(&b, XV_ACT_OUTPUT, 2, NULL, 0);
	assert_int_equal(xv_actions_finish(&b, &actions), 0);
	flows[2] = add_flow(0, &inner, &mask, actions);
	for (i = 0; i < 12; i++) {
		struct xv_encap_params params = {.type = XV_TUNNEL_GRE};
		struct rte_mbuf *m = make(&(struct packet){.port = 80, .payload = 30});
		struct xv_encap encap;

		if (i / 3 % 2 != 0) {
			params.packet_type = XV_PACKET_TYPE(0x0800);
			assert_non_null(rte_pktmbuf_adj(m, 14));
		}
		assert_int_equal(xv_encap_build(&params, &encap), 0);
		assert_int_equal(xv_encap_push(&encap, m, &packet), 0);
		assert_int_equal(xv_dummy_put(rig.ports[0], 0, m), 0);
		run();
	}
	assert_int_equal(taken(1), 6);
	assert_int_equal(taken(2), 6);
	assert_int_equal(packets_of(flows[0]), 12);
	assert_int_equal(packets_of(flows[1]), 6);
	assert_int_equal(packets_of(flows[2]), 6);
	assert_true(fused().hits > 6);
}

/* Tunnel in tunnel in tunnel: as deep as it goes, by entries or not, each flow counts each time that it is met. */
static void tunnels_in_tunnels(void **state)
{
	const struct xv_action_tunnel_pop pop = {.type = XV_TUNNEL_VXLAN, .udp_port = RTE_BE16(XV_VXLAN_PORT)};
	struct xv_flow_key vxlan = {.ip_proto = 17, .tp_dst = RTE_BE16(XV_VXLAN_PORT)}, udp = {.ip_proto = 17, .tp_dst = RTE_BE16(80)};
	struct xv_flow_key mask = {.ip_proto = 0xff, .ip_frag = 0xff, .tp_dst = UINT16_MAX};
	struct xv_encap_params params = {.type = XV_TUNNEL_VXLAN, .id = 7};
	const struct xv_encap_packet packet = {.hash = 1};
	struct xv_flow *outer, *inner, *last;
	struct xv_actions_builder b;
	struct xv_actions *actions[2];
	unsigned int depth, i, n;
	struct xv_encap encap;

	(void)state;
	bind_flows();
	for (i = 0; i < 2; i++) {
		xv_actions_begin(&b);
		xv_actions_add(&b, XV_ACT_TUNNEL_POP, POP_PORT, &pop, sizeof(pop));
		assert_int_equal(xv_actions_finish(&b, &actions[i]), 0);
	}
	outer = add_flow(0, &vxlan, &mask, actions[0]);
	vxlan.in_port = udp.in_port = POP_PORT;
	inner = add_flow(0, &vxlan, &mask, actions[1]);
	last = add_flow(0, &udp, &mask, output_to(1));
	assert_int_equal(xv_encap_build(&params, &encap), 0);
	for (depth = 1, n = 0; depth <= 8; depth++) {
		uint64_t before = packets_of(inner);

		for (i = 0; i < 4; i++) {
			struct rte_mbuf *m = make(&(struct packet){.port = 80, .payload = 30});
			unsigned int d;

			memmove(rte_pktmbuf_mtod_offset(m, uint8_t *, 400), rte_pktmbuf_mtod(m, uint8_t *), m->data_len);
			m->data_off += 400;
			for (d = 0; d < depth; d++)
				assert_int_equal(xv_encap_push(&encap, m, &packet), 0);
			assert_int_equal(xv_dummy_put(rig.ports[0], 0, m), 0);
			run();
			m = take(1);
			assert_non_null(m);
			assert_int_equal(m->pkt_len, 42 + 30);
			rte_pktmbuf_free(m);
			n++;
		}
		assert_int_equal(packets_of(outer), n);
		assert_int_equal(packets_of(inner), before + 4 * (depth - 1));
		assert_int_equal(packets_of(last), n);
	}
	assert_true(fused().hits > 2 * n);
}

/* A copy that finds no buffer does not come to the flows behind: not by the long way, and not by an entry. */
static void copy_without_buffer_counts_nowhere(void **state)
{
	static struct rte_mbuf *all[65536];
	struct xv_actions_builder b;
	struct xv_actions *actions;
	struct xv_flow *first, *behind;
	unsigned int fusing, i, n;

	(void)state;
	bind_flows();
	for (fusing = 0; fusing < 2; fusing++) {
		xv_flows_set_fusing(fusing);
		xv_actions_begin(&b);
		xv_actions_open(&b, XV_ACT_CLONE, 0);
		xv_actions_add(&b, XV_ACT_RECIRC, RECIRC, NULL, 0);
		xv_actions_close(&b);
		xv_actions_add(&b, XV_ACT_OUTPUT, 1, NULL, 0);
		assert_int_equal(xv_actions_finish(&b, &actions), 0);
		first = add_flow(0, NULL, NULL, actions);
		behind = add_flow(RECIRC, NULL, NULL, output_to(2));
		for (i = 0; i < 3; i++)
			send(0, &(struct packet){.port = 80});
		assert_int_equal(fused().programs, fusing ? 2 : 0);
		assert_int_equal(xv_dummy_put(rig.ports[0], 0, make(&(struct packet){.port = 80})), 0);
		for (n = 0; n < RTE_DIM(all) && (all[n] = rte_pktmbuf_alloc(xv_packet_pool())) != NULL; n++)
			;
		run();
		rte_pktmbuf_free_bulk(all, n);
		assert_int_equal(dropped(0, XV_DROP_NO_BUFFER), fusing + 1);
		assert_int_equal(taken(1), 4);
		assert_int_equal(taken(2), 3);
		assert_int_equal(packets_of(first), 4);
		assert_int_equal(packets_of(behind), 3);
		xv_flow_del(first);
		xv_flow_del(behind);
		settle();
	}
}

static void send_tcp(uint8_t flags)
{
	struct rte_mbuf *m = make(&(struct packet){.proto = 6, .port = 80, .payload = 20});
	uint8_t *tcp = rte_pktmbuf_mtod_offset(m, uint8_t *, 34);

	tcp[12] = 0x50;
	tcp[13] = flags;
	assert_int_equal(xv_dummy_put(rig.ports[0], 0, m), 0);
	run();
}

static uint16_t tcp_flags_of(const struct xv_flow *flow)
{
	struct xv_flow_stats stats;

	(void)packets_of(flow); /* sweeps */
	xv_flow_get_stats(flow, &stats);
	return stats.tcp_flags;
}

/* A flow knows the TCP flags of all its packets together, by the long way and by entries. */
static void tcp_flags_are_noted(void **state)
{
	struct xv_flow *flow;
	unsigned int fusing;

	(void)state;
	bind_flows();
	for (fusing = 0; fusing < 2; fusing++) {
		xv_flows_set_fusing(fusing);
		flow = add_flow(0, NULL, NULL, output_to(1));
		send(0, &(struct packet){.port = 0xffff, .payload = 20});
		send(0, &(struct packet){.port = 0xffff, .payload = 20});
		assert_int_equal(tcp_flags_of(flow), 0);
		send_tcp(0x02);
		assert_int_equal(tcp_flags_of(flow), 0x02);
		send_tcp(0x10);
		send_tcp(0x18);
		assert_int_equal(tcp_flags_of(flow), 0x1a);
		assert_int_equal(fused().hits, fusing ? 3 : 0);
		xv_flow_clear_tcp_flags(flow);
		send_tcp(0x01);
		assert_int_equal(tcp_flags_of(flow), 0x01);
		/* Another flow gets its counters. */
		xv_flow_del(flow);
		settle();
	}
	assert_int_equal(taken(1), 12);
}

/* A priority names the queue of the output, by the long way and by entries. */
static void priority_is_a_queue(void **state)
{
	static const struct xv_tx_queue_config config[] = {{.id = 0, .burst_ms = 10}, {.id = 5, .burst_ms = 10}};
	const struct xv_flow_key value = {.skb_priority = 1u << 16 | 6}, mask = {.skb_priority = UINT32_MAX};
	struct xv_binding *binding = calloc(1, sizeof(*binding));
	struct xv_tx_queue_stats stats[2];
	struct xv_rate_limit *limit;
	struct xv_actions_builder b;
	struct xv_actions *actions;
	unsigned int i;

	(void)state;
	bind_flows();
	assert_int_equal(xv_rate_limit_create(0, 1000000000, 10, &limit), 0);
	binding->forward = XV_FORWARD_FLOWS;
	binding->tx_limit = limit;
	xv_port_bind(rig.ports[1], binding);
	assert_int_equal(xv_tx_queues_set(1, config, 2), 0);
	xv_actions_begin(&b);
	xv_actions_add(&b, XV_ACT_OUTPUT, 1, NULL, 0); /* before: in none */
	xv_actions_add_set(&b, &value, &mask);
	xv_actions_add(&b, XV_ACT_OUTPUT, 1, NULL, 0);
	assert_int_equal(xv_actions_finish(&b, &actions), 0);
	(void)add_flow(0, NULL, NULL, actions);
	for (i = 0; i < 4; i++)
		send(0, &(struct packet){.port = 80});
	assert_int_equal(taken(1), 8);
	assert_int_equal(fused().programs, 3);
	assert_int_equal(xv_tx_queues_get_stats(1, stats, 2), 2);
	assert_int_equal(stats[0].packets, 4);
	assert_int_equal(stats[1].packets, 4);
	assert_int_equal(xv_tx_queues_set(1, NULL, 0), 0);
	xv_port_bind(rig.ports[1], NULL);
	xv_rcu_synchronize();
	(void)xv_rcu_poll();
	xv_rate_limit_destroy(limit);
}

static void changed_actions_count_at_once(void **state)
{
	struct xv_flow *flow;

	(void)state;
	bind_flows();
	flow = add_flow(0, NULL, NULL, output_to(1));
	send(0, &(struct packet){.port = 80});
	send(0, &(struct packet){.port = 80});
	xv_flow_set_actions(flow, output_to(2));
	send(0, &(struct packet){.port = 80});
	send(0, &(struct packet){.port = 80});
	assert_int_equal(taken(1), 2);
	assert_int_equal(taken(2), 2);
	assert_int_equal(packets_of(flow), 4);
}

static void deleting_one_flow_keeps_the_others_fused(void **state)
{
	struct xv_flow_key key = {0}, mask = {.tp_dst = UINT16_MAX};
	struct xv_flow *flows[2];
	uint64_t hits;

	(void)state;
	bind_flows();
	key.tp_dst = RTE_BE16(80);
	flows[0] = add_flow(0, &key, &mask, output_to(1));
	key.tp_dst = RTE_BE16(81);
	flows[1] = add_flow(0, &key, &mask, output_to(1));
	send(0, &(struct packet){.port = 80});
	send(0, &(struct packet){.port = 81});
	xv_flow_del(flows[0]);
	hits = fused().hits;
	send(0, &(struct packet){.port = 81});
	assert_int_equal(fused().hits, hits + 1);
	settle();
	assert_int_equal(fused().entries, 1); /* the sweep took the other one away */
	assert_int_equal(packets_of(flows[1]), 2);
	assert_int_equal(taken(1), 3);
}

static void fusing_can_be_switched_off(void **state)
{
	struct xv_flow *flow;

	(void)state;
	bind_flows();
	flow = add_flow(0, NULL, NULL, output_to(1));
	send(0, &(struct packet){.port = 80});
	send(0, &(struct packet){.port = 80});
	xv_flows_set_fusing(false);
	send(0, &(struct packet){.port = 80});
	assert_int_equal(fused().hits, 1);
	assert_int_equal(packets_of(flow), 3);
	assert_int_equal(fused().entries, 0);
	assert_int_equal(taken(1), 3);
}

/* ---- Networks with policies ---- */

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

static void learn_both(void)
{
	send(1, &(struct packet){.dst = mac_a, .src = mac_b, .port = 9});
	send(2, &(struct packet){.dst = mac_a, .src = mac_c, .port = 9});
	(void)taken(0);
	(void)taken(1);
	(void)taken(2);
}

static void egress_policy_becomes_flows(void **state)
{
	struct xv_policy *p = policy(80);
	unsigned int i;

	(void)state;
	bind_network(0, p, NULL);
	bind_network(1, NULL, NULL);
	bind_network(2, NULL, NULL);
	learn_both();
	for (i = 0; i < 4; i++) {
		send(0, &(struct packet){.port = 80});
		send(0, &(struct packet){.port = 81});
		settle();
	}
	assert_int_equal(taken(1), 4);
	assert_int_equal(dropped(0, XV_DROP_POLICY), 4);
	/* Allowed, denied, and "to port 1". */
	assert_int_equal(xv_flows_count(), 3);
	assert_true(fused().hits >= 4);

	/* Another policy holds from its first packet on. */
	struct xv_policy *other = policy(81);

	bind_network(0, other, NULL);
	send(0, &(struct packet){.port = 80});
	send(0, &(struct packet){.port = 81});
	assert_int_equal(taken(1), 1);
	assert_int_equal(dropped(0, XV_DROP_POLICY), 5);
	bind_network(0, NULL, NULL);
	settle();
	xv_policy_destroy(p);
	xv_policy_destroy(other);
}

static void ingress_policy_guards_its_port_only(void **state)
{
	struct xv_policy *p = policy(80);
	unsigned int i;

	(void)state;
	bind_network(0, NULL, NULL);
	bind_network(1, NULL, p);
	bind_network(2, NULL, NULL);
	send(0, &(struct packet){.dst = mac_b, .src = mac_a, .port = 9}); /* flooded: only port 2 may have it */
	assert_int_equal(taken(1), 0);
	assert_int_equal(taken(2), 1);
	learn_both();
	for (i = 0; i < 3; i++) {
		send(0, &(struct packet){.port = 80});
		send(0, &(struct packet){.port = 81});
		send(0, &(struct packet){.dst = mac_c, .port = 81});
		settle();
	}
	assert_int_equal(taken(1), 3);
	assert_int_equal(taken(2), 3);
	bind_network(1, NULL, NULL);
	settle();
	xv_policy_destroy(p);
}

static void moved_address_is_followed(void **state)
{
	struct xv_policy *p = policy(80);
	unsigned int i;

	(void)state;
	bind_network(0, p, NULL);
	bind_network(1, NULL, NULL);
	bind_network(2, NULL, NULL);
	learn_both();
	for (i = 0; i < 4; i++) {
		send(0, &(struct packet){.port = 80});
		settle();
	}
	assert_int_equal(taken(1), 4);
	assert_true(fused().hits > 0);
	send(2, &(struct packet){.dst = mac_a, .src = mac_b, .port = 9}); /* b is on port 2 now */
	send(0, &(struct packet){.port = 80});
	send(0, &(struct packet){.port = 80});
	assert_int_equal(taken(1), 0);
	assert_int_equal(taken(2), 2);
	bind_network(0, NULL, NULL);
	settle();
	xv_policy_destroy(p);
}

static void idle_flows_go(void **state)
{
	struct xv_policy *p = policy(80);
	unsigned int i;

	(void)state;
	bind_network(0, p, NULL);
	bind_network(1, NULL, NULL);
	learn_both();
	for (i = 0; i < 3; i++) {
		send(0, &(struct packet){.port = 80});
		settle();
	}
	assert_int_equal(xv_flows_count(), 2);
	for (i = 0; i < 8; i++) { /* used through a fused flow only: alive */
		xv_clock_warp_ms(2000);
		send(0, &(struct packet){.port = 80});
		xv_flows_age(10000);
		settle();
	}
	assert_int_equal(xv_flows_count(), 2);
	for (i = 0; i < 8; i++) {
		xv_clock_warp_ms(2000);
		xv_flows_age(10000);
		settle();
	}
	assert_int_equal(xv_flows_count(), 0);
	assert_int_equal(fused().entries, 0);
	bind_network(0, NULL, NULL);
	settle();
	xv_policy_destroy(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(second_packet_is_fused, setup, teardown),
		cmocka_unit_test_setup_teardown(flows_do_not_crowd_each_other_out, setup, teardown),
		cmocka_unit_test_setup_teardown(guards_tell_packets_apart, setup, teardown),
		cmocka_unit_test_setup_teardown(passes_and_edits_are_one, setup, teardown),
		cmocka_unit_test_setup_teardown(both_sides_of_a_tunnel_are_fused, setup, teardown),
		cmocka_unit_test_setup_teardown(ethernet_and_ip_in_one_tunnel, setup, teardown),
		cmocka_unit_test_setup_teardown(tunnels_in_tunnels, setup, teardown),
		cmocka_unit_test_setup_teardown(copy_without_buffer_counts_nowhere, setup, teardown),
		cmocka_unit_test_setup_teardown(tcp_flags_are_noted, setup, teardown),
		cmocka_unit_test_setup_teardown(priority_is_a_queue, setup, teardown),
		cmocka_unit_test_setup_teardown(changed_actions_count_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(deleting_one_flow_keeps_the_others_fused, setup, teardown),
		cmocka_unit_test_setup_teardown(fusing_can_be_switched_off, setup, teardown),
		cmocka_unit_test_setup_teardown(egress_policy_becomes_flows, setup, teardown),
		cmocka_unit_test_setup_teardown(ingress_policy_guards_its_port_only, setup, teardown),
		cmocka_unit_test_setup_teardown(moved_address_is_followed, setup, teardown),
		cmocka_unit_test_setup_teardown(idle_flows_go, setup, teardown),
	};

	return cmocka_run_group_tests(tests, group_setup, NULL);
}
