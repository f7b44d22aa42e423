/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packets through connection tracking, for test/system/test_conntrack_kernel.py: each is committed, in zone 0.
 *
 *   conntrack_tool [loose] [TIMEOUT=SECONDS]...	TIMEOUT: a name of xv_ct_timeout_names[]; loose: connections are picked up
 *
 * A line of input is one of
 *   @MS	the time from now on; the first line
 *   HEX	an IP packet; a line of output: new, est, rel, inv, with |rpl for the reply direction; or "drop ERRNO".
 *		A fragment: - unless it completes its datagram, of which the line then is
 *   flush	all connections are deleted
 *   dump	a line for each connection, then "end":  PROTO SRC DST PORT PORT STATE SEEN_REPLY ASSURED SECONDS_LEFT,
 *		of the original tuple; ICMP: identifier, type << 8 | code
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <linux/netfilter/nf_conntrack_common.h>

#include <rte_eal.h>
#include <rte_mbuf.h>

#include "base/clock.h"
#include "fastpath/conntrack.h"
#include "fastpath/fragments.h"
#include "net/packet.h"
#include "table/rcu.h"

#define MAX_BYTES 9216
#define ETH_HEADER 14

static struct rte_mempool *pool;
static struct xv_conntrack *ct;
static struct xv_fragments *fragments;
static const struct xv_action_ct action = {.flags = XV_CT_COMMIT};
static struct xv_conntrack_config config = {.connections = 100000, .half_open_per_port = 100000};
static uint32_t seconds[XV_CT_TO_MAX]; /* 0: the default */
static uint32_t now_ms;

static int hex_bytes(const char *s, uint8_t *bytes, size_t max)
{
	size_t n = 0;
	char digits[3] = "";

	for (; isxdigit((unsigned char)s[0]) && isxdigit((unsigned char)s[1]) && n < max; s += 2) {
		memcpy(digits, s, 2);
		bytes[n++] = (uint8_t)strtoul(digits, NULL, 16);
	}
	return *s == '\n' ? (int)n : -1;
}

static void print_state(uint32_t state)
{
	const char *name = "none";

	if (state & XV_CS_INVALID)
		name = "inv";
	else if (state & XV_CS_RELATED)
		name = "rel";
	else if (state & XV_CS_ESTABLISHED)
		name = "est";
	else if (state & XV_CS_NEW)
		name = "new";
	printf("%s%s\n", name, state & XV_CS_REPLY ? "|rpl" : "");
}

static void drop_fragment(void *arg, struct rte_mbuf *m, enum xv_drop reason)
{
	(void)arg;
	(void)reason;
	rte_pktmbuf_free(m);
}

static void fragment(struct rte_mbuf *m, const struct xv_flow_key *key, const struct xv_flow_layout *layout)
{
	struct rte_mbuf *buf = rte_pktmbuf_alloc(pool);
	struct xv_held *held;
	uint32_t state = 0;
	bool done = false;

	if (!buf) {
		rte_pktmbuf_free(m);
		printf("-\n");
		return;
	}
	m->port = 0;
	held = xv_held_of(buf);
	*held = (struct xv_held){.key = *key, .layout = *layout};
	memcpy(&held->program[1], &action, sizeof(action));
	xv_fragments_hold(fragments, ct, m, buf, now_ms);
	while (xv_fragments_take(fragments, &m, &buf)) {
		done = true;
		state = xv_held_of(buf)->key.ct_state;
		rte_pktmbuf_free(m);
		rte_pktmbuf_free(buf);
	}
	if (done)
		print_state(state);
	else
		printf("-\n");
}

static int packet(const char *line)
{
	static uint8_t frame[ETH_HEADER + MAX_BYTES];
	struct xv_flow_key key = {0};
	struct xv_flow_layout layout;
	struct xv_ct_hit hit = {0};
	struct rte_mbuf *m;
	int n = hex_bytes(line, frame + ETH_HEADER, MAX_BYTES), rc;

	if (n <= 0)
		return -1;
	frame[12] = frame[ETH_HEADER] >> 4 == 6 ? 0x86 : 0x08;
	frame[13] = frame[ETH_HEADER] >> 4 == 6 ? 0xdd : 0x00;
	n += ETH_HEADER;
	m = rte_pktmbuf_alloc(pool);
	if (!m || rte_pktmbuf_tailroom(m) < n)
		return -1;
	memcpy(rte_pktmbuf_append(m, (uint16_t)n), frame, (size_t)n);
	xv_flow_extract(frame, (uint16_t)n, (uint32_t)n, &key, &layout);
	if (key.ip_frag != XV_FRAG_NONE) {
		fragment(m, &key, &layout);
		return 0;
	}
	rc = xv_conntrack_packet(ct, &action, m, &key, &layout, now_ms, &hit);
	if (rc == 0)
		print_state(key.ct_state);
	else
		printf("drop %d\n", -rc);
	rte_pktmbuf_free(m);
	return 0;
}

static void print_connection(const struct xv_ct_info *info, void *arg)
{
	const struct xv_ct_tuple *t = &info->original;
	char src[INET6_ADDRSTRLEN], dst[INET6_ADDRSTRLEN];
	int family = t->ipv6 ? AF_INET6 : AF_INET;
	size_t at = t->ipv6 ? 0 : 12;

	(void)arg;
	inet_ntop(family, t->src.bytes + at, src, sizeof(src));
	inet_ntop(family, t->dst.bytes + at, dst, sizeof(dst));
	printf("%u %s %s %u %u %u %d %d %u\n", t->proto, src, dst, ntohs(t->src_port), ntohs(t->dst_port), info->state,
	       !!(info->status & IPS_SEEN_REPLY), !!(info->status & IPS_ASSURED), info->timeout_ms / 1000);
}

static void dump(void)
{
	uint64_t cursor = 0;

	while (xv_conntrack_walk(ct, now_ms, &cursor, 1024, print_connection, NULL))
		;
	printf("end\n");
}

static int configure(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		const char *equals = strchr(argv[i], '=');
		unsigned int to = 0;

		if (strcmp(argv[i], "loose") == 0) {
			config.pick_up = true;
			continue;
		}
		while (to < XV_CT_TO_MAX && equals && (strncmp(argv[i], xv_ct_timeout_names[to], (size_t)(equals - argv[i])) != 0 ||
						       xv_ct_timeout_names[to][equals - argv[i]] != '\0'))
			to++;
		if (!equals || to == XV_CT_TO_MAX) {
			fprintf(stderr, "conntrack_tool: no timeout %s\n", argv[i]);
			return -1;
		}
		seconds[to] = (uint32_t)strtoul(equals + 1, NULL, 10);
	}
	return 0;
}

static int set_time(uint32_t ms)
{
	now_ms = config.now_ms = ms;
	if (!ct && (xv_conntrack_create(&config, &ct) != 0 || xv_conntrack_set_timeouts(ct, 0, seconds) != 0))
		return -1;
	while (xv_conntrack_expire(ct, now_ms))
		;
	xv_fragments_expire(fragments, now_ms);
	return 0;
}

static char lcores[32];
static char *eal_argv[] = {
	(char[]){"conntrack_tool"}, (char[]){"--no-huge"},	   (char[]){"--no-pci"},
	(char[]){"--no-shconf"},    (char[]){"-m"},		   (char[]){"64"},
	(char[]){"--no-telemetry"}, (char[]){"--log-level=error"}, lcores,
	NULL,
};

int main(int argc, char **argv)
{
	static char line[2 * MAX_BYTES + 16];

	snprintf(lcores, sizeof(lcores), "--lcores=0@%d", sched_getcpu());
	if (rte_eal_init((int)RTE_DIM(eal_argv) - 1, eal_argv) < 0 || xv_packet_init() != 0 ||
	    xv_rcu_init() != 0)
		return 1;
	pool = rte_pktmbuf_pool_create("packets", 2047, 0, XV_PACKET_PRIV_SIZE, RTE_PKTMBUF_HEADROOM + MAX_BYTES, SOCKET_ID_ANY);
	if (!pool || configure(argc, argv) != 0 || xv_fragments_create(drop_fragment, NULL, &fragments) != 0)
		return 1;
	while (fgets(line, sizeof(line), stdin)) {
		if (line[0] == '@') {
			if (set_time((uint32_t)strtoul(line + 1, NULL, 10)) != 0)
				return 1;
		} else if (!ct) {
			fprintf(stderr, "conntrack_tool: what time is it?\n");
			return 1;
		} else if (strcmp(line, "dump\n") == 0) {
			dump();
			fflush(stdout);
		} else if (strcmp(line, "flush\n") == 0) {
			xv_conntrack_flush(ct, now_ms, NULL, NULL);
		} else if (packet(line) != 0) {
			fprintf(stderr, "conntrack_tool: cannot read: %s", line);
			return 1;
		}
	}
	xv_fragments_forget(fragments, NULL);
	xv_fragments_destroy(fragments);
	xv_conntrack_destroy(ct);
	return 0;
}
