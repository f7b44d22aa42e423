/* SPDX-License-Identifier: Apache-2.0 */
/* xvio-load: options, ports, processes, the JSON at the end. */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_errno.h>

#include "load.h"

#define MAX_PROCS (MAX_PORTS / RTE_MAX_ETHPORTS)

volatile bool load_stop;

/* DPDK as packaged has RTE_MAX_ETHPORTS (32) ports in a process. Beyond that we are several
 * processes that take turns on the one core, pass by pass. */
struct shared {
	uint32_t turn;   /* process that runs; futex */
	uint32_t active; /* processes that take turns, a bit each */
	uint32_t nprocs;
	uint32_t ready; /* processes */
	uint64_t tsc_hz;
	struct result res[MAX_PROCS];
};

static struct shared *shared;
static uint32_t proc;
static bool taking_turns;

static void on_signal(int sig)
{
	load_stop = true;
}

static void die(const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "xvio-load: ");
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(2);
}

static void turn_wait(void)
{
	uint32_t turn;

	while ((turn = __atomic_load_n(&shared->turn, __ATOMIC_ACQUIRE)) != proc)
		syscall(SYS_futex, &shared->turn, FUTEX_WAIT, turn, NULL, NULL, 0);
}

/* To the next process that is still there, which may be ourselves. */
static void turn_pass(void)
{
	uint32_t active = __atomic_load_n(&shared->active, __ATOMIC_ACQUIRE), next = proc;

	do
		next = (next + 1) % shared->nprocs;
	while (!(active & 1 << next) && next != proc);
	if (next == proc)
		return;
	__atomic_store_n(&shared->turn, next, __ATOMIC_RELEASE);
	syscall(SYS_futex, &shared->turn, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

bool load_turn(void)
{
	if (likely(!taking_turns))
		return false;
	turn_pass();
	turn_wait();
	return true;
}

static void turn_leave(void)
{
	if (!taking_turns)
		return;
	taking_turns = false;
	__atomic_and_fetch(&shared->active, ~(1 << proc), __ATOMIC_ACQ_REL);
	turn_pass();
}

void load_ready(struct load *l, uint64_t t0)
{
	if (__atomic_add_fetch(&shared->ready, 1, __ATOMIC_ACQ_REL) == shared->nprocs)
		fprintf(stderr, "xvio-load: ready after %.1f ms\n",
			(rte_rdtsc() - t0) * 1e3 / rte_get_tsc_hz());
	/* From here on the processes run in step, and measure the same seconds. */
	if (shared->nprocs > 1) {
		while (__atomic_load_n(&shared->ready, __ATOMIC_ACQUIRE) < shared->nprocs &&
		       !load_stop)
			usleep(100);
		taking_turns = true;
		turn_wait();
	}
}

static void port_parse(struct load *l, char *spec)
{
	struct port *p = &l->ports[l->nports];
	char *save, *key, *value;

	if (l->nports == MAX_PORTS)
		die("more than %u ports", MAX_PORTS);
	p->index = l->nports++;
	p->queues = 1;
	p->queue_size = 1024;
	p->mac = (struct rte_ether_addr){{0x02, 0x58, 0x56, 0, 0, p->index + 1}};
	for (key = strtok_r(spec, ",", &save); key != NULL; key = strtok_r(NULL, ",", &save)) {
		long n;

		value = strchr(key, '=');
		if (value == NULL)
			die("port: %s: no value", key);
		*value++ = '\0';
		n = strtol(value, NULL, 10);
		if (strcmp(key, "socket") == 0 && strlen(value) < sizeof(p->socket))
			strcpy(p->socket, value);
		else if (strcmp(key, "server") == 0)
			p->server = n;
		else if (strcmp(key, "packed") == 0)
			p->packed = n;
		else if (strcmp(key, "mrg") == 0)
			p->mergeable = n;
		else if (strcmp(key, "in-order") == 0)
			p->in_order = n;
		else if (strcmp(key, "vectorized") == 0)
			p->vectorized = n;
		else if (strcmp(key, "vxlan") == 0 && n >= 0 && n < 1 << 24) {
			p->vxlan = true;
			p->vni = n;
		} else if (strcmp(key, "queues") == 0 && n >= 1 && n <= MAX_QUEUES)
			p->queues = n;
		else if (strcmp(key, "queue-size") == 0 && n >= 64 && rte_is_power_of_2(n))
			p->queue_size = n;
		else
			die("port: %s=%s: unknown, or out of range", key, value);
	}
	if (p->socket[0] == '\0')
		die("port: no socket");
}

static void range_parse(const char *what, const char *s, uint16_t *min, uint16_t *max, long lo,
			long hi)
{
	char *end;
	long a = strtol(s, &end, 10), b = *end == '-' ? strtol(end + 1, &end, 10) : a;

	if (*end != '\0' || a < lo || b > hi || a > b)
		die("%s: N or N-M, from %ld to %ld", what, lo, hi);
	*min = a;
	*max = b;
}

static void usage(void)
{
	printf("usage: xvio-load --port socket=PATH[,server=1][,packed=1][,mrg=1][,in-order=1]\n"
	       "                        [,vectorized=1][,queues=N][,queue-size=N][,vxlan=VNI] "
	       "--port ... [OPTION]...\n"
	       "Ports 0 and 1 exchange frames, 2 and 3, ... A port with vxlan is another host, "
	       "192.0.2.2, and\n"
	       "sends and gets them in tunnel packets to and from the system's 192.0.2.1.\n"
	       "  --mode speed|check|ping|connect|flood  fastest, or every byte checked, or single frames,\n"
	       "                            or a new connection with each frame that is answered,\n"
	       "                            or SYNs from port 0, each from another end, while\n"
	       "                            ports 2 and 3, if any, talk TCP in peace and flood\n"
	       "  --cpus LIST               CPU(s) to run on (1)\n"
	       "  --hugepages               use 2 MB pages\n"
	       "  --burst N                 frames per call of the driver (32)\n"
	       "  --size N[-M]              frame bytes without FCS, random from N to M (64)\n"
	       "  --segments N[-M]          check: buffers per frame, random (1)\n"
	       "  --buffer N                data bytes per buffer (a frame fits)\n"
	       "  --tso N                   speed: frames are TCP, to be cut into segments of N bytes\n"
	       "  --flows N                 in all (one per queue that sends)\n"
	       "  --frames N                check: per queue that sends; ping: in all\n"
	       "  --seconds S               check, speed, flood: how long (3)\n"
	       "  --warmup S                speed: before measuring (0.4)\n"
	       "  --window N                frames under way per queue that sends (speed: 3/4 "
	       "ring;\n"
	       "                            check: no limit)\n"
	       "  --timeout S               without progress, what is missing is lost (5)\n"
	       "  --lossy                   check: loss and duplicates are no failure\n"
	       "  --gap MS                  check: report pauses longer than this (2)\n"
	       "  --interval MS             ping: pause before a frame (20)\n"
	       "  --settle S                ping: pause before the first (0)\n"
	       "  --from N                  speed: only port N sends (all)\n"
	       "  --replies                 speed: ports 1, 3, ... answer the flows of 0, 2, ...; with\n"
	       "                            --from, just once\n"
	       "  --rate N                  speed: frames per second and queue that sends;\n"
	       "                            flood: segments per second of the victims\n");
	exit(0);
}

static void options_parse(struct load *l, int argc, char **argv)
{
	static const struct option options[] = {
		{"port", 1, NULL, 'p'},      {"mode", 1, NULL, 'm'},   {"cpus", 1, NULL, 'c'},
		{"hugepages", 0, NULL, 'H'}, {"burst", 1, NULL, 'b'},  {"size", 1, NULL, 's'},
		{"segments", 1, NULL, 'g'},  {"buffer", 1, NULL, 'B'}, {"frames", 1, NULL, 'n'},
		{"seconds", 1, NULL, 'd'},   {"warmup", 1, NULL, 'w'}, {"window", 1, NULL, 'W'},
		{"timeout", 1, NULL, 't'},   {"lossy", 0, NULL, 'l'},  {"gap", 1, NULL, 'G'},
		{"interval", 1, NULL, 'i'},  {"settle", 1, NULL, 'S'}, {"flows", 1, NULL, 'f'},
		{"from", 1, NULL, 'F'},      {"rate", 1, NULL, 'r'},   {"replies", 0, NULL, 'R'},
		{"tso", 1, NULL, 'T'},       {"help", 0, NULL, 'h'},
		{NULL, 0, NULL, 0}};
	uint16_t unused;
	long tso;
	int c;

	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (c) {
		case 'p':
			port_parse(l, optarg);
			break;
		case 'm':
			if (strcmp(optarg, "speed") == 0)
				l->mode = MODE_SPEED;
			else if (strcmp(optarg, "check") == 0)
				l->mode = MODE_CHECK;
			else if (strcmp(optarg, "ping") == 0)
				l->mode = MODE_PING;
			else if (strcmp(optarg, "connect") == 0)
				l->mode = MODE_CONNECT;
			else if (strcmp(optarg, "flood") == 0)
				l->mode = MODE_FLOOD;
			else
				die("--mode: speed, check, ping, connect or flood");
			break;
		case 'c':
			l->cpus = optarg;
			break;
		case 'H':
			l->hugepages = true;
			break;
		case 'b':
			range_parse("--burst", optarg, &l->burst, &unused, 1, MAX_BURST);
			break;
		case 's':
			range_parse("--size", optarg, &l->size_min, &l->size_max, FRAME_MIN,
				    FRAME_TSO_MAX);
			break;
		case 'g':
			range_parse("--segments", optarg, &l->segs_min, &l->segs_max, 1, FRAME_MIN);
			break;
		case 'B':
			l->buffer = strtoul(optarg, NULL, 10);
			break;
		case 'f':
			l->flows = strtoul(optarg, NULL, 10);
			if (l->flows < 1 || l->flows > FLOWS_MAX)
				die("--flows: from 1 to %u", FLOWS_MAX);
			break;
		case 'n':
			l->frames = strtoull(optarg, NULL, 10);
			break;
		case 'd':
			l->seconds = strtod(optarg, NULL);
			break;
		case 'w':
			l->warmup_s = strtod(optarg, NULL);
			break;
		case 'W':
			l->window = strtoul(optarg, NULL, 10);
			break;
		case 't':
			l->timeout_s = strtod(optarg, NULL);
			break;
		case 'l':
			l->lossy = true;
			break;
		case 'G':
			l->gap_ms = strtod(optarg, NULL);
			break;
		case 'i':
			l->interval_ms = strtod(optarg, NULL);
			break;
		case 'S':
			l->settle_s = strtod(optarg, NULL);
			break;
		case 'r':
			l->rate = strtod(optarg, NULL);
			break;
		case 'F':
			l->from = strtol(optarg, NULL, 10);
			break;
		case 'R':
			l->replies = true;
			break;
		case 'T':
			tso = strtol(optarg, NULL, 10);
			if (tso < 500 || tso > 9000)
				die("--tso: from 500 to 9000");
			l->tso = tso;
			break;
		case 'h':
			usage();
			break;
		default:
			exit(2);
		}
	}
	if (optind < argc)
		die("what is %s?", argv[optind]);
	if (l->nports == 0 || l->nports % 2 != 0)
		die("ports come in pairs");
	if (l->rate < 0 || (l->rate > 0 && (l->from >= 0 || (l->mode != MODE_SPEED && l->mode != MODE_FLOOD))))
		die("--rate: positive, in mode speed, when all ports send, or of the victims of a flood");
	if (l->mode == MODE_FLOOD && l->nports > 4)
		die("flood: two ports, or four");
	if (l->from >= (int)l->nports || (l->from >= 0 && l->mode != MODE_SPEED))
		die("--from: a port, in mode speed");
	if (l->size_max > FRAME_MAX && l->tso == 0)
		die("--size: more than %u only with --tso", FRAME_MAX);
	if (l->tso > 0 && (l->mode != MODE_SPEED || l->size_min < sizeof(struct frame_tso_hdr)))
		die("--tso: in mode speed, frames of %zu bytes at least", sizeof(struct frame_tso_hdr));
	if (l->replies && (l->flows == 0 || l->mode != MODE_SPEED))
		die("--replies: in mode speed, with --flows");
	for (unsigned int i = 0; i < l->nports; i++) {
		l->ports[i].answers = l->replies && i % 2 != 0;
		l->ports[i].listens = l->from >= 0 && l->from != (int)i;
		if (l->ports[i].vxlan &&
		    (l->mode != MODE_SPEED || l->flows == 0 || l->ports[i].queues > 1))
			die("vxlan: needs mode speed, --flows and one queue");
	}
}

/* The same number for each queue, and at least one. One that is answered is counted once. */
static void flows_spread(struct load *l)
{
	uint32_t queues = 0;

	for (unsigned int i = 0; i < l->nports; i++)
		queues += (l->replies ? i % 2 != 0 : l->ports[i].listens) ? 0 : l->ports[i].queues;
	for (unsigned int i = 0; i < l->nports; i++)
		l->ports[i].flows = RTE_MAX(l->flows / queues, 1U);
}

/* Buffers of one port: both rings full (one entry of the sending one may be a whole chain, by an
 * indirect table), bursts in hand, and the pool's cache. */
static uint32_t port_buffers(const struct load *l, const struct port *p)
{
	uint32_t segs = RTE_MAX((uint32_t)l->segs_max, (l->size_max + l->buffer - 1) / l->buffer);

	return p->queues * (p->queue_size * (1 + segs) + MAX_BURST * 2 * segs) + 2 * 512;
}

static void eal_start(const struct load *l, char *name)
{
	uint64_t bytes = 0, page = sysconf(_SC_PAGESIZE), object = l->buffer + 512;
	char cores[32], mem[16];
	static char *argv[16]; /* EAL keeps pointers into it */
	int argc = 0;

	/* a pool does not let objects straddle small pages */
	if (!l->hugepages && object < page)
		object = page / (page / object);
	for (unsigned int i = 0; i < l->nports; i++)
		bytes += port_buffers(l, &l->ports[i]) * object +
			 l->ports[i].queues * l->ports[i].queue_size * 512ULL;
	snprintf(cores, sizeof(cores), "0@(%s)", l->cpus);
	snprintf(mem, sizeof(mem), "%u", (unsigned int)(bytes * 9 / 8 >> 20) + 32);
	argv[argc++] = name;
	argv[argc++] = strdup("--lcores");
	argv[argc++] = cores;
	argv[argc++] = strdup("--no-pci");
	argv[argc++] = strdup("--no-telemetry");
	/* the vectorized driver for packed rings needs to be asked twice */
	argv[argc++] = strdup("--force-max-simd-bitwidth=512");
	argv[argc++] = strdup("--log-level=error");
	/* a back end that went away is part of the test, not an error */
	argv[argc++] = strdup("--log-level=pmd.net.virtio.*:critical");
	/* The driver shares at most 8 regions of memory. Without hugepages EAL makes one memfd;
	 * with them it needs to be told, and --in-memory makes memfds so that no mount is needed.
	 */
	if (l->hugepages) {
		argv[argc++] = strdup("--in-memory");
		argv[argc++] = strdup("--single-file-segments");
	} else {
		argv[argc++] = strdup("--no-huge");
		argv[argc++] = strdup("--no-shconf");
	}
	/* Last: EAL writes its name over this one, and a copy would be lost. */
	argv[argc++] = strdup("-m");
	argv[argc++] = mem;
	if (rte_eal_init(argc, argv) < 0)
		die("EAL: %s", rte_strerror(rte_errno));
}

static void port_start(const struct load *l, struct port *p)
{
	struct rte_eth_conf conf = {
		.rxmode.mtu = l->tso > 0 ? 1500 : RTE_MAX(l->size_max - RTE_ETHER_HDR_LEN, 1500),
		/* a frame may be larger than a buffer */
		.rxmode.offloads = p->mergeable ? RTE_ETH_RX_OFFLOAD_SCATTER : 0,
		/* the driver sees a back end go and come back by this interrupt */
		.intr_conf.lsc = p->server,
	};
	/* The vectorized driver refills that many receive buffers per call, and no more: as many as
	 * a call takes out. */
	struct rte_eth_rxconf rxconf = {.rx_free_thresh = RTE_MAX(RTE_ALIGN(l->burst, 4), 32)};
	char name[32], args[256];
	uint64_t t0;
	int rc;

	if (l->tso > 0) {
		conf.rxmode.offloads |= RTE_ETH_RX_OFFLOAD_TCP_LRO | RTE_ETH_RX_OFFLOAD_TCP_CKSUM;
		conf.txmode.offloads = RTE_ETH_TX_OFFLOAD_TCP_TSO | RTE_ETH_TX_OFFLOAD_TCP_CKSUM |
				       RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
	}
	snprintf(name, sizeof(name), "net_virtio_user%u", p->index);
	snprintf(args, sizeof(args),
		 "path=%s,server=%d,packed_vq=%d,mrg_rxbuf=%d,in_order=%d,vectorized=%d,queues=%u,"
		 "cq=%d,queue_size=%u,mac=" RTE_ETHER_ADDR_PRT_FMT,
		 p->socket, p->server, p->packed, p->mergeable, p->in_order, p->vectorized,
		 p->queues, p->queues > 1, p->queue_size, RTE_ETHER_ADDR_BYTES(&p->mac));
	t0 = rte_rdtsc();
	rc = rte_eal_hotplug_add("vdev", name, args);
	if (rc < 0)
		die("port %s: %s", p->socket, rte_strerror(-rc));
	l->res->attach_ms = RTE_MAX(l->res->attach_ms, (rte_rdtsc() - t0) * 1e3 / rte_get_tsc_hz());
	if (rte_eth_dev_get_port_by_name(name, &p->id) < 0)
		die("port %s: no device", p->socket);

	snprintf(name, sizeof(name), "pool%u", p->index);
	p->pool = rte_pktmbuf_pool_create(name, port_buffers(l, p), 512, 0,
					  l->buffer + RTE_PKTMBUF_HEADROOM, SOCKET_ID_ANY);
	if (p->pool == NULL)
		die("port %s: buffers: %s", p->socket, rte_strerror(rte_errno));
	if ((rc = rte_eth_dev_configure(p->id, p->queues, p->queues, &conf)) < 0)
		die("port %s: configure: %s", p->socket, rte_strerror(-rc));
	for (uint16_t q = 0; q < p->queues; q++) {
		rc = rte_eth_rx_queue_setup(p->id, q, p->queue_size, SOCKET_ID_ANY, &rxconf,
					    p->pool);
		if (rc == 0)
			rc = rte_eth_tx_queue_setup(p->id, q, p->queue_size, SOCKET_ID_ANY, NULL);
		if (rc < 0)
			die("port %s: queue %u: %s", p->socket, q, rte_strerror(-rc));
	}
	if ((rc = rte_eth_dev_start(p->id)) < 0)
		die("port %s: start: %s", p->socket, rte_strerror(-rc));
}

/* Ports [from, to) in this process. */
static bool run(const struct load *all, unsigned int from, unsigned int to, char *name)
{
	static struct load l;
	uint64_t t0;

	l = *all;
	l.nports = to - from;
	memmove(l.ports, all->ports + from, l.nports * sizeof(l.ports[0]));
	l.res = &shared->res[proc];
	eal_start(&l, name);
	signal(SIGINT, on_signal);
	signal(SIGTERM, on_signal);
	signal(SIGPIPE, SIG_IGN); /* the driver writes to back ends that are gone */
	shared->tsc_hz = rte_get_tsc_hz();
	frame_init(l.tso);
	for (unsigned int i = 0; i < l.nports; i++)
		port_start(&l, &l.ports[i]);
	for (unsigned int i = 0; i < l.nports; i++)
		if (l.ports[i].vxlan)
			vxlan_meet(&l.ports[i], l.timeout_s);
	t0 = rte_rdtsc();
	switch (l.mode) {
	case MODE_SPEED:
		speed_run(&l);
		break;
	case MODE_CHECK:
		check_run(&l, t0);
		break;
	case MODE_PING:
		ping_run(&l, t0);
		break;
	case MODE_CONNECT:
		connect_run(&l, t0);
		break;
	case MODE_FLOOD:
		flood_run(&l);
		break;
	}
	turn_leave();
	for (unsigned int i = 0; i < l.nports; i++) {
		rte_eth_dev_stop(l.ports[i].id);
		rte_eth_dev_close(l.ports[i].id);
	}
	rte_eal_cleanup();
	return l.res->ok;
}

static void result_add(struct result *sum, const struct result *r)
{
	sum->ok &= r->ok;
	sum->sent += r->sent;
	sum->received += r->received;
	sum->lost += r->lost;
	sum->reordered += r->reordered;
	sum->duplicate += r->duplicate;
	sum->corrupt += r->corrupt;
	sum->bytes += r->bytes;
	sum->busy_cycles += r->busy_cycles;
	sum->seconds = RTE_MAX(sum->seconds, r->seconds);
	sum->attach_ms = RTE_MAX(sum->attach_ms, r->attach_ms);
	sum->first_ms = RTE_MAX(sum->first_ms, r->first_ms);
}

static void result_print(const struct load *l)
{
	static const char *const modes[] = {"speed", "check", "ping", "connect", "flood"};
	struct result *r = &shared->res[0];
	uint64_t flows = 0;

	for (unsigned int i = 0; i < l->nports; i++)
		flows += l->ports[i].queues * l->ports[i].flows;
	for (uint32_t i = 1; i < shared->nprocs; i++)
		result_add(r, &shared->res[i]);
	printf("{\"mode\": \"%s\", \"ok\": %s, \"ports\": %u, \"flows\": %lu, \"sent\": %lu, "
	       "\"received\": %lu, \"lost\": %lu, \"reordered\": %lu, \"duplicate\": %lu, "
	       "\"corrupt\": %lu, \"bytes\": %lu, \"seconds\": %.6f, \"mpps\": %.4f, "
	       "\"cycles_per_frame\": %.1f, "
	       "\"tsc_hz\": %lu, \"attach_ms\": %.3f, \"first_ms\": %.3f",
	       modes[l->mode], r->ok ? "true" : "false", l->nports, flows, r->sent, r->received,
	       r->sent - r->received, r->reordered, r->duplicate, r->corrupt, r->bytes, r->seconds,
	       r->seconds > 0 ? r->received / r->seconds / 1e6 : 0,
	       r->received > 0 ? (double)r->busy_cycles / r->received : 0, shared->tsc_hz,
	       r->attach_ms, r->first_ms);
	if (l->mode == MODE_PING)
		printf(", \"ping_us\": {\"p50\": %.2f, \"p99\": %.2f, \"max\": %.2f}",
		       r->ping_us[0], r->ping_us[1], r->ping_us[2]);
	if (l->mode == MODE_FLOOD && r->rounds > 0) {
		printf(", \"opened\": %u, \"not_opened\": %u, \"open_worst_ms\": %.3f, \"resent\": %lu, \"rounds\": [",
		       r->opened, r->not_opened, r->open_worst_ms, r->resent);
		for (uint32_t i = 0; i < r->rounds; i++)
			printf("%s{\"peace\": %.0f, \"flood\": %.0f, \"syns\": %.0f}", i > 0 ? ", " : "", r->round[i].peace,
			       r->round[i].flood, r->round[i].syns);
		printf("]");
	}
	if (l->mode == MODE_CHECK) {
		printf(", \"gaps\": [");
		for (uint32_t i = 0; i < RTE_MIN(r->gap_count, (uint32_t)MAX_GAPS); i++)
			printf("%s{\"port\": %u, \"from_s\": %.6f, \"to_s\": %.6f}",
			       i > 0 ? ", " : "", r->gaps[i].src_port, r->gaps[i].from_s,
			       r->gaps[i].to_s);
		printf("]");
	}
	printf("}\n");
}

int main(int argc, char **argv)
{
	static struct load l = {.cpus = "1",
				.burst = 32,
				.size_min = 64,
				.size_max = 64,
				.segs_min = 1,
				.segs_max = 1,
				.seconds = 3,
				.warmup_s = 0.4,
				.timeout_s = 5,
				.gap_ms = 2,
				.interval_ms = 20,
				.from = -1};
	unsigned int per_proc;
	bool ok = true;

	options_parse(&l, argc, argv);
	flows_spread(&l);
	if (l.buffer == 0)
		l.buffer = RTE_ALIGN(RTE_MAX(l.size_max + 64, 2048), 64);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	if (shared == MAP_FAILED)
		die("memory: %s", strerror(errno));
	shared->nprocs = (l.nports + RTE_MAX_ETHPORTS - 1) / RTE_MAX_ETHPORTS;
	shared->active = (1 << shared->nprocs) - 1;
	if (shared->nprocs == 1) {
		ok = run(&l, 0, l.nports, argv[0]);
	} else {
		pid_t pids[MAX_PROCS];

		signal(SIGINT, SIG_IGN); /* a terminal's ^C reaches the children */
		per_proc = RTE_ALIGN((l.nports + shared->nprocs - 1) / shared->nprocs, 2);
		for (proc = 0; proc < shared->nprocs; proc++) {
			pids[proc] = fork();
			if (pids[proc] < 0)
				die("fork: %s", strerror(errno));
			if (pids[proc] == 0) {
				prctl(PR_SET_PDEATHSIG, SIGKILL);
				return !run(&l, proc * per_proc,
					    RTE_MIN((proc + 1) * per_proc, l.nports), argv[0]);
			}
		}
		for (uint32_t i = 0; i < shared->nprocs; i++) {
			int status = -1;

			wait(&status);
			ok &= status == 0;
			/* The others would wait for the turn of one that could not start. */
			if (!WIFEXITED(status) || WEXITSTATUS(status) > 1)
				for (uint32_t k = 0; k < shared->nprocs; k++)
					kill(pids[k], SIGKILL);
		}
	}
	result_print(&l);
	return ok ? 0 : 1;
}
