/* SPDX-License-Identifier: Apache-2.0 */
/* What every unit test includes first: cmocka with its prerequisites, and the helpers of unit.c. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct rte_mbuf;
struct rte_mempool;

/* "0800 45" to bytes; spaces are skipped. Returns how many, fails the test if they exceed max. */
unsigned int unit_hex(const char *hex, uint8_t *bytes, unsigned int max);

/* A repeatable pseudo-random number below n (SplitMix64). */
uint32_t unit_random(uint64_t *state, uint32_t n);

/* EAL without root, hugepages, devices; once a process. For use as a cmocka group setup. */
int unit_eal_init(void **state);
/* A pool as the daemon's (XV_PACKET_PRIV_SIZE and so on) of n mbufs. */
struct rte_mempool *unit_pool_create(const char *name, unsigned int n);
/*
 * A packet with these bytes in a chain of mbufs cut at the given offsets (ascending, 0 ends the
 * list; NULL: as few mbufs as possible).
 */
struct rte_mbuf *unit_packet(struct rte_mempool *pool, const uint8_t *bytes, uint32_t len,
			     const uint16_t *cuts);
