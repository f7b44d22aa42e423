/* SPDX-License-Identifier: Apache-2.0 */
#include "net/packet_share.h"

#include <errno.h>
#include <string.h>

#include "net/packet.h"

/* The private area is not DPDK's to copy. */
static void copy_request(struct rte_mbuf *to, struct rte_mbuf *from)
{
	if (from->ol_flags & XV_PACKET_OFFLOAD)
		*xv_packet_offload(to) = *xv_packet_offload(from);
	xv_packet_inherit_trace(to, from);
}

static void copy_metadata(struct rte_mbuf *to, struct rte_mbuf *from)
{
	to->port = from->port;
	to->vlan_tci = from->vlan_tci;
	to->vlan_tci_outer = from->vlan_tci_outer;
	to->tx_offload = from->tx_offload;
	to->hash = from->hash;
	to->packet_type = from->packet_type;
	to->ol_flags = from->ol_flags & ~(RTE_MBUF_F_INDIRECT | RTE_MBUF_F_EXTERNAL);
	rte_mbuf_dynfield_copy(to, from);
	copy_request(to, from);
}

struct rte_mbuf *xv_packet_clone(struct rte_mbuf *m, struct rte_mempool *pool)
{
	struct rte_mbuf *clone = rte_pktmbuf_clone(m, pool);

	if (clone)
		copy_request(clone, m);
	return clone;
}

struct rte_mbuf *xv_packet_unlend(struct rte_mbuf *m, struct rte_mempool *pool)
{
	struct rte_mbuf *copy;

	if (!xv_packet_is_lent(m))
		return m;
	copy = rte_pktmbuf_copy(m, pool, 0, UINT32_MAX);
	if (copy == NULL)
		return NULL;
	copy_metadata(copy, m);
	rte_pktmbuf_free(m);
	return copy;
}

/* Put a chain, less the n bytes that its first segment begins with, behind head. */
static void append_rest(struct rte_mbuf *head, struct rte_mbuf *rest, uint16_t n)
{
	rest->ol_flags &= ~XV_PACKET_OFFLOAD;
	if (n < rest->data_len) {
		rest->data_off += n;
		rest->data_len -= n;
		head->next = rest;
		head->nb_segs = (uint16_t)(rest->nb_segs + 1);
	} else {
		head->next = rest->next;
		head->nb_segs = rest->nb_segs;
		rest->next = NULL;
		rest->nb_segs = 1;
		rte_pktmbuf_free_seg(rest);
	}
}

struct rte_mbuf *xv_packet_own(struct rte_mbuf *m, struct rte_mempool *pool)
{
	struct rte_mbuf *head, *rest = m;
	uint16_t n;

	if (xv_packet_writable(m))
		return m;
	head = rte_pktmbuf_alloc(pool);
	if (!head)
		return NULL;
	n = RTE_MIN(RTE_MIN(m->data_len, XV_PACKET_OWN_BYTES), rte_pktmbuf_tailroom(head));
	copy_metadata(head, m);
	memcpy(rte_pktmbuf_mtod(head, void *), rte_pktmbuf_mtod(m, const void *), n);
	head->data_len = n;
	head->pkt_len = m->pkt_len;
	if (n == m->pkt_len) {
		rte_pktmbuf_free(m);
		return head;
	}
	/*
	 * A chain that others hold too must stay as it is: references to its segments take its place. One that is
	 * ours, though its bytes are not, is cut at the front.
	 */
	if (rte_mbuf_refcnt_read(m) != 1) {
		rest = rte_pktmbuf_clone(m, pool);
		if (!rest) {
			rte_pktmbuf_free(head);
			return NULL;
		}
		rte_pktmbuf_free(m);
	}
	append_rest(head, rest, n);
	return head;
}

int xv_packet_pull(struct rte_mbuf *m, uint16_t n, struct rte_mempool *pool)
{
	while (m->data_len < n && m->next != NULL) {
		struct rte_mbuf *rest = m->next;
		uint16_t take = RTE_MIN((uint16_t)(n - m->data_len), rest->data_len);

		take = RTE_MIN(take, rte_pktmbuf_tailroom(m));
		if (take == 0 && rest->data_len > 0)
			return 0;
		if (rte_mbuf_refcnt_read(rest) != 1) {
			rest = rte_pktmbuf_clone(rest, pool);
			if (rest == NULL)
				return -ENOMEM;
			rte_pktmbuf_free(m->next);
			m->next = rest;
		}
		memcpy(rte_pktmbuf_mtod_offset(m, void *, m->data_len), rte_pktmbuf_mtod(rest, const void *), take);
		m->data_len = (uint16_t)(m->data_len + take);
		rest->data_off = (uint16_t)(rest->data_off + take);
		rest->data_len = (uint16_t)(rest->data_len - take);
		if (rest->data_len > 0)
			continue;
		m->next = rest->next;
		m->nb_segs--;
		rest->next = NULL;
		rest->nb_segs = 1;
		rte_pktmbuf_free_seg(rest);
	}
	return 0;
}

void xv_packet_cut(struct rte_mbuf *m, uint32_t len)
{
	uint32_t cut = m->pkt_len - len;

	m->ol_flags &= ~XV_PACKET_OFFLOAD;
	while (cut > 0) {
		struct rte_mbuf *last = rte_pktmbuf_lastseg(m);
		uint16_t here = (uint16_t)RTE_MIN(cut, (uint32_t)last->data_len);

		if (here == last->data_len && last != m) {
			struct rte_mbuf *at = m;

			while (at->next != last)
				at = at->next;
			at->next = NULL;
			m->nb_segs--;
			rte_pktmbuf_free_seg(last);
		} else {
			last->data_len = (uint16_t)(last->data_len - here);
		}
		m->pkt_len -= here;
		cut -= here;
	}
}
