/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames that a guest lends (virtio/lending.h) on their walk through a worker: sent from where they are, copied where they have to
 * wait or are kept, and in any case the guest has its buffers back, and may write to them, when the round is over. One ring, real on
 * both its sides, as a port of our own; receivers that look at what they get, or take nothing.
 */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_ip.h>
#include <rte_tcp.h>

#include "base/clock.h"
#include "fastpath/flow.h"
#include "fastpath/ledger.h"
#include "fastpath/network.h"
#include "fastpath/worker.h"
#include "net/packet_share.h"
#include "port/dummy.h"
#include "port/eal.h"
#include "table/rcu.h"
#include "vring_line.h"

#define FRAMES 8
#define LEN    9000u
#define CHUNK  9100u

enum { GUEST, KEEPER, SENDER, SLOW, PORTS };

/* Takes what it gets while it has room, and looks at it at once. */
struct sender {
	struct xv_port port;
	unsigned int room, got, lent;
	uint8_t bytes[FRAMES][LEN];
};

static struct {
	struct xv_port guest;
	struct sender sender, slow;
	struct xv_port *ports[PORTS];
	struct xv_worker *worker;
	struct xv_network *network;
	unsigned int mbufs_before;
	uint8_t sent[FRAMES][LEN]; /* by the guest */
	struct line_config config;
} rig;

/* As port/vhost.c has it. */
static uint16_t guest_rx(struct xv_port *port, uint16_t queue, struct rte_mbuf **pkts, uint16_t n)
{
	(void)port;
	(void)queue;
	return line->vq.recv(&line->vq, pkts, n);
}

static bool guest_rx_lent(struct xv_port *port, uint16_t queue)
{
	(void)port;
	(void)queue;
	return line->vq.lent;
}

static unsigned int guest_rx_return(struct xv_port *port, uint16_t queue)
{
	(void)port;
	(void)queue;
	return xv_vring_return(&line->vq);
}

static uint16_t sender_rx(struct xv_port *port, uint16_t queue, struct rte_mbuf **pkts, uint16_t n)
{
	(void)port;
	(void)queue;
	(void)pkts;
	(void)n;
	return 0;
}

static uint16_t sender_tx(struct xv_port *port, uint16_t queue, struct rte_mbuf **pkts, uint16_t n, enum xv_drop *why)
{
	struct sender *s = (struct sender *)port;
	uint16_t i;

	(void)queue;
	*why = XV_DROP_TX_FULL;
	for (i = 0; i < n && s->got < s->room; i++, s->got++) {
		const void *bytes = rte_pktmbuf_read(pkts[i], 0, pkts[i]->pkt_len, s->bytes[s->got]);

		assert_int_equal(pkts[i]->pkt_len, LEN);
		if (bytes != s->bytes[s->got])
			memcpy(s->bytes[s->got], bytes, LEN);
		s->lent += xv_packet_is_lent(pkts[i]);
		rte_pktmbuf_free(pkts[i]);
	}
	return i;
}

static void no_info(struct xv_port *port, struct xv_port_info *info)
{
	(void)port;
	(void)info;
}

static const struct xv_port_ops guest_ops = {
	.kind = XV_PORT_DUMMY, .info = no_info, .rx = guest_rx, .rx_lent = guest_rx_lent, .rx_return = guest_rx_return,
};
static const struct xv_port_ops sender_ops = {
	.kind = XV_PORT_DUMMY, .info = no_info, .rx = sender_rx, .tx = sender_tx,
};

static int group_setup(void **state)
{
	struct xv_eal_config config = {.memory_mb = 64};

	(void)state;
	xv_clock_init(0);
	xv_clock_stop();
	xv_worker_configure(&(struct xv_worker_settings){.batch = 1});
	if (xv_eal_init(&config, NULL) != 0 || xv_rcu_init() != 0 || xv_flows_init() != 0)
		return -1;
	line_pool = xv_packet_pool();
	return line_create();
}

static void port_init(struct xv_port *port, const struct xv_port_ops *ops, uint16_t id)
{
	struct xv_port_config config = {.kind = XV_PORT_DUMMY, .queues = 1};

	xv_port_init(port, ops, &config);
	port->id = id;
	atomic_store(&port->rx_queues, 1);
	atomic_store(&port->tx_queues, ops->tx != NULL);
	rig.ports[id] = port;
}

static int setup(void **state)
{
	struct xv_port_config config = {.name = "keeper", .kind = XV_PORT_DUMMY, .queues = 1};
	struct xv_queue_ref refs[PORTS];
	uint16_t i;

	(void)state;
	rig.mbufs_before = rte_mempool_avail_count(xv_packet_pool());
	memset(&rig.sender, 0, sizeof(rig.sender));
	memset(&rig.slow, 0, sizeof(rig.slow));
	port_init(&rig.guest, &guest_ops, GUEST);
	port_init(&rig.sender.port, &sender_ops, SENDER);
	port_init(&rig.slow.port, &sender_ops, SLOW);
	rig.sender.room = FRAMES;
	assert_int_equal(xv_port_create(&config, KEEPER, NULL, &rig.ports[KEEPER], NULL), 0);
	assert_int_equal(xv_worker_create("test", -1, true, &rig.worker, NULL), 0);
	assert_int_equal(xv_network_create("net", 300, 64, &rig.network), 0);
	for (i = 0; i < PORTS; i++) {
		xv_ledger_reset(i);
		refs[i] = (struct xv_queue_ref){rig.ports[i], 0};
	}
	assert_int_equal(xv_network_set_members(rig.network, rig.ports, PORTS), 0);
	assert_int_equal(xv_worker_set_queues(rig.worker, refs, PORTS), 0);
	return 0;
}

static struct xv_ledger ledger(unsigned int port)
{
	struct xv_ledger l;
	uint64_t drops = 0;
	unsigned int i;

	xv_ledger_read(rig.ports[port], &l);
	for (i = 0; i < XV_DROP_MAX; i++)
		drops += l.drops[i];
	assert_int_equal(l.rx_packets + l.copies, l.forwarded + l.punts + drops + l.held);
	return l;
}

static int teardown(void **state)
{
	struct xv_worker_stats stats;
	unsigned int i;

	(void)state;
	xv_worker_get_stats(rig.worker, &stats);
	assert_int_equal(stats.overdue, 0);
	assert_int_equal(xv_worker_set_queues(rig.worker, NULL, 0), 0);
	for (i = 0; i < PORTS; i++) {
		xv_port_bind(rig.ports[i], NULL);
		xv_workers_forget_port(rig.ports[i]);
		(void)ledger(i);
	}
	xv_rcu_synchronize();
	(void)xv_rcu_poll();
	xv_port_destroy(rig.ports[KEEPER]);
	xv_network_destroy(rig.network);
	xv_worker_destroy(rig.worker);
	assert_int_equal(rte_mempool_avail_count(xv_packet_pool()), rig.mbufs_before);
	return 0;
}

static void wire(unsigned int to)
{
	struct xv_binding *b = calloc(1, sizeof(*b)), *back = calloc(1, sizeof(*back));

	b->forward = back->forward = XV_FORWARD_WIRE;
	b->peer = rig.ports[to];
	back->peer = rig.ports[GUEST];
	xv_port_bind(rig.ports[GUEST], b);
	xv_port_bind(rig.ports[to], back);
}

static void join(unsigned int port)
{
	struct xv_binding *b = calloc(1, sizeof(*b));

	b->forward = XV_FORWARD_NETWORK;
	b->network = rig.network;
	xv_port_bind(rig.ports[port], b);
}

static void open_ring(const struct line_config *c)
{
	line_open(c, c->size + c->features, CHUNK);
	line->lends = true;
	line_start();
	line->lends = false;
}

/* The guest sends n frames to whoever is there, each in some pieces. */
static void guest_sends(unsigned int n, const struct virtio_net_hdr_mrg_rxbuf *hdr)
{
	static const uint8_t macs[12] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1};
	unsigned int i;

	for (i = 0; i < n; i++) {
		struct line_buffer *b = &line->buffer[line->oldest];

		assert_true(line_post_frame_as(hdr, LEN, 1 + i % 3, GUEST_DIRECT));
		guest_write(&line->guest, b->seg, b->n, line->hdr_len, macs, sizeof(macs));
		guest_read(&line->guest, b->seg, b->n, line->hdr_len, rig.sent[i], LEN);
	}
	guest_ring_publish(&line->ring);
}

/* One round; after it the guest has all of its buffers, and uses them for something else. */
static void round_trip(unsigned int n)
{
	uint32_t cookie, len, i, at;

	(void)xv_worker_run_once(rig.worker);
	for (i = 0; i < n; i++) {
		assert_true(guest_ring_reap(&line->ring, &cookie, &len));
		line->buffer[cookie].posted = false;
		for (at = 0; at < CHUNK; at++)
			*guest_at(&line->guest, line->buffer[cookie].gpa + at) ^= 0x5a;
	}
	assert_false(guest_ring_reap(&line->ring, &cookie, &len));
}

static const struct virtio_net_hdr_mrg_rxbuf plain;

static void check_sender(const struct sender *s, unsigned int n)
{
	unsigned int i;

	assert_int_equal(s->got, n);
	for (i = 0; i < n; i++)
		assert_memory_equal(s->bytes[i], rig.sent[i], LEN);
}

static void check_keeper(unsigned int n)
{
	static uint8_t copy[LEN];
	struct rte_mbuf *m;
	unsigned int i;

	for (i = 0; i < n; i++) {
		m = xv_dummy_take(rig.ports[KEEPER]);
		assert_non_null(m);
		assert_false(xv_packet_is_lent(m));
		assert_int_equal(m->pkt_len, LEN);
		assert_memory_equal(rte_pktmbuf_read(m, 0, LEN, copy), rig.sent[i], LEN);
		rte_pktmbuf_free(m);
	}
	assert_null(xv_dummy_take(rig.ports[KEEPER]));
}

static void for_each_ring(void (*fn)(void))
{
	static const uint64_t features[] = {V1 | MRG | HOST_OFFLOADS, V1 | MRG | ORDER | HOST_OFFLOADS};
	unsigned int i;

	for (i = 0; i < 4; i++) {
		rig.config = (struct line_config){.packed = i % 2, .size = 64, .features = features[i / 2]};
		open_ring(&rig.config);
		rig.sender.got = rig.sender.lent = rig.slow.got = rig.slow.lent = 0;
		fn();
	}
}

/* To another guest: from where they are. */
static void sent_at_once(void)
{
	wire(SENDER);
	guest_sends(FRAMES, &plain);
	round_trip(FRAMES);
	check_sender(&rig.sender, FRAMES);
	assert_int_equal(rig.sender.lent, FRAMES);
}

static void frames_are_sent_from_where_they_are(void **state)
{
	for_each_ring(sent_at_once);
	assert_int_equal(ledger(GUEST).forwarded, 4 * FRAMES);
}

/* To one that has room for three: the others wait, with bytes of their own. */
static void waits(void)
{
	wire(SLOW);
	rig.slow.room = 3;
	guest_sends(FRAMES, &plain);
	round_trip(FRAMES);
	assert_int_equal(rig.slow.got, 3);
	assert_int_equal(ledger(GUEST).held, FRAMES - 3);
	rig.slow.room = FRAMES;
	(void)xv_worker_run_once(rig.worker);
	check_sender(&rig.slow, FRAMES);
	assert_int_equal(rig.slow.lent, 3);
}

static void what_waits_is_copied(void **state)
{
	for_each_ring(waits);
	assert_int_equal(ledger(GUEST).forwarded, 4 * FRAMES);
}

static void kept(void)
{
	wire(KEEPER);
	guest_sends(FRAMES, &plain);
	round_trip(FRAMES);
	check_keeper(FRAMES);
}

static void what_is_kept_is_copied(void **state)
{
	for_each_ring(kept);
}

/* To all of them at once. */
static void flooded(void)
{
	unsigned int i;

	for (i = 0; i < PORTS; i++)
		join(i);
	rig.slow.room = 2;
	guest_sends(FRAMES, &plain);
	round_trip(FRAMES);
	check_sender(&rig.sender, FRAMES);
	assert_int_equal(rig.sender.lent, FRAMES);
	check_keeper(FRAMES);
	rig.slow.room = FRAMES;
	(void)xv_worker_run_once(rig.worker);
	check_sender(&rig.slow, FRAMES);
}

static void copies_share_what_is_lent(void **state)
{
	for_each_ring(flooded);
	assert_int_equal(ledger(GUEST).copies, 4 * 2 * FRAMES);
}

/* Without memory for a copy they are dropped, and each counted. */
static void starved(void)
{
	static struct rte_mbuf *hoard[65536];
	unsigned int n = rte_mempool_avail_count(xv_packet_pool()), i;
	unsigned int dropped = (unsigned int)ledger(GUEST).drops[XV_DROP_NO_BUFFER];

	wire(SLOW);
	rig.slow.room = 0;
	guest_sends(FRAMES, &plain);
	/* Enough to receive them, and for one copy. */
	n -= FRAMES * 4 + 6;
	for (i = 0; i < n; i++) /* also those in the cache */
		assert_int_equal(rte_mempool_get(xv_packet_pool(), (void **)&hoard[i]), 0);
	round_trip(FRAMES);
	rte_mempool_put_bulk(xv_packet_pool(), (void **)hoard, n);
	dropped = (unsigned int)ledger(GUEST).drops[XV_DROP_NO_BUFFER] - dropped;
	assert_in_range(dropped, 1, FRAMES - 1);
	assert_int_equal(ledger(GUEST).held, FRAMES - dropped);
	rig.slow.room = FRAMES;
	(void)xv_worker_run_once(rig.worker);
	assert_int_equal(rig.slow.got, FRAMES - dropped);
	assert_int_equal(ledger(GUEST).held, 0);
}

static void without_memory_they_are_dropped(void **state)
{
	for_each_ring(starved);
}

/* A segmentation request that the output does not take: segments are cut out of the guest's memory. */
static void segmented(void)
{
	const struct virtio_net_hdr_mrg_rxbuf hdr = {.hdr = {.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
							     .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
							     .gso_size = 1000,
							     .csum_start = 34,
							     .csum_offset = 16}};
	struct line_buffer *b = &line->buffer[line->oldest];
	struct rte_ipv4_hdr ip = {.version_ihl = 0x45, .time_to_live = 64, .next_proto_id = IPPROTO_TCP};
	struct rte_tcp_hdr tcp = {.data_off = 0x50, .tcp_flags = RTE_TCP_ACK_FLAG};
	const uint8_t type[2] = {8, 0};
	struct rte_mbuf *m;
	unsigned int at, n;

	wire(KEEPER);
	assert_true(line_post_frame_as(&hdr, LEN, 1, GUEST_DIRECT));
	ip.total_length = rte_cpu_to_be_16(LEN - 14);
	guest_write(&line->guest, b->seg, b->n, line->hdr_len + 12, type, sizeof(type));
	guest_write(&line->guest, b->seg, b->n, line->hdr_len + 14, &ip, sizeof(ip));
	guest_write(&line->guest, b->seg, b->n, line->hdr_len + 34, &tcp, sizeof(tcp));
	guest_read(&line->guest, b->seg, b->n, line->hdr_len, rig.sent[0], LEN);
	guest_ring_publish(&line->ring);
	round_trip(1);
	for (at = 54; at < LEN; at += n) {
		m = xv_dummy_take(rig.ports[KEEPER]);
		assert_non_null(m);
		assert_false(xv_packet_is_lent(m));
		n = RTE_MIN(1000u, LEN - at);
		assert_int_equal(m->pkt_len, 54 + n);
		assert_memory_equal(rte_pktmbuf_mtod_offset(m, uint8_t *, 54), &rig.sent[0][at], n);
		rte_pktmbuf_free(m);
	}
	assert_null(xv_dummy_take(rig.ports[KEEPER]));
}

static void segments_are_cut_from_where_they_are(void **state)
{
	for_each_ring(segmented);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(frames_are_sent_from_where_they_are), TEST(what_waits_is_copied),
		TEST(what_is_kept_is_copied),		   TEST(copies_share_what_is_lent),
		TEST(without_memory_they_are_dropped),	   TEST(segments_are_cut_from_where_they_are),
	};

	return cmocka_run_group_tests(tests, group_setup, line_teardown);
}
