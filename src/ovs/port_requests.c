/* SPDX-License-Identifier: Apache-2.0 */
#include "ovs/port_requests.h"

#include <errno.h>

#include "fastpath/ledger.h"
#include "ovs/datapath.h"

/* A text of the request in a buffer of its own; NULL: there is none, or it is too long. */
static const char *text(const void *items, uint32_t len, uint16_t type, char *buf, size_t size)
{
	const struct xv_ovs_item *item = xv_ovs_find(items, len, type);

	if (item == NULL || item->len == 0 || item->len >= size || memchr(xv_ovs_body(item), '\0', item->len) != NULL)
		return NULL;
	memcpy(buf, xv_ovs_body(item), item->len);
	buf[item->len] = '\0';
	return buf;
}

int xv_ovs_request_port_add(struct xv_ovs_datapath *dp, const void *items, uint32_t len, struct xv_ovs_message *m)
{
	char name[XV_NAME_LEN], type[32], socket[108], device[256];
	struct xv_ovs_port_config config = {
		.name = text(items, len, XV_OVS_NAME, name, sizeof(name)),
		.netdev_type = text(items, len, XV_OVS_NETDEV_TYPE, type, sizeof(type)),
		.socket = text(items, len, XV_OVS_SOCKET_PATH, socket, sizeof(socket)),
		.device = text(items, len, XV_OVS_DEVICE, device, sizeof(device)),
		.kind = xv_ovs_u32(items, len, XV_OVS_KIND, 0),
		.tunnel = xv_ovs_u32(items, len, XV_OVS_TUNNEL_TYPE, 0),
		.number = xv_ovs_u32(items, len, XV_OVS_NUMBER, UINT32_MAX),
		.queues = xv_ovs_u32(items, len, XV_OVS_QUEUES, 1),
		.udp_port = (uint16_t)xv_ovs_u32(items, len, XV_OVS_UDP_PORT, 0),
		.client = xv_ovs_find(items, len, XV_OVS_CLIENT) != NULL,
		.gbp = xv_ovs_find(items, len, XV_OVS_GBP) != NULL,
	};
	struct xv_err err = {0};
	char sentence[sizeof(err)];
	uint32_t number;
	int rc = 0;

	if (config.name == NULL || config.netdev_type == NULL || config.queues == 0 || config.queues > XV_MAX_QUEUES)
		return -EINVAL;
	switch (config.kind) {
	case XV_OVS_PORT_KERNEL:
	case XV_OVS_PORT_INTERNAL:
	case XV_OVS_PORT_DEVICE:
		rc = config.device == NULL ? -EINVAL : 0;
		break;
	case XV_OVS_PORT_VHOST:
		rc = config.socket == NULL ? -EINVAL : 0;
		break;
	case XV_OVS_PORT_TUNNEL:
		rc = config.tunnel < XV_OVS_TUNNEL_VXLAN || config.tunnel > XV_OVS_TUNNEL_GRE ? -EINVAL : 0;
		break;
	default:
		rc = -EINVAL;
	}
	if (rc == 0)
		rc = xv_ovs_port_add(dp, &config, &number, &err);
	if (rc == 0)
		xv_ovs_put_u32(m, XV_OVS_NUMBER, number);
	else if (err.code != XV_ERR_NONE)
		xv_ovs_put_text(m, XV_OVS_ERROR_TEXT, xv_err_sentence(&err, NULL, sentence, sizeof(sentence)));
	return rc;
}

static void put_port(struct xv_ovs_message *m, const struct xv_ovs_port *p)
{
	uint32_t at = xv_ovs_open(m, XV_OVS_PORT);

	xv_ovs_put_u32(m, XV_OVS_NUMBER, p->number);
	xv_ovs_put_text(m, XV_OVS_NAME, p->name);
	xv_ovs_put_text(m, XV_OVS_NETDEV_TYPE, p->netdev_type);
	xv_ovs_close(m, at);
}

static const struct xv_ovs_port *find(const struct xv_ovs_datapath *dp, const void *items, uint32_t len)
{
	const struct xv_ovs_item *name = xv_ovs_find(items, len, XV_OVS_NAME);

	if (name != NULL)
		return xv_ovs_port_by_name(dp, xv_ovs_body(name), name->len);
	return xv_ovs_port_by_number(dp, xv_ovs_u32(items, len, XV_OVS_NUMBER, UINT32_MAX));
}

int xv_ovs_request_port_get(const struct xv_ovs_datapath *dp, const void *items, uint32_t len, struct xv_ovs_message *m)
{
	const struct xv_ovs_port *p = find(dp, items, len);

	if (p == NULL)
		return -ENODEV;
	put_port(m, p);
	return 0;
}

void xv_ovs_request_port_dump(const struct xv_ovs_datapath *dp, struct xv_ovs_message *m)
{
	unsigned int id;

	for (id = 0; id < XV_MAX_PORTS; id++)
		if (dp->by_id[id] != NULL)
			put_port(m, dp->by_id[id]);
}

int xv_ovs_request_port_stats(const struct xv_ovs_datapath *dp, const void *items, uint32_t len, struct xv_ovs_message *m)
{
	const struct xv_ovs_port *p = find(dp, items, len);
	struct xv_ovs_port_stats stats = {0};
	struct xv_port_info info = {0};
	struct xv_ledger ledger;
	struct xv_port *port;
	unsigned int i;

	if (p == NULL)
		return -ENODEV;
	port = xv_ovs_port_device(dp, p)->port;
	xv_ledger_read(port, &ledger);
	port->ops->info(port, &info);
	stats.rx_packets = ledger.rx_packets;
	stats.rx_bytes = ledger.rx_bytes;
	stats.tx_packets = ledger.tx_packets;
	stats.tx_bytes = ledger.tx_bytes;
	stats.up = info.state == XV_PORT_UP;
	for (i = 0; i < XV_DROP_MAX; i++)
		stats.rx_dropped += ledger.drops[i];
	xv_ovs_put(m, XV_OVS_PORT_STATS_ITEM, &stats, sizeof(stats));
	for (i = 0; i < XV_DROP_MAX; i++) {
		struct {
			uint64_t n;
			char name[64];
		} counter = {.n = ledger.drops[i]};

		if (ledger.drops[i] == 0)
			continue;
		snprintf(counter.name, sizeof(counter.name), "drop-%s", xv_drop_info[i].name);
		xv_ovs_put(m, XV_OVS_COUNTER, &counter, (uint32_t)(sizeof(counter.n) + strlen(counter.name)));
	}
	return 0;
}
