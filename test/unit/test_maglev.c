/* SPDX-License-Identifier: Apache-2.0 */
/* Consistent hashing: shares by weight, few that move, the same for everybody. */
#include "unit.h"

#include <stdbool.h>
#include <string.h>

#include "table/maglev.h"

#define MANY XV_MAGLEV_BACKENDS

static void make(struct xv_maglev_backend *backends, unsigned int n, uint32_t weight)
{
	unsigned int i;

	for (i = 0; i < n; i++)
		backends[i] = (struct xv_maglev_backend){.name = xv_maglev_name(&i, sizeof(i)),
							 .weight = weight};
}

static void shares(const uint16_t *table, unsigned int *count, unsigned int n)
{
	unsigned int i;

	memset(count, 0, n * sizeof(count[0]));
	for (i = 0; i < XV_MAGLEV_SIZE; i++) {
		assert_in_range(table[i], 0, n - 1);
		count[table[i]]++;
	}
}

static void nobody(void **state)
{
	struct xv_maglev_backend backends[3];
	uint16_t table[XV_MAGLEV_SIZE];
	unsigned int i;

	(void)state;
	make(backends, 3, 0);
	xv_maglev_fill(table, backends, 3);
	for (i = 0; i < XV_MAGLEV_SIZE; i++)
		assert_int_equal(table[i], XV_MAGLEV_NONE);
	backends[1].weight = 1000;
	xv_maglev_fill(table, backends, 3);
	assert_int_equal(xv_maglev_pick(table, 0), 1);
	assert_int_equal(xv_maglev_pick(table, UINT32_MAX), 1);
	xv_maglev_fill(table, backends, 0);
	assert_int_equal(xv_maglev_pick(table, 1), XV_MAGLEV_NONE);
}

static void equal_shares(void **state)
{
	static const unsigned int sizes[] = {1, 2, 3, 10, 100, MANY};
	struct xv_maglev_backend backends[MANY];
	unsigned int count[MANY], i, b;
	uint16_t table[XV_MAGLEV_SIZE];

	(void)state;
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		make(backends, sizes[i], 7);
		xv_maglev_fill(table, backends, sizes[i]);
		shares(table, count, sizes[i]);
		for (b = 0; b < sizes[i]; b++)
			assert_in_range(count[b], XV_MAGLEV_SIZE / sizes[i],
					XV_MAGLEV_SIZE / sizes[i] + 1);
	}
}

static void shares_by_weight(void **state)
{
	struct xv_maglev_backend backends[10];
	unsigned int count[10], i, sum = 0;
	uint16_t table[XV_MAGLEV_SIZE];

	(void)state;
	make(backends, 10, 0);
	for (i = 0; i < 10; i++)
		sum += backends[i].weight = i * i; /* the first gets none */
	xv_maglev_fill(table, backends, 10);
	shares(table, count, 10);
	for (i = 0; i < 10; i++) {
		double want = (double)XV_MAGLEV_SIZE * backends[i].weight / sum;

		if (count[i] > want * 1.01 + 2 || count[i] < want * 0.99 - 2)
			fail_msg("backend %u has %u places, not %.0f", i, count[i], want);
	}
}

/* Of those that stay, in percent. */
static double moved(const uint16_t *before, const uint16_t *after, unsigned int gone)
{
	unsigned int i, stay = 0, n = 0;

	for (i = 0; i < XV_MAGLEV_SIZE; i++) {
		if (before[i] == gone)
			continue;
		stay++;
		n += after[i] != before[i];
	}
	return 100.0 * n / stay;
}

static void few_move(void **state)
{
	static const unsigned int sizes[] = {3, 10, 50};
	uint16_t before[XV_MAGLEV_SIZE], after[XV_MAGLEV_SIZE];
	struct xv_maglev_backend backends[50];
	unsigned int i, gone, j;

	(void)state;
	for (i = 0; i < 3; i++) {
		double worst = 0;

		make(backends, sizes[i], 1);
		xv_maglev_fill(before, backends, sizes[i]);
		for (gone = 0; gone < sizes[i]; gone++) {
			backends[gone].weight = 0;
			xv_maglev_fill(after, backends, sizes[i]);
			worst = moved(before, after, gone) > worst ? moved(before, after, gone)
								   : worst;
			backends[gone].weight = 1;
			/* And all as before when it is back. */
			xv_maglev_fill(after, backends, sizes[i]);
			for (j = 0; j < XV_MAGLEV_SIZE; j++)
				assert_int_equal(before[j], after[j]);
		}
		print_message("%u backends, one goes: at most %.2f %% of others move\n", sizes[i],
			      worst);
		assert_true(worst < 2.0);
	}
}

static void order_does_not_matter(void **state)
{
	struct xv_maglev_backend one[20], other[20];
	uint16_t a[XV_MAGLEV_SIZE], b[XV_MAGLEV_SIZE];
	unsigned int i;

	(void)state;
	make(one, 20, 3);
	for (i = 0; i < 20; i++)
		other[i] = one[19 - i];
	xv_maglev_fill(a, one, 20);
	xv_maglev_fill(b, other, 20);
	for (i = 0; i < XV_MAGLEV_SIZE; i++)
		assert_int_equal(a[i], 19 - b[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nobody),
		cmocka_unit_test(equal_shares),
		cmocka_unit_test(shares_by_weight),
		cmocka_unit_test(few_move),
		cmocka_unit_test(order_does_not_matter),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
