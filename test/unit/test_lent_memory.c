/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that a guest lends (virtio/lending.h) stays where it is until the burst is over, whatever the front end does meanwhile: a ring
 * that is taken, a front end that dies, wait; a file that shrinks breaks the device that it belongs to.
 */
#include "unit.h"

#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "net/packet_share.h"
#include "port/kernel_frame.h"
#include "table/rcu.h"
#include "vhost_front.h"

#define WORKER	 1
#define FRAME_AT 0x100000u
#define LEN	 9000u
#define HDR	 12u

static struct rte_mempool *pool;

/* A worker in the middle of a burst. */
static struct {
	pthread_t thread;
	_Atomic bool has_received, waited;
	bool whole;
	unsigned int overdue;
} burst;

static int setup(void **state)
{
	if (unit_eal_init(state) != 0 || front_setup(state) != 0)
		return -1;
	pool = unit_pool_create("lent", 255);
	front_config.pool = pool;
	return 0;
}

static uint8_t byte_at(uint32_t i)
{
	return (uint8_t)(i * 7 + i / 251);
}

static bool is_whole(const struct rte_mbuf *m)
{
	static uint8_t copy[LEN];
	const uint8_t *bytes = rte_pktmbuf_read(m, 0, LEN, copy);
	uint32_t i;

	for (i = 0; i < LEN && bytes[i] == byte_at(i); i++)
		;
	return i == LEN && m->pkt_len == LEN;
}

/* A guest that has sent a frame. */
static void attach(void)
{
	struct vring_desc *desc;
	struct vring_avail *avail;
	uint32_t i;

	front_attach(BASIC);
	front_start_ring(0, 0);
	front_start_ring(1, 0);
	desc = (void *)(front_mem + DESC_AT(1));
	avail = (void *)(front_mem + AVAIL_AT(1));
	memset(front_mem + FRAME_AT, 0, HDR);
	for (i = 0; i < LEN; i++)
		front_mem[FRAME_AT + HDR + i] = byte_at(i);
	desc[0] = (struct vring_desc){.addr = FRAME_AT, .len = HDR + LEN};
	avail->ring[0] = 0;
	__atomic_store_n(&avail->idx, 1, __ATOMIC_RELEASE);
}

static struct rte_mbuf *receive(struct xv_vring *vq)
{
	struct rte_mbuf *m;

	assert_int_equal(vq->recv(vq, &m, 1), 1);
	assert_true(xv_packet_is_lent(m));
	return m;
}

static void *worker(void *arg)
{
	struct xv_vring *vq = xv_vhost_ring(front_dev, 1);
	struct rte_mbuf *m;
	unsigned int i;

	xv_rcu_online(WORKER);
	m = receive(vq);
	atomic_store(&burst.has_received, true);
	/* The control thread wants the ring, and waits for us. */
	while (xv_vhost_ring(front_dev, 1) != NULL)
		(void)sched_yield();
	atomic_store(&burst.waited, true);
	for (i = 0; i < 20; i++) {
		(void)usleep(1000);
		burst.whole = is_whole(m);
	}
	rte_pktmbuf_free(m);
	assert_ptr_equal(xv_vhost_ring_in_burst(front_dev, 1), vq);
	burst.overdue = xv_vring_return(vq);
	xv_rcu_quiescent(WORKER);
	xv_rcu_offline(WORKER);
	return arg;
}

static void burst_begin(void)
{
	memset(&burst, 0, sizeof(burst));
	assert_int_equal(xv_rcu_register(WORKER), 0);
	assert_int_equal(pthread_create(&burst.thread, NULL, worker, NULL), 0);
	while (!atomic_load(&burst.has_received))
		(void)sched_yield();
}

static void burst_end(void)
{
	assert_int_equal(pthread_join(burst.thread, NULL), 0);
	xv_rcu_unregister(WORKER);
	assert_true(atomic_load(&burst.waited));
	assert_true(burst.whole);
	assert_int_equal(burst.overdue, 0);
	assert_int_equal(rte_mempool_avail_count(pool), 255);
}

static void a_ring_is_taken_after_the_burst(void **state)
{
	attach();
	burst_begin();
	assert_int_equal(front_used_ring(1)->idx, 0);
	assert_int_equal(front_get_base(1), 1);
	assert_int_equal(front_used_ring(1)->idx, 1);
	assert_int_equal(front_used_ring(1)->ring[0].id, 0);
	burst_end();
	front_detach();
}

static void memory_goes_after_the_burst(void **state)
{
	struct xv_vhost_single_region region = {0, {0, MEM_BYTES, UVA, 0}};

	attach();
	burst_begin();
	assert_int_equal(front_ack(XV_VHOST_REM_MEM_REG, &region, sizeof(region), -1), 0);
	burst_end();
	front_detach();
}

static void a_front_end_dies_after_the_burst(void **state)
{
	attach();
	burst_begin();
	assert_int_equal(shutdown(front_sock, SHUT_RDWR), 0);
	front_turn();
	burst_end();
	assert_false(front_state_of(front_dev).connected);
	front_detach();
}

static void shrink(void)
{
	/* cmocka has put its own handler in place */
	xv_vhost_fini();
	assert_int_equal(xv_vhost_init(front_base), 0);
	attach();
}

/* What the front end itself had mapped would fault, too. */
static void forget_mapping(void)
{
	(void)munmap(front_mem, MEM_BYTES);
	front_mem = mmap(NULL, MEM_BYTES, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

/* Whoever copies, for whatever receiver: the sender's memory is gone, and the sender is broken. */
static void a_file_that_shrinks_breaks_its_own_device(void **state)
{
	struct xv_vring *vq;
	struct rte_mbuf *m;

	shrink();
	vq = xv_vhost_ring(front_dev, 1);
	m = receive(vq);
	assert_int_equal(ftruncate(front_mem_fd, 0), 0);
	m = xv_packet_unlend(m, pool);
	assert_non_null(m);
	assert_int_equal(m->pkt_len, LEN);
	assert_false(is_whole(m));
	assert_int_equal(*rte_pktmbuf_mtod_offset(m, uint8_t *, 100), byte_at(100)); /* that was copied before */
	rte_pktmbuf_free(m);
	assert_int_equal(xv_vring_return(vq), 0);
	forget_mapping();
	front_expect_broken("the file behind guest memory shrank");
}

/* The kernel gets an error in place of a signal: then we look ourselves. */
static void the_kernel_finds_a_file_that_shrank(void **state)
{
	int fd = memfd_create("tap", MFD_CLOEXEC);
	struct xv_kernel_tx frame;
	struct xv_vring *vq;
	struct rte_mbuf *m;
	int n;

	shrink();
	vq = xv_vhost_ring(front_dev, 1);
	m = receive(vq);
	assert_int_equal(ftruncate(front_mem_fd, 0), 0);
	n = xv_kernel_tx_gather(&frame, m);
	/* Of a tap nothing goes out then, of a file what lies before. */
	assert_true(writev(fd, frame.iov, n) < (ssize_t)(XV_KERNEL_HDR_BYTES + LEN));
	xv_kernel_tx_touch(m);
	assert_int_equal(writev(fd, frame.iov, n), XV_KERNEL_HDR_BYTES + LEN);
	rte_pktmbuf_free(m);
	assert_int_equal(xv_vring_return(vq), 0);
	(void)close(fd);
	forget_mapping();
	front_expect_broken("the file behind guest memory shrank");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_ring_is_taken_after_the_burst),
		cmocka_unit_test(memory_goes_after_the_burst),
		cmocka_unit_test(a_front_end_dies_after_the_burst),
		cmocka_unit_test(a_file_that_shrinks_breaks_its_own_device),
		cmocka_unit_test(the_kernel_finds_a_file_that_shrank),
	};

	return cmocka_run_group_tests(tests, setup, front_teardown);
}
