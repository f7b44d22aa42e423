/* SPDX-License-Identifier: Apache-2.0 */
#include "fastpath/packet_out.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <rte_ring.h>

#include "fastpath/worker_state.h"
#include "port/eal.h"

#define WAITING_MAX 1024 /* packets that are on their way to workers, or back */
#define FRAME_MAX (65535 + 18 + 512)

static unsigned int n_waiting;
struct rte_ring *xv_packet_outs_done; /* workers -> control */

int xv_packet_outs_init(void)
{
	size_t bytes = RTE_ALIGN_CEIL((size_t)rte_ring_get_memsize(2 * WAITING_MAX), RTE_CACHE_LINE_SIZE);

	xv_packet_outs_done = aligned_alloc(RTE_CACHE_LINE_SIZE, bytes);
	n_waiting = 0;
	if (xv_packet_outs_done == NULL)
		return -ENOMEM;
	return rte_ring_init(xv_packet_outs_done, "packet-out", 2 * WAITING_MAX, RING_F_SC_DEQ);
}

void xv_packet_outs_reap(void)
{
	void *p;

	while (rte_ring_sc_dequeue(xv_packet_outs_done, &p) == 0) {
		struct xv_packet_out *out = p;

		rte_pktmbuf_free(out->m); /* NULL, but for those of a worker that went */
		free(out->actions);
		free(out);
		n_waiting--;
	}
}

void xv_packet_outs_fini(void)
{
	if (xv_packet_outs_done != NULL)
		xv_packet_outs_reap();
	free(xv_packet_outs_done);
	xv_packet_outs_done = NULL;
}

/* The bytes in packet buffers; NULL: no memory. */
static struct rte_mbuf *packet(const uint8_t *data, uint32_t len)
{
	struct rte_mbuf *head = NULL, *last = NULL;

	while (len > 0 || head == NULL) {
		struct rte_mbuf *m = rte_pktmbuf_alloc(xv_packet_pool());
		uint16_t here = (uint16_t)RTE_MIN(len, (uint32_t)XV_PACKET_DATA_BYTES);

		if (m == NULL) {
			rte_pktmbuf_free(head);
			return NULL;
		}
		memcpy(rte_pktmbuf_mtod(m, void *), data, here);
		m->data_len = here;
		m->pkt_len = here;
		if (head == NULL) {
			head = m;
		} else {
			last->next = m;
			head->nb_segs++;
			head->pkt_len += here;
		}
		last = m;
		data += here;
		len -= here;
	}
	return head;
}

int xv_packet_out(uint16_t port_id, const struct xv_flow_key *key, struct xv_actions *actions, const uint8_t *data,
		  uint32_t len)
{
	struct xv_packet_out *out = NULL;
	struct xv_worker *w = NULL;
	unsigned int id;
	int rc;

	xv_packet_outs_reap();
	for (id = 0; id < XV_MAX_WORKERS && w == NULL; id++)
		w = xv_worker_by_id(id);
	rc = w == NULL ? -ENETDOWN : len > FRAME_MAX ? -EMSGSIZE : n_waiting == WAITING_MAX ? -ENOBUFS : 0;
	if (rc != 0)
		goto err_actions;
	rc = -ENOBUFS;
	out = malloc(sizeof(*out));
	if (out == NULL)
		goto err_actions;
	out->key = *key;
	out->actions = actions;
	out->m = packet(data, len);
	if (out->m == NULL)
		goto err_actions;
	out->m->port = port_id;
	if (rte_ring_sp_enqueue(w->packet_outs, out) != 0) {
		rte_pktmbuf_free(out->m);
		goto err_actions;
	}
	n_waiting++;
	xv_worker_wake(w);
	return 0;

err_actions:
	free(out);
	free(actions);
	return rc;
}
