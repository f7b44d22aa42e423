/* SPDX-License-Identifier: Apache-2.0 */
#include "port/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include <rte_ring.h>
#include <sys/eventfd.h>

#include "port/kinds.h"

#define WAITING_MAX 256

struct internal_port {
	struct xv_port port;
	struct rte_ring *waiting; /* any worker -> control */
	_Atomic bool told;        /* the descriptor is readable, or about to be */
	int fd;
};

static int create(const struct xv_port_config *config, struct event_base *events,
		  struct xv_port **port, struct xv_err *err)
{
	ssize_t bytes = rte_ring_get_memsize(WAITING_MAX);
	struct internal_port *p = calloc(1, sizeof(*p));

	(void)events;
	if (p == NULL)
		return xv_err_set(err, -ENOMEM, XV_ERR_RESOURCE, "out of memory");
	p->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	p->waiting = aligned_alloc(RTE_CACHE_LINE_SIZE,
				   RTE_ALIGN_CEIL((size_t)bytes, RTE_CACHE_LINE_SIZE));
	if (p->fd < 0 || p->waiting == NULL ||
	    rte_ring_init(p->waiting, "internal", WAITING_MAX, RING_F_SC_DEQ) != 0) {
		if (p->fd >= 0)
			close(p->fd);
		free(p->waiting);
		free(p);
		return xv_err_set(err, -ENOMEM, XV_ERR_RESOURCE, "out of memory or descriptors");
	}
	xv_port_init(&p->port, &xv_internal_port_ops, config);
	p->port.max_queues = 0; /* nothing to poll */
	atomic_store(&p->port.tx_queues, 1);
	*port = &p->port;
	return 0;
}

static void destroy(struct xv_port *port)
{
	struct internal_port *p = (struct internal_port *)port;
	struct rte_mbuf *m;

	if (p == NULL)
		return;
	while (xv_internal_port_take(port, &m, 1) == 1)
		rte_pktmbuf_free(m);
	close(p->fd);
	free(p->waiting);
	free(p);
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

static uint16_t tx(struct xv_port *port, uint16_t queue, struct rte_mbuf **pkts, uint16_t n,
		   enum xv_drop *why)
{
	struct internal_port *p = (struct internal_port *)port;
	uint16_t sent = (uint16_t)rte_ring_mp_enqueue_burst(p->waiting, (void **)pkts, n, NULL);
	uint64_t one = 1;

	*why = XV_DROP_TX_FULL;
	if (sent > 0 && !atomic_exchange(&p->told, true))
		(void)!write(p->fd, &one, sizeof(one));
	return sent;
}

int xv_internal_port_fd(const struct xv_port *port)
{
	return ((const struct internal_port *)(const void *)port)->fd;
}

uint16_t xv_internal_port_take(struct xv_port *port, struct rte_mbuf **pkts, uint16_t n)
{
	struct internal_port *p = (struct internal_port *)port;
	uint16_t taken = (uint16_t)rte_ring_sc_dequeue_burst(p->waiting, (void **)pkts, n, NULL);
	uint64_t value;

	if (taken == n)
		return n;
	/* What comes in from here on tells again. */
	(void)!read(p->fd, &value, sizeof(value));
	atomic_store(&p->told, false);
	return (uint16_t)(taken + rte_ring_sc_dequeue_burst(p->waiting, (void **)pkts + taken,
							    n - taken, NULL));
}

const struct xv_port_ops xv_internal_port_ops = {
	.kind = XV_PORT_INTERNAL,
	.create = create,
	.destroy = destroy,
	.info = info,
	.rx = rx,
	.tx = tx,
	.tx_keeps = true,
};
