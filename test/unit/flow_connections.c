/* SPDX-License-Identifier: Apache-2.0 */
#include "flow_connections.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_byteorder.h>

#include "fastpath/conntrack_table.h"
#include "fastpath/flow.h"

int flow_connections_create(uint32_t now_ms, struct xv_conntrack **reference)
{
	const struct xv_conntrack_config config = {
		.connections = 65536, .half_open_per_port = 65536, .pick_up = true, .now_ms = now_ms};
	uint32_t seconds[XV_CT_TO_MAX], i;

	if (xv_conntrack_create(&config, reference) != 0)
		return -1;
	memcpy((*reference)->secret, xv_flow_conntrack->secret, sizeof((*reference)->secret));
	for (i = 0; i < XV_CT_TO_MAX; i++)
		seconds[i] = 1 + i % 7;
	return xv_conntrack_set_timeouts(xv_flow_conntrack, 1, seconds) |
	       xv_conntrack_set_timeouts(*reference, 1, seconds);
}

struct connections {
	struct xv_ct_info *all;
	unsigned int n;
};

static void take_connection(const struct xv_ct_info *info, void *arg)
{
	struct connections *c = arg;

	if (c->n % 1024 == 0)
		c->all = realloc(c->all, (c->n + 1024) * sizeof(*c->all));
	c->all[c->n++] = *info;
}

static int by_tuple(const void *a, const void *b)
{
	return memcmp(&((const struct xv_ct_info *)a)->original, &((const struct xv_ct_info *)b)->original,
		      sizeof(struct xv_ct_tuple));
}

static struct connections connections_of(struct xv_conntrack *ct, uint32_t now_ms)
{
	struct connections c = {0};
	uint64_t cursor = 0;

	while (xv_conntrack_walk(ct, now_ms, &cursor, 4096, take_connection, &c))
		;
	if (c.n > 0)
		qsort(c.all, c.n, sizeof(c.all[0]), by_tuple);
	return c;
}

static bool same_connection(const struct xv_ct_info *a, const struct xv_ct_info *b)
{
	if (memcmp(&a->original, &b->original, sizeof(a->original)) == 0 &&
	    memcmp(&a->reply, &b->reply, sizeof(a->reply)) == 0 && memcmp(a->packets, b->packets, sizeof(a->packets)) == 0 &&
	    memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0 && memcmp(a->label, b->label, sizeof(a->label)) == 0 &&
	    a->mark == b->mark && a->timeout_ms == b->timeout_ms && a->status == b->status && a->state == b->state &&
	    a->helper == b->helper)
		return true;
	fprintf(stderr,
		"connection of zone %u, protocol %u, ports %u, %u: packets %llu, %llu (%llu, %llu), bytes %llu, %llu (%llu, %llu), "
		"mark %x (%x), timeout %u (%u), status %x (%x), state %u (%u)\n",
		b->original.zone, b->original.proto, rte_be_to_cpu_16(b->original.src_port),
		rte_be_to_cpu_16(b->original.dst_port), (unsigned long long)a->packets[0],
		(unsigned long long)a->packets[1], (unsigned long long)b->packets[0], (unsigned long long)b->packets[1],
		(unsigned long long)a->bytes[0], (unsigned long long)a->bytes[1], (unsigned long long)b->bytes[0],
		(unsigned long long)b->bytes[1], a->mark, b->mark, a->timeout_ms, b->timeout_ms, a->status, b->status,
		a->state, b->state);
	return false;
}

bool flow_connections_are_same(struct xv_conntrack *reference, uint32_t now_ms, unsigned int *n)
{
	struct connections got = connections_of(xv_flow_conntrack, now_ms), expected = connections_of(reference, now_ms);
	struct xv_conntrack_stats a, b;
	unsigned int i;
	bool same = got.n == expected.n;

	for (i = 0; same && i < got.n; i++)
		same = same_connection(&got.all[i], &expected.all[i]);
	xv_conntrack_get_stats(xv_flow_conntrack, &a);
	xv_conntrack_get_stats(reference, &b);
	*n = got.n;
	free(got.all);
	free(expected.all);
	if (same && a.inserted == b.inserted && a.deleted == b.deleted && a.invalid == b.invalid &&
	    a.nat_exhausted == b.nat_exhausted && a.half_open == b.half_open)
		return true;
	fprintf(stderr, "%u connections (%u), inserted %llu (%llu), deleted %llu (%llu), invalid %llu (%llu), half-open %llu (%llu)\n",
		got.n, expected.n, (unsigned long long)a.inserted, (unsigned long long)b.inserted,
		(unsigned long long)a.deleted, (unsigned long long)b.deleted, (unsigned long long)a.invalid,
		(unsigned long long)b.invalid, (unsigned long long)a.half_open, (unsigned long long)b.half_open);
	return false;
}

void flow_connections_delete(struct xv_conntrack *reference, uint32_t now_ms, unsigned int number)
{
	struct connections c = connections_of(reference, now_ms);

	if (number < c.n) {
		(void)xv_conntrack_delete(xv_flow_conntrack, &c.all[number].original, now_ms);
		(void)xv_conntrack_delete(reference, &c.all[number].original, now_ms);
	}
	free(c.all);
}
