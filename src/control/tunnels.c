/* SPDX-License-Identifier: Apache-2.0 */
#include "control/tunnels.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <arpa/inet.h>

#include "control/schema.h"

static const char *text_of(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static json_t *get(const json_t *model, const char *type, const char *name)
{
	return json_object_get(json_object_get(model, type), name);
}

int xv_address_parse(const char *text, bool with_len, struct xv_address *address)
{
	const char *slash = strchr(text, '/');
	size_t n = slash ? (size_t)(slash - text) : strlen(text);
	char addr[INET6_ADDRSTRLEN];
	int64_t len, max;

	if (n >= sizeof(addr) || (slash != NULL) != with_len)
		return -EINVAL;
	memcpy(addr, text, n);
	addr[n] = '\0';
	*address = (struct xv_address){0};
	if (inet_pton(AF_INET, addr, &address->addr.bytes[12]) == 1) {
		max = 32;
		if ((address->addr.bytes[12] & 0xf0) == 0xe0 || address->addr.words[3] == 0 ||
		    address->addr.words[3] == UINT32_MAX)
			return -ERANGE;
	} else if (inet_pton(AF_INET6, addr, address->addr.bytes) == 1) {
		max = 128;
		address->ipv6 = true;
		if (address->addr.bytes[0] == 0xff || (address->addr.u64[0] | address->addr.u64[1]) == 0)
			return -ERANGE;
	} else {
		return -EINVAL;
	}
	len = max;
	if (slash != NULL && xv_parse_number(slash + 1, false, &len) < 0)
		return -EINVAL;
	if (len < 1 || len > max)
		return -ERANGE;
	address->len = (uint8_t)len;
	return 0;
}

void xv_address_format(const struct xv_address *address, bool with_len, char buf[XV_MATCH_TEXT])
{
	char addr[INET6_ADDRSTRLEN];

	inet_ntop(address->ipv6 ? AF_INET6 : AF_INET, address->ipv6 ? address->addr.bytes : &address->addr.bytes[12],
		  addr, sizeof(addr));
	if (with_len)
		snprintf(buf, XV_MATCH_TEXT, "%s/%u", addr, address->len);
	else
		snprintf(buf, XV_MATCH_TEXT, "%s", addr);
}

static bool on_link(const struct xv_address *own, const struct xv_address *other)
{
	unsigned int skip = own->ipv6 ? 0 : 96, i;

	for (i = skip; i < skip + own->len; i++) {
		if (((own->addr.bytes[i / 8] ^ other->addr.bytes[i / 8]) >> (7 - i % 8) & 1) != 0)
			return false;
	}
	return true;
}

static bool same(const struct xv_address *a, const struct xv_address *b)
{
	return a->ipv6 == b->ipv6 && memcmp(&a->addr, &b->addr, sizeof(a->addr)) == 0;
}

/* The types, and what a network's number can be in each: labels below 16 have meanings of their own (RFC 3032 section
 * 2.1), NVGRE's reserved VSIDs are those of RFC 7637 section 3.3. */
static const struct {
	const char *name;
	json_int_t vni_min, vni_max;
	uint16_t udp_port; /* 0: not over UDP */
} types[] = {
	[XV_TUNNEL_VXLAN] = {"vxlan", 0, 0xffffff, XV_VXLAN_PORT},
	[XV_TUNNEL_GENEVE] = {"geneve", 0, 0xffffff, XV_GENEVE_PORT},
	[XV_TUNNEL_GRE] = {"gre", 0, UINT32_MAX, 0},
	[XV_TUNNEL_NVGRE] = {"nvgre", 0x1000, 0xfffffe, 0},
	[XV_TUNNEL_MPLS_GRE] = {"mpls-gre", 16, 0xfffff, 0},
	[XV_TUNNEL_MPLS_UDP] = {"mpls-udp", 16, 0xfffff, XV_MPLS_UDP_PORT},
};

const char *xv_tunnels_type_name(enum xv_tunnel_type type)
{
	return types[type].name;
}

static enum xv_tunnel_type type_of(const json_t *object)
{
	const char *name = text_of(object, "tunnel");
	unsigned int i;

	for (i = XV_TUNNEL_VXLAN; name != NULL && i <= XV_TUNNEL_MPLS_UDP; i++)
		if (strcmp(types[i].name, name) == 0)
			return i;
	return XV_TUNNEL_VXLAN;
}

/* 0: not over UDP. */
static uint16_t udp_port_of(const json_t *network)
{
	const json_t *port = json_object_get(network, "udp_port");

	return port != NULL ? (uint16_t)json_integer_value(port) : types[type_of(network)].udp_port;
}

/* Name of an uplink of a VTEP; NULL: it has not so many. */
static const char *uplink_of(const json_t *vtep, unsigned int index)
{
	if (text_of(vtep, "port") != NULL)
		return index == 0 ? text_of(vtep, "port") : NULL;
	return json_string_value(json_array_get(json_object_get(vtep, "ports"), index));
}

const char *xv_tunnels_vtep_of(const json_t *model, const char *port, unsigned int *index)
{
	const char *name, *uplink;
	json_t *vtep;

	json_object_foreach (json_object_get(model, "vtep"), name, vtep) {
		for (*index = 0; (uplink = uplink_of(vtep, *index)) != NULL; ++*index)
			if (strcmp(uplink, port) == 0)
				return name;
	}
	return NULL;
}

int xv_tunnels_config(const json_t *tunnel, struct xv_tunnel_config *config)
{
	const json_t *vni = json_object_get(tunnel, "vni"), *gbp = json_object_get(tunnel, "gbp");
	struct xv_address remote;
	int rc = xv_address_parse(text_of(tunnel, "remote"), false, &remote);

	if (rc < 0)
		return rc;
	*config = (struct xv_tunnel_config){
		.type = type_of(tunnel),
		.has_key = vni != NULL,
		.vni = (uint32_t)json_integer_value(vni),
		.remote = remote.addr,
		.udp_port = (uint16_t)json_integer_value(json_object_get(tunnel, "udp_port")),
		.has_gbp = gbp != NULL,
		.gbp = (uint16_t)json_integer_value(gbp),
	};
	return 0;
}

int xv_tunnels_vtep_config(const json_t *vtep, struct xv_vtep_config *config)
{
	const json_t *ttl = json_object_get(vtep, "ttl"), *dscp = json_object_get(vtep, "dscp"),
		     *csum = json_object_get(vtep, "csum");
	struct xv_address own, gateway = {0};
	int rc = xv_address_parse(text_of(vtep, "address"), true, &own);

	if (rc < 0)
		return rc;
	*config = (struct xv_vtep_config){
		.name = text_of(vtep, "name"),
		.ipv6 = own.ipv6,
		.prefix_len = own.len,
		.addr = own.addr,
		.has_gateway = text_of(vtep, "gateway") != NULL &&
			       xv_address_parse(text_of(vtep, "gateway"), false, &gateway) == 0,
		.outer = {.vlan = (uint16_t)json_integer_value(json_object_get(vtep, "vlan")),
			  .ttl = (uint8_t)json_integer_value(ttl),
			  .dscp = (uint8_t)json_integer_value(dscp),
			  .inherit_ttl = json_is_string(ttl),
			  .inherit_dscp = json_is_string(dscp),
			  .no_df = json_is_false(json_object_get(vtep, "df")),
			  .csum = csum == NULL ? XV_OUTER_CSUM_AUTO
				  : json_is_true(csum) ? XV_OUTER_CSUM_ON
						       : XV_OUTER_CSUM_OFF},
	};
	config->gateway = gateway.addr;
	return 0;
}

json_t *xv_tunnels_derive(const json_t *model)
{
	json_t *tunnels = json_object(), *network, *remote, *tunnel;
	char port[XV_NAME_MAX + XV_MATCH_TEXT];
	const char *name;
	size_t i;

	json_object_foreach (json_object_get(model, "network"), name, network) {
		json_array_foreach (json_object_get(network, "remotes"), i, remote) {
			snprintf(port, sizeof(port), "%s@%s", name, json_string_value(remote));
			tunnel = json_pack("{s:s, s:s, s:i, s:s, s:O, s:s, s:O*, s:O*, s:O*, s:O}", "name", port,
					   "kind", "tunnel", "queues", 1, "network", name, "vtep",
					   json_object_get(network, "vtep"), "tunnel", types[type_of(network)].name,
					   "vni", json_object_get(network, "vni"), "udp_port",
					   json_object_get(network, "udp_port"), "gbp",
					   json_object_get(network, "gbp"), "remote", remote);
			if (tunnel == NULL || json_object_set_new(tunnels, port, tunnel) < 0) {
				json_decref(tunnels);
				return NULL;
			}
		}
	}
	return tunnels;
}

/* In GRE a key in front of Ethernet is the number of a gre network or that of an nvgre one. */
static bool has_gre_key(const json_t *network)
{
	return type_of(network) == XV_TUNNEL_GRE && json_object_get(network, "vni") != NULL;
}

/* Whether packets of both networks, which are on the same VTEP, can be told apart. */
static int check_pair(const json_t *network, const json_t *other, const char **key, char *text, size_t size)
{
	const json_t *vni = json_object_get(network, "vni");
	enum xv_tunnel_type type = type_of(network), other_type = type_of(other);
	const char *other_name = text_of(other, "name");
	uint16_t port = udp_port_of(network);

	*key = "vni";
	if (type == other_type && vni == NULL && json_object_get(other, "vni") == NULL) {
		snprintf(text, size, "is missing, as in network %s on the same vtep: one of them needs a key", other_name);
		return -EBUSY;
	}
	if (type == other_type && vni != NULL && json_equal(vni, json_object_get(other, "vni"))) {
		snprintf(text, size, "%lld is used by network %s on the same vtep", (long long)json_integer_value(vni),
			 other_name);
		return -EBUSY;
	}
	*key = "tunnel";
	if ((has_gre_key(network) && other_type == XV_TUNNEL_NVGRE) ||
	    (has_gre_key(other) && type == XV_TUNNEL_NVGRE)) {
		snprintf(text, size,
			 "gre with a vni and nvgre look the same on the wire: network %s needs another vtep", other_name);
		return -EBUSY;
	}
	*key = "udp_port";
	if (port != 0 && port == udp_port_of(other) && type != other_type) {
		snprintf(text, size, "%u is used for %s by network %s on the same vtep", port, types[other_type].name,
			 other_name);
		return -EBUSY;
	}
	return 0;
}

/* Together with the others on the same VTEP. */
static int check_others(const json_t *model, const char *name, const json_t *network, const char **key, char *text,
			size_t size)
{
	uint16_t ports[XV_DECAP_PORTS] = {udp_port_of(network)}, port;
	const char *other_name;
	unsigned int n = ports[0] != 0, i;
	json_t *other;
	int rc;

	json_object_foreach (json_object_get(model, "network"), other_name, other) {
		if (strcmp(other_name, name) == 0 || text_of(other, "vtep") == NULL ||
		    strcmp(text_of(other, "vtep"), text_of(network, "vtep")) != 0)
			continue;
		rc = check_pair(network, other, key, text, size);
		if (rc < 0)
			return rc;
		port = udp_port_of(other);
		for (i = 0; i < n && ports[i] != port; i++)
			;
		if (port == 0 || i < n)
			continue;
		if (n == XV_DECAP_PORTS) {
			*key = "udp_port";
			snprintf(text, size, "networks of vtep %s have more than %d different ones",
				 text_of(network, "vtep"), XV_DECAP_PORTS);
			return -EINVAL;
		}
		ports[n++] = port;
	}
	return 0;
}

static int check_remote(const json_t *vtep, const char *network, const char *remote, char *text, size_t size)
{
	const char *gateway = text_of(vtep, "gateway"), *vtep_name = text_of(vtep, "name");
	struct xv_address own, other;

	if (xv_address_parse(text_of(vtep, "address"), true, &own) < 0 || xv_address_parse(remote, false, &other) < 0)
		return -EINVAL; /* both were checked */
	if (own.ipv6 != other.ipv6)
		snprintf(text, size, "%s: vtep %s has an IPv%d address", remote, vtep_name, own.ipv6 ? 6 : 4);
	else if (same(&own, &other))
		snprintf(text, size, "%s is the address of vtep %s itself", remote, vtep_name);
	else if (gateway == NULL && !on_link(&own, &other))
		snprintf(text, size, "%s is not in %s, and vtep %s has no gateway", remote, text_of(vtep, "address"),
			 vtep_name);
	else if (strlen(network) + 1 + strlen(remote) > XV_NAME_MAX)
		snprintf(text, size, "%s: the network's name is too long for it: together at most %d letters", remote,
			 XV_NAME_MAX - 1);
	else
		return 0;
	return -EINVAL;
}

/* What the type of its tunnels asks of a network's other keys. */
static int check_type(const json_t *network, const char **key, char *text, size_t size)
{
	const json_t *vni = json_object_get(network, "vni");
	enum xv_tunnel_type type = type_of(network);
	json_int_t number = json_integer_value(vni);

	*key = "vni";
	if (vni == NULL && type != XV_TUNNEL_GRE) {
		snprintf(text, size, "is missing: a network with a vtep needs one");
		return -EINVAL;
	}
	if (vni != NULL && (number < types[type].vni_min || number > types[type].vni_max)) {
		snprintf(text, size, "%lld is none of %s: %lld to %lld", (long long)number, types[type].name,
			 (long long)types[type].vni_min, (long long)types[type].vni_max);
		return -EINVAL;
	}
	*key = "udp_port";
	if (json_object_get(network, "udp_port") != NULL && types[type].udp_port == 0) {
		snprintf(text, size, "has no meaning with %s, which is not over UDP", types[type].name);
		return -EINVAL;
	}
	*key = "gbp";
	if (json_object_get(network, "gbp") != NULL && type != XV_TUNNEL_VXLAN) {
		snprintf(text, size, "only vxlan has a group policy, not %s", types[type].name);
		return -EINVAL;
	}
	return 0;
}

int xv_tunnels_check_network(const json_t *model, const char *name, const char **key, char *text, size_t size)
{
	static const char *const keys[] = {"vni", "tunnel", "udp_port", "gbp", "remotes"};
	json_t *network = get(model, "network", name), *vtep, *remote;
	size_t i;
	int rc;

	if (text_of(network, "vtep") == NULL) {
		for (i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
			if (json_object_get(network, keys[i]) == NULL)
				continue;
			*key = keys[i];
			snprintf(text, size, "has a meaning only together with vtep");
			return -EINVAL;
		}
		return 0;
	}
	rc = check_type(network, key, text, size);
	if (rc == 0)
		rc = check_others(model, name, network, key, text, size);
	if (rc < 0)
		return rc;
	*key = "remotes";
	vtep = get(model, "vtep", text_of(network, "vtep"));
	json_array_foreach (json_object_get(network, "remotes"), i, remote) {
		rc = check_remote(vtep, name, json_string_value(remote), text, size);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* Ports that are free to be its uplinks; index: where in the VTEP. */
static int check_uplink(const json_t *model, const char *name, const json_t *vtep, unsigned int index, char *text,
			size_t size)
{
	const char *port = uplink_of(vtep, index), *network = text_of(get(model, "port", port), "network"), *other;
	unsigned int other_index;

	if (network != NULL) {
		snprintf(text, size, "port %s belongs to network %s", port, network);
		return -EBUSY;
	}
	other = xv_tunnels_vtep_of(model, port, &other_index);
	if (strcmp(other, name) != 0) {
		snprintf(text, size, "port %s is used by vtep %s", port, other);
		return -EBUSY;
	}
	if (other_index != index) {
		snprintf(text, size, "names %s twice", port);
		return -EINVAL;
	}
	return 0;
}

int xv_tunnels_check_vtep(const json_t *model, const char *name, const char **key, char *text, size_t size)
{
	json_t *vtep = get(model, "vtep", name);
	const char *gateway = text_of(vtep, "gateway");
	struct xv_address own, via;
	unsigned int i;
	int rc;

	*key = json_object_get(vtep, "ports") != NULL ? "ports" : "port";
	if (uplink_of(vtep, 0) == NULL) {
		snprintf(text, size, "is missing: a vtep needs port or ports");
		return -EINVAL;
	}
	if (json_object_get(vtep, "ports") != NULL && json_object_get(vtep, "port") != NULL) {
		snprintf(text, size, "stands instead of port, not beside it");
		return -EINVAL;
	}
	for (i = 0; uplink_of(vtep, i) != NULL; i++) {
		rc = check_uplink(model, name, vtep, i, text, size);
		if (rc < 0)
			return rc;
	}
	*key = "gateway";
	if (gateway == NULL)
		return 0;
	if (xv_address_parse(text_of(vtep, "address"), true, &own) < 0 || xv_address_parse(gateway, false, &via) < 0)
		return -EINVAL; /* both were checked */
	if (own.ipv6 == via.ipv6 && on_link(&own, &via) && !same(&own, &via))
		return 0;
	snprintf(text, size, "%s must be another address in %s", gateway, text_of(vtep, "address"));
	return -EINVAL;
}
