/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio/chain.h"

#include <errno.h>
#include <string.h>

#include "virtio/dirty_log.h"
#include "virtio/vnet_hdr.h"

/* A descriptor as it was when we looked: both halves of it are loaded exactly once. */
struct snapshot {
	uint64_t addr;
	uint32_t len;
	uint16_t third, fourth; /* split: flags, next; packed: id, flags */
};

static struct snapshot descriptor_read(const void *desc)
{
	const volatile uint64_t *word = desc;
	uint64_t addr = word[0], rest = word[1];

	return (struct snapshot){.addr = addr,
				 .len = (uint32_t)rest,
				 .third = (uint16_t)(rest >> 32),
				 .fourth = (uint16_t)(rest >> 48)};
}

/* Append [addr, addr + len), split where it crosses from one region into the next. */
static enum xv_vring_error append(struct xv_vring *vq, struct xv_pieces *pieces, uint64_t addr,
				  uint32_t len)
{
	if (len == 0)
		return XV_VRING_OK; /* legal, holds nothing */
	if (pieces->bytes + (uint64_t)len > UINT32_MAX)
		return XV_VRING_BAD_LENGTH;
	while (len > 0) {
		const struct xv_region *r = xv_guest_memory_lookup(vq->mem, addr);
		uint64_t offset, room;
		uint32_t part;

		if (r == NULL)
			return XV_VRING_BAD_ADDR;
		if (pieces->n == XV_CHAIN_MAX)
			return XV_VRING_BAD_CHAIN;
		offset = addr - r->gpa;
		room = r->size - offset;
		part = room < len ? (uint32_t)room : len;
		pieces->piece[pieces->n++] = (struct xv_piece){r->hva + offset, addr, part};
		pieces->bytes += part;
		addr += part;
		len -= part;
	}
	return XV_VRING_OK;
}

/* Our address of an indirect table of `len` bytes. */
static const void *indirect_table(const struct xv_vring *vq, const struct snapshot *d)
{
	if (!vq->indirect || d->len == 0 || d->len % sizeof(struct vring_desc) != 0)
		return NULL;
	return xv_guest_memory_at(vq->mem, d->addr, d->len);
}

enum xv_vring_error xv_chain_walk_split(struct xv_vring *vq, uint16_t head, bool writable,
					struct xv_pieces *pieces)
{
	const struct vring_desc *table = vq->desc;
	uint32_t table_size = vq->size, next = head;
	uint16_t direction = writable ? VRING_DESC_F_WRITE : 0;
	bool inside_indirect = false;
	unsigned int steps;

	for (steps = 0; steps < XV_CHAIN_MAX; steps++) {
		struct snapshot d;
		uint16_t flags;
		enum xv_vring_error error;

		if (next >= table_size)
			return inside_indirect ? XV_VRING_BAD_INDIRECT : XV_VRING_BAD_HEAD;
		d = descriptor_read(&table[next]);
		flags = d.third;
		if ((flags & VRING_DESC_F_INDIRECT) != 0) {
			/* 2.7.5.3.1: not nested, not together with NEXT. */
			const void *indirect = indirect_table(vq, &d);

			if (inside_indirect || (flags & VRING_DESC_F_NEXT) != 0 || indirect == NULL)
				return XV_VRING_BAD_INDIRECT;
			table = indirect;
			table_size = d.len / sizeof(struct vring_desc);
			next = 0;
			inside_indirect = true;
			continue;
		}
		if ((flags & VRING_DESC_F_WRITE) != direction)
			return XV_VRING_BAD_CHAIN;
		error = append(vq, pieces, d.addr, d.len);
		if (error != XV_VRING_OK)
			return error;
		if ((flags & VRING_DESC_F_NEXT) == 0)
			return XV_VRING_OK;
		next = d.fourth;
	}
	return XV_VRING_BAD_CHAIN;
}

/*
 * 2.8.7: in here only WRITE means something. We do not write where it is missing; but we read where it is
 * set, because DPDK's driver (22.11) marks the header of what it transmits as writable.
 */
static enum xv_vring_error walk_packed_indirect(struct xv_vring *vq, const struct snapshot *d,
						uint16_t direction, struct xv_pieces *pieces)
{
	const struct vring_packed_desc *table = indirect_table(vq, d);
	uint32_t i, n = d->len / sizeof(*table);

	if (table == NULL || n > XV_CHAIN_MAX)
		return XV_VRING_BAD_INDIRECT;
	for (i = 0; i < n; i++) {
		struct snapshot e = descriptor_read(&table[i]);
		enum xv_vring_error error;

		if ((e.fourth & direction) != direction)
			return XV_VRING_BAD_CHAIN;
		error = append(vq, pieces, e.addr, e.len);
		if (error != XV_VRING_OK)
			return error;
	}
	return XV_VRING_OK;
}

enum xv_vring_error xv_chain_walk_packed(struct xv_vring *vq, uint16_t pos, bool writable,
					 struct xv_pieces *pieces, uint16_t *id, uint16_t *count)
{
	uint16_t direction = writable ? VRING_DESC_F_WRITE : 0;
	uint16_t steps = 0;

	/* The first descriptor is available; the driver made the rest of the chain so before it (2.8.6). */
	for (;;) {
		struct snapshot d = descriptor_read(&vq->packed[pos]);
		uint16_t flags = d.fourth;
		enum xv_vring_error error;

		if (steps == vq->size || steps == XV_CHAIN_MAX)
			return XV_VRING_BAD_CHAIN;
		steps++;
		if ((flags & VRING_DESC_F_INDIRECT) != 0) {
			if (steps > 1 || (flags & VRING_DESC_F_NEXT) != 0)
				return XV_VRING_BAD_INDIRECT;
			error = walk_packed_indirect(vq, &d, direction, pieces);
		} else if ((flags & VRING_DESC_F_WRITE) != direction) {
			return XV_VRING_BAD_CHAIN;
		} else {
			error = append(vq, pieces, d.addr, d.len);
		}
		if (error != XV_VRING_OK)
			return error;
		if ((flags & VRING_DESC_F_NEXT) == 0) {
			*id = d.third;
			*count = steps;
			return XV_VRING_OK;
		}
		if (++pos == vq->size)
			pos = 0;
	}
}

/* A place in the pieces, moving forward. */
struct cursor {
	const struct xv_piece *piece;
	uint32_t offset;
};

static struct cursor cursor_at(const struct xv_pieces *pieces, uint32_t offset)
{
	struct cursor c = {pieces->piece, offset};

	for (; c.offset > 0 && c.offset >= c.piece->len; c.piece++)
		c.offset -= c.piece->len;
	return c;
}

/* Copy len bytes out of the pieces; the caller knows that they hold as many. */
static void read_bytes(struct cursor *c, void *to, uint32_t len)
{
	uint8_t *out = to;

	while (len > 0) {
		uint32_t part = RTE_MIN(c->piece->len - c->offset, len);

		memcpy(out, c->piece->va + c->offset, part);
		out += part;
		len -= part;
		c->offset += part;
		if (c->offset == c->piece->len) {
			c->piece++;
			c->offset = 0;
		}
	}
}

static void write_bytes(struct cursor *c, const void *from, uint32_t len, struct xv_dirty_log *log)
{
	const uint8_t *in = from;

	while (len > 0) {
		uint32_t part = RTE_MIN(c->piece->len - c->offset, len);

		/* Not memcpy(): what a guest lends may overlap with what it, or one with the same memory, offers to be filled. */
		memmove(c->piece->va + c->offset, in, part);
		if (log != NULL)
			xv_dirty_log_mark(log, c->piece->gpa + c->offset, part);
		in += part;
		len -= part;
		c->offset += part;
		if (c->offset == c->piece->len) {
			c->piece++;
			c->offset = 0;
		}
	}
}

/* Step over len bytes that lie together, at most UINT16_MAX; returns how many. */
static uint16_t next_run(struct cursor *c, uint32_t len, uint8_t **va)
{
	uint32_t run = RTE_MIN(RTE_MIN(c->piece->len - c->offset, len), (uint32_t)UINT16_MAX);

	*va = c->piece->va + c->offset;
	c->offset += run;
	if (c->offset == c->piece->len) {
		c->piece++;
		c->offset = 0;
	}
	return (uint16_t)run;
}

/* How many buffers it takes to refer to the len bytes from c on. */
static unsigned int count_runs(struct cursor c, uint32_t len)
{
	unsigned int n;
	uint8_t *va;

	for (n = 0; len > 0; n++)
		len -= next_run(&c, len, &va);
	return n;
}

/* Fill segs with len bytes, copied. */
static void copy_segs(struct cursor *c, struct rte_mbuf **segs, uint32_t len)
{
	uint32_t part;

	for (; len > 0; len -= part, segs++) {
		part = RTE_MIN(len, (uint32_t)XV_PACKET_DATA_BYTES);
		read_bytes(c, rte_pktmbuf_mtod(*segs, void *), part);
		(*segs)->data_len = (uint16_t)part;
	}
}

/* Have n segs refer to len bytes of the guest's memory. */
static void lend_segs(struct xv_vring *vq, struct cursor *c, struct rte_mbuf **segs, unsigned int n, uint32_t len)
{
	struct rte_mbuf_ext_shared_info *share = xv_lending_start(vq, len, (uint16_t)n);
	uint16_t part;
	uint8_t *va;

	for (; len > 0; len -= part, segs++) {
		part = next_run(c, len, &va);
		rte_pktmbuf_attach_extbuf(*segs, va, RTE_BAD_IOVA, part, share);
		(*segs)->data_len = part;
	}
}

int xv_chain_to_packet(struct xv_vring *vq, const struct xv_pieces *pieces, struct rte_mbuf **packet)
{
	struct cursor cursor = {pieces->piece, 0};
	uint8_t raw[sizeof(struct virtio_net_hdr_mrg_rxbuf)];
	struct rte_mbuf *segs[XV_VNET_MAX_FRAME / XV_PACKET_DATA_BYTES + 1], *head;
	struct xv_vnet_hdr hdr;
	struct xv_offload request;
	uint32_t len, own;
	unsigned int n, i, lent = 0;

	len = pieces->bytes - vq->hdr_len;
	if (pieces->bytes <= vq->hdr_len || len > XV_VNET_MAX_FRAME)
		return -EPROTO;
	read_bytes(&cursor, raw, vq->hdr_len);
	memcpy(&hdr.head, raw, sizeof(hdr.head));
	memcpy(&hdr.csum_offset, raw + 8, sizeof(hdr.csum_offset));
	if ((hdr.head & XV_VNET_WANTS_OFFLOAD) != 0 &&
	    !xv_vnet_hdr_decode(hdr, len, vq->features, &request))
		return -EPROTO;

	own = len;
	n = (len + XV_PACKET_DATA_BYTES - 1) / XV_PACKET_DATA_BYTES;
	if (xv_lending_wants(vq, len)) {
		/* Not if it lies in so many pieces that to refer to them takes more buffers than a copy. */
		lent = count_runs(cursor_at(pieces, vq->hdr_len + XV_LEND_HEAD), len - XV_LEND_HEAD);
		lent = lent < n ? lent : 0;
		own = lent > 0 ? XV_LEND_HEAD : len;
		n = lent > 0 ? lent + 1 : n;
	}
	if (rte_pktmbuf_alloc_bulk(vq->pool, segs, n) != 0)
		return -ENOBUFS;
	copy_segs(&cursor, segs, own);
	if (lent > 0)
		lend_segs(vq, &cursor, &segs[1], lent, len - own);
	for (i = 0; i + 1 < n; i++)
		segs[i]->next = segs[i + 1];
	head = segs[0];
	head->nb_segs = (uint16_t)n;
	head->pkt_len = len;
	if ((hdr.head & XV_VNET_WANTS_OFFLOAD) != 0 && (request.flags | request.gso_type) != 0) {
		head->ol_flags |= XV_PACKET_OFFLOAD;
		*xv_packet_offload(head) = request;
	}
	*packet = head;
	return 0;
}

void xv_packet_to_chain(const struct xv_vring *vq, const struct xv_pieces *pieces,
			struct rte_mbuf *packet, uint16_t num_buffers)
{
	struct cursor cursor = {pieces->piece, 0};
	uint8_t raw[sizeof(struct virtio_net_hdr_mrg_rxbuf)] = {0};
	struct rte_mbuf *seg;

	if ((packet->ol_flags & XV_PACKET_OFFLOAD) != 0) {
		struct xv_vnet_hdr hdr = xv_vnet_hdr_encode(xv_packet_offload(packet), packet);

		/* 5.1.6.4: only a driver that asked for it hears that a checksum is good. */
		if ((vq->caps & XV_CAP_CSUM) == 0)
			hdr.head &= ~(uint64_t)VIRTIO_NET_HDR_F_DATA_VALID;
		memcpy(raw, &hdr.head, sizeof(hdr.head));
		memcpy(raw + 8, &hdr.csum_offset, sizeof(hdr.csum_offset));
	}
	memcpy(raw + 10, &num_buffers, sizeof(num_buffers));
	write_bytes(&cursor, raw, vq->hdr_len, vq->log);
	for (seg = packet; seg != NULL; seg = seg->next)
		write_bytes(&cursor, rte_pktmbuf_mtod(seg, void *), seg->data_len, vq->log);
}
