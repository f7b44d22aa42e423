/* SPDX-License-Identifier: Apache-2.0 */
/* A virtual machine's port: joins the virtio device (virtio/) to the port interface. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <net/ethernet.h>
#include <netinet/if_ether.h>

#include "port/eal.h"
#include "port/kinds.h"
#include "virtio/vhost_user.h"

struct vhost_port {
	struct xv_port port;
	struct xv_vhost *vhost;
};

/* Virtqueue indexes (virtio 1.2, 5.1.2): what the guest transmits is what we receive. */
static inline uint16_t rx_ring(uint16_t queue)
{
	return (uint16_t)(2 * queue + 1);
}

static inline uint16_t tx_ring(uint16_t queue)
{
	return (uint16_t)(2 * queue);
}

static void on_changed(struct xv_vhost *vhost, void *arg)
{
	struct vhost_port *v = arg;
	struct xv_vhost_state state;
	uint16_t q;

	xv_vhost_get_state(vhost, &state);
	atomic_store(&v->port.tx_caps, state.caps);
	atomic_store(&v->port.rx_queues, state.pairs_active);
	atomic_store(&v->port.tx_queues, state.pairs_active);
	/* A worker may sleep with these rings unarmed, or holding packets for them: let it look. */
	for (q = 0; q < state.pairs_active; q++)
		xv_port_rxq_wake(&v->port, q);
	if (v->port.changed != NULL)
		v->port.changed(&v->port, v->port.arg);
}

static void on_kick_fd(struct xv_vhost *vhost, uint16_t index, int fd, void *arg)
{
	struct vhost_port *v = arg;

	(void)vhost;
	if ((index & 1) != 0)
		xv_port_rxq_set_fd(&v->port, index / 2, fd);
}

/* The broadcast that tells switches where a MAC now is (VHOST_USER_SEND_RARP, RFC 903). */
static void on_rarp(struct xv_vhost *vhost, const uint8_t mac[6], void *arg)
{
	struct vhost_port *v = arg;
	struct {
		struct ether_header eth;
		struct ether_arp arp;
		uint8_t pad[18]; /* to 60 bytes */
	} __attribute__((packed)) frame;

	(void)vhost;
	memset(&frame, 0, sizeof(frame));
	memset(frame.eth.ether_dhost, 0xff, ETH_ALEN);
	memcpy(frame.eth.ether_shost, mac, ETH_ALEN);
	frame.eth.ether_type = htobe16(ETHERTYPE_REVARP);
	frame.arp.ea_hdr.ar_hrd = htobe16(ARPHRD_ETHER);
	frame.arp.ea_hdr.ar_pro = htobe16(ETHERTYPE_IP);
	frame.arp.ea_hdr.ar_hln = ETH_ALEN;
	frame.arp.ea_hdr.ar_pln = 4;
	frame.arp.ea_hdr.ar_op = htobe16(ARPOP_RREQUEST);
	memcpy(frame.arp.arp_sha, mac, ETH_ALEN);
	memcpy(frame.arp.arp_tha, mac, ETH_ALEN);
	if (v->port.inject != NULL)
		v->port.inject(&v->port, (const uint8_t *)&frame, sizeof(frame), v->port.arg);
}

static int create(const struct xv_port_config *config, struct event_base *events,
		  struct xv_port **port, struct xv_err *err)
{
	static const struct xv_vhost_events callbacks = {
		.changed = on_changed,
		.kick_fd = on_kick_fd,
		.rarp = on_rarp,
	};
	struct xv_vhost_config vhost_config = {
		.name = config->name,
		.socket = config->socket,
		.client = config->client,
		.socket_owner = config->socket_owner,
		.socket_group = config->socket_group,
		.socket_mode = config->socket_mode,
		.max_pairs = config->queues,
		.mtu = config->mtu,
		.csum = config->csum,
		.tso = config->tso,
		.pool = xv_packet_pool(),
	};
	struct vhost_port *v = calloc(1, sizeof(*v));
	int rc;

	if (v == NULL)
		return xv_err_set(err, -ENOMEM, XV_ERR_RESOURCE, "out of memory");
	xv_port_init(&v->port, &xv_vhost_port_ops, config);
	rc = xv_vhost_create(&vhost_config, events, &callbacks, v, &v->vhost, err);
	if (rc != 0) {
		free(v);
		return rc;
	}
	*port = &v->port;
	return 0;
}

static void destroy(struct xv_port *port)
{
	struct vhost_port *v = (struct vhost_port *)port;

	port->changed = NULL;
	port->inject = NULL;
	xv_vhost_destroy(v->vhost);
	free(v);
}

static void info(struct xv_port *port, struct xv_port_info *info)
{
	struct vhost_port *v = (struct vhost_port *)port;
	struct xv_vhost_state state;

	xv_vhost_get_state(v->vhost, &state);
	info->is_virtio = true;
	info->connected = state.connected;
	info->packed = state.packed;
	info->features = state.features;
	info->protocol_features = state.protocol_features;
	info->connects = state.connects;
	info->disconnects = state.disconnects;
	info->broken_total = state.broken_total;
	info->rx_header_errors = state.bad_headers;
	info->queues_active = state.pairs_active;
	memcpy(info->broken, state.broken, sizeof(info->broken));
	if (state.is_broken)
		info->state = XV_PORT_BROKEN;
	else
		info->state = state.pairs_active > 0 ? XV_PORT_UP : XV_PORT_WAITING;
}

static int reconfigure(struct xv_port *port, const struct xv_port_config *config,
		       struct xv_err *err)
{
	struct vhost_port *v = (struct vhost_port *)port;
	int rc = xv_vhost_set_mtu(v->vhost, config->mtu);

	if (rc != 0)
		return xv_err_set(err, rc, XV_ERR_RANGE, "the guest was told a larger MTU already");
	xv_vhost_set_offloads(v->vhost, config->csum, config->tso);
	port->csum = config->csum;
	port->tso = config->tso;
	atomic_store(&port->mtu, config->mtu);
	return 0;
}

static uint16_t rx(struct xv_port *port, uint16_t queue, struct rte_mbuf **pkts, uint16_t n)
{
	struct xv_vring *vq = xv_vhost_ring(((struct vhost_port *)port)->vhost, rx_ring(queue));

	return vq == NULL ? 0 : vq->recv(vq, pkts, n);
}

static bool rx_lent(struct xv_port *port, uint16_t queue)
{
	return xv_vhost_ring_in_burst(((struct vhost_port *)port)->vhost, rx_ring(queue))->lent;
}

static unsigned int rx_return(struct xv_port *port, uint16_t queue)
{
	return xv_vring_return(xv_vhost_ring_in_burst(((struct vhost_port *)port)->vhost, rx_ring(queue)));
}

static uint16_t rx_backlog(struct xv_port *port, uint16_t queue, uint16_t n)
{
	struct xv_vring *vq = xv_vhost_ring(((struct vhost_port *)port)->vhost, rx_ring(queue));

	return vq == NULL ? 0 : xv_vring_backlog(vq, n);
}

static uint16_t tx(struct xv_port *port, uint16_t queue, struct rte_mbuf **pkts, uint16_t n,
		   enum xv_drop *why)
{
	static const enum xv_drop drops[] = {
		[XV_VRING_FULL] = XV_DROP_TX_FULL,
		[XV_VRING_TOO_LONG] = XV_DROP_TX_SIZE,
		[XV_VRING_OFFLOAD] = XV_DROP_OFFLOAD,
		[XV_VRING_DEAD] = XV_DROP_TX_DOWN,
	};
	struct xv_vring *vq = xv_vhost_ring(((struct vhost_port *)port)->vhost, tx_ring(queue));
	enum xv_vring_reject reject;
	uint16_t sent;

	if (vq == NULL) {
		/* Stopped for a moment (its dirty log or memory changes), or for good: then on_changed() knows. */
		*why = queue < atomic_load_explicit(&port->tx_queues, memory_order_relaxed)
			       ? XV_DROP_TX_FULL
			       : XV_DROP_TX_DOWN;
		return 0;
	}
	rte_spinlock_lock(&vq->lock); /* other workers may send to this guest queue too */
	sent = vq->send(vq, pkts, n, &reject);
	rte_spinlock_unlock(&vq->lock);
	*why = drops[reject];
	return sent;
}

static enum xv_arm rx_arm(struct xv_port *port, uint16_t queue)
{
	struct xv_vring *vq = xv_vhost_ring(((struct vhost_port *)port)->vhost, rx_ring(queue));

	if (vq == NULL)
		return XV_ARM_OK; /* on_changed() wakes the worker when it comes up */
	if (vq->kick_fd < 0)
		return XV_ARM_POLL;
	return xv_vring_arm(vq) ? XV_ARM_OK : XV_ARM_BUSY;
}

static void rx_disarm(struct xv_port *port, uint16_t queue)
{
	struct xv_vring *vq = xv_vhost_ring(((struct vhost_port *)port)->vhost, rx_ring(queue));

	if (vq != NULL)
		xv_vring_disarm(vq);
}

const struct xv_port_ops xv_vhost_port_ops = {
	.kind = XV_PORT_VHOST,
	.create = create,
	.destroy = destroy,
	.info = info,
	.reconfigure = reconfigure,
	.rx = rx,
	.rx_lent = rx_lent,
	.rx_return = rx_return,
	.rx_backlog = rx_backlog,
	.tx = tx,
	.rx_arm = rx_arm,
	.rx_disarm = rx_disarm,
};
