/* SPDX-License-Identifier: Apache-2.0 */
#include "control/match.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* As getprotobyname() knows them, but everywhere the same. */
static const struct {
	const char *name;
	uint8_t proto;
} protocols[] = {
	{"icmp", 1}, {"igmp", 2},    {"tcp", 6},   {"udp", 17},   {"gre", 47},   {"esp", 50},
	{"ah", 51},  {"icmpv6", 58}, {"ospf", 89}, {"vrrp", 112}, {"sctp", 132},
};
#define N_PROTOCOLS (sizeof(protocols) / sizeof(protocols[0]))

/* A number that is all of the text: no blanks, no sign. */
static int parse_number(const char *text, int base, unsigned int max, unsigned int *value)
{
	static const char digits[] = "0123456789abcdefABCDEF";
	size_t len = strlen(text);
	unsigned long v;

	if (len == 0 || strspn(text, digits) != len ||
	    (base == 10 && strspn(text, "0123456789") != len))
		return -EINVAL;
	v = strtoul(text, NULL, base); /* ULONG_MAX if it is beyond that */
	if (v > max)
		return -ERANGE;
	*value = (unsigned int)v;
	return 0;
}

int xv_match_protocol_parse(const char *text, uint8_t *proto)
{
	unsigned int v;
	int rc;

	for (size_t i = 0; i < N_PROTOCOLS; i++) {
		if (strcmp(text, protocols[i].name) == 0) {
			*proto = protocols[i].proto;
			return 0;
		}
	}
	rc = parse_number(text, 10, UINT8_MAX, &v);
	if (rc == 0)
		*proto = (uint8_t)v;
	return rc;
}

void xv_match_protocol_format(uint8_t proto, char buf[XV_MATCH_TEXT])
{
	for (size_t i = 0; i < N_PROTOCOLS; i++) {
		if (proto == protocols[i].proto) {
			snprintf(buf, XV_MATCH_TEXT, "%s", protocols[i].name);
			return;
		}
	}
	snprintf(buf, XV_MATCH_TEXT, "%u", proto);
}

/* Zero the bits of n bytes that are behind the first len. */
static void cut(uint8_t *bytes, unsigned int n, unsigned int len)
{
	for (unsigned int i = 0; i < n; i++) {
		unsigned int begin = 8 * i;

		if (begin >= len)
			bytes[i] = 0;
		else if (len - begin < 8)
			bytes[i] &= (uint8_t)(0xff00 >> (len - begin));
	}
}

int xv_match_prefix_parse(const char *text, struct xv_match_prefix *prefix)
{
	const char *slash = strchr(text, '/');
	size_t n = slash ? (size_t)(slash - text) : strlen(text);
	unsigned int len, max;
	char addr[INET6_ADDRSTRLEN];
	uint8_t *bytes;
	int rc;

	if (n >= sizeof(addr))
		return -EINVAL;
	memcpy(addr, text, n);
	addr[n] = '\0';
	memset(prefix, 0, sizeof(*prefix));
	if (inet_pton(AF_INET, addr, &prefix->addr.bytes[12]) == 1) {
		prefix->ip_version = 4;
		bytes = &prefix->addr.bytes[12];
		max = 32;
	} else if (inet_pton(AF_INET6, addr, prefix->addr.bytes) == 1) {
		prefix->ip_version = 6;
		bytes = prefix->addr.bytes;
		max = 128;
	} else {
		return -EINVAL;
	}
	len = max;
	rc = slash ? parse_number(slash + 1, 10, max, &len) : 0;
	if (rc < 0)
		return rc;
	prefix->len = (uint8_t)len;
	cut(bytes, max / 8, len);
	return 0;
}

void xv_match_prefix_format(const struct xv_match_prefix *prefix, char buf[XV_MATCH_TEXT])
{
	bool is_v4 = prefix->ip_version == 4;
	char addr[INET6_ADDRSTRLEN];

	inet_ntop(is_v4 ? AF_INET : AF_INET6, is_v4 ? &prefix->addr.bytes[12] : prefix->addr.bytes,
		  addr, sizeof(addr));
	snprintf(buf, XV_MATCH_TEXT, "%s/%u", addr, prefix->len);
}

int xv_match_ports_parse(const char *text, struct xv_match_range *ports)
{
	const char *dash = strchr(text, '-');
	size_t n = dash ? (size_t)(dash - text) : strlen(text);
	unsigned int min, max;
	char first[16];
	int rc;

	if (n >= sizeof(first))
		return -EINVAL;
	memcpy(first, text, n);
	first[n] = '\0';
	rc = parse_number(first, 10, UINT16_MAX, &min);
	max = min;
	if (rc == 0 && dash != NULL)
		rc = parse_number(dash + 1, 10, UINT16_MAX, &max);
	if (rc < 0)
		return rc;
	if (min > max)
		return -ERANGE;
	*ports = (struct xv_match_range){.min = (uint16_t)min, .max = (uint16_t)max};
	return 0;
}

void xv_match_ports_format(const struct xv_match_range *ports, char buf[XV_MATCH_TEXT])
{
	if (ports->min == ports->max)
		snprintf(buf, XV_MATCH_TEXT, "%u", ports->min);
	else
		snprintf(buf, XV_MATCH_TEXT, "%u-%u", ports->min, ports->max);
}

/* Six pairs of hexadecimal digits, as many bytes of text as were used; 0 = it is none. */
static unsigned int parse_mac(const char *text, uint8_t mac[6])
{
	for (unsigned int i = 0; i < 6; i++) {
		char pair[3] = {0};
		unsigned int v;

		/* strnlen: the text may end anywhere. */
		if (strnlen(text + 3 * i, 2) < 2)
			return 0;
		memcpy(pair, text + 3 * i, 2);
		if (parse_number(pair, 16, UINT8_MAX, &v) < 0 || (i < 5 && text[3 * i + 2] != ':'))
			return 0;
		mac[i] = (uint8_t)v;
	}
	return 17;
}

int xv_match_mac_parse(const char *text, struct xv_match_mac *mac)
{
	uint8_t any = 0;

	memset(mac->mask, 0xff, sizeof(mac->mask));
	if (parse_mac(text, mac->addr) == 0)
		return -EINVAL;
	text += 17;
	if (*text == '/') {
		if (parse_mac(text + 1, mac->mask) == 0)
			return -EINVAL;
		text += 18;
	}
	if (*text != '\0')
		return -EINVAL;
	for (unsigned int i = 0; i < 6; i++) {
		mac->addr[i] &= mac->mask[i];
		any |= mac->mask[i];
	}
	return any == 0 ? -ERANGE : 0;
}

static size_t format_mac(const uint8_t mac[6], char *buf, size_t size)
{
	return (size_t)snprintf(buf, size, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2],
				mac[3], mac[4], mac[5]);
}

void xv_match_mac_format(const struct xv_match_mac *mac, char buf[XV_MATCH_TEXT])
{
	static const uint8_t all[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
	size_t n = format_mac(mac->addr, buf, XV_MATCH_TEXT);

	if (memcmp(mac->mask, all, sizeof(all)) == 0)
		return;
	buf[n++] = '/';
	format_mac(mac->mask, buf + n, XV_MATCH_TEXT - n);
}

int xv_match_eth_type_parse(const char *text, uint16_t *type)
{
	bool is_hex = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
	unsigned int v;
	int rc = parse_number(is_hex ? text + 2 : text, is_hex ? 16 : 10, UINT16_MAX, &v);

	if (rc < 0)
		return rc;
	/* Less is a length (IEEE 802.3); flow keys have 0x05ff for all of these, as Open vSwitch
	 * does. */
	if (v < 0x05ff)
		return -ERANGE;
	*type = (uint16_t)v;
	return 0;
}

void xv_match_eth_type_format(uint16_t type, char buf[XV_MATCH_TEXT])
{
	snprintf(buf, XV_MATCH_TEXT, "0x%04x", type);
}
