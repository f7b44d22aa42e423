/* SPDX-License-Identifier: Apache-2.0 */
/* A vhost-user device: its life, its connection, and how it ends. */
#include "virtio/vhost_device.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <sys/eventfd.h>

#include "base/log.h"
#include "net/packet.h"
#include "virtio/signal_fd.h"

/* A front end that floods us with messages gets this many in, then it is the others' turn. */
#define MESSAGES_PER_TURN 16

static LIST_HEAD(, xv_vhost) devices = LIST_HEAD_INITIALIZER(devices);
static int broken_fd = -1;
static struct event *broken_event;

/* At the end of whatever the control thread did to a device. */
static void tell_changes(struct xv_vhost *v)
{
	if (!v->changed)
		return;
	v->changed = false;
	v->events.changed(v, v->arg);
}

/*
 * Connection
 */

static void drop_message(struct xv_vhost *v)
{
	unsigned int i;

	for (i = 0; i < v->msg.n_fds; i++)
		if (v->msg.fds[i] >= 0)
			(void)close(v->msg.fds[i]);
	v->msg.n_fds = 0;
	v->received = 0;
}

static void disconnect(struct xv_vhost *v, bool at_fault)
{
	if (v->fd < 0)
		return;
	event_free(v->event);
	v->event = NULL;
	(void)close(v->fd);
	v->fd = -1;
	drop_message(v);
	xv_vhost_reset(v);
	v->ring_error = XV_VRING_OK;
	v->disconnects++;
	v->changed = true;
	/* One that hangs up before it says anything would be called again and again. */
	if (v->socket != NULL)
		xv_vhost_socket_closed(v->socket, at_fault || v->messages == 0);
}

void xv_vhost_break(struct xv_vhost *v, const char *fmt, ...)
{
	unsigned int i;
	va_list ap;

	if (v->fd < 0)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(v->broken, sizeof(v->broken), fmt, ap);
	va_end(ap);
	v->is_broken = true;
	v->broken_total++;
	XV_LOG_LIMITED(XV_LOG_ERROR, v->name, "broken: %s", v->broken);
	for (i = 0; i < v->n_rings; i++)
		if (v->rings[i].err_fd >= 0)
			(void)xv_signal_fd(v->rings[i].err_fd);
	disconnect(v, true);
}

/* Something that no message told us: a worker found a ring broken, or a file shrank. */
static void check_broken(struct xv_vhost *v)
{
	enum xv_vring_error error = v->ring_error;
	unsigned int i, index = v->ring_error_index;

	if (v->fd < 0)
		return;
	/* First: a ring that reads zeros from memory that is gone may have complained, too. */
	if (v->mem != NULL && atomic_load(&v->mem->broken)) {
		xv_vhost_break(v, "%s", xv_vring_error_text(XV_VRING_MEMORY_GONE));
		return;
	}
	if (v->log != NULL && atomic_load(&v->log->broken)) {
		xv_vhost_break(v, "the file behind the dirty log shrank");
		return;
	}
	if (v->inflight != NULL && atomic_load(&v->inflight->broken)) {
		xv_vhost_break(v, "the file behind the in-flight log shrank");
		return;
	}
	for (i = 0; i < v->n_rings && error == XV_VRING_OK; i++) {
		if (!xv_vhost_ring_is_published(v, i))
			continue;
		error = atomic_load(&v->rings[i].vq.error);
		index = i;
	}
	if (error != XV_VRING_OK)
		xv_vhost_break(v, "ring %u: %s", index, xv_vring_error_text(error));
}

/*
 * Read on until a message is complete. 1 = it is, 0 = later, or -errno: the connection is over, in
 * which case the device may have been broken.
 */
static int read_message(struct xv_vhost *v)
{
	struct xv_vhost_message *msg = &v->msg;
	const struct xv_vhost_header *h = &msg->header;

	for (;;) {
		size_t want;
		uint8_t *at;
		ssize_t got;

		/* Never more than this message: descriptors come with the bytes they belong to. */
		if (v->received < sizeof(*h)) {
			at = (uint8_t *)&msg->header + v->received;
			want = sizeof(*h) - v->received;
		} else {
			at = msg->payload.bytes + (v->received - sizeof(*h));
			want = sizeof(*h) + h->size - v->received;
		}
		if (want == 0)
			return 1;
		got = xv_vhost_recv(v->fd, at, want, msg->fds, &msg->n_fds, XV_VHOST_MAX_FDS);
		if (got == -EAGAIN)
			return 0;
		if (got == -EPROTO)
			xv_vhost_break(
				v, "file descriptors were lost: too many in one message, or our "
				   "limit is reached");
		if (got <= 0)
			return got == 0 ? -ECONNRESET : (int)got;
		v->received += (size_t)got;
		if (v->received != sizeof(*h))
			continue;
		if ((h->flags & XV_VHOST_VERSION_MASK) != XV_VHOST_VERSION ||
		    (h->flags & XV_VHOST_REPLY) != 0) {
			xv_vhost_break(v, "request %u with flags %#x", h->request, h->flags);
			return -EPROTO;
		}
		if (h->size > XV_VHOST_MAX_PAYLOAD) {
			xv_vhost_break(v, "request %u with %u bytes of payload", h->request,
				       h->size);
			return -EPROTO;
		}
	}
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct xv_vhost *v = arg;
	unsigned int i;
	int rc = 0;

	for (i = 0; i < MESSAGES_PER_TURN && v->fd >= 0; i++) {
		rc = read_message(v);
		if (rc <= 0)
			break;
		v->messages++;
		/* What a short message leaves out is zero, not what the one before left there. */
		memset(v->msg.payload.bytes + v->msg.header.size, 0,
		       sizeof(v->msg.payload.memory) > v->msg.header.size
			       ? sizeof(v->msg.payload.memory) - v->msg.header.size
			       : 0);
		xv_vhost_handle(v);
		drop_message(v);
		if (v->ring_error != XV_VRING_OK)
			check_broken(v);
	}
	if (rc < 0 && v->fd >= 0) {
		XV_LOG_LIMITED(XV_LOG_INFO, v->name, "disconnected");
		disconnect(v, false);
	}
	tell_changes(v);
}

static int connection_start(struct xv_vhost *v, int fd)
{
	v->event = event_new(v->base, fd, EV_READ | EV_PERSIST, on_readable, v);
	if (v->event == NULL || event_add(v->event, NULL) != 0) {
		if (v->event != NULL)
			event_free(v->event);
		v->event = NULL;
		(void)close(fd);
		return -ENOMEM;
	}
	v->fd = fd;
	v->messages = 0;
	v->connects++;
	v->is_broken = false;
	v->broken[0] = '\0';
	v->changed = true;
	return 0;
}

static void on_connected(int fd, void *arg)
{
	struct xv_vhost *v = arg;

	/* The successor of one that died may be here before we have read the end of that
	 * connection. */
	if (v->fd >= 0 && xv_vhost_peer_is_gone(v->fd)) {
		XV_LOG_LIMITED(XV_LOG_INFO, v->name, "disconnected");
		disconnect(v, false);
	}
	if (v->fd >= 0) {
		XV_LOG_LIMITED(XV_LOG_WARNING, v->name,
			       "a second front end was turned away: one is connected");
		(void)close(fd);
		return;
	}
	if (connection_start(v, fd) != 0) {
		XV_LOG_LIMITED(XV_LOG_ERROR, v->name, "out of memory: connection closed");
		xv_vhost_socket_closed(v->socket, true);
	} else {
		XV_LOG_LIMITED(XV_LOG_INFO, v->name, "connected");
	}
	tell_changes(v);
}

/*
 * Life
 */

static int device_create(const struct xv_vhost_config *config, struct event_base *base,
			 const struct xv_vhost_events *events, void *arg, struct xv_vhost **vhost,
			 struct xv_err *err)
{
	unsigned int i, n = 2u * config->max_pairs;
	struct xv_vhost *v;
	size_t size;

	if (config->max_pairs == 0 || config->max_pairs > XV_VHOST_MAX_PAIRS)
		return xv_err_set(err, -EINVAL, XV_ERR_RANGE, "queues: %u is not within 1..%u",
				  config->max_pairs, XV_VHOST_MAX_PAIRS);
	size = sizeof(*v) +
	       n * sizeof(v->rings[0]); /* a multiple of the alignment, like both terms */
	v = aligned_alloc(_Alignof(struct xv_vhost), size);
	if (v == NULL)
		return xv_err_set(err, -ENOMEM, XV_ERR_RESOURCE, "out of memory");
	memset(v, 0, size);
	if (asprintf(&v->name, "vhost %s", config->name) < 0) {
		free(v);
		return xv_err_set(err, -ENOMEM, XV_ERR_RESOURCE, "out of memory");
	}
	v->base = base;
	v->events = *events;
	v->arg = arg;
	v->max_pairs = config->max_pairs;
	v->n_rings = (uint16_t)n;
	v->mtu_limit = config->mtu;
	v->csum = config->csum;
	v->tso = config->tso;
	v->pool = config->pool;
	v->fd = v->log_fd = v->backend_fd = -1;
	for (i = 0; i < n; i++)
		v->rings[i].kick_fd = v->rings[i].call_fd = v->rings[i].err_fd = -1;
	xv_vhost_reset(v);
	v->changed = false;
	LIST_INSERT_HEAD(&devices, v, link);
	*vhost = v;
	return 0;
}

int xv_vhost_create(const struct xv_vhost_config *config, struct event_base *base,
		    const struct xv_vhost_events *events, void *arg, struct xv_vhost **vhost,
		    struct xv_err *err)
{
	struct xv_vhost_socket_config socket_config = {
		.path = config->socket,
		.client = config->client,
		.owner = config->socket_owner,
		.group = config->socket_group,
		.mode = config->socket_mode,
	};
	struct xv_vhost *v;
	int rc;

	rc = device_create(config, base, events, arg, &v, err);
	if (rc != 0)
		return rc;
	socket_config.name = v->name;
	rc = xv_vhost_socket_create(&socket_config, base, on_connected, v, &v->socket, err);
	if (rc != 0) {
		xv_vhost_destroy(v);
		return rc;
	}
	*vhost = v;
	return 0;
}

int xv_vhost_create_fd(const struct xv_vhost_config *config, struct event_base *base,
		       const struct xv_vhost_events *events, void *arg, int fd,
		       struct xv_vhost **vhost, struct xv_err *err)
{
	struct xv_vhost *v;
	int rc;

	rc = device_create(config, base, events, arg, &v, err);
	if (rc != 0) {
		(void)close(fd);
		return rc;
	}
	if (connection_start(v, fd) != 0) {
		xv_vhost_destroy(v);
		return xv_err_set(err, -ENOMEM, XV_ERR_RESOURCE, "out of memory");
	}
	*vhost = v;
	return 0;
}

void xv_vhost_destroy(struct xv_vhost *v)
{
	struct xv_vhost_socket *sock;

	if (v == NULL)
		return;
	sock = v->socket;
	v->socket = NULL; /* nobody is to connect any more */
	xv_vhost_socket_destroy(sock);
	disconnect(v, false);
	tell_changes(v);
	LIST_REMOVE(v, link);
	free(v->name);
	free(v);
}

int xv_vhost_set_mtu(struct xv_vhost *v, uint16_t mtu)
{
	v->mtu_limit = mtu;
	return 0;
}

void xv_vhost_set_offloads(struct xv_vhost *v, bool csum, bool tso)
{
	v->csum = csum;
	v->tso = tso;
}

void xv_vhost_get_state(const struct xv_vhost *v, struct xv_vhost_state *state)
{
	static const struct {
		unsigned int bit;
		uint32_t cap;
	} caps[] = {
		{VIRTIO_NET_F_GUEST_CSUM, XV_CAP_CSUM}, {VIRTIO_NET_F_GUEST_TSO4, XV_CAP_TSO4},
		{VIRTIO_NET_F_GUEST_TSO6, XV_CAP_TSO6}, {VIRTIO_NET_F_GUEST_UFO, XV_CAP_UFO},
		{VIRTIO_NET_F_GUEST_ECN, XV_CAP_ECN},
	};
	unsigned int i;

	*state = (struct xv_vhost_state){
		.connected = v->fd >= 0,
		.packed = (v->features & XV_BIT(VIRTIO_F_RING_PACKED)) != 0,
		.features = v->features,
		.protocol_features = v->protocol_features,
		.connects = v->connects,
		.disconnects = v->disconnects,
		.broken_total = v->broken_total,
		.bad_headers = v->bad_headers,
		.mtu = v->mtu,
		.status = v->status,
		.is_broken = v->is_broken,
	};
	memcpy(state->broken, v->broken, sizeof(state->broken));
	for (i = 0; i < v->n_rings; i++)
		state->bad_headers +=
			atomic_load_explicit(&v->rings[i].vq.bad_headers, memory_order_relaxed);
	for (i = 0; i < sizeof(caps) / sizeof(caps[0]); i++)
		if ((v->features & XV_BIT(caps[i].bit)) != 0)
			state->caps |= caps[i].cap;
	while (state->pairs_active < v->max_pairs &&
	       xv_vhost_ring_is_published(v, 2u * state->pairs_active) &&
	       xv_vhost_ring_is_published(v, 2u * state->pairs_active + 1))
		state->pairs_active++;
}

/*
 * Broken rings and memory
 */

void xv_vhost_report_broken(void)
{
	if (broken_fd >= 0)
		(void)eventfd_write(broken_fd, 1);
}

static void on_broken(evutil_socket_t fd, short what, void *arg)
{
	struct xv_vhost *v;
	eventfd_t count;

	(void)eventfd_read(fd, &count);
	LIST_FOREACH (v, &devices, link) {
		check_broken(v);
		tell_changes(v);
	}
}

int xv_vhost_init(struct event_base *base)
{
	int rc;

#ifdef XV_HAVE_AVX512
	xv_vring_use_avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
			      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
			      getenv("XVIO_NO_AVX512") == NULL;
#endif

	broken_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (broken_fd < 0)
		return -errno;
	broken_event = event_new(base, broken_fd, EV_READ | EV_PERSIST, on_broken, NULL);
	if (broken_event == NULL || event_add(broken_event, NULL) != 0)
		rc = -ENOMEM;
	else
		rc = xv_guest_memory_catch_sigbus(broken_fd);
	if (rc != 0)
		xv_vhost_fini();
	return rc;
}

void xv_vhost_fini(void)
{
	xv_guest_memory_release_sigbus();
	if (broken_event != NULL)
		event_free(broken_event);
	if (broken_fd >= 0)
		(void)close(broken_fd);
	broken_event = NULL;
	broken_fd = -1;
	xv_vhost_socket_fini();
}
