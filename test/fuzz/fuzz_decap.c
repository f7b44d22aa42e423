/* SPDX-License-Identifier: Apache-2.0 */
/*
 * xv_decap_parse(), and what follows it: the input is a struct input, then a frame. The bytes that are seen lie in a heap
 * buffer of exactly their size, so that a read beyond is noticed. What was read must build the same again.
 */
#include "fuzz.h"

#include <errno.h>
#include <string.h>

#include <rte_mbuf.h>

#include "net/packet.h"
#include "net/tunnel.h"

struct input {
	uint8_t gre;	  /* xv_decap_config.gre */
	uint8_t config;	  /* 1: csum6_required, 2: any option, 4: group policy, 8: a checksum request */
	uint8_t beyond;	  /* the frame is longer by so many bytes than what is seen of it */
	uint8_t csum_start; /* / 2 */
};

/* A packet as those of a pool, in a buffer of our own: no EAL. */
struct packet {
	struct rte_mbuf m;
	uint8_t priv[XV_PACKET_PRIV_SIZE];
};

static void mbuf_of(struct packet *p, uint8_t *buf, uint32_t room, uint32_t len, uint32_t tail)
{
	memset(p, 0, sizeof(*p));
	p->m.buf_addr = buf;
	p->m.buf_len = (uint16_t)(room + len + tail);
	p->m.data_off = (uint16_t)room;
	p->m.data_len = (uint16_t)len;
	p->m.pkt_len = len;
	p->m.priv_size = XV_PACKET_PRIV_SIZE;
	p->m.nb_segs = 1;
	rte_mbuf_refcnt_set(&p->m, 1);
}

static void check(const struct xv_decap *d, const struct xv_flow_key *key, uint32_t len, uint32_t frame_len)
{
	FUZZ_CHECK(d->type > XV_TUNNEL_NONE && d->type <= XV_TUNNEL_MPLS_UDP);
	FUZZ_CHECK(d->l3 >= 14 && d->l4 >= d->l3 + (d->ipv6 ? 40 : 20) && d->strip > d->l4 && d->strip <= len);
	FUZZ_CHECK((uint32_t)d->strip + d->inner_len <= frame_len);
	FUZZ_CHECK((uint32_t)d->l4 + d->l4_len == (uint32_t)d->strip + d->inner_len);
	FUZZ_CHECK(key->tun_options_len % 4 == 0 && key->tun_options_len <= 252);
	FUZZ_CHECK(!key->tun_options_len || d->type == XV_TUNNEL_GENEVE);
	FUZZ_CHECK(!!(key->tun_flags & XV_TUN_IPV6) == d->ipv6 && !!(key->tun_flags & XV_TUN_CSUM) == d->has_csum);
	if (d->type == XV_TUNNEL_GRE || d->type == XV_TUNNEL_NVGRE || d->type == XV_TUNNEL_MPLS_GRE)
		FUZZ_CHECK(key->tun_tp_src == 0 && key->tun_tp_dst == 0);
	else
		FUZZ_CHECK(key->tun_tp_dst != 0);
	FUZZ_CHECK(rte_be_to_cpu_64(key->tun_id) <= (d->type == XV_TUNNEL_GRE ? UINT32_MAX : 0xffffff));
	FUZZ_CHECK(!d->guessed || d->type == XV_TUNNEL_MPLS_GRE || d->type == XV_TUNNEL_MPLS_UDP);
}

/* Build headers from what was read, in front of what was left: they read the same. */
static void again(const struct xv_decap *d, const struct xv_flow_key *key, const struct xv_decap_config *config,
		  const uint8_t *inner, uint32_t inner_len)
{
	const uint32_t room = XV_ENCAP_MAX + XV_ENCAP_BLOCK;
	struct xv_encap_params params = {.type = d->type, .packet_type = d->packet_type};
	uint8_t *buf = malloc(room + inner_len);
	struct xv_encap_packet per_packet = {.seq = d->gre_seq, .hash = 1};
	struct xv_flow_key key2 = {0};
	enum xv_decap_result result;
	struct packet p;
	struct xv_encap e;
	struct xv_decap d2;
	int rc;

	FUZZ_CHECK(buf);
	memcpy(buf + room, inner, inner_len);
	xv_encap_params_from_key(&params, key);
	params.mpls_ttl = 1;
	params.flags |= d->has_seq ? XV_ENCAP_SEQ : 0;
	FUZZ_CHECK(xv_encap_build(&params, &e) == 0);
	mbuf_of(&p, buf, room, inner_len, 0);
	rc = xv_encap_push(&e, &p.m, &per_packet);
	if (rc == 0) {
		result = xv_decap_parse(rte_pktmbuf_mtod(&p.m, const uint8_t *), p.m.data_len, p.m.pkt_len, config,
					&key2, &d2);
		FUZZ_CHECK(result == XV_DECAP_OK);
		FUZZ_CHECK(xv_decap_csum_verify(&p.m, &d2) == XV_DECAP_OK);
		FUZZ_CHECK(d2.type == d->type && d2.inner_len == inner_len && d2.packet_type == d->packet_type);
		FUZZ_CHECK(key2.tun_id == key->tun_id && key2.tun_options_len == key->tun_options_len);
		/* Whether options are critical is now as they say; a TTL or source port of 0 gives way to a default. */
		FUZZ_CHECK(((key2.tun_flags ^ key->tun_flags) & ~(XV_TUN_CRIT_OPT | (key->tun_flags & XV_TUN_IPV6 ? XV_TUN_DF : 0))) == 0);
		FUZZ_CHECK(memcmp(key2.tun_options, key->tun_options, sizeof(key->tun_options)) == 0);
		FUZZ_CHECK(memcmp(&key2.tun_src, &key->tun_src, 32) == 0 && key2.tun_tos == key->tun_tos);
	} else {
		FUZZ_CHECK(rc == -EMSGSIZE);
	}
	free(buf);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint32_t known[] = {0x010280};
	struct xv_decap_config config = {
		.ports = {{RTE_BE16(XV_VXLAN_PORT), XV_TUNNEL_VXLAN, false, false},
			  {RTE_BE16(XV_GENEVE_PORT), XV_TUNNEL_GENEVE, false, false},
			  {RTE_BE16(XV_MPLS_UDP_PORT), XV_TUNNEL_MPLS_UDP, false, false}},
		.n_ports = 3,
		.options = known,
	};
	struct xv_flow_key key = {0}, untouched = {0};
	enum xv_decap_result result;
	struct xv_offload *req;
	struct input in;
	struct packet p;
	struct xv_decap d;
	uint16_t len;
	uint8_t *exact;

	if (size < sizeof(in))
		return 0;
	memcpy(&in, data, sizeof(in));
	len = (uint16_t)RTE_MIN(size - sizeof(in), (size_t)32768);
	config.gre = in.gre;
	config.csum6_required = in.config & 1;
	config.n_options = in.config & 2 ? XV_DECAP_ANY_OPTION : 1;
	config.ports[0].gbp = in.config & 4;
	exact = malloc(len ? len : 1);
	FUZZ_CHECK(exact);
	memcpy(exact, data + sizeof(in), len);
	result = xv_decap_parse(exact, len, (uint32_t)len + in.beyond, &config, &key, &d);
	FUZZ_CHECK(result < XV_DECAP_RESULT_MAX);
	if (result != XV_DECAP_OK) {
		FUZZ_CHECK(memcmp(&key, &untouched, sizeof(key)) == 0);
		FUZZ_CHECK(result != XV_DECAP_UNSEEN || in.beyond > 0);
		goto out;
	}
	check(&d, &key, len, (uint32_t)len + in.beyond);
	if (in.beyond)
		goto out;
	mbuf_of(&p, exact, 0, len, 0);
	req = xv_packet_offload(&p.m);
	if (in.config & 8) {
		*req = (struct xv_offload){.flags = XV_OFFLOAD_CSUM, .csum_start = in.csum_start * 2u, .csum_offset = 6};
		p.m.ol_flags |= XV_PACKET_OFFLOAD;
	}
	result = xv_decap_csum_verify(&p.m, &d);
	FUZZ_CHECK(result == XV_DECAP_OK || (d.has_csum && (result == XV_DECAP_UDP_CSUM || result == XV_DECAP_GRE_CSUM)));
	FUZZ_CHECK(xv_decap_strip(&p.m, &d) == 0);
	FUZZ_CHECK(p.m.pkt_len == d.inner_len && p.m.data_len == d.inner_len && p.m.data_off == d.strip);
	if (p.m.ol_flags & XV_PACKET_OFFLOAD)
		FUZZ_CHECK((uint32_t)req->csum_start + req->csum_offset + 2 <= p.m.pkt_len);
	again(&d, &key, &config, exact + d.strip, d.inner_len);
out:
	free(exact);
	return 0;
}
