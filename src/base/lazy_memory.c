/* SPDX-License-Identifier: Apache-2.0 */
#include "base/lazy_memory.h"

#include <sys/mman.h>

void *xv_lazy_alloc(size_t bytes, bool large_pages)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	if (large_pages)
		(void)madvise(p, bytes, MADV_HUGEPAGE);
	return p;
}

void xv_lazy_touch(void *p, size_t bytes)
{
	/* An older kernel does not know it: then whoever comes first touches. */
	(void)madvise(p, bytes, MADV_POPULATE_WRITE);
}

void xv_lazy_free(void *p, size_t bytes)
{
	if (p != NULL)
		munmap(p, bytes);
}
