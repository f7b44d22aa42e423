/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where packed rings stand, for another life: the file, whom a place belongs to, and what is made of a ring
 * that was left at any instant of a burst. test_ring_killed.c does the same with processes that are killed.
 */
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <fcntl.h>
#include <linux/virtio_ring.h>
#include <sys/stat.h>

#include "virtio/guest_memory.h"
#include "virtio/ring_place.h"

#define PLACES	 4096
#define SIZE	 40
#define AVAIL	 (1u << VRING_PACKED_DESC_F_AVAIL)
#define USED	 (1u << VRING_PACKED_DESC_F_USED)
#define BASE	 0x80008000u

static char dir[64], path[96];
static const struct xv_ring_key key = {.dev = 1, .ino = 2, .offset = 0x3000, .size = SIZE, .index = 1};

static void open_places(bool complains)
{
	struct xv_err err = {0};

	assert_int_equal(xv_ring_places_open(path, &err), 0);
	assert_int_equal(err.code != XV_ERR_NONE, complains);
}

/* This process ends, and the next one begins. */
static void next_life(void)
{
	xv_ring_places_close();
	open_places(false);
}

static struct xv_ring_place *take(const struct xv_ring_key *k, bool expect_known)
{
	struct xv_ring_place *place;
	bool known;

	place = xv_ring_place_take(k, &known);
	assert_non_null(place);
	assert_int_equal(known, expect_known);
	assert_true(xv_ring_place_is(place, k));
	return place;
}

/*
 * The file
 */

static void a_ring_is_known_again(void **state)
{
	struct xv_ring_key other[5] = {key, key, key, key, key};
	struct xv_ring_place *place;
	unsigned int i;
	bool known;

	other[0].dev++;
	other[1].ino++;
	other[2].offset += 16;
	other[3].size++;
	other[4].index++;
	open_places(false);
	place = take(&key, false);
	assert_null(xv_ring_place_take(&key, &known)); /* it is in use */
	xv_ring_place_leave(place);
	place = take(&key, true); /* the same life, the next connection */
	for (i = 0; i < 5; i++)
		(void)take(&other[i], false);
	next_life();
	for (i = 0; i < 5; i++)
		(void)take(&other[i], true);
	place = take(&key, true);
	xv_ring_place_forget(place);
	(void)take(&key, false);
	next_life();
	xv_ring_place_forget(take(&key, true));
	next_life();
	(void)take(&key, false);
}

static void the_one_left_longest_ago_makes_room(void **state)
{
	static struct xv_ring_place *places[PLACES];
	struct xv_ring_key k = key;
	unsigned int i;
	bool known;

	open_places(false);
	for (i = 0; i < PLACES; i++) {
		k.ino = i;
		places[i] = take(&k, false);
	}
	k.ino = PLACES;
	assert_null(xv_ring_place_take(&k, &known)); /* all are in use */
	xv_ring_place_leave(places[70]);
	xv_ring_place_leave(places[7]);
	(void)take(&k, false);
	k.ino = 70;
	(void)take(&k, true);
	k.ino = 7;
	assert_null(xv_ring_place_take(&k, &known)); /* that was it */
	/* A free one is taken before one that may be wanted again. */
	next_life();
	k.ino = 8;
	xv_ring_place_forget(take(&k, true));
	k.ino = 9999;
	(void)take(&k, false);
	for (i = 9; i < PLACES; i++) {
		k.ino = i;
		(void)take(&k, true);
	}
}

static void a_damaged_file_is_made_anew(void **state)
{
	static const char junk[64] = "not what we wrote";
	struct xv_err err = {0};
	struct stat st;
	int fd;

	open_places(false);
	(void)take(&key, false);
	xv_ring_places_close();
	assert_int_equal(truncate(path, 4096), 0);
	open_places(true);
	(void)take(&key, false);
	next_life();
	(void)take(&key, true);
	xv_ring_places_close();
	fd = open(path, O_RDWR);
	assert_int_equal(write(fd, junk, sizeof(junk)), sizeof(junk));
	(void)close(fd);
	open_places(true);
	(void)take(&key, false);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	xv_ring_places_close();

	/* What cannot be used stays as it is, and all works without. */
	(void)unlink(path);
	assert_int_equal(symlink("/etc/passwd", path), 0);
	assert_int_equal(xv_ring_places_open(path, &err), -ELOOP);
	assert_string_not_equal(err.text, "");
	assert_null(xv_ring_place_take(&key, &(bool){false}));
	(void)unlink(path);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_true(xv_ring_places_open(path, &err) < 0);
	(void)rmdir(path);
}

/*
 * Recovery
 */

static struct vring_packed_desc ring[SIZE], before[SIZE];

static struct xv_ring_position step(struct xv_ring_position at, unsigned int n, uint16_t size)
{
	unsigned int idx = at.idx + n;

	return (struct xv_ring_position){(uint16_t)(idx % size), idx >= size ? !at.wrap : at.wrap};
}

static bool same(struct xv_ring_position a, struct xv_ring_position b)
{
	return a.idx == b.idx && a.wrap == b.wrap;
}

static uint16_t avail_flags(bool wrap)
{
	return wrap ? AVAIL : USED;
}

static uint16_t used_flags(bool wrap)
{
	return wrap ? AVAIL | USED : 0;
}

/* All that came before `at` has been used. */
static void make_ring(struct xv_ring_position at, uint16_t size)
{
	uint16_t i;

	for (i = 0; i < size; i++)
		ring[i] = (struct vring_packed_desc){
			.addr = 0x1000, .flags = used_flags(i < at.idx ? at.wrap : !at.wrap)};
}

/* Post chains of these lengths; returns how many descriptors. */
static unsigned int post(struct xv_ring_position at, uint16_t size, const uint16_t *counts, unsigned int n,
			 uint16_t write)
{
	unsigned int total = 0, i;
	uint16_t k;

	for (i = 0; i < n; i++)
		for (k = 0; k < counts[i]; k++, total++) {
			struct xv_ring_position p = step(at, total, size);
			bool last = k + 1 == counts[i];

			ring[p.idx] = (struct vring_packed_desc){
				.addr = 0x1000 + total,
				.len = 100,
				.id = last ? (uint16_t)(i + 1000) : 0xdead,
				.flags = avail_flags(p.wrap) | write | (last ? 0 : VRING_DESC_F_NEXT)};
		}
	return total;
}

static void use(struct xv_ring_position at, uint16_t id, uint32_t len, uint16_t write)
{
	ring[at.idx].id = id;
	ring[at.idx].len = len;
	ring[at.idx].flags = used_flags(at.wrap) | write;
}

static bool recover(uint16_t size, struct xv_ring_position from, struct xv_ring_position to, bool merged,
		    uint32_t base, struct xv_ring_position *at)
{
	struct xv_ring_place place = {.base = BASE, .size = size, .index = merged ? 0 : 1};
	struct xv_guest_memory mem = {.n = 0};

	atomic_store(&place.burst, xv_ring_burst(from, to, merged));
	return xv_ring_place_recover(&place, base, &mem, ring, at);
}

/*
 * A burst of n chains, killed when the last `written` of them had been given back; the driver has posted
 * `behind` more. Where next, and what is in the ring?
 */
static void killed_at(uint16_t size, struct xv_ring_position from, const uint16_t *counts, unsigned int n,
		      unsigned int written, unsigned int behind, bool merged)
{
	uint16_t all[SIZE], ones[SIZE], write = merged ? VRING_DESC_F_WRITE : 0;
	struct xv_ring_position to, at = {0xdead, true}, p;
	unsigned int i, total = 0;

	make_ring(from, size);
	for (i = 0; i < n; i++)
		total += counts[i];
	for (i = 0; i < behind; i++)
		ones[i] = 1;
	to = step(from, total, size);
	memcpy(all, counts, n * sizeof(all[0]));
	memcpy(all + n, ones, behind * sizeof(all[0]));
	(void)post(from, size, all, n + behind, write);
	for (i = n, p = to; i > n - written; i--) {
		unsigned int k = 0, first = total;

		for (k = n; k >= i; k--)
			first -= counts[k - 1];
		p = step(from, first, size);
		use(p, (uint16_t)(i - 1 + 1000), i == n ? 7 : 100u * counts[i - 1], write);
	}
	memcpy(before, ring, sizeof(ring));
	if (from.idx == 0 && from.wrap && written == 0 && total + behind == size) {
		/* As the driver made it: the front end is right. */
		assert_false(recover(size, from, to, merged, BASE, &at));
		return;
	}
	assert_true(recover(size, from, to, merged, BASE, &at));
	if (written == 0) {
		assert_memory_equal(before, ring, sizeof(ring));
		assert_true(same(at, from));
		return;
	}
	assert_true(same(at, to));
	/* Each chain came back once, with its own id; nothing else was touched. */
	for (i = 0, total = 0; i < n; total += counts[i++]) {
		p = step(from, total, size);
		assert_int_equal(ring[p.idx].flags, used_flags(p.wrap) | write);
		assert_int_equal(ring[p.idx].id, i + 1000);
		assert_int_equal(ring[p.idx].len, i < n - written ? (merged ? 100 * counts[i] : 0)
						  : i == n - 1	  ? 7
								  : 100 * counts[i]);
		before[p.idx] = ring[p.idx];
	}
	assert_memory_equal(before, ring, sizeof(ring));
	/* And again, should the next life have died there and then. */
	assert_true(recover(size, from, to, merged, BASE, &at));
	assert_true(same(at, to));
	assert_memory_equal(before, ring, sizeof(ring));
}

static void every_instant_of_a_burst(void **state)
{
	static const uint16_t sizes[] = {1, 2, 5, 32, SIZE};
	uint16_t counts[SIZE];
	uint64_t random = 1;
	unsigned int i, round;

	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		for (round = 0; round < 3000; round++) {
			bool merged = unit_random(&random, 2) != 0;
			uint16_t size = sizes[i];
			struct xv_ring_position from = {(uint16_t)unit_random(&random, size),
							unit_random(&random, 2) != 0};
			unsigned int total = 0, n = 0;

			do {
				uint16_t most = (uint16_t)(size - total);

				counts[n] = (uint16_t)(merged ? 1 + unit_random(&random, most > 4 ? 4 : most) : 1);
				total += counts[n++];
			} while (total < size && unit_random(&random, 10) != 0);
			killed_at(size, from, counts, n, unit_random(&random, n + 1),
				  unit_random(&random, size - total + 1), merged);
		}
	}
}

static void what_was_not_half_done_is_not_touched(void **state)
{
	struct xv_ring_position from = {30, true}, to = {38, true}, at;
	uint16_t counts[SIZE], i;

	for (i = 0; i < SIZE; i++)
		counts[i] = 1;
	/* Given back; the guest has not posted again, or all around. */
	make_ring(to, SIZE);
	assert_true(recover(SIZE, from, to, false, BASE, &at));
	assert_true(same(at, to));
	(void)post(to, SIZE, counts, SIZE, 0);
	memcpy(before, ring, sizeof(ring));
	assert_true(recover(SIZE, from, to, false, BASE, &at));
	assert_true(same(at, to));
	/* Nothing was given back since it started. */
	assert_true(recover(SIZE, to, to, false, BASE, &at));
	assert_true(same(at, to));
	assert_memory_equal(before, ring, sizeof(ring));
}

static void another_ring_is_not_taken_for_ours(void **state)
{
	struct xv_ring_position from = {30, true}, to = {38, true}, at;
	uint16_t counts[SIZE], i;

	for (i = 0; i < SIZE; i++)
		counts[i] = 1;
	/* The front end knows better. */
	make_ring(to, SIZE);
	assert_false(recover(SIZE, from, to, false, BASE + 1, &at));
	/* Damaged: out of bounds, or backwards. */
	assert_false(recover(SIZE, from, (struct xv_ring_position){SIZE, true}, false, BASE, &at));
	assert_false(recover(SIZE, (struct xv_ring_position){SIZE, true}, to, false, BASE, &at));
	assert_false(recover(SIZE, to, from, false, BASE, &at));
	assert_false(recover(SIZE, from, (struct xv_ring_position){31, false}, false, BASE, &at));
	/* The ring is behind, or ahead of that. */
	make_ring((struct xv_ring_position){20, true}, SIZE);
	assert_false(recover(SIZE, from, to, false, BASE, &at));
	make_ring((struct xv_ring_position){20, false}, SIZE);
	assert_false(recover(SIZE, from, to, false, BASE, &at));
	/* A chain that is none. */
	make_ring(from, SIZE);
	(void)post(from, SIZE, counts, 3, 0);
	assert_false(recover(SIZE, from, to, false, BASE, &at));
	(void)post(from, SIZE, counts, 8, 0);
	ring[37].flags |= VRING_DESC_F_NEXT;
	assert_false(recover(SIZE, from, to, false, BASE, &at));
	/* Set up anew by the driver, with buffers posted or not. */
	for (i = 0; i < 4; i++) {
		from.wrap = to.wrap = i % 2 != 0;
		memset(ring, 0, sizeof(ring));
		(void)post((struct xv_ring_position){0, true}, SIZE, counts, i / 2 * SIZE, 0);
		memcpy(before, ring, sizeof(ring));
		assert_false(recover(SIZE, from, to, false, BASE, &at));
		assert_memory_equal(before, ring, sizeof(ring));
	}
}

static int setup(void **state)
{
	snprintf(dir, sizeof(dir), "/tmp/xvio-places-XXXXXX");
	if (mkdtemp(dir) == NULL)
		return -1;
	snprintf(path, sizeof(path), "%s/xviod.rings", dir);
	return 0;
}

static int teardown(void **state)
{
	xv_ring_places_close();
	(void)unlink(path);
	return rmdir(dir);
}

#define PLACE_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		PLACE_TEST(a_ring_is_known_again),
		PLACE_TEST(the_one_left_longest_ago_makes_room),
		PLACE_TEST(a_damaged_file_is_made_anew),
		cmocka_unit_test(every_instant_of_a_burst),
		cmocka_unit_test(what_was_not_half_done_is_not_touched),
		cmocka_unit_test(another_ring_is_not_taken_for_ours),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
