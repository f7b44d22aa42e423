/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Workers commit, look up, advance and credit connections, both directions anywhere, while a control thread lets them expire, deletes, flushes
 * and walks; the table is too small for all, so that memory is used again at once. A connection carries a mark made of its tuple:
 * whoever gets the wrong one, or a torn one, notices. For the thread sanitizer: see test_flow_threads.c.
 */
#include "unit.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "ct_frame.h"
#include "fastpath/conntrack.h"
#include "table/rcu.h"

#define WORKERS 3
#define FRAMES	3000
#define SIZE	1000
#define STEPS	150000
#define TOGETHER 200 /* tuples that all commit at the same time */
#define SLOTS	64  /* hits that a worker remembers */

static struct xv_conntrack *ct;
static _Atomic uint32_t now;
static atomic_bool failed;
static _Atomic unsigned int running;
static _Atomic uint64_t advanced, hits;
static pthread_barrier_t barrier;

static struct ct_frame frame_of(uint32_t n)
{
	if (n % 4 == 0)
		return (struct ct_frame){.proto = 6, .src = n, .dst = 5000, .sport = 1, .dport = 80, .seq = 1};
	return (struct ct_frame){.proto = 17, .ipv6 = n & 1, .src = n, .dst = 5000, .sport = 1, .dport = 53, .payload = 4};
}

static void wrong(const char *what)
{
	if (!atomic_exchange(&failed, true))
		print_error("%s\n", what);
}

static uint32_t mark_of(uint32_t n)
{
	return n * 2654435761u;
}

/* A packet of connection n; what is found must be that. */
static void packet(struct ct_packet *p, uint32_t n, bool reply, bool commit, uint32_t now_ms)
{
	struct xv_action_ct a = {.zone = (uint16_t)(n % 16), .flags = commit ? XV_CT_COMMIT : 0, .mark = mark_of(n),
				 .mark_mask = UINT32_MAX};
	struct ct_frame f = frame_of(n);
	int rc;

	f.flags = CT_SYN;
	if (reply) {
		f = ct_frame_reply(&f);
		f.flags = CT_SYN | CT_ACK;
		f.ack = 2;
		a.flags = 0;
	}
	ct_packet_make(p, &f, n % 5);
	rc = xv_conntrack_packet(ct, &a, &p->m, &p->key, &p->layout, now_ms, &p->hit);
	if (rc != 0 && rc != -ENOBUFS && rc != -EDQUOT)
		wrong("rc");
	if (rc != 0 || p->hit.conn == NULL) {
		p->hit.conn = NULL;
		return;
	}
	if (p->key.ct_mark != mark_of(n))
		wrong("mark of another connection");
	if (p->key.ct_src.words[3] != rte_cpu_to_be_32(n) || p->key.ct_dst.words[3] != rte_cpu_to_be_32(5000))
		wrong("tuple of another connection");
	atomic_fetch_add_explicit(&hits, 1, memory_order_relaxed);
}

static void *worker_run(void *arg)
{
	static struct ct_packet kept[WORKERS][SLOTS];
	unsigned int id = (unsigned int)(uintptr_t)arg, step;
	struct ct_packet *mine = kept[id];
	uint64_t rnd = id + 1, n_advanced = 0;
	uint32_t round;

	(void)xv_rcu_register(id);
	pthread_barrier_wait(&barrier);
	xv_rcu_online(id);
	for (step = 0; step < STEPS && !failed; step++) {
		uint32_t now_ms = atomic_load_explicit(&now, memory_order_relaxed), n = unit_random(&rnd, FRAMES);
		struct ct_packet *p = &mine[unit_random(&rnd, SLOTS)];

		if (unit_random(&rnd, 2) == 0 && p->hit.conn != NULL) {
			n_advanced += xv_conntrack_advance(ct, &p->hit, p->bytes, p->layout.l3, p->layout.l4, now_ms);
			xv_conntrack_credit(ct, &p->hit, 1, 100);
		} else {
			/* A few of them often. */
			if (unit_random(&rnd, 2))
				n %= 100;
			packet(p, n, unit_random(&rnd, 3) == 0, unit_random(&rnd, 2), now_ms);
		}
		if (step % 64 == 0)
			xv_rcu_quiescent(id);
	}
	atomic_fetch_add(&advanced, n_advanced);
	atomic_fetch_sub(&running, 1);
	xv_rcu_offline(id);
	/* All at once the same. */
	for (round = 0; round < 20; round++) {
		struct ct_packet p;
		uint32_t n;

		pthread_barrier_wait(&barrier);
		for (n = 0; n < TOGETHER; n++)
			packet(&p, n, false, true, atomic_load(&now));
		pthread_barrier_wait(&barrier);
	}
	xv_rcu_unregister(id);
	return NULL;
}

static bool is_some(const struct xv_ct_info *info, void *arg)
{
	return (info->original.src.words[3] >> 24) % 8 == *(uint32_t *)arg;
}

static void look(const struct xv_ct_info *info, void *arg)
{
	uint32_t n = rte_be_to_cpu_32(info->original.src.words[3]);
	uint8_t *seen = arg;

	if (n >= FRAMES || info->mark != mark_of(n) || info->reply.dst.words[3] != info->original.src.words[3] ||
	    info->timeout_ms > 432000000 || info->original.zone != n % 16) {
		wrong("walk");
		return;
	}
	if (seen != NULL && seen[n]++)
		wrong("the same tuple twice");
}

static void control_run(void)
{
	uint64_t rnd = 99, cursor = 0;
	uint32_t seconds[XV_CT_TO_MAX] = {0};

	while (running > 0 && !failed) {
		uint32_t now_ms = atomic_fetch_add_explicit(&now, unit_random(&rnd, 100), memory_order_relaxed), n;
		struct ct_frame f;
		struct xv_ct_tuple t;

		switch (unit_random(&rnd, 8)) {
		case 0:
			n = unit_random(&rnd, 8);
			(void)xv_conntrack_flush(ct, now_ms, is_some, &n);
			break;
		case 1:
			if (!xv_conntrack_walk(ct, now_ms, &cursor, 100, look, NULL))
				cursor = 0;
			break;
		case 2:
			seconds[XV_CT_TO_UDP_FIRST] = 1 + unit_random(&rnd, 10);
			(void)xv_conntrack_set_timeouts(ct, 0, seconds);
			(void)xv_rcu_poll();
			break;
		case 3:
			(void)xv_conntrack_expire(ct, now_ms);
			break;
		default:
			n = unit_random(&rnd, 100);
			f = frame_of(n);
			t = ct_frame_tuple(&f, (uint16_t)(n % 16));
			(void)xv_conntrack_delete(ct, &t, now_ms);
			break;
		}
	}
}

static void threads(void **state)
{
	const struct xv_conntrack_config config = {.connections = SIZE, .half_open_per_port = 40};
	static uint8_t seen[FRAMES];
	struct xv_conntrack_stats s;
	pthread_t ids[WORKERS];
	uint32_t i, round, limit, n;

	(void)state;
	assert_int_equal(xv_conntrack_create(&config, &ct), 0);
	xv_conntrack_set_shared(ct, true);
	assert_int_equal(pthread_barrier_init(&barrier, NULL, WORKERS + 1), 0);
	running = WORKERS;
	for (i = 0; i < WORKERS; i++)
		assert_int_equal(pthread_create(&ids[i], NULL, worker_run, (void *)(uintptr_t)i), 0);
	pthread_barrier_wait(&barrier);
	control_run();
	for (round = 0; round < 20; round++) {
		uint64_t cursor = 0;

		/* Past all timeouts but those of TCP that was established; there is none. */
		now += 130000;
		while (xv_conntrack_expire(ct, now))
			;
		(void)xv_conntrack_flush(ct, now, NULL, NULL);
		pthread_barrier_wait(&barrier);
		pthread_barrier_wait(&barrier);
		memset(seen, 0, sizeof(seen));
		while (xv_conntrack_walk(ct, now, &cursor, 100, look, seen))
			;
		for (i = 0; i < TOGETHER; i++)
			assert_int_equal(seen[i], 1);
	}
	for (i = 0; i < WORKERS; i++)
		assert_int_equal(pthread_join(ids[i], NULL), 0);
	assert_false(failed);
	assert_true(advanced > 0 && hits > 0);
	(void)xv_conntrack_flush(ct, now, NULL, NULL);
	now += 10000000;
	while (xv_conntrack_expire(ct, now))
		;
	xv_conntrack_get_stats(ct, &s);
	assert_true(s.evicted > 0 && s.deleted > 0);
	assert_int_equal(s.inserted, s.evicted + s.deleted + s.expired);
	assert_int_equal(s.half_open, 0);
	for (i = 0; i < 16; i++) {
		xv_conntrack_get_zone(ct, (uint16_t)i, &limit, &n);
		assert_int_equal(n, 0);
	}
	/* All memory came back: the whole table can be filled. */
	for (i = 0; i < SIZE; i++) {
		struct ct_frame f = {.proto = 17, .src = 10000 + i, .dst = 1, .payload = 4};

		assert_int_equal(ct_send(ct, &f, (uint16_t)i, XV_CT_COMMIT, now), XV_CS_TRACKED | XV_CS_NEW);
	}
	xv_conntrack_get_stats(ct, &s);
	assert_int_equal(s.inserted - s.evicted - s.deleted - s.expired, SIZE);
	xv_conntrack_destroy(ct);
	pthread_barrier_destroy(&barrier);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(threads),
	};

	if (xv_rcu_init() != 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
