/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio/ring_place.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <fcntl.h>
#include <linux/virtio_ring.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "virtio/chain.h"

#define MAGIC	UINT64_C(0x31474e49524f4956) /* "VIORING1" */
#define PLACES	4096
#define BEGINNING 0x8000 /* position 0, wrap counter 1 */
#define F_AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define F_USED	(1u << VRING_PACKED_DESC_F_USED)

struct file {
	uint64_t magic;
	uint8_t padding[56];
	struct xv_ring_place places[PLACES];
};

_Static_assert(sizeof(struct xv_ring_place) == 64 && sizeof(struct file) == 64 * (PLACES + 1),
	       "a cache line each");

static struct file *file;
static bool taken[PLACES];   /* by a ring of this process */
static unsigned int end;     /* no place in use from here on */
static uint64_t last_used;

/*
 * The file
 */

/* Descriptor of the file, 0 = it was made just now, or -errno. */
static int open_file(const char *path, int *fd)
{
	int flags = O_RDWR | O_CLOEXEC | O_NOFOLLOW;

	*fd = open(path, flags);
	if (*fd >= 0)
		return 1;
	if (errno != ENOENT)
		return -errno;
	*fd = open(path, flags | O_CREAT | O_EXCL, 0600);
	return *fd >= 0 ? 0 : -errno;
}

static bool is_whole(int fd)
{
	uint64_t magic;
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid() &&
	       st.st_size == sizeof(struct file) && pread(fd, &magic, sizeof(magic), 0) == sizeof(magic) &&
	       magic == MAGIC;
}

int xv_ring_places_open(const char *path, struct xv_err *err)
{
	int fd, rc = open_file(path, &fd);
	unsigned int i;
	void *at;

	if (rc > 0 && !is_whole(fd)) {
		(void)close(fd);
		fd = -1;
		(void)xv_err_set(err, -EINVAL, XV_ERR_DEVICE,
				 "%s is damaged or of another version and was made anew: packed rings of guests that run "
				 "may stand still until their driver is set up again", path);
		rc = unlink(path) != 0 ? -errno : open_file(path, &fd);
	}
	/* Memory for all of it now, so that no store can fault for want of it. */
	if (rc == 0)
		rc = -posix_fallocate(fd, 0, sizeof(struct file));
	if (rc < 0) {
		(void)xv_err_set(err, rc, XV_ERR_DEVICE,
				 "%s cannot be used (%s): packed rings will not survive a crash of xviod", path,
				 strerror(-rc));
		goto out;
	}
	at = mmap(NULL, sizeof(struct file), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
	if (at == MAP_FAILED) {
		rc = xv_err_set(err, -errno, XV_ERR_DEVICE,
				"%s cannot be mapped (%s): packed rings will not survive a crash of xviod", path,
				strerror(errno));
		goto out;
	}
	rc = 0;
	file = at;
	file->magic = MAGIC;
	for (i = 0; i < PLACES; i++) {
		if (file->places[i].used == 0)
			continue;
		end = i + 1;
		if (file->places[i].used > last_used)
			last_used = file->places[i].used;
	}
out:
	if (fd >= 0)
		(void)close(fd);
	return rc;
}

void xv_ring_places_close(void)
{
	if (file != NULL)
		(void)munmap(file, sizeof(*file));
	file = NULL;
	memset(taken, 0, sizeof(taken));
	end = 0;
	last_used = 0;
}

/*
 * Places
 */

bool xv_ring_place_is(const struct xv_ring_place *p, const struct xv_ring_key *key)
{
	return p->used != 0 && p->ino == key->ino && p->dev == key->dev && p->offset == key->offset &&
	       p->size == key->size && p->index == key->index;
}

struct xv_ring_place *xv_ring_place_take(const struct xv_ring_key *key, bool *known)
{
	struct xv_ring_place *p;
	unsigned int i, best = PLACES;

	*known = false;
	if (file == NULL)
		return NULL;
	for (i = 0; i < end; i++) {
		p = &file->places[i];
		if (xv_ring_place_is(p, key)) {
			if (taken[i])
				return NULL; /* two front ends, one ring: the second is up to something */
			*known = true;
			best = i;
			break;
		}
		/* A free one counts as left longest ago. */
		if (!taken[i] && (best == PLACES || p->used < file->places[best].used))
			best = i;
	}
	if (!*known && end < PLACES && (best == PLACES || file->places[best].used != 0))
		best = end++;
	if (best == PLACES)
		return NULL;
	taken[best] = true;
	p = &file->places[best];
	if (!*known) {
		p->used = 0; /* whatever it says is not to be believed until all is there */
		atomic_signal_fence(memory_order_seq_cst);
		p->dev = key->dev;
		p->ino = key->ino;
		p->offset = key->offset;
		p->size = key->size;
		p->index = key->index;
		p->base = 0;
		atomic_store_explicit(&p->burst, 0, memory_order_relaxed);
	}
	atomic_signal_fence(memory_order_seq_cst);
	p->used = ++last_used;
	return p;
}

void xv_ring_place_leave(struct xv_ring_place *p)
{
	if (p != NULL)
		taken[p - file->places] = false;
}

void xv_ring_place_forget(struct xv_ring_place *p)
{
	if (p == NULL)
		return;
	p->used = 0;
	xv_ring_place_leave(p);
	while (end > 0 && file->places[end - 1].used == 0 && !taken[end - 1])
		end--;
}

void xv_ring_place_start(struct xv_ring_place *p, uint32_t base, struct xv_ring_position at)
{
	p->base = base;
	atomic_store_explicit(&p->burst, xv_ring_burst(at, at, false), memory_order_relaxed);
}

/*
 * Recovery. What a slot of the ring can say to a device that stands before it: available (on this lap),
 * used (on this lap), or something from the lap before.
 */

static uint16_t flags_at(const struct vring_packed_desc *ring, uint16_t idx)
{
	return *(const volatile uint16_t *)&ring[idx].flags;
}

static bool is_avail(const struct vring_packed_desc *ring, struct xv_ring_position at)
{
	return (flags_at(ring, at.idx) & (F_AVAIL | F_USED)) == (at.wrap ? F_AVAIL : F_USED);
}

static bool is_used(const struct vring_packed_desc *ring, struct xv_ring_position at)
{
	return (flags_at(ring, at.idx) & (F_AVAIL | F_USED)) == (at.wrap ? F_AVAIL | F_USED : 0);
}

/* A driver begins with descriptors that are all zero, and never sets USED on the first lap. */
static bool is_fresh(const struct vring_packed_desc *ring, uint16_t size)
{
	uint16_t i;

	for (i = 0; i < size; i++) {
		uint16_t flags = flags_at(ring, i) & (F_AVAIL | F_USED);

		if ((flags & F_USED) != 0 || (flags == 0 && ring[i].addr != 0))
			return false;
	}
	return true;
}

static struct xv_ring_position step(struct xv_ring_position at, uint16_t n, uint16_t size)
{
	uint32_t idx = (uint32_t)at.idx + n;

	if (idx < size)
		return (struct xv_ring_position){(uint16_t)idx, at.wrap};
	return (struct xv_ring_position){(uint16_t)(idx - size), !at.wrap};
}

struct chain {
	struct xv_ring_position at;
	uint32_t bytes;
	uint16_t id;
};

/* How much the buffer of a descriptor holds; false: it is none. */
static bool add_bytes(const struct xv_guest_memory *mem, const volatile struct vring_packed_desc *desc,
		      uint32_t *bytes)
{
	uint32_t len = desc->len, i, n = len / sizeof(*desc);
	const volatile struct vring_packed_desc *table;

	if ((desc->flags & VRING_DESC_F_INDIRECT) == 0) {
		*bytes += len;
		return true;
	}
	table = n == 0 || n > XV_CHAIN_MAX ? NULL : xv_guest_memory_at(mem, desc->addr, len);
	for (i = 0; table != NULL && i < n; i++)
		*bytes += table[i].len;
	return table != NULL;
}

/* The chain at a position, of at most `most` descriptors; returns how many, 0 = that is none. */
static uint16_t read_chain(const struct xv_guest_memory *mem, const struct vring_packed_desc *ring, uint16_t size,
			   struct xv_ring_position at, uint16_t most, struct chain *chain)
{
	uint16_t n = 0, flags;

	*chain = (struct chain){.at = at};
	do {
		if (n == most || !is_avail(ring, at) || !add_bytes(mem, &ring[at.idx], &chain->bytes))
			return 0;
		flags = flags_at(ring, at.idx);
		chain->id = *(const volatile uint16_t *)&ring[at.idx].id;
		at = step(at, 1, size);
		n++;
	} while ((flags & VRING_DESC_F_NEXT) != 0);
	return n;
}

static void give_back(struct vring_packed_desc *ring, const struct chain *chain, bool merged, uint16_t wrote)
{
	/*
	 * A packet over several buffers fills all but the last, and the last was written first. Of others
	 * the length is not known any more: empty, which a driver drops.
	 */
	uint64_t rest = (merged ? chain->bytes : 0) | (uint64_t)chain->id << 32 |
			(uint64_t)(uint16_t)((chain->at.wrap ? F_AVAIL | F_USED : 0) | wrote) << 48;

	__atomic_store_n((uint64_t *)(void *)((uint8_t *)&ring[chain->at.idx] + 8), rest, __ATOMIC_RELEASE);
}

/*
 * A burst that the guest cannot have seen, for its first descriptor is still available. They are given back from
 * the last to the first: if the way from the first meets one that is used, all behind it are, too, and those before it
 * follow now; else none was. False: this is not the ring.
 */
static bool complete(const struct xv_ring_place *p, const struct xv_guest_memory *mem,
		     struct vring_packed_desc *ring, struct xv_ring_position from, struct xv_ring_position to,
		     bool merged, struct xv_ring_position *at)
{
	/* 5.1.2: the guest receives from those with even numbers */
	const uint16_t size = p->size, wrote = p->index % 2 == 0 ? VRING_DESC_F_WRITE : 0;
	uint16_t left = (uint16_t)(from.wrap == to.wrap ? to.idx - from.idx : to.idx + size - from.idx), count;
	struct xv_ring_position pos = from;
	struct chain chains[XV_CHAIN_MAX]; /* no burst, and no packet, has more */
	unsigned int n = 0;

	for (; left > 0 && !is_used(ring, pos); left = (uint16_t)(left - count), pos = step(pos, count, size)) {
		count = n < XV_CHAIN_MAX ? read_chain(mem, ring, size, pos, left, &chains[n]) : 0;
		if (count == 0)
			return false;
		n++;
	}
	*at = left > 0 ? to : from;
	while (left > 0 && n > 0)
		give_back(ring, &chains[--n], merged, wrote);
	return true;
}

bool xv_ring_place_recover(const struct xv_ring_place *p, uint32_t base, const struct xv_guest_memory *mem,
			   struct vring_packed_desc *ring, struct xv_ring_position *at)
{
	uint64_t burst = atomic_load_explicit(&p->burst, memory_order_relaxed);
	struct xv_ring_position from = {burst & 0x7fff, (burst >> 15 & 1) != 0};
	struct xv_ring_position to = {burst >> 16 & 0x7fff, (burst >> 31 & 1) != 0};
	bool nothing = from.idx == to.idx && from.wrap == to.wrap;
	uint16_t size = p->size;

	if (p->base != base || from.idx >= size || to.idx >= size ||
	    (from.wrap == to.wrap ? to.idx < from.idx : to.idx > from.idx))
		return false;
	/* At its beginning, says the front end: long ago, or because the driver has set it up anew? */
	if ((base & 0xffff) == BEGINNING && is_fresh(ring, size))
		return false;
	if (!nothing && is_avail(ring, from))
		return complete(p, mem, ring, from, to, (burst & XV_RING_MERGED) != 0, at);
	/* The guest was shown it: it is used, or available again on the next lap. */
	if (!nothing && ((flags_at(ring, from.idx) & F_USED) != 0) != from.wrap)
		return false;
	if (is_used(ring, to))
		return false;
	*at = to;
	return true;
}
