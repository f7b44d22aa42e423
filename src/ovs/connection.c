/* SPDX-License-Identifier: Apache-2.0 */
#include "ovs/connection.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>

#include "base/log.h"
#include "fastpath/flow.h"
#include "ovs/bonds.h"
#include "ovs/conntrack.h"
#include "ovs/datapath.h"
#include "ovs/flows.h"
#include "ovs/fragments.h"
#include "ovs/meters.h"
#include "ovs/operate.h"
#include "ovs/port_requests.h"
#include "ovs/upcalls.h"

#define SWEEP_LOOK_US 200


static struct xv_ovs_datapath *datapath(const struct xv_ovs_connection *c)
{
	return c->datapath[0] != '\0' ? xv_ovs_datapath_lookup(c->datapath) : NULL;
}

static void send_message(struct xv_ovs_connection *c, struct xv_ovs_message *m, int error)
{
	xv_ovs_message_finish(m, error);
	if (m->buf != NULL)
		bufferevent_write(c->bev, m->buf, m->len);
	xv_ovs_message_free(m);
	c->pending = XV_OVS_IDLE;
}

/* An answer that took time is out: requests may wait already. */
static void go_on(struct xv_ovs_connection *c)
{
	bufferevent_trigger(c->bev, EV_READ, BEV_TRIG_IGNORE_WATERMARKS | BEV_TRIG_DEFER_CALLBACKS);
}

/* ---- Datapaths ---- */

static bool name_of(const void *items, uint32_t len, char *name, size_t size)
{
	const struct xv_ovs_item *item = xv_ovs_find(items, len, XV_OVS_NAME);

	if (item == NULL || item->len == 0 || item->len >= size || memchr(xv_ovs_body(item), '\0', item->len) != NULL)
		return false;
	memcpy(name, xv_ovs_body(item), item->len);
	name[item->len] = '\0';
	return true;
}

static int dp_open(struct xv_ovs_connection *c, const void *items, uint32_t len)
{
	bool create = xv_ovs_find(items, len, XV_OVS_CREATE) != NULL;
	char name[sizeof(c->datapath)];
	struct xv_ovs_datapath *dp;
	int rc = 0;

	if (!name_of(items, len, name, sizeof(name)))
		return -EINVAL;
	dp = xv_ovs_datapath_lookup(name);
	if (dp == NULL && !create)
		return -ENODEV;
	if (dp != NULL && create)
		return -EEXIST;
	if (dp == NULL)
		rc = xv_ovs_datapath_create(c->host, name, &dp);
	if (rc == 0)
		snprintf(c->datapath, sizeof(c->datapath), "%s", name);
	return rc;
}

static void dp_list(struct xv_ovs_message *m)
{
	const struct xv_ovs_datapath *dp;

	for (dp = xv_ovs_datapath_first(); dp != NULL; dp = TAILQ_NEXT(dp, entry))
		xv_ovs_put_text(m, XV_OVS_NAME, dp->name);
}

/* ---- Answers that take time ---- */

static void dump_more(struct xv_ovs_connection *c, uint64_t cursor)
{
	struct xv_ovs_datapath *dp = datapath(c);
	struct xv_ovs_message m;

	xv_ovs_message_begin(&m, &c->request);
	if (dp != NULL && xv_ovs_flows_dump(dp->flows, &cursor, c->terse, &m))
		xv_ovs_put_u64(&m, XV_OVS_CURSOR, cursor);
	send_message(c, &m, dp == NULL ? -ENODEV : 0);
}

static void look(evutil_socket_t fd, short what, void *arg)
{
	struct xv_ovs_connection *c = arg;

	if (c->pending != XV_OVS_PENDING_DUMP)
		return;
	if (xv_flows_swept() < c->sweep) {
		evtimer_add(c->timer, &(struct timeval){.tv_usec = SWEEP_LOOK_US});
		return;
	}
	dump_more(c, 0);
	go_on(c);
}

static void dump_begin(struct xv_ovs_connection *c)
{
	c->pending = XV_OVS_PENDING_DUMP;
	c->sweep = xv_flows_sweep();
	look(-1, 0, c);
}

static void operate_done(struct xv_ovs_message *m, void *arg)
{
	struct xv_ovs_connection *c = arg;

	c->operation = NULL;
	send_message(c, m, 0);
	go_on(c);
}

void xv_ovs_connection_upcalls(struct xv_ovs_connection *c)
{
	struct xv_ovs_datapath *dp;
	struct xv_ovs_message m;

	if (c->pending != XV_OVS_PENDING_UPCALLS)
		return;
	dp = datapath(c);
	xv_ovs_message_begin(&m, &c->request);
	if (dp != NULL && xv_ovs_upcalls_put(dp->upcalls, c->handler, c->handlers, &m) == 0) {
		xv_ovs_message_free(&m);
		return;
	}
	send_message(c, &m, dp == NULL ? -ENODEV : 0);
	go_on(c);
}

/* ---- Requests ---- */

/* Those that need a datapath. Whether the answer is made; it may be later, by whoever it is pending with. */
static bool request_datapath(struct xv_ovs_connection *c, struct xv_ovs_datapath *dp, const void *items, uint32_t len,
			     struct xv_ovs_message *m, int *rc)
{
	struct xv_ovs_dp_stats stats = {0};
	const struct xv_ovs_item *cursor;

	switch (c->request.type) {
	case XV_OVS_DP_DEL:
		xv_ovs_datapath_destroy(dp);
		break;
	case XV_OVS_DP_STATS:
		xv_ovs_datapath_get_stats(dp, &stats);
		xv_ovs_put(m, XV_OVS_DP_STATS_ITEM, &stats, sizeof(stats));
		break;
	case XV_OVS_PORT_ADD:
		*rc = xv_ovs_request_port_add(dp, items, len, m);
		break;
	case XV_OVS_PORT_DEL:
		*rc = xv_ovs_port_del(dp, xv_ovs_u32(items, len, XV_OVS_NUMBER, UINT32_MAX));
		break;
	case XV_OVS_PORT_GET:
		*rc = xv_ovs_request_port_get(dp, items, len, m);
		break;
	case XV_OVS_PORT_DUMP:
		xv_ovs_request_port_dump(dp, m);
		break;
	case XV_OVS_FLOW_FLUSH:
		xv_ovs_flows_flush(dp->flows);
		break;
	case XV_OVS_FLOW_DUMP:
		c->terse = xv_ovs_find(items, len, XV_OVS_TERSE) != NULL;
		cursor = xv_ovs_find(items, len, XV_OVS_CURSOR);
		if (cursor != NULL)
			dump_more(c, xv_ovs_u64(items, len, XV_OVS_CURSOR, 0));
		else
			dump_begin(c);
		return false;
	case XV_OVS_OPERATE:
		c->pending = XV_OVS_PENDING_OPERATE;
		*rc = xv_ovs_operate(dp, items, len, &c->request, operate_done, c, &c->operation);
		return *rc != 0;
	case XV_OVS_BOND_SET:
		*rc = xv_ovs_bond_set(dp, items, len);
		break;
	case XV_OVS_BOND_DEL:
		*rc = xv_ovs_bond_del(dp, items, len);
		break;
	case XV_OVS_BOND_STATS:
		*rc = xv_ovs_bond_stats(dp, items, len, m);
		break;
	case XV_OVS_UPCALL_SET:
		xv_ovs_upcalls_set(dp->upcalls, xv_ovs_u32(items, len, XV_OVS_ON, 0) != 0);
		break;
	case XV_OVS_UPCALL_TAKE:
		c->handler = xv_ovs_u32(items, len, XV_OVS_HANDLER, 0);
		c->handlers = xv_ovs_u32(items, len, XV_OVS_HANDLERS, 1);
		*rc = c->handlers == 0 || c->handler >= c->handlers ? -EINVAL : 0;
		if (*rc != 0)
			break;
		c->pending = XV_OVS_PENDING_UPCALLS;
		xv_ovs_connection_upcalls(c);
		return false;
	default:
		*rc = -EOPNOTSUPP;
	}
	return true;
}

/* What is of the host, not of a datapath, and answered at once. */
static const struct {
	uint16_t type;
	int (*answer)(const void *items, uint32_t len, struct xv_ovs_message *m);
} simple[] = {
	{XV_OVS_CT_DUMP, xv_ovs_ct_dump},
	{XV_OVS_CT_FLUSH, xv_ovs_ct_flush},
	{XV_OVS_CT_STATS, xv_ovs_ct_stats},
	{XV_OVS_CT_MAX_SET, xv_ovs_ct_max_set},
	{XV_OVS_CT_SEQ_SET, xv_ovs_ct_seq_set},
	{XV_OVS_CT_LIMIT_SET, xv_ovs_ct_limit_set},
	{XV_OVS_CT_LIMIT_GET, xv_ovs_ct_limit_get},
	{XV_OVS_CT_TIMEOUT_SET, xv_ovs_ct_timeout_set},
	{XV_OVS_CT_TIMEOUT_DEL, xv_ovs_ct_timeout_del},
	{XV_OVS_CT_TIMEOUT_DUMP, xv_ovs_ct_timeout_dump},
	{XV_OVS_FRAGMENTS_SET, xv_ovs_fragments_set},
	{XV_OVS_FRAGMENTS_GET, xv_ovs_fragments_get},
	{XV_OVS_FRAGMENTS_DUMP, xv_ovs_fragments_dump},
	{XV_OVS_METER_SET, xv_ovs_meter_set},
	{XV_OVS_METER_GET, xv_ovs_meter_get},
	{XV_OVS_METER_DEL, xv_ovs_meter_del},
};

/* Whether the answer is made, or will be. */
static bool request_any(struct xv_ovs_connection *c, const void *items, uint32_t len, struct xv_ovs_message *m, int *rc)
{
	struct xv_ovs_datapath *dp;
	unsigned int i;

	for (i = 0; i < sizeof(simple) / sizeof(simple[0]); i++) {
		if (simple[i].type != c->request.type)
			continue;
		*rc = simple[i].answer(items, len, m);
		return true;
	}
	switch (c->request.type) {
	case XV_OVS_HELLO:
		xv_ovs_put_u32(m, XV_OVS_VERSION_ITEM, XV_OVS_VERSION);
		*rc = xv_ovs_u32(items, len, XV_OVS_VERSION_ITEM, 0) == XV_OVS_VERSION ? 0 : -EPROTO;
		return true;
	case XV_OVS_DP_OPEN:
		*rc = dp_open(c, items, len);
		return true;
	case XV_OVS_DP_LIST:
		dp_list(m);
		return true;
	case XV_OVS_PORT_SET:
		*rc = xv_ovs_request_port_set(items, len, m);
		return true;
	case XV_OVS_PORT_STATS:
		*rc = xv_ovs_request_port_stats(items, len, m);
		return true;
	case XV_OVS_LINKS:
		xv_ovs_request_links(m);
		return true;
	}
	dp = datapath(c);
	if (dp == NULL) {
		*rc = -ENODEV;
		return true;
	}
	return request_datapath(c, dp, items, len, m, rc);
}

static bool is_well_formed(const uint8_t *items, uint32_t len)
{
	bool broken = false;
	uint32_t at = 0;

	while (xv_ovs_next(items, len, &at, &broken) != NULL)
		;
	return !broken;
}

static void request(struct xv_ovs_connection *c, const uint8_t *message)
{
	const uint8_t *items = message + sizeof(c->request);
	struct xv_ovs_message m;
	int rc = 0;

	memcpy(&c->request, message, sizeof(c->request));
	xv_ovs_message_begin(&m, &c->request);
	if (request_any(c, items, c->request.len - (uint32_t)sizeof(c->request), &m, &rc))
		send_message(c, &m, rc);
	else
		xv_ovs_message_free(&m);
}

bool xv_ovs_connection_read(struct xv_ovs_connection *c)
{
	struct evbuffer *in = bufferevent_get_input(c->bev);
	struct xv_ovs_header h;
	bool is_message = true;
	uint8_t *message;

	while (is_message && c->pending == XV_OVS_IDLE && evbuffer_copyout(in, &h, sizeof(h)) == (ssize_t)sizeof(h)) {
		is_message = h.len >= sizeof(h) && h.len <= XV_OVS_MESSAGE_MAX && h.len % 8 == 0;
		if (!is_message)
			break;
		if (evbuffer_get_length(in) < h.len)
			break;
		/* One piece of memory, aligned as items have to be. */
		message = malloc(h.len);
		if (message == NULL)
			return false;
		(void)evbuffer_remove(in, message, h.len);
		is_message = is_well_formed(message + sizeof(h), h.len - (uint32_t)sizeof(h));
		if (is_message)
			request(c, message);
		free(message);
	}
	if (!is_message)
		XV_LOG_LIMITED(XV_LOG_WARNING, "ovs", "a connection sent what is no message: it is closed");
	return is_message;
}

/* ---- Beginning and end ---- */

struct xv_ovs_connection *xv_ovs_connection_create(struct xv_host *host, int fd)
{
	struct xv_ovs_connection *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return NULL;
	c->host = host;
	c->timer = evtimer_new(host->events, look, c);
	if (c->timer != NULL)
		c->bev = bufferevent_socket_new(host->events, fd, BEV_OPT_CLOSE_ON_FREE);
	if (c->bev == NULL) {
		if (c->timer != NULL)
			event_free(c->timer);
		free(c);
		return NULL;
	}
	/* A request that does not fit is none. */
	bufferevent_setwatermark(c->bev, EV_READ, 0, XV_OVS_MESSAGE_MAX);
	return c;
}

void xv_ovs_connection_destroy(struct xv_ovs_connection *c)
{
	xv_ovs_operation_forget(c->operation);
	LIST_REMOVE(c, entry);
	event_free(c->timer);
	bufferevent_free(c->bev);
	free(c);
}
