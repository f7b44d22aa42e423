/* SPDX-License-Identifier: Apache-2.0 */
/* OVS_ACTION_ATTR_* into an action program. Control thread; what comes in may be anything. */
#pragma once

#include "fastpath/action.h"
#include "ovs/attributes.h"

struct xv_ovs_datapath;

/*
 * The program (malloc memory, for the caller to free), checked for packets that match key under mask. 0, -ENOMEM, or -EINVAL
 * with a word about it in err: an action that we do not have, or cannot do there.
 */
int xv_ovs_actions_parse(const struct xv_ovs_datapath *dp, struct xv_attrs attrs, const struct xv_flow_key *key,
			 const struct xv_flow_key *mask, struct xv_actions **actions, struct xv_err *err);
