/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the configuration says about tunnels: values only, nothing here touches a device. Control thread.
 *
 * Tunnels are not configured one by one: each remote of a network with a VTEP is one. The model has them, derived,
 * under "tunnel", by the name of their port ("blue@192.0.2.2", which no configured object can have):
 * {"name", "kind": "tunnel", "queues", "network", "vtep", "tunnel", "remote"}, and "vni", "udp_port" and "gbp" if the
 * network has them.
 */
#pragma once

#include <jansson.h>

#include "base/err.h"
#include "control/match.h"
#include "fastpath/vtep.h"

/* An address of a host: no multicast, no wildcard. */
struct xv_address {
	bool ipv6;
	uint8_t len; /* of the prefix; 32 or 128 if none was given */
	union xv_ip_addr addr;
};
/* with_len: ADDRESS/LENGTH, the bits behind the prefix stay; else ADDRESS alone. -EINVAL, -ERANGE. */
int xv_address_parse(const char *text, bool with_len, struct xv_address *address);
void xv_address_format(const struct xv_address *address, bool with_len, char buf[XV_MATCH_TEXT]);

const char *xv_tunnels_type_name(enum xv_tunnel_type type);

/* All tunnels of a valid model, as above. NULL = out of memory. */
json_t *xv_tunnels_derive(const json_t *model);

/* What objects of a valid model, one of those tunnels or a VTEP, say to the fast path. Names are borrowed. */
int xv_tunnels_config(const json_t *tunnel, struct xv_tunnel_config *config);
int xv_tunnels_vtep_config(const json_t *vtep, struct xv_vtep_config *config);

/*
 * Whether a network's, or a VTEP's, keys make sense together and with others; references exist. On -errno: *key is the
 * key at fault, text the rest of the sentence.
 */
int xv_tunnels_check_network(const json_t *model, const char *name, const char **key, char *text, size_t size);
int xv_tunnels_check_vtep(const json_t *model, const char *name, const char **key, char *text, size_t size);

/* The VTEP whose uplink the port is, or NULL (borrowed name); *index: which of them. */
const char *xv_tunnels_vtep_of(const json_t *model, const char *port, unsigned int *index);
