/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Write to an eventfd that a front end gave us (call, kick, error). Any thread.
 *
 * The file behind it is shared with the front end, which can take O_NONBLOCK off it again at any time
 * and fill the counter: a plain write could then block for ever. So we ask first, and whoever writes
 * runs under a watchdog (base/watchdog.h) that interrupts what blocks in the moment between.
 */
#pragma once

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>

/* 0 = written, or full, in which case a signal is pending already; -EINTR = it blocked, the front end is hostile. */
static inline int xv_signal_fd(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLOUT};

	if (poll(&p, 1, 0) <= 0 || (p.revents & POLLOUT) == 0)
		return 0;
	return eventfd_write(fd, 1) != 0 && errno == EINTR ? -EINTR : 0;
}
