/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers for people: tables for list, "key: value" for show, numbers with units.
 */
#pragma once

#include <jansson.h>

/* A list of objects of a type ("port", "mac" ...) as a table. */
void print_table(const char *type, const json_t *list);
/* One object as "key: value" lines; members of objects inside are indented. */
void print_object(json_t *object);
/* The summary of the host and its ports. */
void print_host(const json_t *host, const json_t *ports);
/* Flows, a line each, as `ovs-dpctl dump-flows` has them. */
void print_flows(const json_t *flows);
/* Connections, a line each, as `ovs-appctl dpctl/dump-conntrack -s` has them. */
void print_connections(const json_t *connections);
/* What became of a packet, stage by stage. */
void print_test(const json_t *test);
void print_trace(const json_t *trace);
/* A packet that was followed: when and where it came in, what it was, then stage by stage when, and what. */
void print_followed(const json_t *packet);
/* A packet that was dropped: a line that says why, then what it was and its first bytes. */
void print_drop(const json_t *drop);
