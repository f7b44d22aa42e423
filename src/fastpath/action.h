/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The actions of a flow: a compact program, the set of the OVS datapath (linux/openvswitch.h, enum ovs_action_attr). Built
 * by the control thread with struct xv_actions_builder, checked once, then immutable (class A) and shared by whoever runs it.
 *
 * A program is a row of struct xv_action, each as many bytes as it says, a multiple of 8. Actions with programs of their
 * own (clone, sample, check_len) hold them in place. A packet that comes to the end of the program without having been sent
 * is dropped (XV_DROP_ACTION): that is how a flow drops.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <rte_byteorder.h>

#include "base/err.h"
#include "net/drop.h"
#include "net/flow_key.h"
#include "net/tunnel.h"

enum xv_action_type {
	XV_ACT_OUTPUT,	    /* arg: port id */
	XV_ACT_BOND,	    /* arg: bond; to the member that it has for the packet's hash (fastpath/bond.h) */
	XV_ACT_PUNT,	    /* hand to the slow path; data: what it shall be told */
	XV_ACT_SET,	    /* data: struct xv_action_set */
	XV_ACT_PUSH_VLAN,   /* data: struct xv_action_push_vlan */
	XV_ACT_POP_VLAN,
	XV_ACT_PUSH_MPLS,   /* data: struct xv_action_push_mpls */
	XV_ACT_POP_MPLS,    /* arg: Ethernet type that is below, network order in the low 16 bits */
	XV_ACT_PUSH_ETH,    /* data: struct xv_action_push_eth */
	XV_ACT_POP_ETH,
	XV_ACT_PUSH_NSH, /* data: struct xv_action_push_nsh */
	XV_ACT_POP_NSH,
	XV_ACT_TUNNEL_PUSH, /* put on outer headers and go on; data: struct xv_encap */
	XV_ACT_TUNNEL_POP,  /* take off outer headers, look up again as received by port arg; data: struct xv_action_tunnel_pop.
			     * Ends the program */
	XV_ACT_RECIRC,	    /* arg: recirc_id; look up again. Ends the program */
	XV_ACT_HASH,	    /* arg: basis; sets dp_hash from the 5-tuple */
	XV_ACT_SYM_HASH,    /* the same, and both directions get the same */
	XV_ACT_METER,	    /* arg: meter id; drops (XV_DROP_METER) what is over it */
	XV_ACT_SAMPLE,	    /* arg: probability of 2^32; data: program for a copy */
	XV_ACT_CLONE,	    /* data: program for a copy */
	XV_ACT_CHECK_LEN,   /* arg: bytes; data: struct xv_action_check_len. Ends the program */
	XV_ACT_TRUNC,	    /* arg: bytes that the next output sends at most */
	XV_ACT_CT,	    /* connection tracking; data: struct xv_action_ct (fastpath/conntrack.h) */
	XV_ACT_PATCH,	    /* arg: port id; from here on as if that port had received it. Not of tunnel or wire */
	XV_ACT_FORWARD,	    /* built-in networks: by the MAC table of the input port's network. Ends the program */
	XV_ACT_DROP,	    /* arg: enum xv_drop. Ends the program */
	XV_ACT_MAX
};

struct xv_action {
	uint16_t type;	/* enum xv_action_type */
	uint16_t bytes; /* of this action with its data, a multiple of 8 */
	uint32_t arg;
	uint64_t data[];
};

/* Set words of the flow key, and so the packet: key[first + i] = (key[first + i] & ~mask[i]) | value[i]. Only fields that
 * the packet has, and metadata; see xv_actions_check(). */
struct xv_action_set {
	uint32_t first, n;
	struct {
		uint64_t value, mask;
	} words[];
};

struct xv_action_push_vlan {
	rte_be16_t tpid, tci;
	uint32_t pad;
};

struct xv_action_push_mpls {
	rte_be32_t lse;
	rte_be16_t eth_type; /* 0x8847 or 0x8848 */
	bool before_l2;	     /* in front of Ethernet (OVS_ACTION_ATTR_ADD_MPLS without the L3 flag) */
	uint8_t pad;
};

struct xv_action_push_eth {
	uint8_t dst[6], src[6];
	uint32_t pad;
};

struct xv_action_push_nsh {
	uint8_t flags, ttl, mdtype, md2_len;
	rte_be32_t path_hdr;
	uint8_t metadata[248]; /* mdtype 1: 16 bytes of context; 2: md2_len bytes */
};

struct xv_action_tunnel_pop {
	uint8_t type; /* enum xv_tunnel_type: VXLAN, Geneve, GRE */
	bool gbp, gpe; /* VXLAN: as in xv_decap_port */
	uint8_t pad;
	rte_be16_t udp_port;
	uint16_t pad2;
};

/* Two programs: for packets longer than arg bytes, and for the others. */
struct xv_action_check_len {
	uint32_t greater_bytes, other_bytes;
	uint64_t programs[];
};

struct xv_actions {
	uint32_t bytes;
	uint32_t pad;
	uint64_t program[];
};

#define XV_ACTIONS_MAX_BYTES 65536
#define XV_ACTIONS_MAX_DEPTH 8 /* programs in programs */

static inline const struct xv_action *xv_action_first(const uint64_t *program)
{
	return (const struct xv_action *)(const void *)program;
}

static inline const struct xv_action *xv_action_next(const struct xv_action *a)
{
	return (const struct xv_action *)(const void *)((const uint8_t *)a + a->bytes);
}

/*
 * control. Build a program: init, add in order, nest and unnest around programs in programs, finish. Running out of memory
 * or beyond XV_ACTIONS_MAX_BYTES is remembered and reported by finish.
 */
struct xv_actions_builder {
	uint64_t *buf;
	uint32_t bytes, room;
	uint32_t open[XV_ACTIONS_MAX_DEPTH]; /* offsets of actions whose program is being written */
	uint32_t branch[XV_ACTIONS_MAX_DEPTH]; /* check_len: offset where the second program began; 0 = not yet */
	unsigned int depth;
	int error;
};

void xv_actions_begin(struct xv_actions_builder *b);
/* data: bytes_of_data bytes, padded to 8 with zeros; may be NULL if 0. */
void xv_actions_add(struct xv_actions_builder *b, enum xv_action_type type, uint32_t arg, const void *data,
		    uint32_t bytes_of_data);
/* Set the fields in which mask has bits; value is or-ed in where mask allows. One action for each run of words. */
void xv_actions_add_set(struct xv_actions_builder *b, const struct xv_flow_key *value, const struct xv_flow_key *mask);
/* CLONE, SAMPLE, CHECK_LEN: what is added from here to close (CHECK_LEN: to otherwise, then to close) is its program. */
void xv_actions_open(struct xv_actions_builder *b, enum xv_action_type type, uint32_t arg);
void xv_actions_otherwise(struct xv_actions_builder *b);
void xv_actions_close(struct xv_actions_builder *b);
/* The program in malloc memory. 0, -ENOMEM, -E2BIG, or -EINVAL: opened and closed out of step. Frees the builder. */
int xv_actions_finish(struct xv_actions_builder *b, struct xv_actions **actions);

/* control. Can the engine run this for packets that match key under mask? 0, or -EINVAL and a sentence that says which action
 * and why. Everything that comes from outside goes through here once. */
int xv_actions_check(const struct xv_actions *actions, const struct xv_flow_key *key, const struct xv_flow_key *mask,
		     struct xv_err *err);
