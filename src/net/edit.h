/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Set fields of a packet's headers, checksums included. No state, any thread that owns the packet; its first segment
 * must be writable (net/packet_share.h). Nothing beyond the first segment is read or written.
 *
 * Honoured are differences between two keys in these fields, of headers that the packet has:
 *
 *   Ethernet    eth_dst, eth_src
 *   VLAN        tpid, priority and id of a tag that both keys have (the packet's DEI bit stays)
 *   MPLS        mpls_lse[], those below both mpls_depth
 *   NSH         flags, ttl, path header; context if the metadata is of type 1 (RFC 8300)
 *   ARP, RARP   operation (ip_proto), ip_src, ip_dst, arp_sha, arp_tha
 *   IPv4        ip_src, ip_dst, ip_tos, ip_ttl
 *   IPv6        ip_src, ip_dst, ipv6_label, ip_tos, ip_ttl
 *   TCP, UDP, SCTP            tp_src, tp_dst
 *   ICMP, ICMPv6              type (tp_src) and code (tp_dst), lower 8 bits
 *   neighbour discovery       nd_target; arp_sha and arp_tha in the first source and the first target link-layer
 *                             address option, if there is one
 *
 * A difference in any other field, and in a field of a header that the packet does not have (a later fragment has no
 * transport header), is ignored. A masked set is a `to` whose other bits are those of `from`.
 *
 * Checksums are updated, not made anew (RFC 1624): what was wrong stays wrong, for the receiver to see. As in OVS:
 *   - a first fragment's checksum is updated, it covers the whole datagram; but SCTP's, whose CRC depends on how much
 *     follows, comes out right for whole packets only;
 *   - a UDP checksum of 0 ("none") stays 0, and a result of 0 becomes 0xffff (RFC 768);
 *   - the destination of an IPv6 packet on its way through a routing header is not that of the pseudo-header (RFC 8200,
 *     section 8.1): the transport checksum does not follow it;
 *   - a transport header that extraction did not find (cut off, unknown) is not touched.
 * A checksum that is still to be finished (XV_OFFLOAD_CSUM at this transport header) is the pseudo-header's sum: it
 * follows the addresses only.
 */
#pragma once

#include "net/flow_key.h"

struct rte_mbuf;

/*
 * Make packet m, which is as `from` and `layout` say, as `to` says. Keys and layout are left alone. 0, or -EINVAL if
 * from and layout are not those of this packet (a header that is to be written is not there, or not in the first
 * segment as a whole): the packet is good for nothing but to be dropped.
 */
int xv_edit_apply(struct rte_mbuf *m, const struct xv_flow_layout *layout, const struct xv_flow_key *from,
		  const struct xv_flow_key *to);
