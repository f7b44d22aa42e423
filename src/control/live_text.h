/* SPDX-License-Identifier: Apache-2.0 */
/* A packet that was followed, as JSON for people and programs. Control thread. */
#pragma once

#include <jansson.h>

#include "control/host.h"
#include "fastpath/live_trace.h"

/* base: the number of the packet before the first one. */
json_t *xv_live_text(struct xv_host *host, const struct xv_live_record *record, uint32_t base);
