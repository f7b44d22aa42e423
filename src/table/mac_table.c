/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A key has two buckets, chosen by a hash with random seeds (guests choose addresses). It lives in
 * the first unless that is full, then in the second; if both are full, one of the eight entries
 * there moves to its other bucket. At a quarter of the slots in use, which is what the table is
 * sized for, 98 % of the entries are in their first bucket, and no room is found about never.
 *
 * A reader that looks for the very entry that is being moved may miss it: the frame is flooded,
 * once.
 */
#include "table/mac_table.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/random.h>

#define CACHE_LINE   64
#define BUCKET_SLOTS 4
#define LIMIT_MAX    (1u << 20)
#define BURST        64
/* A worker gives up the lock after about 10 us: learning waits for the next packet, the worker not.
 */
#define LOCK_SPINS 256

struct slot {
	_Atomic uint64_t key;   /* 0 = free */
	_Atomic uint64_t value; /* seen_s << 16 | port */
};

struct bucket {
	_Alignas(CACHE_LINE) struct slot slots[BUCKET_SLOTS];
};
_Static_assert(sizeof(struct bucket) == CACHE_LINE, "a bucket is one cache line");

struct xv_mac_table {
	/* constant */
	struct bucket *buckets;
	uint64_t mask; /* number of buckets - 1, at least 1 */
	uint64_t seeds[4];
	uint32_t limit;
	void *memory; /* what buckets was aligned in */
	/* written */
	_Alignas(CACHE_LINE) _Atomic bool lock;
	_Atomic uint32_t count;
	_Atomic uint32_t moves; /* of entries between their buckets */
	_Atomic uint32_t own_changes; /* of what look-ups answered before */
	_Atomic(_Atomic uint32_t *) changes; /* own, or shared with others */
	_Atomic uint64_t refused;
};

static inline uint64_t value_make(uint16_t port, uint32_t seen_s)
{
	return (uint64_t)seen_s << 16 | port;
}

static inline uint16_t value_port(uint64_t value)
{
	return (uint16_t)value;
}

static inline uint32_t value_seen(uint64_t value)
{
	return (uint32_t)(value >> 16);
}

static inline void pause_briefly(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

static bool lock_try(struct xv_mac_table *table)
{
	return !atomic_load_explicit(&table->lock, memory_order_relaxed) &&
	       !atomic_exchange_explicit(&table->lock, true, memory_order_acquire);
}

static bool lock_worker(struct xv_mac_table *table)
{
	unsigned int i;

	for (i = 0; i < LOCK_SPINS; i++) {
		if (lock_try(table))
			return true;
		pause_briefly();
	}
	return false;
}

static void lock_control(struct xv_mac_table *table)
{
	while (!lock_try(table))
		pause_briefly();
}

static void unlock(struct xv_mac_table *table)
{
	atomic_store_explicit(&table->lock, false, memory_order_release);
}

/* An answer that somebody may have remembered is another now. */
static void changed(struct xv_mac_table *table)
{
	_Atomic uint32_t *changes = atomic_load_explicit(&table->changes, memory_order_relaxed);

	atomic_fetch_add_explicit(changes, 1, memory_order_release);
}

/*
 * Two multiplications to 128 bits, as wyhash does it. One is not enough: addresses that count up
 * are an arithmetic progression, which some seeds map to few buckets.
 */
static inline uint64_t hash_key(const struct xv_mac_table *table, uint64_t key)
{
	unsigned __int128 product = (unsigned __int128)(key ^ table->seeds[0]) * table->seeds[1];

	product = (unsigned __int128)((uint64_t)product ^ table->seeds[2]) *
		  ((uint64_t)(product >> 64) ^ table->seeds[3]);
	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline struct bucket *bucket_first(const struct xv_mac_table *table, uint64_t hash)
{
	return &table->buckets[hash & table->mask];
}

/* Always another one than the first. */
static inline struct bucket *bucket_second(const struct xv_mac_table *table, uint64_t hash)
{
	uint64_t a = hash & table->mask, b = (hash >> 32) & table->mask;

	return &table->buckets[a == b ? b ^ 1 : b];
}

static inline struct slot *bucket_find(struct bucket *b, uint64_t key)
{
	unsigned int i;

	for (i = 0; i < BUCKET_SLOTS; i++)
		if (atomic_load_explicit(&b->slots[i].key, memory_order_acquire) == key)
			return &b->slots[i];
	return NULL;
}

static inline struct slot *find(const struct xv_mac_table *table, uint64_t key, uint64_t hash)
{
	struct slot *s = bucket_find(bucket_first(table, hash), key);

	return s ? s : bucket_find(bucket_second(table, hash), key);
}

/* The value that belongs to key, or false if the slot was taken from it meanwhile. */
static inline bool slot_read(struct slot *s, uint64_t key, uint64_t *value)
{
	*value = atomic_load_explicit(&s->value, memory_order_acquire);
	return atomic_load_explicit(&s->key, memory_order_relaxed) == key;
}

/* Lock held. The slot is free. */
static void slot_fill(struct slot *s, uint64_t key, uint64_t value)
{
	/* Release, both: who sees this value also sees that the key before is gone. */
	atomic_store_explicit(&s->value, value, memory_order_release);
	atomic_store_explicit(&s->key, key, memory_order_release);
}

/* Lock held. */
static void slot_clear(struct slot *s)
{
	atomic_store_explicit(&s->key, 0, memory_order_relaxed);
}

/* Lock held: move an entry of bucket b to its other bucket; the slot that became free, or NULL. */
static struct slot *make_room(struct xv_mac_table *table, struct bucket *b)
{
	struct bucket *other;
	struct slot *s, *to;
	uint64_t key, hash;
	unsigned int i;

	for (i = 0; i < BUCKET_SLOTS; i++) {
		s = &b->slots[i];
		key = atomic_load_explicit(&s->key, memory_order_relaxed);
		hash = hash_key(table, key);
		other = bucket_first(table, hash);
		if (other == b)
			other = bucket_second(table, hash);
		to = bucket_find(other, 0);
		if (to) {
			slot_fill(to, key, atomic_load_explicit(&s->value, memory_order_relaxed));
			slot_clear(s);
			atomic_fetch_add_explicit(&table->moves, 1, memory_order_relaxed);
			return s;
		}
	}
	return NULL;
}

/* Lock held, key is not in the table. */
static bool insert(struct xv_mac_table *table, uint64_t key, uint64_t hash, uint64_t value)
{
	struct bucket *first = bucket_first(table, hash), *second = bucket_second(table, hash);
	struct slot *s;

	if (atomic_load_explicit(&table->count, memory_order_relaxed) >= table->limit)
		return false;
	if (!(s = bucket_find(first, 0)) && !(s = bucket_find(second, 0)) &&
	    !(s = make_room(table, first)) && !(s = make_room(table, second)))
		return false;
	slot_fill(s, key, value);
	atomic_fetch_add_explicit(&table->count, 1, memory_order_relaxed);
	return true;
}

int xv_mac_table_create(uint32_t limit, struct xv_mac_table **table)
{
	struct xv_mac_table *t;
	uint64_t n = 2;

	if (limit == 0 || limit > LIMIT_MAX)
		return -EINVAL;
	while (n < limit)
		n *= 2;
	t = aligned_alloc(CACHE_LINE, sizeof(*t));
	if (!t)
		return -ENOMEM;
	*t = (struct xv_mac_table){.limit = limit, .mask = n - 1};
	atomic_init(&t->changes, &t->own_changes);
	if (getrandom(t->seeds, sizeof(t->seeds), 0) != sizeof(t->seeds)) {
		free(t);
		return -EIO;
	}
	t->seeds[1] |= 1;
	/* calloc, not aligned_alloc: buckets that are never used then cost no memory. */
	t->memory = calloc(n + 1, sizeof(struct bucket));
	if (!t->memory) {
		free(t);
		return -ENOMEM;
	}
	t->buckets = (struct bucket *)(((uintptr_t)t->memory + CACHE_LINE - 1) &
				       ~(uintptr_t)(CACHE_LINE - 1));
	*table = t;
	return 0;
}

void xv_mac_table_destroy(struct xv_mac_table *table)
{
	if (!table)
		return;
	free(table->memory);
	free(table);
}

static inline uint16_t lookup(const struct xv_mac_table *table, uint64_t key, uint64_t hash)
{
	struct slot *s = find(table, key, hash);
	uint64_t value;

	return s && slot_read(s, key, &value) ? value_port(value) : XV_MAC_NONE;
}

uint16_t xv_mac_table_lookup(const struct xv_mac_table *table, uint64_t key)
{
	return lookup(table, key, hash_key(table, key));
}

void xv_mac_table_lookup_burst(const struct xv_mac_table *table, const uint64_t *keys,
			       unsigned int n, uint16_t *ports)
{
	uint64_t hashes[BURST];
	unsigned int i, chunk;

	for (; n > 0; n -= chunk, keys += chunk, ports += chunk) {
		chunk = n < BURST ? n : BURST;
		for (i = 0; i < chunk; i++) {
			hashes[i] = hash_key(table, keys[i]);
			__builtin_prefetch(bucket_first(table, hashes[i]));
		}
		for (i = 0; i < chunk; i++)
			ports[i] = lookup(table, keys[i], hashes[i]);
	}
}

/* Seen where it was: only the time is renewed. False if the entry is elsewhere or gone. */
static bool refresh(struct slot *s, uint64_t key, uint16_t port, uint32_t now_s)
{
	uint64_t value;

	if (!slot_read(s, key, &value) || value_port(value) != port)
		return false;
	/* A worker may be a second behind another: never back in time. */
	if ((int32_t)(now_s - value_seen(value)) > 0)
		atomic_compare_exchange_strong_explicit(&s->value, &value, value_make(port, now_s),
							memory_order_release, memory_order_relaxed);
	return true;
}

void xv_mac_table_learn(struct xv_mac_table *table, uint64_t key, uint16_t port, uint32_t now_s)
{
	uint64_t hash = hash_key(table, key);
	struct slot *s = find(table, key, hash);

	if (s && refresh(s, key, port, now_s))
		return;
	/* Without the lock: a flood of made-up addresses must not keep it busy. */
	if (!s && atomic_load_explicit(&table->count, memory_order_relaxed) >= table->limit) {
		atomic_fetch_add_explicit(&table->refused, 1, memory_order_relaxed);
		return;
	}
	if (!lock_worker(table))
		return;
	s = find(table, key, hash);
	if (s) {
		atomic_store_explicit(&s->value, value_make(port, now_s), memory_order_release);
		changed(table);
	} else if (!insert(table, key, hash, value_make(port, now_s))) {
		atomic_fetch_add_explicit(&table->refused, 1, memory_order_relaxed);
	}
	unlock(table);
}

typedef bool (*doomed_fn)(uint64_t value, uint32_t a, uint32_t b);

static unsigned int sweep_bucket(struct xv_mac_table *table, struct bucket *b, doomed_fn doomed,
				 uint32_t arg1, uint32_t arg2)
{
	unsigned int i, n = 0;
	struct slot *s;

	for (i = 0; i < BUCKET_SLOTS; i++)
		if (atomic_load_explicit(&b->slots[i].key, memory_order_relaxed))
			break;
	if (i == BUCKET_SLOTS)
		return 0;
	lock_control(table);
	for (; i < BUCKET_SLOTS; i++) {
		s = &b->slots[i];
		if (atomic_load_explicit(&s->key, memory_order_relaxed) &&
		    doomed(atomic_load_explicit(&s->value, memory_order_relaxed), arg1, arg2)) {
			slot_clear(s);
			n++;
		}
	}
	atomic_fetch_sub_explicit(&table->count, n, memory_order_relaxed);
	if (n > 0)
		changed(table);
	unlock(table);
	return n;
}

/* Remove the entries that are doomed. The lock is held for one bucket at a time. */
static unsigned int sweep(struct xv_mac_table *table, doomed_fn doomed, uint32_t arg1,
			  uint32_t arg2)
{
	unsigned int removed = 0;
	uint32_t moves;
	uint64_t i;

	/* A worker may move an entry behind our back to where we were: then look again. */
	do {
		moves = atomic_load_explicit(&table->moves, memory_order_acquire);
		for (i = 0; i <= table->mask; i++)
			removed += sweep_bucket(table, &table->buckets[i], doomed, arg1, arg2);
	} while (atomic_load_explicit(&table->moves, memory_order_acquire) != moves);
	return removed;
}

static bool is_old(uint64_t value, uint32_t now_s, uint32_t age_s)
{
	/* Signed: a worker's clock may be a second ahead of ours. */
	return (int64_t)(int32_t)(now_s - value_seen(value)) >= (int64_t)age_s;
}

static bool is_of_port(uint64_t value, uint32_t port, uint32_t unused)
{
	return port == XV_MAC_NONE || value_port(value) == port;
}

unsigned int xv_mac_table_age(struct xv_mac_table *table, uint32_t now_s, uint32_t age_s)
{
	return sweep(table, is_old, now_s, age_s);
}

unsigned int xv_mac_table_flush(struct xv_mac_table *table, uint16_t port)
{
	return sweep(table, is_of_port, port, 0);
}

void xv_mac_table_walk(const struct xv_mac_table *table,
		       void (*fn)(uint64_t key, uint16_t port, uint32_t seen_s, void *arg),
		       void *arg)
{
	uint64_t bucket, key, value;
	struct slot *s;
	unsigned int i;

	for (bucket = 0; bucket <= table->mask; bucket++) {
		for (i = 0; i < BUCKET_SLOTS; i++) {
			s = &table->buckets[bucket].slots[i];
			key = atomic_load_explicit(&s->key, memory_order_acquire);
			if (key && slot_read(s, key, &value))
				fn(key, value_port(value), value_seen(value), arg);
		}
	}
}

uint32_t xv_mac_table_changes(const struct xv_mac_table *table)
{
	return atomic_load_explicit(atomic_load_explicit(&table->changes, memory_order_relaxed), memory_order_acquire);
}

void xv_mac_table_share_changes(struct xv_mac_table *table, _Atomic uint32_t *changes)
{
	atomic_store(&table->changes, changes);
}

unsigned int xv_mac_table_count(const struct xv_mac_table *table)
{
	return atomic_load_explicit(&table->count, memory_order_relaxed);
}

uint64_t xv_mac_table_refused(const struct xv_mac_table *table)
{
	return atomic_load_explicit(&table->refused, memory_order_relaxed);
}
