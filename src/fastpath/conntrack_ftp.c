/* SPDX-License-Identifier: Apache-2.0 */
/*
 * FTP (RFC 959, RFC 2428): a line of the control connection says where a data connection will come to. If the control
 * connection is translated, the line has an address that the other side cannot reach: it gets the one that it can, a
 * port that nobody else expects a connection at, and the rest of the connection is renumbered to make up for the
 * length.
 *
 * Only addresses of the speaker itself are believed (as nf_conntrack without `loose`): else a client could have ports
 * of others opened. A packet that is nothing but the beginning of such a line is dropped, so that it comes again with
 * the rest.
 */
#include "fastpath/conntrack_helper.h"

#include <errno.h>
#include <netinet/in.h>

#include <rte_mbuf.h>

#include "net/bytes.h"
#include "net/ftp_line.h"
#include "net/packet_share.h"

#define TCP_SEQ 4

/* Of a packet's payload so much is looked at; lines of interest are short, what stands before them may not be. */
#define LOOK_BYTES 2048
/* Ports that are tried for a data connection. */
#define MAX_PORTS 128

/* The text of a packet, and where its bytes are in the sender's count. */
struct text {
	const uint8_t *bytes;
	uint32_t len;      /* that can be looked at */
	uint32_t seq, end; /* of all of it */
	uint32_t offset;   /* from the first byte of the frame */
};

static bool before(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) < 0;
}

/* ---- Where lines begin ---- */

static bool begins_line(const struct xv_ct_helped *h, enum xv_ct_dir dir, uint32_t seq)
{
	unsigned int i;

	for (i = 0; i < h->lines[dir]; i++)
		if (h->line[dir][i] == seq)
			return true;
	return h->announced_port != 0 && h->announced == seq;
}

/* The older one goes. */
static void remember_line(struct xv_ct_helped *h, enum xv_ct_dir dir, uint32_t seq)
{
	uint32_t *line = h->line[dir];

	if (begins_line(h, dir, seq))
		return;
	if (h->lines[dir] < XV_CT_LINES)
		line[h->lines[dir]++] = seq;
	else if (before(line[0], line[1]) && before(line[0], seq))
		line[0] = seq;
	else if (before(line[1], seq))
		line[1] = seq;
}

/*
 * The first line of interest. at: where it begins in the text. Returns as xv_ftp_line_parse(); -EAGAIN only for text
 * that is nothing else: of more than that, sent again, the same would be missing.
 */
static int find_line(const struct xv_ct_helped *h, enum xv_ct_dir dir, const struct text *t, uint32_t *at,
		     struct xv_ftp_line *line)
{
	bool known = begins_line(h, dir, t->seq);
	const uint8_t *newline;
	uint32_t i;
	int rc;

	for (i = 0; i < t->len; i = (uint32_t)(newline - t->bytes) + 1) {
		if (known || i > 0) {
			*at = i;
			rc = xv_ftp_line_parse(t->bytes + i, t->len - i, dir == XV_CT_REPLY, line);
			if (rc > 0)
				return rc;
			if (rc == -EAGAIN && i == 0 && t->len < LOOK_BYTES)
				return rc;
		}
		newline = memchr(t->bytes + i, '\n', t->len - i);
		if (!newline)
			break;
	}
	return 0;
}

/* ---- What a line announces ---- */

/* The speaker may only speak of itself, in its own address family. */
static bool is_believed(const struct xv_ftp_line *line, const struct xv_ct_tuple *speaker)
{
	if (line->ip_version == 0)
		return true;
	return line->ip_version == (speaker->ipv6 ? 6 : 4) &&
	       memcmp(&line->addr, &speaker->src, sizeof(line->addr)) == 0;
}

/* Expect at the announced port, or with translation at one that is free. A line that comes again gets what it got. */
static int expect(struct xv_ct_helpers *helpers, struct xv_conn *conn, enum xv_ct_dir dir, uint32_t seq,
		  const struct xv_ftp_line *line, bool translated, rte_be16_t *port, uint32_t now_ms)
{
	struct xv_ct_helped *h = xv_ct_helped_of(helpers, conn);
	rte_be16_t inside = rte_cpu_to_be_16(line->port);
	uint16_t first = line->port, n;
	unsigned int i;

	*port = inside;
	if (!translated)
		return xv_ct_expect(helpers, conn, !dir, inside, inside, false, now_ms);
	if (h->announced_port == inside && h->announced == seq) {
		*port = h->expect.dst_port;
		return xv_ct_expect(helpers, conn, !dir, *port, inside, false, now_ms);
	}
	for (i = 0; i < MAX_PORTS; i++) {
		n = (uint16_t)(first + i);
		if (n < first)
			n = (uint16_t)(n + 1024); /* beyond the last */
		*port = rte_cpu_to_be_16(n);
		if (xv_ct_expect(helpers, conn, !dir, *port, inside, true, now_ms) == 0)
			return 0;
	}
	return -EPROTO;
}

/* Whether a line at seq that becomes longer by `more` can be accounted for, and how. */
static int plan_shift(const struct xv_tcp_shift *s, uint32_t seq, uint32_t end, int32_t more, struct xv_tcp_shift *to)
{
	*to = *s;
	if (s->start == s->end || !before(seq, s->end)) {
		if (more != 0)
			*to = (struct xv_tcp_shift){
				.start = seq, .end = end, .before = s->after, .after = s->after + more};
		return 0;
	}
	/* It comes again. An older one cannot: what it was rewritten to is forgotten. */
	return s->start == seq && s->end == end && s->after - s->before == more ? 0 : -EPROTO;
}

/* Put what the other side can reach into the line that begins at text t->bytes[at]. */
static int rewrite(struct xv_conn *conn, struct xv_ct_helped *h, enum xv_ct_dir dir, struct rte_mbuf *m,
		   struct xv_flow_layout *layout, const struct text *t, uint32_t at, struct xv_ftp_line *line,
		   rte_be16_t port)
{
	const struct xv_ct_tuple *back = &conn->tuple[!dir];
	uint32_t seq = t->seq + at, offset = at + line->offset, len;
	uint8_t text[XV_FTP_TEXT_MAX];
	struct xv_tcp_shift shift;
	int rc;

	if (line->port == rte_be_to_cpu_16(port) &&
	    (line->ip_version == 0 || memcmp(&line->addr, &back->dst, sizeof(line->addr)) == 0))
		return 0;
	line->addr = back->dst;
	line->port = rte_be_to_cpu_16(port);
	len = xv_ftp_line_format(line, text);
	rc = plan_shift(&h->shift[dir], seq, t->seq + offset + line->len, (int32_t)len - (int32_t)line->len, &shift);
	if (rc != 0)
		return rc;
	if (xv_tcp_replace(m, layout, back->ipv6, t->offset + offset, line->len, text, len) != 0)
		return -EPROTO;
	h->shift[dir] = shift;
	if (shift.before != 0 || shift.after != 0)
		conn->flags |= XV_CONN_SEQ_ADJUST;
	return 0;
}

/* 1: the line was dealt with. */
static int announce(struct xv_ct_helpers *helpers, struct xv_conn *conn, enum xv_ct_dir dir, struct rte_mbuf *m,
		    struct xv_flow_layout *layout, const struct text *t, uint32_t at, struct xv_ftp_line *line,
		    uint32_t now_ms)
{
	struct xv_ct_helped *h = xv_ct_helped_of(helpers, conn);
	bool translated = xv_ct_is_translated(conn);
	rte_be16_t port, inside = rte_cpu_to_be_16(line->port);
	int rc;

	if (!is_believed(line, &conn->tuple[dir]))
		return 0;
	rc = expect(helpers, conn, dir, t->seq + at, line, translated, &port, now_ms);
	if (rc == 0 && translated)
		rc = rewrite(conn, h, dir, m, layout, t, at, line, port);
	if (rc != 0) {
		xv_ct_unexpect(helpers, conn);
		return -EPROTO;
	}
	h->announced = t->seq + at;
	h->announced_port = inside;
	return 1;
}

/* ---- Packets ---- */

/* Bytes that were changed once must not go out as they are, in part or as a whole. */
static bool is_half_changed(const struct xv_tcp_shift *s, const struct text *t)
{
	return s->start != s->end && before(t->seq, s->end) && before(s->start, t->end);
}

static int look(struct xv_ct_helpers *helpers, struct xv_conn *conn, enum xv_ct_dir dir, struct rte_mbuf *m,
		struct xv_flow_layout *layout, const struct text *t, uint32_t now_ms)
{
	struct xv_ct_helped *h = xv_ct_helped_of(helpers, conn);
	struct xv_ftp_line line;
	uint32_t at;
	bool ends_line = t->len == t->end - t->seq && t->bytes[t->len - 1] == '\n';
	int rc;

	rc = find_line(h, dir, t, &at, &line);
	if (rc > 0)
		rc = announce(helpers, conn, dir, m, layout, t, at, &line, now_ms);
	else if (rc == -EAGAIN)
		rc = -EPROTO;
	if (rc == 0 && is_half_changed(&h->shift[dir], t))
		rc = -EPROTO;
	if (rc < 0)
		return rc;
	if (ends_line)
		remember_line(h, dir, t->end);
	return 0;
}

int xv_ct_ftp_packet(struct xv_ct_helpers *helpers, struct xv_conn *conn, enum xv_ct_dir dir, struct rte_mbuf *m,
		     struct xv_flow_layout *layout, uint32_t now_ms)
{
	struct xv_ct_helped *h = xv_ct_helped_of(helpers, conn);
	struct text t = {.offset = (uint32_t)layout->l4 + layout->l4_len};
	uint8_t copy[LOOK_BYTES];
	int rc = 0;

	if (conn->tuple[0].proto != IPPROTO_TCP || layout->l4_len < 20 ||
	    (uint32_t)layout->l4 + layout->l4_len > m->data_len)
		return 0;
	t.seq = xv_load_be32(rte_pktmbuf_mtod_offset(m, const uint8_t *, layout->l4 + TCP_SEQ));
	if ((conn->flags & XV_CONN_SEEN_REPLY) && t.offset < layout->payload_end && layout->payload_end <= m->pkt_len) {
		t.end = t.seq + layout->payload_end - t.offset;
		t.len = RTE_MIN(layout->payload_end - t.offset, (uint32_t)LOOK_BYTES);
		t.bytes = xv_packet_read(m, t.offset, t.len, copy);
		if (t.bytes)
			rc = look(helpers, conn, dir, m, layout, &t, now_ms);
	}
	if (rc == 0 && (conn->flags & XV_CONN_SEQ_ADJUST) &&
	    xv_tcp_shift_apply(m, layout, &h->shift[dir], &h->shift[!dir]) != 0)
		rc = -EPROTO;
	return rc;
}
