/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "net/flow_format.h"

#include <linux/openvswitch.h>

#define B16 RTE_BE16
#define B32 RTE_BE32
#define MAC_A                                                                                                          \
	{                                                                                                              \
		2, 0, 0, 0, 0, 0xa                                                                                     \
	}
#define MAC_B                                                                                                          \
	{                                                                                                              \
		2, 0, 0, 0, 0, 0xb                                                                                     \
	}
#define FULL_MAC                                                                                                       \
	{                                                                                                              \
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff                                                                     \
	}
#define ADDR4(a)                                                                                                       \
	{                                                                                                              \
		.words[3] = B32(a)                                                                                     \
	}
#define ADDR6(last)                                                                                                    \
	{                                                                                                              \
		.bytes = { 0x20, 1, 0xd, 0xb8, [15] = last }                                                           \
	}
#define FULL_ADDR6                                                                                                     \
	{                                                                                                              \
		.words = { UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX }                                            \
	}
/* What the provider compares in every flow. */
#define PLACE_MASK .recirc_id = UINT32_MAX, .in_port = UINT32_MAX, .eth_type = UINT16_MAX

static const struct format_case {
	struct xv_flow_key key, mask;
	const char *text;
} masked[] = {
	{{0}, {0}, "eth()"},
	{{.in_port = 1, .eth_type = B16(0x800)}, {PLACE_MASK}, "recirc_id(0),in_port(vm1),eth(),eth_type(0x0800)"},
	{{.recirc_id = 0x2a, .in_port = 7, .eth_type = B16(0x86dd)},
	 {PLACE_MASK, .packet_type = UINT32_MAX},
	 "recirc_id(0x2a),in_port(7),packet_type(ns=0,id=0),eth_type(0x86dd)"},
	{{.in_port = 5}, {.in_port = 0xff}, "in_port(5/0xff),eth()"},
	{{.in_port = XV_FLOW_PORT_NONE}, {.in_port = UINT32_MAX}, "eth()"},
	{{.in_port = 1,
	  .eth_src = MAC_A,
	  .eth_dst = MAC_B,
	  .eth_type = B16(0x800),
	  .ip_src = ADDR4(0x0a000000),
	  .ip_dst = ADDR4(0x0a000002),
	  .ip_proto = 17,
	  .tp_src = B16(1),
	  .tp_dst = B16(2)},
	 {PLACE_MASK, .eth_src = FULL_MAC, .eth_dst = {1}, .ip_src = ADDR4(0xff000000), .ip_proto = 0xff,
	  .ip_frag = 0xff, .tp_src = UINT16_MAX, .tp_dst = B16(0xfff0)},
	 "recirc_id(0),in_port(vm1),eth(src=02:00:00:00:00:0a,dst=02:00:00:00:00:0b/01:00:00:00:00:00),"
	 "eth_type(0x0800),ipv4(src=10.0.0.0/255.0.0.0,proto=17,frag=no),udp(src=1,dst=2/0xfff0)"},
	{{.eth_type = B16(0x800),
	  .ip_proto = 6,
	  .ip_tos = 0xb8,
	  .ip_ttl = 64,
	  .ip_frag = XV_FRAG_FIRST,
	  .tp_dst = B16(80),
	  .tcp_flags = B16(0x002)},
	 {.eth_type = UINT16_MAX,
	  .ip_tos = 0xfc,
	  .ip_ttl = 0xff,
	  .ip_frag = 0xff,
	  .tp_dst = UINT16_MAX,
	  .tcp_flags = B16(0x012)},
	 "eth(),eth_type(0x0800),ipv4(tos=0xb8/0xfc,ttl=64,frag=first),tcp(dst=80),tcp_flags(+syn-ack)"},
	{{.eth_type = B16(0x800), .ip_proto = 6, .ip_frag = XV_FRAG_LATER},
	 {.eth_type = UINT16_MAX, .ip_proto = 0xff, .ip_frag = 0xff, .tp_dst = UINT16_MAX},
	 "eth(),eth_type(0x0800),ipv4(proto=6,frag=later)"},
	{{.eth_type = B16(0x800), .ip_proto = 6, .tcp_flags = B16(0x812)},
	 {.eth_type = UINT16_MAX, .ip_proto = 0xff, .tcp_flags = B16(0xfff)},
	 "eth(),eth_type(0x0800),ipv4(proto=6),tcp_flags(syn|ack|[800])"},
	{{.eth_type = B16(0x800), .ip_proto = 1, .tp_src = B16(8)},
	 {.eth_type = UINT16_MAX, .ip_proto = 0xff, .tp_src = B16(0xff), .tp_dst = B16(0xffff)},
	 "eth(),eth_type(0x0800),ipv4(proto=1),icmp(type=8,code=0)"},
	{{.eth_type = B16(0x800), .ip_proto = 132, .tp_src = B16(8)},
	 {.eth_type = UINT16_MAX, .ip_proto = 0xff, .tp_src = UINT16_MAX},
	 "eth(),eth_type(0x0800),ipv4(proto=132),sctp(src=8)"},
	{{.eth_type = B16(0x86dd),
	  .ip_src = ADDR6(1),
	  .ip_dst = ADDR6(2),
	  .ipv6_label = B32(0x12345),
	  .ip_proto = 58,
	  .ip_tos = 0xab,
	  .ip_ttl = 255,
	  .tp_src = B16(135),
	  .nd_target = ADDR6(9),
	  .arp_sha = MAC_A},
	 {.eth_type = UINT16_MAX,
	  .ip_src = FULL_ADDR6,
	  .ip_dst = {.words = {UINT32_MAX}},
	  .ipv6_label = B32(0xfffff),
	  .ip_proto = 0xff,
	  .ip_tos = 0xff,
	  .ip_ttl = 0xff,
	  .ip_frag = 0xff,
	  .tp_src = UINT16_MAX,
	  .tp_dst = UINT16_MAX,
	  .nd_target = FULL_ADDR6,
	  .arp_sha = FULL_MAC,
	  .ipv6_exthdrs = 8},
	 "eth(),eth_type(0x86dd),ipv6(src=2001:db8::1,dst=2001:db8::2/ffff:ffff::,label=0x12345,proto=58,"
	 "tclass=0xab,hlimit=255,frag=no),icmpv6(type=135,code=0),nd(target=2001:db8::9,sll=02:00:00:00:00:0a)"},
	{{.eth_type = B16(0x86dd), .ip_proto = 17, .ipv6_label = B32(5), .ipv6_exthdrs = XV_EXTHDR_DEST},
	 {.eth_type = UINT16_MAX, .ipv6_label = B32(0xf), .ipv6_exthdrs = 0xffff},
	 "eth(),eth_type(0x86dd),ipv6(label=0x5/0xf),ipv6_exthdrs(0x8)"},
	{{.eth_type = B16(0x806),
	  .ip_src = ADDR4(0x0a000001),
	  .ip_dst = ADDR4(0x0a000002),
	  .ip_proto = 1,
	  .arp_sha = MAC_A,
	  .arp_tha = MAC_B},
	 {.eth_type = UINT16_MAX,
	  .ip_src = ADDR4(UINT32_MAX),
	  .ip_dst = ADDR4(0xffffff00),
	  .ip_proto = 0xff,
	  .arp_sha = FULL_MAC,
	  .arp_tha = FULL_MAC},
	 "eth(),eth_type(0x0806),arp(sip=10.0.0.1,tip=10.0.0.2/255.255.255.0,op=1,sha=02:00:00:00:00:0a,"
	 "tha=02:00:00:00:00:0b)"},

	/* Tags */
	{{.vlan[0] = {B16(0x8100), B16(0xb00a)}, .eth_type = B16(0x800)},
	 {.recirc_id = UINT32_MAX, .eth_type = UINT16_MAX, .vlan[0] = {UINT16_MAX, B16(0x1fff)}, .ip_frag = 0xff},
	 "recirc_id(0),eth(),eth_type(0x8100),vlan(vid=10,pcp=5/0x0),encap(eth_type(0x0800),ipv4(frag=no))"},
	{{.vlan = {{B16(0x88a8), B16(0x1064)}, {B16(0x8100), B16(0x100a)}}, .eth_type = B16(0x806)},
	 {.vlan = {{UINT16_MAX, UINT16_MAX}, {UINT16_MAX, B16(0xf00f)}}, .eth_type = UINT16_MAX},
	 "eth(),eth_type(0x88a8),vlan(vid=100,pcp=0),encap(eth_type(0x8100),vlan(vid=10/0xf,pcp=0),"
	 "encap(eth_type(0x0806)))"},
	{{.vlan[0] = {B16(0x8100), B16(0x1064)}, .eth_type = B16(0x806)},
	 {.eth_type = UINT16_MAX},
	 "eth(),eth_type(0x0806)"},
	{{.eth_type = B16(0x5ff)}, {.eth_type = UINT16_MAX}, "eth(),eth_type(0/0xffff)"},
	{{.eth_type = B16(0x800)}, {.eth_type = B16(0xff00)}, "eth(),eth_type(0x0800/0xff00)"},

	/* MPLS, NSH */
	{{.eth_type = B16(0x8847), .mpls_lse = {B32(0x00016140)}, .mpls_depth = 1},
	 {.eth_type = UINT16_MAX, .mpls_lse = {B32(0xfffff100)}},
	 "eth(),eth_type(0x8847),mpls(label=22/0xfffff,tc=0/0,ttl=64/0x0,bos=1/1)"},
	{{.eth_type = B16(0x8847), .mpls_lse = {B32(0x00016e40), B32(0x0001713f)}, .mpls_depth = 2},
	 {.eth_type = UINT16_MAX, .mpls_lse = {UINT32_MAX, UINT32_MAX}},
	 "eth(),eth_type(0x8847),mpls(label=22,tc=7,ttl=64,bos=0,label=23,tc=0,ttl=63,bos=1)"},
	{{.packet_type = B32(0x1894f),
	  .eth_type = B16(0x894f),
	  .nsh_np = 1,
	  .nsh_path_hdr = B32(0x3020fe),
	  .nsh_ttl = 63,
	  .nsh_mdtype = 1,
	  .nsh_context = {B32(0x11)}},
	 {.packet_type = UINT32_MAX,
	  .eth_type = UINT16_MAX,
	  .nsh_np = 0xff,
	  .nsh_path_hdr = UINT32_MAX,
	  .nsh_ttl = 0x0f,
	  .nsh_context = {B32(0xff)}},
	 "packet_type(ns=1,id=0x894f),eth_type(0x894f),nsh(ttl=0x3f/0x0f,np=1,spi=0x3020,si=254,c1=0x11/0x000000ff)"},

	/* Metadata, connection tracking */
	{{.skb_priority = 3,
	  .skb_mark = 0x1234,
	  .dp_hash = 5,
	  .ct_state = OVS_CS_F_TRACKED | OVS_CS_F_NEW,
	  .ct_zone = 9,
	  .ct_mark = 0xf0,
	  .ct_label = {1, 2},
	  .ct_proto = 17,
	  .ct_src = ADDR4(0x0a000001),
	  .ct_dst = ADDR4(0x0a000002),
	  .ct_tp_src = B16(1),
	  .ct_tp_dst = B16(2),
	  .eth_type = B16(0x800)},
	 {.skb_priority = UINT32_MAX,
	  .skb_mark = 0xff00,
	  .dp_hash = 0xf,
	  .ct_state = 0x25,
	  .ct_zone = UINT16_MAX,
	  .ct_mark = 0xff,
	  .ct_label = {UINT64_MAX, UINT64_MAX},
	  .ct_proto = 0xff,
	  .ct_src = ADDR4(UINT32_MAX),
	  .ct_dst = ADDR4(0xffff0000),
	  .ct_tp_dst = UINT16_MAX},
	 "skb_priority(0x3),skb_mark(0x1234/0xff00),ct_state(+new-rel+trk),ct_zone(0x9),ct_mark(0xf0/0xff),"
	 "ct_label(0x20000000000000001),ct_tuple4(src=10.0.0.1,dst=10.0.0.2/255.255.0.0,proto=17,tp_dst=2),"
	 "dp_hash(0x5/0xf),eth()"},
	{{.ct_state = OVS_CS_F_ESTABLISHED | OVS_CS_F_REPLY_DIR | OVS_CS_F_TRACKED | 0x1000,
	  .ct_label = {0, 0x8},
	  .ct_proto = 6,
	  .ct_src = ADDR6(1),
	  .eth_type = B16(0x86dd)},
	 {.ct_state = UINT32_MAX, .ct_label = {0, 0xf}, .ct_src = FULL_ADDR6},
	 "ct_state(est|rpl|trk|0x1000),ct_label(0x80000000000000000/0xf0000000000000000),"
	 "ct_tuple6(src=2001:db8::1),eth()"},

	/* Tunnels */
	{{.tun_src = ADDR4(0x1e000001), .tun_dst = ADDR4(0x1e000003), .tun_id = 0, .tun_flags = XV_TUN_KEY},
	 {.recirc_id = UINT32_MAX,
	  .tun_src = ADDR4(UINT32_MAX),
	  .tun_dst = ADDR4(UINT32_MAX),
	  .tun_id = UINT64_MAX,
	  .tun_flags = XV_TUN_KEY | XV_TUN_CSUM | XV_TUN_DF},
	 "tunnel(tun_id=0x0,src=30.0.0.1,dst=30.0.0.3,flags(-df-csum+key)),recirc_id(0),eth()"},
	{{.tun_src = ADDR6(1),
	  .tun_dst = ADDR6(2),
	  .tun_id = RTE_BE64(0x7f10354),
	  .tun_tos = 8,
	  .tun_ttl = 64,
	  .tun_tp_src = B16(1000),
	  .tun_tp_dst = B16(4789),
	  .tun_gbp_id = B16(7),
	  .tun_gbp_flags = 8,
	  .tun_flags = XV_TUN_KEY | XV_TUN_CSUM | XV_TUN_IPV6 | XV_TUN_GBP},
	 {.tun_src = FULL_ADDR6,
	  .tun_dst = FULL_ADDR6,
	  .tun_id = RTE_BE64(0xffffff),
	  .tun_tos = 0xff,
	  .tun_ttl = 0xff,
	  .tun_tp_src = B16(0xff00),
	  .tun_tp_dst = UINT16_MAX,
	  .tun_gbp_id = UINT16_MAX,
	  .tun_gbp_flags = 0xff,
	  .tun_flags = 0xff},
	 "tunnel(tun_id=0x7f10354/0xffffff,ipv6_src=2001:db8::1,ipv6_dst=2001:db8::2,tos=0x8,ttl=64,"
	 "tp_src=1000/0xff00,tp_dst=4789,vxlan(gbp(id=7,flags=0x8)),flags(csum|key)),eth()"},
	{{.tun_dst = ADDR4(0x1e000003),
	  .tun_flags = XV_TUN_KEY,
	  .tun_options_len = 20,
	  .tun_options = {0xff, 0xff, 0x80, 1, 0, 0, 0, 0xa, 1, 2, 3, 2, 1, 2, 3, 4, 5, 6, 7, 8}},
	 {.tun_id = UINT64_MAX,
	  .tun_options_len = UINT16_MAX,
	  .tun_options = {0xff, 0xff, 0xff, 0x1f, 0xff, 0xff, 0xff, 0xff, 0, 0, 0xff, 0x1f, 0xff}},
	 "tunnel(tun_id=0x0,geneve({class=0xffff,type=0x80,len=4,0xa}"
	 "{type=0x3,len=8,0x102030405060708/0xff00000000000000})),eth()"},
	{{.tun_dst = ADDR4(0x1e000003)}, {.ct_mark = 1}, "ct_mark(0/0x1),eth()"},
};

static const char *port_name(uint32_t port, void *arg)
{
	assert_ptr_equal(arg, &masked);
	return port == 1 ? "vm1" : NULL;
}

static size_t format(char *buf, size_t size, const struct xv_flow_key *key, const struct xv_flow_key *mask)
{
	static const void *const arg = &masked;

	/* cmocka has no const for what it passes on */
	return xv_flow_format(buf, size, key, mask, port_name, (void *)(uintptr_t)arg);
}

static void with_mask(void **state)
{
	char text[XV_FLOW_TEXT_SIZE];

	for (size_t i = 0; i < sizeof(masked) / sizeof(masked[0]); i++) {
		assert_int_equal(format(text, sizeof(text), &masked[i].key, &masked[i].mask), strlen(masked[i].text));
		assert_string_equal(text, masked[i].text);
	}
}

static void whole_key(void **state)
{
	struct xv_flow_key key = {.in_port = 1,
				  .eth_src = MAC_A,
				  .eth_dst = MAC_B,
				  .eth_type = B16(0x800),
				  .ip_src = ADDR4(0x0a000001),
				  .ip_dst = ADDR4(0x0a000002),
				  .ip_proto = 6,
				  .ip_ttl = 64,
				  .tp_src = B16(8),
				  .tp_dst = B16(9),
				  .tcp_flags = B16(0x10)};
	char text[XV_FLOW_TEXT_SIZE];
	size_t len;

	format(text, sizeof(text), &key, NULL);
	assert_string_equal(text, "skb_priority(0),skb_mark(0),ct_state(0),ct_zone(0),ct_mark(0),ct_label(0),"
				  "recirc_id(0),dp_hash(0),in_port(vm1),packet_type(ns=0,id=0),"
				  "eth(src=02:00:00:00:00:0a,dst=02:00:00:00:00:0b),eth_type(0x0800),"
				  "ipv4(src=10.0.0.1,dst=10.0.0.2,proto=6,tos=0,ttl=64,frag=no),tcp(src=8,dst=9),"
				  "tcp_flags(ack)");
	/* No names: the number. */
	len = xv_flow_format(text, sizeof(text), &key, NULL, NULL, NULL);
	assert_int_equal(len, strlen(text));
	assert_non_null(strstr(text, "in_port(1),"));
}

/* Every size of the buffer: as much of the text as fits, with its end, and never a byte more. */
static void truncation(void **state)
{
	const struct format_case *c = &masked[5];
	size_t len = strlen(c->text), size;
	char *exact;

	assert_int_equal(format(NULL, 0, &c->key, &c->mask), len);
	for (size = 1; size <= len + 2; size++) {
		exact = malloc(size);
		assert_int_equal(format(exact, size, &c->key, &c->mask), len);
		assert_int_equal(strlen(exact), size <= len ? size - 1 : len);
		assert_memory_equal(exact, c->text, strlen(exact));
		free(exact);
	}
}

/* Whatever is in key and mask, which may be nonsense, the text fits the size that is promised. */
static void nonsense(void **state)
{
	static const uint16_t types[] = {0x800, 0x806, 0x86dd, 0x8847, 0x894f};
	static const uint8_t protos[] = {1, 2, 6, 17, 58, 132};
	char text[XV_FLOW_TEXT_SIZE];
	struct xv_flow_key key, mask;
	uint64_t random = 1;
	size_t longest = 0, len;

	for (unsigned int i = 0; i < 20000; i++) {
		for (size_t k = 0; k < sizeof(key); k++) {
			((uint8_t *)&key)[k] = (uint8_t)unit_random(&random, 256);
			((uint8_t *)&mask)[k] = (uint8_t)unit_random(&random, 256);
		}
		key.eth_type = rte_cpu_to_be_16(types[i % 5]);
		key.ip_proto = protos[unit_random(&random, 6)];
		if (i % 3 == 0)
			key.tp_src = B16(136), key.tp_dst = 0;
		if (i % 2 == 0)
			key.tun_options_len = 252;
		for (unsigned int k = 0; i % 4 == 0 && k < XV_FLOW_TUN_OPTIONS; k += 4)
			key.tun_options[k + 3] &= 0xe0; /* as many options as there can be */
		len = xv_flow_format(text, sizeof(text), &key, i % 2 ? &mask : NULL, NULL, NULL);
		assert_int_equal(len, strlen(text));
		if (len > longest)
			longest = len;
		len = xv_flow_format(text, sizeof(text), &key, &mask, NULL, NULL);
		assert_int_equal(len, strlen(text));
		if (len > longest)
			longest = len;
	}
	print_message("longest: %zu\n", longest);
	assert_true(longest < sizeof(text));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(with_mask),
		cmocka_unit_test(whole_key),
		cmocka_unit_test(truncation),
		cmocka_unit_test(nonsense),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
