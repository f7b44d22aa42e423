/* SPDX-License-Identifier: Apache-2.0 */
/* Batches of operations on flows and packets (XV_OVS_OPERATE). Control thread. */
#pragma once

#include "ovs/message.h"

struct xv_ovs_datapath;
struct xv_ovs_operation;

/*
 * Carry out all OPs of the items, in order; done gets the answer, its header not yet complete, from here on or later: then
 * *operation is it in the meantime (else NULL). -EINVAL: malformed, nothing was done.
 */
int xv_ovs_operate(struct xv_ovs_datapath *dp, const void *items, uint32_t len, const struct xv_ovs_header *request,
		   void (*done)(struct xv_ovs_message *m, void *arg), void *arg, struct xv_ovs_operation **operation);
/* Nobody waits for the answer any more. Accepts NULL. */
void xv_ovs_operation_forget(struct xv_ovs_operation *operation);
