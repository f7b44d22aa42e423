/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The few packets that a host cannot do without, untagged: ARP (RFC 826), neighbour discovery (RFC
 * 4861), echo, and the segments that find out whether somebody listens. Built and understood; pure
 * functions over bytes, any thread. Input is hostile: nothing is read that was not checked to be
 * there, checksums are checked.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "net/flow_key.h"

enum xv_host_packet_type {
	XV_HOST_OTHER, /* IP, whatever it is; or broken, or nothing of these */
	XV_HOST_ARP_REQUEST,
	XV_HOST_ARP_REPLY,
	XV_HOST_SOLICIT,
	XV_HOST_ADVERT,
	XV_HOST_ECHO,
	XV_HOST_ECHO_REPLY,
	XV_HOST_TCP,
};

struct xv_host_packet {
	enum xv_host_packet_type type;
	bool ipv6;
	bool has_mac;   /* ARP, neighbour discovery: the sender (or target) told its address */
	uint8_t mac[6]; /* that one */
	uint8_t eth_src[6];
	union xv_ip_addr src, dst; /* ARP: sender and target */
	union xv_ip_addr target;   /* neighbour discovery */
	uint16_t id, seq;          /* echo */
	uint16_t src_port, dst_port;
	uint8_t tcp_flags;
	uint32_t tcp_ack, tcp_seq;
};

#define XV_HOST_TCP_SYN 0x02
#define XV_HOST_TCP_RST 0x04
#define XV_HOST_TCP_ACK 0x10

/* False: not IP, ARP, or cut off. */
bool xv_host_packet_parse(const uint8_t *frame, uint32_t len, struct xv_host_packet *p);

#define XV_HOST_PACKET_MAX 128

/* All of these: the length of the frame; buf has room for XV_HOST_PACKET_MAX bytes. */

/* From (src may be all zero, for a probe as of RFC 5227) who asks for target; dst: NULL =
 * everybody. */
uint32_t xv_host_ask(uint8_t *buf, const uint8_t mac[6], const uint8_t *dst, bool ipv6,
		     const union xv_ip_addr *src, const union xv_ip_addr *target);
/* The answer of `mac` to who asked. */
uint32_t xv_host_tell(uint8_t *buf, const uint8_t mac[6], const struct xv_host_packet *asked);
/* To everybody: addr is at mac. */
uint32_t xv_host_announce(uint8_t *buf, const uint8_t mac[6], bool ipv6,
			  const union xv_ip_addr *addr);
uint32_t xv_host_echo(uint8_t *buf, const uint8_t mac[6], const uint8_t dst_mac[6], bool ipv6,
		      const union xv_ip_addr *src, const union xv_ip_addr *dst, uint16_t id,
		      uint16_t seq);
/* flags: SYN, or RST (seq is then what the other end expects). */
uint32_t xv_host_segment(uint8_t *buf, const uint8_t mac[6], const uint8_t dst_mac[6], bool ipv6,
			 const union xv_ip_addr *src, const union xv_ip_addr *dst,
			 uint16_t src_port, uint16_t dst_port, uint8_t flags, uint32_t seq);

/* An echo request, which was parsed as such, becomes its reply. */
void xv_host_echo_turn(uint8_t *frame, const struct xv_host_packet *p);

/* fe80:: with the modified EUI-64 of the MAC (RFC 4291, appendix A). */
void xv_host_link_local(const uint8_t mac[6], union xv_ip_addr *addr);
