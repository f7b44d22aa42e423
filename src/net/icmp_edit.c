/* SPDX-License-Identifier: Apache-2.0 */
#include "net/icmp_edit.h"

#include <errno.h>
#include <netinet/in.h>

#include "net/replace.h"

#define IPV4_LEN  20
#define IPV6_LEN  40
#define PORTS_LEN 4
/* RFC 792 promises eight bytes of transport header; RFC 4443 as much as fits into 1,280. */
#define INNER_L4_MIN 8

#define ICMP_LEN  8
#define ICMP_CSUM 2
#define ICMP_ID   4
#define TCP_CSUM  16
#define UDP_CSUM  6

/* As many as extraction follows, and some: what a chain of headers may cost is bounded. */
#define MAX_EXTENSIONS 16

/* Where things are, from the first byte of the frame. */
struct inner {
	uint32_t ip, l4; /* l4: 0 in fragments other than the first */
	uint32_t end;    /* of what can be written: bytes of the first segment that belong to the packet */
	uint8_t proto;
	bool routed; /* on its way through a routing header: dst is not that of the pseudo-header (RFC 8200,
			section 8.1) */
};

/* Queries have their identifier in the same place, and each direction has a type of its own. */
static bool has_id(uint8_t proto, uint8_t type)
{
	if (proto == IPPROTO_ICMPV6)
		return type == 128 || type == 129;
	return type == 0 || type == 8 || (type >= 13 && type <= 18);
}

static int find_ipv4(const uint8_t *data, struct inner *in)
{
	const uint8_t *ip = data + in->ip;
	uint32_t len;

	if (in->ip + IPV4_LEN > in->end)
		return -EINVAL;
	len = (ip[0] & 0xf) * 4u;
	if (ip[0] >> 4 != 4 || len < IPV4_LEN)
		return -EINVAL;
	in->proto = ip[9];
	if ((xv_load_be16(ip + 6) & 0x1fff) == 0)
		in->l4 = in->ip + len;
	return 0;
}

static int find_ipv6(const uint8_t *data, struct inner *in)
{
	const uint8_t *ip = data + in->ip, *ext;
	uint32_t offset = in->ip + IPV6_LEN;
	unsigned int i;

	if (offset > in->end || ip[0] >> 4 != 6)
		return -EINVAL;
	in->proto = ip[6];
	for (i = 0; i < MAX_EXTENSIONS; i++) {
		switch (in->proto) {
		case IPPROTO_HOPOPTS:
		case IPPROTO_DSTOPTS:
		case IPPROTO_ROUTING:
		case IPPROTO_FRAGMENT:
		case IPPROTO_AH:
			break;
		default:
			in->l4 = offset;
			return 0;
		}
		if (offset + 8 > in->end)
			return -EINVAL;
		ext = data + offset;
		if (in->proto == IPPROTO_ROUTING && ext[3] > 0) /* segments left */
			in->routed = true;
		if (in->proto == IPPROTO_FRAGMENT) {
			in->proto = ext[0];
			offset += 8;
			if ((xv_load_be16(ext + 2) & 0xfff8) != 0)
				return 0;
			continue;
		}
		offset += in->proto == IPPROTO_AH ? (ext[1] + 2u) * 4 : (ext[1] + 1u) * 8;
		in->proto = ext[0];
	}
	return -EINVAL;
}

static int find(const struct rte_mbuf *m, const struct xv_flow_layout *layout, bool ipv6, struct inner *in)
{
	const uint8_t *data = rte_pktmbuf_mtod(m, const uint8_t *);
	uint32_t need;
	int rc;

	*in = (struct inner){.ip = layout->l4 + (uint32_t)ICMP_LEN};
	in->end = RTE_MIN((uint32_t)m->data_len, layout->payload_end);
	if (layout->l4 == 0 || in->ip > in->end)
		return -EINVAL;
	rc = ipv6 ? find_ipv6(data, in) : find_ipv4(data, in);
	if (rc != 0 || in->l4 == 0)
		return rc;
	switch (in->proto) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
	case IPPROTO_SCTP:
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		need = INNER_L4_MIN;
		break;
	default:
		need = 0;
		break;
	}
	return in->l4 + need > in->end ? -EINVAL : 0;
}

static inline bool has_ports(uint8_t proto)
{
	return proto == IPPROTO_TCP || proto == IPPROTO_UDP || proto == IPPROTO_SCTP;
}

static inline bool is_query(const uint8_t *data, const struct inner *in)
{
	return (in->proto == IPPROTO_ICMP || in->proto == IPPROTO_ICMPV6) && has_id(in->proto, data[in->l4]);
}

int xv_icmp_set_id(struct rte_mbuf *m, const struct xv_flow_layout *layout, rte_be16_t id)
{
	uint32_t l4 = layout->l4;
	xv_delta_t delta;

	if (l4 == 0 || l4 + ICMP_LEN > m->data_len || l4 + ICMP_LEN > layout->payload_end)
		return -EINVAL;
	delta = xv_replace16(rte_pktmbuf_mtod_offset(m, uint8_t *, l4 + ICMP_ID), id);
	xv_csum_update_l4(m, l4, ICMP_CSUM, 0, delta, false);
	return 0;
}

int xv_icmp_get_inner(const struct rte_mbuf *m, const struct xv_flow_layout *layout, bool ipv6,
		      struct xv_icmp_inner *inner)
{
	const uint8_t *data = rte_pktmbuf_mtod(m, const uint8_t *);
	struct inner in;
	int rc = find(m, layout, ipv6, &in);

	if (rc != 0)
		return rc;
	*inner = (struct xv_icmp_inner){.proto = in.proto};
	if (ipv6) {
		memcpy(&inner->src, data + in.ip + 8, 16);
		memcpy(&inner->dst, data + in.ip + 24, 16);
	} else {
		inner->src.words[3] = xv_load32(data + in.ip + 12);
		inner->dst.words[3] = xv_load32(data + in.ip + 16);
	}
	if (in.l4 == 0)
		return 0;
	if (has_ports(in.proto)) {
		inner->src_port = xv_load16(data + in.l4);
		inner->dst_port = xv_load16(data + in.l4 + 2);
	} else if (is_query(data, &in)) {
		inner->src_port = xv_load16(data + in.l4 + ICMP_ID);
	}
	return 0;
}

/* The inner checksum at field, if the error carries it. Returns what its own change is to the error's checksum. */
static xv_delta_t update_inner(uint8_t *data, const struct inner *in, uint32_t offset, xv_delta_t change,
			       bool zero_is_none)
{
	uint8_t *field = data + in->l4 + offset;
	uint16_t csum;

	if (change == 0 || in->l4 + offset + 2 > in->end)
		return 0;
	csum = xv_load16(field);
	if (zero_is_none && csum == 0)
		return 0;
	csum = xv_csum_apply(csum, change);
	if (zero_is_none && csum == 0)
		csum = 0xffff;
	return xv_replace16(field, csum);
}

/* The inner transport header; pseudo: how its pseudo-header changed. */
static xv_delta_t set_inner_l4(uint8_t *data, const struct inner *in, const struct xv_icmp_inner *to, xv_delta_t pseudo)
{
	uint8_t *th = data + in->l4;
	xv_delta_t delta = 0;

	if (has_ports(in->proto)) {
		if (to->src_port != xv_load16(th))
			delta += xv_replace16(th, to->src_port);
		if (to->dst_port != xv_load16(th + 2))
			delta += xv_replace16(th + 2, to->dst_port);
	} else if (is_query(data, in) && to->src_port != xv_load16(th + ICMP_ID)) {
		delta += xv_replace16(th + ICMP_ID, to->src_port);
	}
	switch (in->proto) {
	case IPPROTO_TCP:
		return delta + update_inner(data, in, TCP_CSUM, pseudo + delta, false);
	case IPPROTO_UDP:
		return delta + update_inner(data, in, UDP_CSUM, pseudo + delta, true);
	case IPPROTO_ICMP:
		return delta + update_inner(data, in, ICMP_CSUM, delta, false);
	case IPPROTO_ICMPV6:
		return delta + update_inner(data, in, ICMP_CSUM, pseudo + delta, false);
	default:
		return delta;
	}
}

static xv_delta_t set_ipv4(uint8_t *ip, const struct xv_icmp_inner *to, xv_delta_t *pseudo)
{
	xv_delta_t delta = 0;

	if (to->src.words[3] != xv_load32(ip + 12))
		delta += xv_replace32(ip + 12, to->src.words[3]);
	if (to->dst.words[3] != xv_load32(ip + 16))
		delta += xv_replace32(ip + 16, to->dst.words[3]);
	*pseudo = delta;
	if (delta != 0)
		delta += xv_replace16(ip + 10, xv_csum_apply(xv_load16(ip + 10), delta));
	return delta;
}

static xv_delta_t set_ipv6(uint8_t *ip, const struct xv_icmp_inner *to, bool routed, xv_delta_t *pseudo)
{
	xv_delta_t src = 0, dst = 0;

	if (memcmp(ip + 8, &to->src, 16) != 0)
		src = xv_replace_ipv6(ip + 8, to->src.words);
	if (memcmp(ip + 24, &to->dst, 16) != 0)
		dst = xv_replace_ipv6(ip + 24, to->dst.words);
	*pseudo = routed ? src : src + dst;
	return src + dst;
}

int xv_icmp_set_inner(struct rte_mbuf *m, const struct xv_flow_layout *layout, bool ipv6,
		      const struct xv_icmp_inner *to)
{
	uint8_t *data = rte_pktmbuf_mtod(m, uint8_t *);
	xv_delta_t delta, pseudo;
	struct inner in;
	int rc = find(m, layout, ipv6, &in);

	if (rc != 0)
		return rc;
	if (in.proto != to->proto)
		return -EINVAL;
	delta = ipv6 ? set_ipv6(data + in.ip, to, in.routed, &pseudo) : set_ipv4(data + in.ip, to, &pseudo);
	if (in.l4 != 0)
		delta += set_inner_l4(data, &in, to, pseudo);
	xv_csum_update_l4(m, layout->l4, ICMP_CSUM, 0, delta, false);
	return 0;
}
