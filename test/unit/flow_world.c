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
#include "fastpath/worker.h"
#include "flow_connections.h"
#include "flow_reference.h"
#include "flow_traffic.h"
#include "port/dummy.h"
#include "port/eal.h"
#include "table/rcu.h"

#define INPUTS	4
#define PORTS	7 /* the last is down */
#define NOBODY	9 /* no such port */
#define LEVELS	4 /* of recirculation */
#define LABELS	3 /* recirculation ids of a level */
#define FLOWS	200
#define CONNS	50 /* of an input */
#define SEEN	16 /* packets that may be answered */
#define ZONES	3

struct world {
	const struct flow_world_config *config;
	struct rnd rnd;
	struct ref_world ref;
	struct flow_conn conns[INPUTS][CONNS];
	struct xv_worker *workers[2];
	struct xv_ledger base[INPUTS];
	struct flow_world_stats *stats;
	struct ref_packet packet;
	bool tracking;
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

static struct xv_port *ports[PORTS];
static struct world world; /* large */
static struct xv_conntrack *ref_ct;

static uint32_t hash(const struct xv_flow_key *key, uint32_t basis)
{
	return xv_flow_hash_5tuple(key, basis, false);
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
	for (i = 0; rc == 0 && i < PORTS; i++) {
		struct xv_port_config port = {.kind = XV_PORT_DUMMY, .queues = 1};
		struct xv_binding *binding = calloc(1, sizeof(*binding));

		snprintf(port.name, sizeof(port.name), "p%u", i);
		rc = xv_port_create(&port, i, NULL, &ports[i], NULL);
		binding->forward = XV_FORWARD_FLOWS;
		if (rc == 0)
			xv_port_bind(ports[i], binding);
		if (rc == 0 && i == PORTS - 1)
			xv_dummy_set_up(ports[i], false);
	}
	if (rc == 0)
		rc = flow_connections_create(now_ms(), &ref_ct);
	world.ref.bytes = malloc(REF_BYTES);
	return rc != 0 || world.ref.bytes == NULL ? -1 : 0;
}

static bool fail(const char *what)
{
	fprintf(stderr,
		"flow world: %s\n  again: --seed %llu --packets %u --workers %u --entries %u --fusing %d --avx512 %d\n",
		what, (unsigned long long)world.config->seed, world.config->packets, world.config->workers,
		world.config->entries, world.config->fusing, world.config->avx512);
	return false;
}

/* ---- Programs ---- */

static uint32_t rnd(uint32_t n)
{
	return rnd_below(&world.rnd, n);
}

static bool chance(uint32_t percent)
{
	return rnd(100) < percent;
}

/* What is known of the packet at a point of the program, so that programs are seldom refused. */
struct known {
	bool ethernet, type, ports, icmp;
	uint16_t eth_type;
	unsigned int vlans, mpls;
};

static bool is_ip(const struct known *k)
{
	return k->type && (k->eth_type == 0x0800 || k->eth_type == 0x86dd);
}

static void any_bytes(void *at, uint32_t n)
{
	uint8_t *p = at;

	while (n-- > 0)
		*p++ = (uint8_t)rnd(256);
}

/* Set all of these bytes, or some of their bits; few values, so that flows behind match them. */
static void set_bytes(void *value, void *mask, uint32_t n)
{
	uint8_t *v = value, *m = mask;
	bool part = chance(20);
	uint32_t i;

	for (i = 0; i < n; i++) {
		m[i] = part ? (uint8_t)rnd(256) : 0xff;
		v[i] = (uint8_t)(rnd(4) * 85 & m[i]);
	}
}

#define SET(field) set_bytes(&a->value->field, &a->set->field, sizeof(a->set->field))

static void add_set(struct ref_program *program, const struct known *k)
{
	struct ref_action *a = ref_add(program, XV_ACT_SET, 0);
	unsigned int fields = 1 + rnd(3);
	bool nd = chance(50); /* or its type, which says that it is: one after the other */

	a->value = calloc(1, sizeof(*a->value));
	a->set = calloc(1, sizeof(*a->set));
	while (fields > 0) {
		fields--;
		switch (rnd(14)) {
		case 0:
			if (k->ethernet)
				SET(eth_dst);
			break;
		case 1:
			if (k->ethernet)
				SET(eth_src);
			break;
		case 2:
		case 3:
			if (is_ip(k) && k->eth_type == 0x0800) {
				set_bytes(&a->value->ip_src.words[3], &a->set->ip_src.words[3], 4);
				if (chance(30))
					set_bytes(&a->value->ip_dst.words[3], &a->set->ip_dst.words[3], 4);
			} else if (is_ip(k)) {
				SET(ip_dst);
				if (chance(30))
					SET(ip_src);
			}
			break;
		case 4:
			if (is_ip(k))
				SET(ip_tos);
			break;
		case 5:
		case 6:
			if (is_ip(k))
				SET(ip_ttl);
			break;
		case 7:
		case 8:
			if (k->ports) {
				SET(tp_dst);
				if (chance(30))
					SET(tp_src);
			} else if (k->icmp && !nd) { /* one byte each */
				set_bytes((uint8_t *)&a->value->tp_dst + 1, (uint8_t *)&a->set->tp_dst + 1, 1);
				if (chance(30))
					set_bytes((uint8_t *)&a->value->tp_src + 1, (uint8_t *)&a->set->tp_src + 1, 1);
			}
			break;
		case 9:
			if (is_ip(k) && k->eth_type == 0x86dd) {
				if (chance(50)) {
					a->value->ipv6_label = rte_cpu_to_be_32(rnd(4) * 77777);
					a->set->ipv6_label = RTE_BE32(0xfffff);
				} else if (k->icmp && nd) {
					SET(nd_target);
					if (chance(50))
						SET(arp_sha);
					if (chance(50))
						SET(arp_tha);
				}
			}
			break;
		case 10:
			if (k->type && (k->eth_type == 0x0806 || k->eth_type == 0x8035)) {
				if (chance(50))
					SET(arp_sha);
				if (chance(50))
					SET(arp_tha);
				if (chance(50))
					SET(ip_proto);
				if (chance(50))
					set_bytes(&a->value->ip_src.words[3], &a->set->ip_src.words[3], 4);
				if (chance(50))
					set_bytes(&a->value->ip_dst.words[3], &a->set->ip_dst.words[3], 4);
			}
			break;
		case 11:
			if (k->mpls > 0 && k->type && (k->eth_type == 0x8847 || k->eth_type == 0x8848)) {
				/* All but the bottom of stack: it says what the packet is. */
				a->value->mpls_lse[0] = rte_cpu_to_be_32(rnd(3) << 12 | rnd(4) << 9 | rnd(3));
				a->set->mpls_lse[0] = chance(50) ? RTE_BE32(0xfffffeff) : RTE_BE32(0x000000ff);
				a->value->mpls_lse[0] &= a->set->mpls_lse[0];
			}
			break;
		case 12:
			SET(skb_mark);
			break;
		default:
			if (chance(50)) {
				SET(skb_priority);
			} else {
				SET(tun_id);
				SET(tun_tos);
				set_bytes(&a->value->tun_dst.words[3], &a->set->tun_dst.words[3], 4);
			}
		}
	}
}

static void add_tunnel(struct ref_program *program, struct known *k)
{
	static const uint8_t option[8] = {0x01, 0x02, 0x03, 0x01, 0xaa, 0xbb, 0xcc, 0xdd};
	struct ref_action *a = ref_add(program, XV_ACT_TUNNEL_PUSH, 0);
	struct xv_encap_params *e = calloc(1, sizeof(*e));
	static const uint32_t flags[] = {XV_ENCAP_CSUM, XV_ENCAP_ECN, XV_ENCAP_DSCP, XV_ENCAP_TTL, XV_ENCAP_FLOW_LABEL};
	unsigned int i;

	a->encap = e;
	e->type = chance(60) ? XV_TUNNEL_VXLAN : XV_TUNNEL_GENEVE;
	e->flags = XV_ENCAP_DF | (chance(30) ? XV_ENCAP_IPV6 : 0);
	for (i = 0; i < RTE_DIM(flags); i++)
		e->flags |= chance(25) ? flags[i] : 0;
	any_bytes(e->eth_dst, 6);
	any_bytes(e->eth_src, 6);
	if (e->flags & XV_ENCAP_IPV6) {
		any_bytes(&e->src, 16);
		any_bytes(&e->dst, 16);
	} else {
		any_bytes(&e->src.words[3], 4);
		any_bytes(&e->dst.words[3], 4);
	}
	if (chance(20)) {
		e->vlan_tpid = RTE_BE16(0x8100);
		e->vlan_tci = rte_cpu_to_be_16((uint16_t)(1 + rnd(4000)));
	}
	e->tos = (uint8_t)(rnd(2) * rnd(256));
	e->ttl = (uint8_t)(rnd(2) * rnd(256));
	e->udp_src = rte_cpu_to_be_16((uint16_t)(chance(20) ? 1 + rnd(60000) : 0));
	e->id = rnd(1 << 24);
	if (e->type == XV_TUNNEL_GENEVE && chance(40)) {
		e->options = option;
		e->options_len = sizeof(option);
	}
	*k = (struct known){.ethernet = true};
}

static void nat_address(union xv_ip_addr *addr, bool ipv6, uint32_t last)
{
	memset(addr, 0, sizeof(*addr));
	memcpy(addr->bytes + (ipv6 ? 0 : 12), ipv6 ? "\x20\1" : "\12", ipv6 ? 2 : 1);
	addr->bytes[15] = (uint8_t)last;
}

static void add_nat(struct xv_action_ct *ct, bool ipv6)
{
	static const uint8_t kinds[] = {XV_NAT_SRC, XV_NAT_DST, XV_NAT_SRC | XV_NAT_RANDOM, XV_NAT_SRC | XV_NAT_PERSISTENT,
					XV_NAT_DST | XV_NAT_HASH};
	uint32_t first = rnd(6);

	ct->flags |= XV_CT_NAT;
	if ((ct->flags & XV_CT_COMMIT) == 0 || chance(20))
		return;
	ct->nat.flags = kinds[rnd(5)];
	ct->nat.ipv6 = ipv6;
	if (chance(80)) {
		nat_address(&ct->nat.min, ipv6, first);
		nat_address(&ct->nat.max, ipv6, first + rnd(3));
	}
	if (chance(50)) {
		ct->nat.min_port = (uint16_t)(1000 + rnd(20));
		ct->nat.max_port = (uint16_t)(ct->nat.min_port + rnd(50));
	}
}

/* *zone: of the action before it; ZONES: there is none. */
static void add_ct(struct ref_program *program, const struct known *k, uint16_t *zone)
{
	struct xv_action_ct *ct = &ref_add(program, XV_ACT_CT, 0)->ct;

	if (chance(*zone < ZONES ? 20 : 4)) {
		ct->flags = XV_CT_CLEAR;
		return;
	}
	ct->zone = *zone < ZONES && chance(70) ? *zone : (uint16_t)(chance(60) ? 1 : rnd(ZONES));
	*zone = ct->zone;
	if (chance(50)) {
		ct->flags = XV_CT_COMMIT | (chance(5) ? XV_CT_FORCE : 0);
		ct->timeouts = chance(40);
		ct->helper = chance(3) ? XV_CT_HELPER_FTP : XV_CT_HELPER_NONE;
		if (chance(50)) {
			ct->mark = rnd(3);
			ct->mark_mask = chance(80) ? UINT32_MAX : 3;
		}
		if (chance(20))
			set_bytes(&ct->label, &ct->label_mask, 16);
	}
	if (chance(30))
		add_nat(ct, k->eth_type == 0x86dd);
}

static uint32_t some_port(void)
{
	uint32_t n = rnd(40);

	return n == 0 ? NOBODY : n < 3 ? PORTS - 1 : rnd(PORTS - 1);
}

static void gen_program(struct ref_program *program, struct known k, unsigned int level, unsigned int depth);

static struct ref_program *inner(struct known k, unsigned int level, unsigned int depth)
{
	struct ref_program *program = ref_program_new();

	gen_program(program, k, level, depth + 1);
	return program;
}

/* Something that leaves the packet to the actions behind. odd: also what is never fused. */
static void add_step(struct ref_program *program, struct known *k, unsigned int level, unsigned int depth, bool odd)
{
	struct ref_action *a;

	switch (rnd(odd ? 14 : 8)) {
	case 0:
	case 1:
	case 2:
	case 3:
		add_set(program, k);
		break;
	case 4:
		if (k->ethernet) {
			a = ref_add(program, XV_ACT_PUSH_VLAN, 0);
			a->vlan.tpid = chance(80) ? RTE_BE16(0x8100) : RTE_BE16(0x88a8);
			a->vlan.tci = rte_cpu_to_be_16((uint16_t)(rnd(4) | rnd(2) << 12 | rnd(2) << 13));
			k->vlans++;
		}
		break;
	case 5:
	case 6:
		if (k->vlans > 0) {
			(void)ref_add(program, XV_ACT_POP_VLAN, 0);
			k->vlans--;
		}
		break;
	case 7:
		(void)ref_add(program, XV_ACT_HASH, rnd(3));
		break;
	case 8:
		if (k->type && k->vlans == 0) {
			a = ref_add(program, XV_ACT_PUSH_MPLS, 0);
			a->mpls.lse = rte_cpu_to_be_32(rnd(4) << 12 | (k->mpls == 0) << 8 | 64);
			a->mpls.eth_type = chance(80) ? RTE_BE16(0x8847) : RTE_BE16(0x8848);
			a->mpls.before_l2 = chance(20);
			k->eth_type = rte_be_to_cpu_16(a->mpls.eth_type);
			k->mpls++;
			k->ports = k->icmp = false;
			k->ethernet = k->ethernet && !a->mpls.before_l2;
		}
		break;
	case 9:
		if (k->mpls > 0 && k->type && (k->eth_type == 0x8847 || k->eth_type == 0x8848)) {
			static const uint16_t types[] = {0x0800, 0x86dd, 0x8847, 0x0800, 0x6558};

			k->eth_type = types[rnd(5)];
			(void)ref_add(program, XV_ACT_POP_MPLS, rte_cpu_to_be_16(k->eth_type));
			k->mpls--;
			k->ports = k->icmp = false;
			if (k->eth_type == 0x8847 && k->mpls == 0)
				k->type = false;
		}
		break;
	case 10:
		if (!k->ethernet) {
			a = ref_add(program, XV_ACT_PUSH_ETH, 0);
			any_bytes(a->eth.dst, 6);
			any_bytes(a->eth.src, 6);
			k->ethernet = true;
		} else if (k->type && k->vlans == 0) {
			(void)ref_add(program, XV_ACT_POP_ETH, 0);
			k->ethernet = false;
		}
		break;
	case 11:
		if (depth < 3 && level < 2) {
			bool sample = chance(40);

			a = ref_add(program, sample ? XV_ACT_SAMPLE : XV_ACT_CLONE, 0);
			a->arg = sample && chance(50) ? UINT32_MAX : 0;
			a->inner = inner(*k, level, depth);
		}
		break;
	case 12:
		(void)ref_add(program, XV_ACT_TRUNC, 14 + rnd(100));
		break;
	default:
		if (k->ethernet)
			add_tunnel(program, k);
	}
}

static void gen_program(struct ref_program *program, struct known k, unsigned int level, unsigned int depth)
{
	bool odd = chance(25);
	unsigned int steps = rnd(4), outputs;
	struct ref_action *a;

	if (world.tracking && is_ip(&k) && k.ethernet && chance(70)) {
		uint16_t zone = ZONES;

		do
			add_ct(program, &k, &zone);
		while (program->n < 4 && chance(35));
		if (level == 0)
			odd = chance(5);
		if (level < 2 && chance(60)) {
			(void)ref_add(program, XV_ACT_RECIRC, (level + 1) * LABELS + rnd(LABELS));
			return;
		}
	}
	while (steps-- > 0)
		add_step(program, &k, level, depth, odd);
	switch (rnd(odd ? 12 : 9)) {
	case 0:
		if (chance(50)) {
			if (chance(70))
				(void)ref_add(program, XV_ACT_DROP, rnd(XV_DROP_MAX));
			return; /* an empty program drops, too */
		}
		__attribute__((fallthrough));
	case 1:
	case 2:
	case 3:
		if (level < LEVELS) {
			(void)ref_add(program, XV_ACT_RECIRC, (level + 1) * LABELS + rnd(LABELS));
			break;
		}
		__attribute__((fallthrough));
	case 4:
	case 5:
	case 6:
	case 7:
		(void)ref_add(program, XV_ACT_OUTPUT, some_port());
		break;
	case 8:
		if (k.ethernet)
			add_tunnel(program, &k);
		(void)ref_add(program, XV_ACT_OUTPUT, some_port());
		break;
	case 9:
		a = ref_add(program, XV_ACT_CHECK_LEN, 60 + rnd(200));
		a->inner = depth < 3 ? inner(k, level, depth) : ref_program_new();
		a->other = depth < 3 ? inner(k, level, depth) : ref_program_new();
		break;
	default:
		for (outputs = 2 + rnd(2); outputs > 0; outputs--)
			(void)ref_add(program, XV_ACT_OUTPUT, some_port());
	}
}

static struct ref_program *program_for(const struct xv_flow_key *key, const struct xv_flow_key *mask)
{
	struct known k = {
		.ethernet = key->packet_type == 0,
		.type = mask->eth_type == UINT16_MAX,
		.eth_type = rte_be_to_cpu_16(key->eth_type),
	};
	struct ref_program *program = ref_program_new();

	if (mask->ip_proto == 0xff && mask->ip_frag == 0xff && key->ip_frag != XV_FRAG_LATER && is_ip(&k)) {
		k.ports = key->ip_proto == 6 || key->ip_proto == 17 || key->ip_proto == 132;
		k.icmp = key->ip_proto == (k.eth_type == 0x0800 ? 1 : 58);
	}
	for (; k.vlans < 2 && (key->vlan[k.vlans].tci & mask->vlan[k.vlans].tci & RTE_BE16(0x1000)); k.vlans++)
		;
	k.mpls = k.type && (k.eth_type == 0x8847 || k.eth_type == 0x8848);
	gen_program(program, k, key->recirc_id / LABELS, 0);
	return program;
}

/* ---- The same program for the engine ---- */

static void compile(struct xv_actions_builder *b, const struct ref_program *program)
{
	unsigned int i;

	for (i = 0; i < program->n; i++) {
		const struct ref_action *a = &program->actions[i];
		struct xv_encap encap;

		switch (a->type) {
		case XV_ACT_SET:
			xv_actions_add_set(b, a->value, a->set);
			break;
		case XV_ACT_PUSH_VLAN:
			xv_actions_add(b, a->type, 0, &a->vlan, sizeof(a->vlan));
			break;
		case XV_ACT_PUSH_MPLS:
			xv_actions_add(b, a->type, 0, &a->mpls, sizeof(a->mpls));
			break;
		case XV_ACT_PUSH_ETH:
			xv_actions_add(b, a->type, 0, &a->eth, sizeof(a->eth));
			break;
		case XV_ACT_CT:
			xv_actions_add(b, a->type, 0, &a->ct, sizeof(a->ct));
			break;
		case XV_ACT_TUNNEL_PUSH:
			if (xv_encap_build(a->encap, &encap) != 0)
				abort();
			xv_actions_add(b, a->type, 0, &encap, sizeof(encap));
			break;
		case XV_ACT_CLONE:
		case XV_ACT_SAMPLE:
		case XV_ACT_CHECK_LEN:
			xv_actions_open(b, a->type, a->arg);
			compile(b, a->inner);
			if (a->type == XV_ACT_CHECK_LEN) {
				xv_actions_otherwise(b);
				compile(b, a->other);
			}
			xv_actions_close(b);
			break;
		default:
			xv_actions_add(b, a->type, a->arg, NULL, 0);
		}
	}
}

/* A program that the engine accepts, in both forms. */
static struct ref_program *accepted_program(const struct xv_flow_key *key, const struct xv_flow_key *mask,
					    struct xv_actions **actions)
{
	for (;;) {
		struct ref_program *program = program_for(key, mask);
		struct xv_actions_builder b;

		xv_actions_begin(&b);
		compile(&b, program);
		if (xv_actions_finish(&b, actions) != 0)
			abort();
		if (xv_actions_check(*actions, key, mask, NULL) == 0)
			return program;
		world.stats->refused++;
		free(*actions);
		ref_program_free(program);
	}
}

/* ---- Flows ---- */

#define SOME(percent, field) some_bits(wide ? (percent) / 5 : (percent), &mask->field, sizeof(mask->field))

static void some_bits(uint32_t percent, void *mask, uint32_t n)
{
	if (!chance(percent))
		return;
	if (chance(70))
		memset(mask, 0xff, n);
	else
		any_bytes(mask, n);
}

static void gen_mask(struct xv_flow_key *mask, const struct xv_flow_key *key)
{
	uint16_t type = rte_be_to_cpu_16(key->eth_type);
	bool wide = chance(60);

	memset(mask, 0, sizeof(*mask));
	mask->recirc_id = UINT32_MAX;
	mask->in_port = chance(95) ? UINT32_MAX : 0;
	mask->packet_type = UINT32_MAX;
	if (chance(95))
		mask->eth_type = UINT16_MAX;
	if (key->recirc_id != 0) {
		mask->dp_hash = chance(30) ? rnd(4) : 0;
		SOME(30, skb_mark);
		SOME(10, skb_priority);
		SOME(10, tun_id);
		SOME(10, tun_dst);
	}
	if (key->ct_state != 0) {
		if (chance(80))
			mask->ct_state = chance(80) ? UINT32_MAX : XV_CS_ESTABLISHED;
		mask->ct_mark = chance(60) ? UINT32_MAX : 0;
		SOME(30, ct_label);
		SOME(30, ct_zone);
		SOME(10, ct_tp_dst);
		SOME(5, ct_src);
	}
	SOME(20, eth_dst);
	SOME(20, eth_src);
	if (chance(70))
		mask->vlan[0].tci = chance(50) ? UINT16_MAX : RTE_BE16(0x1000);
	SOME(10, vlan[0].tpid);
	if (chance(30))
		mask->vlan[1].tci = UINT16_MAX;
	if (type == 0x8847 || type == 0x8848) {
		SOME(30, mpls_lse[0]);
		SOME(30, mpls_depth);
	}
	if (type == 0x0806 || type == 0x8035) {
		SOME(30, arp_sha);
		SOME(30, arp_tha);
		SOME(60, ip_proto);
	}
	if (type == 0x0800 || type == 0x86dd) {
		SOME(35, ip_src);
		SOME(35, ip_dst);
		if (chance(80))
			mask->ip_proto = 0xff;
		if (chance(85))
			mask->ip_frag = 0xff;
		SOME(20, ip_ttl);
		SOME(20, ip_tos);
		SOME(20, tp_src);
		SOME(40, tp_dst);
		if (key->ip_proto == 6)
			SOME(25, tcp_flags);
	}
	if (type == 0x86dd) {
		SOME(15, ipv6_label);
		if (chance(20))
			mask->ipv6_exthdrs = 0x3f;
		if (key->ip_proto == 58) {
			SOME(20, nd_target);
			SOME(20, arp_sha);
		}
	}
}

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
		gen_mask(&mask, key);
	} while (overlaps_any(key, &mask));
	flow = calloc(1, sizeof(*flow));
	flow->key = *key;
	flow->mask = mask;
	flow->program = accepted_program(key, &mask, &spec.actions);
	if (xv_flow_add(&spec, &engine) != 0)
		return fail("a flow is refused");
	flow->user = engine;
	world.ref.flows[world.ref.n_flows++] = flow;
	world.stats->flows++;
	return true;
}

static void forget_flow(unsigned int i)
{
	struct ref_flow *flow = world.ref.flows[i];

	xv_flow_del(flow->user);
	ref_program_free(flow->program);
	free(flow);
	world.ref.flows[i] = world.ref.flows[--world.ref.n_flows];
}

static void run_workers(void)
{
	unsigned int i;

	for (i = 0; i < world.config->workers; i++)
		(void)xv_worker_run_once(world.workers[i]);
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

static bool check_counters(void)
{
	uint64_t sweep = xv_flows_sweep();
	unsigned int i;

	for (i = 0; i < 4000 && xv_flows_swept() < sweep; i++)
		run_workers();
	if (xv_flows_swept() < sweep)
		return fail("a sweep does not end");
	for (i = 0; i < world.ref.n_flows; i++) {
		const struct ref_flow *flow = world.ref.flows[i];
		struct xv_flow_stats stats;

		xv_flow_get_stats(flow->user, &stats);
		if (stats.packets == flow->packets && stats.bytes == flow->bytes)
			continue;
		fprintf(stderr, "flow of recirculation %u, input %u, type %04x: %llu packets, %llu bytes; expected %llu, %llu\n",
			flow->key.recirc_id, flow->key.in_port, rte_be_to_cpu_16(flow->key.eth_type),
			(unsigned long long)stats.packets, (unsigned long long)stats.bytes,
			(unsigned long long)flow->packets, (unsigned long long)flow->bytes);
		return fail("a flow's counters are wrong");
	}
	return !world.tracking || check_connections();
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
		struct ref_program *program = accepted_program(&flow->key, &flow->mask, &actions);

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
		/* Headers lie in one piece; what is behind may not. */
		n = p->len - at;
		if (n > 250 && chance(30))
			n = 250 + rnd(n - 250);
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
	unsigned int i, r;

	for (i = 0; i < INPUTS; i++) {
		const struct xv_ledger *base = &world.base[i];
		struct xv_ledger l;

		xv_ledger_read(ports[i], &l);
		for (r = 0; r < XV_DROP_MAX; r++)
			if (l.drops[r] - base->drops[r] != world.ref.drops[i][r]) {
				fprintf(stderr, "port %u: %llu drops for %s, expected %llu\n", i,
					(unsigned long long)(l.drops[r] - base->drops[r]), xv_drop_info[r].name,
					(unsigned long long)world.ref.drops[i][r]);
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

	world.ref.now_ms = now_ms();
	for (p = 0; p < INPUTS; p++) {
		n[p] = chance(50) ? rnd(8) : rnd(33);
		for (i = 0; i < n[p]; i++) {
			struct rte_mbuf *m;

			if (i == 0 || chance(60))
				conn = rnd(1 + rnd(1 + rnd(CONNS)));
			if (!world.tracking || !chance(20) || !answer())
				flow_conn_packet(&world.rnd, &world.conns[p][conn], &world.packet);
			if (world.tracking && is_fragment(&world.packet))
				continue;
			m = to_mbuf(&world.packet);
			if (m == NULL || xv_dummy_put(ports[p], 0, m) != 0)
				return fail("no room for a packet");
			world.stats->packets++;
			ref_run(&world.ref, (uint16_t)p, &world.packet);
		}
	}
	run_workers();
	run_workers();
	for (p = 0; p < PORTS; p++)
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
		if (world.tracking) {
			remember_outputs();
			let_expire();
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
	world.rnd.state = config->seed;
	world.stats = stats;
	world.ref.hash = hash;
	for (i = 0; i < PORTS - 1; i++)
		world.ref.port_up[i] = true;
	world.ref.ct = ref_ct;
	world.tracking = config->seed % 3 == 0;
	(void)xv_conntrack_flush(xv_flow_conntrack, now_ms(), NULL, NULL);
	(void)xv_conntrack_flush(ref_ct, now_ms(), NULL, NULL);
	for (i = 0; i < INPUTS * CONNS; i++)
		if (!world.tracking)
			flow_conn_init(&world.rnd, &world.conns[i / CONNS][i % CONNS]);
		else if (i / CONNS % 2 == 0)
			flow_conn_init_pair(&world.rnd, &world.conns[i / CONNS][i % CONNS],
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
	stats->tracked += world.tracking ? (unsigned int)stats->packets - i : 0;
	if (config->live)
		xv_live_trace_stop();

	for (i = 0; i < config->workers; i++) {
		xv_fused_get_stats(xv_worker_fused(world.workers[i]), &fused);
		stats->hits += fused.hits;
		stats->inserted += fused.inserted;
		stats->evicted += fused.evicted;
		stats->tracked_hits += world.tracking ? fused.hits : 0;
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
	xv_rcu_synchronize();
	(void)xv_rcu_poll();
	if (rte_mempool_avail_count(xv_packet_pool()) != buffers)
		return fail("packet buffers are lost");
	return true;
}
