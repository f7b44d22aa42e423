/* SPDX-License-Identifier: Apache-2.0 */
#include "net/packet_cut.h"

#include <errno.h>
#include <string.h>

#include <rte_mbuf.h>
#include <rte_mbuf_dyn.h>

#include "net/packet.h"

struct xv_cursor xv_cursor_at(const struct rte_mbuf *m, uint32_t offset)
{
	while (offset >= m->data_len && m->next) {
		offset -= m->data_len;
		m = m->next;
	}
	return (struct xv_cursor){m, offset};
}

void xv_cursor_read(struct xv_cursor *c, uint8_t *to, uint32_t len)
{
	uint32_t n;

	while (len > 0) {
		n = RTE_MIN(c->seg->data_len - c->offset, len);
		memcpy(to, rte_pktmbuf_mtod_offset(c->seg, const uint8_t *, c->offset), n);
		to += n;
		len -= n;
		c->offset += n;
		if (c->offset == c->seg->data_len && c->seg->next) {
			c->seg = c->seg->next;
			c->offset = 0;
		}
	}
}

int xv_pieces_alloc(struct rte_mbuf *m, struct rte_mempool *pool, struct rte_mbuf **out, unsigned int n)
{
	const uint64_t not_inherited = XV_PACKET_OFFLOAD | RTE_MBUF_F_INDIRECT | RTE_MBUF_F_EXTERNAL;
	struct rte_mbuf *s;
	unsigned int i;

	if (rte_pktmbuf_alloc_bulk(pool, out, n) != 0)
		return -ENOBUFS;
	for (i = 0; i < n; i++) {
		s = out[i];
		s->port = m->port;
		s->ol_flags = m->ol_flags & ~not_inherited;
		s->packet_type = m->packet_type;
		s->vlan_tci = m->vlan_tci;
		s->vlan_tci_outer = m->vlan_tci_outer;
		s->hash = m->hash;
		rte_mbuf_dynfield_copy(s, m);
		xv_packet_inherit_trace(s, m);
	}
	return 0;
}

int xv_piece_fill(struct rte_mbuf *piece, struct rte_mempool *pool, const uint8_t *headers, uint32_t header_len,
		  struct xv_cursor *c, uint32_t len)
{
	struct rte_mbuf *last = piece;
	uint32_t n;

	memcpy(rte_pktmbuf_mtod(piece, uint8_t *), headers, header_len);
	piece->data_len = (uint16_t)header_len;
	piece->pkt_len = header_len + len;
	for (;;) {
		n = RTE_MIN(len, (uint32_t)rte_pktmbuf_tailroom(last));
		xv_cursor_read(c, rte_pktmbuf_mtod_offset(last, uint8_t *, last->data_len), n);
		last->data_len = (uint16_t)(last->data_len + n);
		len -= n;
		if (len == 0)
			return 0;
		last->next = rte_pktmbuf_alloc(pool);
		if (!last->next)
			return -ENOBUFS;
		last = last->next;
		piece->nb_segs++;
	}
}
