/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The clock everybody reads. Tests stop it and warp it, so that ageing and rate limits are tested
 * without waiting. Any thread; warping only while no worker runs.
 *
 * Two scales: cycles (TSC: cheap, for workers) and nanoseconds (CLOCK_MONOTONIC, for control).
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct xv_clock {
	_Atomic bool stopped;
	_Atomic uint64_t cycles;  /* while stopped: what xv_clock_cycles() returns */
	_Atomic uint64_t ns;	  /* while stopped: what xv_clock_ns() returns */
	uint64_t hz;		  /* cycles per second, set by xv_clock_init() */
	uint64_t ms_scale;	  /* milliseconds of a cycle, in 2^-64 */
};
extern struct xv_clock xv_clock;

/* Measure the TSC against CLOCK_MONOTONIC_RAW (some 20 ms) unless hz is given (EAL knows it). */
void xv_clock_init(uint64_t hz);

static inline uint64_t xv_clock_tsc(void)
{
#if defined(__x86_64__)
	return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
	uint64_t t;
	__asm__ volatile("mrs %0, cntvct_el0" : "=r"(t));
	return t;
#else
#error "no cycle counter known for this architecture"
#endif
}

static inline uint64_t xv_clock_cycles(void)
{
	if (__builtin_expect(atomic_load_explicit(&xv_clock.stopped, memory_order_relaxed), 0))
		return atomic_load_explicit(&xv_clock.cycles, memory_order_relaxed);
	return xv_clock_tsc();
}

uint64_t xv_clock_ns(void);

/* Milliseconds on the scale of cycles; 32 bits, which wrap: compare by difference. */
static inline uint32_t xv_clock_ms(uint64_t cycles)
{
	return (uint32_t)((unsigned __int128)cycles * xv_clock.ms_scale >> 64);
}

static inline uint64_t xv_clock_cycles_of_us(uint64_t us)
{
	return us * xv_clock.hz / 1000000;
}

/* Tests: stop both scales at the present, then move them on by hand. */
void xv_clock_stop(void);
void xv_clock_warp_ms(uint64_t ms);
void xv_clock_resume(void);
