/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The answers to ct.list, ct.flush and ct.stats. There may be millions of connections: they are looked at in pieces, between
 * which others have their turn; counters are completed first, as for flows. Control thread.
 */
#pragma once

#include <jansson.h>

#include "base/err.h"
#include "control/host.h"
#include "control/task.h"

/* args: checked: address, src, dst, proto, src_port, dst_port, zone, network, state, limit, each optional; all that are given
 * must fit. 0, or -ENOMEM. */
int xv_ct_list_start(struct xv_host *host, const json_t *args, struct xv_task **task, struct xv_err *err);
int xv_ct_flush_start(struct xv_host *host, const json_t *args, struct xv_task **task, struct xv_err *err);

/* Totals, and each zone that has connections or a limit. NULL: out of memory. */
json_t *xv_ct_stats(const struct xv_host *host);
