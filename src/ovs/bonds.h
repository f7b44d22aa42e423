/* SPDX-License-Identifier: Apache-2.0 */
/* Bonds whose members take packets by their hash (the action lb_output), by the numbers that OVS has for them. Control thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ovs/message.h"

struct xv_ovs_datapath;

/* Requests. 0 or -errno. */
int xv_ovs_bond_set(struct xv_ovs_datapath *dp, const void *items, uint32_t len);
int xv_ovs_bond_del(struct xv_ovs_datapath *dp, const void *items, uint32_t len);
int xv_ovs_bond_stats(const struct xv_ovs_datapath *dp, const void *items, uint32_t len, struct xv_ovs_message *m);

/* The engine's number of a bond. False: there is none. */
bool xv_ovs_bond_number(const struct xv_ovs_datapath *dp, uint32_t bond, uint32_t *number);
/* Ports came, went, or got another device. */
void xv_ovs_bonds_ports_changed(const struct xv_ovs_datapath *dp);
void xv_ovs_bonds_destroy(struct xv_ovs_datapath *dp);
