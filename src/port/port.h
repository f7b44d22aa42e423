/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A port: where packets come in and go out. Kinds: vhost (a VM), ethdev (any DPDK device), tap,
 * kernel (a device of the host's), dummy (tests), tunnel (a remote host, fastpath/vtep.h), internal (the daemon itself,
 * port/internal.h). This header is all that the fast path and the control thread know of ports.
 *
 * Threads: "control" functions run on the control thread; "worker" functions on packet workers.
 * A receive queue is polled by one worker at a time. A transmit queue may be used by several workers;
 * the kind serialises them (vhost: a spinlock per ring).
 * Ownership: the control thread owns a port. It is freed only after it left every poll list and
 * binding and a grace period (table/rcu.h) has passed.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <rte_mbuf.h>

#include "base/err.h"
#include "net/drop.h"
#include "net/packet.h"

#define XV_MAX_PORTS 1024
#define XV_MAX_QUEUES 32 /* queue pairs of one port */
#define XV_NAME_LEN 64

struct event_base;
struct xv_port;
struct rte_mempool;

enum xv_port_kind {
	XV_PORT_VHOST,
	XV_PORT_ETHDEV,
	XV_PORT_TAP,
	XV_PORT_DUMMY,
	XV_PORT_TUNNEL,
	XV_PORT_INTERNAL,
	XV_PORT_KERNEL,
};
enum xv_port_state {
	XV_PORT_DOWN,	 /* device is there, no link */
	XV_PORT_WAITING, /* vhost: the other side has not connected, or its driver is not up */
	XV_PORT_UP,
	XV_PORT_BROKEN,	 /* the guest or front end broke the rules; up again after it reconnects */
};
const char *xv_port_kind_name(enum xv_port_kind kind);
const char *xv_port_state_name(enum xv_port_state state);

/* What a port is made of. Strings are copied. Unused members are zero. */
struct xv_port_config {
	char name[XV_NAME_LEN];
	enum xv_port_kind kind;
	const char *socket;	  /* vhost */
	bool client;		  /* vhost: connect to the socket instead of listening on it */
	const char *socket_owner; /* vhost server: user, group (names or numbers), NULL = unchanged */
	const char *socket_group;
	int socket_mode;	  /* vhost server: permission bits, -1 = unchanged */
	const char *device;	  /* ethdev: PCI address or devargs of a virtual device */
	const char *interface;	  /* tap, kernel */
	uint16_t queues;	  /* queue pairs, from 1 */
	uint16_t mtu;		  /* 0 = unset */
	bool csum, tso;		  /* offer these offloads */
	bool passive;		  /* tap: whether it is up, and its MTU, are somebody else's to say */
};

/* What the kind knows and others show. Filled by info() on the control thread. */
struct xv_port_info {
	enum xv_port_state state;
	uint16_t queues_active;
	/* vhost only */
	bool is_virtio, connected, packed;
	uint64_t features, protocol_features;
	uint64_t connects, disconnects, broken_total;
	uint64_t rx_header_errors;	 /* frames refused by the input itself; part of the ledger */
	char broken[160];		 /* sentence; empty = not broken */
	char driver[64];		 /* ethdev: DPDK driver name */
};

/* What a queue answers to "wake me when packets arrive". */
enum xv_arm {
	XV_ARM_OK,   /* it will */
	XV_ARM_BUSY, /* packets wait already: do not sleep */
	XV_ARM_POLL, /* it cannot: come and look */
};

struct xv_port_ops {
	enum xv_port_kind kind;

	/* control. create() returns a struct that starts with struct xv_port. */
	int (*create)(const struct xv_port_config *config, struct event_base *events,
		      struct xv_port **port, struct xv_err *err);
	/* control, after the grace period. Undoes everything; accepts NULL. */
	void (*destroy)(struct xv_port *port);
	void (*info)(struct xv_port *port, struct xv_port_info *info);
	/* control. Follow mtu, csum and tso without a new device; -ENOTSUP: it takes a new one. */
	int (*reconfigure)(struct xv_port *port, const struct xv_port_config *config,
			   struct xv_err *err);

	/*
	 * worker. Receive up to n packets (n <= XV_BURST) of one queue. The caller owns them. Offload
	 * requests are validated. m->port is set by the caller.
	 */
	uint16_t (*rx)(struct xv_port *port, uint16_t queue, struct rte_mbuf **pkts, uint16_t n);
	/*
	 * worker, after rx: whether packets refer to memory that is only lent to us (virtio/lending.h). NULL: never. If so,
	 * rx_return() comes before the next rx of the queue, in the same round, with no such packet left; it returns how many
	 * there are none the less.
	 */
	bool (*rx_lent)(struct xv_port *port, uint16_t queue);
	unsigned int (*rx_return)(struct xv_port *port, uint16_t queue);
	/*
	 * worker. How many packets wait, as far as can be told cheaply, up to n. Kinds that cannot
	 * tell leave this NULL: they are polled without waiting for a batch.
	 */
	uint16_t (*rx_backlog)(struct xv_port *port, uint16_t queue, uint16_t n);
	/*
	 * worker. Send packets from the front; returns how many were consumed (sent, mbufs freed).
	 * Less than n: *why tells what about pkts[returned]: XV_DROP_TX_FULL = try again later, others
	 * (TX_DOWN, TX_SIZE, OFFLOAD) = this packet can never go out. The rest stays the caller's.
	 */
	uint16_t (*tx)(struct xv_port *port, uint16_t queue, struct rte_mbuf **pkts, uint16_t n,
		       enum xv_drop *why);
	bool tx_keeps; /* packets that were sent may live on: they must be our own, nothing of them lent */
	/*
	 * worker, before it sleeps: ask for a wake-up through the queue's file descriptor when packets
	 * arrive. Kinds without interrupts leave it NULL and are polled on a timer instead.
	 */
	enum xv_arm (*rx_arm)(struct xv_port *port, uint16_t queue);
	/* worker, after it woke: no more wake-ups wanted. NULL: nothing needs to be said. */
	void (*rx_disarm)(struct xv_port *port, uint16_t queue);
};

/*
 * A receive queue's wake-up: the file descriptor that becomes ready (edge) when packets arrive and the
 * epoll set of the worker that polls it. Both may change while running: control thread only.
 */
struct xv_port_rxq {
	int fd;	       /* -1 = none */
	int epoll_fd;  /* -1 = no worker */
	int wake_fd;   /* eventfd that makes that worker look at its queues; -1 = no worker */
};

struct xv_binding; /* fastpath/binding.h: what is done with packets of this port */

struct xv_port {
	/* read by workers */
	const struct xv_port_ops *ops;
	_Atomic(const struct xv_binding *) binding; /* class A; NULL = unbound */
	_Atomic uint32_t tx_caps;    /* XV_CAP_*: what this port takes unfinished, now */
	_Atomic uint32_t mtu;	     /* largest frame it takes is mtu + 18 bytes; 0 = no limit */
	_Atomic uint32_t link_mtu;   /* largest IP packet that what is behind it takes; UINT32_MAX = not known */
	_Atomic uint16_t rx_queues;  /* that may carry packets now, from 0; 0 = port is not up */
	_Atomic uint16_t tx_queues;
	uint16_t id;		     /* index < XV_MAX_PORTS, unique while the port lives */
	uint16_t max_queues;
	/* control thread only */
	char name[XV_NAME_LEN];
	bool csum, tso; /* as configured */
	struct xv_port_rxq rxq[XV_MAX_QUEUES];
	/* Called on the control thread when state, queues or caps changed (may be NULL). */
	void (*changed)(struct xv_port *port, void *arg);
	/* Called on the control thread with a frame to be flooded as if received here (RARP). */
	void (*inject)(struct xv_port *port, const uint8_t *frame, uint16_t len, void *arg);
	void *arg;
};

/* The kinds, by enum xv_port_kind. No constructors: this table is the list. */
extern const struct xv_port_ops *const xv_port_kinds[];

/* control. Create by kind; id is assigned by the caller. 0 or -errno and a sentence. */
int xv_port_create(const struct xv_port_config *config, uint16_t id, struct event_base *events,
		   struct xv_port **port, struct xv_err *err);
void xv_port_destroy(struct xv_port *port);

/* control, for kinds: common members from the config. */
void xv_port_init(struct xv_port *port, const struct xv_port_ops *ops,
		  const struct xv_port_config *config);
/* control, for kinds: the MTU as configured (0 = none), and that of the device (0 = the kind has none, or cannot tell), which
 * holds for tunnels where none is configured. */
void xv_port_set_mtu(struct xv_port *port, uint16_t mtu, uint32_t device_mtu);
/* What epoll says (data.u32) when the descriptor of a queue is ready; those of other things say XV_NO_RXQ. */
#define XV_NO_RXQ UINT32_MAX
static inline uint32_t xv_port_rxq_tag(const struct xv_port *port, uint16_t queue)
{
	return (uint32_t)port->id << 16 | queue;
}
/* control, for kinds: the wake-up descriptor of a queue is now fd (-1 = none). */
void xv_port_rxq_set_fd(struct xv_port *port, uint16_t queue, int fd);
/* control, for kinds: something changed that a sleeping worker must see (a ring came up). */
void xv_port_rxq_wake(struct xv_port *port, uint16_t queue);
/* control, for the owner: the queue is now polled by the worker with this epoll set and wake-up
 * eventfd (-1 = none). */
void xv_port_rxq_set_worker(struct xv_port *port, uint16_t queue, int epoll_fd, int wake_fd);
