/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The answers to flow.list and flow.show: an array of flows (or one) with counters that are exact as of the call. What workers have counted for
 * fused flows is credited first (xv_flows_sweep()); then the table is walked in pieces. Control thread.
 */
#pragma once

#include <jansson.h>

#include "base/err.h"
#include "control/host.h"
#include "control/task.h"

/* args: checked: port, network, address, limit, each optional. 0, or -EINVAL and a sentence: the address is none. */
int xv_flow_list_start(struct xv_host *host, const json_t *args, struct xv_task **task, struct xv_err *err);

/* args: checked: id. The answer is that flow with all that is known of it. 0, or -ENOENT and a sentence. */
int xv_flow_show_start(struct xv_host *host, const json_t *args, struct xv_task **task, struct xv_err *err);
