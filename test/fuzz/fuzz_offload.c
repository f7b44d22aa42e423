/* SPDX-License-Identifier: Apache-2.0 */
/*
 * xv_offload_finish(), and xv_ipv4_fragment() of the same frame. Input: struct input, then the frame. The frame's mbufs point to heap buffers
 * of exactly their size, so that a read beyond is seen.
 */
#include "fuzz.h"

#include <errno.h>
#include <string.h>

#include <rte_ether.h>
#include <rte_mbuf.h>

#include "fastpath/offload.h"
#include "net/checksum.h"
#include "net/fragment.h"
#include "net/parse.h"

struct input {
	struct xv_offload req;
	uint8_t caps;
	uint8_t how;     /* bit 0: shared; bits 1, 2: zeros follow, 2 KiB times bits 3.. */
	uint8_t cuts[6]; /* lengths of the first mbufs; 0 ends the list */
};

#define FRAME_MAX (64 * 1024 + 512)
#define MAX_OUT   XV_GSO_MAX_SEGMENTS

static struct rte_mempool *pool;

static struct rte_mbuf *external_mbuf(const uint8_t *bytes, uint16_t len)
{
	return fuzz_mbuf_exact(pool, bytes, len, 0, 0);
}

static struct rte_mbuf *build(const struct input *in, const uint8_t *frame, uint32_t len)
{
	struct rte_mbuf *head = NULL, *m;
	unsigned int cut = 0;
	uint32_t n;

	do {
		n = len < 16384 ? len : 16384;
		if (cut < sizeof(in->cuts) && in->cuts[cut] > 0 && in->cuts[cut] < n)
			n = in->cuts[cut++];
		m = external_mbuf(frame, (uint16_t)n);
		frame += n;
		len -= n;
		if (!head)
			head = m;
		else
			FUZZ_CHECK(rte_pktmbuf_chain(head, m) == 0);
	} while (len > 0);
	*xv_packet_offload(head) = in->req;
	head->ol_flags |= XV_PACKET_OFFLOAD;
	return head;
}

static void check_same(const struct rte_mbuf *m, const uint8_t *frame, uint32_t len)
{
	static uint8_t flat[FRAME_MAX];

	FUZZ_CHECK(m->pkt_len == len);
	FUZZ_CHECK(memcmp(rte_pktmbuf_read(m, 0, len, flat), frame, len) == 0);
	FUZZ_CHECK(m->ol_flags & XV_PACKET_OFFLOAD);
}

/* Each segment must be a sound frame on its own, with its checksums right. */
static uint32_t check_segment(struct rte_mbuf *m, const struct input *in)
{
	static uint8_t flat[FRAME_MAX];
	const uint8_t *bytes = rte_pktmbuf_read(m, 0, m->pkt_len, flat), *ip;
	struct xv_parsed p;
	uint32_t l4_len;
	uint16_t sum;

	FUZZ_CHECK(bytes);
	FUZZ_CHECK(xv_parse(bytes, (uint16_t)RTE_MIN(m->pkt_len, UINT16_MAX), m->pkt_len, &p) ==
		   XV_PARSE_OK);
	ip = bytes + p.l3_offset;
	if (p.eth_type == RTE_ETHER_TYPE_IPV4)
		FUZZ_CHECK(xv_csum_sum(ip, (ip[0] & 0xf) * 4u) == 0xffff);
	if (p.ip_proto != 6 || p.fragment)
		return m->pkt_len;
	FUZZ_CHECK(p.l4_offset);
	l4_len = m->pkt_len - p.l4_offset;
	FUZZ_CHECK(l4_len - p.l4_len <= in->req.gso_size);
	sum = p.eth_type == RTE_ETHER_TYPE_IPV4 ? xv_csum_pseudo4(ip + 12, ip + 16, 6, l4_len)
						: xv_csum_pseudo6(ip + 8, ip + 24, 6, l4_len);
	if (m->ol_flags & XV_PACKET_OFFLOAD)
		FUZZ_CHECK(memcmp(bytes + p.l4_offset + 16, &sum, 2) == 0);
	else
		FUZZ_CHECK(xv_csum_add(sum, xv_csum_sum(bytes + p.l4_offset, l4_len)) == 0xffff);
	return l4_len - p.l4_len;
}

/* Cut to gso_size, without its request; put together again, the fragments are the packet. */
static void fragment(const struct input *in, const uint8_t *frame, uint32_t len, struct rte_mbuf **out)
{
	static uint8_t flat[FRAME_MAX];
	struct rte_mbuf *m = build(in, frame, len);
	uint32_t done = 0, header_len;
	const uint8_t *ip;
	struct xv_parsed p;
	int n, i;

	FUZZ_CHECK(xv_ipv4_fragment(m, in->req.gso_size, pool, out, MAX_OUT) == -EINVAL);
	m->ol_flags &= ~XV_PACKET_OFFLOAD;
	n = xv_ipv4_fragment(m, in->req.gso_size, pool, out, MAX_OUT);
	if (n < 0) {
		FUZZ_CHECK(n == -EPROTO || n == -EMSGSIZE || n == -E2BIG);
		m->ol_flags |= XV_PACKET_OFFLOAD;
		check_same(m, frame, len);
		rte_pktmbuf_free(m);
		return;
	}
	FUZZ_CHECK(xv_parse_eth(frame, (uint16_t)RTE_MIN(len, 200u), &p) == XV_PARSE_OK);
	ip = frame + p.l3_offset;
	header_len = (ip[0] & 15) * 4u;
	for (i = 0; i < n; i++) {
		const uint8_t *h = (const uint8_t *)rte_pktmbuf_read(out[i], 0, out[i]->pkt_len, flat) + p.l3_offset;
		const uint32_t own = (h[0] & 15) * 4u, here = out[i]->pkt_len - p.l3_offset - own;

		rte_mbuf_sanity_check(out[i], 1);
		FUZZ_CHECK(((uint32_t)h[2] << 8 | h[3]) == own + here && own <= header_len && own + here <= in->req.gso_size);
		FUZZ_CHECK(xv_csum_sum(h, own) == 0xffff);
		FUZZ_CHECK(memcmp(h + own, ip + header_len + done, here) == 0);
		FUZZ_CHECK(((h[6] << 8 | h[7]) & 0x1fff) == ((ip[6] << 8 | ip[7]) & 0x1fff) + (int)(done / 8));
		done += here;
		FUZZ_CHECK(i == n - 1 ? h[6] >> 5 == ip[6] >> 5 : (h[6] & 0x20) != 0 && done % 8 == 0);
	}
	FUZZ_CHECK(done == ((uint32_t)ip[2] << 8 | ip[3]) - header_len);
	rte_pktmbuf_free_bulk(out, (unsigned int)n);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	fuzz_eal_init();
	pool = fuzz_pool_create("fuzz", 4095);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct rte_mbuf *out[MAX_OUT];
	static uint8_t frame[FRAME_MAX];
	unsigned int avail = rte_mempool_avail_count(pool);
	struct rte_mbuf *m, *shared = NULL;
	struct input in;
	uint32_t len, i;
	bool whole;
	int n;

	if (size <= sizeof(in))
		return 0;
	memcpy(&in, data, sizeof(in));
	size -= sizeof(in);
	len = (uint32_t)RTE_MIN(size, sizeof(frame));
	memcpy(frame, data + sizeof(in), len);
	if ((in.how & 6) == 6) { /* seldom: big frames are slow */
		i = (uint32_t)RTE_MIN((in.how >> 3) * 2048u, sizeof(frame) - len);
		memset(frame + len, 0, i);
		len += i;
	}

	fragment(&in, frame, len, out);
	m = build(&in, frame, len);
	(void)xv_offload_header_bytes(m);
	whole = !xv_offload_needed(m, in.caps) || in.req.gso_type == XV_GSO_NONE;
	if (in.how & 1) {
		shared = m;
		rte_pktmbuf_refcnt_update(m, 1);
	}
	n = xv_offload_finish(m, in.caps, pool, out, MAX_OUT);
	if (n < 0) {
		FUZZ_CHECK(n == -EPROTO || n == -E2BIG);
		check_same(m, frame, len);
		rte_pktmbuf_free(m);
	} else {
		FUZZ_CHECK(n > 0 && n <= MAX_OUT);
		for (i = 0; i < (uint32_t)n; i++) {
			rte_mbuf_sanity_check(out[i], 1);
			FUZZ_CHECK(!xv_offload_needed(out[i], in.caps));
			if (whole)
				FUZZ_CHECK(n == 1 && out[i]->pkt_len == len);
			else
				check_segment(out[i], &in);
		}
		rte_pktmbuf_free_bulk(out, (unsigned int)n);
	}
	if (shared) {
		check_same(shared, frame, len);
		rte_pktmbuf_free(shared);
	}
	FUZZ_CHECK(rte_mempool_avail_count(pool) == avail);
	return 0;
}
