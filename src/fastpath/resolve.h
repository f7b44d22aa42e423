/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decide about a packet that no flow matches, from the configuration of built-in networks. Pure: reads class A objects,
 * changes nothing. Three questions, told apart by recirc_id: may its sender send this at all (egress policy, guard against
 * spoofing); where ports have a firewall, and connection tracking has seen the packet: may it leave its sender; may it go to the
 * port that the MAC table chose (firewall, ingress policy)? What opens a connection is committed with the last answer.
 * Where that port is the network's gateway (gateway.h), load balancers and the router decide on.
 */
#pragma once

#include <stdbool.h>

#include "fastpath/binding.h"
#include "fastpath/flow.h"

/* worker. mask is or-ed with the bits of key that the decision depends on. False: nobody here decides. */
bool xv_resolve(const struct xv_port *in, const struct xv_binding *binding, const struct xv_flow_key *key,
		struct xv_flow_key *mask, struct xv_decision *decision);

/* worker. What a rule of a policy (UINT32_MAX: none) has said of a packet with this key. */
struct xv_judgement xv_judgement_of(const struct xv_policy *policy, uint32_t rule, enum xv_verdict verdict,
				    const struct xv_flow_key *key);

/* The actions that a decision stands for. Bytes. */
#define XV_DECISION_WORDS 64
uint32_t xv_decision_program(const struct xv_decision *decision, uint64_t program[XV_DECISION_WORDS]);
