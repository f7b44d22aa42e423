/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Internal ports: a tap device of the kernel, made and looked after here, whose packets xviod reads and writes. All but that is
 * as OVS does it for any device of the kernel.
 */
#include <config.h>

#include "provider.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <linux/if_tun.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "netdev-linux.h"
#include "openvswitch/vlog.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(netdev_xviotap);

/* The tap of that name with us as its only reader, or -errno; -EBUSY: xviod is. */
static int
tap_attach(const char *name)
{
    struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC), error;

    if (fd < 0) {
        return -errno;
    }
    ovs_strzcpy(ifr.ifr_name, name, sizeof ifr.ifr_name);
    if (ioctl(fd, TUNSETIFF, &ifr) < 0) {
        error = errno;
        close(fd);
        return -error;
    }
    return fd;
}

int
xvio_tap_create(const char *name)
{
    int fd = tap_attach(name), error = 0;

    if (fd == -EBUSY) {
        return 0; /* it outlived us, and xviod holds it */
    }
    if (fd < 0) {
        return -fd;
    }
    if (ioctl(fd, TUNSETPERSIST, 1) < 0) {
        error = errno;
    }
    close(fd);
    return error;
}

/* Unless xviod still holds it: then vswitchd ends, and traffic goes on. */
void
xvio_tap_destroy(const char *name)
{
    int fd;

    if (!if_nametoindex(name)) {
        return;
    }
    fd = tap_attach(name);
    if (fd >= 0) {
        ioctl(fd, TUNSETPERSIST, 0);
        close(fd);
    }
}

static int
netdev_xviotap_construct(struct netdev *netdev)
{
    int error = xvio_tap_create(netdev_get_name(netdev));

    if (error) {
        VLOG_WARN("%s: cannot create tap device: %s", netdev_get_name(netdev), ovs_strerror(error));
        return error;
    }
    error = netdev_linux_class.construct(netdev);
    if (error) {
        xvio_tap_destroy(netdev_get_name(netdev));
    }
    return error;
}

static void
netdev_xviotap_destruct(struct netdev *netdev)
{
    netdev_linux_class.destruct(netdev);
    xvio_tap_destroy(netdev_get_name(netdev));
}

bool
netdev_is_xviotap(const struct netdev *netdev)
{
    return netdev->netdev_class->construct == netdev_xviotap_construct;
}

/* Once for each type name: our own, and that of the userspace datapath's internal ports where that datapath is ours. */
void
netdev_xviotap_register(const char *type)
{
    struct netdev_class *class = xmemdup(&netdev_linux_class, sizeof netdev_linux_class);

    if (strcmp(type, XVIO_TAP_TYPE)) {
        netdev_unregister_provider(type);
    }
    class->type = xstrdup(type);
    class->construct = netdev_xviotap_construct;
    class->destruct = netdev_xviotap_destruct;
    /* What the device receives is what the port sends. */
    class->get_stats = netdev_tap_class.get_stats;
    netdev_register_provider(class);
}
