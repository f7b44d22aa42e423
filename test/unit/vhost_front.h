/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of vhost-user devices share: a hand-written front end on the other end of a socketpair (or of a
 * real socket), one a process. No worker runs: a ring is looked at where workers would see it.
 */
#pragma once

#include <stdint.h>

#include <linux/virtio_config.h>
#include <linux/virtio_net.h>

#include <event2/event.h>

#include "virtio/vhost_msg.h"
#include "virtio/vhost_user.h"

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

#define DESC_AT(ring)  ((ring)*0x10000u)
#define AVAIL_AT(ring) (DESC_AT(ring) + 0x4000u)
#define USED_AT(ring)  (DESC_AT(ring) + 0x8000u)

/* The device's surroundings. */
extern struct event_base *front_base;
extern struct xv_vhost_config front_config;
extern const struct xv_vhost_events front_events;
extern unsigned int front_changes, front_rarps;
extern int front_kick_fds[2 * XV_VHOST_MAX_PAIRS];
extern uint8_t front_rarp_mac[6];
extern char front_dir[64], front_path[96];

/* The front end, while attached. */
extern struct xv_vhost *front_dev;
extern int front_sock, front_mem_fd;
extern uint8_t *front_mem;

void front_turn(void);
void front_turn_for_ms(unsigned int ms);
struct xv_vhost_state front_state_of(const struct xv_vhost *v);
void front_send_bytes(const void *data, size_t len, const int *fds, unsigned int n);
void front_post(uint32_t request, uint32_t flags, const void *payload, uint32_t size,
		 const int *fds, unsigned int n);
/* The reply; *fd, if wanted, the descriptor that came with it. Bytes of payload, -1 = none or
 * closed. */
int front_get_reply(uint32_t request, void *payload, uint32_t size, int *fd);
uint64_t front_ask(uint32_t request);
/* With NEED_REPLY: 0 = done, 1 = refused. */
uint64_t front_ack(uint32_t request, const void *payload, uint32_t size, int fd);
uint64_t front_ack_u64(uint32_t request, uint64_t value);
uint64_t front_ack_state(uint32_t request, uint32_t index, uint32_t num);
uint64_t front_set_table(uint64_t size);
struct xv_vhost_vring_addr front_addr_of(uint32_t ring);
uint64_t front_set_addr(uint32_t ring);
uint64_t front_set_event(uint32_t request, uint32_t ring, int *fd);
uint32_t front_get_base(uint32_t ring);
/* Connect and negotiate, as far as "the driver may start". */
void front_attach(uint64_t features);
void front_detach(void);
void front_start_ring(uint32_t ring, uint32_t ring_base);
struct vring_used *front_used_ring(uint32_t ring);
void front_expect_broken(const char *sentence);
/* An area for the in-flight log, as the device makes it: its descriptor. */
int front_get_inflight(uint16_t queues, uint16_t size, struct xv_vhost_inflight *area);
unsigned int front_count_fds(void);
unsigned int front_count_maps(void);

/* Of a group of tests. */
int front_setup(void **state);
int front_teardown(void **state);
