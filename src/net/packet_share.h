/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packets that share their bytes: with flooding and cloning, several packets (or several holders of one) refer to the
 * same payload. Bytes that somebody else may read are never written; who wants to edit headers takes a head of its own
 * first, and the payload stays shared. Packet threads; reference counts are atomic, so sharers may be on other threads.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <rte_mbuf.h>

/* Bytes of the first segment that xv_packet_own() copies, at most: all headers that a flow key describes. */
#define XV_PACKET_OWN_BYTES 256

/* Whether m itself and the bytes of its first segment are the caller's alone. */
static inline bool xv_packet_writable(const struct rte_mbuf *m)
{
	if (rte_mbuf_refcnt_read(m) != 1 || RTE_MBUF_CLONED(m))
		return false;
	return !RTE_MBUF_HAS_EXTBUF(m) || rte_mbuf_ext_refcnt_read(m->shinfo) == 1;
}

/*
 * The packet m with a writable first segment: m itself if it is writable already, else a packet with a new first
 * segment from pool, which has the first XV_PACKET_OWN_BYTES bytes of m's (or all, if there are fewer) and full
 * headroom; everything behind stays shared. Metadata and the offload request go along. Takes the caller's reference
 * to m. NULL if out of packet memory: m is untouched and still the caller's.
 */
struct rte_mbuf *xv_packet_own(struct rte_mbuf *m, struct rte_mempool *pool);

/* Whether some of m's bytes are lent, by a guest (virtio/lending.h). Those of its first buffer never are. */
static inline bool xv_packet_is_lent(const struct rte_mbuf *m)
{
	for (m = m->next; m != NULL; m = m->next)
		if (RTE_MBUF_HAS_EXTBUF(m))
			return true;
	return false;
}

/*
 * The packet m without lent bytes: m itself if it has none, else a copy of all of it. Takes the caller's reference to m. NULL if
 * out of packet memory: m is untouched and still the caller's.
 */
struct rte_mbuf *xv_packet_unlend(struct rte_mbuf *m, struct rte_mempool *pool);

/* As rte_pktmbuf_read(), but what it returns does not change while it is looked at. */
static inline const void *xv_packet_read(const struct rte_mbuf *m, uint32_t offset, uint32_t len, void *buf)
{
	const void *bytes = rte_pktmbuf_read(m, offset, len, buf);

	if (bytes == NULL || bytes == buf || offset < m->data_len)
		return bytes;
	return memcpy(buf, bytes, len);
}

/*
 * Another packet with m's bytes, shared, and m's metadata and offload request. m stays the caller's; neither is
 * writable while both are there. NULL if out of packet memory.
 */
struct rte_mbuf *xv_packet_clone(struct rte_mbuf *m, struct rte_mempool *pool);

/*
 * Bring the first n bytes of m together (or all, if there are fewer) in its first segment, which is the caller's alone and has
 * room. 0, or -ENOMEM, with m as long as before.
 */
int xv_packet_pull(struct rte_mbuf *m, uint16_t n, struct rte_mempool *pool);

/* Cut m, whose first segment is the caller's alone, to its first len bytes; it is longer. An offload request goes: what is left
 * promises nothing any more. */
void xv_packet_cut(struct rte_mbuf *m, uint32_t len);
