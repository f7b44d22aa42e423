/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A SYN flood: port 0 sends port 1 TCP segments that open connections, each from another address and
 * port, and nobody answers. As fast as the system takes them: the ring is always full. Meanwhile it
 * sleeps, so that those who share its CPU are not the victims.
 */
#include <string.h>
#include <time.h>

#include <rte_tcp.h>

#include "load.h"

#define NAP_NS 200000 /* a ring holds more than is taken out of it in that time */

struct __rte_packed __rte_aligned(2) syn_frame
{
	struct rte_ether_hdr eth;
	struct rte_ipv4_hdr ip;
	struct rte_tcp_hdr tcp;
};

/* Checksums are whole: a system that tracks connections may look at them. */
static void syn_fill(struct syn_frame *f, const struct port *src, const struct port *dst)
{
	uint32_t random = load_random();

	memset(f, 0, sizeof(*f));
	f->eth.dst_addr = dst->mac;
	f->eth.src_addr = src->mac;
	f->eth.ether_type = RTE_BE16(RTE_ETHER_TYPE_IPV4);
	f->ip.version_ihl = RTE_IPV4_VHL_DEF;
	f->ip.total_length = RTE_BE16(sizeof(f->ip) + sizeof(f->tcp));
	f->ip.time_to_live = 64;
	f->ip.next_proto_id = IPPROTO_TCP;
	f->ip.src_addr = rte_cpu_to_be_32(FLOW_ADDR(src->index) + (random & 0xffff));
	f->ip.dst_addr = rte_cpu_to_be_32(FLOW_ADDR(dst->index));
	f->tcp.src_port = (rte_be16_t)(random >> 16);
	f->tcp.dst_port = RTE_BE16(80);
	f->tcp.sent_seq = load_random();
	f->tcp.data_off = sizeof(f->tcp) / 4 << 4;
	f->tcp.tcp_flags = RTE_TCP_SYN_FLAG;
	f->tcp.rx_win = 0xffff;
	f->tcp.cksum = rte_ipv4_udptcp_cksum(&f->ip, &f->tcp);
	f->ip.hdr_checksum = rte_ipv4_cksum(&f->ip);
}

/* A burst of new ones. */
static bool burst_make(const struct load *l, struct rte_mbuf **m)
{
	if (rte_pktmbuf_alloc_bulk(l->ports[0].pool, m, l->burst) != 0)
		return false;
	for (uint16_t i = 0; i < l->burst; i++) {
		m[i]->data_len = sizeof(struct syn_frame);
		m[i]->pkt_len = sizeof(struct syn_frame);
		syn_fill(rte_pktmbuf_mtod(m[i], struct syn_frame *), &l->ports[0], &l->ports[1]);
	}
	return true;
}

static uint64_t listen_to(const struct port *p)
{
	struct rte_mbuf *m[MAX_BURST];
	uint64_t received = 0;
	uint16_t n;

	while ((n = rte_eth_rx_burst(p->id, 0, m, MAX_BURST)) > 0) {
		rte_pktmbuf_free_bulk(m, n);
		received += n;
	}
	return received;
}

/* So that its address is known. */
static void say_hello(const struct port *from, const struct port *to)
{
	struct rte_mbuf *m = frame_create(from, to, 0, FRAME_DATA, 0, FRAME_MIN, 1);

	if (m != NULL && rte_eth_tx_burst(from->id, 0, &m, 1) == 0)
		rte_pktmbuf_free(m);
}

void flood_run(struct load *l)
{
	uint64_t t0 = rte_rdtsc(), end = t0 + (uint64_t)(l->seconds * rte_get_tsc_hz());
	struct rte_mbuf *m[MAX_BURST];
	const struct timespec nap = {.tv_nsec = NAP_NS};
	struct result *r = l->res;
	uint16_t at = 0, n = 0;

	say_hello(&l->ports[1], &l->ports[0]);
	load_ready(l, t0);
	while (rte_rdtsc() < end && !load_stop) {
		if (at == n) {
			r->sent += n;
			at = 0;
			n = burst_make(l, m) ? l->burst : 0;
		}
		at += rte_eth_tx_burst(l->ports[0].id, 0, m + at, n - at);
		if (at < n) {
			r->received += listen_to(&l->ports[1]);
			nanosleep(&nap, NULL);
		}
	}
	r->sent += at;
	rte_pktmbuf_free_bulk(m + at, n - at);
	r->received += listen_to(&l->ports[1]);
	r->seconds = (double)(rte_rdtsc() - t0) / rte_get_tsc_hz();
	r->ok = r->sent > 0;
}
