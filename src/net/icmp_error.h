/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers that tell a sender why its packet cannot go on: ICMP errors (RFC 792, 1191, 4443) and TCP resets (RFC 9293).
 * Pure functions over bytes, any thread.
 *
 * The answer is a whole frame for the port that the offending frame came in by: MAC addresses swapped, VLAN tags kept,
 * IP addresses swapped. So the source address of an ICMP error is the one that the offender was sent to, not one of
 * ours (RFC 1812 section 4.3.2.4): a switch has no address in its tenants' networks, one of the host's would leak what
 * they must not know, and a guest's own filter against forged sources may refuse it. A receiver finds the connection by
 * the quoted headers, whoever sent the error. What bridges do, such as nftables' "reject" in the bridge family.
 *
 * No answer (length 0) is given to what must not have one (RFC 1122 section 3.2.2, RFC 1812 section 4.3.2.7, RFC 4443
 * section 2.4 (e)): ICMP errors and redirects, and what cannot be told from them because their header is not seen;
 * fragments other than the first; frames and packets to more than one receiver, or from none that could be answered.
 * Nor to what is not IP, is malformed, or has no payload. For packets that are too big RFC 4443 would allow multicast
 * destinations and all fragments: the former could not be our source address, the latter bring nothing that the first
 * fragment, which is never the shorter one, has not brought.
 */
#pragma once

#include <stdint.h>

/* Bytes of an offending frame that are of use here: with 8 VLAN tags, as much as the longest answer quotes. Who has
 * less than this of a longer frame in one piece copies it together first. */
#define XV_OFFENDER_BYTES 1280
/* Length of the longest answer: an IPv6 packet of 1280 bytes behind Ethernet and 8 VLAN tags. */
#define XV_ANSWER_MAX 1326

/*
 * All of them: frame, len: the first contiguous bytes of the offender, which has frame_len in all (see xv_parse()).
 * answer: room for XV_ANSWER_MAX bytes. Returns the length of the answer, 0 = there must be none. Checksums of the
 * offender are not looked at: those of a VM's packet may not be finished yet.
 */

/* It is longer than what it would have to pass: "fragmentation needed" (RFC 1191 section 4) or "packet too big" (RFC
 * 4443 section 3.2). mtu: bytes of the largest IP packet that passes. */
uint32_t xv_icmp_too_big(const uint8_t *frame, uint16_t len, uint32_t frame_len, uint32_t mtu, uint8_t *answer);

/* "Destination unreachable" with the code of the offender's IP version: RFC 792, RFC 1812 section 5.2.7.1 (13 =
 * administratively prohibited); RFC 4443 section 3.1 (1 = that). */
uint32_t xv_icmp_unreachable(const uint8_t *frame, uint16_t len, uint32_t frame_len, uint8_t code4, uint8_t code6,
			     uint8_t *answer);

/* What a router says (RFC 1812 section 4.3.2.4, RFC 4443): from its own address on the network that the offender came from, 4 or 16
 * bytes. */
enum xv_router_error { XV_ROUTER_TIME_EXCEEDED, XV_ROUTER_NO_ROUTE, XV_ROUTER_NO_HOST };
uint32_t xv_icmp_router_error(enum xv_router_error error, const uint8_t *from, const uint8_t *frame, uint16_t len,
			      uint32_t frame_len, uint8_t *answer);

/* The reset that a host without that connection would send (RFC 9293 section 3.10.7.1); none to resets, to fragments,
 * and to what is not TCP. */
uint32_t xv_tcp_reset(const uint8_t *frame, uint16_t len, uint32_t frame_len, uint8_t *answer);
