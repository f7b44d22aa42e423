/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "table/mac_table.h"

/* A key for a small number, spread as real addresses are not. */
static uint64_t key_of(uint32_t n)
{
	uint8_t mac[6] = {2,         0, (uint8_t)(n >> 24), (uint8_t)(n >> 16), (uint8_t)(n >> 8),
			  (uint8_t)n};

	return xv_mac_key(mac, (uint16_t)(n % 3 * 100));
}

static void keys(void **state)
{
	static const uint8_t zero[6], ones[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

	assert_int_equal(xv_mac_key(zero, 0), 0x1000);
	assert_int_equal(xv_mac_key(ones, 4095), UINT64_C(0xffffffffffff1fff));
	assert_true(xv_mac_key(zero, 1) != xv_mac_key(zero, 2));
}

static void arguments(void **state)
{
	struct xv_mac_table *t;

	assert_int_equal(xv_mac_table_create(0, &t), -EINVAL);
	assert_int_equal(xv_mac_table_create((1u << 20) + 1, &t), -EINVAL);
	assert_int_equal(xv_mac_table_create(1u << 20, &t), 0);
	assert_int_equal(xv_mac_table_lookup(t, key_of(1)), XV_MAC_NONE);
	xv_mac_table_destroy(t);
	xv_mac_table_destroy(NULL);
}

#define MODEL_KEYS 64
struct model {
	bool present[MODEL_KEYS];
	uint16_t port[MODEL_KEYS];
	uint32_t seen_s[MODEL_KEYS];
	unsigned int walked;
	bool wrong;
};

static void model_visit(uint64_t key, uint16_t port, uint32_t seen_s, void *arg)
{
	struct model *model = arg;
	unsigned int i;

	model->walked++;
	for (i = 0; i < MODEL_KEYS; i++)
		if (key_of(i) == key)
			break;
	if (i == MODEL_KEYS || !model->present[i] || model->port[i] != port ||
	    model->seen_s[i] != seen_s)
		model->wrong = true;
}

static unsigned int model_count(const struct model *model)
{
	unsigned int i, n = 0;

	for (i = 0; i < MODEL_KEYS; i++)
		n += model->present[i];
	return n;
}

static void check_model(struct xv_mac_table *t, struct model *model)
{
	uint64_t all[MODEL_KEYS];
	uint16_t ports[MODEL_KEYS];
	unsigned int i;

	assert_int_equal(xv_mac_table_count(t), model_count(model));
	model->walked = 0;
	xv_mac_table_walk(t, model_visit, model);
	assert_false(model->wrong);
	assert_int_equal(model->walked, model_count(model));
	for (i = 0; i < MODEL_KEYS; i++)
		all[i] = key_of(i);
	xv_mac_table_lookup_burst(t, all, MODEL_KEYS, ports);
	for (i = 0; i < MODEL_KEYS; i++) {
		assert_int_equal(ports[i], model->present[i] ? model->port[i] : XV_MAC_NONE);
		assert_int_equal(xv_mac_table_lookup(t, all[i]), ports[i]);
	}
}

/* Random operations on the table and on an array; they must agree. */
static void against_model(void **state)
{
	static const uint32_t limits[] = {1, 2, 3, 7, 16, 40, 64, 1000};
	uint64_t seed = 1;
	unsigned int l, i, k;

	for (l = 0; l < sizeof(limits) / sizeof(limits[0]); l++) {
		struct model model = {0};
		struct xv_mac_table *t;
		/* The clock runs over its end on the way. */
		uint32_t now_s = UINT32_MAX - 100, n, expect;
		uint64_t refused = 0;

		assert_int_equal(xv_mac_table_create(limits[l], &t), 0);
		for (i = 0; i < 5000; i++) {
			uint16_t port = (uint16_t)unit_random(&seed, 8);

			k = unit_random(&seed, MODEL_KEYS);
			expect = 0;
			switch (unit_random(&seed, 100)) {
			default:
				xv_mac_table_learn(t, key_of(k), port, now_s);
				if (!model.present[k] && model_count(&model) >= limits[l]) {
					refused++;
					break;
				}
				model.present[k] = true;
				model.port[k] = port;
				model.seen_s[k] = now_s;
				break;
			case 0:
				for (k = 0; k < MODEL_KEYS; k++) {
					if (model.present[k] && model.port[k] == port) {
						model.present[k] = false;
						expect++;
					}
				}
				assert_int_equal(xv_mac_table_flush(t, port), expect);
				break;
			case 1:
				expect = model_count(&model);
				memset(model.present, 0, sizeof(model.present));
				assert_int_equal(xv_mac_table_flush(t, XV_MAC_NONE), expect);
				break;
			case 2:
			case 3:
			case 4:
				n = unit_random(&seed, 20);
				for (k = 0; k < MODEL_KEYS; k++) {
					if (model.present[k] && now_s - model.seen_s[k] >= n) {
						model.present[k] = false;
						expect++;
					}
				}
				assert_int_equal(xv_mac_table_age(t, now_s, n), expect);
				break;
			case 5:
			case 6:
				now_s++;
				break;
			}
			assert_int_equal(xv_mac_table_refused(t), refused);
			if (i % 16 == 0)
				check_model(t, &model);
		}
		xv_mac_table_destroy(t);
	}
}

/* A table takes as many addresses as it says, whatever its random seeds. */
static void fills_to_limit(void **state)
{
	static const uint32_t limits[] = {4, 8, 16, 64, 256, 1024, 65536};
	struct xv_mac_table *t;
	unsigned int l, round;
	uint32_t i;

	for (l = 0; l < sizeof(limits) / sizeof(limits[0]); l++) {
		for (round = 0; round < 65536 / limits[l] && round < 1000; round++) {
			assert_int_equal(xv_mac_table_create(limits[l], &t), 0);
			for (i = 0; i < limits[l]; i++)
				xv_mac_table_learn(t, key_of(i), (uint16_t)(i % 1024), 1);
			assert_int_equal(xv_mac_table_count(t), limits[l]);
			assert_int_equal(xv_mac_table_refused(t), 0);
			for (i = 0; i < limits[l]; i++)
				assert_int_equal(xv_mac_table_lookup(t, key_of(i)), i % 1024);
			xv_mac_table_learn(t, key_of(i), 1, 1);
			assert_int_equal(xv_mac_table_lookup(t, key_of(i)), XV_MAC_NONE);
			assert_int_equal(xv_mac_table_refused(t), 1);
			/* A known one may still move. */
			xv_mac_table_learn(t, key_of(0), 999, 2);
			assert_int_equal(xv_mac_table_lookup(t, key_of(0)), 999);
			assert_int_equal(xv_mac_table_flush(t, XV_MAC_NONE), limits[l]);
			xv_mac_table_destroy(t);
		}
	}
}

static void never_older(void **state)
{
	struct xv_mac_table *t;

	assert_int_equal(xv_mac_table_create(10, &t), 0);
	xv_mac_table_learn(t, key_of(1), 5, 100);
	xv_mac_table_learn(t, key_of(1), 5, 99); /* another worker's clock */
	assert_int_equal(xv_mac_table_age(t, 99, 1), 0);
	assert_int_equal(xv_mac_table_age(t, 109, 10), 0);
	assert_int_equal(xv_mac_table_age(t, 110, 10), 1);
	xv_mac_table_destroy(t);
}

/*
 * Three workers learn and look up while the control thread ages, flushes and walks. Key n is only
 * ever seen on ports n % 100 and n % 100 + 1000: any other answer is torn.
 */
#define THREAD_KEYS   600
#define THREAD_ROUNDS 60000
static struct xv_mac_table *shared;
static _Atomic bool failed;

static bool is_right(uint32_t n, uint16_t port)
{
	return port == n % 100 || port == n % 100 + 1000;
}

static void *work(void *arg)
{
	uint64_t seed = (uintptr_t)arg, burst[64];
	uint32_t n[64], i, k;
	uint16_t ports[64];

	for (i = 0; i < THREAD_ROUNDS / 64; i++) {
		for (k = 0; k < 64; k++) {
			n[k] = unit_random(&seed, THREAD_KEYS);
			burst[k] = key_of(n[k]);
		}
		xv_mac_table_lookup_burst(shared, burst, 64, ports);
		for (k = 0; k < 64; k++) {
			if (ports[k] != XV_MAC_NONE && !is_right(n[k], ports[k]))
				failed = true;
			xv_mac_table_learn(shared, burst[k],
					   (uint16_t)(n[k] % 100 + 1000 * unit_random(&seed, 2)),
					   i / 16);
		}
	}
	return NULL;
}

static void visit_shared(uint64_t key, uint16_t port, uint32_t seen_s, void *arg)
{
	unsigned int *count = arg;
	uint32_t n = (uint32_t)(key >> 16);

	if (n >= THREAD_KEYS || key != key_of(n) || !is_right(n, port))
		failed = true;
	(*count)++;
}

static void threads(void **state)
{
	pthread_t workers[3];
	unsigned int i, count;

	/* Small, so that entries are often moved and refused. */
	assert_int_equal(xv_mac_table_create(400, &shared), 0);
	for (i = 0; i < 3; i++)
		assert_int_equal(
			pthread_create(&workers[i], NULL, work, (void *)(uintptr_t)(i + 1)), 0);
	for (i = 0; i < 200; i++) {
		count = 0;
		xv_mac_table_walk(shared, visit_shared, &count);
		if (i % 8 == 0)
			xv_mac_table_age(shared, i / 3, 2);
		if (i % 16 == 1)
			xv_mac_table_flush(shared, (uint16_t)(i % 100));
		if (i % 64 == 2)
			xv_mac_table_flush(shared, XV_MAC_NONE);
		if (xv_mac_table_count(shared) > 400)
			failed = true;
	}
	for (i = 0; i < 3; i++)
		pthread_join(workers[i], NULL);
	assert_false(failed);
	count = 0;
	xv_mac_table_walk(shared, visit_shared, &count);
	assert_false(failed);
	assert_int_equal(count, xv_mac_table_count(shared));
	assert_int_equal(xv_mac_table_flush(shared, XV_MAC_NONE), count);
	assert_int_equal(xv_mac_table_count(shared), 0);
	xv_mac_table_destroy(shared);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys),          cmocka_unit_test(arguments),
		cmocka_unit_test(against_model), cmocka_unit_test(fills_to_limit),
		cmocka_unit_test(never_older),   cmocka_unit_test(threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
