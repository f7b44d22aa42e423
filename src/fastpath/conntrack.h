/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connection tracking: who talks to whom, and is this packet part of it. The terms are those of nf_conntrack and OVS:
 * a connection is one entry with an original and a reply tuple in a zone (16 bit); a packet gets a state (XV_CS_*,
 * as OVS_CS_F_*), a mark and labels, which later flows match on. A connection is stored when an action commits it; a
 * packet of a connection that is not stored is `new` each time.
 *
 * Class C (ARCHITECTURE.md): any worker looks up without a lock. The table is divided into shards by hash; a shard's lock is
 * taken to insert and to delete, and a connection's own lock for its state (a packet of the other direction may be on
 * another worker); the way of established packets, xv_conntrack_advance(), does without while only one worker runs. Locks are
 * spin locks held for tens of instructions; order: shard of the lower number, shard of the higher, connection, account
 * of half-open connections, pool of free memory. Connections are type-stable: memory of one may become another, which
 * `generation` tells: its lowest bit is set while the connection does not live, and it changes, too, when mark or labels
 * do and with the first answer, so that whoever remembers a generation knows that flows would still match as they did.
 *
 * Time is in milliseconds (32 bits, wraps; compare by difference). Who is beyond its timeout is not found any more, at once;
 * memory comes back by a timer wheel (xv_conntrack_expire()), never by a sweep over the table.
 *
 * Fairness: connections that are not proven (half-open: TCP and SCTP without a complete handshake, others without an answer)
 * are bounded per port and zone that opened them: who is at the bound loses its own oldest one. When the table is full, whoever
 * has most half-open ones loses its oldest; established ones never go.
 */
#pragma once

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "net/drop.h"
#include "net/flow_key.h"

struct rte_mbuf;
struct xv_conn;
struct xv_conntrack;

/* xv_flow_key.ct_state; the same bits as OVS_CS_F_* (linux/openvswitch.h). */
#define XV_CS_NEW 0x01
#define XV_CS_ESTABLISHED 0x02
#define XV_CS_RELATED 0x04
#define XV_CS_REPLY 0x08
#define XV_CS_INVALID 0x10
#define XV_CS_TRACKED 0x20
#define XV_CS_SRC_NAT 0x40
#define XV_CS_DST_NAT 0x80

enum xv_ct_dir { XV_CT_ORIGINAL, XV_CT_REPLY };

/* One direction. ICMP queries: src_port is the identifier, dst_port the bytes type, code (each direction its own); protocols
 * without ports: 0. 40 bytes, no padding: hashed and compared as words. */
struct xv_ct_tuple {
	union xv_ip_addr src, dst; /* IPv4: words[3], the others 0 */
	rte_be16_t src_port, dst_port;
	uint8_t proto;
	uint8_t ipv6; /* 0 or 1 */
	uint16_t zone;
};
static_assert(sizeof(struct xv_ct_tuple) == 40, "words");

enum xv_ct_helper { XV_CT_HELPER_NONE, XV_CT_HELPER_FTP, XV_CT_HELPER_TFTP };

/* xv_ct_nat.flags; the meaning of OVS_NAT_ATTR_* */
#define XV_NAT_SRC 0x01
#define XV_NAT_DST 0x02
#define XV_NAT_PERSISTENT 0x04 /* the same address for all connections of a client */
#define XV_NAT_RANDOM 0x08     /* ports: fully random */
#define XV_NAT_HASH 0x10       /* ports and addresses: by hash of the tuple */

/* Neither XV_NAT_SRC nor _DST but XV_CT_NAT in the action: translate as the connection was committed with. */
struct xv_ct_nat {
	union xv_ip_addr min, max; /* zero: the address stays */
	uint16_t min_port, max_port; /* host order; 0: any that is free, the packet's own if possible */
	uint8_t flags;
	uint8_t ipv6;
	uint16_t pad;
};

/* xv_action_ct.flags */
#define XV_CT_COMMIT 0x01
#define XV_CT_FORCE 0x02 /* with commit: a connection that was opened from the other side is replaced */
#define XV_CT_CLEAR 0x04 /* the packet is untracked again; alone */
#define XV_CT_NAT 0x08
#define XV_CT_NAT_REPLY 0x10 /* the same, but only of packets of the reply direction: of built-in networks */
#define XV_CT_FRAGMENT_RULES 0x20 /* of fragments only those that xv_fragment_rules let in (fragments.h) are put together */
#define XV_CT_FLAGS (XV_CT_COMMIT | XV_CT_FORCE | XV_CT_CLEAR | XV_CT_NAT | XV_CT_FRAGMENT_RULES)

/* Data of XV_ACT_CT. */
struct xv_action_ct {
	uint16_t zone;
	uint8_t flags;
	uint8_t helper; /* enum xv_ct_helper, with commit */
	uint32_t timeouts; /* id of a policy, with commit; 0: default */
	uint32_t mark, mark_mask; /* set with commit */
	uint64_t label[2], label_mask[2];
	struct xv_ct_nat nat;
};

/* ---- The table ---- */

struct xv_conntrack_config {
	uint32_t connections; /* there is room for; large tables hold some thousand more. Memory is used as they are */
	uint32_t half_open_per_port; /* and zone */
	uint32_t now_ms; /* what time it is */
	bool pick_up; /* TCP without having seen its handshake (after a restart, a migration) becomes a connection */
};

/* control. 0, -ENOMEM, or -EINVAL: a number is 0, or more than 2^30. */
int xv_conntrack_create(const struct xv_conntrack_config *config, struct xv_conntrack **ct);
/* control, after the workers. Accepts NULL. */
void xv_conntrack_destroy(struct xv_conntrack *ct);
/* control. Several workers run from now on (true), or one (false); a grace period before and after. */
void xv_conntrack_set_shared(struct xv_conntrack *ct, bool shared);
/* control, from a timer every 100 ms or so: give back connections that timed out. Work is bounded; true: there is more. */
bool xv_conntrack_expire(struct xv_conntrack *ct, uint32_t now_ms);
/* control, from a timer. As soon as there are connections: memory for more of them, before workers need it, who would have to wait for
 * the kernel to clear it. Work is bounded; true: there is more, or there soon will be. */
bool xv_conntrack_provide(struct xv_conntrack *ct);
/* worker, having opened connections: the control thread is to be told that it is time for that. */
bool xv_conntrack_wants_memory(const struct xv_conntrack *ct);

/* ---- Packets: any worker ---- */

/*
 * What was found. It goes with the packet from one ct action to the next (all zero at first): a packet that was looked up in
 * this zone already is not looked up again, and its connection does not see it twice. A fused flow remembers it.
 */
struct xv_ct_hit {
	struct xv_conn *conn; /* NULL: none is stored */
	uint32_t generation;
	uint8_t dir; /* enum xv_ct_dir */
	bool error;  /* an ICMP error about it: no packet of its own */
	bool steady; /* the next packets may be for xv_conntrack_advance(), and flows would see of them what they saw of this one; not
		      * said of the first answer, which often is the only one */
};

/*
 * Carry out a ct action on a packet that key and layout describe: look up, check and advance the state, commit, translate.
 * Fills the ct_ fields of key; with NAT the packet's headers and key change. 0, or the packet is to be dropped:
 *   -ENOBUFS  the table is full, and nobody in it is half-open
 *   -EDQUOT   the zone is at its limit
 *   -ENOSPC   no free address or port for translation
 *   -EADDRINUSE another connection has the reply's addresses and ports
 *   -EINVAL   the packet cannot be translated
 * The packet's first segment must be writable if flags have XV_CT_NAT. A fragment has no connection of its own: its datagram
 * is to be put together before (fragments.h), and comes with key->ip_frag XV_FRAG_FIRST; such a packet keeps its length.
 */
int xv_conntrack_packet(struct xv_conntrack *ct, const struct xv_action_ct *action, struct rte_mbuf *m,
			struct xv_flow_key *key, struct xv_flow_layout *layout, uint32_t now_ms, struct xv_ct_hit *hit);
/*
 * A packet comes back from a slow path: its key says that it was tracked, and perhaps translated, as it left. hit becomes what it was
 * then, so that its connection does not see it twice; as it is if there is no such connection any more.
 */
void xv_conntrack_recall(struct xv_conntrack *ct, const struct rte_mbuf *m, struct xv_flow_key *key,
			 const struct xv_flow_layout *layout, uint32_t now_ms, struct xv_ct_hit *hit);
/* As xv_conntrack_packet(), of a packet that is to be invalid whatever it is. */
void xv_conntrack_refuse(struct xv_conntrack *ct, const struct xv_action_ct *action, struct xv_flow_key *key,
			 struct xv_ct_hit *hit);
/*
 * Packets of common shapes (see xv_conntrack_advance()) that are about to be looked up in a zone, and perhaps committed. First _begin() of
 * all in a burst, then _look() of all: the memory that each needs comes in meanwhile. A guess: of ICMP, and with translation, it
 * is another. TCP and UDP go on, where the caller knows what flows make of such a packet, with _open() or _answer().
 */
struct xv_ct_first {
	struct xv_ct_tuple tuple;
	uint64_t hash;
	bool known; /* somebody may have the tuple already */
};
void xv_conntrack_first_begin(const struct xv_conntrack *ct, uint16_t zone, const uint8_t *data, uint16_t l3, uint16_t l4,
			      struct xv_ct_first *first);
void xv_conntrack_first_look(struct xv_conntrack *ct, struct xv_ct_first *first);
/*
 * What xv_conntrack_packet() does if called twice, to look up and to commit: a packet that opens a connection is `new` and no more.
 * 0; negative: as there; 1: it is something else, and nothing has changed. action: commits in that zone, without translation and helper.
 * l3, l4: where headers are. port: that it came in by.
 */
int xv_conntrack_open(struct xv_conntrack *ct, const struct xv_ct_first *first, const struct xv_action_ct *action,
		      const struct rte_mbuf *m, uint16_t l3, uint16_t l4, uint16_t port, uint32_t now_ms);
/* What it does of the first answer of a connection without mark, labels, translation and helper, which is `established`, `reply`
 * and no more. False: it is something else, and nothing has changed. */
bool xv_conntrack_answer(struct xv_conntrack *ct, const struct xv_ct_first *first, const struct rte_mbuf *m, uint16_t l3,
			 uint16_t l4, uint32_t now_ms);
/* What such a packet is dropped for. */
enum xv_drop xv_conntrack_why(int rc);

/*
 * The next packet of a connection whose hit was steady: advance it. True if it is still that connection, mark and labels are what
 * they were, and the packet is valid and leaves its state as it is: a flow that matched on ct_state would match again. False:
 * nothing changed, the packet has to go the long way. l3, l4: offsets of headers of a packet of a common shape (fused.h: no IP
 * options, no fragment, whole headers; what they say about lengths is checked). The hot path: one cache line of the connection.
 */
bool xv_conntrack_advance(struct xv_conntrack *ct, const struct xv_ct_hit *hit, const uint8_t *data, uint16_t l3,
			  uint16_t l4, uint32_t now_ms);
/* What it would say; nothing changes. For packets that have to be let pass by several connections. */
bool xv_conntrack_would_advance(struct xv_conntrack *ct, const struct xv_ct_hit *hit, const uint8_t *data, uint16_t l3,
				uint16_t l4, uint32_t now_ms);
/* Any thread. Is it still the connection that was hit, and unchanged in what flows can see? */
bool xv_conntrack_is_alive(const struct xv_ct_hit *hit);
/* worker: what fused flows counted for it; bytes from the L3 header on, with padding. */
void xv_conntrack_credit(struct xv_conntrack *ct, const struct xv_ct_hit *hit, uint64_t packets, uint64_t bytes);

/* ---- Looking and tidying up: control ---- */

/*
 * What a look-up in the zone would say of this packet, in the ct_ fields of key; nothing changes. TCP's sequence numbers and
 * checksums are not looked at, so that it can be asked about packets that are made up. True: of a connection that is stored.
 */
bool xv_conntrack_peek(struct xv_conntrack *ct, uint16_t zone, const struct rte_mbuf *m, struct xv_flow_key *key,
		       const struct xv_flow_layout *layout, uint32_t now_ms);

/* The same with translation: m and key are rewritten as its connection says, if that is stored. False: it cannot be translated. */
bool xv_conntrack_peek_nat(struct xv_conntrack *ct, uint16_t zone, struct rte_mbuf *m, struct xv_flow_key *key,
			   struct xv_flow_layout *layout, uint32_t now_ms);

struct xv_ct_info {
	struct xv_ct_tuple original, reply;
	uint64_t packets[2], bytes[2]; /* from the L3 header to the end of the frame */
	uint64_t label[2];
	uint32_t mark;
	uint32_t timeout_ms; /* left */
	uint32_t status;     /* IPS_* of linux/netfilter/nf_conntrack_common.h: what OVS prints */
	uint8_t state;	     /* enum xv_ct_tcp_state, enum xv_ct_sctp_state; 0 for others */
	uint8_t helper;
	bool has_master;
	struct xv_ct_tuple master; /* original tuple of the connection that this one is related to */
	uint64_t id; /* stable while it lives */
};

/* Walk all; calls fn for up to max connections from *cursor (0 at first) on. False: came to the end. Those that live all the while are
 * seen exactly once; fn must not come back here. */
bool xv_conntrack_walk(struct xv_conntrack *ct, uint32_t now_ms, uint64_t *cursor, unsigned int max,
		       void (*fn)(const struct xv_ct_info *info, void *arg), void *arg);
/* Delete the connection with this original or reply tuple. -ENOENT. */
int xv_conntrack_delete(struct xv_conntrack *ct, const struct xv_ct_tuple *tuple, uint32_t now_ms);
/* Delete those that match says; NULL: all. Number deleted. Workers go on meanwhile. Looks at every connection at once: where others
 * wait for the caller, xv_conntrack_flush_some() is to be called as long as it says true, *cursor 0 at first. */
uint64_t xv_conntrack_flush(struct xv_conntrack *ct, uint32_t now_ms,
			    bool (*match)(const struct xv_ct_info *info, void *arg), void *arg);

bool xv_conntrack_flush_some(struct xv_conntrack *ct, uint32_t now_ms, uint64_t *cursor,
			     bool (*match)(const struct xv_ct_info *info, void *arg), void *arg, uint64_t *n);

struct xv_conntrack_stats {
	uint64_t connections, half_open; /* now */
	uint64_t inserted, expired, deleted, evicted, refused_full, refused_zone, invalid, nat_exhausted;
	uint64_t memory_bytes;
};
void xv_conntrack_get_stats(const struct xv_conntrack *ct, struct xv_conntrack_stats *stats);

/* control. As in struct xv_conntrack_config, from the next packet on. */
void xv_conntrack_set_pick_up(struct xv_conntrack *ct, bool pick_up);
void xv_conntrack_set_half_open(struct xv_conntrack *ct, uint32_t per_port);

/* At most so many connections in all; those that there are stay. -ERANGE: 0, or more than the table was made for. */
int xv_conntrack_set_max(struct xv_conntrack *ct, uint32_t connections);
uint32_t xv_conntrack_get_max(const struct xv_conntrack *ct);
/* TCP's sequence numbers and windows are not checked, from the next segment on; of all tables. */
void xv_conntrack_set_tcp_liberal(bool liberal);
bool xv_conntrack_get_tcp_liberal(void);

/* At most so many connections in a zone; 0: no limit. */
void xv_conntrack_set_limit(struct xv_conntrack *ct, uint32_t limit);			/* of zones without their own */
uint32_t xv_conntrack_get_limit(const struct xv_conntrack *ct);
void xv_conntrack_set_zone_limit(struct xv_conntrack *ct, uint16_t zone, uint32_t limit); /* UINT32_MAX: no own one */
bool xv_conntrack_zone_has_limit(const struct xv_conntrack *ct, uint16_t zone);
void xv_conntrack_get_zone(const struct xv_conntrack *ct, uint16_t zone, uint32_t *limit, uint32_t *connections);

/* ---- Timeouts ---- */

enum xv_ct_tcp_state {
	XV_CT_TCP_NONE,
	XV_CT_TCP_SYN_SENT,
	XV_CT_TCP_SYN_RECV,
	XV_CT_TCP_ESTABLISHED,
	XV_CT_TCP_FIN_WAIT,
	XV_CT_TCP_CLOSE_WAIT,
	XV_CT_TCP_LAST_ACK,
	XV_CT_TCP_TIME_WAIT,
	XV_CT_TCP_CLOSE,
	XV_CT_TCP_SYN_SENT2,
	XV_CT_TCP_STATES
};

enum xv_ct_sctp_state {
	XV_CT_SCTP_NONE,
	XV_CT_SCTP_CLOSED,
	XV_CT_SCTP_COOKIE_WAIT,
	XV_CT_SCTP_COOKIE_ECHOED,
	XV_CT_SCTP_ESTABLISHED,
	XV_CT_SCTP_SHUTDOWN_SENT,
	XV_CT_SCTP_SHUTDOWN_RECD,
	XV_CT_SCTP_SHUTDOWN_ACK_SENT,
	XV_CT_SCTP_HEARTBEAT_SENT,
	XV_CT_SCTP_STATES
};

/* Names as CTA_TIMEOUT_* and ovs-vsctl's ct_timeout policies have them. Order is that of xv_ct_timeout_names[]. */
enum xv_ct_timeout {
	XV_CT_TO_TCP_NONE, /* tcp: by enum xv_ct_tcp_state */
	XV_CT_TO_TCP_RETRANS = XV_CT_TCP_STATES,
	XV_CT_TO_TCP_UNACK,
	XV_CT_TO_UDP_FIRST, /* one packet */
	XV_CT_TO_UDP_SINGLE, /* one direction */
	XV_CT_TO_UDP_MULTIPLE,
	XV_CT_TO_ICMP_FIRST,
	XV_CT_TO_ICMP_REPLY,
	XV_CT_TO_SCTP_CLOSED, /* sctp: by enum xv_ct_sctp_state, from 1 on */
	XV_CT_TO_SCTP_COOKIE_WAIT,
	XV_CT_TO_SCTP_COOKIE_ECHOED,
	XV_CT_TO_SCTP_ESTABLISHED,
	XV_CT_TO_SCTP_SHUTDOWN_SENT,
	XV_CT_TO_SCTP_SHUTDOWN_RECD,
	XV_CT_TO_SCTP_SHUTDOWN_ACK_SENT,
	XV_CT_TO_SCTP_HEARTBEAT_SENT,
	XV_CT_TO_GENERIC,
	XV_CT_TO_MAX
};
extern const char *const xv_ct_timeout_names[XV_CT_TO_MAX];
extern const uint32_t xv_ct_timeout_defaults_s[XV_CT_TO_MAX]; /* nf_conntrack's */

#define XV_CT_POLICIES 256
/* control. Policy 0 is the default. seconds: XV_CT_TO_MAX of them, 0 = nf_conntrack's. Takes effect with the next packet of each
 * connection. -ENOSPC: no such number; -ERANGE: one is longer than XV_CT_TIMEOUT_MAX_S. */
#define XV_CT_TIMEOUT_MAX_S 1000000 /* 11 days: differences of times are below 2^31 ms */
int xv_conntrack_set_timeouts(struct xv_conntrack *ct, uint32_t policy, const uint32_t *seconds);
