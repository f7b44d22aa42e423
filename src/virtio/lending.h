/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One copy from guest to guest. Of a long frame only the beginning, where headers are, is copied when it is received. The rest
 * stays in the guest's memory: the packet refers to it (DPDK's external buffers), and whoever sends the packet copies from there:
 * a ring into the receiver's buffers, the kernel into its own.
 *
 * What a guest lends it gets back when the burst is over, all at once and in order: until then its descriptors are taken and not
 * used. The caller of recv() sees to it that by then no packet refers to lent bytes: it sends what it can, and copies what has to
 * wait or goes where packets are kept (fastpath/output.c, xv_output_settle(), xv_packet_keep()). So what is lent never
 * leaves its worker, and outlives neither a change of guest memory nor the ring: both wait for the end of the round (table/rcu.h).
 *
 * Lent bytes change while we look at them. Their addresses and lengths were read and checked once, and nothing that is decided
 * may depend on them: a packet's first buffer is never lent. They are never written: the ring holds a reference, so that
 * nobody who counts references takes them for its own (net/packet_share.h).
 *
 * Rings with an in-flight log do not lend: they give back each packet before the next.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <rte_mbuf.h>

#include "net/packet.h"

/*
 * Frames longer than a buffer are lent. Shorter ones would take two buffers in place of one, and leave the ways of many packets at
 * once: at 1500 bytes that costs two to three times the copy (docs/performance.md).
 */
#define XV_LEND_MIN XV_PACKET_DATA_BYTES
#define XV_LEND_HEAD 512 /* bytes copied: more than all headers that we read or write */
/* A burst ends with so many bytes: what waits for them is still in the cache, and the receiver has room for them. */
#define XV_LEND_BURST_BYTES (256 * 1024)

/* What a ring has lent, and took meanwhile, in one burst. */
struct xv_lending {
	uint32_t bytes;
	uint16_t frames;
	uint16_t from;	 /* split: used_idx to publish from */
	uint16_t n_held; /* packed: taken, in this order, and not given back */
	uint16_t ids[XV_BURST], counts[XV_BURST];
	struct rte_mbuf_ext_shared_info shares[XV_BURST]; /* of each frame; one reference is the ring's */
};

struct xv_vring;

/* worker (owner). Whether frames of this length are lent. */
bool xv_lending_wants(const struct xv_vring *vq, uint32_t len);
/* The share of the next frame, which n buffers will refer to. */
struct rte_mbuf_ext_shared_info *xv_lending_start(struct xv_vring *vq, uint32_t len, uint16_t n);

/*
 * worker (owner), after each recv() of a ring that lends: give back what it took. No packet refers to lent bytes any more; returns
 * how many frames one does, which is a defect of ours.
 */
unsigned int xv_vring_return(struct xv_vring *vq);
