/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TCP connections, watched from the middle: two ends change their state, segments get lost behind us, and anybody may
 * forge. What comes out is that of nf_conntrack (test/system/test_conntrack_kernel.py holds both side by side); a rule
 * that goes beyond RFC 9293 says where it comes from.
 */
#include "fastpath/conntrack_state.h"

#include "fastpath/conntrack_hot.h"

#define HEADER 20
#define MAX_SCALE 14 /* RFC 7323, section 2.3 */
#define LINGER_MS 120000

enum option { OPT_END, OPT_NOP, OPT_SCALE = 3, OPT_SACK_OK = 4, OPT_SACK = 5 };

/* ---- States ---- */

/* What a segment makes of a state: another one, or one of these. */
#define BAD 0xff   /* does not fit: invalid */
#define LET 0xfe   /* let it through and change nothing: the ends may know better than we do */

#define SENT XV_CT_TCP_SYN_SENT	  /* a SYN was seen */
#define RECV XV_CT_TCP_SYN_RECV	  /* and its SYN-ACK */
#define EST XV_CT_TCP_ESTABLISHED /* and the ACK */
#define FIN1 XV_CT_TCP_FIN_WAIT	  /* one FIN */
#define FIN1A XV_CT_TCP_CLOSE_WAIT /* and its ACK */
#define FIN2 XV_CT_TCP_LAST_ACK	  /* both FINs */
#define TIMEW XV_CT_TCP_TIME_WAIT /* and the ACK of the second */
#define CLOSED XV_CT_TCP_CLOSE	  /* a RST */
#define SENT2 XV_CT_TCP_SYN_SENT2 /* a SYN from each side: simultaneous open */

/* The new state, by old state and kind of segment. "Original" is who sent the first SYN. */
/* clang-format off */
static const uint8_t next_state[XV_CT_TCP_STATES][2][XV_CT_TCP_KINDS] = {
	/*                            original:                                 reply: */
	/*                            SYN     SYNACK  FIN     ACK     RST       SYN     SYNACK  FIN     ACK     RST */
	[XV_CT_TCP_NONE]          = {{SENT,   BAD,    BAD,    EST,    BAD   }, {BAD,    BAD,    BAD,    BAD,    BAD}},
	[XV_CT_TCP_SYN_SENT]      = {{SENT,   BAD,    BAD,    BAD,    CLOSED}, {SENT2,  RECV,   BAD,    LET,    CLOSED}},
	[XV_CT_TCP_SYN_SENT2]     = {{SENT2,  RECV,   BAD,    BAD,    CLOSED}, {SENT2,  RECV,   BAD,    LET,    CLOSED}},
	[XV_CT_TCP_SYN_RECV]      = {{LET,    RECV,   FIN1,   EST,    CLOSED}, {BAD,    LET,    FIN1,   RECV,   CLOSED}},
	[XV_CT_TCP_ESTABLISHED]   = {{LET,    BAD,    FIN1,   EST,    CLOSED}, {BAD,    LET,    FIN1,   EST,    CLOSED}},
	[XV_CT_TCP_FIN_WAIT]      = {{LET,    BAD,    FIN2,   FIN1A,  CLOSED}, {BAD,    LET,    FIN2,   FIN1A,  CLOSED}},
	[XV_CT_TCP_CLOSE_WAIT]    = {{LET,    BAD,    FIN2,   FIN1A,  CLOSED}, {BAD,    LET,    FIN2,   FIN1A,  CLOSED}},
	[XV_CT_TCP_LAST_ACK]      = {{LET,    BAD,    FIN2,   TIMEW,  CLOSED}, {BAD,    LET,    FIN2,   TIMEW,  CLOSED}},
	[XV_CT_TCP_TIME_WAIT]     = {{SENT,   BAD,    TIMEW,  TIMEW,  CLOSED}, {SENT,   LET,    TIMEW,  TIMEW,  CLOSED}},
	[XV_CT_TCP_CLOSE]         = {{SENT,   BAD,    CLOSED, CLOSED, CLOSED}, {BAD,    LET,    CLOSED, CLOSED, CLOSED}},
};
/* clang-format on */

static bool is_closing(uint8_t state)
{
	return state >= XV_CT_TCP_FIN_WAIT && state <= XV_CT_TCP_CLOSE;
}

/* ---- Reading a segment ---- */

struct options {
	const uint8_t *p;
	unsigned int len;
};

static enum xv_ct_tcp_kind kind_of_flags(uint8_t flags)
{
	switch (flags & (XV_TCP_FIN | XV_TCP_SYN | XV_TCP_RST | XV_TCP_ACK | XV_TCP_URG)) {
	case XV_TCP_SYN:
	case XV_TCP_SYN | XV_TCP_URG:
		return XV_CT_TCP_KIND_SYN;
	case XV_TCP_SYN | XV_TCP_ACK:
		return XV_CT_TCP_KIND_SYNACK;
	case XV_TCP_FIN | XV_TCP_ACK:
	case XV_TCP_FIN | XV_TCP_ACK | XV_TCP_URG:
		return XV_CT_TCP_KIND_FIN;
	case XV_TCP_ACK:
	case XV_TCP_ACK | XV_TCP_URG:
		return XV_CT_TCP_KIND_ACK;
	case XV_TCP_RST:
	case XV_TCP_RST | XV_TCP_ACK:
		return XV_CT_TCP_KIND_RST;
	default: /* no flags, SYN and FIN, "Christmas tree": nothing that a TCP sends */
		return XV_CT_TCP_KINDS;
	}
}

/* len bytes of the segment are at `header`, it has segment_len in all. False: malformed. */
static bool segment_read(const uint8_t *header, uint32_t len, uint32_t segment_len, struct xv_ct_tcp_segment *s,
			 struct options *options)
{
	unsigned int header_len;

	if (len < HEADER)
		return false;
	header_len = (unsigned int)(header[12] >> 4) * 4;
	if (header_len < HEADER || header_len > len || header_len > segment_len)
		return false;
	s->kind = kind_of_flags(header[13]);
	if (s->kind == XV_CT_TCP_KINDS)
		return false;
	s->has_ack = header[13] & XV_TCP_ACK;
	s->seq = xv_load_be32(header + 4);
	s->end = s->seq + (segment_len - header_len) + !!(header[13] & XV_TCP_SYN) + !!(header[13] & XV_TCP_FIN);
	s->ack = s->sack = xv_load_be32(header + 8);
	s->win = xv_load_be16(header + 14);
	*options = (struct options){.p = header + HEADER, .len = header_len - HEADER};
	return true;
}

/* The next option with a length: its value, NULL at the end or where they do not make sense. *value_len: of the
 * value. */
static const uint8_t *option_next(struct options *o, uint8_t *kind, unsigned int *value_len)
{
	const uint8_t *option;

	while (o->len && *o->p == OPT_NOP) {
		o->p++;
		o->len--;
	}
	if (o->len < 2 || *o->p == OPT_END || o->p[1] < 2 || o->p[1] > o->len)
		return NULL;
	option = o->p;
	*kind = option[0];
	*value_len = option[1] - 2u;
	o->p += option[1];
	o->len -= option[1];
	return option + 2;
}

/* Options of a SYN. Returns XV_TCP_SCALE and XV_TCP_SACK. */
static uint8_t options_of_syn(struct options o, uint8_t *scale)
{
	unsigned int len;
	const uint8_t *value;
	uint8_t kind, flags = 0;

	*scale = 0;
	while ((value = option_next(&o, &kind, &len)) != NULL) {
		if (kind == OPT_SCALE && len == 1) {
			*scale = *value < MAX_SCALE ? *value : MAX_SCALE;
			flags |= XV_TCP_SCALE;
		} else if (kind == OPT_SACK_OK && len == 0) {
			flags |= XV_TCP_SACK;
		}
	}
	return flags;
}

/* The highest edge among the blocks of the first SACK option (RFC 2018), not below ack. */
static uint32_t highest_sack(struct options o, uint32_t ack)
{
	unsigned int len;
	const uint8_t *value;
	uint8_t kind;

	while ((value = option_next(&o, &kind, &len)) != NULL) {
		if (kind != OPT_SACK || len == 0 || len % 8 != 0)
			continue;
		for (unsigned int i = 4; i < len; i += 8) {
			uint32_t edge = xv_load_be32(value + i);

			if (xv_ct_seq_lt(ack, edge))
				ack = edge;
		}
		break;
	}
	return ack;
}

/* ---- Windows ---- */

enum fit {
	OUTSIDE, /* invalid */
	KNOWN,	 /* valid but old, or a little more than allowed: let through, nothing else changes */
	INSIDE,
};

static _Atomic bool all_liberal;

void xv_conntrack_set_tcp_liberal(bool liberal)
{
	atomic_store_explicit(&all_liberal, liberal, memory_order_relaxed);
}

bool xv_conntrack_get_tcp_liberal(void)
{
	return atomic_load_explicit(&all_liberal, memory_order_relaxed);
}

static bool is_liberal(const struct xv_ct_tcp_conn *tcp, enum xv_ct_dir dir)
{
	return (tcp->peer_flags[dir] & XV_TCP_LIBERAL) != 0 || xv_conntrack_get_tcp_liberal();
}

/* The first SYN of a side, or one that takes the place of the one before. */
static void peer_start(struct xv_ct_tcp_conn *tcp, enum xv_ct_dir dir, const struct xv_ct_tcp_segment *s,
		       struct options options)
{
	struct xv_ct_tcp_peer *sender = &tcp->peer[dir];

	sender->end = sender->max_end = s->end;
	sender->max_win = s->win ? s->win : 1;
	tcp->peer_flags[dir] = (tcp->peer_flags[dir] & XV_TCP_LIBERAL) | options_of_syn(options, &tcp->scale[dir]);
	/* Both have to want it: RFC 7323, section 2.2. */
	if (dir == XV_CT_REPLY && !(tcp->peer_flags[0] & tcp->peer_flags[1] & XV_TCP_SCALE))
		tcp->scale[0] = tcp->scale[1] = 0;
}

/* The first segment of a side whose SYN was not seen. */
static void peer_pick_up(struct xv_ct_tcp_conn *tcp, enum xv_ct_dir dir, const struct xv_ct_tcp_segment *s)
{
	struct xv_ct_tcp_peer *sender = &tcp->peer[dir], *receiver = &tcp->peer[!dir];
	uint32_t win = (uint32_t)s->win << tcp->scale[dir];

	sender->end = s->end;
	sender->max_win = win ? win : 1;
	sender->max_end = s->end + sender->max_win;
	if (receiver->max_win == 0)
		receiver->end = receiver->max_end = s->sack;
	else if (s->sack == receiver->end + 1) /* answers a keep-alive, whose one byte was not counted */
		receiver->end++;
}

/* More than the window has room for. A TCP that does so and is answered would have all that follows look wrong:
 * note what it sent, if it is within one more window. */
static enum fit above_window(struct xv_ct_tcp_conn *tcp, enum xv_ct_dir dir, const struct xv_ct_tcp_segment *s)
{
	struct xv_ct_tcp_peer *sender = &tcp->peer[dir], *receiver = &tcp->peer[!dir];
	enum fit fit = OUTSIDE;

	if (receiver->max_win && !xv_ct_tcp_seq_below(sender, receiver, s) && !xv_ct_tcp_ack_below(sender, receiver, s) &&
	    !xv_ct_tcp_ack_above(receiver, s) && s->end - sender->max_end + 1 <= receiver->max_win) {
		sender->end = s->end;
		tcp->peer_flags[dir] |= XV_TCP_UNACKED;
		fit = KNOWN;
	}
	return is_liberal(tcp, dir) ? INSIDE : fit;
}

/* Is a segment inside the windows, as far as they are known; moves them if so. */
static enum fit check_windows(struct xv_conn *conn, enum xv_ct_dir dir, const struct xv_ct_tcp_segment *segment,
			      struct options options, int32_t ack_shift)
{
	struct xv_ct_tcp_conn *tcp = &conn->proto.tcp;
	struct xv_ct_tcp_peer *sender = &tcp->peer[dir], *receiver = &tcp->peer[!dir];
	struct xv_ct_tcp_segment s = *segment;
	bool is_syn = s.kind == XV_CT_TCP_KIND_SYN || s.kind == XV_CT_TCP_KIND_SYNACK;

	if (tcp->peer_flags[!dir] & XV_TCP_SACK)
		s.sack = highest_sack(options, s.ack);
	s.ack += (uint32_t)ack_shift;
	s.sack += (uint32_t)ack_shift;

	if (sender->max_win == 0 && !is_syn) {
		peer_pick_up(tcp, dir, &s);
	} else if (sender->max_win == 0 || (is_syn && xv_ct_seq_lt(sender->end, s.end) &&
					    (conn->state == XV_CT_TCP_SYN_SENT || conn->state == XV_CT_TCP_SYN_RECV))) {
		bool first = sender->max_win == 0;

		peer_start(tcp, dir, &s, options);
		if (s.kind == XV_CT_TCP_KIND_SYN && (first || dir == XV_CT_REPLY))
			return INSIDE; /* simultaneous open */
	}

	/* Old TCPs reset with the ACK flag, and no number there. */
	if (!s.has_ack || (s.kind == XV_CT_TCP_KIND_RST && s.ack == 0))
		s.ack = s.sack = receiver->end;
	/* The reset that answers a SYN has none: RFC 9293, section 3.10.7.1. */
	if (s.kind == XV_CT_TCP_KIND_RST && s.seq == 0 && conn->state == XV_CT_TCP_SYN_SENT)
		s.seq = s.end = sender->end;

	if (xv_ct_tcp_seq_above(sender, &s))
		return above_window(tcp, dir, &s);
	if (xv_ct_tcp_ack_above(receiver, &s)) /* of what was never sent */
		return is_liberal(tcp, dir) ? INSIDE : OUTSIDE;
	if ((receiver->max_win && xv_ct_tcp_seq_below(sender, receiver, &s)) || xv_ct_tcp_ack_below(sender, receiver, &s))
		return is_liberal(tcp, dir) ? INSIDE : KNOWN;

	/* The window of a SYN is not scaled: RFC 7323, section 2.2. */
	xv_ct_tcp_take(tcp, dir, &s, is_syn ? s.win : (uint32_t)s.win << tcp->scale[dir]);
	return INSIDE;
}

/* ---- Segments that need more than the table ---- */

/* What came is not understood, but may be what the ends have agreed on: remember it, to recognize the answer. */
static void let_through(struct xv_conn *conn, enum xv_ct_dir dir, const struct xv_ct_tcp_segment *s,
			struct options options)
{
	struct xv_ct_tcp_conn *tcp = &conn->proto.tcp;

	tcp->last_kind = s->kind;
	tcp->last_dir = dir;
	tcp->last_seq = s->seq;
	tcp->last_end = s->end;
	tcp->last_win = s->win;
	if (s->kind == XV_CT_TCP_KIND_SYN && dir == XV_CT_ORIGINAL) {
		uint8_t scale;

		tcp->last_flags = options_of_syn(options, &scale);
		tcp->last_scale = scale;
		/* RFC 5961, section 4: the answer to a SYN inside a connection is an ACK that means nothing. */
		if (conn->state == XV_CT_TCP_LAST_ACK)
			tcp->last_flags |= XV_TCP_CHALLENGE;
	}
	if (conn->state == XV_CT_TCP_SYN_SENT && s->kind == XV_CT_TCP_KIND_ACK && dir == XV_CT_REPLY)
		tcp->last_ack = s->ack;
}

/* A SYN-ACK for the SYN that was let through: both ends have left the old connection, it is their new one. */
static bool answers_let_through(const struct xv_ct_tcp_conn *tcp, enum xv_ct_dir dir, const struct xv_ct_tcp_segment *s)
{
	return s->kind == XV_CT_TCP_KIND_SYNACK && tcp->last_kind == XV_CT_TCP_KIND_SYN && tcp->last_dir != dir &&
	       s->ack == tcp->last_end;
}

static void follow_let_through(struct xv_ct_tcp_conn *tcp, enum xv_ct_dir dir)
{
	struct xv_ct_tcp_peer *opener = &tcp->peer[!dir];

	opener->end = opener->max_end = tcp->last_end;
	opener->max_win = tcp->last_win ? tcp->last_win : 1;
	tcp->scale[!dir] = tcp->last_scale;
	tcp->last_flags &= (uint8_t)~XV_TCP_CHALLENGE;
	tcp->peer_flags[!dir] = tcp->last_flags & (XV_TCP_SCALE | XV_TCP_SACK);
	tcp->peer[dir] = (struct xv_ct_tcp_peer){0};
	tcp->scale[dir] = 0;
	tcp->peer_flags[dir] &= XV_TCP_LIBERAL;
}

/* May a SYN take the place of a connection in TIME-WAIT or closed (RFC 9293, section 3.10.7.4; RFC 6191)? */
static bool may_reopen(const struct xv_ct_tcp_conn *tcp, enum xv_ct_dir dir)
{
	return ((tcp->peer_flags[0] | tcp->peer_flags[1]) & XV_TCP_CLOSED) ||
	       (tcp->last_dir == dir && tcp->last_kind == XV_CT_TCP_KIND_RST);
}

enum reset {
	RESET_INVALID,
	RESET_TAKE,	  /* whatever the windows say */
	RESET_IF_INSIDE,  /* windows decide */
	RESET_PASS_INSIDE /* windows decide whether it is valid, but it does not close the connection */
};

/* RFC 5961, section 3: only a RST with exactly the number that is expected next resets; one that is near it is
 * answered by a challenge, so it has to pass, but the connection stays. */
static enum reset judge_reset(const struct xv_conn *conn, enum xv_ct_dir dir, const struct xv_ct_tcp_segment *s)
{
	const struct xv_ct_tcp_conn *tcp = &conn->proto.tcp;
	bool answers_last = s->has_ack && s->ack == tcp->last_end;

	if (is_closing(conn->state)) /* there is little to lose, and the ends may be on to the next connection */
		return RESET_TAKE;
	if ((tcp->peer_flags[!dir] & XV_TCP_MAX_ACK) && tcp->last_kind != XV_CT_TCP_KIND_SYN) {
		bool established = conn->state == XV_CT_TCP_ESTABLISHED && (conn->flags & XV_CONN_ASSURED);
		uint32_t expected = tcp->peer[!dir].max_ack;

		if (s->seq == 0 && !established) /* answers a SYN */
			return RESET_IF_INSIDE;
		if (xv_ct_seq_lt(s->seq, expected))
			return RESET_INVALID;
		if (!established || s->seq == expected)
			return RESET_IF_INSIDE;
		/* Right behind this side's last segment, which is not acknowledged yet. */
		if (tcp->last_kind == XV_CT_TCP_KIND_ACK && tcp->last_dir == dir && s->seq == tcp->last_end)
			return RESET_IF_INSIDE;
		return RESET_PASS_INSIDE;
	}
	/* The answer to a segment that was let through, or to a half-open connection: it may acknowledge what
	 * moved no window. */
	if (answers_last && (((conn->flags & XV_CONN_SEEN_REPLY) && tcp->last_kind == XV_CT_TCP_KIND_SYN) ||
			     (!(conn->flags & XV_CONN_ASSURED) && tcp->last_kind == XV_CT_TCP_KIND_ACK)))
		return RESET_TAKE;
	/* ... to a challenge ACK. */
	if (conn->state == XV_CT_TCP_SYN_SENT && tcp->last_kind == XV_CT_TCP_KIND_ACK && tcp->last_dir == XV_CT_REPLY &&
	    s->seq == tcp->last_ack)
		return RESET_TAKE;
	return RESET_IF_INSIDE;
}

/* FINs or RSTs from both sides, all outside of the windows: what they end is long gone, do not keep it for days. */
static void invalid_end(struct xv_conn *conn, enum xv_ct_dir dir, const struct xv_ct_tcp_segment *s,
			const uint32_t *timeout_ms, uint32_t now_ms)
{
	struct xv_ct_tcp_conn *tcp = &conn->proto.tcp;

	if (!(conn->flags & XV_CONN_ASSURED) || (s->kind != XV_CT_TCP_KIND_FIN && s->kind != XV_CT_TCP_KIND_RST))
		return;
	if (tcp->last_dir != dir && (tcp->last_kind == XV_CT_TCP_KIND_FIN || tcp->last_kind == XV_CT_TCP_KIND_RST)) {
		uint32_t left = xv_conn_expires(conn) - now_ms;

		if (left >= LINGER_MS && left > timeout_ms[XV_CT_TO_TCP_UNACK])
			xv_conn_set_expires(conn, now_ms + timeout_ms[XV_CT_TO_TCP_UNACK]);
	} else {
		tcp->last_kind = s->kind;
		tcp->last_dir = dir;
	}
}

/* ---- A segment's way ---- */

static enum xv_ct_verdict take(struct xv_conn *conn, uint8_t old, uint8_t next, enum xv_ct_dir dir,
			       const struct xv_ct_tcp_segment *s, const uint32_t *timeout_ms, uint32_t now_ms)
{
	struct xv_ct_tcp_conn *tcp = &conn->proto.tcp;
	uint32_t timeout;

	tcp->last_kind = s->kind;
	tcp->last_dir = dir;
	conn->state = next;
	if (old != next && next == XV_CT_TCP_FIN_WAIT)
		tcp->peer_flags[dir] |= XV_TCP_CLOSED;

	timeout = xv_ct_tcp_timeout(tcp, next, s->kind, timeout_ms);
	if (!(conn->flags & XV_CONN_SEEN_REPLY)) {
		if (s->kind == XV_CT_TCP_KIND_RST)
			return XV_CT_VALID_LAST;
		/* Who repeats a SYN for ever must not hold the entry for ever. */
		if (s->kind == XV_CT_TCP_KIND_SYN && old == XV_CT_TCP_SYN_SENT)
			return XV_CT_VALID;
		/* Picked up, no answer yet. */
		if (next == XV_CT_TCP_ESTABLISHED && timeout > timeout_ms[XV_CT_TO_TCP_UNACK])
			timeout = timeout_ms[XV_CT_TO_TCP_UNACK];
	} else if ((old == XV_CT_TCP_SYN_RECV || old == XV_CT_TCP_ESTABLISHED) && next == XV_CT_TCP_ESTABLISHED) {
		conn->flags |= XV_CONN_ASSURED;
	}
	xv_conn_set_expires(conn, now_ms + timeout);
	return XV_CT_VALID;
}

static enum xv_ct_verdict segment(struct xv_conn *conn, enum xv_ct_dir dir, const struct xv_ct_tcp_segment *s,
				  struct options options, int32_t ack_shift, const uint32_t *timeout_ms, uint32_t now_ms)
{
	struct xv_ct_tcp_conn *tcp = &conn->proto.tcp;
	uint8_t old = conn->state, next = next_state[old][dir][s->kind];

	if (next == XV_CT_TCP_SYN_SENT && old >= XV_CT_TCP_TIME_WAIT) {
		if (may_reopen(tcp, dir))
			return XV_CT_REOPEN;
		next = LET;
	}
	switch (next) {
	case BAD:
		return XV_CT_INVALID;
	case LET:
		if (!answers_let_through(tcp, dir, s)) {
			let_through(conn, dir, s, options);
			return XV_CT_VALID;
		}
		follow_let_through(tcp, dir);
		old = XV_CT_TCP_SYN_SENT;
		next = XV_CT_TCP_SYN_RECV;
		break;
	case XV_CT_TCP_TIME_WAIT: /* a challenge ACK is not that of the last FIN */
		if (old == XV_CT_TCP_LAST_ACK && s->kind == XV_CT_TCP_KIND_ACK && tcp->last_dir != dir &&
		    tcp->last_kind == XV_CT_TCP_KIND_SYN && (tcp->last_flags & XV_TCP_CHALLENGE)) {
			tcp->last_flags &= (uint8_t)~XV_TCP_CHALLENGE;
			return XV_CT_VALID;
		}
		break;
	case XV_CT_TCP_SYN_SENT2:
		tcp->last_flags |= XV_TCP_SIMULTANEOUS;
		break;
	case XV_CT_TCP_SYN_RECV: /* the last ACK of a simultaneous open comes from any side */
		if (dir == XV_CT_REPLY && s->kind == XV_CT_TCP_KIND_ACK && (tcp->last_flags & XV_TCP_SIMULTANEOUS))
			next = XV_CT_TCP_ESTABLISHED;
		break;
	case XV_CT_TCP_CLOSE:
		if (s->kind != XV_CT_TCP_KIND_RST)
			break;
		switch (judge_reset(conn, dir, s)) {
		case RESET_INVALID:
			return XV_CT_INVALID;
		case RESET_TAKE:
			return take(conn, old, next, dir, s, timeout_ms, now_ms);
		case RESET_PASS_INSIDE:
			next = old;
			break;
		case RESET_IF_INSIDE:
			break;
		}
		break;
	default:
		break;
	}

	switch (check_windows(conn, dir, s, options, ack_shift)) {
	case OUTSIDE:
		invalid_end(conn, dir, s, timeout_ms, now_ms);
		return XV_CT_INVALID;
	case KNOWN:
		return XV_CT_VALID;
	case INSIDE:
		break;
	}
	return take(conn, old, next, dir, s, timeout_ms, now_ms);
}

static bool packet_read(const struct xv_ct_packet *p, struct xv_ct_tcp_segment *s, struct options *options)
{
	return p->csum_ok && p->l4 && p->l4 <= p->len && p->l4 <= p->end &&
	       segment_read(p->data + p->l4, p->len - p->l4, p->end - p->l4, s, options);
}

static enum xv_ct_verdict tcp_packet(struct xv_conn *conn, enum xv_ct_dir dir, const struct xv_ct_packet *p,
				     const uint32_t *timeout_ms, uint32_t now_ms)
{
	struct xv_ct_tcp_segment s;
	struct options options;

	if (!packet_read(p, &s, &options))
		return XV_CT_INVALID;
	return segment(conn, dir, &s, options, p->ack_shift, timeout_ms, now_ms);
}

static bool tcp_open(struct xv_conn *conn, const struct xv_ct_packet *p, bool pick_up, const uint32_t *timeout_ms,
		     uint32_t now_ms)
{
	struct xv_ct_tcp_conn *tcp = &conn->proto.tcp;
	struct xv_ct_tcp_segment s;
	struct options options;

	conn->state = XV_CT_TCP_NONE;
	conn->flags = 0;
	conn->proto = (union xv_ct_proto_state){0};
	tcp->last_kind = XV_CT_TCP_KINDS;
	if (!packet_read(p, &s, &options))
		return false;
	if (s.kind == XV_CT_TCP_KIND_SYN) {
		peer_start(tcp, XV_CT_ORIGINAL, &s, options);
	} else if (s.kind == XV_CT_TCP_KIND_ACK && pick_up) {
		/* Whether windows are scaled, nobody knows. */
		peer_pick_up(tcp, XV_CT_ORIGINAL, &s);
		tcp->peer[XV_CT_REPLY] = (struct xv_ct_tcp_peer){0};
		tcp->peer_flags[0] = tcp->peer_flags[1] = XV_TCP_SACK | XV_TCP_LIBERAL;
	} else {
		return false;
	}
	return segment(conn, XV_CT_ORIGINAL, &s, options, p->ack_shift, timeout_ms, now_ms) == XV_CT_VALID;
}

const struct xv_ct_proto xv_ct_tcp = {.handshake = true, .open = tcp_open, .packet = tcp_packet};

/* A plain ACK of a proven connection, also with SACK or late: it changes no state, and nothing at all if it is not VALID: the
 * long way will say the same. */
static __rte_noinline enum xv_ct_verdict plain(struct xv_conn *conn, enum xv_ct_dir dir, const uint8_t *header,
					       uint32_t segment_len, const uint32_t *timeout_ms, uint32_t now_ms)
{
	struct xv_ct_tcp_segment s;
	struct options options;

	if (!xv_ct_tcp_is_proven(conn) || !segment_read(header, segment_len, segment_len, &s, &options) ||
	    s.kind != XV_CT_TCP_KIND_ACK)
		return XV_CT_NOT_HOT;
	return segment(conn, dir, &s, options, 0, timeout_ms, now_ms) == XV_CT_VALID ? XV_CT_VALID : XV_CT_NOT_HOT;
}

enum xv_ct_verdict xv_ct_tcp_hot(struct xv_conn *conn, enum xv_ct_dir dir, const uint8_t *header, uint32_t segment_len,
				 const uint32_t *timeout_ms, uint32_t now_ms)
{
	struct xv_ct_tcp_conn *tcp = &conn->proto.tcp;
	const struct xv_ct_tcp_peer *sender = &tcp->peer[dir], *receiver = &tcp->peer[!dir];
	unsigned int header_len = (unsigned int)(header[12] >> 4) * 4;
	struct xv_ct_tcp_segment s;

	if (!xv_ct_tcp_is_proven(conn) || header_len < 20 || header_len > segment_len ||
	    (header[13] & (XV_TCP_FIN | XV_TCP_SYN | XV_TCP_RST | XV_TCP_ACK | XV_TCP_URG)) != XV_TCP_ACK)
		return plain(conn, dir, header, segment_len, timeout_ms, now_ms);
	/* Options may be selective acknowledgements, unless they are what they are nearly always: a timestamp alone. */
	if (header_len != 20 && (tcp->peer_flags[!dir] & XV_TCP_SACK) &&
	    (header_len != 32 || xv_load32(header + 20) != RTE_BE32(0x0101080a)))
		return plain(conn, dir, header, segment_len, timeout_ms, now_ms);

	s.seq = xv_load_be32(header + 4);
	s.end = s.seq + (segment_len - header_len);
	s.ack = s.sack = xv_load_be32(header + 8);
	s.win = xv_load_be16(header + 14);
	s.has_ack = true;
	s.kind = XV_CT_TCP_KIND_ACK;
	if (sender->max_win == 0 || receiver->max_win == 0 || xv_ct_tcp_seq_above(sender, &s) ||
	    xv_ct_tcp_ack_above(receiver, &s) || xv_ct_tcp_seq_below(sender, receiver, &s) ||
	    xv_ct_tcp_ack_below(sender, receiver, &s))
		return plain(conn, dir, header, segment_len, timeout_ms, now_ms);

	xv_ct_tcp_take(tcp, dir, &s, (uint32_t)s.win << tcp->scale[dir]);
	tcp->last_kind = XV_CT_TCP_KIND_ACK;
	tcp->last_dir = dir;
	xv_conn_set_expires(conn, now_ms + xv_ct_tcp_timeout(tcp, XV_CT_TCP_ESTABLISHED, XV_CT_TCP_KIND_ACK, timeout_ms));
	return XV_CT_VALID;
}
