/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio/guest_memory.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>

/*
 * What the SIGBUS handler looks at. It may run on any thread at any time, so a slot is filled start
 * last and emptied start first; the handler reads start, the rest, then start again. The slot of
 * the mapping that faulted cannot change meanwhile: whoever accesses a mapping keeps it alive.
 */
#define MAX_WATCHES 16384
static struct watch {
	_Atomic(uintptr_t) start; /* 0 = free */
	_Atomic(uintptr_t) end;
	_Atomic(_Atomic bool *) broken;
} watches[MAX_WATCHES];
static _Atomic unsigned int watches_end; /* no slot in use from here on */
static _Atomic int broken_fd = -1;

static void on_sigbus(int sig, siginfo_t *info, void *context)
{
	uintptr_t addr = (uintptr_t)info->si_addr;
	unsigned int i, n = atomic_load(&watches_end);
	const uint64_t one = 1;
	int saved_errno = errno;

	for (i = 0; i < n && info->si_code > 0; i++) {
		uintptr_t start = atomic_load_explicit(&watches[i].start, memory_order_acquire);
		uintptr_t end = atomic_load_explicit(&watches[i].end, memory_order_acquire);
		_Atomic bool *broken =
			atomic_load_explicit(&watches[i].broken, memory_order_acquire);

		if (start == 0 || addr < start || addr >= end ||
		    atomic_load_explicit(&watches[i].start, memory_order_relaxed) != start)
			continue;
		if (mmap((void *)start, end - start, PROT_READ | PROT_WRITE,
			 MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
			 0) == MAP_FAILED)
			break;
		atomic_store(broken, true);
		if (write(atomic_load(&broken_fd), &one, sizeof(one)) < 0)
			errno = 0; /* signalled already */
		errno = saved_errno;
		return;
	}
	/* Not ours: let the access fault again, this time for good. */
	(void)signal(sig, SIG_DFL);
	if (info->si_code <= 0) /* sent by kill() and the like: there is no access to repeat */
		(void)raise(sig);
	errno = saved_errno;
}

int xv_guest_memory_catch_sigbus(int event_fd)
{
	struct sigaction action = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO};

	atomic_store(&broken_fd, event_fd);
	(void)sigemptyset(&action.sa_mask);
	return sigaction(SIGBUS, &action, NULL) == 0 ? 0 : -errno;
}

void xv_guest_memory_release_sigbus(void)
{
	(void)signal(SIGBUS, SIG_DFL);
	atomic_store(&broken_fd, -1);
}

static int watch(void *map, size_t map_len, _Atomic bool *broken)
{
	unsigned int i;

	for (i = 0; i < MAX_WATCHES; i++)
		if (atomic_load_explicit(&watches[i].start, memory_order_relaxed) == 0)
			break;
	if (i == MAX_WATCHES)
		return -ENOSPC;
	atomic_store_explicit(&watches[i].end, (uintptr_t)map + map_len, memory_order_relaxed);
	atomic_store_explicit(&watches[i].broken, broken, memory_order_relaxed);
	atomic_store_explicit(&watches[i].start, (uintptr_t)map, memory_order_release);
	if (i >= atomic_load(&watches_end))
		atomic_store(&watches_end, i + 1);
	return (int)i;
}

static void unwatch(int slot)
{
	unsigned int end = atomic_load(&watches_end);

	atomic_store(&watches[slot].start, 0);
	while (end > 0 && atomic_load_explicit(&watches[end - 1].start, memory_order_relaxed) == 0)
		end--;
	atomic_store(&watches_end, end);
}

/*
 * The page size of the file, or 0: it lives on a file system where a page fault can wait for
 * another machine or for a process, perhaps for ever, and a packet worker with it.
 */
static uint64_t file_page_size(int fd)
{
	struct statfs fs;

	if (fstatfs(fd, &fs) != 0)
		return 0;
	switch ((unsigned long)fs.f_type) {
	case HUGETLBFS_MAGIC:
		return (uint64_t)fs.f_bsize;
	case FUSE_SUPER_MAGIC:
	case NFS_SUPER_MAGIC:
	case SMB_SUPER_MAGIC:
	case SMB2_SUPER_MAGIC:
	case CIFS_SUPER_MAGIC:
	case CEPH_SUPER_MAGIC:
	case AFS_SUPER_MAGIC:
	case V9FS_MAGIC:
		return 0;
	default:
		return (uint64_t)sysconf(_SC_PAGESIZE);
	}
}

int xv_file_map(struct xv_file_map *map, const char *what, int fd, uint64_t offset, uint64_t size,
		_Atomic bool *broken, struct xv_err *err)
{
	uint64_t page, start, len;
	struct stat st;

	if (size == 0)
		return xv_err_set(err, -EINVAL, XV_ERR_DEVICE, "%s is empty", what);
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
		return xv_err_set(err, -EINVAL, XV_ERR_DEVICE,
				  "%s is not a file that can be mapped", what);
	if (offset > (uint64_t)st.st_size || size > (uint64_t)st.st_size - offset)
		return xv_err_set(err, -EINVAL, XV_ERR_DEVICE,
				  "%s (%#llx bytes at %#llx) is larger than its file (%#llx bytes)",
				  what, (unsigned long long)size, (unsigned long long)offset,
				  (unsigned long long)st.st_size);
	page = file_page_size(fd);
	if (page == 0)
		return xv_err_set(
			err, -EINVAL, XV_ERR_DEVICE,
			"%s is on a network or user-space file system, which could stall us", what);

	/* The sum is at most the file's size, an off_t: rounding it up does not wrap. */
	start = offset & ~(page - 1);
	len = ((offset + size + page - 1) & ~(page - 1)) - start;
	map->map = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd,
			(off_t)start);
	if (map->map == MAP_FAILED)
		return xv_err_set(err, -errno, XV_ERR_DEVICE, "%s cannot be mapped: %s", what,
				  strerror(errno));
	map->map_len = len;
	map->at = (uint8_t *)map->map + (offset - start);
	map->dev = st.st_dev;
	map->ino = st.st_ino;
	map->offset = offset;
	map->watch = watch(map->map, len, broken);
	if (map->watch < 0) {
		(void)munmap(map->map, len);
		return xv_err_set(err, -ENOSPC, XV_ERR_RESOURCE,
				  "%s cannot be mapped: too many mappings (%d)", what, MAX_WATCHES);
	}
	/* A core dump is for our state; guests' memory is large and not ours to write to a disk. */
	(void)madvise(map->map, len, MADV_DONTDUMP);
	return 0;
}

void xv_file_unmap(struct xv_file_map *map)
{
	unwatch(map->watch);
	(void)munmap(map->map, map->map_len);
}

int xv_guest_memory_create(struct xv_guest_memory **mem)
{
	*mem = calloc(1, sizeof(**mem));
	return *mem != NULL ? 0 : -ENOMEM;
}

void xv_guest_memory_destroy(struct xv_guest_memory *mem)
{
	unsigned int i;

	if (mem == NULL)
		return;
	for (i = 0; i < mem->n; i++)
		xv_file_unmap(&mem->regions[i].file);
	free(mem);
}

int xv_guest_memory_add(struct xv_guest_memory *mem, uint64_t gpa, uint64_t size, uint64_t uva,
			int fd, uint64_t offset, struct xv_err *err)
{
	struct xv_region region = {.gpa = gpa, .size = size, .uva = uva};
	char what[64];
	unsigned int i;
	int rc;

	(void)snprintf(what, sizeof(what), "memory region at %#llx", (unsigned long long)gpa);
	if (mem->n == XV_MAX_REGIONS)
		return xv_err_set(err, -EINVAL, XV_ERR_DEVICE, "%s: more than %d regions", what,
				  XV_MAX_REGIONS);
	if (size > UINT64_MAX - gpa || size > UINT64_MAX - uva)
		return xv_err_set(err, -EINVAL, XV_ERR_DEVICE, "%s wraps around", what);
	for (i = 0; i < mem->n && mem->regions[i].gpa < gpa; i++)
		;
	if ((i > 0 && mem->regions[i - 1].gpa + mem->regions[i - 1].size > gpa) ||
	    (i < mem->n && gpa + size > mem->regions[i].gpa))
		return xv_err_set(err, -EINVAL, XV_ERR_DEVICE, "%s overlaps another", what);
	rc = xv_file_map(&region.file, what, fd, offset, size, &mem->broken, err);
	if (rc != 0)
		return rc;
	region.hva = region.file.at;
	memmove(&mem->regions[i + 1], &mem->regions[i], (mem->n - i) * sizeof(region));
	mem->regions[i] = region;
	mem->n++;
	return 0;
}

int xv_guest_memory_del(struct xv_guest_memory *mem, uint64_t gpa, uint64_t size, uint64_t uva)
{
	unsigned int i;

	for (i = 0; i < mem->n; i++) {
		struct xv_region *r = &mem->regions[i];

		if (r->gpa != gpa || r->size != size || r->uva != uva)
			continue;
		xv_file_unmap(&r->file);
		mem->n--;
		memmove(r, r + 1, (mem->n - i) * sizeof(*r));
		return 0;
	}
	return -ENOENT;
}

const struct xv_region *xv_guest_memory_lookup(const struct xv_guest_memory *mem, uint64_t gpa)
{
	unsigned int low = 0, high = mem->n;

	while (low < high) {
		unsigned int mid = (low + high) / 2;
		const struct xv_region *r = &mem->regions[mid];

		if (gpa < r->gpa)
			high = mid;
		else if (gpa - r->gpa < r->size)
			return r;
		else
			low = mid + 1;
	}
	return NULL;
}

void *xv_guest_memory_at_uva(const struct xv_guest_memory *mem, uint64_t uva, uint64_t len,
			     uint64_t *gpa)
{
	unsigned int i;

	for (i = 0; i < mem->n; i++) {
		const struct xv_region *r = &mem->regions[i];

		if (uva < r->uva || len > r->size || uva - r->uva > r->size - len)
			continue;
		*gpa = r->gpa + (uva - r->uva);
		return r->hva + (uva - r->uva);
	}
	return NULL;
}
