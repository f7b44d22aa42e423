/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *const names[] = {
	[XV_ERR_NONE] = "none",
	[XV_ERR_SYNTAX] = "syntax",
	[XV_ERR_UNKNOWN_KEY] = "unknown-key",
	[XV_ERR_MISSING_KEY] = "missing-key",
	[XV_ERR_TYPE] = "type",
	[XV_ERR_RANGE] = "range",
	[XV_ERR_EXISTS] = "exists",
	[XV_ERR_NOT_FOUND] = "not-found",
	[XV_ERR_BUSY] = "busy",
	[XV_ERR_DEVICE] = "device",
	[XV_ERR_METHOD] = "method",
	[XV_ERR_RESOURCE] = "resource",
	[XV_ERR_INTERNAL] = "internal",
};
#define N_NAMES (sizeof(names) / sizeof(names[0]))
_Static_assert(N_NAMES == XV_ERR_INTERNAL + 1, "names[] is out of step with enum xv_errcode");

int xv_err_set(struct xv_err *err, int rc, enum xv_errcode code, const char *fmt, ...)
{
	va_list ap;

	if (err) {
		err->code = code;
		va_start(ap, fmt);
		vsnprintf(err->text, sizeof(err->text), fmt, ap);
		va_end(ap);
	}
	return rc;
}

void xv_err_object(struct xv_err *err, const char *kind, const char *name)
{
	if (err && err->object[0] == '\0')
		snprintf(err->object, sizeof(err->object), "%s %s", kind, name);
}

void xv_err_key(struct xv_err *err, const char *key)
{
	if (err && err->key[0] == '\0')
		snprintf(err->key, sizeof(err->key), "%s", key);
}

const char *xv_errcode_name(enum xv_errcode code)
{
	return (unsigned int)code < N_NAMES ? names[code] : "unknown";
}

const char *xv_err_sentence(const struct xv_err *err, const char *file, char *buf,
			    unsigned int size)
{
	char where[32] = "";

	if (size == 0)
		return "";
	if (err->line > 0)
		snprintf(where, sizeof(where), file ? "%d: " : "line %d: ", err->line);
	else if (file)
		strcpy(where, " ");
	snprintf(buf, size, "%s%s%s%s%s%s%s%s", file ? file : "", file ? ":" : "", where,
		 err->object, err->object[0] ? ": " : "", err->key, err->key[0] ? ": " : "",
		 err->text);
	return buf;
}
