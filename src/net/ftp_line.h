/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The four lines of FTP's control connection that announce a data connection: PORT and 227 (RFC 959), EPRT and 229
 * (RFC 2428). Pure functions over text of strangers: nothing is read beyond the given bytes, and no terminator is
 * needed.
 */
#pragma once

#include "net/flow_key.h"

enum xv_ftp_kind {
	XV_FTP_PORT, /* client: PORT 10,0,0,1,156,64 */
	XV_FTP_EPRT, /* client: EPRT |1|10.0.0.1|40000|, or |2| and an IPv6 address; any printable delimiter */
	XV_FTP_227,  /* server: 227 Entering Passive Mode (10,0,0,1,156,64); the parentheses may be missing (RFC
			1123, 4.1.2.6) */
	XV_FTP_229,  /* server: 229 Entering Extended Passive Mode (|||40000|) */
};

struct xv_ftp_line {
	enum xv_ftp_kind kind;
	uint32_t offset, len; /* of address and port in the line */
	union xv_ip_addr addr;
	uint16_t port;      /* host order, not 0 */
	uint8_t ip_version; /* 4, 6; 0: the line has no address (229) */
	char delimiter;     /* EPRT, 229 */
};

/* Room for the text of any address and port. */
#define XV_FTP_TEXT_MAX 64

/*
 * Read the line at the beginning of text, from the server or from the client. Returns 1 and fills out; 0 if it is none
 * of the four, or malformed; -EAGAIN if it might be one and ends beyond len.
 */
int xv_ftp_line_parse(const uint8_t *text, uint32_t len, bool from_server, struct xv_ftp_line *out);

/* The text that goes in place of [offset, offset + len), for addr and port of line. Returns its length. */
uint32_t xv_ftp_line_format(const struct xv_ftp_line *line, uint8_t text[XV_FTP_TEXT_MAX]);
