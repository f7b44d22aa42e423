/* SPDX-License-Identifier: Apache-2.0 */
/* The control thread's side of bonds. */
#include "fastpath/bond.h"

#include <errno.h>
#include <stdlib.h>

#include "table/rcu.h"

int xv_bond_create(const uint16_t members[XV_BOND_BUCKETS], uint32_t *id)
{
	static uint32_t last; /* the next number is tried first: flows of a bond that went may still be there */
	struct xv_bond *bond;
	uint32_t i;

	for (i = 1; i <= XV_MAX_BONDS; i++)
		if (atomic_load(&xv_bonds[(last + i) % XV_MAX_BONDS]) == NULL)
			break;
	if (i > XV_MAX_BONDS)
		return -ENOSPC;
	bond = calloc(1, sizeof(*bond));
	if (bond == NULL)
		return -ENOMEM;
	*id = last = (last + i) % XV_MAX_BONDS;
	for (i = 0; i < XV_BOND_BUCKETS; i++)
		atomic_init(&bond->members[i], members[i]);
	atomic_store_explicit(&xv_bonds[*id], bond, memory_order_release);
	return 0;
}

void xv_bond_set(uint32_t id, const uint16_t members[XV_BOND_BUCKETS])
{
	struct xv_bond *bond = atomic_load(&xv_bonds[id]);
	unsigned int i;

	for (i = 0; bond != NULL && i < XV_BOND_BUCKETS; i++)
		atomic_store_explicit(&bond->members[i], members[i], memory_order_relaxed);
}

void xv_bond_get_bytes(uint32_t id, uint64_t bytes[XV_BOND_BUCKETS])
{
	const struct xv_bond *bond = atomic_load(&xv_bonds[id]);
	unsigned int i;

	for (i = 0; i < XV_BOND_BUCKETS; i++)
		bytes[i] = bond == NULL ? 0 : atomic_load_explicit(&bond->bytes[i], memory_order_relaxed);
}

void xv_bond_destroy(uint32_t id)
{
	xv_rcu_defer(free, atomic_exchange(&xv_bonds[id], NULL));
}
