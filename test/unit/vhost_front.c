/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/log.h"
#include "table/rcu.h"
#include "vhost_front.h"

char front_dir[64], front_path[96];
struct event_base *front_base;
struct xv_vhost_config front_config;
unsigned int front_changes, front_rarps;
int front_kick_fds[2 * XV_VHOST_MAX_PAIRS];
uint8_t front_rarp_mac[6];

/* The front end. */
struct xv_vhost *front_dev;
int front_sock, front_mem_fd;
uint8_t *front_mem;

static void on_changed(struct xv_vhost *v, void *arg)
{
	front_changes++;
}

static void on_kick_fd(struct xv_vhost *v, uint16_t index, int fd, void *arg)
{
	if (front_kick_fds[index] >= 0)
		assert_true(fcntl(front_kick_fds[index], F_GETFD) >= 0); /* still open */
	front_kick_fds[index] = fd;
}

static void on_rarp(struct xv_vhost *v, const uint8_t mac[6], void *arg)
{
	memcpy(front_rarp_mac, mac, 6);
	front_rarps++;
}

const struct xv_vhost_events front_events = {on_changed, on_kick_fd, on_rarp};

void front_turn(void)
{
	(void)event_base_loop(front_base, EVLOOP_NONBLOCK);
}

void front_turn_for_ms(unsigned int ms)
{
	struct timeval tv = {.tv_usec = (suseconds_t)(ms * 1000)};

	(void)event_base_loopexit(front_base, &tv);
	(void)event_base_dispatch(front_base);
}

struct xv_vhost_state front_state_of(const struct xv_vhost *v)
{
	struct xv_vhost_state s;

	xv_vhost_get_state(v, &s);
	return s;
}

void front_send_bytes(const void *data, size_t len, const int *fds, unsigned int n)
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
	assert_int_equal(sendmsg(front_sock, &m, MSG_NOSIGNAL), (ssize_t)len);
}

void front_post(uint32_t request, uint32_t flags, const void *payload, uint32_t size,
		 const int *fds, unsigned int n)
{
	struct {
		struct xv_vhost_header h;
		uint8_t payload[5000];
	} msg = {.h = {request, XV_VHOST_VERSION | flags, size}};

	if (size > 0)
		memcpy(msg.payload, payload, size);
	front_send_bytes(&msg, sizeof(msg.h) + size, fds, n);
}

int front_get_reply(uint32_t request, void *payload, uint32_t size, int *fd)
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

	front_turn();
	got = recvmsg(front_sock, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
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

uint64_t front_ask(uint32_t request)
{
	uint64_t value = 0;

	front_post(request, 0, NULL, 0, NULL, 0);
	assert_int_equal(front_get_reply(request, &value, 8, NULL), 8);
	return value;
}

uint64_t front_ack(uint32_t request, const void *payload, uint32_t size, int fd)
{
	uint64_t value = 0;

	front_post(request, XV_VHOST_NEED_REPLY, payload, size, &fd, fd >= 0);
	assert_int_equal(front_get_reply(request, &value, 8, NULL), 8);
	return value;
}

uint64_t front_ack_u64(uint32_t request, uint64_t value)
{
	return front_ack(request, &value, 8, -1);
}

uint64_t front_ack_state(uint32_t request, uint32_t index, uint32_t num)
{
	struct xv_vhost_vring_state s = {index, num};

	return front_ack(request, &s, 8, -1);
}

uint64_t front_set_table(uint64_t size)
{
	struct xv_vhost_memory table = {.n = 1, .regions = {{0, size, UVA, 0}}};

	return front_ack(XV_VHOST_SET_MEM_TABLE, &table, 8 + 32, front_mem_fd);
}

struct xv_vhost_vring_addr front_addr_of(uint32_t ring)
{
	return (struct xv_vhost_vring_addr){.index = ring,
					    .desc = UVA + DESC_AT(ring),
					    .avail = UVA + AVAIL_AT(ring),
					    .used = UVA + USED_AT(ring)};
}

uint64_t front_set_addr(uint32_t ring)
{
	struct xv_vhost_vring_addr addr = front_addr_of(ring);

	return front_ack(XV_VHOST_SET_VRING_ADDR, &addr, sizeof(addr), -1);
}

uint64_t front_set_event(uint32_t request, uint32_t ring, int *fd)
{
	uint64_t value = ring, rc;
	int event = eventfd(0, EFD_CLOEXEC);

	rc = front_ack(request, &value, 8, event);
	if (fd != NULL)
		*fd = event;
	else
		(void)close(event);
	return rc;
}

uint32_t front_get_base(uint32_t ring)
{
	struct xv_vhost_vring_state s = {ring, 0xdead};

	front_post(XV_VHOST_GET_VRING_BASE, 0, &s, 8, NULL, 0);
	assert_int_equal(front_get_reply(XV_VHOST_GET_VRING_BASE, &s, 8, NULL), 8);
	assert_int_equal(s.index, ring);
	return s.num;
}

void front_attach(uint64_t features)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	front_sock = pair[0];
	assert_int_equal(xv_vhost_create_fd(&front_config, front_base, &front_events, NULL, pair[1], &front_dev, NULL), 0);
	front_mem_fd = memfd_create("guest", MFD_CLOEXEC);
	assert_int_equal(ftruncate(front_mem_fd, MEM_BYTES), 0);
	front_mem = mmap(NULL, MEM_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, front_mem_fd, 0);
	assert_true(front_mem != MAP_FAILED);
	if (features == 0)
		return;
	assert_int_equal(front_ask(XV_VHOST_GET_FEATURES) & features, features);
	assert_int_equal(front_ask(XV_VHOST_GET_PROTOCOL_FEATURES), PROTOCOLS);
	front_post(XV_VHOST_SET_PROTOCOL_FEATURES, 0, &(uint64_t){PROTOCOLS}, 8, NULL, 0);
	assert_int_equal(front_ack(XV_VHOST_SET_OWNER, NULL, 0, -1), 0);
	assert_int_equal(front_ack_u64(XV_VHOST_SET_FEATURES, features), 0);
	assert_int_equal(front_set_table(MEM_BYTES), 0);
}

void front_detach(void)
{
	xv_vhost_destroy(front_dev);
	(void)close(front_sock);
	(void)close(front_mem_fd);
	(void)munmap(front_mem, MEM_BYTES);
}

void front_start_ring(uint32_t ring, uint32_t ring_base)
{
	assert_int_equal(front_ack_state(XV_VHOST_SET_VRING_NUM, ring, SIZE), 0);
	assert_int_equal(front_ack_state(XV_VHOST_SET_VRING_BASE, ring, ring_base), 0);
	assert_int_equal(front_set_addr(ring), 0);
	assert_int_equal(front_set_event(XV_VHOST_SET_VRING_KICK, ring, NULL), 0);
	assert_null(xv_vhost_ring(front_dev, (uint16_t)ring)); /* not enabled */
	assert_int_equal(front_ack_state(XV_VHOST_SET_VRING_ENABLE, ring, 1), 0);
	assert_non_null(xv_vhost_ring(front_dev, (uint16_t)ring));
}

struct vring_used *front_used_ring(uint32_t ring)
{
	return (void *)(front_mem + USED_AT(ring));
}

void front_expect_broken(const char *sentence)
{
	struct xv_vhost_state s;
	unsigned int i;
	uint8_t byte;

	front_turn();
	s = front_state_of(front_dev);
	if (!s.is_broken || strstr(s.broken, sentence) == NULL)
		fail_msg("broken: \"%s\", expected \"%s\"", s.broken, sentence);
	assert_int_equal(s.broken_total, 1);
	assert_false(s.connected);
	assert_int_equal(s.disconnects, 1);
	assert_int_equal(s.features, 0);
	for (i = 0; i < 2u * front_config.max_pairs; i++) {
		assert_null(xv_vhost_ring(front_dev, (uint16_t)i));
		assert_int_equal(front_kick_fds[i], -1);
	}
	while (recv(front_sock, &byte, 1, MSG_DONTWAIT) == 1)
		;
	assert_int_equal(recv(front_sock, &byte, 1, MSG_DONTWAIT), 0); /* closed */
	front_detach();
}

int front_get_inflight(uint16_t queues, uint16_t size, struct xv_vhost_inflight *area)
{
	int fd = -1;

	*area = (struct xv_vhost_inflight){.num_queues = queues, .queue_size = size};
	front_post(XV_VHOST_GET_INFLIGHT_FD, 0, area, sizeof(*area), NULL, 0);
	assert_int_equal(front_get_reply(XV_VHOST_GET_INFLIGHT_FD, area, sizeof(*area), &fd),
			 sizeof(*area));
	assert_true(fd >= 0);
	return fd;
}

unsigned int front_count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int n = 0;

	while (readdir(dir) != NULL)
		n++;
	(void)closedir(dir);
	return n;
}

unsigned int front_count_maps(void)
{
	FILE *f = fopen("/proc/self/maps", "r");
	unsigned int n = 0;
	int c;

	while ((c = fgetc(f)) != EOF)
		n += c == '\n';
	(void)fclose(f);
	return n;
}

int front_setup(void **state)
{
	unsigned int i;

	xv_clock_init(1000000000);
	xv_log_set_level(XV_LOG_ERROR);
	for (i = 0; i < 2 * XV_VHOST_MAX_PAIRS; i++)
		front_kick_fds[i] = -1;
	front_config = (struct xv_vhost_config){.name = "vm1",
					  .max_pairs = 4,
					  .mtu = 9000,
					  .csum = true,
					  .tso = true,
					  .socket_mode = -1};
	(void)snprintf(front_dir, sizeof(front_dir), "/tmp/xvio-unit-XXXXXX");
	if (mkdtemp(front_dir) == NULL)
		return -1;
	(void)snprintf(front_path, sizeof(front_path), "%s/s", front_dir);
	front_base = event_base_new();
	return xv_rcu_init() == 0 && xv_vhost_init(front_base) == 0 ? 0 : -1;
}

int front_teardown(void **state)
{
	xv_vhost_fini();
	xv_rcu_fini();
	event_base_free(front_base);
	return rmdir(front_dir);
}
