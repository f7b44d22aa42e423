/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "virtio/guest_memory.h"

#define MB  (UINT64_C(1) << 20)
#define UVA UINT64_C(0x7f0000000000)

static int sigbus_fd;

/* In each test: cmocka puts its own handler in place before. */
static void catch_sigbus(void)
{
	assert_int_equal(xv_guest_memory_catch_sigbus(sigbus_fd), 0);
}

static int file_of(uint64_t size)
{
	int fd = memfd_create("guest", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	return fd;
}

static struct xv_guest_memory *table(void)
{
	struct xv_guest_memory *mem;

	assert_int_equal(xv_guest_memory_create(&mem), 0);
	return mem;
}

static int add(struct xv_guest_memory *mem, uint64_t gpa, uint64_t size, int fd, uint64_t offset)
{
	struct xv_err err = {0};
	int rc = xv_guest_memory_add(mem, gpa, size, UVA + gpa, fd, offset, &err);

	assert_int_equal(rc != 0, err.text[0] != '\0');
	return rc;
}

static void addresses_are_found(void **state)
{
	struct xv_guest_memory *mem = table();
	int fd = file_of(4 * MB);
	uint8_t *low, *high;
	uint64_t gpa;

	/* Not in order of address; the second starts in the middle of a page of the file. */
	assert_int_equal(add(mem, 16 * MB, MB, fd, 2 * MB), 0);
	assert_int_equal(add(mem, 0, MB, fd, 512), 0);
	assert_int_equal(add(mem, MB, MB, fd, MB + 512), 0); /* adjacent */
	assert_int_equal(mem->n, 3);

	low = xv_guest_memory_at(mem, 0, MB);
	high = xv_guest_memory_at(mem, 16 * MB, MB);
	assert_non_null(low);
	assert_non_null(high);
	low[0] = 1;
	high[MB - 1] = 2;
	assert_int_equal(pwrite(fd, "\7", 1, 2 * MB), 1);
	assert_int_equal(high[0], 7);
	assert_int_equal(pread(fd, &gpa, 1, 512), 1);
	assert_int_equal((uint8_t)gpa, 1);
	assert_int_equal(pread(fd, &gpa, 1, 3 * MB - 1), 1);
	assert_int_equal((uint8_t)gpa, 2);

	assert_ptr_equal(xv_guest_memory_at(mem, 100, 1), low + 100);
	assert_ptr_equal(xv_guest_memory_at(mem, MB - 1, 1), low + MB - 1);
	assert_null(xv_guest_memory_at(mem, MB - 1, 2)); /* across two regions */
	assert_null(xv_guest_memory_at(mem, 0, MB + 1));
	assert_null(xv_guest_memory_at(mem, 0, UINT64_MAX));
	assert_null(xv_guest_memory_at(mem, 2 * MB, 1)); /* the hole */
	assert_null(xv_guest_memory_at(mem, 17 * MB, 1));
	assert_null(xv_guest_memory_at(mem, UINT64_MAX, 1));
	assert_null(xv_guest_memory_at(mem, UINT64_MAX, UINT64_MAX));
	assert_ptr_equal(xv_guest_memory_lookup(mem, 17 * MB - 1), &mem->regions[2]);

	assert_ptr_equal(xv_guest_memory_at_uva(mem, UVA + 16 * MB + 5, 10, &gpa), high + 5);
	assert_int_equal(gpa, 16 * MB + 5);
	assert_null(xv_guest_memory_at_uva(mem, UVA + 17 * MB - 5, 10, &gpa));
	assert_null(xv_guest_memory_at_uva(mem, 16 * MB, 10, &gpa));
	assert_null(xv_guest_memory_at_uva(mem, UVA - 1, 10, &gpa));

	assert_int_equal(xv_guest_memory_del(mem, 0, MB, UVA + 1), -ENOENT);
	assert_int_equal(xv_guest_memory_del(mem, 0, MB - 1, UVA), -ENOENT);
	assert_int_equal(xv_guest_memory_del(mem, 0, MB, UVA), 0);
	assert_null(xv_guest_memory_at(mem, 0, 1));
	assert_ptr_equal(xv_guest_memory_at(mem, 16 * MB, 1), high);
	assert_int_equal(add(mem, 0, MB, fd, 0), 0);
	xv_guest_memory_destroy(mem);
	xv_guest_memory_destroy(NULL);
	(void)close(fd);
}

static void bad_regions_are_refused(void **state)
{
	struct xv_guest_memory *mem = table();
	int fd = file_of(4 * MB), readonly, pipes[2];
	unsigned int i;
	char path[64];

	assert_int_equal(add(mem, 8 * MB, MB, fd, 0), 0);
	assert_int_equal(add(mem, 0, 0, fd, 0), -EINVAL);
	assert_int_equal(add(mem, UINT64_MAX - MB + 1, MB, fd, 0), -EINVAL);
	assert_int_equal(add(mem, UINT64_MAX - 10, 4096, fd, 0), -EINVAL);
	/* CVE-2026-86561: larger than the file */
	assert_int_equal(add(mem, 0, 4 * MB + 1, fd, 0), -EINVAL);
	assert_int_equal(add(mem, 0, MB, fd, 3 * MB + 1), -EINVAL);
	assert_int_equal(add(mem, 0, MB, fd, 5 * MB), -EINVAL);
	assert_int_equal(add(mem, 0, MB, fd, UINT64_MAX - MB / 2), -EINVAL);
	assert_int_equal(add(mem, 0, UINT64_C(1) << 63, fd, MB), -EINVAL);
	/* overlaps */
	assert_int_equal(add(mem, 8 * MB, MB, fd, 0), -EINVAL);
	assert_int_equal(add(mem, 7 * MB, MB + 1, fd, 0), -EINVAL);
	assert_int_equal(add(mem, 9 * MB - 1, MB, fd, 0), -EINVAL);
	assert_int_equal(add(mem, 8 * MB + 4096, 4096, fd, 0), -EINVAL);
	assert_int_equal(add(mem, 7 * MB, 3 * MB, fd, 0), -EINVAL);
	/* not files */
	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	assert_int_equal(add(mem, 0, MB, pipes[0], 0), -EINVAL);
	assert_int_equal(add(mem, 0, MB, -1, 0), -EINVAL);
	(void)close(pipes[0]);
	(void)close(pipes[1]);
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	readonly = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(readonly >= 0);
	assert_int_equal(add(mem, 0, MB, readonly, 0), -EACCES);
	(void)close(readonly);
	/* too many */
	for (i = 1; i < XV_MAX_REGIONS; i++)
		assert_int_equal(add(mem, (16 + i) * MB, 4096, fd, 0), 0);
	assert_int_equal(add(mem, 0, 4096, fd, 0), -EINVAL);
	assert_int_equal(mem->n, XV_MAX_REGIONS);
	for (i = 1; i < XV_MAX_REGIONS; i++)
		assert_non_null(xv_guest_memory_at(mem, (16 + i) * MB, 4096));
	xv_guest_memory_destroy(mem);
	(void)close(fd);
}

static void shrinking_file_breaks_its_table_only(void **state)
{
	struct xv_guest_memory *mem = table(), *other = table();
	int fd = file_of(2 * MB), other_fd = file_of(MB);
	volatile uint8_t *a, *b;
	eventfd_t count;

	catch_sigbus();
	assert_int_equal(add(mem, 0, 2 * MB, fd, 0), 0);
	assert_int_equal(add(other, 0, MB, other_fd, 0), 0);
	a = xv_guest_memory_at(mem, 0, 2 * MB);
	b = xv_guest_memory_at(other, 0, MB);
	a[0] = 1;
	b[0] = 2;
	assert_int_equal(ftruncate(fd, MB), 0);
	assert_int_equal(a[0], 1); /* still there, and nobody has noticed */
	assert_false(mem->broken);
	assert_int_equal(a[MB], 0); /* SIGBUS */
	assert_true(mem->broken);
	assert_int_equal(a[0], 0); /* the whole region is zero from now on */
	a[2 * MB - 1] = 3;
	assert_int_equal(eventfd_read(sigbus_fd, &count), 0);
	assert_int_equal(b[0], 2);
	assert_false(other->broken);
	assert_int_equal(ftruncate(other_fd, 0), 0);
	b[5] = 1;
	assert_true(other->broken);
	assert_int_equal(eventfd_read(sigbus_fd, &count), 0);
	xv_guest_memory_destroy(mem);
	xv_guest_memory_destroy(other);
	(void)close(fd);
	(void)close(other_fd);
}

static void huge_pages_that_are_not_there_break_the_table(void **state)
{
	struct xv_guest_memory *mem;
	int fd = memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB);
	volatile uint8_t *a;
	eventfd_t count;

	if (fd < 0)
		skip(); /* kernel without hugetlbfs */
	catch_sigbus();
	mem = table();
	assert_int_equal(ftruncate(fd, 4 * MB), 0);
	/* The mapping must begin and end at huge pages, the region need not. */
	assert_int_equal(add(mem, 0, MB, fd, 2 * MB + 4096), 0);
	assert_int_equal(mem->regions[0].file.map_len, 2 * MB);
	assert_ptr_equal(mem->regions[0].hva, (uint8_t *)mem->regions[0].file.map + 4096);
	a = xv_guest_memory_at(mem, 0, 1);
	a[0] = 1; /* works, or there is no huge page and the table breaks */
	assert_int_equal(eventfd_read(sigbus_fd, &count) == 0, mem->broken);
	xv_guest_memory_destroy(mem);
	(void)close(fd);
}

static void other_bus_errors_still_kill(void **state)
{
	struct xv_guest_memory *mem = table();
	int fd = file_of(MB), status, i;

	catch_sigbus();
	assert_int_equal(add(mem, 0, MB, fd, 0), 0);
	for (i = 0; i < 2; i++) {
		pid_t pid = fork();

		if (pid == 0) {
			const struct rlimit none = {0};
			int mine = memfd_create("mine", 0);
			volatile uint8_t *p;

			(void)setrlimit(RLIMIT_CORE, &none);
			if (i == 1)
				(void)kill(getpid(), SIGBUS);
			if (ftruncate(mine, 4096) != 0)
				_exit(1);
			p = mmap(NULL, 8192, PROT_READ, MAP_SHARED, mine, 0);
			_exit(p[4096]);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
		assert_int_equal(WTERMSIG(status), SIGBUS);
	}
	xv_guest_memory_destroy(mem);
	(void)close(fd);
}

static void nothing_leaks(void **state)
{
	int fd = file_of(MB), next;
	unsigned int i;

	/* More often than there are slots for the SIGBUS handler. */
	for (i = 0; i < 20000; i++) {
		struct xv_guest_memory *mem = table();

		assert_int_equal(add(mem, 0, 4096, fd, 0), 0);
		assert_int_equal(add(mem, MB, MB, fd, 0), 0);
		xv_guest_memory_destroy(mem);
	}
	next = dup(fd);
	assert_int_equal(next, fd + 1);
	(void)close(next);
	(void)close(fd);
}

static int setup(void **state)
{
	sigbus_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	return sigbus_fd >= 0 ? 0 : -1;
}

static int teardown(void **state)
{
	return close(sigbus_fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_are_found),
		cmocka_unit_test(bad_regions_are_refused),
		cmocka_unit_test(shrinking_file_breaks_its_table_only),
		cmocka_unit_test(huge_pages_that_are_not_there_break_the_table),
		cmocka_unit_test(other_bus_errors_still_kill),
		cmocka_unit_test(nothing_leaks),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
