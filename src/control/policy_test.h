/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The answer to policy.test: whether a packet would pass, and by which rules, by the same walk as trace (trace.h). Only the
 * configuration is asked, not who is up. Control thread.
 */
#pragma once

#include <jansson.h>

#include "base/err.h"
#include "control/host.h"

/*
 * args: checked: "port" that sends, "to" that receives, one of them at least; "state", and keys of a packet as for trace, of which ports'
 * own addresses fill in what is missing. *result: "packet", "state", "rules" (trace.h), "result" (allowed, denied, rejected, not
 * known), "outputs", and for what does not pass "reason" and "explanation". 0 or -errno.
 */
int xv_policy_test(struct xv_host *host, const json_t *args, json_t **result, struct xv_err *err);
