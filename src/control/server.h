/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The API's transport: JSON-RPC 2.0 over a unix stream socket, one JSON object per line each way,
 * any number of requests per connection, answered in order. What a method does is in handlers.c; an answer that takes
 * time (task.h) is written bit by bit, as the client reads it, while others are served.
 * Control thread.
 *
 * Bounds: a request of 1 MiB, 64 clients; a client that does not read its answers is not served
 * further until it does, and is dropped after a while.
 */
#pragma once

#include <event2/event.h>

#include "base/err.h"
#include "control/host.h"

struct xv_server;

/* Claim the socket: whoever connects from now on is answered when xv_server_start() was called. */
int xv_server_create(const char *path, struct xv_server **server, struct xv_err *err);
int xv_server_start(struct xv_server *server, struct event_base *events, struct xv_host *host);
/* Hang up and remove the socket. Accepts NULL. */
void xv_server_destroy(struct xv_server *server);
