/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the headers of a frame are. Pure functions over bytes: no state, any thread, never read
 * beyond len. Offsets are from the first byte of the frame; 0 means "not there" for l3 and l4.
 * A header that an offset names lies within len as a whole (IPv4 and TCP options, extension headers
 * before l4); one that is in the frame but reaches beyond len is "not there".
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct xv_parsed {
	uint64_t dst_key, src_key; /* MAC addresses as xv_mac_key() with VLAN 0 would give */
	uint16_t eth_type;	   /* host order, of the innermost header behind the VLAN tags */
	uint16_t vlan_tci;	   /* host order, outermost tag; valid if tagged */
	bool tagged;		   /* outermost tag is 0x8100 or 0x88a8 */
	bool fragment;		   /* IPv4 or IPv6 fragment, also the first one */
	uint8_t ip_proto;	   /* after IPv6 extension headers; 0 if no IP */
	uint8_t l3_offset;
	uint16_t l4_offset;	   /* 0 if fragment other than the first, or unknown */
	uint16_t l4_len;	   /* TCP: header with options, UDP 8, else 0 */
	uint32_t flow_hash;	   /* of addresses, protocol and ports: spreads flows over queues */
};

enum xv_parse_result { XV_PARSE_OK, XV_PARSE_RUNT, XV_PARSE_MALFORMED };

/*
 * data, len: the first contiguous bytes of the frame (the whole frame, or at least 128 bytes).
 * frame_len: length of the whole frame. RUNT: shorter than 14 bytes. MALFORMED: a header claims more
 * bytes than the frame has (IPv4 IHL, total length; IPv6 payload length; TCP data offset, ...).
 */
enum xv_parse_result xv_parse(const uint8_t *data, uint16_t len, uint32_t frame_len,
			      struct xv_parsed *out);

/* Only Ethernet and VLAN: what a MAC-learning network needs of most frames. Fills eth/vlan/keys. */
enum xv_parse_result xv_parse_eth(const uint8_t *data, uint16_t len, struct xv_parsed *out);
