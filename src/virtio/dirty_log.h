/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dirty log of a migrating guest (vhost-user: VHOST_USER_SET_LOG_BASE, VHOST_F_LOG_ALL): one
 * bit per 4 KiB page of guest physical memory, shared with the front end, which clears bits
 * concurrently. Control thread maps and frees (rings stopped); workers mark after they wrote guest
 * memory.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "virtio/guest_memory.h"

#define XV_DIRTY_PAGE_SHIFT 12

struct xv_dirty_log {
	_Atomic uint8_t *bits;
	uint64_t size_bytes;
	struct xv_file_map file;
	_Atomic bool broken; /* the file shrank */
};

/* control. fd not consumed. size/offset as in the message; checked against the file. 0 or -errno.
 */
int xv_dirty_log_create(int fd, uint64_t size, uint64_t offset, struct xv_dirty_log **log,
			struct xv_err *err);
/* control, no worker left. Accepts NULL. */
void xv_dirty_log_destroy(struct xv_dirty_log *log);

/* worker. [gpa, gpa + len) was written. Pages beyond the log are ignored: the front end sized it.
 */
static inline void xv_dirty_log_mark(struct xv_dirty_log *log, uint64_t gpa, uint64_t len)
{
	uint64_t page, last;

	if (len == 0)
		return;
	last = (gpa + len - 1) >> XV_DIRTY_PAGE_SHIFT;
	for (page = gpa >> XV_DIRTY_PAGE_SHIFT; page <= last && page / 8 < log->size_bytes; page++)
		atomic_fetch_or_explicit(&log->bits[page / 8], (uint8_t)(1u << (page % 8)),
					 memory_order_release);
}
