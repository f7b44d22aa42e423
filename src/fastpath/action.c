/* SPDX-License-Identifier: Apache-2.0 */
/* Building action programs, and the one check that they pass before a worker runs them. */
#include "fastpath/action.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fastpath/bond.h"
#include "fastpath/conntrack.h"
#include "fastpath/upcall.h"
#include "port/port.h"

/* ---- Builder ---- */

void xv_actions_begin(struct xv_actions_builder *b)
{
	memset(b, 0, sizeof(*b));
}

static uint32_t round_up(uint32_t bytes)
{
	return (bytes + 7) & ~UINT32_C(7);
}

/* Room for `bytes` more (a multiple of 8), zeroed; NULL when there is none. */
static void *extend(struct xv_actions_builder *b, uint32_t bytes)
{
	void *at;

	if (b->error != 0)
		return NULL;
	if (b->bytes + bytes > XV_ACTIONS_MAX_BYTES - 8) {
		b->error = -E2BIG;
		return NULL;
	}
	if (b->bytes + bytes > b->room) {
		uint32_t room = b->room ? 2 * b->room : 256;
		uint64_t *buf;

		while (room < b->bytes + bytes)
			room *= 2;
		buf = realloc(b->buf, room);
		if (buf == NULL) {
			b->error = -ENOMEM;
			return NULL;
		}
		b->buf = buf;
		b->room = room;
	}
	at = (uint8_t *)b->buf + b->bytes;
	memset(at, 0, bytes);
	b->bytes += bytes;
	return at;
}

static struct xv_action *action_at(struct xv_actions_builder *b, uint32_t offset)
{
	return (struct xv_action *)(void *)((uint8_t *)b->buf + offset);
}

void xv_actions_add(struct xv_actions_builder *b, enum xv_action_type type, uint32_t arg, const void *data,
		    uint32_t bytes_of_data)
{
	uint32_t bytes = (uint32_t)sizeof(struct xv_action) + round_up(bytes_of_data);
	struct xv_action *a;

	if (bytes_of_data > XV_ACTIONS_MAX_BYTES / 2) {
		b->error = b->error ? b->error : -E2BIG;
		return;
	}
	a = extend(b, bytes);
	if (a == NULL)
		return;
	a->type = (uint16_t)type;
	a->bytes = (uint16_t)bytes;
	a->arg = arg;
	if (bytes_of_data > 0)
		memcpy(a->data, data, bytes_of_data);
}

void xv_actions_add_set(struct xv_actions_builder *b, const struct xv_flow_key *value, const struct xv_flow_key *mask)
{
	uint64_t buf[1 + 2 * XV_FLOW_WORDS];
	struct xv_action_set *set = (struct xv_action_set *)(void *)buf;
	const uint64_t *v = (const uint64_t *)(const void *)value, *m = (const uint64_t *)(const void *)mask;
	uint32_t i, n;

	for (i = 0; i < XV_FLOW_WORDS; i += n + 1) {
		for (n = 0; i + n < XV_FLOW_WORDS && m[i + n] != 0; n++) {
			set->words[n].mask = m[i + n];
			set->words[n].value = v[i + n] & m[i + n];
		}
		if (n == 0)
			continue;
		set->first = i;
		set->n = n;
		xv_actions_add(b, XV_ACT_SET, 0, set, (uint32_t)(sizeof(*set) + n * sizeof(set->words[0])));
	}
}

void xv_actions_open(struct xv_actions_builder *b, enum xv_action_type type, uint32_t arg)
{
	const struct xv_action_check_len none = {0};
	uint32_t at = b->bytes;

	if (b->depth == XV_ACTIONS_MAX_DEPTH) {
		b->error = b->error ? b->error : -E2BIG;
		return;
	}
	xv_actions_add(b, type, arg, &none, type == XV_ACT_CHECK_LEN ? sizeof(none) : 0);
	b->branch[b->depth] = 0;
	b->open[b->depth++] = at;
}

void xv_actions_otherwise(struct xv_actions_builder *b)
{
	if (b->error != 0)
		return;
	if (b->depth == 0 || b->branch[b->depth - 1] != 0 ||
	    action_at(b, b->open[b->depth - 1])->type != XV_ACT_CHECK_LEN) {
		b->error = -EINVAL;
		return;
	}
	b->branch[b->depth - 1] = b->bytes;
}

void xv_actions_close(struct xv_actions_builder *b)
{
	struct xv_action *a;
	uint32_t at;

	if (b->error != 0)
		return;
	if (b->depth == 0) {
		b->error = -EINVAL;
		return;
	}
	at = b->open[--b->depth];
	a = action_at(b, at);
	if (b->bytes - at > UINT16_MAX) {
		b->error = -E2BIG;
		return;
	}
	a->bytes = (uint16_t)(b->bytes - at);
	if (a->type == XV_ACT_CHECK_LEN) {
		struct xv_action_check_len *check = (struct xv_action_check_len *)(void *)a->data;
		uint32_t programs = at + (uint32_t)(sizeof(*a) + sizeof(*check));
		uint32_t other = b->branch[b->depth] ? b->branch[b->depth] : b->bytes;

		check->greater_bytes = other - programs;
		check->other_bytes = b->bytes - other;
	}
}

int xv_actions_finish(struct xv_actions_builder *b, struct xv_actions **actions)
{
	struct xv_actions *result = NULL;
	int rc = b->error;

	if (rc == 0 && b->depth != 0)
		rc = -EINVAL;
	if (rc == 0) {
		result = malloc(sizeof(*result) + b->bytes);
		rc = result == NULL ? -ENOMEM : 0;
	}
	if (rc == 0) {
		result->bytes = b->bytes;
		result->pad = 0;
		if (b->bytes > 0)
			memcpy(result->program, b->buf, b->bytes);
		*actions = result;
	}
	free(b->buf);
	memset(b, 0, sizeof(*b));
	return rc;
}

/* ---- Check ---- */

/* What is known of the packet at a point of the program: what the flow matches exactly, as changed since. */
struct known {
	bool ethernet;	/* it has an Ethernet header */
	bool type_known; /* eth_type is */
	rte_be16_t eth_type;
	bool proto_known, first; /* ip_proto is; the L4 header is there (not a later fragment) */
	uint8_t proto;
	unsigned int vlans, mpls;  /* at least so many */
	rte_be32_t bottom[XV_FLOW_MAX_MPLS], bottom_known[XV_FLOW_MAX_MPLS]; /* bottom-of-stack bits of labels */
};


static bool touches(const struct xv_action_set *set, size_t offset, size_t bytes)
{
	size_t i;

	for (i = 0; i < bytes; i++) {
		size_t word = (offset + i) / 8, shift = (offset + i) % 8 * 8;

		if (word >= set->first && word - set->first < set->n &&
		    (set->words[word - set->first].mask >> shift & 0xff) != 0)
			return true;
	}
	return false;
}

/* A value has bits that its mask does not name. */
static bool sets_unmasked(const struct xv_action_set *set)
{
	uint32_t i;

	for (i = 0; i < set->n; i++)
		if ((set->words[i].value & ~set->words[i].mask) != 0)
			return true;
	return false;
}

#define TOUCHES(set, field) \
	touches(set, offsetof(struct xv_flow_key, field), sizeof(((struct xv_flow_key *)0)->field))

static bool is_ip(const struct known *k)
{
	return k->type_known && (k->eth_type == RTE_BE16(0x0800) || k->eth_type == RTE_BE16(0x86dd));
}

#define LSE_BOTTOM RTE_BE32(0x100)

static bool is_mpls(rte_be16_t type)
{
	return type == RTE_BE16(0x8847) || type == RTE_BE16(0x8848);
}

/* OVS names all bits of a label in a set, but keeps this one as it is. */
static bool changes_bottom(const struct xv_action_set *set, const struct known *k)
{
	unsigned int i;

	for (i = 0; i < XV_FLOW_MAX_MPLS; i++) {
		size_t at = offsetof(struct xv_flow_key, mpls_lse) + i * sizeof(rte_be32_t), word = at / 8;
		rte_be32_t value, mask;

		if (word < set->first || word - set->first >= set->n)
			continue;
		memcpy(&value, (const uint8_t *)&set->words[word - set->first].value + at % 8, sizeof(value));
		memcpy(&mask, (const uint8_t *)&set->words[word - set->first].mask + at % 8, sizeof(mask));
		if ((mask & LSE_BOTTOM) != 0 && (k->bottom_known[i] == 0 || (value & LSE_BOTTOM) != k->bottom[i]))
			return true;
	}
	return false;
}

/* A label more on top, whose bottom-of-stack bit is known to be that. */
static void push_bottom(struct known *k, rte_be32_t lse)
{
	memmove(&k->bottom[1], &k->bottom[0], sizeof(k->bottom) - sizeof(k->bottom[0]));
	memmove(&k->bottom_known[1], &k->bottom_known[0], sizeof(k->bottom_known) - sizeof(k->bottom_known[0]));
	k->bottom[0] = lse & LSE_BOTTOM;
	k->bottom_known[0] = LSE_BOTTOM;
}

static void pop_bottom(struct known *k)
{
	memmove(&k->bottom[0], &k->bottom[1], sizeof(k->bottom) - sizeof(k->bottom[0]));
	memmove(&k->bottom_known[0], &k->bottom_known[1], sizeof(k->bottom_known) - sizeof(k->bottom_known[0]));
	k->bottom_known[XV_FLOW_MAX_MPLS - 1] = 0;
}

/* Why this set cannot be done on what is known of the packet; NULL = it can. */
static const char *set_refused(const struct xv_action_set *set, const struct known *k)
{
	bool ip6 = k->type_known && k->eth_type == RTE_BE16(0x86dd);
	bool arp = k->type_known && (k->eth_type == RTE_BE16(0x0806) || k->eth_type == RTE_BE16(0x8035));
	bool ports, icmp;

	ports = is_ip(k) && k->proto_known && k->first && (k->proto == 6 || k->proto == 17 || k->proto == 132);
	icmp = is_ip(k) && k->proto_known && k->first &&
	       k->proto == (k->eth_type == RTE_BE16(0x86dd) ? 58 : 1);
	if (TOUCHES(set, recirc_id) || TOUCHES(set, in_port) || TOUCHES(set, dp_hash) || TOUCHES(set, packet_type))
		return "sets where the packet is in the pipeline: other actions do that";
	if (TOUCHES(set, ct_state) || TOUCHES(set, ct_mark) || TOUCHES(set, ct_label) || TOUCHES(set, ct_zone) ||
	    TOUCHES(set, ct_tp_src) || TOUCHES(set, ct_tp_dst) || TOUCHES(set, ct_proto) ||
	    TOUCHES(set, ct_src) || TOUCHES(set, ct_dst))
		return "sets connection tracking fields: only connection tracking does";
	if ((TOUCHES(set, eth_dst) || TOUCHES(set, eth_src)) && !k->ethernet)
		return "sets Ethernet addresses of a packet without Ethernet header";
	if (TOUCHES(set, eth_type) || TOUCHES(set, ip_frag) || TOUCHES(set, ipv6_exthdrs) ||
	    TOUCHES(set, tcp_flags) || TOUCHES(set, mpls_depth) || TOUCHES(set, nsh_mdtype) || TOUCHES(set, nsh_np))
		return "sets a field that says what the packet is";
	if (TOUCHES(set, vlan))
		return "sets a VLAN tag: pop and push it";
	if (TOUCHES(set, mpls_lse) && k->mpls == 0)
		return "sets an MPLS label of a packet that need not have one";
	if (changes_bottom(set, k))
		return "sets the bottom of stack of an MPLS label, which says what the packet is: match it";
	if ((TOUCHES(set, nsh_flags) || TOUCHES(set, nsh_ttl) || TOUCHES(set, nsh_path_hdr) ||
	     TOUCHES(set, nsh_context)) &&
	    !(k->type_known && k->eth_type == RTE_BE16(0x894f)))
		return "sets an NSH field of a packet that need not have that header";
	if (TOUCHES(set, ip_proto) && !arp)
		return "sets the IP protocol";
	if ((TOUCHES(set, ip_src) || TOUCHES(set, ip_dst)) && !is_ip(k) && !arp)
		return "sets an IP address of a packet that need not be IP or ARP: match its Ethernet type";
	if ((TOUCHES(set, ip_tos) || TOUCHES(set, ip_ttl)) && !is_ip(k))
		return "sets TOS or TTL of a packet that need not be IP: match its Ethernet type";
	if (TOUCHES(set, ipv6_label) && !ip6)
		return "sets the flow label of a packet that need not be IPv6";
	if ((TOUCHES(set, tp_src) || TOUCHES(set, tp_dst)) && !ports && !icmp)
		return "sets ports of a packet that need not have them: match its protocol, and no later fragments";
	if (TOUCHES(set, nd_target) && !(ip6 && icmp))
		return "sets the target of a packet that need not be neighbour discovery";
	if ((TOUCHES(set, arp_sha) || TOUCHES(set, arp_tha)) && !arp && !(ip6 && icmp))
		return "sets hardware addresses of a packet that need be neither ARP nor neighbour discovery";
	return NULL;
}

/* Why connection tracking cannot be asked for this; NULL = it can. */
static const char *ct_refused(const struct xv_action *a, const struct known *k)
{
	const struct xv_action_ct *ct = (const struct xv_action_ct *)(const void *)a->data;
	bool commit;

	if (a->bytes != sizeof(*a) + sizeof(*ct) || (ct->flags & ~XV_CT_FLAGS) != 0 || ct->helper > XV_CT_HELPER_TFTP)
		return "ct is malformed";
	commit = (ct->flags & XV_CT_COMMIT) != 0;
	if ((ct->flags & XV_CT_CLEAR) != 0)
		return ct->flags == XV_CT_CLEAR ? NULL : "ct clears and tracks at once";
	if (!is_ip(k))
		return "ct on a packet that need not be IP: match its Ethernet type";
	if (!commit && ((ct->flags & XV_CT_FORCE) != 0 || ct->mark_mask != 0 || (ct->label_mask[0] | ct->label_mask[1]) != 0 ||
			ct->helper != XV_CT_HELPER_NONE || ct->timeouts != 0))
		return "ct has a mark, a label, a helper, timeouts or force without commit";
	if ((ct->flags & XV_CT_NAT) == 0)
		return ct->nat.flags != 0 ? "ct has NAT parameters without NAT" : NULL;
	if ((ct->nat.flags & (XV_NAT_SRC | XV_NAT_DST)) == (XV_NAT_SRC | XV_NAT_DST))
		return "ct translates source and destination at once: that takes two of them";
	if (ct->nat.flags != 0 && !commit)
		return "ct has NAT parameters without commit";
	if (ct->nat.flags != 0 && (ct->nat.ipv6 != 0) != (k->eth_type == RTE_BE16(0x86dd)) &&
	    (ct->nat.min.u64[0] | ct->nat.min.u64[1]) != 0)
		return "ct translates to an address of the other IP version";
	return NULL;
}

static int refuse(struct xv_err *err, const char *why)
{
	return xv_err_set(err, -EINVAL, XV_ERR_RANGE, "action %s", why);
}

static int check_program(const uint64_t *program, uint32_t bytes, struct known k, unsigned int depth,
			 struct xv_err *err)
{
	const struct xv_action *a = xv_action_first(program);
	const uint8_t *end = (const uint8_t *)program + bytes;

	if (depth > XV_ACTIONS_MAX_DEPTH)
		return refuse(err, "programs are nested too deep");
	for (; (const uint8_t *)a < end; a = xv_action_next(a)) {
		uint32_t data = a->bytes - (uint32_t)sizeof(*a);
		bool last = (const uint8_t *)xv_action_next(a) == end;
		const char *why = NULL;
		int rc = 0;

		if (a->bytes < sizeof(*a) || a->bytes % 8 != 0 || (const uint8_t *)a + a->bytes > end)
			return refuse(err, "is longer than its program");
		switch ((enum xv_action_type)a->type) {
		case XV_ACT_OUTPUT:
			if (a->arg >= XV_MAX_PORTS)
				why = "output names a port that cannot be";
			break;
		case XV_ACT_SET: {
			const struct xv_action_set *set = (const struct xv_action_set *)(const void *)a->data;

			if (data < sizeof(*set) || set->first >= XV_FLOW_WORDS || set->n == 0 ||
			    set->n > XV_FLOW_WORDS - set->first ||
			    data != sizeof(*set) + set->n * sizeof(set->words[0]) || sets_unmasked(set))
				why = "set is malformed";
			else
				why = set_refused(set, &k);
			break;
		}
		case XV_ACT_PUSH_VLAN: {
			const struct xv_action_push_vlan *vlan =
				(const struct xv_action_push_vlan *)(const void *)a->data;

			if (data != sizeof(*vlan) ||
			    (vlan->tpid != RTE_BE16(0x8100) && vlan->tpid != RTE_BE16(0x88a8)))
				why = "push_vlan has a tag type that is neither 0x8100 nor 0x88a8";
			else if (!k.ethernet)
				why = "push_vlan on a packet without Ethernet header";
			k.vlans++;
			break;
		}
		case XV_ACT_POP_VLAN:
			if (k.vlans == 0)
				why = "pop_vlan on a packet that need not have a tag";
			else
				k.vlans--;
			break;
		case XV_ACT_PUSH_MPLS: {
			const struct xv_action_push_mpls *mpls =
				(const struct xv_action_push_mpls *)(const void *)a->data;

			if (data != sizeof(*mpls) || !is_mpls(mpls->eth_type))
				why = "push_mpls has an Ethernet type that is not MPLS";
			else if (!k.type_known || k.vlans > 0)
				why = "push_mpls on a packet whose Ethernet type is not matched, or that has a VLAN tag";
			k.mpls++;
			push_bottom(&k, mpls->lse);
			k.eth_type = mpls->eth_type;
			k.proto_known = false;
			k.ethernet = k.ethernet && !mpls->before_l2;
			break;
		}
		case XV_ACT_POP_MPLS:
			if (k.mpls == 0 || !k.type_known || !is_mpls(k.eth_type))
				why = "pop_mpls on a packet that need not have a label";
			else
				k.mpls--;
			pop_bottom(&k);
			k.eth_type = (rte_be16_t)a->arg;
			k.proto_known = false;
			if (is_mpls(k.eth_type) && k.mpls == 0)
				k.type_known = false;
			break;
		case XV_ACT_PUSH_ETH:
			if (data != sizeof(struct xv_action_push_eth) || k.ethernet)
				why = "push_eth on a packet that has an Ethernet header";
			k.ethernet = true;
			break;
		case XV_ACT_POP_ETH:
			if (!k.ethernet || k.vlans > 0 || !k.type_known)
				why = "pop_eth on a packet without Ethernet header, with a VLAN tag, or of unknown type";
			k.ethernet = false;
			break;
		case XV_ACT_PUSH_NSH: {
			const struct xv_action_push_nsh *nsh =
				(const struct xv_action_push_nsh *)(const void *)a->data;

			if (data != sizeof(*nsh) || (nsh->mdtype != 1 && nsh->mdtype != 2) || nsh->md2_len > 244)
				why = "push_nsh is malformed";
			else if (!k.type_known || k.vlans > 0)
				why = "push_nsh on a packet of unknown type, or with a VLAN tag";
			k = (struct known){.type_known = true, .eth_type = RTE_BE16(0x894f)};
			break;
		}
		case XV_ACT_POP_NSH:
			if (!k.type_known || k.eth_type != RTE_BE16(0x894f) || k.ethernet)
				why = "pop_nsh on a packet that need not begin with NSH";
			/* What comes to light is only known by its bytes. */
			k = (struct known){.ethernet = true};
			break;
		case XV_ACT_TUNNEL_PUSH: {
			const struct xv_encap *encap = (const struct xv_encap *)(const void *)a->data;

			if (data != round_up(sizeof(*encap)) || encap->len == 0 || encap->len > XV_ENCAP_MAX)
				why = "tunnel_push is malformed";
			k = (struct known){.ethernet = true};
			break;
		}
		case XV_ACT_TUNNEL_POP: {
			const struct xv_action_tunnel_pop *pop =
				(const struct xv_action_tunnel_pop *)(const void *)a->data;

			if (data != sizeof(*pop) || a->arg >= XV_MAX_PORTS ||
			    (pop->type != XV_TUNNEL_VXLAN && pop->type != XV_TUNNEL_GENEVE && pop->type != XV_TUNNEL_GRE))
				why = "tunnel_pop is malformed";
			else if (!last)
				why = "that ends a program is not its last";
			break;
		}
		case XV_ACT_CT:
			why = ct_refused(a, &k);
			break;
		case XV_ACT_CLONE:
		case XV_ACT_SAMPLE:
			rc = check_program(a->data, data, k, depth + 1, err);
			break;
		case XV_ACT_CHECK_LEN: {
			const struct xv_action_check_len *check =
				(const struct xv_action_check_len *)(const void *)a->data;

			if (data < sizeof(*check) || check->greater_bytes % 8 != 0 ||
			    (uint64_t)sizeof(*check) + check->greater_bytes + check->other_bytes != data)
				why = "check_len is malformed";
			else if (!last)
				why = "check_len is not the last";
			if (why == NULL)
				rc = check_program(check->programs, check->greater_bytes, k, depth + 1, err);
			if (why == NULL && rc == 0)
				rc = check_program(check->programs + check->greater_bytes / 8, check->other_bytes, k,
						   depth + 1, err);
			break;
		}
		case XV_ACT_RECIRC:
		case XV_ACT_FORWARD:
		case XV_ACT_DROP:
			if (!last)
				why = "that ends a program is not its last";
			else if (a->type == XV_ACT_DROP && a->arg >= XV_DROP_MAX)
				why = "drop has no such reason";
			break;
		case XV_ACT_TRUNC:
			if (a->arg < 14)
				why = "trunc leaves less than an Ethernet header";
			break;
		case XV_ACT_PUNT:
			if (data > XV_UPCALL_DATA_MAX)
				why = "punt says more than there is room for";
			break;
		case XV_ACT_BOND:
			if (a->arg >= XV_MAX_BONDS)
				why = "bond names a bond that cannot be";
			break;
		case XV_ACT_HASH:
		case XV_ACT_SYM_HASH:
		case XV_ACT_METER:
			break;
		case XV_ACT_PATCH:
			if (a->arg >= XV_MAX_PORTS)
				why = "patch to a port that cannot be";
			break;
		default:
			why = "is unknown";
		}
		if (why != NULL)
			return refuse(err, why);
		if (rc != 0)
			return rc;
	}
	return 0;
}

int xv_actions_check(const struct xv_actions *actions, const struct xv_flow_key *key, const struct xv_flow_key *mask,
		     struct xv_err *err)
{
	struct known k = {
		.ethernet = key->packet_type == 0,
		.type_known = mask->eth_type == RTE_BE16(0xffff),
		.eth_type = key->eth_type,
		.proto_known = mask->ip_proto == 0xff,
		.proto = key->ip_proto,
		.first = mask->ip_frag == 0xff && key->ip_frag != XV_FRAG_LATER,
	};
	unsigned int i;

	for (; k.vlans < XV_FLOW_MAX_VLANS && (key->vlan[k.vlans].tci & mask->vlan[k.vlans].tci & RTE_BE16(0x1000)) != 0;)
		k.vlans++;
	if (k.type_known && is_mpls(k.eth_type)) {
		for (i = 0; i < XV_FLOW_MAX_MPLS; i++) {
			k.bottom[i] = key->mpls_lse[i] & LSE_BOTTOM;
			k.bottom_known[i] = mask->mpls_lse[i] & LSE_BOTTOM;
		}
		/* One, and one more below each that is known not to be the bottom. */
		for (k.mpls = 1; k.mpls <= XV_FLOW_MAX_MPLS && k.bottom_known[k.mpls - 1] != 0 && k.bottom[k.mpls - 1] == 0;)
			k.mpls++;
	}
	return check_program(actions->program, actions->bytes, k, 0, err);
}
