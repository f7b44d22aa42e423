/* SPDX-License-Identifier: Apache-2.0 */
#include "net/ftp_line.h"

#include <errno.h>

#define KEYWORD_LEN 4

/* What is left of a line. A function that reads from it returns false if it cannot: then nothing counts any more. */
struct cursor {
	const uint8_t *text;
	uint32_t pos, len;
};

static bool is_digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

static uint8_t upper(uint8_t c)
{
	return c >= 'a' && c <= 'z' ? (uint8_t)(c - 'a' + 'A') : c;
}

static bool take(struct cursor *c, uint8_t wanted)
{
	if (c->pos == c->len || c->text[c->pos] != wanted)
		return false;
	c->pos++;
	return true;
}

/* A decimal number, at most max; there is something behind it. */
static bool take_number(struct cursor *c, uint32_t max, uint32_t *number)
{
	uint32_t n = 0, first = c->pos;

	for (; c->pos < c->len && is_digit(c->text[c->pos]); c->pos++) {
		n = n * 10 + (c->text[c->pos] - '0');
		if (n > max)
			return false;
	}
	*number = n;
	return c->pos > first && c->pos < c->len;
}

/* Bytes of an IPv4 address or of a port, n of them. */
static bool take_bytes(struct cursor *c, uint8_t *bytes, unsigned int n, uint8_t separator)
{
	uint32_t number;
	unsigned int i;

	for (i = 0; i < n; i++) {
		if ((i > 0 && !take(c, separator)) || !take_number(c, 255, &number))
			return false;
		bytes[i] = (uint8_t)number;
	}
	return true;
}

/* h1,h2,h3,h4,p1,p2 */
static bool take_host_port(struct cursor *c, struct xv_ftp_line *out)
{
	uint8_t port[2];

	if (!take_bytes(c, out->addr.bytes + 12, 4, ',') || !take(c, ',') || !take_bytes(c, port, 2, ','))
		return false;
	out->port = (uint16_t)(port[0] << 8 | port[1]);
	out->ip_version = 4;
	return true;
}

static int hex_digit(uint8_t c)
{
	if (is_digit(c))
		return c - '0';
	c = upper(c);
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* RFC 4291, section 2.2, forms 1 and 2. */
static bool take_ipv6(struct cursor *c, union xv_ip_addr *addr)
{
	uint16_t groups[8] = {0};
	unsigned int n = 0, gap = 8, i, digits;

	/* One colon at the beginning is none too many only if there are two. */
	if (take(c, ':') && (c->pos == c->len || c->text[c->pos] != ':'))
		return false;
	while (n < 8 && c->pos < c->len) {
		if (take(c, ':')) {
			if (gap < 8)
				return false;
			gap = n;
		}
		for (digits = 0; c->pos < c->len && hex_digit(c->text[c->pos]) >= 0; c->pos++, digits++) {
			if (digits == 4)
				return false;
			groups[n] = (uint16_t)(groups[n] << 4 | hex_digit(c->text[c->pos]));
		}
		if (digits == 0) {
			if (gap != n)
				return false; /* it ends with a single colon */
			break;
		}
		n++;
		if (n < 8 && !take(c, ':'))
			break;
	}
	if (n == 8 ? gap != 8 : gap == 8)
		return false;
	for (i = 0; i < n; i++) {
		unsigned int to = i < gap ? i : i + 8 - n;

		addr->bytes[2 * to] = (uint8_t)(groups[i] >> 8);
		addr->bytes[2 * to + 1] = (uint8_t)groups[i];
	}
	return true;
}

/* |1|10.0.0.1|40000|; with is_229: |||40000| */
static bool take_extended(struct cursor *c, bool is_229, struct xv_ftp_line *out)
{
	uint32_t port, version;
	uint8_t d;

	if (c->pos == c->len)
		return false;
	d = c->text[c->pos++];
	if (d < 33 || d > 126 || is_digit(d))
		return false;
	out->delimiter = (char)d;
	if (is_229) {
		if (!take(c, d) || !take(c, d))
			return false;
	} else {
		if (!take_number(c, 2, &version) || !take(c, d))
			return false;
		if (version == 1 && take_bytes(c, out->addr.bytes + 12, 4, '.'))
			out->ip_version = 4;
		else if (version == 2 && take_ipv6(c, &out->addr))
			out->ip_version = 6;
		if (out->ip_version == 0 || !take(c, d))
			return false;
	}
	if (!take_number(c, 65535, &port) || !take(c, d))
		return false;
	out->port = (uint16_t)port;
	return true;
}

/* To the first byte that is (digit: a digit; else) wanted. */
static bool skip_to(struct cursor *c, bool digit, uint8_t wanted)
{
	for (; c->pos < c->len; c->pos++)
		if (digit ? is_digit(c->text[c->pos]) : c->text[c->pos] == wanted)
			return true;
	return false;
}

static const struct {
	char word[KEYWORD_LEN + 1];
	bool server;
	enum xv_ftp_kind kind;
} keywords[] = {
	{"PORT", false, XV_FTP_PORT},
	{"EPRT", false, XV_FTP_EPRT},
	{"227 ", true, XV_FTP_227},
	{"229 ", true, XV_FTP_229},
};

static bool begins_with(const uint8_t *text, const char *word, uint32_t len)
{
	uint32_t i;

	for (i = 0; i < len; i++)
		if (upper(text[i]) != (uint8_t)word[i])
			return false;
	return true;
}

static bool parse(struct cursor *c, struct xv_ftp_line *out)
{
	bool ok;

	switch (out->kind) {
	case XV_FTP_PORT:
	case XV_FTP_EPRT:
		if (!take(c, ' '))
			return false;
		while (take(c, ' '))
			continue;
		break;
	case XV_FTP_227:
		if (!skip_to(c, true, 0))
			return false;
		break;
	case XV_FTP_229:
		if (!skip_to(c, false, '('))
			return false;
		c->pos++;
		break;
	}
	out->offset = c->pos;
	if (out->kind == XV_FTP_PORT || out->kind == XV_FTP_227)
		ok = take_host_port(c, out);
	else
		ok = take_extended(c, out->kind == XV_FTP_229, out);
	out->len = c->pos - out->offset;
	return ok && out->port != 0;
}

int xv_ftp_line_parse(const uint8_t *text, uint32_t len, bool from_server, struct xv_ftp_line *out)
{
	struct cursor c = {.text = text};
	unsigned int i;

	while (c.len < len && text[c.len] != '\n')
		c.len++;
	for (i = 0; i < RTE_DIM(keywords); i++) {
		if (keywords[i].server != from_server ||
		    !begins_with(text, keywords[i].word, RTE_MIN(c.len, (uint32_t)KEYWORD_LEN)))
			continue;
		if (c.len == len)
			return len > 0 ? -EAGAIN : 0;
		if (c.len < KEYWORD_LEN)
			return 0;
		*out = (struct xv_ftp_line){.kind = keywords[i].kind};
		c.pos = KEYWORD_LEN;
		c.len++; /* a number may end with the line */
		return parse(&c, out);
	}
	return 0;
}

static uint32_t put_number(uint8_t *text, uint32_t n, uint32_t base)
{
	uint8_t digits[10];
	uint32_t len = 0, i;

	do {
		digits[len++] = (uint8_t) "0123456789abcdef"[n % base];
		n /= base;
	} while (n != 0);
	for (i = 0; i < len; i++)
		text[i] = digits[len - 1 - i];
	return len;
}

static uint32_t put_bytes(uint8_t *text, const uint8_t *bytes, unsigned int n, uint8_t separator)
{
	uint32_t len = 0;
	unsigned int i;

	for (i = 0; i < n; i++) {
		if (i > 0)
			text[len++] = separator;
		len += put_number(text + len, bytes[i], 10);
	}
	return len;
}

static uint32_t put_ipv6(uint8_t *text, const union xv_ip_addr *addr)
{
	uint32_t len = 0;
	unsigned int i;

	for (i = 0; i < 16; i += 2) {
		if (i > 0)
			text[len++] = ':';
		len += put_number(text + len, (uint32_t)addr->bytes[i] << 8 | addr->bytes[i + 1], 16);
	}
	return len;
}

uint32_t xv_ftp_line_format(const struct xv_ftp_line *line, uint8_t text[XV_FTP_TEXT_MAX])
{
	const uint8_t port[2] = {(uint8_t)(line->port >> 8), (uint8_t)line->port};
	uint8_t d = (uint8_t)line->delimiter;
	uint32_t len = 0;

	if (line->kind == XV_FTP_PORT || line->kind == XV_FTP_227) {
		len = put_bytes(text, line->addr.bytes + 12, 4, ',');
		text[len++] = ',';
		return len + put_bytes(text + len, port, 2, ',');
	}
	text[len++] = d;
	if (line->kind == XV_FTP_EPRT) {
		text[len++] = line->ip_version == 4 ? '1' : '2';
		text[len++] = d;
		len += line->ip_version == 4 ? put_bytes(text + len, line->addr.bytes + 12, 4, '.')
					     : put_ipv6(text + len, &line->addr);
	} else {
		text[len++] = d;
	}
	text[len++] = d;
	len += put_number(text + len, line->port, 10);
	text[len++] = d;
	return len;
}
