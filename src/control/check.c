/* SPDX-License-Identifier: Apache-2.0 */
#include "control/check.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/firewall_config.h"
#include "control/hostfile.h"
#include "control/match.h"
#include "control/policy_config.h"
#include "control/tunnels.h"

/* The value as an operator would recognise it, shortened. */
static const char *quote(const json_t *v, char *buf, size_t size)
{
	switch (json_typeof(v)) {
	case JSON_STRING:
		snprintf(buf, size, "\"%.40s\"%s", json_string_value(v),
			 json_string_length(v) > 40 ? "..." : "");
		break;
	case JSON_INTEGER:
		snprintf(buf, size, "%lld", (long long)json_integer_value(v));
		break;
	case JSON_REAL:
		snprintf(buf, size, "%g", json_real_value(v));
		break;
	case JSON_TRUE:
		return "true";
	case JSON_FALSE:
		return "false";
	case JSON_NULL:
		return "nothing";
	case JSON_ARRAY:
		return "a list";
	case JSON_OBJECT:
		return "a mapping";
	}
	return buf;
}

static int wrong_type(const struct xv_key *key, const json_t *v, struct xv_err *err)
{
	char want[160], got[64];

	return xv_err_set(err, -EINVAL, XV_ERR_TYPE, "must be %s, not %s",
			  xv_key_describe(key, want, sizeof(want)), quote(v, got, sizeof(got)));
}

/* C's strings end at a NUL that JSON's and YAML's may contain. */
static int check_nul(const json_t *v, struct xv_err *err)
{
	if (json_is_string(v) && strlen(json_string_value(v)) != json_string_length(v))
		return xv_err_set(err, -EINVAL, XV_ERR_RANGE, "contains a NUL byte");
	return 0;
}

/* A text without control characters, min..max bytes long. */
static int check_text(const struct xv_key *key, const json_t *v, bool lines_allowed,
		      struct xv_err *err)
{
	const char *s = json_string_value(v);
	size_t len;

	if (s == NULL)
		return wrong_type(key, v, err);
	len = json_string_length(v);
	if ((int64_t)len < key->min)
		return xv_err_set(err, -EINVAL, XV_ERR_RANGE, "must not be empty");
	if ((int64_t)len > key->max)
		return xv_err_set(err, -ERANGE, XV_ERR_RANGE, "is longer than %lld bytes",
				  (long long)key->max);
	for (; *s && !lines_allowed; s++) {
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			return xv_err_set(err, -EINVAL, XV_ERR_RANGE,
					  "contains a control character");
	}
	return 0;
}

#define LETTERS_DIGITS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

static int check_name(const char *s, bool found, struct xv_err *err)
{
	static const char first[] = LETTERS_DIGITS, rest[] = LETTERS_DIGITS "._-", rest_found[] = LETTERS_DIGITS "._-@";
	size_t len = strlen(s);

	if (len == 0)
		return xv_err_set(err, -EINVAL, XV_ERR_RANGE, "must not be empty");
	if (len > XV_NAME_MAX)
		return xv_err_set(err, -ERANGE, XV_ERR_RANGE,
				  "\"%.20s...\" is longer than %d bytes", s, XV_NAME_MAX);
	if (strchr(first, s[0]) == NULL || s[strspn(s, found ? rest_found : rest)] != '\0')
		return xv_err_set(err, -EINVAL, XV_ERR_RANGE,
				  "\"%s\" is not a name: letters, digits and . _ - only, "
				  "a letter or digit first",
				  s);
	return 0;
}

static int check_path(const struct xv_key *key, const json_t *v, struct xv_err *err)
{
	if (json_is_string(v) && (int64_t)json_string_length(v) > key->max)
		return xv_err_set(err, -ENAMETOOLONG, XV_ERR_RANGE,
				  "path is longer than the %lld bytes that a unix socket can have",
				  (long long)key->max);
	if (check_text(key, v, false, err) < 0)
		return -EINVAL;
	if (json_string_value(v)[0] != '/')
		return xv_err_set(err, -EINVAL, XV_ERR_RANGE, "\"%s\" is not an absolute path",
				  json_string_value(v));
	return 0;
}

static int check_word(const struct xv_key *key, const json_t *v, struct xv_err *err)
{
	const char *s = json_string_value(v);
	struct xv_nearest nearest;
	char words[160];

	if (s == NULL)
		return wrong_type(key, v, err);
	xv_nearest_init(&nearest, s);
	for (unsigned int i = 0; key->words[i] != NULL; i++) {
		if (strcmp(s, key->words[i]) == 0)
			return 0;
		xv_nearest_feed(&nearest, key->words[i]);
	}
	return xv_err_set(err, -EINVAL, XV_ERR_RANGE, "must be %s, not \"%.40s\"%s%s%s",
			  xv_key_describe(key, words, sizeof(words)), s,
			  nearest.best ? "; did you mean \"" : "", nearest.best ? nearest.best : "",
			  nearest.best ? "\"?" : "");
}

static int check_number(const struct xv_key *key, const json_t *v, json_t **out, struct xv_err *err)
{
	int64_t n;
	int rc = 0;

	for (unsigned int i = 0; json_is_string(v) && key->words != NULL && key->words[i] != NULL; i++) {
		if (strcmp(json_string_value(v), key->words[i]) == 0) {
			*out = json_string(key->words[i]);
			return 0;
		}
	}
	if (json_is_string(v)) {
		rc = xv_parse_number(json_string_value(v), key->type == XV_TYPE_RATE, &n);
		if (rc == -EINVAL)
			return wrong_type(key, v, err);
	} else if (json_is_integer(v)) {
		n = json_integer_value(v);
	} else {
		return wrong_type(key, v, err);
	}
	if (rc < 0 || n < key->min || n > key->max) {
		char got[64];

		return xv_err_set(err, -ERANGE, XV_ERR_RANGE, "%s is out of range %lld..%lld",
				  json_is_string(v) ? json_string_value(v)
						    : quote(v, got, sizeof(got)),
				  (long long)key->min, (long long)key->max);
	}
	*out = json_integer(n);
	return 0;
}

static int check_mode(const struct xv_key *key, const json_t *v, json_t **out, struct xv_err *err)
{
	const char *s = json_string_value(v);
	unsigned long mode;
	char text[8], *end;

	/* A JSON number would be decimal: 660 is not 0660. */
	if (s == NULL || *s < '0' || *s > '7')
		return wrong_type(key, v, err);
	mode = strtoul(s, &end, 8);
	if (*end != '\0')
		return wrong_type(key, v, err);
	if (mode > 0777)
		return xv_err_set(err, -ERANGE, XV_ERR_RANGE, "%s is out of range 0000..0777", s);
	snprintf(text, sizeof(text), "%04lo", mode);
	*out = json_string(text);
	return 0;
}

static int check_address(const struct xv_key *key, const json_t *v, struct xv_err *err)
{
	const char *s = json_string_value(v), *colon;
	int64_t port;

	if (check_text(key, v, false, err) < 0)
		return -EINVAL;
	if (strcmp(s, "off") == 0)
		return 0;
	if (strncmp(s, "unix:", 5) == 0) {
		if (s[5] != '/')
			return xv_err_set(err, -EINVAL, XV_ERR_RANGE,
					  "\"%s\" is not an absolute path", s + 5);
		if (strlen(s + 5) > XV_SOCKET_PATH_MAX)
			return xv_err_set(
				err, -ENAMETOOLONG, XV_ERR_RANGE,
				"path is longer than the %d bytes that a unix socket can have",
				XV_SOCKET_PATH_MAX);
		return 0;
	}
	colon = strrchr(s, ':');
	if (colon == NULL || colon == s)
		return wrong_type(key, v, err);
	if (xv_parse_number(colon + 1, false, &port) < 0 || port < 1 || port > 65535)
		return xv_err_set(err, -EINVAL, XV_ERR_RANGE, "\"%s\" is not a port 1..65535",
				  colon + 1);
	return 0;
}

/*
 * Call fn for each element of a list: a JSON array, or text with commas ("vm1,vm2"; a lone element
 * too), as on the command line.
 */
static int each_element(const struct xv_key *key, const json_t *v, json_t *list,
			int (*fn)(const struct xv_key *key, const json_t *v, json_t *list,
				  struct xv_err *err),
			struct xv_err *err)
{
	const char *s;
	size_t i, len;
	json_t *e;
	int rc;

	if (json_is_array(v)) {
		json_array_foreach (v, i, e) {
			rc = check_nul(e, err);
			if (rc == 0)
				rc = fn(key, e, list, err);
			if (rc < 0)
				return rc;
		}
		return 0;
	}
	if (json_is_integer(v))
		return fn(key, v, list, err);
	s = json_string_value(v);
	if (s == NULL)
		return wrong_type(key, v, err);
	do {
		len = strcspn(s, ",");
		e = json_stringn(s, len);
		if (e == NULL)
			return xv_err_set(err, -ENOMEM, XV_ERR_RESOURCE, "out of memory");
		rc = fn(key, e, list, err);
		json_decref(e);
		if (rc < 0)
			return rc;
		s += len;
	} while (*s++ == ',');
	return 0;
}

static int add_name(const struct xv_key *key, const json_t *v, json_t *list, struct xv_err *err)
{
	const char *s = json_string_value(v);
	size_t i;
	json_t *e;
	int rc;

	if (s == NULL)
		return wrong_type(key, v, err);
	rc = check_name(s, false, err);
	if (rc < 0)
		return rc;
	json_array_foreach (list, i, e) {
		if (strcmp(json_string_value(e), s) == 0)
			return xv_err_set(err, -EINVAL, XV_ERR_RANGE, "names %s twice", s);
	}
	return json_array_append_new(list, json_string(s));
}

static int check_names(const struct xv_key *key, const json_t *v, json_t **out, struct xv_err *err)
{
	json_t *list = json_array();
	int rc = each_element(key, v, list, add_name, err);
	int64_t n = (int64_t)json_array_size(list);

	if (rc == 0 && (n < key->min || n > key->max) && key->min == key->max)
		rc = xv_err_set(err, -ERANGE, XV_ERR_RANGE, "must be %lld names, not %lld",
				(long long)key->min, (long long)n);
	else if (rc == 0 && (n < key->min || n > key->max))
		rc = xv_err_set(err, -ERANGE, XV_ERR_RANGE, "must be %lld to %lld names, not %lld",
				(long long)key->min, (long long)key->max, (long long)n);
	if (rc < 0) {
		json_decref(list);
		return rc;
	}
	*out = list;
	return 0;
}

/* Bounds of one element: 20, "20" or "30-39". */
static bool vlan_range(const json_t *v, int64_t *first, int64_t *last)
{
	const char *s = json_string_value(v), *dash;
	char buf[16];

	if (json_is_integer(v)) {
		*first = *last = json_integer_value(v);
		return true;
	}
	if (s == NULL || json_string_length(v) >= sizeof(buf))
		return false;
	strcpy(buf, s);
	dash = strchr(s, '-');
	if (dash == NULL) {
		if (xv_parse_number(buf, false, first) < 0)
			return false;
		*last = *first;
		return true;
	}
	buf[dash - s] = '\0';
	return xv_parse_number(buf, false, first) == 0 &&
	       xv_parse_number(buf + (dash - s) + 1, false, last) == 0;
}

static int add_vlans(const struct xv_key *key, const json_t *v, json_t *list, struct xv_err *err)
{
	int64_t first, last;

	if (!vlan_range(v, &first, &last))
		return wrong_type(key, v, err);
	if (first < key->min || last > key->max || first > last) {
		char got[64];

		return xv_err_set(err, -ERANGE, XV_ERR_RANGE, "%s is out of range %lld..%lld",
				  quote(v, got, sizeof(got)), (long long)key->min,
				  (long long)key->max);
	}
	return json_array_append_new(list, json_pack("[I,I]", (json_int_t)first, (json_int_t)last));
}

/* Sorted, merged: lists of equal meaning come out equal. */
static int check_vlans(const struct xv_key *key, const json_t *v, json_t **out, struct xv_err *err)
{
	json_t *ranges = json_array(), *list, *range;
	uint64_t bitmap[4096 / 64] = {0};
	size_t i;
	int rc;

	rc = each_element(key, v, ranges, add_vlans, err);
	if (rc < 0) {
		json_decref(ranges);
		return rc;
	}
	json_array_foreach (ranges, i, range) {
		json_int_t last = json_integer_value(json_array_get(range, 1));

		for (json_int_t id = json_integer_value(json_array_get(range, 0)); id <= last; id++)
			bitmap[id / 64] |= UINT64_C(1) << (id % 64);
	}
	json_decref(ranges);

	list = json_array();
	for (unsigned int id = 0, last; id < 4096; id = last + 1) {
		last = id;
		if (!(bitmap[id / 64] >> (id % 64) & 1))
			continue;
		while (last + 1 < 4096 && (bitmap[(last + 1) / 64] >> ((last + 1) % 64) & 1))
			last++;
		if (last == id)
			json_array_append_new(list, json_integer(id));
		else
			json_array_append_new(list, json_sprintf("%u-%u", id, last));
	}
	*out = list;
	return 0;
}

void xv_check_vlans(const json_t *vlans, uint64_t bitmap[4096 / 64])
{
	int64_t first, last;
	size_t i;
	json_t *e;

	memset(bitmap, 0, 4096 / 8);
	json_array_foreach (vlans, i, e) {
		if (!vlan_range(e, &first, &last))
			continue;
		for (int64_t id = first; id <= last; id++)
			bitmap[id / 64] |= UINT64_C(1) << (id % 64);
	}
}

/* Parse text as what the key holds, and its normal form into normal. */
static int match_normal(enum xv_type type, const char *text, char normal[XV_MATCH_TEXT])
{
	struct xv_match_prefix prefix;
	struct xv_match_range ports;
	struct xv_match_mac mac;
	uint16_t eth_type;
	uint8_t proto;
	int rc;

	switch (type) {
	case XV_TYPE_PROTOCOL:
		rc = xv_match_protocol_parse(text, &proto);
		if (rc == 0)
			xv_match_protocol_format(proto, normal);
		return rc;
	case XV_TYPE_PREFIX:
		rc = xv_match_prefix_parse(text, &prefix);
		if (rc == 0)
			xv_match_prefix_format(&prefix, normal);
		return rc;
	case XV_TYPE_PORTS:
		rc = xv_match_ports_parse(text, &ports);
		if (rc == 0)
			xv_match_ports_format(&ports, normal);
		return rc;
	case XV_TYPE_MAC:
		rc = xv_match_mac_parse(text, &mac);
		if (rc == 0)
			xv_match_mac_format(&mac, normal);
		return rc;
	default:
		rc = xv_match_eth_type_parse(text, &eth_type);
		if (rc == 0)
			xv_match_eth_type_format(eth_type, normal);
		return rc;
	}
}

/* In the model it is always text. */
static int check_match(const struct xv_key *key, const json_t *v, json_t **out, struct xv_err *err)
{
	char number[32], normal[XV_MATCH_TEXT], got[64], want[160];
	const char *text = json_string_value(v);
	int rc;

	if (json_is_integer(v)) {
		snprintf(number, sizeof(number), "%lld", (long long)json_integer_value(v));
		text = number;
	}
	rc = text ? match_normal(key->type, text, normal) : -EINVAL;
	if (rc == -ERANGE)
		return xv_err_set(err, rc, XV_ERR_RANGE, "%s is out of range: must be %s",
				  quote(v, got, sizeof(got)),
				  xv_key_describe(key, want, sizeof(want)));
	if (rc < 0)
		return wrong_type(key, v, err);
	*out = json_string(normal);
	return 0;
}

/* In the model it is always text. */
static int check_host_address(const struct xv_key *key, const json_t *v, json_t **out, struct xv_err *err)
{
	bool with_len = key->type == XV_TYPE_INTERFACE;
	char normal[XV_MATCH_TEXT], got[64], want[160];
	const char *text = json_string_value(v);
	struct xv_address address;
	int rc = text ? xv_address_parse(text, with_len, &address) : -EINVAL;

	if (rc == -ERANGE)
		return xv_err_set(err, rc, XV_ERR_RANGE, "%s is out of range: must be %s", quote(v, got, sizeof(got)),
				  xv_key_describe(key, want, sizeof(want)));
	if (rc < 0)
		return wrong_type(key, v, err);
	xv_address_format(&address, with_len, normal);
	*out = json_string(normal);
	return 0;
}

static int add_ip(const struct xv_key *key, const json_t *v, json_t *list, struct xv_err *err)
{
	json_t *ip, *e;
	size_t i;
	int rc;

	rc = check_host_address(&(struct xv_key){.type = XV_TYPE_IP}, v, &ip, err);
	if (rc < 0)
		return rc;
	json_array_foreach (list, i, e) {
		if (json_equal(e, ip)) {
			rc = xv_err_set(err, -EINVAL, XV_ERR_RANGE, "names %s twice", json_string_value(ip));
			json_decref(ip);
			return rc;
		}
	}
	return json_array_append_new(list, ip);
}

static int check_ips(const struct xv_key *key, const json_t *v, json_t **out, struct xv_err *err)
{
	json_t *list = json_array();
	int rc = each_element(key, v, list, add_ip, err);

	if (rc == 0 && (int64_t)json_array_size(list) > key->max)
		rc = xv_err_set(err, -ERANGE, XV_ERR_RANGE, "has more than %lld addresses", (long long)key->max);
	if (rc < 0) {
		json_decref(list);
		return rc;
	}
	*out = list;
	return 0;
}

/* The n-th entry (from 1), which stands at lines. An error's key says which entry it is. */
static int check_entry(const struct xv_key *key, const json_t *v, size_t n, const json_t *lines,
		       json_t **out, struct xv_err *err)
{
	char where[sizeof(err->key)];
	int rc;

	rc = xv_check_keys(key->keys, v, lines, XV_CHECK_FULL, out, err);
	if (rc == 0) {
		rc = strcmp(key->entry, "rule") == 0	     ? xv_policy_config_check_rule(*out, err)
		     : strcmp(key->entry, "group rule") == 0 ? xv_firewall_config_check_rule(*out, err)
							     : 0; /* together with others: xv_model_validate() */
		if (rc < 0) {
			json_decref(*out);
			if (err != NULL)
				err->line = xv_check_line(lines, err->key);
		}
	}
	if (rc < 0 && err != NULL) {
		snprintf(where, sizeof(where), "%s %zu%s%.20s", key->entry, n,
			 err->key[0] ? ": " : "", err->key);
		memcpy(err->key, where, sizeof(where));
	}
	return rc;
}

/* Text, as on the command line, is what stands behind the key in a host file: "[{...}, {...}]". */
static int check_entries(const struct xv_key *key, const json_t *v, const json_t *lines,
			 json_t **out, struct xv_err *err)
{
	struct xv_hostfile file = {0};
	json_t *list, *e, *value;
	const json_t *l;
	size_t i;
	int rc = 0;

	if (json_is_string(v)) {
		rc = xv_hostfile_parse(json_string_value(v), json_string_length(v), &file, err);
		if (rc < 0) {
			if (err != NULL)
				err->line = 0;
			return rc;
		}
		v = file.values;
		lines = NULL;
	}
	list = json_array();
	if (!json_is_array(v))
		rc = wrong_type(key, v, err);
	else if ((int64_t)json_array_size(v) > key->max)
		rc = xv_err_set(err, -ERANGE, XV_ERR_RANGE, "has more than %lld entries",
				(long long)key->max);
	for (i = 0; rc == 0 && i < json_array_size(v); i++) {
		e = json_array_get(v, i);
		l = json_array_get(lines, i);
		rc = check_entry(key, e, i + 1, json_is_object(l) ? l : NULL, &value, err);
		/* One that is no mapping has only a line. */
		if (rc < 0 && err != NULL && err->line == 0)
			err->line = (int)json_integer_value(l);
		if (rc == 0 && json_array_append_new(list, value) < 0)
			rc = xv_err_set(err, -ENOMEM, XV_ERR_RESOURCE, "out of memory");
	}
	xv_hostfile_fini(&file);
	if (rc < 0)
		json_decref(list);
	else
		*out = list;
	return rc;
}

/* lines: of the object that has the key, or NULL. */
static int check_value(const struct xv_key *key, const json_t *v, const json_t *lines, json_t **out,
		       struct xv_err *err)
{
	const char *s = json_string_value(v);
	bool b;
	int rc;

	rc = check_nul(v, err);
	if (rc < 0)
		return rc;
	switch (key->type) {
	case XV_TYPE_NUMBER:
	case XV_TYPE_RATE:
		return check_number(key, v, out, err);
	case XV_TYPE_MODE:
		return check_mode(key, v, out, err);
	case XV_TYPE_NAMES:
		return check_names(key, v, out, err);
	case XV_TYPE_VLANS:
		return check_vlans(key, v, out, err);
	case XV_TYPE_PROTOCOL:
	case XV_TYPE_PREFIX:
	case XV_TYPE_PORTS:
	case XV_TYPE_MAC:
	case XV_TYPE_ETH_TYPE:
		return check_match(key, v, out, err);
	case XV_TYPE_IP:
	case XV_TYPE_INTERFACE:
		return check_host_address(key, v, out, err);
	case XV_TYPE_IPS:
		return check_ips(key, v, out, err);
	case XV_TYPE_ENTRIES:
		return check_entries(key, v, json_object_get(lines, key->name), out, err);
	case XV_TYPE_BOOL:
		if (json_is_boolean(v))
			b = json_is_true(v);
		else if (s == NULL || xv_parse_bool(s, &b) < 0)
			return wrong_type(key, v, err);
		*out = json_boolean(b);
		return 0;
	case XV_TYPE_NAME:
		rc = s == NULL ? wrong_type(key, v, err) : check_name(s, (key->flags & XV_KEY_FOUND) != 0, err);
		break;
	case XV_TYPE_PATH:
		rc = check_path(key, v, err);
		break;
	case XV_TYPE_WORD:
		rc = check_word(key, v, err);
		break;
	case XV_TYPE_ADDRESS:
		rc = check_address(key, v, err);
		break;
	case XV_TYPE_TEXT:
	default:
		rc = check_text(key, v, key->max > 4096, err);
		break;
	}
	if (rc == 0)
		*out = json_string(s);
	return rc;
}

int xv_check_line(const json_t *lines, const char *key)
{
	const json_t *line = json_object_get(lines, key ? key : "");
	char own[64];

	if (line != NULL && !json_is_integer(line)) { /* see hostfile.h */
		snprintf(own, sizeof(own), "%s:", key);
		line = json_object_get(lines, own);
	}
	if (line == NULL)
		line = json_object_get(lines, "");
	return (int)json_integer_value(line);
}

static int unknown_key(const struct xv_key *keys, const char *name, struct xv_err *err)
{
	struct xv_nearest nearest;

	xv_nearest_init(&nearest, name);
	for (const struct xv_key *k = keys; k->name != NULL; k++)
		xv_nearest_feed(&nearest, k->name);
	if (nearest.best != NULL)
		return xv_err_set(err, -EINVAL, XV_ERR_UNKNOWN_KEY,
				  "unknown key; did you mean \"%s\"?", nearest.best);
	return xv_err_set(err, -EINVAL, XV_ERR_UNKNOWN_KEY, "unknown key");
}

static int at_key(int rc, const json_t *lines, const char *key, struct xv_err *err)
{
	if (err != NULL && err->line == 0)
		err->line = xv_check_line(lines, key);
	xv_err_key(err, key);
	return rc;
}

/* Ports: the kind decides which other keys there are. */
static const char *kind_of(const struct xv_key *keys, const json_t *given)
{
	const struct xv_key *key = xv_schema_key(keys, "kind");
	const char *kind = json_string_value(json_object_get(given, "kind"));

	return key == NULL ? NULL : kind != NULL ? kind : key->def;
}

/* One key of a full object: present, absent with a default, or plainly absent (*value NULL). */
static int full_value(const struct xv_key *key, const char *kind, const json_t *v,
		      const json_t *lines, json_t **value, struct xv_err *err)
{
	json_t *def;
	int rc;

	if (key->only != NULL && strcmp(key->only, kind) != 0) {
		if (v != NULL)
			return xv_err_set(err, -EINVAL, XV_ERR_UNKNOWN_KEY,
					  "only ports of kind %s have this key, not %s", key->only,
					  kind);
		return 0;
	}
	if (v != NULL)
		return check_value(key, v, lines, value, err);
	if (key->flags & XV_KEY_REQUIRED)
		return xv_err_set(err, -EINVAL, XV_ERR_MISSING_KEY, "is missing");
	if (key->def == NULL)
		return 0;
	def = json_string(key->def);
	rc = check_value(key, def, NULL, value, err);
	json_decref(def);
	return rc;
}

int xv_check_keys(const struct xv_key *keys, const json_t *given, const json_t *lines,
		  enum xv_check how, json_t **out, struct xv_err *err)
{
	json_t *object, *value, *v;
	json_t *copy = NULL; /* jansson's iterators want it writable */
	const char *name, *kind;
	int rc = 0;

	if (!json_is_object(given)) {
		char got[64];

		return at_key(xv_err_set(err, -EINVAL, XV_ERR_TYPE,
					 "must be a mapping of keys to values, not %s",
					 quote(given, got, sizeof(got))),
			      lines, "", err);
	}
	object = json_object();
	copy = json_copy((json_t *)(uintptr_t)given);
	if (object == NULL || copy == NULL) {
		rc = xv_err_set(err, -ENOMEM, XV_ERR_RESOURCE, "out of memory");
		goto out;
	}
	json_object_foreach (copy, name, v) {
		if (xv_schema_key(keys, name) == NULL) {
			rc = at_key(unknown_key(keys, name, err), lines, name, err);
			goto out;
		}
	}
	/* The kind first: whether other keys belong depends on a valid one. */
	kind = kind_of(keys, given);
	if (kind != NULL && how == XV_CHECK_FULL) {
		const struct xv_key *key = xv_schema_key(keys, "kind");

		v = json_object_get(given, "kind");
		rc = v == NULL || json_is_null(v) ? 0 : check_word(key, v, err);
		if (rc < 0) {
			at_key(rc, lines, "kind", err);
			goto out;
		}
	}
	for (const struct xv_key *key = keys; key->name != NULL; key++) {
		v = json_object_get(given, key->name);
		value = NULL;
		if (how == XV_CHECK_FULL)
			rc = full_value(key, kind, json_is_null(v) ? NULL : v, lines, &value, err);
		else if (v != NULL)
			rc = json_is_null(v) ? (value = json_null(), 0)
					     : check_value(key, v, lines, &value, err);
		if (rc < 0) {
			at_key(rc, lines, key->name, err);
			goto out;
		}
		if (value != NULL && json_object_set_new(object, key->name, value) < 0) {
			rc = xv_err_set(err, -ENOMEM, XV_ERR_RESOURCE, "out of memory");
			goto out;
		}
	}
out:
	json_decref(copy);
	if (rc < 0)
		json_decref(object);
	else
		*out = object;
	return rc;
}
