/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Following real packets. While a live trace is on, workers run its filter on what they receive. A packet that
 * fits is marked and goes its way alone, in its place between the others; every stage that it meets is written
 * down. What becomes of it is what would have become of it otherwise: it takes the same code.
 *
 * A record is begun when the packet comes in and closed when its walk is over; copies of the packet are in it,
 * too. What happens to it later (it waited for a slow receiver, or for a next hop) comes as records of their own
 * with the same number.
 *
 * Bounded: a ring of records per worker, so many packets a second, so many bytes and stages a packet. A packet
 * that finds no room is counted and goes on as if it had not fitted. When no trace is on, a burst costs a test or
 * two of a pointer that is in the worker's first cache line.
 *
 * One trace at a time. Threads: as it says; the filter is class A, the ring has one writer, the worker, and one
 * reader, the control thread.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define XV_LIVE_BYTES	     2048 /* of a packet, at most */
#define XV_LIVE_HEADER_BYTES 128  /* of a packet whose headers have changed on the way */
#define XV_LIVE_STEPS_BYTES  2048 /* about 30 stages */
#define XV_LIVE_ROOM	     128  /* records of one worker */
#define XV_LIVE_RATE	     1000 /* packets a second and worker, unless said; bursts of XV_LIVE_ROOM */
#define XV_LIVE_ANY_PORT     UINT16_MAX

struct rte_bpf;

enum xv_live_stage {
	XV_LIVE_RECEIVED, /* again, by the port of a tunnel: its outer headers are off */
	XV_LIVE_WIRE,	  /* port: the other end */
	XV_LIVE_MAC,	  /* port: where the network knows the destination */
	XV_LIVE_FLOOD,	  /* to whoever may have it */
	XV_LIVE_FUSED,	  /* data: the numbers of the flows that the fused flow stands for */
	XV_LIVE_LONG_WAY, /* there is no fused flow for it */
	XV_LIVE_FLOW,	  /* data: its number */
	XV_LIVE_DECIDED,  /* by the configuration; arg: enum xv_action_type; data: which policy and rule, text */
	XV_LIVE_COPY,	  /* what follows is done with a copy */
	XV_LIVE_CHANGED,  /* arg: bytes of the packet; data: how it begins now */
	XV_LIVE_ENCAP,	  /* arg: bytes of outer headers that were put on */
	XV_LIVE_NEXT_HOP, /* waits until the tunnel's next hop is known; port: of the tunnel */
	XV_LIVE_PUNT,	  /* to the control thread */
	XV_LIVE_SEGMENTS, /* arg: segments that it was cut into */
	XV_LIVE_OUTPUT,	  /* port, arg: transmit queue */
	XV_LIVE_SENT,	  /* port, arg: transmit queue that took it */
	XV_LIVE_WAITS,	  /* port, arg: transmit queue that has no room for it yet */
	XV_LIVE_DROP,	  /* arg: enum xv_drop */
	XV_LIVE_MAX
};

/* n bytes of data follow, padded to a multiple of 8. */
struct xv_live_step {
	uint32_t cycles; /* since the record began; goes around after seconds */
	uint32_t arg;
	uint16_t port;
	uint8_t stage; /* enum xv_live_stage */
	uint8_t n;
	uint32_t pad;
};

struct xv_live_record {
	uint64_t cycles;       /* when the packet came, or when this happened */
	uint32_t number;       /* of the packet */
	uint32_t packet_bytes;
	uint16_t port, queue;  /* input */
	uint16_t n;	       /* bytes that are here */
	uint16_t steps_bytes;
	uint16_t steps_missed; /* that found no room */
	bool late;	       /* more about a packet with a record already; only number, cycles and steps are set */
	uint64_t steps[XV_LIVE_STEPS_BYTES / 8];
	uint8_t bytes[XV_LIVE_BYTES];
};

struct xv_live_config {
	uint16_t port;		  /* input, or XV_LIVE_ANY_PORT */
	uint16_t bytes;		  /* of a packet that are kept, at most XV_LIVE_BYTES */
	uint32_t rate;		  /* 0 = XV_LIVE_RATE */
	struct rte_bpf *filter;	  /* for struct rte_mbuf; not 0 = fits. NULL: all. Taken over on success */
};

/* control. Numbers of its packets are above *base. 0, -EBUSY: another one is on, -ENOMEM. */
int xv_live_trace_start(const struct xv_live_config *config, uint32_t *base);
/* control. No worker looks any more soon after. */
void xv_live_trace_stop(void);
/* control. Take at most max records, worker by worker; of one packet in order. Returns how many; *missed:
 * packets that fitted and found no room, since the last call. */
unsigned int xv_live_trace_take(unsigned int max, void (*fn)(const struct xv_live_record *record, void *arg), void *arg,
				uint64_t *missed);

/* The step behind, or the end (steps + steps_bytes). */
static inline const struct xv_live_step *xv_live_step_next(const struct xv_live_step *step)
{
	return (const struct xv_live_step *)(const void *)((const uint8_t *)(step + 1) + (step->n + 7u) / 8 * 8);
}
