/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The joint of fused flows and flows, private to this folder: see fused.h for what a trail is.
 */
#pragma once

#include "fastpath/fused.h"

/* worker. Enter a new trail (n and flows are filled) in its flows' lists and make it valid; false if one of them is dead or
 * has other actions by now. */
bool xv_trail_link_flows(struct xv_trail *trail, const struct xv_fused_step *steps);
/* worker. Nothing stands for the trail any more. */
void xv_trail_unlink_flows(struct xv_trail *trail);
