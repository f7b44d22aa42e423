/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers and fragments of frames, for test/virtio/test_answers_scapy.py. Reads lines, answers each with one:
 *
 *   too-big FRAME MTU | unreachable FRAME CODE4 CODE6 | reset FRAME
 *     FRAME | none
 *   fragment FRAME MTU [CUT ...]     CUT: where the frame is cut into mbufs
 *     FRAME ... | error ERRNO
 *
 * Frames in hexadecimal.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_eal.h>
#include <rte_mbuf.h>

#include "net/fragment.h"
#include "net/icmp_error.h"
#include "net/packet.h"

#define FRAME_MAX (65536 + 128)

static struct rte_mempool *pool;

static uint32_t read_hex(const char *hex, uint8_t *bytes)
{
	unsigned int v;
	uint32_t n;

	for (n = 0; n < FRAME_MAX && sscanf(hex + (size_t)2 * n, "%2x", &v) == 1; n++)
		bytes[n] = (uint8_t)v;
	return n;
}

static void print_hex(const uint8_t *p, uint32_t len)
{
	while (len-- > 0)
		printf("%02x", *p++);
}

/* A packet of these bytes; where it is cut into mbufs says the rest of the line. */
static struct rte_mbuf *packet(const uint8_t *bytes, uint32_t len)
{
	struct rte_mbuf *head = NULL, *m;
	uint32_t done = 0, n, cut;

	while (done < len || head == NULL) {
		char *word = strtok(NULL, " \n");

		cut = word != NULL ? (uint32_t)atoi(word) : len;
		n = RTE_MIN(RTE_MIN(cut, len) - done, (uint32_t)XV_PACKET_DATA_BYTES);
		m = rte_pktmbuf_alloc(pool);
		if (m == NULL)
			exit(1);
		memcpy(rte_pktmbuf_append(m, (uint16_t)n), bytes + done, n);
		done += n;
		if (head == NULL)
			head = m;
		else
			(void)rte_pktmbuf_chain(head, m);
	}
	return head;
}

static void fragment(const uint8_t *frame, uint32_t len, uint32_t mtu)
{
	static struct rte_mbuf *out[2048];
	static uint8_t flat[FRAME_MAX];
	struct rte_mbuf *m = packet(frame, len);
	int n, i;

	n = xv_ipv4_fragment(m, mtu, pool, out, RTE_DIM(out));
	if (n < 0) {
		printf("error %d", n);
		rte_pktmbuf_free(m);
	}
	for (i = 0; i < n; i++) {
		printf(i == 0 ? "" : " ");
		print_hex(rte_pktmbuf_read(out[i], 0, out[i]->pkt_len, flat), out[i]->pkt_len);
	}
	if (n > 0)
		rte_pktmbuf_free_bulk(out, (unsigned int)n);
}

int main(void)
{
	static char words[][20] = {"answer_tool", "--no-huge", "--no-shconf",    "--no-pci",
				   "-m",          "64",        "--no-telemetry", "--log-level=error"};
	char *eal[RTE_DIM(words) + 1] = {NULL};
	static char line[2 * FRAME_MAX + 256];
	static uint8_t frame[FRAME_MAX], answer[XV_ANSWER_MAX];

	unsigned int i;

	for (i = 0; i < RTE_DIM(words); i++)
		eal[i] = words[i];
	if (rte_eal_init((int)RTE_DIM(words), eal) < 0)
		return 1;
	pool = rte_pktmbuf_pool_create("tool", 4095, 0, XV_PACKET_PRIV_SIZE,
				       RTE_PKTMBUF_HEADROOM + XV_PACKET_DATA_BYTES, SOCKET_ID_ANY);
	if (pool == NULL)
		return 1;
	setvbuf(stdout, NULL, _IOLBF, 0);
	while (fgets(line, sizeof(line), stdin)) {
		char *command = strtok(line, " \n"), *hex = strtok(NULL, " \n"), *a = strtok(NULL, " \n");
		uint32_t len = hex != NULL ? read_hex(hex, frame) : 0, n = 0,
			 number = a != NULL ? (uint32_t)atoi(a) : 0;
		uint16_t seen = (uint16_t)RTE_MIN(len, (uint32_t)XV_OFFENDER_BYTES);

		if (command == NULL)
			continue;
		if (strcmp(command, "fragment") == 0) {
			fragment(frame, len, number);
			printf("\n");
			continue;
		}
		if (strcmp(command, "too-big") == 0) {
			n = xv_icmp_too_big(frame, seen, len, number, answer);
		} else if (strcmp(command, "unreachable") == 0) {
			a = strtok(NULL, " \n");
			n = xv_icmp_unreachable(frame, seen, len, (uint8_t)number, (uint8_t)(a != NULL ? atoi(a) : 0),
						answer);
		} else if (strcmp(command, "reset") == 0) {
			n = xv_tcp_reset(frame, seen, len, answer);
		}
		if (n == 0)
			printf("none");
		print_hex(answer, n);
		printf("\n");
	}
	(void)rte_eal_cleanup();
	return 0;
}
