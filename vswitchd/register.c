/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How we get into an unpatched ovs-vswitchd: the linker has some calls come here first (ld --wrap, meson.build). bridge_init()
 * is called once, after options were parsed and the process went into the background, before any datapath is looked for.
 */
#include <config.h>

#include "provider.h"

#include <stdlib.h>

#include "bridge.h"
#include "dpif-provider.h"
#include "dpdk.h"
#include "openvswitch/vlog.h"
#include "ovsdb-idl.h"
#include "smap.h"
#include "util.h"
#include "vswitch-idl.h"
#include "watch.h"

VLOG_DEFINE_THIS_MODULE(xvio_register);

void __real_bridge_init(const char *remote);
void __wrap_bridge_init(const char *remote);
struct ovsdb_idl *__real_ovsdb_idl_create(const char *remote, const struct ovsdb_idl_class *, bool monitor, bool retry);
struct ovsdb_idl *__wrap_ovsdb_idl_create(const char *remote, const struct ovsdb_idl_class *, bool monitor, bool retry);
void __real_ovsrec_interface_set_error(const struct ovsrec_interface *, const char *error);
void __wrap_ovsrec_interface_set_error(const struct ovsrec_interface *, const char *error);
void __real_dpdk_init(const struct smap *other_config);
void __wrap_dpdk_init(const struct smap *other_config);
bool __real_dpif_supports_tnl_push_pop(const struct dpif *);
bool __wrap_dpif_supports_tnl_push_pop(const struct dpif *);
bool __real_dpif_supports_explicit_drop_action(const struct dpif *);
bool __wrap_dpif_supports_explicit_drop_action(const struct dpif *);
bool __real_dpif_supports_lb_output_action(const struct dpif *);
bool __wrap_dpif_supports_lb_output_action(const struct dpif *);

void
__wrap_bridge_init(const char *remote)
{
    netdev_xviotap_register(XVIO_TAP_TYPE);
    netdev_xvio_register(false, NULL);
    dpif_xvio_register("xvio");
    __real_bridge_init(remote);
}

/* vswitchd has one database. */
struct ovsdb_idl *
__wrap_ovsdb_idl_create(const char *remote, const struct ovsdb_idl_class *class, bool monitor, bool retry)
{
    struct ovsdb_idl *idl = __real_ovsdb_idl_create(remote, class, monitor, retry);

    xvio_watch_database(idl);
    return idl;
}

/* Called in each round with the database's other_config, the first time before any datapath is opened. With
 * xvio-replace-netdev the userspace datapath's name is ours, and so are OVS-DPDK's interfaces: a database made for these works as
 * it is. */
void
__wrap_dpdk_init(const struct smap *other_config)
{
    static bool looked, replace;

    if (!looked) {
        looked = true;
        replace = smap_get_bool(other_config, "xvio-replace-netdev", getenv("XVIO_REPLACE_NETDEV") != NULL);
        if (replace) {
            netdev_xvio_register(true, smap_get(other_config, "vhost-sock-dir"));
            netdev_xviotap_register("tap");
            dpif_xvio_register("netdev");
            dp_disallow_provider("netdev");
            xvio_watch_netdev();
            /* At INFO it would be one line more than OVS's own tests expect on the console. */
            VLOG_DBG("datapath type netdev and interface types dpdk, dpdkvhostuser, dpdkvhostuserclient are xviod's");
        }
    }
    /* That DPDK is missing in this process says nothing then. */
    if (!replace) {
        __real_dpdk_init(other_config);
    }
}

/* OVS knows an errno value of a port that was refused, xviod said a sentence. */
void
__wrap_ovsrec_interface_set_error(const struct ovsrec_interface *interface, const char *error)
{
    char *sentence = xvio_watch_take_sentence(interface->name);

    if (error && sentence) {
        char *text = xasprintf("%s: %s", interface->name, sentence);

        __real_ovsrec_interface_set_error(interface, text);
        free(text);
    } else {
        __real_ovsrec_interface_set_error(interface, error);
    }
    free(sentence);
}

/* What these ask is not probed but known of the userspace datapath. */
bool
__wrap_dpif_supports_tnl_push_pop(const struct dpif *dpif)
{
    return dpif_is_xvio(dpif) || __real_dpif_supports_tnl_push_pop(dpif);
}

bool
__wrap_dpif_supports_explicit_drop_action(const struct dpif *dpif)
{
    return dpif_is_xvio(dpif) || __real_dpif_supports_explicit_drop_action(dpif);
}

bool
__wrap_dpif_supports_lb_output_action(const struct dpif *dpif)
{
    return dpif_is_xvio(dpif) || __real_dpif_supports_lb_output_action(dpif);
}
