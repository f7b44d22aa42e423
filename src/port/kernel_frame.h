/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to this folder: a frame as the kernel gives and takes it through a file descriptor (tap, packet socket): the
 * virtio-net header, then the bytes, gathered from and scattered over the buffers of a packet.
 */
#pragma once

#include <sys/types.h>
#include <sys/uio.h>

#include "port/eal.h"
#include "port/port.h"
#include "virtio/vnet_hdr.h"

#define XV_KERNEL_RX_SEGS   (XV_VNET_MAX_FRAME / XV_PACKET_DATA_BYTES + 1)
#define XV_KERNEL_TX_SEGS   (2 * XV_KERNEL_RX_SEGS)
#define XV_KERNEL_HDR_BYTES 10 /* struct virtio_net_hdr */

/* Buffers kept for the next frame; zero it before its first use. One thread at a time. */
struct xv_kernel_rx {
	unsigned int n; /* ready in segs */
	struct rte_mbuf *segs[XV_KERNEL_RX_SEGS];
	uint8_t hdr[XV_KERNEL_HDR_BYTES];
	struct iovec iov[XV_KERNEL_RX_SEGS + 1];
};

/* Make iov ready to be filled by the kernel; false: no packet memory. */
bool xv_kernel_rx_prepare(struct xv_kernel_rx *rx);
/* What the kernel has put there, "got" bytes with the header, as a packet; NULL: nothing, or an error (got < 0). */
struct rte_mbuf *xv_kernel_rx_packet(struct xv_kernel_rx *rx, ssize_t got);
void xv_kernel_rx_release(struct xv_kernel_rx *rx);

struct xv_kernel_tx {
	uint8_t hdr[XV_KERNEL_HDR_BYTES];
	struct iovec iov[XV_KERNEL_TX_SEGS + 1];
};

/* Point iov at m, which stays the caller's; returns how many, 0 if it has too many buffers. */
int xv_kernel_tx_gather(struct xv_kernel_tx *tx, struct rte_mbuf *m);

/*
 * The kernel could not read m (EFAULT): the file behind memory that a guest lent has shrunk. Reading it ourselves tells whose it
 * was, and puts zeros there (virtio/guest_memory.h); then it can be read.
 */
void xv_kernel_tx_touch(const struct rte_mbuf *m);

/* rx_arm of descriptors that are watched for edges, where every frame makes one, also between the last read and now. */
enum xv_arm xv_kernel_rx_arm(struct xv_port *port, uint16_t queue);
