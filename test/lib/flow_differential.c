/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random worlds for the flow engine, as many as wanted (test/unit/flow_world.h).
 *
 *   flow_differential [--packets N] [--seed S] [--workers 1|2] [--entries N] [--fusing 0|1] [--avx512 0|1] [--world N]
 *
 * --world: packets of one world; what is not given takes turns. A world that fails says how to see it again.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <rte_cpuflags.h>

#include "../unit/flow_world.h"

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"packets", required_argument, NULL, 'p'}, {"seed", required_argument, NULL, 's'},
		{"workers", required_argument, NULL, 'w'}, {"entries", required_argument, NULL, 'e'},
		{"fusing", required_argument, NULL, 'f'},  {"avx512", required_argument, NULL, 'a'},
		{"world", required_argument, NULL, 'n'},   {NULL, 0, NULL, 0},
	};
	long long packets = 1000000, seed = 1, workers = 0, entries = 0, fusing = -1, avx512 = -1, per_world = 20000;
	struct flow_world_stats stats = {0};
	struct timespec start, end;
	unsigned int worlds;
	bool vectors = false;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		long long v = optarg != NULL ? atoll(optarg) : 0;

		switch (c) {
		case 'p':
			packets = v;
			break;
		case 's':
			seed = v;
			break;
		case 'w':
			workers = v;
			break;
		case 'e':
			entries = v;
			break;
		case 'f':
			fusing = v;
			break;
		case 'a':
			avx512 = v;
			break;
		case 'n':
			per_world = v;
			break;
		default:
			return 2;
		}
	}
#if defined(__x86_64__)
	vectors = rte_cpu_get_flag_enabled(RTE_CPUFLAG_AVX512BW) == 1;
#endif
	if (flow_world_init() != 0) {
		fprintf(stderr, "EAL does not start\n");
		return 2;
	}
	if (per_world > packets)
		per_world = packets;
	clock_gettime(CLOCK_MONOTONIC, &start);
	for (worlds = 0; stats.packets < (uint64_t)packets; worlds++) {
		static const unsigned int sizes[] = {4096, 64, 256, 1 << 16};
		struct flow_world_config config = {
			.seed = (uint64_t)seed + worlds,
			.packets = (uint32_t)per_world,
			.workers = workers != 0 ? (unsigned int)workers : 1 + worlds / 2 % 2,
			.entries = entries != 0 ? (unsigned int)entries : sizes[worlds % 4],
			.fusing = fusing >= 0 ? fusing != 0 : worlds % 5 != 0,
			.avx512 = vectors && (avx512 >= 0 ? avx512 != 0 : worlds % 3 != 0),
		};

		if (!flow_world_run(&config, &stats))
			return 1;
	}
	clock_gettime(CLOCK_MONOTONIC, &end);
	printf("%u worlds, %llu packets: %llu hits, %llu entries made, %llu thrown out, %llu sent, %llu dropped, "
	       "%llu flows, %llu changes, %llu inside bursts, %llu programs refused; %.1f s\n",
	       worlds, (unsigned long long)stats.packets, (unsigned long long)stats.hits,
	       (unsigned long long)stats.inserted, (unsigned long long)stats.evicted,
	       (unsigned long long)stats.outputs, (unsigned long long)stats.drops, (unsigned long long)stats.flows,
	       (unsigned long long)stats.changes, (unsigned long long)stats.inside, (unsigned long long)stats.refused,
	       (double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec) / 1e9);
	return 0;
}
