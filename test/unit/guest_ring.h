/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other side of a virtqueue, for tests: guest memory on our heap and a driver that does what
 * virtio 1.2 (2.7, 2.8) asks of drivers in the most obvious way, one descriptor at a time. It
 * shares no code with src/virtio; what it reads it does not trust. Failures are failures of the
 * test.
 *
 * Any one thread at a time. A guest owns its memory; rings live in it and die with it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <linux/virtio_ring.h>

struct xv_guest_memory;
struct xv_vring_setup;

/*
 * Three regions of equal size: 0 and 1 adjoin in guest addresses (but not in ours), 2 is far away.
 * All of it is one allocation, so a test can save, restore and compare it.
 */
#define GUEST_REGIONS 3
#define GUEST_BASE    UINT64_C(0x100000)
#define GUEST_FAR     (UINT64_C(1) << 32)

struct guest {
	struct xv_guest_memory *mem;
	uint8_t *bytes;
	size_t n_bytes, region_bytes;
	size_t taken[GUEST_REGIONS];
};

void guest_create(struct guest *guest, size_t region_bytes);
void guest_destroy(struct guest *guest);
/* Forget all that was allocated, and zero it. */
void guest_reset(struct guest *guest);
/* Guest address of fresh memory in a region. */
uint64_t guest_alloc(struct guest *guest, unsigned int region, size_t bytes, size_t align);
/* The first address of region 1: the byte before belongs to region 0. */
uint64_t guest_border(const struct guest *guest);
/* Our address of a byte; fails the test if there is none. */
uint8_t *guest_at(const struct guest *guest, uint64_t gpa);

/* A piece of a buffer. */
struct guest_seg {
	uint64_t gpa;
	uint32_t len;
};

/* len bytes from offset on in a buffer of n pieces. */
void guest_write(const struct guest *guest, const struct guest_seg *seg, unsigned int n,
		 uint32_t offset, const void *bytes, uint32_t len);
void guest_read(const struct guest *guest, const struct guest_seg *seg, unsigned int n,
		uint32_t offset, void *bytes, uint32_t len);

#define GUEST_RING_MAX 1024 /* entries */
#define GUEST_MAX_SEGS 16   /* pieces of a buffer */

enum guest_shape {
	GUEST_DIRECT,   /* a descriptor per piece */
	GUEST_INDIRECT, /* one descriptor that points to a table of them */
	GUEST_MIXED,    /* split only, 2.7.5.3.2: a direct descriptor, then an indirect one with the
			   rest */
};

struct guest_ring {
	struct guest *guest;
	bool is_packed, in_order, event_idx;
	bool scatter; /* take free descriptors (packed: ids) in random order */
	uint64_t random;
	uint16_t size;
	uint64_t desc_gpa, avail_gpa, used_gpa, table_gpa;
	/* Ours, in guest memory. */
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	struct vring_packed_desc *packed;
	struct vring_packed_desc_event *driver_event, *device_event;
	/* The driver's own. Positions of split rings count to 65535, those of packed rings to size
	 * - 1. */
	uint16_t avail_pos, used_pos, kicked_pos;
	bool avail_wrap, used_wrap, kicked_wrap;
	uint16_t free[GUEST_RING_MAX], n_free; /* descriptors, or ids; the oldest first */
	uint16_t room;                         /* packed: free places */
	uint16_t next_desc;                    /* split, in order */
	uint16_t order[GUEST_RING_MAX]; /* heads (ids) as they were posted, the oldest first */
	uint16_t n_order;
	bool in_batch; /* in order: the used entry last read stands for more buffers */
	uint16_t batch_end;
	uint32_t batch_len;
	struct {
		bool busy;
		uint16_t count; /* descriptors in the ring */
		uint16_t desc[GUEST_MAX_SEGS];
		uint32_t cookie;
	} slot[GUEST_RING_MAX];
};

/*
 * A ring in guest memory as it is after `start` buffers came and went: split: start is the index;
 * packed: the place, and wrap the wrap counter of both sides.
 */
void guest_ring_create(struct guest_ring *ring, struct guest *guest, uint16_t size,
		       uint64_t features, uint16_t start, bool wrap);
/*
 * What the front end tells the device about the ring: addresses, size, features, and the position,
 * which is that of the buffers posted and not reaped.
 */
void guest_ring_setup(const struct guest_ring *ring, uint64_t features,
		      struct xv_vring_setup *setup);

/*
 * Post a buffer. False: there is no room. A packed ring makes it available at once, a split one
 * with guest_ring_publish().
 */
bool guest_ring_post(struct guest_ring *ring, const struct guest_seg *seg, unsigned int n,
		     bool writable, enum guest_shape shape, uint32_t cookie);
void guest_ring_publish(struct guest_ring *ring);
/* After publishing: whether the device asked for a kick because of what was posted since last time.
 */
bool guest_ring_must_kick(struct guest_ring *ring);

/* The next buffer that came back: its cookie and how many bytes the device wrote. False: none. */
bool guest_ring_reap(struct guest_ring *ring, uint32_t *cookie, uint32_t *len);

/* What the driver wants to hear: everything, nothing, or (event index) the buffer at a position. */
void guest_ring_want_calls(struct guest_ring *ring, bool wanted);
void guest_ring_want_call_at(struct guest_ring *ring, uint16_t pos, bool wrap);
