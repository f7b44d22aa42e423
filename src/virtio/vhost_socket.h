/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The socket of a vhost-user device: listen and accept, or connect and reconnect for ever; and one
 * message's worth of bytes and file descriptors in or out. Control thread; nothing here blocks.
 *
 * A client connects within milliseconds after somebody listens: it is told by inotify when the
 * socket file (or a directory on the way to it) appears, tries often for a while after that and
 * after it lost a connection, and once a second otherwise. All waiting clients share one inotify
 * descriptor and one timer; waiting costs next to nothing.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

struct event_base;
struct xv_vhost_socket;

struct xv_vhost_socket_config {
	const char *name; /* for log lines: the port's name */
	const char *path;
	bool client;
	const char *owner, *group; /* server: names or numbers; NULL = unchanged */
	int mode;                  /* server: permission bits, -1 = unchanged */
};

/* A connection was made; the callee owns fd. */
typedef void (*xv_vhost_connected_fn)(int fd, void *arg);

/*
 * -EINVAL, -EADDRINUSE, ... with a sentence. Server: a stale socket file (nobody listens) is
 * replaced, a living one is not; owner and mode are set before anybody can connect. Client: not
 * being able to connect is no error.
 */
int xv_vhost_socket_create(const struct xv_vhost_socket_config *config, struct event_base *base,
			   xv_vhost_connected_fn connected, void *arg,
			   struct xv_vhost_socket **sock, struct xv_err *err);
/* Server: the socket file goes too, if it is still ours. Accepts NULL. */
void xv_vhost_socket_destroy(struct xv_vhost_socket *sock);

/* At the end, when there is no client any more: give back what they shared. */
void xv_vhost_socket_fini(void);

/*
 * The connection that was handed out is closed: a client connects again. hold_off: it was closed
 * for a fault of the other side, which may well be repeated: wait a little first.
 */
void xv_vhost_socket_closed(struct xv_vhost_socket *sock, bool hold_off);

/*
 * Receive up to len bytes, and add the descriptors that come with them (close-on-exec) to
 * fds[*n_fds .. max_fds). Bytes, 0 = closed by the other side, -EAGAIN = nothing there, -EPROTO =
 * descriptors were lost on the way, or another -errno.
 */
ssize_t xv_vhost_recv(int fd, void *buf, size_t len, int *fds, unsigned int *n_fds,
		      unsigned int max_fds);
/* Send all of buf and, unless pass_fd < 0, a descriptor. 0 or -errno; -EAGAIN: the other side does
 * not read. */
int xv_vhost_send(int fd, const void *buf, size_t len, int pass_fd);
/* Has the other side closed its end? */
bool xv_vhost_peer_is_gone(int fd);
