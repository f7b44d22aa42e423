/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rules of firewalls and policies: what they count and log, what becomes of flooded packets; and that what connection tracking
 * finds fault with passes none of them.
 */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include <rte_mbuf.h>

#include "base/clock.h"
#include "ct_flow_rig.h"
#include "fastpath/flow.h"
#include "fastpath/policy.h"
#include "fastpath/rule_hits.h"
#include "fastpath/rule_log.h"
#include "port/dummy.h"
#include "port/eal.h"

/* ---- Headers that cannot be ---- */

/* A frame from port 0 of which n bytes behind the Ethernet header are there. */
static void send_raw(const uint8_t *packet, uint16_t n, bool ipv6)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(xv_packet_pool());
	uint8_t *at = (uint8_t *)rte_pktmbuf_append(m, (uint16_t)(14 + n));

	memcpy(at, (const uint8_t[]){2, 0, 0, 0, 0, 0xb, 2, 0, 0, 0, 0, 0xa, ipv6 ? 0x86 : 8, ipv6 ? 0xdd : 0}, 14);
	memcpy(at + 14, packet, n);
	assert_int_equal(xv_dummy_put(ct_rig.ports[0], 0, m), 0);
	ct_rig_run();
}

static uint64_t refused(void)
{
	return ct_rig_dropped(0, XV_DROP_CT_INVALID) + ct_rig_dropped(0, XV_DROP_MALFORMED) + ct_rig_dropped(0, XV_DROP_FIREWALL) +
	       ct_rig_dropped(0, XV_DROP_FRAG_INVALID);
}

/* Each is sent to a port that lets everything in that connection tracking does not find fault with, and to one of a default policy. */
static void never_passes(const uint8_t *packet, uint16_t n, bool ipv6, const char *what)
{
	uint64_t before = refused();
	struct xv_conntrack_stats stats;

	send_raw(packet, n, ipv6);
	xv_conntrack_get_stats(xv_flow_conntrack, &stats);
	if (ct_rig_taken(1) + ct_rig_taken(2) > 0 || refused() != before + 1 || stats.inserted != 0)
		fail_msg("%s, %u bytes, begins with 0x%02x: passed, or dropped for another reason", what, n, packet[0]);
}

static void put16(uint8_t *at, unsigned int v)
{
	at[0] = (uint8_t)(v >> 8);
	at[1] = (uint8_t)v;
}

/* TCP, word 6: another offset or other flags, and a checksum that is right all the same (RFC 1624). */
static void set_word6(uint8_t *tcp, unsigned int offset, uint8_t flags)
{
	uint32_t sum = (uint16_t)~(tcp[16] << 8 | tcp[17]) + (uint32_t)(uint16_t)~(tcp[12] << 8 | tcp[13]);

	put16(tcp + 12, offset << 12 | flags);
	sum += (uint32_t)(tcp[12] << 8 | tcp[13]);
	sum = (sum & 0xffff) + (sum >> 16);
	put16(tcp + 16, (uint16_t)~(sum + (sum >> 16)));
}

static void malformed_of(const struct xv_firewall *f, bool ipv6)
{
	static const struct {
		uint8_t proto;
		uint16_t header;
	} protos[] = {{6, 20}, {17, 8}, {132, 16}, {1, 8}};
	unsigned int i, len, l4 = ipv6 ? 40 : 20;
	uint8_t good[128];

	ct_rig_bind_network(1, f);
	for (i = 0; i < RTE_DIM(protos); i++) {
		struct ct_frame frame = {.ipv6 = ipv6, .proto = ipv6 && protos[i].proto == 1 ? 58 : protos[i].proto, .src = ct_rig_question.src,
					 .dst = ct_rig_question.dst, .sport = 7, .dport = 80, .type = ipv6 ? 128 : 8, .flags = CT_SYN,
					 .payload = protos[i].proto == 132 ? 20 : 0};
		struct ct_packet p;
		uint8_t bad[CT_FRAME_MAX];
		uint16_t n;

		ct_packet_make(&p, &frame, 0);
		n = (uint16_t)(p.m.data_len - 14);
		/* Cut off, and the IP header says so. */
		for (len = 0; len < protos[i].header; len++) {
			memcpy(bad, p.bytes + 14, n);
			put16(bad + (ipv6 ? 4 : 2), ipv6 ? len : 20 + len);
			never_passes(bad, (uint16_t)(l4 + len), ipv6, "cut off");
		}
		/* Cut off, and it says nothing. */
		for (len = 1; len < n; len++)
			never_passes(p.bytes + 14, (uint16_t)len, ipv6, "shorter than it says");
		if (!ipv6) {
			static const uint8_t first[] = {0x05, 0x35, 0x65, 0x40, 0x44, 0x4f};

			for (len = 0; len < RTE_DIM(first); len++) {
				memcpy(bad, p.bytes + 14, n);
				bad[0] = first[len];
				never_passes(bad, n, false, "IP version or header length");
			}
		}
		memcpy(good, p.bytes + 14, n < sizeof(good) ? n : sizeof(good));
		if (protos[i].proto == 6) {
			static const uint8_t flags[] = {0, CT_SYN | CT_FIN, CT_SYN | CT_RST, CT_FIN, CT_FIN | CT_RST, 0x3f, 0x08, 0x20};

			for (len = 0; len < 16; len++) {
				memcpy(bad, good, n);
				set_word6(bad + l4, len, CT_SYN);
				if (len != 5)
					never_passes(bad, n, ipv6, "TCP data offset");
			}
			for (len = 0; len < RTE_DIM(flags); len++) {
				memcpy(bad, good, n);
				set_word6(bad + l4, 5, flags[len]);
				never_passes(bad, n, ipv6, "TCP flags");
			}
		} else if (protos[i].proto == 17) {
			for (len = 0; len < 12; len++) {
				memcpy(bad, good, n);
				put16(bad + l4 + 4, len);
				if (len != 8)
					never_passes(bad, n, ipv6, "UDP length");
			}
		} else if (protos[i].proto == 132) {
			memcpy(bad, good, n);
			put16(bad + l4 + 14, 3); /* a chunk shorter than its header */
			never_passes(bad, n, ipv6, "SCTP chunk");
		}
		/* What opens something has a checksum that is right (but UDP, which may have none). */
		memcpy(bad, good, n);
		bad[l4 + (protos[i].proto == 6 ? 16 : protos[i].proto == 17 ? 6 : protos[i].proto == 132 ? 8 : 2)] ^= 0x55;
		never_passes(bad, n, ipv6, "checksum");
	}
}

static void malformed_never_passes(void **state)
{
	struct xv_policy *all, *none;
	struct xv_firewall open, shut;

	(void)state;
	assert_int_equal(xv_policy_create("all", NULL, 0, XV_POLICY_ALLOW, &all), 0);
	assert_int_equal(xv_policy_create("none", NULL, 0, XV_POLICY_DENY, &none), 0);
	open = (struct xv_firewall){.egress = all, .ingress = all};
	shut = (struct xv_firewall){.egress = none, .ingress = none};
	ct_rig_bind_network(0, &open);
	ct_rig_bind_network(2, &open);
	malformed_of(&open, false);
	malformed_of(&open, true);
	ct_rig_bind_network(2, &shut);
	malformed_of(&shut, false);
	ct_rig_bind_network(0, NULL);
	ct_rig_bind_network(1, NULL);
	ct_rig_bind_network(2, NULL);
	ct_rig_settle();
	xv_policy_destroy(all);
	xv_policy_destroy(none);
}

/* ---- What rules have seen ---- */

static void counted(uint32_t counter, uint64_t packets)
{
	struct xv_cls_cursor cursor = {0};
	uint64_t n, bytes;

	ct_rig_sweep();
	while (xv_flows_carry(&cursor, 2))
		;
	xv_rule_counter_read(counter, &n, &bytes);
	assert_int_equal(n, packets);
	assert_int_equal(bytes, packets * 62); /* of a ct_rig_question, and of an answer */
}

static struct xv_policy *counting_policy(const char *name, uint32_t counter, uint32_t otherwise, enum xv_verdict verdict, bool log)
{
	struct xv_policy_rule rule;
	struct xv_policy *p;

	xv_policy_rule_init(&rule);
	rule.verdict = verdict;
	rule.log = log;
	rule.has_proto = true;
	rule.proto = 17;
	rule.dst_port_min = rule.dst_port_max = 80;
	rule.counter = counter;
	assert_int_equal(xv_policy_create(name, &rule, 1, XV_POLICY_DENY, &p), 0);
	xv_policy_count_otherwise(p, otherwise);
	return p;
}

static void rules_count_every_packet(void **state)
{
	uint32_t allowed = xv_rule_counter_new(), denied = xv_rule_counter_new();
	struct xv_policy *web = counting_policy("web", allowed, denied, XV_POLICY_ALLOW, false), *again;
	struct xv_firewall closed = {.ingress = web}, anew;
	struct ct_frame wrong = ct_rig_question;
	unsigned int i;

	(void)state;
	assert_true(allowed != XV_RULE_COUNTER_NONE && denied != allowed);
	ct_rig_bind_network(0, NULL);
	ct_rig_bind_network(1, &closed);
	ct_rig_bind_network(2, NULL);
	counted(allowed, 0);
	ct_rig_ask(1); /* flooded */
	ct_rig_answer(1);
	counted(allowed, 2);
	for (i = 0; i < 4; i++) { /* by configuration, by a flow, by a fused one */
		ct_rig_ask(3);
		ct_rig_answer(2);
		ct_rig_settle();
	}
	assert_true(ct_rig_hits() >= 4);
	counted(allowed, 2 + 4 * 5);
	counted(allowed, 2 + 4 * 5); /* once each */
	wrong.dport = 81;
	for (i = 0; i < 3; i++) {
		ct_rig_send(&wrong);
		ct_rig_settle();
	}
	counted(denied, 3);
	/* Other flows, another policy: the same rule. */
	again = counting_policy("web", allowed, XV_RULE_COUNTER_NONE, XV_POLICY_ALLOW, false);
	anew = (struct xv_firewall){.ingress = again};
	ct_rig_bind_network(1, &anew);
	ct_rig_ask(2);
	ct_rig_settle();
	ct_rig_ask(2);
	ct_rig_send(&wrong);
	xv_policy_destroy(web);
	ct_rig_settle();
	xv_clock_warp_ms(1000);
	xv_flows_age(1);
	ct_rig_settle();
	assert_int_equal(xv_flows_count(), 0);
	counted(allowed, 2 + 4 * 5 + 4);
	counted(denied, 3);
	/* Who is gone gives it back, and the next one begins at zero. */
	ct_rig_bind_network(1, NULL);
	ct_rig_settle();
	xv_policy_destroy(again);
	xv_rule_counter_release(allowed);
	assert_int_equal(xv_rule_counter_new(), allowed);
	counted(allowed, 0);
}

static void ignore(const struct xv_rule_record *record, void *arg)
{
	unsigned int *n = arg;

	*n += record->verdict + 1u; /* enum xv_verdict: deny, allow, reject */
}

static unsigned int logged(void)
{
	unsigned int n = 0;

	assert_int_equal(xv_rule_log_take(UINT32_MAX, ignore, &n), 0);
	return n;
}

/* Not each packet of who is never answered. */
static void rules_log_who_talks_to_whom_once(void **state)
{
	struct xv_policy *web = counting_policy("web", 0, 0, XV_POLICY_ALLOW, true);
	struct xv_firewall closed = {.ingress = web};
	struct ct_frame other = ct_rig_question, hello = {.proto = 17, .src = ct_rig_question.dst, .dst = ct_rig_question.src, .sport = 7, .dport = 7};
	unsigned int i;

	(void)state;
	ct_rig_bind_network(0, NULL);
	ct_rig_bind_network(1, &closed);
	ct_rig_bind_network(2, NULL);
	ct_rig_send(&hello); /* so that it is known where it is */
	assert_int_equal(logged(), 0);
	for (i = 0; i < 5; i++) {
		ct_rig_ask(1);
		ct_rig_settle();
	}
	assert_int_equal(logged(), 2);
	other.sport++;
	ct_rig_send(&other);
	ct_rig_settle();
	ct_rig_send(&other);
	assert_int_equal(logged(), 2);
	ct_rig_bind_network(1, NULL);
	ct_rig_settle();
	xv_policy_destroy(web);
}

static void flooded_packets_are_logged_and_rejected(void **state)
{
	struct xv_guard *guard = calloc(1, sizeof(*guard) + sizeof(guard->addresses[0]));
	struct xv_policy *rejects = counting_policy("web", 0, 0, XV_POLICY_REJECT, true);
	struct xv_policy *denies = counting_policy("none", 0, 0, XV_POLICY_DENY, false);
	struct xv_firewall closed = {.ingress = rejects}, guarded = {.ingress = rejects, .guard = guard};
	struct xv_firewall shut = {.ingress = denies};

	(void)state;
	guard->n = 1;
	memcpy(guard->addresses[0].mac, (const uint8_t[]){2, 0, 0, 0, 0, 0xb}, 6);
	/* Perhaps it was meant for port 2. */
	ct_rig_bind_network(0, NULL);
	ct_rig_bind_network(1, &closed);
	ct_rig_bind_network(2, NULL);
	ct_rig_ask(1);
	assert_int_equal(logged(), 3);
	assert_int_equal(ct_rig_taken(2), 1);
	assert_int_equal(ct_rig_taken(0), 0);
	/* It was not: nobody lets it in. */
	ct_rig_bind_network(2, &shut);
	ct_rig_ask(1);
	assert_int_equal(ct_rig_taken(1) + ct_rig_taken(2), 0);
	assert_int_equal(ct_rig_taken(0), 1);
	/* Whose address it has rejects it. */
	ct_rig_bind_network(1, &guarded);
	ct_rig_bind_network(2, NULL);
	ct_rig_ask(1);
	assert_int_equal(ct_rig_taken(2), 1);
	assert_int_equal(ct_rig_taken(0), 1);
	assert_int_equal(logged(), 6);
	ct_rig_bind_network(1, NULL);
	ct_rig_bind_network(2, NULL);
	ct_rig_settle();
	xv_policy_destroy(rejects);
	xv_policy_destroy(denies);
	free(guard);
}

/* The same without connections, for policies. */
static void flooded_packets_meet_policies(void **state)
{
	uint32_t counter = xv_rule_counter_new();
	struct xv_policy *rejects = counting_policy("web", counter, 0, XV_POLICY_REJECT, true);
	unsigned int i;

	(void)state;
	for (i = 0; i < PORTS; i++) {
		struct xv_binding *b = calloc(1, sizeof(*b));

		b->forward = XV_FORWARD_NETWORK;
		b->network = ct_rig.network;
		b->ingress_policy = i > 0 ? rejects : NULL;
		xv_port_bind(ct_rig.ports[i], b);
	}
	ct_rig_ask(1);
	counted(counter, 2);
	assert_int_equal(logged(), 6);
	assert_int_equal(ct_rig_dropped(0, XV_DROP_POLICY), 2);
	assert_int_equal(ct_rig_taken(0), 1); /* one answer */
	for (i = 0; i < PORTS; i++)
		xv_port_bind(ct_rig.ports[i], NULL);
	ct_rig_settle();
	xv_policy_destroy(rejects);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, ct_rig_setup, ct_rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(malformed_never_passes),
		TEST(rules_count_every_packet),
		TEST(rules_log_who_talks_to_whom_once),
		TEST(flooded_packets_are_logged_and_rejected),
		TEST(flooded_packets_meet_policies),
	};

	return cmocka_run_group_tests(tests, ct_rig_group_setup, NULL);
}
