/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Burst receive and send on a packed ring (virtio 1.2, section 2.8). Compiled by packed.c as it is and by
 * packed_avx512.c with XV_AVX512; XV_PACKED(name) gives each its own symbols.
 *
 * We give descriptors back in the order in which they came, so the place where a used descriptor is
 * written is always the place where its chain began: avail_idx and used_idx move together.
 */
#include "virtio/vring_burst.h"

#define GROUP 8 /* descriptors that the vector code looks at together */

#define F_AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define F_USED (1u << VRING_PACKED_DESC_F_USED)
/* What must match for a descriptor that is available, stands alone and has the wanted direction. */
#define F_CHECKED (F_AVAIL | F_USED | VRING_DESC_F_NEXT | VRING_DESC_F_INDIRECT | VRING_DESC_F_WRITE)

static inline uint16_t avail_flags(bool wrap)
{
	return wrap ? F_AVAIL : F_USED;
}

static inline uint16_t used_flags(bool wrap)
{
	return wrap ? F_AVAIL | F_USED : 0;
}

static inline bool packed_is_available(const struct xv_vring *vq, uint16_t pos, bool wrap)
{
	uint16_t flags = __atomic_load_n(&vq->packed[pos].flags, __ATOMIC_ACQUIRE);

	return (flags & (F_AVAIL | F_USED)) == avail_flags(wrap);
}

static inline void packed_advance(struct xv_vring *vq, uint16_t n)
{
	uint32_t pos = (uint32_t)vq->avail_idx + n;

	if (pos >= vq->size) {
		pos -= vq->size;
		vq->avail_wrap = !vq->avail_wrap;
	}
	vq->avail_idx = (uint16_t)pos;
}

#ifdef XV_AVX512
/*
 * Eight descriptors at once: all available, alone, of the wanted direction, in the region last hit.
 * Looked at twice: the second load, after the flags said "available", is the one that counts.
 */
static inline bool packed_gather_group(const struct xv_vring *vq, uint16_t pos, uint16_t want,
				       uint8_t **vas, uint32_t *lens, uint16_t *ids)
{
	const __m512i even = _mm512_set_epi64(14, 12, 10, 8, 6, 4, 2, 0);
	const __m512i odd = _mm512_set_epi64(15, 13, 11, 9, 7, 5, 3, 1);
	const struct vring_packed_desc *desc = &vq->packed[pos];
	__m512i low, high, addr, rest, offset, len;

	low = _mm512_loadu_si512(&desc[0]);
	high = _mm512_loadu_si512(&desc[4]);
	rest = _mm512_permutex2var_epi64(low, odd, high); /* len | id << 32 | flags << 48 */
	if (_mm512_cmpneq_epi64_mask(
		    _mm512_and_si512(rest, _mm512_set1_epi64((int64_t)((uint64_t)F_CHECKED << 48))),
		    _mm512_set1_epi64((int64_t)((uint64_t)want << 48))) != 0)
		return false;
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	low = _mm512_loadu_si512(&desc[0]);
	high = _mm512_loadu_si512(&desc[4]);
	addr = _mm512_permutex2var_epi64(low, even, high);
	rest = _mm512_permutex2var_epi64(low, odd, high);
	len = _mm512_and_si512(rest, _mm512_set1_epi64(UINT32_MAX));
	offset = _mm512_sub_epi64(addr, _mm512_set1_epi64((int64_t)vq->region_gpa));
	if (_mm512_cmpge_epu64_mask(offset, _mm512_set1_epi64((int64_t)vq->region_size)) != 0 ||
	    _mm512_cmpgt_epu64_mask(
		    len, _mm512_sub_epi64(_mm512_set1_epi64((int64_t)vq->region_size), offset)) != 0)
		return false;
	_mm512_storeu_si512(vas, _mm512_add_epi64(offset, _mm512_set1_epi64((int64_t)(uintptr_t)
										    vq->region_hva)));
	_mm256_storeu_si256((__m256i *)(void *)lens, _mm512_cvtepi64_epi32(len));
	_mm_storeu_si128((__m128i *)(void *)ids,
			 _mm512_cvtepi64_epi16(_mm512_srli_epi64(rest, 32)));
	return true;
}
#endif

/*
 * Read up to n descriptors that are available, stand alone and have this direction (0 or WRITE), within
 * one region. Stops at the first that is anything else.
 */
static inline unsigned int packed_gather(struct xv_vring *vq, uint16_t direction, unsigned int n,
					 uint8_t **vas, uint32_t *lens, uint16_t *ids)
{
	uint32_t pos = vq->avail_idx;
	uint16_t want = avail_flags(vq->avail_wrap) | direction;
	unsigned int i = 0;

	/* A guest that flips flags while we look can seem to offer more than there are. */
	n = RTE_MIN(n, (unsigned int)vq->size);
	while (i < n) {
		const volatile uint64_t *desc;
		uint64_t addr, rest;

#ifdef XV_AVX512
		if (likely(n - i >= GROUP && pos + GROUP <= vq->size) &&
		    likely(packed_gather_group(vq, (uint16_t)pos, want, &vas[i], &lens[i], &ids[i]))) {
			i += GROUP;
			pos += GROUP;
			goto next;
		}
#endif
		if ((__atomic_load_n(&vq->packed[pos].flags, __ATOMIC_ACQUIRE) & F_CHECKED) != want)
			break;
		desc = (const volatile uint64_t *)(const volatile void *)&vq->packed[pos];
		addr = desc[0];
		rest = desc[1];
		lens[i] = (uint32_t)rest;
		ids[i] = (uint16_t)(rest >> 32);
		vas[i] = translate(vq, addr, lens[i]);
		if (unlikely(vas[i] == NULL))
			break;
		i++;
		pos++;
#ifdef XV_AVX512
next:
#endif
		if (pos == vq->size) {
			pos = 0;
			want ^= F_AVAIL | F_USED;
		}
	}
	return i;
}

/*
 * Say that n descriptors from used_idx on are about to be given back, and move on. They are then written from the
 * last to the first, so that the guest sees all or none. Should we be killed meanwhile, the next life finishes it.
 */
static inline void packed_begin_used(struct xv_vring *vq, uint32_t n, bool merged)
{
	const struct xv_ring_position from = {vq->used_idx, vq->used_wrap};
	uint32_t pos = vq->used_idx + n;

	if (pos >= vq->size) {
		pos -= vq->size;
		vq->used_wrap = !vq->used_wrap;
	}
	vq->used_idx = (uint16_t)pos;
	atomic_store_explicit(vq->burst,
			      xv_ring_burst(from, (struct xv_ring_position){vq->used_idx, vq->used_wrap}, merged),
			      memory_order_relaxed);
	/* Its reader comes after our death: the order of the stores counts, not when others see them. */
	atomic_signal_fence(memory_order_seq_cst);
}

static inline void packed_write_used(struct xv_vring *vq, uint32_t pos, uint32_t len, uint16_t id, uint16_t flags)
{
	__atomic_store_n((uint64_t *)(void *)((uint8_t *)&vq->packed[pos] + 8),
			 len | (uint64_t)id << 32 | (uint64_t)flags << 48, __ATOMIC_RELEASE);
}

/* Give n descriptors back that stand alone; lens NULL: zero (buffers that we only read). */
static inline void packed_put_used(struct xv_vring *vq, const uint16_t *ids, const uint32_t *lens,
				   unsigned int n)
{
	const uint16_t wrote = lens != NULL ? VRING_DESC_F_WRITE : 0, flags = used_flags(vq->used_wrap) | wrote;
	uint32_t pos = vq->used_idx;
	unsigned int i = n;

	packed_begin_used(vq, n, false);
	for (; i > 0 && unlikely(pos + i > vq->size); i--) /* beyond the end: next lap */
		packed_write_used(vq, pos + i - 1 - vq->size, lens != NULL ? lens[i - 1] : 0, ids[i - 1],
				  flags ^ (F_AVAIL | F_USED));
	for (; i > 0; i--)
		packed_write_used(vq, pos + i - 1, lens != NULL ? lens[i - 1] : 0, ids[i - 1], flags);
}

/*
 * One used descriptor each for n chains that take counts[i] positions (2.8.9: the others are skipped). More than one:
 * one merged packet, whose first chain tells how many there are.
 */
static inline void packed_put_used_chains(struct xv_vring *vq, const uint16_t *ids, const uint32_t *lens,
					  const uint16_t *counts, uint16_t n, uint16_t wrote)
{
	uint32_t total = 0, pos;
	uint16_t i;
	bool wrap;

	for (i = 0; i < n; i++)
		total += counts[i];
	packed_begin_used(vq, total, n > 1);
	pos = vq->used_idx;
	wrap = vq->used_wrap;
	for (i = n; i > 0; i--) {
		if (pos < counts[i - 1]) {
			pos += vq->size;
			wrap = !wrap;
		}
		pos -= counts[i - 1];
		packed_write_used(vq, pos, lens[i - 1], ids[i - 1], used_flags(wrap) | wrote);
	}
}

/* A burst has moved used_idx on from `from`: log the descriptors written, notify. */
static inline void packed_publish(struct xv_vring *vq, uint16_t from)
{
	/* Something was published: the same position again means a whole lap. */
	uint16_t published = vq->used_idx > from ? (uint16_t)(vq->used_idx - from)
						 : (uint16_t)(vq->used_idx + vq->size - from);

	if (unlikely(vq->log != NULL) && vq->log_used_gpa != UINT64_MAX)
		xv_dirty_log_mark(vq->log, vq->log_used_gpa,
				  (uint64_t)vq->size * sizeof(struct vring_packed_desc));
	xv_vring_notify(vq, published);
}

/* n chains that we only read, of so many descriptors (NULL: one): back at once, or, behind one that was lent, when that goes back. */
static inline void packed_give_back(struct xv_vring *vq, const uint16_t *ids, const uint16_t *counts, unsigned int n)
{
	struct xv_lending *l = &vq->lending;
	unsigned int i;

	for (i = 0; i < n; i++) {
		uint16_t count = counts != NULL ? counts[i] : 1;

		if (vq->lent) {
			l->ids[l->n_held] = ids[i];
			l->counts[l->n_held++] = count;
		} else {
			packed_put_used_chains(vq, &ids[i], &(const uint32_t){0}, &count, 1, 0);
		}
	}
}

#ifndef XV_AVX512
void xv_packed_return(struct xv_vring *vq)
{
	uint16_t from = vq->used_idx;

	vq->lent = false;
	packed_give_back(vq, vq->lending.ids, vq->lending.counts, vq->lending.n_held);
	packed_publish(vq, from);
}
#endif

/* As split_recv_one(). */
static __attribute__((noinline)) int packed_recv_one(struct xv_vring *vq, struct rte_mbuf **pkt)
{
	struct xv_pieces pieces;
	enum xv_vring_error error;
	uint16_t id, count, pos = vq->avail_idx, entry = 0;
	int rc;

	pieces.n = 0;
	pieces.bytes = 0;
	error = xv_chain_walk_packed(vq, pos, false, &pieces, &id, &count);
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
		entry = xv_inflight_take_packed(vq->inflight, vq->packed, vq->size, pos, count);
	packed_advance(vq, count);
	if (vq->inflight != NULL)
		xv_inflight_put_packed(vq->inflight, entry, vq->avail_idx, vq->avail_wrap);
	packed_give_back(vq, &id, &count, 1);
	if (vq->inflight != NULL)
		xv_inflight_done_packed(vq->inflight, entry);
	if (rc != 0)
		xv_vring_count(&vq->bad_headers);
	return rc == 0;
}

uint16_t XV_PACKED(recv)(struct xv_vring *vq, struct rte_mbuf **pkts, uint16_t n)
{
	uint16_t from = vq->used_idx, done = 0, taken = 0;
	uint8_t *vas[XV_BURST];
	uint32_t lens[XV_BURST];
	uint16_t ids[XV_BURST];
	const bool careful = vq->inflight != NULL;

	if (unlikely(xv_vring_is_broken(vq)))
		return 0;
	n = RTE_MIN(n, XV_BURST);
	/* `taken` bounds the work where frames are dropped for their headers. */
	while (done < n && taken < n) {
		unsigned int i, k = 0;
		int one;

		if (likely(!careful))
			k = packed_gather(vq, 0, (unsigned int)(n - taken), vas, lens, ids);
		for (i = 0; i < k; i++) {
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
			done = (uint16_t)(done + copy_from_guest(vq, &pkts[done], vas, lens, k));
			packed_advance(vq, (uint16_t)k);
			if (unlikely(vq->lent))
				packed_give_back(vq, ids, NULL, k);
			else
				packed_put_used(vq, ids, NULL, k);
			taken = (uint16_t)(taken + k);
			if (done == n)
				break;
		}
		if (!packed_is_available(vq, vq->avail_idx, vq->avail_wrap))
			break;
		one = packed_recv_one(vq, &pkts[done]);
		if (one < 0)
			break;
		done = (uint16_t)(done + one);
		taken++;
		if (vq->lent && vq->lending.bytes >= XV_LEND_BURST_BYTES)
			break;
	}
	if (taken > (unlikely(vq->lent) ? vq->lending.n_held : 0))
		packed_publish(vq, from);
	return done;
}

/* n chains from the present position on go into the in-flight log as taken, and as about to be given back. */
static void packed_take_inflight(struct xv_vring *vq, const uint16_t *counts, uint16_t *entries,
				 uint16_t n)
{
	uint32_t pos = vq->avail_idx;
	bool wrap = vq->avail_wrap;
	uint16_t i;

	for (i = 0; i < n; i++) {
		entries[i] = xv_inflight_take_packed(vq->inflight, vq->packed, vq->size,
						     (uint16_t)pos, counts[i]);
		pos += counts[i];
		if (pos >= vq->size)
			pos -= vq->size;
	}
	pos = vq->avail_idx;
	for (i = 0; i < n; i++) {
		pos += counts[i];
		if (pos >= vq->size) {
			pos -= vq->size;
			wrap = !wrap;
		}
		xv_inflight_put_packed(vq->inflight, entries[i], (uint16_t)pos, wrap);
	}
}

/* As split_send_one(). */
static __attribute__((noinline)) bool packed_send_one(struct xv_vring *vq, struct rte_mbuf *m,
						      enum xv_vring_reject *why)
{
	uint32_t need = vq->hdr_len + rte_pktmbuf_pkt_len(m), filled = 0, pos = vq->avail_idx;
	uint16_t ids[XV_CHAIN_MAX], counts[XV_CHAIN_MAX], entries[XV_CHAIN_MAX], n = 0, i, total = 0;
	uint32_t lens[XV_CHAIN_MAX];
	bool wrap = vq->avail_wrap;
	struct xv_pieces pieces;

	if ((m->ol_flags & XV_PACKET_OFFLOAD) != 0 &&
	    (xv_offload_caps(xv_packet_offload(m)) & ~vq->caps) != 0) {
		*why = XV_VRING_OFFLOAD;
		return false;
	}
	pieces.n = 0;
	pieces.bytes = 0;
	while (filled < need) {
		enum xv_vring_error error;
		uint32_t before = pieces.bytes;

		if (total >= vq->size || n == XV_CHAIN_MAX || (n == 1 && !vq->mergeable)) {
			*why = XV_VRING_TOO_LONG;
			return false;
		}
		if (!packed_is_available(vq, (uint16_t)pos, wrap)) {
			*why = XV_VRING_FULL;
			return false;
		}
		error = xv_chain_walk_packed(vq, (uint16_t)pos, true, &pieces, &ids[n], &counts[n]);
		if (error == XV_VRING_OK &&
		    (pieces.bytes == before || (n == 0 && pieces.bytes < vq->hdr_len)))
			error = XV_VRING_BAD_LENGTH;
		if (error == XV_VRING_OK && (uint32_t)total + counts[n] > vq->size)
			error = XV_VRING_BAD_CHAIN;
		if (error != XV_VRING_OK) {
			*why = send_failed(vq, error, &pieces, n);
			return false;
		}
		lens[n] = RTE_MIN(pieces.bytes - before, need - filled);
		filled += lens[n];
		total = (uint16_t)(total + counts[n]);
		pos += counts[n];
		if (pos >= vq->size) {
			pos -= vq->size;
			wrap = !wrap;
		}
		n++;
	}
	if (vq->inflight != NULL)
		packed_take_inflight(vq, counts, entries, n);
	xv_packet_to_chain(vq, &pieces, m, n);
	packed_advance(vq, total);
	packed_put_used_chains(vq, ids, lens, counts, n, VRING_DESC_F_WRITE);
	if (vq->inflight != NULL)
		for (i = 0; i < n; i++)
			xv_inflight_done_packed(vq->inflight, entries[i]);
	return true;
}

uint16_t XV_PACKED(send)(struct xv_vring *vq, struct rte_mbuf **pkts, uint16_t n,
			 enum xv_vring_reject *why)
{
	uint16_t from = vq->used_idx, done = 0;
	uint8_t *vas[XV_BURST];
	uint32_t lens[XV_BURST];
	uint16_t ids[XV_BURST];
	const bool careful = vq->log != NULL || vq->inflight != NULL;

	*why = XV_VRING_FULL;
	if (unlikely(xv_vring_is_broken(vq))) {
		*why = XV_VRING_DEAD;
		return 0;
	}
	n = RTE_MIN(n, XV_BURST);
	while (done < n) {
		unsigned int i, k, simple;

		for (simple = 0; simple < (unsigned int)(n - done) && packet_is_simple(pkts[done + simple]);
		     simple++)
			;
		k = careful ? 0 : packed_gather(vq, VRING_DESC_F_WRITE, simple, vas, lens, ids);
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
			copy_to_guest(vq, &pkts[done], vas, k);
			packets_free(&pkts[done], k);
			packed_advance(vq, (uint16_t)k);
			packed_put_used(vq, ids, lens, k);
			done = (uint16_t)(done + k);
			if (done == n)
				break;
		}
		if (!packed_is_available(vq, vq->avail_idx, vq->avail_wrap))
			break;
		if (!packed_send_one(vq, pkts[done], why))
			break;
		rte_pktmbuf_free(pkts[done]);
		done++;
	}
	if (done > 0)
		packed_publish(vq, from);
	return done;
}
