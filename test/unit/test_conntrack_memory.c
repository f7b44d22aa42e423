/* SPDX-License-Identifier: Apache-2.0 */
/* What connections take, as the kernel counts it: many at a time, many one after the other, the next ones ahead of them. */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "ct_frame.h"
#include "fastpath/conntrack.h"
#include "table/rcu.h"

#define NEW    (XV_CS_TRACKED | XV_CS_NEW)
#define REPLY  (XV_CS_TRACKED | XV_CS_ESTABLISHED | XV_CS_REPLY)
#define COMMIT XV_CT_COMMIT
#define S      1000u /* ms */

static struct xv_conntrack *ct;
static uint32_t now;

static void open_table(uint32_t connections, uint32_t half_open)
{
	const struct xv_conntrack_config config = {.connections = connections, .half_open_per_port = half_open, .now_ms = now};

	assert_int_equal(xv_conntrack_create(&config, &ct), 0);
}

static int setup(void **state)
{
	(void)state;
	now = UINT32_MAX - 50 * S; /* the clock wraps in the middle */
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	xv_conntrack_destroy(ct);
	ct = NULL;
	return 0;
}

/* Datagram i of as many; every other one is IPv6. */
static struct ct_frame udp_of(uint32_t i)
{
	return (struct ct_frame){.ipv6 = i & 1, .proto = 17, .src = i, .dst = 0x0a000002, .sport = 1000, .dport = 53, .payload = 20};
}

static void commit(uint32_t i, uint16_t zone)
{
	struct ct_frame f = udp_of(i);

	assert_int_equal(ct_send(ct, &f, zone, COMMIT, now), NEW);
}

static void answer(uint32_t i, uint16_t zone)
{
	struct ct_frame f = udp_of(i), back = ct_frame_reply(&f);

	assert_int_equal(ct_send(ct, &back, zone, 0, now), REPLY);
}

static struct xv_conntrack_stats stats(void)
{
	struct xv_conntrack_stats s;

	xv_conntrack_get_stats(ct, &s);
	return s;
}

static size_t resident_bytes(void)
{
	FILE *f = fopen("/proc/self/statm", "r");
	unsigned long pages = 0;

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%*u %lu", &pages), 1);
	(void)fclose(f);
	return pages * (size_t)sysconf(_SC_PAGESIZE);
}

/* All that they take, from the first to the last: table, connections, timers, accounts; and it is given back. */
static void two_million_take_less_than_600_megabytes(void **state)
{
	const uint32_t n = 2000000;
	size_t before = resident_bytes(), taken;
	uint32_t i;

	(void)state;
	open_table(n, n);
	for (i = 0; i < n; i++) {
		commit(i, (uint16_t)(i % 8));
		if (i % 4 == 0)
			answer(i, (uint16_t)(i % 8));
	}
	while (xv_conntrack_provide(ct))
		;
	taken = resident_bytes() - before;
	print_message("%u connections take %zu MB\n", n, taken / 1000000);
	assert_int_equal(stats().connections, n);
	assert_true(taken < 600000000);
	/* It is what we say it is. */
	assert_true(taken < stats().memory_bytes * 1.05 && taken > stats().memory_bytes * 0.9);
	(void)teardown(NULL);
	assert_true(resident_bytes() < before + (8 << 20));
}

/* Connections come and go, by time, deletion and eviction, in a table that is nearly full; nothing gets lost. */
static void nothing_leaks(void **state)
{
	const uint32_t total = getenv("FULL") ? 10000000 : 300000, size = 20000;
	size_t half_way = 0, resident = 0;
	struct xv_conntrack_stats s;
	uint32_t i;

	(void)state;
	open_table(size, size / 4);
	for (i = 0; i < total; i++) {
		commit(i, (uint16_t)(i % 8));
		if (i % 3 == 0)
			answer(i, (uint16_t)(i % 8));
		if (i % 5 == 0) {
			struct ct_frame f = udp_of(i);
			struct xv_ct_tuple tuple = ct_frame_tuple(&f, (uint16_t)(i % 8));

			assert_int_equal(xv_conntrack_delete(ct, &tuple, now), 0);
		}
		now += i % 2;
		if (i % 64 == 0)
			(void)xv_conntrack_expire(ct, now);
		if (i == total / 2) {
			half_way = stats().memory_bytes;
			resident = resident_bytes();
		}
	}
	s = stats();
	assert_true(s.evicted > 0 && s.expired > 0 && s.deleted > 0);
	assert_int_equal(s.refused_full, 0);
	assert_true(s.memory_bytes <= half_way * 1.05);
	assert_true(resident_bytes() < resident + (1 << 20));
	now += 200 * S;
	while (xv_conntrack_expire(ct, now))
		;
	s = stats();
	assert_int_equal(s.connections, 0);
	assert_int_equal(s.half_open, 0);
	assert_int_equal(s.inserted, total);
	/* All of it can be used again. */
	for (i = 0; i < size; i++)
		commit(i, (uint16_t)i);
	assert_int_equal(stats().connections, size);
}

/* Memory for the next connections is there before they are, in bounded steps; none as long as there has been no connection. */
static void memory_is_provided(void **state)
{
	unsigned int steps;
	size_t before;

	(void)state;
	open_table(100000, 100); /* of 25 MB */
	before = resident_bytes();
	assert_false(xv_conntrack_provide(ct));
	assert_true(resident_bytes() < before + (1 << 20));
	commit(0, 1);
	before = resident_bytes();
	for (steps = 0; xv_conntrack_provide(ct); steps++)
		assert_true(steps < 20);
	assert_true(steps > 4);
	assert_true(resident_bytes() > before + (16 << 20));
	assert_false(xv_conntrack_provide(ct));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(two_million_take_less_than_600_megabytes),
		TEST(nothing_leaks),
		TEST(memory_is_provided),
	};

	if (xv_rcu_init() != 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
