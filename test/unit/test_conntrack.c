/* SPDX-License-Identifier: Apache-2.0 */
/* Connection tracking by hand: states as OVS names them, zones, marks, limits, eviction, timeouts. The clock is a number. */
#include "unit.h"

#include <errno.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <string.h>

#include "ct_frame.h"
#include "fastpath/conntrack.h"
#include "table/rcu.h"

#define NEW	    (XV_CS_TRACKED | XV_CS_NEW)
#define EST	    (XV_CS_TRACKED | XV_CS_ESTABLISHED)
#define REPLY	    (XV_CS_TRACKED | XV_CS_ESTABLISHED | XV_CS_REPLY)
#define RELATED	    (XV_CS_TRACKED | XV_CS_RELATED)
#define INVALID	    (XV_CS_TRACKED | XV_CS_INVALID)
#define COMMIT	    XV_CT_COMMIT
#define ZONE	    7
#define S	    1000u /* ms */

static struct xv_conntrack *ct;
static uint32_t now;

static int open_table(uint32_t connections, uint32_t half_open)
{
	const struct xv_conntrack_config config = {
		.connections = connections, .half_open_per_port = half_open, .now_ms = now, .pick_up = true};

	return xv_conntrack_create(&config, &ct);
}

static int setup(void **state)
{
	(void)state;
	now = UINT32_MAX - 50 * S; /* the clock wraps in the middle */
	return open_table(100000, 10000);
}

static int teardown(void **state)
{
	(void)state;
	xv_conntrack_destroy(ct);
	ct = NULL;
	return 0;
}

static const struct ct_frame udp = {.proto = 17, .src = 0x0a000001, .dst = 0x0a000002, .sport = 1000, .dport = 53, .payload = 20};

static struct ct_frame udp_of(uint32_t n)
{
	struct ct_frame f = udp;

	f.src += n >> 8 << 8;
	f.sport = (uint16_t)(1000 + (n & 0xff));
	return f;
}

static int send(const struct ct_frame *f, uint8_t flags)
{
	return ct_send(ct, f, ZONE, flags, now);
}

static struct xv_conntrack_stats stats(void)
{
	struct xv_conntrack_stats s;

	xv_conntrack_get_stats(ct, &s);
	return s;
}

static void expire_all(void)
{
	while (xv_conntrack_expire(ct, now))
		;
}

static void udp_states(void **state)
{
	struct ct_frame back = ct_frame_reply(&udp);

	(void)state;
	/* Not stored: new each time, and an answer is new, too. */
	assert_int_equal(send(&udp, 0), NEW);
	assert_int_equal(send(&udp, 0), NEW);
	assert_int_equal(send(&back, 0), NEW);
	assert_int_equal(stats().connections, 0);
	assert_int_equal(send(&udp, COMMIT), NEW);
	assert_int_equal(send(&udp, 0), NEW); /* nobody has answered */
	assert_int_equal(stats().half_open, 1);
	assert_int_equal(send(&back, 0), REPLY);
	assert_int_equal(stats().half_open, 0);
	assert_int_equal(send(&udp, 0), EST);
	assert_int_equal(send(&back, COMMIT), REPLY);
	assert_int_equal(stats().connections, 1);
	assert_int_equal(stats().inserted, 1);
}

static struct ct_frame tcp(uint8_t flags, uint32_t seq, uint32_t ack)
{
	return (struct ct_frame){.proto = 6, .src = 0x0a000001, .dst = 0x0a000002, .sport = 2000, .dport = 80, .flags = flags,
				 .seq = seq, .ack = ack};
}

static struct ct_frame tcp_back(uint8_t flags, uint32_t seq, uint32_t ack)
{
	struct ct_frame f = tcp(flags, seq, ack);

	return ct_frame_reply(&f);
}

static int tcp_send(uint8_t flags, uint32_t seq, uint32_t ack, uint8_t ct_flags)
{
	struct ct_frame f = tcp(flags, seq, ack);

	return send(&f, ct_flags);
}

static int tcp_answer(uint8_t flags, uint32_t seq, uint32_t ack, uint8_t ct_flags)
{
	struct ct_frame f = tcp_back(flags, seq, ack);

	return send(&f, ct_flags);
}

static void shake_hands(void)
{
	assert_int_equal(tcp_send(CT_SYN, 100, 0, COMMIT), NEW);
	assert_int_equal(tcp_answer(CT_SYN | CT_ACK, 500, 101, 0), REPLY);
	assert_int_equal(tcp_send(CT_ACK, 101, 501, 0), EST);
}

static void info_into(const struct xv_ct_info *info, void *arg)
{
	*(struct xv_ct_info *)arg = *info;
}

static struct xv_ct_info the_only_one(void)
{
	struct xv_ct_info info;
	uint64_t cursor = 0;

	memset(&info, 0, sizeof(info));
	assert_false(xv_conntrack_walk(ct, now, &cursor, 10, info_into, &info));
	return info;
}

static void tcp_states(void **state)
{
	struct xv_ct_info info;

	(void)state;
	assert_int_equal(tcp_send(CT_SYN, 100, 0, 0), NEW);
	assert_int_equal(tcp_send(CT_SYN, 100, 0, COMMIT), NEW);
	info = the_only_one();
	assert_int_equal(info.state, XV_CT_TCP_SYN_SENT);
	assert_int_equal(info.status, IPS_CONFIRMED);
	assert_int_equal(info.timeout_ms, 120 * S);
	assert_int_equal(tcp_send(CT_SYN, 100, 0, 0), NEW); /* again */
	assert_int_equal(tcp_answer(CT_SYN | CT_ACK, 500, 101, 0), REPLY);
	assert_int_equal(the_only_one().state, XV_CT_TCP_SYN_RECV);
	assert_int_equal(stats().half_open, 1); /* an answer is not yet proof */
	assert_int_equal(tcp_send(CT_ACK, 101, 501, 0), EST);
	assert_int_equal(stats().half_open, 0);
	info = the_only_one();
	assert_int_equal(info.state, XV_CT_TCP_ESTABLISHED);
	assert_int_equal(info.status, IPS_CONFIRMED | IPS_SEEN_REPLY | IPS_ASSURED);
	assert_int_equal(info.timeout_ms, 432000 * S);
	assert_int_equal(info.packets[0], 3);
	assert_int_equal(info.bytes[0], 120);
	assert_int_equal(info.packets[1], 1);
	/* Far outside the window. */
	assert_int_equal(tcp_send(CT_ACK, 900000101, 501, 0), INVALID);
	assert_int_equal(stats().invalid, 1);
	assert_int_equal(tcp_send(CT_FIN | CT_ACK, 101, 501, 0), EST);
	assert_int_equal(tcp_answer(CT_FIN | CT_ACK, 501, 102, 0), REPLY);
	assert_int_equal(tcp_send(CT_ACK, 102, 502, 0), EST);
	assert_int_equal(the_only_one().state, XV_CT_TCP_TIME_WAIT);
	assert_int_equal(the_only_one().timeout_ms, 120 * S);
	/* A SYN opens anew. */
	assert_int_equal(tcp_send(CT_SYN, 70000, 0, 0), NEW);
	assert_int_equal(stats().connections, 0);
}

static void tcp_reset_shortens(void **state)
{
	(void)state;
	shake_hands();
	assert_int_equal(tcp_answer(CT_RST | CT_ACK, 501, 101, 0), REPLY);
	assert_int_equal(the_only_one().timeout_ms, 10 * S);
	now += 10 * S + 100;
	expire_all();
	assert_int_equal(stats().connections, 0);
	assert_int_equal(stats().expired, 1);
}

static void tcp_wrong_checksum(void **state)
{
	const struct xv_action_ct action = {.zone = ZONE};
	struct ct_frame f = tcp_back(CT_RST | CT_ACK, 501, 101);
	struct ct_packet p;

	(void)state;
	shake_hands();
	ct_packet_make(&p, &f, 1);
	p.bytes[14 + 20 + 16] ^= 1;
	assert_int_equal(xv_conntrack_packet(ct, &action, &p.m, &p.key, &p.layout, now, &p.hit), 0);
	assert_int_equal(p.key.ct_state, INVALID);
	assert_int_equal(the_only_one().state, XV_CT_TCP_ESTABLISHED);
}

static void icmp_queries(void **state)
{
	struct ct_frame ping = {.proto = 1, .src = 1, .dst = 2, .type = 8, .id = 99, .payload = 10}, pong = ct_frame_reply(&ping);
	struct ct_frame ping6 = {.ipv6 = true, .proto = 58, .src = 1, .dst = 2, .type = 128, .id = 99};
	struct ct_frame pong6 = ct_frame_reply(&ping6), other = ping;
	struct ct_frame advert = {.ipv6 = true, .proto = 58, .src = 1, .dst = 2, .type = 136, .payload = 16};

	(void)state;
	assert_int_equal(send(&pong, COMMIT), INVALID); /* an answer to nothing */
	assert_int_equal(send(&ping, COMMIT), NEW);
	assert_int_equal(send(&ping, 0), NEW);
	other.id = 98;
	assert_int_equal(send(&other, 0), NEW);
	assert_int_equal(send(&pong, 0), REPLY);
	assert_int_equal(send(&ping, 0), EST);
	assert_int_equal(send(&ping6, COMMIT), NEW);
	assert_int_equal(send(&pong6, 0), REPLY);
	assert_int_equal(send(&advert, COMMIT), INVALID);
	assert_int_equal(stats().connections, 2);
}

static void icmp_errors(void **state)
{
	struct ct_frame back = ct_frame_reply(&udp), stranger = udp_of(5);
	struct ct_frame unreachable = {.proto = 1, .src = 0x0a0000fe, .dst = udp.src, .type = 3, .code = 1, .inner = &udp};
	struct ct_frame to_server = unreachable, about_stranger = unreachable;
	const struct xv_action_ct action = {.zone = ZONE};
	struct ct_packet p;

	(void)state;
	assert_int_equal(send(&unreachable, 0), INVALID);
	assert_int_equal(send(&udp, COMMIT), NEW);
	ct_packet_make(&p, &unreachable, 1);
	assert_int_equal(xv_conntrack_packet(ct, &action, &p.m, &p.key, &p.layout, now, &p.hit), 0);
	assert_int_equal(p.key.ct_state, RELATED | XV_CS_REPLY);
	assert_int_equal(p.key.ct_proto, 17);
	assert_int_equal(p.key.ct_tp_dst, RTE_BE16(53));
	assert_false(xv_conntrack_advance(ct, &p.hit, p.bytes, p.layout.l3, p.layout.l4, now));
	/* It is no packet of the connection. */
	assert_int_equal(the_only_one().packets[1], 0);
	assert_int_equal(send(&udp, 0), NEW);
	/* About an answer, to the server. */
	to_server.dst = udp.dst;
	to_server.inner = &back;
	assert_int_equal(send(&to_server, 0), RELATED);
	ct_packet_make(&p, &unreachable, 1);
	p.bytes[14 + 20 + 2] ^= 1; /* checksum */
	assert_int_equal(xv_conntrack_packet(ct, &action, &p.m, &p.key, &p.layout, now, &p.hit), 0);
	assert_int_equal(p.key.ct_state, INVALID);
	/* To somebody who did not send that packet. */
	unreachable.dst++;
	assert_int_equal(send(&unreachable, 0), INVALID);
	about_stranger.inner = &stranger;
	assert_int_equal(send(&about_stranger, 0), INVALID);
	/* Cut off inside. */
	about_stranger.inner = NULL;
	about_stranger.payload = 27;
	assert_int_equal(send(&about_stranger, 0), INVALID);
}

static void icmpv6_errors(void **state)
{
	struct ct_frame question = udp;
	struct ct_frame too_big = {.ipv6 = true, .proto = 58, .src = 0x0a0000fe, .dst = udp.src, .type = 2, .inner = &question};

	(void)state;
	question.ipv6 = true;
	assert_int_equal(send(&question, COMMIT), NEW);
	assert_int_equal(send(&too_big, 0), RELATED | XV_CS_REPLY);
}

static void other_protocols(void **state)
{
	struct ct_frame gre = {.proto = 47, .src = 1, .dst = 2, .payload = 20}, back = ct_frame_reply(&gre);
	struct ct_frame igmp = {.proto = 2, .src = 1, .dst = 2, .payload = 4}, empty = {.proto = 253, .src = 1, .dst = 2};

	(void)state;
	assert_int_equal(send(&gre, COMMIT), NEW);
	assert_int_equal(send(&back, 0), REPLY);
	assert_int_equal(send(&igmp, COMMIT), NEW);
	assert_int_equal(send(&empty, COMMIT), NEW);
	empty.ipv6 = true;
	assert_int_equal(send(&empty, COMMIT), NEW);
}

static void not_ip(void **state)
{
	const struct xv_action_ct action = {.zone = ZONE, .flags = COMMIT};
	struct ct_packet p;

	(void)state;
	ct_packet_make(&p, &udp, 1);
	p.bytes[12] = 0x88;
	(void)xv_flow_extract(p.bytes, p.m.data_len, p.m.pkt_len, &p.key, &p.layout);
	assert_int_equal(xv_conntrack_packet(ct, &action, &p.m, &p.key, &p.layout, now, &p.hit), 0);
	assert_int_equal(p.key.ct_state, INVALID);
	assert_int_equal(p.key.ct_zone, ZONE);
}

static void zones_are_apart(void **state)
{
	struct ct_frame back = ct_frame_reply(&udp);

	(void)state;
	assert_int_equal(ct_send(ct, &udp, 1, COMMIT, now), NEW);
	assert_int_equal(ct_send(ct, &back, 2, 0, now), NEW);
	assert_int_equal(ct_send(ct, &back, 65535, 0, now), NEW);
	assert_int_equal(ct_send(ct, &back, 1, 0, now), REPLY);
	assert_int_equal(ct_send(ct, &udp, 2, COMMIT, now), NEW);
	assert_int_equal(stats().connections, 2);
}

static void versions_are_apart(void **state)
{
	struct ct_frame six = udp;

	(void)state;
	six.ipv6 = true;
	assert_int_equal(send(&six, COMMIT), NEW);
	assert_int_equal(send(&udp, COMMIT), NEW);
	six = ct_frame_reply(&six);
	assert_int_equal(send(&six, 0), REPLY);
	assert_int_equal(stats().connections, 2);
}

static void key_shows_connection(void **state)
{
	struct xv_action_ct action = {.zone = ZONE, .flags = COMMIT, .mark = 0x1234, .mark_mask = 0xff00,
				      .label = {5, 6}, .label_mask = {7, UINT64_MAX}};
	const struct xv_action_ct look = {.zone = ZONE}, forget = {.flags = XV_CT_CLEAR};
	struct ct_frame back = ct_frame_reply(&udp);
	struct ct_packet p, q;
	struct xv_flow_key zero;

	(void)state;
	ct_packet_make(&p, &udp, 1);
	/* Before it is stored: the packet's own. */
	assert_int_equal(xv_conntrack_packet(ct, &look, &p.m, &p.key, &p.layout, now, &p.hit), 0);
	assert_int_equal(p.key.ct_mark, 0);
	assert_int_equal(p.key.ct_src.words[3], RTE_BE32(0x0a000001));
	assert_null(p.hit.conn);
	assert_int_equal(xv_conntrack_packet(ct, &action, &p.m, &p.key, &p.layout, now, &p.hit), 0);
	assert_int_equal(p.key.ct_mark, 0x1200);
	assert_int_equal(p.key.ct_label[0], 5);
	assert_int_equal(p.key.ct_label[1], 6);
	assert_non_null(p.hit.conn);
	/* An answer shows the original direction. */
	ct_packet_make(&q, &back, 2);
	assert_int_equal(xv_conntrack_packet(ct, &look, &q.m, &q.key, &q.layout, now, &q.hit), 0);
	assert_int_equal(q.key.ct_state, REPLY);
	assert_int_equal(q.key.ct_mark, 0x1200);
	assert_int_equal(q.key.ct_zone, ZONE);
	assert_int_equal(q.key.ct_proto, 17);
	assert_int_equal(q.key.ct_src.words[3], RTE_BE32(0x0a000001));
	assert_int_equal(q.key.ct_tp_src, RTE_BE16(1000));
	assert_int_equal(q.key.ct_tp_dst, RTE_BE16(53));
	/* A mark is set under its mask; who remembers the connection has to look again. */
	assert_true(xv_conntrack_advance(ct, &q.hit, q.bytes, q.layout.l3, q.layout.l4, now));
	action.mark = UINT32_MAX;
	action.mark_mask = 0xf;
	assert_int_equal(xv_conntrack_packet(ct, &action, &q.m, &q.key, &q.layout, now, &q.hit), 0);
	assert_int_equal(q.key.ct_mark, 0x120f);
	assert_false(xv_conntrack_advance(ct, &p.hit, p.bytes, p.layout.l3, p.layout.l4, now));
	assert_true(xv_conntrack_advance(ct, &q.hit, q.bytes, q.layout.l3, q.layout.l4, now));
	/* The same again changes nothing. */
	assert_int_equal(xv_conntrack_packet(ct, &action, &p.m, &p.key, &p.layout, now, &p.hit), 0);
	assert_true(xv_conntrack_advance(ct, &q.hit, q.bytes, q.layout.l3, q.layout.l4, now));
	assert_int_equal(xv_conntrack_packet(ct, &forget, &q.m, &q.key, &q.layout, now, &q.hit), 0);
	memset(&zero, 0, sizeof(zero));
	assert_memory_equal(&q.key.ct_state, &zero.ct_state,
			    offsetof(struct xv_flow_key, tun_src) - offsetof(struct xv_flow_key, ct_state));
	assert_null(q.hit.conn);
}

/* What a packet was looked up for once, the connection does not see again: ct, recirculation, ct with commit. */
static void the_same_packet_twice(void **state)
{
	const struct xv_action_ct look = {.zone = ZONE}, commit = {.zone = ZONE, .flags = COMMIT}, other = {.zone = 8};
	struct ct_packet p;

	(void)state;
	ct_packet_make(&p, &udp, 1);
	assert_int_equal(xv_conntrack_packet(ct, &look, &p.m, &p.key, &p.layout, now, &p.hit), 0);
	assert_int_equal(xv_conntrack_packet(ct, &commit, &p.m, &p.key, &p.layout, now, &p.hit), 0);
	assert_int_equal(xv_conntrack_packet(ct, &commit, &p.m, &p.key, &p.layout, now, &p.hit), 0);
	assert_int_equal(xv_conntrack_packet(ct, &look, &p.m, &p.key, &p.layout, now, &p.hit), 0);
	assert_int_equal(the_only_one().packets[0], 1);
	/* In another zone it is unknown. */
	assert_int_equal(xv_conntrack_packet(ct, &other, &p.m, &p.key, &p.layout, now, &p.hit), 0);
	assert_int_equal(p.key.ct_state, NEW);
	assert_int_equal(xv_conntrack_packet(ct, &look, &p.m, &p.key, &p.layout, now, &p.hit), 0);
	assert_int_equal(the_only_one().packets[0], 2);
}

static void force(void **state)
{
	struct ct_frame back = ct_frame_reply(&udp);
	struct xv_ct_tuple tuple = ct_frame_tuple(&back, ZONE);
	struct xv_ct_info info;

	(void)state;
	assert_int_equal(send(&udp, COMMIT), NEW);
	assert_int_equal(send(&udp, COMMIT | XV_CT_FORCE), NEW);
	assert_int_equal(stats().deleted, 0);
	assert_int_equal(send(&back, COMMIT | XV_CT_FORCE), NEW);
	assert_int_equal(stats().deleted, 1);
	assert_int_equal(stats().connections, 1);
	info = the_only_one();
	assert_memory_equal(&info.original, &tuple, sizeof(tuple));
	assert_int_equal(send(&udp, 0), REPLY);
}

static void advance_is_for_proven_ones(void **state)
{
	const struct xv_action_ct look = {.zone = ZONE}, commit = {.zone = ZONE, .flags = COMMIT};
	struct ct_frame back = ct_frame_reply(&udp);
	struct ct_packet p, q;

	(void)state;
	ct_packet_make(&p, &udp, 1);
	ct_packet_make(&q, &back, 1);
	assert_int_equal(xv_conntrack_packet(ct, &commit, &p.m, &p.key, &p.layout, now, &p.hit), 0);
	assert_false(p.hit.steady); /* of a related one the next packet would not be `new` */
	/* Nobody has answered yet; whoever does changes what flows see. */
	assert_true(xv_conntrack_advance(ct, &p.hit, p.bytes, p.layout.l3, p.layout.l4, now));
	assert_int_equal(xv_conntrack_packet(ct, &look, &q.m, &q.key, &q.layout, now, &q.hit), 0);
	assert_false(q.hit.steady); /* many are a question and an answer: the next one shows */
	assert_false(xv_conntrack_advance(ct, &p.hit, p.bytes, p.layout.l3, p.layout.l4, now));
	now += 29 * S;
	/* It has lived for a while: becomes assured by the long way. */
	assert_false(xv_conntrack_advance(ct, &p.hit, p.bytes, p.layout.l3, p.layout.l4, now));
	memset(&p.hit, 0, sizeof(p.hit));
	assert_int_equal(xv_conntrack_packet(ct, &look, &p.m, &p.key, &p.layout, now, &p.hit), 0);
	now += 119 * S;
	assert_true(xv_conntrack_advance(ct, &p.hit, p.bytes, p.layout.l3, p.layout.l4, now));
	now += 119 * S;
	expire_all();
	assert_true(xv_conntrack_advance(ct, &q.hit, q.bytes, q.layout.l3, q.layout.l4, now));
	xv_conntrack_credit(ct, &p.hit, 10, 480);
	xv_conntrack_credit(ct, &q.hit, 1, 48);
	assert_int_equal(the_only_one().packets[0], 12);
	assert_int_equal(the_only_one().bytes[0], 12 * 48);
	assert_int_equal(the_only_one().packets[1], 2);
	/* Beyond its time it is not found, at once; and memory comes back. */
	now += 120 * S;
	assert_false(xv_conntrack_advance(ct, &p.hit, p.bytes, p.layout.l3, p.layout.l4, now));
	assert_int_equal(send(&back, 0), NEW);
	assert_int_equal(stats().connections, 1);
	now += 64;
	expire_all();
	assert_int_equal(stats().connections, 0);
	xv_conntrack_credit(ct, &p.hit, 10, 480);
	/* Its memory is another's now. */
	assert_int_equal(send(&back, COMMIT), NEW);
	assert_int_equal(send(&udp, 0), REPLY);
	assert_false(xv_conntrack_advance(ct, &p.hit, p.bytes, p.layout.l3, p.layout.l4, now));
}

static void advance_tcp(void **state)
{
	const struct xv_action_ct look = {.zone = ZONE};
	struct ct_frame f = tcp(CT_ACK, 101, 501), g;
	struct ct_packet p;
	unsigned int i;

	(void)state;
	shake_hands();
	f.payload = 100;
	ct_packet_make(&p, &f, 1);
	assert_int_equal(xv_conntrack_packet(ct, &look, &p.m, &p.key, &p.layout, now, &p.hit), 0);
	for (i = 1; i < 50; i++) {
		f.seq = 101 + i * 100;
		ct_packet_make(&p, &f, 1);
		/* The other side's window was 8,000: it acknowledges. */
		if (i % 40 == 39)
			assert_int_equal(tcp_answer(CT_ACK, 501, f.seq, 0), REPLY);
		assert_int_equal(xv_conntrack_packet(ct, &look, &p.m, &p.key, &p.layout, now, &p.hit), 0);
		f.seq += 100;
		ct_packet_make(&p, &f, 1);
		g = f;
		p.hit.conn = NULL;
		assert_int_equal(xv_conntrack_packet(ct, &look, &p.m, &p.key, &p.layout, now, &p.hit), 0);
		assert_int_equal(p.key.ct_state, EST);
		assert_true(xv_conntrack_advance(ct, &p.hit, p.bytes, p.layout.l3, p.layout.l4, now));
	}
	/* What is not plain, or not in the window, goes the long way. */
	g.flags |= CT_FIN;
	p.bytes[14 + 20 + 13] |= CT_FIN;
	assert_false(xv_conntrack_advance(ct, &p.hit, p.bytes, p.layout.l3, p.layout.l4, now));
	p.bytes[14 + 20 + 13] &= (uint8_t)~CT_FIN;
	p.bytes[14 + 20 + 4] ^= 0x40;
	assert_false(xv_conntrack_advance(ct, &p.hit, p.bytes, p.layout.l3, p.layout.l4, now));
	p.bytes[14 + 20 + 4] ^= 0x40;
	xv_conntrack_set_shared(ct, true);
	assert_true(xv_conntrack_advance(ct, &p.hit, p.bytes, p.layout.l3, p.layout.l4, now));
}

static void timeouts(void **state)
{
	uint32_t seconds[XV_CT_TO_MAX] = {0};
	struct xv_action_ct action = {.zone = ZONE, .flags = COMMIT, .timeouts = 3};
	struct ct_frame f = udp_of(1);
	struct ct_packet p;

	(void)state;
	assert_int_equal(xv_conntrack_set_timeouts(ct, 256, seconds), -ENOSPC);
	seconds[XV_CT_TO_UDP_FIRST] = XV_CT_TIMEOUT_MAX_S + 1;
	assert_int_equal(xv_conntrack_set_timeouts(ct, 3, seconds), -ERANGE);
	seconds[XV_CT_TO_UDP_FIRST] = 5;
	assert_int_equal(xv_conntrack_set_timeouts(ct, 3, seconds), 0);
	ct_packet_make(&p, &f, 1);
	assert_int_equal(xv_conntrack_packet(ct, &action, &p.m, &p.key, &p.layout, now, &p.hit), 0);
	assert_int_equal(the_only_one().timeout_ms, 5 * S);
	assert_int_equal(send(&udp, COMMIT), NEW);
	now += 5 * S + 64;
	expire_all();
	assert_int_equal(stats().connections, 1);
	assert_int_equal(the_only_one().timeout_ms, 25 * S - 64);
	/* The default itself; those that were not set follow. */
	seconds[XV_CT_TO_UDP_FIRST] = 7;
	assert_int_equal(xv_conntrack_set_timeouts(ct, 0, seconds), 0);
	expire_all();
	action.timeouts = 200;
	xv_conntrack_flush(ct, now, NULL, NULL);
	memset(&p.hit, 0, sizeof(p.hit));
	assert_int_equal(xv_conntrack_packet(ct, &action, &p.m, &p.key, &p.layout, now, &p.hit), 0);
	assert_int_equal(the_only_one().timeout_ms, 7 * S);
	(void)xv_rcu_poll();
}

static void zone_limits(void **state)
{
	uint32_t limit, n, i;

	(void)state;
	xv_conntrack_set_zone_limit(ct, ZONE, 10);
	xv_conntrack_set_limit(ct, 3);
	for (i = 0; i < 15; i++) {
		struct ct_frame f = udp_of(i);

		assert_int_equal(send(&f, 0), NEW);
		assert_int_equal(send(&f, COMMIT), i < 10 ? NEW : -EDQUOT);
		assert_int_equal(ct_send(ct, &f, 99, COMMIT, now), i < 3 ? NEW : -EDQUOT);
	}
	xv_conntrack_get_zone(ct, ZONE, &limit, &n);
	assert_int_equal(limit, 10);
	assert_int_equal(n, 10);
	xv_conntrack_get_zone(ct, 99, &limit, &n);
	assert_int_equal(limit, 3);
	assert_int_equal(n, 3);
	assert_int_equal(stats().refused_zone, 17);
	/* They count as long as they live; no limit of its own any more: 3, no limit at all: any. */
	now += 31 * S;
	expire_all();
	xv_conntrack_get_zone(ct, ZONE, &limit, &n);
	assert_int_equal(n, 0);
	xv_conntrack_set_zone_limit(ct, ZONE, UINT32_MAX);
	for (i = 0; i < 5; i++) {
		struct ct_frame f = udp_of(i);

		assert_int_equal(send(&f, COMMIT), i < 3 ? NEW : -EDQUOT);
	}
	xv_conntrack_set_zone_limit(ct, ZONE, 0);
	for (i = 5; i < 20; i++) {
		struct ct_frame f = udp_of(i);

		assert_int_equal(send(&f, COMMIT), NEW);
	}
}

static int send_from(const struct ct_frame *f, uint32_t in_port, uint16_t zone)
{
	const struct xv_action_ct action = {.zone = zone, .flags = COMMIT};
	struct ct_packet p;
	int rc;

	ct_packet_make(&p, f, in_port);
	rc = xv_conntrack_packet(ct, &action, &p.m, &p.key, &p.layout, now, &p.hit);
	return rc != 0 ? rc : (int)p.key.ct_state;
}

static bool is_stored(const struct ct_frame *f, uint16_t zone)
{
	struct ct_frame back = ct_frame_reply(f);

	if (f->proto == 6) /* whatever its state is: no answer that would change it */
		back.flags = CT_SYN | CT_ACK;
	return (ct_send(ct, &back, zone, 0, now) & XV_CS_REPLY) != 0;
}

/* A port at its bound loses its own oldest half-open one; others nothing. */
static void half_open_bound(void **state)
{
	struct ct_frame f, established = udp_of(5000);
	uint32_t i;

	(void)state;
	(void)teardown(NULL);
	assert_int_equal(open_table(10000, 100), 0);
	assert_int_equal(send_from(&established, 1, 1), NEW);
	assert_true(is_stored(&established, 1));
	for (i = 0; i < 50; i++) {
		f = udp_of(i);
		assert_int_equal(send_from(&f, 2, 1), NEW);
	}
	for (i = 100; i < 1100; i++) {
		f = udp_of(i);
		assert_int_equal(send_from(&f, 1, 1), NEW);
	}
	assert_int_equal(stats().half_open, 150);
	assert_int_equal(stats().evicted, 900);
	assert_true(is_stored(&established, 1));
	for (i = 0; i < 50; i++) {
		f = udp_of(i);
		assert_true(is_stored(&f, 1));
	}
	f = udp_of(999);
	assert_false(is_stored(&f, 1));
	f = udp_of(1000);
	assert_true(is_stored(&f, 1));
	/* Another zone of the same port has a bound of its own. */
	for (i = 0; i < 50; i++) {
		f = udp_of(i);
		assert_int_equal(send_from(&f, 1, 2), NEW);
	}
	assert_int_equal(stats().evicted, 900);
}

/* A SYN flood fills the table: it eats its own, established connections of others stay, new ones find room. */
static void full_table(void **state)
{
	struct ct_frame f;
	uint32_t i;

	(void)state;
	(void)teardown(NULL);
	assert_int_equal(open_table(1000, 1000), 0);
	for (i = 0; i < 400; i++) {
		f = udp_of(i);
		assert_int_equal(send_from(&f, 1, 1), NEW);
		assert_true(is_stored(&f, 1));
	}
	for (i = 0; i < 5000; i++) {
		struct ct_frame syn = tcp(CT_SYN, i, 0);

		syn.src += i;
		assert_int_equal(send_from(&syn, 2, 1), NEW);
	}
	assert_int_equal(stats().connections, 1000);
	assert_int_equal(stats().half_open, 600);
	(void)xv_conntrack_expire(ct, now);
	/* A third port opens and is answered; what it opened is not what goes. */
	for (i = 1000; i < 1200; i++) {
		f = udp_of(i);
		assert_int_equal(send_from(&f, 3, 1), NEW);
	}
	for (i = 1000; i < 1200; i++) {
		f = udp_of(i);
		assert_true(is_stored(&f, 1));
	}
	for (i = 0; i < 400; i++) {
		f = udp_of(i);
		assert_true(is_stored(&f, 1));
	}
	assert_int_equal(stats().half_open, 400);
	/* Nobody is half-open any more: full is full. */
	for (i = 2000; i < 2400; i++) {
		f = udp_of(i);
		assert_int_equal(send_from(&f, 3, 1), NEW);
		assert_true(is_stored(&f, 1));
	}
	assert_int_equal(stats().half_open, 0);
	f = udp_of(3000);
	assert_int_equal(send_from(&f, 3, 1), -ENOBUFS);
	assert_int_equal(send_from(&f, 3, 1), -ENOBUFS);
	assert_int_equal(stats().refused_full, 2);
	assert_int_equal(stats().connections, 1000);
}

/* The maximum goes down and up while there are connections; what is proven stays. */
static void maximum_while_running(void **state)
{
	struct ct_frame f;
	uint32_t i;

	(void)state;
	for (i = 0; i < 20; i++) {
		f = udp_of(i);
		assert_int_equal(send(&f, COMMIT), NEW);
		assert_true(is_stored(&f, ZONE));
	}
	assert_int_equal(xv_conntrack_set_max(ct, 0), -ERANGE);
	assert_int_equal(xv_conntrack_set_max(ct, 100001 + 65536), -ERANGE);
	assert_int_equal(xv_conntrack_set_max(ct, 10), 0);
	assert_int_equal(xv_conntrack_get_max(ct), 10);
	f = udp_of(100);
	assert_int_equal(send(&f, COMMIT), -ENOBUFS);
	assert_int_equal(stats().connections, 20);
	assert_int_equal(xv_conntrack_set_max(ct, 22), 0);
	assert_int_equal(send(&f, COMMIT), NEW);
	assert_true(is_stored(&f, ZONE));
	f = udp_of(101);
	assert_int_equal(send(&f, COMMIT), NEW);
	assert_true(is_stored(&f, ZONE));
	f = udp_of(102);
	assert_int_equal(send(&f, COMMIT), -ENOBUFS);
	/* Others go, and leave their places. */
	assert_int_equal(xv_conntrack_flush(ct, now, NULL, NULL), 22);
	for (i = 0; i < 30; i++) {
		f = udp_of(i);
		assert_int_equal(send(&f, COMMIT), i < 22 ? NEW : -ENOBUFS);
		if (i < 22)
			assert_true(is_stored(&f, ZONE));
	}
	assert_int_equal(xv_conntrack_set_max(ct, 100000), 0);
	for (i = 30; i < 1000; i++) {
		f = udp_of(i);
		assert_int_equal(send(&f, COMMIT), NEW);
	}
}

static void windows_need_not_be_checked(void **state)
{
	(void)state;
	shake_hands();
	assert_int_equal(tcp_send(CT_ACK, 900000101, 501, 0), INVALID);
	xv_conntrack_set_tcp_liberal(true);
	assert_true(xv_conntrack_get_tcp_liberal());
	assert_int_equal(tcp_send(CT_ACK, 900000101, 501, 0), EST);
	xv_conntrack_set_tcp_liberal(false);
}

/* A translated packet leaves for a slow path and comes back: its connection is the one that it had. */
static void recall(void **state)
{
	struct xv_action_ct snat = {.zone = ZONE, .flags = COMMIT | XV_CT_NAT}, mark = {.zone = ZONE, .flags = COMMIT};
	const struct xv_action_ct nat = {.zone = ZONE, .flags = XV_CT_NAT};
	const struct xv_ct_hit none = {0};
	struct ct_frame back = ct_frame_reply(&udp);
	struct ct_packet p;
	unsigned int dir;

	(void)state;
	mark.mark = 5;
	mark.mark_mask = UINT32_MAX;
	snat.nat.flags = XV_NAT_SRC;
	snat.nat.min.words[3] = snat.nat.max.words[3] = RTE_BE32(0x0a0000f0);
	back.dst = 0x0a0000f0;
	for (dir = 0; dir < 2; dir++) {
		ct_packet_make(&p, dir == 0 ? &udp : &back, 1);
		assert_int_equal(xv_conntrack_packet(ct, dir == 0 ? &snat : &nat, &p.m, &p.key, &p.layout, now, &p.hit), 0);
		assert_true((p.key.ct_state & (XV_CS_SRC_NAT | XV_CS_DST_NAT)) != 0);
		p.hit = none;
		xv_conntrack_recall(ct, &p.m, &p.key, &p.layout, now, &p.hit);
		assert_non_null(p.hit.conn);
		assert_int_equal(p.hit.dir, dir);
		mark.mark = 5 + dir;
		assert_int_equal(xv_conntrack_packet(ct, &mark, &p.m, &p.key, &p.layout, now, &p.hit), 0);
		assert_int_equal(stats().inserted, 1);
		assert_int_equal(the_only_one().mark, 5 + dir);
		assert_int_equal(the_only_one().packets[dir], 1);
	}
	/* What nobody knows stays so. */
	assert_int_equal(xv_conntrack_flush(ct, now, NULL, NULL), 1);
	p.hit = none;
	xv_conntrack_recall(ct, &p.m, &p.key, &p.layout, now, &p.hit);
	assert_null(p.hit.conn);
}

static void count(const struct xv_ct_info *info, void *arg)
{
	uint8_t *seen = arg;
	uint32_t n = (rte_be_to_cpu_32(info->original.src.words[3]) - udp.src) / 256 * 256 +
		     rte_be_to_cpu_16(info->original.src_port) - 1000;

	seen[n]++;
}

static bool is_odd(const struct xv_ct_info *info, void *arg)
{
	(void)arg;
	return rte_be_to_cpu_16(info->original.src_port) & 1;
}

/* Nobody waits for a whole table. */
static void flushing_some(void **state)
{
	uint64_t cursor = 0, n = 0;
	uint32_t i, steps = 1;

	(void)state;
	for (i = 0; i < 9000; i++) {
		struct ct_frame f = udp_of(i);

		assert_int_equal(send(&f, COMMIT), NEW);
	}
	while (xv_conntrack_flush_some(ct, now, &cursor, is_odd, NULL, &n)) {
		assert_true(n <= 2500 * steps);
		steps++;
	}
	assert_true(steps >= 3);
	assert_int_equal(n, 4500);
	assert_int_equal(stats().connections, 4500);
}

static void walking(void **state)
{
	static uint8_t seen[3000];
	struct xv_ct_tuple tuple = ct_frame_tuple(&udp, ZONE);
	uint64_t cursor = 0;
	uint32_t i, steps = 1;

	(void)state;
	memset(seen, 0, sizeof(seen));
	for (i = 0; i < 3000; i++) {
		struct ct_frame f = udp_of(i);

		assert_int_equal(send(&f, COMMIT), NEW);
	}
	while (xv_conntrack_walk(ct, now, &cursor, 100, count, seen))
		steps++;
	assert_true(steps >= 30);
	for (i = 0; i < 3000; i++)
		assert_int_equal(seen[i], 1);
	assert_int_equal(xv_conntrack_flush(ct, now, is_odd, NULL), 1500);
	assert_int_equal(stats().connections, 1500);
	assert_int_equal(xv_conntrack_delete(ct, &tuple, now), 0);
	assert_int_equal(xv_conntrack_delete(ct, &tuple, now), -ENOENT);
	/* By its reply tuple. */
	{
		struct ct_frame f = udp_of(2), back = ct_frame_reply(&f);

		tuple = ct_frame_tuple(&back, ZONE);
		assert_int_equal(xv_conntrack_delete(ct, &tuple, now), 0);
	}
	assert_int_equal(xv_conntrack_flush(ct, now, NULL, NULL), 1498);
	assert_int_equal(stats().connections, 0);
	assert_int_equal(stats().deleted, 3000);
}

static void bad_configurations(void **state)
{
	struct xv_conntrack_config config = {.connections = 0, .half_open_per_port = 1};
	struct xv_conntrack *other;

	(void)state;
	assert_int_equal(xv_conntrack_create(&config, &other), -EINVAL);
	config.connections = UINT32_MAX;
	assert_int_equal(xv_conntrack_create(&config, &other), -EINVAL);
	xv_conntrack_destroy(NULL);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(udp_states),
		TEST(tcp_states),
		TEST(tcp_reset_shortens),
		TEST(tcp_wrong_checksum),
		TEST(icmp_queries),
		TEST(icmp_errors),
		TEST(icmpv6_errors),
		TEST(other_protocols),
		TEST(not_ip),
		TEST(zones_are_apart),
		TEST(versions_are_apart),
		TEST(key_shows_connection),
		TEST(the_same_packet_twice),
		TEST(force),
		TEST(advance_is_for_proven_ones),
		TEST(advance_tcp),
		TEST(timeouts),
		TEST(zone_limits),
		TEST(half_open_bound),
		TEST(full_table),
		TEST(maximum_while_running),
		TEST(windows_need_not_be_checked),
		TEST(recall),
		TEST(flushing_some),
		TEST(walking),
		TEST(bad_configurations),
	};

	if (xv_rcu_init() != 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
