/* SPDX-License-Identifier: Apache-2.0 */
#include "control/connections.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/buffer.h>
#include <linux/netfilter/nf_conntrack_common.h>

#include "base/clock.h"
#include "base/log.h"
#include "control/match.h"
#include "control/model.h"
#include "fastpath/conntrack.h"
#include "fastpath/flow.h"

#define CONNECTIONS_A_PIECE 128
#define STEP_NS		    2000000    /* longer than this a step does not begin another piece */
#define SWEEP_WAIT_NS	    2000000000 /* a worker that does not answer for so long hangs */
#define TEXT_SIZE	    2048

#define PROTO_ICMP   1
#define PROTO_TCP    6
#define PROTO_UDP    17
#define PROTO_ICMPV6 58
#define PROTO_SCTP   132

struct connections {
	struct xv_task task;
	struct xv_host *host;
	bool flush;
	/* what is asked for */
	struct xv_match_prefix address, src, dst; /* ip_version 0: any */
	int proto, src_port, dst_port, zone;	  /* -1: any */
	const char *state;			  /* in words; NULL: any */
	uint64_t left;
	json_t *args; /* holds the words */
	/* how far it is */
	uint64_t sweep, started_ns, cursor;
	bool swept, begun;
	struct evbuffer *out; /* during a step */
	struct xv_ct_tuple found[CONNECTIONS_A_PIECE]; /* to be deleted */
	unsigned int n_found;
	uint64_t flushed;
};

static uint32_t now_ms(void)
{
	return xv_clock_ms(xv_clock_cycles());
}

/* ---- What is asked for ---- */

static bool has_ports(uint8_t proto)
{
	return proto == PROTO_TCP || proto == PROTO_UDP || proto == PROTO_SCTP;
}

static bool is_icmp(const struct xv_ct_tuple *t)
{
	return t->proto == (t->ipv6 ? PROTO_ICMPV6 : PROTO_ICMP);
}

/* Of TCP and SCTP; "" for others. The words are those of timeouts. */
static const char *state_of(const struct xv_ct_info *info)
{
	if (info->state == 0)
		return "";
	if (info->original.proto == PROTO_TCP)
		return xv_ct_timeout_names[info->state] + strlen("tcp_");
	return xv_ct_timeout_names[XV_CT_TO_SCTP_CLOSED + info->state - 1] + strlen("sctp_");
}

static bool in_prefix(const struct xv_match_prefix *p, const struct xv_ct_tuple *t, const union xv_ip_addr *addr)
{
	unsigned int first = p->ip_version == 4 ? 12 : 0, whole = p->len / 8u, bits = p->len % 8u;

	if ((p->ip_version == 6) != (t->ipv6 != 0) || memcmp(p->addr.bytes + first, addr->bytes + first, whole) != 0)
		return false;
	return bits == 0 || (p->addr.bytes[first + whole] ^ addr->bytes[first + whole]) >> (8 - bits) == 0;
}

static bool fits_state(const struct connections *c, const struct xv_ct_info *info)
{
	if (strcmp(c->state, "unreplied") == 0)
		return (info->status & IPS_SEEN_REPLY) == 0;
	if (strcmp(c->state, "assured") == 0)
		return (info->status & IPS_ASSURED) != 0;
	return strcmp(c->state, state_of(info)) == 0;
}

static bool fits(const struct connections *c, const struct xv_ct_info *info)
{
	const struct xv_ct_tuple *o = &info->original, *r = &info->reply;

	if ((c->zone >= 0 && o->zone != c->zone) || (c->proto >= 0 && o->proto != c->proto))
		return false;
	if ((c->src_port >= 0 || c->dst_port >= 0) && !has_ports(o->proto))
		return false;
	if ((c->src_port >= 0 && rte_be_to_cpu_16(o->src_port) != c->src_port) ||
	    (c->dst_port >= 0 && rte_be_to_cpu_16(o->dst_port) != c->dst_port))
		return false;
	if ((c->src.ip_version != 0 && !in_prefix(&c->src, o, &o->src)) ||
	    (c->dst.ip_version != 0 && !in_prefix(&c->dst, o, &o->dst)))
		return false;
	if (c->address.ip_version != 0 && !in_prefix(&c->address, o, &o->src) && !in_prefix(&c->address, o, &o->dst) &&
	    !in_prefix(&c->address, r, &r->src) && !in_prefix(&c->address, r, &r->dst))
		return false;
	return c->state == NULL || fits_state(c, info);
}

/* ---- Writing: JSON by hand, as nothing in it needs an escape, and there may be much of it ---- */

struct text {
	char buf[TEXT_SIZE];
	size_t len;
};

__attribute__((format(printf, 2, 3))) static void put(struct text *t, const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(t->buf + t->len, sizeof(t->buf) - t->len, format, args);
	va_end(args);
	t->len += n > 0 ? (size_t)n : 0;
	if (t->len > sizeof(t->buf) - 1)
		t->len = sizeof(t->buf) - 1;
}

static void put_tuple(struct text *t, const struct xv_ct_tuple *tuple)
{
	char src[INET6_ADDRSTRLEN] = "", dst[INET6_ADDRSTRLEN] = "";
	unsigned int first = tuple->ipv6 ? 0 : 12;
	uint16_t from = rte_be_to_cpu_16(tuple->src_port), to = rte_be_to_cpu_16(tuple->dst_port);

	inet_ntop(tuple->ipv6 ? AF_INET6 : AF_INET, tuple->src.bytes + first, src, sizeof(src));
	inet_ntop(tuple->ipv6 ? AF_INET6 : AF_INET, tuple->dst.bytes + first, dst, sizeof(dst));
	put(t, "{\"src\":\"%s\",\"dst\":\"%s\"", src, dst);
	if (has_ports(tuple->proto))
		put(t, ",\"src_port\":%u,\"dst_port\":%u", from, to);
	else if (is_icmp(tuple))
		put(t, ",\"id\":%u,\"type\":%u,\"code\":%u", from, to >> 8, to & 0xff);
}

static void put_status(struct text *t, uint32_t status)
{
	static const struct {
		uint32_t bit;
		const char *name;
	} names[] = {{IPS_EXPECTED, "expected"}, {IPS_SEEN_REPLY, "seen_reply"}, {IPS_ASSURED, "assured"},
		     {IPS_SRC_NAT, "src_nat"},	 {IPS_DST_NAT, "dst_nat"},	 {IPS_SEQ_ADJUST, "seq_adjust"}};
	const char *separator = "";

	put(t, ",\"status\":[");
	for (unsigned int i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if ((status & names[i].bit) == 0)
			continue;
		put(t, "%s\"%s\"", separator, names[i].name);
		separator = ",";
	}
	put(t, "]");
}

/* NULL: no network's. */
static const char *network_of(const struct xv_host *host, uint16_t zone)
{
	const struct xv_host_network *n;

	TAILQ_FOREACH (n, &host->networks, entry) {
		if (n->zone == zone)
			return n->network->name;
	}
	return NULL;
}

static void put_connection(struct text *t, const struct xv_host *host, const struct xv_ct_info *info)
{
	static const char *const helpers[] = {[XV_CT_HELPER_FTP] = "ftp", [XV_CT_HELPER_TFTP] = "tftp"};
	const struct xv_ct_tuple *tuples[] = {&info->original, &info->reply};
	const char *network = network_of(host, info->original.zone), *state = state_of(info);
	char proto[XV_MATCH_TEXT];

	xv_match_protocol_format(info->original.proto, proto);
	put(t, "{\"id\":%llu,\"protocol\":\"%s\"", (unsigned long long)info->id, proto);
	for (unsigned int i = 0; i < 2; i++) {
		put(t, ",\"%s\":", i == 0 ? "original" : "reply");
		put_tuple(t, tuples[i]);
		put(t, ",\"packets\":%llu,\"bytes\":%llu}", (unsigned long long)info->packets[i],
		    (unsigned long long)info->bytes[i]);
	}
	put(t, ",\"zone\":%u", info->original.zone);
	if (network != NULL)
		put(t, ",\"network\":\"%s\"", network);
	put_status(t, info->status);
	put(t, ",\"timeout_s\":%u,\"mark\":%u", info->timeout_ms / 1000, info->mark);
	if ((info->label[0] | info->label[1]) != 0)
		put(t, ",\"labels\":\"0x%016llx%016llx\"", (unsigned long long)info->label[1],
		    (unsigned long long)info->label[0]);
	if (state[0] != '\0')
		put(t, ",\"state\":\"%s\"", state);
	if (info->helper != XV_CT_HELPER_NONE)
		put(t, ",\"helper\":\"%s\"", helpers[info->helper]);
	if (info->has_master) {
		put(t, ",\"master\":");
		put_tuple(t, &info->master);
		put(t, "}");
	}
	put(t, "}");
}

/* ---- The task ---- */

static void look(const struct xv_ct_info *info, void *arg)
{
	struct connections *c = arg;
	struct text text = {.len = 0};

	if (c->left == 0 || !fits(c, info))
		return;
	c->left--;
	if (c->flush) {
		c->found[c->n_found++] = info->original;
		return;
	}
	put_connection(&text, c->host, info);
	evbuffer_add(c->out, ",", c->begun ? 1 : 0);
	evbuffer_add(c->out, text.buf, text.len);
	c->begun = true;
}

static bool piece(struct connections *c)
{
	bool more;

	c->n_found = 0;
	more = xv_conntrack_walk(xv_flow_conntrack, now_ms(), &c->cursor, CONNECTIONS_A_PIECE, look, c);
	for (unsigned int i = 0; i < c->n_found; i++)
		c->flushed += xv_conntrack_delete(xv_flow_conntrack, &c->found[i], now_ms()) == 0;
	return more && c->left > 0;
}

/* Wait until what fused flows have counted is credited. */
static bool is_swept(struct connections *c)
{
	if (c->sweep == 0)
		c->sweep = xv_flows_sweep();
	if (xv_flows_swept() >= c->sweep)
		return true;
	if (xv_clock_ns() - c->started_ns < SWEEP_WAIT_NS)
		return false;
	xv_log(XV_LOG_WARNING, "api", "ct.list: a worker does not answer: counters are older than asked for");
	return true;
}

static enum xv_task_state step(struct xv_task *task, struct evbuffer *out)
{
	struct connections *c = (struct connections *)task;
	uint64_t start = xv_clock_ns();
	bool more = true;

	if (!c->swept) {
		c->swept = c->flush || is_swept(c);
		if (!c->swept)
			return XV_TASK_WAIT;
		evbuffer_add(out, "[", c->flush ? 0 : 1);
	}
	c->out = out;
	while (more && xv_clock_ns() - start < STEP_NS)
		more = piece(c);
	if (more)
		return XV_TASK_MORE;
	if (c->flush)
		evbuffer_add_printf(out, "{\"flushed\":%llu}", (unsigned long long)c->flushed);
	else
		evbuffer_add(out, "]", 1);
	return XV_TASK_DONE;
}

static void destroy(struct xv_task *task)
{
	struct connections *c = (struct connections *)task;

	json_decref(c->args);
	free(c);
}

static int number_of(const json_t *args, const char *key)
{
	const json_t *v = json_object_get(args, key);

	return v != NULL ? (int)json_integer_value(v) : -1;
}

static void prefix_of(const json_t *args, const char *key, struct xv_match_prefix *prefix)
{
	const char *text = json_string_value(json_object_get(args, key));

	if (text == NULL || xv_match_prefix_parse(text, prefix) < 0)
		prefix->ip_version = 0;
}

static int begin(struct xv_host *host, const json_t *args, bool flush, struct xv_task **task, struct xv_err *err)
{
	const char *proto = json_string_value(json_object_get(args, "proto"));
	const char *network = json_string_value(json_object_get(args, "network"));
	const struct xv_host_network *n = network != NULL ? xv_host_network_lookup(host, network) : NULL;
	struct connections *c = calloc(1, sizeof(*c));
	int limit = number_of(args, "limit");
	uint8_t number;

	if (c == NULL)
		return xv_err_set(err, -ENOMEM, XV_ERR_RESOURCE, "out of memory");
	c->task = (struct xv_task){.step = step, .destroy = destroy};
	c->host = host;
	c->flush = flush;
	c->started_ns = xv_clock_ns();
	c->args = json_deep_copy(args);
	prefix_of(args, "address", &c->address);
	prefix_of(args, "src", &c->src);
	prefix_of(args, "dst", &c->dst);
	c->proto = proto != NULL && xv_match_protocol_parse(proto, &number) == 0 ? number : -1;
	c->src_port = number_of(args, "src_port");
	c->dst_port = number_of(args, "dst_port");
	c->zone = n != NULL ? n->zone : number_of(args, "zone");
	c->state = json_string_value(json_object_get(c->args, "state"));
	c->left = limit >= 0 ? (uint64_t)limit : UINT64_MAX;
	*task = &c->task;
	return 0;
}

int xv_ct_list_start(struct xv_host *host, const json_t *args, struct xv_task **task, struct xv_err *err)
{
	return begin(host, args, false, task, err);
}

int xv_ct_flush_start(struct xv_host *host, const json_t *args, struct xv_task **task, struct xv_err *err)
{
	return begin(host, args, true, task, err);
}

/* ---- Totals ---- */

/* Zones with connections or a network. */
static json_t *zones_of(const struct xv_host *host)
{
	const char *otherwise = json_string_value(json_object_get(json_object_get(host->model, "conntrack"), "timeouts"));
	uint64_t of_network[(UINT16_MAX + 1) / 64] = {0};
	const struct xv_host_network *owner;
	json_t *zones = json_array();

	TAILQ_FOREACH (owner, &host->networks, entry)
		of_network[owner->zone / 64] |= UINT64_C(1) << owner->zone % 64;
	for (unsigned int zone = 0; zone <= UINT16_MAX; zone++) {
		const char *network, *timeouts = NULL;
		uint32_t limit, n;

		xv_conntrack_get_zone(xv_flow_conntrack, (uint16_t)zone, &limit, &n);
		if (n == 0 && limit == 0)
			continue;
		if (n == 0 && !(of_network[zone / 64] >> zone % 64 & 1))
			continue;
		network = network_of(host, (uint16_t)zone);
		if (network != NULL)
			timeouts = json_string_value(json_object_get(xv_model_get(host->model, "network", network), "timeouts"));
		if (timeouts == NULL)
			timeouts = otherwise;
		json_array_append_new(zones, json_pack("{s:i, s:s?, s:I, s:I, s:s?}", "zone", (int)zone, "network", network,
						       "connections", (json_int_t)n, "limit", (json_int_t)limit, "timeouts",
						       timeouts));
	}
	return zones;
}

json_t *xv_ct_stats(const struct xv_host *host)
{
	const json_t *config = json_object_get(host->model, "conntrack");
	struct xv_conntrack_stats s;

	xv_conntrack_get_stats(xv_flow_conntrack, &s);
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:O?, s:O?, s:o}", "connections",
			 (json_int_t)s.connections, "max_connections", (json_int_t)xv_conntrack_get_max(xv_flow_conntrack), "half_open",
			 (json_int_t)s.half_open, "inserted", (json_int_t)s.inserted, "expired", (json_int_t)s.expired,
			 "deleted", (json_int_t)s.deleted, "evicted", (json_int_t)s.evicted, "refused_full",
			 (json_int_t)s.refused_full, "refused_zone", (json_int_t)s.refused_zone, "invalid",
			 (json_int_t)s.invalid, "nat_exhausted", (json_int_t)s.nat_exhausted, "memory_bytes",
			 (json_int_t)s.memory_bytes, "half_open_limit", json_object_get(config, "half_open_limit"), "pick_up",
			 json_object_get(config, "pick_up"), "zones", zones_of(host));
}
