/* SPDX-License-Identifier: Apache-2.0 */
/*
 * To make several packets of one (segments, fragments): fresh mbufs with copied headers and payload, not references
 * into the packet: they go to rings and devices that copy or read them once, and nothing has to be counted or kept
 * alive. The packet itself is only read: it may be shared. Packet threads.
 */
#pragma once

#include <stdint.h>

struct rte_mbuf;
struct rte_mempool;

/* Where to read on in a chain. */
struct xv_cursor {
	const struct rte_mbuf *seg;
	uint32_t offset;
};

struct xv_cursor xv_cursor_at(const struct rte_mbuf *m, uint32_t offset);
/* The caller knows that the chain has len bytes more. */
void xv_cursor_read(struct xv_cursor *c, uint8_t *to, uint32_t len);

/* n fresh mbufs that carry m's metadata, but for its request. 0 or -ENOBUFS. */
int xv_pieces_alloc(struct rte_mbuf *m, struct rte_mempool *pool, struct rte_mbuf **out, unsigned int n);
/* Write header_len bytes of headers (they fit into one mbuf) and len bytes of payload from c on into the fresh mbuf
 * piece, which becomes a chain where needed. 0 or -ENOBUFS: what is in it then is freed with it. */
int xv_piece_fill(struct rte_mbuf *piece, struct rte_mempool *pool, const uint8_t *headers, uint32_t header_len,
		  struct xv_cursor *c, uint32_t len);
