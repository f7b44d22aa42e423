/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listening on a unix socket path: a stale file (nobody listens) is replaced, a living one is not,
 * and only a file of our own is removed again. Control thread.
 */
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include "base/err.h"

struct xv_unix_socket {
	int fd;         /* listening, non-blocking; -1 = closed or owned by another */
	char path[108]; /* "" = none */
	dev_t dev;
	ino_t ino; /* of the file that we made */
};

/* The directory is made (one level, 0755) if it does not exist. -EADDRINUSE: somebody listens
 * there. */
int xv_unix_socket_listen(struct xv_unix_socket *sock, const char *path, mode_t mode,
			  struct xv_err *err);
/* Close fd unless -1, remove the file if it is still ours. */
void xv_unix_socket_remove(struct xv_unix_socket *sock);
