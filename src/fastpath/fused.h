/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fused flows: what a whole trail of flows did to a packet, as one entry of a cache. A worker's own (class B). The first
 * packet of a connection takes the long way (execute.c), which records; the next packets find the entry here, with one
 * look-up however many flows stand behind it.
 *
 * An entry is found by a hash of input port, VLAN tag, addresses, protocol and ports, and holds the first 64 bytes of the
 * packet that made it with a bit for each byte that counts: those of the canonical key (shape_of() in fused.c) and those
 * that flows on the trail looked at beyond it (TTL, TOS, TCP flags: guards). A packet that differs in one of them is not for
 * this entry. Only packets of the common shapes are looked up at all; others go the long way.
 *
 * Validity. A trail is the row of flows that an entry stands for, shared by all entries with the same row. The control
 * thread marks the trails of a flow that it deletes or changes; a packet that finds its entry on such a trail goes the long way.
 * So deleting a flow touches no entry, and entries of other flows stay. The check costs one cache line, shared by many entries.
 *
 * Counters. An entry counts packets and bytes; they are credited to every flow of its trail when the entry goes and when the worker
 * sweeps, which the control thread asks for before it reads. A dead flow is freed after such a sweep, so that all
 * of its packets are counted.
 *
 * Programs. What takes more than one rewrite and one exit (several outputs, meters, cut packets) is a program beside the entry
 * (fused_program.c): each packet that leaves is the one that came in, with a rewrite of its own. Where a flow asked how long
 * packets are, the entry is for lengths that give the same answer.
 *
 * Tunnels. Where a packet loses its outer headers, one entry ends, and the next look-up begins: of the inner packet, with the number
 * of a context (fused_context.c) for the input port. It stands for all that was read from the outer headers, so that entries
 * behind need not compare it; but for the outer source port, which is another one for each inner flow. Each entry has
 * a trail of its own, so that flows on both sides of the tunnel count exactly. What the outer headers say is checked in each packet.
 *
 * First packets. The packet that opens a connection and its first answer have no entry of their own, and most would never be used: many
 * connections are one question and one answer. What flows do to all such packets between two MAC addresses is, mostly, the same, and is
 * what an entry of another kind says (fused_first.c): it compares just those bits that the flows on its trail looked at. Such packets
 * go straight to connection tracking (xv_conntrack_open(), xv_conntrack_answer()) and out.
 *
 * Threads: all of the worker, except where it says control. The trail lock (trails.c) orders the control thread's marking and the
 * worker's linking of trails; it is taken once for each new trail, never for a packet that hits.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <rte_mbuf.h>

#include "fastpath/conntrack.h"
#include "net/flow_key.h"
#include "net/packet.h"

#define XV_TRAIL_MAX 24
#define XV_FUSED_CT_MAX 4
#define XV_FUSED_BYTES 64	    /* of a packet that can be compared */
#define XV_FUSED_EDIT_BYTES 128	    /* of headers that can be rewritten */
#define XV_FUSED_ENTRIES (1u << 22) /* of one worker, at most: both directions of all connections; memory is used as they are */
#define XV_FUSED_OPS 32		    /* of one entry's program */

struct xv_action;
struct xv_actions;
struct xv_encap;
struct xv_flow;
struct xv_flow_count;
struct xv_fused;
struct xv_trail;
struct xv_worker;

/* A trail as member of a flow's list. */
struct xv_trail_link {
	struct xv_trail_link *next, **back;
	struct xv_trail *trail;
};

struct xv_trail {
	_Atomic bool valid; /* cleared by the control thread, under the trail lock */
	uint8_t n;
	uint32_t entries;   /* that stand for it */
	uint64_t hash;
	/* What is done last; both lie in the actions of one of the flows. NULL: nothing. */
	const struct xv_encap *encap; /* outer headers on */
	const struct xv_action *pop;  /* outer headers off, as this tunnel_pop says */
	struct xv_trail *next; /* with the same hash, or in the free list */
	struct xv_flow *flows[XV_TRAIL_MAX];
	int16_t grown[XV_TRAIL_MAX]; /* bytes that a packet had more, when this flow saw it, than as it came in */
	uint32_t tcp; /* bit per flow: it saw TCP */
	struct xv_trail_link links[XV_TRAIL_MAX]; /* under the trail lock */
};

/* How a packet's headers are rewritten: bytes [0, 128) after `shift` bytes were put in front (negative: cut off). */
struct xv_fused_edit {
	int16_t shift;
	uint8_t ip_csum, l4_csum; /* offsets of checksums to be updated, after the shift; 0 = none */
	uint16_t ip_delta;	  /* one's complement sums of what changes, as in memory */
	uint16_t l4_delta;
	uint16_t pseudo_delta;	  /* the part of l4_delta that belongs to the pseudo-header */
	bool udp;		  /* a checksum of 0 is none */
	uint64_t mask[XV_FUSED_EDIT_BYTES / 64]; /* bit per byte */
	_Alignas(64) uint8_t image[XV_FUSED_EDIT_BYTES];
};

enum xv_fused_op_type {
	XV_FUSED_OUTPUT, /* to port */
	XV_FUSED_BOND,	 /* to the member that bond `port` has for entropy */
	XV_FUSED_TUNNEL, /* outer headers on, then to port */
	XV_FUSED_DENY,	 /* drop; port is an enum xv_drop */
	XV_FUSED_UNWRAP, /* outer headers off, and look up again: the packet itself only */
	XV_FUSED_METER,	 /* ask meter arg; what it refuses is dropped, and goes on with the op `skip` if it is a copy */
};

/*
 * An operation of an entry's program. All but METER are the end of a packet: the last one of the packet itself, those
 * before it of copies.
 */
struct xv_fused_op {
	uint8_t type;
	bool edits; /* `edit` says something */
	bool hashed; /* whoever sends it wants to know its flow's hash: entropy */
	int16_t grown; /* METER: bytes that the packet has more by now than as it came in */
	uint16_t port;
	uint32_t path; /* bit per flow of the trail that the packet, or copy, came over until here */
	uint32_t arg;  /* METER: its number; else bytes to which the packet is cut, 0: not at all */
	uint32_t skip; /* METER: 0: it was the packet itself; else while recording an index, then a number as `next` */
	uint32_t next; /* number of the next op, from 1; 0: this is the last */
	uint32_t entropy;
	rte_be32_t packet_type; /* TUNNEL: what the packet begins with by then */
	uint32_t priority;	/* as in the flow key by then: which of the output's queues it belongs to */
	const struct xv_encap *encap;
	struct xv_fused_edit edit;
};

/* flags */
#define XV_FUSED_LEARN 0x1  /* refresh the source address in the network's MAC table once a second */
#define XV_FUSED_DROP 0x2   /* out_port is an enum xv_drop */
#define XV_FUSED_CHANGES 0x4 /* holds while no address of the network moved or went: `changes` */
#define XV_FUSED_CT 0x8	     /* belongs to a connection, whose state is advanced ... */
#define XV_FUSED_CT_REPLY 0x10 /* ... in this direction */
#define XV_FUSED_CT_MORE 0x20 /* and to others, of further zones: its struct more */
#define XV_FUSED_EDIT 0x40    /* has a struct xv_fused_edit */
#define XV_FUSED_HASH 0x80    /* whoever sends it wants to know its flow's hash: entropy */
#define XV_FUSED_PROGRAM 0x100 /* what happens to it is a program */
#define XV_FUSED_POP 0x200     /* then outer headers are taken off, and it is looked up again */
#define XV_FUSED_TCP 0x400     /* its packets have TCP flags, which are noted */
#define XV_FUSED_ENCAP 0x800   /* outer headers are put on, as the trail says */
/* More than to be handed on as it is. */
#define XV_FUSED_UNUSUAL (XV_FUSED_DROP | XV_FUSED_EDIT | XV_FUSED_PROGRAM | XV_FUSED_POP | XV_FUSED_ENCAP)

/* Two cache lines. */
struct xv_fused_entry {
	_Alignas(64) uint8_t value[XV_FUSED_BYTES]; /* bytes that do not count are zero */

	_Alignas(64) uint64_t mask; /* bit i: byte i counts */
	uint32_t where;		    /* input port, or number of a context << 8 | shape; 0 = free */
	uint16_t out_port;
	uint16_t flags;
	struct xv_trail *trail;
	uint32_t entropy; /* of the encapsulation, or XV_FUSED_HASH */
	uint32_t conn_generation;
	struct xv_conn *conn; /* XV_FUSED_CT */
	uint64_t bytes;		      /* not credited yet */
	uint32_t packets;
	uint32_t used;	  /* tick, its lower half */
	uint16_t learned_s; /* lower half */
	uint16_t tcp_flags; /* as in the packets, with the data offset; not credited yet */
	uint32_t changes;
};

/* What first packets of connections meet, of those that open them or of the first answers. In `entry` the mask is not used. */
struct xv_fused_first {
	struct xv_fused_entry entry;
	_Alignas(64) uint8_t mask[XV_FUSED_BYTES]; /* bits of the packet that are compared */
	const struct xv_action_ct *commit;	   /* as the trail says; NULL: of answers */
	uint16_t zone;
};

/* Where a packet belongs in the cache, from look-up to insertion. */
struct xv_fused_place {
	uint64_t hash;
	uint32_t where; /* 0: no shape for the cache */
	uint16_t l3, l4;
};

/* control. Entries of caches of workers that are made from now on; tests make it small. */
extern unsigned int xv_fused_entries;

/* control. entries: a power of two, at least 64. 0 or -ENOMEM. counts: the worker's, by slot of the flow. */
int xv_fused_create(unsigned int entries, struct xv_flow_count *counts, struct xv_fused **fused);
/* control, after the worker. Everything is credited. Accepts NULL. */
void xv_fused_destroy(struct xv_fused *fused);

/* Packets that came out of a tunnel. Read only; as it is until the end of the burst. */
struct xv_fused_context {
	uint32_t number; /* in place of in_port; 0: free */
	uint32_t used;	 /* tick */
	uint16_t port;	 /* that received what was in the tunnel */
	struct xv_flow_key key; /* input port and tunnel; tun_tp_src is 0 */
};
/* The context of a packet with this key, which has an input port and a tunnel, but no tun_tp_src; in a tunnel it was received by
 * that port. NULL: it has to go the long way. */
const struct xv_fused_context *xv_fused_context(struct xv_fused *fused, uint16_t port, const struct xv_flow_key *key,
						uint32_t tick);

/* Look up a burst (n <= XV_BURST): entries[i] is NULL where the packet has to go the long way. in_port: or a context's number. */
void xv_fused_lookup_burst(struct xv_fused *fused, uint32_t in_port, struct rte_mbuf *const *pkts, uint16_t n,
			   struct xv_fused_entry **entries, struct xv_fused_place *places);

/*
 * The bytes that must be compared so that a flow with this mask would match again, as bits; false: it looks at
 * something that cannot be compared here. The base bytes of the shape are always among them.
 */
bool xv_fused_guard(const struct xv_fused_place *place, const uint64_t *mask_words, uint64_t *bits);

struct xv_fused_step {
	struct xv_flow *flow;
	const struct xv_actions *actions; /* those that were carried out */
	int16_t grown; /* bytes that the packet has more by now (tags) */
	bool tcp;      /* it sees TCP */
};
/* What a trail ends in. */
struct xv_fused_end {
	uint16_t out_port;
	uint16_t flags; /* XV_FUSED_LEARN, _DROP, _CHANGES, _HASH, _POP */
	uint8_t n_hits;
	uint8_t n_ops; /* 0: no program */
	uint32_t entropy;
	uint32_t changes;
	const struct xv_encap *encap;
	const struct xv_action *pop;
	const struct xv_fused_edit *edit; /* copied; may be NULL */
	uint32_t len_min, len_max;		/* of packets that it is for; 0, UINT32_MAX: any */
	const struct xv_fused_op *ops;		/* copied */
	struct xv_ct_hit hits[XV_FUSED_CT_MAX]; /* connections that the packet belongs to */
};

/* A new entry (packets 0, learned_s 0), or NULL: the trail is dead already, or memory is short. `first`: the first 64 bytes of
 * the packet as it came in. */
struct xv_fused_entry *xv_fused_insert(struct xv_fused *fused, const struct xv_fused_place *place,
				       const uint8_t first[XV_FUSED_BYTES], uint64_t bits,
				       const struct xv_fused_step *steps, unsigned int n,
				       const struct xv_fused_end *end);
/* The same for first packets; mask: what xv_fused_first_guard() made of those of all flows. False: not made. */
bool xv_fused_first_insert(struct xv_fused *fused, const struct xv_fused_place *place, const uint8_t first[XV_FUSED_BYTES],
			   const uint8_t mask[XV_FUSED_BYTES], const struct xv_fused_step *steps, unsigned int n,
			   const struct xv_fused_end *end, const struct xv_action_ct *commit, uint16_t zone);
/* Whether one can be made for a packet that begins like this: it is TCP or UDP, has none, and there is room. */
bool xv_fused_first_fits(const struct xv_fused *fused, const struct xv_fused_place *place,
			 const uint8_t first[XV_FUSED_BYTES], bool opens, uint16_t zone, uint32_t changes);
/* Add the bits that must be compared so that a flow with this mask would match again; opens: a packet that opens a connection. False:
 * it looks at something that cannot be compared here. */
bool xv_fused_first_guard(const struct xv_fused_place *place, bool opens, const struct xv_flow_key *flow_mask,
			  uint8_t mask[XV_FUSED_BYTES]);
/* What such a packet, for which look-up found nothing, meets in that zone while the network's addresses are as they are; NULL: it is not
 * known. */
struct xv_fused_first *xv_fused_first_lookup(const struct xv_fused *fused, const struct xv_fused_place *place,
					     const uint8_t *data, bool opens, uint16_t zone, uint32_t changes);
/* Look-up counted a miss, which it is not: it takes such an entry. */
void xv_fused_first_taken(struct xv_fused *fused);
/* The connections that an entry belongs to; how many (0: it is tracked by none). */
unsigned int xv_fused_hits(const struct xv_fused *fused, const struct xv_fused_entry *entry,
			   struct xv_ct_hit hits[XV_FUSED_CT_MAX]);

/*
 * What turned a packet of pkt_len bytes, which began with `before` (its headers at least), into m; place: of the packet as it
 * was. Every byte that differs must be constant for the entry, or a checksum of IP, TCP, UDP or ICMP. False: it cannot
 * be expressed.
 */
bool xv_fused_edit_make(const struct xv_fused_place *place, const uint8_t *before, uint32_t pkt_len,
			const struct rte_mbuf *m, struct xv_fused_edit *edit);
/* An entry that look-up found does not hold. */
void xv_fused_missed(struct xv_fused *fused);
/* Changes when entries are thrown out: what was looked up before must be looked up again. */
uint64_t xv_fused_evicted(const struct xv_fused *fused);
/* Changes when entries are added. */
uint64_t xv_fused_inserted(const struct xv_fused *fused);

/* Whether packets of its shape may belong to connections. */
bool xv_fused_tracks(const struct xv_fused_place *place);
/* Whether that is the type of its IP header. */
bool xv_fused_is_type(const struct xv_fused_place *place, rte_be16_t eth_type);
/* Where a packet belongs that came in by that port or context. */
void xv_fused_place(const struct xv_fused *fused, uint32_t in_port, struct rte_mbuf *m, struct xv_fused_place *place);

/* Carry out the entry's program; takes m, which is counted already. NULL, or what is left of it, to be done with as the trail's
 * pop says (XV_FUSED_POP). */
struct rte_mbuf *xv_fused_run(struct xv_worker *w, struct xv_fused_entry *entry, struct rte_mbuf *m);
/* Carry out the entry's edit. False: no headroom. */
bool xv_fused_edit_apply(const struct xv_fused *fused, const struct xv_fused_entry *entry, struct rte_mbuf *m);

/* Credit and clean up to n sets of the cache, from where the last call stopped; true when it came around. */
bool xv_fused_sweep(struct xv_fused *fused, unsigned int n);
/* All entries go. */
void xv_fused_flush(struct xv_fused *fused);
bool xv_fused_is_empty(const struct xv_fused *fused);

struct xv_fused_stats {
	uint64_t hits, misses, inserted, evicted;
	uint64_t programs, first_hits; /* of the hits: ran a program, were first packets of connections */
	uint32_t entries, trails;
};
/* Any thread while the worker lives. */
void xv_fused_get_stats(const struct xv_fused *fused, struct xv_fused_stats *stats);

/* control. No entry with this flow is used for packets from now on, and none is made. */
void xv_trails_cut(struct xv_flow *flow, bool dead);

/* init: false = the plain C twin even where the CPU has AVX-512 (XVIO_NO_AVX512, tests). */
extern bool xv_fused_use_avx512;
