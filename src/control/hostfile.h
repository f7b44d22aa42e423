/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host file: YAML text into values. Nothing is judged here but YAML itself; check.h and model.h
 * do the rest. Control thread.
 *
 * Values are jansson's: mappings are objects, lists are arrays, every scalar is a string (check.h
 * knows what type belongs), an empty or null scalar is null. Lines are kept aside in a tree of the
 * same shape: an object has the line of each key, "" is where it starts; for a key with a mapping,
 * or a list that holds mappings, the entry is that part of the tree, and "KEY:" has the line.
 */
#pragma once

#include <jansson.h>

#include "base/err.h"

struct xv_hostfile {
	json_t *values, *lines;
};

/* Parse text. Errors have the line. Release with xv_hostfile_fini(). */
int xv_hostfile_parse(const char *text, size_t len, struct xv_hostfile *file, struct xv_err *err);

/* Read a whole file (bounded by XV_TEXT_MAX); *text is malloc memory. */
int xv_hostfile_read(const char *path, char **text, size_t *len, struct xv_err *err);

void xv_hostfile_fini(struct xv_hostfile *file);
