/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packets through a load balancer and through a router with translation, by a worker without a thread: what comes out is the same with
 * fused flows and without, byte for byte, and with them established connections take one look-up.
 */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_mbuf.h>

#include "base/clock.h"
#include "ct_frame.h"
#include "fastpath/flow.h"
#include "fastpath/fused.h"
#include "fastpath/gateway.h"
#include "fastpath/ledger.h"
#include "fastpath/network.h"
#include "fastpath/worker.h"
#include "port/dummy.h"
#include "port/eal.h"
#include "table/rcu.h"

/* On blue a client and two backends, on ext the world; and the networks' internal ports. */
enum { CLIENT, BACKEND, BACKEND2, WORLD, GATEWAY, GATEWAY_EXT, PORTS };
#define IP(n) (0x0a000000u + (n))
#define EXT(n) (0xc0000200u + (n))
#define ADDR(ip) ((union xv_ip_addr){.words = {[3] = RTE_BE32(ip)}})

static struct {
	struct xv_worker *worker;
	struct xv_network *blue, *ext;
	struct xv_port *ports[PORTS];
	struct xv_load_balancer lb;
	struct xv_backend backends[2];
	const struct xv_load_balancer *lbs[1];
	struct xv_gateway_address addresses[3];
	struct xv_gateway gateways[2];
	struct xv_router_interface interfaces[2];
	struct xv_router_nat nat;
	struct xv_router router;
	_Atomic uint64_t opened[2];
	uint8_t *out; /* all that came out */
	size_t n_out;
} rig;

static void mac_of(unsigned int port, uint8_t mac[6])
{
	memcpy(mac, (const uint8_t[]){2, 0, 0, 0, 0, (uint8_t)(port + 1)}, 6);
}

static int group_setup(void **state)
{
	struct xv_eal_config config = {.memory_mb = 64};

	(void)state;
	xv_clock_init(0);
	xv_clock_stop();
	xv_worker_configure(&(struct xv_worker_settings){.batch = 1});
	return xv_eal_init(&config, NULL) != 0 || xv_rcu_init() != 0;
}

static void build(void)
{
	struct xv_maglev_backend maglev[2];
	unsigned int i;

	for (i = 0; i < 2; i++) {
		rig.backends[i] = (struct xv_backend){
			.addr = ADDR(IP(11)), .port = RTE_BE16(8080), .reachable = true, .opened = &rig.opened[i]};
		rig.backends[i].addr.bytes[15] = (uint8_t)(11 + i);
		mac_of(BACKEND + i, rig.backends[i].mac);
		maglev[i] = (struct xv_maglev_backend){.name = xv_maglev_name(&rig.backends[i].addr, 16), .weight = 1};
		rig.interfaces[i] = (struct xv_router_interface){
			.addr = i == 0 ? ADDR(IP(254)) : ADDR(EXT(254)), .len = 24, .port_id = (uint16_t)(GATEWAY + i)};
		mac_of(GATEWAY + i, rig.interfaces[i].mac);
		rig.gateways[i] = (struct xv_gateway){.router = &rig.router};
	}
	rig.lb = (struct xv_load_balancer){
		.name = "web", .addr = ADDR(IP(100)), .port = RTE_BE16(80), .proto = 17, .n = 2, .backends = rig.backends};
	xv_maglev_fill(rig.lb.table, maglev, 2);
	rig.lbs[0] = &rig.lb;
	rig.addresses[0] = (struct xv_gateway_address){.addr = ADDR(IP(100)), .use = XV_GATEWAY_VIRTUAL};
	rig.addresses[1] = (struct xv_gateway_address){.addr = ADDR(IP(254)), .use = XV_GATEWAY_ROUTER};
	rig.addresses[2] = (struct xv_gateway_address){.addr = ADDR(EXT(254)), .use = XV_GATEWAY_ROUTER | XV_GATEWAY_NAT};
	rig.gateways[0].addresses = rig.addresses;
	rig.gateways[0].n_addresses = 2;
	rig.gateways[0].balancers = rig.lbs;
	rig.gateways[0].n_balancers = 1;
	rig.gateways[1].addresses = &rig.addresses[2];
	rig.gateways[1].n_addresses = 1;
	rig.nat = (struct xv_router_nat){.external = ADDR(EXT(254)), .internal = ADDR(IP(0)), .len = 24, .port_id = GATEWAY_EXT};
	rig.router = (struct xv_router){
		.name = "r0", .zone = 9, .n_interfaces = 2, .interfaces = rig.interfaces, .n_nats = 1, .nats = &rig.nat};
	assert_int_equal(xv_router_neighbours_init(&rig.router, 2), 0);
}

static void know(uint16_t interface, union xv_ip_addr addr, unsigned int port)
{
	uint8_t mac[6];

	mac_of(port, mac);
	xv_router_neighbour_add(&rig.router, interface, &addr, mac);
}

static void start(bool fuse)
{
	struct xv_queue_ref refs[4];
	uint8_t mac[6];
	uint16_t i;

	memset(&rig, 0, sizeof(rig));
	rig.out = calloc(1, 1 << 20);
	assert_int_equal(xv_flows_init(), 0);
	xv_flows_set_fusing(fuse);
	assert_int_equal(xv_worker_create("test", -1, true, &rig.worker, NULL), 0);
	assert_int_equal(xv_network_create("blue", 300, 64, &rig.blue), 0);
	assert_int_equal(xv_network_create("ext", 300, 64, &rig.ext), 0);
	xv_network_join_routed(rig.blue);
	xv_network_join_routed(rig.ext);
	build();
	know(GATEWAY, ADDR(IP(1)), CLIENT);
	know(GATEWAY_EXT, ADDR(EXT(1)), WORLD);
	for (i = 0; i < PORTS; i++) {
		bool internal = i >= GATEWAY, blue = i != WORLD && i != GATEWAY_EXT;
		struct xv_port_config config = {.kind = internal ? XV_PORT_INTERNAL : XV_PORT_DUMMY, .queues = 1};
		struct xv_binding *b = calloc(1, sizeof(*b));

		snprintf(config.name, sizeof(config.name), "p%u", i);
		assert_int_equal(xv_port_create(&config, i, NULL, &rig.ports[i], NULL), 0);
		xv_ledger_reset(i);
		*b = (struct xv_binding){.network = blue ? rig.blue : rig.ext, .has_gateway = true, .balanced = blue, .tracked = blue,
					 .zone = 5, .gateway = internal ? &rig.gateways[i - GATEWAY] : NULL};
		xv_port_bind(rig.ports[i], b);
		if (!internal)
			refs[i] = (struct xv_queue_ref){rig.ports[i], 0};
	}
	mac_of(GATEWAY, mac);
	xv_network_set_gateway(rig.blue, rig.ports[GATEWAY], mac);
	mac_of(GATEWAY_EXT, mac);
	xv_network_set_gateway(rig.ext, rig.ports[GATEWAY_EXT], mac);
	assert_int_equal(xv_network_set_members(rig.blue, (struct xv_port *[]){rig.ports[0], rig.ports[1], rig.ports[2], rig.ports[4]}, 4), 0);
	assert_int_equal(xv_network_set_members(rig.ext, (struct xv_port *[]){rig.ports[3], rig.ports[5]}, 2), 0);
	assert_int_equal(xv_worker_set_queues(rig.worker, refs, 4), 0);
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

/* What came out of a port goes to the record; the last frame into last, its length. */
static uint16_t take(unsigned int port, uint8_t last[2048])
{
	struct rte_mbuf *m;
	uint16_t len = 0;

	while ((m = xv_dummy_take(rig.ports[port])) != NULL) {
		len = m->data_len;
		memcpy(last, rte_pktmbuf_mtod(m, uint8_t *), len);
		rig.out[rig.n_out++] = (uint8_t)port;
		memcpy(rig.out + rig.n_out, last, len);
		rig.n_out += len;
		rte_pktmbuf_free(m);
	}
	return len;
}

static void stop(void)
{
	uint8_t last[2048];
	unsigned int i, d;

	assert_int_equal(xv_worker_set_queues(rig.worker, NULL, 0), 0);
	for (i = 0; i < PORTS; i++) {
		struct xv_ledger l;
		uint64_t drops = 0;

		if (i < GATEWAY)
			(void)take(i, last);
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
	xv_network_destroy(rig.blue);
	xv_network_destroy(rig.ext);
	xv_worker_destroy(rig.worker);
	xv_flows_set_fusing(true);
	xv_flows_fini();
	xv_rcu_synchronize();
	(void)xv_rcu_poll();
	free(rig.router.neighbours);
	free(rig.out);
}

static uint64_t hits(void)
{
	struct xv_fused_stats stats;

	xv_fused_get_stats(xv_worker_fused(rig.worker), &stats);
	return stats.hits;
}

/* From a port to the MAC of another. */
static void send(unsigned int from, unsigned int to, const struct ct_frame *f)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(xv_packet_pool());
	struct ct_packet p;
	uint8_t *bytes;

	assert_non_null(m);
	ct_packet_make(&p, f, 0);
	bytes = (uint8_t *)rte_pktmbuf_append(m, p.m.data_len);
	memcpy(bytes, p.bytes, p.m.data_len);
	mac_of(to, bytes);
	mac_of(from, bytes + 6);
	assert_int_equal(xv_dummy_put(rig.ports[from], 0, m), 0);
	run();
	settle();
}

static uint32_t ip_at(const uint8_t *frame, unsigned int at)
{
	return (uint32_t)frame[at] << 24 | (uint32_t)frame[at + 1] << 16 | (uint32_t)frame[at + 2] << 8 | frame[at + 3];
}

static unsigned int port_at(const uint8_t *frame, unsigned int at)
{
	return (unsigned int)frame[at] << 8 | frame[at + 1];
}

/* Where addresses and ports of IPv4 are. */
#define SRC 26
#define DST 30
#define SPORT 34
#define DPORT 36

static void learn(void)
{
	struct ct_frame hello = {.proto = 17, .src = IP(11), .dst = IP(1), .sport = 1, .dport = 1, .payload = 10};
	uint8_t last[2048];
	unsigned int i;

	for (i = 0; i < 2; i++, hello.src++)
		send(BACKEND + i, CLIENT, &hello);
	hello.src = IP(1);
	hello.dst = IP(11);
	send(CLIENT, BACKEND, &hello);
	hello.src = EXT(1);
	hello.dst = EXT(7);
	send(WORLD, CLIENT, &hello);
	for (i = 0; i < GATEWAY; i++)
		(void)take(i, last);
}

static void balanced(void)
{
	unsigned int i, n, seen[2] = {0};
	uint8_t last[2048];

	for (i = 0; i < 20; i++) {
		struct ct_frame f = {.proto = 17, .src = IP(1), .dst = IP(100), .sport = (uint16_t)(2000 + i), .dport = 80, .payload = 30};
		unsigned int mine = 2;

		for (n = 0; n < 5; n++) {
			struct ct_frame back = {.proto = 17, .sport = 8080, .dport = f.sport, .dst = IP(1), .payload = 40};
			unsigned int b;

			send(CLIENT, GATEWAY, &f);
			for (b = 0; b < 2 && take(BACKEND + b, last) == 0; b++)
				;
			assert_true(b < 2 && (mine == 2 || mine == b));
			mine = b;
			assert_int_equal(ip_at(last, SRC), IP(1)); /* who it is from stays */
			assert_int_equal(ip_at(last, DST), IP(11 + b));
			assert_int_equal(port_at(last, DPORT), 8080);
			assert_int_equal(last[5], BACKEND + b + 1);
			back.src = IP(11 + b);
			send(BACKEND + b, CLIENT, &back);
			assert_int_not_equal(take(CLIENT, last), 0);
			assert_int_equal(ip_at(last, SRC), IP(100));
			assert_int_equal(port_at(last, SPORT), 80);
		}
		seen[mine]++;
	}
	assert_true(seen[0] > 2 && seen[1] > 2);
	assert_int_equal(rig.opened[0], seen[0]);
	assert_int_equal(rig.opened[1], seen[1]);
}

static void routed(void)
{
	struct ct_frame f = {.proto = 6, .src = IP(1), .dst = EXT(1), .sport = 3000, .dport = 80, .seq = 100, .flags = CT_SYN};
	struct ct_frame back = {.proto = 6, .src = EXT(1), .dst = EXT(254), .sport = 80, .dport = 3000, .seq = 500, .ack = 101,
				.flags = CT_SYN | CT_ACK};
	uint8_t last[2048];
	unsigned int i;

	for (i = 0; i < 10; i++) {
		send(CLIENT, GATEWAY, &f);
		assert_int_not_equal(take(WORLD, last), 0);
		assert_int_equal(ip_at(last, SRC), EXT(254));
		assert_int_equal(ip_at(last, DST), EXT(1));
		assert_int_equal(port_at(last, SPORT), 3000);
		assert_int_equal(last[5], WORLD + 1);
		assert_int_equal(last[11], GATEWAY_EXT + 1);
		send(WORLD, GATEWAY_EXT, &back);
		assert_int_not_equal(take(CLIENT, last), 0);
		assert_int_equal(ip_at(last, SRC), EXT(1));
		assert_int_equal(ip_at(last, DST), IP(1));
		assert_int_equal(last[5], CLIENT + 1);
		assert_int_equal(last[11], GATEWAY + 1);
		if (i == 0) {
			f.seq = 101;
			back.seq = 501;
			f.flags = back.flags = CT_ACK;
			f.ack = 501;
			f.payload = back.payload = 50;
			back.ack = 151;
			continue;
		}
		f.seq += 50;
		f.ack += 50;
		back.seq += 50;
		back.ack += 50;
	}
	/* Nobody gets in from outside. */
	back.dport = 3001;
	back.flags = CT_SYN;
	send(WORLD, GATEWAY_EXT, &back);
	assert_int_equal(take(CLIENT, last), 0);
}

static void fused_or_not(void **state)
{
	size_t n;
	uint8_t *out;

	(void)state;
	start(false);
	learn();
	balanced();
	routed();
	assert_int_equal(hits(), 0);
	n = rig.n_out;
	out = malloc(n);
	memcpy(out, rig.out, n);
	stop();

	start(true);
	learn();
	balanced();
	/* Of each connection the first packets of each direction take the long way. */
	assert_true(hits() >= 20 * 5);
	routed();
	assert_true(hits() >= 20 * 5 + 10);
	assert_int_equal(rig.n_out, n);
	assert_memory_equal(rig.out, out, n);
	stop();
	free(out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fused_or_not),
	};

	return cmocka_run_group_tests(tests, group_setup, NULL);
}
