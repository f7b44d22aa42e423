/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rings against a plain driver (guest_ring.h): every byte, length and header arrives in both
 * directions, in order; what cannot go stays, and nothing is lost. Every test runs on all kinds of
 * rings.
 */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "virtio/dirty_log.h"
#include "vring_line.h"

/* Frames from the guest: whatever the guest posts comes out, in order, once; the buffers come back.
 */
static void receive(const struct line_config *c)
{
	struct rte_mbuf *pkts[2 * XV_BURST];
	unsigned int round, rounds = 3000 / (c->size + 8u) + 60, next = 0, back = 0;
	uint32_t cookie, len, i;

	line_open(c, c->size * 77u + c->features,
		  RTE_MIN(LINE_REGION_BYTES / 2 / (c->size + 2u), 10000u));
	line->ring.scatter = (c->features & ORDER) == 0 && line_random(2) != 0;
	line_start();
	for (round = 0; round < rounds; round++) {
		unsigned int want = line_random(4) == 0 ? c->size
							: line_random(RTE_MIN(c->size, 100u) + 1u),
			     got;

		while (want-- > 0 && line_post_random_frame())
			;
		guest_ring_publish(&line->ring);
		got = line->vq.recv(&line->vq, pkts, (uint16_t)(1 + line_random(RTE_DIM(pkts))));
		assert_int_equal(atomic_load(&line->vq.error), XV_VRING_OK);
		for (i = 0; i < got; i++) {
			struct line_buffer *b = &line->buffer[next];

			assert_true(b->posted);
			line_check_packet(pkts[i], b->frame, b->frame_len);
			assert_int_equal(pkts[i]->ol_flags, 0);
			next = (next + 1) % line->n_buffers;
		}
		rte_pktmbuf_free_bulk(pkts, got);
		for (i = 0; guest_ring_reap(&line->ring, &cookie, &len); i++) {
			assert_int_equal(cookie, back);
			assert_int_equal(len, 0);
			line->buffer[cookie].posted = false;
			back = (back + 1) % line->n_buffers;
		}
		assert_int_equal(i, got);
	}
}

static void received_frames_are_whole_and_in_order(void **state)
{
	FOR_EACH_CONFIG(receive, ALL_FEATURES);
}

/* Bytes that the buffers which are posted and not used have room for; n counts them. */
static uint32_t room_from(unsigned int first, unsigned int *n)
{
	uint32_t room = 0;

	for (*n = 0; *n < line->n_buffers; (*n)++) {
		const struct line_buffer *b = &line->buffer[(first + *n) % line->n_buffers];

		if (!b->posted)
			break;
		room += b->len;
	}
	return room;
}

/*
 * Frames to the guest. When one cannot go the reason must be the right one, and neither the ring
 * nor the guest's memory may have changed beyond what went before it.
 */
static void send_frames(const struct line_config *c)
{
	bool mergeable = (c->features & MRG) != 0;
	struct virtio_net_hdr_mrg_rxbuf hdr;
	uint32_t lens[XV_BURST], i;
	uint64_t seeds[XV_BURST];
	struct rte_mbuf *pkts[XV_BURST];
	unsigned int round, rounds = 3000 / (c->size + 8u) + 60, back = 0, posted;
	uint32_t chunk = RTE_MIN(LINE_REGION_BYTES / 2 / (c->size + 2u), 10000u);

	line_open(c, c->size * 99u + c->features, chunk);
	line->ring.scatter = (c->features & ORDER) == 0 && line_random(2) != 0;
	line_start();
	for (round = 0; round < rounds; round++) {
		unsigned int want =
			line_random(4) == 0 ? c->size : line_random(RTE_MIN(c->size, 100u) + 1u);
		unsigned int n = line_random(XV_BURST) + 1, went;
		enum xv_vring_reject why = XV_VRING_DEAD;

		while (want-- > 0) {
			uint32_t len = mergeable && line_random(2) != 0
					       ? line->hdr_len + line_random(1500)
					       : chunk;
			unsigned int pieces;
			enum guest_shape shape = line_random_shape(&pieces);

			if (!line_post(RTE_MIN(len, chunk), pieces, shape, true))
				break;
		}
		guest_ring_publish(&line->ring);
		for (i = 0; i < n; i++) {
			lens[i] = line_random(10) == 0 ? line_random(9000) : line_random(1500);
			seeds[i] = line_random(UINT32_MAX);
			pkts[i] = line_make_packet(seeds[i], lens[i]);
		}
		went = line->vq.send(&line->vq, pkts, (uint16_t)n, &why);
		assert_int_equal(atomic_load(&line->vq.error), XV_VRING_OK);
		for (i = 0; i < went; i++) {
			line_check_sent(seeds[i], lens[i], &back, &hdr);
			assert_int_equal(hdr.hdr.flags | hdr.hdr.gso_type, 0);
			assert_int_equal(
				hdr.hdr.csum_start | hdr.hdr.csum_offset | hdr.hdr.gso_size, 0);
		}
		assert_false(guest_ring_reap(&line->ring, &i, &i));
		if (went < n) {
			uint32_t need = line->hdr_len + lens[went], room = room_from(back, &posted);

			if (!mergeable && posted > 0) {
				assert_int_equal(why, XV_VRING_TOO_LONG);
				assert_true(line->buffer[back].len < need);
			} else if (why == XV_VRING_TOO_LONG) {
				/* Merged, and the whole ring is not enough. */
				assert_true(mergeable);
				assert_true(c->packed ? line->ring.room == 0 : posted == c->size);
				assert_true(room < need);
			} else {
				assert_int_equal(why, XV_VRING_FULL);
				assert_true(room < need);
			}
			rte_pktmbuf_free_bulk(&pkts[went], n - went);
			/* A buffer that is too short for the first in line would be so for ever. */
			if (why == XV_VRING_TOO_LONG && posted == line->n_buffers)
				break;
		}
	}
}

static void sent_frames_are_whole_and_in_order(void **state)
{
	FOR_EACH_CONFIG(send_frames, ALL_FEATURES);
}

/* Every length, alone and cut in three. */
static void every_length(const struct line_config *c)
{
	uint32_t len, i, cookie, used, n = RTE_MIN((c->size + 2u) / 3, 8u);
	unsigned int round, back = 0;

	if (c->size != 64 && c->size != 65)
		return;
	for (round = 0; round < 4; round++) {
		bool to_guest = round >= 2;
		unsigned int pieces = round % 2 ? 3 : 1;

		line_open(c, 5, 9020);
		line_start();
		back = 0;
		for (len = 0; len <= 9000; len += n) {
			struct virtio_net_hdr_mrg_rxbuf hdr;
			struct rte_mbuf *pkts[XV_BURST];
			enum xv_vring_reject why;
			unsigned int got, first = line->oldest;

			if (!to_guest) {
				for (i = 0; i < n; i++)
					assert_true(line_post_frame(len + i, pieces, GUEST_DIRECT));
				guest_ring_publish(&line->ring);
				got = line->vq.recv(&line->vq, pkts, XV_BURST);
				/* The frame without a byte is dropped. */
				assert_int_equal(got, len == 0 ? n - 1 : n);
				for (i = 0; i < got; i++) {
					struct line_buffer *b =
						&line->buffer[(first + i + (len == 0)) %
							      line->n_buffers];

					line_check_packet(pkts[i], b->frame, b->frame_len);
				}
				rte_pktmbuf_free_bulk(pkts, got);
				for (i = 0; i < n; i++) {
					assert_true(guest_ring_reap(&line->ring, &cookie, &used));
					line->buffer[cookie].posted = false;
				}
				continue;
			}
			for (i = 0; i < n; i++) {
				assert_true(line_post(line->hdr_len + len + i, pieces, GUEST_DIRECT,
						      true));
				pkts[i] = line_make_packet(len + i, len + i);
			}
			guest_ring_publish(&line->ring);
			assert_int_equal(line->vq.send(&line->vq, pkts, (uint16_t)n, &why), n);
			for (i = 0; i < n; i++)
				line_check_sent(len + i, len + i, &back, &hdr);
		}
		if (!to_guest)
			assert_int_equal(atomic_load(&line->vq.bad_headers), 1);
	}
}

static void every_length_passes(void **state)
{
	FOR_EACH_CONFIG(every_length, 0, V1 | MRG | INDIRECT);
}

/* 64 KiB segments, both ways: the longest frame there is, and one byte more. */
static void longest(const struct line_config *c)
{
	struct virtio_net_hdr_mrg_rxbuf hdr;
	enum xv_vring_reject why;
	struct rte_mbuf *pkt;
	unsigned int back = 0, i;
	uint32_t cookie, len;

	if (c->size != 8)
		return;
	line_open(c, 1, LINE_FLAT_MAX + 1);
	line_start();
	for (i = 0; i < 20; i++) {
		assert_true(line_post_frame(LINE_FRAME_MAX, 1 + i % 4, GUEST_DIRECT));
		guest_ring_publish(&line->ring);
		assert_int_equal(line->vq.recv(&line->vq, &pkt, 1), 1);
		line_check_packet(pkt, line->buffer[i % line->n_buffers].frame, LINE_FRAME_MAX);
		rte_pktmbuf_free(pkt);
		assert_true(guest_ring_reap(&line->ring, &cookie, &len));
		line->buffer[cookie].posted = false;
	}
	/* Too long: dropped and counted, the buffer comes back. */
	assert_true(line_post(line->hdr_len + LINE_FRAME_MAX + 1, 1, GUEST_DIRECT, false));
	guest_ring_publish(&line->ring);
	assert_int_equal(line->vq.recv(&line->vq, &pkt, 1), 0);
	assert_int_equal(atomic_load(&line->vq.bad_headers), 1);
	assert_true(guest_ring_reap(&line->ring, &cookie, &len));

	line_open(c, 2, LINE_FLAT_MAX + 1);
	line_start();
	for (i = 0; i < 20; i++) {
		assert_true(
			line_post(line->hdr_len + LINE_FRAME_MAX, 1 + i % 4, GUEST_DIRECT, true));
		guest_ring_publish(&line->ring);
		pkt = line_make_packet(i, LINE_FRAME_MAX);
		assert_int_equal(line->vq.send(&line->vq, &pkt, 1, &why), 1);
		line_check_sent(i, LINE_FRAME_MAX, &back, &hdr);
	}
}

static void longest_frame_passes(void **state)
{
	FOR_EACH_CONFIG(longest, 0, V1 | MRG);
}

/* Offload requests. A frame of 100 bytes; what is asked for, and whether it may pass. */
static const struct {
	uint8_t flags, gso_type;
	uint16_t gso_size, csum_start, csum_offset;
	bool ok;
	uint64_t needs; /* features; without them it is dropped, or not sent */
} requests[] = {
	{0, 0, 0, 0, 0, true, 0},
	{2, 0, 0, 0, 0, true, 0}, /* DATA_VALID is not a guest's to say */
	{1, 0, 0, 34, 16, true, BIT(VIRTIO_NET_F_CSUM)},
	{1, 0, 0, 0, 0, true, BIT(VIRTIO_NET_F_CSUM)},
	{1, 0, 0, 82, 16, true, BIT(VIRTIO_NET_F_CSUM)},
	{1, 0, 0, 83, 16, false, 0}, /* the checksum ends behind the frame */
	{1, 0, 0, 98, 65535, false, 0},
	{1, 0, 0, 65535, 65535, false, 0},
	{1, 1, 40, 34, 16, true, BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_HOST_TSO4)},
	{1, 4, 40, 54, 16, true, BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_HOST_TSO6)},
	{1, 3, 40, 34, 6, true, BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_HOST_UFO)},
	{1, 0x81, 40, 34, 16, true,
	 BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_HOST_TSO4) | BIT(VIRTIO_NET_F_HOST_ECN)},
	{1, 0x84, 40, 54, 16, true,
	 BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_HOST_TSO6) | BIT(VIRTIO_NET_F_HOST_ECN)},
	{1, 0x83, 40, 34, 6, false, 0},
	{1, 1, 0, 34, 16, false, 0},  /* no size */
	{0, 1, 40, 34, 16, false, 0}, /* no checksum */
	{1, 0x80, 40, 34, 16, false, 0},
	{1, 5, 40, 34, 6, false, 0}, /* UDP segmentation is never offered */
	{1, 2, 40, 34, 16, false, 0},
	{1, 0x7f, 40, 34, 16, false, 0},
};

static void offload_recv(const struct line_config *c)
{
	static const uint64_t offered[] = {
		0, BIT(VIRTIO_NET_F_CSUM), BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_HOST_TSO4),
		BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_HOST_TSO6) | BIT(VIRTIO_NET_F_HOST_ECN),
		HOST_OFFLOADS};
	unsigned int f, i, fast;

	if (c->size < 8)
		return;
	for (f = 0; f < RTE_DIM(offered); f++) {
		struct line_config with = *c;
		uint64_t bad = 0;

		with.features |= offered[f];
		line_open(&with, 3, 1000);
		line_start();
		/* Alone, in one descriptor or two, between frames that want nothing. */
		for (i = 0; i < 4 * RTE_DIM(requests); i++) {
			unsigned int k = i % RTE_DIM(requests), got, first = line->oldest;
			const struct virtio_net_hdr_mrg_rxbuf hdr = {
				.hdr = {.flags = requests[k].flags,
					.gso_type = requests[k].gso_type,
					.hdr_len = (uint16_t)line_random(
						65536), /* a hint; not relied on */
					.gso_size = requests[k].gso_size,
					.csum_start = requests[k].csum_start,
					.csum_offset = requests[k].csum_offset}};
			bool ok = requests[k].ok && (requests[k].needs & ~with.features) == 0;
			struct rte_mbuf *pkts[XV_BURST], *m;
			uint32_t cookie, len;

			fast = i / RTE_DIM(requests) % 2;
			assert_true(line_post_frame(200, 1, GUEST_DIRECT));
			assert_true(line_post_frame_as(&hdr, 100, fast ? 1 : 2, GUEST_DIRECT));
			assert_true(line_post_frame(300, 1, GUEST_DIRECT));
			guest_ring_publish(&line->ring);
			got = line->vq.recv(&line->vq, pkts, XV_BURST);
			assert_int_equal(got, ok ? 3 : 2);
			bad += !ok;
			assert_int_equal(atomic_load(&line->vq.bad_headers), bad);
			m = pkts[got - 1];
			line_check_packet(m, line->buffer[(first + 2) % line->n_buffers].frame,
					  300);
			assert_int_equal(m->ol_flags, 0);
			m = pkts[1];
			if (ok) {
				line_check_packet(
					m, line->buffer[(first + 1) % line->n_buffers].frame, 100);
				assert_int_equal((m->ol_flags & XV_PACKET_OFFLOAD) != 0,
						 ((requests[k].flags & 1) | requests[k].gso_type) !=
							 0);
				assert_int_equal(m->ol_flags & ~XV_PACKET_OFFLOAD, 0);
			}
			if (ok && m->ol_flags != 0) {
				const struct xv_offload *o = xv_packet_offload(m);

				assert_int_equal(o->flags, requests[k].flags ? XV_OFFLOAD_CSUM : 0);
				assert_int_equal(o->gso_type, requests[k].gso_type);
				assert_int_equal(o->gso_size, requests[k].gso_size);
				assert_int_equal(o->csum_start, requests[k].csum_start);
				assert_int_equal(o->csum_offset, requests[k].csum_offset);
			}
			rte_pktmbuf_free_bulk(pkts, got);
			for (k = 0; k < 3; k++) {
				assert_true(guest_ring_reap(&line->ring, &cookie, &len));
				line->buffer[cookie].posted = false;
			}
		}
	}
}

/* The same request the other way needs the GUEST_ features. */
static uint64_t guest_needs(uint64_t host)
{
	uint64_t needs = 0;

	needs |= (host & BIT(VIRTIO_NET_F_CSUM)) != 0 ? BIT(VIRTIO_NET_F_GUEST_CSUM) : 0;
	needs |= (host & BIT(VIRTIO_NET_F_HOST_TSO4)) != 0 ? BIT(VIRTIO_NET_F_GUEST_TSO4) : 0;
	needs |= (host & BIT(VIRTIO_NET_F_HOST_TSO6)) != 0 ? BIT(VIRTIO_NET_F_GUEST_TSO6) : 0;
	needs |= (host & BIT(VIRTIO_NET_F_HOST_ECN)) != 0 ? BIT(VIRTIO_NET_F_GUEST_ECN) : 0;
	needs |= (host & BIT(VIRTIO_NET_F_HOST_UFO)) != 0 ? BIT(VIRTIO_NET_F_GUEST_UFO) : 0;
	return needs;
}

static void offload_send(const struct line_config *c)
{
	static const uint64_t taken[] = {
		0, BIT(VIRTIO_NET_F_GUEST_CSUM),
		BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_GUEST_TSO4),
		BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_GUEST_TSO6) |
			BIT(VIRTIO_NET_F_GUEST_ECN),
		GUEST_OFFLOADS};
	unsigned int f, i;

	if (c->size < 8)
		return;
	for (f = 0; f < RTE_DIM(taken); f++) {
		struct line_config with = *c;
		unsigned int back = 0;

		with.features |= taken[f];
		line_open(&with, 4, 1000);
		line_start();
		for (i = 0; i < RTE_DIM(requests); i++) {
			struct rte_mbuf *pkts[3];
			struct virtio_net_hdr_mrg_rxbuf hdr;
			enum xv_vring_reject why;
			struct line_buffer *b = NULL;
			unsigned int k, went, posted;
			struct xv_offload *o;
			bool ok = (guest_needs(requests[i].needs) & ~with.features) == 0;

			if (!requests[i].ok || requests[i].flags > 1)
				continue;
			while (room_from(back, &posted) < 3000 && posted < 4) {
				b = &line->buffer[line->oldest];
				assert_true(line_post(500, 1, GUEST_DIRECT, true));
				memset(guest_at(&line->guest, b->gpa), 0xff, 12);
			}
			guest_ring_publish(&line->ring);
			for (k = 0; k < 3; k++)
				pkts[k] = line_make_packet(k, 100 + k);
			pkts[1]->ol_flags |= XV_PACKET_OFFLOAD;
			o = xv_packet_offload(pkts[1]);
			*o = (struct xv_offload){.flags = requests[i].flags ? XV_OFFLOAD_CSUM : 0,
						 .gso_type = requests[i].gso_type,
						 .gso_size = requests[i].gso_size,
						 .csum_start = requests[i].csum_start,
						 .csum_offset = requests[i].csum_offset};
			if (requests[i].gso_type != 0 &&
			    pkts[1]->nb_segs == 1) /* TCP header: 24 bytes */
				rte_pktmbuf_mtod(pkts[1], uint8_t *)[o->csum_start + 12] = 0x60;
			went = line->vq.send(&line->vq, pkts, 3, &why);
			assert_int_equal(went, ok ? 3 : 1);
			line_check_sent(0, 100, &back, &hdr);
			assert_int_equal(hdr.hdr.flags | hdr.hdr.gso_type, 0);
			if (!ok) {
				assert_int_equal(why, XV_VRING_OFFLOAD);
				went += line->vq.send(&line->vq, &pkts[2], 1, &why);
				assert_int_equal(went, 2);
				rte_pktmbuf_free(pkts[1]);
			} else {
				uint32_t hdr_len = requests[i].gso_type == 0 ? 0
						   : requests[i].gso_type == 3
							   ? requests[i].csum_start + 8u
							   : requests[i].csum_start + 24u;
				uint8_t raw[200];
				uint32_t cookie, len;

				assert_true(guest_ring_reap(&line->ring, &cookie, &len));
				b = &line->buffer[cookie];
				b->posted = false;
				back = (back + 1) % line->n_buffers;
				assert_int_equal(len, line->hdr_len + 101);
				memset(&hdr, 0, sizeof(hdr));
				guest_read(&line->guest, b->seg, b->n, 0, &hdr, line->hdr_len);
				guest_read(&line->guest, b->seg, b->n, line->hdr_len, raw, 101);
				assert_int_equal(hdr.hdr.flags, requests[i].flags);
				assert_int_equal(hdr.hdr.gso_type, requests[i].gso_type);
				assert_int_equal(hdr.hdr.gso_size, requests[i].gso_size);
				assert_int_equal(hdr.hdr.csum_start, requests[i].csum_start);
				assert_int_equal(hdr.hdr.csum_offset, requests[i].csum_offset);
				if (requests[i].gso_type == 0 ||
				    raw[requests[i].csum_start + 12] == 0x60)
					assert_int_equal(hdr.hdr.hdr_len, hdr_len);
				if (line->hdr_len == 12)
					assert_int_equal(hdr.num_buffers, 1);
			}
			line_check_sent(2, 102, &back, &hdr);
			assert_int_equal(hdr.hdr.flags | hdr.hdr.gso_type, 0);
		}
	}
}

static void offload_requests_are_translated(void **state)
{
	FOR_EACH_CONFIG(offload_recv, 0, V1 | MRG, V1 | ORDER);
	FOR_EACH_CONFIG(offload_send, 0, V1 | MRG, V1 | ORDER);
}

/* 5.1.6.4.1: without GUEST_CSUM the device MUST set flags to zero; DATA_VALID is such a flag. */
static void data_valid(const struct line_config *c)
{
	struct virtio_net_hdr_mrg_rxbuf hdr;
	enum xv_vring_reject why;
	struct rte_mbuf *m;
	unsigned int back = 0;

	line_open(c, 4, 1000);
	line_start();
	assert_true(line_post(500, 1, GUEST_DIRECT, true));
	guest_ring_publish(&line->ring);
	m = line_make_packet(1, 100);
	m->ol_flags |= XV_PACKET_OFFLOAD;
	*xv_packet_offload(m) = (struct xv_offload){.flags = XV_OFFLOAD_CSUM_VALID};
	assert_int_equal(line->vq.send(&line->vq, &m, 1, &why), 1);
	line_check_sent(1, 100, &back, &hdr);
	assert_int_equal(hdr.hdr.flags, c->features & BIT(VIRTIO_NET_F_GUEST_CSUM)
						? VIRTIO_NET_HDR_F_DATA_VALID
						: 0);
}

static void data_valid_is_for_those_who_asked(void **state)
{
	FOR_EACH_CONFIG(data_valid, V1, V1 | BIT(VIRTIO_NET_F_GUEST_CSUM));
}

/*
 * No packet memory. What is in the ring stays there, in order, and what went out of it is what the
 * guest gets back; the burst may consist of any mixture of plain buffers and chains.
 */
static void no_pool(const struct line_config *c)
{
	static struct rte_mbuf *hoard[LINE_POOL_SIZE];
	struct rte_mbuf *pkts[XV_BURST];
	unsigned int round, next = 0, back = 0, i, posted;
	uint32_t cookie, len;

	line_open(c, c->size + c->features, RTE_MIN(LINE_REGION_BYTES / 2 / (c->size + 2u), 6000u));
	line_start();
	for (round = 0; round < 300; round++) {
		unsigned int want = line_random(RTE_MIN(c->size, 70u)) + 1, leave = line_random(8),
			     got, before;

		for (i = 0; i < want; i++) {
			unsigned int pieces;
			enum guest_shape shape = line_random_shape(&pieces);

			len = line_random(3) == 0 ? 1 + line_random(line->chunk - line->hdr_len)
						  : 60;
			if (!line_post_frame(len, pieces, shape))
				break;
		}
		guest_ring_publish(&line->ring);
		before = line_pool_free();
		assert_int_equal(before, LINE_POOL_SIZE);
		assert_int_equal(
			rte_mempool_get_bulk(line_pool, (void **)hoard, LINE_POOL_SIZE - leave), 0);
		got = line->vq.recv(&line->vq, pkts, XV_BURST);
		assert_true(got <= leave);
		for (;;) {
			for (i = 0; i < got; i++) {
				line_check_packet(pkts[i], line->buffer[next].frame,
						  line->buffer[next].frame_len);
				next = (next + 1) % line->n_buffers;
			}
			if (got > 0)
				rte_pktmbuf_free_bulk(pkts, got);
			for (i = 0; guest_ring_reap(&line->ring, &cookie, &len); i++) {
				assert_int_equal(cookie, back);
				line->buffer[cookie].posted = false;
				back = (back + 1) % line->n_buffers;
			}
			assert_int_equal(i, got);
			assert_int_equal(atomic_load(&line->vq.error), XV_VRING_OK);
			if (before == 0)
				break;
			rte_mempool_put_bulk(line_pool, (void **)hoard, LINE_POOL_SIZE - leave);
			before = 0;
			/* Sooner or later the rest comes. */
			got = line->vq.recv(&line->vq, pkts, XV_BURST);
		}
		while ((got = line->vq.recv(&line->vq, pkts, XV_BURST)) > 0) {
			rte_pktmbuf_free_bulk(pkts, got);
			next = (next + got) % line->n_buffers;
		}
		while (guest_ring_reap(&line->ring, &cookie, &len)) {
			line->buffer[cookie].posted = false;
			back = (back + 1) % line->n_buffers;
		}
		assert_int_equal(next, back);
		(void)room_from(back, &posted);
		assert_int_equal(posted, 0);
	}
	assert_true(atomic_load(&line->vq.no_mbuf) > 0);
}

static void without_packet_memory_nothing_is_lost(void **state)
{
	FOR_EACH_CONFIG(no_pool, V1, V1 | INDIRECT, V1 | ORDER | INDIRECT, ORDER, V1 | EVENT);
}

/* A frame that does not fit leaves no trace, merged or not. */
static void no_room(const struct line_config *c)
{
	unsigned int round, i;
	size_t bytes;
	uint8_t *image;

	line_open(c, 8, 600);
	bytes = line->guest.n_bytes;
	image = malloc(bytes);
	assert_non_null(image);
	for (round = 0; round < 20; round++) {
		unsigned int n = line_random(RTE_MIN(c->size, 5u) + 1u),
			     pieces = 1 + line_random(2);
		enum xv_vring_reject why = XV_VRING_DEAD;
		struct xv_vring before;
		struct rte_mbuf *m;

		line_open(c, round, 600);
		for (i = 0; i < n && line_post(300 + line->hdr_len, pieces, GUEST_DIRECT, true);
		     i++)
			;
		n = i;
		guest_ring_publish(&line->ring);
		line_start();
		memcpy(image, line->guest.bytes, bytes);
		before = line->vq;
		line_frame_bytes(1, line_scratch, 5 * 300 + 100);
		m = unit_packet(line_pool, line_scratch, 5 * 300 + 100, NULL);
		assert_int_equal(line->vq.send(&line->vq, &m, 1, &why), 0);
		if (n == 0)
			assert_int_equal(why, XV_VRING_FULL);
		else if ((c->features & MRG) == 0 || (pieces == 1 && n == c->size))
			assert_int_equal(why, XV_VRING_TOO_LONG);
		else if (pieces * n < c->size)
			assert_int_equal(why, XV_VRING_FULL);
		assert_int_equal(memcmp(image, line->guest.bytes, bytes), 0);
		assert_int_equal(line->vq.avail_idx, before.avail_idx);
		assert_int_equal(line->vq.used_idx, before.used_idx);
		assert_int_equal(line->vq.avail_wrap, before.avail_wrap);
		assert_int_equal(line->vq.used_wrap, before.used_wrap);
		assert_int_equal(line->vq.error, XV_VRING_OK);
		line_check_packet(m, 1, 5 * 300 + 100);
		rte_pktmbuf_free(m);
	}
	free(image);
}

static void frame_without_room_leaves_no_trace(void **state)
{
	FOR_EACH_CONFIG(no_room, 0, V1, V1 | MRG, V1 | MRG | ORDER);
}

/* Tiny merged buffers of several descriptors: more pieces than a packet may have, but no offence.
 */
static void many_tiny_buffers(const struct line_config *c)
{
	enum xv_vring_reject why = XV_VRING_DEAD;
	struct line_config with = *c;
	struct rte_mbuf *m;
	unsigned int i;

	if (c->size < 250)
		return;
	with.size = 1024;
	line_open(&with, 8, 40);
	line_start();
	for (i = 0; i < 340 && line_post(40, 3, GUEST_DIRECT, true); i++)
		;
	guest_ring_publish(&line->ring);
	m = line_make_packet(1, 9000);
	assert_int_equal(line->vq.send(&line->vq, &m, 1, &why), 0);
	assert_int_equal(line->vq.error, XV_VRING_OK);
	assert_int_equal(why, XV_VRING_TOO_LONG);
	rte_pktmbuf_free(m);
}

static void tiny_buffers_are_no_offence(void **state)
{
	FOR_EACH_CONFIG(many_tiny_buffers, V1 | MRG);
}

/*
 * The dirty log: exactly the pages that were written, and of the used ring at least those.
 */
#define LOG_BYTES ((GUEST_FAR + LINE_REGION_BYTES) / 4096 / 8 + 1)
static uint8_t dirty_bits[LOG_BYTES];
static uint8_t expected_bits[LOG_BYTES];

static void expect_dirty(uint64_t gpa, uint64_t len)
{
	uint64_t at;

	for (at = gpa; at < gpa + len; at++)
		expected_bits[at / 4096 / 8] |= (uint8_t)(1u << (at / 4096 % 8));
}

static void dirty(const struct line_config *c)
{
	static uint8_t ring_before[64 * 1024];
	struct xv_dirty_log log = {.bits = (_Atomic uint8_t *)dirty_bits,
				   .size_bytes = sizeof(dirty_bits)};
	unsigned int round, i;
	int sending;

	for (sending = 0; sending < 2; sending++) {
		uint64_t ring_gpa, ring_bytes, page;
		uint8_t *ring;

		line_open(c, 12, RTE_MIN(LINE_REGION_BYTES / 2 / (c->size + 2u), 6000u));
		ring_gpa = c->packed ? line->ring.desc_gpa : line->ring.used_gpa;
		ring_bytes = c->packed ? c->size * 16u : 4 + c->size * 8u;
		ring = guest_at(&line->guest, ring_gpa);
		line_start_with(&log, ring_gpa, NULL);
		for (round = 0; round < 60; round++) {
			unsigned int n = 1 + line_random(RTE_MIN(c->size, 20u)), went;
			struct rte_mbuf *pkts[XV_BURST];
			enum xv_vring_reject why;
			uint32_t cookie, len;

			for (i = 0; i < n; i++) {
				unsigned int pieces;
				enum guest_shape shape = line_random_shape(&pieces);

				if (sending ? !line_post(line->chunk, pieces, shape, true)
					    : !line_post_random_frame())
					break;
			}
			guest_ring_publish(&line->ring);
			memset(dirty_bits, 0, sizeof(dirty_bits));
			memset(expected_bits, 0, sizeof(expected_bits));
			memcpy(ring_before, ring, ring_bytes);
			if (sending) {
				for (i = 0; i < n; i++)
					pkts[i] = line_make_packet(i, line_random(1400));
				went = line->vq.send(&line->vq, pkts, (uint16_t)n, &why);
				rte_pktmbuf_free_bulk(&pkts[went], n - went);
			} else {
				went = line->vq.recv(&line->vq, pkts, (uint16_t)n);
				if (went > 0)
					rte_pktmbuf_free_bulk(pkts, went);
			}
			assert_int_equal(line->vq.error, XV_VRING_OK);
			for (i = 0; i < ring_bytes; i++)
				if (ring_before[i] != ring[i])
					expect_dirty(ring_gpa + i, 1);
			while (guest_ring_reap(&line->ring, &cookie, &len)) {
				struct line_buffer *b = &line->buffer[cookie];

				b->posted = false;
				for (i = 0; i < b->n && len > 0; i++) {
					uint32_t part = RTE_MIN(len, b->seg[i].len);

					expect_dirty(b->seg[i].gpa, part);
					len -= part;
				}
			}
			/* The used ring may be marked as a whole. */
			for (page = ring_gpa / 4096; page <= (ring_gpa + ring_bytes - 1) / 4096;
			     page++)
				if (went > 0 && (dirty_bits[page / 8] & 1u << (page % 8)) != 0)
					expect_dirty(page * 4096, 1);
			assert_int_equal(memcmp(dirty_bits, expected_bits, sizeof(dirty_bits)), 0);
		}
	}
}

static void dirty_pages_are_logged(void **state)
{
	FOR_EACH_CONFIG(dirty, V1 | INDIRECT, V1 | MRG | INDIRECT, V1 | ORDER | MRG, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		LINE_TEST(received_frames_are_whole_and_in_order),
		LINE_TEST(sent_frames_are_whole_and_in_order),
		LINE_TEST(every_length_passes),
		LINE_TEST(longest_frame_passes),
		LINE_TEST(offload_requests_are_translated),
		LINE_TEST(data_valid_is_for_those_who_asked),
		LINE_TEST(without_packet_memory_nothing_is_lost),
		LINE_TEST(frame_without_room_leaves_no_trace),
		LINE_TEST(tiny_buffers_are_no_offence),
		LINE_TEST(dirty_pages_are_logged),
	};

	return cmocka_run_group_tests_name("vring", tests, line_setup, line_teardown);
}
