/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tunnel to a remote VTEP as a member of its network. It has no device and no queues of its own: what it "receives"
 * was decapsulated from an uplink, what is sent to it gets outer headers and goes out of the uplink (fastpath/vtep.h).
 */
#include <errno.h>
#include <stdlib.h>

#include "port/kinds.h"

static int create(const struct xv_port_config *config, struct event_base *events, struct xv_port **port,
		  struct xv_err *err)
{
	struct xv_port *p = calloc(1, sizeof(*p));

	(void)events;
	if (p == NULL)
		return xv_err_set(err, -ENOMEM, XV_ERR_RESOURCE, "out of memory");
	xv_port_init(p, &xv_tunnel_port_ops, config);
	p->max_queues = 0; /* nothing to poll */
	/* Requests travel inside: what the uplink cannot take is finished when the outer headers are put on. */
	atomic_store(&p->tx_caps, XV_CAP_CSUM | XV_CAP_TSO4 | XV_CAP_TSO6 | XV_CAP_ECN);
	atomic_store(&p->tx_queues, 1);
	*port = p;
	return 0;
}

static void destroy(struct xv_port *port)
{
	free(port);
}

static void info(struct xv_port *port, struct xv_port_info *info)
{
	(void)port;
	info->state = XV_PORT_UP;
}

static uint16_t rx(struct xv_port *port, uint16_t queue, struct rte_mbuf **pkts, uint16_t n)
{
	return 0;
}

static uint16_t tx(struct xv_port *port, uint16_t queue, struct rte_mbuf **pkts, uint16_t n, enum xv_drop *why)
{
	*why = XV_DROP_TX_DOWN;
	return 0;
}

const struct xv_port_ops xv_tunnel_port_ops = {
	.kind = XV_PORT_TUNNEL,
	.create = create,
	.destroy = destroy,
	.info = info,
	.rx = rx,
	.tx = tx,
};
