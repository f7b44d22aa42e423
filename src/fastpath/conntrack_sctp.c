/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SCTP associations, watched from the middle (RFC 9260). A packet has chunks, each of which may change the
 * state; a packet belongs to an association if it carries the verification tag that its receiver chose (section
 * 8.5). One path of an association is one connection: other paths are opened by HEARTBEAT.
 */
#include "fastpath/conntrack_state.h"

#include "net/bytes.h"

#define HEADER 12
#define CHUNK_HEADER 4
#define INIT_HEADER 20 /* with the chunk's own: as far as the fixed parameters go */
#define FLAG_T 0x01 /* ABORT, SHUTDOWN-COMPLETE: the sender has no association, and reflects the tag that it got */

enum chunk {
	DATA = 0,
	INIT = 1,
	INIT_ACK = 2,
	SACK = 3,
	HEARTBEAT = 4,
	HEARTBEAT_ACK = 5,
	ABORT = 6,
	SHUTDOWN = 7,
	SHUTDOWN_ACK = 8,
	ERROR = 9,
	COOKIE_ECHO = 10,
	COOKIE_ACK = 11,
	SHUTDOWN_COMPLETE = 14,
	CHUNKS
};

#define BAD 0xff

#define CL XV_CT_SCTP_CLOSED
#define CW XV_CT_SCTP_COOKIE_WAIT   /* INIT, or INIT-ACK */
#define CE XV_CT_SCTP_COOKIE_ECHOED
#define ES XV_CT_SCTP_ESTABLISHED   /* COOKIE-ACK */
#define SS XV_CT_SCTP_SHUTDOWN_SENT /* by the original side */
#define SR XV_CT_SCTP_SHUTDOWN_RECD /* by the reply side */
#define SA XV_CT_SCTP_SHUTDOWN_ACK_SENT
#define HS XV_CT_SCTP_HEARTBEAT_SENT

/* The new state, by kind of chunk and old state. Other kinds (DATA, SACK) change nothing. */
static const uint8_t next_state[2][CHUNKS][XV_CT_SCTP_STATES] = {
	[XV_CT_ORIGINAL] = {
		/*		       none CL  CW  CE  ES  SS  SR  SA  HS */
		[INIT]		    = {CL, CL, CW, CE, ES, CL, CL, SA, CW},
		[INIT_ACK]	    = {CL, CL, CW, CE, ES, SS, SR, SA, CL},
		[COOKIE_ECHO]	    = {CL, CL, CE, CE, ES, SS, SR, SA, CL},
		[COOKIE_ACK]	    = {CL, CL, CW, ES, ES, SS, SR, SA, CL},
		[HEARTBEAT]	    = {HS, CL, CW, CE, ES, SS, SR, SA, HS},
		[HEARTBEAT_ACK]	    = {CL, CL, CW, CE, ES, SS, SR, SA, HS},
		[SHUTDOWN]	    = {CL, CL, CW, CE, SS, SS, SR, SA, CL},
		[SHUTDOWN_ACK]	    = {SA, CL, CW, CE, ES, SA, SA, SA, SA},
		[SHUTDOWN_COMPLETE] = {CL, CL, CW, CE, ES, SS, SR, CL, CL},
		[ERROR]		    = {CL, CL, CW, CE, ES, SS, SR, SA, CL},
		[ABORT]		    = {CL, CL, CL, CL, CL, CL, CL, CL, CL},
	},
	[XV_CT_REPLY] = {
		/*		       none CL  CW  CE  ES  SS  SR  SA  HS */
		[INIT]		    = {BAD, CL, CW, CE, ES, SS, SR, SA, BAD},
		[INIT_ACK]	    = {BAD, CW, CW, CE, ES, SS, SR, SA, BAD},
		[COOKIE_ECHO]	    = {BAD, CL, CE, CE, ES, SS, SR, SA, BAD},
		[COOKIE_ACK]	    = {BAD, CL, CW, ES, ES, SS, SR, SA, BAD},
		[HEARTBEAT]	    = {BAD, CL, CW, CE, ES, SS, SR, SA, HS},
		[HEARTBEAT_ACK]	    = {BAD, CL, CW, CE, ES, SS, SR, SA, ES},
		[SHUTDOWN]	    = {BAD, CL, CW, CE, SR, SS, SR, SA, BAD},
		[SHUTDOWN_ACK]	    = {BAD, CL, CW, CE, ES, SA, SA, SA, BAD},
		[SHUTDOWN_COMPLETE] = {BAD, CL, CW, CE, ES, SS, SR, CL, BAD},
		[ERROR]		    = {BAD, CL, CW, CL, ES, SS, SR, SA, BAD},
		[ABORT]		    = {BAD, CL, CL, CL, CL, CL, CL, CL, BAD},
	},
};

static bool changes_state(uint8_t type)
{
	return type < CHUNKS && next_state[0][type][0];
}

/* ---- Chunks ---- */

struct chunks {
	const uint8_t *p;
	uint32_t left; /* contiguous bytes of the packet: what lies behind is not looked at */
	unsigned int n;
};

static bool chunks_begin(const struct xv_ct_packet *p, struct chunks *c)
{
	if (!p->csum_ok || p->l4 == 0 || p->len < p->l4 || p->len - p->l4 < HEADER || p->end < p->l4 ||
	    p->end - p->l4 < HEADER)
		return false;
	c->p = p->data + p->l4 + HEADER;
	c->left = (p->len < p->end ? p->len : p->end) - p->l4 - HEADER;
	c->n = 0;
	return true;
}

/* The next chunk's header, *len bytes of which are here; NULL: no more that can be seen. */
static const uint8_t *chunk_next(struct chunks *c, uint32_t *len)
{
	const uint8_t *chunk = c->p;
	uint32_t size;

	if (c->left < CHUNK_HEADER)
		return NULL;
	size = (xv_load_be16(chunk + 2) + 3u) & ~3u;
	if (size < CHUNK_HEADER)
		size = CHUNK_HEADER;
	*len = c->left;
	if (size > c->left)
		size = c->left;
	c->p += size;
	c->left -= size;
	c->n++;
	return chunk;
}

/* RFC 9260, section 6.10: what may stand together. *types: a bit for each kind that is there. */
static bool chunks_fit(struct chunks c, uint32_t *types)
{
	const uint8_t *chunk;
	uint32_t len;
	bool alone = false;

	*types = 0;
	while ((chunk = chunk_next(&c, &len)) != NULL) {
		bool first = c.n == 1;

		alone |= chunk[0] == INIT || chunk[0] == INIT_ACK || chunk[0] == SHUTDOWN_COMPLETE;
		if (xv_load16(chunk + 2) == 0 ||
		    (!first && (alone || chunk[0] == COOKIE_ACK || chunk[0] == COOKIE_ECHO)))
			return false;
		if (chunk[0] < CHUNKS)
			*types |= 1u << chunk[0];
	}
	return c.n > 0;
}

/* ---- Tags: RFC 9260, section 8.5 ---- */

#define OWN_RULES \
	(1u << INIT | 1u << ABORT | 1u << SHUTDOWN_COMPLETE | 1u << SHUTDOWN_ACK | 1u << COOKIE_ECHO | 1u << HEARTBEAT | \
	 1u << HEARTBEAT_ACK)

enum tag { TAG_GOOD, TAG_BAD, TAG_PROBE };

/* A path may be used again, by others with other tags, before its connection timed out: HEARTBEAT and its
 * answer, from one side and the other, prove new tags. TAG_PROBE: let it through, but it proves nothing yet. */
static enum tag heartbeat_tag(struct xv_ct_sctp_conn *sctp, enum xv_ct_dir dir, bool answer, rte_be32_t vtag)
{
	if (sctp->vtag[dir] == 0) {
		sctp->vtag[dir] = vtag;
	} else if (vtag == sctp->vtag[dir]) {
		sctp->probing = false;
	} else if (!answer) {
		sctp->probing = true;
		sctp->probe_dir = dir;
		return TAG_PROBE;
	} else {
		if (!sctp->probing || sctp->probe_dir == dir)
			return TAG_BAD;
		sctp->probing = false;
		sctp->vtag[dir] = vtag;
		sctp->vtag[!dir] = 0;
	}
	return TAG_GOOD;
}

static enum tag check_tag(struct xv_ct_sctp_conn *sctp, enum xv_ct_dir dir, const uint8_t *chunk, rte_be32_t vtag,
			  uint32_t types, bool probed)
{
	switch (chunk[0]) {
	case INIT: /* (A) */
		return vtag == 0 ? TAG_GOOD : TAG_BAD;
	case ABORT: /* (B) */
	case SHUTDOWN_COMPLETE: /* (C) */
		return vtag == sctp->vtag[chunk[1] & FLAG_T ? !dir : dir] ? TAG_GOOD : TAG_BAD;
	case COOKIE_ECHO: /* (D) */
		return vtag == sctp->vtag[dir] ? TAG_GOOD : TAG_BAD;
	case HEARTBEAT:
	case HEARTBEAT_ACK:
		if (sctp->vtag[dir] && vtag != sctp->vtag[dir] && ((types & 1u << DATA) || probed))
			return TAG_BAD;
		return heartbeat_tag(sctp, dir, chunk[0] == HEARTBEAT_ACK, vtag);
	default:
		return TAG_GOOD;
	}
}

/* INIT and INIT-ACK carry the tag that their sender wants to see. Two INITs may cross: section 5.2.1. */
static bool learn_tag(struct xv_ct_sctp_conn *sctp, enum xv_ct_dir dir, const uint8_t *chunk, uint32_t len)
{
	uint8_t mine = 1u << dir, others = 1u << !dir;
	rte_be32_t tag;

	if (len < INIT_HEADER)
		return false;
	tag = xv_load32(chunk + 4);
	if (chunk[0] == INIT) {
		if (sctp->inits == (mine | others))
			sctp->inits = 0;
		sctp->inits |= mine;
	} else {
		rte_be32_t known = sctp->vtag[!dir];

		if (known && known != tag && (!(sctp->inits & others) || (sctp->inits & mine)))
			return false;
	}
	sctp->vtag[!dir] = tag;
	return true;
}

/* ---- A packet's way ---- */

static enum xv_ct_verdict chunks_apply(struct xv_conn *conn, enum xv_ct_dir dir, struct chunks c, rte_be32_t vtag,
				       uint32_t types, const uint32_t *timeout_ms, uint32_t now_ms)
{
	struct xv_ct_sctp_conn *sctp = &conn->proto.sctp;
	const uint8_t *chunk;
	uint32_t len;
	bool probed = false, renew = true;
	uint8_t old, next = conn->state;

	if (!(types & OWN_RULES) && vtag != sctp->vtag[dir])
		return XV_CT_INVALID;
	while ((chunk = chunk_next(&c, &len)) != NULL) {
		switch (check_tag(sctp, dir, chunk, vtag, types, probed)) {
		case TAG_BAD:
			return XV_CT_INVALID;
		case TAG_PROBE:
			probed = true;
			renew = false;
			continue;
		case TAG_GOOD:
			break;
		}
		if (chunk[0] == COOKIE_ACK)
			sctp->inits = 0;
		old = conn->state;
		next = changes_state(chunk[0]) ? next_state[dir][chunk[0]][old] : old;
		if (next == BAD)
			return XV_CT_INVALID;
		if ((chunk[0] == INIT || chunk[0] == INIT_ACK) && !learn_tag(sctp, dir, chunk, len))
			return XV_CT_INVALID;
		/* Who repeats an INIT for ever must not hold the entry for ever. */
		if (chunk[0] == INIT && next == XV_CT_SCTP_CLOSED && old == XV_CT_SCTP_CLOSED)
			renew = false;
		conn->state = next;
		if (old != next && next == XV_CT_SCTP_ESTABLISHED)
			conn->flags |= XV_CONN_ASSURED;
	}
	if (renew)
		xv_conn_set_expires(conn, now_ms + timeout_ms[XV_CT_TO_SCTP_CLOSED + (next ? next - 1 : 0)]);
	return XV_CT_VALID;
}

static enum xv_ct_verdict sctp_packet(struct xv_conn *conn, enum xv_ct_dir dir, const struct xv_ct_packet *p,
				      const uint32_t *timeout_ms, uint32_t now_ms)
{
	struct chunks c;
	uint32_t types;

	if (!chunks_begin(p, &c) || !chunks_fit(c, &types))
		return XV_CT_INVALID;
	return chunks_apply(conn, dir, c, xv_load32(p->data + p->l4 + 4), types, timeout_ms, now_ms);
}

static bool sctp_open(struct xv_conn *conn, const struct xv_ct_packet *p, bool pick_up, const uint32_t *timeout_ms,
		      uint32_t now_ms)
{
	struct xv_ct_sctp_conn *sctp = &conn->proto.sctp;
	const uint8_t *chunk;
	struct chunks c, left;
	rte_be32_t vtag;
	uint32_t types, len;

	(void)pick_up;
	conn->state = XV_CT_SCTP_NONE;
	conn->flags = 0;
	conn->proto = (union xv_ct_proto_state){0};
	/* Section 8.4: who has no association does not answer these. */
	if (!chunks_begin(p, &c) || !chunks_fit(c, &types) ||
	    (types & (1u << ABORT | 1u << SHUTDOWN_COMPLETE | 1u << COOKIE_ACK)))
		return false;
	vtag = xv_load32(p->data + p->l4 + 4);
	left = c;
	while ((chunk = chunk_next(&left, &len)) != NULL) {
		if (!changes_state(chunk[0]))
			return false;
		if (chunk[0] == INIT) {
			if (vtag != 0 || len < INIT_HEADER)
				return false;
			sctp->vtag[XV_CT_REPLY] = xv_load32(chunk + 4);
		} else if (chunk[0] == HEARTBEAT) { /* the other path of an association */
			sctp->vtag[XV_CT_ORIGINAL] = vtag;
		} else if (chunk[0] == SHUTDOWN_ACK) { /* the answer will reflect its tag: section 8.4, (5) */
			sctp->vtag[XV_CT_REPLY] = vtag;
		}
	}
	return chunks_apply(conn, XV_CT_ORIGINAL, c, vtag, types, timeout_ms, now_ms) == XV_CT_VALID;
}

const struct xv_ct_proto xv_ct_sctp = {.handshake = true, .open = sctp_open, .packet = sctp_packet};
