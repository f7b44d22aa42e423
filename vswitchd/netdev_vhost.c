/* SPDX-License-Identifier: Apache-2.0 */
/* VM ports: a vhost-user socket that xviod serves. Packets never come here; this is what can be configured and shown. */
#include <config.h>

#include "provider.h"

#include <errno.h>
#include <string.h>

#include "netdev.h"
#include "openvswitch/vlog.h"
#include "smap.h"
#include "packets.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(netdev_xviovhost);

struct netdev_xviovhost {
    struct netdev up;
    struct ovs_mutex mutex;
    struct eth_addr mac OVS_GUARDED;
    enum netdev_flags flags OVS_GUARDED;
    int mtu OVS_GUARDED;
    char *path OVS_GUARDED; /* NULL: not configured yet */
    bool client OVS_GUARDED;
    uint32_t queues OVS_GUARDED;
};

static int netdev_xviovhost_construct(struct netdev *);

bool
netdev_is_xviovhost(const struct netdev *netdev)
{
    return netdev->netdev_class->construct == netdev_xviovhost_construct;
}

static struct netdev_xviovhost *
cast(const struct netdev *netdev)
{
    ovs_assert(netdev_is_xviovhost(netdev));
    return CONTAINER_OF(netdev, struct netdev_xviovhost, up);
}

static struct netdev *
netdev_xviovhost_alloc(void)
{
    struct netdev_xviovhost *dev = xzalloc(sizeof *dev);

    return &dev->up;
}

static int
netdev_xviovhost_construct(struct netdev *netdev)
{
    struct netdev_xviovhost *dev = CONTAINER_OF(netdev, struct netdev_xviovhost, up);

    ovs_mutex_init(&dev->mutex);
    ovs_mutex_lock(&dev->mutex);
    eth_addr_random(&dev->mac);
    dev->flags = NETDEV_UP | NETDEV_PROMISC;
    dev->mtu = 1500;
    dev->queues = 1;
    ovs_mutex_unlock(&dev->mutex);
    return 0;
}

static void
netdev_xviovhost_destruct(struct netdev *netdev)
{
    struct netdev_xviovhost *dev = cast(netdev);

    free(dev->path);
    ovs_mutex_destroy(&dev->mutex);
}

static void
netdev_xviovhost_dealloc(struct netdev *netdev)
{
    free(cast(netdev));
}

char *
netdev_xviovhost_socket(const struct netdev *netdev, bool *client, uint32_t *queues)
{
    struct netdev_xviovhost *dev = cast(netdev);
    char *path;

    ovs_mutex_lock(&dev->mutex);
    path = nullable_xstrdup(dev->path);
    *client = dev->client;
    *queues = dev->queues;
    ovs_mutex_unlock(&dev->mutex);
    return path;
}

static int
netdev_xviovhost_get_config(const struct netdev *netdev, struct smap *args)
{
    struct netdev_xviovhost *dev = cast(netdev);

    ovs_mutex_lock(&dev->mutex);
    if (dev->path) {
        smap_add(args, "vhost-server-path", dev->path);
    }
    smap_add_format(args, "n_rxq", "%"PRIu32, dev->queues);
    ovs_mutex_unlock(&dev->mutex);
    return 0;
}

/* OVS-DPDK's options: the path is the server's, which is the VM's monitor unless vhost-role says otherwise. */
static int
netdev_xviovhost_set_config(struct netdev *netdev, const struct smap *args, char **errp)
{
    const char *path = smap_get(args, "vhost-server-path");
    const char *role = smap_get_def(args, "vhost-role", "client");
    struct netdev_xviovhost *dev = cast(netdev);
    int queues = smap_get_int(args, "n_rxq", 1);
    bool changed;

    if (!path) {
        VLOG_WARN_BUF(errp, "%s: vhost-server-path is missing", netdev_get_name(netdev));
        return EINVAL;
    }
    if (path[0] != '/' || strlen(path) >= 108) {
        VLOG_WARN_BUF(errp, "%s: vhost-server-path is no absolute path of at most 107 bytes", netdev_get_name(netdev));
        return EINVAL;
    }
    if (strcmp(role, "client") && strcmp(role, "server")) {
        VLOG_WARN_BUF(errp, "%s: vhost-role is client or server, not \"%s\"", netdev_get_name(netdev), role);
        return EINVAL;
    }
    if (queues < 1 || queues > 32) {
        VLOG_WARN_BUF(errp, "%s: n_rxq is from 1 to 32, not %d", netdev_get_name(netdev), queues);
        return EINVAL;
    }
    ovs_mutex_lock(&dev->mutex);
    changed = !nullable_string_is_equal(dev->path, path) || dev->client != !strcmp(role, "client")
              || dev->queues != queues;
    if (changed) {
        free(dev->path);
        dev->path = xstrdup(path);
        dev->client = !strcmp(role, "client");
        dev->queues = queues;
    }
    ovs_mutex_unlock(&dev->mutex);
    if (changed) {
        netdev_change_seq_changed(netdev);
    }
    return 0;
}

static int
netdev_xviovhost_set_etheraddr(struct netdev *netdev, const struct eth_addr mac)
{
    struct netdev_xviovhost *dev = cast(netdev);

    ovs_mutex_lock(&dev->mutex);
    dev->mac = mac;
    ovs_mutex_unlock(&dev->mutex);
    netdev_change_seq_changed(netdev);
    return 0;
}

static int
netdev_xviovhost_get_etheraddr(const struct netdev *netdev, struct eth_addr *mac)
{
    struct netdev_xviovhost *dev = cast(netdev);

    ovs_mutex_lock(&dev->mutex);
    *mac = dev->mac;
    ovs_mutex_unlock(&dev->mutex);
    return 0;
}

static int
netdev_xviovhost_get_mtu(const struct netdev *netdev, int *mtu)
{
    struct netdev_xviovhost *dev = cast(netdev);

    ovs_mutex_lock(&dev->mutex);
    *mtu = dev->mtu;
    ovs_mutex_unlock(&dev->mutex);
    return 0;
}

static int
netdev_xviovhost_update_flags(struct netdev *netdev, enum netdev_flags off, enum netdev_flags on,
                              enum netdev_flags *old)
{
    struct netdev_xviovhost *dev = cast(netdev);

    ovs_mutex_lock(&dev->mutex);
    *old = dev->flags;
    dev->flags = (dev->flags & ~off) | on;
    ovs_mutex_unlock(&dev->mutex);
    return 0;
}

static const struct netdev_class netdev_xviovhost_class = {
    .type = XVIO_VHOST_TYPE,
    .alloc = netdev_xviovhost_alloc,
    .construct = netdev_xviovhost_construct,
    .destruct = netdev_xviovhost_destruct,
    .dealloc = netdev_xviovhost_dealloc,
    .get_config = netdev_xviovhost_get_config,
    .set_config = netdev_xviovhost_set_config,
    .set_etheraddr = netdev_xviovhost_set_etheraddr,
    .get_etheraddr = netdev_xviovhost_get_etheraddr,
    .get_mtu = netdev_xviovhost_get_mtu,
    .update_flags = netdev_xviovhost_update_flags,
};

void
netdev_xviovhost_register(void)
{
    netdev_register_provider(&netdev_xviovhost_class);
}
