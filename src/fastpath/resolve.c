/* SPDX-License-Identifier: Apache-2.0 */
#include "fastpath/resolve.h"

#include <string.h>

#include "fastpath/conntrack.h"
#include "fastpath/firewall.h"
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

/* Does the firewall (NULL: none)? */
static bool firewall_drops(const struct xv_firewall *f, enum xv_firewall_way way, const struct xv_flow_key *key,
			   struct xv_flow_key *mask, struct xv_decision *decision)
{
	const struct xv_policy *policy;
	enum xv_verdict verdict;
	uint32_t rule;

	verdict = xv_firewall_check(f, way, key, mask, &policy, &rule);
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
		decision->track = XV_TRACK_LOOKUP;
		decision->zone = binding->zone;
		return;
	}
	if (!firewall_drops(f, XV_FIREWALL_FROM_VM, key, mask, decision))
		decision->type = XV_ACT_FORWARD;
}

/* Its connection is known: may it leave its sender? */
static void decide_tracked(const struct xv_binding *binding, const struct xv_flow_key *key, struct xv_flow_key *mask,
			   struct xv_decision *decision)
{
	mask->ct_state |= XV_CS_INVALID;
	if ((key->ct_state & XV_CS_INVALID) != 0)
		drops(decision, XV_DROP_CT_INVALID);
	else if (!firewall_drops(binding->firewall, XV_FIREWALL_FROM_VM, key, mask, decision))
		decision->type = XV_ACT_FORWARD;
}

/* Its receiver is known: may it go there? */
static void decide_receiver(const struct xv_binding *out, uint16_t port_id, const struct xv_flow_key *key,
			    struct xv_flow_key *mask, struct xv_decision *decision)
{
	if (firewall_drops(out->firewall, XV_FIREWALL_TO_VM, key, mask, decision) ||
	    policy_drops(out->ingress_policy, key, mask, decision))
		return;
	decision->type = XV_ACT_OUTPUT;
	decision->arg = port_id;
	mask->ct_state |= XV_CS_NEW;
	if ((key->ct_state & XV_CS_NEW) != 0) {
		decision->track = XV_TRACK_COMMIT;
		decision->zone = out->zone;
		decision->timeouts = out->timeouts;
	}
}

bool xv_resolve(const struct xv_port *in, const struct xv_binding *binding, const struct xv_flow_key *key,
		struct xv_flow_key *mask, struct xv_decision *decision)
{
	const struct xv_binding *out_binding;
	const struct xv_port *out;

	if (binding->forward != XV_FORWARD_NETWORK)
		return false;
	*decision = (struct xv_decision){0};
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
	if ((key->recirc_id & XV_RECIRC_TO_PORT) != XV_RECIRC_TO_PORT)
		return false;
	out = xv_port_by_id((uint16_t)key->recirc_id);
	out_binding = out == NULL ? NULL : atomic_load_explicit(&out->binding, memory_order_acquire);
	if (out_binding == NULL || out_binding->network != binding->network)
		return false;
	decision->owner = out->id;
	decision->version = out_binding->version;
	decide_receiver(out_binding, out->id, key, mask, decision);
	return true;
}

uint32_t xv_decision_program(const struct xv_decision *decision, uint64_t program[XV_DECISION_WORDS])
{
	struct xv_action *a = (struct xv_action *)(void *)program;
	struct xv_action_ct *ct;

	memset(program, 0, XV_DECISION_WORDS * sizeof(program[0]));
	if (decision->track != XV_TRACK_NOT) {
		a->type = XV_ACT_CT;
		a->bytes = sizeof(*a) + sizeof(*ct);
		ct = (struct xv_action_ct *)(void *)a->data;
		ct->zone = decision->zone;
		ct->timeouts = decision->timeouts;
		ct->flags = decision->track == XV_TRACK_COMMIT ? XV_CT_COMMIT : 0;
		a = (struct xv_action *)(void *)((uint8_t *)a + a->bytes);
	}
	a->type = (uint16_t)decision->type;
	a->bytes = sizeof(*a);
	a->arg = decision->arg;
	return (uint32_t)((uint8_t *)a + a->bytes - (uint8_t *)program);
}
