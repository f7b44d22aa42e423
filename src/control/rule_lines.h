/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines for what rules with `log` have seen (fastpath/rule_log.h): rule, port, addresses, protocol and ports. Control thread.
 *
 * Rate-limited by port, so that none can silence others: ten a second, bursts of 50. What is left out is said with the next line.
 */
#pragma once

struct xv_host;

void xv_rule_lines_write(struct xv_host *host);
