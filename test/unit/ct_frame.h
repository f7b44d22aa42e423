/* SPDX-License-Identifier: Apache-2.0 */
/* Frames for the tests of connection tracking, and their way through a ct action. No mempool, no EAL. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <rte_mbuf.h>

#include "fastpath/conntrack.h"

#define CT_FIN 0x01
#define CT_SYN 0x02
#define CT_RST 0x04
#define CT_ACK 0x10

#define CT_FRAME_MAX 256

struct ct_frame {
	bool ipv6;
	uint8_t proto;
	uint32_t src, dst; /* host order; IPv6: the last four bytes of fd00:: */
	uint16_t sport, dport;
	/* TCP */
	uint8_t flags;
	uint32_t seq, ack;
	uint16_t win; /* 0: 8,000 */
	/* ICMP: type, code, identifier. With `inner` an error about that packet */
	uint8_t type, code;
	uint16_t id;
	const struct ct_frame *inner;
	uint16_t payload; /* bytes, zero */
};

/* A packet, and what is known of it. */
struct ct_packet {
	struct rte_mbuf m;
	uint8_t bytes[CT_FRAME_MAX];
	struct xv_flow_key key;
	struct xv_flow_layout layout;
	struct xv_ct_hit hit;
};

/* The packet that answers: ends exchanged, ICMP queries become answers. */
struct ct_frame ct_frame_reply(const struct ct_frame *f);
void ct_packet_make(struct ct_packet *p, const struct ct_frame *f, uint32_t in_port);
struct xv_ct_tuple ct_frame_tuple(const struct ct_frame *f, uint16_t zone);
/* One packet through one action: its ct_state; or -errno. */
int ct_send(struct xv_conntrack *ct, const struct ct_frame *f, uint16_t zone, uint8_t flags, uint32_t now_ms);
