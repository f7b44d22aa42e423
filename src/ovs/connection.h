/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection of the provider: requests in, answers out, one at a time. Some answers take time: flows that were deleted
 * have to be swept from workers' caches before their counters are final, a dump wants them swept first, and upcalls come
 * when they come. Until then the connection reads nothing. Control thread.
 */
#pragma once

#include <stdbool.h>
#include <sys/queue.h>

#include <event2/event.h>

#include "control/host.h"
#include "ovs/message.h"

struct bufferevent;
struct xv_ovs_datapath;
struct xv_ovs_operation;
struct xv_ovs_server;

enum xv_ovs_pending { XV_OVS_IDLE, XV_OVS_PENDING_OPERATE, XV_OVS_PENDING_DUMP, XV_OVS_PENDING_UPCALLS };

struct xv_ovs_connection {
	LIST_ENTRY(xv_ovs_connection) entry;
	struct xv_ovs_server *server;
	struct xv_host *host;
	struct bufferevent *bev;
	struct event *timer; /* looks whether a sweep is done */
	char datapath[64];   /* "" = none */
	enum xv_ovs_pending pending;
	struct xv_ovs_header request;	    /* that is being answered */
	struct xv_ovs_operation *operation; /* OPERATE */
	uint64_t sweep;			    /* DUMP */
	bool terse;
	uint32_t handler, handlers; /* UPCALLS */
};
LIST_HEAD(xv_ovs_connections, xv_ovs_connection);

/* fd is taken over on success. NULL: out of memory. */
struct xv_ovs_connection *xv_ovs_connection_create(struct xv_host *host, int fd);
/* Hang up. An answer that is still being made goes nowhere. */
void xv_ovs_connection_destroy(struct xv_ovs_connection *c);
/* Deal with what has come. False: it broke the rules. */
bool xv_ovs_connection_read(struct xv_ovs_connection *c);
/* There may be upcalls for it. */
void xv_ovs_connection_upcalls(struct xv_ovs_connection *c);
