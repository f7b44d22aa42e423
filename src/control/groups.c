/* SPDX-License-Identifier: Apache-2.0 */
#include "control/groups.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "control/model.h"

static json_t *included(const json_t *model, const char *group)
{
	return json_object_get(xv_model_get(model, "group", group), "includes");
}

/* ---- Cycles ---- */

/* The way from the group to the last one on it, and to the group again: "a -> b -> a". came_from: group -> which includes it. */
static void write_cycle(const json_t *came_from, const char *group, const char *last, char *text, size_t size)
{
	json_t *way = json_array(), *step;
	size_t i, n = 0;

	for (const char *at = last; at != NULL; at = json_string_value(json_object_get(came_from, at)))
		json_array_insert_new(way, 0, json_string(at));
	json_array_append_new(way, json_string(group));
	json_array_foreach (way, i, step) {
		if (n < size)
			n += (size_t)snprintf(text + n, size - n, "%s%s", i > 0 ? " -> " : "", json_string_value(step));
	}
	json_decref(way);
}

int xv_groups_check(const json_t *model, const char *name, const char **key, char *text, size_t size)
{
	json_t *reached = json_array(), *came_from = json_object(), *next;
	char cycle[200] = "";
	size_t i;

	json_array_append_new(reached, json_string(name));
	json_object_set_new(came_from, name, json_null());
	for (size_t at = 0; at < json_array_size(reached) && cycle[0] == '\0'; at++) {
		const char *group = json_string_value(json_array_get(reached, at));

		json_array_foreach (included(model, group), i, next) {
			const char *to = json_string_value(next);

			if (strcmp(to, name) == 0) {
				write_cycle(came_from, name, group, cycle, sizeof(cycle));
				break;
			}
			if (json_object_get(came_from, to) != NULL)
				continue;
			json_object_set_new(came_from, to, json_string(group));
			json_array_append_new(reached, json_string(to));
		}
	}
	json_decref(reached);
	json_decref(came_from);
	if (cycle[0] == '\0')
		return 0;
	*key = "includes";
	snprintf(text, size, "%s is a cycle: a group cannot include itself, neither directly nor through others", cycle);
	return -EINVAL;
}

/* ---- Members ---- */

static void push_reversed(json_t *stack, const json_t *names)
{
	for (size_t i = json_array_size(names); i > 0; i--)
		json_array_append(stack, json_array_get(names, i - 1));
}

json_t *xv_groups_of(const json_t *model, const json_t *port)
{
	json_t *groups = json_array(), *seen = json_object(), *stack = json_array();

	push_reversed(stack, json_object_get(port, "groups"));
	while (json_array_size(stack) > 0) {
		json_t *top = json_incref(json_array_get(stack, json_array_size(stack) - 1));
		const char *group = json_string_value(top);

		json_array_remove(stack, json_array_size(stack) - 1);
		if (json_object_get(seen, group) == NULL) {
			json_object_set_new(seen, group, json_true());
			json_array_append(groups, top);
			push_reversed(stack, included(model, group));
		}
		json_decref(top);
	}
	json_decref(seen);
	json_decref(stack);
	return groups;
}

json_t *xv_groups_members(const json_t *model)
{
	json_t *members = json_object(), *object, *groups, *group;
	const char *name;
	size_t i;

	json_object_foreach (json_object_get(model, "group"), name, object)
		json_object_set_new(members, name, json_array());
	json_object_foreach (json_object_get(model, "port"), name, object) {
		groups = xv_groups_of(model, object);
		json_array_foreach (groups, i, group)
			json_array_append_new(json_object_get(members, json_string_value(group)), json_string(name));
		json_decref(groups);
	}
	return members;
}
