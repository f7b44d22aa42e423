/* SPDX-License-Identifier: Apache-2.0 */
/* Packets and ports as text, for people. Control thread. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "control/host.h"

/* Name of a port by its id, or NULL. arg: struct xv_host. For xv_flow_format() and xv_actions_format(). */
const char *xv_packet_text_port(uint32_t port, void *arg);

#define XV_PACKET_TEXT_FLOW 12288

struct xv_flow;
/* "id:17, MATCH, actions:ACTIONS, origin:web: http" into buf, which is returned; what is longer is cut. */
const char *xv_packet_text_flow(struct xv_host *host, const struct xv_flow *flow, char *buf, size_t size);

/* What a frame is, in the syntax of a flow's match, from its first n bytes; it has packet_bytes in all. buf: of
 * XV_FLOW_TEXT_SIZE. */
void xv_packet_text(struct xv_host *host, uint32_t in_port, const uint8_t *bytes, uint16_t n, uint32_t packet_bytes,
		    char *buf, size_t size);
