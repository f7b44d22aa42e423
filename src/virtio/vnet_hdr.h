/* SPDX-License-Identifier: Apache-2.0 */
/*
 * struct virtio_net_hdr (virtio 1.2, section 5.1.6) to and from a packet's offload request.
 * Worker threads. The guest's header is read once, by the caller, into two integers.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <linux/virtio_net.h>

#include "net/packet.h"

/* Longest frame a guest may send: a 64 KiB IP packet, Ethernet header and two VLAN tags. */
#define XV_VNET_MAX_FRAME (65535 + 14 + 8)

/* The header as two loads: bytes 0-7 and 8-9. */
struct xv_vnet_hdr {
	uint64_t head;
	uint16_t csum_offset;
};
#define XV_VNET_WANTS_OFFLOAD UINT64_C(0xffff) /* bits of `head`: flags and gso_type */

/*
 * Fill *request from a header that wants something. False: the header is invalid for a frame of
 * frame_len bytes, or asks for what was not negotiated.
 */
bool xv_vnet_hdr_decode(struct xv_vnet_hdr hdr, uint32_t frame_len, uint64_t features,
			struct xv_offload *request);

/* The header that asks a guest for `request`; m holds the frame (for the length of its headers). */
struct xv_vnet_hdr xv_vnet_hdr_encode(const struct xv_offload *request, struct rte_mbuf *m);
