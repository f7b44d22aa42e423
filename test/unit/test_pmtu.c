/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packets that are too long for a tunnel, with dummy ports and a worker without a thread: who is told what, what is
 * cut, and ledgers that balance after every test. One uplink, a VM on the plain network, one in VLAN 10, a tunnel over
 * IPv4.
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
#include "fastpath/network.h"
#include "fastpath/policy.h"
#include "fastpath/vtep.h"
#include "fastpath/worker.h"
#include "net/checksum.h"
#include "net/packet.h"
#include "port/dummy.h"
#include "port/eal.h"
#include "table/rcu.h"

enum { UPLINK, VM, ACCESS, TUNNEL, PORTS };
#define VNI       100
#define FRAME_MAX 70000
#define ROOM      (1400 - 36) /* of a link of 1400 bytes, for inner frames: outer IP, UDP and VXLAN are off */

static struct {
	struct xv_worker *worker;
	struct xv_network *network;
	struct xv_vtep *vtep;
	struct xv_tunnel *tunnel;
	struct xv_port *ports[PORTS];
	unsigned int mbufs_before;
} rig;

static const uint8_t mac_vm[6] = {2, 0, 0, 0, 0, 0xa}, mac_there[6] = {2, 0, 0, 0, 0, 0xb},
		     mac_remote[6] = {2, 0, 0, 0, 2, 2};
static uint8_t sent[FRAME_MAX], got[FRAME_MAX];

static int group_setup(void **state)
{
	struct xv_eal_config config = {.memory_mb = 64};

	(void)state;
	xv_clock_init(0);
	xv_clock_stop();
	xv_worker_configure(&(struct xv_worker_settings){.batch = 1});
	return xv_eal_init(&config, NULL) != 0 || xv_rcu_init() != 0 || xv_flows_init() != 0 || xv_underlay_init() != 0;
}

static void bind_port(unsigned int port, const struct xv_policy *policy)
{
	struct xv_binding *b = calloc(1, sizeof(*b));

	if (port == UPLINK) {
		b->forward = XV_FORWARD_VTEP;
		b->vtep = rig.vtep;
	} else {
		b->forward = XV_FORWARD_NETWORK;
		b->network = rig.network;
		b->tunnel = port == TUNNEL ? rig.tunnel : NULL;
		b->vlan = port == ACCESS ? 10 : 0;
		b->egress_policy = policy;
		b->ingress_policy = policy;
	}
	xv_port_bind(rig.ports[port], b);
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
	run();
}

/* The oldest that was sent, into `got`; 0 = none. */
static uint32_t take(unsigned int port)
{
	struct rte_mbuf *m = xv_dummy_take(rig.ports[port]);
	uint32_t len;
	const void *p;

	if (m == NULL)
		return 0;
	len = m->pkt_len;
	assert_true(len <= sizeof(got));
	p = rte_pktmbuf_read(m, 0, len, got);
	if (p != got)
		memcpy(got, p, len);
	rte_pktmbuf_free(m);
	return len;
}

static unsigned int taken(unsigned int port)
{
	unsigned int n = 0;

	while (take(port) > 0)
		n++;
	return n;
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

static void set_mtu(uint16_t mtu)
{
	struct xv_port_config config = {.mtu = mtu};

	assert_int_equal(rig.ports[UPLINK]->ops->reconfigure(rig.ports[UPLINK], &config, NULL), 0);
}

/* Into `sent`: an IPv4 or IPv6 packet of TCP or UDP, of so many bytes. tag: its VLAN, or 0. */
static uint32_t ip_frame(bool ipv6, bool tcp, bool df, uint16_t tag, uint32_t ip_len)
{
	uint8_t *ip = sent + 14, *l4;
	uint32_t i;
	uint16_t sum;

	memset(sent, 0, sizeof(sent));
	memcpy(sent, mac_there, 6);
	memcpy(sent + 6, mac_vm, 6);
	if (tag != 0) {
		memcpy(sent + 12, (const uint8_t[]){0x81, 0, (uint8_t)(tag >> 8), (uint8_t)tag}, 4);
		ip += 4;
	}
	memcpy(ip - 2, ipv6 ? "\x86\xdd" : "\x08\x00", 2);
	if (ipv6) {
		ip[0] = 0x60;
		ip[4] = (uint8_t)((ip_len - 40) >> 8);
		ip[5] = (uint8_t)(ip_len - 40);
		ip[6] = tcp ? 6 : 17;
		ip[7] = 64;
		ip[8] = ip[24] = 0xfd;
		ip[23] = 1;
		ip[39] = 2;
		l4 = ip + 40;
	} else {
		ip[0] = 0x45;
		ip[2] = (uint8_t)(ip_len >> 8);
		ip[3] = (uint8_t)ip_len;
		ip[5] = 7;
		ip[6] = df ? 0x40 : 0;
		ip[8] = 64;
		ip[9] = tcp ? 6 : 17;
		memcpy(ip + 12, (const uint8_t[]){10, 0, 0, 1, 10, 0, 0, 2}, 8);
		sum = (uint16_t)~xv_csum_sum(ip, 20);
		memcpy(ip + 10, &sum, 2);
		l4 = ip + 20;
	}
	memcpy(l4, (const uint8_t[]){4, 1, 0, 80}, 4);
	if (tcp) {
		l4[12] = 8 << 4; /* 12 bytes of options: timestamps */
		l4[13] = 0x10;
		memset(l4 + 20, 1, 12);
	} else {
		l4[4] = (uint8_t)((ip + ip_len - l4) >> 8);
		l4[5] = (uint8_t)(ip + ip_len - l4);
	}
	for (i = tcp ? 32 : 8; l4 + i < ip + ip_len; i++)
		l4[i] = (uint8_t)(i * 7 + i / 256);
	return (uint32_t)(ip - sent) + ip_len;
}

static int setup(void **state)
{
	struct xv_vtep_config config = {.name = "v0", .prefix_len = 24};
	struct xv_tunnel_config tunnel = {
		.type = XV_TUNNEL_VXLAN, .vni = VNI, .remote.words[3] = RTE_BE32(0xc0000202)};
	struct xv_queue_ref refs[TUNNEL];
	uint8_t arp[60] = {0}, reply[256];
	uint16_t vlan, sum;
	unsigned int i;

	(void)state;
	config.addr.words[3] = RTE_BE32(0xc0000201);
	rig.mbufs_before = rte_mempool_avail_count(xv_packet_pool());
	assert_int_equal(xv_worker_create("test", -1, true, &rig.worker, NULL), 0);
	assert_int_equal(xv_network_create("net", 300, 64, &rig.network), 0);
	assert_int_equal(xv_vtep_create(&config, &rig.vtep), 0);
	for (i = 0; i < PORTS; i++) {
		struct xv_port_config port = {.kind = i < TUNNEL ? XV_PORT_DUMMY : XV_PORT_TUNNEL, .queues = 1};

		snprintf(port.name, sizeof(port.name), "p%u", i);
		assert_int_equal(xv_port_create(&port, (uint16_t)i, NULL, &rig.ports[i], NULL), 0);
		xv_ledger_reset((uint16_t)i);
		if (i < TUNNEL)
			refs[i] = (struct xv_queue_ref){rig.ports[i], 0};
	}
	assert_int_equal(xv_tunnel_create(rig.vtep, &tunnel, rig.ports[TUNNEL], &rig.tunnel), 0);
	for (i = 0; i < PORTS; i++)
		bind_port(i, NULL);
	assert_int_equal(xv_network_set_members(rig.network, &rig.ports[VM], PORTS - VM), 0);
	assert_int_equal(xv_vtep_publish(rig.vtep, (const struct xv_tunnel *const[]){rig.tunnel}, 1), 0);
	xv_vtep_set_uplink(rig.vtep, 0, rig.ports[UPLINK]);
	assert_int_equal(xv_worker_set_queues(rig.worker, refs, TUNNEL), 0);

	/* Where the other host is, and the other VM behind it, in both VLANs. */
	memcpy(arp, rig.vtep->uplinks[0].mac, 6);
	memcpy(arp + 6, mac_remote, 6);
	unit_hex("0806 0001 0800 0604 0002", arp + 12, 10);
	memcpy(arp + 22, mac_remote, 6);
	unit_hex("c0000202", arp + 28, 4);
	unit_hex("c0000201", arp + 38, 4);
	put(UPLINK, arp, sizeof(arp));
	for (vlan = 0; vlan <= 10; vlan += 10) {
		memset(reply, 0, sizeof(reply));
		memcpy(reply, rig.vtep->uplinks[0].mac, 6);
		memcpy(reply + 6, mac_remote, 6);
		unit_hex("0800 4500 0060 0000 4000 4011 0000 c0000202 c0000201 c000 12b5 004c 0000 0800 0000 0000 6400",
			 reply + 12, 38);
		sum = (uint16_t)~xv_csum_sum(reply + 14, 20);
		memcpy(reply + 24, &sum, 2);
		memset(reply + 50, 0xff, 6);
		memcpy(reply + 56, mac_there, 6);
		unit_hex(vlan ? "8100 000a 88b5" : "88b5", reply + 62, 6);
		put(UPLINK, reply, 110);
	}
	(void)(taken(UPLINK) + taken(VM) + taken(ACCESS));
	set_mtu(1400);
	return 0;
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
	xv_tunnel_destroy(rig.tunnel);
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

/* What the port gets for `sent`: an error that says this MTU, with this VLAN tag (0 = none). */
static void is_told(unsigned int port, bool ipv6, uint16_t tag, uint32_t mtu)
{
	uint32_t len = take(port), l3 = tag ? 18 : 14, sent_l3 = sent[12] == 0x81 ? 18 : 14;
	const uint8_t *ip = got + l3, *icmp = ip + (ipv6 ? 40 : 20);
	uint32_t icmp_len = len - (uint32_t)(icmp - got);
	uint16_t sum;

	assert_int_equal(len, l3 + (ipv6 ? 1280 : 576));
	assert_memory_equal(got, mac_vm, 6);
	assert_memory_equal(got + 6, mac_there, 6);
	if (tag)
		assert_int_equal((got[14] & 0xf) << 8 | got[15], tag);
	sum = xv_csum_sum(icmp, icmp_len);
	if (ipv6) {
		assert_memory_equal(icmp, "\2\0", 2);
		assert_memory_equal(ip + 8, sent + sent_l3 + 24, 16);
		assert_memory_equal(ip + 24, sent + sent_l3 + 8, 16);
		sum = xv_csum_add(sum, xv_csum_pseudo6(ip + 8, ip + 24, 58, icmp_len));
	} else {
		assert_memory_equal(icmp, "\3\4", 2);
		assert_memory_equal(ip + 12, sent + sent_l3 + 16, 4);
		assert_memory_equal(ip + 16, sent + sent_l3 + 12, 4);
		assert_int_equal(xv_csum_sum(ip, 20), 0xffff);
	}
	assert_int_equal(sum, 0xffff);
	assert_int_equal((uint32_t)icmp[4] << 24 | icmp[5] << 16 | icmp[6] << 8 | icmp[7], mtu);
	assert_memory_equal(icmp + 8, sent + sent_l3, icmp_len - 8);
}

static void tells_the_sender(void **state)
{
	unsigned int i;

	(void)state;
	for (i = 0; i < 8; i++) {
		bool ipv6 = i & 1, tcp = i & 2;
		uint16_t tag = i & 4 ? 10 : 0;
		uint32_t mtu = ROOM - (tag ? 18 : 14);

		/* What just fits passes, a byte more does not. */
		put(VM, sent, ip_frame(ipv6, tcp, true, tag, mtu));
		assert_int_equal(take(UPLINK), 1414);
		put(VM, sent, ip_frame(ipv6, tcp, true, tag, mtu + 1));
		is_told(VM, ipv6, tag, mtu);
		assert_int_equal(taken(UPLINK) + taken(VM), 0);
		assert_int_equal(ledger(VM).drops[XV_DROP_MTU], i + 1);
		assert_int_equal(ledger(VM).answers, i + 1);
		assert_int_equal(ledger(VM).copies, i + 1);
	}
	assert_int_equal(ledger(VM).tx_packets, 2 + 8); /* two frames of setup() */
}

static void tagged_as_the_port_wants_it(void **state)
{
	(void)state;
	/* In the tunnel it has a tag; its sender knows none. The error has to say what room is left with one. */
	put(ACCESS, sent, ip_frame(false, false, true, 0, ROOM - 18));
	assert_int_equal(take(UPLINK), 1414);
	put(ACCESS, sent, ip_frame(false, false, true, 0, ROOM - 17));
	is_told(ACCESS, false, 0, ROOM - 18);
	assert_int_equal(taken(UPLINK) + taken(VM), 0);
}

static void by_flows_too(void **state)
{
	struct xv_policy_rule rule;
	struct xv_policy *policy;
	unsigned int i;

	(void)state;
	/* No ICMP from the network: the answer belongs to what the policy lets out. */
	xv_policy_rule_init(&rule);
	rule.has_proto = true;
	rule.proto = 1;
	rule.ip_version = 4;
	assert_int_equal(xv_policy_create("no-icmp", &rule, 1, XV_POLICY_ALLOW, &policy), 0);
	bind_port(VM, policy);
	for (i = 0; i < 4; i++) { /* decided, then by a flow, then fused */
		put(VM, sent, ip_frame(false, true, true, 0, 1400));
		(void)xv_flows_poll();
		is_told(VM, false, 0, ROOM - 14);
		put(VM, sent, ip_frame(false, true, true, 0, 1000));
		(void)xv_flows_poll();
		assert_int_equal(taken(UPLINK), 1);
	}
	bind_port(VM, NULL);
	xv_rcu_synchronize();
	run();
	xv_policy_destroy(policy);
}

static void fused_encapsulation(void **state)
{
	struct xv_flow_key key = {.in_port = ACCESS}, mask = {.in_port = UINT32_MAX, .recirc_id = UINT32_MAX};
	struct xv_flow_spec spec = {.key = &key, .mask = &mask, .owner = XV_FLOW_NO_OWNER};
	const struct xv_encap *encap = &atomic_load(&rig.tunnel->paths)->path[0].encap;
	struct xv_binding *b = calloc(1, sizeof(*b));
	struct xv_actions_builder builder;
	struct xv_flow *flow;
	unsigned int i;

	(void)state;
	b->forward = XV_FORWARD_FLOWS;
	xv_port_bind(rig.ports[ACCESS], b);
	xv_actions_begin(&builder);
	xv_actions_add(&builder, XV_ACT_TUNNEL_PUSH, 0, encap, sizeof(*encap));
	xv_actions_add(&builder, XV_ACT_OUTPUT, UPLINK, NULL, 0);
	assert_int_equal(xv_actions_finish(&builder, &spec.actions), 0);
	assert_int_equal(xv_flow_add(&spec, &flow), 0);
	for (i = 0; i < 3; i++) {
		put(ACCESS, sent, ip_frame(true, false, true, 7, ROOM - 18));
		assert_int_equal(take(UPLINK), 1414);
		put(ACCESS, sent, ip_frame(true, false, true, 7, ROOM - 17));
		is_told(ACCESS, true, 7, ROOM - 18);
		put(ACCESS, sent, ip_frame(false, false, false, 0, 1400));
		assert_int_equal(taken(UPLINK), 2);
	}
	assert_int_equal(taken(UPLINK) + taken(ACCESS), 0);
	xv_flow_del(flow);
	for (i = 0; i < 100 && xv_flows_poll(); i++)
		run();
}

static void cuts_what_may_be_cut(void **state)
{
	struct xv_offload *request;
	struct rte_mbuf *m;
	uint32_t len, n, done, offloaded;
	uint16_t sum;

	(void)state;
	for (offloaded = 0; offloaded < 2; offloaded++) {
		const uint32_t size = 4000, piece = (ROOM - 14 - 20) & ~7u;
		static uint8_t datagram[4000];

		len = ip_frame(false, false, false, 0, size);
		m = packet(sent, len);
		if (offloaded) { /* its checksum is to be finished: pseudo-header first */
			sum = xv_csum_pseudo4(sent + 26, sent + 30, 17, size - 20);
			memcpy(rte_pktmbuf_mtod_offset(m, uint8_t *, 40), &sum, 2);
			m->ol_flags |= XV_PACKET_OFFLOAD;
			request = xv_packet_offload(m);
			*request = (struct xv_offload){.flags = XV_OFFLOAD_CSUM, .csum_start = 34, .csum_offset = 6};
		}
		assert_int_equal(xv_dummy_put(rig.ports[VM], 0, m), 0);
		run();
		for (n = 0, done = 0; (len = take(UPLINK)) > 0; n++) {
			const uint8_t *ip = got + 50 + 14;
			uint32_t here = len - 50 - 34;

			assert_true(len <= 1414);
			assert_int_equal(xv_csum_sum(ip, 20), 0xffff);
			assert_int_equal(((uint32_t)(ip[6] & 0x1f) << 8 | ip[7]) * 8, done);
			assert_int_equal(here, n < 2 ? piece : size - 20 - 2 * piece);
			assert_int_equal(ip[6] & 0x20, n < 2 ? 0x20 : 0);
			memcpy(datagram + done, ip + 20, here);
			done += here;
		}
		assert_int_equal(n, 3);
		assert_int_equal(done, size - 20);
		assert_memory_equal(datagram + 8, sent + 42, done - 8);
		sum = xv_csum_add(xv_csum_pseudo4(sent + 26, sent + 30, 17, done), xv_csum_sum(datagram, done));
		assert_int_equal(sum, offloaded ? 0xffff : sum);
	}
	assert_int_equal(taken(VM), 0);
	assert_int_equal(ledger(VM).copies, 2 * 2);
	assert_int_equal(ledger(VM).forwarded, 2 * 3);
	assert_int_equal(ledger(TUNNEL).tx_packets, 2);
}

/* Into the tunnel with a segmentation request. */
static void put_tso(bool ipv6, bool df, uint32_t ip_len, uint16_t gso_size)
{
	struct rte_mbuf *m = packet(sent, ip_frame(ipv6, true, df, 0, ip_len));

	m->ol_flags |= XV_PACKET_OFFLOAD;
	*xv_packet_offload(m) = (struct xv_offload){.flags = XV_OFFLOAD_CSUM,
						    .gso_type = ipv6 ? XV_GSO_TCPV6 : XV_GSO_TCPV4,
						    .gso_size = gso_size,
						    .csum_start = ipv6 ? 54 : 34,
						    .csum_offset = 16};
	assert_int_equal(xv_dummy_put(rig.ports[VM], 0, m), 0);
	run();
}

static void segments(void **state)
{
	unsigned int i, n;
	uint32_t len;

	(void)state;
	for (i = 0; i < 2; i++) {
		bool ipv6 = i;
		uint16_t mss = (uint16_t)(ROOM - 14 - (ipv6 ? 40 : 20) - 32);

		/* Segments that just fit, with their TCP options; then a byte too long. */
		put_tso(ipv6, true, 20000, mss);
		for (n = 0; (len = take(UPLINK)) > 0; n++)
			assert_true(len <= 1414);
		assert_int_equal(n, (20000 - (ipv6 ? 40 : 20) - 32 - 1) / mss + 1);
		put_tso(ipv6, true, 20000, mss + 1);
		is_told(VM, ipv6, 0, ROOM - 14);
		assert_int_equal(taken(UPLINK) + taken(VM), 0);
		/* One segment only, and that fits. */
		put_tso(ipv6, true, 1000, 1448);
		assert_int_equal(taken(UPLINK), 1);
	}
	/* A sender that lets its packets be cut gets smaller segments. */
	put_tso(false, false, 20000, 1448);
	for (n = 0; (len = take(UPLINK)) > 0; n++) {
		assert_true(len <= 1414);
		assert_int_equal(got[50 + 14 + 6], 0);
		assert_int_equal(
			xv_csum_add(xv_csum_pseudo4(got + 76, got + 80, 6, len - 84), xv_csum_sum(got + 84, len - 84)),
			0xffff);
	}
	assert_int_equal(n, (20000 - 52 - 1) / (ROOM - 14 - 52) + 1);
	assert_int_equal(taken(VM), 0);
}

static void not_too_many(void **state)
{
	unsigned int i;

	(void)state;
	for (i = 0; i < 300; i++)
		put(VM, sent, ip_frame(false, true, true, 0, 1400));
	assert_int_equal(taken(VM), 50);
	assert_int_equal(ledger(VM).drops[XV_DROP_MTU], 300);
	assert_int_equal(ledger(VM).answers, 50);
	assert_int_equal(ledger(VM).answers_limited, 250);
	/* Others have their own share, and time brings a new one. */
	put(ACCESS, sent, ip_frame(false, true, true, 0, 1400));
	assert_int_equal(taken(ACCESS), 1);
	xv_clock_warp_ms(10);
	for (i = 0; i < 300; i++)
		put(VM, sent, ip_frame(false, true, true, 0, 1400));
	assert_int_equal(taken(VM), 10);
	xv_clock_warp_ms(60000);
	for (i = 0; i < 300; i++)
		put(VM, sent, ip_frame(false, true, true, 0, 1400));
	assert_int_equal(taken(VM), 50);
}

static void nobody_to_tell(void **state)
{
	uint64_t seed = 1;
	unsigned int i, k;
	uint32_t len;

	(void)state;
	/* No IP; many receivers; an error; a fragment. */
	len = ip_frame(false, true, true, 0, 1400);
	memcpy(sent + 12, "\x88\xb5", 2);
	put(VM, sent, len);
	len = ip_frame(false, true, true, 0, 1400);
	memset(sent, 0xff, 6);
	put(VM, sent, len);
	assert_int_equal(taken(ACCESS), 0); /* another VLAN */
	len = ip_frame(false, true, true, 0, 1400);
	sent[23] = 1;
	sent[34] = 3;
	put(VM, sent, len);
	len = ip_frame(false, true, true, 0, 1400);
	sent[21] = 100;
	put(VM, sent, len);
	assert_int_equal(taken(VM) + taken(UPLINK), 0);
	assert_int_equal(ledger(VM).drops[XV_DROP_MTU], 4);
	assert_int_equal(ledger(VM).answers, 0);
	/* A link that carries no IP at all: nothing to say. */
	set_mtu(100);
	put(VM, sent, ip_frame(false, true, true, 0, 1400));
	assert_int_equal(taken(VM) + taken(UPLINK), 0);
	/* Where no MTU is known, nothing is held against one. */
	set_mtu(0);
	put(VM, sent, ip_frame(false, true, true, 0, 1400));
	assert_int_equal(taken(UPLINK), 1);
	/* Whatever comes, the books balance. */
	set_mtu(1400);
	for (i = 0; i < 5000; i++) {
		len = ip_frame(unit_random(&seed, 2), unit_random(&seed, 2), unit_random(&seed, 2),
			       (uint16_t)unit_random(&seed, 2), 1300 + unit_random(&seed, 3000));
		for (k = unit_random(&seed, 4); k > 0; k--)
			sent[12 + unit_random(&seed, 60)] = (uint8_t)unit_random(&seed, 256);
		xv_clock_warp_ms(1);
		if (unit_random(&seed, 3) != 0) {
			put(VM, sent, len);
		} else {
			struct rte_mbuf *m = packet(sent, len);

			m->ol_flags |= XV_PACKET_OFFLOAD;
			*xv_packet_offload(m) = (struct xv_offload){
				.flags = XV_OFFLOAD_CSUM,
				.gso_type = (uint8_t)unit_random(&seed, 6),
				.gso_size = (uint16_t)unit_random(&seed, 2000),
				.csum_start = (uint16_t)unit_random(&seed, 2) ? 34 : 54,
				.csum_offset = (uint16_t)unit_random(&seed, 2) ? 16 : 6,
			};
			assert_int_equal(xv_dummy_put(rig.ports[VM], 0, m), 0);
			run();
		}
		while ((len = take(UPLINK)) > 0)
			assert_true(len <= 1414);
		(void)taken(VM);
	}
	check_ledger(VM);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(tells_the_sender, setup, teardown),
		cmocka_unit_test_setup_teardown(tagged_as_the_port_wants_it, setup, teardown),
		cmocka_unit_test_setup_teardown(by_flows_too, setup, teardown),
		cmocka_unit_test_setup_teardown(fused_encapsulation, setup, teardown),
		cmocka_unit_test_setup_teardown(cuts_what_may_be_cut, setup, teardown),
		cmocka_unit_test_setup_teardown(segments, setup, teardown),
		cmocka_unit_test_setup_teardown(not_too_many, setup, teardown),
		cmocka_unit_test_setup_teardown(nobody_to_tell, setup, teardown),
	};

	return cmocka_run_group_tests_name("pmtu", tests, group_setup, NULL);
}
