/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a look-up in the classifier of flows costs (cycles of the time stamp counter for a packet,
 * in bursts of 32), and how many flows a second come and go. Stands alone: no EAL, no root.
 *
 *	classifier-bench [ROUNDS]
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <rte_cycles.h>

#include "net/flow_key.h"
#include "table/classifier.h"
#include "table/rcu.h"

#define BURST    32
#define PROBES   16384 /* keys that are looked up, in random order */
#define RULE_MAX (sizeof(struct xv_cls_rule) + 16 * sizeof(uint64_t))

struct flows {
	struct xv_classifier *cls;
	struct xv_cls_reader *reader;
	struct xv_cls_rule **rules;
	struct xv_flow_key *keys;
	unsigned int n;
};

static unsigned int rounds = 20;

static uint64_t random_next(void)
{
	static uint64_t state = 1;
	uint64_t z = (state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static void *must(void *memory)
{
	if (!memory) {
		fprintf(stderr, "no memory\n");
		exit(1);
	}
	return memory;
}

static const uint64_t *words(const struct xv_flow_key *key)
{
	return (const uint64_t *)key;
}

/* Port and pass, Ethernet type, IPv4 addresses, protocol, ports: as a megaflow of a stateful ACL
 * has them. Variants of it for several subtables: shorter prefixes of the addresses. */
static struct xv_flow_key mask_make(unsigned int variant)
{
	struct xv_flow_key mask;

	memset(&mask, 0, sizeof(mask));
	mask.recirc_id = UINT32_MAX;
	mask.in_port = UINT32_MAX;
	mask.eth_type = UINT16_MAX;
	mask.ip_src.words[3] = rte_cpu_to_be_32(UINT32_MAX << variant % 16);
	mask.ip_dst.words[3] = rte_cpu_to_be_32(UINT32_MAX << variant / 16);
	mask.ip_proto = UINT8_MAX;
	mask.tp_dst = UINT16_MAX;
	return mask;
}

/* Flow i of a subtable. Those of one subtable are not in another: tp_dst tells. own_ports: in_port
 * tells it, too. */
static struct xv_flow_key key_make(unsigned int variant, unsigned int i, bool own_ports)
{
	struct xv_flow_key key;

	memset(&key, 0, sizeof(key));
	key.in_port = own_ports ? variant : i % 100;
	key.eth_type = RTE_BE16(0x0800);
	key.ip_src.words[3] = rte_cpu_to_be_32(0x0a000000 + (i << 16));
	key.ip_dst.words[3] = rte_cpu_to_be_32(0x0b000000 + (i / 256 << 16));
	key.ip_proto = 6;
	key.tp_src = (uint16_t)random_next();
	key.tp_dst = (uint16_t)variant;
	return key;
}

/* n flows for each of n_masks masks. */
static struct flows flows_create(unsigned int n_masks, unsigned int n, bool own_ports)
{
	static const unsigned int stage_ends[] = {XV_FLOW_STAGE_TUNNEL, XV_FLOW_STAGE_L2,
						  XV_FLOW_STAGE_L3, XV_FLOW_STAGE_L4,
						  XV_FLOW_FIXED_WORDS};
	struct flows f = {.n = n_masks * n};
	unsigned int m, i;

	f.rules = must(calloc(f.n, sizeof(*f.rules)));
	f.keys = must(calloc(f.n, sizeof(*f.keys)));
	if (xv_classifier_create(XV_FLOW_FIXED_WORDS, stage_ends, RTE_DIM(stage_ends), &f.cls) ||
	    xv_cls_reader_create(f.cls, &f.reader))
		must(NULL);
	for (m = 0; m < n_masks; m++) {
		struct xv_flow_key mask = mask_make(m);

		for (i = 0; i < n; i++) {
			struct xv_cls_rule *rule =
				must(aligned_alloc(64, (RULE_MAX + 63) / 64 * 64));

			f.rules[m * n + i] = rule;
			f.keys[m * n + i] = key_make(m, i, own_ports);
			if (xv_classifier_insert(f.cls, rule, words(&f.keys[m * n + i]),
						 words(&mask), NULL)) {
				fprintf(stderr, "flow %u of mask %u was not taken\n", i, m);
				exit(1);
			}
		}
	}
	xv_rcu_poll();
	return f;
}

static void flows_destroy(struct flows *f)
{
	unsigned int i;

	xv_classifier_destroy(f->cls);
	for (i = 0; i < f->n; i++)
		free(f->rules[i]);
	free(f->rules);
	free(f->keys);
}

/* Look up flows from .. from + n at random; cycles for one in the best round. miss: with a port
 * that no flow has. */
static double measure(struct flows *f, unsigned int from, unsigned int n, bool miss)
{
	struct xv_flow_key *keys = must(malloc(PROBES * sizeof(*keys)));
	static struct xv_flow_key packets[BURST];
	const uint64_t *burst[BURST];
	struct xv_cls_rule *rules[BURST];
	uint64_t start, took, best = UINT64_MAX;
	unsigned int round, i, k, found = 0;

	for (i = 0; i < PROBES; i++) {
		keys[i] = f->keys[from + random_next() % n];
		if (miss)
			keys[i].tp_dst = 0xffff;
	}
	for (round = 0; round < rounds; round++) {
		took = 0;
		found = 0;
		for (i = 0; i < PROBES; i += BURST) {
			/* As a worker has them: just written. */
			for (k = 0; k < BURST; k++) {
				memcpy(&packets[k], &keys[i + k],
				       XV_FLOW_FIXED_WORDS * sizeof(uint64_t));
				burst[k] = words(&packets[k]);
			}
			start = rte_rdtsc_precise();
			xv_classifier_lookup_burst(f->cls, f->reader, burst, BURST, rules);
			took += rte_rdtsc_precise() - start;
			for (k = 0; k < BURST; k++)
				found += rules[k] != NULL;
		}
		if (took < best)
			best = took;
	}
	if (found != (miss ? 0 : PROBES)) {
		fprintf(stderr, "found %u of %u\n", found, PROBES);
		exit(1);
	}
	free(keys);
	return (double)best / PROBES;
}

static void lookups(unsigned int n_masks, unsigned int n, bool own_ports)
{
	struct flows f = flows_create(n_masks, n, own_ports);
	double hit, miss, first;
	unsigned int i;

	hit = measure(&f, 0, f.n, false);
	miss = measure(&f, 0, f.n, true);
	/* All traffic in the subtable that was created last. */
	for (i = 0; i < 2; i++) {
		measure(&f, f.n - n, n, false);
		xv_classifier_rank(f.cls);
	}
	first = measure(&f, f.n - n, n, false);
	printf("%4u masks, %7u flows each, %s: hit %7.1f   hit, first by rank %6.1f   miss %7.1f "
	       "cycles\n",
	       n_masks, n, own_ports ? "ports differ" : "ports alike ", hit, first, miss);
	xv_rcu_poll();
	flows_destroy(&f);
}

static atomic_bool stop;

static void *reader_run(void *arg)
{
	struct flows *f = arg;
	const uint64_t *burst[BURST];
	struct xv_cls_rule *rules[BURST];
	unsigned int i = 0, k;

	xv_rcu_register(0);
	xv_rcu_online(0);
	while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
		for (k = 0; k < BURST; k++)
			burst[k] = words(&f->keys[(i += 7919) % f->n]);
		xv_classifier_lookup_burst(f->cls, f->reader, burst, BURST, rules);
		xv_rcu_quiescent(0);
	}
	xv_rcu_offline(0);
	xv_rcu_unregister(0);
	return NULL;
}

static double seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* Take all flows out and put them in again, with memory from malloc, while a reader runs. */
static void churn(unsigned int n_masks, unsigned int n, bool with_reader)
{
	struct flows f = flows_create(n_masks, n, false);
	double start, del, add, worst = 0, before, took;
	pthread_t thread;
	unsigned int i;

	stop = false;
	if (with_reader && pthread_create(&thread, NULL, reader_run, &f))
		must(NULL);
	start = seconds();
	for (i = 0; i < f.n; i++) {
		xv_classifier_remove(f.cls, f.rules[i]);
		xv_rcu_defer(free, f.rules[i]);
		if (i % 64 == 0)
			xv_rcu_poll();
	}
	del = seconds() - start;
	start = seconds();
	for (i = 0; i < f.n; i++) {
		struct xv_flow_key mask = mask_make(i / n);

		f.rules[i] = must(malloc(RULE_MAX));
		before = seconds();
		if (xv_classifier_insert(f.cls, f.rules[i], words(&f.keys[i]), words(&mask), NULL))
			must(NULL);
		took = seconds() - before;
		if (took > worst)
			worst = took;
		if (i % 64 == 0)
			xv_rcu_poll();
	}
	add = seconds() - start;
	stop = true;
	if (with_reader)
		pthread_join(thread, NULL);
	printf("%4u masks, %7u flows each, %s: %8.0f removed/s  %8.0f inserted/s, the slowest in "
	       "%.1f ms\n",
	       n_masks, n, with_reader ? "a reader runs" : "no reader    ", f.n / del, f.n / add,
	       worst * 1e3);
	xv_rcu_synchronize();
	xv_rcu_poll();
	flows_destroy(&f);
}

int main(int argc, char **argv)
{
	if (argc > 1)
		rounds = (unsigned int)strtoul(argv[1], NULL, 10);
	if (rounds == 0 || xv_rcu_init())
		return 1;
	lookups(1, 1000, false);
	lookups(1, 10000, false);
	lookups(1, 100000, false);
	lookups(1, 1000000, false);
	lookups(20, 10000, false);
	lookups(200, 1000, false);
	lookups(20, 10000, true);
	lookups(200, 1000, true);
	churn(1, 1000000, false);
	churn(1, 1000000, true);
	churn(200, 1000, true);
	xv_rcu_fini();
	return 0;
}
