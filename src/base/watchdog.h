/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interrupts the calling thread four times a second (a POSIX timer's signal with an empty handler), so that no
 * system call can block it for ever: it returns EINTR. For threads that write to descriptors which hostile
 * processes share. A thread that is well never notices.
 */
#pragma once

#include <time.h>

/* On the thread concerned. 0 or -errno. */
int xv_watchdog_start(timer_t *timer);
void xv_watchdog_stop(timer_t timer);
