/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "action_programs.h"

#include <string.h>

struct xv_actions *built(build_fn *build)
{
	struct xv_actions_builder b;
	struct xv_actions *actions;

	xv_actions_begin(&b);
	build(&b);
	assert_int_equal(xv_actions_finish(&b, &actions), 0);
	return actions;
}

/* What packets of this kind have and a flow may count on. */
void match_of(const char *hex, struct xv_flow_key *key, struct xv_flow_key *mask)
{
	struct xv_flow_layout layout;
	uint8_t bytes[512];
	unsigned int n = unit_hex(hex, bytes, sizeof(bytes)), i;

	memset(key, 0, sizeof(*key));
	memset(mask, 0, sizeof(*mask));
	assert_int_equal(xv_flow_extract(bytes, (uint16_t)n, n, key, &layout), XV_FLOW_OK);
	mask->recirc_id = mask->in_port = mask->packet_type = UINT32_MAX;
	mask->eth_type = UINT16_MAX;
	mask->ip_proto = mask->ip_frag = 0xff;
	for (i = 0; i < XV_FLOW_MAX_VLANS; i++)
		mask->vlan[i].tci = RTE_BE16(0x1000);
}

void out(struct xv_actions_builder *b, uint32_t port)
{
	xv_actions_add(b, XV_ACT_OUTPUT, port, NULL, 0);
}

void output_1(struct xv_actions_builder *b)
{
	out(b, 1);
}

void output_all(struct xv_actions_builder *b)
{
	out(b, 1);
	out(b, 2);
	out(b, 3);
}

void output_nobody(struct xv_actions_builder *b)
{
	out(b, 77);
}

void nothing(struct xv_actions_builder *b)
{
	(void)b;
}

void drop_policy(struct xv_actions_builder *b)
{
	xv_actions_add(b, XV_ACT_DROP, XV_DROP_POLICY, NULL, 0);
}

void forward(struct xv_actions_builder *b)
{
	xv_actions_add(b, XV_ACT_FORWARD, 0, NULL, 0);
}

void set_udp(struct xv_actions_builder *b)
{
	struct xv_flow_key to = {.ip_ttl = 63, .ip_tos = 0xb8, .tp_dst = RTE_BE16(8080)};
	struct xv_flow_key mask = {.ip_ttl = 0xff, .ip_tos = 0xff, .tp_dst = UINT16_MAX};

	to.eth_dst[5] = 0x0c;
	mask.eth_dst[5] = 0xff;
	to.ip_dst.words[3] = RTE_BE32(0xc0a80107);
	mask.ip_dst.words[3] = UINT32_MAX;
	xv_actions_add_set(b, &to, &mask);
	out(b, 1);
}

void set_icmp(struct xv_actions_builder *b)
{
	const struct xv_flow_key to = {0}, mask = {.tp_src = RTE_BE16(0x00ff)};

	xv_actions_add_set(b, &to, &mask);
	out(b, 1);
}

void set_arp(struct xv_actions_builder *b)
{
	struct xv_flow_key to = {.ip_proto = 2, .arp_tha = {2, 0, 0, 0, 0, 0xd}}, mask = {.ip_proto = 0xff};

	memset(mask.arp_tha, 0xff, 6);
	to.ip_src.words[3] = RTE_BE32(0x0a000009);
	mask.ip_src.words[3] = UINT32_MAX;
	xv_actions_add_set(b, &to, &mask);
	out(b, 1);
}

void push_vlan(struct xv_actions_builder *b)
{
	const struct xv_action_push_vlan vlan = {.tpid = RTE_BE16(0x8100), .tci = RTE_BE16(0x3005)};

	xv_actions_add(b, XV_ACT_PUSH_VLAN, 0, &vlan, sizeof(vlan));
}

void push_vlan_out(struct xv_actions_builder *b)
{
	push_vlan(b);
	out(b, 1);
}

void pop_vlan_out(struct xv_actions_builder *b)
{
	xv_actions_add(b, XV_ACT_POP_VLAN, 0, NULL, 0);
	out(b, 1);
}

void push_mpls(struct xv_actions_builder *b)
{
	const struct xv_action_push_mpls mpls = {.lse = RTE_BE32(0x00012140), .eth_type = RTE_BE16(0x8847)};

	xv_actions_add(b, XV_ACT_PUSH_MPLS, 0, &mpls, sizeof(mpls));
	out(b, 1);
}

void pop_mpls(struct xv_actions_builder *b)
{
	xv_actions_add(b, XV_ACT_POP_MPLS, RTE_BE16(0x0800), NULL, 0);
	out(b, 1);
}

void pop_push_eth(struct xv_actions_builder *b)
{
	const struct xv_action_push_eth eth = {.dst = {2, 0, 0, 0, 0, 0xd}, .src = {2, 0, 0, 0, 0, 0xe}};

	xv_actions_add(b, XV_ACT_POP_ETH, 0, NULL, 0);
	out(b, 2);
	xv_actions_add(b, XV_ACT_PUSH_ETH, 0, &eth, sizeof(eth));
	out(b, 1);
}

void push_nsh(struct xv_actions_builder *b)
{
	const struct xv_action_push_eth eth = {.dst = {2, 0, 0, 0, 0, 0xd}, .src = {2, 0, 0, 0, 0, 0xe}};
	struct xv_action_push_nsh nsh = {.ttl = 63, .mdtype = 1, .path_hdr = RTE_BE32(0x000007ff)};

	nsh.metadata[3] = 1;
	xv_actions_add(b, XV_ACT_PUSH_NSH, 0, &nsh, sizeof(nsh));
	xv_actions_open(b, XV_ACT_CLONE, 0);
	xv_actions_add(b, XV_ACT_POP_NSH, 0, NULL, 0);
	out(b, 2);
	xv_actions_close(b);
	xv_actions_add(b, XV_ACT_PUSH_ETH, 0, &eth, sizeof(eth));
	out(b, 1);
}

void clone_tagged(struct xv_actions_builder *b)
{
	xv_actions_open(b, XV_ACT_CLONE, 0);
	push_vlan(b);
	out(b, 2);
	xv_actions_close(b);
	out(b, 1);
}

void sample(struct xv_actions_builder *b)
{
	xv_actions_open(b, XV_ACT_SAMPLE, UINT32_MAX);
	out(b, 2);
	xv_actions_close(b);
	xv_actions_open(b, XV_ACT_SAMPLE, 0);
	out(b, 3);
	xv_actions_close(b);
	out(b, 1);
}

void check_len(struct xv_actions_builder *b, uint32_t bytes)
{
	xv_actions_open(b, XV_ACT_CHECK_LEN, bytes);
	out(b, 1);
	xv_actions_otherwise(b);
	out(b, 2);
	xv_actions_close(b);
}

void check_len_45(struct xv_actions_builder *b)
{
	check_len(b, 45);
}

void check_len_46(struct xv_actions_builder *b)
{
	check_len(b, 46);
}

void trunc_first(struct xv_actions_builder *b)
{
	xv_actions_add(b, XV_ACT_TRUNC, 20, NULL, 0);
	out(b, 2);
	out(b, 1);
}

void meter(struct xv_actions_builder *b)
{
	xv_actions_add(b, XV_ACT_METER, 9, NULL, 0);
	out(b, 1);
}

static void template(struct xv_encap_params *p, enum xv_tunnel_type type)
{
	*p = (struct xv_encap_params){
		.type = type, .flags = XV_ENCAP_DF, .eth_dst = {2, 0, 0, 0, 0, 0xf1}, .eth_src = {2, 0, 0, 0, 0, 0xf2},
		.udp_src = RTE_BE16(12345), .id = 0x12};
	p->src.words[3] = RTE_BE32(0xac100001);
	p->dst.words[3] = RTE_BE32(0xac100002);
}

void tunnel(struct xv_actions_builder *b, const struct xv_encap_params *p)
{
	struct xv_encap encap;

	assert_int_equal(xv_encap_build(p, &encap), 0);
	xv_actions_add(b, XV_ACT_TUNNEL_PUSH, 0, &encap, sizeof(encap));
}

static void vxlan(struct xv_actions_builder *b)
{
	struct xv_encap_params p;

	template(&p, XV_TUNNEL_VXLAN);
	tunnel(b, &p);
}

void vxlan_out(struct xv_actions_builder *b)
{
	vxlan(b);
	out(b, 1);
}

void trunc_vxlan_out(struct xv_actions_builder *b)
{
	xv_actions_add(b, XV_ACT_TRUNC, 20, NULL, 0);
	vxlan_out(b);
}

void vxlan_out_twice(struct xv_actions_builder *b)
{
	vxlan(b);
	out(b, 1);
	out(b, 2);
}

/* Geneve without inner Ethernet; the outer TOS is the inner one. */
static void geneve_l3(struct xv_actions_builder *b)
{
	struct xv_encap_params p;

	template(&p, XV_TUNNEL_GENEVE);
	p.flags |= XV_ENCAP_ECN | XV_ENCAP_DSCP;
	p.packet_type = XV_PACKET_TYPE(0x0800);
	xv_actions_add(b, XV_ACT_POP_ETH, 0, NULL, 0);
	tunnel(b, &p);
}

void geneve_l3_out(struct xv_actions_builder *b)
{
	geneve_l3(b);
	out(b, 1);
}

void recirc(struct xv_actions_builder *b)
{
	xv_actions_add(b, XV_ACT_RECIRC, 7, NULL, 0);
}

void geneve_l3_recirc(struct xv_actions_builder *b)
{
	geneve_l3(b);
	recirc(b);
}

void push_vlan_recirc(struct xv_actions_builder *b)
{
	push_vlan(b);
	recirc(b);
}

void hash_recirc(struct xv_actions_builder *b)
{
	xv_actions_add(b, XV_ACT_HASH, 1, NULL, 0);
	recirc(b);
}

/* ---- What comes out ---- */
