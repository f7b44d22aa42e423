/* SPDX-License-Identifier: Apache-2.0 */
/* Health checks: when they ask, and what they make of answers, over time that the test makes. */
#include "unit.h"

#include "control/health.h"

static const struct xv_health_config config = {
	.interval_ms = 2000, .timeout_ms = 500, .rise = 2, .fall = 3};

/* Time goes on by ms in steps of 50; returns how often it asked. *changes: how often the state
 * changed. */
static unsigned int pass(struct xv_health *h, uint32_t *now, uint32_t ms, unsigned int *changes)
{
	unsigned int asked = 0;
	uint32_t i;

	for (i = 0; i < ms; i += 50) {
		bool ask;

		*changes += xv_health_tick(h, &config, *now, &ask);
		asked += ask;
		*now += 50;
	}
	return asked;
}

static void first_answer_decides(void **state)
{
	struct xv_health h = {0}, silent = {0};
	uint32_t now = UINT32_MAX - 1000; /* it wraps */
	unsigned int changes = 0;

	(void)state;
	assert_int_equal(pass(&h, &now, 50, &changes), 1);
	assert_int_equal(h.state, XV_HEALTH_UNKNOWN);
	assert_true(xv_health_answer(&h, &config, h.seq, true));
	assert_int_equal(h.state, XV_HEALTH_UP);
	assert_int_equal(pass(&silent, &now, 50, &changes), 1);
	assert_int_equal(pass(&silent, &now, 500, &changes), 0);
	assert_int_equal(changes, 1);
	assert_int_equal(silent.state, XV_HEALTH_DOWN);
}

static void asks_at_intervals(void **state)
{
	uint32_t now = UINT32_MAX - 5000;
	unsigned int changes = 0, i;
	struct xv_health h = {0};

	(void)state;
	assert_int_equal(pass(&h, &now, 50, &changes), 1);
	for (i = 0; i < 10; i++) {
		(void)xv_health_answer(&h, &config, h.seq, true);
		assert_int_equal(pass(&h, &now, 1950, &changes), 0);
		assert_int_equal(pass(&h, &now, 50, &changes), 1);
	}
	assert_int_equal(changes, 0);
	assert_int_equal(h.asks, 11);
}

static void falls_and_rises(void **state)
{
	unsigned int changes = 0;
	struct xv_health h = {0};
	uint32_t now = 0;

	(void)state;
	(void)pass(&h, &now, 50, &changes);
	(void)xv_health_answer(&h, &config, h.seq, true);
	/* Twice nothing, then an answer: still well, and it begins anew. */
	(void)pass(&h, &now, 3 * 2000 + 50, &changes);
	assert_int_equal(h.state, XV_HEALTH_UP);
	assert_false(xv_health_answer(&h, &config, h.seq, true));
	(void)pass(&h, &now, 2 * 2000, &changes);
	assert_int_equal(changes, 0);
	(void)pass(&h, &now, 2 * 2000, &changes);
	assert_int_equal(changes, 1);
	assert_int_equal(h.state, XV_HEALTH_DOWN);
	/* One answer is not enough. */
	while (!h.asked)
		(void)pass(&h, &now, 50, &changes);
	assert_false(xv_health_answer(&h, &config, h.seq, true));
	while (!h.asked)
		(void)pass(&h, &now, 50, &changes);
	assert_true(xv_health_answer(&h, &config, h.seq, true));
	assert_int_equal(h.state, XV_HEALTH_UP);
}

static void late_and_repeated_answers_do_not_count(void **state)
{
	unsigned int changes = 0;
	struct xv_health h = {0};
	uint32_t now = 0;
	uint16_t seq;

	(void)state;
	(void)pass(&h, &now, 50, &changes);
	seq = h.seq;
	(void)pass(&h, &now, 500, &changes); /* too late */
	assert_false(xv_health_answer(&h, &config, seq, true));
	(void)pass(&h, &now, 1500, &changes);
	assert_true(h.asked);
	assert_false(xv_health_answer(&h, &config, seq, true)); /* of the one before */
	assert_false(xv_health_answer(&h, &config, h.seq, true));
	assert_false(xv_health_answer(&h, &config, h.seq, true)); /* again: rise is 2 */
	assert_int_equal(h.state, XV_HEALTH_DOWN);
}

static void a_refusal_is_a_failure_at_once(void **state)
{
	unsigned int changes = 0, i;
	struct xv_health h = {0};
	uint32_t now = 0;

	(void)state;
	(void)pass(&h, &now, 50, &changes);
	(void)xv_health_answer(&h, &config, h.seq, true);
	for (i = 0; i < 3; i++) {
		assert_int_equal(h.state, XV_HEALTH_UP);
		(void)pass(&h, &now, 2000, &changes);
		assert_int_equal(xv_health_answer(&h, &config, h.seq, false), i == 2);
	}
	assert_int_equal(h.state, XV_HEALTH_DOWN);
	assert_int_equal(h.fails, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(first_answer_decides),
		cmocka_unit_test(asks_at_intervals),
		cmocka_unit_test(falls_and_rises),
		cmocka_unit_test(late_and_repeated_answers_do_not_count),
		cmocka_unit_test(a_refusal_is_a_failure_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
