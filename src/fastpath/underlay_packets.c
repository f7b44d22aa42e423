/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The few packets that a VTEP sends and understands itself: ARP (RFC 826, 5227), neighbour solicitation and
 * advertisement (RFC 4861), ICMP and ICMPv6 echo. Control thread. Input is hostile: nothing is read that was not
 * checked to be there.
 */
#include "fastpath/underlay_state.h"

#include <string.h>

#include <netinet/in.h>
#include <rte_mbuf.h>

#include "fastpath/ledger.h"
#include "net/checksum.h"
#include "net/packet.h"
#include "port/eal.h"

#define ETH_LEN               14
#define ETH_MIN               60 /* without checksum: devices need not pad */
#define ETH_8021Q             0x8100
#define VLAN_LEN              4
#define ETH_IPV4              0x0800
#define ETH_ARP               0x0806
#define ETH_IPV6              0x86dd
#define IPV4_LEN              20
#define IPV6_LEN              40
#define ARP_LEN               28
#define ARP_REQUEST           1
#define ARP_REPLY             2
#define ICMP_ECHO_REPLY_TYPE  0
#define ICMP_ECHO_TYPE        8
#define ICMP6_ECHO_TYPE       128
#define ICMP6_ECHO_REPLY_TYPE 129
#define ND_SOLICIT            135
#define ND_ADVERT             136
#define ND_LEN                24 /* of both, without options */
#define ND_OPTION_LEN         8  /* of a link-layer address */
#define ND_SOURCE             1
#define ND_TARGET             2
#define ND_SOLICITED          0x40
#define ND_OVERRIDE           0x20
#define TTL                   64
#define SUM_OK                0xffff /* of data with its checksum */

static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static void put16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

/* Sums are in memory order (net/checksum.h). */
static void put_sum(uint8_t *p, uint16_t sum)
{
	memcpy(p, &sum, sizeof(sum));
}

/* ---- Out ---- */

/* Out of the uplink, with the underlay's tag. Takes m. */
static void transmit(const struct xv_vtep *v, const struct xv_uplink *uplink, struct rte_mbuf *m)
{
	struct xv_port *port = uplink->port;
	enum xv_drop why;
	uint8_t *data;
	uint32_t len;

	if (v->outer.vlan != 0) {
		data = (uint8_t *)rte_pktmbuf_prepend(m, VLAN_LEN);
		if (data == NULL) {
			rte_pktmbuf_free(m);
			return;
		}
		memmove(data, data + VLAN_LEN, 12);
		put16(data + 12, ETH_8021Q);
		put16(data + 14, v->outer.vlan);
	}
	len = rte_pktmbuf_pkt_len(m);
	/* The kind serialises senders to one queue; what it does not take now is asked for or sent again. */
	if (port == NULL || atomic_load(&port->tx_queues) == 0 || port->ops->tx(port, 0, &m, 1, &why) != 1)
		rte_pktmbuf_free(m);
	else
		xv_ledger_add_tx(port->id, 1, len);
}

/* A frame of len bytes, all zero but for its Ethernet header; NULL: no packet memory. */
static struct rte_mbuf *frame_new(const struct xv_uplink *uplink, const uint8_t dst[6], uint16_t eth_type,
				  uint16_t len, uint8_t **data)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(xv_packet_pool());

	if (m == NULL)
		return NULL;
	len = len < ETH_MIN ? ETH_MIN : len;
	*data = (uint8_t *)rte_pktmbuf_append(m, len);
	memset(*data, 0, len);
	memcpy(*data, dst, 6);
	memcpy(*data + 6, uplink->mac, 6);
	put16(*data + 12, eth_type);
	return m;
}

/* addr, target: four bytes each. */
static void send_arp(const struct xv_vtep *v, const struct xv_uplink *uplink, uint16_t op, const uint8_t dst[6],
		     const uint8_t *target_mac, const uint8_t *target)
{
	uint8_t *data, *arp;
	struct rte_mbuf *m = frame_new(uplink, dst, ETH_ARP, ETH_LEN + ARP_LEN, &data);

	if (m == NULL)
		return;
	arp = data + ETH_LEN;
	put16(arp, 1); /* Ethernet */
	put16(arp + 2, ETH_IPV4);
	arp[4] = 6;
	arp[5] = 4;
	put16(arp + 6, op);
	memcpy(arp + 8, uplink->mac, 6);
	memcpy(arp + 14, &v->addr.bytes[12], 4);
	if (target_mac != NULL)
		memcpy(arp + 18, target_mac, 6);
	memcpy(arp + 24, target, 4);
	transmit(v, uplink, m);
}

static void finish_icmp6(uint8_t *ip, uint16_t len)
{
	uint8_t *icmp = ip + IPV6_LEN;
	uint16_t sum = xv_csum_pseudo6(ip + 8, ip + 24, IPPROTO_ICMPV6, len);

	put16(icmp + 2, 0);
	put_sum(icmp + 2, xv_csum_finish(xv_csum_add(sum, xv_csum_sum(icmp, len))));
}

/* Solicitation or advertisement with our link-layer address in its option. */
static void send_nd(const struct xv_vtep *v, const struct xv_uplink *uplink, uint8_t type, uint8_t flags,
		    const uint8_t dst_mac[6], const uint8_t dst[16], const uint8_t target[16])
{
	const uint16_t len = ND_LEN + ND_OPTION_LEN;
	uint8_t *data, *ip, *nd;
	struct rte_mbuf *m = frame_new(uplink, dst_mac, ETH_IPV6, ETH_LEN + IPV6_LEN + len, &data);

	if (m == NULL)
		return;
	ip = data + ETH_LEN;
	nd = ip + IPV6_LEN;
	ip[0] = 0x60;
	put16(ip + 4, len);
	ip[6] = IPPROTO_ICMPV6;
	ip[7] = 255; /* RFC 4861 section 7.1: proves that no router was between */
	memcpy(ip + 8, v->addr.bytes, 16);
	memcpy(ip + 24, dst, 16);
	nd[0] = type;
	nd[4] = flags;
	memcpy(nd + 8, target, 16);
	nd[ND_LEN] = type == ND_SOLICIT ? ND_SOURCE : ND_TARGET;
	nd[ND_LEN + 1] = 1;
	memcpy(nd + ND_LEN + 2, uplink->mac, 6);
	finish_icmp6(ip, len);
	transmit(v, uplink, m);
}

static const uint8_t all_nodes[16] = {0xff, 0x02, [15] = 1};
static const uint8_t all_nodes_mac[6] = {0x33, 0x33, 0, 0, 0, 1};

void xv_underlay_ask(const struct xv_vtep *v, const struct xv_uplink *uplink, const union xv_ip_addr *addr,
		     const uint8_t *mac)
{
	uint8_t group[16] = {0xff, 0x02, [11] = 1, [12] = 0xff}, group_mac[6] = {0x33, 0x33, 0xff};

	if (!v->ipv6) {
		send_arp(v, uplink, ARP_REQUEST, mac != NULL ? mac : broadcast, NULL, &addr->bytes[12]);
		return;
	}
	memcpy(group + 13, &addr->bytes[13], 3);
	memcpy(group_mac + 3, &addr->bytes[13], 3);
	if (mac != NULL)
		send_nd(v, uplink, ND_SOLICIT, 0, mac, addr->bytes, addr->bytes);
	else
		send_nd(v, uplink, ND_SOLICIT, 0, group_mac, group, addr->bytes);
}

void xv_underlay_announce(const struct xv_vtep *v, const struct xv_uplink *uplink)
{
	if (v->ipv6)
		send_nd(v, uplink, ND_ADVERT, ND_OVERRIDE, all_nodes_mac, all_nodes, v->addr.bytes);
	else
		send_arp(v, uplink, ARP_REQUEST, broadcast, NULL, &v->addr.bytes[12]);
}

/* ---- In ---- */

static void receive_arp(struct xv_vtep *v, const struct xv_uplink *uplink, const uint8_t *data, uint32_t len)
{
	const uint8_t *arp = data + ETH_LEN;
	union xv_ip_addr sender = {0};

	if (len < ETH_LEN + ARP_LEN || get16(arp) != 1 || get16(arp + 2) != ETH_IPV4 || arp[4] != 6 || arp[5] != 4)
		return;
	memcpy(&sender.bytes[12], arp + 14, 4);
	if (memcmp(arp + 14, &v->addr.bytes[12], 4) == 0)
		return; /* somebody else with our address, or a test of ours come back */
	xv_underlay_learn(v, uplink, &sender, arp + 8);
	if (get16(arp + 6) == ARP_REQUEST && memcmp(arp + 24, &v->addr.bytes[12], 4) == 0)
		send_arp(v, uplink, ARP_REPLY, arp + 8, arp + 8, arp + 14);
}

/* The link-layer address in the options of a neighbour message, NULL = none. Bounded: every option has at least 8
 * bytes. */
static const uint8_t *nd_option(const uint8_t *nd, uint32_t len, uint8_t type)
{
	uint32_t at;

	for (at = ND_LEN; at + ND_OPTION_LEN <= len && nd[at + 1] != 0; at += nd[at + 1] * 8u)
		if (nd[at] == type && nd[at + 1] == 1)
			return nd + at + 2;
	return NULL;
}

static void receive_solicit(struct xv_vtep *v, const struct xv_uplink *uplink, const uint8_t *data, uint32_t len)
{
	const uint8_t *ip = data + ETH_LEN, *nd = ip + IPV6_LEN, *mac = nd_option(nd, len, ND_SOURCE);
	static const uint8_t unspecified[16];
	union xv_ip_addr sender;

	if (memcmp(nd + 8, v->addr.bytes, 16) != 0)
		return;
	if (memcmp(ip + 8, unspecified, 16) == 0) { /* somebody wants to take our address (RFC 4862 section 5.4.3) */
		send_nd(v, uplink, ND_ADVERT, ND_OVERRIDE, all_nodes_mac, all_nodes, v->addr.bytes);
		return;
	}
	memcpy(sender.bytes, ip + 8, 16);
	if (mac != NULL)
		xv_underlay_learn(v, uplink, &sender, mac);
	send_nd(v, uplink, ND_ADVERT, ND_SOLICITED | ND_OVERRIDE, data + 6, ip + 8, v->addr.bytes);
}

static void receive_advert(struct xv_vtep *v, const struct xv_uplink *uplink, const uint8_t *data, uint32_t len)
{
	const uint8_t *nd = data + ETH_LEN + IPV6_LEN, *mac = nd_option(nd, len, ND_TARGET);
	union xv_ip_addr target;

	memcpy(target.bytes, nd + 8, 16);
	/* Answers to a unicast question may leave the option out (RFC 4861 section 4.4). */
	if (mac == NULL && (nd[4] & ND_SOLICITED) != 0)
		mac = data + 6;
	if (mac != NULL)
		xv_underlay_learn(v, uplink, &target, mac);
}

/* The answer goes back in the packet itself, to where it came from. */
static void turn_round(const struct xv_uplink *uplink, uint8_t *data)
{
	memcpy(data, data + 6, 6);
	memcpy(data + 6, uplink->mac, 6);
}

/* True: the frame is the answer now. */
static bool echo(const struct xv_vtep *v, const struct xv_uplink *uplink, uint8_t *data, uint32_t len)
{
	uint8_t *ip = data + ETH_LEN, *icmp;
	uint32_t header, total;

	if (len < ETH_LEN + IPV4_LEN + 8)
		return false;
	header = (ip[0] & 0xfu) * 4;
	total = get16(ip + 2);
	if (ip[0] >> 4 != 4 || header < IPV4_LEN || total < header + 8 || ETH_LEN + total > len ||
	    (get16(ip + 6) & 0x3fff) != 0 || xv_csum_sum(ip, header) != SUM_OK)
		return false;
	icmp = ip + header;
	if (icmp[0] != ICMP_ECHO_TYPE || icmp[1] != 0 || (ip[12] & 0xf0) == 0xe0 ||
	    xv_csum_sum(icmp, total - header) != SUM_OK)
		return false;
	turn_round(uplink, data);
	memcpy(ip + 16, ip + 12, 4);
	memcpy(ip + 12, &v->addr.bytes[12], 4);
	ip[8] = TTL;
	put16(ip + 10, 0);
	put_sum(ip + 10, (uint16_t)~xv_csum_sum(ip, header));
	icmp[0] = ICMP_ECHO_REPLY_TYPE;
	put16(icmp + 2, 0);
	put_sum(icmp + 2, (uint16_t)~xv_csum_sum(icmp, total - header));
	return true;
}

/* True: the frame is the answer now. */
static bool receive_icmp6(struct xv_vtep *v, const struct xv_uplink *uplink, uint8_t *data, uint32_t len)
{
	uint8_t *ip = data + ETH_LEN, *icmp = ip + IPV6_LEN;
	uint32_t payload;
	uint16_t sum;

	if (len < ETH_LEN + IPV6_LEN + 8 || ip[0] >> 4 != 6)
		return false;
	payload = get16(ip + 4);
	if (payload < 8 || ETH_LEN + IPV6_LEN + payload > len)
		return false;
	sum = xv_csum_add(xv_csum_pseudo6(ip + 8, ip + 24, IPPROTO_ICMPV6, payload), xv_csum_sum(icmp, payload));
	if (sum != SUM_OK || icmp[1] != 0)
		return false;
	/* RFC 4861 section 7.1 */
	if ((icmp[0] == ND_SOLICIT || icmp[0] == ND_ADVERT) && ip[7] == 255 && payload >= ND_LEN) {
		if (icmp[0] == ND_SOLICIT)
			receive_solicit(v, uplink, data, payload);
		else
			receive_advert(v, uplink, data, payload);
		return false;
	}
	if (icmp[0] != ICMP6_ECHO_TYPE || ip[8] == 0xff || memcmp(ip + 24, v->addr.bytes, 16) != 0)
		return false;
	turn_round(uplink, data);
	memcpy(ip + 24, ip + 8, 16);
	memcpy(ip + 8, v->addr.bytes, 16);
	ip[7] = TTL;
	icmp[0] = ICMP6_ECHO_REPLY_TYPE;
	finish_icmp6(ip, (uint16_t)payload);
	return true;
}

void xv_underlay_receive(struct xv_vtep *v, const struct xv_uplink *uplink, struct rte_mbuf *m)
{
	uint32_t len = rte_pktmbuf_pkt_len(m);
	uint8_t *data;

	/* One piece of memory; larger ones are not worth an answer. Who leaves checksums to us is no neighbour. */
	if ((m->ol_flags & XV_PACKET_OFFLOAD) != 0 || rte_mbuf_refcnt_read(m) != 1 || rte_pktmbuf_linearize(m) != 0 ||
	    len < ETH_LEN) {
		rte_pktmbuf_free(m);
		return;
	}
	data = rte_pktmbuf_mtod(m, uint8_t *);
	if (v->outer.vlan != 0 && len >= ETH_LEN + VLAN_LEN) { /* it has the tag: vtep.c looked */
		memmove(data + VLAN_LEN, data, 12);
		data = (uint8_t *)rte_pktmbuf_adj(m, VLAN_LEN);
		len -= VLAN_LEN;
	}
	switch (get16(data + 12)) {
	case ETH_ARP:
		if (!v->ipv6)
			receive_arp(v, uplink, data, len);
		break;
	case ETH_IPV4:
		if (!v->ipv6 && echo(v, uplink, data, len)) {
			transmit(v, uplink, m);
			return;
		}
		break;
	case ETH_IPV6:
		if (v->ipv6 && receive_icmp6(v, uplink, data, len)) {
			transmit(v, uplink, m);
			return;
		}
		break;
	default:
		break;
	}
	rte_pktmbuf_free(m);
}
