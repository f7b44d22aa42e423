/* SPDX-License-Identifier: Apache-2.0 */
#include "net/push_pop.h"

#include <errno.h>

#include <rte_mbuf.h>

#include "net/bytes.h"
#include "net/packet.h"

#define ETH_IPV4   0x0800
#define ETH_TEB	   0x6558 /* an Ethernet frame */
#define ETH_8021Q  0x8100
#define ETH_IPV6   0x86dd
#define ETH_MPLS   0x8847
#define ETH_MPLS_M 0x8848
#define ETH_8021AD 0x88a8
#define ETH_NSH	   0x894f

#define ETH_LEN	    14
#define MACS_LEN    12
#define VLAN_LEN    4
#define MPLS_LEN    4
#define NSH_LEN	    8
#define NSH_MD1_LEN 16
#define NSH_MAX_LEN 252 /* 6 bits that count words */

#define VLAN_DEI	   0x1000 /* in the key: there is a tag */
#define MPLS_BOTTOM	   0x100
#define ETH_LENGTH_MAX	   0x05ff
#define PACKET_TYPE(type)  (1u << 16 | (type)) /* of a packet that begins with what this Ethernet type says */

/* Next protocol in NSH: RFC 8300, section 2.2. */
enum { NSH_IPV4 = 1, NSH_IPV6, NSH_ETHERNET, NSH_NSH };

static inline void store_be16(uint8_t *p, uint16_t v)
{
	v = rte_cpu_to_be_16(v);
	memcpy(p, &v, sizeof(v));
}

static inline bool is_vlan(uint16_t type)
{
	return type == ETH_8021Q || type == ETH_8021AD;
}

static inline bool is_mpls(uint16_t type)
{
	return type == ETH_MPLS || type == ETH_MPLS_M;
}

/* The offload request's checksum, if there is one to finish; NULL else. */
static inline struct xv_offload *csum_request(struct rte_mbuf *m)
{
	struct xv_offload *req = xv_packet_offload(m);

	return (m->ol_flags & XV_PACKET_OFFLOAD) != 0 && (req->flags & XV_OFFLOAD_CSUM) != 0 ? req : NULL;
}

/*
 * Make room for n bytes at offset: what is before it moves to the front. -errno leaves the packet as it was.
 */
static int insert(struct rte_mbuf *m, uint32_t offset, uint16_t n)
{
	struct xv_offload *req = csum_request(m);
	uint8_t *data;

	if (rte_pktmbuf_headroom(m) < n)
		return -ENOBUFS;
	if (req) {
		if (req->csum_start > UINT16_MAX - n)
			return -EPROTO;
		req->csum_start += n;
	}
	data = (uint8_t *)rte_pktmbuf_prepend(m, n);
	memmove(data, data + n, offset);
	return 0;
}

/* Take n bytes out at offset, which the first segment has; what is before them moves back. */
static int cut(struct rte_mbuf *m, uint32_t offset, uint16_t n)
{
	uint8_t *data = rte_pktmbuf_mtod(m, uint8_t *);
	struct xv_offload *req = csum_request(m);

	if (req) {
		if (req->csum_start < offset + n)
			return -EPROTO;
		req->csum_start -= n;
	}
	memmove(data + n, data, offset);
	rte_pktmbuf_adj(m, n);
	return 0;
}

/* The headers behind L2 are n bytes further back (or, if negative, to the front). */
static void shift_layout(struct xv_flow_layout *layout, int n)
{
	layout->l2_5 = (uint16_t)(layout->l2_5 ? layout->l2_5 + n : 0);
	layout->l3 = (uint16_t)(layout->l3 ? layout->l3 + n : 0);
	layout->l4 = (uint16_t)(layout->l4 ? layout->l4 + n : 0);
	layout->payload_end = layout->payload_end ? layout->payload_end + (uint32_t)n : 0;
}

/* A new first header at byte 0: what the key said of the packet is behind it now. */
static void describe(struct xv_flow_key *key, struct xv_flow_layout *layout, uint16_t type)
{
	xv_flow_clear_packet(key);
	key->packet_type = rte_cpu_to_be_32(PACKET_TYPE(type));
	key->eth_type = rte_cpu_to_be_16(type);
	*layout = (struct xv_flow_layout){0};
}

/* Forget L3 and L4. */
static void forget_l3(struct xv_flow_key *key, struct xv_flow_layout *layout)
{
	memset((uint64_t *)key + XV_FLOW_STAGE_L3, 0, (XV_FLOW_FIXED_WORDS - XV_FLOW_STAGE_L3) * 8);
	*layout = (struct xv_flow_layout){.l2_5 = layout->l2_5};
}

/*
 * Where the Ethernet header ends, with as many VLAN tags as a key shows; the type is in the two bytes before. 0 if the
 * first segment does not have it all.
 */
static uint32_t eth_end(const struct rte_mbuf *m)
{
	const uint8_t *data = rte_pktmbuf_mtod(m, const uint8_t *);
	uint32_t end = ETH_LEN;
	unsigned int i;

	if (m->data_len < end)
		return 0;
	for (i = 0; i < XV_FLOW_MAX_VLANS && is_vlan(xv_load_be16(data + end - 2)); i++) {
		end += VLAN_LEN;
		if (m->data_len < end)
			return 0;
	}
	return end;
}

int xv_vlan_push(struct rte_mbuf *m, struct xv_flow_key *key, struct xv_flow_layout *layout, rte_be16_t tpid,
		 rte_be16_t tci)
{
	uint8_t *data;
	bool third;
	int rc;

	if (key->packet_type != 0 || m->data_len < ETH_LEN || !is_vlan(rte_be_to_cpu_16(tpid)))
		return -EINVAL;
	rc = insert(m, MACS_LEN, VLAN_LEN);
	if (rc != 0)
		return rc;
	data = rte_pktmbuf_mtod(m, uint8_t *);
	store_be16(data + MACS_LEN, rte_be_to_cpu_16(tpid));
	store_be16(data + MACS_LEN + 2, rte_be_to_cpu_16(tci) & (uint16_t)~VLAN_DEI);

	third = key->vlan[1].tpid != 0;
	key->vlan[1] = key->vlan[0];
	key->vlan[0].tpid = tpid;
	key->vlan[0].tci = tci | RTE_BE16(VLAN_DEI);
	shift_layout(layout, VLAN_LEN);
	return third ? XV_PUSH_POP_EXTRACT : 0;
}

int xv_vlan_pop(struct rte_mbuf *m, struct xv_flow_key *key, struct xv_flow_layout *layout)
{
	bool known = key->vlan[0].tpid != 0 && !is_vlan(rte_be_to_cpu_16(key->eth_type));
	int rc;

	if (key->packet_type != 0 || m->data_len < ETH_LEN + VLAN_LEN ||
	    !is_vlan(xv_load_be16(rte_pktmbuf_mtod_offset(m, const uint8_t *, MACS_LEN))))
		return -ENOENT;
	rc = cut(m, MACS_LEN, VLAN_LEN);
	if (rc != 0)
		return rc;
	key->vlan[0] = key->vlan[1];
	memset(&key->vlan[1], 0, sizeof(key->vlan[1]));
	shift_layout(layout, -VLAN_LEN);
	return known ? 0 : XV_PUSH_POP_EXTRACT;
}

int xv_mpls_push(struct rte_mbuf *m, struct xv_flow_key *key, struct xv_flow_layout *layout, rte_be32_t lse,
		 rte_be16_t type, bool before_l2)
{
	bool bottom = (lse & RTE_BE32(MPLS_BOTTOM)) != 0, stacked = is_mpls(rte_be_to_cpu_16(key->eth_type));
	bool at_start = before_l2 || key->packet_type != 0;
	uint32_t offset = 0;
	uint8_t *data;
	int rc;

	if (!is_mpls(rte_be_to_cpu_16(type)))
		return -EINVAL;
	if (!at_start) {
		offset = eth_end(m);
		/* 802.3: the length is no type that could be replaced. */
		if (offset == 0 ||
		    xv_load_be16(rte_pktmbuf_mtod_offset(m, const uint8_t *, offset - 2)) <= ETH_LENGTH_MAX)
			return -EINVAL;
	} else if (key->packet_type == 0) {
		stacked = false; /* the label that the frame begins with is the first, whatever is in the frame */
	}
	rc = insert(m, offset, MPLS_LEN);
	if (rc != 0)
		return rc;
	data = rte_pktmbuf_mtod(m, uint8_t *);
	memcpy(data + offset, &lse, sizeof(lse));
	if (at_start) {
		if (!stacked)
			describe(key, layout, rte_be_to_cpu_16(type));
		key->packet_type = rte_cpu_to_be_32(PACKET_TYPE(rte_be_to_cpu_16(type)));
	} else {
		store_be16(data + offset - 2, rte_be_to_cpu_16(type));
	}
	key->eth_type = type;
	if (stacked) {
		memmove(key->mpls_lse + 1, key->mpls_lse, sizeof(key->mpls_lse) - sizeof(lse));
		key->mpls_depth = (uint8_t)RTE_MIN(key->mpls_depth + 1, XV_FLOW_MAX_MPLS);
	} else {
		memset((uint8_t *)key + offsetof(struct xv_flow_key, mpls_lse), 0,
		       XV_FLOW_STAGE_L3 * 8 - offsetof(struct xv_flow_key, mpls_lse));
		key->mpls_depth = 1;
	}
	key->mpls_lse[0] = lse;
	forget_l3(key, layout);
	layout->l2_5 = (uint16_t)offset;
	/* A stack that seems to go on in what is no label, or to end where labels follow. */
	return bottom == stacked ? XV_PUSH_POP_EXTRACT : 0;
}

int xv_mpls_pop(struct rte_mbuf *m, struct xv_flow_key *key, struct xv_flow_layout *layout, rte_be16_t type)
{
	uint16_t now = (uint16_t)rte_be_to_cpu_32(key->packet_type);
	uint8_t *data = rte_pktmbuf_mtod(m, uint8_t *);
	uint32_t offset = 0;
	rte_be32_t lse;
	int rc;

	if (key->packet_type == 0) {
		offset = eth_end(m);
		if (offset == 0)
			return -ENOENT;
		now = xv_load_be16(data + offset - 2);
	}
	if (!is_mpls(now) || m->data_len < offset + MPLS_LEN)
		return -ENOENT;
	memcpy(&lse, data + offset, sizeof(lse));
	rc = cut(m, offset, MPLS_LEN);
	if (rc != 0)
		return rc;
	if (key->packet_type == 0)
		store_be16(rte_pktmbuf_mtod_offset(m, uint8_t *, offset - 2), rte_be_to_cpu_16(type));
	else if (type == RTE_BE16(ETH_TEB))
		key->packet_type = 0;
	else
		key->packet_type = rte_cpu_to_be_32(PACKET_TYPE(rte_be_to_cpu_16(type)));
	key->eth_type = type;
	/* Beyond XV_FLOW_MAX_MPLS entries the key does not say what comes up from below. */
	if (!is_mpls(rte_be_to_cpu_16(type)) || (lse & RTE_BE32(MPLS_BOTTOM)) != 0 || key->mpls_depth < 2 ||
	    key->mpls_depth >= XV_FLOW_MAX_MPLS)
		return XV_PUSH_POP_EXTRACT;
	memmove(key->mpls_lse, key->mpls_lse + 1, sizeof(key->mpls_lse) - sizeof(lse));
	key->mpls_lse[XV_FLOW_MAX_MPLS - 1] = 0;
	key->mpls_depth--;
	layout->l2_5 = (uint16_t)offset;
	return 0;
}

/* NSH's name of what a packet of this type begins with; 0 if it has none. */
static uint8_t nsh_next(rte_be32_t packet_type)
{
	switch (rte_be_to_cpu_32(packet_type)) {
	case 0:
		return NSH_ETHERNET;
	case PACKET_TYPE(ETH_IPV4):
		return NSH_IPV4;
	case PACKET_TYPE(ETH_IPV6):
		return NSH_IPV6;
	case PACKET_TYPE(ETH_NSH):
		return NSH_NSH;
	default:
		return 0;
	}
}

int xv_nsh_push(struct rte_mbuf *m, struct xv_flow_key *key, struct xv_flow_layout *layout, const struct xv_nsh *nsh)
{
	uint8_t next = nsh_next(key->packet_type), *data;
	uint32_t md_len = nsh->mdtype == 1 ? NSH_MD1_LEN : nsh->md2_len, len = NSH_LEN + md_len;
	int rc;

	if (next == 0 || (nsh->mdtype != 1 && nsh->mdtype != 2) || len % 4 != 0 || len > NSH_MAX_LEN)
		return -EINVAL;
	rc = insert(m, 0, (uint16_t)len);
	if (rc != 0)
		return rc;
	data = rte_pktmbuf_mtod(m, uint8_t *);
	store_be16(data, (uint16_t)((nsh->flags & 3) << 12 | (nsh->ttl & 0x3f) << 6 | len / 4));
	data[2] = nsh->mdtype;
	data[3] = next;
	memcpy(data + 4, &nsh->path_hdr, sizeof(nsh->path_hdr));
	if (nsh->mdtype == 1)
		memcpy(data + NSH_LEN, nsh->context, NSH_MD1_LEN);
	else if (md_len > 0)
		memcpy(data + NSH_LEN, nsh->md2, md_len);

	describe(key, layout, ETH_NSH);
	key->nsh_flags = nsh->flags & 3;
	key->nsh_ttl = nsh->ttl & 0x3f;
	key->nsh_mdtype = nsh->mdtype;
	key->nsh_np = next;
	key->nsh_path_hdr = nsh->path_hdr;
	if (nsh->mdtype == 1)
		memcpy(key->nsh_context, nsh->context, sizeof(key->nsh_context));
	return 0;
}

int xv_nsh_pop(struct rte_mbuf *m, struct xv_flow_key *key, struct xv_flow_layout *layout)
{
	static const uint16_t types[] = {[NSH_IPV4] = ETH_IPV4, [NSH_IPV6] = ETH_IPV6, [NSH_NSH] = ETH_NSH};
	const uint8_t *nsh = rte_pktmbuf_mtod(m, const uint8_t *);
	uint8_t next;
	uint16_t len;
	int rc;

	if (key->packet_type != RTE_BE32(PACKET_TYPE(ETH_NSH)) || m->data_len < NSH_LEN)
		return -ENOENT;
	next = nsh[3];
	len = (uint16_t)((nsh[1] & 0x3f) * 4);
	if (nsh[0] >> 6 != 0 || len < NSH_LEN || len > m->data_len || next < NSH_IPV4 || next > NSH_NSH)
		return -ENOENT;
	rc = cut(m, 0, len);
	if (rc != 0)
		return rc;
	describe(key, layout, types[next]);
	if (next == NSH_ETHERNET)
		key->packet_type = 0;
	return XV_PUSH_POP_EXTRACT;
}

int xv_eth_push(struct rte_mbuf *m, struct xv_flow_key *key, struct xv_flow_layout *layout, const uint8_t dst[6],
		const uint8_t src[6])
{
	uint32_t type = rte_be_to_cpu_32(key->packet_type);
	uint8_t *data;
	int rc;

	if (type >> 16 != 1)
		return -EINVAL;
	rc = insert(m, 0, ETH_LEN);
	if (rc != 0)
		return rc;
	data = rte_pktmbuf_mtod(m, uint8_t *);
	memcpy(data, dst, 6);
	memcpy(data + 6, src, 6);
	store_be16(data + MACS_LEN, (uint16_t)type);

	key->packet_type = 0;
	memcpy(key->eth_dst, dst, 6);
	memcpy(key->eth_src, src, 6);
	key->eth_type = rte_cpu_to_be_16((uint16_t)type);
	shift_layout(layout, ETH_LEN);
	/* What began at byte 0 had an offset that looks like "not there". */
	if (layout->payload_end != 0)
		layout->l3 = ETH_LEN;
	else if (key->mpls_depth > 0 || key->nsh_mdtype == 1 || key->nsh_mdtype == 2)
		layout->l2_5 = ETH_LEN;
	else if ((uint16_t)type == ETH_NSH || is_vlan((uint16_t)type) || (uint16_t)type <= ETH_LENGTH_MAX)
		return XV_PUSH_POP_EXTRACT;
	return 0;
}

int xv_eth_pop(struct rte_mbuf *m, struct xv_flow_key *key, struct xv_flow_layout *layout)
{
	uint16_t end, type;
	int rc;

	if (key->packet_type != 0)
		return -ENOENT;
	end = (uint16_t)eth_end(m);
	if (end == 0)
		return -ENOENT;
	type = xv_load_be16(rte_pktmbuf_mtod_offset(m, const uint8_t *, end - 2));
	if (type <= ETH_LENGTH_MAX)
		return -EINVAL;
	rc = cut(m, 0, end);
	if (rc != 0)
		return rc;
	key->packet_type = rte_cpu_to_be_32(PACKET_TYPE(type));
	key->eth_type = rte_cpu_to_be_16(type);
	memset(key->eth_dst, 0, sizeof(key->eth_dst));
	memset(key->eth_src, 0, sizeof(key->eth_src));
	memset(key->vlan, 0, sizeof(key->vlan));
	shift_layout(layout, -end);
	return 0;
}
