/* SPDX-License-Identifier: Apache-2.0 */
#include "base/watchdog.h"

#include <errno.h>
#include <signal.h>
#include <unistd.h>

#define PERIOD_MS 250

static void interrupt(int signal)
{
	(void)signal; /* that a call was interrupted is all */
}

int xv_watchdog_start(timer_t *timer)
{
	struct sigaction action = {.sa_handler = interrupt}; /* no SA_RESTART */
	struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGRTMIN};
	const struct itimerspec period = {
		.it_interval = {.tv_nsec = PERIOD_MS * 1000000L},
		.it_value = {.tv_nsec = PERIOD_MS * 1000000L},
	};

	event._sigev_un._tid = gettid(); /* glibc 2.36 has no name for it */
	if (sigaction(SIGRTMIN, &action, NULL) != 0 ||
	    timer_create(CLOCK_MONOTONIC, &event, timer) != 0)
		return -errno;
	if (timer_settime(*timer, 0, &period, NULL) != 0) {
		int rc = -errno;

		(void)timer_delete(*timer);
		return rc;
	}
	return 0;
}

void xv_watchdog_stop(timer_t timer)
{
	(void)timer_delete(timer);
}
