/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vhost-user protocol engine: the input is a list of things that a front end does, each a byte
 * that says what and its arguments. Messages are as wild as the input, but descriptors come from a
 * small set, and addresses of the front end are the guest's, so that small numbers make sense.
 */
#include "fuzz.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "base/log.h"
#include "table/rcu.h"
#include "virtio/inflight.h"
#include "virtio/vhost_msg.h"
#include "virtio/vhost_user.h"

enum action {
	MESSAGE,  /* request, flags, descriptors, size, payload: a well-formed header */
	BYTES,    /* size, bytes: whatever they are */
	TURN,     /* let the device work */
	DRAIN,    /* read its replies */
	SHRINK,   /* descriptor: the file gets smaller */
	GROW,     /* descriptor */
	WRITE,    /* descriptor, offset / 256, size, bytes: to the file */
	RING,     /* ring, error: a worker looks at the ring and may find it broken */
	PRACTICE, /* negotiate all protocol features and hand over memory, so that the rest has a
		     chance */
	ACTIONS,
};

enum kind { MEMORY, SMALL, EMPTY, EVENT, PIPE, SOCKET, READONLY, KINDS };

static struct event_base *base;
static const uint8_t *in, *in_end;

static void on_changed(struct xv_vhost *v, void *arg)
{
	struct xv_vhost_state state;

	xv_vhost_get_state(v, &state);
	FUZZ_CHECK(state.connected || (state.pairs_active == 0 && state.features == 0));
	FUZZ_CHECK(memchr(state.broken, '\0', sizeof(state.broken)) != NULL);
}

static void on_kick_fd(struct xv_vhost *v, uint16_t index, int fd, void *arg)
{
	FUZZ_CHECK(index < 4 && (fd < 0 || fcntl(fd, F_GETFD) >= 0));
}

static void on_rarp(struct xv_vhost *v, const uint8_t mac[6], void *arg)
{
}

static const struct xv_vhost_events events = {on_changed, on_kick_fd, on_rarp};

static uint8_t byte(void)
{
	return in < in_end ? *in++ : 0;
}

static int memfd(off_t size)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	FUZZ_CHECK(fd >= 0 && ftruncate(fd, size) == 0);
	return fd;
}

static void send_message(int sock, const void *data, size_t len, const int *fds, unsigned int n)
{
	union {
		char buf[CMSG_SPACE(16 * sizeof(int))];
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
	(void)sendmsg(sock, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void message(int sock, const int *kinds)
{
	struct {
		struct xv_vhost_header h;
		uint8_t payload[512];
	} msg = {.h.request = byte(), .h.flags = byte()};
	int fds[15];
	uint8_t which = byte(); /* low half: how many, high half: the first kind */
	unsigned int i;

	msg.h.size = 2u * byte();
	for (i = 0; i < (which & 0xfu); i++)
		fds[i] = kinds[((unsigned int)(which >> 4) + (which & 8 ? i : 0)) % KINDS];
	for (i = 0; i < msg.h.size; i++)
		msg.payload[i] = byte();
	send_message(sock, &msg, sizeof(msg.h) + msg.h.size, fds, which & 0xf);
}

static void practice(int sock, const int *kinds)
{
	const struct {
		struct xv_vhost_header h;
		uint64_t protocol;
	} __attribute__((packed))
	features = {{XV_VHOST_SET_PROTOCOL_FEATURES, XV_VHOST_VERSION, 8}, 0x1903f};
	const struct {
		struct xv_vhost_header h;
		uint32_t n, padding;
		struct xv_vhost_memory_region region;
	} __attribute__((packed))
	table = {{XV_VHOST_SET_MEM_TABLE, XV_VHOST_VERSION, 40}, 1, 0, {0, 65536, 0, 0}};

	send_message(sock, &features, sizeof(features), NULL, 0);
	send_message(sock, &table, sizeof(table), &kinds[MEMORY], 1);
}

static void drain(int sock)
{
	union {
		char buf[CMSG_SPACE(4 * sizeof(int))];
		struct cmsghdr align;
	} control;
	char buf[256];
	struct iovec iov = {.iov_base = buf, .iov_len = sizeof(buf)};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control};

	for (;;) {
		struct cmsghdr *c;

		m.msg_controllen = sizeof(control);
		if (recvmsg(sock, &m, MSG_DONTWAIT) <= 0)
			return;
		for (c = CMSG_FIRSTHDR(&m); c != NULL; c = CMSG_NXTHDR(&m, c)) {
			int fd;

			memcpy(&fd, CMSG_DATA(c), sizeof(fd));
			(void)close(fd);
		}
	}
}

static void look_at_ring(const struct xv_vhost *v)
{
	struct xv_vring *vq = xv_vhost_ring(v, byte() % 8);
	uint8_t error = byte();

	if (vq == NULL)
		return;
	FUZZ_CHECK(vq->size > 0 && vq->mem != NULL && vq->recv != NULL);
	(void)xv_vring_backlog(vq, 1); /* reads the ring, which may be gone */
	if (vq->is_packed) {
		FUZZ_CHECK(vq->avail_idx < vq->size && vq->used_idx < vq->size);
		FUZZ_CHECK(vq->inflight == NULL || vq->inflight->packed != NULL);
	}
	FUZZ_CHECK(vq->inflight == NULL || vq->inflight->desc_num >= vq->size);
	if (error == 0xff) {
		atomic_store(&vq->error, XV_VRING_BAD_ADDR);
		xv_vhost_report_broken();
	}
}

static void act(struct xv_vhost *v, int sock, const int *kinds)
{
	uint8_t bytes[255], what, n;
	off_t offset;
	unsigned int i;

	switch (byte() % ACTIONS) {
	case MESSAGE:
		message(sock, kinds);
		break;
	case BYTES:
		n = byte();
		for (i = 0; i < n; i++)
			bytes[i] = byte();
		send_message(sock, bytes, n, NULL, 0);
		break;
	case TURN:
		(void)event_base_loop(base, EVLOOP_NONBLOCK);
		break;
	case DRAIN:
		drain(sock);
		break;
	case SHRINK:
		(void)ftruncate(kinds[byte() % EVENT], 0);
		break;
	case GROW:
		(void)ftruncate(kinds[byte() % EVENT], 65536);
		break;
	case WRITE:
		what = byte();
		offset = byte() * 256;
		n = byte();
		for (i = 0; i < n; i++)
			bytes[i] = byte();
		(void)pwrite(kinds[what % EVENT], bytes, n, offset);
		break;
	case RING:
		look_at_ring(v);
		break;
	case PRACTICE:
		practice(sock, kinds);
		break;
	}
}

static void init(void)
{
	xv_log_set_level(XV_LOG_ERROR);
	base = event_base_new();
	FUZZ_CHECK(base != NULL && xv_rcu_init() == 0 && xv_vhost_init(base) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct xv_vhost_config config = {
		.name = "fuzz", .max_pairs = 2, .mtu = 9000, .csum = true, .tso = true};
	int kinds[KINDS], pair[2], before, after;
	struct xv_vhost *v;
	unsigned int i;
	char path[32];

	if (base == NULL)
		init();
	in = data;
	in_end = data + size;
	before = dup(0);
	(void)close(before);

	kinds[MEMORY] = memfd(65536);
	kinds[SMALL] = memfd(4096);
	kinds[EMPTY] = memfd(0);
	kinds[EVENT] = eventfd(0, 0);
	FUZZ_CHECK(pipe(pair) == 0);
	kinds[PIPE] = pair[1];
	(void)close(pair[0]);
	kinds[SOCKET] = socket(AF_UNIX, SOCK_STREAM, 0);
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", kinds[MEMORY]);
	kinds[READONLY] = open(path, O_RDONLY);
	FUZZ_CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
	FUZZ_CHECK(xv_vhost_create_fd(&config, base, &events, NULL, pair[1], &v, NULL) == 0);

	while (in < in_end)
		act(v, pair[0], kinds);
	(void)event_base_loop(base, EVLOOP_NONBLOCK);
	drain(pair[0]);
	(void)close(pair[0]);
	(void)event_base_loop(base, EVLOOP_NONBLOCK);
	xv_vhost_destroy(v);
	for (i = 0; i < KINDS; i++)
		(void)close(kinds[i]);

	after = dup(0);
	(void)close(after);
	FUZZ_CHECK(after == before); /* nothing leaked: the lowest free descriptor is the same */
	return 0;
}
