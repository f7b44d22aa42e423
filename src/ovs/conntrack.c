/* SPDX-License-Identifier: Apache-2.0 */
#include "ovs/conntrack.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "fastpath/conntrack.h"
#include "fastpath/flow.h"

static_assert((int)XV_OVS_TO_TCP_SYN_SENT2 == (int)XV_CT_TCP_SYN_SENT2, "places of timeouts");
static_assert((int)XV_OVS_TO_ICMP_REPLY == (int)XV_CT_TO_ICMP_REPLY, "places of timeouts");

#define ANY_ZONE UINT32_MAX
#define DUMP_MAX 1024 /* connections in a message */

static uint32_t now_ms(void)
{
	return xv_clock_ms(xv_clock_cycles());
}

uint32_t xv_ovs_ct_policy(const void *name, uint32_t len)
{
	char text[32], *end;
	size_t prefix = strlen(XV_OVS_POLICY_NAME);
	unsigned long id;

	if (len >= sizeof(text))
		return 0;
	memcpy(text, name, len);
	text[len] = '\0';
	if (strncmp(text, XV_OVS_POLICY_NAME, prefix) != 0 || text[prefix] < '0' || text[prefix] > '9')
		return 0;
	id = strtoul(text + prefix, &end, 10);
	return *end == '\0' && id < XV_CT_POLICIES ? (uint32_t)id : 0;
}

static void tuple_out(const struct xv_ct_tuple *from, struct xv_ovs_tuple *to)
{
	*to = (struct xv_ovs_tuple){.src_port = from->src_port, .dst_port = from->dst_port, .proto = from->proto,
				    .ipv6 = from->ipv6, .zone = from->zone};
	memcpy(to->src, from->ipv6 ? from->src.bytes : from->src.bytes + 12, from->ipv6 ? 16 : 4);
	memcpy(to->dst, from->ipv6 ? from->dst.bytes : from->dst.bytes + 12, from->ipv6 ? 16 : 4);
}

static void tuple_in(const struct xv_ovs_tuple *from, struct xv_ct_tuple *to)
{
	*to = (struct xv_ct_tuple){.src_port = from->src_port, .dst_port = from->dst_port, .proto = from->proto,
				   .ipv6 = from->ipv6 != 0, .zone = from->zone};
	memcpy(from->ipv6 ? to->src.bytes : to->src.bytes + 12, from->src, from->ipv6 ? 16 : 4);
	memcpy(from->ipv6 ? to->dst.bytes : to->dst.bytes + 12, from->dst, from->ipv6 ? 16 : 4);
}

struct dump {
	struct xv_ovs_message *m;
	uint32_t zone;
};

static void put_conn(const struct xv_ct_info *info, void *arg)
{
	const struct dump *dump = arg;
	struct xv_ovs_conn c = {.mark = info->mark, .timeout_s = info->timeout_ms / 1000, .status = info->status,
				.state = info->state, .helper = info->helper, .has_master = info->has_master};

	if (dump->zone != ANY_ZONE && dump->zone != info->original.zone)
		return;
	tuple_out(&info->original, &c.original);
	tuple_out(&info->reply, &c.reply);
	if (info->has_master)
		tuple_out(&info->master, &c.master);
	memcpy(c.packets, info->packets, sizeof(c.packets));
	memcpy(c.bytes, info->bytes, sizeof(c.bytes));
	memcpy(c.label, info->label, sizeof(c.label));
	xv_ovs_put(dump->m, XV_OVS_CONN, &c, sizeof(c));
}

int xv_ovs_ct_dump(const void *items, uint32_t len, struct xv_ovs_message *m)
{
	struct dump dump = {m, xv_ovs_u32(items, len, XV_OVS_ZONE, ANY_ZONE)};
	uint64_t cursor = xv_ovs_u64(items, len, XV_OVS_CURSOR, 0);
	uint32_t empty = m->len;
	bool more;

	do
		more = xv_conntrack_walk(xv_flow_conntrack, now_ms(), &cursor, DUMP_MAX, put_conn, &dump);
	while (more && m->len == empty);
	if (more)
		xv_ovs_put_u64(m, XV_OVS_CURSOR, cursor);
	return 0;
}

static bool is_in_zone(const struct xv_ct_info *info, void *arg)
{
	return info->original.zone == *(const uint32_t *)arg;
}

int xv_ovs_ct_flush(const void *items, uint32_t len, struct xv_ovs_message *m)
{
	const struct xv_ovs_item *item = xv_ovs_find(items, len, XV_OVS_TUPLE);
	uint32_t zone = xv_ovs_u32(items, len, XV_OVS_ZONE, ANY_ZONE);
	struct xv_ct_tuple tuple;

	if (item == NULL) {
		(void)xv_conntrack_flush(xv_flow_conntrack, now_ms(), zone == ANY_ZONE ? NULL : is_in_zone, &zone);
		return 0;
	}
	if (item->len != sizeof(struct xv_ovs_tuple))
		return -EINVAL;
	tuple_in(xv_ovs_body(item), &tuple);
	return xv_conntrack_delete(xv_flow_conntrack, &tuple, now_ms());
}

int xv_ovs_ct_stats(const void *items, uint32_t len, struct xv_ovs_message *m)
{
	struct xv_conntrack_stats stats;
	struct xv_ovs_ct_stats out;

	xv_conntrack_get_stats(xv_flow_conntrack, &stats);
	out = (struct xv_ovs_ct_stats){.connections = (uint32_t)stats.connections,
				       .max = xv_conntrack_get_max(xv_flow_conntrack),
				       .seq_checked = !xv_conntrack_get_tcp_liberal()};
	xv_ovs_put(m, XV_OVS_CT_STATS_ITEM, &out, sizeof(out));
	return 0;
}

int xv_ovs_ct_max_set(const void *items, uint32_t len, struct xv_ovs_message *m)
{
	return xv_conntrack_set_max(xv_flow_conntrack, xv_ovs_u32(items, len, XV_OVS_LIMIT, 0));
}

int xv_ovs_ct_seq_set(const void *items, uint32_t len, struct xv_ovs_message *m)
{
	xv_conntrack_set_tcp_liberal(xv_ovs_u32(items, len, XV_OVS_ON, 1) == 0);
	return 0;
}

/* Calls fn for each ZONE_LIMIT. */
static int each_zone(const void *items, uint32_t len, void (*fn)(const struct xv_ovs_zone_limit *z, void *arg), void *arg)
{
	const struct xv_ovs_item *item;
	struct xv_ovs_zone_limit z;
	bool broken = false;
	uint32_t at = 0;

	while ((item = xv_ovs_next(items, len, &at, &broken)) != NULL) {
		if (item->type != XV_OVS_ZONE_LIMIT)
			continue;
		if (item->len != sizeof(z))
			return -EINVAL;
		memcpy(&z, xv_ovs_body(item), sizeof(z));
		if (z.zone > UINT16_MAX)
			return -EINVAL;
		fn(&z, arg);
	}
	return 0;
}

static void set_zone(const struct xv_ovs_zone_limit *z, void *arg)
{
	xv_conntrack_set_zone_limit(xv_flow_conntrack, (uint16_t)z->zone, z->limit);
}

static void get_zone(const struct xv_ovs_zone_limit *z, void *arg)
{
	struct xv_ovs_zone_limit out = {.zone = z->zone};

	xv_conntrack_get_zone(xv_flow_conntrack, (uint16_t)z->zone, &out.limit, &out.count);
	xv_ovs_put(arg, XV_OVS_ZONE_LIMIT, &out, sizeof(out));
}

int xv_ovs_ct_limit_set(const void *items, uint32_t len, struct xv_ovs_message *m)
{
	const struct xv_ovs_item *limit = xv_ovs_find(items, len, XV_OVS_LIMIT);

	if (limit != NULL)
		xv_conntrack_set_limit(xv_flow_conntrack, xv_ovs_u32(items, len, XV_OVS_LIMIT, 0));
	return each_zone(items, len, set_zone, NULL);
}

int xv_ovs_ct_limit_get(const void *items, uint32_t len, struct xv_ovs_message *m)
{
	struct xv_ovs_zone_limit z;

	xv_ovs_put_u32(m, XV_OVS_LIMIT, xv_conntrack_get_limit(xv_flow_conntrack));
	if (xv_ovs_find(items, len, XV_OVS_ZONE_LIMIT) != NULL)
		return each_zone(items, len, get_zone, m);
	for (z = (struct xv_ovs_zone_limit){0}; z.zone <= UINT16_MAX; z.zone++)
		if (xv_conntrack_zone_has_limit(xv_flow_conntrack, (uint16_t)z.zone))
			get_zone(&z, m);
	return 0;
}

/* Those that OVS has set: its next life asks for them. */
static uint32_t *policies[XV_CT_POLICIES];

int xv_ovs_ct_timeout_set(const void *items, uint32_t len, struct xv_ovs_message *m)
{
	const struct xv_ovs_item *item = xv_ovs_find(items, len, XV_OVS_SECONDS);
	uint32_t policy = xv_ovs_u32(items, len, XV_OVS_POLICY, UINT32_MAX), *seconds;
	int rc;

	if (item == NULL || item->len != XV_OVS_TIMEOUTS * sizeof(*seconds))
		return -EINVAL;
	seconds = calloc(XV_CT_TO_MAX, sizeof(*seconds));
	if (seconds == NULL)
		return -ENOMEM;
	memcpy(seconds, xv_ovs_body(item), item->len);
	rc = xv_conntrack_set_timeouts(xv_flow_conntrack, policy, seconds);
	if (rc < 0) {
		free(seconds);
		return rc;
	}
	free(policies[policy]);
	policies[policy] = seconds;
	return 0;
}

int xv_ovs_ct_timeout_del(const void *items, uint32_t len, struct xv_ovs_message *m)
{
	static const uint32_t defaults[XV_CT_TO_MAX];
	uint32_t policy = xv_ovs_u32(items, len, XV_OVS_POLICY, UINT32_MAX);

	if (policy >= XV_CT_POLICIES || policies[policy] == NULL)
		return -ENOENT;
	free(policies[policy]);
	policies[policy] = NULL;
	return xv_conntrack_set_timeouts(xv_flow_conntrack, policy, defaults);
}

int xv_ovs_ct_timeout_dump(const void *items, uint32_t len, struct xv_ovs_message *m)
{
	uint32_t one = xv_ovs_u32(items, len, XV_OVS_POLICY, UINT32_MAX), i, at;

	for (i = 0; i < XV_CT_POLICIES; i++) {
		if (policies[i] == NULL || (one != UINT32_MAX && one != i))
			continue;
		at = xv_ovs_open(m, XV_OVS_TIMEOUT);
		xv_ovs_put_u32(m, XV_OVS_POLICY, i);
		xv_ovs_put(m, XV_OVS_SECONDS, policies[i], XV_OVS_TIMEOUTS * sizeof(*policies[i]));
		xv_ovs_close(m, at);
	}
	return 0;
}
