/* SPDX-License-Identifier: Apache-2.0 */
/* Translation of connections. */
#include "fastpath/conntrack_nat.h"

#include <errno.h>

int xv_ct_nat_choose(const struct xv_ct_nat *nat, const struct xv_ct_tuple *original, struct xv_ct_tuple *reply,
		     bool (*taken)(const struct xv_ct_tuple *reply, void *arg), void *arg, uint64_t random)
{
	(void)nat;
	(void)original;
	(void)random;
	return taken(reply, arg) ? -ENOSPC : 0;
}

int xv_ct_nat_translate(const struct xv_conn *conn, enum xv_ct_dir dir, bool icmp_error, struct rte_mbuf *m,
			struct xv_flow_key *key, struct xv_flow_layout *layout)
{
	(void)conn;
	(void)dir;
	(void)icmp_error;
	(void)m;
	(void)key;
	(void)layout;
	return -EINVAL;
}
