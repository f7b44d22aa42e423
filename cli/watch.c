/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/watch.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "cli/print.h"

#define ASK_EVERY_MS 200

static void print_all(const json_t *answer, bool json_output)
{
	json_int_t missed = json_integer_value(json_object_get(answer, "missed"));
	json_t *drop;
	size_t i;

	json_array_foreach (json_object_get(answer, "drops"), i, drop) {
		if (json_output) { /* a line each, so that it can be read while it comes */
			json_dumpf(drop, stdout, JSON_COMPACT);
			putchar('\n');
		} else {
			print_drop(drop);
		}
	}
	fflush(stdout);
	if (missed > 0)
		fprintf(stderr, "xvioctl: %lld more were dropped than could be written down\n", (long long)missed);
}

int watch_drops(struct client *client, json_t *params, bool json_output, char *error, size_t error_size)
{
	const struct timespec pause = {.tv_nsec = ASK_EVERY_MS * 1000000L};
	const char *count = json_string_value(json_object_get(params, "count"));
	/* xviod says what is wrong with it, if anything is. */
	long long left = count != NULL ? atoll(count) : -1;
	json_t *answer;
	int rc;

	for (;;) {
		rc = client_call(client, "drop.watch", json_copy(params), &answer, error, error_size);
		if (rc < 0)
			break;
		print_all(answer, json_output);
		if (left >= 0) {
			left -= (long long)json_array_size(json_object_get(answer, "drops"));
			json_object_set_new(params, "count", json_integer(left));
		}
		json_object_set(params, "after", json_object_get(answer, "next"));
		json_decref(answer);
		if (left == 0)
			break;
		(void)nanosleep(&pause, NULL);
	}
	json_decref(params);
	return rc;
}
