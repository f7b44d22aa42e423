/* SPDX-License-Identifier: Apache-2.0 */
/*
 * FTP and TFTP through connection tracking, with and without translation: what is announced is found, what is written
 * into the control connection is right to the byte, and both ends see one stream of text that fits together, whatever
 * is lost.
 */
#include "unit.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_mbuf.h>

#include "fastpath/conntrack.h"
#include "net/bytes.h"
#include "net/checksum.h"
#include "net/packet.h"
#include "net/packet_share.h"

#define ZONE  5
#define STATE (XV_CS_NEW | XV_CS_ESTABLISHED | XV_CS_RELATED | XV_CS_REPLY | XV_CS_INVALID)

#define FIN 1
#define SYN 2
#define ACK 16

static struct rte_mempool *pool;
static struct xv_conntrack *ct;
static uint32_t now;
static uint64_t seed = 1;

/* An end as the other one, or NAT, knows it. */
struct end {
	union xv_ip_addr addr;
	uint16_t port;
};

/* A packet in words. */
struct packet {
	bool v6;
	uint8_t proto;
	struct end src, dst;
	uint8_t flags;
	uint32_t seq, ack;
	const char *text;
	uint32_t len;     /* of it */
	uint32_t sack[2]; /* 0: none */
	/* How it comes */
	uint16_t cut; /* bytes of text in the first segment; 0: all */
	bool pending, gso, shared;
};

static char *text_of(const char *format, ...) __attribute__((format(printf, 1, 2)));

static char *text_of(const char *format, ...)
{
	static char buffers[16][3000];
	static unsigned int next;
	char *buffer = buffers[next++ % 16];
	va_list args;

	va_start(args, format);
	vsnprintf(buffer, sizeof(buffers[0]), format, args);
	va_end(args);
	return buffer;
}

static struct end end4(uint32_t addr, uint16_t port)
{
	return (struct end){.addr.words[3] = rte_cpu_to_be_32(addr), .port = port};
}

static struct end end6(uint64_t low, uint16_t port)
{
	struct end e = {.port = port};

	e.addr.bytes[0] = 0xfd;
	e.addr.u64[1] = rte_cpu_to_be_64(low);
	return e;
}

static void put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static void put32(uint8_t *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, v);
}

/* The sum that the transport checksum of an IP packet at l3 is made of; 0xffff if the checksum is in it and right. */
static uint16_t transport_sum(const uint8_t *ip, uint32_t l4, uint32_t end, bool v6, uint8_t proto, bool pseudo_only)
{
	uint16_t sum = v6 ? xv_csum_pseudo6(ip + 8, ip + 24, proto, end - l4)
			  : xv_csum_pseudo4(ip + 12, ip + 16, proto, end - l4);

	return pseudo_only ? sum : xv_csum_add(sum, xv_csum_sum(ip + l4, end - l4));
}

static struct rte_mbuf *build(const struct packet *p)
{
	uint32_t l3 = p->v6 ? 40 : 20,
		 l4_len = p->proto == 17             ? 8
			  : p->sack[0] || p->sack[1] ? 32
						     : 20,
		 end = l3 + l4_len + p->len;
	static uint8_t frame[4096];
	uint8_t *ip = frame + 14, *th = ip + l3, *field;
	uint16_t cuts[2] = {0}, sum;
	struct rte_mbuf *m;

	memset(frame, 2, 12);
	memset(ip, 0, l3 + l4_len);
	put16(frame + 12, p->v6 ? 0x86dd : 0x0800);
	if (p->v6) {
		ip[0] = 0x60;
		put16(ip + 4, end - l3);
		ip[6] = p->proto;
		ip[7] = 64;
		memcpy(ip + 8, &p->src.addr, 16);
		memcpy(ip + 24, &p->dst.addr, 16);
	} else {
		ip[0] = 0x45;
		put16(ip + 2, end);
		ip[8] = 64;
		ip[9] = p->proto;
		memcpy(ip + 12, &p->src.addr.words[3], 4);
		memcpy(ip + 16, &p->dst.addr.words[3], 4);
		sum = (uint16_t)~xv_csum_sum(ip, 20);
		memcpy(ip + 10, &sum, 2);
	}
	put16(th, p->src.port);
	put16(th + 2, p->dst.port);
	if (p->proto == 17) {
		put16(th + 4, end - l3);
		field = th + 6;
	} else {
		put32(th + 4, p->seq);
		put32(th + 8, p->ack);
		th[12] = (uint8_t)(l4_len / 4 << 4);
		th[13] = p->flags;
		put16(th + 14, 30000);
		if (l4_len > 20) {
			memcpy(th + 20, (const uint8_t[]){1, 5, 10}, 3); /* at an odd place */
			put32(th + 23, p->sack[0]);
			put32(th + 27, p->sack[1]);
			th[31] = 0;
		}
		field = th + 16;
	}
	memcpy(th + l4_len, p->text, p->len);
	sum = transport_sum(ip, l3, end, p->v6, p->proto, p->pending);
	sum = p->pending ? sum : xv_csum_finish(sum);
	memcpy(field, &sum, 2);
	if (p->cut)
		cuts[0] = (uint16_t)(14 + l3 + l4_len + p->cut);
	m = unit_packet(pool, frame, 14 + end, cuts);
	if (p->pending) {
		*xv_packet_offload(m) = (struct xv_offload){.flags = XV_OFFLOAD_CSUM,
							    .csum_start = (uint16_t)(14 + l3),
							    .csum_offset = (uint16_t)(field - th)};
		if (p->gso) {
			xv_packet_offload(m)->gso_type = p->v6 ? XV_GSO_TCPV6 : XV_GSO_TCPV4;
			xv_packet_offload(m)->gso_size = 500;
		}
		m->ol_flags |= XV_PACKET_OFFLOAD;
	}
	return m;
}

/* What became of a packet. */
struct seen {
	int rc;
	uint32_t state, mark;
	uint64_t label;
	struct xv_flow_key key;
	struct packet out;
	char text[3000];
};

static struct seen last;

/* Read it back; lengths and checksums must be right. */
static void read_back(struct rte_mbuf *m, const struct packet *p, const struct xv_flow_layout *kept)
{
	static uint8_t flat[4096];
	const uint8_t *frame = rte_pktmbuf_read(m, 0, m->pkt_len, flat), *ip = frame + 14, *th;
	struct xv_flow_layout layout;
	struct xv_flow_key again;
	struct packet *o = &last.out;
	uint16_t field;

	again = last.key;
	assert_int_equal(
		xv_flow_extract(rte_pktmbuf_mtod(m, const uint8_t *), m->data_len, m->pkt_len, &again, &layout),
		XV_FLOW_OK);
	assert_memory_equal(&again, &last.key, offsetof(struct xv_flow_key, tun_options));
	assert_memory_equal(&layout, kept, sizeof(layout));
	assert_int_equal(layout.payload_end, m->pkt_len);
	rte_mbuf_sanity_check(m, 1);
	*o = (struct packet){.v6 = p->v6, .proto = p->proto};
	if (!p->v6)
		assert_int_equal(xv_csum_sum(ip, 20), 0xffff);
	o->src.addr = last.key.ip_src;
	o->dst.addr = last.key.ip_dst;
	o->src.port = rte_be_to_cpu_16(last.key.tp_src);
	o->dst.port = rte_be_to_cpu_16(last.key.tp_dst);
	th = frame + layout.l4;
	if (p->proto == 6) {
		o->seq = xv_load_be32(th + 4);
		o->ack = xv_load_be32(th + 8);
		o->flags = th[13];
		if (layout.l4_len == 32) {
			o->sack[0] = xv_load_be32(th + 23);
			o->sack[1] = xv_load_be32(th + 27);
		}
		memcpy(&field, th + 16, 2);
	} else {
		memcpy(&field, th + 6, 2);
	}
	if (p->pending)
		assert_int_equal(field,
				 transport_sum(ip, layout.l4 - 14u, layout.payload_end - 14, p->v6, p->proto, true));
	else
		assert_int_equal(transport_sum(ip, layout.l4 - 14u, layout.payload_end - 14, p->v6, p->proto, false),
				 0xffff);
	o->len = layout.payload_end - layout.l4 - layout.l4_len;
	memcpy(last.text, th + layout.l4_len, o->len);
	last.text[o->len] = '\0';
	o->text = last.text;
}

static int send(const struct packet *p, const struct xv_action_ct *action)
{
	struct rte_mbuf *m = build(p), *other = NULL;
	struct xv_flow_layout layout;
	struct xv_ct_hit hit = {0};
	static uint8_t flat[2][4096];
	uint32_t len = m->pkt_len;

	memcpy(flat[0], rte_pktmbuf_read(m, 0, len, flat[1]), len);
	if (p->shared) {
		other = m;
		m = xv_packet_own(xv_packet_clone(m, pool), pool);
	}
	memset(&last, 0, sizeof(last));
	xv_flow_extract(rte_pktmbuf_mtod(m, const uint8_t *), m->data_len, m->pkt_len, &last.key, &layout);
	last.rc = xv_conntrack_packet(ct, action, m, &last.key, &layout, now, &hit);
	last.state = last.key.ct_state & STATE;
	last.mark = last.key.ct_mark;
	last.label = last.key.ct_label[0];
	if (last.rc == 0)
		read_back(m, p, &layout);
	rte_pktmbuf_free(m);
	if (other) {
		assert_memory_equal(flat[0], rte_pktmbuf_read(other, 0, len, flat[1]), len);
		rte_pktmbuf_free(other);
	}
	assert_int_equal(rte_mempool_avail_count(pool), 255);
	return last.rc;
}

static struct xv_action_ct action_of(uint8_t flags, enum xv_ct_helper helper)
{
	return (struct xv_action_ct){.zone = ZONE, .flags = flags, .helper = (uint8_t)helper};
}

/* A control connection. Sequence numbers are those that the ends themselves use. */
struct session {
	bool v6;
	struct end client, server;           /* as they are */
	struct end client_seen, server_seen; /* as the other one sees them */
	struct xv_action_ct commit, pass;
	uint32_t client_seq, server_seq;
	uint32_t client_got, server_got; /* next that the server, the client expects */
};

static bool same_end(const struct end *a, const struct end *b)
{
	return memcmp(&a->addr, &b->addr, sizeof(a->addr)) == 0 && a->port == b->port;
}

static struct packet packet_of(const struct session *s, bool from_server, const char *text)
{
	struct packet p = {.v6 = s->v6, .proto = 6, .flags = ACK, .text = text, .len = (uint32_t)strlen(text)};

	p.src = from_server ? s->server : s->client;
	p.dst = from_server ? s->client_seen : s->server_seen;
	p.seq = from_server ? s->server_seq : s->client_seq;
	p.ack = from_server ? s->client_got : s->server_got;
	return p;
}

/* A line and its acknowledgement; what came out is in last.text. */
static void say_packet(struct session *s, bool from_server, struct packet *p)
{
	struct seen line;
	struct packet ack;

	assert_int_equal(send(p, &s->pass), 0);
	assert_int_equal(last.state, XV_CS_ESTABLISHED | (from_server ? XV_CS_REPLY : 0));
	assert_true(same_end(&last.out.src, from_server ? &s->server_seen : &s->client_seen));
	assert_true(same_end(&last.out.dst, from_server ? &s->client : &s->server));
	assert_int_equal(last.out.seq, from_server ? s->server_got : s->client_got);
	assert_int_equal(last.out.ack, from_server ? s->client_seq : s->server_seq);
	line = last;
	*(from_server ? &s->server_seq : &s->client_seq) += p->len;
	*(from_server ? &s->server_got : &s->client_got) += last.out.len;
	ack = packet_of(s, !from_server, "");
	assert_int_equal(send(&ack, &s->pass), 0);
	assert_int_equal(last.state, XV_CS_ESTABLISHED | (from_server ? 0 : XV_CS_REPLY));
	assert_int_equal(last.out.ack, from_server ? s->server_seq : s->client_seq);
	last = line;
	last.out.text = last.text;
}

static const char *say(struct session *s, bool from_server, const char *text)
{
	struct packet p = packet_of(s, from_server, text);

	say_packet(s, from_server, &p);
	return last.text;
}

static void shake_hands(struct session *s, enum xv_ct_helper helper, const struct xv_ct_nat *nat)
{
	struct packet p;

	s->commit = action_of(XV_CT_COMMIT | (nat ? XV_CT_NAT : 0), helper);
	s->pass = action_of(nat ? XV_CT_NAT : 0, XV_CT_HELPER_NONE);
	s->commit.mark = 77;
	s->commit.mark_mask = UINT32_MAX;
	s->commit.label[0] = 88;
	s->commit.label_mask[0] = UINT64_MAX;
	if (nat)
		s->commit.nat = *nat;
	s->client_seq = 0xfffffff0; /* wraps */
	s->server_seq = 5000;
	p = packet_of(s, false, "");
	p.flags = SYN;
	p.ack = 0;
	assert_int_equal(send(&p, &s->commit), 0);
	assert_int_equal(last.state, XV_CS_NEW);
	s->client_seen = last.out.src;
	s->server = last.out.dst;
	s->client_got = ++s->client_seq;
	p = packet_of(s, true, "");
	p.flags = SYN | ACK;
	assert_int_equal(send(&p, &s->pass), 0);
	assert_true(same_end(&last.out.src, &s->server_seen));
	assert_true(same_end(&last.out.dst, &s->client));
	s->server_got = ++s->server_seq;
	p = packet_of(s, false, "");
	assert_int_equal(send(&p, &s->pass), 0);
	assert_int_equal(last.state, XV_CS_ESTABLISHED);
}

static struct session open4(const struct xv_ct_nat *nat)
{
	static uint16_t port = 33000;
	struct session s = {.client = end4(0x0a000001, port++), .server_seen = end4(0xc0000250, 21)};

	shake_hands(&s, XV_CT_HELPER_FTP, nat);
	assert_string_equal(say(&s, true, "220 welcome\r\n"), "220 welcome\r\n");
	assert_string_equal(say(&s, false, "USER x\r\n"), "USER x\r\n");
	return s;
}

static struct session open6(const struct xv_ct_nat *nat)
{
	static uint16_t port = 33000;
	struct session s = {.v6 = true, .client = end6(1, port++), .server_seen = end6(2, 21)};

	shake_hands(&s, XV_CT_HELPER_FTP, nat);
	say(&s, true, "220 welcome\r\n");
	say(&s, false, "USER x\r\n");
	return s;
}

static const struct xv_ct_nat snat = {.min.words[3] = RTE_BE32(0xcb00710a), .flags = XV_NAT_SRC}; /* 203.0.113.10 */
static const struct xv_ct_nat snat_short = {.min.words[3] = RTE_BE32(0x01020304), .flags = XV_NAT_SRC}; /* 1.2.3.4 */
static const struct xv_ct_nat dnat = {.min.words[3] = RTE_BE32(0xc0a80264), .flags = XV_NAT_DST}; /* 192.168.2.100 */

static int open_data(const struct session *s, struct end from, struct end to, uint8_t flags)
{
	struct packet p = {.v6 = s->v6, .proto = 6, .src = from, .dst = to, .flags = SYN, .seq = 1, .text = ""};
	struct xv_action_ct action = action_of(flags, XV_CT_HELPER_NONE);

	return send(&p, &action);
}

/* A data connection comes from `from`, which may use any port, to `to`, and goes on as from_seen and to_seen. */
static void data(const struct session *s, struct end from, struct end to, struct end from_seen, struct end to_seen)
{
	uint8_t nat = s->pass.flags & XV_CT_NAT;
	struct packet p;

	/* Looked at without commit: it stays. */
	assert_int_equal(open_data(s, from, to, 0), 0);
	assert_int_equal(last.state, XV_CS_NEW | XV_CS_RELATED);
	assert_int_equal(last.mark, 77);
	assert_int_equal(last.label, 88);
	assert_memory_equal(&last.key.ct_src, &s->client.addr, 16);
	assert_int_equal(last.key.ct_tp_dst, RTE_BE16(21));
	assert_int_equal(open_data(s, from, to, XV_CT_COMMIT | nat), 0);
	assert_int_equal(last.state, XV_CS_NEW | XV_CS_RELATED);
	assert_int_equal(last.mark, 77);
	assert_true(same_end(&last.out.src, &from_seen));
	assert_true(same_end(&last.out.dst, &to_seen));
	/* The answer. */
	p = (struct packet){.v6 = s->v6,
			    .proto = 6,
			    .src = to_seen,
			    .dst = from_seen,
			    .flags = SYN | ACK,
			    .seq = 1,
			    .ack = 2,
			    .text = ""};
	assert_int_equal(send(&p, &s->pass), 0);
	assert_int_equal(last.state, XV_CS_ESTABLISHED | XV_CS_RELATED | XV_CS_REPLY);
	assert_true(same_end(&last.out.src, &to));
	assert_true(same_end(&last.out.dst, &from));
	assert_int_equal(last.mark, 77);
	/* It was taken. */
	from.port++;
	assert_int_equal(open_data(s, from, to, 0), 0);
	assert_int_equal(last.state, XV_CS_NEW);
}

static bool is_expected(const struct session *s, struct end from, struct end to)
{
	assert_int_equal(open_data(s, from, to, 0), 0);
	return last.state == (XV_CS_NEW | XV_CS_RELATED);
}

static struct end with_port(struct end e, uint16_t port)
{
	e.port = port;
	return e;
}

static void active_and_passive(void **state)
{
	struct session s = open4(NULL);

	assert_string_equal(say(&s, false, "PORT 10,0,0,1,156,64\r\n"), "PORT 10,0,0,1,156,64\r\n");
	data(&s, with_port(s.server, 20), with_port(s.client, 40000), with_port(s.server, 20),
	     with_port(s.client, 40000));
	say(&s, false, "EPRT |1|10.0.0.1|40001|\r\n");
	data(&s, with_port(s.server, 20), with_port(s.client, 40001), with_port(s.server, 20),
	     with_port(s.client, 40001));
	say(&s, true, "227 Entering Passive Mode (192,0,2,80,0,99).\r\n");
	data(&s, with_port(s.client, 5), with_port(s.server, 99), with_port(s.client, 5), with_port(s.server, 99));
	say(&s, true, "229 Entering Extended Passive Mode (|||98|)\r\n");
	data(&s, with_port(s.client, 5), with_port(s.server, 98), with_port(s.client, 5), with_port(s.server, 98));
	/* Behind other lines. */
	say(&s, true, "250 done\r\n227 =192,0,2,80,0,97\r\n150 x\r\n");
	data(&s, with_port(s.client, 5), with_port(s.server, 97), with_port(s.client, 5), with_port(s.server, 97));
	s = open6(NULL);
	say(&s, false, "EPRT |2|fd00::1|40000|\r\n");
	data(&s, with_port(s.server, 20), with_port(s.client, 40000), with_port(s.server, 20),
	     with_port(s.client, 40000));
	say(&s, true, "229 (|||98|)\r\n");
	data(&s, with_port(s.client, 5), with_port(s.server, 98), with_port(s.client, 5), with_port(s.server, 98));
}

/* What must not open anything. */
static void not_believed(void **state)
{
	struct session s = open4(NULL);
	struct end server = with_port(s.server, 20);

	say(&s, false, "PORT 10,0,0,9,0,80\r\n");
	assert_false(is_expected(&s, server, end4(0x0a000009, 80)));
	say(&s, false, "EPRT |2|fd00::1|80|\r\n");
	say(&s, false, "227 (10,0,0,1,0,80)\r\n");
	say(&s, true, "PORT 192,0,2,80,0,80\r\n");
	say(&s, true, "227 (192,0,2,81,0,80)\r\n");
	say(&s, false, "NOOP\r\n");
	/* Text that is not at the beginning of a line. */
	say(&s, false, "STOR ");
	say(&s, false, "PORT 10,0,0,1,0,80\r\n");
	assert_false(is_expected(&s, server, with_port(s.client, 80)));
	assert_false(is_expected(&s, s.client, with_port(s.server, 80)));
	say(&s, false, "PORT 10,0,0,1,0,80\r\n");
	assert_true(is_expected(&s, server, with_port(s.client, 80)));
	assert_false(is_expected(&s, end4(0x0a000007, 20), with_port(s.client, 80)));
	/* One at a time; and not for ever. */
	say(&s, false, "PORT 10,0,0,1,0,81\r\n");
	assert_false(is_expected(&s, server, with_port(s.client, 80)));
	assert_true(is_expected(&s, server, with_port(s.client, 81)));
	now += 299000;
	assert_true(is_expected(&s, server, with_port(s.client, 81)));
	now += 1000;
	assert_false(is_expected(&s, server, with_port(s.client, 81)));
	/* With its master. */
	say(&s, false, "PORT 10,0,0,1,0,82\r\n");
	assert_true(is_expected(&s, server, with_port(s.client, 82)));
	assert_true(xv_conntrack_flush(ct, now, NULL, NULL) > 0);
	assert_false(is_expected(&s, server, with_port(s.client, 82)));
}

static void active_behind_nat(void **state)
{
	struct session s = open4(&snat);
	struct end public = with_port(s.client_seen, 40000), server = with_port(s.server, 20);

	assert_string_equal(say(&s, false, "PORT 10,0,0,1,156,64\r\n"), "PORT 203,0,113,10,156,64\r\n");
	data(&s, server, public, server, with_port(s.client, 40000));
	assert_string_equal(say(&s, true, "200 ok\r\n"), "200 ok\r\n");
	assert_string_equal(say(&s, false, "eprt |1|10.0.0.1|40001|\r\nLIST\r\n"),
			    "eprt |1|203.0.113.10|40001|\r\nLIST\r\n");
	data(&s, server, with_port(public, 40001), server, with_port(s.client, 40001));
	assert_string_equal(say(&s, false, "PORT 010,000,000,001,156,064\r\n"), "PORT 203,0,113,10,156,64\r\n");
	data(&s, with_port(s.server, 21), public, with_port(s.server, 21), with_port(s.client, 40000));
	/* A passive one of the same client is translated as well, and nothing needs to be written. */
	assert_string_equal(say(&s, true, "227 (192,0,2,80,0,99)\r\n"), "227 (192,0,2,80,0,99)\r\n");
	data(&s, with_port(s.client, 6), with_port(s.server, 99), with_port(s.client_seen, 6), with_port(s.server, 99));
	/* An address that is none of its own stays, whatever it is for. */
	assert_string_equal(say(&s, false, "PORT 10,0,0,2,156,64\r\n"), "PORT 10,0,0,2,156,64\r\n");
}

static void shorter(void **state)
{
	struct session s = open4(&snat_short);

	assert_string_equal(say(&s, false, "PORT 10,0,0,1,156,64\r\n"), "PORT 1,2,3,4,156,64\r\n");
	assert_string_equal(say(&s, false, "PORT 10,0,0,1,156,65\r\n"), "PORT 1,2,3,4,156,65\r\n");
	assert_string_equal(say(&s, false, "NOOP\r\n"), "NOOP\r\n");
	assert_int_equal(s.client_seq - s.client_got, 2);
}

static void passive_behind_nat(void **state)
{
	struct session s = open4(&dnat);
	struct end front = s.server_seen;

	assert_int_equal(s.server.addr.words[3], RTE_BE32(0xc0a80264));
	assert_string_equal(say(&s, true, "227 Passive (192,168,2,100,1,2).\r\n"), "227 Passive (192,0,2,80,1,2).\r\n");
	data(&s, with_port(s.client, 7), with_port(front, 258), with_port(s.client, 7), with_port(s.server, 258));
	assert_string_equal(say(&s, true, "229 (|||259|)\r\n"), "229 (|||259|)\r\n");
	data(&s, with_port(s.client, 7), with_port(front, 259), with_port(s.client, 7), with_port(s.server, 259));
}

static void behind_nat_ipv6(void **state)
{
	struct xv_ct_nat nat = {.flags = XV_NAT_SRC, .ipv6 = 1};
	struct session s;

	nat.min = end6(0xabcdef0000ull, 0).addr;
	s = open6(&nat);
	assert_string_equal(say(&s, false, "EPRT |2|fd00::1|40000|\r\n"), "EPRT |2|fd00:0:0:0:0:ab:cdef:0|40000|\r\n");
	data(&s, with_port(s.server, 20), with_port(s.client_seen, 40000), with_port(s.server, 20),
	     with_port(s.client, 40000));
	assert_string_equal(say(&s, true, "229 (|||41000|)\r\n"), "229 (|||41000|)\r\n");
	data(&s, with_port(s.client, 9), with_port(s.server, 41000), with_port(s.client_seen, 9),
	     with_port(s.server, 41000));
}

/* Two clients behind one address announce the same port. */
static void ports_in_use(void **state)
{
	struct session a = open4(&snat), b = open4(&snat);
	struct end server = with_port(a.server, 20);

	say(&a, false, "PORT 10,0,0,1,255,255\r\n");
	assert_string_equal(say(&b, false, "PORT 10,0,0,1,255,255\r\n"), "PORT 203,0,113,10,4,0\r\n");
	assert_string_equal(say(&b, false, "PORT 10,0,0,1,255,255\r\n"), "PORT 203,0,113,10,4,0\r\n");
	data(&a, server, with_port(a.client_seen, 65535), server, with_port(a.client, 65535));
	data(&b, with_port(server, 22), with_port(b.client_seen, 1024), with_port(server, 22),
	     with_port(b.client, 65535));
	/* Passive: the server has different ones for both, though that is nobody's business here. */
	assert_string_equal(say(&b, true, "229 (|||99|)\r\n"), "229 (|||99|)\r\n");
}

static void packets_come_again(void **state)
{
	struct session s = open4(&snat), other = open4(&snat);
	struct packet p, q, ack;
	uint32_t got, n;

	/* The first time a port was in use; it is free when the packet comes again, but the text must be the same. */
	say(&other, false, "PORT 10,0,0,1,3,231\r\n");
	p = packet_of(&s, false, "PORT 10,0,0,1,3,231\r\n");
	say_packet(&s, false, &p);
	assert_string_equal(last.text, "PORT 203,0,113,10,3,232\r\n");
	got = last.out.seq;
	n = last.out.len;
	say(&other, false, "PORT 10,0,0,1,3,1\r\n");
	assert_int_equal(send(&p, &s.pass), 0);
	assert_string_equal(last.text, "PORT 203,0,113,10,3,232\r\n");
	assert_int_equal(last.out.seq, got);
	/* With what came before and behind it. */
	q = p;
	q.text = "PORT 10,0,0,1,3,231\r\nNOOP\r\n";
	q.len = (uint32_t)strlen(q.text);
	assert_int_equal(send(&q, &s.pass), 0);
	assert_string_equal(last.text, "PORT 203,0,113,10,3,232\r\nNOOP\r\n");
	/* In pieces: those that are not a whole line do not pass. */
	for (q.len = 1; q.len < p.len; q.len++)
		assert_int_equal(send(&q, &s.pass), -EPROTO);
	for (n = 1; n < p.len - 2; n++) {
		q = p;
		q.seq += n;
		q.text += n;
		q.len -= n;
		assert_int_equal(send(&q, &s.pass), -EPROTO);
	}
	/* Acknowledgements: of half the text only what stands before it. */
	for (n = 0; n <= s.client_got - got; n++) {
		ack = packet_of(&s, true, "");
		ack.ack = got + n;
		ack.sack[0] = got + n;
		ack.sack[1] = s.client_got;
		assert_int_equal(send(&ack, &s.pass), 0);
		assert_int_equal(last.out.ack, n < strlen("PORT 203,0,113,10,3,232") ? p.seq : p.seq + n - 4);
		assert_int_equal(last.out.sack[1], s.client_seq);
		assert_int_equal(last.out.sack[0], p.seq + (n == 0 ? 0 : n < 23 ? 19 : n - 4));
	}
}

static void parts_are_dropped(void **state)
{
	struct session s = open4(NULL);
	struct packet p = packet_of(&s, false, "PORT 10,0,0,1,3,231\r\n"), q = p;

	for (q.len = 1; q.len < p.len; q.len++)
		assert_int_equal(send(&q, &s.pass), -EPROTO);
	assert_int_equal(send(&p, &s.pass), 0);
	assert_true(is_expected(&s, with_port(s.server, 20), with_port(s.client, 999)));
	/* Behind other lines it would come again just so. */
	say_packet(&s, false, &p);
	assert_string_equal(say(&s, false, "NOOP\r\nPOR"), "NOOP\r\nPOR");
}

/* Chains, shared bytes, unfinished checksums, segments to be. */
static void packets_of_all_kinds(void **state)
{
	struct session s = open4(&snat);
	struct packet p;
	char *text;
	unsigned int kind;
	uint16_t cut;

	for (kind = 0; kind < 8; kind++) {
		for (cut = 0; cut < 20; cut++) {
			p = packet_of(&s, false, "PORT 10,0,0,1,156,64\r\nSTAT\r\n");
			p.cut = cut;
			p.pending = kind & 1;
			p.shared = kind & 2;
			p.gso = p.pending && kind & 4;
			say_packet(&s, false, &p);
			assert_string_equal(last.text, "PORT 203,0,113,10,156,64\r\nSTAT\r\n");
		}
	}
	/* A packet that is too long for one segment: dropped, if it is to be rewritten. */
	text = text_of("%s%2100s\r\n", "PORT 10,0,0,1,156,64\r\n", "x");
	p = packet_of(&s, false, text);
	p.cut = 1000;
	p.pending = p.gso = true;
	assert_int_equal(send(&p, &s.pass), -EPROTO);
	assert_false(is_expected(&s, with_port(s.server, 20), with_port(s.client_seen, 40000)));
	text = text_of("%s%2100s\r\n", "NOOP\r\n", "x");
	p.text = text;
	p.len = (uint32_t)strlen(text);
	say_packet(&s, false, &p);
}

/* Both ends talk, packets and answers are lost and come again, cut elsewhere; the texts must fit together. */
static void streams(void **state)
{
	static const struct xv_ct_nat *const nats[] = {&snat, &snat_short};
	char sent[4000], want[4000], got[4000], line[100];
	unsigned int round, step;

	for (round = 0; round < 300; round++) {
		struct session s = open4(nats[round % 2]);
		uint32_t base = s.client_seq, base_got = s.client_got, sent_len = 0, want_len = 0, acked = 0,
			 received = 0, next = 0;
		const char *public = round % 2 ? "1,2,3,4" : "203,0,113,10";

		for (step = 0; step < 60; step++) {
			struct packet p = packet_of(&s, false, ""), ack = packet_of(&s, true, "");
			uint32_t lines = 0, end;

			/* The client waits for the answer to a command that it gave, as FTP has it. */
			if (acked == sent_len && sent_len + 200 < sizeof(sent)) {
				uint16_t port = (uint16_t)(20000 + unit_random(&seed, 10000));

				snprintf(line, sizeof(line), "CWD %u\r\n", unit_random(&seed, 100000));
				sent_len += (uint32_t)sprintf(sent + sent_len, "%s", line);
				want_len += (uint32_t)sprintf(want + want_len, "%s", line);
				sent_len += (uint32_t)sprintf(sent + sent_len, "PORT 10,0,0,1,%d,%d\r\n", port >> 8,
							      port & 255);
				want_len += (uint32_t)sprintf(want + want_len, "PORT %s,%d,%d\r\n", public, port >> 8,
							      port & 255);
				next = acked;
			}
			if (next == sent_len || unit_random(&seed, 4) == 0)
				next = acked; /* from what is not acknowledged */
			for (end = next; end < sent_len && lines < 1 + unit_random(&seed, 2); end++)
				lines += sent[end] == '\n';
			if (end < sent_len || end == next || sent[end - 1] != '\n')
				while (end < sent_len && (end == next || sent[end - 1] != '\n'))
					end++;
			p.seq = base + next;
			p.text = sent + next;
			p.len = end - next;
			next = end;
			assert_int_equal(send(&p, &s.pass), 0);
			assert_int_equal(last.state, XV_CS_ESTABLISHED);
			if (p.len > 0 && unit_random(&seed, 3)) {
				uint32_t at = last.out.seq - base_got;

				/* What is received twice is the same twice. */
				assert_true(at + last.out.len <= want_len);
				assert_memory_equal(want + at, last.text, last.out.len);
				memcpy(got + at, last.text, last.out.len);
				if (at <= received && at + last.out.len > received)
					received = at + last.out.len;
			}
			if (unit_random(&seed, 3)) {
				ack.ack = base_got + received;
				assert_int_equal(send(&ack, &s.pass), 0);
				assert_int_equal(last.state, XV_CS_ESTABLISHED | XV_CS_REPLY);
				assert_true(last.out.ack - base <= sent_len);
				acked = last.out.ack - base;
				assert_true(acked == 0 || sent[acked - 1] == '\n');
				if (received == want_len)
					assert_int_equal(acked, sent_len);
				if (next < acked)
					next = acked;
			}
		}
		assert_memory_equal(got, want, received);
		assert_true(received > 100);
		xv_conntrack_flush(ct, now, NULL, NULL);
	}
}

static void tftp(void **state)
{
	struct xv_action_ct commit = action_of(XV_CT_COMMIT, XV_CT_HELPER_TFTP), pass = action_of(0, 0);
	struct packet p = {.proto = 17,
			   .src = end4(0x0a000001, 3000),
			   .dst = end4(0xc0000250, 69),
			   .text = "\0\1f\0octet",
			   .len = 10};
	struct packet d = {.proto = 17,
			   .src = end4(0xc0000250, 4000),
			   .dst = end4(0x0a000001, 3000),
			   .text = "\0\3\0\1x",
			   .len = 5};

	assert_int_equal(send(&p, &commit), 0);
	assert_int_equal(send(&d, &pass), 0);
	assert_int_equal(last.state, XV_CS_NEW | XV_CS_RELATED);
	pass.flags = XV_CT_COMMIT;
	assert_int_equal(send(&d, &pass), 0);
	assert_int_equal(last.state, XV_CS_NEW | XV_CS_RELATED);
	d.src.port++;
	assert_int_equal(send(&d, &pass), 0);
	assert_int_equal(last.state, XV_CS_NEW);
	/* Asked again for another file. */
	p.text = "\0\2f\0octet";
	assert_int_equal(send(&p, &commit), 0);
	d.src.port++;
	assert_int_equal(send(&d, &pass), 0);
	assert_int_equal(last.state, XV_CS_NEW | XV_CS_RELATED);
	/* What is no request; what the server says. */
	xv_conntrack_flush(ct, now, NULL, NULL);
	p.text = "\0\3f\0octet";
	assert_int_equal(send(&p, &commit), 0);
	p.len = 1;
	assert_int_equal(send(&p, &commit), 0);
	d.src.port = 69;
	d.text = "\0\1xxx";
	assert_int_equal(send(&d, &pass), 0);
	d.src.port = 4009;
	assert_int_equal(send(&d, &pass), 0);
	assert_int_equal(last.state, XV_CS_NEW);

	/* Translated. */
	commit.flags |= XV_CT_NAT;
	commit.nat = snat;
	commit.nat.min_port = commit.nat.max_port = 7777;
	p = (struct packet){.proto = 17,
			    .src = end4(0x0a000002, 3000),
			    .dst = end4(0xc0000250, 69),
			    .text = "\0\1f\0octet",
			    .len = 10};
	assert_int_equal(send(&p, &commit), 0);
	assert_int_equal(last.out.src.port, 7777);
	d = (struct packet){
		.proto = 17, .src = end4(0xc0000250, 4000), .dst = last.out.src, .text = "\0\3\0\1x", .len = 5};
	pass.flags = XV_CT_COMMIT | XV_CT_NAT;
	assert_int_equal(send(&d, &pass), 0);
	assert_int_equal(last.state, XV_CS_NEW | XV_CS_RELATED);
	assert_true(same_end(&last.out.dst, &p.src));
	assert_true(same_end(&last.out.src, &d.src));
	d = (struct packet){.proto = 17, .src = p.src, .dst = d.src, .text = "\0\4\0\1", .len = 4};
	pass.flags = XV_CT_NAT;
	assert_int_equal(send(&d, &pass), 0);
	assert_int_equal(last.state, XV_CS_ESTABLISHED | XV_CS_RELATED | XV_CS_REPLY);
	assert_int_equal(last.out.src.port, 7777);
}

/* ---- Translation through the table ---- */

static struct packet udp4(uint32_t src, uint16_t sport, uint32_t dst, uint16_t dport)
{
	return (struct packet){.proto = 17, .src = end4(src, sport), .dst = end4(dst, dport), .text = "x", .len = 1};
}

static struct packet answer(void)
{
	struct packet p = last.out;
	struct end src = p.src;

	p.src = p.dst;
	p.dst = src;
	p.text = "y";
	p.len = 1;
	return p;
}

static void exhaustion(void **state)
{
	struct xv_action_ct commit = action_of(XV_CT_COMMIT | XV_CT_NAT, 0);
	struct xv_conntrack_stats stats;
	struct packet p;
	unsigned int i;

	commit.nat = snat;
	commit.nat.min_port = 5000;
	commit.nat.max_port = 5009;
	for (i = 0; i < 10; i++) {
		p = udp4(0x0a000100 + i, 1000, 0xc0000250, 53);
		assert_int_equal(send(&p, &commit), 0);
		assert_int_equal(last.state, XV_CS_NEW);
		assert_in_range(last.out.src.port, 5000, 5009);
		p = answer();
		assert_int_equal(send(&p, &commit), 0);
		assert_int_equal(last.state, XV_CS_ESTABLISHED | XV_CS_REPLY);
		assert_int_equal(last.out.dst.addr.words[3], rte_cpu_to_be_32(0x0a000100 + i));
	}
	p = udp4(0x0a000100 + i, 1000, 0xc0000250, 53);
	assert_int_equal(send(&p, &commit), -ENOSPC);
	xv_conntrack_get_stats(ct, &stats);
	assert_int_equal(stats.nat_exhausted, 1);
	/* A place becomes free. */
	assert_int_equal(xv_conntrack_flush(ct, now, NULL, NULL), 10);
	assert_int_equal(send(&p, &commit), 0);
}

/* A server's own client reaches it by the front address: both ends are translated, and the answers come back the same
 * way. */
static void hairpin(void **state)
{
	struct xv_action_ct to_server = action_of(XV_CT_COMMIT | XV_CT_NAT, 0),
			    to_client = action_of(XV_CT_COMMIT | XV_CT_NAT, 0);
	struct packet p = udp4(0xc0a80207, 1000, 0xc0000250, 53);

	/* Two zones, as a router has them: DNAT in the first, SNAT in the second. */
	to_server.nat = dnat;
	to_client.zone = ZONE + 1;
	to_client.nat = snat;
	assert_int_equal(send(&p, &to_server), 0);
	assert_int_equal(last.key.ct_state & (XV_CS_SRC_NAT | XV_CS_DST_NAT), XV_CS_DST_NAT);
	p = last.out;
	p.text = "x";
	assert_int_equal(send(&p, &to_client), 0);
	assert_int_equal(last.out.src.addr.words[3], snat.min.words[3]);
	assert_int_equal(last.out.dst.addr.words[3], dnat.min.words[3]);
	p = answer();
	assert_int_equal(send(&p, &to_client), 0);
	assert_int_equal(last.state, XV_CS_ESTABLISHED | XV_CS_REPLY);
	assert_int_equal(last.key.ct_state & (XV_CS_SRC_NAT | XV_CS_DST_NAT), XV_CS_DST_NAT);
	p = last.out;
	p.text = "y";
	assert_int_equal(send(&p, &to_server), 0);
	assert_int_equal(last.key.ct_state & (XV_CS_SRC_NAT | XV_CS_DST_NAT), XV_CS_SRC_NAT);
	assert_int_equal(last.out.src.addr.words[3], RTE_BE32(0xc0000250));
	assert_int_equal(last.out.dst.addr.words[3], RTE_BE32(0xc0a80207));

	/* A server that reaches itself: source and destination become the same. One zone. */
	p = udp4(0xc0a80264, 2000, 0xc0000250, 2000);
	assert_int_equal(send(&p, &to_server), 0);
	assert_true(same_end(&last.out.src, &last.out.dst));
	p = answer();
	assert_int_equal(send(&p, &to_server), 0);
	assert_int_equal(last.state, XV_CS_ESTABLISHED | XV_CS_REPLY);
	assert_int_equal(last.out.src.addr.words[3], RTE_BE32(0xc0000250));
}

static int setup(void **state)
{
	if (unit_eal_init(state) != 0)
		return -1;
	pool = unit_pool_create("helper", 255);
	return pool ? 0 : -1;
}

static int open_table(void **state)
{
	const struct xv_conntrack_config config = {.connections = 10000, .half_open_per_port = 1000, .now_ms = now};

	return xv_conntrack_create(&config, &ct);
}

static int close_table(void **state)
{
	xv_conntrack_destroy(ct);
	return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_table, close_table)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(active_and_passive),
		TEST(not_believed),
		TEST(active_behind_nat),
		TEST(shorter),
		TEST(passive_behind_nat),
		TEST(behind_nat_ipv6),
		TEST(ports_in_use),
		TEST(packets_come_again),
		TEST(parts_are_dropped),
		TEST(packets_of_all_kinds),
		TEST(streams),
		TEST(tftp),
		TEST(exhaustion),
		TEST(hairpin),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
