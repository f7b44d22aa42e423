/* SPDX-License-Identifier: Apache-2.0 */
#include "net/drop.h"

const struct xv_drop_info xv_drop_info[XV_DROP_MAX] = {
#define X(e, n, t) [XV_DROP_##e] = {n, t},
	XV_DROP_REASONS(X)
#undef X
};
