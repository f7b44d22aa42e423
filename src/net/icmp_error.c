/* SPDX-License-Identifier: Apache-2.0 */
#include "net/icmp_error.h"

#include <stdbool.h>
#include <string.h>

#include "net/bytes.h"
#include "net/checksum.h"
#include "net/parse.h"

#define ETH_IPV4     0x0800
#define ETH_IPV6     0x86dd
#define IPV4_LEN     20
#define IPV6_LEN     40
#define TCP_LEN      20
#define ICMP_LEN     8
#define PROTO_TCP    6
#define PROTO_ICMP   1
#define PROTO_ICMPV6 58
#define TTL          64

#define TOS_INTERNETWORK_CONTROL 0xc0 /* RFC 1812 section 4.3.2.5 */

/* Lengths of whole ICMP error packets, at most. */
#define ICMPV4_PACKET_MAX 576  /* RFC 1812 section 4.3.2.3 */
#define ICMPV6_PACKET_MAX 1280 /* RFC 4443 section 3.1: the minimum IPv6 MTU */

#define ICMPV4_UNREACHABLE          3
#define ICMPV4_FRAGMENTATION_NEEDED 4 /* a code */
#define ICMPV6_UNREACHABLE          1
#define ICMPV6_TOO_BIG              2
#define ICMPV6_REDIRECT             137

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

/* An offender that may be answered. */
struct offender {
	const uint8_t *frame, *ip, *l4;
	const uint8_t *from; /* who answers: the offender's destination, or a router */
	struct xv_parsed parsed;
	uint32_t ip_len, seen; /* of the IP packet, without padding; and how much of it is there to be quoted */
	bool ipv6;
};

static void put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static void put32(uint8_t *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, v);
}

/* One host, and one that we can answer: no multicast, broadcast, loopback; no address that means "none". */
static bool is_host4(const uint8_t *addr)
{
	return addr[0] != 0 && addr[0] != 127 && addr[0] < 224;
}

static bool is_host6(const uint8_t *addr)
{
	static const uint8_t none_or_loopback[15];

	return addr[0] != 0xff && !(memcmp(addr, none_or_loopback, 15) == 0 && addr[15] <= 1);
}

/* Types that ask or tell; all others are errors, or may be. */
static bool is_icmp4_query(uint8_t type)
{
	switch (type) {
	case 0: /* echo reply */
	case 8: /* echo */
	case 9: /* router advertisement, solicitation: RFC 1256 */
	case 10:
	case 13: /* timestamp */
	case 14:
	case 15: /* information */
	case 16:
	case 17: /* address mask */
	case 18:
	case 42: /* extended echo: RFC 8335 */
	case 43:
		return true;
	default:
		return false;
	}
}

static bool is_icmp_error(const struct offender *o)
{
	if (!o->ipv6)
		return o->parsed.ip_proto == PROTO_ICMP && !is_icmp4_query(o->l4[0]);
	/* RFC 4443 section 2.1: errors are those below 128. */
	return o->parsed.ip_proto == PROTO_ICMPV6 && (o->l4[0] < 128 || o->l4[0] == ICMPV6_REDIRECT);
}

static bool is_answerable(const uint8_t *frame, uint16_t len, uint32_t frame_len, struct offender *o)
{
	struct xv_parsed *p = &o->parsed;

	/* The transport header is "not there" in fragments other than the first, and behind what was not seen. */
	if (xv_parse(frame, len, frame_len, p) != XV_PARSE_OK || p->l3_offset == 0 || p->l4_offset == 0 ||
	    ((frame[0] | frame[6]) & 1) != 0)
		return false;
	o->frame = frame;
	o->ip = frame + p->l3_offset;
	o->l4 = frame + p->l4_offset;
	o->ipv6 = p->eth_type == ETH_IPV6;
	if (o->ipv6) {
		if (!is_host6(o->ip + 8) || !is_host6(o->ip + 24))
			return false;
		o->ip_len = IPV6_LEN + xv_load_be16(o->ip + 4);
		o->from = o->ip + 24;
	} else {
		if (!is_host4(o->ip + 12) || !is_host4(o->ip + 16))
			return false;
		o->ip_len = xv_load_be16(o->ip + 2);
		o->from = o->ip + 16;
	}
	o->seen = (len < frame_len ? len : frame_len) - p->l3_offset;
	if (o->seen > o->ip_len)
		o->seen = o->ip_len;
	return !is_icmp_error(o);
}

/* Ethernet and IP headers of the answer, with payload_len bytes to follow. Returns where. */
static uint8_t *put_headers(const struct offender *o, uint8_t proto, uint32_t payload_len, uint8_t *answer)
{
	uint8_t *ip = answer + o->parsed.l3_offset;
	uint16_t sum;

	memcpy(answer, o->frame, o->parsed.l3_offset);
	memcpy(answer, o->frame + 6, 6);
	memcpy(answer + 6, o->frame, 6);
	if (o->ipv6) {
		put32(ip, UINT32_C(6) << 28);
		put16(ip + 4, payload_len);
		ip[6] = proto;
		ip[7] = TTL;
		memcpy(ip + 8, o->from, 16);
		memcpy(ip + 24, o->ip + 8, 16);
		return ip + IPV6_LEN;
	}
	ip[0] = 0x45;
	ip[1] = proto == PROTO_ICMP ? TOS_INTERNETWORK_CONTROL : 0;
	put16(ip + 2, IPV4_LEN + payload_len);
	put16(ip + 4, 0); /* no id: it is not to be fragmented (RFC 6864 section 4.1) */
	put16(ip + 6, 0x4000);
	ip[8] = TTL;
	ip[9] = proto;
	put16(ip + 10, 0);
	memcpy(ip + 12, o->from, 4);
	memcpy(ip + 16, o->ip + 12, 4);
	sum = (uint16_t)~xv_csum_sum(ip, IPV4_LEN);
	memcpy(ip + 10, &sum, sizeof(sum));
	return ip + IPV4_LEN;
}

/* Sum of the pseudo-header of an answer: in which order the addresses are makes no difference. */
static uint16_t pseudo_sum(const struct offender *o, uint8_t proto, uint32_t l4_len)
{
	return o->ipv6 ? xv_csum_pseudo6(o->ip + 8, o->from, proto, l4_len)
		       : xv_csum_pseudo4(o->ip + 12, o->from, proto, l4_len);
}

/* info: the second word of the ICMP header. */
static uint32_t put_error(const struct offender *o, uint8_t type, uint8_t code, uint32_t info, uint8_t *answer)
{
	const uint32_t headers = (o->ipv6 ? IPV6_LEN : IPV4_LEN) + ICMP_LEN;
	const uint32_t max = (o->ipv6 ? ICMPV6_PACKET_MAX : ICMPV4_PACKET_MAX) - headers;
	const uint32_t quoted = o->seen < max ? o->seen : max;
	uint8_t *icmp = put_headers(o, o->ipv6 ? PROTO_ICMPV6 : PROTO_ICMP, ICMP_LEN + quoted, answer);
	uint16_t sum;

	icmp[0] = type;
	icmp[1] = code;
	put16(icmp + 2, 0);
	put32(icmp + 4, info);
	memcpy(icmp + ICMP_LEN, o->ip, quoted);
	sum = xv_csum_sum(icmp, ICMP_LEN + quoted);
	if (o->ipv6)
		sum = xv_csum_add(sum, pseudo_sum(o, PROTO_ICMPV6, ICMP_LEN + quoted));
	sum = (uint16_t)~sum;
	memcpy(icmp + 2, &sum, sizeof(sum));
	return o->parsed.l3_offset + headers + quoted;
}

uint32_t xv_icmp_too_big(const uint8_t *frame, uint16_t len, uint32_t frame_len, uint32_t mtu, uint8_t *answer)
{
	struct offender o;

	if (!is_answerable(frame, len, frame_len, &o))
		return 0;
	if (o.ipv6)
		return put_error(&o, ICMPV6_TOO_BIG, 0, mtu, answer);
	/* The upper half of the word is unused. */
	return put_error(&o, ICMPV4_UNREACHABLE, ICMPV4_FRAGMENTATION_NEEDED, mtu < UINT16_MAX ? mtu : UINT16_MAX,
			 answer);
}

uint32_t xv_icmp_unreachable(const uint8_t *frame, uint16_t len, uint32_t frame_len, uint8_t code4, uint8_t code6,
			     uint8_t *answer)
{
	struct offender o;

	if (!is_answerable(frame, len, frame_len, &o))
		return 0;
	return put_error(&o, o.ipv6 ? ICMPV6_UNREACHABLE : ICMPV4_UNREACHABLE, o.ipv6 ? code6 : code4, 0, answer);
}

uint32_t xv_icmp_router_error(enum xv_router_error error, const uint8_t *from, const uint8_t *frame, uint16_t len,
			      uint32_t frame_len, uint8_t *answer)
{
	static const struct {
		uint8_t type4, code4, type6, code6;
	} errors[] = {
		[XV_ROUTER_TIME_EXCEEDED] = {11, 0, 3, 0},
		[XV_ROUTER_NO_ROUTE] = {ICMPV4_UNREACHABLE, 0, ICMPV6_UNREACHABLE, 0},
		[XV_ROUTER_NO_HOST] = {ICMPV4_UNREACHABLE, 1, ICMPV6_UNREACHABLE, 3},
	};
	struct offender o;

	if (!is_answerable(frame, len, frame_len, &o))
		return 0;
	o.from = from;
	return o.ipv6 ? put_error(&o, errors[error].type6, errors[error].code6, 0, answer)
		      : put_error(&o, errors[error].type4, errors[error].code4, 0, answer);
}

uint32_t xv_tcp_reset(const uint8_t *frame, uint16_t len, uint32_t frame_len, uint8_t *answer)
{
	struct offender o;
	uint32_t seg_len;
	uint8_t *tcp;
	uint16_t sum;

	if (!is_answerable(frame, len, frame_len, &o) || o.parsed.ip_proto != PROTO_TCP || o.parsed.fragment ||
	    (o.l4[13] & TCP_RST) != 0)
		return 0;
	tcp = put_headers(&o, PROTO_TCP, TCP_LEN, answer);
	memset(tcp, 0, TCP_LEN);
	memcpy(tcp, o.l4 + 2, 2);
	memcpy(tcp + 2, o.l4, 2);
	tcp[12] = TCP_LEN / 4 << 4;
	tcp[13] = TCP_RST;
	if ((o.l4[13] & TCP_ACK) != 0) {
		memcpy(tcp + 4, o.l4 + 8, 4); /* what it takes for the next one of ours */
	} else {
		seg_len = o.ip_len - (o.parsed.l4_offset - o.parsed.l3_offset) - o.parsed.l4_len;
		seg_len += (o.l4[13] & TCP_SYN) != 0;
		seg_len += (o.l4[13] & TCP_FIN) != 0;
		put32(tcp + 8, xv_load_be32(o.l4 + 4) + seg_len);
		tcp[13] |= TCP_ACK;
	}
	sum = xv_csum_add(pseudo_sum(&o, PROTO_TCP, TCP_LEN), xv_csum_sum(tcp, TCP_LEN));
	sum = (uint16_t)~sum;
	memcpy(tcp + 16, &sum, sizeof(sum));
	return (uint32_t)(tcp - answer) + TCP_LEN;
}
