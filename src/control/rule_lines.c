/* SPDX-License-Identifier: Apache-2.0 */
#include "control/rule_lines.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "control/host.h"
#include "control/match.h"
#include "fastpath/rule_log.h"

#define RECORDS_A_TIME 256
#define LINES_PER_S 10
#define BURST 50
#define NS_PER_LINE (UINT64_C(1000000000) / LINES_PER_S)

/* A token bucket in one number, as time that is paid for. */
static struct {
	uint64_t paid_ns;
	uint64_t left_out;
} ports[XV_MAX_PORTS];

static bool may_write(uint16_t port)
{
	uint64_t now = xv_clock_ns();

	if (ports[port].paid_ns > now + (BURST - 1) * NS_PER_LINE)
		return false;
	if (ports[port].paid_ns < now)
		ports[port].paid_ns = now;
	ports[port].paid_ns += NS_PER_LINE;
	return true;
}

static void put_end(char *buf, size_t size, const struct xv_flow_key *key, bool source)
{
	const union xv_ip_addr *addr = source ? &key->ip_src : &key->ip_dst;
	bool ipv6 = key->eth_type == RTE_BE16(0x86dd);
	bool ports_known = key->ip_frag != XV_FRAG_LATER && (key->ip_proto == 6 || key->ip_proto == 17 || key->ip_proto == 132);
	char text[INET6_ADDRSTRLEN] = "";

	inet_ntop(ipv6 ? AF_INET6 : AF_INET, ipv6 ? addr->bytes : addr->bytes + 12, text, sizeof(text));
	if (ports_known)
		snprintf(buf, size, ipv6 ? "[%s]:%u" : "%s:%u", text, rte_be_to_cpu_16(source ? key->tp_src : key->tp_dst));
	else
		snprintf(buf, size, "%s", text);
}

static void put_packet(char *buf, size_t size, const struct xv_flow_key *key)
{
	char proto[XV_MATCH_TEXT], src[80], dst[80];

	if (key->eth_type != RTE_BE16(0x0800) && key->eth_type != RTE_BE16(0x86dd)) {
		snprintf(buf, size, "Ethernet type 0x%04x", rte_be_to_cpu_16(key->eth_type));
		return;
	}
	xv_match_protocol_format(key->ip_proto, proto);
	put_end(src, sizeof(src), key, true);
	put_end(dst, sizeof(dst), key, false);
	snprintf(buf, size, "%s %s -> %s", proto, src, dst);
}

static void write_line(const struct xv_rule_record *r, void *arg)
{
	struct xv_host *host = arg;
	struct xv_host_port *p = r->port < XV_MAX_PORTS ? host->ports[r->port] : NULL;
	static const char *const words[] = {
		[XV_POLICY_DENY] = "denied", [XV_POLICY_ALLOW] = "allowed", [XV_POLICY_REJECT] = "rejected"};
	char packet[256], component[80];

	if (p == NULL)
		return;
	if (!may_write(r->port)) {
		ports[r->port].left_out++;
		return;
	}
	put_packet(packet, sizeof(packet), &r->key);
	snprintf(component, sizeof(component), "port %s", p->port->name);
	if (ports[r->port].left_out > 0)
		xv_log(XV_LOG_INFO, component, "%s: %s: %s (%llu lines left out before)", r->origin,
		       words[r->verdict], packet,
		       (unsigned long long)ports[r->port].left_out);
	else
		xv_log(XV_LOG_INFO, component, "%s: %s: %s", r->origin,
		       words[r->verdict], packet);
	ports[r->port].left_out = 0;
}

void xv_rule_lines_write(struct xv_host *host)
{
	uint64_t missed = xv_rule_log_take(RECORDS_A_TIME, write_line, host);

	if (missed > 0)
		xv_log(XV_LOG_WARNING, "firewall", "%llu packets that were to be logged came too fast", (unsigned long long)missed);
}
