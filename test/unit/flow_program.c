/* SPDX-License-Identifier: Apache-2.0 */
#include "flow_program.h"

#include <stdlib.h>
#include <string.h>

#define LEVELS 4 /* of recirculation */
#define LABELS 3 /* recirculation ids of a level */
#define ZONES  3

struct flow_source flow_source;

static uint32_t rnd(uint32_t n)
{
	return rnd_below(&flow_source.rnd, n);
}

static bool chance(uint32_t percent)
{
	return rnd(100) < percent;
}

/* What is known of the packet at a point of the program, so that programs are seldom refused. */
struct known {
	bool ethernet, type, ports, icmp, nsh; /* nsh: begins with it, or after one Ethernet header */
	enum xv_tunnel_type tunnel;
	rte_be16_t udp_port;
	bool popped; /* no long headers again: there is room for so many before a packet */
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
	static const struct xv_flow_key nothing;
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
	/* The engine has no action for that, and what was before it is the last one. */
	if (memcmp(a->set, &nothing, sizeof(nothing)) == 0) {
		free(a->value);
		free(a->set);
		program->n--;
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

	return n == 0 ? FLOW_NOBODY : n < 3 ? FLOW_PORTS - 1 : rnd(FLOW_PORTS - 1);
}

static void gen_program(struct ref_program *program, struct known k, unsigned int level, unsigned int depth);

static struct ref_program *inner(struct known k, unsigned int level, unsigned int depth)
{
	struct ref_program *program = ref_program_new();

	gen_program(program, k, level, depth + 1);
	return program;
}

/* Off with its label or NSH, if it begins with one. */
static void add_pop(struct ref_program *program, struct known *k)
{
	static const uint16_t types[] = {0x0800, 0x86dd, 0x8847, 0x0800, 0x6558};

	if (k->nsh && !k->ethernet) {
		(void)ref_add(program, XV_ACT_POP_NSH, 0);
		*k = (struct known){.ethernet = true};
	}
	if (k->mpls == 0 || !k->type || (k->eth_type != 0x8847 && k->eth_type != 0x8848))
		return;
	k->eth_type = types[rnd(5)];
	(void)ref_add(program, XV_ACT_POP_MPLS, rte_cpu_to_be_16(k->eth_type));
	k->mpls--;
	k->ports = k->icmp = false;
	if (k->eth_type == 0x8847 && k->mpls == 0)
		k->type = false;
}

static void add_push_eth(struct ref_program *program, struct known *k)
{
	struct ref_action *a = ref_add(program, XV_ACT_PUSH_ETH, 0);

	any_bytes(a->eth.dst, 6);
	any_bytes(a->eth.src, 6);
	k->ethernet = true;
}

/* Something that leaves the packet to the actions behind. odd: also what is rare. */
static void add_step(struct ref_program *program, struct known *k, unsigned int level, unsigned int depth, bool odd)
{
	struct ref_action *a;

	switch (rnd(odd ? 18 : 8)) {
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
		(void)ref_add(program, chance(70) ? XV_ACT_HASH : XV_ACT_SYM_HASH, rnd(3));
		break;
	case 8:
		if (k->type && k->vlans == 0) {
			a = ref_add(program, XV_ACT_PUSH_MPLS, 0);
			a->mpls.lse = rte_cpu_to_be_32(rnd(4) << 12 | (k->mpls == 0) << 8 | 64);
			a->mpls.eth_type = chance(80) ? RTE_BE16(0x8847) : RTE_BE16(0x8848);
			a->mpls.before_l2 = chance(20);
			k->eth_type = rte_be_to_cpu_16(a->mpls.eth_type);
			k->mpls++;
			k->ports = k->icmp = k->nsh = false;
			k->ethernet = k->ethernet && !a->mpls.before_l2;
		}
		break;
	case 9:
		add_pop(program, k);
		break;
	case 10:
		if (!k->ethernet) {
			add_push_eth(program, k);
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
	case 13:
	case 14:
		(void)ref_add(program, XV_ACT_METER, rnd(REF_METERS + 1));
		break;
	case 15:
	case 16:
		if (k->nsh && !k->ethernet) {
			add_pop(program, k);
		} else if (k->type && k->vlans == 0 && !k->popped) {
			a = ref_add(program, XV_ACT_PUSH_NSH, 0);
			a->nsh.ttl = (uint8_t)(rnd(2) * 63);
			a->nsh.flags = (uint8_t)rnd(4);
			a->nsh.path_hdr = rte_cpu_to_be_32(rnd(4));
			a->nsh.mdtype = chance(70) ? 1 : 2;
			a->nsh.md2_len = a->nsh.mdtype == 2 ? (uint8_t)(rnd(8) * 4) : 0;
			any_bytes(a->nsh.metadata, a->nsh.mdtype == 1 ? 16 : a->nsh.md2_len);
			*k = (struct known){.type = true, .eth_type = 0x894f, .nsh = true};
		}
		break;
	default:
		if (k->ethernet && !k->popped)
			add_tunnel(program, k);
	}
}

/* Out of the tunnel that it seems to be in. */
static void add_tunnel_pop(struct ref_program *program, const struct known *k)
{
	struct ref_action *a = ref_add(program, XV_ACT_TUNNEL_POP, FLOW_POPPED + rnd(2));

	a->pop.type = (uint8_t)k->tunnel;
	a->pop.udp_port = k->udp_port;
	a->pop.gbp = k->tunnel == XV_TUNNEL_VXLAN && chance(30);
}

static void gen_program(struct ref_program *program, struct known k, unsigned int level, unsigned int depth)
{
	bool odd = chance(40);
	unsigned int steps = rnd(4), outputs;
	struct ref_action *a;

	if (flow_source.tracking && is_ip(&k) && k.ethernet && chance(70)) {
		uint16_t zone = ZONES;

		/* As on built-in networks: look up, look at it, and commit with the output what is new, or send what is known. */
		if (level < 2 && depth == 0 && chance(40)) {
			if (level == 0 || chance(60)) {
				a = ref_add(program, XV_ACT_CT, 0);
				a->ct.zone = 1;
				a->ct.flags = level == 0 ? 0 : XV_CT_COMMIT;
			}
			(void)ref_add(program, level == 0 ? XV_ACT_RECIRC : XV_ACT_OUTPUT, level == 0 ? LABELS + rnd(LABELS) : some_port());
			return;
		}
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
	if (level > 0 && chance(40))
		add_pop(program, &k);
	if (!k.ethernet && chance(30))
		add_push_eth(program, &k);
	if (k.tunnel != XV_TUNNEL_NONE && chance(40))
		steps = 0;
	while (steps-- > 0)
		add_step(program, &k, level, depth, odd);
	if (k.tunnel != XV_TUNNEL_NONE && chance(75)) {
		add_tunnel_pop(program, &k);
		return;
	}
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
		(void)ref_add(program, XV_ACT_OUTPUT, some_port());
		break;
	case 7:
		if (chance(60))
			(void)ref_add(program, XV_ACT_OUTPUT, some_port());
		else
			(void)ref_add(program, XV_ACT_BOND, rnd(REF_BONDS));
		break;
	case 8:
		if (k.ethernet && !k.popped)
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
			if (chance(85))
				(void)ref_add(program, XV_ACT_OUTPUT, some_port());
			else
				(void)ref_add(program, XV_ACT_BOND, rnd(REF_BONDS));
	}
}

static struct ref_program *program_for(const struct xv_flow_key *key, const struct xv_flow_key *mask)
{
	struct known k = {
		.ethernet = key->packet_type == 0,
		.type = mask->eth_type == UINT16_MAX,
		.nsh = key->packet_type == RTE_BE32(0x1894f) && mask->eth_type == UINT16_MAX,
		.eth_type = rte_be_to_cpu_16(key->eth_type),
		.popped = key->in_port >= FLOW_POPPED,
	};
	struct ref_program *program = ref_program_new();

	if (mask->ip_proto == 0xff && mask->ip_frag == 0xff && key->ip_frag != XV_FRAG_LATER && is_ip(&k)) {
		k.ports = key->ip_proto == 6 || key->ip_proto == 17 || key->ip_proto == 132;
		k.icmp = key->ip_proto == (k.eth_type == 0x0800 ? 1 : 58);
	}
	for (; k.vlans < 2 && (key->vlan[k.vlans].tci & mask->vlan[k.vlans].tci & RTE_BE16(0x1000)); k.vlans++)
		;
	if (is_ip(&k) && key->ip_frag == XV_FRAG_NONE && (key->ip_proto == 47 || key->ip_proto == 17)) {
		k.udp_port = key->tp_dst;
		k.tunnel = key->ip_proto == 47		       ? XV_TUNNEL_GRE
			   : key->tp_dst == RTE_BE16(4789) ? XV_TUNNEL_VXLAN
			   : key->tp_dst == RTE_BE16(6081) ? XV_TUNNEL_GENEVE
							   : XV_TUNNEL_NONE;
	}
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
		case XV_ACT_PUSH_NSH:
			xv_actions_add(b, a->type, 0, &a->nsh, sizeof(a->nsh));
			break;
		case XV_ACT_CT:
			xv_actions_add(b, a->type, 0, &a->ct, sizeof(a->ct));
			break;
		case XV_ACT_TUNNEL_POP:
			xv_actions_add(b, a->type, a->arg, &a->pop, sizeof(a->pop));
			break;
		case XV_ACT_BOND:
			xv_actions_add(b, a->type, flow_source.bonds[a->arg], NULL, 0);
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

struct xv_actions *flow_program_compile(const struct ref_program *program)
{
	struct xv_actions_builder b;
	struct xv_actions *actions;

	xv_actions_begin(&b);
	compile(&b, program);
	if (xv_actions_finish(&b, &actions) != 0)
		abort();
	return actions;
}

struct ref_program *flow_program_for(const struct xv_flow_key *key, const struct xv_flow_key *mask,
				     struct xv_actions **actions)
{
	for (;;) {
		struct ref_program *program = program_for(key, mask);

		*actions = flow_program_compile(program);
		if (xv_actions_check(*actions, key, mask, NULL) == 0)
			return program;
		flow_source.refused++;
		free(*actions);
		ref_program_free(program);
	}
}

/* ---- Masks ---- */

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

void flow_mask_for(struct xv_flow_key *mask, const struct xv_flow_key *key)
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
	if (key->in_port >= FLOW_POPPED) {
		if (chance(80))
			mask->tun_id = UINT64_MAX;
		SOME(50, tun_src);
		SOME(50, tun_dst);
		SOME(30, tun_flags);
		SOME(10, tun_tos);
		SOME(10, tun_ttl);
		SOME(20, tun_gbp_id);
		SOME(4, tun_tp_src);
		if (chance(20)) {
			mask->tun_options_len = UINT16_MAX;
			memset(mask->tun_options, 0xff, 8);
		}
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
