/* SPDX-License-Identifier: Apache-2.0 */
/* Shared packets: whose bytes are whose, and that every reference is given back. */
#include "unit.h"

#include <stdbool.h>
#include <string.h>

#include <rte_mbuf.h>

#include "net/packet.h"
#include "net/packet_share.h"

#define POOL_SIZE 63
#define LEN	  3000

static struct rte_mempool *pool;
static uint8_t bytes[LEN];

static struct rte_mbuf *packet(uint32_t len, const uint16_t *cuts)
{
	struct rte_mbuf *m = unit_packet(pool, bytes, len, cuts);

	m->port = 7;
	m->hash.rss = 0x1234;
	m->ol_flags |= XV_PACKET_OFFLOAD;
	*xv_packet_offload(m) = (struct xv_offload){.flags = XV_OFFLOAD_CSUM, .csum_start = 34, .csum_offset = 16};
	return m;
}

static void assert_same(struct rte_mbuf *m, const uint8_t *want, uint32_t len)
{
	uint8_t flat[LEN];

	rte_mbuf_sanity_check(m, 1);
	assert_int_equal(m->pkt_len, len);
	assert_memory_equal(rte_pktmbuf_read(m, 0, len, flat), want, len);
	assert_int_equal(m->port, 7);
	assert_int_equal(m->hash.rss, 0x1234);
	assert_true(m->ol_flags & XV_PACKET_OFFLOAD);
	assert_int_equal(xv_packet_offload(m)->flags, XV_OFFLOAD_CSUM);
	assert_int_equal(xv_packet_offload(m)->csum_start, 34);
	assert_int_equal(xv_packet_offload(m)->csum_offset, 16);
}

static void own_is_nothing_if_alone(void **state)
{
	struct rte_mbuf *m = packet(100, NULL);

	assert_true(xv_packet_writable(m));
	assert_ptr_equal(xv_packet_own(m, pool), m);
	assert_int_equal(rte_mempool_avail_count(pool), POOL_SIZE - 1);
	rte_pktmbuf_free(m);
}

/* Shapes of packets, and how they came to be shared. */
static const uint16_t cuts[][4] = {{0}, {60}, {256}, {300, 301}, {1, 2, 3}};
static const uint32_t lens[] = {1, 60, 256, 257, 1500, 2048, 2049, LEN};

enum how { CLONED, HELD_TWICE, HELD_TWICE_AND_CLONED, HOWS };

static void share(uint32_t len, const uint16_t *at, enum how how)
{
	struct rte_mbuf *m = packet(len, at), *other, *third = NULL, *own, *seg;
	uint8_t want[LEN];

	memcpy(want, bytes, len);
	if (how == CLONED) {
		other = xv_packet_clone(m, pool);
	} else {
		for (seg = m; seg; seg = seg->next)
			rte_mbuf_refcnt_update(seg, 1);
		other = m;
		if (how == HELD_TWICE_AND_CLONED)
			third = xv_packet_clone(m, pool);
	}
	assert_non_null(other);
	assert_false(xv_packet_writable(m));
	assert_false(xv_packet_writable(other));
	assert_same(other, want, len);

	own = xv_packet_own(other, pool);
	assert_non_null(own);
	assert_true(xv_packet_writable(own));
	assert_same(own, want, len);
	assert_same(m, want, len);
	assert_true(own->data_len >= RTE_MIN(rte_pktmbuf_data_len(m), XV_PACKET_OWN_BYTES));
	assert_true(rte_pktmbuf_headroom(own) >= RTE_PKTMBUF_HEADROOM);
	assert_true(!own->next || !(own->next->ol_flags & XV_PACKET_OFFLOAD));

	/* What the one writes, the others do not see. */
	memset(rte_pktmbuf_mtod(own, void *), 0xee, own->data_len);
	assert_same(m, want, len);
	if (third) {
		assert_same(third, want, len);
		rte_pktmbuf_free(third);
	}
	memset(want, 0xee, own->data_len);
	rte_pktmbuf_free(m);
	assert_same(own, want, len);
	rte_pktmbuf_free(own);
	assert_int_equal(rte_mempool_avail_count(pool), POOL_SIZE);
}

static void own_of_shared(void **state)
{
	unsigned int i, j;
	enum how how;

	for (i = 0; i < RTE_DIM(lens); i++)
		for (j = 0; j < RTE_DIM(cuts); j++)
			for (how = 0; how < HOWS; how++)
				share(lens[i], cuts[j], how);
}

/* Bytes come forward, whoever holds what is behind; and with none in front. */
static void pull_brings_bytes_together(void **state)
{
	static const uint16_t counts[] = {1, 100, 256, 600};
	unsigned int i, j, n, shared, empty;

	for (i = 0; i < RTE_DIM(lens); i++) {
		for (j = 0; j < RTE_DIM(cuts); j++) {
			for (n = 0; n < RTE_DIM(counts) * 4; n++) {
				struct rte_mbuf *m = packet(lens[i], cuts[j]), *other = NULL, *before = m;
				uint16_t count = counts[n / 4];

				shared = n & 1;
				empty = n >> 1 & 1;
				if (shared) {
					other = xv_packet_clone(m, pool);
					m = xv_packet_own(m, pool);
				}
				if (empty) {
					before = rte_pktmbuf_alloc(pool);
					before->port = 7;
					before->hash.rss = 0x1234;
					before->ol_flags = m->ol_flags & XV_PACKET_OFFLOAD;
					*xv_packet_offload(before) = *xv_packet_offload(m);
					m->ol_flags &= ~XV_PACKET_OFFLOAD;
					assert_int_equal(rte_pktmbuf_chain(before, m), 0);
					m = before;
				}
				assert_int_equal(xv_packet_pull(m, count, pool), 0);
				assert_in_range(m->data_len, RTE_MIN((uint32_t)count, lens[i]), lens[i]);
				assert_same(m, bytes, lens[i]);
				memset(rte_pktmbuf_mtod(m, void *), 0x99, RTE_MIN((uint32_t)count, lens[i]));
				rte_pktmbuf_free(m);
				if (other != NULL) {
					assert_same(other, bytes, lens[i]);
					rte_pktmbuf_free(other);
				}
				assert_int_equal(rte_mempool_avail_count(pool), POOL_SIZE);
			}
		}
	}
}

/* A clone of a packet whose head is a copy already, and so on: references to references. */
static void chains_of_clones(void **state)
{
	struct rte_mbuf *packets[8], *m = packet(LEN, NULL);
	uint8_t want[8][LEN];
	unsigned int i;

	for (i = 0; i < 8; i++) {
		memcpy(want[i], i ? want[i - 1] : bytes, LEN);
		packets[i] = xv_packet_clone(i ? packets[i - 1] : m, pool);
		assert_non_null(packets[i]);
		packets[i] = xv_packet_own(packets[i], pool);
		assert_non_null(packets[i]);
		rte_pktmbuf_mtod(packets[i], uint8_t *)[i * 9] = 0x99;
		want[i][i * 9] = 0x99;
	}
	for (i = 0; i < 8; i++)
		assert_same(packets[i], want[i], LEN);
	rte_pktmbuf_free(m);
	for (i = 0; i < 8; i++) {
		assert_same(packets[i], want[i], LEN);
		rte_pktmbuf_free(packets[i]);
	}
	assert_int_equal(rte_mempool_avail_count(pool), POOL_SIZE);
}

/* The last one left may write. */
static void alone_again(void **state)
{
	struct rte_mbuf *m = packet(1000, NULL), *clone = xv_packet_clone(m, pool);

	assert_false(xv_packet_writable(m));
	rte_pktmbuf_free(clone);
	assert_true(xv_packet_writable(m));
	rte_pktmbuf_free(m);
	assert_int_equal(rte_mempool_avail_count(pool), POOL_SIZE);
}

struct external {
	struct rte_mbuf_ext_shared_info info;
	uint8_t bytes[LEN];
	unsigned int freed;
};

static void external_free(void *p, void *opaque)
{
	((struct external *)opaque)->freed++;
}

static void external_buffers(void **state)
{
	static struct external e = {.info = {.free_cb = external_free, .fcb_opaque = &e}};
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool), *clone;

	memcpy(e.bytes, bytes, LEN);
	rte_mbuf_ext_refcnt_set(&e.info, 1);
	rte_pktmbuf_attach_extbuf(m, e.bytes, 0, LEN, &e.info);
	m->data_off = 0;
	m->data_len = LEN;
	m->pkt_len = LEN;
	assert_true(xv_packet_writable(m));
	clone = xv_packet_clone(m, pool);
	assert_false(xv_packet_writable(m));
	clone = xv_packet_own(clone, pool);
	assert_true(xv_packet_writable(clone));
	memset(rte_pktmbuf_mtod(clone, void *), 0, clone->data_len);
	assert_memory_equal(e.bytes, bytes, LEN);
	rte_pktmbuf_free(m);
	assert_int_equal(e.freed, 0);
	rte_pktmbuf_free(clone);
	assert_int_equal(e.freed, 1);
	assert_int_equal(rte_mempool_avail_count(pool), POOL_SIZE);
}

/* Out of memory at each point: nothing is lost, nothing changed. */
static void out_of_memory(void **state)
{
	struct rte_mbuf *m = packet(LEN, cuts[1]), *seg, *hoard[POOL_SIZE], *own;
	unsigned int n = 0, left;

	for (seg = m; seg; seg = seg->next)
		rte_mbuf_refcnt_update(seg, 1);
	while ((hoard[n] = rte_pktmbuf_alloc(pool)) != NULL)
		n++;
	for (left = 0;; left++) {
		own = xv_packet_own(m, pool);
		if (own)
			break;
		if (left < m->nb_segs)
			assert_null(xv_packet_clone(m, pool));
		assert_int_equal(rte_mempool_avail_count(pool), left);
		assert_int_equal(rte_mbuf_refcnt_read(m), 2);
		assert_same(m, bytes, LEN);
		rte_pktmbuf_free(hoard[--n]);
	}
	assert_int_equal(left, 1 + m->nb_segs);
	assert_same(own, bytes, LEN);
	rte_pktmbuf_free(own);
	rte_pktmbuf_free(m);
	while (n > 0)
		rte_pktmbuf_free(hoard[--n]);
	assert_int_equal(rte_mempool_avail_count(pool), POOL_SIZE);
}

static int setup(void **state)
{
	uint64_t seed = 1;
	unsigned int i;

	if (unit_eal_init(state) != 0)
		return -1;
	pool = unit_pool_create("share", POOL_SIZE);
	for (i = 0; i < LEN; i++)
		bytes[i] = (uint8_t)unit_random(&seed, 256);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(own_is_nothing_if_alone),
		cmocka_unit_test(own_of_shared),
		cmocka_unit_test(pull_brings_bytes_together),
		cmocka_unit_test(chains_of_clones),
		cmocka_unit_test(alone_again),
		cmocka_unit_test(external_buffers),
		cmocka_unit_test(out_of_memory),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
