/* SPDX-License-Identifier: Apache-2.0 */
/* The control thread's side of flows. What workers do with them is in flow_burst.c, execute.c and flow_request.c. */
#include "fastpath/flow.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/lazy_memory.h"
#include "fastpath/flow_request.h"
#include "fastpath/fused.h"
#include "fastpath/packet_out.h"
#include "fastpath/resolve.h"
#include "fastpath/rule_hits.h"
#include "fastpath/rule_log.h"
#include "fastpath/upcall.h"
#include "fastpath/worker_state.h"
#include "table/rcu.h"

#define HALF_OPEN_PER_PORT 65536 /* and zone */
#define REQUESTS 4096	      /* that may wait for the control thread */
#define REQUESTS_A_POLL 1024
#define AGED_A_TIME 8192
#define AGED_MOST 131072 /* a call: the control thread has other things to do */
#define SWEEP_POLLS 50	  /* from one sweep for the sake of dead flows to the next: milliseconds */
#define ID_BUCKETS 65536

struct xv_conntrack *xv_flow_conntrack;
uint32_t xv_flow_connections = 1u << 21;
struct xv_classifier *xv_flow_classifier;
_Atomic uint64_t xv_sweep_wanted;
_Atomic bool xv_fusing = true;
_Atomic uint32_t xv_port_decisions[XV_MAX_PORTS];
int xv_flows_event_fd = -1;

static struct xv_flow *owned[XV_MAX_PORTS]; /* flows by the port that they go with */
static uint32_t n_owned[XV_MAX_PORTS];
static uint64_t n_refused;
static struct xv_flow *dying, **dying_end = &dying;
static uint32_t *free_slots, n_free_slots, slots_fresh;
static unsigned int n_flows, polls_since_sweep;
static struct xv_flow *by_id[ID_BUCKETS];
static uint64_t last_id;
static struct xv_flow_request *requests;

static uint64_t tick_now(void)
{
	return xv_clock_cycles() >> XV_FLOW_TICK_SHIFT;
}

static struct rte_ring *ring_new(unsigned int flags)
{
	struct rte_ring *ring = aligned_alloc(RTE_CACHE_LINE_SIZE,
					      RTE_ALIGN_CEIL((size_t)rte_ring_get_memsize(2 * REQUESTS),
							     RTE_CACHE_LINE_SIZE));

	if (ring != NULL && rte_ring_init(ring, "flows", 2 * REQUESTS, flags) != 0) {
		free(ring);
		ring = NULL;
	}
	return ring;
}

int xv_flows_init(void)
{
	static const unsigned int stages[] = {XV_FLOW_STAGE_TUNNEL, XV_FLOW_STAGE_L2, XV_FLOW_STAGE_L3,
					      XV_FLOW_STAGE_L4, XV_FLOW_FIXED_WORDS, XV_FLOW_WORDS};
	struct xv_conntrack_config connections = {
		.connections = xv_flow_connections,
		.half_open_per_port = HALF_OPEN_PER_PORT,
		.pick_up = true,
		.now_ms = xv_clock_ms(xv_clock_cycles()),
	};
	unsigned int i;
	int rc;

#if defined(__x86_64__)
	xv_fused_use_avx512 = getenv("XVIO_NO_AVX512") == NULL && __builtin_cpu_supports("avx512f") &&
			      __builtin_cpu_supports("avx512bw");
#endif
	rc = xv_classifier_create(XV_FLOW_WORDS, stages, RTE_DIM(stages), &xv_flow_classifier);
	if (rc != 0)
		return rc;
	free_slots = xv_lazy_alloc(XV_MAX_FLOWS * sizeof(*free_slots), false);
	/* Touched here, so that no worker has to wait for a page. */
	requests = malloc(REQUESTS * sizeof(*requests));
	if (requests != NULL)
		memset(requests, 0xff, REQUESTS * sizeof(*requests)); /* zeros would be made of untouched pages */
	xv_flow_requests.free = ring_new(RING_F_SP_ENQ);
	xv_flow_requests.wanted = ring_new(RING_F_SC_DEQ);
	xv_flows_event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (free_slots == NULL || requests == NULL || xv_flow_requests.free == NULL || xv_flow_requests.wanted == NULL ||
	    xv_flows_event_fd < 0) {
		xv_flows_fini();
		return -ENOMEM;
	}
	for (i = 0; i < REQUESTS; i++)
		(void)rte_ring_sp_enqueue(xv_flow_requests.free, &requests[i]);
	rc = xv_rule_log_init();
	if (rc == 0)
		rc = xv_rule_hits_init();
	if (rc == 0)
		rc = xv_upcalls_init();
	if (rc == 0)
		rc = xv_packet_outs_init();
	if (rc == 0)
		rc = xv_conntrack_create(&connections, &xv_flow_conntrack);
	if (rc != 0)
		xv_flows_fini();
	return rc;
}

static void flow_free(void *arg)
{
	struct xv_flow *flow = arg;

	free((void *)(uintptr_t)atomic_load(&flow->actions));
	free(flow);
}

static void free_walked(struct xv_cls_rule *rule, void *arg)
{
	struct xv_flow **list = arg;
	struct xv_flow *flow = (struct xv_flow *)(void *)((uint8_t *)rule - offsetof(struct xv_flow, rule));

	flow->next = *list;
	*list = flow;
}

void xv_flows_fini(void)
{
	struct xv_cls_cursor cursor = {0};
	struct xv_flow *all = NULL, *flow;

	if (xv_flow_classifier != NULL)
		while (xv_classifier_walk(xv_flow_classifier, &cursor, 1024, free_walked, &all))
			;
	xv_classifier_destroy(xv_flow_classifier);
	xv_flow_classifier = NULL;
	while ((flow = all) != NULL) {
		all = flow->next;
		flow_free(flow);
	}
	while ((flow = dying) != NULL) {
		dying = flow->next;
		if (flow->gone != NULL)
			flow->gone(flow, flow->gone_arg);
		flow_free(flow);
	}
	dying_end = &dying;
	memset(owned, 0, sizeof(owned));
	memset(n_owned, 0, sizeof(n_owned));
	memset(by_id, 0, sizeof(by_id));
	n_flows = n_free_slots = slots_fresh = 0;
	xv_lazy_free(free_slots, XV_MAX_FLOWS * sizeof(*free_slots));
	free_slots = NULL;
	free(requests);
	free(xv_flow_requests.free);
	free(xv_flow_requests.wanted);
	requests = NULL;
	xv_flow_requests.free = xv_flow_requests.wanted = NULL;
	xv_conntrack_destroy(xv_flow_conntrack);
	xv_flow_conntrack = NULL;
	xv_rule_log_fini();
	xv_rule_hits_fini();
	xv_upcalls_fini();
	xv_packet_outs_fini();
	if (xv_flows_event_fd >= 0)
		close(xv_flows_event_fd);
	xv_flows_event_fd = -1;
}

/* ---- Counters ---- */

/* What all workers have counted for a slot since the program started. */
static void slot_read(uint32_t slot, uint64_t *packets, uint64_t *bytes, uint64_t *used)
{
	unsigned int i;

	*packets = *bytes = *used = 0;
	for (i = 0; i < XV_MAX_WORKERS; i++) {
		const struct xv_flow_count *counts = xv_worker_flow_counts(i);

		if (counts == NULL)
			continue;
		*packets += atomic_load_explicit(&counts[slot].packets, memory_order_relaxed);
		*bytes += atomic_load_explicit(&counts[slot].bytes, memory_order_relaxed);
		*used = RTE_MAX(*used, atomic_load_explicit(&counts[slot].used, memory_order_relaxed));
	}
}

static uint16_t slot_tcp_flags(uint32_t slot)
{
	uint32_t flags = 0;
	unsigned int i;

	for (i = 0; i < XV_MAX_WORKERS; i++) {
		const struct xv_flow_count *counts = xv_worker_flow_counts(i);

		if (counts != NULL)
			flags |= atomic_load_explicit(&counts[slot].tcp_flags, memory_order_relaxed);
	}
	return rte_be_to_cpu_16((rte_be16_t)flags);
}

static void slot_clear_tcp_flags(uint32_t slot)
{
	unsigned int i;

	for (i = 0; i < XV_MAX_WORKERS; i++) {
		struct xv_flow_count *counts = xv_worker_flow_counts(i);

		if (counts != NULL && atomic_load_explicit(&counts[slot].tcp_flags, memory_order_relaxed) != 0)
			atomic_store_explicit(&counts[slot].tcp_flags, 0, memory_order_relaxed);
	}
}

void xv_flow_clear_tcp_flags(const struct xv_flow *flow)
{
	slot_clear_tcp_flags(flow->slot);
}

static uint64_t ns_since(uint64_t tick)
{
	return (uint64_t)((double)((tick_now() - tick) << XV_FLOW_TICK_SHIFT) * 1e9 / (double)xv_clock.hz);
}

void xv_flow_get_stats(const struct xv_flow *flow, struct xv_flow_stats *stats)
{
	uint64_t packets, bytes, used;

	slot_read(flow->slot, &packets, &bytes, &used);
	stats->packets = packets + flow->base_packets;
	stats->bytes = bytes + flow->base_bytes;
	stats->created_ns_ago = ns_since(flow->created_tick);
	/* The slot may have been another flow's before, and a first packet may be known only from the request. */
	if (used < flow->created_tick)
		used = stats->packets > 0 ? flow->created_tick : 0;
	stats->used_ns_ago = used == 0 ? UINT64_MAX : ns_since(used);
	stats->tcp_flags = slot_tcp_flags(flow->slot);
}

uint64_t xv_flows_sweep(void)
{
	uint64_t wanted = atomic_fetch_add(&xv_sweep_wanted, 1) + 1;

	xv_workers_wake();
	return wanted;
}

uint64_t xv_flows_swept(void)
{
	return xv_workers_swept();
}

/* ---- Table ---- */

static struct xv_flow *flow_of(struct xv_cls_rule *rule)
{
	return (struct xv_flow *)(void *)((uint8_t *)rule - offsetof(struct xv_flow, rule));
}

static void by_id_add(struct xv_flow *flow)
{
	flow->back_by_id = &by_id[flow->id % ID_BUCKETS];
	flow->next_by_id = *flow->back_by_id;
	if (flow->next_by_id != NULL)
		flow->next_by_id->back_by_id = &flow->next_by_id;
	*flow->back_by_id = flow;
}

static void by_id_del(struct xv_flow *flow)
{
	*flow->back_by_id = flow->next_by_id;
	if (flow->next_by_id != NULL)
		flow->next_by_id->back_by_id = flow->back_by_id;
}

int xv_flow_add(const struct xv_flow_spec *spec, struct xv_flow **flowp)
{
	const uint64_t *key = (const uint64_t *)(const void *)spec->key;
	const uint64_t *mask = (const uint64_t *)(const void *)spec->mask;
	struct xv_cls_rule *existing;
	struct xv_flow *flow;
	uint64_t packets, bytes, used;
	unsigned int i;
	int rc;

	if (n_free_slots == 0 && slots_fresh == XV_MAX_FLOWS)
		return -ENOSPC;
	flow = calloc(1, sizeof(*flow) +
				 xv_classifier_rule_words(xv_flow_classifier, mask) * sizeof(uint64_t));
	if (flow == NULL)
		return -ENOMEM;
	flow->slot = n_free_slots > 0 ? free_slots[n_free_slots - 1] : slots_fresh;
	slot_read(flow->slot, &packets, &bytes, &used);
	slot_clear_tcp_flags(flow->slot);
	flow->base_packets = spec->packets - packets;
	flow->base_bytes = spec->bytes - bytes;
	flow->carried_packets = spec->packets;
	flow->carried_bytes = spec->bytes;
	flow->created_tick = tick_now();
	flow->id = last_id + 1;
	flow->owner = spec->owner;
	snprintf(flow->origin, sizeof(flow->origin), "%s", spec->origin != NULL ? spec->origin : "");
	atomic_init(&flow->actions, spec->actions);
	rc = xv_classifier_insert(xv_flow_classifier, &flow->rule, key, mask, &existing);
	if (rc != 0) {
		free(flow);
		if (rc == -EEXIST)
			*flowp = flow_of(existing);
		return rc;
	}
	if (n_free_slots > 0)
		n_free_slots--;
	else
		slots_fresh++;
	if (flow->owner < XV_MAX_PORTS) {
		flow->next = owned[flow->owner];
		if (flow->next != NULL)
			flow->next->prev = flow;
		owned[flow->owner] = flow;
		n_owned[flow->owner]++;
	}
	for (i = 0; i < XV_DECISION_RULES; i++) {
		flow->counters[i] = spec->counters[i];
		xv_rule_counter_hold(spec->counters[i]);
	}
	last_id = flow->id;
	by_id_add(flow);
	n_flows++;
	*flowp = flow;
	return 0;
}

void xv_flow_set_actions(struct xv_flow *flow, struct xv_actions *actions)
{
	const struct xv_actions *old = atomic_exchange(&flow->actions, actions);

	/* A worker that is recording the old ones at this moment finds out when it links its trail. */
	xv_trails_cut(flow, false);
	xv_rcu_defer(free, (void *)(uintptr_t)old);
}

void xv_flow_del(struct xv_flow *flow)
{
	xv_classifier_remove(xv_flow_classifier, &flow->rule);
	xv_trails_cut(flow, true);
	by_id_del(flow);
	if (flow->owner < XV_MAX_PORTS) {
		if (flow->prev != NULL)
			flow->prev->next = flow->next;
		else
			owned[flow->owner] = flow->next;
		if (flow->next != NULL)
			flow->next->prev = flow->prev;
		n_owned[flow->owner]--;
	}
	n_flows--;
	/* The sweep that begins after this one has been asked for credits all that it has seen. */
	flow->died = atomic_load(&xv_sweep_wanted) + 1;
	flow->next = NULL;
	*dying_end = flow;
	dying_end = &flow->next;
}

void xv_flow_del_then(struct xv_flow *flow, void (*gone)(struct xv_flow *flow, void *arg), void *arg)
{
	flow->gone = gone;
	flow->gone_arg = arg;
	xv_flow_del(flow);
}

struct xv_flow *xv_flow_by_id(uint64_t id)
{
	struct xv_flow *flow = by_id[id % ID_BUCKETS];

	while (flow != NULL && flow->id != id)
		flow = flow->next_by_id;
	return flow;
}

struct xv_flow *xv_flow_peek(const struct xv_flow_key *key)
{
	struct xv_cls_rule *rule =
		xv_classifier_lookup(xv_flow_classifier, NULL, (const uint64_t *)(const void *)key);

	return rule != NULL ? flow_of(rule) : NULL;
}

void xv_flow_match(const struct xv_flow *flow, struct xv_flow_key *key, struct xv_flow_key *mask)
{
	xv_classifier_rule_get(xv_flow_classifier, &flow->rule, (uint64_t *)(void *)key, (uint64_t *)(void *)mask);
}

uint64_t xv_flows_refused(void)
{
	return n_refused;
}

unsigned int xv_flows_requested(void)
{
	return rte_ring_count(xv_flow_requests.wanted);
}

unsigned int xv_flows_count(void)
{
	return n_flows;
}

struct walk {
	void (*fn)(struct xv_flow *flow, void *arg);
	void *arg;
};

static void walked(struct xv_cls_rule *rule, void *arg)
{
	const struct walk *walk = arg;

	walk->fn(flow_of(rule), walk->arg);
}

bool xv_flows_walk(struct xv_cls_cursor *cursor, unsigned int max, void (*fn)(struct xv_flow *flow, void *arg), void *arg)
{
	struct walk walk = {fn, arg};

	return xv_classifier_walk(xv_flow_classifier, cursor, max, walked, &walk);
}

void xv_flows_invalidate_port(const struct xv_port *port)
{
	atomic_fetch_add(&xv_port_decisions[port->id], 1);
	while (owned[port->id] != NULL)
		xv_flow_del(owned[port->id]);
}

/* ---- Rules ---- */

static void carry(struct xv_flow *flow)
{
	uint64_t packets, bytes, used;
	unsigned int i;

	if (flow->counters[0] == XV_RULE_COUNTER_NONE && flow->counters[1] == XV_RULE_COUNTER_NONE)
		return;
	slot_read(flow->slot, &packets, &bytes, &used);
	packets += flow->base_packets;
	bytes += flow->base_bytes;
	for (i = 0; i < XV_DECISION_RULES; i++)
		xv_rule_counter_add(flow->counters[i], packets - flow->carried_packets, bytes - flow->carried_bytes);
	flow->carried_packets = packets;
	flow->carried_bytes = bytes;
}

static void carry_walked(struct xv_cls_rule *rule, void *arg)
{
	(void)arg;
	carry(flow_of(rule));
}

bool xv_flows_carry(struct xv_cls_cursor *cursor, unsigned int max)
{
	struct xv_flow *flow;

	if (xv_classifier_walk(xv_flow_classifier, cursor, max, carry_walked, NULL))
		return true;
	for (flow = dying; flow != NULL; flow = flow->next)
		carry(flow);
	return false;
}

/* ---- Housekeeping ---- */

static void install(const struct xv_flow_request *r)
{
	uint64_t program[XV_DECISION_WORDS];
	struct xv_flow_spec spec = {
		.key = &r->key,
		.mask = &r->mask,
		.owner = r->decision.owner,
		.origin = r->origin,
		.packets = 1,
		.bytes = r->bytes,
		.counters = {r->decision.by[0].counter, r->decision.by[1].counter},
	};
	struct xv_flow *flow;
	uint32_t bytes;
	int rc;

	/* Decided before what it was decided by changed. */
	if (atomic_load(&xv_port_decisions[r->decision.owner]) != r->decision.version)
		return;
	if (n_owned[r->decision.owner] >= XV_MAX_FLOWS_PER_PORT) {
		n_refused++;
		return;
	}
	bytes = xv_decision_program(&r->decision, program);
	spec.actions = malloc(sizeof(*spec.actions) + bytes);
	if (spec.actions == NULL)
		return;
	*spec.actions = (struct xv_actions){.bytes = bytes};
	memcpy(spec.actions->program, program, bytes);
	rc = xv_flow_add(&spec, &flow);
	if (rc == 0)
		return;
	free(spec.actions);
	if (rc == -EEXIST) { /* asked for several times before it was there */
		flow->base_packets++;
		flow->base_bytes += r->bytes;
		flow->carried_packets++;
		flow->carried_bytes += r->bytes;
	}
}

bool xv_flows_poll(void)
{
	unsigned int i;
	uint64_t swept;
	eventfd_t ignored;
	void *r;

	(void)eventfd_read(xv_flows_event_fd, &ignored);
	for (i = 0; i < REQUESTS_A_POLL && rte_ring_sc_dequeue(xv_flow_requests.wanted, &r) == 0; i++) {
		install(r);
		(void)rte_ring_sp_enqueue(xv_flow_requests.free, r);
	}
	swept = xv_flows_swept();
	while (dying != NULL && dying->died <= swept) {
		struct xv_flow *flow = dying;

		dying = flow->next;
		if (dying == NULL)
			dying_end = &dying;
		carry(flow);
		for (i = 0; i < XV_DECISION_RULES; i++)
			xv_rule_counter_release(flow->counters[i]);
		if (flow->gone != NULL)
			flow->gone(flow, flow->gone_arg);
		free_slots[n_free_slots++] = flow->slot;
		xv_rcu_defer(flow_free, flow);
	}
	/* Who waits to be freed waits for company: a sweep costs the workers the same for one as for thousands. */
	if (dying != NULL && atomic_load(&xv_sweep_wanted) < dying->died && ++polls_since_sweep >= SWEEP_POLLS) {
		polls_since_sweep = 0;
		(void)xv_flows_sweep();
	}
	return dying != NULL || rte_ring_count(xv_flow_requests.wanted) > 0;
}

struct aged {
	uint64_t idle_ns;
	unsigned int n;
	struct xv_flow *flows[AGED_A_TIME];
};

static void age_one(struct xv_flow *flow, void *arg)
{
	struct aged *aged = arg;
	struct xv_flow_stats stats;

	if (flow->owner == XV_FLOW_NO_OWNER || aged->n == AGED_A_TIME)
		return;
	carry(flow);
	xv_flow_get_stats(flow, &stats);
	if (stats.used_ns_ago > aged->idle_ns)
		aged->flows[aged->n++] = flow;
}

void xv_flows_set_fusing(bool on)
{
	atomic_store(&xv_fusing, on);
}

void xv_flows_age(uint64_t idle_ms)
{
	static struct xv_cls_cursor cursor;
	static struct aged aged;
	unsigned int i, left, deleted = 0;
	bool more;

	if (n_flows == 0)
		return;
	xv_classifier_rank(xv_flow_classifier);
	/* A part of the table each time: what was used is known from the sweep before. */
	aged.idle_ns = idle_ms * 1000000;
	left = RTE_MAX(AGED_A_TIME, n_flows / 4);
	for (more = true; more && left > 0 && deleted < AGED_MOST; left -= RTE_MIN(left, AGED_A_TIME)) {
		aged.n = 0;
		more = xv_flows_walk(&cursor, AGED_A_TIME, age_one, &aged);
		for (i = 0; i < aged.n; i++)
			xv_flow_del(aged.flows[i]);
		deleted += aged.n;
	}
	if (!more)
		cursor = (struct xv_cls_cursor){0};
	(void)xv_flows_sweep();
}
