/* SPDX-License-Identifier: Apache-2.0 */
#include "fastpath/fragments.h"

#include <errno.h>
#include <string.h>
#include <sys/queue.h>

#include <rte_spinlock.h>

#include "base/lazy_memory.h"
#include "net/bytes.h"
#include "net/edit.h"
#include "port/port.h"

#define TYPE_IPV4 RTE_BE16(0x0800)

#define IPV4_LEN 20
#define IPV6_LEN 40
#define FRAG_LEN 8	/* IPv6 fragment header, and what offsets count in */
#define EXT_MAX 8	/* IPv6 extension headers in front of it */
#define IP_MAX 65535
#define L2_MAX 512	/* bytes in front of the IP header, of a packet that is tracked */
#define BUCKETS 512	/* power of two */

enum { EXT_HOP = 0, EXT_ROUTING = 43, EXT_FRAGMENT = 44, EXT_AUTH = 51, EXT_DEST = 60 };

/* Which datagram. No padding: hashed and compared as words. */
struct id {
	union xv_ip_addr src, dst;
	uint32_t ip_id, recirc_id;
	uint16_t in_port, zone;
	uint16_t proto;
	uint16_t ipv6;
};
static_assert(sizeof(struct id) == 48, "words");

/* What a fragment is. Offsets from the first byte of the frame. */
struct shape {
	uint32_t payload;	     /* behind the header, and the fragment header of IPv6 */
	uint32_t start, end;	     /* place of the payload in the datagram's */
	uint16_t next_at, fragment; /* IPv6: the field that announces the fragment header, which is there */
	bool last;
};

struct piece {
	STAILQ_ENTRY(piece) next;
	struct rte_mbuf *m, *buf;
	struct shape shape;
};

struct datagram {
	TAILQ_ENTRY(datagram) age; /* of those that wait, or of those that are complete; the oldest first */
	struct datagram *chain;	   /* in its bucket, or free */
	STAILQ_HEAD(, piece) pieces;
	struct id id;
	uint32_t since_ms;
	uint32_t bytes;	  /* that are there */
	uint32_t end;	  /* of the last fragment; 0 = it has not come */
	uint16_t n, buffers;
	bool broken;	  /* what comes is dropped */
};
TAILQ_HEAD(datagrams, datagram);

struct share {
	uint16_t datagrams, buffers;
};

/* OVS's defaults. */
struct xv_fragment_rules xv_fragment_rules = {.enabled = {true, true}, .min_bytes = {1200, 1280}, .max = 1000};
_Atomic uint64_t xv_fragment_counts[2][XV_FRAGMENT_COUNTS];
_Atomic uint32_t xv_fragments_waiting;

struct xv_fragments {
	rte_spinlock_t lock; /* who waits, for the control thread to look at */
	xv_fragment_drop_fn *drop;
	void *arg;
	struct share all, port[XV_MAX_PORTS];
	struct datagrams waiting, complete;
	struct datagram *bucket[BUCKETS], *free_datagrams;
	STAILQ_HEAD(, piece) free_pieces;
	struct datagram datagrams[XV_FRAGMENTS_DATAGRAMS];
	struct piece pieces[XV_FRAGMENTS_MAX];
	uint8_t whole[L2_MAX + IP_MAX + FRAG_LEN];
};

int xv_fragments_create(xv_fragment_drop_fn *drop, void *arg, struct xv_fragments **fragments)
{
	struct xv_fragments *f = xv_lazy_alloc(sizeof(*f), false);
	unsigned int i;

	if (f == NULL)
		return -ENOMEM;
	rte_spinlock_init(&f->lock);
	f->drop = drop;
	f->arg = arg;
	TAILQ_INIT(&f->waiting);
	TAILQ_INIT(&f->complete);
	STAILQ_INIT(&f->free_pieces);
	for (i = 0; i < XV_FRAGMENTS_MAX; i++)
		STAILQ_INSERT_TAIL(&f->free_pieces, &f->pieces[i], next);
	for (i = 0; i < XV_FRAGMENTS_DATAGRAMS; i++) {
		f->datagrams[i].chain = f->free_datagrams;
		f->free_datagrams = &f->datagrams[i];
	}
	*fragments = f;
	return 0;
}

void xv_fragments_destroy(struct xv_fragments *f)
{
	xv_lazy_free(f, sizeof(*f));
}

/* ---- What a fragment is ---- */

static bool shape_ipv4(const uint8_t *ip, const struct xv_flow_layout *layout, struct shape *s, uint32_t *ip_id)
{
	uint16_t offset = xv_load_be16(ip + 6);

	*ip_id = xv_load16(ip + 4);
	s->payload = layout->l3 + (ip[0] & 0xf) * 4u;
	s->start = (offset & 0x1fffu) * FRAG_LEN;
	s->last = (offset & 0x2000) == 0;
	return true;
}

static bool shape_ipv6(const uint8_t *data, uint32_t len, const struct xv_flow_layout *layout, struct shape *s,
		       uint32_t *ip_id)
{
	uint32_t at = layout->l3 + IPV6_LEN, next_at = layout->l3 + 6u;
	unsigned int i;

	for (i = 0; i <= EXT_MAX; i++) {
		if (at + FRAG_LEN > len)
			return false;
		switch (data[next_at]) {
		case EXT_FRAGMENT:
			*ip_id = xv_load32(data + at + 4);
			s->next_at = (uint16_t)next_at;
			s->fragment = (uint16_t)at;
			s->payload = at + FRAG_LEN;
			s->start = xv_load_be16(data + at + 2) & 0xfff8u;
			s->last = (data[at + 3] & 1) == 0;
			return true;
		case EXT_HOP:
		case EXT_ROUTING:
		case EXT_DEST:
			next_at = at;
			at += (data[at + 1] + 1u) * 8;
			break;
		case EXT_AUTH:
			next_at = at;
			at += (data[at + 1] + 2u) * 4;
			break;
		default:
			return false;
		}
	}
	return false;
}

/* False: there is no datagram that has such a fragment. */
static bool shape_of(const struct rte_mbuf *m, const struct xv_held *held, struct shape *s, struct id *id)
{
	const struct xv_action_ct *ct = (const struct xv_action_ct *)(const void *)&held->program[1];
	const struct xv_flow_layout *layout = &held->layout;
	const struct xv_flow_key *key = &held->key;
	const uint8_t *data = rte_pktmbuf_mtod(m, const uint8_t *);
	bool ipv4 = key->eth_type == TYPE_IPV4;
	uint32_t header;

	*id = (struct id){
		.src = key->ip_src,
		.dst = key->ip_dst,
		.recirc_id = key->recirc_id,
		.in_port = m->port,
		.zone = ct->zone,
		.proto = ipv4 ? key->ip_proto : 0,
		.ipv6 = !ipv4,
	};
	*s = (struct shape){0};
	if (rte_pktmbuf_data_len(m) < layout->l3 + IPV4_LEN || !(ipv4 ? shape_ipv4(data + layout->l3, layout, s, &id->ip_id)
		   : shape_ipv6(data, rte_pktmbuf_data_len(m), layout, s, &id->ip_id)))
		return false;
	/* Later ones have no transport header, the first one all of it: what is cut off or malformed has no l4. */
	if (s->payload >= layout->payload_end || (s->start == 0 && layout->l4 == 0))
		return false;
	header = s->payload - layout->l3 - (ipv4 ? 0 : IPV6_LEN + FRAG_LEN);
	s->end = s->start + layout->payload_end - s->payload;
	return header + s->end <= IP_MAX && (s->last || s->end % FRAG_LEN == 0) && layout->l3 <= L2_MAX;
}

/* ---- The table ---- */

static struct datagram **bucket_of(struct xv_fragments *f, const struct id *id)
{
	uint64_t words[sizeof(*id) / 8], h = 0;
	unsigned int i;

	memcpy(words, id, sizeof(words));
	for (i = 0; i < RTE_DIM(words); i++) {
		h = (h ^ words[i]) * UINT64_C(0x9e3779b97f4a7c15);
		h ^= h >> 32;
	}
	return &f->bucket[h % BUCKETS];
}

static struct datagram *find(struct xv_fragments *f, const struct id *id)
{
	struct datagram *d;

	for (d = *bucket_of(f, id); d != NULL && memcmp(&d->id, id, sizeof(*id)) != 0; d = d->chain)
		;
	return d;
}

static void count(const struct id *id, enum xv_fragment_count what, unsigned int n)
{
	atomic_fetch_add_explicit(&xv_fragment_counts[id->ipv6][what], n, memory_order_relaxed);
}

/* There is room for it. */
static struct datagram *open_datagram(struct xv_fragments *f, const struct id *id, uint32_t now_ms)
{
	struct datagram *d = f->free_datagrams, **bucket = bucket_of(f, id);

	f->free_datagrams = d->chain;
	*d = (struct datagram){.id = *id, .since_ms = now_ms, .chain = *bucket};
	STAILQ_INIT(&d->pieces);
	*bucket = d;
	TAILQ_INSERT_TAIL(&f->waiting, d, age);
	f->all.datagrams++;
	f->port[id->in_port].datagrams++;
	return d;
}

/* It waits no more. */
static void unlink_datagram(struct xv_fragments *f, struct datagram *d)
{
	struct datagram **at = bucket_of(f, &d->id);

	while (*at != d)
		at = &(*at)->chain;
	*at = d->chain;
	TAILQ_REMOVE(&f->waiting, d, age);
}

/* It is in no list, and has no pieces. */
static void free_datagram(struct xv_fragments *f, struct datagram *d)
{
	f->all.datagrams--;
	f->port[d->id.in_port].datagrams--;
	d->chain = f->free_datagrams;
	f->free_datagrams = d;
}

static void add_piece(struct xv_fragments *f, struct datagram *d, struct rte_mbuf *m, struct rte_mbuf *buf,
		      const struct shape *s)
{
	struct piece *p = STAILQ_FIRST(&f->free_pieces);
	uint16_t buffers = m->nb_segs + 1;

	STAILQ_REMOVE_HEAD(&f->free_pieces, next);
	p->m = m;
	p->buf = buf;
	p->shape = *s;
	STAILQ_INSERT_TAIL(&d->pieces, p, next);
	d->n++;
	d->buffers += buffers;
	d->bytes += s->end - s->start;
	if (s->last)
		d->end = s->end;
	f->all.buffers += buffers;
	f->port[d->id.in_port].buffers += buffers;
	count(&d->id, XV_FRAGMENT_ACCEPTED, 1);
	atomic_fetch_add_explicit(&xv_fragments_waiting, 1, memory_order_relaxed);
}

/* The first one of d; its packets are the caller's. */
static void remove_piece(struct xv_fragments *f, struct datagram *d, struct rte_mbuf **m, struct rte_mbuf **buf)
{
	struct piece *p = STAILQ_FIRST(&d->pieces);
	uint16_t buffers = p->m->nb_segs + 1;

	STAILQ_REMOVE_HEAD(&d->pieces, next);
	*m = p->m;
	*buf = p->buf;
	d->n--;
	d->buffers -= buffers;
	f->all.buffers -= buffers;
	f->port[d->id.in_port].buffers -= buffers;
	atomic_fetch_sub_explicit(&xv_fragments_waiting, 1, memory_order_relaxed);
	STAILQ_INSERT_HEAD(&f->free_pieces, p, next);
}

static void drop(struct xv_fragments *f, struct rte_mbuf *m, struct rte_mbuf *buf, enum xv_drop reason)
{
	rte_pktmbuf_free(buf);
	f->drop(f->arg, m, reason);
}

static void drop_pieces(struct xv_fragments *f, struct datagram *d, enum xv_drop reason)
{
	struct rte_mbuf *m, *buf;

	while (d->n > 0) {
		remove_piece(f, d, &m, &buf);
		drop(f, m, buf, reason);
	}
}

/* It waits; it is gone. */
static void give_up(struct xv_fragments *f, struct datagram *d, enum xv_drop reason)
{
	if (reason == XV_DROP_FRAG_TIMEOUT)
		count(&d->id, XV_FRAGMENT_EXPIRED, d->n);
	else if (reason == XV_DROP_FRAG_LIMIT || reason == XV_DROP_DETACHED)
		count(&d->id, XV_FRAGMENT_PURGED, d->n);
	unlink_datagram(f, d);
	drop_pieces(f, d, reason);
	free_datagram(f, d);
}

/* ---- Bounds ---- */

static struct datagram *oldest_of(struct xv_fragments *f, uint16_t port)
{
	struct datagram *d;

	TAILQ_FOREACH (d, &f->waiting, age)
		if (d->id.in_port == port)
			return d;
	return NULL;
}

/* The oldest one of the port that has most: of packet memory, or of datagrams if those are short. */
static struct datagram *oldest_of_greediest(struct xv_fragments *f)
{
	bool by_datagrams = f->all.datagrams == XV_FRAGMENTS_DATAGRAMS;
	struct datagram *d, *found = NULL;
	unsigned int most = 0;

	TAILQ_FOREACH (d, &f->waiting, age) {
		const struct share *port = &f->port[d->id.in_port];
		unsigned int has = by_datagrams ? port->datagrams : port->buffers;

		if (has > most) {
			most = has;
			found = d;
		}
	}
	return found;
}

/* Room for another fragment, which may be the first of its datagram. Each turn frees a datagram that waits: this ends. */
static bool make_room(struct xv_fragments *f, const struct id *id, uint32_t buffers)
{
	const struct share *port = &f->port[id->in_port];
	struct datagram *victim;

	for (;;) {
		uint32_t datagrams = find(f, id) == NULL;

		if (port->datagrams + datagrams > XV_FRAGMENTS_PORT_DATAGRAMS ||
		    port->buffers + buffers > XV_FRAGMENTS_PORT_BUFFERS)
			victim = oldest_of(f, id->in_port);
		else if (f->all.datagrams + datagrams > XV_FRAGMENTS_DATAGRAMS ||
			 f->all.buffers + buffers > XV_FRAGMENTS_BUFFERS)
			victim = oldest_of_greediest(f);
		else
			return true;
		if (victim == NULL)
			return false;
		give_up(f, victim, XV_DROP_FRAG_LIMIT);
	}
}

/* ---- The whole ---- */

static struct piece *first_piece(struct datagram *d)
{
	struct piece *p;

	STAILQ_FOREACH (p, &d->pieces, next)
		if (p->shape.start == 0)
			break;
	return p;
}

static void copy_out(const struct rte_mbuf *m, uint32_t from, uint32_t len, uint8_t *to)
{
	const void *at = rte_pktmbuf_read(m, from, len, to);

	if (at != NULL && at != to)
		memcpy(to, at, len);
}

static void store_be16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

/* Headers as they were before the datagram was cut: those of the first fragment. Their length. */
static uint32_t copy_headers(const struct piece *first, uint32_t payload, uint8_t *to)
{
	const uint8_t *data = rte_pktmbuf_mtod(first->m, const uint8_t *);
	const struct shape *s = &first->shape;
	uint32_t l3 = xv_held_of(first->buf)->layout.l3, len;

	if (s->fragment != 0) {
		len = s->fragment;
		memcpy(to, data, len);
		to[s->next_at] = data[s->fragment];
		store_be16(to + l3 + 4, len - l3 - IPV6_LEN + payload);
	} else {
		len = s->payload;
		memcpy(to, data, len);
		store_be16(to + l3 + 2, len - l3 + payload);
		store_be16(to + l3 + 6, 0);
	}
	return len;
}

/*
 * The datagram as a packet, in seg[0] and seg[1]: what the first fragment has in its first segment, and the rest. So
 * whatever is changed in the first segment has a place in the first fragment.
 */
static bool build_whole(struct xv_fragments *f, struct datagram *d, const struct piece *first, struct rte_mbuf seg[2])
{
	uint32_t headers, len, here = rte_pktmbuf_data_len(first->m);
	const struct piece *p;

	if (first->shape.payload >= here || first->shape.payload > sizeof(f->whole) - IP_MAX)
		return false;
	headers = copy_headers(first, d->end, f->whole);
	len = headers + d->end;
	/* The first one may have more options than others, by which they were judged. */
	if (len > sizeof(f->whole) || len - xv_held_of(first->buf)->layout.l3 - (first->shape.fragment != 0 ? IPV6_LEN : 0) > IP_MAX)
		return false;
	STAILQ_FOREACH (p, &d->pieces, next)
		copy_out(p->m, p->shape.payload, p->shape.end - p->shape.start, f->whole + headers + p->shape.start);
	here = headers + RTE_MIN(here - first->shape.payload, first->shape.end);
	memset(seg, 0, 2 * sizeof(*seg));
	seg[0].buf_addr = f->whole;
	seg[0].data_len = (uint16_t)here;
	seg[0].pkt_len = len;
	seg[0].nb_segs = 1;
	rte_mbuf_refcnt_set(&seg[0], 1);
	if (len > here) {
		seg[0].nb_segs = 2;
		seg[0].next = &seg[1];
		seg[1].buf_addr = f->whole + here;
		seg[1].data_len = (uint16_t)(len - here);
		seg[1].nb_segs = 1;
		rte_mbuf_refcnt_set(&seg[1], 1);
	}
	return true;
}

static void copy_ct(struct xv_flow_key *to, const struct xv_flow_key *from)
{
	to->ct_state = from->ct_state;
	to->ct_mark = from->ct_mark;
	to->ct_label[0] = from->ct_label[0];
	to->ct_label[1] = from->ct_label[1];
	to->ct_zone = from->ct_zone;
	to->ct_tp_src = from->ct_tp_src;
	to->ct_tp_dst = from->ct_tp_dst;
	to->ct_proto = from->ct_proto;
	to->ct_src = from->ct_src;
	to->ct_dst = from->ct_dst;
}

/* What translation made of the whole: addresses, and in the first fragment whatever is in its first segment. */
static bool translate(const struct piece *p, const struct xv_flow_key *to, const struct rte_mbuf *whole, uint32_t headers)
{
	struct xv_held *held = xv_held_of(p->buf);
	struct xv_flow_key addresses = held->key;

	addresses.ip_src = to->ip_src;
	addresses.ip_dst = to->ip_dst;
	if (xv_edit_apply(p->m, &held->layout, &held->key, &addresses) != 0)
		return false;
	held->key.ip_src = to->ip_src;
	held->key.ip_dst = to->ip_dst;
	if (p->shape.start == 0) {
		memcpy(rte_pktmbuf_mtod_offset(p->m, uint8_t *, p->shape.payload),
		       rte_pktmbuf_mtod_offset(whole, const uint8_t *, headers), whole->data_len - headers);
		held->key.tp_src = to->tp_src;
		held->key.tp_dst = to->tp_dst;
	}
	return true;
}

static enum xv_drop track(struct xv_fragments *f, struct xv_conntrack *ct, struct datagram *d, uint32_t now_ms)
{
	struct piece *first = first_piece(d), *p;
	const struct xv_action_ct *action;
	struct xv_flow_layout layout;
	struct rte_mbuf whole[2];
	struct xv_held *held;
	struct xv_flow_key key;
	struct xv_ct_hit hit;
	uint32_t headers;
	int rc;

	if (first == NULL || !build_whole(f, d, first, whole))
		return XV_DROP_FRAG_INVALID;
	held = xv_held_of(first->buf);
	headers = first->shape.fragment != 0 ? first->shape.fragment : first->shape.payload;
	action = (const struct xv_action_ct *)(const void *)&held->program[1];
	key = held->key;
	hit = held->hit;
	if (xv_flow_extract(f->whole, whole[0].data_len, whole[0].pkt_len, &key, &layout) != XV_FLOW_OK ||
	    layout.l3 != held->layout.l3 || key.ip_frag != XV_FRAG_NONE)
		return XV_DROP_FRAG_INVALID;
	key.ip_frag = XV_FRAG_FIRST;
	rc = xv_conntrack_packet(ct, action, whole, &key, &layout, now_ms, &hit);
	if (rc != 0)
		return xv_conntrack_why(rc);
	STAILQ_FOREACH (p, &d->pieces, next) {
		held = xv_held_of(p->buf);
		if ((action->flags & (XV_CT_NAT | XV_CT_NAT_REPLY)) != 0 && !translate(p, &key, whole, headers))
			return XV_DROP_CT_NAT;
		copy_ct(&held->key, &key);
		held->hit = hit;
	}
	return XV_DROP_MAX;
}

/* ---- Worker ---- */

/* XV_DROP_MAX: it fits. *alone: only this fragment is to go. */
static enum xv_drop check(const struct datagram *d, const struct shape *s, bool *alone)
{
	const struct piece *p;

	*alone = false;
	if (d->broken)
		return XV_DROP_FRAG_OVERLAP;
	STAILQ_FOREACH (p, &d->pieces, next) {
		if (s->start >= p->shape.start && s->end <= p->shape.end && s->last == p->shape.last) {
			*alone = true;
			return XV_DROP_FRAG_OVERLAP;
		}
		/* Overlapped, or behind the end. */
		if ((s->start < p->shape.end && p->shape.start < s->end) || (s->last && p->shape.end > s->start) ||
		    (p->shape.last && s->end > p->shape.start))
			return XV_DROP_FRAG_OVERLAP;
	}
	return d->n < XV_FRAGMENTS_PIECES ? XV_DROP_MAX : XV_DROP_FRAG_LIMIT;
}

static void complete(struct xv_fragments *f, struct xv_conntrack *ct, struct datagram *d, uint32_t now_ms)
{
	enum xv_drop reason = track(f, ct, d, now_ms);

	if (reason != XV_DROP_MAX) {
		give_up(f, d, reason);
		return;
	}
	count(&d->id, XV_FRAGMENT_COMPLETED, d->n);
	unlink_datagram(f, d);
	TAILQ_INSERT_TAIL(&f->complete, d, age);
}

static bool is_let_in(const struct xv_held *held, const struct shape *s, const struct id *id)
{
	const struct xv_action_ct *ct = (const struct xv_action_ct *)(const void *)&held->program[1];
	const struct xv_fragment_rules *rules = &xv_fragment_rules;

	if ((ct->flags & XV_CT_FRAGMENT_RULES) == 0)
		return true;
	if (!atomic_load_explicit(&rules->enabled[id->ipv6], memory_order_relaxed) ||
	    atomic_load_explicit(&xv_fragments_waiting, memory_order_relaxed) >=
		    atomic_load_explicit(&rules->max, memory_order_relaxed))
		return false;
	if (s->last || held->layout.payload_end - held->layout.l3 >=
			       atomic_load_explicit(&rules->min_bytes[id->ipv6], memory_order_relaxed))
		return true;
	count(id, XV_FRAGMENT_TOO_SMALL, 1);
	return false;
}

static void take_in(struct xv_fragments *f, struct xv_conntrack *ct, struct rte_mbuf *m, struct rte_mbuf *buf,
		    const struct shape *shape, const struct id *idp, uint32_t now_ms)
{
	struct shape s = *shape;
	struct id id = *idp;
	enum xv_drop reason;
	struct datagram *d;
	bool alone;

	if (!make_room(f, &id, m->nb_segs + 1u)) {
		drop(f, m, buf, XV_DROP_FRAG_LIMIT);
		return;
	}
	d = find(f, &id);
	if (d == NULL)
		d = open_datagram(f, &id, now_ms);
	reason = check(d, &s, &alone);
	if (reason != XV_DROP_MAX) {
		if (reason == XV_DROP_FRAG_OVERLAP)
			count(&id, XV_FRAGMENT_OVERLAPPED, 1);
		drop(f, m, buf, reason);
		if (!alone) {
			/* It stays, so that those that still come are known. */
			drop_pieces(f, d, reason);
			d->broken = true;
		}
		return;
	}
	add_piece(f, d, m, buf, &s);
	if (d->end != 0 && d->bytes == d->end)
		complete(f, ct, d, now_ms);
}

bool xv_fragments_hold(struct xv_fragments *f, struct xv_conntrack *ct, struct rte_mbuf *m, struct rte_mbuf *buf,
		       uint32_t now_ms)
{
	struct shape s;
	struct id id;

	if (!shape_of(m, xv_held_of(buf), &s, &id)) {
		drop(f, m, buf, XV_DROP_FRAG_INVALID);
		return true;
	}
	if (!is_let_in(xv_held_of(buf), &s, &id))
		return false;
	rte_spinlock_lock(&f->lock);
	take_in(f, ct, m, buf, &s, &id, now_ms);
	rte_spinlock_unlock(&f->lock);
	return true;
}

bool xv_fragments_take(struct xv_fragments *f, struct rte_mbuf **m, struct rte_mbuf **buf)
{
	struct datagram *d = TAILQ_FIRST(&f->complete);

	if (d == NULL)
		return false;
	remove_piece(f, d, m, buf);
	if (d->n == 0) {
		TAILQ_REMOVE(&f->complete, d, age);
		free_datagram(f, d);
	}
	return true;
}

bool xv_fragments_any(const struct xv_fragments *f)
{
	return !TAILQ_EMPTY(&f->waiting);
}

void xv_fragments_expire(struct xv_fragments *f, uint32_t now_ms)
{
	struct datagram *d;

	rte_spinlock_lock(&f->lock);
	while ((d = TAILQ_FIRST(&f->waiting)) != NULL && now_ms - d->since_ms >= XV_FRAGMENTS_TIMEOUT_MS)
		give_up(f, d, XV_DROP_FRAG_TIMEOUT);
	rte_spinlock_unlock(&f->lock);
}

void xv_fragments_forget(struct xv_fragments *f, bool (*gone)(uint16_t port_id))
{
	struct datagram *d, *next;

	rte_spinlock_lock(&f->lock);
	for (d = TAILQ_FIRST(&f->waiting); d != NULL; d = next) {
		next = TAILQ_NEXT(d, age);
		if (gone == NULL || gone(d->id.in_port))
			give_up(f, d, XV_DROP_DETACHED);
	}
	rte_spinlock_unlock(&f->lock);
}

/* ---- Control ---- */

unsigned int xv_fragments_list(struct xv_fragments *f, struct xv_fragments_info *infos, unsigned int max)
{
	const struct datagram *d;
	const struct piece *p;
	unsigned int n = 0;

	rte_spinlock_lock(&f->lock);
	TAILQ_FOREACH (d, &f->waiting, age) {
		struct xv_fragments_info *info = &infos[n];

		if (n == max)
			break;
		if (d->n == 0) /* broken, and remembered as such */
			continue;
		*info = (struct xv_fragments_info){.src = d->id.src, .dst = d->id.dst, .recirc_id = d->id.recirc_id,
						   .ip_id = d->id.ip_id, .zone = d->id.zone, .n = d->n,
						   .ipv6 = d->id.ipv6 != 0, .last = d->end != 0};
		STAILQ_FOREACH (p, &d->pieces, next) {
			info->first |= p->shape.start == 0;
			info->proto = xv_held_of(p->buf)->key.ip_proto;
		}
		n++;
	}
	rte_spinlock_unlock(&f->lock);
	return n;
}
