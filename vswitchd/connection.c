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

#include "openvswitch/vlog.h"
#include "ovs-thread.h"
#include "socket-util.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(xvio);

#define IDLE_MAX 64  /* connections that are kept */
#define TIMEOUT_S 30 /* xviod answers in microseconds: beyond this it hangs */

struct xvio_pool {
    char *datapath;
    struct ovs_mutex mutex;
    int idle[IDLE_MAX] OVS_GUARDED;
    size_t n_idle OVS_GUARDED;
};

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

static const char *
socket_path(void)
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
static int
ask(int fd, const struct ofpbuf *request, struct xvio_reply *reply)
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

    ovs_strlcpy(sun.sun_path, socket_path(), sizeof sun.sun_path);
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
    error = ask(fd, &request, &reply);
    if (!error) {
        error = reply.header->error;
    }
    ofpbuf_uninit(&request);
    xvio_reply_free(&reply);
    return error;
}

/* A connection that speaks our version. */
static int
connect_checked(void)
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
    error = ask(fd, &request, &reply);
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

int
xvio_pool_open(const char *datapath, bool create, struct xvio_pool **poolp)
{
    struct xvio_pool *pool;
    int fd = connect_checked(), error;

    if (fd < 0) {
        return -fd;
    }
    error = open_datapath(fd, datapath, create);
    if (error) {
        close(fd);
        return error;
    }
    pool = xzalloc(sizeof *pool);
    pool->datapath = xstrdup(datapath);
    ovs_mutex_init(&pool->mutex);
    ovs_mutex_lock(&pool->mutex);
    pool->idle[pool->n_idle++] = fd;
    ovs_mutex_unlock(&pool->mutex);
    *poolp = pool;
    return 0;
}

void
xvio_pool_close(struct xvio_pool *pool)
{
    if (!pool) {
        return;
    }
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
    int fd = connect_checked(), error;

    if (fd < 0) {
        return fd;
    }
    error = open_datapath(fd, pool->datapath, false);
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
        error = ask(fd, request, &own);
        if (!error) {
            give_back(pool, fd);
            error = own.header->error;
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
    int fd = connect_checked(), error;

    *reply = (struct xvio_reply) { .header = NULL };
    xvio_request_finish(request);
    error = fd < 0 ? -fd : ask(fd, request, reply);
    if (fd >= 0) {
        close(fd);
    }
    ofpbuf_uninit(request);
    return error ? error : reply->header->error;
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
