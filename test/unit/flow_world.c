/* SPDX-License-Identifier: Apache-2.0 */
#include "flow_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_mbuf.h>
#include <rte_mempool.h>

#include "base/clock.h"
#include "fastpath/binding.h"
#include "fastpath/flow.h"
#include "fastpath/fused.h"
#include "fastpath/ledger.h"
#include "fastpath/live_trace.h"
#include "fastpath/bond.h"
#include "fastpath/meter.h"
#include "fastpath/worker.h"
#include "flow_connections.h"
#include "flow_program.h"
#include "flow_reference.h"
#include "flow_traffic.h"
#include "fastpath/worker_state.h"
#include "port/dummy.h"
#include "port/eal.h"
#include "table/rcu.h"

#define INPUTS	4
#define FLOWS	200
#define CONNS	50 /* of an input */
#define SEEN	16 /* packets that may be answered */

struct world {
	const struct flow_world_config *config;
	struct ref_world ref;
	struct flow_conn conns[INPUTS][CONNS];
	struct xv_worker *workers[2];
	struct xv_ledger base[INPUTS];
	struct flow_world_stats *stats;
	struct ref_packet packet;
	struct flow_dialogue dialogues[INPUTS][CONNS];
	struct {
		uint32_t len;
		uint8_t bytes[2048];
	} seen[SEEN];
	uint64_t drops; /* of the reference, until the last burst */
	char failure[512];
};

/* What a live trace has told. */
struct live {
	uint64_t packets, sent, drops;
	bool missed;
};

static struct xv_port *ports[FLOW_PORTS];
static struct world world; /* large */
static struct xv_conntrack *ref_ct;

static uint32_t hash(const struct xv_flow_key *key, uint32_t basis, bool symmetric)
{
	return xv_flow_hash_5tuple(key, basis, symmetric);
}

static uint32_t now_ms(void)
{
	return xv_clock_ms(xv_clock_cycles());
}

int flow_world_init(void)
{
	struct xv_eal_config config = {.memory_mb = 64};
	uint16_t i;
	int rc;

	xv_clock_init(0);
	xv_clock_stop();
	xv_worker_configure(&(struct xv_worker_settings){.batch = 1});
	rc = xv_eal_init(&config, NULL);
	if (rc == 0)
		rc = xv_rcu_init();
	if (rc == 0)
		rc = xv_flows_init();
	for (i = 0; rc == 0 && i < FLOW_PORTS; i++) {
		struct xv_port_config port = {.kind = XV_PORT_DUMMY, .queues = 1};
		struct xv_binding *binding = calloc(1, sizeof(*binding));

		snprintf(port.name, sizeof(port.name), "p%u", i);
		rc = xv_port_create(&port, i, NULL, &ports[i], NULL);
		binding->forward = XV_FORWARD_FLOWS;
		/* As on networks with firewalls, where first packets of connections have entries: most ct actions are of that zone. */
		binding->tracked = true;
		binding->zone = 1;
		if (rc == 0)
			xv_port_bind(ports[i], binding);
		if (rc == 0 && i == FLOW_PORTS - 1)
			xv_dummy_set_up(ports[i], false);
	}
	if (rc == 0)
		rc = flow_connections_create(now_ms(), &ref_ct);
	world.ref.bytes = malloc(REF_BYTES);
	return rc != 0 || world.ref.bytes == NULL ? -1 : 0;
}

static uint32_t rnd(uint32_t n)
{
	return rnd_below(&flow_source.rnd, n);
}

static bool chance(uint32_t percent)
{
	return rnd(100) < percent;
}

static bool fail(const char *what)
{
	fprintf(stderr,
		"flow world: %s\n  again: --seed %llu --packets %u --workers %u --entries %u --fusing %d --avx512 %d\n",
		what, (unsigned long long)world.config->seed, world.config->packets, world.config->workers,
		world.config->entries, world.config->fusing, world.config->avx512);
	return false;
}

/* ---- Flows ---- */

static bool overlaps_any(const struct xv_flow_key *key, const struct xv_flow_key *mask)
{
	unsigned int i;

	for (i = 0; i < world.ref.n_flows; i++)
		if (ref_overlaps(key, mask, world.ref.flows[i]))
			return true;
	return false;
}

/* A flow for packets with this key. Nothing happens if it cannot be told from those that are there. */
static bool add_flow(const struct xv_flow_key *key)
{
	struct xv_flow_key mask;
	struct xv_flow_spec spec = {.key = key, .mask = &mask, .owner = XV_FLOW_NO_OWNER, .origin = "test"};
	struct ref_flow *flow;
	struct xv_flow *engine;
	unsigned int tries = 0;

	if (world.ref.n_flows >= FLOWS)
		return true;
	do {
		if (tries++ == 8)
			return true;
		flow_mask_for(&mask, key);
	} while (overlaps_any(key, &mask));
	flow = calloc(1, sizeof(*flow));
	flow->key = *key;
	flow->mask = mask;
	flow->program = flow_program_for(key, &mask, &spec.actions);
	if (xv_flow_add(&spec, &engine) != 0)
		return fail("a flow is refused");
	flow->user = engine;
	world.ref.flows[world.ref.n_flows++] = flow;
	world.stats->flows++;
	return true;
}

static void run_workers(void)
{
	unsigned int i;

	for (i = 0; i < world.config->workers; i++)
		(void)xv_worker_run_once(world.workers[i]);
}

/* Those that it has replaced have counted all that they will. */
static bool have_gone(const struct ref_flow *flow)
{
	unsigned int i;

	for (i = 0; flow->going > 0 && i < 4000; i++) {
		(void)xv_flows_poll();
		run_workers();
		(void)xv_rcu_poll();
	}
	return flow->going == 0;
}

static void forget_flow(unsigned int i)
{
	struct ref_flow *flow = world.ref.flows[i];

	xv_flow_del(flow->user);
	if (!have_gone(flow))
		abort();
	ref_program_free(flow->program);
	free(flow);
	world.ref.flows[i] = world.ref.flows[--world.ref.n_flows];
}

/* After a sweep: both tables have the same connections, as they should be. */
static bool check_connections(void)
{
	unsigned int n;

	if (!flow_connections_are_same(ref_ct, now_ms(), &n))
		return fail("connections are not what they should be (expected in brackets)");
	world.stats->connections += n;
	if (n > 0 && chance(10))
		flow_connections_delete(ref_ct, now_ms(), rnd(n));
	return true;
}

/* Some are over, and another one begins between the same ends, from another port. */
static void begin_anew(void)
{
	unsigned int i;

	for (i = 0; i < 3; i++) {
		unsigned int p = 2 * rnd(INPUTS / 2), conn = rnd(1 + rnd(1 + rnd(CONNS)));
		struct flow_conn *c = &world.conns[p][conn], *other = &world.conns[p + 1][conn];

		if (c->kind != CONN_TCP4 && c->kind != CONN_UDP4 && c->kind != CONN_TCP6 && c->kind != CONN_UDP6)
			continue;
		c->tp_src = other->tp_dst = (uint16_t)(1024 + rnd(60000));
		memset(&world.dialogues[p][conn], 0, sizeof(world.dialogues[p][conn]));
	}
}

/* Time passes, connections end. */
static void let_expire(void)
{
	uint32_t n = rnd(200);

	if (n < 12)
		xv_clock_warp_ms(1000 + rnd(9000));
	if (n == 12)
		xv_clock_warp_ms(20000 + rnd(200000));
	if (n >= 10 && n < 25) {
		(void)xv_conntrack_expire(xv_flow_conntrack, now_ms());
		(void)xv_conntrack_expire(ref_ct, now_ms());
	}
	if (n == 30) {
		(void)xv_conntrack_flush(xv_flow_conntrack, now_ms(), NULL, NULL);
		(void)xv_conntrack_flush(ref_ct, now_ms(), NULL, NULL);
	}
}

/* What the flows do for which there are entries. What is in a check_len is not always done. */
static void note_kinds(const struct ref_program *program)
{
	unsigned int i;

	for (i = 0; i < program->n; i++) {
		const struct ref_action *a = &program->actions[i];

		world.stats->kinds[a->type]++;
		if (a->type == XV_ACT_OUTPUT && i < program->n - 1)
			world.stats->several++;
		if (a->type == XV_ACT_CLONE || (a->type == XV_ACT_SAMPLE && a->arg != 0))
			note_kinds(a->inner);
	}
}

static void note_fused(void)
{
	unsigned int i, w;

	for (i = 0; i < world.ref.n_flows; i++)
		for (w = 0; w < world.config->workers; w++)
			if (xv_worker_fused_with(world.workers[w], world.ref.flows[i]->user) > 0) {
				const struct xv_flow_key *key = &world.ref.flows[i]->key;

				world.stats->popped += key->in_port >= FLOW_POPPED;
				world.stats->gre += key->in_port >= FLOW_POPPED && key->tun_tp_dst == 0;
				world.stats->labelled += key->recirc_id == 0 && key->mpls_depth > 0;
				note_kinds(world.ref.flows[i]->program);
			}
}

/* Meters let through what they may at once, and no more until time moves. */
static void renew_meters(void)
{
	unsigned int i;

	for (i = 0; i < REF_METERS; i++) {
		if (xv_meter_set(i, i % 2 == 0 ? 1 : 0, i % 2 == 0 ? 0 : 1, 1) != 0)
			abort();
		world.ref.meters[i] = i % 2 == 0 ? (struct ref_meter){64, INT64_MAX} : (struct ref_meter){INT64_MAX, 128 * 1024 * 8};
	}
}

/* Now and then members of bonds become others, some of them none. */
static void change_bonds(void)
{
	unsigned int i, bucket;

	for (i = 0; i < REF_BONDS; i++) {
		for (bucket = 0; bucket < REF_BUCKETS; bucket++)
			world.ref.bonds[i][bucket] = chance(90) ? (uint16_t)rnd(FLOW_PORTS) : XV_MAX_PORTS;
		xv_bond_set(flow_source.bonds[i], world.ref.bonds[i]);
	}
}

static uint64_t bond_bytes(unsigned int i)
{
	uint64_t bytes[XV_BOND_BUCKETS], all = 0;
	unsigned int bucket;

	xv_bond_get_bytes(flow_source.bonds[i], bytes);
	for (bucket = 0; bucket < XV_BOND_BUCKETS; bucket++)
		all += bytes[bucket];
	return all;
}

static bool check_counters(void)
{
	uint64_t sweep = xv_flows_sweep();
	unsigned int i;

	for (i = 0; i < REF_BONDS; i++)
		if (bond_bytes(i) != world.ref.bond_bytes[i])
			return fail("a bond's counters are wrong");

	note_fused();
	for (i = 0; i < 4000 && xv_flows_swept() < sweep; i++)
		run_workers();
	if (xv_flows_swept() < sweep)
		return fail("a sweep does not end");
	for (i = 0; i < world.ref.n_flows; i++) {
		const struct ref_flow *flow = world.ref.flows[i];
		struct xv_flow_stats stats;

		if (!have_gone(flow))
			return fail("a flow does not go");
		xv_flow_get_stats(flow->user, &stats);
		stats.packets += flow->gone_packets;
		stats.bytes += flow->gone_bytes;
		stats.tcp_flags |= flow->gone_tcp_flags;
		if (stats.packets == flow->packets && stats.bytes == flow->bytes && stats.tcp_flags == flow->tcp_flags)
			continue;
		fprintf(stderr, "flow of recirculation %u, input %u, type %04x: %llu packets, %llu bytes, %x; expected %llu, %llu, %x\n",
			flow->key.recirc_id, flow->key.in_port, rte_be_to_cpu_16(flow->key.eth_type),
			(unsigned long long)stats.packets, (unsigned long long)stats.bytes, stats.tcp_flags,
			(unsigned long long)flow->packets, (unsigned long long)flow->bytes, flow->tcp_flags);
		return fail("a flow's counters are wrong");
	}
	return !flow_source.tracking || check_connections();
}

/* ---- Changes inside bursts ---- */

/* Between two packets of a burst, or between two copies of one. */
static void (*inside)(void);

void __real_xv_pipeline_output(struct xv_worker *w, struct xv_port *out, const struct xv_binding *binding, uint16_t queue,
			       struct rte_mbuf **pkts, uint16_t n);
void __wrap_xv_pipeline_output(struct xv_worker *w, struct xv_port *out, const struct xv_binding *binding, uint16_t queue,
			       struct rte_mbuf **pkts, uint16_t n);
void __wrap_xv_pipeline_output(struct xv_worker *w, struct xv_port *out, const struct xv_binding *binding, uint16_t queue,
			       struct rte_mbuf **pkts, uint16_t n)
{
	__real_xv_pipeline_output(w, out, binding, queue, pkts, n);
	if (inside != NULL)
		inside();
}

void __real_xv_packet_drop(struct xv_worker *w, struct rte_mbuf *m, enum xv_drop reason);
void __wrap_xv_packet_drop(struct xv_worker *w, struct rte_mbuf *m, enum xv_drop reason);
void __wrap_xv_packet_drop(struct xv_worker *w, struct rte_mbuf *m, enum xv_drop reason)
{
	__real_xv_packet_drop(w, m, reason);
	if (inside != NULL)
		inside();
}

/* An engine's flow has counted all that it will. */
static void gone(struct xv_flow *engine, void *arg)
{
	struct ref_flow *flow = arg;
	struct xv_flow_stats stats;

	xv_flow_get_stats(engine, &stats);
	flow->gone_packets += stats.packets;
	flow->gone_bytes += stats.bytes;
	flow->gone_tcp_flags |= stats.tcp_flags;
	flow->going--;
}

/*
 * A flow gets other actions, or makes way for another one, that do the same: which of the two a packet of this burst meets is not to
 * be seen, but that it meets one of them, once, and that both together count it.
 */
static void change_inside(void)
{
	struct ref_flow *flow;

	if (world.ref.n_flows == 0 || !chance(10))
		return;
	flow = world.ref.flows[rnd(world.ref.n_flows)];
	if (chance(50)) {
		xv_flow_set_actions(flow->user, flow_program_compile(flow->program));
	} else {
		struct xv_flow_spec spec = {.key = &flow->key, .mask = &flow->mask, .owner = XV_FLOW_NO_OWNER, .origin = "test",
					    .actions = flow_program_compile(flow->program)};
		struct xv_flow *engine;

		xv_flow_del_then(flow->user, gone, flow);
		flow->going++;
		if (xv_flow_add(&spec, &engine) != 0)
			abort();
		flow->user = engine;
	}
	world.stats->inside++;
}

/* Flows come, change and go. */
static bool change_flows(void)
{
	bool busy = world.config->seed % 2 == 0;
	unsigned int i;

	for (i = 0; i < world.ref.n_misses; i++)
		if (!add_flow(&world.ref.misses[i]))
			return false;
	if (world.ref.n_flows > 0 && chance(busy ? 15 : 2)) {
		struct ref_flow *flow = world.ref.flows[rnd(world.ref.n_flows)];
		struct xv_actions *actions;
		struct ref_program *program = flow_program_for(&flow->key, &flow->mask, &actions);

		ref_program_free(flow->program);
		flow->program = program;
		xv_flow_set_actions(flow->user, actions);
		world.stats->changes++;
	}
	if (world.ref.n_flows > FLOWS / 2 && chance(busy ? 15 : 2)) {
		if (chance(30) && !check_counters())
			return false;
		forget_flow(rnd(world.ref.n_flows));
		world.stats->changes++;
	}
	return true;
}

/* ---- Packets ---- */

static struct rte_mbuf *to_mbuf(const struct ref_packet *p)
{
	const uint8_t *bytes = p->bytes + p->start;
	struct rte_mbuf *head = NULL, *m;
	uint32_t at = 0, n;

	do {
		m = rte_pktmbuf_alloc(xv_packet_pool());
		if (m == NULL)
			return NULL;
		/* Headers lie in one piece, those in tunnels, too; what is behind may not. */
		n = p->len - at;
		if (n > 300 && chance(60))
			n = 300 + rnd(n - 300);
		memcpy(rte_pktmbuf_append(m, (uint16_t)n), bytes + at, n);
		at += n;
		if (head == NULL)
			head = m;
		else if (rte_pktmbuf_chain(head, m) != 0)
			return NULL;
	} while (at < p->len);
	if (p->request) {
		*xv_packet_offload(head) = (struct xv_offload){
			.flags = XV_OFFLOAD_CSUM, .csum_start = p->csum_start, .csum_offset = p->csum_offset};
		head->ol_flags |= XV_PACKET_OFFLOAD;
	}
	return head;
}

static void dump(const char *what, const uint8_t *bytes, uint32_t len)
{
	uint32_t i;

	fprintf(stderr, "%s (%u bytes):", what, len);
	for (i = 0; i < len && i < 160; i++)
		fprintf(stderr, "%s%02x", i % 2 == 0 ? " " : "", bytes[i]);
	fprintf(stderr, "\n");
}

/* What came out of a port is what the reference says, in this order. */
static bool check_port(uint16_t port)
{
	uint8_t got[REF_ROOM];
	struct rte_mbuf *m;
	unsigned int i;
	const char *why;

	for (i = 0; i < world.ref.n_outputs; i++) {
		const struct ref_output *out = &world.ref.outputs[i];
		const uint8_t *expected = world.ref.bytes + out->at;
		const uint8_t *bytes;
		uint32_t len;

		if (out->port != port)
			continue;
		world.stats->outputs++;
		m = xv_dummy_take(ports[port]);
		if (m == NULL) {
			dump("missing", expected, out->len);
			return fail("a packet did not come out");
		}
		if (rte_mbuf_check(m, 1, &why) != 0)
			return fail(why);
		if ((m->ol_flags & XV_PACKET_OFFLOAD) != 0)
			return fail("a request was left to a port that takes none");
		len = m->pkt_len;
		bytes = rte_pktmbuf_read(m, 0, RTE_MIN(len, (uint32_t)sizeof(got)), got);
		if (len != out->len || memcmp(bytes, expected, len) != 0) {
			fprintf(stderr, "port %u, packet %u of %u results:\n", port, i, world.ref.n_outputs);
			dump("expected", expected, out->len);
			dump("got     ", bytes, len);
			return fail("a packet is another one than it should be");
		}
		rte_pktmbuf_free(m);
	}
	m = xv_dummy_take(ports[port]);
	if (m != NULL) {
		dump("too much", rte_pktmbuf_mtod(m, const uint8_t *), m->data_len);
		return fail("a packet came out that should not");
	}
	return true;
}

static bool check_ledgers(void)
{
	unsigned int i, r, wrong = 0;

	for (i = 0; i < INPUTS; i++) {
		const struct xv_ledger *base = &world.base[i];
		struct xv_ledger l;

		xv_ledger_read(ports[i], &l);
		for (r = 0; r < XV_DROP_MAX; r++)
			if (l.drops[r] - base->drops[r] != world.ref.drops[i][r]) {
				fprintf(stderr, "port %u: %llu drops for %s, expected %llu\n", i,
					(unsigned long long)(l.drops[r] - base->drops[r]), xv_drop_info[r].name,
					(unsigned long long)world.ref.drops[i][r]);
				wrong++;
			}
		if (wrong > 0) {
			fprintf(stderr, "port %u: %llu copies, expected %llu; %llu forwarded, expected %llu\n", i,
				(unsigned long long)(l.copies - base->copies), (unsigned long long)world.ref.copies[i],
				(unsigned long long)(l.forwarded - base->forwarded), (unsigned long long)world.ref.forwarded[i]);
			return fail("drops are wrong");
		}
		if (l.rx_packets - base->rx_packets != world.ref.packets[i] ||
		    l.copies - base->copies != world.ref.copies[i] ||
		    l.forwarded - base->forwarded != world.ref.forwarded[i] || l.held != base->held)
			return fail("the ledger is wrong");
	}
	return true;
}

/* ---- A live trace tells how each packet ends ---- */

static void followed(const struct xv_live_record *record, void *arg)
{
	const struct xv_live_step *step = (const struct xv_live_step *)(const void *)record->steps;
	const uint8_t *end = (const uint8_t *)record->steps + record->steps_bytes;
	struct live *live = arg;

	live->packets += !record->late;
	live->missed |= record->steps_missed > 0;
	for (; (const uint8_t *)step < end; step = xv_live_step_next(step)) {
		live->sent += step->stage == XV_LIVE_SENT;
		live->drops += step->stage == XV_LIVE_DROP;
	}
}

static bool check_live(void)
{
	struct live live = {0};
	uint64_t drops = 0, missed;
	unsigned int i;

	if (!world.config->live)
		return true;
	(void)xv_live_trace_take(UINT32_MAX, followed, &live, &missed);
	for (i = 0; i < INPUTS * XV_DROP_MAX; i++)
		drops += world.ref.drops[i / XV_DROP_MAX][i % XV_DROP_MAX];
	world.stats->followed += live.packets;
	if (missed == 0 && !live.missed && (live.sent != world.ref.n_outputs || live.drops != drops - world.drops)) {
		fprintf(stderr, "%llu sent, %llu dropped; expected %u, %llu\n", (unsigned long long)live.sent,
			(unsigned long long)live.drops, world.ref.n_outputs, (unsigned long long)(drops - world.drops));
		return fail("the live trace does not tell what became of a packet");
	}
	world.drops = drops;
	return true;
}

/* A packet that answers one of those that came out. */
static bool answer(void)
{
	unsigned int i = rnd(SEEN);

	return world.seen[i].len > 0 && flow_answer(world.seen[i].bytes, world.seen[i].len, &world.packet);
}

static void remember_outputs(void)
{
	unsigned int i;

	for (i = 0; i < SEEN && world.ref.n_outputs > 0; i++) {
		const struct ref_output *out = &world.ref.outputs[rnd(world.ref.n_outputs)];

		if (!chance(30) || out->len > sizeof(world.seen[i].bytes))
			continue;
		world.seen[i].len = out->len;
		memcpy(world.seen[i].bytes, world.ref.bytes + out->at, out->len);
	}
}

/* Connection tracking holds fragments until their datagram is whole: test_ct_fragments.c. */
static bool is_fragment(const struct ref_packet *p)
{
	struct xv_flow_layout layout;
	struct xv_flow_key key;

	memset(&key, 0, sizeof(key));
	return xv_flow_extract(p->bytes + p->start, (uint16_t)p->len, p->len, &key, &layout) == XV_FLOW_OK && key.ip_frag != XV_FRAG_NONE;
}

static bool burst(void)
{
	unsigned int i, n[INPUTS], p, conn = 0;

	if (world.ref.now_ms != now_ms())
		renew_meters();
	if (chance(5))
		change_bonds();
	world.ref.now_ms = now_ms();
	for (p = 0; p < INPUTS; p++) {
		n[p] = chance(50) ? rnd(8) : rnd(33);
		for (i = 0; i < n[p]; i++) {
			struct rte_mbuf *m;

			if (i == 0 || chance(60))
				conn = rnd(1 + rnd(1 + rnd(CONNS)));
			if (!flow_source.tracking || !chance(20) || !answer())
				flow_conn_packet(&flow_source.rnd, &world.conns[p][conn], &world.packet);
			if (flow_source.tracking && is_fragment(&world.packet))
				continue;
			m = to_mbuf(&world.packet);
			if (m == NULL || xv_dummy_put(ports[p], 0, m) != 0)
				return fail("no room for a packet");
			world.stats->packets++;
			ref_run(&world.ref, (uint16_t)p, &world.packet);
		}
	}
	inside = world.config->seed % 2 == 0 ? change_inside : NULL;
	run_workers();
	run_workers();
	inside = NULL;
	for (p = 0; p < FLOW_PORTS; p++)
		if (!check_port((uint16_t)p)) {
			(void)check_ledgers(); /* may say why */
			return false;
		}
	return check_ledgers() && check_live();
}

static bool run_world(void)
{
	uint64_t end = world.stats->packets + world.config->packets;
	unsigned int i;

	for (i = 0; world.stats->packets < end; i++) {
		ref_clear_results(&world.ref);
		if (!burst() || !change_flows())
			return false;
		if (flow_source.tracking) {
			remember_outputs();
			let_expire();
			begin_anew();
		}
		if (i % 16 == 15 && !check_counters())
			return false;
		if (chance(20))
			xv_clock_warp_ms(rnd(40));
		(void)xv_flows_poll();
		(void)xv_rcu_poll();
	}
	return check_counters();
}

bool flow_world_run(const struct flow_world_config *config, struct flow_world_stats *stats)
{
	unsigned int i, buffers = rte_mempool_avail_count(xv_packet_pool());
	struct xv_queue_ref refs[INPUTS];
	uint8_t *bytes = world.ref.bytes;
	const struct xv_live_config all = {.port = XV_LIVE_ANY_PORT, .bytes = 64, .rate = 1000000000};
	struct xv_fused_stats fused;
	uint32_t base;
	bool good;

	memset(&world, 0, sizeof(world));
	world.ref.bytes = bytes;
	world.config = config;
	flow_source.rnd.state = config->seed;
	world.stats = stats;
	flow_source.refused = 0;
	world.ref.hash = hash;
	for (i = 0; i < REF_BONDS; i++)
		if (xv_bond_create(world.ref.bonds[i], &flow_source.bonds[i]) != 0)
			return fail("no bond");
	change_bonds();
	for (i = 0; i < FLOW_PORTS - 1; i++)
		world.ref.port_up[i] = true;
	world.ref.ct = ref_ct;
	flow_source.tracking = config->seed % 3 == 0;
	(void)xv_conntrack_flush(xv_flow_conntrack, now_ms(), NULL, NULL);
	(void)xv_conntrack_flush(ref_ct, now_ms(), NULL, NULL);
	for (i = 0; i < INPUTS * CONNS; i++)
		if (!flow_source.tracking)
			flow_conn_init(&flow_source.rnd, &world.conns[i / CONNS][i % CONNS]);
		else if (i / CONNS % 2 == 0)
			flow_conn_init_pair(&flow_source.rnd, &world.conns[i / CONNS][i % CONNS],
					    &world.conns[i / CONNS + 1][i % CONNS],
					    &world.dialogues[i / CONNS][i % CONNS]);
	xv_fused_entries = config->entries;
	xv_fused_use_avx512 = config->avx512;
	xv_flows_set_fusing(config->fusing);
	for (i = 0; i < config->workers; i++) {
		unsigned int share = INPUTS / config->workers, q;

		if (xv_worker_create("world", -1, true, &world.workers[i], NULL) != 0)
			return fail("no worker");
		for (q = 0; q < share; q++)
			refs[q] = (struct xv_queue_ref){ports[i * share + q], 0};
		if (xv_worker_set_queues(world.workers[i], refs, share) != 0)
			return fail("no queues");
	}
	for (i = 0; i < INPUTS; i++)
		xv_ledger_read(ports[i], &world.base[i]);

	if (config->live && xv_live_trace_start(&all, &base) != 0)
		return fail("no live trace");
	i = (unsigned int)stats->packets;
	good = run_world();
	stats->refused += flow_source.refused;
	stats->tracked += flow_source.tracking ? (unsigned int)stats->packets - i : 0;
	if (config->live)
		xv_live_trace_stop();

	for (i = 0; i < config->workers; i++) {
		xv_fused_get_stats(xv_worker_fused(world.workers[i]), &fused);
		stats->hits += fused.hits;
		stats->inserted += fused.inserted;
		stats->evicted += fused.evicted;
		stats->programs += fused.programs;
		stats->first_hits += fused.first_hits;
		stats->tracked_hits += flow_source.tracking ? fused.hits : 0;
	}
	for (i = 0; i < INPUTS * XV_DROP_MAX; i++)
		stats->drops += world.ref.drops[i / XV_DROP_MAX][i % XV_DROP_MAX];
	if (!good)
		return false;
	while (world.ref.n_flows > 0)
		forget_flow(world.ref.n_flows - 1);
	for (i = 0; i < 4000 && xv_flows_poll(); i++)
		run_workers();
	if (xv_flows_count() != 0 || i == 4000)
		return fail("flows do not go");
	for (i = 0; i < config->workers; i++) {
		if (!xv_fused_is_empty(xv_worker_fused(world.workers[i])))
			return fail("entries are left of flows that are gone");
		(void)xv_worker_set_queues(world.workers[i], NULL, 0);
		xv_worker_destroy(world.workers[i]);
	}
	for (i = 0; i < REF_BONDS; i++)
		xv_bond_destroy(flow_source.bonds[i]);
	xv_rcu_synchronize();
	(void)xv_rcu_poll();
	if (rte_mempool_avail_count(xv_packet_pool()) != buffers)
		return fail("packet buffers are lost");
	return true;
}
