/* SPDX-License-Identifier: Apache-2.0 */
/* Answers to hostile frames: whatever comes, an answer is sound, and nothing is read that is not there. What answers
 * look like is in test/virtio/test_answers_scapy.py. */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "net/checksum.h"
#include "net/icmp_error.h"
#include "net/parse.h"

static const char *const seeds[] = {
	/* TCP, UDP and ICMP over IPv4, tagged; TCP behind a hop-by-hop header, ICMPv6 over IPv6. */
	"020000000002 020000000001 0800 4500002c 00014000 40060000 0a000001 0a000002 04d20050 00000001 00000002 "
	"5012ffff00000000 61626364",
	"020000000002 020000000001 81000007 88a80008 0800 45000020 00010000 40110000 0a000001 0a000002 04d20050 "
	"000c0000 61626364",
	"020000000002 020000000001 0800 46000028 00012000 40010000 0a000001 0a000002 94040000 0800 0000 00010002 "
	"61626364 65666768",
	"020000000002 020000000001 86dd 60000000 0020 00 40 20010db8000000000000000000000001 "
	"20010db8000000000000000000000002"
	"0600 0104 0000 0000 04d20050 00000001 00000000 5002ffff00000000 61626364",
	"020000000002 020000000001 86dd 60000000 000c 3a 40 20010db8000000000000000000000001 "
	"20010db8000000000000000000000002"
	"8000 0000 00010002 61626364",
};

/* An answer is a sound frame from the other to the one. */
static unsigned int check(const uint8_t *frame, const uint8_t *answer, uint32_t len)
{
	const uint8_t *ip, *offender;
	struct xv_parsed p;
	uint32_t l4_len;
	uint16_t sum;

	if (len == 0)
		return 0;
	assert_true(len <= XV_ANSWER_MAX);
	assert_int_equal(xv_parse(answer, (uint16_t)len, len, &p), XV_PARSE_OK);
	assert_true(p.l4_offset != 0);
	assert_memory_equal(answer, frame + 6, 6);
	assert_memory_equal(answer + 6, frame, 6);
	assert_memory_equal(answer + 12, frame + 12, p.l3_offset - 12u);
	assert_int_equal((frame[0] | frame[6]) & 1, 0);
	ip = answer + p.l3_offset;
	offender = frame + p.l3_offset;
	l4_len = len - p.l4_offset;
	sum = xv_csum_sum(answer + p.l4_offset, l4_len);
	if (p.eth_type == 0x0800) {
		assert_int_equal(xv_csum_sum(ip, 20), 0xffff);
		assert_memory_equal(ip + 12, offender + 16, 4);
		assert_memory_equal(ip + 16, offender + 12, 4);
		if (p.ip_proto == 6)
			sum = xv_csum_add(sum, xv_csum_pseudo4(ip + 12, ip + 16, 6, l4_len));
		assert_true(p.ip_proto == 6 || len - p.l3_offset <= 576);
	} else {
		assert_memory_equal(ip + 8, offender + 24, 16);
		assert_memory_equal(ip + 24, offender + 8, 16);
		sum = xv_csum_add(sum, xv_csum_pseudo6(ip + 8, ip + 24, p.ip_proto, l4_len));
		assert_true(len - p.l3_offset <= 1280);
	}
	assert_int_equal(sum, 0xffff);
	return 1;
}

static void hostile(void **state)
{
	unsigned int answered = 0, i;
	uint8_t answer[XV_ANSWER_MAX];
	uint64_t seed = 1;

	(void)state;
	for (i = 0; i < 200000; i++) {
		uint8_t bytes[256];
		uint32_t len = unit_hex(seeds[i % 5], bytes, sizeof(bytes)), k, beyond = 0;
		uint8_t *exact;

		for (k = unit_random(&seed, 3); k > 0; k--)
			bytes[unit_random(&seed, len)] = (uint8_t)unit_random(&seed, 256);
		if (unit_random(&seed, 3) == 0)
			len = unit_random(&seed, len);
		if (unit_random(&seed, 3) == 0)
			beyond = unit_random(&seed, 3000);
		exact = malloc(len + 1); /* what follows is seen by the sanitizer only */
		assert_non_null(exact);
		memmove(exact + 1, bytes, len);
		answered +=
			check(exact + 1, answer, xv_icmp_too_big(exact + 1, (uint16_t)len, len + beyond, 1400, answer));
		answered += check(exact + 1, answer,
				  xv_icmp_unreachable(exact + 1, (uint16_t)len, len + beyond, 13, 1, answer));
		answered += check(exact + 1, answer, xv_tcp_reset(exact + 1, (uint16_t)len, len + beyond, answer));
		free(exact);
	}
	assert_true(answered > 100000);
}

/* Every error, and every reset, is none that is answered: two of us on a cable come to rest. */
static void no_answer_to_an_answer(void **state)
{
	uint8_t bytes[256], first[XV_ANSWER_MAX], second[XV_ANSWER_MAX];
	uint32_t len, n;
	unsigned int i;

	(void)state;
	for (i = 0; i < 5; i++) {
		len = unit_hex(seeds[i], bytes, sizeof(bytes));
		n = xv_icmp_too_big(bytes, (uint16_t)len, len, 1400, first);
		assert_true(n > 0);
		assert_int_equal(xv_icmp_too_big(first, (uint16_t)n, n, 1400, second), 0);
		assert_int_equal(xv_icmp_unreachable(first, (uint16_t)n, n, 1, 1, second), 0);
		n = xv_tcp_reset(bytes, (uint16_t)len, len, first);
		assert_true(n == 0 || xv_tcp_reset(first, (uint16_t)n, n, second) == 0);
		assert_int_equal(n > 0, i == 0 || i == 3);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hostile),
		cmocka_unit_test(no_answer_to_an_answer),
	};

	return cmocka_run_group_tests_name("icmp_error", tests, NULL, NULL);
}
