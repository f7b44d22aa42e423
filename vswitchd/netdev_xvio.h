/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of xviod's own interfaces share (netdev_xvio.c, netdev_xvio_qos.c). */
#pragma once

#include "provider.h"

#include "netdev-provider.h"

/* What the types are. */
enum role { VHOST_EITHER, VHOST_CLIENT, VHOST_SERVER, DEVICE };

struct config {
    char *where; /* the socket's path, or devargs; NULL: not configured yet */
    bool client;
    uint32_t queues;
    int mtu;
    uint32_t kbits_rate, kbits_burst, kpkts_rate;
    uint64_t max_bps; /* 0: no QoS */
    struct xv_ovs_queue queues_tx[XV_OVS_QUEUES_MAX];
    size_t n_queues_tx;
};

struct netdev_xvio {
    struct netdev up;
    enum role role;
    struct ovs_mutex mutex;
    struct config config OVS_GUARDED;
    bool told OVS_GUARDED; /* xviod knows that: from here on each change is told at once */
    struct eth_addr mac OVS_GUARDED;
    enum netdev_flags flags OVS_GUARDED;
    bool link OVS_GUARDED;
    long long int link_changes OVS_GUARDED;
};

struct netdev_xvio *netdev_xvio_cast(const struct netdev *);
/* The port becomes what config says, unless it is not there yet. *text: why not; the caller frees it. */
int netdev_xvio_change(const struct netdev_xvio *dev, const struct config *, char **text) OVS_REQUIRES(dev->mutex);
/* As xviod sees the port; the caller frees the answer. */
int netdev_xvio_ask_stats(const struct netdev *, struct xvio_reply *);

/* netdev_xvio_qos.c: members of the class. */
int netdev_xvio_get_qos_types(const struct netdev *, struct sset *types);
int netdev_xvio_get_qos_capabilities(const struct netdev *, const char *type, struct netdev_qos_capabilities *);
int netdev_xvio_get_qos(const struct netdev *, const char **typep, struct smap *details);
int netdev_xvio_set_qos(struct netdev *, const char *type, const struct smap *details);
int netdev_xvio_get_queue(const struct netdev *, unsigned int id, struct smap *details);
int netdev_xvio_set_queue(struct netdev *, unsigned int id, const struct smap *details);
int netdev_xvio_delete_queue(struct netdev *, unsigned int id);
int netdev_xvio_get_queue_stats(const struct netdev *, unsigned int id, struct netdev_queue_stats *);
int netdev_xvio_dump_queue_stats(const struct netdev *, netdev_dump_queue_stats_cb *, void *aux);
int netdev_xvio_queue_dump_start(const struct netdev *, void **statep);
int netdev_xvio_queue_dump_next(const struct netdev *, void *state, unsigned int *id, struct smap *details);
int netdev_xvio_queue_dump_done(const struct netdev *, void *state);
