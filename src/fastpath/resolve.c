/* SPDX-License-Identifier: Apache-2.0 */
#include "fastpath/resolve.h"

#include "fastpath/policy.h"
#include "fastpath/worker_state.h"

/* What the policy says, as an action; without a policy, and when it allows: `otherwise`. */
static void ask(const struct xv_policy *policy, const struct xv_flow_key *key, struct xv_flow_key *mask,
		enum xv_action_type otherwise, struct xv_decision *decision)
{
	uint32_t rule;

	decision->type = otherwise;
	decision->policy = decision->rule = "";
	if (policy == NULL)
		return;
	if (xv_policy_check(policy, key, mask, &rule) == XV_POLICY_DENY) {
		decision->type = XV_ACT_DROP;
		decision->arg = XV_DROP_POLICY;
	}
	decision->policy = xv_policy_name(policy);
	decision->rule = xv_policy_rule_name(policy, rule);
}

bool xv_resolve(const struct xv_port *in, const struct xv_binding *binding, const struct xv_flow_key *key,
		struct xv_flow_key *mask, struct xv_decision *decision)
{
	const struct xv_binding *out_binding;
	const struct xv_port *out;

	if (binding->forward != XV_FORWARD_NETWORK)
		return false;
	mask->recirc_id = UINT32_MAX;
	decision->arg = 0;
	if (key->recirc_id == 0) {
		mask->in_port = UINT32_MAX;
		decision->owner = in->id;
		decision->version = binding->version;
		ask(binding->egress_policy, key, mask, XV_ACT_FORWARD, decision);
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
	decision->arg = out->id;
	ask(out_binding->ingress_policy, key, mask, XV_ACT_OUTPUT, decision);
	return true;
}
