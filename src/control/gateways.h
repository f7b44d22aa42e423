/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gateways of networks as the control thread sees them: load balancers and their health, routers,
 * and the neighbours that both need. What is known becomes one object a network
 * (fastpath/gateway.h), published whenever it changes; gateway_packets.c answers what workers hand
 * over. Control thread only.
 */
#pragma once

#include <stdio.h>

#include <jansson.h>

#include "control/host.h"

struct xv_gateways;

int xv_gateways_create(struct xv_host *host, struct xv_gateways **gateways);
/* Nothing is bound any more. Accepts NULL. */
void xv_gateways_destroy(struct xv_gateways *gateways);

/* The model has just become what runs: follow it. Out of memory leaves things as they were, and
 * says so. */
void xv_gateways_follow(struct xv_gateways *gateways, const json_t *model);
/* The internal port goes. */
void xv_gateways_forget(struct xv_gateways *gateways, struct xv_host_port *port);

json_t *xv_gateways_report_lb(const struct xv_host *host, const char *name);
json_t *xv_gateways_report_router(const struct xv_host *host, const char *name);
/* For metrics: calls fn for each backend. */
struct xv_backend_info {
	const char *lb, *address;
	unsigned int port, weight;
	bool draining, usable; /* gets new connections */
	const char *health;    /* "up", "down", "unknown", "none" */
	uint64_t opened, asks, fails;
};
void xv_gateways_backends(const struct xv_host *host,
			  void (*fn)(const struct xv_backend_info *info, void *arg), void *arg);
