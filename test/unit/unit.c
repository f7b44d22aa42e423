/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <ctype.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_mbuf.h>

#include "net/packet.h"

static unsigned int nibble(char c)
{
	return isdigit((unsigned char)c) ? (unsigned int)(c - '0')
					 : (unsigned int)(tolower((unsigned char)c) - 'a') + 10;
}

unsigned int unit_hex(const char *hex, uint8_t *bytes, unsigned int max)
{
	unsigned int n = 0;

	for (; *hex; hex++) {
		if (isspace((unsigned char)*hex))
			continue;
		assert_true(isxdigit((unsigned char)hex[0]) && isxdigit((unsigned char)hex[1]));
		assert_true(n < max);
		bytes[n++] = (uint8_t)(nibble(hex[0]) << 4 | nibble(hex[1]));
		hex++;
	}
	return n;
}

uint32_t unit_random(uint64_t *state, uint32_t n)
{
	uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	z ^= z >> 31;
	return (uint32_t)(z >> 32) % n;
}

/* EAL wants to write to its arguments: file scope makes the literals static and writable. */
static char lcores[32];
static char *eal_argv[] = {
	(char[]){"unit"},
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

int unit_eal_init(void **state)
{
	static int done;

	(void)state;
	if (done)
		return 0;
	snprintf(lcores, sizeof(lcores), "--lcores=0@%d", sched_getcpu());
	if (rte_eal_init((int)RTE_DIM(eal_argv) - 1, eal_argv) < 0) {
		fprintf(stderr, "EAL: %s\n", rte_strerror(rte_errno));
		return -1;
	}
	done = 1;
	return xv_packet_init();
}

struct rte_mempool *unit_pool_create(const char *name, unsigned int n)
{
	struct rte_mempool *pool =
		rte_pktmbuf_pool_create(name, n, 0, XV_PACKET_PRIV_SIZE,
					RTE_PKTMBUF_HEADROOM + XV_PACKET_DATA_BYTES, SOCKET_ID_ANY);

	assert_non_null(pool);
	return pool;
}

struct rte_mbuf *unit_packet(struct rte_mempool *pool, const uint8_t *bytes, uint32_t len,
			     const uint16_t *cuts)
{
	struct rte_mbuf *head = NULL, *m;
	uint32_t offset = 0, n;

	do {
		m = rte_pktmbuf_alloc(pool);
		assert_non_null(m);
		n = RTE_MIN(len - offset, (uint32_t)XV_PACKET_DATA_BYTES);
		while (cuts && *cuts && *cuts <= offset)
			cuts++;
		if (cuts && *cuts)
			n = RTE_MIN(n, *cuts - offset);
		memcpy(rte_pktmbuf_append(m, (uint16_t)n), bytes + offset, n);
		offset += n;
		if (!head)
			head = m;
		else
			assert_int_equal(rte_pktmbuf_chain(head, m), 0);
	} while (offset < len);
	return head;
}
