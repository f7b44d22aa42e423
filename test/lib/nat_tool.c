/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Translates frames for test/virtio/test_nat_scapy.py. A line of input is one packet and what is done to it:
 *
 *   FRAME [csum=START,OFFSET] [cut=N] [error] [reply] PROTO SRC,DST,SPORT,DPORT SRC,DST,SPORT,DPORT
 *
 * FRAME, addresses and ports are bytes in hex as on the wire, PROTO is decimal; the tuples are those of the connection,
 * original and reply (ICMP: the identifier, then type and code). `reply`: the packet is of that direction. `error`: it
 * is an ICMP error. cut: bytes of the first segment. A line of output: the frame; or "error: ..." and why.
 */
#include <ctype.h>
#include <errno.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_eal.h>
#include <rte_mbuf.h>

#include "fastpath/conntrack_nat.h"
#include "net/packet.h"

#define FRAME_MAX    2048
#define LINE_MAX_LEN (2 * FRAME_MAX + 4096)

static struct rte_mempool *pool;

static int nibble(char c)
{
	return isdigit((unsigned char)c) ? c - '0' : tolower((unsigned char)c) - 'a' + 10;
}

/* Bytes that hex has up to its end or a comma; -1 if it is none or too long. *s is set behind the comma. */
static int hex(const char **s, uint8_t *bytes, size_t max)
{
	const char *p = *s;
	size_t n = 0;

	for (; *p && *p != ','; p += 2) {
		if (n == max || !isxdigit((unsigned char)p[0]) || !isxdigit((unsigned char)p[1]))
			return -1;
		bytes[n++] = (uint8_t)(nibble(p[0]) << 4 | nibble(p[1]));
	}
	*s = *p ? p + 1 : p;
	return (int)n;
}

static bool address(const char **s, union xv_ip_addr *addr, uint8_t *ipv6)
{
	uint8_t bytes[16];
	int n = hex(s, bytes, sizeof(bytes));

	if (n != 4 && n != 16)
		return false;
	memcpy(addr->bytes + 16 - n, bytes, (size_t)n);
	*ipv6 = n == 16;
	return true;
}

static bool tuple(const char *s, uint8_t proto, struct xv_ct_tuple *t)
{
	*t = (struct xv_ct_tuple){.proto = proto};
	return s && address(&s, &t->src, &t->ipv6) && address(&s, &t->dst, &t->ipv6) &&
	       hex(&s, (uint8_t *)&t->src_port, 2) == 2 && hex(&s, (uint8_t *)&t->dst_port, 2) == 2;
}

static struct rte_mbuf *packet(const uint8_t *bytes, uint16_t len, uint16_t cut)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool), *rest;

	memcpy(rte_pktmbuf_append(m, cut), bytes, cut);
	if (cut < len) {
		rest = rte_pktmbuf_alloc(pool);
		memcpy(rte_pktmbuf_append(rest, (uint16_t)(len - cut)), bytes + cut, (size_t)len - cut);
		rte_pktmbuf_chain(m, rest);
	}
	return m;
}

static int work(char *line, struct rte_mbuf **out)
{
	char *save, *token = strtok_r(line, " \n", &save), *end;
	static uint8_t bytes[FRAME_MAX];
	enum xv_ct_dir dir = XV_CT_ORIGINAL;
	struct xv_offload req = {0};
	struct xv_flow_layout layout;
	struct xv_flow_key key, again;
	const char *hexed = token;
	struct xv_conn conn;
	bool error = false;
	int n = hexed ? hex(&hexed, bytes, sizeof(bytes)) : -1, cut = n, rc;
	uint8_t proto;

	if (n <= 0)
		return -EINVAL;
	while ((token = strtok_r(NULL, " \n", &save)) != NULL && !isdigit((unsigned char)*token)) {
		if (strncmp(token, "csum=", 5) == 0) {
			req.flags = XV_OFFLOAD_CSUM;
			req.csum_start = (uint16_t)strtoul(token + 5, &end, 10);
			req.csum_offset = (uint16_t)strtoul(end + 1, NULL, 10);
		} else if (strncmp(token, "cut=", 4) == 0) {
			cut = atoi(token + 4);
		} else if (strcmp(token, "error") == 0) {
			error = true;
		} else if (strcmp(token, "reply") == 0) {
			dir = XV_CT_REPLY;
		} else {
			return -ENOSYS;
		}
	}
	proto = token ? (uint8_t)atoi(token) : 0;
	memset(&conn, 0, sizeof(conn));
	if (!tuple(strtok_r(NULL, " \n", &save), proto, &conn.tuple[0]) ||
	    !tuple(strtok_r(NULL, " \n", &save), proto, &conn.tuple[1]))
		return -ENOSYS;
	conn.flags = xv_ct_nat_flags(&conn.tuple[0], &conn.tuple[1]);
	*out = packet(bytes, (uint16_t)n, (uint16_t)RTE_MIN(n, cut));
	if (req.flags) {
		*xv_packet_offload(*out) = req;
		(*out)->ol_flags |= XV_PACKET_OFFLOAD;
	}
	memset(&key, 0, sizeof(key));
	xv_flow_extract(rte_pktmbuf_mtod(*out, const uint8_t *), (*out)->data_len, (*out)->pkt_len, &key, &layout);
	rc = xv_ct_nat_translate(&conn, dir, error, *out, &key, &layout);
	if (rc != 0)
		return rc;
	memset(&again, 0, sizeof(again));
	again.ct_state = key.ct_state;
	xv_flow_extract(rte_pktmbuf_mtod(*out, const uint8_t *), (*out)->data_len, (*out)->pkt_len, &again, &layout);
	return memcmp(&key, &again, sizeof(key)) == 0 ? 0 : -EBADMSG; /* the key must have followed */
}

static void print(struct rte_mbuf *m)
{
	static uint8_t flat[FRAME_MAX];
	const uint8_t *p = rte_pktmbuf_read(m, 0, m->pkt_len, flat);
	uint32_t i;

	for (i = 0; i < m->pkt_len; i++)
		printf("%02x", p[i]);
	printf("\n");
}

static char lcores[32];
static char *eal_argv[] = {
	(char[]){"nat_tool"},
	(char[]){"--no-huge"},
	(char[]){"--no-pci"},
	(char[]){"--no-shconf"},
	(char[]){"-m"},
	(char[]){"64"},
	(char[]){"--no-telemetry"},
	(char[]){"--log-level=error"},
	lcores,
	NULL,
};

int main(void)
{
	static char line[LINE_MAX_LEN];
	int rc;

	snprintf(lcores, sizeof(lcores), "--lcores=0@%d", sched_getcpu());
	if (rte_eal_init((int)RTE_DIM(eal_argv) - 1, eal_argv) < 0 || xv_packet_init() != 0)
		return 1;
	pool = rte_pktmbuf_pool_create("nat", 255, 0, XV_PACKET_PRIV_SIZE, RTE_PKTMBUF_HEADROOM + XV_PACKET_DATA_BYTES,
				       SOCKET_ID_ANY);
	if (!pool)
		return 1;
	while (fgets(line, sizeof(line), stdin)) {
		struct rte_mbuf *m = NULL;

		rc = work(line, &m);
		if (rc == 0)
			print(m);
		else
			printf("error: %s\n", strerror(-rc));
		fflush(stdout);
		rte_pktmbuf_free(m);
		if (rte_mempool_avail_count(pool) != 255)
			return 1;
	}
	return 0;
}
