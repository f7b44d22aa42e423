/* SPDX-License-Identifier: Apache-2.0 */
#include "control/policy_config.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/match.h"

#define ETH_IPV4     0x0800
#define ETH_IPV6     0x86dd
#define PROTO_ICMP   1
#define PROTO_TCP    6
#define PROTO_UDP    17
#define PROTO_ICMPV6 58
#define PROTO_SCTP   132

static const char *text_of(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static int32_t number_of(const json_t *object, const char *key, int32_t none)
{
	const json_t *v = json_object_get(object, key);

	return v ? (int32_t)json_integer_value(v) : none;
}

__attribute__((format(printf, 3, 4))) static int fault(struct xv_err *err, const char *key,
						       const char *fmt, ...)
{
	char text[200];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	xv_err_key(err, key);
	return xv_err_set(err, -EINVAL, XV_ERR_RANGE, "%s", text);
}

/* Which IP version a rule is about, and the key that said so. */
struct version {
	uint8_t ip;
	const char *key;
};

static int version_merge(struct version *v, uint8_t ip, const char *key, struct xv_err *err)
{
	if (ip == 0 || v->ip == ip)
		return 0;
	if (v->ip != 0)
		return fault(err, key, "means IPv%u, but %s means IPv%u", ip, v->key, v->ip);
	*v = (struct version){.ip = ip, .key = key};
	return 0;
}

static int merge_prefix(struct version *v, const json_t *rule, const char *key,
			union xv_ip_addr *addr, uint8_t *len, struct xv_err *err)
{
	const char *text = text_of(rule, key);
	struct xv_match_prefix prefix;

	if (text == NULL || xv_match_prefix_parse(text, &prefix) < 0)
		return 0;
	*addr = prefix.addr;
	*len = prefix.len;
	return version_merge(v, prefix.ip_version, key, err);
}

/* What is about IP: version, protocol, prefixes. */
static int fill_ip(const json_t *rule, struct xv_policy_rule *r, struct xv_err *err)
{
	const char *eth_type = text_of(rule, "ether_type"), *proto = text_of(rule, "protocol");
	struct version v = {0};
	int rc;

	if (number_of(rule, "ip_version", 0) == 5)
		return fault(err, "ip_version", "must be 4 or 6, not 5");
	if (eth_type != NULL)
		(void)xv_match_eth_type_parse(eth_type, &r->eth_type);
	if (proto != NULL)
		r->has_proto = xv_match_protocol_parse(proto, &r->proto) == 0;
	rc = version_merge(&v, (uint8_t)number_of(rule, "ip_version", 0), "ip_version", err);
	if (rc == 0)
		rc = version_merge(&v,
				   r->eth_type == ETH_IPV4   ? 4
				   : r->eth_type == ETH_IPV6 ? 6
							     : 0,
				   "ether_type", err);
	if (rc == 0 && r->has_proto)
		rc = version_merge(&v,
				   r->proto == PROTO_ICMP     ? 4
				   : r->proto == PROTO_ICMPV6 ? 6
							      : 0,
				   "protocol", err);
	if (rc == 0)
		rc = merge_prefix(&v, rule, "source", &r->src, &r->src_len, err);
	if (rc == 0)
		rc = merge_prefix(&v, rule, "destination", &r->dst, &r->dst_len, err);
	if (rc < 0)
		return rc;
	if (r->eth_type != 0 && r->eth_type != ETH_IPV4 && r->eth_type != ETH_IPV6 &&
	    (v.ip != 0 || r->has_proto))
		return fault(err, "ether_type", "is not that of IP, but %s is about IP",
			     v.ip ? v.key : "protocol");
	r->ip_version = v.ip;
	if (v.ip != 0)
		r->eth_type = 0; /* said by the version */
	return 0;
}

static int fill_ports(const json_t *rule, const char *key, struct xv_policy_rule *r, uint16_t *min,
		      uint16_t *max, struct xv_err *err)
{
	const char *text = text_of(rule, key);
	struct xv_match_range ports;

	if (text == NULL || xv_match_ports_parse(text, &ports) < 0)
		return 0;
	if (!r->has_proto ||
	    (r->proto != PROTO_TCP && r->proto != PROTO_UDP && r->proto != PROTO_SCTP))
		return fault(err, key, "needs protocol tcp, udp or sctp");
	*min = ports.min;
	*max = ports.max;
	return 0;
}

static int fill_icmp(const json_t *rule, struct xv_policy_rule *r, struct xv_err *err)
{
	static const char *const keys[] = {"icmp_type", "icmp_code"};

	r->icmp_type = (int16_t)number_of(rule, keys[0], -1);
	r->icmp_code = (int16_t)number_of(rule, keys[1], -1);
	for (unsigned int i = 0; i < 2; i++) {
		if (json_object_get(rule, keys[i]) != NULL &&
		    (!r->has_proto || (r->proto != PROTO_ICMP && r->proto != PROTO_ICMPV6)))
			return fault(err, keys[i], "needs protocol icmp or icmpv6");
	}
	if (r->icmp_code >= 0 && r->icmp_type < 0)
		return fault(err, keys[1], "needs icmp_type: what a code means depends on it");
	return 0;
}

static void fill_mac(const json_t *rule, const char *key, uint8_t addr[6], uint8_t mask[6])
{
	const char *text = text_of(rule, key);
	struct xv_match_mac mac;

	if (text == NULL || xv_match_mac_parse(text, &mac) < 0)
		return;
	memcpy(addr, mac.addr, sizeof(mac.addr));
	memcpy(mask, mac.mask, sizeof(mac.mask));
}

/* rule is checked: each value by itself is valid. */
static int fill(const json_t *rule, struct xv_policy_rule *r, struct xv_err *err)
{
	const char *name = text_of(rule, "name"), *action = text_of(rule, "action");
	int rc;

	xv_policy_rule_init(r);
	r->verdict = strcmp(action, "allow") == 0    ? XV_POLICY_ALLOW
		     : strcmp(action, "reject") == 0 ? XV_POLICY_REJECT
						     : XV_POLICY_DENY;
	r->log = json_is_true(json_object_get(rule, "log"));
	snprintf(r->name, sizeof(r->name), "%s", name ? name : "");
	r->vlan = number_of(rule, "vlan", -1);
	r->counter = (uint32_t)number_of(rule, "counter", 0);
	fill_mac(rule, "source_mac", r->eth_src, r->eth_src_mask);
	fill_mac(rule, "destination_mac", r->eth_dst, r->eth_dst_mask);
	rc = fill_ip(rule, r, err);
	if (rc == 0)
		rc = fill_ports(rule, "source_port", r, &r->src_port_min, &r->src_port_max, err);
	if (rc == 0)
		rc = fill_ports(rule, "destination_port", r, &r->dst_port_min, &r->dst_port_max,
				err);
	return rc == 0 ? fill_icmp(rule, r, err) : rc;
}

int xv_policy_config_check_rule(const json_t *rule, struct xv_err *err)
{
	struct xv_policy_rule r;

	return fill(rule, &r, err);
}

int xv_policy_config_compile(const json_t *config, struct xv_policy **policy, struct xv_err *err)
{
	const json_t *list = json_object_get(config, "rules");
	unsigned int n = (unsigned int)json_array_size(list);
	struct xv_policy_rule *rules = calloc(n + 1, sizeof(*rules));
	enum xv_verdict otherwise =
		strcmp(text_of(config, "default"), "allow") == 0 ? XV_POLICY_ALLOW : XV_POLICY_DENY;
	int rc = rules ? 0 : -ENOMEM;

	for (unsigned int i = 0; i < n && rc == 0; i++)
		rc = fill(json_array_get(list, i), &rules[i], err);
	if (rc == 0)
		rc = xv_policy_create(text_of(config, "name"), rules, n, otherwise, policy);
	free(rules);
	if (rc == 0)
		xv_policy_count_otherwise(*policy, (uint32_t)number_of(config, "default_counter", 0));
	if (rc < 0 && (err == NULL || err->code == XV_ERR_NONE))
		return xv_err_set(err, rc, XV_ERR_RESOURCE, "%s", strerror(-rc));
	return rc;
}
