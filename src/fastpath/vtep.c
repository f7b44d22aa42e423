/* SPDX-License-Identifier: Apache-2.0 */
/* Tunnels as workers see them: outer headers off, outer headers on, and packets that wait for a next hop. */
#include "fastpath/vtep.h"

#include <errno.h>
#include <string.h>

#include <rte_ether.h>
#include <rte_ip.h>

#include "base/clock.h"
#include "fastpath/live_state.h"
#include "fastpath/underlay_state.h"
#include "net/bytes.h"
#include "net/parse.h"
#include "net/tunnel_memo.h"

#define WAIT_MS         3000 /* for a next hop, then a packet is dropped */
#define WAIT_PER_TUNNEL 32   /* packets; of all tunnels: XV_WAITING_MAX */
#define VLAN_LEN        4
#define ARP_LEN         28
#define IPV4_LEN        20
#define IPV6_LEN        40

/* ---- In ---- */

static inline bool is_multicast(const uint8_t *mac)
{
	return (mac[0] & 1) != 0;
}

enum outer {
	OUTER_TUNNEL, /* to our address: outer headers, if anything */
	OUTER_PUNT,   /* the control thread's */
	OUTER_STRAY,
};

/* ff02::1:ffXX:XXXX of our address (RFC 4291 section 2.7.1), or all nodes, to which neighbours announce themselves. */
static bool is_for_us_multicast(const struct xv_vtep *v, const uint8_t dst[16])
{
	static const uint8_t solicited[13] = {0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff};
	static const uint8_t all_nodes[16] = {0xff, 0x02, [15] = 1};

	return memcmp(dst, all_nodes, 16) == 0 ||
	       (memcmp(dst, solicited, 13) == 0 && memcmp(dst + 13, &v->addr.bytes[13], 3) == 0);
}

/* Whether the frame is for the VTEP, to this MAC address of it, and who deals with it. */
static enum outer look(const struct xv_vtep *v, const uint8_t mac[6], const uint8_t *data, uint16_t len)
{
	const uint16_t vlan = v->outer.vlan, l2_len = RTE_ETHER_HDR_LEN + (vlan != 0 ? VLAN_LEN : 0);
	const uint8_t *l3 = data + l2_len, *ours = &v->addr.bytes[12];

	if (len < l2_len || (!is_multicast(data) && memcmp(data, mac, 6) != 0))
		return OUTER_STRAY;
	if (vlan != 0 && (xv_load_be16(data + 12) != RTE_ETHER_TYPE_VLAN || (xv_load_be16(data + 14) & 0xfff) != vlan))
		return OUTER_STRAY;
	switch (xv_load_be16(l3 - 2)) {
	case RTE_ETHER_TYPE_IPV4:
		if (v->ipv6 || len < l2_len + IPV4_LEN || memcmp(l3 + 16, ours, 4) != 0)
			return OUTER_STRAY;
		return l3[9] == IPPROTO_ICMP ? OUTER_PUNT : OUTER_TUNNEL;
	case RTE_ETHER_TYPE_IPV6:
		if (!v->ipv6 || len < l2_len + IPV6_LEN)
			return OUTER_STRAY;
		if (memcmp(l3 + 24, v->addr.bytes, 16) == 0)
			return l3[6] == IPPROTO_ICMPV6 ? OUTER_PUNT : OUTER_TUNNEL;
		return l3[6] == IPPROTO_ICMPV6 && is_for_us_multicast(v, l3 + 24) ? OUTER_PUNT : OUTER_STRAY;
	case RTE_ETHER_TYPE_ARP:
		/* For us, or an announcement: who sends it asks for itself (RFC 5227). */
		if (v->ipv6 || len < l2_len + ARP_LEN ||
		    (memcmp(l3 + 24, ours, 4) != 0 && memcmp(l3 + 24, l3 + 14, 4) != 0))
			return OUTER_STRAY;
		return OUTER_PUNT;
	default:
		return OUTER_STRAY;
	}
}

static void punt(struct xv_worker *w, struct rte_mbuf *m)
{
	uint16_t in_port = m->port;

	if (unlikely(w->live != NULL))
		xv_live_note(w, m, XV_LIVE_PUNT, 0, 0);
	m = xv_packet_keep(w, m);
	if (unlikely(m == NULL))
		return;
	if (xv_underlay_ring == NULL || rte_ring_mp_enqueue(xv_underlay_ring, m) != 0) {
		xv_packet_drop(w, m, XV_DROP_TUNNEL_BUSY);
		return;
	}
	count(&w->counters[in_port].punts, 1);
	w->flows_wanted = true;
}

static enum xv_drop reason_of(enum xv_decap_result result)
{
	switch (result) {
	case XV_DECAP_NOT_TUNNEL:
		return XV_DROP_TUNNEL_STRAY;
	case XV_DECAP_IP_CSUM:
	case XV_DECAP_UDP_CSUM:
	case XV_DECAP_UDP_NO_CSUM:
	case XV_DECAP_GRE_CSUM:
		return XV_DROP_TUNNEL_CSUM;
	case XV_DECAP_ECN:
		return XV_DROP_TUNNEL_ECN;
	default:
		return XV_DROP_TUNNEL_HEADER;
	}
}

static inline uint32_t hash(uint64_t id, const union xv_ip_addr *remote)
{
	uint64_t h = remote->u64[0] * UINT64_C(0x9e3779b97f4a7c15);

	h = (h ^ h >> 32 ^ remote->u64[1]) * UINT64_C(0xbf58476d1ce4e5b9);
	h = (h ^ h >> 32 ^ id) * UINT64_C(0x94d049bb133111eb);
	return (uint32_t)(h >> 32);
}

const struct xv_tunnel_entry *xv_tunnel_table_slot(const struct xv_tunnel_table *table, uint64_t id,
						   const union xv_ip_addr *remote)
{
	uint32_t i;

	/* At most half of it is in use: this ends. */
	for (i = hash(id, remote) & table->mask;; i = (i + 1) & table->mask) {
		const struct xv_tunnel_entry *e = &table->entries[i];

		if (e->id == 0 ||
		    (e->id == id && e->remote.u64[0] == remote->u64[0] && e->remote.u64[1] == remote->u64[1]))
			return e;
	}
}

/* The tunnel that the packet came through; NULL: none of ours, *why. */
static struct xv_port *tunnel_of(const struct xv_tunnel_table *table, const struct xv_decap *d,
				 const struct xv_flow_key *key, enum xv_drop *why)
{
	static const union xv_ip_addr any;
	uint64_t id = xv_tunnel_id(d->type, (key->tun_flags & XV_TUN_KEY) != 0,
				   (uint32_t)rte_be_to_cpu_64(key->tun_id));
	const struct xv_tunnel_entry *e = xv_tunnel_table_slot(table, id, &key->tun_src);

	if (likely(e->port != NULL))
		return e->port;
	*why = xv_tunnel_table_slot(table, id, &any)->id != 0 ? XV_DROP_TUNNEL_SOURCE : XV_DROP_TUNNEL_VNI;
	return NULL;
}

/* What the outer ECN field says becomes the inner's (RFC 6040 section 4.2). False: the packet must not go on. */
static bool combine_ecn(struct rte_mbuf *m, uint8_t outer_tos)
{
	uint8_t *data = rte_pktmbuf_mtod(m, uint8_t *), *ip, tos;
	uint16_t len = rte_pktmbuf_data_len(m), l3;
	struct xv_parsed parsed;
	int ecn;

	if (xv_parse(data, len, rte_pktmbuf_pkt_len(m), &parsed) != XV_PARSE_OK || parsed.l3_offset == 0)
		return true;
	l3 = parsed.l3_offset;
	ip = data + l3;
	if (parsed.eth_type == RTE_ETHER_TYPE_IPV4 && len >= l3 + IPV4_LEN)
		tos = ip[1];
	else if (parsed.eth_type == RTE_ETHER_TYPE_IPV6 && len >= l3 + IPV6_LEN)
		tos = (uint8_t)(ip[0] << 4 | ip[1] >> 4);
	else
		return true;
	ecn = xv_ecn_decap(outer_tos, tos);
	if (ecn == XV_ECN_DROP)
		return false;
	if (ecn != (tos & 3))
		xv_ecn_set(ip, (uint8_t)ecn);
	return true;
}

/* What the next packet may have in common with one before it, and the tunnel that it came through. */
struct outer_memo {
	struct xv_decap_memo headers;
	struct xv_port *port;
};

/* Outer headers off. The port of the tunnel, or NULL: *why the packet has to be dropped. */
static struct xv_port *decapsulate(const struct xv_tunnel_table *table, struct rte_mbuf *m, struct xv_flow_key *key,
				   struct outer_memo *memo, enum xv_drop *why)
{
	enum xv_decap_result result;
	struct xv_port *port;
	struct xv_decap d;

	result = xv_decap_parse(rte_pktmbuf_mtod(m, const uint8_t *), rte_pktmbuf_data_len(m), rte_pktmbuf_pkt_len(m),
				&table->decap, key, &d);
	if (likely(result == XV_DECAP_OK) && d.has_csum)
		result = xv_decap_csum_verify(m, &d);
	if (unlikely(result != XV_DECAP_OK)) {
		*why = reason_of(result);
		return NULL;
	}
	/* Only Ethernet is carried, also by our MPLS labels (RFC 4448 without control word), whatever its first nibble looks
	 * like; control packets of Geneve are none of a network's (RFC 8926 section 3.4). */
	if (unlikely((d.packet_type != 0 && !d.guessed) || (key->tun_flags & XV_TUN_OAM) != 0)) {
		*why = XV_DROP_TUNNEL_HEADER;
		return NULL;
	}
	port = tunnel_of(table, &d, key, why);
	if (unlikely(port == NULL))
		return NULL;
	xv_decap_memo_fill(&memo->headers, rte_pktmbuf_mtod(m, const uint8_t *), &d);
	memo->headers.filled &= (key->tun_tos & 3) == 0; /* ECN is to be combined with each inner one */
	memo->port = port;
	if (unlikely(xv_decap_strip(m, &d) != 0)) {
		*why = XV_DROP_OFFLOAD;
		return NULL;
	}
	if (unlikely((key->tun_tos & 3) != 0 && !combine_ecn(m, key->tun_tos))) {
		*why = XV_DROP_TUNNEL_ECN;
		return NULL;
	}
	return port;
}

/* n packets, all of one tunnel: gone from the uplink, received by the tunnel's port. */
static void hand_on(struct xv_worker *w, const struct xv_port *uplink, struct xv_port *port, struct rte_mbuf **pkts,
		    uint16_t n)
{
	if (n == 0)
		return;
	count(&w->counters[uplink->id].forwarded, n);
	xv_pipeline_burst(w, port, 0, atomic_load_explicit(&port->binding, memory_order_acquire), pkts, n);
}

/* Any packet that came in by the uplink. The tunnel's port, or NULL: it was punted or dropped. */
static struct xv_port *take_in(struct xv_worker *w, const struct xv_vtep *v, const struct xv_tunnel_table *table,
			       const uint8_t *mac, struct rte_mbuf *m, struct xv_flow_key *key, struct outer_memo *memo)
{
	struct xv_port *port = NULL;
	enum xv_drop why = XV_DROP_TUNNEL_STRAY;

	switch (look(v, mac, rte_pktmbuf_mtod(m, const uint8_t *), rte_pktmbuf_data_len(m))) {
	case OUTER_PUNT:
		punt(w, m);
		return NULL;
	case OUTER_STRAY:
		break;
	case OUTER_TUNNEL:
		port = decapsulate(table, m, key, memo, &why);
		break;
	}
	if (unlikely(port == NULL))
		xv_packet_drop(w, m, why);
	return port;
}

void xv_vtep_burst(struct xv_worker *w, struct xv_port *in, const struct xv_binding *binding, struct rte_mbuf **pkts,
		   uint16_t n)
{
	const struct xv_vtep *v = binding->vtep;
	const struct xv_tunnel_table *table = atomic_load_explicit(&v->table, memory_order_acquire);
	const uint8_t *mac = v->uplinks[binding->uplink].mac;
	struct xv_port *port, *run_port = NULL;
	uint16_t i, first = 0, kept = 0;
	struct outer_memo memo = {0};
	struct xv_flow_key key;

	memset(&key, 0, sizeof(key));
	for (i = 0; i < n; i++) {
		struct rte_mbuf *m = pkts[i];
		rte_be16_t udp_src;

		port = likely(xv_decap_memo_strip(&memo.headers, m, &udp_src)) ? memo.port
									      : take_in(w, v, table, mac, m, &key, &memo);
		if (unlikely(port == NULL))
			continue;
		if (port != run_port) {
			hand_on(w, in, run_port, &pkts[first], (uint16_t)(kept - first));
			run_port = port;
			first = kept;
		}
		pkts[kept++] = m;
	}
	hand_on(w, in, run_port, &pkts[first], (uint16_t)(kept - first));
}

/* ---- Out ---- */

/* The way of a flow. Bits of the hash that say little about the source port, by which others spread it further on. */
static inline const struct xv_path *path_of(const struct xv_paths *paths, uint32_t entropy)
{
	if (likely(paths->n == 1))
		return &paths->path[0];
	return &paths->path[paths->bucket[(uint64_t)(entropy * UINT32_C(0x9e3779b1)) * XV_PATH_BUCKETS >> 32]];
}

/* n packets get outer headers, and go; n may be 0. */
static void leave(struct xv_worker *w, const struct xv_path *path, const uint32_t *entropy, struct rte_mbuf **pkts,
		  uint16_t n)
{
	struct xv_port *uplink = xv_port_by_id(path->port);
	const struct xv_binding *binding =
		uplink == NULL ? NULL : atomic_load_explicit(&uplink->binding, memory_order_acquire);
	uint16_t i;

	n = xv_encap_burst(w, &path->encap, entropy, pkts, n);
	if (likely(binding != NULL && n > 0))
		xv_pipeline_output(w, uplink, binding, XV_QUEUE_BY_FLOW, pkts, n);
	for (i = 0; unlikely(binding == NULL && i < n); i++)
		xv_packet_drop(w, pkts[i], XV_DROP_TX_DOWN);
}

/* The longest frame that fits. */
static uint32_t room_of(const struct xv_path *path)
{
	const struct xv_port *uplink = xv_port_by_id(path->port);

	return uplink == NULL ? 0 : xv_pmtu_room(uplink, &path->encap);
}

/* n packets (n <= XV_BURST) into a tunnel. Those that go the same way, fit and want no offload stay together. */
static void push(struct xv_worker *w, struct xv_port *out, const struct xv_paths *paths, struct rte_mbuf **pkts,
		 uint16_t n)
{
	const struct xv_path *path, *run_path = &paths->path[0];
	struct xv_counters *c = &w->counters[out->id];
	struct rte_mbuf *ready[XV_BURST];
	uint32_t entropy[XV_BURST], room = room_of(run_path);
	uint16_t i, n_ready = 0;
	uint64_t bytes = 0;

	for (i = 0; i < n; i++) {
		struct rte_mbuf *m = pkts[i];
		uint32_t hash = xv_packet_flow_hash(m);

		bytes += m->pkt_len;
		path = path_of(paths, hash);
		if (unlikely(path != run_path)) {
			leave(w, run_path, entropy, ready, n_ready);
			n_ready = 0;
			run_path = path;
			room = room_of(path);
		}
		if (unlikely((m->ol_flags & XV_PACKET_OFFLOAD) != 0 || m->pkt_len > room)) {
			leave(w, run_path, entropy, ready, n_ready);
			n_ready = 0;
			xv_flow_tunnel_push(w, &path->encap, 0, hash, path->port, m);
			continue;
		}
		entropy[n_ready] = hash;
		ready[n_ready++] = m;
	}
	leave(w, run_path, entropy, ready, n_ready);
	count(&c->tx_packets, n);
	count(&c->tx_bytes, bytes);
}

/* The next hop is being asked for: wait, in order, bounded. */
static void wait(struct xv_worker *w, struct xv_port *out, struct rte_mbuf *m)
{
	unsigned int i, of_tunnel = 0;

	for (i = 0; i < w->n_waiting; i++)
		of_tunnel += w->waiting[i].port == out;
	if (w->n_waiting == XV_WAITING_MAX || of_tunnel >= WAIT_PER_TUNNEL) {
		xv_packet_drop(w, m, XV_DROP_NO_NEIGHBOUR);
		return;
	}
	m = xv_packet_keep(w, m);
	if (unlikely(m == NULL))
		return;
	count(&w->counters[m->port].held, 1);
	if (unlikely(w->live != NULL))
		xv_live_note(w, m, XV_LIVE_NEXT_HOP, out->id, 0);
	w->waiting[w->n_waiting++] = (struct xv_waiting){.m = m, .port = out, .port_id = out->id, .since = w->now};
}

void xv_tunnel_output(struct xv_worker *w, struct xv_port *out, const struct xv_binding *binding,
		      struct rte_mbuf **pkts, uint16_t n)
{
	const struct xv_paths *paths = atomic_load_explicit(&binding->tunnel->paths, memory_order_acquire);
	uint16_t i;

	/* Who waits goes first. */
	if (unlikely(w->n_waiting > 0 && paths != NULL))
		xv_tunnel_waiting(w);
	if (likely(paths != NULL)) {
		push(w, out, paths, pkts, n);
		return;
	}
	for (i = 0; i < n; i++)
		wait(w, out, pkts[i]);
}

void xv_tunnel_waiting(struct xv_worker *w)
{
	unsigned int i, kept = 0, n = w->n_waiting;

	for (i = 0; i < n; i++) {
		struct xv_waiting waiting = w->waiting[i];
		const struct xv_binding *b = NULL;
		const struct xv_paths *paths = NULL;

		if (xv_port_by_id(waiting.port_id) == waiting.port)
			b = atomic_load_explicit(&waiting.port->binding, memory_order_acquire);
		if (b != NULL && b->tunnel != NULL)
			paths = atomic_load_explicit(&b->tunnel->paths, memory_order_acquire);
		else
			b = NULL;
		if (b != NULL && paths == NULL && w->now - waiting.since < xv_clock.hz / 1000 * WAIT_MS) {
			w->waiting[kept++] = waiting;
			continue;
		}
		count(&w->counters[waiting.m->port].held, (uint64_t)-1);
		if (paths != NULL)
			push(w, waiting.port, paths, &waiting.m, 1);
		else
			xv_packet_drop(w, waiting.m, b != NULL ? XV_DROP_NO_NEIGHBOUR : XV_DROP_DETACHED);
	}
	w->n_waiting = kept;
}

void xv_tunnel_waiting_drop(struct xv_worker *w)
{
	unsigned int i;

	for (i = 0; i < w->n_waiting; i++) {
		count(&w->counters[w->waiting[i].m->port].held, (uint64_t)-1);
		xv_packet_drop(w, w->waiting[i].m, XV_DROP_DETACHED);
	}
	w->n_waiting = 0;
}
