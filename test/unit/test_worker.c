/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When a worker looks at its queues, and at which first. Ports are of a kind of our own, which writes down who calls what; there
 * are no packets but those that a queue is told to have.
 */
#include "unit.h"

#include <stdio.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <rte_mbuf.h>

#include "base/clock.h"
#include "fastpath/flow.h"
#include "fastpath/worker.h"
#include "port/eal.h"
#include "port/port.h"
#include "table/rcu.h"

#define PORTS 64
#define BATCH 32
#define WAIT_US 8
#define PATIENCE_S 20

enum call { LOOK, RX, DISARM };

struct noted_port {
	struct xv_port port;
	_Atomic unsigned int waiting; /* packets */
	int fd;
};

static struct {
	struct noted_port ports[PORTS];
	unsigned int n;
	struct xv_worker *worker;
	_Atomic unsigned int looks, received;
	/* The first calls since note_nothing(): of which port, and what. */
	_Atomic unsigned int noted;
	uint16_t noted_port[8];
	enum call noted_call[8];
} rig;

static void note(struct xv_port *port, enum call call)
{
	unsigned int i = atomic_load(&rig.noted);

	if (i == 8)
		return;
	rig.noted_port[i] = port->id;
	rig.noted_call[i] = call;
	atomic_store(&rig.noted, i + 1);
}

static uint16_t rx(struct xv_port *port, uint16_t queue, struct rte_mbuf **pkts, uint16_t n)
{
	struct noted_port *p = (struct noted_port *)port;
	uint16_t i, have = (uint16_t)RTE_MIN(n, atomic_load(&p->waiting));

	assert_int_equal(queue, 0);
	note(port, RX);
	for (i = 0; i < have; i++) {
		pkts[i] = rte_pktmbuf_alloc(xv_packet_pool());
		assert_non_null(rte_pktmbuf_append(pkts[i], 64));
	}
	atomic_fetch_sub(&p->waiting, have);
	atomic_fetch_add(&rig.received, have);
	return have;
}

static uint16_t rx_backlog(struct xv_port *port, uint16_t queue, uint16_t n)
{
	(void)queue;
	note(port, LOOK);
	atomic_fetch_add(&rig.looks, 1);
	return (uint16_t)RTE_MIN(n, atomic_load(&((struct noted_port *)port)->waiting));
}

static enum xv_arm rx_arm(struct xv_port *port, uint16_t queue)
{
	(void)queue;
	return atomic_load(&((struct noted_port *)port)->waiting) > 0 ? XV_ARM_BUSY : XV_ARM_OK;
}

static void rx_disarm(struct xv_port *port, uint16_t queue)
{
	(void)queue;
	note(port, DISARM);
}

static void info(struct xv_port *port, struct xv_port_info *info)
{
	(void)port;
	(void)info;
}

static const struct xv_port_ops noted_ops = {
	.kind = XV_PORT_DUMMY,
	.info = info,
	.rx = rx,
	.rx_backlog = rx_backlog,
	.rx_arm = rx_arm,
	.rx_disarm = rx_disarm,
};

static int group_setup(void **state)
{
	struct xv_eal_config config = {.memory_mb = 64};

	(void)state;
	xv_clock_init(0);
	xv_worker_configure(&(struct xv_worker_settings){.batch = BATCH, .batch_wait_us = WAIT_US});
	return xv_eal_init(&config, NULL) != 0 || xv_rcu_init() != 0 || xv_flows_init() != 0;
}

/* A worker that polls n ports with a queue each. */
static void start(bool manual, unsigned int n)
{
	struct xv_queue_ref refs[PORTS];
	uint16_t i;

	rig.n = n;
	assert_int_equal(xv_worker_create("test", -1, manual, &rig.worker, NULL), 0);
	for (i = 0; i < n; i++) {
		struct xv_port_config config = {.kind = XV_PORT_DUMMY, .queues = 1};
		struct noted_port *p = &rig.ports[i];

		snprintf(config.name, sizeof(config.name), "p%u", i);
		xv_port_init(&p->port, &noted_ops, &config);
		p->port.id = i;
		atomic_store(&p->waiting, 0);
		atomic_store(&p->port.rx_queues, 1);
		p->fd = eventfd(0, EFD_NONBLOCK);
		assert_true(p->fd >= 0);
		xv_port_rxq_set_fd(&p->port, 0, p->fd);
		refs[i] = (struct xv_queue_ref){&p->port, 0};
	}
	assert_int_equal(xv_worker_set_queues(rig.worker, refs, n), 0);
	atomic_store(&rig.looks, 0);
	atomic_store(&rig.received, 0);
}

static int stop(void **state)
{
	unsigned int i;

	(void)state;
	assert_int_equal(xv_worker_set_queues(rig.worker, NULL, 0), 0);
	xv_workers_barrier();
	xv_rcu_synchronize();
	(void)xv_rcu_poll();
	xv_worker_destroy(rig.worker);
	for (i = 0; i < rig.n; i++)
		close(rig.ports[i].fd);
	return 0;
}

static void rounds(unsigned int n)
{
	while (n-- > 0)
		(void)xv_worker_run_once(rig.worker);
}

static void warp(uint64_t cycles)
{
	atomic_fetch_add(&xv_clock.cycles, cycles);
}

/* Of many queues, empty ones are not looked at again and again, but again before a quarter of a batch's wait is over. */
static void test_empty_queues_rest(void **state)
{
	const uint64_t pause = xv_clock_cycles_of_us(WAIT_US) / 4;

	(void)state;
	xv_clock_stop();
	start(true, PORTS);
	rounds(10);
	assert_int_equal(atomic_load(&rig.looks), PORTS);
	warp(pause);
	rounds(10);
	assert_int_equal(atomic_load(&rig.looks), 2 * PORTS);
	atomic_store(&rig.ports[PORTS / 2].waiting, BATCH);
	warp(pause);
	rounds(1);
	assert_int_equal(atomic_load(&rig.received), BATCH);
}

/* A single queue is looked at without a rest that anybody could notice. */
static void test_one_queue_hardly_rests(void **state)
{
	(void)state;
	xv_clock_stop();
	start(true, 1);
	rounds(1);
	warp(64);
	rounds(1);
	assert_int_equal(atomic_load(&rig.looks), 2);
}

/* More queues than are looked ahead at have batches: all are served in one round, each once. */
static void test_all_due_are_served(void **state)
{
	unsigned int i;

	(void)state;
	xv_clock_stop();
	start(true, PORTS);
	for (i = 0; i < PORTS; i++)
		atomic_store(&rig.ports[i].waiting, BATCH);
	rounds(1);
	assert_int_equal(atomic_load(&rig.received), PORTS * BATCH);
	assert_int_equal(atomic_load(&rig.looks), PORTS);
}

static void wait_asleep(void)
{
	const struct timespec pause = {.tv_nsec = 100000};
	struct xv_worker_stats stats;
	time_t end = time(NULL) + PATIENCE_S;

	do {
		assert_true(time(NULL) < end);
		(void)nanosleep(&pause, NULL);
		xv_worker_get_stats(rig.worker, &stats);
	} while (stats.sleeps <= stats.wakeups);
}

/*
 * Whose kick has woken the worker is served before anything is done about the others. Not each time: a kick that polling
 * has anticipated wakes it once more, for nothing, and the next one may come just then.
 */
static void test_who_kicks_goes_first(void **state)
{
	const struct timespec pause = {.tv_nsec = 100000};
	unsigned int i, first = 0;

	(void)state;
	xv_clock_resume();
	start(false, PORTS);
	for (i = 0; i < 20; i++) {
		struct noted_port *p = &rig.ports[1 + 3 * i];
		unsigned int before = atomic_load(&rig.received);
		time_t end = time(NULL) + PATIENCE_S;

		wait_asleep();
		atomic_store(&rig.noted, 0);
		atomic_store(&p->waiting, 1);
		assert_int_equal(eventfd_write(p->fd, 1), 0);
		while (atomic_load(&rig.received) == before) {
			assert_true(time(NULL) < end);
			(void)nanosleep(&pause, NULL);
		}
		first += rig.noted_port[0] == p->port.id && rig.noted_call[0] == LOOK &&
			 rig.noted_port[1] == p->port.id && rig.noted_call[1] == RX;
	}
	assert_in_range(first, 15, 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_empty_queues_rest, stop),
		cmocka_unit_test_teardown(test_one_queue_hardly_rests, stop),
		cmocka_unit_test_teardown(test_all_due_are_served, stop),
		cmocka_unit_test_teardown(test_who_kicks_goes_first, stop),
	};

	return cmocka_run_group_tests(tests, group_setup, NULL);
}
