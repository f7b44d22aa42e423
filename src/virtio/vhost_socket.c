/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio/vhost_socket.h"

#include <errno.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>
#include <sys/inotify.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/clock.h"
#include "base/log.h"

struct xv_vhost_socket {
	char *name;
	struct sockaddr_un addr;
	struct event_base *base;
	xv_vhost_connected_fn connected;
	void *arg;

	/* server */
	int listen_fd;
	struct event *accept_event;
	dev_t dev; /* of the socket file that we made */
	ino_t ino;

	/* both: to connect or accept again */
	struct event *retry_event;

	/* client */
	bool client, waiting;
	int fd;                  /* not connected yet; -1 = none */
	uint64_t hurry_since_ns; /* when something happened that promises success */
	int wd;                  /* inotify watch on the deepest directory that exists; -1 = none */
	size_t awaited, awaited_len;      /* what must appear there: a component of the path */
	LIST_ENTRY(xv_vhost_socket) link; /* in waiting_clients */
};

/*
 * Waiting clients, and what wakes them. The inotify descriptor stays to the end: to close one takes
 * the kernel some 10 ms.
 */
static LIST_HEAD(, xv_vhost_socket) waiting_clients = LIST_HEAD_INITIALIZER(waiting_clients);
static int inotify_fd = -1;
static struct event *inotify_event, *slow_event;

#define SLOW_RETRY_S 1
#define HOLD_OFF_MS  100

static void schedule(struct xv_vhost_socket *s, unsigned int ms)
{
	struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = (ms % 1000) * 1000};

	(void)event_add(s->retry_event, &tv);
}

/*
 * Server
 */

static void on_accept(evutil_socket_t listen_fd, short what, void *arg)
{
	struct xv_vhost_socket *s = arg;
	int fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd >= 0) {
		s->connected(fd, s->arg);
	} else if (errno != EAGAIN && errno != ECONNABORTED && errno != EINTR) {
		XV_LOG_LIMITED(XV_LOG_WARNING, s->name, "cannot accept on %s: %s", s->addr.sun_path,
			       strerror(errno));
		/* Out of descriptors, most likely. It stays pending: do not spin on it. */
		(void)event_del(s->accept_event);
		schedule(s, HOLD_OFF_MS);
	}
}

static void on_accept_again(evutil_socket_t fd, short what, void *arg)
{
	struct xv_vhost_socket *s = arg;

	(void)event_add(s->accept_event, NULL);
}

static int find_owner(const struct xv_vhost_socket_config *config, uid_t *uid, gid_t *gid,
		      struct xv_err *err)
{
	const struct passwd *pw;
	const struct group *gr;
	char *end;

	if (config->owner != NULL) {
		unsigned long number = strtoul(config->owner, &end, 10);

		if (*config->owner != '\0' && *end == '\0')
			*uid = (uid_t)number;
		else if ((pw = getpwnam(config->owner)) != NULL)
			*uid = pw->pw_uid;
		else
			return xv_err_set(err, -ENOENT, XV_ERR_NOT_FOUND,
					  "socket owner: there is no user %s", config->owner);
	}
	if (config->group != NULL) {
		unsigned long number = strtoul(config->group, &end, 10);

		if (*config->group != '\0' && *end == '\0')
			*gid = (gid_t)number;
		else if ((gr = getgrnam(config->group)) != NULL)
			*gid = gr->gr_gid;
		else
			return xv_err_set(err, -ENOENT, XV_ERR_NOT_FOUND,
					  "socket group: there is no group %s", config->group);
	}
	return 0;
}

/* Remove a socket file that nobody listens on. */
static int remove_stale(const struct xv_vhost_socket *s, struct xv_err *err)
{
	const char *path = s->addr.sun_path;
	struct stat st;
	int fd, rc;

	if (lstat(path, &st) != 0)
		return 0; /* bind() will say what is wrong, if anything is */
	if (!S_ISSOCK(st.st_mode))
		return xv_err_set(err, -EEXIST, XV_ERR_BUSY, "%s exists and is not a socket", path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return xv_err_set(err, -errno, XV_ERR_RESOURCE, "no socket: %s", strerror(errno));
	rc = connect(fd, (const struct sockaddr *)&s->addr, sizeof(s->addr)) == 0 ? 0 : errno;
	(void)close(fd);
	/* Only ECONNREFUSED proves that nobody listens; EAGAIN, say, is a full backlog. */
	if (rc != ECONNREFUSED && rc != ENOENT)
		return xv_err_set(err, -EADDRINUSE, XV_ERR_BUSY, "%s is in use by another process",
				  path);
	if (rc == ECONNREFUSED && unlink(path) != 0 && errno != ENOENT)
		return xv_err_set(err, -errno, XV_ERR_DEVICE,
				  "cannot remove the stale socket %s: %s", path, strerror(errno));
	return 0;
}

static int start_server(struct xv_vhost_socket *s, const struct xv_vhost_socket_config *config,
			struct xv_err *err)
{
	const char *path = s->addr.sun_path;
	uid_t uid = (uid_t)-1;
	gid_t gid = (gid_t)-1;
	struct stat st;
	int rc;

	rc = find_owner(config, &uid, &gid, err);
	if (rc == 0)
		rc = remove_stale(s, err);
	if (rc != 0)
		return rc;
	s->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (s->listen_fd < 0)
		return xv_err_set(err, -errno, XV_ERR_RESOURCE, "no socket: %s", strerror(errno));
	if (bind(s->listen_fd, (const struct sockaddr *)&s->addr, sizeof(s->addr)) != 0) {
		rc = -errno;
		if (rc == -ENOENT)
			return xv_err_set(err, rc, XV_ERR_DEVICE,
					  "the directory of %s does not exist", path);
		if (rc == -EADDRINUSE)
			return xv_err_set(err, rc, XV_ERR_BUSY, "%s is in use by another process",
					  path);
		return xv_err_set(err, rc, XV_ERR_DEVICE, "cannot create %s: %s", path,
				  strerror(-rc));
	}
	if (lstat(path, &st) == 0) {
		s->dev = st.st_dev;
		s->ino = st.st_ino;
	}
	/* Nobody can connect before listen(). */
	if ((uid != (uid_t)-1 || gid != (gid_t)-1) && lchown(path, uid, gid) != 0)
		return xv_err_set(err, -errno, XV_ERR_DEVICE, "cannot change the owner of %s: %s",
				  path, strerror(errno));
	if (config->mode >= 0 && chmod(path, (mode_t)config->mode) != 0)
		return xv_err_set(err, -errno, XV_ERR_DEVICE, "cannot change the mode of %s: %s",
				  path, strerror(errno));
	if (listen(s->listen_fd, 8) != 0)
		return xv_err_set(err, -errno, XV_ERR_DEVICE, "cannot listen on %s: %s", path,
				  strerror(errno));
	s->accept_event = event_new(s->base, s->listen_fd, EV_READ | EV_PERSIST, on_accept, s);
	s->retry_event = event_new(s->base, -1, 0, on_accept_again, s);
	if (s->accept_event == NULL || s->retry_event == NULL ||
	    event_add(s->accept_event, NULL) != 0)
		return xv_err_set(err, -ENOMEM, XV_ERR_RESOURCE, "out of memory");
	return 0;
}

static void stop_server(struct xv_vhost_socket *s)
{
	struct stat st;

	if (s->accept_event != NULL)
		event_free(s->accept_event);
	if (s->listen_fd < 0)
		return;
	/* A successor may have put its own socket there. */
	if (s->ino != 0 && lstat(s->addr.sun_path, &st) == 0 && st.st_dev == s->dev &&
	    st.st_ino == s->ino)
		(void)unlink(s->addr.sun_path);
	(void)close(s->listen_fd);
}

/*
 * Client
 */

static void try_connect(struct xv_vhost_socket *s);

static void unwatch(struct xv_vhost_socket *s)
{
	struct xv_vhost_socket *other;
	int wd = s->wd;

	s->wd = -1;
	if (wd < 0)
		return;
	LIST_FOREACH (other, &waiting_clients, link)
		if (other->wd == wd)
			return; /* the same directory gives the same watch */
	(void)inotify_rm_watch(inotify_fd, wd);
}

/* Watch the deepest directory that exists on the way to the socket, for what comes next there. */
static void watch(struct xv_vhost_socket *s)
{
	const char *path = s->addr.sun_path;
	size_t end = strlen(path);
	char dir[sizeof(s->addr.sun_path)];
	int wd = -1;

	while (wd < 0 && end > 0) {
		size_t start = end;

		while (start > 0 && path[start - 1] != '/')
			start--;
		s->awaited = start;
		s->awaited_len = end - start;
		memcpy(dir, path, start);
		dir[start] = '\0';
		wd = inotify_add_watch(inotify_fd, start > 0 ? dir : ".",
				       IN_CREATE | IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF |
					       IN_ONLYDIR);
		for (end = start; end > 0 && path[end - 1] == '/'; end--)
			;
	}
	if (wd == s->wd)
		return;
	unwatch(s);
	s->wd = wd;
}

static void hurry(struct xv_vhost_socket *s)
{
	s->hurry_since_ns = xv_clock_ns();
}

/*
 * When to try again after a failure, or 0: leave it to inotify and the slow timer. No socket file:
 * there will be an event when it comes. A file, but nobody listens: it is stale, or new and
 * listen() is near.
 */
static unsigned int retry_ms(const struct xv_vhost_socket *s, int error)
{
	uint64_t ms = (xv_clock_ns() - s->hurry_since_ns) / 1000000;

	if (error == ENOENT || ms >= 500)
		return 0;
	return ms < 5 ? 1 : 2;
}

static void on_retry(evutil_socket_t fd, short what, void *arg)
{
	try_connect(arg);
}

static void on_slow(evutil_socket_t fd, short what, void *arg)
{
	struct xv_vhost_socket *s, *next;

	for (s = LIST_FIRST(&waiting_clients); s != NULL; s = next) {
		next = LIST_NEXT(s, link);
		if (event_pending(s->retry_event, EV_TIMEOUT, NULL))
			continue;
		watch(s);
		try_connect(s);
	}
}

static void on_inotify(evutil_socket_t fd, short what, void *arg)
{
	char buf[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
	ssize_t len = read(fd, buf, sizeof(buf)), at = 0;

	while (at < len) {
		const struct inotify_event *e = (const void *)&buf[at];
		struct xv_vhost_socket *s, *next;
		bool lost = (e->mask &
			     (IN_Q_OVERFLOW | IN_IGNORED | IN_DELETE_SELF | IN_MOVE_SELF)) != 0;

		at += (ssize_t)(sizeof(*e) + e->len);
		for (s = LIST_FIRST(&waiting_clients); s != NULL; s = next) {
			next = LIST_NEXT(s, link);
			if ((e->mask & IN_Q_OVERFLOW) == 0 && e->wd != s->wd)
				continue;
			if (!lost &&
			    (e->len <= s->awaited_len || e->name[s->awaited_len] != '\0' ||
			     memcmp(e->name, &s->addr.sun_path[s->awaited], s->awaited_len) != 0))
				continue;
			if (lost)
				unwatch(s);
			watch(s);
			hurry(s);
			try_connect(s);
		}
	}
}

static int start_waiting(struct xv_vhost_socket *s)
{
	const struct timeval slow = {.tv_sec = SLOW_RETRY_S};

	if (slow_event == NULL) {
		slow_event = event_new(s->base, -1, EV_PERSIST, on_slow, NULL);
		if (slow_event == NULL)
			return -ENOMEM;
	}
	if (inotify_fd < 0) {
		inotify_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
		if (inotify_fd < 0)
			xv_log(XV_LOG_WARNING, s->name,
			       "no inotify (%s): may connect a second late", strerror(errno));
	}
	if (inotify_fd >= 0 && inotify_event == NULL) {
		inotify_event =
			event_new(s->base, inotify_fd, EV_READ | EV_PERSIST, on_inotify, NULL);
		if (inotify_event == NULL || event_add(inotify_event, NULL) != 0)
			return -ENOMEM;
	}
	if (LIST_EMPTY(&waiting_clients) && event_add(slow_event, &slow) != 0)
		return -ENOMEM;
	LIST_INSERT_HEAD(&waiting_clients, s, link);
	s->waiting = true;
	watch(s);
	return 0;
}

static void stop_waiting(struct xv_vhost_socket *s)
{
	if (!s->waiting)
		return;
	s->waiting = false;
	(void)event_del(s->retry_event);
	LIST_REMOVE(s, link);
	unwatch(s);
	if (LIST_EMPTY(&waiting_clients))
		(void)event_del(slow_event);
}

void xv_vhost_socket_fini(void)
{
	if (inotify_event != NULL)
		event_free(inotify_event);
	if (inotify_fd >= 0)
		(void)close(inotify_fd);
	if (slow_event != NULL)
		event_free(slow_event);
	inotify_event = slow_event = NULL;
	inotify_fd = -1;
}

static void try_connect(struct xv_vhost_socket *s)
{
	int fd;

	if (s->fd < 0)
		s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (s->fd < 0 || connect(s->fd, (const struct sockaddr *)&s->addr, sizeof(s->addr)) != 0) {
		unsigned int ms = retry_ms(s, errno);

		if (ms > 0)
			schedule(s, ms);
		return;
	}
	fd = s->fd;
	s->fd = -1;
	stop_waiting(s);
	s->connected(fd, s->arg);
}

static int start_client(struct xv_vhost_socket *s, struct xv_err *err)
{
	s->retry_event = event_new(s->base, -1, 0, on_retry, s);
	if (s->retry_event == NULL || start_waiting(s) != 0)
		return xv_err_set(err, -ENOMEM, XV_ERR_RESOURCE, "out of memory");
	schedule(s, 0); /* not from within create(): the caller is not ready */
	return 0;
}

void xv_vhost_socket_closed(struct xv_vhost_socket *s, bool hold_off)
{
	if (!s->client)
		return;
	if (start_waiting(s) != 0) {
		xv_log(XV_LOG_ERROR, s->name, "out of memory: will not connect again");
		return;
	}
	hurry(s);
	schedule(s, hold_off ? HOLD_OFF_MS : 1);
}

/*
 * Both
 */

int xv_vhost_socket_create(const struct xv_vhost_socket_config *config, struct event_base *base,
			   xv_vhost_connected_fn connected, void *arg,
			   struct xv_vhost_socket **sock, struct xv_err *err)
{
	struct xv_vhost_socket *s;
	int rc;

	if (config->path == NULL || config->path[0] == '\0')
		return xv_err_set(err, -EINVAL, XV_ERR_RANGE, "the socket path is empty");
	if (strlen(config->path) >= sizeof(s->addr.sun_path))
		return xv_err_set(err, -ENAMETOOLONG, XV_ERR_RANGE, "path is longer than %zu bytes",
				  sizeof(s->addr.sun_path) - 1);
	s = calloc(1, sizeof(*s));
	if (s == NULL || (s->name = strdup(config->name)) == NULL) {
		free(s);
		return xv_err_set(err, -ENOMEM, XV_ERR_RESOURCE, "out of memory");
	}
	s->addr.sun_family = AF_UNIX;
	memcpy(s->addr.sun_path, config->path, strlen(config->path));
	s->base = base;
	s->connected = connected;
	s->arg = arg;
	s->client = config->client;
	s->listen_fd = s->fd = s->wd = -1;
	rc = s->client ? start_client(s, err) : start_server(s, config, err);
	if (rc != 0) {
		xv_vhost_socket_destroy(s);
		return rc;
	}
	*sock = s;
	return 0;
}

void xv_vhost_socket_destroy(struct xv_vhost_socket *s)
{
	if (s == NULL)
		return;
	stop_server(s);
	stop_waiting(s);
	if (s->retry_event != NULL)
		event_free(s->retry_event);
	if (s->fd >= 0)
		(void)close(s->fd);
	free(s->name);
	free(s);
}

ssize_t xv_vhost_recv(int fd, void *buf, size_t len, int *fds, unsigned int *n_fds,
		      unsigned int max_fds)
{
	union {
		char buf[CMSG_SPACE(32 * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = {.iov_base = buf, .iov_len = len};
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *c;
	ssize_t got;

	do {
		got = recvmsg(fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	} while (got < 0 && errno == EINTR);
	if (got < 0)
		return errno == EWOULDBLOCK ? -EAGAIN : -errno;
	for (c = CMSG_FIRSTHDR(&msg); c != NULL; c = CMSG_NXTHDR(&msg, c)) {
		size_t i, n;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (i = 0; i < n; i++) {
			int passed;

			memcpy(&passed, CMSG_DATA(c) + i * sizeof(int), sizeof(passed));
			if (*n_fds < max_fds)
				fds[(*n_fds)++] = passed;
			else
				(void)close(passed);
		}
	}
	return (msg.msg_flags & MSG_CTRUNC) != 0 ? -EPROTO : got;
}

int xv_vhost_send(int fd, const void *buf, size_t len, int pass_fd)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {0};
	union {
		const void *in;
		void *out;
	} base = {.in = buf};
	struct iovec iov = {.iov_base = base.out, .iov_len = len};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t sent;

	if (pass_fd >= 0) {
		struct cmsghdr *c;

		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &pass_fd, sizeof(int));
	}
	do {
		sent = sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (sent < 0 && errno == EINTR);
	if (sent < 0)
		return errno == EWOULDBLOCK ? -EAGAIN : -errno;
	/* The kernel takes a message this small whole or not at all. */
	return (size_t)sent == len ? 0 : -EAGAIN;
}

bool xv_vhost_peer_is_gone(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLRDHUP};

	return poll(&p, 1, 0) > 0 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}
