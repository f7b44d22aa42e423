/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection to xviod's API: JSON-RPC 2.0, a line each way, blocking.
 */
#pragma once

#include <jansson.h>

struct client {
	const char *path;
	int fd; /* -1 = not connected yet */
};

/*
 * Call a method; connects first if needed. params is consumed. *result: a new reference. On failure
 * -errno and a sentence in error; -ENOTCONN: xviod cannot be reached.
 */
int client_call(struct client *client, const char *method, json_t *params, json_t **result,
		char *error, size_t error_size);
void client_close(struct client *client);
