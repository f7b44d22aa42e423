/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Check values against the tables of schema.h. One checker serves host file, API and command line:
 * any scalar may be given as its text, as YAML and key=value do, or as the JSON type of its own.
 * Control thread; pure functions.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "base/err.h"
#include "control/schema.h"

enum xv_check {
	XV_CHECK_FULL,    /* required keys must be there, defaults are filled in */
	XV_CHECK_CHANGES, /* any subset; null = back to the default, kept as null in the result */
};

/*
 * `given` (any JSON value) against `keys`: *out becomes a new object with typed values in the order
 * of the table, equal for equal meanings. lines as made by hostfile.h, or NULL. 0 or -EINVAL ...
 */
int xv_check_keys(const struct xv_key *keys, const json_t *given, const json_t *lines,
		  enum xv_check how, json_t **out, struct xv_err *err);

/* Line of a key, of the object itself (key NULL), 0 if not known. */
int xv_check_line(const json_t *lines, const char *key);

/* What a checked list of VLANs means: bit per id. NULL gives none. */
void xv_check_vlans(const json_t *vlans, uint64_t bitmap[4096 / 64]);
