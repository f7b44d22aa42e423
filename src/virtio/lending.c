/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio/lending.h"

#include "virtio/vring_ops.h"

/* The ring holds the last reference: a share dies with its burst. */
static void never_called(void *addr, void *arg)
{
	(void)addr;
	(void)arg;
}

bool xv_lending_wants(const struct xv_vring *vq, uint32_t len)
{
	return vq->lends && len > XV_LEND_MIN && vq->lending.frames < XV_BURST;
}

struct rte_mbuf_ext_shared_info *xv_lending_start(struct xv_vring *vq, uint32_t len, uint16_t n)
{
	struct xv_lending *l = &vq->lending;
	struct rte_mbuf_ext_shared_info *share = &l->shares[l->frames++];

	share->free_cb = never_called;
	rte_mbuf_ext_refcnt_set(share, (uint16_t)(n + 1));
	l->bytes += len;
	vq->lent = true;
	return share;
}

unsigned int xv_vring_return(struct xv_vring *vq)
{
	struct xv_lending *l = &vq->lending;
	unsigned int i, overdue = 0;

	if (!vq->lent)
		return 0;
	for (i = 0; i < l->frames; i++)
		overdue += rte_mbuf_ext_refcnt_read(&l->shares[i]) != 1;
	vq->lent = false;
	if (!xv_vring_is_broken(vq)) {
		if (vq->is_packed)
			xv_packed_return(vq);
		else
			xv_split_return(vq);
	}
	l->bytes = 0;
	l->frames = l->n_held = 0;
	return overdue;
}
