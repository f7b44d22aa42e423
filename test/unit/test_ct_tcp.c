/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TCP connections, segment by segment, without any table: the states of a connection's life, windows, the rules of RFC 5961;
 * the inline way against the full one; and bytes that no TCP sends. test/system/test_conntrack_kernel.py does thousands more, next
 * to the kernel.
 */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "fastpath/conntrack_hot.h"

#define SYN XV_TCP_SYN
#define ACK XV_TCP_ACK
#define FIN XV_TCP_FIN
#define RST XV_TCP_RST
#define A XV_CT_ORIGINAL
#define B XV_CT_REPLY
#define ROUNDS 300000

static uint32_t timeout_ms[XV_CT_TO_MAX];
static uint64_t seed = 1;

/* A segment without options; len: of its payload, which is not there. */
static struct xv_ct_packet segment(uint8_t *bytes, uint8_t flags, uint32_t seq, uint32_t ack, uint16_t win, uint32_t len)
{
	uint32_t be_seq = rte_cpu_to_be_32(seq), be_ack = rte_cpu_to_be_32(ack);
	uint16_t be_win = rte_cpu_to_be_16(win);

	memset(bytes, 0, 64);
	memcpy(bytes + 34 + 4, &be_seq, 4);
	memcpy(bytes + 34 + 8, &be_ack, 4);
	bytes[34 + 12] = 5 << 4;
	bytes[34 + 13] = flags;
	memcpy(bytes + 34 + 14, &be_win, 2);
	return (struct xv_ct_packet){.data = bytes, .l3 = 14, .l4 = 34, .l4_len = 20, .proto = 6, .len = 54,
				     .end = 54 + len, .csum_ok = true};
}

static enum xv_ct_verdict put(struct xv_conn *conn, enum xv_ct_dir dir, uint8_t flags, uint32_t seq, uint32_t ack, uint32_t len)
{
	uint8_t bytes[64];
	struct xv_ct_packet p = segment(bytes, flags, seq, ack, 1000, len);
	enum xv_ct_verdict verdict = xv_ct_tcp.packet(conn, dir, &p, timeout_ms, 0);

	/* As conntrack.c does. */
	if (verdict == XV_CT_VALID && dir == XV_CT_REPLY)
		conn->flags |= XV_CONN_SEEN_REPLY;
	return verdict;
}

static bool begin(struct xv_conn *conn, uint8_t flags, uint32_t seq, bool pick_up)
{
	uint8_t bytes[64];
	struct xv_ct_packet p = segment(bytes, flags, seq, 0, 1000, 0);

	memset(conn, 0, sizeof(*conn));
	return xv_ct_tcp.open(conn, &p, pick_up, timeout_ms, 0);
}

/* The original side is at 101 (or where the numbers wrap), the reply side at 501. */
static void establish(struct xv_conn *conn, uint32_t isn)
{
	assert_true(begin(conn, SYN, isn, false));
	assert_int_equal(conn->state, XV_CT_TCP_SYN_SENT);
	assert_int_equal(put(conn, B, SYN | ACK, 500, isn + 1, 0), XV_CT_VALID);
	assert_int_equal(conn->state, XV_CT_TCP_SYN_RECV);
	assert_int_equal(put(conn, A, ACK, isn + 1, 501, 0), XV_CT_VALID);
	assert_int_equal(conn->state, XV_CT_TCP_ESTABLISHED);
	assert_true(conn->flags & XV_CONN_ASSURED);
}

static void test_life(void **state)
{
	struct xv_conn conn;

	(void)state;
	establish(&conn, UINT32_MAX - 5);
	assert_int_equal(xv_conn_expires(&conn), timeout_ms[XV_CT_TCP_ESTABLISHED]);
	assert_int_equal(put(&conn, A, ACK, UINT32_MAX - 4, 501, 100), XV_CT_VALID); /* wraps */
	assert_int_equal(xv_conn_expires(&conn), timeout_ms[XV_CT_TO_TCP_UNACK]);
	assert_int_equal(put(&conn, B, ACK, 501, 95, 0), XV_CT_VALID);
	assert_int_equal(xv_conn_expires(&conn), timeout_ms[XV_CT_TCP_ESTABLISHED]);
	assert_int_equal(put(&conn, A, FIN | ACK, 95, 501, 0), XV_CT_VALID);
	assert_int_equal(conn.state, XV_CT_TCP_FIN_WAIT);
	assert_int_equal(put(&conn, B, ACK, 501, 96, 0), XV_CT_VALID);
	assert_int_equal(conn.state, XV_CT_TCP_CLOSE_WAIT);
	assert_int_equal(put(&conn, B, FIN | ACK, 501, 96, 0), XV_CT_VALID);
	assert_int_equal(conn.state, XV_CT_TCP_LAST_ACK);
	assert_int_equal(put(&conn, A, ACK, 96, 502, 0), XV_CT_VALID);
	assert_int_equal(conn.state, XV_CT_TCP_TIME_WAIT);
	assert_int_equal(put(&conn, A, SYN, 100000, 0, 0), XV_CT_REOPEN);
	assert_int_equal(put(&conn, B, SYN, 100000, 0, 0), XV_CT_REOPEN);
}

static void test_simultaneous(void **state)
{
	struct xv_conn conn;

	(void)state;
	assert_true(begin(&conn, SYN, 100, false));
	assert_int_equal(put(&conn, B, SYN, 500, 0, 0), XV_CT_VALID);
	assert_int_equal(conn.state, XV_CT_TCP_SYN_SENT2);
	assert_int_equal(put(&conn, A, SYN | ACK, 100, 501, 0), XV_CT_VALID);
	assert_int_equal(put(&conn, B, SYN | ACK, 500, 101, 0), XV_CT_VALID);
	assert_int_equal(conn.state, XV_CT_TCP_SYN_RECV);
	assert_int_equal(put(&conn, B, ACK, 501, 101, 0), XV_CT_VALID);
	assert_int_equal(conn.state, XV_CT_TCP_ESTABLISHED);
}

static void test_first_packet(void **state)
{
	struct xv_conn conn;
	unsigned int flags;

	(void)state;
	for (flags = 0; flags < 256; flags++) {
		unsigned int plain = flags & (SYN | ACK | FIN | RST | XV_TCP_URG);
		bool syn = plain == SYN || plain == (SYN | XV_TCP_URG), ack = plain == ACK || plain == (ACK | XV_TCP_URG);

		assert_int_equal(begin(&conn, (uint8_t)flags, 100, false), syn);
		assert_int_equal(begin(&conn, (uint8_t)flags, 100, true), syn || ack);
	}
	/* Repeated for ever, it does not live for ever. */
	assert_true(begin(&conn, SYN, 100, false));
	xv_conn_set_expires(&conn, 77);
	assert_int_equal(put(&conn, A, SYN, 100, 0, 0), XV_CT_VALID);
	assert_int_equal(xv_conn_expires(&conn), 77);
	assert_int_equal(put(&conn, A, ACK, 101, 501, 0), XV_CT_INVALID); /* before any answer */
	assert_int_equal(put(&conn, B, RST | ACK, 0, 101, 0), XV_CT_VALID_LAST);
}

static void test_windows(void **state)
{
	struct xv_conn conn;

	(void)state;
	establish(&conn, 100);
	assert_int_equal(put(&conn, A, ACK, 1101, 501, 1), XV_CT_VALID);	 /* the last byte, and what is let pass */
	assert_int_equal(put(&conn, A, ACK, 5000, 501, 1), XV_CT_INVALID);	 /* above the window of 1000 */
	assert_int_equal(put(&conn, A, ACK, 101 - 5000, 501, 1), XV_CT_VALID); /* long ago: a retransmission */
	assert_int_equal(put(&conn, A, ACK, 101, 502, 0), XV_CT_INVALID);	 /* acknowledges what was not sent */
	assert_int_equal(put(&conn, A, ACK, 101, 501 - 70000, 0), XV_CT_VALID);  /* very late */
	assert_int_equal(conn.state, XV_CT_TCP_ESTABLISHED);
}

/* RFC 5961, section 3: only the number that is expected next resets. */
static void test_reset(void **state)
{
	struct xv_conn conn;

	(void)state;
	establish(&conn, 100);
	assert_int_equal(put(&conn, B, ACK, 501, 101, 0), XV_CT_VALID);
	assert_int_equal(put(&conn, A, RST, 100, 0, 0), XV_CT_INVALID); /* behind */
	assert_int_equal(put(&conn, A, RST, 60000, 0, 0), XV_CT_INVALID); /* outside */
	assert_int_equal(put(&conn, A, RST, 110, 0, 0), XV_CT_VALID);	  /* near: the other side will challenge */
	assert_int_equal(conn.state, XV_CT_TCP_ESTABLISHED);
	assert_int_equal(xv_conn_expires(&conn), timeout_ms[XV_CT_TCP_CLOSE]);
	assert_int_equal(put(&conn, B, ACK, 501, 101, 0), XV_CT_VALID);
	assert_int_equal(xv_conn_expires(&conn), timeout_ms[XV_CT_TO_TCP_UNACK]);
	assert_int_equal(put(&conn, A, RST, 101, 0, 0), XV_CT_VALID);
	assert_int_equal(conn.state, XV_CT_TCP_CLOSE);
}

/* RFC 5961, section 4: a SYN inside a connection. */
static void test_syn_inside(void **state)
{
	struct xv_conn conn;

	(void)state;
	establish(&conn, 100);
	assert_int_equal(put(&conn, A, SYN, 90000, 0, 0), XV_CT_VALID);
	assert_int_equal(conn.state, XV_CT_TCP_ESTABLISHED);
	assert_int_equal(put(&conn, B, ACK, 501, 101, 0), XV_CT_VALID); /* the challenge */
	assert_int_equal(conn.state, XV_CT_TCP_ESTABLISHED);
	/* The other side had forgotten the connection: this is a new one. */
	assert_int_equal(put(&conn, A, SYN, 90000, 0, 0), XV_CT_VALID);
	assert_int_equal(put(&conn, B, SYN | ACK, 7000, 90001, 0), XV_CT_VALID);
	assert_int_equal(conn.state, XV_CT_TCP_SYN_RECV);
	assert_int_equal(put(&conn, A, ACK, 90001, 7001, 0), XV_CT_VALID);
	assert_int_equal(conn.state, XV_CT_TCP_ESTABLISHED);
	/* In LAST-ACK the challenge is not the last ACK. */
	establish(&conn, 100);
	assert_int_equal(put(&conn, A, FIN | ACK, 101, 501, 0), XV_CT_VALID);
	assert_int_equal(put(&conn, B, FIN | ACK, 501, 102, 0), XV_CT_VALID);
	assert_int_equal(put(&conn, A, SYN, 90000, 0, 0), XV_CT_VALID);
	assert_int_equal(put(&conn, B, ACK, 502, 102, 0), XV_CT_VALID);
	assert_int_equal(conn.state, XV_CT_TCP_LAST_ACK);
	assert_int_equal(put(&conn, A, ACK, 102, 502, 0), XV_CT_VALID);
	assert_int_equal(conn.state, XV_CT_TCP_TIME_WAIT);
}

static void test_scale(void **state)
{
	static const uint8_t scale7[4] = {3, 3, 7, 1};
	uint8_t bytes[64];
	struct xv_ct_packet p;
	struct xv_conn conn = {0};

	(void)state;
	for (int answered = 0; answered < 2; answered++) {
		memset(&conn, 0, sizeof(conn));
		p = segment(bytes, SYN, 100, 0, 1000, 0);
		bytes[34 + 12] = 6 << 4;
		memcpy(bytes + 54, scale7, 4);
		p.len = p.end = 58;
		assert_true(xv_ct_tcp.open(&conn, &p, false, timeout_ms, 0));
		p = segment(bytes, SYN | ACK, 500, 101, 1000, 0);
		if (answered) {
			bytes[34 + 12] = 6 << 4;
			memcpy(bytes + 54, scale7, 4);
			p.len = p.end = 58;
		}
		assert_int_equal(xv_ct_tcp.packet(&conn, B, &p, timeout_ms, 0), XV_CT_VALID);
		conn.flags |= XV_CONN_SEEN_REPLY;
		assert_int_equal(put(&conn, A, ACK, 101, 501, 0), XV_CT_VALID);
		assert_int_equal(conn.proto.tcp.scale[0], answered ? 7 : 0);
		/* 1000 << 7 from now on, or not: RFC 7323. */
		assert_int_equal(put(&conn, B, ACK, 501 + 100000, 101, 1), answered ? XV_CT_VALID : XV_CT_INVALID);
	}
}

/* The inline way says and does what the full one does, or nothing. */
static void test_hot(void **state)
{
	uint8_t bytes[64];
	struct xv_conn conn, before, twin;
	unsigned int hot = 0, i;

	(void)state;
	establish(&conn, 100);
	for (i = 0; i < ROUNDS; i++) {
		enum xv_ct_dir dir = (enum xv_ct_dir)unit_random(&seed, 2);
		uint32_t seq = conn.proto.tcp.peer[dir].end, ack = conn.proto.tcp.peer[!dir].end;
		uint8_t flags = unit_random(&seed, 20) ? ACK | (uint8_t)(unit_random(&seed, 2) << 3) : (uint8_t)unit_random(&seed, 256);
		uint32_t len = unit_random(&seed, 3) ? 0 : unit_random(&seed, 1500);
		enum xv_ct_verdict verdict, full;
		struct xv_ct_packet p;

		if (unit_random(&seed, 4) == 0)
			seq += unit_random(&seed, 200000) - 100000;
		if (unit_random(&seed, 4) == 0)
			ack += unit_random(&seed, 200000) - 100000;
		p = segment(bytes, flags, seq, ack, (uint16_t)unit_random(&seed, 65536), len);
		if (unit_random(&seed, 4) == 0) {
			unsigned int words = 5 + unit_random(&seed, 3);

			bytes[34 + 12] = (uint8_t)(words << 4);
			for (unsigned int j = 54; j < 62; j++)
				bytes[j] = (uint8_t)unit_random(&seed, 12);
			p.len = 34 + words * 4;
			p.end = p.len + len;
		}
		before = twin = conn;
		verdict = xv_ct_hot(&conn, dir, p.data + p.l4, p.end - p.l4, 6, timeout_ms, i);
		full = xv_ct_tcp.packet(&twin, dir, &p, timeout_ms, i);
		if (verdict == XV_CT_VALID) {
			assert_int_equal(full, XV_CT_VALID);
			assert_memory_equal(&conn, &twin, sizeof(conn));
			hot++;
		} else {
			assert_int_equal(verdict, XV_CT_NOT_HOT);
			assert_memory_equal(&conn, &before, sizeof(conn));
			conn = twin;
		}
		if (conn.state != XV_CT_TCP_ESTABLISHED || full == XV_CT_REOPEN)
			establish(&conn, unit_random(&seed, UINT32_MAX));
	}
	assert_true(hot > ROUNDS / 4);
}

static void test_udp(void **state)
{
	uint8_t bytes[64] = {0};
	struct xv_ct_packet p = {.data = bytes, .l3 = 14, .l4 = 34, .l4_len = 8, .proto = 17, .len = 64, .end = 64, .csum_ok = true};
	struct xv_conn conn = {0};

	(void)state;
	bytes[34 + 5] = 30;
	assert_true(xv_ct_udp.open(&conn, &p, false, timeout_ms, 100));
	assert_int_equal(xv_ct_hot(&conn, A, bytes + 34, 30, 17, timeout_ms, 110), XV_CT_VALID);
	assert_int_equal(xv_ct_udp.packet(&conn, B, &p, timeout_ms, 120), XV_CT_VALID);
	conn.flags |= XV_CONN_SEEN_REPLY;
	assert_int_equal(xv_ct_hot(&conn, A, bytes + 34, 30, 17, timeout_ms, 130), XV_CT_VALID);
	assert_int_equal(xv_conn_expires(&conn), 130 + timeout_ms[XV_CT_TO_UDP_SINGLE]);
	assert_int_equal(xv_ct_hot(&conn, A, bytes + 34, 29, 17, timeout_ms, 130), XV_CT_NOT_HOT); /* longer than the packet */
	/* A stream: the flag is for the long way to set. */
	assert_int_equal(xv_ct_hot(&conn, A, bytes + 34, 30, 17, timeout_ms, 2101), XV_CT_NOT_HOT);
	assert_int_equal(xv_ct_udp.packet(&conn, A, &p, timeout_ms, 2101), XV_CT_VALID);
	assert_true(conn.flags & XV_CONN_ASSURED);
	assert_int_equal(xv_ct_hot(&conn, B, bytes + 34, 30, 17, timeout_ms, 2200), XV_CT_VALID);
	assert_int_equal(xv_conn_expires(&conn), 2200 + timeout_ms[XV_CT_TO_UDP_MULTIPLE]);
	p.csum_ok = false;
	assert_int_equal(xv_ct_udp.packet(&conn, A, &p, timeout_ms, 2300), XV_CT_INVALID);
}

/* Any bytes, cut anywhere: allocated to their last byte, so that a sanitizer sees one too far. */
static void test_hostile(void **state)
{
	static const struct xv_ct_proto *const protos[] = {&xv_ct_tcp,  &xv_ct_udp,  &xv_ct_icmp,
							   &xv_ct_icmpv6, &xv_ct_sctp, &xv_ct_generic};
	unsigned int i;

	(void)state;
	for (i = 0; i < ROUNDS; i++) {
		const struct xv_ct_proto *proto = protos[unit_random(&seed, 6)];
		uint32_t len = unit_random(&seed, 140), at;
		uint8_t *bytes = malloc(len ? len : 1);
		struct xv_conn conn = {0};
		struct xv_ct_packet p = {.data = bytes, .l3 = 0, .len = len, .csum_ok = true};

		for (at = 0; at < len; at++)
			bytes[at] = unit_random(&seed, 3) ? (uint8_t)unit_random(&seed, 16) : (uint8_t)unit_random(&seed, 256);
		p.l4 = (uint16_t)unit_random(&seed, 50);
		p.end = unit_random(&seed, 4) ? len : unit_random(&seed, 300);
		if (p.l4 + 20u < len && unit_random(&seed, 4)) {
			bytes[p.l4 + 12] = (uint8_t)(unit_random(&seed, 16) << 4);
			bytes[p.l4 + 13] = (uint8_t)(1u << unit_random(&seed, 5));
			conn.proto.tcp.peer_flags[0] = conn.proto.tcp.peer_flags[1] = XV_TCP_SACK;
		}
		conn.state = (uint8_t)unit_random(&seed, proto == &xv_ct_sctp ? XV_CT_SCTP_STATES : XV_CT_TCP_STATES);
		proto->packet(&conn, (enum xv_ct_dir)unit_random(&seed, 2), &p, timeout_ms, i);
		assert_true(conn.state < XV_CT_TCP_STATES);
		proto->open(&conn, &p, true, timeout_ms, i);
		assert_true(conn.state < XV_CT_TCP_STATES);
		free(bytes);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_life),	   cmocka_unit_test(test_simultaneous), cmocka_unit_test(test_first_packet),
		cmocka_unit_test(test_windows),	   cmocka_unit_test(test_reset),	cmocka_unit_test(test_syn_inside),
		cmocka_unit_test(test_scale),	   cmocka_unit_test(test_hot),		cmocka_unit_test(test_hostile),
		cmocka_unit_test(test_udp),
	};

	for (unsigned int i = 0; i < XV_CT_TO_MAX; i++)
		timeout_ms[i] = xv_ct_timeout_defaults_s[i] * 1000;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
