/* SPDX-License-Identifier: Apache-2.0 */
#include "ovs/port_requests.h"

#include <errno.h>

#include "fastpath/ledger.h"
#include "ovs/datapath.h"

#define ITEMS_MAX 8192 /* of a port: they are kept */
#define LIMIT_MAX UINT64_C(1000000000000) /* a second, of bits or packets */

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

/* Texts of a request, each ended by a NUL. */
struct texts {
	char name[XV_NAME_LEN], type[32], socket[108], device[256];
};

static bool read_queues(const void *items, uint32_t len, struct xv_ovs_port_config *config)
{
	const struct xv_ovs_item *item;
	struct xv_ovs_queue q;
	bool broken = false;
	uint32_t at = 0;

	while ((item = xv_ovs_next(items, len, &at, &broken)) != NULL) {
		if (item->type != XV_OVS_TX_QUEUE)
			continue;
		if (item->len != sizeof(q) || config->n_tx_queues == XV_OVS_QUEUES_MAX)
			return false;
		memcpy(&q, xv_ovs_body(item), sizeof(q));
		if (q.min_bps > LIMIT_MAX || q.max_bps > LIMIT_MAX || q.burst_ms == 0)
			return false;
		config->tx_queues[config->n_tx_queues++] =
			(struct xv_tx_queue_config){.id = q.id, .min_bps = q.min_bps, .max_bps = q.max_bps, .burst_ms = q.burst_ms};
	}
	return true;
}

/* What a port is to be. False: that makes no port. */
static bool read_config(const void *items, uint32_t len, struct texts *texts, struct xv_ovs_port_config *config)
{
	*config = (struct xv_ovs_port_config){
		.name = text(items, len, XV_OVS_NAME, texts->name, sizeof(texts->name)),
		.socket = text(items, len, XV_OVS_SOCKET_PATH, texts->socket, sizeof(texts->socket)),
		.device = text(items, len, XV_OVS_DEVICE, texts->device, sizeof(texts->device)),
		.items = items,
		.items_len = len,
		.kind = xv_ovs_u32(items, len, XV_OVS_KIND, 0),
		.tunnel = xv_ovs_u32(items, len, XV_OVS_TUNNEL_TYPE, 0),
		.number = xv_ovs_u32(items, len, XV_OVS_NUMBER, UINT32_MAX),
		.queues = xv_ovs_u32(items, len, XV_OVS_QUEUES, 1),
		.mtu = xv_ovs_u32(items, len, XV_OVS_MTU, 0),
		.limit_bps = xv_ovs_u64(items, len, XV_OVS_LIMIT_BPS, 0),
		.limit_pps = xv_ovs_u64(items, len, XV_OVS_LIMIT_PPS, 0),
		.limit_burst_ms = xv_ovs_u32(items, len, XV_OVS_LIMIT_BURST_MS, 10),
		.tx_bps = xv_ovs_u64(items, len, XV_OVS_TX_BPS, 0),
		.tx_burst_ms = xv_ovs_u32(items, len, XV_OVS_TX_BURST_MS, 10),
		.udp_port = (uint16_t)xv_ovs_u32(items, len, XV_OVS_UDP_PORT, 0),
		.client = xv_ovs_find(items, len, XV_OVS_CLIENT) != NULL,
		.gbp = xv_ovs_find(items, len, XV_OVS_GBP) != NULL,
	};

	if (!read_queues(items, len, config))
		return false;
	if (config->name == NULL || len > ITEMS_MAX || text(items, len, XV_OVS_NETDEV_TYPE, texts->type, sizeof(texts->type)) == NULL ||
	    config->queues == 0 || config->queues > XV_MAX_QUEUES || config->mtu > UINT16_MAX ||
	    config->tx_bps > LIMIT_MAX || config->tx_burst_ms == 0 || config->limit_bps > LIMIT_MAX || config->limit_pps > LIMIT_MAX || config->limit_burst_ms == 0)
		return false;
	switch (config->kind) {
	case XV_OVS_PORT_KERNEL:
	case XV_OVS_PORT_INTERNAL:
	case XV_OVS_PORT_DEVICE:
		return config->device != NULL;
	case XV_OVS_PORT_VHOST:
		return config->socket != NULL;
	case XV_OVS_PORT_TUNNEL:
		return config->tunnel >= XV_OVS_TUNNEL_VXLAN && config->tunnel <= XV_OVS_TUNNEL_GRE;
	default:
		return false;
	}
}

static void put_sentence(struct xv_ovs_message *m, const struct xv_err *err)
{
	char sentence[sizeof(*err)];

	if (err->code != XV_ERR_NONE)
		xv_ovs_put_text(m, XV_OVS_ERROR_TEXT, xv_err_sentence(err, NULL, sentence, sizeof(sentence)));
}

int xv_ovs_request_port_add(struct xv_ovs_datapath *dp, const void *items, uint32_t len, struct xv_ovs_message *m)
{
	struct xv_ovs_port_config config;
	struct xv_err err = {0};
	struct texts texts;
	uint32_t number;
	int rc;

	if (!read_config(items, len, &texts, &config))
		return -EINVAL;
	rc = xv_ovs_port_add(dp, &config, &number, &err);
	if (rc == 0)
		xv_ovs_put_u32(m, XV_OVS_NUMBER, number);
	else
		put_sentence(m, &err);
	return rc;
}

/* The datapath that has a port of that name: netdevs have one name in all of ovs-vswitchd. */
static struct xv_ovs_datapath *datapath_of(const char *name)
{
	struct xv_ovs_datapath *dp = xv_ovs_datapath_first();

	while (dp != NULL && xv_ovs_port_by_name(dp, name, (uint32_t)strlen(name)) == NULL)
		dp = TAILQ_NEXT(dp, entry);
	return dp;
}

int xv_ovs_request_port_set(const void *items, uint32_t len, struct xv_ovs_message *m)
{
	struct xv_ovs_port_config config;
	struct xv_ovs_datapath *dp;
	struct xv_err err = {0};
	struct texts texts;
	int rc;

	if (!read_config(items, len, &texts, &config))
		return -EINVAL;
	dp = datapath_of(config.name);
	if (dp == NULL)
		return -ENODEV;
	rc = xv_ovs_port_set(dp, &config, &err);
	if (rc < 0)
		put_sentence(m, &err);
	return rc;
}

static void put_port(struct xv_ovs_message *m, const struct xv_ovs_port *p)
{
	uint32_t at = xv_ovs_open(m, XV_OVS_PORT);

	xv_ovs_put_u32(m, XV_OVS_NUMBER, p->number);
	xv_ovs_put_raw(m, p->items, p->items_len);
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

void xv_ovs_request_links(struct xv_ovs_message *m)
{
	const struct xv_ovs_datapath *dp;
	unsigned int id;

	for (dp = xv_ovs_datapath_first(); dp != NULL; dp = TAILQ_NEXT(dp, entry)) {
		for (id = 0; id < XV_MAX_PORTS; id++) {
			const struct xv_ovs_port *p = dp->by_id[id];
			struct xv_port_info info = {0};
			struct {
				uint32_t up;
				char name[XV_NAME_LEN];
			} link;
			struct xv_port *port;

			if (p == NULL)
				continue;
			port = xv_ovs_port_device(dp, p)->port;
			port->ops->info(port, &info);
			link.up = info.state == XV_PORT_UP;
			memcpy(link.name, p->name, sizeof(link.name));
			xv_ovs_put(m, XV_OVS_LINK, &link, (uint32_t)(sizeof(link.up) + strlen(p->name)));
		}
	}
}

static void put_state(struct xv_ovs_message *m, const struct xv_port_info *info)
{
	xv_ovs_put_text(m, XV_OVS_STATE, xv_port_state_name(info->state));
	xv_ovs_put_u32(m, XV_OVS_QUEUES, info->queues_active);
	if (info->is_virtio && info->connected) {
		xv_ovs_put(m, XV_OVS_CONNECTED, NULL, 0);
		xv_ovs_put_u64(m, XV_OVS_FEATURES, info->features);
	}
	if (info->broken[0] != '\0')
		xv_ovs_put_text(m, XV_OVS_ERROR_TEXT, info->broken);
}

static void put_queues(struct xv_ovs_message *m, uint32_t port_id)
{
	struct xv_tx_queue_stats stats[XV_OVS_QUEUES_MAX];
	unsigned int i, n = xv_tx_queues_get_stats(port_id, stats, XV_OVS_QUEUES_MAX);

	for (i = 0; i < n && i < XV_OVS_QUEUES_MAX; i++) {
		const struct xv_ovs_queue_stats out = {.id = stats[i].id, .packets = stats[i].packets, .bytes = stats[i].bytes,
						       .dropped = stats[i].dropped};

		xv_ovs_put(m, XV_OVS_TX_QUEUE_STATS, &out, sizeof(out));
	}
}

int xv_ovs_request_port_stats(const void *items, uint32_t len, struct xv_ovs_message *m)
{
	char name[XV_NAME_LEN];
	const char *which = text(items, len, XV_OVS_NAME, name, sizeof(name));
	const struct xv_ovs_datapath *dp = which != NULL ? datapath_of(which) : NULL;
	struct xv_ovs_port_stats stats = {0};
	struct xv_port_info info = {0};
	struct xv_ledger ledger;
	struct xv_port *port;
	unsigned int i;

	if (dp == NULL)
		return -ENODEV;
	port = xv_ovs_port_device(dp, xv_ovs_port_by_name(dp, which, (uint32_t)strlen(which)))->port;
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
	put_state(m, &info);
	put_queues(m, port->id);
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
