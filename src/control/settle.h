/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Publish: bring bindings, member lists and poll lists of the devices that exist in line with a
 * model, in an order that never lets a packet cross from one network to another. Idempotent; what
 * is right already is not touched. Control thread; part of a transaction (txn.h).
 */
#pragma once

#include <jansson.h>

#include "control/host.h"

/* Devices marked leaving end up bound to nothing and polled by nobody. 0 or -ENOMEM. */
int xv_settle(struct xv_host *host, const json_t *model);
