/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packets out: the control thread hands a packet with actions to a worker, which carries them out as it would for a packet
 * that came in (OVS_PACKET_CMD_EXECUTE). Bounded: what waits is given back when a worker has done it.
 */
#pragma once

#include <stdint.h>

#include <rte_mbuf.h>

#include "fastpath/action.h"
#include "net/flow_key.h"

struct xv_worker;

struct xv_packet_out {
	struct xv_flow_key key; /* metadata and tunnel; the packet's fields come from its bytes */
	struct xv_actions *actions;
	struct rte_mbuf *m; /* m->port: the port that the packet counts for: as one copy more */
};

/* control, with the flows. 0 or -ENOMEM. */
int xv_packet_outs_init(void);
void xv_packet_outs_fini(void);
/*
 * control. Actions passed xv_actions_check(), and are taken over, also on error. -ENOBUFS: too many wait, or no packet
 * memory; -ENETDOWN: no worker; -EMSGSIZE.
 */
int xv_packet_out(uint16_t port_id, const struct xv_flow_key *key, struct xv_actions *actions, const uint8_t *data,
		  uint32_t len);
/* control: free what is done. */
void xv_packet_outs_reap(void);
