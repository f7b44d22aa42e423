/* SPDX-License-Identifier: Apache-2.0 */
/*
 * flow-churn: xviod with a control plane that never rests. From SIGUSR1 on, a timer on its event
 * loop adds flows and deletes the oldest, XVIO_CHURN of each a second, beside those that traffic
 * uses; KEPT of them are there at any time. All else is the daemon as it is, main.c included: the
 * linker puts us in front of the one call that runs the loop.
 *
 * Ten times a second it prints what was added and deleted since it began, as a line of JSON.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include <event2/event.h>

#include "base/clock.h"
#include "fastpath/flow.h"

#define KEPT      10000
#define TICK_US   1000
#define TICK_MOST 1000 /* flows: catching up must not keep the loop from its other work */
#define SECOND_NS UINT64_C(1000000000)

static struct xv_flow *kept[KEPT]; /* a ring */
static uint64_t rate, begin_ns, told_ns, added, deleted;
static struct event *timer;

int __real_event_base_dispatch(struct event_base *events);
int __wrap_event_base_dispatch(struct event_base *events);

/*
 * To an address and port that no packet goes to; else what a decision of a policy looks like.
 * Numbers come again when those that had them are long gone.
 */
static struct xv_flow *flow_new(uint32_t n)
{
	struct xv_flow_key key = {.eth_type = RTE_BE16(0x0800), .ip_proto = 17};
	struct xv_flow_key mask = {.in_port = UINT32_MAX,
				   .recirc_id = UINT32_MAX,
				   .eth_type = UINT16_MAX,
				   .ip_proto = UINT8_MAX,
				   .tp_dst = UINT16_MAX};
	struct xv_flow_spec spec = {
		.key = &key, .mask = &mask, .owner = XV_FLOW_NO_OWNER, .origin = "churn"};
	struct xv_actions_builder builder;
	struct xv_flow *flow = NULL;

	key.ip_dst.words[3] = rte_cpu_to_be_32(0xac100000 + n % 1000000);
	mask.ip_dst.words[3] = UINT32_MAX;
	key.tp_dst = rte_cpu_to_be_16((uint16_t)n);
	xv_actions_begin(&builder);
	xv_actions_add(&builder, XV_ACT_DROP, XV_DROP_POLICY, NULL, 0);
	if (xv_actions_finish(&builder, &spec.actions) != 0 || xv_flow_add(&spec, &flow) != 0) {
		fprintf(stderr, "flow-churn: cannot add flow %u\n", n);
		exit(1);
	}
	return flow;
}

static void tell(uint64_t now)
{
	printf("{\"seconds\": %.3f, \"added\": %lu, \"deleted\": %lu, \"flows\": %u}\n",
	       (double)(now - begin_ns) / SECOND_NS, added, deleted, xv_flows_count());
	fflush(stdout);
	told_ns = now;
}

static void tick(evutil_socket_t fd, short what, void *arg)
{
	uint64_t now = xv_clock_ns(), due = (now - begin_ns) * rate / SECOND_NS;
	unsigned int i;

	for (i = 0; i < TICK_MOST && added < due; i++) {
		struct xv_flow **slot = &kept[added % KEPT];

		if (*slot != NULL) {
			xv_flow_del(*slot);
			deleted++;
		}
		*slot = flow_new((uint32_t)added++);
	}
	(void)xv_flows_poll();
	if (now - told_ns >= SECOND_NS / 10)
		tell(now);
}

static void begin(evutil_socket_t signum, short what, void *arg)
{
	if (rate == 0 || begin_ns != 0)
		return;
	begin_ns = told_ns = xv_clock_ns();
	(void)event_add(timer, &(struct timeval){.tv_usec = TICK_US});
}

int __wrap_event_base_dispatch(struct event_base *events)
{
	const char *text = getenv("XVIO_CHURN");
	struct event *on_usr1 = evsignal_new(events, SIGUSR1, begin, NULL);
	int rc = -1;

	rate = text != NULL ? strtoul(text, NULL, 10) : 0;
	timer = event_new(events, -1, EV_PERSIST, tick, NULL);
	if (timer != NULL && on_usr1 != NULL && event_add(on_usr1, NULL) == 0)
		rc = __real_event_base_dispatch(events);
	if (timer != NULL)
		event_free(timer);
	if (on_usr1 != NULL)
		event_free(on_usr1);
	return rc;
}
