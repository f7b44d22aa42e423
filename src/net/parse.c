/* SPDX-License-Identifier: Apache-2.0 */
#include "net/parse.h"
#include "net/bytes.h"

#include <string.h>

#include <rte_byteorder.h>

#define ETH_LEN  14
#define VLAN_LEN 4
#define IPV4_LEN 20
#define IPV6_LEN 40
#define TCP_LEN  20
#define UDP_LEN  8
#define SCTP_LEN 12

#define ETH_8021Q      0x8100
#define ETH_8021AD     0x88a8
#define ETH_IPV4       0x0800
#define ETH_IPV6       0x86dd
#define ETH_LENGTH_MAX 0x05ff /* below: an 802.3 length, LLC follows */

enum {
	PROTO_HOPOPTS = 0,
	PROTO_TCP = 6,
	PROTO_UDP = 17,
	PROTO_ROUTING = 43,
	PROTO_FRAGMENT = 44,
	PROTO_AH = 51,
	PROTO_NONE = 59,
	PROTO_DSTOPTS = 60,
	PROTO_SCTP = 132,
	PROTO_UDPLITE = 136,
};

/* As Linux (VLAN_MAX_DEPTH); l3_offset holds them. */
#define MAX_VLANS 8
/* RFC 8200 section 4.1 names seven; what a header chain may cost is bounded. */
#define MAX_EXTENSIONS 8

/* The same as xv_mac_key(mac, 0); reads two bytes beyond the address. */
static inline uint64_t mac_key(const uint8_t *mac)
{
	return (rte_be_to_cpu_64(xv_load64(mac)) & ~UINT64_C(0xffff)) | UINT64_C(1) << 12;
}

/* Fold 64 bits more into a hash: a multiplication spreads, its upper half is brought down. */
static inline uint64_t mix(uint64_t hash, uint64_t v)
{
	hash = (hash ^ v) * UINT64_C(0x9e3779b97f4a7c15);
	return hash ^ hash >> 32;
}

static inline bool is_vlan(uint16_t eth_type)
{
	return eth_type == ETH_8021Q || eth_type == ETH_8021AD;
}

enum xv_parse_result xv_parse_eth(const uint8_t *data, uint16_t len, struct xv_parsed *out)
{
	uint32_t offset = ETH_LEN;
	uint16_t type;

	*out = (struct xv_parsed){0};
	if (len < ETH_LEN)
		return XV_PARSE_RUNT;
	out->dst_key = mac_key(data);
	out->src_key = mac_key(data + 6);
	type = xv_load_be16(data + 12);
	if (is_vlan(type)) {
		if (len < offset + VLAN_LEN)
			return XV_PARSE_MALFORMED;
		out->tagged = true;
		out->vlan_tci = xv_load_be16(data + offset);
		do {
			type = xv_load_be16(data + offset + 2);
			offset += VLAN_LEN;
			if (is_vlan(type) && len < offset + VLAN_LEN)
				return XV_PARSE_MALFORMED;
		} while (is_vlan(type) && offset < ETH_LEN + MAX_VLANS * VLAN_LEN);
	}
	out->eth_type = type;
	if (type > ETH_LENGTH_MAX && !is_vlan(type))
		out->l3_offset = (uint8_t)offset;
	return XV_PARSE_OK;
}

/*
 * The transport header at offset, of a packet that ends at `end`. A fragment need not have all of
 * it: then it is "unknown".
 */
static enum xv_parse_result parse_l4(const uint8_t *data, uint32_t len, uint32_t offset,
				     uint32_t end, struct xv_parsed *out, uint64_t hash)
{
	uint32_t need = 1, l4_len = 0;
	bool ports = false;

	switch (out->ip_proto) {
	case PROTO_TCP:
		need = TCP_LEN;
		ports = true;
		break;
	case PROTO_UDP:
	case PROTO_UDPLITE:
		need = UDP_LEN;
		ports = true;
		break;
	case PROTO_SCTP:
		need = SCTP_LEN;
		ports = true;
		break;
	case PROTO_NONE:
		return XV_PARSE_OK;
	}
	if (end - offset < need)
		return ports && !out->fragment ? XV_PARSE_MALFORMED : XV_PARSE_OK;
	if (offset + need > len)
		return XV_PARSE_OK;
	if (out->ip_proto == PROTO_TCP) {
		l4_len = (data[offset + 12] >> 4) * 4u;
		if (l4_len < TCP_LEN)
			return XV_PARSE_MALFORMED;
		if (l4_len > end - offset)
			return out->fragment ? XV_PARSE_OK : XV_PARSE_MALFORMED;
		if (offset + l4_len > len)
			return XV_PARSE_OK;
	} else if (out->ip_proto == PROTO_UDP) {
		uint16_t udp_len = xv_load_be16(data + offset + 4);

		l4_len = UDP_LEN;
		if (udp_len < UDP_LEN || (!out->fragment && udp_len > end - offset))
			return XV_PARSE_MALFORMED;
	}
	out->l4_offset = (uint16_t)offset;
	out->l4_len = (uint16_t)l4_len;
	/* All fragments of a datagram must take the same queue, and only the first has ports. */
	if (ports && !out->fragment)
		out->flow_hash = (uint32_t)mix(hash, xv_load32(data + offset));
	return XV_PARSE_OK;
}

static enum xv_parse_result parse_ipv4(const uint8_t *data, uint32_t len, uint32_t frame_len,
				       struct xv_parsed *out)
{
	uint32_t l3 = out->l3_offset, header_len, total_len;
	const uint8_t *ip = data + l3;
	uint16_t fragment;
	uint64_t hash;

	if (frame_len - l3 < IPV4_LEN)
		return XV_PARSE_MALFORMED;
	if (len - l3 < IPV4_LEN) {
		out->l3_offset = 0;
		return XV_PARSE_OK;
	}
	header_len = (ip[0] & 0xf) * 4u;
	total_len = xv_load_be16(ip + 2);
	if (ip[0] >> 4 != 4 || header_len < IPV4_LEN || total_len < header_len ||
	    total_len > frame_len - l3)
		return XV_PARSE_MALFORMED;
	fragment = xv_load_be16(ip + 6) & 0x3fff; /* more fragments, offset */
	out->ip_proto = ip[9];
	out->fragment = fragment != 0;
	hash = mix(xv_load64(ip + 12), out->ip_proto);
	out->flow_hash = (uint32_t)hash;
	if (fragment & 0x1fff)
		return XV_PARSE_OK;
	return parse_l4(data, len, l3 + header_len, l3 + total_len, out, hash);
}

static enum xv_parse_result parse_ipv6(const uint8_t *data, uint32_t len, uint32_t frame_len,
				       struct xv_parsed *out)
{
	uint32_t l3 = out->l3_offset, offset = l3 + IPV6_LEN, end, ext_len;
	const uint8_t *ip = data + l3;
	unsigned int n;
	uint64_t hash;
	uint8_t next;

	if (frame_len - l3 < IPV6_LEN)
		return XV_PARSE_MALFORMED;
	if (len - l3 < IPV6_LEN) {
		out->l3_offset = 0;
		return XV_PARSE_OK;
	}
	end = offset + xv_load_be16(ip + 4);
	if (ip[0] >> 4 != 6 || end > frame_len)
		return XV_PARSE_MALFORMED;
	hash = mix(mix(mix(xv_load64(ip + 8), xv_load64(ip + 16)), xv_load64(ip + 24)), xv_load64(ip + 32));
	out->flow_hash = (uint32_t)hash;
	next = ip[6];
	for (n = 0; n < MAX_EXTENSIONS; n++) {
		if (next != PROTO_HOPOPTS && next != PROTO_ROUTING && next != PROTO_DSTOPTS &&
		    next != PROTO_AH && next != PROTO_FRAGMENT)
			break;
		out->ip_proto = next;
		if (end - offset < 8)
			return out->fragment ? XV_PARSE_OK : XV_PARSE_MALFORMED;
		if (offset + 8 > len)
			return XV_PARSE_OK;
		if (next == PROTO_FRAGMENT) {
			uint16_t fragment = xv_load_be16(data + offset + 2) & 0xfff9;

			/* An "atomic" fragment (RFC 6946) is a whole packet. */
			out->fragment |= fragment != 0;
			ext_len = 8;
			if (fragment & 0xfff8) {
				out->ip_proto = data[offset];
				return XV_PARSE_OK;
			}
		} else if (next == PROTO_AH) {
			ext_len = (data[offset + 1] + 2u) * 4;
		} else {
			ext_len = (data[offset + 1] + 1u) * 8;
		}
		/* The first fragment may be cut within its extension headers. */
		if (ext_len > end - offset)
			return out->fragment ? XV_PARSE_OK : XV_PARSE_MALFORMED;
		next = data[offset];
		offset += ext_len;
	}
	out->ip_proto = next;
	if (n == MAX_EXTENSIONS)
		return XV_PARSE_OK;
	/* Mixed in here: extension headers do not differ between the packets of a flow, ports do.
	 */
	hash = mix(hash, next);
	out->flow_hash = (uint32_t)hash;
	return parse_l4(data, len, offset, end, out, hash);
}

enum xv_parse_result xv_parse(const uint8_t *data, uint16_t len, uint32_t frame_len,
			      struct xv_parsed *out)
{
	enum xv_parse_result result;

	if (frame_len < len)
		len = (uint16_t)frame_len;
	result = xv_parse_eth(data, len, out);
	if (result != XV_PARSE_OK)
		return result;
	switch (out->l3_offset ? out->eth_type : 0) {
	case ETH_IPV4:
		return parse_ipv4(data, len, frame_len, out);
	case ETH_IPV6:
		return parse_ipv6(data, len, frame_len, out);
	default:
		out->flow_hash = (uint32_t)mix(mix(out->dst_key, out->src_key), out->eth_type);
		return XV_PARSE_OK;
	}
}
