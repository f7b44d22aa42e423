/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fragments that meet ct actions, with dummy ports, a worker without a thread and a stopped clock: which come out, in which order and
 * as what; which are dropped, and why; how much is held.
 */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_mbuf.h>
#include <rte_mempool.h>

#include "base/clock.h"
#include "fastpath/binding.h"
#include "fastpath/flow.h"
#include "fastpath/fragments.h"
#include "fastpath/ledger.h"
#include "fastpath/worker_state.h"
#include "net/checksum.h"
#include "port/dummy.h"
#include "port/eal.h"
#include "table/rcu.h"

#define PORTS 3
#define ZONE 5
#define L2 14
#define IP_MAX 65535

static struct {
	struct xv_worker *worker;
	struct xv_port *ports[PORTS];
	unsigned int mbufs_before;
	bool gone; /* port 0 */
} rig;

static int group_setup(void **state)
{
	struct xv_eal_config config = {.memory_mb = 64};

	(void)state;
	xv_clock_init(0);
	xv_clock_stop();
	xv_worker_configure(&(struct xv_worker_settings){.batch = 1});
	return xv_eal_init(&config, NULL) != 0 || xv_rcu_init() != 0;
}

static int setup(void **state)
{
	struct xv_queue_ref refs[PORTS];
	uint16_t i;

	(void)state;
	rig.mbufs_before = rte_mempool_avail_count(xv_packet_pool());
	rig.gone = false;
	assert_int_equal(xv_flows_init(), 0);
	assert_int_equal(xv_worker_create("test", -1, true, &rig.worker, NULL), 0);
	for (i = 0; i < PORTS; i++) {
		struct xv_port_config config = {.kind = XV_PORT_DUMMY, .queues = 1};
		struct xv_binding *b = calloc(1, sizeof(*b));

		snprintf(config.name, sizeof(config.name), "p%u", i);
		assert_int_equal(xv_port_create(&config, i, NULL, &rig.ports[i], NULL), 0);
		assert_non_null(b);
		b->forward = XV_FORWARD_FLOWS;
		xv_port_bind(rig.ports[i], b);
		xv_ledger_reset(i);
		refs[i] = (struct xv_queue_ref){rig.ports[i], 0};
	}
	assert_int_equal(xv_worker_set_queues(rig.worker, refs, PORTS), 0);
	return 0;
}

static void run(void)
{
	unsigned int i;

	for (i = 0; i < 4; i++)
		(void)xv_worker_run_once(rig.worker);
}

static struct xv_ledger ledger(unsigned int port)
{
	struct xv_ledger l;

	xv_ledger_read(rig.ports[port], &l);
	return l;
}

static void check_ledger(unsigned int port)
{
	struct xv_ledger l = ledger(port);
	uint64_t drops = 0;
	unsigned int d;

	for (d = 0; d < XV_DROP_MAX; d++)
		drops += l.drops[d];
	assert_int_equal(l.rx_packets + l.copies, l.forwarded + l.punts + drops + l.held);
}

static void remove_port(unsigned int i)
{
	xv_port_bind(rig.ports[i], NULL);
	xv_workers_forget_port(rig.ports[i]);
	assert_int_equal(ledger(i).held, 0);
	check_ledger(i);
}

static int teardown(void **state)
{
	struct rte_mbuf *m;
	unsigned int i;

	(void)state;
	for (i = 0; i < PORTS; i++)
		while ((m = xv_dummy_take(rig.ports[i])) != NULL)
			rte_pktmbuf_free(m);
	assert_int_equal(xv_worker_set_queues(rig.worker, NULL, 0), 0);
	for (i = rig.gone; i < PORTS; i++)
		remove_port(i);
	for (i = 0; i < 1000 && xv_flows_poll(); i++)
		run();
	for (i = 0; i < PORTS; i++)
		xv_port_destroy(rig.ports[i]);
	xv_worker_destroy(rig.worker);
	xv_flows_fini();
	xv_rcu_synchronize();
	(void)xv_rcu_poll();
	assert_int_equal(rte_mempool_avail_count(xv_packet_pool()), rig.mbufs_before);
	return 0;
}

/* ---- Flows ---- */

static void add_flow(uint32_t in_port, uint32_t recirc, const struct xv_action_ct *ct, enum xv_action_type type,
		     uint32_t arg)
{
	struct xv_flow_key key = {.in_port = in_port, .recirc_id = recirc}, mask = {.in_port = UINT32_MAX,
										    .recirc_id = UINT32_MAX};
	struct xv_flow_spec spec = {.key = &key, .mask = &mask, .owner = XV_FLOW_NO_OWNER};
	struct xv_actions_builder b;
	struct xv_flow *flow;

	if (recirc != 0) {
		mask.ct_state = XV_CS_INVALID | XV_CS_TRACKED;
		key.ct_state = XV_CS_TRACKED;
	}
	xv_actions_begin(&b);
	if (ct != NULL)
		xv_actions_add(&b, XV_ACT_CT, 0, ct, sizeof(*ct));
	xv_actions_add(&b, type, arg, NULL, 0);
	assert_int_equal(xv_actions_finish(&b, &spec.actions), 0);
	assert_int_equal(xv_flow_add(&spec, &flow), 0);
}

/* The one of this port and recirculation. */
static struct xv_flow *flow_of(uint32_t in_port, uint32_t recirc)
{
	struct xv_flow_key key = {.in_port = in_port, .recirc_id = recirc, .ct_state = recirc != 0 ? XV_CS_TRACKED : 0};
	struct xv_flow *flow = xv_flow_peek(&key);

	assert_non_null(flow);
	return flow;
}

static void note_flow(struct xv_flow *flow, void *arg)
{
	struct xv_flow ***next = arg;

	*(*next)++ = flow;
}

static void delete_flows(void)
{
	struct xv_flow *flows[16], **next = flows;
	struct xv_cls_cursor cursor = {0};
	unsigned int i;

	assert_in_range(xv_flows_count(), 1, RTE_DIM(flows));
	while (xv_flows_walk(&cursor, 100, note_flow, &next))
		;
	while (next > flows)
		xv_flow_del(*--next);
	for (i = 0; i < 1000 && xv_flows_poll(); i++)
		run();
	assert_int_equal(xv_flows_count(), 0);
}

/* Between ports 0 and 1, by two ct actions: one looks up, the other commits. nat: NULL, or for the first of them. */
static void connect_ports(const struct xv_ct_nat *nat)
{
	struct xv_action_ct look = {.zone = ZONE}, commit = {.zone = ZONE, .flags = XV_CT_COMMIT};
	unsigned int i;

	if (nat != NULL) {
		look.flags = XV_CT_NAT | XV_CT_COMMIT;
		look.nat = *nat;
	}
	for (i = 0; i < 2; i++) {
		if (nat != NULL && i == 1) {
			look.flags = XV_CT_NAT;
			memset(&look.nat, 0, sizeof(look.nat));
		}
		add_flow(i, 0, &look, XV_ACT_RECIRC, 7);
		add_flow(i, 7, nat == NULL ? &commit : NULL, XV_ACT_OUTPUT, 1 - i);
	}
	add_flow(2, 0, &look, XV_ACT_RECIRC, 7);
	add_flow(2, 7, NULL, XV_ACT_OUTPUT, 1);
}

/* ---- Datagrams ---- */

struct datagram {
	bool ipv6;
	uint8_t bytes[L2 + 40 + IP_MAX];
	uint32_t header, len; /* IP header; payload */
};

static struct datagram dg;

static void put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

/* UDP from 10.0.0.1 (fd00::1) to .2, or back; payload: with the UDP header. */
static void make(struct datagram *d, bool ipv6, bool back, uint16_t sport, uint16_t dport, uint32_t payload)
{
	uint8_t *ip = d->bytes + L2, *udp;
	uint32_t i;
	uint16_t c;

	d->ipv6 = ipv6;
	d->header = ipv6 ? 40 : 20;
	d->len = payload;
	memset(d->bytes, 0, L2 + d->header);
	memcpy(d->bytes, (const uint8_t[]){2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1}, 12);
	put16(d->bytes + 12, ipv6 ? 0x86dd : 0x0800);
	udp = ip + d->header;
	if (ipv6) {
		ip[0] = 0x60;
		put16(ip + 4, payload);
		ip[6] = 17;
		ip[7] = 64;
		ip[8] = ip[24] = 0xfd;
		ip[23] = back ? 2 : 1;
		ip[39] = back ? 1 : 2;
	} else {
		ip[0] = 0x45;
		put16(ip + 2, 20 + payload);
		ip[8] = 64;
		ip[9] = 17;
		ip[12] = ip[16] = 10;
		ip[15] = back ? 2 : 1;
		ip[19] = back ? 1 : 2;
	}
	put16(udp, sport);
	put16(udp + 2, dport);
	put16(udp + 4, payload);
	put16(udp + 6, 0);
	for (i = 8; i < payload; i++)
		udp[i] = (uint8_t)(i * 7 + i / 256);
	c = ipv6 ? xv_csum_pseudo6(ip + 8, ip + 24, 17, payload) : xv_csum_pseudo4(ip + 12, ip + 16, 17, payload);
	c = xv_csum_finish(xv_csum_add(c, xv_csum_sum(udp, payload)));
	memcpy(udp + 6, &c, 2);
}

/* Bytes [from, to) of the payload as a fragment. */
static struct rte_mbuf *piece(const struct datagram *d, uint32_t id, uint32_t from, uint32_t to)
{
	uint32_t header = L2 + d->header, len = header + (d->ipv6 ? 8 : 0) + to - from;
	uint8_t frame[2048], *ip = frame + L2, *f = frame + header;
	struct rte_mbuf *m;
	bool more = to < d->len;
	uint16_t c;

	assert_true(len <= sizeof(frame));
	memcpy(frame, d->bytes, header);
	if (d->ipv6) {
		put16(ip + 4, 8 + to - from);
		f[0] = ip[6];
		f[1] = 0;
		ip[6] = 44;
		put16(f + 2, from | more);
		put16(f + 4, id >> 16);
		put16(f + 6, id);
		f += 8;
	} else {
		put16(ip + 2, 20 + to - from);
		put16(ip + 4, id);
		put16(ip + 6, from / 8 | (more ? 0x2000 : 0));
		c = (uint16_t)~xv_csum_sum(ip, 20);
		memcpy(ip + 10, &c, 2);
	}
	memcpy(f, d->bytes + header + from, to - from);
	/* Every second one in two buffers. */
	m = unit_packet(xv_packet_pool(), frame, len, (from / 8) % 2 ? (const uint16_t[]){(uint16_t)(header + 24), 0} : NULL);
	assert_non_null(m);
	return m;
}

static void send(unsigned int port, struct rte_mbuf *m)
{
	assert_int_equal(xv_dummy_put(rig.ports[port], 0, m), 0);
	run();
}

static unsigned int taken(unsigned int port)
{
	struct rte_mbuf *m;
	unsigned int n = 0;

	for (; (m = xv_dummy_take(rig.ports[port])) != NULL; n++)
		rte_pktmbuf_free(m);
	return n;
}

static bool same(const struct rte_mbuf *a, const struct rte_mbuf *b)
{
	static uint8_t x[4096], y[4096];
	uint32_t len = rte_pktmbuf_pkt_len(a);

	if (len != rte_pktmbuf_pkt_len(b) || len > sizeof(x))
		return false;
	return memcmp(rte_pktmbuf_read(a, 0, len, x), rte_pktmbuf_read(b, 0, len, y), len) == 0;
}

/* The next one that came out is this. */
static void expect(unsigned int port, const struct datagram *d, uint32_t id, uint32_t from, uint32_t to)
{
	struct rte_mbuf *m = xv_dummy_take(rig.ports[port]), *as = piece(d, id, from, to);

	assert_non_null(m);
	assert_true(same(m, as));
	rte_pktmbuf_free(m);
	rte_pktmbuf_free(as);
}

static uint64_t dropped(enum xv_drop reason)
{
	return ledger(0).drops[reason];
}

static void connections(uint64_t n)
{
	struct xv_conntrack_stats stats;

	xv_conntrack_get_stats(xv_flow_conntrack, &stats);
	assert_int_equal(stats.connections, n);
	assert_int_equal(stats.invalid, 0);
}

/* ---- Tests ---- */

static const uint32_t orders[][3] = {{0, 1, 2}, {2, 1, 0}, {1, 2, 0}, {0, 2, 1}};
static const uint32_t cuts[4] = {0, 512, 520, 1000};

static void all_orders(void **state)
{
	unsigned int v, o, i, id = 0;

	(void)state;
	connect_ports(NULL);
	for (v = 0; v < 2; v++) {
		make(&dg, v, false, 1000, 2000, 1000);
		for (o = 0; o < RTE_DIM(orders); o++) {
			id++;
			for (i = 0; i < 3; i++) {
				const uint32_t n = orders[o][i];

				assert_int_equal(taken(1), 0);
				assert_int_equal(ledger(0).held, i);
				send(0, piece(&dg, id, cuts[n], cuts[n + 1]));
				check_ledger(0);
			}
			assert_int_equal(ledger(0).held, 0);
			for (i = 0; i < 3; i++)
				expect(1, &dg, id, cuts[orders[o][i]], cuts[orders[o][i] + 1]);
			assert_int_equal(taken(1), 0);
		}
		connections(v + 1);
		/* The answer belongs to it: one datagram, counted once. */
		make(&dg, v, true, 2000, 1000, 1000);
		for (i = 0; i < 3; i++)
			send(1, piece(&dg, 99, cuts[i], cuts[i + 1]));
		assert_int_equal(taken(0), 3);
		connections(v + 1);
	}
}

static void interleaved_datagrams(void **state)
{
	static struct datagram other;
	unsigned int i;

	(void)state;
	connect_ports(NULL);
	make(&dg, false, false, 1000, 2000, 1000);
	make(&other, false, false, 1001, 2000, 1000);
	for (i = 0; i < 3; i++) {
		send(0, piece(&dg, 1, cuts[i], cuts[i + 1]));
		send(0, piece(&other, 2, cuts[i], cuts[i + 1]));
		send(2, piece(&other, 1, cuts[i], cuts[i + 1])); /* the same id from another port is another datagram */
	}
	for (i = 0; i < 3; i++)
		expect(1, &dg, 1, cuts[i], cuts[i + 1]);
	for (i = 0; i < 3; i++)
		expect(1, &other, 2, cuts[i], cuts[i + 1]);
	for (i = 0; i < 3; i++)
		expect(1, &other, 1, cuts[i], cuts[i + 1]);
	connections(2);
}

static void the_largest_datagram(void **state)
{
	uint32_t at, n = 0, v;

	(void)state;
	connect_ports(NULL);
	for (v = 0; v < 2; v++) {
		make(&dg, v, false, 1000, 2000, v ? IP_MAX : IP_MAX - 20);
		for (at = 0; at < dg.len; at += 1000, n++)
			send(0, piece(&dg, 1, at, RTE_MIN(at + 1000, dg.len)));
		assert_int_equal(taken(1), n);
		n = 0;
		connections(v + 1);
		/* Beyond: refused. */
		dg.len = 65528 + 9;
		send(0, piece(&dg, 2, 65528, 65528 + 9));
		assert_int_equal(dropped(XV_DROP_FRAG_INVALID), v + 1);
	}
}

static void repeated_ones_are_dropped_alone(void **state)
{
	(void)state;
	connect_ports(NULL);
	make(&dg, false, false, 1000, 2000, 1000);
	send(0, piece(&dg, 1, 0, 512));
	send(0, piece(&dg, 1, 0, 512));
	send(0, piece(&dg, 1, 8, 16));
	assert_int_equal(dropped(XV_DROP_FRAG_OVERLAP), 2);
	send(0, piece(&dg, 1, 512, 1000));
	assert_int_equal(taken(1), 2);
	check_ledger(0);
}

static void overlaps_are_refused_as_a_whole(void **state)
{
	static const struct {
		uint32_t from, to;
		bool longer; /* it is the last of a longer datagram */
	} bad[] = {{256, 768, false}, {0, 520, false}, {504, 512 + 8, false}, {400, 1000, false}, {8, 504, true}};
	unsigned int v, i;

	(void)state;
	connect_ports(NULL);
	for (v = 0; v < 2; v++)
		for (i = 0; i < RTE_DIM(bad); i++) {
			uint64_t before = dropped(XV_DROP_FRAG_OVERLAP);

			make(&dg, v, false, 1000, 2000, 1000);
			send(0, piece(&dg, i, 0, 512));
			dg.len = bad[i].longer ? bad[i].to : 1000;
			send(0, piece(&dg, i, bad[i].from, bad[i].to));
			dg.len = 1000;
			send(0, piece(&dg, i, 0, 512)); /* ... and whatever still comes */
			send(0, piece(&dg, i, 512, 1000));
			assert_int_equal(dropped(XV_DROP_FRAG_OVERLAP) - before, 4);
			assert_int_equal(taken(1), 0);
			assert_int_equal(ledger(0).held, 0);
		}
	/* Behind the end; an end before what is there. */
	make(&dg, false, false, 1000, 2000, 1000);
	send(0, piece(&dg, 100, 512, 1000));
	dg.len = 2000;
	send(0, piece(&dg, 100, 1000, 1008));
	assert_int_equal(ledger(0).held, 0);
	send(0, piece(&dg, 101, 1000, 1008));
	dg.len = 1000;
	send(0, piece(&dg, 101, 512, 1000));
	assert_int_equal(ledger(0).held, 0);
	connections(0);
	check_ledger(0);
}

static void headers_must_be_whole(void **state)
{
	(void)state;
	connect_ports(NULL);
	make(&dg, false, false, 1000, 2000, 1000);
	dg.bytes[L2 + 9] = 6; /* TCP: RFC 1858, RFC 3128 */
	dg.bytes[L2 + 20 + 12] = 0x60;
	send(0, piece(&dg, 1, 0, 16));
	assert_int_equal(dropped(XV_DROP_FRAG_INVALID), 1);
	send(0, piece(&dg, 1, 0, 24));
	send(0, piece(&dg, 1, 8, 1000));
	assert_int_equal(dropped(XV_DROP_FRAG_OVERLAP), 2);
	/* Not a multiple of 8 bytes, but not the last. */
	send(0, piece(&dg, 2, 0, 30));
	assert_int_equal(dropped(XV_DROP_FRAG_INVALID), 2);
	assert_int_equal(taken(1), 0);
}

static void time_runs_out(void **state)
{
	(void)state;
	connect_ports(NULL);
	make(&dg, false, false, 1000, 2000, 1000);
	send(0, piece(&dg, 1, 0, 512));
	xv_clock_warp_ms(XV_FRAGMENTS_TIMEOUT_MS - 1000);
	send(0, piece(&dg, 2, 512, 1000));
	assert_int_equal(ledger(0).held, 2);
	xv_clock_warp_ms(1001);
	run();
	assert_int_equal(ledger(0).held, 1);
	assert_int_equal(dropped(XV_DROP_FRAG_TIMEOUT), 1);
	send(0, piece(&dg, 1, 512, 1000)); /* too late: it waits for another first one */
	assert_int_equal(taken(1), 0);
	send(0, piece(&dg, 2, 0, 512)); /* in time */
	assert_int_equal(taken(1), 2);
	check_ledger(0);
	xv_clock_warp_ms(XV_FRAGMENTS_TIMEOUT_MS + 1);
	run();
	assert_int_equal(ledger(0).held, 0);
}

/* Flows go while fragments wait: those go on by the program that held them, and meet the flows that there are then. */
static void flows_go_while_fragments_wait(void **state)
{
	unsigned int v, deleted;

	(void)state;
	for (v = 0; v < 2; v++) {
		make(&dg, v, false, 1000, 2000, 1000);
		for (deleted = 0; deleted < 4; deleted++) { /* bits: the flow that held them; the next one */
			const uint32_t id = 1 + v * 4 + deleted;
			uint64_t missed = dropped(XV_DROP_NO_FLOW);
			unsigned int i;

			connect_ports(NULL);
			send(0, piece(&dg, id, 0, 512));
			assert_int_equal(ledger(0).held, 1);
			for (i = 0; i < 2; i++)
				if (deleted >> i & 1)
					xv_flow_del(flow_of(0, i * 7));
			for (i = 0; i < 1000 && xv_flows_poll(); i++)
				run();
			(void)xv_rcu_poll();
			assert_int_equal(ledger(0).held, 1);
			if (deleted & 1) { /* by a flow like it */
				struct xv_action_ct look = {.zone = ZONE};

				add_flow(0, 0, &look, XV_ACT_RECIRC, 7);
			}
			send(0, piece(&dg, id, 512, 1000));
			assert_int_equal(ledger(0).held, 0);
			check_ledger(0);
			assert_int_equal(taken(1), deleted & 2 ? 0 : 2);
			assert_int_equal(dropped(XV_DROP_NO_FLOW) - missed, deleted & 2 ? 2 : 0);
			delete_flows();
		}
	}
}

/* Who floods loses its own; others go on. */
static void bounds(void **state)
{
	uint32_t id, at;

	(void)state;
	connect_ports(NULL);
	make(&dg, false, false, 1000, 2000, 40000);
	send(2, piece(&dg, 7, 0, 1248));
	for (id = 0; id < 1000; id++)
		send(0, piece(&dg, id, 8, 16));
	assert_int_equal(ledger(0).held, XV_FRAGMENTS_PORT_DATAGRAMS);
	assert_int_equal(dropped(XV_DROP_FRAG_LIMIT), 1000 - XV_FRAGMENTS_PORT_DATAGRAMS);
	for (id = 1000; id < 1020; id++)
		for (at = 8; at < 100 * 8; at += 8)
			send(0, piece(&dg, id, at, at + 8));
	assert_true(ledger(0).held <= XV_FRAGMENTS_PORT_BUFFERS / 2);
	assert_int_equal(ledger(2).held, 1);
	/* Too many pieces of one. */
	for (at = 8; at < 8 + 8 * (XV_FRAGMENTS_PIECES + 1); at += 8)
		send(0, piece(&dg, 5000, at, at + 8));
	check_ledger(0);
	send(2, piece(&dg, 8, 0, 1248));
	for (at = 1248; at < dg.len; at += 1248)
		send(2, piece(&dg, 8, at, RTE_MIN(at + 1248, dg.len)));
	assert_int_equal(taken(1), (40000 + 1247) / 1248);
	check_ledger(2);
}

static void removed_ports_lose_theirs(void **state)
{
	(void)state;
	connect_ports(NULL);
	make(&dg, true, false, 1000, 2000, 1000);
	send(0, piece(&dg, 1, 0, 512));
	send(1, piece(&dg, 1, 0, 512));
	assert_int_equal(ledger(0).held, 1);
	assert_int_equal(xv_worker_set_queues(rig.worker, (struct xv_queue_ref[]){{rig.ports[1], 0}}, 1), 0);
	remove_port(0);
	rig.gone = true;
	assert_int_equal(dropped(XV_DROP_DETACHED), 1);
	assert_int_equal(ledger(1).held, 1); /* until teardown */
}

/* What came out of port as one datagram, checksums and all. */
static void reassemble(unsigned int port, bool ipv6, struct datagram *d)
{
	struct rte_mbuf *m;
	uint32_t header = ipv6 ? 40 : 20;

	d->ipv6 = ipv6;
	d->header = header;
	d->len = 0;
	while ((m = xv_dummy_take(rig.ports[port])) != NULL) {
		uint8_t bytes[2048];
		uint32_t len = rte_pktmbuf_pkt_len(m), at, payload = L2 + header + (ipv6 ? 8 : 0);
		const uint8_t *p = rte_pktmbuf_read(m, 0, len, bytes);

		if (p != bytes)
			memcpy(bytes, p, len);
		rte_pktmbuf_free(m);
		at = ipv6 ? (uint32_t)(bytes[payload - 6] << 8 | bytes[payload - 5]) & 0xfff8u
			  : ((uint32_t)(bytes[L2 + 6] << 8 | bytes[L2 + 7]) & 0x1fff) * 8;
		if (!ipv6)
			assert_int_equal(xv_csum_sum(bytes + L2, 20), 0xffff);
		memcpy(d->bytes, bytes, L2 + header);
		memcpy(d->bytes + L2 + header + at, bytes + payload, len - payload);
		d->len += len - payload;
	}
}

static void expect_udp(const struct datagram *d, uint16_t sport, uint16_t dport)
{
	const uint8_t *ip = d->bytes + L2, *udp = ip + d->header;
	uint16_t c = d->ipv6 ? xv_csum_pseudo6(ip + 8, ip + 24, 17, d->len) : xv_csum_pseudo4(ip + 12, ip + 16, 17, d->len);

	assert_int_equal(xv_csum_add(c, xv_csum_sum(udp, d->len)), 0xffff);
	assert_int_equal(udp[0] << 8 | udp[1], sport);
	assert_int_equal(udp[2] << 8 | udp[3], dport);
}

static void translated(void **state)
{
	struct xv_ct_nat nat = {.flags = XV_NAT_SRC, .min_port = 7777, .max_port = 7777};
	static struct datagram out;
	unsigned int i, o;

	(void)state;
	nat.min.bytes[12] = 192;
	nat.min.bytes[15] = 9;
	nat.max = nat.min;
	connect_ports(&nat);
	for (o = 0; o < RTE_DIM(orders); o++) {
		make(&dg, false, false, 1000, 2000, 1000);
		for (i = 0; i < 3; i++)
			send(0, piece(&dg, o, cuts[orders[o][i]], cuts[orders[o][i] + 1]));
		reassemble(1, false, &out);
		assert_int_equal(out.len, 1000);
		assert_memory_equal(out.bytes + L2 + 12, nat.min.bytes + 12, 4);
		expect_udp(&out, 7777, 2000);
	}
	/* Back: to whoever that was. */
	make(&dg, false, true, 2000, 7777, 1000);
	memcpy(dg.bytes + L2 + 16, nat.min.bytes + 12, 4);
	dg.bytes[L2 + 20 + 6] = dg.bytes[L2 + 20 + 7] = 0;
	i = xv_csum_finish(xv_csum_add(xv_csum_pseudo4(dg.bytes + L2 + 12, dg.bytes + L2 + 16, 17, 1000),
				       xv_csum_sum(dg.bytes + L2 + 20, 1000)));
	memcpy(dg.bytes + L2 + 20 + 6, &i, 2);
	for (i = 3; i-- > 0;)
		send(1, piece(&dg, 50, cuts[i], cuts[i + 1]));
	reassemble(0, false, &out);
	assert_int_equal(out.len, 1000);
	assert_int_equal(out.bytes[L2 + 19], 1);
	expect_udp(&out, 2000, 1000);
	connections(1);
}

static uint64_t counted(bool ipv6, enum xv_fragment_count what)
{
	return atomic_load(&xv_fragment_counts[ipv6][what]);
}

/* What OVS may set holds for its own ct actions only; a fragment that is not let in goes on at once, as invalid. */
static void rules(void **state)
{
	const struct xv_action_ct ovs = {.zone = ZONE, .flags = XV_CT_FRAGMENT_RULES}, other = {.zone = ZONE};
	const uint32_t before = atomic_load(&xv_fragment_rules.min_bytes[0]);
	uint64_t small = counted(false, XV_FRAGMENT_TOO_SMALL), accepted = counted(false, XV_FRAGMENT_ACCEPTED);
	struct xv_conntrack_stats stats;

	(void)state;
	add_flow(0, 0, &ovs, XV_ACT_OUTPUT, 1);
	add_flow(2, 0, &other, XV_ACT_OUTPUT, 1);
	make(&dg, false, false, 1000, 2000, 1000);
	atomic_store(&xv_fragment_rules.min_bytes[0], 533);
	send(0, piece(&dg, 1, 0, 512)); /* 532 bytes */
	assert_int_equal(taken(1), 1);
	assert_int_equal(counted(false, XV_FRAGMENT_TOO_SMALL) - small, 1);
	xv_conntrack_get_stats(xv_flow_conntrack, &stats);
	assert_int_equal(stats.invalid, 1);
	send(2, piece(&dg, 1, 0, 512));
	assert_int_equal(taken(1), 0);
	/* The last one may be small. */
	atomic_store(&xv_fragment_rules.min_bytes[0], 532);
	send(0, piece(&dg, 2, 0, 512));
	send(0, piece(&dg, 2, 512, 1000));
	assert_int_equal(taken(1), 2);
	assert_int_equal(counted(false, XV_FRAGMENT_ACCEPTED) - accepted, 3);
	/* One waits: there is room for no other. */
	atomic_store(&xv_fragment_rules.max, 1);
	send(0, piece(&dg, 3, 0, 512));
	assert_int_equal(taken(1), 1);
	atomic_store(&xv_fragment_rules.max, 1000);
	atomic_store(&xv_fragment_rules.enabled[0], false);
	send(0, piece(&dg, 4, 0, 512));
	assert_int_equal(taken(1), 1);
	atomic_store(&xv_fragment_rules.enabled[0], true);
	atomic_store(&xv_fragment_rules.min_bytes[0], before);
	check_ledger(0);
	check_ledger(2);
}

static void list_of_those_that_wait(void **state)
{
	struct xv_fragments *fragments = rig.worker->fragments;
	struct xv_fragments_info infos[3];
	uint32_t waiting = atomic_load(&xv_fragments_waiting);

	(void)state;
	connect_ports(NULL);
	make(&dg, false, false, 1000, 2000, 1000);
	send(0, piece(&dg, 77, 0, 512));
	make(&dg, true, false, 1000, 2000, 1000);
	send(0, piece(&dg, 78, 520, 1000));
	send(0, piece(&dg, 78, 512, 520));
	assert_int_equal(atomic_load(&xv_fragments_waiting) - waiting, 3);
	assert_int_equal(xv_fragments_list(fragments, infos, 1), 1);
	assert_int_equal(xv_fragments_list(fragments, infos, 3), 2);
	assert_int_equal(rte_be_to_cpu_16((rte_be16_t)infos[0].ip_id), 77);
	assert_int_equal(infos[0].zone, ZONE);
	assert_int_equal(infos[0].proto, 17);
	assert_true(infos[0].first && !infos[0].last && !infos[0].ipv6 && infos[0].n == 1);
	assert_int_equal(rte_be_to_cpu_32(infos[1].ip_id), 78);
	assert_true(!infos[1].first && infos[1].last && infos[1].ipv6 && infos[1].n == 2);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(all_orders),
		TEST(interleaved_datagrams),
		TEST(the_largest_datagram),
		TEST(repeated_ones_are_dropped_alone),
		TEST(overlaps_are_refused_as_a_whole),
		TEST(headers_must_be_whole),
		TEST(time_runs_out),
		TEST(flows_go_while_fragments_wait),
		TEST(bounds),
		TEST(rules),
		TEST(list_of_those_that_wait),
		TEST(removed_ports_lose_theirs),
		TEST(translated),
	};

	return cmocka_run_group_tests(tests, group_setup, NULL);
}
