/* SPDX-License-Identifier: Apache-2.0 */
/* Rings of a vhost-user device: from what the front end said to what workers see, and back. */
#include "virtio/vhost_device.h"

#include <errno.h>

#include <linux/virtio_config.h>

#include "base/log.h"
#include "table/rcu.h"
#include "virtio/signal_fd.h"

struct xv_vring *xv_vhost_ring(const struct xv_vhost *v, uint16_t index)
{
	if (index >= v->n_rings)
		return NULL;
	return atomic_load_explicit(&v->published[index], memory_order_acquire);
}

struct xv_vring *xv_vhost_ring_in_burst(struct xv_vhost *v, uint16_t index)
{
	return &v->rings[index].vq;
}

void xv_vhost_rings_stop(struct xv_vhost *v, unsigned int first, unsigned int end)
{
	uint64_t stopped = 0;
	unsigned int i;

	for (i = first; i < end; i++) {
		if (!xv_vhost_ring_is_published(v, i))
			continue;
		atomic_store(&v->published[i], NULL);
		stopped |= XV_BIT(i);
	}
	if (stopped == 0)
		return;
	xv_rcu_synchronize();
	for (i = first; i < end; i++) {
		struct xv_vhost_ring *r = &v->rings[i];
		uint8_t error;

		if ((stopped & XV_BIT(i)) == 0)
			continue;
		error = atomic_load(&r->vq.error);
		if (error != XV_VRING_OK && v->ring_error == XV_VRING_OK) {
			v->ring_error = error;
			v->ring_error_index = (uint16_t)i;
		}
		v->bad_headers += atomic_exchange(&r->vq.bad_headers, 0);
		xv_vring_stop(&r->vq);
		r->avail_idx = r->vq.avail_idx;
		r->used_idx = r->vq.used_idx;
		r->avail_wrap = r->vq.avail_wrap;
		r->used_wrap = r->vq.used_wrap;
	}
	v->changed = true;
}

/* Our address of one of the ring's three parts. */
static int resolve(const struct xv_vhost *v, unsigned int index, const char *what, uint64_t uva,
		   uint64_t len, uint64_t align, void **at, uint64_t *gpa, struct xv_err *err)
{
	*at = xv_guest_memory_at_uva(v->mem, uva, len, gpa);
	if (*at == NULL)
		return xv_err_set(err, -EINVAL, XV_ERR_DEVICE,
				  "ring %u: %s at %#llx lies outside guest memory", index, what,
				  (unsigned long long)uva);
	if ((uintptr_t)*at % align != 0)
		return xv_err_set(err, -EINVAL, XV_ERR_DEVICE,
				  "ring %u: %s at %#llx is not aligned", index, what,
				  (unsigned long long)uva);
	return 0;
}

/*
 * A packed ring has no index in guest memory. What the front end says may be where it stood long ago: if the ring
 * has been ours before, we know better.
 */
static void find_place(struct xv_vhost *v, unsigned int index, uint64_t desc_gpa, struct xv_vring_setup *setup)
{
	struct xv_vhost_ring *r = &v->rings[index];
	const struct xv_region *region = xv_guest_memory_lookup(v->mem, desc_gpa);
	const struct xv_ring_key key = {
		.dev = region->file.dev,
		.ino = region->file.ino,
		.offset = region->file.offset + (desc_gpa - region->gpa),
		.size = r->size,
		.index = (uint16_t)index,
	};
	struct xv_ring_position at;
	bool known = false;

	if (r->place != NULL && !xv_ring_place_is(r->place, &key)) {
		xv_ring_place_forget(r->place);
		r->place = NULL;
	}
	/* Not again in the same connection: a front end that says a base now has been told. */
	if (r->place == NULL)
		r->place = xv_ring_place_take(&key, &known);
	if (r->place == NULL)
		return;
	if (known && r->rebased && xv_ring_place_recover(r->place, r->base, v->mem, setup->desc, &at)) {
		XV_LOG_LIMITED(XV_LOG_INFO, v->name, "ring %u goes on at %u, where it was left (base was %u)", index,
			       at.idx, r->avail_idx);
		setup->avail_idx = setup->used_idx = at.idx;
		setup->avail_wrap = setup->used_wrap = at.wrap;
		if (setup->log != NULL)
			xv_dirty_log_mark(setup->log, desc_gpa, (uint64_t)r->size * sizeof(struct vring_packed_desc));
	}
	at = (struct xv_ring_position){setup->used_idx, setup->used_wrap};
	xv_ring_place_start(r->place, r->base, at);
	setup->burst = &r->place->burst;
}

static int find_position_packed(struct xv_vhost *v, unsigned int index, uint64_t desc_gpa,
				struct xv_vring_setup *setup, struct xv_err *err)
{
	struct xv_vhost_ring *r = &v->rings[index];
	bool recover;
	int rc;

	setup->avail_wrap = r->avail_wrap;
	setup->used_wrap = r->used_wrap;
	if (r->avail_idx >= r->size || r->used_idx >= r->size)
		return xv_err_set(err, -EINVAL, XV_ERR_DEVICE, "ring %u: base is beyond its size", index);
	if (setup->inflight == NULL) {
		find_place(v, index, desc_gpa, setup);
		return 0;
	}
	recover = setup->inflight->recover;
	rc = xv_inflight_start_packed(setup->inflight, setup->desc, r->size, &setup->used_idx, &setup->used_wrap,
				      err);
	if (recover) {
		setup->avail_idx = setup->used_idx;
		setup->avail_wrap = setup->used_wrap;
	}
	return rc;
}

static int find_position_split(struct xv_vhost *v, unsigned int index, struct xv_vring_setup *setup,
			       struct xv_err *err)
{
	struct xv_vhost_ring *r = &v->rings[index];

	if (r->rebased) {
		/*
		 * What was taken by a back end that died was not given back: go on at the used
		 * index, whatever the front end believes. (For an orderly start the two are equal.)
		 */
		uint16_t used_idx = __atomic_load_n(&((struct vring_used *)setup->used)->idx, __ATOMIC_ACQUIRE);

		if (used_idx != r->avail_idx)
			XV_LOG_LIMITED(XV_LOG_INFO, v->name,
				       "ring %u goes on at %u, its used index (base was %u)", index,
				       used_idx, r->avail_idx);
		setup->avail_idx = setup->used_idx = used_idx;
	}
	if (setup->inflight == NULL)
		return 0;
	return xv_inflight_start_split(setup->inflight, setup->avail, r->size, setup->used_idx, &setup->avail_idx,
				       err);
}

/* Where the device is to go on, in *setup and the in-flight log. */
static int find_position(struct xv_vhost *v, unsigned int index, bool packed, uint64_t desc_gpa,
			 struct xv_vring_setup *setup, struct xv_err *err)
{
	struct xv_vhost_ring *r = &v->rings[index];

	if (v->inflight != NULL && index < v->inflight->num_queues) {
		setup->inflight = &v->inflight->queues[index];
		if (v->inflight->packed != packed || setup->size > setup->inflight->desc_num)
			return xv_err_set(err, -EINVAL, XV_ERR_DEVICE,
					  "ring %u: the in-flight log is made for %s rings of %u",
					  index, v->inflight->packed ? "packed" : "split",
					  setup->inflight->desc_num);
	}
	setup->avail_idx = r->avail_idx;
	setup->used_idx = r->used_idx;
	return packed ? find_position_packed(v, index, desc_gpa, setup, err)
		      : find_position_split(v, index, setup, err);
}

/* 0 = published, -EAGAIN = not all that it needs is there yet, -EINVAL = impossible. */
static int start(struct xv_vhost *v, unsigned int index, struct xv_err *err)
{
	struct xv_vhost_ring *r = &v->rings[index];
	bool packed = (v->features & XV_BIT(VIRTIO_F_RING_PACKED)) != 0;
	bool event_idx = (v->features & XV_BIT(VIRTIO_RING_F_EVENT_IDX)) != 0;
	struct xv_vring_setup setup = {0};
	uint64_t desc, avail, used, desc_gpa, gpa;
	int rc;

	if (!r->started || !r->enabled || !r->has_addr || r->size == 0 || v->mem == NULL ||
	    v->mem->n == 0)
		return -EAGAIN;
	if (!packed && (r->size & (r->size - 1)) != 0)
		return xv_err_set(err, -EINVAL, XV_ERR_DEVICE,
				  "ring %u: size %u is not a power of two", index, r->size);
	xv_vring_bytes(r->size, packed, event_idx, &desc, &avail, &used);
	rc = resolve(v, index, "descriptors", r->addr.desc, desc, 16, &setup.desc, &desc_gpa, err);
	if (rc == 0)
		rc = resolve(v, index, "available ring", r->addr.avail, avail, packed ? 4 : 2,
			     &setup.avail, &gpa, err);
	if (rc == 0)
		rc = resolve(v, index, "used ring", r->addr.used, used, 4, &setup.used, &gpa, err);
	if (rc != 0)
		return rc;
	setup.size = r->size;
	setup.receive = setup.lends = index % 2 != 0;
	setup.mem = v->mem;
	setup.pool = v->pool;
	setup.log_used_gpa = UINT64_MAX;
	if ((v->features & XV_BIT(XV_VHOST_F_LOG_ALL)) != 0) {
		setup.log = v->log;
		/* Front ends name the used ring, or in a packed ring the device's event area; what
		 * we write there is among the descriptors. */
		if ((r->addr.flags & XV_VHOST_VRING_LOG) != 0)
			setup.log_used_gpa = packed ? desc_gpa : r->addr.log;
	}
	rc = find_position(v, index, packed, desc_gpa, &setup, err);
	if (rc != 0)
		return rc;
	r->rebased = false;
	setup.features = v->features;
	setup.kick_fd = r->kick_fd;
	setup.call_fd = r->call_fd;
	setup.index = (uint16_t)index;
	xv_vring_start(&r->vq, &setup);
	atomic_store_explicit(&v->published[index], &r->vq, memory_order_release);
	v->changed = true;
	return 0;
}

int xv_vhost_rings_start(struct xv_vhost *v, unsigned int first, unsigned int end, bool lenient,
			 struct xv_err *err)
{
	unsigned int i;

	for (i = first; i < end; i++) {
		struct xv_vhost_ring *r = &v->rings[i];
		int rc;

		if (xv_vhost_ring_is_published(v, i))
			continue;
		rc = start(v, i, err);
		if (rc == -EAGAIN)
			continue;
		if (rc != 0 && !lenient)
			return rc;
		if (rc != 0)
			continue;
		/*
		 * A kick or a call may have been lost with an earlier life, or while the ring was
		 * stopped: make both sides look once. Full counters, which refuse, have the same
		 * effect.
		 */
		if (r->kick_fd >= 0 && i % 2 != 0)
			(void)xv_signal_fd(r->kick_fd);
		if (r->call_fd >= 0)
			(void)xv_signal_fd(r->call_fd);
	}
	return 0;
}
