/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside the classifier: what its control side (classifier.c, classifier_table.c) and its look-up
 * (classifier_lookup.c) share.
 *
 * A subtable's hash table has buckets of one cache line: seven rules and a word with seven 8-bit
 * tags, which is read and written as one. A rule lives in the bucket that the upper bits of its
 * hash name, or, if that is full, in the next that has room; full buckets that were passed count it
 * (the eighth byte of the word), so that a look-up knows when to go on. A rule never moves while
 * readers look: a table that gets too full or too empty is built anew and published. As buckets lie
 * in the order of hashes, that is one pass from front to back on both sides, and a walk can be
 * resumed in a table of any size.
 *
 * Each stage but the last may have a filter: one bit for every hash of the words so far that some
 * rule has. Filters are small (they stay in the cache) or not there, where rules differ so much
 * that a small one would let most packets pass. Asking one costs about a quarter of what it saves
 * when it turns a packet away, so each reader watches which of them do and asks the others only now
 * and then.
 */
#pragma once

#include <stdatomic.h>

#include "table/classifier.h"

#define CACHE_LINE   64
#define BUCKET_SLOTS 7
#define BUCKETS_MIN  2u
#define BUCKETS_MAX  (1u << 28)

#define BYTES(x)       (UINT64_C(0x0101010101010101) * (x))
#define SLOT_BYTES     (UINT64_MAX >> 8) /* of a bucket's tags */
#define PASSED_ONE     (UINT64_C(1) << 56)
#define PASSED_FOREVER 0xff /* no longer counted: stays until the table is built anew */

#define RECENT_SETS  64
#define RECENT_RULES 4

#define FILTER_BITS_MIN 256u
#define FILTER_BITS_MAX 65536u
#define FILTER_STEP     4 /* a filter grows by */

/* Odd and without pattern; any such number does. */
#define MULTIPLIER UINT64_C(0x9fb21c651e98df25)

struct bucket {
	/* Byte i: of slot i, 0 = free. Byte 7: how many rules passed. */
	_Alignas(CACHE_LINE) _Atomic uint64_t tags;
	_Atomic(struct xv_cls_rule *) slots[BUCKET_SLOTS]; /* left as they are when freed */
};
_Static_assert(sizeof(struct bucket) == CACHE_LINE, "a bucket is one cache line");

struct table {
	uint32_t n_buckets; /* a power of two, at least 2 */
	uint32_t shift;     /* bucket = hash >> shift */
	struct bucket buckets[];
};

struct filter {
	uint32_t shift; /* bit = hash >> shift */
	uint32_t n_bits, n_set;
	uint32_t *counts; /* control: rules for every bit */
	_Atomic uint64_t bits[];
};

struct word {
	uint64_t mask;
	uint32_t index; /* in the key */
};

/* Words are hashed by two; a stage with an odd number has a pair whose second mask is zero. */
struct pair {
	uint64_t mask[2], seed[2];
	uint32_t index[2];
};

struct stage {
	uint32_t pairs_end; /* in pairs[]; begins where the stage before ends */
	_Atomic(struct filter *) filter;
};

struct xv_cls_subtable {
	/* readers */
	_Alignas(CACHE_LINE) _Atomic(struct table *) table;
	const struct pair *pairs;
	const struct word *words;
	uint32_t id; /* of what readers keep */
	uint32_t n_words, n_stages;
	struct stage stages[XV_CLS_MAX_STAGES]; /* those that the mask has words in; at least one */
	/* control */
	struct xv_cls_subtable *next, **prev;   /* in the order of creation */
	struct xv_cls_subtable *next_same_head; /* in the classifier's mask_heads */
	uint64_t number;
	uint64_t mask_hash;
	uint64_t hits_seen, score;
	uint32_t n_rules;
};

/* Subtables as readers ask them. Constant once published. */
struct order {
	uint32_t n;
	struct xv_cls_subtable *subtables[];
};

struct xv_cls_reader {
	_Alignas(CACHE_LINE) struct xv_cls_reader *next; /* control */
	_Atomic uint64_t lookups, found, visits;
	_Atomic uint64_t hits[XV_CLS_MAX_SUBTABLES]; /* by subtable id */
	/* worker */
	uint32_t bursts;
	uint64_t recent_removals; /* the classifier's, when the rules below were all in it */
	struct xv_cls_rule *recent[RECENT_SETS][RECENT_RULES]; /* found lately, by hint */
	uint8_t worth[XV_CLS_MAX_SUBTABLES]
		     [XV_CLS_MAX_STAGES]; /* of a filter: from 0 to WORTH_MAX */
};

#define MASK_HEADS 1024

struct xv_classifier {
	/* readers */
	_Atomic(struct order *) order;
	_Atomic uint64_t removals; /* of rules, by removing or replacing them */
	uint64_t multiplier;
	/* control */
	struct xv_cls_subtable *first, **last;
	struct xv_cls_subtable *mask_heads[MASK_HEADS];
	struct xv_cls_reader *readers;
	uint64_t next_number;
	uint32_t n_rules;
	uint32_t n_words, n_stages;
	uint32_t stage_ends[XV_CLS_MAX_STAGES];
	uint64_t seeds[XV_CLS_MAX_WORDS];
	uint64_t ids[XV_CLS_MAX_SUBTABLES / 64]; /* bits: in use */
};

static inline struct order *order_of(const struct xv_classifier *cls)
{
	return atomic_load_explicit(&cls->order, memory_order_acquire);
}

/* Hashes. Seeds are random: guests choose much of what is in a key. */

static inline uint64_t fold(uint64_t a, uint64_t b)
{
	unsigned __int128 product = (unsigned __int128)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* Go on with a hash by some pairs. They are independent of one another: a processor works on
 * several at a time. */
static inline uint64_t hash_pairs(uint64_t hash, const uint64_t *key, const struct pair *p,
				  const struct pair *end)
{
	for (; p < end; p++)
		hash += fold((key[p->index[0]] & p->mask[0]) ^ p->seed[0],
			     (key[p->index[1]] & p->mask[1]) ^ p->seed[1]);
	return hash;
}

/* Sums of products are uneven where keys count up; one more multiplication spreads them. */
static inline uint64_t hash_final(const struct xv_classifier *cls, uint64_t hash)
{
	return fold(hash ^ (hash >> 32), cls->multiplier);
}

/* By all pairs up to the end of a stage. */
static inline uint64_t hash_stages(const struct xv_cls_subtable *st, unsigned int stage,
				   const uint64_t *key)
{
	return hash_pairs(0, key, st->pairs, st->pairs + st->stages[stage].pairs_end);
}

static inline uint64_t hash_all(const struct xv_classifier *cls, const struct xv_cls_subtable *st,
				const uint64_t *key)
{
	return hash_final(cls, hash_stages(st, st->n_stages - 1, key));
}

/* Tables and filters */

static inline uint64_t tag_of(uint64_t hash)
{
	uint64_t tag = hash & 0xff;

	return tag ? tag : 1;
}

/* 0x80 in every byte of a bucket's tags that is the tag. */
static inline uint64_t tags_match(uint64_t tags, uint64_t tag)
{
	uint64_t x = tags ^ BYTES(tag), low7 = BYTES(0x7f);

	return ~(((x & low7) + low7) | x | low7) & SLOT_BYTES;
}

static inline unsigned int match_slot(uint64_t match)
{
	return (unsigned int)__builtin_ctzll(match) / 8;
}

static inline unsigned int tags_passed(uint64_t tags)
{
	return (unsigned int)(tags >> 56);
}

static inline uint64_t tags_of(const struct bucket *b)
{
	return atomic_load_explicit(&b->tags, memory_order_acquire);
}

static inline struct xv_cls_rule *slot_of(const struct bucket *b, unsigned int i)
{
	return atomic_load_explicit(&b->slots[i], memory_order_acquire);
}

static inline struct table *table_of(const struct xv_cls_subtable *st)
{
	return atomic_load_explicit(&st->table, memory_order_acquire);
}

static inline struct bucket *bucket_of(const struct table *t, uint64_t hash)
{
	/* Readers and the writer find it in one way; only the writer changes it. */
	return (struct bucket *)(uintptr_t)&t->buckets[hash >> t->shift];
}

static inline struct bucket *bucket_next(const struct table *t, const struct bucket *b)
{
	return (struct bucket *)(uintptr_t)(b + 1 < &t->buckets[t->n_buckets] ? b + 1 : t->buckets);
}

static inline bool rule_matches(const struct xv_cls_subtable *st, const struct xv_cls_rule *rule,
				const uint64_t *key)
{
	const struct word *w = st->words;
	uint64_t differ = 0;
	unsigned int i;

	for (i = 0; i < st->n_words; i++)
		differ |= (key[w[i].index] & w[i].mask) ^ rule->key[i];
	return differ == 0;
}

static inline uint32_t filter_bit(const struct xv_classifier *cls, const struct filter *f,
				  uint64_t hash)
{
	return (uint32_t)(hash * cls->multiplier >> f->shift);
}

static inline bool filter_has(const struct xv_classifier *cls, const struct filter *f,
			      uint64_t hash)
{
	uint32_t bit = filter_bit(cls, f, hash);

	return atomic_load_explicit(&f->bits[bit / 64], memory_order_relaxed) >> bit % 64 & 1;
}

static inline struct filter *filter_of(const struct stage *s)
{
	return atomic_load_explicit(&s->filter, memory_order_acquire);
}

/* classifier_lookup.c; any thread. */
struct xv_cls_rule *xv_cls_table_find(const struct xv_cls_subtable *st, const struct table *t,
				      uint64_t hash, const uint64_t *key);

/* classifier_table.c; control. */
int xv_cls_table_create(uint32_t n_buckets, struct table **table);
/* There is room. */
void xv_cls_table_add(struct table *t, struct xv_cls_rule *rule);
void xv_cls_table_del(struct table *t, const struct xv_cls_rule *rule);
/* Where a rule is that is there. */
struct bucket *xv_cls_table_locate(const struct table *t, const struct xv_cls_rule *rule,
				   unsigned int *slot);
/* Make room for one rule more. -ENOMEM, -ENOSPC. */
int xv_cls_table_grow(struct xv_cls_subtable *st);
/* Give memory back if little is in use. */
void xv_cls_table_shrink(const struct xv_classifier *cls, struct xv_cls_subtable *st);

/* All filters of a subtable, for a key that comes or goes. */
void xv_cls_filters_add(const struct xv_classifier *cls, struct xv_cls_subtable *st,
			const uint64_t *key);
void xv_cls_filters_del(const struct xv_classifier *cls, struct xv_cls_subtable *st,
			const uint64_t *key);
/* Build those anew that are not there or far too large. */
void xv_cls_filters_fit(const struct xv_classifier *cls, struct xv_cls_subtable *st);
void xv_cls_filter_free(void *filter);
/* The words of a rule, into a whole key; others are left alone. */
void xv_cls_rule_expand(const struct xv_cls_rule *rule, uint64_t *key);
