/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OpenMetrics text over HTTP (GET /metrics), by libmicrohttpd, driven by the control thread's event
 * loop; no thread of its own. Control thread.
 */
#pragma once

#include "base/err.h"

struct xv_host;
struct xv_metrics;

/* address: "127.0.0.1:9180", "[::1]:9180", "unix:/path" or "off" (*metrics becomes NULL). */
int xv_metrics_create(struct xv_host *host, const char *address, struct xv_metrics **metrics,
		      struct xv_err *err);
/* Accepts NULL. */
void xv_metrics_destroy(struct xv_metrics *metrics);

/* From the housekeeping timer: time out idle clients. */
void xv_metrics_tick(struct xv_metrics *metrics);

/* The text itself; malloc memory, NULL = out of memory. */
char *xv_metrics_text(const struct xv_host *host);
