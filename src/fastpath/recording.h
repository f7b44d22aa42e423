/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the long way of a packet (execute.c) did, written down while it goes, to become an entry of the cache of fused flows.
 * Private to this folder; all of the worker.
 *
 * What is recorded is not the actions but their result: which flows were on the trail, which bytes of the packet and which lengths they
 * looked at, and for each packet that left, in order, how its headers differ from those of the one that came in. `on` ends
 * with the first thing that the next packet of the kind may not meet in the same way.
 */
#pragma once

#include "fastpath/fused.h"
#include "net/drop.h"

struct xv_binding;
struct xv_port;

/* What a packet is to its connection, if it is one of the first. */
enum xv_first {
	XV_FIRST_NONE,
	XV_FIRST_NEW,	 /* it may open one */
	XV_FIRST_OPENS,	 /* it did */
	XV_FIRST_ANSWER, /* the first one */
};

struct xv_recording {
	bool on;
	uint8_t first_is; /* enum xv_first ... */
	uint16_t zone;	  /* ... there */
	const struct xv_action_ct *commit;
	bool metered; /* a packet may be refused before it comes to what follows */
	uint8_t n, n_ops;
	uint32_t path; /* steps that the packet, or copy, came over so far */
	uint64_t bits; /* bytes that flows looked at */
	struct xv_fused_place place;
	struct xv_fused_end end;   /* changes: of the network's MAC table, before it was asked ... */
	const struct xv_port *out; /* ... and what it was sent to, by which rules; NULL = no network involved */
	const struct xv_binding *out_binding;
	uint32_t pkt_len;	   /* of the packet as it came in ... */
	uint8_t first[XV_FUSED_EDIT_BYTES]; /* ... and its first bytes */
	struct xv_fused_step steps[XV_TRAIL_MAX];
	struct xv_fused_op ops[XV_FUSED_OPS];
};

/* m has just come in. */
void xv_record_begin(struct xv_recording *r, const struct xv_fused_place *place, const struct rte_mbuf *m);

/* The following only while r->on. m: the packet as it is by now. */

/* This flow, with these actions, decides about it. */
void xv_record_step(struct xv_recording *r, const struct rte_mbuf *m, const struct xv_flow_key *key, struct xv_flow *flow,
		    const struct xv_actions *actions);
/* Something depends on the fields in which mask has bits, as words of the flow key. */
void xv_record_fields(struct xv_recording *r, const uint64_t *mask_words);
/* It was read again, after headers came or went. */
void xv_record_extract(struct xv_recording *r, const struct rte_mbuf *m, const struct xv_flow_key *key,
		       const struct xv_flow_layout *layout);
/* Something depends on whether it is longer than that. */
void xv_record_length(struct xv_recording *r, const struct rte_mbuf *m, uint32_t bytes);
/* A meter is asked. */
void xv_record_meter(struct xv_recording *r, const struct rte_mbuf *m, uint32_t id);
/* It belongs to this connection, after connection tracking, told so by ct, said that and what is in key, and before it knew `before`. */
void xv_record_hit(struct xv_recording *r, const struct xv_action_ct *ct, const struct xv_flow_key *key,
		   const struct xv_ct_hit *hit, const struct xv_ct_hit *before);

/* A copy goes its way, until copy_end with what copy gave. */
struct xv_record_copy {
	unsigned int n_ops;
	uint32_t path;
};
static inline struct xv_record_copy xv_record_copy(const struct xv_recording *r)
{
	return (struct xv_record_copy){r->n_ops, r->path};
}
void xv_record_copy_end(struct xv_recording *r, const struct xv_record_copy *copy);

/* The end of m, that is of a copy, or with last of the packet itself: cut to `cut` bytes if not 0; encap NULL: without a
 * tunnel. hashed: entropy is of use to who sends it. */
void xv_record_output(struct xv_recording *r, const struct rte_mbuf *m, uint16_t port, uint32_t cut,
		      const struct xv_encap *encap, const struct xv_flow_key *key, bool hashed, uint32_t entropy);
/* m leaves by the member that the bond has for that hash, cut to so many bytes (0: not at all). */
void xv_record_bond(struct xv_recording *r, const struct rte_mbuf *m, const struct xv_flow_key *key, uint32_t bond, uint32_t cut,
		    uint32_t hash);
void xv_record_drop(struct xv_recording *r, enum xv_drop reason);
/* The end of the packet itself: its outer headers go. What becomes of it then is another entry's. */
void xv_record_pop(struct xv_recording *r, const struct rte_mbuf *m, const struct xv_action *pop);
/* All is said: it becomes an entry, if it can. Whether it did. */
bool xv_record_end(struct xv_recording *r, struct xv_worker *w);
