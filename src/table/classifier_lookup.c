/* SPDX-License-Identifier: Apache-2.0 */
#include "table/classifier_state.h"

#include <string.h>

/* A filter is worth asking while, of late, it turned half of the packets away more often than not.
 * The others get a trial in one burst of so many. */
#define WORTH_MAX    3
#define WORTH_ASK    2
#define TRIAL_BURSTS 32

struct xv_cls_rule *xv_cls_table_find(const struct xv_cls_subtable *st, const struct table *t,
				      uint64_t hash, const uint64_t *key)
{
	const struct bucket *b = bucket_of(t, hash);
	struct xv_cls_rule *rule;
	uint64_t tags, match;
	uint32_t i;

	for (i = 0; i < t->n_buckets; i++, b = bucket_next(t, b)) {
		tags = tags_of(b);
		for (match = tags_match(tags, tag_of(hash)); match; match &= match - 1) {
			rule = slot_of(b, match_slot(match));
			if (rule_matches(st, rule, key))
				return rule;
		}
		if (!tags_passed(tags))
			break;
	}
	return NULL;
}

static inline void count(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
			      memory_order_relaxed);
}

/* Does a filter of this subtable turn enough packets away to be asked? */
static inline bool is_worth(const struct xv_cls_reader *reader, uint32_t id, unsigned int stage)
{
	return !reader || reader->bursts % TRIAL_BURSTS == 0 ||
	       reader->worth[id][stage] >= WORTH_ASK;
}

static inline void note_worth(struct xv_cls_reader *reader, uint32_t id, unsigned int stage,
			      unsigned int asked, unsigned int passed)
{
	uint8_t *worth;

	if (!reader)
		return;
	worth = &reader->worth[id][stage];
	if (passed * 2 > asked)
		*worth -= *worth > 0;
	else
		*worth += *worth < WORTH_MAX;
}

/*
 * Look for those n keys that `pending` names, in one subtable; how many were found. Step by step
 * for all of them: the memory that a step needs was asked for one step before.
 */
static unsigned int subtable_lookup(const struct xv_classifier *cls,
				    const struct xv_cls_subtable *st, struct xv_cls_reader *reader,
				    const uint64_t *const *keys, const uint8_t *pending,
				    unsigned int n, struct xv_cls_rule **rules)
{
	struct xv_cls_rule *candidates[XV_CLS_BURST], *rule;
	const struct pair *from = st->pairs, *to;
	const struct table *t = table_of(st);
	uint64_t hashes[XV_CLS_BURST] = {0}, tags, match, hash;
	uint8_t list[XV_CLS_BURST], key;
	unsigned int i, s, out, found = 0;
	const struct filter *f;
	const struct bucket *b;

	for (s = 0; s + 1 < st->n_stages; s++) {
		f = filter_of(&st->stages[s]);
		if (!f || !is_worth(reader, st->id, s))
			continue;
		to = st->pairs + st->stages[s].pairs_end;
		/* Without a branch for each: what passes is packed to the front. */
		for (i = 0, out = 0; i < n; i++) {
			key = pending[i];
			hash = hash_pairs(hashes[i], keys[key], from, to);
			list[out] = key;
			hashes[out] = hash;
			out += filter_has(cls, f, hash);
		}
		note_worth(reader, st->id, s, n, out);
		if (out == 0)
			return 0;
		n = out;
		from = to;
		pending = list;
	}
	to = st->pairs + st->stages[s].pairs_end;
	for (i = 0; i < n; i++) {
		hashes[i] = hash_final(cls, hash_pairs(hashes[i], keys[pending[i]], from, to));
		__builtin_prefetch(bucket_of(t, hashes[i]));
	}
	for (i = 0, out = 0; i < n; i++) {
		b = bucket_of(t, hashes[i]);
		tags = tags_of(b);
		match = tags_match(tags, tag_of(hashes[i]));
		/* Without a match it may be one that was freed: not to be read. */
		rule = slot_of(b, match ? match_slot(match) : 0);
		list[out] = pending[i];
		hashes[out] = hashes[i];
		candidates[out] = match ? rule : NULL;
		__builtin_prefetch(rule);
		out += match != 0 || tags_passed(tags) != 0;
	}
	n = out;
	for (i = 0; i < n; i++) {
		key = list[i];
		rule = candidates[i];
		if (!rule || !rule_matches(st, rule, keys[key]))
			rule = xv_cls_table_find(st, t, hashes[i], keys[key]);
		rules[key] = rule;
		found += rule != NULL;
	}
	return found;
}

void xv_classifier_lookup_burst(const struct xv_classifier *cls, struct xv_cls_reader *reader,
				const uint64_t *const *keys, unsigned int n,
				struct xv_cls_rule **rules)
{
	const struct order *order = order_of(cls);
	unsigned int i, left = n, found, out;
	const struct xv_cls_subtable *st;
	uint8_t pending[XV_CLS_BURST];
	uint64_t visits = 0;
	uint32_t s;

	for (i = 0; i < n; i++) {
		pending[i] = (uint8_t)i;
		rules[i] = NULL;
	}
	for (s = 0; s < order->n && left > 0; s++) {
		st = order->subtables[s];
		visits += left;
		found = subtable_lookup(cls, st, reader, keys, pending, left, rules);
		if (!found)
			continue;
		if (reader)
			count(&reader->hits[st->id], found);
		for (i = 0, out = 0; i < left; i++) {
			pending[out] = pending[i];
			out += rules[pending[i]] == NULL;
		}
		left = out;
	}
	if (reader) {
		reader->bursts++;
		count(&reader->lookups, n);
		count(&reader->found, n - left);
		count(&reader->visits, visits);
	}
}

/* Before a rule's memory goes there is a grace period, and before that its removal was counted: a
 * reader that sees the old number may still use it. */
static void forget_removed(const struct xv_classifier *cls, struct xv_cls_reader *reader)
{
	uint64_t removals = atomic_load_explicit(&cls->removals, memory_order_acquire);

	if (removals == reader->recent_removals)
		return;
	memset(reader->recent, 0, sizeof(reader->recent));
	reader->recent_removals = removals;
}

struct xv_cls_rule *xv_classifier_lookup_recent(const struct xv_classifier *cls,
						struct xv_cls_reader *reader, const uint64_t *key,
						uint64_t hint)
{
	struct xv_cls_rule **recent = reader->recent[hint * MULTIPLIER >> 58], *rule;
	unsigned int i;

	forget_removed(cls, reader);
	for (i = 0; i < RECENT_RULES && recent[i]; i++) {
		rule = recent[i];
		if (!rule_matches(rule->subtable, rule, key))
			continue;
		if (i > 0) { /* those that are asked for most come to the front */
			recent[i] = recent[i - 1];
			recent[i - 1] = rule;
		}
		count(&reader->hits[rule->subtable->id], 1);
		count(&reader->lookups, 1);
		count(&reader->found, 1);
		return rule;
	}
	rule = xv_classifier_lookup(cls, reader, key);
	if (rule) {
		memmove(&recent[1], recent, (RECENT_RULES - 1) * sizeof(*recent));
		recent[0] = rule;
	}
	return rule;
}

struct xv_cls_rule *xv_classifier_lookup(const struct xv_classifier *cls,
					 struct xv_cls_reader *reader, const uint64_t *key)
{
	struct xv_cls_rule *rule;

	xv_classifier_lookup_burst(cls, reader, &key, 1, &rule);
	return rule;
}
