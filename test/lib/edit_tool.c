/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Edits frames for test/virtio/test_edit_scapy.py. A line of input is one packet and what is done to it, in order:
 *
 *   FRAME [type=T] [csum=START,OFFSET] [own] STEP...
 *
 * FRAME and all values are bytes in hex, as on the wire; T is a packet type in hex (0: Ethernet). STEP is FIELD=VALUE
 * (a field of the flow key, see the table), or a push or pop as in the table of steps. `own` shares the packet's bytes
 * with another one first, and checks at the end that those have not changed.
 * A line of output: the frame, type=T, and csum=START if there was a request; or "error: ..." and why.
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

#include "net/edit.h"
#include "net/packet.h"
#include "net/packet_share.h"
#include "net/push_pop.h"

#define FRAME_MAX 2048
#define LINE_MAX_LEN (2 * FRAME_MAX + 4096)

static struct rte_mempool *pool;

#define F(name, field) {name, offsetof(struct xv_flow_key, field), sizeof(((struct xv_flow_key *)NULL)->field)}
#define IPV4(name, field) {name, offsetof(struct xv_flow_key, field) + 12, 4}

static const struct {
	const char *name;
	size_t offset, size;
} fields[] = {
	F("eth_dst", eth_dst),
	F("eth_src", eth_src),
	F("vlan0_tpid", vlan[0].tpid),
	F("vlan0_tci", vlan[0].tci),
	F("vlan1_tci", vlan[1].tci),
	F("mpls0", mpls_lse[0]),
	F("mpls1", mpls_lse[1]),
	F("mpls2", mpls_lse[2]),
	F("nsh_flags", nsh_flags),
	F("nsh_ttl", nsh_ttl),
	F("nsh_path_hdr", nsh_path_hdr),
	F("nsh_context", nsh_context),
	F("arp_op", ip_proto),
	F("arp_sha", arp_sha),
	F("arp_tha", arp_tha),
	IPV4("arp_spa", ip_src),
	IPV4("arp_tpa", ip_dst),
	IPV4("ipv4_src", ip_src),
	IPV4("ipv4_dst", ip_dst),
	F("ipv6_src", ip_src),
	F("ipv6_dst", ip_dst),
	F("ipv6_label", ipv6_label),
	F("ip_tos", ip_tos),
	F("ip_ttl", ip_ttl),
	F("tp_src", tp_src),
	F("tp_dst", tp_dst),
	F("nd_target", nd_target),
	F("nd_sll", arp_sha),
	F("nd_tll", arp_tha),
};

struct work {
	struct rte_mbuf *m;
	struct xv_flow_key key, to;
	struct xv_flow_layout layout;
};

static int nibble(char c)
{
	return isdigit((unsigned char)c) ? c - '0' : tolower((unsigned char)c) - 'a' + 10;
}

/* Bytes that hex has up to its end or a comma; -1 if it is none or too long. */
static int hex(const char *s, uint8_t *bytes, size_t max)
{
	size_t n = 0;

	for (; *s && *s != ','; s += 2) {
		if (n == max || !isxdigit((unsigned char)s[0]) || !isxdigit((unsigned char)s[1]))
			return -1;
		bytes[n++] = (uint8_t)(nibble(s[0]) << 4 | nibble(s[1]));
	}
	return (int)n;
}

/* As hex(), for n bytes exactly; *s is set behind the comma. */
static bool value(const char **s, void *bytes, size_t n)
{
	const char *comma = strchr(*s, ',');

	if (hex(*s, bytes, n) != (int)n)
		return false;
	*s = comma ? comma + 1 : *s + strlen(*s);
	return true;
}

static void extract(struct work *w)
{
	xv_flow_extract(rte_pktmbuf_mtod(w->m, const uint8_t *), w->m->data_len, w->m->pkt_len, &w->key, &w->layout);
}

static int vlan_push(struct work *w, const char *args)
{
	rte_be16_t tpid, tci;

	if (!value(&args, &tpid, 2) || !value(&args, &tci, 2))
		return -EINVAL;
	return xv_vlan_push(w->m, &w->key, &w->layout, tpid, tci);
}

static int vlan_pop(struct work *w, const char *args)
{
	return xv_vlan_pop(w->m, &w->key, &w->layout);
}

static int mpls_push(struct work *w, const char *args)
{
	rte_be32_t lse;
	rte_be16_t type;

	if (!value(&args, &lse, 4) || !value(&args, &type, 2))
		return -EINVAL;
	return xv_mpls_push(w->m, &w->key, &w->layout, lse, type, *args != '\0');
}

static int mpls_pop(struct work *w, const char *args)
{
	rte_be16_t type;

	return value(&args, &type, 2) ? xv_mpls_pop(w->m, &w->key, &w->layout, type) : -EINVAL;
}

static int nsh_push(struct work *w, const char *args)
{
	struct xv_nsh h = {0};
	uint8_t md[256];
	int n;

	if (!value(&args, &h.flags, 1) || !value(&args, &h.ttl, 1) || !value(&args, &h.mdtype, 1) ||
	    !value(&args, &h.path_hdr, 4))
		return -EINVAL;
	n = hex(args, md, sizeof(md));
	if (n < 0 || (h.mdtype == 1 && n != sizeof(h.context)))
		return -EINVAL;
	if (h.mdtype == 1) {
		memcpy(h.context, md, sizeof(h.context));
	} else {
		h.md2 = md;
		h.md2_len = (uint8_t)n;
	}
	return xv_nsh_push(w->m, &w->key, &w->layout, &h);
}

static int nsh_pop(struct work *w, const char *args)
{
	return xv_nsh_pop(w->m, &w->key, &w->layout);
}

static int eth_push(struct work *w, const char *args)
{
	uint8_t dst[6], src[6];

	if (!value(&args, dst, 6) || !value(&args, src, 6))
		return -EINVAL;
	return xv_eth_push(w->m, &w->key, &w->layout, dst, src);
}

static int eth_pop(struct work *w, const char *args)
{
	return xv_eth_pop(w->m, &w->key, &w->layout);
}

static const struct {
	const char *name;
	int (*fn)(struct work *w, const char *args);
} steps[] = {
	{"vlan_push", vlan_push}, {"vlan_pop", vlan_pop}, {"mpls_push", mpls_push}, {"mpls_pop", mpls_pop},
	{"nsh_push", nsh_push},	  {"nsh_pop", nsh_pop},	  {"eth_push", eth_push},   {"eth_pop", eth_pop},
};

/* Fields that were set since the last step, all at once. */
static int apply(struct work *w)
{
	int rc = xv_edit_apply(w->m, &w->layout, &w->key, &w->to);

	extract(w);
	w->to = w->key;
	return rc;
}

static int set(struct work *w, const char *name, const char *args)
{
	uint8_t *field;
	unsigned int i;

	for (i = 0; i < RTE_DIM(fields); i++) {
		if (strcmp(fields[i].name, name) != 0)
			continue;
		field = (uint8_t *)&w->to + fields[i].offset;
		if (strcmp(name, "nsh_ttl") != 0)
			return value(&args, field, fields[i].size) ? 0 : -EINVAL;
		w->to.nsh_ttl = 0;
		return value(&args, &w->to.nsh_ttl, 1) ? 0 : -EINVAL; /* host order */
	}
	return -ENOSYS;
}

static int step(struct work *w, const char *name, const char *args)
{
	struct xv_flow_key before;
	unsigned int i;
	int rc;

	for (i = 0; i < RTE_DIM(steps); i++)
		if (strcmp(steps[i].name, name) == 0)
			break;
	if (i == RTE_DIM(steps))
		return set(w, name, args);
	rc = apply(w);
	if (rc != 0)
		return rc;
	rc = steps[i].fn(w, args);
	before = w->key;
	extract(w);
	if (rc == 0 && memcmp(&before, &w->key, sizeof(before)) != 0)
		return -EBADMSG; /* the key that was kept is not the packet's */
	w->to = w->key;
	return rc < 0 ? rc : 0;
}

static int work(char *line, struct work *w, struct rte_mbuf **shared)
{
	static uint8_t bytes[FRAME_MAX];
	char *save, *token = strtok_r(line, " \n", &save), *args;
	int n = token ? hex(token, bytes, sizeof(bytes)) : -1, rc;
	struct xv_offload *req;

	if (n <= 0)
		return -EINVAL;
	w->m = rte_pktmbuf_alloc(pool);
	memcpy(rte_pktmbuf_append(w->m, (uint16_t)n), bytes, (size_t)n);
	memset(&w->key, 0, sizeof(w->key));
	extract(w);
	w->to = w->key;
	while ((token = strtok_r(NULL, " \n", &save)) != NULL) {
		args = strchr(token, '=');
		if (args)
			*args++ = '\0';
		else
			args = token + strlen(token);
		if (strcmp(token, "type") == 0) {
			w->key.packet_type = rte_cpu_to_be_32((uint32_t)strtoul(args, NULL, 16));
			extract(w);
			w->to = w->key;
		} else if (strcmp(token, "csum") == 0) {
			req = xv_packet_offload(w->m);
			*req = (struct xv_offload){.flags = XV_OFFLOAD_CSUM};
			req->csum_start = (uint16_t)strtoul(args, &args, 10);
			req->csum_offset = (uint16_t)strtoul(args + 1, NULL, 10);
			w->m->ol_flags |= XV_PACKET_OFFLOAD;
		} else if (strcmp(token, "own") == 0) {
			*shared = w->m;
			w->m = xv_packet_own(xv_packet_clone(w->m, pool), pool);
		} else {
			rc = step(w, token, args);
			if (rc != 0)
				return rc;
		}
	}
	rc = apply(w);
	if (rc == 0 && *shared &&
	    ((*shared)->pkt_len != (uint32_t)n || memcmp(rte_pktmbuf_mtod(*shared, void *), bytes, (size_t)n) != 0))
		return -EBADMSG;
	return rc;
}

static void print(const struct work *w)
{
	static uint8_t flat[FRAME_MAX + 512];
	const uint8_t *p = rte_pktmbuf_read(w->m, 0, w->m->pkt_len, flat);
	uint32_t i;

	for (i = 0; i < w->m->pkt_len; i++)
		printf("%02x", p[i]);
	printf(" type=%x", rte_be_to_cpu_32(w->key.packet_type));
	if (w->m->ol_flags & XV_PACKET_OFFLOAD)
		printf(" csum=%u", xv_packet_offload(w->m)->csum_start);
	printf("\n");
}

static char lcores[32];
static char *eal_argv[] = {
	(char[]){"edit_tool"}, (char[]){"--no-huge"},	   (char[]){"--no-pci"},
	(char[]){"--no-shconf"}, (char[]){"-m"},	   (char[]){"64"},
	(char[]){"--no-telemetry"}, (char[]){"--log-level=error"}, lcores,
	NULL,
};

int main(void)
{
	static char line[LINE_MAX_LEN];
	int rc;

	snprintf(lcores, sizeof(lcores), "--lcores=0@%d", sched_getcpu());
	if (rte_eal_init((int)RTE_DIM(eal_argv) - 1, eal_argv) < 0 || xv_packet_init() != 0)
		return 1;
	pool = rte_pktmbuf_pool_create("edit", 255, 0, XV_PACKET_PRIV_SIZE,
				       RTE_PKTMBUF_HEADROOM + XV_PACKET_DATA_BYTES, SOCKET_ID_ANY);
	if (!pool)
		return 1;
	while (fgets(line, sizeof(line), stdin)) {
		struct rte_mbuf *shared = NULL;
		struct work w = {0};

		rc = work(line, &w, &shared);
		if (rc == 0)
			print(&w);
		else
			printf("error: %s\n", strerror(-rc));
		fflush(stdout);
		rte_pktmbuf_free(w.m);
		rte_pktmbuf_free(shared);
		if (rte_mempool_avail_count(pool) != 255)
			return 1;
	}
	return 0;
}
