/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `xvioctl drop watch`: ask again and again, and print what is new.
 */
#pragma once

#include <stdbool.h>

#include "cli/client.h"

/* Until "count" of params have been printed, else for ever. params are consumed. 0, or -errno and a sentence. */
int watch_drops(struct client *client, json_t *params, bool json_output, char *error, size_t error_size);
