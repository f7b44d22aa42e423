/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The answers to trace.live: real packets, followed through the daemon (fastpath/live_trace.h). One trace at a
 * time: a first call begins it and says its number; calls with that number wait until there are packets, up to a
 * second, and have them. It ends when it has shown so many packets, or has lasted so long, as was asked for; and
 * when its client goes: with a call that is not answered yet at once, else when no call comes for a while. Control
 * thread.
 */
#pragma once

#include <jansson.h>

#include "base/err.h"
#include "control/host.h"
#include "control/task.h"

struct xv_live_session;

/* args: checked. 0, or -errno and a sentence: the filter is none, another trace is on, this one is over. */
int xv_live_session_call(struct xv_host *host, const json_t *args, struct xv_task **task, struct xv_err *err);
/* Accepts NULL. */
void xv_live_session_destroy(struct xv_live_session *session);
