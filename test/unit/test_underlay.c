/* SPDX-License-Identifier: Apache-2.0 */
/* The underlay as a VTEP sees it: its own address, next hops, several uplinks. */
#include "vtep_rig.h"

#include <string.h>

#include "base/clock.h"
#include "net/checksum.h"

static int setup(void **state)
{
	(void)state;
	return rig_start(&(struct rig_config){.tunnel.type = XV_TUNNEL_VXLAN});
}

static int setup6(void **state)
{
	(void)state;
	return rig_start(&(struct rig_config){.tunnel.type = XV_TUNNEL_VXLAN, .ipv6 = true});
}

static void asks_for_next_hops_and_follows_them(void **state)
{
	uint8_t bytes[2048], f[64];
	union xv_ip_addr hop;
	uint8_t mac[6];
	unsigned int i;

	(void)state;
	/* An announcement, and a question for each. */
	assert_int_equal(rig_take(UPLINK, bytes), 60);
	assert_memory_equal(bytes, broadcast, 6);
	assert_memory_equal(bytes + 6, rig.vtep->uplinks[0].mac, 6);
	assert_int_equal(bytes[31], 1);
	assert_int_equal(bytes[41], 1);
	for (i = 2; i <= 3; i++) {
		assert_int_equal(rig_take(UPLINK, bytes), 60);
		assert_int_equal(bytes[21], 1);
		assert_int_equal(bytes[41], i);
	}
	assert_int_equal(rig_ledger(UPLINK).tx_packets, 3);
	/* Again every second. */
	xv_clock_warp_ms(1000);
	xv_underlay_tick();
	assert_int_equal(rig_taken(UPLINK), 2);
	xv_underlay_tick();
	assert_int_equal(rig_taken(UPLINK), 0);
	assert_false(xv_tunnel_next_hop(rig.tunnels[0], 0, &hop, mac));
	rig_resolve();
	assert_true(xv_tunnel_next_hop(rig.tunnels[0], 0, &hop, mac));
	assert_memory_equal(mac, remote_mac, 6);
	xv_clock_warp_ms(5000);
	xv_underlay_tick();
	assert_int_equal(rig_taken(UPLINK), 0);
	/* Not heard of for long: asked where it was, then everybody, then given up. */
	xv_clock_warp_ms(6000);
	xv_underlay_tick();
	assert_int_equal(rig_take(UPLINK, bytes), 60);
	assert_memory_equal(bytes, remote_mac, 6);
	(void)rig_taken(UPLINK);
	xv_clock_warp_ms(1000);
	xv_underlay_tick();
	assert_int_equal(rig_take(UPLINK, bytes), 60);
	assert_memory_equal(bytes, broadcast, 6);
	(void)rig_taken(UPLINK);
	/* It moves: an announcement of its own is enough. */
	rig_put(UPLINK, bytes, rig_arp(bytes, 1, broadcast, mac_b, 2, 2));
	rig_run();
	assert_true(xv_tunnel_next_hop(rig.tunnels[0], 0, &hop, mac));
	assert_memory_equal(mac, mac_b, 6);
	rig_put(VM1, f, rig_frame(f, broadcast, mac_a, 60));
	rig_run();
	assert_int_equal(rig_take(UPLINK, bytes), 110);
	assert_memory_equal(bytes, mac_b, 6);
	(void)rig_taken(UPLINK);
	(void)rig_taken(VM2);
	for (i = 0; i < 20; i++) {
		xv_clock_warp_ms(1000);
		xv_underlay_tick();
	}
	assert_false(xv_tunnel_next_hop(rig.tunnels[0], 0, &hop, mac));
	(void)rig_taken(UPLINK);
}

static void answers_for_its_address(void **state)
{
	uint8_t bytes[2048], echo[98];
	uint16_t sum;

	(void)state;
	(void)rig_taken(UPLINK);
	rig_put(UPLINK, bytes, rig_arp(bytes, 1, broadcast, mac_b, 9, 1));
	rig_run();
	assert_int_equal(rig_take(UPLINK, bytes), 60);
	assert_int_equal(bytes[21], 2);
	assert_memory_equal(bytes, mac_b, 6);
	assert_memory_equal(bytes + 22, rig.vtep->uplinks[0].mac, 6);
	assert_memory_equal(bytes + 32, mac_b, 6);
	/* One for somebody else is none of ours; a cut off one neither. */
	rig_put(UPLINK, bytes, rig_arp(bytes, 1, broadcast, mac_b, 9, 8));
	(void)rig_arp(bytes, 1, broadcast, mac_b, 9, 1);
	rig_put(UPLINK, bytes, 41);
	rig_run();
	assert_int_equal(rig_taken(UPLINK), 0);
	assert_int_equal(rig_dropped(UPLINK, XV_DROP_TUNNEL_STRAY), 2);

	memset(echo, 7, sizeof(echo));
	memcpy(echo, rig.vtep->uplinks[0].mac, 6);
	memcpy(echo + 6, mac_b, 6);
	unit_hex("0800 4500 0054 0000 4000 4001 0000 c0000209 c0000201 0800 0000 0001 0002", echo + 12, 30);
	sum = (uint16_t)~xv_csum_sum(echo + 14, 20);
	memcpy(echo + 24, &sum, 2);
	sum = (uint16_t)~xv_csum_sum(echo + 34, 64);
	memcpy(echo + 36, &sum, 2);
	rig_put(UPLINK, echo, sizeof(echo));
	rig_run();
	assert_int_equal(rig_take(UPLINK, bytes), 98);
	assert_memory_equal(bytes, mac_b, 6);
	assert_memory_equal(bytes + 26, "\xc0\0\2\1\xc0\0\2\11", 8);
	assert_int_equal(bytes[34], 0);
	assert_int_equal(xv_csum_sum(bytes + 14, 20), 0xffff);
	assert_int_equal(xv_csum_sum(bytes + 34, 64), 0xffff);
	echo[60] ^= 1; /* a wrong checksum has no answer */
	rig_put(UPLINK, echo, sizeof(echo));
	rig_run();
	assert_int_equal(rig_taken(UPLINK), 0);
	assert_int_equal(rig_ledger(UPLINK).punts, 3);
}

static void waits_for_the_next_hop(void **state)
{
	uint8_t f[64], bytes[2048];
	unsigned int i;

	(void)state;
	(void)rig_taken(UPLINK);
	for (i = 0; i < 40; i++) {
		rig_frame(f, broadcast, mac_a, 60);
		f[59] = (uint8_t)i;
		rig_put(VM1, f, 60);
		rig_run();
	}
	assert_int_equal(rig_taken(VM2), 40);
	assert_int_equal(rig_taken(UPLINK), 0);
	assert_int_equal(rig_ledger(VM1).held, 2 * 32);
	assert_int_equal(rig_dropped(VM1, XV_DROP_NO_NEIGHBOUR), 2 * 8);
	rig_check_ledger(VM1);
	rig_put(UPLINK, bytes, rig_arp(bytes, 2, rig.vtep->uplinks[0].mac, remote_mac, 2, 1));
	rig_run();
	for (i = 0; i < 32; i++) { /* in order */
		assert_int_equal(rig_take(UPLINK, bytes), 110);
		assert_int_equal(bytes[109], i);
		assert_int_equal(bytes[33], 2);
	}
	assert_int_equal(rig_ledger(VM1).held, 32);
	/* The other one never answers. */
	xv_clock_warp_ms(3100);
	rig_run();
	assert_int_equal(rig_ledger(VM1).held, 0);
	assert_int_equal(rig_dropped(VM1, XV_DROP_NO_NEIGHBOUR), 2 * 8 + 32);
	(void)rig_taken(UPLINK);
	/* And who waits when the tunnel goes is dropped (see teardown for those that wait when the worker goes). */
	rig_put(VM1, f, rig_frame(f, broadcast, mac_a, 60));
	rig_run();
	assert_int_equal(rig_ledger(VM1).held, 1);
	xv_port_bind(rig.ports[TUNNEL3], NULL);
	rig_run();
	assert_int_equal(rig_ledger(VM1).held, 0);
	assert_int_equal(rig_dropped(VM1, XV_DROP_DETACHED), 1);
	(void)(rig_taken(UPLINK) + rig_taken(VM2));
}

static void without_an_uplink(void **state)
{
	uint8_t f[64];

	(void)state;
	rig_resolve();
	xv_vtep_set_uplink(rig.vtep, 0, NULL);
	rig_put(VM1, f, rig_frame(f, broadcast, mac_a, 60));
	rig_run();
	assert_int_equal(rig_ledger(VM1).held, 2);
	xv_vtep_set_uplink(rig.vtep, 0, rig.ports[UPLINK]);
	assert_int_equal(rig_taken(UPLINK), 3); /* announced, asked again */
	rig_resolve();
	rig_run();
	assert_int_equal(rig_ledger(VM1).held, 0);
	(void)(rig_taken(UPLINK) + rig_taken(VM2));
}

static void neighbour_discovery(void **state)
{
	uint8_t bytes[2048], nd[86], f[64];
	union xv_ip_addr hop;
	uint8_t mac[6];
	uint16_t sum;
	unsigned int i;

	(void)state;
	assert_int_equal(rig_take(UPLINK, bytes), 86); /* unsolicited advertisement */
	assert_int_equal(bytes[54], 136);
	for (i = 2; i <= 3; i++) {
		assert_int_equal(rig_take(UPLINK, bytes), 86);
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
	rig_put(UPLINK, nd, 86);
	rig_run();
	assert_int_equal(rig_take(UPLINK, bytes), 86);
	assert_int_equal(bytes[54], 136);
	assert_int_equal(bytes[58], 0x60); /* solicited, override */
	assert_memory_equal(bytes, remote_mac, 6);
	assert_memory_equal(bytes + 80, rig.vtep->uplinks[0].mac, 6);
	assert_true(xv_tunnel_next_hop(rig.tunnels[0], 0, &hop, mac));
	assert_memory_equal(mac, remote_mac, 6);
	/* One that a router forwarded, and one with a wrong checksum: forged. */
	nd[21] = 254;
	nd[11] = nd[85] = 0x77;
	rig_put(UPLINK, nd, 86);
	nd[21] = 255;
	rig_put(UPLINK, nd, 86);
	rig_run();
	assert_int_equal(rig_taken(UPLINK), 0);
	assert_true(xv_tunnel_next_hop(rig.tunnels[0], 0, &hop, mac));
	assert_memory_equal(mac, remote_mac, 6);
	/* Outer headers: UDP with a checksum. */
	rig_put(VM1, f, rig_frame(f, broadcast, mac_a, 60));
	rig_run();
	assert_int_equal(rig_take(UPLINK, bytes), 130);
	sum = xv_csum_add(xv_csum_pseudo6(bytes + 22, bytes + 38, 17, 76), xv_csum_sum(bytes + 54, 76));
	assert_int_equal(sum, 0xffff);
	(void)rig_taken(VM2);
}

/* A packet of each of 64 flows from VM1 to both remotes; how many went which way. */
static void spread(unsigned int n[2], uint64_t *ways)
{
	uint8_t f[64], bytes[2048];
	unsigned int i, k;
	uint64_t seen = 0;

	n[0] = n[1] = 0;
	for (i = 0; i < 64; i++) {
		rig_put(VM1, f, rig_udp_frame(f, broadcast, mac_a, 0, (uint16_t)(1000 + i)));
		rig_run();
		for (k = 0; k < 2; k++) {
			while (rig_take(k == 0 ? UPLINK : UPLINK2, bytes) == 110) {
				n[k]++;
				seen |= (uint64_t)k << i;
				assert_memory_equal(bytes + 6, rig.vtep->uplinks[k].mac, 6);
			}
		}
		assert_int_equal(rig_taken(VM2), 1);
	}
	if (ways != NULL)
		*ways = seen;
	assert_int_equal(n[0] + n[1], 128);
}

/* Only this one's neighbours answer, for so many seconds. */
static void seconds(unsigned int n, unsigned int answers)
{
	for (; n > 0; n--) {
		xv_clock_warp_ms(1000);
		xv_underlay_tick();
		rig_resolve_by(answers);
	}
	(void)(rig_taken(UPLINK) + rig_taken(UPLINK2));
}

static void flows_are_spread_over_uplinks(void **state)
{
	uint8_t f[256], bytes[2048];
	uint64_t ways, again;
	unsigned int n[2], i;
	uint32_t len;

	/* Announced, and asked for, by each, under its own MAC address. */
	assert_memory_not_equal(rig.vtep->uplinks[0].mac, rig.vtep->uplinks[1].mac, 6);
	for (i = 0; i < 3; i++) {
		assert_int_equal(rig_take(UPLINK2, bytes), 60);
		assert_memory_equal(bytes + 6, rig.vtep->uplinks[1].mac, 6);
		assert_memory_equal(bytes + 22, rig.vtep->uplinks[1].mac, 6);
		assert_int_equal(bytes[41], i == 0 ? 1 : i + 1);
	}
	assert_int_equal(rig_taken(UPLINK), 3);

	/* All by the one that leads anywhere, then by both; a flow keeps its way. */
	rig_resolve_by(UPLINK2);
	spread(n, NULL);
	assert_int_equal(n[1], 128);
	rig_resolve_by(UPLINK);
	spread(n, &ways);
	assert_in_range(n[0], 32, 96);
	spread(n, &again);
	assert_true(ways == again);

	/* Packets come in by each, if they are for its MAC address. */
	rig_receive(2, VNI, broadcast, mac_b);
	len = rig_outer(f, rig_frame(f + 50, broadcast, mac_b, 60), 2, VNI, 0);
	rig_put(UPLINK2, f, len); /* that of the first: a switch floods it */
	rig_run();
	assert_int_equal(rig_taken(VM2), 1);
	memcpy(f, rig.vtep->uplinks[1].mac, 6);
	rig_put(UPLINK2, f, len);
	rig_run();
	assert_int_equal(rig_taken(VM2), 1);
	assert_int_equal(rig_dropped(UPLINK2, XV_DROP_TUNNEL_STRAY), 1);
	assert_int_equal(rig_taken(VM1), 2);
}

static void uplinks_that_fail_are_left_out(void **state)
{
	unsigned int n[2];
	uint64_t ways, again;

	rig_resolve_by(UPLINK);
	rig_resolve_by(UPLINK2);
	spread(n, &ways);
	assert_in_range(n[0], 32, 96);
	seconds(2, UPLINK); /* a lost question or two are nothing */
	spread(n, &again);
	assert_true(ways == again);
	seconds(3, UPLINK);
	spread(n, NULL);
	assert_int_equal(n[0], 128);
	rig_resolve_by(UPLINK2); /* it answers again */
	spread(n, &again);
	assert_true(ways == again);

	/* A link that goes is seen at once, and asked anew when it is back. */
	xv_dummy_set_up(rig.ports[UPLINK], false);
	xv_underlay_port_changed(rig.ports[UPLINK]);
	spread(n, NULL);
	assert_int_equal(n[1], 128);
	xv_dummy_set_up(rig.ports[UPLINK], true);
	assert_int_equal(rig_taken(UPLINK), 0);
	xv_underlay_tick(); /* devices without events are looked at */
	assert_int_equal(rig_taken(UPLINK), 3);
	spread(n, NULL);
	assert_int_equal(n[1], 128);
	rig_resolve_by(UPLINK);
	spread(n, &again);
	assert_true(ways == again);

	/* So is one that is taken away; the last one, too. */
	xv_underlay_forget_port(rig.ports[UPLINK2]);
	spread(n, NULL);
	assert_int_equal(n[0], 128);
	xv_vtep_set_uplink(rig.vtep, 0, NULL);
	assert_null(atomic_load(&rig.tunnels[0]->paths));
}

static int setup_two(void **state)
{
	return rig_start(&(struct rig_config){.tunnel.type = XV_TUNNEL_VXLAN, .uplinks = 2});
}

static void a_tag_on_the_underlay(void **state)
{
	uint8_t bytes[2048], f[256];
	uint32_t len;
	unsigned int i;

	for (i = 0; i < 3; i++) {
		assert_int_equal(rig_take(UPLINK, bytes), 64);
		assert_memory_equal(bytes + 12, "\x81\0\x01\x23\x08\x06", 6);
		assert_int_equal(bytes[35], 1);
		assert_int_equal(bytes[45], i == 0 ? 1 : i + 1);
	}
	/* Who asks without the tag, or with another, is not on our underlay. */
	rig_put(UPLINK, bytes, rig_arp(bytes, 1, broadcast, mac_b, 9, 1));
	len = rig_arp(bytes, 1, broadcast, mac_b, 9, 1);
	memmove(bytes + 16, bytes + 12, len - 12);
	memcpy(bytes + 12, "\x81\0\x01\x24", 4);
	rig_put(UPLINK, bytes, len + 4);
	rig_put(UPLINK, bytes, 17);
	rig_run();
	assert_int_equal(rig_taken(UPLINK), 0);
	assert_int_equal(rig_dropped(UPLINK, XV_DROP_TUNNEL_STRAY), 3);
	bytes[14] = 0xe1;
	bytes[15] = 0x23;
	rig_put(UPLINK, bytes, len + 4);
	rig_run();
	assert_int_equal(rig_take(UPLINK, bytes), 64);
	assert_memory_equal(bytes + 12, "\x81\0\x01\x23\x08\x06", 6);
	assert_int_equal(bytes[25], 2);
	assert_memory_equal(bytes, mac_b, 6);
	/* Tunnels follow: see test_vtep_outer.c. Without the tag nothing comes in. */
	rig_resolve();
	rig_put(UPLINK, f, rig_outer(f, rig_frame(f + 50, broadcast, mac_b, 60), 2, VNI, 0));
	rig_run();
	assert_int_equal(rig_taken(VM1), 0);
	assert_int_equal(rig_dropped(UPLINK, XV_DROP_TUNNEL_STRAY), 4);
}

static int setup_vlan(void **state)
{
	return rig_start(&(struct rig_config){.tunnel.type = XV_TUNNEL_VXLAN, .outer.vlan = 0x123});
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, rig_teardown)
	const struct CMUnitTest tests[] = {
		T(asks_for_next_hops_and_follows_them),
		T(answers_for_its_address),
		T(waits_for_the_next_hop),
		T(without_an_uplink),
		cmocka_unit_test_setup_teardown(neighbour_discovery, setup6, rig_teardown),
		cmocka_unit_test_setup_teardown(flows_are_spread_over_uplinks, setup_two, rig_teardown),
		cmocka_unit_test_setup_teardown(uplinks_that_fail_are_left_out, setup_two, rig_teardown),
		cmocka_unit_test_setup_teardown(a_tag_on_the_underlay, setup_vlan, rig_teardown),
	};

	return cmocka_run_group_tests(tests, rig_group_setup, NULL);
}
