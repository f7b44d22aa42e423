/* SPDX-License-Identifier: Apache-2.0 */
/* Connections as the provider asks about them. Control thread. */
#pragma once

#include "ovs/message.h"

/* The timeout policy that a ct action names (XV_OVS_POLICY_NAME); as in the kernel, one that is not there is the default. */
uint32_t xv_ovs_ct_policy(const void *name, uint32_t len);

/* Requests; items are those of the request. 0 or -errno. */
int xv_ovs_ct_dump(const void *items, uint32_t len, struct xv_ovs_message *m);
int xv_ovs_ct_flush(const void *items, uint32_t len, struct xv_ovs_message *m);
int xv_ovs_ct_stats(const void *items, uint32_t len, struct xv_ovs_message *m);
int xv_ovs_ct_max_set(const void *items, uint32_t len, struct xv_ovs_message *m);
int xv_ovs_ct_seq_set(const void *items, uint32_t len, struct xv_ovs_message *m);
int xv_ovs_ct_limit_set(const void *items, uint32_t len, struct xv_ovs_message *m);
int xv_ovs_ct_limit_get(const void *items, uint32_t len, struct xv_ovs_message *m);
int xv_ovs_ct_timeout_set(const void *items, uint32_t len, struct xv_ovs_message *m);
int xv_ovs_ct_timeout_del(const void *items, uint32_t len, struct xv_ovs_message *m);
int xv_ovs_ct_timeout_dump(const void *items, uint32_t len, struct xv_ovs_message *m);
