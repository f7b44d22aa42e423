/* SPDX-License-Identifier: Apache-2.0 */
#include "fastpath/firewall.h"

#include <string.h>

#include "fastpath/conntrack.h"

#define ETH_IPV4 RTE_BE16(0x0800)
#define ETH_ARP RTE_BE16(0x0806)
#define ETH_RARP RTE_BE16(0x8035)
#define ETH_IPV6 RTE_BE16(0x86dd)

#define PROTO_UDP 17
#define PROTO_ICMPV6 58

#define ICMPV6_MLD_QUERY 130
#define ICMPV6_RA 134
#define ICMPV6_NS 135
#define ICMPV6_NA 136
#define ICMPV6_REDIRECT 137
#define ICMPV6_MLD2_REPORT 143

#define STATES (XV_CS_NEW | XV_CS_ESTABLISHED | XV_CS_RELATED | XV_CS_REPLY | XV_CS_INVALID | XV_CS_TRACKED)

#define MASK_ALL(mask, field) memset(&(mask)->field, 0xff, sizeof((mask)->field))

static bool same_addr(const union xv_ip_addr *a, const union xv_ip_addr *b)
{
	return a->u64[0] == b->u64[0] && a->u64[1] == b->u64[1];
}

/* ---- Rules ---- */

/* Was the connection opened in the direction in which this packet goes? */
static bool goes_as_opened(const struct xv_flow_key *key, struct xv_flow_key *mask)
{
	if ((key->ct_state & XV_CS_RELATED) == 0)
		return (key->ct_state & XV_CS_REPLY) == 0;
	/* The state is that of the related packet, the tuple that of the connection which it is related to. ICMP errors go to
	 * one of its ends, but may come from any router (RFC 1812 section 4.3.2). */
	MASK_ALL(mask, ip_dst);
	MASK_ALL(mask, ct_dst);
	return same_addr(&key->ip_dst, &key->ct_dst);
}

/* The packet that opened the connection, as rules see packets. */
static void opener(const struct xv_flow_key *key, struct xv_flow_key *first)
{
	memset(first, 0, XV_FLOW_FIXED_WORDS * 8);
	first->eth_type = key->eth_type;
	first->ip_src = key->ct_src;
	first->ip_dst = key->ct_dst;
	first->ip_proto = key->ct_proto;
	first->tp_src = key->ct_tp_src;
	first->tp_dst = key->ct_tp_dst;
}

static void opener_mask(struct xv_flow_key *mask, const struct xv_flow_key *first)
{
	unsigned int i;

	mask->eth_type |= first->eth_type;
	for (i = 0; i < 2; i++) {
		mask->ct_src.u64[i] |= first->ip_src.u64[i];
		mask->ct_dst.u64[i] |= first->ip_dst.u64[i];
	}
	mask->ct_proto |= first->ip_proto;
	mask->ct_tp_src |= first->tp_src;
	mask->ct_tp_dst |= first->tp_dst;
}

/* Ports of DHCP and of DHCPv6 (RFC 2131, RFC 8415): two in a group of eight each. */
#define DHCP_GROUP 64
#define DHCP_SERVER 67
#define DHCP_CLIENT 68
#define DHCPV6_GROUP 544
#define DHCPV6_CLIENT 546
#define DHCPV6_SERVER 547

/* Is the port in none of the group's eight? Then one bit tells: a flow must not stand for one connection only. */
static bool is_elsewhere(rte_be16_t port, uint16_t group, rte_be16_t *mask)
{
	unsigned int differ = (rte_be_to_cpu_16(port) ^ group) & ~7u;

	*mask |= differ == 0 ? UINT16_MAX : rte_cpu_to_be_16((uint16_t)(1u << (31 - __builtin_clz(differ))));
	return differ != 0;
}

/*
 * What keeps a VM on its network, whatever rules say; the guard looks after it: ARP, neighbour discovery and multicast listener
 * reports (RFC 4861, 2710, 3810), DHCP of the VM as a client. Connection tracking has no notion of them.
 */
static bool is_housekeeping(enum xv_firewall_way way, const struct xv_flow_key *key, struct xv_flow_key *mask)
{
	uint16_t from = rte_be_to_cpu_16(key->tp_src), to = rte_be_to_cpu_16(key->tp_dst);
	bool ipv6 = key->eth_type == ETH_IPV6;

	MASK_ALL(mask, eth_type);
	if (key->eth_type == ETH_ARP || key->eth_type == ETH_RARP)
		return true;
	if (!ipv6 && key->eth_type != ETH_IPV4)
		return false;
	MASK_ALL(mask, ip_proto);
	MASK_ALL(mask, ip_frag);
	if (key->ip_frag == XV_FRAG_LATER)
		return false;
	if (key->ip_proto == PROTO_ICMPV6 && ipv6) {
		MASK_ALL(mask, tp_src);
		return (from >= ICMPV6_MLD_QUERY && from <= ICMPV6_REDIRECT) || from == ICMPV6_MLD2_REPORT;
	}
	if (key->ip_proto != PROTO_UDP)
		return false;
	if (is_elsewhere(key->tp_src, ipv6 ? DHCPV6_GROUP : DHCP_GROUP, &mask->tp_src) ||
	    is_elsewhere(key->tp_dst, ipv6 ? DHCPV6_GROUP : DHCP_GROUP, &mask->tp_dst))
		return false;
	if (way == XV_FIREWALL_FROM_VM)
		return ipv6 ? from == DHCPV6_CLIENT && to == DHCPV6_SERVER : from == DHCP_CLIENT && to == DHCP_SERVER;
	return ipv6 ? from == DHCPV6_SERVER && to == DHCPV6_CLIENT : from == DHCP_SERVER && to == DHCP_CLIENT;
}

enum xv_verdict xv_firewall_check(const struct xv_firewall *f, enum xv_firewall_way way, const struct xv_flow_key *key,
				  struct xv_flow_key *mask, const struct xv_policy **policy, uint32_t *rule)
{
	struct xv_flow_key first, first_mask;
	enum xv_verdict verdict;
	bool to_vm = way == XV_FIREWALL_TO_VM;

	*policy = NULL;
	if (f == NULL)
		return XV_POLICY_ALLOW;
	mask->ct_state |= STATES;
	if ((key->ct_state & XV_CS_TRACKED) == 0) {
		if (is_housekeeping(way, key, mask))
			return XV_POLICY_ALLOW;
		*policy = to_vm ? f->ingress : f->egress;
		return *policy != NULL ? xv_policy_check(*policy, key, mask, rule) : XV_POLICY_ALLOW;
	}
	if (!goes_as_opened(key, mask))
		to_vm = !to_vm;
	*policy = to_vm ? f->ingress : f->egress;
	if (*policy == NULL)
		return XV_POLICY_ALLOW;
	opener(key, &first);
	memset(&first_mask, 0, XV_FLOW_FIXED_WORDS * 8);
	verdict = xv_policy_check(*policy, &first, &first_mask, rule);
	opener_mask(mask, &first_mask);
	return verdict;
}

bool xv_firewall_tracks(const struct xv_flow_key *key, struct xv_flow_key *mask)
{
	MASK_ALL(mask, eth_type);
	if (key->eth_type != ETH_IPV4 && key->eth_type != ETH_IPV6)
		return false;
	mask->eth_dst[0] |= 1;
	if ((key->eth_dst[0] & 1) != 0)
		return false;
	return !is_housekeeping(XV_FIREWALL_FROM_VM, key, mask) && !is_housekeeping(XV_FIREWALL_TO_VM, key, mask);
}

/* ---- Guard ---- */

static bool in_prefix(const struct xv_guard_address *a, const union xv_ip_addr *addr)
{
	unsigned int first = a->ipv6 ? 0 : 12, whole = a->len / 8u, bits = a->len % 8u;

	if (memcmp(&a->addr.bytes[first], &addr->bytes[first], whole) != 0)
		return false;
	return bits == 0 || ((a->addr.bytes[first + whole] ^ addr->bytes[first + whole]) >> (8 - bits)) == 0;
}

static bool has_mac(const struct xv_guard *guard, const uint8_t mac[6])
{
	unsigned int i;

	for (i = 0; i < guard->n; i++)
		if (memcmp(guard->addresses[i].mac, mac, 6) == 0)
			return true;
	return false;
}

static bool has_pair(const struct xv_guard *guard, const uint8_t mac[6], const union xv_ip_addr *addr, bool ipv6)
{
	unsigned int i;

	for (i = 0; i < guard->n; i++) {
		const struct xv_guard_address *a = &guard->addresses[i];

		if ((a->ipv6 != 0) == ipv6 && memcmp(a->mac, mac, 6) == 0 && in_prefix(a, addr))
			return true;
	}
	return false;
}

static bool is_zero(const void *bytes, size_t n)
{
	static const uint8_t zeros[16];

	return memcmp(bytes, zeros, n) == 0;
}

/* fe80:: with the modified EUI-64 of the MAC. */
static bool is_link_local_of(const union xv_ip_addr *addr, const uint8_t mac[6])
{
	const uint8_t own[16] = {0xfe, 0x80, [8] = mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]};

	return memcmp(addr->bytes, own, sizeof(own)) == 0;
}

static bool owns(const struct xv_guard *guard, const uint8_t mac[6], const union xv_ip_addr *addr)
{
	return has_pair(guard, mac, addr, true) || is_link_local_of(addr, mac);
}

/* RFC 826, RFC 5227: the sender is who it says; a probe has no sender address yet. */
static bool arp_passes(const struct xv_guard *guard, const struct xv_flow_key *key, struct xv_flow_key *mask)
{
	MASK_ALL(mask, arp_sha);
	MASK_ALL(mask, ip_src);
	if (memcmp(key->arp_sha, key->eth_src, 6) != 0)
		return false;
	return key->ip_src.words[3] == 0 || has_pair(guard, key->eth_src, &key->ip_src, false);
}

static bool ipv4_passes(const struct xv_guard *guard, const struct xv_flow_key *key, struct xv_flow_key *mask)
{
	bool udp = key->ip_proto == PROTO_UDP && key->ip_frag != XV_FRAG_LATER;

	MASK_ALL(mask, ip_src);
	MASK_ALL(mask, ip_proto);
	MASK_ALL(mask, ip_frag);
	if (udp && !is_elsewhere(key->tp_src, DHCP_GROUP, &mask->tp_src) && key->tp_src == RTE_BE16(DHCP_SERVER))
		return false;
	if (key->ip_src.words[3] == 0) { /* who has no address yet asks for one: RFC 2131 section 4.1 */
		MASK_ALL(mask, tp_src);
		MASK_ALL(mask, tp_dst);
		return udp && key->tp_src == RTE_BE16(DHCP_CLIENT) && key->tp_dst == RTE_BE16(DHCP_SERVER);
	}
	return has_pair(guard, key->eth_src, &key->ip_src, false);
}

/* Neighbour discovery (RFC 4861): who offers itself as a neighbour offers its own address and MAC; routers are elsewhere. */
static bool nd_passes(const struct xv_guard *guard, const struct xv_flow_key *key, struct xv_flow_key *mask)
{
	uint16_t type = rte_be_to_cpu_16(key->tp_src);

	MASK_ALL(mask, tp_src);
	if (type == ICMPV6_RA)
		return false;
	if (type != ICMPV6_NS && type != ICMPV6_NA)
		return true;
	MASK_ALL(mask, arp_sha);
	MASK_ALL(mask, arp_tha);
	if (type == ICMPV6_NS)
		return is_zero(key->arp_sha, 6) || memcmp(key->arp_sha, key->eth_src, 6) == 0;
	MASK_ALL(mask, nd_target);
	return owns(guard, key->eth_src, &key->nd_target) &&
	       (is_zero(key->arp_tha, 6) || memcmp(key->arp_tha, key->eth_src, 6) == 0);
}

static bool ipv6_passes(const struct xv_guard *guard, const struct xv_flow_key *key, struct xv_flow_key *mask)
{
	MASK_ALL(mask, ip_src);
	MASK_ALL(mask, ip_proto);
	MASK_ALL(mask, ip_frag);
	if (key->ip_proto == PROTO_UDP && key->ip_frag != XV_FRAG_LATER &&
	    !is_elsewhere(key->tp_src, DHCPV6_GROUP, &mask->tp_src) && key->tp_src == RTE_BE16(DHCPV6_SERVER))
		return false;
	if (key->ip_proto == PROTO_ICMPV6 && key->ip_frag != XV_FRAG_LATER && !nd_passes(guard, key, mask))
		return false;
	/* Duplicate address detection, multicast listener reports before it (RFC 4862 section 5.4, RFC 3810 section 5.2.13). */
	if (is_zero(key->ip_src.bytes, 16))
		return key->ip_proto == PROTO_ICMPV6;
	return owns(guard, key->eth_src, &key->ip_src);
}

bool xv_guard_check(const struct xv_guard *guard, const struct xv_flow_key *key, struct xv_flow_key *mask)
{
	MASK_ALL(mask, eth_src);
	MASK_ALL(mask, eth_type);
	if (!has_mac(guard, key->eth_src))
		return false;
	switch (key->eth_type) {
	case ETH_ARP:
	case ETH_RARP:
		return arp_passes(guard, key, mask);
	case ETH_IPV4:
		return ipv4_passes(guard, key, mask);
	case ETH_IPV6:
		return ipv6_passes(guard, key, mask);
	default:
		return true;
	}
}
