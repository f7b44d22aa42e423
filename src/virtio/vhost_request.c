/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The messages of a vhost-user front end. One table says for each what it must look like; a handler
 * may rely on that, and on nothing else.
 *
 * What a handler returns: 0 = done; -EOPNOTSUPP = refused, the connection is fine if the front end
 * asked to be told; any other -errno = the front end broke the rules, which ends the connection.
 * Each error comes with a sentence.
 */
#include "virtio/vhost_device.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <sys/eventfd.h>
#include <fcntl.h>

#include "base/log.h"

#define MIN_MTU 68 /* RFC 791 */

#define PROTOCOL_FEATURES                                                                          \
	(XV_BIT(XV_VHOST_PROTOCOL_MQ) | XV_BIT(XV_VHOST_PROTOCOL_LOG_SHMFD) |                      \
	 XV_BIT(XV_VHOST_PROTOCOL_RARP) | XV_BIT(XV_VHOST_PROTOCOL_REPLY_ACK) |                    \
	 XV_BIT(XV_VHOST_PROTOCOL_NET_MTU) | XV_BIT(XV_VHOST_PROTOCOL_BACKEND_REQ) |               \
	 XV_BIT(XV_VHOST_PROTOCOL_INFLIGHT_SHMFD) |                                                \
	 XV_BIT(XV_VHOST_PROTOCOL_CONFIGURE_MEM_SLOTS) | XV_BIT(XV_VHOST_PROTOCOL_STATUS))

/*
 * CTRL_VQ, STATUS, MQ and GUEST_ANNOUNCE are the front end's work; it wants to see that the device
 * does not mind. GUEST_*: a guest may accept such frames; they are made only for those that do.
 */
#define BASE_FEATURES                                                                              \
	(XV_BIT(VIRTIO_F_VERSION_1) | XV_BIT(VIRTIO_F_RING_PACKED) | XV_BIT(VIRTIO_F_IN_ORDER) |   \
	 XV_BIT(VIRTIO_F_ANY_LAYOUT) | XV_BIT(VIRTIO_RING_F_INDIRECT_DESC) |                       \
	 XV_BIT(VIRTIO_RING_F_EVENT_IDX) | XV_BIT(VIRTIO_NET_F_MRG_RXBUF) |                        \
	 XV_BIT(VIRTIO_NET_F_CTRL_VQ) | XV_BIT(VIRTIO_NET_F_MQ) | XV_BIT(VIRTIO_NET_F_STATUS) |    \
	 XV_BIT(VIRTIO_NET_F_MTU) | XV_BIT(VIRTIO_NET_F_GUEST_ANNOUNCE) |                          \
	 XV_BIT(XV_VHOST_F_LOG_ALL) | XV_BIT(XV_VHOST_F_PROTOCOL_FEATURES))
#define CSUM_FEATURES (XV_BIT(VIRTIO_NET_F_CSUM) | XV_BIT(VIRTIO_NET_F_GUEST_CSUM))
#define TSO_FEATURES                                                                               \
	(XV_BIT(VIRTIO_NET_F_HOST_TSO4) | XV_BIT(VIRTIO_NET_F_HOST_TSO6) |                         \
	 XV_BIT(VIRTIO_NET_F_HOST_ECN) | XV_BIT(VIRTIO_NET_F_HOST_UFO) |                           \
	 XV_BIT(VIRTIO_NET_F_GUEST_TSO4) | XV_BIT(VIRTIO_NET_F_GUEST_TSO6) |                       \
	 XV_BIT(VIRTIO_NET_F_GUEST_ECN) | XV_BIT(VIRTIO_NET_F_GUEST_UFO))

uint64_t xv_vhost_offered(const struct xv_vhost *v)
{
	uint64_t offered = BASE_FEATURES;

	if (v->csum)
		offered |= CSUM_FEATURES;
	if (v->csum && v->tso) /* 5.1.3.1: segmentation needs checksums */
		offered |= TSO_FEATURES;
	return offered | v->pinned;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
	*fd = -1;
}

/* Descriptors of a message change hands only by this. */
static int take_fd(struct xv_vhost_message *msg)
{
	int fd = msg->fds[0];

	msg->fds[0] = -1;
	return fd;
}

/* All rings, around a change of what they stand on. */
static void stop_all(struct xv_vhost *v)
{
	xv_vhost_rings_stop(v, 0, v->n_rings);
}

static int start_all(struct xv_vhost *v, struct xv_err *err)
{
	return xv_vhost_rings_start(v, 0, v->n_rings, false, err);
}

static void set_kick_fd(struct xv_vhost *v, uint32_t index, int fd)
{
	struct xv_vhost_ring *r = &v->rings[index];
	int old = r->kick_fd;

	r->kick_fd = fd;
	if (old >= 0 || fd >= 0)
		v->events.kick_fd(v, (uint16_t)index, fd, v->arg);
	close_fd(&old);
}

static void forget_place(struct xv_vhost_ring *r)
{
	xv_ring_place_forget(r->place);
	r->place = NULL;
}

/* None runs until it is kicked off again (SET_VRING_KICK). */
static void halt_rings(struct xv_vhost *v)
{
	unsigned int i;

	stop_all(v);
	for (i = 0; i < v->n_rings; i++) {
		v->rings[i].started = false;
		set_kick_fd(v, i, -1);
	}
}

/*
 * Features
 */

static int get_features(struct xv_vhost *v, struct xv_vhost_message *msg, struct xv_err *err)
{
	msg->payload.u64 = xv_vhost_offered(v);
	return 0;
}

static int set_features(struct xv_vhost *v, struct xv_vhost_message *msg, struct xv_err *err)
{
	uint64_t features = msg->payload.u64, unknown = features & ~xv_vhost_offered(v);
	uint64_t change = features ^ v->features;
	unsigned int i;

	if (unknown != 0)
		return xv_err_set(err, -EOPNOTSUPP, XV_ERR_DEVICE,
				  "features %#llx were not offered", (unsigned long long)unknown);
	if (change == 0)
		return 0; /* front ends with several queue pairs say it for each */
	if ((change & ~XV_BIT(XV_VHOST_F_LOG_ALL)) != 0)
		for (i = 0; i < v->n_rings; i++)
			if (xv_vhost_ring_is_published(v, i))
				return xv_err_set(err, -EINVAL, XV_ERR_DEVICE,
						  "features change (%#llx) while ring %u runs",
						  (unsigned long long)change, i);
	stop_all(v);
	v->features = features;
	/* The log and the protocol are matters of this connection; the rest the guest remembers. */
	v->pinned |=
		features & ~(XV_BIT(XV_VHOST_F_LOG_ALL) | XV_BIT(XV_VHOST_F_PROTOCOL_FEATURES));
	v->changed = true;
	if ((features & XV_BIT(XV_VHOST_F_PROTOCOL_FEATURES)) == 0)
		for (i = 0; i < v->n_rings; i++)
			v->rings[i].enabled = true; /* there is no message to do it */
	return start_all(v, err);
}

static int get_protocol_features(struct xv_vhost *v, struct xv_vhost_message *msg,
				 struct xv_err *err)
{
	msg->payload.u64 = PROTOCOL_FEATURES;
	return 0;
}

static int set_protocol_features(struct xv_vhost *v, struct xv_vhost_message *msg,
				 struct xv_err *err)
{
	uint64_t unknown = msg->payload.u64 & ~PROTOCOL_FEATURES;

	if (unknown != 0)
		return xv_err_set(err, -EOPNOTSUPP, XV_ERR_DEVICE,
				  "protocol features %#llx were not offered",
				  (unsigned long long)unknown);
	v->protocol_features = msg->payload.u64;
	v->changed = true;
	return 0;
}

static int get_queue_num(struct xv_vhost *v, struct xv_vhost_message *msg, struct xv_err *err)
{
	msg->payload.u64 = v->max_pairs;
	return 0;
}

static int set_owner(struct xv_vhost *v, struct xv_vhost_message *msg, struct xv_err *err)
{
	return 0; /* who is connected is the owner */
}

static int set_status(struct xv_vhost *v, struct xv_vhost_message *msg, struct xv_err *err)
{
	if (msg->payload.u64 > UINT8_MAX)
		return xv_err_set(err, -EINVAL, XV_ERR_DEVICE, "status is %#llx",
				  (unsigned long long)msg->payload.u64);
	/*
	 * 0 = the device is reset. The positions of the rings are kept: QEMU 7.2 says this before
	 * it asks for them, and migrates with what it gets.
	 */
	if (msg->payload.u64 == 0)
		halt_rings(v);
	v->status = (uint8_t)msg->payload.u64;
	v->changed = true;
	return 0;
}

static int get_status(struct xv_vhost *v, struct xv_vhost_message *msg, struct xv_err *err)
{
	msg->payload.u64 = v->status;
	return 0;
}

/*
 * Memory
 */

static int set_mem_table(struct xv_vhost *v, struct xv_vhost_message *msg, struct xv_err *err)
{
	const struct xv_vhost_memory *table = &msg->payload.memory;
	struct xv_guest_memory *mem, *old = v->mem;
	uint32_t i, n = table->n;
	int rc;

	if (n > XV_VHOST_TABLE_REGIONS ||
	    msg->header.size !=
		    offsetof(struct xv_vhost_memory, regions) + n * sizeof(table->regions[0]))
		return xv_err_set(err, -EINVAL, XV_ERR_DEVICE, "%u regions in %u bytes", n,
				  msg->header.size);
	if (msg->n_fds != n)
		return xv_err_set(err, -EINVAL, XV_ERR_DEVICE,
				  "%u regions with %u file descriptors", n, msg->n_fds);
	if (xv_guest_memory_create(&mem) != 0)
		return xv_err_set(err, -ENOMEM, XV_ERR_RESOURCE, "out of memory");
	for (i = 0; i < n; i++) {
		const struct xv_vhost_memory_region *r = &table->regions[i];

		rc = xv_guest_memory_add(mem, r->gpa, r->size, r->uva, msg->fds[i], r->offset, err);
		if (rc != 0) {
			xv_guest_memory_destroy(mem);
			return rc;
		}
	}
	stop_all(v);
	v->mem = mem;
	xv_guest_memory_destroy(old);
	return xv_vhost_rings_start(v, 0, v->n_rings, true, err);
}

static int get_max_mem_slots(struct xv_vhost *v, struct xv_vhost_message *msg, struct xv_err *err)
{
	msg->payload.u64 = XV_MAX_REGIONS;
	return 0;
}

static bool same_region(const struct xv_vhost_memory_region *r, uint64_t gpa, uint64_t size,
			uint64_t uva)
{
	return r->gpa == gpa && r->size == size && r->uva == uva;
}

/*
 * QEMU 7.2 adds and removes each region once for every queue pair, because each is a device of its own
 * to it. What we were told already is no news, and no offence.
 */
static bool is_added(const struct xv_vhost *v, const struct xv_vhost_memory_region *r)
{
	const struct xv_region *known = v->mem == NULL ? NULL : xv_guest_memory_lookup(v->mem, r->gpa);

	return known != NULL && same_region(r, known->gpa, known->size, known->uva);
}

static bool is_removed(const struct xv_vhost *v, const struct xv_vhost_memory_region *r)
{
	unsigned int i;

	for (i = 0; i < XV_VHOST_REMOVED && i < v->n_removed; i++)
		if (same_region(r, v->removed[i].gpa, v->removed[i].size, v->removed[i].uva))
			return true;
	return false;
}

static int add_mem_reg(struct xv_vhost *v, struct xv_vhost_message *msg, struct xv_err *err)
{
	const struct xv_vhost_memory_region *r = &msg->payload.single.region;
	int rc;

	if (is_added(v, r))
		return 0;
	if (v->mem == NULL && xv_guest_memory_create(&v->mem) != 0)
		return xv_err_set(err, -ENOMEM, XV_ERR_RESOURCE, "out of memory");
	stop_all(v);
	rc = xv_guest_memory_add(v->mem, r->gpa, r->size, r->uva, msg->fds[0], r->offset, err);
	if (rc != 0)
		return rc;
	return xv_vhost_rings_start(v, 0, v->n_rings, true, err);
}

static int rem_mem_reg(struct xv_vhost *v, struct xv_vhost_message *msg, struct xv_err *err)
{
	const struct xv_vhost_memory_region *r = &msg->payload.single.region;

	if (!is_added(v, r) && is_removed(v, r))
		return 0;
	stop_all(v);
	if (v->mem == NULL || xv_guest_memory_del(v->mem, r->gpa, r->size, r->uva) != 0)
		return xv_err_set(err, -EINVAL, XV_ERR_DEVICE,
				  "there is no memory region at %#llx to remove",
				  (unsigned long long)r->gpa);
	v->removed[v->n_removed++ % XV_VHOST_REMOVED] = *r;
	return xv_vhost_rings_start(v, 0, v->n_rings, true, err);
}

/*
 * Logs
 */

static int set_log_base(struct xv_vhost *v, struct xv_vhost_message *msg, struct xv_err *err)
{
	struct xv_dirty_log *log, *old = v->log;
	int rc;

	rc = xv_dirty_log_create(msg->fds[0], msg->payload.log.size, msg->payload.log.offset, &log,
				 err);
	if (rc != 0)
		return rc;
	stop_all(v);
	v->log = log;
	xv_dirty_log_destroy(old);
	msg->payload.u64 = 0;
	return start_all(v, err);
}

static int set_log_fd(struct xv_vhost *v, struct xv_vhost_message *msg, struct xv_err *err)
{
	close_fd(&v->log_fd);
	v->log_fd = take_fd(msg);
	return 0;
}

static int set_inflight(struct xv_vhost *v, struct xv_inflight_area *area, struct xv_err *err)
{
	stop_all(v);
	xv_inflight_area_destroy(v->inflight);
	v->inflight = area;
	return start_all(v, err);
}

static int check_inflight(const struct xv_vhost *v, const struct xv_vhost_inflight *i,
			  struct xv_err *err)
{
	if (i->num_queues == 0 || i->num_queues > v->n_rings || i->queue_size == 0 ||
	    i->queue_size > XV_VRING_MAX_SIZE)
		return xv_err_set(err, -EINVAL, XV_ERR_DEVICE,
				  "in-flight log for %u queues of %u descriptors", i->num_queues,
				  i->queue_size);
	return 0;
}

static int get_inflight_fd(struct xv_vhost *v, struct xv_vhost_message *msg, struct xv_err *err)
{
	struct xv_vhost_inflight *i = &msg->payload.inflight;
	struct xv_inflight_area *area;
	int rc;

	rc = check_inflight(v, i, err);
	if (rc == 0)
		rc = xv_inflight_area_create(i->num_queues, i->queue_size,
					     (v->features & XV_BIT(VIRTIO_F_RING_PACKED)) != 0,
					     &area, &msg->reply_fd, err);
	if (rc != 0)
		return rc;
	i->mmap_size = area->mmap_size;
	i->mmap_offset = 0;
	msg->reply_size = msg->header.size;
	return set_inflight(v, area, err);
}

static int set_inflight_fd(struct xv_vhost *v, struct xv_vhost_message *msg, struct xv_err *err)
{
	const struct xv_vhost_inflight *i = &msg->payload.inflight;
	struct xv_inflight_area *area;
	int rc;

	rc = check_inflight(v, i, err);
	if (rc == 0)
		rc = xv_inflight_area_open(
			msg->fds[0], i->mmap_size, i->mmap_offset, i->num_queues, i->queue_size,
			(v->features & XV_BIT(VIRTIO_F_RING_PACKED)) != 0, &area, err);
	return rc != 0 ? rc : set_inflight(v, area, err);
}

/*
 * Rings. Whatever changes: stop the ring, change it, start it again if it is ready.
 */

static int restart(struct xv_vhost *v, uint32_t index, struct xv_err *err)
{
	return xv_vhost_rings_start(v, index, index + 1, false, err);
}

static int set_vring_num(struct xv_vhost *v, struct xv_vhost_message *msg, struct xv_err *err)
{
	const struct xv_vhost_vring_state *state = &msg->payload.state;
	struct xv_vhost_ring *r = &v->rings[state->index];

	if (state->num == 0 || state->num > XV_VRING_MAX_SIZE)
		return xv_err_set(err, -EINVAL, XV_ERR_DEVICE,
				  "ring %u: size %u is not within 1..%u", state->index, state->num,
				  XV_VRING_MAX_SIZE);
	if (r->size == state->num)
		return 0;
	xv_vhost_rings_stop(v, state->index, state->index + 1);
	r->size = (uint16_t)state->num;
	return restart(v, state->index, err);
}

static int set_vring_addr(struct xv_vhost *v, struct xv_vhost_message *msg, struct xv_err *err)
{
	const struct xv_vhost_vring_addr *addr = &msg->payload.addr;
	struct xv_vhost_ring *r = &v->rings[addr->index];

	xv_vhost_rings_stop(v, addr->index, addr->index + 1);
	r->addr = *addr;
	r->has_addr = true;
	return restart(v, addr->index, err);
}

static int set_vring_base(struct xv_vhost *v, struct xv_vhost_message *msg, struct xv_err *err)
{
	const struct xv_vhost_vring_state *state = &msg->payload.state;
	struct xv_vhost_ring *r = &v->rings[state->index];

	if ((v->features & XV_BIT(VIRTIO_F_RING_PACKED)) == 0 && state->num > UINT16_MAX)
		return xv_err_set(err, -EINVAL, XV_ERR_DEVICE,
				  "ring %u: base %#x is beyond 16 bits", state->index, state->num);
	xv_vhost_rings_stop(v, state->index, state->index + 1);
	r->rebased = true;
	if ((v->features & XV_BIT(VIRTIO_F_RING_PACKED)) == 0) {
		r->avail_idx = r->used_idx = (uint16_t)state->num;
	} else {
		/*
		 * Position and wrap counter for what is available in the lower half, for what is
		 * used in the upper; DPDK's drivers leave the upper empty: nothing is in flight,
		 * both are the same.
		 */
		uint16_t avail = (uint16_t)state->num, used = (uint16_t)(state->num >> 16);

		if (used == 0)
			used = avail;
		r->avail_idx = avail & 0x7fff;
		r->avail_wrap = avail >> 15 != 0;
		r->used_idx = used & 0x7fff;
		r->used_wrap = used >> 15 != 0;
		r->base = avail | (uint32_t)used << 16;
	}
	return restart(v, state->index, err);
}

static int get_vring_base(struct xv_vhost *v, struct xv_vhost_message *msg, struct xv_err *err)
{
	struct xv_vhost_vring_state *state = &msg->payload.state;
	struct xv_vhost_ring *r = &v->rings[state->index];

	xv_vhost_rings_stop(v, state->index, state->index + 1);
	r->started = false;
	set_kick_fd(v, state->index, -1); /* it comes again when the ring is to start */
	state->num = r->avail_idx;
	if ((v->features & XV_BIT(VIRTIO_F_RING_PACKED)) != 0)
		state->num |= (uint32_t)r->avail_wrap << 15 | (uint32_t)r->used_idx << 16 |
			      (uint32_t)r->used_wrap << 31;
	/* Now the front end knows where it stands. */
	r->base = state->num;
	forget_place(r);
	return 0;
}

/* Writing to an eventfd wakes and does no more; writing to whatever else it is may block, or worse.
 */
static bool is_eventfd(int fd)
{
	char path[32], target[32];
	ssize_t len;

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	len = readlink(path, target, sizeof(target) - 1);
	if (len < 0)
		return false;
	target[len] = '\0';
	return strcmp(target, "anon_inode:[eventfd]") == 0;
}

/* The eventfd (-1 with the "no descriptor" mark) of SET_VRING_KICK, CALL, ERR; it is the caller's.
 */
static int take_eventfd(struct xv_vhost_message *msg, uint32_t index, int *fd, struct xv_err *err)
{
	bool none = (msg->payload.u64 & XV_VHOST_VRING_NO_FD) != 0;

	*fd = -1;
	if (none == (msg->n_fds > 0))
		return xv_err_set(err, -EINVAL, XV_ERR_DEVICE, "ring %u: %s", index,
				  none ? "an unexpected file descriptor"
				       : "the file descriptor is missing");
	if (none)
		return 0;
	if (!is_eventfd(msg->fds[0]))
		return xv_err_set(err, -EINVAL, XV_ERR_DEVICE, "ring %u: not an eventfd", index);
	/* Nothing that we do with it may wait. */
	if (fcntl(msg->fds[0], F_SETFL, O_NONBLOCK) != 0)
		return xv_err_set(err, -errno, XV_ERR_DEVICE, "ring %u: eventfd: %s", index,
				  strerror(errno));
	*fd = take_fd(msg);
	return 0;
}

static int set_vring_kick(struct xv_vhost *v, struct xv_vhost_message *msg, struct xv_err *err)
{
	uint32_t index = msg->payload.u64 & XV_VHOST_VRING_INDEX_MASK;
	int fd, rc = take_eventfd(msg, index, &fd, err);

	if (rc != 0)
		return rc;
	xv_vhost_rings_stop(v, index, index + 1);
	set_kick_fd(v, index, fd);
	v->rings[index].started = true;
	return restart(v, index, err);
}

static int set_vring_call(struct xv_vhost *v, struct xv_vhost_message *msg, struct xv_err *err)
{
	uint32_t index = msg->payload.u64 & XV_VHOST_VRING_INDEX_MASK;
	struct xv_vhost_ring *r = &v->rings[index];
	int fd, rc = take_eventfd(msg, index, &fd, err);

	if (rc != 0)
		return rc;
	if (fd >= 0 && r->call_fd >= 0) {
		/*
		 * Guests mask and unmask interrupts at any time, and front ends do it by this
		 * message. The number stays, the file behind it changes: no need to stop the ring.
		 */
		rc = dup3(fd, r->call_fd, O_CLOEXEC) < 0 ? -errno : 0;
		close_fd(&fd);
		if (rc != 0)
			return xv_err_set(err, rc, XV_ERR_RESOURCE, "ring %u: call eventfd: %s",
					  index, strerror(-rc));
		return 0;
	}
	xv_vhost_rings_stop(v, index, index + 1);
	close_fd(&r->call_fd);
	r->call_fd = fd;
	return restart(v, index, err);
}

static int set_vring_err(struct xv_vhost *v, struct xv_vhost_message *msg, struct xv_err *err)
{
	uint32_t index = msg->payload.u64 & XV_VHOST_VRING_INDEX_MASK;
	int fd, rc = take_eventfd(msg, index, &fd, err);

	if (rc != 0)
		return rc;
	close_fd(&v->rings[index].err_fd);
	v->rings[index].err_fd = fd;
	return 0;
}

static int set_vring_enable(struct xv_vhost *v, struct xv_vhost_message *msg, struct xv_err *err)
{
	const struct xv_vhost_vring_state *state = &msg->payload.state;
	struct xv_vhost_ring *r = &v->rings[state->index];

	if (state->num > 1)
		return xv_err_set(err, -EINVAL, XV_ERR_DEVICE, "ring %u: enable is %u, not 0 or 1",
				  state->index, state->num);
	if (r->enabled == (state->num != 0))
		return 0;
	if (state->num == 0)
		xv_vhost_rings_stop(v, state->index, state->index + 1);
	r->enabled = state->num != 0;
	return restart(v, state->index, err);
}

/*
 * Network device
 */

static int send_rarp(struct xv_vhost *v, struct xv_vhost_message *msg, struct xv_err *err)
{
	v->events.rarp(v, msg->payload.bytes, v->arg);
	return 0;
}

static int net_set_mtu(struct xv_vhost *v, struct xv_vhost_message *msg, struct xv_err *err)
{
	uint64_t mtu = msg->payload.u64;

	if (mtu < MIN_MTU || mtu > UINT16_MAX || (v->mtu_limit != 0 && mtu > v->mtu_limit)) {
		if ((msg->header.flags & XV_VHOST_NEED_REPLY) == 0) {
			/* It cannot be told, but it did nothing wrong: frames are checked anyway.
			 */
			XV_LOG_LIMITED(XV_LOG_WARNING, v->name, "MTU %llu ignored, the limit is %u",
				       (unsigned long long)mtu, v->mtu_limit);
			return 0;
		}
		return xv_err_set(err, -EOPNOTSUPP, XV_ERR_RANGE, "MTU %llu, the limit is %u",
				  (unsigned long long)mtu, v->mtu_limit);
	}
	v->mtu = (uint16_t)mtu;
	v->changed = true;
	return 0;
}

static int set_backend_req_fd(struct xv_vhost *v, struct xv_vhost_message *msg, struct xv_err *err)
{
	close_fd(&v->backend_fd);
	v->backend_fd = take_fd(msg);
	return 0;
}

/*
 * Reset
 */

static int reset_owner(struct xv_vhost *v, struct xv_vhost_message *msg, struct xv_err *err)
{
	halt_rings(v); /* deprecated; "recommended ... to disable all rings" */
	return 0;
}

static void reset_rings(struct xv_vhost *v)
{
	unsigned int i;

	stop_all(v);
	for (i = 0; i < v->n_rings; i++) {
		struct xv_vhost_ring *r = &v->rings[i];

		set_kick_fd(v, i, -1);
		close_fd(&r->call_fd);
		close_fd(&r->err_fd);
		r->size = 0;
		r->has_addr = r->enabled = r->started = false;
		r->avail_idx = r->used_idx = 0;
		r->avail_wrap = r->used_wrap = true; /* packed rings begin so */
		r->base = 0x80008000;
		r->rebased = true;
		xv_ring_place_leave(r->place); /* its guest may come back to where it was */
		r->place = NULL;
	}
	xv_dirty_log_destroy(v->log);
	v->log = NULL;
	xv_inflight_area_destroy(v->inflight);
	v->inflight = NULL;
	v->features = 0;
	v->status = 0;
	v->changed = true;
}

static int reset_device(struct xv_vhost *v, struct xv_vhost_message *msg, struct xv_err *err)
{
	unsigned int i;

	stop_all(v);
	for (i = 0; i < v->n_rings; i++)
		forget_place(&v->rings[i]);
	reset_rings(v);
	return 0;
}

void xv_vhost_reset(struct xv_vhost *v)
{
	reset_rings(v);
	xv_guest_memory_destroy(v->mem);
	v->mem = NULL;
	close_fd(&v->log_fd);
	close_fd(&v->backend_fd);
	v->n_removed = 0;
	v->protocol_features = 0;
	v->mtu = 0;
}

/*
 * All of them
 */

enum names_ring {
	NO_RING,
	RING_U32, /* first word of the payload */
	RING_U8,  /* lowest byte of the u64 */
};
#define ANY -1

/* Sizes are in bytes. reply: 0 = none of its own. */
/* clang-format off */
static const struct request {
	const char *name;
	int (*handle)(struct xv_vhost *v, struct xv_vhost_message *msg, struct xv_err *err);
	uint32_t min_size, max_size;
	unsigned int min_fds, max_fds;
	enum names_ring names_ring;
	int feature; /* protocol feature that must be negotiated */
	uint32_t reply;
} requests[XV_VHOST_REQUEST_MAX] = {
#define REQUEST(name, handler, min, max, min_fds, max_fds, ring, feature, reply)                   \
	[XV_VHOST_##name] = {#name, handler, min, max, min_fds, max_fds, ring, feature, reply}
	REQUEST(GET_FEATURES, get_features, 0, 0, 0, 0, NO_RING, ANY, 8),
	REQUEST(SET_FEATURES, set_features, 8, 8, 0, 0, NO_RING, ANY, 0),
	REQUEST(SET_OWNER, set_owner, 0, 0, 0, 0, NO_RING, ANY, 0),
	REQUEST(RESET_OWNER, reset_owner, 0, 0, 0, 0, NO_RING, ANY, 0),
	REQUEST(SET_MEM_TABLE, set_mem_table, 8, sizeof(struct xv_vhost_memory), 0,
		XV_VHOST_TABLE_REGIONS, NO_RING, ANY, 0),
	REQUEST(SET_LOG_BASE, set_log_base, 16, 16, 1, 1, NO_RING, XV_VHOST_PROTOCOL_LOG_SHMFD, 8),
	REQUEST(SET_LOG_FD, set_log_fd, 0, 8, 1, 1, NO_RING, ANY, 0),
	REQUEST(SET_VRING_NUM, set_vring_num, 8, 8, 0, 0, RING_U32, ANY, 0),
	REQUEST(SET_VRING_ADDR, set_vring_addr, 40, 40, 0, 0, RING_U32, ANY, 0),
	REQUEST(SET_VRING_BASE, set_vring_base, 8, 8, 0, 0, RING_U32, ANY, 0),
	REQUEST(GET_VRING_BASE, get_vring_base, 8, 8, 0, 0, RING_U32, ANY, 8),
	REQUEST(SET_VRING_KICK, set_vring_kick, 8, 8, 0, 1, RING_U8, ANY, 0),
	REQUEST(SET_VRING_CALL, set_vring_call, 8, 8, 0, 1, RING_U8, ANY, 0),
	REQUEST(SET_VRING_ERR, set_vring_err, 8, 8, 0, 1, RING_U8, ANY, 0),
	REQUEST(GET_PROTOCOL_FEATURES, get_protocol_features, 0, 0, 0, 0, NO_RING, ANY, 8),
	REQUEST(SET_PROTOCOL_FEATURES, set_protocol_features, 8, 8, 0, 0, NO_RING, ANY, 0),
	REQUEST(GET_QUEUE_NUM, get_queue_num, 0, 0, 0, 0, NO_RING, XV_VHOST_PROTOCOL_MQ, 8),
	REQUEST(SET_VRING_ENABLE, set_vring_enable, 8, 8, 0, 0, RING_U32, ANY, 0),
	REQUEST(SEND_RARP, send_rarp, 8, 8, 0, 0, NO_RING, XV_VHOST_PROTOCOL_RARP, 0),
	REQUEST(NET_SET_MTU, net_set_mtu, 8, 8, 0, 0, NO_RING, XV_VHOST_PROTOCOL_NET_MTU, 0),
	REQUEST(SET_BACKEND_REQ_FD, set_backend_req_fd, 0, 8, 1, 1, NO_RING,
		XV_VHOST_PROTOCOL_BACKEND_REQ, 0),
	REQUEST(GET_INFLIGHT_FD, get_inflight_fd, XV_VHOST_INFLIGHT_MIN,
		sizeof(struct xv_vhost_inflight), 0, 0, NO_RING, XV_VHOST_PROTOCOL_INFLIGHT_SHMFD,
		sizeof(struct xv_vhost_inflight)),
	REQUEST(SET_INFLIGHT_FD, set_inflight_fd, XV_VHOST_INFLIGHT_MIN,
		sizeof(struct xv_vhost_inflight), 1, 1, NO_RING, XV_VHOST_PROTOCOL_INFLIGHT_SHMFD,
		0),
	REQUEST(RESET_DEVICE, reset_device, 0, 0, 0, 0, NO_RING, ANY, 0),
	REQUEST(GET_MAX_MEM_SLOTS, get_max_mem_slots, 0, 0, 0, 0, NO_RING,
		XV_VHOST_PROTOCOL_CONFIGURE_MEM_SLOTS, 8),
	REQUEST(ADD_MEM_REG, add_mem_reg, 40, 40, 1, 1, NO_RING,
		XV_VHOST_PROTOCOL_CONFIGURE_MEM_SLOTS, 0),
	REQUEST(REM_MEM_REG, rem_mem_reg, 40, 40, 0, 1, NO_RING,
		XV_VHOST_PROTOCOL_CONFIGURE_MEM_SLOTS, 0),
	REQUEST(SET_STATUS, set_status, 8, 8, 0, 0, NO_RING, XV_VHOST_PROTOCOL_STATUS, 0),
	REQUEST(GET_STATUS, get_status, 0, 0, 0, 0, NO_RING, XV_VHOST_PROTOCOL_STATUS, 8),
#undef REQUEST
};
/* clang-format on */

static int check(const struct xv_vhost *v, const struct request *r, struct xv_err *err)
{
	const struct xv_vhost_message *msg = &v->msg;
	uint64_t ring;

	if (r->handle == NULL)
		return xv_err_set(err, -EOPNOTSUPP, XV_ERR_METHOD, "%u", msg->header.request);
	if (msg->header.size < r->min_size || msg->header.size > r->max_size)
		return xv_err_set(err, -EINVAL, XV_ERR_DEVICE, "payload is %u bytes",
				  msg->header.size);
	if (msg->n_fds < r->min_fds || msg->n_fds > r->max_fds)
		return xv_err_set(err, -EINVAL, XV_ERR_DEVICE, "%u file descriptors", msg->n_fds);
	if (r->feature != ANY && (v->protocol_features & XV_BIT(r->feature)) == 0)
		return xv_err_set(err, -EOPNOTSUPP, XV_ERR_DEVICE,
				  "its protocol feature was not negotiated");
	ring = r->names_ring == RING_U32  ? msg->payload.state.index
	       : r->names_ring == RING_U8 ? msg->payload.u64 & XV_VHOST_VRING_INDEX_MASK
					  : 0;
	if (ring >= v->n_rings)
		return xv_err_set(err, -EINVAL, XV_ERR_DEVICE, "there is no ring %llu, only %u",
				  (unsigned long long)ring, v->n_rings);
	return 0;
}

static int reply(struct xv_vhost *v)
{
	struct xv_vhost_message *msg = &v->msg;
	struct {
		struct xv_vhost_header header;
		uint8_t payload[sizeof(struct xv_vhost_inflight)]; /* the largest reply */
	} out;
	int rc;

	out.header = (struct xv_vhost_header){
		.request = msg->header.request,
		.flags = XV_VHOST_VERSION | XV_VHOST_REPLY,
		.size = msg->reply_size,
	};
	memcpy(out.payload, msg->payload.bytes, msg->reply_size);
	rc = xv_vhost_send(v->fd, &out, sizeof(out.header) + msg->reply_size, msg->reply_fd);
	close_fd(&msg->reply_fd);
	return rc;
}

void xv_vhost_handle(struct xv_vhost *v)
{
	static const struct request unknown = {.name = "unknown request"};
	struct xv_vhost_message *msg = &v->msg;
	const struct request *r = msg->header.request < XV_VHOST_REQUEST_MAX &&
						  requests[msg->header.request].handle != NULL
					  ? &requests[msg->header.request]
					  : &unknown;
	struct xv_err err = {0};
	bool ack;
	int rc;

	msg->reply_size = r->reply;
	msg->reply_fd = -1;
	rc = check(v, r, &err);
	if (rc == 0)
		rc = r->handle(v, msg, &err);
	ack = (msg->header.flags & XV_VHOST_NEED_REPLY) != 0 &&
	      (v->protocol_features & XV_BIT(XV_VHOST_PROTOCOL_REPLY_ACK)) != 0;
	if (rc != 0) {
		close_fd(&msg->reply_fd);
		if (ack) {
			msg->payload.u64 = 1;
			msg->reply_size = sizeof(uint64_t);
			(void)reply(v);
		}
		if (ack && rc == -EOPNOTSUPP)
			XV_LOG_LIMITED(XV_LOG_WARNING, v->name, "%s refused: %s", r->name,
				       err.text);
		else
			xv_vhost_break(v, "%s: %s", r->name, err.text);
		return;
	}
	if (msg->reply_size == 0 && ack) {
		msg->payload.u64 = 0;
		msg->reply_size = sizeof(uint64_t);
	}
	/* If it has died instead, the next read says so. */
	if (msg->reply_size > 0 && reply(v) == -EAGAIN)
		xv_vhost_break(v, "%s: the reply cannot be sent: nobody reads", r->name);
}
