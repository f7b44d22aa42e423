/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What workers hand over to the gateway of a network: questions for its addresses, pings, answers
 * to health checks, and packets that the router could not forward at once. Input is hostile.
 * Bounded: a port's ring, so many packets at a time, so many that wait.
 */
#include "control/gateway_state.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "net/checksum.h"
#include "net/host_packet.h"
#include "net/icmp_error.h"
#include "port/internal.h"

#define AT_ONCE 64 /* then others have their turn */
#define ETH_LEN 14

_Static_assert(XV_ANSWER_MAX <= XV_FRAME_MAX, "an error fits");

void xv_gateway_send(struct gateway *g, const uint8_t *frame, uint32_t len)
{
	if (g->port != NULL)
		xv_worker_inject(g->port->port, frame, (uint16_t)len);
}

/* ---- Neighbours ---- */

static void learn(struct gateway *g, const union xv_ip_addr *addr, bool ipv6, const uint8_t mac[6])
{
	struct neighbour *n = xv_gateway_neighbour(g, addr, ipv6);

	if (n == NULL || n->fixed || (mac[0] & 1) != 0)
		return;
	n->confirmed_ms = xv_clock_ms(xv_clock_cycles());
	n->tries = 0;
	if (n->known && memcmp(n->mac, mac, 6) == 0)
		return;
	g->n_asked -= !n->known;
	memcpy(n->mac, mac, 6);
	n->known = true;
	xv_gateways_changed(g->all);
	xv_gateway_release(g, n);
}

/* Tunnels: other hosts answer their own VMs for virtual addresses. */
static bool from_tunnel(const struct gateway *g, uint16_t port_id)
{
	const struct xv_host_port *p = port_id < XV_MAX_PORTS ? g->all->host->ports[port_id] : NULL;

	return p != NULL && p->tunnel != NULL;
}

static bool is_answered(const struct gateway *g, const union xv_ip_addr *addr, bool ipv6,
			bool tunnel)
{
	const struct xv_gateway_address *own =
		g->current != NULL ? xv_gateway_address(g->current, addr, ipv6) : NULL;
	union xv_ip_addr link_local;

	if (own != NULL)
		return !tunnel || (own->use & ~XV_GATEWAY_VIRTUAL) != 0;
	xv_host_link_local(g->mac, &link_local);
	return ipv6 && memcmp(addr, &link_local, sizeof(*addr)) == 0;
}

static void asked(struct gateway *g, const struct xv_host_packet *p, bool tunnel)
{
	const union xv_ip_addr *target = p->ipv6 ? &p->target : &p->dst;
	uint8_t answer[XV_HOST_PACKET_MAX];

	if (g->current != NULL && xv_gateway_address(g->current, &p->src, p->ipv6) != NULL)
		return; /* somebody else with an address of ours, or an announcement come back */
	if (p->has_mac)
		learn(g, &p->src, p->ipv6, p->mac);
	if (is_answered(g, target, p->ipv6, tunnel))
		xv_gateway_send(g, answer, xv_host_tell(answer, g->mac, p));
}

/* ---- Health ---- */

void xv_gateway_probe(struct balancer *b, struct backend *backend)
{
	const struct neighbour *n = backend->neighbour;
	uint16_t seq = backend->health.seq, index = (uint16_t)(backend - b->backends);
	uint8_t frame[XV_HOST_PACKET_MAX];
	uint32_t len;

	if (n == NULL || !n->known)
		return; /* no answer either */
	if (b->icmp)
		len = xv_host_echo(frame, b->gateway->mac, n->mac, b->ipv6, &b->source,
				   &backend->addr, (uint16_t)(b->id + index), seq);
	else
		len = xv_host_segment(frame, b->gateway->mac, n->mac, b->ipv6, &b->source,
				      &backend->addr, (uint16_t)(32768 + (b->id + index) % 16384),
				      backend->check_port, XV_HOST_TCP_SYN, (uint32_t)seq << 16);
	xv_gateway_send(b->gateway, frame, len);
}

/* Is it the answer of a backend of b? */
static bool answers(struct balancer *b, const struct xv_host_packet *p)
{
	uint8_t frame[XV_HOST_PACKET_MAX];

	for (unsigned int i = 0; i < b->n; i++) {
		struct backend *backend = &b->backends[i];
		bool good = (p->tcp_flags & XV_HOST_TCP_RST) == 0;

		if (memcmp(&backend->addr, &p->src, sizeof(p->src)) != 0)
			continue;
		if (b->icmp) {
			if (p->type != XV_HOST_ECHO_REPLY || p->id != (uint16_t)(b->id + i))
				continue;
			xv_gateway_answered(b->gateway->all, b, backend, p->seq, true);
			return true;
		}
		if (p->type != XV_HOST_TCP || p->src_port != backend->check_port ||
		    p->dst_port != 32768 + (b->id + i) % 16384 ||
		    (p->tcp_flags & XV_HOST_TCP_ACK) == 0 ||
		    p->tcp_ack != ((uint32_t)backend->health.seq << 16) + 1)
			continue;
		/* Whoever accepts is not bothered any more. */
		if (good)
			xv_gateway_send(b->gateway, frame,
					xv_host_segment(frame, b->gateway->mac, p->eth_src, b->ipv6,
							&b->source, &backend->addr, p->dst_port,
							p->src_port, XV_HOST_TCP_RST, p->tcp_ack));
		xv_gateway_answered(b->gateway->all, b, backend, backend->health.seq, good);
		return true;
	}
	return false;
}

static void checked(struct gateway *g, const struct xv_host_packet *p)
{
	struct balancer *b;

	TAILQ_FOREACH (b, &g->all->balancers, entry) {
		if (b->gateway == g && b->checks && b->ipv6 == p->ipv6 &&
		    memcmp(&b->source, &p->dst, sizeof(p->dst)) == 0 && answers(b, p))
			return;
	}
}

/* ---- Routing ---- */

static struct gateway *gateway_by_port(struct xv_gateways *all, uint16_t port_id)
{
	struct gateway *g;

	TAILQ_FOREACH (g, &all->gateways, entry) {
		if (g->port != NULL && g->port->port->id == port_id)
			return g;
	}
	return NULL;
}

static void send_error(struct gateway *g, enum xv_router_error error, bool ipv6,
		       const uint8_t *frame, uint16_t len)
{
	const struct xv_router *r = g->current != NULL ? g->current->router : NULL;
	uint8_t answer[XV_ANSWER_MAX];
	unsigned int i;
	uint32_t n;

	for (i = 0; r != NULL && g->port != NULL && i < r->n_interfaces; i++) {
		const struct xv_router_interface *own = &r->interfaces[i];

		if (own->port_id != g->port->port->id || own->ipv6 != ipv6)
			continue;
		n = xv_icmp_router_error(error, ipv6 ? own->addr.bytes : &own->addr.bytes[12],
					 frame, len, len, answer);
		if (n > 0)
			xv_gateway_send(g, answer, n);
		return;
	}
}

static void forward_to(struct gateway *out, const struct neighbour *n, uint8_t *frame, uint16_t len)
{
	uint8_t *ip = frame + ETH_LEN;
	uint16_t sum, before, after;

	memcpy(frame, n->mac, 6);
	memcpy(frame + 6, out->mac, 6);
	if (n->ipv6) {
		ip[7]--;
	} else {
		memcpy(&before, ip + 8, 2);
		ip[8]--;
		memcpy(&after, ip + 8, 2);
		memcpy(&sum, ip + 10, 2);
		sum = xv_csum_update16(sum, before, after);
		memcpy(ip + 10, &sum, 2);
	}
	xv_gateway_send(out, frame, len);
}

static void hold(struct gateway *from, struct neighbour *n, const uint8_t *frame, uint16_t len)
{
	struct held *h;

	if (n->n_held == XV_HELD_MAX)
		return;
	h = malloc(sizeof(*h) + len);
	if (h == NULL)
		return;
	h->from = from;
	h->len = len;
	memcpy(h->frame, frame, len);
	n->held[n->n_held++] = h;
}

void xv_gateway_release(struct gateway *g, struct neighbour *n)
{
	for (unsigned int i = 0; i < n->n_held; i++) {
		forward_to(g, n, n->held[i]->frame, n->held[i]->len);
		free(n->held[i]);
	}
	n->n_held = 0;
}

void xv_gateway_give_up(struct gateway *g, struct neighbour *n)
{
	(void)g;
	for (unsigned int i = 0; i < n->n_held; i++) {
		send_error(n->held[i]->from, XV_ROUTER_NO_HOST, n->ipv6, n->held[i]->frame,
			   n->held[i]->len);
		free(n->held[i]);
	}
	n->n_held = 0;
}

static void route(struct gateway *g, const struct xv_host_packet *p, uint8_t *frame, uint16_t len)
{
	const struct xv_router *r = g->current != NULL ? g->current->router : NULL;
	const struct xv_router_interface *out;
	struct neighbour *n;
	union xv_ip_addr via;
	struct gateway *to;

	if (r == NULL)
		return;
	if (frame[ETH_LEN + (p->ipv6 ? 7 : 8)] <= 1) {
		send_error(g, XV_ROUTER_TIME_EXCEEDED, p->ipv6, frame, len);
		return;
	}
	out = xv_router_route(r, &p->dst, p->ipv6, &via);
	to = out != NULL ? gateway_by_port(g->all, out->port_id) : NULL;
	if (to == NULL) {
		send_error(g, XV_ROUTER_NO_ROUTE, p->ipv6, frame, len);
		return;
	}
	n = xv_gateway_neighbour_want(to, &via, p->ipv6);
	if (n == NULL)
		return;
	if (n->known) {
		forward_to(to, n, frame, len);
		return;
	}
	hold(g, n, frame, len);
	if (n->tries == 0)
		xv_gateway_ask(to, n);
}

/* ---- In ---- */

/* Of its own, on this network or, by the router, on another. */
static bool is_own(const struct gateway *g, const union xv_ip_addr *addr, bool ipv6)
{
	if (g->current == NULL)
		return false;
	return xv_gateway_address(g->current, addr, ipv6) != NULL ||
	       (g->current->router != NULL &&
		xv_router_interface_of(g->current->router, addr, ipv6) != NULL);
}

static void receive(struct gateway *g, struct rte_mbuf *m)
{
	uint32_t len = rte_pktmbuf_pkt_len(m);
	uint8_t frame[XV_FRAME_MAX];
	struct xv_host_packet p;
	const uint8_t *data;

	if (len > sizeof(frame))
		return;
	data = rte_pktmbuf_read(m, 0, len, frame);
	if (data != frame)
		memcpy(frame, data, len);
	if (!xv_host_packet_parse(frame, len, &p))
		return;
	switch (p.type) {
	case XV_HOST_ARP_REQUEST:
	case XV_HOST_SOLICIT:
		asked(g, &p, from_tunnel(g, m->port));
		return;
	case XV_HOST_ARP_REPLY:
		learn(g, &p.src, false, p.mac);
		return;
	case XV_HOST_ADVERT:
		if (p.has_mac)
			learn(g, &p.target, true, p.mac);
		return;
	default:
		break;
	}
	/* IP, to our MAC address only: what is flooded is for others. */
	if (memcmp(frame, g->mac, 6) != 0)
		return;
	if (!is_own(g, &p.dst, p.ipv6)) {
		if (!is_answered(g, &p.dst, p.ipv6, false))
			route(g, &p, frame, (uint16_t)len);
		return;
	}
	if (p.type == XV_HOST_ECHO) {
		xv_host_echo_turn(frame, &p);
		xv_gateway_send(g, frame, len);
	} else if (p.type == XV_HOST_ECHO_REPLY || p.type == XV_HOST_TCP) {
		checked(g, &p);
	}
}

void xv_gateway_receive_all(struct gateway *g)
{
	struct rte_mbuf *pkts[AT_ONCE];
	uint16_t n, i;

	if (g->port == NULL)
		return;
	n = xv_internal_port_take(g->port->port, pkts, AT_ONCE);
	for (i = 0; i < n; i++) {
		receive(g, pkts[i]);
		rte_pktmbuf_free(pkts[i]);
	}
}
