/* SPDX-License-Identifier: Apache-2.0 */
/* Meters as the provider asks about them. Control thread. */
#pragma once

#include "ovs/message.h"

/* Requests; items are those of the request. 0 or -errno. */
int xv_ovs_meter_set(const void *items, uint32_t len, struct xv_ovs_message *m);
int xv_ovs_meter_get(const void *items, uint32_t len, struct xv_ovs_message *m);
int xv_ovs_meter_del(const void *items, uint32_t len, struct xv_ovs_message *m);
