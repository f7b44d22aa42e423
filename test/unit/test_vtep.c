/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Networks over tunnels: bytes on the wire, split horizon, policies, strangers, drops, and ledgers that balance after
 * every test.
 */
#include "vtep_rig.h"

#include <string.h>

#include <rte_mbuf.h>

#include "fastpath/flow.h"
#include "fastpath/live_trace.h"
#include "fastpath/policy.h"
#include "live_story.h"
#include "net/checksum.h"
#include "net/packet.h"
#include "table/rcu.h"

static int setup(void **state)
{
	(void)state;
	return rig_start(&(struct rig_config){.tunnel.type = XV_TUNNEL_VXLAN});
}

static int setup_geneve(void **state)
{
	(void)state;
	return rig_start(&(struct rig_config){.tunnel.type = XV_TUNNEL_GENEVE});
}

static int setup_nvgre(void **state)
{
	(void)state;
	return rig_start(&(struct rig_config){.tunnel = {.type = XV_TUNNEL_NVGRE, .vni = 5100}});
}

static void wraps_and_unwraps(void **state)
{
	uint8_t bytes[2048], f[64];
	struct xv_ledger l;

	(void)state;
	rig_resolve();
	/* In: from host 2 to the VM that is known, as it was sent. */
	rig_put(VM1, f, rig_frame(f, broadcast, mac_a, 60));
	rig_run();
	assert_int_equal(rig_taken(VM2), 1);
	assert_int_equal(rig_taken(UPLINK), 2); /* to each remote */
	rig_receive(2, VNI, mac_a, mac_b);
	rig_run();
	assert_int_equal(rig_take(VM1, bytes), 60);
	rig_frame(f, mac_a, mac_b, 60);
	assert_memory_equal(bytes, f, 60);
	assert_int_equal(rig_taken(VM2), 0);
	/* Out: to the host where it was learned, and to no other. */
	rig_put(VM1, f, rig_frame(f, mac_b, mac_a, 60));
	rig_run();
	assert_int_equal(rig_take(UPLINK, bytes), 110);
	assert_memory_equal(bytes, remote_mac, 6);
	assert_memory_equal(bytes + 6, rig.vtep->uplinks[0].mac, 6);
	assert_int_equal(xv_csum_sum(bytes + 14, 20), 0xffff);
	assert_int_equal(bytes[20], 0x40); /* don't fragment */
	assert_memory_equal(bytes + 26, "\xc0\0\2\1\xc0\0\2\2", 8);
	assert_memory_equal(bytes + 36, "\x12\xb5\0\x4c\0\0\x08\0\0\0\0\0\x64\0", 14);
	assert_memory_equal(bytes + 50, f, 60);
	assert_int_equal(rig_taken(UPLINK), 0);

	l = rig_ledger(UPLINK);
	assert_int_equal(l.rx_packets, 3); /* and two ARP */
	assert_int_equal(l.punts, 2);
	assert_int_equal(l.forwarded, 1);
	l = rig_ledger(TUNNEL2);
	assert_int_equal(l.rx_packets, 1);
	assert_int_equal(l.rx_bytes, 60);
	assert_int_equal(l.forwarded, 1);
	assert_int_equal(l.tx_packets, 2);
	assert_int_equal(l.tx_bytes, 120);
	assert_int_equal(rig_ledger(TUNNEL3).tx_packets, 1);
	l = rig_ledger(VM1);
	assert_int_equal(l.copies, 2);
	assert_int_equal(l.forwarded, 4);
}

static void other_types(void **state)
{
	uint8_t bytes[2048], f[64];

	(void)state;
	rig_resolve();
	rig_put(VM1, f, rig_frame(f, broadcast, mac_a, 60));
	rig_run();
	(void)rig_taken(VM2);
	/* What we send to host 2 is what host 2 would send to us, but for who is who. */
	uint32_t len = rig_take(UPLINK, bytes);
	assert_int_equal(len, rig.tunnels[0]->config.type == XV_TUNNEL_GENEVE ? 110 : 102);
	(void)rig_taken(UPLINK);
	memcpy(bytes, rig.vtep->uplinks[0].mac, 6);
	bytes[29] = 2;
	bytes[33] = 1;
	memcpy(bytes + len - 54, mac_b, 6);
	rig_put(UPLINK, bytes, len);
	rig_run();
	assert_int_equal(rig_taken(VM1), 1);
	assert_int_equal(rig_ledger(TUNNEL2).rx_packets, 1);
	if (rig.tunnels[0]->config.type == XV_TUNNEL_GENEVE) { /* control packets are not for networks */
		bytes[43] |= 0x80;
		rig_put(UPLINK, bytes, len);
		rig_run();
		assert_int_equal(rig_dropped(UPLINK, XV_DROP_TUNNEL_HEADER), 1);
	}
}

static void split_horizon(void **state)
{
	(void)state;
	rig_resolve();
	rig_receive(2, VNI, broadcast, mac_b);
	rig_run();
	assert_int_equal(rig_taken(VM1), 1);
	assert_int_equal(rig_taken(VM2), 1);
	assert_int_equal(rig_taken(UPLINK), 0);
	/* Known to be at the other remote: that one has it from the sender itself. */
	rig_receive(3, VNI, mac_b, mac_a);
	rig_run();
	assert_int_equal(rig_taken(VM1) + rig_taken(VM2) + rig_taken(UPLINK), 0);
	assert_int_equal(rig_dropped(TUNNEL3, XV_DROP_TUNNEL_HORIZON), 1);
}

static void strangers(void **state)
{
	uint8_t bytes[256];
	uint32_t len;

	(void)state;
	rig_resolve();
	rig_receive(2, VNI + 1, broadcast, mac_b);
	rig_receive(9, VNI, broadcast, mac_b);
	len = rig_outer(bytes, rig_frame(bytes + 50, broadcast, mac_b, 60), 2, VNI, 0);
	bytes[42] = 0; /* without the flag that says that the VNI is valid */
	rig_put(UPLINK, bytes, len);
	len = rig_outer(bytes, rig_frame(bytes + 50, broadcast, mac_b, 60), 2, VNI, 0);
	bytes[40] = bytes[41] = 0x12; /* a checksum that is wrong */
	rig_put(UPLINK, bytes, len);
	len = rig_outer(bytes, rig_frame(bytes + 50, broadcast, mac_b, 60), 2, VNI, 0);
	bytes[24] ^= 1;
	rig_put(UPLINK, bytes, len);
	len = rig_outer(bytes, rig_frame(bytes + 50, broadcast, mac_b, 60), 2, VNI, 0);
	bytes[37] ^= 1; /* another port */
	rig_put(UPLINK, bytes, len);
	len = rig_outer(bytes, rig_frame(bytes + 50, broadcast, mac_b, 60), 2, VNI, 0);
	bytes[0] = 0x02; /* promiscuous: not for us */
	bytes[5] ^= 1;
	rig_put(UPLINK, bytes, len);
	rig_put(UPLINK, bytes, 20);
	rig_run();
	assert_int_equal(rig_dropped(UPLINK, XV_DROP_TUNNEL_VNI), 1);
	assert_int_equal(rig_dropped(UPLINK, XV_DROP_TUNNEL_SOURCE), 1);
	assert_int_equal(rig_dropped(UPLINK, XV_DROP_TUNNEL_HEADER), 1);
	assert_int_equal(rig_dropped(UPLINK, XV_DROP_TUNNEL_CSUM), 2);
	assert_int_equal(rig_dropped(UPLINK, XV_DROP_TUNNEL_STRAY), 3);
	assert_int_equal(rig_taken(VM1) + rig_taken(VM2), 0);
}

/* Every length that a frame can be cut to, and bytes that mean nothing: counted, and nothing is read that is not there.
 */
static void hostile(void **state)
{
	uint8_t bytes[256];
	uint64_t seed = 1;
	uint32_t len, n, i;

	(void)state;
	rig_resolve();
	len = rig_outer(bytes, rig_udp_frame(bytes + 50, broadcast, mac_b, 0, 7), 2, VNI, 3);
	for (n = 0; n < len; n++) {
		rig_put(UPLINK, bytes, n > 0 ? n : 1);
		rig_run();
	}
	for (n = 0; n < 20000; n++) {
		uint8_t copy[256];

		memcpy(copy, bytes, len);
		for (i = unit_random(&seed, 4) + 1; i > 0; i--)
			copy[unit_random(&seed, len)] = (uint8_t)unit_random(&seed, 256);
		rig_put(UPLINK, copy, len);
		if (n % 16 == 0)
			rig_run();
		if (n % 256 == 0)
			(void)(rig_taken(VM1) + rig_taken(VM2) + rig_taken(UPLINK));
	}
	rig_run();
	(void)(rig_taken(VM1) + rig_taken(VM2) + rig_taken(UPLINK));
	assert_true(rig_dropped(UPLINK, XV_DROP_TUNNEL_STRAY) > 0);
}

/* What became of packets from the uplink: delivered, in how many bytes, and every drop. */
struct outcome {
	uint64_t packets, bytes, punts, drops[XV_DROP_MAX];
};

/* first (may be NULL) and then second, both in one burst. */
static struct outcome outcome_of(const uint8_t *first, const uint8_t *second, uint32_t len)
{
	struct xv_ledger before = rig_ledger(UPLINK), after;
	struct outcome o = {0};
	uint8_t bytes[2048];
	uint32_t n;
	unsigned int i;

	if (first != NULL)
		rig_put(UPLINK, first, len);
	rig_put(UPLINK, second, len);
	rig_run();
	while ((n = rig_take(VM1, bytes)) > 0) {
		o.packets++;
		o.bytes += n;
		for (i = 0; i < n; i++)
			o.bytes += (uint64_t)bytes[i] << 16;
	}
	(void)(rig_taken(VM2) + rig_taken(UPLINK));
	after = rig_ledger(UPLINK);
	o.punts = after.punts - before.punts;
	for (i = 0; i < XV_DROP_MAX; i++)
		o.drops[i] = after.drops[i] - before.drops[i];
	return o;
}

/* A packet behind another one in the same burst, which differs in a bit of its outer headers: what becomes of it is what would
 * become of it alone. With the header checksum as it was, and with the right one. */
static void every_bit_counts_behind_another_packet(void **state)
{
	uint8_t good[256], bad[256];
	struct outcome alone, both, of_good;
	uint32_t len, bit, i;
	uint16_t sum;

	(void)state;
	rig_resolve();
	rig_receive(2, VNI, broadcast, mac_b);
	rig_run();
	len = rig_outer(good, rig_udp_frame(good + 50, broadcast, mac_b, 0, 7), 2, VNI, 0);
	(void)outcome_of(NULL, good, len);
	of_good = outcome_of(NULL, good, len);
	assert_int_equal(of_good.packets, 1);
	for (bit = 0; bit < 50 * 8 * 2; bit++) {
		memcpy(bad, good, len);
		bad[bit / 16] ^= (uint8_t)(1 << bit / 2 % 8);
		if (bit % 2 != 0) {
			bad[24] = bad[25] = 0;
			sum = (uint16_t)~xv_csum_sum(bad + 14, 20);
			memcpy(bad + 24, &sum, 2);
		}
		alone = outcome_of(NULL, bad, len);
		both = outcome_of(good, bad, len);
		both.packets -= of_good.packets;
		both.bytes -= of_good.bytes;
		if (memcmp(&alone, &both, sizeof(alone)) == 0)
			continue;
		for (i = 0; i < XV_DROP_MAX; i++)
			if (alone.drops[i] != both.drops[i])
				print_error("%s: alone %lu, behind another %lu\n", xv_drop_info[i].name, alone.drops[i],
					    both.drops[i]);
		fail_msg("bit %u of byte %u%s", bit / 2 % 8, bit / 16, bit % 2 != 0 ? ", with a right checksum" : "");
	}
}

static void ecn(void **state)
{
	uint8_t bytes[2048], f[64];

	(void)state;
	rig_resolve();
	/* The inner field is copied outward, congestion inward, and drops what cannot carry it (RFC 6040). */
	rig_put(VM1, f, rig_udp_frame(f, broadcast, mac_a, 2, 7));
	rig_run();
	assert_int_equal(rig_take(UPLINK, bytes), 110);
	assert_int_equal(bytes[15], 2);
	(void)(rig_taken(UPLINK) + rig_taken(VM2));
	rig_put(UPLINK, bytes, rig_outer(bytes, rig_udp_frame(bytes + 50, mac_a, mac_b, 2, 7), 2, VNI, 3));
	rig_run();
	assert_int_equal(rig_take(VM1, bytes), 60);
	assert_int_equal(bytes[15], 3);
	assert_int_equal(xv_csum_sum(bytes + 14, 20), 0xffff);
	rig_put(UPLINK, bytes, rig_outer(bytes, rig_udp_frame(bytes + 50, mac_a, mac_b, 0, 7), 2, VNI, 3));
	rig_run();
	assert_int_equal(rig_taken(VM1), 0);
	assert_int_equal(rig_dropped(UPLINK, XV_DROP_TUNNEL_ECN), 1);
}

/* By a live trace: into tunnels, while their next hops are not known and after, and out of one. */
static void is_followed(void **state)
{
	uint8_t f[64];

	(void)state;
	live_story_start(NULL, VM1);
	rig_put(VM1, f, rig_frame(f, broadcast, mac_a, 60));
	rig_run();
	live_story_expect("1: flood output p2 sent p2 next-hop next-hop");
	rig_resolve();
	live_story_expect("~1: encap; ~1: output p0; ~1: sent p0; ~1: encap; ~1: output p0; ~1: sent p0");
	rig_put(VM1, f, rig_frame(f, broadcast, mac_a, 60));
	rig_run();
	live_story_expect("2: flood output p2 sent p2 encap changed output p0 sent p0 changed encap "
			  "changed output p0 sent p0");
	xv_live_trace_stop();
	/* What came by the uplink goes on as what is in it. */
	live_story_start("udp port 4789", UPLINK);
	rig_receive(2, VNI, mac_a, mac_b);
	rig_receive(2, VNI + 1, mac_a, mac_b);
	rig_run();
	live_story_expect("1: received changed MAC p1 output p1 sent p1; 2: drop tunnel-vni");
	xv_live_trace_stop();
	live_story_start("arp", XV_LIVE_ANY_PORT);
	rig_resolve();
	live_story_expect("1: punt; 2: punt");
	xv_live_trace_stop();
	/* What is in it fits by itself. */
	live_story_start("ether src 02:00:00:00:00:0b", XV_LIVE_ANY_PORT);
	rig_receive(2, VNI, mac_a, mac_b);
	rig_run();
	live_story_expect("1: MAC p1 output p1 sent p1");
	xv_live_trace_stop();
	(void)rig_taken(UPLINK);
	(void)rig_taken(VM1);
	(void)rig_taken(VM2);
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
	rig_resolve();
	rig_bind_port(VM1, policy, policy);
	for (i = 0; i < 3; i++) { /* flooded, learned, from a fused flow */
		rig_put(UPLINK, bytes, rig_outer(bytes, rig_udp_frame(bytes + 50, mac_a, mac_b, 0, 7), 2, VNI, 0));
		rig_put(UPLINK, bytes, rig_outer(bytes, rig_udp_frame(bytes + 50, mac_a, mac_b, 0, 8), 2, VNI, 0));
		rig_put(VM1, bytes, rig_udp_frame(bytes, mac_b, mac_a, 0, 7));
		rig_put(VM1, bytes, rig_udp_frame(bytes, mac_b, mac_a, 0, 8));
		rig_run();
		(void)xv_flows_poll();
		assert_int_equal(rig_taken(VM1), 1);
		assert_int_equal(rig_taken(UPLINK), 1);
		assert_int_equal(rig_taken(VM2),
				 i == 0 ? 2 : 0); /* where mac_a is not known yet, to a VM without a policy, too */
	}
	assert_int_equal(rig_dropped(TUNNEL2, XV_DROP_POLICY), 3);
	assert_int_equal(rig_dropped(VM1, XV_DROP_POLICY), 3);
	rig_bind_port(VM1, NULL, NULL);
	xv_rcu_synchronize();
	rig_run();
	xv_policy_destroy(policy);
}

static void segments_before_it_wraps(void **state)
{
	uint8_t bytes[2048] = {0}, out[2048];
	struct xv_offload *request;
	struct rte_mbuf *m;
	unsigned int i;

	(void)state;
	rig_resolve();
	rig_receive(2, VNI, broadcast, mac_b);
	rig_run();
	(void)(rig_taken(VM1) + rig_taken(VM2));
	rig_frame(bytes, mac_b, mac_a, 54 + 1800);
	unit_hex("0800 4500 0730 0001 4000 4006 0000 0a000001 0a000002 1000 0050 00000001 00000001 5010 1000 0000 0000",
		 bytes + 12, 42);
	m = rig_packet(bytes, 54 + 1800);
	m->ol_flags |= XV_PACKET_OFFLOAD;
	request = xv_packet_offload(m);
	*request = (struct xv_offload){XV_OFFLOAD_CSUM, XV_GSO_TCPV4, 1000, 34, 16};
	assert_int_equal(xv_dummy_put(rig.ports[VM1], 0, m), 0);
	rig_run();
	for (i = 0; i < 2; i++) {
		uint32_t len = rig_take(UPLINK, out);
		uint16_t sum;

		assert_int_equal(len, 50 + 54 + (i == 0 ? 1000 : 800));
		assert_int_equal(xv_csum_sum(out + 14, 20), 0xffff);
		assert_int_equal(xv_csum_sum(out + 64, 20), 0xffff);
		sum = xv_csum_add(xv_csum_pseudo4(out + 76, out + 80, 6, len - 84), xv_csum_sum(out + 84, len - 84));
		assert_int_equal(sum, 0xffff);
	}
	assert_int_equal(rig_taken(UPLINK), 0);
	assert_int_equal(rig_ledger(VM1).copies, 1);
	assert_int_equal(rig_ledger(TUNNEL2).tx_packets, 1);
}

static void mtu_of_the_uplink(void **state)
{
	uint8_t bytes[2048];

	(void)state;
	rig_resolve();
	rig_receive(2, VNI, broadcast, mac_b);
	rig_run();
	(void)(rig_taken(VM1) + rig_taken(VM2));
	atomic_store(&rig.ports[UPLINK]->mtu, 1500);
	rig_put(VM1, bytes, rig_frame(bytes, mac_b, mac_a, 1464));
	rig_put(VM1, bytes, rig_frame(bytes, mac_b, mac_a, 1469));
	rig_run();
	assert_int_equal(rig_taken(UPLINK), 1);
	assert_int_equal(rig_dropped(VM1, XV_DROP_MTU), 1);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, rig_teardown)
	const struct CMUnitTest tests[] = {
		T(wraps_and_unwraps),
		T(split_horizon),
		T(strangers),
		T(hostile),
		T(every_bit_counts_behind_another_packet),
		T(ecn),
		T(is_followed),
		T(policies),
		T(segments_before_it_wraps),
		T(mtu_of_the_uplink),
		cmocka_unit_test_setup_teardown(other_types, setup_geneve, rig_teardown),
		cmocka_unit_test_setup_teardown(other_types, setup_nvgre, rig_teardown),
	};

	return cmocka_run_group_tests(tests, rig_group_setup, NULL);
}
