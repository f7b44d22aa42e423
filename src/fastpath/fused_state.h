/* SPDX-License-Identifier: Apache-2.0 */
/* What the cache of fused flows is made of. Private to fused.c and the files that begin with its name. */
#pragma once

#include "fastpath/fused.h"
#include "port/port.h"

#define WAYS 8 /* one cache line of them is a set */
#define TRAILS 65536
#define TRAIL_BUCKETS 16384

/* A way: upper half of the hash as tag, number of the entry plus one; 0 = free. */
struct set {
	_Alignas(64) uint64_t ways[WAYS];
};

/*
 * Sets are found by linear hashing: their number grows one by one with the entries, so that few flows touch little
 * memory, and none of the growing takes long. Sets from n_sets - (mask_lo + 1) on have not been split at this level. When an
 * entry that is in use has to make way for another, they grow, too: two that throw each other out would do so for ever.
 */
#define SETS_MIN 64
#define SETS_OF(entries) ((entries)*4 / 5) /* sets not split at this level have twice that load: 1 in 1,000 overflows */

/* Of packets that pass several zones, the connections behind the first. */
struct more {
	struct xv_ct_hit hits[XV_FUSED_CT_MAX - 1];
	uint8_t n;
};

/* Contexts have the numbers behind those of ports, as many as there is room for in `where`. */
#define CONTEXTS      4096
#define CONTEXT_WAYS  4
#define CONTEXT_FIRST ((uint32_t)XV_MAX_PORTS)
#define CONTEXT_LAST  ((UINT32_C(1) << 24) - 1)

/* Lengths of packets that an entry is for. */
struct guard {
	uint32_t len_min, len_max;
};

/* Entries for first packets: a set for what comes from one MAC address to another. */
#define FIRST_SETS 1024
#define FIRST_WAYS 4

/* One writer, the worker; read by the control thread at any time. firsts: entries for first packets; first_hits: packets of theirs. */
struct counters {
	_Atomic uint64_t hits, misses, inserted, evicted, entries, trails, programs, firsts, first_hits;
};

struct xv_fused {
	struct set *sets;
	struct xv_fused_entry *entries;
	uint32_t *free_entries, n_free;
	uint32_t entries_fresh; /* those from here on were never used */
	uint32_t n_sets, mask_lo, mask_hi, max_sets;
	uint32_t n_entries;
	uint32_t sweep_at, room_at; /* sets: where the next sweep, the next search for an entry to throw out goes on */
	uint64_t secret[2];
	struct xv_flow_count *counts;
	struct xv_trail *trails, *free_trails;
	struct xv_trail **trail_buckets;
	uint32_t trails_fresh;
	/* Of the entry with the same number, if its flags say that it has them. */
	struct xv_fused_edit *edits;
	struct more *mores;
	struct guard *guards;
	uint32_t n_guarded; /* entries that have one */
	uint32_t *programs; /* number of the first op */
	/* Ops of all programs, as many as there may be entries. */
	struct xv_fused_op *ops;
	uint32_t ops_fresh, free_ops; /* free ones: number of the first */
	struct xv_fused_first *firsts;
	uint32_t first_at; /* set: where the next sweep goes on */
	struct xv_fused_context *contexts, *context_last; /* in use last */
	uint32_t context_number;	  /* of the next new one */
	struct counters stats;
};

/*
 * What the cache takes: Ethernet, perhaps one VLAN tag, perhaps one to three MPLS labels, IPv4 without options or IPv6 without
 * extension headers, no fragment, and TCP, UDP, ICMP or GRE, whose first four bytes stand for ports. It is a part of what net/flow_extract.c finds to be sound; a packet of one shape
 * always gives a key with the same fields in the same places.
 */
enum shape {
	SHAPE_IPV6 = 1,
	SHAPE_VLAN = 2,
	SHAPE_TCP = 4,
	SHAPE_ICMP = 8,
	SHAPE_ANY = 16, /* always set */
	SHAPE_MPLS = 64,
	SHAPE_GRE = 128,
	SHAPE_GUARDED = 32, /* of entries only: for packets of some lengths. no packet looks like that, a second look finds them */
};

#define ETH_LEN 14
#define VLAN_LEN 4
#define IPV4_LEN 20
#define IPV6_LEN 40
#define MPLS_LEN 4

/* Multiply and fold: guests choose what goes in, and must not be able to choose what comes out. */
static inline uint64_t mix(uint64_t a, uint64_t b)
{
	unsigned __int128 product = (unsigned __int128)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* Of the packets that e is for. */
static inline uint32_t xv_fused_l2_len(const struct xv_fused_entry *e)
{
	return ETH_LEN + ((e->where & SHAPE_VLAN) ? VLAN_LEN : 0);
}

/* fused.c. To the flows and connections of e goes what it has counted. */
void xv_fused_credit(struct xv_fused *fused, struct xv_fused_entry *e);
/* fused.c. An entry more, or less, stands on these flows. */
void xv_fused_count_entry(struct xv_fused *fused, const struct xv_trail *trail, int n);

/* fused_first.c. Credit and clean up to n sets; how many were left of n. */
unsigned int xv_fused_first_sweep(struct xv_fused *fused, unsigned int n);
void xv_fused_first_flush(struct xv_fused *fused);

/* fused_trail.c. The trail of these steps, or NULL: one of the flows is gone or changed, or there are too many. */
struct xv_trail *xv_trail_get(struct xv_fused *fused, const struct xv_fused_step *steps, unsigned int n,
			      const struct xv_fused_end *end);
/* An entry less stands for it. */
void xv_trail_put(struct xv_fused *fused, struct xv_trail *trail);

/* fused_context.c. Once all numbers were used up, what was made with them goes, and they begin again: not once in an hour, whatever
 * comes. Not in a burst. */
void xv_fused_contexts_renew(struct xv_fused *fused);

/* fused_edit.c. False: no headroom. m is writable. */
bool xv_fused_edit_write(const struct xv_fused_edit *edit, struct rte_mbuf *m);

/* fused_program.c. The number of its first op, or 0: memory is short. */
uint32_t xv_fused_program_make(struct xv_fused *fused, const struct xv_fused_op *ops, unsigned int n);
void xv_fused_program_free(struct xv_fused *fused, uint32_t first);
