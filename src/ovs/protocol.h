/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What xviod and the datapath provider in ovs-vswitchd (vswitchd/) say to each other, over a unix stream socket. Both sides
 * include this file; it needs libc and kernel headers only.
 *
 * The provider asks, xviod answers, one request at a time on a connection: who wants to ask several things at once opens
 * several connections. A message is a header and items. An item is a length, a type and a body; bodies named KEY, MASK and
 * ACTIONS are netlink attributes of linux/openvswitch.h, OVS's own vocabulary, others numbers, text or the structs below,
 * and some hold items themselves. Everything begins at a multiple of 8 bytes. Numbers are in host order: both ends are on one
 * host. Unknown items are ignored; unknown requests are answered with EOPNOTSUPP; what breaks these rules ends the connection.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define XV_OVS_VERSION 2 /* raised when a number below, or what it means, changes */
#define XV_OVS_SOCKET "/run/xvio/ovs.sock"
#define XV_OVS_MESSAGE_MAX (2u << 20) /* bytes of a request or an answer */
#define XV_OVS_BATCH_BYTES (512u << 10) /* who batches stops beyond */
#define XV_OVS_UPCALLS_BATCH 64

enum xv_ovs_request {
	/* VERSION -> VERSION */
	XV_OVS_HELLO = 1,
	/* NAME [CREATE]. From here on the connection is about this datapath. ENODEV; EEXIST: CREATE, and it is there */
	XV_OVS_DP_OPEN,
	/* -> NAME ... */
	XV_OVS_DP_LIST,
	/* The datapath with its ports and flows */
	XV_OVS_DP_DEL,
	/* -> DP_STATS */
	XV_OVS_DP_STATS,
	/* NAME NETDEV_TYPE KIND [NUMBER SOCKET CLIENT DEVICE QUEUES MTU TUNNEL_TYPE UDP_PORT LIMIT_* TX_*] -> NUMBER.
	 * EEXIST, EBUSY; ERROR_TEXT says more */
	XV_OVS_PORT_ADD,
	/* As PORT_ADD: what the port of that name, of whatever datapath, is to be from now on. Its number stays. ENODEV; ERROR_TEXT */
	XV_OVS_PORT_SET,
	/* NUMBER */
	XV_OVS_PORT_DEL,
	/* NUMBER or NAME -> PORT. ENODEV */
	XV_OVS_PORT_GET,
	/* -> PORT ... */
	XV_OVS_PORT_DUMP,
	/* NAME, of whatever datapath -> PORT_STATS STATE QUEUES [CONNECTED FEATURES ERROR_TEXT] COUNTER ... TX_QUEUE_STATS ...
	 * ENODEV */
	XV_OVS_PORT_STATS,
	/* -> LINK ...: all ports of all datapaths */
	XV_OVS_LINKS,
	XV_OVS_FLOW_FLUSH,
	/* [CURSOR, TERSE] -> FLOW ... [CURSOR: there is more]. Without CURSOR it begins, and counters are up to date */
	XV_OVS_FLOW_DUMP,
	/* OP ... -> RESULT ..., as many */
	XV_OVS_OPERATE,
	/* ON: whether packets for the slow path are kept for it */
	XV_OVS_UPCALL_SET,
	/* HANDLER HANDLERS -> UPCALL ... (at most XV_OVS_UPCALLS_BATCH) when there are some: of ports whose number modulo HANDLERS is
	 * HANDLER, one of each port in turn */
	XV_OVS_UPCALL_TAKE,
	/* [CURSOR, ZONE] -> CONN ... [CURSOR] */
	XV_OVS_CT_DUMP,
	/* [ZONE, TUPLE] */
	XV_OVS_CT_FLUSH,
	/* -> CT_STATS */
	XV_OVS_CT_STATS,
	/* [LIMIT: the default one] ZONE_LIMIT ...; a limit of UINT32_MAX deletes a zone's own */
	XV_OVS_CT_LIMIT_SET,
	/* [ZONE_LIMIT ...: of these, else of all that have one] -> LIMIT ZONE_LIMIT ... */
	XV_OVS_CT_LIMIT_GET,
	/* POLICY SECONDS: by enum xv_ovs_timeout, 0: default */
	XV_OVS_CT_TIMEOUT_SET,
	/* POLICY */
	XV_OVS_CT_TIMEOUT_DEL,
	/* [POLICY: this one] -> TIMEOUT ... of those that were set */
	XV_OVS_CT_TIMEOUT_DUMP,
	/* LIMIT: connections at most. ERANGE: more than there is room for */
	XV_OVS_CT_MAX_SET,
	/* ON: whether TCP's sequence numbers are checked */
	XV_OVS_CT_SEQ_SET,
	/* [LIMIT: fragments that wait at most] [IPV6 (else IPv4) with ON or BYTES: the smallest] */
	XV_OVS_FRAGMENTS_SET,
	/* -> FRAGMENTS_STATUS */
	XV_OVS_FRAGMENTS_GET,
	/* -> FRAGMENTS ...: datagrams that wait */
	XV_OVS_FRAGMENTS_DUMP,
	/* METER RATE: it is new, or it becomes this */
	XV_OVS_METER_SET,
	/* METER -> METER_STATS. ENOENT */
	XV_OVS_METER_GET,
	/* METER -> METER_STATS: as they were. ENOENT */
	XV_OVS_METER_DEL,
	/* BOND MEMBERS: it is new, or it has these from now on */
	XV_OVS_BOND_SET,
	/* BOND. ENOENT */
	XV_OVS_BOND_DEL,
	/* BOND -> SENT. ENOENT */
	XV_OVS_BOND_STATS,
};

enum xv_ovs_item_type {
	XV_OVS_VERSION_ITEM = 1, /* u32 */
	XV_OVS_NAME,		 /* text, without NUL; as others below */
	XV_OVS_CREATE,		 /* nothing */
	XV_OVS_NUMBER,		 /* u32: port number */
	XV_OVS_KIND,		 /* u32: enum xv_ovs_port_kind */
	XV_OVS_NETDEV_TYPE,	 /* text: what OVS calls the port's type; kept for it */
	XV_OVS_SOCKET_PATH,
	XV_OVS_CLIENT,		 /* nothing: connect to the socket */
	XV_OVS_DEVICE,		 /* text: devargs of DPDK, or name of a kernel device */
	XV_OVS_QUEUES,		 /* u32 */
	XV_OVS_TUNNEL_TYPE,	 /* u32: enum xv_ovs_tunnel */
	XV_OVS_UDP_PORT,	 /* u32, host order */
	XV_OVS_GBP,		 /* nothing: VXLAN with group policy */
	XV_OVS_PORT,		 /* NUMBER, then all that PORT_ADD or PORT_SET said */
	XV_OVS_DP_STATS_ITEM,	 /* struct xv_ovs_dp_stats */
	XV_OVS_PORT_STATS_ITEM,	 /* struct xv_ovs_port_stats */
	XV_OVS_COUNTER,		 /* u64, then its name */
	XV_OVS_ERROR_TEXT,	 /* a sentence */
	XV_OVS_CURSOR,		 /* u64 */
	XV_OVS_TERSE,		 /* nothing: KEY, MASK and ACTIONS may be left out */
	XV_OVS_FLOW,		 /* UFID STATS KEY MASK ACTIONS */
	XV_OVS_OP,		 /* OP_TYPE UFID [FLAGS KEY MASK ACTIONS PACKET] */
	XV_OVS_RESULT,		 /* ERROR [STATS, FLOW] */
	XV_OVS_OP_TYPE,		 /* u32: enum xv_ovs_op */
	XV_OVS_FLAGS,		 /* u32: XV_OVS_PUT_* */
	XV_OVS_UFID,		 /* 16 bytes */
	XV_OVS_KEY,		 /* netlink attributes; execute: metadata only */
	XV_OVS_MASK,
	XV_OVS_ACTIONS,
	XV_OVS_PACKET,		 /* a frame */
	XV_OVS_ERROR,		 /* u32: errno of the provider's host */
	XV_OVS_STATS,		 /* struct xv_ovs_flow_stats */
	XV_OVS_ON,		 /* u32: 0, 1 */
	XV_OVS_HANDLER,		 /* u32 */
	XV_OVS_HANDLERS,	 /* u32 */
	XV_OVS_UPCALL,		 /* PACKET KEY (metadata) [USERSPACE: it was an action] */
	XV_OVS_USERSPACE,	 /* netlink attributes: of the userspace action */
	XV_OVS_ZONE,		 /* u32 */
	XV_OVS_TUPLE,		 /* struct xv_ovs_tuple */
	XV_OVS_CONN,		 /* struct xv_ovs_conn */
	XV_OVS_CT_STATS_ITEM,	 /* struct xv_ovs_ct_stats */
	XV_OVS_LIMIT,		 /* u32 */
	XV_OVS_ZONE_LIMIT,	 /* struct xv_ovs_zone_limit */
	XV_OVS_POLICY,		 /* u32 */
	XV_OVS_SECONDS,		 /* u32 ... */
	XV_OVS_TIMEOUT,		 /* POLICY SECONDS */
	XV_OVS_IPV6,		 /* nothing */
	XV_OVS_BYTES,		 /* u32 */
	XV_OVS_FRAGMENTS_STATUS, /* struct xv_ovs_fragments_status */
	XV_OVS_FRAGMENTS,	 /* struct xv_ovs_fragments */
	XV_OVS_METER,		 /* u32 */
	XV_OVS_RATE,		 /* struct xv_ovs_rate */
	XV_OVS_METER_STATS,	 /* struct xv_ovs_meter_stats */
	XV_OVS_MTU,		 /* u32: 0: no limit */
	XV_OVS_LIMIT_BPS,	 /* u64: bits per second that are taken from the port; 0: all */
	XV_OVS_LIMIT_PPS,	 /* u64 */
	XV_OVS_LIMIT_BURST_MS,	 /* u32 */
	XV_OVS_LINK,		 /* u32: it is up; then the port's name */
	XV_OVS_STATE,		 /* text: of the port, as xvioctl says it */
	XV_OVS_CONNECTED,	 /* nothing: the VM's side of the socket is there */
	XV_OVS_FEATURES,	 /* u64: of virtio, negotiated */
	XV_OVS_BOND,		 /* u32 */
	XV_OVS_MEMBERS,		 /* u32 ...: number of the port for each of XV_OVS_BOND_BUCKETS */
	XV_OVS_SENT,		 /* u64 ...: bytes of each bucket since the bond was made */
	XV_OVS_TX_BPS,		 /* u64: bits per second that are sent to the port; 0: no limit */
	XV_OVS_TX_BURST_MS,	 /* u32 */
	XV_OVS_TX_QUEUE,	 /* struct xv_ovs_queue: one of those that share what TX_BPS lets through */
	XV_OVS_TX_QUEUE_STATS,	 /* struct xv_ovs_queue_stats */
};

enum xv_ovs_port_kind {
	XV_OVS_PORT_KERNEL = 1, /* a device of the kernel, as it is */
	XV_OVS_PORT_INTERNAL,	/* a tap that the provider made */
	XV_OVS_PORT_VHOST,
	XV_OVS_PORT_DEVICE, /* anything of DPDK */
	XV_OVS_PORT_TUNNEL, /* what comes out of a tunnel, or goes into one: no device */
};

enum xv_ovs_tunnel { XV_OVS_TUNNEL_VXLAN = 1, XV_OVS_TUNNEL_GENEVE, XV_OVS_TUNNEL_GRE };

enum xv_ovs_op { XV_OVS_OP_PUT = 1, XV_OVS_OP_DEL, XV_OVS_OP_GET, XV_OVS_OP_EXECUTE };

#define XV_OVS_PUT_CREATE 0x1
#define XV_OVS_PUT_MODIFY 0x2
#define XV_OVS_PUT_ZERO_STATS 0x4
#define XV_OVS_PROBE 0x8 /* put, execute: to find out what can be done. An execute does nothing */

/* Actions that only userspace datapaths know have numbers of our own: OVS's change from release to release. */
#define XV_OVS_ACTION_TUNNEL_PUSH 1000 /* struct xv_ovs_tunnel_push */
#define XV_OVS_ACTION_TUNNEL_POP 1001  /* u32: port number */
#define XV_OVS_ACTION_DROP 1002	       /* u32: why, enum xlate_error */
#define XV_OVS_ACTION_LB_OUTPUT 1003   /* u32: bond */

/* struct ovs_action_push_tnl; the attribute ends behind header_len bytes of header */
struct xv_ovs_tunnel_push {
	uint32_t tnl_port, out_port;
	uint32_t header_len;
	uint32_t tnl_type; /* of OVS: nothing for us */
	uint8_t header[512];
};

struct xv_ovs_header {
	uint32_t len;  /* with header and items */
	uint16_t type; /* enum xv_ovs_request; an answer has that of its request */
	uint16_t pad;
	uint32_t error; /* answers: errno, or 0 */
	uint32_t seq;	/* an answer has that of its request */
};

struct xv_ovs_item {
	uint32_t len; /* of the body, without padding */
	uint16_t type;
	uint16_t pad;
};

struct xv_ovs_dp_stats {
	uint64_t hits, missed, lost, flows;
};

struct xv_ovs_port_stats {
	uint64_t rx_packets, rx_bytes, rx_dropped, tx_packets, tx_bytes, tx_dropped;
	uint32_t up;	   /* 0, 1 */
	uint32_t link_mtu; /* 0: not known */
};

#define XV_OVS_QUEUES_MAX 64 /* of a port */

/* Packets whose priority is 1 << 16 | id + 1, and for id 0 also those that have none */
struct xv_ovs_queue {
	uint32_t id, burst_ms;
	uint64_t min_bps, max_bps; /* that it gets, that it may have; 0: nothing of its own, no limit of its own */
};

struct xv_ovs_queue_stats {
	uint32_t id, pad;
	uint64_t packets, bytes, dropped;
};

struct xv_ovs_flow_stats {
	uint64_t packets, bytes;
	uint64_t used_ms; /* CLOCK_MONOTONIC; 0: never */
	uint64_t tcp_flags;
};

struct xv_ovs_tuple {
	uint8_t src[16], dst[16]; /* IPv4: the first four */
	uint16_t src_port, dst_port; /* network order; ICMP: id, and type << 8 | code in network order */
	uint8_t proto, ipv6;
	uint16_t zone;
};

struct xv_ovs_conn {
	struct xv_ovs_tuple original, reply, master;
	uint64_t packets[2], bytes[2];
	uint8_t label[16];
	uint32_t mark, timeout_s, status; /* IPS_* */
	uint8_t state;			  /* TCP: TCP_CONNTRACK_* ; SCTP: its own */
	uint8_t helper;			  /* 1: ftp, 2: tftp */
	uint16_t has_master;
};

struct xv_ovs_ct_stats {
	uint32_t connections, max;
	uint32_t seq_checked; /* 0, 1 */
	uint32_t pad;
};

struct xv_ovs_fragments_status {
	uint32_t waiting, max;
	struct {
		uint32_t enabled, min_bytes;
		uint64_t accepted, completed, expired, too_small, overlapped, purged;
	} ip[2]; /* IPv4, IPv6 */
};

/* A datagram that is not complete. */
struct xv_ovs_fragments {
	uint8_t src[16], dst[16]; /* IPv4: the first four */
	uint32_t recirc_id, ip_id; /* ip_id: host order */
	uint16_t zone, n;
	uint8_t proto, ipv6;
	uint8_t first, last; /* whether they are there */
};

/* A drop band. 0: unlimited */
struct xv_ovs_rate {
	uint64_t packets, bits; /* a second */
	uint32_t burst_ms;
	uint32_t pad;
};

#define XV_OVS_BOND_BUCKETS 256

struct xv_ovs_meter_stats {
	uint64_t packets, bytes, dropped_packets, dropped_bytes;
	uint64_t age_ms;
};

/* Timeout policies are named so in ct actions, followed by their number. */
#define XV_OVS_POLICY_NAME "xvio_tp_"
/* SECONDS, by place. */
enum xv_ovs_timeout {
	XV_OVS_TO_TCP_NONE, /* by TCP_CONNTRACK_* of linux/netfilter/nf_conntrack_tcp.h */
	XV_OVS_TO_TCP_SYN_SENT,
	XV_OVS_TO_TCP_SYN_RECV,
	XV_OVS_TO_TCP_ESTABLISHED,
	XV_OVS_TO_TCP_FIN_WAIT,
	XV_OVS_TO_TCP_CLOSE_WAIT,
	XV_OVS_TO_TCP_LAST_ACK,
	XV_OVS_TO_TCP_TIME_WAIT,
	XV_OVS_TO_TCP_CLOSE,
	XV_OVS_TO_TCP_SYN_SENT2,
	XV_OVS_TO_TCP_RETRANS,
	XV_OVS_TO_TCP_UNACK,
	XV_OVS_TO_UDP_FIRST,
	XV_OVS_TO_UDP_SINGLE,
	XV_OVS_TO_UDP_MULTIPLE,
	XV_OVS_TO_ICMP_FIRST,
	XV_OVS_TO_ICMP_REPLY,
	XV_OVS_TIMEOUTS
};

struct xv_ovs_zone_limit {
	uint32_t zone, limit, count;
};

/* ---- Walking items ---- */

static inline uint32_t xv_ovs_padded(uint32_t len)
{
	return (len + 7u) & ~7u;
}

static inline const void *xv_ovs_body(const struct xv_ovs_item *item)
{
	return item + 1;
}

/* The item at *at of len bytes of items, and *at behind it; NULL: no more, or *broken. */
static inline const struct xv_ovs_item *xv_ovs_next(const void *items, uint32_t len, uint32_t *at, bool *broken)
{
	const struct xv_ovs_item *item = (const struct xv_ovs_item *)(const void *)((const uint8_t *)items + *at);

	if (*at >= len)
		return NULL;
	if (len - *at < sizeof(*item) || item->len > len - *at - sizeof(*item) ||
	    xv_ovs_padded(item->len) > len - *at - sizeof(*item)) {
		*broken = true;
		return NULL;
	}
	*at += (uint32_t)sizeof(*item) + xv_ovs_padded(item->len);
	return item;
}

/* The first item of a type, or NULL. */
static inline const struct xv_ovs_item *xv_ovs_find(const void *items, uint32_t len, uint16_t type)
{
	const struct xv_ovs_item *item;
	bool broken = false;
	uint32_t at = 0;

	while ((item = xv_ovs_next(items, len, &at, &broken)) != NULL)
		if (item->type == type)
			return item;
	return NULL;
}

/* A number, or what it is without such an item. */
static inline uint32_t xv_ovs_u32(const void *items, uint32_t len, uint16_t type, uint32_t otherwise)
{
	const struct xv_ovs_item *item = xv_ovs_find(items, len, type);
	uint32_t value = otherwise;

	if (item != NULL && item->len == sizeof(value))
		memcpy(&value, xv_ovs_body(item), sizeof(value));
	return value;
}

static inline uint64_t xv_ovs_u64(const void *items, uint32_t len, uint16_t type, uint64_t otherwise)
{
	const struct xv_ovs_item *item = xv_ovs_find(items, len, type);
	uint64_t value = otherwise;

	if (item != NULL && item->len == sizeof(value))
		memcpy(&value, xv_ovs_body(item), sizeof(value));
	return value;
}
