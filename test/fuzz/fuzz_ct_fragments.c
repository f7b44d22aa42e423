/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fragments, as the input says, through the table that puts datagrams together; sometimes time passes, or a port goes. Those
 * that come out again are datagrams without gaps, each fragment once and, without translation, as it went in. No byte out of
 * bounds, no more is held than may be, and every buffer comes back.
 *
 * Input: one after another
 *   byte 0	bit 0: IPv6, bits 1-2: port, bits 3-4: identification, bit 5: translate; 0xff: time passes, 0xfe: port 0 goes
 *   byte 1-2	offset field of the fragment, as on the wire
 *   byte 3	length of its payload, which is
 *   ...	the bytes behind; what is missing is 0
 */
#include "fuzz.h"

#include <string.h>

#include <rte_mbuf.h>
#include <rte_mempool.h>

#include "fastpath/fragments.h"
#include "net/bytes.h"
#include "table/rcu.h"

#define MBUFS 2047
#define L2 14

static struct rte_mempool *pool;
static struct xv_conntrack *ct;
static struct xv_fragments *fragments;
static uint32_t now_ms = 1, held;

static void drop_fragment(void *arg, struct rte_mbuf *m, enum xv_drop reason)
{
	FUZZ_CHECK(arg == &held && reason < XV_DROP_MAX && held > 0);
	held--;
	rte_pktmbuf_free(m);
}

static bool port_0_is_gone(uint16_t port)
{
	return port == 0;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct xv_conntrack_config config = {.connections = 1024, .half_open_per_port = 256, .now_ms = 1};

	fuzz_eal_init();
	pool = fuzz_pool_create("packets", MBUFS);
	FUZZ_CHECK(pool != NULL && xv_rcu_init() == 0 && xv_conntrack_create(&config, &ct) == 0);
	FUZZ_CHECK(xv_fragments_create(drop_fragment, &held, &fragments) == 0);
	return 0;
}

/* A frame with this fragment. */
static struct rte_mbuf *make(const uint8_t head[4], const uint8_t *payload, uint32_t there)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
	bool ipv6 = head[0] & 1;
	uint32_t ip_len = ipv6 ? 40 : 20, len = head[3];
	uint8_t *p, *ip, *l4;

	FUZZ_CHECK(m != NULL);
	p = (uint8_t *)rte_pktmbuf_append(m, (uint16_t)(L2 + ip_len + (ipv6 ? 8u : 0u) + len));
	FUZZ_CHECK(p != NULL);
	memset(p, 0, m->data_len);
	ip = p + L2;
	l4 = ip + ip_len;
	m->port = head[0] >> 1 & 3;
	p[12] = ipv6 ? 0x86 : 0x08;
	p[13] = ipv6 ? 0xdd : 0x00;
	if (ipv6) {
		ip[0] = 0x60;
		ip[5] = (uint8_t)(8 + len);
		ip[6] = 44;
		ip[23] = 1;
		ip[39] = 2;
		l4[0] = 17;
		memcpy(l4 + 2, head + 1, 2);
		l4[7] = head[0] >> 3 & 3;
		l4 += 8;
	} else {
		ip[0] = 0x45;
		ip[2] = (uint8_t)((20 + len) >> 8);
		ip[3] = (uint8_t)(20 + len);
		ip[5] = head[0] >> 3 & 3;
		memcpy(ip + 6, head + 1, 2);
		ip[9] = 17;
		ip[12] = ip[16] = 10;
		ip[15] = 1;
		ip[19] = 2;
	}
	memcpy(l4, payload, there);
	return m;
}

/* The next ones that go on are the fragments of a datagram: what they cover. */
static void take_all(void)
{
	uint64_t bytes = 0;
	struct rte_mbuf *m, *buf;
	uint32_t end = 0;

	while (xv_fragments_take(fragments, &m, &buf)) {
		const struct xv_held *h = xv_held_of(buf);
		const uint8_t *ip = rte_pktmbuf_mtod_offset(m, const uint8_t *, h->layout.l3);
		bool ipv6 = ip[0] >> 4 == 6;
		uint32_t start = ipv6 ? xv_load_be16(ip + 42) & 0xfff8u : (xv_load_be16(ip + 6) & 0x1fffu) * 8;
		uint32_t len = m->data_len - h->layout.l3 - (ipv6 ? 48u : 20u);

		FUZZ_CHECK(h->key.ct_state & XV_CS_TRACKED);
		FUZZ_CHECK(held-- > 0);
		bytes += len;
		end = RTE_MAX(end, start + len);
		rte_pktmbuf_free(m);
		rte_pktmbuf_free(buf);
	}
	FUZZ_CHECK(bytes == end);
}

static void hold(struct rte_mbuf *m, bool translate)
{
	static struct xv_action_ct action = {.flags = XV_CT_COMMIT | XV_CT_NAT, .nat = {.flags = XV_NAT_SRC}};
	struct rte_mbuf *buf = rte_pktmbuf_alloc(pool);
	struct xv_held *h;

	FUZZ_CHECK(buf != NULL);
	h = xv_held_of(buf);
	memset(h, 0, sizeof(*h) + 8 + sizeof(action));
	action.nat.min.words[3] = action.nat.max.words[3] = translate ? RTE_BE32(0xc0000201) : 0;
	action.nat.flags = translate ? XV_NAT_SRC : 0;
	memcpy(&h->program[1], &action, sizeof(action));
	(void)xv_flow_extract(rte_pktmbuf_mtod(m, const uint8_t *), m->data_len, m->pkt_len, &h->key, &h->layout);
	if (h->key.ip_frag == XV_FRAG_NONE) {
		rte_pktmbuf_free(m);
		rte_pktmbuf_free(buf);
		return;
	}
	held++;
	xv_fragments_hold(fragments, ct, m, buf, now_ms);
	take_all();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint32_t len, there;

	while (size >= 4) {
		if (data[0] == 0xff) {
			now_ms += data[1] * 100u;
			xv_fragments_expire(fragments, now_ms);
			data++;
			size--;
			continue;
		}
		if (data[0] == 0xfe) {
			xv_fragments_forget(fragments, port_0_is_gone);
			data++;
			size--;
			continue;
		}
		len = data[3];
		there = (uint32_t)RTE_MIN((size_t)len, size - 4);
		hold(make(data, data + 4, there), (data[0] & 0x20) != 0 && (data[0] & 1) == 0);
		data += 4 + there;
		size -= 4 + there;
		FUZZ_CHECK(held <= XV_FRAGMENTS_MAX);
		FUZZ_CHECK(rte_mempool_avail_count(pool) == MBUFS - 2 * held);
	}
	xv_fragments_expire(fragments, now_ms += XV_FRAGMENTS_TIMEOUT_MS);
	FUZZ_CHECK(held == 0 && !xv_fragments_any(fragments));
	FUZZ_CHECK(rte_mempool_avail_count(pool) == MBUFS);
	(void)xv_conntrack_flush(ct, now_ms, NULL, NULL);
	(void)xv_rcu_poll();
	return 0;
}
