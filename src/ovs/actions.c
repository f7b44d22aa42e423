/* SPDX-License-Identifier: Apache-2.0 */
#include "ovs/actions.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <linux/openvswitch.h>

#include "fastpath/conntrack.h"
#include "fastpath/meter.h"
#include "ovs/bonds.h"
#include "ovs/conntrack.h"
#include "ovs/datapath.h"
#include "ovs/key.h"
#include "ovs/tunnel.h"

#define DEPTH_MAX 8
#define ATTRS_MAX 256 /* bytes of a set action's field */
#define HASH_ALG_SYM_L4 1 /* OVS_HASH_ALG_SYM_L4, which the kernel does not have */

struct translation {
	const struct xv_ovs_datapath *dp;
	struct xv_actions_builder b;
	struct xv_err *err;
	unsigned int depth;
};

static int refuse(struct translation *t, const char *what)
{
	return xv_err_set(t->err, -EINVAL, XV_ERR_RANGE, "action %s", what);
}

static int translate(struct translation *t, struct xv_attrs attrs);

/* ---- Set ---- */

/* What a whole header cannot be set to: it says what the packet is. */
static void keep_what_it_is(struct xv_flow_key *mask, bool arp)
{
	if (!arp)
		mask->ip_proto = 0;
	mask->ip_frag = 0;
	mask->nsh_mdtype = mask->nsh_np = 0;
	mask->packet_type = 0;
	mask->in_port = 0;
}

/* One field's attribute with value bytes, as attributes of its own. */
static struct xv_attrs alone(uint32_t *buf, uint16_t type, const void *data, uint32_t len)
{
	struct nlattr *a = (struct nlattr *)(void *)buf;

	a->nla_len = (uint16_t)(NLA_HDRLEN + len);
	a->nla_type = type;
	memcpy((uint8_t *)a + NLA_HDRLEN, data, len);
	return (struct xv_attrs){(const uint8_t *)a, a->nla_len};
}

/* NSH is nested: values and masks alternate in each of its parts. */
static struct xv_attrs nsh_half(uint32_t *buf, struct xv_attrs attrs, bool second)
{
	struct nlattr *outer = (struct nlattr *)(void *)buf;
	uint32_t at = NLA_HDRLEN;
	const struct nlattr *a;
	bool broken = false;

	while ((a = xv_attrs_take(&attrs, &broken)) != NULL) {
		uint32_t half = xv_attr_len(a) / 2;

		if (at + NLA_HDRLEN + NLA_ALIGN(half) > ATTRS_MAX)
			break;
		(void)alone(buf + at / 4, xv_attr_type(a), (const uint8_t *)xv_attr_data(a) + (second ? half : 0), half);
		at += NLA_HDRLEN + NLA_ALIGN(half);
	}
	outer->nla_len = (uint16_t)at;
	outer->nla_type = OVS_KEY_ATTR_NSH;
	return (struct xv_attrs){(const uint8_t *)outer, at};
}

static int set(struct translation *t, const struct nlattr *action, bool masked)
{
	uint32_t value_buf[ATTRS_MAX / 4] = {0}, mask_buf[ATTRS_MAX / 4] = {0}, len;
	struct xv_flow_key value = {0}, mask = {0};
	struct xv_attrs attrs = xv_attr_nested(action), value_attrs, mask_attrs;
	const struct nlattr *field;
	bool broken = false;
	const char *why = "";
	uint16_t type;

	field = xv_attrs_take(&attrs, &broken);
	if (field == NULL || attrs.len != 0)
		return refuse(t, "set: malformed");
	type = xv_attr_type(field);
	len = xv_attr_len(field);
	if (type == OVS_KEY_ATTR_TUNNEL)
		return refuse(t, "set(tunnel): tunnels are pushed");
	if (len > ATTRS_MAX - NLA_HDRLEN || (masked && len % 2 != 0))
		return refuse(t, "set: malformed");
	if (type == OVS_KEY_ATTR_NSH) {
		if (!masked)
			return refuse(t, "set(nsh): without mask");
		value_attrs = nsh_half(value_buf, xv_attr_nested(field), false);
		mask_attrs = nsh_half(mask_buf, xv_attr_nested(field), true);
	} else {
		if (masked)
			len /= 2;
		value_attrs = alone(value_buf, type, xv_attr_data(field), len);
		mask_attrs = alone(mask_buf, type, (const uint8_t *)xv_attr_data(field) + (masked ? len : 0), len);
		if (!masked)
			memset((uint8_t *)mask_buf + NLA_HDRLEN, 0xff, len);
	}
	if (xv_ovs_key_parse(t->dp, value_attrs, true, &value, &why) < 0 ||
	    xv_ovs_key_parse(t->dp, mask_attrs, true, &mask, &why) < 0)
		return xv_err_set(t->err, -EINVAL, XV_ERR_RANGE, "action set: %s", why);
	keep_what_it_is(&mask, type == OVS_KEY_ATTR_ARP);
	if (type == OVS_KEY_ATTR_MPLS)
		memset(&mask.mpls_lse[1], 0, sizeof(mask.mpls_lse) - sizeof(mask.mpls_lse[0]));
	xv_actions_add_set(&t->b, &value, &mask);
	return 0;
}

/* ---- Connection tracking ---- */

static bool nat_address(const struct nlattr *a, union xv_ip_addr *addr, bool *ipv6)
{
	if (xv_attr_len(a) == 16) {
		*ipv6 = true;
		memcpy(addr, xv_attr_data(a), 16);
		return true;
	}
	return xv_attr_get(a, &addr->words[3], 4);
}

static int nat(struct translation *t, struct xv_attrs attrs, struct xv_action_ct *ct)
{
	const struct nlattr *a;
	bool broken = false, ok = true, ipv6 = false, has_max = false, has_port_max = false;

	ct->flags |= XV_CT_NAT;
	while (ok && (a = xv_attrs_take(&attrs, &broken)) != NULL) {
		switch (xv_attr_type(a)) {
		case OVS_NAT_ATTR_SRC:
			ct->nat.flags |= XV_NAT_SRC;
			break;
		case OVS_NAT_ATTR_DST:
			ct->nat.flags |= XV_NAT_DST;
			break;
		case OVS_NAT_ATTR_IP_MIN:
			ok = nat_address(a, &ct->nat.min, &ipv6);
			break;
		case OVS_NAT_ATTR_IP_MAX:
			ok = nat_address(a, &ct->nat.max, &ipv6);
			has_max = true;
			break;
		case OVS_NAT_ATTR_PROTO_MIN:
			ok = xv_attr_get(a, &ct->nat.min_port, 2);
			break;
		case OVS_NAT_ATTR_PROTO_MAX:
			ok = xv_attr_get(a, &ct->nat.max_port, 2);
			has_port_max = true;
			break;
		case OVS_NAT_ATTR_PERSISTENT:
			ct->nat.flags |= XV_NAT_PERSISTENT;
			break;
		case OVS_NAT_ATTR_PROTO_HASH:
			ct->nat.flags |= XV_NAT_HASH;
			break;
		case OVS_NAT_ATTR_PROTO_RANDOM:
			ct->nat.flags |= XV_NAT_RANDOM;
			break;
		default:
			return refuse(t, "ct(nat): unknown field");
		}
	}
	if (!ok || broken)
		return refuse(t, "ct(nat): malformed");
	if (!has_max)
		ct->nat.max = ct->nat.min;
	if (!has_port_max)
		ct->nat.max_port = ct->nat.min_port;
	ct->nat.ipv6 = ipv6;
	return 0;
}

static bool is_text(const struct nlattr *a, const char *text)
{
	size_t len = strlen(text);

	return (xv_attr_len(a) == len || (xv_attr_len(a) == len + 1 && ((const char *)xv_attr_data(a))[len] == '\0')) &&
	       memcmp(xv_attr_data(a), text, len) == 0;
}

static int ct(struct translation *t, struct xv_attrs attrs)
{
	struct xv_action_ct ct = {.flags = XV_CT_FRAGMENT_RULES};
	const struct nlattr *a;
	bool broken = false, ok = true;
	uint32_t mark[2];
	uint64_t labels[4];

	while (ok && (a = xv_attrs_take(&attrs, &broken)) != NULL) {
		switch (xv_attr_type(a)) {
		case OVS_CT_ATTR_COMMIT:
			ct.flags |= XV_CT_COMMIT;
			break;
		case OVS_CT_ATTR_FORCE_COMMIT:
			ct.flags |= XV_CT_COMMIT | XV_CT_FORCE;
			break;
		case OVS_CT_ATTR_ZONE:
			ok = xv_attr_get(a, &ct.zone, 2);
			break;
		case OVS_CT_ATTR_MARK:
			ok = xv_attr_get(a, mark, sizeof(mark));
			if (ok) {
				ct.mark = mark[0] & mark[1];
				ct.mark_mask = mark[1];
			}
			break;
		case OVS_CT_ATTR_LABELS:
			ok = xv_attr_get(a, labels, sizeof(labels));
			if (ok) {
				ct.label[0] = labels[0] & labels[2];
				ct.label[1] = labels[1] & labels[3];
				ct.label_mask[0] = labels[2];
				ct.label_mask[1] = labels[3];
			}
			break;
		case OVS_CT_ATTR_HELPER:
			if (is_text(a, "ftp"))
				ct.helper = XV_CT_HELPER_FTP;
			else if (is_text(a, "tftp"))
				ct.helper = XV_CT_HELPER_TFTP;
			else
				return refuse(t, "ct: helper that we do not have");
			break;
		case OVS_CT_ATTR_NAT:
			if (nat(t, xv_attr_nested(a), &ct) < 0)
				return -EINVAL;
			break;
		case OVS_CT_ATTR_EVENTMASK: /* nobody is told of events: there are none to leave out */
			ok = xv_attr_len(a) == 4;
			break;
		case OVS_CT_ATTR_TIMEOUT:
			ct.timeouts = xv_ovs_ct_policy(xv_attr_data(a), xv_attr_len(a));
			break;
		default:
			return refuse(t, "ct: unknown field");
		}
	}
	if (!ok || broken)
		return refuse(t, "ct: malformed");
	xv_actions_add(&t->b, XV_ACT_CT, 0, &ct, sizeof(ct));
	return 0;
}

/* ---- Programs in programs ---- */

static int sample(struct translation *t, struct xv_attrs attrs)
{
	const struct nlattr *a[OVS_SAMPLE_ATTR_MAX + 1];
	uint32_t probability;
	int rc;

	if (!xv_attrs_index(attrs, a, OVS_SAMPLE_ATTR_MAX + 1) || a[OVS_SAMPLE_ATTR_PROBABILITY] == NULL ||
	    a[OVS_SAMPLE_ATTR_ACTIONS] == NULL ||
	    !xv_attr_get(a[OVS_SAMPLE_ATTR_PROBABILITY], &probability, sizeof(probability)))
		return refuse(t, "sample: malformed");
	xv_actions_open(&t->b, XV_ACT_SAMPLE, probability);
	rc = translate(t, xv_attr_nested(a[OVS_SAMPLE_ATTR_ACTIONS]));
	xv_actions_close(&t->b);
	return rc;
}

static int check_len(struct translation *t, struct xv_attrs attrs, bool last)
{
	const struct nlattr *a[OVS_CHECK_PKT_LEN_ATTR_MAX + 1];
	uint16_t len;
	int rc;

	if (!xv_attrs_index(attrs, a, OVS_CHECK_PKT_LEN_ATTR_MAX + 1) || a[OVS_CHECK_PKT_LEN_ATTR_PKT_LEN] == NULL ||
	    a[OVS_CHECK_PKT_LEN_ATTR_ACTIONS_IF_GREATER] == NULL ||
	    a[OVS_CHECK_PKT_LEN_ATTR_ACTIONS_IF_LESS_EQUAL] == NULL ||
	    !xv_attr_get(a[OVS_CHECK_PKT_LEN_ATTR_PKT_LEN], &len, sizeof(len)))
		return refuse(t, "check_pkt_len: malformed");
	if (!last)
		xv_actions_open(&t->b, XV_ACT_CLONE, 0);
	xv_actions_open(&t->b, XV_ACT_CHECK_LEN, len);
	rc = translate(t, xv_attr_nested(a[OVS_CHECK_PKT_LEN_ATTR_ACTIONS_IF_GREATER]));
	xv_actions_otherwise(&t->b);
	if (rc == 0)
		rc = translate(t, xv_attr_nested(a[OVS_CHECK_PKT_LEN_ATTR_ACTIONS_IF_LESS_EQUAL]));
	xv_actions_close(&t->b);
	if (!last)
		xv_actions_close(&t->b);
	return rc;
}

/* What ends a program, where it is not the last of OVS's actions: a copy ends. */
static void add_end(struct translation *t, enum xv_action_type type, uint32_t arg, bool last)
{
	if (!last)
		xv_actions_open(&t->b, XV_ACT_CLONE, 0);
	xv_actions_add(&t->b, type, arg, NULL, 0);
	if (!last)
		xv_actions_close(&t->b);
}

/* ---- Headers ---- */

static int push_vlan(struct translation *t, const struct nlattr *a)
{
	struct ovs_action_push_vlan in;
	struct xv_action_push_vlan vlan = {0};

	if (!xv_attr_get(a, &in, sizeof(in)))
		return refuse(t, "push_vlan: malformed");
	vlan.tpid = in.vlan_tpid;
	vlan.tci = in.vlan_tci;
	xv_actions_add(&t->b, XV_ACT_PUSH_VLAN, 0, &vlan, sizeof(vlan));
	return 0;
}

static int push_mpls(struct translation *t, const struct nlattr *a, bool add)
{
	struct xv_action_push_mpls mpls = {0};
	struct ovs_action_push_mpls push;
	struct ovs_action_add_mpls in;

	if (add ? !xv_attr_get(a, &in, sizeof(in)) : !xv_attr_get(a, &push, sizeof(push)))
		return refuse(t, "push_mpls: malformed");
	mpls.lse = add ? in.mpls_lse : push.mpls_lse;
	mpls.eth_type = add ? in.mpls_ethertype : push.mpls_ethertype;
	mpls.before_l2 = add && (in.tun_flags & OVS_MPLS_L3_TUNNEL_FLAG_MASK) == 0;
	xv_actions_add(&t->b, XV_ACT_PUSH_MPLS, 0, &mpls, sizeof(mpls));
	return 0;
}

static int push_eth(struct translation *t, const struct nlattr *a)
{
	struct ovs_action_push_eth in;
	struct xv_action_push_eth eth = {0};

	if (!xv_attr_get(a, &in, sizeof(in)))
		return refuse(t, "push_eth: malformed");
	memcpy(eth.dst, in.addresses.eth_dst, 6);
	memcpy(eth.src, in.addresses.eth_src, 6);
	xv_actions_add(&t->b, XV_ACT_PUSH_ETH, 0, &eth, sizeof(eth));
	return 0;
}

static int push_nsh(struct translation *t, struct xv_attrs outer)
{
	struct xv_action_push_nsh nsh = {0};
	struct ovs_nsh_key_base base;
	const struct nlattr *a;
	bool broken = false, ok = true;
	struct xv_attrs attrs;

	/* The field as in a key, in the action. */
	a = xv_attrs_take(&outer, &broken);
	if (a == NULL || xv_attr_type(a) != OVS_KEY_ATTR_NSH || outer.len != 0)
		return refuse(t, "push_nsh: malformed");
	attrs = xv_attr_nested(a);
	while (ok && (a = xv_attrs_take(&attrs, &broken)) != NULL) {
		switch (xv_attr_type(a)) {
		case OVS_NSH_KEY_ATTR_BASE:
			ok = xv_attr_get(a, &base, sizeof(base));
			if (!ok)
				break;
			nsh.flags = base.flags;
			nsh.ttl = base.ttl;
			nsh.mdtype = base.mdtype;
			nsh.path_hdr = base.path_hdr;
			break;
		case OVS_NSH_KEY_ATTR_MD1:
			ok = xv_attr_get(a, nsh.metadata, 16);
			break;
		case OVS_NSH_KEY_ATTR_MD2:
			ok = xv_attr_len(a) <= 244;
			if (ok) {
				memcpy(nsh.metadata, xv_attr_data(a), xv_attr_len(a));
				nsh.md2_len = (uint8_t)xv_attr_len(a);
			}
			break;
		default:
			ok = false;
		}
	}
	if (!ok || broken)
		return refuse(t, "push_nsh: malformed");
	xv_actions_add(&t->b, XV_ACT_PUSH_NSH, 0, &nsh, sizeof(nsh));
	return 0;
}

/* ---- All ---- */

static int translate_one(struct translation *t, const struct nlattr *a, bool last)
{
	struct ovs_action_hash hash;
	rte_be16_t type;
	uint32_t value;
	int rc;

	switch (xv_attr_type(a)) {
	case OVS_ACTION_ATTR_OUTPUT:
		if (!xv_attr_get(a, &value, sizeof(value)))
			return refuse(t, "output: malformed");
		value = xv_ovs_port_id(t->dp, value);
		if (value == XV_FLOW_PORT_NONE) /* or not any more: the kernel's datapath drops, too, and counts */
			add_end(t, XV_ACT_DROP, XV_DROP_TX_DOWN, last);
		else
			xv_actions_add(&t->b, XV_ACT_OUTPUT, value, NULL, 0);
		return 0;
	case OVS_ACTION_ATTR_USERSPACE:
		xv_actions_add(&t->b, XV_ACT_PUNT, 0, xv_attr_data(a), xv_attr_len(a));
		return 0;
	case OVS_ACTION_ATTR_SET:
	case OVS_ACTION_ATTR_SET_MASKED:
		return set(t, a, xv_attr_type(a) == OVS_ACTION_ATTR_SET_MASKED);
	case OVS_ACTION_ATTR_PUSH_VLAN:
		return push_vlan(t, a);
	case OVS_ACTION_ATTR_POP_VLAN:
		xv_actions_add(&t->b, XV_ACT_POP_VLAN, 0, NULL, 0);
		return 0;
	case OVS_ACTION_ATTR_SAMPLE:
		return sample(t, xv_attr_nested(a));
	case OVS_ACTION_ATTR_RECIRC:
		if (!xv_attr_get(a, &value, sizeof(value)))
			return refuse(t, "recirc: malformed");
		add_end(t, XV_ACT_RECIRC, value, last);
		return 0;
	case OVS_ACTION_ATTR_HASH:
		if (!xv_attr_get(a, &hash, sizeof(hash)) || (hash.hash_alg != OVS_HASH_ALG_L4 && hash.hash_alg != HASH_ALG_SYM_L4))
			return refuse(t, "hash: of another kind than l4 and sym_l4");
		xv_actions_add(&t->b, hash.hash_alg == OVS_HASH_ALG_L4 ? XV_ACT_HASH : XV_ACT_SYM_HASH, hash.hash_basis, NULL, 0);
		return 0;
	case XV_OVS_ACTION_LB_OUTPUT:
		if (!xv_attr_get(a, &value, sizeof(value)))
			return refuse(t, "lb_output: malformed");
		if (xv_ovs_bond_number(t->dp, value, &value)) /* or not any more */
			xv_actions_add(&t->b, XV_ACT_BOND, value, NULL, 0);
		else
			add_end(t, XV_ACT_DROP, XV_DROP_TX_DOWN, last);
		return 0;
	case OVS_ACTION_ATTR_PUSH_MPLS:
	case OVS_ACTION_ATTR_ADD_MPLS:
		return push_mpls(t, a, xv_attr_type(a) == OVS_ACTION_ATTR_ADD_MPLS);
	case OVS_ACTION_ATTR_POP_MPLS:
		if (!xv_attr_get(a, &type, sizeof(type)))
			return refuse(t, "pop_mpls: malformed");
		xv_actions_add(&t->b, XV_ACT_POP_MPLS, type, NULL, 0);
		return 0;
	case OVS_ACTION_ATTR_CT:
		return ct(t, xv_attr_nested(a));
	case OVS_ACTION_ATTR_CT_CLEAR: {
		const struct xv_action_ct clear = {.flags = XV_CT_CLEAR};

		xv_actions_add(&t->b, XV_ACT_CT, 0, &clear, sizeof(clear));
		return 0;
	}
	case OVS_ACTION_ATTR_TRUNC:
		if (!xv_attr_get(a, &value, sizeof(value)))
			return refuse(t, "trunc: malformed");
		xv_actions_add(&t->b, XV_ACT_TRUNC, value, NULL, 0);
		return 0;
	case OVS_ACTION_ATTR_PUSH_ETH:
		return push_eth(t, a);
	case OVS_ACTION_ATTR_POP_ETH:
		xv_actions_add(&t->b, XV_ACT_POP_ETH, 0, NULL, 0);
		return 0;
	case OVS_ACTION_ATTR_PUSH_NSH:
		return push_nsh(t, xv_attr_nested(a));
	case OVS_ACTION_ATTR_POP_NSH:
		xv_actions_add(&t->b, XV_ACT_POP_NSH, 0, NULL, 0);
		return 0;
	case OVS_ACTION_ATTR_METER:
		if (!xv_attr_get(a, &value, sizeof(value)) || value >= XV_MAX_METERS)
			return refuse(t, "meter: no such meter can be");
		xv_actions_add(&t->b, XV_ACT_METER, value, NULL, 0);
		return 0;
	case OVS_ACTION_ATTR_CLONE:
		if (last) /* there is no original that goes on */
			return translate(t, xv_attr_nested(a));
		xv_actions_open(&t->b, XV_ACT_CLONE, 0);
		rc = translate(t, xv_attr_nested(a));
		xv_actions_close(&t->b);
		return rc;
	case OVS_ACTION_ATTR_CHECK_PKT_LEN:
		return check_len(t, xv_attr_nested(a), last);
	case XV_OVS_ACTION_TUNNEL_PUSH:
		return xv_ovs_tunnel_push(t->dp, a, &t->b, t->err);
	case XV_OVS_ACTION_TUNNEL_POP:
		if (!xv_attr_get(a, &value, sizeof(value)))
			return refuse(t, "tnl_pop: malformed");
		return xv_ovs_tunnel_pop(t->dp, value, last, &t->b, t->err);
	case XV_OVS_ACTION_DROP:
		add_end(t, XV_ACT_DROP, XV_DROP_ACTION, last);
		return 0;
	default:
		return refuse(t, "that we do not have");
	}
}

static int translate(struct translation *t, struct xv_attrs attrs)
{
	const struct nlattr *a;
	bool broken = false;
	int rc = 0;

	if (++t->depth > DEPTH_MAX)
		return refuse(t, "programs are nested too deep");
	while (rc == 0 && (a = xv_attrs_take(&attrs, &broken)) != NULL)
		rc = translate_one(t, a, attrs.len == 0);
	t->depth--;
	return rc == 0 && broken ? refuse(t, "malformed") : rc;
}

int xv_ovs_actions_parse(const struct xv_ovs_datapath *dp, struct xv_attrs attrs, const struct xv_flow_key *key,
			 const struct xv_flow_key *mask, struct xv_actions **actions, struct xv_err *err)
{
	struct translation t = {.dp = dp, .err = err};
	int rc, finished;

	xv_actions_begin(&t.b);
	rc = translate(&t, attrs);
	*actions = NULL;
	finished = xv_actions_finish(&t.b, actions);
	if (rc == 0)
		rc = finished == -E2BIG ? -EINVAL : finished;
	if (rc == 0)
		rc = xv_actions_check(*actions, key, mask, err);
	if (rc < 0) {
		free(*actions);
		*actions = NULL;
	}
	return rc;
}
