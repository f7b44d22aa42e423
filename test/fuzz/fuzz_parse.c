/* SPDX-License-Identifier: Apache-2.0 */
/*
 * xv_parse(), and the answers to what it finds (net/icmp_error.h): the input is a frame behind 2 bytes that say by how
 * much it is longer than what is seen of it. The frame lies in a heap buffer of exactly its size, so that a read beyond
 * is seen.
 */
#include "fuzz.h"

#include <string.h>

#include "net/checksum.h"
#include "net/icmp_error.h"
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

/* A sound frame back to where the other came from, and none that is answered itself. */
static void check_answer(const uint8_t *frame, const uint8_t *answer, uint32_t len)
{
	uint8_t again[XV_ANSWER_MAX];
	struct xv_parsed p;
	const uint8_t *ip;
	uint32_t l4_len;
	uint16_t sum;

	if (len == 0)
		return;
	FUZZ_CHECK(len <= XV_ANSWER_MAX);
	FUZZ_CHECK(xv_parse(answer, (uint16_t)len, len, &p) == XV_PARSE_OK && p.l4_offset != 0);
	FUZZ_CHECK(memcmp(answer, frame + 6, 6) == 0 && memcmp(answer + 6, frame, 6) == 0);
	ip = answer + p.l3_offset;
	l4_len = len - p.l4_offset;
	sum = xv_csum_sum(answer + p.l4_offset, l4_len);
	if (p.eth_type == 0x0800) {
		FUZZ_CHECK(xv_csum_sum(ip, 20) == 0xffff);
		if (p.ip_proto == 6)
			sum = xv_csum_add(sum, xv_csum_pseudo4(ip + 12, ip + 16, 6, l4_len));
	} else {
		sum = xv_csum_add(sum, xv_csum_pseudo6(ip + 8, ip + 24, p.ip_proto, l4_len));
	}
	FUZZ_CHECK(sum == 0xffff);
	if (p.ip_proto == 6)
		FUZZ_CHECK(xv_tcp_reset(answer, (uint16_t)len, len, again) == 0);
	else
		FUZZ_CHECK(xv_icmp_too_big(answer, (uint16_t)len, len, 1280, again) == 0);
}

static void parse(const uint8_t *data, uint16_t len, uint32_t frame_len)
{
	uint8_t *exact = malloc(len ? len : 1), answer[XV_ANSWER_MAX];
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
	check_answer(exact, answer, xv_icmp_too_big(exact, len, frame_len, 1400, answer));
	check_answer(exact, answer, xv_icmp_unreachable(exact, len, frame_len, 13, 1, answer));
	check_answer(exact, answer, xv_tcp_reset(exact, len, frame_len, answer));
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
