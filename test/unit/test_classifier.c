/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "table/classifier.h"
#include "table/rcu.h"

#define WORDS 12
static const unsigned int stage_ends[] = {3, 6, 9, WORDS};

struct flow {
	uint32_t id;
	struct xv_cls_rule rule;
};

static struct flow *flow_of(struct xv_cls_rule *rule)
{
	return rule ? (struct flow *)(void *)((char *)rule - offsetof(struct flow, rule)) : NULL;
}

/* As much memory as is needed, so that a sanitizer sees what goes beyond. */
static struct flow *flow_create(const struct xv_classifier *cls, const uint64_t *mask, uint32_t id)
{
	struct flow *flow = malloc(offsetof(struct flow, rule.key) +
				   xv_classifier_rule_words(cls, mask) * sizeof(uint64_t));

	assert_non_null(flow);
	flow->id = id;
	return flow;
}

static struct xv_classifier *classifier_create(void)
{
	struct xv_classifier *cls;

	assert_int_equal(xv_classifier_create(WORDS, stage_ends, 4, &cls), 0);
	return cls;
}

static void remove_and_free(struct xv_classifier *cls, struct flow *flow)
{
	xv_classifier_remove(cls, &flow->rule);
	xv_rcu_defer(free, flow);
	/* Nobody is registered: freed now, so that a sanitizer sees a use. */
	assert_int_equal(xv_rcu_poll(), 0);
}

static struct xv_cls_stats stats_of(const struct xv_classifier *cls)
{
	struct xv_cls_stats stats;

	xv_classifier_stats(cls, &stats);
	return stats;
}

static void arguments(void **state)
{
	static const unsigned int falls[] = {3, 3, 12}, longer[] = {3, 129}, whole[] = {1};
	uint64_t key = 5, mask = 0, got;
	struct xv_cls_rule *existing;
	struct xv_classifier *cls;
	struct flow *flow, *other;

	assert_int_equal(xv_classifier_create(WORDS, falls, 3, &cls), -EINVAL);
	assert_int_equal(xv_classifier_create(129, longer, 2, &cls), -EINVAL);
	assert_int_equal(xv_classifier_create(WORDS, stage_ends, 3, &cls), -EINVAL);
	assert_int_equal(xv_classifier_create(WORDS, stage_ends, 0, &cls), -EINVAL);
	assert_int_equal(xv_classifier_create(0, stage_ends, 1, &cls), -EINVAL);
	xv_classifier_destroy(NULL);

	/* The mask that compares nothing matches all. */
	assert_int_equal(xv_classifier_create(1, whole, 1, &cls), 0);
	assert_int_equal(xv_classifier_rule_words(cls, &mask), 0);
	assert_null(xv_classifier_lookup(cls, NULL, &key));
	assert_null(xv_classifier_find(cls, &key, &mask));
	flow = flow_create(cls, &mask, 1);
	other = flow_create(cls, &mask, 2);
	assert_int_equal(xv_classifier_insert(cls, &flow->rule, &key, &mask, NULL), 0);
	assert_ptr_equal(xv_classifier_lookup(cls, NULL, &key), &flow->rule);
	key = 6;
	assert_ptr_equal(xv_classifier_lookup(cls, NULL, &key), &flow->rule);
	assert_int_equal(xv_classifier_insert(cls, &other->rule, &key, &mask, NULL), -EEXIST);
	assert_int_equal(xv_classifier_insert(cls, &other->rule, &key, &mask, &existing), -EEXIST);
	assert_ptr_equal(existing, &flow->rule);
	xv_classifier_rule_get(cls, &flow->rule, &got, NULL);
	assert_int_equal(got, 0);
	remove_and_free(cls, flow);
	assert_null(xv_classifier_lookup(cls, NULL, &key));
	free(other);
	xv_classifier_destroy(cls);
}

/* The model: a list of rules, and a scan. */
#define MODEL_MASKS 200
#define MODEL_RULES 600
struct model {
	struct xv_classifier *cls;
	struct xv_cls_reader *reader;
	uint64_t seed;
	uint64_t masks[MODEL_MASKS][WORDS];
	unsigned int n_masks;
	struct model_rule {
		struct flow *flow; /* NULL: not there */
		const uint64_t *mask;
		uint64_t key[WORDS]; /* masked */
		bool wanted;         /* was there when the walk began */
		unsigned int visits; /* since */
	} rules[MODEL_RULES];
	unsigned int n_rules;
	struct xv_cls_cursor cursor;
};

/* Few values, alike in some bytes: keys are equal, or nearly so, often. */
static void random_key(struct model *m, uint64_t *key)
{
	static const uint64_t values[] = {0, 1, 0x0100, 0x0101, UINT64_MAX, UINT64_C(1) << 63};
	unsigned int i;

	for (i = 0; i < WORDS; i++)
		key[i] = values[unit_random(&m->seed, unit_random(&m->seed, 4) ? 3 : 6)];
}

static void random_mask(struct model *m, uint64_t *mask)
{
	static const uint64_t values[] = {UINT64_MAX, UINT64_MAX, 0xffff,
					  0xff,       0xff00,     UINT64_C(1) << 63};
	unsigned int i, of_nine = 3 + unit_random(&m->seed, 6);

	for (i = 0; i < WORDS; i++)
		mask[i] = unit_random(&m->seed, 9) < of_nine ? values[unit_random(&m->seed, 6)] : 0;
}

static bool model_matches(const struct model_rule *r, const uint64_t *key)
{
	unsigned int i;

	for (i = 0; i < WORDS; i++)
		if ((key[i] & r->mask[i]) != r->key[i])
			return false;
	return true;
}

/* The model's number for this key and mask, or that of one that is free. */
static unsigned int model_find(const struct model *m, const uint64_t *key, const uint64_t *mask)
{
	unsigned int i, free_one = MODEL_RULES;

	for (i = 0; i < MODEL_RULES; i++) {
		if (!m->rules[i].flow)
			free_one = i;
		else if (m->rules[i].mask == mask && model_matches(&m->rules[i], key))
			return i;
	}
	return free_one;
}

static void check_found(const struct model *m, const uint64_t *key, struct xv_cls_rule *rule)
{
	struct flow *flow = flow_of(rule);
	unsigned int i;

	if (flow) {
		assert_true(flow->id < MODEL_RULES);
		assert_ptr_equal(m->rules[flow->id].flow, flow);
		assert_true(model_matches(&m->rules[flow->id], key));
		return;
	}
	for (i = 0; i < MODEL_RULES; i++)
		assert_false(m->rules[i].flow && model_matches(&m->rules[i], key));
}

static void check_lookups(struct model *m)
{
	uint64_t keys[XV_CLS_BURST][WORDS];
	const uint64_t *burst[XV_CLS_BURST];
	struct xv_cls_rule *rules[XV_CLS_BURST];
	unsigned int i, n = unit_random(&m->seed, XV_CLS_BURST + 1), r, w;
	bool counted = unit_random(&m->seed, 2);

	for (i = 0; i < n; i++) {
		random_key(m, keys[i]);
		burst[i] = keys[i];
		/* Half of them match a rule, or miss it by one word. */
		r = unit_random(&m->seed, MODEL_RULES);
		if (m->rules[r].flow && unit_random(&m->seed, 2)) {
			for (w = 0; w < WORDS; w++)
				keys[i][w] =
					m->rules[r].key[w] | (keys[i][w] & ~m->rules[r].mask[w]);
			if (unit_random(&m->seed, 2))
				keys[i][unit_random(&m->seed, WORDS)] ^=
					UINT64_C(1) << unit_random(&m->seed, 64);
		}
	}
	xv_classifier_lookup_burst(m->cls, counted ? m->reader : NULL, burst, n, rules);
	for (i = 0; i < n; i++) {
		check_found(m, keys[i], rules[i]);
		assert_ptr_equal(xv_classifier_lookup(m->cls, m->reader, keys[i]), rules[i]);
		check_found(m, keys[i], xv_classifier_lookup_recent(m->cls, m->reader, keys[i],
								    unit_random(&m->seed, 3)));
	}
}

static void model_insert(struct model *m)
{
	const uint64_t *mask = m->masks[unit_random(&m->seed, m->n_masks)];
	uint64_t key[WORDS], got_key[WORDS], got_mask[WORDS];
	struct xv_cls_rule *existing = NULL;
	struct flow *flow;
	unsigned int i, w;
	int ret;

	random_key(m, key);
	i = model_find(m, key, mask);
	if (i == MODEL_RULES)
		return;
	flow = flow_create(m->cls, mask, i);
	ret = xv_classifier_insert(m->cls, &flow->rule, key, mask, &existing);
	if (m->rules[i].flow) {
		assert_int_equal(ret, -EEXIST);
		assert_ptr_equal(existing, &m->rules[i].flow->rule);
		free(flow);
		return;
	}
	assert_int_equal(ret, 0);
	m->rules[i] = (struct model_rule){.flow = flow, .mask = mask};
	for (w = 0; w < WORDS; w++)
		m->rules[i].key[w] = key[w] & mask[w];
	m->n_rules++;
	xv_classifier_rule_get(m->cls, &flow->rule, got_key, got_mask);
	assert_memory_equal(got_key, m->rules[i].key, sizeof(got_key));
	assert_memory_equal(got_mask, mask, sizeof(got_mask));
}

static void model_remove(struct model *m, unsigned int i)
{
	if (!m->rules[i].flow)
		return;
	remove_and_free(m->cls, m->rules[i].flow);
	m->rules[i].flow = NULL;
	m->n_rules--;
}

static void model_replace(struct model *m, unsigned int i)
{
	struct flow *flow;

	if (!m->rules[i].flow)
		return;
	flow = flow_create(m->cls, m->rules[i].mask, i);
	xv_classifier_replace(m->cls, &m->rules[i].flow->rule, &flow->rule);
	xv_rcu_defer(free, m->rules[i].flow);
	xv_rcu_poll();
	m->rules[i].flow = flow;
}

static void check_find(struct model *m)
{
	const uint64_t *mask = m->masks[unit_random(&m->seed, m->n_masks)];
	struct xv_cls_rule *rule;
	uint64_t key[WORDS];
	unsigned int i;

	random_key(m, key);
	i = model_find(m, key, mask);
	rule = xv_classifier_find(m->cls, key, mask);
	if (i == MODEL_RULES || !m->rules[i].flow)
		assert_null(rule);
	else
		assert_ptr_equal(flow_of(rule), m->rules[i].flow);
}

static void model_visit(struct xv_cls_rule *rule, void *arg)
{
	struct model *m = arg;
	struct flow *flow = flow_of(rule);

	assert_true(flow->id < MODEL_RULES);
	assert_ptr_equal(m->rules[flow->id].flow, flow);
	m->rules[flow->id].visits++;
}

/* A step of a walk that other operations come between. */
static void walk_step(struct model *m)
{
	unsigned int i;

	if (xv_classifier_walk(m->cls, &m->cursor, 1 + unit_random(&m->seed, 40), model_visit, m))
		return;
	for (i = 0; i < MODEL_RULES; i++) {
		if (!m->rules[i].flow)
			continue;
		if (m->rules[i].wanted)
			assert_int_equal(m->rules[i].visits, 1);
		else
			assert_in_range(m->rules[i].visits, 0, 1);
		m->rules[i].wanted = true;
		m->rules[i].visits = 0;
	}
	m->cursor = (struct xv_cls_cursor){0};
}

static unsigned int model_masks(const struct model *m)
{
	bool used[MODEL_MASKS] = {false};
	unsigned int i, n = 0;

	for (i = 0; i < MODEL_RULES; i++)
		if (m->rules[i].flow)
			used[(m->rules[i].mask - m->masks[0]) / WORDS] = true;
	for (i = 0; i < MODEL_MASKS; i++)
		n += used[i];
	return n;
}

/* Masks that differ. */
static void model_masks_fill(struct model *m, unsigned int n)
{
	unsigned int i;

	while (m->n_masks < n) {
		random_mask(m, m->masks[m->n_masks]);
		for (i = 0; i < m->n_masks; i++)
			if (memcmp(m->masks[i], m->masks[m->n_masks], sizeof(m->masks[0])) == 0)
				break;
		m->n_masks += i == m->n_masks;
	}
}

static void run_model(uint64_t seed, unsigned int n_masks, unsigned int steps, bool weak,
		      uint64_t multiplier)
{
	struct model *m = calloc(1, sizeof(*m));
	unsigned int i, inserts;
	struct xv_cls_stats stats;

	assert_non_null(m);
	m->seed = seed;
	m->cls = classifier_create();
	if (weak)
		xv_classifier_weaken(m->cls, multiplier);
	assert_int_equal(xv_cls_reader_create(m->cls, &m->reader), 0);
	model_masks_fill(m, n_masks);
	for (i = 0; i < steps; i++) {
		/* It fills up and empties in turn. */
		inserts = i / (steps / 6 + 1) % 2 ? 20 : 60;
		switch (unit_random(&m->seed, 100)) {
		default:
			if (unit_random(&m->seed, 90) < inserts)
				model_insert(m);
			else
				model_remove(m, unit_random(&m->seed, MODEL_RULES));
			break;
		case 0:
			check_lookups(m);
			break;
		case 1:
			xv_classifier_rank(m->cls);
			break;
		case 2:
		case 3:
			walk_step(m);
			break;
		case 4:
		case 5:
			model_replace(m, unit_random(&m->seed, MODEL_RULES));
			break;
		case 6:
		case 7:
			check_find(m);
			break;
		}
		if (i % 64 == 0) {
			stats = stats_of(m->cls);
			assert_int_equal(stats.rules, m->n_rules);
			assert_int_equal(stats.subtables, model_masks(m));
		}
	}
	for (i = 0; i < MODEL_RULES; i++)
		model_remove(m, i);
	stats = stats_of(m->cls);
	assert_int_equal(stats.rules, 0);
	assert_int_equal(stats.subtables, 0);
	assert_int_equal(stats.bytes, 0);
	assert_true(stats.hits > 0 && stats.lookups > stats.hits);
	xv_classifier_destroy(m->cls);
	free(m);
}

static void against_model(void **state)
{
	run_model(1, 1, 10000, false, 0);
	run_model(2, 3, 10000, false, 0);
	run_model(3, 20, 20000, false, 0);
	run_model(4, MODEL_MASKS, 40000, false, 0);
}

static void against_model_with_collisions(void **state)
{
	/* All have one hash. */
	run_model(5, 1, 10000, true, 0);
	run_model(6, 20, 10000, true, 0);
	/* Few hashes, few tags, whole buckets alike. */
	run_model(7, 1, 10000, true, UINT64_C(0x9fb21c651e98df25));
	run_model(8, 3, 10000, true, UINT64_C(1) << 62);
	run_model(9, MODEL_MASKS, 20000, true, UINT64_C(1) << 56);
}

/* One subtable with very many rules: grows, finds all, gives the memory back. */
#define MANY 1000000u

static void many_key(uint32_t n, uint64_t *key)
{
	memset(key, 0, WORDS * sizeof(*key));
	key[0] = n % 7;
	key[4] = n / 1000;
	key[7] = (uint64_t)n << 32 | 1;
	key[10] = n * UINT64_C(0x0100000001);
}

static void many_rules(void **state)
{
	static const uint64_t mask[WORDS] = {
		0xff, 0, 0, 0, UINT64_MAX, 0, 0, UINT64_MAX << 32, 0, 0, UINT64_MAX, 0};
	struct xv_classifier *cls = classifier_create();
	struct flow **flows = calloc(MANY, sizeof(*flows));
	uint64_t keys[XV_CLS_BURST][WORDS];
	const uint64_t *burst[XV_CLS_BURST];
	struct xv_cls_rule *rules[XV_CLS_BURST];
	struct xv_cls_reader *reader;
	uint32_t i, k;

	assert_non_null(flows);
	assert_int_equal(xv_cls_reader_create(cls, &reader), 0);
	for (i = 0; i < MANY; i++) {
		many_key(i, keys[0]);
		flows[i] = flow_create(cls, mask, i);
		assert_int_equal(xv_classifier_insert(cls, &flows[i]->rule, keys[0], mask, NULL),
				 0);
		if (i % 1024 == 0)
			xv_rcu_poll();
	}
	assert_int_equal(stats_of(cls).rules, MANY);
	assert_int_equal(stats_of(cls).subtables, 1);
	/* A pointer, and at least one in four slots is in use. */
	assert_in_range(stats_of(cls).bytes, MANY * 8, MANY * 40);
	for (i = 0; i < MANY; i += XV_CLS_BURST) {
		for (k = 0; k < XV_CLS_BURST; k++) {
			many_key(i + k, keys[k]);
			keys[k][2] = 7; /* not compared */
			if (k % 8 == 7)
				keys[k][10]++;
			burst[k] = keys[k];
		}
		xv_classifier_lookup_burst(cls, reader, burst, XV_CLS_BURST, rules);
		for (k = 0; k < XV_CLS_BURST; k++)
			assert_ptr_equal(rules[k],
					 k % 8 == 7 || i + k >= MANY ? NULL : &flows[i + k]->rule);
	}
	for (i = 0; i < MANY; i++) {
		remove_and_free(cls, flows[i]);
		if (i == MANY - 500)
			assert_in_range(stats_of(cls).bytes, 0, 200000);
	}
	assert_int_equal(stats_of(cls).bytes, 0);
	free(flows);
	xv_classifier_destroy(cls);
}

/* As many masks as there may be, and one more. */
static void many_masks(void **state)
{
	static struct flow *flows[XV_CLS_MAX_SUBTABLES];
	struct xv_classifier *cls = classifier_create();
	uint64_t mask[WORDS] = {0}, key[WORDS] = {0};
	struct flow *flow;
	unsigned int i, round;

	for (round = 0; round < 2; round++) {
		for (i = 0; i < XV_CLS_MAX_SUBTABLES; i++) {
			mask[i % WORDS] = i + 1;
			key[i % WORDS] = i + 1;
			flows[i] = flow_create(cls, mask, i);
			assert_int_equal(
				xv_classifier_insert(cls, &flows[i]->rule, key, mask, NULL), 0);
			assert_ptr_equal(xv_classifier_find(cls, key, mask), &flows[i]->rule);
			assert_non_null(xv_classifier_lookup(cls, NULL, key));
			mask[i % WORDS] = key[i % WORDS] = 0;
		}
		mask[0] = UINT64_MAX;
		flow = flow_create(cls, mask, i);
		assert_int_equal(xv_classifier_insert(cls, &flow->rule, key, mask, NULL), -ENOSPC);
		free(flow);
		mask[0] = 0;
		assert_int_equal(stats_of(cls).subtables, XV_CLS_MAX_SUBTABLES);
		for (i = 0; i < XV_CLS_MAX_SUBTABLES; i++)
			remove_and_free(cls, flows[(i + 1000) % XV_CLS_MAX_SUBTABLES]);
		assert_int_equal(stats_of(cls).subtables, 0);
	}
	xv_classifier_destroy(cls);
}

/* How many subtables one look-up asks. */
static uint64_t visits_of(struct xv_classifier *cls, struct xv_cls_reader *reader,
			  const uint64_t *key)
{
	uint64_t before = stats_of(cls).visits;

	xv_classifier_lookup(cls, reader, key);
	return stats_of(cls).visits - before;
}

static void ranks(void **state)
{
	struct xv_classifier *cls = classifier_create();
	struct xv_cls_reader *reader, *other;
	uint64_t masks[10][WORDS] = {{0}}, keys[10][WORDS] = {{0}};
	struct flow *flows[10];
	unsigned int i, k;

	assert_int_equal(xv_cls_reader_create(cls, &reader), 0);
	assert_int_equal(xv_cls_reader_create(cls, &other), 0);
	for (i = 0; i < 10; i++) {
		masks[i][i] = UINT64_MAX;
		keys[i][i] = 1;
		flows[i] = flow_create(cls, masks[i], i);
		assert_int_equal(
			xv_classifier_insert(cls, &flows[i]->rule, keys[i], masks[i], NULL), 0);
	}
	for (i = 0; i < 10; i++)
		assert_int_equal(visits_of(cls, reader, keys[i]), i + 1);
	/* Without more hits than others nothing changes. */
	xv_classifier_rank(cls);
	assert_int_equal(visits_of(cls, reader, keys[9]), 10);
	for (i = 0; i < 10; i++)
		for (k = 0; k < i * 10; k++)
			xv_classifier_lookup(cls, k % 2 ? reader : other, keys[i]);
	xv_classifier_rank(cls);
	for (i = 0; i < 10; i++)
		assert_int_equal(visits_of(cls, reader, keys[i]), 10 - i);
	/* A reader that goes takes nothing along; what was is forgotten by and by. */
	xv_cls_reader_destroy(cls, other);
	xv_cls_reader_destroy(cls, NULL);
	for (k = 0; k < 90; k++)
		xv_classifier_lookup(cls, reader, keys[0]);
	xv_classifier_rank(cls);
	assert_int_equal(visits_of(cls, reader, keys[0]), 1);
	/* One that is new comes last, whatever was counted for a subtable that is gone. */
	remove_and_free(cls, flows[9]);
	flows[9] = flow_create(cls, masks[9], 9);
	assert_int_equal(xv_classifier_insert(cls, &flows[9]->rule, keys[9], masks[9], NULL), 0);
	xv_classifier_rank(cls);
	assert_int_equal(visits_of(cls, reader, keys[9]), 10);
	assert_int_equal(stats_of(cls).subtables, 10);
	for (i = 0; i < 10; i++)
		remove_and_free(cls, flows[i]);
	xv_classifier_destroy(cls);
}

static int set_up(void **state)
{
	return xv_rcu_init();
}

static int tear_down(void **state)
{
	xv_rcu_fini();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(arguments),
		cmocka_unit_test(against_model),
		cmocka_unit_test(against_model_with_collisions),
		cmocka_unit_test(many_rules),
		cmocka_unit_test(many_masks),
		cmocka_unit_test(ranks),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
