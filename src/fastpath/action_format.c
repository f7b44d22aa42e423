/* SPDX-License-Identifier: Apache-2.0 */
#include "fastpath/action_format.h"

#include "fastpath/conntrack.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <rte_common.h>

/* What is written so far: len may be beyond size, then the rest went nowhere. */
struct text {
	char *buf;
	size_t size, len;
	const struct xv_flow_key *key;
	xv_flow_port_name_fn port_name;
	void *arg;
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

static void put_mac(struct text *t, const char *name, const uint8_t *mac)
{
	put(t, "%s=%02x:%02x:%02x:%02x:%02x:%02x", name, mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
}

static void put_output(struct text *t, uint32_t port)
{
	const char *name = t->port_name ? t->port_name(port, t->arg) : NULL;

	if (name)
		put(t, "output(%s)", name);
	else
		put(t, "output(%u)", port);
}

static bool touches(const uint8_t *mask, size_t bytes)
{
	while (bytes > 0 && mask[bytes - 1] == 0)
		bytes--;
	return bytes > 0;
}

/* A match of the new values, field group by field group: "set(eth(src=..)),set(ipv4(dst=..))". */
static void put_set(struct text *t, const struct xv_action_set *set)
{
	struct xv_flow_key value = {0}, mask = {0};
	uint64_t *v = (uint64_t *)(void *)&value, *m = (uint64_t *)(void *)&mask;
	char fields[XV_FLOW_TEXT_SIZE], *part = fields, *at;
	unsigned int depth = 0;
	uint32_t i;

	/* What the fields are depends on what the packet is. */
	if (t->key != NULL) {
		value.eth_type = t->key->eth_type;
		value.ip_proto = t->key->ip_proto;
		value.ipv6_exthdrs = t->key->ipv6_exthdrs;
		value.mpls_depth = t->key->mpls_depth;
		value.tp_src = t->key->tp_src; /* type of a neighbour discovery message */
		value.nsh_mdtype = t->key->nsh_mdtype;
		value.tun_flags = t->key->tun_flags;
		value.ct_proto = t->key->ct_proto;
	}
	for (i = 0; i < set->n && set->first + i < XV_FLOW_WORDS; i++) {
		v[set->first + i] = (v[set->first + i] & ~set->words[i].mask) | set->words[i].value;
		m[set->first + i] = set->words[i].mask;
	}
	if (!touches(mask.eth_dst, sizeof(mask.eth_dst)) && !touches(mask.eth_src, sizeof(mask.eth_src)))
		value.packet_type = UINT32_MAX; /* no "eth()" */
	(void)xv_flow_format(fields, sizeof(fields), &value, &mask, NULL, NULL);
	if (fields[0] == '\0') {
		put(t, "set(?)");
		return;
	}
	for (at = fields;; at++) {
		depth += *at == '(';
		depth -= *at == ')';
		if (*at != '\0' && (*at != ',' || depth > 0))
			continue;
		put(t, "%sset(%.*s)", part != fields ? "," : "", (int)(at - part), part);
		if (*at == '\0')
			return;
		part = at + 1;
	}
}

static void put_push_vlan(struct text *t, const struct xv_action_push_vlan *a)
{
	uint16_t tci = rte_be_to_cpu_16(a->tci);

	put(t, "push_vlan(");
	if (a->tpid != RTE_BE16(0x8100))
		put(t, "tpid=0x%04x,", rte_be_to_cpu_16(a->tpid));
	put(t, "vid=%u,pcp=%u%s)", tci & 0xfff, tci >> 13, tci & 0x1000 ? "" : ",cfi=0");
}

static void put_push_mpls(struct text *t, const struct xv_action_push_mpls *a)
{
	uint32_t lse = rte_be_to_cpu_32(a->lse);

	put(t, "%s(label=%u,tc=%u,ttl=%u,bos=%u,eth_type=0x%x)", a->before_l2 ? "add_mpls" : "push_mpls", lse >> 12,
	    lse >> 9 & 7, lse & 0xff, lse >> 8 & 1, rte_be_to_cpu_16(a->eth_type));
}

static void put_push_nsh(struct text *t, const struct xv_action_push_nsh *a)
{
	uint32_t path = rte_be_to_cpu_32(a->path_hdr), word;
	unsigned int i;

	put(t, "push_nsh(flags=%u,ttl=%u,mdtype=%u,spi=0x%x,si=%u", a->flags, a->ttl, a->mdtype, path >> 8, path & 0xff);
	for (i = 0; a->mdtype == 1 && i < 4; i++) {
		memcpy(&word, a->metadata + 4 * i, sizeof(word));
		put(t, ",c%u=0x%x", i + 1, rte_be_to_cpu_32(word));
	}
	if (a->mdtype == 2 && a->md2_len > 0) {
		put(t, ",md2=0x");
		for (i = 0; i < a->md2_len && i < sizeof(a->metadata); i++)
			put(t, "%02x", a->metadata[i]);
	}
	put(t, ")");
}

static uint32_t load24(const uint8_t *p)
{
	return (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
}

/* What the tunnel's header says that tells tunnels of its type apart. end: of all outer headers. */
static void put_tunnel_id(struct text *t, const struct xv_encap *encap, const uint8_t *end)
{
	const uint8_t *l4 = end - encap->l4_back;

	switch ((enum xv_tunnel_type)encap->type) {
	case XV_TUNNEL_VXLAN:
	case XV_TUNNEL_GENEVE:
		put(t, ",dport=%u,vni=%u", (unsigned int)l4[2] << 8 | l4[3], load24(l4 + 12));
		break;
	case XV_TUNNEL_NVGRE:
		put(t, ",vsid=%u", load24(l4 + 4));
		break;
	case XV_TUNNEL_MPLS_GRE:
	case XV_TUNNEL_MPLS_UDP:
		put(t, ",label=%u", load24(end - 4) >> 4);
		break;
	case XV_TUNNEL_GRE:
	case XV_TUNNEL_NONE:
		break;
	}
}

static void put_tunnel(struct text *t, const struct xv_encap *encap)
{
	static const char *const names[] = {
		[XV_TUNNEL_NONE] = "none",	   [XV_TUNNEL_VXLAN] = "vxlan",
		[XV_TUNNEL_GENEVE] = "geneve",	   [XV_TUNNEL_GRE] = "gre",
		[XV_TUNNEL_NVGRE] = "nvgre",	   [XV_TUNNEL_MPLS_GRE] = "mpls_gre",
		[XV_TUNNEL_MPLS_UDP] = "mpls_udp",
	};
	const uint8_t *end = encap->bytes + encap->blocks * XV_ENCAP_BLOCK, *ip = end - encap->l3_back;
	char src[INET6_ADDRSTRLEN] = "", dst[INET6_ADDRSTRLEN] = "";
	bool v6 = (encap->kind & XV_ENCAP_IPV6) != 0;

	/* As xv_encap_build() made it; what was not built has nothing to show. */
	if (encap->type >= RTE_DIM(names) || encap->l3_back == 0) {
		put(t, "tnl_push(?)");
		return;
	}
	inet_ntop(v6 ? AF_INET6 : AF_INET, ip + (v6 ? 8 : 12), src, sizeof(src));
	inet_ntop(v6 ? AF_INET6 : AF_INET, ip + (v6 ? 24 : 16), dst, sizeof(dst));
	put(t, "tnl_push(%s(", names[encap->type]);
	put_mac(t, "eth_dst", end - encap->len);
	put(t, ",src=%s,dst=%s", src, dst);
	put_tunnel_id(t, encap, end);
	put(t, ",size=%u))", encap->len);
}

/* An address and a port of a range: a-b:c-d, IPv6 in brackets if there are ports, as OVS has it. */
static void put_nat(struct text *t, const struct xv_ct_nat *nat)
{
	bool ports = nat->min_port != 0;
	const union xv_ip_addr *ends[] = {&nat->min, &nat->max};
	char text[INET6_ADDRSTRLEN];
	unsigned int i;

	put(t, "nat");
	if (nat->flags == 0)
		return;
	put(t, "(%s", (nat->flags & XV_NAT_SRC) != 0 ? "src" : "dst");
	for (i = 0; i < 2 && (nat->min.u64[0] | nat->min.u64[1]) != 0; i++) {
		if (i == 1 && memcmp(&nat->min, &nat->max, sizeof(nat->min)) == 0)
			break;
		inet_ntop(nat->ipv6 ? AF_INET6 : AF_INET, nat->ipv6 ? ends[i]->bytes : ends[i]->bytes + 12, text,
			  sizeof(text));
		put(t, nat->ipv6 && ports ? "%s[%s]" : "%s%s", i == 0 ? "=" : "-", text);
	}
	if (ports)
		put(t, nat->max_port != nat->min_port ? ":%u-%u" : ":%u", nat->min_port, nat->max_port);
	if ((nat->flags & XV_NAT_PERSISTENT) != 0)
		put(t, ",persistent");
	if ((nat->flags & XV_NAT_HASH) != 0)
		put(t, ",hash");
	if ((nat->flags & XV_NAT_RANDOM) != 0)
		put(t, ",random");
	put(t, ")");
}

static void put_ct(struct text *t, const struct xv_action_ct *ct)
{
	const char *comma = "";

	if ((ct->flags & XV_CT_CLEAR) != 0) {
		put(t, "ct_clear");
		return;
	}
	put(t, "ct(");
	if ((ct->flags & XV_CT_COMMIT) != 0) {
		put(t, (ct->flags & XV_CT_FORCE) != 0 ? "force_commit" : "commit");
		comma = ",";
	}
	if (ct->zone != 0) {
		put(t, "%szone=%u", comma, ct->zone);
		comma = ",";
	}
	if (ct->mark_mask != 0) {
		put(t, "%smark=%#x/%#x", comma, ct->mark, ct->mark_mask);
		comma = ",";
	}
	if ((ct->label_mask[0] | ct->label_mask[1]) != 0) {
		put(t, "%slabel=0x%" PRIx64 "%016" PRIx64 "/0x%" PRIx64 "%016" PRIx64, comma, ct->label[1], ct->label[0],
		    ct->label_mask[1], ct->label_mask[0]);
		comma = ",";
	}
	if (ct->helper != XV_CT_HELPER_NONE) {
		put(t, "%shelper=%s", comma, ct->helper == XV_CT_HELPER_FTP ? "ftp" : "tftp");
		comma = ",";
	}
	if (ct->timeouts != 0) {
		put(t, "%stimeout=%u", comma, ct->timeouts);
		comma = ",";
	}
	if ((ct->flags & XV_CT_NAT) != 0) {
		put(t, "%s", comma);
		put_nat(t, &ct->nat);
	}
	if ((ct->flags & XV_CT_NAT_REPLY) != 0)
		put(t, "%snat(reply)", comma);
	put(t, ")");
}

static void put_program(struct text *t, const uint64_t *program, uint32_t bytes, unsigned int depth);

static void put_action(struct text *t, const struct xv_action *a, unsigned int depth)
{
	const void *data = a->data;
	uint32_t data_bytes = a->bytes - (uint32_t)sizeof(*a);

	switch ((enum xv_action_type)a->type) {
	case XV_ACT_OUTPUT:
		put_output(t, a->arg);
		break;
	case XV_ACT_PUNT:
		put(t, "userspace");
		break;
	case XV_ACT_SET:
		put_set(t, data);
		break;
	case XV_ACT_PUSH_VLAN:
		put_push_vlan(t, data);
		break;
	case XV_ACT_POP_VLAN:
		put(t, "pop_vlan");
		break;
	case XV_ACT_PUSH_MPLS:
		put_push_mpls(t, data);
		break;
	case XV_ACT_POP_MPLS:
		put(t, "pop_mpls(eth_type=0x%x)", rte_be_to_cpu_16((rte_be16_t)a->arg));
		break;
	case XV_ACT_PUSH_ETH:
		put_mac(t, "push_eth(src", ((const struct xv_action_push_eth *)data)->src);
		put_mac(t, ",dst", ((const struct xv_action_push_eth *)data)->dst);
		put(t, ")");
		break;
	case XV_ACT_POP_ETH:
		put(t, "pop_eth");
		break;
	case XV_ACT_PUSH_NSH:
		put_push_nsh(t, data);
		break;
	case XV_ACT_POP_NSH:
		put(t, "pop_nsh()");
		break;
	case XV_ACT_TUNNEL_PUSH:
		put_tunnel(t, data);
		break;
	case XV_ACT_TUNNEL_POP:
		put(t, "tnl_pop(");
		put_output(t, a->arg);
		put(t, ")");
		break;
	case XV_ACT_RECIRC:
		put(t, "recirc(0x%x)", a->arg);
		break;
	case XV_ACT_HASH:
		put(t, "hash(hash_l4(%u))", a->arg);
		break;
	case XV_ACT_SYM_HASH:
		put(t, "hash(sym_l4(%u))", a->arg);
		break;
	case XV_ACT_BOND:
		put(t, "bond(%u)", a->arg);
		break;
	case XV_ACT_PATCH:
		put(t, "patch(%u)", a->arg);
		break;
	case XV_ACT_METER:
		put(t, "meter(%u)", a->arg);
		break;
	case XV_ACT_SAMPLE:
		put(t, "sample(sample=%.1f%%,actions(", 100.0 * a->arg / UINT32_MAX);
		put_program(t, data, data_bytes, depth);
		put(t, "))");
		break;
	case XV_ACT_CLONE:
		put(t, "clone(");
		put_program(t, data, data_bytes, depth);
		put(t, ")");
		break;
	case XV_ACT_CHECK_LEN: {
		const struct xv_action_check_len *check = data;

		put(t, "check_pkt_len(size=%u,gt(", a->arg);
		put_program(t, check->programs, check->greater_bytes, depth);
		put(t, "),le(");
		put_program(t, check->programs + check->greater_bytes / 8, check->other_bytes, depth);
		put(t, "))");
		break;
	}
	case XV_ACT_TRUNC:
		put(t, "trunc(%u)", a->arg);
		break;
	case XV_ACT_CT:
		put_ct(t, data);
		break;
	case XV_ACT_FORWARD:
		put(t, "forward");
		break;
	case XV_ACT_DROP:
		put(t, a->arg < XV_DROP_MAX ? "drop(%s)" : "drop",
		    a->arg < XV_DROP_MAX ? xv_drop_info[a->arg].name : "");
		break;
	case XV_ACT_MAX:
		break;
	}
}

static void put_program(struct text *t, const uint64_t *program, uint32_t bytes, unsigned int depth)
{
	const struct xv_action *first = xv_action_first(program), *a = first;
	const uint8_t *end = (const uint8_t *)program + bytes;

	if (bytes == 0) {
		put(t, "drop");
		return;
	}
	if (depth > XV_ACTIONS_MAX_DEPTH) {
		put(t, "...");
		return;
	}
	for (; (const uint8_t *)a < end; a = xv_action_next(a)) {
		if (a != first)
			put(t, ",");
		put_action(t, a, depth + 1);
	}
}

size_t xv_actions_format(char *buf, size_t size, const struct xv_actions *actions, const struct xv_flow_key *key,
			 xv_flow_port_name_fn port_name, void *arg)
{
	struct text t = {.buf = buf, .size = size, .key = key, .port_name = port_name, .arg = arg};

	if (size > 0)
		buf[0] = '\0';
	put_program(&t, actions->program, actions->bytes, 0);
	return t.len;
}

static bool outputs_to(const uint64_t *program, uint32_t bytes, uint32_t port, unsigned int depth)
{
	const struct xv_action *a = xv_action_first(program);
	const uint8_t *end = (const uint8_t *)program + bytes;

	if (depth > XV_ACTIONS_MAX_DEPTH)
		return false;
	for (; (const uint8_t *)a < end; a = xv_action_next(a)) {
		const struct xv_action_check_len *check = (const void *)a->data;

		switch ((enum xv_action_type)a->type) {
		case XV_ACT_OUTPUT:
			if (a->arg == port)
				return true;
			break;
		case XV_ACT_SAMPLE:
		case XV_ACT_CLONE:
			if (outputs_to(a->data, a->bytes - (uint32_t)sizeof(*a), port, depth + 1))
				return true;
			break;
		case XV_ACT_CHECK_LEN:
			if (outputs_to(check->programs, check->greater_bytes, port, depth + 1) ||
			    outputs_to(check->programs + check->greater_bytes / 8, check->other_bytes, port, depth + 1))
				return true;
			break;
		default:
			break;
		}
	}
	return false;
}

bool xv_actions_output_to(const struct xv_actions *actions, uint32_t port)
{
	return outputs_to(actions->program, actions->bytes, port, 0);
}
