/* SPDX-License-Identifier: Apache-2.0 */
/* The split ring for any CPU. */
#include <errno.h>

#define XV_SPLIT(name) xv_split_##name
#include "virtio/split_burst.h"
