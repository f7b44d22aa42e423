/* SPDX-License-Identifier: Apache-2.0 */
#include "control/report.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "control/model.h"
#include "fastpath/ledger.h"
#include "table/mac_table.h"

static void put_number(json_t *object, const char *key, uint64_t value)
{
	json_object_set_new(object, key, json_integer((json_int_t)value));
}

static void put_text(json_t *object, const char *key, const char *value)
{
	json_object_set_new(object, key, value ? json_string(value) : json_null());
}

static void put_ratio(json_t *object, const char *key, uint64_t n, uint64_t of)
{
	json_object_set_new(object, key, json_real(of ? (double)n / (double)of : 0.0));
}

static json_t *virtio(const struct xv_port_info *info)
{
	json_t *object = json_object();

	json_object_set_new(object, "connected", json_boolean(info->connected));
	put_text(object, "ring", info->packed ? "packed" : "split");
	json_object_set_new(object, "features",
			    json_sprintf("0x%llx", (unsigned long long)info->features));
	json_object_set_new(object, "protocol_features",
			    json_sprintf("0x%llx", (unsigned long long)info->protocol_features));
	put_number(object, "queue_pairs", info->queues_active);
	put_number(object, "connects", info->connects);
	put_number(object, "disconnects", info->disconnects);
	put_text(object, "broken", info->broken[0] ? info->broken : NULL);
	put_number(object, "broken_total", info->broken_total);
	return object;
}

json_t *xv_report_port(struct xv_host_port *p)
{
	json_t *object = json_object(), *drops = json_object(), *config, *value;
	struct xv_port_info info = {0};
	struct xv_ledger ledger;
	const char *key;

	p->port->ops->info(p->port, &info);
	xv_ledger_read(p->port, &ledger);
	/* name and kind come first by the order of the schema, then what it is doing. */
	config = xv_model_get(p->host->model, "port", p->port->name);
	put_text(object, "name", p->port->name);
	put_text(object, "kind", xv_port_kind_name(p->port->ops->kind));
	put_text(object, "state", xv_port_state_name(info.state));
	json_object_foreach (config, key, value)
		json_object_set(object, key, value);
	put_text(object, "wire", xv_model_wire_of(p->host->model, p->port->name));
	if (info.driver[0])
		put_text(object, "driver", info.driver);
	put_number(object, "queues_active", info.queues_active);
	put_number(object, "rx_packets", ledger.rx_packets);
	put_number(object, "rx_bytes", ledger.rx_bytes);
	put_number(object, "tx_packets", ledger.tx_packets);
	put_number(object, "tx_bytes", ledger.tx_bytes);
	put_number(object, "copies", ledger.copies);
	put_number(object, "forwarded", ledger.forwarded);
	put_number(object, "punts", ledger.punts);
	put_number(object, "held", ledger.held);
	for (unsigned int i = 0; i < XV_DROP_MAX; i++)
		put_number(drops, xv_drop_info[i].name, ledger.drops[i]);
	json_object_set_new(object, "drops", drops);
	json_object_set_new(object, "events",
			    json_pack("{s:I, s:I, s:I}", "up", (json_int_t)p->ups, "down",
				      (json_int_t)p->downs, "broken", (json_int_t)p->breaks));
	if (info.is_virtio)
		json_object_set_new(object, "virtio", virtio(&info));
	return object;
}

json_t *xv_report_network(const struct xv_host *host, const char *name)
{
	const json_t *config = xv_model_get(host->model, "network", name);
	struct xv_host_network *n = xv_host_network_lookup(host, name);
	json_t *object = json_copy((json_t *)(uintptr_t)config), *ports = json_array(), *port;
	const char *port_name;

	json_object_foreach (json_object_get(host->model, "port"), port_name, port) {
		const char *network = json_string_value(json_object_get(port, "network"));

		if (network != NULL && strcmp(network, name) == 0)
			json_array_append_new(ports, json_string(port_name));
	}
	json_object_set_new(object, "ports", ports);
	put_number(object, "macs", n ? xv_mac_table_count(n->network->macs) : 0);
	put_number(object, "macs_refused", n ? xv_mac_table_refused(n->network->macs) : 0);
	return object;
}

json_t *xv_report_policy(const struct xv_host *host, const char *name)
{
	json_t *object = json_copy(xv_model_get(host->model, "policy", name));
	json_t *ports = json_array(), *port;
	const char *port_name;

	json_object_foreach (json_object_get(host->model, "port"), port_name, port) {
		const char *egress = json_string_value(json_object_get(port, "egress-policy"));
		const char *ingress = json_string_value(json_object_get(port, "ingress-policy"));

		if ((egress != NULL && strcmp(egress, name) == 0) ||
		    (ingress != NULL && strcmp(ingress, name) == 0))
			json_array_append_new(ports, json_string(port_name));
	}
	json_object_set_new(object, "ports", ports);
	return object;
}

json_t *xv_report_wire(const struct xv_host *host, const char *name)
{
	json_t *object = json_copy(xv_model_get(host->model, "wire", name)), *port;
	struct xv_port_info info;
	bool up = true;
	size_t i;

	json_array_foreach (json_object_get(object, "ports"), i, port) {
		struct xv_host_port *p = xv_host_port_lookup(host, json_string_value(port));

		info = (struct xv_port_info){0};
		if (p != NULL)
			p->port->ops->info(p->port, &info);
		up &= p != NULL && info.state == XV_PORT_UP;
	}
	put_text(object, "state", up ? "up" : "down");
	return object;
}

static unsigned int ports_of(const struct xv_host *host, const struct xv_host_worker *w)
{
	unsigned int n = 0, q;

	for (unsigned int id = 0; id < XV_MAX_PORTS; id++) {
		for (q = 0; q < XV_MAX_QUEUES; q++) {
			uint8_t slot = host->placement.worker[id][q];

			if (slot != XV_PLACED_NOWHERE && host->workers[slot] == w)
				break;
		}
		n += q < XV_MAX_QUEUES;
	}
	return n;
}

json_t *xv_report_worker(const struct xv_host *host, const struct xv_host_worker *w)
{
	json_t *object = json_object();
	struct xv_worker_stats s;

	xv_worker_get_stats(w->worker, &s);
	put_text(object, "name", xv_worker_name(w->worker));
	json_object_set_new(object, "cpu", s.cpu < 0 ? json_null() : json_integer(s.cpu));
	put_number(object, "ports", ports_of(host, w));
	put_number(object, "queues", s.queues);
	put_number(object, "cycles_total", s.cycles_total);
	put_number(object, "cycles_busy", s.cycles_busy);
	put_number(object, "cycles_idle",
		   s.cycles_total > s.cycles_busy ? s.cycles_total - s.cycles_busy : 0);
	put_number(object, "sleeps", s.sleeps);
	put_number(object, "wakeups", s.wakeups);
	put_number(object, "bursts", s.bursts);
	put_number(object, "packets", s.packets);
	put_ratio(object, "cycles_per_packet", s.cycles_busy, s.packets);
	put_ratio(object, "busy", s.cycles_busy, s.cycles_total);
	put_ratio(object, "burst", s.packets, s.bursts);
	put_number(object, "tsc_hz", xv_clock.hz);
	return object;
}

struct mac_walk {
	const struct xv_host *host;
	const char *network;
	uint32_t now_s;
	json_t *list;
};

static void put_mac(uint64_t key, uint16_t port, uint32_t seen_s, void *arg)
{
	struct mac_walk *walk = arg;
	struct xv_host_port *p = port < XV_MAX_PORTS ? walk->host->ports[port] : NULL;
	uint32_t age_s = walk->now_s > seen_s ? walk->now_s - seen_s : 0;
	uint64_t mac = key >> 16;
	char text[18];

	snprintf(text, sizeof(text), "%02x:%02x:%02x:%02x:%02x:%02x",
		 (unsigned int)(mac >> 40 & 0xff), (unsigned int)(mac >> 32 & 0xff),
		 (unsigned int)(mac >> 24 & 0xff), (unsigned int)(mac >> 16 & 0xff),
		 (unsigned int)(mac >> 8 & 0xff), (unsigned int)(mac & 0xff));
	json_array_append_new(walk->list,
			      json_pack("{s:s, s:i, s:s, s:s?, s:I}", "network", walk->network,
					"vlan", (int)(key & 0xfff), "mac", text, "port",
					p ? p->port->name : NULL, "age_s", (json_int_t)age_s));
}

json_t *xv_report_macs(const struct xv_host *host, const char *network)
{
	struct mac_walk walk = {.host = host, .now_s = xv_network_now_s(), .list = json_array()};
	struct xv_host_network *n;

	TAILQ_FOREACH (n, &host->networks, entry) {
		walk.network = n->network->name;
		if (network == NULL || strcmp(network, walk.network) == 0)
			xv_mac_table_walk(n->network->macs, put_mac, &walk);
	}
	return walk.list;
}

json_t *xv_report_drops(const struct xv_host *host, const char *port)
{
	json_t *list = json_array(), *config;
	struct xv_ledger ledger;
	const char *name;

	json_object_foreach (json_object_get(host->model, "port"), name, config) {
		struct xv_host_port *p = xv_host_port_lookup(host, name);

		if (p == NULL || (port != NULL && strcmp(port, name) != 0))
			continue;
		xv_ledger_read(p->port, &ledger);
		for (unsigned int i = 0; i < XV_DROP_MAX; i++) {
			if (ledger.drops[i] > 0)
				json_array_append_new(
					list, json_pack("{s:s, s:s, s:I, s:s}", "port", name,
							"reason", xv_drop_info[i].name, "packets",
							(json_int_t)ledger.drops[i], "explanation",
							xv_drop_info[i].explanation));
		}
	}
	return list;
}

static json_t *host_ports(const struct xv_host *host)
{
	static const enum xv_port_state states[] = {XV_PORT_UP, XV_PORT_WAITING, XV_PORT_DOWN,
						    XV_PORT_BROKEN};
	unsigned int count[4] = {0}, n = 0;
	json_t *object = json_object();
	struct xv_port_info info;

	for (unsigned int i = 0; i < XV_MAX_PORTS; i++) {
		struct xv_host_port *p = host->ports[i];

		if (p == NULL)
			continue;
		info = (struct xv_port_info){0};
		p->port->ops->info(p->port, &info);
		n++;
		for (unsigned int s = 0; s < 4; s++)
			count[s] += info.state == states[s];
	}
	put_number(object, "total", n);
	for (unsigned int s = 0; s < 4; s++)
		put_number(object, xv_port_state_name(states[s]), count[s]);
	return object;
}

json_t *xv_report_host(const struct xv_host *host)
{
	json_t *object = json_object(), *workers = json_array();
	uint64_t totals[4] = {0}; /* rx, tx, drops, held */
	struct xv_ledger ledger;

	for (unsigned int i = 0; i < XV_MAX_PORTS; i++) {
		if (host->ports[i] == NULL)
			continue;
		xv_ledger_read(host->ports[i]->port, &ledger);
		totals[0] += ledger.rx_packets;
		totals[1] += ledger.tx_packets;
		for (unsigned int d = 0; d < XV_DROP_MAX; d++)
			totals[2] += ledger.drops[d];
		totals[3] += ledger.held;
	}
	for (unsigned int i = 0; i < XV_MAX_WORKERS; i++) {
		if (host->workers[i] != NULL)
			json_array_append_new(workers, xv_report_worker(host, host->workers[i]));
	}
	put_number(object, "pid", (uint64_t)getpid());
	put_number(object, "uptime_s", (xv_clock_ns() - host->started_ns) / 1000000000);
	json_object_set_new(object, "ports", host_ports(host));
	put_number(object, "networks", json_object_size(json_object_get(host->model, "network")));
	put_number(object, "policies", json_object_size(json_object_get(host->model, "policy")));
	put_number(object, "wires", json_object_size(json_object_get(host->model, "wire")));
	put_number(object, "rx_packets", totals[0]);
	put_number(object, "tx_packets", totals[1]);
	put_number(object, "dropped", totals[2]);
	put_number(object, "held", totals[3]);
	json_object_set_new(object, "workers", workers);
	json_object_set(object, "daemon", json_object_get(host->model, "daemon"));
	return object;
}
