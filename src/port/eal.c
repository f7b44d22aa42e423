/* SPDX-License-Identifier: Apache-2.0 */
#include "port/eal.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_bus.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_log.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>

#include "base/log.h"
#include "net/packet.h"

/* Enough for 64 ports with full output queues; one packet takes about 2.4 KiB. */
#define DEFAULT_PACKETS 32767u
#define POOL_CACHE 512
#define OTHER_MB 40 /* DPDK's own tables, device rings */

static struct rte_mempool *pool;
static bool with_hugepages, started;
static char complaint[256];

struct rte_mempool *xv_packet_pool(void)
{
	return pool;
}

bool xv_eal_uses_hugepages(void)
{
	return with_hugepages;
}

const char *xv_eal_last_complaint(void)
{
	static char last[sizeof(complaint)];

	memcpy(last, complaint, sizeof(last));
	complaint[0] = '\0';
	return last;
}

/* DPDK's log lines become ours; the first bad one is kept for error sentences. */
static ssize_t take_log(void *cookie, const char *buf, size_t size)
{
	int level = rte_log_cur_msg_loglevel();
	int len = (int)size;

	(void)cookie;
	while (len > 0 && (buf[len - 1] == '\n' || buf[len - 1] == ' '))
		len--;
	if (len == 0)
		return (ssize_t)size;
	/* The first says why, those after it only that it failed. */
	if (level > 0 && level <= (int)RTE_LOG_WARNING && complaint[0] == '\0')
		snprintf(complaint, sizeof(complaint), "%.*s", len, buf);
	xv_log(XV_LOG_DEBUG, "dpdk", "%.*s", len, buf);
	return (ssize_t)size;
}

static uint64_t free_hugepages_mb(void)
{
	static const struct {
		const char *path;
		unsigned int mb;
	} sizes[] = {
		{"/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", 2},
		{"/sys/kernel/mm/hugepages/hugepages-1048576kB/free_hugepages", 1024},
	};
	uint64_t mb = 0;
	unsigned int i;

	for (i = 0; i < RTE_DIM(sizes); i++) {
		FILE *f = fopen(sizes[i].path, "re");
		unsigned long long pages;

		if (f == NULL)
			continue;
		if (fscanf(f, "%llu", &pages) == 1)
			mb += pages * sizes[i].mb;
		fclose(f);
	}
	return mb;
}

/* "--lcores=0@(0,1)": the control thread is lcore 0 and keeps the CPUs that we were started on. */
static void lcores_argument(char *buf, size_t size)
{
	size_t at = (size_t)snprintf(buf, size, "--lcores=0@(");
	cpu_set_t set;
	bool first = true;
	int cpu;

	CPU_ZERO(&set);
	if (sched_getaffinity(0, sizeof(set), &set) != 0)
		CPU_SET(0, &set);
	for (cpu = 0; cpu < CPU_SETSIZE && at + 8 < size; cpu++)
		if (CPU_ISSET(cpu, &set)) {
			at += (size_t)snprintf(buf + at, size - at, first ? "%d" : ",%d", cpu);
			first = false;
		}
	snprintf(buf + at, size - at, ")");
}

/* EAL prints its options when it dislikes one; ours are not the operator's business. */
static void no_usage(const char *program)
{
	(void)program;
}

static int start(unsigned int memory_mb, struct xv_err *err)
{
	char lcores[CPU_SETSIZE * 5 + 32], memory[16];
	/* The bogus allow list keeps DPDK from taking every device it knows: ports name theirs. */
	const char *arguments[16] = {"xviod", "--no-telemetry", "-a", "ffff:ff:ff.f", "--iova-mode=va",
				     "--log-level=6"};
	char *argv[16];
	int argc = 6, i;

	lcores_argument(lcores, sizeof(lcores));
	arguments[argc++] = lcores;
	snprintf(memory, sizeof(memory), "-m%u", memory_mb);
	arguments[argc++] = memory;
	/* No files, no secondary processes: several daemons can live on one host. */
	if (with_hugepages) {
		arguments[argc++] = "--in-memory";
	} else {
		arguments[argc++] = "--no-huge";
		arguments[argc++] = "--no-shconf";
	}
	for (i = 0; i < argc; i++)
		argv[i] = (char *)(uintptr_t)arguments[i]; /* EAL does not write to them */
	if (rte_eal_init(argc, argv) < 0)
		return xv_err_set(err, -rte_errno, XV_ERR_DEVICE, "DPDK did not start: %s",
				  complaint[0] != '\0' ? complaint : rte_strerror(rte_errno));
	return 0;
}

/*
 * As rte_pktmbuf_pool_create() does, but a packet may cross a 4 KiB page where there are no hugepages
 * (addresses are virtual for devices too), which saves 40 % of the memory. A stack, not a ring: what was
 * freed last is used next, while it is in the cache.
 */
static struct rte_mempool *pool_create(unsigned int packets)
{
	const uint16_t room = RTE_PKTMBUF_HEADROOM + XV_PACKET_DATA_BYTES;
	struct rte_pktmbuf_pool_private priv = {.mbuf_data_room_size = room,
						.mbuf_priv_size = XV_PACKET_PRIV_SIZE};
	struct rte_mempool *mp;

	mp = rte_mempool_create_empty("packets", packets,
				      sizeof(struct rte_mbuf) + XV_PACKET_PRIV_SIZE + room,
				      POOL_CACHE, sizeof(priv), SOCKET_ID_ANY,
				      with_hugepages ? 0 : RTE_MEMPOOL_F_NO_IOVA_CONTIG);
	if (mp == NULL)
		return NULL;
	rte_errno = -rte_mempool_set_ops_byname(mp, "stack", NULL);
	if (rte_errno == 0) {
		rte_pktmbuf_pool_init(mp, &priv);
		if (rte_mempool_populate_default(mp) == (int)packets) {
			rte_mempool_obj_iter(mp, rte_pktmbuf_init, NULL);
			return mp;
		}
		rte_errno = ENOMEM;
	}
	rte_mempool_free(mp);
	return NULL;
}

int xv_eal_init(const struct xv_eal_config *config, struct xv_err *err)
{
	static const cookie_io_functions_t log_functions = {.write = take_log};
	const size_t packet_bytes = RTE_CACHE_LINE_SIZE /* mempool's header */ + sizeof(struct rte_mbuf) +
				    XV_PACKET_PRIV_SIZE + RTE_PKTMBUF_HEADROOM + XV_PACKET_DATA_BYTES;
	unsigned int packets = DEFAULT_PACKETS, memory_mb;
	FILE *log = fopencookie(NULL, "w", log_functions);
	int rc;

	if (log != NULL) {
		setvbuf(log, NULL, _IOLBF, 512);
		(void)rte_openlog_stream(log);
	}
	memory_mb = config->memory_mb;
	if (memory_mb == 0)
		memory_mb = (unsigned int)(packets * packet_bytes >> 20) + 1 + OTHER_MB;
	else
		packets = (unsigned int)(((uint64_t)(memory_mb - OTHER_MB) << 20) / packet_bytes) - 1;
	with_hugepages = config->hugepages && free_hugepages_mb() >= memory_mb;
	(void)rte_set_application_usage_hook(no_usage);
	rc = start(memory_mb, err);
	if (rc != 0)
		return rc;
	started = true;
	rc = xv_packet_init();
	if (rc != 0)
		return xv_err_set(err, rc, XV_ERR_INTERNAL, "packet flag %d is taken in DPDK",
				  XV_PACKET_OFFLOAD_BIT);
	pool = pool_create(packets);
	if (pool == NULL)
		return xv_err_set(err, -rte_errno, XV_ERR_RESOURCE,
				  "no memory for %u packets (%u MiB): %s", packets, memory_mb,
				  rte_strerror(rte_errno));
	xv_log(XV_LOG_INFO, "eal", "%u packet buffers in %u MiB of %s", packets, memory_mb,
	       with_hugepages ? "hugepages" : "ordinary pages");
	return 0;
}

void xv_eal_fini(void)
{
	rte_mempool_free(pool);
	pool = NULL;
	if (started)
		(void)rte_eal_cleanup();
	started = false;
}
