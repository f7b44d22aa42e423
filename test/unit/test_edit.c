/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Setting fields, held against checksums that are made from scratch, byte by byte, by code that shares nothing with
 * what it judges; and against the extractor, to which an edited packet must look as was asked for.
 */
#include "unit.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <rte_mbuf.h>

#include "net/edit.h"
#include "net/packet.h"

#define POOL_SIZE 255
#define FRAME_MAX 1800

static struct rte_mempool *pool;
static uint64_t seed = 1;

enum kind { TCP, UDP, SCTP, ICMP, ICMP6, ND, OTHER_IP, ARP, MPLS, NSH, KINDS };

struct frame {
	uint8_t data[FRAME_MAX];
	uint32_t len, l3, l4, end;
	enum kind kind;
	bool v6, later, partial, no_csum;
	bool routed; /* IPv6: the checksum is that of final_dst */
	uint8_t final_dst[16];
	unsigned int elsewhere; /* sum of what other fragments carry */
};

static uint32_t roll(uint32_t n)
{
	return unit_random(&seed, n);
}

static void put16(uint8_t *p, unsigned int v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static void fill(uint8_t *p, unsigned int n)
{
	unsigned int i, how = roll(8);

	for (i = 0; i < n; i++)
		p[i] = how == 0 ? 0 : how == 1 ? 0xff : (uint8_t)roll(256);
}

static uint32_t sum_bytes(uint32_t sum, const uint8_t *p, uint32_t len)
{
	uint32_t i;

	for (i = 0; i < len; i++) {
		sum += i % 2 ? p[i] : (uint32_t)p[i] << 8;
		sum = (sum & 0xffff) + (sum >> 16);
	}
	return sum;
}

static uint32_t crc32c(const uint8_t *p, uint32_t len)
{
	uint32_t crc = 0xffffffff, i, bit;

	for (i = 0; i < len; i++) {
		crc ^= p[i];
		for (bit = 0; bit < 8; bit++)
			crc = crc & 1 ? crc >> 1 ^ 0x82f63b78 : crc >> 1;
	}
	return ~crc;
}

static unsigned int proto_of(enum kind kind)
{
	static const uint8_t protos[] = {[TCP] = 6, [UDP] = 17, [SCTP] = 132, [ICMP] = 1,
					 [ICMP6] = 58, [ND] = 58, [OTHER_IP] = 99};

	return protos[kind];
}

static unsigned int csum_offset_of(enum kind kind)
{
	return kind == TCP ? 16 : kind == UDP ? 6 : 2;
}

static uint32_t pseudo_sum(const struct frame *f)
{
	const uint8_t *ip = f->data + f->l3;
	uint32_t sum = proto_of(f->kind) + (f->end - f->l4);

	if (!f->v6)
		return sum_bytes(sum, ip + 12, 8);
	sum = sum_bytes(sum, ip + 8, 16);
	return sum_bytes(sum, f->routed ? f->final_dst : ip + 24, 16);
}

/* All checksums from scratch. */
static void make_checksums(struct frame *f)
{
	uint8_t *ip = f->data + f->l3, *th = f->data + f->l4, *field;
	uint32_t sum;

	if (f->kind >= ARP)
		return;
	if (!f->v6) {
		put16(ip + 10, 0);
		put16(ip + 10, sum_bytes(0, ip, (ip[0] & 15) * 4u) ^ 0xffff);
	}
	if (f->later || f->kind == OTHER_IP)
		return;
	if (f->kind == SCTP) {
		memset(th + 8, 0, 4);
		sum = crc32c(th, f->end - f->l4);
		th[8] = (uint8_t)sum;
		th[9] = (uint8_t)(sum >> 8);
		th[10] = (uint8_t)(sum >> 16);
		th[11] = (uint8_t)(sum >> 24);
		return;
	}
	field = th + csum_offset_of(f->kind);
	put16(field, 0);
	if (f->no_csum)
		return;
	sum = f->kind == ICMP ? 0 : pseudo_sum(f);
	if (!f->partial) {
		sum = sum_bytes(sum + f->elsewhere, th, f->end - f->l4) ^ 0xffff;
		if (f->kind == UDP && sum == 0)
			sum = 0xffff;
	}
	put16(field, sum);
}

static uint8_t *add_ext(struct frame *f, uint8_t *next, unsigned int proto, unsigned int len)
{
	uint8_t *ext = f->data + f->l4;

	*next = (uint8_t)proto;
	fill(ext, len);
	ext[1] = (uint8_t)(proto == 51 ? len / 4 - 2 : len / 8 - 1);
	f->l4 += len;
	return ext;
}

static void build_ipv6(struct frame *f)
{
	uint8_t *ip = f->data + f->l3, *next = ip + 6;

	ip[0] = (uint8_t)(0x60 | roll(16));
	f->l4 = f->l3 + 40;
	if (roll(4) == 0)
		next = add_ext(f, next, 0, 8);
	if (roll(4) == 0) {
		uint8_t *routing = add_ext(f, next, 43, 24);

		next = routing;
		routing[3] = (uint8_t)roll(2);
		f->routed = routing[3] > 0;
		fill(f->final_dst, 16);
	}
	if (roll(4) == 0) {
		uint8_t *fragment = add_ext(f, next, 44, 8);

		next = fragment;
		fragment[1] = 0;
		put16(fragment + 2, f->kind == SCTP ? 0 : roll(3)); /* bit 0: more */
		fragment[3] &= 1;
		if (fragment[3])
			f->elsewhere = roll(0x10000);
		if (roll(3) == 0) {
			f->later = true;
			fragment[3] = 8;
		}
	}
	if (roll(6) == 0)
		next = add_ext(f, next, 51, 24);
	if (roll(6) == 0)
		next = add_ext(f, next, 60, 16);
	*next = (uint8_t)proto_of(f->kind);
}

static void build_ipv4(struct frame *f)
{
	uint8_t *ip = f->data + f->l3;
	unsigned int options = roll(3) ? 0 : roll(11) * 4, fragment = 0;

	ip[0] = (uint8_t)(0x45 + options / 4);
	if (roll(4) == 0 && f->kind != SCTP) {
		fragment = 0x2000;
		f->elsewhere = roll(0x10000);
	}
	if (roll(8) == 0) {
		fragment |= 1 + roll(0x1fff);
		f->later = true;
	}
	put16(ip + 6, fragment);
	ip[9] = (uint8_t)proto_of(f->kind);
	f->l4 = f->l3 + 20 + options;
}

static void build_l4(struct frame *f)
{
	uint8_t *th = f->data + f->l4;
	uint32_t header = 8, payload = roll(4) ? roll(64) : roll(1200);

	if (f->kind == TCP) {
		header = 20 + (roll(2) ? 0 : roll(11) * 4);
		th[12] = (uint8_t)(header / 4 << 4 | (th[12] & 15));
	} else if (f->kind == SCTP) {
		header = 12;
	} else if (f->kind == ICMP) {
		th[4] |= 1; /* of all zeros the checksum is 0xffff, and changed to all zeros 0: both are right */
	} else if (f->kind == ICMP6 && (th[0] == 135 || th[0] == 136)) {
		th[0] = 128;
	} else if (f->kind == ND) {
		uint8_t *option = th + 24;
		unsigned int i, n = roll(4), sll = roll(4), tll = roll(4);

		th[0] = (uint8_t)(135 + roll(2));
		th[1] = 0;
		for (i = 0; i < n; i++) {
			option[0] = (uint8_t)(i == sll ? 1 : i == tll ? 2 : 3 + roll(200));
			option[1] = (uint8_t)(option[0] < 3 ? 1 : 1 + roll(3));
			option += option[1] * 8;
		}
		header = (uint32_t)(option - th);
		if (n == 0 || roll(2))
			payload = 0; /* else more bytes, which look like options or not */
		else
			memset(option, 0, 2);
	}
	f->end = f->l4 + header + payload;
	if (f->kind == UDP)
		put16(th + 4, f->end - f->l4);
}

static void build(struct frame *f)
{
	unsigned int i, vlans = roll(3), n;
	uint8_t *p;

	memset(f, 0, sizeof(*f));
	fill(f->data, FRAME_MAX);
	f->kind = roll(KINDS);
	p = f->data + 12;
	for (i = 0; i < vlans; i++, p += 4)
		put16(p, roll(2) ? 0x8100 : 0x88a8);
	f->l3 = (uint32_t)(p + 2 - f->data);
	f->v6 = roll(2) || f->kind == ICMP6 || f->kind == ND;
	if (f->kind == ICMP)
		f->v6 = false;
	switch (f->kind) {
	case ARP:
		put16(p, roll(4) ? 0x0806 : 0x8035);
		memcpy(p + 2, (const uint8_t[]){0, 1, 8, 0, 6, 4, 0}, 7);
		f->end = f->l3 + 28;
		break;
	case MPLS:
		put16(p, roll(2) ? 0x8847 : 0x8848);
		n = 1 + roll(4);
		for (i = 0; i < n; i++)
			p[2 + 4 * i + 2] = (uint8_t)((p[2 + 4 * i + 2] & 0xfe) | (i == n - 1));
		f->end = f->l3 + 4 * n + 50;
		break;
	case NSH:
		put16(p, 0x894f);
		n = roll(2);
		put16(p + 2, roll(0x4000) / 64 * 64 + (n ? 6 : 5));
		p[4] = n ? 1 : 2;
		f->end = f->l3 + 100;
		break;
	default:
		put16(p, f->v6 ? 0x86dd : 0x0800);
		if (f->v6)
			build_ipv6(f);
		else
			build_ipv4(f);
		build_l4(f);
		if (f->v6)
			put16(f->data + f->l3 + 4, f->end - f->l3 - 40);
		else
			put16(f->data + f->l3 + 2, f->end - f->l3);
		f->no_csum = f->kind == UDP && roll(4) == 0;
		f->partial = !f->no_csum && !f->later && f->elsewhere == 0 && roll(3) == 0 &&
			     (f->kind == TCP || f->kind == UDP || f->kind == ICMP6 || f->kind == ND);
	}
	f->len = f->end + (roll(2) ? 0 : roll(20));
	make_checksums(f);
}

static void maybe(void *field, unsigned int n)
{
	if (roll(3) == 0)
		fill(field, n);
}

/* Change fields that the packet has, each or not. */
static void change(const struct frame *f, struct xv_flow_key *to)
{
	unsigned int i;

	maybe(to->eth_dst, 6);
	maybe(to->eth_src, 6);
	for (i = 0; i < XV_FLOW_MAX_VLANS && to->vlan[i].tpid; i++) {
		maybe(&to->vlan[i].tci, 2);
		to->vlan[i].tci |= RTE_BE16(0x1000);
		if (roll(4) == 0)
			to->vlan[i].tpid = roll(2) ? RTE_BE16(0x8100) : RTE_BE16(0x88a8);
	}
	for (i = 0; i < to->mpls_depth; i++) {
		rte_be32_t bottom = to->mpls_lse[i] & RTE_BE32(0x100);

		maybe(&to->mpls_lse[i], 4);
		to->mpls_lse[i] = (to->mpls_lse[i] & RTE_BE32(0xfffffeff)) | bottom;
	}
	if (f->kind == NSH) {
		to->nsh_flags ^= (uint8_t)roll(4);
		to->nsh_ttl = roll(2) ? to->nsh_ttl : roll(64);
		maybe(&to->nsh_path_hdr, 4);
		for (i = 0; i < 4 && to->nsh_mdtype == 1; i++)
			maybe(&to->nsh_context[i], 4);
	}
	if (f->kind == MPLS || f->kind == NSH)
		return;
	if (f->v6 && f->kind != ARP) {
		maybe(&to->ip_src, 16);
		maybe(&to->ip_dst, 16);
		maybe(&to->ipv6_label, 4);
		to->ipv6_label &= RTE_BE32(0xfffff);
	} else {
		maybe(&to->ip_src.words[3], 4);
		maybe(&to->ip_dst.words[3], 4);
	}
	if (f->kind == ARP) {
		maybe(&to->ip_proto, 1);
		maybe(to->arp_sha, 6);
		maybe(to->arp_tha, 6);
		return;
	}
	maybe(&to->ip_tos, 1);
	maybe(&to->ip_ttl, 1);
	if (f->later)
		return;
	switch (f->kind) {
	case TCP:
	case UDP:
	case SCTP:
		maybe(&to->tp_src, 2);
		maybe(&to->tp_dst, 2);
		break;
	case ICMP:
	case ICMP6:
		if (roll(2))
			to->tp_src = rte_cpu_to_be_16((uint16_t)roll(128));
		if (roll(2))
			to->tp_dst = rte_cpu_to_be_16((uint16_t)roll(256));
		break;
	case ND:
		if (to->nd_target.u64[0] | to->nd_target.u64[1])
			maybe(&to->nd_target, 16);
		break;
	default:
		break;
	}
}

static struct rte_mbuf *packet(const struct frame *f)
{
	uint16_t cuts[3] = {0};
	struct rte_mbuf *m;

	/* All headers are in the first segment, and ND as a whole. */
	if (f->kind != ND && f->end > 300 && roll(2)) {
		cuts[0] = (uint16_t)(260 + roll(f->end - 300));
		cuts[1] = (uint16_t)(cuts[0] + 1 + roll(20));
	}
	m = unit_packet(pool, f->data, f->len, cuts);
	if (f->partial) {
		*xv_packet_offload(m) = (struct xv_offload){
			.flags = XV_OFFLOAD_CSUM,
			.csum_start = (uint16_t)f->l4,
			.csum_offset = (uint16_t)csum_offset_of(f->kind),
		};
		m->ol_flags |= XV_PACKET_OFFLOAD;
	} else if (f->kind < ARP && roll(4) == 0) {
		/* Of another checksum (of a tunnel's inner packet), or of none: this one is complete. */
		*xv_packet_offload(m) = (struct xv_offload){
			.flags = roll(2) ? XV_OFFLOAD_CSUM : XV_OFFLOAD_CSUM_VALID,
			.csum_start = (uint16_t)f->l4,
			.csum_offset = (uint16_t)csum_offset_of(f->kind),
		};
		if (xv_packet_offload(m)->flags == XV_OFFLOAD_CSUM)
			xv_packet_offload(m)->csum_start += 8;
		m->ol_flags |= XV_PACKET_OFFLOAD;
	}
	return m;
}

static void extract(const struct rte_mbuf *m, struct xv_flow_key *key, struct xv_flow_layout *layout)
{
	memset(key, 0, sizeof(*key));
	assert_int_equal(xv_flow_extract(rte_pktmbuf_mtod(m, const uint8_t *), m->data_len, m->pkt_len, key, layout),
			 XV_FLOW_OK);
}

static void random_edits(void **state)
{
	static struct frame f, after;
	struct xv_flow_key from, to, now;
	struct xv_flow_layout layout, layout_now;
	unsigned int i, partial = 0, routed = 0, nd_macs = 0;
	struct rte_mbuf *m;

	for (i = 0; i < 150000; i++) {
		build(&f);
		m = packet(&f);
		extract(m, &from, &layout);
		if (f.kind < ARP && !f.later)
			assert_int_equal(layout.l4, f.l4);
		to = from;
		change(&f, &to);
		if (f.kind == ND && !f.later) {
			/* Zero reads as "no such option". */
			if (from.arp_sha[0] && roll(2))
				to.arp_sha[0] = 2, to.arp_sha[5] ^= 0x5a, nd_macs++;
			if (from.arp_tha[0] && roll(2))
				to.arp_tha[0] = 2, to.arp_tha[3] ^= 0x5a;
		}
		assert_int_equal(xv_edit_apply(m, &layout, &from, &to), 0);
		extract(m, &now, &layout_now);
		assert_memory_equal(&now, &to, sizeof(now));
		assert_memory_equal(&layout_now, &layout, sizeof(layout));

		after = f;
		assert_int_equal(m->pkt_len, f.len);
		memcpy(after.data, rte_pktmbuf_read(m, 0, f.len, after.data), f.len);
		make_checksums(&after);
		assert_memory_equal(after.data, rte_pktmbuf_read(m, 0, f.len, (uint8_t[FRAME_MAX]){0}), f.len);

		/* And back again, to the same bytes. */
		assert_int_equal(xv_edit_apply(m, &layout, &to, &from), 0);
		assert_memory_equal(f.data, rte_pktmbuf_read(m, 0, f.len, after.data), f.len);
		partial += f.partial;
		routed += f.routed && !f.later;
		rte_pktmbuf_free(m);
	}
	assert_true(partial > 1000 && routed > 1000 && nd_macs > 1000);
	assert_int_equal(rte_mempool_avail_count(pool), POOL_SIZE);
}

/* What was wrong must stay wrong, by as much. */
static void wrong_checksums_stay_wrong(void **state)
{
	static struct frame f, right;
	struct xv_flow_key from, to;
	struct xv_flow_layout layout;
	struct rte_mbuf *m;
	unsigned int i;

	for (i = 0; i < 20000; i++) {
		build(&f);
		if (f.kind > ICMP6 || f.no_csum || f.later)
			continue;
		right = f;
		f.data[f.end - 1] ^= 0x10; /* payload, or the last byte of the header */
		m = packet(&f);
		extract(m, &from, &layout);
		to = from;
		change(&f, &to);
		assert_int_equal(xv_edit_apply(m, &layout, &from, &to), 0);
		memcpy(right.data, rte_pktmbuf_read(m, 0, f.len, right.data), f.len);
		right.data[f.end - 1] ^= 0x10;
		memcpy(f.data, right.data, f.len);
		if (f.end - f.l4 > 20) {
			make_checksums(&right);
			assert_memory_equal(f.data, right.data, f.len);
		}
		rte_pktmbuf_free(m);
	}
}

struct example {
	const char *what, *before, *after;
	/* one field: offset, size, value */
	size_t offset, size;
	const char *value;
};

#define F(field) offsetof(struct xv_flow_key, field), sizeof(((struct xv_flow_key *)NULL)->field)
#define F4(field) (offsetof(struct xv_flow_key, field) + 12), 4
#define MACS "020000000001 020000000002 "

/* By hand; what each differs in is easy to see. */
static const struct example examples[] = {
	{"destination", MACS "0800 0000", "0600000000aa 020000000002 0800 0000", F(eth_dst), "0600000000aa"},
	{"source", MACS "88cc 0000", "020000000001 0600000000aa 88cc 0000", F(eth_src), "0600000000aa"},
	{"TTL", MACS "0800 45000014 00010000 4063 66 82 0a000001 0a000002",
	 MACS "0800 45000014 00010000 3f63 67 82 0a000001 0a000002", F(ip_ttl), "3f"},
	{"hop limit", MACS "86dd 60000000 0000 3b 40 20010000000000000000000000000001 20010000000000000000000000000002",
	 MACS "86dd 60000000 0000 3b 3f 20010000000000000000000000000001 20010000000000000000000000000002", F(ip_ttl),
	 "3f"},
	{"traffic class",
	 MACS "86dd 6abcdef0 0000 3b 40 20010000000000000000000000000001 20010000000000000000000000000002",
	 MACS "86dd 612cdef0 0000 3b 40 20010000000000000000000000000001 20010000000000000000000000000002", F(ip_tos),
	 "12"},
	{"flow label",
	 MACS "86dd 6abcdef0 0000 3b 40 20010000000000000000000000000001 20010000000000000000000000000002",
	 MACS "86dd 6ab12345 0000 3b 40 20010000000000000000000000000001 20010000000000000000000000000002",
	 F(ipv6_label), "00012345"},
	{"label", MACS "8847 00064140 000c8140", MACS "8847 00065040 000c8140", F(mpls_lse[0]), "00065040"},
	{"VLAN, DEI stays", MACS "8100 3064 0800", MACS "8100 30c8 0800", F(vlan[0].tci), "30c8"},
	{"ARP operation", MACS "0806 0001 0800 0604 0001 020000000002 0a000001 000000000000 0a000002",
	 MACS "0806 0001 0800 0604 0002 020000000002 0a000001 000000000000 0a000002", F(ip_proto), "02"},
	{"ARP target", MACS "0806 0001 0800 0604 0001 020000000002 0a000001 000000000000 0a000002",
	 MACS "0806 0001 0800 0604 0001 020000000002 0a000001 000000000000 0a0000ff", F4(ip_dst), "0a0000ff"},
	{"service index", MACS "894f 0fc60103 00000aff 00000001 00000002 00000003 00000004",
	 MACS "894f 0fc60103 00000afe 00000001 00000002 00000003 00000004", F(nsh_path_hdr), "00000afe"},
	{"NSH context", MACS "894f 0fc60103 00000aff 00000001 00000002 00000003 00000004",
	 MACS "894f 0fc60103 00000aff 00000001 00000002 00000009 00000004", F(nsh_context[2]), "00000009"},
	{"source address option, behind one of another length",
	 MACS "86dd 60000000 0030 3a ff 20010000000000000000000000000001 20010000000000000000000000000002"
	      "8700 1234 00000000 20010000000000000000000000000002"
	      "0102 0200000000aa 0000000000000000 0101 020000000001",
	 MACS "86dd 60000000 0030 3a ff 20010000000000000000000000000001 20010000000000000000000000000002"
	      "8700 1136 00000000 20010000000000000000000000000002"
	      "0102 0200000000aa 0000000000000000 0101 0200000000ff",
	 F(arp_sha), "0200000000ff"},
	/* Ignored: not fields that can be set, or not of this packet. */
	{"protocol", MACS "0800 45000014 00010000 40636682 0a000001 0a000002",
	 MACS "0800 45000014 00010000 40636682 0a000001 0a000002", F(ip_proto), "11"},
	{"fragment", MACS "0800 45000014 00010000 40636682 0a000001 0a000002",
	 MACS "0800 45000014 00010000 40636682 0a000001 0a000002", F(ip_frag), "01"},
	{"type", MACS "88cc 0000", MACS "88cc 0000", F(eth_type), "0800"},
	{"a tag that is not there", MACS "88cc 0000", MACS "88cc 0000", F(vlan[0]), "81001064"},
	{"a label that is not there", MACS "8847 00064140 0000", MACS "8847 00064140 0000", F(mpls_lse[1]), "00000101"},
	{"mark", MACS "88cc 0000", MACS "88cc 0000", F(skb_mark), "11223344"},
	{"tunnel", MACS "88cc 0000", MACS "88cc 0000", F4(tun_dst), "0a000001"},
	{"address without IP", MACS "88cc 0000 0000 0000", MACS "88cc 0000 0000 0000", F4(ip_dst), "0a000001"},
};

static void one_field(void **state)
{
	uint8_t before[128], after[128], value[64];
	struct xv_flow_key from, to;
	struct xv_flow_layout layout;
	unsigned int i, n;

	for (i = 0; i < RTE_DIM(examples); i++) {
		const struct example *e = &examples[i];
		struct rte_mbuf *m;

		n = unit_hex(e->before, before, sizeof(before));
		assert_int_equal(unit_hex(e->after, after, sizeof(after)), n);
		assert_int_equal(unit_hex(e->value, value, sizeof(value)), e->size);
		m = unit_packet(pool, before, n, NULL);
		extract(m, &from, &layout);
		to = from;
		memcpy((uint8_t *)&to + e->offset, value, e->size);
		if (xv_edit_apply(m, &layout, &from, &to) != 0 || memcmp(rte_pktmbuf_mtod(m, void *), after, n) != 0)
			fail_msg("%s", e->what);
		rte_pktmbuf_free(m);
	}
}

/* The CRC is updated without a look at the payload, wherever that is. */
static void sctp_of_any_length(void **state)
{
	static uint8_t bytes[65549], after[65549];
	uint32_t bits, len, crc, crc_at = 14 + 20 + 8;
	struct xv_flow_key from, to;
	struct xv_flow_layout layout;
	struct rte_mbuf *m;

	fill(bytes, sizeof(bytes));
	for (bits = 5; bits < 16; bits++) {
		len = 20 + (1u << bits) + roll(1u << bits);
		len = RTE_MIN(len, 65535u);
		unit_hex(MACS "0800 4500", bytes, 16);
		put16(bytes + 16, len);
		memcpy(bytes + 18, (const uint8_t[]){0, 0, 0, 0, 64, 132}, 6);
		memset(bytes + crc_at, 0, 4);
		crc = rte_cpu_to_le_32(crc32c(bytes + 34, len - 20));
		memcpy(bytes + crc_at, &crc, 4);
		m = unit_packet(pool, bytes, 14 + len, NULL);
		extract(m, &from, &layout);
		to = from;
		fill((uint8_t *)&to.tp_src, 2);
		fill((uint8_t *)&to.tp_dst, 2);
		assert_int_equal(xv_edit_apply(m, &layout, &from, &to), 0);
		memcpy(after, bytes, sizeof(after));
		memcpy(after + 34, &to.tp_src, 2);
		memcpy(after + 36, &to.tp_dst, 2);
		memset(after + crc_at, 0, 4);
		crc = rte_cpu_to_le_32(crc32c(after + 34, len - 20));
		memcpy(after + crc_at, &crc, 4);
		assert_memory_equal(rte_pktmbuf_mtod(m, void *), after, m->data_len);
		rte_pktmbuf_free(m);
	}
}

/* Packets that begin with L3, MPLS or NSH: their offset is 0, and is meant. */
static void without_ethernet(void **state)
{
	static const struct {
		uint32_t type;
		const char *before, *after;
		size_t offset;
		uint8_t value;
	} cases[] = {
		{0x10800, "45000014 00010000 40636682 0a000001 0a000002",
		 "45000014 00010000 3f636782 0a000001 0a000002", offsetof(struct xv_flow_key, ip_ttl), 0x3f},
		{0x18847, "00064140 000c8140", "00064141 000c8140", offsetof(struct xv_flow_key, mpls_lse) + 3, 0x41},
		{0x1894f, "0fc50203 00000aff 00000001 00000002 00000003",
		 "0fc50203 00000afe 00000001 00000002 00000003", offsetof(struct xv_flow_key, nsh_path_hdr) + 3,
		 0xfe},
		/* Malformed: no L3, and no Ethernet either. */
		{0x10800, "45000099 00010000 40636682 0a000001 0a000002",
		 "45000099 00010000 40636682 0a000001 0a000002", offsetof(struct xv_flow_key, ip_ttl), 0x3f},
		{0x10800, "45000014 00010000 40636682 0a000001 0a000002",
		 "45000014 00010000 40636682 0a000001 0a000002", offsetof(struct xv_flow_key, eth_dst), 0x3f},
	};
	struct xv_flow_layout layout;
	struct xv_flow_key from, to;
	uint8_t bytes[64];
	struct rte_mbuf *m;
	unsigned int i, n;

	for (i = 0; i < RTE_DIM(cases); i++) {
		n = unit_hex(cases[i].before, bytes, sizeof(bytes));
		m = unit_packet(pool, bytes, n, NULL);
		memset(&from, 0, sizeof(from));
		from.packet_type = rte_cpu_to_be_32(cases[i].type);
		xv_flow_extract(bytes, (uint16_t)n, n, &from, &layout);
		to = from;
		((uint8_t *)&to)[cases[i].offset] = cases[i].value;
		assert_int_equal(xv_edit_apply(m, &layout, &from, &to), 0);
		unit_hex(cases[i].after, bytes, sizeof(bytes));
		assert_memory_equal(rte_pktmbuf_mtod(m, void *), bytes, n);
		rte_pktmbuf_free(m);
	}
}

/* A layout that is not the packet's: nothing beyond the first segment is touched. */
static void beyond_the_first_segment(void **state)
{
	static struct frame f;
	struct xv_flow_key from, to;
	struct xv_flow_layout layout;
	struct rte_mbuf *m;
	unsigned int i, refused = 0;

	for (i = 0; i < 20000; i++) {
		build(&f);
		m = packet(&f);
		extract(m, &from, &layout);
		to = from;
		change(&f, &to);
		rte_pktmbuf_free(m);

		/* The bytes end at the end of the buffer, where a sanitizer would see more. */
		m = rte_pktmbuf_alloc(pool);
		m->data_len = (uint16_t)roll(90);
		m->pkt_len = m->data_len;
		m->data_off = (uint16_t)(m->buf_len - m->data_len);
		memcpy(rte_pktmbuf_mtod(m, void *), f.data, m->data_len);
		refused += xv_edit_apply(m, &layout, &from, &to) == -EINVAL;
		rte_pktmbuf_free(m);
	}
	assert_true(refused > 1000);
}

static int setup(void **state)
{
	if (unit_eal_init(state) != 0)
		return -1;
	pool = unit_pool_create("edit", POOL_SIZE);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_field),
		cmocka_unit_test(sctp_of_any_length),
		cmocka_unit_test(without_ethernet),
		cmocka_unit_test(random_edits),
		cmocka_unit_test(wrong_checksums_stay_wrong),
		cmocka_unit_test(beyond_the_first_segment),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
