/* SPDX-License-Identifier: Apache-2.0 */
#include "net/checksum.h"

#include <string.h>

#include <rte_byteorder.h>
#include <rte_mbuf.h>

static inline uint64_t load32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static inline uint16_t fold(uint64_t sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

/* 32-bit words into 64-bit sums cannot overflow below 16 GiB, and compilers make vectors of it. */
uint16_t xv_csum_sum(const void *data, size_t len)
{
	const uint8_t *p = data;
	uint64_t sum = 0;
	uint16_t half;
	size_t i, n;

	n = len / 4;
	for (i = 0; i < n; i++)
		sum += load32(p + 4 * i);
	p += 4 * n;
	if (len & 2) {
		memcpy(&half, p, sizeof(half));
		sum += half;
		p += 2;
	}
	if (len & 1) {
		half = 0;
		memcpy(&half, p, 1); /* the missing last byte counts as zero, in memory order */
		sum += half;
	}
	return fold(sum);
}

uint16_t xv_csum_sum_mbuf(const struct rte_mbuf *m, uint32_t offset, uint32_t len)
{
	uint32_t done = 0, n;
	uint16_t sum = 0, part;

	while (offset >= m->data_len && m->next) {
		offset -= m->data_len;
		m = m->next;
	}
	for (; m && done < len; m = m->next, offset = 0) {
		n = RTE_MIN(m->data_len - offset, len - done);
		part = xv_csum_sum(rte_pktmbuf_mtod_offset(m, const uint8_t *, offset), n);
		sum = xv_csum_add(sum, done & 1 ? xv_csum_odd(part) : part);
		done += n;
	}
	return sum;
}

static uint16_t pseudo(uint64_t sum, uint8_t proto, uint32_t l4_len)
{
	return fold(sum + rte_cpu_to_be_16(proto) + rte_cpu_to_be_32(l4_len));
}

uint16_t xv_csum_pseudo4(const void *src, const void *dst, uint8_t proto, uint32_t l4_len)
{
	return pseudo(load32(src) + load32(dst), proto, l4_len);
}

uint16_t xv_csum_pseudo6(const void *src, const void *dst, uint8_t proto, uint32_t l4_len)
{
	const uint8_t *s = src, *d = dst;
	uint64_t sum = 0;
	unsigned int i;

	for (i = 0; i < 16; i += 4)
		sum += load32(s + i) + load32(d + i);
	return pseudo(sum, proto, l4_len);
}
