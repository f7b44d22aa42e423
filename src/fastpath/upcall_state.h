/* SPDX-License-Identifier: Apache-2.0 */
/* What both sides of upcalls share; private to this folder. */
#pragma once

#include <stdatomic.h>

#include "fastpath/upcall.h"

#define XV_UPCALLS_RING 4096 /* that may wait in one worker */

extern _Atomic bool xv_upcalls_listened;
/* The control thread sleeps: the next upcall has to wake it. */
extern _Atomic bool xv_upcalls_idle;
/* By port: sent by workers, not yet taken by the slow path. */
extern _Atomic uint32_t xv_upcalls_waiting[XV_MAX_PORTS];

static inline struct xv_upcall *xv_upcall_of(struct rte_mbuf *buf)
{
	return rte_pktmbuf_mtod(buf, struct xv_upcall *);
}
