/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "port/kernel_frame.h"

/* Features in whose terms the kernel speaks to us (what we let it send). */
#define KERNEL_FEATURES                                                                            \
	(UINT64_C(1) << VIRTIO_NET_F_CSUM | UINT64_C(1) << VIRTIO_NET_F_HOST_TSO4 |                \
	 UINT64_C(1) << VIRTIO_NET_F_HOST_TSO6 | UINT64_C(1) << VIRTIO_NET_F_HOST_ECN)
#define CSUM_OFFSET_AT 8 /* in the header; what is before it is xv_vnet_hdr.head */

_Static_assert(XV_KERNEL_HDR_BYTES == sizeof(struct virtio_net_hdr), "as the kernel has it");

bool xv_kernel_rx_prepare(struct xv_kernel_rx *rx)
{
	unsigned int i;

	if (rx->n < XV_KERNEL_RX_SEGS) {
		if (rte_pktmbuf_alloc_bulk(xv_packet_pool(), &rx->segs[rx->n], XV_KERNEL_RX_SEGS - rx->n) != 0)
			return false;
		rx->n = XV_KERNEL_RX_SEGS;
	}
	rx->iov[0] = (struct iovec){rx->hdr, sizeof(rx->hdr)};
	for (i = 0; i < XV_KERNEL_RX_SEGS; i++)
		rx->iov[i + 1] = (struct iovec){rte_pktmbuf_mtod(rx->segs[i], void *), XV_PACKET_DATA_BYTES};
	return true;
}

struct rte_mbuf *xv_kernel_rx_packet(struct xv_kernel_rx *rx, ssize_t got)
{
	struct rte_mbuf *head = rx->segs[0], *last = head;
	struct xv_vnet_hdr hdr;
	uint32_t len, left;
	unsigned int i, used;

	if (got <= XV_KERNEL_HDR_BYTES)
		return NULL;
	len = (uint32_t)got - XV_KERNEL_HDR_BYTES;
	used = (len + XV_PACKET_DATA_BYTES - 1) / XV_PACKET_DATA_BYTES;
	for (i = 0, left = len; i < used; i++) {
		struct rte_mbuf *seg = rx->segs[i];

		seg->data_len = (uint16_t)RTE_MIN(left, (uint32_t)XV_PACKET_DATA_BYTES);
		left -= seg->data_len;
		if (i > 0)
			last->next = seg;
		last = seg;
	}
	head->nb_segs = (uint16_t)used;
	head->pkt_len = len;
	rx->n -= used;
	memmove(&rx->segs[0], &rx->segs[used], rx->n * sizeof(rx->segs[0]));

	memcpy(&hdr.head, rx->hdr, sizeof(hdr.head));
	memcpy(&hdr.csum_offset, rx->hdr + CSUM_OFFSET_AT, sizeof(hdr.csum_offset));
	if ((hdr.head & XV_VNET_WANTS_OFFLOAD) != 0 &&
	    xv_vnet_hdr_decode(hdr, len, KERNEL_FEATURES, xv_packet_offload(head)))
		head->ol_flags |= XV_PACKET_OFFLOAD;
	return head;
}

void xv_kernel_rx_release(struct xv_kernel_rx *rx)
{
	if (rx->n > 0)
		rte_pktmbuf_free_bulk(rx->segs, rx->n);
	rx->n = 0;
}

int xv_kernel_tx_gather(struct xv_kernel_tx *tx, struct rte_mbuf *m)
{
	struct xv_vnet_hdr hdr = {0};
	struct rte_mbuf *seg;
	int count = 0;

	if ((m->ol_flags & XV_PACKET_OFFLOAD) != 0)
		hdr = xv_vnet_hdr_encode(xv_packet_offload(m), m);
	memcpy(tx->hdr, &hdr.head, sizeof(hdr.head));
	memcpy(tx->hdr + CSUM_OFFSET_AT, &hdr.csum_offset, sizeof(hdr.csum_offset));
	tx->iov[count++] = (struct iovec){tx->hdr, sizeof(tx->hdr)};
	for (seg = m; seg != NULL && count < (int)RTE_DIM(tx->iov); seg = seg->next)
		tx->iov[count++] = (struct iovec){rte_pktmbuf_mtod(seg, void *), seg->data_len};
	return seg == NULL ? count : 0;
}

void xv_kernel_tx_touch(const struct rte_mbuf *m)
{
	const uint32_t page = 4096;
	uint32_t i;

	for (; m != NULL; m = m->next) {
		const volatile uint8_t *bytes = rte_pktmbuf_mtod(m, const uint8_t *);

		for (i = 0; i < m->data_len; i += page)
			(void)bytes[i];
		if (m->data_len > 0)
			(void)bytes[m->data_len - 1];
	}
}

enum xv_arm xv_kernel_rx_arm(struct xv_port *port, uint16_t queue)
{
	(void)port;
	(void)queue;
	return XV_ARM_OK;
}
