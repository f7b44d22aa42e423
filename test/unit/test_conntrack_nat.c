/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which tuples NAT chooses, against a list of those that are taken; and that packets which are translated there and
 * back, however broken they are inside, are what they were. (What they look like in between:
 * test/virtio/test_nat_scapy.py.)
 */
#include "unit.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include <rte_mbuf.h>

#include "fastpath/conntrack_nat.h"
#include "net/bytes.h"
#include "net/edit.h"
#include "net/icmp_edit.h"

#define CLIENT 0x0a000001
#define SERVER 0xc0000250
#define PUBLIC 0xcb007109

static struct rte_mempool *pool;
static uint64_t seed = 1;

static struct xv_ct_tuple used[4096];
static unsigned int n_used, probes;
static bool all_used;

static bool taken(const struct xv_ct_tuple *reply, void *arg)
{
	unsigned int i;

	assert_ptr_equal(arg, &seed);
	probes++;
	for (i = 0; i < n_used; i++)
		if (memcmp(&used[i], reply, sizeof(*reply)) == 0)
			return true;
	return all_used;
}

static union xv_ip_addr ip4(uint32_t a)
{
	return (union xv_ip_addr){.words = {0, 0, 0, rte_cpu_to_be_32(a)}};
}

static struct xv_ct_tuple tuple4(uint8_t proto, uint32_t src, uint32_t dst, uint16_t sport, uint16_t dport)
{
	return (struct xv_ct_tuple){.src = ip4(src),
				    .dst = ip4(dst),
				    .src_port = rte_cpu_to_be_16(sport),
				    .dst_port = rte_cpu_to_be_16(dport),
				    .proto = proto,
				    .zone = 5};
}

static struct xv_ct_nat range4(uint8_t flags, uint32_t min, uint32_t max, uint16_t min_port, uint16_t max_port)
{
	return (struct xv_ct_nat){
		.min = ip4(min), .max = ip4(max), .min_port = min_port, .max_port = max_port, .flags = flags};
}

static int choose(const struct xv_ct_nat *nat, const struct xv_ct_tuple *original, struct xv_ct_tuple *reply)
{
	probes = 0;
	xv_ct_tuple_reverse(original, reply);
	return xv_ct_nat_choose(nat, original, reply, taken, &seed, unit_random(&seed, UINT32_MAX));
}

static void use(const struct xv_ct_tuple *t)
{
	assert_true(n_used < RTE_DIM(used));
	used[n_used++] = *t;
}

static uint16_t host(rte_be16_t port)
{
	return rte_be_to_cpu_16(port);
}

static uint32_t host4(const union xv_ip_addr *a)
{
	assert_true(a->u64[0] == 0 && a->words[2] == 0);
	return rte_be_to_cpu_32(a->words[3]);
}

static void start(void)
{
	n_used = 0;
	all_used = false;
}

static void source_keeps_its_port(void **state)
{
	struct xv_ct_tuple o = tuple4(6, CLIENT, SERVER, 40000, 80), r;
	struct xv_ct_nat nat = range4(XV_NAT_SRC, PUBLIC, 0, 0, 0);

	start();
	assert_int_equal(choose(&nat, &o, &r), 0);
	assert_true(host4(&r.dst) == PUBLIC && host4(&r.src) == SERVER && host(r.dst_port) == 40000 &&
		    host(r.src_port) == 80 && r.zone == 5);
	assert_int_equal(xv_ct_nat_flags(&o, &r), XV_CONN_SNAT);
	/* Another client with the same port. */
	use(&r);
	o = tuple4(6, CLIENT + 1, SERVER, 40000, 80);
	assert_int_equal(choose(&nat, &o, &r), 0);
	assert_true(host4(&r.dst) == PUBLIC && host(r.dst_port) != 40000 && host(r.dst_port) >= 1024);
	/* To another server it may keep it. */
	o = tuple4(6, CLIENT + 1, SERVER + 1, 40000, 80);
	assert_int_equal(choose(&nat, &o, &r), 0);
	assert_int_equal(host(r.dst_port), 40000);
	/* Nothing to translate: the address stays, the port is made unique (nat(src) without, or with all zero,
	 * address). */
	nat = range4(XV_NAT_SRC, 0, 0, 0, 0);
	o = tuple4(17, CLIENT, SERVER, 53, 53);
	assert_int_equal(choose(&nat, &o, &r), 0);
	assert_int_equal(xv_ct_nat_flags(&o, &r), 0);
	use(&r);
	assert_int_equal(choose(&nat, &o, &r), 0);
	assert_true(host4(&r.dst) == CLIENT && host(r.dst_port) >= 1 && host(r.dst_port) < 512);
	/* No translation was asked for. */
	nat.flags = 0;
	assert_int_equal(choose(&nat, &o, &r), 0);
	assert_int_equal(probes, 0);
}

/* Privileged ports stay so, unless a range says otherwise. */
static void classes(void **state)
{
	static const uint16_t ports[][3] = {{7, 1, 511},       {511, 1, 511},       {512, 600, 1023},
					    {1023, 600, 1023}, {1024, 1024, 65535}, {65535, 1024, 65535}};
	struct xv_ct_nat nat = range4(XV_NAT_SRC, PUBLIC, PUBLIC, 0, 0),
			 range = range4(XV_NAT_SRC, PUBLIC, PUBLIC, 2000, 2999);
	struct xv_ct_tuple o, r;
	unsigned int i, j;

	for (i = 0; i < RTE_DIM(ports); i++) {
		start();
		o = tuple4(17, CLIENT, SERVER, ports[i][0], 80);
		for (j = 0; j < 300; j++) {
			assert_int_equal(choose(&nat, &o, &r), 0);
			assert_true(j > 0 || host(r.dst_port) == ports[i][0]);
			assert_in_range(host(r.dst_port), RTE_MIN(ports[i][0], ports[i][1]), ports[i][2]);
			use(&r);
			assert_int_equal(choose(&range, &o, &r), 0);
			assert_in_range(host(r.dst_port), 2000, 2999);
			use(&r);
		}
	}
}

static void every_port_of_a_range_is_found(void **state)
{
	struct xv_ct_nat nat = range4(XV_NAT_SRC, PUBLIC, PUBLIC + 3, 5000, 5049);
	struct xv_ct_tuple o = tuple4(6, CLIENT, SERVER, 40000, 80), r;
	unsigned int i;

	start();
	for (i = 0; i < 200; i++) {
		assert_int_equal(choose(&nat, &o, &r), 0);
		assert_in_range(host4(&r.dst), PUBLIC, PUBLIC + 3);
		assert_in_range(host(r.dst_port), 5000, 5049);
		use(&r);
	}
	assert_int_equal(choose(&nat, &o, &r), -ENOSPC);
	assert_in_range(probes, 200, 240);
	/* Another server: all are free again. One address only: a quarter. */
	o = tuple4(6, CLIENT, SERVER + 1, 40000, 80);
	nat.flags |= XV_NAT_PERSISTENT;
	for (i = 0; i < 50; i++) {
		assert_int_equal(choose(&nat, &o, &r), 0);
		use(&r);
	}
	assert_int_equal(choose(&nat, &o, &r), -ENOSPC);
	assert_int_equal(probes, 50);
	/* A range of one, the wrong way around, is one. */
	nat = range4(XV_NAT_SRC, PUBLIC, PUBLIC, 7000, 6999);
	for (i = 0; i < 2; i++) {
		assert_int_equal(choose(&nat, &o, &r), 0);
		use(&r);
	}
	assert_int_equal(choose(&nat, &o, &r), -ENOSPC);
}

static void a_search_ends(void **state)
{
	struct xv_ct_nat nat = range4(XV_NAT_SRC, PUBLIC, PUBLIC, 0, 0);
	struct xv_ct_tuple o = tuple4(6, CLIENT, SERVER, 40000, 80), r;

	start();
	all_used = true;
	assert_int_equal(choose(&nat, &o, &r), -ENOSPC);
	assert_in_range(probes, 200, 245);
	nat.max = ip4(UINT32_MAX);
	assert_int_equal(choose(&nat, &o, &r), -ENOSPC);
	assert_in_range(probes, 200, 245);
	nat = range4(XV_NAT_DST, PUBLIC, PUBLIC + 100, 1, 65535);
	assert_int_equal(choose(&nat, &o, &r), -ENOSPC);
	assert_in_range(probes, 200, 490);
	o.proto = 47;
	nat = range4(XV_NAT_SRC, PUBLIC, UINT32_MAX, 0, 0);
	assert_int_equal(choose(&nat, &o, &r), -ENOSPC);
	assert_in_range(probes, 200, 245);
}

static void destinations(void **state)
{
	struct xv_ct_nat nat = range4(XV_NAT_DST, PUBLIC, 0, 0, 0);
	struct xv_ct_tuple o = tuple4(6, CLIENT, SERVER, 40000, 80), r;

	start();
	assert_int_equal(choose(&nat, &o, &r), 0);
	assert_true(host4(&r.src) == PUBLIC && host(r.src_port) == 80 && host4(&r.dst) == CLIENT &&
		    host(r.dst_port) == 40000);
	assert_int_equal(xv_ct_nat_flags(&o, &r), XV_CONN_DNAT);
	/* The client has that connection already, without translation: it gets another port of its own. */
	use(&r);
	assert_int_equal(choose(&nat, &o, &r), 0);
	assert_true(host4(&r.src) == PUBLIC && host(r.src_port) == 80 && host4(&r.dst) == CLIENT &&
		    host(r.dst_port) != 40000);
	assert_int_equal(xv_ct_nat_flags(&o, &r), XV_CONN_DNAT | XV_CONN_SNAT);
	nat = range4(XV_NAT_DST, PUBLIC, PUBLIC, 8080, 8080);
	assert_int_equal(choose(&nat, &o, &r), 0);
	assert_true(host(r.src_port) == 8080 && host(r.dst_port) == 40000);
	/* Only the port. */
	nat = range4(XV_NAT_DST, 0, 0, 8080, 0);
	assert_int_equal(choose(&nat, &o, &r), 0);
	assert_true(host4(&r.src) == SERVER && host(r.src_port) == 8080);
	assert_int_equal(xv_ct_nat_flags(&o, &r), XV_CONN_DNAT);
	/* A server's port that is in the range stays. */
	nat = range4(XV_NAT_DST, PUBLIC, PUBLIC, 70, 90);
	start();
	assert_int_equal(choose(&nat, &o, &r), 0);
	assert_int_equal(host(r.src_port), 80);
	use(&r);
	assert_int_equal(choose(&nat, &o, &r), 0);
	assert_true(host(r.src_port) != 80 && host(r.src_port) >= 70 && host(r.src_port) <= 90);
	assert_int_equal(host(r.dst_port), 40000);
}

static void icmp(void **state)
{
	struct xv_ct_nat nat = range4(XV_NAT_SRC, PUBLIC, PUBLIC, 0, 0);
	struct xv_ct_tuple o = tuple4(1, CLIENT, SERVER, 77, 0x0800), r, r2;

	start();
	assert_int_equal(choose(&nat, &o, &r), 0);
	assert_true(host(r.src_port) == 77 && host(r.dst_port) == 0 && host4(&r.dst) == PUBLIC);
	use(&r);
	assert_int_equal(choose(&nat, &o, &r2), 0);
	assert_true(host(r2.src_port) != 77 && r2.dst_port == r.dst_port);
	assert_int_equal(xv_ct_nat_flags(&o, &r2), XV_CONN_SNAT);
	nat.min_port = 100;
	nat.max_port = 101;
	assert_int_equal(choose(&nat, &o, &r), 0);
	assert_in_range(host(r.src_port), 100, 101);
	/* Node information has no identifier to choose. */
	o = (struct xv_ct_tuple){.proto = 58, .ipv6 = 1, .src_port = 1, .dst_port = RTE_BE16(139 << 8)};
	o.src.bytes[0] = o.dst.bytes[0] = 0x20;
	nat = (struct xv_ct_nat){.flags = XV_NAT_SRC, .ipv6 = 1};
	nat.min.bytes[0] = 0x30;
	assert_int_equal(choose(&nat, &o, &r), 0);
	assert_true(r.dst.bytes[0] == 0x30 && r.src_port == 1);
	use(&r);
	assert_int_equal(choose(&nat, &o, &r), -ENOSPC);
}

/* Which of n addresses 1,000 clients and servers get, and whether a client gets another one for another server. */
static void spread(uint8_t flags, unsigned int n, bool same_for_all)
{
	struct xv_ct_nat nat = range4((uint8_t)(XV_NAT_SRC | flags), PUBLIC, PUBLIC + n - 1, 0, 0);
	unsigned int count[16] = {0}, i, moved = 0;
	struct xv_ct_tuple o, r, r2;

	start();
	for (i = 0; i < 1000; i++) {
		o = tuple4(6, CLIENT + i, SERVER, 40000, 80);
		assert_int_equal(choose(&nat, &o, &r), 0);
		assert_in_range(host4(&r.dst), PUBLIC, PUBLIC + n - 1);
		count[host4(&r.dst) - PUBLIC]++;
		o.src_port = 1;
		assert_int_equal(choose(&nat, &o, &r2), 0);
		assert_memory_equal(&r.dst, &r2.dst, sizeof(r.dst));
		o.dst = ip4(SERVER + 1);
		assert_int_equal(choose(&nat, &o, &r2), 0);
		moved += memcmp(&r.dst, &r2.dst, sizeof(r.dst)) != 0;
	}
	for (i = 0; i < n; i++)
		assert_in_range(count[i], 1000 / n / 2, 1000 / n * 2);
	assert_true(same_for_all ? moved == 0 : moved > 500);
}

static void addresses(void **state)
{
	struct xv_ct_nat nat = {.flags = XV_NAT_SRC, .ipv6 = 1};
	struct xv_ct_tuple o = {.proto = 6, .ipv6 = 1, .src_port = 1, .dst_port = 2}, r;
	unsigned int i, low = 0, high = 0;

	spread(0, 3, false);
	spread(0, 10, false);
	spread(XV_NAT_PERSISTENT, 7, true);
	spread(XV_NAT_PERSISTENT | XV_NAT_RANDOM, 7, true);
	spread(XV_NAT_HASH, 4, false);
	/* IPv6: a range that begins within the last word and ends beyond the first half. */
	nat.min.u64[0] = nat.max.u64[0] = rte_cpu_to_be_64(0x20010db800000000);
	nat.min.u64[1] = rte_cpu_to_be_64(UINT64_MAX - 1);
	nat.max.u64[0] = rte_cpu_to_be_64(0x20010db800000001);
	nat.max.u64[1] = rte_cpu_to_be_64(1);
	for (i = 0; i < 1000; i++) {
		o.src.words[3] = rte_cpu_to_be_32(i);
		assert_int_equal(choose(&nat, &o, &r), 0);
		if (r.dst.u64[0] == nat.min.u64[0]) {
			low++;
			assert_true(rte_be_to_cpu_64(r.dst.u64[1]) >= UINT64_MAX - 1);
		} else {
			high++;
			assert_true(r.dst.u64[0] == nat.max.u64[0] && rte_be_to_cpu_64(r.dst.u64[1]) <= 1);
		}
	}
	assert_true(low > 400 && high > 400);
	/* All there are. */
	memset(&nat.min, 0, sizeof(nat.min));
	nat.min.words[3] = RTE_BE32(1);
	memset(&nat.max, 0xff, sizeof(nat.max));
	assert_int_equal(choose(&nat, &o, &r), 0);
	all_used = true;
	assert_int_equal(choose(&nat, &o, &r), -ENOSPC);
}

static void ports_by_hash_and_random(void **state)
{
	struct xv_ct_nat hash = range4(XV_NAT_SRC | XV_NAT_HASH, PUBLIC, PUBLIC, 0, 0);
	struct xv_ct_nat any = range4(XV_NAT_SRC | XV_NAT_RANDOM, PUBLIC, PUBLIC, 0, 0);
	unsigned int i, same = 0;
	struct xv_ct_tuple o, r, r2;

	start();
	for (i = 0; i < 100; i++) {
		o = tuple4(6, CLIENT + i, SERVER, 40000, 80);
		choose(&hash, &o, &r);
		choose(&hash, &o, &r2);
		assert_int_equal(r.dst_port, r2.dst_port);
		same += host(r.dst_port) == 40000;
		choose(&any, &o, &r);
		choose(&any, &o, &r2);
		same += r.dst_port == r2.dst_port || host(r.dst_port) == 40000;
	}
	assert_true(same < 5);
}

/* A client that has an address of the range keeps it, if it is free. */
static void in_range_already(void **state)
{
	struct xv_ct_nat nat = range4(XV_NAT_SRC, PUBLIC, PUBLIC + 100, 0, 0);
	struct xv_ct_tuple o, r;
	unsigned int i;

	start();
	for (i = 0; i <= 100; i++) {
		o = tuple4(6, PUBLIC + i, SERVER, 40000, 80);
		assert_int_equal(choose(&nat, &o, &r), 0);
		assert_int_equal(xv_ct_nat_flags(&o, &r), 0);
	}
}

/* ---- Packets ---- */

#define FRAME_MAX 300

/* An Ethernet frame with whatever looks like IP, ICMP error, and a packet inside, cut and bent anywhere. */
static uint32_t random_frame(uint8_t *p, bool v6, bool error, uint8_t proto)
{
	uint32_t l3 = 14, l4 = l3 + (v6 ? 40 : 20), i, len = l4 + 8 + unit_random(&seed, 150);
	uint8_t *in = p + l4 + 8;

	for (i = 0; i < FRAME_MAX; i++)
		p[i] = (uint8_t)unit_random(&seed, 256);
	p[12] = v6 ? 0x86 : 8;
	p[13] = v6 ? 0xdd : 0;
	if (v6) {
		p[l3] = 0x60;
		p[l3 + 4] = 0;
		p[l3 + 5] = (uint8_t)(len - l4);
		p[l3 + 6] = error ? 58 : proto;
	} else {
		p[l3] = 0x45;
		p[l3 + 2] = 0;
		p[l3 + 3] = (uint8_t)(len - l3);
		p[l3 + 6] = p[l3 + 7] = 0;
		p[l3 + 9] = error ? 1 : proto;
	}
	if (!error) {
		p[l4 + 12] = 0x50;
		if (proto == 1 || proto == 58)
			p[l4] = v6 ? 128 : 8;
		return len;
	}
	p[l4] = v6 ? 1 : 3;
	if (unit_random(&seed, 8)) {
		in[0] = v6 ? 0x60 : (uint8_t)(0x45 + (unit_random(&seed, 4) ? 0 : unit_random(&seed, 11)));
		if (!v6)
			in[6] &= 0xe0;
		in[v6 ? 6 : 9] = proto;
		if (v6 && unit_random(&seed, 3) == 0) { /* extension headers, which may be anything */
			in[6] = (const uint8_t[]){0, 43, 44, 51, 60}[unit_random(&seed, 5)];
			in[40] = (const uint8_t[]){0, 43, 44, 51, 60, 6, 17}[unit_random(&seed, 7)];
			in[41] = (uint8_t)unit_random(&seed, 3);
		}
	}
	return len;
}

static void extract(struct rte_mbuf *m, struct xv_flow_key *key, struct xv_flow_layout *layout)
{
	memset(key, 0, sizeof(*key));
	xv_flow_extract(rte_pktmbuf_mtod(m, const uint8_t *), m->data_len, m->pkt_len, key, layout);
}

static void random_addr(union xv_ip_addr *a, bool v6)
{
	unsigned int i;

	for (i = v6 ? 0 : 3; i < 4; i++)
		a->words[i] = unit_random(&seed, UINT32_MAX);
}

/* The connection that packet m belongs to, of direction dir, translated at random. */
static bool connection_of(const struct rte_mbuf *m, const struct xv_flow_key *key, const struct xv_flow_layout *layout,
			  bool error, enum xv_ct_dir dir, struct xv_conn *conn)
{
	struct xv_ct_tuple *t = &conn->tuple[dir], *o = &conn->tuple[!dir];
	bool v6 = key->eth_type == RTE_BE16(0x86dd);
	struct xv_icmp_inner inner;
	struct xv_ct_tuple in;

	memset(conn, 0, sizeof(*conn));
	in = (struct xv_ct_tuple){.src = key->ip_src,
				  .dst = key->ip_dst,
				  .src_port = key->tp_src,
				  .dst_port = key->tp_dst,
				  .proto = key->ip_proto,
				  .ipv6 = v6};
	if (error) {
		if (xv_icmp_get_inner(m, layout, v6, &inner) != 0)
			return false;
		in = (struct xv_ct_tuple){.src = inner.src,
					  .dst = inner.dst,
					  .src_port = inner.src_port,
					  .dst_port = inner.dst_port,
					  .proto = inner.proto,
					  .ipv6 = v6};
		xv_ct_tuple_reverse(&in, t);
	} else {
		*t = in;
		if (in.proto == 1 || in.proto == 58) {
			t->src_port = 0;
			memcpy(&t->src_port, rte_pktmbuf_mtod_offset(m, uint8_t *, layout->l4 + 4), 2);
			t->dst_port = v6 ? RTE_BE16(128 << 8) : RTE_BE16(8 << 8);
		}
	}
	xv_ct_tuple_reverse(t, o);
	if (unit_random(&seed, 3))
		random_addr(&o->src, v6);
	if (unit_random(&seed, 3))
		random_addr(&o->dst, v6);
	if (unit_random(&seed, 2) && t->src_port != 0)
		o->src_port = (rte_be16_t)(1 + unit_random(&seed, 65535));
	if (unit_random(&seed, 2) && t->proto != 1 && t->proto != 58 && t->dst_port != 0)
		o->dst_port = (rte_be16_t)(1 + unit_random(&seed, 65535));
	conn->flags = xv_ct_nat_flags(&conn->tuple[0], &conn->tuple[1]);
	return true;
}

/* Checksums that were wrong from the start may change between the two zeros of one's complement. */
static bool same(const uint8_t *a, const uint8_t *b, uint32_t len)
{
	uint32_t i;

	for (i = 0; i + 1 < len; i += 2)
		if (memcmp(a + i, b + i, 2) != 0 &&
		    ((uint16_t)(xv_load16(a + i) + 1) > 1 || (uint16_t)(xv_load16(b + i) + 1) > 1))
			return false;
	return len % 2 == 0 || a[len - 1] == b[len - 1];
}

/* The connection that undoes what conn does to packets of direction dir. */
static void undo(const struct xv_conn *conn, enum xv_ct_dir dir, struct xv_conn *back)
{
	memset(back, 0, sizeof(*back));
	xv_ct_tuple_reverse(&conn->tuple[!dir], &back->tuple[dir]);
	xv_ct_tuple_reverse(&conn->tuple[dir], &back->tuple[!dir]);
	back->flags = conn->flags;
}

/* An error cannot come back by translation: a router's address is lost. Put back what was changed. */
static void restore_error(const struct xv_conn *conn, enum xv_ct_dir dir, struct rte_mbuf *m,
			  const struct xv_flow_key *before, const struct xv_flow_key *after,
			  const struct xv_flow_layout *layout)
{
	const struct xv_ct_tuple *t = &conn->tuple[dir];
	struct xv_icmp_inner inner = {
		.src = t->dst, .dst = t->src, .src_port = t->dst_port, .dst_port = t->src_port, .proto = t->proto};

	if (t->proto == (t->ipv6 ? 58 : 1))
		inner.src_port = t->src_port;
	assert_int_equal(xv_icmp_set_inner(m, layout, t->ipv6, &inner), 0);
	assert_int_equal(xv_edit_apply(m, layout, after, before), 0);
}

static void there_and_back(void **state)
{
	static const uint8_t protos[] = {6, 17, 132, 1, 58, 47};
	unsigned int i, translated = 0, errors = 0;
	uint8_t frame[FRAME_MAX], flat[FRAME_MAX];
	struct xv_flow_key before, key, again;
	struct xv_flow_layout layout;
	struct xv_conn conn, back;
	struct rte_mbuf *m;
	uint16_t cuts[2];
	uint32_t len;

	for (i = 0; i < 200000; i++) {
		bool v6 = unit_random(&seed, 2), error = unit_random(&seed, 2);
		enum xv_ct_dir dir = unit_random(&seed, 2) ? XV_CT_REPLY : XV_CT_ORIGINAL;
		uint8_t proto = protos[unit_random(&seed, RTE_DIM(protos))];

		if (proto == (v6 ? 1 : 58))
			continue;
		len = random_frame(frame, v6, error, proto);
		cuts[0] = (uint16_t)(unit_random(&seed, 4) ? 0 : 14 + unit_random(&seed, len - 14));
		cuts[1] = 0;
		m = unit_packet(pool, frame, len, cuts);
		extract(m, &key, &layout);
		before = key;
		if (layout.l4 != 0 && connection_of(m, &key, &layout, error, dir, &conn)) {
			assert_int_equal(xv_ct_nat_translate(&conn, dir, error, m, &key, &layout), 0);
			translated++;
			errors += error;
			extract(m, &again, &layout);
			again.ct_state = key.ct_state;
			assert_memory_equal(&again, &key, sizeof(key));
			if (error) {
				restore_error(&conn, dir, m, &before, &key, &layout);
			} else {
				undo(&conn, dir, &back);
				assert_int_equal(xv_ct_nat_translate(&back, dir, error, m, &key, &layout), 0);
			}
		}
		assert_int_equal(m->pkt_len, len);
		assert_true(same(rte_pktmbuf_read(m, 0, len, flat), frame, len));
		rte_pktmbuf_free(m);
	}
	assert_true(translated > 50000 && errors > 10000);
}

static int setup(void **state)
{
	if (unit_eal_init(state) != 0)
		return -1;
	pool = unit_pool_create("nat", 255);
	return pool ? 0 : -1;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(source_keeps_its_port),
		cmocka_unit_test(classes),
		cmocka_unit_test(every_port_of_a_range_is_found),
		cmocka_unit_test(a_search_ends),
		cmocka_unit_test(destinations),
		cmocka_unit_test(icmp),
		cmocka_unit_test(addresses),
		cmocka_unit_test(ports_by_hash_and_random),
		cmocka_unit_test(in_range_already),
		cmocka_unit_test(there_and_back),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
