/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rings that lend (virtio/lending.h): long frames refer to the guest's memory, the guest gets nothing back before the burst is over
 * and then all of it in order; who keeps a packet copies it; what still refers to lent bytes is counted. On all kinds of rings.
 */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "net/packet_share.h"
#include "virtio/vring_ops.h"
#include "vring_line.h"

#define CHUNK 30000u

static void open_lending(const struct line_config *c, uint64_t seed)
{
	line_open(c, seed, RTE_MIN(LINE_REGION_BYTES / 2 / (c->size + 2u), CHUNK));
	line->lends = true;
	line_start();
}

/* Every byte, wherever it is. */
static void check_bytes(struct rte_mbuf *m, const struct line_buffer *b)
{
	static uint8_t copy[LINE_FLAT_MAX], want[LINE_FLAT_MAX];

	rte_mbuf_sanity_check(m, 1);
	assert_int_equal(m->pkt_len, b->frame_len);
	line_frame_bytes(b->frame, want, b->frame_len);
	assert_memory_equal(rte_pktmbuf_read(m, 0, m->pkt_len, copy), want, m->pkt_len);
}

/* Buffers that came back, the oldest of which is *back; returns how many. */
static unsigned int reap(unsigned int *back)
{
	unsigned int n = 0;
	uint32_t cookie, len;

	for (; guest_ring_reap(&line->ring, &cookie, &len); n++) {
		assert_int_equal(cookie, *back);
		assert_int_equal(len, 0);
		line->buffer[cookie].posted = false;
		*back = (*back + 1) % line->n_buffers;
	}
	return n;
}

/* Long and short frames in turn, in chains and tables, over borders of regions. */
static void lend(const struct line_config *c)
{
	unsigned int round, next = 0, back = 0, lent = 0, long_frames = 0, held = 0;
	struct rte_mbuf *pkts[XV_BURST];

	open_lending(c, c->size * 77u + c->features);
	line->ring.scatter = (c->features & ORDER) == 0 && line_random(2) != 0;
	for (round = 0; round < 300; round++) {
		unsigned int want = line_random(RTE_MIN(c->size, 70u) + 1u), got, i, first_lent;

		while (want-- > 0) {
			unsigned int pieces;
			enum guest_shape shape = line_random_shape(&pieces);
			uint32_t most = line->chunk - line->hdr_len;

			if (!line_post_frame(1 + line_random(line_random(2) ? most : RTE_MIN(most, 1500u)), pieces, shape))
				break;
		}
		guest_ring_publish(&line->ring);
		got = line->vq.recv(&line->vq, pkts, (uint16_t)(1 + line_random(XV_BURST)));
		assert_int_equal(atomic_load(&line->vq.error), XV_VRING_OK);
		first_lent = got;
		for (i = 0; i < got; i++) {
			bool is_lent = xv_packet_is_lent(pkts[i]);

			if (is_lent && first_lent == got)
				first_lent = i;
			assert_true(!is_lent || pkts[i]->pkt_len > XV_LEND_MIN);
			long_frames += pkts[i]->pkt_len > XV_LEND_MIN;
			lent += is_lent;
			/* The first buffer, with the headers, never is: it can be written. */
			assert_true(xv_packet_writable(pkts[i]));
			assert_true(pkts[i]->data_len >= RTE_MIN(pkts[i]->pkt_len, (uint32_t)XV_LEND_HEAD));
			check_bytes(pkts[i], &line->buffer[(next + i) % line->n_buffers]);
		}
		assert_int_equal(line->vq.lent, first_lent < got);
		next = (next + got) % line->n_buffers;
		/* A split ring gives nothing back, a packed one what came before the first that was lent. */
		i = reap(&back);
		if (line->vq.lent)
			assert_true(i <= first_lent);
		else
			assert_int_equal(i, got);
		held += got - i;
		rte_pktmbuf_free_bulk(pkts, got);
		assert_int_equal(xv_vring_return(&line->vq), 0);
		assert_int_equal(reap(&back), got - i);
		assert_false(line->vq.lent);
	}
	if (c->size >= 8 && c->size <= 65) {
		assert_true(lent > long_frames / 2);
		assert_true(held >= lent);
	}
	line->lends = false;
}

static void lent_frames_are_whole_and_come_back_at_the_end(void **state)
{
	FOR_EACH_CONFIG(lend, ALL_FEATURES);
}

/* One frame of len bytes in so many pieces, received. */
static struct rte_mbuf *receive_one(uint32_t len, unsigned int pieces, const struct line_buffer **b)
{
	struct rte_mbuf *m;

	*b = &line->buffer[line->oldest];
	assert_true(line_post_frame(len, pieces, GUEST_DIRECT));
	guest_ring_publish(&line->ring);
	assert_int_equal(line->vq.recv(&line->vq, &m, 1), 1);
	return m;
}

/* There is one copy: what the guest changes later is what is sent; but for the beginning, and what was copied to be kept. */
static void change(const struct line_config *c)
{
	unsigned int free_before = line_pool_free(), back = 0;
	const struct line_buffer *b;
	struct rte_mbuf *m, *kept, *clone;
	static uint8_t copy[CHUNK];

	if (c->size != 8)
		return;
	open_lending(c, 1);
	m = receive_one(9000, 3, &b);
	assert_true(xv_packet_is_lent(m));
	clone = xv_packet_clone(m, line_pool);
	assert_true(xv_packet_is_lent(clone));
	kept = xv_packet_unlend(clone, line_pool);
	assert_ptr_not_equal(kept, clone);
	assert_false(xv_packet_is_lent(kept));
	/* Nobody who counts references takes lent bytes for his own. */
	assert_true(rte_mbuf_ext_refcnt_read(m->next->shinfo) > 1);

	memset(guest_at(&line->guest, b->gpa + b->len - 1), 0x5a, 1);
	memset(guest_at(&line->guest, b->seg[0].gpa), 0x5a, 1);
	assert_memory_not_equal(rte_pktmbuf_read(m, 0, 9000, copy), rte_pktmbuf_read(kept, 0, 9000, line_scratch), 9000);
	assert_int_equal(copy[8999], 0x5a);
	check_bytes(kept, b);

	/* A packet that is left over is found out. */
	assert_int_equal(reap(&back), 0);
	assert_int_equal(xv_vring_return(&line->vq), 1);
	assert_int_equal(reap(&back), 1);
	rte_pktmbuf_free(m);
	check_bytes(kept, b);
	rte_pktmbuf_free(kept);
	assert_int_equal(line_pool_free(), free_before);
	line->lends = false;
}

static void lent_bytes_are_the_guests(void **state)
{
	FOR_EACH_CONFIG(change, 0, V1 | MRG | ORDER);
}

/* Bursts end before they lend too much; what is in too many pieces, or would not be worth it, is copied. */
static void bounds(const struct line_config *c)
{
	struct rte_mbuf *pkts[XV_BURST];
	unsigned int back = 0, got, total = 0, i;
	const struct line_buffer *b;
	struct guest_seg segs[GUEST_MAX_SEGS];

	if (c->size != 64 && c->size != 65)
		return;
	open_lending(c, 2);
	pkts[0] = receive_one(XV_LEND_MIN, 1, &b);
	assert_false(line->vq.lent);
	assert_int_equal(reap(&back), 1);
	rte_pktmbuf_free(pkts[0]);
	pkts[0] = receive_one(XV_LEND_MIN + 1, 1, &b);
	assert_true(line->vq.lent);
	rte_pktmbuf_free(pkts[0]);
	assert_int_equal(xv_vring_return(&line->vq), 0);
	assert_int_equal(reap(&back), 1);

	/* 2,200 bytes would be two buffers: sixteen pieces of them are no gain. */
	b = &line->buffer[line->oldest];
	for (i = 0; i < GUEST_MAX_SEGS; i++)
		segs[i] = (struct guest_seg){b->gpa + i * 150, 150};
	assert_true(guest_ring_post(&line->ring, segs, GUEST_MAX_SEGS, false, GUEST_DIRECT, line->oldest));
	guest_ring_publish(&line->ring);
	memset(guest_at(&line->guest, b->gpa), 0, 12);
	assert_int_equal(line->vq.recv(&line->vq, pkts, 1), 1);
	assert_false(xv_packet_is_lent(pkts[0]));
	rte_pktmbuf_free(pkts[0]);
	assert_int_equal(guest_ring_reap(&line->ring, &i, &i), 1);

	line_open(c, 3, CHUNK);
	line->lends = true;
	line_start();
	back = 0;
	while (line->n_buffers > total + 1 && line_post_frame(CHUNK - 12, 1, GUEST_DIRECT))
		total++;
	assert_true(total * (CHUNK - 12) > XV_LEND_BURST_BYTES);
	guest_ring_publish(&line->ring);
	got = line->vq.recv(&line->vq, pkts, XV_BURST);
	assert_in_range(got, 2, total - 1);
	assert_true((got - 1) * (CHUNK - 12) < XV_LEND_BURST_BYTES && got * (CHUNK - 12) >= XV_LEND_BURST_BYTES);
	rte_pktmbuf_free_bulk(pkts, got);
	assert_int_equal(xv_vring_return(&line->vq), 0);
	assert_int_equal(reap(&back), got);
	line->lends = false;
}

static void bursts_are_bounded(void **state)
{
	FOR_EACH_CONFIG(bounds, 0, V1 | MRG | ORDER, V1 | INDIRECT);
}

/* A chain that is broken, behind a frame that is lent: that one arrives, nothing is given back any more. */
static void broken(const struct line_config *c)
{
	struct guest_seg outside = {UINT64_C(1) << 40, 100};
	struct rte_mbuf *pkts[XV_BURST];
	unsigned int back = 0, first = 0;

	if (c->size != 8)
		return;
	open_lending(c, 4);
	assert_true(line_post_frame(5000, 1, GUEST_DIRECT));
	assert_true(guest_ring_post(&line->ring, &outside, 1, false, GUEST_DIRECT, 77));
	guest_ring_publish(&line->ring);
	assert_int_equal(line->vq.recv(&line->vq, pkts, XV_BURST), 1);
	assert_int_equal(atomic_load(&line->vq.error), XV_VRING_BAD_ADDR);
	check_bytes(pkts[0], &line->buffer[first]);
	rte_pktmbuf_free(pkts[0]);
	assert_int_equal(xv_vring_return(&line->vq), 0);
	assert_int_equal(reap(&back), 0);
	assert_int_equal(line->vq.recv(&line->vq, pkts, XV_BURST), 0);
	line->lends = false;
}

static void a_broken_ring_gives_nothing_back(void **state)
{
	FOR_EACH_CONFIG(broken, 0, V1 | ORDER);
}

/* No packet memory half-way: what was received goes on, the rest waits in the ring. */
static void starved(const struct line_config *c)
{
	static struct rte_mbuf *hoard[LINE_POOL_SIZE];
	struct rte_mbuf *pkts[XV_BURST];
	unsigned int back = 0, n_hoard = line_pool_free() - 3;

	if (c->size != 8)
		return;
	open_lending(c, 5);
	assert_true(line_post_frame(5000, 1, GUEST_DIRECT));
	assert_true(line_post_frame(5000, 1, GUEST_DIRECT));
	guest_ring_publish(&line->ring);
	assert_int_equal(rte_mempool_get_bulk(line_pool, (void **)hoard, n_hoard), 0);
	assert_int_equal(line->vq.recv(&line->vq, pkts, XV_BURST), 1);
	/* A copy takes three, and there is one. */
	assert_null(xv_packet_unlend(pkts[0], line_pool));
	check_bytes(pkts[0], &line->buffer[0]);
	rte_pktmbuf_free(pkts[0]);
	assert_int_equal(xv_vring_return(&line->vq), 0);
	assert_int_equal(reap(&back), 1);
	assert_int_equal(line->vq.recv(&line->vq, pkts, XV_BURST), 1);
	check_bytes(pkts[0], &line->buffer[1]);
	rte_pktmbuf_free(pkts[0]);
	assert_int_equal(xv_vring_return(&line->vq), 0);
	assert_int_equal(reap(&back), 1);
	rte_mempool_put_bulk(line_pool, (void **)hoard, n_hoard);
	line->lends = false;
}

static void packet_memory_may_run_out(void **state)
{
	FOR_EACH_CONFIG(starved, 0, V1 | ORDER);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		LINE_TEST(lent_frames_are_whole_and_come_back_at_the_end),
		LINE_TEST(lent_bytes_are_the_guests),
		LINE_TEST(bursts_are_bounded),
		LINE_TEST(a_broken_ring_gives_nothing_back),
		LINE_TEST(packet_memory_may_run_out),
	};

	return cmocka_run_group_tests(tests, line_setup, line_teardown);
}
