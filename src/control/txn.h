/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A transaction: make the running host equal to a model, all or nothing. Control thread.
 *
 * The order: create what is new (this may fail: undo, nothing has changed); publish (bindings,
 * member lists, poll lists); remove what is old. An object that did not change is not touched: its
 * device, connection and queues stay. Where a new port takes over the socket or device of an old
 * one, the old one is released first and made anew if the new one cannot be created.
 */
#pragma once

#include <stdbool.h>

#include <jansson.h>

#include "base/err.h"
#include "control/host.h"

/*
 * desired: a complete and valid model (the reference is taken over on success only); lines: where
 * its objects stood, or NULL. *changes: what changed, or would with dry_run, a line each (model.h).
 */
int xv_txn_apply(struct xv_host *host, json_t *desired, const json_t *lines, bool dry_run,
		 json_t **changes, struct xv_err *err);

/*
 * Ports that come and go while xviod runs, by somebody else's orders (src/ovs): objects as under "port", complete, by name, under
 * "dynamic" in the model; "datapath" in one of them binds it to flows and their slow path. They become exactly these; those of a
 * host file do not touch them. ports: the reference is taken over.
 */
int xv_txn_set_dynamic_ports(struct xv_host *host, json_t *ports, struct xv_err *err);
