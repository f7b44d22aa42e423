/* SPDX-License-Identifier: Apache-2.0 */
/* Requests about ports. Control thread; items are those of the request; 0 or -errno. */
#pragma once

#include "ovs/message.h"

struct xv_ovs_datapath;

int xv_ovs_request_port_add(struct xv_ovs_datapath *dp, const void *items, uint32_t len, struct xv_ovs_message *m);
int xv_ovs_request_port_get(const struct xv_ovs_datapath *dp, const void *items, uint32_t len, struct xv_ovs_message *m);
void xv_ovs_request_port_dump(const struct xv_ovs_datapath *dp, struct xv_ovs_message *m);
/* Of whatever datapath. */
int xv_ovs_request_port_set(const void *items, uint32_t len, struct xv_ovs_message *m);
int xv_ovs_request_port_stats(const void *items, uint32_t len, struct xv_ovs_message *m);
void xv_ovs_request_links(struct xv_ovs_message *m);
