/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers out of packets, wherever they lie: no alignment is asked for, the caller knows that the bytes are there. */
#pragma once

#include <stdint.h>
#include <string.h>

#include <rte_byteorder.h>

/* As they lie in memory: values of rte_be types. */
static inline uint16_t xv_load16(const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static inline uint32_t xv_load32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static inline uint64_t xv_load64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

/* Network order to host order. */
static inline uint16_t xv_load_be16(const uint8_t *p)
{
	return rte_be_to_cpu_16(xv_load16(p));
}

static inline uint32_t xv_load_be32(const uint8_t *p)
{
	return rte_be_to_cpu_32(xv_load32(p));
}
