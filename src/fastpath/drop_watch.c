/* SPDX-License-Identifier: Apache-2.0 */
#include "fastpath/drop_watch.h"

#include <string.h>

#include "fastpath/worker_state.h"

_Atomic uint64_t xv_drop_watched;

void xv_drop_watch(uint64_t reasons)
{
	atomic_store_explicit(&xv_drop_watched, reasons, memory_order_relaxed);
}

void xv_drop_note(struct xv_worker *w, struct rte_mbuf *m, enum xv_drop reason)
{
	struct xv_drop_ring *ring = w->drop_ring;
	uint32_t at = atomic_load_explicit(&ring->written, memory_order_relaxed);
	struct xv_drop_record *record = &ring->records[at % XV_DROP_WATCH_ROOM];

	if (at - atomic_load_explicit(&ring->read, memory_order_acquire) == XV_DROP_WATCH_ROOM) {
		count(&ring->missed, 1);
		return;
	}
	record->cycles = w->now;
	record->packet_bytes = rte_pktmbuf_pkt_len(m);
	record->port = m->port;
	record->reason = (uint8_t)reason;
	record->n = (uint8_t)RTE_MIN(rte_pktmbuf_data_len(m), (uint16_t)XV_DROP_WATCH_BYTES);
	memcpy(record->bytes, rte_pktmbuf_mtod(m, const uint8_t *), record->n);
	atomic_store_explicit(&ring->written, at + 1, memory_order_release);
}

uint64_t xv_drop_ring_take(struct xv_drop_ring *ring, uint64_t *missed_before,
			   void (*fn)(const struct xv_drop_record *record, void *arg), void *arg)
{
	uint32_t at = atomic_load_explicit(&ring->read, memory_order_relaxed);
	uint32_t end = atomic_load_explicit(&ring->written, memory_order_acquire);
	uint64_t missed = atomic_load_explicit(&ring->missed, memory_order_relaxed), more = missed - *missed_before;

	for (; at != end; at++)
		fn(&ring->records[at % XV_DROP_WATCH_ROOM], arg);
	atomic_store_explicit(&ring->read, at, memory_order_release);
	*missed_before = missed;
	return more;
}
