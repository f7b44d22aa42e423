/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio/inflight.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <fcntl.h>
#include <sys/mman.h>

#define PART_ALIGN 64 /* as the other back ends have it */

/*
 * The area is read after this process has died, by another one: what counts is the order in which
 * the stores were made, so the compiler must keep it and the CPU need not.
 */
#define ordered() atomic_signal_fence(memory_order_seq_cst)

_Static_assert(sizeof(struct xv_inflight_desc_split) == 16 &&
		       sizeof(struct xv_inflight_split) == 16 &&
		       sizeof(struct xv_inflight_desc_packed) == 32 &&
		       sizeof(struct xv_inflight_packed) == 32,
	       "the layout is fixed by the specification");

static uint64_t part_bytes(uint16_t queue_size, bool packed)
{
	uint64_t bytes = packed ? sizeof(struct xv_inflight_packed) +
					  queue_size * sizeof(struct xv_inflight_desc_packed)
				: sizeof(struct xv_inflight_split) +
					  queue_size * sizeof(struct xv_inflight_desc_split);

	return (bytes + PART_ALIGN - 1) / PART_ALIGN * PART_ALIGN;
}

int xv_inflight_area_open(int fd, uint64_t mmap_size, uint64_t mmap_offset, uint16_t num_queues,
			  uint16_t queue_size, bool packed, struct xv_inflight_area **area,
			  struct xv_err *err)
{
	uint64_t part = part_bytes(queue_size, packed);
	struct xv_inflight_area *a;
	unsigned int i;
	int rc;

	if (num_queues == 0 || queue_size == 0 || mmap_size / part < num_queues ||
	    mmap_offset % 8 != 0)
		return xv_err_set(
			err, -EINVAL, XV_ERR_DEVICE,
			"in-flight log of %llu bytes does not fit %u queues of %u descriptors",
			(unsigned long long)mmap_size, num_queues, queue_size);
	a = calloc(1, sizeof(*a) + num_queues * sizeof(a->queues[0]));
	if (a == NULL)
		return xv_err_set(err, -ENOMEM, XV_ERR_RESOURCE, "out of memory");
	if (packed) {
		a->links = calloc(2 * (size_t)num_queues * queue_size, sizeof(a->links[0]));
		if (a->links == NULL) {
			free(a);
			return xv_err_set(err, -ENOMEM, XV_ERR_RESOURCE, "out of memory");
		}
	}
	rc = xv_file_map(&a->file, "in-flight log", fd, mmap_offset, mmap_size, &a->broken, err);
	if (rc != 0) {
		free(a->links);
		free(a);
		return rc;
	}
	a->mmap_size = mmap_size;
	a->mmap_offset = mmap_offset;
	a->num_queues = num_queues;
	a->queue_size = queue_size;
	a->packed = packed;
	for (i = 0; i < num_queues; i++) {
		struct xv_inflight *q = &a->queues[i];
		void *at = a->file.at + i * part;

		q->desc_num = queue_size;
		if (packed) {
			q->packed = at;
			q->next = a->links + 2 * (size_t)i * queue_size;
			q->last = q->next + queue_size;
			q->recover = q->packed->version != 0;
		} else {
			q->split = at;
			q->recover = q->split->version != 0;
		}
	}
	*area = a;
	return 0;
}

int xv_inflight_area_create(uint16_t num_queues, uint16_t queue_size, bool packed,
			    struct xv_inflight_area **area, int *fd, struct xv_err *err)
{
	uint64_t size = num_queues * part_bytes(queue_size, packed);
	int rc;

	*fd = memfd_create("xvio-inflight", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (*fd < 0 || ftruncate(*fd, (off_t)size) != 0 ||
	    fcntl(*fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
		rc = xv_err_set(err, -errno, XV_ERR_RESOURCE, "no in-flight log: %s",
				strerror(errno));
		goto fail;
	}
	rc = xv_inflight_area_open(*fd, size, 0, num_queues, queue_size, packed, area, err);
	if (rc != 0)
		goto fail;
	return 0;
fail:
	if (*fd >= 0)
		(void)close(*fd);
	*fd = -1;
	return rc;
}

void xv_inflight_area_destroy(struct xv_inflight_area *area)
{
	if (area == NULL)
		return;
	xv_file_unmap(&area->file);
	free(area->links);
	free(area);
}

/* Split rings. */

/* The descriptors of the last batch were given back, but the crash came before they were crossed
 * out. */
static void finish_batch_split(struct xv_inflight *inflight, uint16_t used_idx)
{
	struct xv_inflight_split *area = inflight->split;
	uint16_t batch = (uint16_t)(used_idx - area->used_idx);
	uint16_t head = area->last_batch_head, i;

	for (i = 0; i < batch && i < inflight->desc_num && head < inflight->desc_num; i++) {
		area->desc[head].inflight = 0;
		head = area->desc[head].next;
	}
	ordered();
	area->used_idx = used_idx;
}

int xv_inflight_start_split(struct xv_inflight *inflight, const struct vring_avail *avail,
			    uint16_t size, uint16_t used_idx, uint16_t *avail_idx,
			    struct xv_err *err)
{
	struct xv_inflight_split *area = inflight->split;
	bool recover = inflight->recover;
	unsigned int i, taken = 0;

	inflight->recover = false;
	inflight->batch = 0;
	if (!recover) {
		for (i = 0; i < inflight->desc_num; i++)
			area->desc[i].inflight = 0;
		area->desc_num = inflight->desc_num;
		area->used_idx = used_idx;
		ordered();
		area->version = XV_INFLIGHT_VERSION;
		return 0;
	}
	if (area->version != XV_INFLIGHT_VERSION)
		return xv_err_set(err, -EINVAL, XV_ERR_DEVICE,
				  "in-flight log of unknown version %u", area->version);
	finish_batch_split(inflight, used_idx);
	for (i = 0; i < inflight->desc_num; i++) {
		if (area->desc[i].inflight == 0)
			continue;
		taken++;
		if (area->desc[i].counter >= inflight->counter)
			inflight->counter = area->desc[i].counter + 1;
	}
	for (i = 0; i < taken && taken <= size; i++) {
		uint16_t head = avail->ring[(uint16_t)(used_idx + i) & (size - 1)];

		if (head >= inflight->desc_num || area->desc[head].inflight == 0)
			break;
	}
	if (i != taken)
		return xv_err_set(err, -EINVAL, XV_ERR_DEVICE,
				  "in-flight log does not fit the ring (%u descriptors)", taken);
	*avail_idx = used_idx;
	return 0;
}

void xv_inflight_take_split(struct xv_inflight *inflight, uint16_t head)
{
	struct xv_inflight_desc_split *d;

	if (head >= inflight->desc_num)
		return;
	d = &inflight->split->desc[head];
	d->counter = inflight->counter++;
	ordered();
	d->inflight = 1;
}

void xv_inflight_put_split(struct xv_inflight *inflight, uint16_t head)
{
	if (head >= inflight->desc_num)
		return;
	inflight->split->desc[head].next = inflight->last_batch_head;
	ordered();
	inflight->split->last_batch_head = inflight->last_batch_head = head;
	ordered();
	inflight->batch++;
}

void xv_inflight_done_split(struct xv_inflight *inflight, uint16_t head, uint16_t used_idx)
{
	if (head >= inflight->desc_num)
		return;
	inflight->split->desc[head].inflight = 0;
	if (inflight->batch > 0 && --inflight->batch > 0)
		return;
	ordered();
	inflight->split->used_idx = used_idx; /* not before all of the batch are crossed out */
}

/* Packed rings. */

static bool desc_is_avail(const struct vring_packed_desc *desc, bool wrap)
{
	uint16_t flags = *(const volatile uint16_t *)&desc->flags;

	return ((flags >> VRING_PACKED_DESC_F_AVAIL) & 1) == wrap &&
	       ((flags >> VRING_PACKED_DESC_F_USED) & 1) != wrap;
}

/* Nothing in flight, all entries free, the device stands at (used_idx, used_wrap). */
static void reset_packed(struct xv_inflight *inflight, uint16_t used_idx, bool used_wrap)
{
	struct xv_inflight_packed *area = inflight->packed;
	unsigned int i;

	for (i = 0; i < inflight->desc_num; i++) {
		area->desc[i].inflight = 0;
		area->desc[i].next = inflight->next[i] = (uint16_t)(i + 1);
	}
	inflight->free_head = 0;
	inflight->free_num = inflight->desc_num;
	area->desc_num = inflight->desc_num;
	area->free_head = area->old_free_head = 0;
	area->used_idx = area->old_used_idx = used_idx;
	area->used_wrap_counter = area->old_used_wrap_counter = used_wrap;
	ordered();
	area->version = XV_INFLIGHT_VERSION;
}

int xv_inflight_start_packed(struct xv_inflight *inflight, const struct vring_packed_desc *ring,
			     uint16_t size, uint16_t *used_idx, bool *used_wrap, struct xv_err *err)
{
	struct xv_inflight_packed *area = inflight->packed;
	bool recover = inflight->recover;
	unsigned int i, taken = 0;
	uint16_t old, now, free_head;
	bool old_wrap, now_wrap;

	inflight->recover = false;
	inflight->batch = 0;
	if (!recover) {
		reset_packed(inflight, *used_idx, *used_wrap);
		return 0;
	}
	if (area->version != XV_INFLIGHT_VERSION)
		return xv_err_set(err, -EINVAL, XV_ERR_DEVICE,
				  "in-flight log of unknown version %u", area->version);
	old = *(volatile uint16_t *)&area->old_used_idx;
	now = *(volatile uint16_t *)&area->used_idx;
	old_wrap = area->old_used_wrap_counter != 0;
	now_wrap = area->used_wrap_counter != 0;
	free_head = *(volatile uint16_t *)&area->old_free_head;
	if (old >= size || now >= size)
		return xv_err_set(err, -EINVAL, XV_ERR_DEVICE,
				  "in-flight log does not fit the ring");
	/* The last batch was under way. It counts if the guest can have seen it, else it never was.
	 */
	if ((old != now || old_wrap != now_wrap) && !desc_is_avail(&ring[old], old_wrap)) {
		old = now;
		old_wrap = now_wrap;
		free_head = *(volatile uint16_t *)&area->free_head;
	}
	for (i = 0; i < inflight->desc_num && free_head < inflight->desc_num; i++) {
		area->desc[free_head].inflight = 0;
		free_head = *(volatile uint16_t *)&area->desc[free_head].next;
	}
	for (i = 0; i < inflight->desc_num; i++)
		taken += area->desc[i].inflight != 0;
	if (taken > 0 && !desc_is_avail(&ring[old], old_wrap))
		return xv_err_set(err, -EINVAL, XV_ERR_DEVICE,
				  "in-flight log does not fit the ring (%u buffers)", taken);
	/* What is in flight is taken again from the ring, and noted then. */
	reset_packed(inflight, old, old_wrap);
	*used_idx = old;
	*used_wrap = old_wrap;
	return 0;
}

uint16_t xv_inflight_take_packed(struct xv_inflight *inflight, const struct vring_packed_desc *ring,
				 uint16_t size, uint16_t pos, uint16_t num)
{
	struct xv_inflight_packed *area = inflight->packed;
	uint16_t head = inflight->free_head, entry = head, last = head, i;
	struct xv_inflight_desc_packed *h;

	if (num == 0 || num > inflight->free_num)
		return inflight
			->desc_num; /* cannot happen: there are as many entries as descriptors */
	h = &area->desc[head];
	h->num = 0;
	h->counter = inflight->counter++;
	ordered();
	h->inflight = 1;
	for (i = 0; i < num; i++) {
		struct xv_inflight_desc_packed *d = &area->desc[entry];

		d->addr = ring[pos].addr;
		d->len = ring[pos].len;
		d->flags = ring[pos].flags;
		d->id = ring[pos].id;
		last = entry;
		entry = inflight->next[entry];
		if (++pos == size)
			pos = 0;
	}
	h->num = num;
	h->last = inflight->last[head] = last;
	inflight->free_num = (uint16_t)(inflight->free_num - num);
	inflight->free_head = entry;
	area->free_head = entry;
	ordered();
	area->old_free_head = entry;
	return head;
}

void xv_inflight_put_packed(struct xv_inflight *inflight, uint16_t entry, uint16_t used_idx,
			    bool used_wrap)
{
	struct xv_inflight_packed *area = inflight->packed;
	uint16_t last, i;

	if (entry >= inflight->desc_num)
		return;
	last = inflight->last[entry];
	for (i = entry; i != last; i = inflight->next[i])
		inflight->free_num++;
	inflight->free_num++;
	area->desc[last].next = inflight->next[last] = inflight->free_head;
	inflight->free_head = entry;
	inflight->used_idx = used_idx;
	inflight->used_wrap = used_wrap;
	inflight->batch++;
	ordered();
	area->free_head = entry;
	area->used_idx = used_idx;
	area->used_wrap_counter = used_wrap;
	ordered();
}

void xv_inflight_done_packed(struct xv_inflight *inflight, uint16_t entry)
{
	struct xv_inflight_packed *area = inflight->packed;

	if (entry >= inflight->desc_num)
		return;
	area->desc[entry].inflight = 0;
	if (inflight->batch > 0 && --inflight->batch > 0)
		return;
	ordered();
	area->old_free_head = inflight->free_head;
	area->old_used_idx = inflight->used_idx;
	area->old_used_wrap_counter = inflight->used_wrap;
}
