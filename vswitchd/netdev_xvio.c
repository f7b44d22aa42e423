/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ports that xviod has: VMs (a vhost-user socket) and devices of DPDK. Packets never come here; this is what can be configured and
 * shown. Names and options are those of OVS-DPDK where it has them. A port that is there already follows a change of its options at
 * once; what xviod says against it fails the change.
 */
#include <config.h>

#include "netdev_xvio.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "dirs.h"
#include "hash.h"
#include "netdev.h"
#include "openvswitch/vlog.h"
#include "packets.h"
#include "smap.h"
#include "util.h"
#include "watch.h"

VLOG_DEFINE_THIS_MODULE(netdev_xvio);

#define MTU_DEFAULT 1500
#define VHOST_QUEUES 8 /* pairs that a VM may have; it uses as many as it was given */
#define QUEUES_MAX 32
#define PATH_MAX_BYTES 107 /* of a unix socket */

static const struct {
    const char *type;
    enum role role;
    bool is_dpdks; /* OVS-DPDK's name: ours only when we replace it */
} types[] = {
    { XVIO_VHOST_TYPE, VHOST_EITHER, false },
    { XVIO_DEVICE_TYPE, DEVICE, false },
    { "dpdkvhostuserclient", VHOST_CLIENT, true },
    { "dpdkvhostuser", VHOST_SERVER, true },
    { "dpdk", DEVICE, true },
};

/* Main thread: interfaces are configured step by step when they are new to us. If a port is there already, as it was before we were
 * started, xviod is told when that is over: it sees no state in between. */
static bool some_untold;

/* other_config:vhost-sock-dir, as a path. */
static char *sock_dir;

static void netdev_xvio_destruct(struct netdev *);

bool
netdev_is_xvio(const struct netdev *netdev)
{
    return netdev->netdev_class->destruct == netdev_xvio_destruct;
}

struct netdev_xvio *
netdev_xvio_cast(const struct netdev *netdev)
{
    ovs_assert(netdev_is_xvio(netdev));
    return CONTAINER_OF(netdev, struct netdev_xvio, up);
}

static struct netdev *
netdev_xvio_alloc(void)
{
    struct netdev_xvio *dev = xzalloc(sizeof *dev);

    return &dev->up;
}

/* The same one each time, so that a bridge keeps its address and id; locally administered. */
static struct eth_addr
mac_of(const char *name)
{
    uint32_t hash[2] = { hash_string(name, 0), hash_string(name, 1) };
    struct eth_addr mac;

    memcpy(&mac, hash, sizeof mac);
    mac.ea[0] = (mac.ea[0] & ~1) | 2;
    return mac;
}

static int
netdev_xvio_construct(struct netdev *netdev)
{
    struct netdev_xvio *dev = netdev_xvio_cast(netdev);
    const char *name = netdev_get_name(netdev);

    for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
        if (!strcmp(types[i].type, netdev_get_type(netdev))) {
            dev->role = types[i].role;
        }
    }
    ovs_mutex_init(&dev->mutex);
    ovs_mutex_lock(&dev->mutex);
    dev->mac = mac_of(name);
    dev->flags = NETDEV_UP | NETDEV_PROMISC;
    dev->config = (struct config) { .queues = dev->role == DEVICE ? 1 : VHOST_QUEUES, .mtu = MTU_DEFAULT };
    ovs_mutex_unlock(&dev->mutex);
    return 0;
}

static void
netdev_xvio_destruct(struct netdev *netdev)
{
    struct netdev_xvio *dev = netdev_xvio_cast(netdev);

    free(dev->config.where);
    ovs_mutex_destroy(&dev->mutex);
}

static void
netdev_xvio_dealloc(struct netdev *netdev)
{
    free(netdev_xvio_cast(netdev));
}

/* ---- What xviod is told ---- */

void
xvio_put_policing(struct ofpbuf *request, uint32_t kbits_rate, uint32_t kbits_burst, uint32_t kpkts_rate)
{
    uint64_t bps = kbits_rate * UINT64_C(1000), pps = kpkts_rate * UINT64_C(1000);
    /* OVS saves up an amount, and so do we, as the time that it takes to be sent. */
    uint64_t burst = (kbits_burst ? kbits_burst : 8000) * UINT64_C(1000);

    if (!bps && !pps) {
        return;
    }
    xvio_put(request, XV_OVS_LIMIT_BPS, &bps, sizeof bps);
    xvio_put(request, XV_OVS_LIMIT_PPS, &pps, sizeof pps);
    if (bps) {
        xvio_put_u32(request, XV_OVS_LIMIT_BURST_MS, MIN(MAX(burst * 1000 / bps, 1), 10000));
    }
}

static int
put_config(const struct netdev_xvio *dev, const struct config *config, struct ofpbuf *request)
{
    if (!config->where) {
        return EINVAL;
    }
    xvio_put_text(request, XV_OVS_NAME, netdev_get_name(&dev->up));
    xvio_put_text(request, XV_OVS_NETDEV_TYPE, netdev_get_type(&dev->up));
    xvio_put_u32(request, XV_OVS_KIND, dev->role == DEVICE ? XV_OVS_PORT_DEVICE : XV_OVS_PORT_VHOST);
    xvio_put_text(request, dev->role == DEVICE ? XV_OVS_DEVICE : XV_OVS_SOCKET_PATH, config->where);
    xvio_put_u32(request, XV_OVS_QUEUES, config->queues);
    xvio_put_u32(request, XV_OVS_MTU, config->mtu);
    if (config->client) {
        xvio_put(request, XV_OVS_CLIENT, NULL, 0);
    }
    xvio_put_policing(request, config->kbits_rate, config->kbits_burst, config->kpkts_rate);
    if (config->max_bps) {
        xvio_put(request, XV_OVS_TX_BPS, &config->max_bps, sizeof config->max_bps);
        for (size_t i = 0; i < config->n_queues_tx; i++) {
            xvio_put(request, XV_OVS_TX_QUEUE, &config->queues_tx[i], sizeof config->queues_tx[i]);
        }
    }
    return 0;
}

int
netdev_xvio_put_port(const struct netdev *netdev, struct ofpbuf *request)
{
    struct netdev_xvio *dev = netdev_xvio_cast(netdev);
    int error;

    ovs_mutex_lock(&dev->mutex);
    error = put_config(dev, &dev->config, request);
    dev->told = !error;
    ovs_mutex_unlock(&dev->mutex);
    return error;
}

int
netdev_xvio_change(const struct netdev_xvio *dev, const struct config *config, char **text)
{
    struct ofpbuf request, *kept;
    struct xvio_reply reply;
    int error;

    *text = NULL;
    if (!dev->told) {
        some_untold = true;
        return 0;
    }
    xvio_request_init(&request, XV_OVS_PORT_SET);
    error = put_config(dev, config, &request);
    if (error) {
        ofpbuf_uninit(&request);
        return 0;
    }
    kept = ofpbuf_clone(&request);
    error = xvio_transact_any(&request, &reply);
    if (!error || !reply.header) {
        /* Without xviod the next one will be told. */
        xvio_keep_port(netdev_get_name(&dev->up), kept);
        error = 0;
    } else if (error == ENODEV) {
        error = 0;
    } else {
        *text = xvio_reply_text(&reply, error);
    }
    ofpbuf_delete(kept);
    xvio_reply_free(&reply);
    return error;
}

/* ---- Configuration ---- */

static int
netdev_xvio_get_config(const struct netdev *netdev, struct smap *args)
{
    struct netdev_xvio *dev = netdev_xvio_cast(netdev);

    ovs_mutex_lock(&dev->mutex);
    if (dev->config.where) {
        smap_add(args, dev->role == DEVICE ? "dpdk-devargs" : "vhost-server-path", dev->config.where);
    }
    if (dev->role == VHOST_EITHER) {
        smap_add(args, "vhost-role", dev->config.client ? "client" : "server");
    }
    smap_add_format(args, "n_rxq", "%"PRIu32, dev->config.queues);
    smap_add_format(args, "mtu", "%d", dev->config.mtu);
    ovs_mutex_unlock(&dev->mutex);
    return 0;
}

/* Options into config, whose members are as they are without them. A sentence says what is wrong with them. */
static char *
read_where(const struct netdev_xvio *dev, const struct smap *args, struct config *config)
{
    const char *role = smap_get_def(args, "vhost-role", "client");
    const char *where;

    if (dev->role == DEVICE) {
        where = smap_get(args, "xvio-devargs");
        where = where ? where : smap_get(args, "dpdk-devargs");
        if (!where || !*where) {
            return xstrdup("options:dpdk-devargs is missing: a PCI address, or the arguments of a device of DPDK");
        }
        config->where = xstrdup(where);
        return NULL;
    }
    if (dev->role == VHOST_SERVER) {
        config->where = xasprintf("%s/%s", sock_dir ? sock_dir : ovs_rundir(), netdev_get_name(&dev->up));
    } else {
        where = smap_get(args, "vhost-server-path");
        if (!where) {
            return xstrdup("options:vhost-server-path is missing");
        }
        config->where = xstrdup(where);
    }
    if (config->where[0] != '/' || strlen(config->where) > PATH_MAX_BYTES) {
        return xasprintf("the socket's path \"%s\" is to be absolute and of at most %d bytes", config->where, PATH_MAX_BYTES);
    }
    if (dev->role == VHOST_EITHER && strcmp(role, "client") && strcmp(role, "server")) {
        return xasprintf("options:vhost-role is client or server, not \"%s\"", role);
    }
    config->client = dev->role == VHOST_CLIENT || (dev->role == VHOST_EITHER && !strcmp(role, "client"));
    return NULL;
}

static char *
read_queues(const struct netdev_xvio *dev, const struct smap *args, struct config *config)
{
    const char *text = smap_get(args, "n_rxq");
    int queues;

    config->queues = dev->role == DEVICE ? 1 : VHOST_QUEUES;
    if (!text) {
        return NULL;
    }
    if (!str_to_int(text, 10, &queues) || queues < 1 || queues > QUEUES_MAX) {
        return xasprintf("options:n_rxq is a number from 1 to %d, not \"%s\"", QUEUES_MAX, text);
    }
    config->queues = queues;
    return NULL;
}

static int
netdev_xvio_set_config(struct netdev *netdev, const struct smap *args, char **errp)
{
    struct netdev_xvio *dev = netdev_xvio_cast(netdev);
    struct config want;
    char *text;
    int error = 0;

    ovs_mutex_lock(&dev->mutex);
    want = dev->config;
    want.where = NULL;
    text = read_where(dev, args, &want);
    if (!text) {
        text = read_queues(dev, args, &want);
    }
    if (text) {
        error = EINVAL;
    } else if (!nullable_string_is_equal(want.where, dev->config.where) || want.client != dev->config.client
               || want.queues != dev->config.queues) {
        error = netdev_xvio_change(dev, &want, &text);
        if (!error) {
            free(dev->config.where);
            dev->config = want;
            want.where = NULL;
            netdev_change_seq_changed(netdev);
        }
    }
    free(want.where);
    ovs_mutex_unlock(&dev->mutex);
    if (error) {
        VLOG_WARN_BUF(errp, "%s: %s", netdev_get_name(netdev), text);
        free(text);
    }
    return error;
}

static int
netdev_xvio_set_mtu(struct netdev *netdev, int mtu)
{
    struct netdev_xvio *dev = netdev_xvio_cast(netdev);
    struct config want;
    char *text = NULL;
    int error = 0;

    if (mtu < 68 || mtu > UINT16_MAX) {
        VLOG_WARN("%s: the MTU is a number from 68 to %d, not %d", netdev_get_name(netdev), UINT16_MAX, mtu);
        return EINVAL;
    }
    ovs_mutex_lock(&dev->mutex);
    want = dev->config;
    want.mtu = mtu;
    if (mtu != dev->config.mtu) {
        error = netdev_xvio_change(dev, &want, &text);
        if (!error) {
            dev->config = want;
            netdev_change_seq_changed(netdev);
        }
    }
    ovs_mutex_unlock(&dev->mutex);
    if (error) {
        VLOG_WARN("%s: MTU %d: %s", netdev_get_name(netdev), mtu, text);
        free(text);
    }
    return error;
}

static int
netdev_xvio_get_mtu(const struct netdev *netdev, int *mtu)
{
    struct netdev_xvio *dev = netdev_xvio_cast(netdev);

    ovs_mutex_lock(&dev->mutex);
    *mtu = dev->config.mtu;
    ovs_mutex_unlock(&dev->mutex);
    return 0;
}

static int
netdev_xvio_set_policing(struct netdev *netdev, uint32_t kbits_rate, uint32_t kbits_burst, uint32_t kpkts_rate,
                         uint32_t kpkts_burst OVS_UNUSED)
{
    struct netdev_xvio *dev = netdev_xvio_cast(netdev);
    struct config want;
    char *text = NULL;
    int error = 0;

    ovs_mutex_lock(&dev->mutex);
    want = dev->config;
    want.kbits_rate = kbits_rate;
    want.kbits_burst = kbits_burst;
    want.kpkts_rate = kpkts_rate;
    if (want.kbits_rate != dev->config.kbits_rate || want.kbits_burst != dev->config.kbits_burst
        || want.kpkts_rate != dev->config.kpkts_rate) {
        error = netdev_xvio_change(dev, &want, &text);
        if (!error) {
            dev->config = want;
        }
    }
    ovs_mutex_unlock(&dev->mutex);
    if (error) {
        VLOG_WARN("%s: policing: %s", netdev_get_name(netdev), text);
        free(text);
    }
    return error;
}

static int
netdev_xvio_set_etheraddr(struct netdev *netdev, const struct eth_addr mac)
{
    struct netdev_xvio *dev = netdev_xvio_cast(netdev);

    ovs_mutex_lock(&dev->mutex);
    dev->mac = mac;
    ovs_mutex_unlock(&dev->mutex);
    netdev_change_seq_changed(netdev);
    return 0;
}

static int
netdev_xvio_get_etheraddr(const struct netdev *netdev, struct eth_addr *mac)
{
    struct netdev_xvio *dev = netdev_xvio_cast(netdev);

    ovs_mutex_lock(&dev->mutex);
    *mac = dev->mac;
    ovs_mutex_unlock(&dev->mutex);
    return 0;
}

static int
netdev_xvio_update_flags(struct netdev *netdev, enum netdev_flags off, enum netdev_flags on, enum netdev_flags *old)
{
    struct netdev_xvio *dev = netdev_xvio_cast(netdev);

    ovs_mutex_lock(&dev->mutex);
    *old = dev->flags;
    dev->flags = (dev->flags & ~off) | on;
    ovs_mutex_unlock(&dev->mutex);
    return 0;
}

/* ---- What is shown ---- */

int
netdev_xvio_ask_stats(const struct netdev *netdev, struct xvio_reply *reply)
{
    struct ofpbuf request;

    xvio_request_init(&request, XV_OVS_PORT_STATS);
    xvio_put_text(&request, XV_OVS_NAME, netdev_get_name(netdev));
    return xvio_transact_any(&request, reply);
}

static int
netdev_xvio_get_stats(const struct netdev *netdev, struct netdev_stats *stats)
{
    const struct xv_ovs_item *item;
    struct xv_ovs_port_stats s;
    struct xvio_reply reply;
    int error = netdev_xvio_ask_stats(netdev, &reply);

    item = error ? NULL : xv_ovs_find(reply.items, reply.len, XV_OVS_PORT_STATS_ITEM);
    if (item && item->len == sizeof s) {
        memcpy(&s, xv_ovs_body(item), sizeof s);
        /* What is not said is not known. */
        memset(stats, 0xff, sizeof *stats);
        stats->rx_packets = s.rx_packets;
        stats->rx_bytes = s.rx_bytes;
        stats->rx_dropped = s.rx_dropped;
        stats->tx_packets = s.tx_packets;
        stats->tx_bytes = s.tx_bytes;
        stats->tx_dropped = s.tx_dropped;
    }
    xvio_reply_free(&reply);
    return error;
}

static int
netdev_xvio_get_custom_stats(const struct netdev *netdev, struct netdev_custom_stats *stats)
{
    const struct xv_ovs_item *item;
    struct xvio_reply reply;
    int error = netdev_xvio_ask_stats(netdev, &reply);
    bool broken = false;
    size_t room = 0;
    uint32_t at = 0;

    stats->size = 0;
    stats->counters = NULL;
    while (!error && (item = xv_ovs_next(reply.items, reply.len, &at, &broken))) {
        struct netdev_custom_counter *counter;

        if (item->type != XV_OVS_COUNTER || item->len <= sizeof counter->value) {
            continue;
        }
        if (stats->size == room) {
            stats->counters = x2nrealloc(stats->counters, &room, sizeof *stats->counters);
        }
        counter = &stats->counters[stats->size++];
        memcpy(&counter->value, xv_ovs_body(item), sizeof counter->value);
        ovs_strzcpy(counter->name, "", sizeof counter->name);
        memcpy(counter->name, (const uint8_t *) xv_ovs_body(item) + sizeof counter->value,
               MIN(item->len - sizeof counter->value, sizeof counter->name - 1));
    }
    xvio_reply_free(&reply);
    return error;
}

static void
add_text(struct smap *args, const char *key, const struct xvio_reply *reply, enum xv_ovs_item_type type)
{
    const struct xv_ovs_item *item = xv_ovs_find(reply->items, reply->len, type);

    if (item) {
        smap_add_nocopy(args, xstrdup(key), xmemdup0(xv_ovs_body(item), item->len));
    }
}

static int
netdev_xvio_get_status(const struct netdev *netdev, struct smap *args)
{
    struct netdev_xvio *dev = netdev_xvio_cast(netdev);
    struct xvio_reply reply;
    int error = netdev_xvio_ask_stats(netdev, &reply);

    if (!error) {
        smap_add(args, "driver_name", "xvio");
        add_text(args, "state", &reply, XV_OVS_STATE);
        add_text(args, "broken", &reply, XV_OVS_ERROR_TEXT);
        smap_add_format(args, "n_queues", "%"PRIu32, xv_ovs_u32(reply.items, reply.len, XV_OVS_QUEUES, 0));
        ovs_mutex_lock(&dev->mutex);
        if (dev->role != DEVICE) {
            bool is_connected = xv_ovs_find(reply.items, reply.len, XV_OVS_CONNECTED) != NULL;

            /* As OVS-DPDK says it. */
            smap_add(args, "mode", dev->config.client ? "client" : "server");
            smap_add(args, "status", is_connected ? "connected" : "disconnected");
            smap_add(args, "socket", dev->config.where ? dev->config.where : "");
            if (is_connected) {
                smap_add_format(args, "features", "0x%016"PRIx64, xv_ovs_u64(reply.items, reply.len, XV_OVS_FEATURES, 0));
            }
        }
        ovs_mutex_unlock(&dev->mutex);
    }
    xvio_reply_free(&reply);
    return error;
}

static int
netdev_xvio_get_carrier(const struct netdev *netdev, bool *carrier)
{
    struct netdev_xvio *dev = netdev_xvio_cast(netdev);

    ovs_mutex_lock(&dev->mutex);
    *carrier = dev->link;
    ovs_mutex_unlock(&dev->mutex);
    return 0;
}

static long long int
netdev_xvio_get_carrier_resets(const struct netdev *netdev)
{
    struct netdev_xvio *dev = netdev_xvio_cast(netdev);
    long long int n;

    ovs_mutex_lock(&dev->mutex);
    n = dev->link_changes;
    ovs_mutex_unlock(&dev->mutex);
    return n;
}

static void
set_link(struct netdev *netdev, bool up)
{
    struct netdev_xvio *dev = netdev_xvio_cast(netdev);
    bool changed;

    ovs_mutex_lock(&dev->mutex);
    changed = dev->link != up;
    dev->link = up;
    dev->link_changes += changed;
    ovs_mutex_unlock(&dev->mutex);
    if (changed) {
        VLOG_INFO("%s: link is %s", netdev_get_name(netdev), up ? "up" : "down");
        netdev_change_seq_changed(netdev);
    }
}

void
netdev_xvio_set_link(const char *name, bool up)
{
    struct netdev *netdev = netdev_from_name(name);

    if (netdev && netdev_is_xvio(netdev)) {
        set_link(netdev, up);
    }
    netdev_close(netdev);
}

/* The classes, once they are registered. */
static const struct netdev_class *classes[ARRAY_SIZE(types)];

static void
for_each_device(void (*function)(struct netdev *))
{
    for (size_t i = 0; i < ARRAY_SIZE(classes); i++) {
        struct shash devices = SHASH_INITIALIZER(&devices);
        struct shash_node *node;

        if (classes[i]) {
            netdev_get_devices(classes[i], &devices);
        }
        SHASH_FOR_EACH (node, &devices) {
            function(node->data);
            netdev_close(node->data);
        }
        shash_destroy(&devices);
    }
}

static void
link_down(struct netdev *netdev)
{
    set_link(netdev, false);
}

void
netdev_xvio_links_down(void)
{
    for_each_device(link_down);
}

static void
tell(struct netdev *netdev)
{
    struct netdev_xvio *dev = netdev_xvio_cast(netdev);
    char *text = NULL;

    ovs_mutex_lock(&dev->mutex);
    if (!dev->told && dev->config.where) {
        dev->told = true;
        if (netdev_xvio_change(dev, &dev->config, &text)) {
            VLOG_WARN("%s: %s", netdev_get_name(netdev), text);
        }
    }
    ovs_mutex_unlock(&dev->mutex);
    free(text);
}

/* ---- The classes ---- */

static void
class_run(const struct netdev_class *class OVS_UNUSED)
{
    if (some_untold) {
        some_untold = false;
        for_each_device(tell);
    }
    xvio_watch_run();
}

static void
class_wait(const struct netdev_class *class OVS_UNUSED)
{
    xvio_watch_wait();
}

static const struct netdev_class netdev_xvio_class = {
    .alloc = netdev_xvio_alloc,
    .construct = netdev_xvio_construct,
    .destruct = netdev_xvio_destruct,
    .dealloc = netdev_xvio_dealloc,
    .get_config = netdev_xvio_get_config,
    .set_config = netdev_xvio_set_config,
    .set_etheraddr = netdev_xvio_set_etheraddr,
    .get_etheraddr = netdev_xvio_get_etheraddr,
    .get_mtu = netdev_xvio_get_mtu,
    .set_mtu = netdev_xvio_set_mtu,
    .set_policing = netdev_xvio_set_policing,
    .get_qos_types = netdev_xvio_get_qos_types,
    .get_qos_capabilities = netdev_xvio_get_qos_capabilities,
    .get_qos = netdev_xvio_get_qos,
    .set_qos = netdev_xvio_set_qos,
    .get_queue = netdev_xvio_get_queue,
    .set_queue = netdev_xvio_set_queue,
    .delete_queue = netdev_xvio_delete_queue,
    .get_queue_stats = netdev_xvio_get_queue_stats,
    .queue_dump_start = netdev_xvio_queue_dump_start,
    .queue_dump_next = netdev_xvio_queue_dump_next,
    .queue_dump_done = netdev_xvio_queue_dump_done,
    .dump_queue_stats = netdev_xvio_dump_queue_stats,
    .get_carrier = netdev_xvio_get_carrier,
    .get_carrier_resets = netdev_xvio_get_carrier_resets,
    .get_stats = netdev_xvio_get_stats,
    .get_custom_stats = netdev_xvio_get_custom_stats,
    .get_status = netdev_xvio_get_status,
    .update_flags = netdev_xvio_update_flags,
};

void
netdev_xvio_register(bool dpdks, const char *vhost_sock_dir)
{
    if (vhost_sock_dir) {
        sock_dir = xasprintf("%s/%s", ovs_rundir(), vhost_sock_dir);
    }
    for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
        struct netdev_class *class;

        if (types[i].is_dpdks != dpdks) {
            continue;
        }
        class = xmemdup(&netdev_xvio_class, sizeof netdev_xvio_class);
        class->type = types[i].type;
        /* Once in a round is enough. */
        class->run = i ? NULL : class_run;
        class->wait = i ? NULL : class_wait;
        if (netdev_register_provider(class)) {
            VLOG_WARN("%s: there is an interface type of this name already", class->type);
            free(class);
            continue;
        }
        classes[i] = class;
    }
}
