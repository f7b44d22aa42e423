/* SPDX-License-Identifier: Apache-2.0 */
#include "control/packet_text.h"

#include <stdio.h>
#include <string.h>

#include "fastpath/action_format.h"
#include "fastpath/flow.h"
#include "net/flow_format.h"

const char *xv_packet_text_port(uint32_t port, void *arg)
{
	const struct xv_host *host = arg;

	return port < XV_MAX_PORTS && host->ports[port] != NULL ? host->ports[port]->port->name : NULL;
}

void xv_packet_text(struct xv_host *host, uint32_t in_port, const uint8_t *bytes, uint16_t n, uint32_t packet_bytes,
		    char *buf, size_t size)
{
	struct xv_flow_key key = {.in_port = in_port}, mask = {.in_port = UINT32_MAX};
	struct xv_flow_layout layout;

	if (xv_flow_extract(bytes, n, packet_bytes, &key, &layout) == XV_FLOW_RUNT) {
		snprintf(buf, size, "too short to be a frame");
		return;
	}
	/* All of the packet, nothing of where it is in the pipeline. */
	memset((uint64_t *)(void *)&mask + XV_FLOW_STAGE_L2, 0xff, (XV_FLOW_FIXED_WORDS - XV_FLOW_STAGE_L2) * 8);
	(void)xv_flow_format(buf, size, &key, &mask, xv_packet_text_port, host);
}

const char *xv_packet_text_flow(struct xv_host *host, const struct xv_flow *flow, char *buf, size_t size)
{
	char match[XV_FLOW_TEXT_SIZE], actions[4096];
	struct xv_flow_key key, mask;

	xv_flow_match(flow, &key, &mask);
	(void)xv_flow_format(match, sizeof(match), &key, &mask, xv_packet_text_port, host);
	(void)xv_actions_format(actions, sizeof(actions), atomic_load(&flow->actions), &key, xv_packet_text_port, host);
	snprintf(buf, size, "id:%llu, %s, actions:%s%s%s", (unsigned long long)flow->id, match, actions,
		 flow->origin[0] ? ", origin:" : "", flow->origin);
	return buf;
}
