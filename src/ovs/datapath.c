/* SPDX-License-Identifier: Apache-2.0 */
#include "ovs/datapath.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/model.h"
#include "control/txn.h"
#include "fastpath/ledger.h"
#include "ovs/bonds.h"
#include "ovs/flows.h"
#include "ovs/upcalls.h"

static TAILQ_HEAD(, xv_ovs_datapath) datapaths = TAILQ_HEAD_INITIALIZER(datapaths);

int xv_ovs_datapath_create(struct xv_host *host, const char *name, struct xv_ovs_datapath **dpp)
{
	struct xv_ovs_datapath *dp = calloc(1, sizeof(*dp));

	if (dp == NULL)
		return -ENOMEM;
	dp->host = host;
	snprintf(dp->name, sizeof(dp->name), "%s", name);
	dp->flows = xv_ovs_flows_create(dp);
	dp->upcalls = xv_ovs_upcalls_create(dp);
	if (dp->flows == NULL || dp->upcalls == NULL) {
		xv_ovs_flows_destroy(dp->flows);
		xv_ovs_upcalls_destroy(dp->upcalls);
		free(dp);
		return -ENOMEM;
	}
	TAILQ_INSERT_TAIL(&datapaths, dp, entry);
	*dpp = dp;
	return 0;
}

void xv_ovs_datapath_destroy(struct xv_ovs_datapath *dp)
{
	uint32_t number;

	xv_ovs_flows_flush(dp->flows);
	for (number = 0; number < XV_OVS_NUMBERS; number++)
		if (dp->by_number[number] != NULL)
			(void)xv_ovs_port_del(dp, number);
	TAILQ_REMOVE(&datapaths, dp, entry);
	xv_ovs_bonds_destroy(dp);
	xv_ovs_upcalls_destroy(dp->upcalls);
	xv_ovs_flows_destroy(dp->flows);
	free(dp);
}

struct xv_ovs_datapath *xv_ovs_datapath_lookup(const char *name)
{
	struct xv_ovs_datapath *dp;

	TAILQ_FOREACH (dp, &datapaths, entry)
		if (strcmp(dp->name, name) == 0)
			return dp;
	return NULL;
}

struct xv_ovs_datapath *xv_ovs_datapath_first(void)
{
	return TAILQ_FIRST(&datapaths);
}

struct xv_ovs_datapath *xv_ovs_datapath_of(uint32_t port_id)
{
	struct xv_ovs_datapath *dp;

	TAILQ_FOREACH (dp, &datapaths, entry)
		if (port_id < XV_MAX_PORTS && dp->by_id[port_id] != NULL)
			return dp;
	return NULL;
}

/* ---- Ports ---- */

static void host_name(const struct xv_ovs_datapath *dp, const char *name, char *buf, size_t size)
{
	snprintf(buf, size, "%s@%s", name, dp->name);
}

/* What the host is to have, as a port of its own. */
static json_t *host_config(const struct xv_ovs_datapath *dp, const char *name, const struct xv_ovs_port_config *c)
{
	const char *kind = "tunnel";
	json_t *config;

	switch (c->kind) {
	case XV_OVS_PORT_KERNEL:
		kind = "kernel";
		break;
	case XV_OVS_PORT_DEVICE:
		kind = "ethdev";
		break;
	case XV_OVS_PORT_INTERNAL:
		kind = "tap";
		break;
	case XV_OVS_PORT_VHOST:
		kind = "vhost";
		break;
	case XV_OVS_PORT_TUNNEL:
		break;
	}
	config = json_pack("{s:s, s:s, s:s, s:i, s:b, s:b}", "name", name, "kind", kind, "datapath", dp->name, "queues",
			   (int)c->queues, "csum", 1, "tso", 1);
	if (config == NULL)
		return NULL;
	if (c->mtu != 0)
		json_object_set_new(config, "mtu", json_integer(c->mtu));
	if (c->limit_bps != 0 || c->limit_pps != 0) {
		json_object_set_new(config, "rx_limit_bps", json_integer((json_int_t)c->limit_bps));
		json_object_set_new(config, "rx_limit_pps", json_integer((json_int_t)c->limit_pps));
		json_object_set_new(config, "limit_burst_ms", json_integer(c->limit_burst_ms));
	}
	if (c->tx_bps != 0) {
		json_object_set_new(config, "tx_limit_bps", json_integer((json_int_t)c->tx_bps));
		json_object_set_new(config, "tx_burst_ms", json_integer(c->tx_burst_ms));
	}
	if (c->kind == XV_OVS_PORT_DEVICE)
		json_object_set_new(config, "device", json_string(c->device));
	if (c->kind == XV_OVS_PORT_INTERNAL || c->kind == XV_OVS_PORT_KERNEL)
		json_object_set_new(config, "interface", json_string(c->device));
	if (c->kind == XV_OVS_PORT_INTERNAL)
		json_object_set_new(config, "passive", json_true());
	if (c->kind == XV_OVS_PORT_VHOST) {
		json_object_set_new(config, "socket", json_string(c->socket));
		json_object_set_new(config, "mode", json_string(c->client ? "client" : "server"));
	}
	return config;
}

/* The dynamic ports of the host, with this one more or less. */
static int host_ports_change(struct xv_ovs_datapath *dp, const char *name, json_t *config, struct xv_err *err)
{
	json_t *ports = json_copy(json_object_get(dp->host->model, "dynamic"));

	if (ports == NULL)
		ports = json_object();
	if (config != NULL)
		json_object_set(ports, name, config);
	else
		json_object_del(ports, name);
	return xv_txn_set_dynamic_ports(dp->host, ports, err);
}

static bool choose_number(const struct xv_ovs_datapath *dp, uint32_t *number)
{
	uint32_t n;

	if (*number != UINT32_MAX)
		return *number < XV_OVS_NUMBERS && dp->by_number[*number] == NULL;
	for (n = 1; n < XV_OVS_NUMBERS && dp->by_number[n] != NULL; n++)
		;
	*number = n;
	return n < XV_OVS_NUMBERS;
}

/* What the port says of itself to those who ask. */
static int keep_items(struct xv_ovs_port *p, const struct xv_ovs_port_config *c, struct xv_err *err)
{
	void *items = malloc(c->items_len + 1);

	if (items == NULL)
		return xv_err_set(err, -ENOMEM, XV_ERR_RESOURCE, "out of memory");
	if (c->items_len > 0)
		memcpy(items, c->items, c->items_len);
	free(p->items);
	p->items = items;
	p->items_len = c->items_len;
	return 0;
}

static void port_free(struct xv_ovs_port *p)
{
	free(p->items);
	free(p);
}

int xv_ovs_port_add(struct xv_ovs_datapath *dp, const struct xv_ovs_port_config *c, uint32_t *number, struct xv_err *err)
{
	char name[2 * XV_NAME_LEN];
	struct xv_host_port *device;
	struct xv_ovs_port *p;
	json_t *config;
	int rc;

	*number = c->number;
	host_name(dp, c->name, name, sizeof(name));
	if (strlen(name) >= XV_NAME_LEN)
		return xv_err_set(err, -ENAMETOOLONG, XV_ERR_RANGE, "%s: the name is too long", name);
	if (xv_ovs_port_by_name(dp, c->name, (uint32_t)strlen(c->name)) != NULL)
		return xv_err_set(err, -EEXIST, XV_ERR_EXISTS, "there is a port %s already", c->name);
	if (!choose_number(dp, number))
		return xv_err_set(err, -EBUSY, XV_ERR_BUSY, "port number is in use");
	p = calloc(1, sizeof(*p));
	config = host_config(dp, name, c);
	rc = p != NULL && config != NULL ? keep_items(p, c, err) :
					   xv_err_set(err, -ENOMEM, XV_ERR_RESOURCE, "out of memory");
	if (rc < 0)
		goto err_free;
	p->kind = c->kind;
	p->tunnel = c->tunnel;
	p->udp_port = c->udp_port;
	p->gbp = c->gbp;
	p->number = *number;
	snprintf(p->name, sizeof(p->name), "%s", c->name);
	rc = host_ports_change(dp, name, config, err);
	if (rc < 0)
		goto err_free;
	json_decref(config);
	device = xv_host_port_lookup(dp->host, name);
	p->id = device->port->id;
	dp->by_number[p->number] = p;
	dp->by_id[p->id] = p;
	xv_ovs_bonds_ports_changed(dp);
	/* Short of memory they share without order. */
	(void)xv_tx_queues_set(p->id, c->tx_queues, c->n_tx_queues);
	xv_ovs_flows_port_changed(dp->flows, p->number);
	return 0;

err_free:
	json_decref(config);
	if (p != NULL)
		port_free(p);
	return rc;
}

/* Whether the host has to make another device for it. */
static bool is_other_device(const json_t *have, const json_t *want)
{
	static const char *const keys[] = {"socket", "mode", "device", "interface", "queues"};
	unsigned int i;

	for (i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		const json_t *a = json_object_get(have, keys[i]), *b = json_object_get(want, keys[i]);

		/* Two that are not there are not equal for jansson. */
		if ((a != NULL || b != NULL) && !json_equal(a, b))
			return true;
	}
	return false;
}

/* What names the port, if it is away, has none; if it is back, has it again. */
static void set_away(struct xv_ovs_datapath *dp, struct xv_ovs_port *p, bool away)
{
	p->away = away;
	xv_ovs_flows_port_changed(dp->flows, p->number);
	xv_ovs_bonds_ports_changed(dp);
}

/* A port whose device is gone. */
static void forget(struct xv_ovs_datapath *dp, struct xv_ovs_port *p)
{
	xv_ovs_upcalls_forget_port(dp->upcalls, p->id);
	(void)xv_tx_queues_set(p->id, NULL, 0);
	dp->by_number[p->number] = NULL;
	dp->by_id[p->id] = NULL;
	xv_ovs_bonds_ports_changed(dp);
	port_free(p);
}

/* The old device lets go of the socket before the new one takes it; if there is no new one, the old one comes back. */
static int change_device(struct xv_ovs_datapath *dp, struct xv_ovs_port *p, const char *name, json_t *want, struct xv_err *err)
{
	json_t *have = json_incref(xv_model_get(dp->host->model, "dynamic", name));
	int rc;

	set_away(dp, p, true);
	rc = host_ports_change(dp, name, NULL, err);
	if (rc == 0) {
		rc = host_ports_change(dp, name, want, err);
		if (rc < 0 && host_ports_change(dp, name, have, NULL) < 0) {
			forget(dp, p);
			json_decref(have);
			return rc;
		}
		xv_ovs_upcalls_forget_port(dp->upcalls, p->id);
		(void)xv_tx_queues_set(p->id, NULL, 0);
		dp->by_id[p->id] = NULL;
		p->id = xv_host_port_lookup(dp->host, name)->port->id;
		dp->by_id[p->id] = p;
	}
	set_away(dp, p, false);
	json_decref(have);
	return rc;
}

int xv_ovs_port_set(struct xv_ovs_datapath *dp, const struct xv_ovs_port_config *c, struct xv_err *err)
{
	struct xv_ovs_port *p = xv_ovs_port_by_name(dp, c->name, (uint32_t)strlen(c->name));
	char name[2 * XV_NAME_LEN];
	json_t *config;
	int rc;

	if (p == NULL)
		return -ENODEV;
	if (p->kind != c->kind || p->tunnel != c->tunnel)
		return xv_err_set(err, -EINVAL, XV_ERR_RANGE, "port %s is of another kind", c->name);
	host_name(dp, c->name, name, sizeof(name));
	config = host_config(dp, name, c);
	if (config == NULL)
		return xv_err_set(err, -ENOMEM, XV_ERR_RESOURCE, "out of memory");
	if (is_other_device(xv_model_get(dp->host->model, "dynamic", name), config))
		rc = change_device(dp, p, name, config, err);
	else
		rc = host_ports_change(dp, name, config, err);
	if (rc == 0)
		rc = keep_items(p, c, err);
	if (rc == 0 && xv_tx_queues_set(p->id, c->tx_queues, c->n_tx_queues) < 0)
		rc = xv_err_set(err, -ENOMEM, XV_ERR_RESOURCE, "out of memory");
	json_decref(config);
	return rc;
}

static void add_ledger(const struct xv_ovs_datapath *dp, const struct xv_ovs_port *p, uint64_t *rx, uint64_t *lost)
{
	const struct xv_host_port *device = xv_ovs_port_device(dp, p);
	struct xv_ledger l;

	if (device == NULL)
		return;
	xv_ledger_read(device->port, &l);
	*rx += l.rx_packets;
	*lost += l.drops[XV_DROP_UPCALL_FULL] + l.drops[XV_DROP_UPCALL_NOBODY];
}

void xv_ovs_datapath_get_stats(const struct xv_ovs_datapath *dp, struct xv_ovs_dp_stats *stats)
{
	uint64_t rx = dp->gone_rx, lost = dp->gone_lost;
	unsigned int id;

	for (id = 0; id < XV_MAX_PORTS; id++)
		if (dp->by_id[id] != NULL)
			add_ledger(dp, dp->by_id[id], &rx, &lost);
	*stats = (struct xv_ovs_dp_stats){.missed = dp->missed + lost, .lost = lost, .flows = xv_ovs_flows_count(dp->flows)};
	/* Packets out may miss, too. */
	stats->hits = rx > stats->missed ? rx - stats->missed : 0;
}

int xv_ovs_port_del(struct xv_ovs_datapath *dp, uint32_t number)
{
	struct xv_ovs_port *p = xv_ovs_port_by_number(dp, number);
	char name[2 * XV_NAME_LEN];
	int rc;

	if (p == NULL)
		return -ENODEV;
	host_name(dp, p->name, name, sizeof(name));
	add_ledger(dp, p, &dp->gone_rx, &dp->gone_lost);
	set_away(dp, p, true);
	rc = host_ports_change(dp, name, NULL, NULL);
	if (rc < 0) {
		set_away(dp, p, false);
		return rc;
	}
	forget(dp, p);
	return 0;
}

struct xv_ovs_port *xv_ovs_port_by_number(const struct xv_ovs_datapath *dp, uint32_t number)
{
	return number < XV_OVS_NUMBERS ? dp->by_number[number] : NULL;
}

struct xv_ovs_port *xv_ovs_port_by_name(const struct xv_ovs_datapath *dp, const char *name, uint32_t len)
{
	unsigned int id;

	for (id = 0; id < XV_MAX_PORTS; id++) {
		struct xv_ovs_port *p = dp->by_id[id];

		if (p != NULL && strlen(p->name) == len && memcmp(p->name, name, len) == 0)
			return p;
	}
	return NULL;
}

struct xv_host_port *xv_ovs_port_device(const struct xv_ovs_datapath *dp, const struct xv_ovs_port *port)
{
	return dp->host->ports[port->id];
}

uint32_t xv_ovs_port_id(const struct xv_ovs_datapath *dp, uint32_t number)
{
	const struct xv_ovs_port *p = xv_ovs_port_by_number(dp, number);

	return p != NULL && !p->away ? p->id : XV_FLOW_PORT_NONE;
}

uint32_t xv_ovs_port_number(const struct xv_ovs_datapath *dp, uint32_t id)
{
	return id < XV_MAX_PORTS && dp->by_id[id] != NULL ? dp->by_id[id]->number : UINT32_MAX;
}
