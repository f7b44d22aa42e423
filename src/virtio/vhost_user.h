/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtio-net device behind a vhost-user socket: protocol state machine, rings, memory. Knows
 * nothing of switching.
 *
 * All functions run on the control thread (a libevent base), all messages are handled there; none
 * of them waits except where a ring is taken from its workers (xv_rcu_synchronize). Workers see
 * only the published rings: xv_vhost_ring().
 *
 * Life of a ring: addresses, size, base, kick and call fds arrive by messages while it is stopped;
 * it is published when it has a kick fd (or the "no fd" mark), valid addresses, and is enabled
 * (SET_VRING_ENABLE, or no VHOST_USER_F_PROTOCOL_FEATURES); it is unpublished by GET_VRING_BASE,
 * disable, any change of memory table, log or features (then republished), RESET and disconnect.
 *
 * A front end that breaks the rules (a malformed message, a ring outside its memory, a ring error
 * that a worker found, a file that shrank) loses its connection: the device is broken, with a
 * sentence and a count, until the next one connects. Everything that the connection brought is
 * released with it.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "virtio/vring.h"

struct event_base;
struct xv_vhost;
struct rte_mempool;

#define XV_VHOST_MAX_PAIRS 32

struct xv_vhost_config {
	const char *name;                        /* for log lines: the port's name */
	const char *socket;                      /* path, < 108 bytes */
	bool client;                             /* connect (again and again) instead of listen */
	const char *socket_owner, *socket_group; /* server: chown; NULL = unchanged */
	int socket_mode;                         /* server: chmod; -1 = unchanged */
	uint16_t max_pairs;                      /* queue pairs offered */
	uint16_t mtu;   /* NET_SET_MTU larger than this is refused; 0 = any */
	bool csum, tso; /* offer checksum / segmentation offloads */
	struct rte_mempool *pool;
};

struct xv_vhost_state {
	bool connected, packed;
	uint16_t
		pairs_active; /* pairs whose both rings are published, counted from 0 without gap */
	uint64_t features, protocol_features;
	uint64_t connects, disconnects, broken_total;
	uint64_t bad_headers; /* sum over all rings since creation, also earlier connections */
	uint16_t mtu;         /* from NET_SET_MTU; 0 = not told */
	uint32_t caps;        /* XV_CAP_* that the guest takes */
	uint8_t status;       /* virtio device status, from SET_STATUS */
	bool is_broken;
	char broken[160]; /* sentence, kept until the next connect */
};

/* Callbacks, on the control thread; none may be NULL. They must not destroy the device. */
struct xv_vhost_events {
	/* Something of xv_vhost_state changed. */
	void (*changed)(struct xv_vhost *vhost, void *arg);
	/*
	 * Ring (virtqueue index) has this kick fd now, -1 = none: workers that sleep must watch it.
	 * The descriptor that it had before is still open and closed on return.
	 */
	void (*kick_fd)(struct xv_vhost *vhost, uint16_t index, int fd, void *arg);
	/* SEND_RARP: the guest with this MAC lives here now. */
	void (*rarp)(struct xv_vhost *vhost, const uint8_t mac[6], void *arg);
};

/*
 * Listen or start to connect. -EADDRINUSE etc. with a sentence. A stale socket file (nobody
 * listens) is replaced; a living one is not. `events` is copied. No callback comes from within.
 */
int xv_vhost_create(const struct xv_vhost_config *config, struct event_base *base,
		    const struct xv_vhost_events *events, void *arg, struct xv_vhost **vhost,
		    struct xv_err *err);
/*
 * Disconnect, unpublish all rings (waits a grace period), remove the socket file (server), free.
 * The last callbacks come from within. Accepts NULL.
 */
void xv_vhost_destroy(struct xv_vhost *vhost);

void xv_vhost_get_state(const struct xv_vhost *vhost, struct xv_vhost_state *state);
/* The limit for NET_SET_MTU from now on; 0 = any. 0. */
int xv_vhost_set_mtu(struct xv_vhost *vhost, uint16_t mtu);
/*
 * What is offered from the next connection on; but never less than a guest of this device has
 * negotiated before: it would not survive that when its front end reconnects.
 */
void xv_vhost_set_offloads(struct xv_vhost *vhost, bool csum, bool tso);

/*
 * worker, between online and quiescent: virtqueue `index` (2n: guest receives, 2n+1: guest
 * transmits) or NULL while stopped. Valid until the worker's next quiescent state.
 */
struct xv_vring *xv_vhost_ring(const struct xv_vhost *vhost, uint16_t index);
/* worker, in the same round as a burst of the ring: the same, also if it was taken away meanwhile. */
struct xv_vring *xv_vhost_ring_in_burst(struct xv_vhost *vhost, uint16_t index);

/* control: write to the eventfd that makes the control thread look for broken rings; workers call
 * it (once) when they set vring.error. */
void xv_vhost_report_broken(void);

/* control, once: SIGBUS handler and the event for broken rings/memory. Needs xv_rcu_init(). */
int xv_vhost_init(struct event_base *base);
void xv_vhost_fini(void);

/*
 * For tests and fuzzing: a device without a socket file, its protocol engine fed by hand over a
 * socketpair end (fd is consumed, also on failure). It lives for one connection.
 */
int xv_vhost_create_fd(const struct xv_vhost_config *config, struct event_base *base,
		       const struct xv_vhost_events *events, void *arg, int fd,
		       struct xv_vhost **vhost, struct xv_err *err);
