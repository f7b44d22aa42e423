/* SPDX-License-Identifier: Apache-2.0 */
/* Security groups, and settings of connection tracking, in the host file: which are refused, and with what sentence; what is no
 * mistake. */
#include "unit.h"

#include <string.h>

#include "control/conntrack_config.h"
#include "control/firewall_config.h"
#include "control/model.h"
#include "control/schema.h"
#include "fastpath/conntrack.h"

static cpu_set_t cpus; /* 0 */

#define NETWORK	 "networks:\n  - name: blue\n"
#define RULE	 "groups:\n  - name: web\n    rules:\n      - " /* on line 4 */
#define PORT	 NETWORK "groups:\n  - name: web\nports:\n  - {name: p, kind: dummy, network: blue, groups: [web], " /* on line 6 */
#define PORT_END "}\n"

static void mistakes(void **state)
{
	static const struct {
		const char *text, *sentence;
	} cases[] = {
		/* unknown groups */
		{RULE "{direction: ingress, remote_group: wob}\n",
		 "host.yaml:3: group web: rules: group rule 1: remote_group: there is no group \"wob\"; did you mean \"web\"?"},
		{NETWORK "ports:\n  - {name: p, kind: dummy, network: blue, groups: [wob]}\n",
		 "host.yaml:4: port p: groups: there is no group \"wob\""},
		{PORT "groups: [web]" PORT_END, "host.yaml:6: groups: key is given twice"},
		{NETWORK "groups:\n  - name: web\nports:\n  - {name: p, kind: dummy, network: blue, groups: [web, web]}\n",
		 "host.yaml:6: port p: groups: names web twice"},
		{NETWORK "groups:\n  - name: web\nports:\n  - {name: p, kind: dummy, network: blue, groups: []}\n",
		 "host.yaml:6: port p: groups: must be 1 to 64 names, not 0"},
		/* rules that cannot be */
		{RULE "{protocol: tcp}\n", "host.yaml:4: group web: group rule 1: direction: is missing"},
		{RULE "{direction: in}\n",
		 "host.yaml:4: group web: group rule 1: direction: must be ingress or egress, not \"in\""},
		{RULE "{direction: ingress, port: 80}\n",
		 "host.yaml:4: group web: group rule 1: port: needs protocol tcp, udp or sctp"},
		{RULE "{direction: ingress, protocol: icmp, port: 80}\n",
		 "host.yaml:4: group web: group rule 1: port: needs protocol tcp, udp or sctp"},
		{RULE "{direction: ingress, protocol: tcp, port: 90-80}\n", "host.yaml:4: group web: group rule 1: port: "},
		{RULE "{direction: ingress, protocol: tcp, port: 65536}\n", "host.yaml:4: group web: group rule 1: port: "},
		{RULE "{direction: ingress, protocol: tcp, icmp_type: 8}\n", "host.yaml:4: group web: group rule 1: icmp_type: "},
		{RULE "{direction: ingress, remote: 10.0.0.0/33}\n", "host.yaml:4: group web: group rule 1: remote: "},
		{RULE "{direction: ingress, ip_version: 6, remote: 10.0.0.0/8}\n",
		 "host.yaml:4: group web: group rule 1: remote: means IPv4, but ip_version means IPv6"},
		{RULE "{direction: ingress, remote: 10.0.0.0/8, remote_group: web}\n",
		 "host.yaml:4: group web: group rule 1: remote_group: says who may be at the other end"},
		/* groups that include themselves */
		{"groups:\n  - name: web\n    includes: [web]\n",
		 "host.yaml:3: group web: includes: web -> web is a cycle: a group cannot include itself, neither directly nor through others"},
		{"groups:\n  - name: web\n    includes: [all]\n  - name: all\n    includes: [db, app]\n  - name: app\n    includes: [web]\n  - name: db\n",
		 "host.yaml:3: group web: includes: web -> all -> app -> web is a cycle: "},
		{"groups:\n  - name: web\n    includes: [a]\n  - name: a\n    includes: [b]\n  - name: b\n    includes: [a]\n",
		 "host.yaml:5: group a: includes: a -> b -> a is a cycle: "},
		{"groups:\n  - name: web\n    includes: [wob]\n", "host.yaml:3: group web: includes: there is no group \"wob\"; did you mean \"web\"?"},
		{"groups:\n  - name: web\n    includes: [a, a]\n  - name: a\n", "host.yaml:3: group web: includes: names a twice"},
		/* reserved ranges */
		{RULE "{direction: ingress, remote: 127.0.0.1}\n",
		 "host.yaml:4: group web: group rule 1: remote: 127.0.0.1/32 is reserved: for loopback, inside of a host"},
		{RULE "{direction: egress, remote: 127.0.0.0/8}\n",
		 "host.yaml:4: group web: group rule 1: remote: 127.0.0.0/8 is reserved: for loopback"},
		{RULE "{direction: egress, remote: 0.1.0.0/16}\n",
		 "host.yaml:4: group web: group rule 1: remote: 0.1.0.0/16 is reserved: for a host that has no address yet"},
		{RULE "{direction: ingress, remote: 239.1.2.3}\n",
		 "host.yaml:4: group web: group rule 1: remote: 239.1.2.3/32 is reserved: for multicast groups, which do not send"},
		{RULE "{direction: ingress, remote: 255.255.255.255}\n",
		 "host.yaml:4: group web: group rule 1: remote: 255.255.255.255/32 is reserved: for broadcasts"},
		{RULE "{direction: egress, remote: 241.0.0.0/8}\n",
		 "host.yaml:4: group web: group rule 1: remote: 241.0.0.0/8 is reserved: for nobody"},
		{RULE "{direction: egress, remote: '::1'}\n",
		 "host.yaml:4: group web: group rule 1: remote: ::1/128 is reserved: for loopback"},
		{RULE "{direction: ingress, remote: 'ff02::/16'}\n",
		 "host.yaml:4: group web: group rule 1: remote: ff02::/16 is reserved: for multicast groups"},
		/* who ports say they are */
		{PORT "addresses: [10.0.0.1]" PORT_END, "host.yaml:6: port p: mac: is missing: spoofing"},
		{PORT "mac: '02:00:00:00:00:01'" PORT_END, "host.yaml:6: port p: addresses: is missing: spoofing"},
		{PORT "mac: '01:00:5e:00:00:01', addresses: [10.0.0.1]" PORT_END,
		 "host.yaml:6: port p: mac: 01:00:5e:00:00:01 is reserved: for groups, which do not send"},
		{PORT "mac: '00:00:00:00:00:00', addresses: [10.0.0.1]" PORT_END, "host.yaml:6: port p: mac: "},
		{PORT "mac: '02:00:00:00:00:00/ff:00:00:00:00:00', addresses: [10.0.0.1]" PORT_END,
		 "host.yaml:6: port p: mac: must be one address, without a mask"},
		{PORT "mac: '02:00:00:00:00:01', addresses: [10.0.0.1, 127.0.0.1]" PORT_END,
		 "host.yaml:6: port p: addresses: 127.0.0.1 is reserved: for loopback"},
		{PORT "mac: '02:00:00:00:00:01', addresses: [224.0.0.1]" PORT_END, "host.yaml:6: port p: addresses: \"224.0.0.1\" is out of range: must be IPv4 or IPv6 address of a host"},
		{PORT "mac: '02:00:00:00:00:01', addresses: ['::']" PORT_END, "host.yaml:6: port p: addresses: \"::\" is out of range: must be IPv4 or IPv6 address of a host"},
		{PORT "anti_spoofing: false, addresses: [0.0.0.0]" PORT_END, "host.yaml:6: port p: addresses: \"0.0.0.0\" is out of range: must be IPv4 or IPv6 address of a host"},
		/* connection tracking */
		{"conntrack:\n  pick_up: perhaps\n", "host.yaml:2: conntrack: pick_up: must be true or false"},
		{"conntrack:\n  max_connections: 1\n", "host.yaml:2: conntrack: max_connections: 1 is out of range 1024..1073741824"},
		{"conntrack:\n  half_open_limit: 0\n", "host.yaml:2: conntrack: half_open_limit: 0 is out of range"},
		{"conntrack:\n  timeouts: short\n", "host.yaml:2: conntrack: timeouts: there is no timeout \"short\""},
		{"conntrack:\n  time: 1\n", "host.yaml:2: conntrack: time: unknown key"},
		{"networks:\n  - name: blue\n    timeouts: short\ntimeouts:\n  - name: shorts\n",
		 "host.yaml:3: network blue: timeouts: there is no timeout \"short\"; did you mean \"shorts\"?"},
		{"timeouts:\n  - name: short\n    tcp_established: 1000001\n",
		 "host.yaml:3: timeout short: tcp_established: 1000001 is out of range 1..1000000"},
		{"timeouts:\n  - name: short\n    tcp_establishd: 1\n",
		 "host.yaml:3: timeout short: tcp_establishd: unknown key; did you mean \"tcp_established\"?"},
	};

	(void)state;
	for (unsigned int i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct xv_err err = {0};
		json_t *model = NULL;
		char sentence[700];

		if (xv_model_parse(cases[i].text, strlen(cases[i].text), &cpus, &model, NULL, &err) == 0)
			fail_msg("accepted:\n%s", cases[i].text);
		(void)xv_err_sentence(&err, "host.yaml", sentence, sizeof(sentence));
		if (strncmp(sentence, cases[i].sentence, strlen(cases[i].sentence)) != 0)
			fail_msg("%s\nis not\n%s\nfor\n%s", sentence, cases[i].sentence, cases[i].text);
	}
}

static json_t *parse(const char *text)
{
	struct xv_err err = {0};
	json_t *model = NULL;
	char sentence[700];

	if (xv_model_parse(text, strlen(text), &cpus, &model, NULL, &err) < 0)
		fail_msg("%s", xv_err_sentence(&err, "host.yaml", sentence, sizeof(sentence)));
	return model;
}

/* Remote groups are addresses of ports, nothing is included: groups that name one another, and themselves, are no cycle. */
static void groups_that_name_one_another(void **state)
{
	json_t *model = parse(NETWORK
			      "groups:\n"
			      "  - {name: a, rules: [{direction: ingress, remote_group: b}, {direction: ingress, remote_group: a}]}\n"
			      "  - {name: b, rules: [{direction: egress, remote_group: a}, {direction: egress, remote: 224.0.0.0/4}]}\n"
			      "ports:\n"
			      "  - {name: p, kind: dummy, network: blue, groups: [a, b], mac: '02:00:00:00:00:01', addresses: [10.0.0.1]}\n"
			      "  - {name: q, kind: dummy, network: blue, groups: [b], mac: '02:00:00:00:00:02', addresses: [10.0.0.2]}\n");
	json_t *ingress, *rules;
	struct xv_err err = {0};

	(void)state;
	assert_int_equal(xv_firewalls_derive(model, NULL), 0);
	ingress = json_object_get(xv_model_get(model, "firewall", "p"), "ingress");
	rules = json_object_get(ingress, "rules");
	assert_int_equal(json_array_size(rules), 3); /* b has two members, a one */
	assert_string_equal(json_string_value(json_object_get(json_array_get(rules, 1), "source")), "10.0.0.2");
	/* Who is named by another group cannot go. */
	assert_int_equal(xv_model_del(model, xv_schema_object("group"), "a", &err), -EBUSY);
	assert_string_equal(err.text, "is used by port p");
	json_decref(model);
	model = parse("groups:\n  - name: a\n  - {name: b, rules: [{direction: egress, remote_group: a}]}\n");
	err = (struct xv_err){0};
	assert_int_equal(xv_model_del(model, xv_schema_object("group"), "a", &err), -EBUSY);
	assert_string_equal(err.text, "is used by group b");
	assert_int_equal(xv_model_del(model, xv_schema_object("group"), "b", &err), 0);
	json_decref(model);
}

/* The rules of a port's firewall: "GROUP/RULE SOURCE" each. */
static void rules_are(const json_t *model, const char *port, const char *expected)
{
	json_t *rule, *ingress = json_object_get(xv_model_get(model, "firewall", port), "ingress");
	char text[400] = "";
	size_t i, n = 0;

	json_array_foreach (json_object_get(ingress, "rules"), i, rule) {
		const char *source = json_string_value(json_object_get(rule, "source"));

		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s %s", i > 0 ? ", " : "",
				      json_string_value(json_object_get(rule, "name")), source != NULL ? source : "any");
	}
	assert_string_equal(text, expected);
}

/* A port is in what its groups include: it has their rules, each group's once and where it comes first, and is a member of all. */
static void groups_include_others(void **state)
{
	json_t *model = parse(NETWORK
			      "groups:\n"
			      "  - {name: web, includes: [app, base], rules: [{direction: ingress, protocol: tcp, port: 80}]}\n"
			      "  - {name: base, rules: [{direction: ingress, name: peers, remote_group: base}]}\n"
			      "  - {name: app, includes: [base, ops], rules: [{direction: ingress, remote_group: app}]}\n"
			      "  - {name: ops, rules: [{direction: ingress, name: ssh, protocol: tcp, port: 22, remote_group: web}]}\n"
			      "ports:\n"
			      "  - {name: p, kind: dummy, network: blue, groups: [ops, web], mac: '02:00:00:00:00:01', addresses: [10.0.0.1]}\n"
			      "  - {name: q, kind: dummy, network: blue, groups: [app], mac: '02:00:00:00:00:02', addresses: [10.0.0.2]}\n"
			      "  - {name: r, kind: dummy, network: blue, groups: [base], mac: '02:00:00:00:00:03', addresses: [10.0.0.3]}\n");
	struct xv_err err = {0};

	(void)state;
	assert_int_equal(xv_firewalls_derive(model, NULL), 0);
	rules_are(model, "p", "ops/ssh 10.0.0.1, web/1 any, app/1 10.0.0.1, app/1 10.0.0.2, "
			      "base/peers 10.0.0.1, base/peers 10.0.0.2, base/peers 10.0.0.3");
	rules_are(model, "q", "app/1 10.0.0.1, app/1 10.0.0.2, base/peers 10.0.0.1, base/peers 10.0.0.2, base/peers 10.0.0.3, "
			      "ops/ssh 10.0.0.1");
	rules_are(model, "r", "base/peers 10.0.0.1, base/peers 10.0.0.2, base/peers 10.0.0.3");
	/* Who is included cannot go. */
	json_object_del(xv_model_get(model, "port", "r"), "groups");
	assert_int_equal(xv_model_del(model, xv_schema_object("group"), "base", &err), -EBUSY);
	assert_string_equal(err.text, "is used by group web");
	json_decref(model);
}

/* All that connection tracking has can be set, and is what it says if it is not. */
static void timeouts_are_those_of_connection_tracking(void **state)
{
	json_t *model = parse("timeouts:\n  - name: usual\n"), *set = xv_model_get(model, "timeout", "usual");
	unsigned int n = 0;

	(void)state;
	for (unsigned int i = XV_CT_TO_TCP_NONE + 1; i < XV_CT_TO_MAX; i++, n++) {
		const json_t *value = json_object_get(set, xv_ct_timeout_names[i]);

		if (value == NULL || json_integer_value(value) != xv_ct_timeout_defaults_s[i])
			fail_msg("%s", xv_ct_timeout_names[i]);
	}
	assert_int_equal(json_object_size(set), n + 1); /* and its name */
	json_decref(model);
}

static void timeouts_keep_their_numbers(void **state)
{
	json_t *model = parse("timeouts:\n  - name: a\n  - name: b\nnetworks:\n  - {name: n, timeouts: b}\n  - name: m\n");
	json_t *one = xv_timeouts_number(model, NULL), *other;
	uint32_t b = xv_timeouts_of(one, xv_model_get(model, "network", "n"));

	(void)state;
	assert_true(b != 0);
	assert_int_equal(xv_timeouts_of(one, xv_model_get(model, "network", "m")), 0);
	json_decref(model);
	model = parse("timeouts:\n  - name: c\n  - name: b\nnetworks:\n  - {name: n, timeouts: b}\n");
	other = xv_timeouts_number(model, one);
	assert_int_equal(xv_timeouts_of(other, xv_model_get(model, "network", "n")), b);
	/* Not that of one that has just gone. */
	assert_true(json_integer_value(json_object_get(other, "c")) != json_integer_value(json_object_get(one, "a")));
	assert_true(json_integer_value(json_object_get(other, "c")) != b);
	json_decref(model);
	json_decref(one);
	json_decref(other);
}

static int setup(void **state)
{
	(void)state;
	CPU_SET(0, &cpus);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mistakes),
		cmocka_unit_test(groups_that_name_one_another),
		cmocka_unit_test(groups_include_others),
		cmocka_unit_test(timeouts_are_those_of_connection_tracking),
		cmocka_unit_test(timeouts_keep_their_numbers),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
