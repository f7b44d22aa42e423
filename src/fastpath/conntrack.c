/* SPDX-License-Identifier: Apache-2.0 */
/* A packet's way through connection tracking: see conntrack.h. */
#include "fastpath/conntrack.h"

#include <errno.h>

#include <rte_branch_prediction.h>
#include <rte_mbuf.h>

#include "fastpath/conntrack_helper.h"
#include "fastpath/conntrack_hot.h"
#include "fastpath/conntrack_nat.h"
#include "fastpath/conntrack_table.h"
#include "net/bytes.h"

#define RETRIES 4 /* when another worker was faster */

#define NAT_BITS (XV_CS_SRC_NAT | XV_CS_DST_NAT)

/* A packet on its way. */
struct way {
	struct xv_conntrack *ct;
	const struct xv_action_ct *action;
	struct rte_mbuf *m;
	struct xv_flow_key *key;
	struct xv_flow_layout *layout;
	struct xv_ct_hit *hit;
	uint32_t now_ms;
	enum xv_ct_kind kind;
	enum xv_ct_dir dir;
	uint64_t hash;
	struct xv_ct_tuple tuple;
	struct xv_ct_packet packet;
};

static bool same_addr(const union xv_ip_addr *a, const union xv_ip_addr *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

const struct xv_ct_proto *xv_ct_proto_of(uint8_t proto, bool ipv6)
{
	switch (proto) {
	case 6:
		return &xv_ct_tcp;
	case 17:
		return &xv_ct_udp;
	case 1:
		return ipv6 ? &xv_ct_generic : &xv_ct_icmp;
	case 58:
		return ipv6 ? &xv_ct_icmpv6 : &xv_ct_generic;
	case 132:
		return &xv_ct_sctp;
	default:
		return &xv_ct_generic;
	}
}

static bool picks_up(const struct xv_conntrack *ct)
{
	return atomic_load_explicit(&ct->pick_up, memory_order_relaxed);
}

/* ---- What flows see ---- */

static void clear(struct xv_flow_key *key)
{
	key->ct_state = 0;
	key->ct_mark = 0;
	key->ct_label[0] = key->ct_label[1] = 0;
	key->ct_zone = 0;
	key->ct_tp_src = key->ct_tp_dst = 0;
	key->ct_proto = 0;
	memset(&key->ct_src, 0, sizeof(key->ct_src));
	memset(&key->ct_dst, 0, sizeof(key->ct_dst));
}

/* The original direction's tuple, as OVS shows it: of ICMP type and code. */
static void show_tuple(struct xv_flow_key *key, const struct xv_ct_tuple *t)
{
	key->ct_src = t->src;
	key->ct_dst = t->dst;
	key->ct_proto = t->proto;
	if (t->proto == (t->ipv6 ? 58 : 1)) {
		uint16_t type_code = rte_be_to_cpu_16(t->dst_port);

		key->ct_tp_src = rte_cpu_to_be_16(type_code >> 8);
		key->ct_tp_dst = rte_cpu_to_be_16(type_code & 0xff);
	} else {
		key->ct_tp_src = t->src_port;
		key->ct_tp_dst = t->dst_port;
	}
}

/* A packet that is of no connection and opens none. It goes on; flows decide. */
static int invalid(const struct way *w)
{
	clear(w->key);
	w->key->ct_state = XV_CS_TRACKED | XV_CS_INVALID;
	w->key->ct_zone = w->action->zone;
	*w->hit = (struct xv_ct_hit){0};
	xv_ct_count(w->ct, w->hash, XV_CT_COUNT_INVALID);
	return 0;
}

void xv_conntrack_refuse(struct xv_conntrack *ct, const struct xv_action_ct *action, struct xv_flow_key *key,
			 struct xv_ct_hit *hit)
{
	const struct way w = {.ct = ct, .action = action, .key = key, .hit = hit};

	(void)invalid(&w);
}

/* ct_state as the kernel's ovs_ct_update_key() makes it, but for translation: a connection that is stored is not `new` for its
 * replies, one that was announced is `related` for ever. */
static uint32_t state_of(const struct way *w, const struct xv_conn *conn)
{
	uint32_t state = XV_CS_TRACKED;

	if (conn->flags & XV_CONN_RELATED)
		state |= XV_CS_RELATED;
	if (w->dir == XV_CT_REPLY)
		state |= XV_CS_REPLY;
	if (w->kind == XV_CT_KIND_ERROR)
		return state | XV_CS_RELATED;
	if (conn->flags & XV_CONN_SEEN_REPLY)
		return state | XV_CS_ESTABLISHED;
	return conn->flags & XV_CONN_RELATED ? state : state | XV_CS_NEW;
}

/* The connection is locked. */
static void show_conn(const struct way *w, const struct xv_conn *conn, uint32_t state)
{
	struct xv_flow_key *key = w->key;

	key->ct_state = state;
	key->ct_zone = w->action->zone;
	key->ct_mark = conn->mark;
	key->ct_label[0] = conn->label[0];
	key->ct_label[1] = conn->label[1];
	show_tuple(key, conn->flags & XV_CONN_RELATED ? &conn->master : &conn->tuple[XV_CT_ORIGINAL]);
}

/* ---- A connection that is stored; it is locked ---- */

/* Padding is among the bytes: fused flows, which count whole frames, do not know of it. */
void xv_ct_count_packet(struct xv_conn *conn, enum xv_ct_dir dir, const struct rte_mbuf *m, uint16_t l3)
{
	_Atomic uint64_t *packets = &conn->packets[dir], *bytes = &conn->bytes[dir];
	uint32_t len = rte_pktmbuf_pkt_len(m) - l3;

	atomic_store_explicit(packets, atomic_load_explicit(packets, memory_order_relaxed) + 1, memory_order_relaxed);
	atomic_store_explicit(bytes, atomic_load_explicit(bytes, memory_order_relaxed) + len, memory_order_relaxed);
}

static uint64_t masked(uint64_t old, uint64_t value, uint64_t mask)
{
	return (old & ~mask) | (value & mask);
}

/* Flows would see something else of it: who remembers the generation is to look again. */
static void changed(struct xv_conn *conn)
{
	uint32_t generation = atomic_load_explicit(&conn->generation, memory_order_relaxed);

	if (!xv_conn_is_worn(generation))
		atomic_store_explicit(&conn->generation, generation + 2, memory_order_release);
}

void xv_ct_set_mark(const struct xv_action_ct *action, struct xv_conn *conn)
{
	uint32_t mark = (uint32_t)masked(conn->mark, action->mark, action->mark_mask);
	uint64_t label0 = masked(conn->label[0], action->label[0], action->label_mask[0]);
	uint64_t label1 = masked(conn->label[1], action->label[1], action->label_mask[1]);

	if (mark == conn->mark && label0 == conn->label[0] && label1 == conn->label[1])
		return;
	/* Helpers read those of a master without its lock. */
	__atomic_store_n(&conn->mark, mark, __ATOMIC_RELAXED);
	__atomic_store_n(&conn->label[0], label0, __ATOMIC_RELAXED);
	__atomic_store_n(&conn->label[1], label1, __ATOMIC_RELAXED);
	changed(conn);
}

static void remember(const struct way *w, struct xv_conn *conn)
{
	w->hit->conn = conn;
	w->hit->generation = atomic_load_explicit(&conn->generation, memory_order_relaxed);
	w->hit->dir = (uint8_t)w->dir;
	w->hit->error = w->kind == XV_CT_KIND_ERROR;
	w->hit->steady = w->kind == XV_CT_KIND_QUERY && xv_ct_is_steady(conn) && !xv_conn_is_worn(w->hit->generation);
}

/*
 * Translate, and let the helper look: once for each packet in a zone. What a helper makes of a translated connection it writes into the
 * packet, so it comes with the translation. The connection stays locked.
 */
static int carry_out(const struct way *w, struct xv_conn *conn, bool again)
{
	bool error = w->kind == XV_CT_KIND_ERROR;
	int rc = 0;

	if (conn->flags & (XV_CONN_SNAT | XV_CONN_DNAT)) {
		bool wanted = w->action->flags & XV_CT_NAT || (w->action->flags & XV_CT_NAT_REPLY && w->dir == XV_CT_REPLY);

		if (!wanted || w->key->ct_state & NAT_BITS)
			return 0;
		rc = xv_ct_nat_translate(conn, w->dir, error, w->m, w->key, w->layout);
	} else if (again) {
		return 0;
	}
	if (rc == 0 && conn->flags & XV_CONN_HELPER && !error && w->key->ip_frag != XV_FRAG_NONE)
		return -EPROTO; /* what helpers write has no room in fragments */
	if (rc == 0 && conn->flags & XV_CONN_HELPER && !error)
		rc = xv_ct_helper_packet(w->ct->helpers, conn, w->dir, w->m, w->key, w->layout, w->now_ms);
	return rc;
}

/* Show the connection, set marks, translate; the connection is unlocked. again: this packet was here before. */
static int pass(const struct way *w, struct xv_conn *conn, bool again)
{
	uint32_t keep = again ? w->key->ct_state & NAT_BITS : 0;
	int rc;

	if (w->action->flags & XV_CT_COMMIT)
		xv_ct_set_mark(w->action, conn);
	show_conn(w, conn, state_of(w, conn) | keep);
	rc = carry_out(w, conn, again);
	remember(w, conn);
	xv_conn_unlock(conn);
	return rc;
}

/* The same packet, in the same zone: what it found then, if that still lives. Locked, or NULL. */
static struct xv_conn *find_again(struct way *w)
{
	struct xv_conn *conn = w->hit->conn;

	if (conn == NULL || w->key->ct_zone != w->action->zone || !(w->key->ct_state & XV_CS_TRACKED))
		return NULL;
	xv_conn_lock(conn);
	if (!xv_conn_is_alive(conn, xv_conn_incarnation(w->hit->generation))) {
		xv_conn_unlock(conn);
		return NULL;
	}
	w->dir = w->hit->dir;
	w->kind = w->hit->error ? XV_CT_KIND_ERROR : XV_CT_KIND_QUERY;
	return conn;
}

/* Unlocks it. */
static void remove_locked(const struct way *w, struct xv_conn *conn)
{
	uint32_t incarnation = xv_conn_incarnation(atomic_load_explicit(&conn->generation, memory_order_relaxed));

	xv_conn_unlock(conn);
	(void)xv_ct_kill(w->ct, conn, incarnation, XV_CT_WHY_DELETED, w->now_ms);
}

static bool is_force(const struct way *w)
{
	const uint8_t both = XV_CT_FORCE | XV_CT_COMMIT;

	return (w->action->flags & both) == both && w->dir == XV_CT_REPLY;
}

/* RFC 792, RFC 4443: somebody on the way says what became of a packet of this connection. */
static int icmp_error(struct way *w)
{
	struct xv_conn *conn;

	if (!xv_ct_checksum_is_ok(w->m, &w->packet))
		return invalid(w);
	conn = xv_ct_find(w->ct, &w->tuple, w->hash, w->now_ms, &w->dir);
	if (conn == NULL)
		return invalid(w);
	/* It tells whoever sent that packet, nobody else. */
	if (memcmp(&w->key->ip_dst, &conn->tuple[w->dir].dst, sizeof(w->key->ip_dst)) != 0) {
		xv_conn_unlock(conn);
		return invalid(w);
	}
	return pass(w, conn, false);
}

/*
 * Which packets' checksums are looked at: those that can open, close or reset something, and of protocols that never take the hot
 * way. So it makes no difference by which way a packet comes.
 */
void xv_ct_check(const struct rte_mbuf *m, struct xv_ct_packet *p, bool opens)
{
	bool plain = p->proto == 6 ? !(p->data[p->l4 + 13] & (XV_TCP_FIN | XV_TCP_SYN | XV_TCP_RST)) : p->proto == 17;

	if (opens || !plain)
		p->csum_ok = xv_ct_checksum_is_ok(m, p);
}

/* It is unlocked. Its time became shorter: the wheel is to know. */
static void tidy(const struct way *w, struct xv_conn *conn, uint32_t incarnation, bool shorter, bool last)
{
	if (unlikely(last))
		(void)xv_ct_kill(w->ct, conn, incarnation, XV_CT_WHY_DELETED, w->now_ms);
	else if (unlikely(shorter))
		xv_ct_rearm(w->ct, conn, incarnation, w->now_ms);
}

bool xv_ct_accept(struct xv_conntrack *ct, struct xv_conn *conn, enum xv_ct_dir dir, const struct xv_ct_proto *proto)
{
	bool answered = dir == XV_CT_REPLY && !(conn->flags & XV_CONN_SEEN_REPLY);

	if (answered) {
		conn->flags |= XV_CONN_SEEN_REPLY;
		changed(conn);
	}
	if (conn->flags & XV_CONN_HALF_OPEN &&
	    conn->flags & (proto->handshake ? XV_CONN_ASSURED : XV_CONN_ASSURED | XV_CONN_SEEN_REPLY))
		xv_ct_settle(ct, conn);
	return answered;
}

/* Advance a connection that is stored and locked; it is unlocked. 1: it is gone, and the packet may open another. */
static int known(struct way *w, struct xv_conn *conn)
{
	const struct xv_ct_proto *proto = xv_ct_proto_of(w->packet.proto, w->packet.ipv6);
	uint32_t incarnation = xv_conn_incarnation(atomic_load_explicit(&conn->generation, memory_order_relaxed));
	uint32_t before = xv_conn_expires(conn);
	enum xv_ct_verdict verdict;
	bool shorter, answered;
	int rc;

	xv_ct_check(w->m, &w->packet, false);
	w->packet.ack_shift = 0;
	if (unlikely(conn->flags & XV_CONN_SEQ_ADJUST && w->packet.proto == 6))
		w->packet.ack_shift = xv_ct_helper_ack_shift(w->ct->helpers, conn, w->dir,
							     xv_load_be32(w->packet.data + w->packet.l4 + 8));
	verdict = proto->packet(conn, w->dir, &w->packet, xv_ct_timeouts(w->ct, conn->timeouts), w->now_ms);
	shorter = (int32_t)(xv_conn_expires(conn) - before) < 0;
	if (verdict == XV_CT_REOPEN) {
		remove_locked(w, conn);
		return 1;
	}
	if (verdict == XV_CT_VALID || verdict == XV_CT_VALID_LAST) {
		answered = xv_ct_accept(w->ct, conn, w->dir, proto);
		xv_ct_count_packet(conn, w->dir, w->m, w->layout->l3);
		rc = pass(w, conn, false);
		/* Many connections are one question and one answer: what is done for the next packet pays from the second on. */
		w->hit->steady &= !answered;
	} else {
		xv_conn_unlock(conn);
		rc = invalid(w);
	}
	tidy(w, conn, incarnation, shorter, verdict == XV_CT_VALID_LAST);
	return rc;
}

/* ---- A connection that is not stored ---- */

struct taken {
	struct xv_conntrack *ct;
	uint32_t now_ms;
};

static bool is_taken(const struct xv_ct_tuple *reply, void *arg)
{
	const struct taken *taken = arg;

	return xv_ct_is_taken(taken->ct, reply, taken->now_ms);
}

/* The reply tuple, by translation or without. Another number each time for whoever needs chance. */
static int choose_reply(const struct way *w, struct xv_conn *from, const struct xv_ct_expected *e, unsigned int attempt)
{
	struct xv_ct_tuple *original = &from->tuple[XV_CT_ORIGINAL], *reply = &from->tuple[XV_CT_REPLY];
	struct taken taken = {w->ct, w->now_ms};
	uint64_t random = w->hash + ((uint64_t)w->now_ms + attempt) * UINT64_C(0x9e3779b97f4a7c15);
	int rc = 0;

	xv_ct_tuple_reverse(original, reply);
	if (!(w->action->flags & XV_CT_NAT))
		return 0;
	random = (random ^ random >> 29) * UINT64_C(0xbf58476d1ce4e5b9);
	random ^= random >> 32;
	if (e != NULL && e->nat)
		rc = xv_ct_nat_follow(e, original, reply, is_taken, &taken, random);
	else if (w->action->nat.flags & (XV_NAT_SRC | XV_NAT_DST))
		rc = xv_ct_nat_choose(&w->action->nat, original, reply, is_taken, &taken, random);
	if (rc != 0)
		xv_ct_count(w->ct, w->hash, XV_CT_COUNT_NAT);
	from->flags &= (uint8_t)~(XV_CONN_SNAT | XV_CONN_DNAT);
	from->flags |= xv_ct_nat_flags(original, reply);
	return rc;
}

/* Store it. 0; 1: another worker did meanwhile; else drop the packet. */
static int commit(struct way *w, struct xv_conn *from, const struct xv_ct_expected *e)
{
	unsigned int attempt;
	struct xv_conn *conn;
	int rc;

	from->flags |= XV_CONN_HALF_OPEN;
	if (from->flags & XV_CONN_ASSURED)
		from->flags &= (uint8_t)~XV_CONN_HALF_OPEN;
	from->port = (uint16_t)w->key->in_port;
	xv_ct_set_mark(w->action, from);
	for (attempt = 0; attempt < RETRIES; attempt++) {
		rc = choose_reply(w, from, e, attempt);
		if (rc == 0)
			rc = xv_ct_insert(w->ct, from, w->hash, w->now_ms, &conn);
		/* A translation that somebody else chose at the same time: choose another. */
		if (rc != -EADDRINUSE || !(w->action->flags & XV_CT_NAT))
			break;
	}
	if (rc != 0)
		return rc == -EEXIST ? 1 : rc;
	if (w->action->helper != XV_CT_HELPER_NONE && (conn->flags & XV_CONN_RELATED) != 0) {
		conn->helper = w->action->helper; /* for whoever looks: what was announced announces nothing */
	} else if (w->action->helper != XV_CT_HELPER_NONE &&
		   xv_ct_helper_attach(w->ct->helpers, conn, w->action->helper) == 0) {
		conn->helper = w->action->helper;
		conn->flags |= XV_CONN_HELPER;
	}
	xv_ct_count_packet(conn, XV_CT_ORIGINAL, w->m, w->layout->l3);
	/* To this packet it is still a new one. */
	show_conn(w, conn, state_of(w, conn) | XV_CS_NEW);
	rc = carry_out(w, conn, false);
	remember(w, conn);
	w->hit->steady = false;
	xv_conn_unlock(conn);
	return rc;
}

/* 1: there is such a connection by now. */
static int unknown(struct way *w)
{
	const struct xv_ct_proto *proto = xv_ct_proto_of(w->packet.proto, w->packet.ipv6);
	bool store = w->action->flags & XV_CT_COMMIT, announced;
	uint32_t policy = store && w->action->timeouts < XV_CT_POLICIES ? w->action->timeouts : 0;
	struct xv_ct_expected e;
	struct xv_conn from;

	memset(&from, 0, sizeof(from));
	xv_ct_check(w->m, &w->packet, true);
	if (!proto->open(&from, &w->packet, picks_up(w->ct), xv_ct_timeouts(w->ct, (uint8_t)policy), w->now_ms))
		return invalid(w);
	w->dir = XV_CT_ORIGINAL;
	from.timeouts = (uint8_t)policy;
	from.tuple[XV_CT_ORIGINAL] = w->tuple;
	announced = xv_ct_expected(w->ct->helpers, &w->tuple, store, w->now_ms, &e);
	if (announced) {
		from.flags |= XV_CONN_RELATED;
		from.master = e.master_tuple;
		from.mark = e.mark;
		from.label[0] = e.label[0];
		from.label[1] = e.label[1];
	}
	if (store)
		return commit(w, &from, announced ? &e : NULL);
	show_conn(w, &from, state_of(w, &from) | XV_CS_NEW);
	*w->hit = (struct xv_ct_hit){0};
	return 0;
}

/* A commit of what was looked up in this zone before, and found to be stored by nobody: insertion finds out if that has changed. */
static bool was_new(const struct way *w)
{
	return (w->action->flags & (XV_CT_COMMIT | XV_CT_FORCE)) == XV_CT_COMMIT && w->hit->conn == NULL &&
	       (w->key->ct_state & (XV_CS_TRACKED | XV_CS_NEW)) == (XV_CS_TRACKED | XV_CS_NEW) &&
	       w->key->ct_zone == w->action->zone;
}

int xv_conntrack_packet(struct xv_conntrack *ct, const struct xv_action_ct *action, struct rte_mbuf *m,
			struct xv_flow_key *key, struct xv_flow_layout *layout, uint32_t now_ms, struct xv_ct_hit *hit)
{
	struct way w = {.ct = ct, .action = action, .m = m, .key = key, .layout = layout, .hit = hit, .now_ms = now_ms};
	struct xv_conn *conn;
	unsigned int i;
	int rc = 0;

	if (action->flags & XV_CT_CLEAR) {
		clear(key);
		*hit = (struct xv_ct_hit){0};
		return 0;
	}
	conn = find_again(&w);
	if (conn != NULL && !is_force(&w))
		return pass(&w, conn, true);
	if (conn != NULL)
		remove_locked(&w, conn);
	w.kind = xv_ct_tuple_of(m, key, layout, action->zone, &w.tuple, &w.packet);
	if (w.kind == XV_CT_KIND_NONE)
		return invalid(&w);
	w.hash = xv_ct_hash(ct, &w.tuple);
	if (w.kind == XV_CT_KIND_ERROR)
		return icmp_error(&w);
	for (i = 0; i < RETRIES; i++) {
		conn = i == 0 && was_new(&w) ? NULL : xv_ct_find(ct, &w.tuple, w.hash, now_ms, &w.dir);
		if (conn != NULL && is_force(&w)) {
			remove_locked(&w, conn);
			conn = NULL;
		}
		if (conn != NULL) {
			rc = known(&w, conn);
			if (rc != 1)
				return rc;
		}
		rc = unknown(&w);
		if (rc != 1)
			return rc;
	}
	return -EADDRINUSE;
}

void xv_conntrack_recall(struct xv_conntrack *ct, const struct rte_mbuf *m, struct xv_flow_key *key,
			 const struct xv_flow_layout *layout, uint32_t now_ms, struct xv_ct_hit *hit)
{
	struct way w = {.ct = ct, .key = key, .hit = hit, .now_ms = now_ms};
	bool translated = key->ct_state & NAT_BITS;
	struct xv_conn *conn;
	struct xv_ct_tuple tuple;

	if ((key->ct_state & (XV_CS_TRACKED | XV_CS_INVALID)) != XV_CS_TRACKED)
		return;
	w.kind = xv_ct_tuple_of(m, key, layout, key->ct_zone, &w.tuple, &w.packet);
	if (w.kind == XV_CT_KIND_NONE)
		return;
	/* What is translated looks like the answers' other side, turned round. */
	tuple = w.tuple;
	if (translated)
		xv_ct_tuple_reverse(&w.tuple, &tuple);
	conn = xv_ct_find(ct, &tuple, xv_ct_hash(ct, &tuple), now_ms, &w.dir);
	if (conn == NULL)
		return;
	w.dir = translated ? !w.dir : w.dir;
	remember(&w, conn);
	xv_conn_unlock(conn);
}

bool xv_conntrack_peek(struct xv_conntrack *ct, uint16_t zone, const struct rte_mbuf *m, struct xv_flow_key *key,
		       const struct xv_flow_layout *layout, uint32_t now_ms)
{
	const struct xv_action_ct action = {.zone = zone};
	struct xv_ct_expected e;
	struct xv_conn from = {0}, *conn;
	struct way w = {.ct = ct, .action = &action, .key = key, .now_ms = now_ms};

	w.kind = xv_ct_tuple_of(m, key, layout, zone, &w.tuple, &w.packet);
	clear(key);
	key->ct_state = XV_CS_TRACKED | XV_CS_INVALID;
	key->ct_zone = zone;
	if (w.kind == XV_CT_KIND_NONE)
		return false;
	conn = xv_ct_find(ct, &w.tuple, xv_ct_hash(ct, &w.tuple), now_ms, &w.dir);
	if (conn != NULL) {
		uint32_t state = state_of(&w, conn);

		/* An error tells whoever sent that packet, nobody else. */
		if (w.kind == XV_CT_KIND_QUERY || same_addr(&key->ip_dst, &conn->tuple[w.dir].dst))
			show_conn(&w, conn, w.kind == XV_CT_KIND_QUERY && w.dir == XV_CT_REPLY
						    ? (state & ~(uint32_t)XV_CS_NEW) | XV_CS_ESTABLISHED
						    : state);
		xv_conn_unlock(conn);
		return (key->ct_state & XV_CS_INVALID) == 0;
	}
	if (w.kind == XV_CT_KIND_ERROR ||
	    !xv_ct_proto_of(w.packet.proto, w.packet.ipv6)->open(&from, &w.packet, picks_up(ct), xv_ct_timeouts(ct, 0), now_ms))
		return false;
	w.dir = XV_CT_ORIGINAL;
	from.tuple[XV_CT_ORIGINAL] = w.tuple;
	if (xv_ct_expected(ct->helpers, &w.tuple, false, now_ms, &e)) {
		from.flags |= XV_CONN_RELATED;
		from.master = e.master_tuple;
	}
	show_conn(&w, &from, state_of(&w, &from) | XV_CS_NEW);
	return false;
}

bool xv_conntrack_peek_nat(struct xv_conntrack *ct, uint16_t zone, struct rte_mbuf *m, struct xv_flow_key *key,
			   struct xv_flow_layout *layout, uint32_t now_ms)
{
	struct xv_ct_packet packet;
	struct xv_ct_tuple tuple;
	enum xv_ct_kind kind = xv_ct_tuple_of(m, key, layout, zone, &tuple, &packet);
	struct xv_conn *conn;
	enum xv_ct_dir dir;
	int rc;

	if (!xv_conntrack_peek(ct, zone, m, key, layout, now_ms))
		return true;
	conn = xv_ct_find(ct, &tuple, xv_ct_hash(ct, &tuple), now_ms, &dir);
	if (conn == NULL)
		return true;
	rc = xv_ct_nat_translate(conn, dir, kind == XV_CT_KIND_ERROR, m, key, layout);
	xv_conn_unlock(conn);
	return rc == 0;
}

enum xv_drop xv_conntrack_why(int rc)
{
	switch (rc) {
	case -ENOBUFS:
		return XV_DROP_CT_FULL;
	case -EDQUOT:
		return XV_DROP_CT_LIMIT;
	case -EPROTO:
		return XV_DROP_CT_HELPER;
	default:
		return XV_DROP_CT_NAT;
	}
}

/* ---- The hot way ---- */

/* Bytes from the L4 header on, and what they are. */
static inline uint32_t l4_of(const uint8_t *ip, uint16_t l3, uint16_t l4, uint8_t *proto)
{
	if (likely(ip[0] >> 4 == 4)) {
		*proto = ip[9];
		return xv_load_be16(ip + 2) + l3 - l4;
	}
	*proto = ip[6];
	return xv_load_be16(ip + 4) + 40u + l3 - l4;
}

bool xv_conntrack_would_advance(struct xv_conntrack *ct, const struct xv_ct_hit *hit, const uint8_t *data, uint16_t l3,
				uint16_t l4, uint32_t now_ms)
{
	struct xv_conn *conn = hit->conn, trial;
	uint8_t proto;
	uint32_t len = l4_of(data + l3, l3, l4, &proto);
	bool alive;

	if (conn == NULL || hit->error)
		return false;
	xv_conn_lock(conn);
	alive = atomic_load_explicit(&conn->generation, memory_order_acquire) == hit->generation;
	/* Not the lock: others may be waiting for it. */
	memcpy(&trial.state, &conn->state, offsetof(struct xv_conn, label) - offsetof(struct xv_conn, state));
	xv_conn_set_expires(&trial, xv_conn_expires(conn));
	xv_conn_unlock(conn);
	return alive && !(trial.flags & XV_CONN_HELPER) && !xv_conn_is_expired(&trial, now_ms) &&
	       xv_ct_hot(&trial, hit->dir, data + l4, len, proto, xv_ct_timeouts(ct, trial.timeouts), now_ms) == XV_CT_VALID;
}

/* Whoever calls it may write to the connection. */
static inline __attribute__((always_inline)) bool advance(struct xv_conntrack *ct, const struct xv_ct_hit *hit,
							   const uint8_t *data, uint16_t l3, uint16_t l4, uint32_t now_ms)
{
	struct xv_conn *conn = hit->conn;
	uint8_t proto;
	uint32_t len = l4_of(data + l3, l3, l4, &proto);

	return likely(atomic_load_explicit(&conn->generation, memory_order_acquire) == hit->generation &&
		      !(conn->flags & XV_CONN_HELPER) && !xv_conn_is_expired(conn, now_ms)) &&
	       xv_ct_hot(conn, hit->dir, data + l4, len, proto, xv_ct_timeouts(ct, conn->timeouts), now_ms) == XV_CT_VALID;
}

static __rte_noinline bool advance_locked(struct xv_conntrack *ct, const struct xv_ct_hit *hit, const uint8_t *data,
					  uint16_t l3, uint16_t l4, uint32_t now_ms)
{
	bool ok;

	xv_conn_lock(hit->conn);
	ok = advance(ct, hit, data, l3, l4, now_ms);
	xv_conn_unlock(hit->conn);
	return ok;
}

bool xv_conntrack_advance(struct xv_conntrack *ct, const struct xv_ct_hit *hit, const uint8_t *data, uint16_t l3,
			  uint16_t l4, uint32_t now_ms)
{
	if (unlikely(hit->conn == NULL || hit->error))
		return false;
	/* Acquire: who is alone now sees what others did under locks before. */
	if (unlikely(atomic_load_explicit(&ct->shared, memory_order_acquire)))
		return advance_locked(ct, hit, data, l3, l4, now_ms);
	return advance(ct, hit, data, l3, l4, now_ms);
}

bool xv_conntrack_is_alive(const struct xv_ct_hit *hit)
{
	return atomic_load_explicit(&hit->conn->generation, memory_order_relaxed) == hit->generation;
}

void xv_conntrack_credit(struct xv_conntrack *ct, const struct xv_ct_hit *hit, uint64_t packets, uint64_t bytes)
{
	struct xv_conn *conn = hit->conn;
	_Atomic uint64_t *p, *b;

	(void)ct;
	if (conn == NULL)
		return;
	p = &conn->packets[hit->dir];
	b = &conn->bytes[hit->dir];
	xv_conn_lock(conn);
	if (xv_conn_is_alive(conn, xv_conn_incarnation(hit->generation))) {
		atomic_store_explicit(p, atomic_load_explicit(p, memory_order_relaxed) + packets, memory_order_relaxed);
		atomic_store_explicit(b, atomic_load_explicit(b, memory_order_relaxed) + bytes, memory_order_relaxed);
	}
	xv_conn_unlock(conn);
}
