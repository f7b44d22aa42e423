/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "net/drop.h"
#include "net/parse.h"
#include "table/mac_table.h"

#define MACS                     "020000000001 060000000002 "
#define IPV4(total, frag, proto) "0800 4500" total "0001" frag "40" proto "0000 0a000001 0a000002 "
#define IPV6(len, next)                                                                            \
	"86dd 60000000" len next "40 20010db8000000000000000000000001"                             \
	"20010db8000000000000000000000002 "
#define TCP         "1234 0050 00000001 00000002 5010 ffff 0000 0000 "
#define TCP_OPTIONS "1234 0050 00000001 00000002 8010 ffff 0000 0000 0101080a0000000100000002 "
#define UDP(len)    "1234 0035" len "0000 "
#define EIGHT       "0102030405060708 "
#define HUNDRED     EIGHT EIGHT EIGHT EIGHT EIGHT EIGHT EIGHT EIGHT EIGHT EIGHT EIGHT EIGHT "01020304 "

enum { OK = XV_PARSE_OK, RUNT = XV_PARSE_RUNT, MALFORMED = XV_PARSE_MALFORMED };

static const struct parse_case {
	const char *name, *hex;
	uint32_t len;       /* bytes that parse sees; 0 = all */
	uint32_t frame_len; /* 0 = all */
	int result;
	uint16_t eth_type;
	uint8_t l3, proto;
	uint16_t l4, l4_len;
	bool fragment;
	uint16_t tci;
	bool tagged;
} cases[] = {
	{"nothing", "", .result = RUNT},
	{"thirteen bytes", "02000000000106000000000208", .result = RUNT},
	{"addresses and type only", MACS "88cc", .eth_type = 0x88cc, .l3 = 14},
	{"802.3 length", MACS "0026 4242030000", .eth_type = 0x26},
	{"ARP", MACS "0806 0001080006040001", .eth_type = 0x0806, .l3 = 14},
	{"TCP", MACS IPV4("0028", "4000", "06") TCP, .eth_type = 0x800, .l3 = 14, .proto = 6,
	 .l4 = 34, .l4_len = 20},
	{"TCP options", MACS IPV4("0034", "4000", "06") TCP_OPTIONS, .eth_type = 0x800, .l3 = 14,
	 .proto = 6, .l4 = 34, .l4_len = 32},
	{"padding behind IP", MACS IPV4("0028", "4000", "06") TCP EIGHT, .eth_type = 0x800,
	 .l3 = 14, .proto = 6, .l4 = 34, .l4_len = 20},
	{"IP options",
	 MACS "0800 46000030 00010000 40110000 0a000001 0a000002 01010101" UDP("0010") EIGHT
	 "0000000000000000",
	 .eth_type = 0x800, .l3 = 14, .proto = 17, .l4 = 38, .l4_len = 8},
	{"UDP, tagged", MACS "8100 200a" IPV4("001c", "0000", "11") UDP("0008"), .eth_type = 0x800,
	 .l3 = 18, .proto = 17, .l4 = 38, .l4_len = 8, .tagged = true, .tci = 0x200a},
	{"two tags", MACS "88a8 0064 8100 000a" IPV4("001c", "0000", "11") UDP("0008"),
	 .eth_type = 0x800, .l3 = 22, .proto = 17, .l4 = 42, .l4_len = 8, .tagged = true,
	 .tci = 100},
	{"nine tags",
	 MACS "81000001 81000001 81000001 81000001 81000001 81000001 81000001 81000001"
	      "81000001 0800",
	 .eth_type = 0x8100, .tagged = true, .tci = 1},
	{"tag cut off", MACS "8100 0001", .result = MALFORMED},
	{"second tag cut off", MACS "8100 0001 8100 00", .result = MALFORMED},
	{"ICMP", MACS IPV4("001c", "0000", "01") "0800000000000000", .eth_type = 0x800, .l3 = 14,
	 .proto = 1, .l4 = 34},
	{"protocol without a byte", MACS IPV4("0014", "0000", "01"), .eth_type = 0x800, .l3 = 14,
	 .proto = 1},
	{"IPv4 header cut off", MACS "0800 45000014 0001", .result = MALFORMED},
	{"IPv4 version 5", MACS "0800 55000014 00010000 40010000 0a000001 0a000002",
	 .result = MALFORMED},
	{"IHL 4", MACS "0800 44000014 00010000 40010000 0a000001 0a000002", .result = MALFORMED},
	{"IHL beyond total length",
	 MACS "0800 46000014 00010000 40010000 0a000001 0a000002 00000000", .result = MALFORMED},
	{"total length beyond the frame", MACS IPV4("0029", "4000", "06") TCP, .result = MALFORMED},
	{"total length below the header", MACS IPV4("0013", "0000", "01"), .result = MALFORMED},
	{"TCP cut off", MACS IPV4("0027", "4000", "06") TCP, .result = MALFORMED},
	{"TCP data offset 4",
	 MACS IPV4("0028", "4000", "06") "1234 0050 00000001 00000002 4010 ffff"
					 "0000 0000",
	 .result = MALFORMED},
	{"TCP data offset beyond", MACS IPV4("0028", "4000", "06") TCP_OPTIONS,
	 .result = MALFORMED},
	{"UDP cut off", MACS IPV4("001b", "0000", "11") UDP("0007"), .result = MALFORMED},
	{"UDP length 7", MACS IPV4("001c", "0000", "11") UDP("0007"), .result = MALFORMED},
	{"UDP length beyond", MACS IPV4("001c", "0000", "11") UDP("0009"), .result = MALFORMED},
	{"SCTP cut off", MACS IPV4("001c", "0000", "84") EIGHT, .result = MALFORMED},
	{"first fragment", MACS IPV4("0024", "2000", "11") UDP("0400") EIGHT, .eth_type = 0x800,
	 .l3 = 14, .proto = 17, .l4 = 34, .l4_len = 8, .fragment = true},
	{"first fragment, tiny", MACS IPV4("001c", "2000", "06") EIGHT, .eth_type = 0x800, .l3 = 14,
	 .proto = 6, .fragment = true},
	{"later fragment", MACS IPV4("001c", "0001", "06") EIGHT, .eth_type = 0x800, .l3 = 14,
	 .proto = 6, .fragment = true},
	{"later fragment like UDP", MACS IPV4("0024", "0001", "11") UDP("0010") EIGHT,
	 .eth_type = 0x800, .l3 = 14, .proto = 17, .fragment = true},
	{"IPv6 TCP", MACS IPV6("0014", "06") TCP, .eth_type = 0x86dd, .l3 = 14, .proto = 6,
	 .l4 = 54, .l4_len = 20},
	{"IPv6 no next header", MACS IPV6("0000", "3b"), .eth_type = 0x86dd, .l3 = 14, .proto = 59},
	{"IPv6 header cut off", MACS "86dd 6000000000063b40", .result = MALFORMED},
	{"IPv6 version 4",
	 MACS "86dd 40000000 00003b40 20010db8000000000000000000000001"
	      "20010db8000000000000000000000002",
	 .result = MALFORMED},
	{"IPv6 payload beyond the frame", MACS IPV6("0015", "06") TCP, .result = MALFORMED},
	{"hop-by-hop, routing, options",
	 MACS IPV6("0028", "00") "2b00010400000000 3c00000000000000"
				 "1101000000000000 0000000000000000"
				 "1234 0035 0008 0000",
	 .eth_type = 0x86dd, .l3 = 14, .proto = 17, .l4 = 86, .l4_len = 8},
	{"authentication header", MACS IPV6("0024", "33") "0602000000000001 0000000100000000" TCP,
	 .eth_type = 0x86dd, .l3 = 14, .proto = 6, .l4 = 70, .l4_len = 20},
	{"extension beyond the packet", MACS IPV6("0008", "00") "0601000000000000",
	 .result = MALFORMED},
	{"extension cut off", MACS IPV6("0004", "00") "06000000", .result = MALFORMED},
	{"IPv6 first fragment", MACS IPV6("0010", "2c") "1100000100000001" UDP("0400"),
	 .eth_type = 0x86dd, .l3 = 14, .proto = 17, .l4 = 62, .l4_len = 8, .fragment = true},
	{"IPv6 later fragment", MACS IPV6("0010", "2c") "1100000900000001" EIGHT,
	 .eth_type = 0x86dd, .l3 = 14, .proto = 17, .fragment = true},
	{"IPv6 last fragment", MACS IPV6("0010", "2c") "1100000800000001" EIGHT, .eth_type = 0x86dd,
	 .l3 = 14, .proto = 17, .fragment = true},
	{"IPv6 atomic fragment", MACS IPV6("0010", "2c") "1100000000000001" UDP("0008"),
	 .eth_type = 0x86dd, .l3 = 14, .proto = 17, .l4 = 62, .l4_len = 8},
	{"nine extensions",
	 MACS IPV6("0048", "3c") "3c00000000000000 3c00000000000000 3c00000000000000"
				 "3c00000000000000 3c00000000000000 3c00000000000000"
				 "3c00000000000000 3c00000000000000 0600000000000000",
	 .eth_type = 0x86dd, .l3 = 14, .proto = 60},
	/* Only the first mbuf is seen. */
	{"64 KiB frame", MACS IPV4("fde8", "4000", "06") TCP HUNDRED, .frame_len = 65014,
	 .eth_type = 0x800, .l3 = 14, .proto = 6, .l4 = 34, .l4_len = 20},
	{"64 KiB frame, a byte short", MACS IPV4("fde8", "4000", "06") TCP HUNDRED,
	 .frame_len = 65013, .result = MALFORMED},
	{"extension beyond the packet, not seen", MACS IPV6("0118", "00") "06ff0000" HUNDRED,
	 .len = 128, .frame_len = 334, .result = MALFORMED},
	{"transport header far away", MACS IPV6("0818", "00") "06ff0000" HUNDRED, .len = 128,
	 .frame_len = 2126, .eth_type = 0x86dd, .l3 = 14, .proto = 6},
	{"TCP options half seen", MACS IPV4("0034", "4000", "06") TCP_OPTIONS, .len = 60,
	 .eth_type = 0x800, .l3 = 14, .proto = 6},
};

static void table(void **state)
{
	const struct parse_case *c;
	struct xv_parsed p;
	uint8_t bytes[512], *exact;
	uint16_t len;
	unsigned int i, n;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		c = &cases[i];
		n = unit_hex(c->hex, bytes, sizeof(bytes));
		len = (uint16_t)(c->len ? c->len : n);
		exact = malloc(len ? len : 1); /* so that a sanitizer sees a read beyond */
		memcpy(exact, bytes, len);
		memset(&p, 0xee, sizeof(p));
		print_message("%s\n", c->name);
		assert_int_equal(xv_parse(exact, len, c->frame_len ? c->frame_len : n, &p),
				 c->result);
		free(exact);
		if (c->result != OK)
			continue;
		assert_int_equal(p.dst_key, xv_mac_key(bytes, 0));
		assert_int_equal(p.src_key, xv_mac_key(bytes + 6, 0));
		assert_int_equal(p.eth_type, c->eth_type);
		assert_int_equal(p.tagged, c->tagged);
		assert_int_equal(p.vlan_tci, c->tci);
		assert_int_equal(p.l3_offset, c->l3);
		assert_int_equal(p.ip_proto, c->proto);
		assert_int_equal(p.l4_offset, c->l4);
		assert_int_equal(p.l4_len, c->l4_len);
		assert_int_equal(p.fragment, c->fragment);
	}
}

static uint32_t hash_of(const char *hex)
{
	struct xv_parsed p;
	uint8_t bytes[512];
	unsigned int n = unit_hex(hex, bytes, sizeof(bytes));

	assert_int_equal(xv_parse(bytes, (uint16_t)n, n, &p), XV_PARSE_OK);
	return p.flow_hash;
}

static void flow_hash(void **state)
{
	uint32_t first = hash_of(MACS IPV4("001c", "2000", "11") UDP("0400"));
	unsigned int queues[8] = {0}, i;
	struct xv_parsed p;
	uint8_t bytes[64];

	/* Fragments of a datagram stay together: only the first has ports. */
	assert_int_equal(first, hash_of(MACS IPV4("001c", "2010", "11") EIGHT));
	assert_int_equal(first, hash_of(MACS IPV4("001c", "0020", "11") EIGHT));
	assert_int_not_equal(first, hash_of(MACS IPV4("001c", "0000", "11") UDP("0008")));
	/* What differs within a flow does not matter. */
	assert_int_equal(
		hash_of(MACS IPV4("0028", "0000", "06") TCP),
		hash_of("020000000009 060000000009" IPV4("0034", "4000", "06") TCP_OPTIONS));
	assert_int_equal(hash_of(MACS IPV6("0014", "06") TCP),
			 hash_of(MACS IPV6("001c", "00") "0600010400000000" TCP));
	/* Flows that differ in the source port alone spread evenly. */
	unit_hex(MACS IPV4("0028", "0000", "06") TCP, bytes, sizeof(bytes));
	for (i = 0; i < 8000; i++) {
		bytes[34] = (uint8_t)(i >> 8);
		bytes[35] = (uint8_t)i;
		assert_int_equal(xv_parse(bytes, 54, 54, &p), XV_PARSE_OK);
		queues[p.flow_hash % 8]++;
	}
	for (i = 0; i < 8; i++)
		assert_in_range(queues[i], 850, 1150);
}

static void drop_reasons(void **state)
{
	int i, k;

	for (i = 0; i < XV_DROP_MAX; i++) {
		assert_true(strlen(xv_drop_info[i].name) > 0);
		assert_true(strlen(xv_drop_info[i].explanation) > 0);
		for (k = 0; k < i; k++)
			assert_string_not_equal(xv_drop_info[i].name, xv_drop_info[k].name);
	}
	assert_string_equal(xv_drop_info[XV_DROP_TX_FULL].name, "tx-full");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(table),
		cmocka_unit_test(flow_hash),
		cmocka_unit_test(drop_reasons),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
