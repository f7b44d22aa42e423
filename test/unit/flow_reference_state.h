/* SPDX-License-Identifier: Apache-2.0 */
/* The reference's own: a packet under way, and the parts that deal with it. */
#pragma once

#include "flow_reference.h"

#define IPV4 0x0800
#define ARP 0x0806
#define RARP 0x8035
#define IPV6 0x86dd
#define NSH 0x894f

/* Where the headers of the packet are. */
struct where {
	bool l3, l4;
	uint32_t at_mpls, at_l3, at_l4, end;
};

struct under_way {
	struct ref_world *world;
	uint16_t in;
	struct ref_packet p;
	struct xv_flow_key key;
	struct where at;
	unsigned int passes;
	uint32_t trunc;
	struct xv_ct_hit hit;
	bool gone, again;
};

static inline uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static inline void put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline void put32(uint8_t *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, v);
}

/* A number in network order, as the key holds it. */
static inline uint16_t host16(rte_be16_t v)
{
	return get16((const uint8_t *)&v);
}

static inline rte_be16_t net16(uint32_t v)
{
	rte_be16_t be;

	put16((uint8_t *)&be, v);
	return be;
}

static inline uint32_t host32(rte_be32_t v)
{
	const uint8_t *p = (const uint8_t *)&v;

	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static inline rte_be32_t net32(uint32_t v)
{
	rte_be32_t be;

	put32((uint8_t *)&be, v);
	return be;
}

static inline uint16_t fold(uint64_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

static inline uint8_t *data(struct ref_packet *p)
{
	return p->bytes + p->start;
}

static inline bool is_tag(uint32_t type)
{
	return type == 0x8100 || type == 0x88a8;
}

static inline bool is_mpls(uint32_t type)
{
	return type == 0x8847 || type == 0x8848;
}

/* flow_reference_parse.c. Packet fields of key from the bytes; false: not even L2 is sound. */
bool ref_parse(struct ref_packet *p, struct xv_flow_key *key, struct where *w);

/* flow_reference.c */
void ref_drop(struct under_way *k, enum xv_drop reason);
/* Finish the checksum that was asked for; false: it lies outside. */
bool ref_finish(struct ref_packet *p);
/* Cut it to what an earlier action said. */
void ref_truncate(struct under_way *k);

/* flow_reference_edit.c. What one action does. */
void ref_push_vlan(struct under_way *k, const struct xv_action_push_vlan *a);
void ref_pop_vlan(struct under_way *k);
void ref_push_mpls(struct under_way *k, const struct xv_action_push_mpls *a);
void ref_pop_mpls(struct under_way *k, rte_be16_t type);
void ref_push_eth(struct under_way *k, const struct xv_action_push_eth *a);
void ref_pop_eth(struct under_way *k);
void ref_push_nsh(struct under_way *k, const struct xv_action_push_nsh *a);
void ref_pop_nsh(struct under_way *k);
void ref_tunnel_push(struct under_way *k, const struct xv_encap_params *e);
void ref_set(struct under_way *k, const struct xv_flow_key *value, const struct xv_flow_key *mask);

/* flow_reference_tunnel.c */
void ref_tunnel_pop(struct under_way *k, uint32_t port, const struct xv_action_tunnel_pop *pop);
