/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Burst receive and send on a split ring (virtio 1.2, section 2.7). Compiled by split.c as it is and by
 * split_avx512.c with XV_AVX512; XV_SPLIT(name) gives each its own symbols.
 */
#include "virtio/vring_burst.h"

#define GROUP 8 /* descriptors that the vector code looks at together */

/* How many entries the guest has made available; reads its index only when n are not known to be. */
static inline uint16_t split_available(struct xv_vring *vq, uint16_t n)
{
	uint16_t avail = (uint16_t)(vq->avail_seen - vq->avail_idx);

	if (avail >= n)
		return avail;
	vq->avail_seen = __atomic_load_n(&vq->avail->idx, __ATOMIC_ACQUIRE);
	avail = (uint16_t)(vq->avail_seen - vq->avail_idx);
	if (unlikely(avail > vq->size)) {
		xv_vring_break(vq, XV_VRING_BAD_AVAIL);
		return 0;
	}
	return avail;
}

/* Lines of the ring that the next burst will need, if the guest has filled them already. */
static inline void split_prefetch_next(const struct xv_vring *vq, uint16_t next, uint16_t n)
{
	const uint16_t mask = vq->size - 1;
	uint16_t i, left = (uint16_t)(vq->avail_seen - next);

	if (left < n)
		return;
	for (i = 0; i < n; i += 32)
		__builtin_prefetch(&vq->avail->ring[(next + i) & mask]);
	if (vq->in_order)
		for (i = 0; i < n; i += 4)
			__builtin_prefetch(&vq->desc[(next + i) & mask]);
}

#ifdef XV_AVX512
/*
 * Eight descriptors at once: eight ring entries that follow each other (in-order drivers, and most of
 * the others most of the time), flags as wanted, all in the region last hit. Returns false when any lane
 * differs: the caller goes on one by one.
 */
static inline bool split_gather_group(const struct xv_vring *vq, uint16_t at, uint16_t flags,
				      uint8_t **vas, uint32_t *lens, uint16_t *heads)
{
	const uint16_t mask = vq->size - 1;
	const __m512i even = _mm512_set_epi64(14, 12, 10, 8, 6, 4, 2, 0);
	const __m512i odd = _mm512_set_epi64(15, 13, 11, 9, 7, 5, 3, 1);
	uint16_t slot = at & mask;
	__m128i ids, expected;
	__m512i low, high, addr, rest, offset, len;
	uint16_t first;

	if (slot + GROUP > vq->size)
		return false;
	ids = _mm_loadu_si128((const __m128i *)(const void *)&vq->avail->ring[slot]);
	first = (uint16_t)_mm_extract_epi16(ids, 0);
	expected = _mm_add_epi16(_mm_set1_epi16((short)first), _mm_set_epi16(7, 6, 5, 4, 3, 2, 1, 0));
	if (_mm_cmpneq_epi16_mask(ids, expected) != 0 || (uint32_t)first + GROUP > vq->size)
		return false;
	low = _mm512_loadu_si512(&vq->desc[first]);
	high = _mm512_loadu_si512(&vq->desc[first + 4]);
	addr = _mm512_permutex2var_epi64(low, even, high);
	rest = _mm512_permutex2var_epi64(low, odd, high); /* len | flags << 32 | next << 48 */
	len = _mm512_and_si512(rest, _mm512_set1_epi64(UINT32_MAX));
	if (_mm512_cmpneq_epi64_mask(
		    _mm512_and_si512(rest, _mm512_set1_epi64((int64_t)UINT64_C(0xffff) << 32)),
		    _mm512_set1_epi64((int64_t)((uint64_t)flags << 32))) != 0)
		return false;
	/* Inside the region: offset < size and len <= size - offset. */
	offset = _mm512_sub_epi64(addr, _mm512_set1_epi64((int64_t)vq->region_gpa));
	if (_mm512_cmpge_epu64_mask(offset, _mm512_set1_epi64((int64_t)vq->region_size)) != 0 ||
	    _mm512_cmpgt_epu64_mask(
		    len, _mm512_sub_epi64(_mm512_set1_epi64((int64_t)vq->region_size), offset)) != 0)
		return false;
	_mm512_storeu_si512(vas, _mm512_add_epi64(offset, _mm512_set1_epi64((int64_t)(uintptr_t)
										    vq->region_hva)));
	_mm256_storeu_si256((__m256i *)(void *)lens, _mm512_cvtepi64_epi32(len));
	_mm_storeu_si128((__m128i *)(void *)heads, ids);
	return true;
}
#endif

/*
 * Read up to n available descriptors that stand alone with exactly these flags, within the region last
 * hit. Stops at the first that is anything else. n never exceeds what is available.
 */
static inline unsigned int split_gather(struct xv_vring *vq, uint16_t flags, unsigned int n,
					uint8_t **vas, uint32_t *lens, uint16_t *heads)
{
	const uint16_t mask = vq->size - 1;
	unsigned int i = 0;

	while (i < n) {
		const volatile uint64_t *desc;
		uint64_t addr, rest;

#ifdef XV_AVX512
		if (likely(n - i >= GROUP) &&
		    likely(split_gather_group(vq, (uint16_t)(vq->avail_idx + i), flags, &vas[i], &lens[i],
					      &heads[i]))) {
			i += GROUP;
			continue;
		}
#endif
		heads[i] = *(const volatile uint16_t *)&vq->avail->ring[(vq->avail_idx + i) & mask];
		if (unlikely(heads[i] >= vq->size))
			break;
		desc = (const volatile uint64_t *)(const volatile void *)&vq->desc[heads[i]];
		addr = desc[0];
		rest = desc[1];
		lens[i] = (uint32_t)rest;
		if ((uint16_t)(rest >> 32) != flags)
			break;
		vas[i] = translate(vq, addr, lens[i]);
		if (unlikely(vas[i] == NULL))
			break;
		i++;
	}
	return i;
}

/* Give n descriptors back; lens NULL: zero (buffers that we only read). The index moves later. */
static inline void split_put_used(struct xv_vring *vq, const uint16_t *heads, const uint32_t *lens,
				  unsigned int n)
{
	const uint16_t mask = vq->size - 1;
	unsigned int i;

	for (i = 0; i < n; i++) {
		uint64_t elem = heads[i] | (lens != NULL ? (uint64_t)lens[i] << 32 : 0);

		memcpy(&vq->used->ring[(vq->used_idx + i) & mask], &elem, sizeof(elem));
	}
	vq->used_idx = (uint16_t)(vq->used_idx + n);
}

/* Make used entries visible: log, index, notification. `from`: used_idx when the burst began. */
static inline void split_publish(struct xv_vring *vq, uint16_t from)
{
	uint16_t published = (uint16_t)(vq->used_idx - from);

	if (published == 0)
		return;
	__atomic_store_n(&vq->used->idx, vq->used_idx, __ATOMIC_RELEASE);
	if (unlikely(vq->log != NULL) && vq->log_used_gpa != UINT64_MAX)
		xv_dirty_log_mark(vq->log, vq->log_used_gpa,
				  sizeof(struct vring_used) +
					  (uint64_t)vq->size * sizeof(struct vring_used_elem));
	xv_vring_notify(vq, published);
}

#ifndef XV_AVX512
void xv_split_return(struct xv_vring *vq)
{
	split_publish(vq, vq->lending.from);
}
#endif

/*
 * Receive one packet whatever its chain looks like. 1: *pkt; 0: it was dropped for its header; -1:
 * nothing was taken (ring broken, or no packet memory).
 */
static __attribute__((noinline)) int split_recv_one(struct xv_vring *vq, uint16_t head,
						    struct rte_mbuf **pkt)
{
	struct xv_pieces pieces;
	enum xv_vring_error error;
	int rc;

	pieces.n = 0;
	pieces.bytes = 0;
	error = xv_chain_walk_split(vq, head, false, &pieces);
	if (error == XV_VRING_OK && pieces.bytes < vq->hdr_len)
		error = XV_VRING_BAD_LENGTH;
	if (error != XV_VRING_OK) {
		xv_vring_break(vq, error);
		return -1;
	}
	rc = xv_chain_to_packet(vq, &pieces, pkt);
	if (rc == -ENOBUFS) {
		xv_vring_count(&vq->no_mbuf);
		return -1;
	}
	if (vq->inflight != NULL)
		xv_inflight_take_split(vq->inflight, head);
	vq->avail_idx++;
	if (!vq->in_order)
		split_put_used(vq, &head, NULL, 1);
	else
		vq->used_idx++; /* the entry is written by the caller, once for the burst */
	if (rc != 0)
		xv_vring_count(&vq->bad_headers);
	return rc == 0;
}

uint16_t XV_SPLIT(recv)(struct xv_vring *vq, struct rte_mbuf **pkts, uint16_t n)
{
	uint16_t from = vq->used_idx, avail, done = 0, last_head = 0;
	uint8_t *vas[XV_BURST];
	uint32_t lens[XV_BURST];
	uint16_t heads[XV_BURST];
	/* With a log each packet is written down on its own: no burst. */
	const bool careful = vq->inflight != NULL;

	if (unlikely(xv_vring_is_broken(vq)))
		return 0;
	/* Also a bound for frames that are dropped for their headers: one call, one burst. */
	n = RTE_MIN(n, (uint16_t)XV_BURST);
	avail = split_available(vq, n);
	avail = RTE_MIN(avail, n);
	while (done < n && avail > 0) {
		unsigned int i, k = 0;
		uint16_t head;
		int one;

		if (likely(!careful))
			k = split_gather(vq, 0, RTE_MIN((uint16_t)(n - done), avail), vas, lens, heads);
		for (i = 0; i < k; i++) {
			/* Alone, but too short for anything or too long for one buffer: the slow way. */
			if (unlikely(lens[i] - vq->hdr_len - 1u >= XV_PACKET_DATA_BYTES))
				break;
			/* The frame mostly begins a line after its header. */
			__builtin_prefetch(vas[i]);
			__builtin_prefetch(vas[i] + 64);
		}
		k = i;
		if (likely(k > 0)) {
			if (unlikely(rte_mempool_get_bulk(vq->pool, (void **)&pkts[done], k) != 0)) {
				xv_vring_count(&vq->no_mbuf);
				break;
			}
			for (i = 0; i < k; i++)
				rte_prefetch0(&pkts[done + i]->rearm_data);
			split_prefetch_next(vq, (uint16_t)(vq->avail_idx + k), (uint16_t)k);
			done += copy_from_guest(vq, &pkts[done], vas, lens, k);
			vq->avail_idx = (uint16_t)(vq->avail_idx + k);
			avail = (uint16_t)(avail - k);
			if (vq->in_order)
				vq->used_idx = (uint16_t)(vq->used_idx + k);
			else
				split_put_used(vq, heads, NULL, k);
			last_head = heads[k - 1];
			if (done == n || avail == 0)
				break;
		}
		head = *(const volatile uint16_t *)&vq->avail->ring[vq->avail_idx & (vq->size - 1)];
		one = split_recv_one(vq, head, &pkts[done]);
		if (one < 0)
			break;
		last_head = head;
		done = (uint16_t)(done + one);
		avail--;
		if (careful) {
			xv_inflight_put_split(vq->inflight, last_head);
			if (vq->in_order) {
				uint64_t elem = last_head;

				memcpy(&vq->used->ring[from & (vq->size - 1)], &elem, sizeof(elem));
			}
			split_publish(vq, from);
			xv_inflight_done_split(vq->inflight, last_head, vq->used_idx);
			from = vq->used_idx;
		}
		if (vq->lent && vq->lending.bytes >= XV_LEND_BURST_BYTES)
			break;
	}
	if (vq->in_order && vq->used_idx != from) {
		/* 2.7.9: one used entry, with the last head, stands for the whole batch. */
		uint64_t elem = last_head;

		memcpy(&vq->used->ring[from & (vq->size - 1)], &elem, sizeof(elem));
	}
	if (unlikely(vq->lent))
		vq->lending.from = from; /* the entries are there, but the guest does not see them yet */
	else
		split_publish(vq, from);
	return done;
}

/*
 * Send one packet into one chain, or into as many as it takes with mergeable buffers. True if it went;
 * else nothing was taken and *why says why.
 */
static __attribute__((noinline)) bool split_send_one(struct xv_vring *vq, struct rte_mbuf *m,
						     enum xv_vring_reject *why)
{
	const uint16_t mask = vq->size - 1;
	uint32_t need = vq->hdr_len + rte_pktmbuf_pkt_len(m), filled = 0;
	uint16_t heads[XV_CHAIN_MAX], n = 0, i, avail;
	uint32_t lens[XV_CHAIN_MAX];
	struct xv_pieces pieces;

	if ((m->ol_flags & XV_PACKET_OFFLOAD) != 0 &&
	    (xv_offload_caps(xv_packet_offload(m)) & ~vq->caps) != 0) {
		*why = XV_VRING_OFFLOAD;
		return false;
	}
	pieces.n = 0;
	pieces.bytes = 0;
	avail = split_available(vq, vq->size);
	if (unlikely(xv_vring_is_broken(vq))) {
		*why = XV_VRING_DEAD;
		return false;
	}
	while (filled < need) {
		enum xv_vring_error error;
		uint32_t before = pieces.bytes;

		if (n == XV_CHAIN_MAX || (n == 1 && !vq->mergeable)) {
			*why = XV_VRING_TOO_LONG;
			return false;
		}
		if (n == avail) {
			*why = n == vq->size ? XV_VRING_TOO_LONG : XV_VRING_FULL;
			return false;
		}
		heads[n] = *(const volatile uint16_t *)&vq->avail->ring[(vq->avail_idx + n) & mask];
		error = xv_chain_walk_split(vq, heads[n], true, &pieces);
		if (error == XV_VRING_OK &&
		    (pieces.bytes == before || (n == 0 && pieces.bytes < vq->hdr_len)))
			error = XV_VRING_BAD_LENGTH;
		if (error != XV_VRING_OK) {
			*why = send_failed(vq, error, &pieces, n);
			return false;
		}
		lens[n] = RTE_MIN(pieces.bytes - before, need - filled);
		filled += lens[n];
		n++;
	}
	if (vq->inflight != NULL)
		for (i = 0; i < n; i++)
			xv_inflight_take_split(vq->inflight, heads[i]);
	xv_packet_to_chain(vq, &pieces, m, n);
	vq->avail_idx = (uint16_t)(vq->avail_idx + n);
	split_put_used(vq, heads, lens, n);
	if (vq->inflight != NULL) {
		for (i = 0; i < n; i++)
			xv_inflight_put_split(vq->inflight, heads[i]);
		split_publish(vq, (uint16_t)(vq->used_idx - n));
		for (i = 0; i < n; i++)
			xv_inflight_done_split(vq->inflight, heads[i], vq->used_idx);
	}
	return true;
}

uint16_t XV_SPLIT(send)(struct xv_vring *vq, struct rte_mbuf **pkts, uint16_t n,
			enum xv_vring_reject *why)
{
	uint16_t from = vq->used_idx, avail, done = 0;
	uint8_t *vas[XV_BURST];
	uint32_t lens[XV_BURST];
	uint16_t heads[XV_BURST];
	const bool careful = vq->log != NULL || vq->inflight != NULL;

	*why = XV_VRING_FULL;
	if (unlikely(xv_vring_is_broken(vq))) {
		*why = XV_VRING_DEAD;
		return 0;
	}
	n = RTE_MIN(n, XV_BURST);
	avail = split_available(vq, n);
	if (unlikely(avail == 0 && xv_vring_is_broken(vq)))
		*why = XV_VRING_DEAD;
	while (done < n && avail > 0) {
		unsigned int i, k, simple, most = RTE_MIN((uint16_t)(n - done), avail);

		for (simple = 0; simple < most && packet_is_simple(pkts[done + simple]); simple++)
			;
		k = careful ? 0 : split_gather(vq, VRING_DESC_F_WRITE, simple, vas, lens, heads);
		for (i = 0; i < k; i++) {
			uint32_t need = vq->hdr_len + pkts[done + i]->pkt_len;

			if (unlikely(lens[i] < need))
				break;
			lens[i] = need;
			prefetch_for_write(vas[i]);
			prefetch_for_write(vas[i] + 64);
		}
		k = i;
		if (likely(k > 0)) {
			split_prefetch_next(vq, (uint16_t)(vq->avail_idx + k), (uint16_t)k);
			for (i = 0; i < k; i += 8)
				prefetch_for_write(&vq->used->ring[(vq->used_idx + i) & (vq->size - 1)]);
			copy_to_guest(vq, &pkts[done], vas, k);
			packets_free(&pkts[done], k);
			vq->avail_idx = (uint16_t)(vq->avail_idx + k);
			split_put_used(vq, heads, lens, k);
			done = (uint16_t)(done + k);
			avail = (uint16_t)(avail - k);
			if (done == n || avail == 0)
				break;
		}
		if (!split_send_one(vq, pkts[done], why))
			break;
		if (careful && vq->inflight != NULL)
			from = vq->used_idx; /* published already */
		rte_pktmbuf_free(pkts[done]);
		done++;
		avail = (uint16_t)(vq->avail_seen - vq->avail_idx);
	}
	split_publish(vq, from);
	return done;
}
