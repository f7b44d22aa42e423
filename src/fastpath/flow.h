/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The flow table: match, actions, counters. Every personality that decides packets puts its decisions here; the same code
 * carries them out (execute.c) and fuses them (fused.h).
 *
 * Class A: the control thread adds, changes and deletes; workers look up without a lock. A packet that no flow matches is
 * resolved by the worker itself where its port is on a built-in network (resolve.c); the worker carries the decision out at
 * once and asks the control thread, through a bounded queue, to make a flow of it.
 *
 * Counters are exact, but lie in several places: each worker counts per flow (class B), and what went through fused flows
 * is credited to the flows on their trail by the worker when it sweeps its cache (xv_flows_sweep()). A flow that was
 * deleted is freed when all workers have swept: until then its counters are still being completed.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "fastpath/action.h"
#include "fastpath/conntrack.h"
#include "fastpath/policy.h"
#include "net/flow_key.h"
#include "port/port.h"
#include "table/classifier.h"

#define XV_MAX_FLOWS (1u << 21)
/* Of those that workers ask for: a guest that makes up flows fills its own share. Beyond it, packets are decided one by one. */
#define XV_MAX_FLOWS_PER_PORT 131072
#define XV_FLOW_ORIGIN_LEN 64
#define XV_FLOW_NO_OWNER UINT16_MAX
#define XV_DECISION_RULES 2 /* that decide about a packet at once: of a firewall, and of a policy */
/* recirc_id of packets that a built-in network sends to the port with the id in the low 16 bits. Others are below it. */
#define XV_RECIRC_TO_PORT UINT32_C(0xff000000)
/* Packets on a built-in network that connection tracking has seen. */
#define XV_RECIRC_TRACKED UINT32_C(0xfe000000)
/* Packets to a load balancer, whose backend is known (gateway.h). */
#define XV_RECIRC_BALANCED UINT32_C(0xfd000000)
/* Packets that a router has got from a network; with their translation decided (router.h). */
#define XV_RECIRC_ROUTER UINT32_C(0xfc000000)
#define XV_RECIRC_ROUTED UINT32_C(0xfb000000)

struct xv_port;
struct xv_worker;
struct xv_trail_link;

struct xv_flow {
	_Atomic(const struct xv_actions *) actions; /* never NULL */
	uint32_t slot;	  /* index of its counters, < XV_MAX_FLOWS */
	uint64_t id;	  /* from 1, never used again */
	uint16_t owner;	  /* port id that it goes with, or XV_FLOW_NO_OWNER */
	bool dead;	  /* deleted: no new trail leads over it. Trail lock (fused.h) */
	struct xv_trail_link *trails; /* fused flows that it is part of. Trail lock */
	/* control thread */
	uint64_t base_packets, base_bytes; /* added to what workers count (may be "negative") */
	uint64_t carried_packets, carried_bytes; /* of those counted, which its rules have already */
	uint32_t counters[XV_DECISION_RULES]; /* of the rules that made it (rule_hits.h); held */
	uint64_t created_tick;
	uint64_t died; /* number of the sweep after which it may go */
	struct xv_flow *next, *prev; /* of the owner; when dead: of those waiting for the sweep */
	struct xv_flow *next_by_id, **back_by_id;
	/* Called once, when it is deleted and its counters are complete; NULL: nobody asks. */
	void (*gone)(struct xv_flow *flow, void *arg);
	void *gone_arg;
	char origin[XV_FLOW_ORIGIN_LEN]; /* which rule made it, for people */
	struct xv_cls_rule rule; /* last: the match lies behind it */
};

/* What one worker counted for one flow. One writer; `used` is in ticks, 0 = never. */
struct xv_flow_count {
	_Atomic uint64_t packets, bytes;
	_Atomic uint64_t used;
	_Atomic uint32_t fused; /* fused flows that it has now, with this flow on their trail */
	_Atomic uint32_t tcp_flags; /* of its packets, network order, together. The control thread clears it */
};

/* worker. A packet, or several, with these TCP flags, network order; other bits may be set. New ones are rare. */
static inline void xv_flow_saw_tcp(struct xv_flow_count *c, rte_be16_t flags)
{
	flags &= XV_TCP_FLAGS;
	if ((flags & ~atomic_load_explicit(&c->tcp_flags, memory_order_relaxed)) != 0)
		(void)atomic_fetch_or_explicit(&c->tcp_flags, flags, memory_order_relaxed);
}

struct xv_flow_stats {
	uint64_t packets, bytes;
	uint64_t used_ns_ago; /* UINT64_MAX = never used */
	uint64_t created_ns_ago;
	uint16_t tcp_flags; /* host order; of packets since they were cleared */
};

/* Time of last use: TSC cycles in steps small enough to order packets of a millisecond. */
#define XV_FLOW_TICK_SHIFT 18

/* control, before xv_flows_init(): connections that there is room for. */
extern uint32_t xv_flow_connections;

/* control, once, after EAL and RCU. 0 or -errno. */
int xv_flows_init(void);
/* All workers are gone. */
void xv_flows_fini(void);

struct xv_flow_spec {
	const struct xv_flow_key *key, *mask;
	struct xv_actions *actions; /* malloc memory; taken over on success */
	uint16_t owner;
	const char *origin; /* may be NULL */
	uint64_t packets, bytes; /* that are to count as its own already; its rules have them */
	uint32_t counters[XV_DECISION_RULES]; /* of the rules that made it, or 0 */
	uint64_t used_tick;
};
/* control. Add a flow whose actions passed xv_actions_check(). -EEXIST: there is one with this match; *flow is that one. */
int xv_flow_add(const struct xv_flow_spec *spec, struct xv_flow **flow);
/* control. Other actions (taken over) for the same match; counters go on. */
void xv_flow_set_actions(struct xv_flow *flow, struct xv_actions *actions);
/* control. No packet uses it after the workers' present bursts; `flow` must not be used any more. */
void xv_flow_del(struct xv_flow *flow);
/* control. The same; gone is called from xv_flows_poll() (or xv_flows_fini()), when nothing will be added to its counters. */
void xv_flow_del_then(struct xv_flow *flow, void (*gone)(struct xv_flow *flow, void *arg), void *arg);
/* control. The flow with this number, or NULL: there is none any more. */
struct xv_flow *xv_flow_by_id(uint64_t id);
/* The flow that a packet with this key would meet, or NULL. Counts nothing. */
struct xv_flow *xv_flow_peek(const struct xv_flow_key *key);
void xv_flow_match(const struct xv_flow *flow, struct xv_flow_key *key, struct xv_flow_key *mask);

/* control. Exact as of the last sweep. */
void xv_flow_get_stats(const struct xv_flow *flow, struct xv_flow_stats *stats);
/* control. What fused flows have seen until then may still come. */
void xv_flow_clear_tcp_flags(const struct xv_flow *flow);
unsigned int xv_flows_count(void);
/* control. What up to max flows have counted goes to the rules that made them. False: came to the end, those that wait for the
 * sweep to be freed included. */
bool xv_flows_carry(struct xv_cls_cursor *cursor, unsigned int max);
/* Flows that were not made because their port had its share. */
uint64_t xv_flows_refused(void);
bool xv_flows_walk(struct xv_cls_cursor *cursor, unsigned int max, void (*fn)(struct xv_flow *flow, void *arg), void *arg);

/* control, xv_port_bind(). What was decided for packets of this port, or to it, no longer holds: all its flows go. */
void xv_flows_invalidate_port(const struct xv_port *port);

/*
 * control. Have all workers credit what fused flows have counted. The number of the sweep; it is done when
 * xv_flows_swept() has reached it (xv_flows_poll() makes progress visible; workers take some rounds).
 */
uint64_t xv_flows_sweep(void);
uint64_t xv_flows_swept(void);

/* Requests of workers that wait to become flows. */
unsigned int xv_flows_requested(void);

/* Readable when workers want flows: then xv_flows_poll() is due. */
extern int xv_flows_event_fd;
/* control, from a timer, about every millisecond while it returns true: flows that workers asked for, freeing of dead ones. */
bool xv_flows_poll(void);
/* control, about once a second: rank, and let flows of built-in networks go that were idle for idle_ms. */
void xv_flows_age(uint64_t idle_ms);

/* control. Switch fused flows off and on again (tests, comparison); off empties the caches. */
void xv_flows_set_fusing(bool on);

/* ---- Workers ---- */

struct xv_conntrack;
struct xv_flow_request;

extern struct xv_classifier *xv_flow_classifier;
extern struct xv_conntrack *xv_flow_conntrack;

/* worker. The flow that matches, or NULL. */
struct xv_flow *xv_flow_lookup(struct xv_worker *w, const struct xv_flow_key *key);

/* What one rule said. */
struct xv_judgement {
	const char *policy, *rule; /* names */
	uint32_t counter;
	uint8_t verdict; /* enum xv_verdict */
	bool log;
};

/*
 * What a worker decided on its own: one action without data. Before it, in this order, what has a value: connection tracking,
 * setting MAC addresses, setting the TTL, going on as if another port had received it.
 */
struct xv_decision {
	enum xv_action_type type;
	uint32_t arg;
	uint16_t owner;
	uint32_t version; /* of the owner's binding, by which it was made */
	uint8_t n_cts;
	bool set_dst, set_src;
	uint8_t ttl; /* 0: stays */
	uint8_t eth_dst[6], eth_src[6];
	uint16_t patch; /* port id, XV_MAX_PORTS: none */
	struct xv_action_ct cts[2];
	bool reject; /* the sender is to be told: no flow */
	bool once;   /* no flow: it holds for this packet alone */
	uint8_t n_by;
	struct xv_judgement by[XV_DECISION_RULES]; /* rules, as long as their policies live; the last one has decided */
	const char *gateway, *object;	/* if no rule but the network's gateway did: what of it, and its name; else NULL */
	_Atomic uint64_t *counter;	/* of new connections that were decided so; may be NULL */
};
/* Add a ct action in the zone; two at most. Its other members are 0. */
static inline struct xv_action_ct *xv_decision_track(struct xv_decision *decision, uint16_t zone, uint8_t flags)
{
	struct xv_action_ct *ct = &decision->cts[decision->n_cts++];

	*ct = (struct xv_action_ct){.zone = zone, .flags = flags};
	return ct;
}

/* For people: "web: http". The length. */
unsigned int xv_judgement_text(const struct xv_judgement *by, char text[XV_FLOW_ORIGIN_LEN]);
/* What decided, as such a text; "" if nothing in particular. The length. */
unsigned int xv_decision_origin(const struct xv_decision *decision, char origin[XV_FLOW_ORIGIN_LEN]);
/*
 * worker. Ask for a flow that matches key under mask, does what was decided, and has seen one packet. When the queue is full
 * nothing happens: the next packet asks again. True if it was asked for.
 */
bool xv_flow_request(const struct xv_flow_key *key, const struct xv_flow_key *mask, const struct xv_decision *decision,
		     uint64_t bytes);
