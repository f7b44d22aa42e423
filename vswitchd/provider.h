/* SPDX-License-Identifier: Apache-2.0 */
/*
 * XVIO's datapath provider in ovs-vswitchd: what its files share. It holds no packets and no flows: each member of dpif_class
 * is a request to xviod (connection.h), which keeps everything while vswitchd restarts.
 */
#pragma once

#include "dpif-provider.h"
#include "netdev-provider.h"
#include "ovs-thread.h"

#include "connection.h"

#define XVIO_TAP_TYPE "xviotap"
#define XVIO_VHOST_TYPE "xviovhost"
#define XVIO_DEVICE_TYPE "xvioeth"

struct xvio_handler;

struct dpif_xvio {
    struct dpif dpif;
    struct xvio_pool *pool;
    struct ovs_rwlock handlers_lock;
    struct xvio_handler *handlers OVS_GUARDED;
    uint32_t n_handlers OVS_GUARDED;
};

static inline struct dpif_xvio *
dpif_xvio_cast(const struct dpif *dpif)
{
    return CONTAINER_OF(dpif, struct dpif_xvio, dpif);
}

/* dpif.c */
void dpif_xvio_register(const char *type);
bool dpif_is_xvio(const struct dpif *);

/* dpif_flow.c */
int dpif_xvio_flow_flush(struct dpif *);
struct dpif_flow_dump *dpif_xvio_flow_dump_create(const struct dpif *, bool terse, struct dpif_flow_dump_types *);
int dpif_xvio_flow_dump_destroy(struct dpif_flow_dump *);
struct dpif_flow_dump_thread *dpif_xvio_flow_dump_thread_create(struct dpif_flow_dump *);
void dpif_xvio_flow_dump_thread_destroy(struct dpif_flow_dump_thread *);
int dpif_xvio_flow_dump_next(struct dpif_flow_dump_thread *, struct dpif_flow *, int max_flows);
void dpif_xvio_operate(struct dpif *, struct dpif_op **, size_t n_ops, enum dpif_offload_type);

/* dpif_upcall.c */
int dpif_xvio_recv_set(struct dpif *, bool enable);
int dpif_xvio_handlers_set(struct dpif *, uint32_t n_handlers);
int dpif_xvio_recv(struct dpif *, uint32_t handler_id, struct dpif_upcall *, struct ofpbuf *);
void dpif_xvio_recv_wait(struct dpif *, uint32_t handler_id);
void dpif_xvio_recv_purge(struct dpif *);

/* dpif_ct.c */
int dpif_xvio_ct_dump_start(struct dpif *, struct ct_dpif_dump_state **, const uint16_t *zone, int *ptot_bkts);
int dpif_xvio_ct_dump_next(struct dpif *, struct ct_dpif_dump_state *, struct ct_dpif_entry *);
int dpif_xvio_ct_dump_done(struct dpif *, struct ct_dpif_dump_state *);
int dpif_xvio_ct_flush(struct dpif *, const uint16_t *zone, const struct ct_dpif_tuple *);
int dpif_xvio_ct_get_maxconns(struct dpif *, uint32_t *maxconns);
int dpif_xvio_ct_get_nconns(struct dpif *, uint32_t *nconns);
int dpif_xvio_ct_set_limits(struct dpif *, const uint32_t *default_limit, const struct ovs_list *zone_limits);
int dpif_xvio_ct_get_limits(struct dpif *, uint32_t *default_limit, const struct ovs_list *in, struct ovs_list *out);
int dpif_xvio_ct_del_limits(struct dpif *, const struct ovs_list *zone_limits);
int dpif_xvio_ct_set_timeout_policy(struct dpif *, const struct ct_dpif_timeout_policy *);
int dpif_xvio_ct_get_timeout_policy(struct dpif *, uint32_t tp_id, struct ct_dpif_timeout_policy *);
int dpif_xvio_ct_del_timeout_policy(struct dpif *, uint32_t tp_id);
int dpif_xvio_ct_get_timeout_policy_name(struct dpif *, uint32_t tp_id, uint16_t dl_type, uint8_t nw_proto,
                                         char **tp_name, bool *is_generic);
int dpif_xvio_ct_get_features(struct dpif *, enum ct_features *);
int dpif_xvio_ct_set_maxconns(struct dpif *, uint32_t maxconns);
int dpif_xvio_ct_set_tcp_seq_chk(struct dpif *, bool enabled);
int dpif_xvio_ct_get_tcp_seq_chk(struct dpif *, bool *enabled);
int dpif_xvio_ct_timeout_policy_dump_start(struct dpif *, void **statep);
int dpif_xvio_ct_timeout_policy_dump_next(struct dpif *, void *state, struct ct_dpif_timeout_policy *);
int dpif_xvio_ct_timeout_policy_dump_done(struct dpif *, void *state);

/* dpif_ipf.c */
int dpif_xvio_ipf_set_enabled(struct dpif *, bool v6, bool enabled);
int dpif_xvio_ipf_set_min_frag(struct dpif *, bool v6, uint32_t min_frag);
int dpif_xvio_ipf_set_max_nfrags(struct dpif *, uint32_t max_nfrags);
int dpif_xvio_ipf_get_status(struct dpif *, struct dpif_ipf_status *);
int dpif_xvio_ipf_dump_start(struct dpif *, struct ipf_dump_ctx **);
int dpif_xvio_ipf_dump_next(struct dpif *, void *dump, char **text);
int dpif_xvio_ipf_dump_done(struct dpif *, void *dump);

/* dpif_meter.c */
void dpif_xvio_meter_get_features(const struct dpif *, struct ofputil_meter_features *);
int dpif_xvio_meter_set(struct dpif *, ofproto_meter_id, struct ofputil_meter_config *);
int dpif_xvio_meter_get(const struct dpif *, ofproto_meter_id, struct ofputil_meter_stats *, uint16_t n_bands);
int dpif_xvio_meter_del(struct dpif *, ofproto_meter_id, struct ofputil_meter_stats *, uint16_t n_bands);

/* dpif_bond.c */
int dpif_xvio_bond_add(struct dpif *, uint32_t bond_id, odp_port_t *member_map);
int dpif_xvio_bond_del(struct dpif *, uint32_t bond_id);
int dpif_xvio_bond_stats_get(struct dpif *, uint32_t bond_id, uint64_t *n_bytes);

/* netdev_tap.c */
void netdev_xviotap_register(const char *type);
bool netdev_is_xviotap(const struct netdev *);
int xvio_tap_create(const char *name);
void xvio_tap_destroy(const char *name);

/* netdev_xvio.c */
/* The classes: ours, or (dpdks) those with OVS-DPDK's names. vhost_sock_dir: below OVS's run directory, NULL: that itself. */
void netdev_xvio_register(bool dpdks, const char *vhost_sock_dir);
bool netdev_is_xvio(const struct netdev *);
/* All that PORT_ADD has to know but the number. EINVAL: it is not configured yet. */
int netdev_xvio_put_port(const struct netdev *, struct ofpbuf *request);
/* Policing as OVS says it; all 0: none. */
void xvio_put_policing(struct ofpbuf *request, uint32_t kbits_rate, uint32_t kbits_burst, uint32_t kpkts_rate);
/* Main thread: what xviod says of a port's link, if it is one of these. */
void netdev_xvio_set_link(const char *name, bool up);
void netdev_xvio_links_down(void);
