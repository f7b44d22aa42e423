/* SPDX-License-Identifier: Apache-2.0 */
#include "table/maglev.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct turn {
	uint64_t name;
	uint32_t weight;
	uint32_t next, skip; /* its permutation of places: next, next + skip, ... */
	uint64_t credit;     /* weights of rounds that it has not used */
	uint16_t index;
};

static uint64_t mix(uint64_t z)
{
	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

uint64_t xv_maglev_name(const void *bytes, unsigned int n)
{
	const uint8_t *b = bytes;
	uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a, mixed at the end */

	while (n-- > 0)
		hash = (hash ^ *b++) * UINT64_C(0x100000001b3);
	return mix(hash);
}

static int by_name(const void *a, const void *b)
{
	const struct turn *x = a, *y = b;

	return x->name < y->name ? -1 : x->name > y->name;
}

/* Its next place that is free. */
static void take(uint16_t *table, struct turn *t)
{
	while (table[t->next] != XV_MAGLEV_NONE)
		t->next = (t->next + t->skip) % XV_MAGLEV_SIZE;
	table[t->next] = t->index;
}

void xv_maglev_fill(uint16_t table[XV_MAGLEV_SIZE], const struct xv_maglev_backend *backends,
		    unsigned int n)
{
	struct turn turns[XV_MAGLEV_BACKENDS];
	unsigned int i, m = 0, filled = 0;
	uint32_t heaviest = 0;

	memset(table, 0xff, XV_MAGLEV_SIZE * sizeof(table[0]));
	for (i = 0; i < n; i++) {
		if (backends[i].weight == 0)
			continue;
		turns[m++] = (struct turn){
			.name = backends[i].name,
			.weight = backends[i].weight,
			.next = (uint32_t)(mix(backends[i].name + 1) % XV_MAGLEV_SIZE),
			.skip = (uint32_t)(mix(backends[i].name + 2) % (XV_MAGLEV_SIZE - 1)) + 1,
			.index = (uint16_t)i,
		};
		if (backends[i].weight > heaviest)
			heaviest = backends[i].weight;
	}
	qsort(turns, m, sizeof(turns[0]), by_name);
	/* In each round the heaviest takes a place, others as often as their weight is to its. */
	while (m > 0) {
		for (i = 0; i < m; i++) {
			turns[i].credit += turns[i].weight;
			if (turns[i].credit < heaviest)
				continue;
			turns[i].credit -= heaviest;
			take(table, &turns[i]);
			if (++filled == XV_MAGLEV_SIZE)
				return;
		}
	}
}
