/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The protocol half of a vhost-user device against a hand-written front end on the other end of a
 * socketpair (or of a real socket). No worker runs: a ring is looked at where workers would see it.
 */
#include "unit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/clock.h"
#include "base/log.h"
#include "net/packet.h"
#include "table/rcu.h"
#include "virtio/dirty_log.h"
#include "virtio/inflight.h"
#include "virtio/vhost_msg.h"
#include "virtio/vhost_user.h"

#define BIT(n)    (UINT64_C(1) << (n))
#define MEM_BYTES (4u << 20)
#define UVA       UINT64_C(0x7f0012340000)
#define SIZE      256

#define BASIC (BIT(VIRTIO_F_VERSION_1) | BIT(XV_VHOST_F_PROTOCOL_FEATURES))
#define PROTOCOLS                                                                                  \
	(BIT(XV_VHOST_PROTOCOL_MQ) | BIT(XV_VHOST_PROTOCOL_LOG_SHMFD) |                            \
	 BIT(XV_VHOST_PROTOCOL_RARP) | BIT(XV_VHOST_PROTOCOL_REPLY_ACK) |                          \
	 BIT(XV_VHOST_PROTOCOL_NET_MTU) | BIT(XV_VHOST_PROTOCOL_BACKEND_REQ) |                     \
	 BIT(XV_VHOST_PROTOCOL_INFLIGHT_SHMFD) | BIT(XV_VHOST_PROTOCOL_CONFIGURE_MEM_SLOTS) |      \
	 BIT(XV_VHOST_PROTOCOL_STATUS))

static struct event_base *base;
static struct xv_vhost_config config;
static unsigned int changes, rarps;
static int kick_fds[2 * XV_VHOST_MAX_PAIRS];
static uint8_t rarp_mac[6];

/* The front end. */
static struct xv_vhost *dev;
static int sock, mem_fd;
static uint8_t *mem;

static void on_changed(struct xv_vhost *v, void *arg)
{
	changes++;
}

static void on_kick_fd(struct xv_vhost *v, uint16_t index, int fd, void *arg)
{
	if (kick_fds[index] >= 0)
		assert_true(fcntl(kick_fds[index], F_GETFD) >= 0); /* still open */
	kick_fds[index] = fd;
}

static void on_rarp(struct xv_vhost *v, const uint8_t mac[6], void *arg)
{
	memcpy(rarp_mac, mac, 6);
	rarps++;
}

static const struct xv_vhost_events events = {on_changed, on_kick_fd, on_rarp};

static void turn(void)
{
	(void)event_base_loop(base, EVLOOP_NONBLOCK);
}

static void turn_for_ms(unsigned int ms)
{
	struct timeval tv = {.tv_usec = (suseconds_t)(ms * 1000)};

	(void)event_base_loopexit(base, &tv);
	(void)event_base_dispatch(base);
}

static struct xv_vhost_state state_of(const struct xv_vhost *v)
{
	struct xv_vhost_state s;

	xv_vhost_get_state(v, &s);
	return s;
}

static void send_bytes(const void *data, size_t len, const int *fds, unsigned int n)
{
	union {
		char buf[CMSG_SPACE(64 * sizeof(int))];
		struct cmsghdr align;
	} control = {0};
	union {
		const void *in;
		void *out;
	} u = {.in = data};
	struct iovec iov = {.iov_base = u.out, .iov_len = len};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};

	if (n > 0) {
		struct cmsghdr *c;

		m.msg_control = &control;
		m.msg_controllen = CMSG_SPACE(n * sizeof(int));
		c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(n * sizeof(int));
		memcpy(CMSG_DATA(c), fds, n * sizeof(int));
	}
	assert_int_equal(sendmsg(sock, &m, MSG_NOSIGNAL), (ssize_t)len);
}

static void post(uint32_t request, uint32_t flags, const void *payload, uint32_t size,
		 const int *fds, unsigned int n)
{
	struct {
		struct xv_vhost_header h;
		uint8_t payload[5000];
	} msg = {.h = {request, XV_VHOST_VERSION | flags, size}};

	if (size > 0)
		memcpy(msg.payload, payload, size);
	send_bytes(&msg, sizeof(msg.h) + size, fds, n);
}

/* The reply; *fd, if wanted, the descriptor that came with it. Bytes of payload, -1 = none or
 * closed. */
static int get_reply(uint32_t request, void *payload, uint32_t size, int *fd)
{
	struct {
		struct xv_vhost_header h;
		uint8_t payload[64];
	} msg;
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = {.iov_base = &msg, .iov_len = sizeof(msg)};
	struct msghdr m = {.msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = &control,
			   .msg_controllen = sizeof(control)};
	ssize_t got;

	turn();
	got = recvmsg(sock, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (got <= 0)
		return -1;
	assert_int_equal(msg.h.request, request);
	assert_int_equal(msg.h.flags, XV_VHOST_VERSION | XV_VHOST_REPLY);
	assert_int_equal(got, sizeof(msg.h) + msg.h.size);
	assert_true(msg.h.size <= size);
	memcpy(payload, msg.payload, msg.h.size);
	if (fd != NULL) {
		assert_non_null(CMSG_FIRSTHDR(&m));
		memcpy(fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(*fd));
	}
	return (int)msg.h.size;
}

static uint64_t ask(uint32_t request)
{
	uint64_t value = 0;

	post(request, 0, NULL, 0, NULL, 0);
	assert_int_equal(get_reply(request, &value, 8, NULL), 8);
	return value;
}

/* With NEED_REPLY: 0 = done, 1 = refused. */
static uint64_t ack(uint32_t request, const void *payload, uint32_t size, int fd)
{
	uint64_t value = 0;

	post(request, XV_VHOST_NEED_REPLY, payload, size, &fd, fd >= 0);
	assert_int_equal(get_reply(request, &value, 8, NULL), 8);
	return value;
}

static uint64_t ack_u64(uint32_t request, uint64_t value)
{
	return ack(request, &value, 8, -1);
}

static uint64_t ack_state(uint32_t request, uint32_t index, uint32_t num)
{
	struct xv_vhost_vring_state s = {index, num};

	return ack(request, &s, 8, -1);
}

static uint64_t set_table(uint64_t size)
{
	struct xv_vhost_memory table = {.n = 1, .regions = {{0, size, UVA, 0}}};

	return ack(XV_VHOST_SET_MEM_TABLE, &table, 8 + 32, mem_fd);
}

#define DESC_AT(ring)  ((ring)*0x10000u)
#define AVAIL_AT(ring) (DESC_AT(ring) + 0x4000u)
#define USED_AT(ring)  (DESC_AT(ring) + 0x8000u)

static struct xv_vhost_vring_addr addr_of(uint32_t ring)
{
	return (struct xv_vhost_vring_addr){.index = ring,
					    .desc = UVA + DESC_AT(ring),
					    .avail = UVA + AVAIL_AT(ring),
					    .used = UVA + USED_AT(ring)};
}

static uint64_t set_addr(uint32_t ring)
{
	struct xv_vhost_vring_addr addr = addr_of(ring);

	return ack(XV_VHOST_SET_VRING_ADDR, &addr, sizeof(addr), -1);
}

static uint64_t set_event(uint32_t request, uint32_t ring, int *fd)
{
	uint64_t value = ring, rc;
	int event = eventfd(0, EFD_CLOEXEC);

	rc = ack(request, &value, 8, event);
	if (fd != NULL)
		*fd = event;
	else
		(void)close(event);
	return rc;
}

static uint32_t get_base(uint32_t ring)
{
	struct xv_vhost_vring_state s = {ring, 0xdead};

	post(XV_VHOST_GET_VRING_BASE, 0, &s, 8, NULL, 0);
	assert_int_equal(get_reply(XV_VHOST_GET_VRING_BASE, &s, 8, NULL), 8);
	assert_int_equal(s.index, ring);
	return s.num;
}

/* Connect and negotiate, as far as "the driver may start". */
static void attach(uint64_t features)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	sock = pair[0];
	assert_int_equal(xv_vhost_create_fd(&config, base, &events, NULL, pair[1], &dev, NULL), 0);
	mem_fd = memfd_create("guest", MFD_CLOEXEC);
	assert_int_equal(ftruncate(mem_fd, MEM_BYTES), 0);
	mem = mmap(NULL, MEM_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, mem_fd, 0);
	assert_true(mem != MAP_FAILED);
	if (features == 0)
		return;
	assert_int_equal(ask(XV_VHOST_GET_FEATURES) & features, features);
	assert_int_equal(ask(XV_VHOST_GET_PROTOCOL_FEATURES), PROTOCOLS);
	post(XV_VHOST_SET_PROTOCOL_FEATURES, 0, &(uint64_t){PROTOCOLS}, 8, NULL, 0);
	assert_int_equal(ack(XV_VHOST_SET_OWNER, NULL, 0, -1), 0);
	assert_int_equal(ack_u64(XV_VHOST_SET_FEATURES, features), 0);
	assert_int_equal(set_table(MEM_BYTES), 0);
}

static void detach(void)
{
	xv_vhost_destroy(dev);
	(void)close(sock);
	(void)close(mem_fd);
	(void)munmap(mem, MEM_BYTES);
}

static void start_ring(uint32_t ring, uint32_t ring_base)
{
	assert_int_equal(ack_state(XV_VHOST_SET_VRING_NUM, ring, SIZE), 0);
	assert_int_equal(ack_state(XV_VHOST_SET_VRING_BASE, ring, ring_base), 0);
	assert_int_equal(set_addr(ring), 0);
	assert_int_equal(set_event(XV_VHOST_SET_VRING_KICK, ring, NULL), 0);
	assert_null(xv_vhost_ring(dev, (uint16_t)ring)); /* not enabled */
	assert_int_equal(ack_state(XV_VHOST_SET_VRING_ENABLE, ring, 1), 0);
	assert_non_null(xv_vhost_ring(dev, (uint16_t)ring));
}

static struct vring_used *used_ring(uint32_t ring)
{
	return (void *)(mem + USED_AT(ring));
}

static void expect_broken(const char *sentence)
{
	struct xv_vhost_state s;
	unsigned int i;
	uint8_t byte;

	turn();
	s = state_of(dev);
	if (!s.is_broken || strstr(s.broken, sentence) == NULL)
		fail_msg("broken: \"%s\", expected \"%s\"", s.broken, sentence);
	assert_int_equal(s.broken_total, 1);
	assert_false(s.connected);
	assert_int_equal(s.disconnects, 1);
	assert_int_equal(s.features, 0);
	for (i = 0; i < 2u * config.max_pairs; i++) {
		assert_null(xv_vhost_ring(dev, (uint16_t)i));
		assert_int_equal(kick_fds[i], -1);
	}
	while (recv(sock, &byte, 1, MSG_DONTWAIT) == 1)
		;
	assert_int_equal(recv(sock, &byte, 1, MSG_DONTWAIT), 0); /* closed */
	detach();
}

static unsigned int count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int n = 0;

	while (readdir(dir) != NULL)
		n++;
	(void)closedir(dir);
	return n;
}

static unsigned int count_maps(void)
{
	FILE *f = fopen("/proc/self/maps", "r");
	unsigned int n = 0;
	int c;

	while ((c = fgetc(f)) != EOF)
		n += c == '\n';
	(void)fclose(f);
	return n;
}

/*
 * Negotiation
 */

static void features_follow_the_configuration(void **state)
{
	uint64_t offered;

	attach(0);
	offered = ask(XV_VHOST_GET_FEATURES);
	assert_true((offered & BIT(VIRTIO_NET_F_HOST_TSO4)) != 0);
	assert_true((offered & BIT(VIRTIO_NET_F_GUEST_UFO)) != 0);
	assert_true((offered & BIT(VIRTIO_NET_F_CTRL_VQ)) != 0);
	assert_true((offered & BIT(VIRTIO_F_NOTIFY_ON_EMPTY)) == 0);
	assert_true((offered & BIT(VIRTIO_F_ACCESS_PLATFORM)) == 0);
	xv_vhost_set_offloads(dev, true, false);
	assert_int_equal(offered & ~ask(XV_VHOST_GET_FEATURES), BIT(7) | BIT(8) | BIT(9) | BIT(10) |
									BIT(11) | BIT(12) |
									BIT(13) | BIT(14));
	xv_vhost_set_offloads(dev, false, true);
	assert_int_equal(ask(XV_VHOST_GET_FEATURES) & 0x7fff & ~BIT(VIRTIO_NET_F_MTU), 0);
	detach();

	/* What a guest has got stays on offer, even if the port is set to something else. */
	attach(BASIC | BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_HOST_TSO4));
	xv_vhost_set_offloads(dev, false, false);
	assert_int_equal(ask(XV_VHOST_GET_FEATURES) & 0x7fff & ~BIT(VIRTIO_NET_F_MTU),
			 BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_HOST_TSO4));
	/* refused, and nothing changes */
	assert_int_equal(ack_u64(XV_VHOST_SET_FEATURES, BASIC | BIT(VIRTIO_F_ACCESS_PLATFORM)), 1);
	assert_true(state_of(dev).connected);
	assert_int_equal(state_of(dev).broken_total, 0);
	assert_int_equal(ack_u64(XV_VHOST_SET_PROTOCOL_FEATURES, BIT(9)), 1);
	assert_int_equal(ask(XV_VHOST_GET_QUEUE_NUM), config.max_pairs);
	assert_int_equal(ask(XV_VHOST_GET_MAX_MEM_SLOTS), 128);
	assert_int_equal(ack_u64(XV_VHOST_SET_STATUS, 0xf), 0);
	assert_int_equal(ask(XV_VHOST_GET_STATUS), 0xf);
	assert_int_equal(state_of(dev).status, 0xf);
	post(XV_VHOST_SET_FEATURES, 0, &(uint64_t){BASIC | BIT(63)}, 8, NULL, 0);
	expect_broken("SET_FEATURES: features 0x8000000000000000 were not offered");
}

static void mtu_and_rarp_are_told(void **state)
{
	uint64_t mac = 0;

	attach(BASIC);
	assert_int_equal(ack_u64(XV_VHOST_NET_SET_MTU, 1450), 0);
	assert_int_equal(state_of(dev).mtu, 1450);
	assert_int_equal(ack_u64(XV_VHOST_NET_SET_MTU, 9001), 1);
	assert_int_equal(ack_u64(XV_VHOST_NET_SET_MTU, 67), 1);
	assert_int_equal(ack_u64(XV_VHOST_NET_SET_MTU, 65536 + 1500), 1);
	assert_int_equal(state_of(dev).mtu, 1450);
	post(XV_VHOST_NET_SET_MTU, 0, &(uint64_t){9001}, 8, NULL, 0); /* ignored */
	turn();
	assert_int_equal(state_of(dev).mtu, 1450);
	assert_int_equal(xv_vhost_set_mtu(dev, 9001), 0);
	assert_int_equal(ack_u64(XV_VHOST_NET_SET_MTU, 9001), 0);

	memcpy(&mac, "\2\1\2\3\4\5", 6);
	rarps = 0;
	assert_int_equal(ack_u64(XV_VHOST_SEND_RARP, mac), 0);
	assert_int_equal(rarps, 1);
	assert_memory_equal(rarp_mac, "\2\1\2\3\4\5", 6);
	detach();
}

static void unknown_requests_are_refused(void **state)
{
	static const uint8_t big[4096];
	uint64_t value;

	attach(BASIC);
	assert_int_equal(ack_state(23, 0, 0), 1); /* SET_VRING_ENDIAN */
	assert_int_equal(ack_u64(0, 0), 1);
	assert_int_equal(ack(1000000, big, sizeof(big), -1), 1);
	assert_true(state_of(dev).connected);
	post(28, 0, NULL, 0, NULL, 0); /* POSTCOPY_ADVISE */
	assert_int_equal(get_reply(28, &value, 8, NULL), -1);
	expect_broken("unknown request: 28");

	attach(0); /* nothing negotiated: no message of a protocol feature */
	post(XV_VHOST_GET_QUEUE_NUM, XV_VHOST_NEED_REPLY, NULL, 0, NULL, 0);
	expect_broken("GET_QUEUE_NUM: its protocol feature was not negotiated");
}

static void malformed_messages_break_the_device(void **state)
{
	static const struct {
		uint32_t request, flags, size;
		const char *sentence;
	} cases[] = {
		{XV_VHOST_GET_FEATURES, 0, 8, "GET_FEATURES: payload is 8 bytes"},
		{XV_VHOST_SET_FEATURES, 0, 0, "SET_FEATURES: payload is 0 bytes"},
		{XV_VHOST_SET_FEATURES, 0, 9, "SET_FEATURES: payload is 9 bytes"},
		{XV_VHOST_SET_VRING_ADDR, 0, 39, "SET_VRING_ADDR: payload is 39 bytes"},
		{XV_VHOST_SET_MEM_TABLE, 0, 7, "SET_MEM_TABLE: payload is 7 bytes"},
		{XV_VHOST_SET_MEM_TABLE, 0, 300, "SET_MEM_TABLE: payload is 300 bytes"},
		{XV_VHOST_ADD_MEM_REG, 0, 40, "ADD_MEM_REG: 0 file descriptors"},
		{XV_VHOST_SET_LOG_BASE, 0, 16, "SET_LOG_BASE: 0 file descriptors"},
		{XV_VHOST_SET_INFLIGHT_FD, 0, 24, "SET_INFLIGHT_FD: 0 file descriptors"},
		{XV_VHOST_SET_BACKEND_REQ_FD, 0, 0, "SET_BACKEND_REQ_FD: 0 file descriptors"},
		{XV_VHOST_SET_VRING_KICK, 0, 8,
		 "SET_VRING_KICK: ring 0: the file descriptor is missing"},
		{XV_VHOST_GET_FEATURES, XV_VHOST_REPLY, 0, "request 1 with flags 0x5"},
		{XV_VHOST_GET_FEATURES, 2, 0, "request 1 with flags 0x3"},
		{XV_VHOST_GET_FEATURES, 0, 4097, "request 1 with 4097 bytes"},
	};
	static const uint8_t zero[5000];
	unsigned int i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		attach(BASIC);
		post(cases[i].request, cases[i].flags, zero, cases[i].size, NULL, 0);
		expect_broken(cases[i].sentence);
	}
}

/*
 * Memory
 */

static void bad_memory_breaks_the_device(void **state)
{
	struct xv_vhost_memory table = {.n = 1};

	attach(BASIC);
	assert_int_equal(set_table(MEM_BYTES + 1), 1); /* told, then dropped */
	expect_broken(
		"SET_MEM_TABLE: memory region at 0 (0x400001 bytes at 0) is larger than its file");

	attach(BASIC);
	table.n = 9;
	post(XV_VHOST_SET_MEM_TABLE, 0, &table, sizeof(table), &mem_fd, 1);
	expect_broken("9 regions in 264 bytes");

	attach(BASIC);
	table.n = 0x08000001;
	post(XV_VHOST_SET_MEM_TABLE, 0, &table, sizeof(table), &mem_fd, 1);
	expect_broken("134217729 regions");

	attach(BASIC);
	table.n = 2;
	table.regions[0] = (struct xv_vhost_memory_region){0, 4096, UVA, 0};
	table.regions[1] = (struct xv_vhost_memory_region){4096, 4096, UVA + 4096, 4096};
	post(XV_VHOST_SET_MEM_TABLE, 0, &table, 8 + 64, &mem_fd, 1);
	expect_broken("2 regions with 1 file descriptors");

	attach(BASIC);
	{
		struct xv_vhost_single_region r = {0, {1u << 30, 4096, UVA, 0}};

		post(XV_VHOST_REM_MEM_REG, 0, &r, sizeof(r), NULL, 0);
	}
	expect_broken("there is no memory region at 0x40000000 to remove");
}

static void memory_changes_under_running_rings(void **state)
{
	struct xv_vhost_single_region region = {0, {1u << 30, 4096, UVA + (1u << 30), 0}};
	struct xv_vring *vq;
	unsigned int i;

	attach(BASIC);
	start_ring(0, 0);
	start_ring(1, 0);
	assert_int_equal(state_of(dev).pairs_active, 1);
	vq = xv_vhost_ring(dev, 1);
	vq->avail_idx = vq->used_idx = 65000; /* as if it had run */
	for (i = 0; i < 3; i++) {
		assert_int_equal(ack(XV_VHOST_ADD_MEM_REG, &region, sizeof(region), mem_fd), 0);
		assert_int_equal(xv_vhost_ring(dev, 1)->avail_idx, 65000);
		assert_int_equal(xv_vhost_ring(dev, 1)->mem->n, 2);
		/* some front ends pass a descriptor to be ignored */
		assert_int_equal(
			ack(XV_VHOST_REM_MEM_REG, &region, sizeof(region), i == 1 ? mem_fd : -1),
			0);
		assert_int_equal(xv_vhost_ring(dev, 1)->mem->n, 1);
	}
	assert_int_equal(set_table(MEM_BYTES), 0);
	assert_int_equal(xv_vhost_ring(dev, 1)->avail_idx, 65000);

	/* The region of the rings goes and comes back: they wait for it. */
	region.region = (struct xv_vhost_memory_region){0, MEM_BYTES, UVA, 0};
	assert_int_equal(ack(XV_VHOST_REM_MEM_REG, &region, sizeof(region), -1), 0);
	assert_null(xv_vhost_ring(dev, 0));
	assert_int_equal(state_of(dev).pairs_active, 0);
	assert_int_equal(ack(XV_VHOST_ADD_MEM_REG, &region, sizeof(region), mem_fd), 0);
	assert_int_equal(state_of(dev).pairs_active, 1);
	assert_int_equal(xv_vhost_ring(dev, 1)->used_idx, 65000);
	assert_int_equal(get_base(1), 65000);
	detach();
}

static void shrinking_files_break_the_device(void **state)
{
	struct xv_vhost_log log = {4096, 0};
	int fd;

	/* cmocka has put its own handler in place */
	xv_vhost_fini();
	assert_int_equal(xv_vhost_init(base), 0);

	attach(BASIC);
	start_ring(1, 0);
	assert_int_equal(ftruncate(mem_fd, 0), 0);
	assert_int_equal(xv_vring_backlog(xv_vhost_ring(dev, 1), 1), 0); /* reads the ring */
	(void)munmap(mem, MEM_BYTES);
	mem = mmap(NULL, MEM_BYTES, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	expect_broken("the file behind guest memory shrank");

	attach(BASIC | BIT(XV_VHOST_F_LOG_ALL));
	fd = memfd_create("log", MFD_CLOEXEC);
	assert_int_equal(ftruncate(fd, 4096), 0);
	assert_int_equal(ack(XV_VHOST_SET_LOG_BASE, &log, sizeof(log), fd), 0);
	start_ring(1, 0);
	assert_non_null(xv_vhost_ring(dev, 1)->log);
	assert_int_equal(ftruncate(fd, 0), 0);
	xv_dirty_log_mark(xv_vhost_ring(dev, 1)->log, 0, 1);
	(void)close(fd);
	expect_broken("the file behind the dirty log shrank");
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

	attach(BASIC | BIT(VIRTIO_NET_F_MRG_RXBUF) | BIT(VIRTIO_NET_F_GUEST_CSUM));
	assert_int_equal(state_of(dev).caps, XV_CAP_CSUM);
	used_ring(1)->idx = 7;
	start_ring(0, 0);
	assert_int_equal(state_of(dev).pairs_active, 0);
	start_ring(1, 7);
	assert_int_equal(state_of(dev).pairs_active, 1);
	assert_true(kick_fds[1] >= 0);
	vq = xv_vhost_ring(dev, 1);
	assert_int_equal(vq->size, SIZE);
	assert_int_equal(vq->avail_idx, 7);
	assert_int_equal(vq->kick_fd, kick_fds[1]);
	assert_int_equal(eventfd_read(vq->kick_fd, &count),
			 0); /* look once: a kick may have been lost */
	assert_int_equal(vq->call_fd, -1);
	assert_ptr_equal((uint8_t *)vq->used - (uint8_t *)vq->desc, 0x8000);
	assert_null(xv_vhost_ring(dev, 2));
	assert_null(xv_vhost_ring(dev, 65535));

	/* Call: stops the ring when it comes or goes, not when it changes. */
	assert_int_equal(set_event(XV_VHOST_SET_VRING_CALL, 1, &call), 0);
	vq = xv_vhost_ring(dev, 1);
	assert_true(vq->call_fd >= 0);
	assert_int_equal(eventfd_read(call, &count), 0);
	(void)close(call);
	changes = 0;
	assert_int_equal(set_event(XV_VHOST_SET_VRING_CALL, 1, &call), 0);
	assert_int_equal(changes, 0);
	assert_int_equal(eventfd_write(vq->call_fd, 5), 0);
	assert_int_equal(eventfd_read(call, &count), 0);
	assert_int_equal(count, 5);
	(void)close(call);
	assert_int_equal(ack_u64(XV_VHOST_SET_VRING_CALL, 1 | XV_VHOST_VRING_NO_FD), 0);
	assert_int_equal(xv_vhost_ring(dev, 1)->call_fd, -1);

	/* Stopped by GET_VRING_BASE until the next kick, and it goes on where it was. */
	vq->avail_idx = vq->used_idx = 65535;
	assert_int_equal(get_base(1), 65535);
	assert_null(xv_vhost_ring(dev, 1));
	assert_int_equal(kick_fds[1], -1);
	assert_int_equal(state_of(dev).pairs_active, 0);
	assert_int_equal(get_base(1), 65535);
	assert_int_equal(ack_u64(XV_VHOST_SET_VRING_KICK, 1 | XV_VHOST_VRING_NO_FD),
			 0); /* polled */
	assert_int_equal(xv_vhost_ring(dev, 1)->avail_idx, 65535);
	assert_int_equal(xv_vhost_ring(dev, 1)->kick_fd, -1);

	assert_int_equal(ack_state(XV_VHOST_SET_VRING_ENABLE, 1, 0), 0);
	assert_null(xv_vhost_ring(dev, 1));
	assert_int_equal(ack_state(XV_VHOST_SET_VRING_ENABLE, 1, 1), 0);
	assert_int_equal(xv_vhost_ring(dev, 1)->avail_idx, 65535);

	/* Another base on a running ring; but what the guest sees as used counts. */
	used_ring(1)->idx = 100;
	assert_int_equal(ack_state(XV_VHOST_SET_VRING_BASE, 1, 90), 0);
	assert_int_equal(xv_vhost_ring(dev, 1)->avail_idx, 100);
	assert_int_equal(xv_vhost_ring(dev, 1)->used_idx, 100);

	/* Other addresses and size on a running ring. */
	addr = addr_of(5);
	addr.index = 1;
	assert_int_equal(ack(XV_VHOST_SET_VRING_ADDR, &addr, sizeof(addr), -1), 0);
	assert_int_equal(ack_state(XV_VHOST_SET_VRING_NUM, 1, 128), 0);
	assert_int_equal(xv_vhost_ring(dev, 1)->size, 128);
	assert_int_equal(xv_vhost_ring(dev, 1)->avail_idx, 100);

	/* A reset guest: nothing is touched any more, but the position is known. */
	xv_vhost_ring(dev, 1)->avail_idx = xv_vhost_ring(dev, 1)->used_idx = 4321;
	assert_int_equal(ack_u64(XV_VHOST_SET_STATUS, 0), 0);
	assert_null(xv_vhost_ring(dev, 0));
	assert_null(xv_vhost_ring(dev, 1));
	assert_int_equal(get_base(1), 4321);
	assert_int_equal(set_event(XV_VHOST_SET_VRING_KICK, 0, NULL), 0);
	assert_non_null(xv_vhost_ring(dev, 0));

	assert_int_equal(ack(XV_VHOST_RESET_OWNER, NULL, 0, -1), 0);
	assert_null(xv_vhost_ring(dev, 0));
	assert_int_equal(state_of(dev).features, BASIC | BIT(15) | BIT(1));
	assert_int_equal(ack(XV_VHOST_RESET_DEVICE, NULL, 0, -1), 0);
	assert_int_equal(state_of(dev).features, 0);
	assert_true(state_of(dev).connected);
	detach();
}

static void without_protocol_features_a_kick_starts(void **state)
{
	uint64_t value = 0;
	int fd;

	attach(0);
	post(XV_VHOST_SET_FEATURES, 0, &(uint64_t){BIT(VIRTIO_F_VERSION_1)}, 8, NULL, 0);
	{
		struct xv_vhost_memory table = {.n = 1, .regions = {{0, MEM_BYTES, UVA, 0}}};
		struct xv_vhost_vring_addr addr = addr_of(0);
		struct xv_vhost_vring_state num = {0, SIZE};

		post(XV_VHOST_SET_MEM_TABLE, 0, &table, 8 + 32, &mem_fd, 1);
		post(XV_VHOST_SET_VRING_NUM, 0, &num, 8, NULL, 0);
		post(XV_VHOST_SET_VRING_ADDR, 0, &addr, sizeof(addr), NULL, 0);
	}
	fd = eventfd(0, 0);
	post(XV_VHOST_SET_VRING_KICK, 0, &value, 8, &fd, 1);
	turn();
	(void)close(fd);
	assert_non_null(xv_vhost_ring(dev, 0));
	detach();
}

static void packed_bases_have_two_halves(void **state)
{
	struct xv_vring *vq;

	attach(BASIC | BIT(VIRTIO_F_RING_PACKED));
	assert_true(state_of(dev).packed);
	start_ring(1, 0x8000); /* DPDK's drivers leave the upper half empty */
	vq = xv_vhost_ring(dev, 1);
	assert_int_equal(vq->avail_idx, 0);
	assert_int_equal(vq->used_idx, 0);
	assert_true(vq->avail_wrap && vq->used_wrap);
	vq->avail_idx = vq->used_idx = 17;
	vq->avail_wrap = vq->used_wrap = false;
	assert_int_equal(get_base(1), 17 | 17 << 16);
	assert_int_equal(ack_state(XV_VHOST_SET_VRING_BASE, 1, 20 | 0x8010u << 16), 0);
	assert_int_equal(set_event(XV_VHOST_SET_VRING_KICK, 1, NULL), 0);
	vq = xv_vhost_ring(dev, 1);
	assert_int_equal(vq->avail_idx, 20);
	assert_int_equal(vq->used_idx, 16);
	assert_true(!vq->avail_wrap && vq->used_wrap);
	assert_int_equal(get_base(1), 20 | 0x8010u << 16);
	/* sizes need not be powers of two */
	assert_int_equal(ack_state(XV_VHOST_SET_VRING_NUM, 1, 200), 0);
	assert_int_equal(set_event(XV_VHOST_SET_VRING_KICK, 1, NULL), 0);
	assert_non_null(xv_vhost_ring(dev, 1));
	assert_int_equal(ack_state(XV_VHOST_SET_VRING_BASE, 1, 200 | 200 << 16), 1);
	expect_broken("SET_VRING_BASE: ring 1: base is beyond its size");
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
		attach(BASIC);
		start_ring(0, 0);
		addr = addr_of(0);
		if (addrs[i].desc != 0)
			addr.desc = addrs[i].desc;
		if (addrs[i].avail != 0)
			addr.avail = addrs[i].avail;
		if (addrs[i].used != 0)
			addr.used = addrs[i].used;
		post(XV_VHOST_SET_VRING_ADDR, 0, &addr, sizeof(addr), NULL, 0);
		expect_broken(addrs[i].sentence);
	}
	for (i = 0; i < sizeof(index_requests) / sizeof(index_requests[0]); i++) {
		attach(BASIC);
		s = (struct xv_vhost_vring_state){2u * config.max_pairs, 1};
		post(index_requests[i], 0, &s, 8, NULL, 0);
		expect_broken("there is no ring 8, only 8");
		attach(BASIC);
		s.index = UINT32_MAX;
		post(index_requests[i], 0, &s, 8, NULL, 0);
		expect_broken("there is no ring 4294967295");
	}
	attach(BASIC);
	addr.index = 0x10000;
	post(XV_VHOST_SET_VRING_ADDR, 0, &addr, sizeof(addr), NULL, 0);
	expect_broken("there is no ring 65536");
	for (i = 0; i < 3; i++) {
		attach(BASIC);
		fds[0] = eventfd(0, 0);
		post(fd_requests[i], 0, &(uint64_t){255}, 8, fds, 1);
		(void)close(fds[0]);
		expect_broken("there is no ring 255");
		attach(BASIC); /* a pipe: writing to it may block */
		assert_int_equal(pipe(fds), 0);
		post(fd_requests[i], 0, &(uint64_t){0}, 8, &fds[1], 1);
		expect_broken("not an eventfd");
		(void)close(fds[0]);
		(void)close(fds[1]);
	}
	for (i = 0; i < 3; i++) {
		attach(BASIC);
		start_ring(0, 0);
		s = (struct xv_vhost_vring_state){0, i == 0 ? 0 : i == 1 ? 32769 : 100};
		post(XV_VHOST_SET_VRING_NUM, 0, &s, 8, NULL, 0);
		expect_broken(i < 2 ? "is not within 1..32768" : "is not a power of two");
	}
	attach(BASIC);
	s = (struct xv_vhost_vring_state){0, 65536};
	post(XV_VHOST_SET_VRING_BASE, 0, &s, 8, NULL, 0);
	expect_broken("base 0x10000 is beyond 16 bits");
	attach(BASIC);
	start_ring(0, 0);
	post(XV_VHOST_SET_FEATURES, 0, &(uint64_t){BASIC | BIT(VIRTIO_F_RING_PACKED)}, 8, NULL, 0);
	expect_broken("features change (0x400000000) while ring 0 runs");
	attach(BASIC);
	s = (struct xv_vhost_vring_state){0, 2};
	post(XV_VHOST_SET_VRING_ENABLE, 0, &s, 8, NULL, 0);
	expect_broken("enable is 2");
}

static void a_ring_that_a_worker_finds_broken(void **state)
{
	eventfd_t count;
	int err_fd;

	attach(BASIC);
	start_ring(0, 0);
	start_ring(1, 0);
	assert_int_equal(set_event(XV_VHOST_SET_VRING_ERR, 1, &err_fd), 0);
	atomic_store(&xv_vhost_ring(dev, 1)->bad_headers, 3);
	atomic_store(&xv_vhost_ring(dev, 1)->error, XV_VRING_BAD_CHAIN);
	xv_vhost_report_broken();
	assert_int_equal(state_of(dev).bad_headers, 3);
	turn();
	assert_int_equal(eventfd_read(err_fd, &count), 0);
	(void)close(err_fd);
	assert_int_equal(state_of(dev).bad_headers, 3);
	expect_broken("ring 1: descriptor chain loops");

	/* Even if the ring is stopped before anybody looks. */
	attach(BASIC);
	start_ring(1, 0);
	atomic_store(&xv_vhost_ring(dev, 1)->error, XV_VRING_BAD_HEAD);
	assert_int_equal(get_base(1), 0);
	expect_broken("ring 1: descriptor index is beyond the ring");
}

/*
 * Migration and restart
 */

static void dirty_logging_is_switched_while_rings_run(void **state)
{
	struct xv_vhost_log log = {4096, 8192};
	struct xv_vhost_vring_addr addr = addr_of(1);
	struct xv_vring *vq;
	int fd = memfd_create("log", MFD_CLOEXEC);
	unsigned int i;
	uint8_t byte;

	assert_int_equal(ftruncate(fd, 8192 + 4096), 0);
	attach(BASIC);
	start_ring(0, 0);
	start_ring(1, 0);
	xv_vhost_ring(dev, 1)->avail_idx = xv_vhost_ring(dev, 1)->used_idx = 3000;
	for (i = 0; i < 3; i++) { /* started, cancelled, started ... */
		/* as QEMU does */
		assert_int_equal(ack(XV_VHOST_SET_LOG_BASE, &log, sizeof(log), fd), 0);
		assert_null(xv_vhost_ring(dev, 1)->log);
		assert_int_equal(ack_u64(XV_VHOST_SET_FEATURES, BASIC | BIT(XV_VHOST_F_LOG_ALL)),
				 0);
		addr.flags = XV_VHOST_VRING_LOG;
		addr.log = USED_AT(1);
		assert_int_equal(ack(XV_VHOST_SET_VRING_ADDR, &addr, sizeof(addr), -1), 0);
		vq = xv_vhost_ring(dev, 1);
		assert_non_null(vq->log);
		assert_int_equal(vq->log_used_gpa, USED_AT(1));
		assert_int_equal(xv_vhost_ring(dev, 0)->log_used_gpa, UINT64_MAX);
		assert_int_equal(vq->avail_idx, 3000);
		xv_dirty_log_mark(vq->log, 5 * 4096, 1);
		assert_int_equal(pread(fd, &byte, 1, 8192), 1);
		assert_int_equal(byte, 1 << 5);
		assert_int_equal(ack_u64(XV_VHOST_SET_FEATURES, BASIC), 0);
		addr.flags = 0;
		assert_int_equal(ack(XV_VHOST_SET_VRING_ADDR, &addr, sizeof(addr), -1), 0);
		assert_null(xv_vhost_ring(dev, 1)->log);
		assert_int_equal(xv_vhost_ring(dev, 1)->used_idx, 3000);
	}
	assert_int_equal(set_event(XV_VHOST_SET_LOG_FD, 0, NULL), 0);
	assert_int_equal(set_event(XV_VHOST_SET_LOG_FD, 0, NULL), 0);
	assert_int_equal(set_event(XV_VHOST_SET_BACKEND_REQ_FD, 0, NULL), 0);
	assert_int_equal(set_event(XV_VHOST_SET_BACKEND_REQ_FD, 0, NULL), 0);
	log.size = 4097;
	assert_int_equal(ack(XV_VHOST_SET_LOG_BASE, &log, sizeof(log), fd), 1);
	(void)close(fd);
	expect_broken("SET_LOG_BASE: dirty log");
}

static int get_inflight(uint16_t queues, uint16_t size, struct xv_vhost_inflight *area)
{
	int fd = -1;

	*area = (struct xv_vhost_inflight){.num_queues = queues, .queue_size = size};
	post(XV_VHOST_GET_INFLIGHT_FD, 0, area, sizeof(*area), NULL, 0);
	assert_int_equal(get_reply(XV_VHOST_GET_INFLIGHT_FD, area, sizeof(*area), &fd),
			 sizeof(*area));
	assert_true(fd >= 0);
	return fd;
}

static void inflight_area_survives(void **state)
{
	struct vring_avail *avail;
	struct xv_vhost_inflight area, first;
	struct xv_vring *vq;
	unsigned int i, fds;
	int fd;

	attach(BASIC);
	fds = count_fds();
	for (i = 0; i < 10; i++) /* CVE-2020-10726: again and again */
		(void)close(get_inflight(2, SIZE, &first));
	assert_int_equal(count_fds(), fds);
	fd = get_inflight(2, SIZE, &area);
	assert_int_equal(area.mmap_size, first.mmap_size);
	assert_int_equal(area.num_queues, 2);
	assert_int_equal(ack(XV_VHOST_SET_INFLIGHT_FD, &area, sizeof(area), fd), 0);
	start_ring(1, 0);
	vq = xv_vhost_ring(dev, 1);
	assert_non_null(vq->inflight);
	/* The daemon takes three, gives back one, dies. */
	avail = (void *)(mem + AVAIL_AT(1));
	for (i = 0; i < 3; i++) {
		avail->ring[i] = (uint16_t)(10 + i);
		xv_inflight_take_split(vq->inflight, (uint16_t)(10 + i));
	}
	xv_inflight_put_split(vq->inflight, 10);
	used_ring(1)->idx = 1;
	detach();

	attach(BASIC);
	((struct vring_used *)(void *)(mem + USED_AT(1)))->idx = 1;
	avail = (void *)(mem + AVAIL_AT(1));
	for (i = 0; i < 3; i++)
		avail->ring[i] = (uint16_t)(10 + i);
	assert_int_equal(ack(XV_VHOST_SET_INFLIGHT_FD, &area, sizeof(area), fd), 0);
	start_ring(1, 1);
	assert_int_equal(xv_vhost_ring(dev, 1)->avail_idx, 1);
	/* A ring longer than its part of the area (CVE-2026-86565). */
	assert_int_equal(ack_state(XV_VHOST_SET_VRING_NUM, 1, 2 * SIZE), 1);
	expect_broken("ring 1: the in-flight log is made for split rings of 256");

	attach(BASIC);
	area.num_queues = 9;
	assert_int_equal(ack(XV_VHOST_SET_INFLIGHT_FD, &area, sizeof(area), fd), 1);
	expect_broken("in-flight log for 9 queues");
	attach(BASIC);
	area.num_queues = 8;
	assert_int_equal(ack(XV_VHOST_SET_INFLIGHT_FD, &area, sizeof(area), fd), 1);
	expect_broken("does not fit 8 queues");
	attach(BASIC | BIT(VIRTIO_F_RING_PACKED));
	(void)close(get_inflight(8, SIZE, &area));
	start_ring(1, 0x80058005);
	assert_int_equal(xv_vhost_ring(dev, 1)->used_idx, 5);
	assert_int_equal(xv_vhost_ring(dev, 1)->inflight->packed->used_idx, 5);
	detach();
	(void)close(fd);
}

/*
 * Connection
 */

static void descriptors_do_not_leak(void **state)
{
	unsigned int i, before, maps;
	struct xv_vhost_inflight area;
	struct xv_vhost_log log = {4096, 0};
	int fds[33];

	attach(BASIC);
	detach();
	before = count_fds();
	maps = count_maps();
	for (i = 0; i < 1000; i++) {
		attach(BASIC);
		start_ring(0, 0);
		start_ring(1, 0);
		(void)set_event(XV_VHOST_SET_VRING_CALL, 0, NULL);
		(void)set_event(XV_VHOST_SET_VRING_CALL, 1, NULL);
		(void)set_event(XV_VHOST_SET_VRING_ERR, 1, NULL);
		(void)set_event(XV_VHOST_SET_LOG_FD, 1, NULL);
		(void)set_event(XV_VHOST_SET_BACKEND_REQ_FD, 1, NULL);
		(void)close(get_inflight(4, SIZE, &area));
		(void)set_event(XV_VHOST_SET_VRING_KICK, 2, NULL);
		(void)ack(XV_VHOST_SET_LOG_BASE, &log, sizeof(log), mem_fd);
		if (i % 4 == 1)
			assert_int_equal(set_table(MEM_BYTES), 0);
		fds[0] = fds[1] = fds[2] = mem_fd;
		if (i % 4 == 0) /* descriptors that nobody asked for */
			post(XV_VHOST_GET_STATUS, 0, NULL, 0, fds, 3);
		if (i % 4 == 2)
			(void)shutdown(sock, SHUT_RDWR);
		if (i % 4 == 3) /* half a message with descriptors is under way */
			send_bytes("\1\0", 2, fds, 3);
		turn();
		assert_int_equal(state_of(dev).connected, i % 2 != 0);
		detach();
	}
	assert_int_equal(count_fds(), before);
	assert_true(count_maps() <= maps + 2);

	/* More than the kernel can deliver into our buffer. */
	attach(BASIC);
	for (i = 0; i < 33; i++)
		fds[i] = mem_fd;
	post(XV_VHOST_GET_FEATURES, 0, NULL, 0, fds, 33);
	expect_broken("file descriptors were lost");
	assert_int_equal(count_fds(), before);
}

static void messages_come_in_pieces(void **state)
{
	struct {
		struct xv_vhost_header h;
		struct xv_vhost_vring_state s;
	} msg = {{XV_VHOST_GET_VRING_BASE, XV_VHOST_VERSION, 8}, {3, 0}};
	struct xv_vhost_vring_state s;
	unsigned int i;

	attach(BASIC);
	for (i = 0; i < sizeof(msg); i++) {
		assert_int_equal(get_reply(XV_VHOST_GET_VRING_BASE, &s, 8, NULL), -1);
		send_bytes((const uint8_t *)&msg + i, 1, NULL, 0);
	}
	assert_int_equal(get_reply(XV_VHOST_GET_VRING_BASE, &s, 8, NULL), 8);
	assert_int_equal(s.index, 3);
	detach();
}

static void a_flood_leaves_time_for_others(void **state)
{
	unsigned int i, turns;
	uint64_t value;
	ssize_t got;

	attach(BASIC);
	for (i = 0; i < 100; i++)
		post(XV_VHOST_GET_STATUS, 0, NULL, 0, NULL, 0);
	for (turns = 0; i > 0 && turns < 100; turns++) {
		unsigned int replies = 0;
		uint8_t reply[sizeof(struct xv_vhost_header) + 8];

		(void)event_base_loop(base, EVLOOP_NONBLOCK | EVLOOP_ONCE);
		while ((got = recv(sock, reply, sizeof(reply), MSG_DONTWAIT)) > 0)
			replies++;
		assert_true(replies <= 16);
		i -= replies;
	}
	assert_int_equal(i, 0);

	/* One that never reads its replies is let go. */
	value = 1;
	(void)setsockopt(sock, SOL_SOCKET, SO_RCVBUF, &value, sizeof(int));
	for (i = 0; i < 10000 && state_of(dev).connected; i++) {
		post(XV_VHOST_GET_STATUS, 0, NULL, 0, NULL, 0);
		turn();
	}
	assert_true(state_of(dev).is_broken);
	expect_broken("nobody reads");
}

/*
 * Sockets
 */

static char dir[64], path[96];

static int front_connect(void)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0)
		return fd;
	(void)close(fd);
	return -errno;
}

static int front_listen(bool listening)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	(void)snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	if (listening)
		assert_int_equal(listen(fd, 4), 0);
	return fd;
}

static int create(struct xv_vhost **v, struct xv_err *err)
{
	memset(err, 0, sizeof(*err));
	return xv_vhost_create(&config, base, &events, NULL, v, err);
}

static bool is_closed(int fd)
{
	uint8_t byte;

	return recv(fd, &byte, 1, MSG_DONTWAIT) == 0;
}

static void server_takes_one_at_a_time(void **state)
{
	char long_path[120];
	struct xv_vhost *a, *b = NULL;
	struct xv_err err;
	struct stat st;
	int one, two;

	config.socket = path;
	config.socket_mode = 0640;
	config.socket_owner = "0";
	assert_int_equal(create(&a, &err), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0640);
	assert_int_equal(create(&b, &err), -EADDRINUSE);
	assert_non_null(strstr(err.text, "is in use by another process"));
	xv_vhost_destroy(a); /* it was called, to see whether somebody is there */
	assert_int_equal(create(&a, &err), 0);

	assert_true((one = front_connect()) >= 0);
	turn();
	assert_true(state_of(a).connected);
	assert_true((two = front_connect()) >= 0);
	turn();
	assert_true(is_closed(two));
	assert_false(is_closed(one));
	assert_int_equal(state_of(a).connects, 1);
	(void)close(two);
	/* The first dies, and the next one is there before we have noticed. */
	(void)close(one);
	assert_true((two = front_connect()) >= 0);
	turn();
	turn();
	assert_true(state_of(a).connected);
	assert_int_equal(state_of(a).connects, 2);
	assert_int_equal(state_of(a).disconnects, 1);
	assert_false(is_closed(two));
	xv_vhost_destroy(a);
	assert_true(is_closed(two));
	(void)close(two);
	assert_int_equal(stat(path, &st), -1);

	/* A stale file is replaced, a successor's is not removed. */
	(void)close(front_listen(false));
	assert_int_equal(create(&a, &err), 0);
	assert_int_equal(unlink(path), 0);
	one = front_listen(true);
	xv_vhost_destroy(a);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(create(&a, &err), -EADDRINUSE);
	(void)close(one);
	(void)unlink(path);

	assert_true((one = open(path, O_CREAT | O_WRONLY, 0600)) >= 0);
	(void)close(one);
	assert_int_equal(create(&a, &err), -EEXIST);
	assert_non_null(strstr(err.text, "is not a socket"));
	(void)unlink(path);
	memset(long_path, 'x', sizeof(long_path) - 1);
	long_path[119] = '\0';
	config.socket = long_path;
	assert_int_equal(create(&a, &err), -ENAMETOOLONG);
	assert_string_equal(err.text, "path is longer than 107 bytes");
	config.socket = "";
	assert_int_equal(create(&a, &err), -EINVAL);
	config.socket = "/nonexistent/vm1.sock";
	assert_int_equal(create(&a, &err), -ENOENT);
	assert_string_equal(err.text, "the directory of /nonexistent/vm1.sock does not exist");
	config.socket = path;
	config.socket_owner = "no-such-user";
	assert_int_equal(create(&a, &err), -ENOENT);
	assert_string_equal(err.text, "socket owner: there is no user no-such-user");
	config.socket_owner = NULL;
	config.socket_mode = -1;
	config.max_pairs = 33;
	assert_int_equal(create(&a, &err), -EINVAL);
	config.max_pairs = 4;
}

/* Milliseconds until the device is connected. */
static unsigned int wait_connected(const struct xv_vhost *v, uint64_t connects)
{
	uint64_t begin = xv_clock_ns(), now = begin;

	while (state_of(v).connects < connects && now - begin < UINT64_C(5000000000)) {
		(void)event_base_loop(base, EVLOOP_ONCE);
		now = xv_clock_ns();
	}
	assert_int_equal(state_of(v).connects, connects);
	return (unsigned int)((now - begin) / 1000000);
}

static int compare(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

static void client_comes_back_at_once(void **state)
{
	struct xv_vhost *v;
	struct xv_err err;
	uint64_t connects = 0;
	unsigned int i, n = 0, ms[90];
	char sub[96];

	config.socket = path;
	config.client = true;
	assert_int_equal(create(&v, &err), 0);
	turn_for_ms(30);
	assert_false(state_of(v).connected);
	for (i = 0; i < 60; i++) {
		int listener, fd;

		if (i % 4 == 3) {
			turn_for_ms(20);
			listener = front_listen(
				false); /* the file is there a while before it listens */
			turn_for_ms(20);
			assert_int_equal(listen(listener, 4), 0);
		} else if (i % 4 == 2) {
			char temporary[sizeof(path)];

			turn_for_ms(600); /* no longer in a hurry */
			memcpy(temporary, path, sizeof(path));
			path[strlen(path) - 1] = '~';
			listener = front_listen(true);
			assert_int_equal(rename(path, temporary), 0);
			memcpy(path, temporary, sizeof(path));
		} else {
			listener = front_listen(true);
		}
		ms[n++] = wait_connected(v, ++connects);
		fd = accept(listener, NULL, NULL);
		assert_true(fd >= 0);
		sock = fd;
		dev = v;
		assert_true(ask(XV_VHOST_GET_FEATURES) != 0);
		if (i % 4 == 1) {
			/* it hangs up, but goes on listening */
			(void)close(fd);
			ms[n++] = wait_connected(v, ++connects);
			fd = accept(listener, NULL, NULL);
			assert_true(fd >= 0);
		}
		(void)close(fd);
		(void)close(listener);
		(void)unlink(path);
		turn();
		turn();
	}
	assert_int_equal(n, connects);
	qsort(ms, n, sizeof(ms[0]), compare);
	assert_true(ms[n * 3 / 4] <=
		    10);              /* not all: this machine may be busy with something else */
	assert_true(ms[n - 1] < 500); /* what the slow timer alone would not do */
	assert_int_equal(state_of(v).disconnects, connects);
	xv_vhost_destroy(v);

	/* The directory is not there yet, nor is the one that it is in. */
	(void)snprintf(sub, sizeof(sub), "%s/a", dir);
	(void)snprintf(path, sizeof(path), "%s/a/b/s", dir);
	assert_int_equal(create(&v, &err), 0);
	turn_for_ms(20);
	assert_int_equal(mkdir(sub, 0700), 0);
	turn_for_ms(20);
	(void)strcat(sub, "/b");
	assert_int_equal(mkdir(sub, 0700), 0);
	turn_for_ms(20);
	sock = front_listen(true);
	assert_true(wait_connected(v, 1) < 500);
	xv_vhost_destroy(v);
	(void)close(sock);
	(void)unlink(path);
	(void)rmdir(sub);
	sub[strlen(sub) - 2] = '\0';
	(void)rmdir(sub);
	(void)snprintf(path, sizeof(path), "%s/s", dir);
	config.client = false;
}

static void waiting_costs_nothing(void **state)
{
	struct xv_vhost *v[64];
	struct rusage before, after;
	struct xv_err err;
	unsigned int i, fds;
	uint64_t us;

	config.socket = path;
	config.client = true;
	fds = count_fds();
	for (i = 0; i < 64; i++)
		assert_int_equal(create(&v[i], &err), 0);
	turn_for_ms(10);
	(void)getrusage(RUSAGE_SELF, &before);
	turn_for_ms(900);
	turn_for_ms(900);
	(void)getrusage(RUSAGE_SELF, &after);
	us = (uint64_t)(after.ru_utime.tv_sec - before.ru_utime.tv_sec + after.ru_stime.tv_sec -
			before.ru_stime.tv_sec) *
		     1000000 +
	     (uint64_t)(after.ru_utime.tv_usec - before.ru_utime.tv_usec + after.ru_stime.tv_usec -
			before.ru_stime.tv_usec);
	assert_true(us < 18000); /* 1 %, to be safe where time is counted in ticks */
	for (i = 0; i < 64; i++)
		xv_vhost_destroy(v[i]);
	assert_int_equal(count_fds(), fds);
	config.client = false;
}

static int setup(void **state)
{
	unsigned int i;

	xv_clock_init(1000000000);
	xv_log_set_level(XV_LOG_ERROR);
	for (i = 0; i < 2 * XV_VHOST_MAX_PAIRS; i++)
		kick_fds[i] = -1;
	config = (struct xv_vhost_config){.name = "vm1",
					  .max_pairs = 4,
					  .mtu = 9000,
					  .csum = true,
					  .tso = true,
					  .socket_mode = -1};
	(void)snprintf(dir, sizeof(dir), "/tmp/xvio-unit-XXXXXX");
	if (mkdtemp(dir) == NULL)
		return -1;
	(void)snprintf(path, sizeof(path), "%s/s", dir);
	base = event_base_new();
	return xv_rcu_init() == 0 && xv_vhost_init(base) == 0 ? 0 : -1;
}

static int teardown(void **state)
{
	xv_vhost_fini();
	xv_rcu_fini();
	event_base_free(base);
	return rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(features_follow_the_configuration),
		cmocka_unit_test(mtu_and_rarp_are_told),
		cmocka_unit_test(unknown_requests_are_refused),
		cmocka_unit_test(malformed_messages_break_the_device),
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
		cmocka_unit_test(descriptors_do_not_leak),
		cmocka_unit_test(messages_come_in_pieces),
		cmocka_unit_test(a_flood_leaves_time_for_others),
		cmocka_unit_test(server_takes_one_at_a_time),
		cmocka_unit_test(client_comes_back_at_once),
		cmocka_unit_test(waiting_costs_nothing),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
