/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A network device of the kernel as it is, through a packet socket: what it receives comes here (and goes to the host's own stack,
 * too), what is sent leaves by it. One system call a packet. With the virtio-net header checksum and segmentation requests
 * pass both ways, as with a tap. (DPDK's af_packet driver has the kernel put fragments together, and what it received is
 * not what was on the wire.)
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <rte_spinlock.h>

#include "port/kernel_frame.h"
#include "port/kinds.h"

#define RECEIVE_BYTES (4 << 20) /* that may wait in the kernel */
#define VLAN_BYTES    4
#define MAC_BYTES     12

struct kernel_port {
	struct xv_port port;
	char interface[IFNAMSIZ];
	int fd;
	rte_spinlock_t tx_lock;
	struct xv_kernel_rx rx;
};

static int complain(struct kernel_port *k, struct xv_err *err, const char *what)
{
	int error = errno;

	return xv_err_set(err, -error, XV_ERR_DEVICE, "interface \"%s\": %s: %s", k->interface, what, strerror(error));
}

static int open_socket(struct kernel_port *k, struct xv_err *err)
{
	struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
	struct packet_mreq promiscuous = {.mr_type = PACKET_MR_PROMISC};
	int one = 1, bytes = RECEIVE_BYTES;

	address.sll_ifindex = (int)if_nametoindex(k->interface);
	if (address.sll_ifindex == 0)
		return complain(k, err, "look-up");
	promiscuous.mr_ifindex = address.sll_ifindex;
	/* Of no protocol until it is bound: nothing of other devices is ever received. */
	k->fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (k->fd < 0)
		return complain(k, err, "packet socket");
	(void)setsockopt(k->fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes));
	if (setsockopt(k->fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one)) != 0 ||
	    setsockopt(k->fd, SOL_PACKET, PACKET_AUXDATA, &one, sizeof(one)) != 0 ||
	    setsockopt(k->fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one)) != 0 ||
	    setsockopt(k->fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &promiscuous, sizeof(promiscuous)) != 0 ||
	    bind(k->fd, (const struct sockaddr *)&address, sizeof(address)) != 0)
		return complain(k, err, "packet socket");
	xv_port_rxq_set_fd(&k->port, 0, k->fd);
	return 0;
}

static uint32_t device_mtu(const struct kernel_port *k)
{
	struct ifreq ifr = {0};

	memcpy(ifr.ifr_name, k->interface, sizeof(ifr.ifr_name));
	return ioctl(k->fd, SIOCGIFMTU, &ifr) == 0 ? (uint32_t)ifr.ifr_mtu : 0;
}

static void destroy(struct xv_port *port)
{
	struct kernel_port *k = (struct kernel_port *)port;

	xv_port_rxq_set_fd(port, 0, -1);
	if (k->fd >= 0)
		close(k->fd);
	xv_kernel_rx_release(&k->rx);
	free(k);
}

static int create(const struct xv_port_config *config, struct event_base *events, struct xv_port **port,
		  struct xv_err *err)
{
	struct kernel_port *k = calloc(1, sizeof(*k));
	int rc;

	(void)events;
	if (k == NULL)
		return xv_err_set(err, -ENOMEM, XV_ERR_RESOURCE, "out of memory");
	xv_port_init(&k->port, &xv_kernel_port_ops, config);
	k->port.max_queues = 1;
	k->fd = -1;
	rte_spinlock_init(&k->tx_lock);
	snprintf(k->interface, sizeof(k->interface), "%s", config->interface);
	rc = open_socket(k, err);
	if (rc != 0) {
		xv_err_key(err, "interface");
		destroy(&k->port);
		return rc;
	}
	xv_port_set_mtu(&k->port, config->mtu, device_mtu(k));
	atomic_store(&k->port.tx_caps, XV_CAP_CSUM | XV_CAP_TSO4 | XV_CAP_TSO6 | XV_CAP_ECN);
	atomic_store(&k->port.rx_queues, 1);
	atomic_store(&k->port.tx_queues, 1);
	*port = &k->port;
	return 0;
}

static void info(struct xv_port *port, struct xv_port_info *info)
{
	struct kernel_port *k = (struct kernel_port *)port;
	struct ifreq ifr = {0};

	memcpy(ifr.ifr_name, k->interface, sizeof(ifr.ifr_name));
	info->queues_active = 1;
	info->state = ioctl(k->fd, SIOCGIFFLAGS, &ifr) == 0 && (ifr.ifr_flags & IFF_RUNNING) != 0 ? XV_PORT_UP : XV_PORT_DOWN;
	snprintf(info->driver, sizeof(info->driver), "packet socket");
}

static int reconfigure(struct xv_port *port, const struct xv_port_config *config, struct xv_err *err)
{
	xv_port_set_mtu(port, config->mtu, device_mtu((struct kernel_port *)port));
	return 0;
}

/* ---- Receive ---- */

/* The tag that the kernel took off; 0: there was none. In the order of the wire: type, then tag. */
static uint32_t tag_of(struct msghdr *msg)
{
	struct cmsghdr *c;

	for (c = CMSG_FIRSTHDR(msg); c != NULL; c = CMSG_NXTHDR(msg, c)) {
		struct tpacket_auxdata aux;
		uint16_t tpid = ETH_P_8021Q;

		if (c->cmsg_level != SOL_PACKET || c->cmsg_type != PACKET_AUXDATA)
			continue;
		memcpy(&aux, CMSG_DATA(c), sizeof(aux));
		if ((aux.tp_status & TP_STATUS_VLAN_VALID) == 0)
			return 0;
		if ((aux.tp_status & TP_STATUS_VLAN_TPID_VALID) != 0)
			tpid = aux.tp_vlan_tpid;
		return htonl((uint32_t)tpid << 16 | aux.tp_vlan_tci);
	}
	return 0;
}

static void put_tag_back(struct rte_mbuf *m, uint32_t tag)
{
	uint8_t *data;

	if (m->data_len < MAC_BYTES) /* never: the kernel gives whole headers */
		return;
	data = (uint8_t *)(void *)rte_pktmbuf_prepend(m, VLAN_BYTES);
	if (data == NULL) /* never: buffers of the pool have the room */
		return;
	memmove(data, data + VLAN_BYTES, MAC_BYTES);
	memcpy(data + MAC_BYTES, &tag, sizeof(tag));
	if ((m->ol_flags & XV_PACKET_OFFLOAD) != 0 && (xv_packet_offload(m)->flags & XV_OFFLOAD_CSUM) != 0)
		xv_packet_offload(m)->csum_start += VLAN_BYTES;
}

/* NULL: nothing waits, or no packet memory. */
static struct rte_mbuf *read_one(struct kernel_port *k)
{
	uint8_t control[CMSG_SPACE(sizeof(struct tpacket_auxdata))];
	struct msghdr msg = {.msg_iov = k->rx.iov, .msg_iovlen = RTE_DIM(k->rx.iov), .msg_control = control,
			     .msg_controllen = sizeof(control)};
	struct rte_mbuf *m;
	uint32_t tag;

	if (!xv_kernel_rx_prepare(&k->rx))
		return NULL;
	m = xv_kernel_rx_packet(&k->rx, recvmsg(k->fd, &msg, 0));
	if (m == NULL)
		return NULL;
	tag = tag_of(&msg);
	if (tag != 0)
		put_tag_back(m, tag);
	return m;
}

static uint16_t rx(struct xv_port *port, uint16_t queue, struct rte_mbuf **pkts, uint16_t n)
{
	struct kernel_port *k = (struct kernel_port *)port;
	uint16_t i;

	(void)queue;
	for (i = 0; i < n; i++) {
		pkts[i] = read_one(k);
		if (pkts[i] == NULL)
			break;
	}
	return i;
}

/* ---- Send ---- */

static enum xv_drop why_not(int error)
{
	switch (error) {
	case EAGAIN:
	case ENOBUFS:
		return XV_DROP_TX_FULL;
	case EMSGSIZE:
		return XV_DROP_TX_SIZE;
	case EINVAL:
		return XV_DROP_OFFLOAD;
	default:
		return XV_DROP_TX_DOWN;
	}
}

static bool send_one(int fd, const struct msghdr *msg, const struct rte_mbuf *m)
{
	if (sendmsg(fd, msg, MSG_DONTWAIT) >= 0)
		return true;
	if (errno != EFAULT)
		return false;
	xv_kernel_tx_touch(m);
	return sendmsg(fd, msg, MSG_DONTWAIT) >= 0;
}

static uint16_t tx(struct xv_port *port, uint16_t queue, struct rte_mbuf **pkts, uint16_t n, enum xv_drop *why)
{
	struct kernel_port *k = (struct kernel_port *)port;
	uint16_t i;

	(void)queue;
	rte_spinlock_lock(&k->tx_lock);
	for (i = 0; i < n; i++) {
		struct xv_kernel_tx frame;
		struct msghdr msg = {.msg_iov = frame.iov, .msg_iovlen = (size_t)xv_kernel_tx_gather(&frame, pkts[i])};

		if (msg.msg_iovlen == 0) {
			*why = XV_DROP_TX_SIZE;
			break;
		}
		if (!send_one(k->fd, &msg, pkts[i])) {
			*why = why_not(errno);
			break;
		}
		rte_pktmbuf_free(pkts[i]);
	}
	rte_spinlock_unlock(&k->tx_lock);
	return i;
}

const struct xv_port_ops xv_kernel_port_ops = {
	.kind = XV_PORT_KERNEL,
	.create = create,
	.destroy = destroy,
	.info = info,
	.reconfigure = reconfigure,
	.rx = rx,
	.tx = tx,
	.rx_arm = xv_kernel_rx_arm,
};
