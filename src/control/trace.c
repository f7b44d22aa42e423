/* SPDX-License-Identifier: Apache-2.0 */
#include "control/trace.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <rte_ether.h>

#include "control/packet_text.h"
#include "base/clock.h"
#include "fastpath/bond.h"
#include "fastpath/bridge.h"
#include "fastpath/conntrack.h"
#include "fastpath/firewall.h"
#include "fastpath/flow.h"
#include "fastpath/policy.h"
#include "fastpath/resolve.h"
#include "fastpath/vtep.h"
#include "net/edit.h"
#include "net/flow_format.h"
#include "net/parse.h"

#define PASSES_MAX   64 /* as execute.c */
#define DEPTH_MAX    8	/* of copies in copies */
#define ETHER_HEADER 14
#define TAG_BYTES    4
#define TEXT_MAX     16384

/* What is told. */
struct tale {
	struct xv_host *host;
	json_t *stages, *outputs, *drops, *rules;
	const struct xv_trace_question *question;
	bool complete, flooded;
	char text[TEXT_MAX];
};

/* One packet under way: a copy has its own. */
struct walk {
	struct tale *tale;
	struct xv_port *in;
	const struct xv_binding *binding; /* of in */
	uint8_t *frame;
	uint32_t len, room; /* bytes that frame may have */
	struct xv_flow_key key;
	unsigned int depth;
	bool gone, recirculated;
};

__attribute__((format(printf, 3, 4))) static void say(struct tale *t, const char *stage, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(t->text, sizeof(t->text), fmt, ap);
	va_end(ap);
	json_array_append_new(t->stages, json_pack("{s:s, s:s}", "stage", stage, "text", t->text));
}

static const char *const verdicts[] = {
	[XV_POLICY_DENY] = "deny", [XV_POLICY_ALLOW] = "allow", [XV_POLICY_REJECT] = "reject"};

/* A rule has judged; the firewall's are called GROUP/RULE, but for "default". */
static void note(struct tale *t, const struct xv_port *port, bool egress, const struct xv_judgement *by)
{
	const char *slash = strcmp(by->policy, "firewall") == 0 ? strchr(by->rule, '/') : NULL;
	json_t *object = json_pack("{s:s, s:s, s:s, s:s, s:s}", "port", port->name, "direction", egress ? "egress" : "ingress",
				   "policy", by->policy, "rule", slash != NULL ? slash + 1 : by->rule, "action",
				   verdicts[by->verdict]);

	if (slash != NULL)
		json_object_set_new(object, "group", json_stringn(by->rule, (size_t)(slash - by->rule)));
	json_array_append_new(t->rules, object);
}

/* The packet ends here; towards: the port it was on the way to, or NULL. */
static void drop(struct tale *t, enum xv_drop reason, const struct xv_port *towards)
{
	json_t *object = json_pack("{s:s, s:s}", "reason", xv_drop_info[reason].name, "explanation",
				   xv_drop_info[reason].explanation);

	if (towards != NULL)
		json_object_set_new(object, "port", json_string(towards->name));
	json_array_append_new(t->drops, object);
}

/* ---- Output: pipeline.c, xv_pipeline_output() ---- */

/* Whether a port takes it. towards: where the packet goes, if the port is but the way to it. */
static bool can_leave(struct tale *t, const struct xv_port *out, const struct xv_port *towards, uint32_t len)
{
	const struct xv_binding *binding = atomic_load(&out->binding);
	uint32_t mtu = atomic_load(&out->mtu);

	if (binding == NULL || atomic_load(&out->tx_queues) == 0) {
		say(t, "output", "%s is down", out->name);
		drop(t, XV_DROP_TX_DOWN, towards);
		return false;
	}
	if (mtu != 0 && len > mtu + ETHER_HEADER + TAG_BYTES) {
		say(t, "output", "%s: %u bytes are more than its MTU of %u allows", out->name, len, mtu);
		drop(t, XV_DROP_MTU, towards);
		return false;
	}
	say(t, "output", "%s%s", out->name,
	    binding->tx_limit != NULL ? "; it has a rate limit, beyond which packets are dropped" : "");
	return true;
}

/* pmtu.c: whether a frame, or what it is cut into, fits through the uplink; *len: of the longest piece. */
static bool fits_tunnel(struct tale *t, const struct xv_port *uplink, const struct xv_port *towards,
			const struct xv_encap *encap, const uint8_t *frame, uint32_t *len)
{
	const uint32_t mtu = atomic_load(&uplink->link_mtu);
	struct xv_parsed parsed;

	if (*len <= mtu - encap->l3_back)
		return true;
	/* A frame that is shorter than an IP header is not here. */
	if (xv_parse_eth(frame, (uint16_t)RTE_MIN(*len, (uint32_t)UINT16_MAX), &parsed) == XV_PARSE_OK &&
	    parsed.l3_offset != 0 && parsed.eth_type == RTE_ETHER_TYPE_IPV4 &&
	    *len >= parsed.l3_offset + 20u && (frame[parsed.l3_offset + 6] & 0x40) == 0) {
		say(t, "tunnel", "%s: longer than its MTU of %u allows: it is cut into fragments first", uplink->name, mtu);
		*len = mtu - encap->l3_back;
		return true;
	}
	say(t, "tunnel", "%s: longer than its MTU of %u allows; an IP sender is told", uplink->name, mtu);
	drop(t, XV_DROP_MTU, towards);
	return false;
}

/* vtep.c, xv_tunnel_output(): outer headers on, and out by the uplink. */
static bool can_leave_by_tunnel(struct tale *t, const struct xv_port *out, const struct xv_tunnel *tunnel,
				const uint8_t *frame, uint32_t len)
{
	const struct xv_paths *paths = atomic_load(&tunnel->paths);
	const struct xv_host_port *uplink;

	if (paths == NULL) {
		say(t, "tunnel", "%s: its next hop is not known yet; packets wait while it is asked for", out->name);
		return true;
	}
	/* Its hash is not known here; the ways are alike but for the port. */
	uplink = t->host->ports[paths->path[0].port];
	say(t, "tunnel", "%s: %u bytes of outer headers are put on", out->name, paths->path[0].encap.len);
	if (paths->n > 1)
		say(t, "tunnel", "%s: %u uplinks lead there, the flow decides; shown is the first", out->name,
		    paths->n);
	if (uplink == NULL) {
		say(t, "output", "the VTEP has no uplink");
		drop(t, XV_DROP_TX_DOWN, out);
		return false;
	}
	return fits_tunnel(t, uplink->port, out, &paths->path[0].encap, frame, &len) &&
	       can_leave(t, uplink->port, out, len + paths->path[0].encap.len);
}

static void output(struct tale *t, const struct xv_port *out, const uint8_t *frame, uint32_t len)
{
	const struct xv_binding *binding = atomic_load(&out->binding);
	bool leaves;

	if (t->question->rules_only)
		leaves = true;
	else if (binding != NULL && binding->tunnel != NULL)
		leaves = can_leave_by_tunnel(t, out, binding->tunnel, frame, len);
	else
		leaves = can_leave(t, out, out, len);
	if (leaves)
		json_array_append_new(t->outputs, json_string(out->name));
}

/* ---- Policies and flows ---- */

/* What a decision by configuration says: "web: rule 3: deny", "firewall: web/http: allow". */
static void say_decision(struct tale *t, const char *stage, const struct xv_port *port, const struct xv_decision *decision)
{
	for (unsigned int i = 0; i < decision->n_by; i++) {
		const struct xv_judgement *by = &decision->by[i];

		note(t, port, strcmp(stage, "egress policy") == 0, by);
		say(t, stage, "%s%s: %s: %s", strcmp(by->policy, "firewall") == 0 ? "" : "policy ", by->policy, by->rule,
		    verdicts[by->verdict]);
	}
	if (decision->gateway != NULL)
		say(t, decision->gateway, "%s: %s", decision->object,
		    decision->type == XV_ACT_DROP     ? xv_drop_info[decision->arg].explanation
		    : decision->type == XV_ACT_OUTPUT ? "left to the control thread: it asks for the next hop, or answers"
		    : decision->counter != NULL	      ? "a backend is chosen"
		    : decision->patch != XV_MAX_PORTS ? "the next hop is known"
		    : decision->n_cts > 0	      ? "as its connection says, or a new one is stored"
						      : "as its connection says");
}

static void say_flow(struct walk *k, const struct xv_flow *flow)
{
	char text[XV_PACKET_TEXT_FLOW];

	if (flow == NULL)
		say(k->tale, "flow", "none yet: the packet is decided by the configuration, and a flow made");
	else
		say(k->tale, "flow", "%s", xv_packet_text_flow(k->tale->host, flow, text, sizeof(text)));
}

/* Ingress policy of a port for what is flooded to it: bridge.c, let_in(). */
static bool let_in(struct tale *t, const struct xv_port *out, const struct xv_binding *binding, const uint8_t *frame,
		   uint32_t len)
{
	const struct xv_policy *policy = binding->ingress_policy;
	struct xv_flow_key key = {0}, mask = {0};
	struct xv_flow_layout layout;
	char stage[XV_NAME_LEN + 24];
	struct xv_judgement by;
	enum xv_verdict verdict;
	uint32_t rule;

	if (policy == NULL)
		return true;
	if (xv_flow_extract(frame, (uint16_t)RTE_MIN(len, (uint32_t)UINT16_MAX), len, &key, &layout) != XV_FLOW_OK)
		return false;
	verdict = xv_policy_check(policy, &key, &mask, &rule);
	snprintf(stage, sizeof(stage), "ingress policy of %s", out->name);
	by = xv_judgement_of(policy, rule, verdict, &key);
	note(t, out, false, &by);
	say(t, stage, "policy %s: %s: %s", by.policy, by.rule, verdicts[verdict]);
	return verdict == XV_POLICY_ALLOW;
}

/* The firewall of a port, for the same: bridge.c, let_in_tracked(). */
static bool let_in_tracked(struct walk *k, const struct xv_port *out, const struct xv_binding *binding)
{
	const struct xv_policy *policy;
	struct xv_flow_key mask = {0};
	char stage[XV_NAME_LEN + 24];
	struct xv_judgement by;
	enum xv_verdict verdict;
	uint32_t rule;

	verdict = xv_firewall_check(binding->firewall, XV_FIREWALL_TO_VM, &k->key, &mask, &policy, &rule);
	if (policy == NULL)
		return true;
	snprintf(stage, sizeof(stage), "firewall of %s", out->name);
	by = xv_judgement_of(policy, rule, verdict, &k->key);
	note(k->tale, out, false, &by);
	say(k->tale, stage, "firewall: %s: %s", by.rule, verdicts[verdict]);
	return verdict == XV_POLICY_ALLOW;
}

/* ---- Networks ---- */

static void tag_insert(uint8_t *frame, uint32_t *len, uint16_t tpid, uint16_t tci)
{
	memmove(frame + 12 + TAG_BYTES, frame + 12, *len - 12);
	frame[12] = (uint8_t)(tpid >> 8);
	frame[13] = (uint8_t)tpid;
	frame[14] = (uint8_t)(tci >> 8);
	frame[15] = (uint8_t)tci;
	*len += TAG_BYTES;
}

static void tag_remove(uint8_t *frame, uint32_t *len)
{
	if (*len < ETHER_HEADER + TAG_BYTES)
		return;
	memmove(frame + 12, frame + 12 + TAG_BYTES, *len - 12 - TAG_BYTES);
	*len -= TAG_BYTES;
}

/* The frame as the port wants it. */
static void retag(uint8_t *frame, uint32_t *len, const struct xv_bridge_answer *answer, bool want_tag)
{
	if (answer->tagged == want_tag)
		return;
	if (want_tag)
		tag_insert(frame, len, 0x8100, answer->tci);
	else
		tag_remove(frame, len);
}

static void flood(struct walk *k, const struct xv_bridge_answer *answer)
{
	uint8_t *copy = malloc(k->len + TAG_BYTES);

	if (copy == NULL)
		return;
	k->tale->flooded = true;
	for (unsigned int i = 0; i < answer->n; i++) {
		const struct xv_port *out = answer->ports[i].port;
		uint32_t len = k->len;

		memcpy(copy, k->frame, len);
		retag(copy, &len, answer, answer->ports[i].tagged);
		if (!let_in_tracked(k, out, atomic_load(&out->binding)))
			drop(k->tale, XV_DROP_FIREWALL, out);
		else if (let_in(k->tale, out, atomic_load(&out->binding), copy, len))
			output(k->tale, out, copy, len);
		else
			drop(k->tale, XV_DROP_POLICY, out);
	}
	free(copy);
}

/* What needs the headers rewritten in ways that are not followed here. */
static void lose_track(struct walk *k, const char *what)
{
	say(k->tale, "actions", "%s: what follows is not traced", what);
	k->tale->complete = false;
	k->gone = true;
}

static bool is_up(const struct xv_port *port)
{
	return atomic_load(&port->tx_queues) > 0;
}

/* The receiver that is asked about has the address, as far as the network knows, even if nobody is up that has told so. */
static void aim(const struct xv_trace_question *question, struct xv_bridge_answer *answer)
{
	bool nobody = answer->verdict == XV_BRIDGE_DROP && answer->reason == XV_DROP_NO_MEMBER;
	unsigned int i = 0;

	if (question->to == NULL || (answer->verdict != XV_BRIDGE_FLOOD && !nobody))
		return;
	while (i < answer->n && answer->ports[i].port != question->to)
		i++;
	if (i == answer->n && is_up(question->to)) { /* its VLANs do not allow it */
		answer->verdict = XV_BRIDGE_DROP;
		answer->reason = XV_DROP_NO_MEMBER;
		return;
	}
	answer->ports[0] = i < answer->n ? answer->ports[i] : (struct xv_bridge_hop){question->to, answer->tagged};
	answer->n = 1;
	answer->verdict = XV_BRIDGE_PORT;
}

/* Where the network sends it: the port, the frame as that port wants it; NULL: it is done with. */
static struct xv_port *bridge(struct walk *k)
{
	struct xv_bridge_answer *answer = malloc(sizeof(*answer));
	struct tale *t = k->tale;
	struct xv_port *out = NULL;
	char vlan[24] = "";

	if (answer == NULL)
		return NULL;
	xv_bridge_ask(k->in, k->binding, k->frame, (uint16_t)RTE_MIN(k->len, (uint32_t)UINT16_MAX), answer);
	aim(t->question, answer);
	if (answer->classified && answer->vlan != 0)
		snprintf(vlan, sizeof(vlan), ", VLAN %u", answer->vlan);
	k->gone = true;
	switch (answer->verdict) {
	case XV_BRIDGE_DROP:
		say(t, "MAC table", "%s", xv_drop_info[answer->reason].explanation);
		drop(t, answer->reason, NULL);
		break;
	case XV_BRIDGE_FLOOD:
		say(t, "MAC table", "%s%s: to all of the network that may have it: %u",
		    (k->frame[0] & 1) != 0 ? "a group address" : "an address that is not known", vlan, answer->n);
		flood(k, answer);
		break;
	case XV_BRIDGE_PORT:
		out = answer->ports[0].port;
		say(t, "MAC table", "the address is known%s: port %s", vlan, out->name);
		if (k->len + TAG_BYTES > k->room) {
			lose_track(k, "too many tags");
			out = NULL;
			break;
		}
		retag(k->frame, &k->len, answer, answer->ports[0].tagged);
		k->gone = false;
		break;
	}
	free(answer);
	return out;
}

/* ---- The long way: execute.c ---- */

static bool extract(struct walk *k)
{
	struct xv_flow_layout layout;

	return xv_flow_extract(k->frame, (uint16_t)RTE_MIN(k->len, (uint32_t)UINT16_MAX), k->len, &k->key, &layout) ==
	       XV_FLOW_OK;
}

static void end(struct walk *k, enum xv_drop reason)
{
	drop(k->tale, reason, NULL);
	k->gone = true;
}

static void run(struct walk *k, const uint64_t *program, uint32_t bytes);
static void walk_on(struct walk *k);

static void run_copy(struct walk *k, const uint64_t *program, uint32_t bytes)
{
	struct walk copy = *k;

	if (k->depth == DEPTH_MAX) {
		k->tale->complete = false;
		return;
	}
	copy.room = k->len + XV_TRACE_ROOM;
	copy.frame = malloc(copy.room);
	if (copy.frame == NULL)
		return;
	memcpy(copy.frame, k->frame, k->len);
	copy.depth++;
	copy.recirculated = false;
	run(&copy, program, bytes);
	if (!copy.gone)
		walk_on(&copy);
	free(copy.frame);
}

static void forward(struct walk *k)
{
	struct xv_port *out;

	if (k->binding->network == NULL) {
		end(k, XV_DROP_NO_FLOW);
		return;
	}
	out = bridge(k);
	if (out == NULL)
		return;
	k->key.recirc_id = XV_RECIRC_TO_PORT | out->id;
	k->recirculated = true;
	if (!extract(k))
		end(k, XV_DROP_MALFORMED);
}

/* The frame as a packet, for what works on those. */
static struct rte_mbuf packet_of(struct walk *k)
{
	uint16_t len = (uint16_t)RTE_MIN(k->len, (uint32_t)UINT16_MAX);

	return (struct rte_mbuf){
		.buf_addr = k->frame, .buf_len = len, .data_len = len, .pkt_len = k->len, .nb_segs = 1, .refcnt = 1};
}

/* Some packet fields differ from what they were: the frame follows. False: it cannot. */
static bool rewrite(struct walk *k, const struct xv_flow_key *to)
{
	struct rte_mbuf m = packet_of(k);
	struct xv_flow_layout layout;
	struct xv_flow_key key = k->key;

	if (xv_flow_extract(k->frame, m.data_len, k->len, &key, &layout) != XV_FLOW_OK ||
	    xv_edit_apply(&m, &layout, &key, to) != 0) {
		lose_track(k, "headers are rewritten");
		return false;
	}
	k->key = *to;
	return true;
}

static void set(struct walk *k, const struct xv_action_set *set)
{
	struct xv_flow_key to = k->key;
	uint64_t *words = (uint64_t *)(void *)&to;

	for (uint32_t i = 0; i < set->n; i++)
		words[set->first + i] = (words[set->first + i] & ~set->words[i].mask) | set->words[i].value;
	if (set->first + set->n > XV_FLOW_STAGE_L2 && set->first < XV_FLOW_FIXED_WORDS)
		(void)rewrite(k, &to);
	else
		k->key = to;
}

static void vlan_push(struct walk *k, const struct xv_action_push_vlan *vlan)
{
	k->key.vlan[1] = k->key.vlan[0];
	k->key.vlan[0].tpid = vlan->tpid;
	k->key.vlan[0].tci = vlan->tci;
	tag_insert(k->frame, &k->len, rte_be_to_cpu_16(vlan->tpid), rte_be_to_cpu_16(vlan->tci) & 0xefff);
}

static void vlan_pop(struct walk *k)
{
	if (k->key.vlan[0].tpid == 0)
		return;
	k->key.vlan[0] = k->key.vlan[1];
	memset(&k->key.vlan[1], 0, sizeof(k->key.vlan[1]));
	tag_remove(k->frame, &k->len);
}

/* encap: put on first; NULL = none. */
static void output_to(struct walk *k, uint32_t port, const struct xv_encap *encap)
{
	const struct xv_host_port *p = port < XV_MAX_PORTS ? k->tale->host->ports[port] : NULL;
	uint32_t len = k->len;

	if (p == NULL)
		drop(k->tale, XV_DROP_TX_DOWN, NULL);
	else if (encap == NULL)
		output(k->tale, p->port, k->frame, len);
	else if (fits_tunnel(k->tale, p->port, p->port, encap, k->frame, &len))
		output(k->tale, p->port, k->frame, len + encap->len);
}

/* What it would say if the packet were of such a connection, which a packet like it opened, or one that goes the other way. */
static void assume(enum xv_trace_state state, struct xv_flow_key *key)
{
	const uint16_t type = rte_be_to_cpu_16(key->tp_src);
	bool reply = state == XV_TRACE_REPLY;

	if (state == XV_TRACE_ACTUAL || (state == XV_TRACE_NEW && (key->ct_state & XV_CS_INVALID) != 0))
		return;
	key->ct_state = XV_CS_TRACKED | (state == XV_TRACE_NEW ? XV_CS_NEW : XV_CS_ESTABLISHED) | (reply ? XV_CS_REPLY : 0);
	key->ct_src = reply ? key->ip_dst : key->ip_src;
	key->ct_dst = reply ? key->ip_src : key->ip_dst;
	key->ct_proto = key->ip_proto;
	key->ct_tp_src = reply ? key->tp_dst : key->tp_src;
	key->ct_tp_dst = reply ? key->tp_src : key->tp_dst;
	if (reply && (key->ip_proto == 1 || key->ip_proto == 58)) { /* type and code: of the query */
		key->ct_tp_src = type == 0 ? RTE_BE16(8) : type == 129 ? RTE_BE16(128) : key->tp_src;
		key->ct_tp_dst = key->tp_dst;
	}
}

/* What the translation of a new connection would make of the packet; of a range of ports the client's own. */
static void translate(struct walk *k, const struct xv_ct_nat *nat)
{
	bool src = (nat->flags & XV_NAT_SRC) != 0;
	struct xv_flow_key to = k->key;
	char text[INET6_ADDRSTRLEN];

	(void)inet_ntop(nat->ipv6 ? AF_INET6 : AF_INET, nat->ipv6 ? nat->min.bytes : &nat->min.bytes[12], text, sizeof(text));
	if (src) {
		to.ip_src = nat->min;
	} else {
		to.ip_dst = nat->min;
		if (nat->min_port != 0 && nat->min_port == nat->max_port)
			to.tp_dst = rte_cpu_to_be_16(nat->min_port);
	}
	if (!rewrite(k, &to))
		return;
	k->key.ct_state |= src ? XV_CS_SRC_NAT : XV_CS_DST_NAT;
	say(k->tale, "connection", "the %s becomes %s", src ? "source" : "destination", text);
}

/* What connection tracking would say. What commits a connection is told, and changes nothing here. */
static void track(struct walk *k, const struct xv_action_ct *ct)
{
	static const struct {
		uint32_t bit;
		const char *name;
	} states[] = {{XV_CS_INVALID, " invalid"}, {XV_CS_NEW, " new"},	    {XV_CS_ESTABLISHED, " established"},
		      {XV_CS_RELATED, " related"}, {XV_CS_REPLY, " reply"},
		      {XV_CS_SRC_NAT, ", source translated"}, {XV_CS_DST_NAT, ", destination translated"}};
	struct rte_mbuf m = packet_of(k);
	struct xv_flow_layout layout;
	struct xv_flow_key key = k->key;
	char text[64] = "";
	size_t n = 0;

	if ((ct->flags & XV_CT_CLEAR) != 0) {
		k->key.ct_state = 0;
		return;
	}
	if (xv_flow_extract(k->frame, m.data_len, k->len, &key, &layout) != XV_FLOW_OK) {
		lose_track(k, "connection tracking of what cannot be understood");
		return;
	}
	if ((ct->flags & XV_CT_COMMIT) != 0) {
		say(k->tale, "connection", "would be stored in zone %u", ct->zone);
		if ((ct->label_mask[0] | ct->label_mask[1]) != 0)
			memcpy(k->key.ct_label, ct->label, sizeof(ct->label));
		if ((ct->nat.flags & (XV_NAT_SRC | XV_NAT_DST)) != 0)
			translate(k, &ct->nat);
		return;
	}
	(void)xv_conntrack_peek(xv_flow_conntrack, ct->zone, &m, &key, &layout, xv_clock_ms(xv_clock_cycles()));
	if ((ct->flags & XV_CT_NAT) != 0 || ((ct->flags & XV_CT_NAT_REPLY) != 0 && (key.ct_state & XV_CS_REPLY) != 0)) {
		if (!xv_conntrack_peek_nat(xv_flow_conntrack, ct->zone, &m, &k->key, &layout, xv_clock_ms(xv_clock_cycles()))) {
			lose_track(k, "translation that cannot be");
			return;
		}
	} else {
		(void)xv_conntrack_peek(xv_flow_conntrack, ct->zone, &m, &k->key, &layout, xv_clock_ms(xv_clock_cycles()));
	}
	assume(k->tale->question->state, &k->key);
	for (unsigned int i = 0; i < RTE_DIM(states); i++) {
		if ((k->key.ct_state & states[i].bit) != 0)
			n += (size_t)snprintf(text + n, sizeof(text) - n, "%s", states[i].name);
	}
	say(k->tale, "connection", "zone %u:%s", ct->zone, text);
}

static void patch(struct walk *k, uint32_t port)
{
	const struct xv_host_port *p = port < XV_MAX_PORTS ? k->tale->host->ports[port] : NULL;
	const struct xv_binding *binding = p != NULL ? atomic_load(&p->port->binding) : NULL;

	if (binding == NULL) {
		end(k, XV_DROP_UNBOUND);
		return;
	}
	say(k->tale, "patch", "as if received by %s", p->port->name);
	k->in = p->port;
	k->binding = binding;
	k->key.in_port = port;
}

static void run(struct walk *k, const uint64_t *program, uint32_t bytes)
{
	const struct xv_action *a = xv_action_first(program), *next;
	const uint8_t *stop = (const uint8_t *)program + bytes;

	for (; (const uint8_t *)a < stop && !k->gone; a = next) {
		const void *data = a->data;
		bool last;

		next = xv_action_next(a);
		last = (const uint8_t *)next == stop;
		switch ((enum xv_action_type)a->type) {
		case XV_ACT_OUTPUT:
			output_to(k, a->arg, NULL);
			k->gone = last;
			break;
		case XV_ACT_SET:
			set(k, data);
			break;
		case XV_ACT_PUSH_VLAN:
			if (k->len + TAG_BYTES > k->room)
				lose_track(k, "too many tags");
			else
				vlan_push(k, data);
			break;
		case XV_ACT_POP_VLAN:
			vlan_pop(k);
			break;
		case XV_ACT_TUNNEL_PUSH:
			if (last || next->type != XV_ACT_OUTPUT) {
				lose_track(k, "a tunnel's headers are put on");
				return;
			}
			say(k->tale, "actions", "a tunnel's headers are put on");
			output_to(k, next->arg, data);
			k->gone = true;
			return;
		case XV_ACT_BOND: {
			uint16_t member = xv_bond_member(a->arg, xv_flow_hash_5tuple(&k->key, 0, false));

			say(k->tale, "actions", "bond %u", a->arg);
			if (member < XV_MAX_PORTS)
				output_to(k, member, NULL);
			else if (last)
				end(k, XV_DROP_TX_DOWN);
			k->gone = k->gone || last;
			break;
		}
		case XV_ACT_HASH:
		case XV_ACT_SYM_HASH:
			k->key.dp_hash = xv_flow_hash_5tuple(&k->key, a->arg, a->type == XV_ACT_SYM_HASH);
			k->key.dp_hash += k->key.dp_hash == 0;
			break;
		case XV_ACT_METER:
			say(k->tale, "actions", "meter %u, beyond which packets are dropped", a->arg);
			break;
		case XV_ACT_SAMPLE:
			say(k->tale, "actions", "of one in %.0f packets a copy:",
			    a->arg > 0 ? (double)UINT32_MAX / a->arg : (double)UINT32_MAX);
			run_copy(k, data, a->bytes - (uint32_t)sizeof(*a));
			break;
		case XV_ACT_CLONE:
			if (last) {
				run(k, data, a->bytes - (uint32_t)sizeof(*a));
				return;
			}
			run_copy(k, data, a->bytes - (uint32_t)sizeof(*a));
			break;
		case XV_ACT_CHECK_LEN: {
			const struct xv_action_check_len *check = data;

			if (k->len > a->arg)
				run(k, check->programs, check->greater_bytes);
			else
				run(k, check->programs + check->greater_bytes / 8, check->other_bytes);
			return;
		}
		case XV_ACT_TRUNC:
			say(k->tale, "actions", "no more than %u bytes are sent", a->arg);
			break;
		case XV_ACT_RECIRC:
			k->key.recirc_id = a->arg;
			k->recirculated = true;
			return;
		case XV_ACT_CT:
			track(k, data);
			break;
		case XV_ACT_PATCH:
			patch(k, a->arg);
			break;
		case XV_ACT_FORWARD:
			forward(k);
			return;
		case XV_ACT_PUNT:
		case XV_ACT_DROP:
			end(k, a->type == XV_ACT_DROP ? (enum xv_drop)a->arg : XV_DROP_ACTION);
			return;
		case XV_ACT_PUSH_MPLS:
		case XV_ACT_POP_MPLS:
		case XV_ACT_PUSH_ETH:
		case XV_ACT_POP_ETH:
		case XV_ACT_PUSH_NSH:
		case XV_ACT_POP_NSH:
		case XV_ACT_TUNNEL_POP:
			lose_track(k, "a header is put on or taken off");
			return;
		case XV_ACT_MAX:
			return;
		}
	}
	if (!k->gone)
		end(k, XV_DROP_ACTION);
}

static void walk_on(struct walk *k)
{
	unsigned int passes = 0;

	do {
		const struct xv_flow *flow = k->tale->question->rules_only ? NULL : xv_flow_peek(&k->key);
		bool receiver = (k->key.recirc_id & XV_RECIRC_TO_PORT) == XV_RECIRC_TO_PORT;
		struct xv_flow_key mask = {0};
		struct xv_decision decision;
		uint64_t program[XV_DECISION_WORDS];
		bool decided;

		k->recirculated = false;
		if (++passes > PASSES_MAX) {
			end(k, XV_DROP_DEPTH);
			return;
		}
		decided = xv_resolve(k->in, k->binding, &k->key, &mask, &decision);
		if (decided)
			say_decision(k->tale, receiver ? "ingress policy" : "egress policy",
				     receiver ? k->tale->host->ports[(uint16_t)k->key.recirc_id]->port : k->in, &decision);
		if (decided || flow != NULL)
			say_flow(k, flow);
		if (flow != NULL) {
			const struct xv_actions *actions = atomic_load(&flow->actions);

			run(k, actions->program, actions->bytes);
		} else if (decided) {
			run(k, program, xv_decision_program(&decision, program));
		} else {
			say(k->tale, "flow", "none matches");
			end(k, XV_DROP_NO_FLOW);
		}
	} while (!k->gone && k->recirculated);
}

static void flows(struct walk *k)
{
	k->key.in_port = k->in->id;
	if (extract(k))
		walk_on(k);
	else
		end(k, XV_DROP_MALFORMED);
}

/* It comes from somewhere, and is about to reach a port. */
static void arrive(struct walk *k)
{
	const struct xv_action_ct lookup = {.zone = k->binding->zone};
	struct xv_flow_key mask = {0};

	if (k->binding->forward != XV_FORWARD_NETWORK || !extract(k)) {
		end(k, k->binding->forward != XV_FORWARD_NETWORK ? XV_DROP_UNBOUND : XV_DROP_MALFORMED);
		return;
	}
	if (k->binding->tracked && xv_firewall_tracks(&k->key, &mask))
		track(k, &lookup);
	if ((k->key.ct_state & XV_CS_INVALID) != 0) {
		end(k, XV_DROP_CT_INVALID);
		return;
	}
	k->key.recirc_id = XV_RECIRC_TO_PORT | k->in->id;
	walk_on(k);
}

/* ---- The walk: pipeline.c, xv_pipeline_burst() ---- */

static void network(struct walk *k)
{
	uint32_t len = k->len;
	const struct xv_binding *out_binding;
	struct xv_port *out;
	size_t told;
	uint8_t *as_it_came;

	if (k->binding->egress_policy != NULL || k->binding->tracked || k->binding->has_gateway) {
		flows(k);
		return;
	}
	told = json_array_size(k->tale->stages);
	as_it_came = malloc(len);
	if (as_it_came == NULL)
		return;
	memcpy(as_it_came, k->frame, len);
	out = bridge(k);
	out_binding = out != NULL ? atomic_load(&out->binding) : NULL;
	if (out_binding != NULL && out_binding->ingress_policy != NULL) {
		/* From the beginning, as flows: they come to the same port. */
		while (json_array_size(k->tale->stages) > told)
			json_array_remove(k->tale->stages, told);
		memcpy(k->frame, as_it_came, len);
		k->len = len;
		flows(k);
	} else if (out != NULL) {
		output(k->tale, out, k->frame, k->len);
	}
	free(as_it_came);
}

static void walk(struct walk *k)
{
	const struct xv_binding *b = k->binding;
	struct tale *t = k->tale;

	if (k->len < ETHER_HEADER) {
		end(k, XV_DROP_RUNT);
		return;
	}
	if (b == NULL) {
		say(t, "binding", "%s belongs to no network and no wire", k->in->name);
		end(k, XV_DROP_UNBOUND);
		return;
	}
	if (t->question->in == NULL) {
		arrive(k);
		return;
	}
	switch (b->forward) {
	case XV_FORWARD_WIRE:
		say(t, "binding", "wire to %s: nothing is looked at", b->peer->name);
		output(t, b->peer, k->frame, k->len);
		break;
	case XV_FORWARD_NETWORK:
		if (b->vlan != 0)
			say(t, "binding", "network %s, VLAN %u%s", b->network->name, b->vlan,
			    b->trunk ? " for untagged frames, and a trunk" : "");
		else
			say(t, "binding", "network %s%s", b->network->name, b->trunk ? ", a trunk" : "");
		network(k);
		break;
	case XV_FORWARD_FLOWS:
	case XV_FORWARD_DATAPATH:
		say(t, "binding", "flows decide");
		flows(k);
		break;
	default:
		say(t, "binding", "tunnel packets are taken apart here: what is in them is not traced");
		t->complete = false;
		break;
	}
}

/* The sentence for people. */
static json_t *result_of(const struct tale *t)
{
	size_t sent = json_array_size(t->outputs), dropped = json_array_size(t->drops), n = 0, i;
	char text[2048];
	json_t *e;

	if (!t->complete && sent == 0 && dropped == 0)
		return json_string("not known");
	text[0] = '\0';
	json_array_foreach (t->outputs, i, e) {
		if (n + XV_NAME_LEN + 64 > sizeof(text)) {
			n += (size_t)snprintf(text + n, sizeof(text) - n, " and %zu more", sent - i);
			break;
		}
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s",
				      i > 0	   ? ", "
				      : t->flooded ? "flooded to "
						   : "sent to ",
				      json_string_value(e));
	}
	if (dropped == 1) {
		e = json_array_get(t->drops, 0);
		(void)snprintf(text + n, sizeof(text) - n, "%sdropped: %s (%s)", n > 0 ? "; a copy is " : "",
			       json_string_value(json_object_get(e, "reason")),
			       json_string_value(json_object_get(e, "explanation")));
	} else if (dropped > 1) {
		(void)snprintf(text + n, sizeof(text) - n, "%s%zu copies are dropped", n > 0 ? "; " : "", dropped);
	}
	return json_string(text);
}

json_t *xv_trace(struct xv_host *host, struct xv_port *in, uint8_t *frame, uint32_t len)
{
	const struct xv_trace_question question = {.in = in};

	return xv_trace_ask(host, &question, frame, len);
}

json_t *xv_trace_ask(struct xv_host *host, const struct xv_trace_question *question, uint8_t *frame, uint32_t len)
{
	struct xv_port *in = question->in != NULL ? question->in : question->to;
	struct tale *t = calloc(1, sizeof(*t));
	struct walk k = {.tale = t, .in = in, .binding = atomic_load(&in->binding), .frame = frame, .len = len,
			 .room = len + XV_TRACE_ROOM};
	char packet[XV_FLOW_TEXT_SIZE];
	json_t *answer;

	if (t == NULL)
		return NULL;
	t->host = host;
	t->question = question;
	t->complete = true;
	t->rules = json_array();
	t->stages = json_array();
	t->outputs = json_array();
	t->drops = json_array();
	xv_packet_text(host, in->id, frame, (uint16_t)RTE_MIN(len, (uint32_t)UINT16_MAX), len, packet, sizeof(packet));
	walk(&k);
	answer = json_pack("{s:s, s:I, s:o, s:o, s:o, s:o, s:b, s:o}", "packet", packet, "bytes", (json_int_t)len, "stages",
			   t->stages, "outputs", t->outputs, "drops", t->drops, "result", result_of(t), "complete",
			   (int)t->complete, "rules", t->rules);
	free(t);
	return answer;
}
