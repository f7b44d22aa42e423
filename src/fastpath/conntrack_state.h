/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a connection is made of, and what the files of conntrack say to each other. Private to conntrack*.c.
 *
 *   conntrack.c           a packet's way: look-up, state, commit
 *   conntrack_first.c     the same at once for first packets whose answer is known
 *   conntrack_tuple.c     tuple out of a packet, of the packet inside an ICMP error
 *   conntrack_table.c     shards, insertion, deletion, eviction, expiry
 *   conntrack_control.c   creation, walking, flushing, limits, timeouts, figures: the control thread's
 *   conntrack_proto.c, _tcp.c, _sctp.c     protocols: is the packet valid, what does it make of the state
 *   conntrack_hot.h       the same for the next packet of an established connection
 *   conntrack_nat.c       choice of tuples, translation of packets
 *   conntrack_helper.c, _ftp.c, _tftp.c   expectations
 */
#pragma once

#include <assert.h>
#include <stdatomic.h>
#include <stddef.h>

#include <rte_pause.h>

#include "fastpath/conntrack.h"
#include "table/timer_wheel.h"

/*
 * What TCP window tracking keeps of a sender, by G. van Rooij, "Real Stateful TCP Packet Filtering in IP Filter": the receiver will
 * take sequence numbers up to max_end, and up to `end` was sent.
 */
struct xv_ct_tcp_peer {
	uint32_t end;	  /* one behind the highest sequence number sent */
	uint32_t max_end; /* the highest that the other side's window allows */
	uint32_t max_win; /* largest window advertised, scaled; 0: has sent nothing yet */
	uint32_t max_ack; /* highest acknowledged, if XV_TCP_MAX_ACK */
};

/* xv_ct_tcp_conn.peer_flags; the first two also in last_flags */
#define XV_TCP_SCALE 0x01    /* sent the window scale option */
#define XV_TCP_SACK 0x02     /* sent the SACK-permitted option */
#define XV_TCP_CLOSED 0x04   /* sent the first FIN */
#define XV_TCP_LIBERAL 0x08  /* was picked up: windows are not known, and not enforced */
#define XV_TCP_UNACKED 0x10  /* what it sent is not all acknowledged */
#define XV_TCP_MAX_ACK 0x20  /* max_ack is valid */
/* xv_ct_tcp_conn.last_flags */
#define XV_TCP_CHALLENGE 0x04	 /* an ACK may be a challenge (RFC 5961), not the last of the connection */
#define XV_TCP_SIMULTANEOUS 0x08 /* both sides sent SYN */

struct xv_ct_tcp_conn {
	struct xv_ct_tcp_peer peer[2]; /* by direction */
	/* The last segment that was taken, or let through without being understood: retransmissions, RFC 5961. */
	uint32_t last_seq, last_ack, last_end;
	uint16_t last_win;
	uint8_t peer_flags[2];
	uint8_t scale[2];
	uint8_t last_kind : 3, last_dir : 1, last_scale : 4;
	uint8_t last_flags : 4, retransmits : 4;
};

struct xv_ct_sctp_conn {
	rte_be32_t vtag[2]; /* that packets of a direction carry */
	uint8_t inits;	    /* bits by direction: an INIT was seen, and no COOKIE-ACK since */
	bool probing;	    /* a HEARTBEAT had a wrong tag: by direction probe_dir; its answer may change tags */
	uint8_t probe_dir;
};

/* Only the protocol's own file, and conntrack_hot.h, look inside. */
union xv_ct_proto_state {
	struct xv_ct_tcp_conn tcp;
	struct xv_ct_sctp_conn sctp;
	struct {
		uint32_t opened_ms;
	} udp;
	uint8_t bytes[52];
};

/* xv_conn.flags */
#define XV_CONN_SEEN_REPLY 0x01 /* set by conntrack.c after packet() of a reply said that it is valid */
#define XV_CONN_ASSURED 0x02	/* set by protocols: established, is never evicted */
#define XV_CONN_HELPER 0x04	/* conn->helper listens: each packet goes the long way */
#define XV_CONN_SNAT 0x08
#define XV_CONN_DNAT 0x10
#define XV_CONN_RELATED 0x20	/* has a master */
#define XV_CONN_HALF_OPEN 0x40	/* counts against its account */
#define XV_CONN_SEQ_ADJUST 0x80 /* the helper's: it shifts sequence numbers */

struct xv_conn {
	/*
	 * Line 0: what each packet touches. generation: incarnation << XV_CONN_VERSION_BITS | version << 1 | dead; under the
	 * connection's lock, and both shards' to live and die. The rest under the connection's lock; for the hot path see
	 * xv_conntrack_advance().
	 */
	_Alignas(64) _Atomic uint32_t generation;
	_Atomic uint32_t expires_ms;
	_Atomic uint8_t lock;
	uint8_t state; /* enum xv_ct_tcp_state, or the protocol's own */
	uint8_t flags;
	uint8_t timeouts; /* policy */
	union xv_ct_proto_state proto;

	/* Line 1: look-up. Tuples do not change while it lives, readers load them in words (xv_ct_tuple_is()). */
	uint64_t label[2];
	uint32_t mark;
	uint16_t port; /* that opened it */
	uint8_t helper;
	uint8_t pad;
	struct xv_ct_tuple tuple[2]; /* by direction: what a packet of that direction looks like as it comes in. The second
				      * begins line 2 */
	union {
		struct xv_ct_tuple master;	/* XV_CONN_RELATED: original tuple of the connection that announced this one */
		uint32_t helper_slot;		/* else: conntrack_helper.c's own; 0: none */
	};
	struct xv_timer_link timer;	/* under the lock of the original tuple's shard */
	uint32_t older, newer;		/* half-open ones of the account, under its lock */
	_Atomic uint64_t packets[2], bytes[2]; /* written under the connection's lock */
};
static_assert(offsetof(struct xv_conn, label) == 64 && offsetof(struct xv_conn, tuple[1]) == 128, "lines");
static_assert(sizeof(struct xv_conn) == 256, "two million are to take less than 600 MB");

#define XV_CONN_VERSION_BITS 10
#define XV_CONN_DEAD 1u
#define XV_CONN_VERSION_LAST (((1u << XV_CONN_VERSION_BITS) - 1) & ~XV_CONN_DEAD)

/* Its versions are used up: what was remembered of it before would seem to hold again if they began anew. Nothing is remembered
 * any more: such a connection's packets all go the long way. */
static inline bool xv_conn_is_worn(uint32_t generation)
{
	return (generation & XV_CONN_VERSION_LAST) == XV_CONN_VERSION_LAST;
}

/* Which connection it is, whatever mark and labels it gets. */
static inline uint32_t xv_conn_incarnation(uint32_t generation)
{
	return generation >> XV_CONN_VERSION_BITS;
}

static inline void xv_conn_lock(struct xv_conn *conn)
{
	while (atomic_exchange_explicit(&conn->lock, 1, memory_order_acquire) != 0) {
		while (atomic_load_explicit(&conn->lock, memory_order_relaxed) != 0)
			rte_pause();
	}
}

static inline void xv_conn_unlock(struct xv_conn *conn)
{
	atomic_store_explicit(&conn->lock, 0, memory_order_release);
}

static inline uint32_t xv_conn_expires(const struct xv_conn *conn)
{
	return atomic_load_explicit(&conn->expires_ms, memory_order_relaxed);
}

static inline void xv_conn_set_expires(struct xv_conn *conn, uint32_t expires_ms)
{
	atomic_store_explicit(&conn->expires_ms, expires_ms, memory_order_relaxed);
}

static inline bool xv_conn_is_expired(const struct xv_conn *conn, uint32_t now_ms)
{
	return (int32_t)(xv_conn_expires(conn) - now_ms) <= 0;
}

/* ---- Protocols: pure but for the connection's line 0; the connection's lock is held ---- */

enum xv_ct_verdict {
	XV_CT_VALID,
	XV_CT_VALID_LAST, /* valid, and the connection goes now (RST before any answer) */
	XV_CT_INVALID,	  /* the state is as it was; the timeout may be shorter */
	XV_CT_REOPEN,	  /* a SYN in TIME-WAIT and the like: the old connection goes, this packet opens a new one */
	XV_CT_NOT_HOT,	  /* xv_ct_hot() only: is to go the long way; nothing changed */
};

/* A packet as protocols see it. Offsets into data, all checked: [l4, l4 + l4_len) is the header, payload ends at end. */
struct xv_ct_packet {
	const uint8_t *data;
	uint16_t l3, l4, l4_len;
	uint8_t proto;
	bool ipv6;
	uint32_t len;	   /* contiguous bytes */
	uint32_t end;	   /* of the IP packet (may lie beyond len) */
	int32_t ack_shift; /* to be added to this packet's acknowledgement number and SACKs to get what was really sent (seq) */
	bool csum_ok;	   /* or not to be checked */
};

struct xv_ct_proto {
	/* SCTP, TCP: half-open until ASSURED, not just until there is an answer. */
	bool handshake;
	/* The first packet: fill line 0 but for generation, lock and timeouts. False: it is invalid as such. conn may be a scratch
	 * one: the packet is not committed. timeout_ms: XV_CT_TO_MAX of the policy. */
	bool (*open)(struct xv_conn *conn, const struct xv_ct_packet *p, bool pick_up, const uint32_t *timeout_ms,
		     uint32_t now_ms);
	/* Another packet. Sets state, flags, expires_ms. */
	enum xv_ct_verdict (*packet)(struct xv_conn *conn, enum xv_ct_dir dir, const struct xv_ct_packet *p,
				     const uint32_t *timeout_ms, uint32_t now_ms);
};
extern const struct xv_ct_proto xv_ct_tcp, xv_ct_udp, xv_ct_icmp, xv_ct_icmpv6, xv_ct_sctp, xv_ct_generic;

/* ---- A packet's way: conntrack.c, for conntrack_first.c. Connections are locked, or nobody else's yet ---- */

const struct xv_ct_proto *xv_ct_proto_of(uint8_t proto, bool ipv6);
/* Look at the packet's checksum if it is one whose is looked at. opens: it may open a connection. */
void xv_ct_check(const struct rte_mbuf *m, struct xv_ct_packet *packet, bool opens);
void xv_ct_count_packet(struct xv_conn *conn, enum xv_ct_dir dir, const struct rte_mbuf *m, uint16_t l3);
/* Mark and labels of the action. */
void xv_ct_set_mark(const struct xv_action_ct *action, struct xv_conn *conn);
/* After a packet that its protocol found valid. Whether it is the first answer. */
bool xv_ct_accept(struct xv_conntrack *ct, struct xv_conn *conn, enum xv_ct_dir dir, const struct xv_ct_proto *proto);

/* ---- Tuples ---- */

/* Query to answer and back (type and code as in xv_ct_tuple.dst_port; the code stays); 0xffff: is none of them. */
static inline rte_be16_t xv_ct_icmp_reverse(rte_be16_t type_code, bool ipv6)
{
	uint16_t host = rte_be_to_cpu_16(type_code), type = host >> 8;

	if (ipv6 ? type == 128 || type == 139 : type == 13 || type == 15 || type == 17)
		type++;
	else if (ipv6 ? type == 129 || type == 140 : type == 14 || type == 16 || type == 18)
		type--;
	else if (!ipv6 && (type == 0 || type == 8))
		type ^= 8;
	else
		return 0xffff;
	return rte_cpu_to_be_16((uint16_t)(type << 8 | (host & 0xff)));
}

static inline void xv_ct_tuple_reverse(const struct xv_ct_tuple *t, struct xv_ct_tuple *reply)
{
	struct xv_ct_tuple r = {.src = t->dst, .dst = t->src, .src_port = t->dst_port, .dst_port = t->src_port,
				.proto = t->proto, .ipv6 = t->ipv6, .zone = t->zone};

	if (t->proto == (t->ipv6 ? 58 : 1)) {
		r.src_port = t->src_port;
		r.dst_port = xv_ct_icmp_reverse(t->dst_port, t->ipv6);
	}
	*reply = r;
}

enum xv_ct_kind {
	XV_CT_KIND_NONE,  /* nothing to be tracked: invalid */
	XV_CT_KIND_QUERY, /* has a tuple of its own */
	XV_CT_KIND_ERROR, /* an ICMP error: the tuple is that of the packet inside, reversed: the direction of the error itself */
};
/* What a packet is. Of protocols without ports l4 may be 0: nothing is behind the IP header. */
enum xv_ct_kind xv_ct_tuple_of(const struct rte_mbuf *m, const struct xv_flow_key *key,
			       const struct xv_flow_layout *layout, uint16_t zone, struct xv_ct_tuple *tuple,
			       struct xv_ct_packet *packet);
/* The transport checksum is right, or the sender vouches for it, or the packet has none. */
bool xv_ct_checksum_is_ok(const struct rte_mbuf *m, const struct xv_ct_packet *packet);

/* ---- NAT ---- */

/*
 * Choose the reply tuple (and so the translation) of a connection that is about to be committed; *reply comes in as the plain
 * reversal of original. taken() says whether a tuple is in use. 0, or -ENOSPC: no free address or port.
 */
int xv_ct_nat_choose(const struct xv_ct_nat *nat, const struct xv_ct_tuple *original, struct xv_ct_tuple *reply,
		     bool (*taken)(const struct xv_ct_tuple *reply, void *arg), void *arg, uint64_t random);
/* Make a packet of direction dir look as the other direction's tuple, reversed, says; key (with XV_CS_SRC_NAT and XV_CS_DST_NAT
 * as OVS sets them) and layout follow; ICMP errors: the packet inside as well. Nothing to translate: 0. The connection is locked. 0,
 * or -EINVAL: cannot be done, drop. */
int xv_ct_nat_translate(const struct xv_conn *conn, enum xv_ct_dir dir, bool icmp_error, struct rte_mbuf *m,
			struct xv_flow_key *key, struct xv_flow_layout *layout);
