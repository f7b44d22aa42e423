/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Protocols with little state: UDP, ICMP queries, everything else; and what is common to all: checksums, timeouts.
 * Pure functions of a connection's line 0.
 */
#include "fastpath/conntrack_state.h"

#include <rte_mbuf.h>

#include "fastpath/conntrack_hot.h"
#include "net/checksum.h"
#include "net/packet.h"

#define UDP_HEADER 8
#define ICMP_HEADER 8

static void reset(struct xv_conn *conn)
{
	conn->state = 0;
	conn->flags = 0;
	conn->proto = (union xv_ct_proto_state){0};
}

/* n bytes of the transport header are there. */
static bool has_header(const struct xv_ct_packet *p, uint32_t n)
{
	return p->csum_ok && p->l4 && p->l4 <= p->len && p->len - p->l4 >= n && p->l4 <= p->end && p->end - p->l4 >= n;
}

/* ---- UDP ---- */

static bool udp_is_valid(const struct xv_ct_packet *p)
{
	uint16_t len;

	if (!has_header(p, UDP_HEADER))
		return false;
	len = xv_load_be16(p->data + p->l4 + 4);
	return len >= UDP_HEADER && len <= p->end - p->l4;
}

static bool udp_open(struct xv_conn *conn, const struct xv_ct_packet *p, bool pick_up, const uint32_t *timeout_ms,
		     uint32_t now_ms)
{
	(void)pick_up;
	reset(conn);
	conn->proto.udp.opened_ms = now_ms;
	xv_conn_set_expires(conn, now_ms + timeout_ms[XV_CT_TO_UDP_FIRST]);
	return udp_is_valid(p);
}

static enum xv_ct_verdict udp_packet(struct xv_conn *conn, enum xv_ct_dir dir, const struct xv_ct_packet *p,
				     const uint32_t *timeout_ms, uint32_t now_ms)
{
	bool stream = (conn->flags & XV_CONN_SEEN_REPLY) &&
		      (int32_t)(now_ms - conn->proto.udp.opened_ms) > XV_CT_UDP_STREAM_MS;

	(void)dir;
	if (!udp_is_valid(p))
		return XV_CT_INVALID;
	if (stream)
		conn->flags |= XV_CONN_ASSURED;
	xv_conn_set_expires(conn, now_ms + timeout_ms[stream ? XV_CT_TO_UDP_MULTIPLE : XV_CT_TO_UDP_SINGLE]);
	return XV_CT_VALID;
}

const struct xv_ct_proto xv_ct_udp = {.open = udp_open, .packet = udp_packet};

/* ---- ICMP queries: the tuple says which, and that the answer is one ---- */

static bool icmp_may_open(const struct xv_ct_packet *p)
{
	switch (p->data[p->l4]) {
	case 8:	 /* echo */
	case 13: /* timestamp */
	case 15: /* information */
	case 17: /* address mask */
		return true;
	default: /* an answer to nothing */
		return false;
	}
}

static bool icmpv6_may_open(const struct xv_ct_packet *p)
{
	return p->data[p->l4] == 128 || p->data[p->l4] == 139; /* echo, node information */
}

static bool query_open(struct xv_conn *conn, const struct xv_ct_packet *p, bool (*may_open)(const struct xv_ct_packet *p),
		       const uint32_t *timeout_ms, uint32_t now_ms)
{
	reset(conn);
	xv_conn_set_expires(conn, now_ms + timeout_ms[XV_CT_TO_ICMP_FIRST]);
	return has_header(p, ICMP_HEADER) && may_open(p);
}

static bool icmp_open(struct xv_conn *conn, const struct xv_ct_packet *p, bool pick_up, const uint32_t *timeout_ms,
		      uint32_t now_ms)
{
	(void)pick_up;
	return query_open(conn, p, icmp_may_open, timeout_ms, now_ms);
}

static bool icmpv6_open(struct xv_conn *conn, const struct xv_ct_packet *p, bool pick_up, const uint32_t *timeout_ms,
			uint32_t now_ms)
{
	(void)pick_up;
	return query_open(conn, p, icmpv6_may_open, timeout_ms, now_ms);
}

static enum xv_ct_verdict query_packet(struct xv_conn *conn, enum xv_ct_dir dir, const struct xv_ct_packet *p,
				       const uint32_t *timeout_ms, uint32_t now_ms)
{
	if (!has_header(p, ICMP_HEADER))
		return XV_CT_INVALID;
	xv_conn_set_expires(conn, now_ms + timeout_ms[dir == XV_CT_REPLY ? XV_CT_TO_ICMP_REPLY : XV_CT_TO_ICMP_FIRST]);
	return XV_CT_VALID;
}

const struct xv_ct_proto xv_ct_icmp = {.open = icmp_open, .packet = query_packet};
const struct xv_ct_proto xv_ct_icmpv6 = {.open = icmpv6_open, .packet = query_packet};

/* ---- All others: two addresses and a protocol ---- */

static bool generic_open(struct xv_conn *conn, const struct xv_ct_packet *p, bool pick_up, const uint32_t *timeout_ms,
			 uint32_t now_ms)
{
	(void)p;
	(void)pick_up;
	reset(conn);
	xv_conn_set_expires(conn, now_ms + timeout_ms[XV_CT_TO_GENERIC]);
	return true;
}

static enum xv_ct_verdict generic_packet(struct xv_conn *conn, enum xv_ct_dir dir, const struct xv_ct_packet *p,
					 const uint32_t *timeout_ms, uint32_t now_ms)
{
	(void)dir;
	(void)p;
	xv_conn_set_expires(conn, now_ms + timeout_ms[XV_CT_TO_GENERIC]);
	return XV_CT_VALID;
}

const struct xv_ct_proto xv_ct_generic = {.open = generic_open, .packet = generic_packet};

/* ---- Timeouts ---- */

const char *const xv_ct_timeout_names[XV_CT_TO_MAX] = {
	[XV_CT_TO_TCP_NONE] = "tcp_none",
	[XV_CT_TCP_SYN_SENT] = "tcp_syn_sent",
	[XV_CT_TCP_SYN_RECV] = "tcp_syn_recv",
	[XV_CT_TCP_ESTABLISHED] = "tcp_established",
	[XV_CT_TCP_FIN_WAIT] = "tcp_fin_wait",
	[XV_CT_TCP_CLOSE_WAIT] = "tcp_close_wait",
	[XV_CT_TCP_LAST_ACK] = "tcp_last_ack",
	[XV_CT_TCP_TIME_WAIT] = "tcp_time_wait",
	[XV_CT_TCP_CLOSE] = "tcp_close",
	[XV_CT_TCP_SYN_SENT2] = "tcp_syn_sent2",
	[XV_CT_TO_TCP_RETRANS] = "tcp_retransmit",
	[XV_CT_TO_TCP_UNACK] = "tcp_unack",
	[XV_CT_TO_UDP_FIRST] = "udp_first",
	[XV_CT_TO_UDP_SINGLE] = "udp_single",
	[XV_CT_TO_UDP_MULTIPLE] = "udp_multiple",
	[XV_CT_TO_ICMP_FIRST] = "icmp_first",
	[XV_CT_TO_ICMP_REPLY] = "icmp_reply",
	[XV_CT_TO_SCTP_CLOSED] = "sctp_closed",
	[XV_CT_TO_SCTP_COOKIE_WAIT] = "sctp_cookie_wait",
	[XV_CT_TO_SCTP_COOKIE_ECHOED] = "sctp_cookie_echoed",
	[XV_CT_TO_SCTP_ESTABLISHED] = "sctp_established",
	[XV_CT_TO_SCTP_SHUTDOWN_SENT] = "sctp_shutdown_sent",
	[XV_CT_TO_SCTP_SHUTDOWN_RECD] = "sctp_shutdown_recd",
	[XV_CT_TO_SCTP_SHUTDOWN_ACK_SENT] = "sctp_shutdown_ack_sent",
	[XV_CT_TO_SCTP_HEARTBEAT_SENT] = "sctp_heartbeat_sent",
	[XV_CT_TO_GENERIC] = "generic",
};

const uint32_t xv_ct_timeout_defaults_s[XV_CT_TO_MAX] = {
	[XV_CT_TO_TCP_NONE] = 120,
	[XV_CT_TCP_SYN_SENT] = 120,
	[XV_CT_TCP_SYN_RECV] = 60,
	[XV_CT_TCP_ESTABLISHED] = 432000,
	[XV_CT_TCP_FIN_WAIT] = 120,
	[XV_CT_TCP_CLOSE_WAIT] = 60,
	[XV_CT_TCP_LAST_ACK] = 30,
	[XV_CT_TCP_TIME_WAIT] = 120,
	[XV_CT_TCP_CLOSE] = 10,
	[XV_CT_TCP_SYN_SENT2] = 120,
	[XV_CT_TO_TCP_RETRANS] = 300,
	[XV_CT_TO_TCP_UNACK] = 300,
	[XV_CT_TO_UDP_FIRST] = 30,
	[XV_CT_TO_UDP_SINGLE] = 30,
	[XV_CT_TO_UDP_MULTIPLE] = 120,
	[XV_CT_TO_ICMP_FIRST] = 30,
	[XV_CT_TO_ICMP_REPLY] = 30,
	[XV_CT_TO_SCTP_CLOSED] = 10,
	[XV_CT_TO_SCTP_COOKIE_WAIT] = 3,
	[XV_CT_TO_SCTP_COOKIE_ECHOED] = 3,
	[XV_CT_TO_SCTP_ESTABLISHED] = 210,
	[XV_CT_TO_SCTP_SHUTDOWN_SENT] = 3,
	[XV_CT_TO_SCTP_SHUTDOWN_RECD] = 3,
	[XV_CT_TO_SCTP_SHUTDOWN_ACK_SENT] = 3,
	[XV_CT_TO_SCTP_HEARTBEAT_SENT] = 30,
	[XV_CT_TO_GENERIC] = 600,
};

/* ---- Checksums ---- */

/* CRC-32C (RFC 9260, appendix A), half a byte a step: no hot path, and it would take a table of 1 KB otherwise. */
static uint32_t crc32c_add(uint32_t crc, const uint8_t *p, uint32_t len)
{
	static const uint32_t table[16] = {
		0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
		0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9, 0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
	};

	for (uint32_t i = 0; i < len; i++) {
		crc ^= p[i];
		crc = crc >> 4 ^ table[crc & 15];
		crc = crc >> 4 ^ table[crc & 15];
	}
	return crc;
}

/* Of len bytes from offset on, the four at `hole` taken as zero. The caller has checked that the chain has them. */
static uint32_t sctp_checksum(const struct rte_mbuf *m, uint32_t offset, uint32_t len)
{
	static const uint8_t zero[4];
	uint32_t crc = UINT32_MAX, at = 0;

	for (; m && len > at; m = m->next) {
		uint32_t n = rte_pktmbuf_data_len(m);
		const uint8_t *p = rte_pktmbuf_mtod(m, const uint8_t *);

		if (offset >= n) {
			offset -= n;
			continue;
		}
		p += offset;
		n -= offset;
		offset = 0;
		if (n > len - at)
			n = len - at;
		for (uint32_t i = 0; i < n;) {
			bool in_hole = at >= 8 && at < 12;
			uint32_t step = in_hole ? 12 - at : at < 8 ? 8 - at : n - i;

			if (step > n - i)
				step = n - i;
			crc = crc32c_add(crc, in_hole ? zero : p + i, step);
			i += step;
			at += step;
		}
	}
	return ~crc;
}

bool xv_ct_checksum_is_ok(const struct rte_mbuf *m, const struct xv_ct_packet *p)
{
	const uint8_t *l3 = p->data + p->l3, *l4 = p->data + p->l4;
	uint32_t len = p->end - p->l4;
	uint16_t sum;

	if ((m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_GOOD)
		return true;
	/* The sender of a guest's packet vouches for it, or leaves it to the output. */
	if ((m->ol_flags & XV_PACKET_OFFLOAD) &&
	    ((const struct xv_offload *)rte_mbuf_to_priv((struct rte_mbuf *)(uintptr_t)m))->flags &
		    (XV_OFFLOAD_CSUM | XV_OFFLOAD_CSUM_VALID))
		return true;
	if (p->l4 == 0 || p->end < p->l4 || p->end > m->pkt_len)
		return false;
	switch (p->proto) {
	case 6:
	case 17:
		if (len < UDP_HEADER)
			return false;
		if (p->proto == 17 && xv_load16(l4 + 6) == 0 && !p->ipv6)
			return true;
		__attribute__((fallthrough));
	case 58:
		sum = p->ipv6 ? xv_csum_pseudo6(l3 + 8, l3 + 24, p->proto, len)
			      : xv_csum_pseudo4(l3 + 12, l3 + 16, p->proto, len);
		break;
	case 1:
		sum = 0;
		break;
	case 132: {
		uint32_t crc = len >= 12 ? sctp_checksum(m, p->l4, len) : 0;

		return len >= 12 && crc == rte_le_to_cpu_32(xv_load32(l4 + 8));
	}
	default:
		return true;
	}
	return xv_csum_add(sum, xv_csum_sum_mbuf(m, p->l4, len)) == 0xffff;
}
