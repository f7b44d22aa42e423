/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tell systemd how the daemon is doing, sd_notify(3) without libsystemd. Control thread.
 */
#pragma once

/* "READY=1\nSTATUS=..." as in sd_notify(3); nothing happens when nobody asked (NOTIFY_SOCKET). */
void xv_notify(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
