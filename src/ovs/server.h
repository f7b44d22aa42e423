/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The socket on which ovs-vswitchd's provider asks (protocol.h). Who connects can do what root can with the host's packets:
 * the file is root's, mode 0600. What breaks the protocol's rules ends its connection, and nothing else. Control thread.
 */
#pragma once

#include <event2/event.h>

#include "base/err.h"
#include "control/host.h"

struct xv_ovs_server;

/* After the host; its event base is used. */
int xv_ovs_server_create(const char *path, struct xv_host *host, struct xv_ovs_server **server, struct xv_err *err);
/* With all datapaths. Accepts NULL. */
void xv_ovs_server_destroy(struct xv_ovs_server *server);
