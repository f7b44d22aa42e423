/* SPDX-License-Identifier: Apache-2.0 */
/* A live trace on packet threads. Starting and ending it is in live_control.c. */
#include <string.h>

#include <rte_bpf.h>

#include "base/clock.h"
#include "fastpath/flow.h"
#include "fastpath/fused.h"
#include "fastpath/live_state.h"

_Atomic(struct xv_live_trace *) xv_live_trace;
_Atomic uint32_t xv_live_numbers;

static inline uint32_t number_of(const struct rte_mbuf *m)
{
	return (m->ol_flags & XV_PACKET_TRACED) != 0 ? *xv_packet_trace((struct rte_mbuf *)(uintptr_t)m) : 0;
}

/* ---- Records ---- */

/* The next free record, or NULL. */
static struct xv_live_record *record_get(struct xv_live_ring *ring)
{
	uint32_t at = atomic_load_explicit(&ring->written, memory_order_relaxed);

	if (at - atomic_load_explicit(&ring->read, memory_order_acquire) == XV_LIVE_ROOM)
		return NULL;
	return &ring->records[at % XV_LIVE_ROOM];
}

static void record_publish(struct xv_live_ring *ring)
{
	uint32_t at = atomic_load_explicit(&ring->written, memory_order_relaxed);

	atomic_store_explicit(&ring->written, at + 1, memory_order_release);
}

static void step_add(struct xv_live_record *r, enum xv_live_stage stage, uint16_t port, uint32_t arg, const void *data,
		     uint8_t n)
{
	struct xv_live_step *step = (struct xv_live_step *)(void *)((uint8_t *)r->steps + r->steps_bytes);
	uint32_t need = (uint32_t)sizeof(*step) + (n + 7u) / 8 * 8;

	if (r->steps_bytes + need > sizeof(r->steps)) {
		r->steps_missed++;
		return;
	}
	*step = (struct xv_live_step){
		.cycles = (uint32_t)(xv_clock_cycles() - r->cycles),
		.arg = arg,
		.port = port,
		.stage = (uint8_t)stage,
		.n = n,
	};
	if (n > 0)
		memcpy(step + 1, data, n);
	r->steps_bytes = (uint16_t)(r->steps_bytes + need);
}

static void note(struct xv_worker *w, uint32_t number, enum xv_live_stage stage, uint16_t port, uint32_t arg,
		 const void *data, uint8_t n)
{
	struct xv_live_ring *ring = w->live_ring;
	struct xv_live_record *r = &ring->open;

	if (number != r->number) {
		r = w->live != NULL ? record_get(ring) : NULL;
		if (r == NULL)
			return;
		r->cycles = xv_clock_cycles();
		r->number = number;
		r->late = true;
		r->steps_bytes = r->steps_missed = r->n = 0;
	}
	step_add(r, stage, port, arg, data, n);
	if (r != &ring->open)
		record_publish(ring);
}

void xv_live_note(struct xv_worker *w, const struct rte_mbuf *m, enum xv_live_stage stage, uint16_t port, uint32_t arg)
{
	uint32_t number = number_of(m);

	if (number != 0)
		note(w, number, stage, port, arg, NULL, 0);
}

void xv_live_note_data(struct xv_worker *w, const struct rte_mbuf *m, enum xv_live_stage stage, uint32_t arg,
		       const void *data, uint8_t n)
{
	uint32_t number = number_of(m);

	if (number != 0)
		note(w, number, stage, 0, arg, data, n);
}

/* Remember how the packet begins. */
static void remember(struct xv_live_ring *ring, const struct rte_mbuf *m)
{
	ring->headers_n = RTE_MIN(rte_pktmbuf_data_len(m), (uint32_t)XV_LIVE_HEADER_BYTES);
	ring->headers_len = rte_pktmbuf_pkt_len(m);
	memcpy(ring->headers, rte_pktmbuf_mtod(m, const uint8_t *), ring->headers_n);
}

void xv_live_look(struct xv_worker *w, const struct rte_mbuf *m)
{
	struct xv_live_ring *ring = w->live_ring;
	uint32_t number = number_of(m), n = RTE_MIN(rte_pktmbuf_data_len(m), ring->headers_n);

	if (number == 0 || number != ring->open.number)
		return;
	if (rte_pktmbuf_pkt_len(m) == ring->headers_len &&
	    memcmp(rte_pktmbuf_mtod(m, const uint8_t *), ring->headers, n) == 0)
		return;
	remember(ring, m);
	note(w, number, XV_LIVE_CHANGED, 0, ring->headers_len, ring->headers, (uint8_t)ring->headers_n);
}

/* ---- In ---- */

static bool fits(const struct xv_live_trace *t, const struct xv_port *in, struct rte_mbuf *m)
{
	if (t->port != XV_LIVE_ANY_PORT && t->port != in->id)
		return false;
	if (t->run != NULL)
		return t->run(m) != 0;
	return t->filter == NULL || rte_bpf_exec(t->filter, m) != 0;
}

/* Whether rate and ring allow for one more; if not, it is counted. */
static bool has_room(const struct xv_live_trace *t, struct xv_live_ring *ring)
{
	uint64_t now = xv_clock_cycles();

	if (ring->due < now)
		ring->due = now;
	if (record_get(ring) == NULL || ring->due - now >= XV_LIVE_ROOM * t->cycles_a_packet) {
		count(&ring->missed, 1);
		return false;
	}
	ring->due += t->cycles_a_packet;
	return true;
}

static void record_begin(struct xv_worker *w, const struct xv_port *in, uint16_t queue, struct rte_mbuf *m)
{
	struct xv_live_ring *ring = w->live_ring;
	struct xv_live_record *r = &ring->open;
	uint32_t n = RTE_MIN(rte_pktmbuf_pkt_len(m), (uint32_t)w->live->bytes);
	const void *bytes = rte_pktmbuf_read(m, 0, n, r->bytes);

	r->cycles = xv_clock_cycles();
	do {
		r->number = atomic_fetch_add_explicit(&xv_live_numbers, 1, memory_order_relaxed) + 1;
	} while (unlikely(r->number == 0));
	r->packet_bytes = rte_pktmbuf_pkt_len(m);
	r->port = in->id;
	r->queue = queue;
	r->n = (uint16_t)n;
	r->steps_bytes = r->steps_missed = 0;
	r->late = false;
	if (bytes != r->bytes)
		memcpy(r->bytes, bytes, n);
	m->ol_flags |= XV_PACKET_TRACED;
	*xv_packet_trace(m) = r->number;
	remember(ring, m);
}

/* Late records of others may have taken the room: then this one is missed. */
static void record_end(struct xv_live_ring *ring)
{
	const struct xv_live_record *open = &ring->open;
	struct xv_live_record *r = record_get(ring);

	if (r == NULL) {
		count(&ring->missed, 1);
	} else {
		memcpy(r, open, offsetof(struct xv_live_record, steps));
		memcpy(r->steps, open->steps, open->steps_bytes);
		memcpy(r->bytes, open->bytes, open->n);
		record_publish(ring);
	}
	ring->open.number = 0;
}

void xv_live_burst(struct xv_worker *w, struct xv_port *in, uint16_t queue, const struct xv_binding *binding,
		   struct rte_mbuf **pkts, uint16_t n)
{
	struct xv_live_ring *ring = w->live_ring;
	uint16_t i, first = 0;

	for (i = 0; i < n; i++) {
		struct rte_mbuf *m = pkts[i];
		bool out_of_tunnel = number_of(m) != 0;

		/* What is in a tunnel may fit as well as what is around it. */
		if (!out_of_tunnel && (ring->open.number != 0 || !fits(w->live, in, m) || !has_room(w->live, ring)))
			continue;
		if (i > first)
			xv_pipeline_walk(w, in, queue, binding, &pkts[first], (uint16_t)(i - first));
		first = (uint16_t)(i + 1);
		if (out_of_tunnel) {
			xv_live_note(w, m, XV_LIVE_RECEIVED, in->id, 0);
			xv_live_look(w, m);
			xv_pipeline_walk(w, in, queue, binding, &m, 1);
		} else {
			record_begin(w, in, queue, m);
			xv_pipeline_walk(w, in, queue, binding, &m, 1);
			record_end(ring);
		}
	}
	if (n > first)
		xv_pipeline_walk(w, in, queue, binding, &pkts[first], (uint16_t)(n - first));
}

/* ---- Stages that have more to say ---- */

void xv_live_fused(struct xv_worker *w, const struct rte_mbuf *m, const struct xv_fused_entry *e)
{
	uint64_t ids[XV_TRAIL_MAX];
	unsigned int i;

	for (i = 0; i < e->trail->n; i++)
		ids[i] = e->trail->flows[i]->id;
	xv_live_note_data(w, m, XV_LIVE_FUSED, 0, ids, (uint8_t)(i * sizeof(ids[0])));
}

void xv_live_decided(struct xv_worker *w, const struct rte_mbuf *m, const struct xv_decision *decision)
{
	char origin[XV_FLOW_ORIGIN_LEN];

	xv_live_note_data(w, m, XV_LIVE_DECIDED, (uint32_t)decision->type, origin,
			  (uint8_t)(xv_decision_origin(decision, origin) + 1));
}

/* ---- Out ---- */

bool xv_live_output(struct xv_worker *w, const struct xv_output *out, struct rte_mbuf *const *pkts, uint16_t n)
{
	bool any = false;
	uint16_t i;

	for (i = 0; i < n; i++) {
		if (number_of(pkts[i]) == 0)
			continue;
		any = true;
		xv_live_look(w, pkts[i]);
		xv_live_note(w, pkts[i], XV_LIVE_OUTPUT, out->port->id, out->queue);
	}
	return any;
}

void xv_live_waits(struct xv_worker *w, const struct xv_output *out)
{
	uint32_t open = ((struct xv_live_ring *)w->live_ring)->open.number;
	uint16_t i;

	for (i = 0; i < out->n; i++)
		if (open != 0 && number_of(out->pkts[i]) == open)
			xv_live_note(w, out->pkts[i], XV_LIVE_WAITS, out->port->id, out->queue);
}

void xv_live_before_send(struct rte_mbuf *const *pkts, uint16_t n, uint32_t *numbers)
{
	uint16_t i;

	for (i = 0; i < n; i++)
		numbers[i] = number_of(pkts[i]);
}

void xv_live_sent(struct xv_worker *w, const struct xv_output *out, const uint32_t *numbers, uint16_t sent)
{
	uint16_t i;

	for (i = 0; i < sent; i++)
		if (numbers[i] != 0)
			note(w, numbers[i], XV_LIVE_SENT, out->port->id, out->queue, NULL, 0);
}

/* ---- Control thread ---- */

unsigned int xv_live_ring_take(struct xv_live_ring *ring, unsigned int max,
			       void (*fn)(const struct xv_live_record *record, void *arg), void *arg)
{
	uint32_t at = atomic_load_explicit(&ring->read, memory_order_relaxed);
	uint32_t n = atomic_load_explicit(&ring->written, memory_order_acquire) - at, i;

	n = RTE_MIN(n, max);
	for (i = 0; i < n; i++)
		fn(&ring->records[(at + i) % XV_LIVE_ROOM], arg);
	atomic_store_explicit(&ring->read, at + n, memory_order_release);
	return n;
}
