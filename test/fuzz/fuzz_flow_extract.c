/* SPDX-License-Identifier: Apache-2.0 */
/*
 * xv_flow_extract() and xv_flow_format(): the input is a frame behind 3 bytes: the first picks the packet type, the
 * others say by how much the frame is longer than what is seen of it. The frame lies in a heap buffer of exactly its
 * size, so that a read beyond is seen; so does the text.
 */
#include "fuzz.h"

#include <string.h>

#include "net/flow_format.h"
#include "net/flow_key.h"

#define PACKET_OFFSET (XV_FLOW_STAGE_L2 * 8)
#define FRAME_MAX     (UINT16_MAX - 2)

static const uint16_t types[] = {0, 0x0800, 0x86dd, 0x0806, 0x8035, 0x8847, 0x8848, 0x894f, 0x8100};

static void check_layout(const struct xv_flow_key *key, const struct xv_flow_layout *l, uint32_t len,
			 uint32_t frame_len)
{
	uint16_t type = rte_be_to_cpu_16(key->eth_type);
	bool ip = type == 0x0800 || type == 0x86dd;
	uint32_t first = key->packet_type ? 0 : 14;

	FUZZ_CHECK(l->l2_5 == 0 || (l->l2_5 >= first && l->l2_5 + 4u <= len));
	FUZZ_CHECK(l->l3 == 0 || (l->l3 >= first && l->l3 < len));
	FUZZ_CHECK(l->l2_5 == 0 || l->l3 == 0);
	FUZZ_CHECK(l->payload_end <= frame_len);
	if (l->payload_end)
		FUZZ_CHECK(l->payload_end >= l->l3 + (type == 0x86dd ? 40u : type == 0x0800 ? 20u : 28u));
	if (l->l4 == 0) {
		FUZZ_CHECK(l->l4_len == 0);
		FUZZ_CHECK(key->tp_src == 0 && key->tp_dst == 0 && key->tcp_flags == 0);
		return;
	}
	FUZZ_CHECK(ip && key->ip_frag != XV_FRAG_LATER);
	FUZZ_CHECK(l->l4 >= l->l3 + (type == 0x0800 ? 20u : 40u));
	FUZZ_CHECK(l->l4 < len && (uint32_t)l->l4 + l->l4_len <= len);
	FUZZ_CHECK((uint32_t)l->l4 + l->l4_len <= l->payload_end);
	switch (key->ip_proto) {
	case 6:
		FUZZ_CHECK(l->l4_len >= 20 && l->l4_len <= 60);
		break;
	case 17:
		FUZZ_CHECK(l->l4_len == 8);
		break;
	case 132:
		FUZZ_CHECK(l->l4_len == 12);
		break;
	default:
		FUZZ_CHECK(l->l4_len == 0 || l->l4_len == 8);
	}
}

static void check_key(const struct xv_flow_key *key)
{
	unsigned int i;

	FUZZ_CHECK(key->ip_frag <= XV_FRAG_LATER);
	FUZZ_CHECK(key->mpls_depth <= XV_FLOW_MAX_MPLS);
	FUZZ_CHECK(key->packet_type || rte_be_to_cpu_16(key->eth_type) >= 0x5ff);
	FUZZ_CHECK(key->l2_pad == 0 && key->l3_pad[0] == 0 && key->l3_pad[1] == 0 && key->l3_pad[2] == 0);
	FUZZ_CHECK(key->l4_pad[0] == 0 && key->l4_pad[1] == 0 && key->l4_pad[2] == 0);
	for (i = 0; i < XV_FLOW_MAX_VLANS; i++) {
		bool tag = key->vlan[i].tpid == RTE_BE16(0x8100) || key->vlan[i].tpid == RTE_BE16(0x88a8);

		FUZZ_CHECK(tag == ((key->vlan[i].tci & RTE_BE16(0x1000)) != 0));
		FUZZ_CHECK(tag || (key->vlan[i].tpid == 0 && key->vlan[i].tci == 0));
	}
}

static void check_hash(const struct xv_flow_key *key)
{
	struct xv_flow_key back = *key;

	back.ip_src = key->ip_dst;
	back.ip_dst = key->ip_src;
	back.tp_src = key->tp_dst;
	back.tp_dst = key->tp_src;
	memcpy(back.eth_src, key->eth_dst, sizeof(back.eth_src));
	memcpy(back.eth_dst, key->eth_src, sizeof(back.eth_dst));
	FUZZ_CHECK(xv_flow_hash_5tuple(key, 1, true) == xv_flow_hash_5tuple(&back, 1, true));
}

/* What the key was filled with before must not matter. */
static enum xv_flow_extract_result extract(const uint8_t *data, uint16_t len, uint32_t frame_len,
					   rte_be32_t packet_type, uint8_t before, struct xv_flow_key *key,
					   struct xv_flow_layout *layout)
{
	uint8_t *exact = malloc(len ? len : 1);
	enum xv_flow_extract_result result;

	memcpy(exact, data, len);
	memset(key, before, sizeof(*key));
	memset(layout, before, sizeof(*layout));
	key->packet_type = packet_type;
	result = xv_flow_extract(exact, len, frame_len, key, layout);
	free(exact);
	return result;
}

static void format(const struct xv_flow_key *key, const struct xv_flow_key *mask, size_t room)
{
	size_t n = xv_flow_format(NULL, 0, key, mask, NULL, NULL);
	size_t size = room < n + 1 ? room : n + 1;
	char *text = malloc(size ? size : 1);

	FUZZ_CHECK(n < XV_FLOW_TEXT_SIZE);
	FUZZ_CHECK(xv_flow_format(text, size, key, mask, NULL, NULL) == n);
	if (size > 0)
		FUZZ_CHECK(strlen(text) == size - 1);
	free(text);
}

static void run(const uint8_t *data, uint16_t len, uint32_t frame_len, uint16_t type, bool text)
{
	const uint32_t packet_type = type ? rte_cpu_to_be_32(0x10000u | type) : 0;
	struct xv_flow_layout layout, layout2;
	struct xv_flow_key key, key2, mask = {0};
	enum xv_flow_extract_result result = extract(data, len, frame_len, packet_type, 0, &key, &layout);
	size_t i;

	FUZZ_CHECK(extract(data, len, frame_len, packet_type, 0xa5, &key2, &layout2) == result);
	FUZZ_CHECK(memcmp((uint8_t *)&key + PACKET_OFFSET, (uint8_t *)&key2 + PACKET_OFFSET,
			  offsetof(struct xv_flow_key, tun_options) - PACKET_OFFSET) == 0);
	FUZZ_CHECK(memcmp(&layout, &layout2, sizeof(layout)) == 0);
	FUZZ_CHECK(key2.tun_ttl == 0xa5 && key2.tun_options[0] == 0xa5 && key2.recirc_id == 0xa5a5a5a5);
	FUZZ_CHECK((result == XV_FLOW_RUNT) == (type == 0 && len < 14));
	FUZZ_CHECK(result != XV_FLOW_MALFORMED || type == 0);
	if (result == XV_FLOW_OK)
		check_key(&key);
	check_layout(&key, &layout, len, frame_len);
	check_hash(&key);
	/* Without its Ethernet header, which never takes the short way. */
	if (type == 0 && layout.l3) {
		extract(data + layout.l3, (uint16_t)(len - layout.l3), frame_len - layout.l3,
			rte_cpu_to_be_32(0x10000u | rte_be_to_cpu_16(key.eth_type)), 0, &key2, &layout2);
		FUZZ_CHECK(memcmp((uint64_t *)&key + XV_FLOW_STAGE_L3, (uint64_t *)&key2 + XV_FLOW_STAGE_L3,
				  (XV_FLOW_FIXED_WORDS - XV_FLOW_STAGE_L3) * 8) == 0);
		FUZZ_CHECK(layout.l4 == (layout2.l4 ? layout2.l4 + layout.l3 : 0) && layout.l4_len == layout2.l4_len);
		FUZZ_CHECK(layout.payload_end == layout2.payload_end + layout.l3);
	}
	if (!text)
		return;
	/* Whole, or with the frame's bytes as metadata, tunnel options, or mask. */
	for (i = 0; i < sizeof(mask) && len > 0; i++)
		((uint8_t *)&mask)[i] = data[i % len];
	key2 = mask;
	memcpy((uint8_t *)&key2 + PACKET_OFFSET, (uint8_t *)&key + PACKET_OFFSET,
	       offsetof(struct xv_flow_key, tun_options) - PACKET_OFFSET);
	switch (len % 4) {
	case 0:
		format(&key, NULL, SIZE_MAX);
		break;
	case 1:
		format(&key, &mask, len);
		break;
	case 2:
		format(&key2, NULL, SIZE_MAX);
		break;
	case 3:
		format(&mask, &key2, SIZE_MAX);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint16_t len, type;

	if (size < 3)
		return 0;
	len = (uint16_t)(size - 3 < FRAME_MAX ? size - 3 : FRAME_MAX);
	type = types[data[0] % (sizeof(types) / sizeof(types[0]))];
	run(data + 3, len, len, type, true);
	run(data + 3, len, (uint32_t)len + data[1] + ((uint32_t)data[2] << 8), type, false);
	if (len > 128)
		run(data + 3, 128, len, type, false);
	return 0;
}
