/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest memory as the front end shares it: a table of regions, each a mapped file. A table does not
 * change while a ring uses it: the device's rings are stopped first.
 *
 * The file behind a region is the front end's: its size is checked against the region when it is
 * mapped, and when it shrinks afterwards the access faults (SIGBUS): the handler puts zero pages in
 * place of the region, marks the table broken and wakes the control thread, which breaks that one
 * device. No packet worker pays anything for this.
 *
 * Control thread builds and frees (after a grace period); workers translate.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define XV_MAX_REGIONS 128 /* VHOST_USER_GET_MAX_MEM_SLOTS */

/* A piece of a front end's file in our address space. */
struct xv_file_map {
	uint8_t *at; /* our address of the first byte asked for */
	void *map;   /* what was mapped: whole pages (of the file's page size) around that */
	size_t map_len;
	int watch; /* slot of the SIGBUS handler */
	uint64_t dev, ino, offset; /* which file, and where `at` is in it */
};

struct xv_region {
	uint64_t gpa;  /* guest physical address of the first byte */
	uint64_t size; /* bytes; gpa + size does not wrap */
	uint64_t uva;  /* front end's virtual address (rings are given in these) */
	uint8_t *hva;  /* our address of the first byte */
	struct xv_file_map file;
};

struct xv_guest_memory {
	unsigned int n;
	struct xv_region regions[XV_MAX_REGIONS]; /* sorted by gpa, not overlapping */
	_Atomic bool broken; /* a file shrank underneath: contents are zero from now on */
};

/* control. An empty table. 0 or -ENOMEM. */
int xv_guest_memory_create(struct xv_guest_memory **mem);
/* control, no reader left. Unmaps and frees; accepts NULL. */
void xv_guest_memory_destroy(struct xv_guest_memory *mem);
/*
 * control. Map fd (not consumed) at file offset `offset` as a region. -EINVAL with a sentence:
 * empty, wraps, overlaps, beyond the end of the file, not a mappable file, table full.
 */
int xv_guest_memory_add(struct xv_guest_memory *mem, uint64_t gpa, uint64_t size, uint64_t uva,
			int fd, uint64_t offset, struct xv_err *err);
/* control. Remove the region with exactly these values. -ENOENT. */
int xv_guest_memory_del(struct xv_guest_memory *mem, uint64_t gpa, uint64_t size, uint64_t uva);

/* The region that holds gpa, or NULL. Any thread. */
const struct xv_region *xv_guest_memory_lookup(const struct xv_guest_memory *mem, uint64_t gpa);

/* Our address of [gpa, gpa + len) if it lies in one region, else NULL. len > 0. Any thread. */
static inline void *xv_guest_memory_at(const struct xv_guest_memory *mem, uint64_t gpa,
				       uint64_t len)
{
	const struct xv_region *r = xv_guest_memory_lookup(mem, gpa);

	if (r == NULL || len > r->size || gpa - r->gpa > r->size - len)
		return NULL;
	return r->hva + (gpa - r->gpa);
}

/*
 * control. The same for an address of the front end's own address space (ring addresses); *gpa gets
 * the guest address.
 */
void *xv_guest_memory_at_uva(const struct xv_guest_memory *mem, uint64_t uva, uint64_t len,
			     uint64_t *gpa);

/*
 * control. Map [offset, offset + size) of a front end's file, shared and writable; fd is not
 * consumed. -EINVAL etc. with a sentence that starts with `what`: not a file, on a file system that
 * can stall us, or shorter than that. When the file shrinks later, *broken is set.
 */
int xv_file_map(struct xv_file_map *map, const char *what, int fd, uint64_t offset, uint64_t size,
		_Atomic bool *broken, struct xv_err *err);
void xv_file_unmap(struct xv_file_map *map);

/* control, once: install the SIGBUS handler; fd (eventfd) is written when a mapping breaks. */
int xv_guest_memory_catch_sigbus(int event_fd);
/* control, at shutdown: back to the default action. */
void xv_guest_memory_release_sigbus(void);
