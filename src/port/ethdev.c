/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any DPDK device as a port: a PF or VF by its PCI address, or a virtual one by its arguments
 * ("net_af_packet0,iface=eth1", "net_af_xdp0,iface=eth1", "net_pcap0,iface=eth1", "net_null0").
 * Polled on the worker's timer while it sleeps: few of these drivers have receive interrupts.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_spinlock.h>

#include "net/parse.h"
#include "port/eal.h"
#include "port/kinds.h"

#define DESCRIPTORS 1024

struct ethdev_port {
	struct xv_port port;
	uint16_t ethdev;
	bool multi_segs;
	struct rte_device *device;
	rte_spinlock_t tx_lock[XV_MAX_QUEUES];
	char devargs[256];
};

static uint32_t caps_of(uint64_t offloads)
{
	const uint64_t csum = RTE_ETH_TX_OFFLOAD_TCP_CKSUM | RTE_ETH_TX_OFFLOAD_UDP_CKSUM |
			      RTE_ETH_TX_OFFLOAD_IPV4_CKSUM;
	uint32_t caps = 0;

	if ((offloads & csum) != csum)
		return 0;
	caps = XV_CAP_CSUM;
	if ((offloads & RTE_ETH_TX_OFFLOAD_TCP_TSO) != 0 &&
	    (offloads & RTE_ETH_TX_OFFLOAD_MULTI_SEGS) != 0)
		caps |= XV_CAP_TSO4 | XV_CAP_TSO6;
	return caps;
}

static int setup(struct ethdev_port *e, const struct xv_port_config *config, struct xv_err *err)
{
	const uint64_t wanted = RTE_ETH_TX_OFFLOAD_TCP_CKSUM | RTE_ETH_TX_OFFLOAD_UDP_CKSUM |
				RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | RTE_ETH_TX_OFFLOAD_TCP_TSO |
				RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
	struct rte_eth_dev_info dev;
	struct rte_eth_conf conf = {0};
	uint16_t rxd = DESCRIPTORS, txd = DESCRIPTORS, q;
	int rc;

	rc = rte_eth_dev_info_get(e->ethdev, &dev);
	if (rc != 0)
		return xv_err_set(err, rc, XV_ERR_DEVICE, "DPDK cannot say what the device is: %s",
				  rte_strerror(-rc));
	if (config->queues > dev.max_rx_queues || config->queues > dev.max_tx_queues)
		return xv_err_set(err, -ERANGE, XV_ERR_RANGE,
				  "device has %u receive and %u transmit queues, %u are asked for",
				  dev.max_rx_queues, dev.max_tx_queues, config->queues);
	conf.txmode.offloads = dev.tx_offload_capa & wanted;
	if (!config->csum)
		conf.txmode.offloads &= RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
	else if (!config->tso)
		conf.txmode.offloads &= ~RTE_ETH_TX_OFFLOAD_TCP_TSO;
	conf.rxmode.offloads = dev.rx_offload_capa & RTE_ETH_RX_OFFLOAD_SCATTER;
	rc = rte_eth_dev_configure(e->ethdev, config->queues, config->queues, &conf);
	if (rc != 0)
		return xv_err_set(err, rc, XV_ERR_DEVICE, "DPDK refused to configure it: %s",
				  rte_strerror(-rc));
	(void)rte_eth_dev_adjust_nb_rx_tx_desc(e->ethdev, &rxd, &txd);
	for (q = 0; q < config->queues; q++) {
		rte_spinlock_init(&e->tx_lock[q]);
		rc = rte_eth_rx_queue_setup(e->ethdev, q, rxd,
					    (unsigned int)rte_eth_dev_socket_id(e->ethdev), NULL,
					    xv_packet_pool());
		if (rc == 0)
			rc = rte_eth_tx_queue_setup(e->ethdev, q, txd,
						    (unsigned int)rte_eth_dev_socket_id(e->ethdev),
						    NULL);
		if (rc != 0)
			return xv_err_set(err, rc, XV_ERR_DEVICE, "queue %u: %s", q,
					  rte_strerror(-rc));
	}
	if (config->mtu != 0) {
		rc = rte_eth_dev_set_mtu(e->ethdev, config->mtu);
		if (rc != 0 && rc != -ENOTSUP)
			return xv_err_set(err, rc, XV_ERR_RANGE, "device refuses an MTU of %u: %s",
					  config->mtu, rte_strerror(-rc));
	}
	rc = rte_eth_dev_start(e->ethdev);
	if (rc != 0)
		return xv_err_set(err, rc, XV_ERR_DEVICE, "device does not start: %s",
				  rte_strerror(-rc));
	(void)rte_eth_promiscuous_enable(e->ethdev); /* drivers without it receive all anyway */
	e->multi_segs = (conf.txmode.offloads & RTE_ETH_TX_OFFLOAD_MULTI_SEGS) != 0;
	atomic_store(&e->port.tx_caps, caps_of(conf.txmode.offloads));
	return 0;
}

/* Of the kernel's interface where there is one below: of that DPDK knows only what it set itself. 0: nobody knows. */
static uint32_t device_mtu(const struct ethdev_port *e)
{
	struct rte_eth_dev_info dev;
	struct ifreq ifr = {0};
	uint32_t result = 0;
	uint16_t mtu;
	int s;

	if (rte_eth_dev_info_get(e->ethdev, &dev) != 0)
		return 0;
	if (dev.if_index == 0)
		return rte_eth_dev_get_mtu(e->ethdev, &mtu) == 0 ? mtu : 0;
	s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (s < 0)
		return 0;
	if (if_indextoname(dev.if_index, ifr.ifr_name) != NULL && ioctl(s, SIOCGIFMTU, &ifr) == 0)
		result = (uint32_t)ifr.ifr_mtu;
	close(s);
	return result;
}

/* An interface that was made a moment ago is not always ready: a few tries, 60 ms at most. */
static int probe(const char *devargs)
{
	const struct timespec pause = {.tv_nsec = 20 * 1000000};
	unsigned int tries;
	int rc;

	for (tries = 0; tries < 4; tries++) {
		if (tries > 0)
			(void)nanosleep(&pause, NULL);
		(void)xv_eal_last_complaint();
		rc = rte_dev_probe(devargs);
		if (rc == 0 || rc == -EEXIST)
			break;
	}
	return rc;
}

static int create(const struct xv_port_config *config, struct event_base *events,
		  struct xv_port **port, struct xv_err *err)
{
	struct ethdev_port *e = calloc(1, sizeof(*e));
	struct rte_dev_iterator it;
	struct rte_eth_dev_info dev;
	uint16_t id;
	int rc;

	(void)events;
	if (e == NULL)
		return xv_err_set(err, -ENOMEM, XV_ERR_RESOURCE, "out of memory");
	snprintf(e->devargs, sizeof(e->devargs), "%s", config->device);
	xv_port_init(&e->port, &xv_ethdev_port_ops, config);
	e->ethdev = RTE_MAX_ETHPORTS;
	rc = probe(e->devargs);
	if (rc != 0) {
		const char *why = xv_eal_last_complaint();

		rc = xv_err_set(err, rc == -EEXIST ? -EBUSY : -ENODEV,
				rc == -EEXIST ? XV_ERR_BUSY : XV_ERR_DEVICE,
				"DPDK cannot open device \"%s\": %s", e->devargs,
				rc == -EEXIST	 ? "it is in use already"
				: why[0] != '\0' ? why
						 : "no such device, or no driver for it");
		goto err_free;
	}
	RTE_ETH_FOREACH_MATCHING_DEV(id, e->devargs, &it)
	{
		e->ethdev = id;
		rte_eth_iterator_cleanup(&it);
		break;
	}
	if (e->ethdev == RTE_MAX_ETHPORTS || rte_eth_dev_info_get(e->ethdev, &dev) != 0) {
		rc = xv_err_set(err, -ENODEV, XV_ERR_DEVICE, "device \"%s\" is not a network device",
				e->devargs);
		goto err_free;
	}
	e->device = dev.device;
	rc = setup(e, config, err);
	if (rc != 0)
		goto err_close;
	xv_port_set_mtu(&e->port, config->mtu, device_mtu(e));
	atomic_store(&e->port.rx_queues, config->queues);
	atomic_store(&e->port.tx_queues, config->queues);
	*port = &e->port;
	return 0;

err_close:
	(void)rte_eth_dev_close(e->ethdev);
	(void)rte_dev_remove(e->device);
err_free:
	xv_err_key(err, "device");
	free(e);
	return rc;
}

static void destroy(struct xv_port *port)
{
	struct ethdev_port *e = (struct ethdev_port *)port;

	(void)rte_eth_dev_stop(e->ethdev);
	(void)rte_eth_dev_close(e->ethdev);
	(void)rte_dev_remove(e->device);
	free(e);
}

static void info(struct xv_port *port, struct xv_port_info *info)
{
	struct ethdev_port *e = (struct ethdev_port *)port;
	struct rte_eth_dev_info dev;
	struct rte_eth_link link;

	info->queues_active = atomic_load(&port->rx_queues);
	info->state = XV_PORT_UP;
	if (rte_eth_link_get_nowait(e->ethdev, &link) == 0 && link.link_status == RTE_ETH_LINK_DOWN)
		info->state = XV_PORT_DOWN;
	if (rte_eth_dev_info_get(e->ethdev, &dev) == 0)
		snprintf(info->driver, sizeof(info->driver), "%s", dev.driver_name);
}

static int reconfigure(struct xv_port *port, const struct xv_port_config *config,
		       struct xv_err *err)
{
	struct ethdev_port *e = (struct ethdev_port *)port;
	int rc;

	if (config->csum != port->csum || config->tso != port->tso)
		return -ENOTSUP;
	rc = config->mtu == 0 ? 0 : rte_eth_dev_set_mtu(e->ethdev, config->mtu);
	if (rc != 0 && rc != -ENOTSUP)
		return xv_err_set(err, rc, XV_ERR_RANGE, "device refuses an MTU of %u: %s",
				  config->mtu, rte_strerror(-rc));
	xv_port_set_mtu(port, config->mtu, device_mtu(e));
	return 0;
}

static uint16_t rx(struct xv_port *port, uint16_t queue, struct rte_mbuf **pkts, uint16_t n)
{
	return rte_eth_rx_burst(((struct ethdev_port *)port)->ethdev, queue, pkts, n);
}

/* Our offload request in DPDK's terms. Only for what tx_caps promised. */
static bool translate_offload(struct rte_mbuf *m)
{
	const struct xv_offload *request = xv_packet_offload(m);
	struct xv_parsed parsed;
	bool ipv6;

	if (xv_parse(rte_pktmbuf_mtod(m, const uint8_t *), rte_pktmbuf_data_len(m),
		     rte_pktmbuf_pkt_len(m), &parsed) != XV_PARSE_OK ||
	    parsed.l4_offset == 0)
		return false;
	ipv6 = parsed.eth_type == RTE_ETHER_TYPE_IPV6;
	m->l2_len = parsed.l3_offset;
	m->l3_len = parsed.l4_offset - parsed.l3_offset;
	m->l4_len = parsed.l4_len;
	m->ol_flags &= ~XV_PACKET_OFFLOAD;
	m->ol_flags |= ipv6 ? RTE_MBUF_F_TX_IPV6 : RTE_MBUF_F_TX_IPV4;
	if (request->gso_type != XV_GSO_NONE) {
		m->tso_segsz = request->gso_size;
		m->ol_flags |= RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_TCP_CKSUM;
		if (!ipv6)
			m->ol_flags |= RTE_MBUF_F_TX_IP_CKSUM;
	} else if ((request->flags & XV_OFFLOAD_CSUM) != 0) {
		m->ol_flags |= parsed.ip_proto == IPPROTO_UDP ? RTE_MBUF_F_TX_UDP_CKSUM
							      : RTE_MBUF_F_TX_TCP_CKSUM;
	}
	return true;
}

static uint16_t tx(struct xv_port *port, uint16_t queue, struct rte_mbuf **pkts, uint16_t n,
		   enum xv_drop *why)
{
	struct ethdev_port *e = (struct ethdev_port *)port;
	uint16_t i, sent;

	*why = XV_DROP_TX_FULL;
	for (i = 0; i < n; i++) {
		if ((pkts[i]->ol_flags & XV_PACKET_OFFLOAD) != 0 && !translate_offload(pkts[i])) {
			*why = XV_DROP_OFFLOAD;
			break;
		}
		if (!e->multi_segs && pkts[i]->nb_segs > 1 && rte_pktmbuf_linearize(pkts[i]) != 0) {
			*why = XV_DROP_TX_SIZE;
			break;
		}
	}
	n = i;
	rte_spinlock_lock(&e->tx_lock[queue]);
	n = rte_eth_tx_prepare(e->ethdev, queue, pkts, n);
	sent = rte_eth_tx_burst(e->ethdev, queue, pkts, n);
	rte_spinlock_unlock(&e->tx_lock[queue]);
	if (sent < n)
		*why = XV_DROP_TX_FULL;
	else if (n < i)
		*why = XV_DROP_OFFLOAD;
	return sent;
}

const struct xv_port_ops xv_ethdev_port_ops = {
	.kind = XV_PORT_ETHDEV,
	.create = create,
	.destroy = destroy,
	.info = info,
	.reconfigure = reconfigure,
	.rx = rx,
	.tx = tx,
	.tx_keeps = true,
};
