/* SPDX-License-Identifier: Apache-2.0 */
#include "fastpath/bond.h"

#include "fastpath/worker_state.h"

_Atomic(struct xv_bond *) xv_bonds[XV_MAX_BONDS];

uint16_t xv_bond_member(uint32_t id, uint32_t hash)
{
	const struct xv_bond *bond = atomic_load_explicit(&xv_bonds[id], memory_order_acquire);

	return bond == NULL ? XV_MAX_PORTS
			    : atomic_load_explicit(&bond->members[hash % XV_BOND_BUCKETS], memory_order_relaxed);
}

struct xv_port *xv_bond_output(uint32_t id, uint32_t hash, uint32_t bytes, const struct xv_binding **binding)
{
	struct xv_bond *bond = atomic_load_explicit(&xv_bonds[id], memory_order_acquire);
	struct xv_port *out;

	if (bond == NULL)
		return NULL;
	out = xv_port_by_id(atomic_load_explicit(&bond->members[hash % XV_BOND_BUCKETS], memory_order_relaxed));
	*binding = out == NULL ? NULL : atomic_load_explicit(&out->binding, memory_order_acquire);
	if (*binding == NULL)
		return NULL;
	atomic_fetch_add_explicit(&bond->bytes[hash % XV_BOND_BUCKETS], bytes, memory_order_relaxed);
	return out;
}
