/* SPDX-License-Identifier: Apache-2.0 */
/* The timer wheel against a model that compares every member's time with the clock. */
#include "unit.h"

#include <stdbool.h>
#include <string.h>

#include "table/timer_wheel.h"

#define MEMBERS 3000
#define AHEAD	(1u << 30) /* the longest time */
#define TICK	(1u << XV_TIMER_TICK_SHIFT)

struct member {
	uint32_t other;
	struct xv_timer_link link;
	uint64_t expires; /* the owner's time */
	bool in;
	unsigned int looks; /* how often it came out too early */
};

static struct member members[MEMBERS + 1];
static struct xv_timer_wheel wheel;
static uint64_t now;

static void start(uint64_t at)
{
	memset(members, 0, sizeof(members));
	now = at;
	xv_timer_wheel_init(&wheel, &members[0].link, sizeof(members[0]), (uint32_t)now);
}

static void add(uint32_t i, uint64_t after)
{
	members[i].expires = now + after;
	members[i].in = true;
	members[i].looks = 0;
	xv_timer_wheel_add(&wheel, i, (uint32_t)members[i].expires);
}

/* Take out what is due, put in again what is not yet. Returns how many expired. */
static unsigned int run(uint64_t to)
{
	unsigned int n = 0;
	uint32_t i;

	now = to;
	while ((i = xv_timer_wheel_next(&wheel, (uint32_t)now)) != 0) {
		assert_true(i <= MEMBERS && members[i].in);
		assert_int_equal(members[i].link.prev, 0);
		if (members[i].expires > now) {
			members[i].looks++;
			xv_timer_wheel_add(&wheel, i, (uint32_t)members[i].expires);
			continue;
		}
		members[i].in = false;
		n++;
	}
	for (i = 1; i <= MEMBERS; i++) {
		if (members[i].in) /* it must have come out in the tick after its time */
			assert_true(members[i].expires + TICK > now);
	}
	return n;
}

static void nobody_is_early_or_late(void **state)
{
	static const uint64_t after[] = {0, 1, 63, 64, 65, 4000, 4096, 5000, 262144, 300000, 16777216, 432000000, 1000000000};
	const uint64_t starts[] = {0, 1000000, UINT32_MAX - 100, UINT32_MAX - 100000, (UINT64_C(1) << 31) - 7};
	unsigned int s, i;

	(void)state;
	for (s = 0; s < sizeof(starts) / sizeof(starts[0]); s++) {
		for (i = 0; i < sizeof(after) / sizeof(after[0]); i++) {
			start(starts[s]);
			add(1, after[i]);
			if (after[i] > 0)
				assert_int_equal(run(members[1].expires - 1), 0);
			assert_int_equal(run(members[1].expires + TICK), 1);
			/* Once sorted on each level, and a few times more if it is farther away than the wheel is long. */
			assert_true(members[1].looks <= 6);
			assert_int_equal(run(now + 100000), 0);
		}
	}
}

static void time_passes_in_small_steps(void **state)
{
	unsigned int expired = 0, i;

	(void)state;
	start(UINT32_MAX - 20000);
	for (i = 1; i <= 1000; i++)
		add(i, i * 37);
	while (now < UINT32_MAX + UINT64_C(20000))
		expired += run(now + 10);
	assert_int_equal(expired, 1000);
}

static void one_that_is_put_off_needs_no_word(void **state)
{
	(void)state;
	start(5);
	add(1, 1000);
	add(2, 1000);
	members[1].expires += 500000;
	assert_int_equal(run(now + 2000), 1);
	assert_true(members[1].in && members[1].looks == 1);
	assert_int_equal(run(members[1].expires + TICK), 1);
}

static void deleted_ones_do_not_come(void **state)
{
	unsigned int i;

	(void)state;
	start(5);
	for (i = 1; i <= 10; i++)
		add(i, 1000);
	for (i = 1; i <= 10; i += 2) {
		xv_timer_wheel_del(&wheel, i);
		xv_timer_wheel_del(&wheel, i); /* nor does it matter again */
		members[i].in = false;
	}
	assert_int_equal(run(now + 2000), 5);
	for (i = 0; i < XV_TIMER_LEVELS; i++)
		assert_int_equal(wheel.used[i], 0);
}

static uint64_t some_time(uint64_t *rnd)
{
	return unit_random(rnd, 1u << unit_random(rnd, 30));
}

static void model(void **state)
{
	uint64_t rnd = 7;
	unsigned int round, step;
	uint32_t i;

	(void)state;
	for (round = 0; round < 20; round++) {
		start(unit_random(&rnd, UINT32_MAX));
		for (step = 0; step < 3000; step++) {
			i = 1 + unit_random(&rnd, MEMBERS);
			switch (unit_random(&rnd, 8)) {
			case 0:
				xv_timer_wheel_del(&wheel, i);
				members[i].in = false;
				break;
			case 1:
				if (members[i].in)
					members[i].expires += some_time(&rnd) / 2;
				if (members[i].expires > now + AHEAD)
					members[i].expires = now + AHEAD;
				break;
			case 2:
				if (step % 8 == 0)
					(void)run(now + some_time(&rnd));
				break;
			default:
				if (!members[i].in)
					add(i, some_time(&rnd));
				break;
			}
		}
		(void)run(now + AHEAD);
		(void)run(now + TICK);
		for (i = 1; i <= MEMBERS; i++)
			assert_false(members[i].in);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nobody_is_early_or_late),
		cmocka_unit_test(time_passes_in_small_steps),
		cmocka_unit_test(one_that_is_put_off_needs_no_word),
		cmocka_unit_test(deleted_ones_do_not_come),
		cmocka_unit_test(model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
