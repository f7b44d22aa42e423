/* SPDX-License-Identifier: Apache-2.0 */
/* The control thread's side of upcalls. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <sys/eventfd.h>

#include "fastpath/upcall_state.h"
#include "fastpath/worker_state.h"

int xv_upcalls_event_fd = -1;

int xv_upcalls_init(void)
{
	xv_upcalls_event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	atomic_store(&xv_upcalls_listened, false);
	atomic_store(&xv_upcalls_idle, true);
	return xv_upcalls_event_fd < 0 ? -errno : 0;
}

void xv_upcalls_fini(void)
{
	if (xv_upcalls_event_fd >= 0)
		close(xv_upcalls_event_fd);
	xv_upcalls_event_fd = -1;
}

void xv_upcalls_listen(bool on)
{
	atomic_store(&xv_upcalls_listened, on);
}

void xv_upcall_free(struct xv_upcall *u)
{
	atomic_fetch_sub_explicit(&xv_upcalls_waiting[u->port_id], 1, memory_order_relaxed);
	rte_pktmbuf_free(u->m);
	rte_pktmbuf_free(u->buf);
}

bool xv_upcalls_take(unsigned int max, void (*fn)(struct xv_upcall *upcall, void *arg), void *arg)
{
	unsigned int n = 0, before, id;
	eventfd_t ignored;
	void *buf;

	(void)eventfd_read(xv_upcalls_event_fd, &ignored);
	/* From here on who sends wakes us: what came before is seen below. */
	atomic_store(&xv_upcalls_idle, true);
	do {
		before = n;
		for (id = 0; id < XV_MAX_WORKERS && n < max; id++) {
			struct xv_worker *w = xv_worker_by_id(id);

			if (w == NULL || rte_ring_sc_dequeue(w->upcalls, &buf) != 0)
				continue;
			fn(xv_upcall_of(buf), arg);
			n++;
		}
	} while (n > before && n < max);
	return n == max;
}
