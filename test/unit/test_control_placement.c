/* SPDX-License-Identifier: Apache-2.0 */
/* Placement of queues on workers: even, complete, and as still as can be; against random histories.
 */
#include "unit.h"

#include <string.h>

#include "control/placement.h"

static uint16_t queues[XV_MAX_PORTS];
static bool workers[XV_MAX_WORKERS];
static struct xv_placement placement, before;

/* How many queues moved though both their old worker and they themselves stayed. */
static unsigned int check(void)
{
	unsigned int load[XV_MAX_WORKERS] = {0}, moved = 0, low = UINT32_MAX, high = 0;
	bool any = false;

	for (unsigned int w = 0; w < XV_MAX_WORKERS; w++)
		any |= workers[w];
	for (unsigned int id = 0; id < XV_MAX_PORTS; id++) {
		for (unsigned int q = 0; q < XV_MAX_QUEUES; q++) {
			uint8_t now = placement.worker[id][q], was = before.worker[id][q];

			if (q >= queues[id] || !any) {
				assert_int_equal(now, XV_PLACED_NOWHERE);
				continue;
			}
			assert_true(now < XV_MAX_WORKERS && workers[now]);
			load[now]++;
			moved += was != XV_PLACED_NOWHERE && workers[was] && was != now;
		}
	}
	for (unsigned int w = 0; any && w < XV_MAX_WORKERS; w++) {
		if (!workers[w])
			continue;
		low = load[w] < low ? load[w] : low;
		high = load[w] > high ? load[w] : high;
	}
	assert_true(!any || high - low <= 1);
	return moved;
}

static unsigned int update(void)
{
	before = placement;
	xv_placement_update(&placement, queues, workers);
	return check();
}

static void reset(void)
{
	memset(queues, 0, sizeof(queues));
	memset(workers, 0, sizeof(workers));
	xv_placement_init(&placement);
}

static void test_growth(void **state)
{
	reset();
	workers[0] = true;
	for (unsigned int id = 0; id < 64; id++) {
		queues[id] = 1;
		assert_int_equal(update(), 0);
	}
	/* A second worker gets its half, no more. */
	workers[1] = true;
	assert_int_equal(update(), 32);
	assert_int_equal(update(), 0);
	/* A third: 21 of 64. */
	workers[5] = true;
	assert_int_equal(update(), 21);
	/* One goes: only its own queues move, which check() does not count. */
	workers[0] = false;
	assert_int_equal(update(), 0);
	/* A multi-queue port spreads. */
	queues[100] = 32;
	assert_int_equal(update(), 0);
}

static void test_no_worker(void **state)
{
	reset();
	queues[3] = 4;
	assert_int_equal(update(), 0);
	workers[2] = true;
	assert_int_equal(update(), 0);
	workers[2] = false;
	assert_int_equal(update(), 0);
}

static void test_random(void **state)
{
	uint64_t seed = 7;

	reset();
	for (unsigned int i = 0; i < 2000; i++) {
		unsigned int id = unit_random(&seed, 40);

		if (unit_random(&seed, 4) == 0)
			workers[unit_random(&seed, XV_MAX_WORKERS)] ^= true;
		else
			queues[id] = (uint16_t)unit_random(&seed, XV_MAX_QUEUES + 1);
		(void)update();
		assert_int_equal(update(), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_growth),
		cmocka_unit_test(test_no_worker),
		cmocka_unit_test(test_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
