/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rings against the plain driver of guest_ring.h: every test runs on split and packed rings, in plain C
 * and in AVX-512, of several sizes and sets of features (for_each_config). The twins are also held
 * against each other bit by bit, on sound and on hostile rings.
 */
#include "unit.h"

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <sys/eventfd.h>

#include <rte_mbuf.h>

#include "guest_ring.h"
#include "net/packet.h"
#include "virtio/dirty_log.h"
#include "virtio/inflight.h"
#include "virtio/vring.h"
#include "virtio/vring_ops.h"

#define BIT(n) (UINT64_C(1) << (n))
#define V1 BIT(VIRTIO_F_VERSION_1)
#define MRG BIT(VIRTIO_NET_F_MRG_RXBUF)
#define ORDER BIT(VIRTIO_F_IN_ORDER)
#define EVENT BIT(VIRTIO_RING_F_EVENT_IDX)
#define INDIRECT BIT(VIRTIO_RING_F_INDIRECT_DESC)
#define PACKED BIT(VIRTIO_F_RING_PACKED)
#define GUEST_OFFLOADS                                                                             \
	(BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_GUEST_TSO4) |                             \
	 BIT(VIRTIO_NET_F_GUEST_TSO6) | BIT(VIRTIO_NET_F_GUEST_ECN) | BIT(VIRTIO_NET_F_GUEST_UFO))
#define HOST_OFFLOADS                                                                              \
	(BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_HOST_TSO4) | BIT(VIRTIO_NET_F_HOST_TSO6) |      \
	 BIT(VIRTIO_NET_F_HOST_ECN) | BIT(VIRTIO_NET_F_HOST_UFO))

#define POOL_SIZE 1023
#define REGION_BYTES (384u * 1024)
#define FRAME_MAX (65535 + 14 + 8)
#define FLAT_MAX (FRAME_MAX + 12)
#define MAX_BUFFERS 1024

static struct rte_mempool *pool;
static bool have_avx512;

struct config {
	bool packed, avx512;
	uint16_t size;
	uint64_t features;
};

/* A buffer of the guest: a chunk of its memory, and how the chunk was cut when it was posted. */
struct buffer {
	struct guest_seg seg[GUEST_MAX_SEGS];
	unsigned int n;
	uint64_t gpa;
	uint32_t len;	/* as posted */
	uint64_t frame; /* what is in it: seed and length of a frame, header */
	uint32_t frame_len;
	bool posted;
};

/* One ring with both its sides. */
struct line {
	const struct config *c;
	struct guest guest;
	struct guest_ring ring;
	struct xv_vring vq;
	uint64_t features;
	uint32_t hdr_len;
	int call_fd;
	uint64_t random;
	unsigned int n_buffers;
	uint32_t chunk;
	struct buffer buffer[MAX_BUFFERS];
	unsigned int oldest; /* buffers are used in turn */
};

static struct line *line;
static uint8_t scratch[FLAT_MAX], scratch2[FLAT_MAX];

static uint32_t rnd(uint32_t n)
{
	return unit_random(&line->random, n);
}

static void frame_bytes(uint64_t seed, uint8_t *to, uint32_t len)
{
	uint32_t i;

	for (i = 0; i < len; i++) {
		if (i % 8 == 0)
			seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		to[i] = (uint8_t)(seed >> (8 * (i % 8)) ^ seed >> 32);
	}
}

static unsigned int pool_free(void)
{
	return rte_mempool_avail_count(pool);
}

static void check_nothing_leaked(void)
{
	assert_int_equal(pool_free(), POOL_SIZE);
}

/* A fresh ring, stopped; buffers of `chunk` bytes, `n_buffers` of them, the first across two regions. */
static void line_open(const struct config *c, uint64_t seed, uint32_t chunk)
{
	uint16_t start = 0;
	unsigned int i;
	bool wrap = true;

	guest_reset(&line->guest);
	line->c = c;
	line->random = seed;
	line->chunk = chunk;
	line->features = c->features | (c->packed ? PACKED | V1 : 0);
	line->hdr_len = line->features & (V1 | MRG) ? 12 : 10;
	if (c->packed) {
		start = (uint16_t)rnd(c->size);
		wrap = rnd(2) != 0;
	} else if (rnd(2) != 0) {
		start = (uint16_t)(65536 - rnd(2u * c->size));
	}
	guest_ring_create(&line->ring, &line->guest, c->size, line->features, start, wrap);
	line->ring.random = seed;
	line->n_buffers = 0;
	line->oldest = 0;
	/* Not before all else is in region 0 and 1: this one leaves nothing behind it there. */
	line->buffer[line->n_buffers++].gpa = guest_border(&line->guest) - chunk / 2;
	guest_alloc(&line->guest, 1, chunk, 1);
	for (i = 1; (i < c->size || i < 2) && line->n_buffers < MAX_BUFFERS; i++) {
		unsigned int region = i % 8 == 7 ? 2 : 1;

		if (line->guest.taken[region] + chunk > line->guest.region_bytes)
			break;
		line->buffer[line->n_buffers++].gpa = guest_alloc(&line->guest, region, chunk, 1);
	}
	assert_true(line->guest.taken[0] + chunk / 2 <= line->guest.region_bytes);
	assert_true(line->n_buffers > 1);
	for (i = 0; i < line->n_buffers; i++)
		line->buffer[i].posted = false;
}

static void line_start_with(struct xv_dirty_log *log, uint64_t log_used_gpa, struct xv_inflight *inflight)
{
	struct xv_vring_setup setup = {
		.pool = pool,
		.kick_fd = -1,
		.call_fd = line->call_fd,
		.log = log,
		.log_used_gpa = log_used_gpa,
		.inflight = inflight,
	};
	eventfd_t calls;

	guest_ring_setup(&line->ring, line->features, &setup);
	xv_vring_use_avx512 = line->c->avx512;
	memset(&line->vq, 0, sizeof(line->vq));
	xv_vring_start(&line->vq, &setup);
	assert_int_equal(line->vq.hdr_len, line->hdr_len);
	(void)eventfd_read(line->call_fd, &calls);
}

static void line_start(void)
{
	line_start_with(NULL, UINT64_MAX, NULL);
}

static enum guest_shape random_shape(unsigned int *pieces)
{
	enum guest_shape shape = GUEST_DIRECT;

	*pieces = rnd(4) != 0 ? 1 : 1 + rnd(RTE_MIN(line->c->size, 6u));
	if ((line->features & INDIRECT) != 0 && rnd(8) == 0) {
		shape = GUEST_INDIRECT;
		*pieces = 1 + rnd(GUEST_MAX_SEGS);
		if (!line->c->packed && *pieces > 1 && rnd(4) == 0)
			shape = GUEST_MIXED;
	}
	return shape;
}

/* Cut the first len bytes of a buffer into pieces, some of them empty. */
static void cut(struct buffer *b, uint32_t len, unsigned int pieces)
{
	uint32_t at = 0;
	unsigned int i;

	for (i = 0; i < pieces; i++) {
		uint32_t part = i + 1 == pieces ? len - at : rnd(RTE_MIN(len - at, 200u) + 1);

		b->seg[i] = (struct guest_seg){b->gpa + at, part};
		at += part;
	}
	b->n = pieces;
	b->len = len;
}

static bool post(uint32_t len, unsigned int pieces, enum guest_shape shape, bool writable)
{
	struct buffer *b = &line->buffer[line->oldest];

	if (b->posted)
		return false;
	cut(b, len, pieces);
	if (!guest_ring_post(&line->ring, b->seg, b->n, writable, shape, line->oldest))
		return false;
	b->posted = true;
	line->oldest = (line->oldest + 1) % line->n_buffers;
	return true;
}

/* Post a frame for us to receive, with this header. */
static bool post_frame_as(const struct virtio_net_hdr_mrg_rxbuf *hdr, uint32_t len, unsigned int pieces,
			  enum guest_shape shape)
{
	struct buffer *b = &line->buffer[line->oldest];

	if (!post(line->hdr_len + len, pieces, shape, false))
		return false;
	b->frame = (uint64_t)rnd(UINT32_MAX) << 20;
	b->frame_len = len;
	frame_bytes(b->frame, scratch, len);
	guest_write(&line->guest, b->seg, b->n, 0, hdr, line->hdr_len);
	guest_write(&line->guest, b->seg, b->n, line->hdr_len, scratch, len);
	return true;
}

static bool post_frame(uint32_t len, unsigned int pieces, enum guest_shape shape)
{
	static const struct virtio_net_hdr_mrg_rxbuf plain;

	return post_frame_as(&plain, len, pieces, shape);
}

static bool post_random_frame(void)
{
	uint32_t most = line->chunk - line->hdr_len, len;
	unsigned int pieces;
	enum guest_shape shape = random_shape(&pieces);

	switch (rnd(8)) {
	case 0:
		len = 1 + rnd(most);
		break;
	case 1:
		len = RTE_MIN(most, 2040u + rnd(16)); /* about the room of an mbuf */
		break;
	default:
		len = RTE_MIN(most, 60 + rnd(1458));
		break;
	}
	return post_frame(len, pieces, shape);
}

static void check_packet(struct rte_mbuf *m, uint64_t frame, uint32_t len)
{
	const void *bytes;

	rte_mbuf_sanity_check(m, 1);
	assert_int_equal(m->pkt_len, len);
	assert_int_equal(m->nb_segs, (len + XV_PACKET_DATA_BYTES - 1) / XV_PACKET_DATA_BYTES);
	assert_int_equal(rte_mbuf_refcnt_read(m), 1);
	assert_int_equal(rte_pktmbuf_headroom(m), RTE_PKTMBUF_HEADROOM);
	bytes = rte_pktmbuf_read(m, 0, len, scratch);
	frame_bytes(frame, scratch2, len);
	assert_memory_equal(bytes, scratch2, len);
}

static struct rte_mbuf *make_packet(uint64_t frame, uint32_t len)
{
	const uint16_t cuts[] = {(uint16_t)(1 + rnd(1000)), (uint16_t)(1001 + rnd(1000)), 0};

	frame_bytes(frame, scratch, len);
	return unit_packet(pool, scratch, len, rnd(8) == 0 ? cuts : NULL);
}

static void for_each_config(void (*fn)(const struct config *c), const uint64_t *features, unsigned int n)
{
	static const uint16_t split_sizes[] = {1, 2, 8, 64, 256}, packed_sizes[] = {1, 3, 8, 65, 250};
	unsigned int kind, size, f;

	for (kind = 0; kind < 4; kind++) {
		struct config c = {.packed = (kind & 1) != 0, .avx512 = (kind & 2) != 0};

		if (c.avx512 && !have_avx512)
			continue;
		for (size = 0; size < 5; size++) {
			for (f = 0; f < n; f++) {
				c.size = c.packed ? packed_sizes[size] : split_sizes[size];
				c.features = features[f];
				fn(&c);
				check_nothing_leaked();
			}
		}
	}
}

#define FOR_EACH_CONFIG(fn, ...)                                                                   \
	do {                                                                                       \
		static const uint64_t features[] = {__VA_ARGS__};                                  \
		for_each_config(fn, features, RTE_DIM(features));                                  \
	} while (0)

#define ALL_FEATURES                                                                               \
	0, V1, MRG | INDIRECT, V1 | MRG | INDIRECT | EVENT, V1 | MRG | ORDER | EVENT,              \
		V1 | ORDER | INDIRECT, INDIRECT | ORDER

/* Frames from the guest: whatever the guest posts comes out, in order, once; the buffers come back. */
static void receive(const struct config *c)
{
	struct rte_mbuf *pkts[2 * XV_BURST];
	unsigned int round, rounds = 3000 / (c->size + 8u) + 60, next = 0, back = 0;
	uint32_t cookie, len, i;

	line_open(c, c->size * 77u + c->features, RTE_MIN(REGION_BYTES / 2 / (c->size + 2u), 10000u));
	line->ring.scatter = (c->features & ORDER) == 0 && rnd(2) != 0;
	line_start();
	for (round = 0; round < rounds; round++) {
		unsigned int want = rnd(4) == 0 ? c->size : rnd(RTE_MIN(c->size, 100u) + 1u), got;

		while (want-- > 0 && post_random_frame())
			;
		guest_ring_publish(&line->ring);
		got = line->vq.recv(&line->vq, pkts, (uint16_t)(1 + rnd(RTE_DIM(pkts))));
		assert_int_equal(atomic_load(&line->vq.error), XV_VRING_OK);
		for (i = 0; i < got; i++) {
			struct buffer *b = &line->buffer[next];

			assert_true(b->posted);
			check_packet(pkts[i], b->frame, b->frame_len);
			assert_int_equal(pkts[i]->ol_flags, 0);
			next = (next + 1) % line->n_buffers;
		}
		rte_pktmbuf_free_bulk(pkts, got);
		for (i = 0; guest_ring_reap(&line->ring, &cookie, &len); i++) {
			assert_int_equal(cookie, back);
			assert_int_equal(len, 0);
			line->buffer[cookie].posted = false;
			back = (back + 1) % line->n_buffers;
		}
		assert_int_equal(i, got);
	}
}

static void received_frames_are_whole_and_in_order(void **state)
{
	FOR_EACH_CONFIG(receive, ALL_FEATURES);
}

/* What came back of a packet that was sent: collect its buffers, check header, lengths and bytes. */
static void check_sent(uint64_t frame, uint32_t frame_len, unsigned int *back,
		       struct virtio_net_hdr_mrg_rxbuf *hdr)
{
	uint32_t total = 0, cookie, len;
	unsigned int n = 0, expected = 1;

	do {
		struct buffer *b;

		assert_true(guest_ring_reap(&line->ring, &cookie, &len));
		assert_int_equal(cookie, *back);
		*back = (*back + 1) % line->n_buffers;
		b = &line->buffer[cookie];
		b->posted = false;
		assert_in_range(len, 1, b->len);
		assert_true(total + len <= sizeof(scratch));
		guest_read(&line->guest, b->seg, b->n, 0, scratch + total, len);
		total += len;
		if (n++ > 0)
			continue;
		assert_true(len >= line->hdr_len);
		memset(hdr, 0, sizeof(*hdr));
		memcpy(hdr, scratch, line->hdr_len);
		if (line->hdr_len == 12) {
			expected = hdr->num_buffers;
			assert_true(expected >= 1);
		}
		if ((line->features & MRG) == 0)
			assert_int_equal(expected, 1);
		if (expected > 1)
			assert_int_equal(len, b->len);
	} while (n < expected);
	assert_int_equal(total, line->hdr_len + frame_len);
	frame_bytes(frame, scratch2, frame_len);
	assert_memory_equal(scratch + line->hdr_len, scratch2, frame_len);
}

/* Bytes that the buffers which are posted and not used have room for; n counts them. */
static uint32_t room_from(unsigned int first, unsigned int *n)
{
	uint32_t room = 0;

	for (*n = 0; *n < line->n_buffers; (*n)++) {
		const struct buffer *b = &line->buffer[(first + *n) % line->n_buffers];

		if (!b->posted)
			break;
		room += b->len;
	}
	return room;
}

/*
 * Frames to the guest. When one cannot go the reason must be the right one, and neither the ring nor
 * the guest's memory may have changed beyond what went before it.
 */
static void send_frames(const struct config *c)
{
	bool mergeable = (c->features & MRG) != 0;
	struct virtio_net_hdr_mrg_rxbuf hdr;
	uint32_t lens[XV_BURST], i;
	uint64_t seeds[XV_BURST];
	struct rte_mbuf *pkts[XV_BURST];
	unsigned int round, rounds = 3000 / (c->size + 8u) + 60, back = 0, posted;
	uint32_t chunk = RTE_MIN(REGION_BYTES / 2 / (c->size + 2u), 10000u);

	line_open(c, c->size * 99u + c->features, chunk);
	line->ring.scatter = (c->features & ORDER) == 0 && rnd(2) != 0;
	line_start();
	for (round = 0; round < rounds; round++) {
		unsigned int want = rnd(4) == 0 ? c->size : rnd(RTE_MIN(c->size, 100u) + 1u);
		unsigned int n = rnd(XV_BURST) + 1, went;
		enum xv_vring_reject why = XV_VRING_DEAD;

		while (want-- > 0) {
			uint32_t len = mergeable && rnd(2) != 0 ? line->hdr_len + rnd(1500) : chunk;
			unsigned int pieces;
			enum guest_shape shape = random_shape(&pieces);

			if (!post(RTE_MIN(len, chunk), pieces, shape, true))
				break;
		}
		guest_ring_publish(&line->ring);
		for (i = 0; i < n; i++) {
			lens[i] = rnd(10) == 0 ? rnd(9000) : rnd(1500);
			seeds[i] = rnd(UINT32_MAX);
			pkts[i] = make_packet(seeds[i], lens[i]);
		}
		went = line->vq.send(&line->vq, pkts, (uint16_t)n, &why);
		assert_int_equal(atomic_load(&line->vq.error), XV_VRING_OK);
		for (i = 0; i < went; i++) {
			check_sent(seeds[i], lens[i], &back, &hdr);
			assert_int_equal(hdr.hdr.flags | hdr.hdr.gso_type, 0);
			assert_int_equal(hdr.hdr.csum_start | hdr.hdr.csum_offset | hdr.hdr.gso_size, 0);
		}
		assert_false(guest_ring_reap(&line->ring, &i, &i));
		if (went < n) {
			uint32_t need = line->hdr_len + lens[went], room = room_from(back, &posted);

			if (!mergeable && posted > 0) {
				assert_int_equal(why, XV_VRING_TOO_LONG);
				assert_true(line->buffer[back].len < need);
			} else if (why == XV_VRING_TOO_LONG) {
				/* Merged, and the whole ring is not enough. */
				assert_true(mergeable);
				assert_true(c->packed ? line->ring.room == 0 : posted == c->size);
				assert_true(room < need);
			} else {
				assert_int_equal(why, XV_VRING_FULL);
				assert_true(room < need);
			}
			rte_pktmbuf_free_bulk(&pkts[went], n - went);
			/* A buffer that is too short for the first in line would be so for ever. */
			if (why == XV_VRING_TOO_LONG && posted == line->n_buffers)
				break;
		}
	}
}

static void sent_frames_are_whole_and_in_order(void **state)
{
	FOR_EACH_CONFIG(send_frames, ALL_FEATURES);
}

/* Every length, alone and cut in three. */
static void every_length(const struct config *c)
{
	uint32_t len, i, cookie, used, n = RTE_MIN((c->size + 2u) / 3, 8u);
	unsigned int round, back = 0;

	if (c->size != 64 && c->size != 65)
		return;
	for (round = 0; round < 4; round++) {
		bool to_guest = round >= 2;
		unsigned int pieces = round % 2 ? 3 : 1;

		line_open(c, 5, 9020);
		line_start();
		back = 0;
		for (len = 0; len <= 9000; len += n) {
			struct virtio_net_hdr_mrg_rxbuf hdr;
			struct rte_mbuf *pkts[XV_BURST];
			enum xv_vring_reject why;
			unsigned int got, first = line->oldest;

			if (!to_guest) {
				for (i = 0; i < n; i++)
					assert_true(post_frame(len + i, pieces, GUEST_DIRECT));
				guest_ring_publish(&line->ring);
				got = line->vq.recv(&line->vq, pkts, XV_BURST);
				/* The frame without a byte is dropped. */
				assert_int_equal(got, len == 0 ? n - 1 : n);
				for (i = 0; i < got; i++) {
					struct buffer *b =
						&line->buffer[(first + i + (len == 0)) % line->n_buffers];

					check_packet(pkts[i], b->frame, b->frame_len);
				}
				rte_pktmbuf_free_bulk(pkts, got);
				for (i = 0; i < n; i++) {
					assert_true(guest_ring_reap(&line->ring, &cookie, &used));
					line->buffer[cookie].posted = false;
				}
				continue;
			}
			for (i = 0; i < n; i++) {
				assert_true(post(line->hdr_len + len + i, pieces, GUEST_DIRECT, true));
				pkts[i] = make_packet(len + i, len + i);
			}
			guest_ring_publish(&line->ring);
			assert_int_equal(line->vq.send(&line->vq, pkts, (uint16_t)n, &why), n);
			for (i = 0; i < n; i++)
				check_sent(len + i, len + i, &back, &hdr);
		}
		if (!to_guest)
			assert_int_equal(atomic_load(&line->vq.bad_headers), 1);
	}
}

static void every_length_passes(void **state)
{
	FOR_EACH_CONFIG(every_length, 0, V1 | MRG | INDIRECT);
}

/* 64 KiB segments, both ways: the longest frame there is, and one byte more. */
static void longest(const struct config *c)
{
	struct virtio_net_hdr_mrg_rxbuf hdr;
	enum xv_vring_reject why;
	struct rte_mbuf *pkt;
	unsigned int back = 0, i;
	uint32_t cookie, len;

	if (c->size != 8)
		return;
	line_open(c, 1, FLAT_MAX + 1);
	line_start();
	for (i = 0; i < 20; i++) {
		assert_true(post_frame(FRAME_MAX, 1 + i % 4, GUEST_DIRECT));
		guest_ring_publish(&line->ring);
		assert_int_equal(line->vq.recv(&line->vq, &pkt, 1), 1);
		check_packet(pkt, line->buffer[i % line->n_buffers].frame, FRAME_MAX);
		rte_pktmbuf_free(pkt);
		assert_true(guest_ring_reap(&line->ring, &cookie, &len));
		line->buffer[cookie].posted = false;
	}
	/* Too long: dropped and counted, the buffer comes back. */
	assert_true(post(line->hdr_len + FRAME_MAX + 1, 1, GUEST_DIRECT, false));
	guest_ring_publish(&line->ring);
	assert_int_equal(line->vq.recv(&line->vq, &pkt, 1), 0);
	assert_int_equal(atomic_load(&line->vq.bad_headers), 1);
	assert_true(guest_ring_reap(&line->ring, &cookie, &len));

	line_open(c, 2, FLAT_MAX + 1);
	line_start();
	for (i = 0; i < 20; i++) {
		assert_true(post(line->hdr_len + FRAME_MAX, 1 + i % 4, GUEST_DIRECT, true));
		guest_ring_publish(&line->ring);
		pkt = make_packet(i, FRAME_MAX);
		assert_int_equal(line->vq.send(&line->vq, &pkt, 1, &why), 1);
		check_sent(i, FRAME_MAX, &back, &hdr);
	}
}

static void longest_frame_passes(void **state)
{
	FOR_EACH_CONFIG(longest, 0, V1 | MRG);
}

/* Offload requests. A frame of 100 bytes; what is asked for, and whether it may pass. */
static const struct {
	uint8_t flags, gso_type;
	uint16_t gso_size, csum_start, csum_offset;
	bool ok;
	uint64_t needs; /* features; without them it is dropped, or not sent */
} requests[] = {
	{0, 0, 0, 0, 0, true, 0},
	{2, 0, 0, 0, 0, true, 0}, /* DATA_VALID is not a guest's to say */
	{1, 0, 0, 34, 16, true, BIT(VIRTIO_NET_F_CSUM)},
	{1, 0, 0, 0, 0, true, BIT(VIRTIO_NET_F_CSUM)},
	{1, 0, 0, 82, 16, true, BIT(VIRTIO_NET_F_CSUM)},
	{1, 0, 0, 83, 16, false, 0}, /* the checksum ends behind the frame */
	{1, 0, 0, 98, 65535, false, 0},
	{1, 0, 0, 65535, 65535, false, 0},
	{1, 1, 40, 34, 16, true, BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_HOST_TSO4)},
	{1, 4, 40, 54, 16, true, BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_HOST_TSO6)},
	{1, 3, 40, 34, 6, true, BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_HOST_UFO)},
	{1, 0x81, 40, 34, 16, true,
	 BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_HOST_TSO4) | BIT(VIRTIO_NET_F_HOST_ECN)},
	{1, 0x84, 40, 54, 16, true,
	 BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_HOST_TSO6) | BIT(VIRTIO_NET_F_HOST_ECN)},
	{1, 0x83, 40, 34, 6, false, 0},
	{1, 1, 0, 34, 16, false, 0},  /* no size */
	{0, 1, 40, 34, 16, false, 0}, /* no checksum */
	{1, 0x80, 40, 34, 16, false, 0},
	{1, 5, 40, 34, 6, false, 0}, /* UDP segmentation is never offered */
	{1, 2, 40, 34, 16, false, 0},
	{1, 0x7f, 40, 34, 16, false, 0},
};

static void offload_recv(const struct config *c)
{
	static const uint64_t offered[] = {0, BIT(VIRTIO_NET_F_CSUM),
					   BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_HOST_TSO4),
					   BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_HOST_TSO6) |
						   BIT(VIRTIO_NET_F_HOST_ECN),
					   HOST_OFFLOADS};
	unsigned int f, i, fast;

	if (c->size < 8)
		return;
	for (f = 0; f < RTE_DIM(offered); f++) {
		struct config with = *c;
		uint64_t bad = 0;

		with.features |= offered[f];
		line_open(&with, 3, 1000);
		line_start();
		/* Alone, in one descriptor or two, between frames that want nothing. */
		for (i = 0; i < 4 * RTE_DIM(requests); i++) {
			unsigned int k = i % RTE_DIM(requests), got, first = line->oldest;
			const struct virtio_net_hdr_mrg_rxbuf hdr = {
				.hdr = {.flags = requests[k].flags,
					.gso_type = requests[k].gso_type,
					.hdr_len = (uint16_t)rnd(65536), /* a hint; not relied on */
					.gso_size = requests[k].gso_size,
					.csum_start = requests[k].csum_start,
					.csum_offset = requests[k].csum_offset}};
			bool ok = requests[k].ok && (requests[k].needs & ~with.features) == 0;
			struct rte_mbuf *pkts[XV_BURST], *m;
			uint32_t cookie, len;

			fast = i / RTE_DIM(requests) % 2;
			assert_true(post_frame(200, 1, GUEST_DIRECT));
			assert_true(post_frame_as(&hdr, 100, fast ? 1 : 2, GUEST_DIRECT));
			assert_true(post_frame(300, 1, GUEST_DIRECT));
			guest_ring_publish(&line->ring);
			got = line->vq.recv(&line->vq, pkts, XV_BURST);
			assert_int_equal(got, ok ? 3 : 2);
			bad += !ok;
			assert_int_equal(atomic_load(&line->vq.bad_headers), bad);
			m = pkts[got - 1];
			check_packet(m, line->buffer[(first + 2) % line->n_buffers].frame, 300);
			assert_int_equal(m->ol_flags, 0);
			m = pkts[1];
			if (ok) {
				check_packet(m, line->buffer[(first + 1) % line->n_buffers].frame, 100);
				assert_int_equal((m->ol_flags & XV_PACKET_OFFLOAD) != 0,
						 ((requests[k].flags & 1) | requests[k].gso_type) != 0);
				assert_int_equal(m->ol_flags & ~XV_PACKET_OFFLOAD, 0);
			}
			if (ok && m->ol_flags != 0) {
				const struct xv_offload *o = xv_packet_offload(m);

				assert_int_equal(o->flags, requests[k].flags ? XV_OFFLOAD_CSUM : 0);
				assert_int_equal(o->gso_type, requests[k].gso_type);
				assert_int_equal(o->gso_size, requests[k].gso_size);
				assert_int_equal(o->csum_start, requests[k].csum_start);
				assert_int_equal(o->csum_offset, requests[k].csum_offset);
			}
			rte_pktmbuf_free_bulk(pkts, got);
			for (k = 0; k < 3; k++) {
				assert_true(guest_ring_reap(&line->ring, &cookie, &len));
				line->buffer[cookie].posted = false;
			}
		}
	}
}

/* The same request the other way needs the GUEST_ features. */
static uint64_t guest_needs(uint64_t host)
{
	uint64_t needs = 0;

	needs |= (host & BIT(VIRTIO_NET_F_CSUM)) != 0 ? BIT(VIRTIO_NET_F_GUEST_CSUM) : 0;
	needs |= (host & BIT(VIRTIO_NET_F_HOST_TSO4)) != 0 ? BIT(VIRTIO_NET_F_GUEST_TSO4) : 0;
	needs |= (host & BIT(VIRTIO_NET_F_HOST_TSO6)) != 0 ? BIT(VIRTIO_NET_F_GUEST_TSO6) : 0;
	needs |= (host & BIT(VIRTIO_NET_F_HOST_ECN)) != 0 ? BIT(VIRTIO_NET_F_GUEST_ECN) : 0;
	needs |= (host & BIT(VIRTIO_NET_F_HOST_UFO)) != 0 ? BIT(VIRTIO_NET_F_GUEST_UFO) : 0;
	return needs;
}

static void offload_send(const struct config *c)
{
	static const uint64_t taken[] = {0, BIT(VIRTIO_NET_F_GUEST_CSUM),
					 BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_GUEST_TSO4),
					 BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_GUEST_TSO6) |
						 BIT(VIRTIO_NET_F_GUEST_ECN),
					 GUEST_OFFLOADS};
	unsigned int f, i;

	if (c->size < 8)
		return;
	for (f = 0; f < RTE_DIM(taken); f++) {
		struct config with = *c;
		unsigned int back = 0;

		with.features |= taken[f];
		line_open(&with, 4, 1000);
		line_start();
		for (i = 0; i < RTE_DIM(requests); i++) {
			struct rte_mbuf *pkts[3];
			struct virtio_net_hdr_mrg_rxbuf hdr;
			enum xv_vring_reject why;
			struct buffer *b = NULL;
			unsigned int k, went, posted;
			struct xv_offload *o;
			bool ok = (guest_needs(requests[i].needs) & ~with.features) == 0;

			if (!requests[i].ok || requests[i].flags > 1)
				continue;
			while (room_from(back, &posted) < 3000 && posted < 4) {
				b = &line->buffer[line->oldest];
				assert_true(post(500, 1, GUEST_DIRECT, true));
				memset(guest_at(&line->guest, b->gpa), 0xff, 12);
			}
			guest_ring_publish(&line->ring);
			for (k = 0; k < 3; k++)
				pkts[k] = make_packet(k, 100 + k);
			pkts[1]->ol_flags |= XV_PACKET_OFFLOAD;
			o = xv_packet_offload(pkts[1]);
			*o = (struct xv_offload){.flags = requests[i].flags ? XV_OFFLOAD_CSUM : 0,
						 .gso_type = requests[i].gso_type,
						 .gso_size = requests[i].gso_size,
						 .csum_start = requests[i].csum_start,
						 .csum_offset = requests[i].csum_offset};
			if (requests[i].gso_type != 0 && pkts[1]->nb_segs == 1) /* TCP header: 24 bytes */
				rte_pktmbuf_mtod(pkts[1], uint8_t *)[o->csum_start + 12] = 0x60;
			went = line->vq.send(&line->vq, pkts, 3, &why);
			assert_int_equal(went, ok ? 3 : 1);
			check_sent(0, 100, &back, &hdr);
			assert_int_equal(hdr.hdr.flags | hdr.hdr.gso_type, 0);
			if (!ok) {
				assert_int_equal(why, XV_VRING_OFFLOAD);
				went += line->vq.send(&line->vq, &pkts[2], 1, &why);
				assert_int_equal(went, 2);
				rte_pktmbuf_free(pkts[1]);
			} else {
				uint32_t hdr_len = requests[i].gso_type == 0 ? 0
						   : requests[i].gso_type == 3
							   ? requests[i].csum_start + 8u
							   : requests[i].csum_start + 24u;
				uint8_t raw[200];
				uint32_t cookie, len;

				assert_true(guest_ring_reap(&line->ring, &cookie, &len));
				b = &line->buffer[cookie];
				b->posted = false;
				back = (back + 1) % line->n_buffers;
				assert_int_equal(len, line->hdr_len + 101);
				memset(&hdr, 0, sizeof(hdr));
				guest_read(&line->guest, b->seg, b->n, 0, &hdr, line->hdr_len);
				guest_read(&line->guest, b->seg, b->n, line->hdr_len, raw, 101);
				assert_int_equal(hdr.hdr.flags, requests[i].flags);
				assert_int_equal(hdr.hdr.gso_type, requests[i].gso_type);
				assert_int_equal(hdr.hdr.gso_size, requests[i].gso_size);
				assert_int_equal(hdr.hdr.csum_start, requests[i].csum_start);
				assert_int_equal(hdr.hdr.csum_offset, requests[i].csum_offset);
				if (requests[i].gso_type == 0 || raw[requests[i].csum_start + 12] == 0x60)
					assert_int_equal(hdr.hdr.hdr_len, hdr_len);
				if (line->hdr_len == 12)
					assert_int_equal(hdr.num_buffers, 1);
			}
			check_sent(2, 102, &back, &hdr);
			assert_int_equal(hdr.hdr.flags | hdr.hdr.gso_type, 0);
		}
	}
}

static void offload_requests_are_translated(void **state)
{
	FOR_EACH_CONFIG(offload_recv, 0, V1 | MRG, V1 | ORDER);
	FOR_EACH_CONFIG(offload_send, 0, V1 | MRG, V1 | ORDER);
}

/* 5.1.6.4.1: without GUEST_CSUM the device MUST set flags to zero; DATA_VALID is such a flag. */
static void data_valid(const struct config *c)
{
	struct virtio_net_hdr_mrg_rxbuf hdr;
	enum xv_vring_reject why;
	struct rte_mbuf *m;
	unsigned int back = 0;

	line_open(c, 4, 1000);
	line_start();
	assert_true(post(500, 1, GUEST_DIRECT, true));
	guest_ring_publish(&line->ring);
	m = make_packet(1, 100);
	m->ol_flags |= XV_PACKET_OFFLOAD;
	*xv_packet_offload(m) = (struct xv_offload){.flags = XV_OFFLOAD_CSUM_VALID};
	assert_int_equal(line->vq.send(&line->vq, &m, 1, &why), 1);
	check_sent(1, 100, &back, &hdr);
	assert_int_equal(hdr.hdr.flags,
			 c->features & BIT(VIRTIO_NET_F_GUEST_CSUM) ? VIRTIO_NET_HDR_F_DATA_VALID : 0);
}

static void data_valid_is_for_those_who_asked(void **state)
{
	FOR_EACH_CONFIG(data_valid, V1, V1 | BIT(VIRTIO_NET_F_GUEST_CSUM));
}

/*
 * No packet memory. What is in the ring stays there, in order, and what went out of it is what the guest
 * gets back; the burst may consist of any mixture of plain buffers and chains.
 */
static void no_pool(const struct config *c)
{
	static struct rte_mbuf *hoard[POOL_SIZE];
	struct rte_mbuf *pkts[XV_BURST];
	unsigned int round, next = 0, back = 0, i, posted;
	uint32_t cookie, len;

	line_open(c, c->size + c->features, RTE_MIN(REGION_BYTES / 2 / (c->size + 2u), 6000u));
	line_start();
	for (round = 0; round < 300; round++) {
		unsigned int want = rnd(RTE_MIN(c->size, 70u)) + 1, leave = rnd(8), got, before;

		for (i = 0; i < want; i++) {
			unsigned int pieces;
			enum guest_shape shape = random_shape(&pieces);

			len = rnd(3) == 0 ? 1 + rnd(line->chunk - line->hdr_len) : 60;
			if (!post_frame(len, pieces, shape))
				break;
		}
		guest_ring_publish(&line->ring);
		before = pool_free();
		assert_int_equal(before, POOL_SIZE);
		assert_int_equal(rte_mempool_get_bulk(pool, (void **)hoard, POOL_SIZE - leave), 0);
		got = line->vq.recv(&line->vq, pkts, XV_BURST);
		assert_true(got <= leave);
		for (;;) {
			for (i = 0; i < got; i++) {
				check_packet(pkts[i], line->buffer[next].frame,
					     line->buffer[next].frame_len);
				next = (next + 1) % line->n_buffers;
			}
			if (got > 0)
				rte_pktmbuf_free_bulk(pkts, got);
			for (i = 0; guest_ring_reap(&line->ring, &cookie, &len); i++) {
				assert_int_equal(cookie, back);
				line->buffer[cookie].posted = false;
				back = (back + 1) % line->n_buffers;
			}
			assert_int_equal(i, got);
			assert_int_equal(atomic_load(&line->vq.error), XV_VRING_OK);
			if (before == 0)
				break;
			rte_mempool_put_bulk(pool, (void **)hoard, POOL_SIZE - leave);
			before = 0;
			/* Sooner or later the rest comes. */
			got = line->vq.recv(&line->vq, pkts, XV_BURST);
		}
		while ((got = line->vq.recv(&line->vq, pkts, XV_BURST)) > 0) {
			rte_pktmbuf_free_bulk(pkts, got);
			next = (next + got) % line->n_buffers;
		}
		while (guest_ring_reap(&line->ring, &cookie, &len)) {
			line->buffer[cookie].posted = false;
			back = (back + 1) % line->n_buffers;
		}
		assert_int_equal(next, back);
		(void)room_from(back, &posted);
		assert_int_equal(posted, 0);
	}
	assert_true(atomic_load(&line->vq.no_mbuf) > 0);
}

static void without_packet_memory_nothing_is_lost(void **state)
{
	FOR_EACH_CONFIG(no_pool, V1, V1 | INDIRECT, V1 | ORDER | INDIRECT, ORDER, V1 | EVENT);
}

/* A frame that does not fit leaves no trace, merged or not. */
static void no_room(const struct config *c)
{
	unsigned int round, i;
	size_t bytes;
	uint8_t *image;

	line_open(c, 8, 600);
	bytes = line->guest.n_bytes;
	image = malloc(bytes);
	assert_non_null(image);
	for (round = 0; round < 20; round++) {
		unsigned int n = rnd(RTE_MIN(c->size, 5u) + 1u), pieces = 1 + rnd(2);
		enum xv_vring_reject why = XV_VRING_DEAD;
		struct xv_vring before;
		struct rte_mbuf *m;

		line_open(c, round, 600);
		for (i = 0; i < n && post(300 + line->hdr_len, pieces, GUEST_DIRECT, true); i++)
			;
		n = i;
		guest_ring_publish(&line->ring);
		line_start();
		memcpy(image, line->guest.bytes, bytes);
		before = line->vq;
		frame_bytes(1, scratch, 5 * 300 + 100);
		m = unit_packet(pool, scratch, 5 * 300 + 100, NULL);
		assert_int_equal(line->vq.send(&line->vq, &m, 1, &why), 0);
		if (n == 0)
			assert_int_equal(why, XV_VRING_FULL);
		else if ((c->features & MRG) == 0 || (pieces == 1 && n == c->size))
			assert_int_equal(why, XV_VRING_TOO_LONG);
		else if (pieces * n < c->size)
			assert_int_equal(why, XV_VRING_FULL);
		assert_memory_equal(image, line->guest.bytes, bytes);
		assert_int_equal(line->vq.avail_idx, before.avail_idx);
		assert_int_equal(line->vq.used_idx, before.used_idx);
		assert_int_equal(line->vq.avail_wrap, before.avail_wrap);
		assert_int_equal(line->vq.used_wrap, before.used_wrap);
		assert_int_equal(line->vq.error, XV_VRING_OK);
		check_packet(m, 1, 5 * 300 + 100);
		rte_pktmbuf_free(m);
	}
	free(image);
}

static void frame_without_room_leaves_no_trace(void **state)
{
	FOR_EACH_CONFIG(no_room, 0, V1, V1 | MRG, V1 | MRG | ORDER);
}

/* Tiny merged buffers of several descriptors: more pieces than a packet may have, but no offence. */
static void many_tiny_buffers(const struct config *c)
{
	enum xv_vring_reject why = XV_VRING_DEAD;
	struct config with = *c;
	struct rte_mbuf *m;
	unsigned int i;

	if (c->size < 250)
		return;
	with.size = 1024;
	line_open(&with, 8, 40);
	line_start();
	for (i = 0; i < 340 && post(40, 3, GUEST_DIRECT, true); i++)
		;
	guest_ring_publish(&line->ring);
	m = make_packet(1, 9000);
	assert_int_equal(line->vq.send(&line->vq, &m, 1, &why), 0);
	assert_int_equal(line->vq.error, XV_VRING_OK);
	assert_int_equal(why, XV_VRING_TOO_LONG);
	rte_pktmbuf_free(m);
}

static void tiny_buffers_are_no_offence(void **state)
{
	FOR_EACH_CONFIG(many_tiny_buffers, V1 | MRG);
}

/* Take and give back all that is there. */
static void drain(void)
{
	struct rte_mbuf *pkts[XV_BURST];
	uint32_t cookie, len;
	unsigned int got;

	while ((got = line->vq.recv(&line->vq, pkts, XV_BURST)) > 0)
		rte_pktmbuf_free_bulk(pkts, got);
	while (guest_ring_reap(&line->ring, &cookie, &len))
		line->buffer[cookie].posted = false;
}

static bool post_asks_for_kick(void)
{
	assert_true(post_frame(100, 1, GUEST_DIRECT));
	guest_ring_publish(&line->ring);
	return guest_ring_must_kick(&line->ring);
}

/* A kick for us: exactly when we asked for it. */
static void kicks(const struct config *c)
{
	unsigned int round, i;

	line_open(c, 9 + c->size, 400);
	line_start();
	/* An avail_event that nobody has written yet may say anything. */
	if (c->packed || !line->ring.event_idx)
		assert_false(post_asks_for_kick());
	drain();
	assert_true(xv_vring_arm(&line->vq));
	assert_true(post_asks_for_kick());
	xv_vring_disarm(&line->vq);
	for (round = 0; round < 500; round++) {
		unsigned int n = 1 + rnd(RTE_MIN(c->size, 5u));
		bool armed = rnd(4) != 0;

		drain();
		assert_int_equal(xv_vring_backlog(&line->vq, 32), 0);
		if (rnd(3) == 0) { /* a frame comes just before we arm */
			assert_false(post_asks_for_kick());
			assert_false(xv_vring_arm(&line->vq));
			drain();
		}
		if (armed) {
			assert_true(xv_vring_arm(&line->vq));
			assert_true(xv_vring_arm(&line->vq)); /* twice is no harm */
		}
		for (i = 0; i < n; i++) {
			assert_int_equal(post_asks_for_kick(), armed && i == 0);
			if (armed && i == 0)
				xv_vring_disarm(&line->vq);
			assert_int_equal(xv_vring_backlog(&line->vq, (uint16_t)(i + 1)), i + 1);
			assert_true(xv_vring_backlog(&line->vq, 32) >= 1);
		}
	}
	drain();
}

static void kicks_come_when_asked_for(void **state)
{
	FOR_EACH_CONFIG(kicks, V1, V1 | EVENT, V1 | ORDER | EVENT);
}

/* A call for the guest: exactly when it asked for it. */
static void calls(const struct config *c)
{
	bool event_idx = (c->features & EVENT) != 0;
	bool first = true; /* comes without need */
	uint32_t cookie, len;
	unsigned int round;

	line_open(c, 10 + c->size, 400);
	line_start();
	for (round = 0; round < 800; round++) {
		uint16_t pos = line->ring.used_pos, at = pos;
		bool wrap = line->ring.used_wrap, at_wrap = wrap, expected;
		unsigned int n = rnd(RTE_MIN(c->size, 6u) + 1u), i, went = 0, ahead;
		enum xv_vring_reject why;
		struct rte_mbuf *pkts[6];
		eventfd_t count = 0;

		for (i = 0; i < n && post(200, 1, GUEST_DIRECT, true); i++)
			;
		n = i;
		guest_ring_publish(&line->ring);
		/* Ask for a place that is up to a little more than the burst ahead (packed: within the lap). */
		ahead = rnd(c->packed ? RTE_MIN(c->size, 8u) : 8u);
		for (i = 0; i < ahead; i++) {
			at++;
			if (c->packed && at == c->size) {
				at = 0;
				at_wrap = !at_wrap;
			}
		}
		expected = n > 0;
		if (event_idx && (!c->packed || rnd(4) != 0)) {
			guest_ring_want_call_at(&line->ring, at, at_wrap);
			expected = ahead < n || (n > 0 && first);
			first = first && n == 0;
		} else if (rnd(2) != 0) {
			guest_ring_want_calls(&line->ring, false);
			expected = false;
		} else {
			guest_ring_want_calls(&line->ring, true);
		}
		for (i = 0; i < n; i++)
			pkts[i] = make_packet(i, 100);
		went = line->vq.send(&line->vq, pkts, (uint16_t)n, &why);
		assert_int_equal(went, n);
		(void)eventfd_read(line->call_fd, &count);
		assert_int_equal(count, expected);
		while (guest_ring_reap(&line->ring, &cookie, &len))
			line->buffer[cookie].posted = false;
	}
}

static void calls_come_when_asked_for(void **state)
{
	FOR_EACH_CONFIG(calls, V1, V1 | EVENT, V1 | MRG | EVENT | ORDER);
}

/* The guest's threads are on any CPU: EAL has bound us to one, and they would inherit that. */
static void run_anywhere(void)
{
	cpu_set_t all;

	memset(&all, 0xff, sizeof(all));
	(void)sched_setaffinity(0, sizeof(all), &all);
}

/* A guest on another thread that posts one frame at a time and kicks only when it must. */
#define HURRIED_FRAMES 3000
static int kick_fd;

static void *hurried_guest(void *arg)
{
	unsigned int posted = 0, back = 0;
	uint32_t cookie, len;

	run_anywhere();
	while (back < HURRIED_FRAMES) {
		if (posted < HURRIED_FRAMES && post_frame(60, 1, GUEST_DIRECT)) {
			posted++;
			guest_ring_publish(&line->ring);
			if (guest_ring_must_kick(&line->ring))
				(void)eventfd_write(kick_fd, 1);
		}
		while (guest_ring_reap(&line->ring, &cookie, &len)) {
			line->buffer[cookie].posted = false;
			back++;
		}
		if (rnd(16) == 0)
			(void)poll(NULL, 0, 0);
	}
	return NULL;
}

static void hurry(const struct config *c)
{
	struct rte_mbuf *pkts[XV_BURST];
	unsigned int received = 0, sleeps = 0, got;
	pthread_t thread;

	if (c->size != 8)
		return;
	line_open(c, 11, 400);
	line_start();
	kick_fd = eventfd(0, EFD_NONBLOCK);
	assert_int_equal(pthread_create(&thread, NULL, hurried_guest, NULL), 0);
	while (received < HURRIED_FRAMES) {
		got = line->vq.recv(&line->vq, pkts, XV_BURST);
		if (got > 0)
			rte_pktmbuf_free_bulk(pkts, got);
		received += got;
		if (got == 0 && received < HURRIED_FRAMES && xv_vring_arm(&line->vq)) {
			struct pollfd fd = {.fd = kick_fd, .events = POLLIN};
			eventfd_t count;

			sleeps++;
			assert_int_equal(poll(&fd, 1, 20000), 1); /* else a wake-up was lost */
			assert_int_equal(eventfd_read(kick_fd, &count), 0);
			xv_vring_disarm(&line->vq);
		}
	}
	assert_int_equal(pthread_join(thread, NULL), 0);
	(void)close(kick_fd);
	assert_true(sleeps > 0);
}

static void no_wake_up_is_lost(void **state)
{
	FOR_EACH_CONFIG(hurry, V1, V1 | EVENT);
}

/*
 * Twins. Both get the same ring; all that can be seen afterwards must be equal.
 */
struct outcome {
	uint16_t returned;
	enum xv_vring_reject why;
	unsigned int n_bytes;
	uint8_t bytes[512 * 1024]; /* the packets: lengths, flags, requests, contents */
	struct xv_vring vq;
	uint8_t *memory;
};
static struct outcome *outcomes[2];

static void note(struct outcome *o, const void *bytes, uint32_t len)
{
	assert_true(o->n_bytes + len <= sizeof(o->bytes));
	memcpy(o->bytes + o->n_bytes, bytes, len);
	o->n_bytes += len;
}

static void note_packet(struct outcome *o, struct rte_mbuf *m)
{
	struct xv_offload request = {0};
	uint32_t head[4];

	rte_mbuf_sanity_check(m, 1);
	if (m->ol_flags & XV_PACKET_OFFLOAD)
		request = *xv_packet_offload(m);
	head[0] = m->pkt_len;
	head[1] = m->nb_segs;
	head[2] = (uint32_t)m->ol_flags;
	head[3] = m->data_off;
	note(o, head, sizeof(head));
	note(o, &request, sizeof(request));
	note(o, rte_pktmbuf_read(m, 0, m->pkt_len, scratch), m->pkt_len);
}

static void receive_into(struct outcome *o, xv_vring_recv_fn recv, uint16_t n)
{
	struct rte_mbuf *pkts[XV_BURST];
	unsigned int i;

	o->returned = recv(&line->vq, pkts, n);
	assert_true(o->returned <= n);
	o->n_bytes = 0;
	for (i = 0; i < o->returned && o->n_bytes < sizeof(o->bytes) - FLAT_MAX; i++)
		note_packet(o, pkts[i]);
	if (o->returned > 0)
		rte_pktmbuf_free_bulk(pkts, o->returned);
}

static void send_into(struct outcome *o, xv_vring_send_fn send, uint16_t n, uint64_t seed)
{
	struct rte_mbuf *pkts[XV_BURST];
	uint64_t saved = line->random;
	unsigned int i;

	line->random = seed;
	for (i = 0; i < n; i++) {
		uint64_t frame = rnd(UINT32_MAX);

		pkts[i] = make_packet(frame, rnd(16) == 0 ? rnd(5000) : rnd(700));
		if (rnd(16) != 0)
			continue;
		pkts[i]->ol_flags |= XV_PACKET_OFFLOAD;
		*xv_packet_offload(pkts[i]) = (struct xv_offload){
			.flags = XV_OFFLOAD_CSUM, .csum_start = 34, .csum_offset = 16,
			.gso_type = rnd(2) ? XV_GSO_TCPV4 : 0, .gso_size = 1400};
	}
	line->random = saved;
	o->returned = send(&line->vq, pkts, n, &o->why);
	assert_true(o->returned <= n);
	o->n_bytes = 0;
	rte_pktmbuf_free_bulk(&pkts[o->returned], n - o->returned);
}

static void random_header(struct virtio_net_hdr_mrg_rxbuf *hdr)
{
	uint8_t *bytes = (uint8_t *)hdr;
	unsigned int i;

	memset(hdr, 0, sizeof(*hdr));
	switch (rnd(12)) {
	case 0: /* anything */
		for (i = 0; i < sizeof(*hdr); i++)
			bytes[i] = (uint8_t)rnd(256);
		break;
	case 1:
		hdr->hdr.flags = (uint8_t)rnd(4);
		hdr->hdr.csum_start = (uint16_t)rnd(60);
		hdr->hdr.csum_offset = 16;
		hdr->hdr.gso_type = (uint8_t)rnd(6);
		hdr->hdr.gso_size = 1000;
		break;
	}
}

/* Change some of what the guest has written: ring, tables, positions. */
static void corrupt(void)
{
	static const uint64_t values[] = {0, 1, 2, 3, 4, 7, 8, 15, 16, 0x80, 0x8000, 0x8080, 0xffff,
					  UINT32_MAX, UINT64_MAX, GUEST_FAR, GUEST_BASE};
	struct guest_ring *r = &line->ring;
	unsigned int n = 1 + rnd(3);

	while (n-- > 0) {
		uint64_t value = rnd(2) ? values[rnd(RTE_DIM(values))] : rnd(line->c->size + 2u);
		uint16_t i = (uint16_t)rnd(line->c->size);
		uint8_t *desc = guest_at(&line->guest, r->desc_gpa + i * 16u);

		switch (rnd(8)) {
		case 0:
			memcpy(desc, &value, 8);
			break;
		case 1:
			memcpy(desc + 8, &value, 4);
			break;
		case 2:
			memcpy(desc + 12, &value, 2);
			break;
		case 3:
			memcpy(desc + 14, &value, 2);
			break;
		case 4: /* just beyond a region, or into it */
			value = GUEST_FAR + line->guest.region_bytes - rnd(300);
			memcpy(desc, &value, 8);
			break;
		case 5:
			memcpy(guest_at(&line->guest, r->table_gpa + rnd(line->c->size * 256u)), &value, 2);
			break;
		case 6:
			if (!line->c->packed)
				r->avail->ring[i] = (uint16_t)value;
			break;
		case 7:
			if (!line->c->packed && rnd(4) == 0)
				r->avail->idx = (uint16_t)value;
			break;
		}
	}
}

static void compare(void)
{
	const struct outcome *a = outcomes[0], *b = outcomes[1];

	assert_int_equal(a->returned, b->returned);
	assert_int_equal(a->why, b->why);
	assert_int_equal(a->n_bytes, b->n_bytes);
	assert_memory_equal(a->bytes, b->bytes, a->n_bytes);
	assert_int_equal(a->vq.error, b->vq.error);
	assert_memory_equal(&a->vq, &b->vq, sizeof(a->vq));
	assert_int_equal(memcmp(a->memory, b->memory, line->guest.n_bytes), 0);
}

static void twins(const struct config *c)
{
	unsigned int round, i;
	struct xv_vring start;
	struct guest saved;
	struct outcome *o;
	uint8_t *memory;

	if (c->avx512)
		return;
	saved = line->guest;
	guest_create(&line->guest, 128 * 1024); /* less to compare */
	memory = malloc(line->guest.n_bytes);
	assert_non_null(memory);
	for (i = 0; i < 2; i++) {
		outcomes[i] = malloc(sizeof(*outcomes[i]));
		assert_non_null(outcomes[i]);
		outcomes[i]->memory = malloc(line->guest.n_bytes);
		assert_non_null(outcomes[i]->memory);
	}
	for (round = 0; round < 40; round++) {
		bool sending = round % 2 != 0, hostile = round % 4 >= 2;
		unsigned int bursts = 1 + rnd(4), odd, calm;
		uint32_t most;
		uint64_t seed;

		line_open(c, round * 31 + c->features + c->size, round % 8 < 6 ? 1600 : 3000);
		line->ring.scatter = (c->features & ORDER) == 0 && rnd(4) == 0;
		line_start();
		most = line->chunk - line->hdr_len;
		calm = rnd(3) == 0 ? 1 : 16;
		while (bursts-- > 0) {
			uint16_t n = (uint16_t)(1 + rnd(XV_BURST));
			uint32_t cookie, len;

			for (odd = 0; odd < 80; odd++) {
				struct virtio_net_hdr_mrg_rxbuf hdr;
				unsigned int pieces = 1;
				enum guest_shape shape = GUEST_DIRECT;

				if (rnd(calm) == 0)
					shape = random_shape(&pieces);
				if (sending) {
					if (!post(rnd(16) ? line->chunk : rnd(line->chunk), pieces, shape,
						  true))
						break;
					continue;
				}
				random_header(&hdr);
				if (!post_frame_as(&hdr, rnd(16) ? 1 + rnd(RTE_MIN(most, 1514u)) : rnd(most),
						   pieces, shape))
					break;
			}
			guest_ring_publish(&line->ring);
			if (hostile && rnd(2) != 0)
				corrupt();
			memcpy(memory, line->guest.bytes, line->guest.n_bytes);
			start = line->vq;
			seed = rnd(UINT32_MAX);
			for (i = 0; i < 2; i++) {
				o = outcomes[i];
				memcpy(line->guest.bytes, memory, line->guest.n_bytes);
				line->vq = start;
				if (sending)
					send_into(o,
						  c->packed ? i ? xv_packed_send_avx512 : xv_packed_send
						  : i	    ? xv_split_send_avx512
							    : xv_split_send,
						  n, seed);
				else
					receive_into(o,
						     c->packed ? i ? xv_packed_recv_avx512 : xv_packed_recv
						     : i       ? xv_split_recv_avx512
							       : xv_split_recv,
						     n);
				o->vq = line->vq;
				memcpy(o->memory, line->guest.bytes, line->guest.n_bytes);
			}
			if (!sending)
				outcomes[0]->why = outcomes[1]->why = XV_VRING_FULL;
			compare();
			check_nothing_leaked();
			if (hostile) /* the driver cannot follow */
				break;
			while (guest_ring_reap(&line->ring, &cookie, &len))
				line->buffer[cookie].posted = false;
		}
	}
	for (i = 0; i < 2; i++) {
		free(outcomes[i]->memory);
		free(outcomes[i]);
	}
	free(memory);
	guest_destroy(&line->guest);
	line->guest = saved;
}

static void avx512_and_plain_c_are_twins(void **state)
{
	if (!have_avx512) {
		print_message("This CPU has no AVX-512: the twins are not compared.\n");
		skip();
	}
	FOR_EACH_CONFIG(twins, ALL_FEATURES, V1 | MRG | INDIRECT | HOST_OFFLOADS | GUEST_OFFLOADS,
			HOST_OFFLOADS | ORDER);
}

/*
 * Hostile guests. Each kind of violation, behind some sound buffers: these pass, then the ring is broken
 * with the right reason and not touched any more.
 */
struct offence {
	const char *name;
	enum xv_vring_error error;
	bool split, packed, recv, send;
	void (*commit)(struct guest_ring *r, bool writable, uint16_t at);
};

/* The descriptor of the last buffer posted, which takes one. `at`: its place in the ring. */
static void *last_desc(struct guest_ring *r, uint16_t at)
{
	return r->is_packed ? (void *)&r->packed[at] : (void *)&r->desc[r->avail->ring[at]];
}

static void set_addr(struct guest_ring *r, uint16_t at, uint64_t addr)
{
	memcpy(last_desc(r, at), &addr, 8);
}

static void set_len(struct guest_ring *r, uint16_t at, uint32_t len)
{
	memcpy((uint8_t *)last_desc(r, at) + 8, &len, 4);
}

static void set_flags(struct guest_ring *r, uint16_t at, uint16_t set, uint16_t clear)
{
	uint16_t *flags = r->is_packed ? &r->packed[at].flags : &r->desc[r->avail->ring[at]].flags;

	*flags = (uint16_t)((*flags | set) & ~clear);
}

static void far_index(struct guest_ring *r, bool writable, uint16_t at)
{
	r->avail->idx = (uint16_t)(r->avail_pos + r->size);
}
static void head_beyond(struct guest_ring *r, bool writable, uint16_t at)
{
	r->avail->ring[at] = r->size;
}
static void head_far_beyond(struct guest_ring *r, bool writable, uint16_t at)
{
	r->avail->ring[at] = 0xffff;
}
static void next_beyond(struct guest_ring *r, bool writable, uint16_t at)
{
	struct vring_desc *d = last_desc(r, at);

	d->flags |= VRING_DESC_F_NEXT;
	d->next = r->size;
}
static void addr_zero(struct guest_ring *r, bool writable, uint16_t at)
{
	set_addr(r, at, 0);
}
static void addr_max(struct guest_ring *r, bool writable, uint16_t at)
{
	set_addr(r, at, UINT64_MAX);
}
static void addr_before(struct guest_ring *r, bool writable, uint16_t at)
{
	set_addr(r, at, GUEST_BASE - 1);
}
static void addr_past_end(struct guest_ring *r, bool writable, uint16_t at)
{
	set_addr(r, at, GUEST_FAR + r->guest->region_bytes - 50);
}
static void len_past_end(struct guest_ring *r, bool writable, uint16_t at)
{
	set_len(r, at, UINT32_MAX);
}
static void loop(struct guest_ring *r, bool writable, uint16_t at)
{
	struct vring_desc *d = last_desc(r, at);

	d->flags |= VRING_DESC_F_NEXT;
	d->next = r->avail->ring[at];
}
static void chain_past_ring(struct guest_ring *r, bool writable, uint16_t at)
{
	uint16_t i;

	for (i = 0; i < r->size; i++)
		if (r->packed[i].addr == 0)
			r->packed[i].addr = GUEST_FAR;
	for (i = 0; i < r->size; i++)
		r->packed[i].flags |= VRING_DESC_F_NEXT | (writable ? VRING_DESC_F_WRITE : 0);
}
static void wrong_direction(struct guest_ring *r, bool writable, uint16_t at)
{
	set_flags(r, at, writable ? 0 : VRING_DESC_F_WRITE, writable ? VRING_DESC_F_WRITE : 0);
}
static void make_indirect(struct guest_ring *r, uint16_t at, uint64_t table, uint32_t len)
{
	set_addr(r, at, table);
	set_len(r, at, len);
	set_flags(r, at, VRING_DESC_F_INDIRECT, VRING_DESC_F_WRITE);
}
static void indirect_empty(struct guest_ring *r, bool writable, uint16_t at)
{
	make_indirect(r, at, r->table_gpa, 0);
}
static void indirect_odd(struct guest_ring *r, bool writable, uint16_t at)
{
	make_indirect(r, at, r->table_gpa, 24);
}
static void indirect_outside(struct guest_ring *r, bool writable, uint16_t at)
{
	make_indirect(r, at, GUEST_FAR + r->guest->region_bytes - 16, 32);
}
static void indirect_huge(struct guest_ring *r, bool writable, uint16_t at)
{
	make_indirect(r, at, r->table_gpa, UINT32_MAX - 15);
}
static void indirect_and_next(struct guest_ring *r, bool writable, uint16_t at)
{
	make_indirect(r, at, r->table_gpa, 16);
	set_flags(r, at, VRING_DESC_F_NEXT, 0);
}
static void indirect_nested(struct guest_ring *r, bool writable, uint16_t at)
{
	struct vring_desc *table = (void *)guest_at(r->guest, r->table_gpa);

	table[0] = (struct vring_desc){r->table_gpa, 16, VRING_DESC_F_INDIRECT, 0};
	make_indirect(r, at, r->table_gpa, 16);
}
static void indirect_next_beyond(struct guest_ring *r, bool writable, uint16_t at)
{
	struct vring_desc *table = (void *)guest_at(r->guest, r->table_gpa);

	table[0] = (struct vring_desc){
		GUEST_FAR, 16, (uint16_t)(VRING_DESC_F_NEXT | (writable ? VRING_DESC_F_WRITE : 0)), 1};
	make_indirect(r, at, r->table_gpa, 16);
}
static void indirect_addr_outside(struct guest_ring *r, bool writable, uint16_t at)
{
	uint8_t *table = guest_at(r->guest, r->table_gpa);
	uint16_t write = writable ? VRING_DESC_F_WRITE : 0;

	memset(table, 0, 16);
	table[8] = 100;
	memcpy(table + (r->is_packed ? 14 : 12), &write, 2);
	make_indirect(r, at, r->table_gpa, 16);
}
static void too_short(struct guest_ring *r, bool writable, uint16_t at)
{
	set_len(r, at, 9);
}
static void empty(struct guest_ring *r, bool writable, uint16_t at)
{
	set_len(r, at, 0);
}

static const struct offence offences[] = {
	{"index too far", XV_VRING_BAD_AVAIL, true, false, true, true, far_index},
	{"head beyond", XV_VRING_BAD_HEAD, true, false, true, true, head_beyond},
	{"head far beyond", XV_VRING_BAD_HEAD, true, false, true, true, head_far_beyond},
	{"next beyond", XV_VRING_BAD_HEAD, true, false, true, true, next_beyond},
	{"address 0", XV_VRING_BAD_ADDR, true, true, true, true, addr_zero},
	{"address at the top", XV_VRING_BAD_ADDR, true, true, true, true, addr_max},
	{"address a byte before", XV_VRING_BAD_ADDR, true, true, true, true, addr_before},
	{"buffer ends outside", XV_VRING_BAD_ADDR, true, true, true, true, addr_past_end},
	{"buffer of 4 GiB", XV_VRING_BAD_ADDR, true, true, true, true, len_past_end},
	{"loop", XV_VRING_BAD_CHAIN, true, false, true, true, loop},
	{"chain longer than the ring", XV_VRING_BAD_CHAIN, false, true, true, true, chain_past_ring},
	{"wrong direction", XV_VRING_BAD_CHAIN, true, true, true, true, wrong_direction},
	{"empty table", XV_VRING_BAD_INDIRECT, true, true, true, true, indirect_empty},
	{"table of odd length", XV_VRING_BAD_INDIRECT, true, true, true, true, indirect_odd},
	{"table outside", XV_VRING_BAD_INDIRECT, true, true, true, true, indirect_outside},
	{"table of 4 GiB", XV_VRING_BAD_INDIRECT, true, true, true, true, indirect_huge},
	{"indirect and next", XV_VRING_BAD_INDIRECT, true, true, true, true, indirect_and_next},
	{"nested tables", XV_VRING_BAD_INDIRECT, true, false, true, true, indirect_nested},
	{"next beyond the table", XV_VRING_BAD_INDIRECT, true, false, true, true, indirect_next_beyond},
	{"table with bad address", XV_VRING_BAD_ADDR, true, true, true, true, indirect_addr_outside},
	{"header does not fit", XV_VRING_BAD_LENGTH, true, true, true, true, too_short},
	{"empty buffer", XV_VRING_BAD_LENGTH, true, true, true, true, empty},
};

static void offend(const struct config *c, const struct offence *o, bool sending, unsigned int sound)
{
	enum xv_vring_reject why = XV_VRING_FULL;
	struct rte_mbuf *pkts[XV_BURST];
	unsigned int i, went, expected = sound;
	uint32_t cookie, len;
	uint16_t at = 0;
	uint8_t *image;

	line_open(c, sound * 7, 500);
	for (i = 0; i < sound + 1; i++) {
		at = c->packed ? line->ring.avail_pos : line->ring.avail_pos % c->size;
		if (sending)
			assert_true(post(400, 1, GUEST_DIRECT, true));
		else
			assert_true(post_frame(100, 1, GUEST_DIRECT));
	}
	guest_ring_publish(&line->ring);
	line_start();
	o->commit(&line->ring, sending, at);
	if (o->commit == far_index || o->commit == chain_past_ring)
		expected = 0; /* the whole ring is bad */
	if (sending) {
		for (i = 0; i < sound + 3; i++)
			pkts[i] = make_packet(i, 100);
		went = line->vq.send(&line->vq, pkts, (uint16_t)(sound + 3), &why);
	} else {
		went = line->vq.recv(&line->vq, pkts, XV_BURST);
	}
	if (line->vq.error != o->error || went != expected)
		print_message("%s: %s, %u of %u passed\n", o->name,
			      xv_vring_error_text(line->vq.error), went, expected);
	assert_int_equal(line->vq.error, o->error);
	assert_int_equal(went, expected);
	if (sending) {
		assert_int_equal(why, XV_VRING_DEAD);
		rte_pktmbuf_free_bulk(&pkts[went], sound + 3 - went);
	} else if (went > 0) {
		rte_pktmbuf_free_bulk(pkts, went);
	}
	check_nothing_leaked();
	/* The sound ones came back, and nothing else. */
	if (o->commit != chain_past_ring) {
		for (i = 0; i < went; i++) {
			assert_true(guest_ring_reap(&line->ring, &cookie, &len));
			assert_int_equal(cookie, i);
		}
		assert_false(guest_ring_reap(&line->ring, &cookie, &len));
	}

	/* Broken for good. */
	image = malloc(line->guest.n_bytes);
	assert_non_null(image);
	memcpy(image, line->guest.bytes, line->guest.n_bytes);
	assert_int_equal(line->vq.recv(&line->vq, pkts, XV_BURST), 0);
	pkts[0] = make_packet(1, 100);
	assert_int_equal(line->vq.send(&line->vq, pkts, 1, &why), 0);
	assert_int_equal(why, XV_VRING_DEAD);
	rte_pktmbuf_free(pkts[0]);
	assert_true(xv_vring_arm(&line->vq));
	xv_vring_disarm(&line->vq);
	xv_vring_break(&line->vq, XV_VRING_MEMORY_GONE);
	assert_int_equal(line->vq.error, o->error);
	assert_int_equal(memcmp(image, line->guest.bytes, line->guest.n_bytes), 0);
	free(image);
}

static void hostile(const struct config *c)
{
	unsigned int i, sound;

	if (c->size < 64)
		return;
	for (i = 0; i < RTE_DIM(offences); i++) {
		const struct offence *o = &offences[i];

		if (c->packed ? !o->packed : !o->split)
			continue;
		for (sound = 0; sound < 20; sound += 9) {
			offend(c, o, false, sound);
			offend(c, o, true, sound);
		}
	}
}

static void not_negotiated(const struct config *c)
{
	const struct offence o = {"indirect not negotiated", XV_VRING_BAD_INDIRECT, true, true, true, true,
				  indirect_addr_outside};

	if (c->size < 64)
		return;
	offend(c, &o, false, 3);
	offend(c, &o, true, 3);
}

/* The owner often looks at the backlog first: what it saw there is checked as well. */
static void far_index_seen_early(const struct config *c)
{
	struct rte_mbuf *pkts[XV_BURST];
	unsigned int how;

	for (how = 0; how < 3 && !c->packed; how++) {
		line_open(c, how, 500);
		assert_true(post_frame(100, 1, GUEST_DIRECT));
		line_start();
		line->ring.avail->idx = (uint16_t)(line->ring.avail_pos + c->size);
		if (how == 0)
			(void)xv_vring_backlog(&line->vq, 32);
		else if (how == 1)
			(void)xv_vring_backlog(&line->vq, 1);
		else
			(void)xv_vring_arm(&line->vq);
		assert_int_equal(line->vq.recv(&line->vq, pkts, 1), 0);
		assert_int_equal(line->vq.error, XV_VRING_BAD_AVAIL);
	}
}

/* A ring that breaks while we sleep on its kicks. */
static void broken_while_armed(const struct config *c)
{
	uint8_t *image = malloc(line->guest.n_bytes);

	assert_non_null(image);
	line_open(c, 1, 500);
	line_start();
	assert_true(xv_vring_arm(&line->vq));
	xv_vring_break(&line->vq, XV_VRING_MEMORY_GONE);
	memcpy(image, line->guest.bytes, line->guest.n_bytes);
	xv_vring_disarm(&line->vq);
	assert_true(xv_vring_arm(&line->vq));
	assert_int_equal(memcmp(image, line->guest.bytes, line->guest.n_bytes), 0);
	free(image);
}

static void hostile_rings_are_broken_once(void **state)
{
	FOR_EACH_CONFIG(hostile, V1 | INDIRECT, INDIRECT | MRG, V1 | INDIRECT | ORDER);
	FOR_EACH_CONFIG(not_negotiated, V1, V1 | MRG);
}

static void index_beyond_the_ring_is_seen_early(void **state)
{
	FOR_EACH_CONFIG(far_index_seen_early, V1, V1 | EVENT);
}

static void broken_ring_stays_untouched(void **state)
{
	FOR_EACH_CONFIG(broken_while_armed, V1, V1 | EVENT);
}

/*
 * A second CPU of the guest makes descriptors available and unavailable while we look: a small packed
 * ring then seems to go round and round within one burst. Our positions must stay within it.
 */
static _Atomic bool stop_flipping;

static void *flipper(void *arg)
{
	struct guest_ring *r = arg;
	uint16_t i, write = r->packed[0].flags & VRING_DESC_F_WRITE;
	unsigned int lap;

	run_anywhere();
	for (lap = 0; !atomic_load_explicit(&stop_flipping, memory_order_relaxed); lap++)
		for (i = 0; i < r->size; i++) {
			struct vring_packed_desc *d = &r->packed[i];
			uint16_t flags = (uint16_t)((lap & 1 ? 0x80 : 0x8000) | write);
			uint64_t rest = 200 | (uint64_t)flags << 48;

			__atomic_store_n((uint64_t *)(void *)&d->len, rest, __ATOMIC_RELAXED);
		}
	return NULL;
}

static void flip(const struct config *c)
{
	struct rte_mbuf *pkts[XV_BURST];
	struct timespec now, start;
	long elapsed_ms;
	enum xv_vring_reject why;
	pthread_t thread;
	unsigned int sending, i;

	for (sending = 0; sending < 2; sending++) {
		if (!c->packed || c->size > 8)
			return;
		line_open(c, 1, 500);
		for (i = 0; i < c->size; i++)
			line->ring.packed[i] = (struct vring_packed_desc){
				.addr = GUEST_FAR, .len = 200,
				.flags = (uint16_t)(0x80 | (sending ? VRING_DESC_F_WRITE : 0))};
		line_start();
		atomic_store(&stop_flipping, false);
		assert_int_equal(pthread_create(&thread, NULL, flipper, &line->ring), 0);
		clock_gettime(CLOCK_MONOTONIC, &start);
		do {
			uint16_t n = 0;

			if (sending) {
				for (i = 0; i < XV_BURST; i++)
					pkts[i] = unit_packet(pool, scratch, 60, NULL);
				n = line->vq.send(&line->vq, pkts, XV_BURST, &why);
				rte_pktmbuf_free_bulk(&pkts[n], XV_BURST - n);
			} else {
				n = line->vq.recv(&line->vq, pkts, XV_BURST);
				if (n > 0)
					rte_pktmbuf_free_bulk(pkts, n);
			}
			if (line->vq.avail_idx >= c->size || line->vq.used_idx >= c->size)
				break;
			clock_gettime(CLOCK_MONOTONIC, &now);
			elapsed_ms = (now.tv_sec - start.tv_sec) * 1000 +
				     (now.tv_nsec - start.tv_nsec) / 1000000;
		} while (elapsed_ms < 100);
		atomic_store(&stop_flipping, true);
		assert_int_equal(pthread_join(thread, NULL), 0);
		assert_in_range(line->vq.avail_idx, 0, c->size - 1);
		assert_in_range(line->vq.used_idx, 0, c->size - 1);
		assert_int_equal(line->vq.error, XV_VRING_OK);
	}
}

static void flipping_descriptors_do_not_lead_us_out(void **state)
{
	FOR_EACH_CONFIG(flip, V1);
}

/*
 * The dirty log: exactly the pages that were written, and of the used ring at least those.
 */
#define LOG_BYTES ((GUEST_FAR + REGION_BYTES) / 4096 / 8 + 1)
static _Atomic uint8_t dirty_bits[LOG_BYTES];
static uint8_t expected_bits[LOG_BYTES];

static void expect_dirty(uint64_t gpa, uint64_t len)
{
	uint64_t at;

	for (at = gpa; at < gpa + len; at++)
		expected_bits[at / 4096 / 8] |= (uint8_t)(1u << (at / 4096 % 8));
}

static void dirty(const struct config *c)
{
	static uint8_t ring_before[64 * 1024];
	struct xv_dirty_log log = {.bits = dirty_bits, .size_bytes = sizeof(dirty_bits)};
	unsigned int round, i;
	int sending;

	for (sending = 0; sending < 2; sending++) {
		uint64_t ring_gpa, ring_bytes, page;
		uint8_t *ring;

		line_open(c, 12, RTE_MIN(REGION_BYTES / 2 / (c->size + 2u), 6000u));
		ring_gpa = c->packed ? line->ring.desc_gpa : line->ring.used_gpa;
		ring_bytes = c->packed ? c->size * 16u : 4 + c->size * 8u;
		ring = guest_at(&line->guest, ring_gpa);
		line_start_with(&log, ring_gpa, NULL);
		for (round = 0; round < 60; round++) {
			unsigned int n = 1 + rnd(RTE_MIN(c->size, 20u)), went;
			struct rte_mbuf *pkts[XV_BURST];
			enum xv_vring_reject why;
			uint32_t cookie, len;

			for (i = 0; i < n; i++) {
				unsigned int pieces;
				enum guest_shape shape = random_shape(&pieces);

				if (sending ? !post(line->chunk, pieces, shape, true) : !post_random_frame())
					break;
			}
			guest_ring_publish(&line->ring);
			for (i = 0; i < sizeof(dirty_bits); i++)
				dirty_bits[i] = 0;
			memset(expected_bits, 0, sizeof(expected_bits));
			memcpy(ring_before, ring, ring_bytes);
			if (sending) {
				for (i = 0; i < n; i++)
					pkts[i] = make_packet(i, rnd(1400));
				went = line->vq.send(&line->vq, pkts, (uint16_t)n, &why);
				rte_pktmbuf_free_bulk(&pkts[went], n - went);
			} else {
				went = line->vq.recv(&line->vq, pkts, (uint16_t)n);
				if (went > 0)
					rte_pktmbuf_free_bulk(pkts, went);
			}
			assert_int_equal(line->vq.error, XV_VRING_OK);
			for (i = 0; i < ring_bytes; i++)
				if (ring_before[i] != ring[i])
					expect_dirty(ring_gpa + i, 1);
			while (guest_ring_reap(&line->ring, &cookie, &len)) {
				struct buffer *b = &line->buffer[cookie];

				b->posted = false;
				for (i = 0; i < b->n && len > 0; i++) {
					uint32_t part = RTE_MIN(len, b->seg[i].len);

					expect_dirty(b->seg[i].gpa, part);
					len -= part;
				}
			}
			/* The used ring may be marked as a whole. */
			for (page = ring_gpa / 4096; page <= (ring_gpa + ring_bytes - 1) / 4096; page++)
				if (went > 0 && (dirty_bits[page / 8] & 1u << (page % 8)) != 0)
					expect_dirty(page * 4096, 1);
			for (i = 0; i < sizeof(dirty_bits); i++)
				assert_int_equal(dirty_bits[i], expected_bits[i]);
		}
	}
}

static void dirty_pages_are_logged(void **state)
{
	FOR_EACH_CONFIG(dirty, V1 | INDIRECT, V1 | MRG | INDIRECT, V1 | ORDER | MRG, 0);
}

/* The same with and without an in-flight log, and the log is empty between bursts. */
static void run_logged(struct outcome *o, const struct config *c, bool logged)
{
	struct xv_inflight_area *area = NULL;
	struct xv_inflight *inflight = NULL;
	unsigned int round, i;
	int fd = -1;

	o->n_bytes = 0;
	line_open(c, 13, 600);
	line->ring.scatter = (c->features & ORDER) == 0;
	if (logged) {
		uint16_t pos = line->ring.avail_pos;
		bool wrap = line->ring.avail_wrap;

		assert_int_equal(xv_inflight_area_create(1, c->size, c->packed, &area, &fd, NULL), 0);
		inflight = &area->queues[0];
		if (c->packed)
			assert_int_equal(xv_inflight_start_packed(inflight, line->ring.packed, c->size, &pos,
								  &wrap, NULL),
					 0);
		else
			assert_int_equal(xv_inflight_start_split(inflight, line->ring.avail, c->size, pos,
								 &pos, NULL),
					 0);
	}
	line_start_with(NULL, UINT64_MAX, inflight);
	for (round = 0; round < 40; round++) {
		bool sending = (line->features & MRG) != 0 && round >= 20;
		unsigned int n = 1 + rnd(RTE_MIN(c->size, 20u)), went;
		struct rte_mbuf *pkts[XV_BURST];
		enum xv_vring_reject why;
		uint32_t used[2];

		for (i = 0; i < n; i++) {
			struct virtio_net_hdr_mrg_rxbuf hdr;
			unsigned int pieces;
			enum guest_shape shape = random_shape(&pieces);

			random_header(&hdr);
			if (sending ? !post(RTE_MIN(300u, line->chunk), pieces, shape, true)
				    : !post_frame_as(&hdr, rnd(line->chunk - line->hdr_len), pieces, shape))
				break;
		}
		guest_ring_publish(&line->ring);
		if (sending) {
			for (i = 0; i < n; i++)
				pkts[i] = make_packet(i, rnd(1400));
			went = line->vq.send(&line->vq, pkts, (uint16_t)n, &why);
			rte_pktmbuf_free_bulk(&pkts[went], n - went);
		} else {
			went = line->vq.recv(&line->vq, pkts, XV_BURST);
			for (i = 0; i < went; i++)
				note_packet(o, pkts[i]);
			if (went > 0)
				rte_pktmbuf_free_bulk(pkts, went);
		}
		note(o, &went, sizeof(went));
		assert_int_equal(line->vq.error, XV_VRING_OK);
		while (guest_ring_reap(&line->ring, &used[0], &used[1])) {
			struct buffer *b = &line->buffer[used[0]];

			b->posted = false;
			note(o, used, sizeof(used));
			guest_read(&line->guest, b->seg, b->n, 0, scratch, b->len);
			note(o, scratch, b->len);
		}
		for (i = 0; logged && i < c->size; i++)
			assert_int_equal(c->packed ? inflight->packed->desc[i].inflight
						   : inflight->split->desc[i].inflight,
					 0);
		if (logged)
			assert_int_equal(c->packed ? inflight->packed->used_idx : inflight->split->used_idx,
					 line->vq.used_idx);
	}
	note(o, &line->vq.avail_idx, 2);
	note(o, &line->vq.used_idx, 2);
	note(o, &line->vq.avail_wrap, 1);
	note(o, &line->vq.used_wrap, 1);
	i = (unsigned int)atomic_load(&line->vq.bad_headers);
	note(o, &i, sizeof(i));
	if (logged) {
		xv_inflight_area_destroy(area);
		(void)close(fd);
	}
}

static void logged(const struct config *c)
{
	struct outcome *o = malloc(2 * sizeof(*o));

	assert_non_null(o);
	run_logged(&o[0], c, false);
	run_logged(&o[1], c, true);
	assert_int_equal(o[0].n_bytes, o[1].n_bytes);
	assert_int_equal(memcmp(o[0].bytes, o[1].bytes, o[0].n_bytes), 0);
	free(o);
}

static void inflight_log_changes_nothing(void **state)
{
	FOR_EACH_CONFIG(logged, V1, V1 | INDIRECT | HOST_OFFLOADS, V1 | MRG | INDIRECT, V1 | ORDER | MRG,
			ORDER, V1 | EVENT);
}

static int setup(void **state)
{
	if (unit_eal_init(state) != 0)
		return -1;
	have_avx512 = __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
		      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("bmi2");
	if (!have_avx512)
		print_message("This CPU has no AVX-512: plain C only.\n");
	line = aligned_alloc(64, sizeof(*line));
	if (line == NULL)
		return -1;
	memset(line, 0, sizeof(*line));
	guest_create(&line->guest, REGION_BYTES);
	line->call_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	return line->call_fd >= 0 ? 0 : -1;
}

static int teardown(void **state)
{
	(void)close(line->call_fd);
	guest_destroy(&line->guest);
	free(line);
	return 0;
}

/* Each test has its own pool: what a failed one leaked does not trouble the next. */
static int pool_setup(void **state)
{
	pool = unit_pool_create("vring", POOL_SIZE);
	return 0;
}

static int pool_teardown(void **state)
{
	rte_mempool_free(pool);
	return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, pool_setup, pool_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(received_frames_are_whole_and_in_order),
		TEST(sent_frames_are_whole_and_in_order),
		TEST(every_length_passes),
		TEST(longest_frame_passes),
		TEST(offload_requests_are_translated),
		TEST(data_valid_is_for_those_who_asked),
		TEST(without_packet_memory_nothing_is_lost),
		TEST(frame_without_room_leaves_no_trace),
		TEST(tiny_buffers_are_no_offence),
		TEST(kicks_come_when_asked_for),
		TEST(calls_come_when_asked_for),
		TEST(no_wake_up_is_lost),
		TEST(avx512_and_plain_c_are_twins),
		TEST(hostile_rings_are_broken_once),
		TEST(index_beyond_the_ring_is_seen_early),
		TEST(broken_ring_stays_untouched),
		TEST(flipping_descriptors_do_not_lead_us_out),
		TEST(dirty_pages_are_logged),
		TEST(inflight_log_changes_nothing),
	};

	return cmocka_run_group_tests_name("vring", tests, setup, teardown);
}
