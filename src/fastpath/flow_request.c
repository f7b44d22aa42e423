/* SPDX-License-Identifier: Apache-2.0 */
/* What workers do with the flow table: look up, and ask for what is missing. */
#include "fastpath/flow_request.h"

#include <string.h>

#include "fastpath/worker_state.h"

struct xv_flow_requests xv_flow_requests;

struct xv_flow *xv_flow_lookup(struct xv_worker *w, const struct xv_flow_key *key)
{
	/* Flows are disjoint, and those of one stage of a pipeline few, as masks go. */
	uint64_t hint = ((uint64_t)key->recirc_id << 32 | key->in_port) + ((uint64_t)key->ct_state << 20);
	struct xv_cls_rule *rule = xv_classifier_lookup_recent(xv_flow_classifier, w->flow_reader,
							       (const uint64_t *)(const void *)key, hint);

	return rule != NULL ? (struct xv_flow *)(void *)((uint8_t *)rule - offsetof(struct xv_flow, rule)) : NULL;
}

/* Append text at most up to the last byte, which ends it. Returns the new length. */
static unsigned int append(char *to, unsigned int len, const char *text)
{
	for (; *text != '\0' && len < XV_FLOW_ORIGIN_LEN - 1; text++)
		to[len++] = *text;
	to[len] = '\0';
	return len;
}

unsigned int xv_decision_origin(const struct xv_decision *decision, char origin[XV_FLOW_ORIGIN_LEN])
{
	unsigned int len = append(origin, 0, decision->policy);

	if (decision->rule[0] != '\0')
		len = append(origin, len, ": ");
	return append(origin, len, decision->rule);
}

bool xv_flow_request(const struct xv_flow_key *key, const struct xv_flow_key *mask, const struct xv_decision *decision,
		     uint64_t bytes)
{
	struct xv_flow_request *r;
	void *slot;

	if (rte_ring_mc_dequeue(xv_flow_requests.free, &slot) != 0)
		return false;
	r = slot;
	r->key = *key;
	r->mask = *mask;
	r->decision = *decision;
	r->bytes = bytes;
	(void)xv_decision_origin(decision, r->origin);
	(void)rte_ring_mp_enqueue(xv_flow_requests.wanted, r);
	return true;
}
