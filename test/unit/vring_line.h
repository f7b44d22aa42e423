/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of rings share: a line, that is one ring with both its sides (guest_ring.h and
 * xv_vring), buffers of the guest that are posted in turn, frames of known contents, and the walk
 * over all kinds of rings: split and packed, plain C and AVX-512, of several sizes. One line a
 * process; the thread that runs the test, or one that plays the guest.
 */
#pragma once

#include <linux/virtio_config.h>
#include <linux/virtio_net.h>

#include <rte_mbuf.h>

#include "guest_ring.h"
#include "net/packet.h"
#include "virtio/vring.h"

#define BIT(n)   (UINT64_C(1) << (n))
#define V1       BIT(VIRTIO_F_VERSION_1)
#define MRG      BIT(VIRTIO_NET_F_MRG_RXBUF)
#define ORDER    BIT(VIRTIO_F_IN_ORDER)
#define EVENT    BIT(VIRTIO_RING_F_EVENT_IDX)
#define INDIRECT BIT(VIRTIO_RING_F_INDIRECT_DESC)
#define PACKED   BIT(VIRTIO_F_RING_PACKED)
#define GUEST_OFFLOADS                                                                             \
	(BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_GUEST_TSO4) |                             \
	 BIT(VIRTIO_NET_F_GUEST_TSO6) | BIT(VIRTIO_NET_F_GUEST_ECN) | BIT(VIRTIO_NET_F_GUEST_UFO))
#define HOST_OFFLOADS                                                                              \
	(BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_HOST_TSO4) | BIT(VIRTIO_NET_F_HOST_TSO6) |      \
	 BIT(VIRTIO_NET_F_HOST_ECN) | BIT(VIRTIO_NET_F_HOST_UFO))

#define ALL_FEATURES                                                                               \
	0, V1, MRG | INDIRECT, V1 | MRG | INDIRECT | EVENT, V1 | MRG | ORDER | EVENT,              \
		V1 | ORDER | INDIRECT, INDIRECT | ORDER

#define LINE_POOL_SIZE    1023
#define LINE_REGION_BYTES (384u * 1024)
#define LINE_FRAME_MAX    (65535 + 14 + 8)
#define LINE_FLAT_MAX     (LINE_FRAME_MAX + 12)
#define LINE_MAX_BUFFERS  1024

struct xv_dirty_log;
struct xv_inflight;

struct line_config {
	bool packed, avx512;
	uint16_t size;
	uint64_t features;
};

/* A buffer of the guest: a chunk of its memory, and how the chunk was cut when it was posted. */
struct line_buffer {
	struct guest_seg seg[GUEST_MAX_SEGS];
	unsigned int n;
	uint64_t gpa;
	uint32_t len;   /* as posted */
	uint64_t frame; /* what is in it: seed and length of a frame, header */
	uint32_t frame_len;
	bool posted;
};

/* One ring with both its sides. */
struct line {
	const struct line_config *c;
	struct guest guest;
	struct guest_ring ring;
	struct xv_vring vq;
	uint64_t features;
	uint32_t hdr_len;
	int call_fd;
	bool lends; /* xv_vring_setup.lends */
	uint64_t random;
	unsigned int n_buffers;
	uint32_t chunk;
	struct line_buffer buffer[LINE_MAX_BUFFERS];
	unsigned int oldest; /* buffers are used in turn */
};

extern struct line *line;
extern struct rte_mempool *line_pool;
extern bool line_have_avx512;
extern uint8_t line_scratch[LINE_FLAT_MAX];

/* A repeatable random number below n. */
uint32_t line_random(uint32_t n);
/* len bytes that follow from the seed. */
void line_frame_bytes(uint64_t seed, uint8_t *to, uint32_t len);

/* A fresh ring, stopped; buffers of `chunk` bytes, of which the first lies across two regions. */
void line_open(const struct line_config *c, uint64_t seed, uint32_t chunk);
/* Start our side where the guest stands. */
void line_start(void);
void line_start_with(struct xv_dirty_log *log, uint64_t log_used_gpa, struct xv_inflight *inflight);

/* How to post the next buffer: mostly in one piece. */
enum guest_shape line_random_shape(unsigned int *pieces);
/* Post the next buffer, of len bytes in so many pieces. False: no room, or it is still out. */
bool line_post(uint32_t len, unsigned int pieces, enum guest_shape shape, bool writable);
/* The same with a frame in it for us to receive, with this header. */
bool line_post_frame_as(const struct virtio_net_hdr_mrg_rxbuf *hdr, uint32_t len,
			unsigned int pieces, enum guest_shape shape);
bool line_post_frame(uint32_t len, unsigned int pieces, enum guest_shape shape);
bool line_post_random_frame(void);

/* A packet, sometimes of several mbufs, with the bytes of this seed; and whether m is such a one.
 */
struct rte_mbuf *line_make_packet(uint64_t frame, uint32_t len);
void line_check_packet(struct rte_mbuf *m, uint64_t frame, uint32_t len);
/*
 * A packet that was sent comes back: reap its buffers, check lengths and bytes. *back: the buffer
 * that must come first, moved on. *hdr gets the header.
 */
void line_check_sent(uint64_t frame, uint32_t frame_len, unsigned int *back,
		     struct virtio_net_hdr_mrg_rxbuf *hdr);
unsigned int line_pool_free(void);
void line_check_no_leak(void);

/* The guest's threads are on any CPU: EAL has bound us to one, and they would inherit that. */
void line_run_anywhere(void);

/* Run fn on all kinds of rings with each of these sets of features; nothing may leak. */
void line_for_each_config(void (*fn)(const struct line_config *c), const uint64_t *features,
			  unsigned int n);
#define FOR_EACH_CONFIG(fn, ...)                                                                   \
	do {                                                                                       \
		static const uint64_t features[] = {__VA_ARGS__};                                  \
		line_for_each_config(fn, features, RTE_DIM(features));                             \
	} while (0)

/* Of a group of tests, and of each: a pool of its own, so that leaks do not spread. */
int line_setup(void **state);
int line_create(void); /* all of line_setup() but EAL */
int line_teardown(void **state);
int line_pool_setup(void **state);
int line_pool_teardown(void **state);
#define LINE_TEST(name) cmocka_unit_test_setup_teardown(name, line_pool_setup, line_pool_teardown)
