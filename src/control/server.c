/* SPDX-License-Identifier: Apache-2.0 */
#include "control/server.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>

#include "base/log.h"
#include "control/handlers.h"
#include "control/unix_socket.h"

#define MAX_CLIENTS       64
#define MAX_REQUEST_BYTES (1 << 20)
#define MAX_UNREAD_BYTES  (256 * 1024) /* answers that a client may leave unread */
#define UNREAD_TIMEOUT_S  30
#define SOCKET_MODE       0660
#define TASK_WAIT_US      1000

struct client {
	LIST_ENTRY(client) entry;
	struct xv_server *server;
	struct bufferevent *bev;
	struct xv_task *task; /* of the answer that is being written; later requests wait for it */
	struct event *task_timer;
	bool held;    /* not served until its answers are read */
	bool closing; /* goes when its answers are read */
};

struct xv_server {
	struct xv_unix_socket socket;
	struct event *accept;
	struct event_base *events;
	struct xv_host *host;
	LIST_HEAD(, client) clients;
	unsigned int n_clients;
};

static void client_destroy(struct client *client)
{
	LIST_REMOVE(client, entry);
	client->server->n_clients--;
	if (client->task != NULL)
		client->task->destroy(client->task);
	event_free(client->task_timer);
	bufferevent_free(client->bev);
	free(client);
}

static json_t *error_object(const struct xv_err *err, int code, const char *file)
{
	char sentence[sizeof(struct xv_err) + 64];
	json_t *data = json_pack("{s:s}", "error", xv_errcode_name(err->code));

	if (err->object[0] != '\0')
		json_object_set_new(data, "object", json_string(err->object));
	if (err->key[0] != '\0')
		json_object_set_new(data, "key", json_string(err->key));
	if (err->line > 0)
		json_object_set_new(data, "line", json_integer(err->line));
	return json_pack("{s:i, s:s, s:o}", "code", code, "message",
			 xv_err_sentence(err, file, sentence, sizeof(sentence)), "data", data);
}

/* JSON-RPC 2.0, section 5.1; what is ours lies in the range for implementations. */
static int rpc_code(enum xv_errcode code)
{
	switch (code) {
	case XV_ERR_SYNTAX:
	case XV_ERR_UNKNOWN_KEY:
	case XV_ERR_MISSING_KEY:
	case XV_ERR_TYPE:
	case XV_ERR_RANGE:
		return -32602;
	case XV_ERR_METHOD:
		return -32601;
	case XV_ERR_INTERNAL:
		return -32603;
	default:
		return -32000 - (int)code;
	}
}

static void send_json(struct client *client, json_t *reply)
{
	struct evbuffer *out = bufferevent_get_output(client->bev);
	char *text = json_dumps(reply, JSON_COMPACT);

	if (text != NULL) {
		evbuffer_add(out, text, strlen(text));
		evbuffer_add(out, "\n", 1);
	}
	free(text);
	json_decref(reply);
}

static void send_error(struct client *client, json_t *id, int code, const struct xv_err *err,
		       const char *file)
{
	send_json(client, json_pack("{s:s, s:O?, s:o}", "jsonrpc", "2.0", "id", id, "error",
				    error_object(err, code, file)));
}

/* The answer begins now and ends when the task is done. */
static void task_begin(struct client *client, struct xv_task *task, json_t *id)
{
	char *text = json_dumps(id != NULL ? id : json_null(), JSON_COMPACT | JSON_ENCODE_ANY);

	evbuffer_add_printf(bufferevent_get_output(client->bev), "{\"jsonrpc\":\"2.0\",\"id\":%s,\"result\":",
			    text ? text : "null");
	free(text);
	client->task = task;
	event_active(client->task_timer, 0, 0);
}

static void handle_request(struct client *client, json_t *request)
{
	struct xv_task *task = NULL;
	json_t *id = json_object_get(request, "id"), *params = json_object_get(request, "params");
	const char *method = json_string_value(json_object_get(request, "method"));
	const char *version = json_string_value(json_object_get(request, "jsonrpc"));
	json_t *result = NULL, *none = NULL;
	struct xv_err err = {0};
	int rc;

	if (!json_is_string(id) && !json_is_integer(id))
		id = NULL; /* sent as null */
	if (!json_is_object(request) || method == NULL || version == NULL ||
	    strcmp(version, "2.0") != 0) {
		xv_err_set(&err, -EINVAL, XV_ERR_SYNTAX,
			   "not a JSON-RPC 2.0 request: \"jsonrpc\": \"2.0\" and \"method\" are "
			   "needed");
		send_error(client, id, -32600, &err, NULL);
		return;
	}
	if (params == NULL)
		params = none = json_object();
	rc = xv_handle(client->server->host, method, params, &result, &task, &err);
	if (json_object_get(request, "id") == NULL) { /* a notification: no answer */
		json_decref(result);
		if (task != NULL)
			task->destroy(task);
	} else if (rc < 0) {
		const char *file = json_string_value(json_object_get(params, "file"));

		if (err.code == XV_ERR_NONE)
			xv_err_set(&err, rc, XV_ERR_INTERNAL, "%s", strerror(-rc));
		send_error(client, id, rpc_code(err.code), &err,
			   strcmp(method, "host.apply") == 0 ? file : NULL);
	} else if (task != NULL) {
		task_begin(client, task, id);
	} else {
		send_json(client, json_pack("{s:s, s:O?, s:o?}", "jsonrpc", "2.0", "id", id,
					    "result", result));
	}
	json_decref(none);
}

static void handle_line(struct client *client, const char *line, size_t len)
{
	struct xv_err err = {0};
	json_error_t error;
	json_t *request;

	if (strspn(line, " \t\r") == len)
		return;
	request = json_loadb(line, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
	if (request == NULL) {
		xv_err_set(&err, -EINVAL, XV_ERR_SYNTAX, "not JSON: %s", error.text);
		send_error(client, NULL, -32700, &err, NULL);
		return;
	}
	handle_request(client, request);
	json_decref(request);
}

/* Serve complete lines, as long as the client reads what it is told. */
static void serve(struct client *client)
{
	struct evbuffer *in = bufferevent_get_input(client->bev);
	struct evbuffer *out = bufferevent_get_output(client->bev);
	struct xv_err err = {0};
	size_t len;
	char *line;

	while (client->task == NULL && evbuffer_get_length(out) <= MAX_UNREAD_BYTES) {
		line = evbuffer_readln(in, &len, EVBUFFER_EOL_LF);
		if (line == NULL)
			break;
		handle_line(client, line, len);
		free(line);
	}
	client->held = client->task == NULL && evbuffer_get_length(out) > MAX_UNREAD_BYTES;
	if (client->held) {
		bufferevent_disable(client->bev, EV_READ);
		return;
	}
	if (client->task != NULL || client->closing)
		return; /* reading goes on, if only to see it go; the buffer is bounded */
	bufferevent_enable(client->bev, EV_READ);
	if (evbuffer_get_length(in) >= MAX_REQUEST_BYTES) {
		xv_err_set(&err, -EMSGSIZE, XV_ERR_RANGE, "the request is larger than %d bytes",
			   MAX_REQUEST_BYTES);
		send_error(client, NULL, -32600, &err, NULL);
		evbuffer_drain(in, evbuffer_get_length(in));
		bufferevent_disable(client->bev, EV_READ);
		client->closing = true;
	}
}

/* Write more of an answer. Not while much of it is unread: on_written() goes on then. */
static void task_step(evutil_socket_t fd, short what, void *arg)
{
	struct client *client = arg;
	struct evbuffer *out = bufferevent_get_output(client->bev);

	(void)fd;
	(void)what;
	if (client->task == NULL || evbuffer_get_length(out) > MAX_UNREAD_BYTES)
		return;
	switch (client->task->step(client->task, out)) {
	case XV_TASK_WAIT:
		evtimer_add(client->task_timer, &(struct timeval){.tv_usec = TASK_WAIT_US});
		break;
	case XV_TASK_MORE:
		evtimer_add(client->task_timer, &(struct timeval){0});
		break;
	case XV_TASK_DONE:
		client->task->destroy(client->task);
		client->task = NULL;
		evbuffer_add(out, "}\n", 2);
		serve(client);
		break;
	}
}

static void on_read(struct bufferevent *bev, void *arg)
{
	struct client *client = arg;

	(void)bev;
	if (client->task == NULL)
		serve(client);
}

/* All answers are read. */
static void on_written(struct bufferevent *bev, void *arg)
{
	struct client *client = arg;

	if (client->task == NULL && client->held)
		serve(client);
	if (client->task != NULL)
		event_active(client->task_timer, 0, 0);
	else if (client->closing && evbuffer_get_length(bufferevent_get_output(bev)) == 0)
		client_destroy(client);
}

/* Whether the other end is closed altogether, and not its sending half only. */
static bool is_gone(struct bufferevent *bev)
{
	struct pollfd p = {.fd = bufferevent_getfd(bev)};

	return poll(&p, 1, 0) > 0 && (p.revents & POLLHUP) != 0;
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
	struct client *client = arg;

	/* Nobody waits for answers that take long; what else was asked for is done. */
	while ((what & BEV_EVENT_EOF) && client->task != NULL && is_gone(bev)) {
		client->task->destroy(client->task);
		client->task = NULL;
		serve(client);
	}

	/* It may have closed its sending half only and still wait for answers. */
	if ((what & BEV_EVENT_EOF) &&
	    (client->task != NULL || evbuffer_get_length(bufferevent_get_output(bev)) > 0)) {
		client->closing = true;
		bufferevent_disable(bev, EV_READ);
		return;
	}
	if (what & BEV_EVENT_TIMEOUT)
		XV_LOG_LIMITED(XV_LOG_WARNING, "api",
			       "client dropped: it does not read its answers");
	client_destroy(client);
}

static void on_accept(evutil_socket_t fd, short what, void *arg)
{
	const struct timeval timeout = {.tv_sec = UNREAD_TIMEOUT_S};
	struct xv_server *server = arg;
	struct client *client;
	int peer;

	(void)what;
	peer = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (peer < 0)
		return;
	client = server->n_clients < MAX_CLIENTS ? calloc(1, sizeof(*client)) : NULL;
	if (client == NULL) {
		XV_LOG_LIMITED(XV_LOG_WARNING, "api", "client refused: %d are connected",
			       server->n_clients);
		close(peer);
		return;
	}
	client->server = server;
	client->task_timer = evtimer_new(server->events, task_step, client);
	client->bev = client->task_timer != NULL
			      ? bufferevent_socket_new(server->events, peer, BEV_OPT_CLOSE_ON_FREE)
			      : NULL;
	if (client->bev == NULL) {
		if (client->task_timer != NULL)
			event_free(client->task_timer);
		free(client);
		close(peer);
		return;
	}
	LIST_INSERT_HEAD(&server->clients, client, entry);
	server->n_clients++;
	bufferevent_setcb(client->bev, on_read, on_written, on_event, client);
	bufferevent_setwatermark(client->bev, EV_READ, 0, MAX_REQUEST_BYTES);
	bufferevent_set_timeouts(client->bev, NULL, &timeout);
	bufferevent_enable(client->bev, EV_READ | EV_WRITE);
}

int xv_server_create(const char *path, struct xv_server **serverp, struct xv_err *err)
{
	struct xv_server *server = calloc(1, sizeof(*server));
	int rc;

	if (server == NULL)
		return xv_err_set(err, -ENOMEM, XV_ERR_RESOURCE, "out of memory");
	LIST_INIT(&server->clients);
	rc = xv_unix_socket_listen(&server->socket, path, SOCKET_MODE, err);
	if (rc == -EADDRINUSE)
		xv_err_set(err, rc, XV_ERR_BUSY, "another xviod is running (it answers on %s)",
			   path);
	if (rc < 0) {
		free(server);
		return rc;
	}
	*serverp = server;
	return 0;
}

int xv_server_start(struct xv_server *server, struct event_base *events, struct xv_host *host)
{
	server->events = events;
	server->host = host;
	server->accept =
		event_new(events, server->socket.fd, EV_READ | EV_PERSIST, on_accept, server);
	if (server->accept == NULL || event_add(server->accept, NULL) < 0)
		return -ENOMEM;
	return 0;
}

void xv_server_destroy(struct xv_server *server)
{
	struct client *client;

	if (server == NULL)
		return;
	while ((client = LIST_FIRST(&server->clients)) != NULL)
		client_destroy(client);
	if (server->accept != NULL)
		event_free(server->accept);
	xv_unix_socket_remove(&server->socket);
	free(server);
}
