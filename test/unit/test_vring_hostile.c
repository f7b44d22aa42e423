/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rings of hostile guests: each kind of violation is seen, breaks the ring once and leaves no
 * trace; a guest that changes its mind while we look gets us nowhere.
 */
#include "unit.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "virtio/vring_ops.h"
#include "vring_line.h"

/*
 * Hostile guests. Each kind of violation, behind some sound buffers: these pass, then the ring is
 * broken with the right reason and not touched any more.
 */
struct offence {
	const char *name;
	enum xv_vring_error error;
	bool split, packed, recv, send;
	void (*commit)(struct guest_ring *r, bool writable, uint16_t at);
};

/* The descriptor of the last buffer posted, which takes one. `at`: its place in the ring. */
static void *last_desc(struct guest_ring *r, uint16_t at)
{
	return r->is_packed ? (void *)&r->packed[at] : (void *)&r->desc[r->avail->ring[at]];
}

static void set_addr(struct guest_ring *r, uint16_t at, uint64_t addr)
{
	memcpy(last_desc(r, at), &addr, 8);
}

static void set_len(struct guest_ring *r, uint16_t at, uint32_t len)
{
	memcpy((uint8_t *)last_desc(r, at) + 8, &len, 4);
}

static void set_flags(struct guest_ring *r, uint16_t at, uint16_t set, uint16_t clear)
{
	uint16_t *flags = r->is_packed ? &r->packed[at].flags : &r->desc[r->avail->ring[at]].flags;

	*flags = (uint16_t)((*flags | set) & ~clear);
}

static void far_index(struct guest_ring *r, bool writable, uint16_t at)
{
	r->avail->idx = (uint16_t)(r->avail_pos + r->size);
}
static void head_beyond(struct guest_ring *r, bool writable, uint16_t at)
{
	r->avail->ring[at] = r->size;
}
static void head_far_beyond(struct guest_ring *r, bool writable, uint16_t at)
{
	r->avail->ring[at] = 0xffff;
}
static void next_beyond(struct guest_ring *r, bool writable, uint16_t at)
{
	struct vring_desc *d = last_desc(r, at);

	d->flags |= VRING_DESC_F_NEXT;
	d->next = r->size;
}
static void addr_zero(struct guest_ring *r, bool writable, uint16_t at)
{
	set_addr(r, at, 0);
}
static void addr_max(struct guest_ring *r, bool writable, uint16_t at)
{
	set_addr(r, at, UINT64_MAX);
}
static void addr_before(struct guest_ring *r, bool writable, uint16_t at)
{
	set_addr(r, at, GUEST_BASE - 1);
}
static void addr_past_end(struct guest_ring *r, bool writable, uint16_t at)
{
	set_addr(r, at, GUEST_FAR + r->guest->region_bytes - 50);
}
static void len_past_end(struct guest_ring *r, bool writable, uint16_t at)
{
	set_len(r, at, UINT32_MAX);
}
static void loop(struct guest_ring *r, bool writable, uint16_t at)
{
	struct vring_desc *d = last_desc(r, at);

	d->flags |= VRING_DESC_F_NEXT;
	d->next = r->avail->ring[at];
}
static void chain_past_ring(struct guest_ring *r, bool writable, uint16_t at)
{
	uint16_t i;

	for (i = 0; i < r->size; i++)
		if (r->packed[i].addr == 0)
			r->packed[i].addr = GUEST_FAR;
	for (i = 0; i < r->size; i++)
		r->packed[i].flags |= VRING_DESC_F_NEXT | (writable ? VRING_DESC_F_WRITE : 0);
}
static void wrong_direction(struct guest_ring *r, bool writable, uint16_t at)
{
	set_flags(r, at, writable ? 0 : VRING_DESC_F_WRITE, writable ? VRING_DESC_F_WRITE : 0);
}
static void make_indirect(struct guest_ring *r, uint16_t at, uint64_t table, uint32_t len)
{
	set_addr(r, at, table);
	set_len(r, at, len);
	set_flags(r, at, VRING_DESC_F_INDIRECT, VRING_DESC_F_WRITE);
}
static void indirect_empty(struct guest_ring *r, bool writable, uint16_t at)
{
	make_indirect(r, at, r->table_gpa, 0);
}
static void indirect_odd(struct guest_ring *r, bool writable, uint16_t at)
{
	make_indirect(r, at, r->table_gpa, 24);
}
static void indirect_outside(struct guest_ring *r, bool writable, uint16_t at)
{
	make_indirect(r, at, GUEST_FAR + r->guest->region_bytes - 16, 32);
}
static void indirect_huge(struct guest_ring *r, bool writable, uint16_t at)
{
	make_indirect(r, at, r->table_gpa, UINT32_MAX - 15);
}
static void indirect_and_next(struct guest_ring *r, bool writable, uint16_t at)
{
	make_indirect(r, at, r->table_gpa, 16);
	set_flags(r, at, VRING_DESC_F_NEXT, 0);
}
static void indirect_nested(struct guest_ring *r, bool writable, uint16_t at)
{
	struct vring_desc *table = (void *)guest_at(r->guest, r->table_gpa);

	table[0] = (struct vring_desc){r->table_gpa, 16, VRING_DESC_F_INDIRECT, 0};
	make_indirect(r, at, r->table_gpa, 16);
}
static void indirect_next_beyond(struct guest_ring *r, bool writable, uint16_t at)
{
	struct vring_desc *table = (void *)guest_at(r->guest, r->table_gpa);

	table[0] = (struct vring_desc){
		GUEST_FAR, 16, (uint16_t)(VRING_DESC_F_NEXT | (writable ? VRING_DESC_F_WRITE : 0)),
		1};
	make_indirect(r, at, r->table_gpa, 16);
}
static void indirect_addr_outside(struct guest_ring *r, bool writable, uint16_t at)
{
	uint8_t *table = guest_at(r->guest, r->table_gpa);
	uint16_t write = writable ? VRING_DESC_F_WRITE : 0;

	memset(table, 0, 16);
	table[8] = 100;
	memcpy(table + (r->is_packed ? 14 : 12), &write, 2);
	make_indirect(r, at, r->table_gpa, 16);
}
static void too_short(struct guest_ring *r, bool writable, uint16_t at)
{
	set_len(r, at, 9);
}
static void empty(struct guest_ring *r, bool writable, uint16_t at)
{
	set_len(r, at, 0);
}

static const struct offence offences[] = {
	{"index too far", XV_VRING_BAD_AVAIL, true, false, true, true, far_index},
	{"head beyond", XV_VRING_BAD_HEAD, true, false, true, true, head_beyond},
	{"head far beyond", XV_VRING_BAD_HEAD, true, false, true, true, head_far_beyond},
	{"next beyond", XV_VRING_BAD_HEAD, true, false, true, true, next_beyond},
	{"address 0", XV_VRING_BAD_ADDR, true, true, true, true, addr_zero},
	{"address at the top", XV_VRING_BAD_ADDR, true, true, true, true, addr_max},
	{"address a byte before", XV_VRING_BAD_ADDR, true, true, true, true, addr_before},
	{"buffer ends outside", XV_VRING_BAD_ADDR, true, true, true, true, addr_past_end},
	{"buffer of 4 GiB", XV_VRING_BAD_ADDR, true, true, true, true, len_past_end},
	{"loop", XV_VRING_BAD_CHAIN, true, false, true, true, loop},
	{"chain longer than the ring", XV_VRING_BAD_CHAIN, false, true, true, true,
	 chain_past_ring},
	{"wrong direction", XV_VRING_BAD_CHAIN, true, true, true, true, wrong_direction},
	{"empty table", XV_VRING_BAD_INDIRECT, true, true, true, true, indirect_empty},
	{"table of odd length", XV_VRING_BAD_INDIRECT, true, true, true, true, indirect_odd},
	{"table outside", XV_VRING_BAD_INDIRECT, true, true, true, true, indirect_outside},
	{"table of 4 GiB", XV_VRING_BAD_INDIRECT, true, true, true, true, indirect_huge},
	{"indirect and next", XV_VRING_BAD_INDIRECT, true, true, true, true, indirect_and_next},
	{"nested tables", XV_VRING_BAD_INDIRECT, true, false, true, true, indirect_nested},
	{"next beyond the table", XV_VRING_BAD_INDIRECT, true, false, true, true,
	 indirect_next_beyond},
	{"table with bad address", XV_VRING_BAD_ADDR, true, true, true, true,
	 indirect_addr_outside},
	{"header does not fit", XV_VRING_BAD_LENGTH, true, true, true, true, too_short},
	{"empty buffer", XV_VRING_BAD_LENGTH, true, true, true, true, empty},
};

static void offend(const struct line_config *c, const struct offence *o, bool sending,
		   unsigned int sound)
{
	enum xv_vring_reject why = XV_VRING_FULL;
	struct rte_mbuf *pkts[XV_BURST];
	unsigned int i, went, expected = sound;
	uint32_t cookie, len;
	uint16_t at = 0;
	uint8_t *image;

	line_open(c, sound * 7, 500);
	for (i = 0; i < sound + 1; i++) {
		at = c->packed ? line->ring.avail_pos : line->ring.avail_pos % c->size;
		if (sending)
			assert_true(line_post(400, 1, GUEST_DIRECT, true));
		else
			assert_true(line_post_frame(100, 1, GUEST_DIRECT));
	}
	guest_ring_publish(&line->ring);
	line_start();
	o->commit(&line->ring, sending, at);
	if (o->commit == far_index || o->commit == chain_past_ring)
		expected = 0; /* the whole ring is bad */
	if (sending) {
		for (i = 0; i < sound + 3; i++)
			pkts[i] = line_make_packet(i, 100);
		went = line->vq.send(&line->vq, pkts, (uint16_t)(sound + 3), &why);
	} else {
		went = line->vq.recv(&line->vq, pkts, XV_BURST);
	}
	if (line->vq.error != o->error || went != expected)
		print_message("%s: %s, %u of %u passed\n", o->name,
			      xv_vring_error_text(line->vq.error), went, expected);
	assert_int_equal(line->vq.error, o->error);
	assert_int_equal(went, expected);
	if (sending) {
		assert_int_equal(why, XV_VRING_DEAD);
		rte_pktmbuf_free_bulk(&pkts[went], sound + 3 - went);
	} else if (went > 0) {
		rte_pktmbuf_free_bulk(pkts, went);
	}
	line_check_no_leak();
	/* The sound ones came back, and nothing else. */
	if (o->commit != chain_past_ring) {
		for (i = 0; i < went; i++) {
			assert_true(guest_ring_reap(&line->ring, &cookie, &len));
			assert_int_equal(cookie, i);
		}
		assert_false(guest_ring_reap(&line->ring, &cookie, &len));
	}

	/* Broken for good. */
	image = malloc(line->guest.n_bytes);
	assert_non_null(image);
	memcpy(image, line->guest.bytes, line->guest.n_bytes);
	assert_int_equal(line->vq.recv(&line->vq, pkts, XV_BURST), 0);
	pkts[0] = line_make_packet(1, 100);
	assert_int_equal(line->vq.send(&line->vq, pkts, 1, &why), 0);
	assert_int_equal(why, XV_VRING_DEAD);
	rte_pktmbuf_free(pkts[0]);
	assert_true(xv_vring_arm(&line->vq));
	xv_vring_disarm(&line->vq);
	xv_vring_break(&line->vq, XV_VRING_MEMORY_GONE);
	assert_int_equal(line->vq.error, o->error);
	assert_int_equal(memcmp(image, line->guest.bytes, line->guest.n_bytes), 0);
	free(image);
}

static void hostile(const struct line_config *c)
{
	unsigned int i, sound;

	if (c->size < 64)
		return;
	for (i = 0; i < RTE_DIM(offences); i++) {
		const struct offence *o = &offences[i];

		if (c->packed ? !o->packed : !o->split)
			continue;
		for (sound = 0; sound < 20; sound += 9) {
			offend(c, o, false, sound);
			offend(c, o, true, sound);
		}
	}
}

static void not_negotiated(const struct line_config *c)
{
	const struct offence o = {
		"indirect not negotiated", XV_VRING_BAD_INDIRECT, true, true, true, true,
		indirect_addr_outside};

	if (c->size < 64)
		return;
	offend(c, &o, false, 3);
	offend(c, &o, true, 3);
}

/* The owner often looks at the backlog first: what it saw there is checked as well. */
static void far_index_seen_early(const struct line_config *c)
{
	struct rte_mbuf *pkts[XV_BURST];
	unsigned int how;

	for (how = 0; how < 3 && !c->packed; how++) {
		line_open(c, how, 500);
		assert_true(line_post_frame(100, 1, GUEST_DIRECT));
		line_start();
		line->ring.avail->idx = (uint16_t)(line->ring.avail_pos + c->size);
		if (how == 0)
			(void)xv_vring_backlog(&line->vq, 32);
		else if (how == 1)
			(void)xv_vring_backlog(&line->vq, 1);
		else
			(void)xv_vring_arm(&line->vq);
		assert_int_equal(line->vq.recv(&line->vq, pkts, 1), 0);
		assert_int_equal(line->vq.error, XV_VRING_BAD_AVAIL);
	}
}

/* A ring that breaks while we sleep on its kicks. */
static void broken_while_armed(const struct line_config *c)
{
	uint8_t *image = malloc(line->guest.n_bytes);

	assert_non_null(image);
	line_open(c, 1, 500);
	line_start();
	assert_true(xv_vring_arm(&line->vq));
	xv_vring_break(&line->vq, XV_VRING_MEMORY_GONE);
	memcpy(image, line->guest.bytes, line->guest.n_bytes);
	xv_vring_disarm(&line->vq);
	assert_true(xv_vring_arm(&line->vq));
	assert_int_equal(memcmp(image, line->guest.bytes, line->guest.n_bytes), 0);
	free(image);
}

static void hostile_rings_are_broken_once(void **state)
{
	FOR_EACH_CONFIG(hostile, V1 | INDIRECT, INDIRECT | MRG, V1 | INDIRECT | ORDER);
	FOR_EACH_CONFIG(not_negotiated, V1, V1 | MRG);
}

static void index_beyond_the_ring_is_seen_early(void **state)
{
	FOR_EACH_CONFIG(far_index_seen_early, V1, V1 | EVENT);
}

static void broken_ring_stays_untouched(void **state)
{
	FOR_EACH_CONFIG(broken_while_armed, V1, V1 | EVENT);
}

/*
 * A second CPU of the guest makes descriptors available and unavailable while we look: a small
 * packed ring then seems to go round and round within one burst. Our positions must stay within it.
 */
static _Atomic bool stop_flipping;

static void *flipper(void *arg)
{
	struct guest_ring *r = arg;
	uint16_t i, write = r->packed[0].flags & VRING_DESC_F_WRITE;
	unsigned int lap;

	line_run_anywhere();
	for (lap = 0; !atomic_load_explicit(&stop_flipping, memory_order_relaxed); lap++)
		for (i = 0; i < r->size; i++) {
			struct vring_packed_desc *d = &r->packed[i];
			uint16_t flags = (uint16_t)((lap & 1 ? 0x80 : 0x8000) | write);
			uint64_t rest = 200 | (uint64_t)flags << 48;

			__atomic_store_n((uint64_t *)(void *)&d->len, rest, __ATOMIC_RELAXED);
		}
	return NULL;
}

static void flip(const struct line_config *c)
{
	struct rte_mbuf *pkts[XV_BURST];
	struct timespec now, start;
	long elapsed_ms;
	enum xv_vring_reject why;
	pthread_t thread;
	unsigned int sending, i;

	for (sending = 0; sending < 2; sending++) {
		if (!c->packed || c->size > 8)
			return;
		line_open(c, 1, 500);
		for (i = 0; i < c->size; i++)
			line->ring.packed[i] = (struct vring_packed_desc){
				.addr = GUEST_FAR,
				.len = 200,
				.flags = (uint16_t)(0x80 | (sending ? VRING_DESC_F_WRITE : 0))};
		line_start();
		atomic_store(&stop_flipping, false);
		assert_int_equal(pthread_create(&thread, NULL, flipper, &line->ring), 0);
		clock_gettime(CLOCK_MONOTONIC, &start);
		do {
			uint16_t n = 0;

			if (sending) {
				for (i = 0; i < XV_BURST; i++)
					pkts[i] = unit_packet(line_pool, line_scratch, 60, NULL);
				n = line->vq.send(&line->vq, pkts, XV_BURST, &why);
				rte_pktmbuf_free_bulk(&pkts[n], XV_BURST - n);
			} else {
				n = line->vq.recv(&line->vq, pkts, XV_BURST);
				if (n > 0)
					rte_pktmbuf_free_bulk(pkts, n);
			}
			if (line->vq.avail_idx >= c->size || line->vq.used_idx >= c->size)
				break;
			clock_gettime(CLOCK_MONOTONIC, &now);
			elapsed_ms = (now.tv_sec - start.tv_sec) * 1000 +
				     (now.tv_nsec - start.tv_nsec) / 1000000;
		} while (elapsed_ms < 100);
		atomic_store(&stop_flipping, true);
		assert_int_equal(pthread_join(thread, NULL), 0);
		assert_in_range(line->vq.avail_idx, 0, c->size - 1);
		assert_in_range(line->vq.used_idx, 0, c->size - 1);
		assert_int_equal(line->vq.error, XV_VRING_OK);
	}
}

static void flipping_descriptors_do_not_lead_us_out(void **state)
{
	FOR_EACH_CONFIG(flip, V1);
}

/* A full ring of frames with bad headers: no more than a burst of them at a time, others wait. */
static void bad_frames(const struct line_config *c)
{
	const struct virtio_net_hdr_mrg_rxbuf bad = {.hdr = {.gso_type = 0x7f}};
	struct rte_mbuf *pkts[XV_BURST];
	uint32_t cookie, len;
	unsigned int i, n;

	if (c->size < 250)
		return;
	line_open(c, 1, 500);
	line_start();
	for (n = 0; line_post_frame_as(&bad, 100, 1 + n % 2, GUEST_DIRECT); n++)
		;
	assert_true(n > 2 * XV_BURST);
	guest_ring_publish(&line->ring);
	while (n > 0) {
		assert_int_equal(line->vq.recv(&line->vq, pkts, 32), 0);
		for (i = 0; guest_ring_reap(&line->ring, &cookie, &len); i++)
			;
		assert_in_range(i, 1, 32);
		n -= i;
	}
	assert_int_equal(line->vq.error, XV_VRING_OK);
}

static void bad_frames_take_no_more_than_their_turn(void **state)
{
	FOR_EACH_CONFIG(bad_frames, V1, V1 | ORDER);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		LINE_TEST(hostile_rings_are_broken_once),
		LINE_TEST(index_beyond_the_ring_is_seen_early),
		LINE_TEST(broken_ring_stays_untouched),
		LINE_TEST(bad_frames_take_no_more_than_their_turn),
		LINE_TEST(flipping_descriptors_do_not_lead_us_out),
	};

	return cmocka_run_group_tests_name("vring_hostile", tests, line_setup, line_teardown);
}
