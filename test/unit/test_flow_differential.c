/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The flow engine against the reference interpreter, in random worlds (flow_world.h): fused flows on and off, both look-ups, a
 * cache that is ever too small, one worker and two. flow_differential runs the same for longer.
 */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>

#include <rte_cpuflags.h>

#include "flow_world.h"

#define PACKETS 10000 /* of one world */
#define SEEDS	12

static int setup(void **state)
{
	(void)state;
	return flow_world_init();
}

static void worlds(const struct flow_world_config *how, struct flow_world_stats *stats)
{
	uint64_t seed;

	*stats = (struct flow_world_stats){0};
	for (seed = 1; seed <= SEEDS; seed++) {
		struct flow_world_config config = *how;

		config.seed = seed;
		config.packets = PACKETS;
		assert_true(flow_world_run(&config, stats));
	}
	assert_true(stats->packets >= PACKETS * SEEDS);
	assert_true(stats->outputs > stats->packets / 4);
	assert_int_equal(stats->refused, 0); /* else what is refused would not be tested */
	assert_true(stats->connections > 1000);
	assert_true(stats->inside > 1000);
	print_message("%llu packets, %llu hits (%llu of %llu tracked, %llu first ones), %llu evicted, %llu flows, %llu changes\n",
		      (unsigned long long)stats->packets, (unsigned long long)stats->hits,
		      (unsigned long long)stats->tracked_hits, (unsigned long long)stats->tracked,
		      (unsigned long long)stats->first_hits,
		      (unsigned long long)stats->evicted, (unsigned long long)stats->flows,
		      (unsigned long long)stats->changes);
}

/* All that can be fused was: else equality would say little. */
static void assert_all_fused(const struct flow_world_stats *stats)
{
	static const enum xv_action_type kinds[] = {
		XV_ACT_OUTPUT,	 XV_ACT_SET,	  XV_ACT_PUSH_VLAN, XV_ACT_POP_VLAN,	XV_ACT_PUSH_MPLS, XV_ACT_POP_MPLS,
		XV_ACT_PUSH_ETH, XV_ACT_POP_ETH,  XV_ACT_PUSH_NSH,  XV_ACT_POP_NSH,	XV_ACT_RECIRC,	  XV_ACT_HASH,
		XV_ACT_METER,	 XV_ACT_SAMPLE,	  XV_ACT_CLONE,	    XV_ACT_CHECK_LEN,	XV_ACT_TRUNC,	  XV_ACT_CT,
		XV_ACT_DROP,	 XV_ACT_TUNNEL_PUSH, XV_ACT_TUNNEL_POP, XV_ACT_BOND, XV_ACT_SYM_HASH};
	unsigned int i;

	for (i = 0; i < RTE_DIM(kinds); i++)
		if (stats->kinds[kinds[i]] < 10)
			fail_msg("action %u was fused %llu times", kinds[i], (unsigned long long)stats->kinds[kinds[i]]);
	assert_true(stats->several >= 100);
	assert_true(stats->popped >= 100); /* behind a pop, too */
	assert_true(stats->labelled >= 10);
	assert_true(stats->gre >= 10);
	assert_true(stats->programs > stats->hits / 20);
	assert_true(stats->first_hits >= 50);
}

static void without_fusing(void **state)
{
	struct flow_world_stats stats;

	(void)state;
	worlds(&(struct flow_world_config){.workers = 1, .entries = 4096}, &stats);
	assert_int_equal(stats.hits, 0);
}

static void fused(void **state)
{
	struct flow_world_stats stats;

	(void)state;
	worlds(&(struct flow_world_config){.workers = 1, .entries = 4096, .fusing = true}, &stats);
	assert_true(stats.hits > stats.packets / 10);
	assert_all_fused(&stats);
}

static void fused_with_avx512(void **state)
{
	struct flow_world_stats stats;

	(void)state;
#if defined(__x86_64__)
	if (rte_cpu_get_flag_enabled(RTE_CPUFLAG_AVX512BW) != 1)
		skip();
#else
	skip();
#endif
	worlds(&(struct flow_world_config){.workers = 1, .entries = 4096, .fusing = true, .avx512 = true}, &stats);
	assert_true(stats.hits > stats.packets / 10);
}

static void with_a_small_cache(void **state)
{
	struct flow_world_stats stats;

	(void)state;
	worlds(&(struct flow_world_config){.workers = 1, .entries = 64, .fusing = true}, &stats);
	assert_true(stats.hits > stats.packets / 20);
	assert_true(stats.evicted > stats.packets / 20);
}

static void with_two_workers(void **state)
{
	struct flow_world_stats stats;

	(void)state;
	worlds(&(struct flow_world_config){.workers = 2, .entries = 1024, .fusing = true}, &stats);
	assert_true(stats.hits > stats.packets / 10);
}

/* Who is followed goes the same way, and it is told how that ends. */
static void followed(void **state)
{
	struct flow_world_stats stats;

	(void)state;
	worlds(&(struct flow_world_config){.workers = 1, .entries = 4096, .fusing = true, .live = true}, &stats);
	assert_true(stats.hits > stats.packets / 10);
	assert_true(stats.followed > stats.packets / 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_fusing),
		cmocka_unit_test(fused),
		cmocka_unit_test(fused_with_avx512),
		cmocka_unit_test(with_a_small_cache),
		cmocka_unit_test(with_two_workers),
		cmocka_unit_test(followed),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
