/* SPDX-License-Identifier: Apache-2.0 */
/* The cache of fused flows. Look-up first, then what makes and unmakes entries. */
#include "fastpath/fused.h"

#include <string.h>

#include <rte_byteorder.h>

#include "base/clock.h"
#include "fastpath/flow.h"
#include "fastpath/fused_state.h"
#include "fastpath/worker_state.h"
#include "net/bytes.h"

bool xv_fused_use_avx512;
unsigned int xv_fused_entries = XV_FUSED_ENTRIES;

static inline uint64_t number(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

/* ---- Shapes ---- */

/* A checksum that is to be finished is that of the transport header. Anything else that a guest may ask for is not said by the
 * bytes that are compared, and a rewrite could not follow it. */
static inline bool request_is_plain(struct rte_mbuf *m, uint32_t l4, uint32_t shape)
{
	const struct xv_offload *request = xv_packet_offload(m);
	uint32_t offset = (shape & SHAPE_TCP) ? 16 : (shape & SHAPE_ICMP) ? 2 : (shape & SHAPE_GRE) ? UINT32_MAX : 6;

	return (request->flags & XV_OFFLOAD_CSUM) == 0 ||
	       (request->csum_start == l4 && request->csum_offset == offset);
}

/* The type of what is behind the labels at *l3, and its place; 0: not known. */
static __rte_noinline uint16_t behind_labels(const uint8_t *data, uint32_t len, uint32_t *l3)
{
	unsigned int n;

	for (n = 0; n < XV_FLOW_MAX_MPLS && *l3 + MPLS_LEN + IPV4_LEN + 8 <= len; n++) {
		bool bottom = data[*l3 + 2] & 1;

		*l3 += MPLS_LEN;
		if (bottom)
			return data[*l3] >> 4 == 4   ? RTE_BE16(0x0800)
			       : data[*l3] >> 4 == 6 ? RTE_BE16(0x86dd)
						     : 0;
	}
	return 0;
}

/* What is behind the Ethernet header and its tags, at l3. Inline, so that for most packets the compiler knows type and l3. */
static inline __attribute__((always_inline)) void shape_of_ip(const struct xv_fused *fused, struct rte_mbuf *m,
							      const uint8_t *data, uint16_t type, uint32_t l3,
							      uint64_t rest, uint32_t shape, uint32_t in_port,
							      struct xv_fused_place *place)
{
	const uint8_t *ip = data + l3;
	uint32_t len = m->data_len, l4, end, need;
	uint64_t addresses;
	uint8_t proto;

	if (type == RTE_BE16(0x0800)) {
		l4 = l3 + IPV4_LEN;
		if (unlikely(ip[0] != 0x45 || (xv_load16(ip + 6) & RTE_BE16(0x3fff)) != 0))
			return;
		end = l3 + xv_load_be16(ip + 2);
		proto = ip[9];
		addresses = xv_load64(ip + 12);
	} else if (type == RTE_BE16(0x86dd)) {
		l4 = l3 + IPV6_LEN;
		if (unlikely(len < l4 + 8))
			return;
		end = l4 + xv_load_be16(ip + 4);
		proto = ip[6];
		addresses = mix(xv_load64(ip + 8) ^ fused->secret[1], xv_load64(ip + 16) ^ fused->secret[0]) ^
			    mix(xv_load64(ip + 24) ^ fused->secret[0], xv_load64(ip + 32) ^ fused->secret[1]);
		shape |= SHAPE_IPV6;
	} else {
		return;
	}
	need = l4 + 8;
	if (proto == 6) {
		need = l4 + 20;
		shape |= SHAPE_TCP;
	} else if (likely(proto == 17)) {
		/* SHAPE_ANY alone */
	} else if (proto == ((shape & SHAPE_IPV6) ? 58 : 1)) {
		shape |= SHAPE_ICMP;
	} else if (proto == 47) {
		shape |= SHAPE_GRE;
	} else {
		return;
	}
	if (unlikely((shape & SHAPE_MPLS) != 0 && l4 + 4 > XV_FUSED_BYTES))
		return;
	if (unlikely(len < need || end < need || end > m->pkt_len))
		return;
	if (proto == 6) {
		uint32_t l4_len = (data[l4 + 12] >> 4) * 4u;

		if (unlikely(l4_len < 20 || l4 + l4_len > end || l4 + l4_len > len))
			return;
	}
	if (unlikely((m->ol_flags & XV_PACKET_OFFLOAD) != 0 && !request_is_plain(m, l4, shape)))
		return;
	rest |= (uint64_t)xv_load32(data + l4) << 32;
	/* The upper half is the tag of a way, which is never 0. */
	place->hash = mix(addresses ^ fused->secret[0], rest ^ fused->secret[1] ^ shape) | UINT64_C(1) << 63;
	place->where = in_port << 8 | shape;
	place->l3 = (uint16_t)l3;
	place->l4 = (uint16_t)l4;
}

/* All that is not IPv4 behind an untagged Ethernet header. */
static __rte_noinline void shape_of_other(const struct xv_fused *fused, uint32_t in_port, struct rte_mbuf *m,
					  struct xv_fused_place *place)
{
	const uint8_t *data = rte_pktmbuf_mtod(m, const uint8_t *);
	uint32_t l3 = ETH_LEN, shape = SHAPE_ANY;
	uint64_t rest = in_port;
	uint16_t type = xv_load16(data + 12);

	if (type == RTE_BE16(0x8100)) {
		type = xv_load16(data + 16);
		rest |= (uint64_t)xv_load16(data + 14) << 16;
		l3 = ETH_LEN + VLAN_LEN;
		shape |= SHAPE_VLAN;
	}
	if (type == RTE_BE16(0x8847) || type == RTE_BE16(0x8848)) {
		type = behind_labels(data, m->data_len, &l3);
		shape |= SHAPE_MPLS;
	}
	shape_of_ip(fused, m, data, type, l3, rest, shape, in_port, place);
}

static inline void shape_of(const struct xv_fused *fused, uint32_t in_port, struct rte_mbuf *m,
			    struct xv_fused_place *place)
{
	const uint8_t *data = rte_pktmbuf_mtod(m, const uint8_t *);

	place->where = 0;
	if (unlikely(m->data_len < ETH_LEN + IPV4_LEN + 8 || m->buf_len - m->data_off < XV_FUSED_BYTES))
		return;
	if (likely(xv_load16(data + 12) == RTE_BE16(0x0800)))
		shape_of_ip(fused, m, data, RTE_BE16(0x0800), ETH_LEN, in_port, SHAPE_ANY, in_port, place);
	else
		shape_of_other(fused, in_port, m, place);
}

/* Bits of the bytes [from, from + n). */
static inline uint64_t byte_bits(unsigned int from, unsigned int n)
{
	return (n >= 64 ? UINT64_MAX : (UINT64_C(1) << n) - 1) << from;
}

/* Bytes of the canonical key: addresses, tag, type, protocol, ports. The rest of what makes the shape is in `where`. */
static uint64_t base_bits(const struct xv_fused_place *place)
{
	uint64_t bits = byte_bits(0, place->l3);

	bits |= (place->where & SHAPE_IPV6) ? byte_bits(place->l3 + 6u, 1) | byte_bits(place->l3 + 8u, 32)
					    : byte_bits(place->l3 + 9u, 1) | byte_bits(place->l3 + 12u, 8);
	return bits | byte_bits(place->l4, 4);
}

bool xv_fused_guard(const struct xv_fused_place *place, const uint64_t *mask_words, uint64_t *bits)
{
	const struct xv_flow_key *mask = (const struct xv_flow_key *)(const void *)mask_words;
	bool ipv6 = (place->where & SHAPE_IPV6) != 0;
	unsigned int l3 = place->l3, l4 = place->l4, i;
	uint64_t any = 0;

	*bits |= base_bits(place);
	/* It is not part of the context. */
	if (place->where >> 8 >= CONTEXT_FIRST && mask->tun_tp_src != 0)
		return false;
	/* Metadata, tunnel: 0 or what actions made of them, the same for all packets of the input port or context; dp_hash comes from
	 * the 5-tuple, and so from the base. What connection tracking says is the same as long as the connection's
	 * generation is. */
	if (mask->ip_tos != 0)
		*bits |= ipv6 ? byte_bits(l3, 2) : byte_bits(l3 + 1, 1);
	if (mask->ip_ttl != 0)
		*bits |= ipv6 ? byte_bits(l3 + 7, 1) : byte_bits(l3 + 8, 1);
	if (mask->ipv6_label != 0 && ipv6)
		*bits |= byte_bits(l3 + 1, 3);
	if (mask->tcp_flags != 0 && (place->where & SHAPE_TCP) != 0) {
		if (l4 + 14 > XV_FUSED_BYTES)
			return false;
		*bits |= byte_bits(l4 + 12, 2);
	}
	/* Neighbour discovery has fields that are not compared. ICMPv6 type is in the base. */
	if ((place->where & SHAPE_ICMP) != 0 && ipv6) {
		for (i = XV_FLOW_STAGE_L4 + 1; i < XV_FLOW_FIXED_WORDS; i++)
			any |= mask_words[i];
		any |= mask_words[XV_FLOW_STAGE_L4] >> 48; /* arp_sha begins in this word */
		if (any != 0)
			return false;
	}
	return true;
}

/* ---- Look-up ---- */

static inline struct set *set_of(const struct xv_fused *fused, uint64_t hash)
{
	uint32_t i = (uint32_t)(hash >> 32) & fused->mask_hi;

	/* Those that are not there yet are the lower half's. No branch: it would be as random as the hash. */
	i -= (fused->mask_lo + 1) & -(uint32_t)(i >= fused->n_sets);
	return &fused->sets[i];
}

/* Bytes of 0xff where an 8-bit mask has bits. */
static inline uint64_t spread(uint8_t bits)
{
	uint64_t v = (bits * UINT64_C(0x0101010101010101)) & UINT64_C(0x8040201008040201);

	return ((((v + UINT64_C(0x7f7f7f7f7f7f7f7f)) | v) & UINT64_C(0x8080808080808080)) >> 7) * 0xff;
}

static inline bool entry_matches_plain(const struct xv_fused_entry *e, const uint8_t *data)
{
	uint64_t differ = 0;
	unsigned int i;

	for (i = 0; i < XV_FUSED_BYTES / 8; i++)
		differ |= (xv_load64(data + 8 * i) ^ xv_load64(e->value + 8 * i)) & spread((uint8_t)(e->mask >> 8 * i));
	return differ == 0;
}

static inline bool entry_is_usable(const struct xv_fused_entry *e, uint32_t where)
{
	return e->where == where && atomic_load_explicit(&e->trail->valid, memory_order_acquire);
}

static inline unsigned int ways_plain(const struct set *set, uint64_t hash)
{
	unsigned int i, found = 0;

	for (i = 0; i < WAYS; i++)
		found |= (unsigned int)(((set->ways[i] ^ hash) >> 32) == 0) << i;
	return found;
}

static inline struct xv_fused_entry *entry_of(const struct xv_fused *fused, uint64_t way)
{
	return &fused->entries[(uint32_t)way - 1];
}

/* A second look for entries that are for some lengths only. How many were found. */
static __rte_noinline uint16_t lookup_guarded(const struct xv_fused *fused, struct rte_mbuf *const *pkts, uint16_t n,
					      struct xv_fused_entry **entries, const struct xv_fused_place *places)
{
	uint16_t i, hits = 0;

	for (i = 0; i < n; i++) {
		const struct set *set = set_of(fused, places[i].hash);
		unsigned int ways;

		if (entries[i] != NULL || places[i].where == 0)
			continue;
		for (ways = ways_plain(set, places[i].hash); ways != 0 && entries[i] == NULL; ways &= ways - 1) {
			struct xv_fused_entry *e = entry_of(fused, set->ways[__builtin_ctz(ways)]);
			const struct guard *guard = &fused->guards[e - fused->entries];

			if (entry_is_usable(e, places[i].where | SHAPE_GUARDED) && pkts[i]->pkt_len >= guard->len_min &&
			    pkts[i]->pkt_len <= guard->len_max &&
			    entry_matches_plain(e, rte_pktmbuf_mtod(pkts[i], const uint8_t *))) {
				entries[i] = e;
				hits++;
			}
		}
	}
	return hits;
}

/*
 * Three passes, so that what one packet needs from memory arrives while others are looked at: shape and set; ways and
 * entries; compare.
 */
#define LOOKUP_BURST(name, ways_with_tag, matches)                                                                             \
	static void name(struct xv_fused *fused, uint32_t in_port, struct rte_mbuf *const *pkts, uint16_t n,    \
			 struct xv_fused_entry **entries, struct xv_fused_place *places)                        \
	{                                                                                                       \
		const struct set *sets[XV_BURST];                                                               \
		uint8_t found[XV_BURST];                                                                        \
		uint16_t i, hits = 0;                                                                           \
                                                                                                                \
		for (i = 0; i < n; i++) {                                                                       \
			shape_of(fused, in_port, pkts[i], &places[i]);                                          \
			sets[i] = set_of(fused, places[i].hash);                                                \
			rte_prefetch0(sets[i]);                                                                 \
		}                                                                                               \
		for (i = 0; i < n; i++) {                                                                       \
			unsigned int ways = places[i].where == 0 ? 0 : ways_with_tag(sets[i], places[i].hash);   \
                                                                                                                \
			entries[i] = NULL;                                                                      \
			if (likely(ways != 0)) {                                                                \
				entries[i] = entry_of(fused, sets[i]->ways[__builtin_ctz(ways)]);               \
				rte_prefetch0(entries[i]->value);                                               \
				rte_prefetch0(&entries[i]->mask);                                               \
			}                                                                                       \
			found[i] = (uint8_t)(ways & (ways - 1));                                                \
		}                                                                                               \
		for (i = 0; i < n; i++) {                                                                       \
			const uint8_t *data = rte_pktmbuf_mtod(pkts[i], const uint8_t *);                       \
			struct xv_fused_entry *e = entries[i];                                                  \
			unsigned int others = found[i];                                                         \
                                                                                                                \
			if (unlikely(e == NULL))                                                                \
				continue;                                                                       \
			while (unlikely(!entry_is_usable(e, places[i].where) || !matches(e, data))) {           \
				e = others == 0 ? NULL : entry_of(fused, sets[i]->ways[__builtin_ctz(others)]); \
				if (e == NULL)                                                                  \
					break;                                                                  \
				others &= others - 1;                                                           \
			}                                                                                       \
			entries[i] = e;                                                                         \
			if (unlikely(e == NULL))                                                                \
				continue;                                                                       \
			if (e->conn != NULL)                                                                    \
				rte_prefetch0(e->conn);                                                         \
			hits++;                                                                                 \
		}                                                                                               \
		if (unlikely(hits < n && fused->n_guarded > 0))                                                 \
			hits = (uint16_t)(hits + lookup_guarded(fused, pkts, n, entries, places));               \
		count(&fused->stats.hits, hits);                                                                \
		count(&fused->stats.misses, (uint64_t)(n - hits));                                              \
	}

LOOKUP_BURST(lookup_plain, ways_plain, entry_matches_plain)

#if defined(__x86_64__)
#include <immintrin.h>

static inline __attribute__((target("avx512f,avx512bw"))) bool entry_matches_avx512(const struct xv_fused_entry *e,
										     const uint8_t *data)
{
	return _mm512_mask_cmpneq_epi8_mask(e->mask, _mm512_loadu_si512(data), _mm512_load_si512(e->value)) == 0;
}
static inline __attribute__((target("avx512f,avx512bw"))) unsigned int ways_avx512(const struct set *set, uint64_t hash)
{
	return _mm512_cmpeq_epi64_mask(_mm512_srli_epi64(_mm512_load_si512(set), 32), _mm512_set1_epi64((int64_t)(hash >> 32)));
}
__attribute__((target("avx512f,avx512bw"))) LOOKUP_BURST(lookup_avx512, ways_avx512, entry_matches_avx512)
#endif

void xv_fused_lookup_burst(struct xv_fused *fused, uint32_t in_port, struct rte_mbuf *const *pkts, uint16_t n,
			   struct xv_fused_entry **entries, struct xv_fused_place *places)
{
#if defined(__x86_64__)
	if (likely(xv_fused_use_avx512)) {
		lookup_avx512(fused, in_port, pkts, n, entries, places);
		return;
	}
#endif
	lookup_plain(fused, in_port, pkts, n, entries, places);
}

bool xv_fused_tracks(const struct xv_fused_place *place)
{
	return (place->where & (SHAPE_MPLS | SHAPE_GRE)) == 0;
}

bool xv_fused_is_type(const struct xv_fused_place *place, rte_be16_t eth_type)
{
	return eth_type == ((place->where & SHAPE_IPV6) ? RTE_BE16(0x86dd) : RTE_BE16(0x0800));
}

void xv_fused_place(const struct xv_fused *fused, uint32_t in_port, struct rte_mbuf *m, struct xv_fused_place *place)
{
	shape_of(fused, in_port, m, place);
}

/* ---- Entries ---- */

void xv_fused_credit(struct xv_fused *fused, struct xv_fused_entry *e)
{
	const struct xv_trail *trail = e->trail;
	struct xv_ct_hit hits[XV_FUSED_CT_MAX];
	uint64_t now, used;
	unsigned int i, n;

	if (e->packets == 0)
		return;
	now = xv_clock_cycles() >> XV_FLOW_TICK_SHIFT;
	used = now - (uint32_t)((uint32_t)now - e->used);
	for (i = 0; i < trail->n; i++) {
		struct xv_flow_count *c = &fused->counts[trail->flows[i]->slot];

		count(&c->packets, e->packets);
		count(&c->bytes, e->bytes + (uint64_t)((int64_t)trail->grown[i] * e->packets));
		if (used > atomic_load_explicit(&c->used, memory_order_relaxed))
			atomic_store_explicit(&c->used, used, memory_order_relaxed);
		if ((trail->tcp >> i & 1) != 0)
			xv_flow_saw_tcp(c, e->tcp_flags);
	}
	n = xv_fused_hits(fused, e, hits);
	for (i = 0; i < n; i++)
		xv_conntrack_credit(xv_flow_conntrack, &hits[i], e->packets, e->bytes - (uint64_t)e->packets * xv_fused_l2_len(e));
	e->packets = 0;
	e->bytes = 0;
	e->tcp_flags = 0;
}

void xv_fused_count_entry(struct xv_fused *fused, const struct xv_trail *trail, int n)
{
	unsigned int i;

	for (i = 0; i < trail->n; i++) {
		_Atomic uint32_t *fused_now = &fused->counts[trail->flows[i]->slot].fused;

		atomic_store_explicit(fused_now, atomic_load_explicit(fused_now, memory_order_relaxed) + (uint32_t)n,
				      memory_order_relaxed);
	}
}

static void entry_free(struct xv_fused *fused, uint64_t *way)
{
	struct xv_fused_entry *e = entry_of(fused, *way);

	xv_fused_credit(fused, e);
	xv_fused_count_entry(fused, e->trail, -1);
	fused->n_guarded -= (e->where & SHAPE_GUARDED) != 0;
	if ((e->flags & XV_FUSED_PROGRAM) != 0)
		xv_fused_program_free(fused, fused->programs[e - fused->entries]);
	e->where = 0;
	e->trail->entries--;
	xv_trail_put(fused, e->trail);
	fused->free_entries[fused->n_free++] = (uint32_t)*way - 1;
	*way = 0;
	count(&fused->stats.entries, (uint64_t)-1);
}

/* An entry of packets that are compared in the same bytes. */
static inline bool is_like(const struct xv_fused_entry *e, const struct xv_fused_place *place, uint64_t bits)
{
	return (e->where & ~(uint32_t)SHAPE_GUARDED) == place->where && e->mask == bits;
}

/* It is for lengths that a new one is for. */
static inline bool is_as_long(const struct xv_fused *fused, const struct xv_fused_entry *e, const struct xv_fused_end *end)
{
	const struct guard *guard = &fused->guards[e - fused->entries];

	return (e->where & SHAPE_GUARDED) == 0 || (guard->len_min <= end->len_max && end->len_min <= guard->len_max);
}

/* The way that a new entry takes: the same packet's, a free one, one on a dead trail, or the one that was used least lately. */
static uint64_t *way_for(struct xv_fused *fused, const struct xv_fused_place *place, const uint8_t *value,
			 uint64_t bits, const struct xv_fused_end *end)
{
	struct set *set = set_of(fused, place->hash);
	uint32_t now = (uint32_t)(xv_clock_cycles() >> XV_FLOW_TICK_SHIFT);
	uint64_t *best = NULL;
	uint64_t best_age = 0;
	unsigned int i;

	for (i = 0; i < WAYS; i++) {
		const struct xv_fused_entry *e;
		uint64_t age;

		if (set->ways[i] == 0) {
			age = UINT64_MAX - 1;
		} else {
			e = entry_of(fused, set->ways[i]);
			age = (uint32_t)(now - e->used);
			if (!atomic_load_explicit(&e->trail->valid, memory_order_relaxed))
				age = UINT64_MAX - 2;
			if (is_like(e, place, bits) && memcmp(e->value, value, XV_FUSED_BYTES) == 0 &&
			    is_as_long(fused, e, end))
				return &set->ways[i];
		}
		if (best == NULL || age > best_age) {
			best = &set->ways[i];
			best_age = age;
		}
	}
	return best;
}

#define ROOM_SETS 16 /* that are looked at for an entry to throw out */

/* One set more: it gets those of another one's entries whose hash says so. */
static void grow(struct xv_fused *fused)
{
	struct set *from = &fused->sets[fused->n_sets & fused->mask_lo], *to = &fused->sets[fused->n_sets];
	unsigned int i;

	if (fused->n_sets == fused->max_sets)
		return;
	for (i = 0; i < WAYS; i++) {
		if (from->ways[i] != 0 && ((uint32_t)(from->ways[i] >> 32) & fused->mask_hi) == fused->n_sets) {
			to->ways[i] = from->ways[i];
			from->ways[i] = 0;
		}
	}
	if (++fused->n_sets > fused->mask_hi) {
		fused->mask_lo = fused->mask_hi;
		fused->mask_hi = 2 * fused->mask_hi + 1;
	}
}

/* All entries are in use: of those in the next few sets the one that was used least lately goes, or one on a dead
 * trail. Else connections that are long over would keep new ones out. */
static void make_room(struct xv_fused *fused)
{
	uint32_t now = (uint32_t)(xv_clock_cycles() >> XV_FLOW_TICK_SHIFT), age, best_age = 0;
	uint64_t *best = NULL;
	unsigned int i, n;

	for (n = 0; n < ROOM_SETS; n++) {
		struct set *set = &fused->sets[fused->room_at++ % fused->n_sets];

		for (i = 0; i < WAYS; i++) {
			const struct xv_fused_entry *e;

			if (set->ways[i] == 0)
				continue;
			e = entry_of(fused, set->ways[i]);
			age = now - e->used;
			if (!atomic_load_explicit(&e->trail->valid, memory_order_relaxed))
				age = UINT32_MAX;
			if (best == NULL || age > best_age) {
				best = &set->ways[i];
				best_age = age;
			}
		}
	}
	if (best != NULL) {
		entry_free(fused, best);
		count(&fused->stats.evicted, 1);
	}
}

static bool is_full(const struct xv_fused *fused)
{
	return fused->n_free == 0 && fused->entries_fresh == fused->n_entries;
}

/* Connections whose state the packets of e advance. */
static void set_hits(struct xv_fused *fused, struct xv_fused_entry *e, uint32_t number,
		     const struct xv_fused_end *end)
{
	if (end->n_hits == 0)
		return;
	e->flags |= XV_FUSED_CT | (end->hits[0].dir == XV_CT_REPLY ? XV_FUSED_CT_REPLY : 0);
	e->conn = end->hits[0].conn;
	e->conn_generation = end->hits[0].generation;
	if (end->n_hits == 1)
		return;
	e->flags |= XV_FUSED_CT_MORE;
	fused->mores[number].n = (uint8_t)(end->n_hits - 1);
	memcpy(fused->mores[number].hits, &end->hits[1], (end->n_hits - 1u) * sizeof(end->hits[0]));
}

unsigned int xv_fused_hits(const struct xv_fused *fused, const struct xv_fused_entry *e,
			   struct xv_ct_hit hits[XV_FUSED_CT_MAX])
{
	const struct more *more;

	if ((e->flags & XV_FUSED_CT) == 0)
		return 0;
	hits[0] = (struct xv_ct_hit){
		.conn = e->conn,
		.generation = e->conn_generation,
		.dir = (e->flags & XV_FUSED_CT_REPLY) != 0 ? XV_CT_REPLY : XV_CT_ORIGINAL,
	};
	if ((e->flags & XV_FUSED_CT_MORE) == 0)
		return 1;
	more = &fused->mores[e - fused->entries];
	memcpy(&hits[1], more->hits, more->n * sizeof(hits[0]));
	return 1u + more->n;
}

#define GROW_CROWDED 64 /* sets at a time: the crowded one's turn to be split may be far off */

/* Is it an entry that is good for other packets? */
static bool is_crowded_out(const struct xv_fused *fused, uint64_t way, const struct xv_fused_place *place, uint64_t bits)
{
	const struct xv_fused_entry *e = entry_of(fused, way);

	return atomic_load_explicit(&e->trail->valid, memory_order_relaxed) &&
	       ((way ^ place->hash) >> 32 != 0 || !is_like(e, place, bits));
}

struct xv_fused_entry *xv_fused_insert(struct xv_fused *fused, const struct xv_fused_place *place,
				       const uint8_t first[XV_FUSED_BYTES], uint64_t bits,
				       const struct xv_fused_step *steps, unsigned int n,
				       const struct xv_fused_end *end)
{
	uint8_t value[XV_FUSED_BYTES];
	struct xv_fused_entry *e;
	struct xv_trail *trail;
	uint32_t program = 0;
	uint64_t *way;
	unsigned int i;

	if (n == 0 || n > XV_TRAIL_MAX)
		return NULL;
	for (i = 0; i < XV_FUSED_BYTES; i++)
		value[i] = (bits >> i & 1) != 0 ? first[i] : 0;
	if (SETS_OF(number(&fused->stats.entries)) > fused->n_sets)
		grow(fused);
	way = way_for(fused, place, value, bits, end);
	if (*way != 0 && is_crowded_out(fused, *way, place, bits)) {
		for (i = 0; i < GROW_CROWDED; i++)
			grow(fused);
		way = way_for(fused, place, value, bits, end);
	}
	if (*way != 0) {
		entry_free(fused, way);
		count(&fused->stats.evicted, 1);
	}
	if (is_full(fused))
		make_room(fused);
	if (is_full(fused))
		return NULL;
	if (end->n_ops > 0) {
		program = xv_fused_program_make(fused, end->ops, end->n_ops);
		if (program == 0)
			return NULL;
	}
	trail = xv_trail_get(fused, steps, n, end);
	if (trail == NULL) {
		xv_fused_program_free(fused, program);
		return NULL;
	}
	trail->entries++;
	xv_fused_count_entry(fused, trail, 1);
	i = fused->n_free > 0 ? fused->free_entries[--fused->n_free] : fused->entries_fresh++;
	e = &fused->entries[i];
	memcpy(e->value, value, sizeof(value));
	e->mask = bits;
	e->where = place->where;
	e->out_port = end->out_port;
	e->flags = (uint16_t)(end->flags | ((place->where & SHAPE_TCP) != 0 ? XV_FUSED_TCP : 0) |
			      (end->encap != NULL ? XV_FUSED_ENCAP : 0));
	e->trail = trail;
	e->entropy = end->entropy;
	e->conn = NULL;
	e->conn_generation = 0;
	e->bytes = 0;
	e->packets = 0;
	e->used = (uint32_t)(xv_clock_cycles() >> XV_FLOW_TICK_SHIFT);
	e->learned_s = 0;
	e->tcp_flags = 0;
	e->changes = end->changes;
	set_hits(fused, e, i, end);
	if (end->len_min > 0 || end->len_max < UINT32_MAX) {
		e->where |= SHAPE_GUARDED;
		fused->n_guarded++;
		fused->guards[i] = (struct guard){end->len_min, end->len_max};
	}
	if (program != 0) {
		e->flags |= XV_FUSED_PROGRAM;
		fused->programs[i] = program;
	}
	if (end->edit != NULL) {
		e->flags |= XV_FUSED_EDIT;
		fused->edits[i] = *end->edit;
	}
	*way = (place->hash & ~(uint64_t)UINT32_MAX) | (i + 1);
	count(&fused->stats.entries, 1);
	count(&fused->stats.inserted, 1);
	return e;
}

#define SWEEP_AHEAD 4	     /* sets */
#define REST_TICKS (1u << 14) /* 2 s at 2 GHz */

/* Its trail is dead, or it has rested for so long that it is worth looking whether its connection is gone. */
static bool is_over(const struct xv_fused_entry *e, uint32_t now)
{
	struct xv_ct_hit hit = {.conn = e->conn, .generation = e->conn_generation};

	if (!atomic_load_explicit(&e->trail->valid, memory_order_acquire))
		return true;
	return (e->flags & XV_FUSED_CT) != 0 && now - e->used > REST_TICKS && !xv_conntrack_is_alive(&hit);
}

bool xv_fused_sweep(struct xv_fused *fused, unsigned int n)
{
	uint32_t now = (uint32_t)(xv_clock_cycles() >> XV_FLOW_TICK_SHIFT);
	unsigned int i;

	n = xv_fused_first_sweep(fused, n);
	for (; n > 0 && fused->sweep_at < fused->n_sets; n--, fused->sweep_at++) {
		struct set *set = &fused->sets[fused->sweep_at];

		if (fused->sweep_at + SWEEP_AHEAD < fused->n_sets)
			for (i = 0; i < WAYS; i++)
				if (set[SWEEP_AHEAD].ways[i] != 0)
					rte_prefetch0(&entry_of(fused, set[SWEEP_AHEAD].ways[i])->mask);
		for (i = 0; i < WAYS; i++) {
			if (set->ways[i] == 0)
				continue;
			if (is_over(entry_of(fused, set->ways[i]), now))
				entry_free(fused, &set->ways[i]);
			else
				xv_fused_credit(fused, entry_of(fused, set->ways[i]));
		}
	}
	if (fused->sweep_at < fused->n_sets || fused->first_at < FIRST_SETS)
		return false;
	fused->sweep_at = fused->first_at = 0;
	xv_fused_contexts_renew(fused);
	return true;
}

void xv_fused_flush(struct xv_fused *fused)
{
	uint32_t s;
	unsigned int i;

	xv_fused_first_flush(fused);
	for (s = 0; s < fused->n_sets; s++)
		for (i = 0; i < WAYS; i++)
			if (fused->sets[s].ways[i] != 0)
				entry_free(fused, &fused->sets[s].ways[i]);
}

bool xv_fused_is_empty(const struct xv_fused *fused)
{
	return number(&fused->stats.entries) == 0 && number(&fused->stats.firsts) == 0;
}

void xv_fused_missed(struct xv_fused *fused)
{
	count(&fused->stats.hits, (uint64_t)-1);
	count(&fused->stats.misses, 1);
}

uint64_t xv_fused_evicted(const struct xv_fused *fused)
{
	return number(&fused->stats.evicted);
}

uint64_t xv_fused_inserted(const struct xv_fused *fused)
{
	return number(&fused->stats.inserted);
}

void xv_fused_get_stats(const struct xv_fused *fused, struct xv_fused_stats *stats)
{
	*stats = (struct xv_fused_stats){
		.hits = number(&fused->stats.hits),
		.misses = number(&fused->stats.misses),
		.inserted = number(&fused->stats.inserted),
		.evicted = number(&fused->stats.evicted),
		.programs = number(&fused->stats.programs),
		.first_hits = number(&fused->stats.first_hits),
		.entries = (uint32_t)number(&fused->stats.entries),
		.trails = (uint32_t)number(&fused->stats.trails),
	};
}
