/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/print.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum format {
	FORMAT_TEXT,
	FORMAT_COUNT,   /* 12.3 M */
	FORMAT_PERCENT, /* of a ratio */
	FORMAT_REAL,
	FORMAT_SECONDS,
	FORMAT_SIZE,  /* number of elements */
	FORMAT_SUM,   /* of an object's members */
	FORMAT_BOUND, /* a port's network, wire, VTEP or datapath */
	FORMAT_UPLINKS, /* a VTEP's port or ports */
	FORMAT_TIME,  /* milliseconds since the epoch */
	FORMAT_MATCH, /* of a rule: what it is about */
};

struct column {
	const char *title, *key;
	enum format format;
};

static const struct {
	const char *type;
	struct column columns[9];
} tables[] = {
	{"port",
	 {{"NAME", "name", FORMAT_TEXT},
	  {"KIND", "kind", FORMAT_TEXT},
	  {"STATE", "state", FORMAT_TEXT},
	  {"BOUND TO", "", FORMAT_BOUND},
	  {"QUEUES", "queues_active", FORMAT_COUNT},
	  {"RX PACKETS", "rx_packets", FORMAT_COUNT},
	  {"TX PACKETS", "tx_packets", FORMAT_COUNT},
	  {"DROPS", "drops", FORMAT_SUM}}},
	{"network",
	 {{"NAME", "name", FORMAT_TEXT},
	  {"PORTS", "ports", FORMAT_SIZE},
	  {"MACS", "macs", FORMAT_COUNT},
	  {"MAC LIMIT", "mac_limit", FORMAT_COUNT},
	  {"MAC AGE", "mac_age_s", FORMAT_SECONDS}}},
	{"policy",
	 {{"NAME", "name", FORMAT_TEXT},
	  {"DEFAULT", "default", FORMAT_TEXT},
	  {"RULES", "rules", FORMAT_SIZE},
	  {"PORTS", "ports", FORMAT_TEXT}}},
	{"group",
	 {{"NAME", "name", FORMAT_TEXT},
	  {"RULES", "rules", FORMAT_SIZE},
	  {"INCLUDES", "includes", FORMAT_TEXT},
	  {"PORTS", "ports", FORMAT_TEXT}}},
	{"rule",
	 {{"RULE", "rule", FORMAT_TEXT},
	  {"POSITION", "position", FORMAT_COUNT},
	  {"DIRECTION", "direction", FORMAT_TEXT},
	  {"ACTION", "action", FORMAT_TEXT},
	  {"PACKETS", "packets", FORMAT_COUNT},
	  {"BYTES", "bytes", FORMAT_COUNT},
	  {"MATCH", "", FORMAT_MATCH}}},
	{"timeout",
	 {{"NAME", "name", FORMAT_TEXT},
	  {"TCP SYN SENT", "tcp_syn_sent", FORMAT_SECONDS},
	  {"TCP ESTABLISHED", "tcp_established", FORMAT_SECONDS},
	  {"UDP", "udp_multiple", FORMAT_SECONDS},
	  {"ICMP", "icmp_reply", FORMAT_SECONDS},
	  {"OTHERS", "generic", FORMAT_SECONDS},
	  {"NETWORKS", "networks", FORMAT_TEXT}}},
	{"vtep",
	 {{"NAME", "name", FORMAT_TEXT},
	  {"UPLINK", "", FORMAT_UPLINKS},
	  {"ADDRESS", "address", FORMAT_TEXT},
	  {"GATEWAY", "gateway", FORMAT_TEXT},
	  {"MAC", "mac", FORMAT_TEXT},
	  {"NETWORKS", "networks", FORMAT_TEXT}}},
	{"tunnel",
	 {{"NETWORK", "network", FORMAT_TEXT},
	  {"REMOTE", "remote", FORMAT_TEXT},
	  {"TYPE", "tunnel", FORMAT_TEXT},
	  {"VNI", "vni", FORMAT_TEXT},
	  {"STATE", "state", FORMAT_TEXT},
	  {"NEXT HOP", "next_hop_mac", FORMAT_TEXT},
	  {"RX PACKETS", "rx_packets", FORMAT_COUNT},
	  {"TX PACKETS", "tx_packets", FORMAT_COUNT},
	  {"DROPS", "drops", FORMAT_SUM}}},
	{"lb",
	 {{"NAME", "name", FORMAT_TEXT},
	  {"NETWORK", "network", FORMAT_TEXT},
	  {"PROTOCOL", "protocol", FORMAT_TEXT},
	  {"ADDRESS", "address", FORMAT_TEXT},
	  {"PORT", "port", FORMAT_TEXT},
	  {"MODE", "mode", FORMAT_TEXT},
	  {"HEALTH", "health", FORMAT_TEXT},
	  {"BACKENDS", "backends", FORMAT_SIZE},
	  {"USABLE", "backends_usable", FORMAT_COUNT}}},
	{"router",
	 {{"NAME", "name", FORMAT_TEXT},
	  {"INTERFACES", "interfaces", FORMAT_SIZE},
	  {"GATEWAYS", "gateways", FORMAT_TEXT},
	  {"NAT RULES", "nat", FORMAT_SIZE},
	  {"CONNECTIONS", "connections", FORMAT_COUNT},
	  {"NEIGHBOURS", "neighbours", FORMAT_SIZE}}},
	{"wire",
	 {{"NAME", "name", FORMAT_TEXT},
	  {"STATE", "state", FORMAT_TEXT},
	  {"PORTS", "ports", FORMAT_TEXT}}},
	{"worker",
	 {{"NAME", "name", FORMAT_TEXT},
	  {"CPU", "cpu", FORMAT_TEXT},
	  {"PORTS", "ports", FORMAT_COUNT},
	  {"QUEUES", "queues", FORMAT_COUNT},
	  {"BUSY", "busy", FORMAT_PERCENT},
	  {"PACKETS", "packets", FORMAT_COUNT},
	  {"CYCLES/PACKET", "cycles_per_packet", FORMAT_REAL},
	  {"BURST", "burst", FORMAT_REAL},
	  {"SLEEPS", "sleeps", FORMAT_COUNT}}},
	{"mac",
	 {{"NETWORK", "network", FORMAT_TEXT},
	  {"VLAN", "vlan", FORMAT_TEXT},
	  {"MAC", "mac", FORMAT_TEXT},
	  {"PORT", "port", FORMAT_TEXT},
	  {"AGE", "age_s", FORMAT_SECONDS}}},
	{"drop",
	 {{"PORT", "port", FORMAT_TEXT},
	  {"PACKETS", "packets", FORMAT_COUNT},
	  {"REASON", "reason", FORMAT_TEXT},
	  {"EXPLANATION", "explanation", FORMAT_TEXT}}},
	{"event",
	 {{"TIME", "time_ms", FORMAT_TIME},
	  {"OBJECT", "object", FORMAT_TEXT},
	  {"EVENT", "event", FORMAT_TEXT},
	  {"", "text", FORMAT_TEXT}}},
};

#define CELL_MAX 200

static const char *text_of(const json_t *object, const char *key)
{
	const char *s = json_string_value(json_object_get(object, key));

	return s ? s : "";
}

/* Exact below 100,000, three digits and a prefix above. */
static void format_count(double value, char *buf, size_t size)
{
	static const char prefixes[] = " kMGTPE";
	unsigned int p = 0;

	if (value < 100000) {
		snprintf(buf, size, "%.0f", value);
		return;
	}
	while (value >= 1000 && prefixes[p + 1] != '\0') {
		value /= 1000;
		p++;
	}
	snprintf(buf, size,
		 value >= 100  ? "%.0f %c"
		 : value >= 10 ? "%.1f %c"
			       : "%.2f %c",
		 value, prefixes[p]);
}

static void format_text(const json_t *value, char *buf, size_t size)
{
	size_t i, n = 0;
	json_t *e;

	buf[0] = '\0';
	switch (value ? json_typeof(value) : JSON_NULL) {
	case JSON_STRING:
		snprintf(buf, size, "%s", json_string_value(value));
		break;
	case JSON_INTEGER:
		snprintf(buf, size, "%lld", (long long)json_integer_value(value));
		break;
	case JSON_REAL:
		snprintf(buf, size, "%.2f", json_real_value(value));
		break;
	case JSON_TRUE:
	case JSON_FALSE:
		snprintf(buf, size, "%s", json_is_true(value) ? "true" : "false");
		break;
	case JSON_ARRAY:
		json_array_foreach (value, i, e) {
			if (n + 2 < size && i > 0)
				n += (size_t)snprintf(buf + n, size - n, ", ");
			if (n < size) {
				format_text(e, buf + n, size - n);
				n += strlen(buf + n);
			}
		}
		break;
	case JSON_NULL:
	case JSON_OBJECT:
		snprintf(buf, size, "-");
		break;
	}
}

static void format_bound(const json_t *port, char *buf, size_t size)
{
	const char *network = json_string_value(json_object_get(port, "network"));
	const char *wire = json_string_value(json_object_get(port, "wire"));
	const char *vtep = json_string_value(json_object_get(port, "vtep"));
	const char *datapath = json_string_value(json_object_get(port, "datapath"));
	json_int_t vlan = json_integer_value(json_object_get(port, "vlan"));

	if (network != NULL && vlan != 0)
		snprintf(buf, size, "network %s vlan %lld", network, (long long)vlan);
	else if (network != NULL)
		snprintf(buf, size, "network %s", network);
	else if (wire != NULL)
		snprintf(buf, size, "wire %s", wire);
	else if (vtep != NULL)
		snprintf(buf, size, "vtep %s", vtep);
	else if (datapath != NULL)
		snprintf(buf, size, "datapath %s", datapath);
	else
		snprintf(buf, size, "-");
}

/* Keys of a rule that have no column: "protocol tcp, port 80". */
static void format_match(const json_t *rule, char *buf, size_t size)
{
	static const char *const columns[] = {"rule",   "group",   "position", "name", "direction",
					      "action", "packets", "bytes"};
	json_t *copy = json_copy((json_t *)(uintptr_t)rule), *value;
	char text[CELL_MAX];
	const char *key;
	size_t n = 0;

	buf[0] = '\0';
	for (unsigned int i = 0; i < sizeof(columns) / sizeof(columns[0]); i++)
		json_object_del(copy, columns[i]);
	json_object_foreach (copy, key, value) {
		format_text(value, text, sizeof(text));
		if (n < size)
			n += (size_t)snprintf(buf + n, size - n, "%s%s %s", n > 0 ? ", " : "", key, text);
	}
	json_decref(copy);
}

static double sum_of(json_t *object)
{
	const char *key;
	json_t *value;
	double sum = 0;

	json_object_foreach (object, key, value)
		sum += json_number_value(value);
	return sum;
}

static void format_time(const json_t *value, char *buf, size_t size)
{
	long long ms = (long long)json_integer_value(value);
	time_t seconds = (time_t)(ms / 1000);
	char stamp[32];
	struct tm tm;

	localtime_r(&seconds, &tm);
	strftime(stamp, sizeof(stamp), "%F %T", &tm);
	snprintf(buf, size, "%s.%03d", stamp, (int)(ms % 1000));
}

static void format_cell(const struct column *column, const json_t *object, char *buf, size_t size)
{
	json_t *value = json_object_get(object, column->key);

	switch (column->format) {
	case FORMAT_TEXT:
		format_text(value, buf, size);
		break;
	case FORMAT_COUNT:
		format_count(json_number_value(value), buf, size);
		break;
	case FORMAT_PERCENT:
		snprintf(buf, size, "%.1f %%", 100 * json_number_value(value));
		break;
	case FORMAT_REAL:
		snprintf(buf, size, "%.1f", json_number_value(value));
		break;
	case FORMAT_SECONDS:
		snprintf(buf, size, "%lld s", (long long)json_integer_value(value));
		break;
	case FORMAT_SIZE:
		snprintf(buf, size, "%zu", json_array_size(value));
		break;
	case FORMAT_SUM:
		format_count(sum_of(value), buf, size);
		break;
	case FORMAT_BOUND:
		format_bound(object, buf, size);
		break;
	case FORMAT_UPLINKS:
		value = json_object_get(object, "port");
		format_text(value != NULL ? value : json_object_get(object, "ports"), buf, size);
		break;
	case FORMAT_TIME:
		format_time(value, buf, size);
		break;
	case FORMAT_MATCH:
		format_match(object, buf, size);
		break;
	}
}

/* Numbers stand at the right. */
static bool is_text(enum format format)
{
	return format == FORMAT_TEXT || format == FORMAT_MATCH || format == FORMAT_BOUND || format == FORMAT_UPLINKS;
}

void print_table(const char *type, const json_t *list)
{
	const struct column *columns = NULL;
	unsigned int n = 0;
	int width[9];
	char cell[CELL_MAX];
	json_t *object;
	size_t row;

	for (unsigned int t = 0; t < sizeof(tables) / sizeof(tables[0]); t++) {
		if (strcmp(tables[t].type, type) == 0)
			columns = tables[t].columns;
	}
	if (columns == NULL)
		return;
	while (n < 9 && columns[n].title != NULL) {
		width[n] = (int)strlen(columns[n].title);
		json_array_foreach (list, row, object) {
			format_cell(&columns[n], object, cell, sizeof(cell));
			if ((int)strlen(cell) > width[n])
				width[n] = (int)strlen(cell);
		}
		n++;
	}
	for (unsigned int c = 0; c < n; c++) {
		int right = !is_text(columns[c].format);

		printf("%s%*s", c ? "  " : "",
		       right       ? width[c]
		       : c + 1 < n ? -width[c]
				   : 0,
		       columns[c].title);
	}
	putchar('\n');
	json_array_foreach (list, row, object) {
		for (unsigned int c = 0; c < n; c++) {
			int right = !is_text(columns[c].format);

			format_cell(&columns[c], object, cell, sizeof(cell));
			printf("%s%*s", c ? "  " : "",
			       right       ? width[c]
			       : c + 1 < n ? -width[c]
					   : 0,
			       cell);
		}
		putchar('\n');
	}
}

/* What a key's name says about the unit of its number. */
static const char *unit_of(const char *key)
{
	static const struct {
		const char *suffix, *unit;
	} units[] = {{"_pps", " packets/s"}, {"_bps", " bit/s"}, {"_us", " us"}, {"_ms", " ms"},
		     {"_s", " s"},           {"_mb", " MB"},     {"_hz", " Hz"}};
	size_t len = strlen(key);

	for (unsigned int i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		size_t n = strlen(units[i].suffix);

		if (len > n && strcmp(key + len - n, units[i].suffix) == 0)
			return units[i].unit;
	}
	return "";
}

static void print_scalar(const char *key, const json_t *value, int indent)
{
	char text[1024], rounded[32];

	format_text(value, text, sizeof(text));
	printf("%*s%s: %s%s", indent, "", key, text, json_is_number(value) ? unit_of(key) : "");
	if (strcmp(key, "busy") == 0)
		printf(" (%.1f %%)", 100 * json_number_value(value));
	else if (json_is_integer(value) && json_integer_value(value) >= 100000) {
		format_count(json_number_value(value), rounded, sizeof(rounded));
		printf(" (%s)", rounded);
	}
	putchar('\n');
}

/* A line for each rule of a policy: "1: allow, protocol tcp, destination_port 80"; of a group: "1: ingress allow, ...". */
static void print_rules(json_t *rules, int indent)
{
	json_t *rule, *value;
	const char *key;
	char text[200];
	size_t i;

	printf("%*srules: %zu\n", indent, "", json_array_size(rules));
	json_array_foreach (rules, i, rule) {
		printf("%*s%zu: %s%s%s", indent + 2, "", i + 1, text_of(rule, "direction"),
		       json_object_get(rule, "direction") != NULL ? " " : "", text_of(rule, "action"));
		json_object_foreach (rule, key, value) {
			if (strcmp(key, "action") == 0 || strcmp(key, "direction") == 0 || strcmp(key, "packets") == 0 ||
			    strcmp(key, "bytes") == 0)
				continue;
			format_text(value, text, sizeof(text));
			printf(", %s %s", key, text);
		}
		if (json_object_get(rule, "packets") != NULL)
			printf(": %lld packets, %lld bytes", (long long)json_integer_value(json_object_get(rule, "packets")),
			       (long long)json_integer_value(json_object_get(rule, "bytes")));
		putchar('\n');
	}
}

static void print_members(json_t *object, int indent)
{
	json_t *value, *element, *n;
	const char *key, *reason;
	size_t i;

	json_object_foreach (object, key, value) {
		if (json_is_null(value))
			continue;
		if (strcmp(key, "drops") == 0 && json_is_object(value)) {
			char total[32];

			format_count(sum_of(value), total, sizeof(total));
			printf("%*sdrops: %s\n", indent, "", total);
			json_object_foreach (value, reason, n) {
				if (json_integer_value(n) > 0)
					print_scalar(reason, n, indent + 2);
			}
		} else if (json_is_object(value)) {
			printf("%*s%s:\n", indent, "", key);
			print_members(value, indent + 2);
		} else if (strcmp(key, "rules") == 0 && json_is_array(value)) {
			print_rules(value, indent);
		} else if (json_is_array(value) && json_is_object(json_array_get(value, 0))) {
			json_array_foreach (value, i, element) {
				printf("%*s%s:\n", indent, "", key);
				print_members(element, indent + 2);
			}
		} else {
			print_scalar(key, value, indent);
		}
	}
}

void print_object(json_t *object)
{
	print_members(object, 0);
}

static void print_uptime(json_int_t s)
{
	if (s >= 86400)
		printf("%lld d %lld h", (long long)(s / 86400), (long long)(s / 3600 % 24));
	else if (s >= 3600)
		printf("%lld h %lld min", (long long)(s / 3600), (long long)(s / 60 % 60));
	else if (s >= 60)
		printf("%lld min %lld s", (long long)(s / 60), (long long)(s % 60));
	else
		printf("%lld s", (long long)s);
}

static void print_count(const json_t *object, const char *key)
{
	char text[32];

	format_count(json_number_value(json_object_get(object, key)), text, sizeof(text));
	printf("%s", text);
}

void print_host(const json_t *host, const json_t *ports)
{
	static const char *const states[] = {"up", "waiting", "down", "broken"};
	const json_t *count = json_object_get(host, "ports");

	printf("xviod: pid %lld, up for ",
	       (long long)json_integer_value(json_object_get(host, "pid")));
	print_uptime(json_integer_value(json_object_get(host, "uptime_s")));
	printf("\nports: ");
	print_count(count, "total");
	for (unsigned int i = 0; i < 4; i++) {
		if (json_integer_value(json_object_get(count, states[i])) > 0)
			printf(", %lld %s",
			       (long long)json_integer_value(json_object_get(count, states[i])),
			       states[i]);
	}
	printf("; networks: ");
	print_count(host, "networks");
	printf("; wires: ");
	print_count(host, "wires");
	printf("\npackets: ");
	print_count(host, "rx_packets");
	printf(" received, ");
	print_count(host, "tx_packets");
	printf(" sent, ");
	print_count(host, "dropped");
	printf(" dropped, ");
	print_count(host, "held");
	printf(" waiting\n\n");
	print_table("worker", json_object_get(host, "workers"));
	if (json_array_size(ports) > 0) {
		putchar('\n');
		print_table("port", ports);
	}
}

static long long number_of(const json_t *object, const char *key)
{
	return (long long)json_integer_value(json_object_get(object, key));
}

void print_flows(const json_t *flows)
{
	const json_t *used, *flow;
	size_t i;

	json_array_foreach (flows, i, flow) {
		used = json_object_get(flow, "used_s");
		printf("id:%lld, %s, packets:%lld, bytes:%lld, used:", number_of(flow, "id"), text_of(flow, "match"),
		       number_of(flow, "packets"), number_of(flow, "bytes"));
		if (json_is_number(used))
			printf("%.3fs", json_number_value(used));
		else
			printf("never");
		printf(", actions:%s", text_of(flow, "actions"));
		if (text_of(flow, "origin")[0] != '\0')
			printf(", origin:%s", text_of(flow, "origin"));
		putchar('\n');
	}
}

static void print_upper(const char *text)
{
	for (; *text != '\0'; text++)
		putchar(toupper((unsigned char)*text));
}

static void print_tuple(const char *name, const json_t *tuple)
{
	static const char *const keys[][2] = {{"src_port", "sport"}, {"dst_port", "dport"},	 {"id", "id"},	 {"type", "type"},
					      {"code", "code"},	     {"packets", "packets"}, {"bytes", "bytes"}};

	printf(",%s=(src=%s,dst=%s", name, text_of(tuple, "src"), text_of(tuple, "dst"));
	for (unsigned int i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		if (json_object_get(tuple, keys[i][0]) != NULL)
			printf(",%s=%lld", keys[i][1], number_of(tuple, keys[i][0]));
	}
	putchar(')');
}

void print_connections(const json_t *connections)
{
	const json_t *c, *status, *word;
	size_t i, j;

	json_array_foreach (connections, i, c) {
		printf("%s", text_of(c, "protocol"));
		print_tuple("orig", json_object_get(c, "original"));
		print_tuple("reply", json_object_get(c, "reply"));
		printf(",zone=%lld", number_of(c, "zone"));
		if (json_object_get(c, "network") != NULL)
			printf(",network=%s", text_of(c, "network"));
		printf(",status=");
		status = json_object_get(c, "status");
		json_array_foreach (status, j, word) {
			print_upper(j > 0 ? "|" : "");
			print_upper(json_string_value(word));
		}
		printf("%s,timeout=%lld", j == 0 ? "UNREPLIED" : "", number_of(c, "timeout_s"));
		if (number_of(c, "mark") != 0)
			printf(",mark=%lld", number_of(c, "mark"));
		if (json_object_get(c, "labels") != NULL)
			printf(",labels=%s", text_of(c, "labels"));
		if (json_object_get(c, "helper") != NULL)
			printf(",helper=%s", text_of(c, "helper"));
		if (json_object_get(c, "master") != NULL)
			print_tuple("master", json_object_get(c, "master"));
		if (json_object_get(c, "state") != NULL) {
			printf(",protoinfo=(state=");
			print_upper(text_of(c, "state"));
			putchar(')');
		}
		putchar('\n');
	}
}

void print_trace(const json_t *trace)
{
	const json_t *stages = json_object_get(trace, "stages"), *stage;
	int width = (int)strlen("packet");
	size_t i;

	json_array_foreach (stages, i, stage) {
		if ((int)strlen(text_of(stage, "stage")) > width)
			width = (int)strlen(text_of(stage, "stage"));
	}
	printf("%-*s  %s, %lld bytes\n", width, "packet", text_of(trace, "packet"), number_of(trace, "bytes"));
	json_array_foreach (stages, i, stage)
		printf("%-*s  %s\n", width, text_of(stage, "stage"), text_of(stage, "text"));
	printf("%-*s  %s\n", width, "result", text_of(trace, "result"));
}

/* "egress of a    client/out: allow" */
void print_test(const json_t *test)
{
	const json_t *rules = json_object_get(test, "rules"), *rule;
	const char *reason = text_of(test, "reason");
	int width = (int)strlen("packet"), n;
	size_t i;

	json_array_foreach (rules, i, rule) {
		n = snprintf(NULL, 0, "%s of %s", text_of(rule, "direction"), text_of(rule, "port"));
		width = n > width ? n : width;
	}
	printf("%-*s  %s\n", width, "packet", text_of(test, "packet"));
	json_array_foreach (rules, i, rule) {
		const char *group = text_of(rule, "group"), *policy = text_of(rule, "policy");

		n = printf("%s of %s", text_of(rule, "direction"), text_of(rule, "port"));
		printf("%*s  ", width - n, "");
		if (group[0] != '\0')
			printf("group %s, rule %s: %s\n", group, text_of(rule, "rule"), text_of(rule, "action"));
		else if (strcmp(policy, "firewall") == 0)
			printf("no rule of its groups: %s\n", text_of(rule, "action"));
		else
			printf("policy %s, %s: %s\n", policy, text_of(rule, "rule"), text_of(rule, "action"));
	}
	printf("%-*s  %s", width, "result", text_of(test, "result"));
	if (reason[0] != '\0')
		printf(": %s (%s)", reason, text_of(test, "explanation"));
	putchar('\n');
}

void print_followed(const json_t *packet)
{
	const json_t *stages = json_object_get(packet, "stages"), *stage;
	json_int_t us = number_of(packet, "time_us");
	time_t seconds = (time_t)(us / 1000000);
	struct tm tm;
	char when[32];
	int width = 0;
	size_t i;

	localtime_r(&seconds, &tm);
	strftime(when, sizeof(when), "%H:%M:%S", &tm);
	printf("%s.%06d  #%lld  ", when, (int)(us % 1000000), number_of(packet, "number"));
	if (json_is_true(json_object_get(packet, "later")))
		printf("later:\n");
	else
		printf("%s queue %lld  %lld bytes\n    %s\n", text_of(packet, "port"), number_of(packet, "queue"),
		       number_of(packet, "bytes"), text_of(packet, "packet"));
	json_array_foreach (stages, i, stage) {
		if ((int)strlen(text_of(stage, "stage")) > width)
			width = (int)strlen(text_of(stage, "stage"));
	}
	json_array_foreach (stages, i, stage)
		printf("    %8.1f us  %-*s  %s\n", (double)number_of(stage, "ns") / 1000, width, text_of(stage, "stage"),
		       text_of(stage, "text"));
}

void print_drop(const json_t *drop)
{
	char when[48];

	format_time(json_object_get(drop, "time_ms"), when, sizeof(when));
	printf("%s  %s  %s (%s)  %lld bytes\n    %s\n    %s\n", when, text_of(drop, "port"), text_of(drop, "reason"),
	       text_of(drop, "explanation"), number_of(drop, "bytes"), text_of(drop, "packet"), text_of(drop, "hex"));
}
