/* SPDX-License-Identifier: Apache-2.0 */
#include "ovs/server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/socket.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>

#include "base/log.h"
#include "control/unix_socket.h"
#include "fastpath/upcall.h"
#include "ovs/connection.h"
#include "ovs/datapath.h"
#include "ovs/upcalls.h"

#define CONNECTIONS_MAX 256

struct xv_ovs_server {
	struct xv_host *host;
	struct xv_unix_socket socket;
	struct event *on_connect, *on_upcalls;
	struct xv_ovs_connections connections;
	unsigned int n;
};

/* ---- Upcalls ---- */

static void upcalls_came(evutil_socket_t fd, short what, void *arg)
{
	struct xv_ovs_server *s = arg;
	struct xv_ovs_connection *c;
	bool more = xv_ovs_upcalls_collect();

	LIST_FOREACH (c, &s->connections, entry)
		xv_ovs_connection_upcalls(c);
	if (more)
		event_active(s->on_upcalls, EV_READ, 0);
}

/* ---- Connections ---- */

static void ended(struct xv_ovs_connection *c)
{
	struct xv_ovs_server *s = c->server;

	s->n--;
	xv_ovs_connection_destroy(c);
}

static void readable(struct bufferevent *bev, void *arg)
{
	struct xv_ovs_connection *c = arg;

	if (!xv_ovs_connection_read(c))
		ended(c);
}

static void event(struct bufferevent *bev, short what, void *arg)
{
	if ((what & (BEV_EVENT_EOF | BEV_EVENT_ERROR)) != 0)
		ended(arg);
}

static void connected(evutil_socket_t fd, short what, void *arg)
{
	struct xv_ovs_server *s = arg;
	struct xv_ovs_connection *c;
	int client = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (client < 0)
		return;
	c = s->n < CONNECTIONS_MAX ? xv_ovs_connection_create(s->host, client) : NULL;
	if (c == NULL) {
		XV_LOG_LIMITED(XV_LOG_WARNING, "ovs", "a connection is refused: there are %u", s->n);
		close(client);
		return;
	}
	c->server = s;
	LIST_INSERT_HEAD(&s->connections, c, entry);
	s->n++;
	bufferevent_setcb(c->bev, readable, NULL, event, c);
	bufferevent_enable(c->bev, EV_READ | EV_WRITE);
}

int xv_ovs_server_create(const char *path, struct xv_host *host, struct xv_ovs_server **serverp, struct xv_err *err)
{
	struct xv_ovs_server *s = calloc(1, sizeof(*s));
	int rc;

	if (s == NULL)
		return xv_err_set(err, -ENOMEM, XV_ERR_RESOURCE, "out of memory");
	s->host = host;
	LIST_INIT(&s->connections);
	rc = xv_unix_socket_listen(&s->socket, path, 0600, err);
	if (rc < 0) {
		free(s);
		return rc;
	}
	s->on_connect = event_new(host->events, s->socket.fd, EV_READ | EV_PERSIST, connected, s);
	s->on_upcalls = event_new(host->events, xv_upcalls_event_fd, EV_READ | EV_PERSIST, upcalls_came, s);
	if (s->on_connect == NULL || s->on_upcalls == NULL || event_add(s->on_connect, NULL) < 0 ||
	    event_add(s->on_upcalls, NULL) < 0) {
		xv_ovs_server_destroy(s);
		return xv_err_set(err, -ENOMEM, XV_ERR_RESOURCE, "out of memory");
	}
	*serverp = s;
	return 0;
}

void xv_ovs_server_destroy(struct xv_ovs_server *s)
{
	struct xv_ovs_connection *c;
	struct xv_ovs_datapath *dp;

	if (s == NULL)
		return;
	while ((c = LIST_FIRST(&s->connections)) != NULL)
		ended(c);
	while ((dp = xv_ovs_datapath_first()) != NULL)
		xv_ovs_datapath_destroy(dp);
	if (s->on_connect != NULL)
		event_free(s->on_connect);
	if (s->on_upcalls != NULL)
		event_free(s->on_upcalls);
	xv_unix_socket_remove(&s->socket);
	free(s);
}
