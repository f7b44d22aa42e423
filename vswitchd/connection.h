/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests to xviod and its answers (src/ovs/protocol.h). A pool belongs to a datapath and keeps connections for any number of
 * threads; each request has one for itself until it is answered.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "openvswitch/ofpbuf.h"
#include "ovs/protocol.h"

struct xvio_pool;

/* An answer. Bodies of items lie in it. */
struct xvio_reply {
    struct xv_ovs_header *header; /* malloc()ed, NULL: none */
    const void *items;
    uint32_t len; /* of items */
};

/* create: the datapath, if it is not there. 0 or a positive errno value: ENODEV, EEXIST; ECONNREFUSED and the like: no xviod. */
int xvio_pool_open(const char *datapath, bool create, struct xvio_pool **);
void xvio_pool_close(struct xvio_pool *);

/* Writing a request: begin, put, perhaps open and close items in items. */
void xvio_request_init(struct ofpbuf *, enum xv_ovs_request);
void xvio_put(struct ofpbuf *, enum xv_ovs_item_type, const void *, size_t);
void xvio_put_u32(struct ofpbuf *, enum xv_ovs_item_type, uint32_t);
void xvio_put_text(struct ofpbuf *, enum xv_ovs_item_type, const char *);
size_t xvio_open(struct ofpbuf *, enum xv_ovs_item_type);
void xvio_close(struct ofpbuf *, size_t);

/* Asks, waits for the answer, frees the request. 0 or a positive errno value: xviod's, or one of the connection. *reply, unless
 * NULL, is to be freed in any case. */
int xvio_transact(struct xvio_pool *, struct ofpbuf *request, struct xvio_reply *);
void xvio_reply_free(struct xvio_reply *);

/* Asks without a datapath. */
int xvio_transact_any(struct ofpbuf *request, struct xvio_reply *);

/* A connection of one's own, for those that do not want to wait. -errno, or a non-blocking descriptor. */
int xvio_connect(const struct xvio_pool *);
/* Completes the header. */
void xvio_request_finish(struct ofpbuf *);
