/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of connections, private to conntrack.c, conntrack_table.c and conntrack_control.c. Locks: conntrack.h.
 *
 * Connections lie in one array, which is used as far as it ever had to be; index 0 is nobody. Each has an entry in the hash table,
 * where both directions are found, or if it is translated one for each. A bucket is one cache line of seven entries and, seldom, a chain of more lines. Entries do not move
 * while their connection lives, so a reader without a lock finds whoever is there all the while.
 *
 * A shard has the buckets whose number ends with its own, the timers of connections whose original tuple is in one of them,
 * and a small stock of free memory.
 */
#pragma once

#include "fastpath/conntrack_state.h"

#define XV_CT_SHARDS 64
#define XV_CT_BUCKET_ENTRIES 7
#define XV_CT_ACCOUNTS 4096
#define XV_CT_ZONES 65536

struct xv_ct_bucket {
	_Alignas(64) _Atomic uint64_t entries[XV_CT_BUCKET_ENTRIES]; /* hash's upper half << 32 | index << 1 | direction; 0: free */
	_Atomic uint32_t next; /* number of an overflow bucket; 0: none */
	uint32_t pad;
};

enum xv_ct_count {
	XV_CT_COUNT_INSERTED,
	XV_CT_COUNT_EXPIRED,
	XV_CT_COUNT_DELETED,
	XV_CT_COUNT_EVICTED,
	XV_CT_COUNT_FULL,
	XV_CT_COUNT_ZONE,
	XV_CT_COUNT_INVALID,
	XV_CT_COUNT_NAT,
	XV_CT_COUNTS
};

struct xv_ct_shard {
	_Alignas(64) _Atomic uint8_t lock;
	uint32_t free, n_free; /* connections, linked by `older` */
	uint32_t free_bucket;  /* overflow buckets, linked by `next` */
	_Alignas(64) _Atomic uint64_t counts[XV_CT_COUNTS];
	struct xv_timer_wheel wheel;
};

/* Half-open connections of a port and zone. Accounts are a hash table without chains: two that fall together share their bound. */
struct xv_ct_account {
	_Atomic uint8_t lock;
	_Atomic uint32_t n;
	uint32_t oldest, newest;
};

struct xv_ct_zone {
	_Atomic uint32_t n, limit; /* limit: UINT32_MAX: the default one */
};

struct xv_conntrack {
	struct xv_conn *conns;
	struct xv_ct_bucket *buckets, *overflow;
	struct xv_ct_shard *shards;
	struct xv_ct_account *accounts;
	struct xv_ct_zone *zones;
	struct xv_ct_helpers *helpers;
	uint32_t bucket_mask;
	uint32_t max; /* connections that there is room for */
	_Atomic uint32_t connections_max; /* as it was set */
	_Atomic uint32_t half_open_max;
	_Atomic uint32_t stock; /* free connections that a shard keeps */
	_Atomic bool pick_up;
	_Atomic bool shared;
	_Atomic bool wants_memory;  /* there will soon be none left that was provided ... */
	_Atomic uint32_t provided;  /* ... when connections from this one on are taken */
	_Atomic uint32_t zone_limit;
	uint64_t secret[4];
	_Atomic(const uint32_t *) timeouts[XV_CT_POLICIES]; /* in ms; class A */

	_Alignas(64) _Atomic uint8_t pool_lock;
	uint32_t pool_free;		/* linked by `older` */
	_Atomic uint32_t pool_n;
	uint32_t out_max;		/* that shards may have, in use and in stock */
	_Atomic uint32_t fresh;		/* the first that was never used */
	_Atomic uint32_t fresh_bucket;	/* overflow */
	_Atomic uint32_t crowded;	/* account with many, as of the last xv_conntrack_expire() */
	uint32_t expire_shard;		/* control: next one to look at */
	uint32_t seen_fresh;		/* control: when it looked last */
	size_t touched_buckets, touched_conns; /* control: bytes that memory was provided for */
	_Atomic uint64_t occupied[XV_CT_ACCOUNTS / 64]; /* accounts that are not empty */
};

static inline void xv_ct_lock(_Atomic uint8_t *lock)
{
	while (atomic_exchange_explicit(lock, 1, memory_order_acquire) != 0) {
		while (atomic_load_explicit(lock, memory_order_relaxed) != 0)
			rte_pause();
	}
}

static inline void xv_ct_unlock(_Atomic uint8_t *lock)
{
	atomic_store_explicit(lock, 0, memory_order_release);
}

static inline const uint32_t *xv_ct_timeouts(struct xv_conntrack *ct, uint8_t policy)
{
	return atomic_load_explicit(&ct->timeouts[policy], memory_order_acquire);
}

static inline uint32_t xv_ct_index(const struct xv_conntrack *ct, const struct xv_conn *conn)
{
	return (uint32_t)(conn - ct->conns);
}

static inline bool xv_conn_is_alive(const struct xv_conn *conn, uint32_t incarnation)
{
	uint32_t generation = atomic_load_explicit(&conn->generation, memory_order_relaxed);

	return xv_conn_incarnation(generation) == incarnation && !(generation & XV_CONN_DEAD);
}

/* ---- Any thread ---- */

uint64_t xv_ct_hash(const struct xv_conntrack *ct, const struct xv_ct_tuple *tuple);
void xv_ct_count(struct xv_conntrack *ct, uint64_t hash, enum xv_ct_count what);
/* Where look-up of a tuple with this hash begins. */
static inline const void *xv_ct_line(const struct xv_conntrack *ct, uint64_t hash)
{
	return &ct->buckets[hash & ct->bucket_mask];
}
/* Whether there may be anybody with this hash, whose memory is asked for then. */
bool xv_ct_may_have(struct xv_conntrack *ct, uint64_t hash);

/* Who has this tuple and is not expired, locked; NULL: nobody. */
struct xv_conn *xv_ct_find(struct xv_conntrack *ct, const struct xv_ct_tuple *tuple, uint64_t hash, uint32_t now_ms,
			   enum xv_ct_dir *dir);
/* Has anybody? */
bool xv_ct_is_taken(struct xv_conntrack *ct, const struct xv_ct_tuple *tuple, uint32_t now_ms);

/*
 * Insert a connection that is like `from`: all of it that is not the table's own; hash: of its original tuple. 0: *conn is locked.
 * -EEXIST: somebody else has the original tuple by now; -EADDRINUSE: the reply tuple is another connection's; -ENOBUFS: the table is full; -EDQUOT: the zone's limit.
 */
int xv_ct_insert(struct xv_conntrack *ct, const struct xv_conn *from, uint64_t hash, uint32_t now_ms, struct xv_conn **conn);

enum xv_ct_why {
	XV_CT_WHY_DELETED,
	XV_CT_WHY_EXPIRED, /* only if it is */
	XV_CT_WHY_EVICTED, /* only if it is half-open */
};
/* Places in the array for so many connections: what others have in stock is on top, so that nobody is refused before
 * the table is full. */
uint32_t xv_ct_room_for(uint32_t connections);
/* control. So many connections at most from now on, those that there are stay; not more than there is room for. */
void xv_ct_set_max(struct xv_conntrack *ct, uint32_t connections);

/* The connection goes, if it is still this incarnation; it is not locked. */
bool xv_ct_kill(struct xv_conntrack *ct, struct xv_conn *conn, uint32_t incarnation, enum xv_ct_why why, uint32_t now_ms);
/* Its time was shortened: the wheel is to know. It is not locked. */
void xv_ct_rearm(struct xv_conntrack *ct, struct xv_conn *conn, uint32_t incarnation, uint32_t now_ms);
/* It is not half-open any more. It is locked. */
void xv_ct_settle(struct xv_conntrack *ct, struct xv_conn *conn);
/* control. Up to `budget` looks at connections whose time may have come, in one shard. How many looks it took. */
unsigned int xv_ct_expire_shard(struct xv_conntrack *ct, unsigned int shard, unsigned int budget, uint32_t now_ms);
