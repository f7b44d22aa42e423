/* SPDX-License-Identifier: Apache-2.0 */
/* Fragments that wait for connection tracking, as the provider asks about them (OVS's ipf). Control thread. */
#pragma once

#include "ovs/message.h"

/* Requests; items are those of the request. 0 or -errno. */
int xv_ovs_fragments_set(const void *items, uint32_t len, struct xv_ovs_message *m);
int xv_ovs_fragments_get(const void *items, uint32_t len, struct xv_ovs_message *m);
int xv_ovs_fragments_dump(const void *items, uint32_t len, struct xv_ovs_message *m);
