/* SPDX-License-Identifier: Apache-2.0 */
#include "control/methods.h"

#include <string.h>

#include "net/drop.h"

const struct xv_method xv_methods[XV_METHOD_MAX] = {
#define X(id, n, c, o, a, w, h)                                                                    \
	[XV_METHOD_##id] = {.name = n, .command = c, .object = o, .help = h, .args = a, .write = w},
	XV_METHODS(X)
#undef X
};

static const char *const log_levels[] = {"error", "warning", "info", "debug", NULL};

static const struct xv_key no_keys[] = {{.name = NULL}};

static const struct xv_key name_keys[] = {
	{.name = "name",
	 .type = XV_TYPE_NAME,
	 .flags = XV_KEY_REQUIRED | XV_KEY_FOUND,
	 .help = "the object's name"},
	{.name = NULL},
};

static const struct xv_key apply_keys[] = {
	{.name = "text",
	 .type = XV_TYPE_TEXT,
	 .max = XV_TEXT_MAX,
	 .flags = XV_KEY_REQUIRED,
	 .help = "the host file, as YAML text"},
	{.name = "file",
	 .type = XV_TYPE_TEXT,
	 .min = 1,
	 .max = 4096,
	 .def = "host file",
	 .help = "its name, for error sentences"},
	{.name = "dry_run",
	 .type = XV_TYPE_BOOL,
	 .def = "false",
	 .help = "say what would change, change nothing"},
	{.name = NULL},
};

static const struct xv_key network_keys[] = {
	{.name = "network", .type = XV_TYPE_NAME, .ref = "network", .help = "only this network"},
	{.name = NULL},
};

static const struct xv_key port_keys[] = {
	{.name = "port", .type = XV_TYPE_NAME, .ref = "port", .flags = XV_KEY_FOUND, .help = "only this port"},
	{.name = NULL},
};

static const struct xv_key log_keys[] = {
	{.name = "level",
	 .type = XV_TYPE_WORD,
	 .words = log_levels,
	 .flags = XV_KEY_REQUIRED,
	 .help = "least important log lines that are written"},
	{.name = NULL},
};

static const struct xv_key flow_keys[] = {
	{.name = "port", .type = XV_TYPE_NAME, .ref = "port", .flags = XV_KEY_FOUND, .help = "flows of packets from or to this port"},
	{.name = "network", .type = XV_TYPE_NAME, .ref = "network", .help = "flows of ports on this network"},
	{.name = "address",
	 .type = XV_TYPE_TEXT,
	 .min = 1,
	 .max = 64,
	 .help = "flows that compare a source or destination with this IP or MAC address"},
	{.name = "limit", .type = XV_TYPE_NUMBER, .min = 1, .max = 1 << 30, .help = "this many at most"},
	{.name = NULL},
};

static const struct xv_key flow_id_keys[] = {
	{.name = "id",
	 .type = XV_TYPE_NUMBER,
	 .min = 1,
	 .max = INT64_MAX,
	 .flags = XV_KEY_REQUIRED,
	 .help = "the flow's number, as flow list shows it"},
	{.name = NULL},
};

static const struct xv_key rule_keys[] = {
	{.name = "rule",
	 .type = XV_TYPE_TEXT,
	 .min = 1,
	 .max = 2 * XV_NAME_MAX + 1,
	 .flags = XV_KEY_REQUIRED,
	 .help = "GROUP/RULE, where RULE is a name or a number from 1"},
	{.name = NULL},
};

static const struct xv_key rules_keys[] = {
	{.name = "group", .type = XV_TYPE_NAME, .ref = "group", .help = "only rules of this group"},
	{.name = NULL},
};

/* Those of TCP and SCTP, and what is true of any protocol. */
static const char *const connection_states[] = {
	"syn_sent",	 "syn_recv",	  "established",   "fin_wait",		"close_wait",	  "last_ack", "time_wait", "close",
	"syn_sent2",	 "closed",	  "cookie_wait",   "cookie_echoed",	"shutdown_sent", "shutdown_recd",
	"shutdown_ack_sent", "heartbeat_sent", "unreplied", "assured", NULL};

static const struct xv_key connection_keys[] = {
	{.name = "address", .type = XV_TYPE_PREFIX, .help = "connections with this address at any end"},
	{.name = "src", .type = XV_TYPE_PREFIX, .help = "opened from this address"},
	{.name = "dst", .type = XV_TYPE_PREFIX, .help = "opened to this address"},
	{.name = "proto", .type = XV_TYPE_PROTOCOL, .help = "of this IP protocol"},
	{.name = "src_port", .type = XV_TYPE_NUMBER, .min = 0, .max = 65535, .help = "opened from this port, of tcp, udp or sctp"},
	{.name = "dst_port", .type = XV_TYPE_NUMBER, .min = 0, .max = 65535, .help = "opened to this port, of tcp, udp or sctp"},
	{.name = "zone", .type = XV_TYPE_NUMBER, .min = 0, .max = 65535, .help = "in this zone"},
	{.name = "network", .type = XV_TYPE_NAME, .ref = "network", .help = "in the zone of this network"},
	{.name = "state",
	 .type = XV_TYPE_WORD,
	 .words = connection_states,
	 .help = "in this state; unreplied: nobody has answered; assured: it goes only when its time is over"},
	{.name = "limit", .type = XV_TYPE_NUMBER, .min = 1, .max = 1 << 30, .help = "this many at most"},
	{.name = NULL},
};

static const char *const drop_reasons[] = {
#define X(id, name, explanation) name,
	XV_DROP_REASONS(X)
#undef X
	NULL};

static const struct xv_key watch_keys[] = {
	{.name = "port", .type = XV_TYPE_NAME, .ref = "port", .flags = XV_KEY_FOUND, .help = "only packets that came in by this port"},
	{.name = "reason", .type = XV_TYPE_WORD, .words = drop_reasons, .help = "only packets dropped for this reason"},
	{.name = "count", .type = XV_TYPE_NUMBER, .min = 1, .max = 1 << 30, .help = "this many, then end"},
	{.name = "after",
	 .type = XV_TYPE_NUMBER,
	 .min = 0,
	 .max = INT64_MAX,
	 .help = "for programs: \"next\" of the answer before; unset = begin to watch"},
	{.name = NULL},
};

static const char *const test_states[] = {"new", "established", "reply", "actual", NULL};

#define PACKET_KEYS \
	{.name = "packet", \
	 .type = XV_TYPE_TEXT, \
	 .min = 1, \
	 .max = 2 * 65535 * 2, \
	 .help = "the frame in hexadecimal digits, from the destination MAC; or it is made of the keys below"}, \
	{.name = "dst_mac", .type = XV_TYPE_MAC, .help = "destination MAC address"}, \
	{.name = "src_mac", \
	 .type = XV_TYPE_MAC, \
	 .help = "source MAC address; unset = the one learned last on the port, else 02:00:00:00:fe:ed"}, \
	{.name = "vlan", .type = XV_TYPE_NUMBER, .min = 0, .max = 4094, .help = "VLAN of its tag; unset = untagged"}, \
	{.name = "ether_type", .type = XV_TYPE_ETH_TYPE, .help = "Ethernet type; unset = that of IP, by the addresses"}, \
	{.name = "src", .type = XV_TYPE_PREFIX, .help = "source IP address"}, \
	{.name = "dst", .type = XV_TYPE_PREFIX, .help = "destination IP address"}, \
	{.name = "proto", .type = XV_TYPE_PROTOCOL, .help = "IP protocol; unset = udp"}, \
	{.name = "src_port", .type = XV_TYPE_NUMBER, .min = 0, .max = 65535, .help = "source port (icmp: type)"}, \
	{.name = "dst_port", .type = XV_TYPE_NUMBER, .min = 0, .max = 65535, .help = "destination port (icmp: code)"}, \
	{.name = "length", .type = XV_TYPE_NUMBER, .min = 14, .max = 65535, .help = "bytes of the frame; unset = 60 or what it needs"},

static const struct xv_key trace_keys[] = {
	{.name = "port",
	 .type = XV_TYPE_NAME,
	 .ref = "port",
	 .flags = XV_KEY_REQUIRED | XV_KEY_FOUND,
	 .help = "the port that the packet comes in by"},
	PACKET_KEYS
	{.name = NULL},
};

static const struct xv_key test_keys[] = {
	{.name = "port", .type = XV_TYPE_NAME, .ref = "port", .help = "the port that sends the packet; unset = only `to` is asked"},
	{.name = "to", .type = XV_TYPE_NAME, .ref = "port", .help = "the port that is to receive it; unset = by the MAC table"},
	{.name = "state",
	 .type = XV_TYPE_WORD,
	 .words = test_states,
	 .def = "new",
	 .help = "of the connection that it is of: new, established by a packet like it, reply: by one the other way; actual: as it is"},
	PACKET_KEYS
	{.name = NULL},
};

static const struct xv_key live_keys[] = {
	{.name = "port", .type = XV_TYPE_NAME, .ref = "port", .flags = XV_KEY_FOUND, .help = "only packets that come in by this port"},
	{.name = "filter",
	 .type = XV_TYPE_TEXT,
	 .min = 1,
	 .max = 4096,
	 .help = "only packets that fit, as tcpdump's: \"tcp port 80 and host 10.0.0.1\""},
	{.name = "count", .type = XV_TYPE_NUMBER, .min = 1, .max = 1 << 30, .help = "this many packets, then end"},
	{.name = "seconds", .type = XV_TYPE_NUMBER, .min = 1, .max = 86400, .help = "end after this time"},
	{.name = "bytes",
	 .type = XV_TYPE_NUMBER,
	 .min = 64,
	 .max = 2048,
	 .help = "of each packet that are shown at most; unset = 128"},
	{.name = "trace",
	 .type = XV_TYPE_NUMBER,
	 .min = 1,
	 .max = INT64_MAX,
	 .help = "for programs: \"trace\" of the first answer; waits for more packets, up to a second"},
	{.name = "stop", .type = XV_TYPE_BOOL, .def = "false", .help = "for programs: end that trace"},
	{.name = NULL},
};

const struct xv_method *xv_method_lookup(const char *name)
{
	for (unsigned int i = 0; i < XV_METHOD_MAX; i++) {
		if (strcmp(xv_methods[i].name, name) == 0)
			return &xv_methods[i];
	}
	return NULL;
}

const struct xv_key *xv_method_keys(const struct xv_method *method)
{
	switch (method->args) {
	case XV_ARGS_NONE:
		break;
	case XV_ARGS_OBJECT:
	case XV_ARGS_CHANGES:
		return xv_schema_object(method->object)->keys;
	case XV_ARGS_NAME:
		return name_keys;
	case XV_ARGS_APPLY:
		return apply_keys;
	case XV_ARGS_NETWORK:
		return network_keys;
	case XV_ARGS_PORT:
		return port_keys;
	case XV_ARGS_LOG:
		return log_keys;
	case XV_ARGS_FLOWS:
		return flow_keys;
	case XV_ARGS_FLOW:
		return flow_id_keys;
	case XV_ARGS_RULE:
		return rule_keys;
	case XV_ARGS_RULE_EDIT:
		return xv_schema_keys("rule edit");
	case XV_ARGS_RULES:
		return rules_keys;
	case XV_ARGS_CONNECTIONS:
		return connection_keys;
	case XV_ARGS_WATCH:
		return watch_keys;
	case XV_ARGS_TRACE:
		return trace_keys;
	case XV_ARGS_TEST:
		return test_keys;
	case XV_ARGS_LIVE:
		return live_keys;
	}
	return no_keys;
}
