/* SPDX-License-Identifier: Apache-2.0 */
#include "net/tunnel.h"

#include <errno.h>
#include <string.h>

#include <rte_mbuf.h>

#include "net/bytes.h"
#include "net/checksum.h"
#include "net/packet.h"

#define ETH_LEN		14
#define VLAN_LEN	4
#define ETH_IPV4	0x0800
#define ETH_IPV6	0x86dd
#define ETH_8021Q	0x8100
#define ETH_8021AD	0x88a8
#define ETH_MPLS	0x8847
#define ETH_TEB		0x6558
#define ETH_NSH		0x894f
#define IPV4_LEN	20
#define IPV6_LEN	40
#define UDP_LEN		8
#define PROTO_HOPOPTS	0
#define PROTO_UDP	17
#define PROTO_FRAGMENT	44
#define PROTO_GRE	47
#define PROTO_DSTOPTS	60
#define MAX_VLANS	2
#define MAX_EXTENSIONS	8 /* as net/parse.c */

#define GRE_CSUM     0x8000
#define GRE_KEY	     0x2000
#define GRE_SEQ	     0x1000
/* RFC 2784 section 2.3: bits 1 to 5 must be zero, but for those that RFC 2890 defines; the version, too. The others are
 * reserved and ignored. */
#define GRE_MUST_NOT 0x4c07

#define GENEVE_CRITICAL	   0x80 /* in an option's type */
#define LABEL_IPV4_NULL	   0
#define LABEL_IPV6_NULL	   2
#define LABEL_IMPLICIT_NULL 3

const struct xv_decap_info xv_decap_info[XV_DECAP_RESULT_MAX] = {
#define X(e, n, t) {n, t},
	XV_DECAP_RESULTS(X)
#undef X
};

/* Where we are in the outer headers: the next one begins at offset. */
struct walk {
	const uint8_t *data;
	uint32_t len;	 /* bytes that are seen */
	uint32_t end;	 /* of the frame; then of the IP packet; then of the UDP datagram */
	uint32_t offset;
	uint8_t proto;
	uint8_t tos, ttl;
	bool df;
};

/* What the tunnel header holds for the key. */
struct tunnel {
	uint64_t id;
	uint8_t flags; /* XV_TUN_* */
	uint8_t gbp_flags;
	rte_be16_t gbp_id;
	uint16_t options, options_len; /* offset in the frame, bytes */
};

/* Whether n bytes at the offset can be read. */
static inline enum xv_decap_result need(const struct walk *w, uint32_t n)
{
	if (unlikely(w->offset + n > w->end))
		return XV_DECAP_TRUNCATED;
	return likely(w->offset + n <= w->len) ? XV_DECAP_OK : XV_DECAP_UNSEEN;
}

static inline enum xv_decap_result walk_ethernet(struct walk *w, uint16_t *type)
{
	enum xv_decap_result rc = need(w, ETH_LEN);
	unsigned int n;

	if (rc != XV_DECAP_OK)
		return rc;
	*type = xv_load_be16(w->data + 12);
	w->offset = ETH_LEN;
	for (n = 0; n < MAX_VLANS && (*type == ETH_8021Q || *type == ETH_8021AD); n++) {
		rc = need(w, VLAN_LEN);
		if (rc != XV_DECAP_OK)
			return rc;
		*type = xv_load_be16(w->data + w->offset + 2);
		w->offset += VLAN_LEN;
	}
	return XV_DECAP_OK;
}

static inline enum xv_decap_result walk_ipv4(struct walk *w)
{
	enum xv_decap_result rc = need(w, IPV4_LEN);
	const uint8_t *ip = w->data + w->offset;
	uint32_t header_len, total_len;

	if (rc != XV_DECAP_OK)
		return rc;
	w->proto = ip[9];
	if (w->proto != PROTO_UDP && w->proto != PROTO_GRE)
		return XV_DECAP_NOT_TUNNEL;
	header_len = (ip[0] & 0xf) * 4u;
	total_len = xv_load_be16(ip + 2);
	if (ip[0] >> 4 != 4 || header_len < IPV4_LEN || total_len < header_len)
		return XV_DECAP_IP_HEADER;
	if (w->offset + total_len > w->end)
		return XV_DECAP_TRUNCATED;
	if (w->offset + header_len > w->len)
		return XV_DECAP_UNSEEN;
	if (xv_csum_sum(ip, header_len) != 0xffff)
		return XV_DECAP_IP_CSUM;
	if (xv_load_be16(ip + 6) & 0x3fff) /* more fragments, offset */
		return XV_DECAP_FRAGMENT;
	w->df = xv_load_be16(ip + 6) & 0x4000;
	w->tos = ip[1];
	w->ttl = ip[8];
	w->end = w->offset + total_len;
	w->offset += header_len;
	return XV_DECAP_OK;
}

static enum xv_decap_result walk_ipv6(struct walk *w)
{
	enum xv_decap_result rc = need(w, IPV6_LEN);
	const uint8_t *ip = w->data + w->offset, *ext;
	bool fragment = false;
	unsigned int n;
	uint32_t len;

	if (rc != XV_DECAP_OK)
		return rc;
	if (ip[0] >> 4 != 6)
		return XV_DECAP_IP_HEADER;
	if (w->offset + IPV6_LEN + xv_load_be16(ip + 4) > w->end)
		return XV_DECAP_TRUNCATED;
	w->proto = ip[6];
	w->tos = (uint8_t)(ip[0] << 4 | ip[1] >> 4);
	w->ttl = ip[7];
	w->end = w->offset + IPV6_LEN + xv_load_be16(ip + 4);
	w->offset += IPV6_LEN;
	/* Other tunnel ends put a destination option in front (RFC 2473 section 4.1.1). */
	for (n = 0; n < MAX_EXTENSIONS; n++) {
		if (w->proto != PROTO_HOPOPTS && w->proto != PROTO_DSTOPTS && w->proto != PROTO_FRAGMENT)
			break;
		rc = need(w, 8);
		if (rc != XV_DECAP_OK)
			return rc;
		ext = w->data + w->offset;
		/* An "atomic" fragment (RFC 6946) is a whole packet. */
		fragment |= w->proto == PROTO_FRAGMENT && xv_load_be16(ext + 2) & 0xfff9;
		len = w->proto == PROTO_FRAGMENT ? 8 : (ext[1] + 1u) * 8;
		w->proto = ext[0];
		if (fragment)
			break;
		rc = need(w, len);
		if (rc != XV_DECAP_OK)
			return rc;
		w->offset += len;
	}
	if (w->proto != PROTO_UDP && w->proto != PROTO_GRE)
		return XV_DECAP_NOT_TUNNEL;
	return fragment ? XV_DECAP_FRAGMENT : XV_DECAP_OK;
}

/* What the tunnel header's protocol field says to follow, as packet_type. */
static enum xv_decap_result payload(uint16_t protocol, rte_be32_t *packet_type)
{
	switch (protocol) {
	case ETH_TEB:
		*packet_type = 0;
		return XV_DECAP_OK;
	case ETH_IPV4:
	case ETH_IPV6:
	case ETH_MPLS:
		*packet_type = XV_PACKET_TYPE(protocol);
		return XV_DECAP_OK;
	default:
		return XV_DECAP_PROTOCOL;
	}
}

#define GPE 0x04
#define GPE_OAM 0x01

/* An OAM packet carries nothing that could be forwarded. */
static enum xv_decap_result gpe_payload(const uint8_t *vxlan, rte_be32_t *packet_type)
{
	static const uint16_t types[] = {[1] = ETH_IPV4, [2] = ETH_IPV6, [3] = 0, [4] = ETH_NSH};
	uint8_t protocol = vxlan[3];

	if (vxlan[0] & GPE_OAM || protocol == 0 || protocol >= sizeof(types) / sizeof(types[0]))
		return XV_DECAP_PROTOCOL;
	*packet_type = types[protocol] == 0 ? 0 : XV_PACKET_TYPE(types[protocol]);
	return XV_DECAP_OK;
}

static enum xv_decap_result walk_vxlan(struct walk *w, const struct xv_decap_port *port, struct tunnel *t,
				       rte_be32_t *packet_type)
{
	enum xv_decap_result rc = need(w, 8);
	const uint8_t *vxlan = w->data + w->offset;

	if (rc != XV_DECAP_OK)
		return rc;
	if (!(vxlan[0] & 0x08))
		return XV_DECAP_VXLAN_FLAGS;
	if (port->gbp && vxlan[0] & 0x80) {
		t->flags |= XV_TUN_GBP;
		t->gbp_flags = vxlan[1] & 0x48;
		memcpy(&t->gbp_id, vxlan + 2, 2);
	}
	t->flags |= XV_TUN_KEY;
	t->id = xv_load_be32(vxlan + 4) >> 8;
	w->offset += 8;
	return port->gpe && vxlan[0] & GPE ? gpe_payload(vxlan, packet_type) : XV_DECAP_OK;
}

static bool option_known(const struct xv_decap_config *config, uint32_t option)
{
	unsigned int i;

	if (config->n_options == XV_DECAP_ANY_OPTION)
		return true;
	for (i = 0; i < config->n_options; i++)
		if (config->options[i] == option)
			return true;
	return false;
}

static enum xv_decap_result walk_geneve(struct walk *w, const struct xv_decap_config *config, struct tunnel *t,
					rte_be32_t *packet_type)
{
	enum xv_decap_result rc = need(w, 8);
	const uint8_t *geneve = w->data + w->offset, *option;
	uint32_t len, offset, option_len;
	bool unknown = false;

	if (rc != XV_DECAP_OK)
		return rc;
	if (geneve[0] >> 6 != 0)
		return XV_DECAP_GENEVE_VERSION;
	len = (geneve[0] & 0x3fu) * 4;
	t->flags |= XV_TUN_KEY;
	t->flags |= geneve[1] & 0x80 ? XV_TUN_OAM : 0;
	t->flags |= geneve[1] & 0x40 ? XV_TUN_CRIT_OPT : 0;
	t->id = xv_load_be32(geneve + 4) >> 8;
	w->offset += 8;
	rc = need(w, len);
	if (rc != XV_DECAP_OK)
		return rc;
	/* Each round takes at least 4 of at most 252 bytes. */
	for (offset = 0; offset < len; offset += option_len) {
		option = w->data + w->offset + offset;
		option_len = 4 + (option[3] & 0x1fu) * 4;
		if (offset + option_len > len)
			return XV_DECAP_GENEVE_OPTIONS;
		if (option[2] & GENEVE_CRITICAL)
			unknown |= !option_known(config, xv_load_be32(option) >> 8);
	}
	if (unknown)
		return XV_DECAP_GENEVE_CRITICAL;
	t->options = (uint16_t)w->offset;
	t->options_len = (uint16_t)len;
	w->offset += len;
	return payload(xv_load_be16(geneve + 2), packet_type);
}

/*
 * The top label becomes the id. What is behind the bottom of the stack no field tells: explicit null labels do (RFC 3032
 * section 2.1), for others the first nibble is a hint.
 */
static enum xv_decap_result walk_mpls(struct walk *w, struct tunnel *t, struct xv_decap *out)
{
	enum xv_decap_result rc = need(w, 4);
	uint32_t lse;
	uint8_t nibble;

	if (rc != XV_DECAP_OK)
		return rc;
	lse = xv_load_be32(w->data + w->offset);
	w->offset += 4;
	t->flags |= XV_TUN_KEY;
	t->id = lse >> 12;
	if (t->id == LABEL_IMPLICIT_NULL)
		return XV_DECAP_LABEL;
	if (!(lse & 0x100)) {
		out->packet_type = XV_PACKET_TYPE(ETH_MPLS);
		return XV_DECAP_OK;
	}
	out->guessed = t->id != LABEL_IPV4_NULL && t->id != LABEL_IPV6_NULL;
	if (out->guessed) {
		rc = need(w, 1);
		if (rc != XV_DECAP_OK)
			return rc;
		nibble = w->data[w->offset] >> 4;
	} else {
		nibble = t->id == LABEL_IPV4_NULL ? 4 : 6;
	}
	if (nibble == 4)
		out->packet_type = XV_PACKET_TYPE(ETH_IPV4);
	else if (nibble == 6)
		out->packet_type = XV_PACKET_TYPE(ETH_IPV6);
	return XV_DECAP_OK;
}

static enum xv_decap_result walk_udp(struct walk *w, const struct xv_decap_config *config, struct tunnel *t,
				     struct xv_decap *out)
{
	enum xv_decap_result rc = need(w, UDP_LEN);
	const uint8_t *udp = w->data + w->offset;
	const struct xv_decap_port *port;
	unsigned int i;
	uint32_t len;

	if (rc != XV_DECAP_OK)
		return rc;
	for (i = 0; i < config->n_ports; i++)
		if (memcmp(&config->ports[i].port, udp + 2, 2) == 0)
			break;
	if (i == config->n_ports)
		return XV_DECAP_NOT_TUNNEL;
	port = &config->ports[i];
	len = xv_load_be16(udp + 4);
	if (len < UDP_LEN || w->offset + len > w->end)
		return XV_DECAP_UDP_LEN;
	out->has_csum = xv_load_be16(udp + 6) != 0;
	if (out->ipv6 && !out->has_csum && config->csum6_required)
		return XV_DECAP_UDP_NO_CSUM;
	w->end = w->offset + len;
	w->offset += UDP_LEN;
	out->type = port->type;
	switch (port->type) {
	case XV_TUNNEL_VXLAN:
		return walk_vxlan(w, port, t, &out->packet_type);
	case XV_TUNNEL_GENEVE:
		return walk_geneve(w, config, t, &out->packet_type);
	case XV_TUNNEL_MPLS_UDP:
		return walk_mpls(w, t, out);
	default:
		return XV_DECAP_NOT_TUNNEL;
	}
}

static enum xv_decap_result walk_gre(struct walk *w, const struct xv_decap_config *config, struct tunnel *t,
				     struct xv_decap *out)
{
	enum xv_decap_result rc = need(w, 4);
	const uint8_t *gre = w->data + w->offset;
	uint16_t flags, protocol;
	uint32_t len = 4;

	if (config->gre == 0)
		return XV_DECAP_NOT_TUNNEL;
	if (rc != XV_DECAP_OK)
		return rc;
	flags = xv_load_be16(gre);
	protocol = xv_load_be16(gre + 2);
	if (flags & GRE_MUST_NOT)
		return XV_DECAP_GRE_FLAGS;
	out->has_csum = flags & GRE_CSUM;
	out->has_key = flags & GRE_KEY;
	out->has_seq = flags & GRE_SEQ;
	rc = need(w, 4 + 4 * ((uint32_t)out->has_csum + out->has_key + out->has_seq));
	if (rc != XV_DECAP_OK)
		return rc;
	len += out->has_csum ? 4 : 0;
	if (out->has_key) {
		out->gre_key = xv_load_be32(gre + len);
		len += 4;
	}
	if (out->has_seq) {
		out->gre_seq = xv_load_be32(gre + len);
		len += 4;
	}
	w->offset += len;

	if (protocol == ETH_MPLS && config->gre & XV_DECAP_MPLS_GRE) {
		out->type = XV_TUNNEL_MPLS_GRE;
		return walk_mpls(w, t, out);
	}
	if (out->has_key)
		t->flags |= XV_TUN_KEY;
	/* RFC 7637 section 3.2: with key, without checksum and sequence number. */
	if (protocol == ETH_TEB && config->gre & XV_DECAP_NVGRE) {
		if (out->has_key && !out->has_csum && !out->has_seq) {
			out->type = XV_TUNNEL_NVGRE;
			t->id = out->gre_key >> 8;
			return XV_DECAP_OK;
		}
		if (!(config->gre & XV_DECAP_GRE))
			return XV_DECAP_GRE_FLAGS;
	}
	if (!(config->gre & XV_DECAP_GRE))
		return XV_DECAP_PROTOCOL;
	out->type = XV_TUNNEL_GRE;
	t->id = out->gre_key;
	return payload(protocol, &out->packet_type);
}

static inline void fill_key(const struct walk *w, const struct tunnel *t, const struct xv_decap *out,
			    struct xv_flow_key *key)
{
	const uint8_t *ip = w->data + out->l3, *l4 = w->data + out->l4;

	if (out->ipv6) {
		memcpy(&key->tun_src, ip + 8, 16);
		memcpy(&key->tun_dst, ip + 24, 16);
	} else {
		key->tun_src = key->tun_dst = (union xv_ip_addr){0};
		memcpy(&key->tun_src.words[3], ip + 12, 4);
		memcpy(&key->tun_dst.words[3], ip + 16, 4);
	}
	key->tun_id = rte_cpu_to_be_64(t->id);
	key->tun_tp_src = key->tun_tp_dst = 0;
	if (w->proto == PROTO_UDP) {
		memcpy(&key->tun_tp_src, l4, 2);
		memcpy(&key->tun_tp_dst, l4 + 2, 2);
	}
	key->tun_tos = w->tos;
	key->tun_ttl = w->ttl;
	key->tun_flags = (uint8_t)(t->flags | (out->has_csum ? XV_TUN_CSUM : 0) | (w->df ? XV_TUN_DF : 0) |
				   (out->ipv6 ? XV_TUN_IPV6 : 0));
	key->tun_gbp_flags = t->gbp_flags;
	key->tun_gbp_id = t->gbp_id;
	if (t->options_len)
		memcpy(key->tun_options, w->data + t->options, t->options_len);
	if (key->tun_options_len > t->options_len)
		memset(key->tun_options + t->options_len, 0, key->tun_options_len - t->options_len);
	key->tun_options_len = t->options_len;
}

enum xv_decap_result xv_decap_parse(const uint8_t *data, uint16_t len, uint32_t frame_len,
				    const struct xv_decap_config *config, struct xv_flow_key *key,
				    struct xv_decap *out)
{
	struct walk w = {.data = data, .len = RTE_MIN(len, frame_len), .end = frame_len};
	struct xv_decap decap = {0};
	struct tunnel tunnel = {0};
	enum xv_decap_result rc;
	uint16_t type = 0;

	rc = walk_ethernet(&w, &type);
	if (rc != XV_DECAP_OK)
		return rc;
	decap.l3 = (uint16_t)w.offset;
	decap.ipv6 = type == ETH_IPV6;
	if (type == ETH_IPV4)
		rc = walk_ipv4(&w);
	else if (type == ETH_IPV6)
		rc = walk_ipv6(&w);
	else
		return XV_DECAP_NOT_TUNNEL;
	if (rc != XV_DECAP_OK)
		return rc;
	decap.l4 = (uint16_t)w.offset;
	rc = w.proto == PROTO_UDP ? walk_udp(&w, config, &tunnel, &decap) : walk_gre(&w, config, &tunnel, &decap);
	if (rc != XV_DECAP_OK)
		return rc;
	decap.l4_len = (uint16_t)(w.end - decap.l4);
	decap.strip = (uint16_t)w.offset;
	decap.inner_len = (uint16_t)(w.end - w.offset);
	fill_key(&w, &tunnel, &decap, key);
	*out = decap;
	return XV_DECAP_OK;
}

enum xv_decap_result xv_decap_csum_verify(const struct rte_mbuf *m, const struct xv_decap *d)
{
	const bool udp = d->type != XV_TUNNEL_GRE && d->type != XV_TUNNEL_NVGRE && d->type != XV_TUNNEL_MPLS_GRE;
	const struct xv_offload *req;
	uint32_t summed = d->l4_len;
	uint16_t sum = 0, field;
	const uint8_t *ip;
	uint8_t buf[2];

	if (!d->has_csum)
		return XV_DECAP_OK;
	if (m->ol_flags & XV_PACKET_OFFLOAD) {
		req = (const struct xv_offload *)RTE_PTR_ADD(m, sizeof(*m));
		if (req->flags & XV_OFFLOAD_CSUM_VALID)
			return XV_DECAP_OK;
		if (req->flags & XV_OFFLOAD_CSUM) {
			/* The outer one is to be finished itself; or the inner one is, as when we encapsulate: what
			 * it covers will add up to the complement of what its field holds now. */
			if (req->csum_start <= d->l4)
				return XV_DECAP_OK;
			if ((uint32_t)req->csum_start + req->csum_offset + 2 <= (uint32_t)d->l4 + d->l4_len) {
				summed = (uint32_t)req->csum_start - d->l4;
				memcpy(&field, rte_pktmbuf_read(m, (uint32_t)req->csum_start + req->csum_offset, 2, buf), 2);
				field = (uint16_t)~field;
				sum = summed & 1 ? xv_csum_odd(field) : field;
			}
		}
	}
	sum = xv_csum_add(sum, xv_csum_sum_mbuf(m, d->l4, summed));
	if (udp) {
		ip = rte_pktmbuf_mtod_offset(m, const uint8_t *, d->l3);
		sum = xv_csum_add(sum, d->ipv6 ? xv_csum_pseudo6(ip + 8, ip + 24, PROTO_UDP, d->l4_len)
					       : xv_csum_pseudo4(ip + 12, ip + 16, PROTO_UDP, d->l4_len));
	}
	if (sum == 0xffff)
		return XV_DECAP_OK;
	return udp ? XV_DECAP_UDP_CSUM : XV_DECAP_GRE_CSUM;
}

/* Make m as long as len; 0 or -EBUSY. */
static int cut_tail(struct rte_mbuf *m, uint32_t len)
{
	struct rte_mbuf *seg = m, *rest;
	uint32_t left = len;
	uint16_t n = 1;

	while (left > seg->data_len && seg->next) {
		left -= seg->data_len;
		seg = seg->next;
		n++;
	}
	if (rte_mbuf_refcnt_read(seg) != 1)
		return -EBUSY;
	rest = seg->next;
	seg->next = NULL;
	seg->data_len = (uint16_t)RTE_MIN(left, seg->data_len);
	rte_pktmbuf_free(rest);
	m->nb_segs = n;
	m->pkt_len = len;
	return 0;
}

int xv_decap_strip(struct rte_mbuf *m, const struct xv_decap *d)
{
	struct xv_offload *req = xv_packet_offload(m);
	const bool offload = m->ol_flags & XV_PACKET_OFFLOAD;
	int rc;

	if (unlikely(offload && req->gso_type != XV_GSO_NONE))
		return -EINVAL;
	if (unlikely(rte_mbuf_refcnt_read(m) != 1))
		return -EBUSY;
	if (unlikely(m->pkt_len != (uint32_t)d->strip + d->inner_len)) {
		rc = cut_tail(m, (uint32_t)d->strip + d->inner_len);
		if (rc != 0)
			return rc;
	}
	m->data_off = (uint16_t)(m->data_off + d->strip);
	m->data_len = (uint16_t)(m->data_len - d->strip);
	m->pkt_len -= d->strip;
	if (likely(!offload))
		return 0;
	if (req->flags & XV_OFFLOAD_CSUM && req->csum_start >= d->strip &&
	    (uint32_t)req->csum_start + req->csum_offset + 2 <= (uint32_t)d->strip + d->inner_len) {
		req->flags = XV_OFFLOAD_CSUM;
		req->csum_start = (uint16_t)(req->csum_start - d->strip);
	} else {
		m->ol_flags &= ~XV_PACKET_OFFLOAD;
	}
	return 0;
}

#define NOT_ECT 0
#define ECT_1	1
#define ECT_0	2
#define CE	3

int xv_ecn_decap(uint8_t outer_tos, uint8_t inner_tos)
{
	/* RFC 6040, figure 4: inner by outer. */
	static const int8_t figure4[4][4] = {
		[NOT_ECT] = {[NOT_ECT] = NOT_ECT, [ECT_0] = NOT_ECT, [ECT_1] = NOT_ECT, [CE] = XV_ECN_DROP},
		[ECT_0] = {[NOT_ECT] = ECT_0, [ECT_0] = ECT_0, [ECT_1] = ECT_1, [CE] = CE},
		[ECT_1] = {[NOT_ECT] = ECT_1, [ECT_0] = ECT_1, [ECT_1] = ECT_1, [CE] = CE},
		[CE] = {[NOT_ECT] = CE, [ECT_0] = CE, [ECT_1] = CE, [CE] = CE},
	};

	return figure4[inner_tos & 3][outer_tos & 3];
}

void xv_ecn_set(uint8_t *ip, uint8_t ecn)
{
	uint16_t csum, from, to;

	if (ip[0] >> 4 == 6) { /* bits 10 and 11: RFC 2474 section 3 */
		ip[1] = (uint8_t)((ip[1] & 0xcf) | (ecn & 3) << 4);
		return;
	}
	memcpy(&from, ip, 2);
	ip[1] = (uint8_t)((ip[1] & 0xfc) | (ecn & 3));
	memcpy(&to, ip, 2);
	memcpy(&csum, ip + 10, 2);
	csum = xv_csum_update16(csum, from, to);
	memcpy(ip + 10, &csum, 2);
}
