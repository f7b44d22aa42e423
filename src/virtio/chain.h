/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptor chains in full generality: direct, chained, indirect, crossing regions (virtio 1.2,
 * sections 2.7.5, 2.7.7, 2.8.5-2.8.8), and the copy between them and packets. The burst functions
 * handle the one-descriptor case themselves and come here for the rest. Worker threads.
 *
 * Every descriptor is read once; a walk takes at most XV_CHAIN_MAX steps.
 */
#pragma once

#include "virtio/vring.h"

#define XV_CHAIN_MAX 512 /* pieces of one packet; Linux guests use at most 19 for a 64 KiB segment */

struct xv_piece {
	uint8_t *va;
	uint64_t gpa;
	uint32_t len;
};

/* The buffers of one packet. Several chains when receive buffers are merged. */
struct xv_pieces {
	unsigned int n;
	uint32_t bytes;
	struct xv_piece piece[XV_CHAIN_MAX];
};

/*
 * Append the chain that starts at descriptor `head` of a split ring. writable: the direction that
 * all its descriptors must have.
 */
enum xv_vring_error xv_chain_walk_split(struct xv_vring *vq, uint16_t head, bool writable,
					struct xv_pieces *pieces);

/*
 * Append the chain at position pos of a packed ring (known to be available). *id gets the buffer id,
 * *count how many descriptors of the ring it takes.
 */
enum xv_vring_error xv_chain_walk_packed(struct xv_vring *vq, uint16_t pos, bool writable,
					 struct xv_pieces *pieces, uint16_t *id, uint16_t *count);

/*
 * Read the virtio-net header and the frame out of the pieces; of a long frame the rest may stay there (virtio/lending.h). 0 and a
 * packet; -EPROTO: the frame is
 * to be dropped (header invalid, empty, too long); -ENOBUFS: no packet memory.
 */
int xv_chain_to_packet(struct xv_vring *vq, const struct xv_pieces *pieces, struct rte_mbuf **packet);

/* Write header (num_buffers as given) and frame into the pieces, which are large enough; log. */
void xv_packet_to_chain(const struct xv_vring *vq, const struct xv_pieces *pieces,
			struct rte_mbuf *packet, uint16_t num_buffers);
