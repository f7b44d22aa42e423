/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz.h"

#include <sched.h>
#include <string.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_mbuf.h>

#include "net/packet.h"

static void must(int ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "%s: %s\n", what, rte_strerror(rte_errno));
	exit(1);
}

/* EAL wants to write to its arguments: file scope makes the literals static and writable. */
static char lcores[32];
static char *eal_argv[] = {
	(char[]){"fuzz"},
	(char[]){"--no-huge"},
	(char[]){"--no-pci"},
	(char[]){"--no-shconf"},
	(char[]){"-m"},
	(char[]){"64"},
	(char[]){"--no-telemetry"},
	(char[]){"--log-level=error"},
	lcores,
	NULL,
};

void fuzz_eal_init(void)
{
	cpu_set_t cpus;

	/* EAL ties us to a CPU, which other targets may be on while the next one idles. */
	must(sched_getaffinity(0, sizeof(cpus), &cpus) == 0, "affinity");
	snprintf(lcores, sizeof(lcores), "--lcores=0@%d", sched_getcpu());
	must(rte_eal_init((int)RTE_DIM(eal_argv) - 1, eal_argv) >= 0, "EAL");
	must(sched_setaffinity(0, sizeof(cpus), &cpus) == 0, "affinity");
	must(xv_packet_init() == 0, "xv_packet_init");
}

struct rte_mempool *fuzz_pool_create(const char *name, unsigned int n)
{
	struct rte_mempool *pool =
		rte_pktmbuf_pool_create(name, n, 0, XV_PACKET_PRIV_SIZE,
					RTE_PKTMBUF_HEADROOM + XV_PACKET_DATA_BYTES, SOCKET_ID_ANY);

	must(pool != NULL, "pool");
	return pool;
}

struct external {
	struct rte_mbuf_ext_shared_info info;
	uint8_t *bytes;
};

static void external_free(void *bytes, void *opaque)
{
	free(bytes);
	free(opaque);
}

struct rte_mbuf *fuzz_mbuf_exact(struct rte_mempool *pool, const uint8_t *bytes, uint16_t len, uint16_t headroom,
				 uint16_t room)
{
	struct external *e = malloc(sizeof(*e));
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);

	must(e != NULL && m != NULL, "mbuf");
	e->bytes = malloc((size_t)headroom + len + room);
	must(e->bytes != NULL, "memory");
	memcpy(e->bytes + headroom, bytes, len);
	e->info = (struct rte_mbuf_ext_shared_info){.free_cb = external_free, .fcb_opaque = e};
	rte_mbuf_ext_refcnt_set(&e->info, 1);
	rte_pktmbuf_attach_extbuf(m, e->bytes, (rte_iova_t)(uintptr_t)e->bytes, (uint16_t)(headroom + len + room),
				  &e->info);
	m->data_off = headroom;
	m->data_len = len;
	m->pkt_len = len;
	return m;
}
