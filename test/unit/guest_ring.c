/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "guest_ring.h"

#include <stdlib.h>
#include <string.h>

#include <linux/virtio_config.h>

#include "virtio/guest_memory.h"
#include "virtio/vring.h"

#define BIT(n) (UINT64_C(1) << (n))
#define AVAIL  BIT(VRING_PACKED_DESC_F_AVAIL)
#define USED   BIT(VRING_PACKED_DESC_F_USED)

void guest_create(struct guest *guest, size_t region_bytes)
{
	static const unsigned int place[GUEST_REGIONS] = {
		2, 0, 1}; /* neighbours are not neighbours here */
	unsigned int i;

	*guest = (struct guest){.region_bytes = region_bytes,
				.n_bytes = region_bytes * GUEST_REGIONS};
	guest->bytes = aligned_alloc(4096, guest->n_bytes);
	guest->mem = calloc(1, sizeof(*guest->mem));
	assert_non_null(guest->bytes);
	assert_non_null(guest->mem);
	guest->mem->n = GUEST_REGIONS;
	for (i = 0; i < GUEST_REGIONS; i++)
		guest->mem->regions[i] = (struct xv_region){
			.gpa = i == 2 ? GUEST_FAR : GUEST_BASE + i * region_bytes,
			.size = region_bytes,
			.hva = guest->bytes + place[i] * region_bytes,
		};
	guest_reset(guest);
}

void guest_destroy(struct guest *guest)
{
	free(guest->bytes);
	free(guest->mem);
}

void guest_reset(struct guest *guest)
{
	memset(guest->bytes, 0, guest->n_bytes);
	memset(guest->taken, 0, sizeof(guest->taken));
}

uint64_t guest_alloc(struct guest *guest, unsigned int region, size_t bytes, size_t align)
{
	size_t at = (guest->taken[region] + align - 1) / align * align;

	assert_true(at + bytes <= guest->region_bytes);
	guest->taken[region] = at + bytes;
	return guest->mem->regions[region].gpa + at;
}

uint64_t guest_border(const struct guest *guest)
{
	return guest->mem->regions[1].gpa;
}

uint8_t *guest_at(const struct guest *guest, uint64_t gpa)
{
	unsigned int i;

	for (i = 0; i < GUEST_REGIONS; i++) {
		const struct xv_region *r = &guest->mem->regions[i];

		if (gpa >= r->gpa && gpa < r->gpa + r->size)
			return r->hva + (gpa - r->gpa);
	}
	fail_msg("no guest memory at %#llx", (unsigned long long)gpa);
	return NULL;
}

/* How many of the `len` bytes from gpa on lie in gpa's region. */
static uint32_t straight(const struct guest *guest, uint64_t gpa, uint32_t len)
{
	uint64_t border = guest_border(guest);

	return gpa < border && gpa + len > border ? (uint32_t)(border - gpa) : len;
}

static void copy(const struct guest *guest, const struct guest_seg *seg, unsigned int n,
		 uint32_t offset, uint8_t *to, const uint8_t *from, uint32_t len)
{
	unsigned int i;

	for (i = 0; i < n && len > 0; i++) {
		uint64_t gpa = seg[i].gpa + offset;
		uint32_t left = seg[i].len;

		if (offset >= left) {
			offset -= left;
			continue;
		}
		left -= offset;
		offset = 0;
		while (left > 0 && len > 0) {
			uint32_t part = straight(guest, gpa, left < len ? left : len);

			if (to != NULL) {
				memcpy(to, guest_at(guest, gpa), part);
				to += part;
			} else {
				memcpy(guest_at(guest, gpa), from, part);
				from += part;
			}
			gpa += part;
			left -= part;
			len -= part;
		}
	}
	assert_int_equal(len, 0);
}

void guest_write(const struct guest *guest, const struct guest_seg *seg, unsigned int n,
		 uint32_t offset, const void *bytes, uint32_t len)
{
	copy(guest, seg, n, offset, NULL, bytes, len);
}

void guest_read(const struct guest *guest, const struct guest_seg *seg, unsigned int n,
		uint32_t offset, void *bytes, uint32_t len)
{
	copy(guest, seg, n, offset, bytes, NULL, len);
}

void guest_ring_create(struct guest_ring *ring, struct guest *guest, uint16_t size,
		       uint64_t features, uint16_t start, bool wrap)
{
	uint64_t desc, avail, used;
	uint16_t i;

	assert_true(size <= GUEST_RING_MAX);
	*ring = (struct guest_ring){
		.guest = guest,
		.is_packed = (features & BIT(VIRTIO_F_RING_PACKED)) != 0,
		.in_order = (features & BIT(VIRTIO_F_IN_ORDER)) != 0,
		.event_idx = (features & BIT(VIRTIO_RING_F_EVENT_IDX)) != 0,
		.size = size,
		.room = size,
		.n_free = size,
		.avail_pos = start,
		.used_pos = start,
		.kicked_pos = start,
		.avail_wrap = wrap,
		.used_wrap = wrap,
		.kicked_wrap = wrap,
		.next_desc = start % size,
	};
	for (i = 0; i < size; i++)
		ring->free[i] = (uint16_t)((start + i) % size);
	/* 2.7, 2.8.10.2 */
	desc = (uint64_t)size * 16;
	avail = ring->is_packed ? 4 : 6 + 2 * (uint64_t)size;
	used = ring->is_packed ? 4 : 6 + 8 * (uint64_t)size;
	ring->desc_gpa = guest_alloc(guest, 0, desc, 16);
	ring->avail_gpa = guest_alloc(guest, 0, avail, 4);
	ring->used_gpa = guest_alloc(guest, 0, used, 4);
	ring->table_gpa = guest_alloc(guest, 2, (size_t)size * GUEST_MAX_SEGS * 16, 16);
	if (!ring->is_packed) {
		ring->desc = (void *)guest_at(guest, ring->desc_gpa);
		ring->avail = (void *)guest_at(guest, ring->avail_gpa);
		ring->used = (void *)guest_at(guest, ring->used_gpa);
		ring->avail->idx = ring->used->idx = start;
		return;
	}
	ring->packed = (void *)guest_at(guest, ring->desc_gpa);
	ring->driver_event = (void *)guest_at(guest, ring->avail_gpa);
	ring->device_event = (void *)guest_at(guest, ring->used_gpa);
	for (i = 0; i < size; i++)
		ring->packed[i].flags = (i < start) == wrap ? AVAIL | USED : 0;
}

void guest_ring_setup(const struct guest_ring *ring, uint64_t features,
		      struct xv_vring_setup *setup)
{
	setup->desc = guest_at(ring->guest, ring->desc_gpa);
	setup->avail = guest_at(ring->guest, ring->avail_gpa);
	setup->used = guest_at(ring->guest, ring->used_gpa);
	setup->size = ring->size;
	setup->avail_idx = setup->used_idx = ring->used_pos;
	setup->avail_wrap = setup->used_wrap = ring->used_wrap;
	setup->mem = ring->guest->mem;
	setup->features = features;
}

static uint16_t take_free(struct guest_ring *ring)
{
	uint16_t i = ring->scatter ? (uint16_t)unit_random(&ring->random, ring->n_free) : 0;
	uint16_t taken = ring->free[i];

	ring->n_free--;
	memmove(&ring->free[i], &ring->free[i + 1], (ring->n_free - i) * sizeof(ring->free[0]));
	return taken;
}

/* A table for indirect descriptors; each head (id) has its own. */
static uint64_t table_of(const struct guest_ring *ring, uint16_t head)
{
	return ring->table_gpa + (uint64_t)head * GUEST_MAX_SEGS * 16;
}

static uint16_t post_split(struct guest_ring *ring, const struct guest_seg *seg, unsigned int n,
			   bool writable, enum guest_shape shape)
{
	unsigned int direct = shape == GUEST_DIRECT ? n : shape == GUEST_MIXED ? 1 : 0;
	uint16_t count = (uint16_t)(shape == GUEST_DIRECT ? n : direct + 1), write, head, i;
	uint16_t desc[GUEST_MAX_SEGS] = {0};

	write = writable ? VRING_DESC_F_WRITE : 0;
	for (i = 0; i < count; i++) {
		if (ring->in_order) { /* 2.7.9: in ring order */
			desc[i] = ring->next_desc;
			ring->next_desc = (uint16_t)((ring->next_desc + 1) % ring->size);
			ring->n_free--;
		} else {
			desc[i] = take_free(ring);
		}
	}
	head = desc[0];
	for (i = 0; i < direct; i++)
		ring->desc[desc[i]] = (struct vring_desc){
			.addr = seg[i].gpa,
			.len = seg[i].len,
			.flags = (uint16_t)(write | (i + 1 < count ? VRING_DESC_F_NEXT : 0)),
			.next = i + 1 < count ? desc[i + 1] : 0xdead,
		};
	if (shape != GUEST_DIRECT) {
		uint64_t gpa = table_of(ring, head);
		struct vring_desc *table = (void *)guest_at(ring->guest, gpa);
		unsigned int rest = n - direct;

		ring->desc[desc[direct]] = (struct vring_desc){.addr = gpa,
							       .len = rest * 16,
							       .flags = VRING_DESC_F_INDIRECT,
							       .next = 0xdead};
		for (i = 0; i < rest; i++)
			table[i] = (struct vring_desc){
				.addr = seg[direct + i].gpa,
				.len = seg[direct + i].len,
				.flags =
					(uint16_t)(write | (i + 1u < rest ? VRING_DESC_F_NEXT : 0)),
				.next = (uint16_t)(i + 1),
			};
	}
	memcpy(ring->slot[head].desc, desc, count * sizeof(desc[0]));
	ring->slot[head].count = count;
	ring->avail->ring[ring->avail_pos % ring->size] = head;
	ring->avail_pos++;
	return head;
}

static void advance(const struct guest_ring *ring, uint16_t *pos, bool *wrap, uint16_t n)
{
	while (n-- > 0) {
		if (++*pos == ring->size) {
			*pos = 0;
			*wrap = !*wrap;
		}
	}
}

static uint16_t post_packed(struct guest_ring *ring, const struct guest_seg *seg, unsigned int n,
			    bool writable, enum guest_shape shape)
{
	uint16_t id = take_free(ring), count = (uint16_t)(shape == GUEST_DIRECT ? n : 1), i;
	uint16_t write = writable ? VRING_DESC_F_WRITE : 0, pos = ring->avail_pos, first_flags = 0;
	bool wrap = ring->avail_wrap;

	for (i = 0; i < count; i++) {
		struct vring_packed_desc *d = &ring->packed[pos];
		uint16_t flags = wrap ? AVAIL : USED;

		if (shape == GUEST_DIRECT) {
			d->addr = seg[i].gpa;
			d->len = seg[i].len;
			flags |= (uint16_t)(write | (i + 1 < count ? VRING_DESC_F_NEXT : 0));
		} else {
			uint64_t gpa = table_of(ring, id);
			struct vring_packed_desc *table = (void *)guest_at(ring->guest, gpa);
			unsigned int k;

			d->addr = gpa;
			d->len = n * 16;
			flags |= VRING_DESC_F_INDIRECT;
			for (k = 0; k < n; k++)
				table[k] = (struct vring_packed_desc){.addr = seg[k].gpa,
								      .len = seg[k].len,
								      .id = 0xdead,
								      .flags = write};
		}
		d->id = i + 1 < count ? 0xdead : id; /* 2.8.6: the last one counts */
		if (i > 0)
			d->flags = flags;
		else
			first_flags = flags;
		advance(ring, &pos, &wrap, 1);
	}
	__atomic_store_n(&ring->packed[ring->avail_pos].flags, first_flags, __ATOMIC_RELEASE);
	ring->avail_pos = pos;
	ring->avail_wrap = wrap;
	ring->room = (uint16_t)(ring->room - count);
	ring->slot[id].count = count;
	return id;
}

bool guest_ring_post(struct guest_ring *ring, const struct guest_seg *seg, unsigned int n,
		     bool writable, enum guest_shape shape, uint32_t cookie)
{
	unsigned int need = shape == GUEST_DIRECT ? n : shape == GUEST_MIXED ? 2 : 1;
	uint16_t head;

	assert_in_range(n, 1, GUEST_MAX_SEGS);
	assert_true(shape != GUEST_MIXED || (n > 1 && !ring->is_packed));
	if (need > (ring->is_packed ? ring->room : ring->n_free))
		return false;
	head = ring->is_packed ? post_packed(ring, seg, n, writable, shape)
			       : post_split(ring, seg, n, writable, shape);
	assert_false(ring->slot[head].busy);
	ring->slot[head].busy = true;
	ring->slot[head].cookie = cookie;
	ring->order[ring->n_order++] = head;
	return true;
}

void guest_ring_publish(struct guest_ring *ring)
{
	if (!ring->is_packed)
		__atomic_store_n(&ring->avail->idx, ring->avail_pos, __ATOMIC_RELEASE);
}

bool guest_ring_must_kick(struct guest_ring *ring)
{
	uint16_t pos = ring->kicked_pos, event, flags;
	bool wrap = ring->kicked_wrap, hit = false, some = false;
	uint32_t both;

	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	ring->kicked_pos = ring->avail_pos;
	ring->kicked_wrap = ring->avail_wrap;
	if (!ring->is_packed) {
		event = *(volatile uint16_t *)(void *)&ring->used->ring[ring->size];
		some = pos != ring->avail_pos;
		if (!ring->event_idx)
			return some && (*(volatile uint16_t *)&ring->used->flags &
					VRING_USED_F_NO_NOTIFY) == 0;
		for (; pos != ring->avail_pos; pos++)
			hit |= pos == event;
		return hit;
	}
	both = *(volatile uint32_t *)(void *)ring->device_event;
	flags = (uint16_t)(both >> 16);
	while (pos != ring->avail_pos || wrap != ring->avail_wrap) {
		hit |= (both & 0xffff) == (pos | (wrap ? 0x8000u : 0));
		some = true;
		advance(ring, &pos, &wrap, 1);
	}
	assert_in_range(flags, 0, ring->event_idx ? 2 : 1);
	return some && (flags == VRING_PACKED_EVENT_FLAG_ENABLE ||
			(flags == VRING_PACKED_EVENT_FLAG_DESC && hit));
}

/* The buffer with this head (id) is ours again. */
static void release(struct guest_ring *ring, uint16_t head, uint32_t *cookie)
{
	uint16_t i;

	assert_true(head < ring->size);
	assert_true(ring->slot[head].busy);
	ring->slot[head].busy = false;
	*cookie = ring->slot[head].cookie;
	for (i = 0; i < ring->n_order && ring->order[i] != head; i++)
		;
	assert_true(i < ring->n_order);
	if (ring->in_order)
		assert_int_equal(i, 0);
	ring->n_order--;
	memmove(&ring->order[i], &ring->order[i + 1], (ring->n_order - i) * sizeof(ring->order[0]));
	if (ring->is_packed) {
		ring->room = (uint16_t)(ring->room + ring->slot[head].count);
		ring->free[ring->n_free++] = head;
		return;
	}
	for (i = 0; i < ring->slot[head].count; i++)
		ring->free[ring->n_free++] = ring->slot[head].desc[i];
}

static bool reap_split(struct guest_ring *ring, uint32_t *cookie, uint32_t *len)
{
	uint16_t idx = __atomic_load_n(&ring->used->idx, __ATOMIC_ACQUIRE);
	const struct vring_used_elem *elem = &ring->used->ring[ring->used_pos % ring->size];

	assert_in_range((uint16_t)(idx - ring->used_pos), 0, ring->size);
	if (idx == ring->used_pos) {
		assert_false(ring->in_batch); /* the entry named a buffer that was not used yet */
		return false;
	}
	if (!ring->in_order) {
		ring->used_pos++;
		*len = elem->len;
		release(ring, (uint16_t)elem->id, cookie);
		return true;
	}
	if (!ring->in_batch) {
		ring->batch_end = (uint16_t)elem->id;
		ring->batch_len = elem->len;
	}
	ring->used_pos++;
	assert_true(ring->n_order > 0);
	ring->in_batch = ring->order[0] != ring->batch_end;
	*len = ring->in_batch ? 0 : ring->batch_len;
	release(ring, ring->order[0], cookie);
	return true;
}

static bool reap_packed(struct guest_ring *ring, uint32_t *cookie, uint32_t *len)
{
	const struct vring_packed_desc *d = &ring->packed[ring->used_pos];
	uint16_t flags = __atomic_load_n(&d->flags, __ATOMIC_ACQUIRE), id = d->id;

	if (((flags & AVAIL) != 0) != ring->used_wrap || ((flags & USED) != 0) != ring->used_wrap)
		return false;
	assert_true(id < ring->size);
	*len = d->len;
	assert_true((flags & VRING_DESC_F_WRITE) != 0 || *len == 0);
	advance(ring, &ring->used_pos, &ring->used_wrap, ring->slot[id].count);
	release(ring, id, cookie);
	return true;
}

bool guest_ring_reap(struct guest_ring *ring, uint32_t *cookie, uint32_t *len)
{
	return ring->is_packed ? reap_packed(ring, cookie, len) : reap_split(ring, cookie, len);
}

void guest_ring_want_calls(struct guest_ring *ring, bool wanted)
{
	if (ring->is_packed)
		ring->driver_event->flags =
			wanted ? VRING_PACKED_EVENT_FLAG_ENABLE : VRING_PACKED_EVENT_FLAG_DISABLE;
	else
		ring->avail->flags = wanted ? 0 : VRING_AVAIL_F_NO_INTERRUPT;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

void guest_ring_want_call_at(struct guest_ring *ring, uint16_t pos, bool wrap)
{
	if (ring->is_packed) {
		ring->driver_event->off_wrap = (uint16_t)(pos | (wrap ? 0x8000 : 0));
		ring->driver_event->flags = VRING_PACKED_EVENT_FLAG_DESC;
	} else {
		ring->avail->ring[ring->size] = pos;
	}
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}
