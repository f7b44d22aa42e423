/* SPDX-License-Identifier: Apache-2.0 */
/* The packed ring for any CPU. */
#include <errno.h>

#define XV_PACKED(name) xv_packed_##name
#include "virtio/packed_burst.h"
