/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The in-flight log (vhost-user, "Inflight I/O tracking"): shared memory that survives us and says
 * which descriptors we had taken and not given back, so that the next daemon can go on exactly
 * there. One area for the device: a part of equal size per virtqueue, laid out as the specification
 * says (QueueRegionSplit / QueueRegionPacked, version 1).
 *
 * Our rings take and give back descriptors in ring order and within one burst. So whatever an
 * earlier life had taken is found again in the ring from the used index on, and recovery is:
 * correct the area (the last batch may have been given back without being crossed out), then go on
 * at the used index. An area of a back end that had given back out of order cannot be followed and
 * is refused.
 *
 * The log is written in the slow variants of the ring functions only (rings with a log use those).
 * Control thread creates, maps and recovers; the worker that owns the ring writes its part. The
 * front end may write to the area at any time: links are kept in memory of our own and never read
 * back.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <linux/virtio_ring.h>

#include "base/err.h"
#include "virtio/guest_memory.h"

#define XV_INFLIGHT_VERSION 1 /* 0 = not used yet */

struct xv_inflight_desc_split {
	uint8_t inflight;
	uint8_t padding[5];
	uint16_t next;
	uint64_t counter;
};
struct xv_inflight_split {
	uint64_t features;
	uint16_t version;
	uint16_t desc_num;
	uint16_t last_batch_head;
	uint16_t used_idx;
	struct xv_inflight_desc_split desc[];
};
struct xv_inflight_desc_packed {
	uint8_t inflight;
	uint8_t padding;
	uint16_t next;
	uint16_t last;
	uint16_t num;
	uint64_t counter;
	uint16_t id;
	uint16_t flags;
	uint32_t len;
	uint64_t addr;
};
struct xv_inflight_packed {
	uint64_t features;
	uint16_t version;
	uint16_t desc_num;
	uint16_t free_head;
	uint16_t old_free_head;
	uint16_t used_idx;
	uint16_t old_used_idx;
	uint8_t used_wrap_counter;
	uint8_t old_used_wrap_counter;
	uint8_t padding[7];
	struct xv_inflight_desc_packed desc[];
};

/* One virtqueue's part, as the ring code sees it; one of the pointers is NULL. */
struct xv_inflight {
	struct xv_inflight_split *split;
	struct xv_inflight_packed *packed;
	/* Ours, never re-read from the shared area: */
	uint16_t desc_num;
	bool recover; /* an earlier life wrote it and nobody has looked yet */
	uint64_t counter;
	uint16_t batch;           /* put, not yet done */
	uint16_t last_batch_head; /* split */
	uint16_t free_head;       /* packed: list of free entries through next[] */
	uint16_t free_num;
	uint16_t used_idx;
	bool used_wrap;
	uint16_t *next, *last; /* packed, by entry */
};

/* The whole area of one device. */
struct xv_inflight_area {
	struct xv_file_map file;
	uint64_t mmap_size, mmap_offset;
	uint16_t num_queues, queue_size;
	bool packed;
	_Atomic bool broken;         /* the file shrank */
	uint16_t *links;             /* memory of all next[] and last[] */
	struct xv_inflight queues[]; /* num_queues */
};

/*
 * control: the answer to GET_INFLIGHT_FD: make an area (memfd, zeroed, sealed against shrinking).
 * *fd is for the front end; the caller closes it.
 */
int xv_inflight_area_create(uint16_t num_queues, uint16_t queue_size, bool packed,
			    struct xv_inflight_area **area, int *fd, struct xv_err *err);
/*
 * control: SET_INFLIGHT_FD: map what an earlier life left behind, or an unused area; every size is
 * checked against the file. fd not consumed.
 */
int xv_inflight_area_open(int fd, uint64_t mmap_size, uint64_t mmap_offset, uint16_t num_queues,
			  uint16_t queue_size, bool packed, struct xv_inflight_area **area,
			  struct xv_err *err);
/* control, no worker left. Accepts NULL. */
void xv_inflight_area_destroy(struct xv_inflight_area *area);

/*
 * control, ring stopped, each time before it starts. The first time after an area of an earlier
 * life was opened: finish what that left half done (spec: "When reconnecting") and say where to go
 * on; else: nothing is in flight, note the present position in the area.
 *
 * split: avail is the ring as the guest has it, size <= desc_num, used_idx its used->idx;
 * *avail_idx gets where to go on. packed: the used position (index and wrap counter) is in-out; the
 * available position is the same. -EINVAL: what is in flight does not fit the ring.
 */
int xv_inflight_start_split(struct xv_inflight *inflight, const struct vring_avail *avail,
			    uint16_t size, uint16_t used_idx, uint16_t *avail_idx,
			    struct xv_err *err);
int xv_inflight_start_packed(struct xv_inflight *inflight, const struct vring_packed_desc *ring,
			     uint16_t size, uint16_t *used_idx, bool *used_wrap,
			     struct xv_err *err);

/*
 * worker, split: chain `head` was taken ...
 */
void xv_inflight_take_split(struct xv_inflight *inflight, uint16_t head);
/* ... is about to be given back (before used->idx moves; every head of a batch) ... */
void xv_inflight_put_split(struct xv_inflight *inflight, uint16_t head);
/* ... and was given back: used->idx is now used_idx (once for every head that was put). */
void xv_inflight_done_split(struct xv_inflight *inflight, uint16_t head, uint16_t used_idx);

/*
 * worker, packed: a chain of num descriptors from position pos on was taken (an indirect one is one
 * descriptor). Returns the entry that stands for it ...
 */
uint16_t xv_inflight_take_packed(struct xv_inflight *inflight, const struct vring_packed_desc *ring,
				 uint16_t size, uint16_t pos, uint16_t num);
/*
 * ... it is about to be given back (before its used descriptor's flags are written); used_idx and
 * used_wrap are the device's position behind it. Several may be put before their flags are written,
 * but nothing may be taken between the first put and the last done ...
 */
void xv_inflight_put_packed(struct xv_inflight *inflight, uint16_t entry, uint16_t used_idx,
			    bool used_wrap);
/* ... and was given back: the flags are written (once for every entry that was put). */
void xv_inflight_done_packed(struct xv_inflight *inflight, uint16_t entry);
