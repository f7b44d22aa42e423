/* SPDX-License-Identifier: Apache-2.0 */
#include "ovs/flows.h"

#include <errno.h>
#include <stdalign.h>
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

/* A flow as one that a port is named in, whether that is there or not. */
struct ref {
	struct ref *next, **back;
	struct ovs_flow *flow;
};

/*
 * Flows name ports by number, and live as long as OVS wants: a port may go, and come again, under them. While the port is away that a
 * flow's packets come from, workers have no such flow (`flow` is NULL); what is to be sent to a port that is away is dropped.
 */
struct ovs_flow {
	struct ovs_flow *next;
	struct xv_flow *flow;
	uint32_t in_port; /* number, of those that match it exactly; else UINT32_MAX */
	unsigned int n_refs;
	struct ref *refs; /* of the ports that it names */
	struct xv_ovs_flow_stats before; /* of flows of workers that it had before */
	uint64_t zero_packets, zero_bytes; /* counted when counters were set back */
	uint64_t zero_used_ms;
	uint8_t ufid[16];
	uint8_t *actions;
	uint32_t key_len, mask_len, actions_len;
	bool has_mask;
	alignas(NLA_ALIGNTO) uint8_t match[]; /* key, and mask_of() */
};

/* Attributes begin aligned, also behind a key whose last one is not padded. */
static const uint8_t *mask_of(const struct ovs_flow *f)
{
	return f->has_mask ? f->match + NLA_ALIGN(f->key_len) : NULL;
}

struct xv_ovs_flows {
	struct xv_ovs_datapath *dp;
	unsigned int n;
	struct ovs_flow *buckets[BUCKETS];
	struct ref *named[XV_OVS_NUMBERS]; /* flows by ports that they name */
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

/* flow: f's, or one that f had until now; NULL: it has none. */
static void stats_of(const struct ovs_flow *f, const struct xv_flow *flow, struct xv_ovs_flow_stats *stats)
{
	struct xv_flow_stats s;
	struct timespec now;
	uint64_t used_ms = 0;

	*stats = f->before;
	if (flow == NULL)
		return;
	xv_flow_get_stats(flow, &s);
	clock_gettime(CLOCK_MONOTONIC, &now);
	stats->packets += s.packets - f->zero_packets;
	stats->bytes += s.bytes - f->zero_bytes;
	stats->tcp_flags |= s.tcp_flags;
	if (s.used_ns_ago != UINT64_MAX)
		used_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000 - s.used_ns_ago / 1000000;
	if (used_ms > f->zero_used_ms && used_ms > stats->used_ms)
		stats->used_ms = used_ms;
}

/* ---- Ports that it names ---- */

/* Numbers of ports that an action of these bytes would name. Bytes that only look so do no harm. */
static unsigned int named_at(const uint8_t *actions, uint32_t len, uint32_t at, uint32_t numbers[2])
{
	struct nlattr a;

	memcpy(&a, actions + at, sizeof(a));
	if ((a.nla_type == OVS_ACTION_ATTR_OUTPUT || a.nla_type == XV_OVS_ACTION_TUNNEL_POP) &&
	    a.nla_len == sizeof(a) + sizeof(numbers[0])) {
		memcpy(numbers, actions + at + sizeof(a), sizeof(numbers[0]));
		return 1;
	}
	if (a.nla_type != XV_OVS_ACTION_TUNNEL_PUSH || at + sizeof(a) + 2 * sizeof(numbers[0]) > len)
		return 0;
	memcpy(numbers, actions + at + sizeof(a), 2 * sizeof(numbers[0])); /* tnl_port, out_port */
	return 2;
}

#define NAMED_BYTES (sizeof(struct nlattr) + sizeof(uint32_t)) /* of what names a port, at least */

/* Room for as many as actions may name, and the input port. NULL: memory is short. */
static struct ref *refs_new(const uint8_t *actions, uint32_t len)
{
	uint32_t at, numbers[2];
	unsigned int n = 1;

	for (at = 0; at + NAMED_BYTES <= len; at += NLA_ALIGNTO)
		n += named_at(actions, len, at, numbers);
	return malloc(n * sizeof(struct ref));
}

static void link_to(struct xv_ovs_flows *flows, struct ovs_flow *f, uint32_t number)
{
	struct ref *ref, **list;

	if (number >= XV_OVS_NUMBERS)
		return;
	list = &flows->named[number];
	if (*list != NULL && (*list)->flow == f)
		return;
	ref = &f->refs[f->n_refs++];
	*ref = (struct ref){.next = *list, .back = list, .flow = f};
	if (ref->next != NULL)
		ref->next->back = &ref->next;
	*list = ref;
}

static void unlink_ports(struct ovs_flow *f)
{
	unsigned int i;

	for (i = 0; i < f->n_refs; i++) {
		*f->refs[i].back = f->refs[i].next;
		if (f->refs[i].next != NULL)
			f->refs[i].next->back = f->refs[i].back;
	}
	free(f->refs);
	f->refs = NULL;
	f->n_refs = 0;
}

/* The ports that its match and its actions, however deep, name. refs: of refs_new() for these actions. */
static void link_ports(struct xv_ovs_flows *flows, struct ovs_flow *f, struct ref *refs)
{
	uint32_t at, numbers[2];
	unsigned int i, n;

	f->refs = refs;
	link_to(flows, f, f->in_port);
	for (at = 0; at + NAMED_BYTES <= f->actions_len; at += NLA_ALIGNTO)
		for (i = 0, n = named_at(f->actions, f->actions_len, at, numbers); i < n; i++)
			link_to(flows, f, numbers[i]);
}

static void flow_free(struct ovs_flow *f)
{
	free(f->actions);
	free(f);
}

/* Whether the port is there that its packets come from. */
static bool has_input(const struct xv_ovs_flows *flows, const struct ovs_flow *f)
{
	return f->in_port == UINT32_MAX || xv_ovs_port_id(flows->dp, f->in_port) != XV_FLOW_PORT_NONE;
}

/* Workers have no such flow any more; what it counted is kept, as of the last sweep. */
static void suspend(struct ovs_flow *f)
{
	struct xv_ovs_flow_stats stats;

	stats_of(f, f->flow, &stats);
	f->before = stats;
	f->zero_packets = f->zero_bytes = f->zero_used_ms = 0;
	xv_flow_del(f->flow);
	f->flow = NULL;
}

/* Workers get the flow. 0 or -errno: then actions are still the caller's. */
static int resume(struct ovs_flow *f, const struct xv_flow_key *key, const struct xv_flow_key *mask, struct xv_actions *actions)
{
	struct xv_flow_spec spec = {.key = key, .mask = mask, .actions = actions, .owner = XV_FLOW_NO_OWNER, .origin = "ovs"};

	return xv_flow_add(&spec, &f->flow);
}

/* A port that it names came, went, or got another device. */
static void follow(struct xv_ovs_flows *flows, struct ovs_flow *f)
{
	const struct xv_attrs key_attrs = {f->match, f->key_len};
	const struct xv_attrs mask_attrs = {mask_of(f), f->mask_len};
	const struct xv_attrs actions_attrs = {f->actions, f->actions_len};
	struct xv_actions *actions = NULL;
	struct xv_flow_key key, mask;
	struct xv_err err = {0};
	const char *why = "";

	if (!has_input(flows, f) || xv_ovs_match_parse(flows->dp, key_attrs, mask_attrs, &key, &mask, &why) < 0 ||
	    xv_ovs_actions_parse(flows->dp, actions_attrs, &key, &mask, &actions, &err) < 0) {
		if (f->flow != NULL)
			suspend(f);
		return;
	}
	if (f->flow != NULL)
		xv_flow_set_actions(f->flow, actions);
	else if (resume(f, &key, &mask, actions) < 0)
		free(actions);
}

void xv_ovs_flows_port_changed(struct xv_ovs_flows *flows, uint32_t number)
{
	struct ref *ref;

	for (ref = flows->named[number]; ref != NULL; ref = ref->next)
		follow(flows, ref->flow);
	(void)xv_host_poll_flows(flows->dp->host);
}

/* ---- Put ---- */

static uint8_t *copy_of(struct xv_attrs attrs)
{
	uint8_t *copy = malloc(attrs.len + 1);

	if (copy != NULL && attrs.len > 0)
		memcpy(copy, attrs.data, attrs.len);
	return copy;
}

/* actions: NULL: it keeps its own. Taken over on success. */
static int modify(struct xv_ovs_flows *flows, struct ovs_flow *f, const struct xv_ovs_flow_op *op,
		  const struct xv_flow_key *key, const struct xv_flow_key *mask, struct xv_actions *actions)
{
	struct ref *refs;
	uint8_t *text;
	int rc = 0;

	if (actions == NULL)
		return 0;
	text = copy_of(op->actions);
	refs = refs_new(op->actions.data, op->actions.len);
	if (text == NULL || refs == NULL)
		rc = -ENOMEM;
	else if (f->flow != NULL)
		xv_flow_set_actions(f->flow, actions);
	else if (has_input(flows, f))
		rc = resume(f, key, mask, actions);
	else
		free(actions);
	if (rc < 0) {
		free(text);
		free(refs);
		return rc;
	}
	unlink_ports(f);
	free(f->actions);
	f->actions = text;
	f->actions_len = op->actions.len;
	link_ports(flows, f, refs);
	return 0;
}

static void set_back(struct ovs_flow *f)
{
	struct xv_flow_stats s = {0};
	struct xv_ovs_flow_stats now;

	stats_of(f, f->flow, &now);
	if (f->flow != NULL) {
		xv_flow_get_stats(f->flow, &s);
		xv_flow_clear_tcp_flags(f->flow);
	}
	f->zero_packets = s.packets;
	f->zero_bytes = s.bytes;
	f->zero_used_ms = now.used_ms;
	f->before = (struct xv_ovs_flow_stats){0};
}

/* The number of the port that it matches exactly, or UINT32_MAX. */
static uint32_t input_of(const struct xv_ovs_flow_op *op, const struct xv_flow_key *mask)
{
	struct xv_attrs attrs = op->key;
	const struct nlattr *a;
	bool broken = false;
	uint32_t number;

	while (mask->in_port == UINT32_MAX && (a = xv_attrs_take(&attrs, &broken)) != NULL)
		if (xv_attr_type(a) == OVS_KEY_ATTR_IN_PORT && xv_attr_get(a, &number, sizeof(number)))
			return number;
	return UINT32_MAX;
}

static int create(struct xv_ovs_flows *flows, struct ovs_flow **place, const struct xv_ovs_flow_op *op,
		  const struct xv_flow_key *key, const struct xv_flow_key *mask, struct xv_actions *actions)
{
	struct ovs_flow *f = calloc(1, sizeof(*f) + NLA_ALIGN(op->key.len) + op->mask.len);
	struct ref *refs = refs_new(op->actions.data, op->actions.len);
	int rc = 0;

	if (f != NULL)
		f->actions = copy_of(op->actions);
	if (f == NULL || f->actions == NULL || refs == NULL)
		goto err_memory;
	f->in_port = input_of(op, mask);
	memcpy(f->ufid, op->ufid, sizeof(f->ufid));
	f->key_len = op->key.len;
	f->mask_len = op->mask.len;
	f->actions_len = op->actions.len;
	f->has_mask = op->mask.data != NULL;
	if (op->key.len > 0)
		memcpy(f->match, op->key.data, op->key.len);
	if (op->mask.len > 0)
		memcpy(f->match + NLA_ALIGN(op->key.len), op->mask.data, op->mask.len);
	if (has_input(flows, f))
		rc = resume(f, key, mask, actions);
	else
		free(actions);
	if (rc < 0) {
		free(refs);
		flow_free(f);
		return rc;
	}
	link_ports(flows, f, refs);
	f->next = *place;
	*place = f;
	flows->n++;
	return 0;

err_memory:
	free(refs);
	if (f != NULL)
		flow_free(f);
	return -ENOMEM;
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
	if (rc < 0) {
		XV_LOG_LIMITED(op->flags & XV_OVS_PROBE ? XV_LOG_DEBUG : XV_LOG_WARNING, "ovs", "a flow is refused: %s", err.text);
	} else if (*place == NULL) {
		rc = create(flows, place, op, &key, &mask, actions);
	} else {
		if (stats != NULL)
			stats_of(*place, (*place)->flow, stats);
		rc = modify(flows, *place, op, &key, &mask, actions);
		if (rc == 0 && (op->flags & XV_OVS_PUT_ZERO_STATS) != 0)
			set_back(*place);
	}
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
			xv_ovs_put(m, XV_OVS_MASK, mask_of(f), f->mask_len);
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
	unlink_ports(*place);
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
	if (f->flow == NULL) {
		unlink_flow(flows, place);
		done(&f->before, arg);
		flow_free(f);
		return 0;
	}
	d = malloc(sizeof(*d));
	if (d == NULL)
		return -ENOMEM;
	*d = (struct deletion){f, done, arg};
	unlink_flow(flows, place);
	xv_flow_del_then(f->flow, gone, d);
	return 0;
}

void xv_ovs_flows_flush(struct xv_ovs_flows *flows)
{
	unsigned int i;

	for (i = 0; i < BUCKETS && flows->n > 0; i++) {
		struct ovs_flow **place = &flows->buckets[i], *f;

		while ((f = *place) != NULL) {
			unlink_flow(flows, place);
			if (f->flow != NULL)
				xv_flow_del(f->flow);
			flow_free(f);
		}
	}
	(void)xv_host_poll_flows(flows->dp->host);
}
