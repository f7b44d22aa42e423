/* SPDX-License-Identifier: Apache-2.0 */
#include "control/unix_socket.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int fail(struct xv_err *err, int error, const char *path, const char *what)
{
	return xv_err_set(err, -error, error == EADDRINUSE ? XV_ERR_BUSY : XV_ERR_DEVICE,
			  "%s: %s%s", path, what, strerror(error));
}

/* True if somebody accepts connections there. */
static bool is_alive(const struct sockaddr_un *address)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	bool alive;

	if (fd < 0)
		return true; /* cannot tell: leave it alone */
	alive = connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 ||
		errno == EAGAIN || errno == EPROTOTYPE;
	close(fd);
	return alive;
}

static void make_directory(const char *path)
{
	const char *slash = strrchr(path, '/');
	char *dir;

	if (slash == NULL || slash == path)
		return;
	dir = strndup(path, (size_t)(slash - path));
	if (dir != NULL)
		(void)mkdir(dir, 0755); /* bind() says what is wrong, if anything */
	free(dir);
}

int xv_unix_socket_listen(struct xv_unix_socket *sock, const char *path, mode_t mode,
			  struct xv_err *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	mode_t umask_before;
	struct stat st;
	int fd, rc;

	*sock = (struct xv_unix_socket){.fd = -1};
	if (strlen(path) >= sizeof(address.sun_path))
		return xv_err_set(err, -ENAMETOOLONG, XV_ERR_RANGE,
				  "path is longer than the %zu bytes that a unix socket can have",
				  sizeof(address.sun_path) - 1);
	strcpy(address.sun_path, path);
	make_directory(path);
	if (lstat(path, &st) == 0) {
		if (!S_ISSOCK(st.st_mode))
			return fail(err, EEXIST, path, "is not a socket: ");
		if (is_alive(&address))
			return fail(err, EADDRINUSE, path, "");
		(void)unlink(path);
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return fail(err, errno, path, "");
	/* Never open to others, not even until chmod. */
	umask_before = umask(0777 & ~mode);
	rc = bind(fd, (const struct sockaddr *)&address, sizeof(address));
	umask(umask_before);
	if (rc < 0 || listen(fd, 64) < 0 || lstat(path, &st) < 0) {
		rc = fail(err, errno, path, "cannot listen: ");
		close(fd);
		return rc;
	}
	sock->fd = fd;
	strcpy(sock->path, path);
	sock->dev = st.st_dev;
	sock->ino = st.st_ino;
	return 0;
}

void xv_unix_socket_remove(struct xv_unix_socket *sock)
{
	struct stat st;

	if (sock->fd >= 0)
		close(sock->fd);
	sock->fd = -1;
	if (sock->path[0] != '\0' && lstat(sock->path, &st) == 0 && st.st_dev == sock->dev &&
	    st.st_ino == sock->ino)
		(void)unlink(sock->path);
	sock->path[0] = '\0';
}
