/* SPDX-License-Identifier: Apache-2.0 */
#include "control/methods.h"

#include <string.h>

const struct xv_method xv_methods[XV_METHOD_MAX] = {
#define X(id, n, c, o, a, w, h)                                                                    \
	[XV_METHOD_##id] = {.name = n, .command = c, .object = o, .help = h, .args = a, .write = w},
	XV_METHODS(X)
#undef X
};

static const char *const log_levels[] = {"error", "warning", "info", "debug", NULL};

static const struct xv_key no_keys[] = {{.name = NULL}};

static const struct xv_key name_keys[] = {
	{.name = "name",
	 .type = XV_TYPE_NAME,
	 .flags = XV_KEY_REQUIRED,
	 .help = "the object's name"},
	{.name = NULL},
};

static const struct xv_key apply_keys[] = {
	{.name = "text",
	 .type = XV_TYPE_TEXT,
	 .max = XV_TEXT_MAX,
	 .flags = XV_KEY_REQUIRED,
	 .help = "the host file, as YAML text"},
	{.name = "file",
	 .type = XV_TYPE_TEXT,
	 .min = 1,
	 .max = 4096,
	 .def = "host file",
	 .help = "its name, for error sentences"},
	{.name = "dry_run",
	 .type = XV_TYPE_BOOL,
	 .def = "false",
	 .help = "say what would change, change nothing"},
	{.name = NULL},
};

static const struct xv_key network_keys[] = {
	{.name = "network", .type = XV_TYPE_NAME, .ref = "network", .help = "only this network"},
	{.name = NULL},
};

static const struct xv_key port_keys[] = {
	{.name = "port", .type = XV_TYPE_NAME, .ref = "port", .help = "only this port"},
	{.name = NULL},
};

static const struct xv_key log_keys[] = {
	{.name = "level",
	 .type = XV_TYPE_WORD,
	 .words = log_levels,
	 .flags = XV_KEY_REQUIRED,
	 .help = "least important log lines that are written"},
	{.name = NULL},
};

const struct xv_method *xv_method_lookup(const char *name)
{
	for (unsigned int i = 0; i < XV_METHOD_MAX; i++) {
		if (strcmp(xv_methods[i].name, name) == 0)
			return &xv_methods[i];
	}
	return NULL;
}

const struct xv_key *xv_method_keys(const struct xv_method *method)
{
	switch (method->args) {
	case XV_ARGS_NONE:
		break;
	case XV_ARGS_OBJECT:
	case XV_ARGS_CHANGES:
		return xv_schema_object(method->object)->keys;
	case XV_ARGS_NAME:
		return name_keys;
	case XV_ARGS_APPLY:
		return apply_keys;
	case XV_ARGS_NETWORK:
		return network_keys;
	case XV_ARGS_PORT:
		return port_keys;
	case XV_ARGS_LOG:
		return log_keys;
	}
	return no_keys;
}
