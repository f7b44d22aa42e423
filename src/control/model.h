/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The model: everything that is configured, as one value. The running host has one, a host file or
 * an API call makes another, the difference is what a transaction (txn.h) has to do. Control
 * thread; pure functions, nothing here touches a device.
 *
 * Shape: {"daemon": {...}, "worker": {NAME: {...}}, "network": {...}, "policy": {...}, "port": {...},
 * "vtep": {...}, "wire": {...}}, each object checked (check.h) and complete: defaults are filled in, equal meanings are
 * equal values. That which runs has derived tunnels, too (tunnels.h). Lines, where they are known, have the same shape.
 */
#pragma once

#include <sched.h>

#include <jansson.h>

#include "base/err.h"
#include "control/schema.h"

/* No object at all: what runs before the first transaction. NULL = out of memory. */
json_t *xv_model_new(void);

/*
 * The model that a host file describes, complete and valid; an empty text gives the defaults and
 * one worker. allowed: CPUs that workers may use. Errors carry line, object and key. *lines (unless
 * lines is NULL) tells where each object and key stood.
 */
int xv_model_parse(const char *text, size_t len, const cpu_set_t *allowed, json_t **model,
		   json_t **lines, struct xv_err *err);

/* Edit a model in place by the arguments of an API call; NAME is in args. It may be invalid after.
 */
int xv_model_add(json_t *model, const struct xv_object *type, const json_t *args,
		 struct xv_err *err);
int xv_model_set(json_t *model, const struct xv_object *type, const json_t *args,
		 struct xv_err *err);
int xv_model_del(json_t *model, const struct xv_object *type, const char *name, struct xv_err *err);

/* Everything that concerns more than one object: references, names and devices used twice ... */
int xv_model_validate(const json_t *model, const json_t *lines, const cpu_set_t *allowed,
		      struct xv_err *err);

/* The object of that type and name, or NULL (borrowed). For "daemon" name is ignored. */
json_t *xv_model_get(const json_t *model, const char *type, const char *name);

/* The object that a device follows: a port's, that of a derived tunnel (tunnels.h) or internal port (gateway_config.h), or
 * of a dynamic port (txn.h), or NULL (borrowed). */
json_t *xv_model_port(const json_t *model, const char *name);

/* The wire that uses a port, or NULL (borrowed name). */
const char *xv_model_wire_of(const json_t *model, const char *port);

/* What makes two ports exclude each other: "socket /run/x", "device 0000:05:00.1" into buf; "" =
 * none. */
const char *xv_model_resource(const json_t *port, char *buf, size_t size);

/* What leads from one model to another, a sentence each: "+ port vm1", "~ port vm2: vlan 10 -> 20".
 */
json_t *xv_model_diff(const json_t *from, const json_t *to);

/* Complain that an object, or one that a key names, does not exist; with the nearest that does.
 * -ENOENT. */
int xv_model_no_such(const json_t *model, const char *type, const char *name, struct xv_err *err);
int xv_model_bad_reference(const json_t *model, const struct xv_key *key, const char *name,
			   struct xv_err *err);
