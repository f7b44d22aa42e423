/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The flow keys of frames, for tests that are not written in C. Reads lines "TYPE HEX": TYPE is the packet type as a
 * number (0: Ethernet, 0x10800: IPv4, ...), HEX the bytes. For each writes a line
 *
 *   RESULT L2_5 L3 L4 L4_LEN PAYLOAD_END KEY
 *
 * result and layout as numbers, the key as text (net/flow_format.h).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/flow_format.h"

/* Bytes of a line's hex digits, -1 if it is not hex. */
static int from_hex(const char *hex, uint8_t *bytes, int max)
{
	unsigned int byte;
	int n;

	for (n = 0; hex[0] && hex[0] != '\n'; n++, hex += 2) {
		if (n == max || sscanf(hex, "%2x", &byte) != 1 || !hex[1])
			return -1;
		bytes[n] = (uint8_t)byte;
	}
	return n;
}

int main(void)
{
	static uint8_t frame[UINT16_MAX];
	static char line[2 * UINT16_MAX + 64];
	char text[XV_FLOW_TEXT_SIZE];
	struct xv_flow_layout layout;
	struct xv_flow_key key;
	uint8_t *exact;
	char *hex;
	int n, result;

	while (fgets(line, sizeof(line), stdin)) {
		memset(&key, 0, sizeof(key));
		key.packet_type = rte_cpu_to_be_32((uint32_t)strtoul(line, &hex, 0));
		n = *hex == ' ' ? from_hex(hex + 1, frame, sizeof(frame)) : -1;
		if (n < 0) {
			fprintf(stderr, "not \"TYPE HEX\": %s", line);
			return 1;
		}
		/* A copy of just this size: a sanitizer sees a read beyond. */
		exact = malloc(n ? (size_t)n : 1);
		if (!exact)
			return 1;
		memcpy(exact, frame, (size_t)n);
		result = (int)xv_flow_extract(exact, (uint16_t)n, (uint32_t)n, &key, &layout);
		free(exact);
		xv_flow_format(text, sizeof(text), &key, NULL, NULL, NULL);
		printf("%d %u %u %u %u %u %s\n", result, layout.l2_5, layout.l3, layout.l4, layout.l4_len,
		       layout.payload_end, text);
	}
	return 0;
}
