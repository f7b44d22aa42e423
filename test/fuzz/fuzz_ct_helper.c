/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The helpers of connection tracking: packets of a control connection that is translated or not, in both directions.
 * Input: struct input, then packets: struct piece and text each. Segments are heap buffers that end where the text
 * ends, but for some room for rewriting. Then the same bytes as the packet inside of an ICMP error.
 */
#include "fuzz.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include <rte_mbuf.h>

#include "fastpath/conntrack_helper.h"
#include "fastpath/conntrack_nat.h"
#include "net/icmp_edit.h"
#include "net/packet.h"

struct input {
	uint8_t flags; /* 1: IPv6; 2: source translated; 4: destination; 8: TFTP; 16: read pieces as ICMP errors */
	uint8_t room;  /* for longer text */
	uint16_t port; /* of the client */
};

struct piece {
	uint8_t flags; /* 1: from the server; 2: a first segment of `cut` bytes of text; 4: unfinished checksum; 8: seq
			  goes back by `back` */
	uint8_t cut, back;
	uint8_t len;
};

#define OPTIONS_LEN 12
#define HEAD_MAX    (14 + 40 + 20 + OPTIONS_LEN)

static struct rte_mempool *pool;
static struct xv_ct_helpers *helpers;

static void put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

/* A frame of conn with this text. Its length; *l4 is where the text begins. */
static uint32_t build(uint8_t *frame, const struct xv_conn *conn, enum xv_ct_dir dir, uint32_t seq, const uint8_t *text,
		      uint8_t len, uint32_t *l4)
{
	const struct xv_ct_tuple *t = &conn->tuple[dir];
	uint32_t l3 = t->ipv6 ? 40 : 20, head = t->proto == 17 ? 8 : 20 + OPTIONS_LEN;
	uint8_t *ip = frame + 14, *th = ip + l3;
	rte_be32_t be = rte_cpu_to_be_32(seq);

	memset(frame, 0, HEAD_MAX);
	put16(frame + 12, t->ipv6 ? 0x86dd : 0x0800);
	if (t->ipv6) {
		ip[0] = 0x60;
		put16(ip + 4, head + len);
		ip[6] = t->proto;
		memcpy(ip + 8, &t->src, 16);
		memcpy(ip + 24, &t->dst, 16);
	} else {
		ip[0] = 0x45;
		put16(ip + 2, 20 + head + len);
		ip[9] = t->proto;
		memcpy(ip + 12, &t->src.words[3], 4);
		memcpy(ip + 16, &t->dst.words[3], 4);
	}
	memcpy(th, &t->src_port, 2);
	memcpy(th + 2, &t->dst_port, 2);
	if (t->proto == 17) {
		put16(th + 4, head + len);
	} else {
		memcpy(th + 4, &be, 4);
		th[12] = (20 + OPTIONS_LEN) / 4 << 4;
		th[13] = 0x10;
		memcpy(th + 20, text, RTE_MIN(len, OPTIONS_LEN)); /* any options */
	}
	memcpy(th + head, text, len);
	*l4 = 14 + l3;
	return 14 + l3 + head + len;
}

static void open_conn(struct xv_conn *conn, const struct input *in)
{
	struct xv_ct_tuple *o = &conn->tuple[0];

	memset(conn, 0, sizeof(*conn));
	*o = (struct xv_ct_tuple){.src_port = in->port, .dst_port = RTE_BE16(21), .ipv6 = in->flags & 1, .zone = 1};
	o->proto = in->flags & 8 ? 17 : 6;
	o->src.bytes[0] = o->dst.bytes[0] = in->flags & 1 ? 0xfd : 0;
	memcpy(o->src.bytes + 12, (const uint8_t[]){10, 0, 0, 1}, 4);
	memcpy(o->dst.bytes + 12, (const uint8_t[]){10, 0, 0, 2}, 4);
	xv_ct_tuple_reverse(o, &conn->tuple[1]);
	if (in->flags & 2)
		conn->tuple[1].dst.bytes[12] = 203;
	if (in->flags & 4)
		conn->tuple[1].src.bytes[15] = 100;
	conn->flags = XV_CONN_SEEN_REPLY | XV_CONN_ASSURED | xv_ct_nat_flags(o, &conn->tuple[1]);
	FUZZ_CHECK(xv_ct_helper_attach(helpers, conn, in->flags & 8 ? XV_CT_HELPER_TFTP : XV_CT_HELPER_FTP) == 0);
	conn->flags |= XV_CONN_HELPER;
}

/* What the helper leaves must be what is found in the bytes. */
static void send(struct xv_conn *conn, const struct input *in, const struct piece *piece, const uint8_t *text,
		 uint32_t seq)
{
	enum xv_ct_dir dir = piece->flags & 1 ? XV_CT_REPLY : XV_CT_ORIGINAL;
	static uint8_t frame[HEAD_MAX + 256];
	struct xv_flow_layout layout, again;
	struct xv_flow_key key;
	struct rte_mbuf *m;
	uint32_t l4, len = build(frame, conn, dir, seq, text, piece->len, &l4), first = len;
	int rc;

	if (piece->flags & 2 && piece->cut < piece->len)
		first = len - piece->len + piece->cut;
	m = fuzz_mbuf_exact(pool, frame, (uint16_t)first, 0, in->room);
	if (first < len)
		FUZZ_CHECK(rte_pktmbuf_chain(m, fuzz_mbuf_exact(pool, frame + first, (uint16_t)(len - first), 0, 0)) == 0);
	if (piece->flags & 4) {
		*xv_packet_offload(m) =
			(struct xv_offload){.flags = XV_OFFLOAD_CSUM, .csum_start = (uint16_t)l4, .csum_offset = 16};
		m->ol_flags |= XV_PACKET_OFFLOAD;
	}
	memset(&key, 0, sizeof(key));
	FUZZ_CHECK(xv_flow_extract(rte_pktmbuf_mtod(m, uint8_t *), m->data_len, m->pkt_len, &key, &layout) ==
		   XV_FLOW_OK);
	rc = xv_ct_nat_translate(conn, dir, false, m, &key, &layout);
	FUZZ_CHECK(rc == 0);
	rc = xv_ct_helper_packet(helpers, conn, dir, m, &key, &layout, 1000);
	FUZZ_CHECK(rc == 0 || rc == -EPROTO);
	if (rc == 0) {
		FUZZ_CHECK(xv_flow_extract(rte_pktmbuf_mtod(m, uint8_t *), m->data_len, m->pkt_len, &key, &again) ==
			   XV_FLOW_OK);
		FUZZ_CHECK(memcmp(&layout, &again, sizeof(layout)) == 0);
		FUZZ_CHECK(layout.payload_end == m->pkt_len);
	}
	(void)xv_ct_helper_ack_shift(helpers, conn, dir, seq);
	rte_mbuf_sanity_check(m, 1);
	rte_pktmbuf_free(m);
}

/* The bytes are what an ICMP error carries: read it, write it, and what was written can be read. */
static void inner(const struct input *in, const uint8_t *data, uint16_t len)
{
	bool v6 = in->flags & 1;
	struct xv_flow_layout layout = {.l3 = 14, .l4 = v6 ? 54 : 34, .l4_len = 8};
	struct xv_icmp_inner a, b;
	static uint8_t frame[4200];
	struct rte_mbuf *m;

	memset(frame, 0, 62);
	memcpy(frame + layout.l4 + 8, data, len);
	layout.payload_end = layout.l4 + 8u + len;
	m = fuzz_mbuf_exact(pool, frame, (uint16_t)layout.payload_end, 0, 0);
	if (xv_icmp_get_inner(m, &layout, v6, &a) == 0) {
		a.src.words[3] ^= in->port;
		a.dst.words[3] ^= in->room;
		if (a.src_port)
			a.src_port ^= in->port;
		FUZZ_CHECK(xv_icmp_set_inner(m, &layout, v6, &a) == 0);
		FUZZ_CHECK(xv_icmp_get_inner(m, &layout, v6, &b) == 0);
		FUZZ_CHECK(memcmp(&a.src, &b.src, 16) == 0 && memcmp(&a.dst, &b.dst, 16) == 0 &&
			   a.src_port == b.src_port);
	}
	rte_pktmbuf_free(m);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	fuzz_eal_init();
	pool = fuzz_pool_create("fuzz", 255);
	return xv_ct_helpers_create(16, &helpers);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned int avail = rte_mempool_avail_count(pool);
	uint32_t seq[2] = {0xffffff80, 1000};
	struct xv_ct_expected e;
	struct xv_conn conn;
	struct piece piece;
	struct input in;

	if (size < sizeof(in))
		return 0;
	memcpy(&in, data, sizeof(in));
	data += sizeof(in);
	size -= sizeof(in);
	if (in.flags & 16) {
		inner(&in, data, (uint16_t)RTE_MIN(size, (size_t)4000));
		return 0;
	}
	open_conn(&conn, &in);
	while (size >= sizeof(piece)) {
		memcpy(&piece, data, sizeof(piece));
		data += sizeof(piece);
		size -= sizeof(piece);
		piece.len = (uint8_t)RTE_MIN((size_t)piece.len, size);
		uint32_t *s = &seq[piece.flags & 1];

		if (piece.flags & 8)
			*s -= piece.back;
		send(&conn, &in, &piece, data, *s);
		*s += piece.len;
		data += piece.len;
		size -= piece.len;
	}
	(void)xv_ct_expected(helpers, &conn.tuple[1], true, 1000, &e);
	xv_ct_helper_release(helpers, &conn);
	FUZZ_CHECK(!xv_ct_expected(helpers, &conn.tuple[1], true, 1000, &e));
	FUZZ_CHECK(rte_mempool_avail_count(pool) == avail);
	return 0;
}
