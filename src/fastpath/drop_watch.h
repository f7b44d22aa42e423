/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looking at dropped packets while they are dropped: as long as somebody watches, each worker writes down the first
 * bytes of what it drops. Bounded: a ring per worker; what finds it full is counted, not written down. When nobody
 * watches, a drop costs one load more.
 *
 * What is counted as dropped without being a packet of ours is not seen: frames that a device refused for their header,
 * and copies for which there was no buffer.
 */
#pragma once

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "net/drop.h"

#define XV_DROP_WATCH_BYTES 64
#define XV_DROP_WATCH_ROOM 1024 /* records of one worker */
#define XV_DROP_WATCH_ALL ((UINT64_C(1) << XV_DROP_MAX) - 1)

static_assert(XV_DROP_MAX < 64, "a bit per reason");

struct xv_drop_record {
	uint64_t cycles;	/* start of the worker's round */
	uint32_t packet_bytes;
	uint16_t port;		/* input port */
	uint8_t reason;		/* enum xv_drop */
	uint8_t n;		/* bytes that follow */
	uint8_t bytes[XV_DROP_WATCH_BYTES];
};

/* One writer, the worker; one reader, the control thread. Positions only go up. */
struct xv_drop_ring {
	_Alignas(64) _Atomic uint32_t written;
	_Atomic uint64_t missed;
	_Alignas(64) _Atomic uint32_t read;
	struct xv_drop_record records[XV_DROP_WATCH_ROOM];
};

/* Bit per reason that somebody wants to see; 0 = nobody watches. */
extern _Atomic uint64_t xv_drop_watched;

/* control. From now on write down drops with these reasons (bit per enum xv_drop); 0 = nothing. */
void xv_drop_watch(uint64_t reasons);
/* control. Take what workers have written down, worker by worker; returns how many records were missed since the last
 * call. */
uint64_t xv_drop_watch_take(void (*fn)(const struct xv_drop_record *record, void *arg), void *arg);
