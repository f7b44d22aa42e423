/* SPDX-License-Identifier: Apache-2.0 */
/* What flows of random worlds match and do: programs in two forms, for the reference and for the engine. One thread. */
#pragma once

#include "fastpath/action.h"
#include "flow_reference.h"
#include "flow_traffic.h"

#define FLOW_PORTS  7 /* the last is down */
#define FLOW_NOBODY 9 /* no such port */
#define FLOW_POPPED 20 /* and the next: input ports of what came out of tunnels */

/* What chance is made of, in all of a world. */
extern struct flow_source {
	struct rnd rnd;
	bool tracking;	  /* programs track connections */
	uint64_t refused; /* programs that the engine did not accept */
	uint32_t bonds[REF_BONDS]; /* numbers that the engine has for them */
} flow_source;

/* Bits of the key that a flow for it looks at. */
void flow_mask_for(struct xv_flow_key *mask, const struct xv_flow_key *key);
/* A program in the engine's form, once more. */
struct xv_actions *flow_program_compile(const struct ref_program *program);
/* A program that the engine accepts for packets that match, in both forms. */
struct ref_program *flow_program_for(const struct xv_flow_key *key, const struct xv_flow_key *mask,
				     struct xv_actions **actions);
