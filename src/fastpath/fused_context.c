/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Contexts: what packets that lost their outer headers have in common, so that their second look-up in the cache takes a
 * number for the input port. A set-associative table; one that was in use a moment ago is not thrown out, so that a peer
 * who varies what he sends makes misses, but none of others' contexts go.
 */
#include <string.h>

#include "fastpath/fused_state.h"
#include "fastpath/worker_state.h"

#define CONTEXT_REST_TICKS (1u << 13) /* 1 s at 2 GHz */

/* The tunnel's fields without the options; its source port is 0. */
static inline const uint64_t *tunnel_words(const struct xv_flow_key *key)
{
	return (const uint64_t *)(const void *)key + XV_FLOW_STAGE_TUNNEL;
}

static inline bool is_of(const struct xv_fused_context *c, uint16_t port, const struct xv_flow_key *key)
{
	const uint64_t *a = tunnel_words(&c->key), *b = tunnel_words(key);
	uint64_t differ = 0;
	unsigned int i;

	for (i = 0; i < XV_FLOW_STAGE_L2 - XV_FLOW_STAGE_TUNNEL; i++)
		differ |= a[i] ^ b[i];
	return differ == 0 && c->number != 0 && c->port == port && c->key.in_port == key->in_port &&
	       (likely(key->tun_options_len == 0) ||
		memcmp(c->key.tun_options, key->tun_options, key->tun_options_len) == 0);
}

void xv_fused_contexts_renew(struct xv_fused *fused)
{
	unsigned int i;

	if (likely(fused->context_number < CONTEXT_LAST))
		return;
	xv_fused_flush(fused);
	for (i = 0; i < CONTEXTS; i++)
		fused->contexts[i].number = 0;
	fused->context_last = NULL;
	fused->context_number = CONTEXT_FIRST;
}

const struct xv_fused_context *xv_fused_context(struct xv_fused *fused, uint16_t port, const struct xv_flow_key *key,
						uint32_t tick)
{
	struct xv_fused_context *set, *c = fused->context_last, *oldest = NULL;
	const uint64_t *words = tunnel_words(key);
	uint64_t hash = key->in_port;
	unsigned int i;

	/* Only Ethernet is looked up. A tunnel may carry other packets in between, by the same outer headers. */
	if (unlikely(key->packet_type != 0))
		return NULL;
	if (likely(c != NULL && is_of(c, port, key))) {
		c->used = tick;
		return c;
	}
	for (i = 0; i < XV_FLOW_STAGE_L2 - XV_FLOW_STAGE_TUNNEL; i++)
		hash = mix(hash ^ words[i], fused->secret[i % 2]);
	set = &fused->contexts[hash % (CONTEXTS / CONTEXT_WAYS) * CONTEXT_WAYS];
	for (i = 0; i < CONTEXT_WAYS; i++) {
		c = &set[i];
		if (is_of(c, port, key)) {
			c->used = tick;
			fused->context_last = c;
			return c;
		}
		if (oldest == NULL || c->number == 0 || (oldest->number != 0 && tick - c->used > tick - oldest->used))
			oldest = c;
	}
	if ((oldest->number != 0 && tick - oldest->used < CONTEXT_REST_TICKS) || fused->context_number == CONTEXT_LAST)
		return NULL;
	*oldest = (struct xv_fused_context){.number = fused->context_number++, .port = port, .used = tick, .key = *key};
	fused->context_last = oldest;
	return oldest;
}
