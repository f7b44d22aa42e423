/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `trace` and `policy test` are asked about: any JSON, checked as the API does, made into a packet, which is then read within its
 * bytes. Input: byte 0: an odd one for policy.test; then the text of the arguments.
 */
#include "fuzz.h"

#include <string.h>

#include <jansson.h>

#include "base/err.h"
#include "control/check.h"
#include "control/methods.h"
#include "control/trace_packet.h"
#include "net/flow_key.h"

static struct xv_port device; /* is on no network */
static struct xv_host_port port = {.port = &device};

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	fuzz_eal_init();
	return 0;
}

static void read_back(const uint8_t *frame, uint32_t len)
{
	uint8_t *exact = malloc(len);
	struct xv_flow_layout layout;
	struct xv_flow_key key;

	FUZZ_CHECK(exact != NULL && len > 0 && len <= 65535);
	memcpy(exact, frame, len);
	memset(&key, 0, sizeof(key));
	(void)xv_flow_extract(exact, len, len, &key, &layout);
	free(exact);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct xv_method *method;
	struct xv_err err = {0};
	json_t *given, *args = NULL;
	json_error_t ignored;
	uint8_t *frame;
	uint32_t len;
	int rc;

	if (size < 1)
		return 0;
	method = xv_method_lookup(data[0] & 1 ? "policy.test" : "trace");
	FUZZ_CHECK(method != NULL);
	given = json_loadb((const char *)data + 1, size - 1, JSON_DECODE_ANY, &ignored);
	if (given == NULL)
		return 0;
	rc = xv_check_keys(xv_method_keys(method), given, NULL, XV_CHECK_FULL, &args, &err);
	if (rc == 0) {
		rc = xv_trace_packet(&port, args, &frame, &len, &err);
		if (rc == 0) {
			read_back(frame, len);
			free(frame);
		}
		json_decref(args);
	}
	FUZZ_CHECK(rc == 0 || err.text[0] != '\0'); /* a refusal says why */
	json_decref(given);
	return 0;
}
