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
#include <rte_udp.h>

#define MAX_PORTS  128 /* over all processes; one process has RTE_MAX_ETHPORTS at most */
#define MAX_QUEUES 16
#define MAX_BURST  64
#define MAX_GAPS   64

struct port {
	char socket[108];
	bool server; /* we listen, the back end connects */
	bool packed;
	bool mergeable;
	bool in_order;
	bool vectorized;
	uint16_t queues;
	uint16_t queue_size;
	uint16_t index; /* over all processes; names the port in frames */
	uint16_t id;    /* ethdev */
	struct rte_ether_addr mac;
	struct rte_mempool *pool;
};

enum mode { MODE_SPEED, MODE_CHECK, MODE_PING };

/* An interval without a received frame, CLOCK_MONOTONIC: what a reconnect costs. */
struct gap {
	double from_s;
	double to_s;
	uint16_t src_port;
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
	double first_ms;  /* from the last port being up to every flow having received a frame */
	/* ping: send to receive, one way through the system under test */
	uint32_t pings;
	double ping_us[3]; /* p50, p99, max */
	uint32_t gap_count;
	struct gap gaps[MAX_GAPS];
};

struct load {
	enum mode mode;
	const char *cpus;
	bool hugepages;
	uint16_t burst;
	uint16_t size_min, size_max; /* frame bytes, without FCS */
	uint16_t segs_min, segs_max; /* buffers per sent frame */
	uint32_t buffer;             /* data room of a buffer; 0: a frame fits */
	uint64_t frames;             /* per flow; 0: until seconds are over */
	double seconds;
	double warmup_s;
	double timeout_s; /* without progress: what is missing is lost */
	uint32_t window;  /* frames under way per flow; 0: as many as the rings take */
	bool lossy;       /* loss and duplicates are no failure (the other side gets killed) */
	double gap_ms;
	double interval_ms; /* ping */
	double settle_s;

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

#define FRAME_MIN   sizeof(struct frame_hdr)
#define FRAME_MAX   9216
#define FRAME_DATA  0x5856494f /* counted and checked */
#define FRAME_PROBE 0x58564950 /* finds out whether the way is open */

void frame_init(void);

/* A new frame of len bytes in nsegs buffers cut at random places; NULL when out of buffers. */
struct rte_mbuf *frame_create(const struct port *src, const struct port *dst, uint16_t queue,
			      uint32_t magic, uint64_t seq, uint16_t len, uint16_t nsegs);

/* Copies the tag out; false for a frame too short to have one. */
bool frame_tag_read(const struct rte_mbuf *m, struct frame_tag *tag);

/* Whether every byte is what frame_create() wrote for this tag and length. */
bool frame_verify(const struct rte_mbuf *m, const struct port *src, const struct port *dst,
		  const struct frame_tag *tag);

/* ---- modes: each returns when done, results in l->res ---- */
void speed_run(struct load *l);
void check_run(struct load *l, uint64_t t0);
void ping_run(struct load *l, uint64_t t0);
