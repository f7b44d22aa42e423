/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Variants of the ring code that must come to the same result: plain C and AVX-512, on sound and on
 * hostile rings, bit by bit; with an in-flight log and without.
 */
#include "unit.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "virtio/inflight.h"
#include "virtio/vring_ops.h"
#include "vring_line.h"

/*
 * Twins. Both get the same ring; all that can be seen afterwards must be equal.
 */
struct outcome {
	uint16_t returned;
	enum xv_vring_reject why;
	unsigned int n_bytes;
	uint8_t bytes[512 * 1024]; /* the packets: lengths, flags, requests, contents */
	struct xv_vring vq;
	uint8_t *memory;
};
static struct outcome *outcomes[2];

static void note(struct outcome *o, const void *bytes, uint32_t len)
{
	assert_true(o->n_bytes + len <= sizeof(o->bytes));
	memcpy(o->bytes + o->n_bytes, bytes, len);
	o->n_bytes += len;
}

static void note_packet(struct outcome *o, struct rte_mbuf *m)
{
	struct xv_offload request = {0};
	uint32_t head[4];

	rte_mbuf_sanity_check(m, 1);
	if (m->ol_flags & XV_PACKET_OFFLOAD)
		request = *xv_packet_offload(m);
	head[0] = m->pkt_len;
	head[1] = m->nb_segs;
	head[2] = (uint32_t)m->ol_flags;
	head[3] = m->data_off;
	note(o, head, sizeof(head));
	note(o, &request, sizeof(request));
	note(o, rte_pktmbuf_read(m, 0, m->pkt_len, line_scratch), m->pkt_len);
}

static void receive_into(struct outcome *o, xv_vring_recv_fn recv, uint16_t n)
{
	struct rte_mbuf *pkts[XV_BURST];
	unsigned int i;

	o->returned = recv(&line->vq, pkts, n);
	assert_true(o->returned <= n);
	o->n_bytes = 0;
	for (i = 0; i < o->returned && o->n_bytes < sizeof(o->bytes) - LINE_FLAT_MAX; i++)
		note_packet(o, pkts[i]);
	if (o->returned > 0)
		rte_pktmbuf_free_bulk(pkts, o->returned);
}

static void send_into(struct outcome *o, xv_vring_send_fn send, uint16_t n, uint64_t seed)
{
	struct rte_mbuf *pkts[XV_BURST];
	uint64_t saved = line->random;
	unsigned int i;

	line->random = seed;
	for (i = 0; i < n; i++) {
		uint64_t frame = line_random(UINT32_MAX);

		pkts[i] = line_make_packet(frame, line_random(16) == 0 ? line_random(5000)
								       : line_random(700));
		if (line_random(16) != 0)
			continue;
		pkts[i]->ol_flags |= XV_PACKET_OFFLOAD;
		*xv_packet_offload(pkts[i]) =
			(struct xv_offload){.flags = XV_OFFLOAD_CSUM,
					    .csum_start = 34,
					    .csum_offset = 16,
					    .gso_type = line_random(2) ? XV_GSO_TCPV4 : 0,
					    .gso_size = 1400};
	}
	line->random = saved;
	o->returned = send(&line->vq, pkts, n, &o->why);
	assert_true(o->returned <= n);
	o->n_bytes = 0;
	rte_pktmbuf_free_bulk(&pkts[o->returned], n - o->returned);
}

static void random_header(struct virtio_net_hdr_mrg_rxbuf *hdr)
{
	uint8_t *bytes = (uint8_t *)hdr;
	unsigned int i;

	memset(hdr, 0, sizeof(*hdr));
	switch (line_random(12)) {
	case 0: /* anything */
		for (i = 0; i < sizeof(*hdr); i++)
			bytes[i] = (uint8_t)line_random(256);
		break;
	case 1:
		hdr->hdr.flags = (uint8_t)line_random(4);
		hdr->hdr.csum_start = (uint16_t)line_random(60);
		hdr->hdr.csum_offset = 16;
		hdr->hdr.gso_type = (uint8_t)line_random(6);
		hdr->hdr.gso_size = 1000;
		break;
	}
}

/* Change some of what the guest has written: ring, tables, positions. */
static void corrupt(void)
{
	static const uint64_t values[] = {
		0,    1,      2,      3,      4,          7,          8,         15,        16,
		0x80, 0x8000, 0x8080, 0xffff, UINT32_MAX, UINT64_MAX, GUEST_FAR, GUEST_BASE};
	struct guest_ring *r = &line->ring;
	unsigned int n = 1 + line_random(3);

	while (n-- > 0) {
		uint64_t value = line_random(2) ? values[line_random(RTE_DIM(values))]
						: line_random(line->c->size + 2u);
		uint16_t i = (uint16_t)line_random(line->c->size);
		uint8_t *desc = guest_at(&line->guest, r->desc_gpa + i * 16u);

		switch (line_random(8)) {
		case 0:
			memcpy(desc, &value, 8);
			break;
		case 1:
			memcpy(desc + 8, &value, 4);
			break;
		case 2:
			memcpy(desc + 12, &value, 2);
			break;
		case 3:
			memcpy(desc + 14, &value, 2);
			break;
		case 4: /* just beyond a region, or into it */
			value = GUEST_FAR + line->guest.region_bytes - line_random(300);
			memcpy(desc, &value, 8);
			break;
		case 5:
			memcpy(guest_at(&line->guest,
					r->table_gpa + line_random(line->c->size * 256u)),
			       &value, 2);
			break;
		case 6:
			if (!line->c->packed)
				r->avail->ring[i] = (uint16_t)value;
			break;
		case 7:
			if (!line->c->packed && line_random(4) == 0)
				r->avail->idx = (uint16_t)value;
			break;
		}
	}
}

static void compare(void)
{
	const struct outcome *a = outcomes[0], *b = outcomes[1];

	assert_int_equal(a->returned, b->returned);
	assert_int_equal(a->why, b->why);
	assert_int_equal(a->n_bytes, b->n_bytes);
	assert_memory_equal(a->bytes, b->bytes, a->n_bytes);
	assert_int_equal(a->vq.error, b->vq.error);
	assert_memory_equal(&a->vq, &b->vq, sizeof(a->vq));
	assert_int_equal(memcmp(a->memory, b->memory, line->guest.n_bytes), 0);
}

static void twins(const struct line_config *c)
{
	unsigned int round, i;
	struct xv_vring start;
	struct guest saved;
	struct outcome *o;
	uint8_t *memory;

	if (c->avx512)
		return;
	saved = line->guest;
	guest_create(&line->guest, 128 * 1024); /* less to compare */
	memory = malloc(line->guest.n_bytes);
	assert_non_null(memory);
	for (i = 0; i < 2; i++) {
		outcomes[i] = malloc(sizeof(*outcomes[i]));
		assert_non_null(outcomes[i]);
		outcomes[i]->memory = malloc(line->guest.n_bytes);
		assert_non_null(outcomes[i]->memory);
	}
	for (round = 0; round < 40; round++) {
		bool sending = round % 2 != 0, hostile = round % 4 >= 2;
		unsigned int bursts = 1 + line_random(4), odd, calm;
		uint32_t most;
		uint64_t seed;

		line_open(c, round * 31 + c->features + c->size, round % 8 < 6 ? 1600 : 3000);
		line->ring.scatter = (c->features & ORDER) == 0 && line_random(4) == 0;
		line_start();
		most = line->chunk - line->hdr_len;
		calm = line_random(3) == 0 ? 1 : 16;
		while (bursts-- > 0) {
			uint16_t n = (uint16_t)(1 + line_random(XV_BURST));
			uint32_t cookie, len;

			for (odd = 0; odd < 80; odd++) {
				struct virtio_net_hdr_mrg_rxbuf hdr;
				unsigned int pieces = 1;
				enum guest_shape shape = GUEST_DIRECT;

				if (line_random(calm) == 0)
					shape = line_random_shape(&pieces);
				if (sending) {
					if (!line_post(line_random(16) ? line->chunk
								       : line_random(line->chunk),
						       pieces, shape, true))
						break;
					continue;
				}
				random_header(&hdr);
				if (!line_post_frame_as(
					    &hdr,
					    line_random(16) ? 1 + line_random(RTE_MIN(most, 1514u))
							    : line_random(most),
					    pieces, shape))
					break;
			}
			guest_ring_publish(&line->ring);
			if (hostile && line_random(2) != 0)
				corrupt();
			memcpy(memory, line->guest.bytes, line->guest.n_bytes);
			start = line->vq;
			seed = line_random(UINT32_MAX);
			for (i = 0; i < 2; i++) {
				o = outcomes[i];
				memcpy(line->guest.bytes, memory, line->guest.n_bytes);
				line->vq = start;
				if (sending)
					send_into(o,
						  c->packed ? i ? xv_packed_send_avx512
								: xv_packed_send
						  : i       ? xv_split_send_avx512
							    : xv_split_send,
						  n, seed);
				else
					receive_into(o,
						     c->packed ? i ? xv_packed_recv_avx512
								   : xv_packed_recv
						     : i       ? xv_split_recv_avx512
							       : xv_split_recv,
						     n);
				o->vq = line->vq;
				memcpy(o->memory, line->guest.bytes, line->guest.n_bytes);
			}
			if (!sending)
				outcomes[0]->why = outcomes[1]->why = XV_VRING_FULL;
			compare();
			line_check_no_leak();
			if (hostile) /* the driver cannot follow */
				break;
			while (guest_ring_reap(&line->ring, &cookie, &len))
				line->buffer[cookie].posted = false;
		}
	}
	for (i = 0; i < 2; i++) {
		free(outcomes[i]->memory);
		free(outcomes[i]);
	}
	free(memory);
	guest_destroy(&line->guest);
	line->guest = saved;
}

static void avx512_and_plain_c_are_twins(void **state)
{
	if (!line_have_avx512) {
		print_message("This CPU has no AVX-512: the twins are not compared.\n");
		skip();
	}
	FOR_EACH_CONFIG(twins, ALL_FEATURES, V1 | MRG | INDIRECT | HOST_OFFLOADS | GUEST_OFFLOADS,
			HOST_OFFLOADS | ORDER);
}

/* The same with and without an in-flight log, and the log is empty between bursts. */
static void run_logged(struct outcome *o, const struct line_config *c, bool logged)
{
	struct xv_inflight_area *area = NULL;
	struct xv_inflight *inflight = NULL;
	unsigned int round, i;
	int fd = -1;

	o->n_bytes = 0;
	line_open(c, 13, 600);
	line->ring.scatter = (c->features & ORDER) == 0;
	if (logged) {
		uint16_t pos = line->ring.avail_pos;
		bool wrap = line->ring.avail_wrap;

		assert_int_equal(xv_inflight_area_create(1, c->size, c->packed, &area, &fd, NULL),
				 0);
		inflight = &area->queues[0];
		if (c->packed)
			assert_int_equal(xv_inflight_start_packed(inflight, line->ring.packed,
								  c->size, &pos, &wrap, NULL),
					 0);
		else
			assert_int_equal(xv_inflight_start_split(inflight, line->ring.avail,
								 c->size, pos, &pos, NULL),
					 0);
	}
	line_start_with(NULL, UINT64_MAX, inflight);
	for (round = 0; round < 40; round++) {
		bool sending = (line->features & MRG) != 0 && round >= 20;
		unsigned int n = 1 + line_random(RTE_MIN(c->size, 20u)), went;
		struct rte_mbuf *pkts[XV_BURST];
		enum xv_vring_reject why;
		uint32_t used[2];

		for (i = 0; i < n; i++) {
			struct virtio_net_hdr_mrg_rxbuf hdr;
			unsigned int pieces;
			enum guest_shape shape = line_random_shape(&pieces);

			random_header(&hdr);
			if (sending ? !line_post(RTE_MIN(300u, line->chunk), pieces, shape, true)
				    : !line_post_frame_as(&hdr,
							  line_random(line->chunk - line->hdr_len),
							  pieces, shape))
				break;
		}
		guest_ring_publish(&line->ring);
		if (sending) {
			for (i = 0; i < n; i++)
				pkts[i] = line_make_packet(i, line_random(1400));
			went = line->vq.send(&line->vq, pkts, (uint16_t)n, &why);
			rte_pktmbuf_free_bulk(&pkts[went], n - went);
		} else {
			went = line->vq.recv(&line->vq, pkts, XV_BURST);
			for (i = 0; i < went; i++)
				note_packet(o, pkts[i]);
			if (went > 0)
				rte_pktmbuf_free_bulk(pkts, went);
		}
		note(o, &went, sizeof(went));
		assert_int_equal(line->vq.error, XV_VRING_OK);
		while (guest_ring_reap(&line->ring, &used[0], &used[1])) {
			struct line_buffer *b = &line->buffer[used[0]];

			b->posted = false;
			note(o, used, sizeof(used));
			guest_read(&line->guest, b->seg, b->n, 0, line_scratch, b->len);
			note(o, line_scratch, b->len);
		}
		for (i = 0; logged && i < c->size; i++)
			assert_int_equal(c->packed ? inflight->packed->desc[i].inflight
						   : inflight->split->desc[i].inflight,
					 0);
		if (logged)
			assert_int_equal(c->packed ? inflight->packed->used_idx
						   : inflight->split->used_idx,
					 line->vq.used_idx);
	}
	note(o, &line->vq.avail_idx, 2);
	note(o, &line->vq.used_idx, 2);
	note(o, &line->vq.avail_wrap, 1);
	note(o, &line->vq.used_wrap, 1);
	i = (unsigned int)atomic_load(&line->vq.bad_headers);
	note(o, &i, sizeof(i));
	if (logged) {
		xv_inflight_area_destroy(area);
		(void)close(fd);
	}
}

static void logged(const struct line_config *c)
{
	struct outcome *o = malloc(2 * sizeof(*o));

	assert_non_null(o);
	run_logged(&o[0], c, false);
	run_logged(&o[1], c, true);
	assert_int_equal(o[0].n_bytes, o[1].n_bytes);
	assert_int_equal(memcmp(o[0].bytes, o[1].bytes, o[0].n_bytes), 0);
	free(o);
}

static void inflight_log_changes_nothing(void **state)
{
	FOR_EACH_CONFIG(logged, V1, V1 | INDIRECT | HOST_OFFLOADS, V1 | MRG | INDIRECT,
			V1 | ORDER | MRG, ORDER, V1 | EVENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		LINE_TEST(avx512_and_plain_c_are_twins),
		LINE_TEST(inflight_log_changes_nothing),
	};

	return cmocka_run_group_tests_name("vring_twins", tests, line_setup, line_teardown);
}
