/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `xvioctl trace live`: ask for packets that are followed, again and again, and print them as they come, or write
 * them to a file.
 */
#pragma once

#include <stdbool.h>

#include "cli/client.h"

/* Until the trace ends. write: a pcapng file instead of text; NULL: text. params are consumed. 0, or -errno and
 * a sentence. */
int follow_packets(struct client *client, json_t *params, const char *write, bool json_output, char *error,
		   size_t error_size);
