/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One writer and three readers. Flows are told apart by word 0: permanent ones, which are replaced
 * but never gone, and others that come and go, in the same subtables and in some of their own. A
 * flow that is freed is marked before: a reader that gets one sees the mark (and the thread
 * sanitizer a race).
 */
#include "unit.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "table/classifier.h"
#include "table/rcu.h"

#define READERS   3
#define WORDS     8
#define MASKS     12
#define PERMANENT 200 /* numbers below: in the first half of the masks only */
#define CHURNING  600
#define STEPS     40000
#define FREED     UINT32_MAX

struct flow {
	uint32_t number;
	struct xv_cls_rule rule;
};

static const unsigned int stage_ends[] = {2, 4, WORDS};
static struct xv_classifier *cls;
static struct xv_cls_reader *readers[READERS];
static struct flow *flows[PERMANENT + CHURNING];
static atomic_bool stop, failed;
static _Atomic uint32_t found_churning, passes;

static uint32_t mask_number(uint32_t number)
{
	return number % (number < PERMANENT ? MASKS / 2 : MASKS);
}

static void mask_of(uint32_t number, uint64_t *mask)
{
	uint32_t n = mask_number(number);

	memset(mask, 0, WORDS * sizeof(*mask));
	mask[0] = UINT64_MAX;
	mask[1] = n & 1 ? 0xff : 0;
	mask[3] = n & 2 ? 0xff00 : 0;
	mask[6] = UINT64_MAX >> n;
}

static void key_of(uint32_t number, uint64_t *key)
{
	memset(key, 0, WORDS * sizeof(*key));
	key[0] = number;
	key[1] = number % 16;
	key[3] = number % 8 << 8;
	key[5] = number * 77; /* never compared */
	key[6] = 1;
}

static struct flow *flow_of(struct xv_cls_rule *rule)
{
	return rule ? (struct flow *)(void *)((char *)rule - offsetof(struct flow, rule)) : NULL;
}

static struct flow *flow_create(uint32_t number)
{
	uint64_t mask[WORDS];
	struct flow *flow;

	mask_of(number, mask);
	flow = malloc(offsetof(struct flow, rule.key) +
		      xv_classifier_rule_words(cls, mask) * sizeof(uint64_t));
	assert_non_null(flow);
	flow->number = number;
	return flow;
}

static void flow_free(void *arg)
{
	struct flow *flow = arg;

	flow->number = FREED;
	free(flow);
}

static void flow_insert(uint32_t number)
{
	uint64_t key[WORDS], mask[WORDS];

	flows[number] = flow_create(number);
	key_of(number, key);
	mask_of(number, mask);
	assert_int_equal(xv_classifier_insert(cls, &flows[number]->rule, key, mask, NULL), 0);
}

static void flow_remove(uint32_t number)
{
	xv_classifier_remove(cls, &flows[number]->rule);
	xv_rcu_defer(flow_free, flows[number]);
	flows[number] = NULL;
}

static void flow_replace(uint32_t number)
{
	struct flow *flow = flow_create(number);

	xv_classifier_replace(cls, &flows[number]->rule, &flow->rule);
	xv_rcu_defer(flow_free, flows[number]);
	flows[number] = flow;
}

static void *reader_run(void *arg)
{
	unsigned int id = (unsigned int)(uintptr_t)arg, i, n;
	uint64_t keys[XV_CLS_BURST][WORDS], seed = id + 1;
	const uint64_t *burst[XV_CLS_BURST];
	struct xv_cls_rule *rules[XV_CLS_BURST];
	uint32_t numbers[XV_CLS_BURST], found = 0;

	if (xv_rcu_register(id))
		failed = true;
	xv_rcu_online(id);
	while (!stop) {
		n = 1 + unit_random(&seed, XV_CLS_BURST);
		for (i = 0; i < n; i++) {
			numbers[i] = unit_random(
				&seed, unit_random(&seed, 2) ? PERMANENT : PERMANENT + CHURNING);
			key_of(numbers[i], keys[i]);
			burst[i] = keys[i];
		}
		xv_classifier_lookup_burst(cls, readers[id], burst, n, rules);
		for (i = 0; i < n; i++) {
			if (rules[i] ? flow_of(rules[i])->number != numbers[i]
				     : numbers[i] < PERMANENT)
				failed = true;
			found += rules[i] && numbers[i] >= PERMANENT;
		}
		xv_rcu_quiescent(id);
		passes++;
		/* Now and then as a worker that sleeps. */
		if (unit_random(&seed, 64) == 0) {
			xv_rcu_offline(id);
			xv_rcu_online(id);
		}
	}
	xv_rcu_offline(id);
	xv_rcu_unregister(id);
	found_churning += found;
	return NULL;
}

static void visit(struct xv_cls_rule *rule, void *arg)
{
	struct flow *flow = flow_of(rule);
	uint32_t *permanent = arg;

	assert_true(flow->number < PERMANENT + CHURNING);
	assert_ptr_equal(flows[flow->number], flow);
	*permanent += flow->number < PERMANENT;
}

static void run(bool weak)
{
	struct xv_cls_cursor cursor = {0};
	struct xv_cls_stats stats;
	pthread_t threads[READERS];
	uint32_t i, number, permanent = 0, walks = 0, full;
	uint64_t seed = 99;

	assert_int_equal(xv_rcu_init(), 0);
	assert_int_equal(xv_classifier_create(WORDS, stage_ends, 3, &cls), 0);
	if (weak)
		xv_classifier_weaken(cls, UINT64_C(1) << 60);
	stop = failed = false;
	found_churning = passes = 0;
	for (i = 0; i < PERMANENT; i++)
		flow_insert(i);
	for (i = 0; i < READERS; i++) {
		assert_int_equal(xv_cls_reader_create(cls, &readers[i]), 0);
		assert_int_equal(
			pthread_create(&threads[i], NULL, reader_run, (void *)(uintptr_t)i), 0);
	}
	/* Until enough was done on both sides. */
	for (i = 0; (i < STEPS || passes < 5000) && !failed; i++) {
		/* Fill and empty in turn, so that tables, filters and whole subtables come and go.
		 */
		full = i / 2000 % 2 ? 90 : 10;
		number = PERMANENT + unit_random(&seed, CHURNING);
		if (!flows[number] && unit_random(&seed, 100) < full)
			flow_insert(number);
		else if (flows[number] && unit_random(&seed, 100) >= full)
			flow_remove(number);
		if (i % 4 == 0)
			flow_replace(unit_random(&seed, PERMANENT));
		if (i % 64 == 0)
			xv_classifier_rank(cls);
		if (i % 16 == 0 && !xv_classifier_walk(cls, &cursor, 20, visit, &permanent)) {
			assert_int_equal(permanent, PERMANENT);
			permanent = 0;
			cursor = (struct xv_cls_cursor){0};
			walks++;
		}
		xv_rcu_poll();
	}
	stop = true;
	for (i = 0; i < READERS; i++)
		pthread_join(threads[i], NULL);
	assert_false(failed);
	assert_true(walks > 0 && found_churning > 0);
	xv_classifier_stats(cls, &stats);
	assert_true(stats.hits > 0 && stats.lookups > stats.hits && stats.visits > stats.lookups);
	for (i = 0; i < PERMANENT + CHURNING; i++)
		if (flows[i])
			flow_remove(i);
	xv_classifier_stats(cls, &stats);
	assert_int_equal(stats.rules, 0);
	assert_int_equal(stats.bytes, 0);
	xv_rcu_fini();
	xv_classifier_destroy(cls);
}

static void readers_and_writer(void **state)
{
	run(false);
}

static void readers_and_writer_with_collisions(void **state)
{
	run(true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(readers_and_writer),
		cmocka_unit_test(readers_and_writer_with_collisions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
