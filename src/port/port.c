/* SPDX-License-Identifier: Apache-2.0 */
#include "port/port.h"

#include <errno.h>
#include <stdio.h>

#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "port/kinds.h"

const struct xv_port_ops *const xv_port_kinds[] = {
	[XV_PORT_VHOST] = &xv_vhost_port_ops,
	[XV_PORT_ETHDEV] = &xv_ethdev_port_ops,
	[XV_PORT_TAP] = &xv_tap_port_ops,
	[XV_PORT_DUMMY] = &xv_dummy_port_ops,
	[XV_PORT_TUNNEL] = &xv_tunnel_port_ops,
	[XV_PORT_INTERNAL] = &xv_internal_port_ops,
	[XV_PORT_KERNEL] = &xv_kernel_port_ops,
};

const char *xv_port_kind_name(enum xv_port_kind kind)
{
	static const char *const names[] = {"vhost", "ethdev", "tap", "dummy", "tunnel", "internal", "kernel"};

	return names[kind];
}

const char *xv_port_state_name(enum xv_port_state state)
{
	static const char *const names[] = {"down", "waiting", "up", "broken"};

	return names[state];
}

void xv_port_init(struct xv_port *port, const struct xv_port_ops *ops,
		  const struct xv_port_config *config)
{
	unsigned int i;

	port->ops = ops;
	port->max_queues = config->queues;
	port->csum = config->csum;
	port->tso = config->tso;
	atomic_init(&port->binding, NULL);
	atomic_init(&port->tx_caps, 0);
	xv_port_set_mtu(port, config->mtu, 0);
	atomic_init(&port->rx_queues, 0);
	atomic_init(&port->tx_queues, 0);
	snprintf(port->name, sizeof(port->name), "%s", config->name);
	for (i = 0; i < XV_MAX_QUEUES; i++)
		port->rxq[i] = (struct xv_port_rxq){.fd = -1, .epoll_fd = -1, .wake_fd = -1};
}

void xv_port_set_mtu(struct xv_port *port, uint16_t mtu, uint32_t device_mtu)
{
	uint32_t link_mtu = mtu != 0 ? mtu : device_mtu;

	atomic_store(&port->mtu, mtu);
	atomic_store(&port->link_mtu, link_mtu != 0 ? link_mtu : UINT32_MAX);
}

int xv_port_create(const struct xv_port_config *config, uint16_t id, struct event_base *events,
		   struct xv_port **port, struct xv_err *err)
{
	int rc = xv_port_kinds[config->kind]->create(config, events, port, err);

	if (rc != 0) {
		xv_err_object(err, "port", config->name);
		return rc;
	}
	(*port)->id = id;
	return 0;
}

void xv_port_destroy(struct xv_port *port)
{
	if (port != NULL)
		port->ops->destroy(port);
}

/* Put the queue's descriptor into its worker's epoll set. A descriptor that cannot be watched (a hostile
 * front end may send anything) leaves the queue to the worker's timer. */
static void watch(const struct xv_port *port, uint16_t queue, struct xv_port_rxq *q)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u32 = xv_port_rxq_tag(port, queue)};

	if (q->fd < 0 || q->epoll_fd < 0)
		return;
	if (epoll_ctl(q->epoll_fd, EPOLL_CTL_ADD, q->fd, &event) != 0 && errno != EEXIST)
		q->fd = -1;
}

static void unwatch(struct xv_port_rxq *q)
{
	if (q->fd >= 0 && q->epoll_fd >= 0)
		(void)epoll_ctl(q->epoll_fd, EPOLL_CTL_DEL, q->fd, NULL);
}

void xv_port_rxq_set_fd(struct xv_port *port, uint16_t queue, int fd)
{
	struct xv_port_rxq *q = &port->rxq[queue];

	unwatch(q);
	q->fd = fd;
	watch(port, queue, q);
}

void xv_port_rxq_set_worker(struct xv_port *port, uint16_t queue, int epoll_fd, int wake_fd)
{
	struct xv_port_rxq *q = &port->rxq[queue];

	unwatch(q);
	q->epoll_fd = epoll_fd;
	q->wake_fd = wake_fd;
	watch(port, queue, q);
}

void xv_port_rxq_wake(struct xv_port *port, uint16_t queue)
{
	if (port->rxq[queue].wake_fd >= 0)
		(void)eventfd_write(port->rxq[queue].wake_fd, 1);
}
