/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net/tunnel.h on a pipe, for test/virtio/test_tunnel_scapy.py. A line is a command with key=value words, its answer one line:
 *
 *   encap type=1 flags=0 eth_dst=HEX eth_src=HEX vlan=HEX(tpid tci) src=HEX dst=HEX tos= ttl= udp_src= udp_dst= id= ptype=
 *         tc= mpls_ttl= gbp_flags= gbp_id= options=HEX hash= seq= ip_id= inner_tos= inner_ttl= csum=START,OFFSET inner=HEX
 *     ok FRAME [csum=START,OFFSET] | error ERRNO
 *   decap frame=HEX
 *     ok type= ipv6= src= dst= id= flags= tos= ttl= tp_src= tp_dst= gbp_flags= gbp_id= options= ptype= csum= key= seq= inner=
 *     | NAME of enum xv_decap_result
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_mbuf.h>

#include "net/packet.h"
#include "net/tunnel.h"

#define ROOM 512

/* One packet, laid out as those of a pool: nothing here needs EAL. */
static struct {
	struct rte_mbuf m;
	uint8_t priv[XV_PACKET_PRIV_SIZE];
	uint8_t buf[ROOM + 16384];
} packet;

static const struct xv_decap_config config = {
	.ports = {{RTE_BE16(XV_VXLAN_PORT), XV_TUNNEL_VXLAN, true, false},
		  {RTE_BE16(8472), XV_TUNNEL_VXLAN, false, false},
		  {RTE_BE16(XV_GENEVE_PORT), XV_TUNNEL_GENEVE, false, false},
		  {RTE_BE16(XV_MPLS_UDP_PORT), XV_TUNNEL_MPLS_UDP, false, false}},
	.n_ports = 4,
	.gre = XV_DECAP_GRE | XV_DECAP_NVGRE | XV_DECAP_MPLS_GRE,
	.n_options = XV_DECAP_ANY_OPTION,
};

/* The value of a word of the line, or NULL. */
static const char *find(const char *line, const char *name)
{
	size_t n = strlen(name);
	const char *p = line;

	while ((p = strchr(p, ' ')) != NULL)
		if (strncmp(++p, name, n) == 0 && p[n] == '=')
			return p + n + 1;
	return NULL;
}

static uint64_t number(const char *line, const char *name)
{
	const char *value = find(line, name);

	return value ? strtoull(value, NULL, 0) : 0;
}

static unsigned int hex(const char *line, const char *name, uint8_t *bytes, unsigned int max)
{
	const char *value = find(line, name);
	unsigned int n, v;

	for (n = 0; value && n < max && isxdigit((unsigned char)value[2 * n]); n++) {
		if (sscanf(value + 2 * n, "%2x", &v) != 1)
			break;
		bytes[n] = (uint8_t)v;
	}
	return n;
}

static void print_hex(const void *bytes, unsigned int len)
{
	const uint8_t *p = bytes;

	while (len-- > 0)
		printf("%02x", *p++);
}

static void load_packet(const char *line, const char *name)
{
	struct rte_mbuf *m = &packet.m;

	memset(&packet, 0, sizeof(packet));
	m->buf_addr = packet.buf;
	m->buf_len = sizeof(packet.buf) > UINT16_MAX ? UINT16_MAX : sizeof(packet.buf);
	m->data_off = ROOM;
	m->priv_size = XV_PACKET_PRIV_SIZE;
	m->nb_segs = 1;
	rte_mbuf_refcnt_set(m, 1);
	m->data_len = (uint16_t)hex(line, name, packet.buf + ROOM, sizeof(packet.buf) - ROOM);
	m->pkt_len = m->data_len;
}

static void encap(const char *line)
{
	static uint8_t options[512];
	const char *csum = find(line, "csum");
	struct xv_offload *req = xv_packet_offload(&packet.m);
	struct xv_encap_packet p = {
		.hash = (uint32_t)number(line, "hash"),
		.seq = (uint32_t)number(line, "seq"),
		.ip_id = rte_cpu_to_be_16((uint16_t)number(line, "ip_id")),
		.tos = (uint8_t)number(line, "inner_tos"),
		.ttl = (uint8_t)number(line, "inner_ttl"),
	};
	struct xv_encap_params params = {
		.type = (enum xv_tunnel_type)number(line, "type"),
		.flags = (uint32_t)number(line, "flags"),
		.tos = (uint8_t)number(line, "tos"),
		.ttl = (uint8_t)number(line, "ttl"),
		.udp_src = rte_cpu_to_be_16((uint16_t)number(line, "udp_src")),
		.udp_dst = rte_cpu_to_be_16((uint16_t)number(line, "udp_dst")),
		.packet_type = rte_cpu_to_be_32((uint32_t)number(line, "ptype")),
		.id = number(line, "id"),
		.mpls_tc = (uint8_t)number(line, "tc"),
		.mpls_ttl = (uint8_t)number(line, "mpls_ttl"),
		.gbp_flags = (uint8_t)number(line, "gbp_flags"),
		.gbp_id = rte_cpu_to_be_16((uint16_t)number(line, "gbp_id")),
		.options = options,
	};
	unsigned int start, offset;
	uint8_t vlan[4], ip[16];
	struct xv_encap e;
	int rc;

	hex(line, "eth_dst", params.eth_dst, 6);
	hex(line, "eth_src", params.eth_src, 6);
	if (hex(line, "vlan", vlan, sizeof(vlan)) == sizeof(vlan)) {
		memcpy(&params.vlan_tpid, vlan, 2);
		memcpy(&params.vlan_tci, vlan + 2, 2);
	}
	start = hex(line, "src", ip, sizeof(ip));
	memcpy(params.src.bytes + 16 - start, ip, start);
	start = hex(line, "dst", ip, sizeof(ip));
	memcpy(params.dst.bytes + 16 - start, ip, start);
	params.options_len = (uint16_t)hex(line, "options", options, sizeof(options));
	load_packet(line, "inner");
	if (csum && sscanf(csum, "%u,%u", &start, &offset) == 2) {
		*req = (struct xv_offload){
			.flags = XV_OFFLOAD_CSUM,
			.csum_start = (uint16_t)start,
			.csum_offset = (uint16_t)offset,
		};
		packet.m.ol_flags |= XV_PACKET_OFFLOAD;
	}
	rc = xv_encap_build(&params, &e);
	if (rc == 0)
		rc = xv_encap_push(&e, &packet.m, &p);
	if (rc != 0) {
		printf("error %d\n", rc);
		return;
	}
	printf("ok ");
	print_hex(rte_pktmbuf_mtod(&packet.m, const uint8_t *), packet.m.data_len);
	if (packet.m.ol_flags & XV_PACKET_OFFLOAD)
		printf(" csum=%u,%u", req->csum_start, req->csum_offset);
	printf("\n");
}

static void decap(const char *line)
{
	struct rte_mbuf *m = &packet.m;
	struct xv_flow_key key = {0};
	enum xv_decap_result rc;
	struct xv_decap d;

	load_packet(line, "frame");
	rc = xv_decap_parse(rte_pktmbuf_mtod(m, const uint8_t *), m->data_len, m->pkt_len, &config, &key, &d);
	if (rc == XV_DECAP_OK)
		rc = xv_decap_csum_verify(m, &d);
	if (rc != XV_DECAP_OK || xv_decap_strip(m, &d) != 0) {
		printf("%s\n", xv_decap_info[rc].name);
		return;
	}
	printf("ok type=%u ipv6=%u src=", d.type, d.ipv6);
	print_hex(d.ipv6 ? key.tun_src.bytes : key.tun_src.bytes + 12, d.ipv6 ? 16 : 4);
	printf(" dst=");
	print_hex(d.ipv6 ? key.tun_dst.bytes : key.tun_dst.bytes + 12, d.ipv6 ? 16 : 4);
	printf(" id=%llu flags=%u tos=%u ttl=%u tp_src=%u tp_dst=%u gbp_flags=%u gbp_id=%u options=",
	       (unsigned long long)rte_be_to_cpu_64(key.tun_id), key.tun_flags, key.tun_tos, key.tun_ttl,
	       rte_be_to_cpu_16(key.tun_tp_src), rte_be_to_cpu_16(key.tun_tp_dst), key.tun_gbp_flags,
	       rte_be_to_cpu_16(key.tun_gbp_id));
	print_hex(key.tun_options, key.tun_options_len);
	printf(" ptype=%u csum=%u key=%u seq=%u inner=", rte_be_to_cpu_32(d.packet_type), d.has_csum, d.gre_key,
	       d.gre_seq);
	print_hex(rte_pktmbuf_mtod(m, const uint8_t *), m->data_len);
	printf("\n");
}

int main(void)
{
	static char line[65536];

	setvbuf(stdout, NULL, _IOLBF, 0);
	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = '\0';
		if (strncmp(line, "encap ", 6) == 0)
			encap(line);
		else if (strncmp(line, "decap ", 6) == 0)
			decap(line);
		else
			printf("error: no such command\n");
	}
	return 0;
}
