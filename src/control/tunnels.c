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

enum xv_tunnel_type xv_tunnels_type(const json_t *network)
{
	const char *type = text_of(network, "tunnel");

	if (type != NULL && strcmp(type, "geneve") == 0)
		return XV_TUNNEL_GENEVE;
	return type != NULL && strcmp(type, "nvgre") == 0 ? XV_TUNNEL_NVGRE : XV_TUNNEL_VXLAN;
}

const char *xv_tunnels_vtep_of(const json_t *model, const char *port)
{
	const char *name;
	json_t *vtep;

	json_object_foreach (json_object_get(model, "vtep"), name, vtep) {
		if (strcmp(text_of(vtep, "port"), port) == 0)
			return name;
	}
	return NULL;
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
			tunnel = json_pack("{s:s, s:s, s:i, s:s, s:O, s:i, s:O, s:O}", "name", port, "kind", "tunnel",
					   "queues", 1, "network", name, "vtep", json_object_get(network, "vtep"),
					   "tunnel", (int)xv_tunnels_type(network), "vni",
					   json_object_get(network, "vni"), "remote", remote);
			if (tunnel == NULL || json_object_set_new(tunnels, port, tunnel) < 0) {
				json_decref(tunnels);
				return NULL;
			}
		}
	}
	return tunnels;
}

/* Another network with the same id over the same VTEP, or NULL. */
static const char *vni_taken(const json_t *model, const char *name, const json_t *network)
{
	const char *other_name;
	json_t *other;

	json_object_foreach (json_object_get(model, "network"), other_name, other) {
		if (strcmp(other_name, name) != 0 && text_of(other, "vtep") != NULL &&
		    strcmp(text_of(other, "vtep"), text_of(network, "vtep")) == 0 &&
		    xv_tunnels_type(other) == xv_tunnels_type(network) &&
		    json_equal(json_object_get(other, "vni"), json_object_get(network, "vni")))
			return other_name;
	}
	return NULL;
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

int xv_tunnels_check_network(const json_t *model, const char *name, const char **key, char *text, size_t size)
{
	static const char *const keys[] = {"vni", "tunnel", "remotes"};
	json_t *network = get(model, "network", name), *vtep, *remote;
	const char *other;
	json_int_t vni;
	size_t i;

	if (text_of(network, "vtep") == NULL) {
		for (unsigned int k = 0; k < 3; k++) {
			if (json_object_get(network, keys[k]) == NULL)
				continue;
			*key = keys[k];
			snprintf(text, size, "has a meaning only together with vtep");
			return -EINVAL;
		}
		return 0;
	}
	*key = "vni";
	if (json_object_get(network, "vni") == NULL) {
		snprintf(text, size, "is missing: a network with a vtep needs one");
		return -EINVAL;
	}
	vni = json_integer_value(json_object_get(network, "vni"));
	if (xv_tunnels_type(network) == XV_TUNNEL_NVGRE && (vni < 0x1000 || vni > 0xfffffe)) {
		snprintf(text, size, "%lld is none of nvgre: 4096 to 16777214", (long long)vni);
		return -EINVAL;
	}
	other = vni_taken(model, name, network);
	if (other != NULL) {
		snprintf(text, size, "%lld is used by network %s on the same vtep", (long long)vni, other);
		return -EBUSY;
	}
	*key = "remotes";
	vtep = get(model, "vtep", text_of(network, "vtep"));
	json_array_foreach (json_object_get(network, "remotes"), i, remote) {
		int rc = check_remote(vtep, name, json_string_value(remote), text, size);

		if (rc < 0)
			return rc;
	}
	return 0;
}

int xv_tunnels_check_vtep(const json_t *model, const char *name, const char **key, char *text, size_t size)
{
	json_t *vtep = get(model, "vtep", name);
	const char *port = text_of(vtep, "port"), *gateway = text_of(vtep, "gateway"), *other;
	struct xv_address own, via;
	json_t *config = get(model, "port", port);

	*key = "port";
	if (text_of(config, "network") != NULL) {
		snprintf(text, size, "port %s belongs to network %s", port, text_of(config, "network"));
		return -EBUSY;
	}
	other = xv_tunnels_vtep_of(model, port);
	if (other != NULL && strcmp(other, name) != 0) {
		snprintf(text, size, "port %s is used by vtep %s", port, other);
		return -EBUSY;
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
