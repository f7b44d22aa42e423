/* SPDX-License-Identifier: Apache-2.0 */
/* First packets of connections, one of either direction, of which is known what flows make of them: see conntrack.h. */
#include <errno.h>

#include <rte_mbuf.h>
#include <rte_prefetch.h>

#include "fastpath/conntrack_helper.h"
#include "fastpath/conntrack_table.h"
#include "net/bytes.h"

#define UDP_LEN 8
#define IPV6_LEN 40

void xv_conntrack_first_begin(const struct xv_conntrack *ct, uint16_t zone, const uint8_t *data, uint16_t l3, uint16_t l4,
			      struct xv_ct_first *first)
{
	struct xv_ct_tuple *tuple = &first->tuple;
	const uint8_t *ip = data + l3;

	memset(tuple, 0, sizeof(*tuple));
	tuple->zone = zone;
	if (ip[0] >> 4 == 4) {
		tuple->proto = ip[9];
		tuple->src.words[3] = xv_load32(ip + 12);
		tuple->dst.words[3] = xv_load32(ip + 16);
	} else {
		tuple->proto = ip[6];
		tuple->ipv6 = true;
		memcpy(&tuple->src, ip + 8, 16);
		memcpy(&tuple->dst, ip + 24, 16);
	}
	if (tuple->proto == 6 || tuple->proto == 17) {
		tuple->src_port = xv_load16(data + l4);
		tuple->dst_port = xv_load16(data + l4 + 2);
	}
	first->hash = xv_ct_hash(ct, tuple);
	rte_prefetch0(xv_ct_line(ct, first->hash));
}

void xv_conntrack_first_look(struct xv_conntrack *ct, struct xv_ct_first *first)
{
	first->known = xv_ct_may_have(ct, first->hash);
}

/* TCP or UDP of a common shape: its lengths have been looked at. */
static struct xv_ct_packet packet_of(const struct rte_mbuf *m, const struct xv_ct_tuple *tuple, uint16_t l3, uint16_t l4)
{
	const uint8_t *data = rte_pktmbuf_mtod(m, const uint8_t *);

	return (struct xv_ct_packet){
		.data = data,
		.l3 = l3,
		.l4 = l4,
		.l4_len = (uint16_t)(tuple->proto == 6 ? (data[l4 + 12] >> 4) * 4 : UDP_LEN),
		.proto = tuple->proto,
		.ipv6 = tuple->ipv6,
		.len = rte_pktmbuf_data_len(m),
		.end = l3 + (tuple->ipv6 ? IPV6_LEN + xv_load_be16(data + l3 + 4) : xv_load_be16(data + l3 + 2)),
		.csum_ok = true,
	};
}

int xv_conntrack_open(struct xv_conntrack *ct, const struct xv_ct_first *first, const struct xv_action_ct *action,
		      const struct rte_mbuf *m, uint16_t l3, uint16_t l4, uint16_t port, uint32_t now_ms)
{
	struct xv_ct_packet packet = packet_of(m, &first->tuple, l3, l4);
	const struct xv_ct_proto *proto = xv_ct_proto_of(packet.proto, packet.ipv6);
	bool pick_up = atomic_load_explicit(&ct->pick_up, memory_order_relaxed);
	struct xv_conn from, *conn;
	struct xv_ct_expected e;
	int rc;

	/* Another packet of the same burst, or another worker, may have been here since _look(). */
	if (xv_ct_may_have(ct, first->hash))
		return 1;
	memset(&from, 0, sizeof(from));
	from.timeouts = (uint8_t)(action->timeouts < XV_CT_POLICIES ? action->timeouts : 0);
	xv_ct_check(m, &packet, true);
	if (!proto->open(&from, &packet, pick_up, xv_ct_timeouts(ct, from.timeouts), now_ms) ||
	    xv_ct_expected(ct->helpers, &first->tuple, false, now_ms, &e))
		return 1;
	if (!(from.flags & XV_CONN_ASSURED))
		from.flags |= XV_CONN_HALF_OPEN;
	from.port = port;
	from.tuple[XV_CT_ORIGINAL] = first->tuple;
	xv_ct_tuple_reverse(&first->tuple, &from.tuple[XV_CT_REPLY]);
	xv_ct_set_mark(action, &from);
	rc = xv_ct_insert(ct, &from, first->hash, now_ms, &conn);
	if (rc != 0)
		return rc == -EEXIST || rc == -EADDRINUSE ? 1 : rc;
	xv_ct_count_packet(conn, XV_CT_ORIGINAL, m, l3);
	xv_conn_unlock(conn);
	return 0;
}

bool xv_conntrack_answer(struct xv_conntrack *ct, const struct xv_ct_first *first, const struct rte_mbuf *m, uint16_t l3,
			 uint16_t l4, uint32_t now_ms)
{
	const uint8_t unusual = XV_CONN_SEEN_REPLY | XV_CONN_HELPER | XV_CONN_SNAT | XV_CONN_DNAT | XV_CONN_RELATED |
				XV_CONN_SEQ_ADJUST;
	struct xv_ct_packet packet = packet_of(m, &first->tuple, l3, l4);
	const struct xv_ct_proto *proto = xv_ct_proto_of(packet.proto, packet.ipv6);
	struct xv_conn *conn, trial;
	uint32_t incarnation;
	enum xv_ct_dir dir;
	bool shorter;

	conn = xv_ct_find(ct, &first->tuple, first->hash, now_ms, &dir);
	if (conn == NULL)
		return false;
	/* What is not valid has to be shown to flows as such, and on the way there the state is asked once: here on trial. The lock
	 * is not copied: others may be waiting for it. */
	memcpy(&trial.state, &conn->state, offsetof(struct xv_conn, label) - offsetof(struct xv_conn, state));
	xv_conn_set_expires(&trial, xv_conn_expires(conn));
	xv_ct_check(m, &packet, false);
	if (dir != XV_CT_REPLY || (conn->flags & unusual) != 0 || (conn->mark | conn->label[0] | conn->label[1]) != 0 ||
	    proto->packet(&trial, dir, &packet, xv_ct_timeouts(ct, conn->timeouts), now_ms) != XV_CT_VALID) {
		xv_conn_unlock(conn);
		return false;
	}
	incarnation = xv_conn_incarnation(atomic_load_explicit(&conn->generation, memory_order_relaxed));
	shorter = (int32_t)(xv_conn_expires(&trial) - xv_conn_expires(conn)) < 0;
	xv_conn_set_expires(conn, xv_conn_expires(&trial));
	conn->state = trial.state;
	conn->flags = trial.flags;
	conn->proto = trial.proto;
	(void)xv_ct_accept(ct, conn, dir, proto);
	xv_ct_count_packet(conn, dir, m, l3);
	xv_conn_unlock(conn);
	if (shorter)
		xv_ct_rearm(ct, conn, incarnation, now_ms);
	return true;
}
