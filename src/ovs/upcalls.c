/* SPDX-License-Identifier: Apache-2.0 */
#include "ovs/upcalls.h"

#include <stdlib.h>

#include "fastpath/upcall.h"
#include "ovs/datapath.h"
#include "ovs/key.h"
#include "ovs/message.h"

#define COLLECT_MAX 1024

struct waiting {
	struct xv_upcall *first[XV_UPCALLS_PER_PORT]; /* a ring */
	unsigned int at, n;
};

struct xv_ovs_upcalls {
	struct xv_ovs_datapath *dp;
	bool on;
	uint32_t turn; /* id of the port that is next */
	struct waiting *ports[XV_MAX_PORTS];
};

static unsigned int n_listening;

struct xv_ovs_upcalls *xv_ovs_upcalls_create(struct xv_ovs_datapath *dp)
{
	struct xv_ovs_upcalls *u = calloc(1, sizeof(*u));

	if (u != NULL)
		u->dp = dp;
	return u;
}

static struct xv_upcall *take(struct waiting *w)
{
	struct xv_upcall *upcall = w->first[w->at];

	w->at = (w->at + 1) % XV_UPCALLS_PER_PORT;
	w->n--;
	return upcall;
}

void xv_ovs_upcalls_forget_port(struct xv_ovs_upcalls *u, uint32_t port_id)
{
	struct waiting *w = u->ports[port_id];

	while (w != NULL && w->n > 0)
		xv_upcall_free(take(w));
	free(w);
	u->ports[port_id] = NULL;
}

void xv_ovs_upcalls_set(struct xv_ovs_upcalls *u, bool on)
{
	uint32_t id;

	if (on != u->on) {
		u->on = on;
		n_listening += on ? 1 : -1u;
		xv_upcalls_listen(n_listening > 0);
	}
	for (id = 0; !on && id < XV_MAX_PORTS; id++)
		xv_ovs_upcalls_forget_port(u, id);
}

void xv_ovs_upcalls_destroy(struct xv_ovs_upcalls *u)
{
	if (u == NULL)
		return;
	xv_ovs_upcalls_set(u, false);
	free(u);
}

static void collect(struct xv_upcall *upcall, void *arg)
{
	struct xv_ovs_datapath *dp = xv_ovs_datapath_of(upcall->port_id);
	struct waiting *w;

	if (dp == NULL || !dp->upcalls->on)
		goto forget;
	if (upcall->type == XV_UPCALL_MISS)
		dp->missed++;
	w = dp->upcalls->ports[upcall->port_id];
	if (w == NULL)
		w = dp->upcalls->ports[upcall->port_id] = calloc(1, sizeof(*w));
	/* There are never more of a port than it may have on the way. */
	if (w == NULL || w->n == XV_UPCALLS_PER_PORT)
		goto forget;
	w->first[(w->at + w->n++) % XV_UPCALLS_PER_PORT] = upcall;
	return;

forget:
	xv_upcall_free(upcall);
}

bool xv_ovs_upcalls_collect(void)
{
	return xv_upcalls_take(COLLECT_MAX, collect, NULL);
}

static void put_packet(struct xv_ovs_message *m, const struct rte_mbuf *packet)
{
	uint8_t *to = xv_ovs_put_room(m, XV_OVS_PACKET, packet->pkt_len);

	for (; to != NULL && packet != NULL; packet = packet->next) {
		memcpy(to, rte_pktmbuf_mtod(packet, const void *), packet->data_len);
		to += packet->data_len;
	}
}

static void put_upcall(struct xv_ovs_message *m, const struct xv_ovs_datapath *dp, const struct xv_upcall *upcall)
{
	uint32_t at = xv_ovs_open(m, XV_OVS_UPCALL), key;

	key = xv_ovs_open(m, XV_OVS_KEY);
	xv_ovs_put_metadata(m, dp, &upcall->key);
	xv_ovs_close(m, key);
	if (upcall->type == XV_UPCALL_ACTION)
		xv_ovs_put(m, XV_OVS_USERSPACE, upcall->data, upcall->bytes);
	put_packet(m, upcall->m);
	xv_ovs_close(m, at);
}

unsigned int xv_ovs_upcalls_put(struct xv_ovs_upcalls *u, uint32_t handler, uint32_t handlers, struct xv_ovs_message *m)
{
	unsigned int n = 0, idle;

	for (idle = 0; idle < XV_MAX_PORTS && n < XV_OVS_UPCALLS_BATCH && m->len < XV_OVS_BATCH_BYTES; idle++) {
		uint32_t id = u->turn;
		struct xv_upcall *upcall;

		u->turn = (u->turn + 1) % XV_MAX_PORTS;
		if (u->ports[id] == NULL || u->ports[id]->n == 0 || id % handlers != handler)
			continue;
		upcall = take(u->ports[id]);
		put_upcall(m, u->dp, upcall);
		xv_upcall_free(upcall);
		n++;
		idle = 0;
	}
	return n;
}
