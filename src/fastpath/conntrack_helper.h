/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Helpers look into the packets of a connection that announces others: FTP, TFTP. What was announced is an expectation;
 * the first packet that fits makes a related connection, whose master is the one that announced it.
 *
 * A connection with a helper has a record: its expectation (one, as with nf_conntrack: the last that was announced),
 * and what the helper remembers. So expectations are bounded by masters, and go with them. They are found by server
 * address, port and client address; one that was not used within five minutes is none.
 *
 * The expectation is under this table's lock, which is a leaf: after shards and connections. The rest of a record
 * belongs to its connection and is under that one's lock. Where nothing is expected, a look-up is one load.
 *
 * Private to conntrack*.c.
 */
#pragma once

#include <rte_spinlock.h>

#include "fastpath/conntrack_state.h"
#include "net/tcp_edit.h"

struct xv_ct_helpers;

/* How a connection that was announced is to be made. */
struct xv_ct_expected {
	struct xv_conn *master;
	uint32_t master_generation;
	uint32_t mark; /* of the master */
	uint64_t label[2];
	struct xv_ct_tuple master_tuple;   /* original */
	bool nat;                          /* the master is translated: this one the same way, by xv_ct_nat_follow() */
	union xv_ip_addr nat_src, nat_dst; /* what addresses become */
	rte_be16_t nat_port;               /* and the destination's port */
};

/* control. max: connections with a helper. */
int xv_ct_helpers_create(uint32_t max, struct xv_ct_helpers **helpers);
/* control, after the workers. Accepts NULL. */
void xv_ct_helpers_destroy(struct xv_ct_helpers *helpers);

/* Any worker, the connection is locked. -ENOSPC: it goes on without helper. */
int xv_ct_helper_attach(struct xv_ct_helpers *helpers, struct xv_conn *conn, enum xv_ct_helper helper);
/* It dies, and has a helper_slot. It is locked. */
void xv_ct_helper_release(struct xv_ct_helpers *helpers, struct xv_conn *conn);
/*
 * A packet of a stored connection with a helper, after translation, once; the connection is locked. 0, or -EPROTO: drop
 * it, it has a part of what was to be looked at, or cannot be rewritten.
 */
int xv_ct_helper_packet(struct xv_ct_helpers *helpers, struct xv_conn *conn, enum xv_ct_dir dir, struct rte_mbuf *m,
			const struct xv_flow_key *key, struct xv_flow_layout *layout, uint32_t now_ms);
/* xv_ct_packet.ack_shift of a connection with XV_CONN_SEQ_ADJUST, which is locked. */
int32_t xv_ct_helper_ack_shift(struct xv_ct_helpers *helpers, const struct xv_conn *conn, enum xv_ct_dir dir,
			       uint32_t ack);
/* Any worker. Was a connection with this original tuple announced? take: and nobody else is to find it. */
bool xv_ct_expected(struct xv_ct_helpers *helpers, const struct xv_ct_tuple *original, bool take, uint32_t now_ms,
		    struct xv_ct_expected *e);
/* In place of xv_ct_nat_choose() for an announced connection whose master is translated. */
int xv_ct_nat_follow(const struct xv_ct_expected *e, const struct xv_ct_tuple *original, struct xv_ct_tuple *reply,
		     bool (*taken)(const struct xv_ct_tuple *reply, void *arg), void *arg, uint64_t random);

/* ---- What helpers are made of ---- */

#define XV_CT_LINES 2 /* places where a line of text begins, remembered per direction */

struct xv_ct_helped {
	/* Under the table's lock */
	struct xv_conn *conn;
	struct xv_ct_tuple expect; /* src_port: any */
	uint32_t next;             /* in the chain of a bucket, or of free records; 0 ends it */
	uint32_t expires_ms;
	rte_be16_t nat_port;
	uint8_t dir; /* of what is expected, in the master's terms */
	bool linked;

	/* Under the connection's */
	struct xv_tcp_shift shift[2];
	uint32_t line[2][XV_CT_LINES]; /* sequence numbers */
	uint8_t lines[2];
	uint32_t
		announced; /* sequence number of the line that made the expectation; valid if announced_port is not 0 */
	rte_be16_t announced_port; /* as the line has it */
};

static inline bool xv_ct_is_translated(const struct xv_conn *conn)
{
	return (conn->flags & (XV_CONN_SNAT | XV_CONN_DNAT)) != 0;
}

/*
 * Expect a connection in direction dir (of the master's directions) from that one's client to server:port, which after
 * translation is `inside`. It takes the place of the master's last one; if somebody else expects the same, theirs goes,
 * or (keep) -EEXIST. The master is locked.
 */
int xv_ct_expect(struct xv_ct_helpers *helpers, struct xv_conn *master, enum xv_ct_dir dir, rte_be16_t port,
		 rte_be16_t inside, bool keep, uint32_t now_ms);
void xv_ct_unexpect(struct xv_ct_helpers *helpers, struct xv_conn *master);
struct xv_ct_helped *xv_ct_helped_of(struct xv_ct_helpers *helpers, const struct xv_conn *conn);

/* The helpers. As xv_ct_helper_packet(). */
int xv_ct_ftp_packet(struct xv_ct_helpers *helpers, struct xv_conn *conn, enum xv_ct_dir dir, struct rte_mbuf *m,
		     struct xv_flow_layout *layout, uint32_t now_ms);
int xv_ct_tftp_packet(struct xv_ct_helpers *helpers, struct xv_conn *conn, enum xv_ct_dir dir, const struct rte_mbuf *m,
		      const struct xv_flow_layout *layout, uint32_t now_ms);
