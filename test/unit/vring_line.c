/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "vring_line.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/eventfd.h>

#include "virtio/vring_ops.h"

struct rte_mempool *line_pool;
bool line_have_avx512;
struct line *line;
uint8_t line_scratch[LINE_FLAT_MAX];
static uint8_t scratch2[LINE_FLAT_MAX];

uint32_t line_random(uint32_t n)
{
	return unit_random(&line->random, n);
}

void line_frame_bytes(uint64_t seed, uint8_t *to, uint32_t len)
{
	uint64_t word;
	uint32_t i;

	for (i = 0; i < len; i += sizeof(word)) {
		seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		word = seed ^ seed >> 32;
		memcpy(to + i, &word, RTE_MIN(sizeof(word), len - i));
	}
}

unsigned int line_pool_free(void)
{
	return rte_mempool_avail_count(line_pool);
}

void line_check_no_leak(void)
{
	assert_int_equal(line_pool_free(), LINE_POOL_SIZE);
}

/* A fresh ring, stopped; buffers of `chunk` bytes, `n_buffers` of them, the first across two
 * regions. */
void line_open(const struct line_config *c, uint64_t seed, uint32_t chunk)
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
		start = (uint16_t)line_random(c->size);
		wrap = line_random(2) != 0;
	} else if (line_random(2) != 0) {
		start = (uint16_t)(65536 - line_random(2u * c->size));
	}
	guest_ring_create(&line->ring, &line->guest, c->size, line->features, start, wrap);
	line->ring.random = seed;
	line->n_buffers = 0;
	line->oldest = 0;
	/* Not before all else is in region 0 and 1: this one leaves nothing behind it there. */
	line->buffer[line->n_buffers++].gpa = guest_border(&line->guest) - chunk / 2;
	guest_alloc(&line->guest, 1, chunk, 1);
	for (i = 1; (i < c->size || i < 2) && line->n_buffers < LINE_MAX_BUFFERS; i++) {
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

void line_start_with(struct xv_dirty_log *log, uint64_t log_used_gpa, struct xv_inflight *inflight)
{
	struct xv_vring_setup setup = {
		.pool = line_pool,
		.kick_fd = -1,
		.call_fd = line->call_fd,
		.log = log,
		.log_used_gpa = log_used_gpa,
		.inflight = inflight,
		.receive = true,
		.lends = line->lends,
	};
	eventfd_t calls;

	guest_ring_setup(&line->ring, line->features, &setup);
	xv_vring_use_avx512 = line->c->avx512;
	memset(&line->vq, 0, sizeof(line->vq));
	xv_vring_start(&line->vq, &setup);
	assert_int_equal(line->vq.hdr_len, line->hdr_len);
	(void)eventfd_read(line->call_fd, &calls);
}

void line_start(void)
{
	line_start_with(NULL, UINT64_MAX, NULL);
}

enum guest_shape line_random_shape(unsigned int *pieces)
{
	enum guest_shape shape = GUEST_DIRECT;

	*pieces = line_random(4) != 0 ? 1 : 1 + line_random(RTE_MIN(line->c->size, 6u));
	if ((line->features & INDIRECT) != 0 && line_random(8) == 0) {
		shape = GUEST_INDIRECT;
		*pieces = 1 + line_random(GUEST_MAX_SEGS);
		if (!line->c->packed && *pieces > 1 && line_random(4) == 0)
			shape = GUEST_MIXED;
	}
	return shape;
}

/* Cut the first len bytes of a buffer into pieces, some of them empty. */
static void cut(struct line_buffer *b, uint32_t len, unsigned int pieces)
{
	uint32_t at = 0;
	unsigned int i;

	for (i = 0; i < pieces; i++) {
		uint32_t part =
			i + 1 == pieces ? len - at : line_random(RTE_MIN(len - at, 200u) + 1);

		b->seg[i] = (struct guest_seg){b->gpa + at, part};
		at += part;
	}
	b->n = pieces;
	b->len = len;
}

bool line_post(uint32_t len, unsigned int pieces, enum guest_shape shape, bool writable)
{
	struct line_buffer *b = &line->buffer[line->oldest];

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
bool line_post_frame_as(const struct virtio_net_hdr_mrg_rxbuf *hdr, uint32_t len,
			unsigned int pieces, enum guest_shape shape)
{
	struct line_buffer *b = &line->buffer[line->oldest];

	if (!line_post(line->hdr_len + len, pieces, shape, false))
		return false;
	b->frame = (uint64_t)line_random(UINT32_MAX) << 20;
	b->frame_len = len;
	line_frame_bytes(b->frame, line_scratch, len);
	guest_write(&line->guest, b->seg, b->n, 0, hdr, line->hdr_len);
	guest_write(&line->guest, b->seg, b->n, line->hdr_len, line_scratch, len);
	return true;
}

bool line_post_frame(uint32_t len, unsigned int pieces, enum guest_shape shape)
{
	static const struct virtio_net_hdr_mrg_rxbuf plain;

	return line_post_frame_as(&plain, len, pieces, shape);
}

bool line_post_random_frame(void)
{
	uint32_t most = line->chunk - line->hdr_len, len;
	unsigned int pieces;
	enum guest_shape shape = line_random_shape(&pieces);

	switch (line_random(8)) {
	case 0:
		len = 1 + line_random(most);
		break;
	case 1:
		len = RTE_MIN(most, 2040u + line_random(16)); /* about the room of an mbuf */
		break;
	default:
		len = RTE_MIN(most, 60 + line_random(1458));
		break;
	}
	return line_post_frame(len, pieces, shape);
}

void line_check_packet(struct rte_mbuf *m, uint64_t frame, uint32_t len)
{
	const void *bytes;

	rte_mbuf_sanity_check(m, 1);
	assert_int_equal(m->pkt_len, len);
	assert_int_equal(m->nb_segs, (len + XV_PACKET_DATA_BYTES - 1) / XV_PACKET_DATA_BYTES);
	assert_int_equal(rte_mbuf_refcnt_read(m), 1);
	assert_int_equal(rte_pktmbuf_headroom(m), RTE_PKTMBUF_HEADROOM);
	bytes = rte_pktmbuf_read(m, 0, len, line_scratch);
	line_frame_bytes(frame, scratch2, len);
	assert_memory_equal(bytes, scratch2, len);
}

struct rte_mbuf *line_make_packet(uint64_t frame, uint32_t len)
{
	const uint16_t cuts[] = {(uint16_t)(1 + line_random(1000)),
				 (uint16_t)(1001 + line_random(1000)), 0};

	line_frame_bytes(frame, line_scratch, len);
	return unit_packet(line_pool, line_scratch, len, line_random(8) == 0 ? cuts : NULL);
}

void line_for_each_config(void (*fn)(const struct line_config *c), const uint64_t *features,
			  unsigned int n)
{
	static const uint16_t split_sizes[] = {1, 2, 8, 64, 256},
			      packed_sizes[] = {1, 3, 8, 65, 250};
	unsigned int kind, size, f;

	for (kind = 0; kind < 4; kind++) {
		struct line_config c = {.packed = (kind & 1) != 0, .avx512 = (kind & 2) != 0};

		if (c.avx512 && !line_have_avx512)
			continue;
		for (size = 0; size < 5; size++) {
			for (f = 0; f < n; f++) {
				c.size = c.packed ? packed_sizes[size] : split_sizes[size];
				c.features = features[f];
				fn(&c);
				line_check_no_leak();
			}
		}
	}
}

/* What came back of a packet that was sent: collect its buffers, check header, lengths and bytes.
 */
void line_check_sent(uint64_t frame, uint32_t frame_len, unsigned int *back,
		     struct virtio_net_hdr_mrg_rxbuf *hdr)
{
	uint32_t total = 0, cookie, len;
	unsigned int n = 0, expected = 1;

	do {
		struct line_buffer *b;

		assert_true(guest_ring_reap(&line->ring, &cookie, &len));
		assert_int_equal(cookie, *back);
		*back = (*back + 1) % line->n_buffers;
		b = &line->buffer[cookie];
		b->posted = false;
		assert_in_range(len, 1, b->len);
		assert_true(total + len <= sizeof(line_scratch));
		guest_read(&line->guest, b->seg, b->n, 0, line_scratch + total, len);
		total += len;
		if (n++ > 0)
			continue;
		assert_true(len >= line->hdr_len);
		memset(hdr, 0, sizeof(*hdr));
		memcpy(hdr, line_scratch, line->hdr_len);
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
	line_frame_bytes(frame, scratch2, frame_len);
	assert_memory_equal(line_scratch + line->hdr_len, scratch2, frame_len);
}

/* The guest's threads are on any CPU: EAL has bound us to one, and they would inherit that. */
void line_run_anywhere(void)
{
	cpu_set_t all;

	memset(&all, 0xff, sizeof(all));
	(void)sched_setaffinity(0, sizeof(all), &all);
}

int line_setup(void **state)
{
	return unit_eal_init(state) != 0 ? -1 : line_create();
}

int line_create(void)
{
	line_have_avx512 = __builtin_cpu_supports("avx512bw") &&
			   __builtin_cpu_supports("avx512vl") &&
			   __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("bmi2");
	if (!line_have_avx512)
		print_message("This CPU has no AVX-512: plain C only.\n");
	line = aligned_alloc(64, sizeof(*line));
	if (line == NULL)
		return -1;
	memset(line, 0, sizeof(*line));
	guest_create(&line->guest, LINE_REGION_BYTES);
	line->call_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	return line->call_fd >= 0 ? 0 : -1;
}

int line_teardown(void **state)
{
	(void)close(line->call_fd);
	guest_destroy(&line->guest);
	free(line);
	return 0;
}

/* Each test has its own pool: what a failed one leaked does not trouble the next. */
int line_pool_setup(void **state)
{
	line_pool = unit_pool_create("vring", LINE_POOL_SIZE);
	return 0;
}

int line_pool_teardown(void **state)
{
	rte_mempool_free(line_pool);
	return 0;
}
