/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entries for the first packets of connections: see fused.h. The set is that of the packet's input port and MAC addresses; those that
 * it has differ in what flows looked at beyond them. Few flows are enough for all connections, if their masks are wide; where
 * they are not, entries that were used lately stay, and the others' packets go the long way as before.
 */
#include <string.h>

#include "base/clock.h"
#include "fastpath/flow.h"
#include "fastpath/fused_state.h"
#include "fastpath/worker_state.h"
#include "net/bytes.h"

#define REST_TICKS (1u << 14) /* 2 s at 2 GHz: another one may take its place */

static inline struct xv_fused_first *set_of(const struct xv_fused *fused, const struct xv_fused_place *place,
					    const uint8_t *data, bool opens)
{
	/* Both addresses, and where the packet came in, as what. */
	uint64_t rest = (xv_load64(data + 8) & UINT32_MAX) | (uint64_t)place->where << 32;
	uint64_t hash = mix(xv_load64(data) ^ fused->secret[0], rest ^ fused->secret[1] ^ opens);

	return &fused->firsts[(uint32_t)(hash >> 32) % FIRST_SETS * FIRST_WAYS];
}

static inline bool is_valid(const struct xv_fused_first *f)
{
	return atomic_load_explicit(&f->entry.trail->valid, memory_order_acquire);
}

static inline bool matches(const struct xv_fused_first *f, const uint8_t *data)
{
	uint64_t differ = 0;
	unsigned int i;

	for (i = 0; i < XV_FUSED_BYTES; i += 8)
		differ |= (xv_load64(data + i) & xv_load64(f->mask + i)) ^ xv_load64(f->entry.value + i);
	return differ == 0;
}

static inline bool is_for(const struct xv_fused_first *f, const struct xv_fused_place *place, bool opens)
{
	return f->entry.where == place->where && (f->commit != NULL) == opens;
}

/* Addresses of the network have moved or gone since it was made. */
static inline bool is_stale(const struct xv_fused_first *f, uint32_t changes)
{
	return (f->entry.flags & XV_FUSED_CHANGES) != 0 && f->entry.changes != changes;
}

struct xv_fused_first *xv_fused_first_lookup(const struct xv_fused *fused, const struct xv_fused_place *place,
					     const uint8_t *data, bool opens, uint16_t zone, uint32_t changes)
{
	struct xv_fused_first *f = set_of(fused, place, data, opens);
	unsigned int i;

	for (i = 0; i < FIRST_WAYS; i++, f++)
		if (is_for(f, place, opens) && matches(f, data) && f->zone == zone && !is_stale(f, changes) && is_valid(f))
			return f;
	return NULL;
}

void xv_fused_first_taken(struct xv_fused *fused)
{
	count(&fused->stats.first_hits, 1);
	count(&fused->stats.hits, 1);
	count(&fused->stats.misses, (uint64_t)-1);
}

/* ---- Making them ---- */

/* The one whose place a new entry may take, or NULL. */
static struct xv_fused_first *room(const struct xv_fused *fused, const struct xv_fused_place *place, const uint8_t *first,
				   bool opens, uint32_t changes)
{
	struct xv_fused_first *f = set_of(fused, place, first, opens);
	uint32_t now = (uint32_t)(xv_clock_cycles() >> XV_FLOW_TICK_SHIFT);
	unsigned int i;

	for (i = 0; i < FIRST_WAYS; i++, f++) {
		const struct xv_fused_entry *e = &f->entry;

		if (e->where == 0 || !is_valid(f) || is_stale(f, changes) || now - e->used > REST_TICKS)
			return f;
	}
	return NULL;
}

bool xv_fused_first_fits(const struct xv_fused *fused, const struct xv_fused_place *place,
			 const uint8_t first[XV_FUSED_BYTES], bool opens, uint16_t zone, uint32_t changes)
{
	return (place->where & (SHAPE_ICMP | SHAPE_GRE | SHAPE_MPLS)) == 0 && place->where >> 8 < CONTEXT_FIRST &&
	       xv_fused_first_lookup(fused, place, first, opens, zone, changes) == NULL &&
	       room(fused, place, first, opens, changes) != NULL;
}

static void add(uint8_t *to, const void *from, unsigned int n)
{
	const uint8_t *bytes = from;
	unsigned int i;

	for (i = 0; i < n; i++)
		to[i] |= bytes[i];
}

bool xv_fused_first_guard(const struct xv_fused_place *place, bool opens, const struct xv_flow_key *flow_mask,
			  uint8_t mask[XV_FUSED_BYTES])
{
	const bool ipv6 = (place->where & SHAPE_IPV6) != 0;
	const unsigned int l3 = place->l3, l4 = place->l4, len = ipv6 ? 16 : 4, skip = 16 - len;
	uint8_t *src = mask + l3 + (ipv6 ? 8 : 12), *dst = src + len, *ports = mask + l4;

	/* It comes from addresses and ports, which are not compared as a whole. */
	if (flow_mask->dp_hash != 0)
		return false;
	add(src, flow_mask->ip_src.bytes + skip, len);
	add(dst, flow_mask->ip_dst.bytes + skip, len);
	add(ports, &flow_mask->tp_src, 2);
	add(ports + 2, &flow_mask->tp_dst, 2);
	/* What opened the connection: this packet, or one the other way round. Mark and labels are 0, state and zone as they were. */
	add(opens ? src : dst, flow_mask->ct_src.bytes + skip, len);
	add(opens ? dst : src, flow_mask->ct_dst.bytes + skip, len);
	add(opens ? ports : ports + 2, &flow_mask->ct_tp_src, 2);
	add(opens ? ports + 2 : ports, &flow_mask->ct_tp_dst, 2);
	if (flow_mask->ip_tos != 0)
		memset(mask + l3, 0xff, 2);
	if (flow_mask->ip_ttl != 0)
		mask[l3 + (ipv6 ? 7 : 8)] = 0xff;
	if (flow_mask->ipv6_label != 0 && ipv6)
		memset(mask + l3 + 1, 0xff, 3);
	if (flow_mask->tcp_flags != 0 && (place->where & SHAPE_TCP) != 0) {
		if (l4 + 14 > XV_FUSED_BYTES)
			return false;
		memset(mask + l4 + 12, 0xff, 2);
	}
	/* What shape and bridge look at. */
	memset(mask, 0xff, l3);
	mask[l3] |= 0xf0;
	mask[l3 + (ipv6 ? 6 : 9)] = 0xff;
	return true;
}

static void first_free(struct xv_fused *fused, struct xv_fused_first *f)
{
	struct xv_trail *trail = f->entry.trail;

	xv_fused_credit(fused, &f->entry);
	xv_fused_count_entry(fused, trail, -1);
	f->entry.where = 0;
	trail->entries--;
	xv_trail_put(fused, trail);
	count(&fused->stats.firsts, (uint64_t)-1);
}

bool xv_fused_first_insert(struct xv_fused *fused, const struct xv_fused_place *place, const uint8_t first[XV_FUSED_BYTES],
			   const uint8_t mask[XV_FUSED_BYTES], const struct xv_fused_step *steps, unsigned int n,
			   const struct xv_fused_end *end, const struct xv_action_ct *commit, uint16_t zone)
{
	struct xv_fused_first *f = room(fused, place, first, commit != NULL, end->changes);
	struct xv_trail *trail;
	unsigned int i;

	if (f == NULL)
		return false;
	if (f->entry.where != 0)
		first_free(fused, f);
	trail = xv_trail_get(fused, steps, n, end);
	if (trail == NULL)
		return false;
	trail->entries++;
	xv_fused_count_entry(fused, trail, 1);
	f->entry = (struct xv_fused_entry){
		.where = place->where,
		.out_port = end->out_port,
		.flags = (uint16_t)(end->flags | ((place->where & SHAPE_TCP) != 0 ? XV_FUSED_TCP : 0)),
		.trail = trail,
		.used = (uint32_t)(xv_clock_cycles() >> XV_FLOW_TICK_SHIFT),
		.changes = end->changes,
	};
	for (i = 0; i < XV_FUSED_BYTES; i++)
		f->entry.value[i] = first[i] & mask[i];
	memcpy(f->mask, mask, XV_FUSED_BYTES);
	f->commit = commit;
	f->zone = zone;
	count(&fused->stats.firsts, 1);
	return true;
}

static bool is_empty(const struct xv_fused *fused)
{
	return atomic_load_explicit(&fused->stats.firsts, memory_order_relaxed) == 0;
}

unsigned int xv_fused_first_sweep(struct xv_fused *fused, unsigned int n)
{
	if (is_empty(fused))
		fused->first_at = FIRST_SETS;
	for (; n > 0 && fused->first_at < FIRST_SETS; n--, fused->first_at++) {
		struct xv_fused_first *f = &fused->firsts[fused->first_at * FIRST_WAYS], *end = f + FIRST_WAYS;

		for (; f < end; f++) {
			if (f->entry.where == 0)
				continue;
			if (is_valid(f))
				xv_fused_credit(fused, &f->entry);
			else
				first_free(fused, f);
		}
	}
	return n;
}

void xv_fused_first_flush(struct xv_fused *fused)
{
	unsigned int i;

	for (i = 0; i < FIRST_SETS * FIRST_WAYS && !is_empty(fused); i++)
		if (fused->firsts[i].entry.where != 0)
			first_free(fused, &fused->firsts[i]);
}
