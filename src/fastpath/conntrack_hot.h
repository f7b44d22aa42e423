/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A packet of an established connection, as most packets are: checked and accounted for in one cache line of
 * the connection, inline. What is not plain is not done here. Private to conntrack*.c; any worker, the
 * connection's lock is held.
 *
 * Checksums are not looked at: a segment with a broken one moves no state but the edges of windows, within what
 * the windows allowed anyway, and its receiver drops it.
 */
#pragma once

#include "fastpath/conntrack_state.h"
#include "net/bytes.h"

#define XV_TCP_FIN 0x01
#define XV_TCP_SYN 0x02
#define XV_TCP_RST 0x04
#define XV_TCP_PSH 0x08
#define XV_TCP_ACK 0x10
#define XV_TCP_URG 0x20

/* Kinds of segments, as far as the state of a connection goes. Those with other flags are invalid. */
enum xv_ct_tcp_kind {
	XV_CT_TCP_KIND_SYN,
	XV_CT_TCP_KIND_SYNACK,
	XV_CT_TCP_KIND_FIN,
	XV_CT_TCP_KIND_ACK,
	XV_CT_TCP_KIND_RST,
	XV_CT_TCP_KINDS
};

/* How far behind the highest byte sent an acknowledgement may lie: the window, but not less than this. */
#define XV_CT_TCP_LATE_ACK 66000

struct xv_ct_tcp_segment {
	uint32_t seq, end; /* end: one behind its last byte; SYN and FIN count as one */
	uint32_t ack, sack; /* sack: the highest byte that it says has arrived */
	uint16_t win;	    /* as in the header */
	bool has_ack;
	uint8_t kind;
};

/* Sequence numbers wrap: RFC 9293, section 3.4. */
static inline bool xv_ct_seq_lt(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) < 0;
}

static inline bool xv_ct_tcp_seq_above(const struct xv_ct_tcp_peer *sender, const struct xv_ct_tcp_segment *s)
{
	return !xv_ct_seq_lt(s->seq, sender->max_end + 1);
}

static inline bool xv_ct_tcp_seq_below(const struct xv_ct_tcp_peer *sender, const struct xv_ct_tcp_peer *receiver,
				       const struct xv_ct_tcp_segment *s)
{
	return !xv_ct_seq_lt(sender->end - receiver->max_win - 1, s->end);
}

static inline bool xv_ct_tcp_ack_above(const struct xv_ct_tcp_peer *receiver, const struct xv_ct_tcp_segment *s)
{
	return !xv_ct_seq_lt(s->sack, receiver->end + 1);
}

static inline bool xv_ct_tcp_ack_below(const struct xv_ct_tcp_peer *sender, const struct xv_ct_tcp_peer *receiver,
				       const struct xv_ct_tcp_segment *s)
{
	uint32_t late = sender->max_win > XV_CT_TCP_LATE_ACK ? sender->max_win : XV_CT_TCP_LATE_ACK;

	return !xv_ct_seq_lt(receiver->end - late - 1, s->sack);
}

/* A segment inside the windows moves them. win: scaled. */
static inline void xv_ct_tcp_take(struct xv_ct_tcp_conn *tcp, enum xv_ct_dir dir, const struct xv_ct_tcp_segment *s,
				  uint32_t win)
{
	struct xv_ct_tcp_peer *sender = &tcp->peer[dir], *receiver = &tcp->peer[!dir];
	uint32_t reach = win + (s->sack - s->ack);

	if (sender->max_win < reach)
		sender->max_win = reach;
	if (xv_ct_seq_lt(sender->end, s->end)) {
		sender->end = s->end;
		tcp->peer_flags[dir] |= XV_TCP_UNACKED;
	}
	if (s->has_ack && (!(tcp->peer_flags[dir] & XV_TCP_MAX_ACK) || xv_ct_seq_lt(sender->max_ack, s->ack))) {
		sender->max_ack = s->ack;
		tcp->peer_flags[dir] |= XV_TCP_MAX_ACK;
	}
	/* Begins inside the window and ends beyond it: who sends so much will be let to. */
	if (receiver->max_win && xv_ct_seq_lt(sender->max_end, s->end))
		receiver->max_win += s->end - sender->max_end;
	if (xv_ct_seq_lt(receiver->max_end - 1, s->sack + win))
		receiver->max_end = s->sack + win + (win == 0); /* a closed window is probed with one byte */
	if (s->ack == receiver->end)
		tcp->peer_flags[!dir] &= (uint8_t)~XV_TCP_UNACKED;

	if (s->kind != XV_CT_TCP_KIND_ACK)
		return;
	if (tcp->last_dir == dir && tcp->last_seq == s->seq && tcp->last_ack == s->ack && tcp->last_end == s->end &&
	    tcp->last_win == s->win) {
		tcp->retransmits += tcp->retransmits < 15;
	} else {
		tcp->last_dir = dir;
		tcp->last_seq = s->seq;
		tcp->last_ack = s->ack;
		tcp->last_end = s->end;
		tcp->last_win = s->win;
		tcp->retransmits = 0;
	}
}

/* How long a connection in this state may be silent: less if it sends the same again and again, waits for an
 * answer, or is stopped. */
static inline uint32_t xv_ct_tcp_timeout(const struct xv_ct_tcp_conn *tcp, enum xv_ct_tcp_state state,
					 enum xv_ct_tcp_kind kind, const uint32_t *timeout_ms)
{
	uint32_t ms = timeout_ms[state];

	if (tcp->retransmits >= 3 && ms > timeout_ms[XV_CT_TO_TCP_RETRANS])
		return timeout_ms[XV_CT_TO_TCP_RETRANS];
	if (kind == XV_CT_TCP_KIND_RST)
		return timeout_ms[XV_CT_TCP_CLOSE];
	if (((tcp->peer_flags[0] | tcp->peer_flags[1]) & XV_TCP_UNACKED) && ms > timeout_ms[XV_CT_TO_TCP_UNACK])
		return timeout_ms[XV_CT_TO_TCP_UNACK];
	if (tcp->last_win == 0 && ms > timeout_ms[XV_CT_TO_TCP_RETRANS])
		return timeout_ms[XV_CT_TO_TCP_RETRANS];
	return ms;
}

/* Past its handshake: nothing but SYN, FIN and RST can change its state. */
static inline bool xv_ct_tcp_is_proven(const struct xv_conn *conn)
{
	return conn->state == XV_CT_TCP_ESTABLISHED &&
	       (conn->flags & (XV_CONN_SEEN_REPLY | XV_CONN_ASSURED)) == (XV_CONN_SEEN_REPLY | XV_CONN_ASSURED);
}

/* In conntrack_tcp.c, a function of its own: UDP would pay for the registers that it takes. */
enum xv_ct_verdict xv_ct_tcp_hot(struct xv_conn *conn, enum xv_ct_dir dir, const uint8_t *header, uint32_t segment_len,
				 const uint32_t *timeout_ms, uint32_t now_ms);

#define XV_CT_UDP_STREAM_MS 2000 /* whose answers come for longer is a conversation, not a question */

/* May the next packets of this connection be for xv_ct_hot()? */
static inline bool xv_ct_is_steady(const struct xv_conn *conn)
{
	uint8_t proto = conn->tuple[XV_CT_ORIGINAL].proto;

	return !(conn->flags & XV_CONN_HELPER) && (proto == 17 || (proto == 6 && xv_ct_tcp_is_proven(conn)));
}

/*
 * The next packet of a steady connection, no fragment. Of UDP nobody need have answered yet. VALID: neither its
 * state nor its flags have changed. NOT_HOT: nothing has changed, the packet is to go the long way. header: of
 * the transport, which lies with its options in contiguous bytes; len: from there to the end of the IP packet.
 */
static inline __attribute__((always_inline)) enum xv_ct_verdict
xv_ct_hot(struct xv_conn *conn, enum xv_ct_dir dir, const uint8_t *header, uint32_t len, uint8_t proto,
	  const uint32_t *timeout_ms, uint32_t now_ms)
{
	if (proto == 6)
		return xv_ct_tcp_hot(conn, dir, header, len, timeout_ms, now_ms);
	if (proto == 17) {
		bool answered = (conn->flags & XV_CONN_SEEN_REPLY) != 0;
		bool stream = answered && (int32_t)(now_ms - conn->proto.udp.opened_ms) > XV_CT_UDP_STREAM_MS;
		uint16_t udp_len = xv_load_be16(header + 4);

		if (udp_len < 8 || udp_len > len || (!answered && dir == XV_CT_REPLY) ||
		    (stream && !(conn->flags & XV_CONN_ASSURED)))
			return XV_CT_NOT_HOT;
		xv_conn_set_expires(conn, now_ms + timeout_ms[stream ? XV_CT_TO_UDP_MULTIPLE : XV_CT_TO_UDP_SINGLE]);
		return XV_CT_VALID;
	}
	/* SCTP: its checksum is to be verified. ICMP: whose identifier is it? */
	return XV_CT_NOT_HOT;
}
