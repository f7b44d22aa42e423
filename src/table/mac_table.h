/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Learned addresses of one network: (VLAN, MAC) -> port id. Class C: any worker looks up and learns,
 * the control thread ages, lists and flushes.
 *
 * Look-up takes no lock: buckets of one cache line, keys and values are 64-bit atomics; an entry is
 * filled value first, key last, and removed key first; a reader checks the key again after it took the value. Learning a new
 * address or moving one takes the table's spinlock (bounded work, never held across a look-up);
 * refreshing an address that is where it was, and not older than a second, writes nothing.
 * Bounded: `limit` addresses; beyond it new ones are not learned (frames to them are flooded).
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct xv_mac_table;

#define XV_MAC_NONE UINT16_MAX

/* Key of an address: 48 bits of MAC in wire order above 12 bits of VLAN (0 = untagged). Never 0. */
static inline uint64_t xv_mac_key(const uint8_t mac[6], uint16_t vlan)
{
	uint64_t hi = (uint64_t)mac[0] << 40 | (uint64_t)mac[1] << 32 | (uint64_t)mac[2] << 24 |
		      (uint64_t)mac[3] << 16 | (uint64_t)mac[4] << 8 | mac[5];

	return (hi << 16) | (1u << 12) | (vlan & 0xfff);
}

/* control. limit: 1..1M addresses. Plain heap memory. 0 or -errno. */
int xv_mac_table_create(uint32_t limit, struct xv_mac_table **table);
void xv_mac_table_destroy(struct xv_mac_table *table);

/* worker. Port id or XV_MAC_NONE. */
uint16_t xv_mac_table_lookup(const struct xv_mac_table *table, uint64_t key);
/* worker. Look up n keys (n <= XV_BURST) with prefetch, for a whole burst. */
void xv_mac_table_lookup_burst(const struct xv_mac_table *table, const uint64_t *keys, unsigned int n,
			       uint16_t *ports);
/* worker. key was seen on port at now_s (coarse seconds, any epoch). */
void xv_mac_table_learn(struct xv_mac_table *table, uint64_t key, uint16_t port, uint32_t now_s);

/*
 * worker. Changes with every address that moves to another port or is forgotten (not with new ones): an answer that was
 * looked up after reading it holds as long as it stays the same.
 */
uint32_t xv_mac_table_changes(const struct xv_mac_table *table);
/* control. From now on count changes there, with others. */
void xv_mac_table_share_changes(struct xv_mac_table *table, _Atomic uint32_t *changes);

/* control. Forget addresses not seen for age_s; returns how many. */
unsigned int xv_mac_table_age(struct xv_mac_table *table, uint32_t now_s, uint32_t age_s);
/* control. Forget those of one port, or all with XV_MAC_NONE; returns how many. */
unsigned int xv_mac_table_flush(struct xv_mac_table *table, uint16_t port);
/* control. Call fn for each address, in no order. */
void xv_mac_table_walk(const struct xv_mac_table *table,
		       void (*fn)(uint64_t key, uint16_t port, uint32_t seen_s, void *arg), void *arg);
unsigned int xv_mac_table_count(const struct xv_mac_table *table);
/* New addresses refused because the table was full, so far. */
uint64_t xv_mac_table_refused(const struct xv_mac_table *table);
