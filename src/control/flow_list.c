/* SPDX-License-Identifier: Apache-2.0 */
#include "control/flow_list.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/buffer.h>

#include "base/clock.h"
#include "base/log.h"
#include "control/match.h"
#include "control/packet_text.h"
#include "fastpath/action_format.h"
#include "fastpath/flow.h"
#include "net/flow_format.h"

#define FLOWS_A_PIECE  64
#define STEP_NS	       2000000	  /* longer than this a step does not begin another piece */
#define SWEEP_WAIT_NS  2000000000 /* a worker that does not answer for so long hangs */
#define POLLS	       4	  /* then all requests that waited at the call are flows */
#define ACTIONS_TEXT   4096

enum address { ADDRESS_NONE, ADDRESS_MAC, ADDRESS_IP };

struct flow_list {
	struct xv_task task;
	struct xv_host *host;
	struct evbuffer *out; /* during a step */
	uint64_t id;	      /* of the only one, which is shown in full; 0 = a list */
	json_t *shown;	      /* how it was when it was asked for */
	/* what is asked for */
	int port; /* id, -1 = all */
	const struct xv_network *network;
	enum address address;
	struct xv_match_prefix prefix;
	struct xv_match_mac mac;
	uint64_t left;
	/* how far it is */
	uint64_t sweep, started_ns;
	unsigned int polls;
	bool swept, begun;
	struct xv_cls_cursor cursor;
	char match[XV_FLOW_TEXT_SIZE];
};

/* ---- What is asked for ---- */

static const struct xv_network *network_of(const struct xv_host *host, uint32_t port)
{
	const struct xv_host_port *p = port < XV_MAX_PORTS ? host->ports[port] : NULL;
	const struct xv_binding *binding = p != NULL ? atomic_load(&p->port->binding) : NULL;

	return binding != NULL && binding->forward == XV_FORWARD_NETWORK ? binding->network : NULL;
}

/* A flow is about the port that its packets come from, the one that they are on the way to, and those it sends to. */
static bool is_about_port(const struct xv_flow *flow, const struct xv_flow_key *key, const struct xv_flow_key *mask,
			  uint32_t port)
{
	return flow->owner == port || (mask->in_port == UINT32_MAX && key->in_port == port) ||
	       xv_actions_output_to(atomic_load(&flow->actions), port);
}

static bool is_about_network(const struct flow_list *l, const struct xv_flow *flow, const struct xv_flow_key *key,
			     const struct xv_flow_key *mask)
{
	return network_of(l->host, flow->owner) == l->network ||
	       (mask->in_port == UINT32_MAX && network_of(l->host, key->in_port) == l->network);
}

/* Whether n bytes are compared, and with something that fits wanted, as far as want_mask says. */
static bool fits(const uint8_t *key, const uint8_t *mask, const uint8_t *wanted, const uint8_t *want_mask, unsigned int n)
{
	bool compared = false;

	for (unsigned int i = 0; i < n; i++) {
		if (((key[i] ^ wanted[i]) & mask[i] & want_mask[i]) != 0)
			return false;
		compared |= (mask[i] & want_mask[i]) != 0;
	}
	return compared;
}

static bool is_about_address(const struct flow_list *l, const struct xv_flow_key *key, const struct xv_flow_key *mask)
{
	bool v4 = l->prefix.ip_version == 4;
	unsigned int from = v4 ? 12 : 0, n = v4 ? 4 : 16;
	uint8_t bits[16] = {0};

	if (l->address == ADDRESS_MAC)
		return fits(key->eth_src, mask->eth_src, l->mac.addr, l->mac.mask, 6) ||
		       fits(key->eth_dst, mask->eth_dst, l->mac.addr, l->mac.mask, 6);
	if (v4 ? key->eth_type != RTE_BE16(0x0800) && key->eth_type != RTE_BE16(0x0806)
	       : key->eth_type != RTE_BE16(0x86dd))
		return false;
	for (unsigned int i = 0; i < l->prefix.len; i++)
		bits[i / 8] |= (uint8_t)(0x80 >> i % 8);
	return fits(key->ip_src.bytes + from, mask->ip_src.bytes + from, l->prefix.addr.bytes + from, bits, n) ||
	       fits(key->ip_dst.bytes + from, mask->ip_dst.bytes + from, l->prefix.addr.bytes + from, bits, n);
}

static int parse_address(struct flow_list *l, const char *text, struct xv_err *err)
{
	if (xv_match_mac_parse(text, &l->mac) == 0) {
		l->address = ADDRESS_MAC;
		return 0;
	}
	if (xv_match_prefix_parse(text, &l->prefix) == 0 && l->prefix.len > 0) {
		l->address = ADDRESS_IP;
		return 0;
	}
	xv_err_key(err, "address");
	return xv_err_set(err, -EINVAL, XV_ERR_RANGE,
			  "must be an IP address or a MAC address, with a length or a mask or without, not \"%.60s\"", text);
}

/* ---- Writing ---- */

static json_t *actions_text(const struct flow_list *l, const struct xv_flow *flow, const struct xv_flow_key *key)
{
	const struct xv_actions *actions = atomic_load(&flow->actions);
	char buf[ACTIONS_TEXT], *text = buf;
	size_t size = sizeof(buf), len;
	json_t *value;

	len = xv_actions_format(text, size, actions, key, xv_packet_text_port, l->host);
	if (len >= size) {
		size = len + 1;
		text = malloc(size);
		if (text == NULL)
			return NULL;
		(void)xv_actions_format(text, size, actions, key, xv_packet_text_port, l->host);
	}
	value = json_string(text);
	if (text != buf)
		free(text);
	return value;
}

static json_t *seconds(uint64_t ns)
{
	return json_real((double)(ns / 1000000) / 1000);
}

/* l->match becomes the text of its match. */
static json_t *describe(struct flow_list *l, const struct xv_flow *flow, const struct xv_flow_key *key,
			const struct xv_flow_key *mask)
{
	struct xv_flow_stats stats;

	xv_flow_get_stats(flow, &stats);
	(void)xv_flow_format(l->match, sizeof(l->match), key, mask, xv_packet_text_port, l->host);
	return json_pack("{s:I, s:s, s:o?, s:I, s:I, s:o, s:s, s:s?}", "id", (json_int_t)flow->id, "match", l->match,
			 "actions", actions_text(l, flow, key), "packets", (json_int_t)stats.packets, "bytes",
			 (json_int_t)stats.bytes, "used_s",
			 stats.used_ns_ago == UINT64_MAX ? json_null() : seconds(stats.used_ns_ago), "origin",
			 flow->origin, "port", xv_packet_text_port(flow->owner, l->host));
}

/*
 * The text of a match, field by field: "in_port(vm1),ipv4(src=10.0.0.1,frag=no)" becomes {"in_port": "vm1",
 * "ipv4": {"src": "10.0.0.1", "frag": "no"}}. Groups without fields say nothing and are left out; those inside a
 * group (encap) are its members. Returns where the group ends.
 */
static const char *fields_of(const char *text, json_t *fields)
{
	while (*text != '\0' && *text != ')') {
		size_t name_len = strcspn(text, "(=,)");
		const char *value = text + name_len + 1;
		char name[64];

		snprintf(name, sizeof(name), "%.*s", (int)name_len, text);
		if (text[name_len] == '=') {
			size_t len = strcspn(value, ",)");

			json_object_set_new(fields, name, json_stringn(value, len));
			text = value + len;
		} else if (text[name_len] == '(' && value[strcspn(value, "(=,)")] == ')') { /* one value, or none */
			size_t len = strcspn(value, ")");

			if (len > 0)
				json_object_set_new(fields, name, json_stringn(value, len));
			text = value + len + 1;
		} else if (text[name_len] == '(') {
			json_t *group = json_object();

			text = fields_of(value, group);
			text += *text == ')';
			json_object_set_new(fields, name, group);
		} else {
			text += name_len;
		}
		text += *text == ',';
	}
	return text;
}

/* All that is known of one flow. */
static json_t *describe_in_full(struct flow_list *l, const struct xv_flow *flow)
{
	struct xv_flow_key key, mask;
	struct xv_flow_stats stats;
	json_t *object, *fields = json_object(), *fused = json_object();

	xv_flow_match(flow, &key, &mask);
	xv_flow_get_stats(flow, &stats);
	object = describe(l, flow, &key, &mask);
	(void)fields_of(l->match, fields);
	for (unsigned int i = 0; i < XV_MAX_WORKERS; i++) {
		const struct xv_host_worker *w = l->host->workers[i];

		if (w != NULL)
			json_object_set_new(fused, xv_worker_name(w->worker),
					    json_integer((json_int_t)xv_worker_fused_with(w->worker, flow)));
	}
	json_object_set_new(object, "created_s", seconds(stats.created_ns_ago));
	json_object_set_new(object, "fields", fields);
	json_object_set_new(object, "fused", fused);
	return object;
}

static void append_json(struct flow_list *l, const json_t *object)
{
	char *text = object != NULL ? json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(12)) : NULL;

	if (text == NULL)
		return;
	evbuffer_add(l->out, ",", l->begun ? 1 : 0);
	evbuffer_add(l->out, text, strlen(text));
	free(text);
	l->begun = true;
}

static void write_flow(struct xv_flow *flow, void *arg)
{
	struct flow_list *l = arg;
	struct xv_flow_key key, mask;
	json_t *object;

	if (l->left == 0)
		return;
	xv_flow_match(flow, &key, &mask);
	if ((l->port >= 0 && !is_about_port(flow, &key, &mask, (uint32_t)l->port)) ||
	    (l->network != NULL && !is_about_network(l, flow, &key, &mask)) ||
	    (l->address != ADDRESS_NONE && !is_about_address(l, &key, &mask)))
		return;
	object = describe(l, flow, &key, &mask);
	append_json(l, object);
	json_decref(object);
	l->left--;
}

/* Wait until the counters are complete, and the flows that were asked for are there. */
static enum xv_task_state prepare(struct flow_list *l, struct evbuffer *out)
{
	if (l->polls < POLLS) {
		l->polls = xv_host_poll_flows(l->host) ? l->polls + 1 : POLLS;
		if (l->polls < POLLS)
			return XV_TASK_MORE;
		l->sweep = xv_flows_sweep();
	}
	if (xv_flows_swept() < l->sweep) {
		if (xv_clock_ns() - l->started_ns < SWEEP_WAIT_NS)
			return XV_TASK_WAIT;
		xv_log(XV_LOG_WARNING, "api", "flow.list: a worker does not answer: counters are older than asked for");
	}
	l->swept = true;
	evbuffer_add(out, "[", l->id == 0 ? 1 : 0);
	return XV_TASK_MORE;
}

/* It may have gone while its counters were completed: then as it was. */
static void show(struct flow_list *l)
{
	const struct xv_flow *flow = xv_flow_by_id(l->id);
	json_t *now = flow != NULL ? describe_in_full(l, flow) : NULL;

	append_json(l, now != NULL ? now : l->shown);
	json_decref(now);
}

static enum xv_task_state step(struct xv_task *task, struct evbuffer *out)
{
	struct flow_list *l = (struct flow_list *)task;
	uint64_t start = xv_clock_ns();
	bool more = true;

	if (!l->swept)
		return prepare(l, out);
	l->out = out;
	if (l->id != 0) {
		show(l);
		return XV_TASK_DONE;
	}
	while (more && l->left > 0 && xv_clock_ns() - start < STEP_NS)
		more = xv_flows_walk(&l->cursor, FLOWS_A_PIECE, write_flow, l);
	if (more && l->left > 0)
		return XV_TASK_MORE;
	evbuffer_add(out, "]", 1);
	return XV_TASK_DONE;
}

static void destroy(struct xv_task *task)
{
	struct flow_list *l = (struct flow_list *)task;

	json_decref(l->shown);
	free(l);
}

int xv_flow_show_start(struct xv_host *host, const json_t *args, struct xv_task **task, struct xv_err *err)
{
	uint64_t id = (uint64_t)json_integer_value(json_object_get(args, "id"));
	const struct xv_flow *flow = xv_flow_by_id(id);
	struct flow_list *l;

	if (flow == NULL)
		return xv_err_set(err, -ENOENT, XV_ERR_NOT_FOUND,
				  "there is no flow %llu, or not any more: what was not used for 10 s goes; `xvioctl flow "
				  "list` shows those that there are", (unsigned long long)id);
	l = calloc(1, sizeof(*l));
	if (l == NULL)
		return xv_err_set(err, -ENOMEM, XV_ERR_RESOURCE, "out of memory");
	l->task = (struct xv_task){.step = step, .destroy = destroy};
	l->host = host;
	l->started_ns = xv_clock_ns();
	l->id = id;
	l->shown = describe_in_full(l, flow);
	*task = &l->task;
	return 0;
}

int xv_flow_list_start(struct xv_host *host, const json_t *args, struct xv_task **task, struct xv_err *err)
{
	const char *port = json_string_value(json_object_get(args, "port"));
	const char *network = json_string_value(json_object_get(args, "network"));
	const char *address = json_string_value(json_object_get(args, "address"));
	const json_t *limit = json_object_get(args, "limit");
	struct flow_list *l = calloc(1, sizeof(*l));
	const struct xv_host_network *n;
	const struct xv_host_port *p;
	int rc;

	if (l == NULL)
		return xv_err_set(err, -ENOMEM, XV_ERR_RESOURCE, "out of memory");
	l->task = (struct xv_task){.step = step, .destroy = destroy};
	l->host = host;
	l->started_ns = xv_clock_ns();
	l->left = limit != NULL ? (uint64_t)json_integer_value(limit) : UINT64_MAX;
	p = port != NULL ? xv_host_port_lookup(host, port) : NULL;
	n = network != NULL ? xv_host_network_lookup(host, network) : NULL;
	l->port = p != NULL ? p->port->id : -1;
	l->network = n != NULL ? n->network : NULL;
	rc = address != NULL ? parse_address(l, address, err) : 0;
	if (rc < 0) {
		free(l);
		return rc;
	}
	*task = &l->task;
	return 0;
}
