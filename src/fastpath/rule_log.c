/* SPDX-License-Identifier: Apache-2.0 */
#include "fastpath/rule_log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <rte_ring.h>

#include "fastpath/flow_request.h"
#include "fastpath/rule_hits.h"
#include "fastpath/worker_state.h"

#define RECORDS 1024 /* a ring of that size holds one less */

static struct xv_rule_record *records;
static struct rte_ring *free_ring, *written;
static _Atomic uint64_t missed;

int xv_rule_log_init(void)
{
	unsigned int i;

	records = calloc(RECORDS - 1, sizeof(*records));
	free_ring = rte_ring_create("xv_log_free", RECORDS, SOCKET_ID_ANY, RING_F_SP_ENQ);
	written = rte_ring_create("xv_log_written", RECORDS, SOCKET_ID_ANY, RING_F_SC_DEQ);
	if (records == NULL || free_ring == NULL || written == NULL) {
		xv_rule_log_fini();
		return -ENOMEM;
	}
	for (i = 0; i < RECORDS - 1; i++)
		(void)rte_ring_sp_enqueue(free_ring, &records[i]);
	return 0;
}

void xv_rule_log_fini(void)
{
	rte_ring_free(free_ring);
	rte_ring_free(written);
	free(records);
	free_ring = written = NULL;
	records = NULL;
}

static void record(struct xv_worker *w, uint16_t port, const struct xv_flow_key *key, const struct xv_judgement *by)
{
	struct xv_rule_record *r;
	void *slot;

	if (rte_ring_mc_dequeue(free_ring, &slot) != 0) {
		atomic_fetch_add_explicit(&missed, 1, memory_order_relaxed);
		return;
	}
	r = slot;
	xv_judgement_text(by, r->origin);
	r->port = port;
	r->verdict = by->verdict;
	memcpy(&r->key, key, XV_FLOW_FIXED_WORDS * 8);
	(void)rte_ring_mp_enqueue(written, r);
	w->flows_wanted = true;
}

void xv_rule_judged(struct xv_worker *w, uint16_t port, const struct xv_flow_key *key, const struct xv_judgement *by,
		    uint32_t bytes)
{
	struct xv_rule_count *c = &w->rule_counts[by->counter];

	count(&c->packets, 1);
	count(&c->bytes, bytes);
	if (unlikely(by->log))
		record(w, port, key, by);
}

uint64_t xv_rule_log_take(unsigned int max, void (*fn)(const struct xv_rule_record *record, void *arg), void *arg)
{
	void *r;

	for (; max > 0 && rte_ring_sc_dequeue(written, &r) == 0; max--) {
		fn(r, arg);
		(void)rte_ring_sp_enqueue(free_ring, r);
	}
	return atomic_exchange_explicit(&missed, 0, memory_order_relaxed);
}
