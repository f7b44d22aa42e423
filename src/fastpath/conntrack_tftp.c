/* SPDX-License-Identifier: Apache-2.0 */
/* TFTP (RFC 1350): the server answers a request from a port of its own choice, to the port that the request came from.
 */
#include "fastpath/conntrack_helper.h"

#include <netinet/in.h>

#include <rte_mbuf.h>

#include "net/bytes.h"
#include "net/packet_share.h"

#define UDP_LEN       8
#define READ_REQUEST  1
#define WRITE_REQUEST 2

int xv_ct_tftp_packet(struct xv_ct_helpers *helpers, struct xv_conn *conn, enum xv_ct_dir dir, const struct rte_mbuf *m,
		      const struct xv_flow_layout *layout, uint32_t now_ms)
{
	const struct xv_ct_tuple *original = &conn->tuple[XV_CT_ORIGINAL], *reply = &conn->tuple[XV_CT_REPLY];
	uint32_t at = layout->l4 + (uint32_t)UDP_LEN;
	uint8_t copy[2];
	const uint8_t *opcode;

	if (dir != XV_CT_ORIGINAL || original->proto != IPPROTO_UDP || at + sizeof(copy) > layout->payload_end)
		return 0;
	opcode = xv_packet_read(m, at, sizeof(copy), copy);
	if (!opcode || (xv_load_be16(opcode) != READ_REQUEST && xv_load_be16(opcode) != WRITE_REQUEST))
		return 0;
	return xv_ct_expect(helpers, conn, XV_CT_REPLY, reply->dst_port, original->src_port, false, now_ms);
}
