/* SPDX-License-Identifier: Apache-2.0 */
#include "net/flow_format.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>

#include <linux/openvswitch.h>

#define ETH_TYPE_MIN 0x0600 /* below: an 802.3 length, which is no type */

enum {
	ETH_IPV4 = 0x0800,
	ETH_ARP = 0x0806,
	ETH_RARP = 0x8035,
	ETH_IPV6 = 0x86dd,
	ETH_MPLS = 0x8847,
	ETH_MPLS_MC = 0x8848,
	ETH_NSH = 0x894f,
};

enum {
	IP_ICMP = 1,
	IP_IGMP = 2,
	IP_TCP = 6,
	IP_UDP = 17,
	IP_ICMPV6 = 58,
	IP_SCTP = 132,
};

#define GENEVE_OPT_LEN 4 /* class, type, length: RFC 8926 section 3.5 */

/* What is written so far: len may be beyond size, then the rest went nowhere. */
struct text {
	char *buf;
	size_t size, len;
	bool first; /* of the fields in this pair of brackets */
};

static void __attribute__((format(printf, 2, 3))) put(struct text *t, const char *format, ...)
{
	bool room = t->len < t->size;
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(room ? t->buf + t->len : NULL, room ? t->size - t->len : 0, format, args);
	va_end(args);
	if (n > 0)
		t->len += (size_t)n;
}

static void separate(struct text *t)
{
	if (!t->first)
		put(t, ",");
	t->first = false;
}

static void begin(struct text *t, const char *name)
{
	separate(t);
	put(t, "%s(", name);
	t->first = true;
}

static void end(struct text *t)
{
	put(t, ")");
	t->first = false;
}

/*
 * A field each: nothing if the mask ignores it, "/mask" if it compares only some of its bits. full: all bits that the
 * field has. An empty name: the value alone.
 */
static bool begin_field(struct text *t, const char *name, bool masked)
{
	if (!masked)
		return false;
	separate(t);
	put(t, "%s%s", name, *name ? "=" : "");
	return true;
}

static void dec(struct text *t, const char *name, uint32_t value, uint32_t mask, uint32_t full)
{
	mask &= full;
	if (!begin_field(t, name, mask != 0))
		return;
	put(t, "%u", value);
	if (mask != full)
		put(t, "/%#x", mask);
}

static void dec16(struct text *t, const char *name, rte_be16_t value, rte_be16_t mask)
{
	dec(t, name, rte_be_to_cpu_16(value), rte_be_to_cpu_16(mask), UINT16_MAX);
}

static void hex(struct text *t, const char *name, uint32_t value, uint32_t mask, uint32_t full)
{
	mask &= full;
	if (!begin_field(t, name, mask != 0))
		return;
	put(t, "%#x", value);
	if (mask != full)
		put(t, "/%#x", mask);
}

static void put_ipv4(struct text *t, const union xv_ip_addr *addr)
{
	const uint8_t *b = addr->bytes + 12;

	put(t, "%u.%u.%u.%u", b[0], b[1], b[2], b[3]);
}

static void ipv4(struct text *t, const char *name, const union xv_ip_addr *value, const union xv_ip_addr *mask)
{
	if (!begin_field(t, name, mask->words[3] != 0))
		return;
	put_ipv4(t, value);
	if (mask->words[3] != UINT32_MAX) {
		put(t, "/");
		put_ipv4(t, mask);
	}
}

static void put_ipv6(struct text *t, const union xv_ip_addr *addr)
{
	char text[INET6_ADDRSTRLEN] = "";

	inet_ntop(AF_INET6, addr->bytes, text, sizeof(text));
	put(t, "%s", text);
}

static void ipv6(struct text *t, const char *name, const union xv_ip_addr *value, const union xv_ip_addr *mask)
{
	if (!begin_field(t, name, (mask->u64[0] | mask->u64[1]) != 0))
		return;
	put_ipv6(t, value);
	if ((mask->u64[0] & mask->u64[1]) != UINT64_MAX) {
		put(t, "/");
		put_ipv6(t, mask);
	}
}

static bool all_are(const uint8_t *bytes, size_t n, uint8_t value)
{
	while (n > 0 && bytes[n - 1] == value)
		n--;
	return n == 0;
}

static void put_mac(struct text *t, const uint8_t *mac)
{
	put(t, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
}

static void mac(struct text *t, const char *name, const uint8_t *value, const uint8_t *mask)
{
	if (!begin_field(t, name, !all_are(mask, 6, 0)))
		return;
	put_mac(t, value);
	if (!all_are(mask, 6, 0xff)) {
		put(t, "/");
		put_mac(t, mask);
	}
}

/* A long number: 0x and its digits from the first that is not zero, or 0. */
static void put_bytes(struct text *t, const uint8_t *bytes, size_t n)
{
	while (n > 0 && *bytes == 0) {
		bytes++;
		n--;
	}
	if (n == 0)
		put(t, "0");
	for (size_t i = 0; i < n; i++)
		put(t, i == 0 ? "0x%x" : "%02x", bytes[i]);
}

struct flag {
	uint32_t bit;
	const char *name;
};

/* "syn|ack" if the mask has all flags, else "+syn-ack" of those that it has. */
static void put_flags(struct text *t, const struct flag *flags, uint32_t value, uint32_t mask, uint32_t full)
{
	uint32_t known = 0;
	bool first = true;

	for (; flags->bit; flags++) {
		known |= flags->bit;
		if ((mask & full) != full && (mask & flags->bit)) {
			put(t, "%s%s", value & flags->bit ? "+" : "-", flags->name);
		} else if ((mask & full) == full && (value & flags->bit)) {
			put(t, "%s%s", first ? "" : "|", flags->name);
			first = false;
		}
	}
	if ((mask & full) != full)
		return;
	if (value & ~known) {
		put(t, "%s%#x", first ? "" : "|", value & ~known);
		first = false;
	}
	if (first)
		put(t, "0");
}

static void single_hex(struct text *t, const char *name, uint32_t value, uint32_t mask, uint32_t full)
{
	if (mask == 0)
		return;
	begin(t, name);
	hex(t, "", value, mask, full);
	end(t);
}

static void format_geneve(struct text *t, const struct xv_flow_key *key, const struct xv_flow_key *mask)
{
	const uint8_t *option = key->tun_options, *m = mask->tun_options;
	uint32_t left = RTE_MIN(key->tun_options_len, XV_FLOW_TUN_OPTIONS), data_len, option_len;

	if (left == 0 || all_are(m, left, 0))
		return;
	separate(t);
	put(t, "geneve(");
	for (; left >= GENEVE_OPT_LEN; option += option_len, m += option_len, left -= option_len) {
		data_len = (option[3] & 0x1f) * 4u;
		option_len = GENEVE_OPT_LEN + data_len;
		if (option_len > left)
			break;
		put(t, "{");
		t->first = true;
		hex(t, "class", (uint32_t)option[0] << 8 | option[1], (uint32_t)m[0] << 8 | m[1], UINT16_MAX);
		hex(t, "type", option[2], m[2], UINT8_MAX);
		dec(t, "len", data_len, (m[3] & 0x1f) == 0x1f ? UINT8_MAX : m[3] & 0x1f, UINT8_MAX);
		if (data_len && !all_are(m + GENEVE_OPT_LEN, data_len, 0)) {
			separate(t);
			put_bytes(t, option + GENEVE_OPT_LEN, data_len);
			if (!all_are(m + GENEVE_OPT_LEN, data_len, 0xff)) {
				put(t, "/");
				put_bytes(t, m + GENEVE_OPT_LEN, data_len);
			}
		}
		put(t, "}");
	}
	end(t);
}

static void format_tunnel(struct text *t, const struct xv_flow_key *key, const struct xv_flow_key *mask)
{
	static const struct flag flags[] = {
		{XV_TUN_OAM, "oam"}, {XV_TUN_DF, "df"}, {XV_TUN_CSUM, "csum"}, {XV_TUN_KEY, "key"}, {0},
	};
	const uint32_t full = XV_TUN_OAM | XV_TUN_DF | XV_TUN_CSUM | XV_TUN_KEY;
	const uint8_t *bytes = (const uint8_t *)mask;
	const size_t from = XV_FLOW_STAGE_TUNNEL * 8;

	if ((key->tun_src.u64[0] | key->tun_src.u64[1] | key->tun_dst.u64[0] | key->tun_dst.u64[1]) == 0)
		return;
	if (all_are(bytes + from, XV_FLOW_STAGE_L2 * 8 - from, 0) && all_are(mask->tun_options, XV_FLOW_TUN_OPTIONS, 0))
		return;
	begin(t, "tunnel");
	if (key->tun_flags & XV_TUN_KEY && begin_field(t, "tun_id", mask->tun_id != 0)) {
		put(t, "0x%llx", (unsigned long long)rte_be_to_cpu_64(key->tun_id));
		if (mask->tun_id != UINT64_MAX)
			put(t, "/%#llx", (unsigned long long)rte_be_to_cpu_64(mask->tun_id));
	}
	if (key->tun_flags & XV_TUN_IPV6) {
		ipv6(t, "ipv6_src", &key->tun_src, &mask->tun_src);
		ipv6(t, "ipv6_dst", &key->tun_dst, &mask->tun_dst);
	} else {
		ipv4(t, "src", &key->tun_src, &mask->tun_src);
		ipv4(t, "dst", &key->tun_dst, &mask->tun_dst);
	}
	hex(t, "tos", key->tun_tos, mask->tun_tos, UINT8_MAX);
	dec(t, "ttl", key->tun_ttl, mask->tun_ttl, UINT8_MAX);
	dec16(t, "tp_src", key->tun_tp_src, mask->tun_tp_src);
	dec16(t, "tp_dst", key->tun_tp_dst, mask->tun_tp_dst);
	if (key->tun_flags & XV_TUN_GBP && (mask->tun_gbp_id || mask->tun_gbp_flags)) {
		begin(t, "vxlan(gbp");
		dec16(t, "id", key->tun_gbp_id, mask->tun_gbp_id);
		hex(t, "flags", key->tun_gbp_flags, mask->tun_gbp_flags, UINT8_MAX);
		put(t, ")");
		end(t);
	}
	format_geneve(t, key, mask);
	if (mask->tun_flags & full) {
		begin(t, "flags");
		put_flags(t, flags, key->tun_flags & full, mask->tun_flags, full);
		end(t);
	}
	end(t);
}

/* 128 bits in host order, as a number. */
static void put_label(struct text *t, const uint64_t *label)
{
	uint64_t be[2] = {rte_cpu_to_be_64(label[1]), rte_cpu_to_be_64(label[0])};

	put_bytes(t, (const uint8_t *)be, sizeof(be));
}

static void format_ct(struct text *t, const struct xv_flow_key *key, const struct xv_flow_key *mask)
{
	static const struct flag flags[] = {
		{OVS_CS_F_NEW, "new"},       {OVS_CS_F_ESTABLISHED, "est"}, {OVS_CS_F_RELATED, "rel"},
		{OVS_CS_F_REPLY_DIR, "rpl"}, {OVS_CS_F_INVALID, "inv"},     {OVS_CS_F_TRACKED, "trk"},
		{OVS_CS_F_SRC_NAT, "snat"},  {OVS_CS_F_DST_NAT, "dnat"},    {0},
	};
	uint16_t type = rte_be_to_cpu_16(key->eth_type);

	if (mask->ct_state) {
		begin(t, "ct_state");
		put_flags(t, flags, key->ct_state, mask->ct_state, UINT32_MAX);
		end(t);
	}
	single_hex(t, "ct_zone", key->ct_zone, mask->ct_zone, UINT16_MAX);
	single_hex(t, "ct_mark", key->ct_mark, mask->ct_mark, UINT32_MAX);
	if (mask->ct_label[0] | mask->ct_label[1]) {
		begin(t, "ct_label");
		put_label(t, key->ct_label);
		if ((mask->ct_label[0] & mask->ct_label[1]) != UINT64_MAX) {
			put(t, "/");
			put_label(t, mask->ct_label);
		}
		end(t);
	}
	if (key->ct_proto == 0 || (type != ETH_IPV4 && type != ETH_IPV6))
		return;
	if (!(mask->ct_src.u64[0] | mask->ct_src.u64[1] | mask->ct_dst.u64[0] | mask->ct_dst.u64[1]) &&
	    !(mask->ct_proto | mask->ct_tp_src | mask->ct_tp_dst))
		return;
	begin(t, type == ETH_IPV4 ? "ct_tuple4" : "ct_tuple6");
	(type == ETH_IPV4 ? ipv4 : ipv6)(t, "src", &key->ct_src, &mask->ct_src);
	(type == ETH_IPV4 ? ipv4 : ipv6)(t, "dst", &key->ct_dst, &mask->ct_dst);
	dec(t, "proto", key->ct_proto, mask->ct_proto, UINT8_MAX);
	dec16(t, "tp_src", key->ct_tp_src, mask->ct_tp_src);
	dec16(t, "tp_dst", key->ct_tp_dst, mask->ct_tp_dst);
	end(t);
}

static void format_in_port(struct text *t, const struct xv_flow_key *key, const struct xv_flow_key *mask,
			   xv_flow_port_name_fn port_name, void *arg)
{
	const char *name = NULL;

	if (mask->in_port == 0 || key->in_port == XV_FLOW_PORT_NONE)
		return;
	begin(t, "in_port");
	if (mask->in_port == UINT32_MAX && port_name)
		name = port_name(key->in_port, arg);
	if (name)
		put(t, "%s", name);
	else
		dec(t, "", key->in_port, mask->in_port, UINT32_MAX);
	end(t);
}

/* Packet type and addresses. */
static void format_eth(struct text *t, const struct xv_flow_key *key, const struct xv_flow_key *mask)
{
	uint32_t type = rte_be_to_cpu_32(key->packet_type), type_mask = rte_be_to_cpu_32(mask->packet_type);

	if (type_mask) {
		begin(t, "packet_type");
		dec(t, "ns", type >> 16, type_mask >> 16, UINT16_MAX);
		hex(t, "id", type & UINT16_MAX, type_mask, UINT16_MAX);
		end(t);
	}
	if (key->packet_type)
		return;
	/* Where there is no packet type, "eth()" alone tells that the packet begins with Ethernet. */
	if (type_mask == 0 || !all_are(mask->eth_dst, 6, 0) || !all_are(mask->eth_src, 6, 0)) {
		begin(t, "eth");
		mac(t, "src", key->eth_src, mask->eth_src);
		mac(t, "dst", key->eth_dst, mask->eth_dst);
		end(t);
	}
}

static void format_eth_type(struct text *t, rte_be16_t key, rte_be16_t mask)
{
	uint16_t type = rte_be_to_cpu_16(key);

	if (mask == 0)
		return;
	begin(t, "eth_type");
	put(t, type < ETH_TYPE_MIN ? "%u" : "0x%04x", type < ETH_TYPE_MIN ? 0 : type);
	if (mask != UINT16_MAX || type < ETH_TYPE_MIN)
		put(t, "/0x%04x", rte_be_to_cpu_16(mask));
	end(t);
}

/* One part of a tag; a zero that is not compared is left out. */
static void format_tci_part(struct text *t, const char *name, uint32_t value, uint32_t mask, uint32_t full)
{
	if (value == 0 && mask == 0)
		return;
	separate(t);
	put(t, "%s=%u", name, value);
	if (mask != full)
		put(t, "/0x%x", mask);
}

/* Returns how many encap() were begun. */
static unsigned int format_vlans(struct text *t, const struct xv_flow_key *key, const struct xv_flow_key *mask)
{
	unsigned int i, n = 0;

	for (i = 0; i < XV_FLOW_MAX_VLANS && key->vlan[i].tpid; i++) {
		uint16_t tci = rte_be_to_cpu_16(key->vlan[i].tci), tci_mask = rte_be_to_cpu_16(mask->vlan[i].tci);

		if (mask->vlan[i].tpid == 0 && tci_mask == 0)
			continue;
		format_eth_type(t, key->vlan[i].tpid, mask->vlan[i].tpid);
		if (tci_mask) {
			begin(t, "vlan");
			format_tci_part(t, "vid", tci & 0xfff, tci_mask & 0xfff, 0xfff);
			format_tci_part(t, "pcp", tci >> 13, tci_mask >> 13, 7);
			if (!(tci & 0x1000)) {
				separate(t);
				put(t, "cfi=0");
			}
			end(t);
		}
		begin(t, "encap");
		n++;
	}
	return n;
}

static void format_mpls(struct text *t, const struct xv_flow_key *key, const struct xv_flow_key *mask)
{
	unsigned int i, n = RTE_MIN(key->mpls_depth, XV_FLOW_MAX_MPLS);
	bool any = false, exact = true;

	for (i = 0; i < n; i++) {
		any |= mask->mpls_lse[i] != 0;
		exact &= mask->mpls_lse[i] == UINT32_MAX;
	}
	if (!any)
		return;
	begin(t, "mpls");
	for (i = 0; i < n; i++) {
		uint32_t v = rte_be_to_cpu_32(key->mpls_lse[i]), m = rte_be_to_cpu_32(mask->mpls_lse[i]);

		separate(t);
		if (exact)
			put(t, "label=%u,tc=%u,ttl=%u,bos=%u", v >> 12, v >> 9 & 7, v & 0xff, v >> 8 & 1);
		else
			put(t, "label=%u/0x%x,tc=%u/%x,ttl=%u/0x%x,bos=%u/%x", v >> 12, m >> 12, v >> 9 & 7, m >> 9 & 7,
			    v & 0xff, m & 0xff, v >> 8 & 1, m >> 8 & 1);
	}
	end(t);
}

/* value/mask with as many digits as the field has */
static void nsh8(struct text *t, const char *name, uint32_t value, uint32_t mask, uint32_t full)
{
	if (!begin_field(t, name, mask != 0))
		return;
	if (mask == full)
		put(t, "%u", value);
	else
		put(t, "0x%02x/0x%02x", value, mask);
}

static void nsh32(struct text *t, const char *name, uint32_t value, uint32_t mask, uint32_t full)
{
	if (!begin_field(t, name, mask != 0))
		return;
	put(t, "0x%x", value);
	if (mask != full)
		put(t, "/0x%08x", mask);
}

static void format_nsh(struct text *t, const struct xv_flow_key *key, const struct xv_flow_key *mask)
{
	uint32_t path = rte_be_to_cpu_32(key->nsh_path_hdr), path_mask = rte_be_to_cpu_32(mask->nsh_path_hdr);
	char name[4];

	if (!(mask->nsh_flags | mask->nsh_ttl | mask->nsh_mdtype | mask->nsh_np | path_mask) &&
	    all_are((const uint8_t *)mask->nsh_context, sizeof(mask->nsh_context), 0))
		return;
	begin(t, "nsh");
	nsh8(t, "flags", key->nsh_flags, mask->nsh_flags, UINT8_MAX);
	nsh8(t, "ttl", key->nsh_ttl, mask->nsh_ttl & UINT8_MAX, UINT8_MAX);
	nsh8(t, "mdtype", key->nsh_mdtype, mask->nsh_mdtype, UINT8_MAX);
	nsh8(t, "np", key->nsh_np, mask->nsh_np, UINT8_MAX);
	nsh32(t, "spi", path >> 8, path_mask >> 8, 0xffffff);
	nsh8(t, "si", path & 0xff, path_mask & 0xff, UINT8_MAX);
	for (unsigned int i = 0; i < 4 && key->nsh_mdtype == 1; i++) {
		snprintf(name, sizeof(name), "c%u", i + 1);
		nsh32(t, name, rte_be_to_cpu_32(key->nsh_context[i]), rte_be_to_cpu_32(mask->nsh_context[i]),
		      UINT32_MAX);
	}
	end(t);
}

static void format_frag(struct text *t, const struct xv_flow_key *key, const struct xv_flow_key *mask)
{
	static const char *const names[] = {"no", "first", "later"};

	if (begin_field(t, "frag", mask->ip_frag != 0))
		put(t, "%s", key->ip_frag < 3 ? names[key->ip_frag] : "<error>");
}

static bool any_address(const struct xv_flow_key *mask)
{
	return mask->ip_src.u64[0] | mask->ip_src.u64[1] | mask->ip_dst.u64[0] | mask->ip_dst.u64[1];
}

static void format_ip(struct text *t, const struct xv_flow_key *key, const struct xv_flow_key *mask, bool v4)
{
	bool any = any_address(mask) || mask->ip_proto || mask->ip_tos || mask->ip_ttl || mask->ip_frag;

	if (!any && (v4 || !mask->ipv6_label))
		return;
	begin(t, v4 ? "ipv4" : "ipv6");
	(v4 ? ipv4 : ipv6)(t, "src", &key->ip_src, &mask->ip_src);
	(v4 ? ipv4 : ipv6)(t, "dst", &key->ip_dst, &mask->ip_dst);
	if (!v4)
		hex(t, "label", rte_be_to_cpu_32(key->ipv6_label), rte_be_to_cpu_32(mask->ipv6_label), 0xfffff);
	dec(t, "proto", key->ip_proto, mask->ip_proto, UINT8_MAX);
	hex(t, v4 ? "tos" : "tclass", key->ip_tos, mask->ip_tos, UINT8_MAX);
	dec(t, v4 ? "ttl" : "hlimit", key->ip_ttl, mask->ip_ttl, UINT8_MAX);
	format_frag(t, key, mask);
	end(t);
}

static void format_arp(struct text *t, const struct xv_flow_key *key, const struct xv_flow_key *mask)
{
	if (!any_address(mask) && !mask->ip_proto && all_are(mask->arp_sha, 6, 0) && all_are(mask->arp_tha, 6, 0))
		return;
	begin(t, "arp");
	ipv4(t, "sip", &key->ip_src, &mask->ip_src);
	ipv4(t, "tip", &key->ip_dst, &mask->ip_dst);
	dec(t, "op", key->ip_proto, mask->ip_proto, UINT8_MAX);
	mac(t, "sha", key->arp_sha, mask->arp_sha);
	mac(t, "tha", key->arp_tha, mask->arp_tha);
	end(t);
}

static void format_ports(struct text *t, const char *name, const struct xv_flow_key *key,
			 const struct xv_flow_key *mask)
{
	if (!(mask->tp_src | mask->tp_dst))
		return;
	begin(t, name);
	dec16(t, "src", key->tp_src, mask->tp_src);
	dec16(t, "dst", key->tp_dst, mask->tp_dst);
	end(t);
}

/* ICMP and its kin have 8-bit type and code in the ports. */
static void format_icmp(struct text *t, const char *name, const struct xv_flow_key *key, const struct xv_flow_key *mask)
{
	uint32_t type_mask = rte_be_to_cpu_16(mask->tp_src), code_mask = rte_be_to_cpu_16(mask->tp_dst);

	if (!((type_mask | code_mask) & UINT8_MAX))
		return;
	begin(t, name);
	dec(t, "type", rte_be_to_cpu_16(key->tp_src), type_mask, UINT8_MAX);
	dec(t, "code", rte_be_to_cpu_16(key->tp_dst), code_mask, UINT8_MAX);
	end(t);
}

static void format_nd(struct text *t, const struct xv_flow_key *key, const struct xv_flow_key *mask)
{
	uint16_t type = rte_be_to_cpu_16(key->tp_src);

	if ((type != 135 && type != 136) || key->tp_dst != 0)
		return;
	if (!(mask->nd_target.u64[0] | mask->nd_target.u64[1]) && all_are(mask->arp_sha, 6, 0) &&
	    all_are(mask->arp_tha, 6, 0))
		return;
	begin(t, "nd");
	ipv6(t, "target", &key->nd_target, &mask->nd_target);
	mac(t, "sll", key->arp_sha, mask->arp_sha);
	mac(t, "tll", key->arp_tha, mask->arp_tha);
	end(t);
}

static void format_tcp_flags(struct text *t, const struct xv_flow_key *key, const struct xv_flow_key *mask)
{
	static const struct flag flags[] = {
		{0x001, "fin"},
		{0x002, "syn"},
		{0x004, "rst"},
		{0x008, "psh"},
		{0x010, "ack"},
		{0x020, "urg"},
		{0x040, "ece"},
		{0x080, "cwr"},
		{0x100, "ns"},
		{0x200, "[200]"},
		{0x400, "[400]"},
		{0x800, "[800]"},
		{0},
	};

	if (mask->tcp_flags == 0)
		return;
	begin(t, "tcp_flags");
	put_flags(t, flags, rte_be_to_cpu_16(key->tcp_flags), rte_be_to_cpu_16(mask->tcp_flags), 0xfff);
	end(t);
}

static void format_l4(struct text *t, const struct xv_flow_key *key, const struct xv_flow_key *mask, bool v4)
{
	switch (key->ip_proto) {
	case IP_TCP:
		format_ports(t, "tcp", key, mask);
		format_tcp_flags(t, key, mask);
		break;
	case IP_UDP:
		format_ports(t, "udp", key, mask);
		break;
	case IP_SCTP:
		format_ports(t, "sctp", key, mask);
		break;
	case IP_ICMP:
		if (v4)
			format_icmp(t, "icmp", key, mask);
		break;
	case IP_IGMP:
		if (v4)
			format_icmp(t, "igmp", key, mask);
		break;
	case IP_ICMPV6:
		if (v4)
			break;
		format_icmp(t, "icmpv6", key, mask);
		format_nd(t, key, mask);
		break;
	default:
		if (mask->ip_proto == 0) /* of whatever protocol: masks that look at little */
			format_ports(t, "tp", key, mask);
		break;
	}
}

static void format_l3(struct text *t, const struct xv_flow_key *key, const struct xv_flow_key *mask)
{
	uint16_t type = rte_be_to_cpu_16(key->eth_type);

	switch (type) {
	case ETH_IPV4:
	case ETH_IPV6:
		format_ip(t, key, mask, type == ETH_IPV4);
		if (type == ETH_IPV6 && key->ipv6_exthdrs)
			single_hex(t, "ipv6_exthdrs", key->ipv6_exthdrs, mask->ipv6_exthdrs, UINT16_MAX);
		if (key->ip_frag != XV_FRAG_LATER)
			format_l4(t, key, mask, type == ETH_IPV4);
		break;
	case ETH_ARP:
	case ETH_RARP:
		format_arp(t, key, mask);
		break;
	case ETH_MPLS:
	case ETH_MPLS_MC:
		format_mpls(t, key, mask);
		break;
	case ETH_NSH:
		format_nsh(t, key, mask);
		break;
	}
}

size_t xv_flow_format(char *buf, size_t size, const struct xv_flow_key *key, const struct xv_flow_key *mask,
		      xv_flow_port_name_fn port_name, void *arg)
{
	struct text t = {.buf = buf, .size = size, .first = true};
	struct xv_flow_key exact;
	unsigned int encaps;

	if (!mask) {
		memset(&exact, 0xff, sizeof(exact));
		mask = &exact;
	}
	if (size > 0)
		buf[0] = 0;
	single_hex(&t, "skb_priority", key->skb_priority, mask->skb_priority, UINT32_MAX);
	format_tunnel(&t, key, mask);
	single_hex(&t, "skb_mark", key->skb_mark, mask->skb_mark, UINT32_MAX);
	format_ct(&t, key, mask);
	single_hex(&t, "recirc_id", key->recirc_id, mask->recirc_id, UINT32_MAX);
	single_hex(&t, "dp_hash", key->dp_hash, mask->dp_hash, UINT32_MAX);
	format_in_port(&t, key, mask, port_name, arg);
	format_eth(&t, key, mask);
	encaps = format_vlans(&t, key, mask);
	format_eth_type(&t, key->eth_type, mask->eth_type);
	format_l3(&t, key, mask);
	while (encaps-- > 0)
		end(&t);
	return t.len;
}
