/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a connection is made of, and what the files of conntrack say to each other. Private to conntrack*.c.
 *
 *   conntrack.c           a packet's way: tuple, look-up, state, commit
 *   conntrack_table.c     shards, insertion, deletion, expiry, eviction, walking
 *   conntrack_tcp.c, _udp.c, _icmp.c, _sctp.c     protocols: is the packet valid, what does it make of the state
 *   conntrack_nat.c       choice of tuples, translation of packets
 *   conntrack_helper.c, _ftp.c, _tftp.c   expectations
 */
#pragma once

#include <stdatomic.h>

#include "fastpath/conntrack.h"

/* What TCP window tracking keeps of a sender (RFC 9293, terms of "Real Stateful TCP Packet Filtering in IP Filter", van
 * Rooij: end = highest sequence number sent, max_end = highest that may be sent, max_win = largest window advertised). */
struct xv_ct_tcp_peer {
	uint32_t end, max_end, max_win, max_ack;
	uint8_t scale;
	uint8_t flags;
	uint16_t pad;
};

union xv_ct_proto_state {
	struct {
		struct xv_ct_tcp_peer peer[2]; /* by direction */
	} tcp;
	struct {
		rte_be32_t vtag[2];
	} sctp;
	uint8_t bytes[40];
};

/* xv_conn.flags */
#define XV_CONN_SEEN_REPLY 0x01
#define XV_CONN_ASSURED 0x02 /* established: is never evicted */
#define XV_CONN_DYING 0x04
#define XV_CONN_SNAT 0x08
#define XV_CONN_DNAT 0x10
#define XV_CONN_RELATED 0x20 /* has a master */
#define XV_CONN_HALF_OPEN 0x40 /* counts against its port */

struct xv_conn {
	/* Line 0: what each packet touches. Under the lock while several workers run. */
	_Alignas(64) _Atomic uint32_t generation;
	_Atomic uint32_t expires_ms;
	_Atomic uint8_t lock;
	uint8_t state; /* enum xv_ct_tcp_state, or the protocol's own */
	uint8_t flags;
	uint8_t last_dir;
	uint16_t timeouts; /* policy */
	uint16_t misc;	   /* the protocol's own */
	uint32_t last_seq, last_ack; /* TCP: retransmission and challenge detection. Add what is needed, but stay in the line */
	union xv_ct_proto_state proto;

	/* Lines 1..: look-up and insertion */
	struct xv_ct_tuple tuple[2]; /* by direction: what a packet of that direction looks like as it comes in */
	uint64_t label[2];
	uint32_t mark;
	uint16_t port; /* that opened it */
	uint8_t helper;
	uint8_t pad;
	_Atomic uint64_t packets[2], bytes[2];
	/* + hash links, wheel links, master; all within 256 bytes a connection */
};

/* ---- Protocols: pure but for the connection's state; the connection's lock is held ---- */

enum xv_ct_verdict {
	XV_CT_VALID,
	XV_CT_INVALID,	 /* nothing changed */
	XV_CT_REOPEN,	 /* a SYN in TIME-WAIT and the like: the old connection goes, this packet opens a new one */
	XV_CT_NOT_HOT,	 /* advance only: is to go the long way; nothing changed */
};

/* A packet as protocols see it. Offsets into data, all checked: [l4, l4 + l4_len) is the header, payload ends at end. */
struct xv_ct_packet {
	const uint8_t *data;
	uint16_t l3, l4, l4_len;
	uint32_t len;	 /* contiguous bytes */
	uint32_t end;	 /* of the IP packet (may lie beyond len) */
	bool ipv6;
	bool csum_ok;	 /* or not to be checked */
};

struct xv_ct_proto {
	/* May this packet open a connection? */
	bool (*can_open)(const struct xv_ct_packet *p, bool pick_up);
	/* The first packet: fill the state. */
	void (*open)(struct xv_conn *conn, const struct xv_ct_packet *p);
	/* Another packet. Sets state, flags, and *timeout. */
	enum xv_ct_verdict (*packet)(struct xv_conn *conn, enum xv_ct_dir dir, const struct xv_ct_packet *p, uint32_t now_ms,
				     enum xv_ct_timeout *timeout);
};
extern const struct xv_ct_proto xv_ct_tcp, xv_ct_udp, xv_ct_icmp, xv_ct_icmpv6, xv_ct_sctp, xv_ct_generic;

/* ---- NAT ---- */

/*
 * Choose the reply tuple (and so the translation) of a connection that is about to be committed; *reply comes in as the plain
 * reversal of original. taken() says whether a tuple is in use. 0, or -ENOSPC: no free address or port.
 */
int xv_ct_nat_choose(const struct xv_ct_nat *nat, const struct xv_ct_tuple *original, struct xv_ct_tuple *reply,
		     bool (*taken)(const struct xv_ct_tuple *reply, void *arg), void *arg, uint64_t random);
/* Make a packet of direction dir look as the other direction's tuple, reversed, says; key and layout follow; ICMP errors: the packet inside
 * as well. 0, or -EINVAL: cannot be done, drop. */
int xv_ct_nat_translate(const struct xv_conn *conn, enum xv_ct_dir dir, bool icmp_error, struct rte_mbuf *m,
			struct xv_flow_key *key, struct xv_flow_layout *layout);

/* ---- Tuples ---- */

static inline void xv_ct_tuple_reverse(const struct xv_ct_tuple *t, struct xv_ct_tuple *reply)
{
	*reply = (struct xv_ct_tuple){.src = t->dst, .dst = t->src, .src_port = t->dst_port, .dst_port = t->src_port,
				      .proto = t->proto, .ipv6 = t->ipv6, .zone = t->zone};
}
