/* SPDX-License-Identifier: Apache-2.0 */
#include "net/packet.h"

#include <errno.h>

#include <rte_errno.h>
#include <rte_mbuf_dyn.h>

int xv_packet_init(void)
{
	static const struct rte_mbuf_dynflag flag = {.name = "xv_packet_offload"};
	int bit = rte_mbuf_dynflag_register_bitnum(&flag, XV_PACKET_OFFLOAD_BIT);

	if (bit < 0)
		return -rte_errno;
	return bit == XV_PACKET_OFFLOAD_BIT ? 0 : -EBUSY;
}
