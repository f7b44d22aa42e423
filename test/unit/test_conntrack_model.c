/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random packets, commands and time against a model that keeps connections in a plain array and looks through all of it each time.
 * UDP, whose states are simple: what protocols make of packets is not the matter here. Time goes in ticks of the timer wheel and
 * timeouts are whole ticks, so that the model knows exactly who is gone.
 */
#include "unit.h"

#include <errno.h>
#include <string.h>

#include "ct_frame.h"
#include "fastpath/conntrack.h"
#include "table/rcu.h"
#include "table/timer_wheel.h"

#define FRAMES 150
#define ZONES  3
#define PORTS  3
#define BOUND  20 /* half-open ones of a port and zone */
#define LIMIT  60 /* of zone 1 */
#define STEPS  60000
#define ROUNDS 6
#define TICK   (1u << XV_TIMER_TICK_SHIFT)

#define BYTES(frame) ((frame) % 3 == 0 ? 56u : 36u) /* of its IP packet */

#define FIRST_MS    64000u
#define SINGLE_MS   128000u
#define MULTIPLE_MS 192000u
#define STREAM_MS   2000

struct conn {
	bool lives, answered, half_open;
	unsigned int frame, zone, side, port; /* side: 1: it was opened by the frame's answer */
	uint64_t opened, expires, order;
	uint32_t mark;
	uint64_t label;
	uint64_t packets[2];
};

static struct xv_conntrack *ct;
static struct conn conns[FRAMES * ZONES];
static uint64_t now, order, rnd;
static uint64_t evicted, expired, deleted, inserted, refused;

static struct ct_frame frame_of(unsigned int n, unsigned int side)
{
	struct ct_frame f = {.ipv6 = n % 3 == 0, .proto = 17, .src = 1 + n % 7, .dst = 100 + n % 5, .sport = (uint16_t)(n + 1), .dport = 9,
			     .payload = 8};

	return side ? ct_frame_reply(&f) : f;
}

static struct conn *conn_of(unsigned int frame, unsigned int zone)
{
	return &conns[zone * FRAMES + frame];
}

static unsigned int count_zone(unsigned int zone)
{
	unsigned int i, n = 0;

	for (i = 0; i < FRAMES; i++)
		n += conn_of(i, zone)->lives;
	return n;
}

static struct conn *oldest_half_open(unsigned int zone, unsigned int port, unsigned int *n)
{
	struct conn *oldest = NULL;
	unsigned int i;

	*n = 0;
	for (i = 0; i < FRAMES; i++) {
		struct conn *c = conn_of(i, zone);

		if (!c->lives || !c->half_open || c->port != port)
			continue;
		if (oldest == NULL || c->order < oldest->order)
			oldest = c;
		++*n;
	}
	return oldest;
}

/* What the packet's ct_state must be, or -errno. */
static int expect(unsigned int frame, unsigned int side, unsigned int zone, unsigned int port, const struct xv_action_ct *a,
		  struct conn **found)
{
	struct conn *c = conn_of(frame, zone);
	unsigned int dir = c->side != side, n;

	*found = c;
	if (c->lives && dir == XV_CT_REPLY && (a->flags & XV_CT_FORCE)) {
		c->lives = false;
		deleted++;
	}
	if (c->lives) {
		bool stream = c->answered && now - c->opened > STREAM_MS;

		c->expires = now + (stream ? MULTIPLE_MS : SINGLE_MS);
		c->answered |= dir == XV_CT_REPLY;
		c->half_open &= !c->answered;
		c->packets[dir]++;
		if (a->flags & XV_CT_COMMIT) {
			c->mark = (c->mark & ~a->mark_mask) | (a->mark & a->mark_mask);
			c->label = (c->label & ~a->label_mask[1]) | (a->label[1] & a->label_mask[1]);
		}
		return XV_CS_TRACKED | (c->answered ? XV_CS_ESTABLISHED : XV_CS_NEW) | (dir == XV_CT_REPLY ? XV_CS_REPLY : 0);
	}
	*found = NULL;
	if (!(a->flags & XV_CT_COMMIT))
		return XV_CS_TRACKED | XV_CS_NEW;
	if (zone == 1 && count_zone(1) >= LIMIT) {
		refused++;
		return -EDQUOT;
	}
	*found = oldest_half_open(zone, port, &n);
	if (n >= BOUND) {
		(*found)->lives = false;
		evicted++;
	}
	*found = c;
	*c = (struct conn){.lives = true, .half_open = true, .frame = frame, .zone = zone, .side = side, .port = port, .opened = now,
			   .expires = now + FIRST_MS, .order = ++order, .packets = {1, 0}, .mark = a->mark & a->mark_mask,
			   .label = a->label[1] & a->label_mask[1]};
	inserted++;
	return XV_CS_TRACKED | XV_CS_NEW;
}

static void packet(void)
{
	unsigned int n = unit_random(&rnd, FRAMES), side = unit_random(&rnd, 4) == 0, zone = unit_random(&rnd, ZONES);
	unsigned int port = unit_random(&rnd, PORTS);
	struct xv_action_ct a = {.zone = (uint16_t)zone, .timeouts = 9, .flags = unit_random(&rnd, 2) ? XV_CT_COMMIT : 0};
	struct ct_frame f = frame_of(n, side);
	struct xv_ct_tuple original;
	struct conn *found;
	struct ct_packet p;
	int state, rc;

	if (a.flags & XV_CT_COMMIT) {
		a.flags |= unit_random(&rnd, 8) == 0 ? XV_CT_FORCE : 0;
		a.mark = unit_random(&rnd, 16);
		a.mark_mask = unit_random(&rnd, 16);
		a.label[1] = unit_random(&rnd, 16);
		a.label_mask[1] = unit_random(&rnd, 16);
	}
	state = expect(n, side, zone, port, &a, &found);
	ct_packet_make(&p, &f, port);
	rc = xv_conntrack_packet(ct, &a, &p.m, &p.key, &p.layout, (uint32_t)now, &p.hit);
	if (state < 0) {
		assert_int_equal(rc, state);
		return;
	}
	assert_int_equal(rc, 0);
	assert_int_equal(p.key.ct_state, state);
	assert_int_equal(p.key.ct_zone, zone);
	assert_int_equal(p.key.ct_mark, found ? found->mark : 0);
	assert_int_equal(p.key.ct_label[1], found ? found->label : 0);
	assert_int_equal(p.hit.conn != NULL, found != NULL);
	f = frame_of(n, found ? found->side : side);
	original = ct_frame_tuple(&f, (uint16_t)zone);
	assert_memory_equal(&p.key.ct_src, &original.src, 16);
	assert_int_equal(p.key.ct_tp_src, original.src_port);
	/* The hot way: what is established goes on being so, unless it is to become a stream; what is not answered is not. */
	if (found != NULL && unit_random(&rnd, 2)) {
		bool stream = now - found->opened > STREAM_MS, was_stream = found->expires == now + MULTIPLE_MS;
		bool ok = xv_conntrack_advance(ct, &p.hit, p.bytes, p.layout.l3, p.layout.l4, (uint32_t)now);

		assert_int_equal(ok, !found->answered || was_stream || !stream);
		if (ok) {
			xv_conntrack_credit(ct, &p.hit, 1, BYTES(n));
			found->packets[p.hit.dir]++;
			if (!found->answered)
				found->expires = now + SINGLE_MS;
		}
	}
}

static void delete(void)
{
	unsigned int n = unit_random(&rnd, FRAMES), zone = unit_random(&rnd, ZONES);
	struct ct_frame f = frame_of(n, unit_random(&rnd, 2));
	struct xv_ct_tuple t = ct_frame_tuple(&f, (uint16_t)zone);
	struct conn *c = conn_of(n, zone);

	assert_int_equal(xv_conntrack_delete(ct, &t, (uint32_t)now), c->lives ? 0 : -ENOENT);
	deleted += c->lives;
	c->lives = false;
}

static bool has_mark(const struct xv_ct_info *info, void *arg)
{
	return info->mark == *(uint32_t *)arg;
}

static void flush(void)
{
	uint32_t mark = unit_random(&rnd, 16);
	unsigned int i, n = 0;

	for (i = 0; i < FRAMES * ZONES; i++) {
		if (conns[i].lives && conns[i].mark == mark) {
			conns[i].lives = false;
			n++;
		}
	}
	deleted += n;
	assert_int_equal(xv_conntrack_flush(ct, (uint32_t)now, has_mark, &mark), n);
}

static void pass_time(void)
{
	unsigned int i;

	now += (uint64_t)unit_random(&rnd, unit_random(&rnd, 20) == 0 ? 200000 / TICK : 5000 / TICK) * TICK;
	for (i = 0; i < FRAMES * ZONES; i++) {
		if (conns[i].lives && conns[i].expires <= now) {
			conns[i].lives = false;
			expired++;
		}
	}
	while (xv_conntrack_expire(ct, (uint32_t)now))
		;
}

static void compare(const struct xv_ct_info *info, void *arg)
{
	struct conn *c = NULL;
	struct xv_ct_tuple t, r;
	struct ct_frame f, back;
	unsigned int i;

	for (i = 0; i < FRAMES && c == NULL; i++) {
		c = conn_of(i, info->original.zone);
		f = frame_of(i, c->side);
		t = ct_frame_tuple(&f, info->original.zone);
		if (!c->lives || memcmp(&t, &info->original, sizeof(t)) != 0)
			c = NULL;
	}
	assert_non_null(c);
	back = ct_frame_reply(&f);
	r = ct_frame_tuple(&back, info->original.zone);
	assert_memory_equal(&r, &info->reply, sizeof(r));
	assert_int_equal(info->mark, c->mark);
	assert_int_equal(info->packets[0], c->packets[0]);
	assert_int_equal(info->packets[1], c->packets[1]);
	assert_int_equal(info->bytes[1], c->packets[1] * BYTES(c->frame));
	assert_int_equal(info->timeout_ms, c->expires - now);
	++*(unsigned int *)arg;
}

static void compare_all(void)
{
	struct xv_conntrack_stats s;
	unsigned int seen = 0, lives = 0, half_open = 0, i;
	uint64_t cursor = 0;
	uint32_t limit, n;

	while (xv_conntrack_walk(ct, (uint32_t)now, &cursor, 7, compare, &seen))
		;
	for (i = 0; i < FRAMES * ZONES; i++) {
		lives += conns[i].lives;
		half_open += conns[i].lives && conns[i].half_open;
	}
	assert_int_equal(seen, lives);
	xv_conntrack_get_stats(ct, &s);
	assert_int_equal(s.connections, lives);
	assert_int_equal(s.half_open, half_open);
	assert_int_equal(s.inserted, inserted);
	assert_int_equal(s.evicted, evicted);
	assert_int_equal(s.deleted, deleted);
	assert_int_equal(s.expired, expired);
	assert_int_equal(s.refused_zone, refused);
	assert_int_equal(s.refused_full, 0);
	for (i = 0; i < ZONES; i++) {
		xv_conntrack_get_zone(ct, (uint16_t)i, &limit, &n);
		assert_int_equal(limit, i == 1 ? LIMIT : 0);
		assert_int_equal(n, count_zone(i));
	}
}

static void model(void **state)
{
	struct xv_conntrack_config config = {.connections = 512, .half_open_per_port = BOUND};
	uint32_t seconds[XV_CT_TO_MAX] = {[XV_CT_TO_UDP_FIRST] = FIRST_MS / 1000, [XV_CT_TO_UDP_SINGLE] = SINGLE_MS / 1000,
					  [XV_CT_TO_UDP_MULTIPLE] = MULTIPLE_MS / 1000};
	unsigned int round, step;

	(void)state;
	for (round = 0; round < ROUNDS; round++) {
		rnd = round + 1;
		now = (UINT64_C(1) << 32) * round + unit_random(&rnd, UINT32_MAX) / TICK * TICK;
		memset(conns, 0, sizeof(conns));
		evicted = expired = deleted = inserted = refused = 0;
		config.now_ms = (uint32_t)now;
		assert_int_equal(xv_conntrack_create(&config, &ct), 0);
		assert_int_equal(xv_conntrack_set_timeouts(ct, 9, seconds), 0);
		xv_conntrack_set_zone_limit(ct, 1, LIMIT);
		xv_conntrack_set_shared(ct, round & 1);
		for (step = 0; step < STEPS; step++) {
			switch (unit_random(&rnd, 64)) {
			case 0:
				delete();
				break;
			case 1:
				if (step % 16 == 0)
					flush();
				break;
			case 2:
				pass_time();
				break;
			default:
				packet();
				break;
			}
			if (step % 200 == 0)
				compare_all();
		}
		assert_true(evicted > 0 && expired > 0 && deleted > 0 && refused > 0);
		xv_conntrack_destroy(ct);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(model),
	};

	if (xv_rcu_init() != 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
