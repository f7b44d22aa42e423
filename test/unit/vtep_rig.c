/* SPDX-License-Identifier: Apache-2.0 */
#include "vtep_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_mbuf.h>
#include <rte_mempool.h>

#include "base/clock.h"
#include "fastpath/flow.h"
#include "fastpath/network.h"
#include "net/checksum.h"
#include "port/eal.h"
#include "table/rcu.h"

struct rig rig;

const uint8_t mac_a[6] = {2, 0, 0, 0, 0, 0xa}, mac_b[6] = {2, 0, 0, 0, 0, 0xb},
	      broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, remote_mac[6] = {2, 0, 0, 0, 2, 2};

int rig_group_setup(void **state)
{
	struct xv_eal_config config = {.memory_mb = 64};

	(void)state;
	xv_clock_init(0);
	xv_clock_stop();
	xv_worker_configure(&(struct xv_worker_settings){.batch = 1});
	return xv_eal_init(&config, NULL) != 0 || xv_rcu_init() != 0 || xv_flows_init() != 0 || xv_underlay_init() != 0;
}

union xv_ip_addr rig_host(uint8_t n)
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

void rig_bind_port(unsigned int port, const struct xv_policy *egress, const struct xv_policy *ingress)
{
	struct xv_binding *b = calloc(1, sizeof(*b));

	if (port == UPLINK || port == UPLINK2) {
		b->forward = XV_FORWARD_VTEP;
		b->vtep = rig.vtep;
		b->uplink = port == UPLINK2;
	} else {
		b->forward = XV_FORWARD_NETWORK;
		b->network = rig.network;
		b->tunnel = port >= TUNNEL2 ? rig.tunnels[port - TUNNEL2] : NULL;
		b->egress_policy = egress;
		b->ingress_policy = ingress;
	}
	xv_port_bind(rig.ports[port], b);
}

int rig_start(const struct rig_config *want)
{
	struct xv_vtep_config config = {.name = "v0", .ipv6 = want->ipv6, .prefix_len = want->ipv6 ? 64 : 24};
	struct xv_tunnel_config tunnel = want->tunnel;
	struct xv_queue_ref refs[N_DEVICES];
	unsigned int i, n = 0;

	rig.ipv6 = want->ipv6;
	rig.vlan = want->outer.vlan;
	config.addr = rig_host(1);
	config.outer = want->outer;
	rig.mbufs_before = rte_mempool_avail_count(xv_packet_pool());
	assert_int_equal(xv_worker_create("test", -1, true, &rig.worker, NULL), 0);
	assert_int_equal(xv_network_create("net", 300, 64, &rig.network), 0);
	assert_int_equal(xv_vtep_create(&config, &rig.vtep), 0);
	for (i = 0; i < PORTS; i++) {
		bool is_tunnel = i == TUNNEL2 || i == TUNNEL3;
		struct xv_port_config port = {.kind = is_tunnel ? XV_PORT_TUNNEL : XV_PORT_DUMMY, .queues = 1};

		snprintf(port.name, sizeof(port.name), "p%u", i);
		assert_int_equal(xv_port_create(&port, (uint16_t)i, NULL, &rig.ports[i], NULL), 0);
		xv_ledger_reset((uint16_t)i);
		if (!is_tunnel)
			refs[n++] = (struct xv_queue_ref){rig.ports[i], 0};
	}
	if (tunnel.vni == 0 && !tunnel.has_key)
		tunnel.vni = tunnel.type == XV_TUNNEL_GRE ? 0 : VNI;
	for (i = 0; i < 2; i++) {
		tunnel.remote = rig_host((uint8_t)(i + 2));
		assert_int_equal(xv_tunnel_create(rig.vtep, &tunnel, rig.ports[TUNNEL2 + i], &rig.tunnels[i]), 0);
	}
	for (i = 0; i < PORTS; i++)
		if (i != UPLINK2 || want->uplinks == 2)
			rig_bind_port(i, NULL, NULL);
	assert_int_equal(xv_network_set_members(rig.network, &rig.ports[VM1], TUNNEL3 - VM1 + 1), 0);
	assert_int_equal(xv_vtep_publish(rig.vtep, (const struct xv_tunnel *const *)rig.tunnels, 2), 0);
	xv_vtep_set_uplink(rig.vtep, 0, rig.ports[UPLINK]);
	if (want->uplinks == 2)
		xv_vtep_set_uplink(rig.vtep, 1, rig.ports[UPLINK2]);
	assert_int_equal(xv_worker_set_queues(rig.worker, refs, n), 0);
	return 0;
}

struct xv_ledger rig_ledger(unsigned int port)
{
	struct xv_ledger l;

	xv_ledger_read(rig.ports[port], &l);
	return l;
}

void rig_check_ledger(unsigned int port)
{
	struct xv_ledger l = rig_ledger(port);
	uint64_t drops = 0;
	unsigned int i;

	for (i = 0; i < XV_DROP_MAX; i++)
		drops += l.drops[i];
	assert_int_equal(l.rx_packets + l.copies, l.forwarded + l.punts + drops + l.held);
}

int rig_teardown(void **state)
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
		rig_check_ledger(i);
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

void rig_run(void)
{
	unsigned int i;

	for (i = 0; i < 4; i++) {
		(void)xv_worker_run_once(rig.worker);
		(void)xv_underlay_poll();
	}
}

struct rte_mbuf *rig_packet(const uint8_t *bytes, uint32_t len)
{
	return unit_packet(xv_packet_pool(), bytes, len, NULL);
}

void rig_put(unsigned int port, const uint8_t *bytes, uint32_t len)
{
	assert_int_equal(xv_dummy_put(rig.ports[port], 0, rig_packet(bytes, len)), 0);
}

uint32_t rig_take(unsigned int port, uint8_t *bytes)
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

unsigned int rig_taken(unsigned int port)
{
	uint8_t bytes[2048];
	unsigned int n = 0;

	while (rig_take(port, bytes) > 0)
		n++;
	return n;
}

uint64_t rig_dropped(unsigned int port, enum xv_drop reason)
{
	return rig_ledger(port).drops[reason];
}

uint32_t rig_frame(uint8_t *p, const uint8_t *dst, const uint8_t *src, uint32_t len)
{
	memset(p, 0x5a, len);
	memcpy(p, dst, 6);
	memcpy(p + 6, src, 6);
	p[12] = 0x88;
	p[13] = 0xb5;
	return len;
}

uint32_t rig_udp_frame(uint8_t *p, const uint8_t *dst, const uint8_t *src, uint8_t tos, uint16_t port)
{
	uint16_t sum;

	rig_frame(p, dst, src, 60);
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

uint32_t rig_outer(uint8_t *p, uint32_t inner_len, uint8_t from, uint32_t vni, uint8_t tos)
{
	uint16_t sum, udp_len = (uint16_t)(16 + inner_len), ip_len = (uint16_t)(udp_len + 20);

	memcpy(p, rig.vtep->uplinks[0].mac, 6);
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

void rig_receive(uint8_t from, uint32_t vni, const uint8_t *dst, const uint8_t *src)
{
	uint8_t bytes[256];
	uint32_t len = rig_frame(bytes + 50, dst, src, 60);

	rig_put(UPLINK, bytes, rig_outer(bytes, len, from, vni, 0));
}

uint32_t rig_arp(uint8_t *p, uint8_t op, const uint8_t *dst, const uint8_t *mac, uint8_t from, uint8_t target)
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

/* The underlay's tag, if it has one. */
static uint32_t tag(uint8_t *p, uint32_t len)
{
	if (rig.vlan == 0)
		return len;
	memmove(p + 16, p + 12, len - 12);
	unit_hex("8100 e000", p + 12, 4); /* with a priority, which says nothing */
	p[14] |= (uint8_t)(rig.vlan >> 8);
	p[15] = (uint8_t)rig.vlan;
	return len + 4;
}

/* The neighbour with this MAC address says that it has the address of host n. */
static uint32_t advert(uint8_t *p, const uint8_t *dst, const uint8_t *mac, uint8_t n)
{
	uint16_t sum;

	memcpy(p, dst, 6);
	memcpy(p + 6, mac, 6);
	unit_hex("86dd 6000 0000 0020 3aff 20010db8000000000000000000000000 20010db8000000000000000000000001"
		 "8800 0000 6000 0000 20010db8000000000000000000000000 0201 000000000000",
		 p + 12, 74);
	p[37] = p[77] = n;
	memcpy(p + 80, mac, 6);
	sum = xv_csum_add(xv_csum_pseudo6(p + 22, p + 38, 58, 32), xv_csum_sum(p + 54, 32));
	sum = (uint16_t)~sum;
	memcpy(p + 56, &sum, 2);
	return 86;
}

void rig_resolve_by(unsigned int port)
{
	const uint8_t *ours = rig.vtep->uplinks[port == UPLINK2].mac;
	uint8_t bytes[90], mac[6], n;

	for (n = 2; n <= 3; n++) {
		memcpy(mac, remote_mac, 6);
		mac[5] = n;
		rig_put(port, bytes,
			tag(bytes, rig.ipv6 ? advert(bytes, ours, mac, n) : rig_arp(bytes, 2, ours, mac, n, 1)));
	}
	rig_run();
	(void)rig_taken(port);
}

void rig_resolve(void)
{
	rig_resolve_by(UPLINK);
}
