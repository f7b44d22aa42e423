/* SPDX-License-Identifier: Apache-2.0 */
/* Messages of a vhost-user front end: what is negotiated, what is refused, and how they come in. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "net/packet.h"
#include "vhost_front.h"
#include "virtio/inflight.h"

/*
 * Negotiation
 */

static void features_follow_the_configuration(void **state)
{
	uint64_t offered;

	front_attach(0);
	offered = front_ask(XV_VHOST_GET_FEATURES);
	assert_true((offered & BIT(VIRTIO_NET_F_HOST_TSO4)) != 0);
	assert_true((offered & BIT(VIRTIO_NET_F_GUEST_UFO)) != 0);
	assert_true((offered & BIT(VIRTIO_NET_F_CTRL_VQ)) != 0);
	assert_true((offered & BIT(VIRTIO_F_NOTIFY_ON_EMPTY)) == 0);
	assert_true((offered & BIT(VIRTIO_F_ACCESS_PLATFORM)) == 0);
	xv_vhost_set_offloads(front_dev, true, false);
	assert_int_equal(offered & ~front_ask(XV_VHOST_GET_FEATURES), BIT(7) | BIT(8) | BIT(9) | BIT(10) |
									BIT(11) | BIT(12) |
									BIT(13) | BIT(14));
	xv_vhost_set_offloads(front_dev, false, true);
	assert_int_equal(front_ask(XV_VHOST_GET_FEATURES) & 0x7fff & ~BIT(VIRTIO_NET_F_MTU), 0);
	front_detach();

	/* What a guest has got stays on offer, even if the port is set to something else. */
	front_attach(BASIC | BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_HOST_TSO4));
	xv_vhost_set_offloads(front_dev, false, false);
	assert_int_equal(front_ask(XV_VHOST_GET_FEATURES) & 0x7fff & ~BIT(VIRTIO_NET_F_MTU),
			 BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_HOST_TSO4));
	/* refused, and nothing changes */
	assert_int_equal(front_ack_u64(XV_VHOST_SET_FEATURES, BASIC | BIT(VIRTIO_F_ACCESS_PLATFORM)), 1);
	assert_true(front_state_of(front_dev).connected);
	assert_int_equal(front_state_of(front_dev).broken_total, 0);
	assert_int_equal(front_ack_u64(XV_VHOST_SET_PROTOCOL_FEATURES, BIT(9)), 1);
	assert_int_equal(front_ask(XV_VHOST_GET_QUEUE_NUM), front_config.max_pairs);
	assert_int_equal(front_ask(XV_VHOST_GET_MAX_MEM_SLOTS), 128);
	assert_int_equal(front_ack_u64(XV_VHOST_SET_STATUS, 0xf), 0);
	assert_int_equal(front_ask(XV_VHOST_GET_STATUS), 0xf);
	assert_int_equal(front_state_of(front_dev).status, 0xf);
	front_post(XV_VHOST_SET_FEATURES, 0, &(uint64_t){BASIC | BIT(63)}, 8, NULL, 0);
	front_expect_broken("SET_FEATURES: features 0x8000000000000000 were not offered");
}

static void mtu_and_rarp_are_told(void **state)
{
	uint64_t mac = 0;

	front_attach(BASIC);
	assert_int_equal(front_ack_u64(XV_VHOST_NET_SET_MTU, 1450), 0);
	assert_int_equal(front_state_of(front_dev).mtu, 1450);
	assert_int_equal(front_ack_u64(XV_VHOST_NET_SET_MTU, 9001), 1);
	assert_int_equal(front_ack_u64(XV_VHOST_NET_SET_MTU, 67), 1);
	assert_int_equal(front_ack_u64(XV_VHOST_NET_SET_MTU, 65536 + 1500), 1);
	assert_int_equal(front_state_of(front_dev).mtu, 1450);
	front_post(XV_VHOST_NET_SET_MTU, 0, &(uint64_t){9001}, 8, NULL, 0); /* ignored */
	front_turn();
	assert_int_equal(front_state_of(front_dev).mtu, 1450);
	assert_int_equal(xv_vhost_set_mtu(front_dev, 9001), 0);
	assert_int_equal(front_ack_u64(XV_VHOST_NET_SET_MTU, 9001), 0);

	memcpy(&mac, "\2\1\2\3\4\5", 6);
	front_rarps = 0;
	assert_int_equal(front_ack_u64(XV_VHOST_SEND_RARP, mac), 0);
	assert_int_equal(front_rarps, 1);
	assert_memory_equal(front_rarp_mac, "\2\1\2\3\4\5", 6);
	front_detach();
}

static void unknown_requests_are_refused(void **state)
{
	static const uint8_t big[4096];
	uint64_t value;

	front_attach(BASIC);
	assert_int_equal(front_ack_state(23, 0, 0), 1); /* SET_VRING_ENDIAN */
	assert_int_equal(front_ack_u64(0, 0), 1);
	assert_int_equal(front_ack(1000000, big, sizeof(big), -1), 1);
	assert_true(front_state_of(front_dev).connected);
	front_post(28, 0, NULL, 0, NULL, 0); /* POSTCOPY_ADVISE */
	assert_int_equal(front_get_reply(28, &value, 8, NULL), -1);
	front_expect_broken("unknown request: 28");

	front_attach(0); /* nothing negotiated: no message of a protocol feature */
	front_post(XV_VHOST_GET_QUEUE_NUM, XV_VHOST_NEED_REPLY, NULL, 0, NULL, 0);
	front_expect_broken("GET_QUEUE_NUM: its protocol feature was not negotiated");
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
		front_attach(BASIC);
		front_post(cases[i].request, cases[i].flags, zero, cases[i].size, NULL, 0);
		front_expect_broken(cases[i].sentence);
	}
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

	front_attach(BASIC);
	front_detach();
	before = front_count_fds();
	maps = front_count_maps();
	for (i = 0; i < 1000; i++) {
		front_attach(BASIC);
		front_start_ring(0, 0);
		front_start_ring(1, 0);
		(void)front_set_event(XV_VHOST_SET_VRING_CALL, 0, NULL);
		(void)front_set_event(XV_VHOST_SET_VRING_CALL, 1, NULL);
		(void)front_set_event(XV_VHOST_SET_VRING_ERR, 1, NULL);
		(void)front_set_event(XV_VHOST_SET_LOG_FD, 1, NULL);
		(void)front_set_event(XV_VHOST_SET_BACKEND_REQ_FD, 1, NULL);
		(void)close(front_get_inflight(4, SIZE, &area));
		(void)front_set_event(XV_VHOST_SET_VRING_KICK, 2, NULL);
		(void)front_ack(XV_VHOST_SET_LOG_BASE, &log, sizeof(log), front_mem_fd);
		if (i % 4 == 1)
			assert_int_equal(front_set_table(MEM_BYTES), 0);
		fds[0] = fds[1] = fds[2] = front_mem_fd;
		if (i % 4 == 0) /* descriptors that nobody asked for */
			front_post(XV_VHOST_GET_STATUS, 0, NULL, 0, fds, 3);
		if (i % 4 == 2)
			(void)shutdown(front_sock, SHUT_RDWR);
		if (i % 4 == 3) /* half a message with descriptors is under way */
			front_send_bytes("\1\0", 2, fds, 3);
		front_turn();
		assert_int_equal(front_state_of(front_dev).connected, i % 2 != 0);
		front_detach();
	}
	assert_int_equal(front_count_fds(), before);
	assert_true(front_count_maps() <= maps + 2);

	/* More than the kernel can deliver into our buffer. */
	front_attach(BASIC);
	for (i = 0; i < 33; i++)
		fds[i] = front_mem_fd;
	front_post(XV_VHOST_GET_FEATURES, 0, NULL, 0, fds, 33);
	front_expect_broken("file descriptors were lost");
	assert_int_equal(front_count_fds(), before);
}

static void messages_come_in_pieces(void **state)
{
	struct {
		struct xv_vhost_header h;
		struct xv_vhost_vring_state s;
	} msg = {{XV_VHOST_GET_VRING_BASE, XV_VHOST_VERSION, 8}, {3, 0}};
	struct xv_vhost_vring_state s;
	unsigned int i;

	front_attach(BASIC);
	for (i = 0; i < sizeof(msg); i++) {
		assert_int_equal(front_get_reply(XV_VHOST_GET_VRING_BASE, &s, 8, NULL), -1);
		front_send_bytes((const uint8_t *)&msg + i, 1, NULL, 0);
	}
	assert_int_equal(front_get_reply(XV_VHOST_GET_VRING_BASE, &s, 8, NULL), 8);
	assert_int_equal(s.index, 3);
	front_detach();
}

static void a_flood_leaves_time_for_others(void **state)
{
	unsigned int i, turns;
	uint64_t value;
	ssize_t got;

	front_attach(BASIC);
	for (i = 0; i < 100; i++)
		front_post(XV_VHOST_GET_STATUS, 0, NULL, 0, NULL, 0);
	for (turns = 0; i > 0 && turns < 100; turns++) {
		unsigned int replies = 0;
		uint8_t reply[sizeof(struct xv_vhost_header) + 8];

		(void)event_base_loop(front_base, EVLOOP_NONBLOCK | EVLOOP_ONCE);
		while ((got = recv(front_sock, reply, sizeof(reply), MSG_DONTWAIT)) > 0)
			replies++;
		assert_true(replies <= 16);
		i -= replies;
	}
	assert_int_equal(i, 0);

	/* One that never reads its replies is let go. */
	value = 1;
	(void)setsockopt(front_sock, SOL_SOCKET, SO_RCVBUF, &value, sizeof(int));
	for (i = 0; i < 10000 && front_state_of(front_dev).connected; i++) {
		front_post(XV_VHOST_GET_STATUS, 0, NULL, 0, NULL, 0);
		front_turn();
	}
	assert_true(front_state_of(front_dev).is_broken);
	front_expect_broken("nobody reads");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(features_follow_the_configuration),
		cmocka_unit_test(mtu_and_rarp_are_told),
		cmocka_unit_test(unknown_requests_are_refused),
		cmocka_unit_test(malformed_messages_break_the_device),
		cmocka_unit_test(descriptors_do_not_leak),
		cmocka_unit_test(messages_come_in_pieces),
		cmocka_unit_test(a_flood_leaves_time_for_others),
	};

	return cmocka_run_group_tests(tests, front_setup, front_teardown);
}
