/* SPDX-License-Identifier: Apache-2.0 */
#include "table/rcu.h"

#include <errno.h>
#include <stdlib.h>

struct deferred {
	struct deferred *next;
	void (*fn)(void *arg);
	void *arg;
	uint64_t token; /* due when all readers have passed it */
};

struct rte_rcu_qsbr *xv_rcu;

/* First in, first out: tokens only grow, so the first that is not due ends a poll. */
static struct deferred *deferred_head, **deferred_tail = &deferred_head;
static unsigned int deferred_count;

int xv_rcu_init(void)
{
	size_t size = rte_rcu_qsbr_get_memsize(XV_RCU_MAX_READERS);

	xv_rcu = aligned_alloc(RTE_CACHE_LINE_SIZE, RTE_ALIGN_CEIL(size, RTE_CACHE_LINE_SIZE));
	if (!xv_rcu)
		return -ENOMEM;
	if (rte_rcu_qsbr_init(xv_rcu, XV_RCU_MAX_READERS) != 0) {
		free(xv_rcu);
		xv_rcu = NULL;
		return -EINVAL;
	}
	return 0;
}

void xv_rcu_fini(void)
{
	if (!xv_rcu)
		return;
	/* What is run may defer more. */
	while (deferred_count > 0) {
		xv_rcu_synchronize();
		xv_rcu_poll();
	}
	free(xv_rcu);
	xv_rcu = NULL;
}

int xv_rcu_register(unsigned int id)
{
	return rte_rcu_qsbr_thread_register(xv_rcu, id) == 0 ? 0 : -EINVAL;
}

void xv_rcu_unregister(unsigned int id)
{
	rte_rcu_qsbr_thread_offline(xv_rcu, id);
	rte_rcu_qsbr_thread_unregister(xv_rcu, id);
}

void xv_rcu_defer(void (*fn)(void *arg), void *arg)
{
	struct deferred *d = malloc(sizeof(*d));

	if (!d) { /* better late than leaked or freed under a reader */
		xv_rcu_synchronize();
		fn(arg);
		return;
	}
	*d = (struct deferred){.fn = fn, .arg = arg, .token = rte_rcu_qsbr_start(xv_rcu)};
	*deferred_tail = d;
	deferred_tail = &d->next;
	deferred_count++;
}

unsigned int xv_rcu_poll(void)
{
	struct deferred *d;

	while ((d = deferred_head) && rte_rcu_qsbr_check(xv_rcu, d->token, false) == 1) {
		deferred_head = d->next;
		if (!deferred_head)
			deferred_tail = &deferred_head;
		deferred_count--;
		d->fn(d->arg);
		free(d);
	}
	return deferred_count;
}

void xv_rcu_synchronize(void)
{
	rte_rcu_qsbr_synchronize(xv_rcu, RTE_QSBR_THRID_INVALID);
}
