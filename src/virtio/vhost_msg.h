/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vhost-user wire format, as far as a network device needs it. Numbers and layouts are those of
 * the vhost-user specification (QEMU, docs/interop/vhost-user); byte order is the host's.
 */
#pragma once

#include <stdint.h>

enum xv_vhost_request {
	XV_VHOST_GET_FEATURES = 1,
	XV_VHOST_SET_FEATURES = 2,
	XV_VHOST_SET_OWNER = 3,
	XV_VHOST_RESET_OWNER = 4,
	XV_VHOST_SET_MEM_TABLE = 5,
	XV_VHOST_SET_LOG_BASE = 6,
	XV_VHOST_SET_LOG_FD = 7,
	XV_VHOST_SET_VRING_NUM = 8,
	XV_VHOST_SET_VRING_ADDR = 9,
	XV_VHOST_SET_VRING_BASE = 10,
	XV_VHOST_GET_VRING_BASE = 11,
	XV_VHOST_SET_VRING_KICK = 12,
	XV_VHOST_SET_VRING_CALL = 13,
	XV_VHOST_SET_VRING_ERR = 14,
	XV_VHOST_GET_PROTOCOL_FEATURES = 15,
	XV_VHOST_SET_PROTOCOL_FEATURES = 16,
	XV_VHOST_GET_QUEUE_NUM = 17,
	XV_VHOST_SET_VRING_ENABLE = 18,
	XV_VHOST_SEND_RARP = 19,
	XV_VHOST_NET_SET_MTU = 20,
	XV_VHOST_SET_BACKEND_REQ_FD = 21,
	XV_VHOST_GET_INFLIGHT_FD = 31,
	XV_VHOST_SET_INFLIGHT_FD = 32,
	XV_VHOST_RESET_DEVICE = 34,
	XV_VHOST_GET_MAX_MEM_SLOTS = 36,
	XV_VHOST_ADD_MEM_REG = 37,
	XV_VHOST_REM_MEM_REG = 38,
	XV_VHOST_SET_STATUS = 39,
	XV_VHOST_GET_STATUS = 40,
	XV_VHOST_REQUEST_MAX,
};

enum xv_vhost_protocol_feature { /* bit numbers */
				 XV_VHOST_PROTOCOL_MQ = 0,
				 XV_VHOST_PROTOCOL_LOG_SHMFD = 1,
				 XV_VHOST_PROTOCOL_RARP = 2,
				 XV_VHOST_PROTOCOL_REPLY_ACK = 3,
				 XV_VHOST_PROTOCOL_NET_MTU = 4,
				 XV_VHOST_PROTOCOL_BACKEND_REQ = 5,
				 XV_VHOST_PROTOCOL_INFLIGHT_SHMFD = 12,
				 XV_VHOST_PROTOCOL_CONFIGURE_MEM_SLOTS = 15,
				 XV_VHOST_PROTOCOL_STATUS = 16,
};

/* Feature bits of the protocol itself, among those of virtio. */
#define XV_VHOST_F_LOG_ALL           26
#define XV_VHOST_F_PROTOCOL_FEATURES 30

struct xv_vhost_header {
	uint32_t request;
	uint32_t flags;
	uint32_t size; /* of the payload */
};
#define XV_VHOST_VERSION      0x1u
#define XV_VHOST_VERSION_MASK 0x3u
#define XV_VHOST_REPLY        0x4u
#define XV_VHOST_NEED_REPLY   0x8u

struct xv_vhost_vring_state {
	uint32_t index;
	uint32_t num;
};

struct xv_vhost_vring_addr {
	uint32_t index;
	uint32_t flags;
	uint64_t desc; /* these three: addresses of the front end */
	uint64_t used;
	uint64_t avail;
	uint64_t log; /* guest address under which the used ring is logged */
};
#define XV_VHOST_VRING_LOG 0x1u /* flags: log writes to the used ring */

/* SET_VRING_KICK, CALL and ERR. */
#define XV_VHOST_VRING_INDEX_MASK 0xffu
#define XV_VHOST_VRING_NO_FD      0x100u

struct xv_vhost_memory_region {
	uint64_t gpa;
	uint64_t size;
	uint64_t uva;
	uint64_t offset;
};
#define XV_VHOST_TABLE_REGIONS 8 /* in one SET_MEM_TABLE */

struct xv_vhost_memory {
	uint32_t n;
	uint32_t padding;
	struct xv_vhost_memory_region regions[XV_VHOST_TABLE_REGIONS];
};

struct xv_vhost_single_region {
	uint64_t padding;
	struct xv_vhost_memory_region region;
};

struct xv_vhost_log {
	uint64_t size;
	uint64_t offset;
};

struct xv_vhost_inflight {
	uint64_t mmap_size;
	uint64_t mmap_offset;
	uint16_t num_queues;
	uint16_t queue_size;
};
/* Front ends send the struct with the padding that C adds, the specification has none. */
#define XV_VHOST_INFLIGHT_MIN 20

#define XV_VHOST_MAX_PAYLOAD 4096 /* larger than any message of the specification */
#define XV_VHOST_MAX_FDS     (XV_VHOST_TABLE_REGIONS + 1) /* one too many is noticed */

union xv_vhost_payload {
	uint64_t u64;
	struct xv_vhost_vring_state state;
	struct xv_vhost_vring_addr addr;
	struct xv_vhost_memory memory;
	struct xv_vhost_single_region single;
	struct xv_vhost_log log;
	struct xv_vhost_inflight inflight;
	uint8_t bytes[XV_VHOST_MAX_PAYLOAD];
};
