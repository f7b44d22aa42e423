/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packets of some connections in any order, most of them as the input wants them, through connection tracking. They end where their
 * buffer ends. The same packets go through a second table: there all take the long way, here those of steady connections are advanced
 * as fused flows do; both must say the same of each packet, and of each connection afterwards. Where translation is wanted there
 * is no second table, for free ports are chosen by chance.
 *
 * Input: byte 0: bit 0: translate, bit 1: pick up; then one after another
 *   byte 0	0xff: time passes, 0xfe: connections that timed out go; else bit 0: IPv6, bits 1-2: protocol, bit 3: the other
 *		direction, bit 4: commit, bit 5: force, bit 6: an ICMP error about this packet, bit 7: cut the frame behind its text
 *   byte 1	bits 0-1: port of the client, bit 2: zone, bit 3: set the mark
 *   byte 2	flags of TCP, type of ICMP, first chunk of SCTP
 *   byte 3	bytes of text: of the transport header from its fifth byte on, and behind it
 *   ...	the text; what is missing is 0
 */
#include "fuzz.h"

#include <errno.h>
#include <string.h>

#include <rte_mbuf.h>

#include "fastpath/conntrack_state.h"
#include "fastpath/conntrack_table.h"
#include "net/packet.h"
#include "table/rcu.h"

#define L2	   14
#define TEXT_MAX   255
#define FRAME_MAX  (L2 + 40 + 8 + 40 + 20 + TEXT_MAX)
#define HITS	   (2 * 4 * 4 * 2) /* versions, protocols, clients, zones */
#define CONNECTIONS 64

static const uint8_t protos[4] = {6, 17, 1, 132};

static struct rte_mempool *pool;
static struct xv_conntrack *ct, *twin;
static uint32_t now_ms = 1;
static uint32_t expired_ms = 1; /* when timers were looked at */
#define LONGEST_MS (1u << 29) /* more than any timeout */
#define MOST_MS	   (1u << 28) /* that pass within an input */

struct op {
	uint8_t what, who, kind, len;
};

/* What one table made of a packet. */
struct seen {
	int rc;
	struct xv_flow_key key;
	struct xv_ct_hit hit;
};

static void put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

/* An IP packet of a client or its server. Its length. */
static uint32_t put_packet(uint8_t *ip, const struct op *op, bool reply, const uint8_t *text, uint32_t there)
{
	bool ipv6 = op->what & 1;
	uint8_t proto = protos[op->what >> 1 & 3], client[16] = {0xfd}, server[16] = {0xfd};
	uint32_t l3_len = ipv6 ? 40 : 20, min = proto == 6 ? 20 : proto == 132 ? 16 : 8, len = RTE_MAX(min, 4u + op->len);
	uint8_t *l4 = ip + l3_len;

	client[15] = (uint8_t)(1 + (op->who & 3));
	server[15] = 9;
	client[12] = server[12] = 10;
	if (proto == 1 && ipv6)
		proto = 58;
	memset(ip, 0, l3_len + len);
	if (ipv6) {
		ip[0] = 0x60;
		put16(ip + 4, len);
		ip[6] = proto;
		memcpy(ip + 8, reply ? server : client, 16);
		memcpy(ip + 24, reply ? client : server, 16);
	} else {
		ip[0] = 0x45;
		put16(ip + 2, 20 + len);
		ip[9] = proto;
		memcpy(ip + 12, (reply ? server : client) + 12, 4);
		memcpy(ip + 16, (reply ? client : server) + 12, 4);
	}
	memcpy(l4 + 4, text, there);
	put16(l4, reply ? 7 : 1000);
	put16(l4 + 2, reply ? 1000 : 7);
	if (proto == 6) {
		l4[12] = (uint8_t)(l4[12] < 0x50 ? 0x50 : l4[12]);
		l4[13] = op->kind;
	} else if (proto == 17) {
		put16(l4 + 4, len);
		put16(l4 + 6, 0);
	} else if (proto == 132) {
		l4[12] = op->kind;
	} else {
		l4[0] = op->kind;
		l4[1] = 0;
	}
	return l3_len + len;
}

static uint32_t put_frame(uint8_t *frame, const struct op *op, const uint8_t *text, uint32_t there)
{
	bool ipv6 = op->what & 1, reply = op->what & 8;
	uint32_t len, head = ipv6 ? 48 : 28;
	uint8_t *ip = frame + L2;

	memset(frame, 0, L2);
	put16(frame + 12, ipv6 ? 0x86dd : 0x0800);
	if (!(op->what & 0x40))
		return L2 + put_packet(ip, op, reply, text, there);
	/* To whoever sent the packet inside. */
	len = put_packet(ip + head, op, reply, text, there);
	memcpy(ip, ip + head, head - 8);
	memset(ip + head - 8, 0, 8);
	if (ipv6) {
		memcpy(ip + 8, ip + 24, 16);
		memcpy(ip + 24, ip + head + 8, 16);
		put16(ip + 4, 8 + len);
		ip[6] = 58;
		ip[40] = 1;
	} else {
		memcpy(ip + 12, ip + 16, 4);
		memcpy(ip + 16, ip + head + 12, 4);
		put16(ip + 2, 28 + len);
		ip[9] = 1;
		ip[20] = 3;
	}
	return L2 + head + len;
}

static struct rte_mbuf *packet(const uint8_t *frame, uint32_t len)
{
	struct rte_mbuf *m = fuzz_mbuf_exact(pool, frame, (uint16_t)len, 0, 0);

	/* Else hardly a packet would get further than its checksum. */
	m->ol_flags |= RTE_MBUF_F_RX_L4_CKSUM_GOOD;
	return m;
}

static bool extract(struct rte_mbuf *m, struct xv_flow_key *key, struct xv_flow_layout *layout)
{
	memset(key, 0, sizeof(*key));
	return xv_flow_extract(rte_pktmbuf_mtod(m, const uint8_t *), m->data_len, m->pkt_len, key, layout) == XV_FLOW_OK;
}

static void look(const struct seen *s)
{
	uint32_t state = s->key.ct_state;

	FUZZ_CHECK(s->rc == 0 || s->rc == -ENOBUFS || s->rc == -EDQUOT || s->rc == -ENOSPC || s->rc == -EADDRINUSE ||
		   s->rc == -EINVAL);
	if (s->rc != 0)
		return;
	FUZZ_CHECK(state & XV_CS_TRACKED);
	FUZZ_CHECK(!(state & XV_CS_NEW) || !(state & (XV_CS_ESTABLISHED | XV_CS_INVALID)));
	FUZZ_CHECK(!(state & XV_CS_INVALID) || (state == (XV_CS_TRACKED | XV_CS_INVALID) && s->hit.conn == NULL));
	FUZZ_CHECK(!(state & XV_CS_ESTABLISHED) || s->hit.conn != NULL);
}

/* The long way: looked up, and perhaps committed. */
static void track(struct xv_conntrack *table, const struct op *op, bool translate, const uint8_t *frame, uint32_t len,
		  struct seen *s)
{
	struct xv_action_ct action = {.zone = (uint16_t)(1 + (op->who >> 2 & 1)), .flags = translate ? XV_CT_NAT : 0};
	struct rte_mbuf *m = packet(frame, len);
	struct xv_flow_layout layout, again;
	struct xv_flow_key key;

	memset(&s->hit, 0, sizeof(s->hit));
	s->rc = -EINVAL;
	if (extract(m, &s->key, &layout)) {
		s->rc = xv_conntrack_packet(table, &action, m, &s->key, &layout, now_ms, &s->hit);
		look(s);
		if (s->rc == 0 && op->what & 0x10 && !(s->key.ct_state & XV_CS_INVALID)) {
			action.flags |= XV_CT_COMMIT | (op->what & 0x20 ? XV_CT_FORCE : 0);
			action.mark = action.mark_mask = op->who & 8 ? 1u + op->kind : 0;
			if (translate) {
				action.nat.flags = XV_NAT_SRC;
				action.nat.min = action.nat.max = s->key.ip_dst;
				action.nat.min.bytes[15] = action.nat.max.bytes[15] = 77;
			}
			s->rc = xv_conntrack_packet(table, &action, m, &s->key, &layout, now_ms, &s->hit);
			look(s);
		}
		/* What was translated is still what the key says it is. */
		if (s->rc == 0 && translate && extract(m, &key, &again))
			FUZZ_CHECK(memcmp(&key.ip_src, &s->key.ip_src, 16) == 0 && memcmp(&key.ip_dst, &s->key.ip_dst, 16) == 0 &&
				   key.tp_src == s->key.tp_src && key.tp_dst == s->key.tp_dst);
	}
	rte_pktmbuf_free(m);
}

/* Of common shapes, as fused flows take them. */
static bool is_common(const uint8_t *frame, uint32_t len, const struct op *op)
{
	uint32_t l4 = L2 + (op->what & 1 ? 40 : 20);
	uint8_t proto = protos[op->what >> 1 & 3];

	return !(op->what & 0xe0) && (proto == 17 || (proto == 6 && len >= l4 + 20 && l4 + (frame[l4 + 12] >> 4) * 4u <= len));
}

struct list {
	unsigned int n;
	struct xv_ct_info of[2 * CONNECTIONS];
};

static void add(const struct xv_ct_info *info, void *arg)
{
	struct list *list = arg;

	FUZZ_CHECK(list->n < RTE_DIM(list->of));
	list->of[list->n++] = *info;
}

static const struct xv_ct_info *find(const struct list *list, const struct xv_ct_info *info)
{
	unsigned int i;

	for (i = 0; i < list->n; i++)
		if (memcmp(&list->of[i].original, &info->original, sizeof(info->original)) == 0)
			return &list->of[i];
	return NULL;
}

/* Both tables know the same of the same connections, but what is counted when packets are not. */
static void compare(void)
{
	static struct list lists[2];
	const struct xv_ct_info *x, *y;
	uint64_t cursor[2] = {0};
	unsigned int i;

	lists[0].n = lists[1].n = 0;
	(void)xv_conntrack_walk(ct, now_ms, &cursor[0], UINT32_MAX, add, &lists[0]);
	(void)xv_conntrack_walk(twin, now_ms, &cursor[1], UINT32_MAX, add, &lists[1]);
	FUZZ_CHECK(lists[0].n == lists[1].n);
	for (i = 0; i < lists[0].n; i++) {
		x = &lists[0].of[i];
		y = find(&lists[1], x);
		FUZZ_CHECK(y != NULL && memcmp(&x->reply, &y->reply, sizeof(x->reply)) == 0);
		FUZZ_CHECK(x->state == y->state && x->status == y->status && x->mark == y->mark &&
			   x->timeout_ms == y->timeout_ms);
	}
}

/* Empty, whatever time the last connection was given. */
static void clear(struct xv_conntrack *table)
{
	struct xv_conntrack_stats stats;

	while (xv_conntrack_expire(table, now_ms))
		;
	xv_conntrack_get_stats(table, &stats);
	FUZZ_CHECK(stats.inserted == stats.expired + stats.deleted + stats.evicted);
	FUZZ_CHECK(stats.connections == 0 && stats.half_open == 0);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct xv_conntrack_config config = {
		.connections = CONNECTIONS, .half_open_per_port = CONNECTIONS, .now_ms = now_ms};

	fuzz_eal_init();
	pool = fuzz_pool_create("packets", 63);
	FUZZ_CHECK(pool != NULL && xv_rcu_init() == 0);
	FUZZ_CHECK(xv_conntrack_create(&config, &ct) == 0 && xv_conntrack_create(&config, &twin) == 0);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct xv_ct_hit hits[HITS][2]; /* by direction of the packet: those that were steady */
	unsigned int avail = rte_mempool_avail_count(pool);
	static uint8_t frame[FRAME_MAX];
	struct seen seen, other;
	bool translate;

	if (size == 0)
		return 0;
	translate = data[0] & 1;
	xv_conntrack_set_pick_up(ct, data[0] & 2);
	xv_conntrack_set_pick_up(twin, data[0] & 2);
	memset(hits, 0, sizeof(hits));
	for (data++, size--; size >= sizeof(struct op);) {
		struct op op;
		struct xv_ct_hit *hit;
		uint32_t there, len, l4;
		bool advanced = false;

		if (data[0] >= 0xfe) {
			/* Within the bound of the timer wheel: it has to be looked at before 2^30 ms have passed. */
			if (data[0] == 0xff && now_ms - expired_ms < MOST_MS)
				now_ms += data[1] * data[1] * 100u;
			if (data[0] == 0xfe) {
				expired_ms = now_ms;
				(void)xv_conntrack_expire(ct, now_ms);
				(void)xv_conntrack_expire(twin, now_ms);
			}
			data += 2;
			size -= 2;
			continue;
		}
		memcpy(&op, data, sizeof(op));
		data += sizeof(op);
		size -= sizeof(op);
		there = (uint32_t)RTE_MIN((size_t)op.len, size);
		len = put_frame(frame, &op, data, there);
		data += there;
		size -= there;
		if (op.what & 0x80)
			len = RTE_MIN(len, L2 + 40u + op.kind % 32);
		hit = &hits[(op.what & 7u) << 3 | (op.who & 7u)][op.what >> 3 & 1];
		l4 = L2 + (op.what & 1 ? 40 : 20);
		if (!translate && hit->conn != NULL && hit->steady && is_common(frame, len, &op) && !(op.what & 0x10)) {
			struct rte_mbuf *m = packet(frame, len);
			const uint8_t *bytes = rte_pktmbuf_mtod(m, const uint8_t *);
			bool would = xv_conntrack_would_advance(ct, hit, bytes, L2, (uint16_t)l4, now_ms);

			advanced = xv_conntrack_advance(ct, hit, bytes, L2, (uint16_t)l4, now_ms);
			FUZZ_CHECK(would == advanced);
			rte_pktmbuf_free(m);
		}
		if (!advanced) {
			track(ct, &op, translate, frame, len, &seen);
			*hit = seen.rc == 0 ? seen.hit : (struct xv_ct_hit){0};
		}
		if (translate)
			continue;
		track(twin, &op, false, frame, len, &other);
		if (advanced)
			FUZZ_CHECK(other.rc == 0 && other.hit.conn != NULL && !other.hit.error && other.hit.dir == hit->dir &&
				   !(other.key.ct_state & XV_CS_INVALID));
		else
			FUZZ_CHECK(seen.rc == other.rc && seen.key.ct_state == other.key.ct_state &&
				   seen.key.ct_mark == other.key.ct_mark && seen.hit.dir == other.hit.dir);
		compare();
	}
	now_ms += LONGEST_MS;
	clear(ct);
	clear(twin);
	expired_ms = now_ms;
	FUZZ_CHECK(rte_mempool_avail_count(pool) == avail);
	return 0;
}
