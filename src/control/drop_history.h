/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The latest dropped packets, for those who watch (drop.watch). Workers write down what they drop as long as somebody asks
 * (fastpath/drop_watch.h); here it is kept, bounded, so that several may watch, each from where it is. Nobody has to
 * say that they stop: watching ends when no one has asked for a while. Control thread.
 */
#pragma once

#include <jansson.h>

#include "control/host.h"

struct xv_drop_history;

/*
 * The answer to drop.watch; args are checked. Without "after" watching begins, with nothing to tell yet. "next" of the answer
 * is to be the next call's "after". NULL = out of memory.
 */
json_t *xv_drop_history_take(struct xv_host *host, const json_t *args);
/* Accepts NULL. */
void xv_drop_history_destroy(struct xv_drop_history *history);
