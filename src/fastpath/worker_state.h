/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a worker is made of. Private to this folder. Everything here belongs to the worker's thread unless
 * a member says otherwise.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <pthread.h>
#include <rte_mbuf.h>
#include <rte_ring.h>

#include "base/clock.h"
#include "fastpath/binding.h"
#include "fastpath/conntrack.h"
#include "fastpath/ledger.h"
#include "fastpath/offload.h"
#include "fastpath/worker.h"
#include "net/packet.h"
#include "net/parse.h"
#include "net/tunnel.h"

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* Counters of one port as one worker saw it: one writer, read by the control thread at any time. */
struct xv_counters {
	_Atomic uint64_t rx_packets, rx_bytes, copies, forwarded, punts, tx_packets, tx_bytes;
	_Atomic uint64_t held; /* in the sense of the ledger; goes up and down */
	_Atomic uint64_t drops[XV_DROP_MAX];
	_Atomic uint64_t answers, answers_limited;
};

static inline void count(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
			      memory_order_relaxed);
}

/*
 * Packets on their way to one transmit queue of one port: collected during a poll round, sent at its
 * end or when a burst is together. What the port has no room for stays here, bounded, and is tried
 * again next round.
 */
#define XV_OUTPUT_MAX 256  /* packets */
#define XV_OUTPUT_SEGS 512 /* buffers: a stuck receiver must not starve the others of packet memory */

struct xv_output {
	struct xv_port *port; /* checked against xv_port_table before use when packets were kept */
	uint16_t queue;
	uint16_t n;	   /* packets in pkts */
	uint16_t counted;  /* the first of them are in the `held` counters */
	uint16_t segs;	   /* buffers of all */
	bool listed;	   /* is in the worker's list of outputs to flush */
	uint64_t since;	   /* cycles when packets were first kept */
	struct rte_mbuf *pkts[XV_OUTPUT_MAX];
};

struct xv_port_outputs {
	struct xv_output queue[XV_MAX_QUEUES];
};

/* A queue that the worker polls, and what it knows of its traffic. */
struct xv_poll_queue {
	struct xv_port *port;
	uint16_t queue;
	uint32_t tag;		    /* of the queue in what epoll says */
	bool throttled;		    /* last poll was held back by rate limit or by a full output */
	uint64_t waiting_since;	    /* cycles when packets were first seen to wait; 0 = none */
	uint64_t next_look;	    /* do not look before: a batch cannot be there yet, or it was empty just now */
	uint64_t last_served;
	uint64_t cycles_per_packet; /* as packets arrive, smoothed */
	uint64_t long_until;	    /* until then its long ways have used up its share of time: see long_ways_allow() in worker.c */
};

/* Class A: published by the control thread; its queues' private parts are the worker's. */
struct xv_poll_list {
	unsigned int n;
	struct xv_poll_queue queues[];
};

/* Packets for a tunnel whose next hop is being asked for (vtep.c); they count as held. */
#define XV_WAITING_MAX 256

struct xv_waiting {
	struct rte_mbuf *m;
	struct xv_port *port; /* of the tunnel; checked against xv_port_table before use */
	uint64_t since;	      /* cycles */
	uint16_t port_id;
};

struct xv_cls_reader;
struct xv_drop_record;
struct xv_drop_ring;
struct xv_flow_count;
struct xv_fused;
struct xv_flow_key;
struct xv_flow_layout;
struct xv_fragments;
struct xv_fused_place;
struct xv_live_ring;
struct xv_live_trace;
struct xv_rule_count;

struct xv_worker {
	_Atomic(struct xv_poll_list *) list;
	uint64_t now;	  /* cycles at the start of this round */
	uint64_t look_pause; /* an empty queue is not looked at again for so many cycles */
	uint32_t now_s;	  /* coarse seconds, for the MAC tables */
	uint64_t next_s;  /* cycles at which now_s is looked up again */
	const struct xv_live_trace *live; /* the live trace that is on in this round, or NULL */
	bool borrows; /* packets of this burst may refer to memory that is only lent (virtio/lending.h) */
	unsigned int n_outputs;
	struct xv_output *outputs_listed[XV_MAX_PORTS]; /* outputs with packets; more queues than this: flushed at once */
	struct xv_counters *counters;		/* [XV_MAX_PORTS], touched lazily */
	struct xv_port_outputs *outputs;	/* [XV_MAX_PORTS], touched lazily */
	struct rte_mbuf *segments[XV_GSO_MAX_SEGMENTS]; /* scratch of software segmentation */
	struct rte_ring *injected;		/* control -> worker: frames as if received */
	struct rte_ring *upcalls;		/* worker -> control: packets for a slow path (upcall.h) */
	bool upcalls_sent;			/* the control thread may have to be told */
	struct rte_ring *packet_outs;		/* control -> worker: packets with actions (packet_out.h) */
	struct xv_drop_ring *drop_ring;		/* worker -> control: dropped packets, while somebody watches */
	uint64_t drops_missed;			/* control thread: of those, reported already */
	struct xv_live_ring *live_ring;		/* worker -> control: packets that are followed */
	uint64_t live_missed;			/* control thread: of those, reported already */
	struct xv_cls_reader *flow_reader;
	struct xv_flow_count *flow_counts;	/* by slot of the flow; outlives the worker */
	struct xv_rule_count *rule_counts;	/* by counter (rule_hits.h); outlives the worker */
	struct xv_fused *fused;
	uint64_t sweep_target;			/* the sweep of the cache that is going on */
	bool flows_wanted;			/* the control thread has to be told of requests */
	uint64_t flows_told;			/* cycles when it was told last */
	uint16_t ip_id;				/* of tunnel packets without DF */
	uint64_t idle_since;			/* cycles since which nothing moved; 0 = busy */
	uint64_t earliest;			/* a throttled queue may go on at this time */
	/* Time for packets that take the long way (worker.c): how many of the burst at hand did, and for how many cycles; queues that
	 * owed time for them, in this round and the last one, which began at round_before. */
	uint32_t long_ways;
	uint64_t long_cycles;
	uint32_t owing, owing_before;
	uint64_t round_before;
	/* The queue that last had packets which took the short way, and when; when any other had. For comparison only. */
	const struct xv_poll_queue *short_queue;
	uint64_t short_seen, short_seen_elsewhere;
	unsigned int naps;			/* timer sleeps in a row that found nothing */
	struct xv_fragments *fragments;		/* that wait for the rest of their datagrams */
	unsigned int n_waiting;
	struct xv_waiting waiting[XV_WAITING_MAX];
	uint64_t answers_paid[XV_MAX_PORTS];	/* answer.c: cycles until which a port has had its share */

	/* One writer (the worker), read by the control thread. */
	_Atomic uint64_t cycles_busy, sleeps, wakeups, bursts, packets;
	_Atomic uint64_t barrier_done, sweep_done;
	_Atomic uint64_t overdue; /* packets that still had lent bytes at the end of their burst: 0, or we are wrong */

	/* Set by the control thread before the thread starts, or with its own protection. */
	char name[XV_NAME_LEN];
	int cpu;
	unsigned int id; /* RCU reader id */
	int epoll_fd, wake_fd;
	bool manual;
	uint64_t started; /* cycles */
	_Atomic bool stop;
	pthread_t thread;
};

/* What spreads flows over queues and paths; 0 for what is no packet. */
static inline uint32_t xv_packet_flow_hash(const struct rte_mbuf *m)
{
	struct xv_parsed parsed;

	if (likely((m->ol_flags & XV_PACKET_HASHED) != 0))
		return m->hash.rss;
	if (xv_parse(rte_pktmbuf_mtod(m, const uint8_t *), rte_pktmbuf_data_len(m), rte_pktmbuf_pkt_len(m), &parsed) !=
	    XV_PARSE_OK)
		return 0;
	return parsed.flow_hash;
}

/* The time of connection tracking, xv_conntrack_now_ms() as of this round. */
static inline uint32_t xv_worker_now_ms(const struct xv_worker *w)
{
	return xv_clock_ms(w->now);
}

/* Ports by id, for look-ups that give an id. Class A; NULL = no such port (any more). */
extern _Atomic(struct xv_port *) xv_port_table[XV_MAX_PORTS];

static inline struct xv_port *xv_port_by_id(uint16_t id)
{
	return id < XV_MAX_PORTS ? atomic_load_explicit(&xv_port_table[id], memory_order_acquire)
				 : NULL;
}

/* Settings in cycles, written by the control thread. */
extern _Atomic uint32_t xv_batch;
extern _Atomic uint64_t xv_batch_wait_cycles, xv_idle_spin_cycles;
extern _Atomic uint64_t xv_barrier_seq;

/* Which queue of its output a packet with this priority (of the flow key) belongs to: one of OVS's, 1:QUEUE + 1 in terms of the
 * kernel, or none. */
static inline void xv_packet_set_queue(struct rte_mbuf *m, uint32_t priority)
{
	if (unlikely(priority >> 16 == 1 && (priority & 0xffff) != 0)) {
		m->vlan_tci_outer = (uint16_t)(priority - 1);
		m->ol_flags |= XV_PACKET_QUEUED;
	}
}

/* worker_control.c, control */
struct xv_worker *xv_worker_by_id(unsigned int id); /* NULL: there is none */
void xv_worker_wake(struct xv_worker *w);
/* packet_out.c: those that are done, worker -> control. */
extern struct rte_ring *xv_packet_outs_done;

/* flow.c, worker_control.c */
extern _Atomic uint64_t xv_sweep_wanted;
extern _Atomic bool xv_fusing;
/* control. Counters of worker id i, also after it is gone; NULL: there never was one. */
struct xv_flow_count *xv_worker_flow_counts(unsigned int i);
const struct xv_rule_count *xv_worker_rule_counts(unsigned int i);
void xv_workers_wake(void);
uint64_t xv_workers_swept(void);
/* Decisions about packets from or to this port that were made under another number no longer hold. */
extern _Atomic uint32_t xv_port_decisions[XV_MAX_PORTS];

/* worker.c: the loop of a worker's thread. */
void xv_worker_loop(struct xv_worker *w);

/* pipeline.c: what happens to a burst that was received on a queue of `in`. */
void xv_pipeline_burst(struct xv_worker *w, struct xv_port *in, uint16_t queue,
		       const struct xv_binding *binding, struct rte_mbuf **pkts, uint16_t n);
/* The same, for packets that a live trace has looked at. */
void xv_pipeline_walk(struct xv_worker *w, struct xv_port *in, uint16_t queue,
		      const struct xv_binding *binding, struct rte_mbuf **pkts, uint16_t n);
/*
 * pipeline.c: n packets (n <= XV_BURST) to one output port: MTU, rate limit, offloads, queue. queue: a number (taken modulo the
 * port's queues), or XV_QUEUE_BY_FLOW. binding is that of `out`. Takes the packets.
 */
#define XV_QUEUE_BY_FLOW UINT16_MAX
void xv_pipeline_output(struct xv_worker *w, struct xv_port *out, const struct xv_binding *binding,
			uint16_t queue, struct rte_mbuf **pkts, uint16_t n);

/* bridge.c: a burst that belongs to a MAC-learning network. */
void xv_bridge_burst(struct xv_worker *w, struct xv_port *in, const struct xv_binding *binding,
		     struct rte_mbuf **pkts, uint16_t n);

/* What connection tracking has found out about a packet, on networks with firewalls. */
struct xv_tracked {
	const struct xv_flow_key *key;
	struct xv_flow_layout *layout;
	struct xv_ct_hit hit;
	uint32_t now_ms;
	bool committed; /* a receiver has let it in */
};

/* bridge.c: where one frame of a MAC-learning network goes: its output port, the frame tagged as that port's binding wants it; or
 * NULL: it was flooded or dropped. m is the caller's alone. tracked: NULL where nothing is. */
struct xv_port *xv_bridge_forward(struct xv_worker *w, struct xv_port *in, const struct xv_binding *binding,
				  struct rte_mbuf *m, struct xv_tracked *tracked, const struct xv_binding **out_binding);

/* bridge.c: whether a fragment of a datagram that opens a connection would be flooded, and let in by anybody: then the datagram has
 * to be committed as a whole first. */
bool xv_bridge_opens(const struct xv_port *in, const struct xv_binding *binding, const struct rte_mbuf *m,
		     const struct xv_flow_key *key);

/* bridge.c: tag a frame that is tagged by its VLAN, as in a tunnel, as the port wants it. False: it is none of the port's VLANs. */
bool xv_bridge_retag(const struct xv_binding *to, struct rte_mbuf *m);

/* flow_burst.c: a burst that flows decide. */
void xv_flow_burst(struct xv_worker *w, struct xv_port *in, const struct xv_binding *binding, struct rte_mbuf **pkts,
		   uint16_t n);
/* encap.c: outer headers on one packet, which wants no segmentation; *m may become another. False: it was dropped. */
bool xv_encap_one(struct xv_worker *w, const struct xv_encap *encap, rte_be32_t packet_type, uint32_t entropy,
		  struct rte_mbuf **m);
/* encap.c: the same of a burst of Ethernet frames. How many are left. */
uint16_t xv_encap_burst(struct xv_worker *w, const struct xv_encap *encap, const uint32_t *entropy, struct rte_mbuf **pkts,
			uint16_t n);
/* encap.c: put on outer headers and send to a port; finishes segmentation requests first. Takes the packet, which begins
 * as packet_type (of the flow key) says. */
void xv_flow_tunnel_push(struct xv_worker *w, const struct xv_encap *encap, rte_be32_t packet_type, uint32_t entropy,
			 uint16_t out_port, struct rte_mbuf *m);
/* pmtu.c: bytes of the longest inner packet that, with these outer headers, what is behind the uplink takes; what wraps
 * around here is as good as not known, and dropped by the uplink itself. */
static inline uint32_t xv_pmtu_room(const struct xv_port *uplink, const struct xv_encap *encap)
{
	return atomic_load_explicit(&uplink->link_mtu, memory_order_relaxed) - encap->l3_back;
}
/* pmtu.c: a packet that is longer than room. Takes it; returns how many packets, in w->segments, go on instead. One may be m
 * itself, longer still, but not once it is segmented. 0: it was dropped, and the sender told, if it may be. */
unsigned int xv_pmtu_fit(struct xv_worker *w, struct rte_mbuf *m, rte_be32_t packet_type, uint32_t room);
/* answer.c: tell who sent m that packets longer than mtu (of IP) do not pass. Does not take m. */
void xv_answer_too_big(struct xv_worker *w, struct rte_mbuf *m, uint32_t mtu);
/* answer.c: tell who sent m that it may not: a reset for TCP, else an ICMP error. Does not take m. */
void xv_answer_refused(struct xv_worker *w, struct rte_mbuf *m);
/* execute.c: one packet the long way; place is where an entry of the cache would be, if it has a shape. */
void xv_flow_execute(struct xv_worker *w, struct xv_port *in, const struct xv_binding *binding, struct rte_mbuf *m,
		     const struct xv_fused_place *place);
/* execute.c: the same for one that came out of `pops` tunnels, by fused flows; key: its metadata; passes: look-ups so far. */
void xv_flow_execute_popped(struct xv_worker *w, struct xv_port *in, const struct xv_binding *binding, struct rte_mbuf *m,
			    const struct xv_fused_place *place, const struct xv_flow_key *key, unsigned int passes,
			    unsigned int pops);
#define XV_PASSES_MAX 64 /* look-ups of one packet and all its copies: a loop in somebody's flows ends here */
#define XV_POPS_MAX   4	 /* of one packet that fused flows do, one behind the other */
/* tunnel_pop.c: outer headers off, as the action a says. key: its tunnel's fields zero or those of an earlier packet; filled with what
 * they held, and as whose the packet goes on. memo, unless NULL: filled, so that the next one can be told to be like this. False:
 * *why it has to be dropped; in either case *m may have become another. */
struct xv_action;
struct xv_decap_memo;
bool xv_tunnel_pop(const struct xv_action *a, struct rte_mbuf **m, struct xv_flow_key *key, struct xv_decap_memo *memo,
		   enum xv_drop *why);
struct xv_packet_out;
/* execute.c: carry out a packet-out; takes its packet. */
void xv_flow_execute_out(struct xv_worker *w, struct xv_packet_out *out);
/* execute.c: of w->fragments; worker: who holds it. */
void xv_flow_drop_fragment(void *worker, struct rte_mbuf *m, enum xv_drop reason);

/* output.c. The output of a port's transmit queue in this worker. */
struct xv_output *xv_output_get(struct xv_worker *w, struct xv_port *port, uint16_t queue);
/* n packets (n <= XV_BURST) that came in by one port: sent now if they are enough, else collected. */
void xv_output_send(struct xv_worker *w, struct xv_output *out, struct rte_mbuf **pkts, uint16_t n);
/* Collect packets, from whatever ports. */
void xv_output_put(struct xv_worker *w, struct xv_output *out, struct rte_mbuf **pkts, uint16_t n);
/* Send what can be sent now; returns packets sent. */
unsigned int xv_output_flush(struct xv_worker *w, struct xv_output *out);
unsigned int xv_output_flush_all(struct xv_worker *w);
/* A burst that borrows ends: send what can be sent now, copy what has to wait. */
void xv_output_settle(struct xv_worker *w);
/* m is to outlive its burst: what it has borrowed becomes its own. NULL: no packet memory; it was dropped. */
struct rte_mbuf *xv_packet_keep_borrowed(struct xv_worker *w, struct rte_mbuf *m);
static inline struct rte_mbuf *xv_packet_keep(struct xv_worker *w, struct rte_mbuf *m)
{
	return likely(!w->borrows) ? m : xv_packet_keep_borrowed(w, m);
}

/* drop_watch.c: write a dropped packet down for those who watch. */
void xv_drop_note(struct xv_worker *w, struct rte_mbuf *m, enum xv_drop reason);
/* drop_watch.c, control: see xv_drop_watch_take(). */
uint64_t xv_drop_ring_take(struct xv_drop_ring *ring, uint64_t *missed_before,
			   void (*fn)(const struct xv_drop_record *record, void *arg), void *arg);
/* output.c: the only way to free a packet unsent. */
void xv_packet_drop(struct xv_worker *w, struct rte_mbuf *m, enum xv_drop reason);
