/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "connection.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "openvswitch/dynamic-string.h"
#include "openvswitch/vlog.h"
#include "ovs-thread.h"
#include "socket-util.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(xvio);

#define IDLE_MAX 64  /* connections that are kept */
#define TIMEOUT_S 30 /* xviod answers in microseconds: beyond this it hangs */

struct kept {
    struct ovs_list node;
    char *name;
    struct ofpbuf *request;
};

struct xvio_pool {
    struct ovs_list node; /* in pools, and so are the next three under its mutex */
    unsigned int n_users;
    struct ovs_list kept;
    bool restored;
    char *datapath; /* NULL: none */
    struct ovs_mutex mutex;
    int idle[IDLE_MAX] OVS_GUARDED;
    size_t n_idle OVS_GUARDED;
};

static struct ovs_mutex pools_mutex = OVS_MUTEX_INITIALIZER;
static struct ovs_list pools OVS_GUARDED_BY(pools_mutex) = OVS_LIST_INITIALIZER(&pools);
/* For requests without a datapath. */
static struct xvio_pool any = { .mutex = OVS_MUTEX_INITIALIZER };

static void adopt(struct xvio_pool *, int fd);
static void remember(struct xvio_pool *, const struct ofpbuf *request);

/* ---- Requests ---- */

void
xvio_request_init(struct ofpbuf *b, enum xv_ovs_request type)
{
    struct xv_ovs_header *h;

    ofpbuf_init(b, 1024);
    h = ofpbuf_put_zeros(b, sizeof *h);
    h->type = type;
}

void
xvio_put(struct ofpbuf *b, enum xv_ovs_item_type type, const void *body, size_t len)
{
    struct xv_ovs_item *item = ofpbuf_put_zeros(b, sizeof *item + xv_ovs_padded(len));

    item->len = len;
    item->type = type;
    if (len) {
        memcpy(item + 1, body, len);
    }
}

void
xvio_put_u32(struct ofpbuf *b, enum xv_ovs_item_type type, uint32_t value)
{
    xvio_put(b, type, &value, sizeof value);
}

void
xvio_put_text(struct ofpbuf *b, enum xv_ovs_item_type type, const char *text)
{
    xvio_put(b, type, text, strlen(text));
}

size_t
xvio_open(struct ofpbuf *b, enum xv_ovs_item_type type)
{
    size_t at = b->size;

    xvio_put(b, type, NULL, 0);
    return at;
}

void
xvio_close(struct ofpbuf *b, size_t at)
{
    struct xv_ovs_item *item = ofpbuf_at_assert(b, at, sizeof *item);
    uint32_t len = b->size - at - sizeof *item;

    item->len = len;
    ofpbuf_put_zeros(b, xv_ovs_padded(len) - len);
}

void
xvio_request_finish(struct ofpbuf *b)
{
    struct xv_ovs_header *h = b->data;

    h->len = b->size;
}

/* ---- Connections ---- */

const char *
xvio_socket_path(void)
{
    const char *path = getenv("XVIO_OVS_SOCKET");

    return path ? path : XV_OVS_SOCKET;
}

static int
send_all(int fd, const void *data, size_t len)
{
    const uint8_t *p = data;

    while (len) {
        ssize_t n = send(fd, p, len, MSG_NOSIGNAL);

        if (n < 0 && errno != EINTR) {
            return errno;
        }
        if (n > 0) {
            p += n;
            len -= n;
        }
    }
    return 0;
}

static int
recv_all(int fd, void *data, size_t len)
{
    uint8_t *p = data;

    while (len) {
        ssize_t n = recv(fd, p, len, 0);

        if (n == 0) {
            return EPIPE;
        }
        if (n < 0 && errno != EINTR) {
            return errno == EAGAIN ? ETIMEDOUT : errno;
        }
        if (n > 0) {
            p += n;
            len -= n;
        }
    }
    return 0;
}

/* Errors of the connection, not of xviod's answer: that is in the reply. */
int
xvio_ask(int fd, const struct ofpbuf *request, struct xvio_reply *reply)
{
    struct xv_ovs_header h;
    int error;

    error = send_all(fd, request->data, request->size);
    if (!error) {
        error = recv_all(fd, &h, sizeof h);
    }
    if (error) {
        return error;
    }
    if (h.len < sizeof h || h.len > XV_OVS_MESSAGE_MAX * 2) {
        return EPROTO;
    }
    reply->header = xmalloc(h.len);
    *reply->header = h;
    reply->items = reply->header + 1;
    reply->len = h.len - sizeof h;
    return recv_all(fd, reply->header + 1, reply->len);
}

void
xvio_reply_free(struct xvio_reply *reply)
{
    free(reply->header);
    *reply = (struct xvio_reply) { .header = NULL };
}

static int
connect_socket(void)
{
    struct sockaddr_un sun = { .sun_family = AF_UNIX };
    struct timeval timeout = { .tv_sec = TIMEOUT_S };
    int fd, error;

    ovs_strlcpy(sun.sun_path, xvio_socket_path(), sizeof sun.sun_path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
    if (connect(fd, (struct sockaddr *) &sun, sizeof sun) < 0) {
        error = errno;
        close(fd);
        return -error;
    }
    return fd;
}

static int
open_datapath(int fd, const char *datapath, bool create)
{
    struct xvio_reply reply = { .header = NULL };
    struct ofpbuf request;
    int error;

    xvio_request_init(&request, XV_OVS_DP_OPEN);
    xvio_put_text(&request, XV_OVS_NAME, datapath);
    if (create) {
        xvio_put(&request, XV_OVS_CREATE, NULL, 0);
    }
    xvio_request_finish(&request);
    error = xvio_ask(fd, &request, &reply);
    if (!error) {
        error = reply.header->error;
    }
    ofpbuf_uninit(&request);
    xvio_reply_free(&reply);
    return error;
}

/* A connection that speaks our version. */
int
xvio_connect_any(void)
{
    struct xvio_reply reply = { .header = NULL };
    int fd = connect_socket(), error;
    struct ofpbuf request;

    if (fd < 0) {
        return fd;
    }
    xvio_request_init(&request, XV_OVS_HELLO);
    xvio_put_u32(&request, XV_OVS_VERSION_ITEM, XV_OVS_VERSION);
    xvio_request_finish(&request);
    error = xvio_ask(fd, &request, &reply);
    if (!error) {
        error = reply.header->error;
    }
    ofpbuf_uninit(&request);
    xvio_reply_free(&reply);
    if (error) {
        close(fd);
        return -error;
    }
    return fd;
}

static void
give_back(struct xvio_pool *pool, int fd)
{
    ovs_mutex_lock(&pool->mutex);
    if (pool->n_idle < IDLE_MAX) {
        pool->idle[pool->n_idle++] = fd;
        fd = -1;
    }
    ovs_mutex_unlock(&pool->mutex);
    if (fd >= 0) {
        close(fd);
    }
}

int
xvio_pool_open(const char *datapath, bool create, struct xvio_pool **poolp)
{
    struct xvio_pool *pool;
    int fd = xvio_connect_any(), error;

    if (fd < 0) {
        return -fd;
    }
    error = open_datapath(fd, datapath, create);
    if (error) {
        close(fd);
        return error;
    }
    ovs_mutex_lock(&pools_mutex);
    LIST_FOR_EACH (pool, node, &pools) {
        if (!strcmp(pool->datapath, datapath)) {
            break;
        }
    }
    if (!pool) {
        pool = xzalloc(sizeof *pool);
        pool->datapath = xstrdup(datapath);
        ovs_list_init(&pool->kept);
        ovs_mutex_init(&pool->mutex);
        ovs_list_push_back(&pools, &pool->node);
        if (!create) {
            adopt(pool, fd);
        }
    }
    pool->n_users++;
    ovs_mutex_unlock(&pools_mutex);
    give_back(pool, fd);
    *poolp = pool;
    return 0;
}

void
xvio_pool_close(struct xvio_pool *pool)
{
    bool is_last;

    if (!pool) {
        return;
    }
    ovs_mutex_lock(&pools_mutex);
    is_last = !--pool->n_users;
    if (is_last) {
        ovs_list_remove(&pool->node);
    }
    ovs_mutex_unlock(&pools_mutex);
    if (!is_last) {
        return;
    }
    xvio_forget_all(pool);
    ovs_mutex_lock(&pool->mutex);
    while (pool->n_idle) {
        close(pool->idle[--pool->n_idle]);
    }
    ovs_mutex_unlock(&pool->mutex);
    ovs_mutex_destroy(&pool->mutex);
    free(pool->datapath);
    free(pool);
}

static int
new_connection(const struct xvio_pool *pool)
{
    int fd = xvio_connect_any(), error;

    if (fd < 0) {
        return fd;
    }
    error = pool->datapath ? open_datapath(fd, pool->datapath, false) : 0;
    if (error) {
        close(fd);
        return -error;
    }
    return fd;
}

/* An idle connection, or -1. */
static int
take_idle(struct xvio_pool *pool)
{
    int fd = -1;

    ovs_mutex_lock(&pool->mutex);
    if (pool->n_idle) {
        fd = pool->idle[--pool->n_idle];
    }
    ovs_mutex_unlock(&pool->mutex);
    return fd;
}

int
xvio_transact(struct xvio_pool *pool, struct ofpbuf *request, struct xvio_reply *reply)
{
    struct xvio_reply own = { .header = NULL };
    bool fresh = false;
    int error, fd;

    xvio_request_finish(request);
    for (;;) {
        fd = take_idle(pool);
        if (fd < 0) {
            fd = new_connection(pool);
            fresh = true;
        }
        if (fd < 0) {
            error = -fd;
            break;
        }
        error = xvio_ask(fd, request, &own);
        if (!error) {
            give_back(pool, fd);
            error = own.header->error;
            if (!error && pool->datapath) {
                remember(pool, request);
            }
            break;
        }
        close(fd);
        xvio_reply_free(&own);
        /* One that was idle may be of an xviod that is gone. */
        if (fresh) {
            break;
        }
    }
    ofpbuf_uninit(request);
    if (reply) {
        *reply = own;
    } else {
        xvio_reply_free(&own);
    }
    return error;
}

int
xvio_transact_any(struct ofpbuf *request, struct xvio_reply *reply)
{
    return xvio_transact(&any, request, reply);
}

char *
xvio_reply_text(const struct xvio_reply *reply, int error)
{
    const struct xv_ovs_item *text = NULL;

    if (reply->header) {
        text = xv_ovs_find(reply->items, reply->len, XV_OVS_ERROR_TEXT);
    }
    return text ? xmemdup0(xv_ovs_body(text), text->len) : xstrdup(ovs_strerror(error));
}

int
xvio_connect(const struct xvio_pool *pool)
{
    int fd = new_connection(pool);

    if (fd >= 0) {
        set_nonblocking(fd);
    }
    return fd;
}

/* ---- What a new xviod is told ---- */

static void
kept_free(struct kept *kept)
{
    ovs_list_remove(&kept->node);
    free(kept->name);
    ofpbuf_delete(kept->request);
    free(kept);
}

static struct kept *
kept_find(const struct xvio_pool *pool, uint16_t type, const char *name)
{
    struct kept *kept;

    LIST_FOR_EACH (kept, node, &pool->kept) {
        const struct xv_ovs_header *h = kept->request->data;

        if (h->type == type && !strcmp(kept->name, name)) {
            return kept;
        }
    }
    return NULL;
}

static void
keep(struct xvio_pool *pool, const char *name, const struct ofpbuf *request)
{
    const struct xv_ovs_header *h = request->data;
    struct kept *kept = kept_find(pool, h->type, name);

    if (kept) {
        kept_free(kept);
    }
    kept = xzalloc(sizeof *kept);
    kept->name = xstrdup(name);
    kept->request = ofpbuf_clone(request);
    ovs_list_push_back(&pool->kept, &kept->node);
}

void
xvio_keep(struct xvio_pool *pool, const char *name, const struct ofpbuf *request)
{
    ovs_mutex_lock(&pools_mutex);
    keep(pool, name, request);
    ovs_mutex_unlock(&pools_mutex);
}

void
xvio_forget(struct xvio_pool *pool, enum xv_ovs_request type, const char *name)
{
    struct kept *kept;

    ovs_mutex_lock(&pools_mutex);
    kept = kept_find(pool, type, name);
    if (kept) {
        kept_free(kept);
    }
    ovs_mutex_unlock(&pools_mutex);
}

/* What a request sets, apart from the value: "METER 5". */
static char *
setting_of(const struct ofpbuf *request)
{
    const struct xv_ovs_header *h = request->data;
    const struct xv_ovs_item *item;
    struct ds name = DS_EMPTY_INITIALIZER;
    bool broken = false;
    uint32_t at = 0;

    while ((item = xv_ovs_next(h + 1, request->size - sizeof *h, &at, &broken))) {
        uint32_t number = 0;

        switch (item->type) {
        case XV_OVS_BOND:
        case XV_OVS_METER:
        case XV_OVS_POLICY:
        case XV_OVS_ZONE_LIMIT: /* begins with its zone */
            memcpy(&number, xv_ovs_body(item), MIN(item->len, sizeof number));
            ds_put_format(&name, " %u:%"PRIu32, item->type, number);
            break;
        case XV_OVS_IPV6:
        case XV_OVS_ON:
        case XV_OVS_BYTES:
        case XV_OVS_LIMIT:
            ds_put_format(&name, " %u", item->type);
            break;
        }
    }
    return ds_steal_cstr(&name);
}

/* A setting that xviod has taken, or has dropped. */
static void
remember(struct xvio_pool *pool, const struct ofpbuf *request)
{
    const struct xv_ovs_header *h = request->data;
    uint16_t set = h->type;
    char *name;

    switch (h->type) {
    case XV_OVS_UPCALL_SET:
    case XV_OVS_CT_LIMIT_SET:
    case XV_OVS_CT_TIMEOUT_SET:
    case XV_OVS_CT_MAX_SET:
    case XV_OVS_CT_SEQ_SET:
    case XV_OVS_FRAGMENTS_SET:
    case XV_OVS_METER_SET:
    case XV_OVS_BOND_SET:
        break;
    case XV_OVS_CT_TIMEOUT_DEL:
        set = XV_OVS_CT_TIMEOUT_SET;
        break;
    case XV_OVS_BOND_DEL:
        set = XV_OVS_BOND_SET;
        break;
    case XV_OVS_METER_DEL:
        set = XV_OVS_METER_SET;
        break;
    default:
        return;
    }
    name = setting_of(request);
    if (set == h->type) {
        xvio_keep(pool, name, request);
    } else {
        xvio_forget(pool, set, name);
    }
    free(name);
}

void
xvio_forget_all(struct xvio_pool *pool)
{
    struct kept *kept;

    ovs_mutex_lock(&pools_mutex);
    LIST_FOR_EACH_SAFE (kept, node, &pool->kept) {
        kept_free(kept);
    }
    ovs_mutex_unlock(&pools_mutex);
}

static uint32_t
kept_number(const struct kept *kept)
{
    const struct xv_ovs_header *h = kept->request->data;

    return h->type == XV_OVS_PORT_ADD
           ? xv_ovs_u32(h + 1, kept->request->size - sizeof *h, XV_OVS_NUMBER, UINT32_MAX) : UINT32_MAX;
}

void
xvio_forget_port(struct xvio_pool *pool, uint32_t number)
{
    struct kept *kept;

    ovs_mutex_lock(&pools_mutex);
    LIST_FOR_EACH_SAFE (kept, node, &pool->kept) {
        if (kept_number(kept) == number) {
            kept_free(kept);
        }
    }
    ovs_mutex_unlock(&pools_mutex);
}

struct ofpbuf *
xvio_kept_port(struct xvio_pool *pool, unsigned int *cursor)
{
    struct ofpbuf *request = NULL;
    unsigned int at = 0;
    struct kept *kept;

    ovs_mutex_lock(&pools_mutex);
    LIST_FOR_EACH (kept, node, &pool->kept) {
        const struct xv_ovs_header *h = kept->request->data;

        if (h->type == XV_OVS_PORT_ADD && at++ == *cursor) {
            request = ofpbuf_clone(kept->request);
            break;
        }
    }
    ovs_mutex_unlock(&pools_mutex);
    *cursor += 1;
    return request;
}

struct ofpbuf *
xvio_kept_port_named(const char *name)
{
    struct ofpbuf *request = NULL;
    struct xvio_pool *pool;

    ovs_mutex_lock(&pools_mutex);
    LIST_FOR_EACH (pool, node, &pools) {
        const struct kept *kept = request ? NULL : kept_find(pool, XV_OVS_PORT_ADD, name);

        if (kept) {
            request = ofpbuf_clone(kept->request);
        }
    }
    ovs_mutex_unlock(&pools_mutex);
    return request;
}

void
xvio_keep_port(const char *name, const struct ofpbuf *request)
{
    struct xvio_pool *pool;

    ovs_mutex_lock(&pools_mutex);
    LIST_FOR_EACH (pool, node, &pools) {
        struct kept *kept = kept_find(pool, XV_OVS_PORT_ADD, name);

        if (kept) {
            uint32_t number = kept_number(kept);
            struct xv_ovs_header *h;

            ofpbuf_delete(kept->request);
            kept->request = ofpbuf_clone(request);
            h = kept->request->data;
            h->type = XV_OVS_PORT_ADD;
            xvio_put_u32(kept->request, XV_OVS_NUMBER, number);
        }
    }
    ovs_mutex_unlock(&pools_mutex);
}

/* Ports of a datapath that was there before us. */
static void
adopt(struct xvio_pool *pool, int fd)
{
    struct xvio_reply reply = { .header = NULL };
    const struct xv_ovs_item *item;
    struct ofpbuf request;
    bool broken = false;
    uint32_t at = 0;

    xvio_request_init(&request, XV_OVS_PORT_DUMP);
    xvio_request_finish(&request);
    if (!xvio_ask(fd, &request, &reply)) {
        while ((item = xv_ovs_next(reply.items, reply.len, &at, &broken))) {
            const struct xv_ovs_item *name = xv_ovs_find(xv_ovs_body(item), item->len, XV_OVS_NAME);
            char *text = name ? xmemdup0(xv_ovs_body(name), name->len) : NULL;
            struct ofpbuf add;

            if (text) {
                /* A port says of itself what it takes to make it. */
                xvio_request_init(&add, XV_OVS_PORT_ADD);
                ofpbuf_put(&add, xv_ovs_body(item), item->len);
                keep(pool, text, &add);
                ofpbuf_uninit(&add);
            }
            free(text);
        }
    }
    ofpbuf_uninit(&request);
    xvio_reply_free(&reply);
}

static void
restore(struct xvio_pool *pool, int fd)
{
    unsigned int n = 0, n_failed = 0;
    struct kept *kept;

    LIST_FOR_EACH_SAFE (kept, node, &pool->kept) {
        struct xvio_reply reply = { .header = NULL };
        int error;

        xvio_request_finish(kept->request);
        error = xvio_ask(fd, kept->request, &reply);
        if (!error) {
            error = reply.header->error;
        }
        if (error) {
            char *text = xvio_reply_text(&reply, error);

            VLOG_WARN("%s: %s is not made again: %s", pool->datapath, kept->name, text);
            free(text);
            n_failed++;
            kept_free(kept);
        }
        n++;
        xvio_reply_free(&reply);
    }
    VLOG_INFO("%s: xviod was restarted; %u of %u ports and settings are there again", pool->datapath, n - n_failed, n);
    pool->restored = true;
}

unsigned int
xvio_restore(int fd)
{
    struct xvio_pool *pool;
    unsigned int n = 0;

    ovs_mutex_lock(&pools_mutex);
    LIST_FOR_EACH (pool, node, &pools) {
        if (!ovs_list_is_empty(&pool->kept) && open_datapath(fd, pool->datapath, false) == ENODEV
            && !open_datapath(fd, pool->datapath, true)) {
            restore(pool, fd);
            n++;
        }
    }
    ovs_mutex_unlock(&pools_mutex);
    return n;
}

bool
xvio_pool_was_restored(struct xvio_pool *pool)
{
    bool restored;

    ovs_mutex_lock(&pools_mutex);
    restored = pool->restored;
    pool->restored = false;
    ovs_mutex_unlock(&pools_mutex);
    return restored;
}
