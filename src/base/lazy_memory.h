/* SPDX-License-Identifier: Apache-2.0 */
/* Large tables, zeroed, of which only what is touched ever takes memory. Any thread but a packet worker. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* large_pages: ask the kernel for them. NULL if there is no address space. */
void *xv_lazy_alloc(size_t bytes, bool large_pages);
/* Memory for these bytes is there from now on; what is in them stays. p: of a page. */
void xv_lazy_touch(void *p, size_t bytes);
/* bytes: as allocated. Accepts NULL. */
void xv_lazy_free(void *p, size_t bytes);
