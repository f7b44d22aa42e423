/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packets for the slow path. Each handler has a connection on which it asks for a batch and goes on doing other things; what
 * is asked for next is asked when the batch has been dealt with.
 */
#include <config.h>

#include "provider.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dp-packet.h"
#include "dpif.h"
#include "flow.h"
#include "netlink.h"
#include "odp-util.h"
#include "openvswitch/poll-loop.h"
#include "openvswitch/vlog.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(dpif_xvio_upcall);

#define HEADROOM 256 /* for what OVS puts in front of a packet */

struct xvio_handler {
    struct ovs_mutex mutex;
    int fd;     /* -1: not connected */
    bool asked; /* an answer is due */
    struct xv_ovs_header *message; /* the answer ... */
    size_t room, got;              /* ... as far as it has come */
    uint32_t at;                   /* item that is next, once it is complete */
};

static void
handler_reset(struct xvio_handler *h)
{
    if (h->fd >= 0) {
        close(h->fd);
    }
    h->fd = -1;
    h->asked = false;
    h->got = 0;
    h->at = 0;
}

int
dpif_xvio_handlers_set(struct dpif *dpif_, uint32_t n_handlers)
{
    struct dpif_xvio *dpif = dpif_xvio_cast(dpif_);

    ovs_rwlock_wrlock(&dpif->handlers_lock);
    if (n_handlers != dpif->n_handlers) {
        for (uint32_t i = 0; i < dpif->n_handlers; i++) {
            handler_reset(&dpif->handlers[i]);
            free(dpif->handlers[i].message);
            ovs_mutex_destroy(&dpif->handlers[i].mutex);
        }
        free(dpif->handlers);
        dpif->handlers = n_handlers ? xcalloc(n_handlers, sizeof *dpif->handlers) : NULL;
        dpif->n_handlers = n_handlers;
        for (uint32_t i = 0; i < n_handlers; i++) {
            dpif->handlers[i].fd = -1;
            ovs_mutex_init(&dpif->handlers[i].mutex);
        }
    }
    ovs_rwlock_unlock(&dpif->handlers_lock);
    return 0;
}

int
dpif_xvio_recv_set(struct dpif *dpif_, bool enable)
{
    struct dpif_xvio *dpif = dpif_xvio_cast(dpif_);
    struct ofpbuf request;
    uint32_t n;

    /* Who does not set handlers has one. */
    ovs_rwlock_rdlock(&dpif->handlers_lock);
    n = dpif->n_handlers;
    ovs_rwlock_unlock(&dpif->handlers_lock);
    if (enable && !n) {
        dpif_xvio_handlers_set(dpif_, 1);
    }
    xvio_request_init(&request, XV_OVS_UPCALL_SET);
    xvio_put_u32(&request, XV_OVS_ON, enable);
    return xvio_transact(dpif->pool, &request, NULL);
}

/* Ask for a batch, unless one is due. */
static int
handler_ask(struct dpif_xvio *dpif, struct xvio_handler *h, uint32_t id)
{
    struct ofpbuf request;
    ssize_t sent;

    if (h->fd < 0) {
        h->fd = xvio_connect(dpif->pool);
        if (h->fd < 0) {
            int error = -h->fd;

            h->fd = -1;
            return error;
        }
    }
    if (h->asked) {
        return 0;
    }
    xvio_request_init(&request, XV_OVS_UPCALL_TAKE);
    xvio_put_u32(&request, XV_OVS_HANDLER, id);
    xvio_put_u32(&request, XV_OVS_HANDLERS, dpif->n_handlers);
    xvio_request_finish(&request);
    /* Nothing else is on its way: it fits, or the connection is broken. */
    sent = send(h->fd, request.data, request.size, MSG_NOSIGNAL);
    h->asked = sent == (ssize_t) request.size;
    h->got = 0;
    h->at = 0;
    ofpbuf_uninit(&request);
    if (!h->asked) {
        handler_reset(h);
        return EPIPE;
    }
    return 0;
}

static void
handler_make_room(struct xvio_handler *h, size_t len)
{
    if (h->room < len) {
        h->message = xrealloc(h->message, len);
        h->room = len;
    }
}

/* Read on. 0: the answer is complete. */
static int
handler_read(struct xvio_handler *h)
{
    for (;;) {
        size_t wanted = h->got < sizeof *h->message ? sizeof *h->message : h->message->len;
        ssize_t n;

        if (h->got >= sizeof *h->message) {
            if (h->message->len < sizeof *h->message || h->message->len > 2 * XV_OVS_MESSAGE_MAX) {
                handler_reset(h);
                return EPROTO;
            }
            if (h->got == h->message->len) {
                int error = h->message->error;

                h->asked = false;
                if (error) {
                    handler_reset(h);
                }
                return error;
            }
        }
        handler_make_room(h, wanted);
        n = recv(h->fd, (uint8_t *) h->message + h->got, wanted - h->got, MSG_DONTWAIT);
        if (n > 0) {
            h->got += n;
        } else if (n < 0 && errno == EINTR) {
            continue;
        } else if (n < 0 && errno == EAGAIN) {
            return EAGAIN;
        } else {
            handler_reset(h);
            return EPIPE;
        }
    }
}

/* The next packet of a batch that is complete, or NULL. */
static const struct xv_ovs_item *
handler_next(struct xvio_handler *h)
{
    const struct xv_ovs_item *item;
    bool broken = false;

    if (h->asked || h->got < sizeof *h->message) {
        return NULL;
    }
    do {
        item = xv_ovs_next(h->message + 1, h->message->len - sizeof *h->message, &h->at, &broken);
    } while (item && item->type != XV_OVS_UPCALL);
    return item;
}

/* OVS's view of the packet: everything it needs lies in buf. */
static void
fill_upcall(const struct xv_ovs_item *item, struct dpif_upcall *upcall, struct ofpbuf *buf)
{
    static const struct odp_support support = {
        .max_vlan_headers = SIZE_MAX, .max_mpls_depth = SIZE_MAX, .recirc = true, .ct_state = true, .ct_zone = true,
        .ct_mark = true, .ct_label = true, .ct_state_nat = true, .ct_orig_tuple = true, .ct_orig_tuple6 = true,
    };
    const void *items = xv_ovs_body(item);
    const struct xv_ovs_item *packet = xv_ovs_find(items, item->len, XV_OVS_PACKET);
    const struct xv_ovs_item *key = xv_ovs_find(items, item->len, XV_OVS_KEY);
    const struct xv_ovs_item *userspace = xv_ovs_find(items, item->len, XV_OVS_USERSPACE);
    struct odp_flow_key_parms parms = { .support = support };
    struct flow flow;
    const struct nlattr *a;
    size_t room, left, at;

    memset(upcall, 0, sizeof *upcall);
    room = HEADROOM + packet->len;
    ofpbuf_clear(buf);
    ofpbuf_prealloc_tailroom(buf, room + (userspace ? userspace->len : 0) + ODPUTIL_FLOW_KEY_BYTES + 256);
    dp_packet_use_stub(&upcall->packet, ofpbuf_put_uninit(buf, ROUND_UP(room, 8)), room);
    dp_packet_set_data(&upcall->packet, (uint8_t *) dp_packet_base(&upcall->packet) + HEADROOM);
    dp_packet_set_size(&upcall->packet, packet->len);
    memcpy(dp_packet_data(&upcall->packet), xv_ovs_body(packet), packet->len);
    odp_key_to_dp_packet(xv_ovs_body(key), key->len, &upcall->packet);
    upcall->type = userspace ? DPIF_UC_ACTION : DPIF_UC_MISS;
    if (userspace) {
        const struct nlattr *attrs = ofpbuf_put(buf, xv_ovs_body(userspace), userspace->len);

        NL_ATTR_FOR_EACH (a, left, attrs, userspace->len) {
            if (nl_attr_type(a) == OVS_USERSPACE_ATTR_USERDATA) {
                upcall->userdata = CONST_CAST(struct nlattr *, a);
            }
        }
        ofpbuf_put_zeros(buf, ROUND_UP(userspace->len, 8) - userspace->len);
    }
    flow_extract(&upcall->packet, &flow);
    parms.flow = &flow;
    at = buf->size;
    odp_flow_key_from_flow(&parms, buf);
    upcall->key = ofpbuf_at_assert(buf, at, buf->size - at);
    upcall->key_len = buf->size - at;
    odp_flow_key_hash(upcall->key, upcall->key_len, &upcall->ufid);
}

int
dpif_xvio_recv(struct dpif *dpif_, uint32_t handler_id, struct dpif_upcall *upcall, struct ofpbuf *buf)
{
    struct dpif_xvio *dpif = dpif_xvio_cast(dpif_);
    int error = EAGAIN;

    ovs_rwlock_rdlock(&dpif->handlers_lock);
    if (handler_id < dpif->n_handlers) {
        struct xvio_handler *h = &dpif->handlers[handler_id];
        const struct xv_ovs_item *item;

        ovs_mutex_lock(&h->mutex);
        item = handler_next(h);
        if (!item) {
            error = handler_ask(dpif, h, handler_id);
            if (!error) {
                error = handler_read(h);
            }
            item = error ? NULL : handler_next(h);
        }
        if (item) {
            fill_upcall(item, upcall, buf);
            error = 0;
        } else {
            /* Whoever is not there now is tried again by recv_wait(). */
            error = EAGAIN;
        }
        ovs_mutex_unlock(&h->mutex);
    }
    ovs_rwlock_unlock(&dpif->handlers_lock);
    return error;
}

void
dpif_xvio_recv_wait(struct dpif *dpif_, uint32_t handler_id)
{
    struct dpif_xvio *dpif = dpif_xvio_cast(dpif_);

    ovs_rwlock_rdlock(&dpif->handlers_lock);
    if (handler_id < dpif->n_handlers) {
        struct xvio_handler *h = &dpif->handlers[handler_id];

        ovs_mutex_lock(&h->mutex);
        if (h->fd >= 0 && h->asked) {
            poll_fd_wait(h->fd, POLLIN);
        } else if (h->fd >= 0) {
            poll_immediate_wake();
        } else {
            poll_timer_wait(100);
        }
        ovs_mutex_unlock(&h->mutex);
    }
    ovs_rwlock_unlock(&dpif->handlers_lock);
}

/* What has come is thrown away with its connection. */
void
dpif_xvio_recv_purge(struct dpif *dpif_)
{
    struct dpif_xvio *dpif = dpif_xvio_cast(dpif_);

    ovs_rwlock_rdlock(&dpif->handlers_lock);
    for (uint32_t i = 0; i < dpif->n_handlers; i++) {
        ovs_mutex_lock(&dpif->handlers[i].mutex);
        handler_reset(&dpif->handlers[i]);
        ovs_mutex_unlock(&dpif->handlers[i].mutex);
    }
    ovs_rwlock_unlock(&dpif->handlers_lock);
}
