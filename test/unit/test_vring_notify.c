/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who tells whom and when (virtio 1.2, 2.7.7, 2.7.10, 2.8.10): kicks for us, calls for the guest,
 * flags and event index. Exactly as asked for, and never lost.
 */
#include "unit.h"

#include <poll.h>
#include <pthread.h>
#include <unistd.h>

#include <sys/eventfd.h>

#include "vring_line.h"

/* Take and give back all that is there. */
static void drain(void)
{
	struct rte_mbuf *pkts[XV_BURST];
	uint32_t cookie, len;
	unsigned int got;

	while ((got = line->vq.recv(&line->vq, pkts, XV_BURST)) > 0)
		rte_pktmbuf_free_bulk(pkts, got);
	while (guest_ring_reap(&line->ring, &cookie, &len))
		line->buffer[cookie].posted = false;
}

static bool post_asks_for_kick(void)
{
	assert_true(line_post_frame(100, 1, GUEST_DIRECT));
	guest_ring_publish(&line->ring);
	return guest_ring_must_kick(&line->ring);
}

/* A kick for us: exactly when we asked for it. */
static void kicks(const struct line_config *c)
{
	unsigned int round, i;

	line_open(c, 9 + c->size, 400);
	line_start();
	/* An avail_event that nobody has written yet may say anything. */
	if (c->packed || !line->ring.event_idx)
		assert_false(post_asks_for_kick());
	drain();
	assert_true(xv_vring_arm(&line->vq));
	assert_true(post_asks_for_kick());
	xv_vring_disarm(&line->vq);
	for (round = 0; round < 500; round++) {
		unsigned int n = 1 + line_random(RTE_MIN(c->size, 5u));
		bool armed = line_random(4) != 0;

		drain();
		assert_int_equal(xv_vring_backlog(&line->vq, 32), 0);
		if (line_random(3) == 0) { /* a frame comes just before we arm */
			assert_false(post_asks_for_kick());
			assert_false(xv_vring_arm(&line->vq));
			drain();
		}
		if (armed) {
			assert_true(xv_vring_arm(&line->vq));
			assert_true(xv_vring_arm(&line->vq)); /* twice is no harm */
		}
		for (i = 0; i < n; i++) {
			assert_int_equal(post_asks_for_kick(), armed && i == 0);
			if (armed && i == 0)
				xv_vring_disarm(&line->vq);
			assert_int_equal(xv_vring_backlog(&line->vq, (uint16_t)(i + 1)), i + 1);
			assert_true(xv_vring_backlog(&line->vq, 32) >= 1);
		}
	}
	drain();
}

static void kicks_come_when_asked_for(void **state)
{
	FOR_EACH_CONFIG(kicks, V1, V1 | EVENT, V1 | ORDER | EVENT);
}

/* A call for the guest: exactly when it asked for it. */
static void calls(const struct line_config *c)
{
	bool event_idx = (c->features & EVENT) != 0;
	bool first = true; /* comes without need */
	uint32_t cookie, len;
	unsigned int round;

	line_open(c, 10 + c->size, 400);
	line_start();
	for (round = 0; round < 800; round++) {
		uint16_t pos = line->ring.used_pos, at = pos;
		bool wrap = line->ring.used_wrap, at_wrap = wrap, expected;
		unsigned int n = line_random(RTE_MIN(c->size, 6u) + 1u), i, went = 0, ahead;
		enum xv_vring_reject why;
		struct rte_mbuf *pkts[6];
		eventfd_t count = 0;

		for (i = 0; i < n && line_post(200, 1, GUEST_DIRECT, true); i++)
			;
		n = i;
		guest_ring_publish(&line->ring);
		/* Ask for a place that is up to a little more than the burst ahead (packed: within
		 * the lap). */
		ahead = line_random(c->packed ? RTE_MIN(c->size, 8u) : 8u);
		for (i = 0; i < ahead; i++) {
			at++;
			if (c->packed && at == c->size) {
				at = 0;
				at_wrap = !at_wrap;
			}
		}
		expected = n > 0;
		if (event_idx && (!c->packed || line_random(4) != 0)) {
			guest_ring_want_call_at(&line->ring, at, at_wrap);
			expected = ahead < n || (n > 0 && first);
			first = first && n == 0;
		} else if (line_random(2) != 0) {
			guest_ring_want_calls(&line->ring, false);
			expected = false;
		} else {
			guest_ring_want_calls(&line->ring, true);
		}
		for (i = 0; i < n; i++)
			pkts[i] = line_make_packet(i, 100);
		went = line->vq.send(&line->vq, pkts, (uint16_t)n, &why);
		assert_int_equal(went, n);
		(void)eventfd_read(line->call_fd, &count);
		assert_int_equal(count, expected);
		while (guest_ring_reap(&line->ring, &cookie, &len))
			line->buffer[cookie].posted = false;
	}
}

static void calls_come_when_asked_for(void **state)
{
	FOR_EACH_CONFIG(calls, V1, V1 | EVENT, V1 | MRG | EVENT | ORDER);
}

/* A guest on another thread that posts one frame at a time and kicks only when it must. */
#define HURRIED_FRAMES 3000
static int kick_fd;

static void *hurried_guest(void *arg)
{
	unsigned int posted = 0, back = 0;
	uint32_t cookie, len;

	line_run_anywhere();
	while (back < HURRIED_FRAMES) {
		if (posted < HURRIED_FRAMES && line_post_frame(60, 1, GUEST_DIRECT)) {
			posted++;
			guest_ring_publish(&line->ring);
			if (guest_ring_must_kick(&line->ring))
				(void)eventfd_write(kick_fd, 1);
		}
		while (guest_ring_reap(&line->ring, &cookie, &len)) {
			line->buffer[cookie].posted = false;
			back++;
		}
		if (line_random(16) == 0)
			(void)poll(NULL, 0, 0);
	}
	return NULL;
}

static void hurry(const struct line_config *c)
{
	struct rte_mbuf *pkts[XV_BURST];
	unsigned int received = 0, sleeps = 0, got;
	pthread_t thread;

	if (c->size != 8)
		return;
	line_open(c, 11, 400);
	line_start();
	kick_fd = eventfd(0, EFD_NONBLOCK);
	assert_int_equal(pthread_create(&thread, NULL, hurried_guest, NULL), 0);
	while (received < HURRIED_FRAMES) {
		got = line->vq.recv(&line->vq, pkts, XV_BURST);
		if (got > 0)
			rte_pktmbuf_free_bulk(pkts, got);
		received += got;
		if (got == 0 && received < HURRIED_FRAMES && xv_vring_arm(&line->vq)) {
			struct pollfd fd = {.fd = kick_fd, .events = POLLIN};
			eventfd_t count;

			sleeps++;
			assert_int_equal(poll(&fd, 1, 20000), 1); /* else a wake-up was lost */
			assert_int_equal(eventfd_read(kick_fd, &count), 0);
			xv_vring_disarm(&line->vq);
		}
	}
	assert_int_equal(pthread_join(thread, NULL), 0);
	(void)close(kick_fd);
	assert_true(sleeps > 0);
}

static void no_wake_up_is_lost(void **state)
{
	FOR_EACH_CONFIG(hurry, V1, V1 | EVENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		LINE_TEST(kicks_come_when_asked_for),
		LINE_TEST(calls_come_when_asked_for),
		LINE_TEST(no_wake_up_is_lost),
	};

	return cmocka_run_group_tests_name("vring_notify", tests, line_setup, line_teardown);
}
