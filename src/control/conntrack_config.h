/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the configuration says about connection tracking: the object "conntrack", sets of timeouts, and what networks say of
 * their zones. Control thread.
 */
#pragma once

#include <jansson.h>

#include "control/host.h"

/*
 * Give each set of timeouts of a model a number (fastpath/conntrack.h), which bindings name. A set keeps its number as long as it is
 * there. Value: {NAME: NUMBER}. old: that of the running model, or NULL. NULL = out of memory.
 */
json_t *xv_timeouts_number(const json_t *model, const json_t *old);
/* The number of a network's timeouts; 0: the default ones. */
uint32_t xv_timeouts_of(const json_t *numbers, const json_t *network);

/* Limits, timeouts and the rest become what the model says; numbers: of its timeouts, old: of those before. Networks exist. 0 or -errno. */
int xv_conntrack_configure(struct xv_host *host, const json_t *model, const json_t *numbers, const json_t *old);
