/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bonds, by number: which of its ports gets a packet is decided by a hash of the packet's flow, 256 buckets of which lead to a
 * member each. Who balances them (Open vSwitch) changes the members and asks how much each bucket has sent. Class A by
 * number, class C inside: counters are shared by all workers.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "port/port.h"

#define XV_MAX_BONDS	4096
#define XV_BOND_BUCKETS 256

struct xv_binding;

struct xv_bond {
	_Atomic uint16_t members[XV_BOND_BUCKETS]; /* port ids; XV_MAX_PORTS and more: none */
	_Atomic uint64_t bytes[XV_BOND_BUCKETS];
};
extern _Atomic(struct xv_bond *) xv_bonds[XV_MAX_BONDS]; /* NULL: no such bond, what is for it is dropped */

/* control. A new one; its number is none that was in use lately. 0, -ENOSPC, -ENOMEM. */
int xv_bond_create(const uint16_t members[XV_BOND_BUCKETS], uint32_t *id);
/* control. It has these members from now on, and its counters go on. */
void xv_bond_set(uint32_t id, const uint16_t members[XV_BOND_BUCKETS]);
/* control. What each bucket has sent since the bond was made. */
void xv_bond_get_bytes(uint32_t id, uint64_t bytes[XV_BOND_BUCKETS]);
void xv_bond_destroy(uint32_t id);

/* Any thread of EAL or the control thread. The member for a packet with this hash; XV_MAX_PORTS: there is none. */
uint16_t xv_bond_member(uint32_t id, uint32_t hash);
/* worker. The member's port and binding for a packet of so many bytes, which are counted; NULL: there is none. */
struct xv_port *xv_bond_output(uint32_t id, uint32_t hash, uint32_t bytes, const struct xv_binding **binding);
