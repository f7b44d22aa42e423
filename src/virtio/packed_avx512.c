/* SPDX-License-Identifier: Apache-2.0 */
/* The packed ring for CPUs with AVX-512 (chosen in vring.c). */
#include <errno.h>

#define XV_AVX512
#define XV_PACKED(name) xv_packed_##name##_avx512
#include "virtio/packed_burst.h"
