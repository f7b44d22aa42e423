/* SPDX-License-Identifier: Apache-2.0 */
#include "net/tcp_edit.h"

#include <errno.h>

#include "net/packet_share.h"
#include "net/replace.h"

#define TCP_LEN   20
#define TCP_SEQ   4
#define TCP_ACK   8
#define TCP_FLAGS 13
#define TCP_CSUM  16
#define FLAG_ACK  0x10

#define OPTION_END  0
#define OPTION_NOP  1
#define OPTION_SACK 5
#define SACK_BLOCK  8

#define IPV6_LEN 40

/* A number of a SACK block: options may begin anywhere, the checksum's words do not. */
static xv_delta_t replace_edge(uint8_t *th, uint32_t offset, const struct xv_tcp_shift *shift, bool left)
{
	uint32_t edge = xv_tcp_shift_back(shift, xv_load_be32(th + offset), left);
	xv_delta_t delta = xv_replace32(th + offset, rte_cpu_to_be_32(edge));

	return offset % 2 ? xv_csum_odd(xv_delta_fold(delta)) : delta;
}

static xv_delta_t shift_sacks(uint8_t *th, uint32_t header_len, const struct xv_tcp_shift *shift)
{
	uint32_t at = TCP_LEN, i, len;
	xv_delta_t delta = 0;

	while (at < header_len && th[at] != OPTION_END) {
		if (th[at] == OPTION_NOP) {
			at++;
			continue;
		}
		if (at + 2 > header_len || th[at + 1] < 2 || at + th[at + 1] > header_len)
			break;
		len = th[at + 1];
		if (th[at] == OPTION_SACK)
			for (i = 2; i + SACK_BLOCK <= len; i += SACK_BLOCK)
				delta += replace_edge(th, at + i, shift, true) +
					 replace_edge(th, at + i + 4, shift, false);
		at += len;
	}
	return delta;
}

int xv_tcp_shift_apply(struct rte_mbuf *m, const struct xv_flow_layout *layout, const struct xv_tcp_shift *own,
		       const struct xv_tcp_shift *other)
{
	uint32_t l4 = layout->l4, header_len = layout->l4_len;
	xv_delta_t delta;
	uint8_t *th;

	if (l4 == 0 || header_len < TCP_LEN || l4 + header_len > m->data_len)
		return -EINVAL;
	th = rte_pktmbuf_mtod_offset(m, uint8_t *, l4);
	delta = xv_replace32(th + TCP_SEQ, rte_cpu_to_be_32(xv_tcp_shift_seq(own, xv_load_be32(th + TCP_SEQ))));
	if (th[TCP_FLAGS] & FLAG_ACK) {
		uint32_t ack = xv_tcp_shift_back(other, xv_load_be32(th + TCP_ACK), false);

		delta += xv_replace32(th + TCP_ACK, rte_cpu_to_be_32(ack));
		delta += shift_sacks(th, header_len, other);
	}
	xv_csum_update_l4(m, l4, TCP_CSUM, 0, delta, false);
	return 0;
}

/* The IP header's length field. */
static int set_ip_len(uint8_t *ip, bool ipv6, uint32_t len)
{
	xv_delta_t delta;

	if (ipv6)
		len -= IPV6_LEN;
	if (len > UINT16_MAX)
		return -EMSGSIZE;
	if (ipv6) {
		xv_store16(ip + 4, rte_cpu_to_be_16((uint16_t)len));
		return 0;
	}
	delta = xv_replace16(ip + 2, rte_cpu_to_be_16((uint16_t)len));
	xv_store16(ip + 10, xv_csum_apply(xv_load16(ip + 10), delta));
	return 0;
}

int xv_tcp_replace(struct rte_mbuf *m, struct xv_flow_layout *layout, bool ipv6, uint32_t offset, uint32_t old_len,
		   const uint8_t *text, uint32_t len)
{
	uint32_t l4 = layout->l4, end = layout->payload_end, even, new_end;
	xv_delta_t pseudo, body;
	uint8_t *data;
	int rc;

	if (l4 == 0 || layout->l4_len < TCP_LEN || l4 + layout->l4_len > offset || offset + old_len < offset ||
	    offset + old_len > end || end > m->pkt_len || !xv_packet_writable(m))
		return -EINVAL;
	if (rte_pktmbuf_linearize(m) != 0)
		return -ENOBUFS;
	if (len > old_len && len - old_len > rte_pktmbuf_tailroom(m))
		return -ENOBUFS;
	data = rte_pktmbuf_mtod(m, uint8_t *);
	new_end = end - old_len + len;
	rc = set_ip_len(data + layout->l3, ipv6, new_end - layout->l3);
	if (rc != 0)
		return rc;
	pseudo = xv_delta16(rte_cpu_to_be_16((uint16_t)(end - l4)), rte_cpu_to_be_16((uint16_t)(new_end - l4)));
	even = offset - (offset - l4) % 2;
	body = (uint16_t)~xv_csum_sum(data + even, end - even);
	memmove(data + offset + len, data + offset + old_len, m->pkt_len - offset - old_len);
	memcpy(data + offset, text, len);
	body += xv_csum_sum(data + even, new_end - even);
	m->data_len = (uint16_t)(m->data_len - old_len + len);
	m->pkt_len = m->data_len;
	layout->payload_end = new_end;
	xv_csum_update_l4(m, l4, TCP_CSUM, pseudo, body, false);
	return 0;
}
