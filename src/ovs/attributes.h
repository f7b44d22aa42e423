/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading netlink attributes that came from outside: every length is checked once, here. Pure functions, any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <linux/netlink.h>

struct xv_attrs {
	const uint8_t *data;
	uint32_t len;
};

static inline uint16_t xv_attr_type(const struct nlattr *a)
{
	return a->nla_type & NLA_TYPE_MASK;
}

static inline const void *xv_attr_data(const struct nlattr *a)
{
	return (const uint8_t *)a + NLA_HDRLEN;
}

static inline uint32_t xv_attr_len(const struct nlattr *a)
{
	return a->nla_len - (uint32_t)NLA_HDRLEN;
}

static inline struct xv_attrs xv_attr_nested(const struct nlattr *a)
{
	return (struct xv_attrs){xv_attr_data(a), xv_attr_len(a)};
}

/* Take the first attribute off. NULL: none is left, or what is left is broken: then *broken. */
static inline const struct nlattr *xv_attrs_take(struct xv_attrs *attrs, bool *broken)
{
	const struct nlattr *a = (const struct nlattr *)(const void *)attrs->data;
	uint32_t step;

	if (attrs->len == 0)
		return NULL;
	if (attrs->len < NLA_HDRLEN || a->nla_len < NLA_HDRLEN || a->nla_len > attrs->len) {
		*broken = true;
		return NULL;
	}
	step = NLA_ALIGN((uint32_t)a->nla_len);
	if (step > attrs->len)
		step = attrs->len;
	attrs->data += step;
	attrs->len -= step;
	return a;
}

/* The attributes by type, of those below max; the last one counts where a type comes twice. False: broken. */
static inline bool xv_attrs_index(struct xv_attrs attrs, const struct nlattr **by_type, unsigned int max)
{
	const struct nlattr *a;
	bool broken = false;

	memset(by_type, 0, max * sizeof(*by_type));
	while ((a = xv_attrs_take(&attrs, &broken)) != NULL)
		if (xv_attr_type(a) < max)
			by_type[xv_attr_type(a)] = a;
	return !broken;
}

/* Copy a value of exactly this size. False: it has another. */
static inline bool xv_attr_get(const struct nlattr *a, void *to, uint32_t size)
{
	if (xv_attr_len(a) != size)
		return false;
	memcpy(to, xv_attr_data(a), size);
	return true;
}
