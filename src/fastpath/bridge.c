/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The MAC-learning stage (IEEE 802.1Q, clauses 7 and 8.6-8.8): classify to a VLAN, learn the source, look up the destination,
 * send there or flood. Stage by stage over the burst.
 */
#include <string.h>

#include <rte_ether.h>

#include "fastpath/bridge.h"
#include "fastpath/conntrack.h"
#include "fastpath/firewall.h"
#include "fastpath/flow.h"
#include "fastpath/live_state.h"
#include "fastpath/network.h"
#include "fastpath/policy.h"
#include "fastpath/resolve.h"
#include "fastpath/rule_log.h"
#include "fastpath/worker_state.h"
#include "net/flow_key.h"
#include "net/parse.h"
#include "port/eal.h"

#define TAG_BYTES 4
#define VLAN_MASK 0xfff
/* In the keys of net/parse.h: the multicast bit of a MAC, and 01:80:c2:00:00:0x. */
#define KEY_MULTICAST (UINT64_C(1) << 56)
#define KEY_RESERVED (UINT64_C(0x0180c2000000) << 16)
#define KEY_RESERVED_MASK (UINT64_C(0xfffffffffff0) << 16)

/* One packet of the burst: what parsing and classification found. */
struct frame {
	struct rte_mbuf *m;
	uint64_t dst_key; /* with VLAN */
	uint16_t vlan;	  /* VLAN it belongs to; 0 = untagged domain */
	uint16_t tci;	  /* of its tag, or of the tag it would get */
	bool tagged;
};

static inline bool vlan_allowed(const struct xv_binding *b, uint16_t vlan)
{
	return (b->trunk_vlans[vlan / 64] >> (vlan % 64) & 1) != 0;
}

/* Which VLAN a frame that came in through `b` belongs to. False: not allowed there. */
static inline bool classify(const struct xv_binding *b, const struct xv_parsed *p, struct frame *f)
{
	uint16_t vid = p->tagged ? p->vlan_tci & VLAN_MASK : 0;

	f->tagged = p->tagged;
	f->tci = p->vlan_tci;
	if (vid == 0) { /* untagged, or priority-tagged */
		f->vlan = b->vlan;
		f->tci = (uint16_t)((p->tagged ? p->vlan_tci & ~VLAN_MASK : 0) | b->vlan);
		return true;
	}
	f->vlan = vid;
	if (b->trunk)
		return vid == b->vlan || vlan_allowed(b, vid);
	return b->vlan == 0; /* access ports take no tagged frames; plain ones pass any */
}

/* Whether frames of the VLAN leave through `b`, and if so whether with a tag. */
static inline bool egress(const struct xv_binding *b, uint16_t vlan, bool *tagged)
{
	*tagged = vlan != b->vlan;
	if (!*tagged)
		return true;
	if (b->trunk)
		return vlan != 0 && vlan_allowed(b, vlan);
	return b->vlan == 0;
}

static bool tag_remove(struct rte_mbuf *m)
{
	uint8_t *start = rte_pktmbuf_mtod(m, uint8_t *);

	if (rte_pktmbuf_data_len(m) < RTE_ETHER_HDR_LEN + TAG_BYTES)
		return false;
	memmove(start + TAG_BYTES, start, 2 * RTE_ETHER_ADDR_LEN);
	(void)rte_pktmbuf_adj(m, TAG_BYTES);
	if ((m->ol_flags & XV_PACKET_OFFLOAD) != 0)
		xv_packet_offload(m)->csum_start -= TAG_BYTES;
	return true;
}

static bool tag_insert(struct rte_mbuf *m, uint16_t tci)
{
	uint8_t *start = (uint8_t *)rte_pktmbuf_prepend(m, TAG_BYTES);

	if (start == NULL)
		return false;
	memmove(start, start + TAG_BYTES, 2 * RTE_ETHER_ADDR_LEN);
	start[12] = RTE_ETHER_TYPE_VLAN >> 8;
	start[13] = RTE_ETHER_TYPE_VLAN & 0xff;
	start[14] = (uint8_t)(tci >> 8);
	start[15] = (uint8_t)tci;
	if ((m->ol_flags & XV_PACKET_OFFLOAD) != 0)
		xv_packet_offload(m)->csum_start += TAG_BYTES;
	return true;
}

/* A request whose offsets point into the tag that goes cannot be kept. */
static bool retag(struct rte_mbuf *m, const struct frame *f, bool want_tag)
{
	if (f->tagged == want_tag)
		return true;
	if (want_tag)
		return tag_insert(m, f->tci);
	if ((m->ol_flags & XV_PACKET_OFFLOAD) != 0 &&
	    xv_packet_offload(m)->csum_start < RTE_ETHER_HDR_LEN + TAG_BYTES)
		return false;
	return tag_remove(m);
}

bool xv_bridge_retag(const struct xv_binding *to, struct rte_mbuf *m)
{
	static const struct xv_binding plain; /* as that of a tunnel's port */
	struct frame f = {.m = m};
	struct xv_parsed parsed;
	bool want_tag;

	return xv_parse_eth(rte_pktmbuf_mtod(m, const uint8_t *), rte_pktmbuf_data_len(m), &parsed) == XV_PARSE_OK &&
	       classify(&plain, &parsed, &f) && egress(to, f.vlan, &want_tag) && retag(m, &f, want_tag);
}

/* The network's internal port, if the address (in the untagged domain) is its own. Not learned: nobody can take it. */
static inline struct xv_port *gateway_at(const struct xv_network *network, uint64_t key)
{
	if (likely(key != atomic_load_explicit(&network->gateway_key, memory_order_relaxed)))
		return NULL;
	return atomic_load_explicit(&network->gateway, memory_order_acquire);
}

/* ---- Flooding: receivers' rules, which flows ask otherwise (resolve.c) ---- */

/* Who floods a packet. A rule that rejects it speaks for its port alone, and only one of all receivers is meant: so its sender is
 * told if that one is known by its address, or if nobody lets the packet in. */
struct flooded {
	bool let_in;   /* somebody does */
	bool rejected; /* somebody rejects it ... */
	bool told;     /* ... and its sender knows */
};

static void tell(struct xv_worker *w, struct rte_mbuf *m, struct flooded *flooded)
{
	if (flooded->rejected && !flooded->told)
		xv_answer_refused(w, m);
	flooded->told |= flooded->rejected;
}

/* A rule of the receiver has said so; does the packet go there? */
static bool judged(struct xv_worker *w, const struct rte_mbuf *m, const struct xv_flow_key *key,
		   const struct xv_policy *policy, uint32_t rule, enum xv_verdict verdict, struct flooded *flooded)
{
	const struct xv_judgement by = xv_judgement_of(policy, rule, verdict, key);

	xv_rule_judged(w, m->port, key, &by, rte_pktmbuf_pkt_len(m));
	flooded->rejected |= verdict == XV_POLICY_REJECT;
	return verdict == XV_POLICY_ALLOW;
}

/* Whether the ingress policy of a port lets the packet in. */
static bool let_in(struct xv_worker *w, const struct xv_binding *b, const struct rte_mbuf *m, struct flooded *flooded)
{
	struct xv_flow_key key, mask;
	struct xv_flow_layout layout;
	enum xv_verdict verdict;
	uint32_t rule;

	if (likely(b->ingress_policy == NULL))
		return true;
	memset(&key, 0, sizeof(key));
	if (xv_flow_extract(rte_pktmbuf_mtod(m, const uint8_t *), rte_pktmbuf_data_len(m), rte_pktmbuf_pkt_len(m),
			    &key, &layout) != XV_FLOW_OK)
		return false;
	verdict = xv_policy_check(b->ingress_policy, &key, &mask, &rule);
	return judged(w, m, &key, b->ingress_policy, rule, verdict, flooded);
}

/*
 * Whether the firewall of a port lets a tracked packet in that is flooded because nobody knows yet where its receiver is. The
 * first one that does commits the connection, as the flow to a known receiver would.
 */
static bool let_in_tracked(struct xv_worker *w, const struct xv_binding *b, struct rte_mbuf *m,
			   struct xv_tracked *tracked, struct flooded *flooded, enum xv_drop *reason)
{
	static const struct xv_action_ct commit = {.flags = XV_CT_COMMIT};
	const struct xv_policy *policy;
	struct xv_flow_key mask, key;
	struct xv_action_ct action = commit;
	enum xv_verdict verdict;
	uint32_t rule;
	int rc;

	*reason = XV_DROP_FIREWALL;
	verdict = xv_firewall_check(b->firewall, XV_FIREWALL_TO_VM, tracked->key, &mask, &policy, &rule);
	if (policy != NULL && !judged(w, m, tracked->key, policy, rule, verdict, flooded)) {
		if (verdict == XV_POLICY_REJECT && xv_guard_has_mac(b->firewall->guard, tracked->key->eth_dst))
			tell(w, m, flooded);
		return false;
	}
	/* A fragment's datagram has opened it before, see xv_bridge_opens(). */
	if (tracked->committed || (tracked->key->ct_state & XV_CS_NEW) == 0 || tracked->key->ip_frag != XV_FRAG_NONE)
		return true;
	action.zone = b->zone;
	action.timeouts = b->timeouts;
	key = *tracked->key;
	rc = xv_conntrack_packet(xv_flow_conntrack, &action, m, &key, tracked->layout, tracked->now_ms, &tracked->hit);
	tracked->committed = rc == 0;
	*reason = xv_conntrack_why(rc);
	return tracked->committed; /* what cannot be stored goes to nobody */
}

/* Send f to one port; m is f->m or a copy of it and is taken. last: no other port gets the packet. */
static void send_to(struct xv_worker *w, struct xv_port *out, const struct xv_binding *b,
		    const struct frame *f, struct rte_mbuf *m, bool want_tag, struct flooded *flooded, bool last)
{
	if (unlikely(!retag(m, f, want_tag))) {
		xv_packet_drop(w, m, XV_DROP_MALFORMED);
	} else if (unlikely(!let_in(w, b, m, flooded))) {
		if (last && !flooded->let_in)
			tell(w, m, flooded);
		xv_packet_drop(w, m, XV_DROP_POLICY);
	} else {
		flooded->let_in = true;
		xv_pipeline_output(w, out, b, XV_QUEUE_BY_FLOW, &m, 1);
	}
}

/*
 * Another packet with the same bytes for one more receiver. Shared where nobody writes: a frame that
 * wants no offload and keeps its tag as it is; else a copy.
 */
static struct rte_mbuf *another(struct rte_mbuf *m, bool will_be_written)
{
	struct rte_mbuf *seg, *copy;

	if (!will_be_written && (m->ol_flags & XV_PACKET_OFFLOAD) == 0) {
		for (seg = m; seg != NULL; seg = seg->next)
			rte_mbuf_refcnt_update(seg, 1);
		return m;
	}
	copy = rte_pktmbuf_copy(m, xv_packet_pool(), 0, UINT32_MAX);
	if (copy != NULL) {
		copy->port = m->port;
		copy->ol_flags |= m->ol_flags & XV_PACKET_OFFLOAD;
		*xv_packet_offload(copy) = *xv_packet_offload(m);
		xv_packet_inherit_trace(copy, m);
	}
	return copy;
}

/*
 * Split horizon: every host sends to all others itself, so what came out of a tunnel has reached them already and would come
 * around for ever.
 */
static inline bool from_tunnel(const struct xv_port *in)
{
	return in->ops->kind == XV_PORT_TUNNEL;
}

/* The daemon itself has no use for frames to addresses that are not known yet. */
static inline bool is_asked(const struct xv_port *out, const struct frame *f)
{
	return out->ops->kind != XV_PORT_INTERNAL || (f->dst_key & KEY_MULTICAST) != 0;
}

/* The binding of a member that gets a frame that `in` floods, or NULL. */
static const struct xv_binding *receiver(const struct xv_port *in, const struct xv_network *network, struct xv_port *out,
					 const struct frame *f, bool *want_tag)
{
	const struct xv_binding *b;

	if (out == in || atomic_load_explicit(&out->tx_queues, memory_order_relaxed) == 0)
		return NULL;
	b = atomic_load_explicit(&out->binding, memory_order_acquire);
	if (b == NULL || b->network != network || !egress(b, f->vlan, want_tag) || (b->tunnel != NULL && from_tunnel(in)) ||
	    !is_asked(out, f))
		return NULL;
	return b;
}

/* To every other member whose VLANs allow it. The original goes last. */
static void flood(struct xv_worker *w, struct xv_port *in, const struct xv_network *network,
		  const struct frame *f, struct xv_tracked *tracked)
{
	const struct xv_members *members =
		atomic_load_explicit(&network->members, memory_order_acquire);
	struct xv_counters *c = &w->counters[in->id];
	struct xv_port *held = NULL;
	const struct xv_binding *held_binding = NULL;
	struct flooded flooded = {0};
	bool held_tag = false;
	enum xv_drop reason;
	unsigned int i;

	if (unlikely(w->live != NULL))
		xv_live_note(w, f->m, XV_LIVE_FLOOD, 0, f->vlan);

	for (i = 0; members != NULL && i < members->n; i++) {
		struct xv_port *out = members->ports[i];
		const struct xv_binding *b;
		bool want_tag;

		b = receiver(in, network, out, f, &want_tag);
		if (b == NULL)
			continue;
		if (tracked != NULL && !let_in_tracked(w, b, f->m, tracked, &flooded, &reason)) {
			count(&c->copies, 1);
			count(&c->drops[reason], 1);
			continue;
		}
		if (held != NULL) {
			struct rte_mbuf *m = another(f->m, held_tag != f->tagged);

			count(&c->copies, 1);
			if (m == NULL)
				count(&c->drops[XV_DROP_NO_BUFFER], 1);
			else
				send_to(w, held, held_binding, f, m, held_tag, &flooded, false);
		}
		held = out;
		held_binding = b;
		held_tag = want_tag;
	}
	if (held == NULL) {
		tell(w, f->m, &flooded);
		xv_packet_drop(w, f->m, XV_DROP_NO_MEMBER);
		return;
	}
	/* Others may share the bytes still: who writes takes a copy of its own. */
	if (held_tag != f->tagged && rte_mbuf_refcnt_read(f->m) > 1) {
		struct rte_mbuf *m = another(f->m, true);

		rte_pktmbuf_free(f->m);
		if (m == NULL)
			count(&c->drops[XV_DROP_NO_BUFFER], 1);
		else
			send_to(w, held, held_binding, f, m, held_tag, &flooded, true);
		return;
	}
	send_to(w, held, held_binding, f, f->m, held_tag, &flooded, true);
}

/* n frames with the same VLAN and destination; frames[i].m is pkts[i]. */
static void forward(struct xv_worker *w, struct xv_port *in, const struct xv_network *network,
		    const struct frame *frames, struct rte_mbuf **pkts, uint16_t n, uint16_t port_id)
{
	struct xv_port *out = xv_port_by_id(port_id);
	uint64_t dst_key = frames[0].dst_key;
	const struct xv_binding *b;
	bool want_tag;
	uint16_t i;

	if (unlikely((dst_key & KEY_RESERVED_MASK) == KEY_RESERVED)) { /* 802.1Q, table 8-1 */
		for (i = 0; i < n; i++)
			xv_packet_drop(w, pkts[i], XV_DROP_RESERVED_MAC);
		return;
	}
	if (unlikely(out == in)) {
		for (i = 0; i < n; i++)
			xv_packet_drop(w, pkts[i], XV_DROP_SAME_PORT);
		return;
	}
	b = out == NULL ? NULL : atomic_load_explicit(&out->binding, memory_order_acquire);
	/* Not learned, or on a port that has left the network since. */
	if (unlikely(b == NULL || b->network != network || !egress(b, frames[0].vlan, &want_tag))) {
		for (i = 0; i < n; i++)
			flood(w, in, network, &frames[i], NULL);
		return;
	}
	if (unlikely(b->tunnel != NULL && from_tunnel(in))) {
		for (i = 0; i < n; i++)
			xv_packet_drop(w, pkts[i], XV_DROP_TUNNEL_HORIZON);
		return;
	}
	if (unlikely(b->ingress_policy != NULL)) {
		xv_flow_burst(w, in, atomic_load_explicit(&in->binding, memory_order_acquire), pkts, n);
		return;
	}
	if (unlikely(w->live != NULL))
		xv_live_note(w, pkts[0], XV_LIVE_MAC, out->id, frames[0].vlan);
	for (i = 0; i < n; i++)
		if (unlikely(frames[i].tagged != want_tag))
			break;
	if (i > 0)
		xv_pipeline_output(w, out, b, XV_QUEUE_BY_FLOW, pkts, i);
	for (; i < n; i++) { /* there is no ingress policy */
		struct flooded flooded = {0};

		send_to(w, out, b, &frames[i], pkts[i], want_tag, &flooded, true);
	}
}

struct xv_port *xv_bridge_forward(struct xv_worker *w, struct xv_port *in, const struct xv_binding *binding,
				  struct rte_mbuf *m, struct xv_tracked *tracked,
				  const struct xv_binding **out_binding)
{
	const struct xv_network *network = binding->network;
	struct frame frame = {.m = m};
	const struct xv_binding *b;
	struct xv_parsed parsed;
	struct xv_port *out;
	bool want_tag;

	if (unlikely(xv_parse_eth(rte_pktmbuf_mtod(m, const uint8_t *), rte_pktmbuf_data_len(m), &parsed) !=
		     XV_PARSE_OK)) {
		xv_packet_drop(w, m, XV_DROP_MALFORMED);
		return NULL;
	}
	if (unlikely(!classify(binding, &parsed, &frame))) {
		xv_packet_drop(w, m, XV_DROP_VLAN);
		return NULL;
	}
	if (((parsed.src_key | frame.vlan) & KEY_MULTICAST) == 0 && gateway_at(network, parsed.src_key | frame.vlan) == NULL)
		xv_mac_table_learn(network->macs, parsed.src_key | frame.vlan, in->id, w->now_s);
	frame.dst_key = parsed.dst_key | frame.vlan;
	if ((frame.dst_key & KEY_RESERVED_MASK) == KEY_RESERVED) {
		xv_packet_drop(w, m, XV_DROP_RESERVED_MAC);
		return NULL;
	}
	out = gateway_at(network, frame.dst_key);
	if (out == NULL && (frame.dst_key & KEY_MULTICAST) == 0)
		out = xv_port_by_id(xv_mac_table_lookup(network->macs, frame.dst_key));
	if (out == in) {
		xv_packet_drop(w, m, XV_DROP_SAME_PORT);
		return NULL;
	}
	b = out == NULL ? NULL : atomic_load_explicit(&out->binding, memory_order_acquire);
	if (b == NULL || b->network != network || !egress(b, frame.vlan, &want_tag)) {
		flood(w, in, network, &frame, tracked);
		return NULL;
	}
	if (b->tunnel != NULL && from_tunnel(in)) {
		xv_packet_drop(w, m, XV_DROP_TUNNEL_HORIZON);
		return NULL;
	}
	if (unlikely(w->live != NULL))
		xv_live_note(w, m, XV_LIVE_MAC, out->id, frame.vlan);
	if (!retag(m, &frame, want_tag)) {
		xv_packet_drop(w, m, XV_DROP_MALFORMED);
		return NULL;
	}
	*out_binding = b;
	return out;
}

bool xv_bridge_opens(const struct xv_port *in, const struct xv_binding *binding, const struct rte_mbuf *m,
		     const struct xv_flow_key *key)
{
	const struct xv_members *members = atomic_load_explicit(&binding->network->members, memory_order_acquire);
	const struct xv_policy *policy;
	const struct xv_binding *b;
	struct xv_flow_key mask;
	struct xv_parsed parsed;
	struct frame frame;
	bool want_tag;
	uint32_t rule;
	unsigned int i;

	if (xv_parse_eth(rte_pktmbuf_mtod(m, const uint8_t *), rte_pktmbuf_data_len(m), &parsed) != XV_PARSE_OK ||
	    !classify(binding, &parsed, &frame))
		return false;
	frame.dst_key = parsed.dst_key | frame.vlan;
	/* The way to a receiver that is known leads over a flow that commits. */
	if (gateway_at(binding->network, frame.dst_key) != NULL ||
	    xv_port_by_id(xv_mac_table_lookup(binding->network->macs, frame.dst_key)) != NULL)
		return false;
	for (i = 0; members != NULL && i < members->n; i++) {
		b = receiver(in, binding->network, members->ports[i], &frame, &want_tag);
		if (b != NULL &&
		    xv_firewall_check(b->firewall, XV_FIREWALL_TO_VM, key, &mask, &policy, &rule) == XV_POLICY_ALLOW)
			return true;
	}
	return false;
}

void xv_bridge_burst(struct xv_worker *w, struct xv_port *in, const struct xv_binding *binding,
		     struct rte_mbuf **pkts, uint16_t n)
{
	struct xv_mac_table *macs = binding->network->macs;
	struct frame frames[XV_BURST];
	uint64_t keys[XV_BURST], last_src = 0;
	uint16_t ports[XV_BURST], first[XV_BURST + 1], i, kept = 0, runs = 0;

	/*
	 * Parse, classify, learn. Frames of a burst mostly come from one sender and go to one receiver:
	 * neighbours with the same source are learned once, runs with the same destination looked up once.
	 */
	for (i = 0; i < n; i++) {
		struct frame *f = &frames[kept];
		struct rte_mbuf *m = pkts[i];
		struct xv_parsed parsed;
		uint64_t src;

		if (unlikely(xv_parse_eth(rte_pktmbuf_mtod(m, const uint8_t *),
					  rte_pktmbuf_data_len(m), &parsed) != XV_PARSE_OK)) {
			xv_packet_drop(w, m,
				       rte_pktmbuf_data_len(m) < RTE_ETHER_HDR_LEN
					       ? XV_DROP_RUNT
					       : XV_DROP_MALFORMED);
			continue;
		}
		if (unlikely(!classify(binding, &parsed, f))) {
			xv_packet_drop(w, m, XV_DROP_VLAN);
			continue;
		}
		f->m = m;
		src = parsed.src_key | f->vlan;
		f->dst_key = parsed.dst_key | f->vlan;
		if (src != last_src && (src & KEY_MULTICAST) == 0)
			xv_mac_table_learn(macs, src, in->id, w->now_s);
		last_src = src;
		if (runs == 0 || keys[runs - 1] != f->dst_key) {
			first[runs] = kept;
			keys[runs++] = f->dst_key;
		}
		pkts[kept++] = m;
	}
	if (kept == 0)
		return;
	xv_mac_table_lookup_burst(macs, keys, runs, ports);
	first[runs] = kept;
	for (i = 0; i < runs; i++)
		forward(w, in, binding->network, &frames[first[i]], &pkts[first[i]],
			(uint16_t)(first[i + 1] - first[i]),
			(keys[i] & KEY_MULTICAST) != 0 ? XV_MAC_NONE : ports[i]);
}

static void answer_drop(struct xv_bridge_answer *answer, enum xv_drop reason)
{
	answer->verdict = XV_BRIDGE_DROP;
	answer->reason = reason;
}

void xv_bridge_ask(const struct xv_port *in, const struct xv_binding *binding, const uint8_t *data, uint16_t len,
		   struct xv_bridge_answer *answer)
{
	const struct xv_network *network = binding->network;
	const struct xv_members *members = atomic_load_explicit(&network->members, memory_order_acquire);
	const struct xv_binding *b;
	struct xv_parsed parsed;
	struct frame frame;
	uint64_t src_key;
	struct xv_port *out;
	bool want_tag;
	unsigned int i;

	memset(answer, 0, sizeof(*answer));
	if (xv_parse_eth(data, len, &parsed) != XV_PARSE_OK) {
		answer_drop(answer, len < RTE_ETHER_HDR_LEN ? XV_DROP_RUNT : XV_DROP_MALFORMED);
		return;
	}
	if (!classify(binding, &parsed, &frame)) {
		answer_drop(answer, XV_DROP_VLAN);
		return;
	}
	answer->classified = true;
	answer->vlan = frame.vlan;
	answer->tci = frame.tci;
	answer->tagged = frame.tagged;
	src_key = parsed.src_key | frame.vlan;
	frame.dst_key = parsed.dst_key | frame.vlan;
	if ((frame.dst_key & KEY_RESERVED_MASK) == KEY_RESERVED) {
		answer_drop(answer, XV_DROP_RESERVED_MAC);
		return;
	}
	out = gateway_at(network, frame.dst_key);
	if (out == NULL && (frame.dst_key & KEY_MULTICAST) == 0)
		out = xv_port_by_id(xv_mac_table_lookup(network->macs, frame.dst_key));
	/* Its source would have been learned by then. */
	if (out == in || (src_key == frame.dst_key && (src_key & KEY_MULTICAST) == 0)) {
		answer_drop(answer, XV_DROP_SAME_PORT);
		return;
	}
	b = out == NULL ? NULL : atomic_load_explicit(&out->binding, memory_order_acquire);
	if (b != NULL && b->network == network && egress(b, frame.vlan, &want_tag)) {
		if (b->tunnel != NULL && from_tunnel(in)) {
			answer_drop(answer, XV_DROP_TUNNEL_HORIZON);
			return;
		}
		answer->verdict = XV_BRIDGE_PORT;
		answer->n = 1;
		answer->ports[0] = (struct xv_bridge_hop){out, want_tag};
		return;
	}
	answer->verdict = XV_BRIDGE_FLOOD;
	for (i = 0; members != NULL && i < members->n; i++) {
		out = members->ports[i];
		if (receiver(in, network, out, &frame, &want_tag) == NULL)
			continue;
		answer->ports[answer->n++] = (struct xv_bridge_hop){out, want_tag};
	}
	if (answer->n == 0)
		answer_drop(answer, XV_DROP_NO_MEMBER);
}
