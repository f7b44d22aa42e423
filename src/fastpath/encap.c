/* SPDX-License-Identifier: Apache-2.0 */
/* Outer headers onto packets, by templates (net/tunnel.h). */
#include <errno.h>
#include <string.h>

#include "fastpath/live_state.h"
#include "net/bytes.h"
#include "net/flow_key.h"
#include "net/tunnel.h"
#include "port/eal.h"

#define ETH_LEN 14
#define VLAN_LEN 4
#define IPV4_LEN 20
#define IPV6_LEN 40

/* TOS and TTL of the inner IP header, which the outer one may inherit. What is not seen at a glance goes through a whole
 * extraction; both say the same. */
static inline void inner_ip(const struct rte_mbuf *m, rte_be32_t packet_type, struct xv_encap_packet *packet)
{
	const uint8_t *data = rte_pktmbuf_mtod(m, const uint8_t *), *ip;
	uint32_t len = rte_pktmbuf_data_len(m), l3 = ETH_LEN, frame_len = rte_pktmbuf_pkt_len(m);
	struct xv_flow_layout layout;
	struct xv_flow_key key;
	uint16_t type;

	if (likely(packet_type == 0 && len >= ETH_LEN + VLAN_LEN + IPV4_LEN)) {
		type = xv_load_be16(data + 12);
		if (type == 0x8100) {
			type = xv_load_be16(data + 16);
			l3 += VLAN_LEN;
		}
		ip = data + l3;
		if (likely(type == 0x0800 && ip[0] == 0x45 && xv_load_be16(ip + 2) >= IPV4_LEN &&
			   xv_load_be16(ip + 2) <= frame_len - l3)) {
			packet->tos = ip[1];
			packet->ttl = ip[8];
			return;
		}
		if (type == 0x86dd && len >= l3 + IPV6_LEN && xv_load_be16(ip + 4) <= frame_len - l3 - IPV6_LEN &&
		    (ip[6] == 6 || ip[6] == 17 || ip[6] == 58)) {
			packet->tos = (uint8_t)(ip[0] << 4 | ip[1] >> 4);
			packet->ttl = ip[7];
			return;
		}
	}
	memset(&key, 0, XV_FLOW_FIXED_WORDS * 8);
	key.packet_type = packet_type;
	if (xv_flow_extract(data, (uint16_t)len, frame_len, &key, &layout) == XV_FLOW_OK) {
		packet->tos = key.ip_tos;
		packet->ttl = key.ip_ttl;
	}
}

/* What the outer headers take from m. */
static inline void describe(struct xv_worker *w, const struct xv_encap *encap, rte_be32_t packet_type, uint32_t entropy,
			    const struct rte_mbuf *m, struct xv_encap_packet *packet)
{
	*packet = (struct xv_encap_packet){.hash = entropy};
	if ((encap->kind & XV_ENCAP_DF) == 0)
		packet->ip_id = rte_cpu_to_be_16(w->ip_id++);
	if ((encap->kind & (XV_ENCAP_ECN | XV_ENCAP_DSCP | XV_ENCAP_TTL)) != 0)
		inner_ip(m, packet_type, packet);
}

/* Outer headers onto one packet, if need be in a buffer of their own. False: it was dropped. */
static bool push(struct xv_worker *w, const struct xv_encap *encap, const struct xv_encap_packet *packet, struct rte_mbuf **m)
{
	struct rte_mbuf *head;
	int rc;

	rc = xv_encap_push(encap, *m, packet);
	if (likely(rc == 0)) {
		if (unlikely(w->live != NULL))
			xv_live_note(w, *m, XV_LIVE_ENCAP, 0, encap->len);
		return true;
	}
	if (rc == -ENOSPC) {
		head = rte_pktmbuf_alloc(xv_packet_pool());
		if (head != NULL) {
			head->port = (*m)->port;
			rc = xv_encap_push_head(encap, *m, head, packet);
			if (rc == 0) {
				*m = head;
				if (unlikely(w->live != NULL))
					xv_live_note(w, head, XV_LIVE_ENCAP, 0, encap->len);
				return true;
			}
			rte_pktmbuf_free(head);
		}
	}
	xv_packet_drop(w, *m, rc == -ENOSPC ? XV_DROP_NO_BUFFER : XV_DROP_TUNNEL);
	return false;
}

bool xv_encap_one(struct xv_worker *w, const struct xv_encap *encap, rte_be32_t packet_type, uint32_t entropy,
		  struct rte_mbuf **m)
{
	struct xv_encap_packet packet;

	if (unlikely(w->live != NULL))
		xv_live_look(w, *m);
	describe(w, encap, packet_type, entropy, *m, &packet);
	return push(w, encap, &packet, m);
}

uint16_t xv_encap_burst(struct xv_worker *w, const struct xv_encap *encap, const uint32_t *entropy, struct rte_mbuf **pkts,
			uint16_t n)
{
	struct xv_encap_packet packets[XV_BURST];
	uint16_t i, kept = 0;

	if (n == 0)
		return 0;
	for (i = 0; i < n; i++)
		describe(w, encap, 0, entropy[i], pkts[i], &packets[i]);
	if (likely(w->live == NULL)) /* it wants to hear of each */
		kept = xv_encap_push_burst(encap, pkts, packets, n);
	for (i = kept; unlikely(i < n); i++) {
		if (unlikely(w->live != NULL))
			xv_live_look(w, pkts[i]);
		if (push(w, encap, &packets[i], &pkts[i]))
			pkts[kept++] = pkts[i];
	}
	return kept;
}

void xv_flow_tunnel_push(struct xv_worker *w, const struct xv_encap *encap, rte_be32_t packet_type, uint32_t entropy,
			 uint16_t out_port, struct rte_mbuf *m)
{
	struct xv_port *out = xv_port_by_id(out_port);
	const struct xv_binding *binding =
		out == NULL ? NULL : atomic_load_explicit(&out->binding, memory_order_acquire);
	uint16_t in_port = m->port;
	uint32_t room;
	int n = 1, i;

	if (unlikely(binding == NULL)) {
		xv_packet_drop(w, m, XV_DROP_TX_DOWN);
		return;
	}
	w->segments[0] = m;
	room = xv_pmtu_room(out, encap);
	if (unlikely(m->pkt_len > room)) {
		n = (int)xv_pmtu_fit(w, m, packet_type, room);
		if (n == 0)
			return;
		m = w->segments[0];
	}
	/* Segments first, each then gets its own outer headers. Devices are asked for checksums of outermost headers only, so for
	 * them the inner ones are finished as well. */
	if (unlikely((m->ol_flags & XV_PACKET_OFFLOAD) != 0 &&
		     (out->ops->kind == XV_PORT_ETHDEV || xv_packet_offload(m)->gso_type != XV_GSO_NONE))) {
		n = xv_offload_finish(m, 0, xv_packet_pool(), w->segments, XV_GSO_MAX_SEGMENTS);
		if (n < 0) {
			xv_packet_drop(w, m, n == -ENOBUFS ? XV_DROP_NO_BUFFER : XV_DROP_OFFLOAD);
			return;
		}
		count(&w->counters[in_port].copies, (uint64_t)(n - 1));
		if (unlikely(w->live != NULL) && n > 1)
			xv_live_note(w, w->segments[0], XV_LIVE_SEGMENTS, 0, (uint32_t)n);
	}
	for (i = 0; i < n; i++) {
		struct rte_mbuf *segment = w->segments[i];

		segment->port = in_port;
		if (xv_encap_one(w, encap, packet_type, entropy, &segment))
			xv_pipeline_output(w, out, binding, XV_QUEUE_BY_FLOW, &segment, 1);
	}
}
