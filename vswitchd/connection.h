/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests to xviod and its answers (src/ovs/protocol.h). A pool belongs to a datapath, or to none, and keeps connections for any
 * number of threads; each request has one for itself until it is answered. What xviod has to be told again after it was
 * restarted is kept with the pool.
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

/* create: the datapath, if it is not there. 0 or a positive errno value: ENODEV, EEXIST; ECONNREFUSED and the like: no xviod.
 * There is one pool for a datapath, whoever opens it. */
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
/* xviod's sentence about what went wrong, or what errno says. Valid as long as the answer is. */
char *xvio_reply_text(const struct xvio_reply *, int error);

/* ---- What a new xviod is told ---- */

/* A request that made a port, by name, which went well: the newest of each name counts. Settings, such as meters, are kept by
 * xvio_transact(). */
void xvio_keep(struct xvio_pool *, const char *name, const struct ofpbuf *request);
void xvio_forget(struct xvio_pool *, enum xv_ovs_request, const char *name);
void xvio_forget_port(struct xvio_pool *, uint32_t number);
/* The datapath is gone, and all that is kept. */
void xvio_forget_all(struct xvio_pool *);
/* Ports by what is kept, for when xviod does not answer: requests in the order in which they were made; the next after
 * *cursor (0: begin), the caller deletes it. NULL: no more. */
struct ofpbuf *xvio_kept_port(struct xvio_pool *, unsigned int *cursor);
/* The request that makes the port of that name, of whatever datapath; the caller deletes it. NULL: there is none. */
struct ofpbuf *xvio_kept_port_named(const char *name);
/* The port's own request is another one now, whatever datapath it is of; its number stays. */
void xvio_keep_port(const char *name, const struct ofpbuf *request);
/* All that is kept, on this connection, of datapaths that xviod does not know. Returns how many datapaths that were. */
unsigned int xvio_restore(int fd);
/* Whether its flows are gone since this was asked last. */
bool xvio_pool_was_restored(struct xvio_pool *);

/* A connection of one's own, for those that do not want to wait. -errno, or a non-blocking descriptor. */
int xvio_connect(const struct xvio_pool *);
/* A blocking connection without a datapath: -errno. */
int xvio_connect_any(void);
const char *xvio_socket_path(void);
/* Asks on a connection: errors of it, not those that xviod answers. */
int xvio_ask(int fd, const struct ofpbuf *request, struct xvio_reply *);
/* Completes the header. */
void xvio_request_finish(struct ofpbuf *);
