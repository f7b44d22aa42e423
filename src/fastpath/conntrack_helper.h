/* SPDX-License-Identifier: Apache-2.0 */
/* Helpers: what looks into the packets of a connection that announces others. */
#pragma once

#include "fastpath/conntrack_state.h"

struct xv_ct_helpers; /* connections that have one, and expectations. Its lock is a leaf */

/* How a connection that was announced is to be made. */
struct xv_ct_expected {
	struct xv_conn *master;
	uint32_t master_generation;
	uint32_t mark; /* of the master */
	uint64_t label[2];
	struct xv_ct_tuple master_tuple;
	bool nat;
};

int xv_ct_helpers_create(uint32_t max, struct xv_ct_helpers **helpers);
void xv_ct_helpers_destroy(struct xv_ct_helpers *helpers);
/* The connection is locked. -ENOSPC: it goes on without helper. */
int xv_ct_helper_attach(struct xv_ct_helpers *helpers, struct xv_conn *conn, enum xv_ct_helper helper);
/* It dies, and has a helper_slot. It is locked. */
void xv_ct_helper_release(struct xv_ct_helpers *helpers, struct xv_conn *conn);
/* A packet of a stored connection with a helper, after translation; the connection is locked. 0, or -errno: drop it. */
int xv_ct_helper_packet(struct xv_ct_helpers *helpers, struct xv_conn *conn, enum xv_ct_dir dir, struct rte_mbuf *m,
			struct xv_flow_key *key, struct xv_flow_layout *layout, bool nat, uint32_t now_ms);
/* xv_ct_packet.ack_shift of a connection with XV_CONN_SEQ_ADJUST. */
int32_t xv_ct_helper_ack_shift(struct xv_ct_helpers *helpers, const struct xv_conn *conn, enum xv_ct_dir dir,
			       uint32_t ack);
/* Was a connection with this original tuple announced? take: and nobody else is to find it. */
bool xv_ct_expected(struct xv_ct_helpers *helpers, const struct xv_ct_tuple *original, bool take, uint32_t now_ms,
		    struct xv_ct_expected *e);
/* In place of xv_ct_nat_choose() for an announced connection. */
int xv_ct_nat_follow(const struct xv_ct_expected *e, const struct xv_ct_tuple *original, struct xv_ct_tuple *reply,
		     bool (*taken)(const struct xv_ct_tuple *reply, void *arg), void *arg, uint64_t random);
