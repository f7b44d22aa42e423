/* SPDX-License-Identifier: Apache-2.0 */
/* Meters: of one drop band each. */
#include <config.h>

#include "provider.h"

#include <errno.h>
#include <string.h>

#include "openvswitch/ofp-meter.h"
#include "openvswitch/vlog.h"
#include "timeval.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(dpif_xvio_meter);

#define METERS_MAX 65536
#define BURST_DEFAULT_MS 1000 /* as the userspace datapath has it */

void
dpif_xvio_meter_get_features(const struct dpif *dpif OVS_UNUSED, struct ofputil_meter_features *features)
{
    *features = (struct ofputil_meter_features) {
        .max_meters = METERS_MAX,
        .band_types = 1 << OFPMBT13_DROP,
        .capabilities = OFPMF13_KBPS | OFPMF13_PKTPS | OFPMF13_BURST | OFPMF13_STATS,
        .max_bands = 1,
    };
}

int
dpif_xvio_meter_set(struct dpif *dpif, ofproto_meter_id id, struct ofputil_meter_config *config)
{
    struct xv_ovs_rate rate = { .burst_ms = BURST_DEFAULT_MS };
    const struct ofputil_meter_band *band = config->bands;
    struct ofpbuf request;

    if (config->n_bands > 1 || config->flags & ~(OFPMF13_KBPS | OFPMF13_PKTPS | OFPMF13_BURST | OFPMF13_STATS)) {
        return EBADF; /* what the userspace datapath says, too */
    }
    if (config->n_bands) {
        /* A burst is in the rate's unit: packets, kbit. */
        if (config->flags & OFPMF13_PKTPS) {
            rate.packets = band->rate;
        } else {
            rate.bits = band->rate * UINT64_C(1000);
        }
        if (config->flags & OFPMF13_BURST && band->burst_size && band->rate) {
            rate.burst_ms = MIN(DIV_ROUND_UP(band->burst_size * UINT64_C(1000), band->rate), UINT32_MAX);
        }
    }
    xvio_request_init(&request, XV_OVS_METER_SET);
    xvio_put_u32(&request, XV_OVS_METER, id.uint32);
    xvio_put(&request, XV_OVS_RATE, &rate, sizeof rate);
    return xvio_transact(dpif_xvio_cast(dpif)->pool, &request, NULL);
}

static int
stats_of(const struct dpif *dpif, enum xv_ovs_request type, ofproto_meter_id id, struct ofputil_meter_stats *stats,
         uint16_t n_bands)
{
    const struct xv_ovs_item *item;
    struct xv_ovs_meter_stats s;
    struct xvio_reply reply;
    struct ofpbuf request;
    int error;

    xvio_request_init(&request, type);
    xvio_put_u32(&request, XV_OVS_METER, id.uint32);
    error = xvio_transact(dpif_xvio_cast(dpif)->pool, &request, &reply);
    item = error ? NULL : xv_ovs_find(reply.items, reply.len, XV_OVS_METER_STATS);
    if (stats && item && item->len == sizeof s) {
        memcpy(&s, xv_ovs_body(item), sizeof s);
        stats->packet_in_count = s.packets;
        stats->byte_in_count = s.bytes;
        stats->duration_sec = s.age_ms / 1000;
        stats->duration_nsec = s.age_ms % 1000 * 1000000;
        stats->n_bands = MIN(n_bands, 1);
        if (stats->n_bands) {
            stats->bands[0].packet_count = s.dropped_packets;
            stats->bands[0].byte_count = s.dropped_bytes;
        }
    }
    xvio_reply_free(&reply);
    return error;
}

int
dpif_xvio_meter_get(const struct dpif *dpif, ofproto_meter_id id, struct ofputil_meter_stats *stats, uint16_t n_bands)
{
    return stats_of(dpif, XV_OVS_METER_GET, id, stats, n_bands);
}

int
dpif_xvio_meter_del(struct dpif *dpif, ofproto_meter_id id, struct ofputil_meter_stats *stats, uint16_t n_bands)
{
    return stats_of(dpif, XV_OVS_METER_DEL, id, stats, n_bands);
}
