/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What rules with `log` have seen: workers write a record, the control thread makes lines of them. Bounded: records circulate
 * between two rings; what finds none free is counted.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "fastpath/flow.h"
#include "net/flow_key.h"

struct xv_worker;

struct xv_rule_record {
	char origin[XV_FLOW_ORIGIN_LEN]; /* policy: rule */
	uint16_t port;			 /* that the packet came in by */
	uint8_t verdict; /* enum xv_verdict: of the rule */
	struct xv_flow_key key; /* without tunnel options */
};

/* control, once, after EAL. 0 or -ENOMEM. */
int xv_rule_log_init(void);
void xv_rule_log_fini(void);

/* worker. A rule has judged a packet of `bytes` with this key that came in by the port: count it, and write it down if that is
 * wanted. */
void xv_rule_judged(struct xv_worker *w, uint16_t port, const struct xv_flow_key *key, const struct xv_judgement *by,
		    uint32_t bytes);

/* control, when xv_flows_event_fd is readable: up to max records. Returns how many found no room since the last call. */
uint64_t xv_rule_log_take(unsigned int max, void (*fn)(const struct xv_rule_record *record, void *arg), void *arg);
