/* SPDX-License-Identifier: Apache-2.0 */
/*
 * xv_parse(): the input is a frame behind 2 bytes that say by how much it is longer than what is
 * seen of it. The frame lies in a heap buffer of exactly its size, so that a read beyond is seen.
 */
#include "fuzz.h"

#include <string.h>

#include "net/parse.h"

static void check(const struct xv_parsed *p, uint32_t len)
{
	FUZZ_CHECK(p->l3_offset == 0 || (p->l3_offset >= 14 && p->l3_offset <= len));
	if (p->l4_offset == 0) {
		FUZZ_CHECK(p->l4_len == 0);
		return;
	}
	FUZZ_CHECK(p->l3_offset != 0);
	FUZZ_CHECK(p->eth_type == 0x0800 || p->eth_type == 0x86dd);
	FUZZ_CHECK(p->l4_offset >= p->l3_offset + (p->eth_type == 0x0800 ? 20u : 40u));
	FUZZ_CHECK((uint32_t)p->l4_offset + p->l4_len <= len && p->l4_offset < len);
	if (p->ip_proto == 6)
		FUZZ_CHECK(p->l4_len >= 20 && p->l4_len <= 60);
	else
		FUZZ_CHECK(p->l4_len == (p->ip_proto == 17 ? 8 : 0));
}

static void parse(const uint8_t *data, uint16_t len, uint32_t frame_len)
{
	uint8_t *exact = malloc(len ? len : 1);
	struct xv_parsed p, eth;
	enum xv_parse_result result;

	memcpy(exact, data, len);
	memset(&p, 0xa5, sizeof(p));
	result = xv_parse(exact, len, frame_len, &p);
	FUZZ_CHECK((result == XV_PARSE_RUNT) == (len < 14));
	if (result == XV_PARSE_OK) {
		check(&p, len);
		FUZZ_CHECK(xv_parse_eth(exact, len, &eth) == XV_PARSE_OK);
		FUZZ_CHECK(eth.dst_key == p.dst_key && eth.src_key == p.src_key);
		FUZZ_CHECK(eth.eth_type == p.eth_type && eth.tagged == p.tagged);
		FUZZ_CHECK(eth.vlan_tci == p.vlan_tci);
	}
	free(exact);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint16_t len;

	if (size < 2)
		return 0;
	len = (uint16_t)(size - 2 < UINT16_MAX ? size - 2 : UINT16_MAX);
	parse(data + 2, len, len);
	parse(data + 2, len, (uint32_t)len + data[0] + ((uint32_t)data[1] << 8));
	if (len > 128)
		parse(data + 2, 128, len);
	return 0;
}
