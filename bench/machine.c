// SPDX-License-Identifier: Apache-2.0
/* What this machine takes for itself, whatever the software: printed beside what a system needs, so that a reader can
 * tell one from the other. CPU 0 plays the worker and CPU 1 the guests, as in the bench. No system takes part.
 *
 *     bench-machine distance           TSC cycles of a cache line's way from one CPU to the other and back. A hypervisor
 *                                      moves virtual CPUs at any time, from two threads of one core to two packages, and
 *                                      what a ring costs follows this number more than any other
 *     bench-machine wake               microseconds until a thread that sleeps in epoll_pwait2() for 20 ms sees the
 *                                      eventfd that the other CPU writes to: p50 and p99. No frame is faster after idling
 *     bench-machine lines PORTS RING   cycles a frame of nothing but touching the memory that a wire between vhost ports
 *                                      must touch (descriptors, avail and used entries, the frame's own lines), in
 *                                      bursts of 32 with prefetch. No look at flags, no check of an address
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <rte_cycles.h>
#include <rte_memcpy.h>
#include <rte_pause.h>
#include <rte_prefetch.h>

enum { WORKER_CPU, GUESTS_CPU };

static atomic_bool stop;

static void fail(const char *what)
{
	fprintf(stderr, "bench-machine: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		fail("sched_setaffinity");
}

static pthread_t other_cpu(void *(*body)(void *))
{
	pthread_t thread;

	if ((errno = pthread_create(&thread, NULL, body, NULL)))
		fail("pthread_create");
	return thread;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double tsc_hz(void)
{
	struct timespec start, end, pause = {.tv_nsec = 50000000};
	uint64_t cycles = rte_rdtsc();

	clock_gettime(CLOCK_MONOTONIC, &start);
	nanosleep(&pause, NULL);
	cycles = rte_rdtsc() - cycles;
	clock_gettime(CLOCK_MONOTONIC, &end);
	return cycles / ((end.tv_sec - start.tv_sec) + (end.tv_nsec - start.tv_nsec) / 1e9);
}

/* --- distance --- */

enum { WARM_UP = 1000, TRIPS = 5000, SAMPLES = 21 };

static _Alignas(128) atomic_int ball;

static void ball_wait(int value)
{
	while (atomic_load_explicit(&ball, memory_order_acquire) != value)
		rte_pause();
}

static void *ball_return(void *unused)
{
	(void)unused;
	pin(GUESTS_CPU);
	for (int i = 0; i < WARM_UP + TRIPS * SAMPLES; i++) {
		ball_wait(2 * i + 1);
		atomic_store_explicit(&ball, 2 * i + 2, memory_order_release);
	}
	return NULL;
}

static void distance(void)
{
	pthread_t thread = other_cpu(ball_return);
	double samples[SAMPLES];
	int trip = 0;

	for (int sample = -1; sample < SAMPLES; sample++) {
		int trips = sample < 0 ? WARM_UP : TRIPS;
		uint64_t start = rte_rdtsc();

		for (int i = 0; i < trips; i++, trip++) {
			atomic_store_explicit(&ball, 2 * trip + 1, memory_order_release);
			ball_wait(2 * trip + 2);
		}
		if (sample >= 0)
			samples[sample] = (double)(rte_rdtsc() - start) / trips;
	}
	pthread_join(thread, NULL);
	qsort(samples, SAMPLES, sizeof(samples[0]), by_value); /* median: others may have had a CPU meanwhile */
	printf("%.0f\n", samples[SAMPLES / 2]);
}

/* --- wake --- */

enum { WAKES = 128, INTERVAL_US = 20000 };

static int wake_fd;
static atomic_ulong woken_at;

static void *sleeper(void *unused)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLET};
	struct timespec forever = {.tv_sec = 3600};
	int epoll = epoll_create1(EPOLL_CLOEXEC);

	(void)unused;
	pin(WORKER_CPU);
	if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, wake_fd, &event))
		fail("epoll");
	for (int i = 0; i < WAKES; i++) {
		if (epoll_pwait2(epoll, &event, 1, &forever, NULL) < 0)
			fail("epoll_pwait2");
		atomic_store_explicit(&woken_at, rte_rdtsc(), memory_order_release);
	}
	close(epoll);
	return NULL;
}

static void wake(void)
{
	struct timespec interval = {.tv_nsec = INTERVAL_US * 1000};
	double hz = tsc_hz(), us[WAKES];
	unsigned long before, after;
	pthread_t thread;

	wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (wake_fd < 0)
		fail("eventfd");
	pin(GUESTS_CPU);
	thread = other_cpu(sleeper);
	for (int i = 0; i < WAKES; i++) {
		uint64_t start;

		nanosleep(&interval, NULL);
		before = atomic_load_explicit(&woken_at, memory_order_relaxed);
		start = rte_rdtsc();
		if (eventfd_write(wake_fd, 1))
			fail("eventfd_write");
		while ((after = atomic_load_explicit(&woken_at, memory_order_acquire)) == before)
			rte_pause();
		us[i] = (after - start) * 1e6 / hz;
	}
	pthread_join(thread, NULL);
	qsort(us, WAKES, sizeof(us[0]), by_value);
	printf("%.1f %.1f\n", us[WAKES / 2], us[WAKES * 99 / 100]);
}

/* --- lines --- */

enum {
	BURST = 32,
	FRAME = 64,
	HEADER = 12,       /* struct virtio_net_hdr_mrg_rxbuf, right before the frame */
	BUFFER = 2688,     /* an mbuf of the bench's guests, with its own header: no two frames share a page */
	HEADROOM = 256,
	UNDER_WAY = 3,     /* of 4 entries of a ring hold a frame, as the load program has it */
	LAPS = 4,          /* of every ring, before it counts */
};

struct desc { /* virtio 1.x, 2.7.5 */
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

struct guest {
	volatile struct desc *tx, *rx;
	volatile uint16_t *tx_avail, *rx_avail;
	volatile uint64_t *tx_used, *rx_used;
};

static struct guest *guests;
static uint32_t nports, ring;
static _Alignas(128) atomic_ulong filled;  /* bursts that the guests made ready */
static _Alignas(128) atomic_ulong carried; /* and that the worker took on */

static uint8_t *addr(uint64_t a)
{
	return (uint8_t *)(uintptr_t)a;
}

/* Queue of burst b, and where in its ring that begins. */
static uint32_t port_of(uint64_t b)
{
	return b % nports;
}

static uint32_t entry_of(uint64_t b)
{
	return b / nports * BURST % ring;
}

/* A guest looks at the first line of what came and writes the next frames' headers. */
static void guest_turn(uint64_t b)
{
	struct guest *g = &guests[port_of(b)];
	uint32_t at = entry_of(b);

	for (uint32_t i = at; i < at + BURST; i++)
		(void)*(volatile uint64_t *)addr(g->rx[i].addr);
	for (uint32_t i = at; i < at + BURST; i++) {
		uint8_t *frame = addr(g->tx[i].addr);

		memset(frame - HEADER, 0, HEADER);
		g->tx[i].len = HEADER + FRAME;
		g->rx[i].len = HEADER + FRAME;
	}
}

static void *guests_play(void *unused)
{
	(void)unused;
	pin(GUESTS_CPU);
	while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
		uint64_t b = atomic_load_explicit(&filled, memory_order_relaxed);

		if (b >= atomic_load_explicit(&carried, memory_order_acquire) + nports * UNDER_WAY / 4)
			continue;
		guest_turn(b);
		atomic_store_explicit(&filled, b + 1, memory_order_release);
	}
	return NULL;
}

static void carry(uint64_t b)
{
	static uint8_t own[BURST][FRAME];
	struct guest *from = &guests[port_of(b)], *to = &guests[port_of(b) ^ 1];
	uint8_t *source[BURST], *target[BURST];
	uint32_t at = entry_of(b);
	uint64_t seen = 0;

	for (int i = 0; i < BURST; i++) {
		seen += from->tx_avail[at + i];
		source[i] = addr(from->tx[at + i].addr);
		rte_prefetch0(source[i] - HEADER);
		rte_prefetch0(source[i]);
	}
	for (int i = 0; i < BURST; i++) {
		seen += to->rx_avail[at + i];
		target[i] = addr(to->rx[at + i].addr);
		__builtin_prefetch(target[i] - HEADER, 1);
		__builtin_prefetch(target[i], 1);
	}
	for (int i = 0; i < BURST; i++) {
		seen += *(volatile uint64_t *)(source[i] - HEADER);
		rte_mov64(own[i], source[i]);
	}
	for (int i = 0; i < BURST; i++)
		from->tx_used[at + i] = seen;
	for (int i = 0; i < BURST; i++) {
		if (*(volatile uint64_t *)(target[i] - HEADER) != 0)
			*(volatile uint64_t *)(target[i] - HEADER) = 0;
		rte_mov64(target[i], own[i]);
	}
	for (int i = 0; i < BURST; i++)
		to->rx_used[at + i] = at + i;
}

static uint32_t random_below(uint32_t n)
{
	static uint64_t x = 88172645463325252;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return x % n;
}

/* Buffers lie in no order, as in a guest that has run for a while. */
static void guest_init(struct guest *g, uint8_t *memory)
{
	uint32_t buffers = 2 * ring, *order = malloc(buffers * sizeof(*order));
	uint8_t *place = memory;

	if (order == NULL)
		fail("malloc");
	for (uint32_t i = 0; i < buffers; i++)
		order[i] = i;
	for (uint32_t i = buffers - 1; i > 0; i--) {
		uint32_t j = random_below(i + 1), other = order[j];

		order[j] = order[i];
		order[i] = other;
	}
	g->tx = (void *)place;
	g->rx = (void *)(place += ring * sizeof(struct desc));
	g->tx_avail = (void *)(place += ring * sizeof(struct desc));
	g->rx_avail = (void *)(place += ring * sizeof(uint16_t));
	g->tx_used = (void *)(place += ring * sizeof(uint16_t));
	g->rx_used = (void *)(place += ring * sizeof(uint64_t));
	place += ring * sizeof(uint64_t);
	for (uint32_t i = 0; i < ring; i++) {
		uint32_t sent = order[ring + i % (ring * UNDER_WAY / 4)];

		g->rx[i].addr = (uintptr_t)(place + (size_t)order[i] * BUFFER + HEADROOM) & ~63ul;
		g->tx[i].addr = (uintptr_t)(place + (size_t)sent * BUFFER + HEADROOM) & ~63ul;
	}
	free(order);
}

static void lines(void)
{
	size_t huge = 2 << 20, each = (size_t)(BUFFER + 32) * 2 * ring + huge;
	uint64_t busy = 0, warm = (uint64_t)nports * ring / BURST * LAPS, end = 0, b;
	double hz = tsc_hz();
	uint8_t *memory;
	pthread_t thread;

	each = each / huge * huge;
	guests = calloc(nports, sizeof(*guests));
	memory = mmap(NULL, each * nports + huge, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (guests == NULL || memory == MAP_FAILED)
		fail("memory");
	memory = (uint8_t *)(((uintptr_t)memory + huge - 1) & ~(huge - 1));
	madvise(memory, each * nports, MADV_HUGEPAGE);
	for (uint32_t i = 0; i < nports; i++)
		guest_init(&guests[i], memory + i * each);
	pin(WORKER_CPU);
	thread = other_cpu(guests_play);
	for (b = 0; end == 0 || rte_rdtsc() < end; b++) {
		uint64_t start;

		while (atomic_load_explicit(&filled, memory_order_acquire) <= b)
			rte_pause();
		start = rte_rdtsc();
		carry(b);
		busy += rte_rdtsc() - start;
		atomic_store_explicit(&carried, b + 1, memory_order_release);
		if (b == warm) {
			busy = 0;
			end = rte_rdtsc() + (uint64_t)(hz / 2);
		}
	}
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
	printf("%.1f\n", (double)busy / ((b - warm - 1) * BURST));
}

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "distance") == 0) {
		pin(WORKER_CPU);
		distance();
		return 0;
	}
	if (argc == 2 && strcmp(argv[1], "wake") == 0) {
		wake();
		return 0;
	}
	if (argc == 4 && strcmp(argv[1], "lines") == 0) {
		nports = strtoul(argv[2], NULL, 10);
		ring = strtoul(argv[3], NULL, 10);
		if (nports >= 2 && nports % 2 == 0 && nports <= 1024 && ring >= 64 && ring <= 32768 &&
		    (ring & (ring - 1)) == 0) {
			lines();
			return 0;
		}
	}
	fprintf(stderr, "usage: bench-machine distance | wake | lines PORTS RING\n"
			"PORTS: 2 to 1024, in pairs; RING: a power of two, 64 to 32768\n");
	return 2;
}
