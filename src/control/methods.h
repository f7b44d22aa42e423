/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The methods of the API, once. The list drives dispatch (handlers.c: a method without a handler
 * does not compile), argument checks, the commands of xvioctl, its help and completion, and the
 * reference pages. Data only (libc), so that xvioctl links it too. Any thread.
 *
 * X(id, name, command, object, arguments, write, help)
 *   id         handler and enum
 *   name       as called: "port.add"
 *   command    words after xvioctl that call it
 *   object     type of schema.h it is about, or NULL
 *   arguments  XV_ARGS_*: which of the object's keys, or a list of its own
 *   write      changes something
 */
#pragma once

#include <stdbool.h>

#include "control/schema.h"

#define XV_METHODS_OF(X, o, what)                                                                  \
	X(o##_add, #o ".add", #o " add", #o, XV_ARGS_OBJECT, true, "add " what)                    \
	X(o##_set, #o ".set", #o " set", #o, XV_ARGS_CHANGES, true,                                \
	  "change keys of " what "; KEY= alone returns to the default")                            \
	X(o##_del, #o ".del", #o " del", #o, XV_ARGS_NAME, true, "remove " what)                   \
	X(o##_show, #o ".show", #o " show", #o, XV_ARGS_NAME, false, "show " what)                 \
	X(o##_list, #o ".list", #o " list", #o, XV_ARGS_NONE, false, "list all, one per line")

#define XV_METHODS(X)                                                                              \
	X(host_show, "host.show", "show", NULL, XV_ARGS_NONE, false, "show a summary of the host") \
	X(host_apply, "host.apply", "apply", NULL, XV_ARGS_APPLY, true,                            \
	  "make the running host equal to a host file, all or nothing")                            \
	XV_METHODS_OF(X, port, "a port")                                                           \
	XV_METHODS_OF(X, network, "a network")                                                     \
	XV_METHODS_OF(X, timeout, "a set of timeouts")                                             \
	XV_METHODS_OF(X, policy, "a policy")                                                       \
	XV_METHODS_OF(X, group, "a security group")                                                \
	X(policy_test, "policy.test", "policy test", NULL, XV_ARGS_TEST, false,                    \
	  "say whether a packet would pass, and by which rules; sends nothing")                    \
	X(rule_add, "rule.add", "rule add", NULL, XV_ARGS_RULE_EDIT, true,                         \
	  "add a rule to a security group, as the last one or at a position")                      \
	X(rule_set, "rule.set", "rule set", NULL, XV_ARGS_RULE_EDIT, true,                         \
	  "change keys of a rule, or its position; KEY= alone returns to the default")             \
	X(rule_del, "rule.del", "rule del", NULL, XV_ARGS_RULE, true,                              \
	  "remove a rule from its security group")                                                 \
	X(rule_show, "rule.show", "rule show", NULL, XV_ARGS_RULE, false,                          \
	  "show a rule of a security group and what it has counted")                               \
	X(rule_list, "rule.list", "rule list", NULL, XV_ARGS_RULES, false,                         \
	  "list rules of security groups with their counters, one per line")                       \
	XV_METHODS_OF(X, vtep, "a VTEP")                                                           \
	XV_METHODS_OF(X, lb, "a load balancer")                                                    \
	XV_METHODS_OF(X, router, "a router")                                                       \
	XV_METHODS_OF(X, wire, "a wire")                                                           \
	XV_METHODS_OF(X, worker, "a worker")                                                       \
	X(mac_list, "mac.list", "mac list", NULL, XV_ARGS_NETWORK, false,                          \
	  "list learned MAC addresses")                                                            \
	X(tunnel_list, "tunnel.list", "tunnel list", NULL, XV_ARGS_NETWORK, false,                 \
	  "list tunnels to other hosts, their next hops and counters")                             \
	X(mac_flush, "mac.flush", "mac flush", NULL, XV_ARGS_NETWORK, true,                        \
	  "forget learned MAC addresses")                                                          \
	X(flow_list, "flow.list", "flow list", NULL, XV_ARGS_FLOWS, false,                         \
	  "list flows: match, actions, counters, which rule made them")                            \
	X(flow_show, "flow.show", "flow show", NULL, XV_ARGS_FLOW, false,                          \
	  "show all that is known of a flow")                                                      \
	X(flow_stats, "flow.stats", "flow stats", NULL, XV_ARGS_NONE, false,                       \
	  "show how many flows there are and how packets find them")                               \
	X(ct_list, "ct.list", "ct list", NULL, XV_ARGS_CONNECTIONS, false,                         \
	  "list tracked connections: tuples, counters, state")                                     \
	X(ct_flush, "ct.flush", "ct flush", NULL, XV_ARGS_CONNECTIONS, true,                       \
	  "forget tracked connections, all or those that fit")                                     \
	X(ct_show, "ct.show", "ct show", "conntrack", XV_ARGS_NONE, false,                         \
	  "show settings of connection tracking")                                                  \
	X(ct_set, "ct.set", "ct set", "conntrack", XV_ARGS_CHANGES, true,                          \
	  "change settings of connection tracking")                                                \
	X(ct_stats, "ct.stats", "ct stats", NULL, XV_ARGS_NONE, false,                             \
	  "show how many connections there are, by zone, and what became of others")               \
	X(trace, "trace", "trace", NULL, XV_ARGS_TRACE, false,                                     \
	  "say what would become of a packet, step by step; sends nothing")                        \
	X(trace_live, "trace.live", "trace live", NULL, XV_ARGS_LIVE, false,                       \
	  "follow real packets that fit a filter, and show every stage that they meet")            \
	X(drop_list, "drop.list", "drop list", NULL, XV_ARGS_PORT, false,                          \
	  "list dropped packets by input port and reason")                                         \
	X(drop_watch, "drop.watch", "drop watch", NULL, XV_ARGS_WATCH, false,                      \
	  "show packets as they are dropped")                                                      \
	X(event_list, "event.list", "event list", NULL, XV_ARGS_PORT, false,                       \
	  "list the latest events: ports that came, went, broke")                                  \
	X(daemon_show, "daemon.show", "daemon show", "daemon", XV_ARGS_NONE, false,                \
	  "show settings of xviod")                                                                \
	X(daemon_set, "daemon.set", "daemon set", "daemon", XV_ARGS_CHANGES, true,                 \
	  "change settings of xviod")                                                              \
	X(log_show, "log.show", "log show", NULL, XV_ARGS_NONE, false, "show the log level")       \
	X(log_set, "log.set", "log set", NULL, XV_ARGS_LOG, true, "set the log level")             \
	X(version, "version", "version", NULL, XV_ARGS_NONE, false, "show versions")

enum xv_args {
	XV_ARGS_NONE,
	XV_ARGS_OBJECT,  /* all keys */
	XV_ARGS_CHANGES, /* the name and any other keys; null resets a key to its default */
	XV_ARGS_NAME,
	XV_ARGS_APPLY,
	XV_ARGS_NETWORK,
	XV_ARGS_PORT,
	XV_ARGS_LOG,
	XV_ARGS_FLOWS,
	XV_ARGS_FLOW,
	XV_ARGS_RULE,
	XV_ARGS_RULE_EDIT, /* "rule" and any others; null resets a key to its default */
	XV_ARGS_RULES,
	XV_ARGS_CONNECTIONS,
	XV_ARGS_WATCH,
	XV_ARGS_TRACE,
	XV_ARGS_TEST,
	XV_ARGS_LIVE,
};

enum xv_method_id {
#define X(id, name, command, object, args, write, help) XV_METHOD_##id,
	XV_METHODS(X)
#undef X
		XV_METHOD_MAX
};

struct xv_method {
	const char *name, *command, *object, *help;
	enum xv_args args;
	bool write;
};
extern const struct xv_method xv_methods[XV_METHOD_MAX];

/* The method of that name, or NULL. */
const struct xv_method *xv_method_lookup(const char *name);

/* Keys that a method takes: its object's or its own list; ends with a NULL name, never NULL. */
const struct xv_key *xv_method_keys(const struct xv_method *method);
