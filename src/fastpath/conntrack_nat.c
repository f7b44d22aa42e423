/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NAT as nf_nat does it for OVS's ct(nat): the port stays if it may; else one is searched for in the range, or in the
 * class that the port is of. Of a range of addresses a client gets the same one for the same server, and with
 * `persistent` for all. A search ends after MAX_PROBES tuples: when nearly all ports are in use a connection may be
 * refused though one is free.
 *
 * Unlike nf_nat, a search in a range of addresses goes on with the next one when ports of the first are in use (as
 * OVS's userspace conntrack did), but not with `persistent`; and a client's port that is mapped already does not decide
 * what it is mapped to for other servers.
 */
#include "fastpath/conntrack_nat.h"

#include <errno.h>
#include <netinet/in.h>

#include "net/edit.h"
#include "net/icmp_edit.h"

/* As nf_nat: so many in a row, then half as many from elsewhere, down to MIN_WINDOW. */
#define MAX_WINDOW 128
#define MIN_WINDOW 16
#define MAX_PROBES 240

#define ICMP_ECHO_REPLY6 129
#define ICMP_ECHO6       128
#define ICMP_REDIRECT    5
#define ICMP_REDIRECT6   137

typedef bool taken_fn(const struct xv_ct_tuple *reply, void *arg);

/* What is varied of a reply tuple, how far, and where the search begins. */
struct search {
	struct xv_ct_tuple *reply;
	rte_be16_t *port; /* NULL: the protocol has none */
	uint32_t first, ports;
	union xv_ip_addr *addr; /* NULL: it stays */
	union xv_ip_addr min, max;
	taken_fn *taken;
	void *arg;
	uint64_t random;
};

/* A repeatable stream of random numbers (SplitMix64). */
static uint64_t next_random(uint64_t *state)
{
	uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static uint64_t mix(uint64_t hash, uint64_t v)
{
	hash = (hash ^ v) * UINT64_C(0x9e3779b97f4a7c15);
	return hash ^ hash >> 32;
}

static bool is_icmp(const struct xv_ct_tuple *t)
{
	return t->proto == (t->ipv6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP);
}

static bool has_ports(uint8_t proto)
{
	return proto == IPPROTO_TCP || proto == IPPROTO_UDP || proto == IPPROTO_SCTP;
}

/* Where a reply tuple has the port of the client (or of the server), if the protocol has such. */
static rte_be16_t *port_of(struct xv_ct_tuple *reply, bool client)
{
	uint8_t type;

	if (has_ports(reply->proto))
		return client ? &reply->dst_port : &reply->src_port;
	if (!is_icmp(reply))
		return NULL;
	type = (uint8_t)(rte_be_to_cpu_16(reply->dst_port) >> 8);
	if (reply->ipv6 && type != ICMP_ECHO6 && type != ICMP_ECHO_REPLY6)
		return NULL;
	return &reply->src_port; /* the same number in both directions */
}

/* Ports that may stand for this one: privileged ones stay so (as nf_nat). */
static void set_class(struct search *s)
{
	uint16_t port = rte_be_to_cpu_16(*s->port);

	if (is_icmp(s->reply)) {
		s->first = 0;
		s->ports = 65536;
	} else if (port < 512) {
		s->first = 1;
		s->ports = 511;
	} else if (port < 1024) {
		s->first = 600;
		s->ports = 1024 - 600;
	} else {
		s->first = 1024;
		s->ports = 65536 - 1024;
	}
}

static bool has_range(const struct xv_ct_nat *nat)
{
	return nat->min_port != 0 || nat->max_port != 0;
}

static void set_range(struct search *s, const struct xv_ct_nat *nat)
{
	uint16_t a = nat->min_port, b = nat->max_port ? nat->max_port : nat->min_port;

	s->first = RTE_MIN(a, b);
	s->ports = (uint32_t)RTE_MAX(a, b) - s->first + 1;
}

static bool port_in_range(const struct search *s)
{
	uint32_t port = rte_be_to_cpu_16(*s->port);

	return port >= s->first && port - s->first < s->ports;
}

static unsigned __int128 addr_number(const union xv_ip_addr *a)
{
	return (unsigned __int128)rte_be_to_cpu_64(a->u64[0]) << 64 | rte_be_to_cpu_64(a->u64[1]);
}

static void number_addr(unsigned __int128 n, union xv_ip_addr *a)
{
	a->u64[0] = rte_cpu_to_be_64((uint64_t)(n >> 64));
	a->u64[1] = rte_cpu_to_be_64((uint64_t)n);
}

static bool addr_is_zero(const union xv_ip_addr *a)
{
	return (a->u64[0] | a->u64[1]) == 0;
}

/* The search's addresses; they are numbers, also IPv4 ones in their last four bytes. */
static void set_addrs(struct search *s, const struct xv_ct_nat *nat, union xv_ip_addr *addr)
{
	if (addr_is_zero(&nat->min))
		return;
	s->addr = addr;
	s->min = nat->min;
	s->max = addr_number(&nat->max) < addr_number(&nat->min) ? nat->min : nat->max;
}

/* The address that clients (and, unless persistent, the pair of client and server) get. */
static void choose_addr(struct search *s, const struct xv_ct_tuple *original, bool persistent)
{
	unsigned __int128 min = addr_number(&s->min), span = addr_number(&s->max) - min, offset;
	uint64_t hash = mix(mix(original->zone, original->src.u64[0]), original->src.u64[1]);

	if (!persistent)
		hash = mix(mix(hash, original->dst.u64[0]), original->dst.u64[1]);
	hash = next_random(&hash); /* upper bits count below */
	if (span < UINT64_MAX)
		offset = (unsigned __int128)hash * (span + 1) >> 64;
	else
		offset = (unsigned __int128)hash << 64 | mix(hash, 1);
	if (span + 1 != 0)
		offset %= span + 1;
	number_addr(min + offset, s->addr);
}

static void next_addr(struct search *s)
{
	if (memcmp(s->addr, &s->max, sizeof(s->max)) == 0)
		*s->addr = s->min;
	else
		number_addr(addr_number(s->addr) + 1, s->addr);
}

static bool is_free(const struct search *s)
{
	return !s->taken(s->reply, s->arg);
}

/* As many as there are to choose from, if that is a small number. */
static uint32_t addrs_of(const struct search *s, bool persistent)
{
	unsigned __int128 span;

	if (!s->addr || persistent)
		return 1;
	span = addr_number(&s->max) - addr_number(&s->min);
	return span < MAX_PROBES ? (uint32_t)span + 1 : MAX_PROBES;
}

/* From offset on; and on from another one, or with another address. */
static int search(struct search *s, uint32_t offset, bool persistent)
{
	uint32_t window = RTE_MIN(s->ports, (uint32_t)MAX_WINDOW), probes = 0, tried = 0,
		 addrs = addrs_of(s, persistent);
	uint32_t i;

	while (probes < MAX_PROBES) {
		for (i = 0; i < window && probes < MAX_PROBES; i++, probes++) {
			*s->port = rte_cpu_to_be_16((uint16_t)(s->first + (offset + i) % s->ports));
			if (is_free(s))
				return 0;
		}
		if (++tried >= addrs && window == s->ports)
			break; /* that was all */
		if (window < s->ports) {
			window /= 2;
			if (window < MIN_WINDOW)
				break;
		}
		if (addrs > 1)
			next_addr(s);
		offset = (uint32_t)next_random(&s->random) & 0xffff;
	}
	return -ENOSPC;
}

/* Protocols without ports: any address that is free. */
static int search_addrs(struct search *s, bool persistent)
{
	uint32_t i, addrs = addrs_of(s, persistent);

	for (i = 0; i < addrs; i++) {
		if (is_free(s))
			return 0;
		if (addrs > 1)
			next_addr(s);
	}
	return -ENOSPC;
}

int xv_ct_nat_make_unique(struct xv_ct_tuple *reply, taken_fn *taken, void *arg, uint64_t random)
{
	struct search s = {.reply = reply, .port = port_of(reply, true), .taken = taken, .arg = arg, .random = random};

	if (is_free(&s))
		return 0;
	if (!s.port)
		return -ENOSPC;
	set_class(&s);
	return search(&s, (uint32_t)next_random(&s.random) & 0xffff, true);
}

/* Where a search for ports begins. */
static uint32_t first_offset(struct search *s, const struct xv_ct_nat *nat, const struct xv_ct_tuple *original)
{
	uint64_t hash;

	if (nat->flags & XV_NAT_HASH) {
		hash = mix(mix(original->src.u64[0], original->src.u64[1]), original->src_port);
		hash = mix(mix(hash, original->dst.u64[0]), original->dst.u64[1]);
		return (uint32_t)mix(hash, (uint64_t)original->dst_port << 16 | original->proto) & 0xffff;
	}
	return (uint32_t)next_random(&s->random) & 0xffff;
}

static int choose_src(struct search *s, const struct xv_ct_nat *nat, const struct xv_ct_tuple *original)
{
	bool keep = (nat->flags & (XV_NAT_RANDOM | XV_NAT_HASH)) == 0,
	     persistent = (nat->flags & XV_NAT_PERSISTENT) != 0;

	s->port = port_of(s->reply, true);
	set_addrs(s, nat, &s->reply->dst);
	if (s->port && has_range(nat))
		set_range(s, nat);
	else if (s->port)
		set_class(s);
	/* A client that has an address and port of the range already keeps them. */
	if (keep && s->addr && addr_number(s->addr) >= addr_number(&s->min) &&
	    addr_number(s->addr) <= addr_number(&s->max) && (!s->port || !has_range(nat) || port_in_range(s)) &&
	    is_free(s))
		return 0;
	if (s->addr)
		choose_addr(s, original, persistent);
	if (!s->port)
		return search_addrs(s, persistent);
	if (keep && (!has_range(nat) || port_in_range(s)) && is_free(s))
		return 0;
	return search(s, first_offset(s, nat, original), persistent);
}

/* The server is what the range says; if then the client's port is in use towards it, the client gets another port. */
static int choose_dst(struct search *s, const struct xv_ct_nat *nat, const struct xv_ct_tuple *original)
{
	bool keep = (nat->flags & (XV_NAT_RANDOM | XV_NAT_HASH)) == 0,
	     persistent = (nat->flags & XV_NAT_PERSISTENT) != 0;

	s->port = port_of(s->reply, false);
	set_addrs(s, nat, &s->reply->src);
	if (s->addr)
		choose_addr(s, original, persistent);
	if (s->port && has_range(nat)) {
		set_range(s, nat);
		if (s->ports == 1)
			*s->port = rte_cpu_to_be_16((uint16_t)s->first);
		else if ((!keep || !port_in_range(s) || !is_free(s)) &&
			 search(s, first_offset(s, nat, original), true) == 0)
			return 0;
	}
	return xv_ct_nat_make_unique(s->reply, s->taken, s->arg, s->random);
}

int xv_ct_nat_choose(const struct xv_ct_nat *nat, const struct xv_ct_tuple *original, struct xv_ct_tuple *reply,
		     taken_fn *taken, void *arg, uint64_t random)
{
	struct search s = {.reply = reply, .taken = taken, .arg = arg, .random = random};

	if (nat->flags & XV_NAT_SRC)
		return choose_src(&s, nat, original);
	if (nat->flags & XV_NAT_DST)
		return choose_dst(&s, nat, original);
	return 0;
}

/* ---- Packets ---- */

/* XV_CS_SRC_NAT, XV_CS_DST_NAT of packets of direction dir. */
static uint32_t state_of(const struct xv_conn *conn, enum xv_ct_dir dir)
{
	uint8_t src = dir == XV_CT_ORIGINAL ? XV_CONN_SNAT : XV_CONN_DNAT;
	uint8_t dst = dir == XV_CT_ORIGINAL ? XV_CONN_DNAT : XV_CONN_SNAT;

	return (conn->flags & src ? XV_CS_SRC_NAT : 0) | (conn->flags & dst ? XV_CS_DST_NAT : 0);
}

/*
 * An error goes the way of direction dir, what is inside went the other way, and is shown to its sender as it sent it.
 * The error may come from a router on the way: its source is hidden behind the server's if that is translated, but
 * stays otherwise.
 */
static int translate_error(const struct xv_conn *conn, enum xv_ct_dir dir, struct rte_mbuf *m,
			   const struct xv_flow_key *key, const struct xv_flow_layout *layout)
{
	const struct xv_ct_tuple *sent = &conn->tuple[dir == XV_CT_ORIGINAL ? XV_CT_REPLY : XV_CT_ORIGINAL];
	struct xv_icmp_inner inner = {
		.src = sent->src,
		.dst = sent->dst,
		.src_port = sent->src_port,
		.dst_port = sent->dst_port,
		.proto = sent->proto,
	};
	uint8_t type = (uint8_t)rte_be_to_cpu_16(key->tp_src);

	/* What it says about addresses would be wrong on the other side (as nf_nat). */
	if (type == (sent->ipv6 ? ICMP_REDIRECT6 : ICMP_REDIRECT))
		return -EINVAL;
	return xv_icmp_set_inner(m, layout, sent->ipv6, &inner);
}

int xv_ct_nat_translate(const struct xv_conn *conn, enum xv_ct_dir dir, bool icmp_error, struct rte_mbuf *m,
			struct xv_flow_key *key, struct xv_flow_layout *layout)
{
	const struct xv_ct_tuple *other = &conn->tuple[dir == XV_CT_ORIGINAL ? XV_CT_REPLY : XV_CT_ORIGINAL];
	uint32_t state = state_of(conn, dir);
	struct xv_flow_key to;
	int rc = 0;

	if ((conn->flags & (XV_CONN_SNAT | XV_CONN_DNAT)) == 0)
		return 0;
	if (icmp_error)
		rc = translate_error(conn, dir, m, key, layout);
	else if (is_icmp(other) && other->src_port != conn->tuple[dir].src_port)
		rc = xv_icmp_set_id(m, layout, other->src_port);
	if (rc != 0)
		return rc;

	to = *key;
	if (state & XV_CS_SRC_NAT)
		to.ip_src = other->dst;
	if (state & XV_CS_DST_NAT)
		to.ip_dst = other->src;
	if (has_ports(key->ip_proto) && layout->l4 != 0) {
		to.tp_src = other->dst_port;
		to.tp_dst = other->src_port;
	}
	rc = xv_edit_apply(m, layout, key, &to);
	if (rc != 0)
		return rc;
	key->ip_src = to.ip_src;
	key->ip_dst = to.ip_dst;
	key->tp_src = to.tp_src;
	key->tp_dst = to.tp_dst;
	key->ct_state |= state;
	return 0;
}
