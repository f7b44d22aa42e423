/* SPDX-License-Identifier: Apache-2.0 */
/* Actions as text: every action once, nested programs, texts that do not fit. */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "fastpath/action_format.h"

static const char *name_of(uint32_t port, void *arg)
{
	(void)arg;
	return port == 2 ? "vm2" : NULL;
}

static struct xv_actions_builder b;
static const struct xv_flow_key tcp4 = {.eth_type = RTE_BE16(0x0800), .ip_proto = 6};
static const struct xv_flow_key udp6 = {.eth_type = RTE_BE16(0x86dd), .ip_proto = 17};
static const struct xv_flow_key arp = {.eth_type = RTE_BE16(0x0806)};

/* The program that was built since the last call is this text. */
static void check(const struct xv_flow_key *key, const char *wanted)
{
	struct xv_actions *actions;
	char text[2048], cut[16];
	size_t len;

	assert_int_equal(xv_actions_finish(&b, &actions), 0);
	len = xv_actions_format(text, sizeof(text), actions, key, name_of, NULL);
	assert_string_equal(text, wanted);
	assert_int_equal(len, strlen(wanted));
	/* As snprintf(): the length is that of the whole, what fits is there. */
	assert_int_equal(xv_actions_format(cut, sizeof(cut), actions, key, name_of, NULL), len);
	assert_int_equal(strncmp(cut, wanted, sizeof(cut) - 1), 0);
	assert_true(strlen(cut) < sizeof(cut));
	assert_int_equal(xv_actions_format(NULL, 0, actions, key, name_of, NULL), len);
	free(actions);
	xv_actions_begin(&b);
}

static void add(enum xv_action_type type, uint32_t arg)
{
	xv_actions_add(&b, type, arg, NULL, 0);
}

static void plain_actions(void **state)
{
	(void)state;
	xv_actions_begin(&b);
	check(NULL, "drop");
	add(XV_ACT_OUTPUT, 2);
	check(NULL, "output(vm2)");
	add(XV_ACT_POP_VLAN, 0);
	add(XV_ACT_OUTPUT, 7);
	check(NULL, "pop_vlan,output(7)");
	add(XV_ACT_RECIRC, 0x1f);
	check(NULL, "recirc(0x1f)");
	add(XV_ACT_FORWARD, 0);
	check(NULL, "forward");
	add(XV_ACT_DROP, XV_DROP_POLICY);
	check(NULL, "drop(policy)");
	add(XV_ACT_DROP, 10000);
	check(NULL, "drop");
	add(XV_ACT_PUNT, 0);
	check(NULL, "userspace");
	add(XV_ACT_HASH, 0);
	add(XV_ACT_METER, 5);
	add(XV_ACT_TRUNC, 100);
	check(NULL, "hash(hash_l4(0)),meter(5),trunc(100)");
	add(XV_ACT_SYM_HASH, 3);
	add(XV_ACT_BOND, 4);
	check(NULL, "hash(sym_l4(3)),bond(4)");
	add(XV_ACT_POP_MPLS, RTE_BE16(0x0800));
	check(NULL, "pop_mpls(eth_type=0x800)");
	add(XV_ACT_POP_ETH, 0);
	add(XV_ACT_POP_NSH, 0);
	check(NULL, "pop_eth,pop_nsh()");
}

static void pushes(void **state)
{
	const struct xv_action_push_vlan vlan = {.tpid = RTE_BE16(0x8100), .tci = RTE_BE16(0x1005)};
	const struct xv_action_push_vlan qinq = {.tpid = RTE_BE16(0x88a8), .tci = RTE_BE16(0x6fff)};
	const struct xv_action_push_mpls mpls = {.lse = RTE_BE32(100u << 12 | 3 << 9 | 1 << 8 | 64),
						 .eth_type = RTE_BE16(0x8847)};
	const struct xv_action_push_mpls in_front = {.lse = RTE_BE32(5u << 12 | 1), .eth_type = RTE_BE16(0x8848),
						     .before_l2 = true};
	const struct xv_action_push_eth eth = {.dst = {2, 0, 0, 0, 0, 1}, .src = {2, 0, 0, 0, 0, 0xa}};
	struct xv_action_push_nsh nsh = {.flags = 0, .ttl = 63, .mdtype = 1, .path_hdr = RTE_BE32(0x123 << 8 | 255),
					 .metadata = {0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 1, 0}};

	(void)state;
	xv_actions_begin(&b);
	xv_actions_add(&b, XV_ACT_PUSH_VLAN, 0, &vlan, sizeof(vlan));
	xv_actions_add(&b, XV_ACT_PUSH_VLAN, 0, &qinq, sizeof(qinq));
	check(NULL, "push_vlan(vid=5,pcp=0),push_vlan(tpid=0x88a8,vid=4095,pcp=3,cfi=0)");
	xv_actions_add(&b, XV_ACT_PUSH_MPLS, 0, &mpls, sizeof(mpls));
	xv_actions_add(&b, XV_ACT_PUSH_MPLS, 0, &in_front, sizeof(in_front));
	check(NULL, "push_mpls(label=100,tc=3,ttl=64,bos=1,eth_type=0x8847),"
		    "add_mpls(label=5,tc=0,ttl=1,bos=0,eth_type=0x8848)");
	xv_actions_add(&b, XV_ACT_PUSH_ETH, 0, &eth, sizeof(eth));
	check(NULL, "push_eth(src=02:00:00:00:00:0a,dst=02:00:00:00:00:01)");
	xv_actions_add(&b, XV_ACT_PUSH_NSH, 0, &nsh, sizeof(nsh));
	nsh.mdtype = 2;
	nsh.md2_len = 4;
	xv_actions_add(&b, XV_ACT_PUSH_NSH, 0, &nsh, sizeof(nsh));
	check(NULL, "push_nsh(flags=0,ttl=63,mdtype=1,spi=0x123,si=255,c1=0x1,c2=0x2,c3=0x3,c4=0x100),"
		    "push_nsh(flags=0,ttl=63,mdtype=2,spi=0x123,si=255,md2=0x00000001)");
}

static void sets(void **state)
{
	struct xv_flow_key value = {0}, mask = {0};

	(void)state;
	xv_actions_begin(&b);
	value.ip_dst.words[3] = RTE_BE32(0x0a000009);
	mask.ip_dst.words[3] = UINT32_MAX;
	xv_actions_add_set(&b, &value, &mask);
	check(&tcp4, "set(ipv4(dst=10.0.0.9))");
	xv_actions_add_set(&b, &value, &mask);
	check(&arp, "set(arp(tip=10.0.0.9))");
	/* Nobody says what the packet is. */
	xv_actions_add_set(&b, &value, &mask);
	check(NULL, "set(?)");

	memset(&mask, 0, sizeof(mask));
	memcpy(value.eth_dst, (const uint8_t[]){2, 0, 0, 0, 0, 7}, 6);
	memset(mask.eth_dst, 0xff, 6);
	value.ip_ttl = 63;
	mask.ip_ttl = 0xff;
	value.tp_dst = RTE_BE16(8080);
	mask.tp_dst = RTE_BE16(0xffff);
	xv_actions_add_set(&b, &value, &mask);
	add(XV_ACT_OUTPUT, 2);
	check(&tcp4, "set(eth(dst=02:00:00:00:00:07)),set(ipv4(ttl=63)),set(tcp(dst=8080)),output(vm2)");

	memset(&mask, 0, sizeof(mask));
	value.ip_tos = 0x20;
	mask.ip_tos = 0xfc;
	value.skb_mark = 5;
	mask.skb_mark = UINT32_MAX;
	xv_actions_add_set(&b, &value, &mask);
	check(&udp6, "set(skb_mark(0x5)),set(ipv6(tclass=0x20/0xfc))");
}

static void nested_programs(void **state)
{
	struct xv_actions *actions;

	(void)state;
	xv_actions_begin(&b);
	xv_actions_open(&b, XV_ACT_SAMPLE, UINT32_MAX / 2);
	add(XV_ACT_OUTPUT, 2);
	xv_actions_close(&b);
	xv_actions_open(&b, XV_ACT_CLONE, 0);
	add(XV_ACT_POP_VLAN, 0);
	add(XV_ACT_OUTPUT, 9);
	xv_actions_close(&b);
	xv_actions_open(&b, XV_ACT_CHECK_LEN, 1500);
	xv_actions_otherwise(&b);
	add(XV_ACT_OUTPUT, 3);
	xv_actions_close(&b);
	check(NULL, "sample(sample=50.0%,actions(output(vm2))),clone(pop_vlan,output(9)),"
		    "check_pkt_len(size=1500,gt(drop),le(output(3)))");

	xv_actions_open(&b, XV_ACT_CLONE, 0);
	add(XV_ACT_OUTPUT, 9);
	xv_actions_close(&b);
	xv_actions_open(&b, XV_ACT_CHECK_LEN, 1500);
	add(XV_ACT_OUTPUT, 4);
	xv_actions_otherwise(&b);
	add(XV_ACT_OUTPUT, 3);
	xv_actions_close(&b);
	assert_int_equal(xv_actions_finish(&b, &actions), 0);
	assert_true(xv_actions_output_to(actions, 9));
	assert_true(xv_actions_output_to(actions, 3));
	assert_true(xv_actions_output_to(actions, 4));
	assert_false(xv_actions_output_to(actions, 2));
	free(actions);
}

static void tunnels(void **state)
{
	struct xv_encap_params params = {
		.type = XV_TUNNEL_VXLAN,
		.flags = XV_ENCAP_DF,
		.eth_dst = {2, 0, 0, 0, 0, 0x77},
		.eth_src = {2, 0, 0, 0, 0, 0x66},
		.id = 123,
	};
	struct xv_encap encap;

	(void)state;
	params.src.words[3] = RTE_BE32(0xc0a80001);
	params.dst.words[3] = RTE_BE32(0xc0a80002);
	xv_actions_begin(&b);
	assert_int_equal(xv_encap_build(&params, &encap), 0);
	xv_actions_add(&b, XV_ACT_TUNNEL_PUSH, 0, &encap, sizeof(encap));
	add(XV_ACT_OUTPUT, 2);
	check(NULL, "tnl_push(vxlan(eth_dst=02:00:00:00:00:77,src=192.168.0.1,dst=192.168.0.2,dport=4789,vni=123,size=50)),"
		    "output(vm2)");
	params.type = XV_TUNNEL_MPLS_GRE;
	params.packet_type = XV_PACKET_TYPE(0x0800);
	params.id = 99;
	assert_int_equal(xv_encap_build(&params, &encap), 0);
	xv_actions_add(&b, XV_ACT_TUNNEL_PUSH, 0, &encap, sizeof(encap));
	check(NULL, "tnl_push(mpls_gre(eth_dst=02:00:00:00:00:77,src=192.168.0.1,dst=192.168.0.2,label=99,size=42))");
	params.type = XV_TUNNEL_GENEVE;
	params.packet_type = 0;
	params.flags = XV_ENCAP_IPV6;
	memcpy(params.src.bytes, (const uint8_t[16]){0x20, 1, 0xd, 0xb8, [15] = 1}, 16);
	memcpy(params.dst.bytes, (const uint8_t[16]){0x20, 1, 0xd, 0xb8, [15] = 2}, 16);
	assert_int_equal(xv_encap_build(&params, &encap), 0);
	xv_actions_add(&b, XV_ACT_TUNNEL_PUSH, 0, &encap, sizeof(encap));
	check(NULL, "tnl_push(geneve(eth_dst=02:00:00:00:00:77,src=2001:db8::1,dst=2001:db8::2,dport=6081,vni=99,size=70))");
	memset(&encap, 0, sizeof(encap));
	xv_actions_add(&b, XV_ACT_TUNNEL_PUSH, 0, &encap, sizeof(encap));
	check(NULL, "tnl_push(?)");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_actions), cmocka_unit_test(pushes),  cmocka_unit_test(sets),
		cmocka_unit_test(nested_programs), cmocka_unit_test(tunnels),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
