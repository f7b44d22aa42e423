/* SPDX-License-Identifier: Apache-2.0 */
/* What gateways.c and gateway_packets.c share; private to them. Control thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include <event2/event.h>
#include <jansson.h>

#include "control/gateways.h"
#include "control/health.h"
#include "fastpath/gateway.h"

#define XV_NEIGHBOURS_MAX 4096 /* of one network */
#define XV_ASKED_MAX      256  /* of those, that have not answered yet */
#define XV_HELD_MAX       3    /* packets that wait for one */
#define XV_FRAME_MAX      2048 /* longer ones are not handled here */

struct gateway;

struct held {
	struct gateway *from; /* where it came from, to send an error to */
	uint16_t len;
	uint8_t frame[];
};

struct neighbour {
	TAILQ_ENTRY(neighbour) entry;
	union xv_ip_addr addr;
	bool ipv6, known;
	bool fixed;  /* the host file says where it is */
	bool wanted; /* by a backend or a default gateway: asked for as long as that is there */
	bool seen;   /* mark of a sweep */
	uint8_t mac[6];
	uint8_t tries;
	uint32_t asked_ms, confirmed_ms;
	unsigned int n_held;
	struct held *held[XV_HELD_MAX];
};

/* One network's. */
struct gateway {
	TAILQ_ENTRY(gateway) entry;
	struct xv_gateways *all;
	char network[XV_NAME_LEN];
	struct xv_host_port *port; /* internal; NULL: it is gone */
	uint8_t mac[6];
	struct event *readable;
	const struct xv_gateway *current; /* published; NULL: nothing yet */
	TAILQ_HEAD(, neighbour) neighbours;
	unsigned int n_neighbours, n_asked;
	bool seen;
};

struct backend {
	union xv_ip_addr addr;
	char text[XV_NAME_LEN];
	uint16_t port, check_port, weight;
	bool drain;
	struct xv_health health;
	_Atomic uint64_t *opened;
	struct neighbour *neighbour; /* as of the last publication */
};

struct balancer {
	TAILQ_ENTRY(balancer) entry;
	struct gateway *gateway;
	json_t *config;
	union xv_ip_addr addr, source;
	bool ipv6, direct, has_source, checks, icmp;
	uint8_t proto;
	uint16_t port, id; /* id: of its echo requests, and first source port */
	struct xv_health_config health;
	unsigned int n;
	struct backend *backends;
	const struct xv_load_balancer *current;
	bool seen;
};

struct router {
	TAILQ_ENTRY(router) entry;
	json_t *config;
	char name[XV_NAME_LEN];
	uint16_t zone;
	const struct xv_router *current;
	bool seen;
};

/* Connections that are to be forgotten, a piece at a time. */
struct purge {
	TAILQ_ENTRY(purge) entry;
	uint16_t zone;
	uint64_t cursor;
	/* of a balancer */
	bool of_balancer, direct, one_backend;
	union xv_ip_addr addr, backend;
	uint16_t port, backend_port;
	uint8_t proto;
	/* of a router: those that it would not translate so any more; "": all */
	char router[XV_NAME_LEN];
};

/* Nobody needs it any more, once what is to be published is. */
struct retired {
	STAILQ_ENTRY(retired) entry;
	void (*fn)(void *arg);
	void *arg;
};

struct xv_gateways {
	struct xv_host *host;
	struct event *timer;
	bool dirty; /* something is to be published */
	uint16_t next_id;
	TAILQ_HEAD(, gateway) gateways;
	TAILQ_HEAD(balancers, balancer) balancers;
	TAILQ_HEAD(, router) routers;
	TAILQ_HEAD(, purge) purges;
	STAILQ_HEAD(, retired) retired;
};

/* gateways.c */
struct neighbour *xv_gateway_neighbour(struct gateway *g, const union xv_ip_addr *addr, bool ipv6);
/* Asked for from now on; NULL: there are too many. */
struct neighbour *xv_gateway_neighbour_want(struct gateway *g, const union xv_ip_addr *addr,
					    bool ipv6);
void xv_gateway_ask(struct gateway *g, struct neighbour *n);
void xv_gateway_answered(struct xv_gateways *all, struct balancer *b, struct backend *backend,
			 uint16_t seq, bool good);
void xv_gateways_changed(struct xv_gateways *all);

/* gateway_publish.c */
struct gateway *xv_gateway_of(struct xv_gateways *all, const char *network);
bool xv_gateway_is_usable(const struct balancer *b, const struct backend *backend);
/* Build everything anew, and bind it. */
void xv_gateways_publish(struct xv_gateways *all);
/* To be freed by fn when no binding leads to it any more: after the next publication, and a grace period. arg may be NULL. */
void xv_gateway_retire(struct xv_gateways *all, void (*fn)(void *arg), const void *arg);
void xv_gateways_free_retired(struct xv_gateways *all);
void xv_gateway_free_balancer(void *arg);
void xv_gateway_free_router(void *arg);
void xv_gateway_free_gateway(void *arg);

/* gateway_purge.c */
/* Connections to the balancer, of one backend or (NULL) all. */
void xv_gateway_purge_balancer(struct xv_gateways *all, const struct balancer *b, const struct backend *backend);
/* Those that the router would not translate as they are; or all that it has translated. */
void xv_gateway_purge_router(struct xv_gateways *all, const struct router *r, bool whole);
/* Go on for a millisecond; true: there is more to do. */
bool xv_gateway_purge_some(struct xv_gateways *all);

/* gateway_packets.c */
void xv_gateway_receive_all(struct gateway *g);
void xv_gateway_send(struct gateway *g, const uint8_t *frame, uint32_t len);
/* What waited for the neighbour goes on, or is given up. */
void xv_gateway_release(struct gateway *g, struct neighbour *n);
void xv_gateway_give_up(struct gateway *g, struct neighbour *n);
void xv_gateway_probe(struct balancer *b, struct backend *backend);
