/* SPDX-License-Identifier: Apache-2.0 */
#include "fastpath/resolve.h"

#include <netinet/in.h>
#include <string.h>

#include "fastpath/conntrack.h"
#include "fastpath/firewall.h"
#include "fastpath/gateway.h"
#include "fastpath/network.h"
#include "fastpath/policy.h"
#include "fastpath/worker_state.h"

static bool drops(struct xv_decision *decision, enum xv_drop reason)
{
	decision->type = XV_ACT_DROP;
	decision->arg = reason;
	return true;
}

struct xv_judgement xv_judgement_of(const struct xv_policy *policy, uint32_t rule, enum xv_verdict verdict,
				    const struct xv_flow_key *key)
{
	return (struct xv_judgement){
		.policy = xv_policy_name(policy),
		.rule = xv_policy_rule_name(policy, rule),
		.counter = xv_policy_rule_counter(policy, rule),
		.verdict = (uint8_t)verdict,
		/* Of an established connection only the opener. */
		.log = xv_policy_rule_logs(policy, rule) && (key->ct_state & XV_CS_ESTABLISHED) == 0,
	};
}

/* Who talks to whom. */
static void mask_ends(struct xv_flow_key *mask)
{
	mask->eth_type = UINT16_MAX;
	mask->ip_proto = UINT8_MAX;
	mask->tp_src = mask->tp_dst = UINT16_MAX;
	memset(&mask->ip_src, 0xff, sizeof(mask->ip_src));
	memset(&mask->ip_dst, 0xff, sizeof(mask->ip_dst));
}

/* A rule has judged. Does the packet end here? */
static bool judged(const struct xv_policy *policy, uint32_t rule, enum xv_verdict verdict, enum xv_drop reason,
		   const struct xv_flow_key *key, struct xv_flow_key *mask, struct xv_decision *decision)
{
	const struct xv_judgement by = xv_judgement_of(policy, rule, verdict, key);

	decision->by[decision->n_by++] = by;
	if (xv_policy_rule_logs(policy, rule)) {
		/* What is not logged any more has another flow than openers. Theirs is for packets between the same ends alone: so the
		 * first one of each is logged, and again when the flow was not used for so long that it went. */
		mask->ct_state |= XV_CS_ESTABLISHED;
		if (by.log)
			mask_ends(mask);
	}
	decision->reject = verdict == XV_POLICY_REJECT;
	return verdict != XV_POLICY_ALLOW && drops(decision, reason);
}

/* Does the policy (NULL: none) drop the packet? */
static bool policy_drops(const struct xv_policy *policy, const struct xv_flow_key *key, struct xv_flow_key *mask,
			 struct xv_decision *decision)
{
	enum xv_verdict verdict;
	uint32_t rule;

	if (policy == NULL)
		return false;
	verdict = xv_policy_check(policy, key, mask, &rule);
	return judged(policy, rule, verdict, XV_DROP_POLICY, key, mask, decision);
}

/*
 * On networks with load balancers: a connection as the VM at hand sees it. Of its server's end that is what the packet has, not the
 * virtual address that the client opened it to; a question comes here from its sender before, and to its receiver after it was
 * translated. False: it is as connection tracking says.
 */
static bool as_seen(const struct xv_flow_key *key, struct xv_flow_key *view)
{
	bool reply = (key->ct_state & XV_CS_REPLY) != 0;

	if ((key->ct_state & (XV_CS_TRACKED | XV_CS_RELATED)) != XV_CS_TRACKED || key->ip_frag != XV_FRAG_NONE ||
	    (key->ip_proto != IPPROTO_TCP && key->ip_proto != IPPROTO_UDP && key->ip_proto != IPPROTO_SCTP))
		return false;
	memcpy(view, key, XV_FLOW_FIXED_WORDS * 8);
	view->ct_dst = reply ? key->ip_src : key->ip_dst;
	view->ct_tp_dst = reply ? key->tp_src : key->tp_dst;
	return true;
}

/* What was looked at of the view was the packet's. */
static void view_mask(const struct xv_flow_key *key, const struct xv_flow_key *seen, struct xv_flow_key *mask)
{
	const uint64_t *from = (const uint64_t *)(const void *)seen;
	uint64_t *to = (uint64_t *)(void *)mask;
	unsigned int i;

	for (i = 0; i < XV_FLOW_FIXED_WORDS; i++)
		to[i] |= from[i];
	mask->ct_state |= XV_CS_TRACKED | XV_CS_RELATED | XV_CS_REPLY;
	memset(&mask->ip_proto, 0xff, sizeof(mask->ip_proto));
	memset(&mask->ip_frag, 0xff, sizeof(mask->ip_frag));
	if ((key->ct_state & XV_CS_REPLY) != 0) {
		mask->ip_src.u64[0] |= seen->ct_dst.u64[0];
		mask->ip_src.u64[1] |= seen->ct_dst.u64[1];
		mask->tp_src |= seen->ct_tp_dst;
	} else {
		mask->ip_dst.u64[0] |= seen->ct_dst.u64[0];
		mask->ip_dst.u64[1] |= seen->ct_dst.u64[1];
		mask->tp_dst |= seen->ct_tp_dst;
	}
}

/* Does the firewall of a port (which may have none) drop it? */
static bool firewall_drops(const struct xv_binding *b, enum xv_firewall_way way, const struct xv_flow_key *key,
			   struct xv_flow_key *mask, struct xv_decision *decision)
{
	const struct xv_policy *policy;
	struct xv_flow_key view, seen;
	enum xv_verdict verdict;
	uint32_t rule;

	/* What a backend answers was translated when its connection was looked up: it may, because its question, which the
	 * rules judge as the backend sees it, may. */
	if (unlikely(b->balanced && b->firewall != NULL && way == XV_FIREWALL_FROM_VM)) {
		mask->ct_state |= XV_CS_REPLY | XV_CS_SRC_NAT;
		if ((key->ct_state & (XV_CS_REPLY | XV_CS_SRC_NAT)) == (XV_CS_REPLY | XV_CS_SRC_NAT))
			return false;
	}
	if (unlikely(b->balanced && b->firewall != NULL && as_seen(key, &view))) {
		memset(&seen, 0, XV_FLOW_FIXED_WORDS * 8);
		verdict = xv_firewall_check(b->firewall, way, &view, &seen, &policy, &rule);
		view_mask(key, &seen, mask);
	} else {
		verdict = xv_firewall_check(b->firewall, way, key, mask, &policy, &rule);
	}
	if (policy == NULL)
		return false;
	return judged(policy, rule, verdict, XV_DROP_FIREWALL, key, mask, decision);
}

/* The packet has come in: is it what its sender may send at all? */
static void decide_sender(const struct xv_binding *binding, const struct xv_flow_key *key, struct xv_flow_key *mask,
			  struct xv_decision *decision)
{
	const struct xv_firewall *f = binding->firewall;

	if (policy_drops(binding->egress_policy, key, mask, decision))
		return;
	if (f != NULL && f->guard != NULL && !xv_guard_check(f->guard, key, mask)) {
		drops(decision, XV_DROP_SPOOFED);
		return;
	}
	if (binding->tracked && xv_firewall_tracks(key, mask)) {
		decision->type = XV_ACT_RECIRC;
		decision->arg = XV_RECIRC_TRACKED;
		/* In one with the look-up: an answer may be the last packet of its connection. */
		(void)xv_decision_track(decision, binding->zone, binding->balanced ? XV_CT_NAT_REPLY : 0);
		return;
	}
	if (!firewall_drops(binding, XV_FIREWALL_FROM_VM, key, mask, decision))
		decision->type = XV_ACT_FORWARD;
}

/* Its connection is known: may it leave its sender? */
static void decide_tracked(const struct xv_binding *binding, const struct xv_flow_key *key, struct xv_flow_key *mask,
			   struct xv_decision *decision)
{
	mask->ct_state |= XV_CS_INVALID;
	if ((key->ct_state & XV_CS_INVALID) != 0)
		drops(decision, XV_DROP_CT_INVALID);
	else if (!firewall_drops(binding, XV_FIREWALL_FROM_VM, key, mask, decision))
		decision->type = XV_ACT_FORWARD;
}

/* Its receiver is known: may it go there? */
static void decide_receiver(const struct xv_binding *out, uint16_t port_id, const struct xv_flow_key *key,
			    struct xv_flow_key *mask, struct xv_decision *decision)
{
	if (firewall_drops(out, XV_FIREWALL_TO_VM, key, mask, decision) ||
	    policy_drops(out->ingress_policy, key, mask, decision))
		return;
	decision->type = XV_ACT_OUTPUT;
	decision->arg = port_id;
	mask->ct_state |= XV_CS_NEW;
	if ((key->ct_state & XV_CS_NEW) != 0)
		xv_decision_track(decision, out->zone, XV_CT_COMMIT)->timeouts = out->timeouts;
}

/* Its receiver is the network's gateway. What that stores expires as connections of the network do. */
static void decide_gateway(const struct xv_binding *out, uint16_t port_id, const struct xv_flow_key *key,
			   struct xv_flow_key *mask, struct xv_decision *decision)
{
	unsigned int i;

	xv_gateway_receive(out->gateway, port_id, out->zone, key, mask, decision);
	for (i = 0; i < decision->n_cts; i++)
		if (decision->cts[i].zone == out->zone)
			decision->cts[i].timeouts = out->timeouts;
}

/* Its backend is known. The network's gateway says where that is, and answers for the decision. */
static bool decide_balanced(const struct xv_binding *binding, const struct xv_flow_key *key, struct xv_flow_key *mask,
			    struct xv_decision *decision)
{
	const struct xv_port *port = atomic_load_explicit(&binding->network->gateway, memory_order_acquire);
	const struct xv_binding *b = port == NULL ? NULL : atomic_load_explicit(&port->binding, memory_order_acquire);

	if (b == NULL || b->gateway == NULL)
		return false;
	decision->owner = port->id;
	decision->version = b->version;
	xv_gateway_balanced(b->gateway, key, mask, decision);
	return true;
}

bool xv_resolve(const struct xv_port *in, const struct xv_binding *binding, const struct xv_flow_key *key,
		struct xv_flow_key *mask, struct xv_decision *decision)
{
	const struct xv_binding *out_binding;
	const struct xv_port *out;

	if (binding->forward != XV_FORWARD_NETWORK)
		return false;
	*decision = (struct xv_decision){.patch = XV_MAX_PORTS};
	mask->recirc_id = UINT32_MAX;
	if (key->recirc_id == 0 || key->recirc_id == XV_RECIRC_TRACKED) {
		mask->in_port = UINT32_MAX;
		decision->owner = in->id;
		decision->version = binding->version;
		if (key->recirc_id == 0)
			decide_sender(binding, key, mask, decision);
		else
			decide_tracked(binding, key, mask, decision);
		return true;
	}
	if (key->recirc_id == XV_RECIRC_BALANCED)
		return decide_balanced(binding, key, mask, decision);
	if (key->recirc_id == XV_RECIRC_ROUTER || key->recirc_id == XV_RECIRC_ROUTED) {
		if (binding->gateway == NULL || binding->gateway->router == NULL)
			return false;
		mask->in_port = UINT32_MAX;
		decision->owner = in->id;
		decision->version = binding->version;
		xv_router_decide(binding->gateway->router, in->id, key, mask, decision);
		return true;
	}
	if ((key->recirc_id & XV_RECIRC_TO_PORT) != XV_RECIRC_TO_PORT)
		return false;
	out = xv_port_by_id((uint16_t)key->recirc_id);
	out_binding = out == NULL ? NULL : atomic_load_explicit(&out->binding, memory_order_acquire);
	if (out_binding == NULL || out_binding->network != binding->network)
		return false;
	decision->owner = out->id;
	decision->version = out_binding->version;
	if (out_binding->gateway != NULL)
		decide_gateway(out_binding, out->id, key, mask, decision);
	else
		decide_receiver(out_binding, out->id, key, mask, decision);
	return true;
}

static struct xv_action *add(struct xv_action *a, enum xv_action_type type, uint32_t arg, uint32_t bytes_of_data)
{
	a->type = (uint16_t)type;
	a->bytes = (uint16_t)(sizeof(*a) + bytes_of_data);
	a->arg = arg;
	return (struct xv_action *)(void *)((uint8_t *)a + a->bytes);
}

/* Sets n words of the key from `first` on: what is in value, under what is in mask. */
static struct xv_action *add_set(struct xv_action *a, unsigned int first, unsigned int n, const struct xv_flow_key *value,
				 const struct xv_flow_key *mask)
{
	const uint64_t *values = (const uint64_t *)(const void *)value, *masks = (const uint64_t *)(const void *)mask;
	struct xv_action_set *set = (struct xv_action_set *)(void *)a->data;
	unsigned int i;

	set->first = first;
	set->n = n;
	for (i = 0; i < n; i++) {
		set->words[i].value = values[first + i] & masks[first + i];
		set->words[i].mask = masks[first + i];
	}
	return add(a, XV_ACT_SET, 0, (uint32_t)(sizeof(*set) + n * sizeof(set->words[0])));
}

uint32_t xv_decision_program(const struct xv_decision *decision, uint64_t program[XV_DECISION_WORDS])
{
	struct xv_action *a = (struct xv_action *)(void *)program;
	struct xv_flow_key value = {0}, mask;
	unsigned int i;

	memset(program, 0, XV_DECISION_WORDS * sizeof(program[0]));
	for (i = 0; i < decision->n_cts; i++) {
		memcpy(a->data, &decision->cts[i], sizeof(decision->cts[i]));
		a = add(a, XV_ACT_CT, 0, sizeof(decision->cts[i]));
	}
	memset(&mask, 0, XV_FLOW_FIXED_WORDS * 8);
	if (decision->set_dst) {
		memcpy(value.eth_dst, decision->eth_dst, 6);
		memset(mask.eth_dst, 0xff, 6);
	}
	if (decision->set_src) {
		memcpy(value.eth_src, decision->eth_src, 6);
		memset(mask.eth_src, 0xff, 6);
	}
	if (decision->set_dst || decision->set_src)
		a = add_set(a, XV_FLOW_STAGE_L2, 2, &value, &mask);
	if (decision->ttl != 0) {
		value.ip_ttl = decision->ttl;
		mask.ip_ttl = 0xff;
		a = add_set(a, offsetof(struct xv_flow_key, ip_ttl) / 8, 1, &value, &mask);
	}
	if (decision->patch != XV_MAX_PORTS)
		a = add(a, XV_ACT_PATCH, decision->patch, 0);
	a = add(a, decision->type, decision->arg, 0);
	return (uint32_t)((uint8_t *)a - (uint8_t *)program);
}
