/* SPDX-License-Identifier: Apache-2.0 */
#include "control/hostfile.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <yaml.h>

#include "control/schema.h"

#define MAX_DEPTH 8 /* of nesting; a valid host file needs 4 */

static int next_event(yaml_parser_t *parser, yaml_event_t *event, struct xv_err *err)
{
	if (yaml_parser_parse(parser, event))
		return 0;
	if (err != NULL)
		err->line = (int)parser->problem_mark.line + 1;
	if (parser->error == YAML_MEMORY_ERROR)
		return xv_err_set(err, -ENOMEM, XV_ERR_RESOURCE, "out of memory");
	return xv_err_set(err, -EINVAL, XV_ERR_SYNTAX, "not YAML: %s%s%s",
			  parser->problem ? parser->problem : "syntax error",
			  parser->context ? " " : "", parser->context ? parser->context : "");
}

static int line_of(const yaml_event_t *event)
{
	return (int)event->start_mark.line + 1;
}

static int fail_at(int line, struct xv_err *err, const char *text)
{
	if (err != NULL)
		err->line = line;
	return xv_err_set(err, -EINVAL, XV_ERR_SYNTAX, "%s", text);
}

static int parse_node(yaml_parser_t *parser, yaml_event_t *event, unsigned int depth,
		      json_t **value, json_t **lines, struct xv_err *err);

static int parse_scalar(const yaml_event_t *event, json_t **value, struct xv_err *err)
{
	const char *s = (const char *)event->data.scalar.value;
	size_t len = event->data.scalar.length;
	bool plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;

	if (plain && (len == 0 || strcmp(s, "~") == 0 || strcmp(s, "null") == 0))
		*value = json_null();
	else
		*value = json_stringn(s, len);
	if (*value == NULL)
		return fail_at(line_of(event), err, "text is not UTF-8");
	return 0;
}

static int parse_sequence(yaml_parser_t *parser, unsigned int depth, json_t **value, json_t **lines,
			  struct xv_err *err)
{
	bool structured = false;
	yaml_event_t event;
	int rc;

	*value = json_array();
	*lines = json_array();
	for (;;) {
		json_t *v, *l;
		bool end;

		rc = next_event(parser, &event, err);
		if (rc < 0)
			return rc;
		end = event.type == YAML_SEQUENCE_END_EVENT;
		if (!end) {
			rc = parse_node(parser, &event, depth, &v, &l, err);
			structured |= !json_is_integer(l);
			json_array_append_new(*value, v);
			json_array_append_new(*lines, l);
		}
		yaml_event_delete(&event);
		if (rc < 0)
			return rc;
		if (end)
			break;
	}
	if (!structured) { /* scalars only: the line of the key says it all */
		json_decref(*lines);
		*lines = NULL;
	}
	return 0;
}

static int parse_pair(yaml_parser_t *parser, yaml_event_t *event, unsigned int depth, json_t *value,
		      json_t *lines, struct xv_err *err)
{
	int line = line_of(event), rc;
	yaml_event_t value_event;
	json_t *v = NULL, *l = NULL;
	const char *key;
	char own[64];
	bool failed;

	if (event->type != YAML_SCALAR_EVENT)
		return fail_at(line, err, "a key must be a plain word");
	key = (const char *)event->data.scalar.value;
	if (strlen(key) != event->data.scalar.length || key[0] == '\0')
		return fail_at(line, err, "a key must be a plain word");
	if (json_object_get(value, key) != NULL) {
		xv_err_key(err, key);
		return fail_at(line, err, "key is given twice");
	}
	rc = next_event(parser, &value_event, err);
	if (rc < 0)
		return rc;
	rc = parse_node(parser, &value_event, depth, &v, &l, err);
	yaml_event_delete(&value_event);
	if (l == NULL || json_is_integer(l)) {
		json_decref(l);
		l = json_integer(line);
	} else if (strlen(key) < sizeof(own) - 1) {
		snprintf(own, sizeof(own), "%s:", key);
		json_object_set_new(lines, own, json_integer(line));
	}
	/* Both take their reference even when they fail; v is NULL after an error. */
	failed = json_object_set_new(value, key, v) < 0;
	failed |= json_object_set_new(lines, key, l) < 0;
	if (failed && rc == 0)
		rc = fail_at(line, err, "key is not UTF-8");
	return rc;
}

static int parse_mapping(yaml_parser_t *parser, int line, unsigned int depth, json_t **value,
			 json_t **lines, struct xv_err *err)
{
	yaml_event_t event;
	bool end;
	int rc;

	*value = json_object();
	*lines = json_object();
	json_object_set_new(*lines, "", json_integer(line));
	do {
		rc = next_event(parser, &event, err);
		if (rc < 0)
			return rc;
		end = event.type == YAML_MAPPING_END_EVENT;
		if (!end)
			rc = parse_pair(parser, &event, depth, *value, *lines, err);
		yaml_event_delete(&event);
	} while (rc == 0 && !end);
	return rc;
}

/* The value that starts with event; *value and *lines are set even on error. */
static int parse_node(yaml_parser_t *parser, yaml_event_t *event, unsigned int depth,
		      json_t **value, json_t **lines, struct xv_err *err)
{
	int line = line_of(event), rc;

	*value = *lines = NULL;
	if (depth == 0)
		return fail_at(line, err, "nested too deeply");
	switch (event->type) {
	case YAML_SCALAR_EVENT:
		rc = event->data.scalar.anchor ? -EINVAL : parse_scalar(event, value, err);
		break;
	case YAML_SEQUENCE_START_EVENT:
		rc = event->data.sequence_start.anchor
			     ? -EINVAL
			     : parse_sequence(parser, depth - 1, value, lines, err);
		break;
	case YAML_MAPPING_START_EVENT:
		rc = event->data.mapping_start.anchor
			     ? -EINVAL
			     : parse_mapping(parser, line, depth - 1, value, lines, err);
		break;
	default: /* an alias */
		rc = -EINVAL;
		break;
	}
	if (rc < 0 && (err == NULL || err->code == XV_ERR_NONE))
		rc = fail_at(line, err, "anchors and aliases (& and *) are not supported");
	if (*lines == NULL)
		*lines = json_integer(line);
	return rc;
}

int xv_hostfile_parse(const char *text, size_t len, struct xv_hostfile *file, struct xv_err *err)
{
	yaml_parser_t parser;
	yaml_event_t event;
	int rc, documents = 0;
	bool end = false;

	*file = (struct xv_hostfile){0};
	if (!yaml_parser_initialize(&parser))
		return xv_err_set(err, -ENOMEM, XV_ERR_RESOURCE, "out of memory");
	yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);

	do {
		rc = next_event(&parser, &event, err);
		if (rc < 0)
			break;
		switch (event.type) {
		case YAML_STREAM_END_EVENT:
			end = true;
			break;
		case YAML_STREAM_START_EVENT:
		case YAML_DOCUMENT_END_EVENT:
			break;
		case YAML_DOCUMENT_START_EVENT:
			if (++documents > 1)
				rc = fail_at(line_of(&event), err, "holds a second document");
			break;
		default:
			rc = parse_node(&parser, &event, MAX_DEPTH, &file->values, &file->lines,
					err);
			break;
		}
		yaml_event_delete(&event);
	} while (rc == 0 && !end);
	yaml_parser_delete(&parser);

	if (rc < 0) {
		xv_hostfile_fini(file);
		return rc;
	}
	if (file->values == NULL ||
	    json_is_null(file->values)) { /* an empty file is an empty host */
		xv_hostfile_fini(file);
		file->values = json_object();
		file->lines = json_object();
	}
	return 0;
}

int xv_hostfile_read(const char *path, char **text, size_t *len, struct xv_err *err)
{
	FILE *f = fopen(path, "re");
	char *buf;
	int rc = 0;

	if (f == NULL)
		return xv_err_set(err, -errno, XV_ERR_NOT_FOUND, "cannot be read: %s",
				  strerror(errno));
	buf = malloc(XV_TEXT_MAX + 1);
	if (buf == NULL) {
		fclose(f);
		return xv_err_set(err, -ENOMEM, XV_ERR_RESOURCE, "out of memory");
	}
	*len = fread(buf, 1, XV_TEXT_MAX + 1, f);
	if (ferror(f))
		rc = xv_err_set(err, -EIO, XV_ERR_NOT_FOUND, "cannot be read: %s", strerror(errno));
	else if (*len > XV_TEXT_MAX)
		rc = xv_err_set(err, -EFBIG, XV_ERR_RANGE, "is larger than %d bytes", XV_TEXT_MAX);
	fclose(f);
	if (rc < 0) {
		free(buf);
		return rc;
	}
	*text = buf;
	return 0;
}

void xv_hostfile_fini(struct xv_hostfile *file)
{
	json_decref(file->values);
	json_decref(file->lines);
	*file = (struct xv_hostfile){0};
}
