/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Headers put on and taken off, byte by byte against hand-made frames; and at random, where key and layout that were
 * kept must be those that extraction finds.
 */
#include "unit.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include <rte_mbuf.h>

#include "net/packet.h"
#include "net/push_pop.h"

#define POOL_SIZE 63

static struct rte_mempool *pool;
static uint64_t seed = 1;

#define MACS "020000000001 020000000002 "
#define IP4 "45000014 00010000 40636682 0a000001 0a000002 "
#define UDP4 "4500001c 00010000 4011 66cc 0a000001 0a000002 0001 0002 0008 0000 "

static struct rte_mbuf *packet(const char *hex, uint32_t packet_type, struct xv_flow_key *key,
			       struct xv_flow_layout *layout)
{
	uint8_t bytes[256];
	uint16_t n = (uint16_t)unit_hex(hex, bytes, sizeof(bytes));

	memset(key, 0, sizeof(*key));
	key->packet_type = rte_cpu_to_be_32(packet_type);
	xv_flow_extract(bytes, n, n, key, layout);
	return unit_packet(pool, bytes, n, NULL);
}

static void assert_bytes(const struct rte_mbuf *m, const char *hex)
{
	uint8_t bytes[256];
	unsigned int n = unit_hex(hex, bytes, sizeof(bytes));

	rte_mbuf_sanity_check(m, 1);
	assert_int_equal(m->pkt_len, n);
	assert_int_equal(m->data_len, n);
	assert_memory_equal(rte_pktmbuf_mtod(m, const void *), bytes, n);
}

static void assert_extracted(const struct rte_mbuf *m, const struct xv_flow_key *key,
			     const struct xv_flow_layout *layout)
{
	struct xv_flow_layout layout_now;
	struct xv_flow_key now = *key;

	xv_flow_extract(rte_pktmbuf_mtod(m, const uint8_t *), m->data_len, m->pkt_len, &now, &layout_now);
	assert_memory_equal(&now, key, sizeof(now));
	assert_memory_equal(&layout_now, layout, sizeof(layout_now));
}

struct run {
	struct rte_mbuf *m;
	struct xv_flow_key key;
	struct xv_flow_layout layout;
};

/* The result of a push or pop, and what the packet has become. */
static void expect(struct run *r, int rc, int want, const char *hex, uint32_t packet_type)
{
	assert_int_equal(rc, want);
	assert_bytes(r->m, hex);
	assert_int_equal(rte_be_to_cpu_32(r->key.packet_type), packet_type);
	if (rc == XV_PUSH_POP_EXTRACT)
		xv_flow_extract(rte_pktmbuf_mtod(r->m, const uint8_t *), r->m->data_len, r->m->pkt_len, &r->key,
				&r->layout);
	assert_extracted(r->m, &r->key, &r->layout);
}

#define VLAN_PUSH(tpid, tci) xv_vlan_push(r.m, &r.key, &r.layout, RTE_BE16(tpid), RTE_BE16(tci))
#define VLAN_POP() xv_vlan_pop(r.m, &r.key, &r.layout)
#define MPLS_PUSH(lse, type, before_l2) xv_mpls_push(r.m, &r.key, &r.layout, RTE_BE32(lse), RTE_BE16(type), before_l2)
#define MPLS_POP(type) xv_mpls_pop(r.m, &r.key, &r.layout, RTE_BE16(type))
#define NSH_POP() xv_nsh_pop(r.m, &r.key, &r.layout)
#define ETH_PUSH() xv_eth_push(r.m, &r.key, &r.layout, (const uint8_t[]){2, 0, 0, 0, 0, 1}, \
			       (const uint8_t[]){2, 0, 0, 0, 0, 2})
#define ETH_POP() xv_eth_pop(r.m, &r.key, &r.layout)

static void vlan(void **state)
{
	struct run r;

	r.m = packet(MACS "0800" UDP4, 0, &r.key, &r.layout);
	expect(&r, VLAN_POP(), -ENOENT, MACS "0800" UDP4, 0);
	expect(&r, VLAN_PUSH(0x8200, 1), -EINVAL, MACS "0800" UDP4, 0);
	expect(&r, VLAN_PUSH(0x8100, 0x7064), 0, MACS "8100 6064 0800" UDP4, 0);
	expect(&r, VLAN_PUSH(0x88a8, 0x0005), 0, MACS "88a8 0005 8100 6064 0800" UDP4, 0);
	expect(&r, VLAN_PUSH(0x8100, 0x0006), XV_PUSH_POP_EXTRACT, MACS "8100 0006 88a8 0005 8100 6064 0800" UDP4, 0);
	expect(&r, VLAN_POP(), XV_PUSH_POP_EXTRACT, MACS "88a8 0005 8100 6064 0800" UDP4, 0);
	expect(&r, VLAN_POP(), 0, MACS "8100 6064 0800" UDP4, 0);
	expect(&r, VLAN_POP(), 0, MACS "0800" UDP4, 0);
	rte_pktmbuf_free(r.m);

	r.m = packet("45000014 00010000 40636682 0a000001 0a000002", 0x10800, &r.key, &r.layout);
	assert_int_equal(VLAN_PUSH(0x8100, 1), -EINVAL);
	assert_int_equal(VLAN_POP(), -ENOENT);
	rte_pktmbuf_free(r.m);
}

static void mpls(void **state)
{
	struct run r;

	r.m = packet(MACS "8100 0064 0800" UDP4, 0, &r.key, &r.layout);
	expect(&r, MPLS_POP(0x0800), -ENOENT, MACS "8100 0064 0800" UDP4, 0);
	expect(&r, MPLS_PUSH(0x00064140, 0x0800, false), -EINVAL, MACS "8100 0064 0800" UDP4, 0);
	expect(&r, MPLS_PUSH(0x00064140, 0x8847, false), 0, MACS "8100 0064 8847 00064140" UDP4, 0);
	expect(&r, MPLS_PUSH(0x000c8040, 0x8848, false), 0, MACS "8100 0064 8848 000c8040 00064140" UDP4, 0);
	expect(&r, MPLS_PUSH(0x000d8040, 0x8847, false), 0, MACS "8100 0064 8847 000d8040 000c8040 00064140" UDP4, 0);
	expect(&r, MPLS_PUSH(0x000e8040, 0x8847, false), 0,
	       MACS "8100 0064 8847 000e8040 000d8040 000c8040 00064140" UDP4, 0);
	expect(&r, MPLS_POP(0x8847), XV_PUSH_POP_EXTRACT, MACS "8100 0064 8847 000d8040 000c8040 00064140" UDP4, 0);
	expect(&r, MPLS_POP(0x8847), XV_PUSH_POP_EXTRACT, MACS "8100 0064 8847 000c8040 00064140" UDP4, 0);
	expect(&r, MPLS_POP(0x8848), 0, MACS "8100 0064 8848 00064140" UDP4, 0);
	expect(&r, MPLS_POP(0x0800), XV_PUSH_POP_EXTRACT, MACS "8100 0064 0800" UDP4, 0);
	/* Bottom-of-stack bits as given, even where they lie. */
	expect(&r, MPLS_PUSH(0x00064040, 0x8847, false), XV_PUSH_POP_EXTRACT, MACS "8100 0064 8847 00064040" UDP4, 0);
	expect(&r, MPLS_PUSH(0x000c8140, 0x8847, false), XV_PUSH_POP_EXTRACT,
	       MACS "8100 0064 8847 000c8140 00064040" UDP4, 0);
	rte_pktmbuf_free(r.m);

	r.m = packet(MACS "0004 42420300", 0, &r.key, &r.layout);
	expect(&r, MPLS_PUSH(0x00064140, 0x8847, false), -EINVAL, MACS "0004 42420300", 0);
	rte_pktmbuf_free(r.m);

	/* Before Ethernet, and off again. */
	r.m = packet(MACS "0800" UDP4, 0, &r.key, &r.layout);
	expect(&r, MPLS_PUSH(0x00064140, 0x8847, true), 0, "00064140" MACS "0800" UDP4, 0x18847);
	expect(&r, MPLS_PUSH(0x000c8040, 0x8847, true), 0, "000c8040 00064140" MACS "0800" UDP4, 0x18847);
	expect(&r, ETH_PUSH(), 0, MACS "8847 000c8040 00064140" MACS "0800" UDP4, 0);
	expect(&r, ETH_POP(), 0, "000c8040 00064140" MACS "0800" UDP4, 0x18847);
	expect(&r, MPLS_POP(0x8847), 0, "00064140" MACS "0800" UDP4, 0x18847);
	expect(&r, MPLS_POP(0x6558), XV_PUSH_POP_EXTRACT, MACS "0800" UDP4, 0);
	rte_pktmbuf_free(r.m);

	/* Without Ethernet. */
	r.m = packet(IP4, 0x10800, &r.key, &r.layout);
	expect(&r, MPLS_PUSH(0x00064140, 0x8847, false), 0, "00064140" IP4, 0x18847);
	expect(&r, MPLS_POP(0x0800), XV_PUSH_POP_EXTRACT, IP4, 0x10800);
	rte_pktmbuf_free(r.m);

	/* A frame that has labels gets another stack in front. */
	r.m = packet(MACS "8847 00064140" IP4, 0, &r.key, &r.layout);
	expect(&r, MPLS_PUSH(0x000c8140, 0x8847, true), 0, "000c8140" MACS "8847 00064140" IP4, 0x18847);
	rte_pktmbuf_free(r.m);
}

static void nsh(void **state)
{
	static const uint8_t md2[8] = {1, 2, 3, 4, 5, 6, 7, 8};
	struct xv_nsh h = {
		.flags = 2,
		.ttl = 63,
		.mdtype = 1,
		.path_hdr = RTE_BE32(0x00000aff),
		.context = {RTE_BE32(1), RTE_BE32(2), RTE_BE32(3), RTE_BE32(4)},
	};
	struct run r;

	r.m = packet(MACS "0800" UDP4, 0, &r.key, &r.layout);
	expect(&r, NSH_POP(), -ENOENT, MACS "0800" UDP4, 0);
	expect(&r, xv_nsh_push(r.m, &r.key, &r.layout, &h), 0,
	       "2fc60103 00000aff 00000001 00000002 00000003 00000004" MACS "0800" UDP4, 0x1894f);
	h = (struct xv_nsh){.ttl = 1, .mdtype = 2, .path_hdr = RTE_BE32(0x00000bff), .md2 = md2, .md2_len = 8};
	expect(&r, xv_nsh_push(r.m, &r.key, &r.layout, &h), 0,
	       "00440204 00000bff 0102030405060708 2fc60103 00000aff 00000001 00000002 00000003 00000004" MACS
	       "0800" UDP4,
	       0x1894f);
	expect(&r, NSH_POP(), XV_PUSH_POP_EXTRACT,
	       "2fc60103 00000aff 00000001 00000002 00000003 00000004" MACS "0800" UDP4, 0x1894f);
	expect(&r, ETH_PUSH(), 0,
	       MACS "894f 2fc60103 00000aff 00000001 00000002 00000003 00000004" MACS "0800" UDP4, 0);
	expect(&r, NSH_POP(), -ENOENT,
	       MACS "894f 2fc60103 00000aff 00000001 00000002 00000003 00000004" MACS "0800" UDP4, 0);
	expect(&r, ETH_POP(), 0, "2fc60103 00000aff 00000001 00000002 00000003 00000004" MACS "0800" UDP4, 0x1894f);
	expect(&r, NSH_POP(), XV_PUSH_POP_EXTRACT, MACS "0800" UDP4, 0);

	h.md2_len = 7;
	expect(&r, xv_nsh_push(r.m, &r.key, &r.layout, &h), -EINVAL, MACS "0800" UDP4, 0);
	h.mdtype = 3;
	expect(&r, xv_nsh_push(r.m, &r.key, &r.layout, &h), -EINVAL, MACS "0800" UDP4, 0);
	rte_pktmbuf_free(r.m);

	r.m = packet(IP4, 0x10800, &r.key, &r.layout);
	h = (struct xv_nsh){.mdtype = 2};
	expect(&r, xv_nsh_push(r.m, &r.key, &r.layout, &h), 0, "00020201 00000000" IP4, 0x1894f);
	expect(&r, NSH_POP(), XV_PUSH_POP_EXTRACT, IP4, 0x10800);
	rte_pktmbuf_free(r.m);

	/* Cut off, of another version, of unknown content. */
	r.m = packet("00060101 00000000" IP4, 0x1894f, &r.key, &r.layout);
	assert_int_equal(xv_nsh_pop(r.m, &r.key, &r.layout), XV_PUSH_POP_EXTRACT);
	rte_pktmbuf_free(r.m);
	r.m = packet("00060101 00000000 0000", 0x1894f, &r.key, &r.layout);
	assert_int_equal(NSH_POP(), -ENOENT);
	rte_pktmbuf_free(r.m);
	r.m = packet("40020201 00000000" IP4, 0x1894f, &r.key, &r.layout);
	assert_int_equal(NSH_POP(), -ENOENT);
	rte_pktmbuf_free(r.m);
	r.m = packet("00020209 00000000" IP4, 0x1894f, &r.key, &r.layout);
	assert_int_equal(NSH_POP(), -ENOENT);
	rte_pktmbuf_free(r.m);
	r.m = packet("00010201 00000000" IP4, 0x1894f, &r.key, &r.layout);
	assert_int_equal(NSH_POP(), -ENOENT);
	rte_pktmbuf_free(r.m);
}

static void eth(void **state)
{
	struct run r;

	r.m = packet(MACS "8100 0064 0800" UDP4, 0, &r.key, &r.layout);
	expect(&r, ETH_PUSH(), -EINVAL, MACS "8100 0064 0800" UDP4, 0);
	expect(&r, ETH_POP(), 0, UDP4, 0x10800);
	expect(&r, ETH_POP(), -ENOENT, UDP4, 0x10800);
	expect(&r, ETH_PUSH(), 0, MACS "0800" UDP4, 0);
	rte_pktmbuf_free(r.m);

	r.m = packet(MACS "0004 42420300", 0, &r.key, &r.layout);
	expect(&r, ETH_POP(), -EINVAL, MACS "0004 42420300", 0);
	rte_pktmbuf_free(r.m);

	r.m = packet("0102030405", 0, &r.key, &r.layout);
	assert_int_equal(ETH_POP(), -ENOENT);
	assert_int_equal(VLAN_PUSH(0x8100, 1), -EINVAL);
	assert_int_equal(MPLS_PUSH(0x100, 0x8847, false), -EINVAL);
	rte_pktmbuf_free(r.m);
}

/* The start of the checksum goes with the bytes. */
static void offload_request(void **state)
{
	struct xv_offload *req;
	struct run r;

	r.m = packet(MACS "0800" UDP4, 0, &r.key, &r.layout);
	req = xv_packet_offload(r.m);
	*req = (struct xv_offload){.flags = XV_OFFLOAD_CSUM, .csum_start = 34, .csum_offset = 6};
	r.m->ol_flags |= XV_PACKET_OFFLOAD;
	assert_int_equal(VLAN_PUSH(0x8100, 1), 0);
	assert_int_equal(req->csum_start, 38);
	assert_int_equal(r.layout.l4, 38);
	assert_int_equal(VLAN_POP(), 0);
	assert_int_equal(req->csum_start, 34);
	assert_int_equal(MPLS_PUSH(0x100, 0x8847, false), 0);
	assert_int_equal(req->csum_start, 38);
	assert_int_equal(MPLS_POP(0x0800), XV_PUSH_POP_EXTRACT);
	assert_int_equal(ETH_POP(), 0);
	assert_int_equal(req->csum_start, 20);
	req->csum_start = 65530;
	assert_int_equal(ETH_PUSH(), -EPROTO);
	req->csum_start = 20;
	assert_int_equal(ETH_PUSH(), 0);
	assert_int_equal(req->csum_start, 34);
	req->csum_start = 13;
	assert_int_equal(ETH_POP(), -EPROTO);
	assert_int_equal(req->csum_start, 13);
	/* Nothing to be finished: the field means nothing. */
	req->flags = 0;
	req->csum_start = 3;
	assert_int_equal(ETH_POP(), 0);
	assert_int_equal(req->csum_start, 3);
	rte_pktmbuf_free(r.m);
}

static void headroom(void **state)
{
	unsigned int n = 0;
	struct run r;

	r.m = packet(MACS "0800" UDP4, 0, &r.key, &r.layout);
	while (MPLS_PUSH(n == 0 ? 0x100 : 0, 0x8847, false) == 0)
		n++;
	assert_int_equal(n, RTE_PKTMBUF_HEADROOM / 4);
	assert_int_equal(MPLS_PUSH(0, 0x8847, false), -ENOBUFS);
	assert_int_equal(VLAN_PUSH(0x8100, 1), -ENOBUFS);
	assert_int_equal(r.m->pkt_len, 42 + RTE_PKTMBUF_HEADROOM);
	assert_extracted(r.m, &r.key, &r.layout);
	rte_pktmbuf_free(r.m);
}

static int step(struct run *r)
{
	struct xv_nsh h = {.flags = 1, .ttl = 9, .mdtype = (uint8_t)(1 + unit_random(&seed, 2)), .path_hdr = 77};
	rte_be32_t lse = rte_cpu_to_be_32(unit_random(&seed, UINT32_MAX));
	rte_be16_t mpls_type = unit_random(&seed, 2) ? RTE_BE16(0x8847) : RTE_BE16(0x8848);
	static const uint16_t types[] = {0x0800, 0x86dd, 0x8847, 0x6558, 0x894f, 0x8100, 0x1234, 0x0100};
	struct rte_mbuf *m = r->m;

	switch (unit_random(&seed, 9)) {
	case 0:
		return xv_vlan_push(m, &r->key, &r->layout, unit_random(&seed, 2) ? RTE_BE16(0x8100) : RTE_BE16(0x88a8),
				    (rte_be16_t)unit_random(&seed, 0x10000));
	case 1:
		return xv_vlan_pop(m, &r->key, &r->layout);
	case 2:
		return xv_mpls_push(m, &r->key, &r->layout, lse, mpls_type, false);
	case 3:
		return xv_mpls_push(m, &r->key, &r->layout, lse, mpls_type, true);
	case 4:
		return xv_mpls_pop(m, &r->key, &r->layout,
				   rte_cpu_to_be_16(types[unit_random(&seed, RTE_DIM(types))]));
	case 5:
		return xv_nsh_push(m, &r->key, &r->layout, &h);
	case 6:
		return xv_nsh_pop(m, &r->key, &r->layout);
	case 7:
		return xv_eth_push(m, &r->key, &r->layout, (const uint8_t *)"abcdef", (const uint8_t *)"ghijkl");
	default:
		return xv_eth_pop(m, &r->key, &r->layout);
	}
}

static void random_steps(void **state)
{
	static const char *const frames[] = {
		MACS "0800" UDP4,
		MACS "8100 0064 88a8 0001 0800" UDP4,
		MACS "8847 00064040 00064040 00064140" IP4,
		MACS "894f 0fc60103 00000aff 00000001 00000002 00000003 00000004" MACS "0800" UDP4,
		MACS "0008 aaaa03000000 0800" IP4,
		MACS "0806 0001 0800 0604 0001 020000000002 0a000001 000000000000 0a000002",
		MACS "8100 0064 8100",
		MACS "8100",
		MACS "86dd 60000000 0000 3b 40 20010000000000000000000000000001 20010000000000000000000000000002 0000",
	};
	unsigned int i, j, kept = 0, again = 0;
	struct run r, before;
	uint8_t bytes[512];
	int rc;

	for (i = 0; i < 30000; i++) {
		r.m = packet(frames[unit_random(&seed, RTE_DIM(frames))], 0, &r.key, &r.layout);
		for (j = 0; j < 12; j++) {
			before = r;
			memcpy(bytes, rte_pktmbuf_mtod(r.m, void *), r.m->data_len);
			rc = step(&r);
			rte_mbuf_sanity_check(r.m, 1);
			assert_int_equal(r.m->data_len, r.m->pkt_len);
			if (rc < 0) {
				assert_memory_equal(&r, &before, sizeof(r));
				assert_memory_equal(bytes, rte_pktmbuf_mtod(r.m, void *), r.m->data_len);
				continue;
			}
			if (rc == XV_PUSH_POP_EXTRACT) {
				xv_flow_extract(rte_pktmbuf_mtod(r.m, void *), r.m->data_len, r.m->pkt_len, &r.key,
						&r.layout);
				again++;
			} else {
				assert_int_equal(rc, 0);
				assert_extracted(r.m, &r.key, &r.layout);
				kept++;
			}
		}
		rte_pktmbuf_free(r.m);
	}
	assert_true(kept > again && again > 1000);
	assert_int_equal(rte_mempool_avail_count(pool), POOL_SIZE);
}

static int setup(void **state)
{
	if (unit_eal_init(state) != 0)
		return -1;
	pool = unit_pool_create("push_pop", POOL_SIZE);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(vlan),
		cmocka_unit_test(mpls),
		cmocka_unit_test(nsh),
		cmocka_unit_test(eth),
		cmocka_unit_test(offload_request),
		cmocka_unit_test(headroom),
		cmocka_unit_test(random_steps),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
