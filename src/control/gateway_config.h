/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the configuration says about load balancers and routers: values only, nothing here touches a
 * device. Control thread.
 *
 * A network that has any of them has a gateway (fastpath/gateway.h), and for that an internal port.
 * The model has those, derived, under "internal", by their name ("blue@gateway", which no
 * configured object can have): {"name", "kind": "internal", "queues": 1, "network", "mac"}.
 */
#pragma once

#include <stdbool.h>

#include <jansson.h>

#include "base/err.h"

#define XV_GATEWAY_SUFFIX "@gateway"

/* Does an object of a model whose objects are each checked make sense, with the others? -EINVAL,
 * -EBUSY or -ENOENT: *key is at fault, text the rest of the sentence. */
int xv_gateway_config_check_lb(const json_t *model, const char *name, const char **key, char *text,
			       size_t size);
int xv_gateway_config_check_router(const json_t *model, const char *name, const char **key,
				   char *text, size_t size);

/* Give a valid model its internal ports. 0 or -ENOMEM. */
int xv_gateway_config_derive(json_t *model);

/* Whether the network has a gateway; whether it has load balancers. */
bool xv_gateway_config_has(const json_t *model, const char *network);
bool xv_gateway_config_balances(const json_t *model, const char *network);

/* Where health checks of a load balancer come from: its own key, or the address of the network's
 * router of that family; NULL: neither. */
const char *xv_gateway_config_source(const json_t *model, const json_t *lb);
