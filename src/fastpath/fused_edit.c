/* SPDX-License-Identifier: Apache-2.0 */
/* How fused flows rewrite headers: what a packet's first bytes became, made into a mask, an image and what checksums change by. */
#include <string.h>

#include "fastpath/fused_state.h"
#include "fastpath/worker_state.h"
#include "net/bytes.h"

/* What a one's complement sum changes by when the words of `from` become those of `to` (RFC 1624, equation 4). */
static uint32_t delta_of(uint32_t sum, const uint8_t *from, const uint8_t *to, unsigned int bytes)
{
	unsigned int i;

	for (i = 0; i + 1 < bytes; i += 2)
		sum += (uint16_t)~xv_load16(from + i) + (uint32_t)xv_load16(to + i);
	return sum;
}

static uint16_t fold(uint32_t sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)(sum + (sum >> 16));
}

bool xv_fused_edit_make(const struct xv_fused_place *place, const uint8_t *before, uint32_t pkt_len,
			const struct rte_mbuf *m, struct xv_fused_edit *edit)
{
	const bool ipv6 = (place->where & SHAPE_IPV6) != 0, tcp = (place->where & SHAPE_TCP) != 0;
	const bool icmp = (place->where & SHAPE_ICMP) != 0, gre = (place->where & SHAPE_GRE) != 0;
	const uint8_t *after = rte_pktmbuf_mtod(m, const uint8_t *);
	const unsigned int headers = place->l4 + (tcp ? 20u : 8u);
	const int shift = (int)m->pkt_len - (int)pkt_len;
	unsigned int l3, l4, l4_csum, i;
	uint32_t pseudo = 0, l4_sum;

	memset(edit, 0, sizeof(*edit));
	if (shift < -(int)place->l3 || (int)headers + shift > XV_FUSED_EDIT_BYTES ||
	    (int)m->data_len < (int)headers + shift)
		return false;
	l3 = (unsigned int)(place->l3 + shift);
	l4 = (unsigned int)(place->l4 + shift);
	l4_csum = l4 + (tcp ? 16 : icmp ? 2 : 6);
	edit->shift = (int16_t)shift;
	edit->udp = !tcp && !icmp && !gre;
	for (i = 0; i < headers + (unsigned int)shift; i++) {
		int was = (int)i - shift;

		if ((!ipv6 && (i == l3 + 10 || i == l3 + 11)) || (!gre && (i == l4_csum || i == l4_csum + 1)))
			continue;
		if (was >= 0 && before[was] == after[i])
			continue;
		edit->mask[i / 64] |= UINT64_C(1) << (i % 64);
		edit->image[i] = after[i];
	}
	if (!ipv6) {
		uint32_t sum = delta_of(0, before + place->l3, after + l3, 10);

		edit->ip_delta = fold(delta_of(sum, before + place->l3 + 12, after + l3 + 12, 8));
		edit->ip_csum = (uint8_t)(l3 + 10);
	}
	if (gre) /* its own checksum, if it has one, is of what nothing changes */
		return true;
	if (!icmp || ipv6)
		pseudo = delta_of(0, before + place->l3 + (ipv6 ? 8 : 12), after + l3 + (ipv6 ? 8 : 12), ipv6 ? 32 : 8);
	l4_sum = delta_of(pseudo, before + place->l4, after + l4, l4_csum - l4);
	i = l4_csum + 2 - l4;
	l4_sum = delta_of(l4_sum, before + place->l4 + i, after + l4 + i, headers - place->l4 - i);
	edit->pseudo_delta = fold(pseudo);
	edit->l4_delta = fold(l4_sum);
	edit->l4_csum = (uint8_t)l4_csum;
	return true;
}

/* RFC 1624, equation 3, with what has changed summed up already. -0 is no change: 0xffff and 0 are the same number. */
static void csum_add(uint8_t *at, uint16_t delta, bool udp)
{
	uint16_t csum = xv_load16(at);

	if (udp && csum == 0)
		return;
	csum = (uint16_t)~fold((uint32_t)(uint16_t)~csum + delta);
	if (udp && csum == 0)
		csum = 0xffff;
	memcpy(at, &csum, sizeof(csum));
}

static bool changes(uint16_t delta)
{
	return delta != 0 && delta != 0xffff;
}

bool xv_fused_edit_apply(const struct xv_fused *fused, const struct xv_fused_entry *entry, struct rte_mbuf *m)
{
	return xv_fused_edit_write(&fused->edits[entry - fused->entries], m);
}

bool xv_fused_edit_write(const struct xv_fused_edit *edit, struct rte_mbuf *m)
{
	struct xv_offload *request = NULL;
	uint8_t *data;
	unsigned int w;

	if (edit->shift > 0) {
		if (unlikely(rte_pktmbuf_prepend(m, (uint16_t)edit->shift) == NULL))
			return false;
	} else if (edit->shift < 0) {
		(void)rte_pktmbuf_adj(m, (uint16_t)-edit->shift);
	}
	data = rte_pktmbuf_mtod(m, uint8_t *);
	for (w = 0; w < XV_FUSED_EDIT_BYTES / 64; w++) {
		uint64_t left = edit->mask[w];

		for (; left != 0; left &= left - 1) {
			unsigned int i = 64 * w + (unsigned int)__builtin_ctzll(left);

			data[i] = edit->image[i];
		}
	}
	if (edit->ip_csum != 0 && changes(edit->ip_delta))
		csum_add(data + edit->ip_csum, edit->ip_delta, false);
	if (unlikely((m->ol_flags & XV_PACKET_OFFLOAD) != 0)) {
		request = xv_packet_offload(m);
		request->csum_start = (uint16_t)(request->csum_start + edit->shift);
	}
	/* A checksum that is still to be finished is the sum of the pseudo-header, not inverted. */
	if (unlikely(request != NULL && (request->flags & XV_OFFLOAD_CSUM) != 0 &&
		     request->csum_start + request->csum_offset == edit->l4_csum)) {
		if (changes(edit->pseudo_delta)) {
			uint16_t sum = fold((uint32_t)xv_load16(data + edit->l4_csum) + edit->pseudo_delta);

			memcpy(data + edit->l4_csum, &sum, sizeof(sum));
		}
	} else if (changes(edit->l4_delta)) {
		csum_add(data + edit->l4_csum, edit->l4_delta, edit->udp);
	}
	return true;
}
