/* SPDX-License-Identifier: Apache-2.0 */
#include "ovs/bonds.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fastpath/bond.h"
#include "ovs/datapath.h"

struct xv_ovs_bond {
	struct xv_ovs_bond *next;
	uint32_t bond, number; /* OVS's, the engine's */
	uint32_t members[XV_OVS_BOND_BUCKETS]; /* numbers of ports */
};

static_assert(XV_OVS_BOND_BUCKETS == XV_BOND_BUCKETS, "buckets");

/* Where the bond is linked, or where one would be. */
static struct xv_ovs_bond **place_of(struct xv_ovs_datapath *dp, uint32_t bond)
{
	struct xv_ovs_bond **p = &dp->bonds;

	while (*p != NULL && (*p)->bond != bond)
		p = &(*p)->next;
	return p;
}

static const struct xv_ovs_bond *find(const struct xv_ovs_datapath *dp, uint32_t bond)
{
	const struct xv_ovs_bond *b = dp->bonds;

	while (b != NULL && b->bond != bond)
		b = b->next;
	return b;
}

static void ids_of(const struct xv_ovs_datapath *dp, const struct xv_ovs_bond *b, uint16_t ids[XV_BOND_BUCKETS])
{
	unsigned int i;

	for (i = 0; i < XV_BOND_BUCKETS; i++) {
		uint32_t id = xv_ovs_port_id(dp, b->members[i]);

		ids[i] = id < XV_MAX_PORTS ? (uint16_t)id : XV_MAX_PORTS;
	}
}

int xv_ovs_bond_set(struct xv_ovs_datapath *dp, const void *items, uint32_t len)
{
	const struct xv_ovs_item *id = xv_ovs_find(items, len, XV_OVS_BOND);
	const struct xv_ovs_item *members = xv_ovs_find(items, len, XV_OVS_MEMBERS);
	uint16_t ids[XV_BOND_BUCKETS];
	struct xv_ovs_bond **place, *b;
	uint32_t bond;
	int rc;

	if (id == NULL || id->len != sizeof(bond) || members == NULL || members->len != sizeof(b->members))
		return -EINVAL;
	memcpy(&bond, xv_ovs_body(id), sizeof(bond));
	place = place_of(dp, bond);
	if (*place != NULL) {
		memcpy((*place)->members, xv_ovs_body(members), members->len);
		ids_of(dp, *place, ids);
		xv_bond_set((*place)->number, ids);
		return 0;
	}
	b = calloc(1, sizeof(*b));
	if (b == NULL)
		return -ENOMEM;
	b->bond = bond;
	memcpy(b->members, xv_ovs_body(members), members->len);
	ids_of(dp, b, ids);
	rc = xv_bond_create(ids, &b->number);
	if (rc < 0)
		free(b);
	else
		*place = b;
	return rc;
}

static void destroy(struct xv_ovs_bond **place)
{
	struct xv_ovs_bond *b = *place;

	*place = b->next;
	xv_bond_destroy(b->number);
	free(b);
}

int xv_ovs_bond_del(struct xv_ovs_datapath *dp, const void *items, uint32_t len)
{
	struct xv_ovs_bond **place = place_of(dp, xv_ovs_u32(items, len, XV_OVS_BOND, 0));

	if (*place == NULL)
		return -ENOENT;
	destroy(place);
	return 0;
}

int xv_ovs_bond_stats(const struct xv_ovs_datapath *dp, const void *items, uint32_t len, struct xv_ovs_message *m)
{
	const struct xv_ovs_bond *b = find(dp, xv_ovs_u32(items, len, XV_OVS_BOND, 0));
	uint64_t bytes[XV_BOND_BUCKETS];

	if (b == NULL)
		return -ENOENT;
	xv_bond_get_bytes(b->number, bytes);
	xv_ovs_put(m, XV_OVS_SENT, bytes, sizeof(bytes));
	return 0;
}

bool xv_ovs_bond_number(const struct xv_ovs_datapath *dp, uint32_t bond, uint32_t *number)
{
	const struct xv_ovs_bond *b = find(dp, bond);

	if (b != NULL)
		*number = b->number;
	return b != NULL;
}

void xv_ovs_bonds_ports_changed(const struct xv_ovs_datapath *dp)
{
	uint16_t ids[XV_BOND_BUCKETS];
	const struct xv_ovs_bond *b;

	for (b = dp->bonds; b != NULL; b = b->next) {
		ids_of(dp, b, ids);
		xv_bond_set(b->number, ids);
	}
}

void xv_ovs_bonds_destroy(struct xv_ovs_datapath *dp)
{
	while (dp->bonds != NULL)
		destroy(&dp->bonds);
}
