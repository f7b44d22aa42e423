/* SPDX-License-Identifier: Apache-2.0 */
/* Packets, and programs for them, for the tests of actions. */
#pragma once

#include "fastpath/action.h"
#include "net/flow_key.h"

#define MACS "02000000000b 02000000000a "
#define L3_UDP "4500 0020 0000 0000 4011 66cb 0a000001 0a000002 03e807d0000c1b55 61626364"
#define L3_UDP_TOS "452a 0020 0000 0000 4011 66a1 0a000001 0a000002 03e807d0000c1b55 61626364"
#define UDP MACS "0800 " L3_UDP
#define TAGGED MACS "8100 2005 0800 " L3_UDP
#define LABELLED MACS "8847 00012140 0800 "
#define ICMP MACS "0800 4500 0020 0000 0000 4001 66db 0a000001 0a000002 0800 3336 0001 0002 61626364"
#define ARP MACS "0806 0001 0800 06 04 0001 02000000000a 0a000001 000000000000 0a000002"
#define OUTER(length, sum, tos) "0200000000f1 0200000000f2 0800 45" tos length "0000 4000 4011 " sum " ac100001 ac100002 "
#define IN_VXLAN OUTER("0052", "e277", "00") "3039 12b5 003e 0000 08000000 00001200"

typedef void build_fn(struct xv_actions_builder *b);

struct xv_actions *built(build_fn *build);
/* What packets of this kind have and a flow may count on. */
void match_of(const char *hex, struct xv_flow_key *key, struct xv_flow_key *mask);

void out(struct xv_actions_builder *b, uint32_t port);
void output_1(struct xv_actions_builder *b);
void output_all(struct xv_actions_builder *b);
void output_nobody(struct xv_actions_builder *b);
void nothing(struct xv_actions_builder *b);
void drop_policy(struct xv_actions_builder *b);
void forward(struct xv_actions_builder *b);
void set_udp(struct xv_actions_builder *b);
void set_icmp(struct xv_actions_builder *b);
void set_arp(struct xv_actions_builder *b);
void push_vlan(struct xv_actions_builder *b);
void push_vlan_out(struct xv_actions_builder *b);
void pop_vlan_out(struct xv_actions_builder *b);
void push_mpls(struct xv_actions_builder *b);
void pop_mpls(struct xv_actions_builder *b);
void pop_push_eth(struct xv_actions_builder *b);
void push_nsh(struct xv_actions_builder *b);
void clone_tagged(struct xv_actions_builder *b);
void sample(struct xv_actions_builder *b);
void check_len(struct xv_actions_builder *b, uint32_t bytes);
void check_len_45(struct xv_actions_builder *b);
void check_len_46(struct xv_actions_builder *b);
void trunc_first(struct xv_actions_builder *b);
void meter(struct xv_actions_builder *b);
void tunnel(struct xv_actions_builder *b, const struct xv_encap_params *p);
void vxlan_out(struct xv_actions_builder *b);
void trunc_vxlan_out(struct xv_actions_builder *b);
void vxlan_out_twice(struct xv_actions_builder *b);
void geneve_l3_out(struct xv_actions_builder *b);
void recirc(struct xv_actions_builder *b);
void geneve_l3_recirc(struct xv_actions_builder *b);
void push_vlan_recirc(struct xv_actions_builder *b);
void hash_recirc(struct xv_actions_builder *b);
