/* SPDX-License-Identifier: Apache-2.0 */
/* Connections come and go: see conntrack_table.h. */
#include "fastpath/conntrack_table.h"

#include <errno.h>

#include <rte_branch_prediction.h>
#include <rte_common.h>
#include <rte_prefetch.h>

#include "fastpath/conntrack_helper.h"

#define CHAIN_MAX 64 /* lines of a bucket that a reader looks at: a bound for one that is led astray by a line's new use */
#define STOCK_MAX 32 /* free connections in a shard */
#define RETRIES 8    /* when others changed what we looked at */

/* The wheel looks at each connection at least so often: xv_conntrack_advance() may shorten a timeout without a word to it. */
#define LOOK_MS (250 * 1000)

#define TUPLE_WORDS (sizeof(struct xv_ct_tuple) / 8)

/* ---- Tuples: written while nobody can look, but for readers that are late; hence in atomic words ---- */

static inline uint64_t word_of(const struct xv_ct_tuple *t, unsigned int i)
{
	return __atomic_load_n((const uint64_t *)(const void *)t + i, __ATOMIC_RELAXED);
}

static void tuple_store(struct xv_ct_tuple *to, const struct xv_ct_tuple *from)
{
	unsigned int i;

	for (i = 0; i < TUPLE_WORDS; i++)
		__atomic_store_n((uint64_t *)(void *)to + i, word_of(from, i), __ATOMIC_RELAXED);
}

static void tuple_load(struct xv_ct_tuple *to, const struct xv_ct_tuple *from)
{
	tuple_store(to, from);
}

static inline bool tuple_is(const struct xv_ct_tuple *a, const struct xv_ct_tuple *b)
{
	uint64_t differ = 0;
	unsigned int i;

	for (i = 0; i < TUPLE_WORDS; i++)
		differ |= word_of(a, i) ^ word_of(b, i);
	return differ == 0;
}

static inline uint64_t fold(uint64_t a, uint64_t b)
{
	unsigned __int128 product = (unsigned __int128)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* Both of them look alike to either direction: ports in the order of `swap`; of ICMP the lesser of question and answer. */
static inline uint64_t rest_of(const struct xv_ct_tuple *tuple, bool swap)
{
	uint64_t rest = word_of(tuple, 4);
	uint32_t ports = (uint32_t)rest;

	if (unlikely(tuple->proto == (tuple->ipv6 ? 58 : 1))) {
		rte_be16_t other = xv_ct_icmp_reverse(tuple->dst_port, tuple->ipv6);

		return rest ^ (other != 0xffff && other < tuple->dst_port ? (uint64_t)(other ^ tuple->dst_port) << 16 : 0);
	}
	return rest ^ ports ^ (swap ? ports << 16 | ports >> 16 : ports);
}

/* Keyed: nobody outside can make tuples fall together. A packet and its answer have the same hash, unless they are translated. */
uint64_t xv_ct_hash(const struct xv_conntrack *ct, const struct xv_ct_tuple *tuple)
{
	const uint64_t *secret = ct->secret;
	uint64_t a = fold(word_of(tuple, 0) ^ secret[0], word_of(tuple, 1) ^ secret[1]);
	uint64_t b = fold(word_of(tuple, 2) ^ secret[0], word_of(tuple, 3) ^ secret[1]);
	bool swap = a > b || (a == b && tuple->src_port > tuple->dst_port);

	return fold((swap ? b : a) ^ secret[2], (swap ? a : b) ^ rest_of(tuple, swap) ^ secret[3]);
}

/* ---- Shards ---- */

static inline struct xv_ct_shard *shard_of(struct xv_conntrack *ct, uint64_t hash)
{
	return &ct->shards[hash & (XV_CT_SHARDS - 1)];
}

static void lock_both(struct xv_ct_shard *a, struct xv_ct_shard *b)
{
	xv_ct_lock(a < b ? &a->lock : &b->lock);
	if (a != b)
		xv_ct_lock(a < b ? &b->lock : &a->lock);
}

static void unlock_both(struct xv_ct_shard *a, struct xv_ct_shard *b)
{
	xv_ct_unlock(&a->lock);
	if (a != b)
		xv_ct_unlock(&b->lock);
}

void xv_ct_count(struct xv_conntrack *ct, uint64_t hash, enum xv_ct_count what)
{
	atomic_fetch_add_explicit(&shard_of(ct, hash)->counts[what], 1, memory_order_relaxed);
}

/* Those that come and go are counted under the shard's lock only. */
static void count_locked(struct xv_ct_shard *shard, enum xv_ct_count what)
{
	_Atomic uint64_t *c = &shard->counts[what];

	atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + 1, memory_order_relaxed);
}

/* ---- The hash table ---- */

static inline struct xv_ct_bucket *bucket_of(struct xv_conntrack *ct, uint64_t hash)
{
	return &ct->buckets[hash & ct->bucket_mask];
}

static inline struct xv_ct_bucket *bucket_next(struct xv_conntrack *ct, struct xv_ct_bucket *b)
{
	uint32_t next = atomic_load_explicit(&b->next, memory_order_acquire);

	return next != 0 ? &ct->overflow[next] : NULL;
}

static inline uint64_t entry_of(uint64_t hash, uint32_t index, enum xv_ct_dir dir)
{
	return hash >> 32 << 32 | index << 1 | (uint32_t)dir;
}

/* All lines that the packet is going to need, at once. */
static inline void prefetch(const struct xv_conn *conn)
{
	unsigned int i;

	for (i = 0; i < sizeof(*conn); i += 64)
		rte_prefetch0((const uint8_t *)conn + i);
}

/* Whoever has this tuple, expired or not; *generation: as it was before the look at the tuple. NULL: none. */
static struct xv_conn *lookup(struct xv_conntrack *ct, const struct xv_ct_tuple *tuple, uint64_t hash,
			      enum xv_ct_dir *dir, uint32_t *generation)
{
	struct xv_ct_bucket *b = bucket_of(ct, hash);
	unsigned int i, lines;

	for (lines = 0; b != NULL && lines < CHAIN_MAX; b = bucket_next(ct, b), lines++) {
		for (i = 0; i < XV_CT_BUCKET_ENTRIES; i++) {
			uint64_t entry = atomic_load_explicit(&b->entries[i], memory_order_acquire);
			struct xv_conn *conn;

			if (likely(entry >> 32 != hash >> 32) || entry == 0)
				continue;
			conn = &ct->conns[(uint32_t)entry >> 1];
			prefetch(conn);
			*generation = atomic_load_explicit(&conn->generation, memory_order_acquire);
			if (*generation & XV_CONN_DEAD)
				continue;
			*dir = tuple_is(&conn->tuple[XV_CT_ORIGINAL], tuple) ? XV_CT_ORIGINAL : XV_CT_REPLY;
			if (*dir == XV_CT_ORIGINAL || tuple_is(&conn->tuple[XV_CT_REPLY], tuple))
				return conn;
		}
	}
	return NULL;
}

bool xv_ct_may_have(struct xv_conntrack *ct, uint64_t hash)
{
	struct xv_ct_bucket *b = bucket_of(ct, hash);
	unsigned int i, lines;

	for (lines = 0; b != NULL && lines < CHAIN_MAX; b = bucket_next(ct, b), lines++) {
		for (i = 0; i < XV_CT_BUCKET_ENTRIES; i++) {
			uint64_t entry = atomic_load_explicit(&b->entries[i], memory_order_relaxed);

			if (unlikely(entry >> 32 == hash >> 32) && entry != 0) {
				prefetch(&ct->conns[(uint32_t)entry >> 1]);
				return true;
			}
		}
	}
	return false;
}

struct xv_conn *xv_ct_find(struct xv_conntrack *ct, const struct xv_ct_tuple *tuple, uint64_t hash, uint32_t now_ms,
			   enum xv_ct_dir *dir)
{
	unsigned int i;

	for (i = 0; i < RETRIES; i++) {
		uint32_t generation;
		struct xv_conn *conn = lookup(ct, tuple, hash, dir, &generation);

		if (conn == NULL || xv_conn_is_expired(conn, now_ms))
			return NULL;
		xv_conn_lock(conn);
		if (likely(xv_conn_is_alive(conn, xv_conn_incarnation(generation)) && !xv_conn_is_expired(conn, now_ms)))
			return conn;
		xv_conn_unlock(conn);
	}
	return NULL;
}

bool xv_ct_is_taken(struct xv_conntrack *ct, const struct xv_ct_tuple *tuple, uint32_t now_ms)
{
	uint32_t generation;
	enum xv_ct_dir dir;
	struct xv_conn *conn = lookup(ct, tuple, xv_ct_hash(ct, tuple), &dir, &generation);

	return conn != NULL && !xv_conn_is_expired(conn, now_ms);
}

/* Under the shard's lock. A line for a bucket that has no room, or NULL. */
static struct xv_ct_bucket *overflow_take(struct xv_conntrack *ct, struct xv_ct_shard *shard)
{
	uint32_t number = shard->free_bucket;

	if (number != 0) {
		shard->free_bucket = atomic_load_explicit(&ct->overflow[number].next, memory_order_relaxed);
		atomic_store_explicit(&ct->overflow[number].next, 0, memory_order_relaxed);
		return &ct->overflow[number];
	}
	number = atomic_load_explicit(&ct->fresh_bucket, memory_order_relaxed);
	do {
		if (number > ct->bucket_mask) /* as many as there are buckets */
			return NULL;
	} while (!atomic_compare_exchange_weak_explicit(&ct->fresh_bucket, &number, number + 1, memory_order_relaxed,
							memory_order_relaxed));
	return &ct->overflow[number];
}

/* Under the shard's lock. */
static bool entry_add(struct xv_conntrack *ct, uint64_t hash, uint32_t index, enum xv_ct_dir dir)
{
	struct xv_ct_bucket *b = bucket_of(ct, hash), *last = NULL;
	unsigned int i;

	for (; b != NULL; last = b, b = bucket_next(ct, b)) {
		for (i = 0; i < XV_CT_BUCKET_ENTRIES; i++) {
			if (atomic_load_explicit(&b->entries[i], memory_order_relaxed) == 0) {
				atomic_store_explicit(&b->entries[i], entry_of(hash, index, dir), memory_order_release);
				return true;
			}
		}
	}
	b = overflow_take(ct, shard_of(ct, hash));
	if (b == NULL)
		return false;
	atomic_store_explicit(&b->entries[0], entry_of(hash, index, dir), memory_order_release);
	atomic_store_explicit(&last->next, (uint32_t)(b - ct->overflow), memory_order_release);
	return true;
}

/* Under the shard's lock. The last line of a chain goes when it is empty: a reader that is on it just then sees nothing there that was
 * meant for it, and whatever it is used for next compares different. */
static void entry_remove(struct xv_conntrack *ct, uint64_t hash, uint32_t index, enum xv_ct_dir dir)
{
	struct xv_ct_bucket *b = bucket_of(ct, hash), *before = NULL;
	struct xv_ct_shard *shard = shard_of(ct, hash);
	uint64_t entry = entry_of(hash, index, dir), rest = 0;
	unsigned int i;

	for (; b != NULL; before = b, b = bucket_next(ct, b)) {
		for (i = 0; i < XV_CT_BUCKET_ENTRIES; i++) {
			if (atomic_load_explicit(&b->entries[i], memory_order_relaxed) == entry)
				goto found;
		}
	}
	return;
found:
	atomic_store_explicit(&b->entries[i], 0, memory_order_release);
	if (before == NULL || atomic_load_explicit(&b->next, memory_order_relaxed) != 0)
		return;
	for (i = 0; i < XV_CT_BUCKET_ENTRIES; i++)
		rest |= atomic_load_explicit(&b->entries[i], memory_order_relaxed);
	if (rest != 0)
		return;
	atomic_store_explicit(&before->next, 0, memory_order_release);
	atomic_store_explicit(&b->next, shard->free_bucket, memory_order_relaxed);
	shard->free_bucket = (uint32_t)(b - ct->overflow);
}

/* One entry does for both directions where both have the same hash. Under both shards' locks. */
static bool entries_add(struct xv_conntrack *ct, const uint64_t hash[2], uint32_t index)
{
	if (!entry_add(ct, hash[0], index, XV_CT_ORIGINAL))
		return false;
	if (hash[1] == hash[0] || entry_add(ct, hash[1], index, XV_CT_REPLY))
		return true;
	entry_remove(ct, hash[0], index, XV_CT_ORIGINAL);
	return false;
}

static void entries_remove(struct xv_conntrack *ct, const uint64_t hash[2], uint32_t index)
{
	entry_remove(ct, hash[0], index, XV_CT_ORIGINAL);
	if (hash[1] != hash[0])
		entry_remove(ct, hash[1], index, XV_CT_REPLY);
}

/* ---- Memory ---- */

/* From the pool to the shard's stock, or one for now. Under the shard's lock. */
static void stock_up(struct xv_conntrack *ct, struct xv_ct_shard *shard)
{
	uint32_t n = RTE_MAX(atomic_load_explicit(&ct->stock, memory_order_relaxed), 1u), fresh, pool_n;

	xv_ct_lock(&ct->pool_lock);
	pool_n = atomic_load_explicit(&ct->pool_n, memory_order_relaxed);
	fresh = atomic_load_explicit(&ct->fresh, memory_order_relaxed);
	for (; n > 0 && fresh - 1 - pool_n < ct->out_max; n--) {
		uint32_t index = ct->pool_free;

		if (index != 0) {
			ct->pool_free = ct->conns[index].older;
			pool_n--;
		} else if (fresh <= ct->max) {
			index = fresh++;
		} else {
			break;
		}
		ct->conns[index].older = shard->free;
		shard->free = index;
		shard->n_free++;
	}
	atomic_store_explicit(&ct->pool_n, pool_n, memory_order_relaxed);
	atomic_store_explicit(&ct->fresh, fresh, memory_order_release);
	if (fresh > atomic_load_explicit(&ct->provided, memory_order_relaxed))
		atomic_store_explicit(&ct->wants_memory, true, memory_order_relaxed);
	xv_ct_unlock(&ct->pool_lock);
}

static uint32_t memory_take(struct xv_conntrack *ct, struct xv_ct_shard *shard)
{
	uint32_t index;

	if (shard->free == 0)
		stock_up(ct, shard);
	index = shard->free;
	if (index != 0) {
		shard->free = ct->conns[index].older;
		shard->n_free--;
		prefetch(&ct->conns[shard->free]); /* it is next */
	}
	return index;
}

/* What is more than the shard is to keep. Under its lock. */
static void stock_down(struct xv_conntrack *ct, struct xv_ct_shard *shard, uint32_t keep)
{
	uint32_t index, n = 0;

	xv_ct_lock(&ct->pool_lock);
	while (shard->n_free > keep) {
		index = shard->free;
		shard->free = ct->conns[index].older;
		shard->n_free--;
		ct->conns[index].older = ct->pool_free;
		ct->pool_free = index;
		n++;
	}
	atomic_store_explicit(&ct->pool_n, atomic_load_explicit(&ct->pool_n, memory_order_relaxed) + n, memory_order_relaxed);
	xv_ct_unlock(&ct->pool_lock);
}

static void memory_give(struct xv_conntrack *ct, struct xv_ct_shard *shard, uint32_t index)
{
	uint32_t keep = atomic_load_explicit(&ct->stock, memory_order_relaxed);

	ct->conns[index].older = shard->free;
	shard->free = index;
	/* Nothing is left for others: this is for them. */
	if (atomic_load_explicit(&ct->pool_n, memory_order_relaxed) == 0)
		keep = 0;
	if (++shard->n_free > 2 * keep)
		stock_down(ct, shard, keep);
}

/* Not so much that a small table seems full while shards keep what is left. */
static uint32_t stock_for(uint32_t connections)
{
	return RTE_MIN(connections / (XV_CT_SHARDS * 1024), (uint32_t)STOCK_MAX);
}

uint32_t xv_ct_room_for(uint32_t connections)
{
	return connections + 2 * XV_CT_SHARDS * stock_for(connections);
}

void xv_ct_set_max(struct xv_conntrack *ct, uint32_t connections)
{
	uint32_t stock = stock_for(connections), i;

	atomic_store_explicit(&ct->connections_max, connections, memory_order_relaxed);
	atomic_store_explicit(&ct->stock, stock, memory_order_relaxed);
	for (i = 0; i < XV_CT_SHARDS; i++) {
		xv_ct_lock(&ct->shards[i].lock);
		stock_down(ct, &ct->shards[i], 2 * stock);
		xv_ct_unlock(&ct->shards[i].lock);
	}
	xv_ct_lock(&ct->pool_lock);
	ct->out_max = xv_ct_room_for(connections);
	xv_ct_unlock(&ct->pool_lock);
}

/* ---- Half-open connections ---- */

static uint32_t account_of(uint16_t port, uint16_t zone)
{
	return ((uint32_t)port * 2654435761u >> 8 ^ zone) % XV_CT_ACCOUNTS;
}

static uint32_t account_of_conn(const struct xv_conn *conn)
{
	return account_of(conn->port, conn->tuple[0].zone);
}

static uint32_t account_n(struct xv_conntrack *ct, uint32_t account)
{
	return atomic_load_explicit(&ct->accounts[account].n, memory_order_relaxed);
}

static void account_set_n(struct xv_conntrack *ct, uint32_t account, uint32_t n)
{
	uint64_t bit = UINT64_C(1) << account % 64;
	_Atomic uint64_t *word = &ct->occupied[account / 64];

	atomic_store_explicit(&ct->accounts[account].n, n, memory_order_relaxed);
	if (n == 0)
		atomic_fetch_and_explicit(word, ~bit, memory_order_relaxed);
	else if (!(atomic_load_explicit(word, memory_order_relaxed) & bit))
		atomic_fetch_or_explicit(word, bit, memory_order_relaxed);
}

/* The connection is locked, here and below. */
static void account_add(struct xv_conntrack *ct, struct xv_conn *conn)
{
	uint32_t number = account_of_conn(conn), index = xv_ct_index(ct, conn);
	struct xv_ct_account *a = &ct->accounts[number];

	xv_ct_lock(&a->lock);
	conn->older = a->newest;
	conn->newer = 0;
	if (a->newest != 0)
		ct->conns[a->newest].newer = index;
	else
		a->oldest = index;
	a->newest = index;
	account_set_n(ct, number, account_n(ct, number) + 1);
	xv_ct_unlock(&a->lock);
}

static void account_remove(struct xv_conntrack *ct, struct xv_conn *conn)
{
	uint32_t number = account_of_conn(conn);
	struct xv_ct_account *a = &ct->accounts[number];

	xv_ct_lock(&a->lock);
	if (conn->older != 0)
		ct->conns[conn->older].newer = conn->newer;
	else
		a->oldest = conn->newer;
	if (conn->newer != 0)
		ct->conns[conn->newer].older = conn->older;
	else
		a->newest = conn->older;
	account_set_n(ct, number, account_n(ct, number) - 1);
	xv_ct_unlock(&a->lock);
}

void xv_ct_settle(struct xv_conntrack *ct, struct xv_conn *conn)
{
	conn->flags &= (uint8_t)~XV_CONN_HALF_OPEN;
	account_remove(ct, conn);
}

static bool evict_from(struct xv_conntrack *ct, uint32_t account, uint32_t now_ms)
{
	struct xv_ct_account *a = &ct->accounts[account];
	struct xv_conn *conn;
	uint32_t incarnation;

	xv_ct_lock(&a->lock);
	conn = a->oldest != 0 ? &ct->conns[a->oldest] : NULL;
	incarnation = conn ? xv_conn_incarnation(atomic_load_explicit(&conn->generation, memory_order_relaxed)) : 0;
	xv_ct_unlock(&a->lock);
	return conn != NULL && xv_ct_kill(ct, conn, incarnation, XV_CT_WHY_EVICTED, now_ms);
}

/* The table is full: who has most half-open connections loses one. True: it did, or something happened that is worth another look. */
static bool evict_any(struct xv_conntrack *ct, uint32_t own, uint32_t now_ms)
{
	uint32_t account = atomic_load_explicit(&ct->crowded, memory_order_relaxed);
	unsigned int i;

	if (account_n(ct, own) >= account_n(ct, account))
		account = own;
	for (i = 0; account_n(ct, account) == 0; i++) {
		uint64_t word;

		if (i == XV_CT_ACCOUNTS / 64)
			return false;
		word = atomic_load_explicit(&ct->occupied[i], memory_order_relaxed);
		if (word != 0)
			account = i * 64 + (uint32_t)__builtin_ctzll(word);
	}
	(void)evict_from(ct, account, now_ms);
	return true;
}

/* ---- Zones ---- */

static bool zone_enter(struct xv_conntrack *ct, uint16_t number)
{
	struct xv_ct_zone *zone = &ct->zones[number];
	uint32_t limit = atomic_load_explicit(&zone->limit, memory_order_relaxed);

	if (limit == UINT32_MAX)
		limit = atomic_load_explicit(&ct->zone_limit, memory_order_relaxed);
	if (atomic_fetch_add_explicit(&zone->n, 1, memory_order_relaxed) < limit || limit == 0)
		return true;
	atomic_fetch_sub_explicit(&zone->n, 1, memory_order_relaxed);
	return false;
}

static void zone_leave(struct xv_conntrack *ct, uint16_t number)
{
	atomic_fetch_sub_explicit(&ct->zones[number].n, 1, memory_order_relaxed);
}

/* ---- Insertion ---- */

/* The time for which it is entered in the wheel. */
static uint32_t look_at(const struct xv_conn *conn, uint32_t now_ms)
{
	int32_t left = (int32_t)(xv_conn_expires(conn) - now_ms);

	return now_ms + (uint32_t)RTE_MIN(left, LOOK_MS);
}

/* Copy what is not the table's own, and let it live. Both shards are locked; the connection becomes so. */
static void conn_fill(struct xv_conn *conn, const struct xv_conn *from)
{
	uint32_t generation = atomic_load_explicit(&conn->generation, memory_order_relaxed), i;

	xv_conn_lock(conn);
	xv_conn_set_expires(conn, xv_conn_expires(from));
	conn->state = from->state;
	conn->flags = from->flags;
	conn->timeouts = from->timeouts;
	conn->proto = from->proto;
	conn->port = from->port;
	conn->helper = from->helper;
	conn->pad = 0;
	conn->master = from->master;
	__atomic_store_n(&conn->mark, from->mark, __ATOMIC_RELAXED);
	for (i = 0; i < 2; i++) {
		__atomic_store_n(&conn->label[i], from->label[i], __ATOMIC_RELAXED);
		tuple_store(&conn->tuple[i], &from->tuple[i]);
		atomic_store_explicit(&conn->packets[i], atomic_load_explicit(&from->packets[i], memory_order_relaxed),
				      memory_order_relaxed);
		atomic_store_explicit(&conn->bytes[i], atomic_load_explicit(&from->bytes[i], memory_order_relaxed),
				      memory_order_relaxed);
	}
	generation = (xv_conn_incarnation(generation) + 1) << XV_CONN_VERSION_BITS;
	atomic_store_explicit(&conn->generation, generation, memory_order_release);
}

/*
 * Is somebody in the way? 0: nobody; -EAGAIN: whose time is over, and who is gone by now (the shards were unlocked).
 * -EEXIST, -EADDRINUSE: as xv_ct_insert().
 */
static int make_way(struct xv_conntrack *ct, const struct xv_ct_tuple *tuple, const uint64_t hash[2],
		    struct xv_ct_shard *home, struct xv_ct_shard *other, uint32_t now_ms)
{
	struct xv_conn *conn;
	uint32_t generation;
	enum xv_ct_dir dir;
	unsigned int i;

	if (likely(hash[0] == hash[1] && !xv_ct_may_have(ct, hash[0])))
		return 0;
	for (i = 0; i < 2; i++) {
		conn = lookup(ct, &tuple[i], hash[i], &dir, &generation);
		if (conn == NULL)
			continue;
		unlock_both(home, other);
		if (!xv_conn_is_expired(conn, now_ms))
			return i == 0 ? -EEXIST : -EADDRINUSE;
		(void)xv_ct_kill(ct, conn, xv_conn_incarnation(generation), XV_CT_WHY_EXPIRED, now_ms);
		return -EAGAIN;
	}
	return 0;
}

/* One try. 0; -EAGAIN: again; -ENOMEM: no memory; else as xv_ct_insert(). */
static int insert_try(struct xv_conntrack *ct, const struct xv_conn *from, const uint64_t hash[2], uint32_t now_ms,
		      struct xv_conn **connp)
{
	struct xv_ct_shard *home = shard_of(ct, hash[0]), *other = shard_of(ct, hash[1]);
	struct xv_conn *conn;
	uint32_t index;
	int rc;

	lock_both(home, other);
	rc = make_way(ct, from->tuple, hash, home, other, now_ms);
	if (rc != 0)
		return rc;
	index = memory_take(ct, home);
	if (index == 0) {
		unlock_both(home, other);
		return -ENOMEM;
	}
	conn = &ct->conns[index];
	conn_fill(conn, from);
	if (!entries_add(ct, hash, index)) {
		atomic_fetch_or_explicit(&conn->generation, XV_CONN_DEAD, memory_order_relaxed);
		xv_conn_unlock(conn);
		memory_give(ct, home, index);
		unlock_both(home, other);
		return -ENOBUFS;
	}
	if (conn->flags & XV_CONN_HALF_OPEN)
		account_add(ct, conn);
	xv_timer_wheel_add(&home->wheel, index, look_at(conn, now_ms));
	count_locked(home, XV_CT_COUNT_INSERTED);
	unlock_both(home, other);
	*connp = conn;
	return 0;
}

static uint32_t half_open_max(const struct xv_conntrack *ct)
{
	return atomic_load_explicit(&ct->half_open_max, memory_order_relaxed);
}

int xv_ct_insert(struct xv_conntrack *ct, const struct xv_conn *from, uint64_t original, uint32_t now_ms, struct xv_conn **conn)
{
	bool translated = (from->flags & (XV_CONN_SNAT | XV_CONN_DNAT)) != 0;
	const uint64_t hash[2] = {original, translated ? xv_ct_hash(ct, &from->tuple[1]) : original};
	uint32_t own = account_of_conn(from);
	unsigned int i;
	int rc;

	if (!zone_enter(ct, from->tuple[0].zone)) {
		xv_ct_count(ct, hash[0], XV_CT_COUNT_ZONE);
		return -EDQUOT;
	}
	for (i = 0; i < RETRIES && from->flags & XV_CONN_HALF_OPEN && account_n(ct, own) >= half_open_max(ct); i++)
		(void)evict_from(ct, own, now_ms);
	for (i = 0; i < RETRIES; i++) {
		rc = insert_try(ct, from, hash, now_ms, conn);
		if (rc == 0)
			return 0;
		if (rc == -ENOMEM && !evict_any(ct, own, now_ms))
			break;
		if (rc != -ENOMEM && rc != -EAGAIN)
			break;
	}
	zone_leave(ct, from->tuple[0].zone);
	if (rc == -EEXIST || rc == -EADDRINUSE)
		return rc;
	xv_ct_count(ct, hash[0], XV_CT_COUNT_FULL);
	return -ENOBUFS;
}

/* ---- Deletion ---- */

/* Both shards and the connection are locked. */
static bool may_go(const struct xv_conn *conn, uint32_t incarnation, enum xv_ct_why why, uint32_t now_ms)
{
	if (!xv_conn_is_alive(conn, incarnation))
		return false;
	return why == XV_CT_WHY_EXPIRED ? xv_conn_is_expired(conn, now_ms) :
	       why == XV_CT_WHY_EVICTED ? (conn->flags & XV_CONN_HALF_OPEN) != 0 :
					  true;
}

bool xv_ct_kill(struct xv_conntrack *ct, struct xv_conn *conn, uint32_t incarnation, enum xv_ct_why why, uint32_t now_ms)
{
	static const enum xv_ct_count counts[] = {XV_CT_COUNT_DELETED, XV_CT_COUNT_EXPIRED, XV_CT_COUNT_EVICTED};
	uint32_t index = xv_ct_index(ct, conn);
	struct xv_ct_tuple tuple[2];
	struct xv_ct_shard *home, *other;
	uint64_t hash[2];
	bool go;

	/* If it became another one meanwhile these are nobody's tuples, and we find out under the locks. */
	tuple_load(&tuple[0], &conn->tuple[0]);
	tuple_load(&tuple[1], &conn->tuple[1]);
	hash[0] = xv_ct_hash(ct, &tuple[0]);
	hash[1] = xv_ct_hash(ct, &tuple[1]);
	home = shard_of(ct, hash[0]);
	other = shard_of(ct, hash[1]);
	lock_both(home, other);
	xv_conn_lock(conn);
	go = may_go(conn, incarnation, why, now_ms) && tuple_is(&conn->tuple[0], &tuple[0]) &&
	     tuple_is(&conn->tuple[1], &tuple[1]);
	if (go) {
		atomic_fetch_or_explicit(&conn->generation, XV_CONN_DEAD, memory_order_release);
		entries_remove(ct, hash, index);
		xv_timer_wheel_del(&home->wheel, index);
		if (conn->flags & XV_CONN_HALF_OPEN)
			account_remove(ct, conn);
		if (conn->flags & XV_CONN_HELPER)
			xv_ct_helper_release(ct->helpers, conn);
		zone_leave(ct, tuple[0].zone);
		count_locked(home, counts[why]);
	}
	xv_conn_unlock(conn);
	if (go)
		memory_give(ct, home, index);
	unlock_both(home, other);
	return go;
}

/* ---- Time ---- */

void xv_ct_rearm(struct xv_conntrack *ct, struct xv_conn *conn, uint32_t incarnation, uint32_t now_ms)
{
	struct xv_ct_tuple tuple;
	struct xv_ct_shard *home;

	tuple_load(&tuple, &conn->tuple[0]);
	home = shard_of(ct, xv_ct_hash(ct, &tuple));
	xv_ct_lock(&home->lock);
	/* Alive, and the tuple was its own: then it belongs to this shard, and stays alive while we have the lock. */
	if (xv_conn_is_alive(conn, incarnation) && tuple_is(&conn->tuple[0], &tuple)) {
		xv_timer_wheel_del(&home->wheel, xv_ct_index(ct, conn));
		xv_timer_wheel_add(&home->wheel, xv_ct_index(ct, conn), look_at(conn, now_ms));
	}
	xv_ct_unlock(&home->lock);
}

#define EXPIRE_BATCH 16 /* looks while the lock is held */

unsigned int xv_ct_expire_shard(struct xv_conntrack *ct, unsigned int shard, unsigned int budget, uint32_t now_ms)
{
	struct xv_ct_shard *home = &ct->shards[shard];
	uint32_t due[EXPIRE_BATCH], incarnation[EXPIRE_BATCH], index;
	unsigned int looks = 0, batch, n, i;

	do {
		n = 0;
		xv_ct_lock(&home->lock);
		for (batch = 0; batch < EXPIRE_BATCH; batch++) {
			struct xv_conn *conn;

			index = xv_timer_wheel_next(&home->wheel, now_ms);
			if (index == 0)
				break;
			conn = &ct->conns[index];
			if (xv_conn_is_expired(conn, now_ms)) {
				due[n] = index;
				incarnation[n++] = xv_conn_incarnation(
					atomic_load_explicit(&conn->generation, memory_order_relaxed));
			} else {
				xv_timer_wheel_add(&home->wheel, index, look_at(conn, now_ms));
			}
		}
		xv_ct_unlock(&home->lock);
		/* Outside, for the reply's shard may come before this one. Whom a packet saved meanwhile goes back. */
		for (i = 0; i < n; i++) {
			if (!xv_ct_kill(ct, &ct->conns[due[i]], incarnation[i], XV_CT_WHY_EXPIRED, now_ms))
				xv_ct_rearm(ct, &ct->conns[due[i]], incarnation[i], now_ms);
		}
		looks += batch;
	} while (batch == EXPIRE_BATCH && looks < budget);
	return looks;
}
