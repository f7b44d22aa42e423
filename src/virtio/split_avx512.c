/* SPDX-License-Identifier: Apache-2.0 */
/* The split ring for CPUs with AVX-512 (chosen in vring.c). */
#include <errno.h>

#define XV_AVX512
#define XV_SPLIT(name) xv_split_##name##_avx512
#include "virtio/split_burst.h"
