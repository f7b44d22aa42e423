/* SPDX-License-Identifier: Apache-2.0 */
/* Which trails lead over which flows: where the control thread and the workers' caches of fused flows meet. */
#include "fastpath/trails.h"

#include <stdlib.h>

#include <rte_spinlock.h>

#include "fastpath/flow.h"

/* Orders the lists of flows, flow->dead and the clearing of trail->valid. Taken by workers for new trails and for
 * those that nothing stands for any more, never for packets that hit. */
static rte_spinlock_t trail_lock = RTE_SPINLOCK_INITIALIZER;

static void unlink_all(struct xv_trail *trail)
{
	unsigned int i;

	for (i = 0; i < trail->n; i++) {
		struct xv_trail_link *link = &trail->links[i];

		if (link->next != NULL)
			link->next->back = link->back;
		*link->back = link->next;
	}
}

bool xv_trail_link_flows(struct xv_trail *trail, const struct xv_fused_step *steps)
{
	unsigned int i;
	bool alive = true;

	rte_spinlock_lock(&trail_lock);
	for (i = 0; i < trail->n; i++)
		alive &= !trail->flows[i]->dead &&
			 atomic_load_explicit(&trail->flows[i]->actions, memory_order_acquire) == steps[i].actions;
	for (i = 0; alive && i < trail->n; i++) {
		struct xv_trail_link *link = &trail->links[i];
		struct xv_trail_link **head = &trail->flows[i]->trails;

		link->trail = trail;
		link->next = *head;
		link->back = head;
		if (link->next != NULL)
			link->next->back = &link->next;
		*head = link;
	}
	atomic_store_explicit(&trail->valid, alive, memory_order_release);
	rte_spinlock_unlock(&trail_lock);
	return alive;
}

void xv_trail_unlink_flows(struct xv_trail *trail)
{
	rte_spinlock_lock(&trail_lock);
	if (atomic_load_explicit(&trail->valid, memory_order_relaxed)) {
		unlink_all(trail);
		atomic_store_explicit(&trail->valid, false, memory_order_release);
	}
	rte_spinlock_unlock(&trail_lock);
}

void xv_trails_cut(struct xv_flow *flow, bool dead)
{
	rte_spinlock_lock(&trail_lock);
	if (dead)
		flow->dead = true;
	while (flow->trails != NULL) {
		struct xv_trail *trail = flow->trails->trail;

		unlink_all(trail);
		atomic_store_explicit(&trail->valid, false, memory_order_release);
	}
	rte_spinlock_unlock(&trail_lock);
}
