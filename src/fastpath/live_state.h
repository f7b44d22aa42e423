/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A live trace as workers see it; see live_trace.h. Private to this folder. The stages of the walk call
 * xv_live_*() here, each behind a test of w->live. All of the worker, except where it says control.
 */
#pragma once

#include "fastpath/live_trace.h"
#include "fastpath/worker_state.h"

/* Class A. */
struct xv_live_trace {
	uint16_t port, bytes;
	uint64_t cycles_a_packet;	 /* of the rate */
	uint64_t (*run)(void *m);	 /* the filter, compiled; NULL: */
	struct rte_bpf *filter;		 /* interpreted; NULL: everything fits */
};
extern _Atomic(struct xv_live_trace *) xv_live_trace;
extern _Atomic uint32_t xv_live_numbers; /* the last one that was given */

/* Positions only go up. */
struct xv_live_ring {
	_Alignas(64) _Atomic uint32_t written;
	_Atomic uint64_t missed;
	_Alignas(64) _Atomic uint32_t read;
	_Alignas(64) uint64_t due;	     /* cycles: the rate is kept as long as this is not too far ahead */
	uint32_t headers_n, headers_len;     /* of the packet in `open` as it was seen last, and its length */
	uint8_t headers[XV_LIVE_HEADER_BYTES];
	struct xv_live_record open;	     /* number 0: none */
	struct xv_live_record records[XV_LIVE_ROOM];
};

/* Out of the way of packets that nobody follows. */
#define XV_LIVE_COLD __attribute__((cold))

/* pipeline.c: a burst that came in, while a trace is on: packets that fit go alone through xv_pipeline_walk(). */
XV_LIVE_COLD void xv_live_burst(struct xv_worker *w, struct xv_port *in, uint16_t queue,
				const struct xv_binding *binding, struct rte_mbuf **pkts, uint16_t n);

/* Whatever m is: a step is written only if it is marked. */
XV_LIVE_COLD void xv_live_note(struct xv_worker *w, const struct rte_mbuf *m, enum xv_live_stage stage, uint16_t port,
			       uint32_t arg);
/* n <= 255 bytes of data. */
XV_LIVE_COLD void xv_live_note_data(struct xv_worker *w, const struct rte_mbuf *m, enum xv_live_stage stage,
				    uint32_t arg, const void *data, uint8_t n);
/* If its headers have changed since the last look. */
XV_LIVE_COLD void xv_live_look(struct xv_worker *w, const struct rte_mbuf *m);

struct xv_decision;
struct xv_fused_entry;
XV_LIVE_COLD void xv_live_fused(struct xv_worker *w, const struct rte_mbuf *m, const struct xv_fused_entry *e);
XV_LIVE_COLD void xv_live_decided(struct xv_worker *w, const struct rte_mbuf *m, const struct xv_decision *decision);

/* output.c. Packets are put into a queue. True if one of them is followed: then it should be seen at once what
 * becomes of it. */
XV_LIVE_COLD bool xv_live_output(struct xv_worker *w, const struct xv_output *out, struct rte_mbuf *const *pkts,
				 uint16_t n);
/* Then: is it still there? */
XV_LIVE_COLD void xv_live_waits(struct xv_worker *w, const struct xv_output *out);
/* Packets are about to be sent, n <= XV_BURST, and will be gone after it: remember which are followed ... */
XV_LIVE_COLD void xv_live_before_send(struct rte_mbuf *const *pkts, uint16_t n, uint32_t *numbers);
/* ... and which of them were sent. */
XV_LIVE_COLD void xv_live_sent(struct xv_worker *w, const struct xv_output *out, const uint32_t *numbers,
			       uint16_t sent);

/* control */
unsigned int xv_live_ring_take(struct xv_live_ring *ring, unsigned int max,
			       void (*fn)(const struct xv_live_record *record, void *arg), void *arg);
