/* SPDX-License-Identifier: Apache-2.0 */
#include "fastpath/upcall.h"

#include <string.h>

#include "fastpath/live_state.h"
#include "fastpath/upcall_state.h"
#include "fastpath/worker_state.h"
#include "port/eal.h"

_Atomic bool xv_upcalls_listened, xv_upcalls_idle;
_Atomic uint32_t xv_upcalls_waiting[XV_MAX_PORTS];

void xv_upcall_send(struct xv_worker *w, struct rte_mbuf *m, const struct xv_flow_key *key, enum xv_upcall_type type,
		    const void *data, uint32_t bytes)
{
	uint16_t port_id = m->port;
	struct xv_upcall *u;
	struct rte_mbuf *buf;

	if (!atomic_load_explicit(&xv_upcalls_listened, memory_order_relaxed)) {
		xv_packet_drop(w, m, XV_DROP_UPCALL_NOBODY);
		return;
	}
	m = xv_packet_keep(w, m);
	if (unlikely(m == NULL))
		return;
	if (atomic_fetch_add_explicit(&xv_upcalls_waiting[port_id], 1, memory_order_relaxed) >= XV_UPCALLS_PER_PORT) {
		xv_packet_drop(w, m, XV_DROP_UPCALL_FULL);
		goto give_back;
	}
	buf = rte_pktmbuf_alloc(xv_packet_pool());
	if (unlikely(buf == NULL || sizeof(*u) + bytes > rte_pktmbuf_tailroom(buf))) {
		xv_packet_drop(w, m, XV_DROP_NO_BUFFER);
		rte_pktmbuf_free(buf);
		goto give_back;
	}
	u = xv_upcall_of(buf);
	u->buf = buf;
	u->m = m;
	u->key = *key;
	u->port_id = port_id;
	u->type = (uint8_t)type;
	u->bytes = bytes;
	memcpy(u->data, data, bytes);
	if (unlikely(rte_ring_sp_enqueue(w->upcalls, buf) != 0)) {
		xv_packet_drop(w, m, XV_DROP_UPCALL_FULL);
		rte_pktmbuf_free(buf);
		goto give_back;
	}
	count(&w->counters[port_id].punts, 1);
	w->upcalls_sent = true;
	return;

give_back:
	atomic_fetch_sub_explicit(&xv_upcalls_waiting[port_id], 1, memory_order_relaxed);
}
