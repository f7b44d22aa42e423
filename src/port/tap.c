/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A kernel TAP interface as a port: the host's own way into a network. One system call a packet, so
 * this is for reachability and tests, not for speed; with the virtio-net header the kernel takes and
 * gives checksum and segmentation requests as guests do.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <linux/if.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <rte_spinlock.h>

#include "port/kernel_frame.h"
#include "port/kinds.h"

struct tap_queue {
	int fd;
	rte_spinlock_t tx_lock;
	struct xv_kernel_rx rx;
};

struct tap_port {
	struct xv_port port;
	char interface[IFNAMSIZ];
	struct tap_queue queues[XV_MAX_QUEUES];
};

static int open_queue(struct tap_port *t, uint16_t q, const struct xv_port_config *config,
		      struct xv_err *err)
{
	struct ifreq ifr = {0};
	unsigned int offloads = 0;
	int fd, rc, hdr_len = sizeof(struct virtio_net_hdr);

	fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return xv_err_set(err, -errno, XV_ERR_DEVICE, "/dev/net/tun: %s", strerror(errno));
	ifr.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
	if (config->queues > 1)
		ifr.ifr_flags |= IFF_MULTI_QUEUE;
	memcpy(ifr.ifr_name, t->interface, sizeof(ifr.ifr_name));
	if (ioctl(fd, TUNSETIFF, &ifr) != 0) {
		rc = xv_err_set(err, -errno, errno == EBUSY ? XV_ERR_BUSY : XV_ERR_DEVICE,
				"interface \"%s\": %s", t->interface,
				errno == EBUSY ? "in use by another process" : strerror(errno));
		goto err_close;
	}
	if (config->csum)
		offloads = TUN_F_CSUM;
	if (config->csum && config->tso)
		offloads |= TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
	if (ioctl(fd, TUNSETOFFLOAD, offloads) != 0 || ioctl(fd, TUNSETVNETHDRSZ, &hdr_len) != 0) {
		rc = xv_err_set(err, -errno, XV_ERR_DEVICE, "interface \"%s\": offloads: %s",
				t->interface, strerror(errno));
		goto err_close;
	}
	rte_spinlock_init(&t->queues[q].tx_lock);
	t->queues[q].fd = fd;
	xv_port_rxq_set_fd(&t->port, q, fd);
	return 0;

err_close:
	close(fd);
	return rc;
}

/* Take the interface up and set its MTU, as an operator would expect of a port that is up; without one, it keeps its own. */
static int bring_up(struct tap_port *t, uint16_t mtu, struct xv_err *err)
{
	struct ifreq ifr = {0};
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), rc = 0;

	memcpy(ifr.ifr_name, t->interface, sizeof(ifr.ifr_name));
	if (s < 0)
		return xv_err_set(err, -errno, XV_ERR_RESOURCE, "socket: %s", strerror(errno));
	if (mtu != 0) {
		ifr.ifr_mtu = mtu;
		if (ioctl(s, SIOCSIFMTU, &ifr) != 0)
			rc = xv_err_set(err, -errno, XV_ERR_RANGE, "interface \"%s\": MTU %u: %s",
					t->interface, mtu, strerror(errno));
	}
	if (rc == 0 && ioctl(s, SIOCGIFFLAGS, &ifr) == 0) {
		ifr.ifr_flags |= IFF_UP;
		if (ioctl(s, SIOCSIFFLAGS, &ifr) != 0)
			rc = xv_err_set(err, -errno, XV_ERR_DEVICE, "interface \"%s\": %s",
					t->interface, strerror(errno));
	}
	if (rc == 0)
		xv_port_set_mtu(&t->port, mtu, ioctl(s, SIOCGIFMTU, &ifr) == 0 ? (uint32_t)ifr.ifr_mtu : 0);
	close(s);
	return rc;
}

static void destroy(struct xv_port *port)
{
	struct tap_port *t = (struct tap_port *)port;
	uint16_t q;

	for (q = 0; q < port->max_queues; q++) {
		xv_port_rxq_set_fd(port, q, -1);
		if (t->queues[q].fd >= 0)
			close(t->queues[q].fd);
		xv_kernel_rx_release(&t->queues[q].rx);
	}
	free(t);
}

static int create(const struct xv_port_config *config, struct event_base *events,
		  struct xv_port **port, struct xv_err *err)
{
	struct tap_port *t = calloc(1, sizeof(*t));
	uint16_t q;
	int rc;

	(void)events;
	if (t == NULL)
		return xv_err_set(err, -ENOMEM, XV_ERR_RESOURCE, "out of memory");
	xv_port_init(&t->port, &xv_tap_port_ops, config);
	snprintf(t->interface, sizeof(t->interface), "%s", config->interface);
	for (q = 0; q < XV_MAX_QUEUES; q++)
		t->queues[q].fd = -1;
	for (q = 0; q < config->queues; q++) {
		rc = open_queue(t, q, config, err);
		if (rc != 0)
			goto err_destroy;
	}
	rc = config->passive ? 0 : bring_up(t, config->mtu, err);
	if (rc != 0)
		goto err_destroy;
	atomic_store(&t->port.tx_caps,
		     XV_CAP_CSUM | XV_CAP_TSO4 | XV_CAP_TSO6 | XV_CAP_ECN);
	atomic_store(&t->port.rx_queues, config->queues);
	atomic_store(&t->port.tx_queues, config->queues);
	*port = &t->port;
	return 0;

err_destroy:
	xv_err_key(err, "interface");
	destroy(&t->port);
	return rc;
}

static void info(struct xv_port *port, struct xv_port_info *info)
{
	info->queues_active = atomic_load(&port->rx_queues);
	info->state = XV_PORT_UP;
	snprintf(info->driver, sizeof(info->driver), "tun");
}

static int reconfigure(struct xv_port *port, const struct xv_port_config *config,
		       struct xv_err *err)
{
	if (config->csum != port->csum || config->tso != port->tso)
		return -ENOTSUP;
	return config->passive ? 0 : bring_up((struct tap_port *)port, config->mtu, err);
}

/* NULL: nothing waits, or no packet memory. */
static struct rte_mbuf *read_one(struct tap_queue *q)
{
	if (!xv_kernel_rx_prepare(&q->rx))
		return NULL;
	return xv_kernel_rx_packet(&q->rx, readv(q->fd, q->rx.iov, RTE_DIM(q->rx.iov)));
}

static uint16_t rx(struct xv_port *port, uint16_t queue, struct rte_mbuf **pkts, uint16_t n)
{
	struct tap_queue *q = &((struct tap_port *)port)->queues[queue];
	uint16_t i;

	for (i = 0; i < n; i++) {
		pkts[i] = read_one(q);
		if (pkts[i] == NULL)
			break;
	}
	return i;
}

static bool write_one(int fd, const struct xv_kernel_tx *frame, int count, const struct rte_mbuf *m)
{
	if (writev(fd, frame->iov, count) >= 0)
		return true;
	if (errno != EFAULT)
		return false;
	xv_kernel_tx_touch(m);
	return writev(fd, frame->iov, count) >= 0;
}

static uint16_t tx(struct xv_port *port, uint16_t queue, struct rte_mbuf **pkts, uint16_t n,
		   enum xv_drop *why)
{
	struct tap_queue *q = &((struct tap_port *)port)->queues[queue];
	uint16_t i;

	rte_spinlock_lock(&q->tx_lock);
	for (i = 0; i < n; i++) {
		struct xv_kernel_tx frame;
		int count = xv_kernel_tx_gather(&frame, pkts[i]);

		if (count == 0) {
			*why = XV_DROP_TX_SIZE;
			break;
		}
		if (!write_one(q->fd, &frame, count, pkts[i])) {
			*why = errno == EAGAIN ? XV_DROP_TX_FULL : XV_DROP_TX_DOWN;
			break;
		}
		rte_pktmbuf_free(pkts[i]);
	}
	rte_spinlock_unlock(&q->tx_lock);
	return i;
}

const struct xv_port_ops xv_tap_port_ops = {
	.kind = XV_PORT_TAP,
	.create = create,
	.destroy = destroy,
	.info = info,
	.reconfigure = reconfigure,
	.rx = rx,
	.tx = tx,
	.rx_arm = xv_kernel_rx_arm,
};
