/* SPDX-License-Identifier: Apache-2.0 */
/* Outer headers off, as the tunnel_pop action says: on the long way, and on that of fused flows for the first packet of a burst; the
 * next ones are compared with it (net/tunnel_memo.h). */
#include "fastpath/action.h"
#include "fastpath/worker_state.h"
#include "net/packet_share.h"
#include "net/tunnel.h"
#include "net/tunnel_memo.h"
#include "port/eal.h"

bool xv_tunnel_pop(const struct xv_action *a, struct rte_mbuf **m, struct xv_flow_key *key, struct xv_decap_memo *memo,
		   enum xv_drop *why)
{
	const struct xv_action_tunnel_pop *pop = (const struct xv_action_tunnel_pop *)(const void *)a->data;
	const struct xv_decap_config config = {
		.ports = {{.port = pop->udp_port, .type = pop->type, .gbp = pop->gbp, .gpe = pop->gpe}},
		.n_ports = pop->type != XV_TUNNEL_GRE,
		.gre = pop->type == XV_TUNNEL_GRE ? XV_DECAP_GRE : 0,
		.n_options = XV_DECAP_ANY_OPTION,
	};
	struct rte_mbuf *own = xv_packet_own(*m, xv_packet_pool());
	enum xv_decap_result result;
	struct xv_decap decap;

	if (unlikely(own == NULL)) {
		*why = XV_DROP_NO_BUFFER;
		return false;
	}
	*m = own;
	result = xv_decap_parse(rte_pktmbuf_mtod(own, const uint8_t *), rte_pktmbuf_data_len(own), rte_pktmbuf_pkt_len(own),
				&config, key, &decap);
	if (likely(result == XV_DECAP_OK) && decap.has_csum)
		result = xv_decap_csum_verify(own, &decap);
	if (unlikely(result != XV_DECAP_OK)) {
		*why = result == XV_DECAP_UDP_CSUM || result == XV_DECAP_GRE_CSUM ? XV_DROP_TUNNEL_CSUM
										   : XV_DROP_TUNNEL_HEADER;
		return false;
	}
	if (memo != NULL)
		xv_decap_memo_fill(memo, rte_pktmbuf_mtod(own, const uint8_t *), &decap);
	if (unlikely(xv_decap_strip(own, &decap) != 0)) {
		*why = XV_DROP_TUNNEL_HEADER;
		return false;
	}
	/* Outer headers that were ours lay in a buffer of their own. */
	if (unlikely(own->nb_segs > 1 && own->data_len < XV_PACKET_OWN_BYTES) &&
	    xv_packet_pull(own, XV_PACKET_OWN_BYTES, xv_packet_pool()) != 0) {
		*why = XV_DROP_NO_BUFFER;
		return false;
	}
	key->in_port = a->arg;
	key->packet_type = decap.packet_type;
	return true;
}
