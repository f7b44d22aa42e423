/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <errno.h>

#include "table/rcu.h"

static unsigned int ran;
static int order[8];

static void note(void *arg)
{
	order[ran++] = *(int *)arg;
}

static void note_and_defer(void *arg)
{
	note(arg);
	xv_rcu_defer(note, arg);
}

static void deferred_calls_wait(void **state)
{
	int one = 1, two = 2, three = 3;

	ran = 0;
	assert_int_equal(xv_rcu_init(), 0);
	assert_int_equal(xv_rcu_register(0), 0);
	assert_int_equal(xv_rcu_register(63), 0);
	assert_int_equal(xv_rcu_register(64), -EINVAL);

	/* Readers start offline: nobody to wait for. */
	xv_rcu_defer(note, &one);
	assert_int_equal(xv_rcu_poll(), 0);
	assert_int_equal(ran, 1);

	xv_rcu_online(0);
	xv_rcu_online(63);
	xv_rcu_defer(note, &one);
	xv_rcu_quiescent(0);
	assert_int_equal(xv_rcu_poll(), 1);
	xv_rcu_defer(note, &two); /* reader 0 has not passed this one */
	xv_rcu_quiescent(63);
	assert_int_equal(xv_rcu_poll(), 1);
	assert_int_equal(ran, 2);
	xv_rcu_offline(0);
	assert_int_equal(xv_rcu_poll(), 0);
	assert_int_equal(ran, 3);
	assert_int_equal(order[1], 1);
	assert_int_equal(order[2], 2);

	xv_rcu_offline(63);
	xv_rcu_synchronize();

	/* One that defers again is not lost, also not at the end. */
	xv_rcu_defer(note_and_defer, &three);
	xv_rcu_unregister(0);
	xv_rcu_unregister(63);
	xv_rcu_fini();
	assert_int_equal(ran, 5);
	assert_null(xv_rcu);
	xv_rcu_fini();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(deferred_calls_wait),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
