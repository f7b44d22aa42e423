/* SPDX-License-Identifier: Apache-2.0 */
#include "net/packet.h"

#include <errno.h>

#include <rte_errno.h>
#include <rte_mbuf_dyn.h>

static int reserve(const struct rte_mbuf_dynflag *flag, int wanted)
{
	int bit = rte_mbuf_dynflag_register_bitnum(flag, (unsigned int)wanted);

	if (bit < 0)
		return -rte_errno;
	return bit == wanted ? 0 : -EBUSY;
}

int xv_packet_init(void)
{
	static const struct rte_mbuf_dynflag offload = {.name = "xv_packet_offload"}, traced = {.name = "xv_packet_traced"};
	static const struct rte_mbuf_dynflag hashed = {.name = "xv_packet_hashed"}, queued = {.name = "xv_packet_queued"};
	int rc = reserve(&offload, XV_PACKET_OFFLOAD_BIT);

	if (rc == 0)
		rc = reserve(&traced, XV_PACKET_TRACED_BIT);
	if (rc == 0)
		rc = reserve(&hashed, XV_PACKET_HASHED_BIT);
	return rc != 0 ? rc : reserve(&queued, XV_PACKET_QUEUED_BIT);
}
