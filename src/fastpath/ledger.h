/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ledger: where the packets of a port went. Written by workers (one writer per cell), read by the
 * control thread. For every input port, exactly, whenever traffic is quiet:
 *
 *     rx_packets + copies = forwarded + punts + sum(drops) + held
 *
 * tx_* counts what was sent out of this port, whichever port it came from.
 *
 * Tunnels: what the uplink receives and is decapsulated counts as forwarded by the uplink, and as received by the
 * tunnel's port (inner bytes), which has to account for it from then on. What is sent into a tunnel counts as tx of the
 * tunnel's port when it gets its outer headers (inner bytes, before segmentation), and as tx of the uplink and forwarded
 * by its own input port when it was sent.
 */
#pragma once

#include <stdint.h>

#include "port/port.h"

struct xv_ledger {
	uint64_t rx_packets, rx_bytes;	/* taken in from this port (also injected ones) */
	uint64_t copies;		/* added by flooding, segmentation and fragmenting, and answers */
	uint64_t forwarded;		/* sent out of some other port */
	uint64_t punts;			/* handed to a slow path */
	uint64_t held;			/* waiting for room in an output queue */
	uint64_t tx_packets, tx_bytes;
	/* ICMP errors and TCP resets for what came in from this port and could not or must not go on: sent back to it, and
	 * not sent, because there were too many (answer.c). Those sent are in `copies` too. */
	uint64_t answers, answers_limited;
	uint64_t drops[XV_DROP_MAX];
};

/* control. Sum over all workers, living and gone, plus what the port itself refused (headers). */
void xv_ledger_read(struct xv_port *port, struct xv_ledger *ledger);
/* control. Packets that the control thread itself sent out of the port (ARP, ND, ICMP of a VTEP). */
void xv_ledger_add_tx(uint16_t port_id, uint64_t packets, uint64_t bytes);
/* control. The id is about to be given to a new port: forget. No worker may know the id. */
void xv_ledger_reset(uint16_t port_id);
