/* SPDX-License-Identifier: Apache-2.0 */
/* What the control thread does with connections: see conntrack.h. */
#include "fastpath/conntrack.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <linux/netfilter/nf_conntrack_common.h>

#include <rte_common.h>

#include "base/lazy_memory.h"
#include "fastpath/conntrack_helper.h"
#include "fastpath/conntrack_table.h"
#include "table/rcu.h"

#define CONNECTIONS_MAX (1u << 30)
#define HELPED_MAX 65536
#define EXPIRE_BUDGET 65536	/* looks at connections in one call */
#define AHEAD (32u << 20)	/* bytes of connections that nobody has needed yet */
#define BUCKETS_AT_ONCE (64u << 20) /* bytes of them, however few connections there are: those of the default table */
#define TOUCH_STEP (4u << 20)	/* bytes in one call */
#define FLUSH_LOOKS 4096	/* a millisecond, if all of them go */

/* ---- Creation ---- */

static size_t buckets_bytes(const struct xv_conntrack *ct)
{
	return ((size_t)ct->bucket_mask + 1) * sizeof(struct xv_ct_bucket);
}

static size_t conns_bytes(const struct xv_conntrack *ct)
{
	return ((size_t)ct->max + 1) * sizeof(struct xv_conn);
}

void xv_conntrack_destroy(struct xv_conntrack *ct)
{
	const uint32_t *defaults;
	unsigned int i;

	if (ct == NULL)
		return;
	defaults = atomic_load_explicit(&ct->timeouts[0], memory_order_relaxed);
	for (i = 1; i < XV_CT_POLICIES; i++) {
		const uint32_t *row = atomic_load_explicit(&ct->timeouts[i], memory_order_relaxed);

		if (row != defaults)
			free((void *)(uintptr_t)row);
	}
	free((void *)(uintptr_t)defaults);
	xv_ct_helpers_destroy(ct->helpers);
	xv_lazy_free(ct->conns, conns_bytes(ct));
	xv_lazy_free(ct->buckets, buckets_bytes(ct));
	xv_lazy_free(ct->overflow, buckets_bytes(ct));
	xv_lazy_free(ct->zones, XV_CT_ZONES * sizeof(struct xv_ct_zone));
	free(ct->shards);
	free(ct->accounts);
	free(ct);
}

static void *zalloc_lines(size_t bytes)
{
	void *p = aligned_alloc(64, RTE_ALIGN_CEIL(bytes, (size_t)64));

	if (p != NULL)
		memset(p, 0, bytes);
	return p;
}

static uint32_t *timeouts_make(const uint32_t *seconds)
{
	uint32_t *ms = calloc(XV_CT_TO_MAX, sizeof(*ms));
	unsigned int i;

	for (i = 0; ms != NULL && i < XV_CT_TO_MAX; i++)
		ms[i] = (seconds != NULL && seconds[i] != 0 ? seconds[i] : xv_ct_timeout_defaults_s[i]) * 1000;
	return ms;
}

static uint32_t buckets_for(uint32_t connections)
{
	/* Two entries each at most; four for seven places leaves few buckets that overflow. */
	return RTE_MAX((uint32_t)rte_align32pow2((connections + 1) / 2), (uint32_t)XV_CT_SHARDS);
}

int xv_conntrack_create(const struct xv_conntrack_config *config, struct xv_conntrack **ctp)
{
	struct xv_conntrack *ct;
	uint32_t *defaults;
	unsigned int i;

	if (config->connections == 0 || config->connections > CONNECTIONS_MAX || config->half_open_per_port == 0)
		return -EINVAL;
	ct = zalloc_lines(sizeof(*ct));
	if (ct == NULL)
		return -ENOMEM;
	xv_conntrack_set_half_open(ct, config->half_open_per_port);
	xv_conntrack_set_pick_up(ct, config->pick_up);
	ct->max = xv_ct_room_for(config->connections);
	ct->bucket_mask = buckets_for(config->connections) - 1;
	atomic_store_explicit(&ct->fresh, 1, memory_order_relaxed);
	atomic_store_explicit(&ct->fresh_bucket, 1, memory_order_relaxed);
	ct->conns = xv_lazy_alloc(conns_bytes(ct), true);
	ct->buckets = xv_lazy_alloc(buckets_bytes(ct), true);
	ct->overflow = xv_lazy_alloc(buckets_bytes(ct), false);
	ct->zones = xv_lazy_alloc(XV_CT_ZONES * sizeof(struct xv_ct_zone), false);
	ct->shards = zalloc_lines(XV_CT_SHARDS * sizeof(struct xv_ct_shard));
	ct->accounts = zalloc_lines(XV_CT_ACCOUNTS * sizeof(struct xv_ct_account));
	defaults = timeouts_make(NULL);
	for (i = 0; i < XV_CT_POLICIES; i++)
		atomic_store_explicit(&ct->timeouts[i], defaults, memory_order_relaxed);
	if (ct->conns == NULL || ct->buckets == NULL || ct->overflow == NULL || ct->zones == NULL || ct->shards == NULL ||
	    ct->accounts == NULL || defaults == NULL ||
	    getrandom(ct->secret, sizeof(ct->secret), 0) != (ssize_t)sizeof(ct->secret) ||
	    xv_ct_helpers_create(RTE_MIN(config->connections, (uint32_t)HELPED_MAX), &ct->helpers) != 0) {
		xv_conntrack_destroy(ct);
		return -ENOMEM;
	}
	(void)xv_conntrack_set_max(ct, config->connections);
	for (i = 0; i < XV_CT_ZONES; i++)
		atomic_store_explicit(&ct->zones[i].limit, UINT32_MAX, memory_order_relaxed);
	for (i = 0; i < XV_CT_SHARDS; i++)
		xv_timer_wheel_init(&ct->shards[i].wheel, &ct->conns[0].timer, sizeof(struct xv_conn), config->now_ms);
	*ctp = ct;
	return 0;
}

void xv_conntrack_set_shared(struct xv_conntrack *ct, bool shared)
{
	atomic_store_explicit(&ct->shared, shared, memory_order_release);
}

/* ---- Memory ---- */

/* The array has memory up to `end` bytes, or a step more of it. True: there is more to do. */
static bool touch(void *array, size_t *touched, size_t end)
{
	size_t n;

	if (*touched >= end)
		return false;
	n = RTE_MIN(end - *touched, (size_t)TOUCH_STEP);
	xv_lazy_touch((uint8_t *)array + *touched, n);
	*touched += n;
	return *touched < end;
}

bool xv_conntrack_provide(struct xv_conntrack *ct)
{
	uint32_t fresh = atomic_load_explicit(&ct->fresh, memory_order_relaxed);
	bool grows = fresh != ct->seen_fresh, more;
	size_t used = RTE_ALIGN_CEIL((size_t)fresh * sizeof(struct xv_conn), (size_t)TOUCH_STEP);

	ct->seen_fresh = fresh;
	atomic_store_explicit(&ct->wants_memory, false, memory_order_relaxed);
	if (fresh == 1) /* no connection, ever */
		return false;
	if (touch(ct->buckets, &ct->touched_buckets, RTE_MIN(used + BUCKETS_AT_ONCE, buckets_bytes(ct))))
		return true;
	more = touch(ct->conns, &ct->touched_conns, RTE_MIN(used + AHEAD, conns_bytes(ct)));
	/* Workers say when half of what is ahead is taken; when all is provided, no more. */
	atomic_store_explicit(&ct->provided,
			      ct->touched_conns < conns_bytes(ct)
				      ? (uint32_t)((ct->touched_conns - RTE_MIN(ct->touched_conns, (size_t)AHEAD / 2)) / sizeof(struct xv_conn))
				      : UINT32_MAX,
			      memory_order_relaxed);
	return more || grows;
}

bool xv_conntrack_wants_memory(const struct xv_conntrack *ct)
{
	return atomic_load_explicit(&ct->wants_memory, memory_order_relaxed);
}

/* ---- Time ---- */

bool xv_conntrack_expire(struct xv_conntrack *ct, uint32_t now_ms)
{
	uint32_t i, best = 0, crowded = 0;
	unsigned int looks = 0, shards;

	for (i = 0; i < XV_CT_ACCOUNTS; i++) {
		uint32_t n = atomic_load_explicit(&ct->accounts[i].n, memory_order_relaxed);

		if (n > best) {
			best = n;
			crowded = i;
		}
	}
	atomic_store_explicit(&ct->crowded, crowded, memory_order_relaxed);
	for (shards = 0; shards < XV_CT_SHARDS; shards++) {
		looks += xv_ct_expire_shard(ct, ct->expire_shard, EXPIRE_BUDGET / XV_CT_SHARDS, now_ms);
		ct->expire_shard = (ct->expire_shard + 1) % XV_CT_SHARDS;
	}
	return looks >= EXPIRE_BUDGET / 2;
}

int xv_conntrack_set_timeouts(struct xv_conntrack *ct, uint32_t policy, const uint32_t *seconds)
{
	const uint32_t *old, *defaults;
	uint32_t *row;
	unsigned int i;

	if (policy >= XV_CT_POLICIES)
		return -ENOSPC;
	for (i = 0; i < XV_CT_TO_MAX; i++) {
		if (seconds[i] > XV_CT_TIMEOUT_MAX_S)
			return -ERANGE;
	}
	row = timeouts_make(seconds);
	if (row == NULL)
		return -ENOMEM;
	defaults = atomic_load_explicit(&ct->timeouts[0], memory_order_relaxed);
	old = atomic_exchange_explicit(&ct->timeouts[policy], row, memory_order_acq_rel);
	/* Policies that were never set are the default one. */
	for (i = 1; policy == 0 && i < XV_CT_POLICIES; i++) {
		if (atomic_load_explicit(&ct->timeouts[i], memory_order_relaxed) == defaults)
			atomic_store_explicit(&ct->timeouts[i], row, memory_order_release);
	}
	if (policy == 0 || old != defaults)
		xv_rcu_defer(free, (void *)(uintptr_t)old);
	return 0;
}

/* ---- Looking ---- */

static uint32_t status_of(const struct xv_conn *conn)
{
	uint32_t status = IPS_CONFIRMED;

	if (conn->flags & XV_CONN_SEEN_REPLY)
		status |= IPS_SEEN_REPLY;
	if (conn->flags & XV_CONN_ASSURED)
		status |= IPS_ASSURED;
	if (conn->flags & XV_CONN_RELATED)
		status |= IPS_EXPECTED;
	if (conn->flags & XV_CONN_SNAT)
		status |= IPS_SRC_NAT | IPS_SRC_NAT_DONE;
	if (conn->flags & XV_CONN_DNAT)
		status |= IPS_DST_NAT | IPS_DST_NAT_DONE;
	if (conn->flags & XV_CONN_SEQ_ADJUST)
		status |= IPS_SEQ_ADJUST;
	if (conn->helper != XV_CT_HELPER_NONE)
		status |= IPS_HELPER;
	return status;
}

/* False: it does not live, or its time is over. */
static bool info_of(struct xv_conntrack *ct, uint32_t index, uint32_t now_ms, struct xv_ct_info *info,
		    uint32_t *incarnation)
{
	struct xv_conn *conn = &ct->conns[index];
	uint32_t generation;
	unsigned int i;

	xv_conn_lock(conn);
	generation = atomic_load_explicit(&conn->generation, memory_order_acquire);
	*incarnation = xv_conn_incarnation(generation);
	/* What was never used has generation 0. */
	if (generation & XV_CONN_DEAD || generation == 0 || xv_conn_is_expired(conn, now_ms)) {
		xv_conn_unlock(conn);
		return false;
	}
	memset(info, 0, sizeof(*info));
	info->original = conn->tuple[0];
	info->reply = conn->tuple[1];
	for (i = 0; i < 2; i++) {
		info->packets[i] = atomic_load_explicit(&conn->packets[i], memory_order_relaxed);
		info->bytes[i] = atomic_load_explicit(&conn->bytes[i], memory_order_relaxed);
		info->label[i] = conn->label[i];
	}
	info->mark = conn->mark;
	info->timeout_ms = xv_conn_expires(conn) - now_ms;
	info->status = status_of(conn);
	info->state = conn->tuple[0].proto == 6 || conn->tuple[0].proto == 132 ? conn->state : 0;
	info->helper = conn->helper;
	info->has_master = conn->flags & XV_CONN_RELATED;
	if (info->has_master)
		info->master = conn->master;
	info->id = (uint64_t)*incarnation << 32 | index;
	xv_conn_unlock(conn);
	return true;
}

bool xv_conntrack_walk(struct xv_conntrack *ct, uint32_t now_ms, uint64_t *cursor, unsigned int max,
		       void (*fn)(const struct xv_ct_info *info, void *arg), void *arg)
{
	uint32_t end = atomic_load_explicit(&ct->fresh, memory_order_acquire), incarnation;
	uint32_t index = (uint32_t)RTE_MAX(*cursor, UINT64_C(1)), steps;
	struct xv_ct_info info;

	/* Looks at empty places are bounded, too. */
	for (steps = 0; index < end && max > 0 && steps < EXPIRE_BUDGET; index++, steps++) {
		if (info_of(ct, index, now_ms, &info, &incarnation)) {
			fn(&info, arg);
			max--;
		}
	}
	*cursor = index;
	return index < end;
}

int xv_conntrack_delete(struct xv_conntrack *ct, const struct xv_ct_tuple *tuple, uint32_t now_ms)
{
	enum xv_ct_dir dir;
	struct xv_conn *conn = xv_ct_find(ct, tuple, xv_ct_hash(ct, tuple), now_ms, &dir);
	uint32_t incarnation;

	if (conn == NULL)
		return -ENOENT;
	incarnation = xv_conn_incarnation(atomic_load_explicit(&conn->generation, memory_order_relaxed));
	xv_conn_unlock(conn);
	return xv_ct_kill(ct, conn, incarnation, XV_CT_WHY_DELETED, now_ms) ? 0 : -ENOENT;
}

uint64_t xv_conntrack_flush(struct xv_conntrack *ct, uint32_t now_ms,
			    bool (*match)(const struct xv_ct_info *info, void *arg), void *arg)
{
	uint64_t cursor = 0, n = 0;

	while (xv_conntrack_flush_some(ct, now_ms, &cursor, match, arg, &n))
		;
	return n;
}

bool xv_conntrack_flush_some(struct xv_conntrack *ct, uint32_t now_ms, uint64_t *cursor,
			     bool (*match)(const struct xv_ct_info *info, void *arg), void *arg, uint64_t *n)
{
	uint32_t end = atomic_load_explicit(&ct->fresh, memory_order_acquire), incarnation;
	uint32_t index = (uint32_t)RTE_MAX(*cursor, UINT64_C(1)), last = RTE_MIN(end, index + FLUSH_LOOKS);
	struct xv_ct_info info;

	for (; index < last; index++) {
		if (info_of(ct, index, now_ms, &info, &incarnation) && (match == NULL || match(&info, arg)))
			*n += xv_ct_kill(ct, &ct->conns[index], incarnation, XV_CT_WHY_DELETED, now_ms);
	}
	*cursor = index;
	return index < end;
}

void xv_conntrack_get_stats(const struct xv_conntrack *ct, struct xv_conntrack_stats *stats)
{
	uint64_t sums[XV_CT_COUNTS] = {0};
	unsigned int i, j;

	memset(stats, 0, sizeof(*stats));
	for (i = 0; i < XV_CT_SHARDS; i++) {
		for (j = 0; j < XV_CT_COUNTS; j++)
			sums[j] += atomic_load_explicit(&ct->shards[i].counts[j], memory_order_relaxed);
	}
	for (i = 0; i < XV_CT_ACCOUNTS; i++)
		stats->half_open += atomic_load_explicit(&ct->accounts[i].n, memory_order_relaxed);
	stats->inserted = sums[XV_CT_COUNT_INSERTED];
	stats->expired = sums[XV_CT_COUNT_EXPIRED];
	stats->deleted = sums[XV_CT_COUNT_DELETED];
	stats->evicted = sums[XV_CT_COUNT_EVICTED];
	stats->refused_full = sums[XV_CT_COUNT_FULL];
	stats->refused_zone = sums[XV_CT_COUNT_ZONE];
	stats->invalid = sums[XV_CT_COUNT_INVALID];
	stats->nat_exhausted = sums[XV_CT_COUNT_NAT];
	/* Counted one after the other while workers count on. */
	if (stats->inserted > stats->expired + stats->deleted + stats->evicted)
		stats->connections = stats->inserted - stats->expired - stats->deleted - stats->evicted;
	stats->memory_bytes = sizeof(*ct) + XV_CT_SHARDS * sizeof(struct xv_ct_shard) +
			      XV_CT_ACCOUNTS * sizeof(struct xv_ct_account) + XV_CT_ZONES * sizeof(struct xv_ct_zone) +
			      buckets_bytes(ct) +
			      (uint64_t)atomic_load_explicit(&ct->fresh_bucket, memory_order_relaxed) * sizeof(struct xv_ct_bucket) +
			      (uint64_t)atomic_load_explicit(&ct->fresh, memory_order_relaxed) * sizeof(struct xv_conn);
}

/* ---- Settings ---- */

void xv_conntrack_set_pick_up(struct xv_conntrack *ct, bool pick_up)
{
	atomic_store_explicit(&ct->pick_up, pick_up, memory_order_relaxed);
}

void xv_conntrack_set_half_open(struct xv_conntrack *ct, uint32_t per_port)
{
	atomic_store_explicit(&ct->half_open_max, per_port, memory_order_relaxed);
}

int xv_conntrack_set_max(struct xv_conntrack *ct, uint32_t connections)
{
	if (connections == 0 || xv_ct_room_for(connections) > ct->max)
		return -ERANGE;
	xv_ct_set_max(ct, connections);
	return 0;
}

uint32_t xv_conntrack_get_max(const struct xv_conntrack *ct)
{
	return atomic_load_explicit(&ct->connections_max, memory_order_relaxed);
}

void xv_conntrack_set_limit(struct xv_conntrack *ct, uint32_t limit)
{
	atomic_store_explicit(&ct->zone_limit, limit, memory_order_relaxed);
}

uint32_t xv_conntrack_get_limit(const struct xv_conntrack *ct)
{
	return atomic_load_explicit(&ct->zone_limit, memory_order_relaxed);
}

void xv_conntrack_set_zone_limit(struct xv_conntrack *ct, uint16_t zone, uint32_t limit)
{
	atomic_store_explicit(&ct->zones[zone].limit, limit, memory_order_relaxed);
}

bool xv_conntrack_zone_has_limit(const struct xv_conntrack *ct, uint16_t zone)
{
	return atomic_load_explicit(&ct->zones[zone].limit, memory_order_relaxed) != UINT32_MAX;
}

void xv_conntrack_get_zone(const struct xv_conntrack *ct, uint16_t zone, uint32_t *limit, uint32_t *connections)
{
	*limit = atomic_load_explicit(&ct->zones[zone].limit, memory_order_relaxed);
	if (*limit == UINT32_MAX)
		*limit = atomic_load_explicit(&ct->zone_limit, memory_order_relaxed);
	*connections = atomic_load_explicit(&ct->zones[zone].n, memory_order_relaxed);
}
