/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the burst functions of both rings share: guest notification, packet buffers, copies. Included by
 * split_burst.h and packed_burst.h, which are compiled twice: plain, and with AVX-512 (XV_AVX512).
 *
 * Shape of all of them: first read, check and translate a whole burst of descriptors into local arrays,
 * prefetching sources for reading and destinations for writing; then copy; then publish once.
 */
#pragma once

#include <stddef.h>
#include <string.h>

#include <rte_mempool.h>
#include <rte_prefetch.h>

#ifdef XV_AVX512
#include <immintrin.h>
#endif

#include "virtio/chain.h"
#include "virtio/dirty_log.h"
#include "virtio/inflight.h"
#include "virtio/ring_place.h"
#include "virtio/vnet_hdr.h"
#include "virtio/vring_ops.h"

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* Our address of a buffer in the region that was hit last; NULL: another region, or none. */
static inline uint8_t *translate_fast(const struct xv_vring *vq, uint64_t gpa, uint32_t len)
{
	uint64_t offset = gpa - vq->region_gpa;

	if (unlikely(offset >= vq->region_size || len > vq->region_size - offset))
		return NULL;
	return vq->region_hva + offset;
}

/* The same, and look in the other regions too. */
static inline uint8_t *translate(struct xv_vring *vq, uint64_t gpa, uint32_t len)
{
	uint8_t *va = translate_fast(vq, gpa, len);

	if (unlikely(va == NULL) && xv_vring_use_region(vq, gpa))
		va = translate_fast(vq, gpa, len);
	return va;
}

static inline void prefetch_for_write(const void *p)
{
	__builtin_prefetch(p, 1, 3);
}

/* Exactly len bytes; frames are short more often than not, so small sizes are straight-line code. */
static inline void copy_bytes(uint8_t *to, const uint8_t *from, uint32_t len)
{
#ifdef XV_AVX512
	while (len >= 64) {
		_mm512_storeu_si512(to, _mm512_loadu_si512(from));
		to += 64;
		from += 64;
		len -= 64;
	}
	if (len > 0) {
		__mmask64 tail = _bzhi_u64(UINT64_MAX, len);

		_mm512_mask_storeu_epi8(to, tail, _mm512_maskz_loadu_epi8(tail, from));
	}
#else
	while (len >= 64) {
		memcpy(to, from, 64); /* constant sizes become vector moves */
		to += 64;
		from += 64;
		len -= 64;
	}
	if (len >= 32) {
		memcpy(to, from, 32);
		to += 32;
		from += 32;
		len -= 32;
	}
	if (len >= 16) {
		memcpy(to, from, 16);
		to += 16;
		from += 16;
		len -= 16;
	}
	if (len > 0)
		memcpy(to, from, len);
#endif
}

/*
 * The first 8 bytes of rearm_data of a plain packet: headroom, one reference, one segment; port 0.
 * mbufs in a pool have next == NULL and nb_segs == 1 (DPDK's invariant); the rest is set here.
 */
static inline uint64_t plain_rearm(void)
{
	return RTE_PKTMBUF_HEADROOM | UINT64_C(1) << 16 | UINT64_C(1) << 32;
}

static inline void packet_init(struct rte_mbuf *m, uint32_t len)
{
	const uint64_t rearm[2] = {plain_rearm(), 0 /* ol_flags */};

	memcpy((uint8_t *)m + offsetof(struct rte_mbuf, data_off), rearm, sizeof(rearm));
	m->packet_type = 0;
	m->pkt_len = len;
	m->data_len = (uint16_t)len;
	m->vlan_tci = 0;
}

/* Whether m can go back to the pool just so: alone, unshared, its own buffer. */
static inline bool packet_is_plain(const struct rte_mbuf *m)
{
	const uint64_t refs_and_segs = UINT64_C(0xffffffff) << 16;
	uint64_t rearm;

	memcpy(&rearm, (const uint8_t *)m + offsetof(struct rte_mbuf, data_off), sizeof(rearm));
	return (rearm & refs_and_segs) == (plain_rearm() & refs_and_segs) &&
	       (m->ol_flags & (RTE_MBUF_F_INDIRECT | RTE_MBUF_F_EXTERNAL)) == 0;
}

/* Free n packets at once; all of them plain and of one pool in the common case. */
static inline void packets_free(struct rte_mbuf **pkts, unsigned int n)
{
	struct rte_mempool *pool = pkts[0]->pool;
	bool plain = true;
	unsigned int i;

	for (i = 0; i < n; i++)
		plain &= packet_is_plain(pkts[i]) && pkts[i]->pool == pool;
	if (likely(plain))
		rte_mempool_put_bulk(pool, (void **)pkts, n);
	else
		rte_pktmbuf_free_bulk(pkts, n);
}

/* A frame that one descriptor can carry and that asks nothing of the guest. */
static inline bool packet_is_simple(const struct rte_mbuf *m)
{
	return m->nb_segs == 1 && (m->ol_flags & XV_PACKET_OFFLOAD) == 0;
}

/*
 * The header of a frame that asks for nothing: all zero, num_buffers 1. Written only if it differs:
 * a guest that reuses its buffers has it there already, and its line stays clean.
 */
static inline void header_write_plain(uint8_t *to, uint8_t hdr_len)
{
	uint64_t head;
	uint32_t tail;

	memcpy(&head, to, sizeof(head));
	if (head != 0)
		memset(to, 0, sizeof(head));
	if (hdr_len == sizeof(struct virtio_net_hdr)) {
		memset(to + 8, 0, 2);
		return;
	}
	memcpy(&tail, to + 8, sizeof(tail));
	if (tail != UINT32_C(1) << 16) {
		tail = UINT32_C(1) << 16;
		memcpy(to + 8, &tail, sizeof(tail));
	}
}

/*
 * Copy a burst that one descriptor each carries: vas[i], lens[i] hold header and frame. Frames with an
 * invalid header are left out. Returns the number of packets; pkts must hold n fresh mbufs, those not
 * used are freed.
 */
static inline unsigned int copy_from_guest(struct xv_vring *vq, struct rte_mbuf **pkts,
					   uint8_t *const *vas, const uint32_t *lens, unsigned int n)
{
	const uint8_t hdr_len = vq->hdr_len;
	unsigned int i, out = 0;

	for (i = 0; i < n; i++) {
		struct rte_mbuf *m = pkts[i];
		uint32_t len = lens[i] - hdr_len;
		struct xv_vnet_hdr hdr;

		packet_init(m, len);
		memcpy(&hdr.head, vas[i], sizeof(hdr.head));
		copy_bytes((uint8_t *)m->buf_addr + RTE_PKTMBUF_HEADROOM, vas[i] + hdr_len, len);
		if (unlikely((hdr.head & XV_VNET_WANTS_OFFLOAD) != 0)) {
			struct xv_offload *request = xv_packet_offload(m);

			memcpy(&hdr.csum_offset, vas[i] + 8, sizeof(hdr.csum_offset));
			if (!xv_vnet_hdr_decode(hdr, len, vq->features, request)) {
				rte_mempool_put(m->pool, m);
				xv_vring_count(&vq->bad_headers);
				continue;
			}
			if ((request->flags | request->gso_type) != 0)
				m->ol_flags = XV_PACKET_OFFLOAD;
		}
		pkts[out++] = m;
	}
	return out;
}

static inline void copy_to_guest(const struct xv_vring *vq, struct rte_mbuf **pkts,
				 uint8_t *const *vas, unsigned int n)
{
	const uint8_t hdr_len = vq->hdr_len;
	unsigned int i;

	for (i = 0; i < n; i++) {
		header_write_plain(vas[i], hdr_len);
		copy_bytes(vas[i] + hdr_len, rte_pktmbuf_mtod(pkts[i], uint8_t *),
			   pkts[i]->data_len);
	}
}

/*
 * Walking chain number n for a packet failed. That the pieces of several chains together are too many
 * is no offence; it only means that the frame does not fit.
 */
static inline enum xv_vring_reject send_failed(struct xv_vring *vq, enum xv_vring_error error,
					       const struct xv_pieces *pieces, unsigned int n)
{
	if (error == XV_VRING_BAD_CHAIN && n > 0 && pieces->n == XV_CHAIN_MAX)
		return XV_VRING_TOO_LONG;
	xv_vring_break(vq, error);
	return XV_VRING_DEAD;
}
