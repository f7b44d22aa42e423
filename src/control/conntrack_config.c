/* SPDX-License-Identifier: Apache-2.0 */
#include "control/conntrack_config.h"

#include <errno.h>
#include <stdbool.h>

#include "control/model.h"
#include "fastpath/conntrack.h"
#include "fastpath/flow.h"

static uint32_t number_of(const json_t *object, const char *key)
{
	return (uint32_t)json_integer_value(json_object_get(object, key));
}

/* ---- Timeouts ---- */

static bool is_used(json_t *numbers, const json_t *old, json_int_t number)
{
	const char *name;
	json_t *n;

	json_object_foreach (numbers, name, n) {
		if (json_integer_value(n) == number)
			return true;
	}
	json_object_foreach ((json_t *)(uintptr_t)old, name, n) {
		if (json_integer_value(n) == number)
			return true;
	}
	return false;
}

/* Not one that a set has which goes with this change: connections have its number still. */
static json_int_t free_number(json_t *numbers, const json_t *old)
{
	json_int_t n;

	for (n = 1; n < XV_CT_POLICIES && is_used(numbers, old, n); n++)
		;
	return n < XV_CT_POLICIES ? n : 0;
}

json_t *xv_timeouts_number(const json_t *model, const json_t *old)
{
	json_t *numbers = json_object(), *sets = json_object_get(model, "timeout"), *set, *known;
	const char *name;

	json_object_foreach (sets, name, set) {
		known = json_object_get(old, name);
		if (known != NULL)
			json_object_set(numbers, name, known);
	}
	json_object_foreach (sets, name, set) {
		if (json_object_get(numbers, name) == NULL)
			json_object_set_new(numbers, name, json_integer(free_number(numbers, old)));
	}
	return numbers;
}

uint32_t xv_timeouts_of(const json_t *numbers, const json_t *network)
{
	const char *name = json_string_value(json_object_get(network, "timeouts"));

	return name != NULL ? number_of(numbers, name) : 0;
}

/* set: of the model, or NULL: nf_conntrack's. */
static int set_timeouts(uint32_t number, const json_t *set)
{
	uint32_t seconds[XV_CT_TO_MAX] = {0};

	for (unsigned int i = 0; i < XV_CT_TO_MAX; i++)
		seconds[i] = number_of(set, xv_ct_timeout_names[i]);
	return xv_conntrack_set_timeouts(xv_flow_conntrack, number, seconds);
}

static int configure_timeouts(const json_t *model, const json_t *numbers, const json_t *old)
{
	json_t *of_old = (json_t *)(uintptr_t)old, *set, *number;
	const char *otherwise = json_string_value(json_object_get(json_object_get(model, "conntrack"), "timeouts")), *name;
	int rc;

	/* All that were never set are the default: first. */
	rc = set_timeouts(0, otherwise != NULL ? xv_model_get(model, "timeout", otherwise) : NULL);
	json_object_foreach (json_object_get(model, "timeout"), name, set) {
		if (rc == 0 && number_of(numbers, name) != 0)
			rc = set_timeouts(number_of(numbers, name), set);
	}
	json_object_foreach (of_old, name, number) {
		if (rc == 0 && json_object_get(numbers, name) == NULL)
			rc = set_timeouts((uint32_t)json_integer_value(number),
					  otherwise != NULL ? xv_model_get(model, "timeout", otherwise) : NULL);
	}
	return rc;
}

/* ---- All of it ---- */

int xv_conntrack_configure(struct xv_host *host, const json_t *model, const json_t *numbers, const json_t *old)
{
	const json_t *config = json_object_get(model, "conntrack");
	const struct xv_host_network *n;

	xv_conntrack_set_pick_up(xv_flow_conntrack, json_is_true(json_object_get(config, "pick_up")));
	xv_conntrack_set_half_open(xv_flow_conntrack, number_of(config, "half_open_limit"));
	xv_conntrack_set_limit(xv_flow_conntrack, number_of(config, "zone_limit"));
	TAILQ_FOREACH (n, &host->networks, entry) {
		const json_t *own = json_object_get(xv_model_get(model, "network", n->network->name), "zone_limit");

		if (!n->leaving)
			xv_conntrack_set_zone_limit(xv_flow_conntrack, n->zone,
						    own != NULL ? (uint32_t)json_integer_value(own) : UINT32_MAX);
	}
	return configure_timeouts(model, numbers, old);
}
