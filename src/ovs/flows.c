/* SPDX-License-Identifier: Apache-2.0 */
#include "ovs/flows.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include <linux/openvswitch.h>

#include "base/log.h"
#include "fastpath/flow.h"
#include "ovs/actions.h"
#include "ovs/datapath.h"
#include "ovs/key.h"

#define BUCKETS (1u << 18) /* fixed, so that a place in a dump stays one */
#define DUMP_BYTES (256u << 10)

struct ovs_flow {
	struct ovs_flow *next;
	struct xv_flow *flow;
	uint32_t in_port; /* id, of those that match it exactly */
	uint64_t zero_packets, zero_bytes; /* counted when counters were set back */
	uint64_t zero_used_ms;
	uint8_t ufid[16];
	uint8_t *actions;
	uint32_t key_len, mask_len, actions_len;
	bool has_mask;
	uint8_t match[]; /* key, mask */
};

struct xv_ovs_flows {
	struct xv_ovs_datapath *dp;
	unsigned int n;
	struct ovs_flow *buckets[BUCKETS];
};

struct xv_ovs_flows *xv_ovs_flows_create(struct xv_ovs_datapath *dp)
{
	struct xv_ovs_flows *flows = calloc(1, sizeof(*flows));

	if (flows != NULL)
		flows->dp = dp;
	return flows;
}

void xv_ovs_flows_destroy(struct xv_ovs_flows *flows)
{
	free(flows);
}

unsigned int xv_ovs_flows_count(const struct xv_ovs_flows *flows)
{
	return flows->n;
}

/* A unique id is a hash already. */
static struct ovs_flow **place_of(struct xv_ovs_flows *flows, const uint8_t *ufid)
{
	struct ovs_flow **p;
	uint32_t hash;

	memcpy(&hash, ufid, sizeof(hash));
	for (p = &flows->buckets[hash % BUCKETS]; *p != NULL; p = &(*p)->next)
		if (memcmp((*p)->ufid, ufid, sizeof((*p)->ufid)) == 0)
			break;
	return p;
}

static void stats_of(const struct ovs_flow *f, const struct xv_flow *flow, struct xv_ovs_flow_stats *stats)
{
	struct xv_flow_stats s;
	struct timespec now;

	xv_flow_get_stats(flow, &s);
	clock_gettime(CLOCK_MONOTONIC, &now);
	*stats = (struct xv_ovs_flow_stats){.packets = s.packets - f->zero_packets, .bytes = s.bytes - f->zero_bytes};
	if (s.used_ns_ago != UINT64_MAX)
		stats->used_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000 - s.used_ns_ago / 1000000;
	if (stats->used_ms <= f->zero_used_ms)
		stats->used_ms = 0;
}

static void flow_free(struct ovs_flow *f)
{
	free(f->actions);
	free(f);
}

/* ---- Put ---- */

static uint8_t *copy_of(struct xv_attrs attrs)
{
	uint8_t *copy = malloc(attrs.len + 1);

	if (copy != NULL && attrs.len > 0)
		memcpy(copy, attrs.data, attrs.len);
	return copy;
}

static int modify(struct ovs_flow *f, const struct xv_ovs_flow_op *op, struct xv_actions *actions,
		  struct xv_ovs_flow_stats *stats)
{
	struct xv_ovs_flow_stats before;
	uint8_t *text = NULL;

	if (actions != NULL) {
		text = copy_of(op->actions);
		if (text == NULL)
			return -ENOMEM;
		xv_flow_set_actions(f->flow, actions);
		free(f->actions);
		f->actions = text;
		f->actions_len = op->actions.len;
	}
	stats_of(f, f->flow, &before);
	if (stats != NULL)
		*stats = before;
	if ((op->flags & XV_OVS_PUT_ZERO_STATS) != 0) {
		f->zero_packets += before.packets;
		f->zero_bytes += before.bytes;
		f->zero_used_ms = before.used_ms;
	}
	return 0;
}

static int create(struct xv_ovs_flows *flows, struct ovs_flow **place, const struct xv_ovs_flow_op *op,
		  const struct xv_flow_key *key, const struct xv_flow_key *mask, struct xv_actions *actions)
{
	struct ovs_flow *f = calloc(1, sizeof(*f) + op->key.len + op->mask.len);
	struct xv_flow_spec spec = {.key = key, .mask = mask, .actions = actions, .owner = XV_FLOW_NO_OWNER, .origin = "ovs"};
	int rc = -ENOMEM;

	if (f == NULL)
		return -ENOMEM;
	f->actions = copy_of(op->actions);
	if (f->actions == NULL)
		goto err_free;
	f->in_port = mask->in_port == UINT32_MAX ? key->in_port : XV_FLOW_PORT_NONE;
	memcpy(f->ufid, op->ufid, sizeof(f->ufid));
	f->key_len = op->key.len;
	f->mask_len = op->mask.len;
	f->actions_len = op->actions.len;
	f->has_mask = op->mask.data != NULL;
	if (op->key.len > 0)
		memcpy(f->match, op->key.data, op->key.len);
	if (op->mask.len > 0)
		memcpy(f->match + op->key.len, op->mask.data, op->mask.len);
	rc = xv_flow_add(&spec, &f->flow);
	if (rc < 0)
		goto err_free;
	f->next = *place;
	*place = f;
	flows->n++;
	return 0;

err_free:
	flow_free(f);
	return rc;
}

int xv_ovs_flow_put(struct xv_ovs_flows *flows, const struct xv_ovs_flow_op *op, struct xv_ovs_flow_stats *stats)
{
	struct ovs_flow **place = place_of(flows, op->ufid);
	struct xv_flow_key key, mask;
	struct xv_actions *actions = NULL;
	struct xv_err err = {0};
	const char *why = "";
	int rc;

	if (*place != NULL && (op->flags & XV_OVS_PUT_MODIFY) == 0)
		return -EEXIST;
	if (*place == NULL && (op->flags & XV_OVS_PUT_CREATE) == 0)
		return -ENOENT;
	rc = xv_ovs_match_parse(flows->dp, op->key, op->mask, &key, &mask, &why);
	if (rc < 0)
		xv_err_set(&err, rc, XV_ERR_RANGE, "match: %s", why);
	else if (op->actions.data != NULL || *place == NULL)
		rc = xv_ovs_actions_parse(flows->dp, op->actions, &key, &mask, &actions, &err);
	if (rc == 0)
		rc = *place != NULL ? modify(*place, op, actions, stats)
				    : create(flows, place, op, &key, &mask, actions);
	else
		XV_LOG_LIMITED(op->flags & XV_OVS_PROBE ? XV_LOG_DEBUG : XV_LOG_WARNING, "ovs", "a flow is refused: %s", err.text);
	if (rc < 0)
		free(actions);
	return rc;
}

/* ---- Get, dump ---- */

static void put_flow(struct xv_ovs_message *m, const struct ovs_flow *f, bool terse)
{
	uint32_t at = xv_ovs_open(m, XV_OVS_FLOW);
	struct xv_ovs_flow_stats stats;

	stats_of(f, f->flow, &stats);
	xv_ovs_put(m, XV_OVS_UFID, f->ufid, sizeof(f->ufid));
	xv_ovs_put(m, XV_OVS_STATS, &stats, sizeof(stats));
	if (!terse) {
		xv_ovs_put(m, XV_OVS_KEY, f->match, f->key_len);
		if (f->has_mask)
			xv_ovs_put(m, XV_OVS_MASK, f->match + f->key_len, f->mask_len);
		xv_ovs_put(m, XV_OVS_ACTIONS, f->actions, f->actions_len);
	}
	xv_ovs_close(m, at);
}

int xv_ovs_flow_get(struct xv_ovs_flows *flows, const uint8_t *ufid, struct xv_ovs_message *m)
{
	const struct ovs_flow *f = *place_of(flows, ufid);

	if (f == NULL)
		return -ENOENT;
	put_flow(m, f, false);
	return 0;
}

bool xv_ovs_flows_dump(struct xv_ovs_flows *flows, uint64_t *cursor, bool terse, struct xv_ovs_message *m)
{
	const struct ovs_flow *f;

	while (*cursor < BUCKETS && m->len < DUMP_BYTES && !m->failed) {
		for (f = flows->buckets[*cursor]; f != NULL; f = f->next)
			put_flow(m, f, terse);
		(*cursor)++;
	}
	return *cursor < BUCKETS;
}

/* ---- Delete ---- */

struct deletion {
	struct ovs_flow *f;
	void (*done)(const struct xv_ovs_flow_stats *stats, void *arg);
	void *arg;
};

static void gone(struct xv_flow *flow, void *arg)
{
	struct deletion *d = arg;
	struct xv_ovs_flow_stats stats;

	stats_of(d->f, flow, &stats);
	d->done(&stats, d->arg);
	flow_free(d->f);
	free(d);
}

static void unlink_flow(struct xv_ovs_flows *flows, struct ovs_flow **place)
{
	*place = (*place)->next;
	flows->n--;
}

int xv_ovs_flow_del(struct xv_ovs_flows *flows, const uint8_t *ufid,
		    void (*done)(const struct xv_ovs_flow_stats *stats, void *arg), void *arg)
{
	struct ovs_flow **place = place_of(flows, ufid), *f = *place;
	struct deletion *d;

	if (f == NULL)
		return -ENOENT;
	d = malloc(sizeof(*d));
	if (d == NULL)
		return -ENOMEM;
	*d = (struct deletion){f, done, arg};
	unlink_flow(flows, place);
	xv_flow_del_then(f->flow, gone, d);
	return 0;
}

/* Whether actions name the port as an output, however deep. Bytes that only look so cost an upcall. */
static bool sends_to(const struct ovs_flow *f, uint32_t number)
{
	uint32_t at, words[2];
	struct nlattr a;

	for (at = 0; at + sizeof(a) + sizeof(number) <= f->actions_len; at += NLA_ALIGNTO) {
		memcpy(&a, f->actions + at, sizeof(a));
		memcpy(&words[0], f->actions + at + sizeof(a), sizeof(words[0]));
		if (a.nla_type == OVS_ACTION_ATTR_OUTPUT && a.nla_len == sizeof(a) + sizeof(number) && words[0] == number)
			return true;
		if (a.nla_type != XV_OVS_ACTION_TUNNEL_PUSH || at + sizeof(a) + sizeof(words) > f->actions_len)
			continue;
		memcpy(words, f->actions + at + sizeof(a), sizeof(words)); /* tnl_port, out_port */
		if (words[0] == number || words[1] == number)
			return true;
	}
	return false;
}

/* port: those from it and to it; NULL: all. */
static void forget(struct xv_ovs_flows *flows, const struct xv_ovs_port *port)
{
	unsigned int i;

	for (i = 0; i < BUCKETS; i++) {
		struct ovs_flow **place = &flows->buckets[i], *f;

		while ((f = *place) != NULL) {
			if (port != NULL && f->in_port != port->id && !sends_to(f, port->number)) {
				place = &f->next;
				continue;
			}
			unlink_flow(flows, place);
			xv_flow_del(f->flow);
			flow_free(f);
		}
	}
	(void)xv_host_poll_flows(flows->dp->host);
}

void xv_ovs_flows_flush(struct xv_ovs_flows *flows)
{
	forget(flows, NULL);
}

void xv_ovs_flows_forget_port(struct xv_ovs_flows *flows, const struct xv_ovs_port *port)
{
	forget(flows, port);
}
