/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <string.h>

#include <rte_mbuf.h>

#include "net/checksum.h"

static struct rte_mempool *pool;

/* RFC 1071 as it is written: big-endian words, one by one. Gives the sum as a number. */
static uint16_t sum_model(const uint8_t *p, size_t len)
{
	uint32_t sum = 0;
	size_t i;

	for (i = 0; i < len; i++) {
		sum += i % 2 ? p[i] : (uint32_t)p[i] << 8;
		sum = (sum & 0xffff) + (sum >> 16);
	}
	return (uint16_t)sum;
}

/* One's complement has two zeros. */
static void assert_sum_equal(uint16_t sum_memory, uint16_t sum_number)
{
	uint16_t sum = __builtin_bswap16(sum_memory);

	assert_int_equal(sum == 0xffff ? 0 : sum, sum_number == 0xffff ? 0 : sum_number);
}

static void fill(uint8_t *p, size_t len, uint64_t *seed)
{
	unsigned int kind = unit_random(seed, 4);
	size_t i;

	for (i = 0; i < len; i++)
		p[i] = kind == 0 ? 0xff : kind == 1 ? 0 : (uint8_t)unit_random(seed, 256);
}

static void sums(void **state)
{
	static uint8_t bytes[66000];
	uint64_t seed = 1;
	size_t len, start;

	for (len = 0; len < 300; len++) {
		for (start = 0; start < 8; start++) {
			fill(bytes + start, len, &seed);
			assert_sum_equal(xv_csum_sum(bytes + start, len),
					 sum_model(bytes + start, len));
		}
	}
	memset(bytes, 0xff, sizeof(bytes));
	for (len = 65500; len < 65540; len++)
		assert_sum_equal(xv_csum_sum(bytes + 1, len), sum_model(bytes + 1, len));
}

static void sums_of_chains(void **state)
{
	uint8_t bytes[3000];
	uint64_t seed = 2;
	unsigned int i, k;

	for (i = 0; i < 2000; i++) {
		uint32_t len = 1 + unit_random(&seed, sizeof(bytes)), offset, n;
		uint16_t cuts[16];
		struct rte_mbuf *m;

		fill(bytes, len, &seed);
		for (k = 0; k < 15; k++)
			cuts[k] = (uint16_t)((k ? cuts[k - 1] : 0) + 1 +
					     unit_random(&seed, len / 8 + 2));
		cuts[15] = 0;
		m = unit_packet(pool, bytes, len, cuts);
		assert_int_equal(m->pkt_len, len);
		offset = unit_random(&seed, len + 1);
		n = unit_random(&seed, len - offset + 1);
		assert_sum_equal(xv_csum_sum_mbuf(m, offset, n), sum_model(bytes + offset, n));
		rte_pktmbuf_free(m);
	}
}

static void updates(void **state)
{
	uint8_t bytes[40];
	uint64_t seed = 3;
	unsigned int i, at;

	for (i = 0; i < 20000; i++) {
		uint16_t csum, from16, to16;
		uint32_t from32, to32;

		fill(bytes, sizeof(bytes), &seed);
		csum = (uint16_t)~xv_csum_sum(bytes, sizeof(bytes));
		at = 2 * unit_random(&seed, 19);
		memcpy(&from16, bytes + at, 2);
		fill(bytes + at, 2, &seed);
		memcpy(&to16, bytes + at, 2);
		csum = xv_csum_update16(csum, from16, to16);
		assert_sum_equal((uint16_t)~csum, sum_model(bytes, sizeof(bytes)));
		memcpy(&from32, bytes + at, 4);
		fill(bytes + at, 4, &seed);
		memcpy(&to32, bytes + at, 4);
		csum = xv_csum_update32(csum, from32, to32);
		assert_sum_equal((uint16_t)~csum, sum_model(bytes, sizeof(bytes)));
	}
	/* RFC 1624, section 4: the case that RFC 1141 gets wrong. */
	assert_int_equal(xv_csum_update16(0x2fdd, 0x5555, 0x8532), 0x0000);
}

static void pseudo_headers(void **state)
{
	uint8_t src[16], dst[16], pseudo[40];
	uint64_t seed = 4;
	unsigned int i;

	for (i = 0; i < 2000; i++) {
		uint32_t len = unit_random(&seed, 65536);
		uint8_t proto = (uint8_t)unit_random(&seed, 256);

		fill(src, sizeof(src), &seed);
		fill(dst, sizeof(dst), &seed);
		memset(pseudo, 0, sizeof(pseudo));
		memcpy(pseudo, src, 4);
		memcpy(pseudo + 4, dst, 4);
		pseudo[9] = proto;
		pseudo[10] = (uint8_t)(len >> 8);
		pseudo[11] = (uint8_t)len;
		assert_sum_equal(xv_csum_pseudo4(src, dst, proto, len), sum_model(pseudo, 12));
		memset(pseudo, 0, sizeof(pseudo));
		memcpy(pseudo, src, 16);
		memcpy(pseudo + 16, dst, 16);
		pseudo[34] = (uint8_t)(len >> 8);
		pseudo[35] = (uint8_t)len;
		pseudo[39] = proto;
		assert_sum_equal(xv_csum_pseudo6(src, dst, proto, len), sum_model(pseudo, 40));
	}
}

static void finish(void **state)
{
	assert_int_equal(xv_csum_finish(0xffff), 0xffff);
	assert_int_equal(xv_csum_finish(0), 0xffff);
	assert_int_equal(xv_csum_finish(0x1234), 0xedcb);
	assert_int_equal(xv_csum_odd(0x1234), 0x3412);
}

static int setup(void **state)
{
	if (unit_eal_init(state) != 0)
		return -1;
	pool = unit_pool_create("checksum", 64);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sums),    cmocka_unit_test(sums_of_chains),
		cmocka_unit_test(updates), cmocka_unit_test(pseudo_headers),
		cmocka_unit_test(finish),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
