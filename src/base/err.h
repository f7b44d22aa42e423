/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors that an operator reads. Functions on the control thread return 0 or -errno and, when they
 * fail, leave one clear sentence in a struct xv_err: which object, what is wrong, what to do.
 * The caller owns the struct (usually on its stack, zeroed); passing NULL discards the sentence.
 * Never used by packet workers.
 */
#pragma once

/* Stable codes: the API carries them as words, docs/api.md lists them. Keep in step with names[]. */
enum xv_errcode {
	XV_ERR_NONE,
	XV_ERR_SYNTAX,	    /* not YAML / not JSON */
	XV_ERR_UNKNOWN_KEY, /* no such key for this object */
	XV_ERR_MISSING_KEY, /* a mandatory key is absent */
	XV_ERR_TYPE,	    /* a string where a number belongs ... */
	XV_ERR_RANGE,	    /* number or length out of range, word not in the list */
	XV_ERR_EXISTS,	    /* duplicate name */
	XV_ERR_NOT_FOUND,   /* no object of that name */
	XV_ERR_BUSY,	    /* in use by another object or process */
	XV_ERR_DEVICE,	    /* a device or socket refused */
	XV_ERR_METHOD,	    /* no such API method */
	XV_ERR_RESOURCE,    /* out of memory, descriptors ... */
	XV_ERR_INTERNAL,
};

struct xv_err {
	enum xv_errcode code;
	int line;	  /* in the host file, from 1; 0 = not from a file */
	char object[96];  /* "port vm1"; empty = none */
	char key[48];	  /* the key at fault; empty = none */
	char text[512];	  /* the sentence, without object and line */
};

/* Fill err (unless NULL) and return rc, so that `return xv_err_set(...)` reads well. rc is -errno. */
int xv_err_set(struct xv_err *err, int rc, enum xv_errcode code, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* Name the object at fault ("port", "vm1"), unless a deeper layer already did. */
void xv_err_object(struct xv_err *err, const char *kind, const char *name);

/* Name the key at fault, unless a deeper layer already did. */
void xv_err_key(struct xv_err *err, const char *key);

/* The word for a code ("unknown-key"); never NULL. */
const char *xv_errcode_name(enum xv_errcode code);

/* "host.yaml:12: port vm1: socket: path is longer than 107 bytes" into buf; file may be NULL. */
const char *xv_err_sentence(const struct xv_err *err, const char *file, char *buf, unsigned int size);
