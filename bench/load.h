/* SPDX-License-Identifier: Apache-2.0 */
/*
 * xvio-load: the guests of the benches and of the virtio matrix. Drives DPDK's own virtio driver
 * (virtio-user), so that the rings under test are written by somebody else's code.
 *
 * Ports come in pairs: 0 and 1 talk to each other, 2 and 3, ... Everything runs on one thread;
 * struct load is filled by load.c and belongs to the mode that runs.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <rte_cycles.h>
#include <rte_ethdev.h>
#include <rte_ip.h>
#include <rte_mbuf.h>
#include <rte_tcp.h>
#include <rte_udp.h>
#include <rte_vxlan.h>

#define MAX_PORTS  128 /* over all processes; one process has RTE_MAX_ETHPORTS at most */
#define MAX_QUEUES 16
#define MAX_BURST  64
#define MAX_GAPS   64
#define MAX_ROUNDS 128

/* In front of a frame of a port with a VNI. */
struct __rte_packed __rte_aligned(2) vxlan_outer
{
	struct rte_ether_hdr eth;
	struct rte_ipv4_hdr ip;
	struct rte_udp_hdr udp;
	struct rte_vxlan_hdr vxlan;
};

struct port {
	char socket[108];
	bool server; /* we listen, the back end connects */
	bool packed;
	bool mergeable;
	bool in_order;
	bool vectorized;
	bool vxlan;   /* its frames come and go in tunnel packets (vxlan.c) */
	bool listens; /* sends a first frame so that others learn its address, then only receives */
	bool answers; /* --replies: its flows are those of the port that it talks to, the way back */
	uint16_t queues;
	uint16_t queue_size;
	uint32_t flows; /* per queue that sends, at least 1 */
	uint16_t index; /* over all processes; names the port in frames */
	uint16_t id;    /* ethdev */
	struct rte_ether_addr mac;
	struct rte_mempool *pool;
	uint32_t vni;
	uint32_t outer_sum; /* IP header checksum of `outer`, not inverted */
	struct vxlan_outer outer;
};

enum mode { MODE_SPEED, MODE_CHECK, MODE_PING, MODE_CONNECT, MODE_FLOOD };

/* An interval without a received frame, CLOCK_MONOTONIC: what a reconnect costs. */
struct gap {
	double from_s;
	double to_s;
	uint16_t src_port;
};

/* flood, with victims: a time of peace and the flood after it. */
struct round {
	double peace, flood; /* bytes per second of the victims' connection */
	double syns;	     /* the attacker's, per second of flood */
};

/* One process's counts; in shared memory, summed by the parent. */
struct result {
	bool ok;
	uint64_t sent;
	uint64_t received; /* distinct frames */
	uint64_t lost;
	uint64_t reordered;
	uint64_t duplicate;
	uint64_t corrupt;
	uint64_t bytes;
	uint64_t busy_cycles; /* of loop passes that moved a frame */
	double seconds;
	double attach_ms; /* longest of a port: socket made, connection, first messages */
	double first_ms;  /* from the last port being up to every queue having received a frame */
	/* ping: send to receive, one way through the system under test */
	uint32_t pings;
	double ping_us[3]; /* p50, p99, max */
	uint32_t gap_count;
	struct gap gaps[MAX_GAPS];
	/* flood */
	uint32_t rounds;
	struct round round[MAX_ROUNDS];
	uint32_t opened, not_opened; /* new connections of the victims, during floods */
	double open_worst_ms;
	uint64_t resent; /* segments of the victims */
};

struct load {
	enum mode mode;
	const char *cpus;
	bool hugepages;
	uint16_t burst;
	uint16_t size_min, size_max; /* frame bytes, without FCS */
	uint16_t segs_min, segs_max; /* buffers per sent frame */
	uint32_t buffer;             /* data room of a buffer; 0: a frame fits */
	uint16_t tso;                /* frames are TCP, to be segmented to so many bytes; 0: UDP, as they are */
	uint32_t flows;              /* over all processes; 0: one per queue that sends */
	uint64_t frames;             /* per queue; 0: until seconds are over */
	double seconds;
	double warmup_s;
	double timeout_s; /* without progress: what is missing is lost */
	uint32_t window;  /* frames under way per queue; 0: as many as the rings take */
	bool lossy;       /* loss and duplicates are no failure (the other side gets killed) */
	double gap_ms;
	double interval_ms; /* ping */
	double settle_s;
	double rate; /* speed: frames a second of each queue that sends; 0: as many as it takes */
	int from;    /* speed: only this port sends; negative: all */
	bool replies; /* speed: of two ports, one answers the flows of the other */

	struct port ports[MAX_PORTS];
	unsigned int nports;
	struct result *res;
};

/* Set by SIGINT and SIGTERM. */
extern volatile bool load_stop;

/* With more than one process on the core: hands the core to the next one and returns true when it
 * is our turn again. Called once per pass over the ports. */
bool load_turn(void);

/* Tells the runner (stderr) that traffic flows; t0 = TSC when the ports were up. */
void load_ready(struct load *l, uint64_t t0);

static inline uint32_t load_random(void)
{
	static uint64_t x = 0x9e3779b97f4a7c15;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return x >> 32;
}

/* ---- frame.c ---- */

struct __rte_packed frame_tag {
	uint32_t magic;
	uint16_t src_port; /* struct port.index */
	uint16_t src_queue;
	uint64_t seq;
};

struct __rte_packed __rte_aligned(2) frame_hdr
{
	struct rte_ether_hdr eth;
	struct rte_ipv4_hdr ip;
	struct rte_udp_hdr udp;
	struct frame_tag tag;
};

/* With --tso. Addresses and ports are where they are with UDP. */
struct __rte_packed __rte_aligned(2) frame_tso_hdr
{
	struct rte_ether_hdr eth;
	struct rte_ipv4_hdr ip;
	struct rte_tcp_hdr tcp;
	struct frame_tag tag;
};

#define FRAME_MIN     sizeof(struct frame_hdr)
#define FRAME_MAX     9216
#define FRAME_TSO_MAX UINT16_MAX
#define FRAME_DATA  0x5856494f /* counted and checked */
#define FRAME_PROBE 0x58564950 /* finds out whether the way is open */

/*
 * Flow f that port p sends to port d, a UDP/IPv4 5-tuple (p, d: struct port.index):
 *
 *	from 10.p.0.1 + f / 256, UDP port 1024 + f % 256, to 10.d.0.1, UDP port 9
 *
 * Flow k of queue q is f = k * queues + q. Whatever the flow, the Ethernet addresses and the
 * destination are those of the port. A port that answers sends flow f of d the other way round.
 */
#define FLOW_ADDR(p)   RTE_IPV4(10, p, 0, 1)
#define FLOW_UDP_PORT  1024
#define FLOWS_PER_ADDR 256
#define FLOWS_MAX      (1 << 23) /* host part of an address: 16 bits */

static inline uint32_t flow_number(const struct port *src, uint16_t queue, uint32_t k)
{
	return k * src->queues + queue;
}

/* What frame_flow_set() needs to know of a port. */
struct flow_writer {
	uint32_t addr; /* of flow 0 */
	uint16_t addr_at, port_at; /* where flows differ: offsets */
	uint32_t sum;  /* IP header checksum: what neither flow nor length change */
};

void flow_writer_init(struct flow_writer *w, const struct port *src, const struct port *dst);

/* Makes a frame one of flow f. Only stores, no look at the old bytes: the line is likely in the
 * cache of the CPU that wrote the frame, and nothing here waits for it. */
static inline void frame_flow_set(struct rte_mbuf *m, const struct flow_writer *w, uint32_t f)
{
	struct frame_hdr *h = rte_pktmbuf_mtod(m, struct frame_hdr *);
	uint32_t addr = w->addr + f / FLOWS_PER_ADDR;
	uint32_t sum = w->sum + m->pkt_len - sizeof(h->eth) + (addr >> 16) + (addr & 0xffff);

	sum = (sum & 0xffff) + (sum >> 16);
	sum += sum >> 16;
	h->ip.hdr_checksum = rte_cpu_to_be_16(~sum);
	*(unaligned_uint32_t *)((uint8_t *)h + w->addr_at) = rte_cpu_to_be_32(addr);
	*(unaligned_uint16_t *)((uint8_t *)h + w->port_at) =
		rte_cpu_to_be_16(FLOW_UDP_PORT + f % FLOWS_PER_ADDR);
}

/* tso: see struct load. */
void frame_init(uint16_t tso);

/* Ask for segmentation, before m is sent; --tso. */
static inline void frame_tso_set(struct rte_mbuf *m, uint16_t tso)
{
	m->ol_flags = RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IP_CKSUM;
	m->l2_len = sizeof(struct rte_ether_hdr);
	m->l3_len = sizeof(struct rte_ipv4_hdr);
	m->l4_len = sizeof(struct rte_tcp_hdr);
	m->tso_segsz = tso;
}

/* A new frame of len bytes in nsegs buffers cut at random places; NULL when out of buffers. Frames
 * take turns to be of the queue's flows, by their sequence number. */
struct rte_mbuf *frame_create(const struct port *src, const struct port *dst, uint16_t queue,
			      uint32_t magic, uint64_t seq, uint16_t len, uint16_t nsegs);

/* Copies the tag out; false for a frame too short to have one. */
bool frame_tag_read(const struct rte_mbuf *m, struct frame_tag *tag);

/* Whether every byte is what frame_create() wrote for this tag and length; any_flow: or what
 * frame_flow_set() made of that, for any flow of the port. */
bool frame_verify(const struct rte_mbuf *m, const struct port *src, const struct port *dst,
		  const struct frame_tag *tag, bool any_flow);

/* ---- vxlan.c ---- */

/* Finds the system's VTEP by ARP, and is found. */
void vxlan_meet(struct port *p, double timeout_s);

/* Takes the outer headers off what p has received. What is no tunnel packet is answered and freed;
 * returns how many are left. */
uint16_t vxlan_receive(const struct port *p, struct rte_mbuf **m, uint16_t n);

/* Whether the outer header that vxlan_receive() took off is what p should get, in every field. */
bool vxlan_verify(const struct port *p, const struct rte_mbuf *m);

/* Puts the outer headers on a frame of flow f. Only stores; buffers have the headroom. */
static inline void vxlan_push(const struct port *p, struct rte_mbuf *m, uint32_t f)
{
	struct vxlan_outer *o = (struct vxlan_outer *)rte_pktmbuf_prepend(m, sizeof(*o));
	uint32_t len = m->pkt_len - sizeof(o->eth), sum = p->outer_sum + len;

	*o = p->outer;
	o->ip.total_length = rte_cpu_to_be_16(len);
	o->ip.hdr_checksum = rte_cpu_to_be_16(~((sum & 0xffff) + (sum >> 16)));
	o->udp.src_port = rte_cpu_to_be_16(49152 + f % 16384);
	o->udp.dgram_len = rte_cpu_to_be_16(len - sizeof(o->ip));
}

/* ---- talk.c ---- */

/* Sequence numbers are those of bytes, times are cycles. */
struct talk {
	const struct port *client, *server;
	uint16_t len, payload; /* of a segment of data: its frame, and what it carries */
	uint16_t burst;
	uint32_t window;
	uint64_t patience;
	uint64_t pace, burst_cycles, due; /* cycles a segment, 0: as fast as it goes; a burst's; when the next may go */
	bool established;
	uint32_t first, una, next, duplicates; /* client: first of all; first that is not acknowledged; next to be sent */
	uint32_t recover;		/* no second way back before this is acknowledged */
	uint64_t moved;			/* when una did */
	uint32_t expected;		/* server */
	uint64_t received;		/* bytes, in order */
	uint64_t resent, checked, corrupt;
	uint16_t opening, last_port; /* port of the connection that is being opened; 0: none */
	uint64_t open_since, open_tried, open_worst;
	uint32_t opened;
};

/* Opens the connection. False: it was not answered. */
bool talk_start(struct talk *t, const struct load *l, const struct port *client, const struct port *server);
/* Once per pass. Frames received by either end. */
uint16_t talk_turn(struct talk *t, uint64_t now);
/* Begin to open another connection. */
void talk_open(struct talk *t, uint64_t now);

/* ---- modes: each returns when done, results in l->res ---- */
void speed_run(struct load *l);
void check_run(struct load *l, uint64_t t0);
void ping_run(struct load *l, uint64_t t0);
void connect_run(struct load *l, uint64_t t0);
void flood_run(struct load *l);
