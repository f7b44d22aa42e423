/* SPDX-License-Identifier: Apache-2.0 */
/* Fragments of hostile and shared packets, and without memory; what they look like is in
 * test/virtio/test_answers_scapy.py. */
#include "unit.h"

#include <errno.h>
#include <string.h>

#include <rte_mbuf.h>
#include <rte_mempool.h>

#include "net/checksum.h"
#include "net/fragment.h"
#include "net/packet.h"

#define MAX 64

static struct rte_mempool *pool;
static struct rte_mbuf *out[MAX];

static int setup(void **state)
{
	if (unit_eal_init(state) != 0)
		return -1;
	pool = unit_pool_create("fragment", 255);
	return pool == NULL;
}

/* An IPv4 packet with these options (words) and so much behind its header. */
static uint32_t frame(uint8_t *p, uint32_t option_words, uint32_t payload_len)
{
	uint32_t header_len = 20 + 4 * option_words, total = header_len + payload_len, i;

	memset(p, 0, 14 + header_len);
	memcpy(p, (const uint8_t[]){2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0}, 14);
	p[14] = (uint8_t)(0x40 | header_len / 4);
	p[16] = (uint8_t)(total >> 8);
	p[17] = (uint8_t)total;
	p[19] = 7;
	p[22] = 64;
	p[23] = 17;
	memcpy(p + 26, (const uint8_t[]){10, 0, 0, 1, 10, 0, 0, 2}, 8);
	for (i = 0; i < option_words; i++)
		memcpy(p + 34 + 4 * i, i % 2 ? (const uint8_t[]){0x07, 4, 4, 0} : (const uint8_t[]){0x94, 4, 0, 0}, 4);
	for (i = 0; i < payload_len; i++)
		p[14 + header_len + i] = (uint8_t)(i * 7 + i / 256);
	return 14 + total;
}

static bool is(struct rte_mbuf *m, const uint8_t *bytes, uint32_t len)
{
	static uint8_t flat[70000];

	return m->pkt_len == len && memcmp(rte_pktmbuf_read(m, 0, len, flat), bytes, len) == 0;
}

/* Put together again, the fragments are the packet. They are freed. */
static void check(const uint8_t *bytes, uint32_t mtu, int n)
{
	const uint32_t header_len = (bytes[14] & 15) * 4u, total = (uint32_t)bytes[16] << 8 | bytes[17];
	const uint32_t base = (uint32_t)(bytes[20] & 0x1f) << 8 | bytes[21];
	static uint8_t flat[70000];
	uint32_t done = 0;
	int i;

	for (i = 0; i < n; i++) {
		const uint8_t *p = rte_pktmbuf_read(out[i], 0, out[i]->pkt_len, flat), *ip = p + 14;
		uint32_t own_header = (ip[0] & 15) * 4u, len = (uint32_t)ip[2] << 8 | ip[3];

		rte_mbuf_sanity_check(out[i], 1);
		assert_int_equal(out[i]->pkt_len, 14 + len);
		assert_true(len <= mtu && own_header <= header_len);
		assert_int_equal(xv_csum_sum(ip, own_header), 0xffff);
		assert_memory_equal(p, bytes, 14);
		assert_memory_equal(ip + 12, bytes + 26, 8);
		assert_int_equal(((uint32_t)(ip[6] & 0x1f) << 8 | ip[7]), base + done / 8);
		assert_int_equal(ip[6] & 0xe0, (bytes[20] & 0xe0) | (i < n - 1 ? 0x20 : 0));
		assert_memory_equal(ip + own_header, bytes + 14 + header_len + done, len - own_header);
		done += len - own_header;
		assert_true(i == n - 1 || done % 8 == 0);
	}
	assert_int_equal(header_len + done, total);
	rte_pktmbuf_free_bulk(out, (unsigned int)n);
}

static void cuts_anything(void **state)
{
	unsigned int before = rte_mempool_avail_count(pool), i;
	static uint8_t bytes[8192];
	struct rte_mbuf *m;
	uint64_t seed = 1;
	int n;

	(void)state;
	for (i = 0; i < 3000; i++) {
		uint16_t cuts[4] = {0};
		uint32_t len = frame(bytes, unit_random(&seed, 11), unit_random(&seed, 5000)),
			 mtu = 68 + unit_random(&seed, 3000);
		unsigned int c;

		for (c = 0; c < 3; c++) {
			cuts[c] = (uint16_t)((c ? cuts[c - 1] : 0) + 1 + unit_random(&seed, 60));
			if (cuts[c] >= len)
				cuts[c] = 0;
		}
		m = unit_packet(pool, bytes, len, cuts);
		n = xv_ipv4_fragment(m, mtu, pool, out, MAX);
		if (n == -E2BIG) {
			rte_pktmbuf_free(m);
			continue;
		}
		assert_true(n > 0);
		check(bytes, mtu, n);
	}
	assert_int_equal(rte_mempool_avail_count(pool), before);
}

static void hostile(void **state)
{
	unsigned int before, i;
	static uint8_t bytes[2048];
	uint64_t seed = 2;
	int cut = 0, n;

	(void)state;
	before = rte_mempool_avail_count(pool);
	for (i = 0; i < 30000; i++) {
		uint32_t len = frame(bytes, unit_random(&seed, 11), unit_random(&seed, 400)),
			 mtu = unit_random(&seed, 600), k;
		struct rte_mbuf *m;

		for (k = unit_random(&seed, 4); k > 0; k--)
			bytes[unit_random(&seed, RTE_MIN(len, 80u))] = (uint8_t)unit_random(&seed, 256);
		if (unit_random(&seed, 4) == 0)
			len = 1 + unit_random(&seed, len);
		m = unit_packet(pool, bytes, len, NULL);
		n = xv_ipv4_fragment(m, mtu, pool, out, MAX);
		if (n < 0) {
			assert_true(n == -EPROTO || n == -EMSGSIZE || n == -E2BIG);
			assert_true(is(m, bytes, len));
			rte_pktmbuf_free(m);
			continue;
		}
		cut++;
		if (bytes[12] == 8 && bytes[13] == 0)
			check(bytes, mtu, n);
		else /* tagged by chance */
			rte_pktmbuf_free_bulk(out, (unsigned int)n);
	}
	assert_true(cut > 1000);
	assert_int_equal(rte_mempool_avail_count(pool), before);
}

static void leaves_shared_packets_alone(void **state)
{
	static uint8_t bytes[2048];
	uint32_t len = frame(bytes, 1, 1000);
	struct rte_mbuf *m = unit_packet(pool, bytes, len, NULL);
	int n;

	(void)state;
	rte_pktmbuf_refcnt_update(m, 1);
	n = xv_ipv4_fragment(m, 300, pool, out, MAX);
	assert_int_equal(n, 4);
	check(bytes, 300, n);
	assert_true(is(m, bytes, len));
	assert_int_equal(rte_mbuf_refcnt_read(m), 1);
	/* One that wants something done first, and one that is too much. */
	m->ol_flags |= XV_PACKET_OFFLOAD;
	assert_int_equal(xv_ipv4_fragment(m, 300, pool, out, MAX), -EINVAL);
	m->ol_flags &= ~XV_PACKET_OFFLOAD;
	assert_int_equal(xv_ipv4_fragment(m, 300, pool, out, 3), -E2BIG);
	assert_true(is(m, bytes, len));
	rte_pktmbuf_free(m);
}

static void out_of_memory(void **state)
{
	struct rte_mempool *small = unit_pool_create("small", 3);
	static uint8_t bytes[8192];
	uint32_t len = frame(bytes, 0, 5000);
	struct rte_mbuf *m = unit_packet(pool, bytes, len, NULL);

	(void)state;
	assert_int_equal(xv_ipv4_fragment(m, 1000, small, out, MAX), -ENOBUFS);
	/* Two fragments of three mbufs each. */
	assert_int_equal(xv_ipv4_fragment(m, 4500, small, out, MAX), -ENOBUFS);
	assert_true(is(m, bytes, len));
	assert_int_equal(rte_mempool_avail_count(small), 3);
	rte_pktmbuf_free(m);
	rte_mempool_free(small);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hostile),
		cmocka_unit_test(leaves_shared_packets_alone),
		cmocka_unit_test(out_of_memory),
		cmocka_unit_test(cuts_anything),
	};

	return cmocka_run_group_tests_name("fragment", tests, setup, NULL);
}
