/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the configuration says about firewalls: security groups, and the ports that belong to them. Values only, nothing here
 * touches a device. Control thread.
 *
 * Firewalls are not configured one by one: each port that is in groups has one. The model has them, derived, under
 * "firewall", by the name of their port: {"name", "egress": POLICY, "ingress": POLICY, "guard": [{"mac", "address"}]}, where POLICY
 * is an object as under "policy" whose rules are named GROUP/RULE and have the counter of that rule, and where remote groups are the addresses that their ports
 * have. So a port that enters a group changes the firewalls of others, in the same transaction.
 */
#pragma once

#include <jansson.h>

#include "base/err.h"
#include "fastpath/firewall.h"

/* Do the keys of a checked rule of a group fit together? -EINVAL: the error has the key and a sentence. */
int xv_firewall_config_check_rule(const json_t *rule, struct xv_err *err);

/* Do groups and addresses of a port make sense? On -EINVAL: *key is at fault, text the rest of the sentence. */
int xv_firewall_config_check_port(const json_t *port, const char **key, char *text, size_t size);

/* Give a valid model all firewalls, as above, and under "tracked" the networks of their ports. counters: of its rules
 * (rule_counts.h). 0 or -ENOMEM. */
int xv_firewalls_derive(json_t *model, const json_t *counters);

/* Whether ports of the network have firewalls, so that connections on it are tracked. */
bool xv_firewalls_on(const json_t *model, const char *network);

/* Compile a derived firewall. 0 or -errno. */
int xv_firewall_config_compile(const json_t *config, struct xv_firewall **firewall, struct xv_err *err);
/* After a grace period. Accepts NULL. */
void xv_firewall_destroy(struct xv_firewall *firewall);
