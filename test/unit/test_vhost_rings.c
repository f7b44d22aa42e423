/* SPDX-License-Identifier: Apache-2.0 */
/* Rings of a vhost-user device as messages set them up: memory, life, bad ones, logs. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "net/packet.h"
#include "table/rcu.h"
#include "vhost_front.h"
#include "virtio/dirty_log.h"
#include "virtio/inflight.h"

/*
 * Memory
 */

static void bad_memory_breaks_the_device(void **state)
{
	struct xv_vhost_memory table = {.n = 1};

	front_attach(BASIC);
	assert_int_equal(front_set_table(MEM_BYTES + 1), 1); /* told, then dropped */
	front_expect_broken(
		"SET_MEM_TABLE: memory region at 0 (0x400001 bytes at 0) is larger than its file");

	front_attach(BASIC);
	table.n = 9;
	front_post(XV_VHOST_SET_MEM_TABLE, 0, &table, sizeof(table), &front_mem_fd, 1);
	front_expect_broken("9 regions in 264 bytes");

	front_attach(BASIC);
	table.n = 0x08000001;
	front_post(XV_VHOST_SET_MEM_TABLE, 0, &table, sizeof(table), &front_mem_fd, 1);
	front_expect_broken("134217729 regions");

	front_attach(BASIC);
	table.n = 2;
	table.regions[0] = (struct xv_vhost_memory_region){0, 4096, UVA, 0};
	table.regions[1] = (struct xv_vhost_memory_region){4096, 4096, UVA + 4096, 4096};
	front_post(XV_VHOST_SET_MEM_TABLE, 0, &table, 8 + 64, &front_mem_fd, 1);
	front_expect_broken("2 regions with 1 file descriptors");

	front_attach(BASIC);
	{
		struct xv_vhost_single_region r = {0, {1u << 30, 4096, UVA, 0}};

		front_post(XV_VHOST_REM_MEM_REG, 0, &r, sizeof(r), NULL, 0);
	}
	front_expect_broken("there is no memory region at 0x40000000 to remove");
}

static void memory_changes_under_running_rings(void **state)
{
	struct xv_vhost_single_region region = {0, {1u << 30, 4096, UVA + (1u << 30), 0}};
	struct xv_vring *vq;
	unsigned int i;

	front_attach(BASIC);
	front_start_ring(0, 0);
	front_start_ring(1, 0);
	assert_int_equal(front_state_of(front_dev).pairs_active, 1);
	vq = xv_vhost_ring(front_dev, 1);
	vq->avail_idx = vq->used_idx = 65000; /* as if it had run */
	for (i = 0; i < 3; i++) {
		assert_int_equal(front_ack(XV_VHOST_ADD_MEM_REG, &region, sizeof(region), front_mem_fd), 0);
		assert_int_equal(xv_vhost_ring(front_dev, 1)->avail_idx, 65000);
		assert_int_equal(xv_vhost_ring(front_dev, 1)->mem->n, 2);
		/* some front ends pass a descriptor to be ignored */
		assert_int_equal(
			front_ack(XV_VHOST_REM_MEM_REG, &region, sizeof(region), i == 1 ? front_mem_fd : -1),
			0);
		assert_int_equal(xv_vhost_ring(front_dev, 1)->mem->n, 1);
	}
	assert_int_equal(front_set_table(MEM_BYTES), 0);
	assert_int_equal(xv_vhost_ring(front_dev, 1)->avail_idx, 65000);

	/* The region of the rings goes and comes back: they wait for it. */
	region.region = (struct xv_vhost_memory_region){0, MEM_BYTES, UVA, 0};
	assert_int_equal(front_ack(XV_VHOST_REM_MEM_REG, &region, sizeof(region), -1), 0);
	assert_null(xv_vhost_ring(front_dev, 0));
	assert_int_equal(front_state_of(front_dev).pairs_active, 0);
	assert_int_equal(front_ack(XV_VHOST_ADD_MEM_REG, &region, sizeof(region), front_mem_fd), 0);
	assert_int_equal(front_state_of(front_dev).pairs_active, 1);
	assert_int_equal(xv_vhost_ring(front_dev, 1)->used_idx, 65000);
	assert_int_equal(front_get_base(1), 65000);
	front_detach();
}

static void shrinking_files_break_the_device(void **state)
{
	struct xv_vhost_log log = {4096, 0};
	int fd;

	/* cmocka has put its own handler in place */
	xv_vhost_fini();
	assert_int_equal(xv_vhost_init(front_base), 0);

	front_attach(BASIC);
	front_start_ring(1, 0);
	assert_int_equal(ftruncate(front_mem_fd, 0), 0);
	assert_int_equal(xv_vring_backlog(xv_vhost_ring(front_dev, 1), 1), 0); /* reads the ring */
	(void)munmap(front_mem, MEM_BYTES);
	front_mem = mmap(NULL, MEM_BYTES, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	front_expect_broken("the file behind guest memory shrank");

	front_attach(BASIC | BIT(XV_VHOST_F_LOG_ALL));
	fd = memfd_create("log", MFD_CLOEXEC);
	assert_int_equal(ftruncate(fd, 4096), 0);
	assert_int_equal(front_ack(XV_VHOST_SET_LOG_BASE, &log, sizeof(log), fd), 0);
	front_start_ring(1, 0);
	assert_non_null(xv_vhost_ring(front_dev, 1)->log);
	assert_int_equal(ftruncate(fd, 0), 0);
	xv_dirty_log_mark(xv_vhost_ring(front_dev, 1)->log, 0, 1);
	(void)close(fd);
	front_expect_broken("the file behind the dirty log shrank");
}

/*
 * Rings
 */

static void rings_start_and_stop(void **state)
{
	struct xv_vhost_vring_addr addr;
	struct xv_vring *vq;
	eventfd_t count;
	int call;

	front_attach(BASIC | BIT(VIRTIO_NET_F_MRG_RXBUF) | BIT(VIRTIO_NET_F_GUEST_CSUM));
	assert_int_equal(front_state_of(front_dev).caps, XV_CAP_CSUM);
	front_used_ring(1)->idx = 7;
	front_start_ring(0, 0);
	assert_int_equal(front_state_of(front_dev).pairs_active, 0);
	front_start_ring(1, 7);
	assert_int_equal(front_state_of(front_dev).pairs_active, 1);
	assert_true(front_kick_fds[1] >= 0);
	vq = xv_vhost_ring(front_dev, 1);
	assert_int_equal(vq->size, SIZE);
	assert_int_equal(vq->avail_idx, 7);
	assert_int_equal(vq->kick_fd, front_kick_fds[1]);
	assert_int_equal(eventfd_read(vq->kick_fd, &count),
			 0); /* look once: a kick may have been lost */
	assert_int_equal(vq->call_fd, -1);
	assert_ptr_equal((uint8_t *)vq->used - (uint8_t *)vq->desc, 0x8000);
	assert_null(xv_vhost_ring(front_dev, 2));
	assert_null(xv_vhost_ring(front_dev, 65535));

	/* Call: stops the ring when it comes or goes, not when it changes. */
	assert_int_equal(front_set_event(XV_VHOST_SET_VRING_CALL, 1, &call), 0);
	vq = xv_vhost_ring(front_dev, 1);
	assert_true(vq->call_fd >= 0);
	assert_int_equal(eventfd_read(call, &count), 0);
	(void)close(call);
	front_changes = 0;
	assert_int_equal(front_set_event(XV_VHOST_SET_VRING_CALL, 1, &call), 0);
	assert_int_equal(front_changes, 0);
	assert_int_equal(eventfd_write(vq->call_fd, 5), 0);
	assert_int_equal(eventfd_read(call, &count), 0);
	assert_int_equal(count, 5);
	(void)close(call);
	assert_int_equal(front_ack_u64(XV_VHOST_SET_VRING_CALL, 1 | XV_VHOST_VRING_NO_FD), 0);
	assert_int_equal(xv_vhost_ring(front_dev, 1)->call_fd, -1);

	/* Stopped by GET_VRING_BASE until the next kick, and it goes on where it was. */
	vq->avail_idx = vq->used_idx = 65535;
	assert_int_equal(front_get_base(1), 65535);
	assert_null(xv_vhost_ring(front_dev, 1));
	assert_int_equal(front_kick_fds[1], -1);
	assert_int_equal(front_state_of(front_dev).pairs_active, 0);
	assert_int_equal(front_get_base(1), 65535);
	assert_int_equal(front_ack_u64(XV_VHOST_SET_VRING_KICK, 1 | XV_VHOST_VRING_NO_FD),
			 0); /* polled */
	assert_int_equal(xv_vhost_ring(front_dev, 1)->avail_idx, 65535);
	assert_int_equal(xv_vhost_ring(front_dev, 1)->kick_fd, -1);

	assert_int_equal(front_ack_state(XV_VHOST_SET_VRING_ENABLE, 1, 0), 0);
	assert_null(xv_vhost_ring(front_dev, 1));
	assert_int_equal(front_ack_state(XV_VHOST_SET_VRING_ENABLE, 1, 1), 0);
	assert_int_equal(xv_vhost_ring(front_dev, 1)->avail_idx, 65535);

	/* Another base on a running ring; but what the guest sees as used counts. */
	front_used_ring(1)->idx = 100;
	assert_int_equal(front_ack_state(XV_VHOST_SET_VRING_BASE, 1, 90), 0);
	assert_int_equal(xv_vhost_ring(front_dev, 1)->avail_idx, 100);
	assert_int_equal(xv_vhost_ring(front_dev, 1)->used_idx, 100);

	/* Other addresses and size on a running ring. */
	addr = front_addr_of(5);
	addr.index = 1;
	assert_int_equal(front_ack(XV_VHOST_SET_VRING_ADDR, &addr, sizeof(addr), -1), 0);
	assert_int_equal(front_ack_state(XV_VHOST_SET_VRING_NUM, 1, 128), 0);
	assert_int_equal(xv_vhost_ring(front_dev, 1)->size, 128);
	assert_int_equal(xv_vhost_ring(front_dev, 1)->avail_idx, 100);

	/* A reset guest: nothing is touched any more, but the position is known. */
	xv_vhost_ring(front_dev, 1)->avail_idx = xv_vhost_ring(front_dev, 1)->used_idx = 4321;
	assert_int_equal(front_ack_u64(XV_VHOST_SET_STATUS, 0), 0);
	assert_null(xv_vhost_ring(front_dev, 0));
	assert_null(xv_vhost_ring(front_dev, 1));
	assert_int_equal(front_get_base(1), 4321);
	assert_int_equal(front_set_event(XV_VHOST_SET_VRING_KICK, 0, NULL), 0);
	assert_non_null(xv_vhost_ring(front_dev, 0));

	assert_int_equal(front_ack(XV_VHOST_RESET_OWNER, NULL, 0, -1), 0);
	assert_null(xv_vhost_ring(front_dev, 0));
	assert_int_equal(front_state_of(front_dev).features, BASIC | BIT(15) | BIT(1));
	assert_int_equal(front_ack(XV_VHOST_RESET_DEVICE, NULL, 0, -1), 0);
	assert_int_equal(front_state_of(front_dev).features, 0);
	assert_true(front_state_of(front_dev).connected);
	front_detach();
}

static void without_protocol_features_a_kick_starts(void **state)
{
	uint64_t value = 0;
	int fd;

	front_attach(0);
	front_post(XV_VHOST_SET_FEATURES, 0, &(uint64_t){BIT(VIRTIO_F_VERSION_1)}, 8, NULL, 0);
	{
		struct xv_vhost_memory table = {.n = 1, .regions = {{0, MEM_BYTES, UVA, 0}}};
		struct xv_vhost_vring_addr addr = front_addr_of(0);
		struct xv_vhost_vring_state num = {0, SIZE};

		front_post(XV_VHOST_SET_MEM_TABLE, 0, &table, 8 + 32, &front_mem_fd, 1);
		front_post(XV_VHOST_SET_VRING_NUM, 0, &num, 8, NULL, 0);
		front_post(XV_VHOST_SET_VRING_ADDR, 0, &addr, sizeof(addr), NULL, 0);
	}
	fd = eventfd(0, 0);
	front_post(XV_VHOST_SET_VRING_KICK, 0, &value, 8, &fd, 1);
	front_turn();
	(void)close(fd);
	assert_non_null(xv_vhost_ring(front_dev, 0));
	front_detach();
}

static void packed_bases_have_two_halves(void **state)
{
	struct xv_vring *vq;

	front_attach(BASIC | BIT(VIRTIO_F_RING_PACKED));
	assert_true(front_state_of(front_dev).packed);
	front_start_ring(1, 0x8000); /* DPDK's drivers leave the upper half empty */
	vq = xv_vhost_ring(front_dev, 1);
	assert_int_equal(vq->avail_idx, 0);
	assert_int_equal(vq->used_idx, 0);
	assert_true(vq->avail_wrap && vq->used_wrap);
	vq->avail_idx = vq->used_idx = 17;
	vq->avail_wrap = vq->used_wrap = false;
	assert_int_equal(front_get_base(1), 17 | 17 << 16);
	assert_int_equal(front_ack_state(XV_VHOST_SET_VRING_BASE, 1, 20 | 0x8010u << 16), 0);
	assert_int_equal(front_set_event(XV_VHOST_SET_VRING_KICK, 1, NULL), 0);
	vq = xv_vhost_ring(front_dev, 1);
	assert_int_equal(vq->avail_idx, 20);
	assert_int_equal(vq->used_idx, 16);
	assert_true(!vq->avail_wrap && vq->used_wrap);
	assert_int_equal(front_get_base(1), 20 | 0x8010u << 16);
	/* sizes need not be powers of two */
	assert_int_equal(front_ack_state(XV_VHOST_SET_VRING_NUM, 1, 200), 0);
	assert_int_equal(front_set_event(XV_VHOST_SET_VRING_KICK, 1, NULL), 0);
	assert_non_null(xv_vhost_ring(front_dev, 1));
	assert_int_equal(front_ack_state(XV_VHOST_SET_VRING_BASE, 1, 200 | 200 << 16), 1);
	front_expect_broken("SET_VRING_BASE: ring 1: base is beyond its size");
}

static void bad_rings_break_the_device(void **state)
{
	static const struct {
		uint64_t desc, avail, used;
		const char *sentence;
	} addrs[] = {
		{UVA - 16, 0, 0, "ring 0: descriptors at 0x7f001233fff0 lies outside guest memory"},
		{UVA + MEM_BYTES - 16 * SIZE + 16, 0, 0, "lies outside guest memory"},
		{UINT64_MAX - 15, 0, 0, "lies outside guest memory"},
		{0, UVA + MEM_BYTES - 2 * SIZE, 0, "available ring"},
		{0, 0, UVA + MEM_BYTES - 8 * SIZE, "used ring"},
		{UVA + 8, 0, 0, "is not aligned"},
		{0, UVA + 0x4001, 0, "is not aligned"},
		{0, 0, UVA + 0x8002, "is not aligned"},
	};
	static const uint32_t index_requests[] = {XV_VHOST_SET_VRING_NUM, XV_VHOST_SET_VRING_BASE,
						  XV_VHOST_GET_VRING_BASE,
						  XV_VHOST_SET_VRING_ENABLE};
	static const uint32_t fd_requests[] = {XV_VHOST_SET_VRING_KICK, XV_VHOST_SET_VRING_CALL,
					       XV_VHOST_SET_VRING_ERR};
	struct xv_vhost_vring_addr addr;
	struct xv_vhost_vring_state s;
	int fds[2];
	unsigned int i;

	for (i = 0; i < sizeof(addrs) / sizeof(addrs[0]); i++) {
		front_attach(BASIC);
		front_start_ring(0, 0);
		addr = front_addr_of(0);
		if (addrs[i].desc != 0)
			addr.desc = addrs[i].desc;
		if (addrs[i].avail != 0)
			addr.avail = addrs[i].avail;
		if (addrs[i].used != 0)
			addr.used = addrs[i].used;
		front_post(XV_VHOST_SET_VRING_ADDR, 0, &addr, sizeof(addr), NULL, 0);
		front_expect_broken(addrs[i].sentence);
	}
	for (i = 0; i < sizeof(index_requests) / sizeof(index_requests[0]); i++) {
		front_attach(BASIC);
		s = (struct xv_vhost_vring_state){2u * front_config.max_pairs, 1};
		front_post(index_requests[i], 0, &s, 8, NULL, 0);
		front_expect_broken("there is no ring 8, only 8");
		front_attach(BASIC);
		s.index = UINT32_MAX;
		front_post(index_requests[i], 0, &s, 8, NULL, 0);
		front_expect_broken("there is no ring 4294967295");
	}
	front_attach(BASIC);
	addr.index = 0x10000;
	front_post(XV_VHOST_SET_VRING_ADDR, 0, &addr, sizeof(addr), NULL, 0);
	front_expect_broken("there is no ring 65536");
	for (i = 0; i < 3; i++) {
		front_attach(BASIC);
		fds[0] = eventfd(0, 0);
		front_post(fd_requests[i], 0, &(uint64_t){255}, 8, fds, 1);
		(void)close(fds[0]);
		front_expect_broken("there is no ring 255");
		front_attach(BASIC); /* a pipe: writing to it may block */
		assert_int_equal(pipe(fds), 0);
		front_post(fd_requests[i], 0, &(uint64_t){0}, 8, &fds[1], 1);
		front_expect_broken("not an eventfd");
		(void)close(fds[0]);
		(void)close(fds[1]);
	}
	for (i = 0; i < 3; i++) {
		front_attach(BASIC);
		front_start_ring(0, 0);
		s = (struct xv_vhost_vring_state){0, i == 0 ? 0 : i == 1 ? 32769 : 100};
		front_post(XV_VHOST_SET_VRING_NUM, 0, &s, 8, NULL, 0);
		front_expect_broken(i < 2 ? "is not within 1..32768" : "is not a power of two");
	}
	front_attach(BASIC);
	s = (struct xv_vhost_vring_state){0, 65536};
	front_post(XV_VHOST_SET_VRING_BASE, 0, &s, 8, NULL, 0);
	front_expect_broken("base 0x10000 is beyond 16 bits");
	front_attach(BASIC);
	front_start_ring(0, 0);
	front_post(XV_VHOST_SET_FEATURES, 0, &(uint64_t){BASIC | BIT(VIRTIO_F_RING_PACKED)}, 8, NULL, 0);
	front_expect_broken("features change (0x400000000) while ring 0 runs");
	front_attach(BASIC);
	s = (struct xv_vhost_vring_state){0, 2};
	front_post(XV_VHOST_SET_VRING_ENABLE, 0, &s, 8, NULL, 0);
	front_expect_broken("enable is 2");
}

static void a_ring_that_a_worker_finds_broken(void **state)
{
	eventfd_t count;
	int err_fd;

	front_attach(BASIC);
	front_start_ring(0, 0);
	front_start_ring(1, 0);
	assert_int_equal(front_set_event(XV_VHOST_SET_VRING_ERR, 1, &err_fd), 0);
	atomic_store(&xv_vhost_ring(front_dev, 1)->bad_headers, 3);
	atomic_store(&xv_vhost_ring(front_dev, 1)->error, XV_VRING_BAD_CHAIN);
	xv_vhost_report_broken();
	assert_int_equal(front_state_of(front_dev).bad_headers, 3);
	front_turn();
	assert_int_equal(eventfd_read(err_fd, &count), 0);
	(void)close(err_fd);
	assert_int_equal(front_state_of(front_dev).bad_headers, 3);
	front_expect_broken("ring 1: descriptor chain loops");

	/* Even if the ring is stopped before anybody looks. */
	front_attach(BASIC);
	front_start_ring(1, 0);
	atomic_store(&xv_vhost_ring(front_dev, 1)->error, XV_VRING_BAD_HEAD);
	assert_int_equal(front_get_base(1), 0);
	front_expect_broken("ring 1: descriptor index is beyond the ring");
}

/*
 * Migration and restart
 */

static void dirty_logging_is_switched_while_rings_run(void **state)
{
	struct xv_vhost_log log = {4096, 8192};
	struct xv_vhost_vring_addr addr = front_addr_of(1);
	struct xv_vring *vq;
	int fd = memfd_create("log", MFD_CLOEXEC);
	unsigned int i;
	uint8_t byte;

	assert_int_equal(ftruncate(fd, 8192 + 4096), 0);
	front_attach(BASIC);
	front_start_ring(0, 0);
	front_start_ring(1, 0);
	xv_vhost_ring(front_dev, 1)->avail_idx = xv_vhost_ring(front_dev, 1)->used_idx = 3000;
	for (i = 0; i < 3; i++) { /* started, cancelled, started ... */
		/* as QEMU does */
		assert_int_equal(front_ack(XV_VHOST_SET_LOG_BASE, &log, sizeof(log), fd), 0);
		assert_null(xv_vhost_ring(front_dev, 1)->log);
		assert_int_equal(front_ack_u64(XV_VHOST_SET_FEATURES, BASIC | BIT(XV_VHOST_F_LOG_ALL)),
				 0);
		addr.flags = XV_VHOST_VRING_LOG;
		addr.log = USED_AT(1);
		assert_int_equal(front_ack(XV_VHOST_SET_VRING_ADDR, &addr, sizeof(addr), -1), 0);
		vq = xv_vhost_ring(front_dev, 1);
		assert_non_null(vq->log);
		assert_int_equal(vq->log_used_gpa, USED_AT(1));
		assert_int_equal(xv_vhost_ring(front_dev, 0)->log_used_gpa, UINT64_MAX);
		assert_int_equal(vq->avail_idx, 3000);
		xv_dirty_log_mark(vq->log, 5 * 4096, 1);
		assert_int_equal(pread(fd, &byte, 1, 8192), 1);
		assert_int_equal(byte, 1 << 5);
		assert_int_equal(front_ack_u64(XV_VHOST_SET_FEATURES, BASIC), 0);
		addr.flags = 0;
		assert_int_equal(front_ack(XV_VHOST_SET_VRING_ADDR, &addr, sizeof(addr), -1), 0);
		assert_null(xv_vhost_ring(front_dev, 1)->log);
		assert_int_equal(xv_vhost_ring(front_dev, 1)->used_idx, 3000);
	}
	assert_int_equal(front_set_event(XV_VHOST_SET_LOG_FD, 0, NULL), 0);
	assert_int_equal(front_set_event(XV_VHOST_SET_LOG_FD, 0, NULL), 0);
	assert_int_equal(front_set_event(XV_VHOST_SET_BACKEND_REQ_FD, 0, NULL), 0);
	assert_int_equal(front_set_event(XV_VHOST_SET_BACKEND_REQ_FD, 0, NULL), 0);
	log.size = 4097;
	assert_int_equal(front_ack(XV_VHOST_SET_LOG_BASE, &log, sizeof(log), fd), 1);
	(void)close(fd);
	front_expect_broken("SET_LOG_BASE: dirty log");
}

static void inflight_area_survives(void **state)
{
	struct vring_avail *avail;
	struct xv_vhost_inflight area, first;
	struct xv_vring *vq;
	unsigned int i, fds;
	int fd;

	front_attach(BASIC);
	fds = front_count_fds();
	for (i = 0; i < 10; i++) /* CVE-2020-10726: again and again */
		(void)close(front_get_inflight(2, SIZE, &first));
	assert_int_equal(front_count_fds(), fds);
	fd = front_get_inflight(2, SIZE, &area);
	assert_int_equal(area.mmap_size, first.mmap_size);
	assert_int_equal(area.num_queues, 2);
	assert_int_equal(front_ack(XV_VHOST_SET_INFLIGHT_FD, &area, sizeof(area), fd), 0);
	front_start_ring(1, 0);
	vq = xv_vhost_ring(front_dev, 1);
	assert_non_null(vq->inflight);
	/* The daemon takes three, gives back one, dies. */
	avail = (void *)(front_mem + AVAIL_AT(1));
	for (i = 0; i < 3; i++) {
		avail->ring[i] = (uint16_t)(10 + i);
		xv_inflight_take_split(vq->inflight, (uint16_t)(10 + i));
	}
	xv_inflight_put_split(vq->inflight, 10);
	front_used_ring(1)->idx = 1;
	front_detach();

	front_attach(BASIC);
	((struct vring_used *)(void *)(front_mem + USED_AT(1)))->idx = 1;
	avail = (void *)(front_mem + AVAIL_AT(1));
	for (i = 0; i < 3; i++)
		avail->ring[i] = (uint16_t)(10 + i);
	assert_int_equal(front_ack(XV_VHOST_SET_INFLIGHT_FD, &area, sizeof(area), fd), 0);
	front_start_ring(1, 1);
	assert_int_equal(xv_vhost_ring(front_dev, 1)->avail_idx, 1);
	/* A ring longer than its part of the area (CVE-2026-86565). */
	assert_int_equal(front_ack_state(XV_VHOST_SET_VRING_NUM, 1, 2 * SIZE), 1);
	front_expect_broken("ring 1: the in-flight log is made for split rings of 256");

	front_attach(BASIC);
	area.num_queues = 9;
	assert_int_equal(front_ack(XV_VHOST_SET_INFLIGHT_FD, &area, sizeof(area), fd), 1);
	front_expect_broken("in-flight log for 9 queues");
	front_attach(BASIC);
	area.num_queues = 8;
	assert_int_equal(front_ack(XV_VHOST_SET_INFLIGHT_FD, &area, sizeof(area), fd), 1);
	front_expect_broken("does not fit 8 queues");
	front_attach(BASIC | BIT(VIRTIO_F_RING_PACKED));
	(void)close(front_get_inflight(8, SIZE, &area));
	front_start_ring(1, 0x80058005);
	assert_int_equal(xv_vhost_ring(front_dev, 1)->used_idx, 5);
	assert_int_equal(xv_vhost_ring(front_dev, 1)->inflight->packed->used_idx, 5);
	front_detach();
	(void)close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bad_memory_breaks_the_device),
		cmocka_unit_test(memory_changes_under_running_rings),
		cmocka_unit_test(shrinking_files_break_the_device),
		cmocka_unit_test(rings_start_and_stop),
		cmocka_unit_test(without_protocol_features_a_kick_starts),
		cmocka_unit_test(packed_bases_have_two_halves),
		cmocka_unit_test(bad_rings_break_the_device),
		cmocka_unit_test(a_ring_that_a_worker_finds_broken),
		cmocka_unit_test(dirty_logging_is_switched_while_rings_run),
		cmocka_unit_test(inflight_area_survives),
	};

	return cmocka_run_group_tests(tests, front_setup, front_teardown);
}
