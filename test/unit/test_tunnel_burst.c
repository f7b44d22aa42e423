/* SPDX-License-Identifier: Apache-2.0 */
/* Outer headers onto bursts and, by what the packet before had, off again: the same as one by one and in full. */
#include "unit.h"

#include <string.h>

#include <rte_mbuf.h>

#include "net/packet.h"
#include "net/tunnel.h"
#include "net/tunnel_memo.h"

#define INNER 64

static struct rte_mempool *pool;
static uint64_t seed = 1;

static const struct xv_encap_params kinds[] = {
	{.type = XV_TUNNEL_VXLAN, .flags = XV_ENCAP_DF, .id = 0x123456},
	{.type = XV_TUNNEL_VXLAN, .flags = XV_ENCAP_ECN | XV_ENCAP_DSCP, .id = 1, .vlan_tpid = RTE_BE16(0x8100), .vlan_tci = 5},
	{.type = XV_TUNNEL_VXLAN, .flags = XV_ENCAP_TTL, .id = 1, .tos = 4, .ttl = 7},
	{.type = XV_TUNNEL_VXLAN, .flags = XV_ENCAP_IPV6 | XV_ENCAP_FLOW_LABEL, .id = 1},
	{.type = XV_TUNNEL_VXLAN, .flags = XV_ENCAP_CSUM, .id = 1},
	{.type = XV_TUNNEL_GENEVE, .id = 2, .udp_src = RTE_BE16(99)},
	{.type = XV_TUNNEL_GENEVE, .id = 2, .options_len = 8, .options = (const uint8_t[8]){1, 1, 2, 1, 1, 2, 3, 4}},
	{.type = XV_TUNNEL_GRE, .flags = XV_ENCAP_KEY | XV_ENCAP_SEQ, .id = 3},
	{.type = XV_TUNNEL_NVGRE, .id = 4},
	{.type = XV_TUNNEL_MPLS_UDP, .id = 500},
};

static void build(unsigned int kind, struct xv_encap *e)
{
	struct xv_encap_params p = kinds[kind];

	memcpy(p.eth_dst, "\x06\0\0\0\0\x02", 6);
	memcpy(p.eth_src, "\x02\0\0\0\0\x01", 6);
	memcpy(&p.src.words[3], "\x0a\0\0\x01", 4);
	memcpy(&p.dst.words[3], "\x0a\0\0\x02", 4);
	assert_int_equal(xv_encap_build(&p, e), 0);
}

static struct rte_mbuf *frame(uint32_t len)
{
	uint8_t bytes[2 * INNER];
	uint32_t i;

	for (i = 0; i < len; i++)
		bytes[i] = (uint8_t)unit_random(&seed, 256);
	return unit_packet(pool, bytes, len, NULL);
}

static void assert_same(const struct rte_mbuf *a, const struct rte_mbuf *b)
{
	assert_int_equal(a->pkt_len, b->pkt_len);
	assert_int_equal(a->data_len, b->data_len);
	assert_int_equal(a->data_off, b->data_off);
	assert_memory_equal(rte_pktmbuf_mtod(a, const uint8_t *), rte_pktmbuf_mtod(b, const uint8_t *), a->data_len);
}

/* One that a burst has to stop at. */
static void make_unusual(const struct xv_encap *e, struct rte_mbuf *m, unsigned int why)
{
	switch (why) {
	case 0:
		rte_mbuf_refcnt_update(m, 1);
		break;
	case 1:
		m->data_off = (uint16_t)(e->blocks * XV_ENCAP_BLOCK - 1);
		break;
	case 2:
		m->ol_flags |= XV_PACKET_OFFLOAD;
		*xv_packet_offload(m) = (struct xv_offload){.flags = XV_OFFLOAD_CSUM, .csum_start = 14, .csum_offset = 2};
		break;
	default:
		m->pkt_len = UINT16_MAX + 1u - e->ip_len;
		break;
	}
}

static void burst(void **state)
{
	struct rte_mbuf *pkts[XV_BURST], *twin[XV_BURST], *before;
	struct xv_encap_packet packets[XV_BURST];
	struct xv_encap e;
	uint16_t i, n, stop, done;
	unsigned int round;

	(void)state;
	for (round = 0; round < 40 * RTE_DIM(kinds); round++) {
		build(round % RTE_DIM(kinds), &e);
		n = (uint16_t)(1 + unit_random(&seed, XV_BURST));
		stop = (uint16_t)unit_random(&seed, 2u * n);
		for (i = 0; i < n; i++) {
			pkts[i] = frame(1 + unit_random(&seed, 2 * INNER));
			twin[i] = rte_pktmbuf_copy(pkts[i], pool, 0, UINT32_MAX);
			packets[i] = (struct xv_encap_packet){.hash = unit_random(&seed, UINT32_MAX), .seq = i,
							      .ip_id = (rte_be16_t)unit_random(&seed, 65536),
							      .tos = (uint8_t)unit_random(&seed, 256),
							      .ttl = (uint8_t)unit_random(&seed, 256)};
		}
		if (stop < n)
			make_unusual(&e, pkts[stop], unit_random(&seed, 4));
		before = stop < n ? rte_pktmbuf_alloc(pool) : NULL;
		if (before != NULL) {
			before->data_off = pkts[stop]->data_off;
			before->pkt_len = pkts[stop]->pkt_len;
			before->data_len = pkts[stop]->data_len;
			memcpy(rte_pktmbuf_mtod(before, uint8_t *), rte_pktmbuf_mtod(pkts[stop], uint8_t *), before->data_len);
		}
		done = xv_encap_push_burst(&e, pkts, packets, n);
		/* A checksum of the whole packet is nothing for a burst. */
		assert_int_equal(done, (e.kind & XV_ENCAP_CSUM) != 0 ? 0 : RTE_MIN(stop, n));
		for (i = 0; i < done; i++) {
			assert_int_equal(xv_encap_push(&e, twin[i], &packets[i]), 0);
			assert_same(pkts[i], twin[i]);
		}
		if (before != NULL) {
			assert_same(pkts[stop], before);
			before->pkt_len = before->data_len;
			pkts[stop]->pkt_len = pkts[stop]->data_len;
			rte_pktmbuf_free(before);
			rte_mbuf_refcnt_set(pkts[stop], 1);
		}
		rte_pktmbuf_free_bulk(pkts, n);
		rte_pktmbuf_free_bulk(twin, n);
	}
}

static enum xv_decap_result parse(const struct rte_mbuf *m, struct xv_flow_key *key, struct xv_decap *d)
{
	static const struct xv_decap_config config = {
		.ports = {{.port = RTE_BE16(XV_VXLAN_PORT), .type = XV_TUNNEL_VXLAN, .gbp = true}}, .n_ports = 1};

	memset(key, 0, sizeof(*key));
	return xv_decap_parse(rte_pktmbuf_mtod(m, const uint8_t *), m->data_len, m->pkt_len, &config, key, d);
}

/* One that is like what the memo is of, but for what always differs. */
static struct rte_mbuf *next(const struct xv_encap *e)
{
	const struct xv_encap_packet packet = {.hash = unit_random(&seed, UINT32_MAX),
					       .ip_id = (rte_be16_t)unit_random(&seed, 65536)};
	struct rte_mbuf *m = frame(14 + unit_random(&seed, INNER));

	assert_int_equal(xv_encap_push(e, m, &packet), 0);
	return m;
}

/* The memo takes no packet but those that are sound in full, and say the same. True: it did. */
static bool strip(const struct xv_decap_memo *memo, const struct xv_flow_key *first, struct rte_mbuf *m)
{
	const uint16_t off = m->data_off, len = m->data_len;
	const uint32_t pkt_len = m->pkt_len;
	struct xv_flow_key key;
	struct xv_decap d;
	enum xv_decap_result rc = parse(m, &key, &d);
	rte_be16_t udp_src;

	if (!xv_decap_memo_strip(memo, m, &udp_src)) {
		assert_int_equal(m->data_off, off);
		assert_int_equal(m->data_len, len);
		assert_int_equal(m->pkt_len, pkt_len);
		return false;
	}
	assert_int_equal(rc, XV_DECAP_OK);
	assert_false(d.has_csum);
	assert_int_equal(udp_src, key.tun_tp_src);
	key.tun_tp_src = first->tun_tp_src;
	assert_memory_equal(&key, first, sizeof(key));
	assert_int_equal(m->data_off, off + d.strip);
	assert_int_equal(m->data_len, len - d.strip);
	assert_int_equal(m->pkt_len, d.inner_len);
	return true;
}

static void memo(void **state)
{
	struct xv_decap_memo memo = {0};
	struct xv_flow_key first;
	struct rte_mbuf *m;
	struct xv_decap d;
	struct xv_encap e;
	unsigned int i, bit;
	uint8_t *byte;

	(void)state;
	for (i = 0; i < 3; i++) { /* others are none that a memo is of: with a VLAN tag, say */
		build(i, &e);
		m = next(&e);
		assert_int_equal(parse(m, &first, &d), XV_DECAP_OK);
		xv_decap_memo_fill(&memo, rte_pktmbuf_mtod(m, const uint8_t *), &d);
		assert_int_equal(memo.filled, i != 1);
		assert_int_equal(strip(&memo, &first, m), i != 1);
		rte_pktmbuf_free(m);
	}
	for (i = 0; i < 1000; i++) {
		m = next(&e);
		assert_true(strip(&memo, &first, m));
		rte_pktmbuf_free(m);
	}
	/* Each bit of the outer headers: none but the sender's MAC address and port may differ. */
	for (i = 0; i < XV_DECAP_MEMO_OUTER; i++) {
		for (bit = 0; bit < 8; bit++) {
			m = next(&e);
			byte = rte_pktmbuf_mtod_offset(m, uint8_t *, i);
			*byte ^= (uint8_t)(1u << bit);
			assert_int_equal(strip(&memo, &first, m), (i >= 6 && i < 12) || i == 34 || i == 35);
			rte_pktmbuf_free(m);
		}
	}
	/* Padding, a tail that is missing, a request, a buffer that others read. */
	m = next(&e);
	memset(rte_pktmbuf_append(m, 1), 0, 1);
	assert_false(strip(&memo, &first, m));
	(void)rte_pktmbuf_trim(m, 2);
	assert_false(strip(&memo, &first, m));
	rte_pktmbuf_free(m);
	m = next(&e);
	m->ol_flags |= XV_PACKET_OFFLOAD;
	assert_false(strip(&memo, &first, m));
	m->ol_flags = 0;
	rte_mbuf_refcnt_update(m, 1);
	assert_false(strip(&memo, &first, m));
	rte_mbuf_refcnt_update(m, -1);
	assert_true(strip(&memo, &first, m));
	rte_pktmbuf_free(m);
}

static int setup(void **state)
{
	int rc = unit_eal_init(state);

	if (rc == 0)
		pool = unit_pool_create("burst", 255);
	return rc;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(burst),
		cmocka_unit_test(memo),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
