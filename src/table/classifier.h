/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The classifier of flows: which flow, if any, matches a key under its mask? Class A: the control
 * thread writes, packet workers look up without a lock, are never held up, and allocate nothing.
 *
 * Tuple-space search: one hash table (subtable) for every mask in use, asked in the order of how
 * often each was hit (xv_classifier_rank()). Flows have no priorities; the first subtable with a
 * match wins. Which flows may overlap is the caller's business.
 *
 * Keys and masks are arrays of 64-bit words; what the words mean is unknown here (net/flow_key.h
 * knows). Words are grouped in stages: a subtable in which no flow has what the packet has in the
 * first stages is left without a look into its table.
 *
 * A flow embeds a struct xv_cls_rule as its last member and has room behind it for the words that
 * its mask uses:
 *
 *	flow = malloc(sizeof(*flow) + xv_classifier_rule_words(cls, mask) * sizeof(uint64_t));
 *	xv_classifier_insert(cls, &flow->rule, key, mask, NULL);
 *	...
 *	xv_classifier_remove(cls, &flow->rule);
 *	xv_rcu_defer(free, flow);
 *
 * Rules belong to the caller. One that was removed or replaced may still be returned to readers
 * until a grace period has passed (table/rcu.h), and must stay as it is until then. Memory of the
 * classifier itself is freed the same way.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define XV_CLS_BURST         64
#define XV_CLS_MAX_WORDS     128
#define XV_CLS_MAX_STAGES    8
#define XV_CLS_MAX_SUBTABLES 4096 /* masks in use at a time: bounds what a look-up costs */

struct xv_classifier;
struct xv_cls_subtable;
/* Class B: what one worker counts. */
struct xv_cls_reader;

struct xv_cls_rule {
	struct xv_cls_subtable *subtable; /* control; this and hash are set by insert and replace */
	uint64_t hash;
	uint64_t key[]; /* the words that the mask uses, masked */
};

/* Where a walk is; {0} begins one. */
struct xv_cls_cursor {
	uint64_t subtable; /* the number that the subtable got when it was created */
	uint64_t hash;     /* the smallest that was not visited there */
};

struct xv_cls_stats {
	uint32_t subtables;
	uint32_t rules;
	uint64_t bytes; /* of memory, without the rules */
	/* Of all readers there are: look-ups, those that hit, and subtables that they asked. */
	uint64_t lookups, hits, visits;
};

/*
 * All of the control thread, unless it says worker. Those that return int: 0 or -errno.
 *
 * Keys have `words` words; stage i ends before word stage_ends[i], ascending, the last is `words`.
 */
int xv_classifier_create(unsigned int words, const unsigned int *stage_ends, unsigned int n_stages,
			 struct xv_classifier **cls);
/* After the last reader is done with it. Rules that are still in it are not touched. */
void xv_classifier_destroy(struct xv_classifier *cls);

/* How many words a rule with this mask has behind it. */
unsigned int xv_classifier_rule_words(const struct xv_classifier *cls, const uint64_t *mask);

/* -EEXIST if a rule with this mask and masked key is there (then *existing is that one; may be
 * NULL), -ENOMEM, or -ENOSPC if it were one mask too many. */
int xv_classifier_insert(struct xv_classifier *cls, struct xv_cls_rule *rule, const uint64_t *key,
			 const uint64_t *mask, struct xv_cls_rule **existing);
void xv_classifier_remove(struct xv_classifier *cls, struct xv_cls_rule *rule);
/* new_rule, with as much room behind it, takes the place, key and mask of old_rule; readers see one
 * or the other. */
void xv_classifier_replace(struct xv_classifier *cls, struct xv_cls_rule *old_rule,
			   struct xv_cls_rule *new_rule);
/* The rule with just this mask and masked key, or NULL. */
struct xv_cls_rule *xv_classifier_find(const struct xv_classifier *cls, const uint64_t *key,
				       const uint64_t *mask);
/* All words of a rule's masked key and mask. Either may be NULL. */
void xv_classifier_rule_get(const struct xv_classifier *cls, const struct xv_cls_rule *rule,
			    uint64_t *key, uint64_t *mask);

/*
 * Call fn for at least max rules, in no order, if there are as many; false when that was the last.
 * Rules may be inserted and removed between two calls: one that is there all the time is visited
 * exactly once (it, or what replaced it). fn must not change the classifier.
 */
bool xv_classifier_walk(const struct xv_classifier *cls, struct xv_cls_cursor *cursor,
			unsigned int max, void (*fn)(struct xv_cls_rule *rule, void *arg),
			void *arg);

/* About once a second: put those subtables first that were hit most lately. */
void xv_classifier_rank(struct xv_classifier *cls);
void xv_classifier_stats(const struct xv_classifier *cls, struct xv_cls_stats *stats);

int xv_cls_reader_create(struct xv_classifier *cls, struct xv_cls_reader **reader);
/* After its worker is done with it. */
void xv_cls_reader_destroy(struct xv_classifier *cls, struct xv_cls_reader *reader);

/* worker, registered and online with table/rcu.h. reader is its own; NULL counts nothing. The rule
 * or NULL. */
struct xv_cls_rule *xv_classifier_lookup(const struct xv_classifier *cls,
					 struct xv_cls_reader *reader, const uint64_t *key);
/* worker. The same, for keys of which those with the same hint (any number) are mostly for the same
 * few rules: what was found for it lately is asked first. Any rule that matches may be the answer. */
struct xv_cls_rule *xv_classifier_lookup_recent(const struct xv_classifier *cls,
						struct xv_cls_reader *reader, const uint64_t *key,
						uint64_t hint);
/* worker. The same for n <= XV_CLS_BURST keys. */
void xv_classifier_lookup_burst(const struct xv_classifier *cls, struct xv_cls_reader *reader,
				const uint64_t *const *keys, unsigned int n,
				struct xv_cls_rule **rules);

/* Tests, before the first insert: a hash that collides. 0: always; else, as a good hash does now
 * and then. */
void xv_classifier_weaken(struct xv_classifier *cls, uint64_t multiplier);
