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
#include "openvswitch/vlog.h"

VLOG_DEFINE_THIS_MODULE(xvio_register);

void __real_bridge_init(const char *remote);
void __wrap_bridge_init(const char *remote);
bool __real_dpif_supports_tnl_push_pop(const struct dpif *);
bool __wrap_dpif_supports_tnl_push_pop(const struct dpif *);
bool __real_dpif_supports_explicit_drop_action(const struct dpif *);
bool __wrap_dpif_supports_explicit_drop_action(const struct dpif *);

void
__wrap_bridge_init(const char *remote)
{
    netdev_xviotap_register();
    netdev_xviovhost_register();
    dpif_xvio_register("xvio");
    /* The userspace datapath's name is ours, so that a database made for it works as it is. */
    if (getenv("XVIO_REPLACE_NETDEV")) {
        dpif_xvio_register("netdev");
        dp_disallow_provider("netdev");
    }
    __real_bridge_init(remote);
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
