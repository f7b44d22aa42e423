/* SPDX-License-Identifier: Apache-2.0 */
/* Values against the tables: what each type takes, how each mistake is called. */
#include "unit.h"

#include <stdio.h>
#include <string.h>

#include "control/check.h"
#include "control/methods.h"
#include "control/schema.h"

/* Check one key of an object, given as JSON text, and compare the checked value as JSON text. */
static void expect(const char *object, const char *key, const char *given, const char *checked,
		   enum xv_errcode code)
{
	const struct xv_object *type = xv_schema_object(object);
	struct xv_err err = {0};
	json_t *args = json_object(), *out = NULL;
	char *text;
	int rc;

	json_object_set_new(args, key, json_loads(given, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL));
	rc = xv_check_keys(type->keys, args, NULL, XV_CHECK_CHANGES, &out, &err);
	json_decref(args);
	if (checked == NULL) {
		if (rc == 0)
			fail_msg("%s %s: accepted", key, given);
		assert_string_equal(xv_errcode_name(err.code), xv_errcode_name(code));
		assert_string_equal(err.key, key);
		assert_true(err.text[0] != '\0');
		return;
	}
	if (rc < 0)
		fail_msg("%s %s: %s", key, given, err.text);
	text = json_dumps(json_object_get(out, key), JSON_ENCODE_ANY | JSON_COMPACT);
	assert_string_equal(text, checked);
	free(text);
	json_decref(out);
}

static void test_values(void **state)
{
	static const struct {
		const char *object, *key, *given, *checked; /* checked NULL: refused with code */
		enum xv_errcode code;
	} cases[] = {
		/* numbers, as JSON and as text */
		{"port", "queues", "4", "4", 0},
		{"port", "queues", "\"4\"", "4", 0},
		{"port", "queues", "0", NULL, XV_ERR_RANGE},
		{"port", "queues", "33", NULL, XV_ERR_RANGE},
		{"port", "queues", "\"-1\"", NULL, XV_ERR_RANGE},
		{"port", "queues", "\"99999999999999999999\"", NULL, XV_ERR_RANGE},
		{"port", "queues", "\"four\"", NULL, XV_ERR_TYPE},
		{"port", "queues", "\"4 \"", NULL, XV_ERR_TYPE},
		{"port", "queues", "\" 4\"", NULL, XV_ERR_TYPE},
		{"port", "queues", "\"4k\"", NULL, XV_ERR_TYPE},
		{"port", "queues", "4.0", NULL, XV_ERR_TYPE},
		{"port", "queues", "true", NULL, XV_ERR_TYPE},
		{"port", "queues", "[4]", NULL, XV_ERR_TYPE},
		{"port", "queues", "{\"a\": 1}", NULL, XV_ERR_TYPE},
		{"port", "queues", "null", "null", 0},
		/* rates */
		{"port", "rx_limit_bps", "\"1G\"", "1000000000", 0},
		{"port", "rx_limit_bps", "\"10k\"", "10000", 0},
		{"port", "rx_limit_bps", "\"2M\"", "2000000", 0},
		{"port", "rx_limit_bps", "\"2T\"", NULL, XV_ERR_TYPE},
		{"port", "rx_limit_bps", "\"2MM\"", NULL, XV_ERR_TYPE},
		{"port", "rx_limit_bps", "\"9999999999G\"", NULL, XV_ERR_RANGE},
		{"port", "rx_limit_pps", "-1", NULL, XV_ERR_RANGE},
		/* truth */
		{"port", "tso", "true", "true", 0},
		{"port", "tso", "\"off\"", "false", 0},
		{"port", "tso", "\"yes\"", "true", 0},
		{"port", "tso", "1", NULL, XV_ERR_TYPE},
		{"port", "tso", "\"maybe\"", NULL, XV_ERR_TYPE},
		/* words */
		{"port", "kind", "\"tap\"", "\"tap\"", 0},
		{"port", "kind", "\"tpa\"", NULL, XV_ERR_RANGE},
		{"port", "kind", "3", NULL, XV_ERR_TYPE},
		/* names */
		{"port", "network", "\"blue-1.a_b\"", "\"blue-1.a_b\"", 0},
		{"port", "network", "\"1\"", "\"1\"", 0},
		{"port", "network", "1", NULL, XV_ERR_TYPE},
		{"port", "network", "\"\"", NULL, XV_ERR_RANGE},
		{"port", "network", "\"-x\"", NULL, XV_ERR_RANGE},
		{"port", "network", "\"a b\"", NULL, XV_ERR_RANGE},
		{"port", "network", "\"a:b\"", NULL, XV_ERR_RANGE},
		{"port", "network", "\"a\\u0000b\"", NULL, XV_ERR_RANGE},
		{"port", "network", "\"a\\\"b\"", NULL, XV_ERR_RANGE},
		{"port", "network",
		 "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"", NULL,
		 XV_ERR_RANGE},
		/* paths */
		{"port", "socket", "\"/run/vm1.sock\"", "\"/run/vm1.sock\"", 0},
		{"port", "socket", "\"vm1.sock\"", NULL, XV_ERR_RANGE},
		{"port", "socket", "\"\"", NULL, XV_ERR_RANGE},
		{"port", "socket", "\"/a\\nb\"", NULL, XV_ERR_RANGE},
		{"port", "socket", "\"/a\\u0000b\"", NULL, XV_ERR_RANGE},
		{"port", "socket", "7", NULL, XV_ERR_TYPE},
		/* VLANs: sorted and merged */
		{"port", "trunk", "[20, \"30-39\"]", "[20,\"30-39\"]", 0},
		{"port", "trunk", "\"20,30-39\"", "[20,\"30-39\"]", 0},
		{"port", "trunk", "[\"7\", 5, 6, \"8-10\", 10]", "[\"5-10\"]", 0},
		{"port", "trunk", "20", "[20]", 0},
		{"port", "trunk", "\"1-4094\"", "[\"1-4094\"]", 0},
		{"port", "trunk", "[]", "[]", 0},
		{"port", "trunk", "[0]", NULL, XV_ERR_RANGE},
		{"port", "trunk", "[4095]", NULL, XV_ERR_RANGE},
		{"port", "trunk", "[\"39-30\"]", NULL, XV_ERR_RANGE},
		{"port", "trunk", "[\"a\"]", NULL, XV_ERR_TYPE},
		{"port", "trunk", "[\"1-\"]", NULL, XV_ERR_TYPE},
		{"port", "trunk", "[[1]]", NULL, XV_ERR_TYPE},
		{"port", "trunk", "{}", NULL, XV_ERR_TYPE},
		/* lists of names */
		{"wire", "ports", "[\"a\", \"b\"]", "[\"a\",\"b\"]", 0},
		{"wire", "ports", "\"a,b\"", "[\"a\",\"b\"]", 0},
		{"wire", "ports", "[\"a\"]", NULL, XV_ERR_RANGE},
		{"wire", "ports", "[\"a\", \"b\", \"c\"]", NULL, XV_ERR_RANGE},
		{"wire", "ports", "[\"a\", \"a\"]", NULL, XV_ERR_RANGE},
		{"wire", "ports", "[\"a\", 1]", NULL, XV_ERR_TYPE},
		{"wire", "ports", "\"a,\"", NULL, XV_ERR_RANGE},
		/* permission bits: text, for 0660 is not 660 */
		{"daemon", "socket_mode", "\"0660\"", "\"0660\"", 0},
		{"daemon", "socket_mode", "\"660\"", "\"0660\"", 0},
		{"daemon", "socket_mode", "660", NULL, XV_ERR_TYPE},
		{"daemon", "socket_mode", "\"0668\"", NULL, XV_ERR_TYPE},
		{"daemon", "socket_mode", "\"1777\"", NULL, XV_ERR_RANGE},
		/* addresses */
		{"daemon", "metrics", "\"127.0.0.1:9180\"", "\"127.0.0.1:9180\"", 0},
		{"daemon", "metrics", "\"[::1]:9180\"", "\"[::1]:9180\"", 0},
		{"daemon", "metrics", "\"unix:/run/m\"", "\"unix:/run/m\"", 0},
		{"daemon", "metrics", "\"off\"", "\"off\"", 0},
		{"daemon", "metrics", "\"unix:m\"", NULL, XV_ERR_RANGE},
		{"daemon", "metrics", "\"127.0.0.1:0\"", NULL, XV_ERR_RANGE},
		{"daemon", "metrics", "\"127.0.0.1\"", NULL, XV_ERR_TYPE},
		{"daemon", "metrics", "\":9180\"", NULL, XV_ERR_TYPE},
		/* rules of a policy: each value in one form */
		{"policy", "default", "\"allow\"", "\"allow\"", 0},
		{"policy", "default", "\"drop\"", NULL, XV_ERR_RANGE},
		{"policy", "rules", "[]", "[]", 0},
		{"policy", "rules", "\"[]\"", "[]", 0},
		{"policy", "rules", "\"[{action: deny, protocol: 6}, {action: allow}]\"",
		 "[{\"action\":\"deny\",\"protocol\":\"tcp\"},{\"action\":\"allow\"}]", 0},
		{"policy", "rules", "[{\"action\": \"allow\", \"vlan\": \"0\", \"ip_version\": 6}]",
		 "[{\"action\":\"allow\",\"ip_version\":6,\"vlan\":0}]", 0},
		{"policy", "rules", "\"\"", NULL, XV_ERR_TYPE},
		{"policy", "rules", "\"allow\"", NULL, XV_ERR_TYPE},
		{"policy", "rules", "{}", NULL, XV_ERR_TYPE},
		{"policy", "rules", "7", NULL, XV_ERR_TYPE},
		/* keys */
		{"port", "sokcet", "1", NULL, XV_ERR_UNKNOWN_KEY},
	};

	for (unsigned int i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		expect(cases[i].object, cases[i].key, cases[i].given, cases[i].checked,
		       cases[i].code);
}

/* One key of a rule, beside what it needs; checked NULL: refused. */
static void test_rule_values(void **state)
{
	static const struct {
		const char *beside, *key, *given, *checked;
	} cases[] = {
		{"", "action", "\"deny\"", "\"deny\""},
		{"", "action", "\"drop\"", NULL},
		{"", "name", "\"no lab, please\"", "\"no lab, please\""},
		{"", "name", "\"\"", NULL},
		{"", "ip_version", "4", "4"},
		{"", "ip_version", "5", NULL},
		{"", "ip_version", "7", NULL},
		{"", "protocol", "\"tcp\"", "\"tcp\""},
		{"", "protocol", "6", "\"tcp\""},
		{"", "protocol", "\"58\"", "\"icmpv6\""},
		{"", "protocol", "0", "\"0\""},
		{"", "protocol", "255", "\"255\""},
		{"", "protocol", "256", NULL},
		{"", "protocol", "-1", NULL},
		{"", "protocol", "\"tpc\"", NULL},
		{"", "protocol", "\"6 \"", NULL},
		{"", "protocol", "\"\"", NULL},
		{"", "protocol", "true", NULL},
		{"", "source", "\"10.1.2.3/8\"", "\"10.0.0.0/8\""},
		{"", "source", "\"10.1.2.3\"", "\"10.1.2.3/32\""},
		{"", "source", "\"10.1.2.3/31\"", "\"10.1.2.2/31\""},
		{"", "source", "\"1.2.3.4/0\"", "\"0.0.0.0/0\""},
		{"", "source", "\"2001:DB8::1/32\"", "\"2001:db8::/32\""},
		{"", "source", "\"::1\"", "\"::1/128\""},
		{"", "source", "\"::/0\"", "\"::/0\""},
		{"", "source", "\"fe80::ffff/127\"", "\"fe80::fffe/127\""},
		{"", "source", "\"10.0.0.0/33\"", NULL},
		{"", "source", "\"::/129\"", NULL},
		{"", "source", "\"10.0.0.0/\"", NULL},
		{"", "source", "\"10.0.0.0/8/8\"", NULL},
		{"", "source", "\"10.0.0.0/-1\"", NULL},
		{"", "source", "\"10.0.0\"", NULL},
		{"", "source", "\"/8\"", NULL},
		{"", "source", "\"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff\"", NULL},
		{"", "source", "10", NULL},
		{"", "destination", "\"10.0.0.1/24\"", "\"10.0.0.0/24\""},
		{"tcp", "source_port", "80", "\"80\""},
		{"udp", "source_port", "\"80-90\"", "\"80-90\""},
		{"sctp", "destination_port", "\"80-80\"", "\"80\""},
		{"tcp", "destination_port", "\"0-65535\"", "\"0-65535\""},
		{"tcp", "destination_port", "65536", NULL},
		{"tcp", "destination_port", "\"90-80\"", NULL},
		{"tcp", "destination_port", "\"80-\"", NULL},
		{"tcp", "destination_port", "\"-80\"", NULL},
		{"tcp", "destination_port", "\"http\"", NULL},
		{"tcp", "destination_port", "\"1-2-3\"", NULL},
		{"tcp", "destination_port", "[80]", NULL},
		{"gre", "destination_port", "80", NULL},
		{"icmp", "icmp_type", "8", "8"},
		{"icmpv6", "icmp_type", "\"255\"", "255"},
		{"icmp", "icmp_type", "256", NULL},
		{"tcp", "icmp_type", "8", NULL},
		{"icmp", "icmp_code", "0", NULL}, /* of which type? */
		{"", "vlan", "4094", "4094"},
		{"", "vlan", "4095", NULL},
		{"", "source_mac", "\"02:AB:00:00:00:01\"", "\"02:ab:00:00:00:01\""},
		{"", "source_mac", "\"02:ab:cd:ef:00:01/ff:ff:ff:00:00:00\"",
		 "\"02:ab:cd:00:00:00/ff:ff:ff:00:00:00\""},
		{"", "source_mac", "\"02:ab:00:00:00:01/ff:ff:ff:ff:ff:ff\"",
		 "\"02:ab:00:00:00:01\""},
		{"", "source_mac", "\"02:ab:00:00:00:01/00:00:00:00:00:00\"", NULL},
		{"", "source_mac", "\"02:ab:00:00:00\"", NULL},
		{"", "source_mac", "\"02:ab:00:00:00:01:02\"", NULL},
		{"", "source_mac", "\"02:ab:00:00:00:0\"", NULL},
		{"", "source_mac", "\"02:ab:00:00:00:01/\"", NULL},
		{"", "source_mac", "\"02-ab-00-00-00-01\"", NULL},
		{"", "source_mac", "\"0\"", NULL},
		{"", "source_mac", "\"\"", NULL},
		{"", "destination_mac", "\"ff:ff:ff:ff:ff:ff\"", "\"ff:ff:ff:ff:ff:ff\""},
		{"", "ether_type", "\"0x0806\"", "\"0x0806\""},
		{"", "ether_type", "2054", "\"0x0806\""},
		{"", "ether_type", "\"0X86DD\"", "\"0x86dd\""},
		{"", "ether_type", "\"0x\"", NULL},
		{"", "ether_type", "\"0806\"", NULL},
		{"", "ether_type", "\"0x05fe\"", NULL},
		{"", "ether_type", "\"0x10000\"", NULL},
		{"", "ether_type", "\"arp\"", NULL},
		{"", "sorce", "\"::1\"", NULL},
	};

	for (unsigned int i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct xv_key *keys = xv_schema_object("policy")->keys;
		json_t *args, *rule, *out = NULL;
		struct xv_err err = {0};
		char key[60];
		char *text;
		int rc;

		args = json_pack("{s:[{s:s},{s:s}]}", "rules", "action", "deny", "action", "allow");
		rule = json_array_get(json_object_get(args, "rules"), 1);
		if (cases[i].beside[0] != '\0')
			json_object_set_new(rule, "protocol", json_string(cases[i].beside));
		json_object_set_new(rule, cases[i].key,
				    json_loads(cases[i].given, JSON_DECODE_ANY, NULL));
		rc = xv_check_keys(keys, args, NULL, XV_CHECK_CHANGES, &out, &err);
		json_decref(args);
		if (cases[i].checked == NULL) {
			if (rc == 0)
				fail_msg("%s %s: accepted", cases[i].key, cases[i].given);
			snprintf(key, sizeof(key), "rule 2: %s", cases[i].key);
			assert_string_equal(err.key, key);
			assert_true(err.code != XV_ERR_NONE && err.text[0] != '\0' &&
				    err.line == 0);
			continue;
		}
		if (rc < 0)
			fail_msg("%s %s: %s: %s", cases[i].key, cases[i].given, err.key, err.text);
		rule = json_array_get(json_object_get(out, "rules"), 1);
		text = json_dumps(json_object_get(rule, cases[i].key),
				  JSON_ENCODE_ANY | JSON_COMPACT);
		assert_string_equal(text, cases[i].checked);
		free(text);
		json_decref(out);
	}
}

static void test_long_path(void **state)
{
	char path[200], json[210];

	memset(path, 'x', sizeof(path));
	path[0] = '/';
	path[XV_SOCKET_PATH_MAX] = '\0';
	snprintf(json, sizeof(json), "\"%s\"", path);
	expect("port", "socket", json, json, 0);
	path[XV_SOCKET_PATH_MAX] = 'x';
	path[XV_SOCKET_PATH_MAX + 1] = '\0';
	snprintf(json, sizeof(json), "\"%s\"", path);
	expect("port", "socket", json, NULL, XV_ERR_RANGE);
}

static int full_port(const char *json, json_t **out, struct xv_err *err)
{
	json_t *given = json_loads(json, JSON_DECODE_ANY, NULL);
	int rc;

	*err = (struct xv_err){0};
	assert_non_null(given);
	rc = xv_check_keys(xv_schema_object("port")->keys, given, NULL, XV_CHECK_FULL, out, err);
	json_decref(given);
	return rc;
}

static void test_whole_port(void **state)
{
	struct xv_err err;
	json_t *out;

	/* Defaults are filled in, keys of other kinds are not there. */
	assert_int_equal(full_port("{\"name\": \"a\", \"socket\": \"/a\"}", &out, &err), 0);
	assert_string_equal(json_string_value(json_object_get(out, "kind")), "vhost");
	assert_string_equal(json_string_value(json_object_get(out, "mode")), "server");
	assert_int_equal(json_integer_value(json_object_get(out, "queues")), 1);
	assert_true(json_is_true(json_object_get(out, "tso")));
	assert_null(json_object_get(out, "device"));
	assert_null(json_object_get(out, "mtu"));
	json_decref(out);

	assert_true(full_port("{\"name\": \"a\"}", &out, &err) < 0);
	assert_int_equal(err.code, XV_ERR_MISSING_KEY);
	assert_string_equal(err.key, "socket");
	assert_true(full_port("{\"socket\": \"/a\"}", &out, &err) < 0);
	assert_int_equal(err.code, XV_ERR_MISSING_KEY);
	assert_string_equal(err.key, "name");
	assert_true(full_port("{\"name\": \"a\", \"kind\": \"tap\", \"interface\": \"t\", "
			      "\"socket\": \"/a\"}",
			      &out, &err) < 0);
	assert_int_equal(err.code, XV_ERR_UNKNOWN_KEY);
	assert_string_equal(err.key, "socket");
	assert_true(full_port("{\"name\": \"a\", \"kind\": \"vhots\", \"socket\": \"/a\"}", &out,
			      &err) < 0);
	assert_string_equal(err.key, "kind");
	assert_non_null(strstr(err.text, "did you mean \"vhost\"?"));
	assert_true(full_port("[1]", &out, &err) < 0);
	assert_int_equal(err.code, XV_ERR_TYPE);
}

static void test_vlan_bitmap(void **state)
{
	json_t *vlans = json_pack("[i, s]", 1, "63-65");
	uint64_t bitmap[4096 / 64];

	xv_check_vlans(vlans, bitmap);
	assert_true(bitmap[0] == (UINT64_C(1) << 1 | UINT64_C(1) << 63));
	assert_true(bitmap[1] == 3);
	xv_check_vlans(NULL, bitmap);
	assert_true(bitmap[0] == 0 && bitmap[63] == 0);
	json_decref(vlans);
}

/* The tables themselves: every default passes its own check, every reference names an object. */
static void test_tables(void **state)
{
	for (const struct xv_object *type = xv_schema; type->name != NULL; type++) {
		assert_true(type->single || strcmp(type->keys[0].name, "name") == 0);
		for (const struct xv_key *key = type->keys; key->name != NULL; key++) {
			assert_non_null(key->help);
			assert_true(key->ref == NULL || xv_schema_object(key->ref) != NULL);
			assert_true(key->type == XV_TYPE_NUMBER ||
				    (key->type == XV_TYPE_WORD) == (key->words != NULL));
			if (key->def != NULL) {
				json_t *args = json_object(), *out = NULL;
				struct xv_err err = {0};

				json_object_set_new(args, key->name, json_string(key->def));
				if (xv_check_keys(type->keys, args, NULL, XV_CHECK_CHANGES, &out,
						  &err))
					fail_msg("%s: default: %s", key->name, err.text);
				json_decref(args);
				json_decref(out);
			}
		}
	}
	for (unsigned int i = 0; i < XV_METHOD_MAX; i++) {
		const struct xv_method *method = &xv_methods[i];

		assert_ptr_equal(xv_method_lookup(method->name), method);
		assert_non_null(xv_method_keys(method));
		assert_true(method->object == NULL || xv_schema_object(method->object) != NULL);
	}
	assert_null(xv_method_lookup("port.frobnicate"));
}

static void test_nearest(void **state)
{
	struct xv_nearest nearest;

	xv_nearest_init(&nearest, "netwrok");
	xv_nearest_feed(&nearest, "name");
	xv_nearest_feed(&nearest, "network");
	assert_string_equal(nearest.best, "network");
	xv_nearest_init(&nearest, "zzzz");
	xv_nearest_feed(&nearest, "network");
	assert_null(nearest.best);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values),      cmocka_unit_test(test_rule_values),
		cmocka_unit_test(test_long_path),   cmocka_unit_test(test_whole_port),
		cmocka_unit_test(test_vlan_bitmap), cmocka_unit_test(test_tables),
		cmocka_unit_test(test_nearest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
