/* SPDX-License-Identifier: Apache-2.0 */
/* One frame at a time after a pause: how long a system that went to sleep takes to deliver it. */
#include <stdlib.h>
#include <time.h>

#include "load.h"

static void sleep_s(double s)
{
	struct timespec ts = {.tv_sec = s, .tv_nsec = (s - (time_t)s) * 1e9};

	nanosleep(&ts, NULL);
}

/* Microseconds until the frame arrived at to; negative when it did not. */
static double ping(struct load *l, const struct port *from, const struct port *to, uint64_t seq,
		   double timeout_s)
{
	struct rte_mbuf *m = frame_create(from, to, 0, FRAME_DATA, seq, l->size_min, 1);
	struct rte_mbuf *rx[MAX_BURST];
	uint64_t hz = rte_get_tsc_hz(), t0 = rte_rdtsc(), now;
	bool seen = false;

	if (m == NULL || rte_eth_tx_burst(from->id, 0, &m, 1) == 0) {
		rte_pktmbuf_free(m);
		return -1;
	}
	do {
		for (uint16_t q = 0; q < to->queues && !seen; q++) {
			uint16_t n = rte_eth_rx_burst(to->id, q, rx, MAX_BURST);

			now = rte_rdtsc();
			for (uint16_t i = 0; i < n; i++) {
				struct frame_tag tag;

				if (!frame_tag_read(rx[i], &tag) ||
				    !frame_verify(rx[i], from, to, &tag, false))
					l->res->corrupt++;
				else if (tag.seq == seq) /* else: one that we gave up */
					seen = true;
			}
			rte_pktmbuf_free_bulk(rx, n);
		}
		now = rte_rdtsc();
	} while (!seen && now - t0 < timeout_s * hz);
	return seen ? (now - t0) * 1e6 / hz : -1;
}

static int double_cmp(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

void ping_run(struct load *l, uint64_t t0)
{
	struct result *r = l->res;
	uint32_t count = l->frames > 0 ? l->frames : 100, n = 0;
	double *us = calloc(count, sizeof(*us));
	uint64_t start = rte_rdtsc(), seq = 0;

	if (us == NULL)
		rte_exit(EXIT_FAILURE, "xvio-load: out of memory\n");
	/* Both ways open, addresses learned. Not measured. */
	for (unsigned int p = 0; p < l->nports && !load_stop; p++) {
		while (ping(l, &l->ports[p], &l->ports[p ^ 1], seq++, 0.01) < 0 && !load_stop) {
			if (rte_rdtsc() - start > l->timeout_s * rte_get_tsc_hz()) {
				fprintf(stderr, "xvio-load: no frame came through\n");
				free(us);
				return;
			}
		}
	}
	r->corrupt = 0; /* late probes of the other direction */
	r->first_ms = (rte_rdtsc() - t0) * 1e3 / rte_get_tsc_hz();
	load_ready(l, t0);
	sleep_s(l->settle_s);

	start = rte_rdtsc();
	for (uint32_t i = 0; i < count && !load_stop; i++) {
		unsigned int p = i % l->nports;
		double t;

		sleep_s(l->interval_ms / 1e3);
		t = ping(l, &l->ports[p], &l->ports[p ^ 1], seq++, 1);
		r->sent++;
		if (t >= 0)
			us[n++] = t;
	}
	r->seconds = (double)(rte_rdtsc() - start) / rte_get_tsc_hz();
	r->received = r->pings = n;
	r->lost = r->sent - r->received;
	r->bytes = r->received * l->size_min;
	if (n > 0) {
		qsort(us, n, sizeof(*us), double_cmp);
		r->ping_us[0] = us[n / 2];
		r->ping_us[1] = us[(uint64_t)n * 99 / 100];
		r->ping_us[2] = us[n - 1];
	}
	r->ok = n > 0 && r->lost + r->corrupt == 0;
	free(us);
}
