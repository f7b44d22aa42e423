/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fragments of IPv4 packets (RFC 791 section 2.3 and 3.2). Packet threads; no state. IPv6 packets are never fragmented
 * on their way (RFC 8200 section 4.5): their senders are told (net/icmp_error.h).
 */
#pragma once

#include <stdint.h>

struct rte_mbuf;
struct rte_mempool;

/*
 * Cut m, an Ethernet frame with or without VLAN tags, into frames whose IPv4 packets have mtu bytes at most. What is a
 * fragment already is cut further. Options go into the fragments that are to have them; padding behind the packet goes
 * nowhere. Returns how many were written to out; m is consumed. Or m is untouched, still the caller's, and:
 *   -EMSGSIZE  it says "don't fragment", or mtu has no room for 8 bytes behind the header
 *   -EPROTO    no IPv4 packet; headers, options or position in the datagram that cannot be
 *   -EINVAL    a checksum or segmentation request (XV_PACKET_OFFLOAD): carry it out first, its bytes get apart here
 *   -E2BIG     more than max fragments
 *   -ENOBUFS   out of packet memory
 */
int xv_ipv4_fragment(struct rte_mbuf *m, uint32_t mtu, struct rte_mempool *pool, struct rte_mbuf **out,
		     unsigned int max);
