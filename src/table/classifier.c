/* SPDX-License-Identifier: Apache-2.0 */
#include "table/classifier_state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "table/rcu.h"

/* Subtables */

static uint64_t mask_hash(const struct xv_classifier *cls, const uint64_t *mask)
{
	uint64_t hash = 0;
	unsigned int i;

	for (i = 0; i < cls->n_words; i++) {
		hash = (hash ^ mask[i]) * MULTIPLIER;
		hash ^= hash >> 32;
	}
	return hash;
}

unsigned int xv_classifier_rule_words(const struct xv_classifier *cls, const uint64_t *mask)
{
	unsigned int i, n = 0;

	for (i = 0; i < cls->n_words; i++)
		n += mask[i] != 0;
	return n;
}

static struct xv_cls_subtable *subtable_find(const struct xv_classifier *cls, const uint64_t *mask)
{
	unsigned int i, n = xv_classifier_rule_words(cls, mask);
	uint64_t hash = mask_hash(cls, mask);
	struct xv_cls_subtable *st;

	for (st = cls->mask_heads[hash % MASK_HEADS]; st; st = st->next_same_head) {
		if (st->mask_hash != hash || st->n_words != n)
			continue;
		for (i = 0; i < n && mask[st->words[i].index] == st->words[i].mask; i++)
			;
		if (i == n)
			return st;
	}
	return NULL;
}

static struct order *order_create(uint32_t n)
{
	struct order *order = malloc(sizeof(*order) + n * sizeof(order->subtables[0]));

	if (order)
		order->n = n;
	return order;
}

static void order_publish(struct xv_classifier *cls, struct order *order)
{
	struct order *old = order_of(cls);

	atomic_store_explicit(&cls->order, order, memory_order_release);
	xv_rcu_defer(free, old);
}

static uint64_t hits_of(const struct xv_classifier *cls, const struct xv_cls_subtable *st)
{
	const struct xv_cls_reader *r;
	uint64_t hits = 0;

	for (r = cls->readers; r; r = r->next)
		hits += atomic_load_explicit(&r->hits[st->id], memory_order_relaxed);
	return hits;
}

/* Below XV_CLS_MAX_SUBTABLES, or that if none is free. */
static uint32_t id_alloc(struct xv_classifier *cls)
{
	uint32_t i;

	for (i = 0; i < XV_CLS_MAX_SUBTABLES / 64; i++) {
		if (~cls->ids[i]) {
			uint32_t bit = (uint32_t)__builtin_ctzll(~cls->ids[i]);

			cls->ids[i] |= UINT64_C(1) << bit;
			return i * 64 + bit;
		}
	}
	return XV_CLS_MAX_SUBTABLES;
}

static void id_free(struct xv_classifier *cls, uint32_t id)
{
	cls->ids[id / 64] &= ~(UINT64_C(1) << id % 64);
}

static void subtable_free(void *arg)
{
	struct xv_cls_subtable *st = arg;
	unsigned int i;

	for (i = 0; i < st->n_stages; i++)
		xv_cls_filter_free(filter_of(&st->stages[i]));
	free(table_of(st));
	free(st);
}

/* One stage's words, by two. */
static unsigned int pairs_fill(struct pair *p, const struct word *w, unsigned int n,
			       const uint64_t *seeds)
{
	unsigned int i;

	for (i = 0; i < n; i++) {
		p[i / 2].mask[i % 2] = w[i].mask;
		p[i / 2].seed[i % 2] = seeds[w[i].index];
		p[i / 2].index[i % 2] = w[i].index;
	}
	if (n % 2) {
		p[n / 2].mask[1] = 0;
		p[n / 2].seed[1] = MULTIPLIER;
		p[n / 2].index[1] = w[n - 1].index;
	}
	return (n + 1) / 2;
}

static void subtable_fill(const struct xv_classifier *cls, struct xv_cls_subtable *st,
			  struct pair *pairs, struct word *words, const uint64_t *mask)
{
	unsigned int i = 0, stage, first, n = 0, n_pairs = 0;

	for (stage = 0; stage < cls->n_stages; stage++) {
		for (first = n; i < cls->stage_ends[stage]; i++)
			if (mask[i])
				words[n++] = (struct word){mask[i], i};
		if (n == first)
			continue;
		n_pairs += pairs_fill(&pairs[n_pairs], &words[first], n - first, cls->seeds);
		st->stages[st->n_stages++].pairs_end = n_pairs;
	}
	st->n_words = n;
	st->pairs = pairs;
	st->words = words;
	/* A mask without words: one stage without pairs. */
	if (n == 0)
		st->n_stages = 1;
}

/* Memory for one with n words in all, in one piece. */
static struct xv_cls_subtable *subtable_alloc(const struct xv_classifier *cls, const uint64_t *mask)
{
	unsigned int n = xv_classifier_rule_words(cls, mask), n_pairs = (n + cls->n_stages) / 2 + 1;
	size_t size = sizeof(struct xv_cls_subtable) + n_pairs * sizeof(struct pair) +
		      n * sizeof(struct word);
	struct xv_cls_subtable *st;
	struct pair *pairs;

	size = (size + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
	st = aligned_alloc(CACHE_LINE, size);
	if (!st)
		return NULL;
	memset(st, 0, size);
	pairs = (struct pair *)(st + 1);
	subtable_fill(cls, st, pairs, (struct word *)(pairs + n_pairs), mask);
	return st;
}

static int subtable_create(struct xv_classifier *cls, const uint64_t *mask,
			   struct xv_cls_subtable **subtable)
{
	struct order *old = order_of(cls), *order;
	struct xv_cls_subtable *st;
	struct table *t;
	int ret = -ENOMEM;

	st = subtable_alloc(cls, mask);
	if (!st)
		return -ENOMEM;
	order = order_create(old->n + 1);
	if (!order)
		goto no_order;
	ret = xv_cls_table_create(BUCKETS_MIN, &t);
	if (ret)
		goto no_table;
	atomic_init(&st->table, t);
	st->id = id_alloc(cls);
	if (st->id == XV_CLS_MAX_SUBTABLES) {
		ret = -ENOSPC;
		goto no_id;
	}
	xv_cls_filters_fit(cls, st);
	st->number = cls->next_number++;
	st->hits_seen = hits_of(cls, st);
	st->mask_hash = mask_hash(cls, mask);
	st->next_same_head = cls->mask_heads[st->mask_hash % MASK_HEADS];
	cls->mask_heads[st->mask_hash % MASK_HEADS] = st;
	st->prev = cls->last;
	*cls->last = st;
	cls->last = &st->next;
	memcpy(order->subtables, old->subtables, old->n * sizeof(old->subtables[0]));
	order->subtables[old->n] = st;
	order_publish(cls, order);
	*subtable = st;
	return 0;
no_id:
	free(t);
no_table:
	free(order);
no_order:
	free(st);
	return ret;
}

/* Empty. Without memory for a new order it stays, for a later rule or xv_classifier_destroy(). */
static void subtable_destroy(struct xv_classifier *cls, struct xv_cls_subtable *st)
{
	struct order *old = order_of(cls), *order = order_create(old->n - 1);
	struct xv_cls_subtable **link;
	uint32_t i, n = 0;

	if (!order)
		return;
	for (i = 0; i < old->n; i++)
		if (old->subtables[i] != st)
			order->subtables[n++] = old->subtables[i];
	order_publish(cls, order);
	for (link = &cls->mask_heads[st->mask_hash % MASK_HEADS]; *link != st;)
		link = &(*link)->next_same_head;
	*link = st->next_same_head;
	*st->prev = st->next;
	if (st->next)
		st->next->prev = st->prev;
	else
		cls->last = st->prev;
	id_free(cls, st->id);
	xv_rcu_defer(subtable_free, st);
}

/* Rules */

struct xv_cls_rule *xv_classifier_find(const struct xv_classifier *cls, const uint64_t *key,
				       const uint64_t *mask)
{
	const struct xv_cls_subtable *st = subtable_find(cls, mask);

	return st ? xv_cls_table_find(st, table_of(st), hash_all(cls, st, key), key) : NULL;
}

int xv_classifier_insert(struct xv_classifier *cls, struct xv_cls_rule *rule, const uint64_t *key,
			 const uint64_t *mask, struct xv_cls_rule **existing)
{
	struct xv_cls_subtable *st = subtable_find(cls, mask);
	struct xv_cls_rule *there;
	unsigned int i;
	uint64_t hash;
	int ret;

	if (!st && (ret = subtable_create(cls, mask, &st)))
		return ret;
	hash = hash_all(cls, st, key);
	there = xv_cls_table_find(st, table_of(st), hash, key);
	if (there) {
		if (existing)
			*existing = there;
		return -EEXIST;
	}
	ret = xv_cls_table_grow(st);
	if (ret)
		return ret; /* the subtable is not empty: a new one has room */
	rule->subtable = st;
	rule->hash = hash;
	for (i = 0; i < st->n_words; i++)
		rule->key[i] = key[st->words[i].index] & st->words[i].mask;
	xv_cls_filters_add(cls, st, key);
	xv_cls_table_add(table_of(st), rule);
	st->n_rules++;
	cls->n_rules++;
	return 0;
}

/* For readers that keep a rule in mind: xv_classifier_lookup_recent(). */
static void count_removal(struct xv_classifier *cls)
{
	atomic_fetch_add_explicit(&cls->removals, 1, memory_order_release);
}

void xv_classifier_remove(struct xv_classifier *cls, struct xv_cls_rule *rule)
{
	struct xv_cls_subtable *st = rule->subtable;
	uint64_t key[XV_CLS_MAX_WORDS];

	xv_cls_table_del(table_of(st), rule);
	count_removal(cls);
	xv_cls_rule_expand(rule, key);
	xv_cls_filters_del(cls, st, key);
	cls->n_rules--;
	if (--st->n_rules == 0)
		subtable_destroy(cls, st);
	else
		xv_cls_table_shrink(cls, st);
}

void xv_classifier_replace(struct xv_classifier *cls, struct xv_cls_rule *old_rule,
			   struct xv_cls_rule *new_rule)
{
	struct xv_cls_subtable *st = old_rule->subtable;
	struct bucket *b;
	unsigned int slot;

	new_rule->subtable = st;
	new_rule->hash = old_rule->hash;
	memcpy(new_rule->key, old_rule->key, st->n_words * sizeof(new_rule->key[0]));
	b = xv_cls_table_locate(table_of(st), old_rule, &slot);
	atomic_store_explicit(&b->slots[slot], new_rule, memory_order_release);
	count_removal(cls);
}

void xv_classifier_rule_get(const struct xv_classifier *cls, const struct xv_cls_rule *rule,
			    uint64_t *key, uint64_t *mask)
{
	const struct xv_cls_subtable *st = rule->subtable;
	unsigned int i;

	if (key) {
		memset(key, 0, cls->n_words * sizeof(*key));
		xv_cls_rule_expand(rule, key);
	}
	if (mask) {
		memset(mask, 0, cls->n_words * sizeof(*mask));
		for (i = 0; i < st->n_words; i++)
			mask[st->words[i].index] = st->words[i].mask;
	}
}

/* Visit the rules that belong in bucket `home`, wherever they are, with a hash of at least min; how
 * many. */
static unsigned int walk_home(const struct table *t, uint64_t home, uint64_t min,
			      void (*fn)(struct xv_cls_rule *rule, void *arg), void *arg)
{
	const struct bucket *b = &t->buckets[home];
	struct xv_cls_rule *rule;
	unsigned int slot, visited = 0;
	uint64_t tags;
	uint32_t i;

	for (i = 0; i < t->n_buckets; i++, b = bucket_next(t, b)) {
		tags = tags_of(b);
		for (slot = 0; slot < BUCKET_SLOTS; slot++) {
			if (!(tags >> slot * 8 & 0xff))
				continue;
			rule = slot_of(b, slot);
			if (rule->hash >> t->shift == home && rule->hash >= min) {
				fn(rule, arg);
				visited++;
			}
		}
		if (!tags_passed(tags))
			break;
	}
	return visited;
}

bool xv_classifier_walk(const struct xv_classifier *cls, struct xv_cls_cursor *cursor,
			unsigned int max, void (*fn)(struct xv_cls_rule *rule, void *arg),
			void *arg)
{
	const struct xv_cls_subtable *st;
	const struct table *t;
	unsigned int visited = 0;
	uint64_t home;

	for (st = cls->first; st; st = st->next) {
		if (st->number < cursor->subtable)
			continue;
		if (st->number > cursor->subtable)
			*cursor = (struct xv_cls_cursor){st->number, 0};
		t = table_of(st);
		for (home = cursor->hash >> t->shift; home < t->n_buckets; home++) {
			if (visited >= max)
				return true;
			visited += walk_home(t, home, cursor->hash, fn, arg);
			cursor->hash = (home + 1) << t->shift; /* 0 behind the last: done here */
		}
		*cursor = (struct xv_cls_cursor){st->number + 1, 0};
	}
	return false;
}

/* Ranks and counters */

int xv_cls_reader_create(struct xv_classifier *cls, struct xv_cls_reader **reader)
{
	struct xv_cls_reader *r = aligned_alloc(CACHE_LINE, sizeof(*r));

	if (!r)
		return -ENOMEM;
	memset(r, 0, sizeof(*r));
	r->next = cls->readers;
	cls->readers = r;
	*reader = r;
	return 0;
}

void xv_cls_reader_destroy(struct xv_classifier *cls, struct xv_cls_reader *reader)
{
	struct xv_cls_reader **link;
	struct xv_cls_subtable *st;

	if (!reader)
		return;
	for (link = &cls->readers; *link != reader;)
		link = &(*link)->next;
	*link = reader->next;
	/* Its hits are no longer in the sums. */
	for (st = cls->first; st; st = st->next)
		st->hits_seen -= atomic_load_explicit(&reader->hits[st->id], memory_order_relaxed);
	free(reader);
}

static int compare_scores(const void *a, const void *b)
{
	const struct xv_cls_subtable *x = *(struct xv_cls_subtable *const *)a,
				     *y = *(struct xv_cls_subtable *const *)b;

	if (x->score != y->score)
		return x->score > y->score ? -1 : 1;
	return x->number < y->number ? -1 : x->number > y->number;
}

void xv_classifier_rank(struct xv_classifier *cls)
{
	struct order *old = order_of(cls), *order;
	struct xv_cls_subtable *st;
	uint64_t hits;

	for (st = cls->first; st; st = st->next) {
		hits = hits_of(cls, st);
		/* Half of what was: one quiet second does not turn the order over. */
		st->score = st->score / 2 + (hits - st->hits_seen);
		st->hits_seen = hits;
	}
	order = order_create(old->n);
	if (!order)
		return;
	memcpy(order->subtables, old->subtables, old->n * sizeof(old->subtables[0]));
	qsort(order->subtables, order->n, sizeof(order->subtables[0]), compare_scores);
	if (memcmp(order->subtables, old->subtables, old->n * sizeof(old->subtables[0])) == 0)
		free(order);
	else
		order_publish(cls, order);
}

static uint64_t subtable_bytes(const struct xv_cls_subtable *st)
{
	uint64_t bytes = sizeof(*st) + sizeof(struct table) +
			 table_of(st)->n_buckets * sizeof(struct bucket);
	const struct filter *f;
	unsigned int i;

	for (i = 0; i < st->n_stages; i++) {
		f = filter_of(&st->stages[i]);
		if (f)
			bytes += sizeof(*f) + f->n_bits / 8 + f->n_bits * sizeof(f->counts[0]);
	}
	return bytes;
}

void xv_classifier_stats(const struct xv_classifier *cls, struct xv_cls_stats *stats)
{
	const struct xv_cls_subtable *st;
	const struct xv_cls_reader *r;

	*stats = (struct xv_cls_stats){.subtables = order_of(cls)->n, .rules = cls->n_rules};
	for (st = cls->first; st; st = st->next)
		stats->bytes += subtable_bytes(st);
	for (r = cls->readers; r; r = r->next) {
		stats->lookups += atomic_load_explicit(&r->lookups, memory_order_relaxed);
		stats->hits += atomic_load_explicit(&r->found, memory_order_relaxed);
		stats->visits += atomic_load_explicit(&r->visits, memory_order_relaxed);
	}
}

/* Creating */

int xv_classifier_create(unsigned int words, const unsigned int *stage_ends, unsigned int n_stages,
			 struct xv_classifier **classifier)
{
	struct xv_classifier *cls;
	unsigned int i;

	if (n_stages == 0 || n_stages > XV_CLS_MAX_STAGES || words == 0 ||
	    words > XV_CLS_MAX_WORDS || stage_ends[n_stages - 1] != words)
		return -EINVAL;
	for (i = 1; i < n_stages; i++)
		if (stage_ends[i] <= stage_ends[i - 1])
			return -EINVAL;
	cls = calloc(1, sizeof(*cls));
	if (!cls)
		return -ENOMEM;
	cls->n_words = words;
	cls->n_stages = n_stages;
	for (i = 0; i < n_stages; i++)
		cls->stage_ends[i] = stage_ends[i];
	cls->last = &cls->first;
	cls->multiplier = MULTIPLIER;
	if (getrandom(cls->seeds, words * sizeof(cls->seeds[0]), 0) !=
	    (ssize_t)(words * sizeof(cls->seeds[0]))) {
		free(cls);
		return -EIO;
	}
	atomic_init(&cls->order, order_create(0));
	if (!order_of(cls)) {
		free(cls);
		return -ENOMEM;
	}
	*classifier = cls;
	return 0;
}

void xv_classifier_destroy(struct xv_classifier *cls)
{
	struct xv_cls_subtable *st, *next;

	if (!cls)
		return;
	while (cls->readers)
		xv_cls_reader_destroy(cls, cls->readers);
	for (st = cls->first; st; st = next) {
		next = st->next;
		subtable_free(st);
	}
	free(order_of(cls));
	free(cls);
}

void xv_classifier_weaken(struct xv_classifier *cls, uint64_t multiplier)
{
	memset(cls->seeds, 0, sizeof(cls->seeds));
	cls->multiplier = multiplier;
}
