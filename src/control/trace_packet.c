/* SPDX-License-Identifier: Apache-2.0 */
#include "control/trace_packet.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/match.h"
#include "control/trace.h"

#define FRAME_MAX    65535
#define FRAME_LEAST  60
#define HEADERS_MAX  128
#define TTL	     64
#define PROTO_ICMP   1
#define PROTO_TCP    6
#define PROTO_UDP    17
#define PROTO_ICMPV6 58
#define PROTO_SCTP   132

static const char *text_of(const json_t *args, const char *key)
{
	return json_string_value(json_object_get(args, key));
}

/* -1 = not given */
static int32_t number_of(const json_t *args, const char *key)
{
	const json_t *v = json_object_get(args, key);

	return v != NULL ? (int32_t)json_integer_value(v) : -1;
}

__attribute__((format(printf, 3, 4))) static int fault(struct xv_err *err, const char *key, const char *fmt, ...)
{
	char text[200];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	xv_err_key(err, key);
	return xv_err_set(err, -EINVAL, XV_ERR_RANGE, "%s", text);
}

/* ---- From digits ---- */

static int digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : isxdigit((unsigned char)c) ? (c | 0x20) - 'a' + 10 : -1;
}

/* Blanks and colons between bytes are as welcome as none. */
static int from_hex(const char *text, uint8_t *frame, uint32_t *len, struct xv_err *err)
{
	*len = 0;
	for (;; text += 2) {
		while (*text == ' ' || *text == ':' || *text == '\n')
			text++;
		if (*text == '\0')
			break;
		if (digit(text[0]) < 0 || digit(text[1]) < 0)
			return fault(err, "packet", "must be pairs of hexadecimal digits, not \"%.20s\"", text);
		if (*len == FRAME_MAX)
			return fault(err, "packet", "is longer than %d bytes", FRAME_MAX);
		frame[(*len)++] = (uint8_t)(digit(text[0]) << 4 | digit(text[1]));
	}
	return *len > 0 ? 0 : fault(err, "packet", "has no bytes");
}

/* ---- From keys ---- */

struct parts {
	uint8_t dst[6], src[6];
	int32_t vlan, src_port, dst_port, length;
	uint16_t eth_type;
	uint8_t ip_version, proto; /* 0 = no IP */
	union xv_ip_addr ip_src, ip_dst;
};

struct newest {
	uint16_t port, vlan;
	bool any;
	uint32_t seen_s;
	uint64_t key;
};

static void newest_of(uint64_t key, uint16_t port, uint32_t seen_s, void *arg)
{
	struct newest *newest = arg;

	if (port != newest->port || (key & 0xfff) != newest->vlan || (newest->any && seen_s < newest->seen_s))
		return;
	newest->any = true;
	newest->seen_s = seen_s;
	newest->key = key;
}

/* The address that was learned last on the port, in the VLAN of the packet. */
static bool learned(const struct xv_host_port *p, int32_t vlan, uint8_t mac[6])
{
	const struct xv_binding *binding = atomic_load(&p->port->binding);
	struct newest newest = {.port = p->port->id};

	if (binding == NULL || binding->network == NULL)
		return false;
	newest.vlan = vlan > 0 ? (uint16_t)vlan : binding->vlan;
	xv_mac_table_walk(binding->network->macs, newest_of, &newest);
	for (unsigned int i = 0; newest.any && i < 6; i++)
		mac[i] = (uint8_t)(newest.key >> (56 - 8 * i));
	return newest.any;
}

static int mac_of(const json_t *args, const char *key, uint8_t mac[6], struct xv_err *err)
{
	struct xv_match_mac m;

	if (xv_match_mac_parse(text_of(args, key), &m) < 0)
		return -EINVAL;
	for (unsigned int i = 0; i < 6; i++) {
		if (m.mask[i] != 0xff)
			return fault(err, key, "must be one address, without a mask");
	}
	memcpy(mac, m.addr, 6);
	return 0;
}

static int address_of(const json_t *args, const char *key, struct parts *p, union xv_ip_addr *addr,
		      struct xv_err *err)
{
	const char *text = text_of(args, key);
	struct xv_match_prefix prefix;

	if (text == NULL)
		return 0;
	if (xv_match_prefix_parse(text, &prefix) < 0)
		return -EINVAL;
	if (prefix.len != (prefix.ip_version == 4 ? 32 : 128))
		return fault(err, key, "must be one address, not a prefix");
	if (p->ip_version != 0 && p->ip_version != prefix.ip_version)
		return fault(err, key, "is not of the same IP version as src");
	p->ip_version = prefix.ip_version;
	*addr = prefix.addr;
	return 0;
}

static bool has_ports(uint8_t proto)
{
	return proto == PROTO_TCP || proto == PROTO_UDP || proto == PROTO_SCTP || proto == PROTO_ICMP ||
	       proto == PROTO_ICMPV6;
}

static int ip_parts(const json_t *args, struct parts *p, struct xv_err *err)
{
	const char *proto = text_of(args, "proto"), *type = text_of(args, "ether_type");
	static const char *const needs_ip[] = {"proto", "src_port", "dst_port"};
	int rc;

	rc = address_of(args, "src", p, &p->ip_src, err);
	if (rc == 0)
		rc = address_of(args, "dst", p, &p->ip_dst, err);
	if (rc < 0)
		return rc;
	p->eth_type = p->ip_version == 4 ? 0x0800 : p->ip_version == 6 ? 0x86dd : 0x88b5; /* "local experiment" */
	if (type != NULL && p->ip_version != 0)
		return fault(err, "ether_type", "is said by the addresses already");
	if (type != NULL)
		(void)xv_match_eth_type_parse(type, &p->eth_type);
	for (unsigned int i = 0; i < 3 && p->ip_version == 0; i++) {
		if (json_object_get(args, needs_ip[i]) != NULL)
			return fault(err, needs_ip[i], "needs IP addresses: give src and dst");
	}
	p->proto = PROTO_UDP;
	if (proto != NULL)
		(void)xv_match_protocol_parse(proto, &p->proto);
	for (unsigned int i = 1; i < 3; i++) {
		int32_t n = number_of(args, needs_ip[i]);

		if (n >= 0 && !has_ports(p->proto))
			return fault(err, needs_ip[i], "needs protocol tcp, udp, sctp, icmp or icmpv6");
		if (n > 255 && (p->proto == PROTO_ICMP || p->proto == PROTO_ICMPV6))
			return fault(err, needs_ip[i], "is a type or a code of ICMP: at most 255");
	}
	return 0;
}

static void put16(uint8_t *at, uint32_t v)
{
	at[0] = (uint8_t)(v >> 8);
	at[1] = (uint8_t)v;
}

/* The transport header, as long as it has to be to be one. */
static uint32_t put_l4(const struct parts *p, uint8_t *l4)
{
	uint32_t src = p->src_port < 0 ? 0 : (uint32_t)p->src_port, dst = p->dst_port < 0 ? 0 : (uint32_t)p->dst_port;

	switch (p->proto) {
	case PROTO_ICMP:
	case PROTO_ICMPV6:
		l4[0] = (uint8_t)src;
		l4[1] = (uint8_t)dst;
		return 8;
	case PROTO_TCP:
		put16(l4, src);
		put16(l4 + 2, dst);
		l4[12] = 5 << 4;
		l4[13] = 0x02; /* SYN */
		return 20;
	case PROTO_UDP:
		put16(l4, src);
		put16(l4 + 2, dst);
		put16(l4 + 4, 8);
		return 8;
	case PROTO_SCTP:
		put16(l4, src);
		put16(l4 + 2, dst);
		return 12;
	}
	return 0;
}

/* Headers only; what the frame is longer than they need is padding, as Ethernet allows it. */
static uint32_t build(const struct parts *p, uint8_t *frame)
{
	uint8_t *at = frame + 12;
	uint32_t l4_len;

	memcpy(frame, p->dst, 6);
	memcpy(frame + 6, p->src, 6);
	if (p->vlan >= 0) {
		put16(at, 0x8100);
		put16(at + 2, (uint32_t)p->vlan);
		at += 4;
	}
	put16(at, p->eth_type);
	at += 2;
	if (p->ip_version == 4) {
		l4_len = put_l4(p, at + 20);
		at[0] = 0x45;
		put16(at + 2, 20 + l4_len);
		at[8] = TTL;
		at[9] = p->proto;
		memcpy(at + 12, p->ip_src.bytes + 12, 4);
		memcpy(at + 16, p->ip_dst.bytes + 12, 4);
		at += 20 + l4_len;
	} else if (p->ip_version == 6) {
		l4_len = put_l4(p, at + 40);
		at[0] = 0x60;
		put16(at + 4, l4_len);
		at[6] = p->proto;
		at[7] = TTL;
		memcpy(at + 8, p->ip_src.bytes, 16);
		memcpy(at + 24, p->ip_dst.bytes, 16);
		at += 40 + l4_len;
	}
	return (uint32_t)(at - frame);
}

static int from_keys(const struct xv_host_port *port, const json_t *args, uint8_t *frame, uint32_t *len,
		     struct xv_err *err)
{
	struct parts p = {
		.src = {2, 0, 0, 0, 0xfe, 0xed},
		.vlan = number_of(args, "vlan"),
		.src_port = number_of(args, "src_port"),
		.dst_port = number_of(args, "dst_port"),
		.length = number_of(args, "length"),
	};
	int rc;

	if (text_of(args, "dst_mac") == NULL)
		return fault(err, "dst_mac", "is needed, or the whole frame as packet");
	rc = mac_of(args, "dst_mac", p.dst, err);
	if (rc == 0 && text_of(args, "src_mac") != NULL)
		rc = mac_of(args, "src_mac", p.src, err);
	else if (rc == 0)
		(void)learned(port, p.vlan, p.src);
	if (rc == 0)
		rc = ip_parts(args, &p, err);
	if (rc < 0)
		return rc;
	*len = build(&p, frame);
	if (p.length >= 0 && (uint32_t)p.length < *len)
		return fault(err, "length", "is less than the %u bytes of the headers", *len);
	if (p.length >= 0)
		*len = (uint32_t)p.length;
	else if (*len < FRAME_LEAST)
		*len = FRAME_LEAST;
	return 0;
}

int xv_trace_packet(const struct xv_host_port *port, const json_t *args, uint8_t **framep, uint32_t *len,
		    struct xv_err *err)
{
	static const char *const others[] = {"dst_mac",  "src_mac",  "vlan",     "ether_type", "src",
					     "dst",	 "proto",    "src_port", "dst_port",   "length"};
	const char *hex = text_of(args, "packet");
	uint8_t *frame = calloc(1, FRAME_MAX + HEADERS_MAX + XV_TRACE_ROOM);
	int rc = 0;

	if (frame == NULL)
		return xv_err_set(err, -ENOMEM, XV_ERR_RESOURCE, "out of memory");
	for (unsigned int i = 0; hex != NULL && rc == 0 && i < sizeof(others) / sizeof(others[0]); i++) {
		if (json_object_get(args, others[i]) != NULL)
			rc = fault(err, others[i], "does not go with packet, which is the whole frame");
	}
	if (rc == 0)
		rc = hex != NULL ? from_hex(hex, frame, len, err) : from_keys(port, args, frame, len, err);
	if (rc < 0) {
		free(frame);
		return rc;
	}
	*framep = frame;
	return 0;
}
