/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The firewall of a port: the rules of its security groups, with state, and the guard against spoofing. Class A: built by
 * the control thread, never changed, freed after a grace period; the binding points to it.
 *
 * Rules judge connections, not packets: by the tuple of the packet that opened the connection, against the rules of the direction in
 * which it was opened. So an answer passes because its question may, and a policy that changes takes effect on
 * established connections with their next packet. What is related to a connection (ICMP errors, data connections of FTP) passes
 * because that connection may. What is not tracked (not IP, multicast) is judged by itself. ARP, neighbour discovery and the VM's own
 * DHCP pass without a rule.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "fastpath/policy.h"
#include "net/drop.h"
#include "net/flow_key.h"

struct xv_guard_address {
	uint8_t mac[6];
	uint8_t ipv6; /* 0 or 1 */
	uint8_t len;  /* of the prefix: 0-32, 0-128 */
	union xv_ip_addr addr;
};

/*
 * What the VM may say it is. It must send from one of these MAC addresses, and from the IP addresses that go with it (ARP and
 * neighbour discovery as well); besides from 0.0.0.0 and :: as far as it takes to get an address, and from the link-local
 * address of its MAC (RFC 4291, appendix A). It is no DHCP server and no router.
 */
struct xv_guard {
	unsigned int n;
	struct xv_guard_address addresses[];
};

struct xv_firewall {
	/* What the VM opens, what is opened towards it. "Otherwise" is deny. NULL: everything may pass. */
	const struct xv_policy *egress, *ingress;
	const struct xv_guard *guard; /* NULL: none */
};

enum xv_firewall_way { XV_FIREWALL_FROM_VM, XV_FIREWALL_TO_VM };

/*
 * worker. May a packet with this key go this way? *policy and *rule: what decided, as xv_policy_check(). mask is or-ed with the bits
 * of key that it depended on. f may be NULL: XV_POLICY_ALLOW, *policy NULL.
 */
enum xv_verdict xv_firewall_check(const struct xv_firewall *f, enum xv_firewall_way way, const struct xv_flow_key *key,
				  struct xv_flow_key *mask, const struct xv_policy **policy, uint32_t *rule);

/* worker. May the VM send this? mask as above. */
bool xv_guard_check(const struct xv_guard *guard, const struct xv_flow_key *key, struct xv_flow_key *mask);

/* Whether the VM has this MAC address. guard may be NULL: it is not known. */
bool xv_guard_has_mac(const struct xv_guard *guard, const uint8_t mac[6]);

/* Is it the business of connection tracking? IP to one receiver; fragments too. Bits of key as above. */
bool xv_firewall_tracks(const struct xv_flow_key *key, struct xv_flow_key *mask);
