/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The running host: the objects that the model (model.h) describes, made real. Control thread only.
 * txn.c is the one that changes it; report.c and metrics.c read it.
 *
 * The host owns everything here. A port is identified by its id towards workers, by its name
 * towards people; outside of a transaction names are unique.
 */
#pragma once

#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include <event2/event.h>
#include <jansson.h>

#include "base/err.h"
#include "control/event_log.h"
#include "control/placement.h"
#include "fastpath/binding.h"
#include "fastpath/firewall.h"
#include "fastpath/network.h"
#include "fastpath/policy.h"
#include "fastpath/rate_limit.h"
#include "fastpath/vtep.h"
#include "fastpath/worker.h"
#include "port/port.h"

struct xv_drop_history;
struct xv_gateways;
struct xv_host;
struct xv_live_session;
struct xv_metrics;

/* A rate limit as configured and, if it limits anything, the buckets. */
struct xv_host_limit {
	uint64_t pps, bps;
	uint32_t burst_ms;
	struct xv_rate_limit *limit;
};

struct xv_host_port {
	struct xv_host *host;
	struct xv_port *port;
	json_t *config;          /* the model's object that the device follows */
	struct xv_binding bound; /* what is published; padding is zero, so that memcmp tells */
	bool is_bound;
	struct xv_host_limit rx_limit, tx_limit;
	uint16_t mtu;                /* as the device knows it */
	enum xv_port_state state;    /* last seen, to tell what changed */
	bool leaving, fresh;         /* inside a transaction: goes, or came, with it */
	struct xv_tunnel *tunnel;    /* of a port of kind tunnel */
	const struct xv_gateway *gateway; /* of an internal port: as published (gateways.h) */
	uint64_t ups, downs, breaks; /* events so far */
};

struct xv_host_network {
	TAILQ_ENTRY(xv_host_network) entry;
	struct xv_network *network;
	uint32_t mac_limit;
	uint16_t zone; /* of its connections, where they are tracked */
	bool leaving, fresh;
};

/* A zone whose network has gone: its connections go bit by bit, and then the zone may be another's. */
struct xv_host_zone {
	TAILQ_ENTRY(xv_host_zone) entry;
	uint64_t cursor;
	uint16_t zone;
};

/* A changed VTEP is another one of the same name, and so are its tunnels. */
struct xv_host_vtep {
	TAILQ_ENTRY(xv_host_vtep) entry;
	struct xv_vtep *vtep;
	json_t *config; /* the model's object */
	bool leaving, fresh;
};

/* A changed policy is another one of the same name. */
struct xv_host_policy {
	TAILQ_ENTRY(xv_host_policy) entry;
	struct xv_policy *policy;
	json_t *config; /* the model's object that it was compiled from */
	bool leaving, fresh;
};

/* Of a port in security groups. A changed firewall is another one of the same port's name. */
struct xv_host_firewall {
	TAILQ_ENTRY(xv_host_firewall) entry;
	struct xv_firewall *firewall;
	json_t *config; /* the model's derived object that it was compiled from */
	bool leaving, fresh;
};

struct xv_host_worker {
	struct xv_worker *worker;
	int cpu; /* -1 = not pinned */
	bool leaving, fresh;
};

struct xv_host {
	struct event_base *events;
	json_t *model; /* what runs, as a value; immutable, replaced by transactions */
	json_t *timeouts;      /* number of each set (conntrack_config.h) */
	json_t *rule_counters; /* of the model's rules (rule_counts.h) */
	cpu_set_t
		allowed; /* CPUs that workers may use: those of the process before EAL pinned it */
	uint64_t started_ns;
	bool has_started; /* the first transaction is over */

	struct xv_host_port *ports[XV_MAX_PORTS]; /* by id */
	uint16_t last_zone; /* given to a network */
	uint16_t next_id; /* ids go round, so that one comes back as late as possible */
	TAILQ_HEAD(, xv_host_network) networks;
	TAILQ_HEAD(, xv_host_zone) old_zones;
	TAILQ_HEAD(, xv_host_policy) policies;
	TAILQ_HEAD(, xv_host_firewall) firewalls;
	TAILQ_HEAD(, xv_host_vtep) vteps;
	struct xv_host_worker *workers[XV_MAX_WORKERS]; /* by slot */
	struct xv_placement placement;
	struct xv_gateways *gateways;
	struct xv_metrics *metrics; /* NULL = off */
	struct event *housekeeping;
	struct event *flows_timer, *flows_wanted;
	struct xv_event_log log;
	struct xv_drop_history *drops; /* NULL = nobody has watched yet */
	struct xv_live_session *live_session; /* the live trace that is on, or NULL */
};

/* allowed: see there. The base is used, not owned. */
int xv_host_create(struct event_base *events, const cpu_set_t *allowed, struct xv_host **host);
/* Remove everything that runs, in order. Accepts NULL. */
void xv_host_destroy(struct xv_host *host);

/* By name, skipping those marked leaving; NULL = none. */
struct xv_host_port *xv_host_port_lookup(const struct xv_host *host, const char *name);
struct xv_host_network *xv_host_network_lookup(const struct xv_host *host, const char *name);
struct xv_host_policy *xv_host_policy_lookup(const struct xv_host *host, const char *name);
struct xv_host_firewall *xv_host_firewall_lookup(const struct xv_host *host, const char *port);
struct xv_host_vtep *xv_host_vtep_lookup(const struct xv_host *host, const char *name);
struct xv_host_worker *xv_host_worker_lookup(const struct xv_host *host, const char *name);

/*
 * Make a port from its object and register it, unbound and polled by nobody. daemon: the model's
 * daemon object (owner and mode of sockets). Destroy: it is bound to nothing and polled by nobody.
 */
int xv_host_port_create(struct xv_host *host, json_t *config, const json_t *daemon,
			struct xv_host_port **port, struct xv_err *err);
void xv_host_port_destroy(struct xv_host_port *port);
/* Follow a changed object without a new device. -ENOTSUP: the kind cannot. */
int xv_host_port_reconfigure(struct xv_host_port *port, json_t *config, const json_t *daemon,
			     struct xv_err *err);

int xv_host_network_create(struct xv_host *host, const json_t *config,
			   struct xv_host_network **network, struct xv_err *err);
/* Freed after a grace period. */
void xv_host_network_destroy(struct xv_host *host, struct xv_host_network *network);

/* rule_counters: of the model that it is from. */
int xv_host_policy_create(struct xv_host *host, json_t *config, const json_t *rule_counters,
			  struct xv_host_policy **policy, struct xv_err *err);
/* Freed after a grace period. */
void xv_host_policy_destroy(struct xv_host *host, struct xv_host_policy *policy);

int xv_host_firewall_create(struct xv_host *host, json_t *config, struct xv_host_firewall **firewall,
			    struct xv_err *err);
/* Freed after a grace period. */
void xv_host_firewall_destroy(struct xv_host *host, struct xv_host_firewall *firewall);

int xv_host_vtep_create(struct xv_host *host, json_t *config, struct xv_host_vtep **vtep, struct xv_err *err);
/* Its tunnels' ports are gone. Freed after a grace period. */
void xv_host_vtep_destroy(struct xv_host *host, struct xv_host_vtep *vtep);

int xv_host_worker_create(struct xv_host *host, const json_t *config,
			  struct xv_host_worker **worker, struct xv_err *err);
/* It polls nothing. */
void xv_host_worker_destroy(struct xv_host *host, struct xv_host_worker *worker);

/* Make flows of what workers ask for, now: see xv_flows_poll(). True while there is more to do; it is looked after. */
bool xv_host_poll_flows(struct xv_host *host);

/* Have deferred frees looked at soon rather than at the next tick of housekeeping. */
void xv_host_expect_frees(struct xv_host *host);
