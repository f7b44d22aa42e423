/* SPDX-License-Identifier: Apache-2.0 */
#include "fastpath/offload.h"

#include <errno.h>
#include <string.h>

#include <rte_byteorder.h>
#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_mbuf.h>
#include <rte_tcp.h>
#include <rte_udp.h>

#include "base/clock.h"
#include "net/checksum.h"
#include "net/packet_cut.h"
#include "net/parse.h"

/* Ethernet, VLAN tags, IP and TCP with options, and some IPv6 extension headers. */
#define HEADERS_MAX 256

#define IPV6_MORE_FRAGMENTS 1 /* in frag_data, whose upper 13 bits count 8 bytes each */

/* The headers of the packet that is cut up. */
struct headers {
	uint8_t bytes[HEADERS_MAX];
	struct xv_parsed parsed;
	uint32_t payload_len; /* behind l4_offset + l4_len */
};

static inline uint8_t *at(struct rte_mbuf *m, uint32_t offset)
{
	return rte_pktmbuf_mtod_offset(m, uint8_t *, offset);
}

/* Whether all of the packet's bytes and its metadata are ours alone. */
static bool is_private(const struct rte_mbuf *m)
{
	for (; m; m = m->next)
		if (rte_mbuf_refcnt_read(m) != 1 || RTE_MBUF_CLONED(m) ||
		    (RTE_MBUF_HAS_EXTBUF(m) && rte_mbuf_ext_refcnt_read(m->shinfo) != 1))
			return false;
	return true;
}

static void store_byte(struct rte_mbuf *m, uint32_t offset, uint8_t byte)
{
	while (offset >= m->data_len) {
		offset -= m->data_len;
		m = m->next;
	}
	*at(m, offset) = byte;
}

/* Finish the one checksum of a packet that stays whole. */
static int finish_csum(struct rte_mbuf *m, struct rte_mempool *pool, struct rte_mbuf **out)
{
	const struct xv_offload req = *xv_packet_offload(m);
	uint32_t field = (uint32_t)req.csum_start + req.csum_offset;
	struct rte_mbuf *to = m;
	uint8_t csum[2];
	uint16_t sum;

	if (field + sizeof(csum) > m->pkt_len)
		return -EPROTO;
	if (!is_private(m)) {
		to = rte_pktmbuf_copy(m, pool, 0, UINT32_MAX);
		if (!to)
			return -ENOBUFS;
		xv_packet_inherit_trace(to, m);
	}
	/* The field holds the pseudo-header's sum, put there by the sender. */
	sum = xv_csum_finish(xv_csum_sum_mbuf(to, req.csum_start, to->pkt_len - req.csum_start));
	memcpy(csum, &sum, sizeof(csum));
	store_byte(to, field, csum[0]);
	store_byte(to, field + 1, csum[1]);
	to->ol_flags &= ~XV_PACKET_OFFLOAD;
	if (to != m)
		rte_pktmbuf_free(m);
	out[0] = to;
	return 1;
}

/* Copy the headers of m and check that they are what the request says. */
static int read_headers(const struct rte_mbuf *m, const struct xv_offload *req,
			uint16_t csum_offset, uint8_t proto, struct headers *h)
{
	uint32_t len = RTE_MIN(m->pkt_len, (uint32_t)HEADERS_MAX), ip_len;
	struct xv_parsed *p = &h->parsed;
	struct xv_cursor c = xv_cursor_at(m, 0);
	uint8_t *ip;

	xv_cursor_read(&c, h->bytes, len);
	if (xv_parse_eth(h->bytes, (uint16_t)len, p) != XV_PARSE_OK || p->l3_offset == 0 ||
	    len < p->l3_offset + sizeof(struct rte_ipv4_hdr))
		return -EPROTO;
	ip = h->bytes + p->l3_offset;
	ip_len = m->pkt_len - p->l3_offset;
	if (p->eth_type == RTE_ETHER_TYPE_IPV6)
		ip_len -= RTE_MIN(ip_len, (uint32_t)sizeof(struct rte_ipv6_hdr));
	if (ip_len > UINT16_MAX)
		return -EPROTO;
	/* Each segment gets its own length; parse wants one that is true. */
	if (p->eth_type == RTE_ETHER_TYPE_IPV4)
		((struct rte_ipv4_hdr *)ip)->total_length = rte_cpu_to_be_16((uint16_t)ip_len);
	else if (p->eth_type == RTE_ETHER_TYPE_IPV6)
		((struct rte_ipv6_hdr *)ip)->payload_len = rte_cpu_to_be_16((uint16_t)ip_len);
	if (xv_parse(h->bytes, (uint16_t)len, m->pkt_len, p) != XV_PARSE_OK)
		return -EPROTO;
	if (p->l4_offset == 0 || p->ip_proto != proto || p->fragment)
		return -EPROTO;
	if ((req->flags & XV_OFFLOAD_CSUM) &&
	    (req->csum_start != p->l4_offset || req->csum_offset != csum_offset))
		return -EPROTO;
	h->payload_len = m->pkt_len - p->l4_offset - p->l4_len;
	return 0;
}

static int finish_tcp(struct rte_mbuf *m, uint32_t caps, struct rte_mempool *pool,
		      struct rte_mbuf **out, unsigned int max)
{
	const struct xv_offload req = *xv_packet_offload(m);
	const uint8_t edge_flags = RTE_TCP_FIN_FLAG | RTE_TCP_PSH_FLAG | RTE_TCP_CWR_FLAG;
	const bool leave_csum = caps & XV_CAP_CSUM;
	const bool v4 = (req.gso_type & ~XV_GSO_ECN) == XV_GSO_TCPV4;
	uint16_t ip_sum = 0, pseudo_sum, tcp_sum, sum;
	uint32_t header_len, l3, l4, seq, len, done;
	unsigned int i, n, id = 0;
	struct rte_ipv4_hdr *ip4;
	struct rte_ipv6_hdr *ip6;
	struct rte_tcp_hdr *tcp;
	uint8_t tcp_flags;
	struct headers h;
	struct xv_cursor c;
	int rc;

	rc = read_headers(m, &req, offsetof(struct rte_tcp_hdr, cksum), IPPROTO_TCP, &h);
	if (rc != 0)
		return rc;
	if (h.parsed.eth_type != (v4 ? RTE_ETHER_TYPE_IPV4 : RTE_ETHER_TYPE_IPV6))
		return -EPROTO;
	n = h.payload_len ? (h.payload_len - 1) / req.gso_size + 1 : 1;
	if (n > max)
		return -E2BIG;
	rc = xv_pieces_alloc(m, pool, out, n);
	if (rc != 0)
		return rc;

	/* What differs by segment becomes zero in the template, so that it only adds to the sums.
	 */
	l3 = h.parsed.l3_offset;
	l4 = h.parsed.l4_offset;
	header_len = l4 + h.parsed.l4_len;
	tcp = (struct rte_tcp_hdr *)(h.bytes + l4);
	seq = rte_be_to_cpu_32(tcp->sent_seq);
	tcp_flags = tcp->tcp_flags;
	tcp->sent_seq = 0;
	tcp->tcp_flags &= (uint8_t)~edge_flags;
	tcp->cksum = 0;
	if (v4) {
		ip4 = (struct rte_ipv4_hdr *)(h.bytes + l3);
		id = rte_be_to_cpu_16(ip4->packet_id);
		ip4->total_length = 0;
		ip4->packet_id = 0;
		ip4->hdr_checksum = 0;
		ip_sum = xv_csum_sum(ip4, l4 - l3);
		pseudo_sum = xv_csum_pseudo4(&ip4->src_addr, &ip4->dst_addr, IPPROTO_TCP, 0);
	} else {
		ip6 = (struct rte_ipv6_hdr *)(h.bytes + l3);
		pseudo_sum = xv_csum_pseudo6(ip6->src_addr, ip6->dst_addr, IPPROTO_TCP, 0);
	}
	tcp_sum = xv_csum_add(pseudo_sum, xv_csum_sum(tcp, h.parsed.l4_len));

	c = xv_cursor_at(m, header_len);
	for (i = 0, done = 0; i < n; i++, done += len) {
		len = RTE_MIN(h.payload_len - done, (uint32_t)req.gso_size);
		rc = xv_piece_fill(out[i], pool, h.bytes, header_len, &c, len);
		if (rc != 0) {
			rte_pktmbuf_free_bulk(out, n);
			return rc;
		}
		if (v4) {
			ip4 = (struct rte_ipv4_hdr *)at(out[i], l3);
			ip4->total_length = rte_cpu_to_be_16((uint16_t)(header_len - l3 + len));
			ip4->packet_id = rte_cpu_to_be_16((uint16_t)(id + i));
			sum = xv_csum_add(ip_sum, ip4->total_length);
			ip4->hdr_checksum = (uint16_t)~xv_csum_add(sum, ip4->packet_id);
		} else {
			ip6 = (struct rte_ipv6_hdr *)at(out[i], l3);
			ip6->payload_len =
				rte_cpu_to_be_16((uint16_t)(header_len - l3 - sizeof(*ip6) + len));
		}
		tcp = (struct rte_tcp_hdr *)at(out[i], l4);
		tcp->sent_seq = rte_cpu_to_be_32(seq + done);
		if (i == 0)
			tcp->tcp_flags |= tcp_flags & RTE_TCP_CWR_FLAG;
		if (i == n - 1)
			tcp->tcp_flags |= tcp_flags & (RTE_TCP_FIN_FLAG | RTE_TCP_PSH_FLAG);
		sum = rte_cpu_to_be_16((uint16_t)(h.parsed.l4_len + len));
		if (leave_csum) {
			tcp->cksum = xv_csum_add(pseudo_sum, sum);
			*xv_packet_offload(out[i]) = (struct xv_offload){
				.flags = XV_OFFLOAD_CSUM,
				.csum_start = (uint16_t)l4,
				.csum_offset = offsetof(struct rte_tcp_hdr, cksum),
			};
			out[i]->ol_flags |= XV_PACKET_OFFLOAD;
			continue;
		}
		sum = xv_csum_add(sum, tcp_sum);
		sum = xv_csum_add(sum, xv_csum_sum(&tcp->sent_seq, sizeof(tcp->sent_seq)));
		sum = xv_csum_add(sum, rte_cpu_to_be_16(tcp->tcp_flags & edge_flags));
		sum = xv_csum_add(sum, xv_csum_sum_mbuf(out[i], header_len, len));
		tcp->cksum = xv_csum_finish(sum);
	}
	rte_pktmbuf_free(m);
	return (int)n;
}

/* The finished checksum of a whole datagram, computed before it is cut. */
static uint16_t udp_csum(const struct rte_mbuf *m, struct headers *h)
{
	const uint8_t *ip = h->bytes + h->parsed.l3_offset;
	const struct rte_ipv4_hdr *ip4 = (const struct rte_ipv4_hdr *)ip;
	const struct rte_ipv6_hdr *ip6 = (const struct rte_ipv6_hdr *)ip;
	struct rte_udp_hdr *udp = (struct rte_udp_hdr *)(h->bytes + h->parsed.l4_offset);
	uint32_t len = sizeof(*udp) + h->payload_len;
	uint16_t sum;

	if (h->parsed.eth_type == RTE_ETHER_TYPE_IPV4)
		sum = xv_csum_pseudo4(&ip4->src_addr, &ip4->dst_addr, IPPROTO_UDP, len);
	else
		sum = xv_csum_pseudo6(ip6->src_addr, ip6->dst_addr, IPPROTO_UDP, len);
	udp->dgram_cksum = 0;
	sum = xv_csum_add(sum, xv_csum_sum(udp, sizeof(*udp)));
	sum = xv_csum_add(sum,
			  xv_csum_sum_mbuf(m, h->parsed.l4_offset + sizeof(*udp), h->payload_len));
	return xv_csum_finish(sum);
}

/* A fragment id that nobody used lately; RFC 7739 asks for one that is hard to guess, too. */
static uint32_t fragment_id(uint32_t flow_hash)
{
	uint64_t id = (xv_clock_tsc() ^ (uint64_t)flow_hash << 32) * UINT64_C(0x9e3779b97f4a7c15);

	return (uint32_t)(id >> 32) | 1; /* not 0, in 16 bits neither */
}

static int finish_udp(struct rte_mbuf *m, struct rte_mempool *pool, struct rte_mbuf **out,
		      unsigned int max)
{
	const struct xv_offload req = *xv_packet_offload(m);
	/* Fragments count in 8 bytes; an IPv6 one grows by its fragment header. */
	const uint32_t size =
		RTE_MIN(req.gso_size, UINT16_MAX - RTE_IPV6_FRAG_HDR_SIZE) & ~UINT32_C(7);
	uint32_t l3, l4, header_len, total, len, done;
	struct rte_ipv6_fragment_ext *frag;
	struct rte_ipv4_hdr *ip4 = NULL;
	struct rte_ipv6_hdr *ip6 = NULL;
	struct rte_udp_hdr *udp;
	uint16_t csum, position;
	unsigned int i, n;
	struct headers h;
	struct xv_cursor c;
	int rc;

	rc = read_headers(m, &req, offsetof(struct rte_udp_hdr, dgram_cksum), IPPROTO_UDP, &h);
	if (rc != 0)
		return rc;
	l3 = h.parsed.l3_offset;
	l4 = h.parsed.l4_offset;
	udp = (struct rte_udp_hdr *)(h.bytes + l4);
	total = sizeof(*udp) + h.payload_len;
	if (rte_be_to_cpu_16(udp->dgram_len) != total)
		return -EPROTO;
	if (h.parsed.eth_type == RTE_ETHER_TYPE_IPV4)
		ip4 = (struct rte_ipv4_hdr *)(h.bytes + l3);
	else
		ip6 = (struct rte_ipv6_hdr *)(h.bytes + l3);
	if (l4 - l3 != (ip4 ? sizeof(*ip4) : sizeof(*ip6)))
		return -EPROTO;
	n = (total - 1) / size + 1;
	if (n > max)
		return -E2BIG;
	rc = xv_pieces_alloc(m, pool, out, n);
	if (rc != 0)
		return rc;

	csum = req.flags & XV_OFFLOAD_CSUM ? udp_csum(m, &h) : udp->dgram_cksum;
	header_len = l4;
	if (n > 1 && ip4) {
		ip4->fragment_offset = 0; /* what is fragmented here was allowed to be */
		if (ip4->packet_id == 0)
			ip4->packet_id = (uint16_t)fragment_id(h.parsed.flow_hash);
	} else if (n > 1) {
		/* From here on over the UDP header: every fragment takes its bytes from m. */
		frag = (struct rte_ipv6_fragment_ext *)(h.bytes + l4);
		*frag = (struct rte_ipv6_fragment_ext){
			.next_header = IPPROTO_UDP,
			.id = fragment_id(h.parsed.flow_hash),
		};
		ip6->proto = IPPROTO_FRAGMENT;
		header_len += sizeof(*frag);
	}

	c = xv_cursor_at(m, l4);
	for (i = 0, done = 0; i < n; i++, done += len) {
		len = RTE_MIN(total - done, size);
		rc = xv_piece_fill(out[i], pool, h.bytes, header_len, &c, len);
		if (rc != 0) {
			rte_pktmbuf_free_bulk(out, n);
			return rc;
		}
		if (i == 0) {
			udp = (struct rte_udp_hdr *)at(out[i], header_len);
			udp->dgram_cksum = csum;
		}
		if (ip4) {
			position = (uint16_t)(done / 8);
			if (i < n - 1)
				position |= RTE_IPV4_HDR_MF_FLAG;
			ip4 = (struct rte_ipv4_hdr *)at(out[i], l3);
			ip4->total_length = rte_cpu_to_be_16((uint16_t)(header_len - l3 + len));
			ip4->fragment_offset |= rte_cpu_to_be_16(position);
			ip4->hdr_checksum = 0;
			ip4->hdr_checksum = (uint16_t)~xv_csum_sum(ip4, sizeof(*ip4));
		} else {
			ip6 = (struct rte_ipv6_hdr *)at(out[i], l3);
			ip6->payload_len =
				rte_cpu_to_be_16((uint16_t)(header_len - l3 - sizeof(*ip6) + len));
			if (n > 1) {
				position = (uint16_t)(done | (i < n - 1 ? IPV6_MORE_FRAGMENTS : 0));
				frag = (struct rte_ipv6_fragment_ext *)at(out[i], l4);
				frag->frag_data = rte_cpu_to_be_16(position);
			}
		}
	}
	rte_pktmbuf_free(m);
	return (int)n;
}

int xv_offload_header_bytes(struct rte_mbuf *m)
{
	const struct xv_offload *req = xv_packet_offload(m);
	struct headers h;

	switch (req->gso_type & ~XV_GSO_ECN) {
	case XV_GSO_TCPV4:
	case XV_GSO_TCPV6:
		if (read_headers(m, req, offsetof(struct rte_tcp_hdr, cksum), IPPROTO_TCP, &h) != 0)
			return -EPROTO;
		return h.parsed.l4_offset + h.parsed.l4_len;
	case XV_GSO_UDP: /* fragments: the UDP header is payload of the first one */
		if (read_headers(m, req, offsetof(struct rte_udp_hdr, dgram_cksum), IPPROTO_UDP, &h) != 0)
			return -EPROTO;
		return h.parsed.l4_offset +
		       (h.parsed.eth_type == RTE_ETHER_TYPE_IPV6 ? (int)RTE_IPV6_FRAG_HDR_SIZE : 0);
	default:
		return -EPROTO;
	}
}

int xv_offload_finish(struct rte_mbuf *m, uint32_t caps, struct rte_mempool *pool,
		      struct rte_mbuf **out, unsigned int max)
{
	const struct xv_offload *req = xv_packet_offload(m);

	if (max == 0)
		return -E2BIG;
	if (!xv_offload_needed(m, caps)) {
		out[0] = m;
		return 1;
	}
	if (req->gso_type == XV_GSO_NONE)
		return finish_csum(m, pool, out);
	if (req->gso_size < XV_GSO_MIN_SIZE)
		return -EPROTO;
	switch (req->gso_type & ~XV_GSO_ECN) {
	case XV_GSO_TCPV4:
	case XV_GSO_TCPV6:
		return finish_tcp(m, caps, pool, out, max);
	case XV_GSO_UDP:
		return finish_udp(m, pool, out, max);
	default:
		return -EPROTO;
	}
}
