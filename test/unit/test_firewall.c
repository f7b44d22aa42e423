/* SPDX-License-Identifier: Apache-2.0 */
/* What a port's firewall says to packets: whose rules judge which connection, and what the guard lets a VM claim. */
#include "unit.h"

#include <string.h>

#include "fastpath/conntrack.h"
#include "fastpath/firewall.h"

#define IP4(a, b, c, d) ((union xv_ip_addr){.bytes = {[12] = a, b, c, d}})

static const uint8_t own_mac[6] = {2, 0, 0, 0, 0, 5}, other_mac[6] = {2, 0, 0, 0, 0, 9};
static const union xv_ip_addr own_ip6 = {.bytes = {0x20, 1, 0xd, 0xb8, [15] = 5}};
static const union xv_ip_addr link_local = {.bytes = {0xfe, 0x80, [11] = 0xff, 0xfe, [15] = 5}}; /* EUI-64 of own_mac */
static const union xv_ip_addr other_ip6 = {.bytes = {0x20, 1, 0xd, 0xb8, [15] = 9}};
static const union xv_ip_addr none;

/* ---- Rules ---- */

static const struct xv_policy *policy(enum xv_verdict verdict, uint16_t port)
{
	struct xv_policy_rule rule;
	struct xv_policy *p;

	xv_policy_rule_init(&rule);
	rule.verdict = verdict;
	rule.has_proto = true;
	rule.proto = 6;
	rule.dst_port_min = rule.dst_port_max = port;
	assert_int_equal(xv_policy_create("p", &rule, 1, XV_POLICY_DENY, &p), 0);
	return p;
}

/* A TCP packet from 10.0.0.5:1000 to 10.0.0.9:port of a connection that was opened by it, or (reply) by the other end. */
static struct xv_flow_key tcp(uint16_t port, uint32_t state)
{
	struct xv_flow_key key = {
		.eth_type = RTE_BE16(0x0800), .ip_proto = 6, .ip_src = IP4(10, 0, 0, 5), .ip_dst = IP4(10, 0, 0, 9),
		.tp_src = RTE_BE16(1000), .tp_dst = rte_cpu_to_be_16(port), .ct_state = state | XV_CS_TRACKED, .ct_proto = 6,
	};
	bool reply = (state & XV_CS_REPLY) != 0;

	key.ct_src = reply ? key.ip_dst : key.ip_src;
	key.ct_dst = reply ? key.ip_src : key.ip_dst;
	key.ct_tp_src = reply ? key.tp_dst : key.tp_src;
	key.ct_tp_dst = reply ? key.tp_src : key.tp_dst;
	return key;
}

static enum xv_verdict ask(const struct xv_firewall *f, enum xv_firewall_way way, const struct xv_flow_key *key)
{
	const struct xv_policy *by;
	struct xv_flow_key mask = {0};
	uint32_t rule;

	return xv_firewall_check(f, way, key, &mask, &by, &rule);
}

static void connections_are_judged_by_who_opened_them(void **state)
{
	struct xv_firewall f = {.egress = policy(XV_POLICY_ALLOW, 80), .ingress = policy(XV_POLICY_REJECT, 22)};
	struct xv_flow_key key;

	(void)state;
	key = tcp(80, XV_CS_NEW);
	assert_int_equal(ask(&f, XV_FIREWALL_FROM_VM, &key), XV_POLICY_ALLOW);
	assert_int_equal(ask(&f, XV_FIREWALL_TO_VM, &key), XV_POLICY_DENY); /* opened towards the VM: no rule for port 80 */
	key = tcp(22, XV_CS_NEW);
	assert_int_equal(ask(&f, XV_FIREWALL_TO_VM, &key), XV_POLICY_REJECT);
	/* The answer to what the VM opened to port 80: its own ports are the other way round. */
	key = tcp(1000, XV_CS_ESTABLISHED | XV_CS_REPLY);
	key.ct_tp_dst = RTE_BE16(80);
	assert_int_equal(ask(&f, XV_FIREWALL_TO_VM, &key), XV_POLICY_ALLOW);
	/* An answer of the VM to what nobody may open towards it, although it may send to port 80 itself. */
	key = tcp(80, XV_CS_ESTABLISHED | XV_CS_REPLY);
	assert_int_equal(ask(&f, XV_FIREWALL_FROM_VM, &key), XV_POLICY_DENY);
	/* Without rules of a direction everything passes; without a firewall, too. */
	xv_policy_destroy((struct xv_policy *)(uintptr_t)f.ingress);
	f.ingress = NULL;
	assert_int_equal(ask(&f, XV_FIREWALL_FROM_VM, &key), XV_POLICY_ALLOW);
	assert_int_equal(ask(NULL, XV_FIREWALL_FROM_VM, &key), XV_POLICY_ALLOW);
	xv_policy_destroy((struct xv_policy *)(uintptr_t)f.egress);
}

static void related_packets_follow_their_connection(void **state)
{
	struct xv_firewall f = {.egress = policy(XV_POLICY_ALLOW, 80), .ingress = policy(XV_POLICY_ALLOW, 22)};
	struct xv_flow_key key = tcp(80, XV_CS_NEW);

	(void)state;
	/* An ICMP error from 10.0.0.9 about what 10.0.0.5 (the VM) sent to its port 80. */
	key.ip_src = IP4(10, 0, 0, 9);
	key.ip_dst = IP4(10, 0, 0, 5);
	key.ip_proto = 1;
	key.tp_src = RTE_BE16(3);
	key.tp_dst = RTE_BE16(1);
	key.ct_state = XV_CS_RELATED | XV_CS_REPLY | XV_CS_TRACKED;
	assert_int_equal(ask(&f, XV_FIREWALL_TO_VM, &key), XV_POLICY_ALLOW);
	key.ct_tp_dst = RTE_BE16(81);
	assert_int_equal(ask(&f, XV_FIREWALL_TO_VM, &key), XV_POLICY_DENY);
	/* A router (10.0.0.1) about what the VM answered to 10.0.0.9, which opened a connection to its port 22. */
	key.ip_src = IP4(10, 0, 0, 1);
	key.ct_src = IP4(10, 0, 0, 9);
	key.ct_dst = IP4(10, 0, 0, 5);
	key.ct_tp_dst = RTE_BE16(22);
	key.ct_state = XV_CS_RELATED | XV_CS_TRACKED;
	assert_int_equal(ask(&f, XV_FIREWALL_TO_VM, &key), XV_POLICY_ALLOW);
	key.ct_tp_dst = RTE_BE16(80);
	assert_int_equal(ask(&f, XV_FIREWALL_TO_VM, &key), XV_POLICY_DENY);
	/* The data connection that an FTP server (10.0.0.9) opens to the VM, whose control connection may be. */
	key = tcp(80, XV_CS_NEW);
	key.ip_src = IP4(10, 0, 0, 9);
	key.ip_dst = IP4(10, 0, 0, 5);
	key.tp_src = RTE_BE16(20);
	key.tp_dst = RTE_BE16(4321);
	key.ct_state = XV_CS_RELATED | XV_CS_NEW | XV_CS_TRACKED;
	assert_int_equal(ask(&f, XV_FIREWALL_TO_VM, &key), XV_POLICY_ALLOW);
	xv_policy_destroy((struct xv_policy *)(uintptr_t)f.egress);
	xv_policy_destroy((struct xv_policy *)(uintptr_t)f.ingress);
}

static void mask_holds_the_answer(void **state)
{
	struct xv_firewall f = {.egress = policy(XV_POLICY_ALLOW, 80)};
	struct xv_flow_key key = tcp(1000, XV_CS_ESTABLISHED | XV_CS_REPLY), mask = {0};
	const struct xv_policy *by;
	uint32_t rule;

	(void)state;
	assert_int_equal(xv_firewall_check(&f, XV_FIREWALL_TO_VM, &key, &mask, &by, &rule), XV_POLICY_DENY);
	assert_int_equal(mask.ct_tp_dst, UINT16_MAX); /* what decided ... */
	assert_int_equal(mask.ct_state & (XV_CS_REPLY | XV_CS_TRACKED), XV_CS_REPLY | XV_CS_TRACKED);
	assert_int_equal(mask.tp_dst, 0); /* ... and what did not */
	assert_int_equal(mask.ct_tp_src, 0);
	assert_int_equal(mask.ct_proto, 0);
	xv_policy_destroy((struct xv_policy *)(uintptr_t)f.egress);
}

/* ---- What has no connection ---- */

static void housekeeping_needs_no_rule(void **state)
{
	struct xv_firewall f = {.egress = policy(XV_POLICY_ALLOW, 80), .ingress = policy(XV_POLICY_ALLOW, 80)};
	struct xv_flow_key mask = {0}, arp = {.eth_type = RTE_BE16(0x0806)};
	struct xv_flow_key ns = {.eth_type = RTE_BE16(0x86dd), .ip_proto = 58, .tp_src = RTE_BE16(135)};
	struct xv_flow_key echo = {.eth_type = RTE_BE16(0x86dd), .ip_proto = 58, .tp_src = RTE_BE16(128)};
	struct xv_flow_key dhcp = {.eth_type = RTE_BE16(0x0800), .ip_proto = 17, .tp_src = RTE_BE16(68), .tp_dst = RTE_BE16(67)};
	struct xv_flow_key lldp = {.eth_type = RTE_BE16(0x88cc)};

	(void)state;
	assert_int_equal(ask(&f, XV_FIREWALL_FROM_VM, &arp), XV_POLICY_ALLOW);
	assert_int_equal(ask(&f, XV_FIREWALL_TO_VM, &arp), XV_POLICY_ALLOW);
	assert_int_equal(ask(&f, XV_FIREWALL_FROM_VM, &ns), XV_POLICY_ALLOW);
	assert_false(xv_firewall_tracks(&ns, &mask));
	assert_true(xv_firewall_tracks(&echo, &mask));
	echo.eth_dst[0] = 1;
	assert_false(xv_firewall_tracks(&echo, &mask)); /* to several: by itself, by the rules */
	assert_int_equal(ask(&f, XV_FIREWALL_FROM_VM, &echo), XV_POLICY_DENY);
	assert_int_equal(ask(&f, XV_FIREWALL_FROM_VM, &dhcp), XV_POLICY_ALLOW);
	assert_int_equal(ask(&f, XV_FIREWALL_TO_VM, &dhcp), XV_POLICY_DENY); /* it is no server */
	assert_int_equal(ask(&f, XV_FIREWALL_FROM_VM, &lldp), XV_POLICY_DENY);
	xv_policy_destroy((struct xv_policy *)(uintptr_t)f.egress);
	xv_policy_destroy((struct xv_policy *)(uintptr_t)f.ingress);
}

/* A flow that a packet makes stands for all that are equal under its mask; of ports that have nothing to do with DHCP for many. */
static void housekeeping_tells_ports_by_few_bits(void **state)
{
	static const uint16_t ports[] = {0, 1, 53, 63, 64, 66, 67, 68, 69, 71, 72, 80, 195, 443, 543, 544, 546, 547, 548, 551, 552, 5000,
					 32835, 32836, 40000, 65535};
	const unsigned int n = sizeof(ports) / sizeof(ports[0]);
	struct xv_firewall f = {.egress = policy(XV_POLICY_ALLOW, 80), .ingress = policy(XV_POLICY_ALLOW, 80)};
	union {
		struct xv_guard guard;
		uint8_t bytes[sizeof(struct xv_guard) + 2 * sizeof(struct xv_guard_address)];
	} g = {.guard = {.n = 2}};
	unsigned int i, j, way, ipv6;

	(void)state;
	g.guard.addresses[0] = (struct xv_guard_address){.len = 32, .addr = IP4(10, 0, 0, 5)};
	g.guard.addresses[1] = (struct xv_guard_address){.len = 128, .ipv6 = 1, .addr = own_ip6};
	for (i = 0; i < 2; i++)
		memcpy(g.guard.addresses[i].mac, own_mac, 6);
	for (i = 0; i < n * n * 4; i++) {
		struct xv_flow_key key = {.ip_proto = 17, .tp_src = rte_cpu_to_be_16(ports[i / 4 % n]),
					  .tp_dst = rte_cpu_to_be_16(ports[i / 4 / n])};
		struct xv_flow_key mask = {0}, guard_mask = {0};
		enum xv_verdict verdict;
		bool tracks, passes;

		way = i & 1;
		ipv6 = i >> 1 & 1;
		key.eth_type = ipv6 ? RTE_BE16(0x86dd) : RTE_BE16(0x0800);
		key.ip_src = ipv6 ? own_ip6 : IP4(10, 0, 0, 5);
		memcpy(key.eth_src, own_mac, 6);
		tracks = xv_firewall_tracks(&key, &mask);
		verdict = ask(&f, (enum xv_firewall_way)way, &key);
		passes = xv_guard_check(&g.guard, &key, &guard_mask);
		/* Nobody who is the same under the mask gets another answer. */
		for (j = 0; j < n * n; j++) {
			struct xv_flow_key other = key, unused = {0};

			other.tp_src = rte_cpu_to_be_16(ports[j % n]);
			other.tp_dst = rte_cpu_to_be_16(ports[j / n]);
			if (((other.tp_src ^ key.tp_src) & mask.tp_src) == 0 &&
			    ((other.tp_dst ^ key.tp_dst) & mask.tp_dst) == 0) {
				assert_int_equal(xv_firewall_tracks(&other, &unused), tracks);
				assert_int_equal(ask(&f, (enum xv_firewall_way)way, &other), verdict);
			}
			if (((other.tp_src ^ key.tp_src) & guard_mask.tp_src) == 0)
				assert_int_equal(xv_guard_check(&g.guard, &other, &unused), passes);
		}
		if (ports[i / 4 % n] >= 1024) {
			assert_int_equal(__builtin_popcount(mask.tp_src), 1);
			assert_int_equal(__builtin_popcount(guard_mask.tp_src), 1);
			assert_int_equal(mask.tp_dst | guard_mask.tp_dst, 0);
		}
	}
	xv_policy_destroy((struct xv_policy *)(uintptr_t)f.egress);
	xv_policy_destroy((struct xv_policy *)(uintptr_t)f.ingress);
}

/* ---- Guard ---- */

#define V4 .eth_type = RTE_BE16(0x0800)
#define V6 .eth_type = RTE_BE16(0x86dd)
#define ARP .eth_type = RTE_BE16(0x0806)

static void guard_table(void **state)
{
	static const struct {
		const char *what;
		struct xv_flow_key key; /* eth_src: 0 = own */
		bool passes;
	} table[] = {
		{"own address", {V4, .ip_proto = 6, .ip_src = IP4(10, 0, 0, 5)}, true},
		{"an address of its prefix", {V4, .ip_proto = 6, .ip_src = IP4(10, 1, 7, 7)}, true},
		{"outside of its prefix", {V4, .ip_proto = 6, .ip_src = IP4(10, 2, 0, 0)}, false},
		{"another address", {V4, .ip_proto = 6, .ip_src = IP4(10, 0, 0, 9)}, false},
		{"later fragment, another address", {V4, .ip_proto = 6, .ip_frag = XV_FRAG_LATER, .ip_src = IP4(10, 0, 0, 9)}, false},
		{"DHCP discover", {V4, .ip_proto = 17, .tp_src = RTE_BE16(68), .tp_dst = RTE_BE16(67)}, true},
		{"no address, no DHCP", {V4, .ip_proto = 17, .tp_src = RTE_BE16(68), .tp_dst = RTE_BE16(68)}, false},
		{"DHCP server", {V4, .ip_proto = 17, .ip_src = IP4(10, 0, 0, 5), .tp_src = RTE_BE16(67)}, false},
		{"TCP from port 67", {V4, .ip_proto = 6, .ip_src = IP4(10, 0, 0, 5), .tp_src = RTE_BE16(67)}, true},
		{"other type of frame", {.eth_type = RTE_BE16(0x88b5)}, true},
		{"ARP", {ARP, .arp_sha = {2, 0, 0, 0, 0, 5}, .ip_src = IP4(10, 0, 0, 5)}, true},
		{"ARP probe", {ARP, .arp_sha = {2, 0, 0, 0, 0, 5}}, true},
		{"ARP for another", {ARP, .arp_sha = {2, 0, 0, 0, 0, 5}, .ip_src = IP4(10, 0, 0, 9)}, false},
		{"ARP with another MAC", {ARP, .arp_sha = {2, 0, 0, 0, 0, 9}, .ip_src = IP4(10, 0, 0, 5)}, false},
		{"own IPv6 address", {V6, .ip_proto = 6, .ip_src = {.bytes = {0x20, 1, 0xd, 0xb8, [15] = 5}}}, true},
		{"link-local address", {V6, .ip_proto = 6, .ip_src = {.bytes = {0xfe, 0x80, [11] = 0xff, 0xfe, [15] = 5}}}, true},
		{"another's", {V6, .ip_proto = 6, .ip_src = {.bytes = {0xfe, 0x80, [11] = 0xff, 0xfe, [15] = 9}}}, false},
		{"IPv6 from nowhere", {V6, .ip_proto = 6}, false},
		{"duplicate address detection", {V6, .ip_proto = 58, .tp_src = RTE_BE16(135)}, true},
		{"router advertisement", {V6, .ip_proto = 58, .tp_src = RTE_BE16(134), .ip_src = {.bytes = {0xfe, 0x80, [11] = 0xff, 0xfe, [15] = 5}}}, false},
		{"DHCPv6 server", {V6, .ip_proto = 17, .tp_src = RTE_BE16(547), .ip_src = {.bytes = {0xfe, 0x80, [11] = 0xff, 0xfe, [15] = 5}}}, false},
	};
	union {
		struct xv_guard guard;
		uint8_t bytes[sizeof(struct xv_guard) + 3 * sizeof(struct xv_guard_address)];
	} g = {.guard = {.n = 3}};
	struct xv_flow_key mask, key;
	unsigned int i;

	(void)state;
	g.guard.addresses[0] = (struct xv_guard_address){.len = 32, .addr = IP4(10, 0, 0, 5)};
	g.guard.addresses[1] = (struct xv_guard_address){.len = 16, .addr = IP4(10, 1, 0, 0)};
	g.guard.addresses[2] = (struct xv_guard_address){.len = 128, .ipv6 = 1, .addr = own_ip6};
	for (i = 0; i < 3; i++)
		memcpy(g.guard.addresses[i].mac, own_mac, 6);
	for (i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		key = table[i].key;
		memcpy(key.eth_src, own_mac, 6);
		memset(&mask, 0, sizeof(mask));
		if (xv_guard_check(&g.guard, &key, &mask) != table[i].passes)
			fail_msg("%s", table[i].what);
		assert_int_equal(mask.eth_src[5], 0xff);
		memcpy(key.eth_src, other_mac, 6);
		if (xv_guard_check(&g.guard, &key, &mask))
			fail_msg("%s, from another MAC", table[i].what);
	}
	/* Neighbour advertisements: own target, own MAC. */
	key = (struct xv_flow_key){V6, .ip_proto = 58, .tp_src = RTE_BE16(136), .ip_src = link_local, .nd_target = own_ip6};
	memcpy(key.eth_src, own_mac, 6);
	assert_true(xv_guard_check(&g.guard, &key, &mask));
	memcpy(key.arp_tha, own_mac, 6);
	assert_true(xv_guard_check(&g.guard, &key, &mask));
	memcpy(key.arp_tha, other_mac, 6);
	assert_false(xv_guard_check(&g.guard, &key, &mask));
	memset(key.arp_tha, 0, 6);
	key.nd_target = other_ip6;
	assert_false(xv_guard_check(&g.guard, &key, &mask));
	key.nd_target = none;
	assert_false(xv_guard_check(&g.guard, &key, &mask));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(connections_are_judged_by_who_opened_them),
		cmocka_unit_test(related_packets_follow_their_connection),
		cmocka_unit_test(mask_holds_the_answer),
		cmocka_unit_test(housekeeping_needs_no_rule),
		cmocka_unit_test(housekeeping_tells_ports_by_few_bits),
		cmocka_unit_test(guard_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
