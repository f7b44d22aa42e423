/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A daemon that dies is played by dropping the area at a point of our choice and opening it again:
 * the shared memory is what the next daemon finds.
 */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/mman.h>

#include "virtio/inflight.h"

#define SIZE 8

static struct xv_inflight_area *reopen(int fd, struct xv_inflight_area *old, uint16_t queues,
				       uint16_t size, bool packed)
{
	struct xv_inflight_area *area;
	uint64_t bytes = old->mmap_size;

	xv_inflight_area_destroy(old);
	assert_int_equal(xv_inflight_area_open(fd, bytes, 0, queues, size, packed, &area, NULL), 0);
	return area;
}

static void areas_are_checked(void **state)
{
	struct xv_inflight_area *area = NULL, *other;
	struct xv_err err = {0};
	int fd, i;

	for (i = 0; i < 2; i++) {
		bool packed = i == 1;
		/* sizes as DPDK and libvhost-user compute them */
		uint64_t part =
			packed ? (29 + 32 * 256 + 63) / 64 * 64 : (16 + 16 * 256 + 63) / 64 * 64;

		assert_int_equal(xv_inflight_area_create(4, 256, packed, &area, &fd, &err), 0);
		assert_int_equal(area->mmap_size, 4 * part);
		assert_int_equal(lseek(fd, 0, SEEK_END), (off_t)(4 * part));
		assert_int_equal(ftruncate(fd, 0), -1); /* sealed */
		assert_int_equal(area->queues[3].desc_num, 256);
		assert_int_equal(packed ? area->queues[0].packed->version
					: area->queues[0].split->version,
				 0);

		/* CVE-2021-3839: more queues, or longer ones, than there is room for */
		assert_int_equal(
			xv_inflight_area_open(fd, 4 * part, 0, 5, 256, packed, &other, &err),
			-EINVAL);
		assert_int_equal(
			xv_inflight_area_open(fd, 4 * part, 0, 4, 260, packed, &other, &err),
			-EINVAL);
		assert_int_equal(
			xv_inflight_area_open(fd, 5 * part, 0, 5, 256, packed, &other, &err),
			-EINVAL);
		assert_int_equal(
			xv_inflight_area_open(fd, 4 * part, 64, 4, 256, packed, &other, &err),
			-EINVAL);
		assert_int_equal(
			xv_inflight_area_open(fd, 3 * part, 3, 3, 256, packed, &other, &err),
			-EINVAL);
		assert_int_equal(
			xv_inflight_area_open(fd, 4 * part, 0, 0, 256, packed, &other, &err),
			-EINVAL);
		assert_int_equal(xv_inflight_area_open(fd, 4 * part, 0, 4, 0, packed, &other, &err),
				 -EINVAL);
		assert_int_equal(
			xv_inflight_area_open(fd, UINT64_MAX, 8, 4, 256, packed, &other, &err),
			-EINVAL);
		assert_int_equal(
			xv_inflight_area_open(fd, part, 3 * part, 1, 256, packed, &other, &err), 0);
		xv_inflight_area_destroy(other);
		xv_inflight_area_destroy(area);
		(void)close(fd);
	}
	xv_inflight_area_destroy(NULL);
}

/* A split ring whose avail ring says heads 3, 4, 5 ... */
static struct vring_avail *avail_ring(void)
{
	struct vring_avail *avail = calloc(1, sizeof(*avail) + SIZE * sizeof(uint16_t));
	unsigned int i;

	assert_non_null(avail);
	for (i = 0; i < SIZE; i++)
		avail->ring[i] = (uint16_t)((i + 3) % SIZE);
	return avail;
}

/* Take and give back batches of 3; die after each step in turn. What the guest sees decides. */
static void split_goes_on_at_the_used_index(void **state)
{
	struct vring_avail *avail = avail_ring();
	unsigned int die;

	for (die = 0; die < 40; die++) {
		struct xv_inflight_area *area;
		uint16_t avail_idx = 65533, used_idx = 65533, i;
		struct xv_inflight *q;
		unsigned int step = 0;
		int fd;

		assert_int_equal(xv_inflight_area_create(2, SIZE, false, &area, &fd, NULL), 0);
		q = &area->queues[1];
		assert_int_equal(
			xv_inflight_start_split(q, avail, SIZE, used_idx, &avail_idx, NULL), 0);
		assert_int_equal(avail_idx, 65533);
		assert_int_equal(q->split->version, 1);
		while (step < die) {
			uint16_t heads[3];

			for (i = 0; i < 3; i++)
				heads[i] = avail->ring[(uint16_t)(avail_idx + i) % SIZE];
			for (i = 0; i < 3 && step < die; i++, step++)
				xv_inflight_take_split(q, heads[i]);
			for (i = 0; i < 3 && step < die; i++, step++)
				xv_inflight_put_split(q, heads[i]);
			if (step == die)
				break;
			used_idx = (uint16_t)(used_idx + 3);
			step++;
			for (i = 0; i < 3 && step < die; i++, step++)
				xv_inflight_done_split(q, heads[i], used_idx);
			avail_idx = (uint16_t)(avail_idx + 3);
		}
		area = reopen(fd, area, 2, SIZE, false);
		assert_false(area->queues[0].recover);
		q = &area->queues[1];
		assert_int_equal(q->recover, true);
		avail_idx = 7;
		assert_int_equal(
			xv_inflight_start_split(q, avail, SIZE, used_idx, &avail_idx, NULL), 0);
		assert_int_equal(avail_idx, used_idx);
		assert_int_equal(q->split->used_idx, used_idx);
		/* A second start of the same ring changes nothing. */
		assert_int_equal(
			xv_inflight_start_split(q, avail, SIZE, used_idx, &avail_idx, NULL), 0);
		assert_int_equal(avail_idx, used_idx);
		for (i = 0; i < SIZE; i++)
			assert_int_equal(q->split->desc[i].inflight, 0);
		xv_inflight_area_destroy(area);
		(void)close(fd);
	}
	free(avail);
}

static void split_area_of_others_is_checked(void **state)
{
	struct vring_avail *avail = avail_ring();
	struct xv_inflight_area *area;
	uint16_t avail_idx = 0;
	struct xv_err err = {0};
	struct xv_inflight *q;
	unsigned int i;
	int fd;

	assert_int_equal(xv_inflight_area_create(1, SIZE, false, &area, &fd, NULL), 0);
	/* Descriptor 6 is in flight, but the ring goes on with 3: it was given back out of order.
	 */
	area->queues[0].split->version = 1;
	area->queues[0].split->desc[6].inflight = 1;
	area = reopen(fd, area, 1, SIZE, false);
	assert_int_equal(
		xv_inflight_start_split(&area->queues[0], avail, SIZE, 0, &avail_idx, &err),
		-EINVAL);
	assert_non_null(strstr(err.text, "does not fit"));

	/* Garbage of every kind: links and heads out of range, a loop, a batch longer than the
	 * ring. */
	q = &area->queues[0];
	for (i = 0; i < SIZE; i++)
		q->split->desc[i].next = 5;
	q->split->last_batch_head = 5;
	q->split->used_idx = 1000;
	q->recover = true;
	(void)xv_inflight_start_split(q, avail, SIZE, 0, &avail_idx, NULL);
	q->split->desc[5].next = 65535;
	q->split->used_idx = 1000;
	q->recover = true;
	(void)xv_inflight_start_split(q, avail, SIZE, 0, &avail_idx, NULL);
	q->split->last_batch_head = SIZE;
	q->split->used_idx = 1000;
	q->recover = true;
	(void)xv_inflight_start_split(q, avail, SIZE, 0, &avail_idx, NULL);
	for (i = 0; i < SIZE; i++)
		q->split->desc[i].inflight = 0xff;
	q->split->desc_num = 65535; /* ours counts */
	q->recover = true;
	assert_int_equal(xv_inflight_start_split(q, avail, 4, 0, &avail_idx, NULL), -EINVAL);
	q->split->version = 2;
	q->recover = true;
	assert_int_equal(xv_inflight_start_split(q, avail, SIZE, 0, &avail_idx, NULL), -EINVAL);

	/* Heads that a hostile guest makes up. */
	xv_inflight_take_split(q, SIZE);
	xv_inflight_put_split(q, 65535);
	xv_inflight_done_split(q, SIZE, 1);
	xv_inflight_area_destroy(area);
	(void)close(fd);
	free(avail);
}

struct packed_ring {
	struct vring_packed_desc desc[SIZE];
	uint16_t avail, used; /* driver's next, device's next */
	bool avail_wrap, used_wrap;
};

static uint16_t flags_of(bool avail, bool used)
{
	return (uint16_t)((avail ? 1 << VRING_PACKED_DESC_F_AVAIL : 0) |
			  (used ? 1 << VRING_PACKED_DESC_F_USED : 0));
}

static void driver_adds(struct packed_ring *r, uint16_t n)
{
	while (n-- > 0) {
		r->desc[r->avail] = (struct vring_packed_desc){
			.addr = 4096u * r->avail,
			.len = 100,
			.id = r->avail,
			.flags = flags_of(r->avail_wrap, !r->avail_wrap),
		};
		if (++r->avail == SIZE) {
			r->avail = 0;
			r->avail_wrap = !r->avail_wrap;
		}
	}
}

/* The device's position n descriptors on. */
static void device_at(const struct packed_ring *r, uint16_t n, uint16_t *pos, bool *wrap)
{
	*pos = (uint16_t)(r->used + n);
	*wrap = r->used_wrap;
	if (*pos >= SIZE) {
		*pos = (uint16_t)(*pos - SIZE);
		*wrap = !*wrap;
	}
}

/* Chains of 1, 2 and 1 descriptors a batch; two batches fill the ring. */
static const uint16_t chain_len[3] = {1, 2, 1};
#define BATCH 4

static void packed_goes_on_where_the_guest_saw_it(void **state)
{
	unsigned int die;

	for (die = 0; die < 60; die++) {
		struct packed_ring r = {.avail_wrap = true, .used_wrap = true};
		struct xv_inflight_area *area;
		unsigned int step = 0, i, n;
		struct xv_inflight *q;
		uint16_t pos, at;
		bool wrap, at_wrap;
		int fd;

		assert_int_equal(xv_inflight_area_create(2, SIZE, true, &area, &fd, NULL), 0);
		q = &area->queues[1];
		pos = 0;
		wrap = true;
		assert_int_equal(xv_inflight_start_packed(q, r.desc, SIZE, &pos, &wrap, NULL), 0);
		driver_adds(&r, SIZE);
		while (step < die) {
			uint16_t entries[3], begin = r.used;
			bool begin_wrap = r.used_wrap;

			for (i = n = 0; i < 3 && step < die; i++, step++) {
				device_at(&r, (uint16_t)n, &at, &at_wrap);
				entries[i] =
					xv_inflight_take_packed(q, r.desc, SIZE, at, chain_len[i]);
				assert_true(entries[i] < SIZE);
				n += chain_len[i];
			}
			for (i = n = 0; i < 3 && step < die; i++, step++) {
				n += chain_len[i];
				device_at(&r, (uint16_t)n, &at, &at_wrap);
				xv_inflight_put_packed(q, entries[i], at, at_wrap);
			}
			if (step == die)
				break;
			/* the later ones first: the guest sees the batch when it sees the first */
			for (i = 3, n = BATCH; i-- > 1;) {
				n -= chain_len[i];
				device_at(&r, (uint16_t)n, &at, &at_wrap);
				r.desc[at].flags = flags_of(at_wrap, at_wrap);
			}
			if (++step == die)
				break;
			r.desc[begin].flags = flags_of(begin_wrap, begin_wrap);
			device_at(&r, BATCH, &r.used, &r.used_wrap);
			step++;
			for (i = 0; i < 3 && step < die; i++, step++)
				xv_inflight_done_packed(q, entries[i]);
			if (i == 3)
				driver_adds(&r, BATCH);
		}
		area = reopen(fd, area, 2, SIZE, true);
		assert_false(area->queues[0].recover);
		q = &area->queues[1];
		assert_true(q->recover);
		pos = 5; /* what a front end that knows nothing says */
		wrap = false;
		assert_int_equal(xv_inflight_start_packed(q, r.desc, SIZE, &pos, &wrap, NULL), 0);
		assert_int_equal(pos, r.used);
		assert_int_equal(wrap, r.used_wrap);
		assert_int_equal(q->free_num, SIZE);
		xv_inflight_area_destroy(area);
		(void)close(fd);
	}
}

/* Entries come and go in random chains; the list of free ones stays whole. */
static void packed_entries_are_not_lost(void **state)
{
	struct packed_ring r = {.avail_wrap = true, .used_wrap = true};
	struct xv_inflight_area *area;
	struct xv_inflight *q;
	uint64_t seed = 1;
	unsigned int i;
	int fd;

	assert_int_equal(xv_inflight_area_create(1, SIZE, true, &area, &fd, NULL), 0);
	q = &area->queues[0];
	assert_int_equal(xv_inflight_start_packed(q, r.desc, SIZE, &r.used, &r.used_wrap, NULL), 0);
	for (i = 0; i < 10000; i++) {
		uint16_t entries[SIZE], n = 0, left = SIZE, k;

		while (left > 0 && unit_random(&seed, 4) != 0) {
			uint16_t num = (uint16_t)(1 + unit_random(&seed, left));

			entries[n] = xv_inflight_take_packed(q, r.desc, SIZE,
							     (uint16_t)(SIZE - left), num);
			assert_true(entries[n] < SIZE);
			assert_int_equal(area->queues[0].packed->desc[entries[n]].inflight, 1);
			n++;
			left = (uint16_t)(left - num);
			/* the front end plays with the links; ours count */
			q->packed->desc[unit_random(&seed, SIZE)].next =
				(uint16_t)unit_random(&seed, 65536);
			q->packed->desc[unit_random(&seed, SIZE)].last =
				(uint16_t)unit_random(&seed, 65536);
			q->packed->free_head = (uint16_t)unit_random(&seed, 65536);
		}
		for (k = 0; k < n; k++)
			xv_inflight_put_packed(q, entries[k], 0, true);
		for (k = 0; k < n; k++)
			xv_inflight_done_packed(q, entries[k]);
		assert_int_equal(q->free_num, SIZE);
	}
	/* never happens with a ring that fits; must not do harm either */
	assert_int_equal(xv_inflight_take_packed(q, r.desc, SIZE, 0, SIZE + 1), SIZE);
	xv_inflight_put_packed(q, SIZE, 0, true);
	xv_inflight_done_packed(q, SIZE);
	xv_inflight_area_destroy(area);
	(void)close(fd);
}

static void packed_area_of_others_is_checked(void **state)
{
	struct packed_ring r = {.avail_wrap = true, .used_wrap = true};
	struct xv_inflight_area *area;
	struct xv_inflight *q;
	uint64_t seed = 2;
	uint16_t pos = 0;
	bool wrap = true;
	unsigned int i, k;
	int fd;

	assert_int_equal(xv_inflight_area_create(1, SIZE, true, &area, &fd, NULL), 0);
	q = &area->queues[0];
	for (i = 0; i < 10000; i++) {
		uint8_t *bytes = (uint8_t *)q->packed;

		for (k = 0; k < sizeof(*q->packed) + SIZE * sizeof(q->packed->desc[0]); k++)
			bytes[k] = (uint8_t)unit_random(&seed, i % 2 != 0 ? 256 : 10);
		q->packed->version = 1;
		q->recover = true;
		if (xv_inflight_start_packed(q, r.desc, SIZE, &pos, &wrap, NULL) == 0)
			assert_true(pos < SIZE);
	}
	q->packed->version = 7;
	q->recover = true;
	assert_int_equal(xv_inflight_start_packed(q, r.desc, SIZE, &pos, &wrap, NULL), -EINVAL);
	xv_inflight_area_destroy(area);
	(void)close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(areas_are_checked),
		cmocka_unit_test(split_goes_on_at_the_used_index),
		cmocka_unit_test(split_area_of_others_is_checked),
		cmocka_unit_test(packed_goes_on_where_the_guest_saw_it),
		cmocka_unit_test(packed_entries_are_not_lost),
		cmocka_unit_test(packed_area_of_others_is_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
