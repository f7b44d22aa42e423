/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Help and completion, from the tables of control/methods.h and control/schema.h.
 */
#pragma once

#include <stdio.h>

#include "cli/client.h"
#include "control/methods.h"

/* Commands that need no method of the API. */
struct local_command {
	const char *name, *usage, *help;
};
extern const struct local_command local_commands[]; /* ends with a NULL name */

/* "port add NAME KEY=VALUE..." into buf. */
const char *help_usage(const struct xv_method *method, char *buf, size_t size);
/* All commands, or those that start with `subject` and the keys of that object. -1: no such
 * subject. */
int help_print(FILE *f, const char *subject);
/* Print what may follow in a command line that was typed so far, one candidate a line. */
void help_complete(struct client *client, const char *line);
