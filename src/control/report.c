/* SPDX-License-Identifier: Apache-2.0 */
#include "control/report.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "control/groups.h"
#include "control/model.h"
#include "control/rule_counts.h"
#include "control/tunnels.h"
#include "fastpath/flow.h"
#include "fastpath/fused.h"
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
	const char *key, *vtep;
	unsigned int uplink;

	p->port->ops->info(p->port, &info);
	xv_ledger_read(p->port, &ledger);
	/* name and kind come first by the order of the schema, then what it is doing. */
	config = xv_model_port(p->host->model, p->port->name);
	put_text(object, "name", p->port->name);
	put_text(object, "kind", xv_port_kind_name(p->port->ops->kind));
	put_text(object, "state", xv_port_state_name(info.state));
	json_object_foreach (config, key, value)
		json_object_set(object, key, value);
	put_text(object, "wire", xv_model_wire_of(p->host->model, p->port->name));
	vtep = xv_tunnels_vtep_of(p->host->model, p->port->name, &uplink);
	if (vtep != NULL)
		put_text(object, "vtep", vtep);
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
	put_number(object, "answers", ledger.answers);
	put_number(object, "answers_limited", ledger.answers_limited);
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

/* With the networks that have it. */
json_t *xv_report_timeout(const struct xv_host *host, const char *name)
{
	json_t *object = json_copy(xv_model_get(host->model, "timeout", name)), *networks = json_array(), *network;
	const char *otherwise = json_string_value(json_object_get(json_object_get(host->model, "conntrack"), "timeouts"));
	const char *network_name;

	json_object_foreach (json_object_get(host->model, "network"), network_name, network) {
		const char *own = json_string_value(json_object_get(network, "timeouts"));

		if (own == NULL)
			own = otherwise;
		if (own != NULL && strcmp(own, name) == 0)
			json_array_append_new(networks, json_string(network_name));
	}
	json_object_set_new(object, "networks", networks);
	return object;
}

/* The rules of a group or a policy, each with what it has counted. */
static json_t *rules_of(const struct xv_host *host, const char *type, const char *name)
{
	json_t *rules = json_deep_copy(json_object_get(xv_model_get(host->model, type, name), "rules")), *rule;
	size_t i;

	json_array_foreach (rules, i, rule)
		xv_rule_counter_report(rule, xv_rule_counter_of(host->rule_counters, type, name, i));
	return rules;
}

json_t *xv_report_group(const struct xv_host *host, const char *name)
{
	json_t *object = json_copy(xv_model_get(host->model, "group", name));
	json_t *members = xv_groups_members(host->model);

	json_object_set_new(object, "rules", rules_of(host, "group", name));
	json_object_set(object, "ports", json_object_get(members, name));
	json_decref(members);
	return object;
}

json_t *xv_report_policy(const struct xv_host *host, const char *name)
{
	json_t *object = json_copy(xv_model_get(host->model, "policy", name));
	json_t *ports = json_array(), *port, *rules, *otherwise;
	const char *port_name;

	json_object_foreach (json_object_get(host->model, "port"), port_name, port) {
		const char *egress = json_string_value(json_object_get(port, "egress_policy"));
		const char *ingress = json_string_value(json_object_get(port, "ingress_policy"));

		if ((egress != NULL && strcmp(egress, name) == 0) ||
		    (ingress != NULL && strcmp(ingress, name) == 0))
			json_array_append_new(ports, json_string(port_name));
	}
	rules = rules_of(host, "policy", name);
	otherwise = json_object();
	xv_rule_counter_report(otherwise, xv_rule_counter_of(host->rule_counters, "policy", name, json_array_size(rules)));
	json_object_set_new(object, "rules", rules);
	json_object_set_new(object, "no_rule", otherwise);
	json_object_set_new(object, "ports", ports);
	return object;
}

static void put_host_address(json_t *object, const char *key, bool ipv6, const union xv_ip_addr *addr)
{
	struct xv_address address = {.ipv6 = ipv6, .addr = *addr};
	char text[XV_MATCH_TEXT];

	xv_address_format(&address, false, text);
	put_text(object, key, text);
}

static void put_mac_address(json_t *object, const char *key, const uint8_t mac[6])
{
	char text[18];

	snprintf(text, sizeof(text), "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
	put_text(object, key, text);
}

/* Each with its state, and what is known of the tunnel's next hop behind it; t may be NULL. */
static json_t *uplinks(const struct xv_vtep *v, const struct xv_tunnel *t)
{
	json_t *list = json_array();

	for (unsigned int i = 0; i < XV_UPLINKS; i++) {
		const struct xv_uplink *u = &v->uplinks[i];
		union xv_ip_addr next_hop;
		json_t *object;
		uint8_t mac[6];

		if (u->port == NULL)
			continue;
		object = json_object();
		put_text(object, "port", u->port->name);
		put_text(object, "state", u->up ? "up" : "down");
		if (t == NULL)
			put_mac_address(object, "mac", u->mac);
		else if (xv_tunnel_next_hop(t, i, &next_hop, mac))
			put_mac_address(object, "next_hop_mac", mac);
		else
			put_text(object, "next_hop_mac", NULL);
		json_array_append_new(list, object);
	}
	return list;
}

json_t *xv_report_vtep(const struct xv_host *host, const char *name)
{
	json_t *object = json_copy(xv_model_get(host->model, "vtep", name)), *networks = json_array(), *network;
	struct xv_host_vtep *v = xv_host_vtep_lookup(host, name);
	const char *network_name;

	json_object_foreach (json_object_get(host->model, "network"), network_name, network) {
		const char *vtep = json_string_value(json_object_get(network, "vtep"));

		if (vtep != NULL && strcmp(vtep, name) == 0)
			json_array_append_new(networks, json_string(network_name));
	}
	if (v != NULL) {
		put_mac_address(object, "mac", v->vtep->uplinks[0].mac);
		json_object_set_new(object, "uplinks", uplinks(v->vtep, NULL));
	}
	json_object_set_new(object, "networks", networks);
	return object;
}

/* Of all its ways to the remote: up, or degraded: some are not. */
static const char *tunnel_state(const struct xv_tunnel *t)
{
	unsigned int i, ports = 0, up = 0, known = 0;
	union xv_ip_addr next_hop;
	uint8_t mac[6];

	for (i = 0; i < XV_UPLINKS; i++) {
		ports += t->vtep->uplinks[i].port != NULL;
		up += t->vtep->uplinks[i].up;
		known += xv_tunnel_next_hop(t, i, &next_hop, mac);
	}
	if (up == 0)
		return "down";
	return known == 0 ? "resolving" : known < ports ? "degraded" : "up";
}

static json_t *tunnel(struct xv_host_port *p)
{
	const struct xv_tunnel *t = p->tunnel;
	json_t *object = xv_report_port(p);
	union xv_ip_addr next_hop;
	bool known = false;
	uint8_t mac[6];

	for (unsigned int i = 0; i < XV_UPLINKS && !known; i++)
		known = xv_tunnel_next_hop(t, i, &next_hop, mac);
	put_text(object, "state", tunnel_state(t));
	put_text(object, "tunnel", xv_tunnels_type_name(t->config.type));
	put_host_address(object, "next_hop", t->vtep->ipv6, &next_hop);
	if (known)
		put_mac_address(object, "next_hop_mac", mac);
	else
		put_text(object, "next_hop_mac", NULL);
	json_object_set_new(object, "uplinks", uplinks(t->vtep, t));
	return object;
}

json_t *xv_report_tunnels(const struct xv_host *host, const char *network)
{
	json_t *list = json_array(), *config;
	const char *name;

	json_object_foreach (json_object_get(host->model, "tunnel"), name, config) {
		struct xv_host_port *p = xv_host_port_lookup(host, name);

		if (p != NULL && p->tunnel != NULL &&
		    (network == NULL || strcmp(json_string_value(json_object_get(config, "network")), network) == 0))
			json_array_append_new(list, tunnel(p));
	}
	return list;
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

static void add_drops(struct xv_host_port *p, json_t *list)
{
	struct xv_ledger ledger;

	xv_ledger_read(p->port, &ledger);
	for (unsigned int i = 0; i < XV_DROP_MAX; i++) {
		if (ledger.drops[i] > 0)
			json_array_append_new(list, json_pack("{s:s, s:s, s:I, s:s}", "port", p->port->name, "reason",
							      xv_drop_info[i].name, "packets",
							      (json_int_t)ledger.drops[i], "explanation",
							      xv_drop_info[i].explanation));
	}
}

json_t *xv_report_drops(const struct xv_host *host, const char *port)
{
	static const char *const types[] = {"port", "tunnel", "dynamic"};
	json_t *list = json_array(), *config;
	const char *name;

	for (unsigned int t = 0; t < sizeof(types) / sizeof(types[0]); t++) {
		json_object_foreach (json_object_get(host->model, types[t]), name, config) {
			struct xv_host_port *p = xv_host_port_lookup(host, name);

			if (p != NULL && (port == NULL || strcmp(port, name) == 0))
				add_drops(p, list);
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

static json_t *fused_flows(const struct xv_host_worker *w)
{
	json_t *object = json_object();
	struct xv_fused_stats s;

	xv_fused_get_stats(xv_worker_fused(w->worker), &s);
	put_text(object, "name", xv_worker_name(w->worker));
	put_number(object, "fused", s.entries);
	put_number(object, "trails", s.trails);
	put_number(object, "hits", s.hits);
	put_number(object, "misses", s.misses);
	put_ratio(object, "hit_ratio", s.hits, s.hits + s.misses);
	put_number(object, "inserted", s.inserted);
	put_number(object, "evicted", s.evicted);
	return object;
}

json_t *xv_report_flows(const struct xv_host *host)
{
	json_t *object = json_object(), *workers = json_array();
	struct xv_cls_stats s;

	xv_classifier_stats(xv_flow_classifier, &s);
	put_number(object, "flows", xv_flows_count());
	put_number(object, "masks", s.subtables);
	put_number(object, "memory_bytes", s.bytes);
	put_number(object, "lookups", s.lookups);
	put_number(object, "hits", s.hits);
	put_ratio(object, "masks_asked", s.visits, s.lookups);
	put_number(object, "requested", xv_flows_requested());
	put_number(object, "refused", xv_flows_refused());
	for (unsigned int i = 0; i < XV_MAX_WORKERS; i++) {
		if (host->workers[i] != NULL)
			json_array_append_new(workers, fused_flows(host->workers[i]));
	}
	json_object_set_new(object, "workers", workers);
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
