/* SPDX-License-Identifier: Apache-2.0 */
/*
 * xv_edit_apply(), and pushes and pops. Input: struct input, then the frame. The first segment is a heap buffer that
 * ends where the segment ends, so that a step beyond is seen; its layout is that of extraction, or (how) made up.
 */
#include "fuzz.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include <rte_mbuf.h>

#include "net/edit.h"
#include "net/packet.h"
#include "net/packet_share.h"
#include "net/push_pop.h"

struct input {
	struct xv_offload req;
	uint16_t packet_type; /* 0: Ethernet */
	uint16_t cut;	      /* length of the first segment; 0: all */
	uint8_t how;	      /* bit 0: with a request; 1: a layout that is not the packet's; 2: shared */
	uint8_t steps[5];     /* 0: edit; then as in step(); 255: none */
	uint64_t seed;	      /* of what is set */
};

#define FRAME_MAX 4096

static struct rte_mempool *pool;
static uint64_t rand_state;

static struct rte_mbuf *external_mbuf(const uint8_t *bytes, uint16_t len)
{
	return fuzz_mbuf_exact(pool, bytes, len, RTE_PKTMBUF_HEADROOM, 0);
}

static uint32_t roll(uint32_t n)
{
	uint64_t z = (rand_state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return (uint32_t)((z ^ z >> 31) >> 32) % n;
}

/* False if there is no packet to speak of. */
static bool extract(struct rte_mbuf *m, struct xv_flow_key *key, struct xv_flow_layout *layout)
{
	return xv_flow_extract(rte_pktmbuf_mtod(m, const uint8_t *), m->data_len, m->pkt_len, key, layout) !=
	       XV_FLOW_RUNT;
}

static void edit(struct rte_mbuf *m, const struct xv_flow_layout *layout, const struct xv_flow_key *from, bool sound)
{
	struct xv_flow_key to = *from;
	uint8_t *packet = (uint8_t *)&to + XV_FLOW_STAGE_L2 * 8;
	uint32_t i, n = roll(12), len = (XV_FLOW_FIXED_WORDS - XV_FLOW_STAGE_L2) * 8;
	int rc;

	for (i = 0; i < n; i++)
		packet[roll(len)] = (uint8_t)roll(256);
	if (roll(4) == 0)
		to.ip_ttl = (uint8_t)(from->ip_ttl - 1);
	rc = xv_edit_apply(m, layout, from, &to);
	FUZZ_CHECK(rc == 0 || (rc == -EINVAL && !sound));
}

static int step(struct rte_mbuf *m, struct xv_flow_key *key, struct xv_flow_layout *layout, uint8_t which)
{
	static const uint8_t macs[12] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2};
	static const rte_be16_t types[] = {RTE_BE16(0x8847), RTE_BE16(0x8848), RTE_BE16(0x0800), RTE_BE16(0x86dd),
					   RTE_BE16(0x6558), RTE_BE16(0x894f), RTE_BE16(0x8100), RTE_BE16(0x88a8)};
	rte_be16_t type = types[roll(RTE_DIM(types))];
	struct xv_nsh nsh = {.flags = 1, .ttl = 5, .mdtype = (uint8_t)(1 + roll(2)), .path_hdr = 1};

	switch (which % 8) {
	case 0:
		return xv_vlan_push(m, key, layout, type, (rte_be16_t)roll(65536));
	case 1:
		return xv_vlan_pop(m, key, layout);
	case 2:
		return xv_mpls_push(m, key, layout, roll(UINT32_MAX), type, roll(4) == 0);
	case 3:
		return xv_mpls_pop(m, key, layout, type);
	case 4:
		if (nsh.mdtype == 2) {
			nsh.md2 = macs;
			nsh.md2_len = (uint8_t)roll(13);
		}
		return xv_nsh_push(m, key, layout, &nsh);
	case 5:
		return xv_nsh_pop(m, key, layout);
	case 6:
		return xv_eth_push(m, key, layout, macs, macs + 6);
	default:
		return xv_eth_pop(m, key, layout);
	}
}

/* What was kept must be what is found; pushes and pops must not be led astray by a wrong layout. */
static void push_pop(struct rte_mbuf *m, struct xv_flow_key *key, struct xv_flow_layout *layout, uint8_t which,
		     bool sound)
{
	struct xv_flow_layout kept;
	struct xv_flow_key before;
	uint32_t len = m->pkt_len;
	int rc = step(m, key, layout, which);

	if (rc < 0)
		FUZZ_CHECK(m->pkt_len == len);
	before = *key;
	kept = *layout;
	extract(m, key, layout);
	if (rc != XV_PUSH_POP_EXTRACT && sound) {
		FUZZ_CHECK(memcmp(&before, key, sizeof(before)) == 0);
		FUZZ_CHECK(memcmp(&kept, layout, sizeof(kept)) == 0);
	}
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	fuzz_eal_init();
	pool = fuzz_pool_create("fuzz", 255);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned int avail = rte_mempool_avail_count(pool), i;
	struct rte_mbuf *m, *shared = NULL;
	static uint8_t flat[FRAME_MAX];
	struct xv_flow_layout layout;
	struct xv_flow_key key;
	struct input in;
	uint32_t len;
	bool sound;

	if (size <= sizeof(in))
		return 0;
	memcpy(&in, data, sizeof(in));
	data += sizeof(in);
	len = (uint32_t)RTE_MIN(size - sizeof(in), (size_t)FRAME_MAX);
	if (in.cut == 0 || in.cut > len)
		in.cut = (uint16_t)len;
	m = external_mbuf(data, in.cut);
	if (in.cut < len)
		FUZZ_CHECK(rte_pktmbuf_chain(m, external_mbuf(data + in.cut, (uint16_t)(len - in.cut))) == 0);
	if (in.how & 1) {
		*xv_packet_offload(m) = in.req;
		m->ol_flags |= XV_PACKET_OFFLOAD;
	}
	if (in.how & 4) {
		shared = m;
		m = xv_packet_own(xv_packet_clone(m, pool), pool);
		FUZZ_CHECK(m && xv_packet_writable(m));
	}
	rand_state = in.seed;
	memset(&key, 0, sizeof(key));
	key.packet_type = in.packet_type ? rte_cpu_to_be_32(1u << 16 | in.packet_type) : 0;
	for (i = 0; i < sizeof(in.steps) && extract(m, &key, &layout); i++) {
		sound = !(in.how & 2);
		if (!sound)
			layout = (struct xv_flow_layout){
				.l2_5 = (uint16_t)roll(len + 9),
				.l3 = (uint16_t)roll(len + 9),
				.l4 = (uint16_t)roll(roll(2) ? len + 9 : 65536),
				.l4_len = (uint16_t)roll(30),
				.payload_end = roll(len + 9),
			};
		if (in.steps[i] == 0)
			edit(m, &layout, &key, sound);
		else if (in.steps[i] != 255)
			push_pop(m, &key, &layout, in.steps[i], sound);
		rte_mbuf_sanity_check(m, 1);
	}
	if (shared) {
		FUZZ_CHECK(shared->pkt_len == len);
		FUZZ_CHECK(memcmp(rte_pktmbuf_read(shared, 0, len, flat), data, len) == 0);
		rte_pktmbuf_free(shared);
	}
	rte_pktmbuf_free(m);
	FUZZ_CHECK(rte_mempool_avail_count(pool) == avail);
	return 0;
}
