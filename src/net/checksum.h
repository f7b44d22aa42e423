/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Internet checksum (RFC 1071) and its incremental update (RFC 1624). Pure functions, any
 * thread.
 *
 * Sums are 16-bit one's complement numbers in memory order: what a load from the packet gives and a
 * store to it wants, no byte swaps. A "sum" is not yet complemented, a "checksum" is what the
 * header carries. Sums of consecutive pieces add up when the earlier pieces have even lengths;
 * behind an odd number of bytes a piece's sum is added with its bytes swapped (xv_csum_odd()).
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct rte_mbuf;

/* One's complement sum of two sums. */
static inline uint16_t xv_csum_add(uint16_t a, uint16_t b)
{
	uint32_t sum = (uint32_t)a + b;

	return (uint16_t)(sum + (sum >> 16));
}

/* The sum of a piece as it counts behind an odd number of bytes (RFC 1071, section 2 (B)). */
static inline uint16_t xv_csum_odd(uint16_t sum)
{
	return __builtin_bswap16(sum);
}

/*
 * The checksum for a header: a sum's complement, with 0xffff for 0. Both mean the same to every
 * protocol but UDP, where 0 says "no checksum" (RFC 768). Not for IPv4 headers, where all
 * implementations write plain ~sum.
 */
static inline uint16_t xv_csum_finish(uint16_t sum)
{
	uint16_t csum = (uint16_t)~sum;

	return csum ? csum : 0xffff;
}

/* The checksum after a 16-bit field of its data changed (RFC 1624, equation 3). */
static inline uint16_t xv_csum_update16(uint16_t csum, uint16_t from, uint16_t to)
{
	return (uint16_t)~xv_csum_add(xv_csum_add((uint16_t)~csum, (uint16_t)~from), to);
}

/* The same for an aligned (within the data) 32-bit field. */
static inline uint16_t xv_csum_update32(uint16_t csum, uint32_t from, uint32_t to)
{
	csum = xv_csum_update16(csum, (uint16_t)from, (uint16_t)to);
	return xv_csum_update16(csum, (uint16_t)(from >> 16), (uint16_t)(to >> 16));
}

/* Sum of len bytes. */
uint16_t xv_csum_sum(const void *data, size_t len);

/* Sum of len bytes of a chain from offset on. The caller has checked that the chain has them. */
uint16_t xv_csum_sum_mbuf(const struct rte_mbuf *m, uint32_t offset, uint32_t len);

/*
 * Sum of the pseudo-header (RFC 793, RFC 8200 section 8.1). Addresses: as in the header, 4 or 16
 * bytes each. l4_len: transport header and payload, host order.
 */
uint16_t xv_csum_pseudo4(const void *src, const void *dst, uint8_t proto, uint32_t l4_len);
uint16_t xv_csum_pseudo6(const void *src, const void *dst, uint8_t proto, uint32_t l4_len);
