/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DPDK's environment, an inner detail: started once with computed arguments, without hugepages where
 * there are none, no EAL option ever asked of the operator. Control thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct rte_mempool;

struct xv_eal_config {
	bool hugepages;	    /* use them if enough are free (else plain memory) */
	uint32_t memory_mb; /* for packets; 0 = computed */
};

/* Start EAL, reserve the packet flag, make the packet pool. -errno and DPDK's own reason in the sentence. */
int xv_eal_init(const struct xv_eal_config *config, struct xv_err *err);
void xv_eal_fini(void);
bool xv_eal_uses_hugepages(void);

/* The pool all ports take packets from. */
struct rte_mempool *xv_packet_pool(void);

/* The first line that DPDK logged at warning level or worse since the last call of this; for error
 * sentences. */
const char *xv_eal_last_complaint(void);
