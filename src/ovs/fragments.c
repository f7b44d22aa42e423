/* SPDX-License-Identifier: Apache-2.0 */
#include "ovs/fragments.h"

#include <errno.h>

#include "fastpath/fragments.h"
#include "fastpath/worker_state.h"

/* OVS's bounds of what can be set. */
#define MIN_BYTES_LEAST 400
#define MAX_MOST 5000

int xv_ovs_fragments_set(const void *items, uint32_t len, struct xv_ovs_message *m)
{
	uint32_t max = xv_ovs_u32(items, len, XV_OVS_LIMIT, UINT32_MAX), on = xv_ovs_u32(items, len, XV_OVS_ON, UINT32_MAX);
	uint32_t min_bytes = xv_ovs_u32(items, len, XV_OVS_BYTES, UINT32_MAX);
	bool ipv6 = xv_ovs_find(items, len, XV_OVS_IPV6) != NULL;

	if (min_bytes < MIN_BYTES_LEAST || (max != UINT32_MAX && max > MAX_MOST))
		return -ERANGE;
	if (max != UINT32_MAX)
		atomic_store(&xv_fragment_rules.max, max);
	if (on != UINT32_MAX)
		atomic_store(&xv_fragment_rules.enabled[ipv6], on != 0);
	if (min_bytes != UINT32_MAX)
		atomic_store(&xv_fragment_rules.min_bytes[ipv6], min_bytes);
	return 0;
}

int xv_ovs_fragments_get(const void *items, uint32_t len, struct xv_ovs_message *m)
{
	struct xv_ovs_fragments_status s = {.waiting = atomic_load(&xv_fragments_waiting),
					    .max = atomic_load(&xv_fragment_rules.max)};
	unsigned int i;

	for (i = 0; i < 2; i++) {
		_Atomic uint64_t *counts = xv_fragment_counts[i];

		s.ip[i].enabled = atomic_load(&xv_fragment_rules.enabled[i]);
		s.ip[i].min_bytes = atomic_load(&xv_fragment_rules.min_bytes[i]);
		s.ip[i].accepted = atomic_load(&counts[XV_FRAGMENT_ACCEPTED]);
		s.ip[i].completed = atomic_load(&counts[XV_FRAGMENT_COMPLETED]);
		s.ip[i].expired = atomic_load(&counts[XV_FRAGMENT_EXPIRED]);
		s.ip[i].too_small = atomic_load(&counts[XV_FRAGMENT_TOO_SMALL]);
		s.ip[i].overlapped = atomic_load(&counts[XV_FRAGMENT_OVERLAPPED]);
		s.ip[i].purged = atomic_load(&counts[XV_FRAGMENT_PURGED]);
	}
	xv_ovs_put(m, XV_OVS_FRAGMENTS_STATUS, &s, sizeof(s));
	return 0;
}

static void put_datagram(struct xv_ovs_message *m, const struct xv_fragments_info *info)
{
	struct xv_ovs_fragments out = {
		.recirc_id = info->recirc_id,
		.ip_id = info->ipv6 ? rte_be_to_cpu_32(info->ip_id) : rte_be_to_cpu_16((rte_be16_t)info->ip_id),
		.zone = info->zone,
		.n = info->n,
		.proto = info->proto,
		.ipv6 = info->ipv6,
		.first = info->first,
		.last = info->last,
	};

	memcpy(out.src, info->ipv6 ? info->src.bytes : info->src.bytes + 12, info->ipv6 ? 16 : 4);
	memcpy(out.dst, info->ipv6 ? info->dst.bytes : info->dst.bytes + 12, info->ipv6 ? 16 : 4);
	xv_ovs_put(m, XV_OVS_FRAGMENTS, &out, sizeof(out));
}

int xv_ovs_fragments_dump(const void *items, uint32_t len, struct xv_ovs_message *m)
{
	static struct xv_fragments_info infos[XV_FRAGMENTS_DATAGRAMS];
	unsigned int id, i, n;

	for (id = 0; id < XV_MAX_WORKERS; id++) {
		struct xv_worker *w = xv_worker_by_id(id);

		n = w != NULL ? xv_fragments_list(w->fragments, infos, XV_FRAGMENTS_DATAGRAMS) : 0;
		for (i = 0; i < n; i++)
			put_datagram(m, &infos[i]);
	}
	return 0;
}
