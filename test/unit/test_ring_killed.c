/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A device is killed again and again while it works on a packed ring, and the next one goes on where it was: the
 * guest gets every buffer back once, in order, and never half a packet. The device is a process of its own; guest
 * memory, and the file that says where the ring stands, are shared with it as they are with a real one.
 */
#include "unit.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include <rte_memory.h>

#include "base/clock.h"
#include "virtio/ring_place.h"
#include "vring_line.h"

#define LIVES	   (getenv("FULL") != NULL ? 60 : 8)
#define STEPS	   200 /* instructions: about what it takes */
#define CHUNK	   2048u
#define FRAME_MOST 6000u /* over three buffers */
#define BASE	   1
#define PATIENCE_NS UINT64_C(5000000000) /* for one life; it takes half a millisecond */

static struct xv_ring_place *place;
static unsigned int oldest; /* buffer that comes back next */
static unsigned int empty;  /* buffers that came back without contents */
static unsigned int completed; /* bursts that one life began and the next one finished */

/* From here on the guest's memory is seen by children, and what they do to it by us. */
static void share_memory(struct guest *guest)
{
	uint8_t *old = guest->bytes;
	unsigned int i;

	guest->bytes = mmap(NULL, guest->n_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(guest->bytes != MAP_FAILED);
	for (i = 0; i < GUEST_REGIONS; i++)
		guest->mem->regions[i].hva = guest->bytes + (guest->mem->regions[i].hva - old);
	free(old);
}

/* DPDK's memory is shared with children. This one leaves what it finds as it was, locks above all. */
static int make_private(const struct rte_memseg_list *list, void *arg)
{
	int fd = rte_memseg_get_fd_thread_unsafe(rte_mem_virt2memseg(list->base_va, list));

	return fd < 0 || mmap(list->base_va, list->len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, fd, 0) ==
				 MAP_FAILED;
}

/* The device: goes on where the ring stands, until it is killed. Never returns. */
static void live(const struct line_config *c, bool receives)
{
	struct xv_ring_position at;
	struct xv_vring_setup setup = {.pool = line_pool, .kick_fd = -1, .call_fd = -1, .log_used_gpa = UINT64_MAX};
	struct rte_mbuf *pkts[XV_BURST];
	enum xv_vring_reject why;
	uint32_t i, n = 0, sent;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (rte_memseg_list_walk_thread_unsafe(make_private, NULL) != 0)
		_exit(3);
	guest_ring_setup(&line->ring, line->features, &setup);
	if (!xv_ring_place_recover(place, BASE, line->guest.mem, setup.desc, &at))
		_exit(1);
	setup.avail_idx = setup.used_idx = at.idx;
	setup.avail_wrap = setup.used_wrap = at.wrap;
	xv_ring_place_start(place, BASE, at);
	setup.burst = &place->burst;
	xv_vring_use_avx512 = c->avx512;
	memset(&line->vq, 0, sizeof(line->vq));
	xv_vring_start(&line->vq, &setup);
	while (atomic_load(&line->vq.error) == XV_VRING_OK) {
		if (receives) {
			n = line->vq.recv(&line->vq, pkts, XV_BURST);
			rte_pktmbuf_free_bulk(pkts, n);
			continue;
		}
		/* Each frame is one byte, many times over. */
		for (; n < 32; n++) {
			uint32_t len = line_random(4) != 0 ? 60 : 60 + line_random(FRAME_MOST - 60);

			memset(line_scratch, (int)(1 + line_random(255)), len);
			pkts[n] = unit_packet(line_pool, line_scratch, len, NULL);
		}
		sent = line->vq.send(&line->vq, pkts, (uint16_t)n, &why);
		n -= sent;
		for (i = 0; i < n; i++)
			pkts[i] = pkts[sent + i];
	}
	_exit(2);
}

static struct line_buffer *reap(uint32_t *len)
{
	struct line_buffer *b;
	uint32_t cookie;

	if (!guest_ring_reap(&line->ring, &cookie, len))
		return NULL;
	assert_int_equal(cookie, oldest);
	oldest = (oldest + 1) % line->n_buffers;
	b = &line->buffer[cookie];
	assert_true(b->posted);
	b->posted = false;
	return b;
}

/* A frame has come in as many buffers as its header says, and all of them have come. */
static bool reap_frame(void)
{
	struct virtio_net_hdr_mrg_rxbuf hdr;
	uint32_t len, total = 0, i;
	struct line_buffer *b = reap(&len);
	unsigned int n = 1, left;

	if (b == NULL)
		return false;
	if (len == 0) { /* its device died */
		empty++;
		return true;
	}
	guest_read(&line->guest, b->seg, b->n, 0, &hdr, sizeof(hdr));
	assert_in_range(hdr.num_buffers, 1, 4);
	for (left = hdr.num_buffers; left > 0; left--) {
		if (n++ > 1)
			b = reap(&len);
		assert_non_null(b);
		assert_in_range(len, 1, b->len);
		guest_read(&line->guest, b->seg, b->n, 0, line_scratch + total, len);
		total += len;
	}
	assert_true(total > sizeof(hdr));
	for (i = sizeof(hdr); i < total; i++)
		assert_int_equal(line_scratch[i], line_scratch[sizeof(hdr)]);
	return true;
}

static void guest_turn(bool receives)
{
	uint32_t len;
	unsigned int pieces;
	enum guest_shape shape;

	if (receives) {
		while (line_post_random_frame())
			;
		while (reap(&len) != NULL)
			assert_int_equal(len, 0);
		return;
	}
	do {
		shape = line_random_shape(&pieces);
	} while (line_post(CHUNK, pieces, shape, true));
	while (reap_frame())
		;
}

/* As the next life will: whether there is something to finish. */
static bool finish_burst(const struct line_config *c)
{
	struct vring_packed_desc before[GUEST_RING_MAX];
	struct xv_ring_position at;

	memcpy(before, line->ring.packed, c->size * sizeof(before[0]));
	assert_true(xv_ring_place_recover(place, BASE, line->guest.mem, line->ring.packed, &at));
	return memcmp(before, line->ring.packed, c->size * sizeof(before[0])) != 0;
}

static void expect_stop(pid_t pid, int signal)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSTOPPED(status));
	assert_int_equal(WSTOPSIG(status), signal);
}

static void step(pid_t pid)
{
	assert_int_equal(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL), 0);
	expect_stop(pid, SIGTRAP);
}

/* Let it come to where it gives a burst back, and then some instructions further. (A hardware watchpoint would come there faster,
 * but not every virtual machine has one that works.) */
static void stop_within_burst(pid_t pid, bool receives, unsigned int instructions)
{
	uint64_t before, steps;

	assert_int_equal(ptrace(PTRACE_SEIZE, pid, NULL, NULL), 0);
	assert_int_equal(ptrace(PTRACE_INTERRUPT, pid, NULL, NULL), 0);
	expect_stop(pid, SIGTRAP);
	before = atomic_load(&place->burst);
	for (steps = 0; atomic_load(&place->burst) == before; steps++) {
		if (steps % 256 == 0)
			guest_turn(receives); /* there must be work */
		step(pid);
	}
	while (instructions-- > 0)
		step(pid);
}

static void killed(const struct line_config *c, bool receives)
{
	unsigned int life, came, progress = 0;

	line_open(c, 7, CHUNK);
	oldest = 0;
	xv_ring_place_start(place, BASE, (struct xv_ring_position){line->ring.used_pos, line->ring.used_wrap});
	place->size = c->size;
	place->index = receives; /* of the guest's two queues */
	for (life = 0; life < LIVES; life++) {
		uint64_t until;
		int status;
		pid_t pid;

		pid = fork();
		assert_true(pid >= 0);
		if (pid == 0)
			live(c, receives);
		came = oldest;
		until = xv_clock_ns() + PATIENCE_NS;
		while (oldest == came && xv_clock_ns() < until)
			guest_turn(receives);
		progress += oldest != came;
		stop_within_burst(pid, receives, line_random(STEPS));
		assert_int_equal(kill(pid, SIGKILL), 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
		guest_turn(receives);
		completed += finish_burst(c);
	}
	assert_int_equal(progress, LIVES);
}

static void every_config(bool receives)
{
	static const uint64_t features[] = {V1 | MRG, V1 | MRG | INDIRECT, V1 | MRG | ORDER};
	static const uint16_t sizes[] = {64, 37, 250};
	unsigned int i;

	empty = completed = 0;

	for (i = 0; i < RTE_DIM(sizes); i++) {
		struct line_config c = {.packed = true, .avx512 = line_have_avx512 && i != 1, .size = sizes[i],
					.features = features[i]};

		killed(&c, receives);
	}
	print_message("%u bursts were finished by the next life; %u receive buffers came back empty\n", completed, empty);
	assert_true(completed > 0);
}

static void a_receiver_is_killed(void **state)
{
	every_config(true);
}

static void a_sender_is_killed(void **state)
{
	every_config(false);
}

static int setup(void **state)
{
	if (line_setup(state) != 0)
		return -1;
	share_memory(&line->guest);
	place = mmap(NULL, sizeof(*place), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	line_run_anywhere();
	return place == MAP_FAILED ? -1 : 0;
}

static int teardown(void **state)
{
	(void)munmap(place, sizeof(*place));
	(void)munmap(line->guest.bytes, line->guest.n_bytes);
	line->guest.bytes = NULL;
	return line_teardown(state);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		LINE_TEST(a_receiver_is_killed),
		LINE_TEST(a_sender_is_killed),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
