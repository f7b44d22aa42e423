/* SPDX-License-Identifier: Apache-2.0 */
#include "net/fragment.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include <rte_mbuf.h>

#include "net/bytes.h"
#include "net/checksum.h"
#include "net/packet.h"
#include "net/packet_cut.h"
#include "net/parse.h"

#define ETH_IPV4 0x0800
#define IPV4_LEN 20
#define L2_MAX   46 /* Ethernet and the VLAN tags that xv_parse_eth() reads */
#define IPV4_MAX 60

#define DONT_FRAGMENT  0x4000
#define MORE_FRAGMENTS 0x2000
#define OFFSET         0x1fff /* counts 8 bytes each */

#define OPTION_END    0
#define OPTION_NOP    1
#define OPTION_COPIED 0x80 /* flag in its type: into all fragments */

/* The packet to be cut: its headers, and those of fragments behind the first. */
struct packet {
	uint8_t first[L2_MAX + IPV4_MAX], rest[L2_MAX + IPV4_MAX];
	uint32_t l3, first_len, rest_len; /* with the Ethernet header */
	uint32_t payload_len;
	uint16_t position; /* flags and offset as they were */
};

/* The options that are to be in every fragment, filled up to words. -EPROTO: one that reaches beyond the header. */
static int copy_options(const uint8_t *options, uint32_t len, uint8_t *to)
{
	uint32_t i, n, copied = 0;

	for (i = 0; i < len && options[i] != OPTION_END; i += n) {
		if (options[i] == OPTION_NOP) {
			n = 1; /* only aligns what follows */
			continue;
		}
		if (len - i < 2 || options[i + 1] < 2 || options[i + 1] > len - i)
			return -EPROTO;
		n = options[i + 1];
		if ((options[i] & OPTION_COPIED) == 0)
			continue;
		memcpy(to + copied, options + i, n);
		copied += n;
	}
	for (; copied % 4 != 0; copied++)
		to[copied] = OPTION_END;
	return (int)copied;
}

static int read_packet(const struct rte_mbuf *m, struct packet *p)
{
	struct xv_cursor c = xv_cursor_at(m, 0);
	uint32_t len = RTE_MIN(m->pkt_len, (uint32_t)sizeof(p->first)), header_len, total_len;
	struct xv_parsed parsed;
	const uint8_t *ip;
	int n;

	xv_cursor_read(&c, p->first, len);
	if (xv_parse_eth(p->first, (uint16_t)len, &parsed) != XV_PARSE_OK || parsed.l3_offset == 0 ||
	    parsed.eth_type != ETH_IPV4 || len < parsed.l3_offset + (uint32_t)IPV4_LEN)
		return -EPROTO;
	p->l3 = parsed.l3_offset;
	ip = p->first + p->l3;
	header_len = (ip[0] & 0xf) * 4u;
	total_len = xv_load_be16(ip + 2);
	if (ip[0] >> 4 != 4 || header_len < IPV4_LEN || total_len < header_len || total_len > m->pkt_len - p->l3)
		return -EPROTO;
	p->first_len = p->l3 + header_len;
	p->payload_len = total_len - header_len;
	p->position = xv_load_be16(ip + 6);
	/* All but the last one of a datagram hold multiples of 8 bytes, and none reaches beyond 65535. */
	if (((p->position & MORE_FRAGMENTS) != 0 && p->payload_len % 8 != 0) ||
	    (p->position & OFFSET) * 8u + p->payload_len > UINT16_MAX)
		return -EPROTO;
	memcpy(p->rest, p->first, p->l3 + IPV4_LEN);
	n = copy_options(ip + IPV4_LEN, header_len - IPV4_LEN, p->rest + p->l3 + IPV4_LEN);
	if (n < 0)
		return n;
	p->rest[p->l3] = (uint8_t)(0x40 | (IPV4_LEN + (uint32_t)n) / 4);
	p->rest_len = p->l3 + IPV4_LEN + (uint32_t)n;
	return 0;
}

static void finish_header(uint8_t *ip, uint32_t header_len, uint32_t payload_len, uint16_t position)
{
	uint16_t v = rte_cpu_to_be_16((uint16_t)(header_len + payload_len));

	memcpy(ip + 2, &v, sizeof(v));
	v = rte_cpu_to_be_16(position);
	memcpy(ip + 6, &v, sizeof(v));
	memset(ip + 10, 0, 2);
	v = (uint16_t)~xv_csum_sum(ip, header_len);
	memcpy(ip + 10, &v, sizeof(v));
}

int xv_ipv4_fragment(struct rte_mbuf *m, uint32_t mtu, struct rte_mempool *pool, struct rte_mbuf **out,
		     unsigned int max)
{
	uint32_t size, n, i, done, len;
	struct xv_cursor c;
	struct packet p;
	int rc;

	if ((m->ol_flags & XV_PACKET_OFFLOAD) != 0)
		return -EINVAL;
	rc = read_packet(m, &p);
	if (rc != 0)
		return rc;
	if ((p.position & DONT_FRAGMENT) != 0 || mtu < p.first_len - p.l3 + 8)
		return -EMSGSIZE;
	/* Those behind the first may have shorter headers; their payload is not longer for it. */
	size = (mtu - (p.first_len - p.l3)) & ~UINT32_C(7);
	n = p.payload_len <= size ? 1 : (p.payload_len - 1) / size + 1;
	if (n > max)
		return -E2BIG;
	rc = xv_pieces_alloc(m, pool, out, n);
	if (rc != 0)
		return rc;

	c = xv_cursor_at(m, p.first_len);
	for (i = 0, done = 0; i < n; i++, done += len) {
		const uint32_t header_len = i == 0 ? p.first_len : p.rest_len;
		uint8_t *headers = i == 0 ? p.first : p.rest;
		uint16_t position = (uint16_t)(p.position + done / 8);

		len = RTE_MIN(p.payload_len - done, size);
		if (i < n - 1)
			position |= MORE_FRAGMENTS;
		finish_header(headers + p.l3, header_len - p.l3, len, position);
		rc = xv_piece_fill(out[i], pool, headers, header_len, &c, len);
		if (rc != 0) {
			rte_pktmbuf_free_bulk(out, n);
			return rc;
		}
	}
	rte_pktmbuf_free(m);
	return (int)n;
}
