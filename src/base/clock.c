/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

#include <time.h>

#define NS_PER_S     UINT64_C(1000000000)
#define CALIBRATE_NS (20 * 1000 * 1000)

struct xv_clock xv_clock;

static uint64_t now_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

void xv_clock_init(uint64_t hz)
{
	struct timespec pause = {.tv_nsec = CALIBRATE_NS};
	uint64_t cycles, ns;

	if (hz == 0) {
		ns = now_ns(CLOCK_MONOTONIC_RAW);
		cycles = xv_clock_tsc();
		nanosleep(&pause, NULL); /* a signal only makes the measurement shorter */
		cycles = xv_clock_tsc() - cycles;
		ns = now_ns(CLOCK_MONOTONIC_RAW) - ns;
		hz = (uint64_t)((double)cycles * NS_PER_S / (double)(ns ? ns : 1));
	}
	xv_clock.hz = hz;
	xv_clock.ms_scale = UINT64_MAX / hz * 1000;
}

uint64_t xv_clock_ns(void)
{
	if (atomic_load_explicit(&xv_clock.stopped, memory_order_relaxed))
		return atomic_load_explicit(&xv_clock.ns, memory_order_relaxed);
	return now_ns(CLOCK_MONOTONIC);
}

void xv_clock_stop(void)
{
	atomic_store(&xv_clock.cycles, xv_clock_tsc());
	atomic_store(&xv_clock.ns, now_ns(CLOCK_MONOTONIC));
	atomic_store(&xv_clock.stopped, true);
}

void xv_clock_warp_ms(uint64_t ms)
{
	atomic_fetch_add(&xv_clock.cycles, xv_clock.hz * ms / 1000);
	atomic_fetch_add(&xv_clock.ns, ms * 1000000);
}

void xv_clock_resume(void)
{
	atomic_store(&xv_clock.stopped, false);
}
