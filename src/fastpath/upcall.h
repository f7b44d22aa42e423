/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Upcalls: packets that workers hand to a slow path, because no flow matches them or because a flow says so. They wait in a
 * ring of each worker for the control thread, with what was known of them. Bounded, by port too: what a port has waiting
 * counts until the slow path has taken it, so that a storm from one port fills its own share and nobody else's.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <rte_mbuf.h>

#include "net/flow_key.h"
#include "port/port.h"

struct xv_worker;

#define XV_UPCALLS_PER_PORT 256
#define XV_UPCALL_DATA_MAX 1024 /* bytes that a flow may say with it */

enum xv_upcall_type { XV_UPCALL_MISS, XV_UPCALL_ACTION };

/* Lies in a packet buffer of its own. */
struct xv_upcall {
	struct rte_mbuf *buf; /* that this lies in */
	struct rte_mbuf *m;   /* the packet, finished: it wants no checksum or segmentation */
	struct xv_flow_key key; /* metadata and tunnel; the packet's own fields may be those of an earlier look-up */
	uint16_t port_id;   /* that it counts for */
	uint8_t type;	    /* enum xv_upcall_type */
	uint32_t bytes;	    /* of data: the action's */
	uint64_t data[];
};

/* worker. Takes m, which is finished; counts it as punted, or dropped. */
void xv_upcall_send(struct xv_worker *w, struct rte_mbuf *m, const struct xv_flow_key *key, enum xv_upcall_type type,
		    const void *data, uint32_t bytes);

/* Readable when upcalls wait. */
extern int xv_upcalls_event_fd;
/* control, with the flows. 0 or -errno. */
int xv_upcalls_init(void);
void xv_upcalls_fini(void);
/* control. Whether somebody takes upcalls: where nobody does they are dropped at once. */
void xv_upcalls_listen(bool on);
/* control. At most max of them, from all workers in turn; fn owns the upcall. True: there may be more, come again; else the
 * descriptor tells. */
bool xv_upcalls_take(unsigned int max, void (*fn)(struct xv_upcall *upcall, void *arg), void *arg);
/* control. The slow path has it: its port may send another. Frees it. */
void xv_upcall_free(struct xv_upcall *upcall);
