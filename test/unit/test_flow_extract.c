/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_cycles.h>

#include "net/flow_key.h"

/* Frames as hex, in parts; the fields that each part leads to have the same name below. */
#define MACS                        "020000000001 060000000002 "
#define IPV4_AT(total, frag, proto) "45b8" total "0001" frag "40" proto "0000 0a000001 0a000002 "
#define IPV6_AT(len, next)                                                                                             \
	"6ab12345" len next "40 20010db8000000000000000000000001"                                                      \
	"20010db8000000000000000000000002 "
#define IPV4(total, frag, proto) "0800 " IPV4_AT(total, frag, proto)
#define IPV6(len, next)          "86dd " IPV6_AT(len, next)
#define TCP                      "1234 0050 00000001 00000002 5f12 ffff 0000 0000 "
#define TCP_OPTIONS              "1234 0050 00000001 00000002 8010 ffff 0000 0000 0101080a0000000100000002 "
#define UDP(len)                 "1234 0035" len "0000 "
#define SCTP                     "1234 0050 00000001 00000000 "
#define EIGHT                    "0102030405060708 "
#define HUNDRED                  EIGHT EIGHT EIGHT EIGHT EIGHT EIGHT EIGHT EIGHT EIGHT EIGHT EIGHT EIGHT "01020304 "
#define ARP(op)                  "000108000604" op "020000000009 0a000001 060000000008 0a000002 "
#define TARGET                   "20010db8000000000000000000000009 "
#define SLL                      "0101 020000000009 "
#define TLL                      "0201 060000000008 "
#define TAG                      "8100 2007 "
#define EXT(next)                next "00000000000000 "
#define EXT8(next)               EXT(next) EXT(next) EXT(next) EXT(next) EXT(next) EXT(next) EXT(next) EXT(next)

#define B16           RTE_BE16
#define B32           RTE_BE32
#define K_MACS        .eth_dst = {2, 0, 0, 0, 0, 1}, .eth_src = {6, 0, 0, 0, 0, 2}
#define K_ADDRS4      .ip_src.words[3] = B32(0x0a000001), .ip_dst.words[3] = B32(0x0a000002)
#define K_ADDRS6      .ip_src.bytes = {0x20, 1, 0xd, 0xb8, [15] = 1}, .ip_dst.bytes = {0x20, 1, 0xd, 0xb8, [15] = 2}
#define K_IPV4(proto) .eth_type = B16(0x0800), K_ADDRS4, .ip_proto = proto, .ip_tos = 0xb8, .ip_ttl = 64
#define K_IPV6(proto)                                                                                                  \
	.eth_type = B16(0x86dd), K_ADDRS6, .ip_proto = proto, .ip_tos = 0xab, .ip_ttl = 64, .ipv6_label = B32(0x12345)
#define K_TCP         .tp_src = B16(0x1234), .tp_dst = B16(80), .tcp_flags = B16(0xf12)
#define K_TCP_OPTIONS .tp_src = B16(0x1234), .tp_dst = B16(80), .tcp_flags = B16(0x010)
#define K_UDP         .tp_src = B16(0x1234), .tp_dst = B16(53)
#define K_SCTP        .tp_src = B16(0x1234), .tp_dst = B16(80)
#define K_TAG         .vlan[0] = {B16(0x8100), B16(0x3007)}
#define K_ARP         K_ADDRS4, .arp_sha = {2, 0, 0, 0, 0, 9}, .arp_tha = {6, 0, 0, 0, 0, 8}
#define K_ND(type)    .tp_src = B16(type)
#define K_TARGET      .nd_target.bytes = {0x20, 1, 0xd, 0xb8, [15] = 9}
#define K_SLL         .arp_sha = {2, 0, 0, 0, 0, 9}
#define K_TLL         .arp_tha = {6, 0, 0, 0, 0, 8}

#define PACKET_TYPE(type) B32(0x10000 | (type))

enum { OK = XV_FLOW_OK, RUNT = XV_FLOW_RUNT, MALFORMED = XV_FLOW_MALFORMED };

static const struct extract_case {
	const char *name, *hex;
	uint16_t len;       /* bytes that are seen; 0 = all */
	uint32_t frame_len; /* 0 = all */
	int result;
	struct xv_flow_key key; /* packet_type: as given; else the packet's part */
	struct xv_flow_layout layout;
} cases[] = {
	/* Ethernet, 802.3, tags */
	{"nothing", "", .result = RUNT},
	{"thirteen bytes", "02000000000106000000000208", .result = RUNT},
	{"addresses and type only", MACS "88cc", .key = {K_MACS, .eth_type = B16(0x88cc)}},
	{"802.3", MACS "0026 4242030000", .key = {K_MACS, .eth_type = B16(0x5ff)}},
	{"802.3, length only", MACS "05ff", .key = {K_MACS, .eth_type = B16(0x5ff)}},
	{"type 0x600", MACS "0600", .key = {K_MACS, .eth_type = B16(0x600)}},
	{"SNAP",
	 MACS "0026 aaaa03000000"
	      "809b",
	 .key = {K_MACS, .eth_type = B16(0x809b)}},
	{"SNAP, UDP", MACS "0024 aaaa03000000" IPV4("001c", "0000", "11") UDP("0008"),
	 .key = {K_MACS, K_IPV4(17), K_UDP}, .layout = {.l3 = 22, .l4 = 42, .l4_len = 8, .payload_end = 50}},
	{"SNAP behind a tag", MACS TAG "0024 aaaa03000000" IPV4("001c", "0000", "11") UDP("0008"),
	 .key = {K_MACS, K_TAG, K_IPV4(17), K_UDP}, .layout = {.l3 = 26, .l4 = 46, .l4_len = 8, .payload_end = 54}},
	{"SNAP, another OUI",
	 MACS "0026 aaaa0300000c"
	      "2000",
	 .key = {K_MACS, .eth_type = B16(0x5ff)}},
	{"SNAP, a length as type",
	 MACS "0026 aaaa03000000"
	      "0026 0800",
	 .key = {K_MACS, .eth_type = B16(0x5ff)}},
	{"SNAP cut off",
	 MACS "0026 aaaa03000000"
	      "08",
	 .key = {K_MACS, .eth_type = B16(0x5ff)}},
	{"SNAP, a tag's type", MACS "0026 aaaa03000000" TAG "0800", .key = {K_MACS, .eth_type = B16(0x8100)}},
	{"tag", MACS TAG "88cc", .key = {K_MACS, K_TAG, .eth_type = B16(0x88cc)}},
	{"tag of zeros", MACS "8100 0000 88cc",
	 .key = {K_MACS, .vlan[0] = {B16(0x8100), B16(0x1000)}, .eth_type = B16(0x88cc)}},
	{"tag with CFI", MACS "8100 ffff 88cc",
	 .key = {K_MACS, .vlan[0] = {B16(0x8100), B16(0xffff)}, .eth_type = B16(0x88cc)}},
	{"service tag", MACS "88a8 0064" IPV4("001c", "0000", "11") UDP("0008"),
	 .key = {K_MACS, .vlan[0] = {B16(0x88a8), B16(0x1064)}, K_IPV4(17), K_UDP},
	 .layout = {.l3 = 18, .l4 = 38, .l4_len = 8, .payload_end = 46}},
	{"two tags", MACS "88a8 0064" TAG IPV4("001c", "0000", "11") UDP("0008"),
	 .key = {K_MACS, .vlan = {{B16(0x88a8), B16(0x1064)}, {B16(0x8100), B16(0x3007)}}, K_IPV4(17), K_UDP},
	 .layout = {.l3 = 22, .l4 = 42, .l4_len = 8, .payload_end = 50}},
	{"three tags", MACS TAG TAG "88a8 0001 0800" EIGHT,
	 .key = {K_MACS, .vlan = {{B16(0x8100), B16(0x3007)}, {B16(0x8100), B16(0x3007)}}, .eth_type = B16(0x88a8)}},
	{"eight tags", MACS TAG TAG TAG TAG TAG TAG TAG TAG IPV4("001c", "0000", "11") UDP("0008"),
	 .key = {K_MACS, .vlan = {{B16(0x8100), B16(0x3007)}, {B16(0x8100), B16(0x3007)}}, .eth_type = B16(0x8100)}},
	{"tag cut off", MACS "8100 2007 08", .result = MALFORMED, .key = {K_MACS, .eth_type = B16(0x8100)}},
	{"second tag cut off", MACS TAG "88a8 00", .result = MALFORMED,
	 .key = {K_MACS, K_TAG, .eth_type = B16(0x88a8)}},
	{"third tag cut off", MACS TAG TAG "88a8",
	 .key = {K_MACS, .vlan = {{B16(0x8100), B16(0x3007)}, {B16(0x8100), B16(0x3007)}}, .eth_type = B16(0x88a8)}},

	/* IPv4 */
	{"UDP", MACS IPV4("0024", "4000", "11") UDP("0010") EIGHT, .key = {K_MACS, K_IPV4(17), K_UDP},
	 .layout = {.l3 = 14, .l4 = 34, .l4_len = 8, .payload_end = 50}},
	{"UDP, tagged", MACS TAG IPV4("001c", "0000", "11") UDP("0008"), .key = {K_MACS, K_TAG, K_IPV4(17), K_UDP},
	 .layout = {.l3 = 18, .l4 = 38, .l4_len = 8, .payload_end = 46}},
	{"TCP", MACS IPV4("0028", "4000", "06") TCP, .key = {K_MACS, K_IPV4(6), K_TCP},
	 .layout = {.l3 = 14, .l4 = 34, .l4_len = 20, .payload_end = 54}},
	{"TCP, tagged", MACS TAG IPV4("0028", "4000", "06") TCP, .key = {K_MACS, K_TAG, K_IPV4(6), K_TCP},
	 .layout = {.l3 = 18, .l4 = 38, .l4_len = 20, .payload_end = 58}},
	{"TCP options", MACS IPV4("0034", "4000", "06") TCP_OPTIONS, .key = {K_MACS, K_IPV4(6), K_TCP_OPTIONS},
	 .layout = {.l3 = 14, .l4 = 34, .l4_len = 32, .payload_end = 66}},
	{"padding behind IP", MACS IPV4("0028", "4000", "06") TCP EIGHT, .key = {K_MACS, K_IPV4(6), K_TCP},
	 .layout = {.l3 = 14, .l4 = 34, .l4_len = 20, .payload_end = 54}},
	{"reserved fragment bit", MACS IPV4("001c", "8000", "11") UDP("0008"), .key = {K_MACS, K_IPV4(17), K_UDP},
	 .layout = {.l3 = 14, .l4 = 34, .l4_len = 8, .payload_end = 42}},
	{"UDP length of its own", MACS IPV4("001c", "0000", "11") UDP("ffff"), .key = {K_MACS, K_IPV4(17), K_UDP},
	 .layout = {.l3 = 14, .l4 = 34, .l4_len = 8, .payload_end = 42}},
	{"SCTP", MACS IPV4("0020", "0000", "84") SCTP, .key = {K_MACS, K_IPV4(132), K_SCTP},
	 .layout = {.l3 = 14, .l4 = 34, .l4_len = 12, .payload_end = 46}},
	{"ICMP", MACS IPV4("001c", "0000", "01") "0501000000000000",
	 .key = {K_MACS, K_IPV4(1), .tp_src = B16(5), .tp_dst = B16(1)},
	 .layout = {.l3 = 14, .l4 = 34, .l4_len = 8, .payload_end = 42}},
	{"IGMP", MACS IPV4("001c", "0000", "02") "1600 0000 e0000001", .key = {K_MACS, K_IPV4(2), .tp_src = B16(0x16)},
	 .layout = {.l3 = 14, .l4 = 34, .l4_len = 8, .payload_end = 42}},
	{"ICMPv6 is not of IPv4", MACS IPV4("001c", "0000", "3a") "8700000000000000", .key = {K_MACS, K_IPV4(58)},
	 .layout = {.l3 = 14, .l4 = 34, .payload_end = 42}},
	{"GRE", MACS IPV4("0018", "0000", "2f") "00000800", .key = {K_MACS, K_IPV4(47)},
	 .layout = {.l3 = 14, .l4 = 34, .payload_end = 38}},
	{"protocol without a byte", MACS IPV4("0014", "0000", "2f") EIGHT, .key = {K_MACS, K_IPV4(47)},
	 .layout = {.l3 = 14, .payload_end = 34}},
	{"IP options", MACS "0800 47b80024 00010000 40110000 0a000001 0a000002 0101010101010100" UDP("0008"),
	 .key = {K_MACS, K_IPV4(17), K_UDP}, .layout = {.l3 = 14, .l4 = 42, .l4_len = 8, .payload_end = 50}},
	{"most IP options",
	 MACS "0800 4fb80044 00010000 40110000 0a000001 0a000002" EIGHT EIGHT EIGHT EIGHT EIGHT UDP("0008"),
	 .key = {K_MACS, K_IPV4(17), K_UDP}, .layout = {.l3 = 14, .l4 = 74, .l4_len = 8, .payload_end = 82}},
	{"first fragment", MACS IPV4("0024", "2000", "11") UDP("0400") EIGHT,
	 .key = {K_MACS, K_IPV4(17), K_UDP, .ip_frag = XV_FRAG_FIRST},
	 .layout = {.l3 = 14, .l4 = 34, .l4_len = 8, .payload_end = 50}},
	{"first fragment, tiny", MACS IPV4("001c", "2000", "06") EIGHT,
	 .key = {K_MACS, K_IPV4(6), .ip_frag = XV_FRAG_FIRST}, .layout = {.l3 = 14, .payload_end = 42}},
	{"later fragment", MACS IPV4("0028", "2001", "06") TCP, .key = {K_MACS, K_IPV4(6), .ip_frag = XV_FRAG_LATER},
	 .layout = {.l3 = 14, .payload_end = 54}},
	{"last fragment", MACS IPV4("001c", "1fff", "11") UDP("0008"),
	 .key = {K_MACS, K_IPV4(17), .ip_frag = XV_FRAG_LATER}, .layout = {.l3 = 14, .payload_end = 42}},
	{"version 5, as OVS", MACS "0800 55b8001c 00010000 40110000 0a000001 0a000002" UDP("0008"),
	 .key = {K_MACS, K_IPV4(17), K_UDP}, .layout = {.l3 = 14, .l4 = 34, .l4_len = 8, .payload_end = 42}},
	{"IPv4 cut off", MACS "0800 45000014 0001", .key = {K_MACS, .eth_type = B16(0x800)}},
	{"IHL 4", MACS "0800 44000014 00010000 40010000 0a000001 0a000002", .key = {K_MACS, .eth_type = B16(0x800)}},
	{"IHL beyond total length", MACS "0800 46000014 00010000 40010000 0a000001 0a000002 00000000",
	 .key = {K_MACS, .eth_type = B16(0x800)}},
	{"IHL beyond the frame", MACS "0800 46000018 00010000 40010000 0a000001 0a000002",
	 .key = {K_MACS, .eth_type = B16(0x800)}},
	{"total length beyond the frame", MACS IPV4("0029", "4000", "06") TCP, .key = {K_MACS, .eth_type = B16(0x800)}},
	{"total length below the header", MACS IPV4("0013", "0000", "01"), .key = {K_MACS, .eth_type = B16(0x800)}},
	{"TCP cut off", MACS IPV4("0027", "4000", "06") TCP, .key = {K_MACS, K_IPV4(6)},
	 .layout = {.l3 = 14, .payload_end = 53}},
	{"TCP data offset 4", MACS IPV4("0028", "4000", "06") "1234 0050 00000001 00000002 4010 ffff 0000 0000",
	 .key = {K_MACS, K_IPV4(6)}, .layout = {.l3 = 14, .payload_end = 54}},
	{"TCP data offset beyond", MACS IPV4("0028", "4000", "06") TCP_OPTIONS, .key = {K_MACS, K_IPV4(6)},
	 .layout = {.l3 = 14, .payload_end = 54}},
	{"UDP cut off", MACS IPV4("001b", "0000", "11") UDP("0008"), .key = {K_MACS, K_IPV4(17)},
	 .layout = {.l3 = 14, .payload_end = 41}},
	{"SCTP cut off", MACS IPV4("001c", "0000", "84") EIGHT, .key = {K_MACS, K_IPV4(132)},
	 .layout = {.l3 = 14, .payload_end = 42}},
	{"ICMP cut off", MACS IPV4("001b", "0000", "01") EIGHT, .key = {K_MACS, K_IPV4(1)},
	 .layout = {.l3 = 14, .payload_end = 41}},

	/* Only the first bytes of the frame are seen. */
	{"64 KiB frame", MACS TAG IPV4("ffff", "4000", "06") TCP HUNDRED, .frame_len = 65553,
	 .key = {K_MACS, K_TAG, K_IPV4(6), K_TCP}, .layout = {.l3 = 18, .l4 = 38, .l4_len = 20, .payload_end = 65553}},
	{"64 KiB frame, a byte short", MACS TAG IPV4("ffff", "4000", "06") TCP HUNDRED, .frame_len = 65552,
	 .key = {K_MACS, K_TAG, .eth_type = B16(0x800)}},
	{"TCP options half seen", MACS IPV4("0034", "4000", "06") TCP_OPTIONS, .len = 60, .key = {K_MACS, K_IPV4(6)},
	 .layout = {.l3 = 14, .payload_end = 66}},
	{"UDP half seen", MACS IPV4("001c", "4000", "11") UDP("0008"), .len = 40, .key = {K_MACS, K_IPV4(17)},
	 .layout = {.l3 = 14, .payload_end = 42}},
	{"IP options half seen", MACS "0800 46b80018 00010000 40010000 0a000001 0a000002 00000000", .len = 37,
	 .key = {K_MACS, .eth_type = B16(0x800)}},
	{"extension header not seen", MACS IPV6("0818", "00") "06ff0000" HUNDRED, .frame_len = 2126,
	 .key = {K_MACS, K_ADDRS6, .eth_type = B16(0x86dd)}, .layout = {.l3 = 14, .payload_end = 2126}},

	/* IPv6 */
	{"IPv6 UDP", MACS IPV6("0010", "11") UDP("0010") EIGHT, .key = {K_MACS, K_IPV6(17), K_UDP},
	 .layout = {.l3 = 14, .l4 = 54, .l4_len = 8, .payload_end = 70}},
	{"IPv6 TCP", MACS IPV6("0014", "06") TCP EIGHT, .key = {K_MACS, K_IPV6(6), K_TCP},
	 .layout = {.l3 = 14, .l4 = 54, .l4_len = 20, .payload_end = 74}},
	{"IPv6 TCP, tagged", MACS TAG IPV6("0020", "06") TCP_OPTIONS, .key = {K_MACS, K_TAG, K_IPV6(6), K_TCP_OPTIONS},
	 .layout = {.l3 = 18, .l4 = 58, .l4_len = 32, .payload_end = 90}},
	{"IPv6 SCTP", MACS IPV6("000c", "84") SCTP, .key = {K_MACS, K_IPV6(132), K_SCTP},
	 .layout = {.l3 = 14, .l4 = 54, .l4_len = 12, .payload_end = 66}},
	{"ICMP is not of IPv6", MACS IPV6("0008", "01") EIGHT, .key = {K_MACS, K_IPV6(1)},
	 .layout = {.l3 = 14, .l4 = 54, .payload_end = 62}},
	{"no next header", MACS IPV6("0000", "3b") EIGHT, .key = {K_MACS, K_IPV6(59), .ipv6_exthdrs = XV_EXTHDR_NONEXT},
	 .layout = {.l3 = 14, .payload_end = 54}},
	{"IPv6 cut off", MACS "86dd 6000000000063b40", .key = {K_MACS, .eth_type = B16(0x86dd)}},
	{"IPv6 payload beyond the frame", MACS IPV6("0015", "06") TCP, .key = {K_MACS, .eth_type = B16(0x86dd)}},
	{"IPv6 TCP cut off", MACS IPV6("0013", "06") TCP, .key = {K_MACS, K_IPV6(6)},
	 .layout = {.l3 = 14, .payload_end = 73}},
	{"hop-by-hop, options, routing",
	 MACS IPV6("0028", "00") "3c00010400000000" EXT("2b") "1101000000000000 0000000000000000" UDP("0008"),
	 .key = {K_MACS, K_IPV6(17), K_UDP, .ipv6_exthdrs = XV_EXTHDR_HOP | XV_EXTHDR_DEST | XV_EXTHDR_ROUTER},
	 .layout = {.l3 = 14, .l4 = 86, .l4_len = 8, .payload_end = 94}},
	{"all in order, ESP",
	 MACS IPV6("0034", "00") EXT("3c") EXT("2b") EXT("2c") EXT("33") "3202000000000001 00000001" EIGHT,
	 .key = {K_MACS, K_IPV6(50),
		 .ipv6_exthdrs = XV_EXTHDR_HOP | XV_EXTHDR_DEST | XV_EXTHDR_ROUTER | XV_EXTHDR_FRAG | XV_EXTHDR_AUTH |
				 XV_EXTHDR_ESP},
	 .layout = {.l3 = 14, .l4 = 102, .payload_end = 106}},
	{"authentication header", MACS IPV6("0024", "33") "0602000000000001 0000000100000000" TCP,
	 .key = {K_MACS, K_IPV6(6), K_TCP, .ipv6_exthdrs = XV_EXTHDR_AUTH},
	 .layout = {.l3 = 14, .l4 = 70, .l4_len = 20, .payload_end = 90}},
	{"options twice", MACS IPV6("0020", "3c") EXT("2b") EXT("3c") EXT("11") UDP("0008"),
	 .key = {K_MACS, K_IPV6(17), K_UDP, .ipv6_exthdrs = XV_EXTHDR_DEST | XV_EXTHDR_ROUTER},
	 .layout = {.l3 = 14, .l4 = 78, .l4_len = 8, .payload_end = 86}},
	{"routing twice", MACS IPV6("0018", "2b") EXT("2b") EXT("11") UDP("0008"),
	 .key = {K_MACS, K_IPV6(17), K_UDP, .ipv6_exthdrs = XV_EXTHDR_ROUTER | XV_EXTHDR_UNREP},
	 .layout = {.l3 = 14, .l4 = 70, .l4_len = 8, .payload_end = 78}},
	{"hop-by-hop second", MACS IPV6("0018", "2b") EXT("00") EXT("11") UDP("0008"),
	 .key = {K_MACS, K_IPV6(17), K_UDP, .ipv6_exthdrs = XV_EXTHDR_ROUTER | XV_EXTHDR_HOP | XV_EXTHDR_UNSEQ},
	 .layout = {.l3 = 14, .l4 = 70, .l4_len = 8, .payload_end = 78}},
	{"thirty-two options",
	 MACS IPV6("0110", "3c") EXT8("3c") EXT8("3c") EXT8("3c") EXT8("3c") EXT("11") UDP("0008"),
	 .key = {K_MACS, K_IPV6(17), K_UDP, .ipv6_exthdrs = XV_EXTHDR_DEST | XV_EXTHDR_UNREP},
	 .layout = {.l3 = 14, .l4 = 318, .l4_len = 8, .payload_end = 326}},
	{"extension beyond the packet", MACS IPV6("0008", "00") "0601000000000000" EIGHT,
	 .key = {K_MACS, K_ADDRS6, .eth_type = B16(0x86dd)}, .layout = {.l3 = 14, .payload_end = 62}},
	{"extension cut off", MACS IPV6("0004", "00") "06000000", .key = {K_MACS, K_ADDRS6, .eth_type = B16(0x86dd)},
	 .layout = {.l3 = 14, .payload_end = 58}},
	{"chain without an end", MACS IPV6("0018", "3c") EXT("3c") EXT("3c") EXT("3c"),
	 .key = {K_MACS, K_ADDRS6, .eth_type = B16(0x86dd)}, .layout = {.l3 = 14, .payload_end = 78}},
	{"IPv6 first fragment", MACS IPV6("0010", "2c") "1100000100000001" UDP("0400"),
	 .key = {K_MACS, K_IPV6(17), K_UDP, .ip_frag = XV_FRAG_FIRST, .ipv6_exthdrs = XV_EXTHDR_FRAG},
	 .layout = {.l3 = 14, .l4 = 62, .l4_len = 8, .payload_end = 70}},
	{"IPv6 first fragment, tiny", MACS IPV6("0010", "2c") "0600000100000001" EIGHT,
	 .key = {K_MACS, K_IPV6(6), .ip_frag = XV_FRAG_FIRST, .ipv6_exthdrs = XV_EXTHDR_FRAG},
	 .layout = {.l3 = 14, .payload_end = 70}},
	{"IPv6 later fragment", MACS IPV6("0010", "2c") "1100000900000001" UDP("0008"),
	 .key = {K_MACS, K_IPV6(44), .ip_frag = XV_FRAG_LATER, .ipv6_exthdrs = XV_EXTHDR_FRAG},
	 .layout = {.l3 = 14, .payload_end = 70}},
	{"IPv6 last fragment", MACS IPV6("0010", "2c") "1100000800000001" UDP("0008"),
	 .key = {K_MACS, K_IPV6(44), .ip_frag = XV_FRAG_LATER, .ipv6_exthdrs = XV_EXTHDR_FRAG},
	 .layout = {.l3 = 14, .payload_end = 70}},
	{"IPv6 fragment header cut off", MACS IPV6("0007", "2c") "11000009000000" EIGHT,
	 .key = {K_MACS, K_ADDRS6, .eth_type = B16(0x86dd)}, .layout = {.l3 = 14, .payload_end = 61}},
	{"IPv6 atomic fragment", MACS IPV6("0010", "2c") "1100000000000001" UDP("0008"),
	 .key = {K_MACS, K_IPV6(17), K_UDP, .ipv6_exthdrs = XV_EXTHDR_FRAG},
	 .layout = {.l3 = 14, .l4 = 62, .l4_len = 8, .payload_end = 70}},

	/* ICMPv6 and neighbour discovery */
	{"echo request", MACS IPV6("0008", "3a") "8000000000010001", .key = {K_MACS, K_IPV6(58), .tp_src = B16(128)},
	 .layout = {.l3 = 14, .l4 = 54, .l4_len = 8, .payload_end = 62}},
	{"unreachable, with code", MACS IPV6("0008", "3a") "0104000000000000",
	 .key = {K_MACS, K_IPV6(58), .tp_src = B16(1), .tp_dst = B16(4)},
	 .layout = {.l3 = 14, .l4 = 54, .l4_len = 8, .payload_end = 62}},
	{"ICMPv6 cut off", MACS IPV6("0007", "3a") "8000000000010001", .key = {K_MACS, K_IPV6(58)},
	 .layout = {.l3 = 14, .payload_end = 61}},
	{"solicitation", MACS IPV6("0020", "3a") "8700000000000000" TARGET SLL,
	 .key = {K_MACS, K_IPV6(58), K_ND(135), K_TARGET, K_SLL},
	 .layout = {.l3 = 14, .l4 = 54, .l4_len = 8, .payload_end = 86}},
	{"advertisement", MACS IPV6("0020", "3a") "8800000060000000" TARGET TLL,
	 .key = {K_MACS, K_IPV6(58), K_ND(136), K_TARGET, K_TLL},
	 .layout = {.l3 = 14, .l4 = 54, .l4_len = 8, .payload_end = 86}},
	{"both addresses behind another option",
	 MACS IPV6("0038", "3a") "8800000060000000" TARGET "0e02"
				 "0102030405060708090a0b0c0d0e" TLL SLL,
	 .key = {K_MACS, K_IPV6(58), K_ND(136), K_TARGET, K_TLL, K_SLL},
	 .layout = {.l3 = 14, .l4 = 54, .l4_len = 8, .payload_end = 110}},
	{"an address twice", MACS IPV6("0030", "3a") "8700000000000000" TARGET SLL TLL SLL,
	 .key = {K_MACS, K_IPV6(58), K_ND(135)}, .layout = {.l3 = 14, .l4 = 54, .l4_len = 8, .payload_end = 102}},
	{"long address option",
	 MACS IPV6("0028", "3a") "8700000000000000" TARGET "0102"
				 "0102030405060708090a0b0c0d0e",
	 .key = {K_MACS, K_IPV6(58), K_ND(135), K_TARGET},
	 .layout = {.l3 = 14, .l4 = 54, .l4_len = 8, .payload_end = 94}},
	{"option of length 0", MACS IPV6("0028", "3a") "8700000000000000" TARGET "0100020000000009" SLL,
	 .key = {K_MACS, K_IPV6(58), K_ND(135), K_TARGET},
	 .layout = {.l3 = 14, .l4 = 54, .l4_len = 8, .payload_end = 94}},
	{"option beyond the packet", MACS IPV6("0020", "3a") "8700000000000000" TARGET "0102020000000009" EIGHT,
	 .key = {K_MACS, K_IPV6(58), K_ND(135), K_TARGET},
	 .layout = {.l3 = 14, .l4 = 54, .l4_len = 8, .payload_end = 86}},
	{"target cut off", MACS IPV6("0017", "3a") "8700000000000000" TARGET, .key = {K_MACS, K_IPV6(58), K_ND(135)},
	 .layout = {.l3 = 14, .l4 = 54, .l4_len = 8, .payload_end = 77}},
	{"solicitation with a code", MACS IPV6("0020", "3a") "8701000000000000" TARGET SLL,
	 .key = {K_MACS, K_IPV6(58), K_ND(135), .tp_dst = B16(1)},
	 .layout = {.l3 = 14, .l4 = 54, .l4_len = 8, .payload_end = 86}},
	{"router solicitation", MACS IPV6("0010", "3a") "8500000000000000" SLL, .key = {K_MACS, K_IPV6(58), K_ND(133)},
	 .layout = {.l3 = 14, .l4 = 54, .l4_len = 8, .payload_end = 70}},

	/* ARP */
	{"ARP", MACS "0806" ARP("0001"), .key = {K_MACS, .eth_type = B16(0x806), K_ARP, .ip_proto = 1},
	 .layout = {.l3 = 14, .payload_end = 42}},
	{"ARP, tagged, padded", MACS TAG "0806" ARP("0002") EIGHT,
	 .key = {K_MACS, K_TAG, .eth_type = B16(0x806), K_ARP, .ip_proto = 2}, .layout = {.l3 = 18, .payload_end = 46}},
	{"RARP", MACS "8035" ARP("0003"), .key = {K_MACS, .eth_type = B16(0x8035), K_ARP, .ip_proto = 3},
	 .layout = {.l3 = 14, .payload_end = 42}},
	{"ARP operation 256", MACS "0806" ARP("0100"), .key = {K_MACS, .eth_type = B16(0x806), K_ARP},
	 .layout = {.l3 = 14, .payload_end = 42}},
	{"ARP of other hardware", MACS "0806 000608000604 0001 020000000009 0a000001 060000000008 0a000002",
	 .key = {K_MACS, .eth_type = B16(0x806)}},
	{"ARP cut off", MACS "0806 000108000604 0001 020000000009 0a000001 060000000008 0a0000",
	 .key = {K_MACS, .eth_type = B16(0x806)}},

	/* MPLS */
	{"one label", MACS "8847 0006413f" EIGHT,
	 .key = {K_MACS, .eth_type = B16(0x8847), .mpls_lse = {B32(0x0006413f)}, .mpls_depth = 1},
	 .layout = {.l2_5 = 14}},
	{"two labels, tagged, multicast", MACS TAG "8848 00064040 000c8140" EIGHT,
	 .key = {K_MACS, K_TAG, .eth_type = B16(0x8848), .mpls_lse = {B32(0x00064040), B32(0x000c8140)},
		 .mpls_depth = 2},
	 .layout = {.l2_5 = 18}},
	{"three labels", MACS "8847 00064040 000c8040 00000140",
	 .key = {K_MACS, .eth_type = B16(0x8847), .mpls_lse = {B32(0x00064040), B32(0x000c8040), B32(0x00000140)},
		 .mpls_depth = 3},
	 .layout = {.l2_5 = 14}},
	{"sixteen labels",
	 MACS "8847 00064040 000c8040 00012040 00018040 00064040 000c8040 00012040 00018040 00064040 000c8040"
	      "00012040 00018040 00064040 000c8040 00012040 00018140",
	 .key = {K_MACS, .eth_type = B16(0x8847), .mpls_lse = {B32(0x00064040), B32(0x000c8040), B32(0x00012040)},
		 .mpls_depth = 3},
	 .layout = {.l2_5 = 14}},
	{"stack cut off", MACS "8847 00064040 000c80",
	 .key = {K_MACS, .eth_type = B16(0x8847), .mpls_lse = {B32(0x00064040)}, .mpls_depth = 1},
	 .layout = {.l2_5 = 14}},
	{"no label", MACS "8847 000640", .key = {K_MACS, .eth_type = B16(0x8847)}},

	/* NSH */
	{"NSH, MD type 1", MACS "894f 2fc6 01 03 000102ff 00000001 00000002 00000003 00000004" EIGHT,
	 .key = {K_MACS, .eth_type = B16(0x894f), .nsh_flags = 2, .nsh_ttl = 63, .nsh_mdtype = 1, .nsh_np = 3,
		 .nsh_path_hdr = B32(0x000102ff), .nsh_context = {B32(1), B32(2), B32(3), B32(4)}},
	 .layout = {.l2_5 = 14}},
	{"NSH, MD type 2", MACS "894f 0403 02 01 000102ff 00010203",
	 .key = {K_MACS, .eth_type = B16(0x894f), .nsh_ttl = 16, .nsh_mdtype = 2, .nsh_np = 1,
		 .nsh_path_hdr = B32(0x000102ff)},
	 .layout = {.l2_5 = 14}},
	{"NSH, MD type 1 of another length", MACS "894f 0405 01 03 000102ff" EIGHT EIGHT,
	 .key = {K_MACS, .eth_type = B16(0x894f)}},
	{"NSH, MD type 2 too short", MACS "894f 0401 02 03 000102ff", .key = {K_MACS, .eth_type = B16(0x894f)}},
	{"NSH version 1", MACS "894f 4402 02 03 000102ff", .key = {K_MACS, .eth_type = B16(0x894f)}},
	{"NSH beyond the frame", MACS "894f 0fc6 01 03 000102ff 00000001 00000002 00000003 000000",
	 .key = {K_MACS, .eth_type = B16(0x894f)}},
	{"NSH cut off", MACS "894f 0402 02 03 000102", .key = {K_MACS, .eth_type = B16(0x894f)}},

	/* Packets that begin with L3 */
	{"type IPv4", IPV4_AT("001c", "0000", "11") UDP("0008"),
	 .key = {.packet_type = PACKET_TYPE(0x800), K_IPV4(17), K_UDP},
	 .layout = {.l3 = 0, .l4 = 20, .l4_len = 8, .payload_end = 28}},
	{"type IPv6", IPV6_AT("0014", "06") TCP, .key = {.packet_type = PACKET_TYPE(0x86dd), K_IPV6(6), K_TCP},
	 .layout = {.l3 = 0, .l4 = 40, .l4_len = 20, .payload_end = 60}},
	{"type MPLS", "0006413f" EIGHT,
	 .key = {.packet_type = PACKET_TYPE(0x8847),
		 .eth_type = B16(0x8847),
		 .mpls_lse = {B32(0x0006413f)},
		 .mpls_depth = 1}},
	{"type NSH", "0403 02 01 000102ff 00010203",
	 .key = {.packet_type = PACKET_TYPE(0x894f),
		 .eth_type = B16(0x894f),
		 .nsh_ttl = 16,
		 .nsh_mdtype = 2,
		 .nsh_np = 1,
		 .nsh_path_hdr = B32(0x000102ff)}},
	{"type unknown", EIGHT, .key = {.packet_type = PACKET_TYPE(0x1234), .eth_type = B16(0x1234)}},
	{"type IPv4, nothing", "", .key = {.packet_type = PACKET_TYPE(0x800), .eth_type = B16(0x800)}},
};

#define N_CASES       (sizeof(cases) / sizeof(cases[0]))
#define PACKET_OFFSET (XV_FLOW_STAGE_L2 * 8)
#define PACKET_SIZE   (offsetof(struct xv_flow_key, tun_options) - PACKET_OFFSET)

static const uint8_t *packet_part(const struct xv_flow_key *key)
{
	return (const uint8_t *)key + PACKET_OFFSET;
}

/*
 * Extract from a copy of exactly len bytes, so that a sanitizer sees a read beyond, into a key that was full of
 * something else. What is not the packet's must be as before.
 */
static int extract(const uint8_t *bytes, uint16_t len, uint32_t frame_len, rte_be32_t packet_type,
		   struct xv_flow_key *key, struct xv_flow_layout *layout)
{
	uint8_t *exact = malloc(len ? len : 1);
	int result;
	struct xv_flow_key before;

	memcpy(exact, bytes, len);
	memset(&before, 0xee, sizeof(before));
	before.packet_type = packet_type;
	*key = before;
	memset(layout, 0xee, sizeof(*layout));
	result = (int)xv_flow_extract(exact, len, frame_len, key, layout);
	free(exact);
	assert_memory_equal(key, &before, PACKET_OFFSET);
	assert_memory_equal(key->tun_options, before.tun_options, sizeof(before.tun_options));
	return result;
}

static uint16_t bytes_of(const struct extract_case *c, uint8_t *bytes, unsigned int max, uint32_t *frame_len)
{
	unsigned int n = unit_hex(c->hex, bytes, max);

	*frame_len = c->frame_len ? c->frame_len : n;
	return c->len ? c->len : (uint16_t)n;
}

static void table(void **state)
{
	struct xv_flow_layout layout;
	struct xv_flow_key key;
	uint8_t bytes[512];
	uint32_t frame_len;
	uint16_t len;

	for (const struct extract_case *c = cases; c < cases + N_CASES; c++) {
		print_message("%s\n", c->name);
		len = bytes_of(c, bytes, sizeof(bytes), &frame_len);
		assert_int_equal(extract(bytes, len, frame_len, c->key.packet_type, &key, &layout), c->result);
		assert_memory_equal(packet_part(&key), packet_part(&c->key), PACKET_SIZE);
		assert_int_equal(layout.l2_5, c->layout.l2_5);
		assert_int_equal(layout.l3, c->layout.l3);
		assert_int_equal(layout.l4, c->layout.l4);
		assert_int_equal(layout.l4_len, c->layout.l4_len);
		assert_int_equal(layout.payload_end, c->layout.payload_end);
	}
}

static void check_layout(const struct xv_flow_layout *l, uint32_t len, uint32_t frame_len)
{
	assert_true(l->l2_5 <= len && l->l3 <= len);
	assert_true(l->l4 == 0 || l->l4 < len);
	assert_true(l->l4 + l->l4_len <= len);
	assert_true(l->payload_end <= frame_len);
	assert_true(l->payload_end == 0 || l->l4 + l->l4_len <= l->payload_end);
}

/*
 * Every frame, cut at every byte: as a short frame, and as a long one of which little is seen. The same bytes without
 * their Ethernet header, which never take the short way through the parser, must give the same.
 */
static void prefixes(void **state)
{
	struct xv_flow_layout layout, bare_layout;
	struct xv_flow_key key, bare, again;
	uint32_t frame_len, whole;
	uint8_t bytes[512];
	uint16_t len, n, l3;

	for (const struct extract_case *c = cases; c < cases + N_CASES; c++) {
		len = bytes_of(c, bytes, sizeof(bytes), &whole);
		for (n = 0; n <= len; n++) {
			for (frame_len = n;; frame_len = whole) {
				int result;

				result = extract(bytes, n, frame_len, c->key.packet_type, &key, &layout);
				check_layout(&layout, n, frame_len);
				if (c->key.packet_type == 0)
					assert_int_equal(result == RUNT, n < 14);
				assert_int_equal(extract(bytes, n, frame_len, c->key.packet_type, &again, &bare_layout),
						 result);
				assert_memory_equal(&key, &again, sizeof(key));
				assert_memory_equal(&layout, &bare_layout, sizeof(layout));
				l3 = layout.l3;
				if (l3 > 0) {
					extract(bytes + l3, (uint16_t)(n - l3), frame_len - l3,
						PACKET_TYPE(rte_be_to_cpu_16(key.eth_type)), &bare, &bare_layout);
					assert_memory_equal((uint64_t *)&key + XV_FLOW_STAGE_L3,
							    (uint64_t *)&bare + XV_FLOW_STAGE_L3,
							    (XV_FLOW_FIXED_WORDS - XV_FLOW_STAGE_L3) * 8);
					assert_int_equal(bare.eth_type, key.eth_type);
					assert_int_equal(layout.l4, bare_layout.l4 ? bare_layout.l4 + l3 : 0);
					assert_int_equal(layout.l4_len, bare_layout.l4_len);
					assert_int_equal(layout.payload_end, bare_layout.payload_end + l3);
				}
				if (frame_len == whole)
					break;
			}
		}
	}
}

/* A frame is never longer than it is said to be. */
static void frame_length_rules(void **state)
{
	struct xv_flow_layout layout;
	struct xv_flow_key key;
	uint8_t bytes[128];
	uint16_t len = (uint16_t)unit_hex(MACS IPV4("001c", "0000", "11") UDP("0008"), bytes, sizeof(bytes));

	assert_int_equal(extract(bytes, len, 13, 0, &key, &layout), RUNT);
	assert_int_equal(extract(bytes, len, len - 1u, 0, &key, &layout), OK);
	assert_int_equal(layout.l3, 0);
	assert_int_equal(extract(bytes, len, len, 0, &key, &layout), OK);
	assert_int_equal(layout.l4, 34);
}

/* As many extension headers, or options of a solicitation, as a packet can have. */
static void longest_chains(void **state)
{
	static uint8_t bytes[UINT16_MAX];
	struct xv_flow_layout layout;
	struct xv_flow_key key;
	uint16_t len = UINT16_MAX, payload = UINT16_MAX - 54, at;

	unit_hex(MACS IPV6("0000", "3c"), bytes, 54);
	bytes[18] = (uint8_t)(payload >> 8);
	bytes[19] = (uint8_t)payload;
	for (at = 54; at <= len - 24; at += 8)
		bytes[at] = 60;
	bytes[at] = 17; /* the last one */
	assert_int_equal(extract(bytes, len, len, 0, &key, &layout), OK);
	assert_int_equal(key.ip_proto, 17);
	assert_int_equal(layout.l4, at + 8);
	assert_int_equal(key.ipv6_exthdrs, XV_EXTHDR_DEST | XV_EXTHDR_UNREP);

	bytes[20] = 58;
	memset(bytes + 54, 0, sizeof(bytes) - 54);
	bytes[54] = 135;
	for (at = 54 + 24; at <= len - 16; at += 8) {
		bytes[at] = 14;
		bytes[at + 1] = 1;
	}
	bytes[at] = 1;
	bytes[at + 1] = 1;
	bytes[at + 7] = 5;
	assert_int_equal(extract(bytes, len, len, 0, &key, &layout), OK);
	assert_int_equal(key.arp_sha[5], 5);
}

static struct xv_flow_key key_of(const char *hex)
{
	struct xv_flow_layout layout;
	struct xv_flow_key key;
	uint8_t bytes[512];
	unsigned int n = unit_hex(hex, bytes, sizeof(bytes));

	assert_int_equal(extract(bytes, (uint16_t)n, n, 0, &key, &layout), OK);
	return key;
}

static uint32_t hash_of(const char *hex)
{
	struct xv_flow_key key = key_of(hex);

	return xv_flow_hash_5tuple(&key, 0, false);
}

static void hash(void **state)
{
	uint32_t first = hash_of(MACS IPV4("001c", "2000", "11") UDP("0400"));
	uint32_t first6 = hash_of(MACS IPV6("0010", "2c") "1100000100000001" UDP("0400"));

	/* Fragments of a datagram stay together: only the first has ports, and in IPv6 the protocol. */
	assert_int_equal(first, hash_of(MACS IPV4("001c", "2010", "11") EIGHT));
	assert_int_equal(first, hash_of(MACS IPV4("001c", "0020", "11") EIGHT));
	assert_int_not_equal(first, hash_of(MACS IPV4("001c", "0000", "11") UDP("0008")));
	assert_int_equal(first6, hash_of(MACS IPV6("0010", "2c") "1100000900000001" EIGHT));
	assert_int_not_equal(first6, hash_of(MACS IPV6("0008", "11") UDP("0008")));
	/* What differs within a flow does not matter. */
	assert_int_equal(hash_of(MACS IPV4("0028", "0000", "06") TCP),
			 hash_of("020000000009 060000000009" TAG IPV4("0034", "4000", "06") TCP_OPTIONS));
	assert_int_equal(hash_of(MACS IPV6("0014", "06") TCP), hash_of(MACS IPV6("001c", "00") EXT("06") TCP));
	assert_int_equal(hash_of(MACS IPV4("001c", "0000", "01") "0801000000000000"),
			 hash_of(MACS IPV4("001c", "0000", "01") "0000000000000000"));
	/* What makes a flow does. */
	assert_int_not_equal(hash_of(MACS IPV4("0020", "0000", "84") SCTP),
			     hash_of(MACS IPV4("0028", "0000", "06") TCP));
	assert_int_not_equal(hash_of(MACS "88cc"), hash_of("020000000009 060000000002 88cc"));
	assert_int_not_equal(hash_of(MACS "88cc"), hash_of("020000000001 060000000003 88cc"));
}

static void swap_ends(struct xv_flow_key *key)
{
	union xv_ip_addr addr = key->ip_src;
	rte_be16_t port = key->tp_src;
	uint8_t mac[6];

	key->ip_src = key->ip_dst;
	key->ip_dst = addr;
	key->tp_src = key->tp_dst;
	key->tp_dst = port;
	memcpy(mac, key->eth_src, sizeof(mac));
	memcpy(key->eth_src, key->eth_dst, sizeof(mac));
	memcpy(key->eth_dst, mac, sizeof(mac));
}

static void hash_symmetric(void **state)
{
	struct xv_flow_key key = key_of(MACS IPV4("0028", "0000", "06") TCP), back = key;
	struct xv_flow_key other = key_of(MACS "88cc"), other_back = other;

	swap_ends(&back);
	swap_ends(&other_back);
	assert_int_equal(xv_flow_hash_5tuple(&key, 7, true), xv_flow_hash_5tuple(&back, 7, true));
	assert_int_not_equal(xv_flow_hash_5tuple(&key, 7, false), xv_flow_hash_5tuple(&back, 7, false));
	assert_int_equal(xv_flow_hash_5tuple(&other, 7, true), xv_flow_hash_5tuple(&other_back, 7, true));
	assert_int_not_equal(xv_flow_hash_5tuple(&other, 7, false), xv_flow_hash_5tuple(&other_back, 7, false));
	assert_int_not_equal(xv_flow_hash_5tuple(&key, 7, true), xv_flow_hash_5tuple(&key, 8, true));
	/* Each address keeps its own port. */
	back = key;
	back.tp_src = key.tp_dst;
	back.tp_dst = key.tp_src;
	assert_int_not_equal(xv_flow_hash_5tuple(&key, 7, true), xv_flow_hash_5tuple(&back, 7, true));
}

/* Flows that differ little, told apart by the lower or the upper bits of the hash. */
static void hash_spreads(void **state)
{
	struct xv_flow_key key = key_of(MACS IPV4("0028", "0000", "06") TCP);
	struct xv_flow_key key6 = key_of(MACS IPV6("0014", "06") TCP);
	unsigned int kind, i, n = 8000;

	for (kind = 0; kind < 10; kind++) {
		unsigned int low[8] = {0}, high[8] = {0};
		bool symmetric = kind & 1;

		for (i = 0; i < n; i++) {
			struct xv_flow_key *k = kind / 2 == 4 ? &key6 : &key;
			uint32_t h;

			switch (kind / 2) {
			case 0: /* ports */
				k->tp_src = rte_cpu_to_be_16((uint16_t)i);
				break;
			case 1:
				k->tp_dst = rte_cpu_to_be_16((uint16_t)i);
				break;
			case 2: /* addresses */
				k->ip_src.words[3] = rte_cpu_to_be_32(0x0a000000 + i);
				break;
			case 3: /* both ends the same */
				k->ip_src.words[3] = k->ip_dst.words[3] = rte_cpu_to_be_32(0x0a000000 + i);
				k->tp_src = k->tp_dst = rte_cpu_to_be_16((uint16_t)i);
				break;
			case 4:
				k->ip_src.words[1] = rte_cpu_to_be_32(i);
				break;
			}
			h = xv_flow_hash_5tuple(k, 0, symmetric);
			low[h % 8]++;
			high[h >> 29]++;
		}
		for (i = 0; i < 8; i++) {
			assert_in_range(low[i], 850, 1150);
			assert_in_range(high[i], 850, 1150);
		}
	}
}

/* XVIO_BENCH=1: cycles (of the time stamp counter) per packet, of 64 warm ones. */
static void speed(void **state)
{
	static struct xv_flow_key keys[64];
	static uint8_t frames[64][128];
	struct xv_flow_layout layouts[64];
	static const struct {
		const char *name, *hex;
	} shapes[] = {
		{"eth ipv4 udp", MACS IPV4("001c", "0000", "11") UDP("0008") EIGHT EIGHT EIGHT},
		{"eth ipv4 tcp", MACS IPV4("0028", "4000", "06") TCP EIGHT},
		{"eth vlan ipv4 udp", MACS TAG IPV4("001c", "0000", "11") UDP("0008") EIGHT EIGHT},
		{"eth ipv6 udp", MACS IPV6("0008", "11") UDP("0008")},
		{"eth ipv6 tcp", MACS IPV6("0014", "06") TCP},
		{"eth ipv4 icmp", MACS IPV4("001c", "0000", "01") "0800000000000000" EIGHT EIGHT EIGHT},
		{"eth arp", MACS "0806" ARP("0001") EIGHT EIGHT EIGHT},
	};
	unsigned int i, shape, round;
	uint16_t len;

	if (!getenv("XVIO_BENCH"))
		return;
	for (shape = 0; shape < sizeof(shapes) / sizeof(shapes[0]); shape++) {
		uint64_t start, best = UINT64_MAX, best_hash = UINT64_MAX;

		len = (uint16_t)unit_hex(shapes[shape].hex, frames[0], sizeof(frames[0]));
		for (i = 1; i < 64; i++)
			memcpy(frames[i], frames[0], len);
		for (round = 0; round < 10000; round++) {
			start = rte_rdtsc();
			for (i = 0; i < 64; i++)
				xv_flow_extract(frames[i], len, len, &keys[i], &layouts[i]);
			best = RTE_MIN(best, rte_rdtsc() - start);
			start = rte_rdtsc();
			for (i = 0; i < 64; i++)
				xv_flow_hash_5tuple(&keys[i], 0, false);
			best_hash = RTE_MIN(best_hash, rte_rdtsc() - start);
		}
		print_message("%-18s extract %5.1f  hash %5.1f\n", shapes[shape].name, (double)best / 64,
			      (double)best_hash / 64);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(table),          cmocka_unit_test(prefixes), cmocka_unit_test(frame_length_rules),
		cmocka_unit_test(longest_chains), cmocka_unit_test(hash),     cmocka_unit_test(hash_symmetric),
		cmocka_unit_test(hash_spreads),   cmocka_unit_test(speed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
