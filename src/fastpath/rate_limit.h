/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Token buckets for packets and for bits of one port and direction, shared by all workers that serve
 * the port (atomics, no lock). Debt is allowed within one burst: a bucket that is below zero lets
 * nothing through until it is refilled, so that the average is exact and large frames pass.
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

struct xv_rate_bucket {
	uint64_t per_second; /* packets or bits; 0 = unlimited */
	/* In millionths, so that 10 us of a low rate is not rounded to nothing. */
	int64_t depth; /* the most that is saved up */
	_Atomic int64_t tokens;
};
#define XV_RATE_TOKEN INT64_C(1000000)

struct xv_rate_limit {
	struct xv_rate_bucket packets, bits;
	_Atomic uint64_t refilled; /* cycles of the last refill */
};

/*
 * control. pps, bps: 0 = unlimited. burst_ms: how much may be saved up, as time; at least 64 packets
 * and 128 KiB are always allowed, so that a full burst and a 64 KiB segment fit.
 */
void xv_rate_limit_init(struct xv_rate_limit *limit, uint64_t pps, uint64_t bps, uint32_t burst_ms);
int xv_rate_limit_create(uint64_t pps, uint64_t bps, uint32_t burst_ms, struct xv_rate_limit **limit);
void xv_rate_limit_destroy(struct xv_rate_limit *limit);

/* worker. Up to n packets may pass now (0 = wait); refills by the clock. */
uint16_t xv_rate_limit_allow(struct xv_rate_limit *limit, uint16_t n, uint64_t now_cycles);
/* worker. These packets and bytes did pass (may go into debt). */
void xv_rate_limit_charge(struct xv_rate_limit *limit, uint16_t packets, uint64_t bytes);
/* worker. Cycles until something may pass again; 0 = now. */
uint64_t xv_rate_limit_wait(struct xv_rate_limit *limit, uint64_t now_cycles);
