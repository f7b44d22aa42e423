/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio/vnet_hdr.h"

#include <string.h>

#include <netinet/tcp.h>

#define FEATURE(bit) (UINT64_C(1) << (bit))

_Static_assert(XV_GSO_TCPV4 == VIRTIO_NET_HDR_GSO_TCPV4 && XV_GSO_UDP == VIRTIO_NET_HDR_GSO_UDP &&
		       XV_GSO_TCPV6 == VIRTIO_NET_HDR_GSO_TCPV6 &&
		       XV_GSO_ECN == VIRTIO_NET_HDR_GSO_ECN,
	       "offload requests speak virtio");

static bool gso_negotiated(uint8_t gso_type, uint64_t features)
{
	if ((gso_type & XV_GSO_ECN) != 0 && (features & FEATURE(VIRTIO_NET_F_HOST_ECN)) == 0)
		return false;
	switch (gso_type & ~XV_GSO_ECN) {
	case XV_GSO_TCPV4:
		return (features & FEATURE(VIRTIO_NET_F_HOST_TSO4)) != 0;
	case XV_GSO_TCPV6:
		return (features & FEATURE(VIRTIO_NET_F_HOST_TSO6)) != 0;
	case XV_GSO_UDP:
		return gso_type == XV_GSO_UDP && (features & FEATURE(VIRTIO_NET_F_HOST_UFO)) != 0;
	default:
		return false;
	}
}

bool xv_vnet_hdr_decode(struct xv_vnet_hdr hdr, uint32_t frame_len, uint64_t features,
			struct xv_offload *request)
{
	uint8_t flags = (uint8_t)hdr.head;

	*request = (struct xv_offload){
		.gso_type = (uint8_t)(hdr.head >> 8),
		.gso_size = (uint16_t)(hdr.head >> 32),
		.csum_start = (uint16_t)(hdr.head >> 48),
		.csum_offset = hdr.csum_offset,
	};
	/* DATA_VALID and RSC_INFO are the device's to set: a guest's word is worth nothing here. */
	if ((flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) != 0) {
		if ((features & FEATURE(VIRTIO_NET_F_CSUM)) == 0 ||
		    (uint32_t)request->csum_start + request->csum_offset + 2 > frame_len)
			return false;
		request->flags = XV_OFFLOAD_CSUM;
	}
	if (request->gso_type == XV_GSO_NONE) {
		request->gso_size = 0;
		return true;
	}
	/* 5.1.6.2: a segmentation request comes with a checksum request and a size. */
	return request->flags != 0 && request->gso_size != 0 &&
	       gso_negotiated(request->gso_type, features);
}

struct xv_vnet_hdr xv_vnet_hdr_encode(const struct xv_offload *request, struct rte_mbuf *m)
{
	struct xv_vnet_hdr hdr = {.csum_offset = request->csum_offset};
	uint64_t flags = 0;
	uint32_t hdr_len = 0;

	if ((request->flags & XV_OFFLOAD_CSUM) != 0)
		flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	else if ((request->flags & XV_OFFLOAD_CSUM_VALID) != 0)
		flags = VIRTIO_NET_HDR_F_DATA_VALID;
	if (request->gso_type != XV_GSO_NONE) {
		hdr_len = request->csum_start + 8u;
		if ((request->gso_type & ~XV_GSO_ECN) != XV_GSO_UDP &&
		    request->csum_start + sizeof(struct tcphdr) <= rte_pktmbuf_data_len(m)) {
			const uint8_t *tcp =
				rte_pktmbuf_mtod_offset(m, const uint8_t *, request->csum_start);

			hdr_len = request->csum_start + (tcp[12] >> 4) * 4u;
		}
		/* A hint, but one that receivers may trust: never beyond the frame. */
		hdr_len = RTE_MIN(hdr_len, rte_pktmbuf_pkt_len(m));
	}
	hdr.head = flags | (uint64_t)request->gso_type << 8 | (uint64_t)(uint16_t)hdr_len << 16 |
		   (uint64_t)request->gso_size << 32 | (uint64_t)request->csum_start << 48;
	return hdr;
}
