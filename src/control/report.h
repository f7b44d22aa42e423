/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The running host as JSON: what the API answers to show and list. Control thread. All return a new
 * reference, NULL = out of memory.
 */
#pragma once

#include <jansson.h>

#include "control/host.h"

json_t *xv_report_port(struct xv_host_port *port);
json_t *xv_report_network(const struct xv_host *host, const char *name);
json_t *xv_report_policy(const struct xv_host *host, const char *name);
json_t *xv_report_timeout(const struct xv_host *host, const char *name);
json_t *xv_report_group(const struct xv_host *host, const char *name);
json_t *xv_report_vtep(const struct xv_host *host, const char *name);
json_t *xv_report_wire(const struct xv_host *host, const char *name);
json_t *xv_report_worker(const struct xv_host *host, const struct xv_host_worker *worker);
json_t *xv_report_host(const struct xv_host *host);

/* The flow table and what workers keep of it. */
json_t *xv_report_flows(const struct xv_host *host);

/* Arrays. network, port: only of this one, NULL = all. */
json_t *xv_report_macs(const struct xv_host *host, const char *network);
json_t *xv_report_drops(const struct xv_host *host, const char *port);
json_t *xv_report_tunnels(const struct xv_host *host, const char *network);
