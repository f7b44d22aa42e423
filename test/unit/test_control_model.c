/* SPDX-License-Identifier: Apache-2.0 */
/* Host files as text: what is understood, how each mistake is reported, what differs between two.
 */
#include "unit.h"

#include <stdio.h>
#include <string.h>

#include "control/hostfile.h"
#include "control/match.h"
#include "control/model.h"
#include "control/policy_config.h"

static cpu_set_t cpus; /* 0 and 1 */

static json_t *parse(const char *text)
{
	struct xv_err err = {0};
	json_t *model = NULL;
	char sentence[700];

	if (xv_model_parse(text, strlen(text), &cpus, &model, NULL, &err) < 0)
		fail_msg("%s", xv_err_sentence(&err, "host.yaml", sentence, sizeof(sentence)));
	return model;
}

/* The second of two rules is wrong; it begins on line 5. */
#define RULES "policies:\n  - name: web\n    rules:\n      - {action: allow}\n      - "

static void test_mistakes(void **state)
{
	static const struct {
		const char *text, *sentence;
		enum xv_errcode code;
	} cases[] = {
		/* YAML itself */
		{"ports: [", "host.yaml:2: not YAML", XV_ERR_SYNTAX},
		{"a: b\n\tc: d\n", "host.yaml:2: not YAML", XV_ERR_SYNTAX},
		{"ports: &x []\n", "host.yaml:1: anchors", XV_ERR_SYNTAX},
		{"ports: *x\n", "host.yaml:1: anchors", XV_ERR_SYNTAX},
		{"networks: []\nnetworks: []\n", "host.yaml:2: networks: key is given twice",
		 XV_ERR_SYNTAX},
		{"ports:\n  - name: a\n    name: b\n", "host.yaml:3: name: key is given twice",
		 XV_ERR_SYNTAX},
		{"a: 1\n---\nb: 1\n", "host.yaml:2: holds a second document", XV_ERR_SYNTAX},
		{"? [a]\n: b\n", "host.yaml:1: a key must be a plain word", XV_ERR_SYNTAX},
		{"a: [[[[[[[[[[1]]]]]]]]]]\n", "host.yaml:1: nested too deeply", XV_ERR_SYNTAX},
		/* shape */
		{"just text\n", "host.yaml:1: must be a mapping", XV_ERR_TYPE},
		{"[a]\n", "host.yaml:1: must be a mapping", XV_ERR_TYPE},
		{"prots: []\n", "host.yaml:1: prots: unknown section; did you mean \"ports\"?",
		 XV_ERR_UNKNOWN_KEY},
		{"daemon: [1]\n", "host.yaml:1: daemon: must be a mapping", XV_ERR_TYPE},
		{"\nwyres:\n  - name: a\n",
		 "host.yaml:2: wyres: unknown section; did you mean \"wires\"?",
		 XV_ERR_UNKNOWN_KEY},
		{"\nports: 7\n", "host.yaml:2: ports: must be a list", XV_ERR_TYPE},
		{"ports:\n  a: {}\n", "host.yaml:1: ports: must be a list", XV_ERR_TYPE},
		{"ports:\n  - vm1\n", "host.yaml:1: ports: must be a mapping", XV_ERR_TYPE},
		/* keys and values: object, key and line */
		{"daemon:\n  batch: 32\n  bach: 1\n",
		 "host.yaml:3: daemon: bach: unknown key; did you mean \"batch\"?",
		 XV_ERR_UNKNOWN_KEY},
		{"ports:\n  - name: vm1\n    sokcet: /a\n",
		 "host.yaml:3: port vm1: sokcet: unknown key; did you mean \"socket\"?",
		 XV_ERR_UNKNOWN_KEY},
		{"ports:\n  - socket: /a\n", "host.yaml:2: ports: name: is missing",
		 XV_ERR_MISSING_KEY},
		{"ports:\n\n  - name: vm1\n    mode: server\n",
		 "host.yaml:3: port vm1: socket: is missing", XV_ERR_MISSING_KEY},
		{"ports:\n  - name: vm1\n    socket:\n",
		 "host.yaml:3: port vm1: socket: is missing", XV_ERR_MISSING_KEY},
		{"ports:\n  - name: vm1\n    socket: /a\n    queues: four\n",
		 "host.yaml:4: port vm1: queues: must be number 1..32, not \"four\"", XV_ERR_TYPE},
		{"ports:\n  - name: vm1\n    socket: /a\n    queues: [4]\n",
		 "host.yaml:4: port vm1: queues: must be number 1..32, not a list", XV_ERR_TYPE},
		{"ports:\n  - name: vm1\n    socket:\n      path: /a\n",
		 "host.yaml:3: port vm1: socket: must be absolute path, not a mapping",
		 XV_ERR_TYPE},
		{"ports:\n  - name: vm1\n    socket: /a\n    vlan: 4095\n",
		 "host.yaml:4: port vm1: vlan: 4095 is out of range 0..4094", XV_ERR_RANGE},
		{"ports:\n  - name: t\n    kind: tap\n    interface: abcdefghijklmnop\n",
		 "host.yaml:4: port t: interface: is longer than 15 bytes", XV_ERR_RANGE},
		{"daemon:\n  memory_mb: 63\n",
		 "host.yaml:2: daemon: memory_mb: 63 is too little; 0 or at least 64",
		 XV_ERR_RANGE},
		/* between objects */
		{"networks:\n  - name: a\n  - name: a\n",
		 "host.yaml:3: network a: name: is used already, on line 2", XV_ERR_EXISTS},
		{"ports:\n  - name: vm1\n    socket: /a\n    network: bleu\nnetworks:\n  - name: "
		 "blue\n",
		 "host.yaml:4: port vm1: network: there is no network \"bleu\"; did you mean "
		 "\"blue\"?",
		 XV_ERR_NOT_FOUND},
		{"ports:\n  - name: a\n    socket: /s\n  - name: b\n    socket: /s\n",
		 "host.yaml:5: port b: socket: /s is used by port a", XV_ERR_BUSY},
		{"ports:\n  - {name: a, kind: ethdev, device: 'net_null0,size=64'}\n"
		 "  - {name: b, kind: ethdev, device: net_null0}\n",
		 "host.yaml:3: port b: device: net_null0 is used by port a", XV_ERR_BUSY},
		{"ports:\n  - {name: a, kind: tap, interface: t}\n  - {name: b, kind: tap, "
		 "interface: t}\n",
		 "host.yaml:3: port b: interface: t is used by port a", XV_ERR_BUSY},
		{"workers:\n  - {name: a, cpu: 1}\n  - {name: b, cpu: 1}\n",
		 "host.yaml:3: worker b: cpu: CPU 1 is used by worker a", XV_ERR_BUSY},
		{"workers:\n  - {name: a, cpu: 2}\n",
		 "host.yaml:2: worker a: cpu: CPU 2 does not exist or xviod may not use it",
		 XV_ERR_RANGE},
		{"ports:\n  - {name: a, kind: dummy, vlan: 5}\n",
		 "host.yaml:2: port a: vlan: has a meaning only together with network",
		 XV_ERR_RANGE},
		{"networks: [{name: n}]\nports:\n  - {name: a, kind: dummy, network: n, vlan: 5, "
		 "trunk: 1-9}\n",
		 "host.yaml:3: port a: trunk: VLAN 5 cannot be tagged here", XV_ERR_RANGE},
		{"wires:\n  - name: w\n    ports: [a, b]\n",
		 "host.yaml:3: wire w: ports: there is no port \"a\"", XV_ERR_NOT_FOUND},
		{"ports: [{name: a, kind: dummy}]\nwires:\n  - {name: w, ports: [a]}\n",
		 "host.yaml:3: wire w: ports: must be 2 names, not 1", XV_ERR_RANGE},
		{"ports: [{name: a, kind: dummy}, {name: b, kind: dummy}, {name: c, kind: dummy}]\n"
		 "wires:\n  - {name: v, ports: [a, b]}\n  - {name: w, ports: [b, c]}\n",
		 "host.yaml:4: wire w: ports: port b is used by wire v", XV_ERR_BUSY},
		{"networks: [{name: n}]\n"
		 "ports: [{name: a, kind: dummy, network: n}, {name: b, kind: dummy}]\n"
		 "wires:\n  - {name: v, ports: [a, b]}\n",
		 "host.yaml:4: wire v: ports: port a belongs to network n", XV_ERR_BUSY},
		/* rules of policies: policy, rule, key and line */
		{"policies:\n  - name: web\n    rules: 7\n",
		 "host.yaml:3: policy web: rules: must be list of rules, not \"7\"", XV_ERR_TYPE},
		{"policies:\n  - name: web\n    rules:\n      a: b\n",
		 "host.yaml:3: policy web: rules: must be list of rules, not a mapping",
		 XV_ERR_TYPE},
		{"policies:\n  - name: web\n    rules:\n      - allow\n",
		 "host.yaml:3: policy web: rule 1: must be a mapping of keys to values, not "
		 "\"allow\"",
		 XV_ERR_TYPE},
		{"policies:\n  - {name: web, default: drop}\n",
		 "host.yaml:2: policy web: default: must be deny or allow, not \"drop\"",
		 XV_ERR_RANGE},
		{RULES "7\n",
		 "host.yaml:5: policy web: rule 2: must be a mapping of keys to values, not \"7\"",
		 XV_ERR_TYPE},
		{RULES "protocol: tcp\n", "host.yaml:5: policy web: rule 2: action: is missing",
		 XV_ERR_MISSING_KEY},
		{RULES "action: alow\n",
		 "host.yaml:5: policy web: rule 2: action: must be deny, allow or reject, not \"alow\"; "
		 "did you mean \"allow\"?",
		 XV_ERR_RANGE},
		{RULES "action: allow\n        sorce: 10.0.0.1\n",
		 "host.yaml:6: policy web: rule 2: sorce: unknown key; did you mean \"source\"?",
		 XV_ERR_UNKNOWN_KEY},
		{RULES "action: allow\n        protocol: tpc\n",
		 "host.yaml:6: policy web: rule 2: protocol: must be protocol name or number "
		 "0..255, not \"tpc\"",
		 XV_ERR_TYPE},
		{RULES "action: allow\n        destination_port: 80\n",
		 "host.yaml:6: policy web: rule 2: destination_port: needs protocol tcp, udp or "
		 "sctp",
		 XV_ERR_RANGE},
		{RULES "action: allow\n        protocol: gre\n        source_port: 80\n",
		 "host.yaml:7: policy web: rule 2: source_port: needs protocol tcp, udp or sctp",
		 XV_ERR_RANGE},
		{RULES "action: allow\n        protocol: tcp\n        source_port: 90-80\n",
		 "host.yaml:7: policy web: rule 2: source_port: \"90-80\" is out of range: must be "
		 "port or range 0..65535",
		 XV_ERR_RANGE},
		{RULES "action: allow\n        icmp_type: 8\n",
		 "host.yaml:6: policy web: rule 2: icmp_type: needs protocol icmp or icmpv6",
		 XV_ERR_RANGE},
		{RULES "action: allow\n        icmp_code: 8\n        protocol: icmp\n",
		 "host.yaml:6: policy web: rule 2: icmp_code: needs icmp_type", XV_ERR_RANGE},
		{RULES "action: allow\n        source: 10.0.0.0/8\n        ip_version: 6\n",
		 "host.yaml:6: policy web: rule 2: source: means IPv4, but ip_version means IPv6",
		 XV_ERR_RANGE},
		{RULES "action: allow\n        source: 10.0.0.0/8\n        destination: ::1\n",
		 "host.yaml:7: policy web: rule 2: destination: means IPv6, but source means IPv4",
		 XV_ERR_RANGE},
		{RULES "action: allow\n        protocol: icmp\n        destination: ::1\n",
		 "host.yaml:7: policy web: rule 2: destination: means IPv6, but protocol means "
		 "IPv4",
		 XV_ERR_RANGE},
		{RULES "action: allow\n        protocol: icmpv6\n        ip_version: 4\n",
		 "host.yaml:6: policy web: rule 2: protocol: means IPv6, but ip_version means IPv4",
		 XV_ERR_RANGE},
		{RULES "action: allow\n        ip_version: 5\n",
		 "host.yaml:6: policy web: rule 2: ip_version: must be 4 or 6, not 5",
		 XV_ERR_RANGE},
		{RULES "action: allow\n        ether_type: 0x86dd\n        source: 10.0.0.1\n",
		 "host.yaml:7: policy web: rule 2: source: means IPv4, but ether_type means IPv6",
		 XV_ERR_RANGE},
		{RULES "action: allow\n        ether_type: 0x0806\n        source: 10.0.0.1\n",
		 "host.yaml:6: policy web: rule 2: ether_type: is not that of IP, but source is "
		 "about IP",
		 XV_ERR_RANGE},
		{RULES "action: allow\n        ether_type: 0x0806\n        protocol: 6\n",
		 "host.yaml:6: policy web: rule 2: ether_type: is not that of IP, but protocol is "
		 "about IP",
		 XV_ERR_RANGE},
		/* policies of ports */
		{"networks: [{name: n}]\npolicies: [{name: web}]\nports:\n"
		 "  - {name: a, kind: dummy, network: n, egress_policy: wbe}\n",
		 "host.yaml:4: port a: egress_policy: there is no policy \"wbe\"; did you mean "
		 "\"web\"?",
		 XV_ERR_NOT_FOUND},
		{"policies: [{name: web}]\nports:\n  - {name: a, kind: dummy}\n"
		 "  - name: b\n    kind: dummy\n    ingress_policy: web\nwires: [{name: w, ports: "
		 "[a, b]}]\n",
		 "host.yaml:6: port b: ingress_policy: works only on a network: a wire looks at no "
		 "packet",
		 XV_ERR_RANGE},
	};
	char sentence[700];

	for (unsigned int i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct xv_err err = {0};
		json_t *model;

		if (xv_model_parse(cases[i].text, strlen(cases[i].text), &cpus, &model, NULL,
				   &err) == 0)
			fail_msg("accepted: %s", cases[i].text);
		xv_err_sentence(&err, "host.yaml", sentence, sizeof(sentence));
		if (strncmp(sentence, cases[i].sentence, strlen(cases[i].sentence)) != 0)
			fail_msg("said: %s\n  not: %s", sentence, cases[i].sentence);
		assert_string_equal(xv_errcode_name(err.code), xv_errcode_name(cases[i].code));
	}
}

static const char example[] = "# a comment\n"
			      "daemon:\n"
			      "  batch: 16\n"
			      "  socket_mode: 0660\n"
			      "networks:\n"
			      "  - name: blue\n"
			      "policies:\n"
			      "  - name: web\n"
			      "    rules:\n"
			      "      - {action: allow, protocol: tcp, destination: 10.0.0.0/8}\n"
			      "      - {action: deny, source_mac: 02:00:00:00:00:01, name: x}\n"
			      "ports:\n"
			      "  - name: vm1\n"
			      "    socket: /run/vm1.sock\n"
			      "    network: blue\n"
			      "    vlan: 10\n"
			      "    trunk: [20, 30-39]\n"
			      "    rx_limit_bps: 1G\n"
			      "    egress_policy: web\n"
			      "  - {name: '1', kind: dummy, csum: off}\n"
			      "  - {name: '2', kind: dummy}\n"
			      "wires:\n"
			      "  - name: w\n"
			      "    ports: ['1', 2]\n";

static void test_example(void **state)
{
	json_t *model = parse(example), *port = xv_model_get(model, "port", "vm1");
	char buf[64];

	assert_int_equal(json_integer_value(json_object_get(port, "rx_limit_bps")), 1000000000);
	assert_int_equal(json_integer_value(json_object_get(port, "vlan")), 10);
	assert_string_equal(xv_model_resource(port, buf, sizeof(buf)), "socket /run/vm1.sock");
	assert_true(json_is_false(json_object_get(xv_model_get(model, "port", "1"), "csum")));
	assert_string_equal(xv_model_wire_of(model, "2"), "w");
	assert_null(xv_model_wire_of(model, "vm1"));
	assert_string_equal(json_string_value(json_object_get(xv_model_get(model, "daemon", NULL),
							      "socket_mode")),
			    "0660");
	/* Nobody asked for a worker: there is one. */
	assert_non_null(xv_model_get(model, "worker", "w0"));
	json_decref(model);
}

static void test_empty(void **state)
{
	static const char *const texts[] = {"",     "\n# nothing\n", "---\n",
					    "{}\n", "ports:\n",      "~\n"};

	for (unsigned int i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		json_t *model = parse(texts[i]);

		assert_int_equal(json_object_size(json_object_get(model, "port")), 0);
		assert_int_equal(json_object_size(json_object_get(model, "worker")), 1);
		assert_int_equal(json_integer_value(json_object_get(
					 xv_model_get(model, "daemon", NULL), "batch")),
				 32);
		json_decref(model);
	}
}

/* Equal meanings are equal values, whatever they looked like. */
static void test_normal_form(void **state)
{
	json_t *a = parse("networks: [{name: n}]\nports:\n  - {name: a, socket: /a, network: n, "
			  "trunk: [30-31, 20, 32], rx_limit_pps: 10k, tso: yes}\n");
	json_t *b = parse(
		"networks: [{mac_age_s: 300, name: n}]\nports:\n  - {network: n, queues: 1, "
		"trunk: '20,30-32', socket: /a, name: a, rx_limit_pps: 10000, kind: vhost}\n");
	json_t *diff = xv_model_diff(a, b);

	assert_int_equal(json_array_size(diff), 0);
	json_decref(diff);
	json_decref(a);
	json_decref(b);
}

static void test_diff(void **state)
{
	static const char *const expected[] = {
		"~ daemon: batch 16 -> 32, socket_mode 0660 -> unset",
		"+ network red",
		"- policy web",
		"- port 1",
		("~ port vm1: network blue -> red, trunk 20,30-39 -> unset, "
		 "egress_policy web -> unset"),
		"+ port 3",
		"~ wire w: ports 1,2 -> 3,2",
	};
	json_t *a = parse(example), *b, *diff;

	b = parse(
		"networks: [{name: blue}, {name: red}]\n"
		"ports:\n"
		"  - {name: vm1, socket: /run/vm1.sock, network: red, vlan: 10, rx_limit_bps: 1G}\n"
		"  - {name: '2', kind: dummy}\n"
		"  - {name: '3', kind: dummy}\n"
		"wires: [{name: w, ports: [3, 2]}]\n");
	diff = xv_model_diff(a, b);
	for (unsigned int i = 0; i < 7; i++)
		assert_string_equal(json_string_value(json_array_get(diff, i)), expected[i]);
	assert_int_equal(json_array_size(diff), 7);
	json_decref(diff);
	json_decref(a);
	json_decref(b);
}

/* One change of a policy as a sentence, and none where the meaning is the same. */
static void test_policy_diff(void **state)
{
	static const struct {
		const char *policy, *change;
	} cases[] = {
		{"{name: web, rules: [{protocol: 6, action: allow, source: 10.1.1.1/8}]}", NULL},
		{"{name: web, rules: [{action: allow, source: 10.0.0.0/8, protocol: tcp}]}", NULL},
		{"{name: web}", "~ policy web: rules 1 -> 0"},
		{"{name: web, default: allow, rules: [{action: allow}, {action: deny}]}",
		 "~ policy web: default deny -> allow, rules 1 -> 2"},
		{"{name: web, rules: [{action: deny}]}", "~ policy web: rules changed"},
	};
	json_t *a = parse("policies: [{name: web, rules: [{action: allow, protocol: tcp, source: "
			  "10.0.0.0/8}]}]\n");

	for (unsigned int i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		json_t *b, *diff;
		char text[200];

		snprintf(text, sizeof(text), "policies: [%s]\n", cases[i].policy);
		b = parse(text);
		diff = xv_model_diff(a, b);
		assert_int_equal(json_array_size(diff), cases[i].change != NULL);
		if (cases[i].change != NULL)
			assert_string_equal(json_string_value(json_array_get(diff, 0)),
					    cases[i].change);
		json_decref(diff);
		json_decref(b);
	}
	json_decref(a);
}

/* What a host file says is what the packet path does. */
static void test_policy_compile(void **state)
{
	static const char text[] = "policies:\n"
				   "  - name: web\n"
				   "    default: allow\n"
				   "    rules:\n"
				   "      - {action: deny, protocol: tcp, destination: 10.0.0.0/8, "
				   "destination_port: 80-90}\n"
				   "      - {action: deny, source: '2001:db8::/32', name: no-lab}\n"
				   "      - {action: deny, protocol: icmp, icmp_type: 8}\n"
				   "      - {action: deny, ether_type: 0x0806, vlan: 7}\n"
				   "      - {action: deny, ether_type: 0x0800, source_mac: "
				   "'02:00:00:00:00:01/ff:00:00:00:00:ff'}\n";
	static const struct {
		uint16_t eth_type;
		uint8_t proto;
		const char *src, *dst;
		uint16_t sport, dport, tci;
		uint32_t rule;
	} packets[] = {
		{0x0800, 6, "0.0.0.0", "10.9.9.9", 1, 80, 0, 0},
		{0x0800, 6, "0.0.0.0", "10.9.9.9", 1, 90, 0, 0},
		{0x0800, 6, "0.0.0.0", "10.9.9.9", 1, 91, 0, 4},
		{0x0800, 17, "0.0.0.0", "10.9.9.9", 1, 80, 0, 4},
		{0x0800, 6, "0.0.0.0", "11.9.9.9", 1, 80, 0, 4},
		{0x86dd, 6, "2001:db8:1::1", "::", 1, 80, 0, 1},
		{0x86dd, 6, "2001:db9:1::1", "::", 1, 80, 0, UINT32_MAX},
		{0x0800, 1, "0.0.0.0", "10.9.9.9", 8, 0, 0, 2},
		{0x86dd, 1, "::", "::", 8, 0, 0, UINT32_MAX},
		{0x0806, 0, "0.0.0.0", "0.0.0.0", 0, 0, 0x1007, 3},
		{0x0806, 0, "0.0.0.0", "0.0.0.0", 0, 0, 0, UINT32_MAX},
	};
	json_t *model = parse(text);
	struct xv_policy *policy;
	struct xv_err err = {0};

	assert_int_equal(
		xv_policy_config_compile(xv_model_get(model, "policy", "web"), &policy, &err), 0);
	for (unsigned int i = 0; i < sizeof(packets) / sizeof(packets[0]); i++) {
		struct xv_flow_key key = {.eth_src = {2, 1, 2, 3, 4, 1}}, mask = {0};
		struct xv_match_prefix src, dst;
		enum xv_verdict verdict;
		uint32_t rule;

		assert_int_equal(xv_match_prefix_parse(packets[i].src, &src), 0);
		assert_int_equal(xv_match_prefix_parse(packets[i].dst, &dst), 0);
		key.ip_src = src.addr;
		key.ip_dst = dst.addr;
		key.eth_type = rte_cpu_to_be_16(packets[i].eth_type);
		key.ip_proto = packets[i].proto;
		key.tp_src = rte_cpu_to_be_16(packets[i].sport);
		key.tp_dst = rte_cpu_to_be_16(packets[i].dport);
		key.vlan[0].tci = rte_cpu_to_be_16(packets[i].tci);
		verdict = xv_policy_check(policy, &key, &mask, &rule);
		if (rule != packets[i].rule)
			fail_msg("packet %u: rule %u, not %u", i, rule, packets[i].rule);
		assert_int_equal(verdict, rule == UINT32_MAX ? XV_POLICY_ALLOW : XV_POLICY_DENY);
	}
	assert_string_equal(xv_policy_name(policy), "web");
	assert_string_equal(xv_policy_rule_name(policy, 0), "rule 1");
	assert_string_equal(xv_policy_rule_name(policy, 1), "no-lab");
	xv_policy_destroy(policy);
	json_decref(model);
}

static int edit(json_t *model, const char *verb, const char *type, const char *args_text,
		struct xv_err *err)
{
	json_t *args = json_loads(args_text, 0, NULL);
	const struct xv_object *object = xv_schema_object(type);
	int rc;

	*err = (struct xv_err){0};
	if (strcmp(verb, "add") == 0)
		rc = xv_model_add(model, object, args, err);
	else if (strcmp(verb, "set") == 0)
		rc = xv_model_set(model, object, args, err);
	else
		rc = xv_model_del(model, object, json_string_value(json_object_get(args, "name")),
				  err);
	json_decref(args);
	return rc;
}

static void test_edits(void **state)
{
	json_t *model = parse(example), *port;
	struct xv_err err;

	assert_int_equal(edit(model, "add", "port", "{\"name\": \"x\", \"socket\": \"/x\"}", &err),
			 0);
	assert_true(edit(model, "add", "port", "{\"name\": \"x\", \"socket\": \"/y\"}", &err) < 0);
	assert_int_equal(err.code, XV_ERR_EXISTS);
	assert_string_equal(err.object, "port x");

	/* null goes back to the default; the rest stays */
	assert_int_equal(edit(model, "set", "port",
			      "{\"name\": \"vm1\", \"vlan\": null, \"mtu\": 1500}", &err),
			 0);
	port = xv_model_get(model, "port", "vm1");
	assert_int_equal(json_integer_value(json_object_get(port, "vlan")), 0);
	assert_int_equal(json_integer_value(json_object_get(port, "mtu")), 1500);
	assert_int_equal(json_integer_value(json_object_get(port, "rx_limit_bps")), 1000000000);

	/* another kind: keys of the old one go with it */
	assert_int_equal(edit(model, "set", "port",
			      "{\"name\": \"vm1\", \"kind\": \"tap\", \"interface\": \"t\"}", &err),
			 0);
	port = xv_model_get(model, "port", "vm1");
	assert_null(json_object_get(port, "socket"));
	assert_null(json_object_get(port, "mode"));

	assert_true(edit(model, "set", "port", "{\"name\": \"nope\"}", &err) < 0);
	assert_int_equal(err.code, XV_ERR_NOT_FOUND);
	assert_true(edit(model, "set", "port", "{\"vlan\": 1}", &err) < 0);
	assert_int_equal(err.code, XV_ERR_MISSING_KEY);
	assert_true(edit(model, "del", "network", "{\"name\": \"blue\"}", &err) < 0);
	assert_int_equal(err.code, XV_ERR_BUSY);
	assert_string_equal(err.text, "is used by port vm1");
	assert_true(edit(model, "del", "policy", "{\"name\": \"web\"}", &err) < 0);
	assert_string_equal(err.text, "is used by port vm1");
	assert_true(edit(model, "del", "port", "{\"name\": \"1\"}", &err) < 0);
	assert_string_equal(err.text, "is used by wire w");
	assert_true(edit(model, "del", "worker", "{\"name\": \"w0\"}", &err) < 0);
	assert_string_equal(err.text, "is the last one");
	assert_int_equal(edit(model, "del", "port", "{\"name\": \"x\"}", &err), 0);
	assert_null(xv_model_get(model, "port", "x"));

	/* A policy: rules are replaced as a whole, and stay if they are not given. */
	assert_int_equal(
		edit(model, "set", "policy", "{\"name\": \"web\", \"default\": \"allow\"}", &err),
		0);
	assert_int_equal(
		json_array_size(json_object_get(xv_model_get(model, "policy", "web"), "rules")), 2);
	assert_int_equal(edit(model, "set", "policy",
			      "{\"name\": \"web\", \"rules\": \"[{action: deny, vlan: 3}]\"}",
			      &err),
			 0);
	assert_int_equal(
		json_array_size(json_object_get(xv_model_get(model, "policy", "web"), "rules")), 1);
	assert_true(
		edit(model, "set", "policy",
		     "{\"name\": \"web\", \"rules\": [{\"action\": \"deny\", \"icmp_type\": 3}]}",
		     &err) < 0);
	assert_string_equal(err.object, "policy web");
	assert_string_equal(err.key, "rule 1: icmp_type");
	assert_int_equal(edit(model, "set", "policy", "{\"name\": \"web\", \"rules\": null}", &err),
			 0);
	assert_int_equal(
		json_array_size(json_object_get(xv_model_get(model, "policy", "web"), "rules")), 0);
	json_decref(model);
}

/* Any prefix of a good file, and any single wrong byte in it, is answered, never crashed on. */
static void test_damaged(void **state)
{
	char text[sizeof(example)];
	uint64_t seed = 1;

	for (size_t len = 0; len < sizeof(example); len++) {
		struct xv_err err = {0};
		json_t *model;

		if (xv_model_parse(example, len, &cpus, &model, NULL, &err) == 0)
			json_decref(model);
		else
			assert_true(err.code != XV_ERR_NONE && err.text[0] != '\0');
	}
	for (unsigned int i = 0; i < 3000; i++) {
		struct xv_err err = {0};
		json_t *model;

		memcpy(text, example, sizeof(example));
		text[unit_random(&seed, sizeof(example) - 1)] = (char)unit_random(&seed, 256);
		if (xv_model_parse(text, sizeof(example) - 1, &cpus, &model, NULL, &err) == 0)
			json_decref(model);
		else
			assert_true(err.code != XV_ERR_NONE && err.text[0] != '\0');
	}
}

static int setup(void **state)
{
	CPU_ZERO(&cpus);
	CPU_SET(0, &cpus);
	CPU_SET(1, &cpus);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mistakes), cmocka_unit_test(test_example),
		cmocka_unit_test(test_empty),    cmocka_unit_test(test_normal_form),
		cmocka_unit_test(test_diff),     cmocka_unit_test(test_policy_diff),
		cmocka_unit_test(test_edits),    cmocka_unit_test(test_policy_compile),
		cmocka_unit_test(test_damaged),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
