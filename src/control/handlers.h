/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What each method of the API (methods.h) does. Control thread.
 */
#pragma once

#include <jansson.h>

#include "base/err.h"
#include "control/host.h"
#include "control/task.h"

/*
 * Call a method by name. params: a JSON object. *result: a new reference on success, JSON null when
 * there is nothing to say; or a task that writes it, which the caller owns then (*result stays as it is).
 * 0 or -errno and a sentence.
 */
int xv_handle(struct xv_host *host, const char *method, const json_t *params, json_t **result,
	      struct xv_task **task, struct xv_err *err);
