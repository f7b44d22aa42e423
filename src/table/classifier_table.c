/* SPDX-License-Identifier: Apache-2.0 */
/* The control side of a subtable's hash table and filters. */
#include "table/classifier_state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "table/rcu.h"

int xv_cls_table_create(uint32_t n_buckets, struct table **table)
{
	size_t size = sizeof(**table) + n_buckets * sizeof(struct bucket);
	struct table *t = aligned_alloc(CACHE_LINE, size);

	if (!t)
		return -ENOMEM;
	memset(t, 0, size);
	t->n_buckets = n_buckets;
	t->shift = 64 - (uint32_t)__builtin_ctz(n_buckets);
	*table = t;
	return 0;
}

void xv_cls_table_add(struct table *t, struct xv_cls_rule *rule)
{
	struct bucket *b = bucket_of(t, rule->hash);
	uint64_t tags, room;
	unsigned int slot;

	while (!(room = tags_match(tags = tags_of(b), 0))) {
		if (tags_passed(tags) < PASSED_FOREVER)
			atomic_store_explicit(&b->tags, tags + PASSED_ONE, memory_order_release);
		b = bucket_next(t, b);
	}
	slot = match_slot(room);
	/* Release: who sees the tag sees the rule, and who sees the rule by an older tag sees its
	 * key. */
	atomic_store_explicit(&b->slots[slot], rule, memory_order_release);
	atomic_store_explicit(&b->tags, tags | tag_of(rule->hash) << slot * 8,
			      memory_order_release);
}

struct bucket *xv_cls_table_locate(const struct table *t, const struct xv_cls_rule *rule,
				   unsigned int *slot)
{
	struct bucket *b = bucket_of(t, rule->hash);
	uint64_t match;

	for (;; b = bucket_next(t, b)) {
		for (match = tags_match(tags_of(b), tag_of(rule->hash)); match;
		     match &= match - 1) {
			*slot = match_slot(match);
			if (slot_of(b, *slot) == rule)
				return b;
		}
	}
}

void xv_cls_table_del(struct table *t, const struct xv_cls_rule *rule)
{
	struct bucket *passed = bucket_of(t, rule->hash), *b;
	unsigned int slot;
	uint64_t tags;

	b = xv_cls_table_locate(t, rule, &slot);
	atomic_store_explicit(&b->tags, tags_of(b) & ~(UINT64_C(0xff) << slot * 8),
			      memory_order_release);
	for (; passed != b; passed = bucket_next(t, passed)) {
		tags = tags_of(passed);
		if (tags_passed(tags) < PASSED_FOREVER)
			atomic_store_explicit(&passed->tags, tags - PASSED_ONE,
					      memory_order_release);
	}
}

/* Slots counted through all buckets: the rule in one, or NULL. */
static struct xv_cls_rule *table_at(const struct table *t, uint64_t position)
{
	const struct bucket *b = &t->buckets[position / BUCKET_SLOTS];
	unsigned int slot = position % BUCKET_SLOTS;

	return tags_of(b) >> slot * 8 & 0xff ? slot_of(b, slot) : NULL;
}

static uint64_t table_slots(const struct table *t)
{
	return (uint64_t)t->n_buckets * BUCKET_SLOTS;
}

/* Publish a table of another size. */
static int table_resize(struct xv_cls_subtable *st, uint32_t n_buckets)
{
	struct table *old = table_of(st), *t;
	struct xv_cls_rule *rule;
	uint64_t i, n = table_slots(old);
	int ret;

	if (n_buckets > BUCKETS_MAX)
		return -ENOSPC;
	if ((ret = xv_cls_table_create(n_buckets, &t)))
		return ret;
	for (i = 0; i < n; i++) {
		if (i + 16 < n)
			__builtin_prefetch(slot_of(&old->buckets[(i + 16) / BUCKET_SLOTS],
						   (i + 16) % BUCKET_SLOTS));
		rule = table_at(old, i);
		if (rule)
			xv_cls_table_add(t, rule);
	}
	atomic_store_explicit(&st->table, t, memory_order_release);
	xv_rcu_defer(free, old);
	return 0;
}

/* Make room for one more rule: never more than 5/8 full if there is memory. */
int xv_cls_table_grow(struct xv_cls_subtable *st)
{
	const struct table *t = table_of(st);
	int ret;

	if ((st->n_rules + 1) * UINT64_C(8) <= table_slots(t) * 5)
		return 0;
	ret = table_resize(st, t->n_buckets * 2);
	/* One slot stays free, always: it ends xv_cls_table_add(). */
	return ret && st->n_rules + 1 < table_slots(t) ? 0 : ret;
}

/* Give memory back, and filters another chance, when less than 1/8 is in use. */
void xv_cls_table_shrink(const struct xv_classifier *cls, struct xv_cls_subtable *st)
{
	const struct table *t = table_of(st);

	if (t->n_buckets == BUCKETS_MIN || st->n_rules * UINT64_C(8) >= table_slots(t))
		return;
	if (table_resize(st, t->n_buckets / 2) == 0)
		xv_cls_filters_fit(cls, st);
}

/* Filters */

void xv_cls_filter_free(void *arg)
{
	struct filter *f = arg;

	if (!f)
		return;
	free(f->counts);
	free(f);
}

static struct filter *filter_create(uint32_t n_bits)
{
	struct filter *f = calloc(1, sizeof(*f) + n_bits / 8);

	if (!f)
		return NULL;
	f->n_bits = n_bits;
	f->shift = 64 - (uint32_t)__builtin_ctz(n_bits);
	f->counts = calloc(n_bits, sizeof(*f->counts));
	if (!f->counts) {
		free(f);
		return NULL;
	}
	return f;
}

static void filter_flip(struct filter *f, uint32_t bit)
{
	uint64_t bits = atomic_load_explicit(&f->bits[bit / 64], memory_order_relaxed);

	atomic_store_explicit(&f->bits[bit / 64], bits ^ UINT64_C(1) << bit % 64,
			      memory_order_relaxed);
}

static void filter_add(const struct xv_classifier *cls, struct filter *f, uint64_t hash)
{
	uint32_t bit = filter_bit(cls, f, hash);

	if (f->counts[bit]++ == 0) {
		filter_flip(f, bit);
		f->n_set++;
	}
}

static void filter_del(const struct xv_classifier *cls, struct filter *f, uint64_t hash)
{
	uint32_t bit = filter_bit(cls, f, hash);

	if (--f->counts[bit] == 0) {
		filter_flip(f, bit);
		f->n_set--;
	}
}

/* A packet of no rule passes with this probability or less: 1/8; or 1/2 in the largest. */
static bool filter_is_full(const struct filter *f)
{
	return f->n_set > f->n_bits / (f->n_bits < FILTER_BITS_MAX ? 8 : 2);
}

void xv_cls_rule_expand(const struct xv_cls_rule *rule, uint64_t *key)
{
	const struct xv_cls_subtable *st = rule->subtable;
	unsigned int i;

	for (i = 0; i < st->n_words; i++)
		key[st->words[i].index] = rule->key[i];
}

/* The smallest filter, of n_bits or more, that the rules of a subtable do not fill; NULL if there
 * is none. */
static struct filter *filter_build(const struct xv_classifier *cls,
				   const struct xv_cls_subtable *st, unsigned int stage,
				   uint32_t n_bits)
{
	const struct table *t = table_of(st);
	uint64_t position, key[XV_CLS_MAX_WORDS];
	struct xv_cls_rule *rule;
	struct filter *f;

	for (; n_bits <= FILTER_BITS_MAX; n_bits *= FILTER_STEP) {
		f = filter_create(n_bits);
		if (!f)
			return NULL;
		for (position = 0; position < table_slots(t) && !filter_is_full(f); position++) {
			rule = table_at(t, position);
			if (!rule)
				continue;
			xv_cls_rule_expand(rule, key);
			filter_add(cls, f, hash_stages(st, stage, key));
		}
		if (!filter_is_full(f))
			return f;
		xv_cls_filter_free(f);
	}
	return NULL;
}

static void filter_replace(struct stage *s, struct filter *f)
{
	struct filter *old = filter_of(s);

	atomic_store_explicit(&s->filter, f, memory_order_release);
	if (old)
		xv_rcu_defer(xv_cls_filter_free, old);
}

/* Before the rule can be found: who passes the filters may find it, who does not is as before. */
void xv_cls_filters_add(const struct xv_classifier *cls, struct xv_cls_subtable *st,
			const uint64_t *key)
{
	struct filter *f;
	uint64_t hash;
	unsigned int i;

	for (i = 0; i + 1 < st->n_stages; i++) {
		f = filter_of(&st->stages[i]);
		if (!f)
			continue;
		hash = hash_stages(st, i, key);
		filter_add(cls, f, hash);
		if (!filter_is_full(f))
			continue;
		f = filter_build(cls, st, i, f->n_bits * FILTER_STEP);
		if (f)
			filter_add(cls, f, hash);
		filter_replace(&st->stages[i], f);
	}
}

void xv_cls_filters_del(const struct xv_classifier *cls, struct xv_cls_subtable *st,
			const uint64_t *key)
{
	struct filter *f;
	unsigned int i;

	for (i = 0; i + 1 < st->n_stages; i++) {
		f = filter_of(&st->stages[i]);
		if (f)
			filter_del(cls, f, hash_stages(st, i, key));
	}
}

void xv_cls_filters_fit(const struct xv_classifier *cls, struct xv_cls_subtable *st)
{
	const struct filter *f;
	unsigned int i;

	for (i = 0; i + 1 < st->n_stages; i++) {
		f = filter_of(&st->stages[i]);
		if (!f ||
		    (f->n_bits > FILTER_BITS_MIN && f->n_set < f->n_bits / 8 / FILTER_STEP / 2))
			filter_replace(&st->stages[i], filter_build(cls, st, i, FILTER_BITS_MIN));
	}
}
