/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/pcapng.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SECTION_HEADER	  0x0a0d0d0a
#define BYTE_ORDER_MAGIC  0x1a2b3c4d
#define INTERFACE	  1
#define ENHANCED_PACKET	  6
#define LINKTYPE_ETHERNET 1
#define OPT_COMMENT	  1
#define OPT_IF_NAME	  2
#define OPT_USER_APPL	  4
#define OPTION_MAX	  65532

static uint32_t padded(uint32_t n)
{
	return (n + 3) & ~UINT32_C(3);
}

static void put(struct pcapng *p, const void *data, uint32_t n)
{
	static const uint8_t zeros[4];

	(void)fwrite(data, 1, n, p->f);
	(void)fwrite(zeros, 1, padded(n) - n, p->f);
}

static uint32_t text_bytes(const char *text)
{
	size_t n = strlen(text);

	return n > OPTION_MAX ? OPTION_MAX : (uint32_t)n;
}

/* Bytes of one option of this text and the end of options; none if there is no text. */
static uint32_t option_bytes(const char *text)
{
	return text[0] != '\0' ? 4 + padded(text_bytes(text)) + 4 : 0;
}

static void put_option(struct pcapng *p, uint16_t code, const char *text)
{
	const uint16_t head[2] = {code, (uint16_t)text_bytes(text)}, end[2] = {0};

	if (text[0] == '\0')
		return;
	put(p, head, sizeof(head));
	put(p, text, text_bytes(text));
	put(p, end, sizeof(end));
}

/* A block: its fixed part, n bytes of data, one option. */
static void put_block(struct pcapng *p, uint32_t type, const void *fixed, uint32_t fixed_bytes, const void *data, uint32_t n,
		      uint16_t code, const char *text)
{
	const uint32_t total = 12 + fixed_bytes + padded(n) + option_bytes(text);

	put(p, &type, sizeof(type));
	put(p, &total, sizeof(total));
	put(p, fixed, fixed_bytes);
	put(p, data, n);
	put_option(p, code, text);
	put(p, &total, sizeof(total));
}

static int written(struct pcapng *p)
{
	return fflush(p->f) != 0 || ferror(p->f) ? -(errno ? errno : EIO) : 0;
}

int pcapng_open(struct pcapng *p, const char *path)
{
	const struct {
		uint32_t byte_order;
		uint16_t major, minor;
		int64_t bytes; /* not known */
	} __attribute__((packed)) header = {BYTE_ORDER_MAGIC, 1, 0, -1};

	memset(p, 0, sizeof(*p));
	p->f = strcmp(path, "-") == 0 ? stdout : fopen(path, "we");
	if (p->f == NULL)
		return -errno;
	put_block(p, SECTION_HEADER, &header, sizeof(header), "", 0, OPT_USER_APPL, "xvioctl");
	return written(p);
}

/* The id of the port's interface. */
static uint32_t interface_of(struct pcapng *p, const char *port)
{
	const struct {
		uint16_t linktype, reserved;
		uint32_t snap_len; /* no limit */
	} header = {LINKTYPE_ETHERNET, 0, 0};
	uint32_t i;

	for (i = 0; i < p->n; i++)
		if (strcmp(p->names[i], port) == 0)
			return i;
	if (p->n == PCAPNG_INTERFACES)
		return 0;
	p->names[i] = strdup(port);
	if (p->names[i] == NULL)
		return 0;
	p->n++;
	put_block(p, INTERFACE, &header, sizeof(header), "", 0, OPT_IF_NAME, port);
	return i;
}

int pcapng_add(struct pcapng *p, const char *port, uint64_t time_us, const uint8_t *bytes, uint32_t n, uint32_t len,
	       const char *comment)
{
	const uint32_t header[] = {interface_of(p, port), (uint32_t)(time_us >> 32), (uint32_t)time_us, n, len};

	put_block(p, ENHANCED_PACKET, header, sizeof(header), bytes, n, OPT_COMMENT, comment);
	return written(p);
}

int pcapng_close(struct pcapng *p)
{
	int rc = p->f == NULL ? 0 : written(p);

	if (p->f != NULL && p->f != stdout && fclose(p->f) != 0)
		rc = -errno;
	while (p->n > 0)
		free(p->names[--p->n]);
	return rc;
}
