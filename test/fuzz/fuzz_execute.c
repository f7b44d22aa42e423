/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Action programs on arbitrary packets: the input says which actions flows have, which fields they match, and what the packet is.
 * What xv_actions_check() lets through must run without a byte out of bounds, give back every buffer, keep the ledger
 * balanced; and the same packet three times must come out the same: the first goes the long way, the others may be fused.
 */
#include "fuzz.h"

#include <string.h>

#include <rte_mbuf.h>
#include <rte_mempool.h>

#include "base/clock.h"
#include "fastpath/binding.h"
#include "fastpath/flow.h"
#include "fastpath/fused.h"
#include "fastpath/ledger.h"
#include "fastpath/meter.h"
#include "fastpath/worker.h"
#include "port/dummy.h"
#include "port/eal.h"
#include "table/rcu.h"

#define PORTS 3
#define FLOWS 2 /* one for each recirculation */
#define ROUNDS 3
#define OUT_MAX 64

static struct xv_worker *worker;
static struct xv_port *ports[PORTS];

/* What is left of the input. Runs out into zeros. */
struct input {
	const uint8_t *data;
	size_t size;
};

static uint8_t byte(struct input *in)
{
	if (in->size == 0)
		return 0;
	in->size--;
	return *in->data++;
}

static void bytes(struct input *in, void *to, size_t n)
{
	uint8_t *at = to;

	while (n-- > 0)
		*at++ = byte(in);
}

static uint32_t word(struct input *in)
{
	uint32_t v;

	bytes(in, &v, sizeof(v));
	return v;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct xv_eal_config config = {.memory_mb = 64};
	struct xv_queue_ref refs[PORTS];
	uint16_t i;

	xv_clock_init(0);
	xv_clock_stop();
	xv_worker_configure(&(struct xv_worker_settings){.batch = 1});
	FUZZ_CHECK(xv_eal_init(&config, NULL) == 0 && xv_rcu_init() == 0 && xv_flows_init() == 0);
	xv_fused_entries = 64;
	FUZZ_CHECK(xv_worker_create("fuzz", -1, true, &worker, NULL) == 0);
	for (i = 0; i < PORTS; i++) {
		struct xv_port_config port = {.kind = XV_PORT_DUMMY, .queues = 1};
		struct xv_binding *b = calloc(1, sizeof(*b));

		snprintf(port.name, sizeof(port.name), "p%u", i);
		FUZZ_CHECK(b != NULL && xv_port_create(&port, i, NULL, &ports[i], NULL) == 0);
		b->forward = XV_FORWARD_FLOWS;
		xv_port_bind(ports[i], b);
		refs[i] = (struct xv_queue_ref){ports[i], 0};
	}
	FUZZ_CHECK(xv_worker_set_queues(worker, refs, PORTS) == 0);
	FUZZ_CHECK(xv_meter_set(1, 0, 0, 0) == 0);
	return 0;
}

static void add_set(struct xv_actions_builder *b, struct input *in)
{
	struct xv_flow_key value, mask;
	uint8_t *v = (uint8_t *)&value, *m = (uint8_t *)&mask;
	unsigned int at = byte(in) % XV_FLOW_FIXED_WORDS * 8, n = byte(in) % 16, i;

	memset(&value, 0, sizeof(value));
	memset(&mask, 0, sizeof(mask));
	for (i = at; i < at + n && i < XV_FLOW_FIXED_WORDS * 8; i++) {
		m[i] = byte(in);
		v[i] = byte(in);
	}
	xv_actions_add_set(b, &value, &mask);
}

static void add_actions(struct xv_actions_builder *b, struct input *in, unsigned int depth)
{
	unsigned int n = byte(in) % 6;

	while (n-- > 0) {
		enum xv_action_type type = (enum xv_action_type)(byte(in) % (XV_ACT_MAX + 1)); /* one too many */

		switch (type) {
		case XV_ACT_OUTPUT:
			xv_actions_add(b, type, byte(in) % (PORTS + 1), NULL, 0);
			break;
		case XV_ACT_SET:
			add_set(b, in);
			break;
		case XV_ACT_PUSH_VLAN: {
			struct xv_action_push_vlan vlan = {0};

			bytes(in, &vlan, 4);
			xv_actions_add(b, type, 0, &vlan, sizeof(vlan));
			break;
		}
		case XV_ACT_PUSH_MPLS: {
			struct xv_action_push_mpls mpls = {.lse = word(in), .eth_type = RTE_BE16(0x8847),
							   .before_l2 = byte(in) & 1};

			xv_actions_add(b, type, 0, &mpls, sizeof(mpls));
			break;
		}
		case XV_ACT_POP_MPLS:
			xv_actions_add(b, type, word(in) & 0xffff, NULL, 0);
			break;
		case XV_ACT_PUSH_ETH: {
			struct xv_action_push_eth eth = {0};

			bytes(in, &eth, 12);
			xv_actions_add(b, type, 0, &eth, sizeof(eth));
			break;
		}
		case XV_ACT_PUSH_NSH: {
			struct xv_action_push_nsh nsh = {0};

			bytes(in, &nsh, 24);
			xv_actions_add(b, type, 0, &nsh, sizeof(nsh));
			break;
		}
		case XV_ACT_TUNNEL_PUSH: {
			struct xv_encap_params params = {
				.type = (enum xv_tunnel_type)(1 + byte(in) % XV_TUNNEL_MPLS_UDP),
				/* Without DF the IPv4 id counts: three packets would not be equal. */
				.flags = (word(in) & (XV_ENCAP_GBP | (XV_ENCAP_GBP - 1))) | XV_ENCAP_DF,
				.id = word(in) & 0xfffff,
			};
			struct xv_encap encap;

			memset(&encap, 0, sizeof(encap));
			if (xv_encap_build(&params, &encap) == 0)
				xv_actions_add(b, type, 0, &encap, sizeof(encap));
			break;
		}
		case XV_ACT_TUNNEL_POP: {
			static const uint8_t types[] = {XV_TUNNEL_VXLAN, XV_TUNNEL_GENEVE, XV_TUNNEL_GRE};
			struct xv_action_tunnel_pop pop = {.type = types[byte(in) % RTE_DIM(types)]};

			pop.gbp = byte(in) & 1;
			pop.udp_port = byte(in) & 1 ? RTE_BE16(XV_VXLAN_PORT) : RTE_BE16(XV_GENEVE_PORT);
			xv_actions_add(b, type, byte(in) % 4, &pop, sizeof(pop));
			break;
		}
		case XV_ACT_SAMPLE:
		case XV_ACT_CLONE:
		case XV_ACT_CHECK_LEN:
			if (depth == 3)
				break;
			xv_actions_open(b, type, type == XV_ACT_SAMPLE ? (byte(in) & 1 ? UINT32_MAX : 0) : byte(in));
			add_actions(b, in, depth + 1);
			if (type == XV_ACT_CHECK_LEN && (byte(in) & 1) != 0) {
				xv_actions_otherwise(b);
				add_actions(b, in, depth + 1);
			}
			xv_actions_close(b);
			break;
		case XV_ACT_RECIRC:
			xv_actions_add(b, type, byte(in) % (FLOWS + 1), NULL, 0);
			break;
		case XV_ACT_METER:
			xv_actions_add(b, type, byte(in) % 3, NULL, 0);
			break;
		case XV_ACT_DROP:
			xv_actions_add(b, type, byte(in) % (XV_DROP_MAX + 1), NULL, 0);
			break;
		default: /* no data, or unknown */
			xv_actions_add(b, type, byte(in), NULL, 0);
		}
	}
}

/* A flow that matches this packet at this recirculation, in fields that the input chooses. NULL: refused. */
static struct xv_flow *add_flow(struct input *in, const struct xv_flow_key *packet, uint32_t recirc)
{
	struct xv_flow_key key = *packet, mask;
	struct xv_actions_builder b;
	struct xv_flow_spec spec = {.key = &key, .mask = &mask, .owner = XV_FLOW_NO_OWNER};
	struct xv_flow *flow = NULL;
	uint8_t wanted = byte(in);

	memset(&mask, 0, sizeof(mask));
	key.recirc_id = recirc;
	mask.recirc_id = UINT32_MAX;
	if (recirc == 0 || (wanted & 0x80) != 0) { /* later the packet may be another one */
		mask.eth_type = wanted & 1 ? UINT16_MAX : 0;
		mask.ip_proto = wanted & 2 ? UINT8_MAX : 0;
		mask.ip_frag = wanted & 2 ? UINT8_MAX : 0;
		mask.ip_ttl = wanted & 4 ? UINT8_MAX : 0;
		mask.tp_dst = wanted & 8 ? UINT16_MAX : 0;
		mask.vlan[0].tci = wanted & 16 ? UINT16_MAX : 0;
		mask.tcp_flags = wanted & 32 ? UINT16_MAX : 0;
	}
	xv_actions_begin(&b);
	add_actions(&b, in, 0);
	if (xv_actions_finish(&b, &spec.actions) != 0)
		return NULL;
	if (xv_actions_check(spec.actions, &key, &mask, NULL) != 0 || xv_flow_add(&spec, &flow) != 0) {
		free(spec.actions);
		return NULL;
	}
	return flow;
}

struct outcome {
	unsigned int n;
	struct {
		uint16_t port;
		uint32_t len, sum;
	} out[OUT_MAX];
	uint64_t drops[XV_DROP_MAX];
};

static void run(void)
{
	unsigned int i;

	for (i = 0; i < 3; i++)
		(void)xv_worker_run_once(worker);
}

static void send(const uint8_t *frame, uint16_t len, struct outcome *o)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(xv_packet_pool());
	struct xv_ledger before, after;
	unsigned int p, i;

	FUZZ_CHECK(m != NULL);
	memcpy(rte_pktmbuf_append(m, len), frame, len);
	memset(o, 0, sizeof(*o));
	xv_ledger_read(ports[0], &before);
	FUZZ_CHECK(xv_dummy_put(ports[0], 0, m) == 0);
	run();
	xv_ledger_read(ports[0], &after);
	for (i = 0; i < XV_DROP_MAX; i++)
		o->drops[i] = after.drops[i] - before.drops[i];
	for (p = 0; p < PORTS; p++) {
		while ((m = xv_dummy_take(ports[p])) != NULL) {
			const struct rte_mbuf *seg;

			rte_mbuf_sanity_check(m, 1);
			if (o->n < OUT_MAX) {
				uint32_t sum = 2166136261u;

				for (seg = m; seg != NULL; seg = seg->next)
					for (i = 0; i < seg->data_len; i++)
						sum = (sum ^ *rte_pktmbuf_mtod_offset(seg, const uint8_t *, i)) *
						      16777619u;
				o->out[o->n].port = (uint16_t)p;
				o->out[o->n].len = m->pkt_len;
				o->out[o->n++].sum = sum;
			}
			rte_pktmbuf_free(m);
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned int avail = rte_mempool_avail_count(xv_packet_pool()), i, n_flows = 0;
	struct xv_flow *flows[FLOWS];
	struct xv_flow_key key;
	struct xv_flow_layout layout;
	struct outcome outcomes[ROUNDS];
	struct input in = {data, size};
	struct xv_ledger l;
	uint64_t drops = 0;
	uint16_t len;

	if (size < 40)
		return 0;
	len = (uint16_t)(20 + byte(&in)); /* of the frame, at the end of the input */
	if (len > in.size / 2)
		len = (uint16_t)(in.size / 2);
	in.size -= len;
	memset(&key, 0, sizeof(key));
	if (xv_flow_extract(in.data + in.size, len, len, &key, &layout) != XV_FLOW_OK)
		return 0;
	for (i = 0; i < FLOWS; i++) {
		flows[n_flows] = add_flow(&in, &key, i);
		n_flows += flows[n_flows] != NULL;
	}
	for (i = 0; i < ROUNDS; i++) {
		send(data + size - len, len, &outcomes[i]);
		FUZZ_CHECK(i == 0 || memcmp(&outcomes[0], &outcomes[i], sizeof(outcomes[0])) == 0);
	}
	for (i = 0; i < n_flows; i++)
		xv_flow_del(flows[i]);
	for (i = 0; i < 100 && xv_flows_poll(); i++)
		run();
	FUZZ_CHECK(i < 100);
	(void)xv_rcu_poll();
	xv_ledger_read(ports[0], &l);
	for (i = 0; i < XV_DROP_MAX; i++)
		drops += l.drops[i];
	FUZZ_CHECK(l.rx_packets + l.copies == l.forwarded + l.punts + drops + l.held);
	FUZZ_CHECK(rte_mempool_avail_count(xv_packet_pool()) == avail);
	return 0;
}
