/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/live.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/pcapng.h"
#include "cli/print.h"

#define BYTES_MAX 2048 /* that xviod keeps of a packet */

/* Where packets go. */
struct sink {
	bool json;
	bool file;
	struct pcapng pcapng;
	unsigned long long written;
};

static const char *text_of(const json_t *object, const char *key)
{
	const char *s = json_string_value(json_object_get(object, key));

	return s ? s : "";
}

static json_int_t number_of(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

static unsigned int digit_of(char c)
{
	return c <= '9' ? (unsigned int)(c - '0') : (unsigned int)(c - 'a' + 10);
}

/* The stages as a comment, a line each; malloc memory. */
static char *comment_of(const json_t *packet)
{
	json_t *stage, *stages = json_object_get(packet, "stages");
	char *text = NULL;
	size_t size, i;
	FILE *f = open_memstream(&text, &size);

	if (f == NULL)
		return NULL;
	json_array_foreach (stages, i, stage)
		fprintf(f, "%s%s: %s", i > 0 ? "\n" : "", text_of(stage, "stage"), text_of(stage, "text"));
	fclose(f);
	return text;
}

static int write_packet(struct sink *sink, const json_t *packet)
{
	const char *hex = text_of(packet, "hex");
	uint8_t bytes[BYTES_MAX];
	char *comment;
	uint32_t n;
	int rc;

	if (json_is_true(json_object_get(packet, "later")))
		return 0; /* the packet is in the file already */
	for (n = 0; n < BYTES_MAX && hex[0] != '\0' && hex[1] != '\0'; n++, hex += 2)
		bytes[n] = (uint8_t)(digit_of(hex[0]) << 4 | digit_of(hex[1]));
	comment = comment_of(packet);
	rc = pcapng_add(&sink->pcapng, text_of(packet, "port"), (uint64_t)number_of(packet, "time_us"), bytes, n,
			(uint32_t)number_of(packet, "bytes"), comment != NULL ? comment : "");
	free(comment);
	sink->written += rc == 0;
	return rc;
}

static int show(struct sink *sink, const json_t *answer)
{
	json_int_t missed = number_of(answer, "missed");
	json_t *packet;
	size_t i;
	int rc = 0;

	json_array_foreach (json_object_get(answer, "packets"), i, packet) {
		if (sink->file && rc == 0) {
			rc = write_packet(sink, packet);
		} else if (sink->json) { /* a line each, so that it can be read while it comes */
			json_dumpf(packet, stdout, JSON_COMPACT);
			putchar('\n');
		} else if (!sink->file) {
			print_followed(packet);
		}
	}
	if (fflush(stdout) != 0 && rc == 0)
		rc = -errno;
	if (missed > 0)
		fprintf(stderr, "xvioctl: %lld more fitted than could be followed\n", (long long)missed);
	return rc;
}

/* Others may want to trace. */
static void stop(struct client *client, const json_t *params)
{
	json_t *last = json_deep_copy(params), *answer;
	char error[200];

	json_object_set_new(last, "stop", json_true());
	if (client_call(client, "trace.live", last, &answer, error, sizeof(error)) == 0)
		json_decref(answer);
}

int follow_packets(struct client *client, json_t *params, const char *write, bool json_output, char *error,
		   size_t error_size)
{
	struct sink sink = {.json = json_output, .file = write != NULL};
	bool ended = false;
	json_t *answer;
	int rc = 0;

	if (write != NULL && json_object_get(params, "bytes") == NULL)
		json_object_set_new(params, "bytes", json_integer(BYTES_MAX));
	while (!ended) {
		rc = client_call(client, "trace.live", json_copy(params), &answer, error, error_size);
		if (rc < 0)
			break;
		/* Not before it is known that there is a trace. */
		if (json_object_get(params, "trace") == NULL && write != NULL)
			rc = pcapng_open(&sink.pcapng, write);
		if (rc == 0)
			rc = show(&sink, answer);
		ended = json_is_string(json_object_get(answer, "ended"));
		json_object_clear(params);
		json_object_set(params, "trace", json_object_get(answer, "trace"));
		json_decref(answer);
		if (rc < 0 && !ended)
			stop(client, params);
		if (rc < 0) {
			snprintf(error, error_size, "%s: %s", write != NULL ? write : "cannot write", strerror(-rc));
			break;
		}
	}
	if (write != NULL && pcapng_close(&sink.pcapng) < 0 && rc == 0) {
		snprintf(error, error_size, "%s: cannot write", write);
		rc = -EIO;
	}
	if (rc == 0 && write != NULL && strcmp(write, "-") != 0)
		fprintf(stderr, "%llu packets are in %s\n", sink.written, write);
	json_decref(params);
	return rc;
}
