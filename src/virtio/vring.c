/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio/vring.h"

#include <errno.h>

#include <linux/virtio_config.h>
#include <linux/virtio_net.h>

#include "virtio/signal_fd.h"
#include "virtio/vhost_user.h"
#include "virtio/vnet_hdr.h"
#include "virtio/vring_ops.h"

bool xv_vring_use_avx512;

const char *xv_vring_error_text(enum xv_vring_error error)
{
	static const char *const texts[] = {
		[XV_VRING_OK] = "ok",
		[XV_VRING_BAD_AVAIL] = "available index is further ahead than the ring is long",
		[XV_VRING_BAD_HEAD] = "descriptor index is beyond the ring",
		[XV_VRING_BAD_ADDR] = "buffer lies outside guest memory",
		[XV_VRING_BAD_CHAIN] = "descriptor chain loops, is too long or mixes directions",
		[XV_VRING_BAD_INDIRECT] = "indirect descriptor table is invalid",
		[XV_VRING_BAD_LENGTH] = "buffer is empty or too small for a virtio-net header",
		[XV_VRING_BAD_CALL] = "call descriptor blocks whoever writes to it",
		[XV_VRING_MEMORY_GONE] = "the file behind guest memory shrank",
	};

	return error < sizeof(texts) / sizeof(texts[0]) ? texts[error] : "unknown";
}

void xv_vring_break(struct xv_vring *vq, enum xv_vring_error error)
{
	uint8_t expected = XV_VRING_OK;

	if (atomic_compare_exchange_strong(&vq->error, &expected, (uint8_t)error))
		xv_vhost_report_broken();
}

bool xv_vring_use_region(struct xv_vring *vq, uint64_t gpa)
{
	const struct xv_region *r = xv_guest_memory_lookup(vq->mem, gpa);

	if (r == NULL)
		return false;
	vq->region_gpa = r->gpa;
	vq->region_size = r->size;
	vq->region_hva = r->hva;
	return true;
}

void xv_vring_bytes(uint16_t size, bool is_packed, bool event_idx, uint64_t *desc, uint64_t *avail,
		    uint64_t *used)
{
	uint64_t event = event_idx ? sizeof(uint16_t) : 0;

	if (is_packed) {
		*desc = (uint64_t)size * sizeof(struct vring_packed_desc);
		*avail = *used = sizeof(struct vring_packed_desc_event);
		return;
	}
	*desc = (uint64_t)size * sizeof(struct vring_desc);
	*avail = sizeof(struct vring_avail) + (uint64_t)size * sizeof(uint16_t) + event;
	*used = sizeof(struct vring_used) + (uint64_t)size * sizeof(struct vring_used_elem) + event;
}

static uint32_t guest_caps(uint64_t features)
{
	static const struct {
		unsigned int bit;
		uint32_t cap;
	} map[] = {
		{VIRTIO_NET_F_GUEST_CSUM, XV_CAP_CSUM}, {VIRTIO_NET_F_GUEST_TSO4, XV_CAP_TSO4},
		{VIRTIO_NET_F_GUEST_TSO6, XV_CAP_TSO6}, {VIRTIO_NET_F_GUEST_UFO, XV_CAP_UFO},
		{VIRTIO_NET_F_GUEST_ECN, XV_CAP_ECN},
	};
	uint32_t caps = 0;
	unsigned int i;

	for (i = 0; i < sizeof(map) / sizeof(map[0]); i++)
		if ((features & XV_FEATURE(map[i].bit)) != 0)
			caps |= map[i].cap;
	return caps;
}

void xv_vring_start(struct xv_vring *vq, const struct xv_vring_setup *setup)
{
	uint64_t features = setup->features;
	bool modern = (features & XV_FEATURE(VIRTIO_F_VERSION_1)) != 0;

	vq->desc = setup->desc;
	vq->avail = setup->avail;
	vq->used = setup->used;
	vq->size = setup->size;
	vq->avail_idx = setup->avail_idx;
	vq->avail_seen = setup->avail_idx;
	vq->used_idx = setup->used_idx;
	vq->avail_wrap = setup->avail_wrap;
	vq->used_wrap = setup->used_wrap;
	vq->mem = setup->mem;
	vq->region_size = 0;
	vq->pool = setup->pool;
	vq->log = setup->log;
	vq->log_used_gpa = setup->log_used_gpa;
	vq->inflight = setup->inflight;
	vq->lends = setup->receive && setup->lends && setup->inflight == NULL;
	vq->lent = false;
	vq->lending.bytes = 0;
	vq->lending.frames = vq->lending.n_held = 0;
	vq->burst = setup->burst != NULL ? setup->burst : &vq->no_place;
	vq->features = features;
	vq->kick_fd = setup->kick_fd;
	vq->call_fd = setup->call_fd;
	vq->index = setup->index;
	vq->is_packed = (features & XV_FEATURE(VIRTIO_F_RING_PACKED)) != 0;
	vq->mergeable = (features & XV_FEATURE(VIRTIO_NET_F_MRG_RXBUF)) != 0;
	vq->in_order = (features & XV_FEATURE(VIRTIO_F_IN_ORDER)) != 0;
	vq->event_idx = (features & XV_FEATURE(VIRTIO_RING_F_EVENT_IDX)) != 0;
	vq->indirect = (features & XV_FEATURE(VIRTIO_RING_F_INDIRECT_DESC)) != 0;
	vq->hdr_len = modern || vq->mergeable ? sizeof(struct virtio_net_hdr_mrg_rxbuf)
					      : sizeof(struct virtio_net_hdr);
	vq->caps = guest_caps(features);
	vq->call_valid = false;
	vq->call_used_idx = setup->used_idx;
	rte_spinlock_init(&vq->lock);
	atomic_store(&vq->error, XV_VRING_OK);

	if (vq->is_packed) {
		vq->recv = xv_packed_recv;
		vq->send = xv_packed_send;
	} else {
		vq->recv = xv_split_recv;
		vq->send = xv_split_send;
	}
#ifdef XV_HAVE_AVX512
	if (xv_vring_use_avx512) {
		vq->recv = vq->is_packed ? xv_packed_recv_avx512 : xv_split_recv_avx512;
		vq->send = vq->is_packed ? xv_packed_send_avx512 : xv_split_send_avx512;
	}
#endif
	vq->notify_armed = true; /* whatever an earlier life left there is overwritten */
	xv_vring_disarm(vq);
}

void xv_vring_stop(struct xv_vring *vq)
{
	vq->recv = NULL;
	vq->send = NULL;
	vq->mem = NULL;
	vq->log = NULL;
	vq->inflight = NULL;
	vq->burst = &vq->no_place;
	vq->kick_fd = vq->call_fd = -1;
}

/*
 * Notifications. Ours to the guest: an eventfd, unless the guest said that it looks by itself. The
 * guest's to us: suppressed while the worker polls.
 */
static bool split_wants_call(struct xv_vring *vq)
{
	const volatile struct vring_avail *avail = vq->avail;
	uint16_t old = vq->call_used_idx, now = vq->used_idx, event;
	bool valid = vq->call_valid;

	if (!vq->event_idx)
		return (avail->flags & VRING_AVAIL_F_NO_INTERRUPT) == 0;
	event = avail->ring[vq->size]; /* used_event, 2.7.7 */
	vq->call_used_idx = now;
	vq->call_valid = true;
	return !valid || vring_need_event(event, now, old);
}

static bool packed_wants_call(struct xv_vring *vq, uint16_t published)
{
	/* One read: offset and wrap counter in the low half, flags in the high half. */
	uint32_t event = *(const volatile uint32_t *)vq->driver_event;
	uint16_t flags = (uint16_t)(event >> 16) & 0x3, off = event & 0x7fff;
	bool wrap = (event & 0x8000) != 0, valid = vq->call_valid;
	uint16_t old;

	if (flags != VRING_PACKED_EVENT_FLAG_DESC)
		return flags != VRING_PACKED_EVENT_FLAG_DISABLE;
	vq->call_valid = true;
	if (off >= vq->size)
		return true;
	/* Positions on a line where a lap earlier is `size` less (2.8.10.1). */
	old = (uint16_t)(vq->used_idx - published);
	if (wrap != vq->used_wrap)
		off = (uint16_t)(off - vq->size);
	return !valid || vring_need_event(off, vq->used_idx, old);
}

void xv_vring_notify(struct xv_vring *vq, uint16_t published)
{
	atomic_thread_fence(memory_order_seq_cst); /* used entries before the guest's suppression */
	if (vq->call_fd < 0)
		return;
	if (vq->is_packed ? packed_wants_call(vq, published) : split_wants_call(vq)) {
		if (xv_signal_fd(vq->call_fd) == -EINTR)
			xv_vring_break(vq, XV_VRING_BAD_CALL);
		xv_vring_count(&vq->calls);
	}
}

static bool packed_is_avail(const struct xv_vring *vq, uint16_t pos, bool wrap)
{
	uint16_t flags = __atomic_load_n(&vq->packed[pos].flags, __ATOMIC_ACQUIRE);

	return ((flags >> VRING_PACKED_DESC_F_AVAIL) & 1) == wrap &&
	       ((flags >> VRING_PACKED_DESC_F_USED) & 1) != wrap;
}

static uint16_t split_backlog(struct xv_vring *vq, uint16_t n)
{
	uint16_t avail = (uint16_t)(vq->avail_seen - vq->avail_idx), seen;

	if (avail >= n)
		return avail;
	seen = __atomic_load_n(&vq->avail->idx, __ATOMIC_ACQUIRE);
	avail = (uint16_t)(seen - vq->avail_idx);
	if (avail > vq->size) {
		xv_vring_break(vq, XV_VRING_BAD_AVAIL);
		return 0;
	}
	vq->avail_seen = seen;
	return avail;
}

/* Two looks tell what matters: whether n wait, or any. */
static uint16_t packed_backlog(const struct xv_vring *vq, uint16_t n)
{
	uint32_t last = vq->avail_idx + n - 1u;
	bool wrap = vq->avail_wrap;

	if (last >= vq->size) {
		last -= vq->size;
		wrap = !wrap;
	}
	if (packed_is_avail(vq, (uint16_t)last, wrap))
		return n;
	return packed_is_avail(vq, vq->avail_idx, vq->avail_wrap) ? 1 : 0;
}

/* What the caller is about to receive. Of a split ring, descriptors are mostly used in the order of
 * the ring. */
static void prefetch_backlog(const struct xv_vring *vq, uint16_t n)
{
	const uint32_t per_line = 64 / sizeof(struct vring_desc);
	uint32_t i, at;

	if (vq->is_packed) {
		for (i = 0, at = vq->avail_idx; i < n; i += per_line, at += per_line)
			__builtin_prefetch(&vq->packed[at < vq->size ? at : at - vq->size]);
		return;
	}
	at = vq->avail_idx & (vq->size - 1u);
	__builtin_prefetch(&vq->avail->ring[at]);
	for (i = 0; i < n; i += per_line)
		__builtin_prefetch(&vq->desc[(at + i) & (vq->size - 1u)]);
}

uint16_t xv_vring_backlog(struct xv_vring *vq, uint16_t n)
{
	uint16_t most = n < vq->size ? n : vq->size, backlog;

	backlog = vq->is_packed ? packed_backlog(vq, most) : split_backlog(vq, most);
	if (backlog > 0) /* else the guest may be writing there */
		prefetch_backlog(vq, backlog < most ? backlog : most);
	return backlog >= most ? n : backlog;
}

bool xv_vring_arm(struct xv_vring *vq)
{
	if (xv_vring_is_broken(vq))
		return true; /* nothing to wait for */
	if (!vq->notify_armed) {
		vq->notify_armed = true;
		if (vq->is_packed) {
			__atomic_store_n(&vq->device_event->flags, VRING_PACKED_EVENT_FLAG_ENABLE,
					 __ATOMIC_RELAXED);
		} else if (!vq->event_idx) {
			__atomic_store_n(&vq->used->flags, 0, __ATOMIC_RELAXED);
		}
	}
	if (!vq->is_packed && vq->event_idx) /* avail_event, 2.7.10: kick for the next one */
		__atomic_store_n((uint16_t *)(void *)&vq->used->ring[vq->size], vq->avail_idx,
				 __ATOMIC_RELAXED);
	atomic_thread_fence(memory_order_seq_cst); /* our wish before their indexes */
	if (xv_vring_backlog(vq, 1) == 0)
		return true;
	xv_vring_disarm(vq);
	return false;
}

void xv_vring_disarm(struct xv_vring *vq)
{
	if (!vq->notify_armed)
		return;
	vq->notify_armed = false;
	if (xv_vring_is_broken(vq))
		return;
	if (vq->is_packed)
		__atomic_store_n(&vq->device_event->flags, VRING_PACKED_EVENT_FLAG_DISABLE,
				 __ATOMIC_RELAXED);
	else /* with event index the flag is 0 and a stale avail_event keeps the guest quiet */
		__atomic_store_n(&vq->used->flags, vq->event_idx ? 0 : VRING_USED_F_NO_NOTIFY,
				 __ATOMIC_RELAXED);
}
