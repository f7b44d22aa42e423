/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Networks over tunnels, with dummy ports and a worker without a thread: one uplink, two VMs, tunnels to two remote
 * hosts. Bytes on the wire, split horizon, next hops, policies, drops, and ledgers that balance after every test.
 */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_mbuf.h>
#include <rte_mempool.h>

#include "base/clock.h"
#include "fastpath/flow.h"
#include "fastpath/ledger.h"
#include "fastpath/live_trace.h"
#include "fastpath/network.h"
#include "fastpath/policy.h"
#include "fastpath/vtep.h"
#include "fastpath/worker.h"
#include "live_story.h"
#include "net/checksum.h"
#include "net/packet.h"
#include "port/dummy.h"
#include "port/eal.h"
#include "table/rcu.h"

enum { UPLINK, VM1, VM2, TUNNEL2, TUNNEL3, PORTS };
#define VNI 100

static struct {
	struct xv_worker *worker;
	struct xv_network *network;
	struct xv_vtep *vtep;
	struct xv_tunnel *tunnels[2];
	struct xv_port *ports[PORTS];
	unsigned int mbufs_before;
	bool ipv6;
} rig;

static const uint8_t mac_a[6] = {2, 0, 0, 0, 0, 0xa}, mac_b[6] = {2, 0, 0, 0, 0, 0xb},
		     broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, remote_mac[6] = {2, 0, 0, 0, 2, 2};

static int group_setup(void **state)
{
	struct xv_eal_config config = {.memory_mb = 64};

	(void)state;
	xv_clock_init(0);
	xv_clock_stop();
	xv_worker_configure(&(struct xv_worker_settings){.batch = 1});
	return xv_eal_init(&config, NULL) != 0 || xv_rcu_init() != 0 || xv_flows_init() != 0 || xv_underlay_init() != 0;
}

/* 192.0.2.n or 2001:db8::n */
static union xv_ip_addr host(uint8_t n)
{
	union xv_ip_addr a = {0};

	if (rig.ipv6) {
		memcpy(a.bytes, (const uint8_t[]){0x20, 0x01, 0x0d, 0xb8}, 4);
		a.bytes[15] = n;
	} else {
		memcpy(&a.bytes[12], (const uint8_t[]){192, 0, 2, n}, 4);
	}
	return a;
}

static void bind_port(unsigned int port, const struct xv_policy *egress, const struct xv_policy *ingress)
{
	struct xv_binding *b = calloc(1, sizeof(*b));

	if (port == UPLINK) {
		b->forward = XV_FORWARD_VTEP;
		b->vtep = rig.vtep;
	} else {
		b->forward = XV_FORWARD_NETWORK;
		b->network = rig.network;
		b->tunnel = port >= TUNNEL2 ? rig.tunnels[port - TUNNEL2] : NULL;
		b->egress_policy = egress;
		b->ingress_policy = ingress;
	}
	xv_port_bind(rig.ports[port], b);
}

static int start(enum xv_tunnel_type type)
{
	struct xv_vtep_config config = {
		.name = "v0", .ipv6 = rig.ipv6, .prefix_len = rig.ipv6 ? 64 : 24, .addr = host(1)};
	struct xv_queue_ref refs[3];
	unsigned int i;

	rig.mbufs_before = rte_mempool_avail_count(xv_packet_pool());
	assert_int_equal(xv_worker_create("test", -1, true, &rig.worker, NULL), 0);
	assert_int_equal(xv_network_create("net", 300, 64, &rig.network), 0);
	assert_int_equal(xv_vtep_create(&config, &rig.vtep), 0);
	for (i = 0; i < PORTS; i++) {
		struct xv_port_config port = {.kind = i < TUNNEL2 ? XV_PORT_DUMMY : XV_PORT_TUNNEL, .queues = 1};

		snprintf(port.name, sizeof(port.name), "p%u", i);
		assert_int_equal(xv_port_create(&port, (uint16_t)i, NULL, &rig.ports[i], NULL), 0);
		xv_ledger_reset((uint16_t)i);
		if (i < TUNNEL2)
			refs[i] = (struct xv_queue_ref){rig.ports[i], 0};
	}
	for (i = 0; i < 2; i++) {
		union xv_ip_addr remote = host((uint8_t)(i + 2));

		assert_int_equal(xv_tunnel_create(rig.vtep, type, VNI + 5000u * (type == XV_TUNNEL_NVGRE), &remote,
						  rig.ports[TUNNEL2 + i], &rig.tunnels[i]),
				 0);
	}
	for (i = 0; i < PORTS; i++)
		bind_port(i, NULL, NULL);
	assert_int_equal(xv_network_set_members(rig.network, &rig.ports[VM1], PORTS - VM1), 0);
	assert_int_equal(xv_vtep_publish(rig.vtep, (const struct xv_tunnel *const *)rig.tunnels, 2), 0);
	xv_vtep_set_uplink(rig.vtep, rig.ports[UPLINK]);
	assert_int_equal(xv_worker_set_queues(rig.worker, refs, 3), 0);
	return 0;
}

static int setup(void **state)
{
	(void)state;
	rig.ipv6 = false;
	return start(XV_TUNNEL_VXLAN);
}

static int setup6(void **state)
{
	(void)state;
	rig.ipv6 = true;
	return start(XV_TUNNEL_VXLAN);
}

static int setup_geneve(void **state)
{
	(void)state;
	rig.ipv6 = false;
	return start(XV_TUNNEL_GENEVE);
}

static int setup_nvgre(void **state)
{
	(void)state;
	rig.ipv6 = false;
	return start(XV_TUNNEL_NVGRE);
}

static struct xv_ledger ledger(unsigned int port)
{
	struct xv_ledger l;

	xv_ledger_read(rig.ports[port], &l);
	return l;
}

static void check_ledger(unsigned int port)
{
	struct xv_ledger l = ledger(port);
	uint64_t drops = 0;
	unsigned int i;

	for (i = 0; i < XV_DROP_MAX; i++)
		drops += l.drops[i];
	assert_int_equal(l.rx_packets + l.copies, l.forwarded + l.punts + drops + l.held);
}

static int teardown(void **state)
{
	unsigned int i;

	(void)state;
	assert_int_equal(xv_worker_set_queues(rig.worker, NULL, 0), 0);
	assert_int_equal(xv_vtep_publish(rig.vtep, NULL, 0), 0);
	for (i = 0; i < PORTS; i++) {
		xv_underlay_forget_port(rig.ports[i]);
		xv_port_bind(rig.ports[i], NULL);
		xv_workers_forget_port(rig.ports[i]);
	}
	for (i = 0; i < PORTS; i++)
		check_ledger(i);
	while (xv_underlay_poll())
		;
	for (i = 0; i < 2; i++)
		xv_tunnel_destroy(rig.tunnels[i]);
	xv_vtep_destroy(rig.vtep);
	xv_rcu_synchronize();
	(void)xv_rcu_poll();
	for (i = 0; i < PORTS; i++)
		xv_port_destroy(rig.ports[i]);
	xv_network_destroy(rig.network);
	xv_worker_destroy(rig.worker);
	assert_int_equal(rte_mempool_avail_count(xv_packet_pool()), rig.mbufs_before);
	return 0;
}

static void run(void)
{
	unsigned int i;

	for (i = 0; i < 4; i++) {
		(void)xv_worker_run_once(rig.worker);
		(void)xv_underlay_poll();
	}
}

static struct rte_mbuf *packet(const uint8_t *bytes, uint32_t len)
{
	return unit_packet(xv_packet_pool(), bytes, len, NULL);
}

static void put(unsigned int port, const uint8_t *bytes, uint32_t len)
{
	assert_int_equal(xv_dummy_put(rig.ports[port], 0, packet(bytes, len)), 0);
}

/* The oldest that was sent: its bytes, in one piece; 0 = none. */
static uint32_t take(unsigned int port, uint8_t *bytes)
{
	struct rte_mbuf *m = xv_dummy_take(rig.ports[port]);
	uint32_t len;
	const void *p;

	if (m == NULL)
		return 0;
	len = m->pkt_len;
	assert_true(len <= 2048);
	p = rte_pktmbuf_read(m, 0, len, bytes);
	if (p != bytes)
		memcpy(bytes, p, len);
	rte_pktmbuf_free(m);
	return len;
}

static unsigned int taken(unsigned int port)
{
	uint8_t bytes[2048];
	unsigned int n = 0;

	while (take(port, bytes) > 0)
		n++;
	return n;
}

static uint64_t dropped(unsigned int port, enum xv_drop reason)
{
	return ledger(port).drops[reason];
}

/* An inner frame. */
static uint32_t frame(uint8_t *p, const uint8_t *dst, const uint8_t *src, uint32_t len)
{
	memset(p, 0x5a, len);
	memcpy(p, dst, 6);
	memcpy(p + 6, src, 6);
	p[12] = 0x88;
	p[13] = 0xb5;
	return len;
}

/* An IPv4 UDP frame with this TOS and destination port. */
static uint32_t udp_frame(uint8_t *p, const uint8_t *dst, const uint8_t *src, uint8_t tos, uint16_t port)
{
	uint16_t sum;

	frame(p, dst, src, 60);
	p[12] = 0x08;
	p[13] = 0x00;
	unit_hex("4500 002e 0000 4000 4011 0000 0a000001 0a000002 1388 0000 001a 0000", p + 14, 28);
	p[15] = tos;
	p[36] = (uint8_t)(port >> 8);
	p[37] = (uint8_t)port;
	sum = (uint16_t)~xv_csum_sum(p + 14, 20);
	memcpy(p + 24, &sum, 2);
	return 60;
}

/* What a remote sends: outer headers of 50 bytes in front of what lies there already. */
static uint32_t outer(uint8_t *p, uint32_t inner_len, uint8_t from, uint32_t vni, uint8_t tos)
{
	uint16_t sum, udp_len = (uint16_t)(16 + inner_len), ip_len = (uint16_t)(udp_len + 20);

	memcpy(p, rig.vtep->mac, 6);
	memcpy(p + 6, remote_mac, 6);
	p[12] = 0x08;
	p[13] = 0x00;
	unit_hex("4500 0000 0000 4000 4011 0000 c0000200 c0000201 c000 12b5 0000 0000 0800 0000 0000 0000", p + 14, 36);
	p[15] = tos;
	p[16] = (uint8_t)(ip_len >> 8);
	p[17] = (uint8_t)ip_len;
	p[29] = from;
	sum = (uint16_t)~xv_csum_sum(p + 14, 20);
	memcpy(p + 24, &sum, 2);
	p[38] = (uint8_t)(udp_len >> 8);
	p[39] = (uint8_t)udp_len;
	p[46] = (uint8_t)(vni >> 16);
	p[47] = (uint8_t)(vni >> 8);
	p[48] = (uint8_t)vni;
	return 50 + inner_len;
}

static void receive(uint8_t from, uint32_t vni, const uint8_t *dst, const uint8_t *src)
{
	uint8_t bytes[256];
	uint32_t len = frame(bytes + 50, dst, src, 60);

	put(UPLINK, bytes, outer(bytes, len, from, vni, 0));
}

static uint32_t arp(uint8_t *p, uint8_t op, const uint8_t *dst, const uint8_t *mac, uint8_t from, uint8_t target)
{
	memset(p, 0, 60);
	memcpy(p, dst, 6);
	memcpy(p + 6, mac, 6);
	unit_hex("0806 0001 0800 0604 0000", p + 12, 10);
	p[21] = op;
	memcpy(p + 22, mac, 6);
	unit_hex("c0000200", p + 28, 4);
	p[31] = from;
	unit_hex("c0000200", p + 38, 4);
	p[41] = target;
	return 60;
}

/* Both remotes say where they are. */
static void resolve(void)
{
	uint8_t bytes[64], mac[6];
	uint8_t n;

	for (n = 2; n <= 3; n++) {
		memcpy(mac, remote_mac, 6);
		mac[5] = n;
		put(UPLINK, bytes, arp(bytes, 2, rig.vtep->mac, mac, n, 1));
	}
	run();
	(void)taken(UPLINK);
}

static void asks_for_next_hops_and_follows_them(void **state)
{
	uint8_t bytes[2048], f[64];
	union xv_ip_addr hop;
	uint8_t mac[6];
	unsigned int i;

	(void)state;
	/* An announcement, and a question for each. */
	assert_int_equal(take(UPLINK, bytes), 60);
	assert_memory_equal(bytes, broadcast, 6);
	assert_memory_equal(bytes + 6, rig.vtep->mac, 6);
	assert_int_equal(bytes[31], 1);
	assert_int_equal(bytes[41], 1);
	for (i = 2; i <= 3; i++) {
		assert_int_equal(take(UPLINK, bytes), 60);
		assert_int_equal(bytes[21], 1);
		assert_int_equal(bytes[41], i);
	}
	assert_int_equal(ledger(UPLINK).tx_packets, 3);
	/* Again every second. */
	xv_clock_warp_ms(1000);
	xv_underlay_tick();
	assert_int_equal(taken(UPLINK), 2);
	xv_underlay_tick();
	assert_int_equal(taken(UPLINK), 0);
	assert_false(xv_tunnel_next_hop(rig.tunnels[0], &hop, mac));
	resolve();
	assert_true(xv_tunnel_next_hop(rig.tunnels[0], &hop, mac));
	assert_memory_equal(mac, remote_mac, 6);
	xv_clock_warp_ms(5000);
	xv_underlay_tick();
	assert_int_equal(taken(UPLINK), 0);
	/* Not heard of for long: asked where it was, then everybody, then given up. */
	xv_clock_warp_ms(6000);
	xv_underlay_tick();
	assert_int_equal(take(UPLINK, bytes), 60);
	assert_memory_equal(bytes, remote_mac, 6);
	(void)taken(UPLINK);
	xv_clock_warp_ms(1000);
	xv_underlay_tick();
	assert_int_equal(take(UPLINK, bytes), 60);
	assert_memory_equal(bytes, broadcast, 6);
	(void)taken(UPLINK);
	/* It moves: an announcement of its own is enough. */
	put(UPLINK, bytes, arp(bytes, 1, broadcast, mac_b, 2, 2));
	run();
	assert_true(xv_tunnel_next_hop(rig.tunnels[0], &hop, mac));
	assert_memory_equal(mac, mac_b, 6);
	put(VM1, f, frame(f, broadcast, mac_a, 60));
	run();
	assert_int_equal(take(UPLINK, bytes), 110);
	assert_memory_equal(bytes, mac_b, 6);
	(void)taken(UPLINK);
	(void)taken(VM2);
	for (i = 0; i < 20; i++) {
		xv_clock_warp_ms(1000);
		xv_underlay_tick();
	}
	assert_false(xv_tunnel_next_hop(rig.tunnels[0], &hop, mac));
	(void)taken(UPLINK);
}

static void answers_for_its_address(void **state)
{
	uint8_t bytes[2048], echo[98];
	uint16_t sum;

	(void)state;
	(void)taken(UPLINK);
	put(UPLINK, bytes, arp(bytes, 1, broadcast, mac_b, 9, 1));
	run();
	assert_int_equal(take(UPLINK, bytes), 60);
	assert_int_equal(bytes[21], 2);
	assert_memory_equal(bytes, mac_b, 6);
	assert_memory_equal(bytes + 22, rig.vtep->mac, 6);
	assert_memory_equal(bytes + 32, mac_b, 6);
	/* One for somebody else is none of ours; a cut off one neither. */
	put(UPLINK, bytes, arp(bytes, 1, broadcast, mac_b, 9, 8));
	(void)arp(bytes, 1, broadcast, mac_b, 9, 1);
	put(UPLINK, bytes, 41);
	run();
	assert_int_equal(taken(UPLINK), 0);
	assert_int_equal(dropped(UPLINK, XV_DROP_TUNNEL_STRAY), 2);

	memset(echo, 7, sizeof(echo));
	memcpy(echo, rig.vtep->mac, 6);
	memcpy(echo + 6, mac_b, 6);
	unit_hex("0800 4500 0054 0000 4000 4001 0000 c0000209 c0000201 0800 0000 0001 0002", echo + 12, 30);
	sum = (uint16_t)~xv_csum_sum(echo + 14, 20);
	memcpy(echo + 24, &sum, 2);
	sum = (uint16_t)~xv_csum_sum(echo + 34, 64);
	memcpy(echo + 36, &sum, 2);
	put(UPLINK, echo, sizeof(echo));
	run();
	assert_int_equal(take(UPLINK, bytes), 98);
	assert_memory_equal(bytes, mac_b, 6);
	assert_memory_equal(bytes + 26, "\xc0\0\2\1\xc0\0\2\11", 8);
	assert_int_equal(bytes[34], 0);
	assert_int_equal(xv_csum_sum(bytes + 14, 20), 0xffff);
	assert_int_equal(xv_csum_sum(bytes + 34, 64), 0xffff);
	echo[60] ^= 1; /* a wrong checksum has no answer */
	put(UPLINK, echo, sizeof(echo));
	run();
	assert_int_equal(taken(UPLINK), 0);
	assert_int_equal(ledger(UPLINK).punts, 3);
}

static void wraps_and_unwraps(void **state)
{
	uint8_t bytes[2048], f[64];
	struct xv_ledger l;

	(void)state;
	resolve();
	/* In: from host 2 to the VM that is known, as it was sent. */
	put(VM1, f, frame(f, broadcast, mac_a, 60));
	run();
	assert_int_equal(taken(VM2), 1);
	assert_int_equal(taken(UPLINK), 2); /* to each remote */
	receive(2, VNI, mac_a, mac_b);
	run();
	assert_int_equal(take(VM1, bytes), 60);
	frame(f, mac_a, mac_b, 60);
	assert_memory_equal(bytes, f, 60);
	assert_int_equal(taken(VM2), 0);
	/* Out: to the host where it was learned, and to no other. */
	put(VM1, f, frame(f, mac_b, mac_a, 60));
	run();
	assert_int_equal(take(UPLINK, bytes), 110);
	assert_memory_equal(bytes, remote_mac, 6);
	assert_memory_equal(bytes + 6, rig.vtep->mac, 6);
	assert_int_equal(xv_csum_sum(bytes + 14, 20), 0xffff);
	assert_int_equal(bytes[20], 0x40); /* don't fragment */
	assert_memory_equal(bytes + 26, "\xc0\0\2\1\xc0\0\2\2", 8);
	assert_memory_equal(bytes + 36, "\x12\xb5\0\x4c\0\0\x08\0\0\0\0\0\x64\0", 14);
	assert_memory_equal(bytes + 50, f, 60);
	assert_int_equal(taken(UPLINK), 0);

	l = ledger(UPLINK);
	assert_int_equal(l.rx_packets, 3); /* and two ARP */
	assert_int_equal(l.punts, 2);
	assert_int_equal(l.forwarded, 1);
	l = ledger(TUNNEL2);
	assert_int_equal(l.rx_packets, 1);
	assert_int_equal(l.rx_bytes, 60);
	assert_int_equal(l.forwarded, 1);
	assert_int_equal(l.tx_packets, 2);
	assert_int_equal(l.tx_bytes, 120);
	assert_int_equal(ledger(TUNNEL3).tx_packets, 1);
	l = ledger(VM1);
	assert_int_equal(l.copies, 2);
	assert_int_equal(l.forwarded, 4);
}

static void other_types(void **state)
{
	uint8_t bytes[2048], f[64];

	(void)state;
	resolve();
	put(VM1, f, frame(f, broadcast, mac_a, 60));
	run();
	(void)taken(VM2);
	/* What we send to host 2 is what host 2 would send to us, but for who is who. */
	uint32_t len = take(UPLINK, bytes);
	assert_int_equal(len, rig.tunnels[0]->type == XV_TUNNEL_GENEVE ? 110 : 102);
	(void)taken(UPLINK);
	memcpy(bytes, rig.vtep->mac, 6);
	bytes[29] = 2;
	bytes[33] = 1;
	memcpy(bytes + len - 54, mac_b, 6);
	put(UPLINK, bytes, len);
	run();
	assert_int_equal(taken(VM1), 1);
	assert_int_equal(ledger(TUNNEL2).rx_packets, 1);
	if (rig.tunnels[0]->type == XV_TUNNEL_GENEVE) { /* control packets are not for networks */
		bytes[43] |= 0x80;
		put(UPLINK, bytes, len);
		run();
		assert_int_equal(dropped(UPLINK, XV_DROP_TUNNEL_HEADER), 1);
	}
}

static void split_horizon(void **state)
{
	(void)state;
	resolve();
	receive(2, VNI, broadcast, mac_b);
	run();
	assert_int_equal(taken(VM1), 1);
	assert_int_equal(taken(VM2), 1);
	assert_int_equal(taken(UPLINK), 0);
	/* Known to be at the other remote: that one has it from the sender itself. */
	receive(3, VNI, mac_b, mac_a);
	run();
	assert_int_equal(taken(VM1) + taken(VM2) + taken(UPLINK), 0);
	assert_int_equal(dropped(TUNNEL3, XV_DROP_TUNNEL_HORIZON), 1);
}

static void strangers(void **state)
{
	uint8_t bytes[256];
	uint32_t len;

	(void)state;
	resolve();
	receive(2, VNI + 1, broadcast, mac_b);
	receive(9, VNI, broadcast, mac_b);
	len = outer(bytes, frame(bytes + 50, broadcast, mac_b, 60), 2, VNI, 0);
	bytes[42] = 0; /* without the flag that says that the VNI is valid */
	put(UPLINK, bytes, len);
	len = outer(bytes, frame(bytes + 50, broadcast, mac_b, 60), 2, VNI, 0);
	bytes[40] = bytes[41] = 0x12; /* a checksum that is wrong */
	put(UPLINK, bytes, len);
	len = outer(bytes, frame(bytes + 50, broadcast, mac_b, 60), 2, VNI, 0);
	bytes[24] ^= 1;
	put(UPLINK, bytes, len);
	len = outer(bytes, frame(bytes + 50, broadcast, mac_b, 60), 2, VNI, 0);
	bytes[37] ^= 1; /* another port */
	put(UPLINK, bytes, len);
	len = outer(bytes, frame(bytes + 50, broadcast, mac_b, 60), 2, VNI, 0);
	bytes[0] = 0x02; /* promiscuous: not for us */
	bytes[5] ^= 1;
	put(UPLINK, bytes, len);
	put(UPLINK, bytes, 20);
	run();
	assert_int_equal(dropped(UPLINK, XV_DROP_TUNNEL_VNI), 1);
	assert_int_equal(dropped(UPLINK, XV_DROP_TUNNEL_SOURCE), 1);
	assert_int_equal(dropped(UPLINK, XV_DROP_TUNNEL_HEADER), 1);
	assert_int_equal(dropped(UPLINK, XV_DROP_TUNNEL_CSUM), 2);
	assert_int_equal(dropped(UPLINK, XV_DROP_TUNNEL_STRAY), 3);
	assert_int_equal(taken(VM1) + taken(VM2), 0);
}

/* Every length that a frame can be cut to, and bytes that mean nothing: counted, and nothing is read that is not there.
 */
static void hostile(void **state)
{
	uint8_t bytes[256];
	uint64_t seed = 1;
	uint32_t len, n, i;

	(void)state;
	resolve();
	len = outer(bytes, udp_frame(bytes + 50, broadcast, mac_b, 0, 7), 2, VNI, 3);
	for (n = 0; n < len; n++) {
		put(UPLINK, bytes, n > 0 ? n : 1);
		run();
	}
	for (n = 0; n < 20000; n++) {
		uint8_t copy[256];

		memcpy(copy, bytes, len);
		for (i = unit_random(&seed, 4) + 1; i > 0; i--)
			copy[unit_random(&seed, len)] = (uint8_t)unit_random(&seed, 256);
		put(UPLINK, copy, len);
		if (n % 16 == 0)
			run();
		if (n % 256 == 0)
			(void)(taken(VM1) + taken(VM2) + taken(UPLINK));
	}
	run();
	(void)(taken(VM1) + taken(VM2) + taken(UPLINK));
	assert_true(dropped(UPLINK, XV_DROP_TUNNEL_STRAY) > 0);
}

static void ecn(void **state)
{
	uint8_t bytes[2048], f[64];

	(void)state;
	resolve();
	/* The inner field is copied outward, congestion inward, and drops what cannot carry it (RFC 6040). */
	put(VM1, f, udp_frame(f, broadcast, mac_a, 2, 7));
	run();
	assert_int_equal(take(UPLINK, bytes), 110);
	assert_int_equal(bytes[15], 2);
	(void)(taken(UPLINK) + taken(VM2));
	put(UPLINK, bytes, outer(bytes, udp_frame(bytes + 50, mac_a, mac_b, 2, 7), 2, VNI, 3));
	run();
	assert_int_equal(take(VM1, bytes), 60);
	assert_int_equal(bytes[15], 3);
	assert_int_equal(xv_csum_sum(bytes + 14, 20), 0xffff);
	put(UPLINK, bytes, outer(bytes, udp_frame(bytes + 50, mac_a, mac_b, 0, 7), 2, VNI, 3));
	run();
	assert_int_equal(taken(VM1), 0);
	assert_int_equal(dropped(UPLINK, XV_DROP_TUNNEL_ECN), 1);
}

/* By a live trace: into tunnels, while their next hops are not known and after, and out of one. */
static void is_followed(void **state)
{
	uint8_t f[64];

	(void)state;
	live_story_start(NULL, VM1);
	put(VM1, f, frame(f, broadcast, mac_a, 60));
	run();
	live_story_expect("1: flood output p2 sent p2 next-hop next-hop");
	resolve();
	live_story_expect("~1: encap; ~1: output p0; ~1: sent p0; ~1: encap; ~1: output p0; ~1: sent p0");
	put(VM1, f, frame(f, broadcast, mac_a, 60));
	run();
	live_story_expect("2: flood output p2 sent p2 encap changed output p0 sent p0 changed encap "
			  "changed output p0 sent p0");
	xv_live_trace_stop();
	/* What came by the uplink goes on as what is in it. */
	live_story_start("udp port 4789", UPLINK);
	receive(2, VNI, mac_a, mac_b);
	receive(2, VNI + 1, mac_a, mac_b);
	run();
	live_story_expect("1: received changed MAC p1 output p1 sent p1; 2: drop tunnel-vni");
	xv_live_trace_stop();
	live_story_start("arp", XV_LIVE_ANY_PORT);
	resolve();
	live_story_expect("1: punt; 2: punt");
	xv_live_trace_stop();
	/* What is in it fits by itself. */
	live_story_start("ether src 02:00:00:00:00:0b", XV_LIVE_ANY_PORT);
	receive(2, VNI, mac_a, mac_b);
	run();
	live_story_expect("1: MAC p1 output p1 sent p1");
	xv_live_trace_stop();
	(void)taken(UPLINK);
	(void)taken(VM1);
	(void)taken(VM2);
}

static void waits_for_the_next_hop(void **state)
{
	uint8_t f[64], bytes[2048];
	unsigned int i;

	(void)state;
	(void)taken(UPLINK);
	for (i = 0; i < 40; i++) {
		frame(f, broadcast, mac_a, 60);
		f[59] = (uint8_t)i;
		put(VM1, f, 60);
		run();
	}
	assert_int_equal(taken(VM2), 40);
	assert_int_equal(taken(UPLINK), 0);
	assert_int_equal(ledger(VM1).held, 2 * 32);
	assert_int_equal(dropped(VM1, XV_DROP_NO_NEIGHBOUR), 2 * 8);
	check_ledger(VM1);
	put(UPLINK, bytes, arp(bytes, 2, rig.vtep->mac, remote_mac, 2, 1));
	run();
	for (i = 0; i < 32; i++) { /* in order */
		assert_int_equal(take(UPLINK, bytes), 110);
		assert_int_equal(bytes[109], i);
		assert_int_equal(bytes[33], 2);
	}
	assert_int_equal(ledger(VM1).held, 32);
	/* The other one never answers. */
	xv_clock_warp_ms(3100);
	run();
	assert_int_equal(ledger(VM1).held, 0);
	assert_int_equal(dropped(VM1, XV_DROP_NO_NEIGHBOUR), 2 * 8 + 32);
	(void)taken(UPLINK);
	/* And who waits when the tunnel goes is dropped (see teardown for those that wait when the worker goes). */
	put(VM1, f, frame(f, broadcast, mac_a, 60));
	run();
	assert_int_equal(ledger(VM1).held, 1);
	xv_port_bind(rig.ports[TUNNEL3], NULL);
	run();
	assert_int_equal(ledger(VM1).held, 0);
	assert_int_equal(dropped(VM1, XV_DROP_DETACHED), 1);
	(void)(taken(UPLINK) + taken(VM2));
}

static void policies(void **state)
{
	struct xv_policy_rule rule;
	struct xv_policy *policy;
	uint8_t bytes[256];
	unsigned int i;

	(void)state;
	xv_policy_rule_init(&rule);
	rule.ip_version = 4;
	rule.has_proto = true;
	rule.proto = 17;
	rule.dst_port_min = rule.dst_port_max = 7;
	assert_int_equal(xv_policy_create("no-echo", &rule, 1, XV_POLICY_ALLOW, &policy), 0);
	resolve();
	bind_port(VM1, policy, policy);
	for (i = 0; i < 3; i++) { /* flooded, learned, from a fused flow */
		put(UPLINK, bytes, outer(bytes, udp_frame(bytes + 50, mac_a, mac_b, 0, 7), 2, VNI, 0));
		put(UPLINK, bytes, outer(bytes, udp_frame(bytes + 50, mac_a, mac_b, 0, 8), 2, VNI, 0));
		put(VM1, bytes, udp_frame(bytes, mac_b, mac_a, 0, 7));
		put(VM1, bytes, udp_frame(bytes, mac_b, mac_a, 0, 8));
		run();
		(void)xv_flows_poll();
		assert_int_equal(taken(VM1), 1);
		assert_int_equal(taken(UPLINK), 1);
		assert_int_equal(taken(VM2),
				 i == 0 ? 2 : 0); /* where mac_a is not known yet, to a VM without a policy, too */
	}
	assert_int_equal(dropped(TUNNEL2, XV_DROP_POLICY), 3);
	assert_int_equal(dropped(VM1, XV_DROP_POLICY), 3);
	bind_port(VM1, NULL, NULL);
	xv_rcu_synchronize();
	run();
	xv_policy_destroy(policy);
}

static void segments_before_it_wraps(void **state)
{
	uint8_t bytes[2048] = {0}, out[2048];
	struct xv_offload *request;
	struct rte_mbuf *m;
	unsigned int i;

	(void)state;
	resolve();
	receive(2, VNI, broadcast, mac_b);
	run();
	(void)(taken(VM1) + taken(VM2));
	frame(bytes, mac_b, mac_a, 54 + 1800);
	unit_hex("0800 4500 0730 0001 4000 4006 0000 0a000001 0a000002 1000 0050 00000001 00000001 5010 1000 0000 0000",
		 bytes + 12, 42);
	m = packet(bytes, 54 + 1800);
	m->ol_flags |= XV_PACKET_OFFLOAD;
	request = xv_packet_offload(m);
	*request = (struct xv_offload){XV_OFFLOAD_CSUM, XV_GSO_TCPV4, 1000, 34, 16};
	assert_int_equal(xv_dummy_put(rig.ports[VM1], 0, m), 0);
	run();
	for (i = 0; i < 2; i++) {
		uint32_t len = take(UPLINK, out);
		uint16_t sum;

		assert_int_equal(len, 50 + 54 + (i == 0 ? 1000 : 800));
		assert_int_equal(xv_csum_sum(out + 14, 20), 0xffff);
		assert_int_equal(xv_csum_sum(out + 64, 20), 0xffff);
		sum = xv_csum_add(xv_csum_pseudo4(out + 76, out + 80, 6, len - 84), xv_csum_sum(out + 84, len - 84));
		assert_int_equal(sum, 0xffff);
	}
	assert_int_equal(taken(UPLINK), 0);
	assert_int_equal(ledger(VM1).copies, 1);
	assert_int_equal(ledger(TUNNEL2).tx_packets, 1);
}

static void mtu_of_the_uplink(void **state)
{
	uint8_t bytes[2048];

	(void)state;
	resolve();
	receive(2, VNI, broadcast, mac_b);
	run();
	(void)(taken(VM1) + taken(VM2));
	atomic_store(&rig.ports[UPLINK]->mtu, 1500);
	put(VM1, bytes, frame(bytes, mac_b, mac_a, 1464));
	put(VM1, bytes, frame(bytes, mac_b, mac_a, 1469));
	run();
	assert_int_equal(taken(UPLINK), 1);
	assert_int_equal(dropped(VM1, XV_DROP_MTU), 1);
}

static void without_an_uplink(void **state)
{
	uint8_t f[64];

	(void)state;
	resolve();
	xv_vtep_set_uplink(rig.vtep, NULL);
	put(VM1, f, frame(f, broadcast, mac_a, 60));
	run();
	assert_int_equal(ledger(VM1).held, 2);
	xv_vtep_set_uplink(rig.vtep, rig.ports[UPLINK]);
	assert_int_equal(taken(UPLINK), 3); /* announced, asked again */
	resolve();
	run();
	assert_int_equal(ledger(VM1).held, 0);
	(void)(taken(UPLINK) + taken(VM2));
}

static void neighbour_discovery(void **state)
{
	uint8_t bytes[2048], nd[86], f[64];
	union xv_ip_addr hop;
	uint8_t mac[6];
	uint16_t sum;
	unsigned int i;

	(void)state;
	assert_int_equal(take(UPLINK, bytes), 86); /* unsolicited advertisement */
	assert_int_equal(bytes[54], 136);
	for (i = 2; i <= 3; i++) {
		assert_int_equal(take(UPLINK, bytes), 86);
		assert_int_equal(bytes[54], 135);
		assert_int_equal(bytes[77], i);
		assert_memory_equal(bytes, "\x33\x33\xff\0\0", 5);
		assert_int_equal(bytes[21], 255);
		sum = xv_csum_add(xv_csum_pseudo6(bytes + 22, bytes + 38, 58, 32), xv_csum_sum(bytes + 54, 32));
		assert_int_equal(sum, 0xffff);
	}
	/* Host 2 asks for us, which tells where it is. */
	memset(nd, 0, sizeof(nd));
	memcpy(nd, "\x33\x33\xff\0\0\1", 6);
	memcpy(nd + 6, remote_mac, 6);
	unit_hex("86dd 6000 0000 0020 3aff 20010db8000000000000000000000002 ff0200000000000000000001ff000001"
		 "8700 0000 0000 0000 20010db8000000000000000000000001 0101 020000000202",
		 nd + 12, 74);
	sum = xv_csum_add(xv_csum_pseudo6(nd + 22, nd + 38, 58, 32), xv_csum_sum(nd + 54, 32));
	sum = (uint16_t)~sum;
	memcpy(nd + 56, &sum, 2);
	put(UPLINK, nd, 86);
	run();
	assert_int_equal(take(UPLINK, bytes), 86);
	assert_int_equal(bytes[54], 136);
	assert_int_equal(bytes[58], 0x60); /* solicited, override */
	assert_memory_equal(bytes, remote_mac, 6);
	assert_memory_equal(bytes + 80, rig.vtep->mac, 6);
	assert_true(xv_tunnel_next_hop(rig.tunnels[0], &hop, mac));
	assert_memory_equal(mac, remote_mac, 6);
	/* One that a router forwarded, and one with a wrong checksum: forged. */
	nd[21] = 254;
	nd[11] = nd[85] = 0x77;
	put(UPLINK, nd, 86);
	nd[21] = 255;
	put(UPLINK, nd, 86);
	run();
	assert_int_equal(taken(UPLINK), 0);
	assert_true(xv_tunnel_next_hop(rig.tunnels[0], &hop, mac));
	assert_memory_equal(mac, remote_mac, 6);
	/* Outer headers: UDP with a checksum. */
	put(VM1, f, frame(f, broadcast, mac_a, 60));
	run();
	assert_int_equal(take(UPLINK, bytes), 130);
	sum = xv_csum_add(xv_csum_pseudo6(bytes + 22, bytes + 38, 17, 76), xv_csum_sum(bytes + 54, 76));
	assert_int_equal(sum, 0xffff);
	(void)taken(VM2);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(asks_for_next_hops_and_follows_them),
		T(answers_for_its_address),
		T(wraps_and_unwraps),
		T(split_horizon),
		T(strangers),
		T(hostile),
		T(ecn),
		T(waits_for_the_next_hop),
		T(is_followed),
		T(policies),
		T(segments_before_it_wraps),
		T(mtu_of_the_uplink),
		T(without_an_uplink),
		cmocka_unit_test_setup_teardown(other_types, setup_geneve, teardown),
		cmocka_unit_test_setup_teardown(other_types, setup_nvgre, teardown),
		cmocka_unit_test_setup_teardown(neighbour_discovery, setup6, teardown),
	};

	return cmocka_run_group_tests(tests, group_setup, NULL);
}
