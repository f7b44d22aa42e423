/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the flow engine costs without rings: dummy ports, one worker, bursts of 32, warm.
 *
 *     flow-bench [ROUNDS [PART...]]      parts: fused long resolve churn pop shapes ct ct-1m new vxlan; default: all
 *
 * fused: every packet finds its entry. long way: the same with fused flows switched off, one look-up each. resolve: no
 * flow matches, the worker decides by a policy of 1,000 rules, every packet a new connection. add, delete: flows a second
 * from the control thread. pop: two flows as Open vSwitch makes them for a VXLAN tunnel, each packet with a source port of its
 * connection. shapes: packets that come in with MPLS labels and NSH, by one flow. ct: established connections, both ways,
 * through a firewall of 1,000 rules; ct-1m: a million of them; new: UDP question and answer. vxlan: the network spans two
 * hosts, the sender has the same policy; out: to the uplink, in: from it.
 * All figures in TSC cycles a packet, the median of the rounds; receiving and sending of the dummy ports are measured on
 * a wire and shown as "wire".
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_mbuf.h>

#include "base/clock.h"
#include "fastpath/flow.h"
#include "fastpath/firewall.h"
#include "fastpath/fused.h"
#include "fastpath/network.h"
#include "fastpath/policy.h"
#include "fastpath/vtep.h"
#include "fastpath/worker.h"
#include "port/dummy.h"
#include "port/eal.h"
#include "table/rcu.h"

#define BURST 32
#define ROUNDS_MAX 101
#define BATCHES 64 /* bursts of a round */

enum { VM0, VM1, UPLINK, TUNNEL, PORTS };

static struct xv_worker *worker;
static struct xv_port *ports[PORTS];
static struct xv_network *network;

static const uint8_t macs[2][6] = {{2, 0, 0, 0, 0, 0xa}, {2, 0, 0, 0, 0, 0xb}};

static char **parts; /* that are wanted; ends with NULL. None: all */

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "flow-bench: %s failed\n", what);
	exit(1);
}

static bool wants(const char *part)
{
	unsigned int i;

	for (i = 0; parts[i] != NULL; i++)
		if (strcmp(parts[i], part) == 0)
			return true;
	return i == 0;
}

/* An IPv4/UDP frame of 64 bytes from port 0's guest to port 1's, or back; n tells connections apart. */
static struct rte_mbuf *make(unsigned int from, uint32_t n)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(xv_packet_pool());
	uint8_t *p;

	must(m != NULL, "packet memory");
	p = rte_pktmbuf_mtod(m, uint8_t *);
	m->data_len = 60;
	m->pkt_len = 60;
	memset(p, 0, 60);
	memcpy(p, macs[!from], 6);
	memcpy(p + 6, macs[from], 6);
	p[12] = 8;
	p[14] = 0x45;
	p[17] = 46;
	p[22] = 64;
	p[23] = 17;
	memcpy(p + 26, &(uint32_t){rte_cpu_to_be_32(0x0a000000 + (n >> 14))}, 4);
	memcpy(p + 30, (const uint8_t[]){10, 1, 0, 2}, 4);
	memcpy(p + 34, &(uint16_t){rte_cpu_to_be_16((uint16_t)(1024 + (n & 0x3fff)))}, 2);
	p[37] = 9;
	p[39] = 26;
	return m;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

typedef struct rte_mbuf *(*make_fn)(uint32_t n);

static struct rte_mbuf *from_vm0(uint32_t n)
{
	return make(0, n);
}

/* Take n packets that have gone out, and free them. Who opens connections next to traffic that is known may have to wait for its share
 * of the worker's time (fastpath/worker.c). */
static void collect(struct xv_port *port, unsigned int n)
{
	struct rte_mbuf *m;
	unsigned int i = 0, tries;

	for (tries = 0; tries < 1000000; tries++) {
		for (; (m = xv_dummy_take(port)) != NULL; i++)
			rte_pktmbuf_free(m);
		if (i >= n)
			break;
		(void)xv_worker_run_once(worker);
	}
	must(i == n, "forwarding");
}

/* Cycles a packet for rounds of packets whose connections are numbered on from `first`, modulo `flows`. */
static double measure_way(unsigned int rounds, uint32_t first, uint32_t flows, make_fn make_one, unsigned int in,
			  unsigned int out)
{
	double cycles[ROUNDS_MAX];
	uint32_t next = first;
	unsigned int r, b, i;

	for (r = 0; r < rounds; r++) {
		uint64_t total = 0;

		for (b = 0; b < BATCHES; b++) {
			uint64_t begin;

			for (i = 0; i < BURST; i++, next++)
				must(xv_dummy_put(ports[in], 0, make_one(first + (next - first) * 7919 % flows)) == 0, "put");
			begin = xv_clock_tsc();
			(void)xv_worker_run_once(worker);
			total += xv_clock_tsc() - begin;
			collect(ports[out], BURST);
			(void)xv_flows_poll();
		}
		cycles[r % ROUNDS_MAX] = (double)total / (BATCHES * BURST);
	}
	rounds = RTE_MIN(rounds, (unsigned int)ROUNDS_MAX); /* more are for warming up */
	qsort(cycles, rounds, sizeof(cycles[0]), compare);
	return cycles[rounds / 2];
}

static double measure(unsigned int rounds, uint32_t first, uint32_t flows)
{
	return measure_way(rounds, first, flows, from_vm0, VM0, VM1);
}

static void settle(void)
{
	unsigned int i;

	for (i = 0; i < 100000 && xv_flows_poll(); i++)
		(void)xv_worker_run_once(worker);
	(void)xv_rcu_poll();
}

static void bind(unsigned int port, enum xv_forward forward, const struct xv_policy *policy)
{
	struct xv_binding *b = calloc(1, sizeof(*b));

	must(b != NULL, "memory");
	b->forward = forward;
	b->network = forward == XV_FORWARD_NETWORK ? network : NULL;
	b->peer = forward == XV_FORWARD_WIRE ? ports[!port] : NULL;
	b->egress_policy = policy;
	xv_port_bind(ports[port], b);
}

static struct xv_policy *policy_of_1000(void)
{
	static struct xv_policy_rule rules[1000];
	struct xv_policy *policy;
	unsigned int i;

	for (i = 0; i < 1000; i++) {
		xv_policy_rule_init(&rules[i]);
		if (i == 999) {
			rules[i].verdict = XV_POLICY_ALLOW;
			break;
		}
		rules[i].has_proto = true;
		rules[i].proto = 17;
		rules[i].ip_version = 4;
		rules[i].src.words[3] = rte_cpu_to_be_32(0x0ac80000 + i);
		rules[i].src_len = 32;
		rules[i].src_port_min = rules[i].src_port_max = (uint16_t)(1 + i);
	}
	must(xv_policy_create("thousand", rules, 1000, XV_POLICY_DENY, &policy) == 0, "policy");
	return policy;
}

static struct xv_flow *flow_add(uint32_t n)
{
	struct xv_flow_key key = {.in_port = 0, .tp_src = rte_cpu_to_be_16((uint16_t)n)};
	struct xv_flow_key mask = {.in_port = UINT32_MAX, .recirc_id = UINT32_MAX, .tp_src = UINT16_MAX};
	struct xv_flow_spec spec = {.key = &key, .mask = &mask, .owner = XV_FLOW_NO_OWNER};
	struct xv_actions_builder b;
	struct xv_flow *flow = NULL;

	key.ip_src.words[3] = n;
	mask.ip_src.words[3] = UINT32_MAX;
	xv_actions_begin(&b);
	xv_actions_add(&b, XV_ACT_OUTPUT, 1, NULL, 0);
	must(xv_actions_finish(&b, &spec.actions) == 0 && xv_flow_add(&spec, &flow) == 0, "adding a flow");
	return flow;
}

static void churn(uint32_t n)
{
	struct xv_flow **flows = calloc(n, sizeof(*flows));
	uint64_t begin = xv_clock_tsc(), added;
	uint32_t i;

	must(flows != NULL, "memory");
	for (i = 0; i < n; i++)
		flows[i] = flow_add(i);
	added = xv_clock_tsc();
	for (i = 0; i < n; i++)
		xv_flow_del(flows[i]);
	printf("%-34s %8.0f a second added, %8.0f deleted\n", "flows", n / ((double)(added - begin) / (double)xv_clock.hz),
	       n / ((double)(xv_clock_tsc() - added) / (double)xv_clock.hz));
	settle();
	free(flows);
}

/* ---- Connections ---- */

#define CT_FLOWS_MAX 1000000
#define CT_DATA 6 /* bytes in a segment */

static uint32_t ct_sent[CT_FLOWS_MAX]; /* bytes, each way */

/* A packet of connection n from port `from`. TCP: sequence numbers begin at 99 and 499. */
static struct rte_mbuf *make_ct(unsigned int from, uint32_t n, uint8_t proto, uint8_t flags)
{
	struct rte_mbuf *m = make(from, n);
	uint8_t *p = rte_pktmbuf_mtod(m, uint8_t *);
	uint32_t sent = n < CT_FLOWS_MAX ? ct_sent[n] : 0, seq[2] = {100 + sent, 500 + sent};
	uint32_t syn = (flags & 2) != 0;

	p[23] = proto;
	if (from == VM1) { /* the answer */
		uint8_t t[4];

		memcpy(t, p + 26, 4);
		memcpy(p + 26, p + 30, 4);
		memcpy(p + 30, t, 4);
		memcpy(t, p + 34, 2);
		memcpy(p + 34, p + 36, 2);
		memcpy(p + 36, t, 2);
	}
	if (proto == 17)
		return m;
	/* The first direction's data is acknowledged by the second's, that by the next of the first. */
	memcpy(p + 38, &(uint32_t){rte_cpu_to_be_32(seq[from] - syn)}, 4);
	if ((flags & 0x10) != 0)
		memcpy(p + 42, &(uint32_t){rte_cpu_to_be_32(seq[!from] + (from == VM1 && !syn ? CT_DATA : 0))}, 4);
	p[46] = 0x50;
	p[47] = flags;
	p[48] = 0x7f;
	p[17] = (uint8_t)(flags == 0x18 ? 40 + CT_DATA : 40);
	m->ol_flags |= RTE_MBUF_F_RX_L4_CKSUM_GOOD;
	return m;
}

static void pass_ct(unsigned int from, uint32_t n, uint8_t proto, uint8_t flags)
{
	must(xv_dummy_put(ports[from], 0, make_ct(from, n, proto, flags)) == 0, "put");
	(void)xv_worker_run_once(worker);
	collect(ports[!from], 1);
}

/* A burst of connections first, first + 1, ..., spread; cycles. */
static uint64_t burst_ct(unsigned int from, uint32_t first, uint32_t flows, uint8_t proto)
{
	uint64_t begin, end;
	unsigned int i;

	for (i = 0; i < BURST; i++) {
		uint32_t n = (uint32_t)((uint64_t)(first + i) * 7919 % flows);

		must(xv_dummy_put(ports[from], 0, make_ct(from, n, proto, 0x18)) == 0, "put");
		if (from == VM1)
			ct_sent[n] += CT_DATA;
	}
	begin = xv_clock_tsc();
	(void)xv_worker_run_once(worker);
	end = xv_clock_tsc();
	collect(ports[!from], BURST);
	return end - begin;
}

static double measure_ct(unsigned int rounds, uint32_t flows, uint8_t proto)
{
	double cycles[ROUNDS_MAX];
	uint32_t next = 0;
	unsigned int r, b;

	for (r = 0; r < rounds; r++) {
		uint64_t total = 0;

		for (b = 0; b < BATCHES; b += 2, next += BURST) {
			total += burst_ct(VM0, next, flows, proto);
			total += burst_ct(VM1, next, flows, proto);
			(void)xv_flows_poll();
		}
		cycles[r % ROUNDS_MAX] = (double)total / (BATCHES * BURST);
	}
	rounds = RTE_MIN(rounds, (unsigned int)ROUNDS_MAX);
	qsort(cycles, rounds, sizeof(cycles[0]), compare);
	return cycles[rounds / 2];
}

/* Questions of connections that are new, and their answers; cycles for the two. */
static double measure_new(unsigned int rounds, uint32_t first)
{
	double cycles[ROUNDS_MAX];
	unsigned int r, b, i, from;

	for (r = 0; r < rounds; r++) {
		uint64_t total = 0, begin;

		for (b = 0; b < BATCHES; b++, first += BURST) {
			for (from = VM0; from <= VM1; from++) {
				for (i = 0; i < BURST; i++)
					must(xv_dummy_put(ports[from], 0, make_ct(from, first + i, 17, 0)) == 0, "put");
				begin = xv_clock_tsc();
				(void)xv_worker_run_once(worker);
				total += xv_clock_tsc() - begin;
				collect(ports[!from], BURST);
			}
			(void)xv_flows_poll();
		}
		cycles[r] = (double)total / (BATCHES * BURST);
	}
	qsort(cycles, rounds, sizeof(cycles[0]), compare);
	return cycles[rounds / 2];
}

static void bind_firewall(unsigned int port, const struct xv_firewall *firewall)
{
	struct xv_binding *b = calloc(1, sizeof(*b));

	must(b != NULL, "memory");
	b->forward = XV_FORWARD_NETWORK;
	b->network = network;
	b->firewall = firewall;
	b->tracked = true;
	b->zone = 1;
	xv_port_bind(ports[port], b);
}

static void connections(unsigned int rounds, const struct xv_policy *policy, double wire)
{
	const struct xv_firewall firewall = {.egress = policy, .ingress = policy};
	const uint8_t protos[] = {6, 17};
	const uint32_t least = wants("ct") ? 100 : CT_FLOWS_MAX, most = wants("ct-1m") ? CT_FLOWS_MAX : CT_FLOWS_MAX / 10;
	uint32_t flows, n;
	unsigned int i;

	for (i = 0; i < RTE_DIM(protos); i++) {
		for (flows = least; flows <= most; flows *= 10) {
			double cycles;

			bind_firewall(VM0, &firewall);
			bind_firewall(VM1, &firewall);
			settle();
			(void)xv_conntrack_flush(xv_flow_conntrack, xv_clock_ms(xv_clock_cycles()), NULL, NULL);
			memset(ct_sent, 0, sizeof(ct_sent));
			for (n = 0; n < flows; n++) {
				pass_ct(VM0, n, protos[i], 0x02);
				pass_ct(VM1, n, protos[i], 0x12);
				pass_ct(VM0, n, protos[i], 0x10);
				if (n == 0)
					settle();
			}
			settle();
			(void)measure_ct(1 + 6 * flows / (BATCHES * BURST), flows, protos[i]);
			cycles = measure_ct(rounds, flows, protos[i]);
			printf("ct, %s, %7u connections %15.1f = wire + %.1f\n", i == 0 ? "tcp" : "udp", flows, cycles,
			       cycles - wire);
		}
	}
	if (wants("new")) {
		bind_firewall(VM0, &firewall);
		bind_firewall(VM1, &firewall);
		settle();
		pass_ct(VM0, 200000, 17, 0);
		pass_ct(VM1, 200000, 17, 0);
		settle();
		(void)measure_new(RTE_MIN(2u, rounds), 200001);
		settle();
		printf("ct, new: question and answer %14.1f\n", measure_new(rounds, 400000));
	}
	bind(VM0, XV_FORWARD_NETWORK, policy);
	bind(VM1, XV_FORWARD_NETWORK, NULL);
	settle();
}

/* ---- Tunnel flows as Open vSwitch makes them ---- */

#define POP_PORT 20 /* input port of what was in the tunnel */
static struct xv_encap from_remote_encap;

static struct rte_mbuf *from_remote(uint32_t n)
{
	const struct xv_encap_packet packet = {.hash = n * UINT32_C(0x9e3779b1)};
	struct rte_mbuf *m = make(0, n);

	must(xv_encap_push(&from_remote_encap, m, &packet) == 0, "encapsulation");
	return m;
}

static struct xv_flow *one_flow(const struct xv_flow_key *key, const struct xv_flow_key *mask, struct xv_actions_builder *b)
{
	struct xv_flow_spec spec = {.key = key, .mask = mask, .owner = XV_FLOW_NO_OWNER};
	struct xv_flow *flow = NULL;

	must(xv_actions_finish(b, &spec.actions) == 0 && xv_actions_check(spec.actions, key, mask, NULL) == 0 &&
		     xv_flow_add(&spec, &flow) == 0,
	     "flow");
	return flow;
}

static void pop(unsigned int rounds, double wire)
{
	const struct xv_action_tunnel_pop tunnel = {.type = XV_TUNNEL_VXLAN, .udp_port = RTE_BE16(XV_VXLAN_PORT)};
	struct xv_encap_params params = {.type = XV_TUNNEL_VXLAN, .flags = XV_ENCAP_DF, .id = 100};
	struct xv_flow_key key = {.eth_type = RTE_BE16(0x0800)}, mask = {.eth_type = UINT16_MAX};
	struct xv_actions_builder b;
	struct xv_flow *flows[2];
	double cycles;
	unsigned int i;

	params.src.words[3] = RTE_BE32(0xc0000202);
	params.dst.words[3] = RTE_BE32(0xc0000201);
	must(xv_encap_build(&params, &from_remote_encap) == 0, "template");
	bind(VM0, XV_FORWARD_FLOWS, NULL);
	settle();
	mask.in_port = mask.recirc_id = UINT32_MAX;
	mask.packet_type = UINT32_MAX;
	mask.ip_proto = mask.ip_frag = UINT8_MAX;
	mask.tp_dst = UINT16_MAX;
	mask.ip_dst.words[3] = UINT32_MAX;
	key.ip_dst = params.dst;
	key.ip_proto = 17;
	key.tp_dst = RTE_BE16(XV_VXLAN_PORT);
	xv_actions_begin(&b);
	xv_actions_add(&b, XV_ACT_TUNNEL_POP, POP_PORT, &tunnel, sizeof(tunnel));
	flows[0] = one_flow(&key, &mask, &b);
	key = (struct xv_flow_key){.in_port = POP_PORT, .eth_type = RTE_BE16(0x0800), .tun_id = rte_cpu_to_be_64(100),
				   .tun_flags = XV_TUN_KEY};
	mask = (struct xv_flow_key){.in_port = UINT32_MAX, .recirc_id = UINT32_MAX, .packet_type = UINT32_MAX,
				    .eth_type = UINT16_MAX, .tun_id = UINT64_MAX, .tun_flags = XV_TUN_KEY, .ip_frag = UINT8_MAX};
	key.tun_src = params.src;
	memset(&mask.tun_src, 0xff, sizeof(mask.tun_src));
	memcpy(key.eth_dst, macs[1], 6);
	memset(mask.eth_dst, 0xff, 6);
	xv_actions_begin(&b);
	xv_actions_add(&b, XV_ACT_OUTPUT, VM1, NULL, 0);
	flows[1] = one_flow(&key, &mask, &b);
	for (i = 1; i <= 10000; i *= 100) {
		(void)measure_way(1 + 2 * i / (BATCHES * BURST), 0, i, from_remote, VM0, VM1);
		cycles = measure_way(rounds, 0, i, from_remote, VM0, VM1);
		printf("pop, VXLAN in, %6u flows   %12.1f = wire + %.1f\n", i, cycles, cycles - wire);
	}
	xv_flows_set_fusing(false);
	printf("%-34s %8.1f\n", "pop, long way", measure_way(rounds, 0, 10000, from_remote, VM0, VM1));
	xv_flows_set_fusing(true);
	xv_flow_del(flows[0]);
	xv_flow_del(flows[1]);
	settle();
}

/* ---- Unusual shapes ---- */

/* n bytes behind the Ethernet addresses; the type in front of them. */
static struct rte_mbuf *with_header(uint32_t n, uint16_t type, const uint8_t *header, uint16_t len)
{
	struct rte_mbuf *m = make(0, n);
	uint8_t *p = (uint8_t *)(void *)rte_pktmbuf_prepend(m, len);

	must(p != NULL, "headroom");
	memmove(p, p + len, 12);
	memcpy(p + 12, &(uint16_t){rte_cpu_to_be_16(type)}, 2);
	memcpy(p + 14, header, len);
	return m;
}

static struct rte_mbuf *with_label(uint32_t n)
{
	return with_header(n, 0x8847, (const uint8_t[]){0, 1, 1, 64}, 4);
}

static struct rte_mbuf *with_nsh(uint32_t n)
{
	return with_header(n, 0x894f, (const uint8_t[24]){0x0f, 0xc6, 1, 1, 0, 0, 1, 255}, 24);
}

static void shapes(unsigned int rounds, double wire)
{
	static const struct {
		const char *name;
		rte_be16_t type;
		make_fn make;
	} kinds[] = {{"shape: MPLS, 10,000 flows", RTE_BE16(0x8847), with_label}, {"shape: NSH", RTE_BE16(0x894f), with_nsh}};
	unsigned int i;

	bind(VM0, XV_FORWARD_FLOWS, NULL);
	settle();
	for (i = 0; i < RTE_DIM(kinds); i++) {
		struct xv_flow_key key = {.eth_type = kinds[i].type};
		struct xv_flow_key mask = {.in_port = UINT32_MAX, .recirc_id = UINT32_MAX, .packet_type = UINT32_MAX,
					   .eth_type = UINT16_MAX};
		struct xv_actions_builder b;
		struct xv_flow *flow;
		double cycles;

		xv_actions_begin(&b);
		xv_actions_add(&b, XV_ACT_OUTPUT, VM1, NULL, 0);
		flow = one_flow(&key, &mask, &b);
		(void)measure_way(11, 0, 10000, kinds[i].make, VM0, VM1);
		cycles = measure_way(rounds, 0, 10000, kinds[i].make, VM0, VM1);
		printf("%-34s %8.1f = wire + %.1f\n", kinds[i].name, cycles, cycles - wire);
		xv_flow_del(flow);
		settle();
	}
}

/* ---- VXLAN ---- */

static uint8_t reply[128]; /* a frame from the other host */
static uint32_t reply_len;

static struct rte_mbuf *from_host(uint32_t n)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(xv_packet_pool());
	uint8_t *p;

	must(m != NULL, "packet memory");
	p = rte_pktmbuf_mtod(m, uint8_t *);
	memcpy(p, reply, reply_len);
	m->data_len = (uint16_t)reply_len;
	m->pkt_len = reply_len;
	memcpy(p + 50 + 34, &(uint16_t){rte_cpu_to_be_16((uint16_t)(1024 + n % 60000))}, 2);
	return m;
}

static void swap(uint8_t *a, uint8_t *b, unsigned int n)
{
	uint8_t t;

	for (; n > 0; n--, a++, b++) {
		t = *a;
		*a = *b;
		*b = t;
	}
}

static void run_control(void)
{
	unsigned int i;

	for (i = 0; i < 4; i++) {
		(void)xv_worker_run_once(worker);
		(void)xv_underlay_poll();
	}
}

/* VM0 on a network that spans to another host, whose answer is made of what we send there. */
static void vxlan_start(const struct xv_policy *policy)
{
	struct xv_vtep_config config = {.name = "v0", .prefix_len = 24};
	struct xv_binding *b = calloc(1, sizeof(*b));
	struct xv_tunnel_config tunnel_config = {
		.type = XV_TUNNEL_VXLAN, .vni = 100, .remote.words[3] = RTE_BE32(0xc0000202)};
	static struct xv_vtep *vtep;
	static struct xv_tunnel *tunnel;
	struct rte_mbuf *m;
	uint8_t arp[60] = {0};

	must(xv_underlay_init() == 0, "underlay");
	config.addr.words[3] = RTE_BE32(0xc0000201);
	must(b != NULL && xv_vtep_create(&config, &vtep) == 0 &&
		     xv_tunnel_create(vtep, &tunnel_config, ports[TUNNEL], &tunnel) == 0,
	     "tunnel");
	b->forward = XV_FORWARD_VTEP;
	b->vtep = vtep;
	xv_port_bind(ports[UPLINK], b);
	b = calloc(1, sizeof(*b));
	must(b != NULL, "memory");
	b->forward = XV_FORWARD_NETWORK;
	b->network = network;
	b->tunnel = tunnel;
	xv_port_bind(ports[TUNNEL], b);
	bind(VM0, XV_FORWARD_NETWORK, policy);
	xv_port_bind(ports[VM1], NULL);
	must(xv_network_set_members(network, (struct xv_port *[]){ports[VM0], ports[TUNNEL]}, 2) == 0 &&
		     xv_vtep_publish(vtep, (const struct xv_tunnel *const[]){tunnel}, 1) == 0,
	     "network");
	(void)xv_mac_table_flush(network->macs, XV_MAC_NONE);
	xv_vtep_set_uplink(vtep, 0, ports[UPLINK]);

	/* The other host's ARP reply. */
	memcpy(arp, vtep->uplinks[0].mac, 6);
	memcpy(arp + 6, macs[1], 6);
	memcpy(arp + 12, (const uint8_t[]){8, 6, 0, 1, 8, 0, 6, 4, 0, 2}, 10);
	memcpy(arp + 22, macs[1], 6);
	memcpy(arp + 28, (const uint8_t[]){192, 0, 2, 2}, 4);
	memcpy(arp + 32, vtep->uplinks[0].mac, 6);
	memcpy(arp + 38, (const uint8_t[]){192, 0, 2, 1}, 4);
	m = rte_pktmbuf_alloc(xv_packet_pool());
	must(m != NULL && rte_pktmbuf_append(m, 60) != NULL, "packet memory");
	memcpy(rte_pktmbuf_mtod(m, uint8_t *), arp, 60);
	must(xv_dummy_put(ports[UPLINK], 0, m) == 0, "put");
	run_control();
	while ((m = xv_dummy_take(ports[UPLINK])) != NULL)
		rte_pktmbuf_free(m);

	/* A first packet goes to all; turned around it teaches us where the other VM is. */
	must(xv_dummy_put(ports[VM0], 0, make(0, 0)) == 0, "put");
	run_control();
	m = xv_dummy_take(ports[UPLINK]);
	must(m != NULL && m->pkt_len == 110 && m->nb_segs == 1, "encapsulation");
	reply_len = m->pkt_len;
	memcpy(reply, rte_pktmbuf_mtod(m, uint8_t *), reply_len);
	rte_pktmbuf_free(m);
	swap(reply, reply + 6, 6);
	swap(reply + 26, reply + 30, 4);
	swap(reply + 50, reply + 56, 6);
	must(xv_dummy_put(ports[UPLINK], 0, from_host(0)) == 0, "put");
	run_control();
	m = xv_dummy_take(ports[VM0]);
	must(m != NULL, "decapsulation");
	rte_pktmbuf_free(m);
}

int main(int argc, char **argv)
{
	unsigned int rounds = argc > 1 ? (unsigned int)atoi(argv[1]) : 31, i;
	struct xv_eal_config config = {.memory_mb = 64};
	struct xv_queue_ref refs[TUNNEL];
	struct xv_policy *policy;
	double wire, fused;
	struct rte_mbuf *m;

	parts = argv + RTE_MIN(argc, 2);
	if (rounds == 0 || rounds > ROUNDS_MAX) {
		fprintf(stderr, "flow-bench: rounds: 1..%d\n", ROUNDS_MAX);
		return 1;
	}
	xv_clock_init(0);
	xv_worker_configure(&(struct xv_worker_settings){.batch = 1});
	must(xv_eal_init(&config, NULL) == 0 && xv_rcu_init() == 0 && xv_flows_init() == 0, "initialisation");
	must(xv_worker_create("w0", -1, true, &worker, NULL) == 0 && xv_network_create("net", 300, 64, &network) == 0,
	     "worker");
	for (i = 0; i < PORTS; i++) {
		struct xv_port_config port = {.kind = i == TUNNEL ? XV_PORT_TUNNEL : XV_PORT_DUMMY, .queues = 1};

		snprintf(port.name, sizeof(port.name), "p%u", i);
		must(xv_port_create(&port, (uint16_t)i, NULL, &ports[i], NULL) == 0, "port");
		if (i < TUNNEL)
			refs[i] = (struct xv_queue_ref){ports[i], 0};
	}
	must(xv_network_set_members(network, ports, 2) == 0 && xv_worker_set_queues(worker, refs, TUNNEL) == 0, "network");

	bind(0, XV_FORWARD_WIRE, NULL);
	bind(1, XV_FORWARD_WIRE, NULL);
	wire = measure(rounds, 0, 1);
	printf("%-34s %8.1f cycles a packet\n", "wire (what the dummy ports cost)", wire);

	policy = policy_of_1000();
	bind(0, XV_FORWARD_NETWORK, policy);
	bind(1, XV_FORWARD_NETWORK, NULL);
	must(xv_dummy_put(ports[1], 0, make(1, 0)) == 0, "put");
	(void)xv_worker_run_once(worker);
	while ((m = xv_dummy_take(ports[0])) != NULL)
		rte_pktmbuf_free(m);

	for (i = 1; wants("fused") && i <= 100000; i *= 10) {
		char name[64];

		(void)measure(1 + 4 * i / (BATCHES * BURST), 0, i); /* warm: each flow several times */
		settle();
		(void)measure(1 + 2 * i / (BATCHES * BURST), 0, i);
		fused = measure(rounds, 0, i);
		snprintf(name, sizeof(name), "fused, %u flow%s", i, i > 1 ? "s" : "");
		printf("%-34s %8.1f = wire + %.1f\n", name, fused, fused - wire);
	}
	if (wants("long")) {
		xv_flows_set_fusing(false);
		(void)measure(1, 0, 1000);
		settle();
		printf("%-34s %8.1f\n", "long way, two look-ups", measure(rounds, 0, 1000));
		xv_flows_set_fusing(true);
	}
	/* A port whose decisions change all the time: nothing that was decided is ever found again. */
	if (wants("resolve")) {
		double cycles[ROUNDS_MAX];
		unsigned int r;

		for (r = 0; r < rounds; r++) {
			uint64_t begin;

			xv_flows_invalidate_port(ports[0]);
			xv_flows_invalidate_port(ports[1]);
			settle();
			for (i = 0; i < BURST; i++)
				must(xv_dummy_put(ports[0], 0, make(0, 1000000 + r * BURST + i)) == 0, "put");
			begin = xv_clock_tsc();
			(void)xv_worker_run_once(worker);
			cycles[r] = (double)(xv_clock_tsc() - begin) / BURST;
			while ((m = xv_dummy_take(ports[1])) != NULL)
				rte_pktmbuf_free(m);
		}
		qsort(cycles, rounds, sizeof(cycles[0]), compare);
		printf("%-34s %8.1f\n", "resolve, 1,000 rules, both passes", cycles[rounds / 2]);
	}
	if (wants("churn"))
		churn(100000);
	if (wants("pop"))
		pop(rounds, wire);
	if (wants("shapes"))
		shapes(rounds, wire);
	connections(rounds, policy, wire);
	if (!wants("vxlan"))
		return 0;
	vxlan_start(policy);
	for (i = 1; i <= 10000; i *= 100) {
		(void)measure_way(1 + 4 * i / (BATCHES * BURST), 0, i, from_vm0, VM0, UPLINK);
		settle();
		(void)measure_way(1 + 2 * i / (BATCHES * BURST), 0, i, from_vm0, VM0, UPLINK);
		fused = measure_way(rounds, 0, i, from_vm0, VM0, UPLINK);
		printf("vxlan out, policy, %6u flows %12.1f = wire + %.1f\n", i, fused, fused - wire);
		(void)measure_way(2, 0, i, from_host, UPLINK, VM0);
		fused = measure_way(rounds, 0, i, from_host, UPLINK, VM0);
		printf("vxlan in, %6u flows         %12.1f = wire + %.1f\n", i, fused, fused - wire);
	}
	return 0;
}
