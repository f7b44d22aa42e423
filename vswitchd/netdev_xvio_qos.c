/* SPDX-License-Identifier: Apache-2.0 */
/*
 * QoS of xviod's own ports, in the names that linux-htb has for the kernel's devices: a rate for what is sent to the port, and queues that
 * share it, each with a rate that it gets (min-rate) and one that it may have (max-rate). xviod drops what is beyond.
 */
#include <config.h>

#include "netdev_xvio.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "netdev.h"
#include "openvswitch/vlog.h"
#include "smap.h"
#include "sset.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(netdev_xvio_qos);

#define QOS_TYPE "linux-htb"
#define QOS_RATE_DEFAULT UINT64_C(10000000000) /* bits a second, of who says none */
#define QOS_BURST_MIN_MS 10

/* The port with another QoS. */
static int
change_qos(struct netdev_xvio *dev, const struct config *want) OVS_REQUIRES(dev->mutex)
{
    char *text = NULL;
    int error = netdev_xvio_change(dev, want, &text);

    if (!error) {
        dev->config = *want;
    } else {
        VLOG_WARN("%s: QoS: %s", netdev_get_name(&dev->up), text);
        free(text);
    }
    return error;
}

int
netdev_xvio_get_qos_types(const struct netdev *netdev OVS_UNUSED, struct sset *types)
{
    sset_add(types, QOS_TYPE);
    return 0;
}

int
netdev_xvio_get_qos_capabilities(const struct netdev *netdev OVS_UNUSED, const char *type OVS_UNUSED,
                                 struct netdev_qos_capabilities *caps)
{
    caps->n_queues = XV_OVS_QUEUES_MAX;
    return 0;
}

int
netdev_xvio_get_qos(const struct netdev *netdev, const char **typep, struct smap *details)
{
    struct netdev_xvio *dev = netdev_xvio_cast(netdev);

    ovs_mutex_lock(&dev->mutex);
    *typep = dev->config.max_bps ? QOS_TYPE : "";
    if (dev->config.max_bps) {
        smap_add_format(details, "max-rate", "%"PRIu64, dev->config.max_bps);
    }
    ovs_mutex_unlock(&dev->mutex);
    return 0;
}

int
netdev_xvio_set_qos(struct netdev *netdev, const char *type, const struct smap *details)
{
    struct netdev_xvio *dev = netdev_xvio_cast(netdev);
    struct config want;
    int error = 0;

    if (*type && strcmp(type, QOS_TYPE)) {
        return EOPNOTSUPP;
    }
    ovs_mutex_lock(&dev->mutex);
    want = dev->config;
    want.max_bps = *type ? smap_get_ullong(details, "max-rate", 0) : 0;
    if (*type && !want.max_bps) {
        want.max_bps = QOS_RATE_DEFAULT;
    }
    if (!*type) {
        want.n_queues_tx = 0;
    }
    if (want.max_bps != dev->config.max_bps || want.n_queues_tx != dev->config.n_queues_tx) {
        error = change_qos(dev, &want);
    }
    ovs_mutex_unlock(&dev->mutex);
    return error;
}

static struct xv_ovs_queue *
find_queue(struct config *config, uint32_t id)
{
    for (size_t i = 0; i < config->n_queues_tx; i++) {
        if (config->queues_tx[i].id == id) {
            return &config->queues_tx[i];
        }
    }
    return NULL;
}

int
netdev_xvio_get_queue(const struct netdev *netdev, unsigned int id, struct smap *details)
{
    struct netdev_xvio *dev = netdev_xvio_cast(netdev);
    const struct xv_ovs_queue *q;

    ovs_mutex_lock(&dev->mutex);
    q = find_queue(&dev->config, id);
    if (q) {
        smap_add_format(details, "min-rate", "%"PRIu64, q->min_bps);
        smap_add_format(details, "max-rate", "%"PRIu64, q->max_bps ? q->max_bps : dev->config.max_bps);
    }
    ovs_mutex_unlock(&dev->mutex);
    return q ? 0 : ENOENT;
}

int
netdev_xvio_set_queue(struct netdev *netdev, unsigned int id, const struct smap *details)
{
    struct netdev_xvio *dev = netdev_xvio_cast(netdev);
    struct xv_ovs_queue *q, queue = {
        .id = id, .burst_ms = QOS_BURST_MIN_MS, .min_bps = smap_get_ullong(details, "min-rate", 0),
        .max_bps = smap_get_ullong(details, "max-rate", 0),
    };
    uint64_t burst = smap_get_ullong(details, "burst", 0), rate = queue.max_bps ? queue.max_bps : queue.min_bps;
    struct config want;
    int error = 0;

    if (burst && rate) {
        queue.burst_ms = MIN(MAX(burst * 1000 / rate, QOS_BURST_MIN_MS), 10000);
    }
    ovs_mutex_lock(&dev->mutex);
    want = dev->config;
    q = find_queue(&want, id);
    if (!q && want.n_queues_tx < XV_OVS_QUEUES_MAX) {
        q = &want.queues_tx[want.n_queues_tx++];
        *q = (struct xv_ovs_queue) { .burst_ms = 0 };
    }
    if (!q) {
        VLOG_WARN("%s: a port has at most %d queues", netdev_get_name(netdev), XV_OVS_QUEUES_MAX);
        error = ENOSPC;
    } else if (memcmp(q, &queue, sizeof queue)) {
        *q = queue;
        error = change_qos(dev, &want);
    }
    ovs_mutex_unlock(&dev->mutex);
    return error;
}

int
netdev_xvio_delete_queue(struct netdev *netdev, unsigned int id)
{
    struct netdev_xvio *dev = netdev_xvio_cast(netdev);
    struct xv_ovs_queue *q;
    struct config want;
    int error = ENOENT;

    ovs_mutex_lock(&dev->mutex);
    want = dev->config;
    q = find_queue(&want, id);
    if (q) {
        *q = want.queues_tx[--want.n_queues_tx];
        error = change_qos(dev, &want);
    }
    ovs_mutex_unlock(&dev->mutex);
    return error;
}

/* All of them; the caller frees them. */
static size_t
queue_stats(const struct netdev *netdev, struct xv_ovs_queue_stats **stats)
{
    const struct xv_ovs_item *item;
    struct xvio_reply reply;
    int error = netdev_xvio_ask_stats(netdev, &reply);
    bool broken = false;
    size_t n = 0;
    uint32_t at = 0;

    *stats = xcalloc(XV_OVS_QUEUES_MAX, sizeof **stats);
    while (!error && n < XV_OVS_QUEUES_MAX && (item = xv_ovs_next(reply.items, reply.len, &at, &broken))) {
        if (item->type == XV_OVS_TX_QUEUE_STATS && item->len == sizeof **stats) {
            memcpy(&(*stats)[n++], xv_ovs_body(item), sizeof **stats);
        }
    }
    xvio_reply_free(&reply);
    return n;
}

static struct netdev_queue_stats
as_queue_stats(const struct xv_ovs_queue_stats *s)
{
    return (struct netdev_queue_stats) {
        .tx_packets = s->packets, .tx_bytes = s->bytes, .tx_errors = s->dropped, .created = LLONG_MIN,
    };
}

int
netdev_xvio_get_queue_stats(const struct netdev *netdev, unsigned int id, struct netdev_queue_stats *stats)
{
    struct xv_ovs_queue_stats *all;
    size_t n = queue_stats(netdev, &all);
    int error = ENOENT;

    for (size_t i = 0; i < n; i++) {
        if (all[i].id == id) {
            *stats = as_queue_stats(&all[i]);
            error = 0;
        }
    }
    free(all);
    return error;
}

int
netdev_xvio_dump_queue_stats(const struct netdev *netdev, netdev_dump_queue_stats_cb *cb, void *aux)
{
    struct xv_ovs_queue_stats *all;
    size_t n = queue_stats(netdev, &all);

    for (size_t i = 0; i < n; i++) {
        struct netdev_queue_stats stats = as_queue_stats(&all[i]);

        cb(all[i].id, &stats, aux);
    }
    free(all);
    return 0;
}

struct queue_dump {
    struct config config; /* as it was */
    size_t at;
};

int
netdev_xvio_queue_dump_start(const struct netdev *netdev, void **statep)
{
    struct netdev_xvio *dev = netdev_xvio_cast(netdev);
    struct queue_dump *dump = xzalloc(sizeof *dump);

    ovs_mutex_lock(&dev->mutex);
    dump->config = dev->config;
    ovs_mutex_unlock(&dev->mutex);
    *statep = dump;
    return 0;
}

int
netdev_xvio_queue_dump_next(const struct netdev *netdev, void *state, unsigned int *id, struct smap *details)
{
    struct queue_dump *dump = state;

    if (dump->at == dump->config.n_queues_tx) {
        return EOF;
    }
    *id = dump->config.queues_tx[dump->at++].id;
    return netdev_xvio_get_queue(netdev, *id, details);
}

int
netdev_xvio_queue_dump_done(const struct netdev *netdev OVS_UNUSED, void *state)
{
    free(state);
    return 0;
}
