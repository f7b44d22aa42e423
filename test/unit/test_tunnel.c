/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tunnels: bytes that another implementation made (scapy; test/virtio/test_tunnel_scapy.py compares many more), round
 * trips through all that the headers allow, every truncation of every sample, and each refusal.
 */
#include "unit.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <rte_mbuf.h>

#include "net/checksum.h"
#include "net/packet.h"
#include "net/tunnel.h"

#define HASH 0x89abcdef
#define ROUNDS 3000
#define FRAME_MAX 4096

#define MACS "060000000002 020000000001 "
#define IPV4(total, proto, csum) "0800 4500" total "12344000 40" proto csum "0a0000010a000002 "
#define IPV6(len, next)                                                                                        \
	"86dd 60000000" len next "40 20010db8000000000000000000000001 20010db8000000000000000000000002 "
#define FRAME "060000000002 020000000001 88b5 0102030405060708090a0b0c0d0e0f1011"
#define DATAGRAM "45b9001f0007000009112fbbc0a80001c0a80002 00010002000bba1e 616263"
#define OPTIONS "01028001 00010002 01030100"

static struct rte_mempool *pool;
static uint64_t seed = 1;

static const union xv_ip_addr v4_src = {.bytes = {[12] = 10, [15] = 1}};
static const union xv_ip_addr v4_dst = {.bytes = {[12] = 10, [15] = 2}};
static const union xv_ip_addr v6_src = {.bytes = {0x20, 0x01, 0x0d, 0xb8, [15] = 1}};
static const union xv_ip_addr v6_dst = {.bytes = {0x20, 0x01, 0x0d, 0xb8, [15] = 2}};

static const struct sample {
	const char *name;
	struct xv_encap_params params;
	const char *options, *inner, *v4, *v6;
	uint8_t tun_flags;
} samples[] = {
	{"VXLAN", {.type = XV_TUNNEL_VXLAN, .id = 0xabcdef}, NULL, FRAME,
	 MACS IPV4("0043", "11", "1474") "c44412b5002f0000 08000000abcdef00",
	 MACS IPV6("002f", "11") "c44412b5002f0000 08000000abcdef00", XV_TUN_KEY},
	{"VXLAN with group policy",
	 {.type = XV_TUNNEL_VXLAN, .id = 100, .flags = XV_ENCAP_GBP, .gbp_flags = 0x48, .gbp_id = RTE_BE16(0x1234)},
	 NULL, FRAME, MACS IPV4("0043", "11", "1474") "c44412b5002f0000 8848123400006400",
	 MACS IPV6("002f", "11") "c44412b5002f0000 8848123400006400", XV_TUN_KEY | XV_TUN_GBP},
	{"VXLAN with checksum, other port",
	 {.type = XV_TUNNEL_VXLAN, .id = 0xabcdef, .flags = XV_ENCAP_CSUM, .udp_dst = RTE_BE16(8472)},
	 NULL, FRAME, MACS IPV4("0043", "11", "1474") "c4442118002f8161 08000000abcdef00",
	 MACS IPV6("002f", "11") "c4442118002f39ef 08000000abcdef00", XV_TUN_KEY | XV_TUN_CSUM},
	{"Geneve", {.type = XV_TUNNEL_GENEVE, .id = 5}, NULL, FRAME,
	 MACS IPV4("0043", "11", "1474") "c44417c1002f0000 0000655800000500",
	 MACS IPV6("002f", "11") "c44417c1002f0000 0000655800000500", XV_TUN_KEY},
	{"Geneve with options and checksum",
	 {.type = XV_TUNNEL_GENEVE, .id = 0xffffff, .flags = XV_ENCAP_CSUM | XV_ENCAP_OAM,
	  .packet_type = XV_PACKET_TYPE(0x0800)},
	 OPTIONS, DATAGRAM, MACS IPV4("004f", "11", "1468") "c44417c1003b0316 03c00800ffffff00" OPTIONS,
	 MACS IPV6("003b", "11") "c44417c1003bbba3 03c00800ffffff00" OPTIONS,
	 XV_TUN_KEY | XV_TUN_CSUM | XV_TUN_OAM | XV_TUN_CRIT_OPT},
	{"GRE", {.type = XV_TUNNEL_GRE}, NULL, FRAME, MACS IPV4("0037", "2f", "1462") "00006558",
	 MACS IPV6("0023", "2f") "00006558", 0},
	{"GRE with checksum, key, sequence number",
	 {.type = XV_TUNNEL_GRE, .id = 0xdeadbeef, .flags = XV_ENCAP_CSUM | XV_ENCAP_KEY | XV_ENCAP_SEQ,
	  .packet_type = XV_PACKET_TYPE(0x0800)},
	 NULL, DATAGRAM, MACS IPV4("0043", "2f", "1456") "b000080027cc0000deadbeef01020304",
	 MACS IPV6("002f", "2f") "b000080027cc0000deadbeef01020304", XV_TUN_KEY | XV_TUN_CSUM},
	{"NVGRE", {.type = XV_TUNNEL_NVGRE, .id = 0xabcdef}, NULL, FRAME,
	 MACS IPV4("003b", "2f", "145e") "20006558abcdef44", MACS IPV6("0027", "2f") "20006558abcdef44", XV_TUN_KEY},
	{"MPLS over GRE",
	 {.type = XV_TUNNEL_MPLS_GRE, .id = 0xabcde, .mpls_tc = 5, .mpls_ttl = 63,
	  .packet_type = XV_PACKET_TYPE(0x0800)},
	 NULL, DATAGRAM, MACS IPV4("003b", "2f", "145e") "00008847abcdeb3f",
	 MACS IPV6("0027", "2f") "00008847abcdeb3f", XV_TUN_KEY},
	{"MPLS over UDP",
	 {.type = XV_TUNNEL_MPLS_UDP, .id = 16, .packet_type = XV_PACKET_TYPE(0x0800)},
	 NULL, DATAGRAM, MACS IPV4("003f", "11", "1478") "c44419eb002b0000 00010140",
	 MACS IPV6("002b", "11") "c44419eb002b0000 00010140", XV_TUN_KEY},
};

static const struct xv_decap_config accept_all = {
	.ports = {{RTE_BE16(XV_VXLAN_PORT), XV_TUNNEL_VXLAN, true, false},
		  {RTE_BE16(8472), XV_TUNNEL_VXLAN, false, false},
		  {RTE_BE16(XV_GENEVE_PORT), XV_TUNNEL_GENEVE, false, false},
		  {RTE_BE16(XV_MPLS_UDP_PORT), XV_TUNNEL_MPLS_UDP, false, false}},
	.n_ports = 4,
	.gre = XV_DECAP_GRE | XV_DECAP_NVGRE | XV_DECAP_MPLS_GRE,
	.n_options = XV_DECAP_ANY_OPTION,
};

static const struct xv_encap_packet usual = {.hash = HASH, .seq = 0x01020304, .ip_id = RTE_BE16(0x1234)};

/* The params of a sample in full. */
static void complete(const struct sample *s, bool v6, uint8_t *options, struct xv_encap_params *p)
{
	*p = s->params;
	p->flags |= XV_ENCAP_DF | (v6 ? XV_ENCAP_IPV6 : 0);
	memcpy(p->eth_dst, "\x06\0\0\0\0\x02", 6);
	memcpy(p->eth_src, "\x02\0\0\0\0\x01", 6);
	p->src = v6 ? v6_src : v4_src;
	p->dst = v6 ? v6_dst : v4_dst;
	if (s->options) {
		p->options_len = (uint16_t)unit_hex(s->options, options, 252);
		p->options = options;
	}
}

static void assert_packet(const struct rte_mbuf *m, const uint8_t *bytes, uint32_t len)
{
	static uint8_t flat[70000];

	assert_int_equal(m->pkt_len, len);
	rte_mbuf_sanity_check(m, 1);
	assert_memory_equal(rte_pktmbuf_read(m, 0, len, flat), bytes, len);
}

static enum xv_decap_result parse(const struct rte_mbuf *m, struct xv_flow_key *key, struct xv_decap *d)
{
	uint8_t *exact = malloc(m->data_len ? m->data_len : 1);
	enum xv_decap_result rc;

	memcpy(exact, rte_pktmbuf_mtod(m, uint8_t *), m->data_len);
	rc = xv_decap_parse(exact, m->data_len, m->pkt_len, &accept_all, key, d);
	free(exact);
	return rc;
}

static void sample_bytes(const struct sample *s, bool v6)
{
	uint8_t options[252], inner[256], outer[512];
	struct rte_mbuf *m, *shared, *head;
	struct xv_flow_key key = {0}, before;
	uint32_t inner_len, outer_len;
	struct xv_encap_params p;
	struct xv_encap e;
	struct xv_decap d;

	print_message("%s over IPv%d\n", s->name, v6 ? 6 : 4);
	complete(s, v6, options, &p);
	inner_len = unit_hex(s->inner, inner, sizeof(inner));
	outer_len = unit_hex(v6 ? s->v6 : s->v4, outer, sizeof(outer));
	memcpy(outer + outer_len, inner, inner_len);
	assert_int_equal(xv_encap_build(&p, &e), 0);
	assert_int_equal(e.len, outer_len);

	m = unit_packet(pool, inner, inner_len, NULL);
	assert_int_equal(xv_encap_push(&e, m, &usual), 0);
	assert_packet(m, outer, outer_len + inner_len);

	shared = unit_packet(pool, inner, inner_len, NULL);
	head = rte_pktmbuf_alloc(pool);
	rte_mbuf_refcnt_update(shared, 1);
	assert_int_equal(xv_encap_push(&e, shared, &usual), -ENOSPC);
	assert_int_equal(xv_encap_push_head(&e, shared, head, &usual), 0);
	assert_packet(head, outer, outer_len + inner_len);
	assert_int_equal(head->nb_segs, 2);
	rte_pktmbuf_free(head);
	assert_packet(shared, inner, inner_len);
	rte_pktmbuf_free(shared);

	before = key;
	memset(&d, 0, sizeof(d));
	assert_int_equal(parse(m, &key, &d), XV_DECAP_OK);
	assert_int_equal(d.type, p.type);
	assert_int_equal(d.ipv6, v6);
	assert_int_equal(d.strip, outer_len);
	assert_int_equal(d.inner_len, inner_len);
	assert_int_equal(d.packet_type, p.packet_type);
	assert_int_equal(d.guessed, p.type == XV_TUNNEL_MPLS_GRE || p.type == XV_TUNNEL_MPLS_UDP);
	assert_int_equal(d.has_seq, (p.flags & XV_ENCAP_SEQ) != 0);
	assert_int_equal(d.gre_seq, d.has_seq ? usual.seq : 0);
	assert_memory_equal(&key.tun_src, &p.src, 16);
	assert_memory_equal(&key.tun_dst, &p.dst, 16);
	assert_int_equal(rte_be_to_cpu_64(key.tun_id), p.id);
	assert_int_equal(key.tun_flags, s->tun_flags | (v6 ? XV_TUN_IPV6 : XV_TUN_DF));
	assert_int_equal(key.tun_ttl, 64);
	assert_int_equal(key.tun_tos, 0);
	assert_int_equal(key.tun_gbp_flags, p.gbp_flags);
	assert_int_equal(key.tun_gbp_id, p.gbp_id);
	assert_int_equal(key.tun_options_len, p.options_len);
	assert_memory_equal(key.tun_options, options, p.options_len);
	assert_memory_equal(&key, &before, offsetof(struct xv_flow_key, tun_src));
	assert_memory_equal(key.eth_dst, before.eth_dst,
			    offsetof(struct xv_flow_key, tun_options) - offsetof(struct xv_flow_key, eth_dst));
	assert_int_equal(xv_decap_csum_verify(m, &d), XV_DECAP_OK);
	assert_int_equal(xv_decap_strip(m, &d), 0);
	assert_packet(m, inner, inner_len);
	rte_pktmbuf_free(m);

	/* What was parsed builds the same again, but for what a key does not have. */
	xv_encap_params_from_key(&p, &key);
	assert_int_equal(xv_encap_build(&p, &e), 0);
	m = unit_packet(pool, inner, inner_len, NULL);
	assert_int_equal(xv_encap_push(&e, m, &usual), 0);
	assert_packet(m, outer, outer_len + inner_len);
	rte_pktmbuf_free(m);
}

static void bytes(void **state)
{
	unsigned int i;

	for (i = 0; i < RTE_DIM(samples); i++) {
		sample_bytes(&samples[i], false);
		sample_bytes(&samples[i], true);
	}
}

static void truncations(void **state)
{
	uint8_t frame[512], *exact;
	struct xv_flow_key key = {0}, untouched;
	enum xv_decap_result rc;
	unsigned int i, k;
	struct xv_decap d;
	uint32_t n, len;

	memset(&untouched, 0, sizeof(untouched));
	for (i = 0; i < 2 * RTE_DIM(samples); i++) {
		n = unit_hex(i & 1 ? samples[i / 2].v6 : samples[i / 2].v4, frame, sizeof(frame));
		k = n;
		n += unit_hex(samples[i / 2].inner, frame + n, sizeof(frame) - n);
		for (len = 0; len <= n; len++) {
			exact = malloc(len ? len : 1);
			memcpy(exact, frame, len);
			/* The frame is cut off. */
			rc = xv_decap_parse(exact, (uint16_t)len, len, &accept_all, &key, &d);
			assert_int_equal(rc, len == n ? XV_DECAP_OK : XV_DECAP_TRUNCATED);
			memset(&key, 0, sizeof(key));
			/* The frame goes on, elsewhere. */
			rc = xv_decap_parse(exact, (uint16_t)len, n, &accept_all, &key, &d);
			if (rc == XV_DECAP_OK)
				assert_true(len >= k && d.strip == k);
			else
				assert_true(rc == XV_DECAP_UNSEEN && len <= k);
			if (rc != XV_DECAP_OK)
				assert_memory_equal(&key, &untouched, sizeof(key));
			memset(&key, 0, sizeof(key));
			free(exact);
		}
	}
}

#define UDP(port) "c000" port "000c0000 "
#define UDP_IPV4 MACS IPV4("0020", "11", "1497")

static const struct refusal {
	const char *name, *hex;
	enum xv_decap_result result;
} refusals[] = {
	{"ARP", MACS "0806 0001080006040001", XV_DECAP_NOT_TUNNEL},
	{"TCP", MACS IPV4("0014", "06", "14ae"), XV_DECAP_NOT_TUNNEL},
	{"IPv6 TCP", MACS IPV6("0000", "06"), XV_DECAP_NOT_TUNNEL},
	{"other port", UDP_IPV4 UDP("0035") "00000000", XV_DECAP_NOT_TUNNEL},
	{"VLAN tag cut off", MACS "8100 0001 08", XV_DECAP_TRUNCATED},
	{"IP version", MACS "0800 55000020 12344000 40110497 0a0000010a000002", XV_DECAP_IP_HEADER},
	{"IHL", MACS "0800 44000020 12344000 40111597 0a0000010a000002", XV_DECAP_IP_HEADER},
	{"total length below the header", MACS IPV4("0013", "11", "14a4"), XV_DECAP_IP_HEADER},
	{"total length beyond the frame", MACS IPV4("0021", "11", "1496") UDP("12b5") "08000000", XV_DECAP_TRUNCATED},
	{"IPv6 version", MACS "86dd 40000000 00001140 20010db8000000000000000000000001 20010db8000000000000000000000002",
	 XV_DECAP_IP_HEADER},
	{"IPv6 length beyond the frame", MACS IPV6("0001", "11"), XV_DECAP_TRUNCATED},
	{"IP checksum", MACS IPV4("0020", "11", "1496") UDP("12b5") "08000000", XV_DECAP_IP_CSUM},
	{"first fragment", MACS "0800 45000020 12342000 40113497 0a0000010a000002" UDP("12b5") "08000000",
	 XV_DECAP_FRAGMENT},
	{"later fragment", MACS "0800 45000020 12340001 40115496 0a0000010a000002" UDP("12b5") "08000000",
	 XV_DECAP_FRAGMENT},
	{"IPv6 fragment", MACS IPV6("0014", "2c") "1100000100000001" UDP("12b5") "08000000", XV_DECAP_FRAGMENT},
	{"IPv6 later fragment", MACS IPV6("0014", "2c") "1100000800000001" UDP("12b5") "08000000", XV_DECAP_FRAGMENT},
	{"IPv6 fragment of TCP", MACS IPV6("0008", "2c") "0600000100000001", XV_DECAP_NOT_TUNNEL},
	{"IPv6 extension beyond the packet", MACS IPV6("0008", "3c") "1101000000000000", XV_DECAP_TRUNCATED},
	{"IPv6, nine extensions",
	 MACS IPV6("0048", "3c") "3c00000000000000 3c00000000000000 3c00000000000000 3c00000000000000"
				 "3c00000000000000 3c00000000000000 3c00000000000000 3c00000000000000 1100000000000000",
	 XV_DECAP_NOT_TUNNEL},
	{"UDP length beyond", UDP_IPV4 "c00012b5000d0000 08000000", XV_DECAP_UDP_LEN},
	{"UDP length below", UDP_IPV4 "c00012b500070000 08000000", XV_DECAP_UDP_LEN},
	{"VXLAN header longer than the datagram", UDP_IPV4 UDP("12b5") "08000000 00000000", XV_DECAP_TRUNCATED},
	{"VXLAN without I", MACS IPV4("0024", "11", "1493") "c00012b500100000 f7000000 00000100", XV_DECAP_VXLAN_FLAGS},
	{"Geneve version", MACS IPV4("0024", "11", "1493") "c00017c100100000 40006558 00000100",
	 XV_DECAP_GENEVE_VERSION},
	{"Geneve options beyond the datagram", MACS IPV4("0024", "11", "1493") "c00017c100100000 01006558 00000100",
	 XV_DECAP_TRUNCATED},
	{"Geneve option beyond the options",
	 MACS IPV4("0028", "11", "148f") "c00017c100140000 01006558 00000100 01020001", XV_DECAP_GENEVE_OPTIONS},
	{"Geneve second option beyond the options",
	 MACS IPV4("002c", "11", "148b") "c00017c100180000 02006558 00000100 01020000 0102001f",
	 XV_DECAP_GENEVE_OPTIONS},
	{"Geneve with IPX", MACS IPV4("0024", "11", "1493") "c00017c100100000 00008137 00000100", XV_DECAP_PROTOCOL},
	{"implicit null label", UDP_IPV4 UDP("19eb") "00003140", XV_DECAP_LABEL},
	{"GRE version 1", MACS IPV4("0018", "2f", "1481") "00016558", XV_DECAP_GRE_FLAGS},
	{"GRE routing", MACS IPV4("0018", "2f", "1481") "40006558", XV_DECAP_GRE_FLAGS},
	{"GRE strict source route", MACS IPV4("0018", "2f", "1481") "08006558", XV_DECAP_GRE_FLAGS},
	{"GRE bit 5", MACS IPV4("0018", "2f", "1481") "04006558", XV_DECAP_GRE_FLAGS},
	{"GRE with IPX", MACS IPV4("0018", "2f", "1481") "00008137", XV_DECAP_PROTOCOL},
	{"GRE key cut off", MACS IPV4("001b", "2f", "147e") "20006558 000000", XV_DECAP_TRUNCATED},
	/* Fine, though unusual. */
	{"GRE, bits that are ignored", MACS IPV4("0018", "2f", "1481") "03f86558", XV_DECAP_OK},
	{"VXLAN, bits that are ignored", MACS IPV4("0024", "11", "1493") "c00012b500100000 7fb70000 000001ff",
	 XV_DECAP_OK},
	{"IP options", MACS "0800 46000028 12344000 4011118d 0a0000010a000002 01010101 c00012b500100000 08000000 00000100",
	 XV_DECAP_OK},
	{"two tags", MACS "88a8 0064 8100 000a" IPV4("0018", "2f", "1481") "00006558", XV_DECAP_OK},
	{"IPv6 destination option", MACS IPV6("000c", "3c") "2f00040104000000 00006558", XV_DECAP_OK},
	{"IPv6 atomic fragment", MACS IPV6("000c", "2c") "2f00000000000001 00006558", XV_DECAP_OK},
	{"label stack", UDP_IPV4 UDP("19eb") "00010040", XV_DECAP_OK},
	{"IPv6 explicit null", UDP_IPV4 UDP("19eb") "00002140", XV_DECAP_OK},
};

static enum xv_decap_result parse_hex(const char *hex, const struct xv_decap_config *config, struct xv_decap *d,
				      struct xv_flow_key *key)
{
	uint8_t frame[512], *exact;
	enum xv_decap_result rc;
	unsigned int n = unit_hex(hex, frame, sizeof(frame));

	exact = malloc(n ? n : 1);
	memcpy(exact, frame, n);
	memset(key, 0, sizeof(*key));
	memset(d, 0, sizeof(*d));
	rc = xv_decap_parse(exact, (uint16_t)n, n, config, key, d);
	free(exact);
	return rc;
}

static void refused(void **state)
{
	struct xv_flow_key key;
	struct xv_decap d;
	unsigned int i;

	for (i = 0; i < RTE_DIM(refusals); i++) {
		print_message("%s\n", refusals[i].name);
		assert_int_equal(parse_hex(refusals[i].hex, &accept_all, &d, &key), refusals[i].result);
	}
	for (i = 0; i < XV_DECAP_RESULT_MAX; i++)
		assert_true(strlen(xv_decap_info[i].name) > 0 && strlen(xv_decap_info[i].explanation) > 0);
}

#define GPE(flags, protocol) MACS IPV4("0024", "11", "1493") "c000211800100000 " flags "0000" protocol " 00000100"

static void configuration(void **state)
{
	static const uint32_t known[] = {0x010301, 0x010280};
	const char *options = MACS IPV4("0030", "11", "1487") "c00017c1001c0000 03406558 00000500" OPTIONS;
	const char *gre_key = MACS IPV4("001c", "2f", "147d") "20006558 12345678";
	const char *gre = MACS IPV4("0018", "2f", "1481") "00006558";
	const char *gre_seq = MACS IPV4("0020", "2f", "1479") "30006558 12345678 00000001";
	const char *gre_mpls = MACS IPV4("001d", "2f", "147c") "00008847 00010140 45";
	const char *zero6 = MACS IPV6("0010", "11") "c00012b500100000 08000000 00000100";
	const char *gbp = MACS IPV4("0024", "11", "1493") "c000211800100000 8808000a 00000100";
	struct xv_decap_config c = accept_all;
	struct xv_flow_key key;
	struct xv_decap d;

	/* Critical options must be known. */
	c.n_options = 0;
	assert_int_equal(parse_hex(options, &c, &d, &key), XV_DECAP_GENEVE_CRITICAL);
	c.options = known;
	c.n_options = 1;
	assert_int_equal(parse_hex(options, &c, &d, &key), XV_DECAP_GENEVE_CRITICAL);
	c.n_options = 2;
	assert_int_equal(parse_hex(options, &c, &d, &key), XV_DECAP_OK);

	/* Key in front of Ethernet. */
	assert_int_equal(parse_hex(gre_key, &c, &d, &key), XV_DECAP_OK);
	assert_int_equal(d.type, XV_TUNNEL_NVGRE);
	assert_int_equal(rte_be_to_cpu_64(key.tun_id), 0x123456);
	assert_int_equal(d.gre_key, 0x12345678);
	assert_int_equal(parse_hex(gre_seq, &c, &d, &key), XV_DECAP_OK);
	assert_int_equal(d.type, XV_TUNNEL_GRE);
	c.gre = XV_DECAP_GRE;
	assert_int_equal(parse_hex(gre_key, &c, &d, &key), XV_DECAP_OK);
	assert_int_equal(d.type, XV_TUNNEL_GRE);
	assert_int_equal(rte_be_to_cpu_64(key.tun_id), 0x12345678);
	assert_int_equal(parse_hex(gre_mpls, &c, &d, &key), XV_DECAP_OK);
	assert_int_equal(d.type, XV_TUNNEL_GRE);
	assert_int_equal(d.packet_type, XV_PACKET_TYPE(0x8847));
	c.gre = XV_DECAP_NVGRE;
	assert_int_equal(parse_hex(gre, &c, &d, &key), XV_DECAP_GRE_FLAGS);
	assert_int_equal(parse_hex(gre_seq, &c, &d, &key), XV_DECAP_GRE_FLAGS);
	assert_int_equal(parse_hex(gre_mpls, &c, &d, &key), XV_DECAP_PROTOCOL);
	c.gre = XV_DECAP_MPLS_GRE;
	assert_int_equal(parse_hex(gre, &c, &d, &key), XV_DECAP_PROTOCOL);
	assert_int_equal(parse_hex(gre_mpls, &c, &d, &key), XV_DECAP_OK);
	assert_true(d.guessed);
	assert_int_equal(d.packet_type, XV_PACKET_TYPE(0x0800));
	c.gre = 0;
	assert_int_equal(parse_hex(gre, &c, &d, &key), XV_DECAP_NOT_TUNNEL);

	/* The label stack and explicit null labels say what follows. */
	assert_int_equal(parse_hex(UDP_IPV4 UDP("19eb") "00010040", &c, &d, &key), XV_DECAP_OK);
	assert_int_equal(d.packet_type, XV_PACKET_TYPE(0x8847));
	assert_false(d.guessed);
	assert_int_equal(parse_hex(UDP_IPV4 UDP("19eb") "00002140", &c, &d, &key), XV_DECAP_OK);
	assert_int_equal(d.packet_type, XV_PACKET_TYPE(0x86dd));
	assert_false(d.guessed);

	assert_int_equal(parse_hex(zero6, &c, &d, &key), XV_DECAP_OK);
	c.csum6_required = true;
	assert_int_equal(parse_hex(zero6, &c, &d, &key), XV_DECAP_UDP_NO_CSUM);

	/* Without the extension its bits are reserved. */
	assert_int_equal(parse_hex(gbp, &c, &d, &key), XV_DECAP_OK);
	assert_int_equal(key.tun_flags, XV_TUN_KEY | XV_TUN_DF);
	assert_int_equal(key.tun_gbp_id, 0);
	c.ports[1].gbp = true;
	assert_int_equal(parse_hex(gbp, &c, &d, &key), XV_DECAP_OK);
	assert_int_equal(key.tun_flags, XV_TUN_KEY | XV_TUN_DF | XV_TUN_GBP);
	assert_int_equal(key.tun_gbp_id, RTE_BE16(10));
	assert_int_equal(key.tun_gbp_flags, 0x08);
	assert_int_equal(parse_hex(GPE("0c", "01"), &c, &d, &key), XV_DECAP_OK);
	assert_int_equal(d.packet_type, 0);
	c.ports[1].gpe = true;
	assert_int_equal(parse_hex(GPE("0c", "01"), &c, &d, &key), XV_DECAP_OK);
	assert_int_equal(d.packet_type, XV_PACKET_TYPE(0x0800));
	assert_int_equal(parse_hex(GPE("0c", "03"), &c, &d, &key), XV_DECAP_OK);
	assert_int_equal(d.packet_type, 0);
	assert_int_equal(parse_hex(GPE("0c", "00"), &c, &d, &key), XV_DECAP_PROTOCOL);
	assert_int_equal(parse_hex(GPE("0c", "05"), &c, &d, &key), XV_DECAP_PROTOCOL);
	assert_int_equal(parse_hex(GPE("0d", "01"), &c, &d, &key), XV_DECAP_PROTOCOL); /* OAM */
	assert_int_equal(parse_hex(GPE("08", "05"), &c, &d, &key), XV_DECAP_OK);
}

static void vxlan_gpe_is_built(void **state)
{
	struct xv_encap_params p = {.type = XV_TUNNEL_VXLAN, .flags = XV_ENCAP_GPE, .packet_type = XV_PACKET_TYPE(0x86dd)};
	struct xv_encap e;

	assert_int_equal(xv_encap_build(&p, &e), 0);
	assert_memory_equal(e.bytes + e.blocks * XV_ENCAP_BLOCK - 8, ((const uint8_t[]){0x0c, 0, 0, 2}), 4);
	p.packet_type = XV_PACKET_TYPE(0x8847);
	assert_int_equal(xv_encap_build(&p, &e), -EINVAL);
	p.packet_type = XV_PACKET_TYPE(0x0800);
	p.flags = 0;
	assert_int_equal(xv_encap_build(&p, &e), -EINVAL);
}

/* Options of an earlier decap do not stay behind. */
static void options_cleared(void **state)
{
	uint8_t frame[512];
	struct xv_flow_key key = {0};
	struct xv_decap d;
	unsigned int i, n;

	n = unit_hex(samples[4].v4, frame, sizeof(frame));
	n += unit_hex(samples[4].inner, frame + n, sizeof(frame) - n);
	assert_int_equal(xv_decap_parse(frame, (uint16_t)n, n, &accept_all, &key, &d), XV_DECAP_OK);
	assert_int_equal(key.tun_options_len, 12);
	n = unit_hex(samples[0].v4, frame, sizeof(frame));
	n += unit_hex(samples[0].inner, frame + n, sizeof(frame) - n);
	assert_int_equal(xv_decap_parse(frame, (uint16_t)n, n, &accept_all, &key, &d), XV_DECAP_OK);
	assert_int_equal(key.tun_options_len, 0);
	for (i = 0; i < XV_FLOW_TUN_OPTIONS; i++)
		assert_int_equal(key.tun_options[i], 0);
}

static void random_params(struct xv_encap_params *p, uint8_t *options)
{
	static const uint16_t kinds[] = {0, 0, 0x0800, 0x86dd, 0x8847};
	uint64_t id = unit_random(&seed, UINT32_MAX);
	uint16_t kind;
	unsigned int i, n;

	memset(p, 0, sizeof(*p));
	p->type = 1 + unit_random(&seed, XV_TUNNEL_MPLS_UDP);
	p->flags = unit_random(&seed, 0x800);
	for (i = 0; i < 6; i++) {
		p->eth_dst[i] = (uint8_t)unit_random(&seed, 256);
		p->eth_src[i] = (uint8_t)unit_random(&seed, 256);
	}
	if (unit_random(&seed, 2)) {
		p->vlan_tpid = unit_random(&seed, 2) ? RTE_BE16(0x8100) : RTE_BE16(0x88a8);
		p->vlan_tci = (rte_be16_t)unit_random(&seed, 65536);
	}
	for (i = p->flags & XV_ENCAP_IPV6 ? 0 : 12; i < 16; i++) {
		p->src.bytes[i] = (uint8_t)unit_random(&seed, 256);
		p->dst.bytes[i] = (uint8_t)unit_random(&seed, 256);
	}
	p->tos = (uint8_t)unit_random(&seed, 256);
	p->ttl = (uint8_t)unit_random(&seed, 256);
	p->mpls_tc = (uint8_t)unit_random(&seed, 8);
	p->mpls_ttl = (uint8_t)unit_random(&seed, 256);
	if (unit_random(&seed, 4) == 0)
		p->udp_src = (rte_be16_t)(1 + unit_random(&seed, 65535));
	kind = kinds[unit_random(&seed, RTE_DIM(kinds))];
	/* GRE with labels that somebody else put on would come back as MPLS over GRE. */
	if (kind && p->type != XV_TUNNEL_VXLAN && p->type != XV_TUNNEL_NVGRE &&
	    (p->type != XV_TUNNEL_GRE || kind != 0x8847))
		p->packet_type = rte_cpu_to_be_32(1u << 16 | kind);
	p->gbp_id = (rte_be16_t)unit_random(&seed, 65536);
	p->gbp_flags = (uint8_t)unit_random(&seed, 256) & 0x48;
	switch (p->type) {
	case XV_TUNNEL_GRE:
		p->id = p->flags & XV_ENCAP_KEY ? id : 0;
		break;
	case XV_TUNNEL_MPLS_GRE:
	case XV_TUNNEL_MPLS_UDP:
		p->id = 16 + id % (0x100000 - 16);
		break;
	case XV_TUNNEL_GENEVE:
		while (unit_random(&seed, 3) && p->options_len + 4u <= 252) {
			n = unit_random(&seed, RTE_MIN(32u, (252u - p->options_len) / 4));
			for (i = 0; i < 4 + 4 * n; i++)
				options[p->options_len + i] = (uint8_t)unit_random(&seed, 256);
			options[p->options_len + 3] = (uint8_t)n;
			p->options_len = (uint16_t)(p->options_len + 4 + 4 * n);
		}
		p->options = options;
		p->id = id & 0xffffff;
		break;
	default:
		p->id = id & 0xffffff;
	}
}

static struct rte_mbuf *random_packet(uint8_t *inner, uint32_t *len)
{
	uint16_t cuts[3] = {0};
	unsigned int i;

	*len = 1 + unit_random(&seed, unit_random(&seed, 4) ? 100 : 3000);
	for (i = 0; i < *len; i++)
		inner[i] = (uint8_t)unit_random(&seed, 256);
	if (unit_random(&seed, 2))
		cuts[0] = (uint16_t)(1 + unit_random(&seed, *len));
	if (cuts[0] && cuts[0] < *len && unit_random(&seed, 2))
		cuts[1] = (uint16_t)(cuts[0] + 1 + unit_random(&seed, *len - cuts[0]));
	return unit_packet(pool, inner, *len, cuts);
}

/* In front of a packet: as the caller would, in place or with a head of its own. */
static struct rte_mbuf *encapsulate(const struct xv_encap *e, struct rte_mbuf *m, const struct xv_encap_packet *p)
{
	struct rte_mbuf *head;
	int rc = xv_encap_push(e, m, p);

	if (rc == 0)
		return m;
	assert_int_equal(rc, -ENOSPC);
	assert_true(e->blocks * XV_ENCAP_BLOCK > RTE_PKTMBUF_HEADROOM);
	head = rte_pktmbuf_alloc(pool);
	assert_int_equal(xv_encap_push_head(e, m, head, p), 0);
	return head;
}

static void round_trip(void **state)
{
	static uint8_t inner[FRAME_MAX], options[256], *byte;
	unsigned int available = rte_mempool_avail_count(pool), i, seen[XV_TUNNEL_MPLS_UDP + 1] = {0};
	struct xv_encap_params p;
	struct xv_encap_packet packet;
	struct xv_flow_key key;
	struct rte_mbuf *m;
	struct xv_encap e;
	struct xv_decap d;
	uint32_t len, at;
	uint8_t tos, ttl;
	bool csum;

	for (i = 0; i < ROUNDS; i++) {
		random_params(&p, options);
		packet = (struct xv_encap_packet){
			.hash = unit_random(&seed, UINT32_MAX),
			.seq = unit_random(&seed, UINT32_MAX),
			.ip_id = (rte_be16_t)unit_random(&seed, 65536),
			.tos = (uint8_t)unit_random(&seed, 256),
			.ttl = (uint8_t)unit_random(&seed, 256),
		};
		m = random_packet(inner, &len);
		assert_int_equal(xv_encap_build(&p, &e), 0);
		m = encapsulate(&e, m, &packet);
		assert_int_equal(m->pkt_len, len + e.len);
		rte_mbuf_sanity_check(m, 1);

		memset(&key, 0, sizeof(key));
		assert_int_equal(parse(m, &key, &d), XV_DECAP_OK);
		if (p.type == XV_TUNNEL_GRE && p.packet_type == 0 && p.flags & XV_ENCAP_KEY &&
		    !(p.flags & (XV_ENCAP_CSUM | XV_ENCAP_SEQ))) {
			assert_int_equal(d.type, XV_TUNNEL_NVGRE);
			assert_int_equal(d.gre_key, p.id);
		} else {
			assert_int_equal(d.type, p.type);
			assert_int_equal(rte_be_to_cpu_64(key.tun_id), p.id);
		}
		seen[d.type]++;
		assert_int_equal(d.strip, e.len);
		assert_int_equal(d.inner_len, len);
		if (!d.guessed)
			assert_int_equal(d.packet_type, p.packet_type);
		assert_memory_equal(&key.tun_src, &p.src, 16);
		assert_memory_equal(&key.tun_dst, &p.dst, 16);
		tos = (uint8_t)((p.flags & XV_ENCAP_ECN ? packet.tos & 3 : p.tos & 3) |
				(p.flags & XV_ENCAP_DSCP ? packet.tos & 0xfc : p.tos & 0xfc));
		ttl = p.ttl ? p.ttl : 64;
		if (p.flags & XV_ENCAP_TTL && packet.ttl)
			ttl = packet.ttl;
		assert_int_equal(key.tun_tos, tos);
		assert_int_equal(key.tun_ttl, ttl);
		assert_int_equal(!!(key.tun_flags & XV_TUN_IPV6), !!(p.flags & XV_ENCAP_IPV6));
		assert_int_equal(!!(key.tun_flags & XV_TUN_DF),
				 !!(p.flags & XV_ENCAP_DF && !(p.flags & XV_ENCAP_IPV6)));
		csum = p.flags & XV_ENCAP_CSUM && p.type != XV_TUNNEL_NVGRE;
		assert_int_equal(!!(key.tun_flags & XV_TUN_CSUM), csum);
		if (p.udp_src && key.tun_tp_dst)
			assert_int_equal(key.tun_tp_src, p.udp_src);
		else if (key.tun_tp_dst)
			assert_in_range(rte_be_to_cpu_16(key.tun_tp_src), 49152, 65535);
		if (p.type == XV_TUNNEL_VXLAN && p.flags & XV_ENCAP_GBP) {
			assert_int_equal(key.tun_gbp_id, p.gbp_id);
			assert_int_equal(key.tun_gbp_flags, p.gbp_flags);
		}
		assert_int_equal(key.tun_options_len, p.options_len);
		assert_memory_equal(key.tun_options, options, p.options_len);

		/* A checksum finds any byte that changed. */
		assert_int_equal(xv_decap_csum_verify(m, &d), XV_DECAP_OK);
		at = d.l4 + unit_random(&seed, m->data_len - d.l4);
		byte = rte_pktmbuf_mtod_offset(m, uint8_t *, at);
		*byte ^= (uint8_t)(1 + unit_random(&seed, 255));
		if (csum)
			assert_int_not_equal(xv_decap_csum_verify(m, &d), XV_DECAP_OK);
		if (at >= e.len)
			inner[at - e.len] = *byte;

		assert_int_equal(xv_decap_strip(m, &d), 0);
		assert_packet(m, inner, len);
		rte_pktmbuf_free(m);
	}
	for (i = XV_TUNNEL_VXLAN; i <= XV_TUNNEL_MPLS_UDP; i++)
		assert_true(seen[i] > ROUNDS / 20);
	assert_int_equal(rte_mempool_avail_count(pool), available);
}

/* An outer checksum over a packet whose own checksum is still to be finished is that of the finished packet. */
static void csum_request(void **state)
{
	static uint8_t inner[FRAME_MAX], options[256], flat[FRAME_MAX + 512];
	struct xv_encap_params p;
	struct xv_flow_key key;
	struct xv_offload req, *after;
	struct rte_mbuf *m;
	struct xv_encap e;
	struct xv_decap d;
	unsigned int i;
	uint32_t len;
	uint16_t sum;
	uint8_t *b;

	for (i = 0; i < ROUNDS; i++) {
		random_params(&p, options);
		p.flags |= XV_ENCAP_CSUM;
		m = random_packet(inner, &len);
		if (len < 20) {
			rte_pktmbuf_free(m);
			continue;
		}
		req = (struct xv_offload){.flags = XV_OFFLOAD_CSUM | (i & 1 ? XV_OFFLOAD_CSUM_VALID : 0)};
		req.csum_start = (uint16_t)unit_random(&seed, len - 10);
		/* As any transport: the field lies at an even distance. */
		req.csum_offset = (uint16_t)(unit_random(&seed, (len - 2 - req.csum_start) / 2) * 2);
		*xv_packet_offload(m) = req;
		m->ol_flags |= XV_PACKET_OFFLOAD;
		assert_int_equal(xv_encap_build(&p, &e), 0);
		m = encapsulate(&e, m, &usual);
		assert_true(m->ol_flags & XV_PACKET_OFFLOAD);
		after = xv_packet_offload(m);
		assert_int_equal(after->flags, XV_OFFLOAD_CSUM);
		assert_int_equal(after->gso_type, 0);
		assert_int_equal(after->csum_start, req.csum_start + e.len);
		assert_int_equal(after->csum_offset, req.csum_offset);

		memset(&key, 0, sizeof(key));
		assert_int_equal(parse(m, &key, &d), XV_DECAP_OK);
		assert_int_equal(xv_decap_csum_verify(m, &d), XV_DECAP_OK);
		/* Finish it: then everything is there to be summed. */
		sum = xv_csum_finish(xv_csum_sum_mbuf(m, after->csum_start, m->pkt_len - after->csum_start));
		m->ol_flags &= ~XV_PACKET_OFFLOAD;
		memmove(flat, rte_pktmbuf_read(m, 0, m->pkt_len, flat), m->pkt_len);
		b = flat + after->csum_start + after->csum_offset;
		memcpy(b, &sum, 2);
		sum = xv_csum_sum(flat + d.l4, d.l4_len);
		if (key.tun_tp_dst)
			sum = xv_csum_add(sum, d.ipv6 ? xv_csum_pseudo6(&key.tun_src, &key.tun_dst, 17, d.l4_len)
						      : xv_csum_pseudo4(&key.tun_src.words[3],
									&key.tun_dst.words[3], 17, d.l4_len));
		if (d.has_csum)
			assert_int_equal(sum, 0xffff);
		/* The request comes back as it went. */
		m->ol_flags |= XV_PACKET_OFFLOAD;
		assert_int_equal(xv_decap_strip(m, &d), 0);
		assert_true(m->ol_flags & XV_PACKET_OFFLOAD);
		assert_int_equal(xv_packet_offload(m)->csum_start, req.csum_start);
		assert_packet(m, inner, len);
		rte_pktmbuf_free(m);
	}
}

static void requests_refused(void **state)
{
	struct xv_encap_params p;
	struct xv_flow_key key = {0};
	struct rte_mbuf *m, *head = rte_pktmbuf_alloc(pool);
	uint8_t inner[64] = {1}, options[252];
	struct xv_encap e;
	struct xv_decap d;

	complete(&samples[0], false, options, &p);
	assert_int_equal(xv_encap_build(&p, &e), 0);
	m = unit_packet(pool, inner, sizeof(inner), NULL);
	m->ol_flags |= XV_PACKET_OFFLOAD;
	*xv_packet_offload(m) = (struct xv_offload){.gso_type = XV_GSO_TCPV4, .gso_size = 10};
	assert_int_equal(xv_encap_push(&e, m, &usual), -EINVAL);
	assert_int_equal(xv_encap_push_head(&e, m, head, &usual), -EINVAL);
	*xv_packet_offload(m) = (struct xv_offload){.flags = XV_OFFLOAD_CSUM, .csum_start = 50, .csum_offset = 13};
	assert_int_equal(xv_encap_push(&e, m, &usual), -EINVAL);
	assert_packet(m, inner, sizeof(inner));
	/* That the inner checksum is right does not say so of the outer one. */
	*xv_packet_offload(m) = (struct xv_offload){.flags = XV_OFFLOAD_CSUM_VALID};
	assert_int_equal(xv_encap_push(&e, m, &usual), 0);
	assert_false(m->ol_flags & XV_PACKET_OFFLOAD);

	/* Of a packet that a guest encapsulated itself. */
	assert_int_equal(parse(m, &key, &d), XV_DECAP_OK);
	m->ol_flags |= XV_PACKET_OFFLOAD;
	*xv_packet_offload(m) = (struct xv_offload){.gso_type = XV_GSO_UDP, .gso_size = 100};
	assert_int_equal(xv_decap_strip(m, &d), -EINVAL);
	*xv_packet_offload(m) = (struct xv_offload){.flags = XV_OFFLOAD_CSUM, .csum_start = 34, .csum_offset = 6};
	d.has_csum = true;
	assert_int_equal(xv_decap_csum_verify(m, &d), XV_DECAP_OK);
	rte_mbuf_refcnt_update(m, 1);
	assert_int_equal(xv_decap_strip(m, &d), -EBUSY);
	rte_mbuf_refcnt_update(m, -1);
	assert_int_equal(xv_decap_strip(m, &d), 0);
	assert_false(m->ol_flags & XV_PACKET_OFFLOAD);
	assert_packet(m, inner, sizeof(inner));
	rte_pktmbuf_free(m);
	rte_pktmbuf_free(head);
}

static void build_refused(void **state)
{
	uint8_t options[256] = {1, 2, 0, 1};
	struct xv_encap_params p, good;
	struct xv_encap e;

	complete(&samples[0], false, options, &good);
	p = good;
	p.type = XV_TUNNEL_NONE;
	assert_int_equal(xv_encap_build(&p, &e), -EINVAL);
	p.type = XV_TUNNEL_MPLS_UDP + 1;
	assert_int_equal(xv_encap_build(&p, &e), -EINVAL);
	p = good;
	p.id = 0x1000000;
	assert_int_equal(xv_encap_build(&p, &e), -EINVAL);
	p = good;
	p.packet_type = XV_PACKET_TYPE(0x0800);
	assert_int_equal(xv_encap_build(&p, &e), -EINVAL);
	p.type = XV_TUNNEL_GENEVE;
	assert_int_equal(xv_encap_build(&p, &e), 0);
	p.packet_type = RTE_BE32(0x20800);
	assert_int_equal(xv_encap_build(&p, &e), -EINVAL);
	p.packet_type = 0;
	p.options = options;
	p.options_len = 4;
	assert_int_equal(xv_encap_build(&p, &e), -EINVAL);
	p.options_len = 7;
	assert_int_equal(xv_encap_build(&p, &e), -EINVAL);
	p.options_len = 8;
	assert_int_equal(xv_encap_build(&p, &e), 0);
	options[3] = 0x1f;
	options[128 + 3] = 0x1f;
	p.options_len = 256;
	assert_int_equal(xv_encap_build(&p, &e), -EINVAL);
	options[128 + 3] = 0x1e;
	p.options_len = 252;
	p.vlan_tpid = RTE_BE16(0x8100);
	p.flags |= XV_ENCAP_IPV6;
	assert_int_equal(xv_encap_build(&p, &e), 0);
	assert_int_equal(e.len, XV_ENCAP_MAX);
	p = good;
	p.type = XV_TUNNEL_MPLS_GRE;
	p.id = 0x100000;
	assert_int_equal(xv_encap_build(&p, &e), -EINVAL);
	p.id = 0xfffff;
	assert_int_equal(xv_encap_build(&p, &e), 0);
	p.mpls_tc = 8;
	assert_int_equal(xv_encap_build(&p, &e), -EINVAL);
	p = good;
	p.type = XV_TUNNEL_GRE;
	p.flags |= XV_ENCAP_KEY;
	p.id = UINT64_C(1) << 32;
	assert_int_equal(xv_encap_build(&p, &e), -EINVAL);
}

static void room(void **state)
{
	uint8_t inner[64], options[252], *buf;
	struct xv_encap_params p;
	struct rte_mbuf *m, *big;
	struct xv_encap e;
	unsigned int i;

	memset(inner, 0x5a, sizeof(inner));
	complete(&samples[0], false, options, &p);
	assert_int_equal(xv_encap_build(&p, &e), 0);
	/* Headroom is taken in blocks; what is before them stays. */
	m = unit_packet(pool, inner, sizeof(inner), NULL);
	buf = m->buf_addr;
	memset(buf, 0xee, RTE_PKTMBUF_HEADROOM);
	assert_int_equal(xv_encap_push(&e, m, &usual), 0);
	for (i = 0; i < RTE_PKTMBUF_HEADROOM - (unsigned int)e.blocks * XV_ENCAP_BLOCK; i++)
		assert_int_equal(buf[i], 0xee);
	rte_pktmbuf_free(m);
	/* Too small by one. */
	m = unit_packet(pool, inner, sizeof(inner), NULL);
	m->data_off = (uint16_t)(e.blocks * XV_ENCAP_BLOCK - 1);
	assert_int_equal(xv_encap_push(&e, m, &usual), -ENOSPC);
	m->data_off++;
	assert_int_equal(xv_encap_push(&e, m, &usual), 0);
	rte_pktmbuf_free(m);
	/* A clone's headroom is another packet's. */
	m = unit_packet(pool, inner, sizeof(inner), NULL);
	big = rte_pktmbuf_clone(m, pool);
	assert_int_equal(xv_encap_push(&e, big, &usual), -ENOSPC);
	rte_pktmbuf_free(big);
	rte_pktmbuf_free(m);

	/* The outer IP packet counts, and its length has 16 bits. */
	big = rte_pktmbuf_alloc(pool);
	rte_pktmbuf_append(big, 1000);
	big->pkt_len = UINT16_MAX - e.ip_len + 1u;
	assert_int_equal(xv_encap_push(&e, big, &usual), -EMSGSIZE);
	m = rte_pktmbuf_alloc(pool);
	assert_int_equal(xv_encap_push_head(&e, big, m, &usual), -EMSGSIZE);
	big->pkt_len--;
	assert_int_equal(xv_encap_push(&e, big, &usual), 0);
	rte_pktmbuf_free(big);
	rte_pktmbuf_free(m);
}

/* What lies behind the outer IP packet goes with the outer headers. */
static void padding(void **state)
{
	static const uint16_t cut_lists[][3] = {{0}, {60, 0}, {81, 0}, {60, 70, 0}, {85, 0}};
	uint8_t frame[512], inner[64];
	struct xv_flow_key key = {0};
	struct rte_mbuf *m, *last;
	unsigned int i, n, inner_len;
	struct xv_decap d;

	inner_len = unit_hex(FRAME, inner, sizeof(inner));
	for (i = 0; i < RTE_DIM(cut_lists); i++) {
		n = unit_hex(samples[0].v4, frame, sizeof(frame));
		n += unit_hex(FRAME "eeeeeeeeeeeeeeeeee", frame + n, sizeof(frame) - n);
		m = unit_packet(pool, frame, n, cut_lists[i]);
		assert_int_equal(parse(m, &key, &d), XV_DECAP_OK);
		assert_int_equal(xv_decap_csum_verify(m, &d), XV_DECAP_OK);
		last = rte_pktmbuf_lastseg(m);
		rte_mbuf_refcnt_update(last, 1);
		if (m->nb_segs == 1 || cut_lists[i][0] == 60)
			assert_int_equal(xv_decap_strip(m, &d), -EBUSY);
		rte_mbuf_refcnt_update(last, -1);
		assert_int_equal(xv_decap_strip(m, &d), 0);
		assert_packet(m, inner, inner_len);
		rte_pktmbuf_free(m);
	}
}

static void entropy(void **state)
{
	unsigned int i, ports[16] = {0};
	uint8_t inner[64] = {0}, options[252];
	struct xv_encap_packet packet = usual;
	struct xv_encap_params p;
	struct xv_encap e4, e6;
	struct rte_mbuf *m;
	uint16_t port;
	uint32_t word;

	complete(&samples[0], false, options, &p);
	assert_int_equal(xv_encap_build(&p, &e4), 0);
	complete(&samples[5], true, options, &p);
	p.flags |= XV_ENCAP_FLOW_LABEL;
	p.tos = 0xb8;
	assert_int_equal(xv_encap_build(&p, &e6), 0);
	for (i = 0; i < 4000; i++) {
		packet.hash = unit_random(&seed, UINT32_MAX);
		m = unit_packet(pool, inner, sizeof(inner), NULL);
		assert_int_equal(xv_encap_push(&e4, m, &packet), 0);
		memcpy(&port, rte_pktmbuf_mtod_offset(m, uint8_t *, 34), 2);
		port = rte_be_to_cpu_16(port);
		assert_true(port >= 49152);
		ports[port % 16]++;
		assert_int_equal(xv_encap_push(&e6, m, &packet), 0);
		memcpy(&word, rte_pktmbuf_mtod_offset(m, uint8_t *, 14), 4);
		assert_int_equal(rte_be_to_cpu_32(word) >> 20, 0x6b8);
		assert_int_equal(rte_be_to_cpu_32(word) & 0xfffff, (packet.hash ^ packet.hash >> 12) & 0xfffff);
		rte_pktmbuf_free(m);
	}
	for (i = 0; i < 16; i++)
		assert_in_range(ports[i], 170, 330);
}

enum { NOT_ECT, ECT1, ECT0, CE, DROP = XV_ECN_DROP };

static void ecn(void **state)
{
	/* RFC 6040, figure 4, as printed: rows inner, columns outer, both Not-ECT, ECT(0), ECT(1), CE. */
	static const int order[4] = {NOT_ECT, ECT0, ECT1, CE};
	static const int figure4[4][4] = {
		{NOT_ECT, NOT_ECT, NOT_ECT, DROP},
		{ECT0, ECT0, ECT1, CE},
		{ECT1, ECT1, ECT1, CE},
		{CE, CE, CE, CE},
	};
	uint8_t ip4[20], ip6[40], was[40], inner[64] = {0}, options[252];
	struct xv_encap_packet packet = usual;
	struct xv_encap_params p;
	struct rte_mbuf *m;
	struct xv_encap e;
	int i, k;

	for (i = 0; i < 4; i++)
		for (k = 0; k < 4; k++)
			assert_int_equal(xv_ecn_decap((uint8_t)(0xa8 | order[k]), (uint8_t)(0x54 | order[i])),
					 figure4[i][k]);
	for (i = 0; i < 256; i++) {
		unit_hex("45000014 00070000 0911 0000 c0a80001c0a80002", ip4, sizeof(ip4));
		ip4[1] = (uint8_t)i;
		memcpy(ip4 + 10, &(uint16_t){(uint16_t)~xv_csum_sum(ip4, 20)}, 2);
		unit_hex("60000000 00001140 20010db8000000000000000000000001 20010db8000000000000000000000002", ip6,
			 sizeof(ip6));
		ip6[0] |= (uint8_t)(i >> 4);
		ip6[1] = (uint8_t)(i << 4 | 0xf);
		memcpy(was, ip6, sizeof(was));
		for (k = 0; k < 4; k++) {
			xv_ecn_set(ip4, (uint8_t)k);
			assert_int_equal(ip4[1], (i & 0xfc) | k);
			assert_int_equal(xv_csum_sum(ip4, 20), 0xffff);
			xv_ecn_set(ip6, (uint8_t)k);
			assert_int_equal((uint8_t)(ip6[0] << 4 | ip6[1] >> 4), (i & 0xfc) | k);
			assert_int_equal(ip6[1] & 0xf, 0xf);
			was[1] = ip6[1];
			assert_memory_equal(ip6, was, sizeof(was));
		}
	}
	/* Figure 3: normal mode copies, compatibility mode clears. */
	for (i = 0; i < 16; i++) {
		complete(&samples[0], false, options, &p);
		p.tos = 0xb8;
		p.flags |= (i & 4 ? XV_ENCAP_ECN : 0) | (i & 8 ? XV_ENCAP_DSCP : 0);
		packet.tos = (uint8_t)(0x28 | (i & 3));
		assert_int_equal(xv_encap_build(&p, &e), 0);
		m = unit_packet(pool, inner, sizeof(inner), NULL);
		assert_int_equal(xv_encap_push(&e, m, &packet), 0);
		assert_int_equal(*rte_pktmbuf_mtod_offset(m, uint8_t *, 15),
				 (i & 8 ? 0x28 : 0xb8) | (i & 4 ? i & 3 : 0));
		assert_int_equal(xv_csum_sum(rte_pktmbuf_mtod_offset(m, uint8_t *, 14), 20), 0xffff);
		rte_pktmbuf_free(m);
	}
}

static int setup(void **state)
{
	int rc = unit_eal_init(state);

	if (rc == 0)
		pool = unit_pool_create("tunnel", 255);
	return rc;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes),
		cmocka_unit_test(truncations),
		cmocka_unit_test(refused),
		cmocka_unit_test(configuration),
		cmocka_unit_test(options_cleared), cmocka_unit_test(vxlan_gpe_is_built),
		cmocka_unit_test(round_trip),
		cmocka_unit_test(csum_request),
		cmocka_unit_test(requests_refused),
		cmocka_unit_test(build_refused),
		cmocka_unit_test(room),
		cmocka_unit_test(padding),
		cmocka_unit_test(entropy),
		cmocka_unit_test(ecn),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
