/* SPDX-License-Identifier: Apache-2.0 */
/* What fuzz targets share. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* What must hold whatever the input; a violation is a finding. */
#define FUZZ_CHECK(condition)                                                                      \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition);  \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct rte_mbuf;
struct rte_mempool;
/* EAL without root, hugepages, devices (fuzz_eal.c). Exits if it cannot. */
void fuzz_eal_init(void);
/* A pool as the daemon's of n mbufs. */
struct rte_mempool *fuzz_pool_create(const char *name, unsigned int n);
/* These bytes, `headroom` bytes into a buffer that ends `room` bytes behind them, so that the sanitizer sees whoever goes further. */
struct rte_mbuf *fuzz_mbuf_exact(struct rte_mempool *pool, const uint8_t *bytes, uint16_t len, uint16_t headroom,
				 uint16_t room);
