/* SPDX-License-Identifier: Apache-2.0 */
#include "ovs/operate.h"

#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "fastpath/packet_out.h"
#include "ovs/actions.h"
#include "ovs/datapath.h"
#include "ovs/flows.h"
#include "ovs/key.h"

/* Waits for the counters of flows that it deleted. */
struct xv_ovs_operation {
	struct xv_ovs_message m;
	unsigned int waiting; /* deletions, and who writes the answer */
	void (*done)(struct xv_ovs_message *m, void *arg); /* NULL: nobody waits */
	void *arg;
};

/* Where one deletion's counters go. */
struct slot {
	struct xv_ovs_operation *operation;
	uint32_t at; /* of the item in the answer */
};

static void finished(struct xv_ovs_operation *o)
{
	if (o->done != NULL)
		o->done(&o->m, o->arg);
	xv_ovs_message_free(&o->m);
	free(o);
}

static void deleted(const struct xv_ovs_flow_stats *stats, void *arg)
{
	struct slot *slot = arg;
	struct xv_ovs_operation *o = slot->operation;

	if (!o->m.failed)
		memcpy(o->m.buf + slot->at + sizeof(struct xv_ovs_item), stats, sizeof(*stats));
	free(slot);
	if (--o->waiting == 0)
		finished(o);
}

void xv_ovs_operation_forget(struct xv_ovs_operation *o)
{
	if (o != NULL)
		o->done = NULL;
}

/* ---- Execute ---- */

/* What OVS says of the packet that its bytes do not. */
static int execute(struct xv_ovs_datapath *dp, const struct xv_ovs_flow_op *op, const struct xv_ovs_item *packet)
{
	struct xv_flow_key key = {0}, mask;
	struct xv_flow_layout layout;
	const struct xv_ovs_port *local = xv_ovs_port_by_number(dp, 0);
	struct xv_actions *actions;
	struct xv_err err = {0};
	const char *why = "";
	uint32_t port_id;
	int rc;

	rc = xv_ovs_key_parse(dp, op->key, false, &key, &why);
	if (rc < 0)
		return rc;
	if (xv_flow_extract(xv_ovs_body(packet), (uint16_t)(packet->len < UINT16_MAX ? packet->len : UINT16_MAX),
			    packet->len, &key, &layout) != XV_FLOW_OK)
		return -EINVAL;
	memset(&mask, 0xff, sizeof(mask));
	rc = xv_ovs_actions_parse(dp, op->actions, &key, &mask, &actions, &err);
	if (rc < 0) {
		XV_LOG_LIMITED(op->flags & XV_OVS_PROBE ? XV_LOG_DEBUG : XV_LOG_WARNING, "ovs", "a packet's actions are refused: %s",
			       err.text);
		return rc;
	}
	port_id = key.in_port != XV_FLOW_PORT_NONE ? key.in_port : local != NULL ? local->id : XV_FLOW_PORT_NONE;
	if ((op->flags & XV_OVS_PROBE) != 0 || port_id == XV_FLOW_PORT_NONE) {
		free(actions);
		return 0;
	}
	return xv_packet_out((uint16_t)port_id, &key, actions, xv_ovs_body(packet), packet->len);
}

/* ---- All ---- */

static struct xv_attrs attrs_of(const void *items, uint32_t len, uint16_t type)
{
	const struct xv_ovs_item *item = xv_ovs_find(items, len, type);

	return item != NULL ? (struct xv_attrs){xv_ovs_body(item), item->len} : (struct xv_attrs){0};
}

static int del(struct xv_ovs_operation *o, struct xv_ovs_datapath *dp, const uint8_t *ufid)
{
	const struct xv_ovs_flow_stats none = {0};
	struct slot *slot = malloc(sizeof(*slot));
	int rc;

	if (slot == NULL)
		return -ENOMEM;
	*slot = (struct slot){o, o->m.len};
	xv_ovs_put(&o->m, XV_OVS_STATS, &none, sizeof(none));
	o->waiting++;
	rc = xv_ovs_flow_del(dp->flows, ufid, deleted, slot);
	if (rc < 0) {
		o->waiting--;
		free(slot);
	}
	return rc;
}

static int one(struct xv_ovs_operation *o, struct xv_ovs_datapath *dp, const void *items, uint32_t len)
{
	const struct xv_ovs_item *ufid = xv_ovs_find(items, len, XV_OVS_UFID);
	const struct xv_ovs_item *packet = xv_ovs_find(items, len, XV_OVS_PACKET);
	const struct xv_ovs_flow_op op = {
		.ufid = ufid != NULL && ufid->len == 16 ? xv_ovs_body(ufid) : NULL,
		.key = attrs_of(items, len, XV_OVS_KEY),
		.mask = attrs_of(items, len, XV_OVS_MASK),
		.actions = attrs_of(items, len, XV_OVS_ACTIONS),
		.flags = xv_ovs_u32(items, len, XV_OVS_FLAGS, 0),
	};
	uint32_t type = xv_ovs_u32(items, len, XV_OVS_OP_TYPE, 0);
	struct xv_ovs_flow_stats stats = {0};
	int rc;

	if (type == XV_OVS_OP_EXECUTE)
		return packet != NULL ? execute(dp, &op, packet) : -EINVAL;
	if (op.ufid == NULL)
		return -EINVAL;
	switch (type) {
	case XV_OVS_OP_PUT:
		rc = xv_ovs_flow_put(dp->flows, &op, &stats);
		xv_ovs_put(&o->m, XV_OVS_STATS, &stats, sizeof(stats));
		return rc;
	case XV_OVS_OP_DEL:
		return del(o, dp, op.ufid);
	case XV_OVS_OP_GET:
		return xv_ovs_flow_get(dp->flows, op.ufid, &o->m);
	default:
		return -EOPNOTSUPP;
	}
}

int xv_ovs_operate(struct xv_ovs_datapath *dp, const void *items, uint32_t len, const struct xv_ovs_header *request,
		   void (*done)(struct xv_ovs_message *m, void *arg), void *arg, struct xv_ovs_operation **operation)
{
	struct xv_ovs_operation *o = calloc(1, sizeof(*o));
	const struct xv_ovs_item *item;
	bool broken = false;
	uint32_t at = 0;

	if (o == NULL)
		return -ENOMEM;
	while (xv_ovs_next(items, len, &at, &broken) != NULL)
		;
	if (broken) {
		free(o);
		return -EINVAL;
	}
	o->done = done;
	o->arg = arg;
	o->waiting = 1;
	xv_ovs_message_begin(&o->m, request);
	for (at = 0; (item = xv_ovs_next(items, len, &at, &broken)) != NULL;) {
		uint32_t result;

		if (item->type != XV_OVS_OP)
			continue;
		result = xv_ovs_open(&o->m, XV_OVS_RESULT);
		xv_ovs_put_u32(&o->m, XV_OVS_ERROR, (uint32_t)-one(o, dp, xv_ovs_body(item), item->len));
		xv_ovs_close(&o->m, result);
	}
	*operation = --o->waiting > 0 ? o : NULL;
	if (o->waiting > 0)
		(void)xv_host_poll_flows(dp->host);
	else
		finished(o);
	return 0;
}
