/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fastpath/policy.h"
#include "fastpath/policy_state.h"

#define OTHERWISE UINT32_MAX

/* ---- The obvious matcher ---- */

static uint16_t host16(rte_be16_t v)
{
	return rte_be_to_cpu_16(v);
}

static bool prefix_matches(const uint8_t *a, const uint8_t *b, unsigned int len)
{
	unsigned int i;

	for (i = 0; i < len; i++)
		if (((a[i / 8] ^ b[i / 8]) & 0x80 >> i % 8) != 0)
			return false;
	return true;
}

static bool mac_matches(const uint8_t *mac, const uint8_t *value, const uint8_t *mask)
{
	unsigned int i;

	for (i = 0; i < 6; i++)
		if (((mac[i] ^ value[i]) & mask[i]) != 0)
			return false;
	return true;
}

static bool rule_matches(const struct xv_policy_rule *r, const struct xv_flow_key *k)
{
	uint16_t type = host16(k->eth_type), src = host16(k->tp_src), dst = host16(k->tp_dst);
	unsigned int version = type == 0x0800 ? 4 : type == 0x86dd ? 6 : 0, begin = version == 4 ? 12 : 0;
	bool ports = r->src_port_min > 0 || r->src_port_max < 65535 || r->dst_port_min > 0 || r->dst_port_max < 65535;

	if (r->ip_version != 0 && r->ip_version != version)
		return false;
	if (r->has_proto && (version == 0 || k->ip_proto != r->proto))
		return false;
	if (!prefix_matches(k->ip_src.bytes + begin, r->src.bytes + begin, r->src_len) ||
	    !prefix_matches(k->ip_dst.bytes + begin, r->dst.bytes + begin, r->dst_len))
		return false;
	if (ports) {
		if (version == 0 || k->ip_frag == XV_FRAG_LATER || (src == 0 && dst == 0))
			return false;
		if (k->ip_proto != 6 && k->ip_proto != 17 && k->ip_proto != 132)
			return false;
		if (src < r->src_port_min || src > r->src_port_max || dst < r->dst_port_min || dst > r->dst_port_max)
			return false;
	}
	if (r->icmp_type >= 0 || r->icmp_code >= 0) {
		if (version == 0 || k->ip_frag == XV_FRAG_LATER || k->ip_proto != (version == 4 ? 1 : 58))
			return false;
		if ((r->icmp_type >= 0 && src != r->icmp_type) || (r->icmp_code >= 0 && dst != r->icmp_code))
			return false;
	}
	if (r->vlan >= 0 && (host16(k->vlan[0].tci) & 0xfff) != r->vlan)
		return false;
	if (r->eth_type != 0 && r->eth_type != type)
		return false;
	return mac_matches(k->eth_src, r->eth_src, r->eth_src_mask) &&
	       mac_matches(k->eth_dst, r->eth_dst, r->eth_dst_mask);
}

static uint32_t model_check(const struct xv_policy_rule *rules, unsigned int n, const struct xv_flow_key *k)
{
	unsigned int i;

	for (i = 0; i < n; i++)
		if (rule_matches(&rules[i], k))
			return i;
	return OTHERWISE;
}

/* ---- Random rules and keys, from few values so that they meet ---- */

static uint64_t seed;

static bool chance(unsigned int percent)
{
	return unit_random(&seed, 100) < percent;
}

static uint16_t random_port(void)
{
	static const uint16_t some[] = {0, 1, 22, 79, 80, 90, 443, 1023, 1024, 32768, 65534, 65535};

	return chance(90) ? some[unit_random(&seed, 12)] : (uint16_t)unit_random(&seed, 65536);
}

static uint8_t random_proto(void)
{
	static const uint8_t some[] = {0, 1, 6, 17, 47, 58, 132, 136};

	return some[unit_random(&seed, 8)];
}

static uint16_t random_eth_type(void)
{
	static const uint16_t some[] = {0x0800, 0x0800, 0x86dd, 0x86dd, 0x0806, 0x8847, 0x05ff};

	return some[unit_random(&seed, 7)];
}

static void random_mac(uint8_t mac[6])
{
	memset(mac, 0, 6);
	mac[0] = (uint8_t)(2 * unit_random(&seed, 2));
	mac[3] = (uint8_t)unit_random(&seed, 2);
	mac[5] = (uint8_t)unit_random(&seed, 3);
}

static void random_mac_mask(uint8_t mask[6])
{
	static const uint8_t some[][6] = {
		{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, {0xff, 0xff, 0xff}, {0, 0, 0, 0xff, 0, 1}, {2}};

	memcpy(mask, some[unit_random(&seed, 4)], 6);
}

static void random_addr(union xv_ip_addr *a, unsigned int version)
{
	uint8_t *bytes = version == 4 ? &a->bytes[12] : a->bytes;

	memset(a, 0, sizeof(*a));
	bytes[0] = version == 4 ? 10 : 0x20;
	bytes[1] = (uint8_t)unit_random(&seed, 2);
	bytes[2] = (uint8_t)(unit_random(&seed, 4) << 6);
	a->bytes[15] = (uint8_t)unit_random(&seed, 4);
}

static void random_range(uint16_t *min, uint16_t *max)
{
	uint16_t a = random_port(), b = chance(50) ? a : random_port();

	*min = a < b ? a : b;
	*max = a < b ? b : a;
}

static void random_rule(struct xv_policy_rule *r)
{
	static const uint8_t lens4[] = {0, 1, 8, 15, 17, 24, 30, 31, 32}, lens6[] = {0, 3, 16, 17, 64, 126, 128};

	xv_policy_rule_init(r);
	r->verdict = chance(50) ? XV_POLICY_ALLOW : XV_POLICY_DENY;
	if (chance(70)) {
		bool is_v4 = chance(50);

		r->ip_version = is_v4 ? 4 : 6;
		random_addr(&r->src, r->ip_version);
		random_addr(&r->dst, r->ip_version);
		r->src_len = is_v4 ? lens4[unit_random(&seed, 9)] : lens6[unit_random(&seed, 7)];
		r->dst_len = is_v4 ? lens4[unit_random(&seed, 9)] : lens6[unit_random(&seed, 7)];
	}
	r->has_proto = chance(40);
	if (r->has_proto)
		r->proto = random_proto();
	if (chance(40)) {
		if (chance(70))
			random_range(&r->src_port_min, &r->src_port_max);
		if (chance(70))
			random_range(&r->dst_port_min, &r->dst_port_max);
	} else if (chance(20)) {
		r->icmp_type = chance(80) ? (int16_t)(unit_random(&seed, 2) * 8) : -1;
		r->icmp_code = chance(30) ? (int16_t)unit_random(&seed, 2) : -1;
	}
	if (chance(15))
		r->vlan = (int32_t)unit_random(&seed, 3) * 100;
	if (chance(15)) {
		random_mac(r->eth_src);
		random_mac_mask(r->eth_src_mask);
	}
	if (chance(15)) {
		random_mac(r->eth_dst);
		random_mac_mask(r->eth_dst_mask);
	}
	if (chance(10))
		r->eth_type = random_eth_type();
}

static void random_key(struct xv_flow_key *k)
{
	unsigned int version;

	memset(k, 0, sizeof(*k));
	k->in_port = unit_random(&seed, 4);
	random_mac(k->eth_src);
	random_mac(k->eth_dst);
	k->eth_type = rte_cpu_to_be_16(random_eth_type());
	if (chance(50)) {
		k->vlan[0].tpid = RTE_BE16(0x8100);
		k->vlan[0].tci = rte_cpu_to_be_16(
			(uint16_t)(unit_random(&seed, 3) * 100 | 0x1000 | unit_random(&seed, 8) << 13));
	}
	version = host16(k->eth_type) == 0x0800 ? 4 : host16(k->eth_type) == 0x86dd ? 6 : 0;
	if (host16(k->eth_type) == 0x0806) {
		random_addr(&k->ip_src, 4);
		random_addr(&k->ip_dst, 4);
		k->ip_proto = 1;
	}
	if (version == 0)
		return;
	random_addr(&k->ip_src, version);
	random_addr(&k->ip_dst, version);
	k->ip_proto = random_proto();
	k->ip_ttl = 64;
	k->ip_frag = (uint8_t)(chance(80) ? XV_FRAG_NONE : unit_random(&seed, 3));
	if (k->ip_frag == XV_FRAG_LATER)
		return;
	if (k->ip_proto == 6 || k->ip_proto == 17 || k->ip_proto == 132) {
		k->tp_src = rte_cpu_to_be_16(random_port());
		k->tp_dst = rte_cpu_to_be_16(random_port());
	} else if (k->ip_proto == (version == 4 ? 1 : 58)) {
		k->tp_src = rte_cpu_to_be_16((uint16_t)(unit_random(&seed, 3) * 4));
		k->tp_dst = rte_cpu_to_be_16((uint16_t)unit_random(&seed, 3));
	}
}

/* A key that is the same as k under mask; the rest is from another packet, with some bits flipped. */
static void other_key(const struct xv_flow_key *k, const struct xv_flow_key *mask, struct xv_flow_key *out)
{
	uint64_t a[XV_FLOW_WORDS], m[XV_FLOW_WORDS], o[XV_FLOW_WORDS];
	unsigned int i, flips = unit_random(&seed, 8);

	random_key(out);
	memcpy(a, k, sizeof(a));
	memcpy(m, mask, sizeof(m));
	memcpy(o, out, sizeof(o));
	for (i = 0; i < flips; i++)
		o[unit_random(&seed, XV_FLOW_FIXED_WORDS)] ^= UINT64_C(1) << unit_random(&seed, 64);
	if (chance(10))
		for (i = 0; i < XV_FLOW_FIXED_WORDS; i++)
			o[i] = (uint64_t)unit_random(&seed, UINT32_MAX) << 32 | unit_random(&seed, UINT32_MAX);
	for (i = 0; i < XV_FLOW_WORDS; i++)
		o[i] = (a[i] & m[i]) | (o[i] & ~m[i]);
	memcpy(out, o, sizeof(o));
}

#define MAX_RULES 300

static void random_policies(void **state)
{
	static struct xv_policy_rule rules[MAX_RULES];
	unsigned int policy, i, t, hits = 0, misses = 0, compared = 0;

	seed = 1;
	for (policy = 0; policy < 1500; policy++) {
		unsigned int n = chance(70) ? unit_random(&seed, 12) : unit_random(&seed, MAX_RULES + 1);
		enum xv_verdict otherwise = chance(50) ? XV_POLICY_ALLOW : XV_POLICY_DENY;
		struct xv_policy *p;

		for (i = 0; i < n; i++)
			random_rule(&rules[i]);
		assert_int_equal(xv_policy_create("random", rules, n, otherwise, &p), 0);
		for (i = 0; i < 100; i++) {
			struct xv_flow_key key, other, mask, unused;
			uint32_t rule, want;
			enum xv_verdict verdict;

			random_key(&key);
			memset(&mask, 0, sizeof(mask));
			memset(&unused, 0, sizeof(unused));
			want = model_check(rules, n, &key);
			/* The plain twin, too, which is not the one that is chosen on most machines. */
			xv_policy_choose_scan(p, true);
			xv_policy_check(p, &key, &unused, &rule);
			assert_int_equal(rule, want);
			xv_policy_choose_scan(p, false);
			verdict = xv_policy_check(p, &key, &mask, &rule);
			assert_int_equal(rule, want);
			assert_int_equal(verdict, want == OTHERWISE ? otherwise : rules[want].verdict);
			hits += want != OTHERWISE;
			misses += want == OTHERWISE;
			for (t = 0; t < 10; t++) {
				other_key(&key, &mask, &other);
				compared += memcmp(&key, &other, sizeof(key)) != 0;
				assert_int_equal(model_check(rules, n, &other), want);
				memset(&unused, 0, sizeof(unused));
				assert_int_equal(xv_policy_check(p, &other, &unused, &rule), verdict);
				assert_int_equal(rule, want);
			}
		}
		xv_policy_destroy(p);
	}
	/* The test has tested something. */
	assert_true(hits > 30000 && misses > 10000 && compared > 1000000);
}

/* Each single rule of one key and of its neighbours: what is at the ends of the blocks of 64 too. */
static void every_position(void **state)
{
	static struct xv_policy_rule rules[200];
	unsigned int n, i;

	for (i = 0; i < 200; i++) {
		xv_policy_rule_init(&rules[i]);
		rules[i].verdict = i % 2 == 0 ? XV_POLICY_ALLOW : XV_POLICY_DENY;
		rules[i].has_proto = true;
		rules[i].proto = 17;
		rules[i].dst_port_min = rules[i].dst_port_max = (uint16_t)(i + 1);
	}
	for (n = 0; n <= 200; n++) {
		struct xv_policy *p;

		assert_int_equal(xv_policy_create("each", rules, n, XV_POLICY_ALLOW, &p), 0);
		for (i = 0; i < 202; i++) {
			struct xv_flow_key mask = {0}, key = {.eth_type = RTE_BE16(0x86dd), .ip_proto = 17};
			uint32_t rule;
			enum xv_verdict v;

			key.tp_dst = rte_cpu_to_be_16((uint16_t)(i + 1));
			v = xv_policy_check(p, &key, &mask, &rule);
			assert_int_equal(rule, i < n ? i : OTHERWISE);
			assert_int_equal(v, i >= n || i % 2 == 0 ? XV_POLICY_ALLOW : XV_POLICY_DENY);
		}
		xv_policy_destroy(p);
	}
}

/* ---- What the mask leaves out ---- */

static struct xv_flow_key tcp_key(uint16_t dst_port)
{
	struct xv_flow_key key = {.eth_type = RTE_BE16(0x0800), .ip_proto = 6, .tp_src = RTE_BE16(5)};

	key.ip_src.words[3] = RTE_BE32(0x0a000001);
	key.ip_dst.words[3] = RTE_BE32(0x0a010203);
	key.tp_dst = rte_cpu_to_be_16(dst_port);
	return key;
}

static void mask_of(const struct xv_policy_rule *rules, unsigned int n, const struct xv_flow_key *key, uint32_t want,
		    struct xv_flow_key *mask)
{
	struct xv_policy *p;
	uint32_t rule;

	memset(mask, 0, sizeof(*mask));
	assert_int_equal(xv_policy_create("mask", rules, n, XV_POLICY_DENY, &p), 0);
	xv_policy_check(p, key, mask, &rule);
	assert_int_equal(rule, want);
	xv_policy_destroy(p);
}

static void masks(void **state)
{
	struct xv_flow_key key = tcp_key(80), mask, zero, want;
	struct xv_policy_rule rules[3];
	unsigned int i;

	memset(&zero, 0, sizeof(zero));
	for (i = 0; i < 3; i++)
		xv_policy_rule_init(&rules[i]);
	/* No rules, or one that matches everything: nothing is looked at. */
	mask_of(rules, 0, &key, OTHERWISE, &mask);
	assert_memory_equal(&mask, &zero, sizeof(mask));
	rules[1].ip_version = 4;
	rules[1].src_len = 32;
	mask_of(rules, 2, &key, 0, &mask);
	assert_memory_equal(&mask, &zero, sizeof(mask));
	/* Behind a rule about IPv6 only the type counts. */
	rules[0].ip_version = 6;
	rules[0].src_len = 128;
	rules[1].src_len = 0;
	want = zero;
	want.eth_type = UINT16_MAX;
	mask_of(rules, 2, &key, 1, &mask);
	assert_memory_equal(&mask, &want, sizeof(mask));
	/* Of a rule that does not match, one thing that does not: the address, in the bits of its prefix ... */
	rules[1].dst_len = 15;
	rules[1].has_proto = true;
	rules[1].proto = 6;
	rules[1].dst_port_min = 1024;
	want.ip_dst.words[3] = RTE_BE32(0xfffe0000);
	mask_of(rules, 2, &key, OTHERWISE, &mask);
	assert_memory_equal(&mask, &want, sizeof(mask));
	mask_of(rules, 3, &key, 2, &mask);
	assert_memory_equal(&mask, &want, sizeof(mask));
	/* ... or the port, in the bits that decide about the range ... */
	rules[1].dst.words[3] = RTE_BE32(0x0a000000);
	want.ip_dst.words[3] = 0;
	want.tp_dst = RTE_BE16(0xfc00);
	mask_of(rules, 3, &key, 2, &mask);
	assert_memory_equal(&mask, &want, sizeof(mask));
	/* ... or that there are ports at all: later fragments, and ports that are both zero. */
	rules[1].dst_port_min = 0;
	rules[1].dst_port_max = 255;
	key.ip_frag = XV_FRAG_LATER;
	key.tp_src = key.tp_dst = 0;
	want.ip_proto = want.ip_frag = UINT8_MAX;
	want.tp_src = want.tp_dst = UINT16_MAX;
	mask_of(rules, 3, &key, 2, &mask);
	assert_memory_equal(&mask, &want, sizeof(mask));
	/* All that the rule looks at which matches. */
	key = tcp_key(80);
	want.ip_dst.words[3] = RTE_BE32(0xfffe0000);
	mask_of(rules, 3, &key, 1, &mask);
	assert_memory_equal(&mask, &want, sizeof(mask));
	/* What was in the mask stays. */
	{
		struct xv_policy *p;
		uint32_t rule;

		assert_int_equal(xv_policy_create("mask", rules, 3, XV_POLICY_DENY, &p), 0);
		mask = zero;
		mask.in_port = mask.tp_src = 0x1234;
		xv_policy_check(p, &key, &mask, &rule);
		want.in_port = 0x1234;
		assert_memory_equal(&mask, &want, sizeof(mask));
		xv_policy_destroy(p);
	}
}

/* ---- What the header promises of packets without ports ---- */

static uint32_t decide(const struct xv_policy_rule *r, const struct xv_flow_key *key)
{
	struct xv_flow_key mask;
	struct xv_policy *p;
	uint32_t rule;

	assert_int_equal(xv_policy_create("one", r, 1, XV_POLICY_DENY, &p), 0);
	memset(&mask, 0, sizeof(mask));
	xv_policy_check(p, key, &mask, &rule);
	xv_policy_destroy(p);
	return rule;
}

static void fragments(void **state)
{
	struct xv_flow_key key = tcp_key(80);
	struct xv_policy_rule r;

	xv_policy_rule_init(&r);
	r.dst_port_max = 100;
	assert_int_equal(decide(&r, &key), 0);
	key.ip_frag = XV_FRAG_FIRST;
	assert_int_equal(decide(&r, &key), 0);
	key.ip_frag = XV_FRAG_LATER;
	key.tp_src = key.tp_dst = 0;
	assert_int_equal(decide(&r, &key), OTHERWISE);
	/* The header is cut off. */
	key.ip_frag = XV_FRAG_FIRST;
	assert_int_equal(decide(&r, &key), OTHERWISE);
	key.ip_frag = XV_FRAG_NONE;
	assert_int_equal(decide(&r, &key), OTHERWISE);
	key.tp_src = RTE_BE16(1);
	assert_int_equal(decide(&r, &key), 0);
	/* Other protocols have no ports, whatever the key holds. */
	key.ip_proto = 47;
	assert_int_equal(decide(&r, &key), OTHERWISE);
	/* ICMP has no ports, and its zeroes are an echo reply. */
	key.ip_proto = 1;
	key.tp_src = 0;
	assert_int_equal(decide(&r, &key), OTHERWISE);
	xv_policy_rule_init(&r);
	r.icmp_type = 0;
	assert_int_equal(decide(&r, &key), 0);
	key.ip_frag = XV_FRAG_LATER;
	assert_int_equal(decide(&r, &key), OTHERWISE);
	key.ip_frag = XV_FRAG_NONE;
	key.ip_proto = 58;
	assert_int_equal(decide(&r, &key), OTHERWISE);
	key.eth_type = RTE_BE16(0x86dd);
	assert_int_equal(decide(&r, &key), 0);
	/* ARP has addresses in the same place, and is not IP. */
	key = tcp_key(0);
	key.eth_type = RTE_BE16(0x0806);
	xv_policy_rule_init(&r);
	r.ip_version = 4;
	assert_int_equal(decide(&r, &key), OTHERWISE);
	xv_policy_rule_init(&r);
	r.has_proto = true;
	r.proto = 6;
	assert_int_equal(decide(&r, &key), OTHERWISE);
	xv_policy_rule_init(&r);
	r.eth_type = 0x0806;
	assert_int_equal(decide(&r, &key), 0);
}

static void vlans(void **state)
{
	struct xv_flow_key key = tcp_key(80);
	struct xv_policy_rule r;

	xv_policy_rule_init(&r);
	r.vlan = 0;
	assert_int_equal(decide(&r, &key), 0);
	key.vlan[0].tpid = RTE_BE16(0x8100);
	key.vlan[0].tci = RTE_BE16(0xf000); /* priority 7, no VLAN */
	assert_int_equal(decide(&r, &key), 0);
	key.vlan[0].tci = RTE_BE16(0xf064);
	assert_int_equal(decide(&r, &key), OTHERWISE);
	r.vlan = 100;
	assert_int_equal(decide(&r, &key), 0);
	key.vlan[0].tci = RTE_BE16(0x1065);
	assert_int_equal(decide(&r, &key), OTHERWISE);
}

/* ---- The rest ---- */

static void names(void **state)
{
	struct xv_policy_rule rules[2];
	struct xv_policy *p;

	xv_policy_rule_init(&rules[0]);
	xv_policy_rule_init(&rules[1]);
	memset(rules[1].name, 'x', sizeof(rules[1].name));
	assert_int_equal(xv_policy_create("web", rules, 2, XV_POLICY_ALLOW, &p), 0);
	assert_string_equal(xv_policy_name(p), "web");
	assert_int_equal(xv_policy_count(p), 2);
	assert_string_equal(xv_policy_rule_name(p, 0), "rule 1");
	assert_int_equal(strlen(xv_policy_rule_name(p, 1)), XV_POLICY_NAME_SIZE - 1);
	assert_string_equal(xv_policy_rule_name(p, 2), "default");
	assert_string_equal(xv_policy_rule_name(p, OTHERWISE), "default");
	xv_policy_destroy(p);
	xv_policy_destroy(NULL);
}

#define REFUSED(field, wrong)                                                                                          \
	do {                                                                                                           \
		struct xv_policy_rule bad;                                                                             \
                                                                                                                       \
		xv_policy_rule_init(&bad);                                                                             \
		bad.field = wrong;                                                                                     \
		assert_int_equal(xv_policy_create("bad", &bad, 1, XV_POLICY_DENY, &p), -EINVAL);                       \
	} while (0)

static void arguments(void **state)
{
	struct xv_policy_rule r;
	struct xv_policy *p = NULL;

	REFUSED(verdict, (enum xv_verdict)3);
	REFUSED(ip_version, 5);
	REFUSED(src_len, 1); /* without a version */
	REFUSED(dst_len, 1);
	REFUSED(icmp_type, 256);
	REFUSED(icmp_code, -2);
	REFUSED(vlan, 4096);
	xv_policy_rule_init(&r);
	r.ip_version = 4;
	r.dst_len = 33;
	assert_int_equal(xv_policy_create("bad", &r, 1, XV_POLICY_DENY, &p), -EINVAL);
	xv_policy_rule_init(&r);
	r.icmp_type = 8;
	r.dst_port_min = 1;
	assert_int_equal(xv_policy_create("bad", &r, 1, XV_POLICY_DENY, &p), -EINVAL);
	xv_policy_rule_init(&r);
	r.src_port_min = 2;
	r.src_port_max = 1;
	assert_int_equal(xv_policy_create("bad", &r, 1, XV_POLICY_DENY, &p), -EINVAL);
	assert_int_equal(xv_policy_create("bad", &r, XV_POLICY_MAX_RULES + 1, XV_POLICY_DENY, &p), -E2BIG);
	assert_int_equal(xv_policy_create("bad", NULL, 0, (enum xv_verdict)7, &p), -EINVAL);
	assert_null(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_policies), cmocka_unit_test(every_position), cmocka_unit_test(masks),
		cmocka_unit_test(fragments),       cmocka_unit_test(vlans),          cmocka_unit_test(names),
		cmocka_unit_test(arguments),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
