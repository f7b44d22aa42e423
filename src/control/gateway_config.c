/* SPDX-License-Identifier: Apache-2.0 */
#include "control/gateway_config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "control/match.h"
#include "control/model.h"
#include "control/tunnels.h"

static const char *text_of(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static json_int_t number_of(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

static bool same_text(const char *a, const char *b)
{
	return a != NULL && b != NULL && strcmp(a, b) == 0;
}

static bool is_ipv6(const char *address)
{
	return strchr(address, ':') != NULL;
}

/* Is a in the prefix of len bits? Both of one family. */
static bool in_prefix(const struct xv_address *prefix, unsigned int len, const struct xv_address *a)
{
	unsigned int skip = prefix->ipv6 ? 0 : 96, i;

	if (prefix->ipv6 != a->ipv6)
		return false;
	for (i = skip; i < skip + len; i++)
		if (((prefix->addr.bytes[i / 8] ^ a->addr.bytes[i / 8]) >> (7 - i % 8) & 1) != 0)
			return false;
	return true;
}

static bool same_address(const struct xv_address *a, const struct xv_address *b)
{
	return in_prefix(a, a->ipv6 ? 128 : 32, b);
}

/* The port on the network that has the address, or NULL. */
static const char *port_with(const json_t *model, const char *network, const char *address)
{
	const char *name;
	json_t *port, *a;
	size_t i;

	json_object_foreach (json_object_get(model, "port"), name, port) {
		if (!same_text(text_of(port, "network"), network))
			continue;
		json_array_foreach (json_object_get(port, "addresses"), i, a) {
			if (same_text(json_string_value(a), address))
				return name;
		}
	}
	return NULL;
}

/* ---- Load balancers ---- */

static json_int_t port_of(const json_t *lb, const json_t *backend)
{
	const json_t *port = json_object_get(backend, "port");

	return port != NULL ? json_integer_value(port) : number_of(lb, "port");
}

static int check_backend(const json_t *lb, size_t n, char *text, size_t size)
{
	const json_t *backends = json_object_get(lb, "backends"), *b = json_array_get(backends, n);
	const char *address = text_of(b, "address"), *vip = text_of(lb, "address");
	bool direct = strcmp(text_of(lb, "mode"), "dsr") == 0;
	int rc = -EINVAL;
	size_t i;

	if (is_ipv6(address) != is_ipv6(vip))
		snprintf(text, size, "backend %zu: address: %s is not of the family of %s", n + 1,
			 address, vip);
	else if (same_text(address, vip))
		snprintf(text, size, "backend %zu: address: %s is the virtual address itself",
			 n + 1, address);
	else if (direct && port_of(lb, b) != number_of(lb, "port"))
		snprintf(text, size,
			 "backend %zu: port: cannot be another one with dsr: packets stay as they "
			 "are",
			 n + 1);
	else
		rc = 0;
	for (i = 0; rc == 0 && i < n; i++) {
		const json_t *other = json_array_get(backends, i);

		if (!same_text(text_of(other, "address"), address) ||
		    port_of(lb, other) != port_of(lb, b))
			continue;
		snprintf(text, size,
			 "backend %zu: address: %s with port %lld is backend %zu already", n + 1,
			 address, (long long)port_of(lb, b), i + 1);
		rc = -EINVAL;
	}
	return rc;
}

const char *xv_gateway_config_source(const json_t *model, const json_t *lb)
{
	const char *own = text_of(lb, "health_source"), *unused;
	json_t *router, *interface;
	static char buf[XV_MATCH_TEXT];
	struct xv_address address;
	size_t i;

	if (own != NULL)
		return own;
	json_object_foreach (json_object_get(model, "router"), unused, router) {
		json_array_foreach (json_object_get(router, "interfaces"), i, interface) {
			if (!same_text(text_of(interface, "network"), text_of(lb, "network")) ||
			    is_ipv6(text_of(interface, "address")) !=
				    is_ipv6(text_of(lb, "address")) ||
			    xv_address_parse(text_of(interface, "address"), true, &address) < 0)
				continue;
			xv_address_format(&address, false, buf);
			return buf;
		}
	}
	return NULL;
}

static int check_health(const json_t *model, const json_t *lb, const char **key, char *text,
			size_t size)
{
	const char *health = text_of(lb, "health"), *source = text_of(lb, "health_source"), *port;

	*key = "health_source";
	if (strcmp(health, "none") == 0) {
		if (source == NULL)
			return 0;
		snprintf(text, size, "has a meaning only together with health");
		return -EINVAL;
	}
	if (source != NULL && is_ipv6(source) != is_ipv6(text_of(lb, "address"))) {
		snprintf(text, size, "%s is not of the family of %s", source,
			 text_of(lb, "address"));
		return -EINVAL;
	}
	if (source != NULL && same_text(source, text_of(lb, "address"))) {
		snprintf(text, size,
			 "%s is the virtual address: what answers to it would be balanced", source);
		return -EINVAL;
	}
	port = source != NULL ? port_with(model, text_of(lb, "network"), source) : NULL;
	if (port != NULL) {
		snprintf(text, size, "%s is an address of port %s", source, port);
		return -EBUSY;
	}
	if (xv_gateway_config_source(model, lb) == NULL) {
		snprintf(text, size,
			 "is missing: health checks need an address of their own, or a router on "
			 "network %s",
			 text_of(lb, "network"));
		return -EINVAL;
	}
	*key = "health_port";
	if (strcmp(health, "tcp") == 0 && strcmp(text_of(lb, "protocol"), "tcp") != 0 &&
	    json_object_get(lb, "health_port") == NULL) {
		snprintf(text, size, "is missing: a port of %s cannot be connected to with tcp",
			 text_of(lb, "protocol"));
		return -EINVAL;
	}
	*key = "health_timeout_ms";
	if (number_of(lb, "health_timeout_ms") > number_of(lb, "health_interval_ms")) {
		snprintf(text, size, "%lld is longer than health_interval_ms",
			 (long long)number_of(lb, "health_timeout_ms"));
		return -EINVAL;
	}
	return 0;
}

int xv_gateway_config_check_lb(const json_t *model, const char *name, const char **key, char *text,
			       size_t size)
{
	const json_t *lb = xv_model_get(model, "lb", name);
	const char *other_name, *port;
	json_t *other;
	size_t i;
	int rc;

	*key = "port";
	json_object_foreach (json_object_get(model, "lb"), other_name, other) {
		if (strcmp(other_name, name) == 0)
			break; /* of two, the second is at fault */
		if (!same_text(text_of(other, "network"), text_of(lb, "network")) ||
		    !same_text(text_of(other, "address"), text_of(lb, "address")) ||
		    !same_text(text_of(other, "protocol"), text_of(lb, "protocol")) ||
		    number_of(other, "port") != number_of(lb, "port"))
			continue;
		snprintf(text, size, "%s %s port %lld is used by lb %s", text_of(lb, "protocol"),
			 text_of(lb, "address"), (long long)number_of(lb, "port"), other_name);
		return -EBUSY;
	}
	*key = "address";
	port = port_with(model, text_of(lb, "network"), text_of(lb, "address"));
	if (port != NULL && strcmp(text_of(lb, "mode"), "nat") == 0) {
		snprintf(text, size, "%s is an address of port %s", text_of(lb, "address"), port);
		return -EBUSY;
	}
	*key = "backends";
	for (i = 0; i < json_array_size(json_object_get(lb, "backends")); i++) {
		rc = check_backend(lb, i, text, size);
		if (rc < 0)
			return rc;
	}
	return check_health(model, lb, key, text, size);
}

/* ---- Routers ---- */

static int check_interface(const json_t *model, const char *name, const json_t *router, size_t n,
			   char *text, size_t size)
{
	const json_t *interfaces = json_object_get(router, "interfaces"),
		     *own = json_array_get(interfaces, n);
	const char *network = text_of(own, "network"), *other_name, *port;
	struct xv_address address, other_address;
	json_t *other, *interface;
	char host[XV_MATCH_TEXT];
	size_t i;

	if (xv_model_get(model, "network", network) == NULL) {
		struct xv_err why = {0};

		xv_model_bad_reference(model, &(struct xv_key){.name = "network", .ref = "network"},
				       network, &why);
		snprintf(text, size, "interface %zu: network: %s", n + 1, why.text);
		return -ENOENT;
	}
	if (xv_address_parse(text_of(own, "address"), true, &address) < 0)
		return -EINVAL; /* it was checked */
	xv_address_format(&address, false, host);
	port = port_with(model, network, host);
	if (port != NULL) {
		snprintf(text, size, "interface %zu: address: %s is an address of port %s", n + 1,
			 host, port);
		return -EBUSY;
	}
	json_object_foreach (json_object_get(model, "router"), other_name, other) {
		json_array_foreach (json_object_get(other, "interfaces"), i, interface) {
			if (strcmp(other_name, name) != 0) {
				if (!same_text(text_of(interface, "network"), network) ||
				    strcmp(other_name, name) > 0)
					continue;
				snprintf(text, size,
					 "interface %zu: network: %s belongs to router %s", n + 1,
					 network, other_name);
				return -EBUSY;
			}
			if (i >= n || xv_address_parse(text_of(interface, "address"), true,
						       &other_address) < 0)
				continue;
			if (!in_prefix(&address,
				       address.len < other_address.len ? address.len
								       : other_address.len,
				       &other_address))
				continue;
			snprintf(text, size,
				 "interface %zu: address: %s overlaps %s of interface %zu", n + 1,
				 text_of(own, "address"), text_of(interface, "address"), i + 1);
			return -EINVAL;
		}
	}
	return 0;
}

/* The interface that the address is on-link at, or NULL; its own address into *own. */
static const json_t *on_link(const json_t *router, const struct xv_address *address,
			     struct xv_address *own)
{
	json_t *interface;
	size_t i;

	json_array_foreach (json_object_get(router, "interfaces"), i, interface) {
		if (xv_address_parse(text_of(interface, "address"), true, own) == 0 &&
		    in_prefix(own, own->len, address))
			return interface;
	}
	return NULL;
}

static int check_gateways(const json_t *router, char *text, size_t size)
{
	struct xv_address address, own;
	bool seen[2] = {false, false};
	json_t *gateway;
	size_t i;

	json_array_foreach (json_object_get(router, "gateways"), i, gateway) {
		const char *value = json_string_value(gateway);

		if (xv_address_parse(value, false, &address) < 0)
			return -EINVAL; /* it was checked */
		if (seen[address.ipv6]) {
			snprintf(text, size, "%s is the second one of IPv%d", value,
				 address.ipv6 ? 6 : 4);
			return -EINVAL;
		}
		seen[address.ipv6] = true;
		if (on_link(router, &address, &own) == NULL) {
			snprintf(text, size, "%s is on none of its networks", value);
			return -EINVAL;
		}
		if (same_address(&own, &address)) {
			snprintf(text, size, "%s is its own address", value);
			return -EINVAL;
		}
	}
	return 0;
}

static int check_nat(const json_t *model, const json_t *router, size_t n, char *text, size_t size)
{
	const json_t *nats = json_object_get(router, "nat"), *nat = json_array_get(nats, n),
		     *interface;
	const char *external = text_of(nat, "external"), *internal = text_of(nat, "internal"),
		   *port;
	bool floating = strcmp(text_of(nat, "type"), "floating") == 0;
	struct xv_address outside, own;
	struct xv_match_prefix inside;
	struct xv_address inside_address = {0};
	size_t i;

	if (xv_address_parse(external, false, &outside) < 0 ||
	    xv_match_prefix_parse(internal, &inside) < 0)
		return -EINVAL; /* both were checked */
	inside_address.ipv6 = inside.ip_version == 6;
	inside_address.addr = inside.addr;
	if (inside_address.ipv6 != outside.ipv6) {
		snprintf(text, size, "nat rule %zu: internal: %s is not of the family of %s", n + 1,
			 internal, external);
		return -EINVAL;
	}
	if (floating && inside.len != (outside.ipv6 ? 128 : 32)) {
		snprintf(text, size,
			 "nat rule %zu: internal: %s is not one address, as a floating one needs",
			 n + 1, internal);
		return -EINVAL;
	}
	if (floating && json_object_get(nat, "ports") != NULL) {
		snprintf(text, size, "nat rule %zu: ports: have a meaning only with snat", n + 1);
		return -EINVAL;
	}
	interface = on_link(router, &outside, &own);
	if (interface == NULL) {
		snprintf(text, size,
			 "nat rule %zu: external: %s is on none of the router's networks", n + 1,
			 external);
		return -EINVAL;
	}
	if (floating && same_address(&own, &outside)) {
		snprintf(text, size, "nat rule %zu: external: %s is the router's own address",
			 n + 1, external);
		return -EBUSY;
	}
	port = port_with(model, text_of(interface, "network"), external);
	if (port != NULL) {
		snprintf(text, size, "nat rule %zu: external: %s is an address of port %s", n + 1,
			 external, port);
		return -EBUSY;
	}
	if (inside.len >= own.len && in_prefix(&own, own.len, &inside_address)) {
		snprintf(text, size, "nat rule %zu: internal: %s is on the network of %s itself",
			 n + 1, internal, external);
		return -EINVAL;
	}
	for (i = 0; i < n; i++) {
		const json_t *other = json_array_get(nats, i);
		bool both_snat = !floating && strcmp(text_of(other, "type"), "snat") == 0;

		if (!both_snat && same_text(text_of(other, "external"), external)) {
			snprintf(text, size, "nat rule %zu: external: %s is used by nat rule %zu",
				 n + 1, external, i + 1);
			return -EBUSY;
		}
		if (same_text(text_of(other, "internal"), internal) &&
		    same_text(text_of(other, "type"), text_of(nat, "type"))) {
			snprintf(text, size,
				 "nat rule %zu: internal: %s is translated by nat rule %zu already",
				 n + 1, internal, i + 1);
			return -EBUSY;
		}
	}
	return 0;
}

int xv_gateway_config_check_router(const json_t *model, const char *name, const char **key,
				   char *text, size_t size)
{
	const json_t *router = xv_model_get(model, "router", name);
	size_t i;
	int rc;

	*key = "interfaces";
	if (json_array_size(json_object_get(router, "interfaces")) == 0) {
		snprintf(text, size, "is empty: a router needs a network");
		return -EINVAL;
	}
	for (i = 0; i < json_array_size(json_object_get(router, "interfaces")); i++) {
		rc = check_interface(model, name, router, i, text, size);
		if (rc < 0)
			return rc;
	}
	*key = "gateways";
	rc = check_gateways(router, text, size);
	*key = rc < 0 ? *key : "nat";
	for (i = 0; rc == 0 && i < json_array_size(json_object_get(router, "nat")); i++)
		rc = check_nat(model, router, i, text, size);
	return rc;
}

/* ---- Derivation ---- */

bool xv_gateway_config_balances(const json_t *model, const char *network)
{
	const char *unused;
	json_t *lb;

	json_object_foreach (json_object_get(model, "lb"), unused, lb) {
		if (same_text(text_of(lb, "network"), network))
			return true;
	}
	return false;
}

static bool is_routed(const json_t *model, const char *network)
{
	const char *unused;
	json_t *router, *interface;
	size_t i;

	json_object_foreach (json_object_get(model, "router"), unused, router) {
		json_array_foreach (json_object_get(router, "interfaces"), i, interface) {
			if (same_text(text_of(interface, "network"), network))
				return true;
		}
	}
	return false;
}

bool xv_gateway_config_has(const json_t *model, const char *network)
{
	return xv_gateway_config_balances(model, network) || is_routed(model, network);
}

/* One that stays: of the host's own id (machine-id(5)) and the network's name. Locally
 * administered. */
static void default_mac(const char *network, char text[XV_MATCH_TEXT])
{
	static const char *const files[] = {"/etc/machine-id", "/var/lib/dbus/machine-id"};
	uint64_t hash = UINT64_C(0xcbf29ce484222325);
	char id[64 + XV_NAME_MAX] = "";
	size_t n = 0;
	FILE *f;

	for (unsigned int i = 0; i < 2 && n == 0; i++) {
		f = fopen(files[i], "re");
		if (f == NULL)
			continue;
		n = fread(id, 1, 32, f);
		fclose(f);
	}
	if (n == 0)
		(void)gethostname(id, 32);
	id[32] = '\0';
	strncat(id, network, XV_NAME_MAX);
	for (const char *c = id; *c != '\0'; c++)
		hash = (hash ^ (uint8_t)*c) * UINT64_C(0x100000001b3);
	snprintf(text, XV_MATCH_TEXT, "02:%02x:%02x:%02x:%02x:%02x",
		 (unsigned int)(hash >> 32 & 0xff), (unsigned int)(hash >> 24 & 0xff),
		 (unsigned int)(hash >> 16 & 0xff), (unsigned int)(hash >> 8 & 0xff),
		 (unsigned int)(hash & 0xff));
}

int xv_gateway_config_derive(json_t *model)
{
	json_t *ports = json_object(), *network, *port;
	char port_name[XV_NAME_MAX + sizeof(XV_GATEWAY_SUFFIX)], mac[XV_MATCH_TEXT];
	const char *name;

	json_object_foreach (json_object_get(model, "network"), name, network) {
		if (!xv_gateway_config_has(model, name))
			continue;
		snprintf(port_name, sizeof(port_name), "%.*s" XV_GATEWAY_SUFFIX, XV_NAME_MAX - 8,
			 name);
		if (text_of(network, "gateway_mac") != NULL)
			snprintf(mac, sizeof(mac), "%s", text_of(network, "gateway_mac"));
		else
			default_mac(name, mac);
		port = json_pack("{s:s, s:s, s:i, s:s, s:s}", "name", port_name, "kind", "internal",
				 "queues", 1, "network", name, "mac", mac);
		if (port == NULL || json_object_set_new(ports, port_name, port) < 0) {
			json_decref(ports);
			return -ENOMEM;
		}
	}
	return json_object_set_new(model, "internal", ports) < 0 ? -ENOMEM : 0;
}
