/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fragments on their way through connection tracking: virtual reassembly. A fragment that meets a ct action is held until
 * all of its datagram are there; then the datagram is tracked once, as a whole, and all its fragments go on, as they came and in the
 * order in which they came, with what was found about it. With translation their addresses change, and the
 * transport header in the first one. Another ct action later on holds them again.
 *
 * What belongs together: same input port, zone, look-up (recirc_id), addresses, identification, and protocol (IPv4: RFC 791;
 * not IPv6: RFC 8200 section 4.5). A fragment that repeats a part of another one is dropped alone; if it overlaps in any other way,
 * all of the datagram are dropped, those that still come too (RFC 5722), for IPv4 as well. The first fragment must have the
 * whole transport header (RFC 1858, RFC 3128).
 *
 * Memory is bounded, per worker and per input port; who is at the bound loses its own oldest datagram, and if the worker is,
 * whoever has most does. A datagram has XV_FRAGMENTS_TIMEOUT_MS from its first fragment on: that of RFC 791 (and of OVS);
 * the longer one of RFC 8200 is for receivers, who tell the sender.
 *
 * What OVS can set of it (ipf-set-*) holds for ct actions with XV_CT_FRAGMENT_RULES: a fragment that rules do not let in is not held
 * but invalid.
 *
 * Class B: one worker's; the control thread may look under a lock. The fragments of a datagram come by one queue: senders choose it by flow, and what comes in a tunnel has an
 * outer hash that all fragments share. Who spreads them over queues of several workers is heard by none, and hurts itself only.
 * A fragment that waits is not lost with its flow: it goes on by the actions that were there when it came.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <rte_mbuf.h>

#include "fastpath/conntrack.h"
#include "net/drop.h"

#define XV_FRAGMENTS_TIMEOUT_MS 15000
#define XV_FRAGMENTS_MAX	1024 /* fragments that wait */
#define XV_FRAGMENTS_BUFFERS	2048 /* of packet memory that they use ... */
#define XV_FRAGMENTS_PORT_BUFFERS 512 /* ... and those of one input port */
#define XV_FRAGMENTS_DATAGRAMS	256
#define XV_FRAGMENTS_PORT_DATAGRAMS 64
#define XV_FRAGMENTS_PIECES	128 /* of a datagram: 64 KiB at an MTU of 576 */

struct xv_fragments;

/* How a fragment goes on. It lies in a packet buffer of its own. */
struct xv_held {
	struct xv_flow_key key;
	struct xv_flow_layout layout;
	struct xv_ct_hit hit;
	/* execute.c's */
	uint32_t trunc;
	unsigned int passes;
	uint32_t bytes;	    /* of program ... */
	uint64_t program[]; /* ... which begins with the ct action */
};

static inline struct xv_held *xv_held_of(struct rte_mbuf *buf)
{
	return rte_pktmbuf_mtod(buf, struct xv_held *);
}

/* Takes a fragment that will not go on. */
typedef void xv_fragment_drop_fn(void *arg, struct rte_mbuf *m, enum xv_drop reason);

/* control. -ENOMEM. */
int xv_fragments_create(xv_fragment_drop_fn *drop, void *arg, struct xv_fragments **fragments);
/* control; none is held. Accepts NULL. */
void xv_fragments_destroy(struct xv_fragments *fragments);

/* Set by control, for all workers. By IP version: [1] is IPv6. */
struct xv_fragment_rules {
	_Atomic bool enabled[2];
	_Atomic uint32_t min_bytes[2]; /* of the IP packet, of all but the last fragment */
	_Atomic uint32_t max;	       /* fragments that wait, of all workers and by any action */
};
extern struct xv_fragment_rules xv_fragment_rules;

/* Counted by all workers, of all actions. */
enum xv_fragment_count {
	XV_FRAGMENT_ACCEPTED,
	XV_FRAGMENT_COMPLETED, /* their datagrams went on */
	XV_FRAGMENT_EXPIRED,
	XV_FRAGMENT_TOO_SMALL,
	XV_FRAGMENT_OVERLAPPED,
	XV_FRAGMENT_PURGED, /* made room for others, or went with their port */
	XV_FRAGMENT_COUNTS
};
extern _Atomic uint64_t xv_fragment_counts[2][XV_FRAGMENT_COUNTS];
extern _Atomic uint32_t xv_fragments_waiting;

/* A datagram that waits. */
struct xv_fragments_info {
	union xv_ip_addr src, dst;
	uint32_t recirc_id, ip_id; /* ip_id: network order, as in the header */
	uint16_t zone, n;	   /* n: fragments that are there */
	uint8_t proto;
	bool ipv6, first, last; /* the first is there, the last */
};
/* control. At most max of them, the oldest first. */
unsigned int xv_fragments_list(struct xv_fragments *fragments, struct xv_fragments_info *infos, unsigned int max);

/*
 * worker. A fragment (key.ip_frag is not XV_FRAG_NONE) is here; how, with its program, was written into buf. Takes both. Its
 * first segment must be writable if the ct action has XV_CT_NAT. If it was the one that was missing the datagram is tracked.
 * False: rules do not let it in; both are the caller's still, and it goes on as invalid.
 */
bool xv_fragments_hold(struct xv_fragments *fragments, struct xv_conntrack *ct, struct rte_mbuf *m, struct rte_mbuf *buf,
		       uint32_t now_ms);
/* worker, after each hold: the next one that goes on, its key, layout and hit as behind the ct action. False: none. */
bool xv_fragments_take(struct xv_fragments *fragments, struct rte_mbuf **m, struct rte_mbuf **buf);

/* worker, once a round: whether anything is held, then drop what has waited too long. */
bool xv_fragments_any(const struct xv_fragments *fragments);
void xv_fragments_expire(struct xv_fragments *fragments, uint32_t now_ms);
/* worker, or control if the worker's thread is gone: drop what came in by ports for which `gone` says so; NULL: all. */
void xv_fragments_forget(struct xv_fragments *fragments, bool (*gone)(uint16_t port_id));
