/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Filters that choose among packets, in the language of tcpdump (pcap-filter(7)): compiled by libpcap, run on
 * packet threads as DPDK's BPF. Control thread.
 */
#pragma once

#include "base/err.h"

struct rte_bpf;

/*
 * For Ethernet frames in struct rte_mbuf; free with rte_bpf_destroy(). 0; -EINVAL and libpcap's own sentence;
 * -ETIMEDOUT and a sentence: it names a host that nobody resolves soon enough. Takes 200 ms at most.
 */
int xv_packet_filter_compile(const char *text, struct rte_bpf **filter, struct xv_err *err);
