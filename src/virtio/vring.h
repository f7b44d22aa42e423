/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtqueue as the device sees it (virtio 1.2, sections 2.7 split and 2.8 packed), and burst
 * receive (guest -> us) and send (us -> guest) on it.
 *
 * Threads: the control thread fills a vring while it is stopped (no worker can see it) and publishes
 * it; from then on it belongs to workers: a ring that we receive from to the one worker that polls it, a ring that we
 * send to to whoever holds `lock`. It is stopped by unpublishing and a grace period.
 *
 * The guest is hostile: every descriptor, index and header is read once into a local; every address is
 * checked with its length against the memory table; every chain is bounded by the ring size. A
 * violation sets `broken` (once, with a reason) and the ring is not touched again; the caller's packets
 * stay the caller's.
 */
#pragma once

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <linux/virtio_ring.h>
#include <rte_mbuf.h>
#include <rte_spinlock.h>

#include "virtio/guest_memory.h"
#include "virtio/lending.h"

#define XV_VRING_MAX_SIZE 32768

enum xv_vring_error { /* keep in step with names in vring.c */
	XV_VRING_OK,
	XV_VRING_BAD_AVAIL,	/* available index is further ahead than the ring is long */
	XV_VRING_BAD_HEAD,	/* descriptor index beyond the ring */
	XV_VRING_BAD_ADDR,	/* buffer outside guest memory */
	XV_VRING_BAD_CHAIN,	/* loop, or longer than the ring; bad flags; mixed directions */
	XV_VRING_BAD_INDIRECT,	/* indirect table with bad length, nested, or not negotiated */
	XV_VRING_BAD_LENGTH,	/* chain cannot hold the virtio-net header, or is empty */
	XV_VRING_BAD_CALL,	/* the call descriptor blocks the writer: made so behind our back */
	XV_VRING_MEMORY_GONE,	/* the file behind guest memory shrank */
};
const char *xv_vring_error_text(enum xv_vring_error error);

/* Why xv_vring_send() stopped before pkts[returned]. */
enum xv_vring_reject {
	XV_VRING_FULL,	   /* no (or not enough) buffers offered; try again later */
	XV_VRING_TOO_LONG, /* no chain that this guest offers can hold the frame */
	XV_VRING_OFFLOAD,  /* the frame wants an offload that this guest did not negotiate */
	XV_VRING_DEAD,	   /* the ring is broken */
};

struct xv_vring;
struct xv_dirty_log; /* virtio/dirty_log.h */
struct xv_inflight;  /* virtio/inflight.h */
struct rte_mempool;

typedef uint16_t (*xv_vring_recv_fn)(struct xv_vring *vq, struct rte_mbuf **pkts, uint16_t n);
typedef uint16_t (*xv_vring_send_fn)(struct xv_vring *vq, struct rte_mbuf **pkts, uint16_t n,
				     enum xv_vring_reject *why);

struct xv_vring {
	/* First line: all that a burst without surprises touches. */
	union {
		struct vring_desc *desc;
		struct vring_packed_desc *packed;
	};
	union {
		struct vring_avail *avail;
		struct vring_packed_desc_event *driver_event; /* written by the guest */
	};
	union {
		struct vring_used *used;
		struct vring_packed_desc_event *device_event; /* written by us */
	};
	uint64_t region_gpa, region_size; /* the region last hit */
	uint8_t *region_hva;
	uint16_t size;
	uint16_t avail_idx;  /* split: next avail entry; packed: next descriptor to look at */
	uint16_t used_idx;   /* split: next used entry; packed: next descriptor to write back */
	uint16_t avail_seen; /* split: avail->idx as last read */
	bool avail_wrap, used_wrap;	/* packed: wrap counters */
	uint8_t hdr_len;		/* 10 or 12: sizeof virtio_net_hdr as negotiated */
	bool in_order, event_idx, mergeable, indirect;
	bool lent; /* recv: packets of this burst refer to guest memory */

	/* Set up, then read only. */
	alignas(64) const struct xv_guest_memory *mem;
	xv_vring_recv_fn recv;
	xv_vring_send_fn send;
	struct rte_mempool *pool;	/* recv takes its mbufs from here */
	struct xv_dirty_log *log;	/* not NULL: log what we write */
	uint64_t log_used_gpa;		/* guest address under which the used ring is logged, or UINT64_MAX */
	struct xv_inflight *inflight;	/* not NULL: note what we hold */
	uint64_t features;		/* negotiated */
	_Atomic uint64_t *burst;	/* packed: what is being given back (virtio/ring_place.h) */
	uint32_t caps;			/* send: XV_CAP_* that the guest takes */
	int kick_fd, call_fd;		/* -1 = none; owned by the device */
	uint16_t index;			/* of the virtqueue in the device */
	bool is_packed;
	bool lends; /* recv: may leave the rest of long frames where it is (virtio/lending.h) */

	/* Worker side, less often. */
	alignas(64) rte_spinlock_t lock;	/* send: several workers may share the ring */
	_Atomic uint8_t error;			/* enum xv_vring_error; set once by a worker */
	bool notify_armed;			/* we asked the guest for kicks */
	uint16_t call_used_idx;			/* used_idx when the guest was last notified (event index) */
	bool call_valid;
	_Atomic uint64_t bad_headers;		/* recv: frames dropped for their virtio-net header */
	_Atomic uint64_t no_mbuf;		/* recv: rounds that found the pool empty (packets stay in the ring) */
	_Atomic uint64_t calls;			/* notifications sent to the guest */
	_Atomic uint64_t no_place;		/* `burst` of a ring that is not to survive us */
	struct xv_lending lending;
};

/* What the control thread gives to xv_vring_start(); addresses are ours, already checked to lie in `mem` with the
 * full length that `size` and `is_packed` need, and aligned as the spec asks. */
struct xv_vring_setup {
	void *desc, *avail, *used; /* packed: ring, driver event, device event */
	uint16_t size;		   /* split: power of two; both 1..XV_VRING_MAX_SIZE */
	uint16_t avail_idx, used_idx; /* where to go on; packed: without wrap bits */
	bool avail_wrap, used_wrap;
	bool receive;		   /* we receive from it (guest's transmit queue) */
	bool lends;		   /* after each recv() comes xv_vring_return() */
	const struct xv_guest_memory *mem;
	struct rte_mempool *pool;
	struct xv_dirty_log *log;
	uint64_t log_used_gpa;
	struct xv_inflight *inflight;
	_Atomic uint64_t *burst; /* or NULL */
	uint64_t features;
	int kick_fd, call_fd;
	uint16_t index;
};

/* control. Fill a stopped vring and choose its functions (features, CPU). Tells the guest not to kick. */
void xv_vring_start(struct xv_vring *vq, const struct xv_vring_setup *setup);
/* control, ring unpublished and grace period over. Writes back nothing; leaves indexes for GET_VRING_BASE. */
void xv_vring_stop(struct xv_vring *vq);

/*
 * worker (owner). n if so many packets wait, or the ring, when smaller, is full; else fewer, 0 if none:
 * exact for split rings, a peek (0 or 1) for packed ones.
 */
uint16_t xv_vring_backlog(struct xv_vring *vq, uint16_t n);
/* worker (owner). Ask for kicks; false if something waits already (then it is not armed). */
bool xv_vring_arm(struct xv_vring *vq);
void xv_vring_disarm(struct xv_vring *vq);

/* control: bytes that a ring of this size occupies (desc, avail, used), for address checks. */
void xv_vring_bytes(uint16_t size, bool is_packed, bool event_idx, uint64_t *desc, uint64_t *avail,
		    uint64_t *used);

/* control/init: false = plain C twins even where the CPU has AVX-512 (XVIO_NO_AVX512, tests). */
extern bool xv_vring_use_avx512;
