/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <sys/eventfd.h>
#include <sys/mman.h>

#include "virtio/dirty_log.h"

static int file_of(off_t size)
{
	int fd = memfd_create("log", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, size), 0);
	return fd;
}

static void pages_are_marked(void **state)
{
	struct xv_dirty_log *log;
	uint8_t file[8192], expected[8192] = {0};
	int fd = file_of(sizeof(file));

	/* At an offset that is no page boundary: it counts once (CVE-2026-86563). */
	assert_int_equal(xv_dirty_log_create(fd, 64, 4096 + 8, &log, NULL), 0);
	xv_dirty_log_mark(log, 0, 1);
	expected[4104] |= 1;
	xv_dirty_log_mark(log, 3 * 4096 + 4095, 1);
	expected[4104] |= 1 << 3;
	xv_dirty_log_mark(log, 6 * 4096 + 4095, 4098); /* last byte of 6, all of 7, first of 8 */
	expected[4104] |= 1 << 6 | 1 << 7;
	expected[4105] |= 1;
	xv_dirty_log_mark(log, 100 * 4096, 0);
	xv_dirty_log_mark(log, 511 * 4096, 3 * 4096); /* last page of the log and beyond */
	expected[4104 + 63] |= 1 << 7;
	xv_dirty_log_mark(log, 512 * 4096, 1);
	xv_dirty_log_mark(log, UINT64_MAX, 1);
	xv_dirty_log_mark(log, UINT64_MAX - 10, 4096); /* wraps */
	assert_int_equal(pread(fd, file, sizeof(file), 0), (ssize_t)sizeof(file));
	assert_memory_equal(file, expected, sizeof(file));
	xv_dirty_log_destroy(log);
	xv_dirty_log_destroy(NULL);
	(void)close(fd);
}

static void bad_logs_are_refused(void **state)
{
	struct xv_dirty_log *log = NULL;
	int fd = file_of(4096), event = eventfd(0, EFD_CLOEXEC);
	struct xv_err err = {0};

	assert_int_equal(xv_dirty_log_create(fd, 4097, 0, &log, &err), -EINVAL);
	assert_non_null(strstr(err.text, "dirty log"));
	assert_int_equal(xv_dirty_log_create(fd, 0, 0, &log, NULL), -EINVAL);
	assert_int_equal(xv_dirty_log_create(fd, 8, 4089, &log, NULL), -EINVAL);
	/* CVE-2020-10722: the sum wraps */
	assert_int_equal(xv_dirty_log_create(fd, 4096, UINT64_MAX - 4095, &log, NULL), -EINVAL);
	assert_int_equal(xv_dirty_log_create(fd, UINT64_MAX, 4096, &log, NULL), -EINVAL);
	assert_int_equal(xv_dirty_log_create(event, 4096, 0, &log, NULL), -EINVAL);
	assert_int_equal(xv_dirty_log_create(-1, 4096, 0, &log, NULL), -EINVAL);
	assert_null(log);
	(void)close(event);
	(void)close(fd);
}

static void shrinking_log_is_noticed(void **state)
{
	int fd = file_of(4096), event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct xv_dirty_log *log;
	eventfd_t count;

	assert_int_equal(xv_guest_memory_catch_sigbus(event), 0);
	assert_int_equal(xv_dirty_log_create(fd, 4096, 0, &log, NULL), 0);
	assert_int_equal(ftruncate(fd, 0), 0);
	xv_dirty_log_mark(log, 0, 1);
	assert_true(log->broken);
	assert_int_equal(eventfd_read(event, &count), 0);
	xv_dirty_log_destroy(log);
	xv_guest_memory_release_sigbus();
	(void)close(event);
	(void)close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pages_are_marked),
		cmocka_unit_test(bad_logs_are_refused),
		cmocka_unit_test(shrinking_log_is_noticed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
