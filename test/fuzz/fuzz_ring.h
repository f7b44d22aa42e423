/* SPDX-License-Identifier: Apache-2.0 */
/* The body of fuzz_ring_split.c and fuzz_ring_packed.c: see fuzz_ring.c. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void fuzz_ring_init(void);
void fuzz_ring_run(const uint8_t *data, size_t size, bool packed);
