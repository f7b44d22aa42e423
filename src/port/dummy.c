/* SPDX-License-Identifier: Apache-2.0 */
#include "port/dummy.h"

#include <errno.h>
#include <stdlib.h>

#include "port/kinds.h"

#define RX_SIZE 1024
#define TX_SIZE 4096

struct fifo {
	struct rte_mbuf *pkts[TX_SIZE];
	unsigned int head, n;
};

struct dummy {
	struct xv_port port;
	struct fifo rx[XV_MAX_QUEUES];
	struct fifo tx;
	unsigned int room;
};

static int fifo_put(struct fifo *f, struct rte_mbuf *m, unsigned int limit)
{
	if (f->n == limit)
		return -ENOSPC;
	f->pkts[(f->head + f->n++) % TX_SIZE] = m;
	return 0;
}

static struct rte_mbuf *fifo_take(struct fifo *f)
{
	struct rte_mbuf *m;

	if (f->n == 0)
		return NULL;
	m = f->pkts[f->head];
	f->head = (f->head + 1) % TX_SIZE;
	f->n--;
	return m;
}

static int create(const struct xv_port_config *config, struct event_base *events,
		  struct xv_port **port, struct xv_err *err)
{
	struct dummy *d = calloc(1, sizeof(*d));

	(void)events;
	if (d == NULL)
		return xv_err_set(err, -ENOMEM, XV_ERR_RESOURCE, "out of memory");
	xv_port_init(&d->port, &xv_dummy_port_ops, config);
	d->room = TX_SIZE;
	xv_dummy_set_up(&d->port, true);
	*port = &d->port;
	return 0;
}

static void destroy(struct xv_port *port)
{
	struct dummy *d = (struct dummy *)port;
	struct rte_mbuf *m;
	unsigned int i;

	for (i = 0; i < XV_MAX_QUEUES; i++)
		while ((m = fifo_take(&d->rx[i])) != NULL)
			rte_pktmbuf_free(m);
	while ((m = fifo_take(&d->tx)) != NULL)
		rte_pktmbuf_free(m);
	free(d);
}

static void info(struct xv_port *port, struct xv_port_info *info)
{
	info->queues_active = atomic_load(&port->tx_queues);
	info->state = info->queues_active > 0 ? XV_PORT_UP : XV_PORT_DOWN;
}

static int reconfigure(struct xv_port *port, const struct xv_port_config *config,
		       struct xv_err *err)
{
	(void)err;
	xv_port_set_mtu(port, config->mtu, 0);
	return 0;
}

static uint16_t rx(struct xv_port *port, uint16_t queue, struct rte_mbuf **pkts, uint16_t n)
{
	struct dummy *d = (struct dummy *)port;
	uint16_t i;

	for (i = 0; i < n; i++) {
		pkts[i] = fifo_take(&d->rx[queue]);
		if (pkts[i] == NULL)
			break;
	}
	return i;
}

static uint16_t tx(struct xv_port *port, uint16_t queue, struct rte_mbuf **pkts, uint16_t n,
		   enum xv_drop *why)
{
	struct dummy *d = (struct dummy *)port;
	uint16_t i;

	(void)queue;
	*why = XV_DROP_TX_DOWN;
	if (atomic_load(&port->tx_queues) == 0)
		return 0;
	*why = XV_DROP_TX_FULL;
	for (i = 0; i < n; i++)
		if (fifo_put(&d->tx, pkts[i], RTE_MIN(d->room, (unsigned int)TX_SIZE)) != 0)
			break;
	return i;
}

const struct xv_port_ops xv_dummy_port_ops = {
	.kind = XV_PORT_DUMMY,
	.create = create,
	.destroy = destroy,
	.info = info,
	.reconfigure = reconfigure,
	.rx = rx,
	.tx = tx,
	.tx_keeps = true,
};

int xv_dummy_put(struct xv_port *port, uint16_t queue, struct rte_mbuf *m)
{
	return fifo_put(&((struct dummy *)port)->rx[queue], m, RX_SIZE);
}

struct rte_mbuf *xv_dummy_take(struct xv_port *port)
{
	return fifo_take(&((struct dummy *)port)->tx);
}

void xv_dummy_set_room(struct xv_port *port, unsigned int n)
{
	struct dummy *d = (struct dummy *)port;

	d->room = d->tx.n + n;
}

void xv_dummy_set_up(struct xv_port *port, bool up)
{
	uint16_t queues = up ? port->max_queues : 0;

	atomic_store(&port->rx_queues, queues);
	atomic_store(&port->tx_queues, queues);
	if (port->changed != NULL)
		port->changed(port, port->arg);
}

void xv_dummy_set_caps(struct xv_port *port, uint32_t caps)
{
	atomic_store(&port->tx_caps, caps);
}
