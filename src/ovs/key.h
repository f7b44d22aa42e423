/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OVS_KEY_ATTR_* and struct xv_flow_key: there and back. Port numbers of the datapath become ids of ports and the other way
 * round. Control thread; what comes in may be anything.
 */
#pragma once

#include "net/flow_key.h"
#include "ovs/attributes.h"

struct xv_ovs_datapath;
struct xv_ovs_message;

/*
 * What a flow matches. mask.data NULL: exactly what key has. 0, or -EINVAL: malformed, or a field that we do not have, with a
 * word about it in *why.
 */
int xv_ovs_match_parse(const struct xv_ovs_datapath *dp, struct xv_attrs key, struct xv_attrs mask,
		       struct xv_flow_key *flow_key, struct xv_flow_key *flow_mask, const char **why);
/* Attributes alone, into fields that were zero: metadata of a packet, the value of a set action. mask: they are one. */
int xv_ovs_key_parse(const struct xv_ovs_datapath *dp, struct xv_attrs attrs, bool mask, struct xv_flow_key *key,
		     const char **why);
/* Metadata of a packet. */
void xv_ovs_put_metadata(struct xv_ovs_message *m, const struct xv_ovs_datapath *dp, const struct xv_flow_key *key);
