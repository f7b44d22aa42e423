/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `trace` says of a packet is what the engine then does with it: dummy ports, a worker without a thread, a stopped
 * clock. By hand for each verdict, then with random configurations and packets.
 */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_mbuf.h>
#include <rte_mempool.h>

#include "base/clock.h"
#include "control/trace.h"
#include "control/trace_packet.h"
#include "fastpath/flow.h"
#include "fastpath/ledger.h"
#include "fastpath/network.h"
#include "fastpath/policy.h"
#include "fastpath/worker.h"
#include "port/dummy.h"
#include "port/eal.h"
#include "table/rcu.h"

#define PORTS 6
#define FRAME_MAX 1600
#define ROUNDS 150
#define PACKETS_A_ROUND 40

static struct {
	struct xv_worker *worker;
	struct xv_network *network;
	struct xv_port *ports[PORTS];
	struct xv_host host;
	struct xv_host_port host_ports[PORTS];
	struct xv_policy *policies[4];
	unsigned int mbufs_before;
} rig;

static struct xv_policy *policy_of(const char *name, const struct xv_policy_rule *rule, enum xv_verdict otherwise)
{
	struct xv_policy *p;

	assert_int_equal(xv_policy_create(name, rule, 1, otherwise, &p), 0);
	return p;
}

static void make_policies(void)
{
	struct xv_policy_rule rule;

	xv_policy_rule_init(&rule);
	rule.has_proto = true;
	rule.proto = 17;
	rule.dst_port_min = rule.dst_port_max = 99;
	snprintf(rule.name, sizeof(rule.name), "no-99");
	rig.policies[0] = policy_of("ports", &rule, XV_POLICY_ALLOW);
	xv_policy_rule_init(&rule);
	rule.verdict = XV_POLICY_ALLOW;
	rule.vlan = 10;
	rig.policies[1] = policy_of("vlans", &rule, XV_POLICY_DENY);
	xv_policy_rule_init(&rule);
	memcpy(rule.eth_src, (const uint8_t[]){2, 0, 0, 0, 0, 1}, 6);
	memset(rule.eth_src_mask, 0xff, 6);
	rig.policies[2] = policy_of("macs", &rule, XV_POLICY_ALLOW);
	xv_policy_rule_init(&rule);
	rule.verdict = XV_POLICY_ALLOW;
	rule.has_proto = true;
	rule.proto = 6;
	rig.policies[3] = policy_of("tcp", &rule, XV_POLICY_DENY);
}

static int group_setup(void **state)
{
	struct xv_eal_config config = {.memory_mb = 64};

	(void)state;
	xv_clock_init(0);
	xv_clock_stop();
	xv_worker_configure(&(struct xv_worker_settings){.batch = 1});
	return xv_eal_init(&config, NULL) != 0 || xv_rcu_init() != 0;
}

static int setup(void **state)
{
	struct xv_queue_ref refs[PORTS];
	uint16_t i;

	(void)state;
	rig.mbufs_before = rte_mempool_avail_count(xv_packet_pool());
	assert_int_equal(xv_flows_init(), 0);
	assert_int_equal(xv_worker_create("test", -1, true, &rig.worker, NULL), 0);
	assert_int_equal(xv_network_create("net", 300, 64, &rig.network), 0);
	make_policies();
	for (i = 0; i < PORTS; i++) {
		struct xv_port_config config = {.kind = XV_PORT_DUMMY, .queues = 1};

		snprintf(config.name, sizeof(config.name), "p%u", i);
		assert_int_equal(xv_port_create(&config, i, NULL, &rig.ports[i], NULL), 0);
		xv_ledger_reset(i);
		refs[i] = (struct xv_queue_ref){rig.ports[i], 0};
		rig.host_ports[i].port = rig.ports[i];
		rig.host.ports[i] = &rig.host_ports[i];
	}
	assert_int_equal(xv_worker_set_queues(rig.worker, refs, PORTS), 0);
	return 0;
}

static void run(void)
{
	unsigned int i;

	for (i = 0; i < 4; i++)
		(void)xv_worker_run_once(rig.worker);
}

static void settle(void)
{
	unsigned int i;

	for (i = 0; i < 1000 && xv_flows_poll(); i++)
		run();
	assert_true(i < 1000);
	(void)xv_rcu_poll();
}

static int teardown(void **state)
{
	unsigned int i;

	(void)state;
	assert_int_equal(xv_worker_set_queues(rig.worker, NULL, 0), 0);
	for (i = 0; i < PORTS; i++) {
		xv_port_bind(rig.ports[i], NULL);
		xv_workers_forget_port(rig.ports[i]);
	}
	settle();
	for (i = 0; i < PORTS; i++)
		xv_port_destroy(rig.ports[i]);
	xv_network_destroy(rig.network);
	xv_worker_destroy(rig.worker);
	xv_flows_fini();
	xv_rcu_synchronize();
	(void)xv_rcu_poll();
	for (i = 0; i < 4; i++)
		xv_policy_destroy(rig.policies[i]);
	assert_int_equal(rte_mempool_avail_count(xv_packet_pool()), rig.mbufs_before);
	return 0;
}

/* ---- Configuration ---- */

static void set_members(void)
{
	struct xv_port *members[PORTS];
	unsigned int i, n = 0;

	for (i = 0; i < PORTS; i++) {
		const struct xv_binding *b = atomic_load(&rig.ports[i]->binding);

		if (b != NULL && b->network != NULL)
			members[n++] = rig.ports[i];
	}
	assert_int_equal(xv_network_set_members(rig.network, members, n), 0);
}

static struct xv_binding *bind_network(unsigned int port, uint16_t vlan, const struct xv_policy *egress,
				       const struct xv_policy *ingress)
{
	struct xv_binding *b = calloc(1, sizeof(*b));

	b->forward = XV_FORWARD_NETWORK;
	b->network = rig.network;
	b->vlan = vlan;
	b->egress_policy = egress;
	b->ingress_policy = ingress;
	xv_port_bind(rig.ports[port], b);
	set_members();
	return b;
}

static void bind_wire(unsigned int port, unsigned int peer)
{
	struct xv_binding *b = calloc(1, sizeof(*b));

	b->forward = XV_FORWARD_WIRE;
	b->peer = rig.ports[peer];
	xv_port_bind(rig.ports[port], b);
}

static void bind_flows(unsigned int port)
{
	struct xv_binding *b = calloc(1, sizeof(*b));

	b->forward = XV_FORWARD_FLOWS;
	xv_port_bind(rig.ports[port], b);
}

/* ---- Packets ---- */

struct packet {
	unsigned int dst, src; /* last byte of the MAC; dst 0xff: broadcast, 0x80: link-local, reserved */
	int vlan;	       /* -1 untagged */
	uint8_t proto;	       /* 0: not IP */
	uint16_t port;	       /* destination */
	uint32_t len;	       /* 0: as long as it has to be */
};

static uint32_t make(const struct packet *p, uint8_t *frame)
{
	uint8_t *at = frame + 12;

	memset(frame, 0, FRAME_MAX);
	frame[0] = frame[6] = 2;
	frame[5] = (uint8_t)p->dst;
	frame[11] = (uint8_t)p->src;
	if (p->dst == 0xff)
		memset(frame, 0xff, 6);
	if (p->dst == 0x80)
		memcpy(frame, (const uint8_t[]){1, 0x80, 0xc2, 0, 0, 3}, 6);
	if (p->vlan >= 0) {
		memcpy(at, (const uint8_t[]){0x81, 0, (uint8_t)(p->vlan >> 8), (uint8_t)p->vlan}, 4);
		at += 4;
	}
	at[0] = p->proto ? 0x08 : 0x88;
	at[1] = p->proto ? 0x00 : 0xb5;
	at += 2;
	if (p->proto != 0) {
		at[0] = 0x45;
		at[3] = 40;
		at[8] = 64;
		at[9] = p->proto;
		memcpy(at + 12, (const uint8_t[]){10, 0, 0, 1, 10, 0, 0, 2}, 8);
		at[22] = (uint8_t)(p->port >> 8);
		at[23] = (uint8_t)p->port;
		at[25] = 20;
		at[32] = 5 << 4;
		at += 40;
	}
	if (p->len != 0)
		return p->len;
	return (uint32_t)(at - frame) < 60 ? 60 : (uint32_t)(at - frame);
}

/* ---- The comparison ---- */

struct fate {
	unsigned int sent[PORTS];
	uint64_t drops[XV_DROP_MAX];
};

static uint64_t drops_of(unsigned int port, enum xv_drop reason)
{
	struct xv_ledger l;

	xv_ledger_read(rig.ports[port], &l);
	return l.drops[reason];
}

static json_t *ask(unsigned int in, const uint8_t *frame, uint32_t len)
{
	uint8_t *copy = malloc(len + XV_TRACE_ROOM);
	json_t *answer;

	memcpy(copy, frame, len);
	answer = xv_trace(&rig.host, rig.ports[in], copy, len);
	free(copy);
	assert_non_null(answer);
	return answer;
}

static struct fate told(const json_t *answer)
{
	struct fate fate = {0};
	const json_t *e;
	unsigned int i;
	size_t n;

	assert_true(json_is_true(json_object_get(answer, "complete")));
	json_array_foreach (json_object_get(answer, "outputs"), n, e)
		for (i = 0; i < PORTS; i++)
			fate.sent[i] += strcmp(json_string_value(e), rig.ports[i]->name) == 0;
	json_array_foreach (json_object_get(answer, "drops"), n, e)
		for (i = 0; i < XV_DROP_MAX; i++)
			fate.drops[i] += strcmp(json_string_value(json_object_get(e, "reason")), xv_drop_info[i].name) == 0;
	return fate;
}

static struct fate met(unsigned int in, const uint8_t *frame, uint32_t len)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(xv_packet_pool());
	struct fate fate = {0};
	unsigned int i;

	assert_non_null(m);
	memcpy(rte_pktmbuf_append(m, (uint16_t)len), frame, len);
	for (i = 0; i < XV_DROP_MAX; i++)
		fate.drops[i] = 0 - drops_of(in, (enum xv_drop)i);
	assert_int_equal(xv_dummy_put(rig.ports[in], 0, m), 0);
	run();
	for (i = 0; i < XV_DROP_MAX; i++)
		fate.drops[i] += drops_of(in, (enum xv_drop)i);
	for (i = 0; i < PORTS; i++) {
		while ((m = xv_dummy_take(rig.ports[i])) != NULL) {
			fate.sent[i]++;
			rte_pktmbuf_free(m);
		}
	}
	return fate;
}

/* Ask, send, compare; what was told. */
static struct fate compare_bytes(unsigned int in, const uint8_t *frame, uint32_t len)
{
	json_t *answer = ask(in, frame, len);
	struct fate a = told(answer), b = met(in, frame, len);

	if (memcmp(&a, &b, sizeof(a)) != 0) {
		char *text = json_dumps(answer, JSON_INDENT(2));
		unsigned int i;

		print_message("told: %s\nmet:", text);
		for (i = 0; i < PORTS; i++)
			print_message(" p%u:%u", i, b.sent[i]);
		for (i = 0; i < XV_DROP_MAX; i++)
			if (b.drops[i] != 0)
				print_message(" %s:%llu", xv_drop_info[i].name, (unsigned long long)b.drops[i]);
		print_message("\n");
		fail();
	}
	json_decref(answer);
	return a;
}

static struct fate compare(unsigned int in, const struct packet *p)
{
	uint8_t frame[FRAME_MAX];

	return compare_bytes(in, frame, make(p, frame));
}

static void is_sent(unsigned int in, const struct packet *p, unsigned int out)
{
	assert_int_equal(compare(in, p).sent[out], 1);
}

static void is_dropped(unsigned int in, const struct packet *p, enum xv_drop reason)
{
	assert_int_equal(compare(in, p).drops[reason], 1);
}

/* ---- By hand ---- */

static void policies_and_flows(void **state)
{
	const struct packet web = {.src = 1, .dst = 2, .vlan = -1, .proto = 17, .port = 80};
	const struct packet bad = {.src = 1, .dst = 2, .vlan = -1, .proto = 17, .port = 99};
	uint8_t frame[FRAME_MAX];
	char *text;
	json_t *answer;

	(void)state;
	bind_network(0, 0, rig.policies[0], NULL);
	bind_network(1, 0, NULL, NULL);
	bind_network(2, 0, NULL, rig.policies[0]);
	/* Nobody knows anybody, then all do. */
	assert_int_equal(compare(0, &web).sent[1], 1);
	assert_int_equal(compare(1, &(struct packet){.src = 2, .dst = 0xff, .vlan = -1}).sent[0], 1);
	assert_int_equal(compare(2, &(struct packet){.src = 3, .dst = 0xff, .vlan = -1}).sent[0], 1);
	is_sent(0, &web, 1);
	is_dropped(0, &bad, XV_DROP_POLICY);
	/* The same with flows, and fused. */
	for (unsigned int i = 0; i < 3; i++) {
		settle();
		is_sent(0, &web, 1);
		is_dropped(0, &bad, XV_DROP_POLICY);
		is_sent(1, &(struct packet){.src = 2, .dst = 3, .vlan = -1, .proto = 17, .port = 80}, 2);
		is_dropped(1, &(struct packet){.src = 2, .dst = 3, .vlan = -1, .proto = 17, .port = 99}, XV_DROP_POLICY);
	}
	/* Flooded: one of the copies is refused. */
	is_dropped(1, &(struct packet){.src = 2, .dst = 0x77, .vlan = -1, .proto = 17, .port = 99}, XV_DROP_POLICY);
	/* It names policy, rule and flow. */
	answer = ask(0, frame, make(&bad, frame));
	text = json_dumps(answer, 0);
	assert_non_null(strstr(text, "policy ports: no-99: deny"));
	assert_non_null(strstr(text, "recirc_id(0),in_port(p0)"));
	assert_non_null(strstr(text, "actions:drop(policy), origin:ports: no-99"));
	assert_string_equal(json_string_value(json_object_get(answer, "result")),
			    "dropped: policy (a rule of the port's policy denies it)");
	free(text);
	json_decref(answer);
}

static void nothing_changes_by_asking(void **state)
{
	const struct packet p = {.src = 1, .dst = 2, .vlan = -1, .proto = 17, .port = 80};
	uint8_t frame[FRAME_MAX];
	uint32_t len = make(&p, frame);
	struct xv_ledger before, after;

	(void)state;
	bind_network(0, 0, rig.policies[0], NULL);
	bind_network(1, 0, NULL, NULL);
	xv_ledger_read(rig.ports[0], &before);
	for (unsigned int i = 0; i < 10; i++)
		json_decref(ask(0, frame, len));
	run();
	settle();
	xv_ledger_read(rig.ports[0], &after);
	assert_memory_equal(&before, &after, sizeof(before));
	assert_int_equal(xv_mac_table_count(rig.network->macs), 0);
	assert_int_equal(xv_flows_count(), 0);
}

static void other_bindings(void **state)
{
	const struct packet p = {.src = 1, .dst = 2, .vlan = -1, .proto = 17, .port = 80};

	(void)state;
	is_dropped(0, &p, XV_DROP_UNBOUND);
	is_dropped(0, &(struct packet){.len = 13}, XV_DROP_RUNT);
	bind_wire(0, 1);
	is_dropped(0, &p, XV_DROP_TX_DOWN);
	bind_wire(1, 0);
	is_sent(0, &p, 1);
	is_sent(1, &(struct packet){.dst = 0x80, .len = 14}, 0);
	xv_dummy_set_up(rig.ports[1], false);
	is_dropped(0, &p, XV_DROP_TX_DOWN);
	bind_flows(2);
	is_dropped(2, &p, XV_DROP_NO_FLOW);
	bind_network(3, 0, NULL, NULL);
	is_dropped(3, &p, XV_DROP_NO_MEMBER);
	atomic_store(&rig.ports[4]->mtu, 1000);
	bind_network(4, 0, NULL, NULL);
	is_dropped(3, &(struct packet){.src = 1, .dst = 2, .vlan = -1, .len = 1019}, XV_DROP_MTU);
	is_sent(3, &(struct packet){.src = 1, .dst = 2, .vlan = -1, .len = 1018}, 4);
	is_dropped(3, &(struct packet){.src = 1, .dst = 1, .vlan = -1}, XV_DROP_SAME_PORT);
	is_dropped(3, &(struct packet){.src = 1, .dst = 0x80, .vlan = -1}, XV_DROP_RESERVED_MAC);
	is_dropped(3, &(struct packet){.src = 1, .dst = 2, .vlan = 5, .len = 15}, XV_DROP_MALFORMED);
	bind_network(3, 7, NULL, NULL);
	is_dropped(3, &(struct packet){.src = 1, .dst = 2, .vlan = 5}, XV_DROP_VLAN);
}

static void flows_of_others(void **state)
{
	const struct xv_action_push_vlan vlan = {.tpid = RTE_BE16(0x8100), .tci = RTE_BE16(0x1005)};
	struct xv_flow_key key = {.eth_type = RTE_BE16(0x0800)}, mask = {.recirc_id = UINT32_MAX, .in_port = UINT32_MAX,
									  .eth_type = UINT16_MAX};
	struct xv_flow_key value = {0}, bits = {0};
	struct xv_flow_spec spec = {.key = &key, .mask = &mask, .owner = XV_FLOW_NO_OWNER};
	struct xv_actions_builder b;
	struct xv_flow *flow;

	(void)state;
	for (unsigned int i = 0; i < PORTS; i++)
		bind_flows(i);
	/* Rewritten, copied, looked up again by what was rewritten. */
	xv_actions_begin(&b);
	value.ip_ttl = 9;
	bits.ip_ttl = 0xff;
	xv_actions_add_set(&b, &value, &bits);
	xv_actions_add(&b, XV_ACT_OUTPUT, 1, NULL, 0);
	xv_actions_open(&b, XV_ACT_CLONE, 0);
	xv_actions_add(&b, XV_ACT_PUSH_VLAN, 0, &vlan, sizeof(vlan));
	xv_actions_add(&b, XV_ACT_OUTPUT, 2, NULL, 0);
	xv_actions_close(&b);
	xv_actions_add(&b, XV_ACT_RECIRC, 7, NULL, 0);
	assert_int_equal(xv_actions_finish(&b, &spec.actions), 0);
	assert_int_equal(xv_flow_add(&spec, &flow), 0);
	is_dropped(0, &(struct packet){.src = 1, .dst = 2, .vlan = -1, .proto = 17}, XV_DROP_NO_FLOW);
	key.recirc_id = 7;
	key.ip_ttl = 9;
	mask.ip_ttl = 0xff;
	xv_actions_begin(&b);
	xv_actions_open(&b, XV_ACT_CHECK_LEN, 100);
	xv_actions_add(&b, XV_ACT_OUTPUT, 3, NULL, 0);
	xv_actions_otherwise(&b);
	xv_actions_open(&b, XV_ACT_CLONE, 0); /* the last thing: no copy */
	xv_actions_add(&b, XV_ACT_OUTPUT, 4, NULL, 0);
	xv_actions_close(&b);
	xv_actions_close(&b);
	assert_int_equal(xv_actions_finish(&b, &spec.actions), 0);
	assert_int_equal(xv_flow_add(&spec, &flow), 0);
	is_sent(0, &(struct packet){.src = 1, .dst = 2, .vlan = -1, .proto = 17}, 4);
	is_sent(0, &(struct packet){.src = 1, .dst = 2, .vlan = -1, .proto = 17, .len = 101}, 3);
	/* Around and around. */
	key.recirc_id = 7;
	xv_flow_del(flow);
	xv_actions_begin(&b);
	xv_actions_add(&b, XV_ACT_RECIRC, 7, NULL, 0);
	assert_int_equal(xv_actions_finish(&b, &spec.actions), 0);
	assert_int_equal(xv_flow_add(&spec, &flow), 0);
	is_dropped(0, &(struct packet){.src = 1, .dst = 2, .vlan = -1, .proto = 17}, XV_DROP_DEPTH);
}

/* ---- By chance ---- */

static const struct xv_policy *any_policy(uint64_t *seed)
{
	uint32_t i = unit_random(seed, 8);

	return i < 4 ? rig.policies[i] : NULL;
}

static void any_binding(uint64_t *seed, unsigned int port)
{
	static const uint16_t vlans[] = {0, 0, 10, 20};
	struct xv_binding *b;

	xv_dummy_set_up(rig.ports[port], unit_random(seed, 8) != 0);
	atomic_store(&rig.ports[port]->mtu, unit_random(seed, 6) == 0 ? 100 : 0);
	switch (unit_random(seed, 10)) {
	case 0:
		xv_port_bind(rig.ports[port], NULL);
		return;
	case 1:
		bind_wire(port, (port + 1) % PORTS);
		return;
	case 2:
		bind_flows(port);
		return;
	}
	b = calloc(1, sizeof(*b));
	b->forward = XV_FORWARD_NETWORK;
	b->network = rig.network;
	b->vlan = vlans[unit_random(seed, 4)];
	b->trunk = unit_random(seed, 3) == 0;
	if (b->trunk)
		b->trunk_vlans[0] = UINT64_C(1) << 10 | UINT64_C(1) << 30;
	b->egress_policy = any_policy(seed);
	b->ingress_policy = any_policy(seed);
	xv_port_bind(rig.ports[port], b);
}

static void any_packet(uint64_t *seed, unsigned int in)
{
	static const int vlans[] = {-1, -1, -1, 0, 10, 20, 30};
	static const uint8_t protos[] = {17, 17, 6, 0, 1};
	struct packet p = {
		.src = unit_random(seed, 8) == 0 ? unit_random(seed, PORTS) : in,
		.dst = unit_random(seed, PORTS + 1),
		.vlan = vlans[unit_random(seed, 7)],
		.proto = protos[unit_random(seed, 5)],
		.port = unit_random(seed, 2) == 0 ? 99 : 80,
	};

	switch (unit_random(seed, 20)) {
	case 0:
		p.len = 1 + unit_random(seed, 30);
		break;
	case 1:
	case 2:
		p.len = 60 + unit_random(seed, 100);
		break;
	case 3:
		p.dst = 0x80;
		break;
	case 4:
	case 5:
		p.dst = 0xff;
		break;
	}
	(void)compare(in, &p);
}

static void any_configuration(void **state)
{
	uint64_t seed = 1;

	(void)state;
	for (unsigned int round = 0; round < ROUNDS; round++) {
		for (unsigned int i = 0; i < PORTS; i++)
			any_binding(&seed, i);
		set_members();
		for (unsigned int i = 0; i < PACKETS_A_ROUND; i++) {
			unsigned int in = unit_random(&seed, PORTS);

			if (atomic_load(&rig.ports[in]->rx_queues) > 0) /* nothing comes in by one that is down */
				any_packet(&seed, in);
			if (unit_random(&seed, 4) == 0)
				settle();
		}
	}
	for (unsigned int i = 0; i < PORTS; i++)
		atomic_store(&rig.ports[i]->mtu, 0);
}

/* ---- Packets made of keys ---- */

/* keys: JSON of the arguments; what becomes of them as hexadecimal digits, or the error's key. */
static void check_built(const char *keys, const char *wanted)
{
	json_t *args = json_loads(keys, 0, NULL);
	struct xv_err err = {0};
	uint8_t *frame, bytes[128];
	uint32_t len;
	int rc;

	assert_non_null(args);
	rc = xv_trace_packet(&rig.host_ports[0], args, &frame, &len, &err);
	json_decref(args);
	if (rc < 0) {
		assert_string_equal(err.key, wanted);
		return;
	}
	assert_int_equal(unit_hex(wanted, bytes, sizeof(bytes)), len);
	assert_memory_equal(frame, bytes, len);
	free(frame);
}

static void packets_of_keys(void **state)
{
	(void)state;
	check_built("{\"packet\": \"02:00 00ff\"}", "020000ff");
	check_built("{\"packet\": \"020\"}", "packet");
	check_built("{\"packet\": \"0x02\"}", "packet");
	check_built("{\"packet\": \" \"}", "packet");
	check_built("{\"packet\": \"02\", \"vlan\": 5}", "vlan");
	check_built("{}", "dst_mac");
	check_built("{\"dst_mac\": \"02:00:00:00:00:01/ff:00:00:00:00:00\"}", "dst_mac");
	check_built("{\"dst_mac\": \"02:00:00:00:00:01\", \"length\": 20}",
		    "020000000001 02000000feed 88b5 000000000000");
	check_built("{\"dst_mac\": \"02:00:00:00:00:01\", \"src_mac\": \"02:00:00:00:00:0a\", \"vlan\": 5,"
		    "\"src\": \"10.0.0.1/32\", \"dst\": \"10.0.0.2/32\", \"src_port\": 7, \"dst_port\": 80,"
		    "\"length\": 46}",
		    "020000000001 02000000000a 81000005 0800 4500001c 00000000 40110000 0a000001 0a000002"
		    "0007 0050 0008 0000");
	check_built("{\"dst_mac\": \"02:00:00:00:00:01\", \"src_mac\": \"02:00:00:00:00:0a\","
		    "\"src\": \"2001:db8::1/128\", \"dst\": \"2001:db8::2/128\", \"proto\": \"icmpv6\", \"src_port\": 128,"
		    "\"length\": 62}",
		    "020000000001 02000000000a 86dd 60000000 00083a40 20010db8000000000000000000000001"
		    "20010db8000000000000000000000002 8000000000000000");
	check_built("{\"dst_mac\": \"02:00:00:00:00:01\", \"src\": \"10.0.0.0/8\"}", "src");
	check_built("{\"dst_mac\": \"02:00:00:00:00:01\", \"src\": \"10.0.0.1/32\", \"dst\": \"::1/128\"}", "dst");
	check_built("{\"dst_mac\": \"02:00:00:00:00:01\", \"proto\": \"tcp\"}", "proto");
	check_built("{\"dst_mac\": \"02:00:00:00:00:01\", \"dst\": \"10.0.0.1/32\", \"proto\": \"gre\", \"dst_port\": 1}",
		    "dst_port");
	check_built("{\"dst_mac\": \"02:00:00:00:00:01\", \"dst\": \"10.0.0.1/32\", \"proto\": \"icmp\", \"src_port\": 256}",
		    "src_port");
	check_built("{\"dst_mac\": \"02:00:00:00:00:01\", \"dst\": \"10.0.0.1/32\", \"length\": 41}", "length");
	check_built("{\"dst_mac\": \"02:00:00:00:00:01\", \"dst\": \"10.0.0.1/32\", \"ether_type\": \"0x0800\"}", "ether_type");
	/* The address that the port's VM is known by. */
	bind_network(0, 0, NULL, NULL);
	(void)compare(0, &(struct packet){.src = 9, .dst = 0xff, .vlan = -1});
	check_built("{\"dst_mac\": \"02:00:00:00:00:01\", \"length\": 14}", "020000000001 020000000009 88b5");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(policies_and_flows), T(nothing_changes_by_asking), T(other_bindings),
		T(flows_of_others),    T(any_configuration),	     T(packets_of_keys),
	};

	return cmocka_run_group_tests(tests, group_setup, NULL);
}
