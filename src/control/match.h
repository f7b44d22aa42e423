/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values that packets are compared with: protocol, address prefix, port range, MAC address,
 * Ethernet type. Text to value and value to its normal text: equal meanings give equal texts. Pure
 * functions, any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/flow_key.h"

#define XV_MATCH_TEXT 64 /* bytes that the normal text of any of them fits in */

struct xv_match_prefix {
	uint8_t ip_version, len;
	union xv_ip_addr addr; /* where a flow key has it; bits behind the prefix are zero */
};

struct xv_match_range {
	uint16_t min, max;
};

struct xv_match_mac {
	uint8_t addr[6], mask[6]; /* bits outside the mask are zero */
};

/* 0, or -EINVAL: the text is none; -ERANGE: a number in it does not fit. */
int xv_match_protocol_parse(const char *text, uint8_t *proto); /* "tcp", "6" */
int xv_match_prefix_parse(const char *text,
			  struct xv_match_prefix *prefix); /* "10.0.0.0/8", "2001:db8::1" */
int xv_match_ports_parse(const char *text, struct xv_match_range *ports); /* "80", "80-90" */
int xv_match_mac_parse(const char *text,
		       struct xv_match_mac *mac);              /* "02:00:00:00:00:01", with /mask */
int xv_match_eth_type_parse(const char *text, uint16_t *type); /* "0x0806", "2054" */

void xv_match_protocol_format(uint8_t proto, char buf[XV_MATCH_TEXT]);
void xv_match_prefix_format(const struct xv_match_prefix *prefix, char buf[XV_MATCH_TEXT]);
void xv_match_ports_format(const struct xv_match_range *ports, char buf[XV_MATCH_TEXT]);
void xv_match_mac_format(const struct xv_match_mac *mac, char buf[XV_MATCH_TEXT]);
void xv_match_eth_type_format(uint16_t type, char buf[XV_MATCH_TEXT]);
