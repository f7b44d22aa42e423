/* SPDX-License-Identifier: Apache-2.0 */
#include "control/firewall_config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/groups.h"
#include "control/match.h"
#include "control/model.h"
#include "control/policy_config.h"
#include "control/rule_counts.h"
#include "control/tunnels.h"

static const char *text_of(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static bool is_egress(const json_t *rule)
{
	return strcmp(text_of(rule, "direction"), "egress") == 0;
}

/* ---- Rules of groups as rules of policies ---- */

/*
 * The same rule as a policy has it, but for the remote end: address, or NULL for any. Ports and ICMP types are those of the
 * packet that opens the connection.
 */
static json_t *policy_rule(const json_t *rule, const char *address)
{
	static const char *const same[][2] = {{"action", "action"},	    {"protocol", "protocol"},
					      {"ip_version", "ip_version"}, {"icmp_type", "icmp_type"},
					      {"icmp_code", "icmp_code"},   {"port", "destination_port"},
					      {"log", "log"}};
	json_t *out = json_object();

	for (unsigned int i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
		json_t *v = json_object_get(rule, same[i][0]);

		if (v != NULL)
			json_object_set(out, same[i][1], v);
	}
	if (address != NULL)
		json_object_set_new(out, is_egress(rule) ? "destination" : "source", json_string(address));
	return out;
}

/* The key of the group's rule that became this key of the policy's. */
static const char *key_of(const json_t *rule, const char *key)
{
	if (strcmp(key, "destination_port") == 0)
		return "port";
	return strcmp(key, is_egress(rule) ? "destination" : "source") == 0 ? "remote" : key;
}

/* ---- Addresses that nobody on a network has ---- */

/* Why no VM has an address of this prefix, or NULL. A sender's is no group's, either. */
static const char *reserved_for(const struct xv_match_prefix *prefix, bool sender)
{
	static const struct {
		const char *range, *why;
		bool receiver; /* may have it */
	} ranges[] = {
		{"0.0.0.0/8", "a host that has no address yet", false},		 /* RFC 1122 section 3.2.1.3 */
		{"127.0.0.0/8", "loopback, inside of a host", false},		 /* the same */
		{"224.0.0.0/4", "multicast groups, which do not send", true},	 /* the same */
		{"255.255.255.255/32", "broadcasts, which do not send", true},	 /* the same */
		{"240.0.0.0/4", "nobody (RFC 1112)", false},
		{"::/128", "a host that has no address yet", false},		 /* RFC 4291 section 2.5.2 */
		{"::1/128", "loopback, inside of a host", false},		 /* section 2.5.3 */
		{"ff00::/8", "multicast groups, which do not send", true},	 /* section 2.7 */
	};
	struct xv_match_prefix range;

	for (unsigned int i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
		unsigned int first, bit;

		if (xv_match_prefix_parse(ranges[i].range, &range) < 0 || range.ip_version != prefix->ip_version ||
		    prefix->len < range.len)
			continue;
		first = range.ip_version == 4 ? 96 : 0;
		for (bit = first; bit < first + range.len; bit++)
			if (((prefix->addr.bytes[bit / 8] ^ range.addr.bytes[bit / 8]) >> (7 - bit % 8) & 1) != 0)
				break;
		if (bit == first + range.len)
			return ranges[i].receiver && !sender ? NULL : ranges[i].why;
	}
	return NULL;
}

/* The remote end of a rule is one that can be. */
static int check_remote(const json_t *rule, struct xv_err *err)
{
	const char *text = text_of(rule, "remote"), *why;
	struct xv_match_prefix prefix;

	if (text == NULL || xv_match_prefix_parse(text, &prefix) < 0)
		return 0;
	why = reserved_for(&prefix, !is_egress(rule));
	if (why == NULL)
		return 0;
	xv_err_key(err, "remote");
	return xv_err_set(err, -EINVAL, XV_ERR_RANGE, "%s is reserved: for %s", text, why);
}

int xv_firewall_config_check_rule(const json_t *rule, struct xv_err *err)
{
	json_t *as_policy;
	char key[sizeof(err->key)];
	int rc = check_remote(rule, err);

	if (rc < 0)
		return rc;

	if (json_object_get(rule, "remote") != NULL && json_object_get(rule, "remote_group") != NULL) {
		xv_err_key(err, "remote_group");
		return xv_err_set(err, -EINVAL, XV_ERR_RANGE, "says who may be at the other end, and so does remote: leave one out");
	}
	as_policy = policy_rule(rule, text_of(rule, "remote"));
	rc = xv_policy_config_check_rule(as_policy, err);
	json_decref(as_policy);
	if (rc < 0 && err != NULL) {
		snprintf(key, sizeof(key), "%s", key_of(rule, err->key));
		err->key[0] = '\0';
		xv_err_key(err, key);
	}
	return rc;
}

/* ---- Ports ---- */

/* Addresses of the port are such as a VM can have. */
static int check_own(const json_t *port, const char **key, char *text, size_t size)
{
	const char *mac_text = text_of(port, "mac"), *why;
	struct xv_match_prefix prefix;
	struct xv_match_mac mac;
	json_t *address;
	size_t i;

	if (mac_text != NULL && xv_match_mac_parse(mac_text, &mac) == 0) {
		static const uint8_t zero[6], all[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

		*key = "mac";
		if (memcmp(mac.mask, all, 6) != 0)
			return snprintf(text, size, "must be one address, without a mask"), -EINVAL;
		if ((mac.addr[0] & 1) != 0 || memcmp(mac.addr, zero, 6) == 0)
			return snprintf(text, size, "%s is reserved: for %s", mac_text,
					(mac.addr[0] & 1) != 0 ? "groups, which do not send" : "nobody"), -EINVAL;
	}
	json_array_foreach (json_object_get(port, "addresses"), i, address) {
		if (xv_match_prefix_parse(json_string_value(address), &prefix) < 0)
			continue;
		why = reserved_for(&prefix, true);
		if (why == NULL)
			continue;
		*key = "addresses";
		snprintf(text, size, "%s is reserved: for %s", json_string_value(address), why);
		return -EINVAL;
	}
	return 0;
}

int xv_firewall_config_check_port(const json_t *port, const char **key, char *text, size_t size)
{
	static const char *const keys[] = {"groups", "mac", "addresses", "anti_spoofing"};

	for (unsigned int i = 0; i < 4 && json_object_get(port, "network") == NULL; i++) {
		if (json_object_get(port, keys[i]) == NULL)
			continue;
		*key = keys[i];
		snprintf(text, size, "works only on a network: a wire looks at no packet");
		return -EINVAL;
	}
	for (unsigned int i = 1; i < 4 && json_object_get(port, "groups") == NULL; i++) {
		if (json_object_get(port, keys[i]) == NULL)
			continue;
		*key = keys[i];
		snprintf(text, size, "is for ports in security groups: name them with groups");
		return -EINVAL;
	}
	if (json_object_get(port, "groups") == NULL)
		return 0;
	if (check_own(port, key, text, size) < 0)
		return -EINVAL;
	if (json_is_false(json_object_get(port, "anti_spoofing")))
		return 0;
	if (json_object_get(port, "mac") == NULL || json_object_get(port, "addresses") == NULL) {
		*key = json_object_get(port, "mac") == NULL ? "mac" : "addresses";
		snprintf(text, size, "is missing: spoofing cannot be told from the VM's own packets without it; "
				     "or set anti_spoofing: false");
		return -EINVAL;
	}
	return 0;
}

/* ---- Derivation ---- */

/* Rules for an address of each of these ports; a group of nobody matches nobody. */
static void add_for_members(json_t *rules, const json_t *model, const json_t *rule, const json_t *members, const char *name,
			    uint32_t counter)
{
	json_t *member, *address;
	size_t i, n;

	json_array_foreach (members, n, member) {
		const json_t *port = xv_model_get(model, "port", json_string_value(member));

		json_array_foreach (json_object_get(port, "addresses"), i, address) {
			const char *text = json_string_value(address);
			json_t *proto = json_object_get(rule, "protocol"), *version = json_object_get(rule, "ip_version"), *r;
			bool ipv6 = strchr(text, ':') != NULL;

			/* An address that the rule cannot be about. */
			if (version != NULL && (json_integer_value(version) == 6) != ipv6)
				continue;
			if (proto != NULL && strcmp(json_string_value(proto), ipv6 ? "icmp" : "icmpv6") == 0)
				continue;
			r = policy_rule(rule, text);
			json_object_set_new(r, "name", json_string(name));
			json_object_set_new(r, "counter", json_integer(counter));
			json_array_append_new(rules, r);
		}
	}
}

/* A policy of all rules of these groups that are about this direction, in order. members: of each group. */
static json_t *derive_policy(const json_t *model, const json_t *counters, const json_t *members, const json_t *groups, bool egress)
{
	json_t *rules = json_array(), *group_name, *rule;
	size_t i, n;

	json_array_foreach (groups, i, group_name) {
		const char *group = json_string_value(group_name);

		json_array_foreach (json_object_get(xv_model_get(model, "group", group), "rules"), n, rule) {
			const char *remote_group = text_of(rule, "remote_group"), *own = text_of(rule, "name");
			uint32_t counter = xv_rule_counter_of(counters, "group", group, n);
			char name[2 * XV_NAME_MAX + 2];
			json_t *r;

			if (is_egress(rule) != egress)
				continue;
			if (own != NULL)
				snprintf(name, sizeof(name), "%s/%s", group, own);
			else
				snprintf(name, sizeof(name), "%s/%zu", group, n + 1);
			if (remote_group != NULL) {
				add_for_members(rules, model, rule, json_object_get(members, remote_group), name, counter);
				continue;
			}
			r = policy_rule(rule, text_of(rule, "remote"));
			json_object_set_new(r, "name", json_string(name));
			json_object_set_new(r, "counter", json_integer(counter));
			json_array_append_new(rules, r);
		}
	}
	return json_pack("{s:s, s:s, s:o}", "name", "firewall", "default", "deny", "rules", rules);
}

static json_t *derive_guard(const json_t *port)
{
	json_t *guard = json_array(), *address;
	size_t i;

	if (json_is_false(json_object_get(port, "anti_spoofing")))
		return guard;
	json_array_foreach (json_object_get(port, "addresses"), i, address)
		json_array_append_new(guard, json_pack("{s:O, s:O}", "mac", json_object_get(port, "mac"), "address",
						       address));
	return guard;
}

int xv_firewalls_derive(json_t *model, const json_t *counters)
{
	json_t *firewalls = json_object(), *tracked = json_object(), *members = xv_groups_members(model), *port, *groups;
	const char *name;

	json_object_foreach (json_object_get(model, "port"), name, port) {
		if (json_object_get(port, "groups") == NULL)
			continue;
		groups = xv_groups_of(model, port);
		json_object_set_new(tracked, text_of(port, "network"), json_true());
		json_object_set_new(firewalls, name,
				    json_pack("{s:s, s:o, s:o, s:o}", "name", name,
					      "egress", derive_policy(model, counters, members, groups, true),
					      "ingress", derive_policy(model, counters, members, groups, false),
					      "guard", derive_guard(port)));
		json_decref(groups);
	}
	json_decref(members);
	return json_object_set_new(model, "firewall", firewalls) < 0 || json_object_set_new(model, "tracked", tracked) < 0
		       ? -ENOMEM
		       : 0;
}

bool xv_firewalls_on(const json_t *model, const char *network)
{
	return json_object_get(json_object_get(model, "tracked"), network) != NULL;
}

/* ---- Compilation ---- */

static int compile_guard(const json_t *config, struct xv_guard **guardp)
{
	size_t n = json_array_size(config);
	struct xv_guard *guard = calloc(1, sizeof(*guard) + n * sizeof(guard->addresses[0]));
	json_t *pair;
	size_t i;

	if (guard == NULL)
		return -ENOMEM;
	json_array_foreach (config, i, pair) {
		struct xv_guard_address *a = &guard->addresses[guard->n];
		struct xv_address address;
		struct xv_match_mac mac;

		if (xv_address_parse(text_of(pair, "address"), false, &address) < 0 ||
		    xv_match_mac_parse(text_of(pair, "mac"), &mac) < 0)
			continue;
		memcpy(a->mac, mac.addr, sizeof(a->mac));
		a->ipv6 = address.ipv6;
		a->len = address.len;
		a->addr = address.addr;
		guard->n++;
	}
	*guardp = guard;
	return 0;
}

int xv_firewall_config_compile(const json_t *config, struct xv_firewall **firewallp, struct xv_err *err)
{
	const json_t *guard_config = json_object_get(config, "guard");
	struct xv_policy *egress = NULL, *ingress = NULL;
	struct xv_guard *guard = NULL;
	struct xv_firewall *f = calloc(1, sizeof(*f));
	int rc = f != NULL ? 0 : -ENOMEM;

	if (rc == 0)
		rc = xv_policy_config_compile(json_object_get(config, "egress"), &egress, err);
	if (rc == 0)
		rc = xv_policy_config_compile(json_object_get(config, "ingress"), &ingress, err);
	if (rc == 0 && json_array_size(guard_config) > 0)
		rc = compile_guard(guard_config, &guard);
	if (rc < 0) {
		xv_policy_destroy(egress);
		xv_policy_destroy(ingress);
		free(f);
		return rc;
	}
	*f = (struct xv_firewall){.egress = egress, .ingress = ingress, .guard = guard};
	*firewallp = f;
	return 0;
}

void xv_firewall_destroy(struct xv_firewall *f)
{
	if (f == NULL)
		return;
	xv_policy_destroy((struct xv_policy *)(uintptr_t)f->egress);
	xv_policy_destroy((struct xv_policy *)(uintptr_t)f->ingress);
	free((struct xv_guard *)(uintptr_t)f->guard);
	free(f);
}
