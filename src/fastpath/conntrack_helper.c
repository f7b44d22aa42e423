/* SPDX-License-Identifier: Apache-2.0 */
/* Helpers: none yet. */
#include "fastpath/conntrack_helper.h"

#include <errno.h>

int xv_ct_helpers_create(uint32_t max, struct xv_ct_helpers **helpers)
{
	(void)max;
	*helpers = NULL;
	return 0;
}

void xv_ct_helpers_destroy(struct xv_ct_helpers *helpers)
{
	(void)helpers;
}

int xv_ct_helper_attach(struct xv_ct_helpers *helpers, struct xv_conn *conn, enum xv_ct_helper helper)
{
	(void)helpers;
	(void)conn;
	(void)helper;
	return -ENOSPC;
}

void xv_ct_helper_release(struct xv_ct_helpers *helpers, struct xv_conn *conn)
{
	(void)helpers;
	(void)conn;
}

int xv_ct_helper_packet(struct xv_ct_helpers *helpers, struct xv_conn *conn, enum xv_ct_dir dir, struct rte_mbuf *m,
			struct xv_flow_key *key, struct xv_flow_layout *layout, bool nat, uint32_t now_ms)
{
	(void)helpers;
	(void)conn;
	(void)dir;
	(void)m;
	(void)key;
	(void)layout;
	(void)nat;
	(void)now_ms;
	return 0;
}

int32_t xv_ct_helper_ack_shift(struct xv_ct_helpers *helpers, const struct xv_conn *conn, enum xv_ct_dir dir,
			       uint32_t ack)
{
	(void)helpers;
	(void)conn;
	(void)dir;
	(void)ack;
	return 0;
}

bool xv_ct_expected(struct xv_ct_helpers *helpers, const struct xv_ct_tuple *original, bool take, uint32_t now_ms,
		    struct xv_ct_expected *e)
{
	(void)helpers;
	(void)original;
	(void)take;
	(void)now_ms;
	(void)e;
	return false;
}

int xv_ct_nat_follow(const struct xv_ct_expected *e, const struct xv_ct_tuple *original, struct xv_ct_tuple *reply,
		     bool (*taken)(const struct xv_ct_tuple *reply, void *arg), void *arg, uint64_t random)
{
	(void)e;
	(void)original;
	(void)reply;
	(void)taken;
	(void)arg;
	(void)random;
	return -ENOSPC;
}
