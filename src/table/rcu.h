/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One QSBR variable (rte_rcu_qsbr) for all that workers read without a lock.
 *
 * Workers are readers: online while they run, they report quiescent once per poll round and go
 * offline before they sleep. The control thread is the writer: publish the new, then xv_rcu_defer()
 * the old. xv_rcu_synchronize() waits and is allowed in two places only: where a ring or port is
 * taken from its workers, and at shutdown.
 */
#pragma once

#include <stdint.h>

#include <rte_rcu_qsbr.h>

#define XV_RCU_MAX_READERS 64

extern struct rte_rcu_qsbr *xv_rcu;

/* control, once; needs no EAL. 0 or -errno. */
int xv_rcu_init(void);
/* Waits for readers, runs what is deferred, frees. */
void xv_rcu_fini(void);

/* worker thread: take part as reader `id` (< XV_RCU_MAX_READERS); starts offline. */
int xv_rcu_register(unsigned int id);
void xv_rcu_unregister(unsigned int id);

static inline void xv_rcu_online(unsigned int id)
{
	rte_rcu_qsbr_thread_online(xv_rcu, id);
}

static inline void xv_rcu_offline(unsigned int id)
{
	rte_rcu_qsbr_thread_offline(xv_rcu, id);
}

static inline void xv_rcu_quiescent(unsigned int id)
{
	rte_rcu_qsbr_quiescent(xv_rcu, id);
}

/* control: call fn(arg) after every reader has passed a quiescent state. */
void xv_rcu_defer(void (*fn)(void *arg), void *arg);
/* control, from a timer: run the deferred calls that are due; never waits. Returns how many remain. */
unsigned int xv_rcu_poll(void);
/* control: wait until all readers have passed a quiescent state. */
void xv_rcu_synchronize(void);
