/* SPDX-License-Identifier: Apache-2.0 */
#include "control/model.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/check.h"
#include "control/firewall_config.h"
#include "control/gateway_config.h"
#include "control/groups.h"
#include "control/hostfile.h"
#include "control/tunnels.h"
#include "fastpath/conntrack.h"
#include "fastpath/worker.h"
#include "port/port.h"

#define DEFAULT_WORKER "w0"

static const char *text_of(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

json_t *xv_model_get(const json_t *model, const char *type, const char *name)
{
	json_t *section = json_object_get(model, type);

	return xv_schema_object(type) != NULL && xv_schema_object(type)->single ? section : json_object_get(section, name);
}

static void name_object(struct xv_err *err, const struct xv_object *type, const char *name)
{
	if (err == NULL || err->object[0] != '\0')
		return;
	if (type->single)
		snprintf(err->object, sizeof(err->object), "%s", type->name);
	else
		xv_err_object(err, type->name, name);
}

static int no_memory(struct xv_err *err)
{
	return xv_err_set(err, -ENOMEM, XV_ERR_RESOURCE, "out of memory");
}

json_t *xv_model_new(void)
{
	json_t *model = json_object();

	for (const struct xv_object *type = xv_schema; type->name != NULL; type++) {
		if (json_object_set_new(model, type->name, json_object()) < 0) {
			json_decref(model);
			return NULL;
		}
	}
	return model;
}

/* What a host has even if nobody asks for it. */
static int add_defaults(json_t *model, struct xv_err *err)
{
	json_t *workers = json_object_get(model, "worker"), *object, *none;
	int rc = 0;

	if (json_object_size(workers) == 0 &&
	    json_object_set_new(workers, DEFAULT_WORKER,
				json_pack("{s:s}", "name", DEFAULT_WORKER)) < 0)
		return no_memory(err);
	none = json_object();
	for (const struct xv_object *type = xv_schema; type->name != NULL && rc == 0; type++) {
		if (!type->single || json_object_size(json_object_get(model, type->name)) > 0)
			continue;
		rc = xv_check_keys(type->keys, none, NULL, XV_CHECK_FULL, &object, err);
		if (rc == 0)
			rc = json_object_set_new(model, type->name, object);
	}
	json_decref(none);
	return rc;
}

/* One entry of a host file's list into the model. */
static int add_entry(json_t *model, json_t *lines, const struct xv_object *type, json_t *given,
		     json_t *given_lines, struct xv_err *err)
{
	json_t *objects = json_object_get(model, type->name), *object;
	json_t *object_lines = json_object_get(lines, type->name);
	const char *name = text_of(given, "name");
	int rc;

	rc = xv_check_keys(type->keys, given, given_lines, XV_CHECK_FULL, &object, err);
	if (rc < 0) {
		/* An entry without a usable name is known by its line only. */
		if (err != NULL && err->object[0] == '\0' && name == NULL)
			snprintf(err->object, sizeof(err->object), "%s", type->section);
		name_object(err, type, name);
		return rc;
	}
	if (json_object_get(objects, name) != NULL) {
		json_decref(object);
		name_object(err, type, name);
		xv_err_key(err, "name");
		if (err != NULL)
			err->line = xv_check_line(given_lines, "name");
		return xv_err_set(err, -EEXIST, XV_ERR_EXISTS, "is used already, on line %d",
				  xv_check_line(json_object_get(object_lines, name), "name"));
	}
	if (json_object_set(object_lines, name, given_lines) < 0 ||
	    json_object_set_new(objects, name, object) < 0)
		return no_memory(err);
	return 0;
}

static int add_section(json_t *model, json_t *lines, const struct xv_object *type, json_t *given,
		       json_t *given_lines, int line, struct xv_err *err)
{
	json_t *object, *entry;
	size_t i;
	int rc;

	if (json_is_null(given))
		return 0;
	if (type->single) {
		rc = xv_check_keys(type->keys, given, given_lines, XV_CHECK_FULL, &object, err);
		if (rc < 0) {
			if (err != NULL && err->line == 0)
				err->line = line;
			name_object(err, type, NULL);
			return rc;
		}
		json_object_set(lines, type->name, given_lines);
		return json_object_set_new(model, type->name, object);
	}
	if (!json_is_array(given)) {
		if (err != NULL) {
			err->line = line;
			snprintf(err->object, sizeof(err->object), "%s", type->section);
		}
		return xv_err_set(err, -EINVAL, XV_ERR_TYPE,
				  "must be a list (each entry starts with \"-\")");
	}
	json_array_foreach (given, i, entry) {
		json_t *l = json_array_get(given_lines, i);
		json_t *own =
			json_is_object(l)
				? json_incref(l)
				: json_pack("{s:i}", "",
					    json_is_integer(l) ? (int)json_integer_value(l) : line);

		rc = add_entry(model, lines, type, entry, own, err);
		json_decref(own);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int unknown_section(const char *name, int line, struct xv_err *err)
{
	struct xv_nearest nearest;

	xv_nearest_init(&nearest, name);
	for (const struct xv_object *type = xv_schema; type->name != NULL; type++)
		xv_nearest_feed(&nearest, type->section);
	if (err != NULL)
		err->line = line;
	xv_err_key(err, name);
	if (nearest.best != NULL)
		return xv_err_set(err, -EINVAL, XV_ERR_UNKNOWN_KEY,
				  "unknown section; did you mean \"%s\"?", nearest.best);
	return xv_err_set(err, -EINVAL, XV_ERR_UNKNOWN_KEY,
			  "unknown section; there are daemon, conntrack, workers, timeouts, networks, "
			  "policies, groups, ports, vteps, load_balancers, routers and wires");
}

static int from_hostfile(const struct xv_hostfile *file, json_t *model, json_t *lines,
			 struct xv_err *err)
{
	json_t *given, *given_lines;
	const char *name;
	int rc;

	if (!json_is_object(file->values)) {
		if (err != NULL)
			err->line = 1;
		return xv_err_set(err, -EINVAL, XV_ERR_TYPE,
				  "must be a mapping with the sections daemon, conntrack, workers, timeouts, "
				  "networks, policies, groups, ports, vteps and wires");
	}
	json_object_foreach (file->values, name, given) {
		const struct xv_object *type = xv_schema_section(name);
		int line = xv_check_line(file->lines, name);

		if (type == NULL)
			return unknown_section(name, line, err);
		given_lines = json_object_get(file->lines, name);
		rc = add_section(model, lines, type, given, given_lines, line, err);
		if (rc < 0)
			return rc;
	}
	return add_defaults(model, err);
}

int xv_model_parse(const char *text, size_t len, const cpu_set_t *allowed, json_t **model,
		   json_t **lines, struct xv_err *err)
{
	json_t *parsed = xv_model_new(), *places = xv_model_new();
	struct xv_hostfile file;
	int rc;

	rc = parsed == NULL || places == NULL ? no_memory(err)
					      : xv_hostfile_parse(text, len, &file, err);
	if (rc == 0) {
		rc = from_hostfile(&file, parsed, places, err);
		xv_hostfile_fini(&file);
	}
	if (rc == 0)
		rc = xv_model_validate(parsed, places, allowed, err);
	if (rc < 0) {
		json_decref(parsed);
		json_decref(places);
		return rc;
	}
	*model = parsed;
	if (lines != NULL)
		*lines = places;
	else
		json_decref(places);
	return 0;
}

/* `; did you mean "vm1"?` or nothing, into buf. */
static const char *suggest(const json_t *model, const char *type, const char *name, char *buf,
			   size_t size)
{
	struct xv_nearest nearest;
	const char *other;
	json_t *object;

	buf[0] = '\0';
	xv_nearest_init(&nearest, name);
	json_object_foreach (json_object_get(model, type), other, object)
		xv_nearest_feed(&nearest, other);
	if (nearest.best != NULL)
		snprintf(buf, size, "; did you mean \"%s\"?", nearest.best);
	return buf;
}

int xv_model_no_such(const json_t *model, const char *type, const char *name, struct xv_err *err)
{
	char suggestion[XV_NAME_MAX + 32];

	xv_err_object(err, type, name);
	return xv_err_set(err, -ENOENT, XV_ERR_NOT_FOUND, "does not exist%s",
			  suggest(model, type, name, suggestion, sizeof(suggestion)));
}

int xv_model_bad_reference(const json_t *model, const struct xv_key *key, const char *name,
			   struct xv_err *err)
{
	char suggestion[XV_NAME_MAX + 32];

	xv_err_key(err, key->name);
	return xv_err_set(err, -ENOENT, XV_ERR_NOT_FOUND, "there is no %s \"%s\"%s", key->ref, name,
			  suggest(model, key->ref, name, suggestion, sizeof(suggestion)));
}

int xv_model_add(json_t *model, const struct xv_object *type, const json_t *args,
		 struct xv_err *err)
{
	json_t *objects = json_object_get(model, type->name), *object;
	const char *name = text_of(args, "name");
	int rc;

	rc = xv_check_keys(type->keys, args, NULL, XV_CHECK_FULL, &object, err);
	if (rc < 0) {
		if (name != NULL)
			name_object(err, type, name);
		return rc;
	}
	name_object(err, type, name);
	if (json_object_get(objects, name) != NULL) {
		json_decref(object);
		return xv_err_set(err, -EEXIST, XV_ERR_EXISTS, "exists already");
	}
	return json_object_set_new(objects, name, object) < 0 ? no_memory(err) : 0;
}

/* The old object with changes on top: what an operator would have written in the host file. */
static json_t *merge(const struct xv_object *type, const json_t *old, const json_t *changes)
{
	json_t *merged = json_object();
	const char *kind = text_of(changes, "kind");

	for (const struct xv_key *key = type->keys; key->name != NULL; key++) {
		json_t *v = json_object_get(changes, key->name);

		if (v == NULL) {
			v = json_object_get(old, key->name);
			/* Keys of the kind that it no longer is go with it. */
			if (key->only != NULL && kind != NULL && strcmp(key->only, kind) != 0)
				v = NULL;
		}
		if (v != NULL && !json_is_null(v))
			json_object_set(merged, key->name, v);
	}
	return merged;
}

int xv_model_set(json_t *model, const struct xv_object *type, const json_t *args,
		 struct xv_err *err)
{
	const char *name = text_of(args, "name");
	json_t *old, *changes, *merged, *object;
	int rc;

	if (!type->single && name == NULL) {
		xv_err_key(err, "name");
		return xv_err_set(err, -EINVAL, XV_ERR_MISSING_KEY, "is missing");
	}
	old = xv_model_get(model, type->name, name);
	if (old == NULL)
		return xv_model_no_such(model, type->name, name, err);
	name_object(err, type, name);
	rc = xv_check_keys(type->keys, args, NULL, XV_CHECK_CHANGES, &changes, err);
	if (rc < 0)
		return rc;
	merged = merge(type, old, changes);
	json_decref(changes);
	rc = xv_check_keys(type->keys, merged, NULL, XV_CHECK_FULL, &object, err);
	json_decref(merged);
	if (rc < 0)
		return rc;
	if (type->single)
		rc = json_object_set_new(model, type->name, object);
	else
		rc = json_object_set_new(json_object_get(model, type->name), name, object);
	return rc < 0 ? no_memory(err) : 0;
}

const char *xv_model_wire_of(const json_t *model, const char *port)
{
	json_t *wires = json_object_get(model, "wire"), *wire, *p;
	const char *name;
	size_t i;

	json_object_foreach (wires, name, wire) {
		json_array_foreach (json_object_get(wire, "ports"), i, p) {
			if (strcmp(json_string_value(p), port) == 0)
				return name;
		}
	}
	return NULL;
}

static bool names(const json_t *value, const char *name)
{
	const char *text = json_string_value(value);
	json_t *e;
	size_t i;

	if (text != NULL)
		return strcmp(text, name) == 0;
	json_array_foreach (value, i, e) {
		if (json_is_string(e) && strcmp(json_string_value(e), name) == 0)
			return true;
	}
	return false;
}

/* Does an entry of the list, whose keys are those of `list`, name an object of that type? */
static bool rules_name(const struct xv_key *list, const json_t *entries, const char *type, const char *name)
{
	size_t i;
	json_t *entry;

	json_array_foreach (entries, i, entry) {
		for (const struct xv_key *key = list->keys; key->name != NULL; key++) {
			if (key->ref != NULL && strcmp(key->ref, type) == 0 && names(json_object_get(entry, key->name), name))
				return true;
		}
	}
	return false;
}

/* The object of type `by` one of whose keys names an object of that type, or NULL. */
static const char *user_of(const json_t *model, const char *by, const char *type, const char *name)
{
	json_t *users = json_object_get(model, by), *object;
	const char *user;

	json_object_foreach (users, user, object) {
		for (const struct xv_key *key = xv_schema_keys(by); key->name != NULL; key++) {
			if (key->ref != NULL && strcmp(key->ref, type) == 0 &&
			    names(json_object_get(object, key->name), name))
				return user;
			if (key->type == XV_TYPE_ENTRIES && rules_name(key, json_object_get(object, key->name), type, name))
				return user;
		}
	}
	return NULL;
}

int xv_model_del(json_t *model, const struct xv_object *type, const char *name, struct xv_err *err)
{
	static const char *const users[] = {"port", "network", "vtep", "wire", "group", "lb", "router"};
	json_t *objects = json_object_get(model, type->name);
	const char *user;

	if (json_object_get(objects, name) == NULL)
		return xv_model_no_such(model, type->name, name, err);
	name_object(err, type, name);
	/* The validation would complain about the one that refers to it; blame this one instead. */
	for (unsigned int i = 0; i < sizeof(users) / sizeof(users[0]); i++) {
		user = user_of(model, users[i], type->name, name);
		if (user != NULL && (strcmp(users[i], type->name) != 0 || strcmp(user, name) != 0))
			return xv_err_set(err, -EBUSY, XV_ERR_BUSY, "is used by %s %s", users[i], user);
	}
	if (strcmp(type->name, "worker") == 0 && json_object_size(objects) == 1)
		return xv_err_set(err, -EBUSY, XV_ERR_BUSY, "is the last one");
	return json_object_del(objects, name);
}

/* What validation complains about: where, and a sentence. Returns rc. */
struct place {
	const json_t *lines;
	const char *type, *name;
	struct xv_err *err;
};

__attribute__((format(printf, 5, 6))) static int
fault(const struct place *at, const char *key, int rc, enum xv_errcode code, const char *fmt, ...)
{
	json_t *lines = json_object_get(at->lines, at->type);
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (at->name != NULL)
		lines = json_object_get(lines, at->name);
	/* The object that an API call names may not be the one at fault. */
	if (at->err != NULL) {
		at->err->object[0] = at->err->key[0] = '\0';
		at->err->line = xv_check_line(lines, key);
	}
	if (at->name != NULL)
		xv_err_object(at->err, at->type, at->name);
	else if (at->err != NULL)
		snprintf(at->err->object, sizeof(at->err->object), "%s", at->type);
	if (key != NULL)
		xv_err_key(at->err, key);
	return xv_err_set(at->err, rc, code, "%s", text);
}

static int check_reference(const json_t *model, const struct place *at, const struct xv_key *key,
			   const char *name)
{
	struct xv_err why = {0};

	if (xv_model_get(model, key->ref, name) != NULL)
		return 0;
	xv_model_bad_reference(model, key, name, &why);
	return fault(at, key->name, -ENOENT, XV_ERR_NOT_FOUND, "%s", why.text);
}

static int check_references(const json_t *model, const struct place *at,
			    const struct xv_object *type, const json_t *object)
{
	size_t i;
	json_t *e;
	int rc;

	for (const struct xv_key *key = type->keys; key->name != NULL; key++) {
		json_t *v = json_object_get(object, key->name);

		if (key->ref == NULL || v == NULL)
			continue;
		if (json_is_string(v)) {
			rc = check_reference(model, at, key, json_string_value(v));
			if (rc < 0)
				return rc;
		}
		json_array_foreach (v, i, e) {
			rc = check_reference(model, at, key, json_string_value(e));
			if (rc < 0)
				return rc;
		}
	}
	return 0;
}

/* Groups that rules of a group name. */
static int check_remote_groups(const json_t *model, const struct place *at, const json_t *group)
{
	const struct xv_key *key = xv_schema_key(xv_schema_keys("group rule"), "remote_group");
	size_t i;
	json_t *rule;

	json_array_foreach (json_object_get(group, "rules"), i, rule) {
		const char *name = text_of(rule, key->name);
		struct xv_err why = {0};

		if (name == NULL || xv_model_get(model, key->ref, name) != NULL)
			continue;
		xv_model_bad_reference(model, key, name, &why);
		return fault(at, "rules", -ENOENT, XV_ERR_NOT_FOUND, "group rule %zu: %s: %s", i + 1, key->name, why.text);
	}
	return 0;
}

/* used: what is taken -> by whom. */
static int take(json_t *used, const char *what, const struct place *at, const char *key)
{
	const char *other = json_string_value(json_object_get(used, what));

	if (other != NULL)
		return fault(at, key, -EBUSY, XV_ERR_BUSY, "%s is used by %s %s",
			     strchr(what, ' ') ? strchr(what, ' ') + 1 : what, at->type, other);
	return json_object_set_new(used, what, json_string(at->name));
}

/* Less than this leaves no packets beside what DPDK takes for itself. */
#define MIN_MEMORY_MB 64

static int validate_daemon(const struct place *at, const json_t *daemon)
{
	json_int_t memory_mb = json_integer_value(json_object_get(daemon, "memory_mb"));

	if (memory_mb == 0 || memory_mb >= MIN_MEMORY_MB)
		return 0;
	if (at->err != NULL) {
		at->err->line = xv_check_line(json_object_get(at->lines, "daemon"), "memory_mb");
		snprintf(at->err->object, sizeof(at->err->object), "daemon");
	}
	xv_err_key(at->err, "memory_mb");
	return xv_err_set(at->err, -ERANGE, XV_ERR_RANGE, "%lld is too little; 0 or at least %d",
			  (long long)memory_mb, MIN_MEMORY_MB);
}

static int validate_worker(json_t *used, const struct place *at, const json_t *worker,
			   const cpu_set_t *allowed)
{
	json_t *cpu = json_object_get(worker, "cpu");
	json_int_t n = json_integer_value(cpu);
	char what[32];

	if (cpu == NULL)
		return 0;
	if (n >= CPU_SETSIZE || !CPU_ISSET((int)n, allowed))
		return fault(at, "cpu", -ENODEV, XV_ERR_RANGE,
			     "CPU %lld does not exist or xviod may not use it", (long long)n);
	snprintf(what, sizeof(what), "cpu CPU %lld", (long long)n);
	return take(used, what, at, "cpu");
}

json_t *xv_model_port(const json_t *model, const char *name)
{
	json_t *port = xv_model_get(model, "port", name);

	if (port == NULL)
		port = xv_model_get(model, "tunnel", name);
	if (port == NULL)
		port = xv_model_get(model, "internal", name);
	return port != NULL ? port : xv_model_get(model, "dynamic", name);
}

const char *xv_model_resource(const json_t *port, char *buf, size_t size)
{
	static const char *const keys[] = {"socket", "device", "interface"};

	buf[0] = '\0';
	for (unsigned int i = 0; i < 3; i++) {
		const char *v = text_of(port, keys[i]);

		/* A device's arguments do not make it another device. */
		if (v != NULL)
			snprintf(buf, size, "%s %.*s", keys[i],
				 i == 1 ? (int)strcspn(v, ",") : (int)strlen(v), v);
	}
	return buf;
}

static int validate_port_policies(const struct place *at, const json_t *port)
{
	static const char *const keys[] = {"egress_policy", "ingress_policy"};

	if (json_object_get(port, "network") != NULL)
		return 0;
	for (unsigned int i = 0; i < 2; i++) {
		if (json_object_get(port, keys[i]) != NULL)
			return fault(at, keys[i], -EINVAL, XV_ERR_RANGE,
				     "works only on a network: a wire looks at no packet");
	}
	return 0;
}

static int validate_port(json_t *used, const struct place *at, const json_t *port)
{
	json_int_t vlan = json_integer_value(json_object_get(port, "vlan"));
	json_t *trunk = json_object_get(port, "trunk");
	uint64_t vlans[4096 / 64];
	char resource[512], key[16], text[200];
	const char *wrong;
	int rc;

	if (json_object_get(port, "network") == NULL && vlan != 0)
		return fault(at, "vlan", -EINVAL, XV_ERR_RANGE,
			     "has a meaning only together with network");
	if (json_object_get(port, "network") == NULL && trunk != NULL)
		return fault(at, "trunk", -EINVAL, XV_ERR_RANGE,
			     "has a meaning only together with network");
	xv_check_vlans(trunk, vlans);
	if (vlan != 0 && (vlans[vlan / 64] >> (vlan % 64) & 1))
		return fault(at, "trunk", -EINVAL, XV_ERR_RANGE,
			     "VLAN %lld cannot be tagged here: it is the one of untagged frames",
			     (long long)vlan);
	rc = validate_port_policies(at, port);
	if (rc < 0)
		return rc;
	rc = xv_firewall_config_check_port(port, &wrong, text, sizeof(text));
	if (rc < 0)
		return fault(at, wrong, rc, XV_ERR_RANGE, "%s", text);
	xv_model_resource(port, resource, sizeof(resource));
	if (resource[0] == '\0')
		return 0;
	snprintf(key, sizeof(key), "%.*s", (int)strcspn(resource, " "), resource);
	rc = take(used, resource, at, key);
	return rc;
}

static int validate_wire(json_t *used, const json_t *model, const struct place *at,
			 const json_t *wire)
{
	json_t *ports = json_object_get(wire, "ports"), *e;
	char what[XV_NAME_MAX + 16];
	const char *network, *vtep;
	unsigned int uplink;
	size_t i;
	int rc;

	json_array_foreach (ports, i, e) {
		const char *name = json_string_value(e);

		network = text_of(xv_model_get(model, "port", name), "network");
		if (network != NULL)
			return fault(at, "ports", -EBUSY, XV_ERR_BUSY,
				     "port %s belongs to network %s", name, network);
		vtep = xv_tunnels_vtep_of(model, name, &uplink);
		if (vtep != NULL)
			return fault(at, "ports", -EBUSY, XV_ERR_BUSY, "port %s is used by vtep %s",
				     name, vtep);
		snprintf(what, sizeof(what), "wired port %s", name);
		rc = take(used, what, at, "ports");
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* What networks and VTEPs say about tunnels, load balancers and routers about networks. */
static int validate_together(const json_t *model, const struct place *at,
			    int (*check)(const json_t *model, const char *name, const char **key,
					 char *text, size_t size))
{
	const char *key = NULL;
	char text[300];
	int rc = check(model, at->name, &key, text, sizeof(text));

	return rc == 0 ? 0
		       : fault(at, key, rc,
			       rc == -EBUSY    ? XV_ERR_BUSY
			       : rc == -ENOENT ? XV_ERR_NOT_FOUND
					       : XV_ERR_RANGE,
			       "%s", text);
}

static int validate_group(const json_t *model, const struct place *at, const json_t *group)
{
	int rc = check_remote_groups(model, at, group);

	return rc == 0 ? validate_together(model, at, xv_groups_check) : rc;
}

int xv_model_validate(const json_t *model, const json_t *lines, const cpu_set_t *allowed,
		      struct xv_err *err)
{
	static const struct {
		const char *type;
		size_t max;
	} limits[] = {{"worker", XV_MAX_WORKERS}, {"port", XV_MAX_PORTS}, {"timeout", XV_CT_POLICIES / 2}};
	json_t *used = json_object(), *object;
	int rc = 0;

	for (unsigned int i = 0; i < sizeof(limits) / sizeof(limits[0]) && rc == 0; i++) {
		if (json_object_size(json_object_get(model, limits[i].type)) > limits[i].max)
			rc = xv_err_set(err, -E2BIG, XV_ERR_RANGE, "more than %zu %ss",
					limits[i].max, limits[i].type);
	}
	for (const struct xv_object *type = xv_schema; type->name != NULL && rc == 0; type++) {
		struct place at = {.lines = lines, .type = type->name, .err = err};

		if (type->single) {
			object = json_object_get(model, type->name);
			rc = check_references(model, &at, type, object);
			if (rc == 0 && strcmp(type->name, "daemon") == 0)
				rc = validate_daemon(&at, object);
			continue;
		}
		json_object_foreach (json_object_get(model, type->name), at.name, object) {
			rc = check_references(model, &at, type, object);
			if (rc == 0 && strcmp(type->name, "worker") == 0)
				rc = validate_worker(used, &at, object, allowed);
			else if (rc == 0 && strcmp(type->name, "port") == 0)
				rc = validate_port(used, &at, object);
			else if (rc == 0 && strcmp(type->name, "group") == 0)
				rc = validate_group(model, &at, object);
			else if (rc == 0 && strcmp(type->name, "wire") == 0)
				rc = validate_wire(used, model, &at, object);
			else if (rc == 0 && strcmp(type->name, "network") == 0)
				rc = validate_together(model, &at, xv_tunnels_check_network);
			else if (rc == 0 && strcmp(type->name, "vtep") == 0)
				rc = validate_together(model, &at, xv_tunnels_check_vtep);
			else if (rc == 0 && strcmp(type->name, "lb") == 0)
				rc = validate_together(model, &at, xv_gateway_config_check_lb);
			else if (rc == 0 && strcmp(type->name, "router") == 0)
				rc = validate_together(model, &at, xv_gateway_config_check_router);
			if (rc < 0)
				break;
		}
	}
	json_decref(used);
	return rc;
}

/* A value as in the host file; lists without brackets, of those with mappings only the size. */
static void value_text(const struct xv_key *key, const json_t *v, char *buf, size_t size)
{
	size_t i, n = 0;
	json_t *e;

	if (v == NULL) {
		snprintf(buf, size, "unset");
	} else if (key->type == XV_TYPE_ENTRIES) {
		snprintf(buf, size, "%zu", json_array_size(v));
	} else if (json_is_string(v)) {
		snprintf(buf, size, "%s", json_string_value(v));
	} else if (json_is_integer(v)) {
		snprintf(buf, size, "%lld", (long long)json_integer_value(v));
	} else if (json_is_boolean(v)) {
		snprintf(buf, size, "%s", json_is_true(v) ? "true" : "false");
	} else {
		buf[0] = '\0';
		json_array_foreach (v, i, e) {
			if (i > 0 && n < size)
				n += (size_t)snprintf(buf + n, size - n, ",");
			if (n < size) {
				value_text(key, e, buf + n, size - n);
				n += strlen(buf + n);
			}
		}
	}
}

static json_t *change_line(const struct xv_object *type, const char *name, const json_t *old,
			   const json_t *new)
{
	char line[2048], from[300], to[300];
	size_t n;

	n = (size_t)snprintf(line, sizeof(line), "~ %s%s%s:", type->name, name ? " " : "",
			     name ? name : "");
	for (const struct xv_key *key = type->keys; key->name != NULL; key++) {
		json_t *a = json_object_get(old, key->name), *b = json_object_get(new, key->name);

		if (a == b || (a != NULL && b != NULL && json_equal(a, b)) || n >= sizeof(line))
			continue;
		if (key->type == XV_TYPE_ENTRIES && json_array_size(a) == json_array_size(b)) {
			n += (size_t)snprintf(line + n, sizeof(line) - n, "%s %s changed",
					      line[n - 1] == ':' ? "" : ",", key->name);
			continue;
		}
		value_text(key, a, from, sizeof(from));
		value_text(key, b, to, sizeof(to));
		n += (size_t)snprintf(line + n, sizeof(line) - n, "%s %s %s -> %s",
				      line[n - 1] == ':' ? "" : ",", key->name, from, to);
	}
	return json_string(line);
}

json_t *xv_model_diff(const json_t *from, const json_t *to)
{
	json_t *lines = json_array(), *old, *new;
	const char *name;

	for (const struct xv_object *type = xv_schema; type->name != NULL; type++) {
		json_t *a = json_object_get(from, type->name), *b = json_object_get(to, type->name);

		if (type->single) {
			if (!json_equal(a, b))
				json_array_append_new(lines, change_line(type, NULL, a, b));
			continue;
		}
		json_object_foreach (a, name, old) {
			if (json_object_get(b, name) == NULL)
				json_array_append_new(lines,
						      json_sprintf("- %s %s", type->name, name));
		}
		json_object_foreach (b, name, new) {
			old = json_object_get(a, name);
			if (old == NULL)
				json_array_append_new(lines,
						      json_sprintf("+ %s %s", type->name, name));
			else if (!json_equal(old, new))
				json_array_append_new(lines, change_line(type, name, old, new));
		}
	}
	json_object_foreach (json_object_get(from, "dynamic"), name, old) {
		if (!json_equal(old, xv_model_get(to, "dynamic", name)))
			json_array_append_new(lines, json_sprintf("- dynamic %s", name));
	}
	json_object_foreach (json_object_get(to, "dynamic"), name, new) {
		if (!json_equal(new, xv_model_get(from, "dynamic", name)))
			json_array_append_new(lines, json_sprintf("+ dynamic %s", name));
	}
	return lines;
}
