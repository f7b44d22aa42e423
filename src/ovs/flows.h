/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Flows of a datapath by their unique ids, with what OVS said about them word for word: that is what it gets to see again.
 * What workers look at is the flow table of the fast path (fastpath/flow.h). Control thread.
 */
#pragma once

#include "ovs/attributes.h"
#include "ovs/message.h"

struct xv_ovs_datapath;
struct xv_ovs_flows;

struct xv_ovs_flows *xv_ovs_flows_create(struct xv_ovs_datapath *dp);
/* They have been flushed. Accepts NULL. */
void xv_ovs_flows_destroy(struct xv_ovs_flows *flows);
unsigned int xv_ovs_flows_count(const struct xv_ovs_flows *flows);

/* What an operation names; .data NULL: nothing. */
struct xv_ovs_flow_op {
	const uint8_t *ufid; /* 16 bytes */
	struct xv_attrs key, mask, actions;
	uint32_t flags; /* XV_OVS_PUT_* */
};

/* 0; -EEXIST, -ENOENT, -ENOSPC, or -EINVAL: we cannot do that. stats, unless NULL: of the flow as it was before. */
int xv_ovs_flow_put(struct xv_ovs_flows *flows, const struct xv_ovs_flow_op *op, struct xv_ovs_flow_stats *stats);
/* XV_OVS_FLOW. 0 or -ENOENT. */
int xv_ovs_flow_get(struct xv_ovs_flows *flows, const uint8_t *ufid, struct xv_ovs_message *m);
/* -ENOENT, or 0: done is called when its counters are complete, from here on or later. */
int xv_ovs_flow_del(struct xv_ovs_flows *flows, const uint8_t *ufid,
		    void (*done)(const struct xv_ovs_flow_stats *stats, void *arg), void *arg);
void xv_ovs_flows_flush(struct xv_ovs_flows *flows);
/* The port of that number came, went, or got another device: flows that match its packets, or send to it, follow. */
void xv_ovs_flows_port_changed(struct xv_ovs_flows *flows, uint32_t number);
/* Put as many as make a message, from *cursor (0 at first) on. False: that was all. */
bool xv_ovs_flows_dump(struct xv_ovs_flows *flows, uint64_t *cursor, bool terse, struct xv_ovs_message *m);
