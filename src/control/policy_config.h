/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Policies as configured: rules that contradict themselves, and the compiled policy of
 * fastpath/policy.h. Control thread; pure functions.
 */
#pragma once

#include <jansson.h>

#include "base/err.h"
#include "fastpath/policy.h"

/* Do the keys of a checked rule (check.h) fit together? -EINVAL: the error has the key and a
 * sentence. */
int xv_policy_config_check_rule(const json_t *rule, struct xv_err *err);

/* Compile a policy object of the model; its rules may have a "counter" each, and itself a "default_counter"
 * (fastpath/rule_hits.h). 0 or -errno. */
int xv_policy_config_compile(const json_t *config, struct xv_policy **policy, struct xv_err *err);
