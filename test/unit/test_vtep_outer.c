/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Outer headers, byte by byte, of each type of tunnel and with each option; and that what we send would be accepted by us.
 */
#include "vtep_rig.h"

#include <stdlib.h>
#include <string.h>

#include "net/checksum.h"

#define ANY_MACS "????????????" "????????????"
#define V4_ENDS	 "c0000201 c0000202"
#define V6_ENDS	 "20010db8000000000000000000000001 20010db8000000000000000000000002"

/* ?: any digit. The inner frame has 60 bytes; IPv4 checksums are looked at by the receiver. */
static const struct {
	const char *what;
	struct rig_config config;
	const char *headers;
} cases[] = {
	{"vxlan", {.tunnel.type = XV_TUNNEL_VXLAN},
	 ANY_MACS "0800 4500 0060 0000 4000 4011 ????" V4_ENDS "???? 12b5 004c 0000 0800 0000 0000 6400"},
	{"vxlan, another port", {.tunnel = {.type = XV_TUNNEL_VXLAN, .udp_port = 8472}},
	 ANY_MACS "0800 4500 0060 0000 4000 4011 ????" V4_ENDS "???? 2118 004c 0000 0800 0000 0000 6400"},
	{"vxlan, group policy", {.tunnel = {.type = XV_TUNNEL_VXLAN, .has_gbp = true, .gbp = 0x1234}},
	 ANY_MACS "0800 4500 0060 0000 4000 4011 ????" V4_ENDS "???? 12b5 004c 0000 8800 1234 0000 6400"},
	{"geneve, checksum", {.tunnel.type = XV_TUNNEL_GENEVE, .outer.csum = XV_OUTER_CSUM_ON},
	 ANY_MACS "0800 4500 0060 0000 4000 4011 ????" V4_ENDS "???? 17c1 004c ???? 0000 6558 0000 6400"},
	{"gre", {.tunnel.type = XV_TUNNEL_GRE},
	 ANY_MACS "0800 4500 0054 0000 4000 402f ????" V4_ENDS "0000 6558"},
	{"gre, key 0", {.tunnel = {.type = XV_TUNNEL_GRE, .has_key = true}},
	 ANY_MACS "0800 4500 0058 0000 4000 402f ????" V4_ENDS "2000 6558 00000000"},
	{"gre, key and checksum",
	 {.tunnel = {.type = XV_TUNNEL_GRE, .has_key = true, .vni = 0xdeadbeef}, .outer.csum = XV_OUTER_CSUM_ON},
	 ANY_MACS "0800 4500 005c 0000 4000 402f ????" V4_ENDS "a000 6558 ???? 0000 deadbeef"},
	{"nvgre has no checksum", {.tunnel = {.type = XV_TUNNEL_NVGRE, .vni = 0x4567}, .outer.csum = XV_OUTER_CSUM_ON},
	 ANY_MACS "0800 4500 0058 0000 4000 402f ????" V4_ENDS "2000 6558 004567??"},
	{"mpls over gre", {.tunnel.type = XV_TUNNEL_MPLS_GRE},
	 ANY_MACS "0800 4500 0058 0000 4000 402f ????" V4_ENDS "0000 8847 00064140"},
	{"mpls over udp", {.tunnel = {.type = XV_TUNNEL_MPLS_UDP, .vni = 0xfffff}},
	 ANY_MACS "0800 4500 005c 0000 4000 4011 ????" V4_ENDS "???? 19eb 0048 0000 fffff140"},
	{"a tag", {.tunnel.type = XV_TUNNEL_GRE, .outer.vlan = 0x123},
	 ANY_MACS "8100 0123 0800 4500 0054 0000 4000 402f ????" V4_ENDS "0000 6558"},
	{"dscp and ttl", {.tunnel.type = XV_TUNNEL_GRE, .outer = {.dscp = 46, .ttl = 7}},
	 ANY_MACS "0800 45b8 0054 0000 4000 072f ????" V4_ENDS "0000 6558"},
	{"fragments are allowed", {.tunnel.type = XV_TUNNEL_GRE, .outer.no_df = true},
	 ANY_MACS "0800 4500 0054 ???? 0000 402f ????" V4_ENDS "0000 6558"},
	{"nothing to inherit", {.tunnel.type = XV_TUNNEL_GRE, .outer = {.inherit_dscp = true, .inherit_ttl = true}},
	 ANY_MACS "0800 4500 0054 0000 4000 402f ????" V4_ENDS "0000 6558"},
	{"vxlan over ipv6", {.tunnel.type = XV_TUNNEL_VXLAN, .ipv6 = true},
	 ANY_MACS "86dd 600????? 004c 1140" V6_ENDS "???? 12b5 004c ???? 0800 0000 0000 6400"},
	{"vxlan over ipv6 without checksum",
	 {.tunnel.type = XV_TUNNEL_VXLAN, .ipv6 = true, .outer.csum = XV_OUTER_CSUM_OFF},
	 ANY_MACS "86dd 600????? 004c 1140" V6_ENDS "???? 12b5 004c 0000 0800 0000 0000 6400"},
	{"gre over ipv6", {.tunnel.type = XV_TUNNEL_GRE, .ipv6 = true, .outer.dscp = 1},
	 ANY_MACS "86dd 604????? 0040 2f40" V6_ENDS "0000 6558"},
	{"mpls over gre over ipv6 with a tag", {.tunnel.type = XV_TUNNEL_MPLS_GRE, .ipv6 = true, .outer.vlan = 1},
	 ANY_MACS "8100 0001 86dd 600????? 0044 2f40" V6_ENDS "0000 8847 00064140"},
	{"mpls over udp over ipv6", {.tunnel.type = XV_TUNNEL_MPLS_UDP, .ipv6 = true},
	 ANY_MACS "86dd 600????? 0048 1140" V6_ENDS "???? 19eb 0048 ???? 00064140"},
};

/* Length of the pattern in bytes; fails where it does not match. */
static uint32_t match(const char *what, const uint8_t *p, const char *pattern)
{
	static const char digits[] = "0123456789abcdef";
	uint32_t n = 0;

	for (; *pattern != '\0'; pattern++) {
		unsigned int nibble = n % 2 ? p[n / 2] & 0xf : p[n / 2] >> 4;

		if (*pattern == ' ')
			continue;
		if (*pattern != '?' && *pattern != digits[nibble])
			fail_msg("%s: byte %u is %02x, not as in %s", what, n / 2, p[n / 2], pattern);
		n++;
	}
	return n / 2;
}

/* What we sent to host 2 becomes what it would send to us. Sums stay as they are. */
static void turn_round(uint8_t *p)
{
	uint8_t *ip = p + (rig.vlan != 0 ? 18 : 14), swap[16];
	unsigned int at = rig.ipv6 ? 8 : 12, n = rig.ipv6 ? 16 : 4;

	memcpy(swap, p, 6);
	memcpy(p, p + 6, 6);
	memcpy(p + 6, swap, 6);
	memcpy(swap, ip + at, n);
	memcpy(ip + at, ip + at + n, n);
	memcpy(ip + at + n, swap, n);
}

static void each_case(void **state)
{
	uint8_t bytes[2048], frame[64];
	unsigned int i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *what = cases[i].what;
		uint32_t len, headers;

		assert_int_equal(rig_start(&cases[i].config), 0);
		rig_resolve();
		rig_put(VM1, frame, rig_frame(frame, broadcast, mac_a, 60));
		rig_run();
		(void)rig_taken(VM2);
		len = rig_take(UPLINK, bytes);
		headers = match(what, bytes, cases[i].headers);
		if (len != headers + 60)
			fail_msg("%s: %u bytes, not %u", what, len, headers + 60);
		assert_memory_equal(bytes + headers, frame, 60);
		assert_int_equal(rig_taken(UPLINK), 1); /* to the other remote */

		turn_round(bytes);
		rig_put(UPLINK, bytes, len);
		rig_run();
		if (rig_taken(VM1) != 1 || rig_take(VM2, bytes) != 60)
			fail_msg("%s: what is sent is not accepted", what);
		assert_memory_equal(bytes, frame, 60);
		assert_int_equal(rig_teardown(state), 0);
	}
}

/* Checksums are computed, and looked at. */
static void checksums(void **state)
{
	static const struct {
		enum xv_tunnel_type type;
		bool ipv6;
	} with[] = {{XV_TUNNEL_VXLAN, false}, {XV_TUNNEL_GENEVE, true}, {XV_TUNNEL_GRE, false},
		    {XV_TUNNEL_GRE, true},    {XV_TUNNEL_MPLS_GRE, false}, {XV_TUNNEL_MPLS_UDP, true}};
	uint8_t bytes[2048], frame[64];
	unsigned int i;
	uint32_t len;

	for (i = 0; i < sizeof(with) / sizeof(with[0]); i++) {
		struct rig_config config = {
			.tunnel.type = with[i].type, .ipv6 = with[i].ipv6, .outer.csum = XV_OUTER_CSUM_ON};

		assert_int_equal(rig_start(&config), 0);
		rig_resolve();
		rig_put(VM1, frame, rig_frame(frame, broadcast, mac_a, 60));
		rig_run();
		len = rig_take(UPLINK, bytes);
		turn_round(bytes);
		bytes[len - 1] ^= 1;
		rig_put(UPLINK, bytes, len);
		rig_run();
		assert_int_equal(rig_taken(VM1), 0);
		assert_int_equal(rig_dropped(UPLINK, XV_DROP_TUNNEL_CSUM), 1);
		(void)(rig_taken(VM2) + rig_taken(UPLINK));
		assert_int_equal(rig_teardown(state), 0);
	}
}

static void inherits(void **state)
{
	uint8_t bytes[2048], frame[64];

	rig_resolve();
	rig_put(VM1, frame, rig_udp_frame(frame, broadcast, mac_a, 0xb8 | 1, 7));
	rig_run();
	assert_int_equal(rig_take(UPLINK, bytes), 14 + 24 + 60);
	assert_int_equal(bytes[15], 0xb8 | 1); /* DSCP and ECN */
	assert_int_equal(bytes[22], frame[22]);
	assert_int_equal(xv_csum_sum(bytes + 14, 20), 0xffff);
	(void)(rig_taken(UPLINK) + rig_taken(VM2));
	/* Where routers may fragment, each packet has a number of its own (RFC 6864). */
	rig_put(VM1, frame, 60);
	rig_run();
	assert_int_equal(rig_take(UPLINK, frame), 14 + 24 + 60);
	assert_memory_not_equal(bytes + 18, frame + 18, 2);
	(void)(rig_taken(UPLINK) + rig_taken(VM2));
}

static int setup_inherit(void **state)
{
	return rig_start(&(struct rig_config){
		.tunnel.type = XV_TUNNEL_GRE,
		.outer = {.inherit_dscp = true, .inherit_ttl = true, .ttl = 9, .no_df = true}});
}

/* A remote's packet with these outer headers, for a MAC address that nobody has; whether a VM got what was in it. */
static bool accepted_to(const char *headers, const uint8_t dst[6])
{
	uint8_t bytes[256];
	uint32_t len = (uint32_t)unit_hex(headers, bytes + 12, 200) + 12;
	uint16_t sum;

	memcpy(bytes, rig.vtep->uplinks[0].mac, 6);
	memcpy(bytes + 6, remote_mac, 6);
	rig_frame(bytes + len, dst, mac_b, 60);
	memset(bytes + 24, 0, 2);
	bytes[17] = (uint8_t)(len + 60 - 14);
	sum = (uint16_t)~xv_csum_sum(bytes + 14, 20);
	memcpy(bytes + 24, &sum, 2);
	rig_put(UPLINK, bytes, len + 60);
	rig_run();
	(void)rig_taken(VM2);
	return rig_taken(VM1) == 1;
}

static bool accepted(const char *headers)
{
	return accepted_to(headers, broadcast);
}

#define FROM_2 "0800 4500 0000 0000 4000 402f 0000 c0000202 c0000201"
#define UDP_2  "0800 4500 0000 0000 4000 4011 0000 c0000202 c0000201"

static void gre_without_a_key_is_not_key_0(void **state)
{
	rig_resolve();
	assert_true(accepted(FROM_2 "0000 6558"));
	assert_true(accepted(FROM_2 "1000 6558 00000001")); /* sequence numbers say nothing to us */
	assert_false(accepted(FROM_2 "2000 6558 00000000"));
	assert_int_equal(rig_dropped(UPLINK, XV_DROP_TUNNEL_VNI), 1);
	assert_false(accepted(FROM_2 "0000 0800")); /* IP, and no frame */
	assert_false(accepted(FROM_2 "4000 6558")); /* routing is of the past (RFC 2784 section 2.3) */
	assert_int_equal(rig_dropped(UPLINK, XV_DROP_TUNNEL_HEADER), 2);
	assert_false(accepted(FROM_2 "0000 8847 00064140"));
	assert_int_equal(rig_dropped(UPLINK, XV_DROP_TUNNEL_HEADER), 3);
	/* Types that no network of the VTEP has are no tunnels. */
	assert_false(accepted(UDP_2 "c000 12b5 004c 0000 0800 0000 0000 6400"));
	assert_int_equal(rig_dropped(UPLINK, XV_DROP_TUNNEL_STRAY), 1);
}

static int setup_gre(void **state)
{
	return rig_start(&(struct rig_config){.tunnel.type = XV_TUNNEL_GRE});
}

static void labels(void **state)
{
	static const uint8_t like_ipv4[6] = {0x46, 1}, like_ipv6[6] = {0x60, 1};
	uint8_t vm[2048];

	rig_resolve();
	assert_true(accepted(UDP_2 "c000 19eb 0048 0000 00064140"));
	/* The first nibble says nothing here. */
	assert_true(accepted_to(UDP_2 "c000 19eb 0048 0000 00064140", like_ipv4));
	assert_true(accepted_to(UDP_2 "c000 19eb 0048 0000 00064140", like_ipv6));
	assert_true(accepted(UDP_2 "c000 19eb 0048 0000 00064f01")); /* traffic class and TTL */
	assert_false(accepted(UDP_2 "c000 19eb 0048 0000 00065140"));
	assert_int_equal(rig_dropped(UPLINK, XV_DROP_TUNNEL_VNI), 1);
	assert_false(accepted(UDP_2 "c000 19eb 0048 0000 00064040")); /* not the last label */
	assert_false(accepted(UDP_2 "c000 19eb 0048 0000 00000140")); /* explicit null: IPv4 */
	assert_false(accepted(UDP_2 "c000 19eb 0048 0000 00003140")); /* must not be on the wire */
	assert_int_equal(rig_dropped(UPLINK, XV_DROP_TUNNEL_HEADER), 3);
	assert_int_equal(rig_take(VM1, vm), 0);
}

static int setup_mpls(void **state)
{
	return rig_start(&(struct rig_config){.tunnel.type = XV_TUNNEL_MPLS_UDP});
}

static void group_policy_of_others_is_ignored(void **state)
{
	rig_resolve();
	assert_true(accepted(UDP_2 "c000 12b5 004c 0000 8848 beef 0000 6400"));
	assert_true(accepted(UDP_2 "c000 12b5 004c 0000 0800 0000 0000 6400"));
}

static int setup_gbp(void **state)
{
	return rig_start(&(struct rig_config){.tunnel = {.type = XV_TUNNEL_VXLAN, .has_gbp = true, .gbp = 1}});
}

static void ids_that_cannot_be(void **state)
{
	static const struct xv_tunnel_config wrong[] = {
		{.type = XV_TUNNEL_VXLAN, .vni = 1 << 24},
		{.type = XV_TUNNEL_MPLS_GRE, .vni = 1 << 20},
		{.type = XV_TUNNEL_NONE, .vni = 1},
	};
	struct xv_tunnel *tunnel;
	unsigned int i;

	for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_int_equal(xv_tunnel_create(rig.vtep, &wrong[i], rig.ports[TUNNEL2], &tunnel), -EINVAL);
}

int main(void)
{
#define T(f, setup) cmocka_unit_test_setup_teardown(f, setup, rig_teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_case),
		cmocka_unit_test(checksums),
		T(inherits, setup_inherit),
		T(gre_without_a_key_is_not_key_0, setup_gre),
		T(labels, setup_mpls),
		T(group_policy_of_others_is_ignored, setup_gbp),
		T(ids_that_cannot_be, setup_gre),
	};

	return cmocka_run_group_tests(tests, rig_group_setup, NULL);
}
