/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where our packed rings stand, in a file that survives us.
 *
 * A packed ring has no index in guest memory: how far the device has come is known to the device alone. When
 * it dies without a word the front end can only tell the next one where the ring began (QEMU keeps no
 * in-flight log for a NIC). So we write it down, a cache line per ring: before a burst of descriptors is
 * given back, one store says from where to where. Whoever comes after us looks whether the guest was shown
 * them, and completes what was half done: nothing is given back twice, nothing is left out.
 *
 * A ring is known again by where it lies: file, offset, size; and by what the front end says of its position, which
 * is what it said (or was told) before. What the flags of its descriptors say must agree; a driver may have set it up
 * anew in the meantime.
 *
 * The file is ours and is trusted to be, but not to be whole: numbers out of bounds are not used. It belongs on a
 * tmpfs (/run): after a reboot there is no guest to go on with, and nothing there makes a store wait.
 *
 * Control thread, except `burst`, which the worker writes that has the ring.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct vring_packed_desc;
struct xv_guest_memory;

/* Which ring it is. */
struct xv_ring_key {
	uint64_t dev, ino; /* of the file behind guest memory */
	uint64_t offset;   /* of the descriptors in it */
	uint16_t size;	   /* descriptors */
	uint16_t index;	   /* of the virtqueue in its device */
};

/* A position in a packed ring. */
struct xv_ring_position {
	uint16_t idx;
	bool wrap;
};

/* As it is in the file. */
struct xv_ring_place {
	_Atomic uint64_t burst; /* xv_ring_burst() */
	uint64_t dev, ino, offset;
	uint64_t used;	/* when it was taken, in order; 0 = free */
	uint32_t base;	/* SET_VRING_BASE that the ring was started with */
	uint16_t size, index;
	uint8_t padding[16];
};

/*
 * Descriptors [from, to) of a ring are about to be given back, the first of them last; merged: they are one
 * packet.
 */
#define XV_RING_MERGED (UINT64_C(1) << 32)
static inline uint64_t xv_ring_burst(struct xv_ring_position from, struct xv_ring_position to, bool merged)
{
	return from.idx | (uint64_t)from.wrap << 15 | (uint64_t)to.idx << 16 | (uint64_t)to.wrap << 31 |
	       (merged ? XV_RING_MERGED : 0);
}

/*
 * Open the file, or make it; once. Without it (not opened, or -errno and a sentence) all works but this. One that is
 * damaged, or not ours, is not used: -EINVAL if it stays as it is, else it is replaced, and *err says so with 0.
 */
int xv_ring_places_open(const char *path, struct xv_err *err);
/* No ring uses a place any more. The file stays. */
void xv_ring_places_close(void);

/*
 * The place of a ring: the one that it has in the file, or a free one, or that of the ring that was left
 * longest ago; NULL: none to have. *known: the ring has been here before.
 */
struct xv_ring_place *xv_ring_place_take(const struct xv_ring_key *key, bool *known);
bool xv_ring_place_is(const struct xv_ring_place *place, const struct xv_ring_key *key);
/* The ring may come back: what is known of it stays. Accepts NULL. */
void xv_ring_place_leave(struct xv_ring_place *place);
/* It will not, or its front end was told where it stands. Accepts NULL. */
void xv_ring_place_forget(struct xv_ring_place *place);

/* The ring starts at a position, which the front end calls `base`. */
void xv_ring_place_start(struct xv_ring_place *place, uint32_t base, struct xv_ring_position at);

/*
 * Where a ring that has been here before stands now; what an earlier life left half given back is given back. False,
 * and nothing is touched: the front end knows better (base), or what was written down does not fit the ring.
 */
bool xv_ring_place_recover(const struct xv_ring_place *place, uint32_t base, const struct xv_guest_memory *mem,
			   struct vring_packed_desc *ring, struct xv_ring_position *at);
