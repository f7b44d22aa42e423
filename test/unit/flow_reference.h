/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What flows do to a packet, said again, plainly and slowly: the other side of the differential tests. Shares nothing
 * with src/ but struct definitions and connection tracking, whose own tests are elsewhere: each packet goes through
 * xv_conntrack_packet() of a table of its own. Parses by walking headers in a byte array, looks flows up one after the other, makes
 * checksums from all their bytes. One thread.
 *
 * The flow key of a packet under way is authoritative, as in fastpath/action.h: a set changes the key, and the packet
 * where it has the field; the key is read from the bytes again only where net/push_pop.h says so.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "fastpath/action.h"
#include "fastpath/conntrack.h"
#include "net/drop.h"
#include "net/flow_key.h"
#include "net/tunnel.h"

#define REF_ROOM  8192 /* bytes of a packet and before it */
#define REF_FRONT 2048
#define REF_PORTS 16

struct ref_packet {
	uint8_t bytes[REF_ROOM];
	uint32_t start, len;
	bool request; /* a checksum is to be finished; for a test without segmentation requests */
	uint16_t csum_start, csum_offset;
};

struct ref_program;

struct ref_action {
	enum xv_action_type type;
	uint32_t arg;
	struct xv_flow_key *value, *set; /* SET */
	struct xv_encap_params *encap;	 /* TUNNEL_PUSH */
	union {
		struct xv_action_push_vlan vlan;
		struct xv_action_push_mpls mpls;
		struct xv_action_push_eth eth;
		struct xv_action_push_nsh nsh;
		struct xv_action_ct ct;
		struct xv_action_tunnel_pop pop;
	};
	struct ref_program *inner, *other; /* CLONE, SAMPLE: inner; CHECK_LEN: both */
};

#define REF_ACTIONS 12

struct ref_program {
	unsigned int n;
	struct ref_action actions[REF_ACTIONS];
};

struct ref_flow {
	struct xv_flow_key key, mask;
	struct ref_program *program;
	uint64_t packets, bytes;
	uint16_t tcp_flags; /* host order */
	void *user; /* whose it is; the following, too */
	uint64_t gone_packets, gone_bytes;
	uint16_t gone_tcp_flags;
	unsigned int going;
};

struct ref_output {
	uint16_t port;
	uint32_t len;
	uint32_t at; /* in ref_world.bytes */
};

/* Lets so many packets through, and while bits are left; whoever uses it sets both anew when time moves. */
struct ref_meter {
	int64_t packets, bits;
};

#define REF_METERS  4
#define REF_BONDS   2
#define REF_BUCKETS 256
#define REF_FLOWS   256
#define REF_OUTPUTS 16384
#define REF_BYTES   (16u << 20)
#define REF_MISSES  64

struct ref_world {
	struct ref_flow *flows[REF_FLOWS];
	unsigned int n_flows;
	bool port_up[REF_PORTS];
	/* Any function: what it gives says nothing, but must be what the engine takes. */
	uint32_t (*hash)(const struct xv_flow_key *key, uint32_t basis, bool symmetric);
	struct xv_conntrack *ct;
	uint32_t now_ms;
	struct ref_meter meters[REF_METERS];
	uint16_t bonds[REF_BONDS][REF_BUCKETS]; /* ports, by hash */
	uint64_t bond_bytes[REF_BONDS];

	/* Results since they were last cleared. */
	struct ref_output outputs[REF_OUTPUTS];
	unsigned int n_outputs;
	uint32_t n_bytes;
	uint8_t *bytes;
	struct xv_flow_key misses[REF_MISSES]; /* keys that no flow matched */
	unsigned int n_misses;

	/* Since the beginning, by input port. */
	uint64_t packets[REF_PORTS], copies[REF_PORTS], forwarded[REF_PORTS], drops[REF_PORTS][XV_DROP_MAX];
};

/* Everything that happens to one packet. */
void ref_run(struct ref_world *world, uint16_t in_port, const struct ref_packet *packet);
void ref_clear_results(struct ref_world *world);

bool ref_matches(const struct ref_flow *flow, const struct xv_flow_key *key);
/* Whether some packet could match both. */
bool ref_overlaps(const struct xv_flow_key *key, const struct xv_flow_key *mask, const struct ref_flow *flow);

struct ref_program *ref_program_new(void);
void ref_program_free(struct ref_program *program);
/* The next action of a program, zero but for its type. */
struct ref_action *ref_add(struct ref_program *program, enum xv_action_type type, uint32_t arg);

/* One's complement sum of n bytes, as a number in host order. */
uint16_t ref_sum(const uint8_t *bytes, uint32_t n, uint32_t start);
uint32_t ref_crc32c(const uint8_t *bytes, uint32_t n, uint32_t crc);
