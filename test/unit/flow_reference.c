/* SPDX-License-Identifier: Apache-2.0 */
#include "flow_reference.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <rte_mbuf.h>

#include "net/packet.h"
#include "flow_reference_state.h"
#include "port/eal.h"

#define PASSES 64

/* ---- The end of a packet ---- */

void ref_drop(struct under_way *k, enum xv_drop reason)
{
	k->world->drops[k->in][reason]++;
	k->gone = true;
}

bool ref_finish(struct ref_packet *p)
{
	uint32_t field = (uint32_t)p->csum_start + p->csum_offset;
	uint16_t csum;

	if (!p->request)
		return true;
	if (field + 2 > p->len)
		return false;
	csum = (uint16_t)~ref_sum(data(p) + p->csum_start, p->len - p->csum_start, 0);
	put16(data(p) + field, csum == 0 ? 0xffff : csum);
	p->request = false;
	return true;
}

void ref_truncate(struct under_way *k)
{
	if (k->trunc != 0 && k->p.len > k->trunc) {
		k->p.len = k->trunc;
		k->p.request = false; /* what is left promises nothing */
	}
	k->trunc = 0;
}

static void output(struct under_way *k, uint32_t port)
{
	struct ref_world *world = k->world;
	struct ref_output *out;

	if (port >= REF_PORTS || !world->port_up[port]) {
		ref_drop(k, XV_DROP_TX_DOWN);
		return;
	}
	ref_truncate(k);
	if (!ref_finish(&k->p)) {
		ref_drop(k, XV_DROP_OFFLOAD);
		return;
	}
	assert(world->n_outputs < REF_OUTPUTS && world->n_bytes + k->p.len <= REF_BYTES);
	out = &world->outputs[world->n_outputs++];
	*out = (struct ref_output){(uint16_t)port, k->p.len, world->n_bytes};
	memcpy(world->bytes + out->at, data(&k->p), out->len);
	world->n_bytes += out->len;
	world->forwarded[k->in]++;
	k->gone = true;
}

/* ---- Connection tracking ---- */

static void track(struct under_way *k, const struct xv_action_ct *ct)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(xv_packet_pool());
	struct xv_flow_layout layout;
	struct xv_flow_key scratch;
	int rc;

	assert(m != NULL && k->p.len <= rte_pktmbuf_tailroom(m));
	memcpy(rte_pktmbuf_append(m, (uint16_t)k->p.len), data(&k->p), k->p.len);
	if (k->p.request) {
		*xv_packet_offload(m) = (struct xv_offload){
			.flags = XV_OFFLOAD_CSUM, .csum_start = k->p.csum_start, .csum_offset = k->p.csum_offset};
		m->ol_flags |= XV_PACKET_OFFLOAD;
	}
	scratch = k->key;
	(void)xv_flow_extract(rte_pktmbuf_mtod(m, const uint8_t *), m->data_len, m->pkt_len, &scratch, &layout);
	rc = xv_conntrack_packet(k->world->ct, ct, m, &k->key, &layout, k->world->now_ms, &k->hit);
	assert(m->pkt_len == k->p.len);
	memcpy(data(&k->p), rte_pktmbuf_mtod(m, const uint8_t *), k->p.len);
	rte_pktmbuf_free(m);
	if (rc != 0)
		ref_drop(k, rc == -ENOBUFS	? XV_DROP_CT_FULL
			: rc == -EDQUOT ? XV_DROP_CT_LIMIT
			: rc == -EPROTO ? XV_DROP_CT_HELPER
					: XV_DROP_CT_NAT);
}

/* ---- Actions ---- */

static void look_up(struct under_way *k);

/* The port that a bond has for the packet, whose bytes it counts. */
static uint32_t member(struct under_way *k, uint32_t bond)
{
	uint16_t port = k->world->bonds[bond][k->world->hash(&k->key, 0, false) % REF_BUCKETS];

	if (port < REF_PORTS) /* it may be down: it was to get them */
		k->world->bond_bytes[bond] += k->trunc != 0 && k->trunc < k->p.len ? k->trunc : k->p.len;
	return port;
}

static bool meter(struct under_way *k, uint32_t id)
{
	struct ref_meter *m = id < REF_METERS ? &k->world->meters[id] : NULL;

	if (m == NULL)
		return true;
	if (m->packets <= 0 || m->bits <= 0)
		return false;
	m->packets--;
	m->bits -= k->p.len * 8;
	return true;
}

static void run(struct under_way *k, const struct ref_program *program)
{
	unsigned int i;

	for (i = 0; i < program->n && !k->gone; i++) {
		const struct ref_action *a = &program->actions[i];
		struct under_way *copy;

		switch (a->type) {
		case XV_ACT_OUTPUT:
		case XV_ACT_BOND:
			if (i == program->n - 1) {
				output(k, a->type == XV_ACT_BOND ? member(k, a->arg) : a->arg);
				break;
			}
			k->world->copies[k->in]++;
			copy = malloc(sizeof(*copy));
			*copy = *k;
			output(copy, a->type == XV_ACT_BOND ? member(copy, a->arg) : a->arg);
			free(copy);
			k->trunc = 0;
			break;
		case XV_ACT_SET:
			ref_set(k, a->value, a->set);
			break;
		case XV_ACT_PUSH_VLAN:
			ref_push_vlan(k, &a->vlan);
			break;
		case XV_ACT_POP_VLAN:
			ref_pop_vlan(k);
			break;
		case XV_ACT_PUSH_MPLS:
			ref_push_mpls(k, &a->mpls);
			break;
		case XV_ACT_POP_MPLS:
			ref_pop_mpls(k, (rte_be16_t)a->arg);
			break;
		case XV_ACT_PUSH_ETH:
			ref_push_eth(k, &a->eth);
			break;
		case XV_ACT_POP_ETH:
			ref_pop_eth(k);
			break;
		case XV_ACT_TUNNEL_PUSH:
			ref_tunnel_push(k, a->encap);
			break;
		case XV_ACT_TUNNEL_POP:
			ref_tunnel_pop(k, a->arg, &a->pop);
			return;
		case XV_ACT_CT:
			track(k, &a->ct);
			break;
		case XV_ACT_RECIRC:
			k->key.recirc_id = a->arg;
			k->again = true;
			return;
		case XV_ACT_HASH:
		case XV_ACT_SYM_HASH:
			k->key.dp_hash = k->world->hash(&k->key, a->arg, a->type == XV_ACT_SYM_HASH);
			if (k->key.dp_hash == 0)
				k->key.dp_hash = 1;
			break;
		case XV_ACT_SAMPLE:
			if (a->arg == 0)
				break;
			__attribute__((fallthrough));
		case XV_ACT_CLONE:
			if (i == program->n - 1) { /* nothing is behind it: no copy */
				run(k, a->inner);
				return;
			}
			k->world->copies[k->in]++;
			copy = malloc(sizeof(*copy));
			*copy = *k;
			copy->again = false;
			run(copy, a->inner);
			if (!copy->gone)
				look_up(copy);
			free(copy);
			break;
		case XV_ACT_CHECK_LEN:
			run(k, k->p.len > a->arg ? a->inner : a->other);
			return;
		case XV_ACT_METER:
			if (!meter(k, a->arg))
				ref_drop(k, XV_DROP_METER);
			break;
		case XV_ACT_PUSH_NSH:
			ref_push_nsh(k, &a->nsh);
			break;
		case XV_ACT_POP_NSH:
			ref_pop_nsh(k);
			break;
		case XV_ACT_TRUNC:
			k->trunc = a->arg;
			break;
		case XV_ACT_DROP:
			ref_drop(k, (enum xv_drop)a->arg);
			return;
		default:
			assert(!"an action that the reference does not know");
		}
	}
	if (!k->gone)
		ref_drop(k, XV_DROP_ACTION);
}

bool ref_matches(const struct ref_flow *flow, const struct xv_flow_key *key)
{
	const uint64_t *k = (const uint64_t *)(const void *)key, *f = (const uint64_t *)(const void *)&flow->key;
	const uint64_t *m = (const uint64_t *)(const void *)&flow->mask;
	unsigned int i;

	for (i = 0; i < XV_FLOW_WORDS; i++)
		if (((k[i] ^ f[i]) & m[i]) != 0)
			return false;
	return true;
}

bool ref_overlaps(const struct xv_flow_key *key, const struct xv_flow_key *mask, const struct ref_flow *flow)
{
	const uint64_t *k = (const uint64_t *)(const void *)key, *f = (const uint64_t *)(const void *)&flow->key;
	const uint64_t *m = (const uint64_t *)(const void *)mask, *n = (const uint64_t *)(const void *)&flow->mask;
	unsigned int i;

	for (i = 0; i < XV_FLOW_WORDS; i++)
		if (((k[i] ^ f[i]) & m[i] & n[i]) != 0)
			return false;
	return true;
}

static void look_up(struct under_way *k)
{
	struct ref_world *world = k->world;
	unsigned int i;

	do {
		k->again = false;
		if (++k->passes > PASSES) {
			ref_drop(k, XV_DROP_DEPTH);
			return;
		}
		for (i = 0; i < world->n_flows && !ref_matches(world->flows[i], &k->key); i++)
			;
		if (i == world->n_flows) {
			if (world->n_misses < REF_MISSES)
				world->misses[world->n_misses++] = k->key;
			ref_drop(k, XV_DROP_NO_FLOW);
			return;
		}
		world->flows[i]->packets++;
		world->flows[i]->bytes += k->p.len;
		world->flows[i]->tcp_flags |= rte_be_to_cpu_16(k->key.tcp_flags);
		run(k, world->flows[i]->program);
	} while (!k->gone && k->again);
}

void ref_run(struct ref_world *world, uint16_t in_port, const struct ref_packet *packet)
{
	static struct under_way k;

	memset(&k.key, 0, sizeof(k.key));
	memset(&k.hit, 0, sizeof(k.hit));
	k.world = world;
	k.in = in_port;
	k.p = *packet;
	k.passes = 0;
	k.trunc = 0;
	k.gone = k.again = false;
	k.key.in_port = in_port;
	world->packets[in_port]++;
	if (k.p.len < 14)
		ref_drop(&k, XV_DROP_RUNT);
	else if (!ref_parse(&k.p, &k.key, &k.at))
		ref_drop(&k, XV_DROP_MALFORMED);
	else
		look_up(&k);
}

void ref_clear_results(struct ref_world *world)
{
	world->n_outputs = world->n_misses = 0;
	world->n_bytes = 0;
}

/* ---- Programs ---- */

struct ref_program *ref_program_new(void)
{
	return calloc(1, sizeof(struct ref_program));
}

void ref_program_free(struct ref_program *program)
{
	unsigned int i;

	if (program == NULL)
		return;
	for (i = 0; i < program->n; i++) {
		free(program->actions[i].value);
		free(program->actions[i].set);
		free(program->actions[i].encap);
		ref_program_free(program->actions[i].inner);
		ref_program_free(program->actions[i].other);
	}
	free(program);
}

struct ref_action *ref_add(struct ref_program *program, enum xv_action_type type, uint32_t arg)
{
	struct ref_action *a;

	assert(program->n < REF_ACTIONS);
	a = &program->actions[program->n++];
	memset(a, 0, sizeof(*a));
	a->type = type;
	a->arg = arg;
	return a;
}
