/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Set what the flow key does not name of ICMP and ICMPv6: the identifier of a query, and addresses and ports of the
 * packet that an error carries. No state, any thread that owns the packet; its first segment must be writable
 * (net/packet_share.h). Nothing beyond the first segment, or beyond the end of the packet, is read or written.
 *
 * Checksums are updated, not made anew, and one that is still to be finished (XV_OFFLOAD_CSUM) stays: as in net/edit.h.
 */
#pragma once

#include "net/flow_key.h"

struct rte_mbuf;

/* Addresses and ports as in the inner packet; an ICMP query has its identifier in src_port. */
struct xv_icmp_inner {
	union xv_ip_addr src, dst; /* IPv4: words[3] */
	rte_be16_t src_port, dst_port;
	uint8_t proto;
};

/* The identifier of an echo, timestamp, information or address mask message, which the packet is. 0, or -EINVAL: cut
 * off. */
int xv_icmp_set_id(struct rte_mbuf *m, const struct xv_flow_layout *layout, rte_be16_t id);

/*
 * What is inside of the ICMP or ICMPv6 error that m is. 0, or -EINVAL: there is no such packet inside, its headers up
 * to what the error must carry (RFC 792: 8 bytes of transport header) are cut off or broken, or its protocol is not
 * inner->proto.
 */
int xv_icmp_get_inner(const struct rte_mbuf *m, const struct xv_flow_layout *layout, bool ipv6,
		      struct xv_icmp_inner *inner);
/*
 * Make it so. The checksums of the inner packet follow as far as they are there, and so does that of the error. SCTP's
 * CRC stays as it is: nobody checks it on a piece of a packet. UDP's 0 ("none") stays 0. Of fragments other than the
 * first only the addresses are set. 0, or -EINVAL as above: nothing was written.
 */
int xv_icmp_set_inner(struct rte_mbuf *m, const struct xv_flow_layout *layout, bool ipv6,
		      const struct xv_icmp_inner *inner);
