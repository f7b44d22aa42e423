/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Write numbers into headers and keep count of what that means to a checksum over them (RFC 1624, section 3). For the
 * files that edit packets; all that is written lies within the first segment, and at an even distance from where the
 * checksummed data begins.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <rte_mbuf.h>

#include "net/bytes.h"
#include "net/checksum.h"
#include "net/packet.h"

/* Sum of what left and what came: ~old + new, in words of 16 or 32 bits. */
typedef uint64_t xv_delta_t;

static inline void xv_store16(uint8_t *p, uint16_t v)
{
	memcpy(p, &v, sizeof(v));
}

static inline void xv_store32(uint8_t *p, uint32_t v)
{
	memcpy(p, &v, sizeof(v));
}

static inline uint16_t xv_delta_fold(xv_delta_t delta)
{
	delta = (delta & 0xffffffff) + (delta >> 32);
	delta = (delta & 0xffff) + (delta >> 16);
	delta = (delta & 0xffff) + (delta >> 16);
	delta = (delta & 0xffff) + (delta >> 16);
	return (uint16_t)delta;
}

static inline xv_delta_t xv_delta16(uint16_t from, uint16_t to)
{
	return (xv_delta_t)(uint16_t)~from + to;
}

static inline xv_delta_t xv_replace16(uint8_t *p, uint16_t v)
{
	xv_delta_t delta = xv_delta16(xv_load16(p), v);

	xv_store16(p, v);
	return delta;
}

static inline xv_delta_t xv_replace32(uint8_t *p, uint32_t v)
{
	xv_delta_t delta = (xv_delta_t)(uint32_t)~xv_load32(p) + v;

	xv_store32(p, v);
	return delta;
}

/* words: four, in network order. */
static inline xv_delta_t xv_replace_ipv6(uint8_t *p, const uint32_t *words)
{
	xv_delta_t delta = 0;
	unsigned int i;

	for (i = 0; i < 4; i++)
		delta += xv_replace32(p + 4 * i, words[i]);
	return delta;
}

/* The checksum after its data changed by delta. */
static inline uint16_t xv_csum_apply(uint16_t csum, xv_delta_t delta)
{
	return (uint16_t)~xv_csum_add((uint16_t)~csum, xv_delta_fold(delta));
}

/* The checksum field at csum_offset of the header at l4 holds the pseudo-header's sum, and somebody will finish it. */
static inline bool xv_csum_is_pending(struct rte_mbuf *m, uint32_t l4, uint32_t csum_offset)
{
	const struct xv_offload *req = xv_packet_offload(m);

	return (m->ol_flags & XV_PACKET_OFFLOAD) != 0 && (req->flags & XV_OFFLOAD_CSUM) != 0 && req->csum_start == l4 &&
	       req->csum_offset == csum_offset;
}

/*
 * Update the checksum in the transport header at l4 of m. pseudo: how the pseudo-header changed; body: the rest.
 * zero_is_none: UDP, where 0 says that there is no checksum (RFC 768).
 */
static inline void xv_csum_update_l4(struct rte_mbuf *m, uint32_t l4, uint32_t csum_offset, xv_delta_t pseudo,
				     xv_delta_t body, bool zero_is_none)
{
	uint8_t *field = rte_pktmbuf_mtod_offset(m, uint8_t *, l4 + csum_offset);
	uint16_t csum = xv_load16(field);

	if (xv_csum_is_pending(m, l4, csum_offset)) {
		csum = xv_csum_add(csum, xv_delta_fold(pseudo));
	} else if (pseudo + body == 0 || (zero_is_none && csum == 0)) {
		return;
	} else {
		csum = xv_csum_apply(csum, pseudo + body);
		if (zero_is_none && csum == 0)
			csum = 0xffff;
	}
	xv_store16(field, csum);
}
