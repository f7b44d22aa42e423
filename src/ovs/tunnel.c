/* SPDX-License-Identifier: Apache-2.0 */
#include "ovs/tunnel.h"

#include <errno.h>

#include "net/bytes.h"
#include "net/tunnel.h"
#include "ovs/datapath.h"

#define ETHERNET 14
#define PROTO_UDP 17
#define PROTO_GRE 47
#define TEB 0x6558 /* Ethernet in GRE and Geneve */

struct bytes {
	const uint8_t *data;
	uint32_t len;
};

/* The next len bytes; NULL: there are not so many. */
static const uint8_t *take(struct bytes *b, uint32_t len)
{
	const uint8_t *p = b->data;

	if (b->len < len)
		return NULL;
	b->data += len;
	b->len -= len;
	return p;
}

static rte_be32_t packet_type(uint16_t eth_type)
{
	return eth_type == TEB ? 0 : XV_PACKET_TYPE(eth_type);
}

static bool parse_ip(struct bytes *b, uint16_t eth_type, struct xv_encap_params *p, uint8_t *proto)
{
	const uint8_t *ip;

	if (eth_type == 0x0800) {
		ip = take(b, 20);
		if (ip == NULL || ip[0] != 0x45)
			return false;
		p->tos = ip[1];
		p->ttl = ip[8];
		*proto = ip[9];
		if (ip[6] & 0x40)
			p->flags |= XV_ENCAP_DF;
		memcpy(&p->src.words[3], ip + 12, 4);
		memcpy(&p->dst.words[3], ip + 16, 4);
		return true;
	}
	ip = eth_type == 0x86dd ? take(b, 40) : NULL;
	if (ip == NULL)
		return false;
	p->flags |= XV_ENCAP_IPV6;
	p->tos = (uint8_t)(xv_load_be16(ip) >> 4);
	p->ttl = ip[7];
	*proto = ip[6];
	memcpy(&p->src, ip + 8, 16);
	memcpy(&p->dst, ip + 24, 16);
	return true;
}

static bool parse_vxlan(struct bytes *b, struct xv_encap_params *p)
{
	static const uint16_t gpe_types[] = {0, 0x0800, 0x86dd, TEB, 0x894f};
	const uint8_t *h = take(b, 8);

	if (h == NULL || (h[0] & 0x08) == 0)
		return false;
	if (h[0] & 0x04) {
		if (h[3] == 0 || h[3] >= sizeof(gpe_types) / sizeof(gpe_types[0]))
			return false;
		p->flags |= XV_ENCAP_GPE;
		p->packet_type = packet_type(gpe_types[h[3]]);
	}
	p->type = XV_TUNNEL_VXLAN;
	p->id = xv_load_be32(h + 4) >> 8;
	if (h[0] & 0x80) {
		p->flags |= XV_ENCAP_GBP;
		p->gbp_flags = h[1];
		p->gbp_id = xv_load16(h + 2);
	}
	return true;
}

static bool parse_geneve(struct bytes *b, struct xv_encap_params *p)
{
	const uint8_t *h = take(b, 8);

	if (h == NULL || h[0] >> 6 != 0)
		return false;
	p->type = XV_TUNNEL_GENEVE;
	p->packet_type = packet_type(xv_load_be16(h + 2));
	p->id = xv_load_be32(h + 4) >> 8;
	if (h[1] & 0x80)
		p->flags |= XV_ENCAP_OAM;
	p->options_len = (uint16_t)((h[0] & 0x3f) * 4);
	p->options = take(b, p->options_len);
	return p->options != NULL;
}

static bool parse_gre(struct bytes *b, struct xv_encap_params *p)
{
	const uint8_t *h = take(b, 4), *key;
	uint16_t flags;

	if (h == NULL)
		return false;
	flags = xv_load_be16(h);
	p->type = XV_TUNNEL_GRE;
	p->packet_type = packet_type(xv_load_be16(h + 2));
	if (flags & 0x8000) {
		p->flags |= XV_ENCAP_CSUM;
		if (take(b, 4) == NULL)
			return false;
	}
	if (flags & 0x2000) {
		key = take(b, 4);
		if (key == NULL)
			return false;
		p->flags |= XV_ENCAP_KEY;
		p->id = xv_load_be32(key);
	}
	if (flags & 0x1000) {
		p->flags |= XV_ENCAP_SEQ;
		if (take(b, 4) == NULL)
			return false;
	}
	return (flags & ~0xb000) == 0;
}

static bool parse_udp(struct bytes *b, const struct xv_ovs_port *port, struct xv_encap_params *p)
{
	const uint8_t *udp = take(b, 8);

	if (udp == NULL)
		return false;
	p->udp_src = xv_load16(udp);
	p->udp_dst = xv_load16(udp + 2);
	if (xv_load16(udp + 6) != 0)
		p->flags |= XV_ENCAP_CSUM;
	switch (port->tunnel) {
	case XV_OVS_TUNNEL_VXLAN:
		return parse_vxlan(b, p);
	case XV_OVS_TUNNEL_GENEVE:
		return parse_geneve(b, p);
	case XV_OVS_TUNNEL_GRE:
		break;
	}
	return false;
}

static bool parse_header(struct bytes b, const struct xv_ovs_port *port, struct xv_encap_params *p)
{
	const uint8_t *eth = take(&b, ETHERNET);
	uint8_t proto;

	if (eth == NULL || !parse_ip(&b, xv_load_be16(eth + 12), p, &proto))
		return false;
	memcpy(p->eth_dst, eth, 6);
	memcpy(p->eth_src, eth + 6, 6);
	if (proto == PROTO_GRE && port->tunnel == XV_OVS_TUNNEL_GRE)
		return parse_gre(&b, p) && b.len == 0;
	return proto == PROTO_UDP && parse_udp(&b, port, p) && b.len == 0;
}

int xv_ovs_tunnel_push(const struct xv_ovs_datapath *dp, const struct nlattr *a, struct xv_actions_builder *b,
		       struct xv_err *err)
{
	struct xv_encap_params params = {0};
	const struct xv_ovs_port *port;
	struct xv_ovs_tunnel_push push = {0};
	const uint32_t before = offsetof(struct xv_ovs_tunnel_push, header), len = xv_attr_len(a);
	struct xv_encap encap;

	/* The attribute ends with the headers. */
	if (len >= before && len <= sizeof(push))
		memcpy(&push, xv_attr_data(a), len);
	if (len < before || push.header_len > len - before || push.header_len > sizeof(push.header))
		return xv_err_set(err, -EINVAL, XV_ERR_RANGE, "action tnl_push: malformed");
	port = xv_ovs_port_by_number(dp, push.tnl_port);
	if (port == NULL || port->away || port->kind != XV_OVS_PORT_TUNNEL ||
	    !parse_header((struct bytes){push.header, push.header_len}, port, &params) ||
	    xv_encap_build(&params, &encap) != 0)
		return xv_err_set(err, -EINVAL, XV_ERR_RANGE, "action tnl_push: headers that we do not have");
	xv_actions_add(b, XV_ACT_TUNNEL_PUSH, 0, &encap, sizeof(encap));
	return 0;
}

int xv_ovs_tunnel_pop(const struct xv_ovs_datapath *dp, uint32_t number, bool last, struct xv_actions_builder *b,
		      struct xv_err *err)
{
	static const uint8_t types[] = {
		[XV_OVS_TUNNEL_VXLAN] = XV_TUNNEL_VXLAN,
		[XV_OVS_TUNNEL_GENEVE] = XV_TUNNEL_GENEVE,
		[XV_OVS_TUNNEL_GRE] = XV_TUNNEL_GRE,
	};
	const struct xv_ovs_port *port = xv_ovs_port_by_number(dp, number);
	struct xv_action_tunnel_pop pop = {0};

	if (port == NULL || port->away || port->kind != XV_OVS_PORT_TUNNEL)
		return xv_err_set(err, -EINVAL, XV_ERR_RANGE, "action tnl_pop: no tunnel port %u", number);
	pop.type = types[port->tunnel];
	pop.gbp = port->gbp;
	pop.gpe = port->tunnel == XV_OVS_TUNNEL_VXLAN; /* whatever the port is configured for, as OVS does */
	pop.udp_port = rte_cpu_to_be_16(port->udp_port);
	if (!last)
		xv_actions_open(b, XV_ACT_CLONE, 0);
	xv_actions_add(b, XV_ACT_TUNNEL_POP, port->id, &pop, sizeof(pop));
	if (!last)
		xv_actions_close(b);
	return 0;
}
