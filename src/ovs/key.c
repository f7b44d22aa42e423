/* SPDX-License-Identifier: Apache-2.0 */
#include "ovs/key.h"

#include <errno.h>
#include <stdlib.h>

#include <linux/openvswitch.h>

#include "ovs/datapath.h"
#include "ovs/message.h"

#define KEY_TYPES (OVS_KEY_ATTR_IPV6_EXTHDRS + 1)
#define TCI_THERE RTE_BE16(0x1000)
#define GENEVE_HEADER 4

static int refuse(const char **why, const char *text)
{
	*why = text;
	return -EINVAL;
}

static bool is_vlan(rte_be16_t type)
{
	return type == RTE_BE16(0x8100) || type == RTE_BE16(0x88a8);
}

/* ---- Tunnel ---- */

static int parse_vxlan(struct xv_attrs attrs, struct xv_flow_key *key, const char **why)
{
	const struct nlattr *a;
	bool broken = false;
	uint32_t gbp;

	while ((a = xv_attrs_take(&attrs, &broken)) != NULL) {
		if (xv_attr_type(a) != OVS_VXLAN_EXT_GBP || !xv_attr_get(a, &gbp, sizeof(gbp)))
			return refuse(why, "tunnel: VXLAN extension");
		key->tun_gbp_id = rte_cpu_to_be_16((uint16_t)gbp);
		key->tun_gbp_flags = (uint8_t)(gbp >> 16);
		key->tun_flags |= XV_TUN_GBP;
	}
	return broken ? refuse(why, "tunnel: malformed") : 0;
}

static int parse_tunnel(struct xv_attrs attrs, struct xv_flow_key *key, const char **why)
{
	const struct nlattr *a;
	bool broken = false, ok = true;

	while (ok && (a = xv_attrs_take(&attrs, &broken)) != NULL) {
		switch (xv_attr_type(a)) {
		case OVS_TUNNEL_KEY_ATTR_ID:
			ok = xv_attr_get(a, &key->tun_id, sizeof(key->tun_id));
			key->tun_flags |= XV_TUN_KEY;
			break;
		case OVS_TUNNEL_KEY_ATTR_IPV4_SRC:
			ok = xv_attr_get(a, &key->tun_src.words[3], 4);
			break;
		case OVS_TUNNEL_KEY_ATTR_IPV4_DST:
			ok = xv_attr_get(a, &key->tun_dst.words[3], 4);
			break;
		case OVS_TUNNEL_KEY_ATTR_IPV6_SRC:
			ok = xv_attr_get(a, &key->tun_src, 16);
			key->tun_flags |= XV_TUN_IPV6;
			break;
		case OVS_TUNNEL_KEY_ATTR_IPV6_DST:
			ok = xv_attr_get(a, &key->tun_dst, 16);
			key->tun_flags |= XV_TUN_IPV6;
			break;
		case OVS_TUNNEL_KEY_ATTR_TOS:
			ok = xv_attr_get(a, &key->tun_tos, 1);
			break;
		case OVS_TUNNEL_KEY_ATTR_TTL:
			ok = xv_attr_get(a, &key->tun_ttl, 1);
			break;
		case OVS_TUNNEL_KEY_ATTR_DONT_FRAGMENT:
			key->tun_flags |= XV_TUN_DF;
			break;
		case OVS_TUNNEL_KEY_ATTR_CSUM:
			key->tun_flags |= XV_TUN_CSUM;
			break;
		case OVS_TUNNEL_KEY_ATTR_OAM:
			key->tun_flags |= XV_TUN_OAM;
			break;
		case OVS_TUNNEL_KEY_ATTR_TP_SRC:
			ok = xv_attr_get(a, &key->tun_tp_src, 2);
			break;
		case OVS_TUNNEL_KEY_ATTR_TP_DST:
			ok = xv_attr_get(a, &key->tun_tp_dst, 2);
			break;
		case OVS_TUNNEL_KEY_ATTR_GENEVE_OPTS:
			if (xv_attr_len(a) > sizeof(key->tun_options))
				return refuse(why, "tunnel: Geneve options");
			memcpy(key->tun_options, xv_attr_data(a), xv_attr_len(a));
			key->tun_options_len = (uint16_t)xv_attr_len(a);
			break;
		case OVS_TUNNEL_KEY_ATTR_VXLAN_OPTS:
			if (parse_vxlan(xv_attr_nested(a), key, why) < 0)
				return -EINVAL;
			break;
		case OVS_TUNNEL_KEY_ATTR_PAD:
			break;
		default:
			return refuse(why, "tunnel: unknown field");
		}
	}
	return ok && !broken ? 0 : refuse(why, "tunnel: malformed");
}

/* Options are compared by their place: headers as a whole, and all of them have to be there. */
static void fix_option_masks(const struct xv_flow_key *key, struct xv_flow_key *mask)
{
	uint32_t at = 0;

	if (mask->tun_options_len == 0)
		return;
	mask->tun_options_len = UINT16_MAX;
	while (at + GENEVE_HEADER <= key->tun_options_len) {
		memset(&mask->tun_options[at], 0xff, GENEVE_HEADER);
		at += GENEVE_HEADER + (key->tun_options[at + 3] & 0x1fu) * 4;
	}
}

/* ---- NSH ---- */

static int parse_nsh(struct xv_attrs attrs, struct xv_flow_key *key, const char **why)
{
	struct ovs_nsh_key_base base;
	const struct nlattr *a;
	bool broken = false, ok = true;

	while (ok && (a = xv_attrs_take(&attrs, &broken)) != NULL) {
		switch (xv_attr_type(a)) {
		case OVS_NSH_KEY_ATTR_BASE:
			ok = xv_attr_get(a, &base, sizeof(base));
			if (!ok)
				break;
			key->nsh_flags = base.flags;
			key->nsh_ttl = base.ttl;
			key->nsh_mdtype = base.mdtype;
			key->nsh_np = base.np;
			key->nsh_path_hdr = base.path_hdr;
			break;
		case OVS_NSH_KEY_ATTR_MD1:
			ok = xv_attr_get(a, key->nsh_context, sizeof(key->nsh_context));
			break;
		default:
			return refuse(why, "nsh: unknown field");
		}
	}
	return ok && !broken ? 0 : refuse(why, "nsh: malformed");
}

/* ---- Packet fields ---- */

static bool parse_ipv4(const struct nlattr *a, struct xv_flow_key *key)
{
	struct ovs_key_ipv4 ip;

	if (!xv_attr_get(a, &ip, sizeof(ip)))
		return false;
	key->ip_src.words[3] = ip.ipv4_src;
	key->ip_dst.words[3] = ip.ipv4_dst;
	key->ip_proto = ip.ipv4_proto;
	key->ip_tos = ip.ipv4_tos;
	key->ip_ttl = ip.ipv4_ttl;
	key->ip_frag = ip.ipv4_frag;
	return true;
}

static bool parse_ipv6(const struct nlattr *a, struct xv_flow_key *key)
{
	struct ovs_key_ipv6 ip;

	if (!xv_attr_get(a, &ip, sizeof(ip)))
		return false;
	memcpy(&key->ip_src, ip.ipv6_src, 16);
	memcpy(&key->ip_dst, ip.ipv6_dst, 16);
	key->ipv6_label = ip.ipv6_label;
	key->ip_proto = ip.ipv6_proto;
	key->ip_tos = ip.ipv6_tclass;
	key->ip_ttl = ip.ipv6_hlimit;
	key->ip_frag = ip.ipv6_frag;
	return true;
}

static bool parse_arp(const struct nlattr *a, struct xv_flow_key *key)
{
	struct ovs_key_arp arp;

	if (xv_attr_len(a) < offsetof(struct ovs_key_arp, arp_tha) + 6 || xv_attr_len(a) > sizeof(arp))
		return false;
	memcpy(&arp, xv_attr_data(a), xv_attr_len(a));
	key->ip_src.words[3] = arp.arp_sip;
	key->ip_dst.words[3] = arp.arp_tip;
	key->ip_proto = (uint8_t)rte_be_to_cpu_16(arp.arp_op);
	memcpy(key->arp_sha, arp.arp_sha, 6);
	memcpy(key->arp_tha, arp.arp_tha, 6);
	return true;
}

static bool parse_nd(const struct nlattr *a, struct xv_flow_key *key)
{
	struct ovs_key_nd nd;

	if (!xv_attr_get(a, &nd, sizeof(nd)))
		return false;
	memcpy(&key->nd_target, nd.nd_target, 16);
	memcpy(key->arp_sha, nd.nd_sll, 6);
	memcpy(key->arp_tha, nd.nd_tll, 6);
	return true;
}

static bool parse_icmp(const struct nlattr *a, struct xv_flow_key *key)
{
	uint8_t icmp[2];

	if (!xv_attr_get(a, icmp, sizeof(icmp)))
		return false;
	key->tp_src = rte_cpu_to_be_16(icmp[0]);
	key->tp_dst = rte_cpu_to_be_16(icmp[1]);
	return true;
}

static bool parse_mpls(const struct nlattr *a, struct xv_flow_key *key)
{
	uint32_t n = xv_attr_len(a) / 4;

	if (xv_attr_len(a) % 4 != 0 || n == 0 || n > XV_FLOW_MAX_MPLS)
		return false;
	memcpy(key->mpls_lse, xv_attr_data(a), n * 4);
	return true;
}

static bool parse_ports(const struct nlattr *a, struct xv_flow_key *key)
{
	rte_be16_t ports[2];

	if (!xv_attr_get(a, ports, sizeof(ports)))
		return false;
	key->tp_src = ports[0];
	key->tp_dst = ports[1];
	return true;
}

/* From the Ethernet type on, behind as many VLAN tags as depth says. */
static int parse_l3(const struct nlattr *const *a, struct xv_flow_key *key, const char **why)
{
	static const struct {
		uint16_t type;
		bool (*parse)(const struct nlattr *a, struct xv_flow_key *key);
	} fields[] = {
		{OVS_KEY_ATTR_IPV4, parse_ipv4}, {OVS_KEY_ATTR_IPV6, parse_ipv6},   {OVS_KEY_ATTR_ARP, parse_arp},
		{OVS_KEY_ATTR_MPLS, parse_mpls}, {OVS_KEY_ATTR_TCP, parse_ports},   {OVS_KEY_ATTR_UDP, parse_ports},
		{OVS_KEY_ATTR_SCTP, parse_ports}, {OVS_KEY_ATTR_ICMP, parse_icmp}, {OVS_KEY_ATTR_ICMPV6, parse_icmp},
		{OVS_KEY_ATTR_ND, parse_nd},
	};
	unsigned int i;

	for (i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		if (a[fields[i].type] != NULL && !fields[i].parse(a[fields[i].type], key))
			return refuse(why, "packet field: malformed");
	if (a[OVS_KEY_ATTR_TCP_FLAGS] != NULL && !xv_attr_get(a[OVS_KEY_ATTR_TCP_FLAGS], &key->tcp_flags, 2))
		return refuse(why, "tcp_flags: malformed");
	if (a[OVS_KEY_ATTR_NSH] != NULL)
		return parse_nsh(xv_attr_nested(a[OVS_KEY_ATTR_NSH]), key, why);
	return 0;
}

static int parse_l2(struct xv_attrs attrs, unsigned int depth, struct xv_flow_key *key, const char **why)
{
	const struct nlattr *a[KEY_TYPES];
	rte_be16_t type = 0;

	if (!xv_attrs_index(attrs, a, KEY_TYPES))
		return refuse(why, "malformed");
	if (a[OVS_KEY_ATTR_ND_EXTENSIONS] != NULL)
		return refuse(why, "nd_ext");
	if (a[OVS_KEY_ATTR_IPV6_EXTHDRS] != NULL && !xv_attr_get(a[OVS_KEY_ATTR_IPV6_EXTHDRS], &key->ipv6_exthdrs, 2))
		return refuse(why, "ipv6_exthdrs: malformed");
	if (a[OVS_KEY_ATTR_ETHERTYPE] != NULL && !xv_attr_get(a[OVS_KEY_ATTR_ETHERTYPE], &type, 2))
		return refuse(why, "eth_type: malformed");
	if (a[OVS_KEY_ATTR_VLAN] == NULL) {
		key->eth_type = type;
		return parse_l3(a, key, why);
	}
	if (depth == XV_FLOW_MAX_VLANS)
		return refuse(why, "vlan: more tags than we look at");
	key->vlan[depth].tpid = type;
	if (!xv_attr_get(a[OVS_KEY_ATTR_VLAN], &key->vlan[depth].tci, 2))
		return refuse(why, "vlan: malformed");
	if (a[OVS_KEY_ATTR_ENCAP] == NULL)
		return 0;
	return parse_l2(xv_attr_nested(a[OVS_KEY_ATTR_ENCAP]), depth + 1, key, why);
}

/* ---- Metadata ---- */

static int parse_tuple(const struct nlattr *const *a, struct xv_flow_key *key, const char **why)
{
	struct ovs_key_ct_tuple_ipv4 t4;
	struct ovs_key_ct_tuple_ipv6 t6;

	if (a[OVS_KEY_ATTR_CT_ORIG_TUPLE_IPV4] != NULL) {
		if (!xv_attr_get(a[OVS_KEY_ATTR_CT_ORIG_TUPLE_IPV4], &t4, sizeof(t4)))
			return refuse(why, "ct_tuple4: malformed");
		key->ct_src.words[3] = t4.ipv4_src;
		key->ct_dst.words[3] = t4.ipv4_dst;
		key->ct_tp_src = t4.src_port;
		key->ct_tp_dst = t4.dst_port;
		key->ct_proto = t4.ipv4_proto;
	}
	if (a[OVS_KEY_ATTR_CT_ORIG_TUPLE_IPV6] != NULL) {
		if (!xv_attr_get(a[OVS_KEY_ATTR_CT_ORIG_TUPLE_IPV6], &t6, sizeof(t6)))
			return refuse(why, "ct_tuple6: malformed");
		memcpy(&key->ct_src, t6.ipv6_src, 16);
		memcpy(&key->ct_dst, t6.ipv6_dst, 16);
		key->ct_tp_src = t6.src_port;
		key->ct_tp_dst = t6.dst_port;
		key->ct_proto = t6.ipv6_proto;
	}
	return 0;
}

static int parse_metadata(const struct xv_ovs_datapath *dp, const struct nlattr *const *a, bool mask,
			  struct xv_flow_key *key, const char **why)
{
	const struct {
		uint16_t type;
		void *field;
		uint32_t size;
	} fields[] = {
		{OVS_KEY_ATTR_PRIORITY, &key->skb_priority, 4}, {OVS_KEY_ATTR_SKB_MARK, &key->skb_mark, 4},
		{OVS_KEY_ATTR_DP_HASH, &key->dp_hash, 4},	{OVS_KEY_ATTR_RECIRC_ID, &key->recirc_id, 4},
		{OVS_KEY_ATTR_CT_STATE, &key->ct_state, 4},	{OVS_KEY_ATTR_CT_ZONE, &key->ct_zone, 2},
		{OVS_KEY_ATTR_CT_MARK, &key->ct_mark, 4},	{OVS_KEY_ATTR_CT_LABELS, key->ct_label, 16},
		{OVS_KEY_ATTR_PACKET_TYPE, &key->packet_type, 4},
	};
	struct ovs_key_ethernet eth;
	unsigned int i;
	uint32_t port;

	for (i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		if (a[fields[i].type] != NULL && !xv_attr_get(a[fields[i].type], fields[i].field, fields[i].size))
			return refuse(why, "metadata: malformed");
	if (a[OVS_KEY_ATTR_IN_PORT] != NULL) {
		if (!xv_attr_get(a[OVS_KEY_ATTR_IN_PORT], &port, sizeof(port)))
			return refuse(why, "in_port: malformed");
		key->in_port = mask ? port : xv_ovs_port_id(dp, port);
	} else if (!mask) {
		key->in_port = XV_FLOW_PORT_NONE;
	}
	if (!mask && (key->ct_state & ~0xffu) != 0)
		return refuse(why, "ct_state: unknown bit");
	if (a[OVS_KEY_ATTR_TUNNEL] != NULL && parse_tunnel(xv_attr_nested(a[OVS_KEY_ATTR_TUNNEL]), key, why) < 0)
		return -EINVAL;
	if (a[OVS_KEY_ATTR_ETHERNET] != NULL) {
		if (!xv_attr_get(a[OVS_KEY_ATTR_ETHERNET], &eth, sizeof(eth)))
			return refuse(why, "eth: malformed");
		memcpy(key->eth_src, eth.eth_src, 6);
		memcpy(key->eth_dst, eth.eth_dst, 6);
	}
	return parse_tuple(a, key, why);
}

int xv_ovs_key_parse(const struct xv_ovs_datapath *dp, struct xv_attrs attrs, bool mask, struct xv_flow_key *key,
		     const char **why)
{
	const struct nlattr *a[KEY_TYPES];
	struct xv_attrs all = attrs;
	const struct nlattr *one;
	bool broken = false;

	while ((one = xv_attrs_take(&all, &broken)) != NULL)
		if (xv_attr_type(one) >= KEY_TYPES)
			return refuse(why, "unknown field");
	if (broken || !xv_attrs_index(attrs, a, KEY_TYPES))
		return refuse(why, "malformed");
	if (parse_metadata(dp, a, mask, key, why) < 0)
		return -EINVAL;
	return parse_l2(attrs, 0, key, why);
}

/* ---- Matches ---- */

static bool is_nested(uint16_t type)
{
	return type == OVS_KEY_ATTR_ENCAP || type == OVS_KEY_ATTR_TUNNEL || type == OVS_KEY_ATTR_NSH;
}

/* Ones wherever there is a value. */
static void fill(struct xv_attrs attrs, bool top)
{
	const struct nlattr *a;
	bool broken = false;

	while ((a = xv_attrs_take(&attrs, &broken)) != NULL) {
		if (top && is_nested(xv_attr_type(a)))
			fill(xv_attr_nested(a), xv_attr_type(a) == OVS_KEY_ATTR_ENCAP);
		else if (!top && xv_attr_type(a) == OVS_TUNNEL_KEY_ATTR_VXLAN_OPTS)
			fill(xv_attr_nested(a), false);
		else
			memset((uint8_t *)(uintptr_t)xv_attr_data(a), 0xff, xv_attr_len(a));
	}
}

/* A mask of all that the key says. */
static int parse_exact(const struct xv_ovs_datapath *dp, struct xv_attrs attrs, struct xv_flow_key *mask, const char **why)
{
	uint8_t *copy = malloc(attrs.len + 1);
	int rc;

	if (copy == NULL)
		return -ENOMEM;
	if (attrs.len > 0)
		memcpy(copy, attrs.data, attrs.len);
	fill((struct xv_attrs){copy, attrs.len}, true);
	rc = xv_ovs_key_parse(dp, (struct xv_attrs){copy, attrs.len}, true, mask, why);
	free(copy);
	return rc;
}

/* What netlink says by leaving things out. */
static void complete(struct xv_flow_key *key, struct xv_flow_key *mask)
{
	unsigned int depth = 0;

	mask->recirc_id = UINT32_MAX;
	while (depth < XV_FLOW_MAX_VLANS && (key->vlan[depth].tci & TCI_THERE) != 0)
		depth++;
	if (is_vlan(key->eth_type)) {
		/* OVS did not look behind this tag. */
		if (depth < XV_FLOW_MAX_VLANS) {
			key->vlan[depth].tpid = key->eth_type;
			mask->vlan[depth].tpid = RTE_BE16(0xffff);
		}
		key->eth_type = 0;
		mask->eth_type = 0;
	} else if (mask->eth_type == RTE_BE16(0xffff)) {
		/* Of a packet without (another) tag; without a type it is no Ethernet II. */
		if (depth < XV_FLOW_MAX_VLANS) {
			mask->vlan[depth].tpid = RTE_BE16(0xffff);
			mask->vlan[depth].tci = RTE_BE16(0xffff);
		}
		if (key->eth_type == 0 && key->packet_type == 0)
			key->eth_type = RTE_BE16(0x05ff);
	}
	fix_option_masks(key, mask);
}

int xv_ovs_match_parse(const struct xv_ovs_datapath *dp, struct xv_attrs key, struct xv_attrs mask,
		       struct xv_flow_key *flow_key, struct xv_flow_key *flow_mask, const char **why)
{
	int rc;

	memset(flow_key, 0, sizeof(*flow_key));
	memset(flow_mask, 0, sizeof(*flow_mask));
	rc = xv_ovs_key_parse(dp, key, false, flow_key, why);
	if (rc < 0)
		return rc;
	if (mask.data == NULL) {
		rc = parse_exact(dp, key, flow_mask, why);
		flow_mask->eth_type = RTE_BE16(0xffff);
		flow_mask->in_port = UINT32_MAX;
	} else {
		rc = xv_ovs_key_parse(dp, mask, true, flow_mask, why);
	}
	if (rc < 0)
		return rc;
	complete(flow_key, flow_mask);
	return 0;
}

/* ---- Back ---- */

static void put_tunnel(struct xv_ovs_message *m, const struct xv_flow_key *key)
{
	uint32_t at = xv_ovs_open_attr(m, OVS_KEY_ATTR_TUNNEL), options, gbp;

	if (key->tun_flags & XV_TUN_KEY)
		xv_ovs_put_attr(m, OVS_TUNNEL_KEY_ATTR_ID, &key->tun_id, 8);
	if (key->tun_flags & XV_TUN_IPV6) {
		xv_ovs_put_attr(m, OVS_TUNNEL_KEY_ATTR_IPV6_SRC, &key->tun_src, 16);
		xv_ovs_put_attr(m, OVS_TUNNEL_KEY_ATTR_IPV6_DST, &key->tun_dst, 16);
	} else {
		xv_ovs_put_attr(m, OVS_TUNNEL_KEY_ATTR_IPV4_SRC, &key->tun_src.words[3], 4);
		xv_ovs_put_attr(m, OVS_TUNNEL_KEY_ATTR_IPV4_DST, &key->tun_dst.words[3], 4);
	}
	xv_ovs_put_attr(m, OVS_TUNNEL_KEY_ATTR_TOS, &key->tun_tos, 1);
	xv_ovs_put_attr(m, OVS_TUNNEL_KEY_ATTR_TTL, &key->tun_ttl, 1);
	if (key->tun_flags & XV_TUN_DF)
		xv_ovs_put_attr(m, OVS_TUNNEL_KEY_ATTR_DONT_FRAGMENT, NULL, 0);
	if (key->tun_flags & XV_TUN_CSUM)
		xv_ovs_put_attr(m, OVS_TUNNEL_KEY_ATTR_CSUM, NULL, 0);
	if (key->tun_flags & XV_TUN_OAM)
		xv_ovs_put_attr(m, OVS_TUNNEL_KEY_ATTR_OAM, NULL, 0);
	if (key->tun_tp_src != 0)
		xv_ovs_put_attr(m, OVS_TUNNEL_KEY_ATTR_TP_SRC, &key->tun_tp_src, 2);
	if (key->tun_tp_dst != 0)
		xv_ovs_put_attr(m, OVS_TUNNEL_KEY_ATTR_TP_DST, &key->tun_tp_dst, 2);
	if (key->tun_options_len > 0)
		xv_ovs_put_attr(m, OVS_TUNNEL_KEY_ATTR_GENEVE_OPTS, key->tun_options, key->tun_options_len);
	if (key->tun_flags & XV_TUN_GBP) {
		gbp = rte_be_to_cpu_16(key->tun_gbp_id) | (uint32_t)key->tun_gbp_flags << 16;
		options = xv_ovs_open_attr(m, OVS_TUNNEL_KEY_ATTR_VXLAN_OPTS);
		xv_ovs_put_attr(m, OVS_VXLAN_EXT_GBP, &gbp, sizeof(gbp));
		xv_ovs_close_attr(m, options);
	}
	xv_ovs_close_attr(m, at);
}

static void put_tuple(struct xv_ovs_message *m, const struct xv_flow_key *key)
{
	struct ovs_key_ct_tuple_ipv4 t4 = {.ipv4_src = key->ct_src.words[3], .ipv4_dst = key->ct_dst.words[3],
					   .src_port = key->ct_tp_src, .dst_port = key->ct_tp_dst,
					   .ipv4_proto = key->ct_proto};
	struct ovs_key_ct_tuple_ipv6 t6 = {.src_port = key->ct_tp_src, .dst_port = key->ct_tp_dst,
					   .ipv6_proto = key->ct_proto};

	if (key->eth_type == RTE_BE16(0x0800)) {
		xv_ovs_put_attr(m, OVS_KEY_ATTR_CT_ORIG_TUPLE_IPV4, &t4, sizeof(t4));
	} else if (key->eth_type == RTE_BE16(0x86dd)) {
		memcpy(t6.ipv6_src, &key->ct_src, 16);
		memcpy(t6.ipv6_dst, &key->ct_dst, 16);
		xv_ovs_put_attr(m, OVS_KEY_ATTR_CT_ORIG_TUPLE_IPV6, &t6, sizeof(t6));
	}
}

void xv_ovs_put_metadata(struct xv_ovs_message *m, const struct xv_ovs_datapath *dp, const struct xv_flow_key *key)
{
	uint32_t port = xv_ovs_port_number(dp, key->in_port);
	struct ovs_key_ethernet eth;
	rte_be16_t eth_type;

	xv_ovs_put_attr(m, OVS_KEY_ATTR_RECIRC_ID, &key->recirc_id, 4);
	if (port != UINT32_MAX)
		xv_ovs_put_attr(m, OVS_KEY_ATTR_IN_PORT, &port, 4);
	xv_ovs_put_attr(m, OVS_KEY_ATTR_DP_HASH, &key->dp_hash, 4);
	xv_ovs_put_attr(m, OVS_KEY_ATTR_SKB_MARK, &key->skb_mark, 4);
	xv_ovs_put_attr(m, OVS_KEY_ATTR_PRIORITY, &key->skb_priority, 4);
	/* By one of these OVS tells what the packet begins with. */
	if (key->packet_type == 0) {
		memcpy(eth.eth_src, key->eth_src, 6);
		memcpy(eth.eth_dst, key->eth_dst, 6);
		xv_ovs_put_attr(m, OVS_KEY_ATTR_ETHERNET, &eth, sizeof(eth));
	} else {
		eth_type = rte_cpu_to_be_16((uint16_t)rte_be_to_cpu_32(key->packet_type));
		xv_ovs_put_attr(m, OVS_KEY_ATTR_PACKET_TYPE, &key->packet_type, 4);
		xv_ovs_put_attr(m, OVS_KEY_ATTR_ETHERTYPE, &eth_type, 2);
	}
	if (key->ct_state != 0) {
		xv_ovs_put_attr(m, OVS_KEY_ATTR_CT_STATE, &key->ct_state, 4);
		xv_ovs_put_attr(m, OVS_KEY_ATTR_CT_ZONE, &key->ct_zone, 2);
		xv_ovs_put_attr(m, OVS_KEY_ATTR_CT_MARK, &key->ct_mark, 4);
		xv_ovs_put_attr(m, OVS_KEY_ATTR_CT_LABELS, key->ct_label, 16);
		if (key->ct_proto != 0)
			put_tuple(m, key);
	}
	if ((key->tun_dst.u64[0] | key->tun_dst.u64[1]) != 0)
		put_tunnel(m, key);
}
