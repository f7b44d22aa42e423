/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that writes whatever it likes into its memory, before and while we receive from one of
 * its rings and send to another.
 *
 * Input: struct input; n_ops pairs of bytes (what happens, see step()); n_mutations pairs of 16-bit
 * words (where, what) that are written on request and, by a second thread, all the time; the rest
 * is the image of guest memory: the parts of ring 0, of ring 1, then buffers. Each part is a region
 * of its own, of exactly its size, that ends at a page that nobody may touch; the rest of its pages
 * is poisoned.
 */
#include "fuzz_ring.h"

#include "fuzz.h"

#include <pthread.h>
#include <sched.h>
#include <string.h>

#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <sanitizer/asan_interface.h>
#include <sys/mman.h>
#include <unistd.h>

#include <rte_mbuf.h>

#include "net/packet_share.h"
#include "virtio/dirty_log.h"
#include "virtio/inflight.h"
#include "virtio/vnet_hdr.h"
#include "virtio/vring.h"
#include "virtio/vring_ops.h"

#define BIT(n)    (UINT64_C(1) << (n))
#define POOL_SIZE 511
#define PAGE      4096u
#define PART_MAX  (4 * PAGE)
#define QUEUE_MAX 256

struct input {
	uint8_t features; /* of feature_bits; 64: dirty log, 128: in-flight log */
	uint8_t how; /* 1: AVX-512; 2: second thread; 4: wrap counters start at 0; 8: few mbufs; 16: long frames are lent */
	uint8_t sizes[2];
	uint16_t start; /* position of both rings */
	uint8_t n_ops, n_mutations;
};

static const uint64_t feature_bits[6] = {
	BIT(VIRTIO_F_VERSION_1),
	BIT(VIRTIO_NET_F_MRG_RXBUF),
	BIT(VIRTIO_F_IN_ORDER),
	BIT(VIRTIO_RING_F_EVENT_IDX),
	BIT(VIRTIO_RING_F_INDIRECT_DESC),
	BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_HOST_TSO4) | BIT(VIRTIO_NET_F_HOST_TSO6) |
		BIT(VIRTIO_NET_F_HOST_ECN) | BIT(VIRTIO_NET_F_HOST_UFO) |
		BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_GUEST_TSO4) |
		BIT(VIRTIO_NET_F_GUEST_TSO6),
};

/* In the order of the image; addresses rise. Buffers lie in two regions that adjoin. */
enum part {
	BUFFERS,
	MORE_BUFFERS,
	RING, /* desc, avail, used of ring 0, then of ring 1 */
	N_PARTS = RING + 6,
};
#define BUFFERS_GPA    UINT64_C(0x10000)
#define BUFFERS_BYTES  PART_MAX
#define MORE_BYTES     1000u
#define RING_GPA(part) (UINT64_C(0x100000) * (1 + (part)-RING))

struct ring {
	struct xv_vring vq;
	struct xv_vring_setup setup;
	struct xv_inflight_area *area;
	uint16_t pos; /* where the guest makes descriptors available */
	bool wrap;
};

static struct rte_mempool *pool;
static uint8_t *part_end[N_PARTS]; /* end of the accessible pages of each part */
static struct xv_guest_memory *mem;
static struct ring rings[2];
static struct rte_mbuf *queue[QUEUE_MAX];
static unsigned int n_queue;

static const uint16_t (*mutations)[2];
static unsigned int n_mutations, next_mutation;
static _Atomic bool started, stop;

void fuzz_ring_init(void)
{
	unsigned int i;

	fuzz_eal_init();
	pool = fuzz_pool_create("fuzz", POOL_SIZE);
	mem = calloc(1, sizeof(*mem));
	FUZZ_CHECK(mem != NULL);
	for (i = 0; i < N_PARTS; i++) {
		uint8_t *p = mmap(NULL, PART_MAX + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS,
				  -1, 0);

		FUZZ_CHECK(p != MAP_FAILED);
		FUZZ_CHECK(mprotect(p + PAGE, PART_MAX, PROT_READ | PROT_WRITE) == 0);
		part_end[i] = p + PAGE + PART_MAX;
	}
}

static void make_part(enum part part, uint64_t gpa, uint64_t bytes)
{
	uint8_t *start = part_end[part] - PART_MAX;
	uint64_t aligned = (bytes + 3) / 4 * 4;

	FUZZ_CHECK(bytes <= PART_MAX);
	ASAN_UNPOISON_MEMORY_REGION(start, PART_MAX);
	memset(start, 0, PART_MAX);
	mem->regions[part] =
		(struct xv_region){.gpa = gpa, .size = bytes, .hva = part_end[part] - aligned};
	ASAN_POISON_MEMORY_REGION(start, PART_MAX - aligned);
	ASAN_POISON_MEMORY_REGION(part_end[part] - aligned + bytes, aligned - bytes);
}

/* The byte at `offset` of the image; NULL: it is longer than memory. */
static uint8_t *image_at(uint32_t offset)
{
	static const uint8_t order[N_PARTS] = {RING,     RING + 1, RING + 2, RING + 3,
					       RING + 4, RING + 5, BUFFERS,  MORE_BUFFERS};
	unsigned int i;

	for (i = 0; i < N_PARTS; i++) {
		const struct xv_region *r = &mem->regions[order[i]];

		if (offset < r->size)
			return r->hva + offset;
		offset -= (uint32_t)r->size;
	}
	return NULL;
}

static void mutate(unsigned int n)
{
	while (n-- > 0 && n_mutations > 0) {
		const uint16_t *m = mutations[next_mutation];
		uint16_t value = m[1];
		uint8_t *low = image_at(m[0]), *high = image_at(m[0] + 1u);

		next_mutation = (next_mutation + 1) % n_mutations;
		if (low != NULL)
			__atomic_store_n(low, (uint8_t)value, __ATOMIC_RELAXED);
		if (high != NULL)
			__atomic_store_n(high, (uint8_t)(value >> 8), __ATOMIC_RELAXED);
	}
}

static void *mutator(void *arg)
{
	cpu_set_t all;

	memset(&all, 0xff, sizeof(all)); /* EAL has bound the thread that we come from */
	(void)sched_setaffinity(0, sizeof(all), &all);
	atomic_store(&started, true);
	do {
		mutate(n_mutations);
	} while (!atomic_load_explicit(&stop, memory_order_relaxed));
	return NULL;
}

/* (Re)start a ring where the guest stands. */
static void ring_start(struct ring *r)
{
	struct xv_vring_setup *s = &r->setup;

	s->avail_idx = s->used_idx = r->pos;
	s->avail_wrap = s->used_wrap = r->wrap;
	if (r->area != NULL) {
		s->inflight = &r->area->queues[0];
		s->inflight->recover = false;
		if (r->area->packed)
			FUZZ_CHECK(xv_inflight_start_packed(s->inflight, s->desc, s->size,
							    &s->used_idx, &s->used_wrap,
							    NULL) == 0);
		else
			FUZZ_CHECK(xv_inflight_start_split(s->inflight, s->avail, s->size,
							   s->used_idx, &s->avail_idx, NULL) == 0);
	}
	xv_vring_start(&r->vq, s);
}

static void ring_open(struct ring *r, const struct input *in, unsigned int which, bool packed,
		      struct xv_dirty_log *log)
{
	uint64_t features = packed ? BIT(VIRTIO_F_RING_PACKED) | BIT(VIRTIO_F_VERSION_1) : 0;
	uint64_t desc, avail, used;
	enum part part = RING + 3 * which;
	uint16_t size;
	unsigned int i;
	int fd;

	for (i = 0; i < 6; i++)
		features |= in->features & 1u << i ? feature_bits[i] : 0;
	size = (uint16_t)(packed ? in->sizes[which] + 1u : 1u << in->sizes[which] % 9);
	xv_vring_bytes(size, packed, (features & BIT(VIRTIO_RING_F_EVENT_IDX)) != 0, &desc, &avail,
		       &used);
	make_part(part, RING_GPA(part), desc);
	make_part(part + 1, RING_GPA(part + 1), avail);
	make_part(part + 2, RING_GPA(part + 2), used);
	memset(r, 0, sizeof(*r));
	r->setup = (struct xv_vring_setup){
		.desc = mem->regions[part].hva,
		.avail = mem->regions[part + 1].hva,
		.used = mem->regions[part + 2].hva,
		.size = size,
		.receive = which == 0,
		.lends = (in->how & 16) != 0,
		.mem = mem,
		.pool = pool,
		.log = log,
		.log_used_gpa = log ? RING_GPA(packed ? part : part + 2) : UINT64_MAX,
		.features = features,
		.kick_fd = -1,
		.call_fd = -1,
	};
	if (in->features & 128) {
		FUZZ_CHECK(xv_inflight_area_create(1, size, packed, &r->area, &fd, NULL) == 0);
		(void)close(fd);
	}
	r->pos = packed ? in->start % size : in->start;
	r->wrap = (in->how & 4) == 0;
}

static void make_available(struct ring *r, unsigned int n)
{
	struct xv_vring *vq = &r->vq;

	if (!vq->is_packed) {
		r->pos = (uint16_t)(r->pos + n);
		__atomic_store_n(&vq->avail->idx, r->pos, __ATOMIC_RELEASE);
		return;
	}
	while (n-- > 0) {
		uint16_t *flags = &vq->packed[r->pos].flags;

		__atomic_store_n(flags, (uint16_t)((*flags & ~0x8080) | (r->wrap ? 0x80 : 0x8000)),
				 __ATOMIC_RELEASE);
		if (++r->pos == vq->size) {
			r->pos = 0;
			r->wrap = !r->wrap;
		}
	}
}

static void check_received(struct rte_mbuf *m, const struct xv_vring *vq)
{
	rte_mbuf_sanity_check(m, 1);
	FUZZ_CHECK(m->pkt_len > 0 && m->pkt_len <= XV_VNET_MAX_FRAME);
	FUZZ_CHECK((m->ol_flags & ~XV_PACKET_OFFLOAD) == 0);
	if (m->ol_flags & XV_PACKET_OFFLOAD) {
		const struct xv_offload *o = xv_packet_offload(m);

		if (o->flags & XV_OFFLOAD_CSUM)
			FUZZ_CHECK((uint32_t)o->csum_start + o->csum_offset + 2 <= m->pkt_len);
		FUZZ_CHECK(o->flags & XV_OFFLOAD_CSUM || o->gso_type == XV_GSO_NONE);
		FUZZ_CHECK(o->gso_size > 0 || o->gso_type == XV_GSO_NONE);
		FUZZ_CHECK(vq->features & BIT(VIRTIO_NET_F_CSUM) || o->flags == 0);
	}
}

static void drop_queue(void)
{
	if (n_queue > 0)
		rte_pktmbuf_free_bulk(queue, n_queue);
	n_queue = 0;
}

/* What was lent is sent by now, or copied; the guest gets its buffers back. */
static void end_burst(void)
{
	unsigned int i, kept = 0;

	if (!rings[0].vq.lent)
		return;
	for (i = 0; i < n_queue; i++) {
		struct rte_mbuf *m = xv_packet_unlend(queue[i], pool);

		if (m == NULL) {
			rte_pktmbuf_free(queue[i]);
			continue;
		}
		FUZZ_CHECK(!xv_packet_is_lent(m));
		rte_mbuf_sanity_check(m, 1);
		queue[kept++] = m;
	}
	n_queue = kept;
	FUZZ_CHECK(xv_vring_return(&rings[0].vq) == 0);
}

static void receive(struct ring *r, uint16_t n)
{
	bool broken = xv_vring_is_broken(&r->vq);
	uint16_t got, i;

	if (n_queue + n > QUEUE_MAX)
		drop_queue();
	got = r->vq.recv(&r->vq, &queue[n_queue], n);
	FUZZ_CHECK(got <= n);
	FUZZ_CHECK(!broken || got == 0);
	for (i = 0; i < got; i++)
		check_received(queue[n_queue + i], &r->vq);
	n_queue += got;
}

static void transmit(struct ring *r)
{
	bool broken = xv_vring_is_broken(&r->vq);
	enum xv_vring_reject why;
	unsigned int i;
	uint16_t went;

	went = r->vq.send(&r->vq, queue, (uint16_t)n_queue, &why);
	FUZZ_CHECK(went <= n_queue);
	FUZZ_CHECK(!broken || (went == 0 && why == XV_VRING_DEAD));
	n_queue -= went;
	memmove(queue, &queue[went], n_queue * sizeof(queue[0]));
	for (i = 0; i < n_queue; i++)
		rte_mbuf_sanity_check(queue[i], 1);
	if (n_queue > 0 && (why == XV_VRING_TOO_LONG || why == XV_VRING_OFFLOAD)) {
		rte_pktmbuf_free(queue[0]);
		n_queue--;
		memmove(queue, &queue[1], n_queue * sizeof(queue[0]));
	}
}

/* A packet of our own for ring 1, of len bytes, in several mbufs if need be. */
static void make_packet(uint32_t len, uint8_t request)
{
	struct rte_mbuf *head = NULL, *m;
	uint32_t part;

	if (n_queue == QUEUE_MAX)
		return;
	do {
		m = rte_pktmbuf_alloc(pool);
		if (m == NULL) {
			rte_pktmbuf_free(head);
			return;
		}
		part = RTE_MIN(len, (uint32_t)XV_PACKET_DATA_BYTES);
		memset(rte_pktmbuf_append(m, (uint16_t)part), 0x5a, part);
		len -= part;
		if (head == NULL)
			head = m;
		else
			FUZZ_CHECK(rte_pktmbuf_chain(head, m) == 0);
	} while (len > 0);
	if (request & 1) {
		head->ol_flags |= XV_PACKET_OFFLOAD;
		*xv_packet_offload(head) = (struct xv_offload){
			.flags = request & 2 ? XV_OFFLOAD_CSUM : XV_OFFLOAD_CSUM_VALID,
			.gso_type = request & 4 ? XV_GSO_TCPV4 : XV_GSO_NONE,
			.gso_size = 1448,
			.csum_start = 34,
			.csum_offset = 16};
	}
	queue[n_queue++] = head;
}

static void step(uint8_t op, uint8_t arg)
{
	struct ring *r = &rings[arg & 1];

	if (op % 9 != 1 && op % 9 != 3 && op % 9 != 7) /* a burst is sent, and meanwhile the guest does what it likes */
		end_burst();
	switch (op % 9) {
	case 0:
		receive(&rings[0], (uint16_t)(1 + arg % (XV_BURST + 1)));
		break;
	case 1:
		if (n_queue > 0)
			transmit(&rings[1]);
		break;
	case 2:
		make_available(r, arg >> 1);
		break;
	case 3:
		if (atomic_load(&stop)) /* else the other thread does it */
			mutate(arg);
		break;
	case 4:
		(void)xv_vring_backlog(&r->vq, 1 + (arg >> 1));
		break;
	case 5:
		if (!xv_vring_arm(&r->vq) && !r->vq.is_packed)
			FUZZ_CHECK(!r->vq.notify_armed);
		break;
	case 6:
		xv_vring_disarm(&r->vq);
		break;
	case 7:
		make_packet(60u + (arg >> 3) * 300u, arg & 7);
		break;
	case 8:
		drop_queue();
		if (xv_vring_is_broken(&r->vq))
			ring_start(r);
		break;
	}
	if (rings[0].vq.is_packed) {
		for (r = rings; r < rings + 2; r++) {
			FUZZ_CHECK(r->vq.avail_idx < r->vq.size);
			FUZZ_CHECK(r->vq.used_idx < r->vq.size);
		}
	}
}

void fuzz_ring_run(const uint8_t *data, size_t size, bool packed)
{
	static _Atomic uint8_t log_bits[128]; /* short: of what the rings write, some is beyond */
	struct xv_dirty_log log = {.bits = log_bits, .size_bytes = sizeof(log_bits)};
	static struct rte_mbuf *hoard[POOL_SIZE];
	uint16_t words[256][2];
	unsigned int i, n_hoard = 0;
	const uint8_t *ops;
	struct input in;
	pthread_t thread;
	bool threaded;

	if (size < sizeof(in))
		return;
	memcpy(&in, data, sizeof(in));
	data += sizeof(in);
	size -= sizeof(in);
	if (size < in.n_ops * 2u + in.n_mutations * 4u)
		return;
	ops = data;
	memcpy(words, data + in.n_ops * 2u, in.n_mutations * 4u);
	data += in.n_ops * 2u + in.n_mutations * 4u;
	size -= in.n_ops * 2u + in.n_mutations * 4u;

	mem->n = N_PARTS;
	make_part(BUFFERS, BUFFERS_GPA, BUFFERS_BYTES);
	make_part(MORE_BUFFERS, BUFFERS_GPA + BUFFERS_BYTES, MORE_BYTES);
	for (i = 0; i < 2; i++)
		ring_open(&rings[i], &in, i, packed, in.features & 64 ? &log : NULL);
	for (i = 0; i < size && image_at(i) != NULL; i++)
		*image_at(i) = data[i];
	xv_vring_use_avx512 = (in.how & 1) != 0 && __builtin_cpu_supports("avx512bw") &&
			      __builtin_cpu_supports("avx512vl") &&
			      __builtin_cpu_supports("avx512dq");
	ring_start(&rings[0]);
	ring_start(&rings[1]);
	if (in.how & 8) {
		n_hoard = POOL_SIZE - 10;
		FUZZ_CHECK(rte_mempool_get_bulk(pool, (void **)hoard, n_hoard) == 0);
	}

	mutations = words;
	n_mutations = in.n_mutations;
	next_mutation = 0;
	threaded = (in.how & 2) != 0 && n_mutations > 0;
	atomic_store(&stop, !threaded);
	atomic_store(&started, false);
	if (threaded) {
		FUZZ_CHECK(pthread_create(&thread, NULL, mutator, NULL) == 0);
		while (!atomic_load(&started))
			(void)sched_yield();
	}
	for (i = 0; i < in.n_ops; i++)
		step(ops[2 * i], ops[2 * i + 1]);
	if (threaded) {
		atomic_store(&stop, true);
		FUZZ_CHECK(pthread_join(thread, NULL) == 0);
	}

	end_burst();
	drop_queue();
	if (n_hoard > 0)
		rte_mempool_put_bulk(pool, (void **)hoard, n_hoard);
	FUZZ_CHECK(rte_mempool_avail_count(pool) == POOL_SIZE);
	for (i = 0; i < 2; i++) {
		xv_vring_stop(&rings[i].vq);
		xv_inflight_area_destroy(rings[i].area);
	}
}
