/* SPDX-License-Identifier: Apache-2.0 */
#include "fastpath/load_balancer.h"

#include <string.h>

#include "fastpath/conntrack.h"

#define TRIES 16 /* to find a backend that is not the client itself */

#define MASK_ALL(mask, field) memset(&(mask)->field, 0xff, sizeof((mask)->field))

static bool same_addr(const union xv_ip_addr *a, const union xv_ip_addr *b)
{
	return a->u64[0] == b->u64[0] && a->u64[1] == b->u64[1];
}

const struct xv_backend *xv_balancer_backend(const struct xv_load_balancer *lb,
					     const union xv_ip_addr *addr)
{
	unsigned int i;

	for (i = 0; i < lb->n; i++)
		if (same_addr(&lb->backends[i].addr, addr))
			return &lb->backends[i];
	return NULL;
}

/* For a new connection; NULL: there is nobody. A VM that is client and backend is not given its own
 * connections: to its own stack they would come from itself. */
static const struct xv_backend *pick(const struct xv_load_balancer *lb,
				     const struct xv_flow_key *key)
{
	uint32_t hash = xv_flow_hash_5tuple(key, 0, false);
	unsigned int i;

	for (i = 0; i < TRIES; i++, hash += UINT32_C(0x9e3779b9)) {
		uint16_t index = xv_maglev_pick(lb->table, hash);

		if (index == XV_MAGLEV_NONE)
			return NULL;
		if (!same_addr(&lb->backends[index].addr, &key->ip_src))
			return &lb->backends[index];
	}
	return NULL;
}

/* The label that stands for an address; labels are in host order. */
static void label_of(const union xv_ip_addr *addr, uint64_t label[2])
{
	label[1] = rte_be_to_cpu_64(addr->u64[0]);
	label[0] = rte_be_to_cpu_64(addr->u64[1]);
}

static void open_to(const struct xv_load_balancer *lb, const struct xv_backend *b, uint16_t zone,
		    struct xv_decision *decision)
{
	struct xv_action_ct *ct = xv_decision_track(decision, zone, XV_CT_COMMIT);

	decision->counter = b->opened;
	if (lb->direct) {
		label_of(&b->addr, ct->label);
		memset(ct->label_mask, 0xff, sizeof(ct->label_mask));
		return;
	}
	ct->flags |= XV_CT_NAT;
	ct->nat = (struct xv_ct_nat){
		.min = b->addr,
		.max = b->addr,
		.min_port = rte_be_to_cpu_16(b->port),
		.max_port = rte_be_to_cpu_16(b->port),
		.flags = XV_NAT_DST,
		.ipv6 = lb->ipv6,
	};
}

void xv_balancer_decide(const struct xv_load_balancer *lb, uint16_t zone,
			const struct xv_flow_key *key, struct xv_flow_key *mask,
			struct xv_decision *decision)
{
	const struct xv_backend *b;

	decision->gateway = "load balancer";
	decision->object = lb->name;
	MASK_ALL(mask, ct_state);
	MASK_ALL(mask, ct_label);
	decision->type = XV_ACT_RECIRC;
	decision->arg = XV_RECIRC_BALANCED;
	if ((key->ct_state & XV_CS_NEW) == 0) {
		if (!lb->direct)
			(void)xv_decision_track(decision, zone, XV_CT_NAT);
		return;
	}
	/* The next connection has a decision of its own. */
	decision->once = true;
	if (lb->direct && (key->ct_label[0] | key->ct_label[1]) != 0)
		return; /* nobody has answered yet, but it was given to somebody */
	b = pick(lb, key);
	if (b != NULL) {
		open_to(lb, b, zone, decision);
		return;
	}
	decision->type = XV_ACT_DROP;
	decision->arg = XV_DROP_NO_BACKEND;
	decision->reject = true;
}
