/* SPDX-License-Identifier: Apache-2.0 */
#include "fastpath/conntrack_helper.h"

#include <errno.h>

#include "base/lazy_memory.h"
#include "fastpath/conntrack_nat.h"

#define EXPECT_MS (300 * 1000) /* as nf_conntrack's helpers */
#define BUCKETS   1024

struct xv_ct_helpers {
	rte_spinlock_t lock;
	uint32_t max;
	uint32_t used;            /* records ever used: those up to it were touched */
	uint32_t free;            /* chain of records that were given back */
	_Atomic uint32_t pending; /* expectations; read without the lock */
	uint32_t bucket[BUCKETS];
	struct xv_ct_helped helped[]; /* the first is nobody's: 0 is none */
};

static size_t bytes_of(uint32_t max)
{
	return sizeof(struct xv_ct_helpers) + ((size_t)max + 1) * sizeof(struct xv_ct_helped);
}

int xv_ct_helpers_create(uint32_t max, struct xv_ct_helpers **helpers)
{
	*helpers = xv_lazy_alloc(bytes_of(max), false);
	if (!*helpers)
		return -ENOMEM;
	rte_spinlock_init(&(*helpers)->lock);
	(*helpers)->max = max;
	return 0;
}

void xv_ct_helpers_destroy(struct xv_ct_helpers *helpers)
{
	if (helpers)
		xv_lazy_free(helpers, bytes_of(helpers->max));
}

struct xv_ct_helped *xv_ct_helped_of(struct xv_ct_helpers *helpers, const struct xv_conn *conn)
{
	return &helpers->helped[conn->helper_slot];
}

/* ---- Expectations, under the lock ---- */

static uint32_t bucket_of(const struct xv_ct_tuple *t)
{
	uint64_t hash = t->dst.u64[0] ^ (uint64_t)t->zone << 32;

	hash = hash * UINT64_C(0x9e3779b97f4a7c15) + t->dst.u64[1];
	hash = (hash ^ hash >> 32) * UINT64_C(0x9e3779b97f4a7c15) + t->dst_port;
	hash = (hash ^ hash >> 32) * UINT64_C(0x9e3779b97f4a7c15);
	return (uint32_t)(hash >> 32) % BUCKETS;
}

static bool fits(const struct xv_ct_tuple *expect, const struct xv_ct_tuple *t)
{
	return memcmp(&expect->src, &t->src, sizeof(t->src)) == 0 &&
	       memcmp(&expect->dst, &t->dst, sizeof(t->dst)) == 0 && expect->dst_port == t->dst_port &&
	       expect->proto == t->proto && expect->ipv6 == t->ipv6 && expect->zone == t->zone;
}

static void set_pending(struct xv_ct_helpers *helpers, uint32_t n)
{
	atomic_store_explicit(&helpers->pending, n, memory_order_relaxed);
}

static uint32_t pending(const struct xv_ct_helpers *helpers)
{
	return atomic_load_explicit(&helpers->pending, memory_order_relaxed);
}

static void unlink_expectation(struct xv_ct_helpers *helpers, struct xv_ct_helped *h)
{
	uint32_t *link = &helpers->bucket[bucket_of(&h->expect)];

	if (!h->linked)
		return;
	while (&helpers->helped[*link] != h)
		link = &helpers->helped[*link].next;
	*link = h->next;
	h->linked = false;
	set_pending(helpers, pending(helpers) - 1);
}

static void link_expectation(struct xv_ct_helpers *helpers, struct xv_ct_helped *h)
{
	uint32_t *head = &helpers->bucket[bucket_of(&h->expect)];

	h->next = *head;
	*head = (uint32_t)(h - helpers->helped);
	h->linked = true;
	set_pending(helpers, pending(helpers) + 1);
}

/* Whose time is over is thrown out on the way. */
static struct xv_ct_helped *find(struct xv_ct_helpers *helpers, const struct xv_ct_tuple *t, uint32_t now_ms)
{
	uint32_t at = helpers->bucket[bucket_of(t)], next;
	struct xv_ct_helped *h;

	for (; at != 0; at = next) {
		h = &helpers->helped[at];
		next = h->next;
		if ((int32_t)(h->expires_ms - now_ms) <= 0)
			unlink_expectation(helpers, h);
		else if (fits(&h->expect, t))
			return h;
	}
	return NULL;
}

/* ---- Records ---- */

int xv_ct_helper_attach(struct xv_ct_helpers *helpers, struct xv_conn *conn, enum xv_ct_helper helper)
{
	uint32_t slot = 0;

	rte_spinlock_lock(&helpers->lock);
	if (helpers->free != 0) {
		slot = helpers->free;
		helpers->free = helpers->helped[slot].next;
	} else if (helpers->used < helpers->max) {
		slot = ++helpers->used;
	}
	if (slot != 0)
		helpers->helped[slot] = (struct xv_ct_helped){.conn = conn};
	rte_spinlock_unlock(&helpers->lock);
	if (slot == 0)
		return -ENOSPC;
	conn->helper_slot = slot;
	conn->helper = (uint8_t)helper;
	return 0;
}

void xv_ct_helper_release(struct xv_ct_helpers *helpers, struct xv_conn *conn)
{
	struct xv_ct_helped *h = xv_ct_helped_of(helpers, conn);

	if (conn->helper_slot == 0)
		return;
	rte_spinlock_lock(&helpers->lock);
	unlink_expectation(helpers, h);
	h->conn = NULL;
	h->next = helpers->free;
	helpers->free = conn->helper_slot;
	rte_spinlock_unlock(&helpers->lock);
	conn->helper_slot = 0;
	conn->helper = XV_CT_HELPER_NONE;
}

int xv_ct_expect(struct xv_ct_helpers *helpers, struct xv_conn *master, enum xv_ct_dir dir, rte_be16_t port,
		 rte_be16_t inside, bool keep, uint32_t now_ms)
{
	struct xv_ct_helped *h = xv_ct_helped_of(helpers, master), *other;
	const struct xv_ct_tuple *t = &master->tuple[dir];
	struct xv_ct_tuple expect = {
		.src = t->src, .dst = t->dst, .dst_port = port, .proto = t->proto, .ipv6 = t->ipv6, .zone = t->zone};
	int rc = 0;

	rte_spinlock_lock(&helpers->lock);
	other = find(helpers, &expect, now_ms);
	if (other && other != h && keep) {
		rc = -EEXIST;
	} else {
		if (other)
			unlink_expectation(helpers, other);
		unlink_expectation(helpers, h);
		h->expect = expect;
		h->expires_ms = now_ms + EXPECT_MS;
		h->nat_port = inside;
		h->dir = (uint8_t)dir;
		link_expectation(helpers, h);
	}
	rte_spinlock_unlock(&helpers->lock);
	return rc;
}

void xv_ct_unexpect(struct xv_ct_helpers *helpers, struct xv_conn *master)
{
	rte_spinlock_lock(&helpers->lock);
	unlink_expectation(helpers, xv_ct_helped_of(helpers, master));
	rte_spinlock_unlock(&helpers->lock);
}

/* The master cannot become another connection before its record is released, for which the lock is needed. */
static void fill(const struct xv_ct_helped *h, struct xv_ct_expected *e)
{
	const struct xv_conn *master = h->conn;
	const struct xv_ct_tuple *there = &master->tuple[h->dir], *back = &master->tuple[!h->dir];

	*e = (struct xv_ct_expected){
		.master = h->conn,
		.master_generation = atomic_load_explicit(&master->generation, memory_order_relaxed),
		.mark = __atomic_load_n(&master->mark, __ATOMIC_RELAXED),
		.label[0] = __atomic_load_n(&master->label[0], __ATOMIC_RELAXED),
		.label[1] = __atomic_load_n(&master->label[1], __ATOMIC_RELAXED),
		.master_tuple = master->tuple[XV_CT_ORIGINAL],
		.nat = memcmp(&there->src, &back->dst, sizeof(there->src)) != 0 ||
		       memcmp(&there->dst, &back->src, sizeof(there->dst)) != 0 || h->expect.dst_port != h->nat_port,
		.nat_src = back->dst,
		.nat_dst = back->src,
		.nat_port = h->nat_port,
	};
}

bool xv_ct_expected(struct xv_ct_helpers *helpers, const struct xv_ct_tuple *original, bool take, uint32_t now_ms,
		    struct xv_ct_expected *e)
{
	struct xv_ct_helped *h;

	if (pending(helpers) == 0)
		return false;
	rte_spinlock_lock(&helpers->lock);
	h = find(helpers, original, now_ms);
	if (h) {
		fill(h, e);
		if (take)
			unlink_expectation(helpers, h);
	}
	rte_spinlock_unlock(&helpers->lock);
	return h != NULL;
}

int xv_ct_nat_follow(const struct xv_ct_expected *e, const struct xv_ct_tuple *original, struct xv_ct_tuple *reply,
		     bool (*taken)(const struct xv_ct_tuple *reply, void *arg), void *arg, uint64_t random)
{
	(void)original;
	reply->src = e->nat_dst;
	reply->src_port = e->nat_port;
	reply->dst = e->nat_src;
	return xv_ct_nat_make_unique(reply, taken, arg, random);
}

/* ---- Packets ---- */

int xv_ct_helper_packet(struct xv_ct_helpers *helpers, struct xv_conn *conn, enum xv_ct_dir dir, struct rte_mbuf *m,
			const struct xv_flow_key *key, struct xv_flow_layout *layout, uint32_t now_ms)
{
	if (layout->l4 == 0 || key->ip_frag != XV_FRAG_NONE)
		return 0;
	switch (conn->helper) {
	case XV_CT_HELPER_FTP:
		return xv_ct_ftp_packet(helpers, conn, dir, m, layout, now_ms);
	case XV_CT_HELPER_TFTP:
		return xv_ct_tftp_packet(helpers, conn, dir, m, layout, now_ms);
	default:
		return 0;
	}
}

int32_t xv_ct_helper_ack_shift(struct xv_ct_helpers *helpers, const struct xv_conn *conn, enum xv_ct_dir dir,
			       uint32_t ack)
{
	const struct xv_tcp_shift *other = &xv_ct_helped_of(helpers, conn)->shift[!dir];

	return (int32_t)(xv_tcp_shift_back(other, ack, false) - ack);
}
