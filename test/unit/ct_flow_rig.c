/* SPDX-License-Identifier: Apache-2.0 */
#include "ct_flow_rig.h"

#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_mbuf.h>

#include "base/clock.h"
#include "fastpath/flow.h"
#include "fastpath/fused.h"
#include "fastpath/ledger.h"
#include "port/dummy.h"
#include "port/eal.h"
#include "table/rcu.h"

struct ct_rig ct_rig;

const struct ct_frame ct_rig_question = {
	.proto = 17, .src = 0x0a000001, .dst = 0x0a000002, .sport = 1000, .dport = 80, .payload = 20};

int ct_rig_group_setup(void **state)
{
	struct xv_eal_config config = {.memory_mb = 64};

	(void)state;
	xv_clock_init(0);
	xv_clock_stop();
	xv_worker_configure(&(struct xv_worker_settings){.batch = 1});
	return xv_eal_init(&config, NULL) != 0 || xv_rcu_init() != 0;
}

int ct_rig_setup(void **state)
{
	struct xv_queue_ref refs[PORTS];
	uint16_t i;

	(void)state;
	assert_int_equal(xv_flows_init(), 0);
	assert_int_equal(xv_worker_create("test", -1, true, &ct_rig.worker, NULL), 0);
	assert_int_equal(xv_network_create("net", 300, 64, &ct_rig.network), 0);
	for (i = 0; i < PORTS; i++) {
		struct xv_port_config config = {.kind = XV_PORT_DUMMY, .queues = 1};

		snprintf(config.name, sizeof(config.name), "p%u", i);
		assert_int_equal(xv_port_create(&config, i, NULL, &ct_rig.ports[i], NULL), 0);
		xv_ledger_reset(i);
		refs[i] = (struct xv_queue_ref){ct_rig.ports[i], 0};
	}
	assert_int_equal(xv_network_set_members(ct_rig.network, ct_rig.ports, PORTS), 0);
	assert_int_equal(xv_worker_set_queues(ct_rig.worker, refs, PORTS), 0);
	return 0;
}

void ct_rig_run(void)
{
	unsigned int i;

	for (i = 0; i < 4; i++)
		(void)xv_worker_run_once(ct_rig.worker);
}

void ct_rig_settle(void)
{
	unsigned int i;

	for (i = 0; i < 1000 && xv_flows_poll(); i++)
		ct_rig_run();
	assert_true(i < 1000);
}

uint32_t ct_rig_now_ms(void)
{
	return xv_clock_ms(xv_clock_cycles());
}

unsigned int ct_rig_taken(unsigned int port)
{
	struct rte_mbuf *m;
	unsigned int n = 0;

	for (; (m = xv_dummy_take(ct_rig.ports[port])) != NULL; n++)
		rte_pktmbuf_free(m);
	return n;
}

int ct_rig_teardown(void **state)
{
	unsigned int i, d;

	(void)state;
	assert_int_equal(xv_worker_set_queues(ct_rig.worker, NULL, 0), 0);
	for (i = 0; i < PORTS; i++) {
		struct xv_ledger l;
		uint64_t drops = 0;

		(void)ct_rig_taken(i);
		xv_port_bind(ct_rig.ports[i], NULL);
		xv_workers_forget_port(ct_rig.ports[i]);
		xv_ledger_read(ct_rig.ports[i], &l);
		for (d = 0; d < XV_DROP_MAX; d++)
			drops += l.drops[d];
		assert_int_equal(l.rx_packets + l.copies, l.forwarded + l.punts + drops + l.held);
	}
	ct_rig_settle();
	for (i = 0; i < PORTS; i++)
		xv_port_destroy(ct_rig.ports[i]);
	xv_network_destroy(ct_rig.network);
	xv_worker_destroy(ct_rig.worker);
	xv_flows_fini();
	xv_rcu_synchronize();
	(void)xv_rcu_poll();
	return 0;
}

/* From port 0 to port 1, or back. */
void ct_rig_send(const struct ct_frame *f)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(xv_packet_pool());
	unsigned int port = f->src == ct_rig_question.src ? 0 : 1;
	struct ct_packet p;
	uint8_t *bytes;

	assert_non_null(m);
	ct_packet_make(&p, f, 0);
	bytes = (uint8_t *)rte_pktmbuf_append(m, p.m.data_len);
	memcpy(bytes, p.bytes, p.m.data_len);
	memcpy(bytes, (const uint8_t[]){2, 0, 0, 0, 0, port == 0 ? 0xb : 0xa, 2, 0, 0, 0, 0, port == 0 ? 0xa : 0xb}, 12);
	assert_int_equal(xv_dummy_put(ct_rig.ports[port], 0, m), 0);
	ct_rig_run();
}

void ct_rig_ask(unsigned int n)
{
	while (n-- > 0)
		ct_rig_send(&ct_rig_question);
}

void ct_rig_answer(unsigned int n)
{
	struct ct_frame back = ct_frame_reply(&ct_rig_question);

	while (n-- > 0)
		ct_rig_send(&back);
}

uint64_t ct_rig_hits(void)
{
	struct xv_fused_stats stats;

	xv_fused_get_stats(xv_worker_fused(ct_rig.worker), &stats);
	return stats.hits;
}

uint64_t ct_rig_first_hits(void)
{
	struct xv_fused_stats stats;

	xv_fused_get_stats(xv_worker_fused(ct_rig.worker), &stats);
	return stats.first_hits;
}

uint64_t ct_rig_inserted(void)
{
	struct xv_fused_stats stats;

	xv_fused_get_stats(xv_worker_fused(ct_rig.worker), &stats);
	return stats.inserted;
}

void ct_rig_sweep(void)
{
	uint64_t wanted = xv_flows_sweep();
	unsigned int i;

	for (i = 0; i < 4000 && xv_flows_swept() < wanted; i++)
		ct_rig_run();
	assert_true(xv_flows_swept() >= wanted);
}

uint64_t ct_rig_dropped(unsigned int port, enum xv_drop reason)
{
	struct xv_ledger l;

	xv_ledger_read(ct_rig.ports[port], &l);
	return l.drops[reason];
}

void ct_rig_bind_network(unsigned int port, const struct xv_firewall *firewall)
{
	struct xv_binding *b = calloc(1, sizeof(*b));

	b->forward = XV_FORWARD_NETWORK;
	b->network = ct_rig.network;
	b->firewall = firewall;
	b->tracked = true;
	b->zone = ZONE;
	xv_port_bind(ct_rig.ports[port], b);
}
