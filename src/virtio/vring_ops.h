/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to the ring code: the burst functions by kind of ring, and small helpers of both. Worker threads.
 */
#pragma once

#include <stdlib.h>

#include "virtio/vring.h"

#define XV_FEATURE(bit) (UINT64_C(1) << (bit))

/* Plain C, and the same compiled for AVX-512. Rings with a dirty log (send) or an in-flight log go one
 * packet at a time inside of them. */
uint16_t xv_split_recv(struct xv_vring *vq, struct rte_mbuf **pkts, uint16_t n);
uint16_t xv_split_send(struct xv_vring *vq, struct rte_mbuf **pkts, uint16_t n,
		       enum xv_vring_reject *why);
uint16_t xv_split_recv_avx512(struct xv_vring *vq, struct rte_mbuf **pkts, uint16_t n);
uint16_t xv_split_send_avx512(struct xv_vring *vq, struct rte_mbuf **pkts, uint16_t n,
			      enum xv_vring_reject *why);
uint16_t xv_packed_recv(struct xv_vring *vq, struct rte_mbuf **pkts, uint16_t n);
uint16_t xv_packed_send(struct xv_vring *vq, struct rte_mbuf **pkts, uint16_t n,
			enum xv_vring_reject *why);
uint16_t xv_packed_recv_avx512(struct xv_vring *vq, struct rte_mbuf **pkts, uint16_t n);
uint16_t xv_packed_send_avx512(struct xv_vring *vq, struct rte_mbuf **pkts, uint16_t n,
			       enum xv_vring_reject *why);

/* Give back what was taken in a burst that lent (virtio/lending.h). */
void xv_split_return(struct xv_vring *vq);
void xv_packed_return(struct xv_vring *vq);

/* The ring is broken: remember the first reason, wake the control thread. Cold. */
void xv_vring_break(struct xv_vring *vq, enum xv_vring_error error) __attribute__((cold));

/* Make the region of gpa the one that translate_fast() looks in. False: no such region. */
bool xv_vring_use_region(struct xv_vring *vq, uint64_t gpa);

/* Used entries were published; tell the guest if it wants to know (2.7.7, 2.7.10, 2.8.10). */
void xv_vring_notify(struct xv_vring *vq, uint16_t published);

/* One writer, many readers. */
static inline void xv_vring_count(_Atomic uint64_t *counter)
{
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1,
			      memory_order_relaxed);
}

static inline bool xv_vring_is_broken(const struct xv_vring *vq)
{
	return atomic_load_explicit(&vq->error, memory_order_relaxed) != XV_VRING_OK;
}
