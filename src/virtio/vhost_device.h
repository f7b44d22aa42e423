/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to the vhost-user device: its state, shared by vhost_user.c (life, connection),
 * vhost_request.c (messages) and vhost_ring.c (rings as workers see them). Control thread, except
 * `published`.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "virtio/dirty_log.h"
#include "virtio/guest_memory.h"
#include "virtio/inflight.h"
#include "virtio/ring_place.h"
#include "virtio/vhost_msg.h"
#include "virtio/vhost_socket.h"
#include "virtio/vhost_user.h"

#define XV_BIT(n) (UINT64_C(1) << (n))

struct event;

struct xv_vhost_ring {
	struct xv_vring vq;
	/* What the front end said. */
	struct xv_vhost_vring_addr addr;
	uint16_t size;
	bool has_addr;
	bool enabled;
	bool started; /* by SET_VRING_KICK, until GET_VRING_BASE */
	/* Where the stopped ring stands. rebased: as SET_VRING_BASE said, not where we left it. */
	uint16_t avail_idx, used_idx;
	bool avail_wrap, used_wrap;
	bool rebased;
	uint32_t base; /* where the front end believes it stands: as it said, or as it was told */
	struct xv_ring_place *place; /* packed: where it stands, for another life of ours; NULL = none */
	int kick_fd, call_fd, err_fd; /* -1 = none */
};

struct xv_vhost_message {
	struct xv_vhost_header header;
	union xv_vhost_payload payload; /* of the request, then of the reply */
	int fds[XV_VHOST_MAX_FDS];
	unsigned int n_fds;
	/* reply */
	uint32_t reply_size;
	int reply_fd; /* closed once it is sent; -1 = none */
};

#define XV_VHOST_REMOVED 16

struct xv_vhost {
	LIST_ENTRY(xv_vhost) link;
	char *name; /* for log lines: "vhost vm1" */
	struct event_base *base;
	struct xv_vhost_events events;
	void *arg;
	struct xv_vhost_socket *socket; /* NULL: made with a descriptor, lives for one connection */

	/* configuration */
	uint16_t max_pairs, n_rings;
	uint16_t mtu_limit;
	bool csum, tso;
	struct rte_mempool *pool;

	/* connection */
	int fd; /* -1 = none */
	struct event *event;
	size_t received; /* bytes of the message under way */
	struct xv_vhost_message msg;
	uint64_t messages;

	/* what was negotiated and handed over */
	uint64_t features, protocol_features;
	uint64_t pinned; /* negotiated once: offered for ever */
	uint16_t mtu;
	uint8_t status;
	struct xv_guest_memory *mem; /* NULL until the first region */
	/* Regions removed last, of this connection: QEMU 7.2 says so once for every queue pair. */
	struct xv_vhost_memory_region removed[XV_VHOST_REMOVED];
	unsigned int n_removed;
	struct xv_dirty_log *log;
	struct xv_inflight_area *inflight;
	int log_fd,
		backend_fd; /* kept, never used: nothing that we would say there is negotiated */

	uint64_t connects, disconnects, broken_total, bad_headers;
	bool is_broken, changed;
	enum xv_vring_error ring_error; /* found when a ring was stopped */
	uint16_t ring_error_index;
	char broken[160];

	/* Workers read these; NULL = stopped. */
	_Atomic(struct xv_vring *) published[2 * XV_VHOST_MAX_PAIRS];
	struct xv_vhost_ring rings[]; /* n_rings */
};

/* vhost_user.c */
/* The other side broke the rules: say so, count it, drop the connection. */
void xv_vhost_break(struct xv_vhost *v, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* vhost_request.c */
/* v->msg is complete: act on it and reply. May break the device. Does not close descriptors left in
 * it. */
void xv_vhost_handle(struct xv_vhost *v);
/* Forget everything that the front end said and handed over; all rings are stopped. */
void xv_vhost_reset(struct xv_vhost *v);
uint64_t xv_vhost_offered(const struct xv_vhost *v);

/* vhost_ring.c */
/* All rings of [first, end) that workers see are taken from them, with one grace period. */
void xv_vhost_rings_stop(struct xv_vhost *v, unsigned int first, unsigned int end);
/*
 * Those of [first, end) that are ready go (back) to the workers. A ring that is ready but whose
 * addresses or size are impossible stays stopped, and is an error (-EINVAL and a sentence) unless
 * `lenient`: guest memory is being changed piece by piece.
 */
int xv_vhost_rings_start(struct xv_vhost *v, unsigned int first, unsigned int end, bool lenient,
			 struct xv_err *err);
static inline bool xv_vhost_ring_is_published(const struct xv_vhost *v, unsigned int i)
{
	return atomic_load_explicit(&v->published[i], memory_order_relaxed) != NULL;
}
