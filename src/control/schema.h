/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What can be configured: every object and every key, once. The tables drive the checks of the host
 * file and of API arguments, key=value on the command line, defaults, help, completion and the
 * reference pages. Data and text helpers only (libc), so that xvioctl links them too. Any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum xv_type {
	XV_TYPE_NAME,    /* name of an object: letters, digits and . _ - */
	XV_TYPE_TEXT,    /* min..max bytes */
	XV_TYPE_PATH,    /* absolute path of a unix socket */
	XV_TYPE_WORD,    /* one of words */
	XV_TYPE_NUMBER,  /* min..max */
	XV_TYPE_RATE,    /* a number that may carry k, M or G (powers of 1000) */
	XV_TYPE_BOOL,    /* true or false */
	XV_TYPE_MODE,    /* permission bits as octal text */
	XV_TYPE_ADDRESS, /* ADDRESS:PORT, unix:PATH or off */
	XV_TYPE_NAMES,   /* list of min..max names */
	XV_TYPE_VLANS,   /* list of VLAN ids and ranges */
	/* What packets are compared with, as text; see match.h. */
	XV_TYPE_PROTOCOL, /* of IP: name or number */
	XV_TYPE_PREFIX,   /* IPv4 or IPv6 address, with a length or without */
	XV_TYPE_PORTS,    /* N or N-M */
	XV_TYPE_MAC,      /* with a mask or without */
	XV_TYPE_ETH_TYPE, /* number, also hexadecimal */
	/* Hosts. */
	XV_TYPE_IP,        /* one address */
	XV_TYPE_INTERFACE, /* address/length: of an interface */
	XV_TYPE_IPS,       /* list of at most max addresses */
	XV_TYPE_ENTRIES,  /* list of at most max mappings, whose keys are in `keys` */
};

#define XV_KEY_REQUIRED (1u << 0)
#define XV_KEY_DEVICE   (1u << 1) /* a change needs a new device: the port reconnects */
#define XV_KEY_FOUND    (1u << 3) /* names something that is there: also a datapath's port, NAME@DATAPATH */
#define XV_KEY_START    (1u << 2) /* read when xviod starts, cannot change while it runs */

struct xv_key {
	const char *name;
	const char *help;         /* one line, no full stop */
	const char *def;          /* default as text; NULL = none, the key stays unset */
	const char *const *words; /* WORD; NUMBER: what may stand for one; ends with NULL */
	const char *ref;          /* NAME, NAMES: type of the object that is named */
	const char *only;         /* ports: the one kind that has this key; NULL = all */
	const char *entry;        /* ENTRIES: what one of them is called: "rule" */
	const struct xv_key *keys; /* ENTRIES */
	const char *example;      /* for reference pages */
	int64_t min, max;
	enum xv_type type;
	unsigned int flags;
};

/* A type of object. Those with a list in the host file have a first key "name". */
struct xv_object {
	const char *name;    /* "port" */
	const char *section; /* "ports" in the host file */
	const char *help;
	const struct xv_key *keys; /* ends with a NULL name */
	bool single;               /* no list, no name: "daemon" */
};

/* All of them, in the order in which they are created; ends with a NULL name. */
extern const struct xv_object xv_schema[];

#define XV_NAME_MAX        63
#define XV_SOCKET_PATH_MAX 107
#define XV_TEXT_MAX        (1 << 20) /* a host file, a request */

const struct xv_object *xv_schema_object(const char *name);
const struct xv_object *xv_schema_section(const char *section);
const struct xv_key *xv_schema_key(const struct xv_key *keys, const char *name);
/* Keys of an object ("port") or of what it has a list of ("rule"), or "rule edit": of `rule add`; NULL = there is none. */
const struct xv_key *xv_schema_keys(const char *name);

/* "number 1..32", "true or false", "one of: server, client" into buf. */
const char *xv_key_describe(const struct xv_key *key, char *buf, size_t size);

/* -EINVAL: not a whole number (with a suffix k, M, G where allowed); -ERANGE: does not fit. */
int xv_parse_number(const char *text, bool suffix, int64_t *value);
/* -EINVAL: none of true, false, yes, no, on, off. */
int xv_parse_bool(const char *text, bool *value);

/* The candidate nearest to a misspelt word, or NULL if none is near. Feed all candidates to one
 * struct. */
struct xv_nearest {
	const char *word, *best;
	unsigned int distance;
};
void xv_nearest_init(struct xv_nearest *nearest, const char *word);
void xv_nearest_feed(struct xv_nearest *nearest, const char *candidate);
