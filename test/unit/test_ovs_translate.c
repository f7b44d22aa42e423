/* SPDX-License-Identifier: Apache-2.0 */
/* Netlink attributes of OVS into flow keys, masks and actions, and metadata back. */
#include "unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <linux/openvswitch.h>

#include "fastpath/action_format.h"
#include "fastpath/bond.h"
#include "ovs/actions.h"
#include "ovs/bonds.h"
#include "ovs/datapath.h"
#include "ovs/key.h"
#include "ovs/message.h"
#include "table/rcu.h"

/* A datapath with port 7, which is 3 for us, and 9, a VXLAN tunnel, which is 5. */
static struct xv_ovs_datapath *dp;
static struct xv_ovs_port port7 = {.number = 7, .id = 3};
static struct xv_ovs_port port9 = {.number = 9, .id = 5, .kind = XV_OVS_PORT_TUNNEL, .tunnel = XV_OVS_TUNNEL_VXLAN,
				   .udp_port = 4789};

static int setup(void **state)
{
	dp = calloc(1, sizeof(*dp));
	dp->by_number[7] = dp->by_id[3] = &port7;
	dp->by_number[9] = dp->by_id[5] = &port9;
	return xv_rcu_init();
}

static int teardown(void **state)
{
	free(dp);
	xv_rcu_fini();
	return 0;
}

#define PUT(m, type, ...) xv_ovs_put_attr(m, type, &(__VA_ARGS__), sizeof(__VA_ARGS__))

static struct xv_attrs attrs(const struct xv_ovs_message *m)
{
	return (struct xv_attrs){m->buf, m->len};
}

/* TCP from port 7; ones: the mask of all of it. */
static void put_tcp(struct xv_ovs_message *m, bool ones)
{
	const uint32_t recirc = ones ? UINT32_MAX : 5, in_port = ones ? UINT32_MAX : 7;
	struct ovs_key_ipv4 ip = {.ipv4_src = RTE_BE32(0x0a000001), .ipv4_dst = RTE_BE32(0x0a000002), .ipv4_proto = 6};
	struct ovs_key_tcp tcp = {.tcp_src = RTE_BE16(1024), .tcp_dst = RTE_BE16(80)};
	rte_be16_t type = ones ? RTE_BE16(0xffff) : RTE_BE16(0x0800);

	if (ones) {
		memset(&ip, 0xff, sizeof(ip));
		ip.ipv4_tos = ip.ipv4_ttl = 0;
		tcp.tcp_src = 0;
		tcp.tcp_dst = RTE_BE16(0xffff);
	}
	PUT(m, OVS_KEY_ATTR_RECIRC_ID, recirc);
	PUT(m, OVS_KEY_ATTR_IN_PORT, in_port);
	PUT(m, OVS_KEY_ATTR_ETHERTYPE, type);
	PUT(m, OVS_KEY_ATTR_IPV4, ip);
	PUT(m, OVS_KEY_ATTR_TCP, tcp);
}

static void test_match(void **state)
{
	struct xv_ovs_message key = {0}, mask = {0};
	struct xv_flow_key k, m;
	const char *why = "";

	put_tcp(&key, false);
	put_tcp(&mask, true);
	assert_int_equal(xv_ovs_match_parse(dp, attrs(&key), attrs(&mask), &k, &m, &why), 0);
	assert_int_equal(k.in_port, 3);
	assert_int_equal(m.in_port, UINT32_MAX);
	assert_int_equal(k.recirc_id, 5);
	assert_int_equal(k.ip_src.words[3], RTE_BE32(0x0a000001));
	assert_int_equal(m.ip_frag, 0xff);
	assert_int_equal(m.ip_ttl, 0);
	assert_int_equal(m.tp_src, 0);
	assert_int_equal(m.tp_dst, RTE_BE16(0xffff));
	/* No VLAN attribute: it has no tag, and that is compared. */
	assert_int_equal(k.vlan[0].tci, 0);
	assert_int_equal(m.vlan[0].tci, RTE_BE16(0xffff));
	/* Without a mask all that is said is compared. */
	assert_int_equal(xv_ovs_match_parse(dp, attrs(&key), (struct xv_attrs){0}, &k, &m, &why), 0);
	assert_int_equal(m.ip_ttl, 0xff);
	assert_int_equal(m.tp_src, RTE_BE16(0xffff));
	xv_ovs_message_free(&key);
	xv_ovs_message_free(&mask);
}

static void test_vlan(void **state)
{
	const rte_be16_t tpid = RTE_BE16(0x8100), tci = RTE_BE16(0x100a), arp = RTE_BE16(0x0806), ones = RTE_BE16(0xffff);
	struct xv_ovs_message key = {0}, mask = {0};
	struct xv_flow_key k, m;
	const char *why = "";
	uint32_t at;

	PUT(&key, OVS_KEY_ATTR_ETHERTYPE, tpid);
	PUT(&key, OVS_KEY_ATTR_VLAN, tci);
	at = xv_ovs_open_attr(&key, OVS_KEY_ATTR_ENCAP);
	PUT(&key, OVS_KEY_ATTR_ETHERTYPE, arp);
	xv_ovs_close_attr(&key, at);
	PUT(&mask, OVS_KEY_ATTR_ETHERTYPE, ones);
	PUT(&mask, OVS_KEY_ATTR_VLAN, ones);
	at = xv_ovs_open_attr(&mask, OVS_KEY_ATTR_ENCAP);
	PUT(&mask, OVS_KEY_ATTR_ETHERTYPE, ones);
	xv_ovs_close_attr(&mask, at);
	assert_int_equal(xv_ovs_match_parse(dp, attrs(&key), attrs(&mask), &k, &m, &why), 0);
	assert_int_equal(k.vlan[0].tpid, tpid);
	assert_int_equal(k.vlan[0].tci, tci);
	assert_int_equal(k.eth_type, arp);
	assert_int_equal(m.vlan[1].tci, ones); /* one tag, not two */
	xv_ovs_message_free(&key);

	/* OVS looked at one tag only: what is behind the second is not compared. */
	key = (struct xv_ovs_message){0};
	PUT(&key, OVS_KEY_ATTR_ETHERTYPE, tpid);
	PUT(&key, OVS_KEY_ATTR_VLAN, tci);
	at = xv_ovs_open_attr(&key, OVS_KEY_ATTR_ENCAP);
	PUT(&key, OVS_KEY_ATTR_ETHERTYPE, tpid);
	xv_ovs_close_attr(&key, at);
	assert_int_equal(xv_ovs_match_parse(dp, attrs(&key), attrs(&mask), &k, &m, &why), 0);
	assert_int_equal(k.vlan[1].tpid, tpid);
	assert_int_equal(m.vlan[1].tci, 0);
	assert_int_equal(m.eth_type, 0);
	xv_ovs_message_free(&key);

	/* No Ethernet type at all: 802.3. */
	key = (struct xv_ovs_message){0};
	assert_int_equal(xv_ovs_match_parse(dp, attrs(&key), attrs(&mask), &k, &m, &why), 0);
	assert_int_equal(k.in_port, XV_FLOW_PORT_NONE);
	xv_ovs_message_free(&mask);
}

/* Cut off anywhere, or with any byte changed: an answer, and nothing read beyond the end (sanitizers look). */
static void test_broken(void **state)
{
	struct xv_ovs_message key = {0};
	struct xv_flow_key k, m;
	const char *why = "";
	uint64_t seed = 1;
	uint32_t len, i;

	put_tcp(&key, false);
	for (i = 0; i < 20000; i++) {
		uint8_t *copy;
		int rc;

		len = i <= key.len ? i : key.len;
		copy = malloc(len + 1);
		memcpy(copy, key.buf, len);
		if (i > key.len)
			copy[unit_random(&seed, len)] = (uint8_t)unit_random(&seed, 256);
		rc = xv_ovs_match_parse(dp, (struct xv_attrs){copy, len}, (struct xv_attrs){0}, &k, &m, &why);
		assert_true(rc == 0 || rc == -EINVAL);
		free(copy);
	}
	xv_ovs_message_free(&key);
}

static void test_metadata(void **state)
{
	struct xv_flow_key key = {.recirc_id = 9, .in_port = 3, .ct_state = 0x22, .ct_zone = 4, .ct_mark = 8, .ct_label = {1, 2},
				  .ct_proto = 6, .eth_type = RTE_BE16(0x0800), .tun_id = RTE_BE64(77),
				  .tun_flags = XV_TUN_KEY | XV_TUN_DF, .tun_ttl = 64};
	struct xv_flow_key back = {0};
	struct xv_ovs_message m = {0};
	const char *why = "";

	key.ct_src.words[3] = RTE_BE32(0x0a000001);
	key.tun_dst.words[3] = RTE_BE32(0xac100001);
	xv_ovs_put_metadata(&m, dp, &key);
	assert_int_equal(xv_ovs_key_parse(dp, attrs(&m), false, &back, &why), 0);
	back.eth_type = key.eth_type;
	assert_memory_equal(&back, &key, sizeof(key));
	xv_ovs_message_free(&m);
}

/* ---- Actions ---- */

static const char *translated(struct xv_ovs_message *m)
{
	static char text[1024];
	struct xv_ovs_message key = {0};
	struct xv_flow_key k, mask;
	struct xv_actions *actions;
	struct xv_err err = {0};
	const char *why = "";
	int rc;

	put_tcp(&key, false);
	assert_int_equal(xv_ovs_match_parse(dp, attrs(&key), (struct xv_attrs){0}, &k, &mask, &why), 0);
	rc = xv_ovs_actions_parse(dp, attrs(m), &k, &mask, &actions, &err);
	if (rc == 0)
		(void)xv_actions_format(text, sizeof(text), actions, &k, NULL, NULL);
	else
		snprintf(text, sizeof(text), "%s", err.text);
	free(actions);
	xv_ovs_message_free(&key);
	xv_ovs_message_free(m);
	*m = (struct xv_ovs_message){0};
	return text;
}

static void test_actions(void **state)
{
	const uint32_t out = 7, nowhere = 8, recirc = 6, half = UINT32_MAX / 2;
	const struct ovs_action_push_vlan vlan = {RTE_BE16(0x8100), RTE_BE16(0x1005)};
	struct ovs_key_tcp tcp[2] = {{.tcp_dst = RTE_BE16(8080)}, {.tcp_dst = RTE_BE16(0xffff)}};
	const struct ovs_nsh_key_base nsh = {.ttl = 63, .mdtype = 1, .path_hdr = RTE_BE32(0x001234ff)};
	const struct ovs_nsh_key_md1 context = {.context = {1, 2, 3, 4}};
	const uint16_t zone = 3, len = 1400;
	struct xv_ovs_message m = {0};
	uint32_t at, inner;

	PUT(&m, OVS_ACTION_ATTR_PUSH_VLAN, vlan);
	PUT(&m, OVS_ACTION_ATTR_OUTPUT, out);
	assert_string_equal(translated(&m), "push_vlan(vid=5,pcp=0),output(3)");

	at = xv_ovs_open_attr(&m, OVS_ACTION_ATTR_SET_MASKED);
	PUT(&m, OVS_KEY_ATTR_TCP, tcp);
	xv_ovs_close_attr(&m, at);
	PUT(&m, OVS_ACTION_ATTR_OUTPUT, out);
	assert_non_null(strstr(translated(&m), "8080"));

	at = xv_ovs_open_attr(&m, OVS_ACTION_ATTR_CT);
	xv_ovs_put_attr(&m, OVS_CT_ATTR_COMMIT, NULL, 0);
	PUT(&m, OVS_CT_ATTR_ZONE, zone);
	inner = xv_ovs_open_attr(&m, OVS_CT_ATTR_NAT);
	xv_ovs_put_attr(&m, OVS_NAT_ATTR_SRC, NULL, 0);
	xv_ovs_close_attr(&m, inner);
	xv_ovs_close_attr(&m, at);
	PUT(&m, OVS_ACTION_ATTR_RECIRC, recirc);
	assert_string_equal(translated(&m), "ct(commit,zone=3,nat(src)),recirc(0x6)");

	/* A recirculation that is not the last is one of a copy. */
	PUT(&m, OVS_ACTION_ATTR_RECIRC, recirc);
	PUT(&m, OVS_ACTION_ATTR_OUTPUT, out);
	assert_string_equal(translated(&m), "clone(recirc(0x6)),output(3)");

	at = xv_ovs_open_attr(&m, OVS_ACTION_ATTR_SAMPLE);
	PUT(&m, OVS_SAMPLE_ATTR_PROBABILITY, half);
	inner = xv_ovs_open_attr(&m, OVS_SAMPLE_ATTR_ACTIONS);
	PUT(&m, OVS_ACTION_ATTR_OUTPUT, out);
	xv_ovs_close_attr(&m, inner);
	xv_ovs_close_attr(&m, at);
	assert_non_null(strstr(translated(&m), "sample"));

	at = xv_ovs_open_attr(&m, OVS_ACTION_ATTR_CHECK_PKT_LEN);
	PUT(&m, OVS_CHECK_PKT_LEN_ATTR_PKT_LEN, len);
	xv_ovs_put_attr(&m, OVS_CHECK_PKT_LEN_ATTR_ACTIONS_IF_GREATER, NULL, 0);
	inner = xv_ovs_open_attr(&m, OVS_CHECK_PKT_LEN_ATTR_ACTIONS_IF_LESS_EQUAL);
	PUT(&m, OVS_ACTION_ATTR_OUTPUT, out);
	xv_ovs_close_attr(&m, inner);
	xv_ovs_close_attr(&m, at);
	assert_non_null(strstr(translated(&m), "1400"));

	/* NSH: the field of a key inside. */
	at = xv_ovs_open_attr(&m, OVS_ACTION_ATTR_PUSH_NSH);
	inner = xv_ovs_open_attr(&m, OVS_KEY_ATTR_NSH);
	PUT(&m, OVS_NSH_KEY_ATTR_BASE, nsh);
	PUT(&m, OVS_NSH_KEY_ATTR_MD1, context);
	xv_ovs_close_attr(&m, inner);
	xv_ovs_close_attr(&m, at);
	PUT(&m, OVS_ACTION_ATTR_OUTPUT, out);
	assert_non_null(strstr(translated(&m), "push_nsh(flags=0,ttl=63,mdtype=1,spi=0x1234,si=255"));

	/* A port that is gone: a drop with a reason. */
	PUT(&m, OVS_ACTION_ATTR_OUTPUT, nowhere);
	assert_non_null(strstr(translated(&m), "drop"));
}

static void test_hashes(void **state)
{
	const struct ovs_action_hash l4 = {.hash_basis = 3}, symmetric = {.hash_alg = 1, .hash_basis = 4};
	const uint32_t recirc = 5;
	struct xv_ovs_message m = {0};

	PUT(&m, OVS_ACTION_ATTR_HASH, l4);
	PUT(&m, OVS_ACTION_ATTR_HASH, symmetric);
	PUT(&m, OVS_ACTION_ATTR_RECIRC, recirc);
	assert_string_equal(translated(&m), "hash(hash_l4(3)),hash(sym_l4(4)),recirc(0x5)");
}

/* A bond's members are ports by number, and follow them; whoever asks for one that is not there drops. */
static void test_bonds(void **state)
{
	uint32_t members[XV_OVS_BOND_BUCKETS], number, i;
	struct xv_ovs_message m = {0}, set = {0}, answer = {0};
	const struct xv_ovs_item *sent;
	const uint32_t bond = 70000;

	for (i = 0; i < XV_OVS_BOND_BUCKETS; i++)
		members[i] = i % 2 ? 7 : 8; /* 8 is not there */
	PUT(&m, XV_OVS_ACTION_LB_OUTPUT, bond);
	assert_non_null(strstr(translated(&m), "drop"));
	assert_int_equal(xv_ovs_bond_set(dp, set.buf, set.len), -EINVAL);
	xv_ovs_put_u32(&set, XV_OVS_BOND, bond);
	xv_ovs_put(&set, XV_OVS_MEMBERS, members, sizeof(members) - 4);
	assert_int_equal(xv_ovs_bond_set(dp, set.buf, set.len), -EINVAL);
	set.len = 0;
	xv_ovs_put_u32(&set, XV_OVS_BOND, bond);
	xv_ovs_put(&set, XV_OVS_MEMBERS, members, sizeof(members));
	assert_int_equal(xv_ovs_bond_set(dp, set.buf, set.len), 0);
	PUT(&m, XV_OVS_ACTION_LB_OUTPUT, bond);
	assert_non_null(strstr(translated(&m), "bond("));
	assert_true(xv_ovs_bond_number(dp, bond, &number));
	assert_int_equal(xv_bond_member(number, 1), 3);
	assert_int_equal(xv_bond_member(number, 256), XV_MAX_PORTS);
	dp->by_number[7] = NULL;
	xv_ovs_bonds_ports_changed(dp);
	assert_int_equal(xv_bond_member(number, 1), XV_MAX_PORTS);
	dp->by_number[7] = dp->by_number[8] = &port7;
	assert_int_equal(xv_ovs_bond_set(dp, set.buf, set.len), 0);
	assert_int_equal(xv_bond_member(number, 256), 3);
	dp->by_number[8] = NULL;
	assert_int_equal(xv_ovs_bond_stats(dp, set.buf, set.len, &answer), 0);
	sent = xv_ovs_find(answer.buf, answer.len, XV_OVS_SENT);
	assert_non_null(sent);
	assert_int_equal(sent->len, XV_OVS_BOND_BUCKETS * sizeof(uint64_t));
	assert_int_equal(xv_ovs_bond_del(dp, set.buf, set.len), 0);
	assert_int_equal(xv_ovs_bond_del(dp, set.buf, set.len), -ENOENT);
	assert_int_equal(xv_ovs_bond_stats(dp, set.buf, set.len, &answer), -ENOENT);
	assert_int_equal(xv_bond_member(number, 1), XV_MAX_PORTS);
	xv_ovs_message_free(&set);
	xv_ovs_message_free(&answer);
}

static void test_refused(void **state)
{
	const struct ovs_action_hash hash = {.hash_alg = 2};
	const uint32_t pop = 7;
	struct xv_ovs_message m = {0};

	PUT(&m, OVS_ACTION_ATTR_HASH, hash);
	assert_non_null(strstr(translated(&m), "of another kind"));
	PUT(&m, XV_OVS_ACTION_TUNNEL_POP, pop);
	assert_non_null(strstr(translated(&m), "no tunnel port"));
	xv_ovs_put_attr(&m, OVS_ACTION_ATTR_OUTPUT, "", 1);
	assert_non_null(strstr(translated(&m), "malformed"));
}

/* VXLAN in IPv4, as OVS gives it: the attribute ends with the headers. */
static void test_tunnels(void **state)
{
	struct xv_ovs_tunnel_push push = {.tnl_port = 9, .out_port = 7};
	const uint32_t out = 7, pop = 9;
	struct xv_ovs_message m = {0};

	push.header_len = unit_hex("020000000001 020000000002 0800 4500 0000 0000 4000 4011 0000 ac100001 ac100002"
				   "0000 12b5 0000 0000 08000000 00002a00",
				   push.header, sizeof(push.header));
	xv_ovs_put_attr(&m, XV_OVS_ACTION_TUNNEL_PUSH, &push,
			(uint32_t)offsetof(struct xv_ovs_tunnel_push, header) + push.header_len);
	PUT(&m, OVS_ACTION_ATTR_OUTPUT, out);
	assert_non_null(strstr(translated(&m), ",output(3)"));
	push.header_len--;
	xv_ovs_put_attr(&m, XV_OVS_ACTION_TUNNEL_PUSH, &push,
			(uint32_t)offsetof(struct xv_ovs_tunnel_push, header) + push.header_len);
	assert_non_null(strstr(translated(&m), "headers"));
	PUT(&m, XV_OVS_ACTION_TUNNEL_POP, pop);
	assert_string_equal(translated(&m), "tnl_pop(output(5))");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_match),	 cmocka_unit_test(test_vlan),	 cmocka_unit_test(test_broken),
		cmocka_unit_test(test_metadata), cmocka_unit_test(test_actions), cmocka_unit_test(test_refused),
		cmocka_unit_test(test_tunnels),	 cmocka_unit_test(test_hashes),	 cmocka_unit_test(test_bonds),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
